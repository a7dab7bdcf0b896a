//! Events come in with their deliveries.

use super::rows::{map_json, micros, one, to_json};
use super::session::Session;
use postrider_core::delivery::StateKind;
use postrider_core::id::{EventId, EventSeq};
use postrider_core::ports::{FanOutSlice, NewDelivery, NewEvent, Published};
use postrider_core::time::Timestamp;
use rusqlite::{CachedStatement, Connection, Result, params};
use uuid::Uuid;

/// Stores events with their deliveries.
pub(super) fn publish(s: &mut Session, events: &[NewEvent]) -> Result<Vec<Published>> {
    events.iter().map(|event| publish_one(s, event)).collect()
}

/// Stores one event, unless its idempotency key is taken.
pub(super) fn publish_one(s: &mut Session, event: &NewEvent) -> Result<Published> {
    if let Some(key) = &event.idempotency_key {
        if let Some(first) = by_key(&s.conn, event.namespace.as_str(), key)? {
            return Ok(first);
        }
    }
    let seq = EventSeq(s.memory.next_event);
    insert_event(&s.conn, seq, event)?;
    s.memory.next_event += 1;
    insert_deliveries(s, seq, event.created_at, &event.deliveries)?;
    Ok(Published::Stored(seq))
}

fn by_key(conn: &Connection, namespace: &str, key: &str) -> Result<Option<Published>> {
    let sql = "SELECT seq, id FROM events INDEXED BY events_key WHERE namespace = ?1 AND idempotency_key = ?2";
    one(conn, sql, &[&namespace, &key], |row| Ok(Published::Duplicate { seq: EventSeq(row.get(0)?), id: EventId::new(Uuid::from_bytes(row.get(1)?)) }))
}

fn insert_event(conn: &Connection, seq: EventSeq, event: &NewEvent) -> Result<()> {
    let mut insert = conn.prepare_cached(
        "INSERT INTO events (seq, id, namespace, type, created_at, ttl_us, fan_out_after, idempotency_key, labels, metadata, skipped, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12)",
    )?;
    let skipped = (!event.skipped.is_empty()).then(|| to_json(&event.skipped)).transpose()?;
    let ttl = event.ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
    insert.execute(params![
        seq.0,
        event.id.bytes(),
        event.namespace.as_str(),
        event.event_type,
        event.created_at.as_micros(),
        ttl,
        event.fan_out_after.map(|id| id.bytes()),
        event.idempotency_key,
        map_json(&event.labels)?,
        map_json(&event.metadata)?,
        skipped,
        &event.payload[..],
    ])?;
    Ok(())
}

fn insert_deliveries(s: &mut Session, event: EventSeq, created_at: Timestamp, deliveries: &[NewDelivery]) -> Result<()> {
    let Session { conn, deltas, incarnation, .. } = s;
    let mut insert = delivery_insert(conn)?;
    for new in deliveries {
        let claim = if new.claimed { *incarnation } else { 0 };
        insert_delivery(&mut insert, event, new, created_at, claim)?;
        deltas.deliveries(new.subscription, StateKind::Pending, 1);
    }
    Ok(())
}

/// The statement for [`insert_delivery`].
pub(super) fn delivery_insert(conn: &Connection) -> Result<CachedStatement<'_>> {
    conn.prepare_cached(
        "INSERT INTO deliveries (id, event, subscription, endpoint, state, attempts, spent, claim, created_at, due_at, expires_at) \
         VALUES (?1, ?2, ?3, ?4, 0, 0, 0, ?5, ?6, ?6, ?7)",
    )
}

/// Stores a pending delivery that is due when it is made.
pub(super) fn insert_delivery(insert: &mut CachedStatement<'_>, event: EventSeq, new: &NewDelivery, created_at: Timestamp, claim: i64) -> Result<()> {
    insert.execute(params![
        new.id.bytes(),
        event.0,
        new.subscription.bytes(),
        new.endpoint.bytes(),
        claim,
        created_at.as_micros(),
        micros(new.expires_at),
    ])?;
    Ok(())
}

/// Stores the next slices of large fan-outs. A slice of an event that is gone is dropped: there is nothing left to deliver.
pub(super) fn fan_out(s: &mut Session, slices: &[FanOutSlice]) -> Result<()> {
    for slice in slices {
        let after = slice.fan_out_after.map(|id| id.bytes());
        let found = s.conn.prepare_cached("UPDATE events SET fan_out_after = ?2 WHERE seq = ?1")?.execute(params![slice.event.0, after])?;
        if found == 0 {
            tracing::warn!(event = slice.event.0, "a slice of a fan-out came for an event that is not stored");
            continue;
        }
        insert_deliveries(s, slice.event, slice.created_at, &slice.deliveries)?;
    }
    Ok(())
}
