//! `POST /v1/delivery/dlq/replay` and `/v1/delivery/jobs`: dead letters replayed by a filter, as a durable job.

use super::gate::{Caller, Tenant};
use super::once::Fresh;
use super::page::{Listed, PageOf, Position, Query};
use super::wire::time;
use crate::auth::Access;
use crate::http::json::Field;
use crate::http::{App, PathId, Problem, Reader, json, with_location};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, JobId, SubscriptionId};
use postrider_core::ports::{DeadLetterFilter, Job, JobError, JobState, Window};
use postrider_core::time::Timestamp;
use postrider_engine::{MAX_RUNNING_JOBS, NewJob, NoJob};
use serde::Serialize;
use std::sync::Arc;

/// The path that makes jobs.
pub(super) const REPLAY: &str = "/v1/delivery/dlq/replay";

/// The path of all jobs.
pub(super) const PATH: &str = "/v1/delivery/jobs";

const FIELDS: [&str; 8] =
    ["binding_id", "destination_id", "error_code", "created_after", "created_before", "all", "dry_run", "rate_per_second"];

/// How many dead letters a second are replayed where the request does not say.
pub(crate) const DEFAULT_RATE: u64 = 100;

/// The highest `rate_per_second`.
pub(crate) const MAX_RATE: u64 = 1_000;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: JobId,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    #[serde(rename = "type")]
    kind: &'static str,
    status: &'static str,
    filter: Filter,
    rate_per_second: Option<u32>,
    /// Dead letters that the filter found when the job began; at its end what the four counts below sum up to.
    matched: u64,
    replayed: u64,
    /// Those of bindings and destinations that are not active, and those that are being replayed already.
    skipped: u64,
    /// Those that the store failed with.
    failed: u64,
    /// Those that others had dealt with before.
    gone: u64,
    error_code: Option<&'static str>,
    error_message: Option<String>,
    created_at: String,
    updated_at: String,
    ended_at: Option<String>,
}

#[derive(Debug, Serialize)]
struct Filter {
    binding_id: Option<SubscriptionId>,
    destination_id: Option<EndpointId>,
    error_code: Option<&'static str>,
    created_after: Option<String>,
    created_before: Option<String>,
}

impl<'a> Shown<'a> {
    fn new(job: &'a Job, access: &Access) -> Self {
        let filter = &job.filter;
        Shown {
            id: job.id,
            customer_id: access.namespace.is_none().then_some(&job.namespace),
            kind: "dlq_replay",
            status: match job.state {
                JobState::Running => "running",
                JobState::Cancelled => "cancelled",
                JobState::Completed => "completed",
                JobState::Failed => "failed",
            },
            filter: Filter {
                binding_id: filter.subscription,
                destination_id: filter.endpoint,
                error_code: filter.code.map(ErrorCode::as_str),
                created_after: filter.failed_from.map(time),
                created_before: filter.failed_before.map(time),
            },
            rate_per_second: job.rate,
            matched: job.matched,
            replayed: job.replayed,
            skipped: job.skipped,
            failed: job.failed,
            gone: job.gone,
            error_code: job.error.map(JobError::as_str),
            error_message: job.error.map(|error| error.to_string()),
            created_at: time(job.created_at),
            updated_at: time(job.updated_at),
            ended_at: job.ended_at.map(time),
        }
    }
}

impl Position for JobId {
    const KIND: &'static str = "j";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        JobId::parse(text)
    }
}

#[derive(Debug, PartialEq, Eq)]
struct Wanted {
    subscription: Option<SubscriptionId>,
    endpoint: Option<EndpointId>,
    code: Option<ErrorCode>,
    from: Option<Timestamp>,
    before: Option<Timestamp>,
    dry_run: bool,
    rate: u32,
}

impl Wanted {
    fn filter(&self, namespace: Option<Namespace>) -> DeadLetterFilter {
        DeadLetterFilter {
            namespace,
            subscription: self.subscription,
            endpoint: self.endpoint,
            code: self.code,
            failed_from: self.from,
            failed_before: self.before,
        }
    }
}

/// Reads a request. One without any filter must say that it means all: it may be a mistake, and cannot be taken back.
fn parse(body: &[u8]) -> Result<Wanted, Problem> {
    let reader = Reader::open(body, &FIELDS)?;
    let subscription = parsed(&reader, "binding_id", "must be the UUID of a binding", SubscriptionId::parse);
    let endpoint = parsed(&reader, "destination_id", "must be the UUID of a destination", EndpointId::parse);
    let code = parsed(&reader, "error_code", "must be an error code that this server knows", ErrorCode::parse);
    let a_time = "must be a time such as 2026-01-31T12:00:00Z";
    let from = parsed(&reader, "created_after", a_time, Timestamp::parse_rfc3339);
    let before = parsed(&reader, "created_before", a_time, Timestamp::parse_rfc3339);
    let all = reader.flag("all").value().unwrap_or_default();
    let rate = reader.number("rate_per_second", 1..=MAX_RATE).value().unwrap_or(DEFAULT_RATE);
    let dry_run = reader.flag("dry_run").value().unwrap_or_default();
    let is_narrowed = subscription.is_some() || endpoint.is_some() || code.is_some() || from.is_some() || before.is_some();
    if !is_narrowed && !all && !dry_run && FIELDS.iter().all(|name| !reader.is_bad(name)) {
        reader.fail("all", "must be true where no filter narrows what is replayed; dry_run tells how many that would be");
    }
    if is_narrowed && all {
        reader.fail("all", "does not go with a filter");
    }
    reader.finish()?;
    Ok(Wanted { subscription, endpoint, code, from, before, dry_run, rate: u32::try_from(rate).unwrap_or(u32::MAX) })
}

fn parsed<T>(reader: &Reader<'_>, name: &str, rule: &str, read: impl Fn(&str) -> Option<T>) -> Option<T> {
    let text = reader.read(name, "a string", |text: &String| read(text).map(drop).ok_or_else(|| rule.to_owned()));
    match text {
        Field::Value(text) => read(&text),
        Field::Null | Field::Absent => None,
    }
}

#[derive(Serialize)]
struct DryRun {
    dry_run: bool,
    matched: u64,
}

/// Answers how many dead letters a filter finds, or makes a job that replays them. To count changes nothing, so that a master key may, of one
/// namespace (`customer_id`) or all.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    fresh: Fresh,
    request: Request,
) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = app.read_json(&parts.headers, body).await?;
    let wanted = parse(&body)?;
    if wanted.dry_run {
        let filter = wanted.filter(super::history::namespace(&Query::of(&parts.uri)?, &access)?);
        let found = app.engine.store().find_dead_letters(filter, Window::first(1)).await.map_err(Problem::of_read)?;
        return Ok(json(StatusCode::OK, &DryRun { dry_run: true, matched: found.total }));
    }
    let Tenant(namespace) = Tenant::of(&access)?;
    let filter = wanted.filter(Some(namespace.clone()));
    let new = NewJob { id: JobId::new(fresh.id(&app)), namespace, filter, rate: wanted.rate };
    let job = app.engine.start_job(new).await?;
    let path = format!("{PATH}/{}", job.id);
    Ok(with_location(json(StatusCode::ACCEPTED, &Shown::new(&job, &access)), &path))
}

/// Answers the jobs, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let namespace = super::history::namespace(&query, &access)?;
    let page: PageOf<JobId> = query.page()?;
    let window = Window { after: page.after, skip: 0, limit: page.limit };
    let found = app.engine.store().jobs(namespace, window).await.map_err(Problem::of_read)?;
    let data = found.page.items.iter().map(|job| Shown::new(job, &access)).collect();
    Ok(json(StatusCode::OK, &Listed { data, total: found.total, next_cursor: found.page.next.map(|id| id.position()) }))
}

/// Answers one job.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let job = find(&app, &access, &id).await?;
    Ok(json(StatusCode::OK, &Shown::new(&job, &access)))
}

/// Stops a job after the step that it is making. What it has replayed stays so.
pub(super) async fn cancel(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    turn(&app, &access, &id, JobState::Cancelled).await
}

/// Goes on with a cancelled job where it was stopped.
pub(super) async fn resume(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    turn(&app, &access, &id, JobState::Running).await
}

/// A job that is in the state already comes to the same; one that is complete or has failed stays so.
async fn turn(app: &App, access: &Access, id: &str, to: JobState) -> Result<Response, Problem> {
    let job = find(app, access, id).await?;
    match (job.state, to) {
        (JobState::Running, JobState::Cancelled) => _ = app.engine.cancel_job(job.id).await?,
        (JobState::Cancelled, JobState::Running) => _ = app.engine.resume_job(&job).await?,
        _ => {}
    }
    let job = find(app, access, id).await?;
    match job.state {
        JobState::Completed => return Err(Problem::conflict("this job is complete")),
        JobState::Failed => return Err(Problem::conflict("this job has failed: make another one")),
        JobState::Running | JobState::Cancelled => {}
    }
    Ok(json(StatusCode::OK, &Shown::new(&job, access)))
}

impl From<NoJob> for Problem {
    fn from(error: NoJob) -> Self {
        match error {
            NoJob::TooMany => Problem::conflict(format!("{MAX_RUNNING_JOBS} jobs are running: cancel one, or wait until one has ended")),
            NoJob::Store(error) => error.into(),
        }
    }
}

async fn find(app: &App, access: &Access, id: &str) -> Result<Job, Problem> {
    let missing = || Problem::not_found("there is no job with this id");
    let id = JobId::parse(id).ok_or_else(missing)?;
    let found = app.engine.store().job(id).await.map_err(Problem::of_read)?;
    found.filter(|job| access.sees(&job.namespace)).ok_or_else(missing)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_at_once_must_be_meant() {
        for (body, path) in [
            ("{}", "all"),
            (r#"{"all": false}"#, "all"),
            (r#"{"all": "yes"}"#, "all"),
            (r#"{"all": true, "error_code": "connector_5xx"}"#, "all"),
            (r#"{"binding_id": "7"}"#, "binding_id"),
            (r#"{"destination_id": 7}"#, "destination_id"),
            (r#"{"error_code": "nonsense"}"#, "error_code"),
            (r#"{"created_after": "yesterday"}"#, "created_after"),
            (r#"{"all": true, "rate_per_second": 0}"#, "rate_per_second"),
            (r#"{"all": true, "rate_per_second": 1001}"#, "rate_per_second"),
            (r#"{"all": true, "dry_run": 1}"#, "dry_run"),
            (r#"{"all": true, "status": "failed"}"#, "status"),
        ] {
            let problem = parse(body.as_bytes()).expect_err(body);
            assert_eq!(problem.details.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), [path], "{body}");
        }
        let wanted = parse(br#"{"all": true}"#).expect("all of them");
        assert_eq!((wanted.dry_run, wanted.rate, wanted.code), (false, 100, None));
        let wanted = parse(br#"{"error_code": "connector_5xx", "rate_per_second": 7}"#).expect("some");
        assert_eq!((wanted.rate, wanted.code), (7, Some(ErrorCode::Connector5xx)));
        assert!(parse(br#"{"dry_run": true}"#).expect("nothing is changed").dry_run);
    }
}
