//! How much of a budget the files take, and how it is divided between them; how much of a group something is.

use super::files;
use super::session::Session;
use crate::room;
use postrider_core::ports::NewEvent;
use rusqlite::{Connection, Result};

/// This part of a budget is for the write-ahead log, as long as that is less than what the log is cut to without a budget.
const LOG_SHARE: u64 = 8;

/// What the files may take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Room {
    /// Pages of the database file that are in use, in bytes. Free pages are taken first, so that the file itself grows no larger.
    pub(super) file: u64,
    /// The write-ahead log, in bytes. One group may take it beyond that for a moment.
    pub(super) log: u64,
}

impl Room {
    /// How a budget is divided.
    pub(super) fn of(budget: u64) -> Self {
        let log = (budget / LOG_SHARE).min(files::WAL_SIZE_LIMIT.unsigned_abs());
        Room { file: budget - log, log }
    }

    /// How much is left for new work.
    pub(super) fn left(self, conn: &Connection) -> Result<u64> {
        Ok(room::accepted(self.file).saturating_sub(used(conn)?))
    }
}

/// The pages that are in use, in bytes, those of an open transaction included. Both numbers are in the file's header, which is in memory:
/// a microsecond each.
pub(super) fn used(conn: &Connection) -> Result<u64> {
    let number = |sql| conn.prepare_cached(sql)?.query_row([], |row| row.get::<_, u32>(0)).map(u64::from);
    let (pages, free) = (number("PRAGMA page_count")?, number("PRAGMA freelist_count")?);
    Ok(pages.saturating_sub(free) * u64::from(files::PAGE_SIZE))
}

/// A row each, and a unit for every page of payload.
pub(super) fn event_weight(event: &NewEvent) -> usize {
    1 + event.deliveries.len() + event.payload.len() / files::PAGE_SIZE as usize
}

/// Changing or removing a row costs less than storing one, and there may be fewer than the limit.
pub(super) fn weight_of_up_to(limit: u32) -> usize {
    limit as usize / 4
}

/// Of what adds something in any case.
pub(super) fn nothing_is_known(_: &Session) -> Result<bool> {
    Ok(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_budget_is_divided_between_the_files() {
        const MIB: u64 = 1 << 20;
        for (budget, file, log) in [(16 * MIB, 14 * MIB, 2 * MIB), (512 * MIB, 448 * MIB, 64 * MIB), (10_240 * MIB, 10_176 * MIB, 64 * MIB)]
        {
            assert_eq!(Room::of(budget), Room { file, log });
        }
    }

    #[test]
    fn free_pages_are_room() {
        let conn = Connection::open_in_memory().expect("a database");
        conn.execute_batch("PRAGMA page_size = 4096; CREATE TABLE t (x BLOB); INSERT INTO t VALUES (zeroblob(400000))").expect("a table");
        let full = used(&conn).expect("a size");
        assert!((400_000..450_000).contains(&full), "{full}");
        conn.execute_batch("DELETE FROM t").expect("it is emptied");
        let (pages, empty) =
            (conn.query_row("PRAGMA page_count", [], |row| row.get::<_, u32>(0)).expect("a number"), used(&conn).expect("a size"));
        assert!(empty <= 3 * 4_096 && u64::from(pages) * 4_096 >= full, "{empty} of {pages} pages");
        conn.execute_batch("BEGIN; INSERT INTO t VALUES (zeroblob(200000))").expect("a row");
        assert!(used(&conn).expect("a size") > 200_000, "what is not committed counts");
    }
}
