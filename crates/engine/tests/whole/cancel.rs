//! Deliveries that people call off.

use crate::harness::{Hand, endpoint, event, pass, run, subscription};
use postrider_core::attempt::AttemptError;
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::limit::RateLimit;
use postrider_core::ports::{Cancelled, ConfigChange, Retried, StoreError};
use postrider_engine::{Engine, Limits, Retention};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);
const CALLED_OFF: State = State::Cancelled(ErrorCode::CancelledByHand);

fn to() -> EndpointId {
    endpoint(EndpointStatus::Active).id
}

/// An engine that keeps retries of the next minute in memory.
async fn start(hand: &Arc<Hand>) -> Engine {
    hand.start(Limits { near: 60 * SECOND, ..Limits::default() }, Retention::default()).await
}

async fn publish(engine: &Engine, count: usize) {
    for n in 0..count {
        engine.publish(event(n)).await.expect("stored");
    }
}

/// The deliveries in the order in which they were made.
fn ids(hand: &Hand) -> Vec<DeliveryId> {
    hand.store.dump().deliveries.iter().map(|delivery| delivery.id).collect()
}

fn state(hand: &Hand, id: DeliveryId) -> State {
    let dump = hand.store.dump();
    dump.deliveries.iter().find(|delivery| delivery.id == id).expect("it is there").progress.state
}

async fn cancel(engine: &Engine, id: DeliveryId) -> Cancelled {
    engine.cancel_delivery(id).await.expect("the model never fails")
}

/// What the attempts failed with, if they did.
fn errors(hand: &Hand) -> Vec<Option<ErrorCode>> {
    let code = |error: &AttemptError| error.code;
    hand.store.dump().attempts.iter().map(|attempt| attempt.outcome.as_ref().and_then(|o| o.error.as_ref()).map(code)).collect()
}

#[test]
fn what_waits_in_the_store_ends_at_once() {
    run(async {
        let hand = Hand::new();
        let (paused, _) = hand.subscribe(EndpointStatus::Paused { at: hand.now() }).await;
        let engine = start(&hand).await;
        publish(&engine, 2).await;
        let [off, stays] = ids(&hand)[..] else { panic!("two were published") };
        assert_eq!(cancel(&engine, off).await, Cancelled::AtOnce(to()));
        assert_eq!((state(&hand, off), state(&hand, stays).kind()), (CALLED_OFF, StateKind::Pending));
        assert_eq!(cancel(&engine, off).await, Cancelled::Ended(StateKind::Cancelled));
        assert_eq!(cancel(&engine, DeliveryId::new(Uuid::nil())).await, Cancelled::NotFound);
        let active = ConfigChange::Endpoint(Endpoint { status: EndpointStatus::Active, ..paused });
        engine.edit(|_| Ok::<_, StoreError>((vec![active.clone()], ()))).await.expect("stored");
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand, off), state(&hand, stays)), (1, CALLED_OFF, State::Succeeded));
        assert_eq!(cancel(&engine, stays).await, Cancelled::Ended(StateKind::Succeeded));
        assert!(hand.store.dump().dead_letters.is_empty());
    });
}

#[test]
fn what_waits_for_its_turn_in_memory_is_not_sent() {
    run(async {
        let hand = Hand::new();
        // One request in a quarter of an hour.
        let slow = Endpoint { rate_limit: Some(RateLimit { interval: 900 * SECOND, burst: 1 }), ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(slow), ConfigChange::Subscription(subscription())]).await;
        let engine = start(&hand).await;
        publish(&engine, 4).await;
        pass(SECOND).await;
        let [sent, off, stays, also_off] = ids(&hand)[..] else { panic!("four were published") };
        assert_eq!((hand.requests(), engine.stats().load.held), (1, 3));
        for id in [off, also_off] {
            assert_eq!(cancel(&engine, id).await, Cancelled::AtOnce(to()));
            assert_eq!(state(&hand, id), CALLED_OFF);
        }
        assert_eq!((engine.stats().load.held, hand.store.dump().claims.len()), (1, 1));
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand, sent), state(&hand, stays)), (2, State::Succeeded, State::Succeeded));
        assert_eq!((state(&hand, off), state(&hand, also_off)), (CALLED_OFF, CALLED_OFF));
    });
}

#[test]
fn what_waits_for_its_retry_is_not_tried_again_unless_somebody_wants_it() {
    run(async {
        // In the store, and in memory.
        for near in [SECOND, 60 * SECOND] {
            let hand = Hand::new();
            hand.subscribe(EndpointStatus::Active).await;
            let engine = hand.start(Limits { near, ..Limits::default() }, Retention::default()).await;
            *hand.status.lock() = 500;
            publish(&engine, 1).await;
            pass(2 * SECOND).await;
            let id = ids(&hand)[0];
            assert_eq!((hand.requests(), hand.store.dump().claims.is_empty()), (1, near == SECOND));
            assert_eq!(cancel(&engine, id).await, Cancelled::AtOnce(to()));
            assert_eq!((state(&hand, id), engine.stats().load.held), (CALLED_OFF, 0));
            pass(3_600 * SECOND).await;
            assert_eq!((hand.requests(), state(&hand, id), hand.store.dump().dead_letters.len()), (1, CALLED_OFF, 0));
            *hand.status.lock() = 200;
            let answers = engine.retry_deliveries(vec![id], false).await.expect("the model never fails");
            assert!(matches!(answers[..], [Retried::Queued(again)] if again.delivery == id), "{answers:?}");
            pass(SECOND).await;
            assert_eq!((hand.requests(), state(&hand, id)), (2, State::Succeeded));
        }
    });
}

/// Whether the store knows already that it is under way or not.
#[test]
fn what_is_being_sent_ends_after_its_attempt_unless_that_succeeds() {
    run(async {
        for (since, status, ended) in [
            (SECOND / 100, 500, CALLED_OFF),
            (SECOND, 500, CALLED_OFF),
            (SECOND / 100, 200, State::Succeeded),
            (SECOND, 200, State::Succeeded),
            (SECOND, 410, State::Failed(ErrorCode::EndpointGone)),
        ] {
            let hand = Hand::new();
            hand.subscribe(EndpointStatus::Active).await;
            let engine = start(&hand).await;
            (*hand.status.lock(), *hand.takes.lock()) = (status, 5 * SECOND);
            publish(&engine, 1).await;
            pass(since).await;
            let id = ids(&hand)[0];
            assert_eq!(state(&hand, id) == State::Sending, since == SECOND);
            assert_eq!(cancel(&engine, id).await, Cancelled::AfterAttempt);
            pass(10 * SECOND).await;
            assert_eq!((state(&hand, id), hand.requests(), hand.store.dump().attempts.len()), (ended, 1, 1), "after {status}");
            pass(3_600 * SECOND).await;
            let letters = usize::from(ended.kind() == StateKind::Failed);
            assert_eq!((hand.requests(), hand.store.dump().dead_letters.len()), (1, letters));
            assert_eq!((engine.stats().load.held, hand.store.dump().claims.len()), (0, 0));
        }
    });
}

/// Its outcome would have it wait in memory; the store knows better.
#[test]
fn what_is_being_stored_ends_with_that() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = start(&hand).await;
        *hand.status.lock() = 500;
        hand.hold(Some("settle"));
        publish(&engine, 1).await;
        pass(SECOND).await;
        let id = ids(&hand)[0];
        let cancelling = tokio::spawn({
            let engine = engine.clone();
            async move { cancel(&engine, id).await }
        });
        pass(SECOND).await;
        hand.hold(None);
        assert_eq!(cancelling.await.expect("it ends"), Cancelled::AtOnce(to()));
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand, id), errors(&hand)), (1, CALLED_OFF, vec![Some(ErrorCode::Connector5xx)]));
        assert_eq!(engine.stats().load.held, 0);
    });
}

/// The engine has asked for it, and the store has not answered.
#[test]
fn what_is_about_to_be_claimed_is_not_sent() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = start(&hand).await;
        publish(&engine, 1).await;
        pass(SECOND).await;
        hand.hold(Some("claim"));
        *hand.status.lock() = 500;
        let first = ids(&hand)[0];
        assert!(engine.retry_deliveries(vec![first], true).await.is_ok());
        pass(SECOND).await;
        assert_eq!(cancel(&engine, first).await, Cancelled::AtOnce(to()), "nobody has claimed it yet");
        hand.hold(None);
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand, first)), (1, CALLED_OFF));
    });
}

/// Nobody knows how the attempt went; whoever takes over does not make another one.
#[test]
fn a_crash_forgets_nothing() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = start(&hand).await;
        *hand.takes.lock() = 86_400 * SECOND;
        publish(&engine, 1).await;
        pass(SECOND).await;
        let id = ids(&hand)[0];
        assert_eq!(cancel(&engine, id).await, Cancelled::AfterAttempt);
        drop(engine);
        let next = start(&hand).await;
        pass(3_600 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand, id), errors(&hand)), (1, CALLED_OFF, vec![Some(ErrorCode::Interrupted)]));
        assert_eq!((next.stats().load.held, cancel(&next, id).await), (0, Cancelled::Ended(StateKind::Cancelled)));
    });
}
