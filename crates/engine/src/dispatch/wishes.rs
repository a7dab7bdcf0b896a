//! What people want of deliveries in memory: that they are tried at once, or not at all.

use super::Dispatcher;
use super::state::State;
use crate::shared::Shared;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// How long it is remembered that a delivery was called off: by then it has come into memory if it was on its way there from the store.
const REMEMBERED: Duration = Duration::from_secs(60);

/// How many are remembered. One that goes beyond that is sent once more, if it was on its way.
const MOST: usize = 4_096;

/// Deliveries that were called off and are not in memory, but may be on their way there: claimed or stored a moment ago.
#[derive(Debug, Default)]
pub(super) struct CalledOff(BTreeMap<DeliveryId, Timestamp>);

impl CalledOff {
    fn note(&mut self, delivery: DeliveryId, now: Timestamp) {
        if self.0.len() >= MOST {
            self.sweep(now);
        }
        if self.0.len() < MOST {
            self.0.insert(delivery, now);
        }
    }

    /// Whether a delivery that comes into memory was called off: it goes back to the store, which ends it. Asked once.
    pub(super) fn take(&mut self, delivery: DeliveryId) -> bool {
        !self.0.is_empty() && self.0.remove(&delivery).is_some()
    }

    /// Forgets those that have come, or will not come.
    pub(super) fn sweep(&mut self, now: Timestamp) {
        self.0.retain(|_, noted_at| noted_at.after(REMEMBERED) > now);
    }
}

impl Dispatcher {
    /// Deliveries of these endpoints were called off, and the store knows. What waits here goes back there, and ends by that; so does what comes into
    /// memory later. What is under way ends by its outcome, if its exchange has begun, unless that is a success.
    pub(crate) fn call_off(&self, shared: &Arc<Shared>, of: &BTreeMap<DeliveryId, EndpointId>) {
        let now = shared.now();
        let mut state = self.state.lock();
        state.call_off(of, now);
        self.tidy(shared, &mut state);
    }
}

impl State {
    pub(super) fn hasten(&mut self, of: &BTreeMap<DeliveryId, EndpointId>, at: Timestamp) -> BTreeSet<DeliveryId> {
        let mut found = self.timers.hasten(of.keys().copied(), at);
        let mut left: BTreeMap<EndpointId, BTreeSet<DeliveryId>> = BTreeMap::new();
        for (id, endpoint) in of.iter().filter(|(id, _)| !found.contains(id)) {
            left.entry(*endpoint).or_default().insert(*id);
        }
        for (endpoint, mut wanted) in left {
            if let Some(queue) = self.queues.get_mut(&endpoint) {
                found.extend(queue.hasten(&mut wanted, at));
            }
        }
        found
    }

    /// Takes out what waits, for its retry or for its turn; stops what has not begun, and remembers what is not here.
    pub(super) fn call_off(&mut self, of: &BTreeMap<DeliveryId, EndpointId>, now: Timestamp) {
        for (id, endpoint) in of {
            let waiting = self.timers.take(*id).map(|(_, job)| *job).or_else(|| {
                let ready = &mut self.queues.get_mut(endpoint)?.ready;
                ready.iter().position(|job| job.delivery.id == *id).and_then(|at| ready.remove(at))
            });
            match waiting {
                Some(job) => self.strays.push(job),
                None if self.slots.call_off(*id) => {}
                None => self.called_off.note(*id, now),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Limits;
    use crate::dispatch::timers::Timer;
    use crate::job::Job;
    use crate::testing::{BEGINNING, endpoint_id, job_for};
    use postrider_core::id::{AttemptId, SubscriptionId};
    use uuid::Uuid;

    fn job(n: u128) -> Job {
        job_for(SubscriptionId::new(Uuid::nil()), endpoint_id(1), n)
    }

    fn state() -> State {
        State::new(Limits { exchanges: 4, ..Limits::default() })
    }

    fn comes(state: &mut State, n: u128) {
        state.add(endpoint_id(1), job(n).cost());
        state.enqueue(job(n));
    }

    fn call_off(state: &mut State, n: u128) {
        state.call_off(&[(job(n).delivery.id, endpoint_id(1))].into(), BEGINNING);
    }

    fn given_back(state: &mut State) -> Vec<DeliveryId> {
        std::mem::take(&mut state.strays).into_iter().map(|job| job.delivery.id).collect()
    }

    #[test]
    fn what_waits_goes_back_and_is_not_sent() {
        let mut state = state();
        (1..=3).for_each(|n| comes(&mut state, n));
        state.add(endpoint_id(1), job(4).cost());
        state.timers.insert(BEGINNING, Timer::Retry(Box::new(job(4))));
        for n in [2, 4] {
            call_off(&mut state, n);
        }
        assert_eq!(given_back(&mut state), [job(2).delivery.id, job(4).delivery.id]);
        assert!(state.timers.pop_due(BEGINNING).is_none());
        let sent = state.next(BEGINNING, || AttemptId::new(Uuid::nil())).expect("one has its turn");
        assert_eq!(sent.job.delivery.id, job(1).delivery.id);
        assert_eq!(state.queue(endpoint_id(1)).ready.len(), 1);
        assert_eq!(state.load().held, 4, "until the store has them");
    }

    #[test]
    fn what_has_not_begun_does_not_begin_any_more() {
        let mut state = state();
        comes(&mut state, 1);
        let turn = state.next(BEGINNING, || AttemptId::new(Uuid::nil())).expect("it has its turn");
        call_off(&mut state, 1);
        assert!(!turn.begins(BEGINNING), "its worker gives it back");
        assert!(given_back(&mut state).is_empty(), "and nobody else does");
        let mut state = self::state();
        comes(&mut state, 1);
        let turn = state.next(BEGINNING, || AttemptId::new(Uuid::nil())).expect("it has its turn");
        assert!(turn.begins(BEGINNING));
        call_off(&mut state, 1);
        assert!(given_back(&mut state).is_empty() && state.slots.land(turn.slot).is_some(), "what has begun comes to its end");
    }

    #[test]
    fn what_is_on_its_way_goes_back_when_it_comes() {
        let mut state = state();
        call_off(&mut state, 1);
        comes(&mut state, 1);
        assert_eq!(given_back(&mut state), [job(1).delivery.id]);
        comes(&mut state, 1);
        assert!(given_back(&mut state).is_empty(), "once: it may have been made again since");
        call_off(&mut state, 2);
        state.called_off.sweep(BEGINNING.after(REMEMBERED));
        comes(&mut state, 2);
        assert!(given_back(&mut state).is_empty(), "it was forgotten");
    }

    #[test]
    fn no_more_are_remembered_than_there_is_room_for() {
        let mut called_off = CalledOff::default();
        let id = |n| job(n).delivery.id;
        for n in 0..MOST as u128 + 9 {
            called_off.note(id(n), BEGINNING);
        }
        assert_eq!((called_off.0.len(), called_off.take(id(MOST as u128))), (MOST, false));
        called_off.note(id(9_999), BEGINNING.after(REMEMBERED));
        assert_eq!((called_off.0.len(), called_off.take(id(9_999))), (1, true), "old ones make room");
    }
}
