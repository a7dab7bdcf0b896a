//! What a template works with.

use super::meter::{Fault, Meter, TOO_DEEP_VALUE};
use super::moment::Moment;
use super::number::Number;
use super::{BYTES_A_STEP, Context, MAX_VALUE_DEPTH};
use std::borrow::Borrow;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::rc::Rc;

/// A value. Cloning one is cheap: what is large is shared.
#[derive(Clone, Debug)]
pub(super) enum Value<'a> {
    /// A key that is not there. Like null, but it has fields: all of them missing.
    Missing,
    /// `nil`, or null.
    Nil,
    Bool(bool),
    Number(Number<'a>),
    Text(Text<'a>),
    List(Rc<List<'a>>),
    Map(Rc<Map<'a>>),
    Time(Moment),
}

/// A text: of the payload or the template, or made.
#[derive(Clone, Debug)]
pub(super) enum Text<'a> {
    Borrowed(&'a str),
    Made(Rc<str>),
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        match self {
            Text::Borrowed(text) => text,
            Text::Made(text) => text,
        }
    }
}

impl Borrow<str> for Text<'_> {
    fn borrow(&self) -> &str {
        self.as_str()
    }
}

impl PartialEq for Text<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for Text<'_> {}

impl PartialOrd for Text<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Text<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_str().cmp(other.as_str())
    }
}

pub(super) type Entries<'a> = BTreeMap<Text<'a>, Value<'a>>;

/// A list. How deep it is bounds the stack of all that walks over values, freeing them among it.
#[derive(Debug)]
pub(super) struct List<'a> {
    pub(super) items: Vec<Value<'a>>,
    depth: u16,
}

/// An object, its fields in the order of their names, as Go shows them.
#[derive(Debug)]
pub(super) struct Map<'a> {
    pub(super) entries: Entries<'a>,
    depth: u16,
}

impl<'a> Value<'a> {
    /// A list, if it is not too deep.
    pub(super) fn list(items: Vec<Value<'a>>) -> Result<Self, Fault> {
        let depth = depth_over(items.iter())?;
        Ok(Value::List(Rc::new(List { items, depth })))
    }

    /// An object, if it is not too deep.
    pub(super) fn map(entries: Entries<'a>) -> Result<Self, Fault> {
        let depth = depth_over(entries.values())?;
        Ok(Value::Map(Rc::new(Map { entries, depth })))
    }

    pub(super) fn made(text: impl Into<Rc<str>>) -> Self {
        Value::Text(Text::Made(text.into()))
    }

    pub(super) fn int(value: i64) -> Self {
        Value::Number(Number::Int(value))
    }

    /// A count of something in memory.
    pub(super) fn count(value: usize) -> Self {
        Value::int(i64::try_from(value).unwrap_or(i64::MAX))
    }

    fn depth(&self) -> u16 {
        match self {
            Value::List(list) => list.depth,
            Value::Map(map) => map.depth,
            _ => 0,
        }
    }

    /// Whether `if` takes it: not null, false, zero or empty.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Value::Missing | Value::Nil => false,
            Value::Bool(value) => *value,
            Value::Number(number) => !number.is_zero(),
            Value::Text(text) => !text.as_str().is_empty(),
            Value::List(list) => !list.items.is_empty(),
            Value::Map(map) => !map.entries.is_empty(),
            Value::Time(_) => true,
        }
    }

    pub(super) fn is_nil(&self) -> bool {
        matches!(self, Value::Missing | Value::Nil)
    }

    /// The name of its type, as Go has it.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Value::Missing | Value::Nil => "<nil>",
            Value::Bool(_) => "bool",
            Value::Number(Number::Int(_)) => "int",
            Value::Number(_) => "float64",
            Value::Text(_) => "string",
            Value::List(_) => "[]interface {}",
            Value::Map(_) => "map[string]interface {}",
            Value::Time(_) => "time.Time",
        }
    }

    /// The field of that name. What is missing or null has none, but only of what is missing may one be asked for.
    pub(super) fn field(&self, name: &str, meter: &mut Meter) -> Result<Value<'a>, Fault> {
        meter.step(1 + name.len() / BYTES_A_STEP)?;
        match self {
            Value::Map(map) => Ok(map.entries.get(name).cloned().unwrap_or(Value::Missing)),
            Value::Missing => Ok(Value::Missing),
            Value::Nil => Err(Fault::failed(format!("nil pointer evaluating interface {{}}.{name}"))),
            other => Err(Fault::failed(format!("can't evaluate field {name} in type {}", other.type_name()))),
        }
    }
}

fn depth_over<'v, 'a: 'v>(values: impl Iterator<Item = &'v Value<'a>>) -> Result<u16, Fault> {
    let depth = values.map(Value::depth).max().unwrap_or(0) + 1;
    if depth > MAX_VALUE_DEPTH + 1 { Err(TOO_DEEP_VALUE) } else { Ok(depth) }
}

/// What `.` is at first.
pub(super) fn root<'a>(context: &Context<'a>, stamp: &'a str, payload: Value<'a>) -> Value<'a> {
    let text = |text: &'a str| Value::Text(Text::Borrowed(text));
    let fields = [
        ("event_id", text(context.event_id)),
        ("event_name", text(context.event_name)),
        ("timestamp", text(stamp)),
        ("attempt", Value::int(i64::from(context.attempt))),
        ("payload", payload),
    ];
    let entries: Entries<'a> = fields.into_iter().map(|(name, value)| (Text::Borrowed(name), value)).collect();
    // The payload is at most MAX_VALUE_DEPTH deep, so this is never deeper than a value may be.
    let depth = entries.values().map(Value::depth).max().unwrap_or(0) + 1;
    Value::Map(Rc::new(Map { entries, depth }))
}
