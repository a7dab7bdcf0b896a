//! What there is to be said of a database, for people who look for what is wrong. Nothing is changed.

use super::conn::Conn;
use super::error::{Error, Result};
use super::members::{self, NodeRow, Standing};
use super::migrate;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::partitions;
use super::pool::{Server, Use};
use super::rows::{count, get, time};
use super::transact::ended;
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What is asked of the server's settings.
const SETTINGS: [&str; 9] = [
    "autovacuum",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "max_connections",
    "reserved_connections",
    "superuser_reserved_connections",
    "synchronous_commit",
    "track_counts",
];

/// How often the server is asked for the time: the quickest answer says most.
const LOOKS_AT_THE_CLOCK: u32 = 3;

/// How many deliveries of dead nodes are counted: beyond that they are many.
const MOST_HELD: i64 = 100_000;

/// What was found.
#[derive(Clone, Debug)]
pub struct PgFindings {
    /// Hosts and ports.
    pub at: String,
    /// The server's version, for people.
    pub version: String,
    /// Whether the statements are written for it.
    pub is_new_enough: bool,
    /// How many steps the schema has taken; 0 where it is not there, or may not be looked into.
    pub schema: i64,
    /// How many this release knows.
    pub known: i64,
    /// What the role may do.
    pub rights: PgRights,
    /// By how many microseconds the server's clock is ahead of ours; negative if it is behind.
    pub clock_ahead_us: i64,
    /// Settings of the server, as a new session has them, by their names.
    pub settings: BTreeMap<String, String>,
    /// How many connections the role may open to the database, with all others: the least of what server, database and role allow.
    pub most_connections: i64,
    /// The oldest transaction that is open, of those that the role may see.
    pub oldest: Option<PgTransaction>,
    /// What lies in the schema, if it is of this release and belongs to the role.
    pub inside: Option<PgInside>,
}

/// What the role may do.
#[derive(Clone, Debug, Default)]
pub struct PgRights {
    /// Its name.
    pub role: String,
    /// Whether the schema is there.
    pub schema_is_there: bool,
    /// Whether it may make one.
    pub may_make_schema: bool,
    /// Whether it may use the schema that is there.
    pub may_use: bool,
    /// Whether it may make tables there: a partition a day.
    pub may_make_tables: bool,
    /// What there is in the schema that belongs to somebody else.
    pub of_others: Vec<String>,
}

/// A transaction that is open.
#[derive(Clone, Debug)]
pub struct PgTransaction {
    /// For how long.
    pub age: Duration,
    /// Whose it is, for people.
    pub whose: String,
}

/// What lies in the schema.
#[derive(Clone, Debug, Default)]
pub struct PgInside {
    /// The nodes that are alive, and those that were until lately.
    pub nodes: Vec<NodeRow>,
    /// How many deliveries have nodes claimed that have ended, as far as anybody counts.
    pub held_by_ended: u64,
    /// What the table of deliveries that do not rest takes with its indexes, in bytes.
    pub queue_bytes: u64,
    /// About how many rows it has.
    pub queue_rows: u64,
    /// About how many rows of it are gone, and still take their place.
    pub queue_dead_rows: u64,
    /// Partitions of today and of the days to come that are not there.
    pub missing_partitions: Vec<String>,
}

impl PgFindings {
    /// Looks at everything. `clock` says what time it is here.
    pub async fn of(options: &PgOptions, clock: &dyn Clock) -> std::result::Result<PgFindings, PgOpenError> {
        options.check()?;
        let server = Server::new(options)?;
        let client = server.connect(Use::Migrate, options).await?;
        let schema = match migrate::steps_taken(&client).await {
            Ok(taken) => taken,
            // What the role may not is found out below.
            Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => 0,
            Err(error) => return Err(Error::from(error).into()),
        };
        drop(client);
        let pool = server.pool(Use::Read, 1, options, &Arc::new(Standing::new(options.lease)))?;
        let reading = pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended().into()) };
        let found = pool.within(Box::pin(look(conn, (server.at(), schema), options, clock))).await;
        Ok(reading.end(found)?)
    }
}

async fn look(conn: &Conn, (at, schema): (String, i64), options: &PgOptions, clock: &dyn Clock) -> Result<PgFindings> {
    let version = conn.only("SELECT current_setting('server_version_num')::int4, current_setting('server_version')", &[]).await?;
    let rights = rights(conn, &options.schema).await?;
    let (server_time, clock_ahead_us) = compare_clocks(conn, clock).await?;
    let settings = settings(conn).await?;
    let most_connections = most_connections(conn, &settings).await?;
    let is_open = schema == migrate::KNOWN && rights.may_use && rights.of_others.is_empty();
    let inside = if is_open { Some(inside(conn, server_time).await?) } else { None };
    Ok(PgFindings {
        at,
        version: get(&version, 1)?,
        is_new_enough: get::<i32>(&version, 0)? >= migrate::OLDEST_SERVER,
        schema,
        known: migrate::KNOWN,
        rights,
        clock_ahead_us,
        settings,
        most_connections,
        oldest: oldest(conn).await?,
        inside,
    })
}

async fn rights(conn: &Conn, schema: &str) -> Result<PgRights> {
    let sql = "SELECT current_user::text, s.oid IS NOT NULL, has_database_privilege(current_database(), 'CREATE'), \
               coalesce(has_schema_privilege(s.oid, 'USAGE'), false), coalesce(has_schema_privilege(s.oid, 'CREATE'), false) \
               FROM (VALUES (1)) AS one (n) LEFT JOIN pg_namespace s ON s.nspname = $1::text";
    let row = conn.only(sql, &[&schema]).await?;
    let sql = "SELECT c.relname::text FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1::text AND c.relkind IN ('r', 'p', 'S') AND NOT pg_has_role(c.relowner, 'USAGE') ORDER BY c.relname";
    let of_others = conn.rows(sql, &[&schema]).await?;
    Ok(PgRights {
        role: get(&row, 0)?,
        schema_is_there: get(&row, 1)?,
        may_make_schema: get(&row, 2)?,
        may_use: get(&row, 3)?,
        may_make_tables: get(&row, 4)?,
        of_others: of_others.iter().map(|row| get(row, 0)).collect::<Result<Vec<String>>>()?,
    })
}

/// The server's time, and by how many microseconds it is ahead of ours.
async fn compare_clocks(conn: &Conn, clock: &dyn Clock) -> Result<(Timestamp, i64)> {
    let (mut quickest, mut found) = (Duration::MAX, (Timestamp::MIN, 0));
    for _ in 0..LOOKS_AT_THE_CLOCK {
        let asked = clock.now();
        let theirs = time(&conn.only("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8", &[]).await?, 0)?;
        let took = clock.now().since(asked);
        if took < quickest {
            let ours = asked.after(took / 2);
            (quickest, found) = (took, (theirs, theirs.as_micros().saturating_sub(ours.as_micros())));
        }
    }
    Ok(found)
}

/// As they are for a new session: this one has set some of them for itself.
async fn settings(conn: &Conn) -> Result<BTreeMap<String, String>> {
    let sql = "SELECT name, coalesce(reset_val, setting, '') FROM pg_settings WHERE name = ANY ($1::text[])";
    let names: Vec<&str> = SETTINGS.to_vec();
    conn.rows(sql, &[&names]).await?.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

async fn most_connections(conn: &Conn, settings: &BTreeMap<String, String>) -> Result<i64> {
    let number = |name: &str| settings.get(name).and_then(|text| text.parse::<i64>().ok()).unwrap_or(0);
    let server = number("max_connections") - number("superuser_reserved_connections") - number("reserved_connections");
    let sql = "SELECT d.datconnlimit, r.rolconnlimit FROM pg_database d, pg_roles r \
               WHERE d.datname = current_database() AND r.rolname = current_user";
    let Some(row) = conn.row(sql, &[]).await? else { return Ok(server) };
    // A limit below zero is none.
    let limits = [get::<i32>(&row, 0)?, get::<i32>(&row, 1)?].into_iter().filter(|limit| *limit >= 0);
    Ok(limits.map(i64::from).fold(server, i64::min))
}

/// What began before everything else, and keeps rows that are gone since from being cleaned away.
async fn oldest(conn: &Conn) -> Result<Option<PgTransaction>> {
    let sql = "SELECT (extract(epoch FROM clock_timestamp() - t.began) * 1000000)::int8, t.whose FROM ( \
               SELECT xact_start, format('process %s of %s (%s)', pid, coalesce(nullif(application_name, ''), usename::text, 'nobody'), \
               coalesce(state, 'running')) FROM pg_stat_activity WHERE datname = current_database() AND xact_start IS NOT NULL \
               AND pid <> pg_backend_pid() AND backend_type = 'client backend' \
               UNION ALL SELECT prepared, format('the prepared transaction %L', gid) FROM pg_prepared_xacts WHERE database = current_database() \
               ) AS t (began, whose) ORDER BY t.began LIMIT 1";
    let Some(row) = conn.row(sql, &[]).await? else { return Ok(None) };
    let age = Duration::from_micros(u64::try_from(get::<i64>(&row, 0)?).unwrap_or(0));
    Ok(Some(PgTransaction { age, whose: get(&row, 1)? }))
}

async fn inside(conn: &Conn, now: Timestamp) -> Result<PgInside> {
    let held = "SELECT count(*) FROM (SELECT FROM queue q JOIN nodes n ON n.incarnation = q.claim \
                WHERE q.claim <> 0 AND n.ended_at IS NOT NULL LIMIT $1) AS held";
    let queue = "SELECT pg_total_relation_size('queue'), coalesce(pg_stat_get_live_tuples('queue'::regclass), 0), \
                 coalesce(pg_stat_get_dead_tuples('queue'::regclass), 0)";
    let queue = conn.only(queue, &[]).await?;
    Ok(PgInside {
        nodes: members::list(conn, 0).await?,
        held_by_ended: count(&conn.only(held, &[&MOST_HELD]).await?, 0)?,
        queue_bytes: count(&queue, 0)?,
        queue_rows: count(&queue, 1)?,
        queue_dead_rows: count(&queue, 2)?,
        missing_partitions: partitions::missing(conn, now).await?,
    })
}
