//! Retention, in slices that hold the writer for a few milliseconds.
//!
//! Ids are UUIDv7, so walks over them are walks in order of time. What has another age, or none, is not walked over again and again: deliveries
//! are passed once (see `aging.rs`), attempts are apart by their subscriptions, of whose parts each knows its oldest, and events without
//! deliveries are noted. Other rows that must stay are passed over; once those are many, the place is remembered between slices, so that no
//! slice passes over them again.

use super::aging::{self, Age};
use super::counters::Of;
use super::gone::{self, Walk};
use super::publish::note_if_bare;
use super::rows::{all, id, json, namespace, one, state_kind, time};
use super::session::Session;
use super::tallies::{Kind, Under};
use super::{batches, config, event_filters, history, jobs, places, requests, sorting};
use postrider_core::id::{DeliveryId, EndpointId, SubscriptionId, floor_at};
use postrider_core::ports::{PruneRequest, Pruned};
use rusqlite::{Connection, Result, ToSql, params};

/// How many rows a slice looks at per row that it may remove.
const LOOKS_PER_ROW: i64 = 8;

/// How many rows are read in one go.
const MIN_PAGE: i64 = 64;
const MAX_PAGE: i64 = 1_024;

/// How many rows that stay may be passed over again by every slice.
const MAX_REPEATED: i64 = 1_024;

/// How far a sweep over everything has come.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    /// What it is done for, but for the number of rows; one that is asked for something else begins anew.
    of: Option<PruneRequest>,
    phase: Phase,
    /// The last key that was looked at in this phase; empty at its beginning.
    pub(super) after: Vec<u8>,
    /// Rows that were passed over since the sweep began.
    pub(super) kept: i64,
    /// Looks for what is left of deleted endpoints.
    pub(super) walk: Walk,
}

/// Keys of requests come first: many may come in a day, and they wait for nothing. Dead letters close before they are asked about; attempts go before the deliveries that they belong to, deliveries before their events
/// and subscriptions, those before their endpoints.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Requests,
    Orphans,
    Attempts,
    Bodies,
    Left,
    Deliveries,
    LeftRows,
    Rows,
    Events,
    Closed,
    Keys,
    Subscriptions,
    Endpoints,
    BareEndpoints,
}

impl Phase {
    fn next(self) -> Option<Phase> {
        match self {
            Phase::Requests => Some(Phase::Orphans),
            Phase::Orphans => Some(Phase::Attempts),
            Phase::Attempts => Some(Phase::Bodies),
            Phase::Bodies => Some(Phase::Left),
            Phase::Left => Some(Phase::Deliveries),
            Phase::Deliveries => Some(Phase::LeftRows),
            Phase::LeftRows => Some(Phase::Rows),
            Phase::Rows => Some(Phase::Events),
            Phase::Events => Some(Phase::Closed),
            Phase::Closed => Some(Phase::Keys),
            Phase::Keys => Some(Phase::Subscriptions),
            Phase::Subscriptions => Some(Phase::Endpoints),
            Phase::Endpoints => Some(Phase::BareEndpoints),
            Phase::BareEndpoints => None,
        }
    }
}

/// What a slice may still do.
pub(super) struct Budget {
    pub(super) rows: i64,
    pub(super) looks: i64,
}

/// Removes one slice of what is past its retention.
///
/// What goes with a delivery is counted where it belongs: its attempts as attempts, its closed dead letters as closed.
pub(super) fn prune(s: &mut Session, request: &PruneRequest) -> Result<Pruned> {
    let limit = i64::from(request.limit.max(1));
    let mut budget = Budget { rows: limit, looks: limit.saturating_mul(LOOKS_PER_ROW).max(2 * MAX_REPEATED) };
    let mut pruned = Pruned::default();
    sorting::sort_in(s)?;
    pruned.more = !gone::erase(s, request, &mut budget, &mut pruned)? || sweep(s, request, limit, budget.looks, &mut pruned)?;
    if !pruned.more {
        // The next run looks for what was still claimed.
        s.memory.erasing = None;
    }
    if pruned.configuration > 0 {
        config::changed(&s.conn)?;
    }
    pruned.erasing = !config::erased(&s.conn)?.is_empty();
    Ok(pruned)
}

/// Goes on with the sweep over everything that has an age; whether there may be more.
fn sweep(s: &mut Session, request: &PruneRequest, limit: i64, mut looks: i64, pruned: &mut Pruned) -> Result<bool> {
    let of = Some(PruneRequest { limit: 0, ..*request });
    if s.memory.sweep.of != of {
        s.memory.sweep = Sweep { of, ..Sweep::default() };
    }
    loop {
        let mut budget = Budget { rows: (limit - total(pruned)).max(0), looks };
        let done = match s.memory.sweep.phase {
            Phase::Requests => keys_of_requests(s, request, &budget, pruned)?,
            Phase::Orphans => orphans(s, &mut budget)?,
            Phase::Attempts => attempts(s, request, &mut budget, pruned)?,
            Phase::Bodies => bodies(s, request, &mut budget, pruned)?,
            Phase::Left => aging::look_again(s, Age::Made(request.events_before), &mut budget, pruned)?,
            Phase::Deliveries => aging::go_on(s, Age::Made(request.events_before), &mut budget, pruned)?,
            Phase::LeftRows => aging::look_again(s, Age::LastTried(request.rows_before), &mut budget, pruned)?,
            Phase::Rows => aging::go_on(s, Age::LastTried(request.rows_before), &mut budget, pruned)?,
            Phase::Events => events(s, request, &mut budget, pruned)?,
            Phase::Closed => closed(s, request, &budget, pruned)?,
            Phase::Keys => gone::keys(s, request, &mut budget, pruned)?,
            Phase::Subscriptions => gone::subscriptions(s, request, &mut budget, pruned)?,
            Phase::Endpoints => gone::endpoints(s, request, &mut budget)?,
            Phase::BareEndpoints => gone::bare_endpoints(s, request, &mut budget, pruned)?,
        };
        looks = budget.looks;
        if !done {
            break;
        }
        let Sweep { phase, kept, walk, .. } = std::mem::take(&mut s.memory.sweep);
        match phase.next() {
            Some(phase) => s.memory.sweep = Sweep { of, phase, kept, walk, ..Sweep::default() },
            None => return Ok(total(pruned) >= limit),
        }
    }
    if s.memory.sweep.kept <= MAX_REPEATED {
        s.memory.sweep = Sweep::default();
    }
    Ok(true)
}

fn total(pruned: &Pruned) -> i64 {
    let total =
        pruned.attempts + pruned.bodies + pruned.deliveries + pruned.events + pruned.closed + pruned.requests + pruned.configuration;
    i64::try_from(total).unwrap_or(i64::MAX)
}

impl Budget {
    /// How many rows to read in one go: not much more than may go, for the rest would be read again by the next slice.
    /// At least one as long as it is not spent: a walk takes a page that is not full for the last one.
    pub(super) fn page(&self) -> i64 {
        debug_assert!(!self.is_spent(), "an empty page would end no walk");
        self.looks.min(self.rows.saturating_mul(2).clamp(MIN_PAGE, MAX_PAGE))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rows <= 0 || self.looks <= 0
    }
}

/// Open dead letters of subscriptions that were deleted: nobody can reach them any more, so they count as dismissed since then. Those of
/// bindings are listed for as long as somebody leaves them there.
/// One seek for each subscription that has open ones.
fn orphans(s: &mut Session, budget: &mut Budget) -> Result<bool> {
    let next = "SELECT subscription FROM dead_letters INDEXED BY dead_letters_open WHERE status = 0 AND subscription > ?1 \
                ORDER BY subscription LIMIT 1";
    let close = "UPDATE dead_letters SET status = 2, closed_at = max(failed_at, ?2) WHERE id IN (SELECT id FROM dead_letters \
                 INDEXED BY dead_letters_open WHERE subscription = ?1 AND status = 0 LIMIT ?3) \
                 RETURNING namespace, subscription, endpoint, code";
    while !budget.is_spent() {
        let Some(of) = one(&s.conn, next, &[&s.memory.sweep.after], |row| id(row, 0, SubscriptionId::new))? else { return Ok(true) };
        budget.looks -= 1;
        match config::abandoned_at(&s.conn, of)? {
            None => s.memory.sweep.kept += 1,
            Some(at) => {
                let params: &[&dyn ToSql] = params![of.bytes(), at.as_micros(), budget.rows];
                let closed = all(&s.conn, close, params, |row| Under::read(row, Kind::DeadLetters))?;
                budget.rows -= closed.len() as i64;
                closed.into_iter().for_each(|under| s.deltas.dead_letter(under, -1));
                if budget.rows <= 0 {
                    // There may be more of them.
                    return Ok(false);
                }
            }
        }
        s.memory.sweep.after = of.bytes().to_vec();
    }
    Ok(false)
}

/// Attempts that began too long ago. One that is under way stays: its delivery is still being made.
fn attempts(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let below = *floor_at(request.attempts_before).as_bytes();
    while !budget.is_spent() {
        let Some(part) = history::next_that_goes(&s.conn, &below)? else { return Ok(true) };
        budget.looks -= 1;
        let found = history::take(&s.conn, &part, &below, budget.page().min(budget.rows))?;
        for (delivery, number) in found {
            budget.looks -= 1;
            budget.rows -= 1;
            pruned.attempts += history::forget(&s.conn, &mut s.deltas.tallies, delivery, Some(number))?;
        }
    }
    Ok(false)
}

/// Bodies of attempts that began too long ago.
fn bodies(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let below = *floor_at(request.bodies_before).as_bytes();
    while !budget.is_spent() {
        let Some(part) = history::next_with_bodies(&s.conn, &below)? else { return Ok(true) };
        budget.looks -= 1;
        let found = history::take(&s.conn, &part, &below, budget.page().min(budget.rows))?;
        for (delivery, number) in found {
            budget.looks -= 1;
            if history::strip(&s.conn, delivery, number)? {
                budget.rows -= 1;
                pruned.bodies += 1;
            }
        }
    }
    Ok(false)
}

/// Removes a delivery. Dead letters go with it, for without it there is nothing to show of them.
pub(super) fn remove_delivery(s: &mut Session, of: DeliveryId, pruned: &mut Pruned) -> Result<()> {
    let key = params![of.bytes()];
    pruned.attempts += history::forget(&s.conn, &mut s.deltas.tallies, of.bytes(), None)?;
    let sql = "DELETE FROM dead_letters WHERE delivery = ?1 RETURNING namespace, subscription, endpoint, code, status = 0";
    let letters = all(&s.conn, sql, key, |row| Ok((Under::read(row, Kind::DeadLetters)?, row.get::<_, bool>(4)?)))?;
    pruned.closed += letters.len() as u64;
    letters.into_iter().filter(|(_, was_open)| *was_open).for_each(|(under, _)| s.deltas.dead_letter(under, -1));
    let sql = "DELETE FROM deliveries WHERE id = ?1 RETURNING subscription, endpoint, state, event, keeps_rows";
    let gone = one(&s.conn, sql, key, |row| {
        let (subscription, endpoint) = (id(row, 0, SubscriptionId::new)?, id(row, 1, EndpointId::new)?);
        Ok((subscription, endpoint, state_kind(row, 2)?, row.get::<_, i64>(3)?, row.get::<_, bool>(4)?))
    })?;
    let Some((subscription, endpoint, state, event, keeps_rows)) = gone else { return Ok(()) };
    pruned.deliveries += 1;
    places::forget(s, subscription, endpoint, of)?;
    aging::forget(s, of, keeps_rows)?;
    s.deltas.deliveries(Of::known(subscription, endpoint), state, -1);
    note_if_bare(&s.conn, event)
}

/// Events without any delivery left. One whose fan-out is not complete stays: deliveries of it are still to come.
fn events(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let before = pruned.events;
    let done = bare_events(s, request, budget, pruned)?;
    if pruned.events > before {
        // The newest event may be among them; its number must not be given again after a restart.
        let sql = "UPDATE meta SET value = ?1 WHERE key = 'next_event'";
        s.conn.prepare_cached(sql)?.execute([s.memory.next_event])?;
    }
    Ok(done)
}

fn bare_events(s: &mut Session, request: &PruneRequest, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let sql = "SELECT b.id, b.event, e.namespace FROM bare_events b CROSS JOIN events e ON e.seq = b.event WHERE b.id < ?1 ORDER BY b.id LIMIT ?2";
    let below = *floor_at(request.events_before).as_bytes();
    while !budget.is_spent() {
        let page = budget.page().min(budget.rows);
        let found = all(&s.conn, sql, &[&below, &page], |row| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, namespace(row, 2)?)))?;
        let is_last = (found.len() as i64) < page;
        for (id, seq, namespace) in found {
            budget.looks -= 1;
            budget.rows -= 1;
            delete(&s.conn, "DELETE FROM bare_events WHERE id = ?1 AND event = ?2", params![id, seq])?;
            let gone = one(&s.conn, "DELETE FROM events WHERE seq = ?1 RETURNING created_at, labels", params![seq], |row| {
                Ok((time(row, 0)?, json(row, 1)?))
            })?;
            if let Some((created_at, labels)) = gone {
                event_filters::forget_labels(&s.conn, (&namespace, created_at, seq), &labels)?;
                pruned.events += 1;
            }
            s.deltas.tallies.events(&namespace, -1);
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Closed dead letters, occurrences, jobs and batches that ended. Each has an index of just these, and all that is found goes.
fn closed(s: &mut Session, request: &PruneRequest, budget: &Budget, pruned: &mut Pruned) -> Result<bool> {
    let before = request.closed_before.as_micros();
    let sql = "DELETE FROM dead_letters WHERE id IN (SELECT id FROM dead_letters INDEXED BY dead_letters_closed \
               WHERE closed_at IS NOT NULL AND closed_at < ?1 LIMIT ?2)";
    let letters = delete(&s.conn, sql, params![before, budget.rows])?;
    let sql = "DELETE FROM scheduled WHERE id IN (SELECT id FROM scheduled INDEXED BY scheduled_ended \
               WHERE status <> 0 AND updated_at < ?1 LIMIT ?2)";
    let left = budget.rows - letters as i64;
    let occurrences = delete(&s.conn, sql, params![before, left])?;
    let left = left - occurrences as i64;
    let jobs = jobs::prune(&s.conn, request.closed_before, left)?;
    let left = left - jobs as i64;
    let batches = batches::prune(&s.conn, request, left)?;
    pruned.closed += letters + occurrences + jobs + batches;
    Ok((batches as i64) < left)
}

/// Old keys of requests.
fn keys_of_requests(s: &mut Session, request: &PruneRequest, budget: &Budget, pruned: &mut Pruned) -> Result<bool> {
    let keys = requests::prune(&s.conn, request.requests_before, budget.rows)?;
    pruned.requests += keys;
    Ok((keys as i64) < budget.rows)
}

fn delete(conn: &Connection, sql: &str, key: &[&dyn rusqlite::ToSql]) -> Result<u64> {
    Ok(conn.prepare_cached(sql)?.execute(key)? as u64)
}
