use super::*;
use crate::attempt::{AttemptError, Phases};
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn counts(succeeded: u64, failed: u64) -> Counts {
    Counts { succeeded, failed }
}

#[test]
fn thresholds_are_the_documented_ones() {
    use Health::{Degraded, Healthy, Unhealthy, Unknown};
    let cases = [
        ((0, 0), 0, Unknown),
        ((0, 0), 10, Unknown),
        ((1, 0), 0, Healthy),
        ((91, 9), 2, Healthy),
        ((90, 10), 0, Degraded),
        ((50, 50), 0, Degraded),
        ((1, 1), 1, Degraded),
        ((49, 51), 0, Unhealthy),
        ((0, 1), 1, Unhealthy),
        ((1_000, 2), 2, Healthy),
        ((1_000, 3), 3, Degraded),
        ((1_000, 9), 9, Degraded),
        ((1_000, 10), 10, Unhealthy),
        ((u64::MAX, 0), 0, Healthy),
        ((u64::MAX, u64::MAX), 0, Degraded),
        ((0, u64::MAX), 0, Unhealthy),
    ];
    for ((succeeded, failed), row, expected) in cases {
        assert_eq!(Health::of(counts(succeeded, failed), row), expected, "{succeeded}:{failed}, {row} in a row");
    }
    assert_eq!(counts(0, 0).rate(), None);
    assert_eq!(counts(3, 1).rate(), Some(0.75));
    assert_eq!(Health::ALL.map(|health| Health::from_number(health as u8)), Health::ALL.map(Some));
    assert_eq!(Health::from_number(4), None);
}

fn at_hour(hour: i64) -> Timestamp {
    Timestamp::from_secs(hour * 3_600)
}

fn seen(at: Timestamp, failure: Option<FailureKind>, response_us: Option<u32>) -> Observation {
    Observation { at, failure, response_us, earlier: None }
}

#[test]
fn hours_leave_the_window() {
    let mut tally = HealthTally::default();
    assert_eq!((tally.health(), tally.ages_at(), tally.first_at()), (Health::Unknown, None, None));
    tally.observe(&seen(at_hour(100), Some(FailureKind::Timeout), None));
    assert_eq!((tally.health(), tally.ages_at()), (Health::Unhealthy, Some(at_hour(124))));
    tally.age(at_hour(124).before(std::time::Duration::from_micros(1)));
    assert_eq!(tally.window().deliveries(), counts(0, 1), "a moment before");
    tally.age(at_hour(124));
    assert_eq!((tally.health(), tally.window(), tally.ages_at()), (Health::Unknown, Results::default(), None));
    tally.observe(&seen(at_hour(124), None, Some(3_000)));
    tally.observe(&seen(at_hour(101), Some(FailureKind::Client), Some(5_000)));
    tally.observe(&seen(at_hour(100), None, Some(9_000)));
    let window = tally.window();
    assert_eq!((window.deliveries(), window.mean_response_us()), (counts(1, 1), Some(4_000)), "the last one came too late");
    assert_eq!((window.failures(FailureKind::Client), window.failures(FailureKind::Timeout)), (1, 0));
    assert_eq!((tally.first_at(), tally.last_at()), (Some(at_hour(100)), Some(at_hour(124))));
    assert_eq!((tally.last_success_at(), tally.last_failure_at()), (Some(at_hour(124)), Some(at_hour(101))));
}

#[test]
fn hours_are_told_one_by_one() {
    let mut tally = HealthTally::default();
    assert_eq!(tally.hours(at_hour(100)), [Counts::default(); 24]);
    tally.observe(&seen(at_hour(100), None, None));
    tally.observe(&seen(at_hour(100), Some(FailureKind::Client), None));
    tally.observe(&seen(at_hour(122), None, None));
    let with = |places: &[(usize, Counts)]| {
        let mut hours = [Counts::default(); 24];
        places.iter().for_each(|(place, of_hour)| hours[*place] = *of_hour);
        hours
    };
    assert_eq!(tally.hours(at_hour(122)), with(&[(1, counts(1, 1)), (23, counts(1, 0))]));
    assert_eq!(tally.hours(at_hour(123)), with(&[(0, counts(1, 1)), (22, counts(1, 0))]));
    assert_eq!(tally.hours(at_hour(124)), with(&[(21, counts(1, 0))]), "what has left the window and was not dropped yet");
    // A clock that was set back: what comes later is of no hour yet.
    assert_eq!(tally.hours(at_hour(110)), with(&[(13, counts(1, 1))]));
}

/// A receiver that takes each delivery at the second try is healthy, for all that its attempts say.
#[test]
fn a_delivery_counts_once() {
    let mut tally = HealthTally::default();
    for n in 0..20 {
        let (at, later) = (at_hour(n / 2), at_hour(n / 2 + 1));
        tally.observe(&seen(at, Some(FailureKind::Server), Some(10)));
        let earlier = Some(Earlier { at, succeeded: false });
        tally.observe(&Observation { earlier, ..seen(later, None, Some(10)) });
    }
    assert_eq!((tally.health(), tally.window().deliveries()), (Health::Healthy, counts(20, 0)));
    assert_eq!(tally.window().failures(FailureKind::Server), 20);
    let earlier = Some(Earlier { at: at_hour(9), succeeded: true });
    tally.observe(&Observation { earlier, ..seen(at_hour(9), Some(FailureKind::Server), None) });
    assert_eq!(tally.window().deliveries(), counts(19, 1), "one that was made again, and failed");
}

/// A tally may begin later than its endpoint's deliveries: with an upgrade, or anew where it could not be read.
#[test]
fn an_attempt_from_before_the_first_that_was_counted_takes_nothing_back() {
    let mut tally = HealthTally::default();
    tally.observe(&seen(at_hour(9).after(std::time::Duration::from_secs(60)), Some(FailureKind::Server), None));
    let earlier = Some(Earlier { at: at_hour(9), succeeded: false });
    tally.observe(&Observation { earlier, ..seen(at_hour(10), None, None) });
    assert_eq!(tally.window().deliveries(), counts(1, 1));
}

fn outcome(http_status: Option<u16>, code: Option<ErrorCode>) -> Outcome {
    Outcome {
        finished_at: at_hour(5),
        http_status,
        error: code.map(|code| AttemptError { code, message: String::new() }),
        phases: Phases { dns: Some(100), tcp: Some(200), tls: Some(700), first_byte: Some(3_000), total: 8_000 },
        request_body: None,
        request_truncated: false,
        response_body: Bytes::new(),
        response_truncated: false,
        response_headers: None,
    }
}

#[test]
fn an_outcome_is_observed_as_it_ended() {
    let of = |status, code| Observation::of(&outcome(status, code));
    assert_eq!(of(Some(200), None), Some(seen(at_hour(5), None, Some(7_000))), "without the 1,000 that it took to connect");
    let cases = [
        (Some(404), ErrorCode::Connector4xx, FailureKind::Client),
        (Some(429), ErrorCode::RateLimited, FailureKind::Client),
        (Some(503), ErrorCode::Connector5xx, FailureKind::Server),
        (None, ErrorCode::DeliveryTimeout, FailureKind::Timeout),
        (None, ErrorCode::DnsError, FailureKind::Network),
        (None, ErrorCode::ConnectionRefused, FailureKind::Network),
        (None, ErrorCode::TlsError, FailureKind::Network),
        (Some(226), ErrorCode::UnexpectedStatus, FailureKind::UnexpectedStatus),
        (Some(302), ErrorCode::RedirectBlocked, FailureKind::UnexpectedStatus),
        (None, ErrorCode::ProtocolError, FailureKind::Other),
    ];
    for (status, code, kind) in cases {
        assert_eq!(of(status, Some(code)), Some(seen(at_hour(5), Some(kind), status.map(|_| 7_000))), "{code}");
        assert_eq!(Earlier::of(at_hour(5), Some(code)), Some(Earlier { at: at_hour(5), succeeded: false }));
    }
    for code in [ErrorCode::Interrupted, ErrorCode::TemplateError, ErrorCode::SecretUnreadable, ErrorCode::PayloadTooLarge] {
        assert_eq!((of(None, Some(code)), Earlier::of(at_hour(5), Some(code))), (None, None), "{code} says nothing of the receiver");
    }
    assert_eq!(Earlier::of(at_hour(5), None), Some(Earlier { at: at_hour(5), succeeded: true }));
}

#[test]
fn what_is_stored_is_short_and_nothing_else_is_read() {
    assert_eq!((HealthTally::default().to_bytes(), HealthTally::from_bytes(&[])), (Vec::new(), Some(HealthTally::default())));
    let mut busy = HealthTally::default();
    let now = 1_747_051_200 / 3_600;
    for n in 0..24_000 {
        busy.observe(&seen(at_hour(now + n / 1_000), None, Some(20_000)));
    }
    let bytes = busy.to_bytes();
    assert!(bytes.len() < 350, "{} bytes", bytes.len());
    for cut in 1..bytes.len() {
        assert_ne!(HealthTally::from_bytes(&bytes[..cut]), Some(busy.clone()));
    }
    for bad in [&[2][..], &[1], &[1, 0], &[1, 0, 2, 0, 4], &[1, 0, 2, 0, 4, 0x80, 0x80], &[1, 0, 2, 0, 4, 0, 0, 0]] {
        assert_eq!(HealthTally::from_bytes(bad), None, "{bad:?}");
    }
}

/// An attempt as a test makes it up: of which delivery, when, with which result.
#[derive(Clone, Copy, Debug)]
struct Made {
    delivery: u8,
    at: Timestamp,
    failure: Option<FailureKind>,
    response_us: Option<u32>,
}

fn attempts() -> impl Strategy<Value = Vec<Made>> {
    // Half of them succeed, so that rows of failures end.
    let failure = (0..2 * FailureKind::ALL.len()).prop_map(|n| FailureKind::ALL.get(n).copied());
    let one = (0u8..6, 0i64..60 * 3_600, failure, prop::option::of(any::<u32>()));
    let made = |(delivery, secs, failure, response_us)| Made { delivery, at: Timestamp::from_secs(secs), failure, response_us };
    prop::collection::vec(one.prop_map(made), 0..80)
}

fn folded(attempts: &[Made]) -> HealthTally {
    let (mut tally, mut last) = (HealthTally::default(), BTreeMap::new());
    for made in attempts {
        let result = Earlier { at: made.at, succeeded: made.failure.is_none() };
        let earlier = last.insert(made.delivery, result);
        tally.observe(&Observation { at: made.at, failure: made.failure, response_us: made.response_us, earlier });
    }
    tally
}

proptest! {
    /// The tally says at any time since the latest result what a walk over all attempts says.
    #[test]
    fn the_tally_agrees_with_all_attempts(attempts in attempts(), later in 0i64..30 * 3_600) {
        let mut tally = folded(&attempts);
        let newest = attempts.iter().map(|made| made.at.as_secs()).max().unwrap_or(0);
        let now = Timestamp::from_secs(newest + later);
        tally.age(now);
        let counts_still = |made: &&Made| hour_of(now) - hour_of(made.at) < WINDOW_HOURS;
        let last: BTreeMap<u8, &Made> = attempts.iter().map(|made| (made.delivery, made)).collect();
        let last: Vec<&Made> = last.into_values().filter(counts_still).collect();
        let succeeded = last.iter().filter(|made| made.failure.is_none()).count() as u64;
        let recent: Vec<&Made> = attempts.iter().filter(counts_still).collect();
        let row = attempts.iter().rev().take_while(|made| made.failure.is_some()).count() as u32;
        let window = tally.window();
        prop_assert_eq!(window.deliveries(), counts(succeeded, last.len() as u64 - succeeded));
        prop_assert_eq!(tally.failures_in_a_row(), row);
        prop_assert_eq!(tally.health(), Health::of(window.deliveries(), row));
        for kind in FailureKind::ALL {
            prop_assert_eq!(window.failures(kind), recent.iter().filter(|made| made.failure == Some(kind)).count() as u64);
        }
        let times: Vec<u64> = recent.iter().filter_map(|made| made.response_us).map(u64::from).collect();
        prop_assert_eq!(window.mean_response_us(), times.iter().sum::<u64>().checked_div(times.len() as u64));
        let at = |failed: bool| attempts.iter().filter(|made| made.failure.is_some() == failed).map(|made| made.at).max();
        prop_assert_eq!((tally.last_success_at(), tally.last_failure_at()), (at(false), at(true)));
        prop_assert_eq!(tally.first_at(), attempts.iter().map(|made| made.at).min());
        prop_assert!(tally.ages_at().is_none_or(|at| at > now));
    }

    /// Storing loses nothing.
    #[test]
    fn what_is_stored_comes_back(attempts in attempts(), from in -100i64..500_000) {
        let by = std::time::Duration::from_secs(from.unsigned_abs() * 3_600);
        let moved = attempts.into_iter().map(|made| Made { at: if from < 0 { made.at.before(by) } else { made.at.after(by) }, ..made });
        let tally = folded(&moved.collect::<Vec<_>>());
        prop_assert_eq!(HealthTally::from_bytes(&tally.to_bytes()), Some(tally));
    }

    /// Whatever is read, it is a tally or none.
    #[test]
    fn nothing_that_is_read_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
        if let Some(mut tally) = HealthTally::from_bytes(&bytes) {
            tally.age(at_hour(0));
            tally.observe(&seen(at_hour(0), None, None));
            prop_assert!(tally.ages_at().is_some());
        }
    }
}
