//! Transactions and reads, tried again as long as that may help, and what is done about a commit that nobody saw the end of.
//!
//! Futures that borrow what they are given cannot be made by a closure and be `Send`, so that all of this begins with macros.

use super::error::{Error, Result};
use super::health::Observed;
use super::members::{self, Standing};
use super::pool::Pool;
use super::rows::get;
use super::tallies::Tallies;
use super::tx::Tx;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// Does work in a transaction and commits it: `transact!(seat, tx => publish::publish(tx, &events))`, where `tx` is a `&mut Tx`. The work is
/// evaluated anew for each try. Comes to a [`Result`].
macro_rules! transact {
    ($seat:expr, $tx:ident => $work:expr) => {{
        let seat = $seat;
        let mut tries = seat.tries();
        loop {
            let done = match seat.begin().await {
                Err(error) => Err(error),
                Ok(mut open) => {
                    let worked = match open.tx() {
                        Some($tx) => seat.within(Box::pin($work)).await,
                        None => Err($crate::postgres::transact::ended()),
                    };
                    open.end(worked).await
                }
            };
            match done {
                Ok(value) => break Ok(value),
                Err(error) => {
                    if let Err(error) = tries.again(error).await {
                        break Err(error);
                    }
                }
            }
        }
    }};
}

/// Reads: `look!(pool, conn => reads::delivery(conn, id))`, where `conn` is a `&Conn`. Comes to a [`Result`].
macro_rules! look {
    ($pool:expr, $conn:ident => $work:expr) => {{
        let pool = &$pool;
        let mut tries = pool.tries();
        loop {
            let done = match pool.reading().await {
                Err(error) => Err(error),
                Ok(reading) => {
                    let read = match reading.conn() {
                        Some($conn) => pool.within(Box::pin($work)).await,
                        None => Err($crate::postgres::transact::ended()),
                    };
                    reading.end(read)
                }
            };
            match done {
                Ok(value) => break Ok(value),
                Err(error) => {
                    if let Err(error) = tries.again(error).await {
                        break Err(error);
                    }
                }
            }
        }
    }};
}

/// A verb that writes in a transaction: `written!(self, tx => claim::claim(tx, &requests))`.
macro_rules! written {
    ($store:expr, $tx:ident => $work:expr) => {
        Box::pin(
            async move { transact!($store.writers.seat(), $tx => $work).map_err($crate::postgres::error::Error::into_store) },
        )
    };
}

/// A verb that reads with one statement: `read!(self.own, conn => config::version(conn))`.
macro_rules! read {
    ($pool:expr, $conn:ident => $work:expr) => {
        Box::pin(async move { look!($pool, $conn => $work).map_err($crate::postgres::error::Error::into_store) })
    };
}

/// A verb that reads with several statements, all of one moment.
macro_rules! snapshot {
    ($pool:expr, $conn:ident => $work:expr) => {
        read!($pool, $conn => async {
            $conn.batch($crate::postgres::transact::SNAPSHOT).await?;
            let value = $work.await?;
            $conn.batch("COMMIT").await?;
            Ok::<_, $crate::postgres::error::Error>(value)
        })
    };
}

/// Begins a read of one moment.
pub(super) const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ, READ ONLY";

/// Commits. In a transaction in which a statement failed the server would take a COMMIT for the end of it and say nothing: it says so of any
/// other statement.
const COMMIT: &str = "SELECT 1; COMMIT";

/// The first pause before the next try, long enough for whoever was in the way, and the longest one.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a read is tried again, and how long it waits before that.
const READS_AGAIN: u32 = 2;
const PAUSE_OF_A_READ: Duration = Duration::from_millis(50);

/// How long a commit that nobody waits for any more may go on before its process at the server is ended.
const PATIENCE_WITH_LOST: Duration = Duration::from_secs(1);

/// Tallies are kept in so many shards. The first half is for lanes, which write all the time and each into the same one; the others are taken
/// in turn by everybody else.
const SHARDS_OF_A_HALF: u32 = 16;

/// What there is no reason to meet: a connection whose work has ended already.
pub(super) fn ended() -> Error {
    Error::NoConnection("the transaction has ended".to_owned())
}

/// Tries of the same piece of work.
pub(super) struct Tries {
    since: Instant,
    give_up: Duration,
    left: u32,
    pause: Duration,
}

impl Tries {
    /// As many as there is time for.
    fn of_work(give_up: Duration) -> Self {
        Tries { since: Instant::now(), give_up, left: u32::MAX, pause: PAUSE }
    }

    /// Few: whoever reads can ask again.
    pub(super) fn of_read() -> Self {
        Tries { since: Instant::now(), give_up: LONGEST_PAUSE, left: READS_AGAIN, pause: PAUSE_OF_A_READ }
    }

    /// Waits until the next try; gives the error back if there is none.
    pub(super) async fn again(&mut self, error: Error) -> Result<()> {
        if !error.is_transient() || self.left == 0 || self.since.elapsed() + self.pause > self.give_up {
            return Err(error);
        }
        tracing::debug!(%error, "the database is asked again");
        tokio::time::sleep(self.pause).await;
        self.left -= 1;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}

/// What all transactions of a node need.
pub(super) struct Writers {
    pub(super) pool: Arc<Pool>,
    pub(super) standing: Arc<Standing>,
    pub(super) incarnation: i64,
    pub(super) give_up: Duration,
    turn: AtomicU32,
}

impl Writers {
    pub(super) fn new(pool: Arc<Pool>, standing: Arc<Standing>, incarnation: i64, give_up: Duration) -> Self {
        Writers { pool, standing, incarnation, give_up, turn: AtomicU32::new(0) }
    }

    /// For a transaction on a connection that all share.
    pub(super) fn seat(&self) -> Seat<'_> {
        let turn = self.turn.fetch_add(1, Ordering::Relaxed) % SHARDS_OF_A_HALF;
        Seat { writers: self, pool: &self.pool, shard: shard(SHARDS_OF_A_HALF + turn) }
    }

    /// For a transaction of this lane of so many, on one of their connections.
    pub(super) fn lane<'a>(&'a self, pool: &'a Pool, lane: usize, of: usize) -> Seat<'a> {
        let place = (i128::from(self.incarnation) * of as i128 + lane as i128).rem_euclid(i128::from(SHARDS_OF_A_HALF));
        Seat { writers: self, pool, shard: i16::try_from(place).unwrap_or(0) }
    }

    /// What became of a transaction whose COMMIT was lost with its connection: nothing is wrong if it holds, and `lost` says that it does not.
    async fn find_out(&self, mark: &Mark, lost: Error) -> Result<()> {
        tracing::warn!(error = %lost, "a connection was lost in a commit; the server is asked what became of it");
        let since = Instant::now();
        let mut pause = PAUSE;
        loop {
            // Whoever has to look twice asks for the end as well: the server may still wait for a client that is gone.
            let fate = self.fate(mark, since.elapsed() >= PATIENCE_WITH_LOST).await;
            match fate {
                Ok(Fate::Committed) => return Ok(()),
                Ok(Fate::Aborted) => return Err(lost),
                Ok(Fate::Forgotten) => return Err(Error::InDoubt(lost.to_string())),
                Ok(Fate::Open) => {}
                Err(error) => tracing::debug!(%error, "the server does not say what became of a commit"),
            }
            if since.elapsed() + pause > self.give_up {
                tracing::error!(error = %lost, "nobody knows whether a transaction was committed");
                return Err(Error::InDoubt(lost.to_string()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    async fn fate(&self, mark: &Mark, end_it: bool) -> Result<Fate> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let asked = async {
            if mark.timeline != 0 && mark.timeline != members::timeline(conn).await {
                // Another server has taken over since. It may never have seen the transaction, and have given its number to another one.
                return Ok(Fate::Forgotten);
            }
            let fate = Fate::read(get(&conn.only("SELECT pg_xact_status($1::text::xid8)", &[&mark.number]).await?, 0)?);
            if fate == Fate::Open && end_it {
                let sql = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                           WHERE backend_xid = $1::text::xid8::xid AND datname = current_database() AND pid <> pg_backend_pid()";
                conn.rows(sql, &[&mark.number]).await?;
            }
            Ok::<_, Error>(fate)
        };
        let fate = self.pool.within(asked).await;
        reading.end(fate)
    }
}

fn shard(place: u32) -> i16 {
    i16::try_from(place).unwrap_or(0)
}

/// By what a transaction is found again.
struct Mark {
    number: String,
    /// The history of the server in which it has this number.
    timeline: u32,
}

/// What a server says about a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Committed,
    Aborted,
    /// It has not ended.
    Open,
    /// It says nothing.
    Forgotten,
}

impl Fate {
    fn read(status: Option<&str>) -> Self {
        match status {
            Some("committed") => Fate::Committed,
            Some("aborted") => Fate::Aborted,
            Some("in progress") => Fate::Open,
            _ => Fate::Forgotten,
        }
    }
}

/// Where a transaction is done: on whose connections, and into which shard it counts.
#[derive(Clone, Copy)]
pub(super) struct Seat<'a> {
    writers: &'a Writers,
    pool: &'a Pool,
    shard: i16,
}

impl<'a> Seat<'a> {
    pub(super) fn tries(&self) -> Tries {
        Tries::of_work(self.writers.give_up)
    }

    /// Begins a transaction, if this node may write.
    pub(super) async fn begin(&self) -> Result<Open<'a>> {
        self.writers.standing.may_write()?;
        let conn = self.pool.get().await?;
        let (incarnation, shard) = (self.writers.incarnation, self.shard);
        let tx = Tx { conn, incarnation, shard, tallies: Tallies::default(), health: Observed::default() };
        let mark = Mark { number: String::new(), timeline: self.writers.standing.timeline() };
        // From here on whoever stops waiting gives the connection up.
        let mut open = Open { tx: Some(tx), mark, seat: *self };
        if let Some(tx) = &open.tx {
            open.mark.number = self.within(tx.conn.begin()).await?;
        }
        Ok(open)
    }

    /// Waits for an answer no longer than there can be one.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        self.pool.within(work).await
    }
}

/// A transaction that was begun. Dropped before its end, its connection is given up, and the server undoes it.
pub(super) struct Open<'a> {
    tx: Option<Tx>,
    mark: Mark,
    seat: Seat<'a>,
}

impl Open<'_> {
    /// What the work is done through.
    pub(super) fn tx(&mut self) -> Option<&mut Tx> {
        self.tx.as_mut()
    }

    /// The work has come to this: commits it, or undoes all of it.
    pub(super) async fn end<T>(mut self, worked: Result<T>) -> Result<T> {
        match worked {
            Ok(value) => self.commit().await.map(|()| value),
            Err(error) => Err(self.undo(error).await),
        }
    }

    async fn commit(&mut self) -> Result<()> {
        let Some(tx) = &mut self.tx else { return Err(ended()) };
        if let Err(error) = self.seat.within(Box::pin(tx.flush())).await {
            return Err(self.undo(error).await);
        }
        let Some(tx) = &self.tx else { return Err(ended()) };
        match self.seat.within(tx.conn.batch(COMMIT)).await {
            Ok(()) => {
                drop(self.tx.take());
                Ok(())
            }
            // The server has said that it did not.
            Err(error) if !error.is_lost_connection() => Err(self.undo(error).await),
            Err(error) => {
                self.give_up();
                self.seat.writers.find_out(&self.mark, error).await
            }
        }
    }

    /// Undoes everything, so that the connection can be used again if it can.
    async fn undo(&mut self, error: Error) -> Error {
        let Some(tx) = &self.tx else { return error };
        if error.is_lost_connection() || self.seat.within(tx.conn.batch("ROLLBACK")).await.is_err() {
            // The server ends connections with errors of all kinds; nothing of this one holds, and the next may do better.
            let was_closed = tx.conn.is_closed();
            self.give_up();
            let is_new = was_closed && !error.is_lost_connection() && !error.is_fault_of_one();
            return if is_new { Error::NoConnection(error.to_string()) } else { error };
        }
        drop(self.tx.take());
        error
    }

    fn give_up(&mut self) {
        if let Some(tx) = self.tx.take() {
            tx.conn.discard();
        }
    }
}

impl Drop for Open<'_> {
    fn drop(&mut self) {
        self.give_up();
    }
}

#[cfg(test)]
mod tests;
