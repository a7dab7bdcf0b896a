//! How much a check costs: a walk over schema and payload that takes every way that a check could take, and decides nothing.

use super::shape::{each_same, target};
use super::{BadSchema, MAX_CHECK_DEPTH, MAX_CHECKS};
use serde_json::{Map, Value};

/// How many bytes of a text are looked at for one step.
const BYTES_A_STEP: usize = 64;

/// Takes as many steps as holding the document against the payload can take.
pub(super) fn measure(document: &Value, payload: &Value) -> Result<(), BadSchema> {
    Walk { document, left: MAX_CHECKS, depth: 0 }.schema(document, payload)
}

struct Walk<'s> {
    document: &'s Value,
    left: u64,
    depth: usize,
}

impl<'s> Walk<'s> {
    fn take(&mut self, steps: usize) -> Result<(), BadSchema> {
        self.left = self.left.checked_sub(steps as u64).ok_or_else(|| BadSchema::new("too much work"))?;
        Ok(())
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
            && let Some(target) = target(self.document, reference)
        {
            self.schema(target, value)?;
        }
        each_same(keywords, &mut |schema| self.schema(schema, value))?;
        match value {
            Value::Object(fields) => self.object(keywords, fields),
            Value::Array(items) => self.array(keywords, items),
            Value::String(text) => self.take(text.len() / BYTES_A_STEP),
            _ => Ok(()),
        }
    }

    fn object(&mut self, keywords: &'s Map<String, Value>, fields: &Map<String, Value>) -> Result<(), BadSchema> {
        if let Some(Value::Object(properties)) = keywords.get("properties") {
            for (name, schema) in properties {
                self.take(1)?;
                fields.get(name).map_or(Ok(()), |value| self.schema(schema, value))?;
            }
        }
        if let Some(Value::Object(patterns)) = keywords.get("patternProperties") {
            for schema in patterns.values() {
                // Which of them a pattern fits is not asked: asking is the work.
                for (name, value) in fields {
                    self.take(1 + name.len() / BYTES_A_STEP)?;
                    self.schema(schema, value)?;
                }
            }
        }
        for keyword in ["additionalProperties", "unevaluatedProperties"] {
            if let Some(schema) = keywords.get(keyword) {
                fields.values().try_for_each(|value| self.schema(schema, value))?;
            }
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
