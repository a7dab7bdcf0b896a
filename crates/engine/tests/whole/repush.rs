//! Earlier events published again, one at once or in batches.

use crate::harness::{BEGINNING, Hand, pass, run};
use crate::items::{binding, destination, of_type, start};
use postrider_core::event::{Event, Namespace, SchemaCheck};
use postrider_core::event_type::EventType;
use postrider_core::ports::*;
use postrider_engine::{Engine, Limits, MAX_PENDING_BATCHES, MAX_RUNNING_BATCHES, NoBatch, NotAgain, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An engine with a binding to `a.b`, and so many delivered events of it, a millisecond apart.
async fn with_events(hand: &Arc<Hand>, count: usize) -> Engine {
    let to = destination(1);
    let engine = start(hand, vec![to.clone()], vec![binding(2, &to, "a.b")]).await;
    for n in 0..count {
        let event = of_type("a.b", &format!("{{\"n\":{n}}}"));
        engine.publish(event).await.expect("stored");
        pass(Duration::from_millis(1)).await;
    }
    pass(10 * SECOND).await;
    assert_eq!(hand.requests(), count);
    hand.received.lock().clear();
    hand.requests.lock().clear();
    engine
}

fn registered(active: bool, schema: Option<&str>) -> ConfigChange {
    ConfigChange::EventType(EventType {
        namespace: None,
        name: "a.b".to_owned(),
        description: String::new(),
        schema: schema.map(Arc::from),
        metadata: Default::default(),
        active,
        created_at: BEGINNING,
        updated_at: BEGINNING,
    })
}

async fn configure(engine: &Engine, change: ConfigChange) {
    engine.edit(|_| Ok::<_, StoreError>((vec![change.clone()], ()))).await.expect("stored");
}

fn events(hand: &Hand) -> Vec<Arc<Event>> {
    hand.store.dump().events
}

async fn prepare(engine: &Engine) -> Batch {
    engine.prepare_repush(EventFilter::default()).await.expect("stored").expect("something matches")
}

async fn find(hand: &Hand, batch: &Batch) -> Batch {
    hand.store.batch(batch.id).await.expect("the model never fails").expect("it is there")
}

/// How it stands, how far it is, and what failed.
async fn stands(hand: &Hand, batch: &Batch) -> (BatchState, u32, u32) {
    let found = find(hand, batch).await;
    (found.state, found.done, found.failed)
}

#[test]
fn an_event_is_published_again_with_everything_but_its_key() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 0).await;
        let first = Publish {
            idempotency_key: Some("key".to_owned()),
            labels: [("l".to_owned(), "1".to_owned())].into(),
            metadata: [("m".to_owned(), "2".to_owned())].into(),
            ttl: Some(60 * SECOND),
            ..of_type("a.b", "{\"n\" : 9007199254740993}")
        };
        engine.publish(first).await.expect("stored");
        configure(&engine, registered(true, Some(r#"{"required": ["x"]}"#))).await;
        pass(SECOND).await;
        let before = events(&hand).remove(0);
        let (receipt, warnings) = engine.publish_again(&before).await.expect("stored");
        assert_eq!(warnings, ["field 'x': is required"], "the schema of now");
        pass(SECOND).await;
        let after = events(&hand).remove(1);
        assert_eq!((after.id, after.created_at), (receipt.id, BEGINNING.after(11 * SECOND)));
        let seq = after.seq;
        let expected = Event { id: after.id, seq, created_at: after.created_at, idempotency_key: None, ..Event::clone(&before) };
        assert_eq!(*after, Event { schema_check: SchemaCheck::Failed, ..expected });
        assert_eq!(hand.requests(), 2);
        configure(&engine, registered(false, None)).await;
        assert_eq!(engine.publish_again(&before).await, Err(NotAgain::Inactive));
        let of_type = |name: &str| Event { event_type: name.into(), ..Event::clone(&before) };
        assert_eq!(engine.publish_again(&of_type("")).await, Err(NotAgain::NoType));
        assert_eq!(engine.publish_again(&of_type("delivery.item.failed")).await, Err(NotAgain::Reserved));
        assert_eq!(events(&hand).len(), 2);
    });
}

#[test]
fn a_batch_publishes_what_was_there_when_it_was_prepared_in_its_order() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 250).await;
        let batch = prepare(&engine).await;
        assert_eq!((batch.total, batch.namespace.clone(), find(&hand, &batch).await), (250, None, batch.clone()));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(100 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Pending, 0, 0), "nobody has started it");
        assert_eq!(engine.start_batch(&batch).await.expect("stored").state, BatchState::Running);
        assert!(matches!(engine.start_batch(&batch).await, Err(NoBatch::Over(_))), "once");
        pass(SECOND / 20).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Running, 100, 0));
        pass(10 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Completed, 250, 0));
        let all = events(&hand);
        let payloads = |of: &[Arc<Event>]| of.iter().map(|event| event.payload.clone()).collect::<Vec<_>>();
        assert_eq!(payloads(&all[251..]), payloads(&all[..250]), "the oldest first");
        assert_eq!(hand.requests(), 251);
        assert!(matches!(engine.cancel_batch(batch.id).await, Err(NoBatch::Over(_))));
    });
}

#[test]
fn a_batch_goes_on_after_a_restart_and_publishes_nothing_twice() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 250).await;
        let batch = prepare(&engine).await;
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND / 20).await;
        engine.shutdown(SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Running, 100, 0));
        let _engine = hand.start(Limits::default(), Retention::default()).await;
        pass(10 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Completed, 250, 0));
        assert_eq!((events(&hand).len(), hand.requests()), (500, 250));
    });
}

#[test]
fn what_cannot_be_published_again_is_counted() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 3).await;
        engine.publish(of_type("c.d", "{}")).await.expect("stored");
        configure(&engine, registered(false, None)).await;
        let batch = prepare(&engine).await;
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Completed, 4, 3));
        let filter = EventFilter { event_type: Some("a.b".to_owned()), ..EventFilter::default() };
        let batch = engine.prepare_repush(filter).await.expect("stored").expect("three match");
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Failed, 3, 3), "nothing was published");
        assert_eq!(events(&hand).len(), 5);
    });
}

#[test]
fn a_store_that_is_away_is_waited_for_and_a_bad_event_passed_over() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 5).await;
        let batch = prepare(&engine).await;
        hand.fail(Some(("advance_batch", StoreErrorKind::OverBudget)));
        engine.start_batch(&batch).await.expect("stored");
        pass(1_000 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Running, 0, 0));
        // Five tries of a whole step within half a minute, then two of its first event.
        hand.fail(Some(("event_by_seq", StoreErrorKind::Internal)));
        while stands(&hand, &batch).await.1 == 0 {
            pass(SECOND / 20).await;
        }
        hand.fail(None);
        pass(100 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Completed, 5, 1));
        assert_eq!(events(&hand).len(), 9);
    });
}

#[test]
fn a_cancelled_batch_stands_still() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 250).await;
        let (batch, other) = (prepare(&engine).await, prepare(&engine).await);
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND / 20).await;
        assert_eq!(engine.cancel_batch(batch.id).await.expect("stored").state, BatchState::Cancelled);
        assert_eq!(engine.cancel_batch(other.id).await.expect("stored").state, BatchState::Cancelled);
        pass(10 * SECOND).await;
        assert_eq!(stands(&hand, &batch).await, (BatchState::Cancelled, 100, 0));
        assert_eq!(events(&hand).len(), 350);
        assert!(matches!(engine.start_batch(&other).await, Err(NoBatch::Over(_))));
    });
}

#[test]
fn batches_are_bounded_in_number_and_in_time() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, 1).await;
        let mut batches = Vec::new();
        for _ in 0..MAX_PENDING_BATCHES {
            batches.push(prepare(&engine).await);
        }
        let refused = engine.prepare_repush(EventFilter::default()).await;
        assert!(matches!(refused, Err(NoBatch::TooMany(_))), "{refused:?}");
        let own = EventFilter { namespace: Some(Namespace::default_namespace()), ..EventFilter::default() };
        assert!(engine.prepare_repush(own).await.expect("stored").is_some(), "each namespace has its own");
        let none = EventFilter { event_type: Some("none".to_owned()), ..EventFilter::default() };
        assert_eq!(engine.prepare_repush(none).await, Ok(None));
        // While the store holds them up they all go on.
        hand.hold(Some("advance_batch"));
        for batch in &batches[..MAX_RUNNING_BATCHES] {
            engine.start_batch(batch).await.expect("stored");
        }
        let late = &batches[MAX_RUNNING_BATCHES];
        assert!(matches!(engine.start_batch(late).await, Err(NoBatch::TooMany(_))));
        hand.hold(None);
        pass(10 * SECOND).await;
        let last = &batches[MAX_RUNNING_BATCHES + 1];
        engine.start_batch(last).await.expect("stored");
        pass(BATCH_MEMORY).await;
        let refused = engine.start_batch(late).await;
        assert!(matches!(refused, Err(NoBatch::Over(_) | NoBatch::Gone)), "{refused:?}");
        prepare(&engine).await;
    });
}

#[test]
fn more_events_than_a_batch_has_are_refused() {
    run(async {
        let hand = Hand::new();
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let most = MAX_BATCH as usize;
        for _ in 0..most / 1_000 {
            engine.publish_all((0..1_000).map(|_| of_type("a.b", "{}")).collect()).await.expect("stored");
        }
        assert_eq!(prepare(&engine).await.total, MAX_BATCH);
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        assert_eq!(engine.prepare_repush(EventFilter::default()).await, Err(NoBatch::TooLarge(u64::from(MAX_BATCH) + 1)));
    });
}
