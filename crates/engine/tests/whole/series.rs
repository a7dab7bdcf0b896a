//! Numbers over time, and what is late.

use crate::harness::{BEGINNING, Hand, event, pass, run, subscription};
use crate::items::{binding, destination, of_type, start};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::event::Namespace;
use postrider_core::ports::{ConfigChange, Fault, FaultKind, Late, SeriesStore, StoreError, StoreErrorKind};
use postrider_core::retry::RetryPolicy;
use postrider_core::series::{Numbers, Step};
use postrider_core::signal::ITEM_COMPLETED;
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use postrider_engine::{Limits, Publish, Retention};
use postrider_store::memory::MemoryStore;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

async fn steps(hand: &Hand, namespace: Option<Namespace>, step: Step) -> Vec<(Timestamp, Numbers)> {
    hand.store.series(namespace, step, Timestamp::MIN, Timestamp::MAX).await.expect("the model never fails")
}

/// All that is stored. Steps of every length have the same, and everything has what its one namespace has.
async fn numbers(hand: &Hand) -> Numbers {
    let mut sums = Vec::new();
    for step in Step::ALL {
        for namespace in [None, Some(Namespace::default_namespace())] {
            let mut sum = Numbers::default();
            steps(hand, namespace, step).await.iter().for_each(|(_, numbers)| sum.add(numbers));
            sums.push(sum);
        }
    }
    assert!(sums.iter().all(|sum| *sum == sums[0]), "{sums:?}");
    sums.remove(0)
}

/// Events, deliveries, attempts that succeeded and that failed, and deliveries that were given up.
fn counts(numbers: &Numbers) -> [u64; 5] {
    [numbers.events, numbers.deliveries, numbers.attempts_succeeded, numbers.attempts_failed, numbers.given_up]
}

fn millis(time: Option<Duration>) -> f64 {
    time.expect("there is something").as_secs_f64() * 1_000.0
}

#[test]
fn what_is_stored_is_counted_once_and_added_every_two_seconds() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let keyed = Publish { idempotency_key: Some("k".to_owned()), ..event(3) };
        for event in [event(1), event(2), keyed.clone(), keyed] {
            engine.publish(event).await.expect("stored");
        }
        pass(SECOND).await;
        assert_eq!((hand.requests(), counts(&numbers(&hand).await)), (3, [0; 5]), "it gathers");
        pass(2 * SECOND).await;
        let found = numbers(&hand).await;
        assert_eq!(counts(&found), [3, 3, 3, 0, 0], "a duplicate is none");
        let (answered, delivered) = (millis(found.answered_in.percentile(0.99)), millis(found.delivered_after.percentile(0.99)));
        assert!((0.9..=1.1).contains(&answered), "{answered} ms");
        assert!((0.9..50.0).contains(&delivered), "{delivered} ms");
        let calls = hand.verbs("add_series");
        pass(60 * SECOND).await;
        assert_eq!(hand.verbs("add_series"), calls, "there is nothing to add");
        assert_eq!(numbers(&hand).await, found);
    });
}

#[test]
fn attempts_count_by_how_they_end_and_what_is_made_again_tells_no_time() {
    run(async {
        let hand = Hand::new();
        let retry = RetryPolicy { max_attempts: 2, ..RetryPolicy::tasks() };
        let of_two = Subscription { retry, ..subscription() };
        let to = crate::harness::endpoint(EndpointStatus::Active);
        hand.configure(vec![ConfigChange::Endpoint(to), ConfigChange::Subscription(of_two)]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        *hand.status.lock() = 500;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND / 2).await;
        *hand.status.lock() = 200;
        pass(15 * SECOND).await;
        let found = numbers(&hand).await;
        assert_eq!(counts(&found), [1, 1, 1, 1, 0]);
        let delivered = millis(found.delivered_after.percentile(0.5));
        assert!((9_000.0..=11_100.0).contains(&delivered), "with its retry: {delivered} ms");

        *hand.status.lock() = 500;
        engine.publish(event(2)).await.expect("stored");
        pass(60 * SECOND).await;
        assert_eq!(counts(&numbers(&hand).await), [2, 2, 1, 3, 1]);
        *hand.status.lock() = 200;
        let failed = hand.store.dump().deliveries.iter().find(|d| d.progress.state.kind() == StateKind::Failed).map(|d| d.id);
        engine.replay_delivery(failed.expect("it failed"), false).await.expect("stored");
        pass(5 * SECOND).await;
        let again = numbers(&hand).await;
        assert_eq!((counts(&again), &again.delivered_after), ([2, 2, 2, 3, 1], &found.delivered_after));

        *hand.fault.lock() = Some(Fault { kind: FaultKind::Reset, message: "gone".to_owned() });
        engine.publish(event(3)).await.expect("stored");
        pass(5 * SECOND).await;
        let unanswered = numbers(&hand).await;
        assert_eq!((counts(&unanswered), &unanswered.answered_in), ([3, 3, 2, 4, 1], &again.answered_in), "there was no answer");
    });
}

#[test]
fn what_outcomes_and_later_slices_make_counts_too() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let bindings = [binding(2, &to, "a.b"), binding(3, &to, ITEM_COMPLETED)].into();
        let engine = start(&hand, vec![to], bindings).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(5 * SECOND).await;
        assert_eq!(counts(&numbers(&hand).await), [1, 2, 2, 0, 0], "what follows from an outcome was published by nobody");

        let hand = Hand::new();
        let to = destination(1);
        let changes = (2..7).map(|n| ConfigChange::Subscription(binding(n, &to, "a.b")));
        hand.configure([ConfigChange::Endpoint(to.clone())].into_iter().chain(changes).collect()).await;
        let engine = hand.start(Limits { fan_out_slice: 2, ..Limits::default() }, Retention::default()).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(10 * SECOND).await;
        assert_eq!(counts(&numbers(&hand).await), [1, 5, 5, 0, 0]);
    });
}

#[test]
fn what_the_store_does_not_take_comes_later_into_the_step_in_which_it_happened() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.fail(Some(("add_series", StoreErrorKind::Unavailable)));
        engine.publish(event(1)).await.expect("stored");
        pass(12 * SECOND).await;
        engine.publish(event(2)).await.expect("stored");
        pass(3 * SECOND).await;
        assert!(hand.verbs("add_series") > 3, "it is tried again");
        assert_eq!(counts(&numbers(&hand).await), [0; 5]);
        hand.fail(None);
        pass(3 * SECOND).await;
        let tens = steps(&hand, None, Step::TenSeconds).await;
        let found: Vec<_> = tens.iter().map(|(at, numbers)| (at.since(BEGINNING).as_secs(), counts(numbers))).collect();
        assert_eq!(found, [(0, [1, 1, 1, 0, 0]), (10, [1, 1, 1, 0, 0])]);

        hand.fail(Some(("add_series", StoreErrorKind::Unknown)));
        engine.publish(event(3)).await.expect("stored");
        pass(5 * SECOND).await;
        hand.fail(None);
        pass(5 * SECOND).await;
        assert_eq!(counts(&numbers(&hand).await), [2, 2, 2, 0, 0], "rather too little than twice");
    });
}

#[test]
fn a_shutdown_adds_what_is_left_and_waits_no_longer_than_for_outcomes() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        engine.publish(event(1)).await.expect("stored");
        engine.shutdown(SECOND).await;
        assert_eq!(counts(&numbers(&hand).await), [1, 1, 1, 0, 0]);

        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(Some("add_series"));
        engine.publish(event(2)).await.expect("stored");
        pass(3 * SECOND).await;
        let began = hand.now();
        engine.shutdown(SECOND).await;
        let took = hand.now().since(began);
        assert!(took <= 4 * SECOND, "{took:?}");
        hand.hold(None);
    });
}

#[test]
fn numbers_of_engines_that_share_a_store_add_up() {
    run(async {
        let hand = Hand::over(MemoryStore::new().shared());
        hand.subscribe(EndpointStatus::Active).await;
        let engines =
            [hand.start(Limits::default(), Retention::default()).await, hand.start(Limits::default(), Retention::default()).await];
        pass(5 * SECOND).await;
        for n in 0..6 {
            engines[n % 2].publish(event(n)).await.expect("stored");
        }
        pass(10 * SECOND).await;
        assert_eq!((hand.requests(), counts(&numbers(&hand).await)), (6, [6, 6, 6, 0, 0]));
    });
}

#[test]
fn old_numbers_are_forgotten_with_what_else_is_too_old() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        engine.publish(event(1)).await.expect("stored");
        pass(Step::TenSeconds.kept() - 60 * SECOND).await;
        assert_eq!(steps(&hand, None, Step::TenSeconds).await.len(), 1);
        pass(3_700 * SECOND).await;
        let left = [Step::TenSeconds, Step::TwoMinutes].map(|step| steps(&hand, None, step));
        let [tens, minutes] = left;
        assert_eq!((tens.await.len(), minutes.await.len()), (0, 1));
    });
}

async fn late(hand: &Hand) -> Option<Late> {
    hand.store.most_late(None).await.expect("the model never fails")
}

/// What is under way is not late, and what waits behind it is, until it goes.
#[test]
fn what_waits_behind_a_receiver_that_hangs_is_late_until_it_goes() {
    run(async {
        let hand = Hand::new();
        let (to, _) = hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        *hand.takes.lock() = 100 * SECOND;
        engine.publish(event(1)).await.expect("stored");
        pass(8 * SECOND).await;
        assert_eq!((hand.requests(), late(&hand).await, hand.verbs("note_late")), (1, None, 0), "it is under way");
        let due_at = hand.now();
        engine.publish(event(2)).await.expect("stored");
        pass(SECOND / 2).await;
        assert_eq!(late(&hand).await, None, "it waits for a moment only");
        pass(10 * SECOND).await;
        let expected = Late { namespace: to.namespace.clone(), endpoint: to.id, due_at };
        assert_eq!(late(&hand).await.as_ref(), Some(&expected));
        assert_eq!(hand.store.most_late(Some(to.namespace.clone())).await, Ok(Some(expected)));
        let other = Namespace::new("other").expect("a name by the rule");
        assert_eq!(hand.store.most_late(Some(other)).await, Ok(None));
        pass(30 * SECOND).await;
        assert_eq!(hand.verbs("note_late"), 1, "nothing has changed");
        *hand.takes.lock() = Duration::from_millis(1);
        pass(70 * SECOND).await;
        assert_eq!((hand.requests(), late(&hand).await, hand.verbs("note_late")), (2, None, 2));
    });
}

#[test]
fn what_waits_for_a_person_is_not_late() {
    run(async {
        let hand = Hand::new();
        let (to, _) = hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        *hand.takes.lock() = 100 * SECOND;
        for n in 0..3 {
            engine.publish(event(n)).await.expect("stored");
        }
        hand.fail(Some(("note_late", StoreErrorKind::Unavailable)));
        pass(10 * SECOND).await;
        assert_eq!(late(&hand).await, None, "it cannot be noted");
        hand.fail(None);
        pass(10 * SECOND).await;
        assert!(late(&hand).await.is_some());
        let paused = ConfigChange::Endpoint(Endpoint { status: EndpointStatus::Paused { at: hand.now() }, ..to });
        engine.edit(|_| Ok::<_, StoreError>((vec![paused.clone()], ()))).await.expect("stored");
        pass(6 * SECOND).await;
        assert_eq!(late(&hand).await, None);
    });
}
