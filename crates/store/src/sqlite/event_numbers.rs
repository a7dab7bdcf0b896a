//! The numbers of events: lists that can leave out some at the beginning without reading them.

use super::event_filters;
use super::find::{self, bounds, event_parts, events_statements};
use super::merge::merge;
use super::rows::{all, count, one, time};
use postrider_core::event::Namespace;
use postrider_core::id::{EventId, EventSeq};
use postrider_core::ports::{EventFilter, EventPlace, EventRow, Found, Page, Window};
use rusqlite::{Connection, Result, ToSql};

/// One event, in this namespace if one is given.
pub(super) fn by_id(conn: &Connection, of: EventId, within: Option<&Namespace>) -> Result<Option<EventRow>> {
    let sql = "SELECT seq FROM events INDEXED BY events_id WHERE id = ?1";
    let seq = one(conn, sql, &[&of.bytes()], |row| row.get(0).map(EventSeq))?;
    seq.map_or(Ok(None), |seq| find::event(conn, seq, within))
}

/// The numbers of events, newest first, and how many there are.
pub(super) fn find(conn: &Connection, filter: &EventFilter, window: Window<EventPlace>) -> Result<Found<EventSeq, EventPlace>> {
    let (total, (places, more)) =
        if event_filters::is_for(filter) { filtered(conn, filter, window)? } else { plain(conn, filter, window)? };
    let next = places.last().filter(|_| more).copied();
    Ok(Found { page: Page { items: places.into_iter().map(|place| place.seq).collect(), next }, total })
}

/// How many there are in all; the places of a piece, and whether more follow.
type Pieces = (u64, (Vec<EventPlace>, bool));

fn filtered(conn: &Connection, filter: &EventFilter, window: Window<EventPlace>) -> Result<Pieces> {
    let parts = event_filters::parts(conn, filter)?;
    let mut total = 0;
    for part in &parts {
        total += part.count(conn, filter)?;
    }
    let places = merge(parts.len(), Vec::new(), (window.skip, window.limit), |n, last: Option<&EventPlace>, chunk| {
        parts[n].next(conn, filter, last.copied().or(window.after), chunk)
    })?;
    Ok((total, places))
}

fn plain(conn: &Connection, filter: &EventFilter, window: Window<EventPlace>) -> Result<Pieces> {
    let parts = event_parts(conn, filter)?;
    let (from, before) = bounds(filter.created_from, filter.created_before);
    let (next, counting) = events_statements(filter);
    let is_counted = filter.event_type.is_some() || filter.created_from.is_some() || filter.created_before.is_some();
    let mut total = 0;
    for part in &parts {
        let params: &[&dyn ToSql] = &[&part.name(), &filter.event_type, &from, &before];
        total += if is_counted { conn.prepare_cached(counting)?.query_row(params, |row| count(row, 0))? } else { part.n };
    }
    let places = merge(parts.len(), Vec::new(), (window.skip, window.limit), |n, last: Option<&EventPlace>, chunk| {
        let after = last.copied().or(window.after);
        let (at, seq) = after.map_or((i64::MAX, i64::MAX), |place| (place.created_at.as_micros(), place.seq.0));
        let params: &[&dyn ToSql] = &[&parts[n].name(), &filter.event_type, &from, &before, &at, &seq, &(chunk as i64)];
        all(conn, next, params, |row| Ok(EventPlace { created_at: time(row, 0)?, seq: EventSeq(row.get(1)?) }))
    })?;
    Ok((total, places))
}
