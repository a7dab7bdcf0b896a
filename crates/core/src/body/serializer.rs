//! Formats of a body.

use super::buffer::Buffer;
use super::{Unrenderable, csv};
use crate::json::{self, Kind};
use serde::{Deserialize, Serialize};
use std::fmt;

/// A format of a body that is made from a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Format {
    /// The payload as it is.
    Json,
    /// One line of JSON; one line for each element where the payload is an array.
    Ndjson,
    /// A line of names and a line of values, or a line for each element where the payload is an array of objects.
    Csv,
    /// A line `name: value` for each field; the text itself where the payload is a string.
    Txt,
}

/// A format as bindings name it: those made from a payload, and the payload itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Serializer {
    /// The accepted bytes and nothing else.
    Raw,
    /// Made from the payload.
    Made(Format),
}

impl Serializer {
    /// Every serializer, in the order of the catalog.
    pub const ALL: [Serializer; 5] = [
        Serializer::Made(Format::Json),
        Serializer::Made(Format::Ndjson),
        Serializer::Made(Format::Csv),
        Serializer::Raw,
        Serializer::Made(Format::Txt),
    ];

    /// The name in `serializer_format`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Serializer::Raw => "raw",
            Serializer::Made(format) => format.as_str(),
        }
    }

    /// Reads a name.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|serializer| serializer.as_str() == text)
    }
}

impl fmt::Display for Serializer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Format {
    /// The name in `serializer_format`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Format::Json => "json",
            Format::Ndjson => "ndjson",
            Format::Csv => "csv",
            Format::Txt => "txt",
        }
    }

    /// The media type without parameters: `mime` of an envelope's content.
    pub const fn mime(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv",
            Format::Txt => "text/plain",
        }
    }

    /// The `Content-Type` of a body in this format.
    pub const fn content_type(self) -> &'static str {
        match self {
            Format::Json => "application/json",
            Format::Ndjson => "application/x-ndjson",
            Format::Csv => "text/csv; charset=utf-8; header=present",
            Format::Txt => "text/plain; charset=utf-8",
        }
    }

    /// Writes a payload, which must be JSON.
    pub(super) fn write(self, payload: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
        match self {
            Format::Json => out.put(payload),
            Format::Ndjson => ndjson(payload, out),
            Format::Csv => csv::write(payload, out),
            Format::Txt => txt(payload, out),
        }
    }
}

fn ndjson(payload: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
    let mut line = |text| {
        json::compact(text, |piece| out.put(piece))?;
        out.put("\n")
    };
    match json::kind(payload) {
        Kind::Array => json::each_element(payload, line)?,
        _ => line(payload),
    }
}

/// One field stays one line: a string with a line break (or another control character) in it is written as JSON.
fn txt(payload: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
    match json::kind(payload) {
        Kind::String => out.put(&*json::string(payload).ok_or(Unrenderable::NotJson)?),
        Kind::Plain | Kind::Array => json::compact(payload, |piece| out.put(piece)),
        Kind::Object => json::fields(payload)?.into_iter().try_for_each(|(name, value)| {
            let name = if is_one_line(&name) { name } else { json::quoted(&name).into() };
            out.put_all([&name, ": "])?;
            match json::kind(value) {
                Kind::String => {
                    let text = json::string(value).ok_or(Unrenderable::NotJson)?;
                    out.put(if is_one_line(&text) { &*text } else { value })?;
                }
                _ => json::compact(value, |piece| out.put(piece))?,
            }
            out.put("\n")
        }),
    }
}

fn is_one_line(text: &str) -> bool {
    // U+2028 and U+2029 end a line too, for those who read by Unicode's rules.
    !text.chars().any(|c| c.is_control() || matches!(c, '\u{2028}' | '\u{2029}'))
}
