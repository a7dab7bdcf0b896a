//! What is allowed in a schema, and where its references lead.

use super::patterns::Patterns;
use super::{BadSchema, MAX_PATTERNS, MAX_REFERENCE_BYTES, MAX_SCHEMA_DEPTH, MAX_SUBSCHEMAS};
use serde_json::{Map, Value};
use std::collections::HashSet;

/// Keywords whose value is a schema that applies to the same value.
const SAME: [&str; 4] = ["not", "if", "then", "else"];

/// Keywords whose value is a list of schemas that apply to the same value.
const SAME_LIST: [&str; 3] = ["allOf", "anyOf", "oneOf"];

/// Keywords whose value is an object of schemas that apply to the same value.
const SAME_MAP: [&str; 2] = ["dependentSchemas", "dependencies"];

/// Keywords whose value is a schema that applies to values in the value.
const BELOW: [&str; 9] = [
    "additionalProperties",
    "unevaluatedProperties",
    "propertyNames",
    "items",
    "additionalItems",
    "unevaluatedItems",
    "contains",
    "contentSchema",
    "prefixItems",
];

/// Keywords whose value is an object of schemas that apply to values in the value.
const BELOW_MAP: [&str; 2] = ["properties", "patternProperties"];

/// Keywords whose value is an object of schemas that apply where they are referred to.
const DEFINITIONS: [&str; 2] = ["$defs", "definitions"];

/// Calls `visit` with each schema in a schema that applies to the same value, but for what it refers to.
pub(super) fn each_same<'s>(
    schema: &'s Map<String, Value>,
    visit: &mut impl FnMut(&'s Value) -> Result<(), BadSchema>,
) -> Result<(), BadSchema> {
    for keyword in SAME {
        schema.get(keyword).map_or(Ok(()), &mut *visit)?;
    }
    for list in SAME_LIST.iter().filter_map(|keyword| schema.get(*keyword)?.as_array()) {
        list.iter().try_for_each(&mut *visit)?;
    }
    for map in SAME_MAP.iter().filter_map(|keyword| schema.get(*keyword)?.as_object()) {
        // Lists are names of fields that depend on each other.
        map.values().filter(|schema| !schema.is_array()).try_for_each(&mut *visit)?;
    }
    Ok(())
}

/// Calls `visit` with each other schema in a schema.
fn each_other<'s>(schema: &'s Map<String, Value>, visit: &mut impl FnMut(&'s Value) -> Result<(), BadSchema>) -> Result<(), BadSchema> {
    for value in BELOW.iter().filter_map(|keyword| schema.get(*keyword)) {
        match value {
            Value::Array(list) => list.iter().try_for_each(&mut *visit)?,
            one => visit(one)?,
        }
    }
    for map in BELOW_MAP.iter().chain(&DEFINITIONS).filter_map(|keyword| schema.get(*keyword)?.as_object()) {
        map.values().try_for_each(&mut *visit)?;
    }
    Ok(())
}

/// Calls `visit` with each schema in a schema.
pub(super) fn each_child<'s>(
    schema: &'s Map<String, Value>,
    visit: &mut impl FnMut(&'s Value) -> Result<(), BadSchema>,
) -> Result<(), BadSchema> {
    each_same(schema, visit)?;
    each_other(schema, visit)
}

/// Whether a schema asks what others have evaluated of the value.
pub(super) fn has_unevaluated(schema: &Map<String, Value>) -> bool {
    schema.contains_key("unevaluatedProperties") || schema.contains_key("unevaluatedItems")
}

/// What a reference leads to.
pub(super) fn target<'s>(document: &'s Value, reference: &str) -> Option<&'s Value> {
    let pointer = reference.strip_prefix('#')?;
    document.pointer(&decoded(pointer)?)
}

/// Percent-encoding undone.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('%') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        bytes.extend(crate::hex::decode(rest.get(at + 1..at + 3)?)?);
        rest = &rest[at + 3..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    String::from_utf8(bytes).ok()
}

/// What was seen so far of a document.
struct Seen<'s> {
    document: &'s Value,
    /// Where references lead; it can be where no keyword looks for a schema.
    targets: Vec<&'s Value>,
    /// The schemas that were looked at, by where they are in memory.
    known: HashSet<*const Value>,
    schemas: usize,
    /// How many patterns there are, one that stands there twice counted twice.
    count: usize,
    patterns: Patterns,
    /// How many schemas may still be entered to find out what applies to the same value.
    steps: usize,
}

/// Refuses what has no bound; answers what its patterns cost.
pub(super) fn check(document: &Value) -> Result<Patterns, BadSchema> {
    let steps = MAX_SUBSCHEMAS * MAX_SCHEMA_DEPTH;
    let mut seen =
        Seen { document, targets: Vec::new(), known: HashSet::new(), schemas: 0, count: 0, patterns: Patterns::default(), steps };
    seen.schema(document, 0)?;
    while let Some(target) = seen.targets.pop() {
        seen.schema(target, 1)?;
    }
    Ok(seen.patterns)
}

impl<'s> Seen<'s> {
    fn schema(&mut self, schema: &'s Value, depth: usize) -> Result<(), BadSchema> {
        if depth > MAX_SCHEMA_DEPTH {
            return Err(BadSchema::new("schemas nest more than 32 levels deep"));
        }
        if !self.known.insert(schema) {
            return Ok(());
        }
        self.schemas += 1;
        if self.schemas > MAX_SUBSCHEMAS {
            return Err(BadSchema::new("there are more than 2,000 schemas in it"));
        }
        let Value::Object(keywords) = schema else { return Ok(()) };
        self.keywords(keywords, depth)?;
        self.alike(schema, 0)?;
        each_child(keywords, &mut |schema| self.schema(schema, depth + 1))
    }

    fn keywords(&mut self, keywords: &'s Map<String, Value>, depth: usize) -> Result<(), BadSchema> {
        if depth > 0 && (keywords.contains_key("$id") || keywords.contains_key("id")) {
            return Err(BadSchema::new("only the outermost schema may have an $id"));
        }
        for keyword in ["$dynamicRef", "$recursiveRef"] {
            if keywords.contains_key(keyword) {
                return Err(BadSchema::new(format!("{keyword} is not supported: use $ref")));
            }
        }
        if let Some(reference) = keywords.get("$ref") {
            let reference = reference.as_str().ok_or_else(|| BadSchema::new("$ref must be a text"))?;
            if reference.len() > MAX_REFERENCE_BYTES {
                return Err(BadSchema::new("a $ref is at most 1,024 bytes"));
            }
            let is_inside = reference == "#" || reference.starts_with("#/");
            if !is_inside {
                return Err(BadSchema::new(format!("$ref {reference:?} leads out of the schema: only # and #/… are followed")));
            }
            match target(self.document, reference) {
                Some(target) if target.is_object() || target.is_boolean() => self.targets.push(target),
                _ => return Err(BadSchema::new(format!("$ref {reference:?} leads to no schema"))),
            }
        }
        let named = keywords.get("patternProperties").and_then(Value::as_object).map_or(0, Map::len);
        self.count += usize::from(keywords.contains_key("pattern")) + named;
        if self.count > MAX_PATTERNS {
            return Err(BadSchema::new("there are more than 64 patterns in it"));
        }
        self.patterns.add_all(keywords)
    }

    /// Walks over all that applies to the same value as a schema. A reference that leads back there would go on for ever.
    fn alike(&mut self, schema: &'s Value, depth: usize) -> Result<(), BadSchema> {
        if depth > MAX_SCHEMA_DEPTH {
            return Err(BadSchema::new("more than 32 schemas in a row apply to the same value: does one refer to itself?"));
        }
        self.steps =
            self.steps.checked_sub(1).ok_or_else(|| BadSchema::new("references multiply: too many schemas apply to the same value"))?;
        let Value::Object(keywords) = schema else { return Ok(()) };
        if let Some(reference) = keywords.get("$ref").and_then(Value::as_str)
            && let Some(target) = target(self.document, reference)
        {
            self.alike(target, depth + 1)?;
        }
        each_same(keywords, &mut |schema| self.alike(schema, depth + 1))
    }
}
