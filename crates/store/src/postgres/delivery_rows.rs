//! Deliveries as lists show them, and by themselves.

use super::columns::DELIVERY_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::parts::attempts_floor;
use super::rows::{attempt_row_from, delivery_row, get, id, plain};
use bytes::Bytes;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EventId};
use postrider_core::ports::{DeliveryRow, LISTED_BODY_BYTES, with_listed_bodies};
use tokio_postgres::Row;
use uuid::Uuid;

// The statements say it in figures.
const _: () = assert!(LISTED_BODY_BYTES == 1_024);

/// A statement for [`read`] with these for the event's payload and the bodies of the attempt, and the rest of it. Attempts that were free of charge
/// are counted only where there can be one.
macro_rules! rows_with {
    ($payload:literal, $bodies:literal, $called_off:literal, $($rest:tt)*) => {
        concat!(
            "SELECT ",
            delivery_columns!(),
            ", e.id, e.type, e.payload, CASE WHEN d.attempts - d.spent - (d.state = 1)::int4 > 0 THEN \
             (SELECT count(*) FROM attempts r WHERE r.delivery = d.id AND r.error_code = $2 AND r.id >= ",
            attempts_floor!("d"),
            ") ELSE 0 END, a.stripped, ",
            $called_off,
            ", ",
            attempt_columns!(),
            " FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) \
             CROSS JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.id = u.id LIMIT 1) d \
             CROSS JOIN LATERAL (SELECT e.id, e.type, ",
            $payload,
            " AS payload FROM events e WHERE e.id = d.event_id LIMIT 1) e LEFT JOIN LATERAL (SELECT a.stripped, ",
            attempt_columns_with!($bodies),
            " FROM attempts a WHERE a.delivery = d.id AND a.id >= ",
            attempts_floor!("d"),
            " AND a.finished_at IS NOT NULL ORDER BY a.number DESC LIMIT 1) a ON true ",
            $($rest)*
        )
    };
}

/// One byte more of each body is read than is shown, so that it is known whether it was cut.
const LISTED: &str = rows_with!(
    "substring(e.payload, 1, 1024)",
    "substring(a.request, 1, 1025) AS request, substring(a.response, 1, 1025) AS response, NULL::bytea AS response_head",
    "false",
    "ORDER BY u.at"
);
const BY_ID: &str = rows_with!(
    "substring(e.payload, 1, 1024)",
    "substring(a.request, 1, 1025) AS request, substring(a.response, 1, 1025) AS response, NULL::bytea AS response_head",
    "false",
    "WHERE ($3::text IS NULL OR d.namespace = $3) AND",
    not_erased!("d.endpoint"),
    "ORDER BY u.at"
);
const WHOLE: &str = rows_with!(
    "e.payload",
    "a.request, a.response, a.response_head",
    "coalesce((SELECT q.cancel_wanted FROM queue q WHERE q.id = d.id LIMIT 1), false)",
    "WHERE ($3::text IS NULL OR d.namespace = $3) AND",
    not_erased!("d.endpoint")
);

/// Deliveries that are there, in the order of these, with the beginnings of their bodies.
pub(super) async fn listed(conn: &Conn, ids: &[Uuid]) -> Result<Vec<DeliveryRow>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let rows = conn.rows(LISTED, &[&ids, &ErrorCode::RateLimited.as_str()]).await?;
    rows.iter().map(|row| read(row).map(cut)).collect()
}

/// Those of these deliveries that are there, in this namespace if one is given, with the beginnings of their bodies.
pub(super) async fn by_id(conn: &Conn, of: &[DeliveryId], within: Option<&Namespace>) -> Result<Vec<DeliveryRow>> {
    let (ids, namespace): (Vec<Uuid>, _) = (of.iter().map(|id| id.uuid()).collect(), within.map(Namespace::as_str));
    let rows = conn.rows(BY_ID, &[&ids, &ErrorCode::RateLimited.as_str(), &namespace]).await?;
    rows.iter().map(|row| read(row).map(cut)).collect()
}

fn cut(row: DeliveryRow) -> DeliveryRow {
    DeliveryRow { last_ended: row.last_ended.map(with_listed_bodies), ..row }
}

/// One delivery with whole bodies, in this namespace if one is given.
pub(super) async fn whole(conn: &Conn, of: DeliveryId, within: Option<&Namespace>) -> Result<Option<DeliveryRow>> {
    let (ids, code, namespace) = ([of.uuid()], ErrorCode::RateLimited.as_str(), within.map(Namespace::as_str));
    conn.row(WHOLE, &[&&ids[..], &code, &namespace]).await?.as_ref().map(read).transpose()
}

fn read(row: &Row) -> Result<DeliveryRow> {
    const AT: usize = DELIVERY_COLUMNS;
    let delivery = delivery_row(row)?;
    let stripped: Option<bool> = get(row, AT + 4)?;
    let most = delivery.progress.uncounted();
    Ok(DeliveryRow {
        event_id: id(row, AT, EventId::new)?,
        event_type: plain(get(row, AT + 1)?).into(),
        payload: Bytes::copy_from_slice(get(row, AT + 2)?),
        last_ended: stripped.is_some().then(|| attempt_row_from(row, AT + 6)).transpose()?,
        bodies_removed: stripped.unwrap_or_default(),
        // What is said of one that has ended says nothing any more.
        called_off: get::<bool>(row, AT + 5)? && !delivery.progress.state.kind().is_resting(),
        rate_limited: u32::try_from(get::<i64>(row, AT + 3)?).unwrap_or(u32::MAX).min(most),
        delivery,
    })
}
