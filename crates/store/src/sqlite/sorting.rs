//! Gathered notes of attempts go to their places (see `history.rs`), and are counted there.
//!
//! They are put in order here and not by SQLite, which would read and sort them once for each place and once more for each sum.

use super::bulk;
use super::session::Session;
use super::tallies;
use rusqlite::{Connection, Result, Row};
use std::collections::BTreeSet;
use std::rc::Rc;

/// How many notes gather before they go to their places: some milliseconds' work, and quick enough to look through when reading.
const GATHERED: i64 = 4_096;

/// Puts what has gathered into its places, if it is enough.
pub(super) fn sort_in_if_many(s: &mut Session) -> Result<()> {
    if s.memory.attempts_new < GATHERED { Ok(()) } else { sort_in(s) }
}

/// Puts what has gathered into its places.
pub(super) fn sort_in(s: &mut Session) -> Result<()> {
    if s.memory.attempts_new == 0 {
        return Ok(());
    }
    let mut notes = read(&s.conn)?;
    notes.sort_unstable_by(|a, b| (a.by_subscription(), a.id).cmp(&(b.by_subscription(), b.id)));
    by_subscription(&s.conn, &notes)?;
    notes.sort_unstable_by(|a, b| (a.by_namespace(), a.id).cmp(&(b.by_namespace(), b.id)));
    by_namespace(&s.conn, &notes)?;
    notes.sort_unstable_by(|a, b| (&a.outcome, a.id).cmp(&(&b.outcome, b.id)));
    by_outcome(&s.conn, &notes)?;
    s.conn.prepare_cached("DELETE FROM attempts_new")?.execute([])?;
    s.memory.attempts_new = 0;
    Ok(())
}

/// A row of `attempts_new`. Few namespaces and outcomes are spelled by many notes, which share their texts.
struct Note {
    namespace: Rc<str>,
    subscription: [u8; 16],
    endpoint: [u8; 16],
    outcome: Rc<str>,
    id: [u8; 16],
    delivery: [u8; 16],
    number: u32,
    started_at: i64,
}

impl Note {
    fn by_subscription(&self) -> ([u8; 16], [u8; 16], &str) {
        (self.subscription, self.endpoint, &self.outcome)
    }

    fn by_namespace(&self) -> (&str, &str) {
        (&self.namespace, &self.outcome)
    }
}

/// Texts that were met so far.
#[derive(Default)]
struct Texts(BTreeSet<Rc<str>>);

impl Texts {
    fn read(&mut self, row: &Row<'_>, column: usize) -> Result<Rc<str>> {
        let text = row.get_ref(column)?.as_str()?;
        if let Some(known) = self.0.get(text) {
            return Ok(Rc::clone(known));
        }
        let new: Rc<str> = text.into();
        self.0.insert(Rc::clone(&new));
        Ok(new)
    }
}

fn read(conn: &Connection) -> Result<Vec<Note>> {
    let mut texts = Texts::default();
    let sql = "SELECT namespace, subscription, endpoint, outcome, id, delivery, number, started_at FROM attempts_new";
    let mut select = conn.prepare_cached(sql)?;
    let notes = select.query_map([], |row| {
        Ok(Note {
            namespace: texts.read(row, 0)?,
            subscription: row.get(1)?,
            endpoint: row.get(2)?,
            outcome: texts.read(row, 3)?,
            id: row.get(4)?,
            delivery: row.get(5)?,
            number: row.get(6)?,
            started_at: row.get(7)?,
        })
    })?;
    notes.collect()
}

/// Of notes in order by subscription, endpoint, outcome and id.
fn by_subscription(conn: &Connection, notes: &[Note]) -> Result<()> {
    let mut goes = conn.prepare_cached("SELECT 1 FROM deliveries WHERE id = ?1 AND keeps_rows = 0")?;
    for part in notes.chunk_by(|a, b| a.by_subscription() == b.by_subscription()) {
        let first = &part[0];
        // All deliveries of a subscription are kept alike, so that one of them speaks for all.
        let goes_from = goes.exists([first.delivery])?.then_some(first.id);
        tallies::attempts_of_subscription(conn, first.by_subscription(), &first.namespace, part.len(), goes_from)?;
    }
    let columns = "attempts_by_subscription (subscription, endpoint, outcome, id, delivery, number, started_at)";
    bulk::insert(conn, columns, notes, |note| {
        [&note.subscription, &note.endpoint, &note.outcome, &note.id, &note.delivery, &note.number, &note.started_at]
    })
}

/// Of notes in order by namespace, outcome and id.
fn by_namespace(conn: &Connection, notes: &[Note]) -> Result<()> {
    for part in notes.chunk_by(|a, b| a.by_namespace() == b.by_namespace()) {
        tallies::attempts_of_namespace(conn, part[0].by_namespace(), part.len(), part[0].id)?;
    }
    let columns = "attempts_by_namespace (namespace, outcome, id, delivery, number, started_at)";
    bulk::insert(conn, columns, notes, |note| [&note.namespace, &note.outcome, &note.id, &note.delivery, &note.number, &note.started_at])
}

/// Of notes in order by outcome and id.
fn by_outcome(conn: &Connection, notes: &[Note]) -> Result<()> {
    for part in notes.chunk_by(|a, b| a.outcome == b.outcome) {
        tallies::attempts_of_all(conn, &part[0].outcome, part.len())?;
    }
    let columns = "attempts_by_outcome (outcome, id, delivery, number, started_at)";
    bulk::insert(conn, columns, notes, |note| [&note.outcome, &note.id, &note.delivery, &note.number, &note.started_at])
}
