use super::*;
use bytes::Bytes;
use postrider_core::attempt::{AttemptError, HeadBlock, Phases};
use postrider_core::auth::Auth;
use postrider_core::body::BodyForm;
use postrider_core::endpoint::HttpOptions;
use postrider_core::event::Namespace;
use postrider_core::filter::LabelFilter;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::retry::Schedule;
use postrider_core::subscription::RequestForm;
use uuid::Uuid;

const NOW: Timestamp = Timestamp::from_secs(1_700_000_000);

fn subscription(origin: Origin, retry: RetryPolicy) -> Subscription {
    Subscription {
        id: SubscriptionId::new(Uuid::nil()),
        namespace: Namespace::default_namespace(),
        name: String::new(),
        endpoint: EndpointId::new(Uuid::nil()),
        origin,
        active: true,
        patterns: Vec::new(),
        labels: LabelFilter::default(),
        matches: None,
        body: BodyForm::Raw,
        retry,
        request: RequestForm::default(),
        timeout: None,
        rate_limit: None,
        created_at: NOW,
        updated_at: NOW,
        deleted_at: None,
    }
}

fn endpoint() -> Endpoint {
    Endpoint {
        id: EndpointId::new(Uuid::nil()),
        namespace: Namespace::default_namespace(),
        name: String::new(),
        url: String::from("https://a.test/"),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        secrets: Vec::new(),
        old_secrets_until: None,
        schemes: Vec::new(),
        http: HttpOptions::tasks(),
        rate_limit: None,
        payload_cap: None,
        concurrency: None,
        status: EndpointStatus::Active,
        created_at: NOW,
        updated_at: NOW,
        deleted: None,
    }
}

/// An answer that came so long ago.
fn answered(code: ErrorCode, secs_ago: u64, retry_after: Option<&str>) -> Outcome {
    Outcome {
        finished_at: NOW.before(Duration::from_secs(secs_ago)),
        http_status: Some(503),
        error: Some(AttemptError { code, message: String::from("503 Service Unavailable") }),
        phases: Phases::default(),
        request_body: None,
        request_truncated: false,
        response_body: Bytes::new(),
        response_truncated: false,
        response_headers: retry_after.map(|value| HeadBlock::from_lines(format!("server: a\nretry-after: {value}\n"))),
    }
}

fn in_secs(secs: u64) -> State {
    State::Retrying { due_at: NOW.after(Duration::from_secs(secs)) }
}

/// After so many attempts of seven.
fn standing<'a>(
    state: State,
    spent: u32,
    subscription: &'a Subscription,
    endpoint: &'a Endpoint,
    last: Option<&'a Outcome>,
) -> Standing<'a> {
    Standing {
        now: NOW,
        progress: Progress { state, attempts: spent, spent, expires_at: None },
        made: spent,
        most: 7,
        began_at: Some(NOW.before(Duration::from_secs(3))),
        last,
        subscription: Some(subscription),
        endpoint: Some(endpoint),
        is_parked: false,
        rate_limit: None,
        called_off: false,
    }
}

#[test]
fn a_wait_is_explained_by_the_policy() {
    let (items, tasks, endpoint) =
        (subscription(Origin::Items, RetryPolicy::items()), subscription(Origin::Tasks, RetryPolicy::tasks()), endpoint());
    let told = |subscription: &Subscription, spent, secs_ago, secs| {
        let last = answered(ErrorCode::Connector5xx, secs_ago, None);
        next(&standing(in_secs(secs), spent, subscription, &endpoint, Some(&last)))
    };
    assert_eq!(
        told(&items, 2, 4, 120),
        "Attempt 3 of 7 is due in 2 min: the policy waits 2 min after the second failure, and jitter made it 2 min 4 s."
    );
    assert_eq!(told(&items, 2, 20, 100), "Attempt 3 of 7 is due in 1 min 40 s: the policy waits 2 min after the second failure.");
    assert_eq!(told(&tasks, 1, 2, 8), "Attempt 2 of 7 is due in 8 s: the policy waits 10 s after the first failure.");
    // It was put off for another reason, which nobody has noted.
    assert_eq!(told(&tasks, 1, 2, 60), "Attempt 2 of 7 is due in 1 min.");
}

#[test]
fn a_wait_that_the_receiver_asked_for_is_its_own() {
    let (rpc, endpoint) = (subscription(Origin::Rpc, RetryPolicy::rpc(6, Duration::from_secs(60))), endpoint());
    let told = |code, value: Option<&str>, secs| {
        let last = answered(code, 0, value);
        next(&standing(in_secs(secs), 1, &rpc, &endpoint, Some(&last)))
    };
    assert_eq!(
        told(ErrorCode::Connector5xx, Some("120"), 120),
        "Attempt 2 of 7 is due in 2 min: the receiver asked to wait 2 min (Retry-After), which is longer than the policy's 1 min."
    );
    assert_eq!(
        told(ErrorCode::Connector5xx, Some("30"), 60),
        "Attempt 2 of 7 is due in 1 min: the policy waits 1 min after the first failure."
    );
    let free = |value, secs| told(ErrorCode::RateLimited, value, secs);
    assert!(free(Some("120"), 120).ends_with("the receiver asked to wait 2 min (Retry-After) with a 429, which costs no attempt."));
    assert!(free(Some("7200"), 900).contains("asked to wait 2 h (Retry-After), and 15 min is the longest"));
    assert!(free(None, 60).contains("without a usable Retry-After 1 min are waited"));
    // The header was not kept, or the attempt was put off for another reason.
    assert_eq!(free(None, 840), "Attempt 2 of 7 is due in 14 min.");
    assert_eq!(free(Some("120"), 840), "Attempt 2 of 7 is due in 14 min.");
}

#[test]
fn a_time_to_live_ends_a_wait() {
    let (tasks, endpoint, last) =
        (subscription(Origin::Tasks, RetryPolicy::tasks()), endpoint(), answered(ErrorCode::Connector5xx, 0, None));
    let state = in_secs(5);
    let mut of = standing(state, 1, &tasks, &endpoint, Some(&last));
    of.progress.expires_at = state.due_at();
    assert_eq!(next(&of), "Attempt 2 of 7 is due in 5 s: its time to live ends then.");
}

#[test]
fn who_waits_for_a_turn_is_told_for_what() {
    let (tasks, plain) = (subscription(Origin::Tasks, RetryPolicy::tasks()), endpoint());
    let narrow = Endpoint { concurrency: Some(2), ..endpoint() };
    let due = |secs| State::Pending { due_at: NOW.before(Duration::from_secs(secs)) };
    let told = |endpoint: &Endpoint, secs, rate_limit| next(&Standing { rate_limit, ..standing(due(secs), 0, &tasks, endpoint, None) });
    assert_eq!(told(&plain, 0, None), "Attempt 1 of 7 is due now.");
    assert_eq!(told(&plain, 3, None), "Attempt 1 of 7 has been due for 3 s: it waits for its turn.");
    let limit = |rate| RateLimit::per_second(rate, 1);
    for (rate, text) in [(10.0, "10 requests a second"), (1.0, "one request a second"), (0.1, "one request in 10 s")] {
        let expected = format!("Attempt 1 of 7 has been due for 3 s: it waits for its turn, and its endpoint takes {text}.");
        assert_eq!(told(&narrow, 3, limit(rate)), expected);
    }
    assert!(told(&narrow, 3, None).ends_with("and its endpoint takes 2 requests at a time."));
    let paused = Endpoint { status: EndpointStatus::Paused { at: NOW }, ..endpoint() };
    let disabled = Endpoint { status: EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: NOW }, ..endpoint() };
    let parked = |endpoint: &Endpoint, is_parked| next(&Standing { is_parked, ..standing(due(3), 0, &tasks, endpoint, None) });
    assert_eq!(parked(&paused, true), "Its endpoint is paused: it goes on when that is resumed.");
    assert_eq!(parked(&paused, false), "Attempt 1 of 7 has been due for 3 s: it waits for its turn.");
    assert_eq!(parked(&disabled, true), "Its endpoint was disabled (endpoint_gone): it goes on when that is active again.");
}

#[test]
fn what_has_ended_says_why_nothing_follows() {
    let (tasks, endpoint) = (subscription(Origin::Tasks, RetryPolicy::tasks()), endpoint());
    let told = |state, made| next(&Standing { made, ..standing(state, made, &tasks, &endpoint, None) });
    assert_eq!(told(State::Failed(ErrorCode::Connector5xx), 7), "No attempt is left: 7 of 7 were made.");
    assert_eq!(
        told(State::Failed(ErrorCode::Connector4xx), 1),
        "Given up: after connector_4xx it is not tried again, though 6 of 7 attempts were left."
    );
    assert_eq!(told(State::Failed(ErrorCode::DestinationDisabled), 1), "Given up: its endpoint was disabled for too long.");
    assert_eq!(told(State::Cancelled(ErrorCode::CancelledByHand), 1), "Cancelled by a person.");
    assert_eq!(told(State::Cancelled(ErrorCode::EndpointDeleted), 1), "Cancelled: its endpoint was deleted.");
    assert_eq!(told(State::Cancelled(ErrorCode::SubscriptionDeleted), 1), "Cancelled: its subscription was deleted.");
    assert_eq!(told(State::Expired, 1), "Its time to live ran out before it was delivered.");
    assert_eq!(told(State::Sending, 2), "Attempt 2 of 7 is under way for 3 s; it may take 10 s.");
    for gone in [
        Standing { endpoint: None, ..standing(in_secs(1), 1, &tasks, &endpoint, None) },
        Standing { subscription: None, ..standing(in_secs(1), 1, &tasks, &endpoint, None) },
    ] {
        assert!(next(&gone).starts_with("It is about to be cancelled: its "), "{}", next(&gone));
    }
}

#[test]
fn what_was_called_off_has_no_next_attempt() {
    let (tasks, endpoint) = (subscription(Origin::Tasks, RetryPolicy::tasks()), endpoint());
    let told = |state| next(&Standing { called_off: true, ..standing(state, 2, &tasks, &endpoint, None) });
    let waiting = "It was cancelled: it ends as soon as the node that has it hears of it.";
    assert_eq!((told(in_secs(40)), told(State::Pending { due_at: NOW })), (waiting.to_owned(), waiting.to_owned()));
    assert_eq!(
        told(State::Sending),
        "Attempt 2 of 7 is under way for 3 s; it may take 10 s. It was cancelled: it ends after this attempt, unless that succeeds."
    );
    // One that succeeded in spite of it has.
    assert_eq!(told(State::Succeeded), "Delivered; nothing more happens.");
}

#[test]
fn a_policy_without_a_wait_is_told_as_it_is() {
    let policy = RetryPolicy { max_attempts: 7, schedule: Schedule::List(Vec::new()), jitter_percent: 50 };
    let (items, endpoint, last) = (subscription(Origin::Items, policy), endpoint(), answered(ErrorCode::Connector5xx, 0, None));
    let told = next(&standing(in_secs(1), 1, &items, &endpoint, Some(&last)));
    assert_eq!(told, "Attempt 2 of 7 is due in 1 s: the policy waits 0 ms after the first failure.");
}
