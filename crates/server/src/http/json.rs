//! JSON from strangers: checked without building a tree, read field by field so that every error names its field.

use super::Problem;
use serde::de::{Deserialize, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::fmt;

/// How deep arrays and objects may lie in each other; receivers' parsers commonly stop there too.
pub const MAX_DEPTH: usize = 128;

/// Checks that `bytes` are one JSON value in UTF-8, not too deep. The error says where it goes wrong.
pub fn check(bytes: &[u8]) -> Result<(), Problem> {
    let text = std::str::from_utf8(bytes)
        .map_err(|e| Problem::bad_request(format!("the body is not valid JSON: byte {} is not UTF-8", e.valid_up_to() + 1)))?;
    serde_json::from_str::<IgnoredAny>(text).map_err(|e| Problem::bad_request(format!("the body is not valid JSON: {e}")))?;
    check_depth(bytes)
}

/// What an error repeats of what was sent: enough to find it, for it may be as long as the body.
pub fn clip(text: &str) -> Cow<'_, str> {
    const SHOWN: usize = 100;
    match text.char_indices().nth(SHOWN) {
        None => Cow::Borrowed(text),
        Some((end, _)) => Cow::Owned(format!("{}...", &text[..end])),
    }
}

/// Where a field is there twice in its object, in valid JSON of a bounded depth; `None` where no field is.
pub fn doubled(json: &str) -> Option<String> {
    let under = |place: Cow<'_, str>, inner: String| {
        let separator = if inner.starts_with('[') { "" } else { "." };
        format!("{place}{separator}{inner}")
    };
    if let Ok(Fields(fields)) = serde_json::from_str(json) {
        let mut seen = HashSet::new();
        return fields.iter().find_map(|(name, value)| {
            if seen.insert(name) { Some(under(clip(name), doubled(value.get())?)) } else { Some(clip(name).into_owned()) }
        });
    }
    let values: Vec<&RawValue> = serde_json::from_str(json).ok()?;
    values.iter().enumerate().find_map(|(at, value)| Some(under(format!("[{at}]").into(), doubled(value.get())?)))
}

/// Checks the depth of valid JSON.
pub fn check_depth(bytes: &[u8]) -> Result<(), Problem> {
    // Every level takes two bytes and a bracket that opens it, and counting those is fast.
    if bytes.len() <= 2 * MAX_DEPTH || bytes.iter().filter(|byte| matches!(byte, b'[' | b'{')).count() <= MAX_DEPTH {
        return Ok(());
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for &byte in bytes {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(Problem::bad_request(format!("the body's arrays and objects lie deeper than {MAX_DEPTH} levels")));
        }
    }
    Ok(())
}

/// A field of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Field<T> {
    /// It is not there.
    Absent,
    /// It is there and `null`.
    Null,
    /// It is there.
    Value(T),
}

impl<T> Field<T> {
    /// The value, where absent and `null` mean the same.
    pub fn value(self) -> Option<T> {
        match self {
            Field::Value(value) => Some(value),
            Field::Absent | Field::Null => None,
        }
    }
}

/// The fields of a JSON object, unread.
#[derive(Debug)]
pub struct Fields<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'a> Fields<'a> {
    /// Reads a body that must be an object with no other than the `known` fields, each at most once.
    pub fn parse(body: &'a [u8], known: &[&str]) -> Result<Self, Problem> {
        check(body)?;
        let fields: Fields<'a> = serde_json::from_slice(body).map_err(|_| Problem::bad_request("the body must be a JSON object"))?;
        for (i, (name, _)) in fields.0.iter().enumerate() {
            if !known.contains(&name.as_ref()) {
                return Err(Problem::bad_request(format!("unknown field {:?}; known fields: {}", clip(name), known.join(", "))));
            }
            if fields.0[..i].iter().any(|(earlier, _)| earlier == name) {
                return Err(Problem::bad_request(format!("the field {name:?} is there twice")));
            }
        }
        Ok(fields)
    }

    /// Fields that are not `known`, and known ones that come a second time, each with what is wrong with it.
    pub fn strangers<'f>(&'f self, known: &'f [&str]) -> impl Iterator<Item = (&'f str, String)> + 'f {
        let mut seen = HashSet::with_capacity(known.len());
        self.0.iter().filter_map(move |(name, _)| {
            if !known.contains(&name.as_ref()) {
                return Some((name.as_ref(), format!("unknown field; known: {}", known.join(", "))));
            }
            (!seen.insert(name.as_ref())).then(|| (name.as_ref(), String::from("is there twice")))
        })
    }

    /// The names in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|(name, _)| name.as_ref())
    }

    /// A field's bytes as they were sent.
    pub fn raw(&self, name: &str) -> Field<&'a str> {
        match self.0.iter().find(|(n, _)| n == name) {
            None => Field::Absent,
            Some((_, raw)) if raw.get() == "null" => Field::Null,
            Some((_, raw)) => Field::Value(raw.get()),
        }
    }

    fn read<T: Deserialize<'a>>(&self, name: &str, what: &str) -> Result<Field<T>, Problem> {
        match self.raw(name) {
            Field::Absent => Ok(Field::Absent),
            Field::Null => Ok(Field::Null),
            Field::Value(raw) => serde_json::from_str(raw).map(Field::Value).map_err(|_| wrong(name, what)),
        }
    }

    /// A text.
    pub fn text(&self, name: &str) -> Result<Field<String>, Problem> {
        self.read(name, "a string")
    }

    /// A text that must be there.
    pub fn required_text(&self, name: &str) -> Result<String, Problem> {
        self.text(name)?.value().ok_or_else(|| wrong(name, "a string and must be there"))
    }

    /// A text, or a list of texts.
    pub fn text_or_list(&self, name: &str) -> Result<Field<Vec<String>>, Problem> {
        #[derive(serde::Deserialize)]
        #[serde(untagged)]
        enum Either {
            One(String),
            Many(Vec<String>),
        }
        Ok(match self.read(name, "a string or an array of strings")? {
            Field::Absent => Field::Absent,
            Field::Null => Field::Null,
            Field::Value(Either::One(one)) => Field::Value(vec![one]),
            Field::Value(Either::Many(many)) => Field::Value(many),
        })
    }

    /// A map of texts.
    pub fn text_map(&self, name: &str) -> Result<Field<BTreeMap<String, String>>, Problem> {
        self.read(name, "an object of strings")
    }

    /// A whole number that is not negative.
    pub fn number(&self, name: &str) -> Result<Field<u64>, Problem> {
        self.read(name, "a whole number that is not negative")
    }
}

fn wrong(name: &str, what: &str) -> Problem {
    Problem::bad_request(format!("the field {name:?} must be {what}"))
}

impl<'de: 'a, 'a> Deserialize<'de> for Fields<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;
        impl<'de> Visitor<'de> for Object {
            type Value = Fields<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Fields<'de>, A::Error> {
                let mut fields = Vec::new();
                while let Some((Name(name), raw)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    fields.push((name, raw));
                }
                Ok(Fields(fields))
            }
        }
        deserializer.deserialize_map(Object)
    }
}

/// A field's name, borrowed unless it has escapes.
#[derive(serde::Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

#[cfg(test)]
mod tests {
    use super::*;

    fn message(result: Result<impl fmt::Debug, Problem>) -> String {
        result.expect_err("is refused").message
    }

    #[test]
    fn any_json_value_passes_and_nothing_else() {
        for good in ["{}", "[]", "\"x\"", "1e5", "null", " true ", "{\"a\":\"\\ud83d\\ude00\"}", "\"\\ud800\""] {
            assert_eq!(check(good.as_bytes()), Ok(()), "{good}");
        }
        for bad in ["", " ", "{", "{\"a\":}", "nul", "01", "[1,]", "{} {}", "'a'", "\u{feff}{}"] {
            assert!(check(bad.as_bytes()).is_err(), "{bad}");
        }
        assert!(message(check(b"{\"a\": nope}")).contains("line 1 column"));
        assert!(message(check(b"\"\xff\"")).contains("byte 2 is not UTF-8"));
    }

    #[test]
    fn depth_is_bounded_and_brackets_in_strings_do_not_count() {
        let nested = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
        assert_eq!(check(nested(MAX_DEPTH).as_bytes()), Ok(()));
        assert!(message(check(nested(MAX_DEPTH + 1).as_bytes())).contains("128 levels"));
        assert_eq!(check(format!("[\"\\\"{}\"]", "[".repeat(1_000)).as_bytes()), Ok(()));
        // Far deeper than a stack would bear, were it parsed by recursion.
        assert!(check(nested(400_000).as_bytes()).is_err());
    }

    #[test]
    fn fields_that_are_there_twice_are_found_at_any_depth() {
        for (json, path) in [
            (r#"{"a": 1, "b": {"a": 1}, "c": [{"a": 1}, {"a": 2}]}"#, None),
            (r#"{"a": 1, "\u0061": 2}"#, Some("a")),
            (r#"{"b": {"a": 1, "a": 1}}"#, Some("b.a")),
            (r#"{"b": [1, [{"c": {"a": 1, "a": 1}}]]}"#, Some("b[1][0].c.a")),
            (r#"[{}, {"a": 1, "a": 1}]"#, Some("[1].a")),
            ("\"a\"", None),
        ] {
            assert_eq!(doubled(json).as_deref(), path, "{json}");
        }
    }

    #[test]
    fn objects_are_read_field_by_field() {
        let body = br#"{"a": "x\n", "b": null, "c": ["p", "q"], "n": 3, "raw": {"z": 1.0,  "y": 2}, "\u0065": "e"}"#;
        let fields = Fields::parse(body, &["a", "b", "c", "n", "raw", "e"]).expect("fields");
        assert_eq!(fields.text("a"), Ok(Field::Value(String::from("x\n"))));
        assert_eq!(fields.text("b"), Ok(Field::Null));
        assert_eq!(fields.text("zzz"), Ok(Field::Absent));
        assert_eq!(fields.text("e"), Ok(Field::Value(String::from("e"))));
        assert_eq!(fields.number("n"), Ok(Field::Value(3)));
        assert_eq!(fields.raw("raw"), Field::Value(r#"{"z": 1.0,  "y": 2}"#));
        assert_eq!(fields.text_or_list("c"), Ok(Field::Value(vec![String::from("p"), String::from("q")])));
        assert_eq!(message(fields.text("n")), "the field \"n\" must be a string");
        assert_eq!(message(fields.required_text("b")), "the field \"b\" must be a string and must be there");
    }

    #[test]
    fn unknown_and_doubled_fields_are_named() {
        assert_eq!(message(Fields::parse(br#"{"x": 1}"#, &["a", "b"])), "unknown field \"x\"; known fields: a, b");
        assert_eq!(message(Fields::parse(br#"{"a": 1, "a": 2}"#, &["a"])), "the field \"a\" is there twice");
        assert_eq!(message(Fields::parse(b"[1]", &["a"])), "the body must be a JSON object");
    }
}
