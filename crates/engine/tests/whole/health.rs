//! How healthy endpoints are, over time.

use crate::harness::{Hand, event, pass, run};
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::{HealthStore, StoreErrorKind};
use postrider_engine::{Limits, Retention};
use std::time::Duration;

/// From [`BEGINNING`](crate::harness::BEGINNING), 22:13:20, to the hour in which what happens then does not count any more.
const LEAVES: Duration = Duration::from_secs(24 * 3_600 - 800);

async fn summary(hand: &Hand) -> [u64; 4] {
    hand.store.health_summary(None).await.expect("the model never fails")
}

/// Without any other delivery, within moments, and without being asked all the time.
#[test]
fn what_is_a_day_old_does_not_count_any_more() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        assert_eq!(summary(&hand).await, [1, 0, 0, 0]);
        engine.publish(event(1)).await.expect("stored");
        pass(Duration::from_secs(1)).await;
        assert_eq!(summary(&hand).await, [0, 1, 0, 0]);
        pass(LEAVES - Duration::from_secs(3)).await;
        assert_eq!(summary(&hand).await, [0, 1, 0, 0], "two seconds before");
        hand.fail(Some(("age_health", StoreErrorKind::Unavailable)));
        pass(Duration::from_secs(3)).await;
        assert_eq!(summary(&hand).await, [0, 1, 0, 0], "the store does not answer");
        hand.fail(None);
        pass(Duration::from_secs(30)).await;
        assert_eq!(summary(&hand).await, [1, 0, 0, 0]);
        assert!(hand.verbs("age_health") < 30, "{} looks in 24 hours", hand.verbs("age_health"));
        engine.shutdown(Duration::from_secs(1)).await;
    });
}
