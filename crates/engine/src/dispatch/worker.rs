//! Workers, and the exchanges that they have under way.

use super::Pulse;
use super::state::State;
use crate::job::Job;
use crate::send;
use crate::settle::Entry;
use crate::shared::Shared;
use postrider_core::attempt::Attempt;
use postrider_core::id::{AttemptId, DeliveryId, EndpointId};
use postrider_core::ports::{Lane, Target};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;
use tokio::task::AbortHandle;

/// A worker's turn: one delivery to send.
pub(crate) struct Turn {
    pub(super) slot: usize,
    pub(crate) job: Job,
    pub(crate) attempt: AttemptId,
    pub(crate) started_at: Timestamp,
    pub(crate) lane: Option<(Box<dyn Lane>, Arc<Target>)>,
    /// Whether it holds one of the places for slow endpoints.
    pub(super) slow: bool,
    pub(super) exchange: Arc<Began>,
}

impl Turn {
    /// The exchange begins now. `false`: the turn was ended meanwhile, nothing may be sent.
    pub(crate) fn begins(&self, now: Timestamp) -> bool {
        self.exchange.0.compare_exchange(Began::NOT_YET, now.as_micros(), Ordering::AcqRel, Ordering::Acquire).is_ok()
    }
}

/// When the exchange of a turn began. A turn may wait for the processor before that, or end without one.
#[derive(Debug)]
pub(super) struct Began(AtomicI64);

impl Began {
    const NOT_YET: i64 = i64::MIN;
    const NEVER: i64 = i64::MIN + 1;

    fn get(&self) -> Option<Timestamp> {
        let micros = self.0.load(Ordering::Acquire);
        (micros > Began::NEVER).then(|| Timestamp::from_micros(micros))
    }

    /// The clock was set back by so much.
    fn set_back(&self, by: Duration) {
        let by = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        let earlier = |micros: i64| (micros > Began::NEVER).then(|| micros.saturating_sub(by).max(Began::NEVER + 1));
        // An exchange that has not begun will begin by the new time.
        _ = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, earlier);
    }

    /// Nothing is sent any more, unless that has begun. Answers whether it has.
    fn end(&self) -> bool {
        self.0.compare_exchange(Began::NOT_YET, Began::NEVER, Ordering::AcqRel, Ordering::Acquire).is_err()
    }
}

impl Default for Began {
    fn default() -> Self {
        Began(AtomicI64::new(Began::NOT_YET))
    }
}

/// What a turn leaves behind once its delivery has gone its way.
pub(super) struct Ended {
    pub(super) endpoint: EndpointId,
    pub(super) slot: usize,
    pub(super) lane: Option<(Box<dyn Lane>, Arc<Target>)>,
    pub(super) slow: bool,
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
    /// Shared with the turn that has this place.
    exchange: Arc<Began>,
}

impl Slots {
    pub(super) fn running(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    pub(super) fn begin(&mut self, flight: InFlight) -> (usize, Arc<Began>) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            self.slots.len() - 1
        });
        let place = &mut self.slots[slot];
        place.flight = Some(flight);
        place.exchange.0.store(Began::NOT_YET, Ordering::Release);
        (slot, Arc::clone(&place.exchange))
    }

    /// Ends the exchange: from here on it is not recorded as under way any more. Answers whether it was; `None` if it was cut off.
    pub(super) fn land(&mut self, slot: usize) -> Option<bool> {
        self.slots[slot].flight.take().map(|flight| flight.recorded)
    }

    /// Frees the place. Its worker's handle stays: the same worker most often begins its next turn right there.
    pub(super) fn end(&mut self, slot: usize) {
        self.free.push(slot);
    }

    /// Calls `record` for every exchange that has been under way for `span` and was not recorded; answers when the oldest of the others
    /// began, or will have begun at the earliest.
    pub(super) fn record(&mut self, now: Timestamp, span: Duration, mut record: impl FnMut(&InFlight) -> bool) -> Option<Timestamp> {
        let mut oldest: Option<Timestamp> = None;
        for slot in &mut self.slots {
            let Some(flight) = slot.flight.as_mut().filter(|f| !f.recorded) else { continue };
            let began = slot.exchange.get().unwrap_or(now);
            if began <= now.before(span) {
                flight.recorded = record(flight);
            } else {
                oldest = Some(oldest.map_or(began, |o| o.min(began)));
            }
        }
        oldest
    }

    /// The clock was set back by so much: the exchanges under way have been so for as long as before.
    pub(super) fn set_back(&self, by: Duration) {
        self.slots.iter().filter(|slot| slot.flight.is_some()).for_each(|slot| slot.exchange.set_back(by));
    }

    /// Nothing is sent of this delivery any more, unless that has begun: its worker gives it back. Answers whether a worker has it.
    pub(super) fn call_off(&self, delivery: DeliveryId) -> bool {
        let is_of_it = |slot: &&Slot| slot.flight.as_ref().is_some_and(|flight| flight.job.delivery.id == delivery);
        let of_it = self.slots.iter().find(is_of_it);
        if let Some(slot) = of_it {
            _ = slot.exchange.end();
        }
        of_it.is_some()
    }

    fn set_worker(&mut self, slot: usize, worker: AbortHandle) {
        self.slots[slot].worker = Some(worker);
    }

    /// Ends every worker; answers the deliveries that were not sent yet, and what was under way.
    pub(super) fn abort_all(&mut self) -> (Vec<Job>, Vec<InFlight>) {
        let (mut unsent, mut flights) = (Vec::new(), Vec::new());
        for slot in &mut self.slots {
            match slot.flight.take() {
                Some(flight) if slot.exchange.end() => flights.push(flight),
                Some(flight) => unsent.push(flight.job),
                None => {}
            }
            if let Some(worker) = slot.worker.take() {
                worker.abort();
            }
        }
        (unsent, flights)
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
        let ended = Ended { endpoint: turn.job.delivery.endpoint, slot: turn.slot, lane, slow: turn.slow, pulse: sent.pulse() };
        let entry = Entry::sent(&shared, turn.job, sent);
        match shared.dispatcher.finish(&shared, ended, entry) {
            Some(next) => turn = next,
            None => return,
        }
    }
}
