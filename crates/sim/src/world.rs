//! What survives a crash: the store's data, the receivers and their logs, what publishers were told, the time.
//!
//! What does not survive it is a [`Process`](crate::process::Process).

use crate::clock::FakeClock;
use crate::process::Body;
use crate::records::{Booking, Call, EndOfLife, Exchanged, Fact, Removed, Replays};
use crate::scenario::{Life, Manner, Plan};
use crate::trace::Trace;
use crate::{Checker, Options, Violation};
use parking_lot::{Mutex, MutexGuard};
use postrider_core::ports::{Clock, FaultKind, StoreErrorKind};
use postrider_core::time::Timestamp;
use postrider_store::memory::MemoryStore;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// When every world begins.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_secs(1_767_225_600);

/// How long faults go on in the last life. What they leave stuck in memory must come to rest without the help of a restart.
pub(crate) const UNREST: Duration = Duration::from_secs(60);

/// Violations that are kept; the first one is what matters.
const VIOLATIONS: usize = 20;

/// A world with one store, its receivers and its people.
pub(crate) struct World {
    pub(crate) plan: Plan,
    pub(crate) options: Options,
    /// The first handle of the store. It is used for looking only.
    pub(crate) store: MemoryStore,
    state: Mutex<State>,
}

/// What changes.
pub(crate) struct State {
    pub(crate) life: usize,
    pub(crate) rng: fastrand::Rng,
    pub(crate) facts: Vec<Fact>,
    pub(crate) exchanges: Vec<Exchanged>,
    pub(crate) replays: Replays,
    pub(crate) removed: Removed,
    pub(crate) bookings: Vec<Booking>,
    pub(crate) ends: Vec<EndOfLife>,
    /// Every process that there ever was, by its number.
    pub(crate) processes: Vec<Body>,
    pub(crate) trace: Trace,
    violations: Vec<Violation>,
    /// When the present life began, or the last one ended.
    base: Timestamp,
    clock: Option<FakeClock>,
}

/// What the store does with a verb.
pub(crate) struct Treatment {
    pub(crate) before: Duration,
    pub(crate) refusal: Option<StoreErrorKind>,
    pub(crate) after: Duration,
}

impl World {
    pub(crate) fn new(plan: Plan, options: Options) -> Self {
        let state = State {
            life: 0,
            rng: fastrand::Rng::with_seed(plan.seed ^ 0x9e37_79b9_7f4a_7c15),
            facts: Vec::new(),
            exchanges: Vec::new(),
            replays: Replays::default(),
            removed: Removed::default(),
            bookings: Vec::new(),
            ends: Vec::new(),
            processes: Vec::new(),
            trace: Trace::new(options.trace),
            violations: Vec::new(),
            base: BEGINNING,
            clock: None,
        };
        let store = if plan.cluster.is_some() { MemoryStore::new().shared() } else { MemoryStore::new() };
        World { plan, options, store, state: Mutex::new(state) }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock()
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.state().now()
    }

    /// Notes a line of the trace.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        self.state().note(what);
    }

    pub(crate) fn violated(&self, checker: Checker, what: String) {
        let mut state = self.state();
        state.note(format_args!("violated {checker}: {what}"));
        if state.violations.len() < VIOLATIONS {
            state.violations.push(Violation { checker, what });
        }
    }

    pub(crate) fn violations(&self) -> Vec<Violation> {
        self.state().violations.clone()
    }

    // ---- lives ---------------------------------------------------------------------------------------------------

    /// A life begins; must be called inside its runtime.
    pub(crate) fn begin(&self) -> FakeClock {
        let mut state = self.state();
        let clock = FakeClock::starting_at(state.base);
        state.clock = Some(clock);
        state.note(format_args!("life begins"));
        clock
    }

    /// The life is over; must be called inside its runtime, before that is dropped, and when its processes are over.
    pub(crate) fn end(&self) {
        let mut state = self.state();
        state.base = state.now();
        state.clock = None;
    }

    /// The process is down: the store is looked at, time passes, the next life is waited for.
    pub(crate) fn bury(&self, clean: bool, life: &Life) {
        let dump = self.store.dump();
        let progress: BTreeMap<_, _> = dump.deliveries.iter().map(|d| (d.id, d.progress)).collect();
        let mut state = self.state();
        state.note(format_args!("life ended, clean: {clean}, {} deliveries, {} claims", progress.len(), dump.claims.len()));
        state.ends.push(EndOfLife { clean, progress });
        state.base = state.base.after(life.downtime).before(life.set_back);
        state.life += 1;
    }

    // ---- trouble -------------------------------------------------------------------------------------------------

    /// Whether the store has trouble at times, and may still have some.
    pub(crate) fn has_troubles(&self) -> bool {
        let state = self.state();
        let lived = state.now().since(state.base);
        !(self.plan.lives[state.life].troubles.is_empty() || self.is_last(state.life) && lived >= UNREST)
    }

    /// What becomes of a verb that begins now.
    pub(crate) fn treat(&self, is_write: bool) -> Treatment {
        let mut state = self.state();
        let since = state.now().since(state.base);
        let life = &self.plan.lives[state.life];
        let trouble = life.troubles.iter().find(|t| t.from <= since && since < t.to).copied();
        let rng = &mut state.rng;
        let latency = trouble.map_or(self.plan.store_latency, |t| t.latency);
        let (before, after) = (latency.draw(rng) / 2, latency.draw(rng) / 2);
        let percent = trouble.map_or(0, |t| if is_write { t.writes } else { t.reads });
        let fails = rng.u8(..100) < percent;
        Treatment { before, refusal: trouble.filter(|_| fails).map(|t| t.kind), after }
    }

    /// What a receiver does with the request that begins now, and how long the way there and back takes.
    pub(crate) fn manner(&self, receiver: usize) -> (Manner, Duration) {
        let mut state = self.state();
        let since = state.now().since(BEGINNING);
        let Some(plan) = self.plan.receivers.get(receiver) else {
            return (Manner::Unreachable(FaultKind::Dns), Duration::ZERO);
        };
        let lived = state.now().since(state.base);
        let is_calm = self.plan.healthy.is_none() && self.is_last(state.life) && lived >= UNREST;
        let latency = plan.latency.draw(&mut state.rng);
        let dice = state.rng.u8(..100);
        let mood = plan.moods.iter().find(|m| !is_calm && m.from <= since && since < m.to && dice < m.percent);
        let manner = plan.broken.or(mood.map(|m| m.manner));
        (manner.unwrap_or(Manner::Well), latency)
    }

    /// Notes that something in the process panicked. Must be called on the thread of the run.
    pub(crate) fn panics(&self) {
        for what in crate::panics::taken() {
            self.violated(Checker::NoPanic, what);
        }
    }

    /// Whether this life is the one in which everything comes to rest.
    pub(crate) fn is_last(&self, life: usize) -> bool {
        life + 1 == self.plan.lives.len()
    }

    // ---- publishers ----------------------------------------------------------------------------------------------

    /// Somebody tries to publish a fact; answers the number of the try.
    pub(crate) fn calls(&self, fact: usize, call: Call) -> usize {
        let mut state = self.state();
        state.note(format_args!("publish {fact}: {} expected, {} skipped", call.expected.len(), call.skipped.len()));
        let calls = &mut state.facts[fact].calls;
        calls.push(call);
        calls.len() - 1
    }
}

impl State {
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.map_or(self.base, |clock| clock.now())
    }

    pub(crate) fn note(&mut self, what: fmt::Arguments<'_>) {
        let (life, now) = (self.life, self.now());
        self.trace.line(life, now, what);
    }
}
