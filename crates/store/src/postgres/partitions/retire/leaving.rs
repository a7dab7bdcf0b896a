//! What else there is of events whose partition was taken out of their table: keys, labels and notes. They go page by page, by what is in it, and it goes
//! last. That it is one of these is noted beside it: whoever comes to do retention goes on with it, and what somebody else has taken out stays.

use super::super::super::conn::Conn;
use super::super::super::error::Result;
use super::super::super::rows::get;
use super::super::{Days, Table, is_there};
use super::{NOTES, PAGE, Retiring};
use uuid::Uuid;

/// How long the lock is waited for: nobody else does meanwhile.
const PATIENCE: &str = "200ms";

/// How far that has come.
#[derive(Clone, Debug)]
pub(super) struct Leaving {
    name: String,
    days: Days,
    /// The first event whose key and labels may be there; `None` when none are.
    from: Option<Uuid>,
}

impl Leaving {
    pub(super) fn new(name: String, days: Days) -> Self {
        Leaving { name, days, from: Some(days.bounds().0) }
    }
}

/// One that somebody has begun with.
pub(super) async fn begun(conn: &Conn, table: &Table, run: &Retiring) -> Result<Option<Leaving>> {
    let sql = "SELECT substr(key, 9) FROM meta WHERE starts_with(key, 'leaving ') ORDER BY key";
    for row in &conn.rows(sql, &[]).await? {
        let name: String = get(row, 0)?;
        if let Some(days) = table.days_of(&name).filter(|_| !run.is_done_with(&name)) {
            return Ok(Some(Leaving::new(name, days)));
        }
    }
    Ok(None)
}

/// Goes on with it.
pub(super) async fn go_on(conn: &Conn, run: &mut Retiring, mut leaving: Leaving) -> Result<()> {
    let (_, end) = leaving.days.bounds();
    let from = if is_there(conn, &leaving.name).await? { leaving.from } else { None };
    if let Some(from) = from {
        leaving.from = next_page(conn, &leaving.name, from).await?;
        remove_keys_and_labels(conn, &leaving.name, from, leaving.from.unwrap_or(end)).await?;
        run.leaving = Some(leaving);
        return Ok(());
    }
    if !remove_notes(conn, leaving.days.bounds()).await? {
        run.leaving = Some(Leaving { from: None, ..leaving });
        return Ok(());
    }
    conn.batch(&dropping(&leaving.name)).await?;
    // If somebody reads it, it is the next run's.
    run.kept.insert(leaving.name);
    Ok(())
}

/// The first id behind a page; `None` behind the last one.
async fn next_page(conn: &Conn, name: &str, from: Uuid) -> Result<Option<Uuid>> {
    let sql = format!("SELECT id FROM {name} WHERE id >= $1 ORDER BY id OFFSET $2 LIMIT 1");
    conn.row_once(&sql, &[&from, &PAGE]).await?.map(|row| get(&row, 0)).transpose()
}

/// A key may be another event's by now. Those of events that stay have moved out of it, and are in the table.
async fn remove_keys_and_labels(conn: &Conn, name: &str, from: Uuid, to: Uuid) -> Result<()> {
    let keys = format!(
        "DELETE FROM event_keys k USING (SELECT e.id, e.namespace, e.idempotency_key FROM {name} e WHERE e.id >= $1 AND e.id < $2 \
         AND e.idempotency_key IS NOT NULL OFFSET 0) u WHERE k.namespace = ANY (ARRAY[u.namespace]) AND k.key = u.idempotency_key AND k.event = u.id"
    );
    conn.execute_once(&keys, &[&from, &to]).await?;
    let labels = "DELETE FROM event_labels l WHERE l.event >= $1 AND l.event < $2 AND (SELECT e.id FROM events e WHERE e.id = l.event LIMIT 1) IS NULL";
    conn.execute(labels, &[&from, &to]).await.map(drop)
}

/// Removes notes of events within these bounds that are not there any more; whether all were removed.
async fn remove_notes(conn: &Conn, (from, to): (Uuid, Uuid)) -> Result<bool> {
    let sql = "WITH old AS MATERIALIZED (SELECT b.event FROM bare_events b WHERE b.event >= $1 AND b.event < $2 \
               AND (SELECT e.id FROM events e WHERE e.id = b.event LIMIT 1) IS NULL ORDER BY b.event LIMIT $3) \
               DELETE FROM bare_events b USING old o WHERE b.event = ANY (ARRAY[o.event])";
    Ok(conn.execute(sql, &[&from, &to, &NOTES]).await? < NOTES.unsigned_abs())
}

/// Nobody but who reads it by its name is in the way.
fn dropping(name: &str) -> String {
    format!(
        "DO $$ DECLARE patience text := current_setting('lock_timeout'); BEGIN \
         BEGIN PERFORM set_config('lock_timeout', '{PATIENCE}', true); \
         DROP TABLE IF EXISTS {name}; DELETE FROM meta WHERE key = 'leaving {name}'; \
         EXCEPTION WHEN lock_not_available THEN NULL; END; PERFORM set_config('lock_timeout', patience, true); END $$"
    )
}
