//! JSON into values. Numbers keep their text.

use super::number::Number;
use super::value::{Entries, Text, Value};
use super::{MAX_NUMBER_BYTES, MAX_VALUE_DEPTH, MAX_VALUES};
use std::borrow::Cow;

const NOT_JSON: &str = "the payload is not JSON";
const TOO_DEEP: &str = "the payload nests lists and objects more than 128 levels deep";
const TOO_LONG: &str = "the payload has a number of more than 1,000 characters";
const TOO_MANY: &str = "the payload has more than 250,000 values";

/// The payload as a value.
pub(super) fn payload(bytes: &[u8]) -> Result<Value<'_>, &'static str> {
    let text = crate::json::checked(bytes).ok_or(NOT_JSON)?;
    Reader { text, at: 0, left: MAX_VALUES }.value(0)
}

/// A place in a text that is known to be JSON.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    /// How many more values there may be.
    left: usize,
}

impl<'a> Reader<'a> {
    /// The next byte that is no white space.
    fn peek(&mut self) -> Option<u8> {
        let bytes = self.text.as_bytes();
        while matches!(bytes.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
        bytes.get(self.at).copied()
    }

    /// Takes a sign if it is next.
    fn takes(&mut self, sign: u8) -> bool {
        let is_next = self.peek() == Some(sign);
        self.at += usize::from(is_next);
        is_next
    }

    fn value(&mut self, depth: u16) -> Result<Value<'a>, &'static str> {
        self.left = self.left.checked_sub(1).ok_or(TOO_MANY)?;
        match self.peek().ok_or(NOT_JSON)? {
            b'{' if depth == MAX_VALUE_DEPTH => Err(TOO_DEEP),
            b'[' if depth == MAX_VALUE_DEPTH => Err(TOO_DEEP),
            b'{' => self.object(depth + 1),
            b'[' => self.array(depth + 1),
            b'"' => Ok(Value::Text(self.string()?)),
            _ => self.plain(),
        }
    }

    fn object(&mut self, depth: u16) -> Result<Value<'a>, &'static str> {
        self.at += 1;
        let mut entries = Entries::new();
        while !self.takes(b'}') {
            self.takes(b',');
            self.peek();
            let name = self.string()?;
            if !self.takes(b':') {
                return Err(NOT_JSON);
            }
            entries.insert(name, self.value(depth)?);
        }
        Value::map(entries).map_err(|_| TOO_DEEP)
    }

    fn array(&mut self, depth: u16) -> Result<Value<'a>, &'static str> {
        self.at += 1;
        let mut items = Vec::new();
        while !self.takes(b']') {
            self.takes(b',');
            items.push(self.value(depth)?);
        }
        Value::list(items).map_err(|_| TOO_DEEP)
    }

    fn string(&mut self) -> Result<Text<'a>, &'static str> {
        let rest = self.text.as_bytes().get(self.at..).ok_or(NOT_JSON)?;
        let mut length = 1;
        loop {
            match rest.get(length).ok_or(NOT_JSON)? {
                b'"' => break,
                b'\\' => length += 2,
                _ => length += 1,
            }
        }
        let quoted = self.text.get(self.at..=self.at + length).ok_or(NOT_JSON)?;
        self.at += length + 1;
        match crate::json::string(quoted).ok_or(NOT_JSON)? {
            Cow::Borrowed(text) => Ok(Text::Borrowed(text)),
            Cow::Owned(text) => Ok(Text::Made(text.into())),
        }
    }

    /// A number, a truth value or null.
    fn plain(&mut self) -> Result<Value<'a>, &'static str> {
        let rest = self.text.get(self.at..).ok_or(NOT_JSON)?;
        let length = rest.find([' ', '\t', '\n', '\r', ',', ']', '}']).unwrap_or(rest.len());
        self.at += length;
        Ok(match &rest[..length] {
            "" => return Err(NOT_JSON),
            "null" => Value::Nil,
            "true" => Value::Bool(true),
            "false" => Value::Bool(false),
            number if number.len() > MAX_NUMBER_BYTES => return Err(TOO_LONG),
            number => Value::Number(Number::Spelled(number)),
        })
    }
}
