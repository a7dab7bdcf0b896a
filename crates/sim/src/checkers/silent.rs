//! Promise 8: nothing is dropped silently.

use super::Whole;
use crate::Checker::NothingSilent;
use crate::records::CallOutcome;
use crate::world::World;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{State, StateKind};
use postrider_core::event::Event;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::Counters;
use std::collections::{BTreeMap, BTreeSet};

pub(super) fn check(world: &World, whole: &Whole) {
    for event in &whole.dump.events {
        skips_are_recorded(world, whole, event);
    }
    dead_letters(world, whole);
    counters(world, whole);
}

/// Who wanted an event and gets nothing of it is named with the event.
fn skips_are_recorded(world: &World, whole: &Whole, event: &Event) {
    let facts = whole.facts.iter().filter(|f| f.payload == event.payload);
    let mut calls = facts.flat_map(|f| &f.calls);
    let Some(call) = calls.find(|c| c.at == event.created_at && !matches!(c.outcome, CallOutcome::Refused)) else {
        return;
    };
    let skipped = whole.dump.skipped.get(&event.seq).into_iter().flatten();
    let skipped: BTreeSet<SubscriptionId> = skipped.map(|s| s.subscription).collect();
    if skipped != call.skipped {
        let what = format!("event {} records {} skips, {} were due", event.seq, skipped.len(), call.skipped.len());
        world.violated(NothingSilent, what);
    }
    let reached = whole.deliveries_of(event.seq).find(|d| skipped.contains(&d.subscription));
    if let Some(delivery) = reached {
        let what = format!("event {} was skipped for {} and delivered", event.seq, delivery.subscription);
        world.violated(NothingSilent, what);
    }
}

/// What ended without success has a dead letter, what did not has no open one. A replay may keep one, but not beyond a success.
fn dead_letters(world: &World, whole: &Whole) {
    for delivery in &whole.dump.deliveries {
        let letters = whole.dead_letters.get(&delivery.id).map_or(&[][..], Vec::as_slice);
        let open = letters.iter().filter(|l| l.status == DeadLetterStatus::Open).count();
        let reason = delivery.progress.state.reason();
        let has_ended = matches!(delivery.progress.state, State::Failed(_) | State::Expired);
        let newest = letters.iter().max_by_key(|l| (l.status == DeadLetterStatus::Open, l.attempts));
        let right = if has_ended {
            open <= 1 && newest.is_some_and(|l| Some(l.code) == reason && l.attempts == delivery.progress.attempts)
        } else {
            let may_keep = delivery.progress.state != State::Succeeded && whole.replays.keeping.contains(&delivery.id);
            open <= usize::from(may_keep)
        };
        if !right {
            let what = format!("delivery {} is {:?} and has the dead letters {letters:?}", delivery.id, delivery.progress.state);
            world.violated(NothingSilent, what);
        }
    }
}

/// Counters are kept with every write; at the end they are counted anew.
fn counters(world: &World, whole: &Whole) {
    let mut counted: BTreeMap<SubscriptionId, Counters> = BTreeMap::new();
    for delivery in &whole.dump.deliveries {
        let kind: StateKind = delivery.progress.state.kind();
        counted.entry(delivery.subscription).or_default().deliveries[kind as usize] += 1;
    }
    for attempt in whole.attempts.values().flat_map(BTreeMap::values) {
        let counters = counted.entry(attempt.subscription).or_default();
        match &attempt.outcome {
            None => {}
            Some(outcome) if outcome.error.is_none() => counters.attempts_succeeded += 1,
            Some(_) => counters.attempts_failed += 1,
        }
    }
    for letter in whole.dump.dead_letters.iter().filter(|l| l.status == DeadLetterStatus::Open) {
        if let Some(delivery) = whole.deliveries.get(&letter.delivery) {
            counted.entry(delivery.subscription).or_default().dead_letters += 1;
        }
    }
    // Counters go with their subscription.
    for id in whole.subscriptions.keys().filter(|id| !whole.removed.subscriptions.contains_key(id)) {
        let kept = whole.dump.counters.get(id).copied().unwrap_or_default();
        let counted = counted.get(id).copied().unwrap_or_default();
        if kept != counted {
            let what = format!("the counters of {id} are {kept:?}, counted are {counted:?}");
            world.violated(NothingSilent, what);
        }
    }
}
