//! Promises 1 and 5: acknowledged means durable and scheduled, nothing is stored by halves, and the bytes stay what they are.

use super::Whole;
use crate::Checker::{AcknowledgedIsDurable, BytesAreExact};
use crate::records::{Call, CallOutcome, Fact};
use crate::world::World;
use postrider_core::attempt::{Attempt, Verdict};
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::{Delivery, State};
use postrider_core::error::ErrorCode;
use postrider_core::event::Event;
use postrider_core::id::{DeliveryId, SubscriptionId};
use postrider_core::ports::{Configuration, PruneRequest};
use postrider_core::schedule::ScheduledStatus;
use postrider_store::memory::Dump;
use std::collections::BTreeSet;
use std::time::Duration;

/// A subscription made so shortly after an event may get the later slices of its fan-out (`SKEW` in the engine).
const SKEW: Duration = Duration::from_secs(60);

pub(super) fn check(world: &World, whole: &Whole) {
    for (number, fact) in whole.facts.iter().enumerate() {
        fact_is_kept(world, whole, number, fact);
    }
    for event in whole.events.values() {
        has_an_origin(world, whole, event);
    }
    for delivery in whole.deliveries.values() {
        if let Err(what) = ended_for_a_reason(whole, delivery) {
            let what = format!("delivery {} of {}: {what}", delivery.id, delivery.event);
            world.violated(AcknowledgedIsDurable, what);
        }
    }
    bookings(world, whole);
}

fn fact_is_kept(world: &World, whole: &Whole, number: usize, fact: &Fact) {
    let stored = whole.events_by_payload.get(&fact.payload);
    let stored: Vec<_> = stored.into_iter().flatten().collect();
    let violated = |what: String| world.violated(AcknowledgedIsDurable, format!("fact {number}: {what}"));
    for call in &fact.calls {
        let CallOutcome::Acknowledged(receipt) = &call.outcome else { continue };
        let Some(event) = whole.events_by_id.get(&receipt.id) else {
            return violated(format!("acknowledged as {} and not stored", receipt.id));
        };
        if event.payload != fact.payload {
            return world.violated(BytesAreExact, format!("fact {number} was stored with other bytes"));
        }
        let first = receipt.first_delivery.map(|first| first.id);
        let is_erased = receipt.first_delivery.is_some_and(|first| whole.is_erased(first.subscription));
        if !is_erased && first.is_some_and(|id| whole.deliveries.get(&id).is_none_or(|d| d.event != event.seq)) {
            return violated(format!("its first delivery {first:?} is not one of its deliveries"));
        }
    }
    let told_no = |c: &Call| matches!(c.outcome, CallOutcome::Refused);
    if fact.key.is_none() && fact.calls.iter().all(told_no) && !stored.is_empty() {
        violated("it was refused and is stored".to_owned());
    }
    let forgotten = fact.key.as_ref().is_some_and(|key| whole.removed.events_by_key.contains(&(fact.namespace.clone(), key.clone())));
    if stored.len() > 1 && !forgotten {
        violated(format!("it is stored {} times", stored.len()));
    }
    for event in stored {
        let is_same = event.namespace == fact.namespace
            && event.event_type == fact.event_type
            && event.labels == fact.labels
            && event.idempotency_key == fact.key
            && event.ttl == fact.ttl;
        if !is_same {
            violated(format!("event {} is another one than was published", event.seq));
        }
        match fact.calls.iter().find(|c| c.at == event.created_at) {
            Some(call) => reaches_everybody(world, whole, event, call),
            None => violated(format!("event {} was made at a time when nobody published it", event.seq)),
        }
    }
}

/// Exactly those get it who should: at once, or, of a large fan-out, who is still there when their slice comes.
fn reaches_everybody(world: &World, whole: &Whole, event: &Event, call: &Call) {
    let first_ones = whole.deliveries_of(event.seq).filter(|d| !whole.replays.anew.contains(&d.id));
    let mut reached = BTreeSet::new();
    for delivery in first_ones {
        if !reached.insert(delivery.subscription) {
            let what = format!("event {} has two deliveries for {}", event.seq, delivery.subscription);
            world.violated(AcknowledgedIsDurable, what);
        }
    }
    let is_sliced = call.expected.len() > world.plan.limits.fan_out_slice;
    let is_pending = whole.dump.unfinished_fan_outs.contains_key(&event.seq);
    let missing: Vec<_> = call.expected.difference(&reached).collect();
    let excused = |id: &&&_| whole.is_erased(***id) || is_sliced && (whole.is_gone(***id) || is_pending);
    if let Some(id) = missing.iter().find(|id| !excused(id)) {
        let what = format!("event {} has no delivery for {id}, which wanted it", event.seq);
        world.violated(AcknowledgedIsDurable, what);
    }
    let made_until = event.created_at.after(SKEW);
    let late = |id: &_| is_sliced && whole.subscriptions.get(id).is_some_and(|s| s.created_at <= made_until);
    if let Some(id) = reached.difference(&call.expected).find(|id| !late(id)) {
        let what = format!("event {} has a delivery for {id}, which did not want it", event.seq);
        world.violated(AcknowledgedIsDurable, what);
    }
}

/// Every event is something that somebody published, byte for byte, and requests carry its bytes.
fn has_an_origin(world: &World, whole: &Whole, event: &Event) {
    let is_fact = whole.facts.iter().any(|f| f.payload == event.payload);
    let is_booked = || world.state().bookings.iter().any(|b| b.payload == event.payload);
    if !is_fact && !is_booked() {
        world.violated(BytesAreExact, format!("event {} has bytes that nobody published", event.seq));
    }
    for delivery in whole.deliveries_of(event.seq) {
        for exchange in whole.exchanges_of(delivery.id) {
            if exchange.body != event.payload {
                let what = format!("attempt {} of {} sent other bytes", exchange.number, delivery.id);
                world.violated(BytesAreExact, what);
            }
        }
    }
}

/// Whether a delivery that rests does so because of what its receiver did, or the people.
fn ended_for_a_reason(whole: &Whole, delivery: &Delivery) -> Result<(), String> {
    let progress = delivery.progress;
    let last = || whole.exchanges_of(delivery.id).filter(|e| e.number == progress.attempts).last();
    match progress.state {
        State::Succeeded if !whole.exchanges_of(delivery.id).any(|e| e.is_success()) => {
            Err("succeeded, but its receiver never said so".to_owned())
        }
        State::Failed(ErrorCode::DestinationDisabled) => Ok(()),
        State::Failed(code) => {
            let origin = whole.subscriptions.get(&delivery.subscription).map(|s| s.origin);
            let (Some(origin), Some(exchange)) = (origin, last()) else {
                return Err(format!("failed with {code}, but there was no attempt {}", progress.attempts));
            };
            let Some((_, verdict)) = exchange.verdict(origin) else {
                return Err(format!("failed with {code}, but the last exchange never ended"));
            };
            if verdict.code() != Some(code) {
                return Err(format!("failed with {code}, but the receiver's answer means {verdict:?}"));
            }
            let policy = whole.subscriptions.get(&delivery.subscription).map_or(0, |s| s.retry.max_attempts);
            if matches!(verdict, Verdict::Permanent { .. }) || progress.spent >= policy {
                Ok(())
            } else {
                Err(format!("failed with {code} after {} of {policy} attempts", progress.spent))
            }
        }
        State::Expired => expired_in_time(whole, delivery),
        State::Cancelled(code) if !whole.is_gone(delivery.subscription) => Err(format!("cancelled with {code}, but nothing was deleted")),
        _ => Ok(()),
    }
}

/// It had a time to live, and that was over.
fn expired_in_time(whole: &Whole, delivery: &Delivery) -> Result<(), String> {
    let event = whole.events.get(&delivery.event);
    let Some((event, ttl)) = event.and_then(|e| Some((e, e.ttl?))) else {
        return Err("expired, but it had no time to live".to_owned());
    };
    let until = event.created_at.after(ttl);
    let letters = whole.dead_letters.get(&delivery.id).into_iter().flatten();
    match letters.filter(|l| l.code == ErrorCode::Expired).map(|l| l.failed_at).min() {
        Some(at) if at < until => Err(format!("expired at {at:?}, but was to live until {until:?}")),
        _ => Ok(()),
    }
}

/// Scheduled webhooks that were acknowledged are there, or became exactly one event.
fn bookings(world: &World, whole: &Whole) {
    let bookings = world.state().bookings.clone();
    let rows = || whole.dump.scheduled.iter().chain(&whole.removed.scheduled);
    for booking in bookings {
        let row = rows().find(|r| r.id == booking.id);
        if booking.acknowledged && !booking.taken_back && row.is_none() {
            let what = format!("scheduled webhook {} was acknowledged and is gone", booking.id);
            world.violated(AcknowledgedIsDurable, what);
        }
        let series: Vec<_> = rows().filter(|r| r.payload == booking.payload).collect();
        let pending = series.iter().filter(|r| r.status == ScheduledStatus::Pending).count();
        if pending > 1 {
            let what = format!("the series of {} goes on {pending} times", booking.id);
            world.violated(AcknowledgedIsDurable, what);
        }
        let failed = series.iter().any(|r| r.status == ScheduledStatus::Failed);
        let recurs = series.iter().any(|r| r.recurrence != Default::default());
        if recurs && pending == 0 && !failed && !booking.taken_back {
            let what = format!("the series of {} came to an end", booking.id);
            world.violated(AcknowledgedIsDurable, what);
        }
    }
    let mut fired = BTreeSet::new();
    for event in whole.events.values() {
        let of = event.metadata.get("scheduled_id");
        if of.is_some_and(|id| !fired.insert(id)) {
            let what = format!("a scheduled webhook became an event twice, the second time {}", event.seq);
            world.violated(AcknowledgedIsDurable, what);
        }
    }
}

fn has_bodies(attempt: &Attempt) -> bool {
    attempt.outcome.as_ref().is_some_and(|o| o.request_body.is_some() || !o.response_body.is_empty())
}

/// Deliveries of subscriptions that were deleted: what was left open of them counts as dismissed.
fn orphans(configured: &Configuration, before: &Dump) -> BTreeSet<DeliveryId> {
    let deleted: BTreeSet<_> = configured.subscriptions.iter().filter(|s| s.deleted_at.is_some()).map(|s| s.id).collect();
    before.deliveries.iter().filter(|d| deleted.contains(&d.subscription)).map(|d| d.id).collect()
}

/// Deliveries to erased endpoints that nobody has in memory: they may go, however they stand.
fn erasable(configured: &Configuration, before: &Dump) -> BTreeSet<DeliveryId> {
    let erased: BTreeSet<_> = configured.endpoints.iter().filter(|e| e.is_erased()).map(|e| e.id).collect();
    let of_erased = before.deliveries.iter().filter(|d| erased.contains(&d.endpoint)).map(|d| d.id);
    of_erased.filter(|id| !before.claims.contains_key(id)).collect()
}

/// Attempts that lost their bodies before their time.
fn stripped(request: &PruneRequest, before: &Dump, after: &Dump) -> Vec<String> {
    let had: BTreeSet<_> = before.attempts.iter().filter(|a| has_bodies(a)).map(|a| (a.delivery, a.number)).collect();
    let lost = |a: &&Attempt| had.contains(&(a.delivery, a.number)) && !has_bodies(a) && a.started_at >= request.bodies_before;
    after.attempts.iter().filter(lost).map(|a| format!("the bodies of attempt {} of {}", a.number, a.delivery)).collect()
}

/// The subscriptions whose deliveries keep their rows.
fn keeping(configured: &Configuration) -> BTreeSet<SubscriptionId> {
    configured.subscriptions.iter().filter(|s| s.origin.keeps_rows()).map(|s| s.id).collect()
}

/// Whether an ended delivery has not come of the age at which it may go.
fn is_young(request: &PruneRequest, keeping: &BTreeSet<SubscriptionId>, delivery: &Delivery) -> bool {
    if keeping.contains(&delivery.subscription) {
        delivery.last_attempt_at.unwrap_or(delivery.created_at) >= request.rows_before
    } else {
        delivery.created_at >= request.events_before
    }
}

/// Holds what retention removed against what it may remove, and remembers it.
pub(crate) fn pruned(world: &World, request: PruneRequest, configured: &Configuration, before: Dump, after: &Dump) {
    let (orphans, may_go, keeping) = (orphans(configured, &before), erasable(configured, &before), keeping(configured));
    let events: BTreeSet<_> = after.events.iter().map(|e| e.seq).collect();
    let deliveries: BTreeSet<_> = after.deliveries.iter().map(|d| d.id).collect();
    let attempts: BTreeSet<_> = after.attempts.iter().map(|a| (a.delivery, a.number)).collect();
    let letters: BTreeSet<_> = after.dead_letters.iter().map(|l| l.id).collect();
    let scheduled: BTreeSet<_> = after.scheduled.iter().map(|s| s.id).collect();
    let is_open = |letter: &DeadLetter| {
        let is_doomed = orphans.contains(&letter.delivery) || may_go.contains(&letter.delivery);
        letter.status == DeadLetterStatus::Open && !is_doomed
    };
    let open: BTreeSet<_> = before.dead_letters.iter().filter(|l| is_open(l)).map(|l| l.delivery).collect();
    let mut wrong = stripped(&request, &before, after);
    let was_open: BTreeSet<_> = before.dead_letters.iter().filter(|l| is_open(l)).map(|l| l.id).collect();
    let closed = after.dead_letters.iter().filter(|l| l.status != DeadLetterStatus::Open && was_open.contains(&l.id));
    wrong.extend(closed.map(|l| format!("dead letter {} from the open ones", l.id)));
    let mut state = world.state();
    for event in before.events.into_iter().filter(|e| !events.contains(&e.seq)) {
        let is_wanted = after.deliveries.iter().any(|d| d.event == event.seq);
        if event.created_at >= request.events_before || is_wanted || before.unfinished_fan_outs.contains_key(&event.seq) {
            wrong.push(format!("event {}", event.seq));
        }
        if let Some(key) = &event.idempotency_key {
            state.removed.events_by_key.insert((event.namespace.clone(), key.clone()));
        }
        if before.skipped.contains_key(&event.seq) {
            state.removed.skipped.insert(event.seq);
        }
        state.removed.events.push(event);
    }
    for delivery in before.deliveries.into_iter().filter(|d| !deliveries.contains(&d.id)) {
        let rests = delivery.progress.state.kind().is_resting();
        let is_kept = !rests || is_young(&request, &keeping, &delivery) || open.contains(&delivery.id);
        if is_kept && !may_go.contains(&delivery.id) {
            wrong.push(format!("delivery {} that is {:?}", delivery.id, delivery.progress.state));
        }
        state.removed.deliveries.insert(delivery.id, delivery);
    }
    for attempt in before.attempts.into_iter().filter(|a| !attempts.contains(&(a.delivery, a.number))) {
        let is_old = attempt.started_at < request.attempts_before && !keeping.contains(&attempt.subscription);
        if attempt.outcome.is_none() || (!is_old && deliveries.contains(&attempt.delivery)) {
            wrong.push(format!("attempt {} of {}", attempt.number, attempt.delivery));
        }
        state.removed.attempts.insert((attempt.delivery, attempt.number), attempt);
    }
    for letter in before.dead_letters.into_iter().filter(|l| !letters.contains(&l.id)) {
        if is_open(&letter) {
            wrong.push(format!("open dead letter {}", letter.id));
        }
        state.removed.dead_letters.push(letter);
    }
    for row in before.scheduled.into_iter().filter(|s| !scheduled.contains(&s.id)) {
        if row.status == ScheduledStatus::Pending {
            wrong.push(format!("scheduled webhook {}", row.id));
        }
        state.removed.scheduled.push(row);
    }
    drop(state);
    for what in wrong {
        world.violated(AcknowledgedIsDurable, format!("retention removed {what}"));
    }
}
