//! Partitions: one for each day (UTC) of the tables that grow with time, by the ids of their rows, which carry the time of their making. Retention
//! leaves whole days empty behind it, and those go at once instead of row by row.
//!
//! Rows of a day that has none are in the default partition. That is as right, and what is there stays there; only a day of which it holds rows can
//! get no partition any more.

use super::conn::Conn;
use super::error::{Error, Result};
use super::rows::get;
use postrider_core::id::floor_at;
use postrider_core::time::Timestamp;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// How many days after today have their partitions too: a node that cannot make them for so long is no trouble.
const AHEAD: i64 = 2;

/// How many days before today keep theirs even if they are empty: nodes whose clocks are slow still write there.
const BEHIND: i64 = 2;

const DAY_S: i64 = 86_400;

/// A table that is partitioned by day.
struct Table {
    name: &'static str,
    /// What its partitions are made with.
    settings: &'static str,
    /// Finds a row between two ids, past the partitions of days.
    strays: &'static str,
    /// Finds a row between two ids.
    rows: &'static str,
}

macro_rules! first_between {
    ($table:literal, $suffix:literal, $key:literal) => {
        concat!(
            "SELECT ",
            $key,
            " FROM ",
            $table,
            $suffix,
            " WHERE ",
            $key,
            " >= $1::uuid AND ",
            $key,
            " < $2::uuid ORDER BY ",
            $key,
            " LIMIT 1"
        )
    };
}

macro_rules! table {
    ($name:literal, $key:literal, $settings:literal) => {
        Table { name: $name, settings: $settings, strays: first_between!($name, "_default", $key), rows: first_between!($name, "", $key) }
    };
}

static TABLES: [Table; 4] = [
    table!("events", "id", ""),
    table!("event_labels", "event", ""),
    // Each row is written again a few times soon after it was made: in its own page, which needs room for that. What such a page is cleaned of
    // when it is written next is left to that; who cleans the others comes often, for there is nothing to do in the indexes.
    table!(
        "deliveries",
        "id",
        " WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, \
         autovacuum_analyze_scale_factor = 0.2)"
    ),
    table!("attempts", "id", ""),
];

/// A day of UTC, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Day(i64);

impl Day {
    fn of(at: Timestamp) -> Self {
        Day(at.as_secs().div_euclid(DAY_S))
    }

    fn start(self) -> Timestamp {
        Timestamp::from_secs(self.0.saturating_mul(DAY_S))
    }

    /// The least id of the day, and that of the next.
    fn bounds(self) -> (Uuid, Uuid) {
        (floor_at(self.start()), floor_at(Day(self.0 + 1).start()))
    }

    /// As it is written in names: `20261123`.
    fn digits(self) -> String {
        self.start().rfc3339(0).chars().take(10).filter(char::is_ascii_digit).collect()
    }

    fn parse(digits: &str) -> Option<Self> {
        let (year, month, day) = (digits.get(..4)?, digits.get(4..6)?, digits.get(6..)?);
        let found = Timestamp::parse_rfc3339(&format!("{year}-{month}-{day}T00:00:00Z")).map(Day::of)?;
        (found.digits() == digits).then_some(found)
    }
}

impl Table {
    /// The name of its partition of that day.
    fn partition(&self, day: Day) -> String {
        format!("{}_p{}", self.name, day.digits())
    }

    /// Makes the partition of that day.
    ///
    /// Attached, and not made as one: that would lock the whole table against everybody, where attaching only keeps others from changing its
    /// definition. Both lock the default partition, and read through it for rows that belong into the new one; there are few in it as a rule, and
    /// where there are not this is given up. The indexes are made before, while nobody waits.
    fn making(&self, day: Day) -> String {
        let (table, name, settings, (from, to)) = (self.name, self.partition(day), self.settings, day.bounds());
        format!(
            "SET LOCAL lock_timeout = '10s'; \
             SELECT pg_advisory_xact_lock(hashtextextended('postrider partitions ' || current_schema(), 0)); \
             SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '5s'; \
             CREATE TABLE {name} (LIKE {table} INCLUDING ALL){settings}; \
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"
        )
    }

    /// Removes the partition of that day unless there is a row in it. The table's lock is what the removal needs anyway; taken first, nobody can
    /// write a row that would be lost.
    fn removing(&self, day: Day) -> String {
        let (table, name) = (self.name, self.partition(day));
        format!(
            "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '2s'; SET LOCAL enable_seqscan = off; \
             LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE; \
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM {name}) THEN DROP TABLE {name}; END IF; END $$"
        )
    }
}

/// The table and the day of which a partition of this name is.
fn partition_of(name: &str) -> Option<(&'static Table, Day)> {
    TABLES.iter().find_map(|table| {
        let digits = name.strip_prefix(table.name)?.strip_prefix("_p")?;
        Some((table, Day::parse(digits)?))
    })
}

/// Makes the partitions of today and of the days to come that are not there yet. Outside of a transaction.
///
/// What would make others wait, or meets rows of its day in the default partition, is left: the rows go there.
pub(super) async fn ensure(conn: &Conn, now: Timestamp) -> Result<()> {
    let (there, today) = (names(conn).await?, Day::of(now));
    for day in (today.0..=today.0 + AHEAD).map(Day) {
        for table in TABLES.iter().filter(|table| !there.contains(&table.partition(day))) {
            make(conn, table, day).await?;
        }
    }
    Ok(())
}

async fn make(conn: &Conn, table: &Table, day: Day) -> Result<()> {
    let ((from, to), partition) = (day.bounds(), table.partition(day));
    if conn.row(table.strays, &[&from, &to]).await?.is_some() {
        tracing::warn!(partition, "there are rows of that day in the default partition already: all of it goes there");
        return Ok(());
    }
    match conn.batch(&table.making(day)).await {
        Ok(()) => tracing::debug!(partition, "a partition was made"),
        // Another node was faster.
        Err(error) if has_state(&error, &SqlState::DUPLICATE_TABLE) => {}
        Err(error) if is_for_later(&error) || has_state(&error, &SqlState::CHECK_VIOLATION) => {
            tracing::warn!(partition, %error, "a partition could not be made for now: until then rows of that day go to the default one");
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Which of the partitions that [`ensure`] makes are not there.
pub(super) async fn missing(conn: &Conn, now: Timestamp) -> Result<Vec<String>> {
    let (there, today) = (names(conn).await?, Day::of(now));
    let wanted = (today.0..=today.0 + AHEAD).flat_map(|day| TABLES.iter().map(move |table| table.partition(Day(day))));
    Ok(wanted.filter(|name| !there.contains(name)).collect())
}

/// Removes partitions of days that are past and have no rows any more; answers how many. Outside of a transaction. What is in use is left.
pub(super) async fn remove_empty(conn: &Conn, now: Timestamp) -> Result<u64> {
    let kept = Day(Day::of(now).0 - BEHIND);
    let mut emptied = Vec::new();
    for name in names(conn).await? {
        let Some((table, day)) = partition_of(&name).filter(|(_, day)| *day < kept) else { continue };
        let (from, to) = day.bounds();
        if conn.row(table.rows, &[&from, &to]).await?.is_some() {
            continue;
        }
        match conn.batch(&table.removing(day)).await {
            Ok(()) => emptied.push(name),
            Err(error) if has_state(&error, &SqlState::UNDEFINED_TABLE) => {}
            Err(error) if is_for_later(&error) => tracing::debug!(partition = name, %error, "an empty partition stays for now"),
            Err(error) => return Err(error),
        }
    }
    if emptied.is_empty() {
        return Ok(0);
    }
    let row = conn.only("SELECT count(*) FROM unnest($1::text[]) AS u (name) WHERE to_regclass(u.name) IS NULL", &[&emptied]).await?;
    Ok(u64::try_from(get::<i64>(&row, 0)?).unwrap_or(0))
}

/// All partitions that are there.
async fn names(conn: &Conn) -> Result<Vec<String>> {
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = current_schema() AND c.relkind = 'r' AND c.relispartition ORDER BY c.relname";
    conn.rows(sql, &[]).await?.iter().map(|row| get(row, 0)).collect()
}

fn has_state(error: &Error, state: &SqlState) -> bool {
    matches!(error, Error::Database(error) if error.code() == Some(state))
}

/// Whether somebody else was in the way, or it took longer than others may be kept waiting.
fn is_for_later(error: &Error) -> bool {
    !error.is_lost_connection() && (error.is_transient() || has_state(error, &SqlState::QUERY_CANCELED))
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::id::IdGen;
    use std::time::Duration;

    /// 2026-11-23T04:00:00Z.
    const NOW: Timestamp = Timestamp::from_secs(1_795_406_400);

    #[test]
    fn names_say_the_day() {
        let day = Day::of(NOW);
        let names: Vec<String> = TABLES.iter().map(|table| table.partition(day)).collect();
        assert_eq!(names, ["events_p20261123", "event_labels_p20261123", "deliveries_p20261123", "attempts_p20261123"]);
        for (name, table) in names.iter().zip(&TABLES) {
            let (found, of) = partition_of(name).expect("the name of a partition");
            assert_eq!((found.name, of), (table.name, day));
        }
        for other in ["events_default", "events_p2026112", "events_p20261323", "events_p20260230", "eventsp20261123", "queue_p20261123", ""]
        {
            assert!(partition_of(other).is_none(), "{other}");
        }
    }

    #[test]
    fn days_begin_at_midnight() {
        let day = Day::of(NOW);
        assert_eq!(day.start().rfc3339(0), "2026-11-23T00:00:00Z");
        assert_eq!(Day::of(Timestamp::from_micros(day.start().as_micros() - 1)), Day(day.0 - 1));
        assert_eq!(Day(day.0 + 8).digits(), "20261201");
        assert_eq!(Day::parse("20280229").map(Day::digits).as_deref(), Some("20280229"));
    }

    #[test]
    fn ids_of_a_day_are_within_its_bounds() {
        let (day, mut ids) = (Day::of(NOW), IdGen::new(1));
        let ((from, to), (next, _)) = (day.bounds(), Day(day.0 + 1).bounds());
        assert!(from < to && to == next, "no id is between two days");
        let (first, last) = (day.start(), Day(day.0 + 1).start().before(Duration::from_millis(1)));
        for at in [first, NOW, last] {
            let id = ids.next(at);
            assert!(from <= id && id < to, "{at:?}");
        }
        assert!(ids.next(Day(day.0 + 1).start()) >= to);
    }

    #[test]
    fn a_partition_has_the_bounds_of_its_day() {
        let deliveries = TABLES.iter().find(|table| table.name == "deliveries").expect("one of them");
        let (day, sql) = (Day::of(NOW), deliveries.making(Day::of(NOW)));
        let (from, to) = day.bounds();
        assert!(sql.contains("CREATE TABLE deliveries_p20261123 (LIKE deliveries INCLUDING ALL) WITH (fillfactor = 70, "), "{sql}");
        assert!(sql.ends_with(&format!("ATTACH PARTITION deliveries_p20261123 FOR VALUES FROM ('{from}') TO ('{to}')")), "{sql}");
        assert!(deliveries.strays.starts_with("SELECT id FROM deliveries_default WHERE id >= $1::uuid AND id < $2::uuid ORDER BY id"));
    }
}
