//! Partitions: of the tables that grow with time, by the ids of their rows, which carry the time of their making. Retention drops whole ones, and
//! what is left of those that it cannot drop goes row by row.
//!
//! Each is of a day (UTC), or of several where what is kept reaches back for long: about an eighth of that, so that there are hardly more than
//! sixteen of a table, however long it keeps its rows. For a statement that looks for rows by their ids locks every partition of the table, and when it
//! is planned every index of each as well, which happens once for each connection and change of the partitions. Measured with sixteen of each table and
//! PostgreSQL 15: a transaction that claims, publishes and settles holds locks of 131 relations, and of 390 if its statements are planned in it; with
//! thirty-four 257, and 786. All connections share one table of locks, which with the settings that a server comes with took 32,000 of them:
//! of forty connections that plan at the same time with thirty-four partitions, and of eighty with sixteen.
//!
//! Rows that are in no other partition are in the one by default. That is as right. When a partition is made for days of which that has rows, they move
//! there if they are few; and the last few rows of a partition that is long past move the other way, so that a dead letter that nobody dismisses does
//! not keep it.

use super::conn::Conn;
use super::error::{Error, Result};
use super::rows::{count, get};
use postrider_core::id::floor_at;
use postrider_core::time::Timestamp;
use tokio_postgres::error::SqlState;
use uuid::Uuid;

pub(super) mod retire;

/// How many days after today have their partitions too: a node that cannot make them for so long is no trouble.
const AHEAD: i64 = 2;

/// How many days before today keep theirs: nodes whose clocks are slow still write there, and what began then may end now.
const BEHIND: i64 = 2;

/// A partition is as long as this part of what is kept, as a power of two of days.
const PARTS: i64 = 8;

/// Beyond so many that are past each new one is twice as long as that.
const MOST_PAST: usize = 12;

/// No partition is longer, in days.
const LONGEST: i64 = 512;

/// So many rows move from the partition by default into one that is made. All who write wait meanwhile.
const MOST_STRAYS: i64 = 2_000;

/// So many rows move from a partition that is long past into the one by default.
const FEW: i64 = 256;

/// And no more of either kind than take so many bytes: they are read and written again while others wait.
const MOST_BYTES: i64 = 4 << 20;

const DAY_S: i64 = 86_400;

/// A table that is partitioned by time.
struct Table {
    name: &'static str,
    /// The column that it is partitioned by.
    key: &'static str,
    /// What its partitions are made with.
    settings: &'static str,
    /// How many rows are between two ids, past the other partitions, and how long what is long in them is; as far as that matters.
    strays: &'static str,
    /// The same of all between two ids.
    rows: &'static str,
}

macro_rules! number_between {
    ($table:literal, $suffix:literal, $key:literal, $bytes:literal) => {
        concat!(
            "SELECT count(*), coalesce(sum(r.bytes), 0)::int8 FROM (SELECT ",
            $bytes,
            " AS bytes FROM ",
            $table,
            $suffix,
            " WHERE ",
            $key,
            " >= $1::uuid AND ",
            $key,
            " < $2::uuid ORDER BY ",
            $key,
            " LIMIT $3) AS r"
        )
    };
}

macro_rules! table {
    ($name:literal, $key:literal, $bytes:literal, $settings:literal) => {
        Table {
            name: $name,
            key: $key,
            settings: $settings,
            strays: number_between!($name, "_default", $key, $bytes),
            rows: number_between!($name, "", $key, $bytes),
        }
    };
}

static TABLES: [Table; 4] = [
    // Rows come, are read, and stay as they are until they go with their partition. What is left of it is to be found by looks into indexes alone.
    table!(
        "events",
        "id",
        "octet_length(payload) + coalesce(octet_length(labels), 0) + coalesce(octet_length(metadata), 0)",
        " WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_insert_scale_factor = 0.2)"
    ),
    table!(
        "event_labels",
        "event",
        "octet_length(value)",
        " WITH (autovacuum_vacuum_scale_factor = 0.1, autovacuum_vacuum_insert_scale_factor = 0.2)"
    ),
    // Each row is written again a few times soon after it was made: in its own page, which needs room for that. What such a page is cleaned of
    // when it is written next is left to that; who cleans the others comes often, for there is nothing to do in the indexes.
    table!(
        "deliveries",
        "id",
        "octet_length(reason)",
        " WITH (fillfactor = 70, autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, \
         autovacuum_analyze_scale_factor = 0.2)"
    ),
    // Those of slow exchanges are written twice.
    table!(
        "attempts",
        "id",
        "coalesce(octet_length(request), 0) + coalesce(octet_length(response), 0) + coalesce(octet_length(response_head), 0)",
        " WITH (autovacuum_vacuum_scale_factor = 0.05, autovacuum_vacuum_threshold = 5000, autovacuum_vacuum_insert_scale_factor = 0.2)"
    ),
];

/// A day of UTC, counted from the epoch.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Day(i64);

impl Day {
    fn of(at: Timestamp) -> Self {
        Day(at.as_secs().div_euclid(DAY_S))
    }

    fn after(self, days: i64) -> Self {
        Day(self.0.saturating_add(days))
    }

    fn start(self) -> Timestamp {
        Timestamp::from_secs(self.0.saturating_mul(DAY_S))
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

/// The days of a partition: the first one, and the one behind the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Days {
    from: Day,
    to: Day,
}

impl Days {
    fn new(from: Day, number: i64) -> Self {
        Days { from, to: from.after(number) }
    }

    fn number(self) -> i64 {
        self.to.0 - self.from.0
    }

    fn contains(self, day: Day) -> bool {
        self.from <= day && day < self.to
    }

    /// The least id of these days, and that of the next.
    fn bounds(self) -> (Uuid, Uuid) {
        (floor_at(self.from.start()), floor_at(self.to.start()))
    }
}

impl Table {
    /// The name of its partition of these days: of one `events_p20261123`, of several `events_p20261123_4d`.
    fn partition(&self, days: Days) -> String {
        let (table, from, number) = (self.name, days.from.digits(), days.number());
        if number == 1 { format!("{table}_p{from}") } else { format!("{table}_p{from}_{number}d") }
    }

    /// The days of its partition of this name.
    fn days_of(&self, name: &str) -> Option<Days> {
        let days = name.strip_prefix(self.name)?.strip_prefix("_p")?;
        let (from, number) = match days.split_once('_') {
            None => (days, 1),
            Some((from, number)) => (from, number.strip_suffix('d')?.parse::<i64>().ok().filter(|number| *number > 1)?),
        };
        let days = Days::new(Day::parse(from)?, number);
        (self.partition(days) == name).then_some(days)
    }

    /// The days of those of these partitions that are its own, in their order.
    fn days_among(&self, names: &[String]) -> Vec<Days> {
        let mut days: Vec<Days> = names.iter().filter_map(|name| self.days_of(name)).collect();
        days.sort_unstable();
        days
    }

    /// Makes the partition of these days.
    ///
    /// Attached, and not made as one: that would lock the whole table against everybody, where attaching only keeps others from changing its
    /// definition. Both lock the default partition, and read through it for rows that belong into the new one; there are few in it as a rule, and
    /// where there are not this is given up. The indexes are made before, while nobody waits. Where there are rows of it they move, and whoever
    /// writes waits for that. It is the table's owner's, if that may be: each member of that role can drop it then.
    fn making(&self, days: Days, has_strays: bool) -> String {
        let Table { name: table, key, settings, .. } = self;
        let (name, (from, to)) = (self.partition(days), days.bounds());
        let moving = if has_strays {
            format!(
                "LOCK TABLE ONLY {table} IN SHARE UPDATE EXCLUSIVE MODE; LOCK TABLE {table}_default IN ACCESS EXCLUSIVE MODE; \
                 WITH moved AS (DELETE FROM {table}_default WHERE {key} >= '{from}' AND {key} < '{to}' RETURNING *) \
                 INSERT INTO {name} SELECT * FROM moved; "
            )
        } else {
            String::new()
        };
        let owning = format!(
            "DO $$ BEGIN EXECUTE (SELECT format('ALTER TABLE {name} OWNER TO %I', pg_get_userbyid(c.relowner)) FROM pg_class c \
             WHERE c.oid = '{table}'::regclass); EXCEPTION WHEN insufficient_privilege THEN NULL; END $$; "
        );
        format!(
            "SET LOCAL lock_timeout = '10s'; \
             SELECT pg_advisory_xact_lock(hashtextextended('postrider partitions ' || current_schema(), 0)); \
             SET LOCAL lock_timeout = '1s'; SET LOCAL statement_timeout = '2s'; \
             CREATE TABLE {name} (LIKE {table} INCLUDING ALL){settings}; {owning}{moving}\
             ALTER TABLE {table} ATTACH PARTITION {name} FOR VALUES FROM ('{from}') TO ('{to}')"
        )
    }

    /// Removes the partition of these days unless there are more than a few rows in it, which move. The table's lock is what that needs anyway; taken
    /// first, nobody can write a row that would be lost.
    fn removing(&self, days: Days) -> String {
        let (table, name) = (self.name, self.partition(days));
        format!(
            "SET LOCAL lock_timeout = '200ms'; SET LOCAL statement_timeout = '1s'; SET LOCAL enable_seqscan = off; \
             LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE; \
             DO $$ BEGIN IF NOT EXISTS (SELECT FROM {name}) THEN DROP TABLE {name}; \
             ELSIF (SELECT count(*) FROM (SELECT FROM {name} LIMIT {FEW} + 1) AS r) <= {FEW} THEN \
             ALTER TABLE {table} DETACH PARTITION {name}; INSERT INTO {table} SELECT * FROM {name}; DROP TABLE {name}; END IF; \
             DELETE FROM meta WHERE key IN ('touched {name}', 'watched {name}', 'waiting {table}') AND to_regclass('{name}') IS NULL; END $$"
        )
    }
}

/// How long new partitions are, in days: by how far back those reach that are there, which is for how long rows are kept, and by how many are past.
fn length(there: &[Days], today: Day) -> i64 {
    let kept = there.first().map_or(0, |oldest| today.0 - oldest.from.0).max(0);
    let past = there.iter().filter(|days| days.to <= today).count();
    let longer = i64::try_from(past.saturating_sub(MOST_PAST)).unwrap_or(i64::MAX);
    let mut length = 1;
    while length < LONGEST && length * PARTS < kept {
        length *= 2;
    }
    for _ in 0..longer {
        length = (length * 2).min(LONGEST);
    }
    length
}

/// The partitions that are to be made so that today and the days to come have theirs.
fn wanted(there: &[Days], today: Day) -> Vec<Days> {
    let (length, mut wanted, mut day) = (length(there, today), Vec::new(), today);
    while day <= today.after(AHEAD) {
        if let Some(days) = there.iter().find(|days| days.contains(day)) {
            day = days.to;
            continue;
        }
        let next = there.iter().map(|days| days.from).find(|from| *from > day);
        let to = next.map_or(day.after(length), |next| next.min(day.after(length)));
        wanted.push(Days { from: day, to });
        day = to;
    }
    wanted
}

/// Makes the partitions of today and of the days to come that are not there yet. Outside of a transaction.
///
/// What would make others wait, or meets too many rows of its days in the default partition, is left: the rows go there.
pub(super) async fn ensure(conn: &Conn, now: Timestamp) -> Result<()> {
    let (there, today) = (names(conn).await?, Day::of(now));
    for table in &TABLES {
        for days in wanted(&table.days_among(&there), today) {
            make(conn, table, days).await?;
        }
    }
    Ok(())
}

async fn make(conn: &Conn, table: &Table, days: Days) -> Result<()> {
    let ((from, to), partition, most) = (days.bounds(), table.partition(days), MOST_STRAYS + 1);
    let found = conn.only(table.strays, &[&from, &to, &most]).await?;
    let strays: i64 = get(&found, 0)?;
    if strays > MOST_STRAYS || get::<i64>(&found, 1)? > MOST_BYTES {
        tracing::warn!(partition, "there is too much of these days in the default partition already: all of it goes there");
        return Ok(());
    }
    match conn.batch(&table.making(days, strays > 0)).await {
        Ok(()) => tracing::debug!(partition, strays, "a partition was made"),
        // Another node was faster.
        Err(error) if has_state(&error, &SqlState::DUPLICATE_TABLE) || has_state(&error, &SqlState::INVALID_OBJECT_DEFINITION) => {
            tracing::debug!(partition, %error, "a partition was made by another node");
        }
        Err(error) if is_for_later(&error) => {
            tracing::warn!(partition, %error, "a partition could not be made for now: until then rows of these days go to the default one");
        }
        Err(error) if has_state(&error, &SqlState::INSUFFICIENT_PRIVILEGE) => tracing::warn!(
            partition, %error,
            "the user of the database may not make this partition: until somebody does rows of these days go to the default one"
        ),
        Err(error) => return Err(error),
    }
    Ok(())
}

/// Which of the partitions that [`ensure`] makes are not there.
pub(super) async fn missing(conn: &Conn, now: Timestamp) -> Result<Vec<String>> {
    let (there, today) = (names(conn).await?, Day::of(now));
    let missing = |table: &'static Table| wanted(&table.days_among(&there), today).into_iter().map(move |days| table.partition(days));
    Ok(TABLES.iter().flat_map(missing).collect())
}

/// Removes partitions of days that are long past and have no more than a few rows, which move; answers how many. Outside of a transaction. What is
/// in use is left.
pub(super) async fn remove_empty(conn: &Conn, now: Timestamp) -> Result<u64> {
    let (there, kept) = (names(conn).await?, Day::of(now).after(-BEHIND));
    let mut removed = 0;
    for table in &TABLES {
        for days in table.days_among(&there).into_iter().filter(|days| days.to <= kept) {
            let ((from, to), most) = (days.bounds(), FEW + 1);
            let found = conn.only(table.rows, &[&from, &to, &most]).await?;
            if get::<i64>(&found, 0)? > FEW || get::<i64>(&found, 1)? > MOST_BYTES {
                continue;
            }
            let name = table.partition(days);
            match conn.batch(&table.removing(days)).await {
                Ok(()) => removed += u64::from(!is_there(conn, &name).await?),
                Err(error) if has_state(&error, &SqlState::UNDEFINED_TABLE) => {}
                Err(error) if is_for_later(&error) => {
                    tracing::debug!(partition = name, %error, "a partition of hardly any rows stays for now")
                }
                Err(error) if has_state(&error, &SqlState::INSUFFICIENT_PRIVILEGE) => {
                    tracing::warn!(partition = name, %error, "the user of the database may not remove this partition of hardly any rows")
                }
                Err(error) => return Err(error),
            }
        }
    }
    Ok(removed)
}

async fn is_there(conn: &Conn, table: &str) -> Result<bool> {
    get(&conn.only("SELECT to_regclass($1::text) IS NOT NULL", &[&table]).await?, 0)
}

/// How many locks a transaction can come to hold whose statements are planned in it: of all partitions with all of their indexes.
pub(super) async fn locks(conn: &Conn) -> Result<u64> {
    let sql = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = current_schema() AND c.relispartition AND c.relkind IN ('r', 'i')";
    count(&conn.only(sql, &[]).await?, 0)
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
mod tests;
