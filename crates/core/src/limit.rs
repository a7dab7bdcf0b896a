//! Rate limits: whether a delivery may leave now, and if not, when.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// The longest interval between two tokens: a slower limit would hardly ever let anything pass and is most likely a mistake.
pub const MAX_INTERVAL: Duration = Duration::from_secs(24 * 3600);

/// At most `burst` at once, and one more every `interval`.
#[derive(Copy, Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RateLimit {
    /// The time between two tokens.
    pub interval: Duration,
    /// How many may leave at once after a pause; 0 counts as 1.
    pub burst: u32,
}

impl RateLimit {
    /// So many a second. `None` if the rate is not a number above zero, means more than [`MAX_INTERVAL`] between two, or the burst is 0.
    pub fn per_second(rate: f64, burst: u32) -> Option<Self> {
        if !rate.is_finite() || rate <= 0.0 || burst == 0 {
            return None;
        }
        // Rounded up, so that the limit is never faster than what was asked for.
        let nanos = (1e9 / rate).ceil();
        if nanos > MAX_INTERVAL.as_secs_f64() * 1e9 {
            return None;
        }
        Some(RateLimit { interval: Duration::from_nanos(nanos as u64), burst })
    }

    /// The rate per second, in as few digits as lead to this limit again: what [`RateLimit::per_second`] was given, mostly.
    pub fn rate_per_second(&self) -> f64 {
        let exact = 1e9 / self.interval.as_nanos() as f64;
        let rounded = |digits: i32| (exact * 10f64.powi(digits)).round() / 10f64.powi(digits);
        let is_same = |rate: &f64| RateLimit::per_second(*rate, 1).is_some_and(|limit| limit.interval == self.interval);
        (0..=12).map(rounded).find(is_same).unwrap_or(exact)
    }

    /// A limit that keeps both: no faster than the slower of them, and no larger a burst than the smaller.
    pub fn strictest(self, other: RateLimit) -> RateLimit {
        RateLimit { interval: self.interval.max(other.interval), burst: self.burst.min(other.burst) }
    }
}

/// The state of one limiter: the generic cell rate algorithm, which is a token bucket in one number.
#[derive(Clone, Debug, Default)]
pub struct Gcra {
    /// The instant at which the bucket is full again, in nanoseconds since the epoch; `None` before the first use.
    full_at: Option<i128>,
}

impl Gcra {
    /// Takes a token. `Err` says from when on there is one (if nobody else takes it first); a refusal takes nothing.
    ///
    /// The limit may differ from call to call. A bucket that the new limit, or a clock that was set back, would leave empty
    /// for longer than filling it takes counts as empty from `now` on: no stale state blocks an endpoint for ever.
    pub fn take(&mut self, limit: RateLimit, now: Timestamp) -> Result<(), Timestamp> {
        let (now, (interval, capacity)) = (nanos(now), spans(limit));
        let full_at = self.full_at.map_or(now, |at| at.clamp(now, now.saturating_add(capacity)));
        let allowed_at = full_at.saturating_sub(capacity).saturating_add(interval);
        if allowed_at <= now {
            self.full_at = Some(full_at.saturating_add(interval));
            Ok(())
        } else {
            self.full_at = Some(full_at);
            Err(ceil_micros(allowed_at))
        }
    }
}

/// What somebody else needs to know of a limiter to go on with it.
impl Gcra {
    /// A bucket without a token at `now`: the next one comes after one interval.
    pub fn empty(limit: RateLimit, now: Timestamp) -> Self {
        let (at, (_, capacity)) = (nanos(now), spans(limit));
        Gcra { full_at: Some(at.saturating_add(capacity)) }
    }

    /// A bucket that is full again so long after `now`.
    pub fn full_after(now: Timestamp, span: Duration) -> Self {
        Gcra { full_at: Some(nanos(now).saturating_add(i128::try_from(span.as_nanos()).unwrap_or(i128::MAX / 4))) }
    }

    /// How long it takes until it is full again, if nobody takes a token; `None` if it is.
    pub fn full_in(&self, now: Timestamp) -> Option<Duration> {
        let left = self.full_at?.saturating_sub(nanos(now));
        (left > 0).then(|| Duration::from_nanos(u64::try_from(left).unwrap_or(u64::MAX)))
    }
}

/// What is left of a limit.
#[derive(Copy, Clone, Debug, PartialEq, Eq)]
pub struct Budget {
    /// Tokens that could be taken at once.
    pub left: u32,
    /// When all of them are back if none is taken.
    pub full_at: Timestamp,
}

impl Gcra {
    /// What is left at `now`.
    pub fn budget(&self, limit: RateLimit, now: Timestamp) -> Budget {
        let (at, (interval, capacity)) = (nanos(now), spans(RateLimit { interval: limit.interval.max(Duration::from_nanos(1)), ..limit }));
        let full_at = self.full_at.map_or(at, |full| full.clamp(at, at.saturating_add(capacity)));
        let left = at.saturating_add(capacity).saturating_sub(full_at) / interval;
        Budget { left: u32::try_from(left).unwrap_or(u32::MAX), full_at: ceil_micros(full_at) }
    }
}

fn nanos(at: Timestamp) -> i128 {
    i128::from(at.as_micros()) * 1_000
}

/// The time between two tokens, and that in which an empty bucket fills.
fn spans(limit: RateLimit) -> (i128, i128) {
    let interval = i128::try_from(limit.interval.as_nanos()).unwrap_or(i128::MAX / 4);
    (interval, interval.saturating_mul(i128::from(limit.burst.max(1))))
}

fn ceil_micros(nanos: i128) -> Timestamp {
    let micros = nanos.div_euclid(1_000) + i128::from(nanos.rem_euclid(1_000) != 0);
    Timestamp::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
}
