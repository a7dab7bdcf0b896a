//! Batches of events and of deliveries, a piece at a time.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{count, get, id, int, micros, time, time_opt};
use super::tx::Tx;
use super::{publish, retry};
use crate::room::ROW;
use postrider_core::event::Namespace;
use postrider_core::id::{BatchId, DeliveryId, EventSeq};
use postrider_core::ports::{Batch, BatchEntries, BatchKind, BatchState, BatchStep, BatchStepped, BatchWork, NewEvent, OpenBatches};
use postrider_core::time::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

const PENDING: i16 = 0;
const RUNNING: i16 = 1;
const CANCELLED: i16 = 2;
const COMPLETED: i16 = 3;
const FAILED: i16 = 4;

const REPUSH: i16 = 0;
const RETRY: i16 = 1;

/// Bytes of one entry in `entries`, by the kind of batch.
const NUMBER: usize = size_of::<i64>();
const ID: usize = 16;
/// More entries than any batch has, and not so many that their bytes are no `integer`.
const MOST: u32 = 1 << 24;

macro_rules! select {
    ($rest:literal) => {
        concat!(
            "SELECT id, namespace, state, total, done, failed, created_at, updated_at, ended_at, kind, octet_length(entries) FROM batches ",
            $rest
        )
    };
}

fn read(row: &Row) -> Result<Batch> {
    let number = |column| u32::try_from(get::<i64>(row, column)?).map_err(bad_value);
    Ok(Batch {
        id: id(row, 0, BatchId::new)?,
        namespace: get::<Option<&str>>(row, 1)?.map(Namespace::new).transpose().map_err(bad_value)?,
        state: match get::<i16>(row, 2)? {
            PENDING => BatchState::Pending,
            RUNNING => BatchState::Running,
            CANCELLED => BatchState::Cancelled,
            COMPLETED => BatchState::Completed,
            FAILED => BatchState::Failed,
            _ => return Err(bad_value("an unknown state of a batch")),
        },
        total: number(3)?,
        done: number(4)?,
        failed: number(5)?,
        created_at: time(row, 6)?,
        updated_at: time(row, 7)?,
        ended_at: time_opt(row, 8)?,
        kind: kind(row, 9)?,
    })
}

fn kind(row: &Row, column: usize) -> Result<BatchKind> {
    match get::<i16>(row, column)? {
        REPUSH => Ok(BatchKind::Repush),
        RETRY => Ok(BatchKind::Retry),
        _ => Err(bad_value("an unknown kind of batch")),
    }
}

fn number(state: BatchState) -> i16 {
    match state {
        BatchState::Pending => PENDING,
        BatchState::Running => RUNNING,
        BatchState::Cancelled => CANCELLED,
        BatchState::Completed => COMPLETED,
        BatchState::Failed => FAILED,
    }
}

/// Stores a batch with its entries; one with its id goes.
pub(super) async fn put(tx: &mut Tx, batch: &Batch, entries: &BatchEntries) -> Result<()> {
    let (kind, bytes): (i16, Vec<u8>) = match entries {
        BatchEntries::Events(events) => (REPUSH, events.iter().flat_map(|event| event.0.to_be_bytes()).collect()),
        BatchEntries::Deliveries(ids) => (RETRY, ids.iter().flat_map(|id| id.bytes()).collect()),
    };
    let (id, namespace) = (batch.id.uuid(), batch.namespace.as_ref().map(Namespace::as_str));
    let (state, ended_at) = (number(batch.state), micros(batch.ended_at));
    let (total, done, failed) = (i64::from(batch.total), i64::from(batch.done), i64::from(batch.failed));
    let (created_at, updated_at) = (batch.created_at.as_micros(), batch.updated_at.as_micros());
    let sql = "DELETE FROM batches WHERE id = $1 RETURNING octet_length(entries)";
    if let Some(row) = tx.conn.row(sql, &[&id]).await? {
        tx.tallies.bytes(-(ROW as i64) - i64::from(get::<i32>(&row, 0)?));
    }
    // Of two that are stored at once with one id the first one stays.
    let sql = "INSERT INTO batches (id, namespace, state, total, done, failed, created_at, updated_at, ended_at, kind, entries) \
               VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) ON CONFLICT (id) DO NOTHING";
    let new: u64 = tx
        .conn
        .execute(sql, &[&id, &namespace, &state, &total, &done, &failed, &created_at, &updated_at, &ended_at, &kind, &bytes])
        .await?;
    if new == 1 {
        tx.tallies.bytes(ROW as i64 + bytes.len() as i64);
    }
    Ok(())
}

/// Writes what changes of a batch that has so many bytes of entries. What has ended needs its entries no more.
async fn update(tx: &mut Tx, batch: &Batch, entries: i64) -> Result<()> {
    let (id, state, ended_at) = (batch.id.uuid(), number(batch.state), micros(batch.ended_at));
    let (done, failed, updated_at) = (i64::from(batch.done), i64::from(batch.failed), batch.updated_at.as_micros());
    let sql = if batch.state.has_ended() {
        tx.tallies.bytes(-entries);
        "UPDATE batches SET state = $2, done = $3, failed = $4, updated_at = $5, ended_at = $6, entries = ''::bytea WHERE id = $1"
    } else {
        "UPDATE batches SET state = $2, done = $3, failed = $4, updated_at = $5, ended_at = $6 WHERE id = $1"
    };
    tx.conn.execute(sql, &[&id, &state, &done, &failed, &updated_at, &ended_at]).await?;
    Ok(())
}

/// A batch by its id.
pub(super) async fn one(conn: &Conn, of: BatchId) -> Result<Option<Batch>> {
    conn.row(select!("WHERE id = $1"), &[&of.uuid()]).await?.as_ref().map(read).transpose()
}

/// A batch by its id, which nobody else changes until the transaction ends, and how many bytes its entries have.
async fn locked(conn: &Conn, of: BatchId) -> Result<Option<(Batch, i64)>> {
    let row = conn.row(select!("WHERE id = $1 FOR UPDATE"), &[&of.uuid()]).await?;
    row.map(|row| Ok((read(&row)?, i64::from(get::<i32>(&row, 10)?)))).transpose()
}

/// Batches that run, oldest first.
pub(super) async fn running(conn: &Conn) -> Result<Vec<Batch>> {
    conn.rows(select!("WHERE state = 1 ORDER BY id"), &[]).await?.iter().map(read).collect()
}

/// How many wait to be started, and how many run, of those that have not ended.
macro_rules! open {
    ($of:literal) => {
        concat!(
            "SELECT (SELECT count(*) FROM batches WHERE ended_at IS NULL AND ",
            $of,
            " AND state = 0 AND created_at > $1), (SELECT count(*) FROM batches WHERE ended_at IS NULL AND ",
            $of,
            " AND state = 1)"
        )
    };
}

/// How many batches of a tenant have not ended.
pub(super) async fn open(conn: &Conn, namespace: Option<&Namespace>, made_after: Timestamp) -> Result<OpenBatches> {
    let made_after = made_after.as_micros();
    let row = match namespace.map(Namespace::as_str) {
        None => conn.only(open!("namespace IS NULL"), &[&made_after]).await?,
        Some(name) => conn.only(open!("namespace = $2"), &[&made_after, &name]).await?,
    };
    Ok(OpenBatches { pending: count(&row, 0)?, running: count(&row, 1)? })
}

/// Some of the entries of a batch.
pub(super) async fn piece(conn: &Conn, of: BatchId, from: u32, limit: u32) -> Result<Option<BatchEntries>> {
    let (from, limit) = (int(from.min(MOST)), int(limit.min(MOST)));
    let sql = "SELECT b.kind, substring(b.entries FROM 1 + $2::int4 * s.size FOR $3::int4 * s.size) \
               FROM batches b CROSS JOIN LATERAL (SELECT CASE b.kind WHEN 0 THEN 8 ELSE 16 END AS size) s WHERE b.id = $1";
    let Some(row) = conn.row(sql, &[&of.uuid(), &from, &limit]).await? else { return Ok(None) };
    let bytes = get::<&[u8]>(&row, 1)?;
    match kind(&row, 0)? {
        BatchKind::Repush => {
            let events = whole::<NUMBER>(bytes)?.iter().map(|bytes| EventSeq(i64::from_be_bytes(*bytes)));
            Ok(Some(BatchEntries::Events(events.collect())))
        }
        BatchKind::Retry => {
            let ids = whole::<ID>(bytes)?.iter().map(|bytes| DeliveryId::new(Uuid::from_bytes(*bytes)));
            Ok(Some(BatchEntries::Deliveries(ids.collect())))
        }
    }
}

/// Entries of so many bytes each.
fn whole<const SIZE: usize>(bytes: &[u8]) -> Result<&[[u8; SIZE]]> {
    match bytes.as_chunks::<SIZE>() {
        (entries, []) => Ok(entries),
        _ => Err(bad_value("the entries of a batch are no whole ones")),
    }
}

/// Starts or cancels a batch; whether it did.
pub(super) async fn set_state(tx: &mut Tx, of: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> Result<bool> {
    let batch = locked(&tx.conn, of).await?.filter(|(batch, _)| batch.state == from && from.may_become(to));
    let Some((batch, entries)) = batch else { return Ok(false) };
    update(tx, &batch.in_state(to, at), entries).await?;
    Ok(true)
}

/// Does what a piece says and moves the batch on.
pub(super) async fn advance(tx: &mut Tx, step: &BatchStep) -> Result<BatchStepped> {
    let batch = locked(&tx.conn, step.id).await?.filter(|(batch, _)| batch.takes(step));
    let Some((batch, entries)) = batch else { return Ok(BatchStepped::Fenced) };
    let answers = match &step.work {
        BatchWork::Publish(events) => {
            let events: Vec<&NewEvent> = events.iter().collect();
            if !events.is_empty() {
                publish::publish(tx, &events).await?;
            }
            Vec::new()
        }
        BatchWork::Retry(ids) if ids.is_empty() => Vec::new(),
        BatchWork::Retry(ids) => retry::retry(tx, ids, false, step.at).await?,
    };
    let batch = batch.after(step, &answers);
    update(tx, &batch, entries).await?;
    Ok(BatchStepped::Done(batch, answers))
}
