//! Reads of events and dead letters with filters and totals. They are put together of parts, as lists of attempts are (see `attempts.rs`).

use super::columns::{DEAD_LETTER_COLUMNS, EVENT_COLUMNS};
use super::event_filters;
use super::merge::merge;
use super::rows::{all, count, dead_letter_row, event_row, id, id_opt, json, namespace, one, time};
use super::tallies::{self, Kind, Part, PartPlace, Scope, outcome_text};
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeadLetterId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{
    DeadLetterFilter, DeadLetterPlace, DeadLetterRow, EventFilter, EventPlace, EventRow, Found, Page, PageRequest, Window,
};
use postrider_core::time::Timestamp;
use rusqlite::types::Null;
use rusqlite::{Connection, Result, Row, ToSql};
use std::sync::Arc;

/// Bounds of a filter, in microseconds.
pub(super) fn bounds(from: Option<Timestamp>, before: Option<Timestamp>) -> (i64, i64) {
    (from.map_or(i64::MIN, Timestamp::as_micros), before.map_or(i64::MAX, Timestamp::as_micros))
}

// ---- events ------------------------------------------------------------------------------------------------------

macro_rules! events_in {
    ($index:literal, $scope:literal, $type:literal) => {
        (
            concat!(
                "SELECT created_at, seq FROM events INDEXED BY ",
                $index,
                " WHERE ",
                $scope,
                " AND ",
                $type,
                " AND created_at >= ?3 AND created_at < ?4 AND (created_at, seq) < (?5, ?6) ORDER BY created_at DESC, seq DESC LIMIT ?7"
            ),
            concat!(
                "SELECT count(*) FROM events INDEXED BY ",
                $index,
                " WHERE ",
                $scope,
                " AND ",
                $type,
                " AND created_at >= ?3 AND created_at < ?4"
            ),
        )
    };
}
/// The next ones of a part, and how many it has.
const EVENTS_BY_NAMESPACE: (&str, &str) = events_in!("events_by_namespace", "namespace = ?1", "?2 IS NULL");
const EVENTS_BY_TYPE: (&str, &str) = events_in!("events_by_type", "namespace = ?1", "type = ?2");

pub(super) fn events_statements(filter: &EventFilter) -> (&'static str, &'static str) {
    if filter.event_type.is_some() { EVENTS_BY_TYPE } else { EVENTS_BY_NAMESPACE }
}

pub(super) fn event_parts(conn: &Connection, filter: &EventFilter) -> Result<Vec<Part>> {
    tallies::parts(conn, Kind::Events, Scope { namespace: filter.namespace.as_ref(), ..Scope::default() })
}

/// Events, newest first, and how many there are.
pub(super) fn events(conn: &Connection, filter: &EventFilter, request: PageRequest<EventPlace>) -> Result<Found<EventRow, EventPlace>> {
    if event_filters::is_for(filter) {
        return event_filters::find(conn, filter, request);
    }
    let (from, before) = bounds(filter.created_from, filter.created_before);
    let is_counted = filter.event_type.is_some() || filter.created_from.is_some() || filter.created_before.is_some();
    let parts = event_parts(conn, filter)?;
    let mut total = 0;
    for part in &parts {
        let params: &[&dyn ToSql] = &[&part.name(), &filter.event_type, &from, &before];
        let counting = events_statements(filter).1;
        total += if is_counted { conn.prepare_cached(counting)?.query_row(params, |row| count(row, 0))? } else { part.n };
    }
    Ok(Found { page: events_in_parts(conn, &parts, filter, request)?, total })
}

/// Events, newest first.
pub(super) fn page_of_events(
    conn: &Connection,
    filter: &EventFilter,
    request: PageRequest<EventPlace>,
) -> Result<Page<EventRow, EventPlace>> {
    if event_filters::is_for(filter) {
        return event_filters::page(conn, filter, request);
    }
    events_in_parts(conn, &event_parts(conn, filter)?, filter, request)
}

fn events_in_parts(
    conn: &Connection,
    parts: &[Part],
    filter: &EventFilter,
    request: PageRequest<EventPlace>,
) -> Result<Page<EventRow, EventPlace>> {
    let (from, before) = bounds(filter.created_from, filter.created_before);
    let (places, more) = merge(parts.len(), Vec::new(), (0, request.limit), |n, last: Option<&EventPlace>, chunk| {
        let after = last.copied().or(request.after);
        let (at, seq) = after.map_or((i64::MAX, i64::MAX), |place| (place.created_at.as_micros(), place.seq.0));
        let params: &[&dyn ToSql] = &[&parts[n].name(), &filter.event_type, &from, &before, &at, &seq, &(chunk as i64)];
        all(conn, events_statements(filter).0, params, |row| Ok(EventPlace { created_at: time(row, 0)?, seq: EventSeq(row.get(1)?) }))
    })?;
    events_at(conn, &places, more, request)
}

/// The events at these places, as many as a page may have; `more` says whether others follow all of them.
pub(super) fn events_at(
    conn: &Connection,
    places: &[EventPlace],
    mut more: bool,
    request: PageRequest<EventPlace>,
) -> Result<Page<EventRow, EventPlace>> {
    let (mut items, mut bytes) = (Vec::new(), 0);
    for place in places {
        if request.is_full(items.len(), bytes) {
            more = true;
            break;
        }
        let row = event(conn, place.seq, None)?.ok_or(rusqlite::Error::QueryReturnedNoRows)?;
        bytes += row.event.payload.len() as u64;
        items.push(row);
    }
    let next = items.len().checked_sub(1).filter(|_| more).map(|last| places[last]);
    Ok(Page { items, next })
}

/// One event, in this namespace if one is given.
pub(super) fn event(conn: &Connection, seq: EventSeq, within: Option<&Namespace>) -> Result<Option<EventRow>> {
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        ", skipped, fan_out_after IS NOT NULL, EXISTS (SELECT 1 FROM deliveries INDEXED BY deliveries_event WHERE event = seq AND",
        not_erased!("endpoint"),
        ") FROM events WHERE seq = ?1 AND (?2 IS NULL OR namespace = ?2)"
    );
    one(conn, sql, &[&seq.0, &within.map(Namespace::as_str)], |row| {
        Ok(EventRow {
            event: Arc::new(event_row(row)?),
            skipped: json(row, EVENT_COLUMNS)?,
            fan_out_pending: row.get(EVENT_COLUMNS + 1)?,
            has_deliveries: row.get(EVENT_COLUMNS + 2)?,
        })
    })
}

// ---- dead letters ------------------------------------------------------------------------------------------------

macro_rules! letters_in {
    ($index:literal, $scope:literal) => {
        (
            concat!(
                "SELECT failed_at, id FROM dead_letters INDEXED BY ",
                $index,
                " WHERE status = 0 AND ",
                $scope,
                " AND code = ?3 AND failed_at >= ?4 AND failed_at < ?5 AND (failed_at, id) < (?6, ?7) \
                 ORDER BY failed_at DESC, id DESC LIMIT ?8"
            ),
            concat!(
                "SELECT count(*) FROM dead_letters INDEXED BY ",
                $index,
                " WHERE status = 0 AND ",
                $scope,
                " AND code = ?3 AND failed_at >= ?4 AND failed_at < ?5"
            ),
        )
    };
}
/// The next ones of a part, and how many it has.
const LETTERS_OF_ALL: (&str, &str) = letters_in!("dead_letters_by_code", "?1 IS NULL AND ?2 IS NULL");
const LETTERS_BY_NAMESPACE: (&str, &str) = letters_in!("dead_letters_by_namespace", "namespace = ?1 AND ?2 IS NULL");
const LETTERS_BY_SUBSCRIPTION: (&str, &str) = letters_in!("dead_letters_by_subscription", "subscription = ?1 AND endpoint = ?2");

/// Calls a statement of a part, the first or the second, with what all of them take, and what comes after that.
fn in_part<T>(
    conn: &Connection,
    which: fn((&'static str, &'static str)) -> &'static str,
    part: &Part,
    rest: &[&dyn ToSql],
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let code = outcome_text(part.code);
    let call = |sql: (&'static str, &'static str), first: &dyn ToSql, second: &dyn ToSql| {
        let params: Vec<&dyn ToSql> = [first, second, &code].into_iter().chain(rest.iter().copied()).collect();
        all(conn, which(sql), &params, read)
    };
    match &part.place {
        PartPlace::All => call(LETTERS_OF_ALL, &Null, &Null),
        PartPlace::Namespace(namespace) => call(LETTERS_BY_NAMESPACE, &namespace.as_str(), &Null),
        PartPlace::Subscription(subscription, endpoint) => call(LETTERS_BY_SUBSCRIPTION, &subscription.bytes(), &endpoint.bytes()),
    }
}

fn letter_parts(conn: &Connection, filter: &DeadLetterFilter) -> Result<Vec<Part>> {
    let scope = Scope { namespace: filter.namespace.as_ref(), subscription: filter.subscription, endpoint: filter.endpoint };
    let mut parts = tallies::seen(conn, Kind::DeadLetters, scope)?;
    parts.retain(|part| filter.code.is_none() || filter.code == part.code);
    Ok(parts)
}

/// Open dead letters, newest first, and how many there are.
pub(super) fn dead_letters(
    conn: &Connection,
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<Found<DeadLetterRow, DeadLetterPlace>> {
    let (from, before) = bounds(filter.failed_from, filter.failed_before);
    let is_timed = filter.failed_from.is_some() || filter.failed_before.is_some();
    let parts = letter_parts(conn, filter)?;
    let mut total = 0;
    for part in &parts {
        let counted = || in_part(conn, |sql| sql.1, part, &[&from, &before], |row| count(row, 0));
        total += if is_timed { counted()?.iter().sum() } else { part.n };
    }
    Ok(Found { page: letters_in_parts(conn, &parts, filter, window)?, total })
}

/// Open dead letters, newest first.
pub(super) fn page_of_dead_letters(
    conn: &Connection,
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<Page<DeadLetterRow, DeadLetterPlace>> {
    letters_in_parts(conn, &letter_parts(conn, filter)?, filter, window)
}

fn letters_in_parts(
    conn: &Connection,
    parts: &[Part],
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<Page<DeadLetterRow, DeadLetterPlace>> {
    let (from, before) = bounds(filter.failed_from, filter.failed_before);
    let (places, more) = merge(parts.len(), Vec::new(), (window.skip, window.limit), |n, last: Option<&DeadLetterPlace>, chunk| {
        let after = last.copied().or(window.after);
        let (at, id_after) = after.map_or((i64::MAX, [0xff; 16]), |place| (place.failed_at.as_micros(), place.id.bytes()));
        let rest: &[&dyn ToSql] = &[&from, &before, &at, &id_after, &(chunk as i64)];
        in_part(
            conn,
            |sql| sql.0,
            &parts[n],
            rest,
            |row| Ok(DeadLetterPlace { failed_at: time(row, 0)?, id: id(row, 1, DeadLetterId::new)? }),
        )
    })?;
    let next = places.last().filter(|_| more).copied();
    let items = places.iter().map(|place| dead_letter(conn, place.id)).collect::<Result<_>>()?;
    Ok(Page { items, next })
}

fn dead_letter(conn: &Connection, of: DeadLetterId) -> Result<DeadLetterRow> {
    let sql = concat!(
        "SELECT ",
        dead_letter_columns!(),
        ", l.namespace, l.subscription, l.endpoint, d.event, e.id, e.type FROM dead_letters l",
        last_attempt!(),
        "CROSS JOIN deliveries d ON d.id = l.delivery CROSS JOIN events e ON e.seq = d.event WHERE l.id = ?1"
    );
    conn.prepare_cached(sql)?.query_row([of.bytes()], |row| {
        Ok(DeadLetterRow {
            dead_letter: dead_letter_row(row)?,
            last_attempt: id_opt(row, DEAD_LETTER_COLUMNS - 1, AttemptId::new)?,
            namespace: namespace(row, DEAD_LETTER_COLUMNS)?,
            subscription: id(row, DEAD_LETTER_COLUMNS + 1, SubscriptionId::new)?,
            endpoint: id(row, DEAD_LETTER_COLUMNS + 2, EndpointId::new)?,
            event: EventSeq(row.get(DEAD_LETTER_COLUMNS + 3)?),
            event_id: id(row, DEAD_LETTER_COLUMNS + 4, EventId::new)?,
            event_type: row.get_ref(DEAD_LETTER_COLUMNS + 5)?.as_str()?.into(),
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What SQLite does for a statement, line by line.
    fn plan(conn: &Connection, sql: &str) -> Vec<String> {
        let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
        let unbound = rusqlite::params_from_iter(std::iter::repeat_n(Null, explain.parameter_count()));
        explain.query_map(unbound, |row| row.get(3)).expect("a plan").collect::<Result<_>>().expect("lines")
    }

    #[test]
    fn every_part_is_read_in_the_order_of_an_index() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let events = [EVENTS_BY_NAMESPACE, EVENTS_BY_TYPE];
        let parts = events.into_iter().chain([LETTERS_OF_ALL, LETTERS_BY_NAMESPACE, LETTERS_BY_SUBSCRIPTION]);
        let mut statements: Vec<&str> = parts.flat_map(|(next, count)| [next, count]).collect();
        statements.extend(super::super::attempts::STATEMENTS);
        statements.extend(tallies::STATEMENTS);
        statements.extend(super::super::last::STATEMENTS);
        statements.extend(super::super::health::STATEMENTS);
        statements.extend(super::super::series::STATEMENTS);
        for sql in statements {
            let plan = plan(&conn, sql);
            // Endpoints that were erased are looked up once, before everything else.
            let beside = ["LIST SUBQUERY", "CREATE BLOOM FILTER"];
            let is_walk = |line: &&String| !beside.iter().any(|text| line.starts_with(text));
            let is_good = |line: &String| line.starts_with("SEARCH ") && !line.contains("AUTOMATIC");
            assert!(!plan.is_empty() && plan.iter().filter(is_walk).all(is_good), "{sql}\n{plan:#?}");
        }
    }
}
