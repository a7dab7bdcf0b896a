//! Deliveries past their retention, found without an index that each delivery would have to be put into.
//!
//! Ids ascend with time. What keeps its rows has an age of its own, or none, so that there are two kinds, and a mark for each: retention has
//! looked at all deliveries of that kind with lesser ids. Those that could not go then, because they had not ended, had an open dead letter
//! or were tried lately, are noted in `deliveries_left`; all others are gone. So what stays for good is passed once and never again.

use super::prune::{Budget, remove_delivery};
use super::rows::{OPEN, all, id, state_kind, time, time_opt};
use super::session::{Memory, Session};
use postrider_core::delivery::StateKind;
use postrider_core::id::{DeliveryId, floor_at};
use postrider_core::ports::{NewDelivery, Pruned};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use std::time::Duration;

/// An id may be a little later than the time in its row: both are taken from the clock, but not in one instant.
const ID_SLACK: Duration = Duration::from_secs(1);

/// For each kind the id below which retention has looked at all deliveries.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Marks([[u8; 16]; 2]);

impl Marks {
    /// As they are in the database.
    pub(super) fn read(conn: &Connection) -> Result<Self> {
        let below = |keeps_rows: bool| {
            conn.query_row("SELECT below FROM retention_marks WHERE keeps_rows = ?1", [keeps_rows], |row| row.get::<_, [u8; 16]>(0))
        };
        Ok(Marks([below(false)?, below(true)?]))
    }
}

/// A delivery was stored. One that comes so late that its mark is ahead of it is noted, or retention would never find it.
pub(super) fn came(conn: &Connection, memory: &Memory, new: &NewDelivery) -> Result<()> {
    if new.id.bytes() >= memory.marks.0[usize::from(new.keeps_rows)] { Ok(()) } else { leave(conn, new.id, new.keeps_rows) }
}

/// A delivery was removed.
pub(super) fn forget(s: &Session, of: DeliveryId, keeps_rows: bool) -> Result<()> {
    if of.bytes() >= s.memory.marks.0[usize::from(keeps_rows)] {
        return Ok(());
    }
    let sql = "DELETE FROM deliveries_left WHERE keeps_rows = ?1 AND id = ?2";
    s.conn.prepare_cached(sql)?.execute(params![keeps_rows, of.bytes()]).map(drop)
}

fn leave(conn: &Connection, of: DeliveryId, keeps_rows: bool) -> Result<()> {
    let sql = "INSERT OR IGNORE INTO deliveries_left (keeps_rows, id) VALUES (?1, ?2)";
    conn.prepare_cached(sql)?.execute(params![keeps_rows, of.bytes()]).map(drop)
}

/// What makes a delivery old, and from when on.
#[derive(Clone, Copy)]
pub(super) enum Age {
    /// When it was made: for those that do not keep their rows.
    Made(Timestamp),
    /// When it was last tried, or made if it never was: for those that do.
    LastTried(Timestamp),
}

impl Age {
    fn keeps_rows(self) -> bool {
        matches!(self, Age::LastTried(_))
    }

    fn before(self) -> Timestamp {
        let (Age::Made(before) | Age::LastTried(before)) = self;
        before
    }

    /// The id below which everything made before that lies.
    fn bound(self) -> [u8; 16] {
        *floor_at(self.before().after(ID_SLACK)).as_bytes()
    }
}

/// A delivery that may have to go.
struct Candidate {
    id: DeliveryId,
    state: StateKind,
    made: Timestamp,
    last_tried: Option<Timestamp>,
    has_open_letter: bool,
    keeps_rows: bool,
}

macro_rules! candidates {
    ($from:literal) => {
        concat!(
            "SELECT d.id, d.state, d.created_at, d.last_attempt_at, d.keeps_rows, d.keeps_rows = ?4 AND EXISTS \
             (SELECT 1 FROM dead_letters l INDEXED BY dead_letters_delivery WHERE l.delivery = d.id AND l.status = ?5) FROM ",
            $from,
            " LIMIT ?3"
        )
    };
}

impl Candidate {
    fn read(row: &Row<'_>) -> Result<Self> {
        Ok(Candidate {
            id: id(row, 0, DeliveryId::new)?,
            state: state_kind(row, 1)?,
            made: time(row, 2)?,
            last_tried: time_opt(row, 3)?,
            keeps_rows: row.get(4)?,
            has_open_letter: row.get(5)?,
        })
    }

    /// Whether it may go. An open dead letter keeps its delivery.
    fn may_go(&self, age: Age) -> bool {
        let of = if age.keeps_rows() { self.last_tried.unwrap_or(self.made) } else { self.made };
        self.state.is_resting() && of < age.before() && !self.has_open_letter
    }
}

/// Looks again at the deliveries that could not go; whether at all of them.
pub(super) fn look_again(s: &mut Session, age: Age, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let sql = candidates!(
        "deliveries_left l CROSS JOIN deliveries d ON d.id = l.id WHERE l.keeps_rows = ?4 AND l.id > ?1 AND l.id < ?2 ORDER BY l.id"
    );
    let (below, keeps_rows) = (age.bound(), age.keeps_rows());
    while !budget.is_spent() {
        let page = budget.page();
        let found = all(&s.conn, sql, &[&s.memory.sweep.after, &below, &page, &keeps_rows, &OPEN], Candidate::read)?;
        let is_last = (found.len() as i64) < page;
        for candidate in found {
            if budget.is_spent() {
                return Ok(false);
            }
            budget.looks -= 1;
            s.memory.sweep.after = candidate.id.bytes().to_vec();
            if candidate.may_go(age) {
                remove_delivery(s, candidate.id, pruned)?;
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

/// Goes on from the mark; whether to the end of what is old enough.
pub(super) fn go_on(s: &mut Session, age: Age, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let keeps_rows = age.keeps_rows();
    let begin = s.memory.marks.0[usize::from(keeps_rows)];
    let done = pass(s, age, budget, pruned)?;
    let end = s.memory.marks.0[usize::from(keeps_rows)];
    if end != begin {
        let sql = "UPDATE retention_marks SET below = ?1 WHERE keeps_rows = ?2";
        s.conn.prepare_cached(sql)?.execute(params![end, keeps_rows])?;
    }
    Ok(done)
}

fn pass(s: &mut Session, age: Age, budget: &mut Budget, pruned: &mut Pruned) -> Result<bool> {
    let sql = candidates!("deliveries d WHERE d.id >= ?1 AND d.id < ?2 ORDER BY d.id");
    let (below, keeps_rows) = (age.bound(), age.keeps_rows());
    while !budget.is_spent() {
        let page = budget.page();
        let from = s.memory.marks.0[usize::from(keeps_rows)];
        let found = all(&s.conn, sql, &[&from, &below, &page, &keeps_rows, &OPEN], Candidate::read)?;
        let is_last = (found.len() as i64) < page;
        for candidate in found {
            if budget.is_spent() {
                return Ok(false);
            }
            budget.looks -= 1;
            if candidate.keeps_rows == keeps_rows {
                if candidate.may_go(age) {
                    remove_delivery(s, candidate.id, pruned)?;
                    budget.rows -= 1;
                } else {
                    leave(&s.conn, candidate.id, keeps_rows)?;
                }
            }
            let behind = u128::from_be_bytes(candidate.id.bytes()).saturating_add(1);
            s.memory.marks.0[usize::from(keeps_rows)] = behind.to_be_bytes();
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}
