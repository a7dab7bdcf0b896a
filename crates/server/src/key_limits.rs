//! How often each API key may ask: a bucket for reading, one for writing and one for publishing.

use crate::http::Problem;
use http::{HeaderMap, HeaderValue, StatusCode};
use parking_lot::Mutex;
use postrider_core::id::KeyId;
use postrider_core::limit::{Budget, Gcra, RateLimit};
use postrider_core::time::Timestamp;
use std::collections::HashMap;

/// What a request does, as far as its bucket is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Use {
    /// It lists or gets.
    Read,
    /// It changes something.
    Write,
    /// It publishes events.
    Publish,
}

/// Requests a second and key, for each [`Use`]; 0 is no limit. As many may come at once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PerSecond {
    /// See [`Use::Read`].
    pub read: u32,
    /// See [`Use::Write`].
    pub write: u32,
    /// See [`Use::Publish`].
    pub publish: u32,
}

impl Default for PerSecond {
    /// 1,000 and 200 (contract of the Items API, section 5). Publishing has its own bounds: what the store takes, and 503 beyond that.
    fn default() -> Self {
        PerSecond { read: 1_000, write: 200, publish: 0 }
    }
}

/// The buckets of every key that was used. Their number is bounded by that of the keys, for only a good key gets one.
#[derive(Debug)]
pub struct KeyLimits {
    limits: [Option<RateLimit>; 3],
    buckets: Mutex<HashMap<KeyId, [Gcra; 3]>>,
}

/// How a key stands with its bucket after a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Standing {
    limit: RateLimit,
    budget: Budget,
    now: Timestamp,
    /// Until when it has to wait; `None` where it may go on.
    wait: Option<Timestamp>,
}

impl KeyLimits {
    /// With these limits.
    pub fn new(per_second: PerSecond) -> Self {
        let limit = |n: u32| RateLimit::per_second(f64::from(n), n);
        KeyLimits { limits: [limit(per_second.read), limit(per_second.write), limit(per_second.publish)], buckets: Mutex::default() }
    }

    /// Takes a token; `None` where there is no limit.
    pub fn take(&self, key: KeyId, what: Use, now: Timestamp) -> Option<Standing> {
        let limit = self.limits[what as usize]?;
        let mut buckets = self.buckets.lock();
        let bucket = &mut buckets.entry(key).or_default()[what as usize];
        let wait = bucket.take(limit, now).err();
        Some(Standing { limit, budget: bucket.budget(limit, now), now, wait })
    }
}

impl Standing {
    /// After how many whole seconds there is a token again, at least 1; `None` where the request may go on.
    pub fn retry_after(&self) -> Option<u32> {
        self.wait.map(|at| u32::try_from(at.since(self.now).as_millis().div_ceil(1_000)).unwrap_or(u32::MAX).max(1))
    }

    /// 429 for a key that has to wait; `None` where it may go on.
    pub fn refusal(&self) -> Option<Problem> {
        let retry_after = self.retry_after()?;
        let message =
            format!("this key asks more often than it may: ask again in {retry_after} s, the headers X-RateLimit-* tell the limit");
        Some(Problem { retry_after: Some(retry_after), ..Problem::new(StatusCode::TOO_MANY_REQUESTS, "rate_limited", message) })
    }

    /// Puts `X-RateLimit-Limit`, `-Remaining` and `-Reset` (the Unix second at which the bucket is full again) into an answer.
    pub fn show(&self, headers: &mut HeaderMap) {
        let reset =
            self.budget.full_at.as_micros().div_euclid(1_000_000) + i64::from(self.budget.full_at.as_micros().rem_euclid(1_000_000) != 0);
        headers.insert("x-ratelimit-limit", HeaderValue::from(self.limit.burst));
        headers.insert("x-ratelimit-remaining", HeaderValue::from(self.budget.left));
        headers.insert("x-ratelimit-reset", HeaderValue::from(reset));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;
    use uuid::Uuid;

    const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

    fn key(n: u128) -> KeyId {
        KeyId::new(Uuid::from_u128(n))
    }

    #[test]
    fn each_key_and_use_has_its_own_bucket_and_it_is_exact_under_concurrency() {
        let limits = KeyLimits::new(PerSecond { read: 50, write: 20, publish: 0 });
        let passed = |id: KeyId, what: Use| {
            let one = || (0..100).filter(|_| limits.take(id, what, NOW).is_some_and(|s| s.retry_after().is_none())).count();
            std::thread::scope(|s| {
                (0..4).map(|_| s.spawn(one)).collect::<Vec<_>>().into_iter().map(|t| t.join().expect("a thread")).sum::<usize>()
            })
        };
        assert_eq!((passed(key(1), Use::Read), passed(key(1), Use::Write), passed(key(2), Use::Write)), (50, 20, 20));
        assert_eq!(limits.take(key(1), Use::Publish, NOW), None, "there is no limit");
        let later = NOW.after(Duration::from_millis(100));
        assert_eq!((0..9).filter(|_| limits.take(key(1), Use::Write, later).is_some_and(|s| s.retry_after().is_none())).count(), 2);
    }

    #[test]
    fn an_answer_says_how_the_key_stands() {
        let limits = KeyLimits::new(PerSecond { read: 2, write: 0, publish: 0 });
        let shown = |now| {
            let standing = limits.take(key(1), Use::Read, now).expect("a limit");
            let mut headers = HeaderMap::new();
            standing.show(&mut headers);
            let text = |name: &str| headers[name].to_str().expect("text").to_owned();
            (text("x-ratelimit-limit"), text("x-ratelimit-remaining"), text("x-ratelimit-reset"), standing.retry_after())
        };
        let row = |a: &str, b: &str, c: &str, wait| (a.to_owned(), b.to_owned(), c.to_owned(), wait);
        assert_eq!(shown(NOW), row("2", "1", "1700000001", None));
        assert_eq!(shown(NOW), row("2", "0", "1700000001", None));
        assert_eq!(shown(NOW), row("2", "0", "1700000001", Some(1)));
        assert_eq!(shown(NOW.after(Duration::from_secs(1))), row("2", "1", "1700000002", None));
    }
}
