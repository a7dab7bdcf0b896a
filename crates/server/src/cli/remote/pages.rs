//! Lists, page by page: everything up to a limit, without all of it being in memory.

use super::table::{Cell, Column, Table};
use super::text::grouped;
use super::{Failure, Output};
use crate::cli::say;
use serde::Serialize;

/// Most entries of a page.
const MAX_PAGE: u32 = 500;

/// How many rows are laid out together.
const ROWS_AT_ONCE: usize = 500;

/// How much of a list is wanted.
#[derive(Clone, Debug, clap::Args)]
pub struct Lines {
    /// Most entries to show; 0 shows all.
    #[arg(long, short = 'n', value_name = "N", default_value_t = 50)]
    limit: u32,
}

/// What to ask for next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Turn {
    /// Most entries of the page.
    pub size: i32,
    /// Where it begins.
    pub token: String,
    /// How many entries came before it.
    pub offset: i32,
}

/// Where a list that is walked stands.
#[derive(Clone, Debug)]
pub struct Pages {
    /// How many entries are still wanted; none where all are.
    left: Option<u32>,
    next: Option<String>,
    passed: u32,
}

impl Pages {
    /// At the beginning.
    pub fn new(wanted: &Lines) -> Self {
        Pages { left: (wanted.limit > 0).then_some(wanted.limit), next: Some(String::new()), passed: 0 }
    }

    /// The next page to ask for, if there is one and it is wanted.
    pub fn next(&self) -> Option<Turn> {
        let size = self.left.unwrap_or(MAX_PAGE).min(MAX_PAGE);
        let token = self.next.clone().filter(|_| size > 0)?;
        let number = |n: u32| i32::try_from(n).unwrap_or(i32::MAX);
        Some(Turn { size: number(size), token, offset: number(self.passed) })
    }

    /// What came: how many entries, and where the next page begins; empty at the end.
    pub fn came(&mut self, entries: usize, next: String) {
        let entries = u32::try_from(entries).unwrap_or(u32::MAX);
        self.passed = self.passed.saturating_add(entries);
        self.left = self.left.map(|left| left.saturating_sub(entries));
        self.next = Some(next).filter(|next| !next.is_empty());
    }

    /// The same of lists that are walked by offsets: a page that is not full is the last one.
    pub fn came_of(&mut self, entries: usize, total: i32) {
        self.came(entries, String::new());
        let is_more = entries > 0 && i64::from(self.passed) < i64::from(total);
        self.next = is_more.then(|| String::from("more"));
    }

    /// Whether there is more than was wanted.
    pub fn is_more(&self) -> bool {
        self.next.is_some()
    }
}

/// A list on its way to stdout: a table, or an object a line.
pub struct Listing {
    out: Output,
    table: Table,
    shown: u64,
}

impl Listing {
    /// With these columns.
    pub fn new(out: &Output, columns: &'static [Column]) -> Self {
        Listing { out: out.clone(), table: Table::new(columns), shown: 0 }
    }

    /// Shows an entry.
    pub fn add<M: Serialize>(&mut self, entry: &M, row: impl FnOnce(&Output) -> Vec<Cell>) -> Result<(), Failure> {
        self.shown += 1;
        if self.out.is_json() {
            return self.out.json_line(entry);
        }
        self.table.push(row(&self.out));
        if self.table.waiting() >= ROWS_AT_ONCE { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> Result<(), Failure> {
        let text = self.table.take(&self.out);
        self.out.print(&text)
    }

    /// Shows what is left. Says on stderr if there was nothing, or if there is more.
    pub fn end(mut self, what: &str, pages: Option<&Pages>) -> Result<(), Failure> {
        if self.table.waiting() > 0 {
            self.flush()?;
        }
        if self.shown == 0 && !self.out.is_json() {
            say(&format!("there are no {what}"));
        }
        if pages.is_some_and(Pages::is_more) {
            let shown = i64::try_from(self.shown).unwrap_or(i64::MAX);
            say(&format!("these are the first {}: --limit N shows more {what}, --limit 0 all of them", grouped(shown)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_walked_to_its_end() {
        let mut pages = Pages::new(&Lines { limit: 0 });
        assert_eq!(pages.next(), Some(Turn { size: 500, token: String::new(), offset: 0 }));
        pages.came(500, String::from("t"));
        assert_eq!(pages.next(), Some(Turn { size: 500, token: String::from("t"), offset: 500 }));
        pages.came(3, String::new());
        assert_eq!((pages.next(), pages.is_more()), (None, false));
    }

    #[test]
    fn no_more_is_asked_for_than_is_wanted() {
        let mut pages = Pages::new(&Lines { limit: 600 });
        pages.came(500, String::from("t"));
        assert_eq!(pages.next().map(|turn| turn.size), Some(100));
        pages.came(100, String::from("u"));
        assert_eq!((pages.next(), pages.is_more()), (None, true));
    }

    #[test]
    fn offsets_end_where_everything_came() {
        let mut pages = Pages::new(&Lines { limit: 0 });
        pages.came_of(500, 501);
        assert_eq!(pages.next().map(|turn| turn.offset), Some(500));
        pages.came_of(1, 501);
        assert_eq!(pages.next(), None);
        let mut empty = Pages::new(&Lines { limit: 0 });
        empty.came_of(0, 7);
        assert_eq!(empty.next(), None, "a page without entries is the last one, whatever the total says");
    }
}
