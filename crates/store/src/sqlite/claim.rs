//! Who has which delivery in memory: claims on due deliveries, and the takeover of a dead engine's.

use super::config;
use super::rows::{DeliveryRow, Events, all, attempt_row, one, time};
use super::session::{Rescue, Session};
use postrider_core::attempt::Attempt;
use postrider_core::delivery::State;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{ClaimBatch, ClaimRequest, Claimed};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, params};
use std::collections::BTreeSet;

/// Claims due, unclaimed deliveries, oldest due first.
pub(super) fn claim(s: &mut Session, requests: &[ClaimRequest]) -> Result<Vec<ClaimBatch>> {
    let (mut events, erased) = (Events::default(), config::erased(&s.conn)?);
    requests.iter().map(|request| claim_one(s, request, &erased, &mut events)).collect()
}

fn claim_one(s: &Session, request: &ClaimRequest, erased: &BTreeSet<EndpointId>, events: &mut Events) -> Result<ClaimBatch> {
    let mut batch = ClaimBatch { endpoint: request.endpoint, deliveries: Vec::new(), next_due: None };
    if erased.contains(&request.endpoint) {
        return Ok(batch);
    }
    let mut bytes: u64 = 0;
    let sql = concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries d INDEXED BY deliveries_due WHERE claim = 0 AND due_at IS NOT NULL AND endpoint = ?1 AND due_at <= ?2 \
         ORDER BY due_at, id LIMIT ?3"
    );
    let mut select = s.conn.prepare_cached(sql)?;
    let mut rows = select.query(params![request.endpoint.bytes(), request.due_by.as_micros(), request.limit])?;
    while let Some(row) = rows.next()? {
        let row = DeliveryRow::read(row)?;
        let event = events.get(&s.conn, row.event)?;
        bytes += event.payload.len() as u64;
        batch.deliveries.push(Claimed { delivery: row.of(&event.namespace), event, open_attempt: None });
        if bytes >= request.max_bytes {
            break;
        }
    }
    drop(rows);
    // Only now: a walk over an index must not change what it walks over.
    hold(s, batch.deliveries.iter().map(|claimed| claimed.delivery.id))?;
    batch.next_due = first_due(&s.conn, request.endpoint)?;
    Ok(batch)
}

macro_rules! expiring {
    ($what:expr, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM deliveries d INDEXED BY deliveries_expiring WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL AND",
            not_erased!("endpoint"),
            $rest
        )
    };
}

/// Claims unclaimed deliveries that are past their time to live, those first that have been so for longest.
pub(super) fn claim_expired(s: &mut Session, by: Timestamp, limit: u32, max_bytes: u64) -> Result<Vec<Claimed>> {
    let sql = expiring!(delivery_columns!(), "AND expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2");
    let (mut events, mut claimed, mut bytes) = (Events::default(), Vec::new(), 0);
    for row in all(&s.conn, sql, &[&by.as_micros(), &limit], DeliveryRow::read)? {
        let event = events.get(&s.conn, row.event)?;
        bytes += event.payload.len() as u64;
        claimed.push(Claimed { delivery: row.of(&event.namespace), event, open_attempt: None });
        if bytes >= max_bytes {
            break;
        }
    }
    hold(s, claimed.iter().map(|claimed| claimed.delivery.id))?;
    Ok(claimed)
}

/// When the first unclaimed delivery is past its time to live.
pub(super) fn next_expiry(conn: &Connection) -> Result<Option<Timestamp>> {
    one(conn, expiring!("expires_at", "ORDER BY expires_at LIMIT 1"), &[], |row| time(row, 0))
}

fn hold(s: &Session, ids: impl Iterator<Item = DeliveryId>) -> Result<()> {
    let mut update = s.conn.prepare_cached("UPDATE deliveries SET claim = ?2 WHERE id = ?1")?;
    for id in ids {
        update.execute(params![id.bytes(), s.incarnation])?;
    }
    Ok(())
}

fn first_due(conn: &Connection, endpoint: EndpointId) -> Result<Option<Timestamp>> {
    let sql = "SELECT due_at FROM deliveries INDEXED BY deliveries_due WHERE claim = 0 AND due_at IS NOT NULL AND endpoint = ?1 ORDER BY due_at LIMIT 1";
    one(conn, sql, &[&endpoint.bytes()], |row| time(row, 0))
}

/// Takes over up to `limit` deliveries that a dead engine had claimed, in order of their ids.
pub(super) fn rescue(s: &mut Session, limit: u32) -> Result<Vec<Claimed>> {
    let Rescue::After(after) = s.memory.rescue else { return Ok(Vec::new()) };
    // The empty blob comes before every id.
    let after = after.map(DeliveryId::bytes);
    let after = after.as_ref().map_or(&[][..], |id| &id[..]);
    let sql = concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries d INDEXED BY deliveries_held WHERE claim <> 0 AND id > ?1 AND claim < ?2 ORDER BY id LIMIT ?3"
    );
    let rows = all(&s.conn, sql, &[&after, &s.incarnation, &limit], DeliveryRow::read)?;
    let mut events = Events::default();
    let mut rescued = Vec::with_capacity(rows.len());
    for row in rows {
        let event = events.get(&s.conn, row.event)?;
        let open_attempt = open_attempt(&s.conn, &row)?;
        rescued.push(Claimed { delivery: row.of(&event.namespace), event, open_attempt });
    }
    hold(s, rescued.iter().map(|claimed| claimed.delivery.id))?;
    s.memory.rescue = match rescued.last() {
        Some(last) if rescued.len() >= limit as usize => Rescue::After(Some(last.delivery.id)),
        // A limit of nothing says nothing about what is left.
        _ if limit == 0 => s.memory.rescue,
        _ => Rescue::Done,
    };
    Ok(rescued)
}

/// The attempt that was recorded as under way, if the delivery is being sent and it was recorded.
fn open_attempt(conn: &Connection, row: &DeliveryRow) -> Result<Option<Attempt>> {
    if row.progress.state != State::Sending {
        return Ok(None);
    }
    let sql = concat!(
        "SELECT ",
        attempt_columns!(),
        " FROM attempts a",
        attempt_body!(),
        "WHERE a.delivery = ?1 AND a.number = ?2 AND a.finished_at IS NULL"
    );
    conn.prepare_cached(sql)?.query_row(params![row.id.bytes(), row.progress.attempts], attempt_row).optional()
}
