//! Times, spans and numbers as people read them.

use crate::config::value::Span;
use postrider_core::time::Timestamp as Moment;
use postrider_proto::{Timestamp, v1};
use std::time::Duration;

/// A time of an answer.
pub fn moment(at: Option<&Timestamp>) -> Option<Moment> {
    at.map(|at| Moment::from_micros(at.seconds.saturating_mul(1_000_000).saturating_add(i64::from(at.nanos / 1_000))))
}

/// A time for a request.
pub fn timestamp(at: Moment) -> Timestamp {
    let micros = at.as_micros();
    Timestamp::from_unix(micros.div_euclid(1_000_000), i32::try_from(micros.rem_euclid(1_000_000)).unwrap_or_default() * 1_000)
}

/// How long before or after `now` a time is.
pub fn ago(at: Moment, now: Moment) -> String {
    if at > now {
        return match at.since(now) {
            soon if soon < Duration::from_secs(1) => String::from("now"),
            later => format!("in {}", coarse(later)),
        };
    }
    match now.since(at) {
        just if just < Duration::from_secs(1) => String::from("now"),
        before => format!("{} ago", coarse(before)),
    }
}

/// A span in its largest whole unit, and below ten of them in the next one too: `59 s`, `3 min`, `2 h 5 min`, `4 d`.
pub fn coarse(span: Duration) -> String {
    const UNITS: [(u64, &str); 4] = [(86_400, "d"), (3_600, "h"), (60, "min"), (1, "s")];
    let seconds = span.as_secs();
    let Some(first) = UNITS.iter().position(|(length, _)| seconds >= *length) else { return String::from("0 s") };
    let (length, unit) = UNITS[first];
    let (whole, rest) = (seconds / length, seconds % length);
    let below = UNITS.get(first + 1).map(|(length, unit)| (rest / length, *unit));
    match below {
        Some((more, smaller)) if whole < 10 && more > 0 && length > 60 => format!("{whole} {unit} {more} {smaller}"),
        _ => format!("{whole} {unit}"),
    }
}

/// A time that something took, from milliseconds: `0.4 ms`, `12 ms`, `1.25 s`, `2 min`.
pub fn took(milliseconds: f64) -> String {
    match milliseconds {
        ms if ms < 10.0 => format!("{ms:.1} ms"),
        ms if ms < 1_000.0 => format!("{ms:.0} ms"),
        ms if ms < 60_000.0 => format!("{:.2} s", ms / 1_000.0),
        ms => coarse(Duration::from_secs_f64((ms / 1_000.0).min(1e12))),
    }
}

/// A number with its thousands set apart: `10,000`.
pub fn grouped(number: i64) -> String {
    let digits = number.unsigned_abs().to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3 + 1);
    if number < 0 {
        text.push('-');
    }
    for (at, digit) in digits.chars().enumerate() {
        if at > 0 && (digits.len() - at).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// So many, with the word for one or for any other number.
pub fn counted(number: i64, one: &str, others: &str) -> String {
    format!("{} {}", grouped(number), if number == 1 { one } else { others })
}

/// A share of 0 to 1 in percent; `-` where there is none. What is not all is not shown as 100 %.
pub fn percent(share: Option<f64>) -> String {
    match share {
        None => String::from("-"),
        Some(share) if share < 1.0 && share > 0.999 => String::from("99.9 %"),
        Some(share) if (share * 1_000.0).round() % 10.0 == 0.0 => format!("{:.0} %", share * 100.0),
        Some(share) => format!("{:.1} %", share * 100.0),
    }
}

/// A rate per second, with as many digits as tell something.
pub fn rate(per_second: f64) -> String {
    match per_second {
        rate if rate >= 100.0 => format!("{rate:.0}/s"),
        rate if rate > 0.0 => format!("{rate:.1}/s"),
        _ => String::from("0/s"),
    }
}

/// A number of bytes.
pub fn bytes(number: i64) -> String {
    const UNITS: [(i64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    match UNITS.iter().find(|(size, _)| number >= *size) {
        Some((size, unit)) => format!("{:.1} {unit}", number as f64 / *size as f64),
        None => format!("{number} B"),
    }
}

/// The percentiles of times, or that there are none.
pub fn percentiles(of: Option<&v1::Percentiles>) -> String {
    match of {
        None => String::from("-"),
        Some(of) => format!("p50 {}, p95 {}, p99 {}", took(of.p50), took(of.p95), took(of.p99)),
    }
}

/// A time as flags have it: RFC 3339, or a span before (with `ahead`: after) now.
pub fn flag_time(text: &str, now: Moment, ahead: bool) -> Result<Moment, String> {
    if let Some(at) = Moment::parse_rfc3339(text) {
        return Ok(at);
    }
    let span = text.parse::<Span>().map(|span| if ahead { now.after(span.0) } else { now.before(span.0) });
    span.map_err(|_| format!("{text:?} is no time: write it like 2027-01-31T12:00:00Z, or as a span such as 90m, 24h or 7d"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_told_from_now() {
        let now = Moment::from_secs(1_000_000);
        let ago = |seconds: i64| ago(Moment::from_secs(1_000_000 - seconds), now);
        let told = [0, 1, 59, 60, 119, 3_600, 3_900, 90_000, 864_000, -1, -120].map(ago);
        let expected = [
            "now",
            "1 s ago",
            "59 s ago",
            "1 min ago",
            "1 min ago",
            "1 h ago",
            "1 h 5 min ago",
            "1 d 1 h ago",
            "10 d ago",
            "in 1 s",
            "in 2 min",
        ];
        assert_eq!(told, expected);
    }

    #[test]
    fn numbers_are_easy_to_read() {
        assert_eq!([0, 999, 1_000, 10_000, 1_234_567, -1_000].map(grouped), ["0", "999", "1,000", "10,000", "1,234,567", "-1,000"]);
        assert_eq!([0.4, 12.3, 999.0, 1_250.0, 125_000.0].map(took), ["0.4 ms", "12 ms", "999 ms", "1.25 s", "2 min"]);
        assert_eq!([Some(1.0), Some(0.5), Some(0.9996), Some(0.123), None].map(percent), ["100 %", "50 %", "99.9 %", "12.3 %", "-"]);
        assert_eq!([0.0, 0.24, 42.0, 1_000.4].map(rate), ["0/s", "0.2/s", "42.0/s", "1000/s"]);
        assert_eq!([0, 1_023, 1_536, 3 << 30].map(bytes), ["0 B", "1023 B", "1.5 KiB", "3.0 GiB"]);
        assert_eq!(
            (counted(1, "event", "events"), counted(2_000, "event", "events")),
            (String::from("1 event"), String::from("2,000 events"))
        );
    }

    #[test]
    fn times_survive_the_way_there_and_back() {
        for micros in [0, 1, -1, 1_747_051_200_000_001] {
            let at = Moment::from_micros(micros);
            assert_eq!(moment(Some(&timestamp(at))), Some(at));
        }
    }

    #[test]
    fn flags_take_times_and_spans() {
        let now = Moment::from_secs(10_000);
        assert_eq!(flag_time("1h", now, false), Ok(Moment::from_secs(6_400)));
        assert_eq!(flag_time("1h", now, true), Ok(Moment::from_secs(13_600)));
        assert_eq!(flag_time("1970-01-01T00:00:01Z", now, false), Ok(Moment::from_secs(1)));
        flag_time("yesterday", now, false).expect_err("no time");
    }
}
