//! What a list of deliveries is asked for, and whether a delivery belongs to it.

use super::super::config;
use super::super::counters::by_state;
use super::super::rows::{all, code, id, one, state_kind, time, time_opt};
use super::live::Live;
use crate::error::bad_value;
use postrider_core::delivery::{State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EndpointId, SubscriptionId};
use postrider_core::ports::{DeliveryFilter, Window, code_of};
use postrider_core::time::Timestamp;
use rusqlite::types::ValueRef;
use rusqlite::{Connection, Result, Row, ToSql};
use std::cell::OnceCell;
use std::cmp::Reverse;
use std::collections::{BTreeSet, HashSet};

/// A delivery's place in the list.
pub(super) type Key = Reverse<[u8; 16]>;

/// A set of states: a bit for each, by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct States(u8);

impl States {
    pub(super) const ANY: States = States(0b111_1111);
    pub(super) const LIVE: States = States(0b000_0111);
    pub(super) const SUCCEEDED: States = States(0b000_1000);
    pub(super) const UNSUCCESSFUL: States = States(0b111_0000);

    fn wanted(filter: &DeliveryFilter) -> Self {
        let wanted = StateKind::ALL.into_iter().filter(|kind| filter.may_want(*kind));
        States(wanted.fold(0, |bits, kind| bits | 1 << kind as u8))
    }

    pub(super) fn and(self, others: States) -> Self {
        States(self.0 & others.0)
    }

    pub(super) fn without(self, others: States) -> Self {
        States(self.0 & !others.0)
    }

    pub(super) fn is_empty(self) -> bool {
        self.0 == 0
    }

    fn has(self, kind: StateKind) -> bool {
        self.0 >> kind as u8 & 1 == 1
    }

    /// For statements: `(bits >> state) & 1`.
    pub(super) fn bits(self) -> u8 {
        self.0
    }
}

/// What a subscription has sent to an endpoint: how many deliveries are in which state.
#[derive(Clone, Copy, Debug)]
pub(super) struct Part {
    pub(super) subscription: [u8; 16],
    pub(super) endpoint: [u8; 16],
    counts: [u64; StateKind::ALL.len()],
}

impl Part {
    pub(super) fn count(&self, of: States) -> u64 {
        StateKind::ALL.into_iter().filter(|kind| of.has(*kind)).map(|kind| self.counts[kind as usize]).sum()
    }
}

/// A delivery that is looked at.
pub(super) struct Looked {
    pub(super) id: [u8; 16],
    subscription: SubscriptionId,
    pub(super) endpoint: EndpointId,
    state: State,
    attempts: u32,
    created_at: Timestamp,
}

/// Columns of `deliveries d` for [`Looked::read`].
macro_rules! looked_columns {
    () => {
        "d.id, d.subscription, d.endpoint, d.state, d.attempts, d.created_at, d.due_at, d.reason"
    };
}
pub(super) use looked_columns;

impl Looked {
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        let reason = row.get_ref(7)?.as_str_or_null()?.map(|text| code(text, 7)).transpose()?;
        let state = State::from_parts(state_kind(row, 3)?, time_opt(row, 6)?, reason);
        Ok(Looked {
            id: row.get(0)?,
            subscription: id(row, 1, SubscriptionId::new)?,
            endpoint: id(row, 2, EndpointId::new)?,
            state: state.ok_or_else(|| bad_value(3, "a state without what belongs to it"))?,
            attempts: row.get(4)?,
            created_at: time(row, 5)?,
        })
    }
}

/// Before every id, and behind every one.
const FIRST: &[u8] = &[];
pub(super) const LAST: &[u8] = &[0xff; 17];

/// A list that is asked for.
pub(super) struct Query<'a> {
    pub(super) conn: &'a Connection,
    pub(super) filter: &'a DeliveryFilter,
    pub(super) window: Window<DeliveryId>,
    /// Without those that the category or the code rules out.
    pub(super) states: States,
    /// None where the states say it.
    pub(super) codes: Option<Vec<ErrorCode>>,
    /// Whatever the list may have anything of.
    pub(super) parts: Vec<Part>,
    /// The subscriptions of the namespace, if one is asked for.
    among: Option<HashSet<SubscriptionId>>,
    erased: BTreeSet<EndpointId>,
    from: Vec<u8>,
    before: Vec<u8>,
    /// What has not ended, once somebody has looked.
    pub(super) live: OnceCell<Live>,
}

impl<'a> Query<'a> {
    pub(super) fn new(conn: &'a Connection, filter: &'a DeliveryFilter, window: Window<DeliveryId>) -> Result<Self> {
        let (states, codes) = (States::wanted(filter), filter.codes());
        let parts = parts(conn, filter)?;
        let among = filter.namespace.as_ref().map(|_| parts.iter().map(|part| SubscriptionId::new(uuid(part.subscription))).collect());
        let (from, before) = filter.ids();
        let from = if filter.created_from.is_some() { from.as_bytes().to_vec() } else { FIRST.to_vec() };
        let before = if filter.created_before.is_some() { before.as_bytes().to_vec() } else { LAST.to_vec() };
        let erased = config::erased(conn)?;
        Ok(Query { conn, filter, window, states, codes, parts, among, erased, from, before, live: OnceCell::new() })
    }

    /// How many are in one of these states, whenever they were made.
    pub(super) fn count(&self, of: States) -> u64 {
        self.parts.iter().map(|part| part.count(of)).sum()
    }

    /// How many items have to be found to know a page and whether more follow.
    pub(super) fn reach(&self) -> usize {
        self.window.skip as usize + self.window.limit as usize + 1
    }

    /// The ids within the bounds in time: from the first to before the second.
    pub(super) fn ids(&self) -> (&[u8], &[u8]) {
        (&self.from, &self.before)
    }

    /// Those of them that come after the last page, and after `last` if there is one.
    pub(super) fn rest(&self, last: Option<&Key>) -> (&[u8], Vec<u8>) {
        let after = last.map(|key| key.0).or(self.window.after.map(DeliveryId::bytes));
        let before = after.map_or(self.before.clone(), |after| self.before.clone().min(after.to_vec()));
        (&self.from, before)
    }

    /// The bounds in time, in microseconds.
    pub(super) fn times(&self) -> (i64, i64) {
        let (from, before) = (self.filter.created_from, self.filter.created_before);
        (from.map_or(i64::MIN, Timestamp::as_micros), before.map_or(i64::MAX, Timestamp::as_micros))
    }

    /// Whether a delivery is within the list's scope and time, in whatever state.
    pub(super) fn has(&self, row: &Looked) -> bool {
        self.filter.subscription.is_none_or(|id| id == row.subscription)
            && self.filter.endpoint.is_none_or(|id| id == row.endpoint)
            && self.among.as_ref().is_none_or(|among| among.contains(&row.subscription))
            && !self.erased.contains(&row.endpoint)
            && self.filter.created_within(row.created_at)
            && row.id[..] >= self.from[..]
            && row.id[..] < self.before[..]
    }

    /// Whether a delivery is in the list.
    pub(super) fn wants(&self, row: &Looked) -> Result<bool> {
        if !self.states.has(row.state.kind()) || !self.has(row) {
            return Ok(false);
        }
        let Some(codes) = &self.codes else { return Ok(true) };
        let asks = row.attempts > 0 && !row.state.kind().is_resting();
        let last_error = if asks { last_error(self.conn, &row.id)? } else { None };
        Ok(code_of(row.state, last_error).is_some_and(|code| codes.contains(&code)))
    }

    /// The codes as a list for statements, if some are asked for.
    pub(super) fn listed_codes(&self) -> Result<Option<String>> {
        let Some(codes) = &self.codes else { return Ok(None) };
        super::super::rows::to_json(&codes.iter().map(|code| code.as_str()).collect::<Vec<_>>()).map(Some)
    }
}

/// The error of the newest attempt that ended.
fn last_error(conn: &Connection, delivery: &[u8; 16]) -> Result<Option<ErrorCode>> {
    let sql = "SELECT error_code FROM attempts WHERE delivery = ?1 AND finished_at IS NOT NULL ORDER BY number DESC LIMIT 1";
    let found = one(conn, sql, &[delivery], |row| match row.get_ref(0)? {
        ValueRef::Null => Ok(None),
        text => code(text.as_str()?, 0).map(Some),
    })?;
    Ok(found.flatten())
}

macro_rules! parts_where {
    ($where:literal) => {
        concat!(
            "SELECT subscription, endpoint, pending, sending, retrying, succeeded, failed, expired, cancelled FROM counters ",
            $where,
            not_erased!("endpoint")
        )
    };
}
const PARTS_OF_ALL: &str = parts_where!("WHERE");
const PARTS_OF_NAMESPACE: &str = parts_where!("INDEXED BY counters_by_namespace WHERE namespace = ?1 AND");
const PARTS_OF_SUBSCRIPTION: &str =
    parts_where!("WHERE subscription = ?1 AND (?2 IS NULL OR endpoint = ?2) AND (?3 IS NULL OR namespace = ?3) AND");
const PARTS_OF_ENDPOINT: &str = parts_where!("INDEXED BY counters_by_endpoint WHERE endpoint = ?1 AND (?2 IS NULL OR namespace = ?2) AND");

fn parts(conn: &Connection, filter: &DeliveryFilter) -> Result<Vec<Part>> {
    let (subscription, endpoint) = (filter.subscription.map(SubscriptionId::bytes), filter.endpoint.map(EndpointId::bytes));
    let namespace = filter.namespace.as_ref().map(Namespace::as_str);
    let (sql, params): (_, &[&dyn ToSql]) = match (&subscription, &endpoint, &namespace) {
        (Some(subscription), endpoint, namespace) => (PARTS_OF_SUBSCRIPTION, &[subscription, endpoint, namespace]),
        (None, Some(endpoint), namespace) => (PARTS_OF_ENDPOINT, &[endpoint, namespace]),
        (None, None, Some(namespace)) => (PARTS_OF_NAMESPACE, &[namespace]),
        (None, None, None) => (PARTS_OF_ALL, &[]),
    };
    let mut parts = all(conn, sql, params, |row| Ok(Part { subscription: row.get(0)?, endpoint: row.get(1)?, counts: by_state(row, 2)? }))?;
    parts.retain(|part| part.count(States::ANY) > 0);
    Ok(parts)
}

fn uuid(bytes: [u8; 16]) -> uuid::Uuid {
    uuid::Uuid::from_bytes(bytes)
}

/// Statements that must not walk over more than they answer.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 3] = [PARTS_OF_NAMESPACE, PARTS_OF_SUBSCRIPTION, PARTS_OF_ENDPOINT];
