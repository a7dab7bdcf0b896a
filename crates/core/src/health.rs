//! How well an endpoint takes what it is sent: counts that are kept while deliveries happen, and what they say.
//!
//! A [`HealthTally`] is fed with the result of each attempt and never looks back at the attempts themselves. The last 24 hours are counted by the
//! hour, so that the oldest of them can be dropped. Deliveries are counted once each, by the latest of their attempts: a receiver that takes
//! everything at the second try is healthy.

use crate::attempt::Outcome;
use crate::error::ErrorCode;
use crate::time::Timestamp;

#[cfg(test)]
mod tests;
pub(crate) mod wire;

/// How many hours count: the current one of the UTC clock and the 23 before it (contract of the RPC API, section 11: 24 hours).
pub const WINDOW_HOURS: i64 = 24;

/// So many failures in a row make an endpoint degraded, whatever its rate (contract, section 11).
pub const DEGRADED_IN_A_ROW: u32 = 3;

/// So many failures in a row make an endpoint unhealthy, whatever its rate (contract, section 11).
pub const UNHEALTHY_IN_A_ROW: u32 = 10;

const SECS_PER_HOUR: i64 = 3_600;

/// What the results of the last 24 hours say of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Health {
    /// There were none.
    Unknown = 0,
    /// More than 90 % succeeded, and fewer than 3 failed in a row.
    Healthy = 1,
    /// Neither healthy nor unhealthy: 50 to 90 % succeeded, or 3 to 9 failed in a row.
    Degraded = 2,
    /// Less than 50 % succeeded, or 10 failed in a row.
    Unhealthy = 3,
}

impl Health {
    /// All of them, by their numbers.
    pub const ALL: [Health; 4] = [Health::Unknown, Health::Healthy, Health::Degraded, Health::Unhealthy];

    /// The rule (contract of the RPC API, section 11, as documented): of the deliveries in the window, and of how many attempts failed in a
    /// row at last.
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

    /// The health with this number; `None` for any other number.
    pub fn from_number(number: u8) -> Option<Self> {
        Health::ALL.get(usize::from(number)).copied()
    }
}

/// How many deliveries succeeded, and how many did not, or not yet.
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
}

/// What kind of failure an attempt at a receiver ended in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FailureKind {
    /// It answered 4xx.
    Client = 0,
    /// It answered 5xx.
    Server = 1,
    /// It did not answer in time.
    Timeout = 2,
    /// It could not be reached: name, connection, TLS.
    Network = 3,
    /// It answered a status that is neither a success nor an error.
    UnexpectedStatus = 4,
    /// Something else: what answers is no HTTP server, or its address may not be dialled.
    Other = 5,
}

impl FailureKind {
    /// All of them, by their numbers.
    pub const ALL: [FailureKind; 6] = [
        FailureKind::Client,
        FailureKind::Server,
        FailureKind::Timeout,
        FailureKind::Network,
        FailureKind::UnexpectedStatus,
        FailureKind::Other,
    ];

    /// What an attempt that ended with this code says of its receiver. `None` where it says nothing: nothing was sent, or the process ended
    /// meanwhile.
    pub const fn of(code: ErrorCode) -> Option<Self> {
        Some(match code {
            ErrorCode::Connector4xx | ErrorCode::RateLimited | ErrorCode::AuthFailed | ErrorCode::EndpointGone => FailureKind::Client,
            ErrorCode::Connector5xx => FailureKind::Server,
            ErrorCode::DeliveryTimeout => FailureKind::Timeout,
            ErrorCode::DnsError | ErrorCode::ConnectionRefused | ErrorCode::ConnectionError | ErrorCode::TlsError => FailureKind::Network,
            ErrorCode::RedirectBlocked | ErrorCode::UnexpectedStatus => FailureKind::UnexpectedStatus,
            ErrorCode::SsrfBlocked | ErrorCode::ProtocolError => FailureKind::Other,
            ErrorCode::Interrupted
            | ErrorCode::Expired
            | ErrorCode::SubscriptionDeleted
            | ErrorCode::EndpointDeleted
            | ErrorCode::DestinationDisabled
            | ErrorCode::SecretUnreadable
            | ErrorCode::PayloadTooLarge
            | ErrorCode::SerializationFailed
            | ErrorCode::TemplateError
            | ErrorCode::ConsecutiveFailures
            | ErrorCode::CancelledByHand => return None,
        })
    }
}

/// An attempt of the same delivery before the one that is observed, by which the delivery was counted until then.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Earlier {
    /// When it ended.
    pub at: Timestamp,
    /// Whether it succeeded.
    pub succeeded: bool,
}

impl Earlier {
    /// Of an attempt that ended then, with this error or without one; `None` where it said nothing of the receiver.
    pub fn of(at: Timestamp, error: Option<ErrorCode>) -> Option<Self> {
        let says_something = error.is_none_or(|code| FailureKind::of(code).is_some());
        says_something.then_some(Earlier { at, succeeded: error.is_none() })
    }
}

/// The result of one attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Observation {
    /// When the attempt ended.
    pub at: Timestamp,
    /// How it failed; `None` for a success.
    pub failure: Option<FailureKind>,
    /// How long the exchange took ([`Phases::exchange`](crate::attempt::Phases::exchange), so without connecting), in microseconds, where the
    /// receiver answered; `None` where it did not.
    pub response_us: Option<u32>,
    /// The attempt by which its delivery was counted so far; `None` for the first.
    pub earlier: Option<Earlier>,
}

impl Observation {
    /// What the outcome of a delivery's first attempt says of its endpoint; `None` if that is nothing.
    pub fn of(outcome: &Outcome) -> Option<Self> {
        let failure = match &outcome.error {
            None => None,
            Some(error) => Some(FailureKind::of(error.code)?),
        };
        let response_us = outcome.http_status.map(|_| outcome.phases.exchange());
        Some(Observation { at: outcome.finished_at, failure, response_us, earlier: None })
    }
}

// The numbers of an hour: deliveries that succeeded and that failed, attempts that were answered, how long these took in microseconds, and
// attempts by the kind of their failure.
const SUCCEEDED: usize = 0;
const FAILED: usize = 1;
const ANSWERED: usize = 2;
const RESPONSE_US: usize = 3;
const KINDS: usize = 4;
const NUMBERS: usize = KINDS + FailureKind::ALL.len();

/// What is counted over some time. Sums that no 64 bits hold stay at their greatest.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Results {
    numbers: [u64; NUMBERS],
}

impl Results {
    /// Deliveries, each by the latest of its attempts.
    pub fn deliveries(&self) -> Counts {
        Counts { succeeded: self.numbers[SUCCEEDED], failed: self.numbers[FAILED] }
    }

    /// Attempts that failed like that.
    pub fn failures(&self, kind: FailureKind) -> u64 {
        self.numbers[KINDS + kind as usize]
    }

    /// The mean time of all exchanges that were answered, in microseconds; `None` if none was.
    pub fn mean_response_us(&self) -> Option<u64> {
        self.numbers[RESPONSE_US].checked_div(self.numbers[ANSWERED])
    }

    fn add(&mut self, number: usize, by: u64) {
        self.numbers[number] = self.numbers[number].saturating_add(by);
    }
}

fn delivered(succeeded: bool) -> usize {
    if succeeded { SUCCEEDED } else { FAILED }
}

/// What is known of an endpoint's results: those of the last 24 hours by the hour, and how the latest of them followed each other. Some hundred
/// bytes at the most.
///
/// Results may come in any order; only [`HealthTally::failures_in_a_row`] depends on it. The window ends with the hour of the latest result, and
/// with that of the last [`HealthTally::age`] if that is later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HealthTally {
    first_at: Option<Timestamp>,
    last_success_at: Option<Timestamp>,
    last_failure_at: Option<Timestamp>,
    failures_in_a_row: u32,
    /// Hours since the epoch that had results, ascending; none is [`WINDOW_HOURS`] or more before the last one.
    hours: Vec<(i64, Results)>,
}

/// The hour of the UTC clock, counted from the epoch.
fn hour_of(at: Timestamp) -> i64 {
    at.as_secs().div_euclid(SECS_PER_HOUR)
}

/// The first hour of a window that ends with this one.
fn oldest_of(newest: i64) -> i64 {
    newest.saturating_sub(WINDOW_HOURS - 1)
}

impl HealthTally {
    /// Counts one result, which is taken for the latest.
    pub fn observe(&mut self, observation: &Observation) {
        let Observation { at, failure, response_us, earlier } = *observation;
        if let Some(earlier) = earlier {
            self.take_back(earlier);
        }
        self.first_at = Some(self.first_at.map_or(at, |first| first.min(at)));
        if failure.is_none() {
            self.failures_in_a_row = 0;
            self.last_success_at = self.last_success_at.max(Some(at));
        } else {
            self.failures_in_a_row = self.failures_in_a_row.saturating_add(1);
            self.last_failure_at = self.last_failure_at.max(Some(at));
        }
        let Some(hour) = self.hour(hour_of(at)) else { return };
        hour.add(delivered(failure.is_none()), 1);
        if let Some(kind) = failure {
            hour.add(KINDS + kind as usize, 1);
        }
        if let Some(response_us) = response_us {
            hour.add(ANSWERED, 1);
            hour.add(RESPONSE_US, u64::from(response_us));
        }
    }

    /// A delivery is not counted by that attempt any more, if it was: one from before the first that was counted has no part in the numbers.
    fn take_back(&mut self, earlier: Earlier) {
        if self.first_at.is_none_or(|first| earlier.at < first) {
            return;
        }
        let place = self.hours.binary_search_by_key(&hour_of(earlier.at), |(hour, _)| *hour);
        if let Some((_, results)) = place.ok().and_then(|place| self.hours.get_mut(place)) {
            let count = &mut results.numbers[delivered(earlier.succeeded)];
            *count = count.saturating_sub(1);
        }
    }

    /// The numbers of an hour, unless it is too old to count; drops those that are too old beside it.
    fn hour(&mut self, hour: i64) -> Option<&mut Results> {
        let newest = self.hours.last().map_or(hour, |(newest, _)| hour.max(*newest));
        self.drop_before(oldest_of(newest));
        if hour < oldest_of(newest) {
            return None;
        }
        let place = match self.hours.binary_search_by_key(&hour, |(hour, _)| *hour) {
            Ok(place) => place,
            Err(place) => {
                self.hours.insert(place, (hour, Results::default()));
                place
            }
        };
        self.hours.get_mut(place).map(|(_, results)| results)
    }

    /// Drops the hours that have left the window by now.
    pub fn age(&mut self, now: Timestamp) {
        self.drop_before(oldest_of(hour_of(now)));
    }

    fn drop_before(&mut self, oldest: i64) {
        self.hours.retain(|(hour, _)| *hour >= oldest);
    }

    /// When the first of the hours leaves the window; `None` if there is none.
    pub fn ages_at(&self) -> Option<Timestamp> {
        self.hours.first().map(|(oldest, _)| Timestamp::from_secs(oldest.saturating_add(WINDOW_HOURS).saturating_mul(SECS_PER_HOUR)))
    }

    /// The results in the window.
    pub fn window(&self) -> Results {
        let mut sum = Results::default();
        for (_, results) in &self.hours {
            results.numbers.iter().enumerate().for_each(|(number, by)| sum.add(number, *by));
        }
        sum
    }

    /// The deliveries of each hour of the window that ends with the current one, the oldest first.
    pub fn hours(&self, now: Timestamp) -> [Counts; WINDOW_HOURS as usize] {
        let oldest = oldest_of(hour_of(now));
        let mut counts = [Counts::default(); WINDOW_HOURS as usize];
        for (hour, results) in &self.hours {
            let place = usize::try_from(hour.saturating_sub(oldest)).ok();
            if let Some(of_hour) = place.and_then(|place| counts.get_mut(place)) {
                *of_hour = results.deliveries();
            }
        }
        counts
    }

    /// What they say.
    pub fn health(&self) -> Health {
        Health::of(self.window().deliveries(), self.failures_in_a_row)
    }

    /// How many attempts failed since the last one that succeeded.
    pub fn failures_in_a_row(&self) -> u32 {
        self.failures_in_a_row
    }

    /// When the first attempt ended; `None` if there was none ever.
    pub fn first_at(&self) -> Option<Timestamp> {
        self.first_at
    }

    /// When the latest success was.
    pub fn last_success_at(&self) -> Option<Timestamp> {
        self.last_success_at
    }

    /// When the latest failure was.
    pub fn last_failure_at(&self) -> Option<Timestamp> {
        self.last_failure_at
    }

    /// When the latest attempt ended.
    pub fn last_at(&self) -> Option<Timestamp> {
        self.last_success_at.max(self.last_failure_at)
    }
}
