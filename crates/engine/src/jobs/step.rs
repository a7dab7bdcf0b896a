//! One step of a bulk replay: a piece of the list of its dead letters.

use super::patience::Next;
use super::{Running, give_up};
use crate::maintain;
use crate::shared::Shared;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::ports::{
    Advanced, DeadLetterPlace, DeadLetterRow, Job, JobError, JobState, JobStep, Page, Replayed, StoreError, Window,
};
use std::sync::Arc;
use std::time::Duration;

/// Most dead letters of one step: a commit of a few milliseconds, between which others come.
const STEP: u32 = 100;

/// How many steps a job makes in a second, as far as its rate and [`STEP`] allow.
const STEPS_PER_SECOND: u32 = 10;

/// What became of a job's turn.
pub(super) enum Stepped {
    /// The next one comes after this.
    On { rest: Duration },
    /// The job has ended.
    Ended,
    /// Somebody else has changed it.
    Elsewhere,
}

/// What a step takes from the list: a page with at least one dead letter, or the end.
type Piece = Page<DeadLetterRow, DeadLetterPlace>;

impl Running {
    /// Makes the next step.
    pub(super) async fn step(&mut self, shared: &Arc<Shared>) -> Stepped {
        if self.job.state != JobState::Running {
            // It cannot be read, and so not be carried out. That is to be stored, however long the store does not let it.
            return self.end(shared, self.job.error.unwrap_or(JobError::Unreadable)).await;
        }
        let rate = self.job.rate.unwrap_or(STEP * STEPS_PER_SECOND).max(1);
        let usual = (rate / STEPS_PER_SECOND).clamp(1, STEP);
        let size = self.patience.size(usual);
        let window = Window { after: self.job.cursor, skip: 0, limit: size };
        let piece = match shared.store.page_of_dead_letters(self.job.filter.clone(), window).await {
            Ok(piece) => piece,
            Err(error) => return self.list_failed(shared, usual, &error).await,
        };
        if maintain::catch_up(shared).await.is_err() {
            // It was logged. Neither the job nor its list is to blame: it waits, however long that takes.
            return Stepped::On { rest: super::PAUSE };
        }
        let stepped = match self.advance(shared, self.replays(shared, &piece)).await {
            Err(error) => match self.failed(usual, &error, "a step of a job cannot be made") {
                Next::Again(rest) => return Stepped::On { rest },
                // Of this dead letter nothing but its place is touched.
                Next::GiveUp => self.advance(shared, self.without(shared, &piece)).await,
            },
            stored => stored,
        };
        match stepped {
            Ok(Advanced::Done(_, job)) if job.state != JobState::Running => Stepped::Ended,
            Ok(Advanced::Done(_, job)) => {
                self.job = *job;
                self.patience.succeeded();
                Stepped::On { rest: Duration::from_secs(1) * size / rate }
            }
            Ok(Advanced::Fenced) => Stepped::Elsewhere,
            Err(error) => match self.failed(usual, &error, "a dead letter cannot be given up") {
                Next::Again(rest) => Stepped::On { rest },
                Next::GiveUp => self.end(shared, JobError::LetterFailed).await,
            },
        }
    }

    /// Without the list nobody knows which dead letter comes next: there is none to go around.
    async fn list_failed(&mut self, shared: &Arc<Shared>, usual: u32, error: &StoreError) -> Stepped {
        match self.failed(usual, error, "the dead letters of a job cannot be read") {
            Next::Again(rest) => Stepped::On { rest },
            Next::GiveUp => self.end(shared, JobError::ListFailed).await,
        }
    }

    fn failed(&mut self, usual: u32, error: &StoreError, what: &str) -> Next {
        tracing::warn!(job = %self.job.id, %error, cause = error.cause, "{what}");
        self.patience.failed(usual, error)
    }

    async fn end(&mut self, shared: &Arc<Shared>, why: JobError) -> Stepped {
        if give_up(shared, &self.job, why).await { Stepped::Ended } else { Stepped::On { rest: super::PAUSE } }
    }

    /// The step that makes deliveries of a piece again.
    fn replays(&self, shared: &Shared, piece: &Piece) -> JobStep {
        let (wanted, skipped): (Vec<_>, Vec<_>) = piece.items.iter().partition(|row| may_be_sent(shared, row));
        let letters = wanted.iter().map(|row| row.dead_letter.id).collect();
        JobStep { letters, skipped: skipped.len() as u64, ..self.over(shared, piece) }
    }

    /// The step that gives up the one dead letter of a piece.
    fn without(&self, shared: &Shared, piece: &Piece) -> JobStep {
        JobStep { failed: (!piece.items.is_empty()).then_some(JobError::LetterFailed), ..self.over(shared, piece) }
    }

    /// A step that does nothing but move on.
    fn over(&self, shared: &Shared, piece: &Piece) -> JobStep {
        let last = piece.items.last().map(|row| DeadLetterPlace { failed_at: row.dead_letter.failed_at, id: row.dead_letter.id });
        let Job { id, cursor, .. } = self.job;
        JobStep {
            id,
            from_cursor: cursor,
            letters: Vec::new(),
            skipped: 0,
            failed: None,
            to_cursor: last.or(cursor),
            completed: piece.next.is_none(),
            at: shared.now(),
        }
    }

    /// It goes on when the engine is stopped: deliveries that are pending again must not be forgotten by the dispatcher.
    async fn advance(&self, shared: &Arc<Shared>, step: JobStep) -> Result<Advanced, StoreError> {
        let advanced = shared.store.advance_job(step).await?;
        if let Advanced::Done(answers, _) = &advanced {
            for answer in answers {
                if let Replayed::Queued(again) = answer {
                    shared.dispatcher.note_stored([again.endpoint], again.due_at);
                }
            }
        }
        Ok(advanced)
    }
}

/// What is not active would only wait, and fail again.
fn may_be_sent(shared: &Shared, row: &DeadLetterRow) -> bool {
    let routes = shared.routes.load();
    routes.route(row.subscription).is_some_and(|route| route.subscription.active && route.endpoint.status == EndpointStatus::Active)
}
