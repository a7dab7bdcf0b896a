//! A `google.protobuf.FieldMask` as clients really write it.
//!
//! In JSON the published type takes one string of comma-separated paths in camel case and nothing else. Documentation of the contract shows
//! an object with the list `paths`, in the spelling of the contract: both are taken here, and both spellings in each.

use buffa::encoding::{Tag, WireType, check_wire_type, skip_field_depth};
use buffa::types::{decode_string, put_string_field, string_encoded_len};
use buffa::{DecodeContext, DecodeError, EncodeSink, Message, SizeCache};
use bytes::Buf;
use serde::de::{self, Error as _, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;

/// The one field of a `google.protobuf.FieldMask`.
const PATHS: u32 = 1;

/// Paths to fields, as the contract spells them: `http_config.webhook_secret`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Mask {
    /// The paths, in the order in which they came.
    pub paths: Vec<String>,
}

impl Mask {
    /// Whether it names no field.
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// Whether it names this path.
    pub fn names(&self, path: &str) -> bool {
        self.paths.iter().any(|named| named == path)
    }
}

/// `httpConfig.webhookSecret` as `http_config.webhook_secret`; what is spelt so already stays as it is.
fn spelt_as_in_contract(path: &str) -> String {
    let mut spelt = String::with_capacity(path.len() + 4);
    for c in path.chars() {
        if c.is_ascii_uppercase() {
            spelt.push('_');
        }
        spelt.push(c.to_ascii_lowercase());
    }
    spelt
}

/// `http_config.webhook_secret` as `httpConfig.webhookSecret`.
fn spelt_as_in_json(path: &str) -> String {
    let mut spelt = String::with_capacity(path.len());
    let mut raise = false;
    for c in path.chars() {
        match c {
            '_' => raise = true,
            _ if raise => {
                spelt.push(c.to_ascii_uppercase());
                raise = false;
            }
            _ => spelt.push(c),
        }
    }
    spelt
}

fn read<E: de::Error>(path: &str) -> Result<String, E> {
    let path = path.trim();
    if path.is_empty() { Err(E::custom("a path of a field mask is empty")) } else { Ok(spelt_as_in_contract(path)) }
}

impl Serialize for Mask {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let paths: Vec<String> = self.paths.iter().map(|path| spelt_as_in_json(path)).collect();
        serializer.serialize_str(&paths.join(","))
    }
}

impl<'de> Deserialize<'de> for Mask {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Reader;

        impl<'de> Visitor<'de> for Reader {
            type Value = Mask;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a field mask: a string of comma-separated paths, or an object with the list \"paths\"")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<Mask, E> {
                if text.trim().is_empty() {
                    return Ok(Mask::default());
                }
                Ok(Mask { paths: text.split(',').map(read).collect::<Result<_, E>>()? })
            }

            fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Mask, A::Error> {
                let mut paths = None;
                while let Some(name) = fields.next_key::<String>()? {
                    if name != "paths" {
                        fields.next_value::<de::IgnoredAny>()?;
                        continue;
                    }
                    if paths.is_some() {
                        return Err(A::Error::duplicate_field("paths"));
                    }
                    let written = fields.next_value::<Option<Vec<String>>>()?.unwrap_or_default();
                    paths = Some(written.iter().map(|path| read(path)).collect::<Result<_, _>>()?);
                }
                Ok(Mask { paths: paths.unwrap_or_default() })
            }
        }

        deserializer.deserialize_any(Reader)
    }
}

buffa::impl_default_instance!(Mask);

impl Message for Mask {
    fn compute_size(&self, _: &mut SizeCache) -> u32 {
        buffa::saturate_size(self.paths.iter().map(|path| 1 + string_encoded_len(path) as u64).sum())
    }

    fn write_to(&self, _: &mut SizeCache, sink: &mut impl EncodeSink) {
        for path in &self.paths {
            put_string_field(PATHS, path, sink);
        }
    }

    fn merge_field(&mut self, tag: Tag, buffer: &mut impl Buf, context: DecodeContext<'_>) -> Result<(), DecodeError> {
        if tag.field_number() != PATHS {
            return skip_field_depth(tag, buffer, context.depth());
        }
        check_wire_type(tag, WireType::LengthDelimited)?;
        context.register_element_memory(size_of::<String>())?;
        self.paths.push(decode_string(buffer)?);
        Ok(())
    }

    fn clear(&mut self) {
        self.paths.clear();
    }
}
