//! Which payloads a subscription wants: the values that some of their fields must have.

use crate::invalid::Invalid;
use crate::json;
use serde::{Deserialize, Serialize};
use std::cell::OnceCell;
use std::collections::{BTreeMap, HashMap, HashSet};

/// Most fields that one predicate names.
pub const MAX_MATCH_FIELDS: usize = 16;

/// How deep a value of a predicate may be nested: a scalar is 0 levels, `{"a":[1]}` is 2.
pub const MAX_MATCH_DEPTH: usize = 8;

/// Longest predicate, in bytes of its JSON.
pub const MAX_MATCH_BYTES: usize = 8_192;

/// Longest value of a payload that is compared, in bytes as it was sent: nothing that a predicate can hold is longer, white space and
/// escapes apart, and routing must not copy more than that.
const MAX_COMPARED_BYTES: usize = 16 * MAX_MATCH_BYTES;

/// Values that fields of an event's payload must have, all of them.
///
/// Only the payload's own fields are looked at (the contract calls that shallow), and their values are compared whole, as JSON values: `1`
/// equals `1.0`, the order of an object's fields does not matter, numbers are exact whatever their length. A payload that is no object, and a
/// field that is missing, equal nothing, `null` neither. Stored and shown as the JSON text it was read from.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Match {
    text: Box<str>,
    /// By the fields' names, in their [`json::canonical`] spelling. Never empty.
    wanted: BTreeMap<Box<str>, Box<str>>,
}

impl Match {
    /// Reads a predicate from the text of a JSON object. `None` for one without fields: it asks for nothing.
    pub fn parse(text: &str) -> Result<Option<Self>, Invalid> {
        let wrong = |message: &'static str| Err(Invalid::new("", message));
        if text.len() > MAX_MATCH_BYTES {
            return wrong("match is at most 8,192 bytes of JSON");
        }
        let Ok(fields) = json::fields(text) else {
            return wrong("match must be an object: fields of the payload and the values that they must have");
        };
        if fields.len() > MAX_MATCH_FIELDS {
            return wrong("match names at most 16 fields");
        }
        let mut wanted = BTreeMap::new();
        for (name, value) in fields {
            let Some(canonical) = json::canonical(value, MAX_MATCH_DEPTH) else {
                return Err(Invalid::new(&*name, "a value in match is nested at most 8 levels deep"));
            };
            wanted.insert(name.into(), canonical.into());
        }
        Ok((!wanted.is_empty()).then(|| Match { text: text.into(), wanted }))
    }

    /// The JSON text it was read from.
    pub fn as_json(&self) -> &str {
        &self.text
    }

    /// The fields that it looks at.
    pub fn fields(&self) -> impl Iterator<Item = &str> {
        self.wanted.keys().map(|name| &**name)
    }

    /// Whether a payload has these values. `facts` must have been read for [`Match::fields`].
    pub fn matches(&self, facts: &Facts<'_>) -> bool {
        self.wanted.iter().all(|(name, value)| facts.canonical(name) == Some(value))
    }
}

impl TryFrom<String> for Match {
    type Error = Invalid;
    fn try_from(text: String) -> Result<Self, Invalid> {
        Match::parse(&text)?.ok_or_else(|| Invalid::new("", "a stored match names a field"))
    }
}

impl From<Match> for String {
    fn from(predicate: Match) -> String {
        predicate.text.into()
    }
}

/// What predicates want to know of one payload: some of its fields, read in one walk over it. The other fields cost no memory.
#[derive(Debug, Default)]
pub struct Facts<'a> {
    fields: HashMap<Box<str>, Fact<'a>>,
}

#[derive(Debug)]
struct Fact<'a> {
    text: &'a str,
    canonical: OnceCell<Option<String>>,
}

impl<'a> Facts<'a> {
    /// Reads what these predicates look at. A payload that is no JSON object has no fields.
    pub fn read<'m>(payload: &'a [u8], of: impl IntoIterator<Item = &'m Match>) -> Self {
        let wanted: HashSet<&str> = of.into_iter().flat_map(Match::fields).collect();
        let mut fields = HashMap::with_capacity(wanted.len());
        let found = |name: std::borrow::Cow<'_, str>, text| _ = fields.insert(name.into(), Fact { text, canonical: OnceCell::new() });
        let whole = std::str::from_utf8(payload).ok().and_then(|text| json::look_up(text, |name| wanted.contains(name), found));
        if whole.is_none() {
            fields.clear();
        }
        Facts { fields }
    }

    fn canonical(&self, name: &str) -> Option<&str> {
        let fact = self.fields.get(name)?;
        let spell = || if fact.text.len() > MAX_COMPARED_BYTES { None } else { json::canonical(fact.text, MAX_MATCH_DEPTH) };
        fact.canonical.get_or_init(spell).as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn wants(predicate: &str, payload: &str) -> bool {
        let predicate = Match::parse(predicate).expect("a right one").expect("a field");
        predicate.matches(&Facts::read(payload.as_bytes(), [&predicate]))
    }

    #[test]
    fn values_are_compared_as_values() {
        for (predicate, payload) in [
            (r#"{"total":12.50}"#, r#"{"x":[1],"total":12.5}"#),
            (r#"{"a":null}"#, r#"{"a":null}"#),
            (r#"{"a":"é","b":true}"#, r#"{"b":true,"\u0061":"\u00e9"}"#),
            (r#"{"a":{"x":1,"y":[2]}}"#, r#"{"a":{"y":[2.0],"x":1}}"#),
            (r#"{"a":1}"#, r#"{"a":2,"a":1}"#),
        ] {
            assert!(wants(predicate, payload), "{predicate} {payload}");
        }
        for (predicate, payload) in [
            (r#"{"a":null}"#, "{}"),
            (r#"{"a":1}"#, r#"{"a":"1"}"#),
            (r#"{"a":1,"b":1}"#, r#"{"a":1}"#),
            (r#"{"a":{"x":1}}"#, r#"{"a":{"x":1,"y":2}}"#),
            (r#"{"a.b":1}"#, r#"{"a":{"b":1}}"#),
            (r#"{"a":1}"#, r#"[{"a":1}]"#),
            (r#"{"a":1}"#, r#"{"a":1} {"#),
        ] {
            assert!(!wants(predicate, payload), "{predicate} {payload}");
        }
        let padded = format!("{{\"a\":[{}1]}}", " ".repeat(MAX_COMPARED_BYTES));
        assert!(!wants(r#"{"a":[1]}"#, &padded), "a value that is too long to compare equals nothing");
        let predicate = Match::parse(r#"{"a":1}"#).expect("right").expect("a field");
        assert!(!predicate.matches(&Facts::read(b"{\"a\":1,\"b\":\"\xff\"}", [&predicate])), "not UTF-8");
    }

    #[test]
    fn limits_are_told() {
        assert_eq!(Match::parse("{}"), Ok(None));
        let many: Vec<_> = (0..=MAX_MATCH_FIELDS).map(|n| format!("\"{n}\":0")).collect();
        assert!(Match::parse(&format!("{{{}}}", many.join(","))).is_err());
        assert!(Match::parse(&format!("{{{}}}", many[1..].join(","))).is_ok());
        let deep = |levels| format!("{{\"a\":{}1{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(Match::parse(&deep(MAX_MATCH_DEPTH)).is_ok());
        assert_eq!(Match::parse(&deep(MAX_MATCH_DEPTH + 1)).expect_err("too deep").path, "a");
        assert!(Match::parse(&format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_MATCH_BYTES))).is_err());
        for other in ["[]", "1", "", "{"] {
            assert!(Match::parse(other).is_err(), "{other}");
        }
    }

    #[test]
    fn it_is_stored_as_it_was_given() {
        let text = r#"{ "b": 1.50, "a": "x" }"#;
        let predicate = Match::parse(text).expect("right").expect("fields");
        assert_eq!(predicate.as_json(), text);
        let stored = serde_json::to_string(&predicate).expect("JSON");
        assert_eq!(serde_json::from_str::<Match>(&stored).expect("a match"), predicate);
        assert!(serde_json::from_str::<Match>("\"[]\"").is_err());
    }

    proptest! {
        /// However many predicates are read for together, each answers as it would alone.
        #[test]
        fn predicates_do_not_disturb_each_other(payload in "[a-c]{1,3}", values in prop::collection::vec(("[a-c]", 0u8..3), 1..6)) {
            let payload = payload.chars().enumerate().map(|(n, c)| format!("\"{c}\":{n}")).collect::<Vec<_>>().join(",");
            let payload = format!("{{{payload}}}");
            let texts: Vec<_> = values.iter().map(|(name, value)| format!("{{\"{name}\":{value}.0}}")).collect();
            let predicates: Vec<_> = texts.iter().filter_map(|text| Match::parse(text).ok().flatten()).collect();
            let facts = Facts::read(payload.as_bytes(), &predicates);
            for (text, predicate) in texts.iter().zip(&predicates) {
                prop_assert_eq!(predicate.matches(&facts), wants(text, &payload));
            }
        }
    }
}
