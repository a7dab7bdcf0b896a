//! The reads. Each is given a connection with an open read transaction, so that all it answers is of one moment.

use super::columns::DEAD_LETTER_COLUMNS;
use super::rows::{DeliveryRow, Events, all, attempt_row, dead_letter_row, event_row, id, id_opt, json, one, scheduled_row, some, time};
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId, EventId, ScheduledId, SubscriptionId};
use postrider_core::ports::{Backlog, DeadLetterView, DeliveryView, EventView, UnfinishedFanOut};
use postrider_core::schedule::Scheduled;
use rusqlite::{Connection, Result, Row};
use std::sync::Arc;

/// A delivery with its event and its attempts.
pub(super) fn delivery(conn: &Connection, of: DeliveryId) -> Result<Option<DeliveryView>> {
    let sql = concat!("SELECT ", delivery_columns!(), " FROM deliveries d WHERE id = ?1");
    let Some(row) = one(conn, sql, &[&of.bytes()], DeliveryRow::read)? else { return Ok(None) };
    let sql = concat!("SELECT ", attempt_columns!(), " FROM attempts a", attempt_body!(), "WHERE a.delivery = ?1 ORDER BY a.number");
    let attempts = all(conn, sql, &[&of.bytes()], attempt_row)?;
    let event = Events::default().get(conn, row.event)?;
    Ok(Some(DeliveryView { delivery: row.of(&event), event, attempts }))
}

/// An event with what came of it.
pub(super) fn event(conn: &Connection, of: EventId) -> Result<Option<EventView>> {
    let sql = concat!("SELECT ", event_columns!(), ", skipped, fan_out_after FROM events INDEXED BY events_id WHERE id = ?1");
    let found = one(conn, sql, &[&of.bytes()], |row| Ok((event_row(row)?, json(row, 10)?, id_opt(row, 11, SubscriptionId::new)?)))?;
    let Some((event, skipped, fan_out_after)) = found else { return Ok(None) };
    let sql = concat!("SELECT ", delivery_columns!(), " FROM deliveries d INDEXED BY deliveries_event WHERE event = ?1 ORDER BY id");
    let deliveries = all(conn, sql, &[&event.seq.0], |row| Ok(DeliveryRow::read(row)?.of(&event)))?;
    Ok(Some(EventView { event: Arc::new(event), deliveries, skipped, fan_out_pending: fan_out_after.is_some() }))
}

/// Events whose fan-out is not complete, oldest first.
pub(super) fn unfinished_fan_outs(conn: &Connection, limit: u32, max_bytes: u64) -> Result<Vec<UnfinishedFanOut>> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", fan_out_after, skipped FROM events INDEXED BY events_fan_out WHERE fan_out_after IS NOT NULL ORDER BY seq LIMIT ?1"
    );
    some(conn, sql, &[&limit], max_bytes, |row| {
        let event = Arc::new(event_row(row)?);
        let size = event.payload.len();
        Ok((UnfinishedFanOut { event, after: id(row, 10, SubscriptionId::new)?, skipped: json(row, 11)? }, size))
    })
}

/// Endpoints with unclaimed deliveries, and when the first is due. One seek per endpoint, however many deliveries wait.
pub(super) fn backlog(conn: &Connection) -> Result<Vec<Backlog>> {
    let first = "SELECT endpoint, due_at FROM deliveries INDEXED BY deliveries_due WHERE claim = 0 AND due_at IS NOT NULL \
                 ORDER BY endpoint, due_at LIMIT 1";
    let next = "SELECT endpoint, due_at FROM deliveries INDEXED BY deliveries_due WHERE claim = 0 AND due_at IS NOT NULL AND endpoint > ?1 \
                ORDER BY endpoint, due_at LIMIT 1";
    let read = |row: &Row<'_>| Ok(Backlog { endpoint: id(row, 0, EndpointId::new)?, first_due: time(row, 1)? });
    let mut backlog = Vec::new();
    let mut found = one(conn, first, &[], read)?;
    while let Some(endpoint) = found {
        backlog.push(endpoint);
        found = one(conn, next, &[&endpoint.endpoint.bytes()], read)?;
    }
    Ok(backlog)
}

/// Dead letters of a subscription that were not dismissed, newest first.
pub(super) fn dead_letters(conn: &Connection, of: SubscriptionId, limit: u32) -> Result<Vec<DeadLetterView>> {
    let sql = concat!(
        "SELECT ",
        dead_letter_columns!(),
        ", ",
        delivery_columns!(),
        " FROM dead_letters l INDEXED BY dead_letters_recent CROSS JOIN deliveries d ON d.id = l.delivery \
         WHERE l.subscription = ?1 AND l.status <> 2 ORDER BY l.failed_at DESC, l.id DESC LIMIT ?2"
    );
    let mut events = Events::default();
    all(conn, sql, &[&of.bytes(), &limit], |row| dead_letter_view(conn, row, &mut events))
}

/// One dead letter, whatever its status.
pub(super) fn dead_letter(conn: &Connection, of: DeadLetterId) -> Result<Option<DeadLetterView>> {
    let sql = concat!(
        "SELECT ",
        dead_letter_columns!(),
        ", ",
        delivery_columns!(),
        " FROM dead_letters l CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.id = ?1"
    );
    one(conn, sql, &[&of.bytes()], |row| dead_letter_view(conn, row, &mut Events::default()))
}

fn dead_letter_view(conn: &Connection, row: &Row<'_>, events: &mut Events) -> Result<DeadLetterView> {
    let delivery = DeliveryRow::read_from(row, DEAD_LETTER_COLUMNS)?;
    let event = events.get(conn, delivery.event)?;
    Ok(DeadLetterView { dead_letter: dead_letter_row(row)?, delivery: delivery.of(&event), event })
}

/// Scheduled occurrences by due time, ascending.
pub(super) fn scheduled(
    conn: &Connection,
    namespace: Option<&Namespace>,
    of: Option<SubscriptionId>,
    limit: u32,
) -> Result<Vec<Scheduled>> {
    macro_rules! select {
        ($from:literal) => {
            concat!("SELECT ", scheduled_columns!(), " FROM scheduled INDEXED BY ", $from, " ORDER BY due_at, id LIMIT ?1")
        };
    }
    match (namespace.map(Namespace::as_str), of.map(SubscriptionId::bytes)) {
        (None, None) => all(conn, select!("scheduled_by_due"), &[&limit], scheduled_row),
        (Some(n), None) => all(conn, select!("scheduled_by_namespace WHERE namespace = ?2"), &[&limit, &n], scheduled_row),
        (None, Some(s)) => all(conn, select!("scheduled_by_subscription WHERE subscription = ?2"), &[&limit, &s], scheduled_row),
        (Some(n), Some(s)) => {
            all(conn, select!("scheduled_by_subscription WHERE subscription = ?2 AND namespace = ?3"), &[&limit, &s, &n], scheduled_row)
        }
    }
}

/// One scheduled occurrence.
pub(super) fn scheduled_one(conn: &Connection, of: ScheduledId) -> Result<Option<Scheduled>> {
    one(conn, concat!("SELECT ", scheduled_columns!(), " FROM scheduled WHERE id = ?1"), &[&of.bytes()], scheduled_row)
}
