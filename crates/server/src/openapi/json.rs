//! JSON whose objects keep their order: a document that people read, and examples as they were written.

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::{Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// A JSON value.
#[derive(Clone, Debug, PartialEq)]
pub enum Json {
    /// An object, its fields in their order.
    Object(Vec<(Cow<'static, str>, Json)>),
    /// An array.
    Array(Vec<Json>),
    /// Anything else.
    Leaf(serde_json::Value),
}

impl Json {
    /// An object.
    pub fn object<K: Into<Cow<'static, str>>>(fields: impl IntoIterator<Item = (K, Json)>) -> Json {
        Json::Object(fields.into_iter().map(|(name, value)| (name.into(), value)).collect())
    }

    /// An array.
    pub fn array<T: Into<Json>>(values: impl IntoIterator<Item = T>) -> Json {
        Json::Array(values.into_iter().map(Into::into).collect())
    }

    /// From an example's text, which is part of the source.
    pub fn example(text: &str) -> Json {
        serde_json::from_str(text).unwrap_or_else(|error| panic!("an example is no JSON: {error}: {text}"))
    }

    /// A field of an object.
    pub fn get(&self, name: &str) -> Option<&Json> {
        match self {
            Json::Object(fields) => fields.iter().find(|(n, _)| n == name).map(|(_, value)| value),
            Json::Array(_) | Json::Leaf(_) => None,
        }
    }

    /// A text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Json::Leaf(value) => value.as_str(),
            Json::Object(_) | Json::Array(_) => None,
        }
    }
}

macro_rules! leaves {
    ($($type:ty),*) => {$(
        impl From<$type> for Json {
            fn from(value: $type) -> Json {
                Json::Leaf(value.into())
            }
        }
    )*};
}

leaves!(&str, String, bool, i32, i64, u16, u32, u64, f64);

impl Serialize for Json {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Json::Object(fields) => serializer.collect_map(fields.iter().map(|(name, value)| (name, value))),
            Json::Array(values) => serializer.collect_seq(values),
            Json::Leaf(value) => value.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Json {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Any;

        impl<'de> Visitor<'de> for Any {
            type Value = Json;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a JSON value")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Json, A::Error> {
                let mut fields = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, Json>()? {
                    fields.push((Cow::Owned(name), value));
                }
                Ok(Json::Object(fields))
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Json, A::Error> {
                let mut values = Vec::new();
                while let Some(value) = seq.next_element()? {
                    values.push(value);
                }
                Ok(Json::Array(values))
            }

            fn visit_bool<E>(self, value: bool) -> Result<Json, E> {
                Ok(value.into())
            }

            fn visit_u64<E>(self, value: u64) -> Result<Json, E> {
                Ok(value.into())
            }

            fn visit_i64<E>(self, value: i64) -> Result<Json, E> {
                Ok(value.into())
            }

            fn visit_f64<E>(self, value: f64) -> Result<Json, E> {
                Ok(value.into())
            }

            fn visit_str<E>(self, value: &str) -> Result<Json, E> {
                Ok(value.into())
            }

            fn visit_unit<E>(self) -> Result<Json, E> {
                Ok(Json::Leaf(serde_json::Value::Null))
            }
        }

        deserializer.deserialize_any(Any)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_read_is_written_in_the_same_order() {
        let text = r#"{"z":1,"a":[true,null,-2,0.5,"x\"y",{}],"m":{"b":"","a":[]}}"#;
        assert_eq!(serde_json::to_string(&Json::example(text)).expect("JSON"), text);
    }
}
