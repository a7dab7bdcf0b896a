//! When a scheduled webhook comes again.

use crate::time::Timestamp;
use jiff::civil::Date;
use jiff::tz::Offset;
use serde::{Deserialize, Serialize};

#[cfg(test)]
mod tests;

const DAY_MICROS: i64 = 24 * 3600 * 1_000_000;

/// How often a scheduled webhook comes again. Days, weeks and months are those of UTC.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Recurrence {
    /// Never.
    #[default]
    None,
    /// Every 24 hours.
    Daily,
    /// Every 7 days.
    Weekly,
    /// On the anchor's day of the month, or the last day of a month that has no such day.
    Monthly,
}

impl Recurrence {
    /// Every recurrence.
    pub const ALL: [Recurrence; 4] = [Recurrence::None, Recurrence::Daily, Recurrence::Weekly, Recurrence::Monthly];

    /// Its name: `none`, `daily`, `weekly`, `monthly`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Recurrence::None => "none",
            Recurrence::Daily => "daily",
            Recurrence::Weekly => "weekly",
            Recurrence::Monthly => "monthly",
        }
    }

    /// Reads a name, in lower case only.
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|r| r.as_str() == text)
    }

    /// The first occurrence strictly after `after` of the series that begins at `anchor`, found without walking there.
    ///
    /// `None` if nothing recurs or the occurrence would lie beyond the year 9999.
    pub fn next_after(self, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
        if self == Recurrence::None {
            return None;
        }
        if after < anchor {
            return Some(anchor);
        }
        match self {
            Recurrence::None => None,
            Recurrence::Daily => periodic(DAY_MICROS, anchor, after),
            Recurrence::Weekly => periodic(7 * DAY_MICROS, anchor, after),
            Recurrence::Monthly => monthly(anchor, after),
        }
    }
}

fn periodic(period: i64, anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let passed = (i128::from(after.as_micros()) - i128::from(anchor.as_micros())) / i128::from(period);
    let next = i128::from(anchor.as_micros()) + (passed + 1) * i128::from(period);
    let next = i64::try_from(next).ok()?;
    civil(Timestamp::from_micros(next)).map(|_| Timestamp::from_micros(next))
}

fn monthly(anchor: Timestamp, after: Timestamp) -> Option<Timestamp> {
    let (first, last) = (civil(anchor)?, civil(after)?);
    let time_of_day = anchor.as_micros().rem_euclid(DAY_MICROS);
    // Months before `after`'s own hold nothing after it, and the one following it holds something for sure.
    [0, 1].into_iter().filter_map(|more| occurrence(first, month_number(last) + more, time_of_day)).find(|at| *at > after)
}

/// The occurrence of the series in a month.
fn occurrence(first: Date, month: i32, time_of_day: i64) -> Option<Timestamp> {
    let year = i16::try_from(month.div_euclid(12)).ok()?;
    let start = Date::new(year, i8::try_from(month.rem_euclid(12) + 1).ok()?, 1).ok()?;
    let date = start.with().day(first.day().min(start.days_in_month())).build().ok()?;
    let midnight = Offset::UTC.to_timestamp(date.at(0, 0, 0, 0)).ok()?;
    Some(Timestamp::from_micros(midnight.as_microsecond().checked_add(time_of_day)?))
}

fn month_number(date: Date) -> i32 {
    i32::from(date.year()) * 12 + i32::from(date.month()) - 1
}

fn civil(at: Timestamp) -> Option<Date> {
    let at = jiff::Timestamp::from_microsecond(at.as_micros()).ok()?;
    Some(Offset::UTC.to_datetime(at).date())
}
