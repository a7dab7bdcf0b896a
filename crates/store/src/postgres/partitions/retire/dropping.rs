//! How a partition goes that was counted. In between nobody may have changed it: a trigger that it gets before the count notes whether somebody has, and
//! whoever drops it looks at that behind its lock. Of two runs that count the same one, as when another node comes to lead, the first one gives it up:
//! what it would look at was taken away by the second one.
//!
//! Of events it goes in two steps. With its numbers it is taken out of the table, and nobody finds anything of it any more; what else there is of them is
//! removed by what is in it, page by page, and then it is dropped, which keeps nobody waiting: see `leaving.rs`.
//!
//! The lock on the whole table keeps everybody waiting who uses it. Before it is asked for the numbers are written, which may wait for others; behind it
//! there is no more to do than to move a few rows, and for no longer than [`LIMIT`].

use super::super::super::conn::Conn;
use super::super::super::error::Result;
use super::super::super::rows::get;
use super::super::super::tx::Tx;
use super::super::{Table, has_state, is_for_later};
use super::{Counted, What};
use tokio_postgres::error::SqlState;
use uuid::Uuid;

/// How long each of the locks is waited for, and with it everybody else, and how long the rest may take.
const PATIENCE: &str = "200ms";
const LIMIT: &str = "1s";

/// What a try came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Dropped {
    Yes,
    /// Somebody uses it.
    NotNow,
    /// Somebody has changed it, or counts it anew.
    Changed,
}

/// Whether this user may drop it, if it is there.
pub(super) async fn may_be_dropped(conn: &Conn, name: &str) -> Result<bool> {
    let sql = "SELECT pg_has_role(c.relowner, 'USAGE') FROM pg_class c WHERE c.oid = to_regclass($1::text)";
    conn.row(sql, &[&name]).await?.map_or(Ok(false), |row| get(&row, 0))
}

/// Has it noted from now on whether somebody changes this partition; answers a token of this, and none if it could not be done at once. Whoever was
/// changing it has come to the end.
pub(super) async fn watch(conn: &Conn, name: &str) -> Result<Option<i64>> {
    let sql = format!(
        "DO $$ DECLARE patience text := current_setting('lock_timeout'); BEGIN \
         BEGIN PERFORM set_config('lock_timeout', '{PATIENCE}', true); \
         CREATE OR REPLACE TRIGGER noted AFTER INSERT OR UPDATE OR DELETE ON {name} FOR EACH ROW EXECUTE FUNCTION note_touched(); \
         DELETE FROM meta WHERE key = 'touched {name}'; \
         INSERT INTO meta VALUES ('watched {name}', pg_current_xact_id()::text::int8) ON CONFLICT (key) DO UPDATE SET value = excluded.value; \
         EXCEPTION WHEN lock_not_available OR undefined_table THEN NULL; END; \
         PERFORM set_config('lock_timeout', patience, true); END $$"
    );
    conn.batch(&sql).await?;
    let key = format!("watched {name}");
    let token = conn.row("SELECT value FROM meta WHERE key = $1 AND value = pg_current_xact_id()::text::int8", &[&key]).await?;
    token.map(|row| get(&row, 0)).transpose()
}

/// Nobody wants to know any more who changes it, which costs whoever does so something. As far as that can be had at once.
pub(super) async fn unwatch(conn: &Conn, name: &str) -> Result<()> {
    let sql = format!(
        "DO $$ DECLARE patience text := current_setting('lock_timeout'); BEGIN \
         IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass('{name}') AND tgname = 'noted' AND tgenabled <> 'D') THEN RETURN; END IF; \
         BEGIN PERFORM set_config('lock_timeout', '{PATIENCE}', true); \
         ALTER TABLE {name} DISABLE TRIGGER noted; DELETE FROM meta WHERE key IN ('touched {name}', 'watched {name}'); \
         EXCEPTION WHEN lock_not_available OR undefined_table OR undefined_object OR insufficient_privilege THEN NULL; END; \
         PERFORM set_config('lock_timeout', patience, true); END $$"
    );
    conn.batch(&sql).await
}

/// Whether nobody has changed it since it was watched with this token.
async fn is_as_watched(conn: &Conn, name: &str, token: i64) -> Result<bool> {
    let (touched, watched) = (format!("touched {name}"), format!("watched {name}"));
    let sql = "SELECT NOT EXISTS (SELECT FROM meta WHERE key = $1) AND EXISTS (SELECT FROM meta WHERE key = $2 AND value = $3)";
    get(&conn.only(sql, &[&touched, &watched, &token]).await?, 0)
}

/// Drops it, and takes what was in it out of the numbers.
pub(super) async fn drop_it(tx: &mut Tx, counted: &Counted) -> Result<Dropped> {
    let Some(table) = counted.what.table() else { return Ok(Dropped::Changed) };
    tx.conn.batch("SAVEPOINT counted").await?;
    counted.tallies.clone().flush(&tx.conn, &mut tx.counter).await?;
    match tx.conn.batch(&dropping(table, counted)).await {
        // That it is not there would not do: its last rows may have moved elsewhere.
        Ok(()) => {
            let sql = "SELECT coalesce(current_setting('postrider.dropped', true), '') = $1::text";
            if get(&tx.conn.only(sql, &[&counted.name]).await?, 0)? {
                return Ok(Dropped::Yes);
            }
        }
        Err(error) if is_for_later(&error) || has_state(&error, &SqlState::UNDEFINED_TABLE) => {
            tracing::debug!(partition = counted.name, %error, "a partition that is past its age could not be dropped for now");
        }
        Err(error) => return Err(error),
    }
    // With the numbers, the locks and the settings.
    tx.conn.batch("ROLLBACK TO SAVEPOINT counted").await?;
    let is_as_watched = is_as_watched(&tx.conn, &counted.name, counted.token).await?;
    Ok(if is_as_watched { Dropped::NotNow } else { Dropped::Changed })
}

/// Behind all locks that it takes, it goes unless it was changed. What the statements may take is as before at the end: a COMMIT that is cut off is none
/// that anybody can speak for.
fn dropping(table: &Table, counted: &Counted) -> String {
    let (table, name, token) = (table.name, &counted.name, counted.token);
    let moving = moving(table, name, &counted.stays.ids);
    let dropping = match counted.what {
        What::Attempts => format!("DROP TABLE {name}"),
        What::Events => format!("INSERT INTO meta VALUES ('leaving {name}', 1) ON CONFLICT DO NOTHING"),
    };
    format!(
        "SELECT set_config('postrider.patience', current_setting('lock_timeout'), true), \
         set_config('postrider.limit', current_setting('statement_timeout'), true); \
         SET LOCAL lock_timeout = '{PATIENCE}'; SET LOCAL statement_timeout = '{LIMIT}'; \
         LOCK TABLE ONLY {table} IN ACCESS EXCLUSIVE MODE; LOCK TABLE {name} IN ACCESS EXCLUSIVE MODE; \
         DO $$ BEGIN IF NOT EXISTS (SELECT FROM meta WHERE key = 'touched {name}') \
         AND EXISTS (SELECT FROM meta WHERE key = 'watched {name}' AND value = {token}) THEN \
         ALTER TABLE {table} DETACH PARTITION {name}; DROP TRIGGER IF EXISTS noted ON {name}; {moving}{dropping}; \
         DELETE FROM meta WHERE key IN ('watched {name}', 'waiting {table}'); \
         PERFORM set_config('postrider.dropped', '{name}', true); END IF; END $$; \
         SELECT set_config('lock_timeout', current_setting('postrider.patience'), true), \
         set_config('statement_timeout', current_setting('postrider.limit'), true)"
    )
}

fn moving(table: &str, name: &str, stays: &[Uuid]) -> String {
    if stays.is_empty() {
        return String::new();
    }
    let ids: Vec<String> = stays.iter().map(|id| format!("'{id}'")).collect();
    let ids = ids.join(", ");
    format!("WITH moved AS (DELETE FROM {name} WHERE id IN ({ids}) RETURNING *) INSERT INTO {table} SELECT * FROM moved; ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_named() {
        let sql = moving("events", "events_p20261123", &[Uuid::nil(), Uuid::max()]);
        let ids = "'00000000-0000-0000-0000-000000000000', 'ffffffff-ffff-ffff-ffff-ffffffffffff'";
        let deleted = format!("DELETE FROM events_p20261123 WHERE id IN ({ids}) RETURNING *");
        assert_eq!(sql, format!("WITH moved AS ({deleted}) INSERT INTO events SELECT * FROM moved; "));
        assert!(moving("events", "events_p20261123", &[]).is_empty());
    }
}
