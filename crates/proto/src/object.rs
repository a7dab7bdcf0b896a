//! A `google.protobuf.Struct` that keeps the bytes it was sent as.
//!
//! The published type turns every number into 64-bit floating point and forgets the order of keys. This one holds the JSON text: what comes
//! as JSON goes on byte for byte, and only what comes or leaves in binary is converted.

#[cfg(test)]
mod tests;
mod text;
mod wire;

use buffa::encoding::{Tag, WireType, check_wire_type, skip_field_depth};
use buffa::types::{bytes_encoded_len, decode_bytes, encode_bytes};
use buffa::{DecodeContext, DecodeError, EncodeSink, Message, SizeCache};
use bytes::{Buf, Bytes};
use serde::de::Error as _;
use serde::ser::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::value::RawValue;
use std::sync::OnceLock;

/// How deep arrays and objects may lie in each other, the object itself included; parsers of JSON commonly stop there.
pub const MAX_DEPTH: usize = 128;

/// The one field of a `google.protobuf.Struct`.
const FIELDS: u32 = 1;

/// A JSON object as text. It is valid, in UTF-8, no deeper than [`MAX_DEPTH`], with no blanks around it.
#[derive(Clone, Debug)]
pub struct Object {
    form: Form,
}

/// How an object came; the other form is made of that when it is asked for.
#[derive(Clone, Debug)]
enum Form {
    /// As JSON, or in binary in one piece, which was turned into JSON at once.
    Json { json: Bytes, wire: OnceLock<Vec<u8>> },
    /// In binary in several pieces, which merging puts one behind the other. Each was read when it came, so that all of them can be read; they
    /// are turned into JSON all at once, for each of them with those before it would be work that grows with the square of their number.
    Pieces { wire: Vec<u8>, json: OnceLock<Bytes> },
}

/// Why a text is no [`Object`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotAnObject {
    /// It is no JSON.
    Invalid,
    /// It is an array, a string, a number, a truth value or null.
    Other,
    /// It is deeper than [`MAX_DEPTH`].
    TooDeep,
}

impl std::fmt::Display for NotAnObject {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            NotAnObject::Invalid => f.write_str("it is not valid JSON"),
            NotAnObject::Other => f.write_str("it must be a JSON object"),
            NotAnObject::TooDeep => write!(f, "its arrays and objects lie deeper than {MAX_DEPTH} levels"),
        }
    }
}

impl std::error::Error for NotAnObject {}

impl Object {
    /// From JSON text, which is kept as it is but for blanks around it.
    pub fn parse(json: &[u8]) -> Result<Self, NotAnObject> {
        let text = serde_json::from_slice::<&RawValue>(json).map_err(|_| NotAnObject::Invalid)?.get();
        check(text)?;
        Ok(Object::from_checked(Bytes::copy_from_slice(text.as_bytes())))
    }

    /// Its JSON text.
    pub fn json(&self) -> &Bytes {
        match &self.form {
            Form::Json { json, .. } => json,
            Form::Pieces { wire, json } => json.get_or_init(|| text::of_pieces(wire)),
        }
    }

    /// Its JSON text.
    pub fn into_json(self) -> Bytes {
        match self.form {
            Form::Json { json, .. } => json,
            Form::Pieces { wire, json } => json.into_inner().unwrap_or_else(|| text::of_pieces(&wire)),
        }
    }

    /// Whether it has no fields.
    pub fn is_empty(&self) -> bool {
        has_no_fields(self.json())
    }

    fn from_checked(json: Bytes) -> Self {
        Object { form: Form::Json { json, wire: OnceLock::new() } }
    }

    fn wire(&self) -> &[u8] {
        match &self.form {
            Form::Json { json, wire } => wire.get_or_init(|| wire::of_object(json)),
            Form::Pieces { wire, .. } => wire,
        }
    }

    /// Takes in what a `google.protobuf.Struct` is in binary; fields win over those of their name that are there. The work is that of the new
    /// piece, whatever came before it.
    fn merge_wire(&mut self, more: &[u8], context: DecodeContext<'_>) -> Result<(), DecodeError> {
        let read = text::of_struct(more, context)?;
        if more.is_empty() {
            return Ok(());
        }
        let mut wire = match std::mem::take(self).form {
            Form::Json { json, .. } if has_no_fields(&json) => {
                *self = Object::from_checked(Bytes::from(read));
                return Ok(());
            }
            Form::Json { json, wire } => wire.into_inner().unwrap_or_else(|| wire::of_object(&json)),
            Form::Pieces { wire, .. } => wire,
        };
        wire.extend_from_slice(more);
        self.form = Form::Pieces { wire, json: OnceLock::new() };
        Ok(())
    }
}

/// Whether the JSON of an object has no fields.
fn has_no_fields(json: &[u8]) -> bool {
    json.iter().all(|b| matches!(b, b'{' | b'}') || b.is_ascii_whitespace())
}

/// Whether valid JSON is an object that is not too deep.
fn check(json: &str) -> Result<(), NotAnObject> {
    if !json.starts_with('{') {
        return Err(NotAnObject::Other);
    }
    let (mut depth, mut in_string, mut escaped) = (0usize, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'[' | b'{' if !in_string => depth += 1,
            b']' | b'}' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
        if depth > MAX_DEPTH {
            return Err(NotAnObject::TooDeep);
        }
    }
    Ok(())
}

impl Default for Object {
    /// `{}`.
    fn default() -> Self {
        Object::from_checked(Bytes::from_static(b"{}"))
    }
}

/// As texts: two that mean the same may differ in blanks and in the order of their fields.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        self.json() == other.json()
    }
}

impl Serialize for Object {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serde_json::from_slice::<&RawValue>(self.json()).map_err(S::Error::custom)?.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = Box::<RawValue>::deserialize(deserializer)?;
        check(text.get()).map_err(D::Error::custom)?;
        Ok(Object::from_checked(Bytes::from(String::from(Box::<str>::from(text)))))
    }
}

buffa::impl_default_instance!(Object);

impl Message for Object {
    fn compute_size(&self, _: &mut SizeCache) -> u32 {
        buffa::saturate_size(self.wire().len() as u64)
    }

    fn write_to(&self, _: &mut SizeCache, sink: &mut impl EncodeSink) {
        sink.put_slice(self.wire());
    }

    fn merge_field(&mut self, tag: Tag, buffer: &mut impl Buf, context: DecodeContext<'_>) -> Result<(), DecodeError> {
        if tag.field_number() != FIELDS {
            return skip_field_depth(tag, buffer, context.depth());
        }
        check_wire_type(tag, WireType::LengthDelimited)?;
        let entry = decode_bytes(buffer)?;
        let mut field = Vec::with_capacity(1 + bytes_encoded_len(&entry));
        tag.encode(&mut field);
        encode_bytes(&entry, &mut field);
        self.merge_wire(&field, context)
    }

    /// All fields at once, so that they are turned into JSON only once.
    fn merge_to_limit(&mut self, buffer: &mut impl Buf, context: DecodeContext<'_>, limit: usize) -> Result<(), DecodeError> {
        let more = buffer.copy_to_bytes(buffer.remaining().saturating_sub(limit));
        self.merge_wire(&more, context)
    }

    fn clear(&mut self) {
        *self = Object::default();
    }
}
