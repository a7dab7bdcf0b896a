//! Who is sent to next.
//!
//! Every endpoint has a queue of its own; endpoints with something to send and the right to send it stand in a ring and take turns. A
//! worker is a task that has a lane: it sends one delivery after another of one endpoint without being spawned, woken or given a
//! connection anew, and moves on when others wait for a place. What an endpoint is not allowed to send never holds a worker.
//!
//! One mutex guards it all; it is held for well under a microsecond at a time and never across an await.

mod backlog;
mod clock;
mod late;
mod ownership;
mod queue;
mod room;
mod several;
mod state;
mod timers;
mod wishes;
mod worker;

pub(crate) use queue::Pulse;
pub(crate) use state::Settings;
pub(crate) use worker::{InFlight, Turn};

use crate::config::Limits;
use crate::job::{Job, cost};
use crate::settle::{After, Entry};
use crate::shared::Shared;
use clock::Reading;
use ownership::Ownership;
use parking_lot::Mutex;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::NewDelivery;
use postrider_core::time::Timestamp;
use state::State;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use timers::Timer;
use tokio::sync::Notify;

pub(crate) struct Dispatcher {
    state: Mutex<State>,
    /// Something to claim may have come up.
    pub(crate) refill: Notify,
    /// An earlier timer was set.
    pub(crate) timer: Notify,
    /// The last worker ended.
    pub(crate) quiet: Notify,
    /// There is something to tell of endpoints of others: see [`Dispatcher::take_untold`].
    pub(crate) tell: Notify,
    /// Others need not wait for some endpoints any longer: see [`Dispatcher::take_freed`].
    pub(crate) freed: Notify,
}

/// Deliveries that an endpoint wants from the store.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Want {
    pub(crate) endpoint: EndpointId,
    /// At most this many.
    pub(crate) count: usize,
    /// At most about this many bytes of payload.
    pub(crate) bytes: usize,
    /// When the first of them is due.
    pub(crate) due: Timestamp,
}

/// How full the dispatcher is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    /// Deliveries in memory.
    pub held: usize,
    /// What they count in bytes.
    pub held_bytes: usize,
    /// Exchanges under way.
    pub running: usize,
    /// Endpoints with deliveries that only the store has, as far as they are not parked or just being claimed.
    pub overflowing: usize,
}

impl Dispatcher {
    /// Of an engine that has its store for itself, or that shares it and has no endpoint yet.
    pub(crate) fn new(limits: Limits, is_shared: bool) -> Self {
        let mut state = State::new(limits);
        if is_shared {
            state.ownership = Ownership::shared();
        }
        let (refill, timer, quiet, tell, freed) = (Notify::new(), Notify::new(), Notify::new(), Notify::new(), Notify::new());
        Dispatcher { state: Mutex::new(state), refill, timer, quiet, tell, freed }
    }

    /// Makes room for deliveries that are about to be stored: those that get it are marked as claimed.
    pub(crate) fn reserve(&self, deliveries: &mut [NewDelivery], payload: usize, now: Timestamp) {
        let mut state = self.state.lock();
        for new in deliveries {
            new.claimed = state.reserve(new.endpoint, cost(payload), now);
        }
    }

    /// Gives back room of so many bytes that was made for a delivery of each of these endpoints.
    pub(crate) fn let_go(&self, endpoints: impl Iterator<Item = EndpointId>, bytes: usize, now: Timestamp) {
        let mut state = self.state.lock();
        let wanted = endpoints.fold(false, |wanted, endpoint| state.let_go(endpoint, bytes, now) | wanted);
        drop(state);
        if wanted {
            self.refill.notify_one();
        }
    }

    /// Queues deliveries for which there is room, and lets them go off.
    pub(crate) fn push(&self, shared: &Arc<Shared>, jobs: impl IntoIterator<Item = Job>) {
        let mut state = self.state.lock();
        for job in jobs {
            state.enqueue(job);
        }
        self.launch(shared, &mut state);
    }

    /// Notes that the store has unclaimed deliveries of these endpoints, the first of each due then.
    pub(crate) fn note_stored(&self, endpoints: impl IntoIterator<Item = EndpointId>, due: Timestamp) {
        let mut endpoints = endpoints.into_iter().peekable();
        if endpoints.peek().is_none() {
            return;
        }
        let mut state = self.state.lock();
        endpoints.for_each(|endpoint| state.note_stored(endpoint, due));
        self.tell_if(&state);
        drop(state);
        self.refill.notify_one();
    }

    /// Does what the settlement of deliveries made possible.
    pub(crate) fn settled(&self, shared: &Arc<Shared>, afters: impl Iterator<Item = After>) {
        let (mut refill, reading) = (false, Reading::take(shared));
        let mut state = self.state.lock();
        let now = state.notice(reading);
        for after in afters {
            match after {
                After::Nothing => {}
                After::LetGo { endpoint, bytes } => refill |= state.let_go(endpoint, bytes, now),
                After::Stored { endpoint, bytes, due } => {
                    state.let_go(endpoint, bytes, now);
                    state.note_stored(endpoint, shared.due_or_at_once(endpoint, due));
                    refill = true;
                }
                // Its slot was left since that was decided, or somebody called it off.
                After::Wait(job) if !state.ownership.owns(job.delivery.endpoint) || state.called_off.take(job.delivery.id) => {
                    state.strays.push(*job);
                }
                After::Wait(job) => match job.delivery.progress.state.due_at() {
                    Some(due) => {
                        // It was near when that was decided, perhaps by a clock that was set back since.
                        let due = shared.due_or_at_once(job.delivery.endpoint, due).min(now.after(shared.config.limits.near));
                        state.timers.insert(due, Timer::Retry(job));
                    }
                    None => refill |= state.let_go(job.delivery.endpoint, job.cost(), now),
                },
            }
        }
        self.launch(shared, &mut state);
        drop(state);
        if refill {
            self.refill.notify_one();
        }
    }

    /// Whether a retry due then is worth keeping in memory.
    pub(crate) fn keeps(&self, endpoint: EndpointId, due: Timestamp, now: Timestamp) -> bool {
        self.state.lock().keeps(endpoint, due, now)
    }

    /// Starts as many workers as there is work and room for.
    fn launch(&self, shared: &Arc<Shared>, state: &mut State) {
        if state.has_turn() && shared.is_open() {
            let now = state.notice(Reading::take(shared));
            while let Some(turn) = state.next(now, || shared.attempt_id(now)) {
                worker::spawn(shared, state, turn);
            }
        }
        self.tidy(shared, state);
    }

    /// Ends a worker's turn and hands in what came of it; answers the worker's next turn.
    fn finish(&self, shared: &Arc<Shared>, ended: worker::Ended, mut entry: Entry) -> Option<worker::Turn> {
        let (reading, open) = (Reading::take(shared), shared.is_open());
        let mut state = self.state.lock();
        let now = state.notice(reading);
        // Under the same lock under which slow exchanges are recorded: the record always reaches the settler first.
        let landed = state.slots.land(ended.slot);
        // One that a shutdown cut off has been settled as such.
        if let Some(recorded) = landed {
            entry.landed(recorded);
            shared.settler.push(entry);
        }
        let next = state.finish(ended, now, open && landed.is_some(), || shared.attempt_id(now));
        self.tidy(shared, &mut state);
        if next.is_none() && state.slots.running() == 0 {
            self.quiet.notify_waiters();
        }
        next
    }

    /// What every change may have caused: an earlier timer, deliveries that must not be sent now.
    fn tidy(&self, shared: &Arc<Shared>, state: &mut State) {
        if state.timers.take_dirty() {
            self.timer.notify_one();
        }
        if !state.strays.is_empty() {
            shared.settler.push_back(std::mem::take(&mut state.strays));
        }
        self.tell_if(state);
        if state.ownership.take_newly_freed() {
            self.freed.notify_one();
        }
    }

    fn tell_if(&self, state: &State) {
        if state.ownership.has_to_tell() {
            self.tell.notify_one();
        }
    }

    /// An endpoint changed. To be called in the order of the changes.
    pub(crate) fn configure(&self, shared: &Arc<Shared>, endpoint: EndpointId, settings: Settings) {
        let mut state = self.state.lock();
        state.configure(endpoint, settings);
        self.launch(shared, &mut state);
        drop(state);
        self.refill.notify_one();
    }

    /// An endpoint is gone: what waits for it is due now, for it only has to be ended.
    pub(crate) fn expedite(&self, endpoint: EndpointId) {
        self.state.lock().expedite(endpoint);
    }

    /// Has a delivery tried again by then, if its retry waits in memory; answers whether it does.
    pub(crate) fn hasten(&self, delivery: DeliveryId, at: Timestamp) -> bool {
        let mut state = self.state.lock();
        let found = state.timers.hasten(std::iter::once(delivery), at);
        if state.timers.take_dirty() {
            self.timer.notify_one();
        }
        !found.is_empty()
    }

    /// Has deliveries of these endpoints tried again by then that wait in memory, for their retry or for their turn; answers which do.
    pub(crate) fn hasten_all(&self, of: &BTreeMap<DeliveryId, EndpointId>, at: Timestamp) -> BTreeSet<DeliveryId> {
        let mut state = self.state.lock();
        let found = state.hasten(of, at);
        if state.timers.take_dirty() {
            self.timer.notify_one();
        }
        found
    }

    /// Takes out what waits for its turn in memory and has passed its time to live. It counts as held until it is settled.
    pub(crate) fn expired(&self, now: Timestamp) -> Vec<Job> {
        self.state.lock().expired(now)
    }

    /// Endpoints whose deliveries are parked in the store.
    pub(crate) fn parked(&self) -> Vec<EndpointId> {
        self.state.lock().parked()
    }

    /// What the endpoints want from the store at `now`; they count as being refilled until [`Dispatcher::refilled`].
    pub(crate) fn wanting(&self, now: Timestamp) -> Vec<Want> {
        self.state.lock().wanting(now)
    }

    /// Ends a refill with what the store gave and when the first delivery that it still has is due.
    pub(crate) fn refilled(&self, shared: &Arc<Shared>, endpoint: EndpointId, jobs: Vec<Job>, next_due: Option<Timestamp>) {
        let mut state = self.state.lock();
        for job in &jobs {
            state.add(endpoint, job.cost());
        }
        state.refilled(endpoint, next_due);
        for job in jobs {
            state.enqueue(job);
        }
        self.launch(shared, &mut state);
        if next_due.is_some() {
            self.refill.notify_one();
        }
    }

    /// Counts a delivery that came into memory without a reservation: taken over from a dead engine, or replayed.
    pub(crate) fn adopt(&self, job: &Job) {
        self.state.lock().add(job.delivery.endpoint, job.cost());
    }

    /// Handles every timer that is due; answers when the next one is, at the latest by `horizon`.
    pub(crate) fn tick(&self, shared: &Arc<Shared>, horizon: Duration) -> Timestamp {
        let reading = Reading::take(shared);
        let mut state = self.state.lock();
        let now = state.notice(reading);
        while let Some(timer) = state.timers.pop_due(now) {
            match timer {
                Timer::Retry(job) => state.enqueue(*job),
                Timer::Unblock(endpoint) => state.unblock_if_due(endpoint, now),
                Timer::Refill => self.refill.notify_one(),
                Timer::Look => state.record_slow(shared, now),
            }
        }
        self.launch(shared, &mut state);
        state.timers.take_dirty();
        state.timers.next().unwrap_or(Timestamp::MAX).min(now.after(horizon))
    }

    /// Drops lanes that nobody has used since `before`, and queues with nothing in them.
    pub(crate) fn sweep(&self, before: Timestamp, now: Timestamp) {
        let dropped = self.state.lock().sweep(before, now);
        // Closing sockets is not for under the lock.
        drop(dropped);
    }

    /// From now on nothing new is sent.
    pub(crate) fn stop(&self) {
        self.state.lock().stopping = true;
    }

    /// Exchanges under way.
    pub(crate) fn running(&self) -> usize {
        self.state.lock().slots.running()
    }

    /// Ends what is still under way and answers every delivery in memory, to be given back to the store.
    pub(crate) fn empty(&self) -> (Vec<Job>, Vec<InFlight>) {
        self.state.lock().empty()
    }

    pub(crate) fn load(&self) -> Load {
        self.state.lock().load()
    }
}
