//! Events to be published again: a batch is what a list had when it was asked for, and its events become new ones piece by piece once
//! somebody starts it.
//!
//! The new events of a piece are stored with how far the batch has come, in one piece, so that a crash neither loses its place nor publishes
//! an event twice.

use super::{NewEvent, REQUEST_MEMORY};
use crate::event::Namespace;
use crate::id::RepushId;
use crate::time::Timestamp;
use std::time::Duration;

/// Most events of one batch (contract of the RPC API, section 6).
pub const MAX_REPUSH: u32 = 10_000;

/// How long a batch can be started after it was made. As long as keys of requests are known, so that retention takes both together.
pub const REPUSH_MEMORY: Duration = REQUEST_MEMORY;

/// A batch of events to be published again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Repush {
    /// Its id.
    pub id: RepushId,
    /// The tenant whose events these are; `None` is the master view, for events of several.
    pub namespace: Option<Namespace>,
    /// How it stands.
    pub state: RepushState,
    /// How many events it has.
    pub total: u32,
    /// How many of them it is through with, from the oldest on.
    pub done: u32,
    /// How many of these were not published again: they are gone, or events of their type are not taken, or the store failed with each.
    pub failed: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it came to an end; set exactly while it is neither pending nor running.
    pub ended_at: Option<Timestamp>,
}

/// How a [`Repush`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RepushState {
    /// Nobody has started it.
    Pending,
    /// It goes on, over restarts too.
    Running,
    /// Somebody stopped it.
    Cancelled,
    /// It is through.
    Completed,
    /// It is through, and none of its events was published again.
    Failed,
}

impl RepushState {
    /// Whether a person may bring it from this state to that one: starting and cancelling. It is completed by its last [`RepushStep`] alone.
    pub fn may_become(self, to: RepushState) -> bool {
        use RepushState::{Cancelled, Pending, Running};
        matches!((self, to), (Pending, Running | Cancelled) | (Running, Cancelled))
    }

    /// Whether it has come to an end.
    pub fn has_ended(self) -> bool {
        !matches!(self, RepushState::Pending | RepushState::Running)
    }
}

/// A piece of a batch, stored whole or not at all.
#[derive(Clone, Debug)]
pub struct RepushStep {
    /// The batch.
    pub id: RepushId,
    /// Where the piece begins: as far as the batch is, or else somebody else has carried it on.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// The new events. Their deliveries are unclaimed, and none has an idempotency key.
    pub events: Vec<NewEvent>,
    /// How many events of the piece are not published again.
    pub failed: u32,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`RepushStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Repushed {
    /// It is stored; the batch as it is now.
    Done(Repush),
    /// The batch is gone, is not running, or is somewhere else. Nothing was stored.
    Fenced,
}

impl Repush {
    /// From when on it cannot be started any more.
    pub fn expires_at(&self) -> Timestamp {
        self.created_at.after(REPUSH_MEMORY)
    }

    /// Whether this piece comes next.
    pub fn takes(&self, step: &RepushStep) -> bool {
        self.state == RepushState::Running && self.done == step.from && step.from <= step.to
    }

    /// The batch after a piece.
    pub fn after(self, step: &RepushStep) -> Self {
        let (done, failed) = (step.to.min(self.total), self.failed.saturating_add(step.failed).min(self.total));
        let moved = Repush { done, failed, updated_at: step.at, ..self };
        if moved.done < moved.total {
            return moved;
        }
        let state = if moved.failed == moved.total { RepushState::Failed } else { RepushState::Completed };
        moved.in_state(state, step.at)
    }

    /// The batch in this state since then.
    pub fn in_state(self, state: RepushState, at: Timestamp) -> Self {
        Repush { state, updated_at: at, ended_at: state.has_ended().then_some(at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn batch(total: u32) -> Repush {
        let now = Timestamp::from_secs(1);
        let state = RepushState::Running;
        let id = RepushId::new(Uuid::nil());
        Repush { id, namespace: None, state, total, done: 0, failed: 0, created_at: now, updated_at: now, ended_at: None }
    }

    fn step(from: u32, to: u32, failed: u32) -> RepushStep {
        RepushStep { id: batch(1).id, from, to, events: Vec::new(), failed, at: Timestamp::from_secs(9) }
    }

    #[test]
    fn a_batch_ends_with_its_last_event() {
        let half = batch(4).after(&step(0, 2, 2));
        assert_eq!((half.state, half.done, half.failed, half.ended_at), (RepushState::Running, 2, 2, None));
        assert!(half.takes(&step(2, 4, 0)) && !half.takes(&step(0, 2, 0)) && !half.takes(&step(2, 1, 0)));
        let whole = half.clone().after(&step(2, 4, 0));
        assert_eq!((whole.state, whole.ended_at), (RepushState::Completed, Some(Timestamp::from_secs(9))));
        assert_eq!(half.after(&step(2, 4, 2)).state, RepushState::Failed, "nothing was published");
        assert!(!whole.takes(&step(4, 4, 0)));
    }

    #[test]
    fn people_start_and_cancel_and_nothing_else() {
        use RepushState::{Cancelled, Completed, Failed, Pending, Running};
        let all = [Pending, Running, Cancelled, Completed, Failed];
        let allowed: Vec<_> = all.iter().flat_map(|from| all.map(|to| (*from, to))).filter(|(from, to)| from.may_become(*to)).collect();
        assert_eq!(allowed, [(Pending, Running), (Pending, Cancelled), (Running, Cancelled)]);
        assert_eq!(all.map(RepushState::has_ended), [false, false, true, true, true]);
        assert_eq!(batch(1).expires_at(), Timestamp::from_secs(1 + 86_400));
    }
}
