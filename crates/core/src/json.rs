//! JSON as text: looked into without being parsed whole, and put together without changing what it holds.
//!
//! Numbers keep their exact digits and strings their escapes, for nothing here is turned into a value and back.

use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::fmt;

#[cfg(test)]
mod tests;

/// Most fields of one object that are put into another form. Each costs some dozens of bytes beside its text while that is done.
pub(crate) const MAX_FIELDS: usize = 65_536;

/// The fields of an object in their order. One that is there twice has the first one's place and the last one's value, as in JavaScript.
pub(crate) type Fields<'a> = Vec<(Cow<'a, str>, &'a str)>;

/// Why a text was not taken apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotTaken {
    /// It is not JSON, or not of the kind that was asked for.
    Malformed,
    /// It has more than [`MAX_FIELDS`] fields.
    TooMany,
}

/// What a JSON text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Object,
    Array,
    String,
    /// A number, a truth value or null: its text is its value.
    Plain,
}

/// What the JSON text is, by its first character.
pub(crate) fn kind(text: &str) -> Kind {
    match text.trim_start_matches(is_space).as_bytes().first() {
        Some(b'{') => Kind::Object,
        Some(b'[') => Kind::Array,
        Some(b'"') => Kind::String,
        _ => Kind::Plain,
    }
}

fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\r')
}

/// The text if the bytes are one JSON text, with white space around it or not.
pub(crate) fn checked(bytes: &[u8]) -> Option<&str> {
    let text = std::str::from_utf8(bytes).ok()?;
    serde_json::from_str::<&RawValue>(text).ok()?;
    Some(text)
}

/// The text of a string.
pub(crate) fn string(text: &str) -> Option<Cow<'_, str>> {
    serde_json::from_str::<Name<'_>>(text).ok().map(|name| name.0)
}

/// A text as a JSON string, quotes and all.
pub(crate) fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

/// A name that borrows from the text where it has no escapes.
#[derive(Deserialize)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

/// The fields of an object.
pub(crate) fn fields(text: &str) -> Result<Fields<'_>, NotTaken> {
    struct All<'f, 'de>(&'f mut Fields<'de>, &'f mut bool);

    impl<'de> Visitor<'de> for All<'_, 'de> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            let mut places: HashMap<Cow<'de, str>, usize> = HashMap::new();
            while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                if let Some(&place) = places.get(&name) {
                    self.0[place].1 = value.get();
                    continue;
                }
                if self.0.len() == MAX_FIELDS {
                    *self.1 = true;
                    return Err(A::Error::custom("too many fields"));
                }
                places.insert(name.clone(), self.0.len());
                self.0.push((name, value.get()));
            }
            Ok(())
        }
    }

    let (mut found, mut too_many) = (Vec::new(), false);
    let mut reader = serde_json::Deserializer::from_str(text);
    let whole = reader.deserialize_map(All(&mut found, &mut too_many)).and_then(|()| reader.end());
    match whole {
        Ok(()) => Ok(found),
        Err(_) if too_many => Err(NotTaken::TooMany),
        Err(_) => Err(NotTaken::Malformed),
    }
}

/// Calls `take` with each element of an array; the first error ends it.
pub(crate) fn each_element<'de, E>(text: &'de str, take: impl FnMut(&'de str) -> Result<(), E>) -> Result<Result<(), E>, NotTaken> {
    struct Each<'f, F, E>(F, &'f mut Option<E>);

    impl<'de, F: FnMut(&'de str) -> Result<(), E>, E> Visitor<'de> for Each<'_, F, E> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an array")
        }

        fn visit_seq<A: SeqAccess<'de>>(mut self, mut seq: A) -> Result<(), A::Error> {
            while let Some(element) = seq.next_element::<&'de RawValue>()? {
                if let Err(error) = (self.0)(element.get()) {
                    *self.1 = Some(error);
                    return Err(A::Error::custom("enough"));
                }
            }
            Ok(())
        }
    }

    let mut stopped = None;
    let mut reader = serde_json::Deserializer::from_str(text);
    let whole = reader.deserialize_seq(Each(take, &mut stopped)).and_then(|()| reader.end());
    match (whole, stopped) {
        (_, Some(error)) => Ok(Err(error)),
        (Ok(()), None) => Ok(Ok(())),
        (Err(_), None) => Err(NotTaken::Malformed),
    }
}

/// Looks up some fields of an object in one walk over its text: `found` is called with each field that `wanted` names. Whatever else the
/// object holds costs no memory. `None` if the text is no object.
pub(crate) fn look_up<'de>(text: &'de str, wanted: impl Fn(&str) -> bool, found: impl FnMut(Cow<'de, str>, &'de str)) -> Option<()> {
    struct Some_<W, F>(W, F);

    impl<'de, W: Fn(&str) -> bool, F: FnMut(Cow<'de, str>, &'de str)> Visitor<'de> for Some_<W, F> {
        type Value = ();

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("an object")
        }

        fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
            while let Some(Name(name)) = map.next_key::<Name<'de>>()? {
                if (self.0)(&name) {
                    self.1(name, map.next_value::<&'de RawValue>()?.get());
                } else {
                    map.next_value_seed(Skip)?;
                }
            }
            Ok(())
        }
    }

    struct Skip;

    impl<'de> DeserializeSeed<'de> for Skip {
        type Value = ();
        fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
            IgnoredAny::deserialize(reader).map(|_| ())
        }
    }

    let mut reader = serde_json::Deserializer::from_str(text);
    reader.deserialize_map(Some_(wanted, found)).and_then(|()| reader.end()).ok()
}

/// The text without white space between its parts; `put` gets it piece by piece. The text must be JSON.
pub(crate) fn compact<E>(text: &str, mut put: impl FnMut(&str) -> Result<(), E>) -> Result<(), E> {
    let bytes = text.as_bytes();
    let (mut from, mut at, mut in_string) = (0, 0, false);
    while at < bytes.len() {
        match bytes[at] {
            b'"' => in_string = !in_string,
            // What it escapes can be a quote.
            b'\\' if in_string => at += 1,
            b' ' | b'\t' | b'\n' | b'\r' if !in_string => {
                put(&text[from..at])?;
                from = at + 1;
            }
            _ => {}
        }
        at += 1;
    }
    put(&text[from..])
}

/// One spelling for everything that is the same value: fields sorted, numbers by their value, strings by their characters, no white space.
/// `None` where it is nested more than `depth` levels deep, or is no JSON.
pub(crate) fn canonical(text: &str, depth: usize) -> Option<String> {
    let mut out = String::new();
    write_canonical(text, depth, &mut out)?;
    Some(out)
}

fn write_canonical(text: &str, depth: usize, out: &mut String) -> Option<()> {
    match kind(text) {
        Kind::String => out.push_str(&quoted(&string(text)?)),
        Kind::Plain => write_plain(text, out)?,
        Kind::Object => {
            let depth = depth.checked_sub(1)?;
            let sorted: BTreeMap<_, _> = fields(text).ok()?.into_iter().collect();
            out.push('{');
            for (n, (name, value)) in sorted.into_iter().enumerate() {
                out.push_str(if n == 0 { "" } else { "," });
                out.push_str(&quoted(&name));
                out.push(':');
                write_canonical(value, depth, out)?;
            }
            out.push('}');
        }
        Kind::Array => {
            let depth = depth.checked_sub(1)?;
            out.push('[');
            let mut first = true;
            let element = |element| {
                out.push_str(if std::mem::take(&mut first) { "" } else { "," });
                write_canonical(element, depth, out).ok_or(())
            };
            each_element(text, element).ok()?.ok()?;
            out.push(']');
        }
    }
    Some(())
}

fn write_plain(text: &str, out: &mut String) -> Option<()> {
    let text = text.trim_matches(is_space);
    match text {
        "true" | "false" | "null" => out.push_str(text),
        _ => write_number(text, out)?,
    }
    Some(())
}

/// A number as its significant digits and the power of ten of the last one: `1`, `1.0` and `10e-1` are all `1e0`.
fn write_number(text: &str, out: &mut String) -> Option<()> {
    let (negative, unsigned) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (mantissa, exponent) = unsigned.split_once(['e', 'E']).unwrap_or((unsigned, "0"));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    let digits = [whole, fraction].concat();
    if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let significant = digits.trim_end_matches('0');
    let (cut, significant) = (digits.len() - significant.len(), significant.trim_start_matches('0'));
    if significant.is_empty() {
        out.push_str("0e0");
        return Some(());
    }
    // An exponent that no i64 holds stands for itself: such numbers are equal only where they are spelled so.
    let Ok(exponent) = exponent.parse::<i64>() else {
        out.push_str(text);
        return Some(());
    };
    let shift = i64::try_from(cut).ok()? - i64::try_from(fraction.len()).ok()?;
    let exponent = i128::from(exponent) + i128::from(shift);
    out.push_str(if negative { "-" } else { "" });
    out.push_str(significant);
    out.push_str(&format!("e{exponent}"));
    Some(())
}
