//! How many schemas are compiled of a schema. Most are compiled once. But where `unevaluatedProperties` or `unevaluatedItems` stands, all that
//! applies to the same value is compiled once more, to find out what it evaluates, and so on inside of that: such schemas in each other
//! multiply.

use super::shape::{each_child, each_same, has_unevaluated, target};
use super::{BadSchema, MAX_COMPILED};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Keywords whose schemas are compiled again to find out what is evaluated, though they apply to values in the value.
const AGAIN: [&str; 7] =
    ["additionalProperties", "unevaluatedProperties", "items", "additionalItems", "unevaluatedItems", "contains", "prefixItems"];

/// How many schemas are compiled for a document, at the most [`MAX_COMPILED`]. In the document nothing that applies to the same value leads
/// back to itself, and references lead somewhere (`shape::check`).
pub(super) fn count(document: &Value) -> Result<usize, BadSchema> {
    let mut walk = Walk { document, targets: Vec::new(), known: HashSet::new(), left: MAX_COMPILED };
    walk.schema(document)?;
    while let Some(target) = walk.targets.pop() {
        if !walk.known.contains(&std::ptr::from_ref(target)) {
            walk.schema(target)?;
        }
    }
    Ok(MAX_COMPILED - walk.left)
}

struct Walk<'s> {
    document: &'s Value,
    /// Where references lead; it can be where no keyword looks for a schema.
    targets: Vec<&'s Value>,
    /// The schemas that were compiled, by where they are in memory.
    known: HashSet<*const Value>,
    left: usize,
}

impl<'s> Walk<'s> {
    fn take(&mut self) -> Result<(), BadSchema> {
        let refused =
            || BadSchema::new("unevaluatedProperties and unevaluatedItems multiply: too many schemas that have them are in each other");
        self.left = self.left.checked_sub(1).ok_or_else(refused)?;
        Ok(())
    }

    /// One schema; what it refers to is compiled only once, in its own place.
    fn schema(&mut self, schema: &'s Value) -> Result<(), BadSchema> {
        self.take()?;
        self.known.insert(schema);
        let Value::Object(keywords) = schema else { return Ok(()) };
        let reference = keywords.get("$ref").and_then(Value::as_str);
        self.targets.extend(reference.and_then(|reference| target(self.document, reference)));
        each_child(keywords, &mut |schema| self.schema(schema))?;
        if has_unevaluated(keywords) { self.evaluated(keywords) } else { Ok(()) }
    }

    /// What is compiled to find out what a schema evaluates.
    fn evaluated(&mut self, keywords: &'s Map<String, Value>) -> Result<(), BadSchema> {
        self.take()?;
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(Value::Object(target)) = target(self.document, reference)
        {
            self.evaluated(target)?;
        }
        each_same(keywords, &mut |schema| {
            self.schema(schema)?;
            schema.as_object().map_or(Ok(()), |keywords| self.evaluated(keywords))
        })?;
        for value in AGAIN.iter().filter_map(|keyword| keywords.get(*keyword)) {
            match value {
                Value::Array(schemas) => schemas.iter().try_for_each(|schema| self.schema(schema))?,
                schema => self.schema(schema)?,
            }
        }
        let named = keywords.get("patternProperties").and_then(Value::as_object);
        named.map_or(Ok(()), |named| named.values().try_for_each(|schema| self.schema(schema)))
    }
}
