//! What the dispatcher's mutex guards.

use super::Load;
use super::backlog::Backlog;
use super::clock::Watch;
use super::ownership::Ownership;
use super::queue::{Blocked, HELD_WHEN_FAILING, IdleLane, Pulse, Queue, pace};
use super::timers::{Timer, Timers};
use super::wishes::CalledOff;
use super::worker::{Ended, InFlight, Slots, Turn};
use crate::config::Limits;
use crate::job::Job;
use crate::shared::Shared;
use postrider_core::id::{AttemptId, EndpointId};
use postrider_core::limit::RateLimit;
use postrider_core::ports::{Lane, Target};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::hash::{BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

#[cfg(test)]
mod tests;

/// Lanes kept idle over all endpoints; each is a socket and about 12 KiB.
const IDLE_LANES: usize = 1_024;

/// Hashed without a random key, so that a simulated run repeats itself.
pub(super) type Map<K, V> = HashMap<K, V, BuildHasherDefault<DefaultHasher>>;

/// What the configuration says about sending to an endpoint.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Settings {
    /// At most this often, if set.
    pub(crate) rate: Option<RateLimit>,
    /// Exchanges at the same time, where the endpoint has a number of its own.
    pub(crate) concurrency: Option<u32>,
    /// Its deliveries wait in the store, see `Routes::parked_since`.
    pub(crate) parked: bool,
}

pub(super) struct State {
    pub(super) limits: Limits,
    pub(super) queues: Map<EndpointId, Queue>,
    /// Endpoints whose queue may be eligible, in turn.
    pub(super) ring: VecDeque<EndpointId>,
    /// Slow endpoints that wait for one of the places that slow endpoints may hold.
    pub(super) sidelined: VecDeque<EndpointId>,
    pub(super) ownership: Ownership,
    /// Endpoints with deliveries that only the store has.
    pub(super) backlog: Backlog,
    /// Of endpoints that differ from the usual.
    pub(super) settings: BTreeMap<EndpointId, Settings>,
    pub(super) timers: Timers,
    pub(super) slots: Slots,
    pub(super) called_off: CalledOff,
    /// Deliveries that may not be sent now and go back to the store.
    pub(super) strays: Vec<Job>,
    /// No ready delivery is past its time to live before that; `None` where none has one.
    expires_at: Option<Timestamp>,
    pub(super) held: usize,
    pub(super) held_bytes: usize,
    /// Room that is kept for claims under way, so that publishers do not take it meanwhile.
    pub(super) coming: usize,
    pub(super) coming_bytes: usize,
    slow_running: usize,
    /// Queues of dead endpoints, which share a pace.
    pub(super) dead: usize,
    /// Lanes that nobody uses at the moment.
    pub(super) idle: usize,
    /// Somebody wants what the store has for them, and there was no room.
    pub(super) starved: bool,
    pub(super) watch: Watch,
    pub(super) stopping: bool,
}

impl State {
    pub(super) fn new(limits: Limits) -> Self {
        State {
            limits,
            queues: Map::default(),
            ring: VecDeque::new(),
            sidelined: VecDeque::new(),
            ownership: Ownership::default(),
            backlog: Backlog::default(),
            settings: BTreeMap::new(),
            timers: Timers::default(),
            slots: Slots::default(),
            called_off: CalledOff::default(),
            strays: Vec::new(),
            expires_at: None,
            held: 0,
            held_bytes: 0,
            coming: 0,
            coming_bytes: 0,
            slow_running: 0,
            dead: 0,
            idle: 0,
            starved: false,
            watch: Watch::default(),
            stopping: false,
        }
    }

    pub(super) fn queue(&mut self, endpoint: EndpointId) -> &mut Queue {
        let (settings, default, ownership) = (&self.settings, self.limits.exchanges_per_endpoint, &self.ownership);
        self.queues.entry(endpoint).or_insert_with(|| {
            let settings = settings.get(&endpoint).copied().unwrap_or_default();
            let mut queue = Queue::new(settings.concurrency.unwrap_or(default));
            queue.rate = settings.rate;
            queue.limiter = ownership.limiter(endpoint, settings.rate);
            queue.busy_elsewhere = ownership.is_busy_elsewhere(endpoint);
            if settings.parked {
                queue.blocked = Blocked::Parked;
            }
            queue
        })
    }

    /// An endpoint changed. Whether it is parked is decided here and nowhere else, in the order in which the configuration changed: a worker
    /// that still looks at an older one must not park what is active again.
    pub(super) fn configure(&mut self, endpoint: EndpointId, settings: Settings) {
        if settings == Settings::default() {
            self.settings.remove(&endpoint);
        } else {
            self.settings.insert(endpoint, settings);
        }
        let default = self.limits.exchanges_per_endpoint;
        let Some(queue) = self.queues.get_mut(&endpoint) else { return };
        queue.rate = settings.rate;
        queue.cap = settings.concurrency.unwrap_or(default);
        if settings.parked {
            queue.blocked = Blocked::Parked;
            self.strays.extend(queue.ready.drain(..));
            queue.ready.shrink_to(HELD_WHEN_FAILING);
            self.backlog.remove(endpoint);
        } else {
            // What held its deliveries back may be gone.
            self.unblock(endpoint);
        }
    }

    // ---- turns ---------------------------------------------------------------------------------------------------

    pub(super) fn enqueue(&mut self, job: Job) {
        let endpoint = job.delivery.endpoint;
        let goes_back = !self.ownership.owns(endpoint) || self.called_off.take(job.delivery.id);
        let queue = self.queue(endpoint);
        if goes_back || queue.blocked == Blocked::Parked {
            self.strays.push(job);
            return;
        }
        let expires_at = job.delivery.progress.expires_at;
        queue.expires_at = queue.expires_at.into_iter().chain(expires_at).min();
        queue.ready.push_back(job);
        self.expires_at = self.expires_at.into_iter().chain(expires_at).min();
        self.offer(endpoint);
    }

    /// Puts an endpoint into the ring if it may send.
    pub(super) fn offer(&mut self, endpoint: EndpointId) {
        let queue = self.queue(endpoint);
        if !queue.in_ring && queue.is_eligible() {
            queue.in_ring = true;
            self.ring.push_back(endpoint);
        }
    }

    /// Whether somebody waits for a turn: without that there is no next one.
    pub(super) fn has_turn(&self) -> bool {
        !self.ring.is_empty() || (!self.sidelined.is_empty() && self.has_slow_place())
    }

    /// The next delivery whose turn it is, with an idle lane of its endpoint if there is one.
    pub(super) fn next(&mut self, now: Timestamp, attempt: impl FnOnce() -> AttemptId) -> Option<Turn> {
        while !self.stopping && self.slots.running() < self.limits.exchanges {
            // One with every turn for as long as there is a place: a call that comes to nothing is followed by another.
            let no_place = !self.has_slow_place();
            if !no_place {
                self.ring.extend(self.sidelined.pop_front());
            }
            let endpoint = self.ring.pop_front()?;
            let Some(queue) = self.queues.get_mut(&endpoint) else {
                continue;
            };
            if queue.is_slow() && no_place {
                // It stays marked as in the ring, so that it is not offered twice.
                self.sidelined.push_back(endpoint);
                continue;
            }
            queue.in_ring = false;
            if !queue.is_eligible() {
                continue;
            }
            if let Some(job) = self.take(endpoint, now) {
                self.offer(endpoint);
                let idle = self.queue(endpoint).idle.pop();
                self.idle -= usize::from(idle.is_some());
                return Some(self.begin(job, idle.map(|i| (i.lane, i.target)), now, attempt()));
            }
        }
        None
    }

    /// Takes an eligible queue's next delivery unless the rate limit says to wait, or its slot was left a moment ago.
    fn take(&mut self, endpoint: EndpointId, now: Timestamp) -> Option<Job> {
        if !self.ownership.owns(endpoint) {
            return None;
        }
        let pace = pace(self.dead);
        let queue = self.queue(endpoint);
        let job = queue.take(now, pace);
        // An eligible queue was not blocked: this is where it became so.
        if let Blocked::Until(at) = queue.blocked {
            self.timers.insert(at, Timer::Unblock(endpoint));
        }
        job
    }

    fn begin(&mut self, job: Job, lane: Option<(Box<dyn Lane>, Arc<Target>)>, now: Timestamp, attempt: AttemptId) -> Turn {
        let queue = self.queue(job.delivery.endpoint);
        queue.running += 1;
        let slow = queue.is_slow();
        self.slow_running += usize::from(slow);
        self.timers.insert(now.after(self.limits.record_after), Timer::Look);
        let (slot, exchange) = self.slots.begin(InFlight { job: job.clone(), attempt, started_at: now, recorded: false });
        Turn { slot, job, attempt, started_at: now, lane, slow, exchange }
    }

    /// Ends a turn, and answers the next one that the same worker takes, if any.
    pub(super) fn finish(&mut self, ended: Ended, now: Timestamp, open: bool, attempt: impl FnOnce() -> AttemptId) -> Option<Turn> {
        let Ended { endpoint, slot, lane, slow, pulse } = ended;
        self.slots.end(slot);
        self.slow_running -= usize::from(slow);
        let queue = self.queue(endpoint);
        queue.running -= 1;
        if queue.running == 0 {
            self.ownership.ended(endpoint);
        }
        self.learn(endpoint, pulse, now);
        self.shed(endpoint);
        let called = if self.has_slow_place() { self.sidelined.len() } else { 0 };
        let stands = usize::from(self.queue(endpoint).in_ring);
        let others = (self.ring.len() + called).saturating_sub(stands);
        let crowded = others > 0 && self.slots.running() + 1 >= self.limits.exchanges;
        let stopping = self.stopping;
        let queue = self.queue(endpoint);
        let stays = open && !stopping && !crowded && queue.is_eligible() && !queue.is_slow();
        if stays && let Some(job) = self.take(endpoint, now) {
            let turn = self.begin(job, lane, now, attempt());
            // Its window may have grown: there may be place for another worker.
            self.offer(endpoint);
            return Some(turn);
        }
        if let Some((lane, target)) = lane
            && self.idle < IDLE_LANES
        {
            self.idle += 1;
            self.queue(endpoint).idle.push(IdleLane { lane, target, since: now });
        }
        self.offer(endpoint);
        if open { self.next(now, attempt) } else { None }
    }

    /// An endpoint is what its last exchange says about it: slow or not, dead or not. Of somebody else's nothing is learned.
    fn learn(&mut self, endpoint: EndpointId, pulse: Pulse, now: Timestamp) {
        if !self.ownership.owns(endpoint) {
            return;
        }
        let queue = self.queue(endpoint);
        let (was_slow, was_dead) = (queue.is_slow(), queue.is_dead());
        queue.learn(pulse, now);
        let (recovered, is_dead) = (was_slow && !queue.is_slow(), queue.is_dead());
        self.dead = self.dead + usize::from(is_dead) - usize::from(was_dead);
        if recovered && let Some(at) = self.sidelined.iter().position(|id| *id == endpoint) {
            self.sidelined.remove(at);
            self.ring.push_back(endpoint);
        }
    }

    /// Slow endpoints share half of the places, so that the others always have theirs.
    fn has_slow_place(&self) -> bool {
        self.slow_running < (self.limits.exchanges / 2).max(1)
    }

    /// An endpoint that has begun to fail keeps only a few deliveries in memory.
    fn shed(&mut self, endpoint: EndpointId) {
        let queue = self.queue(endpoint);
        if queue.is_failing() && queue.ready.len() > 2 * HELD_WHEN_FAILING {
            let extra = queue.ready.split_off(HELD_WHEN_FAILING);
            queue.ready.shrink_to(HELD_WHEN_FAILING);
            self.strays.extend(extra);
        }
    }

    pub(super) fn unblock_if_due(&mut self, endpoint: EndpointId, now: Timestamp) {
        if let Blocked::Until(at) = self.queue(endpoint).blocked
            && at <= now
        {
            self.unblock(endpoint);
        }
    }

    pub(super) fn unblock(&mut self, endpoint: EndpointId) {
        let queue = self.queue(endpoint);
        let was_parked = std::mem::replace(&mut queue.blocked, Blocked::No) == Blocked::Parked;
        let stored_due = queue.stored_due;
        if was_parked {
            self.set_stored(endpoint, stored_due);
        }
        self.offer(endpoint);
    }

    pub(super) fn expedite(&mut self, endpoint: EndpointId) {
        for job in self.timers.drain_jobs_of(endpoint) {
            self.enqueue(job);
        }
        if self.queues.get(&endpoint).is_some_and(|queue| queue.stored_due.is_some()) {
            self.note_stored(endpoint, Timestamp::MIN);
        }
    }

    pub(super) fn expired(&mut self, now: Timestamp) -> Vec<Job> {
        let mut expired = Vec::new();
        if self.expires_at.is_none_or(|at| at > now) {
            return expired;
        }
        for queue in self.queues.values_mut().filter(|queue| queue.expires_at.is_some_and(|at| at <= now)) {
            let (gone, stay): (VecDeque<Job>, VecDeque<Job>) =
                std::mem::take(&mut queue.ready).into_iter().partition(|job| job.delivery.progress.is_expired(now));
            queue.expires_at = stay.iter().filter_map(|job| job.delivery.progress.expires_at).min();
            queue.ready = stay;
            expired.extend(gone);
        }
        self.expires_at = self.queues.values().filter_map(|queue| queue.expires_at).min();
        expired
    }

    pub(super) fn parked(&self) -> Vec<EndpointId> {
        let parked = |queue: &Queue| queue.blocked == Blocked::Parked && queue.stored_due.is_some();
        let mut parked: Vec<_> = self.queues.iter().filter(|(_, queue)| parked(queue)).map(|(id, _)| *id).collect();
        parked.sort_unstable();
        parked
    }

    // ---- slow exchanges, upkeep and the end ----------------------------------------------------------------------

    /// Has exchanges recorded that have been under way for a while; answers when to look again.
    pub(super) fn record_slow(&mut self, shared: &Arc<Shared>, now: Timestamp) {
        let oldest = self.slots.record(now, self.limits.record_after, |flight| shared.settler.push_started(shared, flight));
        if let Some(started_at) = oldest {
            self.timers.insert(started_at.after(self.limits.record_after), Timer::Look);
        }
    }

    pub(super) fn sweep(&mut self, before: Timestamp, now: Timestamp) -> Vec<IdleLane> {
        let mut dropped: Vec<IdleLane> = Vec::new();
        self.queues.retain(|_, queue| {
            let (old, kept) = std::mem::take(&mut queue.idle).into_iter().partition(|idle| idle.since < before);
            queue.idle = kept;
            dropped.extend::<Vec<_>>(old);
            if queue.ready.len() < HELD_WHEN_FAILING {
                queue.ready.shrink_to(HELD_WHEN_FAILING);
            }
            let stays = queue.in_ring || !queue.is_forgettable(now);
            self.dead -= usize::from(!stays && queue.is_dead());
            stays
        });
        self.idle -= dropped.len();
        self.ownership.sweep(now);
        self.called_off.sweep(now);
        dropped
    }

    pub(super) fn empty(&mut self) -> (Vec<Job>, Vec<InFlight>) {
        let (mut jobs, flights) = self.slots.abort_all();
        jobs.append(&mut self.timers.drain_jobs());
        jobs.append(&mut self.strays);
        jobs.extend(self.queues.values_mut().flat_map(|queue| queue.ready.drain(..)));
        (jobs, flights)
    }

    pub(super) fn load(&self) -> Load {
        Load { held: self.held, held_bytes: self.held_bytes, running: self.slots.running(), overflowing: self.backlog.len() }
    }
}
