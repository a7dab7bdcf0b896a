//! How well endpoints do: a tally for each, read and written once for all outcomes of a group.
//!
//! The place of an endpoint in lists, and how many are of which class, change with the class alone, which is seldom.

use super::rows::{all, count, id, micros, one, time_opt};
use super::session::Session;
use crate::error::bad_value;
use postrider_core::attempt::Attempt;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::health::{Earlier, Health, HealthTally, Observation};
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{Found, Page, Window};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, ToSql, params};
use std::collections::BTreeMap;

/// Stands for all namespaces together: no namespace has an empty name.
const ALL: &str = "";

/// Behind every id.
const LAST: &[u8] = &[0xff; 17];

/// What a group has seen of endpoints, of each in the order in which it came.
#[derive(Clone, Debug, Default)]
pub(super) struct Observed(BTreeMap<EndpointId, Vec<Observation>>);

impl Observed {
    /// An attempt of a delivery ended, if it has an outcome.
    pub(super) fn attempt(&mut self, conn: &Connection, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
        let Some(mut seen) = attempt.outcome.as_ref().and_then(Observation::of) else { return Ok(()) };
        if attempt.number > 1 {
            seen.earlier = earlier(conn, delivery, attempt.number)?;
        }
        self.0.entry(attempt.endpoint).or_default().push(seen);
        Ok(())
    }

    /// Forgets what was seen: its transaction was undone.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }

    /// Writes what was seen, in the transaction that is open.
    pub(super) fn flush(&mut self, conn: &Connection) -> Result<()> {
        for (endpoint, seen) in &self.0 {
            // One that is not configured, or deleted, has no tally.
            let Some(mut kept) = one(conn, "SELECT class, ages_at, tally FROM health WHERE endpoint = ?1", &[&endpoint.bytes()], read)?
            else {
                continue;
            };
            seen.iter().for_each(|observation| kept.tally.observe(observation));
            put(conn, *endpoint, &kept)?;
        }
        self.0.clear();
        Ok(())
    }
}

/// The newest attempt of a delivery before the one of this number that says something of the receiver.
fn earlier(conn: &Connection, delivery: DeliveryId, number: u32) -> Result<Option<Earlier>> {
    let sql =
        "SELECT finished_at, error_code FROM attempts WHERE delivery = ?1 AND number < ?2 AND finished_at IS NOT NULL ORDER BY number DESC";
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params![delivery.bytes(), number])?;
    while let Some(row) = rows.next()? {
        // A code of a later release is of a kind that nobody here knows.
        let code = row.get_ref(1)?.as_str_or_null()?.map(|text| ErrorCode::parse(text).unwrap_or(ErrorCode::ProtocolError));
        if let Some(earlier) = Earlier::of(Timestamp::from_micros(row.get(0)?), code) {
            return Ok(Some(earlier));
        }
    }
    Ok(None)
}

/// A tally, and what its row says beside it: what the tally said when it was written.
struct Kept {
    class: Health,
    ages_at: Option<Timestamp>,
    tally: HealthTally,
}

/// Reads class, ages_at and tally, which come first.
fn read(row: &Row<'_>) -> Result<Kept> {
    let class = Health::from_number(row.get(0)?).ok_or_else(|| bad_value(0, "an unknown health"))?;
    Ok(Kept { class, ages_at: time_opt(row, 1)?, tally: tally(row, 2)? })
}

/// A tally that nobody can read begins anew: it must not keep outcomes from being stored.
fn tally(row: &Row<'_>, column: usize) -> Result<HealthTally> {
    let found = HealthTally::from_bytes(row.get_ref(column)?.as_blob()?);
    Ok(found.unwrap_or_else(|| {
        tracing::error!("the health of an endpoint cannot be read, and is counted from now on");
        HealthTally::default()
    }))
}

/// Writes a tally that was changed.
fn put(conn: &Connection, of: EndpointId, kept: &Kept) -> Result<()> {
    let (class, ages_at, bytes) = (kept.tally.health(), kept.tally.ages_at(), kept.tally.to_bytes());
    if (class, ages_at) == (kept.class, kept.ages_at) {
        // Without a word about the columns that have an index, which would be written again.
        return conn.prepare_cached("UPDATE health SET tally = ?2 WHERE endpoint = ?1")?.execute(params![of.bytes(), bytes]).map(drop);
    }
    let sql = "UPDATE health SET tally = ?2, class = ?3, ages_at = ?4 WHERE endpoint = ?1 RETURNING namespace";
    let params: &[&dyn ToSql] = params![of.bytes(), bytes, class as u8, micros(ages_at)];
    let namespace = one(conn, sql, params, |row| row.get::<_, String>(0))?;
    if let Some(namespace) = namespace.filter(|_| class != kept.class) {
        add(conn, &namespace, kept.class, -1)?;
        add(conn, &namespace, class, 1)?;
    }
    Ok(())
}

fn add(conn: &Connection, namespace: &str, class: Health, by: i64) -> Result<()> {
    let sql =
        "INSERT INTO health_tallies (namespace, class, n) VALUES (?1, ?2, ?3) ON CONFLICT (namespace, class) DO UPDATE SET n = n + ?3";
    for namespace in [namespace, ALL] {
        conn.prepare_cached(sql)?.execute(params![namespace, class as u8, by])?;
        if by < 0 {
            let sql = "DELETE FROM health_tallies WHERE namespace = ?1 AND class = ?2 AND n = 0";
            conn.prepare_cached(sql)?.execute(params![namespace, class as u8])?;
        }
    }
    Ok(())
}

/// An endpoint is configured: it has a tally from now on, unless it had one before.
pub(super) fn begin(conn: &Connection, of: EndpointId, namespace: &Namespace) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO health (endpoint, namespace, class, ages_at, tally) VALUES (?1, ?2, ?3, NULL, x'')";
    let new = conn.prepare_cached(sql)?.execute(params![of.bytes(), namespace.as_str(), Health::Unknown as u8])?;
    if new == 1 { add(conn, namespace.as_str(), Health::Unknown, 1) } else { Ok(()) }
}

/// An endpoint was deleted: it has no tally any more.
pub(super) fn end(conn: &Connection, of: EndpointId) -> Result<()> {
    let sql = "DELETE FROM health WHERE endpoint = ?1 RETURNING namespace, class";
    let gone = one(conn, sql, &[&of.bytes()], |row| {
        let class = Health::from_number(row.get(1)?).ok_or_else(|| bad_value(1, "an unknown health"))?;
        Ok((row.get::<_, String>(0)?, class))
    })?;
    gone.map_or(Ok(()), |(namespace, class)| add(conn, &namespace, class, -1))
}

const AGED: &str = "SELECT class, ages_at, tally, endpoint FROM health INDEXED BY health_ages \
    WHERE ages_at IS NOT NULL AND ages_at <= ?1 ORDER BY ages_at LIMIT ?2";

/// Brings tallies up to date of which an hour has left the window by now; answers how many.
pub(super) fn age(s: &mut Session, now: Timestamp, limit: u32) -> Result<u32> {
    let found = all(&s.conn, AGED, &[&now.as_micros(), &limit], |row| Ok((read(row)?, id(row, 3, EndpointId::new)?)))?;
    let aged = u32::try_from(found.len()).unwrap_or(u32::MAX);
    for (mut kept, endpoint) in found {
        kept.tally.age(now);
        put(&s.conn, endpoint, &kept)?;
    }
    Ok(aged)
}

/// The tally of an endpoint; `None` without one.
pub(super) fn of(conn: &Connection, endpoint: EndpointId) -> Result<Option<HealthTally>> {
    one(conn, "SELECT tally FROM health WHERE endpoint = ?1", &[&endpoint.bytes()], |row| tally(row, 0))
}

const LIST_OF_ALL: &str =
    "SELECT endpoint FROM health INDEXED BY health_by_class WHERE class = ?1 AND endpoint < ?2 ORDER BY endpoint DESC LIMIT ?3 OFFSET ?4";
const LIST_OF_NAMESPACE: &str = "SELECT endpoint FROM health INDEXED BY health_by_namespace \
    WHERE class = ?1 AND endpoint < ?2 AND namespace = ?5 ORDER BY endpoint DESC LIMIT ?3 OFFSET ?4";

/// Endpoints of a class, newest first.
pub(super) fn list(
    conn: &Connection,
    namespace: Option<&Namespace>,
    health: Health,
    window: Window<EndpointId>,
) -> Result<Found<EndpointId, EndpointId>> {
    let after = window.after.map(EndpointId::bytes);
    let after = after.as_ref().map_or(LAST, |id| &id[..]);
    let class = health as u8;
    // One more than is asked for tells whether more follow.
    let limit = i64::from(window.limit) + 1;
    let page: [&dyn ToSql; 4] = [&class, &after, &limit, &window.skip];
    let mut items = match namespace.map(Namespace::as_str) {
        None => all(conn, LIST_OF_ALL, &page, |row| id(row, 0, EndpointId::new))?,
        Some(name) => {
            let [class, after, limit, skip] = page;
            all(conn, LIST_OF_NAMESPACE, &[class, after, limit, skip, &name], |row| id(row, 0, EndpointId::new))?
        }
    };
    let more = items.len() as i64 == limit;
    items.truncate(window.limit as usize);
    let next = items.last().filter(|_| more).copied();
    let total = summary(conn, namespace)?[health as usize];
    Ok(Found { page: Page { items, next }, total })
}

/// How many endpoints are of which class.
pub(super) fn summary(conn: &Connection, namespace: Option<&Namespace>) -> Result<[u64; Health::ALL.len()]> {
    let of = namespace.map_or(ALL, Namespace::as_str);
    let sql = "SELECT class, n FROM health_tallies WHERE namespace = ?1";
    let mut summary = [0; Health::ALL.len()];
    for (class, n) in all(conn, sql, &[&of], |row| Ok((row.get::<_, u8>(0)?, count(row, 1)?)))? {
        *summary.get_mut(usize::from(class)).ok_or_else(|| bad_value(0, "an unknown health"))? = n;
    }
    Ok(summary)
}

/// Statements that must not walk over more than they answer.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 3] = [AGED, LIST_OF_ALL, LIST_OF_NAMESPACE];

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    fn observed(endpoint: EndpointId, hour: i64) -> Observed {
        let at = Timestamp::from_secs(hour * 3_600);
        Observed([(endpoint, vec![Observation { at, failure: None, response_us: None, earlier: None }])].into())
    }

    #[test]
    fn a_tally_that_nobody_can_read_begins_anew() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let (endpoint, namespace) = (EndpointId::new(Uuid::from_u128(1)), Namespace::default_namespace());
        begin(&conn, endpoint, &namespace).expect("it is written");
        observed(endpoint, 7).flush(&conn).expect("it is written");
        assert_eq!(summary(&conn, None).expect("numbers"), [0, 1, 0, 0]);
        conn.execute("UPDATE health SET tally = x'ff'", []).expect("a row");
        assert_eq!(of(&conn, endpoint).expect("a read"), Some(HealthTally::default()));
        observed(endpoint, 9).flush(&conn).expect("it is written");
        let found = of(&conn, endpoint).expect("a read").expect("it has one");
        assert_eq!((found.first_at(), found.health()), (Some(Timestamp::from_secs(9 * 3_600)), Health::Healthy));
        assert_eq!(summary(&conn, Some(&namespace)).expect("numbers"), [0, 1, 0, 0]);
    }

    /// Numbers by class change with the class alone.
    #[test]
    fn what_says_the_same_writes_one_row() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let endpoint = EndpointId::new(Uuid::from_u128(1));
        begin(&conn, endpoint, &Namespace::default_namespace()).expect("it is written");
        observed(endpoint, 7).flush(&conn).expect("it is written");
        let before = conn.total_changes();
        observed(endpoint, 7).flush(&conn).expect("it is written");
        assert_eq!(conn.total_changes() - before, 1);
        observed(EndpointId::new(Uuid::from_u128(2)), 7).flush(&conn).expect("nothing is written");
        assert_eq!(conn.total_changes() - before, 1, "it is not configured");
    }
}
