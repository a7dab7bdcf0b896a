//! The text of a template, with what it parses to.

use super::{Template, TemplateError};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::sync::{Arc, OnceLock};

/// The text of a template. It is parsed once, and clones share what came of that: whoever keeps one keeps a parsed template.
///
/// It is stored as its text, and read without being parsed: a text that an earlier release took and this one does not must not keep the
/// rest of the configuration from being read. What is to be rendered with it fails then, and says so.
#[derive(Clone)]
pub struct Source {
    inner: Arc<Inner>,
}

struct Inner {
    text: Box<str>,
    parsed: OnceLock<Result<Template, TemplateError>>,
}

impl Source {
    /// Takes a text that [`Template::parse`] takes.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let template = Template::parse(text)?;
        Ok(Source { inner: Arc::new(Inner { text: text.into(), parsed: OnceLock::from(Ok(template)) }) })
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.inner.text
    }

    /// The template; an error where the text was taken by another release and is none for this one.
    pub fn template(&self) -> Result<&Template, &TemplateError> {
        self.inner.parsed.get_or_init(|| Template::parse(&self.inner.text)).as_ref()
    }
}

impl PartialEq for Source {
    fn eq(&self, other: &Self) -> bool {
        self.inner.text == other.inner.text
    }
}

impl Eq for Source {}

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
        Ok(Source { inner: Arc::new(Inner { text: text.into(), parsed: OnceLock::new() }) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_is_parsed_once_for_all_who_have_it() {
        let stored: Source = serde_json::from_str(r#""{{.attempt}}""#).expect("a text");
        let other = stored.clone();
        let (one, two) = (stored.template().expect("a template"), other.template().expect("a template"));
        assert!(std::ptr::eq(one, two));
        let parsed = Source::parse("{{.attempt}}").expect("a template");
        assert_eq!((&parsed, parsed.as_str(), parsed.template().is_ok()), (&stored, "{{.attempt}}", true));
        assert_eq!(serde_json::to_string(&parsed).expect("JSON"), r#""{{.attempt}}""#);
        assert_ne!(parsed, Source::parse("{{.attempt}} ").expect("a template"));
    }

    #[test]
    fn a_text_that_is_no_template_is_read_and_says_what_is_wrong() {
        assert_eq!(Source::parse("a\n{{").map(drop).expect_err("no template").line, 2);
        let stored: Source = serde_json::from_str(r#""a\n{{""#).expect("a text");
        assert_eq!((stored.as_str(), stored.template().expect_err("no template").line), ("a\n{{", 2));
    }
}
