//! Deliveries that have not ended: those that wait, by endpoint, and those that an engine has in memory.

use super::query::{Key, Looked, Query, States, looked_columns};
use postrider_core::id::EndpointId;
use rusqlite::{Result, ToSql};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};

/// Those in the scope and the time of a list.
#[derive(Debug, Default)]
pub(super) struct Live {
    /// How many.
    pub(super) all: u64,
    /// How many of them the list has.
    pub(super) wanted: u64,
    /// The first of these after the last page, as many as its next one can show, in their order.
    pub(super) first: Vec<Key>,
}

pub(super) const WAITING: &str = concat!(
    "SELECT ",
    looked_columns!(),
    " FROM deliveries d INDEXED BY deliveries_due WHERE d.claim = 0 AND d.due_at IS NOT NULL AND d.endpoint = ?1"
);
const CLAIMED: &str = concat!("SELECT ", looked_columns!(), " FROM deliveries d INDEXED BY deliveries_held WHERE d.claim <> 0");

/// Looks at all of them.
pub(super) fn look(query: &Query<'_>) -> Result<Live> {
    let mut live = Live::default();
    let waits = |part: &&super::query::Part| part.count(States::LIVE) > 0;
    let endpoints: BTreeSet<[u8; 16]> = query.parts.iter().filter(waits).map(|part| part.endpoint).collect();
    if endpoints.is_empty() {
        return Ok(live);
    }
    let after = query.window.after.map(|id| Reverse(id.bytes()));
    let mut first: BinaryHeap<Key> = BinaryHeap::new();
    let mut visit = |row: Looked| -> Result<()> {
        if !query.has(&row) {
            return Ok(());
        }
        live.all += 1;
        if !query.wants(&row)? {
            return Ok(());
        }
        live.wanted += 1;
        let key = Reverse(row.id);
        if after.is_none_or(|after| key > after) {
            first.push(key);
            if first.len() > query.reach() {
                // The last one in the order of the list.
                first.pop();
            }
        }
        Ok(())
    };
    for endpoint in &endpoints {
        each(query, WAITING, &[endpoint], &mut visit)?;
    }
    each(query, CLAIMED, &[], |row| if endpoints.contains(&EndpointId::bytes(row.endpoint)) { visit(row) } else { Ok(()) })?;
    live.first = first.into_sorted_vec();
    Ok(live)
}

fn each(query: &Query<'_>, sql: &str, params: &[&dyn ToSql], mut visit: impl FnMut(Looked) -> Result<()>) -> Result<()> {
    let mut select = query.conn.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    while let Some(row) = rows.next()? {
        visit(Looked::read(row)?)?;
    }
    Ok(())
}
