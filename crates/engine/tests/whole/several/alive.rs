//! What an engine does that others may have taken for dead.

use super::*;
use postrider_core::error::ErrorCode;

/// The errors of ended attempts, in their order.
fn errors(hand: &Hand) -> Vec<Option<ErrorCode>> {
    let outcome = |attempt: postrider_core::attempt::Attempt| attempt.outcome.expect("it has ended").error.map(|error| error.code);
    hand.store.dump().attempts.into_iter().map(outcome).collect()
}

/// Whoever takes over may begin another exchange: where these are counted there must be no other. All others run on.
#[test]
fn exchanges_that_are_counted_are_cut_off_when_others_may_have_taken_over() {
    run(async {
        let hand = hand();
        subscribe(&hand, 1, |to| Endpoint { concurrency: Some(1), ..to }).await;
        subscribe(&hand, 2, |to| Endpoint { rate_limit: limit(MILLIS, 1), ..to }).await;
        let engine = start(&hand).await;
        *hand.takes.lock() = 5 * SECOND;
        publish(&engine, 1, 1).await;
        publish(&engine, 2, 1).await;
        pass(SECOND).await;
        assert_eq!(engine.stats().load.running, 2);
        *hand.acts.lock() = 0;
        pass(100 * MILLIS).await;
        assert_eq!(engine.stats().load.running, 1);
        *hand.takes.lock() = MILLIS;
        pass(5 * SECOND).await;
        let [counted, other] = [1, 2].map(|n| got(&hand, n));
        assert_eq!((counted.len(), counted[0].ended, other.len()), (1, None, 1));
        assert!(other[0].ended.is_some());
        *hand.acts.lock() = usize::MAX;
        pass(2 * SECOND).await;
        assert_eq!([1, 2].map(|n| got(&hand, n).len()), [2, 1], "it goes on when it may");
        let errors = errors(&hand);
        let interrupted = errors.iter().filter(|error| **error == Some(ErrorCode::Interrupted)).count();
        assert_eq!((errors.len(), interrupted, errors.iter().flatten().count()), (3, 1, 1));
        assert!(hand.store.dump().claims.is_empty());
    });
}

#[test]
fn what_waited_for_its_connection_meanwhile_is_not_sent() {
    run(async {
        let (hand, engine) = one().await;
        *hand.connects.lock() = 2 * SECOND;
        publish(&engine, 1, 1).await;
        pass(SECOND).await;
        *hand.acts.lock() = 0;
        pass(3 * SECOND).await;
        assert_eq!((hand.requests(), engine.stats().load.running), (0, 0));
        *hand.acts.lock() = usize::MAX;
        pass(5 * SECOND).await;
        assert_eq!((hand.requests(), errors(&hand)), (1, vec![Some(ErrorCode::Interrupted), None]));
    });
}

/// Its slots are somebody else's although nobody has told it: what it has of them in memory is not its own to send.
#[test]
fn an_engine_whose_slots_are_gone_gives_back_what_it_has_of_them() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let n = numbers_in(one).next().expect("there are many");
        subscribe(&hand, n, |to| Endpoint { rate_limit: limit(10 * SECOND, 1), ..to }).await;
        let (first, _second) = two(&hand).await;
        publish(&first, n, 5).await;
        pass(100 * MILLIS).await;
        let held = || hand.store.dump().claims.values().filter(|by| **by == hand.engine(0)).count();
        assert_eq!((by(&hand, &got(&hand, n)), held()), ([1, 0], 4));
        hand.fail(Some(("leave_slots", StoreErrorKind::Unavailable)));
        // Behind its back.
        let (slots, limiters) = (hand.store.slots_of(hand.engine(0)), vec![(EndpointId::new(Uuid::from_u128(n)), 10 * SECOND)]);
        hand.handle(0).leave_slots(Leaving { slots, limiters, busy: Vec::new() }).await.expect("the model never fails");
        hand.handle(1).survey(SlotSet::default()).await.expect("the model never fails");
        assert_eq!(hand.store.slots_of(hand.engine(1)), SlotSet::ALL);
        pass(1_100 * MILLIS).await;
        assert_eq!(held(), 0);
        pass(20 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [1, 0], "nobody who has them may send");
        hand.fail(None);
        pass(60 * SECOND).await;
        let all = got(&hand, n);
        assert_eq!((all.len(), hand.store.dump().claims.len()), (5, 0));
        assert!(gaps(&all).0 >= 10 * SECOND);
    });
}

/// However many exchanges are counted.
#[test]
fn one_asks_for_all_of_them_whether_they_may_go_on() {
    run(async {
        const MANY: u128 = 100;
        const ASKS: usize = 1_000_000;
        let hand = hand();
        for n in 1..=MANY {
            subscribe(&hand, n, |to| Endpoint { concurrency: Some(1), ..to }).await;
        }
        let engine = start(&hand).await;
        *hand.takes.lock() = 5 * SECOND;
        for n in 1..=MANY {
            publish(&engine, n, 1).await;
        }
        pass(SECOND).await;
        assert_eq!(engine.stats().load.running, MANY as usize);
        *hand.acts.lock() = ASKS;
        pass(SECOND).await;
        let asked = ASKS - *hand.acts.lock();
        assert!((10..=200).contains(&asked), "{asked} times in a second");
    });
}
