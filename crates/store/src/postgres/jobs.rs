//! Jobs: bulk replays, a piece at a time.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::replay;
use super::rows::{count, get, id, id_opt, micros, namespace, time, time_opt, to_json};
use super::tx::Tx;
use crate::room::ROW;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, EndpointId, JobId, SubscriptionId};
use postrider_core::ports::{Advanced, DeadLetterFilter, DeadLetterPlace, Found, Job, JobError, JobState, JobStep, Page, Window};
use postrider_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

const RUNNING: i16 = 0;
const CANCELLED: i16 = 1;
const COMPLETED: i16 = 2;
const FAILED: i16 = 3;

/// A filter as it is written down. What a release does not know it refuses to read: without it the job would replay more than it was made
/// for.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct Filter {
    #[serde(skip_serializing_if = "Option::is_none")]
    subscription: Option<SubscriptionId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    endpoint: Option<EndpointId>,
    #[serde(skip_serializing_if = "Option::is_none")]
    code: Option<ErrorCode>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_from: Option<Timestamp>,
    #[serde(skip_serializing_if = "Option::is_none")]
    failed_before: Option<Timestamp>,
}

impl Filter {
    fn of(filter: &DeadLetterFilter) -> Self {
        // The namespace has a column of its own. Whole, so that a field which is added is not forgotten here.
        let DeadLetterFilter { namespace: _, subscription, endpoint, code, failed_from, failed_before } = *filter;
        Filter { subscription, endpoint, code, failed_from, failed_before }
    }

    fn within(self, namespace: Namespace) -> DeadLetterFilter {
        let Filter { subscription, endpoint, code, failed_from, failed_before } = self;
        DeadLetterFilter { namespace: Some(namespace), subscription, endpoint, code, failed_from, failed_before }
    }
}

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, namespace, filter, state, cursor_at, cursor_id, matched, replayed, skipped, rate, created_at, updated_at, \
             ended_at, failed, gone, error FROM jobs ",
            $rest
        )
    };
}

/// Reads a job. One of which only the head can be read has failed: nobody knows what it is to replay.
fn read(row: &Row) -> Result<Job> {
    let (id, namespace) = (id(row, 0, JobId::new)?, namespace(row, 1)?);
    let (created_at, updated_at, ended_at) = (time(row, 10)?, time(row, 11)?, time_opt(row, 12)?);
    let head = Job {
        id,
        filter: DeadLetterFilter { namespace: Some(namespace.clone()), ..DeadLetterFilter::default() },
        namespace,
        state: JobState::Failed,
        cursor: None,
        matched: 0,
        replayed: 0,
        skipped: 0,
        failed: 0,
        gone: 0,
        error: Some(JobError::Unreadable),
        rate: None,
        created_at,
        updated_at,
        ended_at: ended_at.or(Some(updated_at)),
    };
    Ok(whole(row, &head).map(|job| Job { ended_at, ..job }).unwrap_or(head))
}

/// Everything but what is in the head.
fn whole(row: &Row, head: &Job) -> Result<Job> {
    let filter: Filter = serde_json::from_str(get(row, 2)?).map_err(bad_value)?;
    let place = |(failed_at, id)| DeadLetterPlace { failed_at, id };
    let error = get::<Option<&str>>(row, 15)?;
    Ok(Job {
        filter: filter.within(head.namespace.clone()),
        state: match get::<i16>(row, 3)? {
            RUNNING => JobState::Running,
            CANCELLED => JobState::Cancelled,
            COMPLETED => JobState::Completed,
            FAILED => JobState::Failed,
            _ => return Err(bad_value("an unknown state of a job")),
        },
        cursor: time_opt(row, 4)?.zip(id_opt(row, 5, DeadLetterId::new)?).map(place),
        matched: count(row, 6)?,
        replayed: count(row, 7)?,
        skipped: count(row, 8)?,
        rate: get::<Option<i64>>(row, 9)?.map(u32::try_from).transpose().map_err(bad_value)?,
        failed: count(row, 13)?,
        gone: count(row, 14)?,
        error: error.map(|code| JobError::parse(code).ok_or_else(|| bad_value("an unknown error of a job"))).transpose()?,
        ..head.clone()
    })
}

fn number(state: JobState) -> i16 {
    match state {
        JobState::Running => RUNNING,
        JobState::Cancelled => CANCELLED,
        JobState::Completed => COMPLETED,
        JobState::Failed => FAILED,
    }
}

fn counted(n: u64) -> i64 {
    i64::try_from(n).unwrap_or(i64::MAX)
}

/// What changes of a job, as it is written.
struct Changing {
    id: Uuid,
    state: i16,
    cursor_at: Option<i64>,
    cursor_id: Option<Uuid>,
    matched: i64,
    replayed: i64,
    skipped: i64,
    failed: i64,
    gone: i64,
    error: Option<&'static str>,
    updated_at: i64,
    ended_at: Option<i64>,
}

impl Changing {
    fn of(job: &Job) -> Self {
        Changing {
            id: job.id.uuid(),
            state: number(job.state),
            cursor_at: micros(job.cursor.map(|cursor| cursor.failed_at)),
            cursor_id: job.cursor.map(|cursor| cursor.id.uuid()),
            matched: counted(job.matched),
            replayed: counted(job.replayed),
            skipped: counted(job.skipped),
            failed: counted(job.failed),
            gone: counted(job.gone),
            error: job.error.map(JobError::as_str),
            updated_at: job.updated_at.as_micros(),
            ended_at: micros(job.ended_at),
        }
    }

    /// `$1` to `$12`.
    fn params(&self) -> [&(dyn ToSql + Sync); 12] {
        let Changing { id, state, cursor_at, cursor_id, matched, replayed, skipped, failed, gone, error, updated_at, ended_at } = self;
        [id, state, cursor_at, cursor_id, matched, replayed, skipped, failed, gone, error, updated_at, ended_at]
    }
}

/// Stores a job, unless its id is known.
pub(super) async fn put(tx: &mut Tx, job: &Job) -> Result<()> {
    let sql = "INSERT INTO jobs (id, state, cursor_at, cursor_id, matched, replayed, skipped, failed, gone, error, updated_at, ended_at, \
               namespace, filter, rate, created_at) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16) ON CONFLICT (id) DO NOTHING";
    let (changing, namespace, filter) = (Changing::of(job), job.namespace.as_str(), to_json(&Filter::of(&job.filter))?);
    let (rate, created_at) = (job.rate.map(i64::from), job.created_at.as_micros());
    let own: [&(dyn ToSql + Sync); 4] = [&namespace, &filter, &rate, &created_at];
    let params: Vec<&(dyn ToSql + Sync)> = changing.params().into_iter().chain(own).collect();
    if tx.conn.execute(sql, &params).await? == 1 {
        tx.tallies.bytes(ROW as i64);
    }
    Ok(())
}

/// Writes what changes of a job.
async fn update(conn: &Conn, job: &Job) -> Result<()> {
    let sql = "UPDATE jobs SET state = $2, cursor_at = $3, cursor_id = $4, matched = $5, replayed = $6, skipped = $7, failed = $8, \
               gone = $9, error = $10, updated_at = $11, ended_at = $12 WHERE id = $1";
    conn.execute(sql, &Changing::of(job).params()).await?;
    Ok(())
}

/// A job by its id.
pub(super) async fn one(conn: &Conn, of: JobId) -> Result<Option<Job>> {
    conn.row(select!("WHERE id = $1"), &[&of.uuid()]).await?.as_ref().map(read).transpose()
}

/// A job by its id, which nobody else changes until the transaction ends.
async fn locked(conn: &Conn, of: JobId) -> Result<Option<Job>> {
    conn.row(select!("WHERE id = $1 FOR UPDATE"), &[&of.uuid()]).await?.as_ref().map(read).transpose()
}

/// Jobs, newest first.
pub(super) async fn list(conn: &Conn, of: Option<&Namespace>, window: Window<JobId>) -> Result<Found<Job, JobId>> {
    let after = window.after.map_or(Uuid::max(), JobId::uuid);
    // One more than is asked for tells whether more follow.
    let (limit, skip) = (i64::from(window.limit) + 1, i64::from(window.skip));
    let (total, rows) = match of.map(Namespace::as_str) {
        None => {
            let sql = select!("WHERE id < $1 ORDER BY id DESC LIMIT $2 OFFSET $3");
            (conn.only("SELECT count(*) FROM jobs", &[]).await?, conn.rows(sql, &[&after, &limit, &skip]).await?)
        }
        Some(name) => {
            let counting = "SELECT count(*) FROM jobs WHERE namespace = $1";
            let sql = select!("WHERE namespace = $4 AND id < $1 ORDER BY id DESC LIMIT $2 OFFSET $3");
            (conn.only(counting, &[&name]).await?, conn.rows(sql, &[&after, &limit, &skip, &name]).await?)
        }
    };
    let more = rows.len() as i64 == limit;
    let items = rows.iter().take(window.limit as usize).map(read).collect::<Result<Vec<Job>>>()?;
    let next = items.last().filter(|_| more).map(|job| job.id);
    Ok(Found { page: Page { items, next }, total: count(&total, 0)? })
}

/// Jobs that have not ended, oldest first.
pub(super) async fn running(conn: &Conn) -> Result<Vec<Job>> {
    conn.rows(select!("WHERE ended_at IS NULL ORDER BY id"), &[]).await?.iter().map(read).collect()
}

/// Cancels or resumes a job; whether it did.
pub(super) async fn set_state(tx: &mut Tx, of: JobId, from: JobState, to: JobState, at: Timestamp) -> Result<bool> {
    let job = locked(&tx.conn, of).await?.filter(|job| job.state == from && from.may_become(to));
    let Some(job) = job else { return Ok(false) };
    update(&tx.conn, &job.in_state(to, at)).await?;
    Ok(true)
}

/// Ends a job as failed, without looking at what nobody may be able to read; whether it had not ended.
pub(super) async fn fail(tx: &mut Tx, of: JobId, error: JobError, at: Timestamp) -> Result<bool> {
    let sql = "UPDATE jobs SET state = $2, error = $3, updated_at = $4, ended_at = $4 WHERE id = $1 AND ended_at IS NULL";
    Ok(tx.conn.execute(sql, &[&of.uuid(), &FAILED, &error.as_str(), &at.as_micros()]).await? == 1)
}

/// Makes the replays of a piece and moves the job on.
pub(super) async fn advance(tx: &mut Tx, step: &JobStep) -> Result<Advanced> {
    let Some(job) = locked(&tx.conn, step.id).await?.filter(|job| job.takes(step)) else { return Ok(Advanced::Fenced) };
    let answers = replay::replay_letters(tx, &step.letters, step.at).await?;
    let job = job.after(step, &answers);
    update(&tx.conn, &job).await?;
    Ok(Advanced::Done(answers, Box::new(job)))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A job of a later release must not be carried out by one that does not know what it is narrowed to.
    #[test]
    fn a_filter_with_something_unknown_is_refused() {
        assert!(serde_json::from_str::<Filter>("{}").is_ok());
        assert!(serde_json::from_str::<Filter>(r#"{"code":"tls_error","failed_from":5}"#).is_ok());
        assert!(serde_json::from_str::<Filter>(r#"{"code":"tls_error","labels":{}}"#).is_err());
    }
}
