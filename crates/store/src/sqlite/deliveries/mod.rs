//! Reads of deliveries: lists with filters and totals.
//!
//! A page is found in one of three ways. Most often it is among the newest deliveries that there are, so that a few thousand of those are
//! looked at first. If it is not, it is put together of sorted parts: of the places of each subscription (see `places.rs`), or, where only
//! such are wanted that did not succeed, of the index of those that ended so and of all that have not ended. The last are looked through: no
//! index has them in the order of the list, for it would have to follow every change of their state. So before that a walk over the newest
//! goes as far as it would, and a list that has fewer in all is put together of places.
//!
//! The counters say which parts have something that is wanted, and how many. Where they cannot say how many, indexes are counted: of all in a
//! span of time, those that are not wanted are taken away where the succeeded ones are, for these are in no index by their state.

mod live;
mod query;
mod row;

use super::config;
use super::counters::less;
use super::merge::merge;
use super::options::Steps;
use super::places;
use super::rows::{all, count, state_kind};
use live::{Firsts, Live, each};
use postrider_core::delivery::StateKind;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EventSeq};
use postrider_core::ports::{DeliveryFilter, DeliveryRow, Found, Page, Window};
use query::{Key, Looked, Part, Query, States, looked_columns};
use row::Bodies;
use rusqlite::{Connection, Result, ToSql};
use std::cmp::Reverse;
use std::collections::BTreeSet;

/// Places of a page, and whether more follow.
type Places = (Vec<Key>, bool);

/// Deliveries, newest first, and how many there are.
pub(super) fn find(
    conn: &Connection,
    filter: &DeliveryFilter,
    window: Window<DeliveryId>,
    steps: Steps,
) -> Result<Found<DeliveryRow, DeliveryId>> {
    let Found { page, total } = ids(conn, filter, window, steps)?;
    Ok(Found { page: listed(conn, &page)?, total })
}

/// Deliveries, newest first. Nothing is counted.
pub(super) fn page(
    conn: &Connection,
    filter: &DeliveryFilter,
    window: Window<DeliveryId>,
    steps: Steps,
) -> Result<Page<DeliveryRow, DeliveryId>> {
    listed(conn, &page_of_ids(conn, filter, window, steps)?)
}

fn listed(conn: &Connection, page: &Page<DeliveryId, DeliveryId>) -> Result<Page<DeliveryRow, DeliveryId>> {
    let items = page.items.iter().map(|id| row::row(conn, *id, Bodies::Listed)).collect::<Result<_>>()?;
    Ok(Page { items, next: page.next })
}

/// One delivery, with whole bodies.
pub(super) fn one(conn: &Connection, of: DeliveryId, within: Option<&Namespace>) -> Result<Option<DeliveryRow>> {
    is_there(conn, of, within)?.then(|| row::row(conn, of, Bodies::Whole)).transpose()
}

/// Those of these deliveries that are there, with the beginnings of their bodies.
pub(super) fn by_id(conn: &Connection, ids: &[DeliveryId], within: Option<&Namespace>) -> Result<Vec<DeliveryRow>> {
    let mut rows = Vec::with_capacity(ids.len());
    for id in ids {
        if is_there(conn, *id, within)? {
            rows.push(row::row(conn, *id, Bodies::Listed)?);
        }
    }
    Ok(rows)
}

fn is_there(conn: &Connection, of: DeliveryId, within: Option<&Namespace>) -> Result<bool> {
    let found = super::rows::one(conn, IS_THERE, &[&of.bytes(), &within.map(Namespace::as_str)], |_| Ok(()))?;
    Ok(found.is_some())
}

/// The ids of deliveries, newest first, and how many there are.
pub(super) fn ids(
    conn: &Connection,
    filter: &DeliveryFilter,
    window: Window<DeliveryId>,
    steps: Steps,
) -> Result<Found<DeliveryId, DeliveryId>> {
    let query = Query::new(conn, filter, window)?;
    let (places, total) = match filter.event {
        _ if query.count(query.states) == 0 => ((Vec::new(), false), 0),
        Some(event) => query.of_event(event)?,
        None => {
            let total = query.total()?;
            (query.page(total, steps)?, total)
        }
    };
    Ok(Found { page: page_at(&places), total })
}

/// The same without their number. The counters say how many there are at the most, which is all that finding a page needs of it; where nothing
/// narrows the list, not even they are read.
pub(super) fn page_of_ids(
    conn: &Connection,
    filter: &DeliveryFilter,
    window: Window<DeliveryId>,
    steps: Steps,
) -> Result<Page<DeliveryId, DeliveryId>> {
    if is_of_all(filter) && config::erased(conn)?.is_empty() {
        return newest(conn, window);
    }
    let query = Query::new(conn, filter, window)?;
    let most = query.count(query.states);
    let places = match filter.event {
        _ if most == 0 => (Vec::new(), false),
        Some(event) => query.of_event(event)?.0,
        None => query.page(most, steps)?,
    };
    Ok(page_at(&places))
}

/// Whether nothing narrows the list.
fn is_of_all(filter: &DeliveryFilter) -> bool {
    let DeliveryFilter { namespace, endpoint, subscription, event, states, category, code, created_from: _, created_before: _ } = filter;
    let is_of_one = namespace.is_some() || endpoint.is_some() || subscription.is_some() || event.is_some();
    !is_of_one && states.is_empty() && category.is_none() && code.is_none() && !filter.is_timed()
}

/// A page of the list of everything.
fn newest(conn: &Connection, window: Window<DeliveryId>) -> Result<Page<DeliveryId, DeliveryId>> {
    let before = window.after.map_or_else(|| query::LAST.to_vec(), |after| after.bytes().to_vec());
    let mut keys: Vec<Key> =
        all(conn, NEWEST_IDS, &[&before, &(i64::from(window.limit) + 1), &window.skip], |row| row.get(0).map(Reverse))?;
    let more = keys.len() > window.limit as usize;
    keys.truncate(window.limit as usize);
    Ok(page_at(&(keys, more)))
}

fn page_at((keys, more): &Places) -> Page<DeliveryId, DeliveryId> {
    let items: Vec<DeliveryId> = keys.iter().map(|key| DeliveryId::new(uuid::Uuid::from_bytes(key.0))).collect();
    let next = items.last().copied().filter(|_| *more);
    Page { items, next }
}

const IS_THERE: &str = concat!(
    "SELECT 1 FROM deliveries d CROSS JOIN events e ON e.seq = d.event WHERE d.id = ?1 AND (?2 IS NULL OR e.namespace = ?2) AND",
    not_erased!("d.endpoint")
);

/// How many deliveries of an event are in each state.
pub(super) fn counts_of(conn: &Connection, event: EventSeq) -> Result<[u64; StateKind::ALL.len()]> {
    let sql = concat!("SELECT state FROM deliveries INDEXED BY deliveries_event WHERE event = ?1 AND", not_erased!("endpoint"));
    let mut counts = [0; StateKind::ALL.len()];
    let mut select = conn.prepare_cached(sql)?;
    for kind in select.query_map([event.0], |row| state_kind(row, 0))? {
        counts[kind? as usize] += 1;
    }
    Ok(counts)
}

const NEWEST: &str = concat!("SELECT ", looked_columns!(), " FROM deliveries d WHERE d.id >= ?1 AND d.id < ?2 ORDER BY d.id DESC LIMIT ?3");
const NEWEST_IDS: &str = "SELECT d.id FROM deliveries d WHERE d.id < ?1 ORDER BY d.id DESC LIMIT ?2 OFFSET ?3";
const LIVE_OF_ENDPOINT: &str =
    "SELECT coalesce(sum(pending + sending + retrying), 0) FROM counters INDEXED BY counters_by_endpoint WHERE endpoint = ?1";
const OF_EVENT: &str = concat!("SELECT ", looked_columns!(), " FROM deliveries d INDEXED BY deliveries_event WHERE d.event = ?1");

macro_rules! placed {
    ($what:literal, $from:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM deliveries_by_subscription p",
            $from,
            " WHERE p.subscription = ?1 AND p.endpoint = ?2 AND p.delivery >= ?3 AND p.delivery < ?4 AND p.created_at >= ?5 \
             AND p.created_at < ?6",
            $rest
        )
    };
}
const PLACED: &str = placed!("p.delivery", "", " ORDER BY p.delivery DESC LIMIT ?7");
const PLACED_IN_STATES: &str =
    placed!("p.delivery", " CROSS JOIN deliveries d ON d.id = p.delivery", " AND (?8 >> d.state) & 1 ORDER BY p.delivery DESC LIMIT ?7");
const COUNT_PLACED: &str = placed!("count(*)", "", "");

macro_rules! unsuccessful {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM deliveries INDEXED BY deliveries_unsuccessful WHERE state > 3 AND subscription = ?1 AND endpoint = ?2 \
             AND id >= ?3 AND id < ?4 AND created_at >= ?5 AND created_at < ?6 AND (?7 >> state) & 1 \
             AND (?8 IS NULL OR coalesce(reason, 'expired') IN (SELECT value FROM json_each(?8)))",
            $rest
        )
    };
}
const UNSUCCESSFUL: &str = unsuccessful!("id", " ORDER BY id DESC LIMIT ?9");
const COUNT_UNSUCCESSFUL: &str = unsuccessful!("count(*)", "");

impl Query<'_> {
    /// How many the list has, not counting those of an event.
    fn total(&self) -> Result<u64> {
        if !self.filter.is_timed() && self.codes.is_none() {
            return Ok(self.count(self.states));
        }
        if self.states.and(States::SUCCEEDED).is_empty() {
            let live = if self.states.and(States::LIVE).is_empty() { 0 } else { self.live()?.wanted };
            return Ok(self.count_unsuccessful(self.states)? + live);
        }
        let others = States::ANY.without(self.states);
        let live = if others.and(States::LIVE).is_empty() { 0 } else { self.live()?.all - self.live()?.wanted };
        Ok(less(self.count_in_time()?, self.count_unsuccessful(others)? + live))
    }

    /// The page of a list that has no more than so many in all.
    fn page(&self, total: u64, steps: Steps) -> Result<Places> {
        if total == 0 || self.window.limit == 0 {
            return Ok((Vec::new(), false));
        }
        let live_looks = self.live_looks()?;
        // Places say nothing of codes, and where some are asked for each delivery has to be looked at.
        let is_cheaper = self.codes.is_none() && live_looks >= self.count(States::ANY);
        let is_in_places = !self.states.and(States::SUCCEEDED).is_empty() || is_cheaper;
        let instead = if is_in_places { 0 } else { live_looks };
        if let Some(page) = self.among_the_newest(total, self.walk(steps).max(instead as usize))? {
            return Ok(page);
        }
        if is_in_places { self.in_places() } else { self.without_success() }
    }

    /// How many deliveries have to be looked at for those that have not ended: all that wait for the same endpoints. None where these are not
    /// wanted, or where somebody has looked already.
    fn live_looks(&self) -> Result<u64> {
        if self.states.and(States::LIVE).is_empty() || self.live.get().is_some() {
            return Ok(0);
        }
        if self.filter.subscription.is_none() {
            return Ok(self.count(States::LIVE));
        }
        // Others may wait for the same endpoint.
        let endpoints: BTreeSet<[u8; 16]> = self.parts.iter().map(|part| part.endpoint).collect();
        let mut select = self.conn.prepare_cached(LIVE_OF_ENDPOINT)?;
        endpoints.iter().map(|endpoint| select.query_row([endpoint], |row| count(row, 0))).sum()
    }

    /// At how many of the newest to look in any case.
    fn walk(&self, steps: Steps) -> usize {
        let walk = steps.walk as usize;
        walk + self.reach().min(4 * walk)
    }

    /// The page, if a walk over that many of the newest deliveries finds it.
    fn among_the_newest(&self, total: u64, most: usize) -> Result<Option<Places>> {
        let reach = self.reach();
        let (from, before) = self.rest(None);
        let mut select = self.conn.prepare_cached(NEWEST)?;
        let mut rows = select.query(rusqlite::params![from, before, most as i64])?;
        let (mut found, mut looked) = (Vec::new(), 0);
        while let Some(row) = rows.next()? {
            looked += 1;
            let row = Looked::read(row)?;
            if self.wants(&row)? {
                found.push(Reverse(row.id));
            }
            // Without a page before this one it is known when all were found.
            let is_all = self.window.after.is_none() && found.len() as u64 == total;
            if is_all || found.len() == reach {
                return Ok(Some(self.cut(found)));
            }
        }
        Ok((looked < most).then(|| self.cut(found)))
    }

    /// The page out of the beginning of the list.
    fn cut(&self, found: Vec<Key>) -> Places {
        let more = found.len() >= self.reach();
        (found.into_iter().skip(self.window.skip as usize).take(self.window.limit as usize).collect(), more)
    }

    /// The page out of the places of all parts, and of what is in none yet.
    fn in_places(&self) -> Result<Places> {
        let (_, before) = self.rest(None);
        let mut beside = Vec::new();
        for row in self.not_placed(&before)? {
            if self.wants(&row)? {
                beside.push(Reverse(row.id));
            }
        }
        self.merged(self.states, beside, |part, last, chunk| {
            let (from, before) = self.rest(last);
            let (began, ended) = self.times();
            let mut params: Vec<&dyn ToSql> = vec![&part.subscription, &part.endpoint, &from, &before, &began, &ended, &chunk];
            if self.states == States::ANY {
                return all(self.conn, PLACED, &params, |row| row.get(0).map(Reverse));
            }
            let states = self.states.bits();
            params.push(&states);
            all(self.conn, PLACED_IN_STATES, &params, |row| row.get(0).map(Reverse))
        })
    }

    /// The page out of what ended without success, and of what has not ended.
    fn without_success(&self) -> Result<Places> {
        let beside = if self.states.and(States::LIVE).is_empty() { Vec::new() } else { self.live()?.first.clone() };
        let (codes, states) = (self.listed_codes()?, self.states.bits());
        self.merged(self.states.and(States::UNSUCCESSFUL), beside, |part, last, chunk| {
            let (from, before) = self.rest(last);
            let (began, ended) = self.times();
            let params: &[&dyn ToSql] = &[&part.subscription, &part.endpoint, &from, &before, &began, &ended, &states, &codes, &chunk];
            all(self.conn, UNSUCCESSFUL, params, |row| row.get(0).map(Reverse))
        })
    }

    /// Merges the runs of all parts that have something in these states, and what is beside them.
    fn merged(&self, of: States, beside: Vec<Key>, fetch: impl Fn(&Part, Option<&Key>, i64) -> Result<Vec<Key>>) -> Result<Places> {
        let parts: Vec<&Part> = self.parts.iter().filter(|part| part.count(of) > 0).collect();
        let (skip, limit) = (self.window.skip, self.window.limit);
        merge(parts.len(), beside, (skip, limit), |n, last: Option<&Key>, chunk| {
            fetch(parts[n], last, i64::try_from(chunk).unwrap_or(i64::MAX))
        })
    }

    fn live(&self) -> Result<&Live> {
        if let Some(live) = self.live.get() {
            return Ok(live);
        }
        let live = live::look(self)?;
        Ok(self.live.get_or_init(|| live))
    }

    /// Deliveries before that id, within the bounds in time, that are not in their places, newest first.
    fn not_placed(&self, before: &[u8]) -> Result<Vec<Looked>> {
        let mark = places::mark(self.conn)?;
        let from = self.ids().0.max(&mark[..]);
        all(self.conn, NEWEST, &[&from, &before, &-1], Looked::read)
    }

    /// How many there are in the list's scope and time, in whatever state.
    fn count_in_time(&self) -> Result<u64> {
        let (from, before) = self.ids();
        let (began, ended) = self.times();
        let mut sum = self.not_placed(before)?.iter().filter(|row| self.has(row)).count() as u64;
        for part in &self.parts {
            let params: &[&dyn ToSql] = &[&part.subscription, &part.endpoint, &from, &before, &began, &ended];
            sum += self.conn.prepare_cached(COUNT_PLACED)?.query_row(params, |row| count(row, 0))?;
        }
        Ok(sum)
    }

    /// How many of those that ended without success are in one of these states.
    fn count_unsuccessful(&self, of: States) -> Result<u64> {
        let of = of.and(States::UNSUCCESSFUL);
        let (from, before) = self.ids();
        let ((began, ended), codes, states) = (self.times(), self.listed_codes()?, of.bits());
        let mut sum = 0;
        for part in self.parts.iter().filter(|part| part.count(of) > 0) {
            let params: &[&dyn ToSql] = &[&part.subscription, &part.endpoint, &from, &before, &began, &ended, &states, &codes];
            sum += self.conn.prepare_cached(COUNT_UNSUCCESSFUL)?.query_row(params, |row| count(row, 0))?;
        }
        Ok(sum)
    }

    /// The page of an event's deliveries, and how many they are.
    fn of_event(&self, event: EventSeq) -> Result<(Places, u64)> {
        let (mut firsts, mut total) = (Firsts::of(self), 0);
        each(self, OF_EVENT, &[&event.0], |row| {
            if self.wants(&row)? {
                total += 1;
                firsts.see(&row);
            }
            Ok(())
        })?;
        // Without a page there is no last place.
        Ok((self.cut(firsts.in_order()), total))
    }
}

#[cfg(test)]
mod tests;
