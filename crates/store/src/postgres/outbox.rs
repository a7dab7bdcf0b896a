//! The outbox: events that applications have published in their own transactions, by the function `publish` of the schema.
//!
//! Rows are numbered when they are written and can be seen when they are committed, in another order; where a look begins is in `floor.rs`.

mod floor;

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::publish;
use super::rows::{get, json, namespace, text};
use super::tx::Tx;
use crate::room;
use bytes::Bytes;
pub(super) use floor::Floor;
use floor::{Look, Stand};
use postrider_core::ports::{NewEvent, OutboxEntry, Relay, Relayed};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;

/// Whatever the statistics say: the table is empty most of the time.
const SETTINGS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL max_parallel_workers_per_gather = 0; \
                        SET LOCAL plan_cache_mode = force_generic_plan";

/// The last number that was given out, the oldest transaction that has not ended, and the one that comes next. The upper bound of a snapshot is not
/// that one: it is behind the last that has ended, and one that goes on may be above it.
const STAND: &str = "SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END, pg_snapshot_xmin(s)::text::int8, \
                     pg_snapshot_xmax(s)::text::int8 + greatest(age(pg_snapshot_xmax(s)::xid), 0) \
                     FROM outbox_id_seq q, pg_current_snapshot() AS s";

/// Rows in their order until their payloads sum up to so many bytes; at least one, if there is any. No payload is looked into that is not answered.
/// Nothing of a row makes this fail: whatever its TTL is it becomes one that can be told from a right one.
const WAITING: &str = "SELECT s.id, s.namespace, s.type, s.payload, s.labels::text, s.metadata::text, s.idempotency_key, \
     CASE WHEN s.ttl IS NOT NULL THEN (greatest(least(extract(epoch FROM s.ttl), 31622400), -1) * 1000000)::int8 END \
     FROM (SELECT o.*, sum(octet_length(o.payload)) OVER (ORDER BY o.id ROWS UNBOUNDED PRECEDING) - octet_length(o.payload) AS before \
     FROM outbox o WHERE o.refused_at IS NULL AND o.id > $1::int8 ORDER BY o.id LIMIT $2::int8) s WHERE s.before < $3::int8 ORDER BY s.id";

/// Those that are there, and that nobody else has in hand.
const TAKE: &str = "DELETE FROM outbox o WHERE o.refused_at IS NULL AND o.id = ANY (ARRAY(SELECT w.id FROM outbox w \
                    WHERE w.refused_at IS NULL AND w.id = ANY ($1::int8[]) ORDER BY w.id FOR UPDATE SKIP LOCKED)) RETURNING o.id";

const REFUSE: &str = "UPDATE outbox SET refused_at = clock_timestamp(), refused = ($2::text[])[array_position($1::int8[], id)] \
                      WHERE refused_at IS NULL AND id = ANY ($1::int8[]) RETURNING id";

const FORGET: &str = "DELETE FROM outbox o WHERE o.ctid = ANY (ARRAY(SELECT r.ctid FROM outbox r \
                      WHERE r.refused_at < now() - $1::int8 * interval '1 microsecond' ORDER BY r.refused_at LIMIT $2::int8 \
                      FOR UPDATE SKIP LOCKED))";

/// What a look has found.
#[derive(Debug, Default)]
pub(super) struct Waiting {
    /// Entries that are to be relayed.
    pub(super) entries: Vec<OutboxEntry>,
    /// Rows that nobody can make one of, and why. The function of the schema stores none.
    pub(super) broken: Vec<(i64, String)>,
}

/// What is to be relayed, within a snapshot.
pub(super) async fn waiting(conn: &Conn, floor: &Floor, limit: u32, max_bytes: u64) -> Result<Waiting> {
    conn.batch(SETTINGS).await?;
    let began = Instant::now();
    let from = floor.begin(began);
    let stand = conn.only(STAND, &[]).await?;
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let stand = Stand { given: get(&stand, 0)?, oldest: get(&stand, 1)?, next: get(&stand, 2)? };
    let rows = match conn.rows(WAITING, &[&from, &i64::from(limit), &max_bytes]).await {
        Ok(rows) => rows,
        Err(error) => {
            floor.failed(Look { from, began, ended: Instant::now() }, stand.given);
            return Err(error);
        }
    };
    let (mut waiting, mut found) = (Waiting::default(), Vec::with_capacity(rows.len()));
    for row in &rows {
        let id: i64 = get(row, 0)?;
        found.push(id);
        match entry(id, row) {
            Ok(entry) => waiting.entries.push(entry),
            Err(error) => waiting.broken.push((id, error.to_string())),
        }
    }
    floor.end(Look { from, began, ended: Instant::now() }, stand, &found);
    Ok(waiting)
}

fn entry(id: i64, row: &Row) -> Result<OutboxEntry> {
    Ok(OutboxEntry {
        id,
        namespace: namespace(row, 1)?,
        event_type: get::<&str>(row, 2)?.into(),
        payload: Bytes::copy_from_slice(get::<&str>(row, 3)?.as_bytes()),
        labels: json(row, 4)?,
        metadata: json(row, 5)?,
        idempotency_key: get(row, 6)?,
        ttl: get::<Option<i64>>(row, 7)?.map(ttl).transpose()?,
    })
}

/// That of an event is at least a second: see `core::event`.
fn ttl(us: i64) -> Result<Duration> {
    if us < 1_000_000 {
        return Err(bad_value("a TTL of less than a second"));
    }
    Ok(Duration::from_micros(us.unsigned_abs()))
}

/// Refuses what could not be stored if nothing else was: `most` is how much new work there may be at all, in bytes.
pub(super) fn fitting(entries: Vec<(i64, Relay)>, most: Option<u64>) -> Vec<(i64, Relay)> {
    let Some(most) = most else { return entries };
    let fitted = |(id, relay): (i64, Relay)| match &relay {
        Relay::Publish(event) if room::event(event) > most => {
            let why = format!(
                "it takes about {} bytes, and of --max-store-bytes no more than {most} are for new work: raise it, or publish less at once",
                room::event(event)
            );
            tracing::warn!(id, why, "an event in the outbox is refused and put aside");
            (id, Relay::Refuse(why))
        }
        _ => (id, relay),
    };
    entries.into_iter().map(fitted).collect()
}

/// Turns entries into events, and puts those aside that cannot become one. Each comes once.
pub(super) async fn relay(tx: &mut Tx, entries: &[(i64, Relay)]) -> Result<Vec<Relayed>> {
    let taken = take(&tx.conn, entries).await?;
    let events: Vec<&NewEvent> = entries.iter().filter(|(id, _)| taken.contains(id)).filter_map(|(_, relay)| new_event(relay)).collect();
    let mut published = publish::publish(tx, &events).await?.into_iter();
    let refused = refuse(&tx.conn, entries).await?;
    let mut answers = Vec::with_capacity(entries.len());
    for (id, _) in entries {
        answers.push(if taken.contains(id) {
            Relayed::Published(published.next().ok_or_else(|| bad_value("an entry of the outbox without an event"))?)
        } else if refused.contains(id) {
            Relayed::Refused
        } else {
            Relayed::Gone
        });
    }
    Ok(answers)
}

fn new_event(relay: &Relay) -> Option<&NewEvent> {
    match relay {
        Relay::Publish(event) => Some(event),
        Relay::Refuse(_) => None,
    }
}

async fn take(conn: &Conn, entries: &[(i64, Relay)]) -> Result<BTreeSet<i64>> {
    let ids: Vec<i64> = entries.iter().filter(|(_, relay)| new_event(relay).is_some()).map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    conn.rows(TAKE, &[&ids]).await?.iter().map(|row| get(row, 0)).collect()
}

async fn refuse(conn: &Conn, entries: &[(i64, Relay)]) -> Result<BTreeSet<i64>> {
    let refusals = entries.iter().filter_map(|(id, relay)| match relay {
        Relay::Refuse(why) => Some((*id, text(why))),
        Relay::Publish(_) => None,
    });
    let (ids, reasons): (Vec<i64>, Vec<Cow<'_, str>>) = refusals.unzip();
    put_aside(conn, &ids, &reasons).await
}

/// Puts these aside for these reasons; answers which were there.
async fn put_aside(conn: &Conn, ids: &[i64], reasons: &[Cow<'_, str>]) -> Result<BTreeSet<i64>> {
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    conn.rows(REFUSE, &[&ids, &reasons]).await?.iter().map(|row| get(row, 0)).collect()
}

/// Puts rows aside that nobody can read.
pub(super) async fn put_broken_aside(tx: &mut Tx, broken: &[(i64, String)]) -> Result<()> {
    let (ids, reasons): (Vec<i64>, Vec<Cow<'_, str>>) = broken.iter().map(|(id, why)| (*id, text(why))).unzip();
    put_aside(&tx.conn, &ids, &reasons).await.map(drop)
}

/// Forgets entries that were refused longer ago than this, up to `limit`; answers how many.
pub(super) async fn forget(tx: &mut Tx, age: Duration, limit: u32) -> Result<u64> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    tx.conn.execute(FORGET, &[&age, &i64::from(limit)]).await
}
