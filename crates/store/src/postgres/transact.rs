//! Transactions and reads, tried again as long as that may help. What is done about a commit that nobody saw the end of is in `doubt.rs`.
//!
//! Futures that borrow what they are given cannot be made by a closure and be `Send`, so that all of this begins with macros.

use super::error::{Error, Result};
use super::health::Observed;
use super::marks::{Mark, Places};
use super::options::PgOptions;
use super::pool::Pool;
use super::standing::Standing;
use super::tallies::Tallies;
use super::tallies::counter::Counter;
use super::tx::Tx;
use parking_lot::Mutex;
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
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

/// The first pause before the next try, long enough for whoever was in the way, and the longest one.
const PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

/// How often a read is tried again, and how long it waits before that.
const READS_AGAIN: u32 = 2;
const PAUSE_OF_A_READ: Duration = Duration::from_millis(50);

/// How often closing looks whether all transactions have ended.
const DRAINING: Duration = Duration::from_millis(10);

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
    give_up: Duration,
    /// How long it is tried to learn what became of a commit.
    doubt: Duration,
    places: Places,
    /// Where transactions have counted that have ended well: the next one goes on with the last one's.
    counters: Mutex<Vec<Counter>>,
    /// How many transactions have begun, and not ended.
    open: AtomicUsize,
}

impl Writers {
    /// For as many transactions at the same time as there are lanes and other writers.
    pub(super) fn new(pool: Arc<Pool>, standing: Arc<Standing>, incarnation: i64, options: &PgOptions) -> Self {
        let places = Places::new(incarnation, options.lanes + options.writers);
        let PgOptions { give_up, doubt, .. } = *options;
        let (counters, open) = (Mutex::default(), AtomicUsize::new(0));
        Writers { pool, standing, incarnation, give_up, doubt, places, counters, open }
    }

    /// For a transaction on a connection that all share.
    pub(super) fn seat(&self) -> Seat<'_> {
        Seat { writers: self, pool: &self.pool }
    }

    /// For a transaction of a lane, on one of their connections.
    pub(super) fn lane<'a>(&'a self, pool: &'a Pool) -> Seat<'a> {
        Seat { writers: self, pool }
    }

    /// Waits until what is under way has ended, but not for ever; of a lost commit it is found out meanwhile what became of it.
    pub(super) async fn close(&self, patience: Duration) {
        let since = Instant::now();
        while self.open.load(Ordering::Relaxed) > 0 && since.elapsed() < patience {
            tokio::time::sleep(DRAINING).await;
        }
        self.pool.close();
    }
}

/// Something that is under way for as long as this is there.
struct UnderWay<'a>(&'a AtomicUsize);

impl<'a> UnderWay<'a> {
    fn begin(count: &'a AtomicUsize) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        UnderWay(count)
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Where a transaction is done: on whose connections.
#[derive(Clone, Copy)]
pub(super) struct Seat<'a> {
    writers: &'a Writers,
    pool: &'a Pool,
}

impl<'a> Seat<'a> {
    pub(super) fn tries(&self) -> Tries {
        Tries::of_work(self.writers.give_up)
    }

    /// Begins a transaction, if this node may write.
    pub(super) async fn begin(&self) -> Result<Open<'a>> {
        let under_way = UnderWay::begin(&self.writers.open);
        self.pool.admit()?;
        self.writers.standing.may_write()?;
        let conn = self.pool.get().await?;
        let (incarnation, counter) = (self.writers.incarnation, self.writers.counters.lock().pop().unwrap_or_default());
        let tx = Tx { conn, incarnation, counter, tallies: Tallies::default(), health: Observed::default() };
        // From here on whoever stops waiting gives the connection up.
        let mut open = Open { tx: Some(tx), mark: None, seat: *self, _under_way: under_way };
        if let Some(tx) = &open.tx {
            let begun = self.within(self.writers.places.begin(&tx.conn)).await;
            if matches!(begun, Err(Error::Lost)) {
                tracing::error!(incarnation, "this node was taken for dead so long ago that what was kept of it is gone");
                self.writers.standing.lose();
            }
            open.mark = Some(begun?);
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
    mark: Option<Mark<'a>>,
    seat: Seat<'a>,
    _under_way: UnderWay<'a>,
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
        let gathered = match self.seat.within(Box::pin(tx.gathered())).await {
            Ok(gathered) => gathered,
            Err(error) => return Err(self.undo(error).await),
        };
        let Some(tx) = &self.tx else { return Err(ended()) };
        match self.seat.within(Box::pin(gathered.commit(&tx.conn, tx.incarnation))).await {
            Ok(()) => {
                if let Some(tx) = self.close() {
                    self.seat.writers.counters.lock().push(tx.counter);
                }
                Ok(())
            }
            Err(error) if error.is_fence() => {
                tracing::error!(incarnation = tx.incarnation, "this node was taken for dead; what it was about to store is not stored");
                self.seat.writers.standing.lose();
                Err(self.undo(Error::Lost).await)
            }
            // The server has said that it did not, and goes on. One that breaks down in it may have.
            Err(error) if error.is_answer() => Err(self.undo(error).await),
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
        drop(self.close());
        error
    }

    /// The server has ended it: its connection and its place are free. Where it was undone nobody goes on with its counter, which does not say what is
    /// stored.
    fn close(&mut self) -> Option<Tx> {
        if let Some(mark) = &mut self.mark {
            mark.has_ended();
        }
        self.tx.take()
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

mod doubt;

#[cfg(test)]
mod tests;
