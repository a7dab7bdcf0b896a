//! What goes with deleted configuration: everything that belongs to erased endpoints, and deleted subscriptions, endpoints and keys
//! themselves once nothing is left of them.
//!
//! No index lists the deliveries of an endpoint, which would cost something with every delivery. So all deliveries are walked over where that
//! must be known: about a microsecond each, in slices, once for all endpoints that are asked about.

use super::config::{self, ENDPOINT, KEY, SUBSCRIPTION};
use super::prune::{Budget, remove_delivery};
use super::rows::{all, id, one, time};
use super::session::Session;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{PruneRequest, Pruned};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, params};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How many deleted endpoints one sweep asks about, so that the walk's memory is bounded. The next sweep takes the others.
const MAX_ASKED: usize = 4_096;

/// How many rows are read in one go.
const PAGE: i64 = 1_024;

/// A walk over all deliveries that looks for those of some endpoints. It is copied with every group, so that what may be large is shared.
#[derive(Clone, Debug, Default)]
pub(super) struct Walk {
    of: Arc<BTreeSet<EndpointId>>,
    /// The last delivery that was looked at; empty at the beginning.
    after: Vec<u8>,
    /// Endpoints of which deliveries stay.
    found: Arc<BTreeSet<EndpointId>>,
    ended: bool,
}

impl Walk {
    fn over(of: BTreeSet<EndpointId>) -> Self {
        Walk { of: Arc::new(of), ..Walk::default() }
    }

    /// Goes on as far as the budget allows; whether it has come to its end. Of `erased` endpoints what nobody has claimed is removed on the way.
    fn go_on(&mut self, s: &mut Session, erased: &BTreeSet<EndpointId>, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
        let sql = "SELECT id, endpoint, claim <> 0 FROM deliveries WHERE id > ?1 ORDER BY id LIMIT ?2";
        while !self.ended && !budget.is_spent() {
            let page = PAGE.min(budget.looks);
            let found = all(&s.conn, sql, &[&self.after, &page], |row| {
                Ok((id(row, 0, DeliveryId::new)?, id(row, 1, EndpointId::new)?, row.get::<_, bool>(2)?))
            })?;
            let is_last = (found.len() as i64) < page;
            for (delivery, endpoint, is_claimed) in found {
                if budget.is_spent() {
                    return Ok(false);
                }
                budget.looks -= 1;
                self.after = delivery.bytes().to_vec();
                if !self.of.contains(&endpoint) {
                    continue;
                }
                if is_claimed || !erased.contains(&endpoint) {
                    Arc::make_mut(&mut self.found).insert(endpoint);
                    continue;
                }
                remove_delivery(s, delivery, pruned)?;
                budget.rows -= 1;
            }
            self.ended = is_last;
        }
        Ok(self.ended)
    }

    /// The endpoints of which no delivery is left.
    fn bare(&self) -> impl Iterator<Item = &EndpointId> {
        self.of.difference(&self.found)
    }
}

/// Removes what belongs to erased endpoints, and them. Answers whether that is done: everything is looked at once in a run of retention,
/// and again if an endpoint was erased meanwhile.
pub(super) fn erase(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let erased = config::erased(&s.conn)?;
    if erased.is_empty() {
        s.memory.erasing = None;
        return Ok(true);
    }
    // A walk is not begun anew for what is erased meanwhile: another one follows.
    let known = s.memory.erasing.take().filter(|walk| !walk.ended || erased.is_subset(&walk.of));
    let mut walk = known.unwrap_or_else(|| Walk::over(erased.clone()));
    let has_ended = walk.go_on(s, &erased, budget, pruned)?;
    if has_ended {
        for endpoint in walk.bare().filter(|endpoint| erased.contains(endpoint)) {
            pruned.configuration += forget_endpoint(&s.conn, *endpoint, request.configuration_before)?;
        }
    }
    let done = has_ended && erased.is_subset(&walk.of);
    s.memory.erasing = Some(walk);
    Ok(done)
}

/// Removes an endpoint of which no delivery is left. One that was not erased stays as long as a subscription names it.
fn forget_endpoint(conn: &Connection, endpoint: EndpointId, before: Timestamp) -> Result<u64> {
    let sql = "DELETE FROM config WHERE kind = ?1 AND id = ?2 AND gone_at < ?3 AND (erased = 1 OR NOT EXISTS \
               (SELECT 1 FROM config s INDEXED BY config_by_endpoint WHERE s.endpoint = ?2))";
    Ok(conn.prepare_cached(sql)?.execute(params![ENDPOINT, endpoint.bytes(), before.as_micros()])? as u64)
}

/// The next pieces of configuration of this kind that were deleted, in the order of their ids, with the time of that.
fn next_gone(conn: &Connection, kind: i64, after: &[u8], limit: i64) -> Result<Vec<([u8; 16], Timestamp)>> {
    let sql =
        "SELECT id, gone_at FROM config INDEXED BY config_gone WHERE kind = ?1 AND gone_at IS NOT NULL AND id > ?2 ORDER BY id LIMIT ?3";
    all(conn, sql, &[&kind, &after, &limit], |row| Ok((row.get(0)?, time(row, 1)?)))
}

/// Walks over deleted configuration of a kind from where the sweep is; `visit` answers whether it removed something. Whether all was seen.
fn each_gone(
    s: &mut Session,
    kind: i64,
    before: Timestamp,
    budget: &mut Budget,
    mut visit: impl FnMut(&mut Session, [u8; 16]) -> Result<bool>,
) -> Result<bool> {
    while !budget.is_spent() {
        let page = PAGE.min(budget.looks);
        let found = next_gone(&s.conn, kind, &s.memory.sweep.after, page)?;
        let is_last = (found.len() as i64) < page;
        for (id, gone_at) in found {
            if budget.is_spent() {
                return Ok(false);
            }
            budget.looks -= 1;
            s.memory.sweep.after = id.to_vec();
            if gone_at < before && visit(s, id)? {
                budget.rows -= 1;
            } else {
                s.memory.sweep.kept += 1;
            }
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Keys that were revoked long ago.
pub(super) fn keys(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    each_gone(s, KEY, request.closed_before, budget, |s, id| {
        s.conn.prepare_cached("DELETE FROM config WHERE kind = ?1 AND id = ?2")?.execute(params![KEY, id])?;
        pruned.configuration += 1;
        Ok(true)
    })
}

/// Deleted subscriptions without any delivery, with their counters, which say whether there is one.
pub(super) fn subscriptions(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    // What was removed in this group counts already.
    s.deltas.flush(&s.conn)?;
    each_gone(s, SUBSCRIPTION, request.configuration_before, budget, |s, id| {
        let sql = "SELECT 1 FROM counters WHERE subscription = ?1 \
                   AND pending + sending + retrying + succeeded + failed + expired + cancelled <> 0";
        if one(&s.conn, sql, &[&id], |_| Ok(()))?.is_some() {
            return Ok(false);
        }
        s.conn.prepare_cached("DELETE FROM counters WHERE subscription = ?1")?.execute([id])?;
        s.conn.prepare_cached("DELETE FROM config WHERE kind = ?1 AND id = ?2")?.execute(params![SUBSCRIPTION, id])?;
        pruned.configuration += 1;
        Ok(true)
    })
}

/// Deleted endpoints that no subscription names any more: those about which deliveries have to be asked.
pub(super) fn endpoints(s: &mut Session, request: &PruneRequest, budget: &mut Budget) -> Result<bool> {
    each_gone(s, ENDPOINT, request.configuration_before, budget, |s, id| {
        let sql = "SELECT 1 FROM config INDEXED BY config_by_endpoint WHERE endpoint = ?1";
        let asked = &mut s.memory.sweep.walk.of;
        if asked.len() < MAX_ASKED && one(&s.conn, sql, &[&id], |_| Ok(()))?.is_none() {
            Arc::make_mut(asked).insert(EndpointId::new(uuid::Uuid::from_bytes(id)));
        }
        Ok(false)
    })
}

/// Looks whether deliveries of those are left, and removes the others.
pub(super) fn bare_endpoints(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let mut walk = std::mem::take(&mut s.memory.sweep.walk);
    let before = budget.looks;
    let done = walk.of.is_empty() || walk.go_on(s, &BTreeSet::new(), budget, pruned)?;
    // They stay, and whoever was looked at is not to be looked at again by the next slice.
    s.memory.sweep.kept += before - budget.looks;
    if done {
        for endpoint in walk.bare() {
            pruned.configuration += forget_endpoint(&s.conn, *endpoint, request.configuration_before)?;
        }
    }
    s.memory.sweep.walk = walk;
    Ok(done)
}
