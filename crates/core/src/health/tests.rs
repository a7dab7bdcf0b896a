use super::*;
use crate::attempt::{AttemptError, Phases};
use crate::error::ErrorCode;
use bytes::Bytes;
use proptest::prelude::*;

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
}

fn at_hour(hour: i64) -> Timestamp {
    Timestamp::from_secs(hour * 3_600)
}

fn seen(at: Timestamp, category: Category, response_us: Option<u32>) -> Observation {
    Observation { at, category, response_us }
}

#[test]
fn hours_leave_the_window_and_totals_stay() {
    let mut tally = HealthTally::default();
    assert_eq!((tally.health(at_hour(0)), tally.mean_response_us()), (Health::Unknown, None));
    tally.observe(&seen(at_hour(100), Category::Timeout, None));
    assert_eq!(tally.health(at_hour(100)), Health::Unhealthy);
    assert_eq!(tally.window(at_hour(123)), counts(0, 1));
    assert_eq!(tally.health(at_hour(124)), Health::Unknown, "a day without results");
    tally.observe(&seen(at_hour(124), Category::Success, Some(3_000)));
    assert_eq!(tally.health(at_hour(124)), Health::Healthy);
    assert_eq!((tally.totals(), tally.count(Category::Timeout), tally.count(Category::DnsError)), (counts(1, 1), 1, 0));
    tally.observe(&seen(at_hour(99), Category::Success, Some(5_000)));
    assert_eq!(tally.window(at_hour(124)), counts(1, 0), "what came too late is in the totals only");
    assert_eq!((tally.totals(), tally.mean_response_us()), (counts(2, 1), Some(4_000)));
    assert_eq!((tally.last_success_at(), tally.last_failure_at()), (Some(at_hour(124)), Some(at_hour(100))));
}

#[test]
fn an_outcome_is_observed_as_it_ended() {
    let mut outcome = Outcome {
        finished_at: at_hour(5),
        http_status: Some(503),
        error: Some(AttemptError { code: ErrorCode::Connector5xx, message: String::new() }),
        phases: Phases { total: 7_000, ..Phases::default() },
        request_body: None,
        request_truncated: false,
        response_body: Bytes::new(),
        response_truncated: false,
    };
    assert_eq!(Observation::of(&outcome), seen(at_hour(5), Category::ServerError, Some(7_000)));
    outcome.http_status = None;
    outcome.error = Some(AttemptError { code: ErrorCode::DnsError, message: String::new() });
    assert_eq!(Observation::of(&outcome), seen(at_hour(5), Category::DnsError, None));
}

#[test]
fn what_is_stored_is_short_and_what_is_unknown_was_a_failure() {
    assert_eq!(serde_json::to_string(&HealthTally::default()).expect("JSON"), "{}");
    let mut tally = HealthTally::default();
    tally.observe(&seen(at_hour(2), Category::Success, Some(10)));
    tally.observe(&seen(at_hour(3), Category::ServerError, None));
    let text = r#"{"by":{"server_error":1,"success":1},"us":[10,1],"row":1,"ok":7200000000,"bad":10800000000,"h":[[2,1,0],[3,0,1]]}"#;
    assert_eq!(serde_json::to_string(&tally).expect("JSON"), text);
    assert_eq!(serde_json::from_str::<HealthTally>(text).expect("a tally"), tally);
    let newer: HealthTally = serde_json::from_str(r#"{"by":{"from_the_future":2,"unknown":1}}"#).expect("a tally");
    assert_eq!((newer.totals(), newer.count(Category::Unknown)), (counts(0, 3), 3));
    let busy: Vec<Observation> = (0..10_000).map(|n| seen(at_hour(n / 100), Category::ALL[n as usize % 9], Some(u32::MAX))).collect();
    let stored = serde_json::to_string(&folded(&busy)).expect("JSON");
    assert!(stored.len() < 1_000, "{} bytes", stored.len());
}

fn folded(observations: &[Observation]) -> HealthTally {
    let mut tally = HealthTally::default();
    observations.iter().for_each(|observation| tally.observe(observation));
    tally
}

fn observations() -> impl Strategy<Value = Vec<Observation>> {
    let one = (0i64..60 * 3_600, 0..Category::ALL.len() * 2, prop::option::of(any::<u32>()));
    // Half of them succeed, so that rows of failures end.
    let category = |n: usize| Category::ALL.get(n).copied().unwrap_or(Category::Success);
    prop::collection::vec(one.prop_map(move |(secs, n, response)| seen(Timestamp::from_secs(secs), category(n), response)), 0..80)
}

proptest! {
    /// The tally says at any time since the last result what a walk over all results says.
    #[test]
    fn the_tally_agrees_with_all_results(observations in observations(), later in 0i64..30 * 3_600) {
        let tally = folded(&observations);
        let newest = observations.iter().map(|o| o.at.as_secs()).max().unwrap_or(0);
        let now = Timestamp::from_secs(newest + later);
        let succeeded = |o: &&Observation| o.category == Category::Success;
        let recent: Vec<&Observation> = observations.iter().filter(|o| hour_of(now) - hour_of(o.at) < 24).collect();
        let successes = recent.iter().filter(|o| succeeded(o)).count() as u64;
        let window = counts(successes, recent.len() as u64 - successes);
        let row = observations.iter().rev().take_while(|o| !succeeded(o)).count() as u32;
        prop_assert_eq!(tally.window(now), window);
        prop_assert_eq!(tally.failures_in_a_row(), row);
        prop_assert_eq!(tally.health(now), Health::of(window, row));
        for category in Category::ALL {
            prop_assert_eq!(tally.count(*category), observations.iter().filter(|o| o.category == *category).count() as u64);
        }
        prop_assert_eq!(tally.totals().succeeded + tally.totals().failed, observations.len() as u64);
        let times: Vec<u64> = observations.iter().filter_map(|o| o.response_us).map(u64::from).collect();
        prop_assert_eq!(tally.mean_response_us(), times.iter().sum::<u64>().checked_div(times.len() as u64));
        prop_assert_eq!(tally.last_success_at(), observations.iter().filter(succeeded).map(|o| o.at).max());
        prop_assert_eq!(tally.last_failure_at(), observations.iter().filter(|o| !succeeded(o)).map(|o| o.at).max());
    }

    /// Parts that are folded apart and merged are the whole, and storing loses nothing.
    #[test]
    fn merging_and_storing_change_nothing(observations in observations(), cut in any::<prop::sample::Index>()) {
        let whole = folded(&observations);
        let (before, after) = observations.split_at(cut.index(observations.len() + 1));
        let mut merged = folded(before);
        merged.merge(&folded(after));
        prop_assert_eq!(&merged, &whole);
        let text = serde_json::to_string(&whole).expect("JSON");
        prop_assert_eq!(serde_json::from_str::<HealthTally>(&text).expect("a tally"), whole);
    }
}
