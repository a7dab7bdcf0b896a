//! A transaction that writes: what verbs do their work in. It is begun, ended and tried again by `transact!`, see `transact.rs`.

use super::conn::{Conn, Params};
use super::error::Result;
use super::health::{self, Changes, Observed};
use super::tallies::counter::Counter;
use super::tallies::{self, PlacedTallies, Tallies};

/// Fails with a division by zero where this engine was ended. In a transaction in which a statement failed the server would take a COMMIT for the end
/// of it and say nothing: it says so of any other statement.
///
/// The row that it looks at is not the one that heartbeats change: with a snapshot held for an hour of them that cost 113 buffers for every COMMIT,
/// and this one costs 2.
pub(super) const FENCE: &str = "SELECT 1 / count(*) FROM living WHERE incarnation = $1";
const COMMIT: &str = "COMMIT";

/// What a verb writes through. Everything that was done through it is stored when it is committed, and nothing before.
pub(super) struct Tx {
    /// Its connection; taken out when it ends.
    pub(super) conn: Conn,
    /// What this engine's claims carry.
    pub(super) incarnation: i64,
    /// Which shards of the tallies it writes into.
    pub(super) counter: Counter,
    /// What it changes of numbers; written before the commit.
    pub(super) tallies: Tallies,
    /// What it has seen of endpoints; written before the commit.
    pub(super) health: Observed,
}

impl Tx {
    /// What there is to write before the commit, and all that has to be asked for it. Health first: what classes change is counted.
    pub(super) async fn gathered(&mut self) -> Result<Gathered> {
        let Tx { conn, counter, tallies, health, .. } = self;
        let changes = health.changes(conn, tallies).await?;
        let tallies = tallies.placed(conn, counter).await?;
        conn.ready(&[health::UPDATE, tallies::COUNT, FENCE, COMMIT]).await?;
        Ok(Gathered { changes, tallies })
    }

    /// Writes what was gathered.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.gathered().await?.write(&self.conn).await
    }
}

/// What a transaction writes last.
pub(super) struct Gathered {
    changes: Changes,
    tallies: PlacedTallies,
}

impl Gathered {
    async fn write(self, conn: &Conn) -> Result<()> {
        tokio::try_join!(biased; self.changes.write(conn), self.tallies.write(conn))?;
        Ok(())
    }

    /// Writes it and commits, unless this engine was ended. All of it travels together: whoever has outcomes of the same endpoints waits until it is
    /// committed.
    ///
    /// Where one of these fails the transaction has failed, and then COMMIT undoes it and says nothing; but what failed comes first, and is answered.
    pub(super) async fn commit(self, conn: &Conn, incarnation: i64) -> Result<()> {
        let this: Params<'_> = &[&incarnation];
        tokio::try_join!(biased; self.write(conn), conn.only(FENCE, this), conn.execute(COMMIT, &[]))?;
        Ok(())
    }
}
