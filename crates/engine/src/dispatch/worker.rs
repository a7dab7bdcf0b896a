//! Workers, and the exchanges that they have under way.

use super::Pulse;
use super::state::State;
use crate::job::Job;
use crate::send;
use crate::settle::Entry;
use crate::shared::Shared;
use postrider_core::attempt::Attempt;
use postrider_core::id::{AttemptId, EndpointId};
use postrider_core::ports::{Lane, Target};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use tokio::task::AbortHandle;

/// A worker's turn: one delivery to send.
pub(crate) struct Turn {
    pub(super) slot: usize,
    pub(crate) job: Job,
    pub(crate) attempt: AttemptId,
    pub(crate) started_at: Timestamp,
    pub(crate) lane: Option<(Box<dyn Lane>, Arc<Target>)>,
    /// Whether it holds one of the places for hanging endpoints.
    pub(super) hung: bool,
}

/// What a turn leaves behind once its delivery has gone its way.
pub(super) struct Ended {
    pub(super) endpoint: EndpointId,
    pub(super) slot: usize,
    pub(super) lane: Option<(Box<dyn Lane>, Arc<Target>)>,
    pub(super) hung: bool,
    pub(super) pulse: Pulse,
}

/// An exchange under way.
#[derive(Clone, Debug)]
pub(crate) struct InFlight {
    /// The delivery as it was before the attempt.
    pub(crate) job: Job,
    pub(crate) attempt: AttemptId,
    pub(crate) started_at: Timestamp,
    /// Whether the store was told that it is under way.
    pub(crate) recorded: bool,
}

impl InFlight {
    /// The attempt as it stands: without an outcome.
    pub(crate) fn attempt(&self, target_url: Arc<str>) -> Attempt {
        let delivery = &self.job.delivery;
        Attempt {
            id: self.attempt,
            delivery: delivery.id,
            subscription: delivery.subscription,
            endpoint: delivery.endpoint,
            number: delivery.progress.attempts.saturating_add(1),
            target_url,
            started_at: self.started_at,
            outcome: None,
        }
    }
}

/// The exchanges under way; each has a place that it finds without searching.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Default)]
struct Slot {
    flight: Option<InFlight>,
    worker: Option<AbortHandle>,
}

impl Slots {
    pub(super) fn running(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn begin(&mut self, flight: InFlight) -> usize {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        self.slots[slot].flight = Some(flight);
        slot
    }

    /// Ends the exchange: from here on it is not recorded as under way any more. Answers whether it was.
    pub(super) fn land(&mut self, slot: usize) -> bool {
        self.slots[slot].flight.take().is_some_and(|flight| flight.recorded)
    }

    /// Frees the place. Its worker's handle stays: the same worker most often begins its next turn right there.
    pub(super) fn end(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Calls `record` for every exchange that began before `threshold` and was not recorded; answers when the oldest of the others began.
    pub(super) fn record(&mut self, threshold: Timestamp, mut record: impl FnMut(&InFlight) -> bool) -> Option<Timestamp> {
        let mut oldest: Option<Timestamp> = None;
        for flight in self.slots.iter_mut().filter_map(|slot| slot.flight.as_mut()).filter(|f| !f.recorded) {
            if flight.started_at <= threshold {
                flight.recorded = record(flight);
            } else {
                oldest = Some(oldest.map_or(flight.started_at, |o| o.min(flight.started_at)));
            }
        }
        oldest
    }

    fn set_worker(&mut self, slot: usize, worker: AbortHandle) {
        self.slots[slot].worker = Some(worker);
    }

    /// Ends every worker; answers what they had under way.
    pub(super) fn abort_all(&mut self) -> Vec<InFlight> {
        let mut flights = Vec::new();
        for slot in &mut self.slots {
            if let Some(flight) = slot.flight.take() {
                flights.push(flight);
            }
            if let Some(worker) = slot.worker.take() {
                worker.abort();
            }
        }
        flights
    }
}

/// Starts a worker with its first turn.
pub(super) fn spawn(shared: &Arc<Shared>, state: &mut State, turn: Turn) {
    let slot = turn.slot;
    let worker = tokio::spawn(run(Arc::clone(shared), turn));
    state.slots.set_worker(slot, worker.abort_handle());
}

async fn run(shared: Arc<Shared>, mut turn: Turn) {
    loop {
        let (sent, lane) = send::perform(&shared, &mut turn).await;
        let ended = Ended { endpoint: turn.job.delivery.endpoint, slot: turn.slot, lane, hung: turn.hung, pulse: sent.pulse() };
        let entry = Entry::sent(&shared, turn.job, sent);
        match shared.dispatcher.finish(&shared, ended, entry) {
            Some(next) => turn = next,
            None => return,
        }
    }
}
