//! Values into text, as Go's `fmt` prints them with `%v`.

use super::meter::{Draft, Fault, Meter};
use super::number::{self, Number};
use super::value::Value;

/// The value as text.
pub(super) fn shown(value: &Value<'_>, meter: &mut Meter) -> Result<String, Fault> {
    let mut draft = Draft::new(meter);
    write(value, &mut draft)?;
    Ok(draft.into_string())
}

/// Puts a value.
pub(super) fn write(value: &Value<'_>, draft: &mut Draft<'_>) -> Result<(), Fault> {
    draft.meter.step(1)?;
    match value {
        Value::Missing | Value::Nil => draft.push("<nil>"),
        Value::Bool(value) => draft.push(if *value { "true" } else { "false" }),
        Value::Number(Number::Int(value)) => draft.push(&value.to_string()),
        Value::Number(Number::Float(value)) => draft.push(&number::float(*value)),
        Value::Number(Number::Spelled(text)) => draft.push(text),
        Value::Text(text) => draft.push(text.as_str()),
        Value::Time(moment) => draft.push(&moment.shown()),
        Value::List(list) => {
            draft.push("[")?;
            for (n, item) in list.items.iter().enumerate() {
                draft.push(if n == 0 { "" } else { " " })?;
                write(item, draft)?;
            }
            draft.push("]")
        }
        Value::Map(map) => {
            draft.push("map[")?;
            for (n, (name, item)) in map.entries.iter().enumerate() {
                draft.push(if n == 0 { "" } else { " " })?;
                draft.push(name.as_str())?;
                draft.push(":")?;
                write(item, draft)?;
            }
            draft.push("]")
        }
    }
}

/// Go's `Sprint`: a space between two that are both no text.
pub(super) fn print(values: &[Value<'_>], draft: &mut Draft<'_>) -> Result<(), Fault> {
    let is_text = |value: &Value<'_>| matches!(value, Value::Text(_));
    for (n, value) in values.iter().enumerate() {
        if n > 0 && !is_text(value) && !is_text(&values[n - 1]) {
            draft.push(" ")?;
        }
        write(value, draft)?;
    }
    Ok(())
}

/// Go's `Sprintln`: a space between any two, and a new line.
pub(super) fn println(values: &[Value<'_>], draft: &mut Draft<'_>) -> Result<(), Fault> {
    for (n, value) in values.iter().enumerate() {
        draft.push(if n == 0 { "" } else { " " })?;
        write(value, draft)?;
    }
    draft.push("\n")
}
