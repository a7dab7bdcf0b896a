//! Jobs: bulk replays, a piece at a time.

use super::replay;
use super::rows::{all, count, id, id_opt, micros, namespace, one, time, time_opt, to_json};
use super::session::Session;
use crate::error::bad_value;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, EndpointId, JobId, SubscriptionId};
use postrider_core::ports::{Advanced, DeadLetterFilter, DeadLetterPlace, Found, Job, JobError, JobState, JobStep, Page, Window};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, ToSql, params};
use serde::{Deserialize, Serialize};

const RUNNING: u8 = 0;
const CANCELLED: u8 = 1;
const COMPLETED: u8 = 2;
const FAILED: u8 = 3;

/// A filter as it is written down. What a release does not know it refuses to read: without it the job would replay more than it was made for.
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
    ($($rest:literal),*) => {
        concat!(
            "SELECT id, namespace, filter, state, cursor_at, cursor_id, matched, replayed, skipped, rate, created_at, updated_at, ended_at, ",
            "failed, gone, error FROM jobs ",
            $($rest),*
        )
    };
}

/// Reads a job. One of which only the head can be read has failed: nobody knows what it is to replay.
fn read(row: &Row<'_>) -> Result<Job> {
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
fn whole(row: &Row<'_>, head: &Job) -> Result<Job> {
    let filter: Filter = serde_json::from_str(row.get_ref(2)?.as_str()?).map_err(|e| bad_value(2, e))?;
    let place = |(failed_at, id)| DeadLetterPlace { failed_at, id };
    let error = row.get_ref(15)?.as_str_or_null()?;
    Ok(Job {
        filter: filter.within(head.namespace.clone()),
        state: match row.get(3)? {
            RUNNING => JobState::Running,
            CANCELLED => JobState::Cancelled,
            COMPLETED => JobState::Completed,
            FAILED => JobState::Failed,
            _ => return Err(bad_value(3, "an unknown state of a job")),
        },
        cursor: time_opt(row, 4)?.zip(id_opt(row, 5, DeadLetterId::new)?).map(place),
        matched: count(row, 6)?,
        replayed: count(row, 7)?,
        skipped: count(row, 8)?,
        rate: row.get(9)?,
        failed: count(row, 13)?,
        gone: count(row, 14)?,
        error: error.map(|code| JobError::parse(code).ok_or_else(|| bad_value(15, "an unknown error of a job"))).transpose()?,
        ..head.clone()
    })
}

fn number(state: JobState) -> u8 {
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

/// Stores a job, unless its id is known.
pub(super) fn put(conn: &Connection, job: &Job) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO jobs (id, namespace, filter, state, cursor_at, cursor_id, matched, replayed, skipped, rate, created_at, \
               updated_at, ended_at, failed, gone, error) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16)";
    conn.prepare_cached(sql)?.execute(params![
        job.id.bytes(),
        job.namespace.as_str(),
        to_json(&Filter::of(&job.filter))?,
        number(job.state),
        micros(job.cursor.map(|cursor| cursor.failed_at)),
        job.cursor.map(|cursor| cursor.id.bytes()),
        counted(job.matched),
        counted(job.replayed),
        counted(job.skipped),
        job.rate,
        job.created_at.as_micros(),
        job.updated_at.as_micros(),
        micros(job.ended_at),
        counted(job.failed),
        counted(job.gone),
        job.error.map(JobError::as_str),
    ])?;
    Ok(())
}

/// Writes what changes of a job.
fn update(conn: &Connection, job: &Job) -> Result<()> {
    let sql = "UPDATE jobs SET state = ?2, cursor_at = ?3, cursor_id = ?4, replayed = ?5, skipped = ?6, updated_at = ?7, ended_at = ?8, \
               matched = ?9, failed = ?10, gone = ?11, error = ?12 WHERE id = ?1";
    conn.prepare_cached(sql)?.execute(params![
        job.id.bytes(),
        number(job.state),
        micros(job.cursor.map(|cursor| cursor.failed_at)),
        job.cursor.map(|cursor| cursor.id.bytes()),
        counted(job.replayed),
        counted(job.skipped),
        job.updated_at.as_micros(),
        micros(job.ended_at),
        counted(job.matched),
        counted(job.failed),
        counted(job.gone),
        job.error.map(JobError::as_str),
    ])?;
    Ok(())
}

/// A job by its id.
pub(super) fn job(conn: &Connection, of: JobId) -> Result<Option<Job>> {
    one(conn, select!("WHERE id = ?1"), &[&of.bytes()], read)
}

/// After every id.
const LAST: &[u8] = &[0xff; 17];

/// Jobs, newest first.
pub(super) fn jobs(conn: &Connection, of: Option<&Namespace>, window: Window<JobId>) -> Result<Found<Job, JobId>> {
    let after = window.after.map(JobId::bytes);
    let after = after.as_ref().map_or(LAST, |id| &id[..]);
    // One more than is asked for tells whether more follow.
    let limit = i64::from(window.limit) + 1;
    let page: &[&dyn ToSql] = &[&after, &limit, &window.skip];
    let (total, mut items) = match of.map(Namespace::as_str) {
        None => (
            one(conn, "SELECT count(*) FROM jobs", &[], |row| count(row, 0))?,
            all(conn, select!("WHERE id < ?1 ORDER BY id DESC LIMIT ?2 OFFSET ?3"), page, read)?,
        ),
        Some(name) => {
            let counting = "SELECT count(*) FROM jobs INDEXED BY jobs_by_namespace WHERE namespace = ?1";
            let sql = select!("INDEXED BY jobs_by_namespace WHERE id < ?1 AND namespace = ?4 ORDER BY id DESC LIMIT ?2 OFFSET ?3");
            let page: Vec<&dyn ToSql> = page.iter().copied().chain([&name as &dyn ToSql]).collect();
            (one(conn, counting, &[&name], |row| count(row, 0))?, all(conn, sql, &page, read)?)
        }
    };
    let more = items.len() as i64 == limit;
    items.truncate(window.limit as usize);
    let next = items.last().filter(|_| more).map(|job| job.id);
    Ok(Found { page: Page { items, next }, total: total.unwrap_or_default() })
}

/// Jobs that have not ended, oldest first.
pub(super) fn running(conn: &Connection) -> Result<Vec<Job>> {
    all(conn, select!("INDEXED BY jobs_running WHERE ended_at IS NULL ORDER BY id"), &[], read)
}

/// Cancels or resumes a job; whether it did.
pub(super) fn set_state(conn: &Connection, of: JobId, from: JobState, to: JobState, at: Timestamp) -> Result<bool> {
    let Some(job) = job(conn, of)?.filter(|job| job.state == from && from.may_become(to)) else { return Ok(false) };
    update(conn, &job.in_state(to, at))?;
    Ok(true)
}

/// Ends a job as failed, without looking at what nobody may be able to read; whether it had not ended.
pub(super) fn fail(conn: &Connection, of: JobId, error: JobError, at: Timestamp) -> Result<bool> {
    let sql = "UPDATE jobs SET state = ?2, error = ?3, updated_at = ?4, ended_at = ?4 WHERE id = ?1 AND ended_at IS NULL";
    Ok(conn.prepare_cached(sql)?.execute(params![of.bytes(), FAILED, error.as_str(), at.as_micros()])? == 1)
}

/// Makes the replays of a piece and moves the job on.
pub(super) fn advance(s: &mut Session, step: &JobStep) -> Result<Advanced> {
    let Some(job) = job(&s.conn, step.id)?.filter(|job| job.takes(step)) else { return Ok(Advanced::Fenced) };
    let answers = step.letters.iter().map(|letter| replay::replay_letter(s, *letter, step.at)).collect::<Result<Vec<_>>>()?;
    let job = job.after(step, &answers);
    update(&s.conn, &job)?;
    Ok(Advanced::Done(answers, Box::new(job)))
}

/// Removes up to `limit` jobs that ended before this; how many.
pub(super) fn prune(conn: &Connection, before: Timestamp, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM jobs WHERE id IN \
               (SELECT id FROM jobs INDEXED BY jobs_ended WHERE ended_at IS NOT NULL AND ended_at < ?1 ORDER BY ended_at LIMIT ?2)";
    Ok(conn.prepare_cached(sql)?.execute(params![before.as_micros(), limit])? as u64)
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
