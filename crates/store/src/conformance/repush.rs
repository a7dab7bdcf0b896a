//! Events to be published again, a piece at a time.

use super::{Harness, World};
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// Every field comes back, and so do the events, from any place on. Those that have not ended are listed, oldest first.
pub async fn gives_back_what_was_put<H: Harness>(w: &mut World<H>) {
    let own = Namespace::new("own").expect("a namespace");
    let (large, small, none) = (batch(w, 10_000), Repush { namespace: Some(own), ..batch(w, 1) }, batch(w, 0));
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
    let unknown = RepushId::new(w.make.uuid());
    assert_eq!(w.store().repush(unknown).await, Ok(None));
    assert!(piece(w, unknown, 0, 9).await.is_empty());
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
    let step = RepushStep { id: batch.id, from: 0, to: 2, events: vec![event], failed: 1, at };
    let moved = Repush { done: 2, failed: 1, updated_at: at, ..batch };
    assert_eq!(advance(w, step).await, Repushed::Done(moved.clone()));
    assert_eq!(find(w, moved.id).await, moved);
    assert_eq!(w.state(delivery).await.kind(), StateKind::Pending);
    assert!(w.store().event_by_id(id, None).await.expect("event_by_id").is_some());
    assert_eq!(w.claim(route.endpoint, at).await.deliveries.len(), 1, "it waits for whoever claims it");
    let last = RepushStep { id: moved.id, from: 2, to: 3, events: Vec::new(), failed: 0, at };
    let ended = Repush { done: 3, ..moved }.in_state(RepushState::Completed, at);
    assert_eq!(advance(w, last).await, Repushed::Done(ended.clone()));
    assert_eq!((find(w, ended.id).await, open(w).await), (ended.clone(), vec![]));
    assert!(piece(w, ended.id, 0, 9).await.is_empty());
}

/// Of two who carry a batch on from one place, one does: nothing of the other's piece is stored.
pub async fn a_piece_from_another_place_is_fenced<H: Harness>(w: &mut World<H>) {
    let batch = running(w, 4).await;
    let mut steps = Vec::new();
    for _ in 0..2 {
        let events = vec![w.make.event(0)];
        steps.push(RepushStep { id: batch.id, from: 0, to: 1, events, failed: 0, at: w.make.now() });
    }
    let ids = [steps[0].events[0].id, steps[1].events[0].id];
    let (a, b) = tokio::join!(w.store().advance_repush(steps[0].clone()), w.store().advance_repush(steps[1].clone()));
    let is_done = [a, b].map(|answer| matches!(answer.expect("advance_repush"), Repushed::Done(_)));
    assert!(is_done[0] != is_done[1], "{is_done:?}");
    for (id, is_done) in ids.into_iter().zip(is_done) {
        assert_eq!(w.store().event_by_id(id, None).await.expect("event_by_id").is_some(), is_done);
    }
    assert_eq!(find(w, batch.id).await.done, 1);
    let unknown = RepushStep { id: RepushId::new(w.make.uuid()), from: 1, ..steps[0].clone() };
    assert_eq!(advance(w, unknown).await, Repushed::Fenced);
    let pending = self::batch(w, 1);
    put(w, &pending, &[EventSeq(1)]).await;
    assert_eq!(advance(w, RepushStep { id: pending.id, ..steps[0].clone() }).await, Repushed::Fenced);
}

/// A batch is started once, and cancelled before that or while it goes on.
pub async fn is_started_and_cancelled<H: Harness>(w: &mut World<H>) {
    use RepushState::{Cancelled, Completed, Pending, Running};
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
    let step = RepushStep { id: batch.id, from: 0, to: 1, events: Vec::new(), failed: 1, at };
    assert_eq!(advance(w, step).await, Repushed::Fenced);
    let other = self::batch(w, 1);
    put(w, &other, &[EventSeq(1)]).await;
    assert!(set(w, other.id, Pending, Cancelled).await);
    let unknown = RepushId::new(w.make.uuid());
    assert!(!set(w, unknown, Pending, Running).await);
    assert!(open(w).await.is_empty() && piece(w, batch.id, 0, 9).await.is_empty());
}

/// A batch goes on after a crash where it was.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let batch = running(w, 3).await;
    let event = w.make.event(0);
    let id = event.id;
    let step = RepushStep { id: batch.id, from: 0, to: 1, events: vec![event], failed: 0, at: w.make.now() };
    let Repushed::Done(moved) = advance(w, step).await else { panic!("the piece comes next") };
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
    assert!(set(w, ended.id, RepushState::Running, RepushState::Cancelled).await);
    let later = w.make.advance_secs(1);
    let never = super::prune::before(Timestamp::MIN);
    let at_the_cutoff = PruneRequest { closed_before: ended_at, requests_before: waits.created_at, ..never };
    assert_eq!(w.prune(at_the_cutoff).await, Pruned::default());
    assert_eq!(w.prune(PruneRequest { requests_before: later, ..never }).await, Pruned { closed: 1, ..Pruned::default() });
    assert_eq!((w.store().repush(waits.id).await, open(w).await), (Ok(None), vec![goes_on]));
    assert_eq!(w.prune(PruneRequest { closed_before: later, ..never }).await, Pruned { closed: 1, ..Pruned::default() });
    assert_eq!(w.store().repush(ended.id).await, Ok(None));
}

fn batch<H: Harness>(w: &mut World<H>, total: u32) -> Repush {
    let now = w.make.now();
    Repush {
        id: RepushId::new(w.make.uuid()),
        namespace: None,
        state: RepushState::Pending,
        total,
        done: 0,
        failed: 0,
        created_at: now,
        updated_at: now,
        ended_at: None,
    }
}

/// A batch of so many events that somebody has started.
async fn running<H: Harness>(w: &mut World<H>, total: u32) -> Repush {
    let batch = batch(w, total);
    let events: Vec<_> = (1..=i64::from(total)).map(EventSeq).collect();
    put(w, &batch, &events).await;
    assert!(set(w, batch.id, RepushState::Pending, RepushState::Running).await);
    batch.in_state(RepushState::Running, w.make.now())
}

async fn put<H: Harness>(w: &World<H>, batch: &Repush, events: &[EventSeq]) {
    w.store().put_repush(batch.clone(), events.to_vec()).await.expect("put_repush");
}

async fn find<H: Harness>(w: &World<H>, id: RepushId) -> Repush {
    w.store().repush(id).await.expect("repush").expect("it is there")
}

async fn open<H: Harness>(w: &World<H>) -> Vec<Repush> {
    w.store().open_repushes().await.expect("open_repushes")
}

async fn piece<H: Harness>(w: &World<H>, id: RepushId, from: u32, limit: u32) -> Vec<EventSeq> {
    w.store().repush_piece(id, from, limit).await.expect("repush_piece")
}

async fn set<H: Harness>(w: &World<H>, id: RepushId, from: RepushState, to: RepushState) -> bool {
    w.store().set_repush_state(id, from, to, w.make.now()).await.expect("set_repush_state")
}

async fn advance<H: Harness>(w: &World<H>, step: RepushStep) -> Repushed {
    w.store().advance_repush(step).await.expect("advance_repush")
}
