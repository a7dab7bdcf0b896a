//! One process: an engine from its start to its end, however that comes.
//!
//! Everything that it does passes [`Process::step`]; it dies at a step or at an instant, and from then on nothing of it has any effect: whoever
//! reaches a step waits there for ever.

use crate::records::CallOutcome;
use crate::world::{Treatment, World};
use postrider_core::ports::StoreErrorKind;
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, PublishError, Receipt};
use std::fmt;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// For how long a process may go on acting that cannot reach the store. The others take it for dead [a second later](crate::together::LEASE).
const MAY_ACT: Duration = Duration::from_secs(3);

/// A process, seen from inside: its world, and which of the world's processes it is.
#[derive(Clone)]
pub(crate) struct Process {
    world: Arc<World>,
    pub(crate) number: usize,
}

/// What the world knows of a process.
#[derive(Debug, Default)]
pub(crate) struct Body {
    steps: u64,
    crash_at: Option<u64>,
    engine: Option<Engine>,
    died: Arc<Notify>,
    /// Since when nothing of it has any effect.
    gone_at: Option<Timestamp>,
    /// Since when it cannot reach the store, if it cannot.
    away_since: Option<Timestamp>,
    /// When the others took it for dead, or it left with something unstored: what it knew may be lost.
    lost_at: Option<Timestamp>,
}

impl Body {
    pub(crate) fn gone_at(&self) -> Option<Timestamp> {
        self.gone_at
    }

    pub(crate) fn lost_at(&self) -> Option<Timestamp> {
        self.lost_at
    }
}

impl Deref for Process {
    type Target = World;

    fn deref(&self) -> &World {
        &self.world
    }
}

impl Process {
    /// A process begins. It dies at step `crash_at`, if set.
    pub(crate) fn begin(world: &Arc<World>, crash_at: Option<u64>) -> Process {
        let mut state = world.state();
        let number = state.processes.len();
        state.processes.push(Body { crash_at, ..Body::default() });
        Process { world: Arc::clone(world), number }
    }

    pub(crate) fn world(&self) -> &Arc<World> {
        &self.world
    }

    fn with<T>(&self, look: impl FnOnce(&mut Body) -> T) -> T {
        look(&mut self.world.state().processes[self.number])
    }

    /// Notes a line of the trace; where there are several, with whose it is.
    pub(crate) fn note(&self, what: fmt::Arguments<'_>) {
        if self.world.plan.cluster.is_some() {
            self.world.note(format_args!("process {}: {what}", self.number));
        } else {
            self.world.note(what);
        }
    }

    /// Its engine, to be looked at.
    pub(crate) fn watch(&self, engine: Engine) {
        self.with(|body| body.engine = Some(engine));
    }

    // ---- its end -------------------------------------------------------------------------------------------------

    /// Waits for the process to die.
    pub(crate) async fn died(&self) {
        let died = self.with(|body| Arc::clone(&body.died));
        loop {
            let dies = died.notified();
            if self.is_dead() {
                return;
            }
            dies.await;
        }
    }

    pub(crate) fn is_dead(&self) -> bool {
        self.with(|body| body.gone_at.is_some())
    }

    /// The process dies now.
    pub(crate) fn kill(&self) {
        if !self.is_dead() {
            self.note(format_args!("crash"));
            self.over();
        }
    }

    /// From now on nothing of it has any effect.
    pub(crate) fn over(&self) {
        let engine = {
            let mut state = self.world.state();
            let now = state.now();
            let body = &mut state.processes[self.number];
            body.gone_at = body.gone_at.or(Some(now));
            body.died.notify_waiters();
            body.engine.take()
        };
        // What ends with it may look at the world.
        drop(engine);
    }

    /// What it knew and had not stored is lost from now on: others go on without it.
    pub(crate) fn lost(&self) {
        let mut state = self.world.state();
        let now = state.now();
        state.processes[self.number].lost_at = Some(now);
    }

    /// Something happens. In a dead process nothing does: it never returns.
    pub(crate) async fn step(&self) {
        let dies = self.with(|body| {
            body.steps += 1;
            body.crash_at == Some(body.steps)
        });
        if dies {
            self.kill();
        }
        if self.is_dead() {
            std::future::pending::<()>().await;
        }
        self.look();
    }

    /// Holds the engine against its bounds.
    fn look(&self) {
        let engine = self.with(|body| body.engine.clone());
        if let Some(engine) = engine {
            crate::checkers::memory::look(&self.world, engine.stats().load);
        }
    }

    // ---- the way to the store ------------------------------------------------------------------------------------

    /// From now on it cannot reach the store, or can again.
    pub(crate) fn goes_away(&self, away: bool) {
        self.note(format_args!("cannot reach the store: {away}"));
        let mut state = self.world.state();
        let now = state.now();
        state.processes[self.number].away_since = away.then_some(now);
    }

    pub(crate) fn is_away(&self) -> bool {
        self.with(|body| body.away_since.is_some())
    }

    /// Whether its lease lets it begin anything.
    pub(crate) fn may_act(&self) -> bool {
        let state = self.world.state();
        let body = &state.processes[self.number];
        body.gone_at.is_none() && body.away_since.is_none_or(|since| state.now().since(since) < MAY_ACT)
    }

    /// What becomes of a verb that begins now.
    pub(crate) fn treat(&self, is_write: bool) -> Treatment {
        let treatment = self.world.treat(is_write);
        if self.is_away() { Treatment { refusal: Some(StoreErrorKind::Unavailable), ..treatment } } else { treatment }
    }

    // ---- publishers ----------------------------------------------------------------------------------------------

    /// The publisher is told what became of it, unless the process is dead.
    pub(crate) fn told(&self, fact: usize, call: usize, answer: &Result<Receipt, PublishError>) {
        if self.is_dead() {
            return;
        }
        self.note(format_args!("publish {fact} answered: {answer:?}"));
        self.world.state().facts[fact].calls[call].outcome = match answer {
            Ok(receipt) => CallOutcome::Acknowledged(*receipt),
            // A shutdown overtook it on its way into the store.
            Err(PublishError::Unknown) => CallOutcome::Unknown,
            Err(_) => CallOutcome::Refused,
        };
    }
}
