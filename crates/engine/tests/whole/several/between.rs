//! What is under way while an endpoint goes from one engine to another, and what fails meanwhile.

use super::*;
use postrider_core::retry::RetryPolicy;

/// An endpoint that goes over to the second engine when that begins.
async fn goes_over(hand: &Hand, change: impl FnOnce(Endpoint) -> Endpoint) -> u128 {
    let [_, other] = shares().await;
    let n = numbers_in(other).next().expect("there are many");
    subscribe(hand, n, change).await;
    n
}

/// However much is sent to others, each of which might be a reason to look again.
#[test]
fn what_cannot_be_told_for_the_moment_is_told_a_second_later() {
    run(async {
        let hand = hand();
        let n = goes_over(&hand, |to| Endpoint { concurrency: Some(1), ..to }).await;
        let [one, _] = shares().await;
        let stays = numbers_in(one).next().expect("there are many");
        subscribe(&hand, stays, |to| to).await;
        let first = start(&hand).await;
        *hand.takes.lock() = 5 * SECOND;
        publish(&first, n, 2).await;
        pass(SECOND).await;
        *hand.takes.lock() = MILLIS;
        let _second = start(&hand).await;
        pass(SECOND).await;
        hand.fail(Some(("free", StoreErrorKind::Unavailable)));
        for _ in 0..1_000 {
            publish(&first, stays, 1).await;
            pass(10 * MILLIS).await;
        }
        let tried = hand.verbs("free");
        assert!((3..=12).contains(&tried), "{tried}");
        assert_eq!(by(&hand, &got(&hand, n)), [1, 0], "the other one does not know that it has ended");
        hand.fail(None);
        pass(1_100 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [1, 1]);
    });
}

/// Until the store knows that it was left nobody sends, and then the next one does, with what is left of the limit.
#[test]
fn a_slot_that_cannot_be_left_for_the_moment_is_left_a_second_later() {
    run(async {
        let hand = hand();
        let n = goes_over(&hand, |to| Endpoint { rate_limit: limit(60 * SECOND, 3), ..to }).await;
        let first = start(&hand).await;
        publish(&first, n, 2).await;
        pass(SECOND).await;
        hand.fail(Some(("leave_slots", StoreErrorKind::Unavailable)));
        let _second = start(&hand).await;
        pass(SECOND).await;
        publish(&first, n, 2).await;
        pass(4 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [2, 0]);
        assert_eq!(hand.store.slots_of(hand.engine(0)), SlotSet::ALL);
        hand.fail(None);
        pass(1_100 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [2, 1]);
        pass(60 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [2, 2]);
    });
}

/// The store has taken it, and whoever left does not know: it says so again, when the next one has the slots already.
#[test]
fn a_slot_that_was_left_unknowingly_stays_left() {
    run(async {
        let hand = hand();
        let n = goes_over(&hand, |to| Endpoint { concurrency: Some(1), ..to }).await;
        let first = start(&hand).await;
        *hand.takes.lock() = 4 * SECOND;
        publish(&first, n, 3).await;
        pass(SECOND).await;
        *hand.takes.lock() = MILLIS;
        hand.lose(Some("leave_slots"));
        let _second = start(&hand).await;
        pass(6 * SECOND).await;
        let has = |engine: usize| hand.store.slots_of(hand.engine(engine)).contains(Slot::of(Uuid::from_u128(n)));
        assert_eq!((has(0), has(1)), (false, true));
        assert_eq!(by(&hand, &got(&hand, n)), [1, 0], "that its exchange has ended is told after that its slot was left");
        hand.lose(None);
        pass(1_100 * MILLIS).await;
        let all = got(&hand, n);
        assert_eq!((by(&hand, &all), has(1)), ([1, 2], true));
        assert!(all.windows(2).all(|two| two[0].ended.is_some_and(|ended| two[1].began >= ended)), "never two at once: {all:?}");
    });
}

#[test]
fn what_is_being_stored_while_its_slot_is_left_is_made_by_the_next_one() {
    run(async {
        let hand = hand();
        let n = goes_over(&hand, |to| to).await;
        let first = start(&hand).await;
        hand.hold(Some("publish"));
        let publishing = tokio::spawn({
            let first = first.clone();
            async move { publish(&first, n, 1).await }
        });
        pass(10 * MILLIS).await;
        let _second = start(&hand).await;
        pass(100 * MILLIS).await;
        hand.hold(None);
        publishing.await.expect("it is stored");
        pass(50 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [0, 1]);
        assert_eq!((hand.store.dump().claims.len(), hand.store.dump().attempts.len()), (0, 1));
    });
}

/// It was to wait here for its retry; by the time that this is stored it is the other one's.
#[test]
fn what_is_to_be_tried_again_when_its_slot_is_left_waits_where_the_slot_is() {
    run(async {
        let hand = hand();
        let n = goes_over(&hand, |to| to).await;
        let first = start(&hand).await;
        (*hand.status.lock(), *hand.takes.lock()) = (500, MILLIS);
        hand.hold(Some("settle"));
        publish(&first, n, 1).await;
        pass(10 * MILLIS).await;
        let _second = start(&hand).await;
        pass(100 * MILLIS).await;
        hand.hold(None);
        *hand.status.lock() = 200;
        pass(10 * MILLIS).await;
        assert!(hand.store.dump().claims.is_empty(), "{:?}", hand.store.dump().claims);
        pass(3_600 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [1, 1]);
    });
}

#[test]
fn what_is_being_claimed_when_its_slot_is_left_goes_to_the_next_one() {
    run(async {
        const MANY: u128 = 40;
        let hand = hand();
        for n in 1..=MANY {
            subscribe(&hand, n, |to| to).await;
        }
        let before = start(&hand).await;
        *hand.acts.lock() = 0;
        for n in 1..=MANY {
            publish(&before, n, 1).await;
        }
        before.shutdown(SECOND).await;
        hand.store.end(hand.engine(0));
        *hand.acts.lock() = usize::MAX;
        hand.hold(Some("claim"));
        let _first = start(&hand).await;
        pass(100 * MILLIS).await;
        let _second = start(&hand).await;
        pass(100 * MILLIS).await;
        assert_eq!(hand.requests(), 0);
        hand.hold(None);
        pass(100 * MILLIS).await;
        for n in 1..=MANY {
            let all = got(&hand, n);
            let owner = [1, 2].map(|engine| hand.store.slots_of(hand.engine(engine)).contains(Slot::of(Uuid::from_u128(n))));
            assert_eq!([1, 2].map(|engine| all.iter().any(|exchange| exchange.by == hand.engine(engine))), owner, "endpoint {n}");
            assert_eq!(all.len(), 1, "endpoint {n}");
        }
        assert!(hand.store.dump().claims.is_empty());
    });
}

/// What it was told of was being stored in another engine, whose retry then waits in the store and not in its memory.
#[test]
fn what_is_to_be_hastened_while_its_outcome_is_stored_is_hastened_then() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let n = numbers_in(one).next().expect("there are many");
        subscribe(&hand, n, |to| to).await;
        let limits = Limits { near: Duration::ZERO, ..Limits::default() };
        let _first = hand.start(limits, Retention::default()).await;
        let second = hand.start(limits, Retention::default()).await;
        pass(100 * MILLIS).await;
        *hand.status.lock() = 500;
        hand.hold(Some("settle"));
        publish(&second, n, 1).await;
        pass(10 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [1, 0]);
        let delivery = hand.store.dump().deliveries[0].id;
        let answers = second.retry_deliveries(vec![delivery], false).await.expect("the model never fails");
        assert!(matches!(answers[..], [Retried::Held { .. }]), "{answers:?}");
        pass(10 * MILLIS).await;
        hand.hold(None);
        pass(100 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [2, 0]);
    });
}

/// Every owner counts for itself, from when it has the endpoint.
#[test]
fn failures_in_a_row_are_counted_anew_when_an_endpoint_comes_back() {
    run(async {
        let hand = hand();
        *hand.disable_after_dead.lock() = 3;
        let n = goes_over(&hand, |to| to).await;
        let id = EndpointId::new(Uuid::from_u128(n));
        let retry = RetryPolicy { max_attempts: 1, ..RetryPolicy::tasks() };
        hand.configure(vec![ConfigChange::Subscription(Subscription { id: of(n), endpoint: id, retry, ..subscription() })]).await;
        *hand.status.lock() = 500;
        let first = start(&hand).await;
        let is_active = || first.routes().endpoint(id).expect("it is there").status == EndpointStatus::Active;
        publish(&first, n, 2).await;
        pass(SECOND).await;
        let second = start(&hand).await;
        pass(SECOND).await;
        publish(&first, n, 2).await;
        pass(SECOND).await;
        assert_eq!((by(&hand, &got(&hand, n)), is_active()), ([2, 2], true));
        second.shutdown(SECOND).await;
        pass(SECOND).await;
        publish(&first, n, 2).await;
        pass(SECOND).await;
        assert_eq!((by(&hand, &got(&hand, n)), is_active()), ([4, 2], true));
        publish(&first, n, 1).await;
        pass(SECOND).await;
        assert!(!is_active(), "that is the third one");
    });
}

/// Each piece of them is a commit, and makes everybody look who has what.
#[test]
fn endpoints_whose_exchanges_end_one_after_the_other_are_freed_together() {
    run(async {
        const MANY: usize = 100;
        let hand = hand();
        let [_, other] = shares().await;
        let numbers: Vec<u128> = numbers_in(other).take(MANY).collect();
        for n in &numbers {
            subscribe(&hand, *n, |to| to).await;
        }
        let first = start(&hand).await;
        *hand.takes.lock() = 5 * SECOND;
        for n in &numbers {
            publish(&first, *n, 1).await;
            pass(MILLIS).await;
        }
        assert_eq!(first.stats().load.running, MANY);
        let second = start(&hand).await;
        *hand.takes.lock() = MILLIS;
        pass(6 * SECOND).await;
        let freed = hand.verbs("free");
        assert!((2..=25).contains(&freed), "{freed} commits");
        for n in &numbers {
            publish(&second, *n, 1).await;
        }
        pass(SECOND).await;
        assert_eq!(by(&hand, &hand.exchanges.lock()), [MANY, MANY]);
    });
}

/// It is told each time that an exchange has ended that was under way at a handover.
#[test]
fn that_something_is_free_is_no_reason_to_look_at_all_that_waits() {
    run(async {
        let hand = hand();
        let (_first, _second) = two(&hand).await;
        pass(3 * SECOND).await;
        let mut at_once = 0;
        for _ in 0..10 {
            let before = hand.verbs("backlog_after");
            hand.handle(0).tell(vec![News::Members]).await.expect("the model never fails");
            pass(10 * MILLIS).await;
            at_once += hand.verbs("backlog_after") - before;
            pass(1_290 * MILLIS).await;
        }
        assert!(at_once <= 4, "{at_once} times");
    });
}
