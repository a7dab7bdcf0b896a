//! Batches of events: one commit, each event its own receipt.

use crate::harness::{Hand, event, run};
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::StoreErrorKind;
use postrider_engine::{Limits, Publish, PublishError, Retention};
use std::time::Duration;

/// More events and deliveries than a group takes of events that come one by one.
const MANY: usize = 5_000;

#[test]
fn a_batch_is_stored_in_one_piece_however_large_it_is() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let before = hand.verbs("publish");
        let events = (0..MANY).map(event).collect();
        let receipts = engine.publish_all(events).await.expect("a batch");
        assert_eq!(hand.verbs("publish") - before, 1);
        assert_eq!(receipts.len(), MANY);
        assert!(receipts.windows(2).all(|two| two[0].seq < two[1].seq), "in their order");
        assert_eq!(engine.publish_all(Vec::new()).await, Ok(Vec::new()));
        engine.shutdown(Duration::from_secs(60)).await;
    });
}

#[test]
fn a_batch_has_its_own_duplicates() {
    run(async {
        let hand = Hand::new();
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let keyed = |n: usize, key: &str| Publish { idempotency_key: Some(key.to_owned()), ..event(n) };
        let first = engine.publish(keyed(0, "a")).await.expect("an event");
        let receipts = engine.publish_all(vec![keyed(1, "b"), keyed(2, "a"), keyed(3, "b")]).await.expect("a batch");
        assert_eq!(receipts.iter().map(|r| r.duplicate).collect::<Vec<_>>(), [false, true, true]);
        assert_eq!((receipts[1].seq, receipts[2].seq), (first.seq, receipts[0].seq));
        engine.shutdown(Duration::from_secs(1)).await;
    });
}

#[test]
fn a_batch_that_the_store_refuses_leaves_nothing() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits { publishing: 3, ..Limits::default() }, Retention::default()).await;
        hand.fail(Some(("publish", StoreErrorKind::Full)));
        let answer = engine.publish_all((0..9).map(event).collect()).await;
        assert!(matches!(answer, Err(PublishError::Store(_))), "{answer:?}");
        hand.fail(None);
        assert!(hand.store.dump().events.is_empty());
        assert_eq!(engine.stats().load.held, 0, "the room is given back");
        engine.shutdown(Duration::from_secs(1)).await;
        assert_eq!(engine.publish_all(vec![event(1)]).await, Err(PublishError::Stopping));
    });
}
