//! What happened over time, in numbers: what charts are drawn from.
//!
//! [`Numbers`] are small, and add up in any order: what several engines saw, and what several steps of time have. They are kept by [`Step`]s of
//! three lengths, the longer ones for longer, so that a chart of any range is made of some hundred of them and nothing is counted for it.
//!
//! Each event, delivery and end counts in the step in which it was stored.

use crate::health::wire::{put, take};
use crate::time::Timestamp;
use std::time::Duration;

#[cfg(test)]
mod tests;

/// What comes first in numbers that were made into bytes.
const VERSION: u8 = 1;

/// A power of two is divided into so many classes, as a power of two.
const CLASS_BITS: u32 = 3;

/// How many classes there are.
const CLASSES: u16 = ((u64::BITS - CLASS_BITS + 1) as u16) << CLASS_BITS;

/// How long things took: how many took about so long.
///
/// Times are put into classes, of which the longest times are at most an eighth longer than the shortest. Some dozen of them are in use at the
/// most where times are alike: a histogram has a few hundred bytes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Histogram {
    /// Classes in which there is something, ascending, with how many.
    counts: Vec<(u16, u64)>,
}

/// The class of a time. Those below 16 have one of their own; of each longer octave there are eight.
fn class_of(micros: u64) -> u16 {
    let shift = (u64::BITS - micros.leading_zeros()).saturating_sub(CLASS_BITS + 1);
    let class = (u64::from(shift) << CLASS_BITS) + (micros >> shift);
    u16::try_from(class).unwrap_or(CLASSES - 1)
}

/// What stands for all times of a class: no more than a sixteenth away from any of them.
fn middle_of(class: u16) -> Duration {
    let class = u64::from(class);
    let Some(shift) = (class >> CLASS_BITS).checked_sub(1) else { return Duration::from_micros(class) };
    let least = ((class & ((1 << CLASS_BITS) - 1)) + (1 << CLASS_BITS)) << shift;
    Duration::from_micros(least + ((1_u64 << shift) >> 1))
}

impl Histogram {
    /// Counts one that took so many microseconds.
    pub fn record(&mut self, micros: u64) {
        self.count(class_of(micros), 1);
    }

    /// Counts all of another one too. Numbers that no 64 bits hold stay at their greatest.
    pub fn add(&mut self, other: &Histogram) {
        if self.counts.is_empty() {
            self.counts.clone_from(&other.counts);
            return;
        }
        for (class, n) in &other.counts {
            self.count(*class, *n);
        }
    }

    fn count(&mut self, class: u16, by: u64) {
        match self.counts.binary_search_by_key(&class, |(class, _)| *class) {
            Ok(place) => {
                if let Some((_, n)) = self.counts.get_mut(place) {
                    *n = n.saturating_add(by);
                }
            }
            Err(place) => self.counts.insert(place, (class, by)),
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.counts.is_empty()
    }

    /// The time within which this share of them came to its end, 0 to 1, to within 10 %; `None` where there is none.
    pub fn percentile(&self, share: f64) -> Option<Duration> {
        let total = self.counts.iter().fold(0_u64, |sum, (_, n)| sum.saturating_add(*n));
        let (wanted, mut seen) = (share * total as f64, 0_u64);
        let reached = self.counts.iter().find(|(_, n)| {
            seen = seen.saturating_add(*n);
            seen as f64 >= wanted
        });
        reached.or(self.counts.last()).map(|(class, _)| middle_of(*class))
    }

    fn encode(&self, bytes: &mut Vec<u8>) {
        put(bytes, self.counts.len() as u64);
        let mut last = 0;
        for (class, n) in &self.counts {
            put(bytes, u64::from(class - last));
            put(bytes, *n);
            last = *class;
        }
    }

    fn decode(bytes: &mut &[u8]) -> Option<Self> {
        let len = usize::try_from(take(bytes)?).ok().filter(|len| *len <= usize::from(CLASSES))?;
        let mut counts: Vec<(u16, u64)> = Vec::with_capacity(len);
        for _ in 0..len {
            let (behind, n) = (u16::try_from(take(bytes)?).ok()?, take(bytes)?);
            let class = counts.last().map_or(0, |(last, _)| *last).checked_add(behind)?;
            if n == 0 || class >= CLASSES || (behind == 0 && !counts.is_empty()) {
                return None;
            }
            counts.push((class, n));
        }
        Some(Histogram { counts })
    }
}

/// What happened in some time. Sums that no 64 bits hold stay at their greatest.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Numbers {
    /// Events that were stored; one whose key was there already is none, and one that the server made of an outcome (`delivery.item.*`) is none.
    pub events: u64,
    /// Deliveries that were made of events. One that somebody makes again is none.
    pub deliveries: u64,
    /// Attempts that ended in success.
    pub attempts_succeeded: u64,
    /// Attempts that ended otherwise.
    pub attempts_failed: u64,
    /// Deliveries that ended without success: failed, expired or cancelled.
    pub given_up: u64,
    /// From making a delivery, which is from accepting its event unless it came with a later slice of a large fan-out, to its success. Those are
    /// left out that somebody made again, or had tried sooner, and those with attempts that cost nothing. What waited for a paused endpoint counts in
    /// full.
    pub delivered_after: Histogram,
    /// What an exchange took that was answered, without connecting ([`Phases::exchange`](crate::attempt::Phases::exchange)).
    pub answered_in: Histogram,
}

impl Numbers {
    /// Adds what happened besides.
    pub fn add(&mut self, other: &Numbers) {
        for (sum, by) in self.counts_mut().into_iter().zip(other.counts()) {
            *sum = sum.saturating_add(by);
        }
        self.delivered_after.add(&other.delivered_after);
        self.answered_in.add(&other.answered_in);
    }

    fn counts(&self) -> [u64; 5] {
        [self.events, self.deliveries, self.attempts_succeeded, self.attempts_failed, self.given_up]
    }

    fn counts_mut(&mut self) -> [&mut u64; 5] {
        let Numbers { events, deliveries, attempts_succeeded, attempts_failed, given_up, .. } = self;
        [events, deliveries, attempts_succeeded, attempts_failed, given_up]
    }

    /// Whether nothing happened.
    pub fn is_empty(&self) -> bool {
        self.counts() == [0; 5] && self.delivered_after.is_empty() && self.answered_in.is_empty()
    }

    /// The numbers as bytes: some dozen where little happened, some hundred where much did.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![VERSION];
        for n in self.counts() {
            put(&mut bytes, n);
        }
        self.delivered_after.encode(&mut bytes);
        self.answered_in.encode(&mut bytes);
        bytes
    }

    /// The numbers that were made into these bytes; `None` if there are none like that.
    pub fn decode(bytes: &[u8]) -> Option<Numbers> {
        let mut bytes = bytes.strip_prefix(&[VERSION])?;
        let bytes = &mut bytes;
        let mut numbers = Numbers::default();
        for n in numbers.counts_mut() {
            *n = take(bytes)?;
        }
        numbers.delivered_after = Histogram::decode(bytes)?;
        numbers.answered_in = Histogram::decode(bytes)?;
        bytes.is_empty().then_some(numbers)
    }
}

/// A length of time for which numbers are kept together. Each one is made of whole ones of the length before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Step {
    /// For charts of up to two hours.
    TenSeconds = 0,
    /// For charts of up to 36 hours.
    TwoMinutes = 1,
    /// For charts of up to 92 days.
    Hour = 2,
}

impl Step {
    /// All of them, by their numbers.
    pub const ALL: [Step; 3] = [Step::TenSeconds, Step::TwoMinutes, Step::Hour];

    /// How long it is.
    pub const fn length(self) -> Duration {
        Duration::from_secs(match self {
            Step::TenSeconds => 10,
            Step::TwoMinutes => 120,
            Step::Hour => 3_600,
        })
    }

    /// How long after its beginning its numbers are kept: for the longest chart that is made of such steps, and one more, for the first one of a
    /// chart may have begun before it.
    pub fn kept(self) -> Duration {
        let chart = Duration::from_secs(match self {
            Step::TenSeconds => 2 * 3_600,
            Step::TwoMinutes => 36 * 3_600,
            Step::Hour => 92 * 24 * 3_600,
        });
        chart + self.length()
    }

    /// When the step began in which this instant lies.
    pub fn begin(self, at: Timestamp) -> Timestamp {
        let length = i64::try_from(self.length().as_micros()).unwrap_or(i64::MAX);
        Timestamp::from_micros(at.as_micros().saturating_sub(at.as_micros().rem_euclid(length)))
    }
}
