//! Bulk replays: dead letters by a filter, in steps, each stored with how far the job has come.

use crate::shared::Shared;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, JobId};
use postrider_core::ports::{
    Advanced, DeadLetterFilter, DeadLetterPlace, DeadLetterRow, Job, JobState, JobStep, Replay, ReplayTarget, Replayed, StoreError, Window,
};
use postrider_core::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most dead letters of one step: a commit of a few milliseconds, in which the payloads of their events are read.
const STEP: u32 = 25;

/// How many steps a job makes in a second, as far as its rate and [`STEP`] allow: small ones let others in between.
const STEPS_PER_SECOND: u32 = 40;

/// How long to wait after the store has failed.
const PAUSE: Duration = Duration::from_secs(1);

/// Jobs of one namespace that run at the same time.
pub const MAX_RUNNING_JOBS: usize = 16;

/// A bulk replay that somebody asks for.
#[derive(Clone, Debug)]
pub struct NewJob {
    /// Its id.
    pub id: JobId,
    /// Whose dead letters.
    pub namespace: Namespace,
    /// Which of them.
    pub filter: DeadLetterFilter,
    /// How many a second at the most, at least 1.
    pub rate: u32,
}

/// Why there is no job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoJob {
    /// The namespace has [`MAX_RUNNING_JOBS`].
    #[error("too many jobs of this namespace are running")]
    TooMany,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Stores a job, which begins at once. What becomes a dead letter from now on is not part of it, so that it ends.
pub(crate) async fn start(shared: &Arc<Shared>, new: NewJob) -> Result<Job, NoJob> {
    if let Some(there) = shared.store.job(new.id).await? {
        return Ok(there);
    }
    let _one_at_a_time = shared.starting.lock().await;
    check_room(shared, &new.namespace).await?;
    let now = shared.now();
    let filter = DeadLetterFilter { namespace: Some(new.namespace.clone()), ..new.filter };
    let end = filter.failed_before.unwrap_or(now).min(now);
    let matched = shared.store.find_dead_letters(filter.clone(), Window::first(1)).await?.total;
    let job = Job {
        id: new.id,
        namespace: new.namespace,
        filter,
        state: JobState::Running,
        cursor: Some(DeadLetterPlace { failed_at: end, id: DeadLetterId::new(uuid::Uuid::max()) }),
        matched,
        replayed: 0,
        skipped: 0,
        rate: Some(new.rate),
        created_at: now,
        updated_at: now,
        ended_at: None,
    };
    shared.store.put_job(job.clone()).await?;
    shared.jobs.notify_one();
    Ok(job)
}

async fn check_room(shared: &Shared, namespace: &Namespace) -> Result<(), NoJob> {
    let running = shared.store.running_jobs().await?;
    if running.iter().filter(|job| job.namespace == *namespace).count() < MAX_RUNNING_JOBS { Ok(()) } else { Err(NoJob::TooMany) }
}

/// Cancels a running job.
pub(crate) async fn cancel(shared: &Arc<Shared>, id: JobId) -> Result<bool, StoreError> {
    shared.store.set_job_state(id, JobState::Running, JobState::Cancelled, shared.now()).await
}

/// Resumes a cancelled job.
pub(crate) async fn resume(shared: &Arc<Shared>, job: &Job) -> Result<bool, NoJob> {
    let _one_at_a_time = shared.starting.lock().await;
    check_room(shared, &job.namespace).await?;
    let resumed = shared.store.set_job_state(job.id, JobState::Cancelled, JobState::Running, shared.now()).await?;
    shared.jobs.notify_one();
    Ok(resumed)
}

/// Makes the running jobs' steps, each job at its own rate, until the engine is stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    // When each job may make its next step.
    let mut turns: HashMap<JobId, Instant> = HashMap::new();
    loop {
        let woken = shared.jobs.notified();
        let next = match shared.store.running_jobs().await {
            Ok(jobs) => round(&shared, &jobs, &mut turns).await,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause, "jobs cannot be read for the moment");
                Some(Instant::now() + PAUSE)
            }
        };
        let rest = async {
            match next {
                Some(at) => tokio::select! { () = tokio::time::sleep_until(at) => {} () = woken => {} },
                None => woken.await,
            }
        };
        if !shared.goes_on_when(rest).await {
            return;
        }
    }
}

/// One step of each job that is due; answers when the next one is.
async fn round(shared: &Arc<Shared>, jobs: &[Job], turns: &mut HashMap<JobId, Instant>) -> Option<Instant> {
    turns.retain(|id, _| jobs.iter().any(|job| job.id == *id));
    for job in jobs {
        if shared.is_stopping() {
            return None;
        }
        let now = Instant::now();
        if turns.get(&job.id).is_some_and(|at| *at > now) {
            continue;
        }
        let wait = step(shared, job).await.unwrap_or_else(|error| {
            tracing::warn!(job = %job.id, %error, cause = error.cause, "a step of a job cannot be made for the moment");
            PAUSE
        });
        turns.insert(job.id, now + wait);
    }
    turns.values().min().copied()
}

/// Makes one step; answers how long the job rests then.
async fn step(shared: &Arc<Shared>, job: &Job) -> Result<Duration, StoreError> {
    let rate = job.rate.unwrap_or(STEP).max(1);
    let size = (rate / STEPS_PER_SECOND).clamp(1, STEP);
    let window = Window { after: job.cursor, skip: 0, limit: size };
    // The cursor and the check below are the bounds in time: with them in the filter everything would be counted at each step.
    let untimed = DeadLetterFilter { failed_from: None, failed_before: None, ..job.filter.clone() };
    let mut page = shared.store.find_dead_letters(untimed, window).await?.page;
    let whole = page.items.len();
    page.items.retain(|row| job.filter.failed_within(row.dead_letter.failed_at));
    let is_last = page.next.is_none() || page.items.len() < whole;
    let last = page.items.last().map(|row| DeadLetterPlace { failed_at: row.dead_letter.failed_at, id: row.dead_letter.id });
    let at = shared.now();
    let (wanted, skipped): (Vec<_>, Vec<_>) = page.items.iter().partition(|row| may_be_sent(shared, row));
    let replay = |row: &&DeadLetterRow| Replay {
        target: ReplayTarget::Delivery(row.dead_letter.delivery),
        keep_dead_letter: false,
        claim: false,
        at,
    };
    let step = JobStep {
        id: job.id,
        from_cursor: job.cursor,
        replays: wanted.iter().map(replay).collect(),
        skipped: skipped.len() as u64,
        to_cursor: last.or(job.cursor),
        completed: is_last,
        at,
    };
    advance(shared, step).await?;
    Ok(Duration::from_secs(1) * size / rate)
}

/// It goes on when the engine is stopped: deliveries that are pending again must not be forgotten by the dispatcher.
async fn advance(shared: &Arc<Shared>, step: JobStep) -> Result<(), StoreError> {
    if let Advanced::Done(replayed, _) = shared.store.advance_job(step).await? {
        for claimed in replayed.iter().filter_map(queued) {
            let due = claimed.delivery.progress.state.due_at().unwrap_or(Timestamp::MIN);
            shared.dispatcher.note_stored([claimed.delivery.endpoint], due);
        }
    }
    Ok(())
}

fn queued(replayed: &Replayed) -> Option<&postrider_core::ports::Claimed> {
    match replayed {
        Replayed::Queued(claimed) => Some(claimed),
        _ => None,
    }
}

/// What is not active would only wait, and fail again.
fn may_be_sent(shared: &Shared, row: &DeadLetterRow) -> bool {
    let routes = shared.routes.load();
    routes.route(row.subscription).is_some_and(|route| route.subscription.active && route.endpoint.status == EndpointStatus::Active)
}
