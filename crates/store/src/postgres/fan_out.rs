//! Fan-outs that are too large for one piece.

use super::columns::EVENT_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::publish::{Placed, count_deliveries, erased, put_deliveries};
use super::rows::{event_row, get, id, read_skipped};
use super::tx::Tx;
use postrider_core::id::{EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FanOutSlice, Sliced, UnfinishedFanOut};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_postgres::Row;
use uuid::Uuid;

/// An event that is locked, and how its fan-out stands.
struct Locked {
    id: EventId,
    after: Option<Uuid>,
    /// Whether a slice was stored.
    has_moved: bool,
    /// Whether one with deliveries was.
    has_deliveries: bool,
}

/// In the order of their ids, as everybody locks events.
const LOCK: &str = "SELECT e.seq, e.id, e.fan_out_after FROM (SELECT f.id FROM unnest($1::int8[]) AS u (seq) CROSS JOIN LATERAL \
     (SELECT id FROM events WHERE seq = u.seq LIMIT 1) f ORDER BY f.id) o \
     CROSS JOIN LATERAL (SELECT seq, id, fan_out_after FROM events WHERE id = o.id FOR UPDATE) e";

/// Stores the next slices of large fan-outs, those that begin where their fan-outs are: under the lock of its event of two nodes that go on with
/// the same one only the first one does.
pub(super) async fn fan_out(tx: &mut Tx, slices: &[&FanOutSlice]) -> Result<Vec<Sliced>> {
    if slices.is_empty() {
        return Ok(Vec::new());
    }
    let conn = &tx.conn;
    let (mut events, erased) = tokio::try_join!(biased; lock(conn, slices), erased(conn))?;
    let (mut answers, mut placed) = (Vec::with_capacity(slices.len()), Vec::new());
    for slice in slices {
        let Some(event) = events.get_mut(&slice.event).filter(|event| event.after == Some(slice.from.uuid())) else {
            answers.push(Sliced::Gone);
            continue;
        };
        (event.after, event.has_moved) = (slice.fan_out_after.map(SubscriptionId::uuid), true);
        // Planned before its endpoint was erased: nobody may see it any more.
        for new in slice.deliveries.iter().filter(|new| !erased.contains(&new.endpoint)) {
            event.has_deliveries = true;
            placed.push(Placed { event: slice.event, event_id: event.id, namespace: &slice.namespace, created_at: slice.created_at, new });
        }
        answers.push(Sliced::Stored);
    }
    events.retain(|_, event| event.has_moved);
    tokio::try_join!(biased; go_on(conn, &events), put_deliveries(conn, tx.incarnation, &placed), note_bare(conn, &events))?;
    count_deliveries(&mut tx.tallies, &placed);
    Ok(answers)
}

/// Locks the events of these slices that are there.
async fn lock(conn: &Conn, slices: &[&FanOutSlice]) -> Result<BTreeMap<EventSeq, Locked>> {
    let seqs: BTreeSet<i64> = slices.iter().map(|slice| slice.event.0).collect();
    let seqs: Vec<i64> = seqs.into_iter().collect();
    let read = |row: &Row| -> Result<_> {
        let (id, after) = (id(row, 1, EventId::new)?, get(row, 2)?);
        Ok((EventSeq(get(row, 0)?), Locked { id, after, has_moved: false, has_deliveries: false }))
    };
    conn.rows(LOCK, &[&seqs]).await?.iter().map(read).collect()
}

/// Writes where these fan-outs go on.
async fn go_on(conn: &Conn, events: &BTreeMap<EventSeq, Locked>) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = events.values().map(|event| event.id.uuid()).collect();
    let after: Vec<Option<Uuid>> = events.values().map(|event| event.after).collect();
    let sql = "UPDATE events e SET fan_out_after = u.after FROM unnest($1::uuid[], $2::uuid[]) AS u (id, after) \
               WHERE e.id = ANY (ARRAY[u.id])";
    conn.execute(sql, &[&ids, &after]).await.map(drop)
}

/// Notes those of these events that have no delivery, and none to come.
async fn note_bare(conn: &Conn, events: &BTreeMap<EventSeq, Locked>) -> Result<()> {
    let may_be_bare = events.iter().filter(|(_, event)| event.after.is_none() && !event.has_deliveries);
    let (seqs, ids): (Vec<i64>, Vec<Uuid>) = may_be_bare.map(|(seq, event)| (seq.0, event.id.uuid())).unzip();
    if seqs.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO bare_events (event) SELECT u.id FROM unnest($1::int8[], $2::uuid[]) AS u (seq, id) \
               WHERE (SELECT d.event FROM deliveries d WHERE d.event = u.seq LIMIT 1) IS NULL ON CONFLICT DO NOTHING";
    conn.execute(sql, &[&seqs, &ids]).await.map(drop)
}

/// Events whose fan-out is not complete, oldest first: up to `limit`, and no more once their payloads sum up to `max_bytes`.
pub(super) async fn unfinished(conn: &Conn, limit: u32, max_bytes: u64) -> Result<Vec<UnfinishedFanOut>> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", e.fan_out_after, e.skipped FROM (SELECT f.*, sum(octet_length(f.payload)) OVER (ORDER BY f.seq ROWS BETWEEN UNBOUNDED PRECEDING \
         AND 1 PRECEDING) AS bytes_before FROM (SELECT * FROM events WHERE fan_out_after IS NOT NULL ORDER BY seq LIMIT $1) f) e \
         WHERE e.bytes_before IS NULL OR e.bytes_before < $2 ORDER BY e.seq"
    );
    let (limit, max_bytes) = (i64::from(limit), i64::try_from(max_bytes).unwrap_or(i64::MAX));
    let rows = conn.rows(sql, &[&limit, &max_bytes]).await?;
    rows.iter().map(unfinished_row).collect()
}

fn unfinished_row(row: &Row) -> Result<UnfinishedFanOut> {
    let (event, after) = (Arc::new(event_row(row)?), id(row, EVENT_COLUMNS, SubscriptionId::new)?);
    Ok(UnfinishedFanOut { event, after, skipped: read_skipped(row, EVENT_COLUMNS + 1)? })
}
