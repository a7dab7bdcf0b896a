//! Go's own functions: comparisons, `not`, `index`, `len`, `call`, printing.

use super::eval::Tools;
use super::meter::{Draft, Fault};
use super::value::Value;
use super::{print, printf};
use std::cmp::Ordering;

type Answer<'a> = Result<Value<'a>, Fault>;

pub(super) fn not<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(Value::Bool(!args[0].is_true()))
}

/// Whether the first equals any of the others.
pub(super) fn eq<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    for other in &args[1..] {
        tools.meter.step(1)?;
        if are_equal(&args[0], other)? {
            return Ok(Value::Bool(true));
        }
    }
    Ok(Value::Bool(false))
}

pub(super) fn ne<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    are_equal(&args[0], &args[1]).map(|equal| Value::Bool(!equal))
}

fn are_equal(one: &Value<'_>, other: &Value<'_>) -> Result<bool, Fault> {
    match (one, other) {
        (Value::List(_) | Value::Map(_), Value::List(_) | Value::Map(_)) => {
            Err(Fault::failed(format!("non-comparable type {}", one.type_name())))
        }
        (a, b) if a.is_nil() || b.is_nil() => Ok(a.is_nil() && b.is_nil()),
        (Value::Bool(a), Value::Bool(b)) => Ok(a == b),
        (Value::Text(a), Value::Text(b)) => Ok(a == b),
        (Value::Number(a), Value::Number(b)) => Ok(a.compare(*b) == Some(Ordering::Equal)),
        (Value::Time(a), Value::Time(b)) => Ok(a == b),
        _ => Err(Fault::failed("incompatible types for comparison")),
    }
}

fn order(args: &[Value<'_>]) -> Result<Ordering, Fault> {
    match (&args[0], &args[1]) {
        (Value::Text(a), Value::Text(b)) => Ok(a.cmp(b)),
        (Value::Number(a), Value::Number(b)) => a.compare(*b).ok_or_else(|| Fault::failed("incompatible types for comparison")),
        (Value::Text(_) | Value::Number(_), Value::Text(_) | Value::Number(_)) => Err(Fault::failed("incompatible types for comparison")),
        _ => Err(Fault::failed("invalid type for comparison")),
    }
}

pub(super) fn lt<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    order(args).map(|order| Value::Bool(order.is_lt()))
}

pub(super) fn le<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    order(args).map(|order| Value::Bool(order.is_le()))
}

pub(super) fn gt<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    order(args).map(|order| Value::Bool(order.is_gt()))
}

pub(super) fn ge<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    order(args).map(|order| Value::Bool(order.is_ge()))
}

/// An element of an element of a list, an object or a text, whose elements are bytes.
pub(super) fn index<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut value = args[0].clone();
    for key in &args[1..] {
        value = match (&value, key) {
            (Value::Map(map), Value::Text(name)) => map.entries.get(name).cloned().unwrap_or(Value::Nil),
            (Value::Map(_), key) => return Err(Fault::failed(format!("value has type {}; should be string", key.type_name()))),
            (Value::List(list), key) => list.items[place(key, list.items.len())?].clone(),
            (Value::Text(text), key) => Value::int(i64::from(text.as_str().as_bytes()[place(key, text.as_str().len())?])),
            (nil, _) if nil.is_nil() => return Err(Fault::failed("index of untyped nil")),
            (other, _) => return Err(Fault::failed(format!("can't index item of type {}", other.type_name()))),
        };
    }
    Ok(value)
}

fn place(key: &Value<'_>, length: usize) -> Result<usize, Fault> {
    let Value::Number(number) = key else {
        return Err(Fault::failed(format!("cannot index slice/array with type {}", key.type_name())));
    };
    let wanted = number.as_int().ok_or_else(|| Fault::failed("cannot index slice/array with type float64"))?;
    usize::try_from(wanted).ok().filter(|at| *at < length).ok_or_else(|| Fault::failed(format!("index out of range: {wanted}")))
}

/// How many elements a list or an object has, or bytes a text.
pub(super) fn len<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match &args[0] {
        Value::Text(text) => Ok(Value::count(text.as_str().len())),
        Value::List(list) => Ok(Value::count(list.items.len())),
        Value::Map(map) => Ok(Value::count(map.entries.len())),
        nil if nil.is_nil() => Err(Fault::failed("len of nil pointer")),
        other => Err(Fault::failed(format!("len of type {}", other.type_name()))),
    }
}

/// Nothing in a context is a function, so there is nothing to call, as Go says then.
pub(super) fn call<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    match &args[0] {
        nil if nil.is_nil() => Err(Fault::failed("call of nil")),
        other => Err(Fault::failed(format!("non-function of type {}", other.type_name()))),
    }
}

pub(super) fn print<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    print::print(args, &mut draft)?;
    Ok(draft.into_value())
}

pub(super) fn println<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut draft = Draft::new(tools.meter);
    print::println(args, &mut draft)?;
    Ok(draft.into_value())
}

pub(super) fn printf<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let format = super::text::string(&args[0])?;
    let mut draft = Draft::new(tools.meter);
    printf::printf(format, &args[1..], &mut draft)?;
    Ok(draft.into_value())
}
