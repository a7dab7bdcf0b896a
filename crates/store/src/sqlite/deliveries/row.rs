//! One delivery as a list shows it.

use super::super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS};
use super::super::rows::{self, attempt_row, id, namespace, one};
use bytes::Bytes;
use postrider_core::id::EventId;
use postrider_core::ports::{DeliveryRow, LISTED_BODY_BYTES, with_listed_bodies};
use rusqlite::{Connection, Result};

// The statements say it in figures.
const _: () = assert!(LISTED_BODY_BYTES == 1_024);

/// One byte more of each body is read than is shown, so that it is known whether it was cut. SQLite's `substr` of an empty blob is NULL.
pub(super) fn row(conn: &Connection, of: &[u8; 16]) -> Result<DeliveryRow> {
    let sql = concat!(
        "SELECT ",
        attempt_columns_with!(
            "coalesce(substr(coalesce(a.request, b.request), 1, 1025), a.request, b.request), \
             substr(coalesce(a.response, b.response), 1, 1025)"
        ),
        ", a.stripped FROM attempts a",
        attempt_body!(),
        "WHERE a.delivery = ?1 AND a.finished_at IS NOT NULL ORDER BY a.number DESC LIMIT 1"
    );
    let last = one(conn, sql, &[of], |row| Ok((attempt_row(row)?, row.get(ATTEMPT_COLUMNS)?)))?;
    let (last_ended, bodies_removed) = last.map_or((None, false), |(attempt, removed)| (Some(with_listed_bodies(attempt)), removed));
    let sql = concat!(
        "SELECT ",
        delivery_columns!(),
        ", e.namespace, e.id, e.type, coalesce(substr(e.payload, 1, 1024), e.payload) FROM deliveries d CROSS JOIN events e ON e.seq = d.event WHERE d.id = ?1"
    );
    conn.prepare_cached(sql)?.query_row([of], |row| {
        Ok(DeliveryRow {
            delivery: rows::DeliveryRow::read(row)?.of(&namespace(row, DELIVERY_COLUMNS)?),
            event_id: id(row, DELIVERY_COLUMNS + 1, EventId::new)?,
            event_type: row.get_ref(DELIVERY_COLUMNS + 2)?.as_str()?.into(),
            payload: Bytes::copy_from_slice(row.get_ref(DELIVERY_COLUMNS + 3)?.as_blob()?),
            last_ended,
            bodies_removed,
        })
    })
}
