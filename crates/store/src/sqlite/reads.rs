//! The reads. Each is given a connection with an open read transaction, so that all it answers is of one moment.

use super::columns::{DEAD_LETTER_COLUMNS, EVENT_COLUMNS};
use super::config;
use super::rows::{DeliveryRow, Events, all, attempt_row, dead_letter_row, event_row, id, id_opt, json, one, scheduled_row, time};
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeadLetterId, DeliveryId, EndpointId, EventId, ScheduledId, SubscriptionId};
use postrider_core::ports::{
    Backlog, DeadLetterPlace, DeadLetterView, DeliveryView, EventView, Page, PageRequest, ScheduledPlace, Slot, SlotSet, UnfinishedFanOut,
};
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use rusqlite::{Connection, Result, Row, ToSql};
use std::sync::Arc;

/// A delivery with its event and its attempts.
pub(super) fn delivery(conn: &Connection, of: DeliveryId) -> Result<Option<DeliveryView>> {
    let sql = concat!("SELECT ", delivery_columns!(), " FROM deliveries d WHERE id = ?1 AND", not_erased!("endpoint"));
    let Some(row) = one(conn, sql, &[&of.bytes()], DeliveryRow::read)? else { return Ok(None) };
    let sql = concat!("SELECT ", attempt_columns!(), " FROM attempts a", attempt_body!(), "WHERE a.delivery = ?1 ORDER BY a.number");
    let attempts = all(conn, sql, &[&of.bytes()], attempt_row)?;
    let event = Events::default().get(conn, row.event)?;
    Ok(Some(DeliveryView { delivery: row.of(&event.namespace), event, attempts }))
}

/// An event with what came of it.
pub(super) fn event(conn: &Connection, of: EventId) -> Result<Option<EventView>> {
    let sql = concat!("SELECT ", event_columns!(), ", skipped, fan_out_after FROM events INDEXED BY events_id WHERE id = ?1");
    let read = |row: &Row<'_>| Ok((event_row(row)?, json(row, EVENT_COLUMNS)?, id_opt(row, EVENT_COLUMNS + 1, SubscriptionId::new)?));
    let found = one(conn, sql, &[&of.bytes()], read)?;
    let Some((event, skipped, fan_out_after)) = found else { return Ok(None) };
    let sql = concat!(
        "SELECT ",
        delivery_columns!(),
        " FROM deliveries d INDEXED BY deliveries_event WHERE event = ?1 AND",
        not_erased!("endpoint"),
        "ORDER BY id"
    );
    let deliveries = all(conn, sql, &[&event.seq.0], |row| Ok(DeliveryRow::read(row)?.of(&event.namespace)))?;
    Ok(Some(EventView { event: Arc::new(event), deliveries, skipped, fan_out_pending: fan_out_after.is_some() }))
}

/// Events in these slots whose fan-out is not complete, oldest first.
pub(super) fn unfinished_fan_outs(conn: &Connection, of: &SlotSet, limit: u32, max_bytes: u64) -> Result<Vec<UnfinishedFanOut>> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", fan_out_after, skipped, id FROM events INDEXED BY events_fan_out WHERE fan_out_after IS NOT NULL ORDER BY seq"
    );
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query([])?;
    let (mut found, mut bytes) = (Vec::new(), 0_u64);
    while found.len() < limit as usize
        && let Some(row) = rows.next()?
    {
        if !of.contains(Slot::of(id(row, EVENT_COLUMNS + 2, EventId::new)?.uuid())) {
            continue;
        }
        let event = Arc::new(event_row(row)?);
        bytes += event.payload.len() as u64;
        found.push(UnfinishedFanOut { event, after: id(row, EVENT_COLUMNS, SubscriptionId::new)?, skipped: json(row, EVENT_COLUMNS + 1)? });
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(found)
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
    let erased = config::erased(conn)?;
    backlog.retain(|backlog| !erased.contains(&backlog.endpoint));
    Ok(backlog)
}

/// Dead letters of a subscription that were not dismissed, newest first.
pub(super) fn dead_letters(
    conn: &Connection,
    of: SubscriptionId,
    open_only: bool,
    request: PageRequest<DeadLetterPlace>,
) -> Result<Page<DeadLetterView, DeadLetterPlace>> {
    macro_rules! select {
        ($index:literal, $status:literal) => {
            concat!(
                "SELECT ",
                dead_letter_columns!(),
                ", ",
                delivery_columns!(),
                " FROM dead_letters l INDEXED BY ",
                $index,
                last_attempt!(),
                "CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.subscription = ?1 AND l.status ",
                $status,
                " AND (l.failed_at, l.id) < (?2, ?3) AND",
                not_erased!("l.endpoint"),
                "ORDER BY l.failed_at DESC, l.id DESC"
            )
        };
    }
    let sql = if open_only { select!("dead_letters_open", "= 0") } else { select!("dead_letters_recent", "<> 2") };
    let (failed_at, id) = request.after.map_or(LAST, |place| (place.failed_at.as_micros(), place.id.bytes()));
    let mut filling = Filling::new(request);
    let mut events = Events::default();
    filling.fill(conn, sql, &[&of.bytes(), &failed_at, &id], |row| {
        let view = dead_letter_view(conn, row, &mut events)?;
        Ok((view.event.payload.len(), view))
    })?;
    let place = |view: &DeadLetterView| DeadLetterPlace { failed_at: view.dead_letter.failed_at, id: view.dead_letter.id };
    Ok(filling.page(place))
}

/// One dead letter, whatever its status.
pub(super) fn dead_letter(conn: &Connection, of: DeadLetterId) -> Result<Option<DeadLetterView>> {
    let sql = concat!(
        "SELECT ",
        dead_letter_columns!(),
        ", ",
        delivery_columns!(),
        " FROM dead_letters l",
        last_attempt!(),
        "CROSS JOIN deliveries d ON d.id = l.delivery WHERE l.id = ?1 AND",
        not_erased!("l.endpoint")
    );
    one(conn, sql, &[&of.bytes()], |row| dead_letter_view(conn, row, &mut Events::default()))
}

fn dead_letter_view(conn: &Connection, row: &Row<'_>, events: &mut Events) -> Result<DeadLetterView> {
    let delivery = DeliveryRow::read_from(row, DEAD_LETTER_COLUMNS)?;
    let event = events.get(conn, delivery.event)?;
    let last_attempt = id_opt(row, DEAD_LETTER_COLUMNS - 1, AttemptId::new)?;
    Ok(DeadLetterView { dead_letter: dead_letter_row(row)?, last_attempt, delivery: delivery.of(&event.namespace), event })
}

/// Scheduled occurrences: a walk over those that are still to come, and one back over those that ended.
pub(super) fn scheduled(
    conn: &Connection,
    namespace: Option<&Namespace>,
    of: Option<SubscriptionId>,
    request: PageRequest<ScheduledPlace>,
) -> Result<Page<Scheduled, ScheduledPlace>> {
    macro_rules! walks {
        ($from:literal) => {
            [
                concat!(
                    "SELECT ",
                    scheduled_columns!(),
                    " FROM scheduled INDEXED BY ",
                    $from,
                    " AND (status <> 0) = 0 AND (due_at, id) > (?1, ?2) ORDER BY due_at, id"
                ),
                concat!(
                    "SELECT ",
                    scheduled_columns!(),
                    " FROM scheduled INDEXED BY ",
                    $from,
                    " AND (status <> 0) = 1 AND (due_at, id) < (?1, ?2) ORDER BY due_at DESC, id DESC"
                ),
            ]
        };
    }
    let (namespace, of) = (namespace.map(Namespace::as_str), of.map(SubscriptionId::bytes));
    let (walks, scope): (_, Vec<&dyn ToSql>) = match (&namespace, &of) {
        (None, None) => (walks!("scheduled_by_due WHERE 1"), vec![]),
        (Some(n), None) => (walks!("scheduled_by_namespace WHERE namespace = ?3"), vec![n]),
        (None, Some(s)) => (walks!("scheduled_by_subscription WHERE subscription = ?3"), vec![s]),
        (Some(n), Some(s)) => (walks!("scheduled_by_subscription WHERE subscription = ?3 AND namespace = ?4"), vec![s, n]),
    };
    let mut filling = Filling::new(request);
    for (sql, ended) in walks.into_iter().zip([false, true]) {
        let (due_at, id) = match request.after {
            Some(place) if place.ended == ended => (place.due_at.as_micros(), place.id.bytes()),
            Some(place) if place.ended => continue,
            _ if ended => LAST,
            _ => FIRST,
        };
        let params: Vec<&dyn ToSql> = [&due_at as &dyn ToSql, &id].into_iter().chain(scope.iter().copied()).collect();
        filling.fill(conn, sql, &params, |row| scheduled_row(row).map(|row| (row.payload.len(), row)))?;
    }
    let place = |row: &Scheduled| ScheduledPlace { ended: row.status != ScheduledStatus::Pending, due_at: row.due_at, id: row.id };
    Ok(filling.page(place))
}

/// Before and after every place in a list by time and id.
const FIRST: (i64, [u8; 16]) = (i64::MIN, [0; 16]);
const LAST: (i64, [u8; 16]) = (i64::MAX, [0xff; 16]);

/// A page that is being read.
struct Filling<T, P> {
    request: PageRequest<P>,
    items: Vec<T>,
    bytes: u64,
    more: bool,
}

impl<T, P> Filling<T, P> {
    fn new(request: PageRequest<P>) -> Self {
        Filling { request, items: Vec::new(), bytes: 0, more: false }
    }

    /// Takes rows, with the size of their payloads, until the page is full. The row after that is stepped to, but not read.
    fn fill(
        &mut self,
        conn: &Connection,
        sql: &str,
        params: &[&dyn ToSql],
        mut read: impl FnMut(&Row<'_>) -> Result<(usize, T)>,
    ) -> Result<()> {
        let mut select = conn.prepare_cached(sql)?;
        let mut rows = select.query(params)?;
        while let Some(row) = rows.next()? {
            if self.request.is_full(self.items.len(), self.bytes) {
                self.more = true;
                break;
            }
            let (size, item) = read(row)?;
            self.bytes += size as u64;
            self.items.push(item);
        }
        Ok(())
    }

    fn page(self, place: impl FnOnce(&T) -> P) -> Page<T, P> {
        let next = self.items.last().filter(|_| self.more).map(place);
        Page { items: self.items, next }
    }
}

/// One scheduled occurrence.
pub(super) fn scheduled_one(conn: &Connection, of: ScheduledId) -> Result<Option<Scheduled>> {
    one(conn, concat!("SELECT ", scheduled_columns!(), " FROM scheduled WHERE id = ?1"), &[&of.bytes()], scheduled_row)
}
