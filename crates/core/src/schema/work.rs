//! How much a check costs: a walk over schema and payload that takes every way that a check could take, and decides nothing.

use super::patterns::Patterns;
use super::shape::{each_same, has_unevaluated, target};
use super::{BadSchema, MAX_CHECK_DEPTH, MAX_CHECKS};
use serde_json::{Map, Value};

/// How many bytes of a text are looked at for one step.
const BYTES_A_STEP: usize = 64;

/// How many places of patterns are tried at bytes of a text for one step: each takes some nanoseconds.
const PLACES_A_STEP: u64 = 32;

/// Takes as many steps as holding the document against the payload can take; answers how many these are.
pub(super) fn measure(document: &Value, patterns: &Patterns, payload: &Value) -> Result<u64, BadSchema> {
    let mut walk = Walk { document, patterns, left: MAX_CHECKS, depth: 0, passes: 1 };
    walk.schema(document, payload)?;
    Ok(MAX_CHECKS - walk.left)
}

struct Walk<'s> {
    document: &'s Value,
    patterns: &'s Patterns,
    left: u64,
    depth: usize,
    /// How often what is looked at is held against its value: once, and once more for each choice that it is inside of, for all that is in a
    /// choice is tried first, and then asked what is wrong.
    passes: u64,
}

impl<'s> Walk<'s> {
    fn take(&mut self, steps: usize) -> Result<(), BadSchema> {
        self.left = (steps as u64)
            .checked_mul(self.passes)
            .and_then(|steps| self.left.checked_sub(steps))
            .ok_or_else(|| BadSchema::new("too much work"))?;
        Ok(())
    }

    /// A text is run through a pattern.
    fn matched(&mut self, pattern: &str, text: &str) -> Result<(), BadSchema> {
        let tried = self.patterns.places(pattern).saturating_mul(text.len() as u64);
        self.take(usize::try_from(tried / PLACES_A_STEP).unwrap_or(usize::MAX))
    }

    fn schema(&mut self, schema: &'s Value, value: &Value) -> Result<(), BadSchema> {
        if self.depth == MAX_CHECK_DEPTH {
            return Err(BadSchema::new("too deep"));
        }
        self.depth += 1;
        self.inside(schema, value)?;
        self.depth -= 1;
        Ok(())
    }

    fn inside(&mut self, schema: &'s Value, value: &Value) -> Result<(), BadSchema> {
        self.take(1)?;
        let Value::Object(keywords) = schema else { return Ok(()) };
        self.take(keywords.len() / 4)?;
        if let Some(choices) = keywords.get("enum").and_then(Value::as_array) {
            self.take(choices.len())?;
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(target) = self.target(reference)?
        {
            self.schema(target, value)?;
        }
        let is_choice = keywords.contains_key("anyOf") || keywords.contains_key("oneOf");
        self.passes += u64::from(is_choice);
        each_same(keywords, &mut |schema| self.schema(schema, value))?;
        self.passes -= u64::from(is_choice);
        match value {
            Value::Object(fields) => self.object(keywords, fields)?,
            Value::Array(items) => self.array(keywords, items)?,
            Value::String(text) => {
                self.take(text.len() / BYTES_A_STEP)?;
                keywords.get("pattern").and_then(Value::as_str).map_or(Ok(()), |pattern| self.matched(pattern, text))?;
            }
            _ => {}
        }
        if has_unevaluated(keywords) { self.evaluated(keywords, value) } else { Ok(()) }
    }

    /// Where a reference leads, which takes as long as it is.
    fn target(&mut self, reference: &str) -> Result<Option<&'s Value>, BadSchema> {
        self.take(reference.len() / BYTES_A_STEP)?;
        Ok(target(self.document, reference))
    }

    /// Finds out what a schema evaluates of a value: all that applies to the same value is held against it once more, and at each level of it
    /// anew.
    fn evaluated(&mut self, keywords: &'s Map<String, Value>, value: &Value) -> Result<(), BadSchema> {
        self.take(1)?;
        match value {
            Value::Object(fields) => {
                self.take(fields.len())?;
                self.names(keywords, fields)?;
                self.each_field("unevaluatedProperties", keywords, fields)?;
            }
            Value::Array(items) => {
                self.take(items.len())?;
                self.array(keywords, items)?;
            }
            _ => return Ok(()),
        }
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(Value::Object(target)) = self.target(reference)?
        {
            self.evaluated(target, value)?;
        }
        each_same(keywords, &mut |schema| {
            self.schema(schema, value)?;
            schema.as_object().map_or(Ok(()), |keywords| self.evaluated(keywords, value))
        })
    }

    /// The names of fields are run through all patterns for names.
    fn names(&mut self, keywords: &'s Map<String, Value>, fields: &Map<String, Value>) -> Result<(), BadSchema> {
        let Some(Value::Object(patterns)) = keywords.get("patternProperties") else { return Ok(()) };
        for pattern in patterns.keys() {
            for name in fields.keys() {
                self.take(1 + name.len() / BYTES_A_STEP)?;
                self.matched(pattern, name)?;
            }
        }
        Ok(())
    }

    /// All values of an object are held against the schema of a keyword.
    fn each_field(&mut self, keyword: &str, keywords: &'s Map<String, Value>, fields: &Map<String, Value>) -> Result<(), BadSchema> {
        let Some(schema) = keywords.get(keyword) else { return Ok(()) };
        fields.values().try_for_each(|value| self.schema(schema, value))
    }

    fn object(&mut self, keywords: &'s Map<String, Value>, fields: &Map<String, Value>) -> Result<(), BadSchema> {
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, schema) in properties {
                self.take(1)?;
                fields.get(name).map_or(Ok(()), |value| self.schema(schema, value))?;
            }
        }
        self.names(keywords, fields)?;
        if let Some(Value::Object(patterns)) = keywords.get("patternProperties") {
            // Which of them a pattern fits is not asked: asking is the work.
            for schema in patterns.values() {
                fields.values().try_for_each(|value| self.schema(schema, value))?;
            }
        }
        if keywords.contains_key("additionalProperties") {
            // To find out which are additional, names are run through the patterns again.
            self.names(keywords, fields)?;
        }
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            self.each_field(keyword, keywords, fields)?;
        }
        if let Some(schema) = keywords.get("propertyNames") {
            for name in fields.keys() {
                self.schema(schema, &Value::String(name.clone()))?;
            }
        }
        Ok(())
    }

    fn array(&mut self, keywords: &'s Map<String, Value>, items: &[Value]) -> Result<(), BadSchema> {
        for keyword in ["items", "additionalItems", "unevaluatedItems", "contains", "prefixItems"] {
            match keywords.get(keyword) {
                None => {}
                Some(Value::Array(schemas)) => schemas.iter().zip(items).try_for_each(|(schema, item)| self.schema(schema, item))?,
                Some(schema) => items.iter().try_for_each(|item| self.schema(schema, item))?,
            }
        }
        // Elements are compared with each other, by hash or in order.
        if keywords.get("uniqueItems") == Some(&Value::Bool(true)) {
            self.take(items.len().saturating_mul(16))?;
            items.iter().try_for_each(|item| self.take(size(item) / BYTES_A_STEP))?;
        }
        Ok(())
    }
}

/// About how many bytes a value has.
fn size(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.iter().map(size).sum::<usize>() + 8,
        Value::Object(fields) => fields.iter().map(|(name, value)| name.len() + size(value)).sum::<usize>() + 8,
        _ => 8,
    }
}
