//! What cannot be seen from outside: how connections are set, on which the promises to publishers and readers rest.

use super::readers::Readers;
use super::{config, files};
use postrider_core::ports::StoreErrorKind;
use rusqlite::types::FromSql;
use rusqlite::{Connection, ErrorCode, StatementStatus};
use std::path::PathBuf;
use tempfile::TempDir;

fn database() -> (TempDir, PathBuf, Connection) {
    let directory = tempfile::tempdir().expect("a directory for the test");
    let file = files::database(directory.path());
    let writer = files::open_database(&file).expect("a new database");
    (directory, file, writer)
}

fn pragma<T: FromSql>(conn: &Connection, name: &str) -> T {
    conn.pragma_query_value(None, name, |row| row.get(0)).unwrap_or_else(|e| panic!("{name}: {e}"))
}

/// A killed process loses nothing that the system holds for it, so no test that kills one would see these settings go.
#[test]
fn an_acknowledged_commit_is_on_the_disk() {
    let (_directory, file, writer) = database();
    for conn in [writer, files::connect_writer(&file).expect("one that is opened again")] {
        assert_eq!(pragma::<i64>(&conn, "synchronous"), 2, "FULL: the log is synced at every commit");
        assert_eq!(pragma::<String>(&conn, "journal_mode"), "wal");
        assert_eq!(pragma::<i64>(&conn, "wal_autocheckpoint"), 0, "checkpoints have a thread of their own");
    }
}

#[test]
fn readers_cannot_write() {
    let (_directory, file, _writer) = database();
    let reader = files::connect_reader(&file).expect("a reader");
    assert!(reader.is_readonly("main").expect("there is one"));
    assert_eq!(pragma::<i64>(&reader, "query_only"), 1);
    let refused = reader.execute("UPDATE meta SET value = value + 1", []).expect_err("a reader that writes");
    assert_eq!(refused.sqlite_error_code(), Some(ErrorCode::ReadOnly));
}

/// Left to itself, SQLite plans a statement anew whenever another small number is bound to it, which costs many times what running it does.
#[test]
fn a_statement_is_planned_once() {
    let (_directory, file, writer) = database();
    let reader = files::connect_reader(&file).expect("a reader");
    for conn in [writer, reader] {
        for sql in ["SELECT id FROM attempts WHERE delivery = ?1 AND number = ?2", "SELECT id FROM deliveries WHERE id = ?1 LIMIT ?2"] {
            let mut statement = conn.prepare_cached(sql).expect("a statement");
            for number in 1..=3 {
                assert!(!statement.exists(rusqlite::params![b"none", number]).expect("an answer"));
            }
            assert_eq!(statement.get_status(StatementStatus::RePrepare), 0, "{sql}");
        }
    }
}

#[tokio::test]
async fn a_read_of_several_steps_sees_one_moment() {
    let (_directory, file, writer) = database();
    let readers = Readers::new(file, 1);
    let (before, after) = readers
        .read(move |conn| {
            let before = config::version(conn)?;
            config::put(&writer, &[])?;
            Ok((before, config::version(conn)?))
        })
        .await
        .expect("a read");
    assert_eq!(after, before, "what is committed meanwhile is not mixed in");
    assert_eq!(readers.read(config::version).await, Ok(before + 1));
    readers.close();
    assert_eq!(readers.read(config::version).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
}
