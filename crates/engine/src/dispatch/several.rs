//! The dispatcher of one of several engines that share a store.

use super::Dispatcher;
use super::clock::Reading;
use super::ownership::ToTell;
use crate::shared::Shared;
use postrider_core::id::EndpointId;
use postrider_core::ports::{Leaving, SlotSet, TakenSlot};
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Endpoints, or timers, that are looked at under one lock where slots are left.
const AT_A_TIME: usize = 1_000;

impl Dispatcher {
    /// The slots that are this engine's.
    pub(crate) fn owned(&self) -> SlotSet {
        self.state.lock().ownership.slots()
    }

    /// From now on these slots are this engine's too; and these are all of its endpoints that somebody else has exchanges with.
    pub(crate) fn own(&self, shared: &Arc<Shared>, taken: Vec<TakenSlot>, busy: BTreeSet<EndpointId>) {
        let reading = Reading::take(shared);
        let mut state = self.state.lock();
        let now = state.notice(reading);
        state.own(taken, busy, now);
        self.launch(shared, &mut state);
    }

    /// From now on these slots are not this engine's: what waits in memory goes back to the store. Answers what the next one has to know.
    pub(crate) fn disown(&self, shared: &Arc<Shared>, slots: SlotSet) -> Leaving {
        let mut leaving = Leaving { slots, ..Leaving::default() };
        // Nothing begins from then on. The rest is done piece by piece: others want the lock too.
        let endpoints = self.state.lock().stop_sending(&slots);
        for some in endpoints.chunks(AT_A_TIME) {
            let (reading, mut lanes) = (Reading::take(shared), Vec::new());
            let mut state = self.state.lock();
            let now = state.notice(reading);
            state.give_up(some, now, &mut leaving, &mut lanes);
            self.tidy(shared, &mut state);
            drop(state);
            // Closing sockets is not for under the lock.
            drop(lanes);
        }
        let mut place = None;
        loop {
            let mut state = self.state.lock();
            place = state.give_up_timers(&slots, place, AT_A_TIME);
            self.tidy(shared, &mut state);
            if place.is_none() {
                state.forget_slots(&slots);
                return leaving;
            }
        }
    }

    /// Somebody else has stored something for these endpoints. When it is due is asked of the store.
    pub(crate) fn hear(&self, endpoints: Vec<EndpointId>) {
        let mut state = self.state.lock();
        for endpoint in endpoints {
            if state.ownership.owns(endpoint) {
                state.note_stored(endpoint, Timestamp::MIN);
            }
        }
        drop(state);
        self.refill.notify_one();
    }

    /// What is to be told of endpoints of others: once.
    pub(crate) fn take_untold(&self) -> ToTell {
        self.state.lock().ownership.take_untold()
    }

    /// Endpoints that were left with exchanges under way, of which the last one has ended.
    pub(crate) fn take_freed(&self) -> Vec<EndpointId> {
        self.state.lock().ownership.take_freed()
    }

    /// That these are such could not be told.
    pub(crate) fn still_freed(&self, endpoints: Vec<EndpointId>) {
        self.state.lock().ownership.still_freed(endpoints);
    }

    /// Whether an endpoint was left and still has exchanges under way.
    pub(crate) fn is_leaving(&self, endpoint: EndpointId) -> bool {
        self.state.lock().ownership.is_leaving(endpoint)
    }

    /// No exchange is under way any more, and none will be.
    pub(crate) fn all_ended(&self) {
        self.state.lock().ownership.all_ended();
    }

    /// Whether the engine has an endpoint, or something of it in memory.
    pub(crate) fn knows(&self, endpoint: EndpointId) -> bool {
        let state = self.state.lock();
        state.ownership.owns(endpoint) || state.queues.get(&endpoint).is_some_and(|queue| queue.held > 0)
    }

    /// Lets go off what may go off: it may act again.
    pub(crate) fn wake(&self, shared: &Arc<Shared>) {
        let mut state = self.state.lock();
        self.launch(shared, &mut state);
    }
}
