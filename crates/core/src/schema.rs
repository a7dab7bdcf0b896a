//! JSON Schemas of event types: what a payload breaks, and a payload that breaks nothing.
//!
//! Whoever may register an event type may write a schema, and it is held against every event. So nothing in it reaches out (references stay
//! inside of the document), nothing in it costs more than a known bound to compile ([`MAX_SCHEMA_BYTES`], [`MAX_SUBSCHEMAS`],
//! [`MAX_COMPILED`], [`MAX_PATTERNS`], [`MAX_ALL_PATTERNS_BYTES`]), patterns run on an engine whose work is at most the length of the text times
//! that of the pattern, and the work of a check is counted before it is done ([`MAX_CHECKS`]): schemas that refer to themselves twice can
//! multiply, payload level by payload level.
//!
//! | file | holds |
//! |---|---|
//! | `shape` | what is allowed in a schema, and where its references lead |
//! | `compiled` | how much is compiled of it |
//! | `patterns` | what its patterns cost |
//! | `work` | how much a check costs |
//! | `sample` | payloads made from schemas |
//!
//! Formats (`email`, `date-time`…) are checked in all drafts, for a schema that names one means it; only `regex` is not.

use jsonschema::error::ValidationErrorKind;
use jsonschema::{PatternOptions, ValidationError, Validator};
use patterns::Patterns;
use serde_json::Value;
use std::sync::Arc;

mod compiled;
mod patterns;
mod sample;
mod shape;
#[cfg(test)]
mod tests;
mod work;

/// Longest schema, in bytes.
pub const MAX_SCHEMA_BYTES: usize = 64 * 1_024;

/// Most schemas in a schema. Each takes some hundreds of bytes while it is kept ready.
pub const MAX_SUBSCHEMAS: usize = 2_000;

/// How deep schemas may nest in each other, and how many in a row may apply to the same value. It bounds the stack.
pub const MAX_SCHEMA_DEPTH: usize = 32;

/// Most patterns (`pattern`, `patternProperties`) in a schema.
pub const MAX_PATTERNS: usize = 64;

/// Most memory that one pattern takes when it is compiled, in bytes: a class of Unicode's, such as `\p{L}`, takes up to 45,000.
pub const MAX_PATTERN_BYTES: usize = 128 * 1_024;

/// Most memory that one pattern takes for what it finds out while it runs, in bytes. With more it would be quicker on texts that are made to be
/// slow, which are counted as slow ones ([`MAX_CHECKS`]).
pub const MAX_PATTERN_RUN_BYTES: usize = 32 * 1_024;

/// Most memory that all patterns of a schema may take together when they are compiled, in bytes, by an estimate from their texts.
pub const MAX_ALL_PATTERNS_BYTES: usize = 1 << 20;

/// Most schemas that are compiled of one: more than there are in it where `unevaluatedProperties` or `unevaluatedItems` is.
pub const MAX_COMPILED: usize = 8_000;

/// Longest `$ref`, in bytes.
pub const MAX_REFERENCE_BYTES: usize = 1_024;

/// Most steps of one check. A step is a schema that is held against a value, 64 bytes that are looked at, or a byte that is tried at 32 places of
/// a pattern: a few tenths of a second for all at the worst.
pub const MAX_CHECKS: u64 = 500_000;

/// How many schemas may be held against values one inside of the other, in one check. It bounds the stack.
pub const MAX_CHECK_DEPTH: usize = 150;

/// Most warnings about one payload.
pub const MAX_WARNINGS: usize = 20;

/// Longest warning, in bytes.
pub const MAX_WARNING_BYTES: usize = 256;

/// What a byte of a schema's text takes in memory: a value of JSON, and a copy of it.
const BYTES_A_BYTE: usize = 64;

/// What a compiled schema takes, in bytes: some hundreds.
const BYTES_A_SCHEMA: usize = 1_024;

/// A schema, ready to be held against payloads. Cheap to share.
#[derive(Clone)]
pub struct EventSchema {
    inner: Arc<Inner>,
}

struct Inner {
    document: Value,
    patterns: Patterns,
    validator: Validator,
    bytes: usize,
}

/// Why a text is no schema for events. The text says what to change.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadSchema(String);

impl BadSchema {
    fn new(message: impl Into<String>) -> Self {
        BadSchema(shortened(message.into()))
    }
}

impl std::fmt::Debug for EventSchema {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "EventSchema({})", self.inner.document)
    }
}

fn shortened(mut text: String) -> String {
    if text.len() > MAX_WARNING_BYTES {
        let most = MAX_WARNING_BYTES - '…'.len_utf8();
        let cut = (0..=most).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0);
        text.truncate(cut);
        text.push('…');
    }
    text
}

impl EventSchema {
    /// Reads a JSON Schema of any draft that `$schema` names: 4, 6, 7, 2019-09 or 2020-12, which is also what it is without one.
    pub fn parse(bytes: &[u8]) -> Result<Self, BadSchema> {
        let (document, patterns) = read(bytes)?;
        let compiled = compiled::count(&document)?;
        let limits = PatternOptions::regex().size_limit(MAX_PATTERN_BYTES).dfa_size_limit(MAX_PATTERN_RUN_BYTES);
        let options = jsonschema::options()
            .offline()
            .with_pattern_options(limits)
            .should_validate_formats(true)
            // It would keep payloads in a cache that no bound holds for.
            .with_format("regex", |_: &str| true);
        let validator = options.build(&document).map_err(|error| BadSchema::new(refusal(&error)))?;
        let memory = bytes.len() * BYTES_A_BYTE + compiled * BYTES_A_SCHEMA + patterns.memory();
        Ok(EventSchema { inner: Arc::new(Inner { document, patterns, validator, bytes: memory }) })
    }

    /// About how much memory it takes, in bytes, estimated from its length, how much was compiled of it and its patterns: some 17 MiB at the
    /// most, where every limit is met.
    pub fn memory(&self) -> usize {
        self.inner.bytes
    }

    /// What the payload breaks, as `field 'a.b[0]': …`; nothing if it is right. At most [`MAX_WARNINGS`] of [`MAX_WARNING_BYTES`]; what is
    /// beyond is counted in the last one. Values of the payload are not in them.
    pub fn check(&self, payload: &[u8]) -> Vec<String> {
        let Ok(payload) = serde_json::from_slice::<Value>(payload) else {
            return vec![warning(
                "(root)",
                "is not checked: it is no JSON, or nests more than 127 levels deep, or has a number that no 64 bits hold",
            )];
        };
        if work::measure(&self.inner.document, &self.inner.patterns, &payload).is_err() {
            return vec![warning(
                "(root)",
                "is not checked: with this schema it would take more than 500,000 steps, or nest more than 150 levels deep",
            )];
        }
        let mut warnings = Vec::new();
        for error in self.inner.validator.iter_errors(&payload) {
            told(&error, &mut warnings);
            if warnings.len() > MAX_WARNINGS {
                warnings.truncate(MAX_WARNINGS - 1);
                warnings.push(warning("(root)", "breaks more of the schema than is told here"));
                break;
            }
        }
        warnings
    }
}

/// A payload made from a schema, which is read but not compiled: of examples, defaults and constants where it has them, else by types and formats,
/// required and optional fields alike. It is an example for people and for templates: patterns and conditions are not looked at, so it can
/// break them. Bounded in depth and size; where a schema goes on for ever, it ends in null. Refused is what is not within the limits of a
/// schema; that the rest is one is not looked at.
pub fn sample(bytes: &[u8]) -> Result<Value, BadSchema> {
    let (document, _) = read(bytes)?;
    Ok(sample::sample(&document))
}

/// A schema within its limits, and what its patterns cost.
fn read(bytes: &[u8]) -> Result<(Value, Patterns), BadSchema> {
    if bytes.len() > MAX_SCHEMA_BYTES {
        return Err(BadSchema::new("a schema is at most 65,536 bytes"));
    }
    let document: Value = serde_json::from_slice(bytes).map_err(|error| BadSchema::new(format!("the schema is not JSON: {error}")))?;
    let patterns = shape::check(&document)?;
    Ok((document, patterns))
}

fn warning(field: &str, rule: &str) -> String {
    shortened(format!("field '{field}': {rule}"))
}

/// Why the compiler refused a schema, with the place.
fn refusal(error: &ValidationError<'_>) -> String {
    let place = error.instance_path().as_str();
    let place = if place.is_empty() { String::new() } else { format!(" at {place}") };
    format!("this is no JSON Schema{place}: {}", error.masked())
}

/// Puts what one error says of its field or fields.
fn told(error: &ValidationError<'_>, warnings: &mut Vec<String>) {
    let path = field_of(error.instance_path().as_str());
    let below = |name: &str| if path.is_empty() { name.to_owned() } else { format!("{path}.{name}") };
    match error.kind() {
        ValidationErrorKind::Required { property } => {
            let name = property.as_str().map_or_else(|| property.to_string(), str::to_owned);
            warnings.push(warning(&below(&name), "is required"));
        }
        ValidationErrorKind::AdditionalProperties { unexpected } | ValidationErrorKind::UnevaluatedProperties { unexpected } => {
            for name in unexpected.iter().take(MAX_WARNINGS + 1) {
                warnings.push(warning(&below(name), "is not a field of the schema"));
            }
        }
        _ if path.is_empty() => warnings.push(warning("(root)", &error.masked().to_string())),
        _ => warnings.push(warning(&path, &error.masked().to_string())),
    }
}

/// A JSON pointer as people write it: `/items/0/sku` is `items[0].sku`.
fn field_of(pointer: &str) -> String {
    let mut field = String::new();
    for part in pointer.split('/').skip(1) {
        if !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && !field.is_empty() {
            field.push_str(&format!("[{part}]"));
            continue;
        }
        field.push_str(if field.is_empty() { "" } else { "." });
        field.push_str(&part.replace("~1", "/").replace("~0", "~"));
    }
    field
}
