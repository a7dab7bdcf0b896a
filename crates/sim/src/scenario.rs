//! What a seed stands for: a whole plan, drawn before anything runs.

mod generate;
mod parts;
mod together;

pub(crate) use parts::{draw, parts_of_events, subscription};

use postrider_core::endpoint::Endpoint;
use postrider_core::ports::FaultKind;
use postrider_core::subscription::Subscription;
use postrider_engine::{Limits, Retention};
use std::time::Duration;

/// Everything that will be done and that will go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) limits: Limits,
    pub(crate) retention: Retention,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) subscriptions: Vec<Subscription>,
    /// One for each endpoint, in its order.
    pub(crate) receivers: Vec<Receiver>,
    /// How long the store takes for a verb when all is well.
    pub(crate) store_latency: Latency,
    pub(crate) lives: Vec<Life>,
    /// What is done in every life.
    pub(crate) traffic: Traffic,
    /// Set where healthy receivers must be served within bounds while the others hang: the numbers of the healthy ones.
    pub(crate) healthy: Option<Vec<usize>>,
    /// Set where several engines share the store: then there is one life.
    pub(crate) cluster: Option<Cluster>,
}

/// How a receiver behaves.
#[derive(Clone, Debug)]
pub(crate) struct Receiver {
    pub(crate) latency: Latency,
    /// From when to when, counted from the beginning of the world, it behaves otherwise than well.
    pub(crate) moods: Vec<Mood>,
    /// What it does for ever, even when all others are well again.
    pub(crate) broken: Option<Manner>,
}

/// A receiver's behaviour for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Mood {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    pub(crate) manner: Manner,
    /// How many of a hundred requests meet it.
    pub(crate) percent: u8,
}

/// What a receiver (or the way to it) does with a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Manner {
    /// Takes it.
    Well,
    /// Answers this, asking to wait if set.
    Answers(u16, Option<Duration>),
    /// The request never arrives.
    Unreachable(FaultKind),
    /// The connection breaks: after the request arrived or before.
    Breaks { received: bool },
    /// Nothing comes back until the deadline, whether or not the request arrived.
    Hangs { received: bool },
    /// Takes it, but after so long.
    Slow(Duration),
}

/// From and to, in milliseconds of virtual time.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Latency {
    pub(crate) from: u64,
    pub(crate) to: u64,
}

impl Latency {
    pub(crate) fn draw(self, rng: &mut fastrand::Rng) -> Duration {
        Duration::from_millis(rng.u64(self.from..=self.to))
    }
}

/// One life of the engine.
#[derive(Clone, Debug)]
pub(crate) struct Life {
    pub(crate) end: End,
    /// How long the process stays down afterwards.
    pub(crate) downtime: Duration,
    /// How far the machine's clock is set back meanwhile.
    pub(crate) set_back: Duration,
    /// When the store has trouble, counted from the life's beginning.
    pub(crate) troubles: Vec<Trouble>,
}

/// How a life ends.
#[derive(Clone, Copy, Debug)]
pub(crate) enum End {
    /// The process dies at this step, or after that time if the step does not come.
    CrashAtStep(u64, Duration),
    /// The process dies at this instant.
    CrashAfter(Duration),
    /// It is shut down after the first, within the second.
    Shutdown(Duration, Duration),
    /// All faults are over; it ends when everything has come to rest.
    Rest,
}

/// The store fails for a while.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Trouble {
    pub(crate) from: Duration,
    pub(crate) to: Duration,
    /// How many of a hundred writes fail.
    pub(crate) writes: u8,
    /// How many of a hundred reads fail.
    pub(crate) reads: u8,
    /// How long verbs take meanwhile.
    pub(crate) latency: Latency,
    pub(crate) kind: postrider_core::ports::StoreErrorKind,
}

/// What people and programs do.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Traffic {
    /// Publishers at the same time.
    pub(crate) publishers: usize,
    /// Bursts that each of them publishes in a life.
    pub(crate) bursts: usize,
    /// Events in a burst, at most.
    pub(crate) burst: usize,
    /// The pause between two bursts.
    pub(crate) pause: Latency,
    /// Largest payload in bytes.
    pub(crate) payload: usize,
    /// How many of a hundred events have an idempotency key, a time to live, a single addressee.
    pub(crate) keyed: u8,
    pub(crate) mortal: u8,
    pub(crate) addressed: u8,
    /// How many of a hundred publishers go away before the answer.
    pub(crate) impatient: u8,
    /// Changes of the configuration in a life.
    pub(crate) edits: usize,
    /// Replays, retried and dismissed dead letters in a life.
    pub(crate) repairs: usize,
    /// Scheduled webhooks stored in a life.
    pub(crate) bookings: usize,
}

/// Several engines beside each other.
#[derive(Clone, Debug)]
pub(crate) struct Cluster {
    pub(crate) seats: Vec<Seat>,
    /// How many of a hundred news are lost.
    pub(crate) lost_news: u8,
}

/// A machine on which one process follows the other. After the last of these comes one that stays.
#[derive(Clone, Debug)]
pub(crate) struct Seat {
    /// When the first one is started.
    pub(crate) after: Duration,
    pub(crate) stays: Vec<Stay>,
}

/// One process that ends before the world does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stay {
    /// How long it is there before its end begins.
    pub(crate) length: Duration,
    pub(crate) end: Ending,
    /// How long nobody is there afterwards.
    pub(crate) pause: Duration,
}

/// How a process ends that has others beside it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Ending {
    /// It dies.
    Crash,
    /// The same at this step, or after its time if the step does not come.
    CrashAtStep(u64),
    /// It is shut down within this time.
    Stop(Duration),
    /// It cannot reach the store for so long. If that is a lease the others take it for dead, else it is shut down a moment later.
    Away(Duration),
}
