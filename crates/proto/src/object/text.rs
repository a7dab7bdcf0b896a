//! From `google.protobuf.Struct` to JSON text, in the order in which the fields came.

use super::{FIELDS, MAX_DEPTH};
use buffa::encoding::{Tag, WireType, check_wire_type, decode_varint, skip_field_depth};
use buffa::types::{borrow_bytes, borrow_str, decode_double};
use buffa::{DecodeContext, DecodeError};
use bytes::Bytes;
use std::cell::Cell;
use std::collections::HashMap;

/// What a field or an element takes in memory while it is read, in bytes: its place in a list, and in the table of names.
const PLACE: usize = 64;

/// The JSON text of a struct.
pub(super) fn of_struct(wire: &[u8], context: DecodeContext<'_>) -> Result<Vec<u8>, DecodeError> {
    #[cfg(test)]
    super::tests::count(wire.len());
    let mut json = Vec::with_capacity(wire.len() + 2);
    write_struct(wire, &mut json, context, MAX_DEPTH)?;
    Ok(json)
}

/// The JSON text of structs that [`of_struct`] took one by one, all of them together.
pub(super) fn of_pieces(wire: &[u8]) -> Bytes {
    // What bounds a call was kept to when the pieces were read: no field lies deeper because another one is behind it.
    let unknown = Cell::new(usize::MAX);
    let read = of_struct(wire, DecodeContext::new(u32::MAX, &unknown));
    debug_assert!(read.is_ok(), "each piece was read");
    read.map_or_else(|_| Bytes::from_static(b"{}"), Bytes::from)
}

/// `levels` are those that are left, this one included.
fn write_struct(wire: &[u8], json: &mut Vec<u8>, context: DecodeContext<'_>, levels: usize) -> Result<(), DecodeError> {
    let levels = levels.checked_sub(1).ok_or(DecodeError::RecursionLimitExceeded)?;
    let (mut fields, mut places) = (Vec::<(&str, &[u8])>::new(), HashMap::<&str, usize>::new());
    each(wire, context, |number, field| {
        if number == FIELDS {
            context.register_element_memory(PLACE)?;
            let (key, value) = entry(field.bytes()?, context)?;
            // Of two with one name the later one counts, in the place of the first.
            let place = *places.entry(key).or_insert(fields.len());
            if place == fields.len() { fields.push((key, value)) } else { fields[place].1 = value }
        }
        Ok(())
    })?;
    json.push(b'{');
    for (index, (key, value)) in fields.into_iter().enumerate() {
        if index > 0 {
            json.push(b',');
        }
        write_string(key, json);
        json.push(b':');
        write_value(value, json, context, levels)?;
    }
    json.push(b'}');
    Ok(())
}

/// The key and the value of an entry of the map.
fn entry<'a>(wire: &'a [u8], context: DecodeContext<'_>) -> Result<(&'a str, &'a [u8]), DecodeError> {
    let (mut key, mut value) = ("", &[][..]);
    each(wire, context, |number, field| {
        match number {
            1 => key = field.text()?,
            2 => value = field.bytes()?,
            _ => {}
        }
        Ok(())
    })?;
    Ok((key, value))
}

/// One without a kind is null, as other readers take it.
fn write_value(wire: &[u8], json: &mut Vec<u8>, context: DecodeContext<'_>, levels: usize) -> Result<(), DecodeError> {
    let start = json.len();
    json.extend_from_slice(b"null");
    each(wire, context, |number, field| {
        if !(1..=6).contains(&number) {
            return Ok(());
        }
        // Of several kinds the last one counts.
        json.truncate(start);
        match number {
            1 => {
                field.varint()?;
                json.extend_from_slice(b"null");
            }
            2 => write_number(field.double()?, json)?,
            3 => write_string(field.text()?, json),
            4 => json.extend_from_slice(if field.varint()? == 0 { b"false" } else { b"true" }),
            5 => write_struct(field.bytes()?, json, context, levels)?,
            _ => write_list(field.bytes()?, json, context, levels)?,
        }
        Ok(())
    })
}

fn write_list(wire: &[u8], json: &mut Vec<u8>, context: DecodeContext<'_>, levels: usize) -> Result<(), DecodeError> {
    let levels = levels.checked_sub(1).ok_or(DecodeError::RecursionLimitExceeded)?;
    json.push(b'[');
    let start = json.len();
    each(wire, context, |number, field| {
        if number == 1 {
            context.register_element_memory(PLACE)?;
            if json.len() > start {
                json.push(b',');
            }
            write_value(field.bytes()?, json, context, levels)?;
        }
        Ok(())
    })?;
    json.push(b']');
    Ok(())
}

/// Whole numbers are written without a fraction, as long as floating point tells one from the next.
fn write_number(number: f64, json: &mut Vec<u8>) -> Result<(), DecodeError> {
    const EXACT: f64 = 9_007_199_254_740_992.0;
    if !number.is_finite() {
        return Err(DecodeError::Custom("a number of a google.protobuf.Value must be finite"));
    }
    let text = if number.fract() == 0.0 && number.abs() < EXACT && (number != 0.0 || number.is_sign_positive()) {
        (number as i64).to_string()
    } else {
        // The shortest text that reads as the same number.
        serde_json::Number::from_f64(number).map_or_else(String::new, |n| n.to_string())
    };
    json.extend_from_slice(text.as_bytes());
    Ok(())
}

fn write_string(text: &str, json: &mut Vec<u8>) {
    // Writing text into memory cannot fail.
    let written = serde_json::to_writer(json, text);
    debug_assert!(written.is_ok(), "a Vec takes every write");
}

/// The content of a field, still to be read as what it should be.
struct Field<'a, 'b> {
    tag: Tag,
    rest: &'b mut &'a [u8],
}

impl<'a> Field<'a, '_> {
    fn bytes(self) -> Result<&'a [u8], DecodeError> {
        check_wire_type(self.tag, WireType::LengthDelimited)?;
        borrow_bytes(self.rest)
    }

    fn text(self) -> Result<&'a str, DecodeError> {
        check_wire_type(self.tag, WireType::LengthDelimited)?;
        borrow_str(self.rest)
    }

    fn varint(self) -> Result<u64, DecodeError> {
        check_wire_type(self.tag, WireType::Varint)?;
        decode_varint(self.rest)
    }

    fn double(self) -> Result<f64, DecodeError> {
        check_wire_type(self.tag, WireType::Fixed64)?;
        decode_double(self.rest)
    }
}

/// Every field of a message. What is not read of one is passed over.
fn each<'a>(
    wire: &'a [u8],
    context: DecodeContext<'_>,
    mut read: impl FnMut(u32, Field<'a, '_>) -> Result<(), DecodeError>,
) -> Result<(), DecodeError> {
    let mut rest = wire;
    while !rest.is_empty() {
        let tag = Tag::decode(&mut rest)?;
        let mut after = rest;
        skip_field_depth(tag, &mut after, context.depth())?;
        read(tag.field_number(), Field { tag, rest: &mut rest })?;
        rest = after;
    }
    Ok(())
}
