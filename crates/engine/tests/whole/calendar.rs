//! What depends on the calendar: retention to the hour, retries over the turn of a day.

use crate::harness::{BEGINNING, Hand, endpoint, event, pass, run, subscription};
use postrider_core::delivery::State;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::ConfigChange;
use postrider_core::retry::RetryPolicy;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, Limits, Retention};
use std::sync::Arc;
use std::time::Duration;

const MILLISECOND: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const HOUR: Duration = Duration::from_secs(3_600);

/// Lets time pass until this long after the beginning.
async fn until(hand: &Hand, after: Duration) {
    let now = BEGINNING.after(after);
    pass(now.since(hand.now())).await;
    assert_eq!(hand.now(), now);
}

/// When the attempts began that the store still has, in order.
fn attempts(hand: &Hand) -> Vec<Timestamp> {
    let mut began: Vec<_> = hand.store.dump().attempts.iter().map(|attempt| attempt.started_at).collect();
    began.sort_unstable();
    began
}

async fn start(hand: &Arc<Hand>) -> Engine {
    hand.subscribe(EndpointStatus::Active).await;
    hand.start(Limits::default(), Retention::default()).await
}

/// With the default of 72 h and an upkeep that comes hourly from the start on.
#[test]
fn an_attempt_of_exactly_72_hours_is_kept_and_an_older_one_is_not() {
    run(async {
        let hand = Hand::new();
        let engine = start(&hand).await;
        let (older, exact) = (HOUR - MILLISECOND, HOUR);
        until(&hand, older).await;
        engine.publish(event(1)).await.expect("stored");
        until(&hand, exact).await;
        engine.publish(event(2)).await.expect("stored");
        let both = vec![BEGINNING.after(older), BEGINNING.after(exact)];
        until(&hand, 72 * HOUR + 59 * 60 * SECOND).await;
        assert_eq!(attempts(&hand), both);
        until(&hand, 73 * HOUR + SECOND).await;
        assert_eq!(attempts(&hand), both[1..], "at 73 h the second one is exactly 72 h old");
        until(&hand, 74 * HOUR - SECOND).await;
        assert_eq!(attempts(&hand), both[1..], "upkeep comes hourly");
        until(&hand, 74 * HOUR + SECOND).await;
        assert_eq!(attempts(&hand), []);
        assert_eq!(hand.store.dump().deliveries.len(), 2, "the deliveries have a longer retention");
        assert_eq!(Retention::default().attempts, 72 * HOUR);
    });
}

/// Items stay with their delivery and their event, or go by an age of their own, counted from the last attempt.
#[test]
fn items_are_kept_unless_they_have_an_age() {
    run(async {
        for rows in [None, Some(100 * HOUR)] {
            let hand = Hand::new();
            let items = Subscription { origin: Origin::Items, retry: RetryPolicy::items(), ..subscription() };
            hand.configure(vec![ConfigChange::Endpoint(endpoint(EndpointStatus::Active)), ConfigChange::Subscription(items)]).await;
            let retention = Retention { rows, events: 80 * HOUR, ..Retention::default() };
            let engine = hand.start(Limits::default(), retention).await;
            let began = hand.now();
            let receipt = engine.publish(event(1)).await.expect("stored");
            pass(90 * HOUR).await;
            assert_eq!(attempts(&hand), [began], "beyond the ages of logs and events");
            let delivery = receipt.first_delivery.expect("one").id;
            engine.replay_delivery(delivery, true).await.expect("the model never fails");
            pass(100 * HOUR - SECOND).await;
            assert_eq!((attempts(&hand).len(), attempts(&hand)[0]), (2, began), "all of a delivery's items stay with the last of them");
            pass(2 * HOUR).await;
            let left = (attempts(&hand).len(), hand.store.dump().deliveries.len(), hand.store.dump().events.len());
            assert_eq!(left, if rows.is_some() { (0, 0, 0) } else { (2, 1, 1) });
        }
    });
}

/// Far more than goes into one slice of the upkeep.
#[test]
fn all_that_is_too_old_goes_in_one_round() {
    run(async {
        let hand = Hand::new();
        let engine = start(&hand).await;
        for n in 0..2_500 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(60 * SECOND).await;
        assert_eq!(attempts(&hand).len(), 2_500);
        until(&hand, 73 * HOUR - SECOND).await;
        assert_eq!(attempts(&hand).len(), 2_500);
        until(&hand, 73 * HOUR + 60 * SECOND).await;
        assert_eq!(attempts(&hand).len(), 0);
    });
}

/// Due times compare as instants: a retry that is due on the next day neither waits for a midnight nor comes before its time.
#[test]
fn a_retry_over_midnight_in_utc_comes_when_it_is_due() {
    run(async {
        let hand = Hand::new();
        let engine = start(&hand).await;
        *hand.status.lock() = 500;
        // BEGINNING is 22:13:20.
        let midnight = HOUR + 46 * 60 * SECOND + 40 * SECOND;
        assert_eq!(&BEGINNING.after(midnight).rfc3339(0), "2023-11-15T00:00:00Z");
        let first = midnight - 4 * SECOND;
        until(&hand, first).await;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND).await;
        let due = BEGINNING.after(first + MILLISECOND + 10 * SECOND);
        let state = hand.store.dump().deliveries[0].progress.state;
        assert!(matches!(state, State::Retrying { due_at } if due_at == due), "10 s after the exchange, which took 1 ms: {state:?}");
        until(&hand, midnight + 5 * SECOND).await;
        assert_eq!(attempts(&hand), [BEGINNING.after(first)]);
        *hand.status.lock() = 200;
        until(&hand, midnight + 7 * SECOND).await;
        assert_eq!(attempts(&hand), [BEGINNING.after(first), due]);
        assert_eq!(hand.store.dump().deliveries[0].progress.state, State::Succeeded);
    });
}

/// The same where the engine has let go of the delivery and the store is asked what is due.
#[test]
fn a_far_retry_over_midnight_in_utc_is_found_in_the_store() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let limits = Limits { near: SECOND, ..Limits::default() };
        let engine = hand.start(limits, Retention::default()).await;
        *hand.status.lock() = 500;
        let first = HOUR + 46 * 60 * SECOND + 35 * SECOND;
        until(&hand, first).await;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND).await;
        assert!(hand.store.dump().claims.is_empty(), "the store alone has it");
        *hand.status.lock() = 200;
        until(&hand, first + 10 * SECOND).await;
        assert_eq!(attempts(&hand).len(), 1);
        until(&hand, first + 11 * SECOND).await;
        assert_eq!(attempts(&hand).len(), 2);
        assert_eq!(hand.store.dump().deliveries[0].progress.state, State::Succeeded);
    });
}
