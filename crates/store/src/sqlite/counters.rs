//! Counters per subscription and endpoint, and with them what changes `tallies.rs` and `health.rs`: gathered in memory over a whole group and
//! written once for each before its commit. Totals of lists of deliveries are sums over them (see `deliveries/`).
//!
//! `deliveries` describe the rows that exist, so retention decreases them; attempts are totals over the subscription's life, so it does not.

use super::health::Observed;
use super::rows::{all, count, one};
use super::tallies::{TallyDeltas, Under};
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::Counters;
use rusqlite::{Connection, Result, Row};
use std::collections::BTreeMap;

const COLUMNS: usize = 10;
const ATTEMPTS_SUCCEEDED: usize = 7;
const ATTEMPTS_FAILED: usize = 8;
const DEAD_LETTERS: usize = 9;

/// Whose counters: those of a subscription for what goes to an endpoint.
#[derive(Clone, Copy, Debug)]
pub(super) struct Of<'a> {
    /// `None` where there was a delivery before, and the row is there.
    pub(super) namespace: Option<&'a Namespace>,
    pub(super) subscription: SubscriptionId,
    pub(super) endpoint: EndpointId,
}

impl Of<'_> {
    /// Of one that has a row.
    pub(super) fn known(subscription: SubscriptionId, endpoint: EndpointId) -> Self {
        Of { namespace: None, subscription, endpoint }
    }
}

/// What a group changes.
#[derive(Clone, Debug, Default)]
pub(super) struct Deltas {
    counters: BTreeMap<(SubscriptionId, EndpointId), (Option<Namespace>, [i64; COLUMNS])>,
    pub(super) tallies: TallyDeltas,
    pub(super) health: Observed,
}

impl Deltas {
    /// Deliveries that came (or went, if negative) in this state.
    pub(super) fn deliveries(&mut self, of: Of<'_>, state: StateKind, by: i64) {
        self.add(of, &[(state as usize, by)]);
    }

    /// A delivery went from one state to another.
    pub(super) fn moved(&mut self, of: Of<'_>, from: StateKind, to: StateKind) {
        if from != to {
            self.add(of, &[(from as usize, -1), (to as usize, 1)]);
        }
    }

    /// An attempt ended.
    pub(super) fn attempt(&mut self, of: Of<'_>, success: bool) {
        self.add(of, &[(if success { ATTEMPTS_SUCCEEDED } else { ATTEMPTS_FAILED }, 1)]);
    }

    /// A dead letter was opened (1) or closed (-1).
    pub(super) fn dead_letter(&mut self, under: Under, by: i64) {
        let of = Of { namespace: Some(&under.namespace), subscription: under.subscription, endpoint: under.endpoint };
        self.add(of, &[(DEAD_LETTERS, by)]);
        self.tallies.add(under, by);
    }

    fn add(&mut self, of: Of<'_>, changes: &[(usize, i64)]) {
        let (namespace, deltas) = self.counters.entry((of.subscription, of.endpoint)).or_default();
        if namespace.is_none() {
            *namespace = of.namespace.cloned();
        }
        changes.iter().for_each(|(column, by)| deltas[*column] += by);
    }

    /// Forgets what was summed up: its transaction was undone.
    pub(super) fn clear(&mut self) {
        self.counters.clear();
        self.tallies.clear();
        self.health.clear();
    }

    /// Writes what was summed up, in the transaction that is open.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        let mut upsert = conn.prepare_cached(
            "INSERT INTO counters VALUES (?1, ?2, coalesce(?3, (SELECT namespace FROM counters WHERE subscription = ?1 AND endpoint = ?2)), \
             ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13) ON CONFLICT (subscription, endpoint) DO UPDATE SET \
             pending = pending + ?4, sending = sending + ?5, retrying = retrying + ?6, succeeded = succeeded + ?7, failed = failed + ?8, \
             expired = expired + ?9, cancelled = cancelled + ?10, attempts_succeeded = attempts_succeeded + ?11, \
             attempts_failed = attempts_failed + ?12, dead_letters = dead_letters + ?13",
        )?;
        for ((subscription, endpoint), (namespace, deltas)) in self.counters.iter().filter(|(_, (_, by))| by.iter().any(|n| *n != 0)) {
            upsert.raw_bind_parameter(1, subscription.bytes())?;
            upsert.raw_bind_parameter(2, endpoint.bytes())?;
            upsert.raw_bind_parameter(3, namespace.as_ref().map(Namespace::as_str))?;
            for (column, delta) in deltas.iter().enumerate() {
                upsert.raw_bind_parameter(column + 4, delta)?;
            }
            upsert.raw_execute()?;
        }
        self.counters.clear();
        self.health.flush(conn)?;
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
    let add = |sum: Counters, each: Counters| Counters {
        deliveries: std::array::from_fn(|state| sum.deliveries[state] + each.deliveries[state]),
        attempts_succeeded: sum.attempts_succeeded + each.attempts_succeeded,
        attempts_failed: sum.attempts_failed + each.attempts_failed,
        dead_letters: sum.dead_letters + each.dead_letters,
    };
    Ok(all(conn, sql, &[&of.bytes()], counters_row)?.into_iter().fold(Counters::default(), add))
}

macro_rules! sums_where {
    ($where:literal) => {
        concat!(
            "SELECT coalesce(sum(pending), 0), coalesce(sum(sending), 0), coalesce(sum(retrying), 0), coalesce(sum(succeeded), 0), \
             coalesce(sum(failed), 0), coalesce(sum(expired), 0), coalesce(sum(cancelled), 0) FROM counters ",
            $where,
            not_erased!("endpoint")
        )
    };
}

/// How many deliveries may be seen in each state, of one namespace if given.
pub(super) fn delivery_counts(conn: &Connection, of: Option<&Namespace>) -> Result<[u64; StateKind::ALL.len()]> {
    let read = |row: &Row<'_>| by_state(row, 0);
    let sums = match of.map(Namespace::as_str) {
        None => one(conn, sums_where!("WHERE"), &[], read)?,
        Some(name) => one(conn, sums_where!("INDEXED BY counters_by_namespace WHERE namespace = ?1 AND"), &[&name], read)?,
    };
    Ok(sums.unwrap_or_default())
}

fn counters_row(row: &Row<'_>) -> Result<Counters> {
    Ok(Counters {
        deliveries: by_state(row, 0)?,
        attempts_succeeded: count(row, ATTEMPTS_SUCCEEDED)?,
        attempts_failed: count(row, ATTEMPTS_FAILED)?,
        dead_letters: count(row, DEAD_LETTERS)?,
    })
}

/// Reads the numbers of deliveries in each state, from the columns that begin with `pending`.
pub(super) fn by_state(row: &Row<'_>, at: usize) -> Result<[u64; StateKind::ALL.len()]> {
    let mut deliveries = [0; StateKind::ALL.len()];
    for (column, n) in deliveries.iter_mut().enumerate() {
        *n = count(row, at + column)?;
    }
    Ok(deliveries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn deltas_add_up_over_groups() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let (one, two) = (SubscriptionId::new(Uuid::from_u128(1)), SubscriptionId::new(Uuid::from_u128(2)));
        let (endpoint, namespace) = (EndpointId::new(Uuid::nil()), Namespace::default_namespace());
        let of = Of { namespace: Some(&namespace), subscription: one, endpoint };
        let moved = Of { endpoint: EndpointId::new(Uuid::max()), ..of };
        let mut deltas = Deltas::default();
        deltas.deliveries(of, StateKind::Pending, 3);
        deltas.flush(&conn).expect("flushes");
        deltas.moved(Of::known(one, endpoint), StateKind::Pending, StateKind::Succeeded);
        deltas.attempt(of, true);
        deltas.attempt(of, false);
        let (kind, code) = (super::super::tallies::Kind::DeadLetters, Some(postrider_core::error::ErrorCode::DnsError));
        deltas.dead_letter(Under { kind, subscription: two, endpoint, code, namespace: namespace.clone() }, 1);
        deltas.flush(&conn).expect("flushes");
        deltas.deliveries(of, StateKind::Pending, 100);
        deltas.clear();
        deltas.flush(&conn).expect("flushes");
        let expected = Counters { deliveries: [2, 0, 0, 1, 0, 0, 0], attempts_succeeded: 1, attempts_failed: 1, dead_letters: 0 };
        assert_eq!(read(&conn, one).expect("counters"), expected);
        assert_eq!(read(&conn, two).expect("counters"), Counters { dead_letters: 1, ..Counters::default() });
        deltas.deliveries(moved, StateKind::Pending, 1);
        deltas.attempt(moved, true);
        deltas.flush(&conn).expect("flushes");
        let expected = Counters { deliveries: [3, 0, 0, 1, 0, 0, 0], attempts_succeeded: 2, ..expected };
        assert_eq!(read(&conn, one).expect("counters"), expected, "wherever they went");
    }
}
