//! Events that outcomes make: each is stored with its outcome, in one piece.

use super::{Harness, World};
use postrider_core::delivery::{State, StateKind};
use postrider_core::event::{SkipReason, Skipped};
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// It has the next number, every field, its unclaimed deliveries, and outlives a restart.
pub async fn is_stored_with_its_outcome<H: Harness>(w: &mut World<H>) {
    let (route, listener, second) = (w.make.route(), w.make.route(), w.make.route());
    let skipped = w.make.route();
    let ids = [w.claimed(route).await, w.claimed(route).await];
    let mut events = Vec::new();
    let mut settlements = Vec::new();
    for id in ids {
        let outcome = w.make.success();
        let settlement = w.settlement(id, State::Succeeded, Some(outcome)).await;
        let event = w.make.event_for(&[listener, second]);
        let skipped = vec![Skipped { subscription: skipped.subscription, reason: SkipReason::EndpointPaused }];
        let event = NewEvent { event_type: "delivery.item.completed".into(), fan_out_after: Some(second.subscription), skipped, ..event };
        events.push(event.clone());
        settlements.push(Settlement { follow_up: Some(Box::new(event)), ..settlement });
    }
    let last = w.view(ids[1]).await.event.seq;
    assert_eq!(w.settle(settlements).await, [Settled::Stored, Settled::Stored]);
    w.reopen().await;
    for (n, event) in (1..).zip(&events) {
        let stored = w.store().event(event.id).await.expect("event").expect("it is there");
        assert_eq!((stored.event.seq.0, &*stored.event.event_type), (last.0 + n, "delivery.item.completed"));
        assert_eq!((&stored.event.payload, &stored.event.namespace), (&event.payload, &event.namespace));
        assert_eq!((stored.deliveries.len(), stored.fan_out_pending, stored.skipped.len()), (2, true, 1));
        assert!(stored.deliveries.iter().all(|d| d.progress.state == State::Pending { due_at: event.created_at }));
    }
    let claimed = w.claim(listener.endpoint, w.make.now()).await.deliveries;
    let claimed: Vec<_> = claimed.into_iter().map(|claimed| claimed.delivery.id).collect();
    assert_eq!(claimed, [events[0].deliveries[0].id, events[1].deliveries[0].id], "unclaimed, and due at once");
    let next = w.make.event(1);
    assert_eq!(w.publish_one(next).await.0, last.0 + 3, "numbers go on behind it");
    assert_eq!(w.counters(second.subscription).await.deliveries[StateKind::Pending as usize], 2);
}

/// What is not settled makes no event, while the others of its batch do.
pub async fn of_what_is_fenced_is_not_stored<H: Harness>(w: &mut World<H>) {
    let (route, listener) = (w.make.route(), w.make.route());
    let (good, free) = (w.claimed(route).await, w.unclaimed(route).await);
    let mut settlements = Vec::new();
    for id in [free, good] {
        let outcome = w.make.success();
        let follow_up = Some(Box::new(w.make.event_for(&[listener])));
        settlements.push(Settlement { follow_up, ..w.settlement(id, State::Succeeded, Some(outcome)).await });
    }
    let again = settlements[1].clone();
    settlements.push(again);
    assert_eq!(w.settle(settlements.clone()).await, [Settled::Fenced, Settled::Stored, Settled::Fenced]);
    let of = |n: usize| settlements[n].follow_up.as_ref().expect("an event").id;
    assert!(w.store().event(of(0)).await.expect("event").is_none());
    assert!(w.store().event(of(1)).await.expect("event").is_some());
    assert_eq!(w.claim(listener.endpoint, Timestamp::MAX).await.deliveries.len(), 1, "once");
}
