//! Bulk replays: dead letters by a filter, in steps, each stored with how far the job has come.
//!
//! | file | holds |
//! |---|---|
//! | this one | jobs begun, cancelled, resumed, and the task that carries them out |
//! | `step.rs` | one step |
//! | `patience.rs` | what to do when steps fail |

pub(crate) mod patience;
mod step;

use crate::cluster;
use crate::cut_off;
use crate::shared::Shared;
use patience::Patience;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, JobId};
use postrider_core::ports::{DeadLetterFilter, DeadLetterPlace, Job, JobError, JobState, Slot, StoreError, Window};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use step::Stepped;
use tokio::time::Instant;

/// How long to wait after the list of jobs could not be read.
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
    let shared = Arc::clone(shared);
    to_its_end(async move { put(&shared, new).await }).await
}

/// Goes on when the caller goes away: a job that is stored must be heard of, or it would stand still.
async fn to_its_end<T, E>(change: impl Future<Output = Result<T, E>> + Send + 'static) -> Result<T, E>
where
    T: Send + 'static,
    E: From<StoreError> + Send + 'static,
{
    tokio::spawn(change).await.unwrap_or_else(|ended| Err(cut_off(&ended).into()))
}

async fn put(shared: &Shared, new: NewJob) -> Result<Job, NoJob> {
    if let Some(there) = shared.store.job(new.id).await? {
        return Ok(there);
    }
    let _one_at_a_time = shared.starting.lock().await;
    check_room(shared, &new.namespace).await?;
    let now = shared.now();
    let filter = DeadLetterFilter { namespace: Some(new.namespace.clone()), ..new.filter };
    // What it finds is what lies behind its cursor, to the instant: of now, but of nothing later.
    let end = now.after(Duration::from_micros(1));
    let found = DeadLetterFilter { failed_before: Some(filter.failed_before.unwrap_or(end).min(end)), ..filter.clone() };
    let matched = shared.store.find_dead_letters(found, Window::first(0)).await?.total;
    let job = Job {
        id: new.id,
        namespace: new.namespace,
        filter,
        state: JobState::Running,
        cursor: Some(DeadLetterPlace { failed_at: now, id: DeadLetterId::new(uuid::Uuid::max()) }),
        matched,
        replayed: 0,
        skipped: 0,
        failed: 0,
        gone: 0,
        error: None,
        rate: Some(new.rate),
        created_at: now,
        updated_at: now,
        ended_at: None,
    };
    shared.store.put_job(job.clone()).await?;
    changed(shared, job.id);
    Ok(job)
}

async fn check_room(shared: &Shared, namespace: &Namespace) -> Result<(), NoJob> {
    let jobs = shared.store.running_jobs().await?;
    let running = jobs.iter().filter(|job| job.state == JobState::Running && job.namespace == *namespace).count();
    if running < MAX_RUNNING_JOBS { Ok(()) } else { Err(NoJob::TooMany) }
}

/// Whoever carries the job out is to look at it.
fn changed(shared: &Shared, id: JobId) {
    shared.work(Slot::of(id.uuid()), &shared.jobs);
}

/// Cancels a running job.
pub(crate) async fn cancel(shared: &Arc<Shared>, id: JobId) -> Result<bool, StoreError> {
    let shared = Arc::clone(shared);
    to_its_end(async move {
        let cancelled = shared.store.set_job_state(id, JobState::Running, JobState::Cancelled, shared.now()).await?;
        changed(&shared, id);
        Ok(cancelled)
    })
    .await
}

/// Resumes a cancelled job.
pub(crate) async fn resume(shared: &Arc<Shared>, job: &Job) -> Result<bool, NoJob> {
    let (shared, id, namespace) = (Arc::clone(shared), job.id, job.namespace.clone());
    to_its_end(async move {
        let _one_at_a_time = shared.starting.lock().await;
        check_room(&shared, &namespace).await?;
        let resumed = shared.store.set_job_state(id, JobState::Cancelled, JobState::Running, shared.now()).await?;
        changed(&shared, id);
        Ok(resumed)
    })
    .await
}

/// A job that runs, as it was after its last step.
struct Running {
    job: Job,
    /// When it makes its next step.
    turn: Instant,
    patience: Patience,
}

/// The jobs that run and are this engine's to carry out. Nobody else moves them on, so that they are read again only where somebody says that
/// something changed, or where others share the store.
#[derive(Default)]
struct Table {
    running: BTreeMap<JobId, Running>,
    /// Whether nobody has said since that there may be others.
    is_current: bool,
    /// When they are read again whatever anybody says.
    look: Option<Instant>,
}

/// Makes the running jobs' steps, each job at its own rate, until the engine is stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut table = Table::default();
    loop {
        let woken = shared.jobs.notified();
        if !table.is_current
            && let Err(error) = table.read(&shared).await
        {
            tracing::warn!(%error, cause = error.cause, "jobs cannot be read for the moment");
            if !shared.goes_on_after(PAUSE).await {
                return;
            }
            continue;
        }
        let next = table.round(&shared).await.into_iter().chain(table.look).min();
        let wake = async {
            match next {
                Some(at) => tokio::select! { () = tokio::time::sleep_until(at) => false, () = woken => true },
                None => {
                    woken.await;
                    true
                }
            }
        };
        let mut changed = false;
        if !shared.goes_on_when(async { changed = wake.await }).await {
            return;
        }
        table.is_current &= !changed && table.look.is_none_or(|at| at > Instant::now());
    }
}

impl Table {
    /// Reads which jobs run. Those that were known keep their turns.
    async fn read(&mut self, shared: &Arc<Shared>) -> Result<(), StoreError> {
        let mut known = std::mem::take(&mut self.running);
        let jobs = shared.store.running_jobs().await.inspect_err(|_| self.running.append(&mut known))?;
        for job in jobs.into_iter().filter(|job| shared.owns(job.id.uuid())) {
            let fresh = || Running { job: job.clone(), turn: Instant::now(), patience: Patience::default() };
            let running = known.remove(&job.id).map_or_else(fresh, |before| Running { job: job.clone(), ..before });
            self.running.insert(job.id, running);
        }
        self.is_current = true;
        self.look = shared.store.is_shared().then(|| Instant::now() + cluster::LOOK);
        Ok(())
    }

    /// One step of each job that is due; answers when the next one is.
    async fn round(&mut self, shared: &Arc<Shared>) -> Option<Instant> {
        let due: Vec<JobId> =
            self.running.values().filter(|running| running.turn <= Instant::now()).map(|running| running.job.id).collect();
        for id in due {
            if shared.is_stopping() {
                return None;
            }
            if !shared.owns(id.uuid()) {
                self.running.remove(&id);
                continue;
            }
            let Some(running) = self.running.get_mut(&id) else { continue };
            let now = Instant::now();
            match running.step(shared).await {
                // From when it was due: what timers round up is not lost at every step.
                Stepped::On { rest } => running.turn = (running.turn + rest).max(now),
                Stepped::Ended => _ = self.running.remove(&id),
                Stepped::Elsewhere => {
                    self.running.remove(&id);
                    self.is_current = false;
                }
            }
        }
        if self.is_current { self.running.values().map(|running| running.turn).min() } else { Some(Instant::now()) }
    }
}

/// Ends a job as failed; whether it has ended.
async fn give_up(shared: &Arc<Shared>, job: &Job, why: JobError) -> bool {
    tracing::error!(job = %job.id, namespace = %job.namespace, code = why.as_str(), "a bulk replay cannot go on and has failed: {why}");
    match shared.store.fail_job(job.id, why, shared.now()).await {
        Ok(_) => true,
        Err(error) => {
            tracing::warn!(job = %job.id, %error, cause = error.cause, "that a job failed cannot be stored for the moment");
            false
        }
    }
}
