//! A store that nears its budget: what has ended goes, the oldest first, and never what is still wanted.

use crate::harness::{Hand, event, pass, run};
use crate::items::{binding, destination, of_type, start};
use bytes::Bytes;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::id::EventSeq;
use postrider_core::ports::{Store, StoreErrorKind};
use postrider_engine::{Engine, Publish, PublishError};
use postrider_store::memory::MemoryStore;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// Some forty of the events below, half as many with the requests that are kept of them.
const BUDGET: u64 = 500_000;

fn large(n: usize) -> Publish {
    Publish { event_type: "a.b".into(), payload: Bytes::from(format!("{{\"n\":{n},\"x\":\"{}\"}}", "x".repeat(10_000))), ..event(n) }
}

fn full(answer: Result<postrider_engine::Receipt, PublishError>) -> bool {
    match answer {
        Ok(_) => false,
        Err(PublishError::Store(error)) if error.kind == StoreErrorKind::OverBudget => true,
        Err(other) => panic!("{other}"),
    }
}

async fn used(hand: &Hand) -> u64 {
    hand.store.usage().await.expect("the model never fails").used_bytes * 100 / BUDGET
}

fn numbers(hand: &Hand) -> Vec<i64> {
    hand.store.dump().events.iter().map(|event| event.seq.0).collect()
}

async fn with_destination(hand: &Arc<Hand>, status: EndpointStatus) -> Engine {
    let to = Endpoint { status, ..destination(1) };
    start(hand, vec![to.clone()], vec![binding(2, &to, "a.b")]).await
}

/// As often as it is looked at: nothing is refused, and what stays is the newest.
#[test]
fn what_has_ended_makes_room_for_what_comes() {
    run(async {
        let hand = Hand::over(MemoryStore::with_budget(BUDGET));
        let engine = with_destination(&hand, EndpointStatus::Active).await;
        for n in 0..100 {
            assert!(!full(engine.publish(large(n)).await), "event {n} at {} percent", used(&hand).await);
            pass(10 * SECOND).await;
        }
        let left = numbers(&hand);
        assert!(left.len() < 45 && left.len() > 15, "{left:?}");
        assert_eq!(left, (101 - left.len() as i64..=100).collect::<Vec<_>>(), "the newest ones");
        pass(20 * SECOND).await;
        assert!(used(&hand).await <= 85);
        assert_eq!(hand.requests(), 100);
    });
}

/// A burst fills it faster than it is looked at: the refusal has room made at once.
#[test]
fn a_refused_publish_has_room_made_at_once() {
    run(async {
        let hand = Hand::over(MemoryStore::with_budget(BUDGET));
        let engine = with_destination(&hand, EndpointStatus::Active).await;
        pass(SECOND).await;
        let mut published = 0;
        while !full(engine.publish(large(published)).await) {
            published += 1;
            pass(Duration::from_millis(20)).await;
            assert!(published < 100, "it is never full");
        }
        pass(2 * SECOND).await;
        assert!(used(&hand).await <= 75, "{} percent", used(&hand).await);
        assert!(!full(engine.publish(large(published)).await));
    });
}

/// Bodies go before what they belong to.
#[test]
fn bodies_go_first() {
    run(async {
        let hand = Hand::over(MemoryStore::with_budget(BUDGET));
        // Its items' requests are kept, up to 10 KiB each.
        let engine = with_destination(&hand, EndpointStatus::Active).await;
        for n in 0..19 {
            engine.publish(large(n)).await.expect("there is room");
            pass(SECOND / 10).await;
        }
        assert!(used(&hand).await > 80, "payloads and requests: {} percent", used(&hand).await);
        for n in 0..2 {
            engine.publish(large(n)).await.expect("there is room");
        }
        pass(20 * SECOND).await;
        let dump = hand.store.dump();
        assert_eq!((dump.events.len(), dump.attempts.len()), (21, 21));
        let kept: Vec<bool> = dump.attempts.iter().map(|a| a.outcome.as_ref().is_some_and(|o| o.request_body.is_some())).collect();
        assert!(!kept[0] && used(&hand).await <= 75, "{kept:?}, {} percent", used(&hand).await);
    });
}

/// Full of what waits: nothing of that is removed, publishers are refused, and once it was delivered they are not.
#[test]
fn what_waits_and_open_dead_letters_stay() {
    run(async {
        let hand = Hand::over(MemoryStore::with_budget(BUDGET));
        let engine = with_destination(&hand, EndpointStatus::Active).await;
        *hand.status.lock() = 404;
        for n in 0..5 {
            engine.publish(large(n)).await.expect("there is room");
        }
        pass(SECOND).await;
        *hand.status.lock() = 500;
        let mut published = 5;
        while !full(engine.publish(large(published)).await) {
            published += 1;
            pass(Duration::from_millis(20)).await;
            assert!(published < 100, "it is never full");
        }
        pass(60 * SECOND).await;
        // Of attempts the bodies go, and what comes in their place waits too.
        while !full(engine.publish(large(published)).await) {
            published += 1;
            assert!(published < 100, "it is never full");
        }
        pass(SECOND).await;
        let dump = hand.store.dump();
        assert_eq!((dump.events.len(), dump.deliveries.len()), (published, published), "it is all wanted");
        let open = || hand.store.dump().dead_letters.iter().filter(|l| l.status == DeadLetterStatus::Open).count();
        assert_eq!(open(), 5);
        let looked = hand.verbs("prune");
        for _ in 0..50 {
            assert!(full(engine.publish(large(published)).await));
        }
        pass(SECOND).await;
        assert_eq!(hand.verbs("prune"), looked, "to be asked again and again makes no room");
        *hand.status.lock() = 200;
        pass(40_000 * SECOND).await;
        let left = hand.store.dump();
        assert!(left.deliveries.iter().all(|d| d.progress.state.kind() != StateKind::Retrying));
        assert!(!full(engine.publish(large(published)).await));
        assert_eq!(open(), 5);
        let first: Vec<EventSeq> = left.events.iter().map(|event| event.seq).take(5).collect();
        assert_eq!(first, (1..=5).map(EventSeq).collect::<Vec<_>>(), "dead letters keep their events");
        assert_eq!(engine.publish(of_type("nobody.wants", "{}")).await.map(|receipt| receipt.duplicate), Ok(false));
    });
}
