//! Numbers over time, and what is late.
//!
//! A flush of the engine changes a row of each step for everything and for each namespace in which something happened: they are read, added to and
//! written in the group in which they come.

use super::rows::{all, id, namespace, one, time};
use super::session::Session;
use super::{SqliteStore, Urgency, weight_of_up_to};
use postrider_core::event::Namespace;
use postrider_core::id::EndpointId;
use postrider_core::ports::{BoxFuture, Late, SeriesDelta, SeriesKey, SeriesStore, StoreError};
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use std::collections::BTreeMap;

/// Stands for everything: no namespace has an empty name.
const EVERYTHING: &str = "";

const AGED: &str =
    "SELECT step, namespace, began_at FROM series INDEXED BY series_by_age WHERE keep_until <= ?1 ORDER BY keep_until LIMIT ?2";

impl SeriesStore for SqliteStore {
    fn add_series(&self, deltas: Vec<SeriesDelta>) -> BoxFuture<'_, std::result::Result<(), StoreError>> {
        let sums = SeriesDelta::spread(&deltas);
        Box::pin(self.write(sums.len(), Urgency::Patient, move |s| add(&s.conn, &sums)))
    }

    fn series(
        &self,
        namespace: Option<Namespace>,
        step: Step,
        from: Timestamp,
        before: Timestamp,
    ) -> BoxFuture<'_, std::result::Result<Vec<(Timestamp, Numbers)>, StoreError>> {
        Box::pin(self.readers.read(move |conn| read(conn, namespace.as_ref(), step, from, before)))
    }

    fn forget_series(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, std::result::Result<u64, StoreError>> {
        Box::pin(self.write(weight_of_up_to(limit), Urgency::Patient, move |s| forget(&s.conn, now, limit)))
    }

    fn note_late(&self, late: Vec<Late>) -> BoxFuture<'_, std::result::Result<(), StoreError>> {
        Box::pin(self.write(1 + late.len(), Urgency::Patient, move |s| note(s, &late)))
    }

    fn most_late(&self, namespace: Option<Namespace>) -> BoxFuture<'_, std::result::Result<Option<Late>, StoreError>> {
        let incarnation = self.incarnation;
        Box::pin(self.readers.read(move |conn| most_late(conn, incarnation, namespace.as_ref())))
    }
}

/// How a namespace, or everything, is written down.
fn name(of: Option<&Namespace>) -> &str {
    of.map_or(EVERYTHING, Namespace::as_str)
}

/// Numbers that nobody can read count for nothing: they must not keep others from being stored or shown.
fn numbers(row: &Row<'_>, column: usize) -> Result<Numbers> {
    let found = Numbers::decode(row.get_ref(column)?.as_blob()?);
    Ok(found.unwrap_or_else(|| {
        tracing::error!("the numbers of a step of time cannot be read, and are taken for none");
        Numbers::default()
    }))
}

fn add(conn: &Connection, sums: &BTreeMap<SeriesKey, Numbers>) -> Result<()> {
    let select = "SELECT numbers FROM series WHERE step = ?1 AND namespace = ?2 AND began_at = ?3";
    let put = "INSERT INTO series (step, namespace, began_at, keep_until, numbers) VALUES (?1, ?2, ?3, ?4, ?5) \
               ON CONFLICT (step, namespace, began_at) DO UPDATE SET numbers = excluded.numbers";
    for ((step, namespace, begin), sum) in sums {
        let (number, name, began_at) = (*step as u8, name(namespace.as_ref()), begin.as_micros());
        let kept = one(conn, select, params![number, name, began_at], |row| numbers(row, 0))?;
        let bytes = match kept {
            Some(mut kept) => {
                kept.add(sum);
                kept.encode()
            }
            None => sum.encode(),
        };
        let keep_until = begin.after(step.kept()).as_micros();
        conn.prepare_cached(put)?.execute(params![number, name, began_at, keep_until, bytes])?;
    }
    Ok(())
}

fn read(
    conn: &Connection,
    namespace: Option<&Namespace>,
    step: Step,
    from: Timestamp,
    before: Timestamp,
) -> Result<Vec<(Timestamp, Numbers)>> {
    let sql =
        "SELECT began_at, numbers FROM series WHERE step = ?1 AND namespace = ?2 AND began_at >= ?3 AND began_at < ?4 ORDER BY began_at";
    let of: [&dyn rusqlite::ToSql; 4] = [&(step as u8), &name(namespace), &from.as_micros(), &before.as_micros()];
    all(conn, sql, &of, |row| Ok((time(row, 0)?, numbers(row, 1)?)))
}

fn forget(conn: &Connection, now: Timestamp, limit: u32) -> Result<u64> {
    let found =
        all(conn, AGED, &[&now.as_micros(), &limit], |row| Ok((row.get::<_, u8>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?)))?;
    let mut delete = conn.prepare_cached("DELETE FROM series WHERE step = ?1 AND namespace = ?2 AND began_at = ?3")?;
    for (step, namespace, began_at) in &found {
        delete.execute(params![step, namespace, began_at])?;
    }
    Ok(found.len() as u64)
}

/// Also in place of what engines before this one have noted.
fn note(s: &Session, late: &[Late]) -> Result<()> {
    s.conn.prepare_cached("DELETE FROM late")?.execute([])?;
    let mut insert =
        s.conn.prepare_cached("INSERT OR REPLACE INTO late (namespace, endpoint, due_at, incarnation) VALUES (?1, ?2, ?3, ?4)")?;
    for Late { namespace, endpoint, due_at } in late {
        insert.execute(params![namespace.as_str(), endpoint.bytes(), due_at.as_micros(), s.incarnation])?;
    }
    Ok(())
}

/// There are few of them.
fn most_late(conn: &Connection, incarnation: i64, of: Option<&Namespace>) -> Result<Option<Late>> {
    let sql = "SELECT namespace, endpoint, due_at FROM late WHERE incarnation = ?1 AND (?2 = '' OR namespace = ?2) ORDER BY due_at LIMIT 1";
    one(conn, sql, &[&incarnation, &name(of)], |row| {
        Ok(Late { namespace: namespace(row, 0)?, endpoint: id(row, 1, EndpointId::new)?, due_at: time(row, 2)? })
    })
}

/// Statements that must not walk over more than they answer.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 1] = [AGED];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nobody_can_read_count_for_nothing() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        let at = Timestamp::from_secs(1_700_000_000);
        let delta = SeriesDelta { namespace: None, at, numbers: Numbers { events: 3, ..Numbers::default() } };
        let sums = SeriesDelta::spread(&[delta]);
        add(&conn, &sums).expect("it is written");
        conn.execute("UPDATE series SET numbers = x'ff' WHERE step = 0", []).expect("a row");
        let events = |step| {
            let found = read(&conn, None, step, Timestamp::MIN, Timestamp::MAX).expect("a read");
            found.into_iter().map(|(_, numbers)| numbers.events).collect::<Vec<_>>()
        };
        assert_eq!(Step::ALL.map(events), [vec![0], vec![3], vec![3]]);
        add(&conn, &sums).expect("it is written");
        assert_eq!(Step::ALL.map(events), [vec![3], vec![6], vec![6]]);
    }
}
