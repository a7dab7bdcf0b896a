//! Which events a subscription wants: patterns of event types, label filters and predicates over payloads.

use crate::event::{BadName, MAX_NAME_BYTES, check_event_type};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

mod payload;
#[cfg(test)]
mod tests;

pub use payload::*;

/// Most labels an event or a filter may have.
pub const MAX_LABELS: usize = 20;

/// Longest key of a label, in bytes.
pub const MAX_LABEL_KEY_BYTES: usize = 64;

/// Longest value of a label, in bytes.
pub const MAX_LABEL_VALUE_BYTES: usize = 256;

/// A pattern of event types: `*` for every event, `order.*` for every type below `order.` (not `order` itself), anything else for that type alone.
///
/// Case matters. It is stored and shown as the text it was read from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct TypePattern(Form);

#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Form {
    Any,
    /// What a type must begin with and be longer than, with the dot at its end.
    Below(Box<str>),
    Exact(Box<str>),
}

impl TypePattern {
    /// Reads a pattern; the error says the rule that it breaks.
    pub fn parse(text: &str) -> Result<Self, BadName> {
        if text == "*" {
            return Ok(TypePattern(Form::Any));
        }
        if text.len() > MAX_NAME_BYTES {
            return Err(BadName("an event type pattern is at most 255 characters"));
        }
        let (name, form) = match text.strip_suffix(".*") {
            Some(name) => (name, Form::Below(text[..=name.len()].into())),
            None => (text, Form::Exact(text.into())),
        };
        if name.contains('*') {
            return Err(BadName(
                "in an event type pattern * stands alone for every type, or after a dot at the end, as in order.*; list several patterns for anything else",
            ));
        }
        check_event_type(name).map_err(|_| {
            BadName("an event type pattern is *, or 1 to 255 visible ASCII characters without spaces, such as order.created or order.*")
        })?;
        Ok(TypePattern(form))
    }

    /// Whether an event of this type is wanted. One without a type (the empty text) is wanted by `*` only.
    pub fn matches(&self, event_type: &str) -> bool {
        match &self.0 {
            Form::Any => true,
            Form::Below(prefix) => event_type.len() > prefix.len() && event_type.starts_with(&**prefix),
            Form::Exact(name) => event_type == &**name,
        }
    }

    /// Whether it is `*`.
    pub fn is_any(&self) -> bool {
        self.0 == Form::Any
    }

    /// The one type it stands for, if it has no wildcard.
    pub fn as_exact(&self) -> Option<&str> {
        match &self.0 {
            Form::Exact(name) => Some(name),
            Form::Any | Form::Below(_) => None,
        }
    }
}

impl fmt::Display for TypePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Form::Any => f.write_str("*"),
            Form::Below(prefix) => write!(f, "{prefix}*"),
            Form::Exact(name) => f.write_str(name),
        }
    }
}

impl TryFrom<String> for TypePattern {
    type Error = BadName;
    fn try_from(text: String) -> Result<Self, BadName> {
        TypePattern::parse(&text)
    }
}

impl From<TypePattern> for String {
    fn from(pattern: TypePattern) -> String {
        pattern.to_string()
    }
}

/// Labels that an event must carry, each with exactly this value. An empty filter wants every event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct LabelFilter(pub BTreeMap<String, String>);

impl LabelFilter {
    /// Whether an event with these labels is wanted.
    pub fn matches(&self, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|(key, value)| labels.get(key) == Some(value))
    }
}

/// Checks labels of an event or a filter: at most 20, keys of 1 to 64 characters of `A-Z a-z 0-9 . _ -`, values of at most 256 bytes
/// without control characters (PostgreSQL cannot store all of them, and nobody can read them).
pub fn check_labels(labels: &BTreeMap<String, String>) -> Result<(), BadName> {
    if labels.len() > MAX_LABELS {
        return Err(BadName("there can be at most 20 labels"));
    }
    let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    for (key, value) in labels {
        if key.is_empty() || key.len() > MAX_LABEL_KEY_BYTES || !key.bytes().all(allowed) {
            return Err(BadName("a label's key is 1 to 64 characters of A-Z a-z 0-9 . _ -"));
        }
        if value.len() > MAX_LABEL_VALUE_BYTES || value.chars().any(char::is_control) {
            return Err(BadName("a label's value is at most 256 bytes without control characters"));
        }
    }
    Ok(())
}
