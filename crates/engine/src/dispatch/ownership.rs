//! Which endpoints are this engine's to send to, where several share a store.
//!
//! What is somebody else's is neither taken into memory nor sent: what the store has of it is told to the others, and what is in memory all
//! the same (its slot was left a moment ago) goes back there. Exchanges under way go on; whoever has the slot next is told when the last one of
//! an endpoint has ended.

use super::queue::{HELD_WHEN_FAILING, IdleLane};
use super::state::State;
use super::timers::Place;
use postrider_core::id::EndpointId;
use postrider_core::limit::{Gcra, RateLimit};
use postrider_core::ports::{Leaving, Limiters, Slot, SlotSet, TakenSlot};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};

#[cfg(test)]
mod tests;

/// So many endpoints of others are told of one by one; where there are more, the others look at everything.
const TOLD: usize = 4_096;

/// Whose the endpoints are.
#[derive(Debug, Default)]
pub(super) enum Ownership {
    /// Nobody else uses the store: all of them are this engine's.
    #[default]
    Solo,
    /// Those of some slots are.
    Shared(Share),
}

/// What one of several engines has.
#[derive(Debug, Default)]
pub(super) struct Share {
    slots: SlotSet,
    /// Endpoints in its slots with which an engine that had them before still has exchanges under way.
    busy: BTreeSet<EndpointId>,
    /// What is known of limiters in slots that came from others. A queue begins with that whenever it is made: a queue that was forgotten had
    /// nothing left that this does not say.
    known: BTreeMap<Slot, Known>,
    /// Endpoints that it has left with exchanges under way.
    leaving: BTreeSet<EndpointId>,
    /// Those of them whose last exchange has ended.
    freed: BTreeSet<EndpointId>,
    /// Whether there are some of which nobody was told to tell yet.
    newly_freed: bool,
    /// No exchange is under way any more, whatever the queues say.
    is_over: bool,
    /// Endpoints of others for which something was stored.
    due: BTreeSet<EndpointId>,
    /// There were more of them than are told of.
    more_due: bool,
}

/// What is known of the limiters in a slot.
#[derive(Debug)]
enum Known {
    /// All of them may have been used up then.
    EmptyAt(Timestamp),
    /// These were not full.
    Of(BTreeMap<EndpointId, Gcra>),
}

/// What is to be told of endpoints of others.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct ToTell {
    /// These have something in the store.
    pub(crate) due: Vec<EndpointId>,
    /// And others.
    pub(crate) more: bool,
}

fn slot_of(endpoint: EndpointId) -> Slot {
    Slot::of(endpoint.uuid())
}

impl Known {
    fn new(limiters: Limiters, now: Timestamp) -> Self {
        match limiters {
            Limiters::Full => Known::Of(BTreeMap::new()),
            Limiters::Unknown => Known::EmptyAt(now),
            Limiters::Known(some) => Known::Of(some.into_iter().map(|(id, span)| (id, Gcra::full_after(now, span))).collect()),
        }
    }

    fn limiter(&self, endpoint: EndpointId, rate: Option<RateLimit>) -> Gcra {
        match self {
            Known::EmptyAt(at) => rate.map_or_else(Gcra::default, |rate| Gcra::empty(rate, *at)),
            Known::Of(some) => some.get(&endpoint).cloned().unwrap_or_default(),
        }
    }
}

impl Ownership {
    /// Of an engine that shares its store and has nothing of it yet.
    pub(super) fn shared() -> Self {
        Ownership::Shared(Share::default())
    }

    fn share(&mut self) -> Option<&mut Share> {
        if let Ownership::Shared(share) = self { Some(share) } else { None }
    }

    /// The slots that it has.
    pub(super) fn slots(&self) -> SlotSet {
        if let Ownership::Shared(share) = self { share.slots } else { SlotSet::ALL }
    }

    pub(super) fn owns(&self, endpoint: EndpointId) -> bool {
        match self {
            Ownership::Solo => true,
            Ownership::Shared(share) => share.slots.contains(slot_of(endpoint)),
        }
    }

    /// Whether somebody else still has exchanges with it under way.
    pub(super) fn is_busy_elsewhere(&self, endpoint: EndpointId) -> bool {
        if let Ownership::Shared(share) = self { share.busy.contains(&endpoint) } else { false }
    }

    /// The limiter with which a queue begins.
    pub(super) fn limiter(&self, endpoint: EndpointId, rate: Option<RateLimit>) -> Gcra {
        match self {
            Ownership::Solo => Gcra::default(),
            Ownership::Shared(share) => {
                share.known.get(&slot_of(endpoint)).map_or_else(Gcra::default, |known| known.limiter(endpoint, rate))
            }
        }
    }

    /// The store has something for an endpoint of somebody else's.
    pub(super) fn note_due(&mut self, endpoint: EndpointId) {
        if let Some(share) = self.share() {
            if share.due.len() < TOLD {
                share.due.insert(endpoint);
            } else {
                share.more_due |= !share.due.contains(&endpoint);
            }
        }
    }

    /// Whether there is something to tell.
    pub(super) fn has_to_tell(&self) -> bool {
        if let Ownership::Shared(share) = self { !share.due.is_empty() } else { false }
    }

    /// What is to be told: once.
    pub(super) fn take_untold(&mut self) -> ToTell {
        let told = |share: &mut Share| ToTell {
            due: std::mem::take(&mut share.due).into_iter().collect(),
            more: std::mem::take(&mut share.more_due),
        };
        self.share().map(told).unwrap_or_default()
    }

    /// The last exchange with an endpoint has ended.
    pub(super) fn ended(&mut self, endpoint: EndpointId) {
        if let Some(share) = self.share()
            && share.leaving.remove(&endpoint)
        {
            share.newly_freed |= share.freed.insert(endpoint);
        }
    }

    /// Whether it has left this endpoint and still has exchanges with it under way.
    pub(super) fn is_leaving(&self, endpoint: EndpointId) -> bool {
        if let Ownership::Shared(share) = self { share.leaving.contains(&endpoint) } else { false }
    }

    /// Whether there are endpoints that others wait for no longer, and there were none when this was last asked: whoever tells of them is woken once.
    pub(super) fn take_newly_freed(&mut self) -> bool {
        self.share().is_some_and(|share| std::mem::take(&mut share.newly_freed) && !share.freed.is_empty())
    }

    /// The endpoints that others need not wait for any longer.
    pub(super) fn take_freed(&mut self) -> Vec<EndpointId> {
        self.share().map(|share| std::mem::take(&mut share.freed).into_iter().collect()).unwrap_or_default()
    }

    /// Others could not be told that they need not wait for these. One with which it has exchanges again is told of when these end.
    pub(super) fn still_freed(&mut self, endpoints: Vec<EndpointId>) {
        if let Some(share) = self.share() {
            let Share { leaving, freed, .. } = share;
            freed.extend(endpoints.into_iter().filter(|endpoint| !leaving.contains(endpoint)));
        }
    }

    /// Nothing is under way any more with any endpoint, and nothing will be: exchanges that were cut off are not counted down.
    pub(super) fn all_ended(&mut self) {
        if let Some(share) = self.share() {
            share.is_over = true;
            share.freed.append(&mut share.leaving);
        }
    }

    /// Forgets what is known of limiters that are full by now.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        let Some(share) = self.share() else { return };
        for known in share.known.values_mut() {
            if let Known::Of(some) = known {
                some.retain(|_, limiter| limiter.full_in(now).is_some());
            }
        }
    }
}

impl State {
    /// These slots are this engine's from now on. `busy` are all of its endpoints that somebody else has exchanges with.
    pub(super) fn own(&mut self, taken: Vec<TakenSlot>, busy: BTreeSet<EndpointId>, now: Timestamp) {
        let Some(share) = self.ownership.share() else { return };
        let slots: SlotSet = taken.iter().map(|taken| taken.slot).collect();
        for TakenSlot { slot, limiters } in taken {
            share.slots.insert(slot);
            share.known.insert(slot, Known::new(limiters, now));
        }
        share.leaving.retain(|endpoint| !slots.contains(slot_of(*endpoint)));
        let before = std::mem::replace(&mut share.busy, busy);
        let changed: Vec<EndpointId> = before.symmetric_difference(&share.busy).copied().collect();
        if !slots.is_empty() {
            for (endpoint, queue) in self.queues.iter_mut().filter(|(endpoint, _)| slots.contains(slot_of(**endpoint))) {
                queue.limiter = self.ownership.limiter(*endpoint, queue.rate);
            }
        }
        for endpoint in changed {
            let is_busy = self.ownership.is_busy_elsewhere(endpoint);
            if let Some(queue) = self.queues.get_mut(&endpoint) {
                queue.busy_elsewhere = is_busy;
                self.offer(endpoint);
            }
        }
    }

    /// Endpoints of somebody else's have no turn.
    fn take_out_of_turn(&mut self, is_left: impl Fn(EndpointId) -> bool) {
        let State { ring, sidelined, queues, .. } = self;
        let mut stays = |endpoint: &EndpointId| {
            let goes = is_left(*endpoint);
            if goes && let Some(queue) = queues.get_mut(endpoint) {
                queue.in_ring = false;
            }
            !goes
        };
        ring.retain(&mut stays);
        sidelined.retain(&mut stays);
    }

    /// These slots are not this engine's any more: nothing is sent to their endpoints from now on. Answers those of which there is something in memory;
    /// [`State::give_up`], [`State::give_up_timers`] and [`State::forget_slots`] follow, in this order, each as often as it takes.
    pub(super) fn stop_sending(&mut self, slots: &SlotSet) -> Vec<EndpointId> {
        let is_left = |endpoint: EndpointId| slots.contains(slot_of(endpoint));
        if let Some(share) = self.ownership.share() {
            share.slots = share.slots.without(slots);
            share.busy.retain(|endpoint| !is_left(*endpoint));
        }
        self.take_out_of_turn(is_left);
        let without_queue = self.settings.keys().filter(|endpoint| !self.queues.contains_key(*endpoint));
        self.queues.keys().chain(without_queue).copied().filter(|endpoint| is_left(*endpoint)).collect()
    }

    /// What waits in memory for these endpoints, whose slots were left, goes back to the store, and what was learned about them is forgotten. Adds what
    /// the next one has to know, and the lanes that nobody uses.
    pub(super) fn give_up(&mut self, endpoints: &[EndpointId], now: Timestamp, leaving: &mut Leaving, lanes: &mut Vec<IdleLane>) {
        let is_over = self.ownership.share().is_some_and(|share| share.is_over);
        for endpoint in endpoints {
            let Some(queue) = self.queues.get_mut(endpoint) else {
                // What came with the slot and nobody has asked for since.
                let rate = self.settings.get(endpoint).and_then(|settings| settings.rate);
                let span = rate.and_then(|rate| self.ownership.limiter(*endpoint, Some(rate)).full_in(now));
                leaving.limiters.extend(span.map(|span| (*endpoint, span)));
                continue;
            };
            self.strays.extend(queue.ready.drain(..));
            queue.ready.shrink_to(HELD_WHEN_FAILING);
            (queue.expires_at, queue.stored_due, queue.busy_elsewhere) = (None, None, false);
            self.backlog.remove(*endpoint);
            self.idle -= queue.idle.len();
            lanes.append(&mut queue.idle);
            self.dead -= usize::from(queue.is_dead());
            queue.forget();
            if queue.running > 0
                && !is_over
                && let Some(share) = self.ownership.share()
            {
                share.leaving.insert(*endpoint);
                share.freed.remove(endpoint);
                leaving.busy.push(*endpoint);
            }
            let span = queue.rate.and_then(|_| queue.limiter.full_in(now));
            leaving.limiters.extend(span.map(|span| (*endpoint, span)));
        }
    }

    /// Retries that wait in memory for endpoints in these slots, which were left, go back to the store, as far as up to so many timers behind this place
    /// are theirs; answers where to go on, unless that is the end.
    pub(super) fn give_up_timers(&mut self, slots: &SlotSet, after: Option<Place>, most: usize) -> Option<Place> {
        let (jobs, next) = self.timers.drain_jobs_where(after, most, |endpoint| slots.contains(slot_of(endpoint)));
        self.strays.extend(jobs);
        next
    }

    /// What came with these slots, which were left, is told to whoever has them next.
    pub(super) fn forget_slots(&mut self, slots: &SlotSet) {
        if let Some(share) = self.ownership.share() {
            share.known.retain(|slot, _| !slots.contains(*slot));
        }
    }
}
