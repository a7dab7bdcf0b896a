//! Numbers.

use std::cmp::Ordering;

/// A number: of the template or a function, or as the payload spells it.
#[derive(Clone, Copy, Debug)]
pub(super) enum Number<'a> {
    Int(i64),
    Float(f64),
    /// A JSON number, untouched as long as it is only printed.
    Spelled(&'a str),
}

impl Number<'_> {
    /// The whole number that it is, if it is one that an i64 holds and is spelled like one.
    pub(super) fn as_int(self) -> Option<i64> {
        match self {
            Number::Int(value) => Some(value),
            Number::Float(_) => None,
            Number::Spelled(text) => text.parse().ok(),
        }
    }

    /// Its value, as near as an f64 comes to it.
    pub(super) fn as_float(self) -> f64 {
        match self {
            Number::Int(value) => value as f64,
            Number::Float(value) => value,
            Number::Spelled(text) => text.parse().unwrap_or(f64::NAN),
        }
    }

    /// The digits of a whole number of any size, without its sign; `None` for other numbers.
    pub(super) fn whole_digits(self) -> Option<(bool, String)> {
        let text = match self {
            Number::Int(value) => value.to_string(),
            Number::Float(_) => return None,
            Number::Spelled(text) => text.to_owned(),
        };
        let (negative, digits) = text.strip_prefix('-').map_or((false, &*text), |rest| (true, rest));
        digits.bytes().all(|b| b.is_ascii_digit()).then(|| (negative, digits.to_owned()))
    }

    pub(super) fn is_zero(self) -> bool {
        self.as_float() == 0.0
    }

    /// Which is larger, exactly where both are whole numbers. `None` where one is no number at all.
    pub(super) fn compare(self, other: Number<'_>) -> Option<Ordering> {
        if let (Some((minus, digits)), Some((other_minus, other_digits))) = (self.whole_digits(), other.whole_digits()) {
            let (digits, other_digits) = (digits.trim_start_matches('0'), other_digits.trim_start_matches('0'));
            let size = digits.len().cmp(&other_digits.len()).then_with(|| digits.cmp(other_digits));
            return Some(match (minus && !digits.is_empty(), other_minus && !other_digits.is_empty()) {
                (false, false) => size,
                (true, true) => size.reverse(),
                (true, false) => Ordering::Less,
                (false, true) => Ordering::Greater,
            });
        }
        self.as_float().partial_cmp(&other.as_float())
    }
}

/// A float as Go's `%v` prints it: the fewest digits that lead back to it, with an exponent below 1e-4 and from 1e6 on.
pub(super) fn float(value: f64) -> String {
    if !value.is_finite() {
        return special(value).to_owned();
    }
    let scientific = format!("{value:e}");
    let exponent = exponent_of(&scientific);
    if value != 0.0 && !(-4..6).contains(&exponent) { go_exponent(&scientific) } else { format!("{value}") }
}

pub(super) fn special(value: f64) -> &'static str {
    if value.is_nan() {
        "NaN"
    } else if value > 0.0 {
        "+Inf"
    } else {
        "-Inf"
    }
}

/// The exponent of what Rust's `{:e}` prints.
pub(super) fn exponent_of(scientific: &str) -> i32 {
    scientific.split_once('e').and_then(|(_, exponent)| exponent.parse().ok()).unwrap_or(0)
}

/// Rust's `1.5e7` as Go's `1.5e+07`.
pub(super) fn go_exponent(scientific: &str) -> String {
    let (mantissa, _) = scientific.split_once('e').unwrap_or((scientific, ""));
    let exponent = exponent_of(scientific);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}e{sign}{:02}", exponent.abs())
}
