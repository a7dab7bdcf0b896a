//! Functions of lists and objects.

use super::eval::Tools;
use super::meter::Fault;
use super::value::{Entries, Value};
use super::{BYTES_A_STEP, text};

type Answer<'a> = Result<Value<'a>, Fault>;

/// default(instead, value)
pub(super) fn default<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    Ok(if args[1].is_true() { args[1].clone() } else { args[0].clone() })
}

/// A value as it is kept in another one, where nothing is missing but things may be null.
fn kept<'a>(value: &Value<'a>) -> Value<'a> {
    if value.is_nil() { Value::Nil } else { value.clone() }
}

pub(super) fn list<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    tools.meter.make_values(args.len())?;
    Value::list(args.iter().map(kept).collect())
}

/// append(list, value...)
pub(super) fn append<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let before = match &args[0] {
        Value::List(list) => &list.items[..],
        nil if nil.is_nil() => &[],
        other => return Err(Fault::failed(format!("wrong type for value; expected a list; got {}", other.type_name()))),
    };
    tools.meter.make_values(before.len() + args.len() - 1)?;
    Value::list(before.iter().cloned().chain(args[1..].iter().map(kept)).collect())
}

/// dict(key, value, key, value...)
pub(super) fn dict<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    tools.meter.make_values(args.len())?;
    let mut entries = Entries::new();
    for pair in args.chunks(2) {
        let [Value::Text(name), value] = pair else {
            return Err(Fault::failed("wants pairs of a key, which is a text, and a value"));
        };
        entries.insert(name.clone(), kept(value));
    }
    Value::map(entries)
}

/// merge(object...): of fields with the same name the first one counts.
pub(super) fn merge<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let mut entries: Entries<'a> = Entries::new();
    for arg in args {
        let map = match arg {
            Value::Map(map) => map,
            nil if nil.is_nil() => continue,
            other => return Err(Fault::failed(format!("wrong type for value; expected an object; got {}", other.type_name()))),
        };
        tools.meter.make_values(map.entries.len())?;
        for (name, value) in &map.entries {
            // A name is compared with some of those that are there.
            tools.meter.step(name.as_str().len() / (BYTES_A_STEP / 16))?;
            entries.entry(name.clone()).or_insert_with(|| value.clone());
        }
    }
    Value::map(entries)
}

/// dig(key..., instead, object): the field of a field, or `instead` where one of them is not there.
pub(super) fn dig<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    let [keys @ .., instead, object] = args else { return Err(Fault::failed("wants keys, a default and an object")) };
    let mut value = object.clone();
    for key in keys {
        tools.meter.step(1)?;
        let name = text::string(key)?;
        let next = match &value {
            Value::Map(map) => map.entries.get(name).cloned(),
            nil if nil.is_nil() => None,
            other => return Err(Fault::failed(format!("can't look for {name} in type {}", other.type_name()))),
        };
        let Some(next) = next else { return Ok(instead.clone()) };
        value = next;
    }
    Ok(value)
}
