//! Delivery policies of the Items API: how hard, how fast and how long, within the limits of its contract (section 11).

use crate::invalid::Invalid;
use crate::limit::{MAX_INTERVAL, RateLimit};
use crate::retry::{RetryPolicy, Schedule};
use std::time::Duration;

/// Most attempts.
pub const MAX_ATTEMPTS: u32 = 20;

/// The longest gap between two attempts: 7 days.
pub const MAX_GAP: Duration = Duration::from_secs(7 * 86_400);

/// The least and the greatest deadline of an exchange.
pub const TIMEOUTS: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(120));

/// The highest rate, per second: beyond that the interval between two requests, in whole nanoseconds, is too coarse for every whole rate to be
/// shown as it was given.
pub const MAX_RATE: f64 = 10_000.0;

/// The largest burst.
pub const MAX_BURST: u32 = 1_000_000;

/// How a binding's events are delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryPolicy {
    /// See [`crate::subscription::Subscription::retry`].
    pub retry: RetryPolicy,
    /// See [`crate::subscription::Subscription::timeout`].
    pub timeout: Option<Duration>,
    /// See [`crate::subscription::Subscription::rate_limit`].
    pub rate_limit: Option<RateLimit>,
}

/// What somebody wants of a policy; what is left out is the default.
#[derive(Clone, Copy, Debug, Default)]
pub struct Wanted<'a> {
    /// `max_attempts`: attempts in all, 1 to [`MAX_ATTEMPTS`]; 7 by default.
    pub max_attempts: Option<u64>,
    /// `backoff_schedule`: the gaps between attempts in milliseconds, 0 to [`MAX_GAP`] each; one at least. The last one repeats, and those
    /// that no attempt can use are cut off. By default 30 s, 2 min, 8 min, 30 min, 2 h and 8 h.
    pub gaps_ms: Option<&'a [u64]>,
    /// `timeout_ms`: see [`TIMEOUTS`]; the destination's 30 s by default.
    pub timeout_ms: Option<u64>,
    /// `rate_limit`: `ratePerSec` (from one a day to [`MAX_RATE`]) and `capacity` (1 to [`MAX_BURST`]); none by default.
    pub rate_limit: Option<(f64, u64)>,
}

impl DeliveryPolicy {
    /// What a binding gets that says nothing.
    pub fn items() -> Self {
        DeliveryPolicy { retry: RetryPolicy::items(), timeout: None, rate_limit: None }
    }

    /// Checks what is wanted; the error holds every limit that it passes, by its path in `delivery_policy`.
    pub fn new(wanted: &Wanted<'_>) -> Result<Self, Vec<Invalid>> {
        let (mut policy, mut faults) = (Self::items(), Vec::new());
        match wanted.max_attempts.map(u32::try_from) {
            None => {}
            Some(Ok(n)) if (1..=MAX_ATTEMPTS).contains(&n) => policy.retry.max_attempts = n,
            Some(_) => faults.push(Invalid::new("max_attempts", "must be 1 to 20")),
        }
        if let Some(gaps) = wanted.gaps_ms {
            // One gap between each two attempts of the longest policy.
            let usable = gaps.iter().take(MAX_ATTEMPTS as usize - 1).copied().map(Duration::from_millis).collect();
            policy.retry.schedule = Schedule::List(usable);
            if gaps.is_empty() {
                faults.push(Invalid::new("backoff_schedule", "must have at least one gap; 0 means to try again at once"));
            }
            let long = gaps.iter().enumerate().filter(|(_, ms)| Duration::from_millis(**ms) > MAX_GAP);
            faults.extend(
                long.map(|(n, _)| Invalid::new(format!("backoff_schedule[{n}]"), "must be 0 to 604,800,000 milliseconds (7 days)")),
            );
        }
        if let Some(ms) = wanted.timeout_ms {
            let timeout = Duration::from_millis(ms);
            policy.timeout = Some(timeout);
            if !(TIMEOUTS.0..=TIMEOUTS.1).contains(&timeout) {
                faults.push(Invalid::new("timeout_ms", "must be 1,000 to 120,000"));
            }
        }
        if let Some((rate, capacity)) = wanted.rate_limit {
            policy.rate_limit = rate_limit(rate, capacity).map_err(|fault| faults.push(fault.under("rate_limit"))).ok();
        }
        if faults.is_empty() { Ok(policy) } else { Err(faults) }
    }
}

fn rate_limit(rate: f64, capacity: u64) -> Result<RateLimit, Invalid> {
    let burst = u32::try_from(capacity).ok().filter(|burst| (1..=MAX_BURST).contains(burst));
    let burst = burst.ok_or_else(|| Invalid::new("capacity", "must be 1 to 1,000,000"))?;
    let limit = if rate <= MAX_RATE { RateLimit::per_second(rate, burst) } else { None };
    limit.ok_or_else(|| {
        let slowest = MAX_INTERVAL.as_secs();
        Invalid::new("ratePerSec", format!("must be above 0, at most 10,000, and not less than one in {slowest} seconds"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn paths(wanted: Wanted<'_>) -> Vec<String> {
        DeliveryPolicy::new(&wanted).expect_err("it passes a limit").into_iter().map(|fault| fault.path).collect()
    }

    #[test]
    fn nothing_said_means_the_defaults() {
        assert_eq!(DeliveryPolicy::new(&Wanted::default()), Ok(DeliveryPolicy::items()));
        let gaps = [30, 120, 480, 1_800, 7_200, 28_800].map(Duration::from_secs).to_vec();
        assert_eq!(DeliveryPolicy::items().retry.schedule, Schedule::List(gaps));
    }

    #[test]
    fn limits_are_kept_on_both_sides() {
        for attempts in [0, 21, u64::MAX] {
            assert_eq!(paths(Wanted { max_attempts: Some(attempts), ..Wanted::default() }), ["max_attempts"]);
        }
        for ms in [0, 999, 120_001, u64::MAX] {
            assert_eq!(paths(Wanted { timeout_ms: Some(ms), ..Wanted::default() }), ["timeout_ms"]);
        }
        assert_eq!(paths(Wanted { gaps_ms: Some(&[]), ..Wanted::default() }), ["backoff_schedule"]);
        assert_eq!(paths(Wanted { gaps_ms: Some(&[0, 604_800_001]), ..Wanted::default() }), ["backoff_schedule[1]"]);
        for rate in [0.0, -1.0, f64::NAN, f64::INFINITY, 10_000.1, 1.0 / 86_401.0] {
            assert_eq!(paths(Wanted { rate_limit: Some((rate, 1)), ..Wanted::default() }), ["rate_limit.ratePerSec"]);
        }
        for capacity in [0, 1_000_001] {
            assert_eq!(paths(Wanted { rate_limit: Some((1.0, capacity)), ..Wanted::default() }), ["rate_limit.capacity"]);
        }
        let all = Wanted { max_attempts: Some(0), gaps_ms: Some(&[]), timeout_ms: Some(0), rate_limit: Some((0.0, 1)) };
        assert_eq!(paths(all).len(), 4, "every fault is told at once");
        let edges = Wanted {
            max_attempts: Some(20),
            gaps_ms: Some(&[0, 604_800_000]),
            timeout_ms: Some(120_000),
            rate_limit: Some((10_000.0, 1_000_000)),
        };
        assert!(DeliveryPolicy::new(&edges).is_ok());
    }

    #[test]
    fn what_no_attempt_can_use_is_cut_and_a_short_list_repeats() {
        let long: Vec<u64> = (0..40).collect();
        let policy = DeliveryPolicy::new(&Wanted { gaps_ms: Some(&long), ..Wanted::default() }).expect("a policy");
        assert!(matches!(policy.retry.schedule, Schedule::List(gaps) if gaps.len() == 19));
        let short = DeliveryPolicy::new(&Wanted { gaps_ms: Some(&[5, 7]), ..Wanted::default() }).expect("a policy");
        let exact = RetryPolicy { jitter_percent: 0, ..short.retry };
        assert_eq!([1, 2, 3, 19].map(|spent| exact.gap(spent, 1).as_millis()), [5, 7, 7, 7]);
    }

    proptest! {
        /// Whole rates are shown as they were given up to the highest one, tenths up to a thousand a second.
        #[test]
        fn rates_are_shown_as_they_were_given(whole in 1u32..=10_000, tenths in 1u32..10_000) {
            for rate in [f64::from(whole), f64::from(tenths) / 10.0] {
                let limit = rate_limit(rate, 1).expect("a limit");
                prop_assert_eq!(limit.rate_per_second(), rate);
            }
        }
    }
}
