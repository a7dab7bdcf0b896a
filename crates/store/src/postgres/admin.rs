//! A second door for the command line, which works while nodes run and before the first one: it joins as none.

use super::config;
use super::error::{Error, Result};
use super::health::Observed;
use super::members::Standing;
use super::migrate;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::pool::{Pool, Server, Use};
use super::tallies::Tallies;
use super::transact::ended;
use super::tx::Tx;
use postrider_core::ports::{ConfigChange, Configuration, Configured, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// It sends no heartbeats, and nobody takes it for dead.
const NO_LEASE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// No node's number: what is configured carries none.
const NO_NODE: i64 = 0;

/// Into which shard of the tallies it writes, one of those that no lane has.
const SHARD: i16 = 16;

/// What [`PgAdmin::migrate`] has done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PgMigrated {
    /// The schema's version before; 0 where there was none.
    pub from: i64,
    /// Its version now, which is this release's.
    pub to: i64,
}

/// Reads and changes the configuration without being a node. It wants a tokio runtime.
///
/// Running nodes see a change within a second, for its version rises.
pub struct PgAdmin {
    /// Of one connection.
    pool: Pool,
}

impl PgOptions {
    /// Refuses what no store can be opened with. Nothing is connected to.
    pub fn verify(&self) -> std::result::Result<(), PgOpenError> {
        self.check()?;
        Server::new(self).map(drop)
    }

    /// How many connections a node opens, at the most.
    pub fn connections(&self) -> usize {
        self.lanes + self.writers + self.readers + self.own_readers + 1
    }
}

impl PgAdmin {
    /// Opens the door. With `make` a schema that is not there is made; without it that is refused, and so is in any case one of another release.
    pub async fn open(options: PgOptions, make: bool) -> std::result::Result<PgAdmin, PgOpenError> {
        options.check()?;
        let server = Server::new(&options)?;
        let mut client = server.connect(Use::Migrate, &options).await?;
        let schema = options.schema.clone();
        match migrate::version(&client, &schema).await? {
            migrate::KNOWN => {}
            0 if make => migrate::migrate(&mut client, &schema).await?,
            0 => return Err(PgOpenError::NoSchema { at: server.at(), schema }),
            found => return Err(PgOpenError::Older { schema, found, known: migrate::KNOWN }),
        }
        drop(client);
        let standing = Arc::new(Standing::new(NO_LEASE));
        Ok(PgAdmin { pool: server.pool(Use::Write, 1, &options, &standing)? })
    }

    /// Makes the schema if there is none, or brings it up to date.
    pub async fn migrate(options: &PgOptions) -> std::result::Result<PgMigrated, PgOpenError> {
        options.check()?;
        let server = Server::new(options)?;
        let mut client = server.connect(Use::Migrate, options).await?;
        let from = migrate::version(&client, &options.schema).await?;
        migrate::migrate(&mut client, &options.schema).await?;
        Ok(PgMigrated { from, to: migrate::version(&client, &options.schema).await? })
    }

    /// Everything that is configured.
    pub async fn configuration(&self) -> std::result::Result<Configuration, StoreError> {
        look!(self.pool, conn => config::read(conn)).map_err(Error::into_store)
    }

    /// Changes the configuration by what it is at that moment, whole or not at all: nobody else changes it in between. `f` answers what to
    /// put, and something for the caller. Where the answer is that nobody knows whether it is stored, the cause says so.
    pub async fn revise<T>(&self, f: impl FnOnce(Configuration) -> (Vec<ConfigChange>, T)) -> std::result::Result<T, StoreError> {
        let mut f = Some(f);
        let mut tries = self.pool.tries();
        loop {
            let done = self.try_to_revise(&mut f).await;
            let again = match done {
                Ok(answer) => return Ok(answer),
                // It was asked, and is asked once: what it says may not be the same again.
                Err(error) if f.is_none() => Err(error),
                Err(error) => tries.again(error).await,
            };
            again.map_err(Error::into_store)?;
        }
    }

    /// In a transaction of its own. A connection on which it failed is given up, and the server undoes what there was of it.
    async fn try_to_revise<T, F>(&self, f: &mut Option<F>) -> Result<T>
    where
        F: FnOnce(Configuration) -> (Vec<ConfigChange>, T),
    {
        let conn = self.pool.get().await?;
        let mut tx = Tx { conn, incarnation: NO_NODE, shard: SHARD, tallies: Tallies::default(), health: Observed::default() };
        let worked = self.pool.within(Box::pin(revise(&mut tx, f))).await;
        let done = match worked {
            Ok(answer) => self.pool.within(tx.conn.batch("COMMIT")).await.map(|()| answer).map_err(in_doubt),
            Err(error) => Err(error),
        };
        if done.is_err() {
            tx.conn.discard();
        }
        done
    }
}

/// Where the answer to a COMMIT was lost nobody knows what became of it.
fn in_doubt(error: Error) -> Error {
    if error.is_lost_connection() { Error::InDoubt(error.to_string()) } else { error }
}

impl std::fmt::Debug for PgAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgAdmin").finish_non_exhaustive()
    }
}

/// Reads under the lock of the version, so that what is put is made of what is there. All but the commit.
async fn revise<T, F>(tx: &mut Tx, f: &mut Option<F>) -> Result<T>
where
    F: FnOnce(Configuration) -> (Vec<ConfigChange>, T),
{
    tx.conn.batch("BEGIN").await?;
    let version = config::lock(&tx.conn).await?;
    let configuration = config::read(&tx.conn).await?;
    let Some(f) = f.take() else { return Err(ended()) };
    let (changes, answer) = f(configuration);
    if changes.is_empty() {
        return Ok(answer);
    }
    let documents = config::documents(&changes)?;
    if config::put(tx, version, &documents).await? == Configured::Conflict {
        // Nobody can have changed it under the lock.
        return Err(Error::NoConnection("the configuration was changed at the same time: try again".to_owned()));
    }
    tx.flush().await?;
    Ok(answer)
}
