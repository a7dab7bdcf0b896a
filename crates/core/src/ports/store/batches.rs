//! Batches: what a list had when it was asked for, to be done piece by piece once somebody starts it. Events are published again, deliveries
//! are tried again.
//!
//! What becomes of a piece is stored with how far the batch has come, in one piece, so that a crash neither loses its place nor does anything
//! twice.

use super::{NewEvent, REQUEST_MEMORY, Retried};
use crate::event::Namespace;
use crate::id::{BatchId, DeliveryId, EventSeq};
use crate::time::Timestamp;
use std::time::Duration;

/// Most entries of one batch (contract of the RPC API, section 6).
pub const MAX_BATCH: u32 = 10_000;

/// How long a batch can be started after it was made. As long as keys of requests are known, so that retention takes both together.
pub const BATCH_MEMORY: Duration = REQUEST_MEMORY;

/// What is done with the entries of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchKind {
    /// Events are published again.
    Repush,
    /// Deliveries are tried again, but for those that have succeeded.
    Retry,
}

/// Entries of a batch, in the order in which they are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchEntries {
    /// Of a [`BatchKind::Repush`].
    Events(Vec<EventSeq>),
    /// Of a [`BatchKind::Retry`].
    Deliveries(Vec<DeliveryId>),
}

impl BatchEntries {
    /// What is done with them.
    pub fn kind(&self) -> BatchKind {
        match self {
            BatchEntries::Events(_) => BatchKind::Repush,
            BatchEntries::Deliveries(_) => BatchKind::Retry,
        }
    }

    /// How many they are.
    pub fn len(&self) -> usize {
        match self {
            BatchEntries::Events(events) => events.len(),
            BatchEntries::Deliveries(deliveries) => deliveries.len(),
        }
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// A batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Its id.
    pub id: BatchId,
    /// What is done with its entries.
    pub kind: BatchKind,
    /// The tenant whose entries these are; `None` is the master view, for those of several.
    pub namespace: Option<Namespace>,
    /// How it stands.
    pub state: BatchState,
    /// How many entries it has.
    pub total: u32,
    /// How many of them it is through with, from the first on.
    pub done: u32,
    /// How many of these were not done: they are gone, or not to be done any more, or the store failed with each.
    pub failed: u32,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it came to an end; set exactly while it is neither pending nor running.
    pub ended_at: Option<Timestamp>,
}

/// How a [`Batch`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BatchState {
    /// Nobody has started it.
    Pending,
    /// It goes on, over restarts too.
    Running,
    /// Somebody stopped it.
    Cancelled,
    /// It is through.
    Completed,
    /// It is through, and none of its entries was done.
    Failed,
}

impl BatchState {
    /// Whether a person may bring it from this state to that one: starting and cancelling. It is completed by its last [`BatchStep`] alone.
    pub fn may_become(self, to: BatchState) -> bool {
        use BatchState::{Cancelled, Pending, Running};
        matches!((self, to), (Pending, Running | Cancelled) | (Running, Cancelled))
    }

    /// Whether it has come to an end.
    pub fn has_ended(self) -> bool {
        !matches!(self, BatchState::Pending | BatchState::Running)
    }
}

/// What a piece of a batch does.
#[derive(Clone, Debug)]
pub enum BatchWork {
    /// Stores these new events. Their deliveries are unclaimed, and none has an idempotency key.
    Publish(Vec<NewEvent>),
    /// [Retries](super::Store::retry) these deliveries, without force.
    Retry(Vec<DeliveryId>),
}

impl BatchWork {
    /// The kind of batch that this is a part of.
    pub fn kind(&self) -> BatchKind {
        match self {
            BatchWork::Publish(_) => BatchKind::Repush,
            BatchWork::Retry(_) => BatchKind::Retry,
        }
    }

    /// A piece of such a batch that does nothing.
    pub fn none(kind: BatchKind) -> Self {
        match kind {
            BatchKind::Repush => BatchWork::Publish(Vec::new()),
            BatchKind::Retry => BatchWork::Retry(Vec::new()),
        }
    }
}

/// A piece of a batch, stored whole or not at all.
#[derive(Clone, Debug)]
pub struct BatchStep {
    /// The batch.
    pub id: BatchId,
    /// Where the piece begins: as far as the batch is, or else somebody else has carried it on.
    pub from: u32,
    /// Where it ends.
    pub to: u32,
    /// What is done.
    pub work: BatchWork,
    /// For how many entries of the piece nothing is done.
    pub failed: u32,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`BatchStep`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BatchStepped {
    /// It is stored: the batch as it is now, and what became of each delivery that was to be retried.
    Done(Batch, Vec<Retried>),
    /// The batch is gone, of another kind, is not running, or is somewhere else. Nothing was stored.
    Fenced,
}

impl Batch {
    /// One that nobody has started.
    pub fn new(id: BatchId, namespace: Option<Namespace>, entries: &BatchEntries, at: Timestamp) -> Self {
        Batch {
            id,
            kind: entries.kind(),
            namespace,
            state: BatchState::Pending,
            total: u32::try_from(entries.len()).unwrap_or(u32::MAX),
            done: 0,
            failed: 0,
            created_at: at,
            updated_at: at,
            ended_at: None,
        }
    }

    /// From when on it cannot be started any more.
    pub fn expires_at(&self) -> Timestamp {
        self.created_at.after(BATCH_MEMORY)
    }

    /// Whether this piece comes next.
    pub fn takes(&self, step: &BatchStep) -> bool {
        self.state == BatchState::Running && self.kind == step.work.kind() && self.done == step.from && step.from <= step.to
    }

    /// The batch after a piece whose retries were answered so.
    pub fn after(self, step: &BatchStep, answers: &[Retried]) -> Self {
        let refused = answers.iter().filter(|answer| answer.is_refusal()).count();
        let failed = step.failed.saturating_add(u32::try_from(refused).unwrap_or(u32::MAX));
        let (done, failed) = (step.to.min(self.total), self.failed.saturating_add(failed).min(self.total));
        let moved = Batch { done, failed, updated_at: step.at, ..self };
        if moved.done < moved.total {
            return moved;
        }
        let state = if moved.failed == moved.total { BatchState::Failed } else { BatchState::Completed };
        moved.in_state(state, step.at)
    }

    /// The batch in this state since then.
    pub fn in_state(self, state: BatchState, at: Timestamp) -> Self {
        Batch { state, updated_at: at, ended_at: state.has_ended().then_some(at), ..self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::StateKind;
    use uuid::Uuid;

    fn batch(total: i64) -> Batch {
        let entries = BatchEntries::Events((0..total).map(EventSeq).collect());
        let now = Timestamp::from_secs(1);
        Batch::new(BatchId::new(Uuid::nil()), None, &entries, now).in_state(BatchState::Running, now)
    }

    fn step(from: u32, to: u32, failed: u32) -> BatchStep {
        let work = BatchWork::none(BatchKind::Repush);
        BatchStep { id: batch(1).id, from, to, work, failed, at: Timestamp::from_secs(9) }
    }

    #[test]
    fn a_batch_ends_with_its_last_entry() {
        let half = batch(4).after(&step(0, 2, 2), &[]);
        assert_eq!((half.state, half.done, half.failed, half.ended_at), (BatchState::Running, 2, 2, None));
        assert!(half.takes(&step(2, 4, 0)) && !half.takes(&step(0, 2, 0)) && !half.takes(&step(2, 1, 0)));
        assert!(!half.takes(&BatchStep { work: BatchWork::none(BatchKind::Retry), ..step(2, 4, 0) }), "of another kind");
        let whole = half.clone().after(&step(2, 4, 0), &[]);
        assert_eq!((whole.state, whole.ended_at), (BatchState::Completed, Some(Timestamp::from_secs(9))));
        assert_eq!(half.clone().after(&step(2, 4, 2), &[]).state, BatchState::Failed, "nothing was done");
        assert!(!whole.takes(&step(4, 4, 0)));
        let answers = [Retried::NotFound, Retried::Refused(StateKind::Succeeded)];
        assert_eq!(half.after(&step(2, 4, 0), &answers).state, BatchState::Failed, "what the store refuses counts as well");
    }

    #[test]
    fn people_start_and_cancel_and_nothing_else() {
        use BatchState::{Cancelled, Completed, Failed, Pending, Running};
        let all = [Pending, Running, Cancelled, Completed, Failed];
        let allowed: Vec<_> = all.iter().flat_map(|from| all.map(|to| (*from, to))).filter(|(from, to)| from.may_become(*to)).collect();
        assert_eq!(allowed, [(Pending, Running), (Pending, Cancelled), (Running, Cancelled)]);
        assert_eq!(all.map(BatchState::has_ended), [false, false, true, true, true]);
        assert_eq!(batch(1).expires_at(), Timestamp::from_secs(1 + 86_400));
    }
}
