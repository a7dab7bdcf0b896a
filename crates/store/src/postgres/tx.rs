//! A transaction that writes: what verbs do their work in. It is begun, ended and tried again by `transact!`, see `transact.rs`.

use super::conn::Conn;
use super::error::Result;
use super::health::Observed;
use super::tallies::Tallies;
use super::tallies::counter::Counter;

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
    /// Writes what was gathered. Health first: what classes change is counted.
    pub(super) async fn flush(&mut self) -> Result<()> {
        let Tx { conn, counter, tallies, health, .. } = self;
        let conn = &*conn;
        let changes = health.changes(conn, tallies).await?;
        // Whoever has outcomes of the same endpoints waits from the one to the commit, so that the others travel together.
        tokio::try_join!(biased; changes.write(conn), tallies.flush(conn, counter))?;
        Ok(())
    }
}
