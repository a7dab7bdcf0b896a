//! What is done by whoever has its slot, or leads, while that is somebody else.

use super::*;
use crate::items::{binding, destination, of_type};
use postrider_core::id::JobId;
use postrider_core::retry::RetryPolicy;
use postrider_engine::{NewJob, PublishError};

/// An endpoint with bindings of these numbers to `a.b`.
async fn bind(hand: &Hand, numbers: impl Iterator<Item = u128>) {
    let to = destination(1);
    let bindings = numbers.map(|n| ConfigChange::Subscription(binding(n, &to, "a.b")));
    hand.configure([ConfigChange::Endpoint(to.clone())].into_iter().chain(bindings).collect()).await;
}

async fn publish_to_bindings(engine: &Engine, count: usize) {
    for n in 0..count {
        engine.publish(of_type("a.b", &format!("{{\"n\":{n}}}"))).await.expect("stored");
    }
}

/// Both have a slice of it in hand for a moment: one of them is stored.
#[test]
fn a_fan_out_goes_on_where_its_slot_is_and_nobody_gets_anything_twice() {
    run(async {
        const EVENTS: usize = 12;
        let hand = hand();
        bind(&hand, 2..7).await;
        let limits = Limits { fan_out_slice: 2, ..Limits::default() };
        let first = hand.start(limits, Retention::default()).await;
        hand.hold(Some("fan_out"));
        publish_to_bindings(&first, EVENTS).await;
        pass(100 * MILLIS).await;
        let _second = hand.start(limits, Retention::default()).await;
        pass(SECOND).await;
        assert_eq!(hand.verbs("fan_out"), 2, "each has one in hand");
        hand.hold(None);
        pass(10 * SECOND).await;
        let dump = hand.store.dump();
        assert_eq!((dump.deliveries.len(), dump.unfinished_fan_outs.len(), dump.claims.len()), (5 * EVENTS, 0, 0));
        assert_eq!(hand.requests(), 5 * EVENTS);
    });
}

/// It goes over and comes back, at its pace.
#[test]
fn a_bulk_replay_goes_on_where_its_slot_is() {
    run(async {
        const LETTERS: usize = 60;
        let hand = hand();
        let [_, other] = shares().await;
        let id = JobId::new(Uuid::from_u128(numbers_in(other).next().expect("there are many")));
        subscribe(&hand, 1, |to| to).await;
        let (endpoint, retry) = (EndpointId::new(Uuid::from_u128(1)), RetryPolicy { max_attempts: 1, ..RetryPolicy::tasks() });
        hand.configure(vec![ConfigChange::Subscription(Subscription { id: of(1), endpoint, retry, ..subscription() })]).await;
        let first = start(&hand).await;
        *hand.status.lock() = 400;
        publish(&first, 1, LETTERS).await;
        pass(20 * SECOND).await;
        assert_eq!(hand.requests(), LETTERS);
        *hand.status.lock() = 200;
        let filter = DeadLetterFilter::default();
        let new = NewJob { id, namespace: Namespace::default_namespace(), filter, rate: 10 };
        assert_eq!(first.start_job(new).await.expect("stored").matched, LETTERS as u64);
        let job = async || hand.store.job(id).await.expect("the model never fails").expect("it is there");
        pass(SECOND).await;
        let second = start(&hand).await;
        pass(3 * SECOND).await;
        let replayed = job().await.replayed;
        assert!((35..=44).contains(&replayed), "{replayed} in four seconds");
        second.shutdown(SECOND).await;
        pass(5 * SECOND).await;
        let job = job().await;
        assert_eq!((job.state, job.replayed, job.skipped, job.failed), (JobState::Completed, LETTERS as u64, 0, 0));
        assert_eq!((hand.requests(), hand.store.dump().claims.len()), (2 * LETTERS, 0));
    });
}

/// Both have a step of it in hand for a moment: one of them is stored.
#[test]
fn a_batch_goes_on_where_its_slot_is_and_publishes_nothing_twice() {
    run(async {
        const EVENTS: usize = 250;
        let hand = hand();
        let [_, other] = shares().await;
        bind(&hand, 2..3).await;
        let first = start(&hand).await;
        publish_to_bindings(&first, EVENTS).await;
        pass(10 * SECOND).await;
        let prepare = async || first.prepare_repush(EventFilter::default()).await.expect("stored").expect("something matches");
        let mut batch = prepare().await;
        while !other.contains(Slot::of(batch.id.uuid())) {
            batch = prepare().await;
        }
        first.start_batch(&batch).await.expect("stored");
        pass(50 * MILLIS).await;
        assert_eq!(hand.verbs("advance_batch"), 1);
        hand.hold(Some("advance_batch"));
        pass(100 * MILLIS).await;
        let _second = start(&hand).await;
        pass(SECOND).await;
        assert_eq!(hand.verbs("advance_batch"), 3, "each has one in hand");
        hand.hold(None);
        pass(10 * SECOND).await;
        let found = hand.store.batch(batch.id).await.expect("the model never fails").expect("it is there");
        assert_eq!((found.state, found.done, found.failed), (BatchState::Completed, 250, 0));
        assert_eq!((hand.store.dump().events.len(), hand.requests()), (2 * EVENTS, 2 * EVENTS));
    });
}

/// Whoever leads makes room, and would look by itself much later.
#[test]
fn a_publish_that_is_refused_has_room_made_whoever_took_it() {
    run(async {
        const BUDGET: u64 = 500_000;
        let hand = Hand::over(MemoryStore::with_budget(BUDGET).shared());
        bind(&hand, 2..3).await;
        let (first, second) = two(&hand).await;
        let other = if hand.store.slots_of(hand.engine(0)).contains(Slot::LEADER) { second } else { first };
        pass(SECOND).await;
        let large = format!("{{\"x\":\"{}\"}}", "x".repeat(10_000));
        let mut published = 0;
        let refused = loop {
            match other.publish(of_type("a.b", &large)).await {
                Ok(_) => published += 1,
                Err(refused) => break refused,
            }
            pass(20 * MILLIS).await;
            assert!(published < 100, "it is never full");
        };
        assert!(matches!(refused, PublishError::Store(error) if error.kind == StoreErrorKind::OverBudget));
        pass(2 * SECOND).await;
        let used = hand.store.usage().await.expect("the model never fails").used_bytes * 100 / BUDGET;
        assert!(used <= 75, "{used} percent");
        other.publish(of_type("a.b", &large)).await.expect("there is room");
    });
}
