//! Transactions and reads, tried again as long as that may help, and what is done about a commit that nobody saw the end of.
//!
//! Futures that borrow what they are given cannot be made by a closure and be `Send`, so that all of this begins with macros.

use super::error::{Error, Result};
use super::health::Observed;
use super::marks::{Mark, Places};
use super::members::Standing;
use super::pool::Pool;
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

/// How long it is tried to learn what became of a commit, which is as long as a server may take to come back after a crash. A node that does not
/// learn it leaves, so that nothing stays claimed by it that it does not know of.
const DOUBT: Duration = Duration::from_secs(30);

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
    places: Places,
}

impl Writers {
    /// `transactions` says how many there may be at the same time.
    pub(super) async fn new(
        pool: Arc<Pool>,
        standing: Arc<Standing>,
        incarnation: i64,
        give_up: Duration,
        transactions: usize,
    ) -> Result<Self> {
        let places = Places::make(&pool, incarnation, transactions).await?;
        Ok(Writers { pool, standing, incarnation, give_up, turn: AtomicU32::new(0), places })
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
    async fn find_out(&self, mark: Mark, lost: Error) -> Result<()> {
        tracing::warn!(error = %lost, "a connection was lost in a commit; it is looked up what became of it");
        let since = Instant::now();
        let mut pause = PAUSE;
        loop {
            // Whoever has to look for longer asks for the end as well: the server may still wait for a client that is gone.
            match self.fate(&mark, since.elapsed() >= PATIENCE_WITH_LOST).await {
                Ok(Some(is_committed)) => {
                    self.places.give_back(mark.place);
                    return if is_committed { Ok(()) } else { Err(lost) };
                }
                Ok(None) => {}
                Err(error) => tracing::debug!(%error, "the server does not say what became of a commit"),
            }
            if since.elapsed() + pause > DOUBT {
                tracing::error!(error = %lost, "nobody knows whether a transaction was committed; this node leaves");
                self.standing.lose();
                return Err(Error::InDoubt(lost.to_string()));
            }
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Whether a transaction was committed; `None` while it has not ended.
    async fn fate(&self, mark: &Mark, end_it: bool) -> Result<Option<bool>> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let fate = self.pool.within(mark.fate(conn, end_it)).await;
        reading.end(fate)
    }
}

fn shard(place: u32) -> i16 {
    i16::try_from(place).unwrap_or(0)
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
        let place = self.writers.places.take()?;
        // From here on whoever stops waiting gives the connection up.
        let mut open = Open { tx: Some(tx), mark: Some(Mark { place, n: 0, backend: 0 }), seat: *self };
        if let Some(tx) = &open.tx {
            open.mark = Some(self.within(Mark::begin(&tx.conn, place)).await?);
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
    /// Taken out when it is looked up.
    mark: Option<Mark>,
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
                match self.mark.take() {
                    Some(mark) => self.seat.writers.find_out(mark, error).await,
                    None => Err(error),
                }
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
        if let Some(mark) = self.mark.take() {
            self.seat.writers.places.give_back(mark.place);
        }
    }
}

#[cfg(test)]
mod tests;
