//! Where the deliveries of a subscription are, in order of their ids.
//!
//! Neighbours in time belong to many subscriptions, so that putting each delivery into its place when it is stored would write a page of its
//! own per delivery. But ids ascend with time: all with lesser ids than a mark are in their places, some thousands at a time get there
//! together (before the commit of a group, in order, as notes of attempts do: see `sorting.rs`), and reads look through those behind the mark.
//! One that comes late, with an id before the mark, is put into its place at once. How a delivery goes on changes nothing of this.

use super::bulk;
use super::rows::{all, count, one};
use super::session::{Memory, Session};
use postrider_core::id::{DeliveryId, EndpointId, SubscriptionId};
use postrider_core::ports::NewDelivery;
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, params};

/// Subscription, endpoint, id and when it was made, in microseconds.
type Place = ([u8; 16], [u8; 16], [u8; 16], i64);

/// How far deliveries are in their places.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sorted {
    /// Those with lesser ids are.
    pub(super) below: [u8; 16],
    /// How many others there are, or were before retention took some.
    gathered: u64,
}

impl Sorted {
    /// As it is in the database.
    pub(super) fn read(conn: &Connection) -> Result<Self> {
        let below = mark(conn)?;
        Ok(Sorted { below, gathered: behind(conn, &below)? })
    }
}

/// The id from which on deliveries are not in their places.
pub(super) fn mark(conn: &Connection) -> Result<[u8; 16]> {
    conn.prepare_cached("SELECT below FROM deliveries_sorted")?.query_row([], |row| row.get(0))
}

fn behind(conn: &Connection, below: &[u8; 16]) -> Result<u64> {
    conn.prepare_cached("SELECT count(*) FROM deliveries WHERE id >= ?1")?.query_row([below], |row| count(row, 0))
}

/// A delivery was stored.
pub(super) fn came(conn: &Connection, memory: &mut Memory, new: &NewDelivery, created_at: Timestamp) -> Result<()> {
    if new.id.bytes() >= memory.sorted.below {
        memory.sorted.gathered += 1;
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO deliveries_by_subscription (subscription, endpoint, delivery, created_at) VALUES (?1, ?2, ?3, ?4)";
    let place = params![new.subscription.bytes(), new.endpoint.bytes(), new.id.bytes(), created_at.as_micros()];
    conn.prepare_cached(sql)?.execute(place).map(drop)
}

/// Puts what has gathered into its places, if it is enough, but for the newest: others that were made at the same time may still come. For
/// before the commit of a group, which takes longer itself the more it has stored.
pub(super) fn sort_in_if_many(s: &mut Session) -> Result<()> {
    let gather = u64::from(s.steps().gather);
    if s.memory.sorted.gathered < gather {
        return Ok(());
    }
    let (from, keep) = (s.memory.sorted.below, (gather / 4).max(1));
    let sql = "SELECT id FROM deliveries WHERE id >= ?1 ORDER BY id DESC LIMIT 1 OFFSET ?2";
    let to: Option<[u8; 16]> = one(&s.conn, sql, &[&from, &((keep - 1) as i64)], |row| row.get(0))?;
    let Some(to) = to else {
        // Retention was faster.
        s.memory.sorted.gathered = behind(&s.conn, &from)?;
        return Ok(());
    };
    let sql = "SELECT subscription, endpoint, id, created_at FROM deliveries WHERE id >= ?1 AND id < ?2";
    let mut rows: Vec<Place> = all(&s.conn, sql, &[&from, &to], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?)))?;
    rows.sort_unstable();
    let columns = "deliveries_by_subscription (subscription, endpoint, delivery, created_at)";
    bulk::insert(&s.conn, columns, &rows, |(subscription, endpoint, id, created_at)| [subscription, endpoint, id, created_at])?;
    s.conn.prepare_cached("UPDATE deliveries_sorted SET below = ?1")?.execute([to])?;
    s.memory.sorted = Sorted { below: to, gathered: keep };
    Ok(())
}

/// A delivery was removed: its place goes with it, if it is in one.
pub(super) fn forget(s: &Session, subscription: SubscriptionId, endpoint: EndpointId, delivery: DeliveryId) -> Result<()> {
    if delivery.bytes() >= s.memory.sorted.below {
        return Ok(());
    }
    let sql = "DELETE FROM deliveries_by_subscription WHERE subscription = ?1 AND endpoint = ?2 AND delivery = ?3";
    s.conn.prepare_cached(sql)?.execute([subscription.bytes(), endpoint.bytes(), delivery.bytes()]).map(drop)
}

#[cfg(test)]
mod tests {
    use super::super::options::Steps;
    use super::super::session::Bounds;
    use super::super::{files, publish};
    use super::*;
    use crate::conformance::Fixtures;
    use postrider_core::ports::NewEvent;

    fn session(directory: &std::path::Path) -> Session {
        let file = directory.join("postrider.db");
        let conn = files::open_database(&file).expect("a database");
        let bounds = Bounds { steps: Steps { gather: 8, ..Steps::default() }, ..Bounds::default() };
        Session::start(&file, conn, bounds).expect("a session")
    }

    fn publish(s: &mut Session, events: &[NewEvent]) {
        s.begin().expect("begins");
        publish::publish(s, events).expect("publishes");
        s.commit().expect("commits");
    }

    fn places(s: &Session) -> Vec<[u8; 16]> {
        let sql = "SELECT delivery FROM deliveries_by_subscription ORDER BY delivery";
        super::super::rows::all(&s.conn, sql, &[], |row| row.get(0)).expect("places")
    }

    fn ids(events: &[NewEvent]) -> Vec<[u8; 16]> {
        events.iter().flat_map(|event| &event.deliveries).map(|delivery| delivery.id.bytes()).collect()
    }

    #[test]
    fn many_go_to_their_places_together_and_late_ones_by_themselves() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut make = Fixtures::new(1);
        let late: Vec<NewEvent> = vec![make.event(1)];
        let events: Vec<NewEvent> = (0..8).map(|_| make.event(1)).collect();
        let mut s = session(dir.path());
        publish(&mut s, &events[..7]);
        assert!(places(&s).is_empty(), "too few for a journey");
        publish(&mut s, &events[7..]);
        assert_eq!(places(&s), ids(&events[..6]), "but for the newest");
        publish(&mut s, &late);
        let expected: Vec<[u8; 16]> = [ids(&late), ids(&events[..6])].concat();
        assert_eq!(places(&s), expected);
        let Sorted { below, gathered } = s.memory.sorted;
        assert_eq!((below, gathered), (ids(&events)[6], 2));
        drop(s);
        let s = session(dir.path());
        assert_eq!((s.memory.sorted.below, s.memory.sorted.gathered), (below, gathered), "it is known after a restart");
    }

    #[test]
    fn what_retention_took_is_not_waited_for() {
        let dir = tempfile::tempdir().expect("a directory");
        let (mut s, mut make) = (session(dir.path()), Fixtures::new(1));
        let events: Vec<NewEvent> = (0..7).map(|_| make.event(1)).collect();
        publish(&mut s, &events);
        s.conn.execute("DELETE FROM deliveries", []).expect("they go");
        publish(&mut s, &[make.event(1)]);
        assert_eq!((s.memory.sorted.below, s.memory.sorted.gathered), ([0; 16], 1));
    }
}
