//! Payloads made from schemas.

use super::shape::target;
use serde_json::{Map, Number, Value, json};

/// How deep a sample goes.
const MAX_DEPTH: usize = 8;

/// Most values in a sample.
const MAX_VALUES: usize = 500;

/// Most bytes of all texts that are taken from examples, defaults and constants, or made.
const MAX_BYTES: usize = 64 * 1_024;

/// A payload made from a schema.
pub(super) fn sample(document: &Value) -> Value {
    Maker { document, values: MAX_VALUES, bytes: MAX_BYTES }.value(document, 0)
}

struct Maker<'s> {
    document: &'s Value,
    /// How many more values there may be.
    values: usize,
    bytes: usize,
}

impl<'s> Maker<'s> {
    fn value(&mut self, schema: &'s Value, depth: usize) -> Value {
        let Value::Object(keywords) = schema else { return self.text("sample") };
        if depth > MAX_DEPTH || self.values == 0 {
            return Value::Null;
        }
        self.values -= 1;
        if let Some(given) = self.given(keywords) {
            return given;
        }
        if let Some(target) = keywords.get("$ref").and_then(Value::as_str).and_then(|reference| target(self.document, reference)) {
            return self.value(target, depth + 1);
        }
        let made = match self.kind(keywords) {
            Some(kind) => self.of_kind(kind, keywords, depth),
            None => Value::Null,
        };
        self.with_parts(made, keywords, depth)
    }

    /// What the schema says itself that a value can be.
    fn given(&mut self, keywords: &Map<String, Value>) -> Option<Value> {
        let first = |name: &str| keywords.get(name).and_then(Value::as_array).and_then(|list| list.first());
        let given = first("examples").or_else(|| keywords.get("default")).or_else(|| keywords.get("const")).or_else(|| first("enum"))?;
        let bytes = given.to_string().len();
        if bytes > self.bytes {
            return None;
        }
        self.bytes -= bytes;
        Some(given.clone())
    }

    /// The type that it names, the first one that is not null; else one that its keywords are about.
    fn kind(&self, keywords: &'s Map<String, Value>) -> Option<&'s str> {
        match keywords.get("type") {
            Some(Value::String(kind)) => return Some(kind),
            Some(Value::Array(kinds)) => {
                let mut names = kinds.iter().filter_map(Value::as_str);
                return names.clone().find(|kind| *kind != "null").or_else(|| names.next());
            }
            _ => {}
        }
        let has = |names: &[&str]| names.iter().any(|name| keywords.contains_key(*name));
        if has(&["properties", "required", "additionalProperties", "patternProperties"]) {
            Some("object")
        } else if has(&["items", "prefixItems", "minItems", "contains"]) {
            Some("array")
        } else if has(&["format", "pattern", "minLength", "maxLength"]) {
            Some("string")
        } else if has(&["minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"]) {
            Some("number")
        } else if has(&["allOf", "anyOf", "oneOf"]) {
            None
        } else {
            Some("string")
        }
    }

    fn of_kind(&mut self, kind: &str, keywords: &'s Map<String, Value>, depth: usize) -> Value {
        match kind {
            "object" => self.object(keywords, depth),
            "array" => self.array(keywords, depth),
            "string" => self.string(keywords),
            "integer" => number(keywords, true),
            "number" => number(keywords, false),
            "boolean" => Value::Bool(true),
            _ => Value::Null,
        }
    }

    fn object(&mut self, keywords: &'s Map<String, Value>, depth: usize) -> Value {
        let mut fields = Map::new();
        let properties = keywords.get("properties").and_then(Value::as_object);
        let required: Vec<&str> =
            keywords.get("required").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str).collect();
        // Required ones first, so that they are there if not all fit.
        for name in &required {
            let schema = properties.and_then(|properties| properties.get(*name)).or_else(|| keywords.get("additionalProperties"));
            let value = match schema {
                Some(schema) => self.value(schema, depth + 1),
                None => self.text("sample"),
            };
            self.put(&mut fields, name, value);
        }
        for (name, schema) in properties.into_iter().flatten() {
            let goes_on = depth < MAX_DEPTH && self.values > 0 && schema != &Value::Bool(false);
            if goes_on && !required.contains(&name.as_str()) {
                let value = self.value(schema, depth + 1);
                self.put(&mut fields, name, value);
            }
        }
        Value::Object(fields)
    }

    fn put(&mut self, fields: &mut Map<String, Value>, name: &str, value: Value) {
        if name.len() <= self.bytes {
            self.bytes -= name.len();
            fields.insert(name.to_owned(), value);
        }
    }

    fn array(&mut self, keywords: &'s Map<String, Value>, depth: usize) -> Value {
        let (listed, rest) = match (keywords.get("prefixItems"), keywords.get("items")) {
            (Some(Value::Array(listed)), rest) => (&listed[..], rest),
            (_, Some(Value::Array(listed))) => (&listed[..], keywords.get("additionalItems")),
            (_, rest) => (&[][..], rest),
        };
        let count = |name: &str| keywords.get(name).and_then(Value::as_u64).map(|count| usize::try_from(count).unwrap_or(usize::MAX));
        let fewest = count("minItems").unwrap_or(1).min(MAX_VALUES);
        let most = count("maxItems").unwrap_or(usize::MAX);
        let mut items: Vec<Value> = listed.iter().take(most).map(|schema| self.value(schema, depth + 1)).collect();
        while items.len() < fewest.min(most) && self.values > 0 && depth < MAX_DEPTH {
            let schema = rest.or_else(|| keywords.get("contains")).filter(|schema| *schema != &Value::Bool(false));
            let Some(schema) = schema else { break };
            items.push(self.value(schema, depth + 1));
        }
        Value::Array(items)
    }

    fn string(&mut self, keywords: &Map<String, Value>) -> Value {
        let text = match keywords.get("format").and_then(Value::as_str) {
            Some("date-time") => "2026-01-15T10:00:00Z",
            Some("date") => "2026-01-15",
            Some("time") => "10:00:00Z",
            Some("duration") => "P1D",
            Some("uuid") => "3f2504e0-4f89-41d3-9a0c-0305e82c3301",
            Some("email" | "idn-email") => "user@example.com",
            Some("uri" | "iri" | "url") => "https://example.com/path",
            Some("uri-reference" | "iri-reference" | "uri-template") => "/path",
            Some("hostname" | "idn-hostname") => "example.com",
            Some("ipv4") => "192.0.2.1",
            Some("ipv6") => "2001:db8::1",
            Some("json-pointer") => "/a/b",
            Some("relative-json-pointer") => "0/a",
            _ => return self.plain_string(keywords),
        };
        self.text(text)
    }

    fn plain_string(&mut self, keywords: &Map<String, Value>) -> Value {
        let count = |name: &str| keywords.get(name).and_then(Value::as_u64).and_then(|count| usize::try_from(count).ok());
        let most = count("maxLength").unwrap_or(usize::MAX).min(self.bytes);
        let fewest = count("minLength").unwrap_or(0).min(most);
        let mut text: String = "sample".chars().take(most).collect();
        text.extend(std::iter::repeat_n('x', fewest.saturating_sub(text.len())));
        self.text(&text)
    }

    fn text(&mut self, text: &str) -> Value {
        if text.len() > self.bytes {
            return Value::Null;
        }
        self.bytes -= text.len();
        Value::from(text)
    }

    /// Adds what the parts of `allOf` and the first one of `anyOf` and `oneOf` make.
    fn with_parts(&mut self, made: Value, keywords: &'s Map<String, Value>, depth: usize) -> Value {
        let parts = |name: &str| keywords.get(name).and_then(Value::as_array).map_or(&[][..], Vec::as_slice);
        let chosen = parts("anyOf").first().into_iter().chain(parts("oneOf").first());
        let mut whole = made;
        for part in parts("allOf").iter().chain(chosen) {
            let value = self.value(part, depth + 1);
            whole = match (whole, value) {
                (Value::Object(mut fields), Value::Object(more)) => {
                    for (name, value) in more {
                        fields.entry(name).or_insert(value);
                    }
                    Value::Object(fields)
                }
                (Value::Null, value) => value,
                (whole, _) => whole,
            };
        }
        whole
    }
}

/// A number in the range that the schema gives.
fn number(keywords: &Map<String, Value>, is_whole: bool) -> Value {
    let bound = |name: &str| keywords.get(name).and_then(Value::as_f64);
    // In draft 4 these are truth values that make the other bound exclusive.
    let is_above = keywords.get("exclusiveMinimum") == Some(&Value::Bool(true));
    let is_below = keywords.get("exclusiveMaximum") == Some(&Value::Bool(true));
    let step = bound("multipleOf").filter(|step| *step > 0.0).unwrap_or(1.0);
    let least = bound("minimum").filter(|_| !is_above);
    let above = bound("exclusiveMinimum").or_else(|| bound("minimum").filter(|_| is_above));
    let most = bound("maximum").filter(|_| !is_below);
    let below = bound("exclusiveMaximum").or_else(|| bound("maximum").filter(|_| is_below));
    let fits = |value: f64| {
        least.is_none_or(|least| value >= least)
            && above.is_none_or(|above| value > above)
            && most.is_none_or(|most| value <= most)
            && below.is_none_or(|below| value < below)
    };
    let from = least.or(above).map(|low| (low / step).ceil() * step);
    let to = most.or(below).map(|high| (high / step).floor() * step);
    let middle = match (least.or(above), most.or(below)) {
        (Some(low), Some(high)) if !is_whole => Some(low + (high - low) / 2.0),
        _ => None,
    };
    let candidates = [Some(step), from, from.map(|from| from + step), to, to.map(|to| to - step), middle, least];
    let value = candidates.into_iter().flatten().find(|value| fits(*value)).unwrap_or(step);
    if value.fract() == 0.0 && value.abs() < 9e15 {
        return json!(value as i64);
    }
    Number::from_f64(value).map_or(Value::Null, Value::Number)
}
