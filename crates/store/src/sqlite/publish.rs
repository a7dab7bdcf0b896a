//! Events come in with their deliveries.

use super::aging;
use super::config;
use super::counters::{Deltas, Of};
use super::event_filters;
use super::places;
use super::rows::{id, map_json, micros, one, state_kind, to_json};
use super::session::{Memory, Session};
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FanOutSlice, FirstDelivery, NewDelivery, NewEvent, Published, Sliced};
use postrider_core::time::Timestamp;
use rusqlite::{CachedStatement, Connection, Result, params};
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// Stores events with their deliveries.
pub(super) fn publish(s: &mut Session, events: &[NewEvent]) -> Result<Vec<Published>> {
    let mut publisher = Publisher::new(s)?;
    events.iter().map(|event| publisher.publish(event)).collect()
}

/// Whether all of these are duplicates of what is stored.
pub(super) fn are_known(conn: &Connection, events: &[NewEvent]) -> Result<bool> {
    for event in events {
        let Some(key) = &event.idempotency_key else { return Ok(false) };
        if by_key(conn, event.namespace.as_str(), key)?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Stores the next slices of large fan-outs, those that begin where their fan-outs are.
pub(super) fn fan_out(s: &mut Session, slices: &[FanOutSlice]) -> Result<Vec<Sliced>> {
    let mut publisher = Publisher::new(s)?;
    let mut update = publisher.conn.prepare_cached("UPDATE events SET fan_out_after = ?3 WHERE seq = ?1 AND fan_out_after = ?2")?;
    let mut answers = Vec::with_capacity(slices.len());
    for slice in slices {
        let goes_on = update.execute(params![slice.event.0, slice.from.bytes(), slice.fan_out_after.map(|id| id.bytes())])? > 0;
        if goes_on && publisher.deliveries((slice.event, &slice.namespace), slice.created_at, &slice.deliveries)? == 0 {
            note_if_bare(publisher.conn, slice.event.0)?;
        }
        answers.push(if goes_on { Sliced::Stored } else { Sliced::Gone });
    }
    Ok(answers)
}

/// Notes that an event has no delivery and none to come, if that is so.
pub(super) fn note_if_bare(conn: &Connection, seq: i64) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO bare_events (id, event) SELECT id, seq FROM events WHERE seq = ?1 AND fan_out_after IS NULL \
               AND NOT EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_event WHERE event = ?1)";
    conn.prepare_cached(sql)?.execute([seq]).map(drop)
}

/// What storing an event needs, looked up once for many.
pub(super) struct Publisher<'s> {
    conn: &'s Connection,
    insert_event: CachedStatement<'s>,
    inserts: Inserts<'s>,
    deltas: &'s mut Deltas,
    memory: &'s mut Memory,
    erased: BTreeSet<EndpointId>,
}

impl<'s> Publisher<'s> {
    /// Looks up what it needs.
    pub(super) fn new(s: &'s mut Session) -> Result<Self> {
        let Session { conn, deltas, memory, incarnation, .. } = s;
        let insert_event = conn.prepare_cached(
            "INSERT INTO events (seq, id, namespace, type, created_at, ttl_us, fan_out_after, idempotency_key, labels, metadata, skipped, \
             schema_valid, payload) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13)",
        )?;
        let inserts = Inserts::new(conn, *incarnation)?;
        let erased = config::erased(conn)?;
        Ok(Publisher { conn, insert_event, inserts, deltas, memory, erased })
    }

    /// Stores one event, unless its idempotency key is taken.
    pub(super) fn publish(&mut self, event: &NewEvent) -> Result<Published> {
        if let Some(key) = &event.idempotency_key
            && let Some(first) = by_key(self.conn, event.namespace.as_str(), key)?
        {
            return Ok(first);
        }
        let seq = EventSeq(self.memory.next_event);
        self.event(seq, event)?;
        self.memory.next_event += 1;
        if self.deliveries((seq, &event.namespace), event.created_at, &event.deliveries)? == 0 {
            note_if_bare(self.conn, seq.0)?;
        }
        Ok(Published::Stored(seq))
    }

    fn event(&mut self, seq: EventSeq, event: &NewEvent) -> Result<()> {
        let skipped = (!event.skipped.is_empty()).then(|| to_json(&event.skipped)).transpose()?;
        let ttl = event.ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
        self.insert_event.execute(params![
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
            event_filters::check_number(event.schema_check),
            &event.payload[..],
        ])?;
        self.deltas.tallies.events(&event.namespace, 1);
        event_filters::note_labels(self.conn, seq, event)
    }

    /// Stores deliveries; answers how many.
    fn deliveries(
        &mut self,
        (event, namespace): (EventSeq, &Namespace),
        created_at: Timestamp,
        deliveries: &[NewDelivery],
    ) -> Result<usize> {
        // Planned before its endpoint was erased: nobody may see it any more.
        let new: Vec<&NewDelivery> = deliveries.iter().filter(|new| !self.erased.contains(&new.endpoint)).collect();
        self.inserts.put((event, created_at), &new)?;
        for new in &new {
            aging::came(self.conn, self.memory, new)?;
            places::came(self.conn, self.memory, new, created_at)?;
            let of = Of { namespace: Some(namespace), subscription: new.subscription, endpoint: new.endpoint };
            self.deltas.deliveries(of, StateKind::Pending, 1);
        }
        Ok(new.len())
    }
}

fn by_key(conn: &Connection, namespace: &str, key: &str) -> Result<Option<Published>> {
    let sql = "SELECT seq, id FROM events INDEXED BY events_key WHERE namespace = ?1 AND idempotency_key = ?2";
    let found = one(conn, sql, &[&namespace, &key], |row| Ok((EventSeq(row.get(0)?), id(row, 1, EventId::new)?)))?;
    let Some((seq, id)) = found else { return Ok(None) };
    Ok(Some(Published::Duplicate { id, seq, first: first_delivery(conn, seq)? }))
}

/// The oldest delivery of an event that may be seen.
pub(super) fn first_delivery(conn: &Connection, of: EventSeq) -> Result<Option<FirstDelivery>> {
    let sql = concat!(
        "SELECT id, subscription, state FROM deliveries INDEXED BY deliveries_event WHERE event = ?1 AND",
        not_erased!("endpoint"),
        "ORDER BY id LIMIT 1"
    );
    one(conn, sql, &[&of.0], |row| {
        Ok(FirstDelivery { id: id(row, 0, DeliveryId::new)?, subscription: id(row, 1, SubscriptionId::new)?, state: state_kind(row, 2)? })
    })
}

/// How many deliveries one statement inserts, whichever of these fits: what it costs besides, such as opening every index, is shared by them.
const ROWS: [usize; 3] = [16, 4, 1];

/// A statement for each of [`ROWS`]: it takes the event, its time, and then the values of each row.
static INSERTS: LazyLock<[String; ROWS.len()]> = LazyLock::new(|| {
    ROWS.map(|rows| {
        let row = |n: usize| {
            let [id, subscription, endpoint, claim, keeps_rows, expires_at] = [1, 2, 3, 4, 5, 6].map(|column| SHARED + n * OWN + column);
            format!("(?{id}, ?1, ?{subscription}, ?{endpoint}, 0, 0, 0, ?{claim}, ?{keeps_rows}, ?2, ?2, ?{expires_at})")
        };
        let values = (0..rows).map(row).collect::<Vec<_>>().join(", ");
        format!(
            "INSERT INTO deliveries (id, event, subscription, endpoint, state, attempts, spent, claim, keeps_rows, created_at, due_at, expires_at) \
             VALUES {values}"
        )
    })
});

/// Values that all rows of a statement share.
const SHARED: usize = 2;
/// Values that each row has of its own.
const OWN: usize = 6;

/// Stores pending deliveries, due when they are made.
pub(super) struct Inserts<'c> {
    conn: &'c Connection,
    /// The statement for one, which most events have.
    one: CachedStatement<'c>,
    /// Whose those are that are claimed.
    incarnation: i64,
}

impl<'c> Inserts<'c> {
    pub(super) fn new(conn: &'c Connection, incarnation: i64) -> Result<Self> {
        Ok(Inserts { conn, one: conn.prepare_cached(&INSERTS[ROWS.len() - 1])?, incarnation })
    }

    /// Stores these of an event.
    pub(super) fn put(&mut self, of: (EventSeq, Timestamp), mut new: &[&NewDelivery]) -> Result<()> {
        for (rows, sql) in ROWS.into_iter().zip(INSERTS.iter()) {
            while let Some((now, later)) = new.split_at_checked(rows).filter(|(now, _)| !now.is_empty()) {
                match now {
                    [only] => insert(&mut self.one, of, self.incarnation, &[only])?,
                    many => insert(&mut self.conn.prepare_cached(sql)?, of, self.incarnation, many)?,
                }
                new = later;
            }
        }
        Ok(())
    }
}

fn insert(
    statement: &mut CachedStatement<'_>,
    (event, created_at): (EventSeq, Timestamp),
    incarnation: i64,
    rows: &[&NewDelivery],
) -> Result<()> {
    statement.raw_bind_parameter(1, event.0)?;
    statement.raw_bind_parameter(2, created_at.as_micros())?;
    for (n, new) in rows.iter().enumerate() {
        let at = SHARED + n * OWN;
        statement.raw_bind_parameter(at + 1, new.id.bytes())?;
        statement.raw_bind_parameter(at + 2, new.subscription.bytes())?;
        statement.raw_bind_parameter(at + 3, new.endpoint.bytes())?;
        statement.raw_bind_parameter(at + 4, if new.claimed { incarnation } else { 0 })?;
        statement.raw_bind_parameter(at + 5, new.keeps_rows)?;
        statement.raw_bind_parameter(at + 6, micros(new.expires_at))?;
    }
    statement.raw_execute().map(drop)
}
