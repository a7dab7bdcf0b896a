//! What people look over and look for: groups of open dead letters, events by their key, deliveries by what their keys are made of.

use super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS};
use super::conn::Conn;
use super::error::Result;
use super::parts::{in_order, nil};
use super::rows::{attempt_row, code, count, delivery_row, get, id, namespace, text};
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{DeadLetterGroup, DeliveryKeyParts, MAX_DELIVERY_KEYS, MAX_KEY_NAMESPACES, WholeAttempt};
use tokio_postgres::Row;
use uuid::Uuid;

/// The sums of the numbers of open dead letters (kind 10). The index `tallies_dead_letters` has these alone; its condition is written in this way
/// so that no other statement can be taken for one that wants it.
macro_rules! groups_of {
    ($which:literal) => {
        concat!(
            "SELECT t.namespace, t.endpoint, t.code, sum(t.n)::int8 FROM tallies t WHERE ",
            $which,
            "t.kind + 0 = 10 AND t.subscription <> ",
            nil!(),
            " AND",
            not_erased!("t.endpoint"),
            "GROUP BY t.namespace, t.endpoint, t.code HAVING sum(t.n) > 0 \
             ORDER BY 4 DESC, t.namespace COLLATE \"C\", t.endpoint, t.code COLLATE \"C\" LIMIT $1::int8"
        )
    };
}
const GROUPS: &str = groups_of!("");
const GROUPS_OF_NAMESPACE: &str = groups_of!("t.namespace = $2 AND ");

/// By the delivery alone: no other index of dead letters is as good.
const OPEN_LETTER: &str = concat!(
    "SELECT l.id FROM (SELECT id, endpoint, status FROM dead_letters WHERE delivery = $1 OFFSET 0) l WHERE l.status = 0 AND",
    not_erased!("l.endpoint"),
    "LIMIT 1"
);

const LETTERS: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    ", l.id FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) \
     CROSS JOIN LATERAL (SELECT * FROM dead_letters WHERE id = u.id LIMIT 1) l \
     CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE id = l.delivery LIMIT 1) d \
     WHERE l.status = 0 AND ($2::text IS NULL OR d.namespace = $2) AND",
    not_erased!("l.endpoint"),
    "ORDER BY u.at"
);

/// Whether the bodies are answered (`fits`) depends on how large those of newer ones are together, which is known without reading them.
const WHOLE_ATTEMPTS: &str = concat!(
    "SELECT ",
    attempt_columns_with!("CASE WHEN a.fits THEN a.request END, CASE WHEN a.fits THEN a.response END, a.response_head"),
    ", a.stripped, NOT a.fits FROM (SELECT a.*, a.size = 0 OR coalesce(sum(a.size) \
     OVER (ORDER BY a.number DESC ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), 0) < $4::int8 AS fits FROM \
     (SELECT a.*, coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) AS size FROM attempts a \
     WHERE a.delivery = $1 AND ($2::text IS NULL OR a.namespace = $2) AND",
    not_erased!("a.endpoint"),
    ") a) a ORDER BY a.number DESC LIMIT $3::int8"
);

/// A key may be there whose event is gone already.
const EVENTS_WITH_KEY: &str = "SELECT u.namespace, e.id FROM unnest($1::text[]) WITH ORDINALITY AS u (namespace, at) \
    CROSS JOIN LATERAL (SELECT event FROM event_keys WHERE namespace = u.namespace AND key = $2 LIMIT 1) k \
    CROSS JOIN LATERAL (SELECT id FROM events WHERE id = k.event LIMIT 1) e ORDER BY u.at";

/// From one to the next, whatever is counted of them.
const COUNTED: &str = "WITH RECURSIVE n (namespace) AS \
    ((SELECT t.namespace FROM tallies t WHERE t.namespace > $1 ORDER BY t.namespace LIMIT 1) \
    UNION ALL SELECT (SELECT t.namespace FROM tallies t WHERE t.namespace > n.namespace ORDER BY t.namespace LIMIT 1) FROM n \
    WHERE n.namespace IS NOT NULL) SELECT n.namespace FROM n WHERE n.namespace IS NOT NULL LIMIT $2::int8";

const KEYS: &str = concat!(
    "SELECT d.id, d.namespace, d.subscription, d.event FROM deliveries d WHERE d.id < $1 AND",
    not_erased!("d.endpoint"),
    "ORDER BY d.id DESC LIMIT $2::int8"
);

/// Read as `walk!` does, so that nothing but the index that begins with the namespace has this order.
const KEYS_OF_NAMESPACE: &str = concat!(
    "SELECT k.id, k.namespace, k.subscription, k.event FROM unnest(ARRAY[$3::text]) AS p (namespace) \
     CROSS JOIN LATERAL (SELECT d.id, d.namespace, d.subscription, d.event FROM deliveries d \
     WHERE d.namespace = ANY (ARRAY[p.namespace]) AND d.id < $1 AND",
    not_erased!("d.endpoint"),
    "ORDER BY d.namespace DESC, d.id DESC LIMIT $2::int8) k ORDER BY k.id DESC"
);

/// Open dead letters by namespace, endpoint and reason, the largest groups first.
pub(super) async fn dead_letter_groups(conn: &Conn, of: Option<&Namespace>, limit: u32) -> Result<Vec<DeadLetterGroup>> {
    let limit = i64::from(limit);
    let rows = match of.map(Namespace::as_str) {
        None => conn.rows(GROUPS, &[&limit]).await?,
        Some(name) => conn.rows(GROUPS_OF_NAMESPACE, &[&limit, &name]).await?,
    };
    rows.iter().map(group).collect()
}

fn group(row: &Row) -> Result<DeadLetterGroup> {
    Ok(DeadLetterGroup {
        namespace: namespace(row, 0)?,
        endpoint: id(row, 1, EndpointId::new)?,
        code: code(get(row, 2)?)?,
        open: count(row, 3)?,
    })
}

/// The open dead letter of a delivery.
pub(super) async fn open_dead_letter(conn: &Conn, of: DeliveryId) -> Result<Option<DeadLetterId>> {
    let rows = conn.rows(OPEN_LETTER, &[&of.uuid()]).await?;
    rows.first().map(|row| id(row, 0, DeadLetterId::new)).transpose()
}

/// The deliveries of those of these dead letters that are open.
pub(super) async fn open_letters(conn: &Conn, of: &[DeadLetterId], within: Option<&Namespace>) -> Result<Vec<(DeadLetterId, Delivery)>> {
    let (ids, namespace): (Vec<Uuid>, _) = (of.iter().map(|id| id.uuid()).collect(), within.map(Namespace::as_str));
    let rows = conn.rows(LETTERS, &[&ids, &namespace]).await?;
    rows.iter().map(|row| Ok((id(row, DELIVERY_COLUMNS, DeadLetterId::new)?, delivery_row(row)?))).collect()
}

/// The newest attempts of a delivery, the newest first, with so much of bodies.
pub(super) async fn whole_attempts(
    conn: &Conn,
    of: DeliveryId,
    within: Option<&Namespace>,
    (limit, max_bytes): (u32, u64),
) -> Result<Vec<WholeAttempt>> {
    let (limit, max_bytes) = (i64::from(limit), i64::try_from(max_bytes).unwrap_or(i64::MAX));
    let rows = conn.rows(WHOLE_ATTEMPTS, &[&of.uuid(), &within.map(Namespace::as_str), &limit, &max_bytes]).await?;
    rows.iter().map(whole).collect()
}

fn whole(row: &Row) -> Result<WholeAttempt> {
    let (bodies_removed, bodies_left_out) = (get(row, ATTEMPT_COLUMNS)?, get(row, ATTEMPT_COLUMNS + 1)?);
    Ok(WholeAttempt { attempt: attempt_row(row)?, bodies_removed, bodies_left_out })
}

/// The events that have this key.
pub(super) async fn events_by_key(conn: &Conn, among: &[Namespace], key: &str) -> Result<Vec<(Namespace, EventId)>> {
    let names: Vec<&str> = among.iter().take(MAX_KEY_NAMESPACES).map(Namespace::as_str).collect();
    let rows = conn.rows(EVENTS_WITH_KEY, &[&names, &text(key)]).await?;
    rows.iter().map(|row| Ok((namespace(row, 0)?, id(row, 1, EventId::new)?))).collect()
}

/// Namespaces of which something is counted.
pub(super) async fn counted_namespaces(conn: &Conn, after: Option<&Namespace>) -> Result<Vec<Namespace>> {
    let (after, limit) = (after.map_or("", Namespace::as_str), MAX_KEY_NAMESPACES as i64);
    conn.rows(COUNTED, &[&after, &limit]).await?.iter().map(|row| namespace(row, 0)).collect()
}

/// Deliveries, newest first, with what their keys are made of.
pub(super) async fn delivery_keys(
    conn: &Conn,
    of: Option<&Namespace>,
    after: Option<DeliveryId>,
    limit: u32,
) -> Result<Vec<DeliveryKeyParts>> {
    in_order(conn).await?;
    let (before, limit) = (after.map_or(Uuid::max(), DeliveryId::uuid), i64::from(limit.min(MAX_DELIVERY_KEYS)));
    let rows = match of.map(Namespace::as_str) {
        None => conn.rows(KEYS, &[&before, &limit]).await?,
        Some(name) => conn.rows(KEYS_OF_NAMESPACE, &[&before, &limit, &name]).await?,
    };
    rows.iter().map(parts).collect()
}

fn parts(row: &Row) -> Result<DeliveryKeyParts> {
    Ok(DeliveryKeyParts {
        id: id(row, 0, DeliveryId::new)?,
        namespace: namespace(row, 1)?,
        subscription: id(row, 2, SubscriptionId::new)?,
        event: EventSeq(get(row, 3)?),
    })
}
