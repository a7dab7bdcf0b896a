//! Scheduled webhooks.

use super::publish::{Publisher, first_delivery};
use super::rows::{one, scheduled_row, scheduled_status, some, time};
use super::session::Session;
use postrider_core::id::ScheduledId;
use postrider_core::ports::{DueScheduled, Fired, Firing, Published};
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, params};

/// Stores occurrences; one with a known id is replaced.
pub(super) fn schedule(s: &mut Session, rows: &[Scheduled]) -> Result<()> {
    let mut insert = s.conn.prepare_cached(
        "INSERT OR REPLACE INTO scheduled (id, namespace, subscription, due_at, recurrence, anchor, status, delivery, created_at, updated_at, payload) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11)",
    )?;
    for row in rows {
        let (status, delivery) = scheduled_status(&row.status);
        insert.execute(params![
            row.id.bytes(),
            row.namespace.as_str(),
            row.subscription.bytes(),
            row.due_at.as_micros(),
            row.recurrence.as_str(),
            row.anchor.as_micros(),
            status,
            delivery,
            row.created_at.as_micros(),
            row.updated_at.as_micros(),
            &row.payload[..],
        ])?;
    }
    Ok(())
}

/// Removes an occurrence, with `only_pending` unless it has fired; whether it did.
pub(super) fn unschedule(s: &mut Session, id: ScheduledId, only_pending: bool) -> Result<bool> {
    let sql = "DELETE FROM scheduled WHERE id = ?1 AND (status = 0 OR NOT ?2)";
    let removed = s.conn.prepare_cached(sql)?.execute(params![id.bytes(), only_pending])?;
    Ok(removed == 1)
}

/// Pending occurrences due by `now`, and when the first one after them is due.
pub(super) fn due(conn: &Connection, now: Timestamp, limit: u32, max_bytes: u64) -> Result<DueScheduled> {
    let sql = concat!(
        "SELECT ",
        scheduled_columns!(),
        " FROM scheduled INDEXED BY scheduled_pending WHERE status = 0 AND due_at <= ?1 ORDER BY due_at, id LIMIT ?2"
    );
    let due = some(conn, sql, &[&now.as_micros(), &limit], max_bytes, |row| {
        let row = scheduled_row(row)?;
        let size = row.payload.len();
        Ok((row, size))
    })?;
    let sql = "SELECT due_at FROM scheduled INDEXED BY scheduled_pending WHERE status = 0 ORDER BY due_at, id LIMIT 1 OFFSET ?1";
    let next_due = one(conn, sql, &[&(due.len() as i64)], |row| time(row, 0))?;
    Ok(DueScheduled { due, next_due })
}

/// Turns due occurrences into events, each with its successor.
pub(super) fn fire(s: &mut Session, firings: &[Firing]) -> Result<Vec<Fired>> {
    firings.iter().map(|firing| fire_one(s, firing)).collect()
}

fn fire_one(s: &mut Session, firing: &Firing) -> Result<Fired> {
    let sql = "SELECT 1 FROM scheduled WHERE id = ?1 AND status = 0";
    if one(&s.conn, sql, &[&firing.id.bytes()], |_| Ok(()))?.is_none() {
        return Ok(Fired::Gone);
    }
    let seq = match &firing.event {
        None => None,
        Some(event) => match Publisher::new(s)?.publish(event)? {
            Published::Stored(seq) | Published::Duplicate { seq, .. } => Some(seq),
        },
    };
    // An event without any delivery leaves nothing that the occurrence could name.
    let status = match seq.map(|seq| first_delivery(&s.conn, seq)).transpose()?.flatten() {
        Some(delivery) => ScheduledStatus::Completed(delivery.id),
        None => ScheduledStatus::Failed,
    };
    let (status, delivery) = scheduled_status(&status);
    let mut update = s.conn.prepare_cached("UPDATE scheduled SET status = ?2, delivery = ?3, updated_at = ?4 WHERE id = ?1")?;
    update.execute(params![firing.id.bytes(), status, delivery, firing.at.as_micros()])?;
    drop(update);
    if let Some(next) = &firing.next {
        schedule(s, std::slice::from_ref(next))?;
    }
    Ok(seq.map_or(Fired::Failed, Fired::Stored))
}
