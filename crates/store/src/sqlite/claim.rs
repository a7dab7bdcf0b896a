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
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM deliveries INDEXED BY deliveries_expiring WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL AND",
            not_erased!("endpoint"),
            $rest
        )
    };
}

/// The ids come out of the index alone: an erased endpoint may have left many, which nobody removes at once.
const EXPIRED: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    " FROM (",
    expiring!("id AS expired", "AND expires_at <= ?1 ORDER BY expires_at, id LIMIT ?2"),
    ") CROSS JOIN deliveries d ON d.id = expired ORDER BY d.expires_at, d.id"
);
const NEXT_EXPIRY: &str = expiring!("expires_at", "ORDER BY expires_at LIMIT 1");

/// Claims unclaimed deliveries that are past their time to live, those first that have been so for longest.
pub(super) fn claim_expired(s: &mut Session, by: Timestamp, limit: u32, max_bytes: u64) -> Result<Vec<Claimed>> {
    let (mut events, mut claimed, mut bytes) = (Events::default(), Vec::new(), 0);
    for row in all(&s.conn, EXPIRED, &[&by.as_micros(), &limit], DeliveryRow::read)? {
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
    one(conn, NEXT_EXPIRY, &[], |row| time(row, 0))
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

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Null;

    #[test]
    fn what_expires_is_asked_of_the_index_alone() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        for sql in [NEXT_EXPIRY, EXPIRED] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
            let unbound = rusqlite::params_from_iter(std::iter::repeat_n(Null, explain.parameter_count()));
            let plan: Vec<String> = explain.query_map(unbound, |row| row.get(3)).expect("a plan").collect::<Result<_>>().expect("lines");
            assert!(plan.iter().any(|line| line.contains("SEARCH deliveries USING COVERING INDEX deliveries_expiring")), "{plan:#?}");
        }
    }
}
