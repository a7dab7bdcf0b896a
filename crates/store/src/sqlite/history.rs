//! Which attempts a subscription had, by time.
//!
//! Neighbours in time belong to many subscriptions, so that putting each attempt into its place at once would write a page per attempt.
//! They gather in a table that only grows at its end, and some thousands at a time go to their places together. Reads look at both.

use super::columns::ATTEMPT_COLUMNS;
use super::rows::{all, attempt_row, state_kind};
use super::session::{Memory, Session};
use postrider_core::attempt::Attempt;
use postrider_core::id::{DeliveryId, SubscriptionId};
use postrider_core::ports::AttemptView;
use rusqlite::{CachedStatement, Connection, Result, Row, params};
use std::cmp::Reverse;

/// How many attempts gather before they go to their places: a few milliseconds' work, and quick enough to look through when reading.
const GATHERED: i64 = 4_096;

/// The statement for [`note`].
pub(super) fn note_insert(conn: &Connection) -> Result<CachedStatement<'_>> {
    conn.prepare_cached("INSERT INTO attempts_new (subscription, started_at, delivery, number) VALUES (?1, ?2, ?3, ?4)")
}

/// Notes an attempt that was stored for this delivery.
pub(super) fn note(insert: &mut CachedStatement<'_>, memory: &mut Memory, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
    insert.execute(params![attempt.subscription.bytes(), attempt.started_at.as_micros(), delivery.bytes(), attempt.number])?;
    memory.attempts_new += 1;
    Ok(())
}

/// Puts what has gathered into its places, if it is enough.
pub(super) fn sort_in_if_many(s: &mut Session) -> Result<()> {
    if s.memory.attempts_new < GATHERED { Ok(()) } else { sort_in(s) }
}

/// Puts what has gathered into its places.
pub(super) fn sort_in(s: &mut Session) -> Result<()> {
    if s.memory.attempts_new == 0 {
        return Ok(());
    }
    let sql = "INSERT OR IGNORE INTO attempts_recent (subscription, started_at, delivery, number) \
               SELECT subscription, started_at, delivery, number FROM attempts_new ORDER BY subscription, started_at, delivery, number";
    s.conn.prepare_cached(sql)?.execute([])?;
    s.conn.prepare_cached("DELETE FROM attempts_new")?.execute([])?;
    s.memory.attempts_new = 0;
    Ok(())
}

/// How many have gathered.
pub(super) fn gathered(conn: &Connection) -> Result<i64> {
    conn.query_row("SELECT count(*) FROM attempts_new", [], |row| row.get(0))
}

/// Removes attempts of a delivery: one, or all of them. What has gathered must have been sorted in before. Answers how many there were.
pub(super) fn forget(conn: &Connection, delivery: [u8; 16], number: Option<u32>) -> Result<u64> {
    let key = |row: &Row<'_>| Ok((row.get::<_, [u8; 16]>(0)?, row.get::<_, i64>(1)?, row.get::<_, u32>(2)?));
    let gone = match number {
        Some(number) => {
            conn.prepare_cached("DELETE FROM attempt_bodies WHERE delivery = ?1 AND number = ?2")?.execute(params![delivery, number])?;
            let sql = "DELETE FROM attempts WHERE delivery = ?1 AND number = ?2 RETURNING subscription, started_at, number";
            all(conn, sql, &[&delivery, &number], key)?
        }
        None => {
            conn.prepare_cached("DELETE FROM attempt_bodies WHERE delivery = ?1")?.execute(params![delivery])?;
            all(conn, "DELETE FROM attempts WHERE delivery = ?1 RETURNING subscription, started_at, number", &[&delivery], key)?
        }
    };
    let mut delete =
        conn.prepare_cached("DELETE FROM attempts_recent WHERE subscription = ?1 AND started_at = ?2 AND delivery = ?3 AND number = ?4")?;
    for (subscription, started_at, number) in &gone {
        delete.execute(params![subscription, started_at, delivery, number])?;
    }
    Ok(gone.len() as u64)
}

/// Attempts of a subscription, newest first.
pub(super) fn newest(conn: &Connection, of: SubscriptionId, limit: u32) -> Result<Vec<AttemptView>> {
    macro_rules! select {
        ($table:literal) => {
            concat!(
                "SELECT ",
                attempt_columns!(),
                ", d.state FROM ",
                $table,
                " r CROSS JOIN attempts a ON a.delivery = r.delivery AND a.number = r.number CROSS JOIN deliveries d ON d.id = r.delivery",
                attempt_body!(),
                "WHERE r.subscription = ?1 ORDER BY r.started_at DESC, a.id DESC LIMIT ?2"
            )
        };
    }
    let read = |row: &Row<'_>| Ok(AttemptView { attempt: attempt_row(row)?, state: state_kind(row, ATTEMPT_COLUMNS)? });
    let mut newest = all(conn, select!("attempts_new"), &[&of.bytes(), &limit], read)?;
    newest.extend(all(conn, select!("attempts_recent"), &[&of.bytes(), &limit], read)?);
    newest.sort_by_key(|view| Reverse((view.attempt.started_at, view.attempt.id)));
    newest.truncate(limit as usize);
    Ok(newest)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conformance::{Fixtures, Route};
    use postrider_core::time::Timestamp;
    use std::time::Duration;

    /// An attempt with its delivery, as settling leaves them but for what nobody looks at here.
    fn store(s: &mut Session, make: &mut Fixtures, route: Route, at: Timestamp) -> Attempt {
        let event = make.event_for(&[route]);
        super::super::publish::publish(s, std::slice::from_ref(&event)).expect("publishes");
        let attempt = Attempt {
            id: postrider_core::id::AttemptId::new(make.uuid()),
            delivery: event.deliveries[0].id,
            subscription: route.subscription,
            endpoint: route.endpoint,
            number: 1,
            target_url: "".into(),
            started_at: at,
            outcome: None,
        };
        let sql = "INSERT INTO attempts (delivery, number, id, subscription, endpoint, target_url, started_at, request_truncated, \
                   response_truncated) VALUES (?1, 1, ?2, ?3, ?4, '', ?5, 0, 0)";
        let key = params![attempt.delivery.bytes(), attempt.id.bytes(), route.subscription.bytes(), route.endpoint.bytes(), at.as_micros()];
        s.conn.execute(sql, key).expect("inserts");
        let Session { conn, memory, .. } = s;
        note(&mut note_insert(conn).expect("a statement"), memory, attempt.delivery, &attempt).expect("notes");
        attempt
    }

    #[test]
    fn lists_are_the_same_before_and_after_sorting_in() {
        let dir = tempfile::tempdir().expect("a directory");
        let file = dir.path().join("postrider.db");
        let conn = super::super::files::open_database(&file).expect("a database");
        let (mut s, mut make) = (Session::start(&file, conn, None).expect("a session"), Fixtures::new(1));
        let (one, two) = (make.route(), make.route());
        let start = make.now();
        // Out of order, and some of one instant.
        let mut expected: Vec<Attempt> =
            [5, 1, 3, 3, 9].map(|n| store(&mut s, &mut make, one, start.after(Duration::from_secs(n)))).into_iter().collect();
        store(&mut s, &mut make, two, start);
        expected.sort_by_key(|attempt| Reverse((attempt.started_at, attempt.id)));
        let listed = |s: &Session, limit| -> Vec<Attempt> {
            newest(&s.conn, one.subscription, limit).expect("a list").into_iter().map(|view| view.attempt).collect()
        };
        assert_eq!(listed(&s, 10), expected);
        sort_in(&mut s).expect("sorts in");
        assert_eq!((gathered(&s.conn).expect("a count"), s.memory.attempts_new), (0, 0));
        assert_eq!(listed(&s, 10), expected);
        // Half here, half there.
        expected.insert(4, store(&mut s, &mut make, one, start.after(Duration::from_secs(2))));
        assert_eq!(listed(&s, 10), expected);
        assert_eq!(listed(&s, 4), expected[..4]);
        sort_in(&mut s).expect("sorts in");
        let gone = expected.remove(1);
        assert_eq!(forget(&s.conn, gone.delivery.bytes(), Some(1)).expect("forgets"), 1);
        assert_eq!(forget(&s.conn, expected.remove(0).delivery.bytes(), None).expect("forgets"), 1);
        assert_eq!(listed(&s, 10), expected);
        let left: i64 = s.conn.query_row("SELECT count(*) FROM attempts_recent", [], |row| row.get(0)).expect("a count");
        assert_eq!(left, 5, "four of one subscription, one of the other");
    }
}
