//! What people look over and look for: groups of open dead letters, events by their key, deliveries by what their keys are made of.

use super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS};
use super::deliveries;
use super::options::Steps;
use super::rows::{DeliveryRow, all, attempt_row, code, count, id, namespace, one};
use super::tallies::{self, Kind, Scope};
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{
    DeadLetterGroup, DeliveryFilter, DeliveryKeyParts, MAX_DELIVERY_KEYS, MAX_KEY_NAMESPACES, WholeAttempt, Window,
};
use rusqlite::{Connection, Result, Row, ToSql};

macro_rules! groups_of {
    ($tallies:literal) => {
        concat!(
            "SELECT t.namespace, t.endpoint, t.code, sum(t.n) FROM ",
            $tallies,
            not_erased!("t.endpoint"),
            "GROUP BY t.namespace, t.endpoint, t.code ORDER BY 4 DESC, t.namespace, t.endpoint, t.code LIMIT ?2"
        )
    };
}
const GROUPS: &str = groups_of!("tallies_by_subscription t WHERE t.kind = ?1 AND");

/// By the namespace's own counters: no index has its tallies.
const GROUPS_OF_NAMESPACE: &str = groups_of!(
    "counters c INDEXED BY counters_by_namespace CROSS JOIN tallies_by_subscription t ON t.kind = ?1 AND t.subscription = c.subscription \
     AND t.endpoint = c.endpoint WHERE c.namespace = ?3 AND c.dead_letters > 0 AND"
);

const OPEN_LETTER: &str = concat!(
    "SELECT l.id FROM dead_letters l INDEXED BY dead_letters_delivery WHERE l.delivery = ?1 AND l.status = 0 AND",
    not_erased!("l.endpoint"),
    "LIMIT 1"
);

const LETTER: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    ", e.namespace FROM dead_letters l CROSS JOIN deliveries d ON d.id = l.delivery CROSS JOIN events e ON e.seq = d.event \
     WHERE l.id = ?1 AND l.status = 0 AND (?2 IS NULL OR e.namespace = ?2) AND",
    not_erased!("l.endpoint")
);

/// The numbers of attempts, and how large their bodies are.
const NEWEST_ATTEMPTS: &str = concat!(
    "SELECT a.number, coalesce(length(a.request), length(b.request), 0) + coalesce(length(a.response), length(b.response), 0) \
     FROM attempts a",
    attempt_body!(),
    "WHERE a.delivery = ?1 AND (?2 IS NULL OR a.namespace = ?2) AND",
    not_erased!("a.endpoint"),
    "ORDER BY a.number DESC LIMIT ?3"
);
macro_rules! attempt_with {
    ($($columns:tt)*) => {
        concat!("SELECT ", $($columns)*, ", a.stripped FROM attempts a", attempt_body!(), "WHERE a.delivery = ?1 AND a.number = ?2")
    };
}
const ATTEMPT: &str = attempt_with!(attempt_columns!());
const ATTEMPT_WITHOUT_BODIES: &str = attempt_with!(attempt_columns_with!("NULL, NULL, coalesce(a.response_head, b.response_head)"));

const EVENT_WITH_KEY: &str = "SELECT id FROM events INDEXED BY events_key WHERE namespace = ?1 AND idempotency_key = ?2";

const COUNTED: &str = "SELECT namespace FROM tallies_by_namespace WHERE kind = ?1 AND namespace > ?2 ORDER BY namespace LIMIT ?3";

/// Whatever is delivered is counted, with the tenant it belongs to.
const KEY_PARTS: &str = "SELECT d.subscription, d.event, c.namespace FROM deliveries d \
    CROSS JOIN counters c ON c.subscription = d.subscription AND c.endpoint = d.endpoint WHERE d.id = ?1";

/// Open dead letters by namespace, endpoint and reason, the largest groups first.
pub(super) fn dead_letter_groups(conn: &Connection, of: Option<&Namespace>, limit: u32) -> Result<Vec<DeadLetterGroup>> {
    let kind = Kind::DeadLetters as u8;
    match of.map(Namespace::as_str) {
        None => all(conn, GROUPS, &[&kind, &limit], group),
        Some(name) => all(conn, GROUPS_OF_NAMESPACE, &[&kind, &limit, &name], group),
    }
}

fn group(row: &Row<'_>) -> Result<DeadLetterGroup> {
    Ok(DeadLetterGroup {
        namespace: namespace(row, 0)?,
        endpoint: id(row, 1, EndpointId::new)?,
        code: code(row.get_ref(2)?.as_str()?, 2)?,
        open: count(row, 3)?,
    })
}

/// The open dead letter of a delivery.
pub(super) fn open_dead_letter(conn: &Connection, of: DeliveryId) -> Result<Option<DeadLetterId>> {
    one(conn, OPEN_LETTER, &[&of.bytes()], |row| id(row, 0, DeadLetterId::new))
}

/// The deliveries of those of these dead letters that are open.
pub(super) fn open_letters(conn: &Connection, ids: &[DeadLetterId], within: Option<&Namespace>) -> Result<Vec<(DeadLetterId, Delivery)>> {
    let mut found = Vec::with_capacity(ids.len());
    for letter in ids {
        let delivery = one(conn, LETTER, &[&letter.bytes(), &within.map(Namespace::as_str)], |row| {
            Ok(DeliveryRow::read(row)?.of(&namespace(row, DELIVERY_COLUMNS)?))
        })?;
        found.extend(delivery.map(|delivery| (*letter, delivery)));
    }
    Ok(found)
}

/// The newest attempts of a delivery, the newest first, with so much of bodies.
pub(super) fn whole_attempts(
    conn: &Connection,
    of: DeliveryId,
    within: Option<&Namespace>,
    (limit, max_bytes): (u32, u64),
) -> Result<Vec<WholeAttempt>> {
    let params: &[&dyn ToSql] = &[&of.bytes(), &within.map(Namespace::as_str), &limit];
    let found = all(conn, NEWEST_ATTEMPTS, params, |row| Ok((row.get::<_, u32>(0)?, count(row, 1)?)))?;
    let (mut whole, mut bytes) = (Vec::with_capacity(found.len()), 0);
    for (number, size) in found {
        let bodies_left_out = size > 0 && bytes >= max_bytes;
        bytes += size;
        let sql = if bodies_left_out { ATTEMPT_WITHOUT_BODIES } else { ATTEMPT };
        whole.extend(one(conn, sql, &[&of.bytes(), &number], |row| {
            Ok(WholeAttempt { attempt: attempt_row(row)?, bodies_removed: row.get(ATTEMPT_COLUMNS)?, bodies_left_out })
        })?);
    }
    Ok(whole)
}

/// The events that have this key.
pub(super) fn events_by_key(conn: &Connection, among: &[Namespace], key: &str) -> Result<Vec<(Namespace, EventId)>> {
    let mut found = Vec::new();
    for namespace in among.iter().take(MAX_KEY_NAMESPACES) {
        let params: &[&dyn ToSql] = &[&namespace.as_str(), &key];
        let event = one(conn, EVENT_WITH_KEY, params, |row| id(row, 0, EventId::new))?;
        found.extend(event.map(|event| (namespace.clone(), event)));
    }
    Ok(found)
}

/// Namespaces that have events.
pub(super) fn counted_namespaces(conn: &Connection, after: Option<&Namespace>) -> Result<Vec<Namespace>> {
    let (kind, after) = (Kind::Events as u8, after.map_or("", Namespace::as_str));
    all(conn, COUNTED, &[&kind, &after, &(MAX_KEY_NAMESPACES as i64)], |row| namespace(row, 0))
}

/// Deliveries, newest first, with what their keys are made of.
pub(super) fn delivery_keys(
    conn: &Connection,
    of: Option<&Namespace>,
    after: Option<DeliveryId>,
    limit: u32,
    steps: Steps,
) -> Result<Vec<DeliveryKeyParts>> {
    let filter = DeliveryFilter { namespace: of.cloned(), ..DeliveryFilter::default() };
    let window = Window { after, ..Window::first(limit.min(MAX_DELIVERY_KEYS)) };
    let page = deliveries::page_of_ids(conn, &filter, window, steps)?;
    let mut select = conn.prepare_cached(KEY_PARTS)?;
    let parts = page.items.iter().map(|delivery| {
        select.query_row([delivery.bytes()], |row| {
            let (subscription, event) = (id(row, 0, SubscriptionId::new)?, EventSeq(row.get(1)?));
            Ok(DeliveryKeyParts { id: *delivery, namespace: namespace(row, 2)?, subscription, event })
        })
    });
    parts.collect()
}

/// How many events there are.
pub(super) fn event_total(conn: &Connection, of: Option<&Namespace>) -> Result<u64> {
    let parts = tallies::parts(conn, Kind::Events, Scope { namespace: of, ..Scope::default() })?;
    Ok(parts.iter().map(|part| part.n).sum())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Null;

    /// Kept numbers and counters of those that are asked about are read, and events and deliveries one by one.
    #[test]
    fn nothing_is_walked_over() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let statements = [
            GROUPS,
            GROUPS_OF_NAMESPACE,
            OPEN_LETTER,
            LETTER,
            NEWEST_ATTEMPTS,
            ATTEMPT,
            ATTEMPT_WITHOUT_BODIES,
            EVENT_WITH_KEY,
            COUNTED,
            KEY_PARTS,
        ];
        for sql in statements {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
            let unbound = rusqlite::params_from_iter(std::iter::repeat_n(Null, explain.parameter_count()));
            let lines: Vec<String> = explain.query_map(unbound, |row| row.get(3)).expect("a plan").collect::<Result<_>>().expect("lines");
            // Endpoints that were erased are looked up once; the groups that come out are sorted.
            let beside = ["LIST SUBQUERY", "CREATE BLOOM FILTER", "USE TEMP B-TREE FOR"];
            let is_walk = |line: &&String| !beside.iter().any(|text| line.starts_with(text));
            let is_good = |line: &String| line.starts_with("SEARCH ") && !line.contains("AUTOMATIC");
            assert!(!lines.is_empty() && lines.iter().filter(is_walk).all(is_good), "{sql}\n{lines:#?}");
        }
    }
}
