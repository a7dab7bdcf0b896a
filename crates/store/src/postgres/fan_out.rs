//! Fan-outs that are too large for one piece.

use super::columns::EVENT_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::publish::{Placed, count_deliveries, erased, put_deliveries};
use super::rows::{event_row, get, id, read_skipped};
use super::tx::Tx;
use postrider_core::id::{EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FanOutSlice, Sliced, Slot, SlotSet, UnfinishedFanOut};
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

/// Events that are looked at in one read for whose they are.
const PLACES: i64 = 1_024;

/// Events in these slots whose fan-out is not complete, oldest first: up to `limit`, and no more once their payloads sum up to `max_bytes`. Whose they
/// are is said by their ids, so that nothing else is read of those of others.
pub(super) async fn unfinished(conn: &Conn, of: &SlotSet, limit: u32, max_bytes: u64) -> Result<Vec<UnfinishedFanOut>> {
    let sql = "SELECT seq, id, octet_length(payload) FROM events WHERE fan_out_after IS NOT NULL AND seq > $1 ORDER BY seq LIMIT $2";
    let (mut ids, mut bytes, mut behind) = (Vec::new(), 0_u64, i64::MIN);
    'full: loop {
        let places = conn.rows(sql, &[&behind, &PLACES]).await?;
        for place in &places {
            if ids.len() >= limit as usize || (bytes >= max_bytes && !ids.is_empty()) {
                break 'full;
            }
            behind = get(place, 0)?;
            let id: Uuid = get(place, 1)?;
            if of.contains(Slot::of(id)) {
                ids.push(id);
                bytes = bytes.saturating_add(u64::try_from(get::<i32>(place, 2)?).unwrap_or(0));
            }
        }
        if i64::try_from(places.len()).unwrap_or(PLACES) < PLACES {
            break;
        }
    }
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", e.fan_out_after, e.skipped FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL \
         (SELECT * FROM events WHERE id = u.id AND fan_out_after IS NOT NULL LIMIT 1) e ORDER BY e.seq"
    );
    conn.rows(sql, &[&ids]).await?.iter().map(unfinished_row).collect()
}

fn unfinished_row(row: &Row) -> Result<UnfinishedFanOut> {
    let (event, after) = (Arc::new(event_row(row)?), id(row, EVENT_COLUMNS, SubscriptionId::new)?);
    Ok(UnfinishedFanOut { event, after, skipped: read_skipped(row, EVENT_COLUMNS + 1)? })
}
