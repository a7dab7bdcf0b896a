//! Instants: integer microseconds since the Unix epoch, UTC, shown as RFC 3339 with `Z`.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::time::Duration;

/// An instant in microseconds since 1970-01-01T00:00:00Z.
///
/// Integers compare correctly in every store, which text does not (design, section 10).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest instant, before everything that can be stored.
    pub const MIN: Timestamp = Timestamp(i64::MIN);
    /// The latest instant; as a bound it means "whenever".
    pub const MAX: Timestamp = Timestamp(i64::MAX);

    /// From microseconds since the epoch.
    pub const fn from_micros(micros: i64) -> Self {
        Timestamp(micros)
    }

    /// From whole seconds since the epoch.
    pub const fn from_secs(secs: i64) -> Self {
        Timestamp(secs.saturating_mul(1_000_000))
    }

    /// Microseconds since the epoch.
    pub const fn as_micros(self) -> i64 {
        self.0
    }

    /// Whole milliseconds since the epoch, rounded towards the past.
    pub const fn as_millis(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Whole seconds since the epoch, rounded towards the past.
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000_000)
    }

    /// This instant moved into the future, staying at the latest one instead of overflowing.
    pub fn after(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_add(micros(by)))
    }

    /// This instant moved into the past, staying at the earliest one instead of overflowing.
    pub fn before(self, by: Duration) -> Self {
        Timestamp(self.0.saturating_sub(micros(by)))
    }

    /// How long after `earlier` this is; zero if it is not after it.
    pub fn since(self, earlier: Timestamp) -> Duration {
        Duration::from_micros(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }

    /// RFC 3339 in UTC with `digits` fraction digits (0 to 6), cut and not rounded: `2025-05-12T12:00:00Z`.
    pub fn rfc3339(self, digits: u8) -> String {
        let clamped = self.0.clamp(FIRST_PRINTABLE, LAST_PRINTABLE);
        match jiff::Timestamp::from_microsecond(clamped) {
            Ok(t) => format!("{t:.*}", usize::from(digits.min(6))),
            Err(_) => String::from("9999-12-31T23:59:59Z"),
        }
    }

    /// Reads RFC 3339 with any offset.
    pub fn parse_rfc3339(text: &str) -> Option<Self> {
        text.parse::<jiff::Timestamp>().ok().map(|t| Timestamp(t.as_microsecond()))
    }
}

/// 0001-01-01T00:00:00Z and 9999-12-30T22:00:00Z: what RFC 3339's four digit years (and jiff) can show.
const FIRST_PRINTABLE: i64 = -62_135_596_800_000_000;
const LAST_PRINTABLE: i64 = 253_402_207_200_000_000;

fn micros(d: Duration) -> i64 {
    i64::try_from(d.as_micros()).unwrap_or(i64::MAX)
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.rfc3339(6))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prints_with_the_asked_precision_and_never_rounds_up() {
        let t = Timestamp::from_micros(1_747_051_200_999_999);
        assert_eq!(t.rfc3339(0), "2025-05-12T12:00:00Z");
        assert_eq!(t.rfc3339(3), "2025-05-12T12:00:00.999Z");
        assert_eq!(Timestamp::from_secs(0).rfc3339(0), "1970-01-01T00:00:00Z");
    }

    #[test]
    fn the_extremes_print_instead_of_panicking() {
        assert!(Timestamp::MAX.rfc3339(0).starts_with("9999-12-30"));
        assert!(Timestamp::MIN.rfc3339(0).starts_with("0001-01-01"));
        assert_eq!(Timestamp::MAX.after(Duration::from_secs(1)), Timestamp::MAX);
    }

    #[test]
    fn reads_any_offset() {
        assert_eq!(Timestamp::parse_rfc3339("2025-05-12T14:00:00+02:00"), Timestamp::parse_rfc3339("2025-05-12T12:00:00Z"));
        assert_eq!(Timestamp::parse_rfc3339("2025-05-12T12:00"), None);
    }

    #[test]
    fn since_is_zero_backwards() {
        assert_eq!(Timestamp::from_secs(1).since(Timestamp::from_secs(2)), Duration::ZERO);
        assert_eq!(Timestamp::from_secs(3).since(Timestamp::from_secs(1)), Duration::from_secs(2));
    }
}
