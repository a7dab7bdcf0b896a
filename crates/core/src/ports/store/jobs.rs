//! Bulk replays: jobs that walk over a list of dead letters and make their deliveries again, piece by piece.
//!
//! A job is a row. Whoever carries it out reads the dead letters behind its cursor and puts their replays, the new cursor and the counts
//! into the store in one piece, so that a crash neither loses its place nor makes a piece twice.

use super::{DeadLetterFilter, DeadLetterPlace, Replayed};
use crate::event::Namespace;
use crate::id::{DeadLetterId, JobId};
use crate::time::Timestamp;
use std::fmt;

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
    /// How many dead letters matched when it began. Once it is completed, as many as the four counts below have together.
    pub matched: u64,
    /// How many deliveries it made again.
    pub replayed: u64,
    /// How many dead letters it passed over and left open: their delivery was not resting, or was not to be made again.
    pub skipped: u64,
    /// How many dead letters it gave up and left open: the store failed with each of them.
    pub failed: u64,
    /// How many dead letters were no longer open when it came to them. Those that it did not even see are counted when it is completed.
    pub gone: u64,
    /// What went wrong last.
    pub error: Option<JobError>,
    /// How many dead letters it deals with in a second, at most; `None` is without a limit of its own.
    pub rate: Option<u32>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it changed last.
    pub updated_at: Timestamp,
    /// When it was cancelled or completed, or failed; set exactly while it is not running.
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
    /// It cannot go on; [`Job::error`] says why.
    Failed,
}

macro_rules! errors {
    ($($(#[$doc:meta])* $name:ident = $code:literal, $text:literal;)*) => {
        /// What can go wrong with a job. Codes never change; `docs/items-api.md` says what to do about each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum JobError { $($(#[$doc])* $name,)* }

        impl JobError {
            /// Each of them.
            pub const ALL: &'static [JobError] = &[$(JobError::$name,)*];

            /// Its stable code.
            pub const fn as_str(self) -> &'static str {
                match self { $(JobError::$name => $code,)* }
            }
        }

        impl fmt::Display for JobError {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(match self { $(JobError::$name => $text,)* })
            }
        }
    };
}

errors! {
    /// A dead letter could not be replayed. The job goes on behind it.
    LetterFailed = "letter_failed", "a dead letter was given up, for the store failed each time that it was replayed: see the server's log";
    /// The dead letters that come next could not be read.
    ListFailed = "list_failed", "the dead letters that come next cannot be read: see the server's log";
    /// The job itself cannot be read, so that nobody knows what it is to replay.
    Unreadable = "job_unreadable", "what is stored of the job cannot be read by this release: see the server's log";
}

impl JobError {
    /// Reads a stable code.
    pub fn parse(code: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|error| error.as_str() == code)
    }
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
    /// Dead letters whose deliveries are made again, each as far as it is open and its delivery rests. They are closed with that, and only then.
    pub letters: Vec<DeadLetterId>,
    /// How many other dead letters of the piece are passed over.
    pub skipped: u64,
    /// Why one more dead letter of the piece is given up, if one is.
    pub failed: Option<JobError>,
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
    /// It is stored: what became of each dead letter that was to be replayed, and the job as it is now.
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

    /// The job after a piece whose replays were answered so.
    pub fn after(mut self, step: &JobStep, answers: &[Replayed]) -> Self {
        for answer in answers {
            let count = match answer {
                Replayed::Queued(_) | Replayed::Claimed(_) => &mut self.replayed,
                Replayed::NotResting(_) => &mut self.skipped,
                Replayed::NotFound | Replayed::AlreadyClosed(_) => &mut self.gone,
            };
            *count = count.saturating_add(1);
        }
        self.skipped = self.skipped.saturating_add(step.skipped);
        self.failed = self.failed.saturating_add(u64::from(step.failed.is_some()));
        self.error = step.failed.or(self.error);
        self.cursor = step.to_cursor;
        if !step.completed {
            return Job { updated_at: step.at, ..self };
        }
        // A dead letter may have been stored between the count and the first piece, dated before that.
        let dealt_with = self.replayed.saturating_add(self.skipped).saturating_add(self.failed);
        self.matched = self.matched.max(dealt_with.saturating_add(self.gone));
        self.gone = self.matched - dealt_with;
        self.in_state(JobState::Completed, step.at)
    }

    /// The job in this state since then.
    pub fn in_state(self, state: JobState, at: Timestamp) -> Self {
        Job { state, updated_at: at, ended_at: (state != JobState::Running).then_some(at), ..self }
    }
}
