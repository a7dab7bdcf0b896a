//! How many attempts, open dead letters and events there are, by what lists can be narrowed to.
//!
//! A tally says how many rows exist in one part of a list, so that totals are sums over few tallies and a list knows which parts to put
//! together. Dead letters and events change tallies with their group (see `counters.rs`), attempts when their notes go to their places
//! (see `history.rs`): until then they are few enough to be counted.

use super::config;
use super::rows::{all, code_opt, count, id, namespace};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, SubscriptionId};
use rusqlite::{Connection, Result, Row, params};
use std::collections::BTreeMap;

/// What is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    /// Notes of attempts that are in their places.
    Attempts = 0,
    /// Open dead letters.
    DeadLetters = 1,
    /// Events.
    Events = 2,
}

/// What an attempt or a dead letter is counted under.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Under {
    pub(super) kind: Kind,
    pub(super) subscription: SubscriptionId,
    pub(super) endpoint: EndpointId,
    /// The code of its error; `None` for a success.
    pub(super) code: Option<ErrorCode>,
    pub(super) namespace: Namespace,
}

impl Under {
    /// Reads it from the columns namespace, subscription, endpoint and code, which come first.
    pub(super) fn read(row: &Row<'_>, kind: Kind) -> Result<Self> {
        let (subscription, endpoint) = (id(row, 1, SubscriptionId::new)?, id(row, 2, EndpointId::new)?);
        Ok(Under { kind, subscription, endpoint, code: code_opt(row, 3)?, namespace: namespace(row, 0)? })
    }
}

/// The text of an outcome in indexes and tallies.
pub(super) fn outcome_text(code: Option<ErrorCode>) -> &'static str {
    code.map_or("", ErrorCode::as_str)
}

/// What a group changes.
#[derive(Clone, Debug, Default)]
pub(super) struct TallyDeltas {
    under: BTreeMap<Under, i64>,
    events: BTreeMap<Namespace, i64>,
}

impl TallyDeltas {
    /// Attempts or dead letters came (or went, if negative).
    pub(super) fn add(&mut self, under: Under, by: i64) {
        *self.under.entry(under).or_default() += by;
    }

    /// Events came (or went, if negative).
    pub(super) fn events(&mut self, of: &Namespace, by: i64) {
        match self.events.get_mut(of) {
            Some(n) => *n += by,
            None => drop(self.events.insert(of.clone(), by)),
        }
    }

    /// Forgets what was summed up.
    pub(super) fn clear(&mut self) {
        self.under.clear();
        self.events.clear();
    }

    /// Writes what was summed up, in the transaction that is open.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        let mut by_namespace: BTreeMap<(Kind, &Namespace, Option<ErrorCode>), i64> = BTreeMap::new();
        let mut of_all: BTreeMap<(Kind, Option<ErrorCode>), i64> = BTreeMap::new();
        for (namespace, n) in &self.events {
            by_namespace.insert((Kind::Events, namespace, None), *n);
        }
        for (under, n) in self.under.iter().filter(|(_, n)| **n != 0) {
            *by_namespace.entry((under.kind, &under.namespace, under.code)).or_default() += n;
            add_under(conn, under, *n)?;
        }
        for ((kind, namespace, code), n) in by_namespace.into_iter().filter(|(_, n)| *n != 0) {
            add_in(conn, kind, namespace, code, n)?;
            // Events have no index over all namespaces, which each of them would have to be put into.
            if kind != Kind::Events {
                *of_all.entry((kind, code)).or_default() += n;
            }
        }
        for ((kind, code), n) in of_all.into_iter().filter(|(_, n)| *n != 0) {
            add_to_all(conn, kind, code, n)?;
        }
        self.clear();
        Ok(())
    }
}

fn add_under(conn: &Connection, under: &Under, by: i64) -> Result<()> {
    let (kind, subscription, endpoint, code) =
        (under.kind as u8, under.subscription.bytes(), under.endpoint.bytes(), outcome_text(under.code));
    let sql = "INSERT INTO tallies_by_subscription (kind, subscription, endpoint, code, namespace, n) VALUES (?1, ?2, ?3, ?4, ?5, ?6) \
               ON CONFLICT (kind, subscription, endpoint, code) DO UPDATE SET n = n + ?6";
    conn.prepare_cached(sql)?.execute(params![kind, subscription, endpoint, code, under.namespace.as_str(), by])?;
    if by < 0 {
        let sql = "DELETE FROM tallies_by_subscription WHERE kind = ?1 AND subscription = ?2 AND endpoint = ?3 AND code = ?4 AND n = 0";
        conn.prepare_cached(sql)?.execute(params![kind, subscription, endpoint, code])?;
    }
    Ok(())
}

fn add_in(conn: &Connection, kind: Kind, namespace: &Namespace, code: Option<ErrorCode>, by: i64) -> Result<()> {
    let sql = "INSERT INTO tallies_by_namespace (kind, namespace, code, n) VALUES (?1, ?2, ?3, ?4) \
               ON CONFLICT (kind, namespace, code) DO UPDATE SET n = n + ?4";
    conn.prepare_cached(sql)?.execute(params![kind as u8, namespace.as_str(), outcome_text(code), by])?;
    if by < 0 {
        let sql = "DELETE FROM tallies_by_namespace WHERE kind = ?1 AND namespace = ?2 AND code = ?3 AND n = 0";
        conn.prepare_cached(sql)?.execute(params![kind as u8, namespace.as_str(), outcome_text(code)])?;
    }
    Ok(())
}

fn add_to_all(conn: &Connection, kind: Kind, code: Option<ErrorCode>, by: i64) -> Result<()> {
    let sql = "INSERT INTO tallies (kind, code, n) VALUES (?1, ?2, ?3) ON CONFLICT (kind, code) DO UPDATE SET n = n + ?3";
    conn.prepare_cached(sql)?.execute(params![kind as u8, outcome_text(code), by])?;
    if by < 0 {
        let sql = "DELETE FROM tallies WHERE kind = ?1 AND code = ?2 AND n = 0";
        conn.prepare_cached(sql)?.execute(params![kind as u8, outcome_text(code)])?;
    }
    Ok(())
}

/// Counts notes of one subscription, endpoint and outcome that go to their places. goes_from: the least id of those whose rows are not kept.
pub(super) fn attempts_of_subscription(
    conn: &Connection,
    (subscription, endpoint, outcome): ([u8; 16], [u8; 16], &str),
    namespace: &str,
    n: usize,
    goes_from: Option<[u8; 16]>,
) -> Result<()> {
    let sql = "INSERT INTO tallies_by_subscription (kind, subscription, endpoint, code, namespace, n, goes_from) \
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7) ON CONFLICT (kind, subscription, endpoint, code) DO UPDATE SET n = n + excluded.n, \
               goes_from = min(coalesce(goes_from, excluded.goes_from), coalesce(excluded.goes_from, goes_from))";
    let params = params![Kind::Attempts as u8, subscription, endpoint, outcome, namespace, n as i64, goes_from];
    conn.prepare_cached(sql)?.execute(params).map(drop)
}

/// Counts notes of one namespace and outcome that go to their places, of which this is the least id.
pub(super) fn attempts_of_namespace(conn: &Connection, (namespace, outcome): (&str, &str), n: usize, bodies_from: [u8; 16]) -> Result<()> {
    let sql = "INSERT INTO tallies_by_namespace (kind, namespace, code, n, bodies_from) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (kind, namespace, code) DO UPDATE SET n = n + excluded.n, \
               bodies_from = min(coalesce(bodies_from, excluded.bodies_from), excluded.bodies_from)";
    conn.prepare_cached(sql)?.execute(params![Kind::Attempts as u8, namespace, outcome, n as i64, bodies_from]).map(drop)
}

/// Counts notes of one outcome that go to their places.
pub(super) fn attempts_of_all(conn: &Connection, outcome: &str, n: usize) -> Result<()> {
    let sql = "INSERT INTO tallies (kind, code, n) VALUES (?1, ?2, ?3) ON CONFLICT (kind, code) DO UPDATE SET n = n + excluded.n";
    conn.prepare_cached(sql)?.execute(params![Kind::Attempts as u8, outcome, n as i64]).map(drop)
}

/// What a list is narrowed to.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scope<'a> {
    pub(super) namespace: Option<&'a Namespace>,
    pub(super) subscription: Option<SubscriptionId>,
    pub(super) endpoint: Option<EndpointId>,
}

/// A part of a list: what an index has in order, and how many that are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) place: PartPlace,
    pub(super) code: Option<ErrorCode>,
    pub(super) n: u64,
}

impl Part {
    /// The namespace, of a part that is in the index by namespace.
    pub(super) fn name(&self) -> Option<&str> {
        match &self.place {
            PartPlace::Namespace(namespace) => Some(namespace.as_str()),
            PartPlace::All | PartPlace::Subscription(..) => None,
        }
    }
}

/// Where a part is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum PartPlace {
    /// In the index over all namespaces. Events have none.
    All,
    /// In the index by namespace.
    Namespace(Namespace),
    /// In the index by subscription.
    Subscription(SubscriptionId, EndpointId),
}

const PARTS_OF_ALL: &str = "SELECT code, n FROM tallies WHERE kind = ?1";
const PARTS_OF_ALL_NAMESPACES: &str = "SELECT namespace, code, n FROM tallies_by_namespace WHERE kind = ?1";
const PARTS_OF_NAMESPACE: &str = "SELECT namespace, code, n FROM tallies_by_namespace WHERE kind = ?1 AND namespace = ?2";
const PARTS_OF_SUBSCRIPTION: &str = "SELECT subscription, endpoint, code, n FROM tallies_by_subscription \
    WHERE kind = ?1 AND subscription = ?2 AND (?3 IS NULL OR endpoint = ?3) AND (?4 IS NULL OR namespace = ?4)";
const PARTS_OF_ENDPOINT: &str = "SELECT subscription, endpoint, code, n FROM tallies_by_subscription \
    INDEXED BY tallies_by_endpoint WHERE kind = ?1 AND endpoint = ?2 AND (?3 IS NULL OR namespace = ?3)";

/// While there are erased endpoints: the index by namespace does not tell theirs from the others.
const PARTS_SEEN: &str = concat!(
    "SELECT subscription, endpoint, code, n FROM tallies_by_subscription WHERE kind = ?1 AND (?2 IS NULL OR namespace = ?2) AND",
    not_erased!("endpoint")
);

/// Those that must not walk over more than they answer, for a look at their plans.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 5] = [PARTS_OF_ALL, PARTS_OF_NAMESPACE, PARTS_OF_SUBSCRIPTION, PARTS_OF_ENDPOINT, PARTS_SEEN];

/// The parts that make up all that may be seen in that scope. While there are erased endpoints a list of everything, or of a namespace, is
/// put together of as many parts as there are subscriptions and outcomes.
pub(super) fn seen(conn: &Connection, kind: Kind, scope: Scope<'_>) -> Result<Vec<Part>> {
    let erased = config::erased(conn)?;
    if erased.is_empty() {
        return parts(conn, kind, scope);
    }
    if scope.subscription.is_none() && scope.endpoint.is_none() {
        let namespace = scope.namespace.map(Namespace::as_str);
        return all(conn, PARTS_SEEN, &[&(kind as u8), &namespace], part_of_subscription);
    }
    let mut parts = parts(conn, kind, scope)?;
    parts.retain(|part| !matches!(part.place, PartPlace::Subscription(_, endpoint) if erased.contains(&endpoint)));
    Ok(parts)
}

/// The parts that make up everything in that scope.
pub(super) fn parts(conn: &Connection, kind: Kind, scope: Scope<'_>) -> Result<Vec<Part>> {
    let kind = kind as u8;
    let namespace = scope.namespace.map(Namespace::as_str);
    match (scope.subscription, scope.endpoint, namespace) {
        (Some(subscription), endpoint, _) => {
            let endpoint = endpoint.map(EndpointId::bytes);
            all(conn, PARTS_OF_SUBSCRIPTION, &[&kind, &subscription.bytes(), &endpoint, &namespace], part_of_subscription)
        }
        (None, Some(endpoint), _) => all(conn, PARTS_OF_ENDPOINT, &[&kind, &endpoint.bytes(), &namespace], part_of_subscription),
        (None, None, Some(namespace)) => all(conn, PARTS_OF_NAMESPACE, &[&kind, &namespace], part_of_namespace),
        (None, None, None) if kind == Kind::Events as u8 => all(conn, PARTS_OF_ALL_NAMESPACES, &[&kind], part_of_namespace),
        (None, None, None) => all(conn, PARTS_OF_ALL, &[&kind], part_of_all),
    }
}

fn part_of_all(row: &Row<'_>) -> Result<Part> {
    Ok(Part { place: PartPlace::All, code: code_opt(row, 0)?, n: count(row, 1)? })
}

fn part_of_namespace(row: &Row<'_>) -> Result<Part> {
    Ok(Part { place: PartPlace::Namespace(namespace(row, 0)?), code: code_opt(row, 1)?, n: count(row, 2)? })
}

fn part_of_subscription(row: &Row<'_>) -> Result<Part> {
    let place = PartPlace::Subscription(id(row, 0, SubscriptionId::new)?, id(row, 1, EndpointId::new)?);
    Ok(Part { place, code: code_opt(row, 2)?, n: count(row, 3)? })
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn under(kind: Kind, n: u128, endpoint: u128, code: Option<ErrorCode>) -> Under {
        let (subscription, endpoint) = (SubscriptionId::new(Uuid::from_u128(n)), EndpointId::new(Uuid::from_u128(endpoint)));
        Under { kind, subscription, endpoint, code, namespace: Namespace::default_namespace() }
    }

    fn counts(conn: &Connection, kind: Kind, subscription: Option<u128>, endpoint: Option<u128>) -> Vec<u64> {
        let scope = Scope {
            namespace: None,
            subscription: subscription.map(|n| SubscriptionId::new(Uuid::from_u128(n))),
            endpoint: endpoint.map(|n| EndpointId::new(Uuid::from_u128(n))),
        };
        parts(conn, kind, scope).expect("parts").into_iter().map(|part| part.n).collect()
    }

    #[test]
    fn parts_come_with_their_first_row_and_go_with_their_last() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let mut deltas = TallyDeltas::default();
        deltas.add(under(Kind::DeadLetters, 1, 7, Some(ErrorCode::TlsError)), 3);
        deltas.add(under(Kind::DeadLetters, 2, 7, Some(ErrorCode::TlsError)), 1);
        deltas.add(under(Kind::DeadLetters, 2, 8, Some(ErrorCode::DnsError)), 1);
        deltas.events(&Namespace::default_namespace(), 5);
        deltas.flush(&conn).expect("flushes");
        assert_eq!(counts(&conn, Kind::DeadLetters, None, None), [1, 4], "by code");
        assert_eq!(counts(&conn, Kind::DeadLetters, Some(2), None), [1, 1]);
        assert_eq!(counts(&conn, Kind::DeadLetters, Some(2), Some(8)), [1]);
        assert_eq!(counts(&conn, Kind::DeadLetters, None, Some(7)), [3, 1]);
        assert_eq!(counts(&conn, Kind::Events, None, None), [5]);
        assert!(counts(&conn, Kind::Attempts, None, None).is_empty());
        deltas.add(under(Kind::DeadLetters, 2, 8, Some(ErrorCode::DnsError)), -1);
        deltas.add(under(Kind::DeadLetters, 1, 7, Some(ErrorCode::TlsError)), -1);
        deltas.flush(&conn).expect("flushes");
        assert_eq!(counts(&conn, Kind::DeadLetters, None, None), [3]);
        assert_eq!(counts(&conn, Kind::DeadLetters, Some(2), None), [1]);
        deltas.events(&Namespace::default_namespace(), -5);
        deltas.clear();
        deltas.flush(&conn).expect("flushes");
        assert_eq!(counts(&conn, Kind::Events, None, None), [5], "what was undone is not counted");
    }
}
