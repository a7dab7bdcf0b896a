//! The schema, as numbered steps that only ever go forward. `user_version` in the file's header is the number of the last step taken.

use rusqlite::{Connection, TransactionBehavior};

/// The steps; step `n` takes a file from schema `n` to `n + 1`. A step that was released is never changed: a file that has taken it does not
/// take it again.
const STEPS: &[&str] = &[include_str!("sqlite/schema_1.sql"), include_str!("sqlite/schema_2.sql"), include_str!("sqlite/schema_3.sql")];

/// The schema that this release works with.
pub(crate) const KNOWN: i64 = STEPS.len() as i64;

/// The schema of the file; 0 if it is empty.
pub(crate) fn version(conn: &Connection) -> rusqlite::Result<i64> {
    conn.query_row("PRAGMA user_version", [], |row| row.get(0))
}

/// Takes the steps that are missing, each in a transaction of its own. The caller has made sure that the file's schema is not newer than [`KNOWN`].
///
/// It blocks until that is done: milliseconds for a new file, and some seconds per million of deliveries for one that is full. Until then, the
/// disk must hold what a step writes twice, in the file and in its log.
pub(crate) fn migrate(conn: &mut Connection) -> rusqlite::Result<()> {
    migrate_by(conn, STEPS)
}

fn migrate_by(conn: &mut Connection, steps: &[&str]) -> rusqlite::Result<()> {
    loop {
        let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
        // Read again inside the transaction: somebody else may have been faster.
        let at = version(&tx)?;
        let Some(step) = usize::try_from(at).ok().and_then(|at| steps.get(at)) else { return Ok(()) };
        if at > 0 {
            tracing::info!(from = at, to = at + 1, "the database is brought up to date; that takes a while where it is large");
        }
        tx.execute_batch(step)?;
        tx.pragma_update(None, "user_version", at + 1)?;
        tx.commit()?;
        // All that it wrote is in the log: who writes first would wait for it to be copied.
        conn.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))?;
        tracing::info!(schema = at + 1, "the database's schema was brought up to date");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn schema(conn: &Connection) -> Vec<String> {
        let mut statement = conn.prepare("SELECT name FROM sqlite_schema ORDER BY name").expect("a statement");
        statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names")
    }

    /// FNV-1a, 64 bits.
    fn fingerprint(step: &str) -> u64 {
        step.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3))
    }

    /// Files have taken these steps. What they lack is a step of its own.
    #[test]
    fn a_step_is_never_changed() {
        let found: Vec<u64> = STEPS.iter().map(|step| fingerprint(step)).collect();
        let released = [0x1306_6126_fda1_292f, 0xb3b0_1f03_2853_0bf4, 0x7cf4_e02e_f943_2e78];
        assert_eq!(found, released, "a change of the schema is a new step");
    }

    #[test]
    fn from_empty_and_again() {
        let mut conn = Connection::open_in_memory().expect("a database");
        assert_eq!(version(&conn).expect("a version"), 0);
        migrate(&mut conn).expect("migrates");
        assert_eq!(version(&conn).expect("a version"), KNOWN);
        let first = schema(&conn);
        assert!(first.iter().any(|name| name == "deliveries"));
        migrate(&mut conn).expect("migrates");
        assert_eq!(schema(&conn), first);
    }

    #[test]
    fn a_later_step_starts_where_the_file_is() {
        let mut conn = Connection::open_in_memory().expect("a database");
        migrate_by(&mut conn, &["CREATE TABLE a(x)"]).expect("migrates");
        migrate_by(&mut conn, &["CREATE TABLE a(x)", "CREATE TABLE b(x)"]).expect("takes the second step only");
        assert_eq!((version(&conn).expect("a version"), schema(&conn)), (2, vec!["a".to_owned(), "b".to_owned()]));
    }

    #[test]
    fn a_step_that_fails_leaves_nothing_of_itself() {
        let mut conn = Connection::open_in_memory().expect("a database");
        migrate_by(&mut conn, &["CREATE TABLE a(x)", "CREATE TABLE b(x); CREATE TABLE a(x)"]).expect_err("the second step fails");
        assert_eq!((version(&conn).expect("a version"), schema(&conn)), (1, vec!["a".to_owned()]));
    }
}
