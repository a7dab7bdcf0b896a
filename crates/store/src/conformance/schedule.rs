//! Scheduled webhooks.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use std::time::Duration;

/// Every field comes back, and the payload's bytes exactly.
pub async fn gives_back_what_was_stored<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let mut rows = Vec::new();
    for (recurrence, payload) in Recurrence::ALL.into_iter().zip([&b""[..], b"\xff\x00", b"{ }\r\n", b"x"]) {
        let mut row = w.make.scheduled(subscription, now.after(Duration::from_micros(1)));
        row.namespace = Namespace::new("Tenant-1._").expect("a namespace");
        row.payload = Bytes::from_static(payload);
        row.recurrence = recurrence;
        row.anchor = now.before(Duration::from_secs(86_400 * 31));
        row.updated_at = now.after(Duration::from_secs(1));
        rows.push(row);
    }
    schedule(w, rows.clone()).await;
    for row in rows {
        assert_eq!(one(w, row.id).await, Some(row));
    }
    let nobody = ScheduledId::new(w.make.uuid());
    assert_eq!(one(w, nobody).await, None);
}

/// What is to come ascending by due time and id, then what ended descending; of one namespace or subscription if asked; page by page
/// nothing is left out and nothing comes twice.
pub async fn lists_what_is_to_come_first<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route().subscription, w.make.route().subscription);
    let (here, there) = (Namespace::default_namespace(), Namespace::new("there").expect("a namespace"));
    let now = w.make.now();
    let mut rows = Vec::new();
    for (secs, subscription, namespace) in [(9, a, &here), (3, b, &there), (3, a, &here), (7, a, &there), (5, b, &here), (3, a, &here)] {
        let row = w.make.scheduled(subscription, now.after(Duration::from_secs(secs)));
        rows.push(Scheduled { namespace: namespace.clone(), ..row });
    }
    schedule(w, rows.clone()).await;
    rows.sort_by_key(|row| (row.due_at, row.id));
    let ended: Vec<Firing> = rows[..4].iter().map(|row| Firing { id: row.id, event: None, next: None, at: now }).collect();
    assert_eq!(w.fire(ended).await, [Fired::Failed; 4]);
    rows[..4].reverse();
    rows.rotate_left(4);
    let ids = |wanted: &dyn Fn(&Scheduled) -> bool| rows.iter().filter(|row| wanted(row)).map(|row| row.id).collect::<Vec<_>>();
    assert_eq!(list(w, None, None, 10).await, ids(&|_| true));
    assert_eq!(list(w, Some(&here), None, 10).await, ids(&|row| row.namespace == here));
    assert_eq!(list(w, None, Some(b), 10).await, ids(&|row| row.subscription == b));
    assert_eq!(list(w, Some(&there), Some(a), 10).await, ids(&|row| row.namespace == there && row.subscription == a));
    for size in 1..=7 {
        for (namespace, of) in [(None, None), (Some(&here), None), (None, Some(a)), (Some(&here), Some(a))] {
            let (mut request, mut walked) = (PageRequest::first(size), Vec::new());
            loop {
                let page = w.store().scheduled(namespace.cloned(), of, request).await.expect("scheduled");
                assert!(page.items.len() <= size as usize && !page.items.is_empty());
                walked.extend(page.items.iter().map(|row| row.id));
                let Some(next) = page.next else { break };
                request.after = Some(next);
            }
            assert_eq!(walked, list(w, namespace, of, 10).await, "{size} at a time");
        }
    }
}

/// A page ends with the payload that reaches the bytes, and has one occurrence at least.
pub async fn pages_end_at_the_bytes<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let rows: Vec<Scheduled> =
        (0..4).map(|_| Scheduled { payload: Bytes::from_static(b"0123456789"), ..w.make.scheduled(subscription, now) }).collect();
    schedule(w, rows.clone()).await;
    let ended = rows[..2].iter().map(|row| Firing { id: row.id, event: None, next: None, at: now }).collect();
    w.fire(ended).await;
    for (max_bytes, expected) in [(0, 1), (10, 1), (11, 2), (20, 2), (30, 3), (31, 4)] {
        let page = PageRequest { max_bytes, ..PageRequest::first(10) };
        let page = w.store().scheduled(None, None, page).await.expect("scheduled");
        assert_eq!((page.items.len(), page.next.is_some()), (expected, expected < 4), "{max_bytes} bytes");
    }
}

/// What is due by then, from its instant on, oldest first; and when the first one after the answer is due.
pub async fn finds_what_is_due<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let start = w.make.now();
    let at = |secs| start.after(Duration::from_secs(secs));
    let mut rows = Vec::new();
    for secs in [30, 10, 20, 40] {
        rows.push(w.make.scheduled(subscription, at(secs)));
    }
    schedule(w, rows.clone()).await;
    rows.sort_by_key(|row| row.due_at);
    assert_eq!(due(w, at(10).before(Duration::from_micros(1)), 10).await, (vec![], Some(at(10))));
    assert_eq!(due(w, at(10), 10).await, (vec![rows[0].id], Some(at(20))));
    assert_eq!(due(w, at(35), 10).await, (vec![rows[0].id, rows[1].id, rows[2].id], Some(at(40))));
    assert_eq!(due(w, at(35), 1).await, (vec![rows[0].id], Some(at(20))), "the first that was left may be due already");
    assert_eq!(due(w, at(40), 4).await, (rows.iter().map(|row| row.id).collect(), None));
    w.fire(vec![Firing { id: rows[1].id, event: None, next: None, at: at(20) }]).await;
    assert_eq!(due(w, at(20), 10).await, (vec![rows[0].id], Some(at(30))), "what ended is not due");
    let found = w.store().due_scheduled(at(10), 1, u64::MAX).await.expect("due_scheduled");
    assert_eq!(found.due, rows[..1], "whole rows");
}

/// Large payloads come a few at a time, so that a backlog of them does not fill the memory; the rest is due still.
pub async fn stops_at_the_bytes_but_finds_one<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let sized = |row: Scheduled| Scheduled { payload: bytes::Bytes::from(vec![b'x'; 1_000]), ..row };
    let rows: Vec<Scheduled> = (0..4).map(|_| sized(w.make.scheduled(subscription, now))).collect();
    schedule(w, rows.clone()).await;
    for (max_bytes, count) in [(0, 1), (999, 1), (1_000, 1), (1_001, 2), (2_500, 3), (u64::MAX, 4)] {
        let found = w.store().due_scheduled(now, 10, max_bytes).await.expect("due_scheduled");
        assert_eq!(found.due, rows[..count], "{max_bytes} bytes");
        assert_eq!(found.next_due, (count < 4).then_some(now));
    }
}

/// An occurrence is removed once, whatever its status, and never comes back.
pub async fn unschedules<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let (pending, ended) = (w.make.scheduled(subscription, now), w.make.scheduled(subscription, now));
    schedule(w, vec![pending.clone(), ended.clone()]).await;
    w.fire(vec![Firing { id: ended.id, event: None, next: None, at: now }]).await;
    for id in [pending.id, ended.id] {
        assert!(unschedule(w, id).await);
        assert!(!unschedule(w, id).await, "it is gone");
        assert_eq!(one(w, id).await, None);
    }
    assert!(list(w, None, None, 10).await.is_empty());
    assert_eq!(due(w, now, 10).await, (vec![], None));
    let firing = firing(w, pending.id, now);
    assert_eq!(w.fire(vec![firing]).await, [Fired::Gone]);
}

/// Who takes back only what is pending leaves an occurrence that has fired meanwhile.
pub async fn keeps_what_has_fired<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let (pending, fired) = (w.make.scheduled(subscription, now), w.make.scheduled(subscription, now));
    schedule(w, vec![pending.clone(), fired.clone()]).await;
    let fires = firing(w, fired.id, now);
    w.fire(vec![fires]).await;
    let row = one(w, fired.id).await;
    assert!(matches!(row.as_ref().map(|row| &row.status), Some(ScheduledStatus::Completed(_))));
    for (id, expected) in [(pending.id, true), (pending.id, false), (fired.id, false)] {
        assert_eq!(w.store().unschedule(id, true).await, Ok(expected));
    }
    assert_eq!((one(w, pending.id).await, one(w, fired.id).await), (None, row));
}

/// An occurrence becomes one event; a second firing stores nothing.
pub async fn fires_once<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let now = w.make.now();
    let row = w.make.scheduled(route.subscription, now);
    schedule(w, vec![row.clone()]).await;
    let at = w.make.advance_secs(1);
    let first = firing_for(w, row.id, at, route);
    let event = first.event.clone().expect("a firing with an event");
    let answers = w.fire(vec![first]).await;
    let [Fired::Stored(seq)] = answers[..] else { panic!("{answers:?}") };
    let view = w.store().event(event.id).await.expect("event").expect("it is there");
    assert_eq!((view.event.seq, &view.event.payload, view.deliveries.len()), (seq, &event.payload, 1));
    let completed = ScheduledStatus::Completed(event.deliveries[0].id);
    assert_eq!(one(w, row.id).await, Some(Scheduled { status: completed, updated_at: at, ..row.clone() }));

    let again = firing_for(w, row.id, at, route);
    let event = again.event.clone().expect("a firing with an event");
    let next = w.make.scheduled(route.subscription, at);
    assert_eq!(w.fire(vec![Firing { next: Some(next.clone()), ..again }]).await, [Fired::Gone]);
    assert!(w.store().event(event.id).await.expect("event").is_none());
    assert!(w.store().delivery(event.deliveries[0].id).await.expect("delivery").is_none());
    assert_eq!(one(w, next.id).await, None, "no successor either");
    let unknown = ScheduledId::new(w.make.uuid());
    let unknown = firing(w, unknown, at);
    assert_eq!(w.fire(vec![unknown]).await, [Fired::Gone]);
}

/// A batch is answered item by item; an occurrence that comes twice in it fires once.
pub async fn fires_in_a_batch<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let rows: Vec<Scheduled> = (0..2).map(|_| w.make.scheduled(subscription, now)).collect();
    schedule(w, rows.clone()).await;
    let unknown = ScheduledId::new(w.make.uuid());
    let firings = [rows[0].id, unknown, rows[1].id, rows[0].id].map(|id| firing(w, id, now));
    let answers = w.fire(firings.to_vec()).await;
    let [Fired::Stored(a), Fired::Gone, Fired::Stored(b), Fired::Gone] = answers[..] else { panic!("{answers:?}") };
    assert!(a < b);
}

/// Without an event the occurrence fails.
pub async fn fails_without_its_subscription<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let row = w.make.scheduled(subscription, now);
    schedule(w, vec![row.clone()]).await;
    let at = w.make.advance_secs(2);
    assert_eq!(w.fire(vec![Firing { id: row.id, event: None, next: None, at }]).await, [Fired::Failed]);
    assert_eq!(one(w, row.id).await, Some(Scheduled { status: ScheduledStatus::Failed, updated_at: at, ..row.clone() }));
    assert_eq!(w.fire(vec![Firing { id: row.id, event: None, next: None, at }]).await, [Fired::Gone]);
}

/// The successor is there as soon as the occurrence has fired, and pending.
pub async fn the_next_occurrence_comes_with_the_firing<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let row = Scheduled { recurrence: Recurrence::Daily, ..w.make.scheduled(subscription, now) };
    schedule(w, vec![row.clone()]).await;
    let tomorrow = now.after(Duration::from_secs(86_400));
    let next = Scheduled { recurrence: Recurrence::Daily, anchor: row.anchor, ..w.make.scheduled(subscription, tomorrow) };
    let firing = firing(w, row.id, now);
    w.fire(vec![Firing { next: Some(next.clone()), ..firing }]).await;
    assert_eq!(due(w, tomorrow, 10).await, (vec![next.id], None));
    w.reopen().await;
    assert_eq!(one(w, next.id).await, Some(next.clone()));
    assert_eq!(due(w, now, 10).await, (vec![], Some(tomorrow)), "the first does not fire again");
}

/// A fired delivery is one like any other.
pub async fn a_fired_delivery_goes_its_way<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let now = w.make.now();
    let rows = [w.make.scheduled(route.subscription, now), w.make.scheduled(route.subscription, now)];
    schedule(w, rows.to_vec()).await;
    let (mut kept, free) = (firing_for(w, rows[0].id, now, route), firing_for(w, rows[1].id, now, route));
    let id = |firing: &Firing| firing.event.as_ref().map(|event| event.deliveries[0].id).expect("an event with a delivery");
    let (kept_id, free_id) = (id(&kept), id(&free));
    if let Some(event) = &mut kept.event {
        event.deliveries[0].claimed = true;
    }
    w.fire(vec![kept, free]).await;
    w.succeed(kept_id).await;
    let batch = w.claim(route.endpoint, now).await;
    assert_eq!(batch.deliveries.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [free_id]);
    w.fail(free_id).await;
}

/// Occurrences and what became of them outlive a restart.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let rows: Vec<Scheduled> = (0..3).map(|_| w.make.scheduled(subscription, now)).collect();
    schedule(w, rows.clone()).await;
    let fires = firing(w, rows[0].id, now);
    w.fire(vec![fires]).await;
    unschedule(w, rows[1].id).await;
    let fired = one(w, rows[0].id).await;
    w.reopen().await;
    assert_eq!(one(w, rows[0].id).await, fired);
    assert_eq!(one(w, rows[1].id).await, None);
    assert_eq!(due(w, now, 10).await, (vec![rows[2].id], None));
}

/// A firing with an event for a route of its own.
fn firing<H: Harness>(w: &mut World<H>, id: ScheduledId, at: Timestamp) -> Firing {
    let route = w.make.route();
    firing_for(w, id, at, route)
}

fn firing_for<H: Harness>(w: &mut World<H>, id: ScheduledId, at: Timestamp, route: Route) -> Firing {
    Firing { id, event: Some(w.make.event_for(&[route])), next: None, at }
}

async fn schedule<H: Harness>(w: &World<H>, rows: Vec<Scheduled>) {
    w.store().schedule(rows).await.expect("schedule");
}

async fn unschedule<H: Harness>(w: &World<H>, id: ScheduledId) -> bool {
    w.store().unschedule(id, false).await.expect("unschedule")
}

async fn one<H: Harness>(w: &World<H>, id: ScheduledId) -> Option<Scheduled> {
    w.store().scheduled_one(id).await.expect("scheduled_one")
}

async fn list<H: Harness>(w: &World<H>, namespace: Option<&Namespace>, of: Option<SubscriptionId>, limit: u32) -> Vec<ScheduledId> {
    let rows = w.store().scheduled(namespace.cloned(), of, PageRequest::first(limit)).await.expect("scheduled");
    rows.items.into_iter().map(|row| row.id).collect()
}

async fn due<H: Harness>(w: &World<H>, now: Timestamp, limit: u32) -> (Vec<ScheduledId>, Option<Timestamp>) {
    let found = w.store().due_scheduled(now, limit, u64::MAX).await.expect("due_scheduled");
    (found.due.into_iter().map(|row| row.id).collect(), found.next_due)
}
