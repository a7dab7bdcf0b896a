//! What publishers are told when the engine stops, and what it leaves behind.

use crate::harness::{Hand, event, pass, run};
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::StoreErrorKind;
use postrider_engine::{Limits, PublishError, Receipt, Retention};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;

type Answer = Result<Receipt, PublishError>;

const SECOND: Duration = Duration::from_secs(1);

/// Publishers whose events the store holds up in four groups of one, and two whose events no group has taken.
async fn six(hand: &Arc<Hand>, engine: &postrider_engine::Engine) -> Vec<JoinHandle<Answer>> {
    hand.hold(Some("publish"));
    let mut publishers = Vec::new();
    for n in 0..6 {
        let engine = engine.clone();
        publishers.push(tokio::spawn(async move { engine.publish(event(n)).await }));
        pass(Duration::from_millis(1)).await;
    }
    publishers
}

#[test]
fn who_is_told_that_nothing_is_stored_can_rely_on_it_and_nobody_is_told_nothing() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let publishers = six(&hand, &engine).await;
        engine.shutdown(SECOND).await;
        let mut answers = Vec::new();
        for publisher in publishers {
            answers.push(tokio::time::timeout(SECOND, publisher).await.expect("everybody is answered").expect("nobody panics"));
        }
        assert!(answers[..4].iter().all(|a| *a == Err(PublishError::Unknown)), "{answers:?}");
        assert!(answers[4..].iter().all(|a| *a == Err(PublishError::Stopping)), "{answers:?}");
        // A closing store writes what waits at its door.
        hand.hold(None);
        pass(SECOND).await;
        assert_eq!(hand.store.dump().events.len(), 4);
        assert_eq!(engine.publish(event(7)).await, Err(PublishError::Stopping));
    });
}

#[test]
fn groups_in_the_hands_of_the_store_are_waited_for() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let publishers = six(&hand, &engine).await;
        let stopping = tokio::spawn(async move { engine.shutdown(SECOND).await });
        pass(2 * SECOND).await;
        hand.hold(None);
        let mut stored = 0;
        for publisher in publishers {
            stored += usize::from(publisher.await.expect("nobody panics").is_ok());
        }
        let report = stopping.await.expect("it ends");
        assert_eq!((stored, hand.store.dump().events.len()), (4, 4));
        assert_eq!(report.given_back, 4, "what was stored after the end came into memory goes back");
        assert!(hand.store.dump().claims.is_empty());
    });
}

#[test]
fn outcomes_that_are_stored_late_leave_no_claim_behind() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        // Their retries are near, and would be kept in memory.
        *hand.status.lock() = 500;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(Some("settle"));
        for n in 0..3 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(SECOND).await;
        assert_eq!(hand.requests(), 3);
        let stopping = tokio::spawn(async move { engine.shutdown(Duration::ZERO).await });
        pass(SECOND).await;
        hand.hold(None);
        let report = stopping.await.expect("it ends");
        assert_eq!((report.cut_off, report.given_back), (0, 3));
        let dump = hand.store.dump();
        assert!(dump.claims.is_empty(), "{:?}", dump.claims);
        assert_eq!(dump.attempts.len(), 3);
    });
}

#[test]
fn an_exchange_that_is_cut_off_is_settled_once() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.takes.lock() = 5 * SECOND;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND).await;
        // The outage ends within the grace.
        hand.fail(Some(("settle", StoreErrorKind::Full)));
        let stopping = tokio::spawn(async move { engine.shutdown(SECOND).await });
        pass(SECOND + SECOND / 2).await;
        hand.fail(None);
        let report = stopping.await.expect("it ends");
        assert_eq!((report.cut_off, report.given_back), (1, 0));
        let dump = hand.store.dump();
        assert!(dump.claims.is_empty());
        assert_eq!(dump.attempts.len(), 1);
        assert!(dump.attempts[0].outcome.is_some(), "its attempt ended as interrupted");
    });
}
