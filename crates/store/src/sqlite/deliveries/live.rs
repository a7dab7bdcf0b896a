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

/// The first deliveries after the last page out of many that come in any order: no more are kept than its next page can show.
pub(super) struct Firsts {
    after: Option<Key>,
    reach: usize,
    kept: BinaryHeap<Key>,
}

impl Firsts {
    pub(super) fn of(query: &Query<'_>) -> Self {
        Firsts { after: query.window.after.map(|id| Reverse(id.bytes())), reach: query.reach(), kept: BinaryHeap::new() }
    }

    /// One that the list has.
    pub(super) fn see(&mut self, row: &Looked) {
        let key = Reverse(row.id);
        if self.after.is_none_or(|after| key > after) {
            self.kept.push(key);
            if self.kept.len() > self.reach {
                // The last one in the order of the list.
                self.kept.pop();
            }
        }
    }

    /// In the order of the list.
    pub(super) fn in_order(self) -> Vec<Key> {
        self.kept.into_sorted_vec()
    }
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
    let mut firsts = Firsts::of(query);
    let mut visit = |row: Looked| -> Result<()> {
        if !query.has(&row) {
            return Ok(());
        }
        live.all += 1;
        if !query.wants(&row)? {
            return Ok(());
        }
        live.wanted += 1;
        firsts.see(&row);
        Ok(())
    };
    for endpoint in &endpoints {
        each(query, WAITING, &[endpoint], &mut visit)?;
    }
    each(query, CLAIMED, &[], |row| if endpoints.contains(&EndpointId::bytes(row.endpoint)) { visit(row) } else { Ok(()) })?;
    live.first = firsts.in_order();
    Ok(live)
}

/// Shows the rows of a statement over [`looked_columns`] one by one.
pub(super) fn each(query: &Query<'_>, sql: &str, params: &[&dyn ToSql], mut visit: impl FnMut(Looked) -> Result<()>) -> Result<()> {
    let mut select = query.conn.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    while let Some(row) = rows.next()? {
        visit(Looked::read(row)?)?;
    }
    Ok(())
}
