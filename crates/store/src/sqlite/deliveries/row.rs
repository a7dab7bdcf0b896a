//! One delivery as a list shows it.

use super::super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS};
use super::super::rows::{self, attempt_row, id, namespace, one};
use bytes::Bytes;
use postrider_core::delivery::Delivery;
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeliveryId, EventId};
use postrider_core::ports::{DeliveryRow, LISTED_BODY_BYTES, with_listed_bodies};
use rusqlite::{Connection, Result, params};

// The statements say it in figures.
const _: () = assert!(LISTED_BODY_BYTES == 1_024);

/// How much of the bodies is wanted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    /// What a list shows.
    Listed,
    /// All of them.
    Whole,
}

macro_rules! last_attempt_with {
    ($bodies:literal) => {
        concat!(
            "SELECT ",
            attempt_columns_with!($bodies),
            ", a.stripped FROM attempts a",
            attempt_body!(),
            "WHERE a.delivery = ?1 AND a.finished_at IS NOT NULL ORDER BY a.number DESC LIMIT 1"
        )
    };
}

macro_rules! delivery_with {
    ($payload:literal, $called_off:literal) => {
        concat!(
            "SELECT ",
            delivery_columns!(),
            ", e.namespace, e.id, e.type, ",
            $payload,
            ", ",
            $called_off,
            " FROM deliveries d CROSS JOIN events e ON e.seq = d.event WHERE d.id = ?1"
        )
    };
}

impl Bodies {
    /// One byte more of each body is read than a list shows, so that it is known whether it was cut. SQLite's `substr` of an empty blob is
    /// NULL.
    fn last_attempt(self) -> &'static str {
        match self {
            Bodies::Whole => last_attempt_with!(
                "coalesce(a.request, b.request), coalesce(a.response, b.response), coalesce(a.response_head, b.response_head)"
            ),
            Bodies::Listed => last_attempt_with!(
                "coalesce(substr(coalesce(a.request, b.request), 1, 1025), a.request, b.request), \
                 substr(coalesce(a.response, b.response), 1, 1025), NULL"
            ),
        }
    }

    fn delivery(self) -> &'static str {
        match self {
            Bodies::Whole => delivery_with!("e.payload", "d.cancel_wanted"),
            Bodies::Listed => delivery_with!("coalesce(substr(e.payload, 1, 1024), e.payload)", "0"),
        }
    }
}

/// A delivery that is there.
pub(super) fn row(conn: &Connection, of: DeliveryId, bodies: Bodies) -> Result<DeliveryRow> {
    let last = one(conn, bodies.last_attempt(), &[&of.bytes()], |row| Ok((attempt_row(row)?, row.get(ATTEMPT_COLUMNS)?)))?;
    let (last_ended, bodies_removed) = last.map_or((None, false), |(attempt, removed)| (Some(attempt), removed));
    let last_ended = if bodies == Bodies::Listed { last_ended.map(with_listed_bodies) } else { last_ended };
    let row = conn.prepare_cached(bodies.delivery())?.query_row([of.bytes()], |row| {
        let delivery = rows::DeliveryRow::read(row)?.of(&namespace(row, DELIVERY_COLUMNS)?);
        Ok(DeliveryRow {
            // What is said of one that has ended says nothing any more.
            called_off: row.get::<_, bool>(DELIVERY_COLUMNS + 4)? && !delivery.progress.state.kind().is_resting(),
            delivery,
            event_id: id(row, DELIVERY_COLUMNS + 1, EventId::new)?,
            event_type: row.get_ref(DELIVERY_COLUMNS + 2)?.as_str()?.into(),
            payload: Bytes::copy_from_slice(row.get_ref(DELIVERY_COLUMNS + 3)?.as_blob()?),
            last_ended,
            bodies_removed,
            rate_limited: 0,
        })
    })?;
    Ok(DeliveryRow { rate_limited: rate_limited(conn, &row.delivery)?, ..row })
}

/// See [`DeliveryRow::rate_limited`]. They are looked for only where there can be one.
fn rate_limited(conn: &Connection, delivery: &Delivery) -> Result<u32> {
    let most = delivery.progress.uncounted();
    if most == 0 {
        return Ok(0);
    }
    let sql = "SELECT count(*) FROM attempts WHERE delivery = ?1 AND error_code = ?2";
    let params = params![delivery.id.bytes(), ErrorCode::RateLimited.as_str()];
    conn.prepare_cached(sql)?.query_row(params, |row| row.get(0)).map(|found: u32| found.min(most))
}
