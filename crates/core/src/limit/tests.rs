use super::*;
use proptest::prelude::*;

fn limit(millis: u64, burst: u32) -> RateLimit {
    RateLimit { interval: Duration::from_millis(millis), burst }
}

const START: Timestamp = Timestamp::from_secs(1_700_000_000);

#[test]
fn rates_that_make_no_sense_make_no_limit() {
    assert_eq!(RateLimit::per_second(10.0, 5), Some(limit(100, 5)));
    assert_eq!(RateLimit::per_second(3.0, 1).map(|l| l.interval), Some(Duration::from_nanos(333_333_334)), "never faster than asked");
    assert_eq!(RateLimit::per_second(1e12, 1).map(|l| l.interval), Some(Duration::from_nanos(1)));
    assert_eq!(RateLimit::per_second(1.0 / 86_400.0, 1).map(|l| l.interval), Some(MAX_INTERVAL));
    for rate in [0.0, -0.0, -1.0, f64::NAN, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, 1e-300, 1.0 / 86_402.0] {
        assert_eq!(RateLimit::per_second(rate, 1), None, "{rate}");
    }
    assert_eq!(RateLimit::per_second(1.0, 0), None);
}

#[test]
fn a_burst_then_one_per_interval() {
    let (limit, mut gcra) = (limit(100, 3), Gcra::default());
    for n in 0..3 {
        assert_eq!(gcra.take(limit, START), Ok(()), "{n} of the burst");
    }
    let next = START.after(Duration::from_millis(100));
    assert_eq!(gcra.take(limit, START), Err(next));
    assert_eq!(gcra.take(limit, START), Err(next), "a refusal takes nothing");
    assert_eq!(gcra.take(limit, next.before(Duration::from_micros(1))), Err(next));
    assert_eq!(gcra.take(limit, next), Ok(()));
    assert_eq!(gcra.take(limit, next), Err(next.after(Duration::from_millis(100))));
}

#[test]
fn an_empty_bucket_has_its_first_token_after_an_interval() {
    let limit = limit(100, 3);
    let mut gcra = Gcra::empty(limit, START);
    assert_eq!(gcra.full_in(START), Some(Duration::from_millis(300)));
    let next = START.after(Duration::from_millis(100));
    assert_eq!(gcra.take(limit, START), Err(next));
    assert_eq!(gcra.take(limit, next), Ok(()));
    assert_eq!(gcra.take(limit, next), Err(next.after(Duration::from_millis(100))));
}

#[test]
fn what_was_never_used_is_full_and_so_is_what_had_its_time() {
    let (limit, mut gcra) = (limit(100, 2), Gcra::default());
    assert_eq!(gcra.full_in(START), None);
    assert_eq!(gcra.take(limit, START), Ok(()));
    assert_eq!(gcra.full_in(START), Some(Duration::from_millis(100)));
    assert_eq!(gcra.full_in(START.after(Duration::from_millis(99))), Some(Duration::from_millis(1)));
    assert_eq!(gcra.full_in(START.after(Duration::from_millis(100))), None);
}

#[test]
fn a_long_pause_saves_up_no_more_than_the_burst() {
    let (limit, mut gcra) = (limit(100, 2), Gcra::default());
    assert_eq!(gcra.take(limit, START), Ok(()));
    let later = START.after(Duration::from_secs(86_400));
    assert_eq!(gcra.take(limit, later), Ok(()));
    assert_eq!(gcra.take(limit, later), Ok(()));
    assert!(gcra.take(limit, later).is_err());
}

#[test]
fn a_clock_set_back_delays_by_the_bucket_and_not_by_the_step() {
    let (limit, mut gcra) = (limit(1_000, 2), Gcra::default());
    assert_eq!(gcra.take(limit, START), Ok(()));
    let earlier = START.before(Duration::from_secs(3_600));
    let allowed = gcra.take(limit, earlier).expect_err("the bucket counts as empty");
    assert_eq!(allowed, earlier.after(Duration::from_secs(1)));
    assert_eq!(gcra.take(limit, allowed), Ok(()), "what a refusal promises holds");
}

#[test]
fn a_faster_limit_takes_effect_at_once() {
    let (slow, fast, mut gcra) = (limit(3_600_000, 1), limit(10, 1), Gcra::default());
    assert_eq!(gcra.take(slow, START), Ok(()));
    assert_eq!(gcra.take(slow, START), Err(START.after(Duration::from_secs(3_600))));
    let allowed = START.after(Duration::from_millis(10));
    assert_eq!(gcra.take(fast, START), Err(allowed));
    assert_eq!(gcra.take(fast, allowed), Ok(()));
}

#[test]
fn odd_limits_and_instants_do_no_harm() {
    let mut gcra = Gcra::default();
    assert_eq!(gcra.take(limit(100, 0), START), Ok(()), "a burst of 0 counts as 1");
    assert!(gcra.take(limit(100, 0), START).is_err());
    for _ in 0..100 {
        assert_eq!(gcra.take(limit(0, 1), START.after(Duration::from_secs(9))), Ok(()), "no interval, no limit");
    }
    let endless = RateLimit { interval: Duration::MAX, burst: u32::MAX };
    for now in [Timestamp::MIN, Timestamp::MAX, START] {
        let mut gcra = Gcra::default();
        assert_eq!(gcra.take(endless, now), Ok(()));
        let once = RateLimit { interval: Duration::MAX, burst: 1 };
        assert!(gcra.take(once, now).is_err());
    }
}

/// The textbook: tokens drip into a bucket of `burst`, in steps of one nanosecond's share of a token.
struct Bucket {
    /// In nanoseconds' worth of tokens.
    level: u128,
    at: Timestamp,
}

impl Bucket {
    fn take(&mut self, limit: RateLimit, now: Timestamp) -> bool {
        let (interval, full) = (limit.interval.as_nanos(), limit.interval.as_nanos() * u128::from(limit.burst));
        self.level = (self.level + now.since(self.at).as_nanos()).min(full);
        self.at = now;
        let enough = self.level >= interval;
        self.level -= if enough { interval } else { 0 };
        enough
    }
}

fn any_limit() -> impl Strategy<Value = RateLimit> {
    (1u64..50_000_000, 1u32..20).prop_map(|(nanos, burst)| RateLimit { interval: Duration::from_nanos(nanos), burst })
}

proptest! {
    #[test]
    fn it_decides_like_a_token_bucket(limit in any_limit(), steps in prop::collection::vec(0u64..60_000, 1..300)) {
        let mut bucket = Bucket { level: limit.interval.as_nanos() * u128::from(limit.burst), at: START };
        let (mut gcra, mut now) = (Gcra::default(), START);
        for step in steps {
            now = now.after(Duration::from_micros(step));
            let verdict = gcra.take(limit, now);
            prop_assert_eq!(verdict.is_ok(), bucket.take(limit, now), "at {:?}", now);
            if let Err(at) = verdict {
                prop_assert!(at > now);
                prop_assert!(gcra.clone().take(limit, at).is_ok(), "allowed when it said so");
                prop_assert!(gcra.clone().take(limit, at.before(Duration::from_micros(1))).is_err(), "and not before");
            }
        }
    }

    /// Who goes on with it decides as who handed it over would have.
    #[test]
    fn a_bucket_that_is_handed_over_stays_what_it_was(
        limit in any_limit(),
        steps in prop::collection::vec(0u64..60_000, 1..100),
        at in 0usize..100,
    ) {
        let (mut gcra, mut other, mut now): (_, Option<Gcra>, _) = (Gcra::default(), None, START);
        for (n, step) in steps.into_iter().enumerate() {
            now = now.after(Duration::from_micros(step));
            if n == at {
                other = Some(gcra.full_in(now).map_or_else(Gcra::default, |span| Gcra::full_after(now, span)));
            }
            let verdict = gcra.take(limit, now);
            if let Some(other) = &mut other {
                prop_assert_eq!(other.take(limit, now), verdict);
            }
        }
    }

    #[test]
    fn no_window_holds_more_than_the_law_allows(limit in any_limit(), steps in prop::collection::vec(0u64..60_000, 1..200)) {
        let (mut gcra, mut now, mut taken) = (Gcra::default(), START, Vec::new());
        for step in steps {
            now = now.after(Duration::from_micros(step));
            if gcra.take(limit, now).is_ok() {
                taken.push(now);
            }
        }
        for (i, from) in taken.iter().enumerate() {
            for (j, to) in taken.iter().enumerate().skip(i) {
                let window = to.since(*from).as_nanos();
                let most = u128::from(limit.burst) + window / limit.interval.as_nanos();
                prop_assert!((j - i + 1) as u128 <= most, "{} in {} ns", j - i + 1, window);
            }
        }
    }
}

#[test]
fn the_strictest_of_two_keeps_both() {
    let (fast, slow) = (RateLimit::per_second(100.0, 5).expect("a limit"), RateLimit::per_second(1.0, 50).expect("a limit"));
    assert_eq!(fast.strictest(slow), RateLimit { interval: slow.interval, burst: 5 });
    assert_eq!(slow.strictest(fast), fast.strictest(slow));
    assert_eq!(fast.strictest(fast), fast);
}

#[test]
fn rates_are_shown_with_few_digits() {
    for rate in [3.0, 0.1, 7.77, 1_000.0, 9_999.0, 1.0 / 3_600.0] {
        let limit = RateLimit::per_second(rate, 1).expect("a limit");
        let shown = limit.rate_per_second();
        assert_eq!(RateLimit::per_second(shown, 1), Some(limit), "{rate} {shown}");
        assert!((shown - rate).abs() < rate * 1e-4, "{rate} {shown}");
    }
    assert_eq!([3.0, 0.1, 7.77].map(|rate| RateLimit::per_second(rate, 1).expect("a limit").rate_per_second()), [3.0, 0.1, 7.77]);
}
