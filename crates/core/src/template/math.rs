//! Arithmetic: of whole numbers within 64 bits exactly, of others as floats.

use super::eval::Tools;
use super::meter::Fault;
use super::number::Number;
use super::value::Value;

type Answer<'a> = Result<Value<'a>, Fault>;

const OVERFLOW: &str = "the result is beyond 64 bits";
const BY_ZERO: &str = "divided by zero";

fn number<'a>(value: &Value<'a>) -> Result<Number<'a>, Fault> {
    match value {
        Value::Number(number) => Ok(*number),
        other => Err(Fault::failed(format!("wrong type for value; expected a number; got {}", other.type_name()))),
    }
}

/// One operation on two numbers.
fn two<'a>(a: &Value<'a>, b: &Value<'a>, ints: fn(i64, i64) -> Option<i64>, floats: fn(f64, f64) -> f64) -> Answer<'a> {
    let (a, b) = (number(a)?, number(b)?);
    if let (Some(a), Some(b)) = (a.as_int(), b.as_int()) {
        return ints(a, b).map(Value::int).ok_or_else(|| Fault::failed(OVERFLOW));
    }
    if a.whole_digits().is_some() && b.whole_digits().is_some() {
        return Err(Fault::failed("a whole number beyond 64 bits can be printed and compared, but not reckoned with"));
    }
    let result = floats(a.as_float(), b.as_float());
    if result.is_finite() { Ok(Value::Number(Number::Float(result))) } else { Err(Fault::failed(OVERFLOW)) }
}

/// One operation over all arguments.
fn all<'a>(tools: &mut Tools<'_>, args: &[Value<'a>], ints: fn(i64, i64) -> Option<i64>, floats: fn(f64, f64) -> f64) -> Answer<'a> {
    tools.meter.step(args.len())?;
    number(&args[0])?;
    args[1..].iter().try_fold(args[0].clone(), |sum, next| two(&sum, next, ints, floats))
}

pub(super) fn add<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    all(tools, args, i64::checked_add, |a, b| a + b)
}

pub(super) fn sub<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    two(&args[0], &args[1], i64::checked_sub, |a, b| a - b)
}

pub(super) fn mul<'a>(tools: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    all(tools, args, i64::checked_mul, |a, b| a * b)
}

fn divisor(value: &Value<'_>) -> Result<(), Fault> {
    if number(value)?.is_zero() { Err(Fault::failed(BY_ZERO)) } else { Ok(()) }
}

pub(super) fn div<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    divisor(&args[1])?;
    two(&args[0], &args[1], i64::checked_div, |a, b| a / b)
}

/// The remainder has the sign of the dividend.
pub(super) fn modulo<'a>(_: &mut Tools<'_>, args: &[Value<'a>]) -> Answer<'a> {
    divisor(&args[1])?;
    two(&args[0], &args[1], i64::checked_rem, |a, b| a % b)
}
