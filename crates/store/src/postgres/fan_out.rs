//! Fan-outs that are too large for one piece.

use super::columns::EVENT_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::publish::{Placed, count_deliveries, erased, put_deliveries};
use super::rows::{event_row, get, id, read_skipped};
use super::tx::Tx;
use postrider_core::id::{EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FanOutSlice, UnfinishedFanOut};
use std::collections::BTreeMap;
use std::sync::Arc;
use tokio_postgres::Row;
use uuid::Uuid;

/// Where the fan-outs of events go on, if they do.
type Cursors = BTreeMap<EventSeq, Option<Uuid>>;

/// Stores the next slices of large fan-outs. A slice of an event that is gone is dropped: there is nothing left to deliver.
pub(super) async fn fan_out(tx: &mut Tx, slices: &[&FanOutSlice]) -> Result<()> {
    if slices.is_empty() {
        return Ok(());
    }
    // Of several slices of one event the last one says where it goes on.
    let cursors: Cursors = slices.iter().map(|slice| (slice.event, slice.fan_out_after.map(SubscriptionId::uuid))).collect();
    let conn = &tx.conn;
    let (events, erased) = tokio::try_join!(biased; go_on(conn, &cursors), erased(conn))?;
    let mut bare: BTreeMap<EventSeq, EventId> = events.clone();
    bare.retain(|seq, _| cursors.get(seq).is_some_and(Option::is_none));
    let mut placed = Vec::new();
    for slice in slices {
        let Some(event_id) = events.get(&slice.event).copied() else {
            tracing::warn!(event = slice.event.0, "a slice of a fan-out came for an event that is not stored");
            continue;
        };
        // Planned before its endpoint was erased: nobody may see it any more.
        for new in slice.deliveries.iter().filter(|new| !erased.contains(&new.endpoint)) {
            bare.remove(&slice.event);
            placed.push(Placed { event: slice.event, event_id, namespace: &slice.namespace, created_at: slice.created_at, new });
        }
    }
    tokio::try_join!(biased; put_deliveries(conn, tx.incarnation, &placed), note_bare(conn, &bare))?;
    count_deliveries(&mut tx.tallies, &placed);
    Ok(())
}

/// Moves the cursors of those that are there; answers which these are.
async fn go_on(conn: &Conn, cursors: &Cursors) -> Result<BTreeMap<EventSeq, EventId>> {
    let seqs: Vec<i64> = cursors.keys().map(|seq| seq.0).collect();
    let after: Vec<Option<Uuid>> = cursors.values().copied().collect();
    let sql = "UPDATE events e SET fan_out_after = u.after FROM unnest($1::int8[], $2::uuid[]) AS u (seq, after) \
               WHERE e.seq = ANY (ARRAY[u.seq]) RETURNING e.seq, e.id";
    let rows = conn.rows(sql, &[&seqs, &after]).await?;
    rows.iter().map(|row| Ok((EventSeq(get(row, 0)?), id(row, 1, EventId::new)?))).collect()
}

/// Notes those of these events that have no delivery; none is to come.
async fn note_bare(conn: &Conn, events: &BTreeMap<EventSeq, EventId>) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let seqs: Vec<i64> = events.keys().map(|seq| seq.0).collect();
    let ids: Vec<Uuid> = events.values().map(|id| id.uuid()).collect();
    let sql = "INSERT INTO bare_events (event) SELECT u.id FROM unnest($1::int8[], $2::uuid[]) AS u (seq, id) \
               WHERE (SELECT d.event FROM deliveries d WHERE d.event = u.seq LIMIT 1) IS NULL ON CONFLICT DO NOTHING";
    conn.execute(sql, &[&seqs, &ids]).await?;
    Ok(())
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
