//! Functions that write texts and values in other notations.

use super::eval::Tools;
use super::meter::{Draft, Fault};
use super::number::{self, Number};
use super::value::Value;
use super::{MAX_OUTPUT_BYTES, print, text};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

type Answer<'a> = Result<Value<'a>, Fault>;

/// The arguments of `html`, `js` and `urlquery` as one text.
fn all(tools: &mut Tools<'_>, args: &[Value<'_>]) -> Result<String, Fault> {
    let mut draft = Draft::new(tools.meter);
    match args {
        [nil] if nil.is_nil() => draft.push("<no value>")?,
        args => print::print(args, &mut draft)?,
    }
    Ok(draft.into_string())
}

pub(super) fn html<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let text = all(tools, args)?;
    let mut draft = Draft::new(tools.meter);
    for c in text.chars() {
        match c {
            '"' => draft.push("&#34;")?,
            '\'' => draft.push("&#39;")?,
            '&' => draft.push("&amp;")?,
            '<' => draft.push("&lt;")?,
            '>' => draft.push("&gt;")?,
            '\0' => draft.push("\u{fffd}")?,
            other => draft.push_char(other)?,
        }
    }
    Ok(draft.into_value())
}

pub(super) fn js<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let text = all(tools, args)?;
    let mut draft = Draft::new(tools.meter);
    for c in text.chars() {
        match c {
            '\\' | '\'' | '"' => {
                draft.push("\\")?;
                draft.push_char(c)?;
            }
            '<' | '>' | '&' | '=' => draft.push(&format!("\\u{:04X}", u32::from(c)))?,
            c if c.is_ascii() && !c.is_ascii_control() => draft.push_char(c)?,
            c if c.is_ascii_control() || !is_printable(c) => draft.push(&format!("\\u{:04X}", u32::from(c)))?,
            other => draft.push_char(other)?,
        }
    }
    Ok(draft.into_value())
}

/// Whether a character shows itself.
pub(super) fn is_printable(c: char) -> bool {
    // Marks that combine with what is before them are escaped by Rust and printable for Go.
    c == ' ' || !(c.is_control() || c.is_whitespace()) && (c.is_alphanumeric() || c.escape_debug().len() == 1)
}

pub(super) fn urlquery<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let text = all(tools, args)?;
    query(tools, &text)
}

pub(super) fn urlencode<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    query(tools, text::string(&args[0])?)
}

fn query<'a>(tools: &mut Tools<'_>, text: &str) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => draft.push_char(char::from(byte))?,
            b' ' => draft.push("+")?,
            other => draft.push(&format!("%{other:02X}"))?,
        }
    }
    Ok(draft.into_value())
}

pub(super) fn base64<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let text = text::string(&args[0])?;
    // The bound is looked at before the text is made: four characters for three bytes.
    if text.len() > MAX_OUTPUT_BYTES / 4 * 3 {
        return Err(super::meter::TOO_LONG_TEXT);
    }
    tools.meter.make(text.len().div_ceil(3) * 4)?;
    Ok(Value::made(STANDARD.encode(text)))
}

pub(super) fn base64decode<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let text = text::string(&args[0])?;
    tools.meter.make(text.len())?;
    // As in Go, lines may be broken.
    let text: String = text.chars().filter(|c| !matches!(c, '\r' | '\n')).collect();
    let bytes = STANDARD.decode(text).map_err(|_| Fault::failed("illegal base64 data"))?;
    let text = String::from_utf8(bytes).map_err(|_| Fault::failed("the decoded bytes are not text in UTF-8"))?;
    if text.len() > MAX_OUTPUT_BYTES {
        return Err(super::meter::TOO_LONG_TEXT);
    }
    Ok(Value::made(text))
}

pub(super) fn json<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    write_json(&args[0], &mut draft)?;
    Ok(draft.into_value())
}

/// Puts a value as Go's `json.Marshal` does: no white space, fields by name, and `<`, `>` and `&` escaped.
fn write_json(value: &Value<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.meter.step(1)?;
    match value {
        Value::Missing | Value::Nil => draft.push("null"),
        Value::Bool(value) => draft.push(if *value { "true" } else { "false" }),
        Value::Number(Number::Int(value)) => draft.push(&value.to_string()),
        Value::Number(Number::Float(value)) => draft.push(&json_float(*value)?),
        Value::Number(Number::Spelled(text)) => draft.push(text),
        Value::Text(text) => write_json_string(text.as_str(), draft),
        Value::Time(moment) => write_json_string(&moment.rfc3339(), draft),
        Value::List(list) => {
            draft.push("[")?;
            for (n, item) in list.items.iter().enumerate() {
                draft.push(if n == 0 { "" } else { "," })?;
                write_json(item, draft)?;
            }
            draft.push("]")
        }
        Value::Map(map) => {
            draft.push("{")?;
            for (n, (name, item)) in map.entries.iter().enumerate() {
                draft.push(if n == 0 { "" } else { "," })?;
                write_json_string(name.as_str(), draft)?;
                draft.push(":")?;
                write_json(item, draft)?;
            }
            draft.push("}")
        }
    }
}

fn json_float(value: f64) -> Result<String, Fault> {
    if !value.is_finite() {
        return Err(Fault::failed(format!("json: unsupported value: {}", number::special(value))));
    }
    let size = value.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return Ok(format!("{value}"));
    }
    let text = number::go_exponent(&format!("{value:e}"));
    // As in JavaScript, 1e-7 and not 1e-07.
    Ok(text.replace("e-0", "e-"))
}

fn write_json_string(text: &str, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.push("\"")?;
    let mut from = 0;
    for (at, c) in text.char_indices() {
        let escaped = match c {
            '"' => "\\\"",
            '\\' => "\\\\",
            '\n' => "\\n",
            '\r' => "\\r",
            '\t' => "\\t",
            '\u{8}' => "\\b",
            '\u{c}' => "\\f",
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' | '\0'..='\u{1f}' => &format!("\\u{:04x}", u32::from(c)),
            _ => continue,
        };
        draft.push(&text[from..at])?;
        draft.push(escaped)?;
        from = at + c.len_utf8();
    }
    draft.push(&text[from..])?;
    draft.push("\"")
}
