//! Payloads as comma-separated values (RFC 4180), with a line of names first.
//!
//! Values are written as they are. A text that begins with `=`, `+`, `-` or `@` is not changed, although spreadsheets take it for a formula:
//! the receiver of a webhook is a program, an apostrophe before `+49 30 1234` would be a wrong number to it, and it could not tell the
//! apostrophe from data. Whoever opens what was received in a spreadsheet imports the columns as text; the documentation says so.

use super::Unrenderable;
use super::buffer::Buffer;
use crate::json::{self, Kind, MAX_FIELDS};
use std::collections::HashMap;

/// Writes one line for an object, one line for each element of an array of objects. The columns are the fields in the order in which they
/// are first seen; without any field nothing is written.
pub(super) fn write(payload: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
    let columns = columns(payload)?;
    if columns.is_empty() {
        return Ok(());
    }
    for (n, name) in columns.iter().enumerate() {
        out.put(if n == 0 { "" } else { "," })?;
        text(name, out)?;
    }
    out.put("\r\n")?;
    let index: HashMap<&str, usize> = columns.iter().enumerate().map(|(n, name)| (&**name, n)).collect();
    each_record(payload, |record| {
        let mut values = vec![None; columns.len()];
        for (name, value) in json::fields(record)? {
            if let Some(&n) = index.get(&*name) {
                values[n] = Some(value);
            }
        }
        for (n, found) in values.into_iter().enumerate() {
            out.put(if n == 0 { "" } else { "," })?;
            found.map_or(Ok(()), |found| value(found, out))?;
        }
        out.put("\r\n")
    })
}

fn columns(payload: &str) -> Result<Vec<String>, Unrenderable> {
    let (mut columns, mut seen) = (Vec::new(), std::collections::HashSet::new());
    each_record(payload, |record| {
        for (name, _) in json::fields(record)? {
            if seen.contains(&*name) {
                continue;
            }
            if columns.len() == MAX_FIELDS {
                return Err(Unrenderable::TooManyFields);
            }
            seen.insert(name.clone().into_owned());
            columns.push(name.into_owned());
        }
        Ok(())
    })?;
    Ok(columns)
}

fn each_record(payload: &str, mut take: impl FnMut(&str) -> Result<(), Unrenderable>) -> Result<(), Unrenderable> {
    let mut record = |text| if json::kind(text) == Kind::Object { take(text) } else { Err(Unrenderable::NoFields) };
    match json::kind(payload) {
        Kind::Array => json::each_element(payload, record)?,
        _ => record(payload),
    }
}

/// Null is an empty value, an empty text is `""`; what is nested is its JSON.
fn value(json_text: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
    match json::kind(json_text) {
        Kind::Plain if json_text == "null" => Ok(()),
        Kind::Plain => out.put(json_text),
        Kind::String => text(&json::string(json_text).ok_or(Unrenderable::NotJson)?, out),
        Kind::Object | Kind::Array => {
            let mut nested = String::with_capacity(json_text.len());
            json::compact(json_text, |piece| {
                nested.push_str(piece);
                Ok::<_, Unrenderable>(())
            })?;
            text(&nested, out)
        }
    }
}

fn text(text: &str, out: &mut Buffer) -> Result<(), Unrenderable> {
    let is_plain = !text.is_empty() && !text.contains([',', '"', '\r', '\n']) && text.trim() == text;
    if is_plain {
        return out.put(text);
    }
    out.put("\"")?;
    for (n, part) in text.split('"').enumerate() {
        out.put_all([if n == 0 { "" } else { "\"\"" }, part])?;
    }
    out.put("\"")
}
