//! How well an endpoint takes what it is sent: counts that are kept while deliveries happen, and what they say.
//!
//! A [`HealthTally`] is fed with the result of each attempt and never looks back at the attempts themselves. The last 24 hours are counted by the
//! hour, so that the oldest of them can be dropped.

use crate::attempt::Outcome;
use crate::error::Category;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

#[cfg(test)]
mod tests;

/// How many hours count: the current one of the UTC clock and the 23 before it (contract of the RPC API, section 11: 24 hours).
pub const WINDOW_HOURS: i64 = 24;

/// So many failures in a row make an endpoint degraded, whatever its rate (contract, section 11).
pub const DEGRADED_IN_A_ROW: u32 = 3;

/// So many failures in a row make an endpoint unhealthy, whatever its rate (contract, section 11).
pub const UNHEALTHY_IN_A_ROW: u32 = 10;

/// What the results of the last 24 hours say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Health {
    /// There were none.
    Unknown,
    /// More than 90 % succeeded, and fewer than 3 failed in a row.
    Healthy,
    /// Neither healthy nor unhealthy: 50 to 90 % succeeded, or 3 to 9 failed in a row.
    Degraded,
    /// Less than 50 % succeeded, or 10 failed in a row.
    Unhealthy,
}

impl Health {
    /// The rule (contract of the RPC API, section 11, as documented): of the results in the window, and of how many failed in a row at last.
    pub fn of(window: Counts, failures_in_a_row: u32) -> Self {
        // Whole numbers, so that exactly 50 % and 90 % are on their sides of the thresholds.
        let (succeeded, all) = (u128::from(window.succeeded), u128::from(window.succeeded) + u128::from(window.failed));
        if all == 0 {
            Health::Unknown
        } else if failures_in_a_row >= UNHEALTHY_IN_A_ROW || succeeded * 2 < all {
            Health::Unhealthy
        } else if failures_in_a_row >= DEGRADED_IN_A_ROW || succeeded * 10 <= all * 9 {
            Health::Degraded
        } else {
            Health::Healthy
        }
    }
}

/// How many results were successes, and how many were not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Successes.
    pub succeeded: u64,
    /// Everything else.
    pub failed: u64,
}

impl Counts {
    /// The part that succeeded, 0 to 1; `None` of nothing.
    pub fn rate(self) -> Option<f64> {
        let all = self.succeeded as f64 + self.failed as f64;
        (all > 0.0).then(|| self.succeeded as f64 / all)
    }

    fn add(&mut self, other: Counts) {
        self.succeeded = self.succeeded.saturating_add(other.succeeded);
        self.failed = self.failed.saturating_add(other.failed);
    }
}

/// One result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it ended.
    pub category: Category,
    /// How long the exchange took, in microseconds, where the receiver answered; `None` where it did not.
    pub response_us: Option<u32>,
}

impl Observation {
    /// What an attempt's outcome says of its endpoint.
    pub fn of(outcome: &Outcome) -> Self {
        let response_us = outcome.http_status.map(|_| outcome.phases.total);
        Observation { at: outcome.finished_at, category: outcome.category(), response_us }
    }

    fn counts(&self) -> Counts {
        let succeeded = u64::from(self.category == Category::Success);
        Counts { succeeded, failed: 1 - succeeded }
    }
}

/// What is known of an endpoint's results: all of them in sum, those of the last 24 hours by the hour. A few hundred bytes at the most.
///
/// Results may come in any order; only [`HealthTally::failures_in_a_row`] depends on it. Sums that no 64 bits hold stay at their greatest.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "wire::Tally", into = "wire::Tally")]
pub struct HealthTally {
    /// All results by category, without those that never were.
    categories: BTreeMap<Category, u64>,
    /// The sum of all response times in microseconds, and of how many.
    response_us: (u64, u64),
    failures_in_a_row: u32,
    last_success_at: Option<Timestamp>,
    last_failure_at: Option<Timestamp>,
    /// Hours since the epoch that had results, ascending; none is [`WINDOW_HOURS`] or more before the last one.
    hours: Vec<(i64, Counts)>,
}

/// The hour of the UTC clock, counted from the epoch.
fn hour_of(at: Timestamp) -> i64 {
    at.as_secs().div_euclid(3_600)
}

impl HealthTally {
    /// Counts one result, which is taken for the latest.
    pub fn observe(&mut self, observation: &Observation) {
        let Observation { at, category, response_us } = *observation;
        let count = self.categories.entry(category).or_default();
        *count = count.saturating_add(1);
        if let Some(response_us) = response_us {
            self.add_response_times(u64::from(response_us), 1);
        }
        if category == Category::Success {
            self.failures_in_a_row = 0;
            self.last_success_at = self.last_success_at.max(Some(at));
        } else {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.last_failure_at = self.last_failure_at.max(Some(at));
        }
        self.add_hour(hour_of(at), observation.counts());
    }

    /// Adds what came after all that this one has seen.
    pub fn merge(&mut self, later: &HealthTally) {
        let row = if later.totals().succeeded > 0 { 0 } else { self.failures_in_a_row };
        self.failures_in_a_row = row.saturating_add(later.failures_in_a_row);
        for (category, count) in &later.categories {
            let sum = self.categories.entry(*category).or_default();
            *sum = sum.saturating_add(*count);
        }
        self.add_response_times(later.response_us.0, later.response_us.1);
        self.last_success_at = self.last_success_at.max(later.last_success_at);
        self.last_failure_at = self.last_failure_at.max(later.last_failure_at);
        for (hour, counts) in &later.hours {
            self.add_hour(*hour, *counts);
        }
    }

    fn add_response_times(&mut self, sum: u64, count: u64) {
        // Both or none, so that the average stays one.
        if let (Some(sum), Some(count)) = (self.response_us.0.checked_add(sum), self.response_us.1.checked_add(count)) {
            self.response_us = (sum, count);
        }
    }

    fn add_hour(&mut self, hour: i64, counts: Counts) {
        let newest = self.hours.last().map_or(hour, |(newest, _)| hour.max(*newest));
        let oldest = newest.saturating_sub(WINDOW_HOURS - 1);
        self.hours.retain(|(hour, _)| *hour >= oldest);
        if hour < oldest {
            return;
        }
        match self.hours.binary_search_by_key(&hour, |(hour, _)| *hour) {
            Ok(place) => self.hours[place].1.add(counts),
            Err(place) => self.hours.insert(place, (hour, counts)),
        }
    }

    /// The results of the current hour and the 23 before it.
    pub fn window(&self, now: Timestamp) -> Counts {
        let newest = hour_of(now);
        let oldest = newest.saturating_sub(WINDOW_HOURS - 1);
        let mut sum = Counts::default();
        for (_, counts) in self.hours.iter().filter(|(hour, _)| (oldest..=newest).contains(hour)) {
            sum.add(*counts);
        }
        sum
    }

    /// What they say.
    pub fn health(&self, now: Timestamp) -> Health {
        Health::of(self.window(now), self.failures_in_a_row)
    }

    /// All results ever.
    pub fn totals(&self) -> Counts {
        let mut sum = Counts::default();
        for (category, count) in &self.categories {
            let is_success = *category == Category::Success;
            sum.add(if is_success { Counts { succeeded: *count, failed: 0 } } else { Counts { succeeded: 0, failed: *count } });
        }
        sum
    }

    /// How many results ever were of that category.
    pub fn count(&self, category: Category) -> u64 {
        self.categories.get(&category).copied().unwrap_or(0)
    }

    /// The mean time of all exchanges that were answered, in microseconds; `None` if none was.
    pub fn mean_response_us(&self) -> Option<u64> {
        self.response_us.0.checked_div(self.response_us.1)
    }

    /// How many failed since the last success.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// When the latest success was.
    pub fn last_success_at(&self) -> Option<Timestamp> {
        self.last_success_at
    }

    /// When the latest failure was.
    pub fn last_failure_at(&self) -> Option<Timestamp> {
        self.last_failure_at
    }
}

/// As it is stored: short names, and nothing of what is zero.
mod wire {
    use super::{BTreeMap, Category, Counts, Deserialize, HealthTally, Serialize, Timestamp};

    #[derive(Default, Serialize, Deserialize)]
    #[serde(default)]
    pub(super) struct Tally {
        /// By the category's stable text.
        #[serde(skip_serializing_if = "BTreeMap::is_empty")]
        by: BTreeMap<String, u64>,
        #[serde(skip_serializing_if = "is_default")]
        us: (u64, u64),
        #[serde(skip_serializing_if = "is_default")]
        row: u32,
        #[serde(skip_serializing_if = "Option::is_none")]
        ok: Option<Timestamp>,
        #[serde(skip_serializing_if = "Option::is_none")]
        bad: Option<Timestamp>,
        /// Hour, successes, failures.
        #[serde(skip_serializing_if = "Vec::is_empty")]
        h: Vec<(i64, u64, u64)>,
    }

    fn is_default<T: Default + PartialEq>(value: &T) -> bool {
        *value == T::default()
    }

    impl From<HealthTally> for Tally {
        fn from(tally: HealthTally) -> Self {
            Tally {
                by: tally.categories.iter().map(|(category, count)| (category.as_str().to_owned(), *count)).collect(),
                us: tally.response_us,
                row: tally.failures_in_a_row,
                ok: tally.last_success_at,
                bad: tally.last_failure_at,
                h: tally.hours.iter().map(|(hour, counts)| (*hour, counts.succeeded, counts.failed)).collect(),
            }
        }
    }

    impl From<Tally> for HealthTally {
        fn from(wire: Tally) -> Self {
            let mut tally = HealthTally {
                response_us: wire.us,
                failures_in_a_row: wire.row,
                last_success_at: wire.ok,
                last_failure_at: wire.bad,
                ..HealthTally::default()
            };
            for (text, count) in wire.by {
                // A category that this release does not know was a failure all the same.
                let sum = tally.categories.entry(Category::parse(&text).unwrap_or(Category::Unknown)).or_default();
                *sum = sum.saturating_add(count);
            }
            for (hour, succeeded, failed) in wire.h {
                tally.add_hour(hour, Counts { succeeded, failed });
            }
            tally
        }
    }
}
