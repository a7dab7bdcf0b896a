//! Room in memory: who may have how many deliveries there, and what comes from the store when there is room again.

use super::Want;
use super::queue::{Blocked, HELD_WHEN_FAILING, Room};
use super::state::State;
use super::timers::Timer;
use crate::job::cost;
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;

/// Deliveries that an endpoint may always have in memory, however full it is, before those with more are preferred.
const FAIR_SHARE: usize = 64;

/// Endpoints asked for in one claim.
const REFILL_BATCH: usize = 64;

/// Deliveries claimed at a time, over all endpoints: some milliseconds of the store's writer.
const REFILL_LIMIT: usize = 1_024;

impl State {
    pub(super) fn reserve(&mut self, endpoint: EndpointId, bytes: usize, now: Timestamp) -> bool {
        if !self.ownership.owns(endpoint) {
            return false;
        }
        let limits = self.limits;
        let (held, held_bytes) = (self.held + self.coming, self.held_bytes + self.coming_bytes + bytes);
        let stopping = self.stopping;
        let queue = self.queue(endpoint);
        // Only what is due already goes first: a retry in an hour holds nobody up.
        let in_order = queue.stored_due.is_none_or(|due| due > now) && queue.refilling.is_none() && queue.blocked != Blocked::Parked;
        let fits = held < limits.held && held_bytes <= limits.held_bytes;
        let fair = queue.held < FAIR_SHARE || (held < limits.held / 2 && held_bytes <= limits.held_bytes / 2);
        let yes = !stopping && in_order && fits && fair && queue.held < queue.room(limits.held_per_endpoint);
        if yes {
            self.add(endpoint, bytes);
        }
        yes
    }

    pub(super) fn add(&mut self, endpoint: EndpointId, bytes: usize) {
        self.queue(endpoint).held += 1;
        self.held += 1;
        self.held_bytes += bytes;
    }

    /// Answers whether the store has something for which there is room now: for this endpoint, or for one that found none before.
    pub(super) fn let_go(&mut self, endpoint: EndpointId, bytes: usize, now: Timestamp) -> bool {
        let limits = self.limits;
        let queue = self.queue(endpoint);
        debug_assert!(queue.held > 0, "more was let go than was held");
        queue.held = queue.held.saturating_sub(1);
        let wants = queue.stored_due.is_some_and(|due| due <= now) && queue.refilling.is_none() && queue.is_low(limits.held_per_endpoint);
        self.held = self.held.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        let (held, held_bytes) = (self.held + self.coming, self.held_bytes + self.coming_bytes);
        let relieved = self.starved && held <= limits.held / 4 * 3 && held_bytes <= limits.held_bytes / 4 * 3;
        self.starved &= !relieved;
        wants || relieved
    }

    pub(super) fn keeps(&mut self, endpoint: EndpointId, due: Timestamp, now: Timestamp) -> bool {
        if !self.ownership.owns(endpoint) {
            return false;
        }
        let roomy = self.held < self.limits.held / 2 && self.held_bytes < self.limits.held_bytes / 2;
        let near = due.since(now) <= self.limits.near;
        let stopping = self.stopping;
        let queue = self.queue(endpoint);
        let calm = queue.blocked != Blocked::Parked && (!queue.is_failing() || queue.held <= HELD_WHEN_FAILING);
        // What waits in the store and is due before it must not wait for room that a retry takes up.
        let first = queue.stored_due.is_none_or(|stored| stored > due);
        near && roomy && calm && first && !stopping
    }

    pub(super) fn note_stored(&mut self, endpoint: EndpointId, due: Timestamp) {
        if !self.ownership.owns(endpoint) {
            self.ownership.note_due(endpoint);
            return;
        }
        let queue = self.queue(endpoint);
        let first = queue.stored_due.map_or(due, |d| d.min(due));
        self.set_stored(endpoint, Some(first));
    }

    pub(super) fn set_stored(&mut self, endpoint: EndpointId, due: Option<Timestamp>) {
        if !self.ownership.owns(endpoint) {
            if due.is_some() {
                self.ownership.note_due(endpoint);
            }
            return;
        }
        let queue = self.queue(endpoint);
        queue.stored_due = due;
        let asks = queue.refilling.is_none() && queue.blocked != Blocked::Parked;
        self.backlog.put(endpoint, due.filter(|_| asks));
    }

    /// What is asked of the store moves out of `stored_due`; what is noted while the claim is under way gathers there anew.
    ///
    /// Room and the writer's time are shared among all who want something, and whoever got nothing this time is first the next time.
    pub(super) fn wanting(&mut self, now: Timestamp) -> Vec<Want> {
        let limits = self.limits;
        let mut wanting = Vec::new();
        if self.stopping {
            return wanting;
        }
        let mut room = limits.held.saturating_sub(self.held + self.coming);
        let mut bytes = limits.held_bytes.saturating_sub(self.held_bytes + self.coming_bytes);
        let mut low = self.backlog.due(now);
        low.retain(|(endpoint, _)| self.queue(*endpoint).is_low(limits.held_per_endpoint));
        let sharing = low.len().clamp(1, REFILL_BATCH);
        let (most, most_bytes) = (REFILL_LIMIT / sharing, (bytes / sharing).min(limits.held_bytes / 8));
        for (endpoint, due) in low.into_iter().take(REFILL_BATCH) {
            let queue = self.queue(endpoint);
            // An endpoint with nothing in memory always gets one delivery: nobody waits for a neighbour's backlog.
            let least = usize::from(queue.held == 0);
            // What a delivery costs besides its payload comes off its endpoint's share of the bytes first.
            let share = bytes.min(most_bytes.max(cost(0)));
            let fits = room.min(share / cost(0));
            let count = queue.room(limits.held_per_endpoint).saturating_sub(queue.held).min(most).min(fits).max(least);
            if count == 0 {
                self.starved = true;
                continue;
            }
            queue.refilling = Some(Room { count, bytes: share });
            self.set_stored(endpoint, None);
            self.backlog.served(endpoint);
            self.coming += count;
            self.coming_bytes += share;
            wanting.push(Want { endpoint, count, bytes: share.saturating_sub(count * cost(0)), due });
            room = room.saturating_sub(count);
            bytes = bytes.saturating_sub(share);
        }
        self.look_for_stored();
        wanting
    }

    fn look_for_stored(&mut self) {
        if let Some(at) = self.backlog.next() {
            self.timers.insert(at, Timer::Refill);
        }
    }

    /// Ends a refill with what the store still has, besides what was noted meanwhile.
    pub(super) fn refilled(&mut self, endpoint: EndpointId, next_due: Option<Timestamp>) {
        if let Some(kept) = self.queue(endpoint).refilling.take() {
            self.coming = self.coming.saturating_sub(kept.count);
            self.coming_bytes = self.coming_bytes.saturating_sub(kept.bytes);
        }
        let noted = self.queue(endpoint).stored_due;
        let first = noted.into_iter().chain(next_due).min();
        self.set_stored(endpoint, first);
    }
}
