//! The schema, as numbered steps that only ever go forward. The table `schema_steps` has a row for each that was taken.

use super::error::Error;
use std::time::Duration;
use tokio_postgres::Client;
use tokio_postgres::error::SqlState;

/// The steps; step `n` takes the schema from `n` to `n + 1`. A step that was released is never changed: a schema that has taken it does not
/// take it again.
const STEPS: &[&str] = &[
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
];

/// The schema that this release works with.
pub(super) const KNOWN: i64 = STEPS.len() as i64;

/// The oldest PostgreSQL that the statements are written for, as `server_version_num` says it.
pub(super) const OLDEST_SERVER: i32 = 150_000;

/// How long a step waits for the lock of a table, as `lock_timeout` has it: whatever else wants that table waits behind it, so that nothing is stored
/// meanwhile. Then it lets them go on for [`LET_GO_ON`] and tries again, so many times in all.
const LOCK_TIMEOUT: &str = "2s";
const LET_GO_ON: Duration = Duration::from_secs(2);
const LOCK_TRIES: u32 = 15;

/// The key of the lock that is held meanwhile: one for each schema of a database.
macro_rules! key {
    () => {
        "hashtextextended('postrider schema ' || $1::text, 0)"
    };
}

/// Why a schema could not be brought up to date.
#[derive(Debug, thiserror::Error)]
pub(super) enum MigrateError {
    /// The server is older than what the statements are written for.
    #[error("the database is PostgreSQL {found}, and postrider needs {} or newer", OLDEST_SERVER / 10_000)]
    OldServer {
        /// The server's version.
        found: String,
    },
    /// The database cannot hold every text.
    #[error(
        "the encoding of the database is {found}, and postrider needs UTF8: make one with CREATE DATABASE … TEMPLATE template0 ENCODING 'UTF8' (and \
         LOCALE 'C.UTF-8' where the server's own is of another encoding), and name it in the URL"
    )]
    Encoding {
        /// The database's encoding.
        found: String,
    },
    /// A later release has changed the schema.
    #[error("the schema {schema} was made by a newer postrider (version {found}, this one knows {known}): run that release or a later one")]
    Newer {
        /// The schema's name.
        schema: String,
        /// How many steps it has taken.
        found: i64,
        /// How many this release knows.
        known: i64,
    },
    /// The user has no right to make or change the schema, or the server takes no writes.
    #[error(
        "the schema {schema} cannot be brought up to date: the user of the database needs the right to create it (GRANT CREATE ON DATABASE), or \
         to own it and what is in it ({cause})"
    )]
    Denied {
        /// The schema's name.
        schema: String,
        /// What the server said.
        cause: String,
    },
    /// Somebody else has been bringing it up to date for longer than anybody waits.
    #[error("the schema {schema} is being brought up to date by another connection, which has not come to its end: {by}")]
    Busy {
        /// The schema's name.
        schema: String,
        /// Who that is.
        by: String,
    },
    /// Anything else.
    #[error("{0}")]
    Failed(Error),
}

impl MigrateError {
    fn new(schema: &str, error: tokio_postgres::Error) -> Self {
        // A schema that may not be looked into counts as none to create something in.
        let denied = matches!(
            error.code(),
            Some(&SqlState::INSUFFICIENT_PRIVILEGE | &SqlState::INVALID_SCHEMA_NAME | &SqlState::READ_ONLY_SQL_TRANSACTION)
        );
        let error = Error::from(error);
        if denied {
            return MigrateError::Denied { schema: schema.to_owned(), cause: error.to_string() };
        }
        MigrateError::Failed(error)
    }
}

/// Takes the steps that are missing, each in a transaction of its own. Of several nodes at once one does, and the others wait for it.
///
/// Outside of a transaction. The session's search path is the schema afterwards. Whoever stops waiting for the answer drops the client, which
/// would keep the lock.
pub(super) async fn migrate(client: &mut Client, schema: &str) -> Result<(), MigrateError> {
    if let Some(found) = too_old(client).await.map_err(|e| MigrateError::new(schema, e))? {
        return Err(MigrateError::OldServer { found });
    }
    if let Some(found) = other_encoding(client).await.map_err(|e| MigrateError::new(schema, e))? {
        return Err(MigrateError::Encoding { found });
    }
    look_into(client, schema).await.map_err(|e| MigrateError::new(schema, e))?;
    // As at most starts: no lock is taken, and no right to change anything is needed.
    if version(client, schema).await? == KNOWN {
        return Ok(());
    }
    lock(client, schema).await?;
    let migrated = take_steps(client, schema).await;
    let unlocked = unlock(client, schema).await.map_err(|e| MigrateError::new(schema, e));
    migrated.and(unlocked)
}

/// The server's version, if it is too old.
async fn too_old(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let sql = "SELECT current_setting('server_version_num')::int4, current_setting('server_version')";
    let row = client.query_one(sql, &[]).await?;
    let (number, shown): (i32, String) = (row.try_get(0)?, row.try_get(1)?);
    Ok((number < OLDEST_SERVER).then_some(shown))
}

/// The database's encoding, if it is not the one that has every character. Texts would be refused there only when somebody sends one.
async fn other_encoding(client: &Client) -> Result<Option<String>, tokio_postgres::Error> {
    let found: String = client.query_one("SELECT current_setting('server_encoding')", &[]).await?.try_get(0)?;
    Ok((found != "UTF8").then_some(found))
}

async fn look_into(client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    client.query_one("SELECT set_config('search_path', quote_ident($1::text), false)", &[&schema]).await.map(drop)
}

/// How many steps the schema in the search path has taken: none where it is not there. An error if they are more than this release knows.
pub(super) async fn version(client: &Client, schema: &str) -> Result<i64, MigrateError> {
    let found = steps_taken(client).await.map_err(|e| MigrateError::new(schema, e))?;
    if found > KNOWN {
        return Err(MigrateError::Newer { schema: schema.to_owned(), found, known: KNOWN });
    }
    Ok(found)
}

/// How many steps that is, however many this release knows.
pub(super) async fn steps_taken(client: &Client) -> Result<i64, tokio_postgres::Error> {
    let there: bool = client.query_one("SELECT to_regclass('schema_steps') IS NOT NULL", &[]).await?.try_get(0)?;
    if !there {
        return Ok(0);
    }
    client.query_one("SELECT coalesce(max(step), 0)::int8 FROM schema_steps", &[]).await?.try_get(0)
}

/// Takes the lock under which the steps are taken, and waits for whoever has it. It is the session's, for the steps are transactions of
/// their own.
async fn lock(client: &Client, schema: &str) -> Result<(), MigrateError> {
    let failed = |e| MigrateError::new(schema, e);
    // A step takes as long as it takes; what holds a lock of a table for longer than this is not going to give it back.
    client.batch_execute("SET statement_timeout = 0; SET lock_timeout = '60s'").await.map_err(failed)?;
    let sql = concat!("SELECT pg_try_advisory_lock(", key!(), ")");
    let row = client.query_one(sql, &[&schema]).await.map_err(failed)?;
    if row.try_get::<_, bool>(0).map_err(failed)? {
        return Ok(());
    }
    let by = holders(client, schema).await.map_err(failed)?;
    tracing::info!(schema, by = by.as_str(), "the database's schema is being brought up to date by another connection: waiting for it");
    let Err(error) = client.execute(concat!("SELECT pg_advisory_lock(", key!(), ")"), &[&schema]).await else { return Ok(()) };
    if error.code() != Some(&SqlState::LOCK_NOT_AVAILABLE) {
        return Err(failed(error));
    }
    let by = holders(client, schema).await.map_err(failed)?;
    Err(MigrateError::Busy { schema: schema.to_owned(), by })
}

async fn unlock(client: &Client, schema: &str) -> Result<(), tokio_postgres::Error> {
    client.execute(concat!("SELECT pg_advisory_unlock(", key!(), ")"), &[&schema]).await?;
    client.batch_execute("RESET lock_timeout; RESET statement_timeout").await
}

/// Who has the lock, for people: the name of the application, its process at the server, and where it comes from if that may be known.
async fn holders(client: &Client, schema: &str) -> Result<String, tokio_postgres::Error> {
    let sql = concat!(
        "SELECT coalesce(string_agg(format('%s, process %s%s', coalesce(nullif(a.application_name, ''), 'without a name'), a.pid, \
         ', from ' || host(a.client_addr)), '; '), 'it has just ended') \
         FROM pg_locks l JOIN pg_stat_activity a ON a.pid = l.pid \
         WHERE l.locktype = 'advisory' AND l.granted AND l.objsubid = 1 \
         AND l.database = (SELECT oid FROM pg_database WHERE datname = current_database()) \
         AND (l.classid::int8 << 32 | l.objid::int8) = ",
        key!()
    );
    client.query_one(sql, &[&schema]).await?.try_get(0)
}

async fn take_steps(client: &mut Client, schema: &str) -> Result<(), MigrateError> {
    loop {
        // Read again under the lock: somebody else may have been faster.
        let at = version(client, schema).await?;
        let Some(step) = usize::try_from(at).ok().and_then(|at| STEPS.get(at)) else { return Ok(()) };
        if at > 0 {
            tracing::info!(schema, from = at, to = at + 1, "the database is brought up to date; that takes a while where it is large");
        }
        take_in_turn(client, schema, at, step).await.map_err(|e| MigrateError::new(schema, e))?;
        tracing::info!(schema, version = at + 1, "the database's schema was brought up to date");
    }
}

/// Takes the step from this version, as soon as the tables that it changes can be had.
async fn take_in_turn(client: &mut Client, schema: &str, at: i64, step: &str) -> Result<(), tokio_postgres::Error> {
    for _ in 1..LOCK_TRIES {
        match take(client, schema, at, step).await {
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                let to = at + 1;
                tracing::info!(schema, to, "somebody else has a table that the schema's next step changes: it is tried again in a moment");
                tokio::time::sleep(LET_GO_ON).await;
            }
            taken => return taken,
        }
    }
    take(client, schema, at, step).await
}

/// Takes the step from this version. What fails leaves nothing of itself.
async fn take(client: &mut Client, schema: &str, at: i64, step: &str) -> Result<(), tokio_postgres::Error> {
    let tx = client.transaction().await?;
    if at == 0 {
        let sql = "SELECT format('CREATE SCHEMA %I', $1::text) WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = $1::text)";
        if let Some(row) = tx.query_opt(sql, &[&schema]).await? {
            tx.batch_execute(row.try_get(0)?).await?;
        }
        tx.batch_execute("CREATE TABLE schema_steps (step int PRIMARY KEY, taken_at timestamptz NOT NULL DEFAULT clock_timestamp())")
            .await?;
    }
    tx.batch_execute(&format!("SET LOCAL lock_timeout = '{LOCK_TIMEOUT}'")).await?;
    tx.batch_execute(step).await?;
    tx.execute("INSERT INTO schema_steps (step) VALUES ($1::int8::int4)", &[&(at + 1)]).await?;
    tx.commit().await
}

#[cfg(test)]
mod tests {
    use super::*;

    /// FNV-1a, 64 bits.
    fn fingerprint(step: &str) -> u64 {
        step.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Databases have taken these steps. What they lack is a step of its own.
    #[test]
    fn a_step_is_never_changed() {
        let found: Vec<u64> = STEPS.iter().map(|step| fingerprint(step)).collect();
        assert_eq!(
            found,
            [0x5b55_5dd4_708c_7426, 0xf0a5_7e47_8250_5885, 0xf374_dcf7_96a9_1cbc, 0x3bfe_7d0b_6f87_db91, 0xb9c1_ced6_d269_35e7],
            "a change of the schema is a new step"
        );
    }

    #[test]
    fn errors_say_how_to_mend_them() {
        let old = MigrateError::OldServer { found: "14.9".to_owned() };
        assert_eq!(old.to_string(), "the database is PostgreSQL 14.9, and postrider needs 15 or newer");
        let encoding = MigrateError::Encoding { found: "LATIN1".to_owned() }.to_string();
        assert!(
            encoding.starts_with("the encoding of the database is LATIN1, and postrider needs UTF8: make one with CREATE DATABASE"),
            "{encoding}"
        );
        let newer = MigrateError::Newer { schema: "postrider".to_owned(), found: 7, known: KNOWN };
        let text = format!(
            "the schema postrider was made by a newer postrider (version 7, this one knows {KNOWN}): run that release or a later one"
        );
        assert_eq!(newer.to_string(), text);
    }
}
