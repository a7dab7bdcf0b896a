//! Batches of events and of deliveries, a piece at a time.

use super::{Harness, World};
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// Every field comes back, and so do the events, from any place on. Those that have not ended are listed, oldest first.
pub async fn gives_back_what_was_put<H: Harness>(w: &mut World<H>) {
    let own = Namespace::new("own").expect("a namespace");
    let (large, small, none) = (batch(w, 10_000), Batch { namespace: Some(own), ..batch(w, 1) }, batch(w, 0));
    let numbers: Vec<EventSeq> = (0..10_000).map(|n| EventSeq(n * 1_000_003)).collect();
    put(w, &large, &numbers).await;
    put(w, &small, &[EventSeq(i64::MAX)]).await;
    put(w, &none, &[]).await;
    for _ in 0..2 {
        for batch in [&large, &small, &none] {
            assert_eq!(&find(w, batch.id).await, batch);
        }
        assert_eq!(open(w).await, [large.clone(), small.clone(), none.clone()]);
        for (from, limit) in [(0, 3), (7, 100), (9_999, 100), (10_000, 100), (0, 20_000), (5, 0)] {
            let expected: Vec<_> = numbers.iter().copied().skip(from as usize).take(limit as usize).collect();
            assert_eq!(piece(w, large.id, from, limit).await, expected, "{limit} from {from}");
        }
        assert_eq!((piece(w, small.id, 0, 9).await, piece(w, none.id, 0, 9).await), (vec![EventSeq(i64::MAX)], vec![]));
        w.reopen().await;
    }
    let unknown = BatchId::new(w.make.uuid());
    assert_eq!(w.store().batch(unknown).await, Ok(None));
    assert_eq!(w.store().batch_piece(unknown, 0, 9).await, Ok(None));
}

/// New events come with their deliveries in the moment in which the batch moves on. The last piece ends it, and its events are forgotten.
pub async fn a_piece_is_stored_with_its_events<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let batch = running(w, 3).await;
    let at = w.make.advance_secs(1);
    let event = w.make.event_for(&[route]);
    let delivery = event.deliveries[0].id;
    w.know(&event.deliveries);
    let id = event.id;
    let step = BatchStep { id: batch.id, from: 0, to: 2, work: BatchWork::Publish(vec![event]), failed: 1, at };
    let moved = Batch { done: 2, failed: 1, updated_at: at, ..batch };
    assert_eq!(advance(w, step).await, BatchStepped::Done(moved.clone(), vec![]));
    assert_eq!(find(w, moved.id).await, moved);
    assert_eq!(w.state(delivery).await.kind(), StateKind::Pending);
    assert!(w.store().event_by_id(id, None).await.expect("event_by_id").is_some());
    assert_eq!(w.claim(route.endpoint, at).await.deliveries.len(), 1, "it waits for whoever claims it");
    let last = BatchStep { id: moved.id, from: 2, to: 3, work: BatchWork::none(BatchKind::Repush), failed: 0, at };
    let ended = Batch { done: 3, ..moved }.in_state(BatchState::Completed, at);
    assert_eq!(advance(w, last).await, BatchStepped::Done(ended.clone(), vec![]));
    assert_eq!((find(w, ended.id).await, open(w).await), (ended.clone(), vec![]));
    assert!(piece(w, ended.id, 0, 9).await.is_empty());
}

/// Deliveries come back in their order, from any place on; each is retried in the moment in which the batch moves on, and what the store
/// refuses counts as failed.
pub async fn a_piece_retries_its_deliveries<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (failed, succeeded, claimed) = (w.claimed(route).await, w.claimed(route).await, w.claimed(route).await);
    w.fail(failed).await;
    w.succeed(succeeded).await;
    let ids = vec![failed, succeeded, DeliveryId::new(w.make.uuid()), claimed];
    let entries = BatchEntries::Deliveries(ids.clone());
    let batch = Batch::new(BatchId::new(w.make.uuid()), Some(Namespace::default_namespace()), &entries, w.make.now());
    w.store().put_batch(batch.clone(), entries).await.expect("put_batch");
    w.reopen().await;
    assert_eq!((find(w, batch.id).await, batch.kind, batch.total), (batch.clone(), BatchKind::Retry, 4));
    for (from, limit) in [(0, 9), (1, 2), (3, 9), (4, 9)] {
        let expected = ids.iter().copied().skip(from).take(limit).collect();
        let found = w.store().batch_piece(batch.id, from as u32, limit as u32).await;
        assert_eq!(found, Ok(Some(BatchEntries::Deliveries(expected))));
    }
    assert!(set(w, batch.id, BatchState::Pending, BatchState::Running).await);
    let at = w.make.advance_secs(1);
    let work = BatchWork::Retry(ids[..3].to_vec());
    let step = BatchStep { id: batch.id, from: 0, to: 3, work, failed: 0, at };
    assert_eq!(advance(w, BatchStep { work: BatchWork::none(BatchKind::Repush), ..step.clone() }).await, BatchStepped::Fenced);
    let BatchStepped::Done(moved, answers) = advance(w, step).await else { panic!("the piece comes next") };
    let queued = Retried::Queued(Requeued { delivery: failed, endpoint: route.endpoint, due_at: at });
    assert_eq!(answers, [queued, Retried::Refused(StateKind::Succeeded), Retried::NotFound]);
    assert_eq!((moved.done, moved.failed, moved.state), (3, 2, BatchState::Running));
    assert_eq!((w.state(failed).await.kind(), w.state(succeeded).await.kind()), (StateKind::Pending, StateKind::Succeeded));
    let step = BatchStep { id: batch.id, from: 3, to: 4, work: BatchWork::Retry(vec![claimed]), failed: 0, at };
    let BatchStepped::Done(ended, answers) = advance(w, step).await else { panic!("the piece comes next") };
    // What an engine had before the restart waits for whoever rescues it.
    assert_eq!(answers, [Retried::Held { delivery: claimed, endpoint: route.endpoint, state: StateKind::Pending }]);
    assert_eq!((ended.done, ended.failed, ended.state), (4, 2, BatchState::Completed));
    assert_eq!(w.store().batch_piece(batch.id, 0, 9).await, Ok(Some(BatchEntries::Deliveries(vec![]))));
}

/// Of two who carry a batch on from one place, one does: nothing of the other's piece is stored.
pub async fn a_piece_from_another_place_is_fenced<H: Harness>(w: &mut World<H>) {
    let batch = running(w, 4).await;
    let (mut steps, mut ids) = (Vec::new(), Vec::new());
    for _ in 0..2 {
        let event = w.make.event(0);
        ids.push(event.id);
        let work = BatchWork::Publish(vec![event]);
        steps.push(BatchStep { id: batch.id, from: 0, to: 1, work, failed: 0, at: w.make.now() });
    }
    let (a, b) = tokio::join!(w.store().advance_batch(steps[0].clone()), w.store().advance_batch(steps[1].clone()));
    let is_done = [a, b].map(|answer| matches!(answer.expect("advance_batch"), BatchStepped::Done(..)));
    assert!(is_done[0] != is_done[1], "{is_done:?}");
    for (id, is_done) in ids.into_iter().zip(is_done) {
        assert_eq!(w.store().event_by_id(id, None).await.expect("event_by_id").is_some(), is_done);
    }
    assert_eq!(find(w, batch.id).await.done, 1);
    let unknown = BatchStep { id: BatchId::new(w.make.uuid()), from: 1, ..steps[0].clone() };
    assert_eq!(advance(w, unknown).await, BatchStepped::Fenced);
    let pending = self::batch(w, 1);
    put(w, &pending, &[EventSeq(1)]).await;
    assert_eq!(advance(w, BatchStep { id: pending.id, ..steps[0].clone() }).await, BatchStepped::Fenced);
}

/// A batch is started once, and cancelled before that or while it goes on.
pub async fn is_started_and_cancelled<H: Harness>(w: &mut World<H>) {
    use BatchState::{Cancelled, Completed, Pending, Running};
    let batch = batch(w, 2);
    put(w, &batch, &[EventSeq(1), EventSeq(2)]).await;
    let at = w.make.advance_secs(1);
    for (from, to) in [(Running, Cancelled), (Pending, Completed), (Cancelled, Running)] {
        assert!(!set(w, batch.id, from, to).await, "{from:?} to {to:?}");
    }
    assert!(set(w, batch.id, Pending, Running).await);
    assert!(!set(w, batch.id, Pending, Running).await, "once");
    assert_eq!(find(w, batch.id).await, batch.clone().in_state(Running, at));
    assert!(set(w, batch.id, Running, Cancelled).await);
    assert_eq!(find(w, batch.id).await, batch.clone().in_state(Cancelled, at));
    let step = BatchStep { id: batch.id, from: 0, to: 1, work: BatchWork::none(BatchKind::Repush), failed: 1, at };
    assert_eq!(advance(w, step).await, BatchStepped::Fenced);
    let other = self::batch(w, 1);
    put(w, &other, &[EventSeq(1)]).await;
    assert!(set(w, other.id, Pending, Cancelled).await);
    let unknown = BatchId::new(w.make.uuid());
    assert!(!set(w, unknown, Pending, Running).await);
    assert!(open(w).await.is_empty() && piece(w, batch.id, 0, 9).await.is_empty());
}

/// A batch goes on after a crash where it was.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let batch = running(w, 3).await;
    let event = w.make.event(0);
    let id = event.id;
    let step = BatchStep { id: batch.id, from: 0, to: 1, work: BatchWork::Publish(vec![event]), failed: 0, at: w.make.now() };
    let BatchStepped::Done(moved, _) = advance(w, step).await else { panic!("the piece comes next") };
    w.reopen().await;
    assert_eq!(open(w).await, [moved]);
    assert_eq!(piece(w, batch.id, 1, 9).await.len(), 2);
    assert!(w.store().event_by_id(id, None).await.expect("event_by_id").is_some());
}

/// What ended goes with what else was closed; what was not started goes with the keys of requests; what goes on stays.
pub async fn old_ones_go<H: Harness>(w: &mut World<H>) {
    let (goes_on, ended, waits) = (running(w, 1).await, running(w, 1).await, batch(w, 1));
    put(w, &waits, &[EventSeq(1)]).await;
    let ended_at = w.make.advance_secs(1);
    assert!(set(w, ended.id, BatchState::Running, BatchState::Cancelled).await);
    let later = w.make.advance_secs(1);
    let never = super::prune::before(Timestamp::MIN);
    let at_the_cutoff = PruneRequest { closed_before: ended_at, requests_before: waits.created_at, ..never };
    assert_eq!(w.prune(at_the_cutoff).await, Pruned::default());
    assert_eq!(w.prune(PruneRequest { requests_before: later, ..never }).await, Pruned { closed: 1, ..Pruned::default() });
    assert_eq!((w.store().batch(waits.id).await, open(w).await), (Ok(None), vec![goes_on]));
    assert_eq!(w.prune(PruneRequest { closed_before: later, ..never }).await, Pruned { closed: 1, ..Pruned::default() });
    assert_eq!(w.store().batch(ended.id).await, Ok(None));
}

fn batch<H: Harness>(w: &mut World<H>, total: u32) -> Batch {
    let entries = BatchEntries::Events((1..=i64::from(total)).map(EventSeq).collect());
    Batch::new(BatchId::new(w.make.uuid()), None, &entries, w.make.now())
}

/// A batch of so many events that somebody has started.
async fn running<H: Harness>(w: &mut World<H>, total: u32) -> Batch {
    let batch = batch(w, total);
    let events: Vec<_> = (1..=i64::from(total)).map(EventSeq).collect();
    put(w, &batch, &events).await;
    assert!(set(w, batch.id, BatchState::Pending, BatchState::Running).await);
    batch.in_state(BatchState::Running, w.make.now())
}

async fn put<H: Harness>(w: &World<H>, batch: &Batch, events: &[EventSeq]) {
    w.store().put_batch(batch.clone(), BatchEntries::Events(events.to_vec())).await.expect("put_batch");
}

async fn find<H: Harness>(w: &World<H>, id: BatchId) -> Batch {
    w.store().batch(id).await.expect("batch").expect("it is there")
}

async fn open<H: Harness>(w: &World<H>) -> Vec<Batch> {
    w.store().open_batches().await.expect("open_batches")
}

async fn piece<H: Harness>(w: &World<H>, id: BatchId, from: u32, limit: u32) -> Vec<EventSeq> {
    match w.store().batch_piece(id, from, limit).await.expect("batch_piece") {
        Some(BatchEntries::Events(events)) => events,
        other => panic!("it is a batch of events, but: {other:?}"),
    }
}

async fn set<H: Harness>(w: &World<H>, id: BatchId, from: BatchState, to: BatchState) -> bool {
    w.store().set_batch_state(id, from, to, w.make.now()).await.expect("set_batch_state")
}

async fn advance<H: Harness>(w: &World<H>, step: BatchStep) -> BatchStepped {
    w.store().advance_batch(step).await.expect("advance_batch")
}
