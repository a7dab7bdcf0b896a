//! Deliveries that somebody calls off.

use super::columns::DELIVERY_COLUMNS;
use super::counters::Of;
use super::rows::{DeliveryRow, one, reason};
use super::session::Session;
use postrider_core::delivery::{Step, transition};
use postrider_core::error::ErrorCode;
use postrider_core::id::DeliveryId;
use postrider_core::ports::Cancelled;
use rusqlite::{Result, params};

/// Ends a delivery that waits, or notes that whoever has it is to.
pub(super) fn cancel(s: &mut Session, of: DeliveryId) -> Result<Cancelled> {
    let sql = concat!("SELECT ", delivery_columns!(), ", d.claim FROM deliveries d WHERE id = ?1 AND", not_erased!("endpoint"));
    let found = one(&s.conn, sql, &[&of.bytes()], |row| Ok((DeliveryRow::read(row)?, row.get::<_, i64>(DELIVERY_COLUMNS)?)))?;
    let Some((row, claim)) = found else { return Ok(Cancelled::NotFound) };
    let from = row.progress.state.kind();
    if from.is_resting() {
        return Ok(Cancelled::Ended(from));
    }
    match transition(row.progress, Step::Cancel(ErrorCode::CancelledByHand)) {
        Ok(ended) if claim == 0 => {
            let sql = "UPDATE deliveries SET state = ?2, due_at = NULL, reason = ?3, kept_letter = 0 WHERE id = ?1";
            s.conn.prepare_cached(sql)?.execute(params![of.bytes(), ended.state.kind() as u8, reason(&ended.state)])?;
            s.deltas.moved(Of::known(row.subscription, row.endpoint), from, ended.state.kind());
            Ok(Cancelled::AtOnce(row.endpoint))
        }
        _ => {
            s.conn.prepare_cached("UPDATE deliveries SET cancel_wanted = 1 WHERE id = ?1")?.execute([of.bytes()])?;
            Ok(Cancelled::AfterAttempt)
        }
    }
}
