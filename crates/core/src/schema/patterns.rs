//! What patterns cost: the time that a text takes, and the memory.

use super::{BadSchema, MAX_ALL_PATTERNS_BYTES, MAX_PATTERN_RUN_BYTES};
use jsonschema_regex::{Search, analyze_pattern, search_form, to_rust_regex};
use regex_syntax::ParserBuilder;
use regex_syntax::hir::{Class, Hir, HirKind};
use serde_json::Value;
use std::collections::HashMap;

/// Groups in each other that are still read.
const MAX_NESTING: u32 = 100;

/// What a place of a compiled pattern takes in memory, in bytes: some states, which are kept forwards and backwards.
const PLACE_BYTES: u64 = 256;

/// What a range of a class takes, in bytes: up to four states in each direction, one for each byte of UTF-8.
const RANGE_BYTES: u64 = 128;

/// The costs of all patterns of a schema.
#[derive(Default)]
pub(super) struct Patterns {
    /// How many places each has.
    places: HashMap<Box<str>, u64>,
    bytes: u64,
}

impl Patterns {
    /// Takes up a pattern.
    pub(super) fn add(&mut self, pattern: &str) -> Result<(), BadSchema> {
        if self.places.contains_key(pattern) {
            return Ok(());
        }
        let cost =
            cost(pattern).ok_or_else(|| BadSchema::new(format!("this is no JSON Schema: the pattern {pattern:?} is not understood")))?;
        self.bytes = self.bytes.saturating_add(cost.bytes);
        if self.bytes > MAX_ALL_PATTERNS_BYTES as u64 {
            return Err(BadSchema::new("its patterns repeat too much: they would take more than 1 MiB of memory"));
        }
        self.places.insert(pattern.into(), cost.places.max(1));
        Ok(())
    }

    /// How many places of a pattern, 1 at least, can be tried at once at each byte of a text. 1 for what is none of them.
    pub(super) fn places(&self, pattern: &str) -> u64 {
        self.places.get(pattern).copied().unwrap_or(1)
    }

    /// About how much memory they take, in bytes: at the most [`MAX_ALL_PATTERNS_BYTES`], and for each what it keeps of two runs at once.
    pub(super) fn memory(&self) -> usize {
        let compiled = usize::try_from(self.bytes).unwrap_or(usize::MAX);
        compiled.saturating_add(self.places.len() * 2 * MAX_PATTERN_RUN_BYTES)
    }

    /// Takes up those of one schema.
    pub(super) fn add_all(&mut self, keywords: &serde_json::Map<String, Value>) -> Result<(), BadSchema> {
        if let Some(pattern) = keywords.get("pattern").and_then(Value::as_str) {
            self.add(pattern)?;
        }
        let named = keywords.get("patternProperties").and_then(Value::as_object);
        named.map_or(Ok(()), |named| named.keys().try_for_each(|pattern| self.add(pattern)))
    }
}

/// What a pattern, or a part of one, costs.
#[derive(Clone, Copy, Default)]
struct Cost {
    /// The most places in it that matching can be at, all at once: each takes its time at each byte of a text.
    places: u64,
    /// Memory.
    bytes: u64,
}

impl Cost {
    fn of_one(bytes: u64) -> Self {
        Cost { places: 1, bytes: PLACE_BYTES.saturating_add(bytes) }
    }

    fn and(self, other: Cost) -> Cost {
        Cost { places: self.places.saturating_add(other.places), bytes: self.bytes.saturating_add(other.bytes) }
    }

    fn times(self, count: u64) -> Cost {
        Cost { places: self.places.saturating_mul(count), bytes: self.bytes.saturating_mul(count) }
    }
}

/// The cost of a pattern as it will be run; `None` where it cannot be read, which the compiler of patterns then refuses too.
fn cost(pattern: &str) -> Option<Cost> {
    if analyze_pattern(pattern).is_some() {
        // It is compared with texts, and not compiled.
        return Some(Cost::of_one(pattern.len() as u64));
    }
    let translated = to_rust_regex(pattern).ok()?;
    let search = search_form(pattern, &translated);
    let run = match &search {
        // Characters are counted, and nothing is compiled.
        Some(Search::RepeatedClass(_)) => return Some(Cost::of_one(0)),
        Some(Search::Collapsed(shorter)) => shorter,
        None => &*translated,
    };
    let parsed = ParserBuilder::new().nest_limit(MAX_NESTING).build().parse(run).ok()?;
    Some(of(&parsed))
}

/// A repetition stands there as often as it is bounded to, and what is not bounded once more than it must.
fn of(part: &Hir) -> Cost {
    let own = match part.kind() {
        HirKind::Empty | HirKind::Look(_) => Cost::of_one(0),
        HirKind::Literal(text) => Cost::of_one(0).times(text.0.len() as u64),
        HirKind::Class(class) => Cost::of_one(RANGE_BYTES.saturating_mul(ranges(class))),
        HirKind::Capture(group) => Cost::of_one(0).and(of(&group.sub)),
        HirKind::Repetition(again) => {
            let times = again.max.map_or_else(|| u64::from(again.min) + 1, u64::from);
            Cost::of_one(0).and(of(&again.sub)).times(times.max(1))
        }
        HirKind::Concat(parts) | HirKind::Alternation(parts) => parts.iter().map(of).fold(Cost::of_one(0), Cost::and),
    };
    Cost { places: own.places.max(1), ..own }
}

fn ranges(class: &Class) -> u64 {
    match class {
        Class::Unicode(class) => class.ranges().len() as u64,
        Class::Bytes(class) => class.ranges().len() as u64,
    }
}
