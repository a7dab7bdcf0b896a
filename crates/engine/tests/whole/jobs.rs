//! Bulk replays: their rate, what stops them and what does not.

use crate::harness::{BEGINNING, Hand, event, pass, run};
use crate::items::{binding, destination};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, JobId};
use postrider_core::ports::*;
use postrider_core::retry::RetryPolicy;
use postrider_core::subscription::Subscription;
use postrider_engine::{Engine, Limits, MAX_RUNNING_JOBS, NewJob, NoJob, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// An engine with so many dead letters, whose receiver has recovered since. They ended one after the other.
async fn with_letters(hand: &Arc<Hand>, count: usize) -> Engine {
    let to = destination(1);
    let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::items() };
    let binding = Subscription { retry, ..binding(2, &to, "a.b") };
    let changes = vec![ConfigChange::Endpoint(to), ConfigChange::Subscription(binding)];
    hand.configure(changes).await;
    let engine = hand.start(Limits::default(), Retention::default()).await;
    *hand.status.lock() = 400;
    for n in 0..count {
        engine.publish(Publish { event_type: "a.b".into(), ..event(n) }).await.expect("stored");
        pass(Duration::from_millis(10)).await;
    }
    pass(100 * SECOND).await;
    *hand.status.lock() = 200;
    hand.requests.lock().clear();
    assert_eq!(open(hand).await.len(), count);
    engine
}

/// Open dead letters, newest first.
async fn open(hand: &Hand) -> Vec<DeadLetterRow> {
    hand.store.page_of_dead_letters(DeadLetterFilter::default(), Window::first(10_000)).await.expect("the model never fails").items
}

fn new(n: u128, rate: u32) -> NewJob {
    let (id, filter) = (JobId::new(Uuid::from_u128(n)), DeadLetterFilter::default());
    NewJob { id, namespace: Namespace::default_namespace(), filter, rate }
}

async fn begin(engine: &Engine, n: u128, rate: u32) -> Job {
    engine.start_job(new(n, rate)).await.expect("it is stored")
}

async fn find(hand: &Hand, id: JobId) -> Job {
    hand.store.job(id).await.expect("the model never fails").expect("it is there")
}

/// Replayed, skipped, failed, gone.
fn counts(job: &Job) -> (u64, u64, u64, u64) {
    (job.replayed, job.skipped, job.failed, job.gone)
}

#[test]
fn the_rate_is_kept_whatever_it_is() {
    for (rate, letters) in [(7, 35), (50, 250), (1_000, 2_500)] {
        run(async {
            let hand = Hand::new();
            let engine = with_letters(&hand, letters).await;
            let job = begin(&engine, 1, rate).await;
            assert_eq!(job.matched, letters as u64);
            for n in 1.. {
                pass(SECOND / 2).await;
                let replayed = find(&hand, job.id).await.replayed;
                // A step is made at its beginning, so that one more than the time allows may have been.
                let allowed = u64::from(rate) * n / 2;
                let step = u64::from(rate / 10).clamp(1, 100);
                assert!(replayed <= allowed + step, "{replayed} in {n} half seconds at {rate}");
                assert!(replayed >= allowed.min(letters as u64).saturating_sub(step), "{replayed} in {n} half seconds at {rate}");
                if replayed == letters as u64 {
                    break;
                }
            }
            pass(100 * SECOND).await;
            let done = find(&hand, job.id).await;
            assert_eq!((done.state, done.matched, counts(&done)), (JobState::Completed, letters as u64, (letters as u64, 0, 0, 0)));
            assert_eq!((hand.requests(), open(&hand).await.len()), (letters, 0));
        });
    }
}

/// The list of jobs is read when one is made, and not for each step.
#[test]
fn jobs_are_read_again_only_where_something_changed() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 100).await;
        let before = hand.verbs("running_jobs");
        let job = begin(&engine, 1, 10).await;
        pass(30 * SECOND).await;
        assert_eq!(find(&hand, job.id).await.state, JobState::Completed);
        assert_eq!((hand.verbs("running_jobs") - before, hand.verbs("advance_job")), (2, 100), "to count them, and to begin");
    });
}

#[test]
fn a_step_that_somebody_overtakes_stores_nothing() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 20).await;
        let job = begin(&engine, 1, 10).await;
        pass(SECOND / 2).await;
        hand.hold(Some("advance_job"));
        pass(SECOND).await;
        // A step is under way; the job is cancelled and resumed meanwhile, and moved on by somebody else.
        assert_eq!(engine.cancel_job(job.id).await, Ok(true));
        let before = find(&hand, job.id).await;
        assert_eq!(engine.resume_job(&before).await, Ok(true));
        let rows = open(&hand).await;
        let place = |row: &DeadLetterRow| DeadLetterPlace { failed_at: row.dead_letter.failed_at, id: row.dead_letter.id };
        let step = JobStep {
            id: job.id,
            from_cursor: before.cursor,
            letters: Vec::new(),
            skipped: 3,
            failed: None,
            to_cursor: Some(place(&rows[2])),
            completed: false,
            at: hand.now(),
        };
        assert!(matches!(hand.store.advance_job(step).await, Ok(Advanced::Done(..))));
        hand.hold(None);
        pass(10 * SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, done.matched, counts(&done)), (JobState::Completed, 20, (17, 3, 0, 0)));
        let left: Vec<DeadLetterId> = open(&hand).await.iter().map(|row| row.dead_letter.id).collect();
        assert_eq!(left, rows[..3].iter().map(|row| row.dead_letter.id).collect::<Vec<_>>());
        assert_eq!(hand.requests(), 17);
    });
}

/// A store that is away, for however long, costs no dead letter.
#[test]
fn a_store_that_is_away_in_the_middle_is_waited_for() {
    for verb in ["advance_job", "page_of_dead_letters"] {
        run(async {
            let hand = Hand::new();
            let engine = with_letters(&hand, 30).await;
            let job = begin(&engine, 1, 10).await;
            pass(SECOND).await;
            for kind in [StoreErrorKind::Unavailable, StoreErrorKind::Full, StoreErrorKind::ReadOnly] {
                hand.fail(Some((verb, kind)));
                pass(600 * SECOND).await;
            }
            let calls = hand.verbs(verb);
            assert!((10..=90).contains(&calls), "{calls} calls of {verb}: the pauses grow, and not without end");
            assert_eq!(find(&hand, job.id).await.state, JobState::Running);
            hand.fail(None);
            pass(100 * SECOND).await;
            let done = find(&hand, job.id).await;
            assert_eq!((done.state, counts(&done), done.error), (JobState::Completed, (30, 0, 0, 0), None));
        });
    }
}

/// One dead letter that the store always fails with is gone around; the others are replayed.
#[test]
fn what_cannot_be_replayed_is_given_up_alone() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 300).await;
        let bad = open(&hand).await[150].dead_letter.clone();
        hand.poison(Some(bad.delivery));
        let job = begin(&engine, 1, 1_000).await;
        pass(60 * SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, counts(&done), done.error), (JobState::Completed, (299, 0, 1, 0), Some(JobError::LetterFailed)));
        let left = open(&hand).await;
        assert_eq!(left.iter().map(|row| row.dead_letter.id).collect::<Vec<_>>(), [bad.id]);
        assert_eq!(hand.requests(), 299);
    });
}

#[test]
fn a_job_that_cannot_go_on_fails_and_harms_no_other() {
    for (verb, why) in [("page_of_dead_letters", JobError::ListFailed), ("advance_job", JobError::LetterFailed)] {
        run(async {
            let hand = Hand::new();
            let engine = with_letters(&hand, 10).await;
            let job = begin(&engine, 1, 1).await;
            pass(SECOND * 7 / 2).await;
            hand.fail(Some((verb, StoreErrorKind::Internal)));
            pass(60 * SECOND).await;
            let failed = find(&hand, job.id).await;
            assert_eq!((failed.state, failed.error, counts(&failed)), (JobState::Failed, Some(why), (4, 0, 0, 0)));
            assert!(failed.ended_at.is_some());
            let calls = hand.verbs(verb);
            pass(600 * SECOND).await;
            assert_eq!(hand.verbs(verb), calls, "it has ended");
            hand.fail(None);
            assert_eq!((engine.resume_job(&failed).await, engine.cancel_job(failed.id).await), (Ok(false), Ok(false)));
            let other = begin(&engine, 2, 10).await;
            pass(10 * SECOND).await;
            let done = find(&hand, other.id).await;
            assert_eq!((done.state, counts(&done)), (JobState::Completed, (6, 0, 0, 0)));
        });
    }
}

/// What was under way or dealt with before the job came to it is counted for what it is.
#[test]
fn every_dead_letter_is_counted_once() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 12).await;
        let rows = open(&hand).await;
        // Somebody replays one of them, and its receiver takes its time.
        *hand.takes.lock() = 25 * SECOND;
        assert!(engine.replay_delivery(rows[3].dead_letter.delivery, true).await.expect("stored").delivery().is_some());
        pass(SECOND).await;
        let job = begin(&engine, 1, 1).await;
        pass(SECOND / 2).await;
        assert!(engine.dismiss_dead_letter(rows[1].dead_letter.id).await.expect("stored"));
        assert!(engine.dismiss_dead_letter(rows[11].dead_letter.id).await.expect("stored"));
        pass(SECOND * 4).await;
        assert_eq!(open(&hand).await.iter().filter(|row| row.dead_letter.id == rows[3].dead_letter.id).count(), 1, "it is not closed");
        pass(1_000 * SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, done.matched, counts(&done)), (JobState::Completed, 12, (9, 1, 0, 2)));
        assert_eq!((hand.requests(), open(&hand).await.len()), (10, 0), "the slow one succeeded and closed its dead letter");
    });
}

/// What becomes a dead letter while a job runs is none of its own.
#[test]
fn a_job_takes_what_was_there_when_it_began() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 5).await;
        *hand.status.lock() = 400;
        let job = begin(&engine, 1, 1).await;
        pass(30 * SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, done.matched, counts(&done)), (JobState::Completed, 5, (5, 0, 0, 0)));
        assert_eq!(open(&hand).await.len(), 5, "each has failed again");
    });
}

/// A step that is in the store's hands when the engine stops is stored, and nothing of it is lost or made twice.
#[test]
fn a_stop_while_a_step_is_stored_loses_nothing() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 40).await;
        let job = begin(&engine, 1, 20).await;
        pass(SECOND / 2).await;
        hand.hold(Some("advance_job"));
        pass(SECOND).await;
        let (replayed, sent) = (find(&hand, job.id).await.replayed, hand.requests());
        assert_eq!(replayed, sent as u64);
        let stopping = tokio::spawn({
            let engine = engine.clone();
            async move { engine.shutdown(SECOND).await }
        });
        pass(SECOND / 10).await;
        assert!(!stopping.is_finished(), "it waits for the step");
        hand.hold(None);
        stopping.await.expect("it stops");
        let stopped = find(&hand, job.id).await;
        assert_eq!((stopped.state, stopped.replayed), (JobState::Running, replayed + 2));
        let pending = hand.store.dump().deliveries.iter().filter(|d| d.progress.state.kind() == StateKind::Pending).count();
        assert_eq!((pending, hand.requests()), (2, sent), "they wait for the next start");

        let _engine = hand.start(Limits::default(), Retention::default()).await;
        pass(10 * SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, counts(&done)), (JobState::Completed, (40, 0, 0, 0)));
        assert_eq!((hand.requests(), open(&hand).await.len()), (40, 0));
    });
}

#[test]
fn no_more_run_than_may() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 100).await;
        let first = begin(&engine, 1, 1).await;
        for n in 2..=MAX_RUNNING_JOBS as u128 {
            begin(&engine, n, 1).await;
        }
        assert_eq!(engine.start_job(new(99, 1)).await, Err(NoJob::TooMany));
        assert_eq!(engine.start_job(new(1, 1)).await.map(|job| job.id), Ok(first.id), "the same one again");
        let elsewhere = NewJob { namespace: Namespace::new("other").expect("a name"), ..new(100, 1) };
        engine.start_job(elsewhere).await.expect("another tenant's");

        assert_eq!(engine.cancel_job(first.id).await, Ok(true));
        begin(&engine, 99, 1).await;
        let cancelled = find(&hand, first.id).await;
        assert_eq!(engine.resume_job(&cancelled).await, Err(NoJob::TooMany));
        assert_eq!(find(&hand, first.id).await.state, JobState::Cancelled);
        assert_eq!(engine.cancel_job(JobId::new(Uuid::from_u128(99))).await, Ok(true));
        assert_eq!(engine.resume_job(&cancelled).await, Ok(true));
    });
}

/// What is not active is left where it is.
#[test]
fn dead_letters_of_a_paused_destination_are_skipped() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 3).await;
        let paused = Endpoint { status: EndpointStatus::Paused { at: BEGINNING }, ..destination(1) };
        engine.edit(|_| Ok::<_, StoreError>((vec![ConfigChange::Endpoint(paused.clone())], ()))).await.expect("stored");
        let job = begin(&engine, 1, 100).await;
        pass(SECOND).await;
        let done = find(&hand, job.id).await;
        assert_eq!((done.state, counts(&done), open(&hand).await.len()), (JobState::Completed, (0, 3, 0, 0), 3));
    });
}

/// One that cannot be read is ended as failed, however long the store does not let that be stored.
#[test]
fn a_job_that_cannot_be_read_is_failed_once_that_can_be_stored() {
    run(async {
        let hand = Hand::new();
        let engine = with_letters(&hand, 1).await;
        let one = begin(&engine, 1, 10).await;
        let id = JobId::new(Uuid::from_u128(2));
        let unreadable = Job { id, state: JobState::Failed, error: Some(JobError::Unreadable), ..one };
        hand.store.put_job(unreadable.clone()).await.expect("the model never fails");
        hand.fail(Some(("fail_job", StoreErrorKind::Internal)));
        let other = begin(&engine, 3, 10).await;
        pass(10 * SECOND).await;
        assert!(hand.verbs("fail_job") > 1, "it is tried again");
        assert_eq!(find(&hand, unreadable.id).await.ended_at, None);
        assert_eq!(find(&hand, other.id).await.state, JobState::Completed, "it stops no other");
        hand.fail(None);
        pass(10 * SECOND).await;
        let ended = find(&hand, unreadable.id).await;
        assert_eq!((ended.state, ended.error, ended.ended_at.is_some()), (JobState::Failed, Some(JobError::Unreadable), true));
    });
}

/// Whoever asked for it went away before the answer.
#[test]
fn a_job_that_nobody_waits_for_runs() {
    run(async {
        let hand = Hand::new();
        let engine = Arc::new(with_letters(&hand, 3).await);
        hand.hold(Some("put_job"));
        let asking = tokio::spawn({
            let engine = Arc::clone(&engine);
            async move { engine.start_job(new(1, 10)).await }
        });
        pass(SECOND).await;
        asking.abort();
        assert!(asking.await.is_err_and(|ended| ended.is_cancelled()));
        hand.hold(None);
        pass(10 * SECOND).await;
        let done = find(&hand, JobId::new(Uuid::from_u128(1))).await;
        assert_eq!((done.state, counts(&done)), (JobState::Completed, (3, 0, 0, 0)));
    });
}
