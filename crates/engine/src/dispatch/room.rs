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

/// Deliveries claimed for one endpoint at a time.
const REFILL_LIMIT: usize = 1_024;

impl State {
    pub(super) fn reserve(&mut self, endpoint: EndpointId, bytes: usize) -> bool {
        let limits = self.limits;
        let (held, held_bytes) = (self.held + self.coming, self.held_bytes + self.coming_bytes + bytes);
        let stopping = self.stopping;
        let queue = self.queue(endpoint);
        let cap = if queue.is_failing() { HELD_WHEN_FAILING } else { limits.held_per_endpoint };
        let in_order = queue.stored_due.is_none() && queue.refilling.is_none() && queue.blocked != Blocked::Parked;
        let fits = held < limits.held && held_bytes <= limits.held_bytes;
        let fair = queue.held < FAIR_SHARE || (held < limits.held / 2 && held_bytes <= limits.held_bytes / 2);
        let yes = !stopping && in_order && fits && fair && queue.held < cap;
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

    /// Answers whether the store has more for this endpoint and there is room for it now.
    pub(super) fn let_go(&mut self, endpoint: EndpointId, bytes: usize) -> bool {
        let low = self.limits.held_per_endpoint / 2;
        let queue = self.queue(endpoint);
        debug_assert!(queue.held > 0, "more was let go than was held");
        queue.held = queue.held.saturating_sub(1);
        let wants = queue.stored_due.is_some() && queue.refilling.is_none() && queue.held < low;
        self.held = self.held.saturating_sub(1);
        self.held_bytes = self.held_bytes.saturating_sub(bytes);
        wants
    }

    pub(super) fn keeps(&mut self, endpoint: EndpointId, due: Timestamp, now: Timestamp) -> bool {
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
        let queue = self.queue(endpoint);
        queue.stored_due = Some(queue.stored_due.map_or(due, |d| d.min(due)));
        self.overflowing.insert(endpoint);
    }

    /// What is asked of the store moves out of `stored_due`; what is noted while the claim is under way gathers there anew.
    pub(super) fn wanting(&mut self, now: Timestamp) -> Vec<Want> {
        let limits = self.limits;
        let mut wanting = Vec::new();
        let mut later: Option<Timestamp> = None;
        if self.stopping {
            return wanting;
        }
        let mut room = limits.held.saturating_sub(self.held + self.coming);
        let mut bytes = limits.held_bytes.saturating_sub(self.held_bytes + self.coming_bytes);
        for endpoint in &self.overflowing {
            let Some(queue) = self.queues.get_mut(endpoint) else {
                continue;
            };
            let Some(due) = queue.stored_due else {
                continue;
            };
            if queue.refilling.is_some() || queue.blocked == Blocked::Parked || wanting.len() >= REFILL_BATCH {
                continue;
            }
            if due > now {
                later = Some(later.map_or(due, |l| l.min(due)));
                continue;
            }
            let cap = if queue.is_failing() { HELD_WHEN_FAILING } else { limits.held_per_endpoint };
            // An endpoint with nothing in memory always gets one delivery: nobody waits for a neighbour's backlog.
            let least = usize::from(queue.held == 0);
            // What a delivery costs besides its payload comes off its endpoint's share of the bytes first.
            let share = bytes.min(limits.held_bytes / 8);
            let fits = room.min(share / cost(0));
            let count = cap.saturating_sub(queue.held).min(REFILL_LIMIT).min(fits).max(least);
            if queue.held <= cap / 2 && count > 0 {
                queue.refilling = Some(Room { count, bytes: share });
                queue.stored_due = None;
                self.coming += count;
                self.coming_bytes += share;
                wanting.push(Want { endpoint: *endpoint, count, bytes: share.saturating_sub(count * cost(0)), due });
                room = room.saturating_sub(count);
                bytes = bytes.saturating_sub(share);
            }
        }
        self.look_for_stored(later, now);
        wanting
    }

    fn look_for_stored(&mut self, later: Option<Timestamp>, now: Timestamp) {
        if self.refill_timer.is_some_and(|at| at <= now) {
            self.refill_timer = None;
        }
        if let Some(at) = later
            && self.refill_timer.is_none_or(|set| at < set)
        {
            self.refill_timer = Some(at);
            self.timers.insert(at, Timer::Refill);
        }
    }

    /// Ends a refill with what the store still has, besides what was noted meanwhile.
    pub(super) fn refilled(&mut self, endpoint: EndpointId, next_due: Option<Timestamp>) {
        if let Some(kept) = self.queue(endpoint).refilling.take() {
            self.coming = self.coming.saturating_sub(kept.count);
            self.coming_bytes = self.coming_bytes.saturating_sub(kept.bytes);
        }
        let queue = self.queue(endpoint);
        queue.stored_due = match (next_due, queue.stored_due) {
            (Some(a), Some(b)) => Some(a.min(b)),
            (a, b) => a.or(b),
        };
        if queue.stored_due.is_none() {
            self.overflowing.remove(&endpoint);
        }
    }
}
