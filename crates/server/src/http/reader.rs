//! Reads a JSON object field by field and notes everything that is wrong with it, each with its path.

use super::json::{self, Field, Fields, clip};
use super::{Detail, Problem};
use serde::de::DeserializeOwned;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::rc::Rc;

/// Most mistakes that one answer tells.
const MAX_DETAILS: usize = 20;

type Findings = Rc<RefCell<Vec<Detail>>>;

/// An object that is being read.
#[derive(Debug)]
pub struct Reader<'a> {
    fields: Fields<'a>,
    /// What the paths of its fields begin with.
    prefix: String,
    findings: Findings,
}

impl<'a> Reader<'a> {
    /// A request's body. 400 at once if it is no JSON object; unknown fields and those that come twice are noted.
    pub fn open(body: &'a [u8], known: &[&str]) -> Result<Self, Problem> {
        let whole = |message: String| Problem::validation(vec![Detail { path: String::new(), message }]);
        json::check(body).map_err(|problem| whole(problem.message))?;
        let findings = Findings::default();
        Reader::of(body, String::new(), known, &findings).ok_or_else(|| whole(String::from("the body must be a JSON object")))
    }

    fn of(json: &'a [u8], prefix: String, known: &[&str], findings: &Findings) -> Option<Self> {
        let fields: Fields<'a> = serde_json::from_slice(json).ok()?;
        let reader = Reader { fields, prefix, findings: Rc::clone(findings) };
        for (name, message) in reader.fields.strangers(known).take(MAX_DETAILS) {
            reader.fail(&clip(name), message);
        }
        Some(reader)
    }

    /// Ends the reading: 400 with all that was noted.
    pub fn finish(&self) -> Result<(), Problem> {
        let findings = std::mem::take(&mut *self.findings.borrow_mut());
        if findings.is_empty() { Ok(()) } else { Err(Problem::validation(findings)) }
    }

    /// Notes that something is wrong with a field.
    pub fn fail(&self, name: &str, message: impl Into<String>) {
        let mut findings = self.findings.borrow_mut();
        if findings.len() < MAX_DETAILS {
            findings.push(Detail { path: format!("{}{name}", self.prefix), message: message.into() });
        }
    }

    /// Whether something is wrong with this field or a part of it.
    pub fn is_bad(&self, name: &str) -> bool {
        let path = format!("{}{name}", self.prefix);
        let inside = |p: &str| p.strip_prefix(&path).is_some_and(|rest| rest.is_empty() || rest.starts_with(['.', '[']));
        self.findings.borrow().iter().any(|finding| inside(&finding.path))
    }

    /// A field's bytes as they were sent.
    pub fn raw(&self, name: &str) -> Field<&'a str> {
        self.fields.raw(name)
    }

    /// What is there, or the note that it must be.
    pub fn required<T>(&self, name: &str, field: Field<T>) -> Option<T> {
        let value = field.value();
        if value.is_none() && !self.is_bad(name) {
            self.fail(name, "is required");
        }
        value
    }

    /// A field of a type of its own; the rule answers what is wrong with a value.
    pub fn read<T: DeserializeOwned>(&self, name: &str, what: &str, rule: impl FnOnce(&T) -> Result<(), String>) -> Field<T> {
        let raw = match self.raw(name) {
            Field::Value(raw) => raw,
            Field::Null => return Field::Null,
            Field::Absent => return Field::Absent,
        };
        let checked = serde_json::from_str::<T>(raw).map_err(|_| format!("must be {what}")).and_then(|value| rule(&value).map(|()| value));
        match checked {
            Ok(value) => Field::Value(value),
            Err(message) => {
                self.fail(name, message);
                Field::Absent
            }
        }
    }

    /// A text of so many bytes without control characters.
    pub fn text(&self, name: &str, bytes: RangeInclusive<usize>) -> Field<String> {
        self.read(name, "a string", |text: &String| check_text(text, &bytes))
    }

    /// An object of texts whose names are the caller's own; the rule answers what is wrong with it.
    pub fn texts(&self, name: &str, rule: impl FnOnce(&BTreeMap<String, String>) -> Result<(), String>) -> Field<BTreeMap<String, String>> {
        let read = self.read(name, "an object of strings", rule);
        if let (Field::Value(_), Field::Value(raw)) = (&read, self.raw(name)) {
            self.distinct(name, raw);
        }
        read
    }

    /// Notes a field that is there twice in this value of `name`, at any depth: only one of the two could count. For values of a bounded
    /// length: each level is read again.
    pub fn distinct(&self, name: &str, value: &str) {
        if let Some(path) = json::doubled(value) {
            let separator = if path.starts_with('[') { "" } else { "." };
            self.fail(&format!("{name}{separator}{path}"), "is there twice");
        }
    }

    /// `true` or `false`.
    pub fn flag(&self, name: &str) -> Field<bool> {
        self.read(name, "true or false", |_| Ok(()))
    }

    /// A whole number in a range.
    pub fn number(&self, name: &str, range: RangeInclusive<u64>) -> Field<u64> {
        let what = format!("a whole number from {} to {}", range.start(), range.end());
        self.read(name, &what, |n| if range.contains(n) { Ok(()) } else { Err(format!("must be {what}")) })
    }

    /// An object inside of this one.
    pub fn object(&self, name: &str, known: &[&str]) -> Field<Reader<'a>> {
        match self.raw(name) {
            Field::Absent => Field::Absent,
            Field::Null => Field::Null,
            Field::Value(raw) => self.inner(name, raw, known),
        }
    }

    fn inner(&self, name: &str, raw: &'a str, known: &[&str]) -> Field<Reader<'a>> {
        match Reader::of(raw.as_bytes(), format!("{}{name}.", self.prefix), known, &self.findings) {
            Some(reader) => Field::Value(reader),
            None => {
                self.fail(name, "must be an object");
                Field::Absent
            }
        }
    }

    /// The values of an array of at most so many, as they were sent.
    pub fn list(&self, name: &str, most: usize) -> Field<Vec<&'a str>> {
        let raw = match self.raw(name) {
            Field::Absent => return Field::Absent,
            Field::Null => return Field::Null,
            Field::Value(raw) => raw,
        };
        let values = serde_json::from_str::<Vec<&'a serde_json::value::RawValue>>(raw);
        match values {
            Ok(values) if values.len() <= most => Field::Value(values.into_iter().map(|v| v.get()).collect()),
            Ok(values) => {
                self.fail(name, format!("has {} entries, at most {most} are allowed", values.len()));
                Field::Absent
            }
            Err(_) => {
                self.fail(name, "must be an array");
                Field::Absent
            }
        }
    }

    /// The objects of an array of at most so many.
    pub fn objects(&self, name: &str, most: usize, known: &[&str]) -> Field<Vec<Reader<'a>>> {
        match self.list(name, most) {
            Field::Absent => Field::Absent,
            Field::Null => Field::Null,
            Field::Value(values) => {
                let read = values.into_iter().enumerate().map(|(at, raw)| self.inner(&format!("{name}[{at}]"), raw, known).value());
                let all: Vec<Option<Reader<'a>>> = read.collect();
                all.into_iter().collect::<Option<Vec<_>>>().map_or(Field::Absent, Field::Value)
            }
        }
    }

    /// The names of the fields that are there, in their order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.fields.names()
    }
}

/// What is wrong with a text that may have so many bytes.
pub fn check_text(text: &str, bytes: &RangeInclusive<usize>) -> Result<(), String> {
    if !bytes.contains(&text.len()) {
        return Err(match (bytes.start(), bytes.end()) {
            (1, most) if text.is_empty() => format!("must not be empty, and have at most {most} bytes"),
            (least, most) => format!("must have {least} to {most} bytes, not {}", text.len()),
        });
    }
    if text.chars().any(char::is_control) { Err(String::from("must not hold control characters")) } else { Ok(()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn details(problem: &Problem) -> Vec<(&str, &str)> {
        problem.details.iter().map(|d| (d.path.as_str(), d.message.as_str())).collect()
    }

    #[test]
    fn everything_that_is_wrong_is_told_with_its_path() {
        let body =
            br#"{"name": "", "n": 0, "on": "yes", "x": 1, "n": 2, "in": {"deep": {"t": 3}}, "list": [{"a": 1}, 2], "many": [1, 2, 3]}"#;
        let reader = Reader::open(body, &["name", "n", "on", "in", "list", "many", "gone"]).expect("an object");
        assert_eq!(reader.text("name", 1..=10), Field::Absent);
        assert_eq!(reader.number("n", 1..=9), Field::Absent);
        reader.flag("on");
        let inner = reader.object("in", &["deep"]).value().and_then(|r| r.object("deep", &["t"]).value()).expect("objects");
        inner.text("t", 0..=5);
        assert!(matches!(reader.objects("list", 5, &["a"]), Field::Absent));
        reader.list("many", 2);
        assert_eq!(reader.required("gone", reader.flag("gone")), None);
        assert_eq!(reader.required("n", reader.raw("gone")), None, "noted already");
        let problem = reader.finish().expect_err("mistakes");
        let expected = [
            ("x", "unknown field; known: name, n, on, in, list, many, gone"),
            ("n", "is there twice"),
            ("name", "must not be empty, and have at most 10 bytes"),
            ("n", "must be a whole number from 1 to 9"),
            ("on", "must be true or false"),
            ("in.deep.t", "must be a string"),
            ("list[1]", "must be an object"),
            ("many", "has 3 entries, at most 2 are allowed"),
            ("gone", "is required"),
        ];
        assert_eq!(details(&problem), expected);
        assert_eq!((problem.status.as_u16(), problem.code), (400, "validation_error"));
        assert!(
            problem.message.starts_with("x: unknown field") && problem.message.ends_with("(and 8 more, see details)"),
            "{}",
            problem.message
        );
    }

    #[test]
    fn a_body_that_is_no_object_is_told_as_a_whole() {
        for body in [&b"[]"[..], b"{", b"3", b"\xff"] {
            let problem = Reader::open(body, &[]).expect_err("no object");
            assert_eq!((problem.code, problem.details[0].path.as_str()), ("validation_error", ""));
        }
    }

    #[test]
    fn the_number_of_mistakes_told_is_bounded() {
        let body = format!("{{{}}}", (0..100).map(|n| format!("\"f{n}\": 1")).collect::<Vec<_>>().join(","));
        let problem = Reader::open(body.as_bytes(), &["a"]).expect("an object").finish().expect_err("mistakes");
        assert_eq!(problem.details.len(), MAX_DETAILS);
    }
}
