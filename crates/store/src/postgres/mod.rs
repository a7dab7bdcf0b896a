//! The [`Store`] port on a PostgreSQL database that any number of nodes share.
//!
//! | file | holds |
//! |---|---|
//! | `verbs.rs`, `verbs/` | the port: which verb is done where |
//! | `lanes.rs`, `lanes/queue.rs` | publishes, slices of fan-outs and settlements of many callers in one transaction |
//! | `transact.rs`, `marks.rs` | transactions and reads: begun, ended, tried again; what became of a commit that nobody saw the end of |
//! | `members.rs` | the nodes: heartbeats, who was taken for dead, the hourly upkeep |
//! | `pool.rs`, `tls.rs`, `conn.rs` | connections: what they are set to, how they are encrypted, statements on them |
//! | `tx.rs`, `tallies.rs`, `health.rs` | what a transaction gathers and writes at its end: numbers, and how well endpoints do |
//! | `publish.rs`, `fan_out.rs`, `settle.rs`, `settle/`, `claim.rs`, `again.rs`, `replay.rs`, `retry.rs`, `schedule.rs`, `jobs.rs`, `batches.rs`, `requests.rs`, `config.rs` | the verbs that write |
//! | `prune.rs`, `aging.rs`, `gone.rs` | retention: what is past its age, and what goes with configuration that was deleted |
//! | `reads.rs`, `find_events.rs`, `find_attempts.rs`, `find_deliveries.rs`, `find_dead_letters.rs` | the verbs that read |
//! | `lists.rs`, `parts.rs`, `delivery_rows.rs` | lists, put together of sorted parts |
//! | `room.rs` | how much of a budget is taken |
//! | `rows.rs`, `columns.rs` | rows to nouns and back |
//! | `migrate.rs`, `schema_1.sql`, `partitions.rs` | the schema, and its partitions by day |
//! | `admin.rs`, `inspect.rs` | the second door, for the command line; what there is to be said of a database |
//! | `options.rs`, `open_error.rs`, `error.rs` | how a store is opened, and what can go wrong |

#[macro_use]
mod columns;
#[macro_use]
mod transact;

mod admin;
mod again;
mod aging;
mod batches;
mod claim;
mod config;
mod conn;
mod delivery_rows;
mod error;
mod fan_out;
mod find_attempts;
mod find_dead_letters;
mod find_deliveries;
mod find_events;
mod gone;
mod health;
mod inspect;
mod jobs;
mod lanes;
mod lists;
mod marks;
mod members;
mod migrate;
mod open_error;
mod options;
mod partitions;
mod parts;
mod pool;
mod prune;
mod publish;
mod reads;
mod replay;
mod requests;
mod retry;
mod room;
mod rows;
mod schedule;
mod settle;
mod tallies;
mod tls;
mod tx;
mod verbs;

pub use admin::{PgAdmin, PgMigrated};
pub use inspect::{PgFindings, PgInside, PgRights, PgTransaction};
pub use members::NodeRow;
pub use open_error::PgOpenError;
pub use options::PgOptions;

use error::Error;
use lanes::Lanes;
use members::{Keeper, Standing};
use pool::{Pool, Server, Use};
use postrider_core::ports::*;
use prune::Sweep;
use room::Room;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transact::Writers;
use tx::Tx;

/// How long closing waits for what is being written besides the lanes.
const DRAIN: Duration = Duration::from_secs(5);

/// The store of a node. It wants a tokio runtime, for its own tasks too.
///
/// A node that others have taken for dead ([`PgStore::is_lost`]) answers nothing but [`StoreErrorKind::Unavailable`] from then on, and is to be
/// opened anew. Dropped without [`PgStore::close`] it is as if the process had crashed: others take over once its lease has ended.
pub struct PgStore {
    writers: Arc<Writers>,
    lanes: Lanes,
    /// For what APIs ask for: lists, of which some look at much.
    readers: Pool,
    /// For what the engine needs to go on: no list keeps it waiting.
    own: Pool,
    /// For the node's heartbeats.
    keeping: Arc<Pool>,
    standing: Arc<Standing>,
    room: Room,
    has_budget: bool,
    /// How far the run of retention has come: one slice at a time.
    sweep: tokio::sync::Mutex<Sweep>,
    keeper: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    is_closed: AtomicBool,
}

impl PgStore {
    /// Opens the store as a new node, and makes its schema if there is none or brings it up to date. What nodes had claimed that have ended can
    /// be rescued.
    pub async fn open(options: PgOptions) -> Result<PgStore, PgOpenError> {
        options.check()?;
        let server = Server::new(&options)?;
        let mut client = server.connect(Use::Migrate, &options).await?;
        migrate::migrate(&mut client, &options.schema).await?;
        drop(client);
        let standing = Arc::new(Standing::new(options.lease));
        let pool = |to, size| server.pool(to, size, &options, &standing);
        let writing = Arc::new(pool(Use::Write, options.writers)?);
        members::tidy(&writing).await?;
        let incarnation = members::join(&writing, &options).await?;
        let keeping = Arc::new(pool(Use::Keep, 1)?);
        let keeper = Keeper {
            pool: Arc::clone(&keeping),
            standing: Arc::clone(&standing),
            incarnation,
            heartbeat: options.heartbeat,
            lease: options.lease,
        };
        let transactions = options.lanes + options.writers;
        let writers = Writers::new(Arc::clone(&writing), Arc::clone(&standing), incarnation, options.give_up, transactions).await?;
        let writers = Arc::new(writers);
        tracing::info!(at = %server.at(), schema = options.schema.as_str(), incarnation, "this node has joined");
        Ok(PgStore {
            lanes: Lanes::start(options.lanes, pool(Use::Write, options.lanes)?, &writers),
            readers: pool(Use::Read, options.readers)?,
            own: pool(Use::Read, options.own_readers)?,
            keeping,
            room: Room::new(options.budget_bytes),
            has_budget: options.budget_bytes.is_some(),
            sweep: tokio::sync::Mutex::default(),
            keeper: tokio::spawn(keeper.run()),
            upkeep: tokio::spawn(members::keep_up(writing)),
            is_closed: AtomicBool::new(false),
            writers,
            standing,
        })
    }

    /// Writes what waits, leaves, and ends its connections: others take over at once. After it every verb answers
    /// [`StoreErrorKind::Unavailable`].
    pub async fn close(&self) {
        if self.is_closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.lanes.close().await;
        self.upkeep.abort();
        self.readers.close();
        self.own.close();
        self.writers.pool.close();
        self.writers.pool.drained(DRAIN).await;
        // Nothing more is claimed from here on.
        self.keeper.abort();
        if !self.is_lost()
            && let Err(error) = self.keeping.within(members::leave(&self.keeping, self.incarnation())).await
        {
            tracing::warn!(%error, "this node could not leave; it will be taken for dead");
        }
        self.keeping.close();
    }

    /// The number that this node's claims carry; each start has its own.
    pub fn incarnation(&self) -> i64 {
        self.writers.incarnation
    }

    /// Whether others have taken this node for dead. It stays so.
    pub fn is_lost(&self) -> bool {
        self.standing.is_lost()
    }

    /// Becomes true when others have taken this node for dead.
    pub fn lost(&self) -> watch::Receiver<bool> {
        self.standing.watch()
    }

    /// All nodes that are alive, and those that were until lately.
    pub async fn nodes(&self) -> Result<Vec<NodeRow>, StoreError> {
        look!(self.own, conn => members::list(conn, self.incarnation())).map_err(Error::into_store)
    }
}

impl Drop for PgStore {
    fn drop(&mut self) {
        self.lanes.abort();
        self.keeper.abort();
        self.upkeep.abort();
    }
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("incarnation", &self.incarnation()).finish_non_exhaustive()
    }
}
