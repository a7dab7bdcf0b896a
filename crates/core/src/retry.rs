//! When to try again: attempts, gaps between them, jitter, and what a receiver's `Retry-After` says.

use crate::id::DeliveryId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::{Duration, UNIX_EPOCH};

#[cfg(test)]
mod tests;

/// How long to wait after a 429 that costs no attempt and has no usable `Retry-After` (RPC contract, section 7).
pub const DEFAULT_FREE_WAIT: Duration = Duration::from_secs(60);

/// The longest that a receiver can ask for with such a 429 (RPC contract, section 7): whatever it says, somebody looks again.
pub const MAX_FREE_WAIT: Duration = Duration::from_secs(15 * 60);

/// The longest gap of an exponential schedule before jitter (RPC contract, section 7).
pub const MAX_EXPONENTIAL_GAP: Duration = Duration::from_secs(24 * 3600);

/// How hard to try.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RetryPolicy {
    /// Attempts in all, the first one included.
    pub max_attempts: u32,
    /// The gaps between them.
    pub schedule: Schedule,
    /// By how much of itself a gap may be longer or shorter, 0 to 100; what is above counts as 100.
    pub jitter_percent: u8,
}

/// The gaps between attempts, counted from the end of the attempt before.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Schedule {
    /// One after the other; the last one repeats, and an empty list means no wait.
    List(Vec<Duration>),
    /// `base`, then twice as long each time, but never longer than `cap` before jitter.
    Exponential {
        /// The gap after the first attempt.
        base: Duration,
        /// The longest gap.
        cap: Duration,
    },
}

impl RetryPolicy {
    /// The Tasks API: 5 attempts, 10 s, 30 s, 1 min, 5 min and 15 min apart, exactly.
    pub fn tasks() -> Self {
        RetryPolicy { max_attempts: 5, schedule: list(&[10, 30, 60, 300, 900]), jitter_percent: 0 }
    }

    /// The Items API: 7 attempts, 30 s, 2 min, 8 min, 30 min, 2 h and 8 h apart, give or take a tenth.
    pub fn items() -> Self {
        RetryPolicy { max_attempts: 7, schedule: list(&[30, 120, 480, 1_800, 7_200, 28_800]), jitter_percent: 10 }
    }

    /// The RPC API: one attempt and `max_retries` more, `base` apart and then twice as long each time, give or take a tenth.
    pub fn rpc(max_retries: u32, base: Duration) -> Self {
        RetryPolicy {
            max_attempts: max_retries.saturating_add(1),
            schedule: Schedule::Exponential { base, cap: MAX_EXPONENTIAL_GAP },
            jitter_percent: 10,
        }
    }

    /// How long to wait after the attempt that used up the policy's `spent`-th try (1 is the first). The jitter follows from `seed`.
    pub fn gap(&self, spent: u32, seed: u64) -> Duration {
        let step = spent.saturating_sub(1);
        let exact = match &self.schedule {
            Schedule::List(gaps) => {
                let entry = usize::try_from(step).ok().and_then(|i| gaps.get(i));
                entry.or(gaps.last()).copied().unwrap_or_default()
            }
            Schedule::Exponential { base, cap } => doubled(*base, step).min(*cap),
        };
        jittered(exact, self.jitter_percent, seed)
    }
}

fn list(secs: &[u64]) -> Schedule {
    Schedule::List(secs.iter().copied().map(Duration::from_secs).collect())
}

fn doubled(base: Duration, times: u32) -> Duration {
    let factor = 1u128.checked_shl(times).unwrap_or(u128::MAX);
    from_nanos(base.as_nanos().saturating_mul(factor))
}

fn jittered(exact: Duration, percent: u8, seed: u64) -> Duration {
    let nanos = exact.as_nanos();
    let reach = nanos * u128::from(percent.min(100)) / 100;
    if reach == 0 {
        return exact;
    }
    let offset = fastrand::Rng::with_seed(seed).u128(0..=2 * reach);
    from_nanos(nanos - reach + offset)
}

fn from_nanos(nanos: u128) -> Duration {
    const PER_SEC: u128 = 1_000_000_000;
    match u64::try_from(nanos / PER_SEC) {
        Ok(secs) => Duration::new(secs, u32::try_from(nanos % PER_SEC).unwrap_or(0)),
        Err(_) => Duration::MAX,
    }
}

/// Where the jitter of one gap comes from: different for every process, delivery and attempt, so that what failed together does not come back together.
pub fn jitter_seed(process_seed: u64, delivery: DeliveryId, attempt: u32) -> u64 {
    let (high, low) = delivery.uuid().as_u64_pair();
    [high, low, u64::from(attempt)].into_iter().fold(splitmix(process_seed), |state, part| splitmix(state ^ part))
}

/// The output function of SplitMix64: every bit of the input reaches every bit of the output.
fn splitmix(state: u64) -> u64 {
    let mut z = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Reads a `Retry-After` header: whole seconds or an HTTP date. `None` for zero, the past and everything else that asks for no wait.
///
/// The answer is not capped; [`crate::attempt::judge`] does that.
pub fn parse_retry_after(value: &str, now: Timestamp) -> Option<Duration> {
    let value = value.trim();
    let wait = if !value.is_empty() && value.bytes().all(|b| b.is_ascii_digit()) {
        // Digits alone fail to parse only when they are too many.
        Duration::from_secs(value.parse().unwrap_or(u64::MAX))
    } else {
        let date = httpdate::parse_http_date(value).ok()?;
        Timestamp::from_micros(0).after(date.duration_since(UNIX_EPOCH).ok()?).since(now)
    };
    (!wait.is_zero()).then_some(wait)
}
