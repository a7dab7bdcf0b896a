//! The text of a template.

use super::{Template, TemplateError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::Arc;

/// The text of a template, and no more than that: what it parses to takes many times as much memory ([`Template::memory`]), so whoever renders
/// decides how much of that is kept.
///
/// It is stored as its text, and read without being parsed: a text that an earlier release took and this one does not must not keep the
/// rest of the configuration from being read. What is to be rendered with it fails then, and says so. Clones share the text.
#[derive(Clone, PartialEq, Eq)]
pub struct Source {
    text: Arc<str>,
}

impl Source {
    /// Takes a text that [`Template::parse`] takes.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        Template::parse(text)?;
        Ok(Source { text: text.into() })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The text, which all clones share.
    pub fn text(&self) -> &Arc<str> {
        &self.text
    }

    /// Parses it; an error where the text was taken by another release and is none for this one.
    pub fn template(&self) -> Result<Template, TemplateError> {
        Template::parse(&self.text)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({:?})", self.as_str())
    }
}

impl Serialize for Source {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for Source {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        Ok(Source { text: text.into() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clones_share_a_text_that_is_a_template() {
        let stored: Source = serde_json::from_str(r#""{{.attempt}}""#).expect("a text");
        assert!(Arc::ptr_eq(stored.text(), stored.clone().text()));
        let parsed = Source::parse("{{.attempt}}").expect("a template");
        assert_eq!((&parsed, parsed.as_str(), parsed.template().is_ok()), (&stored, "{{.attempt}}", true));
        assert_eq!(serde_json::to_string(&parsed).expect("JSON"), r#""{{.attempt}}""#);
        assert_ne!(parsed, Source::parse("{{.attempt}} ").expect("a template"));
        assert_eq!(std::mem::size_of::<Source>(), std::mem::size_of::<Arc<str>>(), "nothing else is kept");
    }

    #[test]
    fn a_text_that_is_no_template_is_read_and_says_what_is_wrong() {
        assert_eq!(Source::parse("a\n{{").map(drop).expect_err("no template").line, 2);
        let stored: Source = serde_json::from_str(r#""a\n{{""#).expect("a text");
        assert_eq!((stored.as_str(), stored.template().expect_err("no template").line), ("a\n{{", 2));
    }
}
