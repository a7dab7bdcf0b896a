//! Counters per subscription, and with them what changes `tallies.rs`: summed up in memory over a whole group and written once per subscription before its commit.
//!
//! `deliveries` describe the rows that exist, so retention decreases them; attempts are totals over the subscription's life, so it does not.

use super::tallies::{TallyDeltas, Under};
use crate::error::bad_value;
use postrider_core::delivery::StateKind;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::Counters;
use rusqlite::{Connection, Result, Row, params_from_iter};
use std::collections::BTreeMap;

const COLUMNS: usize = 10;
const ATTEMPTS_SUCCEEDED: usize = 7;
const ATTEMPTS_FAILED: usize = 8;
const DEAD_LETTERS: usize = 9;

/// What a group changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas {
    counters: BTreeMap<SubscriptionId, [i64; COLUMNS]>,
    pub(super) tallies: TallyDeltas,
}

impl Deltas {
    /// Deliveries that came (or went, if negative) in this state.
    pub(super) fn deliveries(&mut self, of: SubscriptionId, state: StateKind, by: i64) {
        self.add(of, state as usize, by);
    }

    /// A delivery went from one state to another.
    pub(super) fn moved(&mut self, of: SubscriptionId, from: StateKind, to: StateKind) {
        if from != to {
            self.deliveries(of, from, -1);
            self.deliveries(of, to, 1);
        }
    }

    /// An attempt ended.
    pub(super) fn attempt(&mut self, of: SubscriptionId, success: bool) {
        self.add(of, if success { ATTEMPTS_SUCCEEDED } else { ATTEMPTS_FAILED }, 1);
    }

    /// A dead letter was opened (1) or closed (-1).
    pub(super) fn dead_letter(&mut self, under: Under, by: i64) {
        self.add(under.subscription, DEAD_LETTERS, by);
        self.tallies.add(under, by);
    }

    fn add(&mut self, of: SubscriptionId, column: usize, by: i64) {
        self.counters.entry(of).or_default()[column] += by;
    }

    /// Forgets what was summed up: its transaction was undone.
    pub(super) fn clear(&mut self) {
        self.counters.clear();
        self.tallies.clear();
    }

    /// Writes what was summed up, in the transaction that is open.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        let mut upsert = conn.prepare_cached(
            "INSERT INTO counters VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11) ON CONFLICT (subscription) DO UPDATE SET \
             pending = pending + ?2, sending = sending + ?3, retrying = retrying + ?4, succeeded = succeeded + ?5, failed = failed + ?6, \
             expired = expired + ?7, cancelled = cancelled + ?8, attempts_succeeded = attempts_succeeded + ?9, \
             attempts_failed = attempts_failed + ?10, dead_letters = dead_letters + ?11",
        )?;
        for (subscription, deltas) in self.counters.iter().filter(|(_, deltas)| deltas.iter().any(|n| *n != 0)) {
            upsert.raw_bind_parameter(1, subscription.bytes())?;
            for (column, delta) in deltas.iter().enumerate() {
                upsert.raw_bind_parameter(column + 2, delta)?;
            }
            upsert.raw_execute()?;
        }
        self.counters.clear();
        self.tallies.flush(conn)
    }
}

/// Reads the counters of one subscription; zeros if nothing was ever counted.
pub(super) fn read(conn: &Connection, of: SubscriptionId) -> Result<Counters> {
    if super::config::is_to_erased(conn, of)? {
        return Ok(Counters::default());
    }
    let sql = "SELECT pending, sending, retrying, succeeded, failed, expired, cancelled, attempts_succeeded, attempts_failed, dead_letters \
               FROM counters WHERE subscription = ?1";
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params_from_iter([of.bytes()]))?;
    rows.next()?.map_or_else(|| Ok(Counters::default()), counters_row)
}

fn counters_row(row: &Row<'_>) -> Result<Counters> {
    let count = |column: usize| u64::try_from(row.get::<_, i64>(column)?).map_err(|e| bad_value(column, e));
    let mut deliveries = [0; StateKind::ALL.len()];
    for (column, n) in deliveries.iter_mut().enumerate() {
        *n = count(column)?;
    }
    Ok(Counters {
        deliveries,
        attempts_succeeded: count(ATTEMPTS_SUCCEEDED)?,
        attempts_failed: count(ATTEMPTS_FAILED)?,
        dead_letters: count(DEAD_LETTERS)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::id::EndpointId;
    use uuid::Uuid;

    #[test]
    fn deltas_add_up_over_groups() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let (one, two) = (SubscriptionId::new(Uuid::from_u128(1)), SubscriptionId::new(Uuid::from_u128(2)));
        let mut deltas = Deltas::default();
        deltas.deliveries(one, StateKind::Pending, 3);
        deltas.flush(&conn).expect("flushes");
        deltas.moved(one, StateKind::Pending, StateKind::Succeeded);
        deltas.attempt(one, true);
        deltas.attempt(one, false);
        let (kind, code) = (super::super::tallies::Kind::DeadLetters, Some(postrider_core::error::ErrorCode::DnsError));
        let (endpoint, namespace) = (EndpointId::new(Uuid::nil()), postrider_core::event::Namespace::default_namespace());
        deltas.dead_letter(Under { kind, subscription: two, endpoint, code, namespace }, 1);
        deltas.flush(&conn).expect("flushes");
        deltas.deliveries(one, StateKind::Pending, 100);
        deltas.clear();
        deltas.flush(&conn).expect("flushes");
        let expected = Counters { deliveries: [2, 0, 0, 1, 0, 0, 0], attempts_succeeded: 1, attempts_failed: 1, dead_letters: 0 };
        assert_eq!(read(&conn, one).expect("counters"), expected);
        assert_eq!(read(&conn, two).expect("counters"), Counters { dead_letters: 1, ..Counters::default() });
    }
}
