//! The wall clock is set back while the engine runs.

use crate::harness::{Hand, endpoint, event, pass, run};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::limit::RateLimit;
use postrider_core::ports::ConfigChange;
use postrider_engine::{Limits, Retention};
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// The first gap of the Tasks policy is ten seconds.
#[test]
fn a_retry_that_waits_in_memory_comes_in_time() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.status.lock() = 500;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        engine.publish(event(1)).await.expect("stored");
        pass(2 * SECOND).await;
        assert_eq!(hand.requests(), 1);
        *hand.set_back.lock() = HOUR;
        pass(6 * SECOND).await;
        assert_eq!(hand.requests(), 1, "not before its time");
        pass(4 * SECOND).await;
        assert_eq!(hand.requests(), 2);
    });
}

#[test]
fn a_retry_of_an_exchange_that_was_under_way_comes_in_time() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.status.lock() = 500;
        *hand.takes.lock() = 5 * SECOND;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        engine.publish(event(1)).await.expect("stored");
        pass(2 * SECOND).await;
        *hand.set_back.lock() = HOUR;
        pass(11 * SECOND).await;
        assert_eq!(hand.requests(), 1, "not before its time");
        pass(4 * SECOND).await;
        assert_eq!(hand.requests(), 2);
    });
}

#[test]
fn a_retry_set_right_after_the_clock_was_set_back_does_not_come_too_early() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.status.lock() = 500;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        pass(2 * SECOND + SECOND / 2).await;
        *hand.set_back.lock() = HOUR;
        engine.publish(event(1)).await.expect("stored");
        pass(9 * SECOND).await;
        assert_eq!(hand.requests(), 1, "not before its time");
        pass(3 * SECOND).await;
        assert_eq!(hand.requests(), 2);
    });
}

/// Its retry is in nobody's hand that could move it; it comes late, but by no more than what counts as near.
#[test]
fn a_retry_whose_outcome_was_being_stored_does_not_wait_for_the_clock() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.status.lock() = 500;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(Some("settle"));
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND).await;
        *hand.set_back.lock() = HOUR;
        pass(3 * SECOND).await;
        hand.hold(None);
        pass(61 * SECOND).await;
        assert_eq!(hand.requests(), 2);
    });
}

#[test]
fn a_rate_limit_does_not_wait_for_the_clock() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let limited = Endpoint { rate_limit: Some(RateLimit { interval: 20 * SECOND, burst: 1 }), ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(limited)]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        for n in 0..2 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(SECOND).await;
        *hand.set_back.lock() = HOUR;
        pass(45 * SECOND).await;
        assert_eq!(hand.requests(), 2);
    });
}
