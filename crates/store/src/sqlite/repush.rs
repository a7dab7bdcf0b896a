//! Events to be published again, a piece at a time.

use super::publish;
use super::rows::{all, id, micros, one, time, time_opt};
use super::session::Session;
use crate::error::bad_value;
use postrider_core::event::Namespace;
use postrider_core::id::{EventSeq, RepushId};
use postrider_core::ports::{PruneRequest, Repush, RepushState, RepushStep, Repushed};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};

const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const CANCELLED: u8 = 2;
const COMPLETED: u8 = 3;
const FAILED: u8 = 4;

/// Bytes of one number in `events`.
const NUMBER: usize = size_of::<i64>();

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, namespace, state, total, done, failed, created_at, updated_at, ended_at FROM repushes ", $rest)
    };
}

fn read(row: &Row<'_>) -> Result<Repush> {
    let namespace = row.get_ref(1)?.as_str_or_null()?.map(Namespace::new).transpose();
    Ok(Repush {
        id: id(row, 0, RepushId::new)?,
        namespace: namespace.map_err(|e| bad_value(1, e))?,
        state: match row.get(2)? {
            PENDING => RepushState::Pending,
            RUNNING => RepushState::Running,
            CANCELLED => RepushState::Cancelled,
            COMPLETED => RepushState::Completed,
            FAILED => RepushState::Failed,
            _ => return Err(bad_value(2, "an unknown state of a batch")),
        },
        total: row.get(3)?,
        done: row.get(4)?,
        failed: row.get(5)?,
        created_at: time(row, 6)?,
        updated_at: time(row, 7)?,
        ended_at: time_opt(row, 8)?,
    })
}

fn number(state: RepushState) -> u8 {
    match state {
        RepushState::Pending => PENDING,
        RepushState::Running => RUNNING,
        RepushState::Cancelled => CANCELLED,
        RepushState::Completed => COMPLETED,
        RepushState::Failed => FAILED,
    }
}

/// Stores a batch with its events.
pub(super) fn put(conn: &Connection, batch: &Repush, events: &[EventSeq]) -> Result<()> {
    let numbers: Vec<u8> = events.iter().flat_map(|event| event.0.to_be_bytes()).collect();
    let sql = "INSERT OR REPLACE INTO repushes (id, namespace, state, total, done, failed, created_at, updated_at, ended_at, events) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10)";
    conn.prepare_cached(sql)?.execute(params![
        batch.id.bytes(),
        batch.namespace.as_ref().map(Namespace::as_str),
        number(batch.state),
        batch.total,
        batch.done,
        batch.failed,
        batch.created_at.as_micros(),
        batch.updated_at.as_micros(),
        micros(batch.ended_at),
        numbers,
    ])?;
    Ok(())
}

/// Writes what changes of a batch. What has ended needs its events no more.
fn update(conn: &Connection, batch: &Repush) -> Result<()> {
    let sql = "UPDATE repushes SET state = ?2, done = ?3, failed = ?4, updated_at = ?5, ended_at = ?6 WHERE id = ?1";
    let Repush { id, state, done, failed, updated_at, ended_at, .. } = batch;
    conn.prepare_cached(sql)?.execute(params![id.bytes(), number(*state), done, failed, updated_at.as_micros(), micros(*ended_at)])?;
    if state.has_ended() {
        conn.prepare_cached("UPDATE repushes SET events = x'' WHERE id = ?1")?.execute([id.bytes()])?;
    }
    Ok(())
}

/// A batch by its id.
pub(super) fn batch(conn: &Connection, of: RepushId) -> Result<Option<Repush>> {
    one(conn, select!("WHERE id = ?1"), &[&of.bytes()], read)
}

/// Batches that have not ended, oldest first.
pub(super) fn open(conn: &Connection) -> Result<Vec<Repush>> {
    all(conn, select!("INDEXED BY repushes_open WHERE ended_at IS NULL ORDER BY id"), &[], read)
}

/// Some of the events of a batch.
pub(super) fn piece(conn: &Connection, of: RepushId, from: u32, limit: u32) -> Result<Vec<EventSeq>> {
    let (at, length) = (1 + NUMBER as i64 * i64::from(from), NUMBER as i64 * i64::from(limit));
    // Of an empty value it is NULL.
    let sql = "SELECT substr(events, ?2, ?3) FROM repushes WHERE id = ?1";
    let found = one(conn, sql, &[&of.bytes(), &at, &length], |row| row.get::<_, Option<Vec<u8>>>(0))?;
    let bytes = found.flatten().unwrap_or_default();
    let (numbers, rest) = bytes.as_chunks::<NUMBER>();
    if !rest.is_empty() {
        return Err(bad_value(0, "the events of a batch are no whole numbers"));
    }
    Ok(numbers.iter().map(|bytes| EventSeq(i64::from_be_bytes(*bytes))).collect())
}

/// Starts or cancels a batch; whether it did.
pub(super) fn set_state(conn: &Connection, of: RepushId, from: RepushState, to: RepushState, at: Timestamp) -> Result<bool> {
    let Some(batch) = batch(conn, of)?.filter(|batch| batch.state == from && from.may_become(to)) else { return Ok(false) };
    update(conn, &batch.in_state(to, at))?;
    Ok(true)
}

/// Stores the events of a piece and moves the batch on.
pub(super) fn advance(s: &mut Session, step: &RepushStep) -> Result<Repushed> {
    let Some(batch) = batch(&s.conn, step.id)?.filter(|batch| batch.takes(step)) else { return Ok(Repushed::Fenced) };
    publish::publish(s, &step.events)?;
    let batch = batch.after(step);
    update(&s.conn, &batch)?;
    Ok(Repushed::Done(batch))
}

/// Removes up to `limit` batches that ended long ago, or were not started in time; how many.
pub(super) fn prune(conn: &Connection, request: &PruneRequest, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM repushes WHERE id IN \
               (SELECT id FROM repushes INDEXED BY repushes_ended WHERE ended_at IS NOT NULL AND ended_at < ?1 LIMIT ?2)";
    let ended = conn.prepare_cached(sql)?.execute(params![request.closed_before.as_micros(), limit])? as i64;
    let sql = "DELETE FROM repushes WHERE id IN \
               (SELECT id FROM repushes INDEXED BY repushes_pending WHERE state = 0 AND created_at < ?1 LIMIT ?2)";
    let left = conn.prepare_cached(sql)?.execute(params![request.requests_before.as_micros(), limit - ended])? as i64;
    Ok((ended + left).unsigned_abs())
}
