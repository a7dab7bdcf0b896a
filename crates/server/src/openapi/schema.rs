//! Schemas of values (JSON Schema 2020-12, as OpenAPI 3.1 has it).

use super::json::Json;
use std::borrow::Cow;
use std::ops::RangeInclusive;

/// A schema: its keywords in the order in which they were said.
#[derive(Clone, Debug, PartialEq)]
pub struct Schema(Vec<(&'static str, Json)>);

/// Any value.
pub fn any() -> Schema {
    Schema(Vec::new())
}

fn of(kind: &'static str) -> Schema {
    any().set("type", kind)
}

/// A text.
pub fn string() -> Schema {
    of("string")
}

/// `null`.
pub fn null() -> Schema {
    of("null")
}

/// One of these words.
pub fn word<'a>(words: impl IntoIterator<Item = &'a str>) -> Schema {
    string().set("enum", Json::array(words))
}

/// A whole number.
pub fn integer() -> Schema {
    of("integer")
}

/// A number.
pub fn number() -> Schema {
    of("number")
}

/// `true` or `false`.
pub fn boolean() -> Schema {
    of("boolean")
}

/// This value and no other.
pub fn always(value: impl Into<Json>) -> Schema {
    any().set("const", value)
}

/// An array.
pub fn array(items: Schema) -> Schema {
    of("array").set("items", items)
}

/// An object; [`Schema::field`] and [`Schema::optional`] say what is in it.
pub fn object() -> Schema {
    of("object")
}

/// An object whose fields have names of the caller's choice.
pub fn map(values: Schema) -> Schema {
    object().set("additionalProperties", values)
}

/// A schema of the components.
pub fn named(name: &str) -> Schema {
    any().set("$ref", format!("#/components/schemas/{name}"))
}

/// A value that fits one of these or several.
pub fn either(schemas: impl IntoIterator<Item = Schema>) -> Schema {
    any().set("anyOf", Json::array(schemas))
}

/// A value that fits all of these.
pub fn all(schemas: impl IntoIterator<Item = Schema>) -> Schema {
    any().set("allOf", Json::array(schemas))
}

/// A UUID with hyphens.
pub fn uuid() -> Schema {
    string().set("format", "uuid")
}

/// A time in RFC 3339.
pub fn time() -> Schema {
    string().set("format", "date-time")
}

impl Schema {
    fn set(mut self, keyword: &'static str, value: impl Into<Json>) -> Self {
        let value = value.into();
        match self.0.iter_mut().find(|(name, _)| *name == keyword) {
            Some((_, old)) => *old = value,
            None => self.0.push((keyword, value)),
        }
        self
    }

    fn extend(mut self, keyword: &'static str, entry: impl FnOnce(Json) -> Json, empty: Json) -> Self {
        let at = self.0.iter().position(|(name, _)| *name == keyword);
        match at {
            Some(at) => {
                let old = std::mem::replace(&mut self.0[at].1, Json::Array(Vec::new()));
                self.0[at].1 = entry(old);
            }
            None => self.0.push((keyword, entry(empty))),
        }
        self
    }

    /// What it means.
    pub fn about(self, text: impl Into<String>) -> Self {
        self.set("description", text.into())
    }

    /// `null` is a value too.
    pub fn nullable(self) -> Self {
        let Some(at) = self.0.iter().position(|(name, _)| *name == "type") else { return either([self, null()]) };
        let kind = self.0[at].1.clone();
        let schema = self.set("type", Json::Array(vec![kind, "null".into()]));
        if !schema.0.iter().any(|(name, _)| *name == "enum") {
            return schema;
        }
        let with_null = |words| match words {
            Json::Array(words) => Json::Array(words.into_iter().chain([Json::Leaf(serde_json::Value::Null)]).collect()),
            other => other,
        };
        schema.extend("enum", with_null, Json::Array(Vec::new()))
    }

    /// Least and greatest value.
    pub fn range<T: Into<Json>>(self, range: RangeInclusive<T>) -> Self {
        let (least, most) = range.into_inner();
        self.set("minimum", least).set("maximum", most)
    }

    /// The least value.
    pub fn at_least(self, least: impl Into<Json>) -> Self {
        self.set("minimum", least)
    }

    /// Above this, and at most that.
    pub fn above(self, least: f64, most: f64) -> Self {
        self.set("exclusiveMinimum", least).set("maximum", most)
    }

    /// Shortest and longest text. Most limits of Postrider count bytes in UTF-8; the schema can only say characters, of which there are no more.
    pub fn length(self, range: RangeInclusive<usize>) -> Self {
        let (least, most) = range.into_inner();
        let schema = if least > 0 { self.set("minLength", least as u64) } else { self };
        schema.set("maxLength", most as u64)
    }

    /// What the text looks like (ECMA-262).
    pub fn pattern(self, pattern: impl Into<String>) -> Self {
        self.set("pattern", pattern.into())
    }

    /// The text is a URL.
    pub fn uri(self) -> Self {
        self.set("format", "uri")
    }

    /// Fewest and most entries of an array.
    pub fn items(self, range: RangeInclusive<usize>) -> Self {
        let (least, most) = range.into_inner();
        let schema = if least > 0 { self.set("minItems", least as u64) } else { self };
        schema.set("maxItems", most as u64)
    }

    /// Most fields of an object.
    pub fn most_fields(self, most: usize) -> Self {
        self.set("maxProperties", most as u64)
    }

    /// What the names of an object's fields look like.
    pub fn names(self, schema: Schema) -> Self {
        self.set("propertyNames", schema)
    }

    /// What holds where the request does not say.
    pub fn default(self, value: impl Into<Json>) -> Self {
        self.set("default", value)
    }

    /// A value for people to look at.
    pub fn example(self, value: impl Into<Json>) -> Self {
        self.set("examples", Json::Array(vec![value.into()]))
    }

    /// It can be given and is never shown.
    pub fn write_only(self) -> Self {
        self.set("writeOnly", true)
    }

    /// A field that is always there.
    pub fn field(self, name: impl Into<Cow<'static, str>>, schema: Schema) -> Self {
        let name = name.into();
        let required = Json::from(&*name);
        let push = |names| match names {
            Json::Array(names) => Json::Array(names.into_iter().chain([required]).collect()),
            other => other,
        };
        self.optional(name, schema).extend("required", push, Json::Array(Vec::new()))
    }

    /// A field that may be left out.
    pub fn optional(self, name: impl Into<Cow<'static, str>>, schema: Schema) -> Self {
        let field = (name.into(), Json::from(schema));
        let push = |fields| match fields {
            Json::Object(fields) => Json::Object(fields.into_iter().chain([field]).collect()),
            other => other,
        };
        self.extend("properties", push, Json::Object(Vec::new()))
    }

    /// Other fields are refused, or never there.
    pub fn closed(self) -> Self {
        self.set("additionalProperties", false)
    }
}

impl From<Schema> for Json {
    fn from(schema: Schema) -> Json {
        Json::object(schema.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(schema: Schema) -> String {
        serde_json::to_string(&Json::from(schema)).expect("JSON")
    }

    #[test]
    fn objects_say_what_is_in_them() {
        let schema = object().field("a", uuid()).optional("b", integer().range(1u32..=9)).field("c", map(string()).most_fields(2)).closed();
        let expected = r#"{"type":"object","properties":{"a":{"type":"string","format":"uuid"},"b":{"type":"integer","minimum":1,"maximum":9},"c":{"type":"object","additionalProperties":{"type":"string"},"maxProperties":2}},"required":["a","c"],"additionalProperties":false}"#;
        assert_eq!(text(schema), expected);
    }

    #[test]
    fn null_is_added_to_every_kind_of_schema() {
        assert_eq!(text(string().nullable()), r#"{"type":["string","null"]}"#);
        assert_eq!(text(word(["a"]).nullable()), r#"{"type":["string","null"],"enum":["a",null]}"#);
        assert_eq!(text(named("A").nullable()), r##"{"anyOf":[{"$ref":"#/components/schemas/A"},{"type":"null"}]}"##);
    }
}
