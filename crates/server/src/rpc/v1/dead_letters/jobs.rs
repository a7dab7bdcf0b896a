//! Bulk replays as they are shown, stopped and resumed.

use super::list;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, failed_precondition, id, timestamp};
use crate::rpc::page::count;
use crate::rpc::v1::page;
use crate::rpc::v1::summary::long;
use http::StatusCode;
use postrider_core::id::JobId;
use postrider_core::ports::{Job, JobState, Window};
use postrider_engine::{MAX_RUNNING_JOBS, NoJob};
use postrider_proto::service::Answer;
use postrider_proto::v1;

/// A job.
pub(super) fn shown(job: &Job) -> v1::ReplayJob {
    v1::ReplayJob {
        job_id: job.id.to_string(),
        namespace: job.namespace.to_string(),
        filter: list::shown(&job.filter).into(),
        state: word(job.state).to_owned(),
        matched: long(job.matched),
        replayed: long(job.replayed),
        left: long(job.skipped.saturating_add(job.failed).saturating_add(job.gone)),
        error: job.error.map(|error| error.to_string()).unwrap_or_default(),
        rate_per_second: count(job.rate.unwrap_or_default()),
        created_at: timestamp(job.created_at).into(),
        ended_at: job.ended_at.map(timestamp).into(),
    }
}

fn word(state: JobState) -> &'static str {
    match state {
        JobState::Running => "running",
        JobState::Cancelled => "cancelled",
        JobState::Completed => "completed",
        JobState::Failed => "failed",
    }
}

/// Why there is no job, or it does not go on.
pub(super) fn refused(why: NoJob) -> Problem {
    match why {
        NoJob::TooMany => {
            let message = format!("{MAX_RUNNING_JOBS} jobs of the namespace are running: cancel one, or wait until one has ended");
            Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_jobs", message)
        }
        NoJob::Store(error) => error.into(),
    }
}

/// Answers the jobs, the newest first.
pub(super) async fn list(app: &App, access: &Access, request: &v1::ListReplayJobsRequest) -> Answer<v1::ListReplayJobsResponse> {
    let (limit, after) = (page::size(request.page_size), page::after::<JobId>(&request.page_token)?);
    let Some(namespace) = Scope::of(access, &request.namespace)?.narrowed() else { return Ok(v1::ListReplayJobsResponse::default()) };
    let found = app.engine.store().jobs(namespace, Window { after, skip: 0, limit }).await.map_err(Problem::of_read)?;
    let jobs = found.page.items.iter().map(shown).collect();
    Ok(v1::ListReplayJobsResponse { jobs, next_page_token: page::next(found.page.next) })
}

/// The job with this id, if it exists for the caller.
pub(super) async fn find(app: &App, access: &Access, job_id: &str) -> Result<Job, Problem> {
    let id = id(job_id, "job_id", "job", JobId::parse)?;
    let found = app.engine.store().job(id).await.map_err(Problem::of_read)?;
    found.filter(|job| access.sees(&job.namespace)).ok_or_else(|| Problem::not_found("there is no job with this ID"))
}

/// Stops a job, or has a stopped one go on; answers it as it is then. To stop one that is stopped comes to the same.
pub(super) async fn turn(app: &App, access: &Access, job_id: &str, to: JobState) -> Result<Job, Problem> {
    let job = find(app, access, job_id).await?;
    match (job.state, to) {
        (JobState::Running, JobState::Cancelled) => _ = app.engine.cancel_job(job.id).await?,
        (JobState::Cancelled, JobState::Running) => _ = app.engine.resume_job(&job).await.map_err(refused)?,
        (JobState::Cancelled, _) => return Ok(job),
        (JobState::Running, _) => return Err(failed_precondition("the job is running")),
        (JobState::Completed | JobState::Failed, _) => return Err(ended(&job)),
    }
    let job = find(app, access, job_id).await?;
    // One that ended in the moment before cannot be stopped any more; one that goes on may be through by now.
    let is_late = to == JobState::Cancelled && matches!(job.state, JobState::Completed | JobState::Failed);
    if is_late { Err(ended(&job)) } else { Ok(job) }
}

fn ended(job: &Job) -> Problem {
    failed_precondition(match job.state {
        JobState::Failed => "the job has failed: have what it left replayed by another one",
        _ => "the job is complete",
    })
}
