use super::*;
use crate::retry::DEFAULT_FREE_WAIT;
use std::time::Duration;

mod random;

const T0: Timestamp = Timestamp::from_secs(1_700_000_000);
const LATER: Timestamp = Timestamp::from_secs(1_700_000_100);

fn retry(code: ErrorCode) -> Verdict {
    Verdict::Retry { code, retry_after: None, free: false }
}

fn in_state(state: State) -> Progress {
    Progress { state, attempts: 3, spent: 2, expires_at: Some(Timestamp::MAX) }
}

/// One state of every kind, in the order of [`StateKind::ALL`].
fn every_state() -> [State; 7] {
    [
        State::Pending { due_at: T0 },
        State::Sending,
        State::Retrying { due_at: T0 },
        State::Succeeded,
        State::Failed(ErrorCode::Connector5xx),
        State::Expired,
        State::Cancelled(ErrorCode::EndpointDeleted),
    ]
}

fn exact(policy: RetryPolicy) -> RetryPolicy {
    RetryPolicy { jitter_percent: 0, ..policy }
}

fn finish<'a>(verdict: &'a Verdict, policy: &'a RetryPolicy) -> Step<'a> {
    Step::Finish { at: LATER, verdict, policy, seed: 1 }
}

/// Every step in every state: what it leads to, or `None` where it is refused.
#[test]
fn the_whole_table() {
    let policy = exact(RetryPolicy::items());
    let success = Verdict::Success;
    let again = retry(ErrorCode::Connector5xx);
    let never = Verdict::Permanent { code: ErrorCode::Connector4xx, disable: false };
    use StateKind::*;
    let waiting = |to| [Some(to), None, Some(to), None, None, None, None];
    let sending = |to| [None, Some(to), None, None, None, None, None];
    let resting = |to| [None, None, None, Some(to), Some(to), Some(to), Some(to)];
    let table = [
        (Step::Start, waiting(Sending)),
        (finish(&success, &policy), sending(Succeeded)),
        (finish(&again, &policy), sending(Retrying)),
        (finish(&never, &policy), sending(Failed)),
        (Step::Interrupt { at: LATER }, sending(Retrying)),
        (Step::Expire, waiting(Expired)),
        (Step::Cancel(ErrorCode::EndpointDeleted), waiting(Cancelled)),
        (Step::GiveUp(ErrorCode::DestinationDisabled), waiting(Failed)),
        (Step::Hasten { at: LATER }, [Some(Pending), None, Some(Retrying), None, None, None, None]),
        (Step::Replay { at: LATER }, resting(Pending)),
    ];
    for (step, row) in table {
        for (state, expected) in every_state().into_iter().zip(row) {
            let from = in_state(state);
            match (transition(from, step), expected) {
                (Ok(to), Some(kind)) => assert_eq!(to.state.kind(), kind, "{step:?} in {state:?}"),
                (Err(refused), None) => assert_eq!(refused, Refused { from: state.kind(), step: step.name() }),
                (got, _) => panic!("{step:?} in {state:?} gave {got:?}"),
            }
        }
    }
}

#[test]
fn what_each_step_counts() {
    let policy = exact(RetryPolicy::items());
    let sending = in_state(State::Sending);
    let to = |from, step| transition(from, step).expect("applies");

    let started = to(in_state(State::Pending { due_at: T0 }), Step::Start);
    assert_eq!((started.attempts, started.spent), (4, 2), "an attempt is counted when it begins and spent when it ends");
    let (success, again) = (Verdict::Success, retry(ErrorCode::Connector5xx));
    let done = to(sending, finish(&success, &policy));
    assert_eq!((done.attempts, done.spent), (3, 3));
    let failed_once = to(sending, finish(&again, &policy));
    assert_eq!((failed_once.attempts, failed_once.spent), (3, 3));
    let interrupted = to(sending, Step::Interrupt { at: LATER });
    assert_eq!((interrupted.attempts, interrupted.spent), (3, 2), "a crash costs the receiver nothing of its attempts");
    assert_eq!(interrupted.state, State::Retrying { due_at: LATER }, "and goes on at once");
    let replayed = to(in_state(State::Expired), Step::Replay { at: LATER });
    assert_eq!(replayed, Progress { state: State::Pending { due_at: LATER }, attempts: 3, spent: 0, expires_at: None });
    assert_eq!([started, done, interrupted, replayed].map(|progress| progress.uncounted()), [1, 0, 1, 3]);
    let hastened = |due_at, at| to(in_state(State::Retrying { due_at }), Step::Hasten { at });
    assert_eq!(hastened(LATER, T0), Progress { state: State::Retrying { due_at: T0 }, attempts: 3, spent: 0, expires_at: None });
    assert_eq!(hastened(T0, LATER).state, State::Retrying { due_at: T0 }, "never later");
    let cancelled = to(in_state(State::Pending { due_at: T0 }), Step::Cancel(ErrorCode::SubscriptionDeleted));
    assert_eq!(cancelled.state, State::Cancelled(ErrorCode::SubscriptionDeleted));
    let given_up = to(in_state(State::Retrying { due_at: T0 }), Step::GiveUp(ErrorCode::DestinationDisabled));
    assert_eq!(given_up.state, State::Failed(ErrorCode::DestinationDisabled));
    assert_eq!((given_up.attempts, given_up.spent), (3, 2));
}

/// Fails a new delivery until it is given up; the gaps in seconds, and the attempts it took.
fn ladder(policy: &RetryPolicy) -> (Vec<u64>, Progress) {
    let verdict = retry(ErrorCode::DeliveryTimeout);
    let mut progress = Progress::new(T0, None);
    let mut gaps = Vec::new();
    let mut now = T0;
    loop {
        progress = transition(progress, Step::Start).expect("it is due");
        now = now.after(Duration::from_millis(1_500));
        let step = Step::Finish { at: now, verdict: &verdict, policy, seed: 1 };
        progress = transition(progress, step).expect("it was sending");
        match progress.state.due_at() {
            Some(due_at) => gaps.push(due_at.since(now).as_secs()),
            None => return (gaps, progress),
        }
        now = progress.state.due_at().unwrap_or(now);
    }
}

#[test]
fn the_ladder_of_each_api_from_end_to_end() {
    let cases = [
        (RetryPolicy::tasks(), vec![10, 30, 60, 300]),
        (RetryPolicy::items(), vec![30, 120, 480, 1_800, 7_200, 28_800]),
        (RetryPolicy::rpc(3, Duration::from_secs(60)), vec![60, 120, 240]),
        (RetryPolicy::rpc(0, Duration::from_secs(60)), vec![]),
    ];
    for (policy, expected) in cases {
        let policy = exact(policy);
        let (gaps, end) = ladder(&policy);
        assert_eq!(gaps, expected);
        assert_eq!(end.state, State::Failed(ErrorCode::DeliveryTimeout));
        assert_eq!((end.attempts, end.spent), (policy.max_attempts, policy.max_attempts));
    }
}

#[test]
fn a_replay_gets_the_whole_ladder_again_and_goes_on_counting() {
    let policy = exact(RetryPolicy::tasks());
    let (_, end) = ladder(&policy);
    let mut progress = transition(end, Step::Replay { at: LATER }).expect("it rests");
    let again = retry(ErrorCode::Connector5xx);
    for n in 6..=10 {
        progress = transition(progress, Step::Start).expect("it is due");
        assert_eq!(progress.attempts, n);
        progress = transition(progress, finish(&again, &policy)).expect("it was sending");
    }
    assert_eq!(progress.state, State::Failed(ErrorCode::Connector5xx));
}

#[test]
fn the_larger_of_gap_and_retry_after_counts() {
    let policy = exact(RetryPolicy::items());
    let due = |secs, spent| {
        let verdict = Verdict::Retry { code: ErrorCode::RateLimited, retry_after: Some(Duration::from_secs(secs)), free: false };
        let from = Progress { spent, ..in_state(State::Sending) };
        transition(from, finish(&verdict, &policy)).expect("it was sending").state.due_at().map(|at| at.since(LATER).as_secs())
    };
    assert_eq!(due(5, 0), Some(30));
    assert_eq!(due(90, 0), Some(90));
    assert_eq!(due(90, 1), Some(120));
}

#[test]
fn a_free_attempt_waits_as_asked_and_is_never_the_last() {
    let policy = exact(RetryPolicy::rpc(0, Duration::from_secs(60)));
    let mut progress = transition(Progress::new(T0, None), Step::Start).expect("it is due");
    for (retry_after, expected) in
        [(Some(Duration::from_secs(7)), 7), (None, DEFAULT_FREE_WAIT.as_secs()), (Some(Duration::from_secs(900)), 900)]
    {
        let verdict = Verdict::Retry { code: ErrorCode::RateLimited, retry_after, free: true };
        progress = transition(progress, finish(&verdict, &policy)).expect("it was sending");
        assert_eq!(progress.state, State::Retrying { due_at: LATER.after(Duration::from_secs(expected)) });
        assert_eq!(progress.spent, 0);
        progress = transition(progress, Step::Start).expect("it is due");
    }
    assert_eq!(progress.attempts, 4);
}

#[test]
fn no_wait_outlasts_the_time_to_live() {
    let policy = exact(RetryPolicy::items());
    let expires = LATER.after(Duration::from_secs(10));
    let from = Progress { state: State::Sending, attempts: 1, spent: 0, expires_at: Some(expires) };
    let again = retry(ErrorCode::Connector5xx);
    let to = transition(from, finish(&again, &policy)).expect("it was sending");
    assert_eq!(to.state, State::Retrying { due_at: expires }, "it wakes when it has to expire");
    assert!(to.is_expired(expires) && !to.is_expired(LATER));
    assert!(!Progress::new(T0, None).is_expired(Timestamp::MAX));
}

#[test]
fn states_come_apart_and_together() {
    for (state, kind) in every_state().into_iter().zip(StateKind::ALL) {
        assert_eq!(state.kind(), kind);
        assert_eq!(StateKind::from_number(kind as u8), Some(kind));
        assert_eq!(State::from_parts(kind, state.due_at(), state.reason()), Some(state));
        assert_eq!(kind.is_resting(), state.due_at().is_none() && state != State::Sending);
    }
    assert_eq!(StateKind::from_number(7), None);
    for kind in [StateKind::Pending, StateKind::Retrying, StateKind::Failed, StateKind::Cancelled] {
        assert_eq!(State::from_parts(kind, None, None), None, "{kind:?} needs more");
    }
}

#[test]
fn a_refusal_says_what_was_tried() {
    let refused = transition(in_state(State::Succeeded), Step::Start).expect_err("it rests");
    assert_eq!(refused.to_string(), "a delivery that is Succeeded cannot start");
}
