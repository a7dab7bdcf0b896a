//! Reads of attempts: lists with filters and totals, and single ones.
//!
//! A list is put together of the parts that its tallies name (see `tallies.rs`, `merge.rs`), of the notes that have not gone to their places
//! yet (see `history.rs`) and of the attempts under way. The last two are few: so many as gather, and so many as are exchanged at a time.
//! A list over all tenants has a part for each outcome.

use super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS};
use super::gathered::Gathered;
use super::merge::merge;
use super::rows::{DeliveryRow, Events, all, attempt_end, attempt_row, code_opt, count, id, namespace, one, state_kind, time};
use super::tallies::{self, Kind, Part, PartPlace, Scope, outcome_text};
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeliveryId, EndpointId, EventSeq, SubscriptionId};
use postrider_core::ports::{AttemptDetail, AttemptFilter, AttemptRow, AttemptView, Found, Page, Window};
use rusqlite::types::Null;
use rusqlite::{Connection, Result, Row, ToSql};
use std::cmp::Reverse;

/// Where an attempt is: the newest first, by their ids.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Spot {
    pub(super) id: Reverse<[u8; 16]>,
    delivery: [u8; 16],
    number: u32,
}

impl Spot {
    /// Reads it from the columns id, delivery and number, which come first.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Spot { id: Reverse(row.get(0)?), delivery: row.get(1)?, number: row.get(2)? })
    }
}

/// Before every id, and behind every one.
const FIRST: &[u8] = &[];
const LAST: &[u8] = &[0xff; 17];

macro_rules! in_part {
    ($what:literal, $scope:literal, $rest:literal) => {
        concat!("SELECT ", $what, " WHERE ", $scope, " AND id >= ?4 AND id < ?5 AND started_at >= ?6 AND started_at < ?7", $rest)
    };
}
const RUN_OF_ALL: &str =
    in_part!("id, delivery, number FROM attempts_by_outcome", "outcome = ?3 AND ?1 IS NULL AND ?2 IS NULL", " ORDER BY id DESC LIMIT ?8");
const RUN_BY_NAMESPACE: &str = in_part!(
    "id, delivery, number FROM attempts_by_namespace",
    "namespace = ?1 AND outcome = ?3 AND ?2 IS NULL",
    " ORDER BY id DESC LIMIT ?8"
);
const RUN_BY_SUBSCRIPTION: &str = in_part!(
    "id, delivery, number FROM attempts_by_subscription",
    "subscription = ?1 AND endpoint = ?2 AND outcome = ?3",
    " ORDER BY id DESC LIMIT ?8"
);
const COUNT_OF_ALL: &str = in_part!("count(*) FROM attempts_by_outcome", "outcome = ?3 AND ?1 IS NULL AND ?2 IS NULL", "");
const COUNT_BY_NAMESPACE: &str = in_part!("count(*) FROM attempts_by_namespace", "namespace = ?1 AND outcome = ?3 AND ?2 IS NULL", "");
const COUNT_BY_SUBSCRIPTION: &str =
    in_part!("count(*) FROM attempts_by_subscription", "subscription = ?1 AND endpoint = ?2 AND outcome = ?3", "");

macro_rules! looked_through {
    ($of:literal, $endpoint:literal, $what:literal, $from:literal) => {
        concat!(
            "SELECT ",
            $of,
            "id, ",
            $of,
            "delivery, ",
            $of,
            "number, ",
            $what,
            " FROM ",
            $from,
            " AND ",
            not_erased!($endpoint),
            "AND (?1 IS NULL OR ",
            $of,
            "namespace = ?1) AND (?2 IS NULL OR ",
            $of,
            "subscription = ?2) AND (?3 IS NULL OR ",
            $of,
            "endpoint = ?3) AND ",
            $of,
            "started_at >= ?4 AND ",
            $of,
            "started_at < ?5 AND ",
            $of,
            "id >= ?6 AND ",
            $of,
            "id < ?7"
        )
    };
}
const UNDER_WAY: &str = looked_through!("", "endpoint", "''", "attempts INDEXED BY attempts_open WHERE finished_at IS NULL");
const OF_EVENT: &str = looked_through!(
    "a.",
    "a.endpoint",
    "coalesce(a.error_code, ''), a.finished_at IS NULL",
    "deliveries d INDEXED BY deliveries_event CROSS JOIN attempts a ON a.delivery = d.id WHERE d.event = ?8"
);

/// Statements that must not walk over more than they answer.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 9] = [
    RUN_OF_ALL,
    RUN_BY_NAMESPACE,
    RUN_BY_SUBSCRIPTION,
    COUNT_OF_ALL,
    COUNT_BY_NAMESPACE,
    COUNT_BY_SUBSCRIPTION,
    OF_EVENT,
    ONE_UNDER_WAY,
    ONE_IN_PART,
];

/// Attempts, newest first, and how many there are.
pub(super) fn find(conn: &Connection, filter: &AttemptFilter, window: Window<AttemptId>) -> Result<Found<AttemptRow, AttemptId>> {
    let (spots, more, total) = spots(conn, filter, window)?;
    let next = spots.last().filter(|_| more).map(|spot| AttemptId::new(uuid::Uuid::from_bytes(spot.id.0)));
    let items = spots.iter().map(|spot| row(conn, spot)).collect::<Result<_>>()?;
    Ok(Found { page: Page { items, next }, total })
}

/// Attempts of a subscription, newest first.
pub(super) fn newest(conn: &Connection, of: SubscriptionId, limit: u32) -> Result<Vec<AttemptView>> {
    let filter = AttemptFilter { subscription: Some(of), ..AttemptFilter::default() };
    let (spots, ..) = spots(conn, &filter, Window::first(limit))?;
    let sql = concat!(
        "SELECT ",
        attempt_columns!(),
        ", d.state FROM attempts a CROSS JOIN deliveries d ON d.id = a.delivery",
        attempt_body!(),
        "WHERE a.delivery = ?1 AND a.number = ?2"
    );
    let mut select = conn.prepare_cached(sql)?;
    let mut view = |spot: &Spot| {
        select.query_row((spot.delivery, spot.number), |row| {
            Ok(AttemptView { attempt: attempt_row(row)?, state: state_kind(row, ATTEMPT_COLUMNS)? })
        })
    };
    spots.iter().map(&mut view).collect()
}

/// The newest attempts of a delivery, ascending by number.
pub(super) fn of_delivery(conn: &Connection, of: DeliveryId, within: Option<&Namespace>, limit: u32) -> Result<Vec<AttemptRow>> {
    let sql = concat!(
        "SELECT id, delivery, number FROM attempts WHERE delivery = ?1 AND (?2 IS NULL OR namespace = ?2) AND",
        not_erased!("endpoint"),
        "ORDER BY number DESC LIMIT ?3"
    );
    let mut spots = all(conn, sql, &[&of.bytes(), &within.map(Namespace::as_str), &limit], Spot::read)?;
    spots.reverse();
    spots.iter().map(|spot| row(conn, spot)).collect()
}

/// The attempt that is there.
pub(super) fn row(conn: &Connection, spot: &Spot) -> Result<AttemptRow> {
    let sql = "SELECT a.id, a.namespace, d.event, a.delivery, a.subscription, a.endpoint, a.number, a.target_url, a.started_at, \
               a.finished_at, a.http_status, a.error_code, a.error_message, a.dns_us, a.tcp_us, a.tls_us, a.first_byte_us, a.total_us \
               FROM attempts a CROSS JOIN deliveries d ON d.id = a.delivery WHERE a.delivery = ?1 AND a.number = ?2";
    conn.prepare_cached(sql)?.query_row((spot.delivery, spot.number), |row| {
        Ok(AttemptRow {
            id: id(row, 0, AttemptId::new)?,
            namespace: namespace(row, 1)?,
            event: EventSeq(row.get(2)?),
            delivery: id(row, 3, DeliveryId::new)?,
            subscription: id(row, 4, SubscriptionId::new)?,
            endpoint: id(row, 5, EndpointId::new)?,
            number: row.get(6)?,
            target_url: row.get(7)?,
            started_at: time(row, 8)?,
            end: attempt_end(row, 9)?,
        })
    })
}

/// The attempts of a window in their order, whether more follow, and how many there are in all.
fn spots(conn: &Connection, filter: &AttemptFilter, window: Window<AttemptId>) -> Result<(Vec<Spot>, bool, u64)> {
    let parts = if filter.event.is_some() { Vec::new() } else { parts(conn, filter)? };
    let mut beside = look_through(conn, filter)?;
    let mut total = beside.len() as u64;
    for part in &parts {
        total += if filter.is_timed() { count_part(conn, filter, part)? } else { part.n };
    }
    let after = window.after.map(AttemptId::bytes);
    if let Some(after) = after {
        beside.retain(|spot| spot.id > Reverse(after));
    }
    let gathered = if filter.event.is_some() { None } else { Gathered::wanted(conn, filter)? };
    if let Some(gathered) = gathered {
        total += gathered.count(conn)?;
        // One more than are asked for, which says that there are more.
        beside.extend(gathered.newest(conn, after, window.skip as usize + window.limit as usize + 1)?);
    }
    beside.sort_unstable();
    let (taken, more) = merge(parts.len(), beside, (window.skip, window.limit), |n, last: Option<&Spot>, count| {
        let below = last.map(|spot| spot.id.0).or(after);
        run(conn, filter, &parts[n], below.as_ref(), count)
    })?;
    Ok((taken, more, total))
}

fn parts(conn: &Connection, filter: &AttemptFilter) -> Result<Vec<Part>> {
    let scope = Scope { namespace: filter.namespace.as_ref(), subscription: filter.subscription, endpoint: filter.endpoint };
    let mut parts = tallies::seen(conn, Kind::Attempts, scope)?;
    parts.retain(|part| filter.outcome.wants_ended(part.code));
    Ok(parts)
}

/// Calls a statement of a part with what all of them take, and whatever comes after that.
fn in_part<T>(
    conn: &Connection,
    [of_all, by_namespace, by_subscription]: [&str; 3],
    (filter, part): (&AttemptFilter, &Part),
    below: Option<&[u8; 16]>,
    limit: Option<i64>,
    read: impl FnMut(&Row<'_>) -> Result<T>,
) -> Result<Vec<T>> {
    let (from, before) = ids(filter);
    let before = below.map_or(&before[..], |below| if below[..] < before[..] { &below[..] } else { &before[..] });
    let (began_from, began_before) = times(filter);
    let outcome = outcome_text(part.code);
    let (subscription, endpoint, name);
    let (sql, first, second): (_, &dyn ToSql, &dyn ToSql) = match &part.place {
        PartPlace::All => (of_all, &Null, &Null),
        PartPlace::Namespace(namespace) => {
            name = namespace.as_str();
            (by_namespace, &name, &Null)
        }
        PartPlace::Subscription(of, to) => {
            (subscription, endpoint) = (of.bytes(), to.bytes());
            (by_subscription, &subscription, &endpoint)
        }
    };
    let mut params: Vec<&dyn ToSql> = vec![first, second, &outcome, &from, &before, &began_from, &began_before];
    if let Some(limit) = &limit {
        params.push(limit);
    }
    all(conn, sql, &params, read)
}

fn run(conn: &Connection, filter: &AttemptFilter, part: &Part, below: Option<&[u8; 16]>, count: usize) -> Result<Vec<Spot>> {
    let limit = i64::try_from(count).unwrap_or(i64::MAX);
    in_part(conn, [RUN_OF_ALL, RUN_BY_NAMESPACE, RUN_BY_SUBSCRIPTION], (filter, part), below, Some(limit), Spot::read)
}

fn count_part(conn: &Connection, filter: &AttemptFilter, part: &Part) -> Result<u64> {
    let counting = [COUNT_OF_ALL, COUNT_BY_NAMESPACE, COUNT_BY_SUBSCRIPTION];
    let counts = in_part(conn, counting, (filter, part), None, None, |row| count(row, 0))?;
    Ok(counts.iter().sum())
}

/// All that match of what has no place: attempts under way; with an event all that match of its attempts.
fn look_through(conn: &Connection, filter: &AttemptFilter) -> Result<Vec<Spot>> {
    let (from, before) = ids(filter);
    let (began_from, began_before) = times(filter);
    let namespace = filter.namespace.as_ref().map(Namespace::as_str);
    let (subscription, endpoint) = (filter.subscription.map(SubscriptionId::bytes), filter.endpoint.map(EndpointId::bytes));
    let mut params: Vec<&dyn ToSql> = vec![&namespace, &subscription, &endpoint, &began_from, &began_before, &from, &before];
    let is_wanted = |row: &Row<'_>| Ok(filter.outcome.wants_ended(code_opt(row, 3)?).then_some(Spot::read(row)?));
    if let Some(event) = &filter.event {
        params.push(&event.0);
        let of_event = |row: &Row<'_>| {
            let under_way: bool = row.get(4)?;
            if under_way { Ok(filter.outcome.wants_under_way().then_some(Spot::read(row)?)) } else { is_wanted(row) }
        };
        return Ok(all(conn, OF_EVENT, &params, of_event)?.into_iter().flatten().collect());
    }
    if filter.outcome.wants_under_way() { all(conn, UNDER_WAY, &params, Spot::read) } else { Ok(Vec::new()) }
}

fn ids(filter: &AttemptFilter) -> (Vec<u8>, Vec<u8>) {
    let (from, before) = filter.ids();
    let from = if filter.began_from.is_some() { from.as_bytes().to_vec() } else { FIRST.to_vec() };
    let before = if filter.began_before.is_some() { before.as_bytes().to_vec() } else { LAST.to_vec() };
    (from, before)
}

fn times(filter: &AttemptFilter) -> (i64, i64) {
    let micros = |at: postrider_core::time::Timestamp| at.as_micros();
    (filter.began_from.map_or(i64::MIN, micros), filter.began_before.map_or(i64::MAX, micros))
}

const ONE: &str = concat!(
    "SELECT ",
    attempt_columns!(),
    ", ",
    delivery_columns!(),
    ", a.stripped FROM attempts a CROSS JOIN deliveries d ON d.id = a.delivery",
    attempt_body!(),
    "WHERE a.delivery = ?1 AND a.number = ?2 AND (?3 IS NULL OR a.namespace = ?3) AND",
    not_erased!("a.endpoint")
);

/// One attempt with everything that belongs to it, in this namespace if one is given.
pub(super) fn detail(conn: &Connection, of: AttemptId, within: Option<&Namespace>) -> Result<Option<AttemptDetail>> {
    let Some(spot) = spot_of(conn, of)? else { return Ok(None) };
    one(conn, ONE, &[&spot.delivery, &spot.number, &within.map(Namespace::as_str)], |row| {
        let delivery = DeliveryRow::read_from(row, ATTEMPT_COLUMNS)?;
        let event = Events::default().get(conn, delivery.event)?;
        let bodies_removed = row.get(ATTEMPT_COLUMNS + DELIVERY_COLUMNS)?;
        Ok(AttemptDetail { attempt: attempt_row(row)?, bodies_removed, delivery: delivery.of(&event.namespace), event })
    })
}

const ONE_UNDER_WAY: &str = "SELECT id, delivery, number FROM attempts INDEXED BY attempts_open WHERE finished_at IS NULL AND id = ?1";
const ONE_IN_PART: &str = "SELECT p.id, p.delivery, p.number FROM tallies t CROSS JOIN attempts_by_outcome p ON p.outcome = t.code \
    WHERE t.kind = 0 AND p.id = ?1";
const ONE_GATHERED: &str = "SELECT id, delivery, number FROM attempts_new WHERE id = ?1";

/// Where an attempt is: a seek for each outcome that there is, and a look through the notes that gather.
fn spot_of(conn: &Connection, of: AttemptId) -> Result<Option<Spot>> {
    for sql in [ONE_UNDER_WAY, ONE_IN_PART, ONE_GATHERED] {
        if let Some(spot) = one(conn, sql, &[&of.bytes()], Spot::read)? {
            return Ok(Some(spot));
        }
    }
    Ok(None)
}
