//! The whole engine in one seeded process: a store, a network and a clock that fail on purpose, and a checker for each promise.
//!
//! A seed stands for a whole world: its configuration, its receivers, what people do, what goes wrong and when the process dies. The same
//! seed always does the same; [`Report::hash`] says whether two runs did.
//!
//! | module | is |
//! |---|---|
//! | `scenario` | the plan that a seed stands for |
//! | `world` | what survives a crash |
//! | `process` | what does not |
//! | `life` | one life of the engine between two crashes |
//! | `together` | in place of that: two or three engines that share the store, and come, go and die beside each other |
//! | `rest` | the end of the last life, where everything must come to rest |
//! | `people` | publishers, editors, repairers, schedulers |
//! | `store`, `network`, `clock` | the ports, with faults |
//! | `checkers` | what must be true, one checker for each promise |
//! | `records`, `trace`, `panics` | what is remembered, what happened |

mod checkers;
mod clock;
mod life;
mod network;
mod panics;
mod people;
mod process;
mod records;
mod rest;
mod scenario;
mod store;
mod together;
mod trace;
mod world;

use scenario::Plan;
use std::fmt;
use std::sync::Arc;
use world::World;

/// How a run differs from the plain one.
#[derive(Clone, Copy, Debug, Default)]
pub struct Options {
    /// Whether several engines share the store, in place of one that lives several times.
    pub together: bool,
    /// Whether every line of the trace is printed on stdout.
    pub trace: bool,
    /// A port that breaks its contract on purpose: the proof that a checker can fail.
    pub sabotage: Option<Sabotage>,
}

/// The promises of the design that are checked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Checker {
    /// What a publisher was told is stored, with all its deliveries, and each ended for a reason.
    AcknowledgedIsDurable,
    /// One key for each event and subscription, no needless duplicate, attempts in order.
    AtLeastOnceRecognisably,
    /// Healthy receivers are served in time whatever the others do.
    Isolation,
    /// Every delivery comes to rest, or waits for a stated reason until a stated time.
    NoForgottenDelivery,
    /// The bytes accepted are the bytes sent.
    BytesAreExact,
    /// The engine's memory stays within its limits.
    MemoryBounded,
    /// Skips, dead letters, counters and histories are complete and right.
    NothingSilent,
    /// Nothing in the process panics.
    NoPanic,
    /// Rate limits, concurrency, the gaps of retry policies and `Retry-After` are honoured.
    LimitsAreKept,
}

impl fmt::Display for Checker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// Ways in which a port can break its contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sabotage {
    /// The store answers some publishes without storing anything.
    AcknowledgesWithoutStoring,
    /// The store keeps events and loses their deliveries.
    StoresEventsAlone,
    /// The store answers some settlements without storing them.
    SettlesWithoutStoring,
    /// The store loses dead letters.
    DropsDeadLetters,
    /// The store does not say that more is waiting.
    ForgetsTheBacklog,
    /// The store hands out more than was asked for.
    ClaimsWithoutLimit,
    /// The store does not find what a dead engine had claimed.
    ForgetsClaims,
    /// Retention removes what is too young.
    PrunesTooEarly,
    /// The network sends every request twice.
    RepeatsRequests,
    /// The network changes bodies.
    ChangesBytes,
    /// The network makes one exchange at a time.
    OneAtATime,
    /// The store loses the limits of endpoints.
    ForgetsLimits,
    /// The network does not pass `Retry-After` on.
    HidesRetryAfter,
    /// The store panics in some settlements.
    Panics,
    /// The store shortens the lives of deliveries.
    ExpiresEarly,
    /// The store loses retry policies: the first failure is the last.
    ForgetsRetries,
    /// The store does not say what an engine left of its endpoints' limits to the next one.
    ForgetsHandovers,
}

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Violation {
    /// Which one.
    pub checker: Checker,
    /// What was found, for people.
    pub what: String,
}

/// What came of a run.
#[derive(Clone, Debug)]
pub struct Report {
    /// The seed.
    pub seed: u64,
    /// Whether several engines shared the store.
    pub together: bool,
    /// Over the whole trace: two runs with the same hash did the same.
    pub hash: u64,
    /// How many things happened.
    pub lines: u64,
    /// Processes that there were.
    pub lives: usize,
    /// Events that were stored.
    pub events: usize,
    /// Exchanges that were begun.
    pub exchanges: usize,
    /// Broken promises, the first ones of them.
    pub violations: Vec<Violation>,
}

/// Runs the world of a seed from its beginning to its end, and judges it.
pub fn run(seed: u64, options: Options) -> Report {
    panics::watch();
    // What an earlier run on this thread left.
    _ = panics::taken();
    let plan = if options.together { Plan::together(seed) } else { Plan::of(seed) };
    let world = Arc::new(World::new(plan, options));
    life::install(&world);
    if options.together {
        together::live(&world);
    } else {
        world.plan.lives.iter().for_each(|life| life::live(&world, life));
    }
    world.panics();
    checkers::check(&world);
    let events = world.store.dump().events.len();
    let state = world.state();
    let events = events + state.removed.events.len();
    let (hash, lines, exchanges) = (state.trace.hash(), state.trace.lines(), state.exchanges.len());
    let lives = state.processes.len();
    drop(state);
    Report { seed, together: options.together, hash, lines, lives, events, exchanges, violations: world.violations() }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Violation { checker, what } in &self.violations {
            writeln!(f, "seed {} failed: {checker}: {what}", self.seed)?;
        }
        if !self.violations.is_empty() {
            let together = if self.together { "--together " } else { "" };
            write!(f, "replay it: cargo run -p postrider-sim --release -- {together}--seed {} --trace", self.seed)?;
        }
        Ok(())
    }
}
