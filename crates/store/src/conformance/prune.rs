//! Retention: what goes, and what stays whatever its age.

use super::{Harness, Route, World};
use postrider_core::delivery::{State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::schedule::ScheduledStatus;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// As a bound this is before everything: nothing of that kind goes.
const NEVER: Timestamp = Timestamp::MIN;
const LIMIT: u32 = 1_000;

/// What is exactly as old as the bound stays, what is a millisecond older goes.
pub async fn exactly_at_the_cutoff_stays<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (older, event_of_older) = succeeded(w, route).await;
    let closed_older = dismissed(w).await;
    let ended_older = ended(w).await;
    let bare_older = without_deliveries(w).await;
    let cutoff = w.make.advance(Duration::from_millis(1));
    let (exact, event_of_exact) = succeeded(w, route).await;
    let closed_exact = dismissed(w).await;
    let ended_exact = ended(w).await;
    let bare_exact = without_deliveries(w).await;
    w.make.advance_secs(60);

    w.prune(PruneRequest { closed_before: NEVER, events_before: NEVER, ..before(cutoff) }).await;
    assert_eq!((attempts(w, older).await, attempts(w, exact).await), (0, 1));
    w.prune(PruneRequest { events_before: NEVER, ..before(cutoff) }).await;
    assert_eq!((letter_is_there(w, closed_older).await, letter_is_there(w, closed_exact).await), (false, true));
    assert_eq!((occurrence_is_there(w, ended_older).await, occurrence_is_there(w, ended_exact).await), (false, true));
    w.prune(before(cutoff)).await;
    assert_eq!((is_there(w, older).await, is_there(w, exact).await), (false, true));
    assert_eq!((event_is_there(w, event_of_older).await, event_is_there(w, event_of_exact).await), (false, true));
    assert_eq!((event_is_there(w, bare_older).await, event_is_there(w, bare_exact).await), (false, true));
    assert_eq!(attempts(w, exact).await, 1);
}

/// Attempts go first; the delivery stays with its number of attempts, and the totals are of all time.
pub async fn attempts_go_while_their_delivery_stays<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let due_at = w.make.now();
    w.retry(id, due_at, true).await;
    w.make.advance_secs(100);
    w.succeed(id).await;
    let (before_it, counters) = (w.view(id).await, w.counters(route.subscription).await);
    let cutoff = w.make.advance_secs(0);
    let pruned = w.prune(PruneRequest { events_before: NEVER, closed_before: NEVER, ..before(cutoff) }).await;
    assert_eq!((pruned.attempts, pruned.deliveries, pruned.events, pruned.closed), (1, 0, 0, 0), "the first attempt only");
    let after = w.view(id).await;
    assert_eq!(after.attempts, before_it.attempts[1..]);
    let cutoff = w.make.advance_secs(1);
    w.prune(PruneRequest { events_before: NEVER, closed_before: NEVER, ..before(cutoff) }).await;
    let after = w.view(id).await;
    assert_eq!((&after.delivery, after.attempts.len()), (&before_it.delivery, 0));
    assert!(w.store().attempts(route.subscription, 10).await.expect("attempts").is_empty());
    assert_eq!(w.counters(route.subscription).await, counters);
    w.replay(ReplayTarget::Delivery(id), true).await;
    w.succeed(id).await;
    assert_eq!(w.view(id).await.attempts[0].number, 3, "the numbers go on");
}

/// The attempt that is under way is not history yet.
pub async fn an_attempt_under_way_stays<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let open = w.begin(id).await;
    let cutoff = w.make.advance_secs(1_000_000);
    w.prune(before(cutoff)).await;
    w.reopen().await;
    let rescued = w.store().rescue(10).await.expect("rescue");
    assert_eq!(rescued[0].open_attempt.as_ref(), Some(&open));
    w.succeed(id).await;
    assert_eq!(w.view(id).await.attempts[0].id, open.id);
}

/// Nothing that still has to be delivered goes, nor its event, however old, claimed or not.
pub async fn what_is_still_to_be_delivered_stays<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let due_at = w.make.now();
    let (pending, unclaimed) = (w.claimed(route).await, w.unclaimed(other).await);
    let (sending, kept, let_go) = (w.claimed(route).await, w.claimed(route).await, w.claimed(route).await);
    w.begin(sending).await;
    w.retry(kept, due_at, true).await;
    w.retry(let_go, due_at, false).await;
    let (replayed, _) = succeeded(w, route).await;
    w.replay(ReplayTarget::Delivery(replayed), false).await;
    let cutoff = w.make.advance_secs(1_000_000);
    let pruned = w.prune(before(cutoff)).await;
    assert_eq!((pruned.deliveries, pruned.events), (0, 0));
    for id in [pending, unclaimed, sending, kept, let_go, replayed] {
        let view = w.view(id).await;
        assert!(event_is_there(w, view.event.id).await && !view.event.payload.is_empty());
    }
    let ids: Vec<DeliveryId> = w.claim(route.endpoint, cutoff).await.deliveries.into_iter().map(|claimed| claimed.delivery.id).collect();
    assert_eq!(ids, [let_go, replayed]);
    for id in [pending, sending, kept, let_go, replayed] {
        w.succeed(id).await;
    }
}

/// As long as its dead letter is open, a delivery can be replayed: it stays, and so does its event.
pub async fn an_open_dead_letter_keeps_its_delivery_and_event<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    let cutoff = w.make.advance_secs(1_000_000);
    let pruned = w.prune(before(cutoff)).await;
    assert_eq!((pruned.deliveries, pruned.events, pruned.closed), (0, 0, 0));
    let view = w.store().dead_letter(letter).await.expect("dead_letter").expect("it is there");
    assert_eq!(view.delivery.id, id);
    let new = DeliveryId::new(w.make.uuid());
    let answer = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: letter, new }, true).await;
    assert!(matches!(answer, Replayed::Claimed(_)), "{answer:?}");
    w.succeed(new).await;
}

/// Once it is closed, delivery and event go by their own age, and the dead letter is not shown without them.
pub async fn a_closed_dead_letter_keeps_nothing<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (a, b) = (w.claimed(route).await, w.claimed(route).await);
    let (dismissed, retried) = (w.fail(a).await, w.fail(b).await);
    let events = (w.view(a).await.event.id, w.view(b).await.event.id);
    let cutoff = w.make.advance_secs(100);
    w.store().dismiss(vec![dismissed], cutoff).await.expect("dismiss");
    let new = DeliveryId::new(w.make.uuid());
    w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: retried, new }, true).await;
    w.prune(PruneRequest { closed_before: NEVER, ..before(cutoff) }).await;
    assert!(!is_there(w, a).await && !is_there(w, b).await && is_there(w, new).await);
    assert!(!event_is_there(w, events.0).await, "it has no delivery left");
    assert!(event_is_there(w, events.1).await, "the new delivery needs it");
    assert!(!letter_is_there(w, dismissed).await && !letter_is_there(w, retried).await);
    assert!(w.store().dead_letters(route.subscription, false, PageRequest::first(10)).await.expect("dead_letters").items.is_empty());
    w.succeed(new).await;
}

/// Dead letters go by when they were closed and not by when they opened, occurrences by when they ended; pending ones never.
pub async fn closed_things_go_by_when_they_closed<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let now = w.make.now();
    let (a, b) = (w.claimed(route).await, w.claimed(route).await);
    let (early, late) = (w.fail(a).await, w.fail(b).await);
    let rows: Vec<_> = (0..3).map(|_| w.make.scheduled(route.subscription, now)).collect();
    w.store().schedule(rows.clone()).await.expect("schedule");
    let fire = |id, at| Firing { id, event: None, next: None, at };
    w.store().dismiss(vec![early], now).await.expect("dismiss");
    w.fire(vec![fire(rows[0].id, now)]).await;
    let cutoff = w.make.advance_secs(1_000);
    w.store().dismiss(vec![late], cutoff).await.expect("dismiss");
    w.fire(vec![fire(rows[1].id, cutoff)]).await;

    let request = PruneRequest { attempts_before: NEVER, events_before: NEVER, ..before(cutoff) };
    assert_eq!(w.prune(request).await.closed, 2);
    assert_eq!((letter_is_there(w, early).await, letter_is_there(w, late).await), (false, true));
    let there =
        [occurrence_is_there(w, rows[0].id).await, occurrence_is_there(w, rows[1].id).await, occurrence_is_there(w, rows[2].id).await];
    assert_eq!(there, [false, true, true]);
    let cutoff = w.make.advance_secs(1_000);
    assert_eq!(w.prune(PruneRequest { closed_before: cutoff, ..request }).await.closed, 2);
    let pending = w.store().scheduled_one(rows[2].id).await.expect("scheduled_one").expect("it is there");
    assert_eq!(pending.status, ScheduledStatus::Pending);
    assert!(is_there(w, a).await && is_there(w, b).await, "the deliveries go by their own age");
}

/// Ended deliveries go one by one, the event with the last of them.
pub async fn an_event_goes_with_its_last_delivery<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route(), w.make.route());
    let event = w.make.claimed_event_for(&[a, b]);
    let (id, deliveries) = (event.id, [event.deliveries[0].id, event.deliveries[1].id]);
    w.publish_one(event).await;
    w.succeed(deliveries[0]).await;
    let cutoff = w.make.advance_secs(1);
    let pruned = w.prune(before(cutoff)).await;
    assert_eq!((pruned.deliveries, pruned.events), (1, 0));
    let view = w.store().event(id).await.expect("event").expect("it is there");
    assert_eq!(view.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), deliveries[1..]);
    w.succeed(deliveries[1]).await;
    let pruned = w.prune(before(cutoff)).await;
    assert_eq!((pruned.deliveries, pruned.events), (1, 1));
    assert!(!event_is_there(w, id).await);
    assert_eq!(attempts_of(w, b).await, 0, "attempts go with their delivery");
}

/// Nothing keeps an event that nobody got.
pub async fn an_event_without_deliveries_goes<H: Harness>(w: &mut World<H>) {
    let id = without_deliveries(w).await;
    let cutoff = w.make.advance_secs(1);
    assert_eq!(w.prune(PruneRequest { events_before: NEVER, ..before(cutoff) }).await.events, 0);
    assert!(event_is_there(w, id).await);
    assert_eq!(w.prune(before(cutoff)).await.events, 1);
    assert!(!event_is_there(w, id).await);
}

/// Deliveries of it are still to come.
pub async fn an_unfinished_fan_out_keeps_its_event<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let after = w.make.route().subscription;
    let event = NewEvent { fan_out_after: Some(after), ..w.make.claimed_event_for(&[route]) };
    let (id, delivery) = (event.id, event.deliveries[0].id);
    let seq = w.publish_one(event).await;
    w.succeed(delivery).await;
    let cutoff = w.make.advance_secs(1_000);
    let pruned = w.prune(before(cutoff)).await;
    assert_eq!((pruned.deliveries, pruned.events), (1, 0));
    let unfinished = w.store().unfinished_fan_outs(SlotSet::ALL, 10, u64::MAX).await.expect("unfinished_fan_outs");
    assert_eq!((unfinished.len(), unfinished[0].event.id), (1, id));
    let last = w.make.event_for(&[route]);
    let slice = FanOutSlice {
        event: seq,
        namespace: last.namespace,
        created_at: last.created_at,
        from: after,
        deliveries: last.deliveries,
        fan_out_after: None,
    };
    w.fan_out(vec![slice]).await;
    assert_eq!(w.claim(route.endpoint, cutoff).await.deliveries.len(), 1);
    assert!(event_is_there(w, id).await);
}

/// A key is taken as long as its event is there.
pub async fn keys_are_free_again<H: Harness>(w: &mut World<H>) {
    let keyed = |event: NewEvent| NewEvent { idempotency_key: Some("k".to_owned()), ..event };
    let first = keyed(w.make.event(0));
    let seq = w.publish_one(first).await;
    let cutoff = w.make.advance_secs(1);
    w.prune(before(cutoff)).await;
    let second = keyed(w.make.event(0));
    assert!(w.publish_one(second).await > seq);
}

/// Rows that are kept have an age of their own, or none: neither their attempts nor their deliveries and events go with the others'.
pub async fn rows_that_are_kept_have_their_own_age<H: Harness>(w: &mut World<H>) {
    let (keeps, goes) = (w.make.route(), w.make.route());
    let older = keeping(w, keeps).await;
    let mut others = vec![succeeded(w, goes).await];
    let middle = w.make.advance_secs(100);
    let newer = keeping(w, keeps).await;
    others.push(succeeded(w, goes).await);
    let cutoff = w.make.advance_secs(100);
    let pruned = w.prune(PruneRequest { bodies_before: cutoff, ..before(cutoff) }).await;
    assert_eq!((pruned.bodies, pruned.deliveries, pruned.events), (2, 2, 2), "the others were there for a moment only");
    for (id, _) in others {
        assert!(!is_there(w, id).await);
    }
    for (id, event) in [older, newer] {
        assert_eq!(attempts(w, id).await, 1);
        let shown = w.store().event(event).await.expect("event").expect("it is there");
        assert!(!shown.event.payload.is_empty(), "it can be replayed");
    }
    let pruned = w.prune(PruneRequest { rows_before: middle, ..before(cutoff) }).await;
    assert_eq!((pruned.deliveries, pruned.events), (1, 1));
    assert_eq!((is_there(w, older.0).await, is_there(w, newer.0).await), (false, true));
    assert_eq!(attempts_of(w, keeps).await, 1);
    let pruned = w.prune(PruneRequest { rows_before: cutoff, events_before: NEVER, ..before(cutoff) }).await;
    assert_eq!((pruned.deliveries, pruned.events, event_is_there(w, newer.1).await), (1, 0, true), "the event has an age too");
    assert_eq!(w.prune(before(cutoff)).await.events, 1);
}

/// All rows of a delivery go together, when the newest of them is too old, and none as long as its dead letter is open.
pub async fn a_delivery_that_keeps_its_rows_goes_with_the_newest<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (replayed, _) = keeping(w, route).await;
    let failed = claimed_keeping(w, route).await;
    let letter = w.fail(failed).await;
    let cancelled = claimed_keeping(w, route).await;
    let code = postrider_core::error::ErrorCode::SubscriptionDeleted;
    let ends = w.settlement(cancelled, State::Cancelled(code), None).await;
    w.settle_one(Settlement { attempt: None, ..ends }).await;
    let middle = w.make.advance_secs(100);
    w.replay(ReplayTarget::Delivery(replayed), true).await;
    w.succeed(replayed).await;
    let now = w.make.advance_secs(100);
    let rows = |at| PruneRequest { rows_before: at, ..before(now) };
    assert_eq!(w.prune(rows(middle)).await.deliveries, 1, "the one that was never tried");
    assert_eq!((is_there(w, cancelled).await, attempts(w, replayed).await, attempts(w, failed).await), (false, 2, 1));
    assert_eq!(w.prune(rows(now)).await.deliveries, 1);
    assert_eq!((is_there(w, replayed).await, attempts(w, failed).await), (false, 1));
    let new = DeliveryId::new(w.make.uuid());
    w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: letter, new }, true).await;
    w.succeed(new).await;
    let later = w.make.advance_secs(100);
    assert_eq!(w.prune(before(later)).await.deliveries, 0, "what is made of one that keeps its rows does so too");
    assert_eq!(w.prune(PruneRequest { rows_before: later, ..before(later) }).await.deliveries, 2);
}

/// Counters of deliveries are of what is there; totals of attempts are of all time.
pub async fn counters_follow<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    succeeded(w, route).await;
    let failed = w.claimed(route).await;
    w.fail(failed).await;
    let cancelled = w.claimed(route).await;
    let code = postrider_core::error::ErrorCode::SubscriptionDeleted;
    let ends = w.settlement(cancelled, State::Cancelled(code), None).await;
    w.settle_one(Settlement { attempt: None, ..ends }).await;
    let cutoff = w.make.advance_secs(1);
    let (fresh, _) = succeeded(w, route).await;
    w.prune(before(cutoff)).await;
    w.reopen().await;
    let counters = w.counters(route.subscription).await;
    let mut deliveries = [0; 7];
    deliveries[StateKind::Succeeded as usize] = 1;
    deliveries[StateKind::Failed as usize] = 1;
    assert_eq!(counters, Counters { deliveries, attempts_succeeded: 2, attempts_failed: 1, dead_letters: 1 });
    assert!(is_there(w, fresh).await);
}

pub(super) fn before(cutoff: Timestamp) -> PruneRequest {
    PruneRequest {
        attempts_before: cutoff,
        rows_before: NEVER,
        bodies_before: NEVER,
        events_before: cutoff,
        closed_before: cutoff,
        requests_before: cutoff,
        configuration_before: cutoff,
        limit: LIMIT,
    }
}

pub(super) async fn succeeded<H: Harness>(w: &mut World<H>, route: Route) -> (DeliveryId, EventId) {
    let id = w.claimed(route).await;
    w.succeed(id).await;
    (id, w.view(id).await.event.id)
}

/// A claimed delivery that keeps its rows.
async fn claimed_keeping<H: Harness>(w: &mut World<H>, route: Route) -> DeliveryId {
    let mut event = w.make.claimed_event_for(&[route]);
    event.deliveries[0].keeps_rows = true;
    let id = event.deliveries[0].id;
    w.publish_one(event).await;
    id
}

async fn keeping<H: Harness>(w: &mut World<H>, route: Route) -> (DeliveryId, EventId) {
    let id = claimed_keeping(w, route).await;
    w.succeed(id).await;
    (id, w.view(id).await.event.id)
}

async fn without_deliveries<H: Harness>(w: &mut World<H>) -> EventId {
    let event = w.make.event(0);
    let id = event.id;
    w.publish_one(event).await;
    id
}

pub(super) async fn dismissed<H: Harness>(w: &mut World<H>) -> DeadLetterId {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    assert_eq!(w.store().dismiss(vec![letter], w.make.now()).await.expect("dismiss"), [true]);
    letter
}

/// An occurrence that ended now.
pub(super) async fn ended<H: Harness>(w: &mut World<H>) -> ScheduledId {
    let subscription = w.make.route().subscription;
    let now = w.make.now();
    let row = w.make.scheduled(subscription, now);
    let id = row.id;
    w.store().schedule(vec![row]).await.expect("schedule");
    assert_eq!(w.fire(vec![Firing { id, event: None, next: None, at: now }]).await, [Fired::Failed]);
    id
}

pub(super) async fn attempts<H: Harness>(w: &World<H>, id: DeliveryId) -> usize {
    w.view(id).await.attempts.len()
}

async fn attempts_of<H: Harness>(w: &World<H>, route: Route) -> usize {
    w.store().attempts(route.subscription, 100).await.expect("attempts").len()
}

async fn is_there<H: Harness>(w: &World<H>, id: DeliveryId) -> bool {
    w.store().delivery(id).await.expect("delivery").is_some()
}

async fn event_is_there<H: Harness>(w: &World<H>, id: EventId) -> bool {
    w.store().event(id).await.expect("event").is_some()
}

async fn letter_is_there<H: Harness>(w: &World<H>, id: DeadLetterId) -> bool {
    w.store().dead_letter(id).await.expect("dead_letter").is_some()
}

async fn occurrence_is_there<H: Harness>(w: &World<H>, id: ScheduledId) -> bool {
    w.store().scheduled_one(id).await.expect("scheduled_one").is_some()
}
