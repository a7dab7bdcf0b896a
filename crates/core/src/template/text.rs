//! Functions of texts.

use super::MAX_REPEAT;
use super::eval::Tools;
use super::meter::{Draft, Fault};
use super::value::{Text, Value};

type Answer<'a> = Result<Value<'a>, Fault>;

/// The last place at which a text can be cut that is not behind `at`.
pub(super) fn floor(text: &str, at: usize) -> usize {
    if at >= text.len() {
        return text.len();
    }
    (0..=at).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

/// An argument that must be a text.
pub(super) fn string<'v>(value: &'v Value<'_>) -> Result<&'v str, Fault> {
    match value {
        Value::Text(text) => Ok(text.as_str()),
        Value::Missing => Err(Fault::failed("invalid value; expected string")),
        other => Err(Fault::failed(format!("wrong type for value; expected string; got {}", other.type_name()))),
    }
}

/// An argument that must be a whole number.
pub(super) fn int(value: &Value<'_>) -> Result<i64, Fault> {
    let number = if let Value::Number(number) = value { number.as_int() } else { None };
    number.ok_or_else(|| Fault::failed(format!("wrong type for value; expected int; got {}", value.type_name())))
}

/// A text of at most its own size that was made of another one.
fn made<'a>(tools: &mut Tools<'_>, text: &str) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    draft.push(text)?;
    Ok(draft.into_value())
}

/// The part of a text that begins and ends there; nothing is copied where the text is the payload's or the template's.
fn part<'a>(tools: &mut Tools<'_>, value: &Value<'a>, from: usize, to: usize) -> Answer<'a> {
    match value {
        Value::Text(Text::Borrowed(text)) => Ok(Value::Text(Text::Borrowed(&text[from..to]))),
        other => made(tools, &string(other)?[from..to]),
    }
}

/// Each character as others.
fn mapped<'a, I: Iterator<Item = char>>(tools: &mut Tools<'_>, value: &Value<'a>, map: impl Fn(char) -> I) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    for c in string(value)?.chars().flat_map(map) {
        draft.push_char(c)?;
    }
    Ok(draft.into_value())
}

/// The one character of the other case, where there is exactly one: as in Go, no character becomes several.
fn single(mut chars: impl Iterator<Item = char>, c: char) -> char {
    match (chars.next(), chars.next()) {
        (Some(other), None) => other,
        _ => c,
    }
}

pub(super) fn upper<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    mapped(tools, &args[0], |c| std::iter::once(single(c.to_uppercase(), c)))
}

pub(super) fn lower<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    mapped(tools, &args[0], |c| std::iter::once(single(c.to_lowercase(), c)))
}

/// Words begin behind what is no letter, digit or underscore, as for Go's `strings.Title`.
pub(super) fn title<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    let mut begins = true;
    for c in string(&args[0])?.chars() {
        draft.push_char(if begins { single(c.to_uppercase(), c) } else { c })?;
        begins = if c.is_ascii() { !(c.is_ascii_alphanumeric() || c == '_') } else { c.is_whitespace() };
    }
    Ok(draft.into_value())
}

fn trimmed<'a>(tools: &mut Tools<'_>, value: &Value<'a>, is_cut: impl Fn(char) -> bool) -> Answer<'a> {
    let text = string(value)?;
    let from = text.len() - text.trim_start_matches(&is_cut).len();
    let to = from + text[from..].trim_end_matches(&is_cut).len();
    part(tools, value, from, to)
}

/// trim(cutset, text)
pub(super) fn trim<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let cutset = string(&args[0])?;
    // Each character is looked for in the whole set.
    tools.meter.step(string(&args[1])?.len().saturating_mul(cutset.len()) / super::BYTES_A_STEP)?;
    trimmed(tools, &args[1], |c| cutset.contains(c))
}

pub(super) fn trim_space<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    trimmed(tools, &args[0], char::is_whitespace)
}

/// split(separator, text)
pub(super) fn split<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (separator, text) = (string(&args[0])?, string(&args[1])?);
    let mut places = Vec::new();
    let mut from = 0;
    let mut place = |tools: &mut Tools<'_>, from: usize, to: usize| {
        tools.meter.make_values(1)?;
        places.push(part(tools, &args[1], from, to)?);
        Ok::<_, Fault>(())
    };
    if separator.is_empty() {
        for (at, c) in text.char_indices() {
            place(tools, at, at + c.len_utf8())?;
        }
        return Value::list(places);
    }
    for (at, _) in text.match_indices(separator) {
        place(tools, from, at)?;
        from = at + separator.len();
    }
    place(tools, from, text.len())?;
    Value::list(places)
}

/// join(separator, list)
pub(super) fn join<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let separator = string(&args[0])?;
    let Value::List(list) = &args[1] else {
        return Err(Fault::failed(format!("wrong type for value; expected []string; got {}", args[1].type_name())));
    };
    let mut draft = Draft::new(tools.meter);
    for (n, item) in list.items.iter().enumerate() {
        draft.push(if n == 0 { "" } else { separator })?;
        super::print::write(item, &mut draft)?;
    }
    Ok(draft.into_value())
}

/// slice(start, end, text), in bytes; an end of -1 is the text's.
pub(super) fn slice<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (start, end, text) = (int(&args[0])?, int(&args[1])?, string(&args[2])?);
    let place = |at: i64| floor(text, usize::try_from(at).unwrap_or(0));
    let to = if end < 0 { text.len() } else { place(end) };
    let from = place(start).min(to);
    part(tools, &args[2], from, to)
}

/// truncate(n, text), in bytes.
pub(super) fn truncate<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (most, text) = (int(&args[0])?, string(&args[1])?);
    part(tools, &args[1], 0, floor(text, usize::try_from(most).unwrap_or(0)))
}

/// ellipsis(n, text): at most n bytes, the last three of them dots where something is left out.
pub(super) fn ellipsis<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let most = usize::try_from(int(&args[0])?).unwrap_or(0);
    let text = string(&args[1])?;
    if text.len() <= most {
        return Ok(args[1].clone());
    }
    let mut draft = Draft::new(tools.meter);
    draft.push(&text[..floor(text, most.saturating_sub(3))])?;
    draft.push(&"..."[..most.min(3)])?;
    Ok(draft.into_value())
}

/// repeat(n, text)
pub(super) fn repeat<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (times, text) = (int(&args[0])?, string(&args[1])?);
    if !(0..=MAX_REPEAT).contains(&times) {
        return Err(Fault::failed(format!("the count must be 0 to {MAX_REPEAT}; got {times}")));
    }
    let mut draft = Draft::new(tools.meter);
    for _ in 0..times {
        draft.push(text)?;
    }
    Ok(draft.into_value())
}

/// contains(part, text)
pub(super) fn contains<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Bool(string(&args[1])?.contains(string(&args[0])?)))
}

/// hasPrefix(prefix, text)
pub(super) fn has_prefix<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Bool(string(&args[1])?.starts_with(string(&args[0])?)))
}

/// hasSuffix(suffix, text)
pub(super) fn has_suffix<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Bool(string(&args[1])?.ends_with(string(&args[0])?)))
}

/// replace(old, new, text), everywhere. An empty `old` is between any two characters, and at both ends.
pub(super) fn replace<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let (old, new, text) = (string(&args[0])?, string(&args[1])?, string(&args[2])?);
    let mut draft = Draft::new(tools.meter);
    let mut from = 0;
    for (at, _) in text.match_indices(old) {
        draft.meter.step(1)?;
        draft.push(&text[from..at])?;
        draft.push(new)?;
        from = at + old.len();
    }
    draft.push(&text[from..])?;
    Ok(draft.into_value())
}
