//! Partitions that could not be dropped for long. While somebody always reads a table, and each of them goes on until the next one has come, nobody gets its
//! lock: its rows go one by one then. It is said once one of its partitions goes that it can be had again.

use super::super::super::conn::Conn;
use super::super::super::error::Result;
use super::super::super::rows::get;
use super::super::Table;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// For so long it is tried.
const LONGEST: Duration = Duration::from_secs(24 * 60 * 60);

fn key(table: &Table) -> String {
    format!("waiting {}", table.name)
}

/// Notes that a partition of this table waits, unless one does already.
pub(super) async fn note(conn: &Conn, table: &Table, now: Timestamp) -> Result<()> {
    let sql = "INSERT INTO meta VALUES ($1::text, $2::int8) ON CONFLICT DO NOTHING";
    conn.execute(sql, &[&key(table), &now.as_micros()]).await.map(drop)
}

/// Whether none of it has gone for so long that its rows are to go one by one.
pub(super) async fn is(conn: &Conn, table: &Table, now: Timestamp) -> Result<bool> {
    let Some(row) = conn.row("SELECT value FROM meta WHERE key = $1::text", &[&key(table)]).await? else { return Ok(false) };
    Ok(Timestamp::from_micros(get(&row, 0)?).after(LONGEST) <= now)
}
