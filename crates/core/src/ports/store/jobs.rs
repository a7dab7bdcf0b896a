//! Bulk replays: jobs that walk over a list of dead letters and make their deliveries again, piece by piece.
//!
//! A job is a row. Whoever carries it out reads the dead letters behind its cursor and puts their replays, the new cursor and the counts
//! into the store in one piece, so that a crash neither loses its place nor makes a piece twice.

use super::{DeadLetterFilter, DeadLetterPlace, Replay, Replayed};
use crate::event::Namespace;
use crate::id::JobId;
use crate::time::Timestamp;

/// A bulk replay.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Job {
    /// Its id; jobs are listed in descending order of it.
    pub id: JobId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// Which dead letters it replays. As it is stored, a filter is of the job's own tenant, whatever it was before.
    pub filter: DeadLetterFilter,
    /// How it stands.
    pub state: JobState,
    /// The place of the last dead letter that it dealt with, in the list of its filter; `None` at the beginning.
    pub cursor: Option<DeadLetterPlace>,
    /// How many dead letters matched when it began.
    pub matched: u64,
    /// How many deliveries it made again.
    pub replayed: u64,
    /// How many dead letters it passed over: they had been dealt with, or their delivery could not be made again.
    pub skipped: u64,
    /// How many dead letters it deals with in a second, at most; `None` is without a limit of its own.
    pub rate: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was cancelled or completed; set exactly while it is not running.
    pub ended_at: Option<Timestamp>,
}

/// How a [`Job`] stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum JobState {
    /// It goes on, over restarts too.
    Running,
    /// A person stopped it. It may be resumed, and goes on at its cursor.
    Cancelled,
    /// It is through.
    Completed,
}

impl JobState {
    /// Whether a person may bring it from this state to that one: cancelling and resuming. It is completed by its last [`JobStep`] alone.
    pub fn may_become(self, to: JobState) -> bool {
        matches!((self, to), (JobState::Running, JobState::Cancelled) | (JobState::Cancelled, JobState::Running))
    }
}

/// A piece of a job, stored whole or not at all.
#[derive(Clone, Debug)]
pub struct JobStep {
    /// The job.
    pub id: JobId,
    /// Where the piece begins: the job's cursor, or else somebody else has carried the job on.
    pub from_cursor: Option<DeadLetterPlace>,
    /// What is made again.
    pub replays: Vec<Replay>,
    /// Dead letters of the piece that are not among the replays.
    pub skipped: u64,
    /// Where the piece ends.
    pub to_cursor: Option<DeadLetterPlace>,
    /// Whether it is the last one.
    pub completed: bool,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`JobStep`].
#[derive(Clone, Debug)]
pub enum Advanced {
    /// It is stored: what became of each replay, and the job as it is now.
    Done(Vec<Replayed>, Box<Job>),
    /// The job is gone, is not running, or is at another cursor. Nothing was stored.
    Fenced,
}

impl Job {
    /// The job as it is to be stored: its filter is of its own tenant.
    pub fn narrowed(mut self) -> Self {
        self.filter.namespace = Some(self.namespace.clone());
        self
    }

    /// Whether this piece comes next.
    pub fn takes(&self, step: &JobStep) -> bool {
        self.state == JobState::Running && self.cursor == step.from_cursor
    }

    /// The job after a piece whose replays were answered so. Each that was not queued counts as skipped.
    pub fn after(mut self, step: &JobStep, answers: &[Replayed]) -> Self {
        let queued = answers.iter().filter(|answer| matches!(answer, Replayed::Queued(_))).count() as u64;
        self.replayed = self.replayed.saturating_add(queued);
        self.skipped = self.skipped.saturating_add(step.skipped).saturating_add(answers.len() as u64 - queued);
        self.cursor = step.to_cursor;
        let state = if step.completed { JobState::Completed } else { self.state };
        self.in_state(state, step.at)
    }

    /// The job in this state since then.
    pub fn in_state(self, state: JobState, at: Timestamp) -> Self {
        Job { state, updated_at: at, ended_at: (state != JobState::Running).then_some(at), ..self }
    }
}
