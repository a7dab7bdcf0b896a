//! A second door for the command line, which works while nodes run and before the first one: it joins as none.

use super::config::{self, Document};
use super::conn::Conn;
use super::error::{Error, Result};
use super::health::Observed;
use super::migrate;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::partitions;
use super::pool::{Pool, Server, Use};
use super::roles;
use super::rows::time;
use super::standing::Standing;
use super::tallies::Tallies;
use super::tallies::counter::Counter;
use super::transact::ended;
use super::tx::Tx;
use postrider_core::ports::{ConfigChange, Configuration, Configured, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// It sends no heartbeats, and nobody takes it for dead.
const NO_LEASE: Duration = Duration::from_secs(365 * 24 * 60 * 60);

/// How long it is tried to learn what became of a commit, which is as long as a server may take to come back after a crash, and how often.
const DOUBT: Duration = Duration::from_secs(30);
const LOOK_AGAIN: Duration = Duration::from_millis(250);

/// No node's number: what is configured carries none.
const NO_NODE: i64 = 0;

/// For its heartbeats, what it shares with others, and what they tell each other.
const OF_THE_NODE: usize = 3;

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
    pub(super) pool: Pool,
}

impl PgOptions {
    /// Refuses what no store can be opened with. Nothing is connected to.
    pub fn verify(&self) -> std::result::Result<(), PgOpenError> {
        self.check()?;
        Server::new(self).map(drop)
    }

    /// How many connections a node opens, at the most.
    pub fn connections(&self) -> usize {
        self.lanes + self.writers + self.readers + self.own_readers + OF_THE_NODE
    }
}

impl PgAdmin {
    /// Opens the door. With `make` a schema that is not there is made; without it that is refused, and so is in any case one of another release.
    pub async fn open(options: PgOptions, make: bool) -> std::result::Result<PgAdmin, PgOpenError> {
        options.check()?;
        let server = Server::new(&options)?;
        let mut client = server.connect(Use::Migrate, &options).await?;
        let schema = options.schema.clone();
        let is_new = match migrate::version(&client, &schema).await? {
            migrate::KNOWN => false,
            0 if make => {
                roles::check_closed(&client, &schema).await?;
                migrate::migrate(&mut client, &schema).await?;
                true
            }
            0 => return Err(PgOpenError::NoSchema { at: server.at(), schema }),
            found => return Err(PgOpenError::Older { schema, found, known: migrate::KNOWN }),
        };
        drop(client);
        let admin = PgAdmin::over(&server, &options)?;
        if is_new {
            admin.make_partitions().await?;
        }
        Ok(admin)
    }

    fn over(server: &Server, options: &PgOptions) -> std::result::Result<PgAdmin, PgOpenError> {
        let standing = Arc::new(Standing::new(NO_LEASE));
        Ok(PgAdmin { pool: server.pool(Use::Write, 1, options, &standing)? })
    }

    /// Those of today and of the days to come, as a node does: so nothing is missing before the first one has come.
    async fn make_partitions(&self) -> Result<()> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let made = self.pool.within(Box::pin(make_partitions(conn))).await;
        reading.end(made)
    }

    /// Makes the schema if there is none, or brings it up to date. One in which others may create things is refused: what they make there could be run
    /// with the rights of its owner.
    pub async fn migrate(options: &PgOptions) -> std::result::Result<PgMigrated, PgOpenError> {
        options.check()?;
        let server = Server::new(options)?;
        let mut client = server.connect(Use::Migrate, options).await?;
        roles::check_closed(&client, &options.schema).await?;
        let from = migrate::version(&client, &options.schema).await?;
        migrate::migrate(&mut client, &options.schema).await?;
        let to = migrate::version(&client, &options.schema).await?;
        drop(client);
        PgAdmin::over(&server, options)?.make_partitions().await?;
        Ok(PgMigrated { from, to })
    }

    /// Everything that is configured.
    pub async fn configuration(&self) -> std::result::Result<Configuration, StoreError> {
        look!(self.pool, conn => config::read(conn)).map_err(Error::into_store)
    }

    /// Changes the configuration by what it is at that moment, whole or not at all: nobody else changes it in between. `f` answers what to
    /// put, and something for the caller. Where the answer to the commit was lost it looks whether what was put is there; only where the database
    /// stays away the answer is [that nobody knows](postrider_core::ports::StoreErrorKind::Unknown).
    pub async fn revise<T>(&self, f: impl FnOnce(Configuration) -> (Vec<ConfigChange>, T)) -> std::result::Result<T, StoreError> {
        let mut f = Some(f);
        let mut tries = self.pool.tries();
        loop {
            let again = match self.try_to_revise(&mut f).await {
                Ok(answer) => return Ok(answer),
                Err(Undone::InDoubt { answer, documents, lost }) => {
                    return self.find_out(&documents, lost).await.map(|()| answer).map_err(Error::into_store);
                }
                // It was asked, and is asked once: what it says may not be the same again.
                Err(Undone::Failed(error)) if f.is_none() => Err(error),
                Err(Undone::Failed(error)) => tries.again(error).await,
            };
            again.map_err(Error::into_store)?;
        }
    }

    /// In a transaction of its own. A connection on which it failed is given up, and the server undoes what there was of it.
    async fn try_to_revise<T, F>(&self, f: &mut Option<F>) -> std::result::Result<T, Undone<T>>
    where
        F: FnOnce(Configuration) -> (Vec<ConfigChange>, T),
    {
        let conn = self.pool.get().await.map_err(Undone::Failed)?;
        let mut tx =
            Tx { conn, incarnation: NO_NODE, counter: Counter::default(), tallies: Tallies::default(), health: Observed::default() };
        let worked = self.pool.within(Box::pin(revise(&mut tx, f))).await;
        let done = match worked {
            Ok((answer, documents)) => match self.pool.within(tx.conn.batch("COMMIT")).await {
                Ok(()) => Ok(answer),
                Err(lost) if lost.is_lost_connection() => Err(Undone::InDoubt { answer, documents, lost }),
                Err(error) => Err(Undone::Failed(error)),
            },
            Err(error) => Err(Undone::Failed(error)),
        };
        if done.is_err() {
            tx.conn.discard();
        }
        done
    }

    /// What became of a transaction that put these, and whose COMMIT was lost: nothing is wrong if they are there, and `lost` says that they are not.
    async fn find_out(&self, documents: &[Document], lost: Error) -> Result<()> {
        let since = Instant::now();
        loop {
            let error = match self.are_there(documents).await {
                Ok(true) => return Ok(()),
                Ok(false) => return Err(lost),
                Err(error) => error,
            };
            if since.elapsed() + LOOK_AGAIN > DOUBT {
                return Err(Error::InDoubt(format!("{lost}; and then: {error}")));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    async fn are_there(&self, documents: &[Document]) -> Result<bool> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let there = self.pool.within(Box::pin(config::are_there(conn, documents))).await;
        reading.end(there)
    }
}

async fn make_partitions(conn: &Conn) -> Result<()> {
    let now = time(&conn.only("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8", &[]).await?, 0)?;
    partitions::ensure(conn, now).await
}

/// What a change came to that was not seen to be stored.
enum Undone<T> {
    /// Nothing of it is stored.
    Failed(Error),
    /// The answer to the COMMIT was lost.
    InDoubt {
        /// What the caller would have got.
        answer: T,
        /// What was put.
        documents: Vec<Document>,
        lost: Error,
    },
}

impl std::fmt::Debug for PgAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgAdmin").finish_non_exhaustive()
    }
}

/// Reads under the lock of the version, so that what is put is made of what is there. All but the commit; answers also what was put.
async fn revise<T, F>(tx: &mut Tx, f: &mut Option<F>) -> Result<(T, Vec<Document>)>
where
    F: FnOnce(Configuration) -> (Vec<ConfigChange>, T),
{
    tx.conn.batch("BEGIN").await?;
    let version = config::lock(&tx.conn).await?;
    let configuration = config::read(&tx.conn).await?;
    let Some(f) = f.take() else { return Err(ended()) };
    let (changes, answer) = f(configuration);
    if changes.is_empty() {
        return Ok((answer, Vec::new()));
    }
    let documents = config::documents(&changes)?;
    if config::put(tx, version, &documents).await? == Configured::Conflict {
        // Nobody can have changed it under the lock.
        return Err(Error::NoConnection("the configuration was changed at the same time: try again".to_owned()));
    }
    config::announce(&tx.conn).await?;
    tx.flush().await?;
    Ok((answer, documents))
}
