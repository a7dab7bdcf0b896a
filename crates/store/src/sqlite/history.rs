//! Notes of attempts that ended, in the order in which they began.
//!
//! Neighbours in time belong to many subscriptions, so that putting each note into its places at once would write two pages per attempt.
//! They gather in a table that only grows at its end, and some thousands at a time go to their places together (see `sorting.rs`). Reads look at all.

use super::rows::{all, one};
use super::session::Memory;
use super::tallies::{Kind, TallyDeltas, Under, outcome_text};
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::event::Namespace;
use postrider_core::id::DeliveryId;
use rusqlite::{CachedStatement, Connection, Result, Row, params};

/// The statement for [`note`].
pub(super) fn note_insert(conn: &Connection) -> Result<CachedStatement<'_>> {
    conn.prepare_cached(
        "INSERT INTO attempts_new (namespace, subscription, endpoint, outcome, id, delivery, number, started_at) \
         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
    )
}

/// Notes an attempt of this delivery that ended.
pub(super) fn note(
    insert: &mut CachedStatement<'_>,
    memory: &mut Memory,
    (namespace, delivery): (&Namespace, DeliveryId),
    attempt: &Attempt,
    outcome: &Outcome,
) -> Result<()> {
    insert.execute(params![
        namespace.as_str(),
        attempt.subscription.bytes(),
        attempt.endpoint.bytes(),
        outcome_text(outcome.error.as_ref().map(|error| error.code)),
        attempt.id.bytes(),
        delivery.bytes(),
        attempt.number,
        attempt.started_at.as_micros(),
    ])?;
    memory.attempts_new += 1;
    Ok(())
}

/// How many have gathered.
pub(super) fn gathered(conn: &Connection) -> Result<i64> {
    conn.query_row("SELECT count(*) FROM attempts_new", [], |row| row.get(0))
}

/// Removes attempts of a delivery, one or all of them, with their notes. Notes that have not been sorted in yet stay: who removes more than
/// a few sorts them in first. Answers how many attempts there were.
pub(super) fn forget(conn: &Connection, deltas: &mut TallyDeltas, delivery: [u8; 16], number: Option<u32>) -> Result<u64> {
    macro_rules! delete {
        ($which:literal) => {
            concat!(
                "DELETE FROM attempts WHERE ",
                $which,
                " RETURNING namespace, subscription, endpoint, coalesce(error_code, ''), id, number, finished_at IS NOT NULL"
            )
        };
    }
    let gone = match number {
        Some(number) => {
            conn.prepare_cached("DELETE FROM attempt_bodies WHERE delivery = ?1 AND number = ?2")?.execute(params![delivery, number])?;
            all(conn, delete!("delivery = ?1 AND number = ?2"), &[&delivery, &number], forgotten)?
        }
        None => {
            conn.prepare_cached("DELETE FROM attempt_bodies WHERE delivery = ?1")?.execute(params![delivery])?;
            all(conn, delete!("delivery = ?1"), &[&delivery], forgotten)?
        }
    };
    let count = gone.len() as u64;
    for attempt in gone.into_iter().filter(|attempt| attempt.has_ended) {
        forget_note(conn, deltas, delivery, attempt)?;
    }
    Ok(count)
}

/// An attempt whose row was removed.
struct Forgotten {
    under: Under,
    id: [u8; 16],
    number: u32,
    has_ended: bool,
}

fn forgotten(row: &Row<'_>) -> Result<Forgotten> {
    Ok(Forgotten { under: Under::read(row, Kind::Attempts)?, id: row.get(4)?, number: row.get(5)?, has_ended: row.get(6)? })
}

fn forget_note(conn: &Connection, deltas: &mut TallyDeltas, delivery: [u8; 16], attempt: Forgotten) -> Result<()> {
    let Forgotten { under, id, number, .. } = attempt;
    let outcome = outcome_text(under.code);
    let sql = "DELETE FROM attempts_by_subscription \
               WHERE subscription = ?1 AND endpoint = ?2 AND outcome = ?3 AND id = ?4 AND delivery = ?5 AND number = ?6";
    let key = params![under.subscription.bytes(), under.endpoint.bytes(), outcome, id, delivery, number];
    let found = conn.prepare_cached(sql)?.execute(key)?;
    let sql = "DELETE FROM attempts_by_namespace WHERE namespace = ?1 AND outcome = ?2 AND id = ?3 AND delivery = ?4 AND number = ?5";
    conn.prepare_cached(sql)?.execute(params![under.namespace.as_str(), outcome, id, delivery, number])?;
    let sql = "DELETE FROM attempts_by_outcome WHERE outcome = ?1 AND id = ?2 AND delivery = ?3 AND number = ?4";
    conn.prepare_cached(sql)?.execute(params![outcome, id, delivery, number])?;
    // One that has not been sorted in was not counted either.
    if found == 1 {
        deltas.add(under, -1);
    }
    Ok(())
}

/// A part of the history in which retention has something to do: of the attempts from this id on.
pub(super) struct Stretch {
    /// The subscription and the endpoint, or the namespace.
    of: Of,
    outcome: String,
    from: [u8; 16],
}

enum Of {
    Subscription([u8; 16], [u8; 16]),
    Namespace(String),
}

/// The part of the history that has the oldest attempt whose row is not kept, if its id is less than this.
pub(super) fn next_that_goes(conn: &Connection, below: &[u8; 16]) -> Result<Option<Stretch>> {
    let sql = "SELECT subscription, endpoint, code, goes_from FROM tallies_by_subscription INDEXED BY tallies_that_go \
               WHERE goes_from IS NOT NULL AND goes_from < ?1 ORDER BY goes_from LIMIT 1";
    one(conn, sql, &[below], |row| Ok(Stretch { of: Of::Subscription(row.get(0)?, row.get(1)?), outcome: row.get(2)?, from: row.get(3)? }))
}

/// The part of the history that has the oldest attempt with bodies, if its id is less than this.
pub(super) fn next_with_bodies(conn: &Connection, below: &[u8; 16]) -> Result<Option<Stretch>> {
    let sql = "SELECT namespace, code, bodies_from FROM tallies_by_namespace INDEXED BY tallies_with_bodies \
               WHERE bodies_from IS NOT NULL AND bodies_from < ?1 ORDER BY bodies_from LIMIT 1";
    one(conn, sql, &[below], |row| Ok(Stretch { of: Of::Namespace(row.get(0)?), outcome: row.get(1)?, from: row.get(2)? }))
}

/// The attempts of a part that have lesser ids than `below`, `limit` of them at most; the part begins behind them from now on, so that nothing is
/// looked at twice. What is noted late with a lesser id takes it back there.
pub(super) fn take(conn: &Connection, part: &Stretch, below: &[u8; 16], limit: i64) -> Result<Vec<([u8; 16], u32)>> {
    let Stretch { of, outcome, from } = part;
    let read = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, (row.get::<_, [u8; 16]>(1)?, row.get::<_, u32>(2)?)));
    let found = match of {
        Of::Subscription(subscription, endpoint) => {
            let sql = "SELECT id, delivery, number FROM attempts_by_subscription \
                       WHERE subscription = ?1 AND endpoint = ?2 AND outcome = ?3 AND id >= ?4 AND id < ?5 ORDER BY id LIMIT ?6";
            all(conn, sql, &[subscription, endpoint, outcome, from, below, &limit], read)?
        }
        Of::Namespace(namespace) => {
            let sql = "SELECT id, delivery, number FROM attempts_by_namespace \
                       WHERE namespace = ?1 AND outcome = ?2 AND id >= ?3 AND id < ?4 ORDER BY id LIMIT ?5";
            all(conn, sql, &[namespace, outcome, from, below, &limit], read)?
        }
    };
    // Where nothing was found the part began too early: its first ones have gone with their deliveries.
    let behind = found.last().map_or(*from, |(id, _)| u128::from_be_bytes(*id).saturating_add(1).to_be_bytes());
    match of {
        Of::Subscription(subscription, endpoint) => {
            let sql = "UPDATE tallies_by_subscription SET goes_from = (SELECT id FROM attempts_by_subscription \
                       WHERE subscription = ?1 AND endpoint = ?2 AND outcome = ?3 AND id >= ?4 ORDER BY id LIMIT 1) \
                       WHERE kind = 0 AND subscription = ?1 AND endpoint = ?2 AND code = ?3";
            conn.prepare_cached(sql)?.execute(params![subscription, endpoint, outcome, behind])?;
        }
        Of::Namespace(namespace) => {
            let sql = "UPDATE tallies_by_namespace SET bodies_from = (SELECT id FROM attempts_by_namespace \
                       WHERE namespace = ?1 AND outcome = ?2 AND id >= ?3 ORDER BY id LIMIT 1) \
                       WHERE kind = 0 AND namespace = ?1 AND code = ?2";
            conn.prepare_cached(sql)?.execute(params![namespace, outcome, behind])?;
        }
    }
    Ok(found.into_iter().map(|(_, key)| key).collect())
}

/// Removes the bodies of an attempt; answers whether it had them still.
pub(super) fn strip(conn: &Connection, delivery: [u8; 16], number: u32) -> Result<bool> {
    conn.prepare_cached("DELETE FROM attempt_bodies WHERE delivery = ?1 AND number = ?2")?.execute(params![delivery, number])?;
    let sql = "UPDATE attempts SET request = NULL, response = NULL, response_head = NULL, stripped = 1 \
               WHERE delivery = ?1 AND number = ?2 AND stripped = 0";
    Ok(conn.prepare_cached(sql)?.execute(params![delivery, number])? == 1)
}

#[cfg(test)]
mod tests {
    use super::super::attempts;
    use super::super::session::Session;
    use super::super::sorting::sort_in;
    use super::*;
    use crate::conformance::{Fixtures, Route};
    use postrider_core::id::AttemptId;
    use std::cmp::Reverse;

    /// A settled attempt of a delivery of its own, as settling leaves it but for what nobody looks at here.
    fn store(s: &mut Session, make: &mut Fixtures, route: Route, id: AttemptId) -> Attempt {
        let event = make.event_for(&[route]);
        super::super::publish::publish(s, std::slice::from_ref(&event)).expect("publishes");
        let outcome = make.success();
        let attempt = Attempt {
            id,
            delivery: event.deliveries[0].id,
            subscription: route.subscription,
            endpoint: route.endpoint,
            number: 1,
            target_url: "".into(),
            started_at: make.now(),
            outcome: Some(outcome.clone()),
        };
        let sql = "INSERT INTO attempts (delivery, number, id, namespace, subscription, endpoint, target_url, started_at, finished_at, \
                   http_status, tcp_us, first_byte_us, total_us, request_truncated, response_truncated, response, response_head) \
                   VALUES (?1, 1, ?2, ?3, ?4, ?5, '', ?6, ?6, 200, 80, 400, 500, 0, 0, ?7, ?8)";
        let (of, to) = (route.subscription.bytes(), route.endpoint.bytes());
        let at = attempt.started_at.as_micros();
        let head = outcome.response_headers.as_ref().map(|head| head.as_str().as_bytes());
        let key = params![attempt.delivery.bytes(), id.bytes(), event.namespace.as_str(), of, to, at, &outcome.response_body[..], head];
        s.conn.execute(sql, key).expect("inserts");
        let Session { conn, memory, .. } = s;
        let mut insert = note_insert(conn).expect("a statement");
        note(&mut insert, memory, (&event.namespace, attempt.delivery), &attempt, &outcome).expect("notes");
        attempt
    }

    #[test]
    fn lists_are_the_same_before_and_after_sorting_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("postrider.db");
        let conn = super::super::files::open_database(&file).expect("a database");
        let (mut s, mut make) = (Session::start(&file, conn, Default::default()).expect("a session"), Fixtures::new(1));
        let (one, two) = (make.route(), make.route());
        // They end in another order than they began in.
        let ids: Vec<AttemptId> = (0..6).map(|_| AttemptId::new(make.uuid())).collect();
        let mut expected: Vec<Attempt> = [5, 1, 3, 4, 0].map(|n| store(&mut s, &mut make, one, ids[n])).into();
        let other = AttemptId::new(make.uuid());
        store(&mut s, &mut make, two, other);
        expected.sort_by_key(|attempt| Reverse(attempt.id));
        let listed = |s: &Session, limit| -> Vec<Attempt> {
            attempts::newest(&s.conn, one.subscription, limit).expect("a list").into_iter().map(|view| view.attempt).collect()
        };
        assert_eq!(listed(&s, 10), expected);
        sort_in(&mut s).expect("sorts in");
        assert_eq!((gathered(&s.conn).expect("a count"), s.memory.attempts_new), (0, 0));
        assert_eq!(listed(&s, 10), expected);
        // Half here, half there.
        expected.insert(3, store(&mut s, &mut make, one, ids[2]));
        assert_eq!(listed(&s, 10), expected);
        assert_eq!(listed(&s, 4), expected[..4]);
        sort_in(&mut s).expect("sorts in");
        for which in [Some(1), None] {
            let gone = expected.remove(1).delivery.bytes();
            assert_eq!(forget(&s.conn, &mut s.deltas.tallies, gone, which).expect("forgets"), 1);
        }
        s.deltas.flush(&s.conn).expect("flushes");
        assert_eq!(listed(&s, 10), expected);
        let count = |sql: &str| s.conn.query_row(sql, [], |row| row.get::<_, i64>(0)).expect("a count");
        assert_eq!(count("SELECT count(*) FROM attempts_by_subscription"), 5, "four of one subscription, one of the other");
        assert_eq!(count("SELECT count(*) FROM attempts_by_namespace"), 5);
        assert_eq!(count("SELECT count(*) FROM attempts_by_outcome"), 5);
        assert_eq!(count("SELECT sum(n) FROM tallies_by_namespace WHERE kind = 0"), 5);
        assert_eq!(count("SELECT sum(n) FROM tallies_by_subscription WHERE kind = 0"), 5);
    }

    #[test]
    fn what_lost_its_bodies_is_not_looked_at_again() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("postrider.db");
        let conn = super::super::files::open_database(&file).expect("a database");
        let (mut s, mut make) = (Session::start(&file, conn, Default::default()).expect("a session"), Fixtures::new(1));
        let route = make.route();
        let ids: Vec<AttemptId> = (0..6).map(|_| AttemptId::new(make.uuid())).collect();
        // The first one is noted last.
        ids[1..].iter().for_each(|id| drop(store(&mut s, &mut make, route, *id)));
        sort_in(&mut s).expect("sorts in");
        // How many were looked at and had bodies.
        let strip_some = |s: &Session, below: AttemptId, limit| {
            let part = next_with_bodies(&s.conn, &below.bytes()).expect("an answer")?;
            let found = take(&s.conn, &part, &below.bytes(), limit).expect("takes");
            let stripped = found.iter().filter(|(delivery, number)| strip(&s.conn, *delivery, *number).expect("strips"));
            let stripped = stripped.count();
            Some((found.len(), stripped))
        };
        assert_eq!(strip_some(&s, ids[5], 3), Some((3, 3)));
        assert_eq!(strip_some(&s, ids[5], 3), Some((1, 1)));
        assert_eq!(strip_some(&s, ids[5], 3), None, "it knows that it is through");
        store(&mut s, &mut make, route, ids[0]);
        sort_in(&mut s).expect("sorts in");
        assert_eq!(strip_some(&s, ids[5], 1), Some((1, 1)), "what came late is found");
        assert_eq!(strip_some(&s, ids[5], 10), Some((4, 0)));
        assert_eq!(strip_some(&s, ids[5], 10), None);
        let after = AttemptId::new(make.uuid());
        assert_eq!(strip_some(&s, after, 10), Some((1, 1)));
        assert_eq!(strip_some(&s, after, 10), None, "a later bound alone brings no part back");
    }
}
