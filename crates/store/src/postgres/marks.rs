//! How a transaction is found again whose end nobody saw: each changes a row of its own when it begins, and holds it locked until its end. So
//! whoever gets the lock knows that it has ended, and the row says whether it was committed.
//!
//! The server's own numbers of transactions would not do: after a crash it gives those out again of which nothing has reached its disk.

use super::conn::Conn;
use super::error::{Error, Result, bad_value};
use super::pool::Pool;
use super::rows::get;
use super::transact::ended;
use parking_lot::Mutex;
use std::collections::VecDeque;
use tokio_postgres::SimpleQueryMessage;
use tokio_postgres::error::SqlState;

/// A place is not used again at once where its transaction was cut off, for the server may take a while to see that: so there are more of them
/// than transactions.
const SPARE: usize = 4;

/// The rows that this engine's transactions change. One transaction at a time has a place.
pub(super) struct Places(Mutex<VecDeque<i64>>);

impl Places {
    /// Makes rows for so many transactions at the same time.
    pub(super) async fn make(pool: &Pool, incarnation: i64, transactions: usize) -> Result<Self> {
        let reading = pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let sql = "INSERT INTO marks (place, incarnation, n) SELECT nextval('mark_places'), $1, 0 FROM generate_series(1, $2::int8) RETURNING place";
        let wanted = i64::try_from(transactions.saturating_mul(SPARE)).unwrap_or(i64::MAX);
        let made = pool.within(conn.rows(sql, &[&incarnation, &wanted])).await;
        let rows = reading.end(made)?;
        Ok(Places(Mutex::new(rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?)))
    }

    /// The one that was not used for the longest.
    pub(super) fn take(&self) -> Result<i64> {
        self.0.lock().pop_front().ok_or_else(|| Error::NoConnection("too many transactions are being looked up".to_owned()))
    }

    pub(super) fn give_back(&self, place: i64) {
        self.0.lock().push_back(place);
    }
}

/// By what a transaction is found again.
pub(super) struct Mark {
    pub(super) place: i64,
    /// What its row says from now on, if it is committed.
    pub(super) n: i64,
    /// The server's process that does it.
    pub(super) backend: i32,
}

impl Mark {
    /// Begins a transaction that writes, in one conversation.
    pub(super) async fn begin(conn: &Conn, place: i64) -> Result<Mark> {
        let sql = format!("BEGIN; UPDATE marks SET n = n + 1 WHERE place = {place} RETURNING n, pg_backend_pid()");
        for said in conn.simple(&sql).await? {
            if let SimpleQueryMessage::Row(row) = said
                && let (Some(n), Some(backend)) = (row.try_get(0)?, row.try_get(1)?)
            {
                return Ok(Mark { place, n: n.parse().map_err(bad_value)?, backend: backend.parse().map_err(bad_value)? });
            }
        }
        Err(bad_value("a transaction without its mark"))
    }

    /// Whether it was committed; `None` while it has not ended. With `end_it` its process is ended then, but for one that waits for a standby:
    /// what it has done is for that to say.
    pub(super) async fn fate(&self, conn: &Conn, end_it: bool) -> Result<Option<bool>> {
        match conn.row("SELECT n FROM marks WHERE place = $1 FOR UPDATE NOWAIT", &[&self.place]).await {
            // A server that lost it has another number there.
            Ok(row) => Ok(Some(row.map(|row| get::<i64>(&row, 0)).transpose()? == Some(self.n))),
            Err(Error::Database(error)) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => {
                if end_it {
                    let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = $1 AND datname = current_database() \
                               AND usename = current_user AND xact_start IS NOT NULL AND wait_event IS DISTINCT FROM 'SyncRep'";
                    conn.rows(sql, &[&self.backend]).await?;
                }
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}
