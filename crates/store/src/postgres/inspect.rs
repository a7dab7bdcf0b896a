//! What there is to be said of a database, for people who look for what is wrong. Nothing is changed.

use super::config;
use super::conn::Conn;
use super::error::{Error, Result};
use super::key_check;
use super::members::{self, NodeRow};
use super::migrate;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::partitions;
use super::pool::{Server, Use};
use super::roles;
use super::rows::{count, get, time};
use super::standing::Standing;
use super::transact::ended;
use postrider_core::ports::{Clock, Configuration};
use postrider_core::seal::Sealed;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::error::SqlState;

/// What is asked of the server's settings.
const SETTINGS: [&str; 12] = [
    "autovacuum",
    "fsync",
    "full_page_writes",
    "idle_in_transaction_session_timeout",
    "max_connections",
    "max_locks_per_transaction",
    "max_prepared_transactions",
    "reserved_connections",
    "server_encoding",
    "superuser_reserved_connections",
    "synchronous_commit",
    "track_counts",
];

/// How often the server is asked for the time: the quickest answer says most.
const LOOKS_AT_THE_CLOCK: u32 = 3;

/// How many deliveries of dead nodes are counted: beyond that they are many.
const MOST_HELD: i64 = 100_000;

/// What waits in the outbox, for how long the first, what was refused, and why the last.
const OUTBOX: &str = "SELECT (SELECT count(*) FROM (SELECT FROM outbox WHERE refused_at IS NULL LIMIT $1) AS waiting), \
     coalesce((SELECT (extract(epoch FROM clock_timestamp() - created_at) * 1000000)::int8 FROM outbox WHERE refused_at IS NULL \
     ORDER BY id LIMIT 1), 0), \
     (SELECT count(*) FROM (SELECT FROM outbox WHERE refused_at IS NOT NULL LIMIT $1) AS refused), \
     (SELECT refused FROM outbox WHERE refused_at IS NOT NULL ORDER BY refused_at DESC, id DESC LIMIT 1)";

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
    /// What has kept rows that are gone from being cleaned away for the most transactions, of those that hold some of them without a transaction
    /// in this database: replication slots, and standbys that say what they still read.
    pub held: Option<PgHeld>,
    /// What lies in the schema, if it is of this release and belongs to the role.
    pub inside: Option<PgInside>,
}

/// What keeps rows that are gone from being cleaned away.
#[derive(Clone, Debug)]
pub struct PgHeld {
    /// How many transactions began since.
    pub transactions: u64,
    /// What it is, for people.
    pub whose: String,
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
    /// Who else may create things there.
    pub creators: Vec<String>,
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
    /// Whether these numbers of rows can be relied on: after a crash the server has none until the table is cleaned for the next time.
    pub queue_is_counted: bool,
    /// Partitions of today and of the days to come that are not there.
    pub missing_partitions: Vec<String>,
    /// How many locks a transaction comes to hold at the most, as there are partitions.
    pub locks: u64,
    /// Everything that is configured; where it cannot be read, why.
    pub configured: Option<std::result::Result<Configuration, String>>,
    /// What was sealed under the nodes' keys of secrets, once the first has.
    pub key_check: Option<Sealed>,
    /// Events in the outbox that are to be relayed, as far as anybody counts.
    pub outbox_waiting: u64,
    /// Since when the first of them is there.
    pub outbox_age: Duration,
    /// Events in the outbox that were refused, as far as anybody counts.
    pub outbox_refused: u64,
    /// Why the last of them was.
    pub outbox_reason: Option<String>,
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
        held: held(conn).await?,
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
    let creators = conn.rows(roles::OTHER_CREATORS, &[&schema]).await?;
    Ok(PgRights {
        role: get(&row, 0)?,
        schema_is_there: get(&row, 1)?,
        may_make_schema: get(&row, 2)?,
        may_use: get(&row, 3)?,
        may_make_tables: get(&row, 4)?,
        of_others: of_others.iter().map(|row| get(row, 0)).collect::<Result<Vec<String>>>()?,
        creators: creators.iter().map(|row| get(row, 0)).collect::<Result<Vec<String>>>()?,
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

/// A slot that nobody uses any more holds them for ever.
async fn held(conn: &Conn) -> Result<Option<PgHeld>> {
    let sql = "SELECT h.age::int8, h.whose FROM ( \
               SELECT greatest(coalesce(age(xmin), 0), coalesce(age(catalog_xmin), 0)), \
               format('the replication slot %s, which %s', slot_name, CASE WHEN active THEN 'is in use' ELSE 'nobody uses' END) \
               FROM pg_replication_slots \
               UNION ALL SELECT age(backend_xmin), format('the standby %s (process %s)', coalesce(nullif(application_name, ''), 'without a name'), pid) \
               FROM pg_stat_replication WHERE backend_xmin IS NOT NULL) AS h (age, whose) ORDER BY h.age DESC LIMIT 1";
    let Some(row) = conn.row(sql, &[]).await? else { return Ok(None) };
    Ok(Some(PgHeld { transactions: count(&row, 0)?, whose: get(&row, 1)? }))
}

/// What cannot be read of it is no reason not to look at the rest.
async fn configured(conn: &Conn) -> Result<std::result::Result<Configuration, String>> {
    match config::read(conn).await {
        Ok(configuration) => Ok(Ok(configuration)),
        Err(error @ Error::BadValue(_)) => Ok(Err(error.to_string())),
        Err(error) => Err(error),
    }
}

async fn inside(conn: &Conn, now: Timestamp) -> Result<PgInside> {
    let held = "SELECT count(*) FROM (SELECT FROM queue q JOIN nodes n ON n.incarnation = q.claim \
                WHERE q.claim <> 0 AND n.ended_at IS NOT NULL LIMIT $1) AS held";
    let queue = "SELECT pg_total_relation_size('queue'), coalesce(pg_stat_get_live_tuples('queue'::regclass), 0), \
                 coalesce(pg_stat_get_dead_tuples('queue'::regclass), 0), coalesce(pg_stat_get_vacuum_count('queue'::regclass) \
                 + pg_stat_get_autovacuum_count('queue'::regclass) + pg_stat_get_analyze_count('queue'::regclass) \
                 + pg_stat_get_autoanalyze_count('queue'::regclass), 0)";
    let queue = conn.only(queue, &[]).await?;
    let outbox = conn.only(OUTBOX, &[&MOST_HELD]).await?;
    Ok(PgInside {
        nodes: members::list(conn, 0).await?,
        held_by_ended: count(&conn.only(held, &[&MOST_HELD]).await?, 0)?,
        queue_bytes: count(&queue, 0)?,
        queue_rows: count(&queue, 1)?,
        queue_dead_rows: count(&queue, 2)?,
        queue_is_counted: count(&queue, 3)? > 0,
        missing_partitions: partitions::missing(conn, now).await?,
        locks: partitions::locks(conn).await?,
        configured: Some(configured(conn).await?),
        key_check: key_check::read(conn).await?,
        outbox_waiting: count(&outbox, 0)?,
        outbox_age: Duration::from_micros(u64::try_from(get::<i64>(&outbox, 1)?).unwrap_or(0)),
        outbox_refused: count(&outbox, 2)?,
        outbox_reason: get(&outbox, 3)?,
    })
}
