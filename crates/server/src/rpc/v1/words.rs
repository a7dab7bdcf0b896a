//! Numbers and spans of time as sentences have them.

use postrider_core::time::Timestamp;
use std::time::Duration;

/// Units of time, in seconds.
const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];

/// A span of time in two units at the most, cut and not rounded: `350 ms`, `1.5 s`, `2 min 4 s`, `3 d 2 h`.
pub(super) fn span(span: Duration) -> String {
    let mut rest = span.as_secs();
    if rest == 0 {
        return format!("{} ms", span.as_millis());
    }
    let tenths = span.subsec_millis() / 100;
    if rest < 10 && tenths > 0 {
        return format!("{rest}.{tenths} s");
    }
    let mut parts = Vec::new();
    for (length, unit) in UNITS {
        let count = rest / length;
        rest %= length;
        match (count, parts.len()) {
            (0, 0) => {}
            (0, _) => break,
            _ => parts.push(format!("{count} {unit}")),
        }
        if parts.len() == 2 {
            break;
        }
    }
    parts.join(" ")
}

/// How long ago that was: `3 min ago`, or `now` within a second.
pub(super) fn ago(now: Timestamp, at: Timestamp) -> String {
    let past = now.since(at);
    if past < Duration::from_secs(1) { String::from("now") } else { format!("{} ago", span(past)) }
}

/// `first`, `second` and so on.
pub(super) fn ordinal(number: u32) -> String {
    const WORDS: [&str; 10] = ["first", "second", "third", "fourth", "fifth", "sixth", "seventh", "eighth", "ninth", "tenth"];
    let word = number.checked_sub(1).and_then(|place| WORDS.get(usize::try_from(place).ok()?));
    if let Some(word) = word {
        return (*word).to_owned();
    }
    let ending = match (number % 100, number % 10) {
        (11..=13, _) => "th",
        (_, 1) => "st",
        (_, 2) => "nd",
        (_, 3) => "rd",
        _ => "th",
    };
    format!("{number}{ending}")
}

/// A share of 0 to 1 in percent, cut so that 100 is all of them.
pub(super) fn percent(share: f64) -> String {
    // What is a whole number is rarely one in binary.
    format!("{} %", (share * 100.0 + 1e-9).floor())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_have_two_units_at_the_most() {
        for (millis, text) in [
            (0, "0 ms"),
            (350, "350 ms"),
            (1_000, "1 s"),
            (1_550, "1.5 s"),
            (9_990, "9.9 s"),
            (12_900, "12 s"),
            (60_000, "1 min"),
            (124_000, "2 min 4 s"),
            (3_600_000, "1 h"),
            (3_630_000, "1 h"),
            (3_720_000, "1 h 2 min"),
            (90_061_000, "1 d 1 h"),
        ] {
            assert_eq!(span(Duration::from_millis(millis)), text);
        }
    }

    #[test]
    fn the_past_and_places_in_a_row_are_named() {
        let at = Timestamp::from_secs(1_000);
        assert_eq!([1_000, 999, 1_190].map(|now| ago(Timestamp::from_secs(now), at)), ["now", "now", "3 min 10 s ago"]);
        assert_eq!([1, 2, 10, 11, 12, 21, 22, 23, 111, 0].map(ordinal).join(" "), "first second tenth 11th 12th 21st 22nd 23rd 111th 0th");
        assert_eq!([0.0, 0.999, 1.0, 0.29].map(percent).join(" "), "0 % 99 % 100 % 29 %");
    }
}
