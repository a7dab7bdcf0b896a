//! What lists are made with: statements put together of pieces, and one sorted list out of several.
//!
//! An index lists what has one namespace (or subscription and endpoint) in order. A list of more than that is put together of several such
//! runs, of which only the beginnings are read: those that are needed together by one statement.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{count, get};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;

/// A statement that is put together of pieces of the program, of which there are few, with what it is run with.
pub(super) struct Query<'a> {
    sql: String,
    params: Vec<&'a (dyn ToSql + Sync)>,
}

impl<'a> Query<'a> {
    /// One that begins like this.
    pub(super) fn new(piece: &'static str) -> Self {
        Query { sql: piece.to_owned(), params: Vec::new() }
    }

    /// Goes on like this.
    pub(super) fn add(mut self, piece: &'static str) -> Self {
        self.sql.push_str(piece);
        self
    }

    /// Goes on like this, and then with a value.
    pub(super) fn with(mut self, piece: &'static str, value: &'a (dyn ToSql + Sync)) -> Self {
        self.params.push(value);
        self.sql.push_str(piece);
        self.sql.push('$');
        self.sql.push_str(&self.params.len().to_string());
        self
    }

    /// The same, if there is a value.
    pub(super) fn with_some<T: ToSql + Sync>(self, piece: &'static str, value: &'a Option<T>) -> Self {
        match value {
            Some(value) => self.with(piece, value),
            None => self,
        }
    }

    /// All rows.
    pub(super) async fn rows(&self, conn: &Conn) -> Result<Vec<Row>> {
        conn.rows(&self.sql, &self.params).await
    }

    /// The number that it answers.
    pub(super) async fn count(&self, conn: &Conn) -> Result<u64> {
        count(&conn.only(&self.sql, &self.params).await?, 0)
    }
}

/// Namespaces that have ever had anything: a look into the index for each.
pub(super) async fn namespaces(conn: &Conn) -> Result<Vec<String>> {
    let sql = "WITH RECURSIVE n (namespace) AS ((SELECT t.namespace FROM tallies t WHERE t.namespace > '' ORDER BY t.namespace LIMIT 1) \
               UNION ALL SELECT (SELECT t.namespace FROM tallies t WHERE t.namespace > n.namespace ORDER BY t.namespace LIMIT 1) FROM n \
               WHERE n.namespace IS NOT NULL) SELECT n.namespace FROM n WHERE n.namespace IS NOT NULL";
    conn.rows(sql, &[]).await?.iter().map(|row| get(row, 0)).collect()
}

/// Reads a number that `WITH ORDINALITY` gave, from 0 on.
pub(super) fn ordinal(row: &Row, column: usize) -> Result<usize> {
    usize::try_from(get::<i64>(row, column)? - 1).map_err(bad_value)
}

/// What is left of a total without some that it must have. Totals are counted in more than one place: where these contradict each other,
/// which is a fault of the store, the answer is 0 and the log says so.
pub(super) fn less(total: u64, some: u64) -> u64 {
    total.checked_sub(some).unwrap_or_else(|| {
        tracing::error!(total, some, "totals in the database contradict each other: some are more than all");
        0
    })
}

/// Cuts off what was read to see whether more follow.
pub(super) fn cut<T>(mut items: Vec<T>, limit: u32) -> (Vec<T>, bool) {
    let more = items.len() > limit as usize;
    items.truncate(limit as usize);
    (items, more)
}

/// How many entries of a run are read in one go, at least.
const MIN_CHUNK: usize = 8;

/// The first `skip + limit` entries of several runs together, without the first `skip`. Whoever has it reads what is
/// [asked](Merging::asked) for until that is nothing.
pub(super) struct Merging<T> {
    runs: Vec<Run<T>>,
    /// The first entries of all that were read, in their order, as many as may matter.
    read: Vec<T>,
    skip: usize,
    limit: usize,
    chunk: usize,
}

struct Run<T> {
    /// The last entry that was read.
    last: Option<T>,
    /// Whether it has no more.
    ended: bool,
}

impl<T: Ord + Copy> Merging<T> {
    /// Of so many runs, of which nothing is read.
    pub(super) fn new(runs: usize, skip: u32, limit: u32) -> Self {
        let runs = (0..runs).map(|_| Run { last: None, ended: false }).collect();
        let mut merging = Merging { runs, read: Vec::new(), skip: skip as usize, limit: limit as usize, chunk: 0 };
        let enough = merging.enough();
        merging.chunk = enough.div_ceil(merging.runs.len().max(1)).max(MIN_CHUNK).min(enough);
        merging
    }

    /// With one more, which says that there are more.
    fn enough(&self) -> usize {
        self.skip + self.limit + 1
    }

    /// The runs that are to be read on, each with the entry after which. Nothing once the list is there.
    pub(super) fn asked(&self) -> Vec<(usize, Option<T>)> {
        if self.limit == 0 {
            return Vec::new();
        }
        let bound = self.read.get(self.enough() - 1);
        let is_needed = |run: &Run<T>| match (&run.last, bound) {
            _ if run.ended => false,
            (Some(last), Some(bound)) => last < bound,
            _ => true,
        };
        self.runs.iter().enumerate().filter(|(_, run)| is_needed(run)).map(|(n, run)| (n, run.last)).collect()
    }

    /// Up to how many entries are to be read of each.
    pub(super) fn chunk(&self) -> i64 {
        i64::try_from(self.chunk).unwrap_or(i64::MAX)
    }

    /// Takes what was read of the runs that were asked for: entries, each with the place of its run among those.
    pub(super) fn take(&mut self, asked: &[(usize, Option<T>)], found: Vec<(usize, T)>) {
        let mut sizes = vec![0; asked.len()];
        for (place, entry) in found {
            let Some((n, _)) = asked.get(place) else { continue };
            sizes[place] += 1;
            self.runs[*n].last = self.runs[*n].last.max(Some(entry));
            self.read.push(entry);
        }
        for ((n, _), size) in asked.iter().zip(sizes) {
            self.runs[*n].ended = size < self.chunk;
        }
        self.read.sort_unstable();
        self.read.truncate(self.enough());
        // A run that is read to its end is worth larger steps, but none that has more than all together.
        self.chunk = self.chunk.saturating_mul(4).min(self.enough());
    }

    /// The list, and whether more follow.
    pub(super) fn end(self) -> (Vec<T>, bool) {
        let more = self.read.len() == self.enough();
        (self.read.into_iter().skip(self.skip).take(self.limit).collect(), more)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The list, whether more follow, and how many entries were read.
    fn merged(runs: &[Vec<u16>], skip: u32, limit: u32) -> (Vec<u16>, bool, usize) {
        let (mut merging, mut read) = (Merging::new(runs.len(), skip, limit), 0);
        loop {
            let asked = merging.asked();
            if asked.is_empty() {
                let (list, more) = merging.end();
                return (list, more, read);
            }
            let chunk = usize::try_from(merging.chunk()).expect("it is no negative number");
            let mut found = Vec::new();
            for (place, (n, after)) in asked.iter().enumerate() {
                let rest = runs[*n].iter().filter(|key| after.is_none_or(|after| **key > after));
                found.extend(rest.take(chunk).map(|key| (place, *key)));
            }
            read += found.len();
            merging.take(&asked, found);
        }
    }

    proptest! {
        #[test]
        fn it_is_what_sorting_everything_gives(
            keys in prop::collection::btree_map(any::<u16>(), 0usize..5, 0..300),
            skip in 0u32..150,
            limit in 0u32..150,
        ) {
            let mut runs = vec![Vec::new(); 5];
            keys.iter().for_each(|(key, run)| runs[*run].push(*key));
            let all: Vec<u16> = keys.keys().copied().collect();
            let rest = &all[all.len().min(skip as usize)..];
            let expected = rest[..rest.len().min(limit as usize)].to_vec();
            let (list, more, _) = merged(&runs, skip, limit);
            prop_assert_eq!((list, more), (expected, limit > 0 && rest.len() > limit as usize));
        }
    }

    #[test]
    fn only_the_beginnings_are_read() {
        let runs: Vec<Vec<u16>> = (0..10).map(|n| (0..1_000).map(|i| n + 10 * i).collect()).collect();
        let (list, more, read) = merged(&runs, 0, 20);
        assert_eq!((list, more, read), ((0..20).collect(), true, 10 * MIN_CHUNK));
        let (list, more, read) = merged(&runs[..1], 5, 3);
        assert_eq!((list, more, read), (vec![50, 60, 70], true, 9), "a run by itself is read once");
        assert_eq!(merged(&[], 0, 3), (Vec::new(), false, 0));
    }

    #[test]
    fn totals_that_contradict_each_other_come_to_nothing() {
        assert_eq!([less(5, 2), less(2, 2), less(2, 5)], [3, 0, 0]);
    }
}
