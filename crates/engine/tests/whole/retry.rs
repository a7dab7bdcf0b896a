//! Deliveries that somebody wants tried again, some at once or a batch of them.

use crate::harness::{Hand, pass, run};
use crate::items::{binding, destination, of_type};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::StateKind;
use postrider_core::id::DeliveryId;
use postrider_core::ports::*;
use postrider_core::retry::RetryPolicy;
use postrider_core::subscription::Subscription;
use postrider_engine::{Engine, Limits, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// An engine with a binding to `a.b`, of so many attempts, and so many events of it, to receivers that answer so.
async fn with_events(hand: &Arc<Hand>, limits: Limits, max_attempts: u32, count: usize, status: u16) -> Engine {
    let to = destination(1);
    let bound = binding(2, &to, "a.b");
    let bound = Subscription { retry: RetryPolicy { max_attempts, ..bound.retry.clone() }, ..bound };
    hand.configure(vec![ConfigChange::Endpoint(to), ConfigChange::Subscription(bound)]).await;
    let engine = hand.start(limits, Retention::default()).await;
    *hand.status.lock() = status;
    for n in 0..count {
        let event = Publish { ttl: Some(86_400 * SECOND), ..of_type("a.b", &format!("{{\"n\":{n}}}")) };
        engine.publish(event).await.expect("stored");
    }
    pass(10 * SECOND).await;
    assert_eq!(hand.requests(), count);
    engine
}

fn ids(hand: &Hand) -> Vec<DeliveryId> {
    hand.store.dump().deliveries.iter().map(|delivery| delivery.id).collect()
}

/// How many deliveries are in a state.
fn count(hand: &Hand, kind: StateKind) -> usize {
    hand.store.dump().deliveries.iter().filter(|delivery| delivery.progress.state.kind() == kind).count()
}

async fn find(hand: &Hand, batch: &Batch) -> Batch {
    hand.store.batch(batch.id).await.expect("the model never fails").expect("it is there")
}

#[test]
fn what_waits_for_its_retry_is_tried_at_once_with_all_of_its_attempts() {
    run(async {
        // In the store, and in memory.
        for near in [SECOND, 60 * SECOND] {
            let hand = Hand::new();
            let engine = with_events(&hand, Limits { near, ..Limits::default() }, 3, 3, 500).await;
            assert_eq!(!hand.store.dump().claims.is_empty(), near > 30 * SECOND);
            let all = ids(&hand);
            for round in 2..=5 {
                let answers = engine.retry_deliveries(all.clone(), false).await.expect("the model never fails");
                assert_eq!(answers.iter().filter_map(Retried::waiting).collect::<Vec<_>>(), all);
                pass(SECOND).await;
                assert_eq!(hand.requests(), 3 * round, "more often than the policy allows in one round");
            }
            for delivery in hand.store.dump().deliveries {
                let progress = delivery.progress;
                assert_eq!((progress.attempts, progress.spent, progress.expires_at), (5, 1, None));
            }
        }
    });
}

#[test]
fn what_failed_is_made_again_and_what_succeeded_only_by_force() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, Limits::default(), 1, 2, 500).await;
        let all = ids(&hand);
        assert_eq!((count(&hand, StateKind::Failed), hand.store.dump().dead_letters.len()), (2, 2));
        *hand.status.lock() = 200;
        let answers = engine.retry_deliveries(vec![all[0]], false).await.expect("the model never fails");
        assert!(matches!(answers[..], [Retried::Queued(again)] if again.delivery == all[0]), "{answers:?}");
        pass(SECOND).await;
        assert_eq!((hand.requests(), count(&hand, StateKind::Succeeded), count(&hand, StateKind::Failed)), (3, 1, 1));
        let letters = hand.store.dump().dead_letters;
        let status = |id| letters.iter().find(|letter| letter.delivery == id).map(|letter| letter.status);
        assert_eq!((status(all[0]), status(all[1])), (Some(DeadLetterStatus::Retried(all[0])), Some(DeadLetterStatus::Open)));
        let again = async |force| engine.retry_deliveries(vec![all[0]], force).await.expect("the model never fails");
        assert_eq!(again(false).await, [Retried::Refused(StateKind::Succeeded)]);
        assert!(again(true).await[0].waiting().is_some());
        pass(SECOND).await;
        assert_eq!(hand.requests(), 4);
    });
}

/// An exchange that is under way is not disturbed, and what follows from its failure is what the policy says.
#[test]
fn what_is_being_sent_is_left_alone() {
    run(async {
        let hand = Hand::new();
        *hand.takes.lock() = 5 * SECOND;
        let engine = with_events(&hand, Limits::default(), 3, 0, 500).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let all = ids(&hand);
        let answers = engine.retry_deliveries(all.clone(), false).await.expect("the model never fails");
        assert!(matches!(answers[..], [Retried::Held { state: StateKind::Sending, .. }]), "{answers:?}");
        pass(10 * SECOND).await;
        assert_eq!((hand.requests(), count(&hand, StateKind::Retrying)), (1, 1));
    });
}

#[test]
fn a_batch_tries_again_what_was_there_when_it_was_prepared() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, Limits::default(), 1, 250, 500).await;
        let failed = DeliveryFilter { states: [StateKind::Failed].into(), ..DeliveryFilter::default() };
        let batch = engine.prepare_retry(failed.clone()).await.expect("stored").expect("something matches");
        assert_eq!((batch.kind, batch.total, batch.namespace.clone()), (BatchKind::Retry, 250, None));
        *hand.status.lock() = 200;
        // One goes on by itself before the batch comes to it: it is not sent twice.
        engine.retry_deliveries(vec![ids(&hand)[7]], false).await.expect("the model never fails");
        pass(SECOND).await;
        assert_eq!((hand.requests(), count(&hand, StateKind::Succeeded)), (251, 1), "nobody has started the batch");
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND / 20).await;
        assert_eq!((find(&hand, &batch).await.done, find(&hand, &batch).await.failed), (100, 1));
        engine.shutdown(SECOND).await;
        let _engine = hand.start(Limits::default(), Retention::default()).await;
        pass(10 * SECOND).await;
        let ended = find(&hand, &batch).await;
        assert_eq!((ended.state, ended.done, ended.failed), (BatchState::Completed, 250, 1));
        assert_eq!((hand.requests(), count(&hand, StateKind::Succeeded)), (500, 250));
    });
}

#[test]
fn a_batch_of_what_has_succeeded_has_failed() {
    run(async {
        let hand = Hand::new();
        let engine = with_events(&hand, Limits::default(), 1, 3, 200).await;
        let none = DeliveryFilter { states: [StateKind::Failed].into(), ..DeliveryFilter::default() };
        assert_eq!(engine.prepare_retry(none).await, Ok(None));
        let batch = engine.prepare_retry(DeliveryFilter::default()).await.expect("stored").expect("something matches");
        engine.start_batch(&batch).await.expect("stored");
        pass(SECOND).await;
        let ended = find(&hand, &batch).await;
        assert_eq!((ended.state, ended.failed, hand.requests()), (BatchState::Failed, 3, 3));
    });
}
