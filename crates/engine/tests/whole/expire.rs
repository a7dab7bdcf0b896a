//! Deliveries that are past their time to live while nobody looks at them.

use crate::harness::{Hand, endpoint, event, pass, run, subscription};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::limit::RateLimit;
use postrider_core::ports::{ConfigChange, StoreError, StoreErrorKind};
use postrider_engine::{Engine, Limits, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// How many deliveries are in each state, but for those that are in none.
fn states(hand: &Hand) -> Vec<(StateKind, usize)> {
    let all: Vec<StateKind> = hand.store.dump().deliveries.iter().map(|delivery| delivery.progress.state.kind()).collect();
    let count = |kind: StateKind| (kind, all.iter().filter(|found| **found == kind).count());
    StateKind::ALL.map(count).into_iter().filter(|(_, n)| *n > 0).collect()
}

async fn publish(engine: &Engine, count: usize, ttl: Duration) {
    for n in 0..count {
        engine.publish(Publish { ttl: Some(ttl), ..event(n) }).await.expect("stored");
    }
}

async fn put(engine: &Engine, endpoint: Endpoint) {
    let change = ConfigChange::Endpoint(endpoint);
    engine.edit(|_| Ok::<_, StoreError>((vec![change.clone()], ()))).await.expect("stored");
}

#[test]
fn what_waits_for_a_disabled_endpoint_expires() {
    run(async {
        let hand = Hand::new();
        let disabled = EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: hand.now() };
        let (endpoint, _) = hand.subscribe(disabled).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        publish(&engine, 600, 60 * SECOND).await;
        publish(&engine, 2, 600 * SECOND).await;
        pass(59 * SECOND).await;
        assert_eq!(states(&hand), [(StateKind::Pending, 602)]);
        pass(3 * SECOND).await;
        assert_eq!(states(&hand), [(StateKind::Pending, 2), (StateKind::Expired, 600)]);
        assert_eq!((engine.stats().load.held, hand.store.dump().dead_letters.len()), (0, 600));
        put(&engine, Endpoint { status: EndpointStatus::Active, ..endpoint }).await;
        pass(SECOND).await;
        assert_eq!((hand.requests(), states(&hand)), (2, vec![(StateKind::Succeeded, 2), (StateKind::Expired, 600)]));
    });
}

#[test]
fn what_waits_for_its_turn_in_memory_expires() {
    run(async {
        let hand = Hand::new();
        // One request in a quarter of an hour.
        let slow = Endpoint { rate_limit: Some(RateLimit { interval: 900 * SECOND, burst: 1 }), ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(slow), ConfigChange::Subscription(subscription())]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        publish(&engine, 5, 30 * SECOND).await;
        publish(&engine, 1, 3_600 * SECOND).await;
        pass(SECOND).await;
        assert_eq!((states(&hand), engine.stats().load.held), (vec![(StateKind::Pending, 5), (StateKind::Succeeded, 1)], 5));
        pass(32 * SECOND).await;
        let expected = [(StateKind::Pending, 1), (StateKind::Succeeded, 1), (StateKind::Expired, 4)];
        assert_eq!((states(&hand), engine.stats().load.held), (expected.to_vec(), 1));
        pass(900 * SECOND).await;
        assert_eq!((hand.requests(), states(&hand)), (2, vec![(StateKind::Succeeded, 2), (StateKind::Expired, 4)]));
    });
}

#[test]
fn a_store_that_is_away_is_asked_again() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Paused { at: hand.now() }).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        publish(&engine, 1, 10 * SECOND).await;
        for verb in ["next_expiry", "claim_expired"] {
            hand.fail(Some((verb, StoreErrorKind::Unavailable)));
            pass(60 * SECOND).await;
            assert_eq!(states(&hand), [(StateKind::Pending, 1)], "{verb}");
        }
        hand.fail(None);
        pass(31 * SECOND).await;
        assert_eq!(states(&hand), [(StateKind::Expired, 1)]);
    });
}

/// Whoever stops an engine does not wait for the next look.
#[test]
fn what_expired_over_a_stop_expires_at_the_next_start() {
    run(async {
        let hand: Arc<Hand> = Hand::new();
        hand.subscribe(EndpointStatus::Paused { at: hand.now() }).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        publish(&engine, 3, 10 * SECOND).await;
        engine.shutdown(SECOND).await;
        pass(100 * SECOND).await;
        assert_eq!(states(&hand), [(StateKind::Pending, 3)]);
        let _engine = hand.start(Limits::default(), Retention::default()).await;
        pass(SECOND).await;
        assert_eq!(states(&hand), [(StateKind::Expired, 3)]);
    });
}
