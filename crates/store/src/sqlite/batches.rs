//! Batches of events and of deliveries, a piece at a time.

use super::rows::{all, id, micros, one, time, time_opt};
use super::session::Session;
use super::{publish, replay};
use crate::error::bad_value;
use postrider_core::event::Namespace;
use postrider_core::id::{BatchId, DeliveryId, EventSeq};
use postrider_core::ports::{Batch, BatchEntries, BatchKind, BatchState, BatchStep, BatchStepped, BatchWork, PruneRequest};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};

const PENDING: u8 = 0;
const RUNNING: u8 = 1;
const CANCELLED: u8 = 2;
const COMPLETED: u8 = 3;
const FAILED: u8 = 4;

const REPUSH: u8 = 0;
const RETRY: u8 = 1;

/// Bytes of one entry in `entries`, by the kind of batch.
const NUMBER: usize = size_of::<i64>();
const ID: usize = 16;

macro_rules! select {
    ($rest:literal) => {
        concat!("SELECT id, namespace, state, total, done, failed, created_at, updated_at, ended_at, kind FROM batches ", $rest)
    };
}

fn read(row: &Row<'_>) -> Result<Batch> {
    let namespace = row.get_ref(1)?.as_str_or_null()?.map(Namespace::new).transpose();
    Ok(Batch {
        id: id(row, 0, BatchId::new)?,
        namespace: namespace.map_err(|e| bad_value(1, e))?,
        state: match row.get(2)? {
            PENDING => BatchState::Pending,
            RUNNING => BatchState::Running,
            CANCELLED => BatchState::Cancelled,
            COMPLETED => BatchState::Completed,
            FAILED => BatchState::Failed,
            _ => return Err(bad_value(2, "an unknown state of a batch")),
        },
        total: row.get(3)?,
        done: row.get(4)?,
        failed: row.get(5)?,
        created_at: time(row, 6)?,
        updated_at: time(row, 7)?,
        ended_at: time_opt(row, 8)?,
        kind: kind(row, 9)?,
    })
}

fn kind(row: &Row<'_>, column: usize) -> Result<BatchKind> {
    match row.get(column)? {
        REPUSH => Ok(BatchKind::Repush),
        RETRY => Ok(BatchKind::Retry),
        _ => Err(bad_value(column, "an unknown kind of batch")),
    }
}

fn number(state: BatchState) -> u8 {
    match state {
        BatchState::Pending => PENDING,
        BatchState::Running => RUNNING,
        BatchState::Cancelled => CANCELLED,
        BatchState::Completed => COMPLETED,
        BatchState::Failed => FAILED,
    }
}

/// Stores a batch with its entries.
pub(super) fn put(conn: &Connection, batch: &Batch, entries: &BatchEntries) -> Result<()> {
    let (kind, bytes): (u8, Vec<u8>) = match entries {
        BatchEntries::Events(events) => (REPUSH, events.iter().flat_map(|event| event.0.to_be_bytes()).collect()),
        BatchEntries::Deliveries(ids) => (RETRY, ids.iter().flat_map(|id| id.bytes()).collect()),
    };
    let sql = "INSERT OR REPLACE INTO batches (id, namespace, state, total, done, failed, created_at, updated_at, ended_at, kind, entries) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)";
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
        kind,
        bytes,
    ])?;
    Ok(())
}

/// Writes what changes of a batch. What has ended needs its entries no more.
fn update(conn: &Connection, batch: &Batch) -> Result<()> {
    let sql = "UPDATE batches SET state = ?2, done = ?3, failed = ?4, updated_at = ?5, ended_at = ?6 WHERE id = ?1";
    let Batch { id, state, done, failed, updated_at, ended_at, .. } = batch;
    conn.prepare_cached(sql)?.execute(params![id.bytes(), number(*state), done, failed, updated_at.as_micros(), micros(*ended_at)])?;
    if state.has_ended() {
        conn.prepare_cached("UPDATE batches SET entries = x'' WHERE id = ?1")?.execute([id.bytes()])?;
    }
    Ok(())
}

/// A batch by its id.
pub(super) fn batch(conn: &Connection, of: BatchId) -> Result<Option<Batch>> {
    one(conn, select!("WHERE id = ?1"), &[&of.bytes()], read)
}

/// Batches that have not ended, oldest first.
pub(super) fn open(conn: &Connection) -> Result<Vec<Batch>> {
    all(conn, select!("INDEXED BY batches_open WHERE ended_at IS NULL ORDER BY id"), &[], read)
}

/// Some of the entries of a batch.
pub(super) fn piece(conn: &Connection, of: BatchId, from: u32, limit: u32) -> Result<Option<BatchEntries>> {
    let Some(kind) = one(conn, "SELECT kind FROM batches WHERE id = ?1", &[&of.bytes()], |row| kind(row, 0))? else { return Ok(None) };
    let size = match kind {
        BatchKind::Repush => NUMBER,
        BatchKind::Retry => ID,
    };
    let (at, length) = (1 + size as i64 * i64::from(from), size as i64 * i64::from(limit));
    // Of an empty value it is NULL.
    let sql = "SELECT substr(entries, ?2, ?3) FROM batches WHERE id = ?1";
    let found = one(conn, sql, &[&of.bytes(), &at, &length], |row| row.get::<_, Option<Vec<u8>>>(0))?;
    let bytes = found.flatten().unwrap_or_default();
    if bytes.len() % size != 0 {
        return Err(bad_value(0, "the entries of a batch are no whole ones"));
    }
    Ok(Some(match kind {
        BatchKind::Repush => {
            BatchEntries::Events(bytes.as_chunks::<NUMBER>().0.iter().map(|bytes| EventSeq(i64::from_be_bytes(*bytes))).collect())
        }
        BatchKind::Retry => {
            let ids = bytes.as_chunks::<ID>().0.iter().map(|bytes| DeliveryId::new(uuid::Uuid::from_bytes(*bytes)));
            BatchEntries::Deliveries(ids.collect())
        }
    }))
}

/// Starts or cancels a batch; whether it did.
pub(super) fn set_state(conn: &Connection, of: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> Result<bool> {
    let Some(batch) = batch(conn, of)?.filter(|batch| batch.state == from && from.may_become(to)) else { return Ok(false) };
    update(conn, &batch.in_state(to, at))?;
    Ok(true)
}

/// Does what a piece says and moves the batch on.
pub(super) fn advance(s: &mut Session, step: &BatchStep) -> Result<BatchStepped> {
    let Some(batch) = batch(&s.conn, step.id)?.filter(|batch| batch.takes(step)) else { return Ok(BatchStepped::Fenced) };
    let answers = match &step.work {
        BatchWork::Publish(events) => publish::publish(s, events).map(|_| Vec::new())?,
        BatchWork::Retry(ids) => ids.iter().map(|id| replay::retry(s, *id, false, step.at)).collect::<Result<_>>()?,
    };
    let batch = batch.after(step, &answers);
    update(&s.conn, &batch)?;
    Ok(BatchStepped::Done(batch, answers))
}

/// Removes up to `limit` batches that ended long ago, or were not started in time; how many.
pub(super) fn prune(conn: &Connection, request: &PruneRequest, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM batches WHERE id IN \
               (SELECT id FROM batches INDEXED BY batches_ended WHERE ended_at IS NOT NULL AND ended_at < ?1 LIMIT ?2)";
    let ended = conn.prepare_cached(sql)?.execute(params![request.closed_before.as_micros(), limit])? as i64;
    let sql = "DELETE FROM batches WHERE id IN \
               (SELECT id FROM batches INDEXED BY batches_pending WHERE state = 0 AND created_at < ?1 LIMIT ?2)";
    let left = conn.prepare_cached(sql)?.execute(params![request.requests_before.as_micros(), limit - ended])? as i64;
    Ok((ended + left).unsigned_abs())
}
