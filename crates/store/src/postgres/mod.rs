//! The [`Store`] port on a PostgreSQL database that any number of nodes share.
//!
//! | file | holds |
//! |---|---|
//! | `verbs.rs`, `verbs/` | the port: which verb is done where |
//! | `lanes.rs`, `lanes/queue.rs` | publishes, slices of fan-outs and settlements of many callers in one transaction |
//! | `transact.rs`, `transact/`, `marks.rs` | transactions and reads: begun, ended, tried again; what became of a commit that nobody saw the end of |
//! | `members.rs`, `standing.rs` | the nodes: heartbeats, who was taken for dead, the hourly upkeep; whether this one may go on |
//! | `cluster.rs`, `news.rs` | who of them sends to which endpoints, and what they tell each other |
//! | `pool.rs`, `tls.rs`, `conn.rs` | connections: what they are set to, how they are encrypted, statements on them |
//! | `tx.rs`, `tallies.rs`, `tallies/`, `health.rs` | what a transaction gathers and writes at its end: numbers, and how well endpoints do |
//! | `publish.rs`, `fan_out.rs`, `settle.rs`, `settle/`, `claim.rs`, `again.rs`, `replay.rs`, `retry.rs`, `cancel.rs`, `schedule.rs`, `jobs.rs`, `batches.rs`, `requests.rs`, `config.rs` | the verbs that write |
//! | `outbox.rs`, `outbox/`, `roles.rs` | events that applications publish in their own transactions; the right to |
//! | `series.rs` | numbers over time, and what is late |
//! | `prune.rs`, `aging.rs`, `gone.rs` | retention: what is past its age, and what goes with configuration that was deleted |
//! | `reads.rs`, `find_events.rs`, `find_attempts.rs`, `find_deliveries.rs`, `find_dead_letters.rs`, `lookup.rs` | the verbs that read |
//! | `lists.rs`, `parts.rs`, `delivery_rows.rs` | lists, put together of sorted parts |
//! | `room.rs` | how much of a budget is taken |
//! | `rows.rs`, `columns.rs` | rows to nouns and back |
//! | `migrate.rs`, `schema_1.sql` to `schema_5.sql`, `partitions.rs`, `partitions/` | the schema, and its partitions by time: made, and dropped by retention |
//! | `admin.rs`, `inspect.rs` | the second door, for the command line; what there is to be said of a database |
//! | `key_check.rs` | whether all nodes have the same keys of secrets |
//! | `options.rs`, `open_error.rs`, `error.rs` | how a store is opened, and what can go wrong |

#[macro_use]
mod columns;
#[macro_use]
mod transact;

mod admin;
mod again;
mod aging;
mod batches;
mod cancel;
mod claim;
mod cluster;
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
mod key_check;
mod lanes;
mod lists;
mod lookup;
mod marks;
mod members;
mod migrate;
mod news;
mod open_error;
mod options;
mod outbox;
mod partitions;
mod parts;
mod pool;
mod prune;
mod publish;
mod reads;
mod replay;
mod requests;
mod retry;
mod roles;
mod room;
mod rows;
mod schedule;
mod series;
mod settle;
mod standing;
mod tallies;
mod tls;
mod tx;
mod verbs;

pub use admin::{PgAdmin, PgMigrated};
pub use inspect::{PgFindings, PgHeld, PgInside, PgRights, PgTransaction};
pub use members::NodeRow;
pub use open_error::PgOpenError;
pub use options::PgOptions;

use error::Error;
use lanes::Lanes;
use members::Keeper;
use news::{Line, Wire};
use parking_lot::Mutex;
use pool::{Pool, Server, Use};
use postrider_core::ports::*;
use prune::Sweep;
use room::Room;
use standing::Standing;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinHandle;
use transact::Writers;

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
    /// For what the nodes share out among themselves, one thing after another.
    sharing: Pool,
    wire: Arc<Wire>,
    standing: Arc<Standing>,
    room: Room,
    has_budget: bool,
    /// How far the run of retention has come: one slice at a time.
    sweep: tokio::sync::Mutex<Sweep>,
    /// Numbers over time are read, added to and written: by one at a time.
    adding: tokio::sync::Mutex<()>,
    /// Where the outbox begins.
    floor: outbox::Floor,
    keeper: JoinHandle<()>,
    upkeep: JoinHandle<()>,
    /// Taken out when it is closed.
    line: Mutex<Option<JoinHandle<()>>>,
    is_closed: AtomicBool,
}

impl PgStore {
    /// Opens the store as a new node, and makes its schema if there is none or brings it up to date. What nodes had claimed that have ended can
    /// be rescued.
    pub async fn open(options: PgOptions) -> Result<PgStore, PgOpenError> {
        options.check()?;
        let server = Server::new(&options)?;
        let mut client = server.connect(Use::Migrate, &options).await?;
        // One that stands still gives no sign of it where something between acknowledges for it. Steps of the schema may take long.
        let checked = tokio::time::timeout(server.patience(&options) + pool::SLACK, roles::check_or_warn(&client, &options.schema)).await;
        checked.map_err(|_| PgOpenError::Away("the database took the connection and does not answer".to_owned()))??;
        migrate::migrate(&mut client, &options.schema).await?;
        drop(client);
        let standing = Arc::new(Standing::new(options.lease));
        let writing = Arc::new(server.pool(Use::Write, options.writers, &options, &standing)?);
        members::tidy(&writing).await?;
        let incarnation = members::join(&writing, &options).await?;
        let opened = PgStore::joined(&server, &options, incarnation, &writing, standing).await;
        if opened.is_err() {
            // It wants no slots yet, but others would wait for its lease before they forget it.
            if let Err(error) = writing.within(members::leave(&writing, incarnation)).await {
                tracing::warn!(%error, incarnation, "a node that did not start could not leave; it will be taken for dead");
            }
        }
        opened
    }

    /// The rest of it, as a node that has joined under this number.
    async fn joined(
        server: &Server,
        options: &PgOptions,
        incarnation: i64,
        writing: &Arc<Pool>,
        standing: Arc<Standing>,
    ) -> Result<PgStore, PgOpenError> {
        let pool = |to, size| server.pool(to, size, options, &standing);
        let writers = Arc::new(Writers::new(Arc::clone(writing), Arc::clone(&standing), incarnation, options));
        let keeping = Arc::new(pool(Use::Keep, 1)?);
        let (of_lanes, sharing) = (pool(Use::Write, options.lanes)?, pool(Use::Share, 1)?);
        let (readers, own) = (pool(Use::Read, options.readers)?, pool(Use::Read, options.own_readers)?);
        // Nothing fails behind this.
        let (line, wire) = listen(server, options, incarnation).await?;
        let keeper = Keeper {
            pool: Arc::clone(&keeping),
            standing: Arc::clone(&standing),
            wire: Arc::clone(&wire),
            incarnation,
            heartbeat: options.heartbeat,
            lease: options.lease,
        };
        wire.tell(News::Members);
        tracing::info!(at = %server.at(), schema = options.schema.as_str(), incarnation, "this node has joined");
        Ok(PgStore {
            lanes: Lanes::start(options.lanes, of_lanes, &writers),
            readers,
            own,
            keeping,
            sharing,
            wire,
            room: Room::new(options.budget_bytes),
            has_budget: options.budget_bytes.is_some(),
            sweep: tokio::sync::Mutex::default(),
            adding: tokio::sync::Mutex::default(),
            floor: outbox::Floor::default(),
            keeper: tokio::spawn(keeper.run()),
            upkeep: tokio::spawn(members::keep_up(Arc::clone(writing))),
            line: Mutex::new(Some(line)),
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
        self.writers.pool.refuse();
        self.lanes.close().await;
        self.upkeep.abort();
        self.readers.close();
        self.own.close();
        self.sharing.close();
        self.writers.close(DRAIN).await;
        self.sharing.drained(DRAIN).await;
        // Nothing more is claimed or taken from here on.
        self.keeper.abort();
        if !self.is_lost() {
            match self.keeping.within(members::leave(&self.keeping, self.incarnation())).await {
                Ok(()) => self.wire.tell(News::Members),
                Err(error) => tracing::warn!(%error, "this node could not leave; it will be taken for dead"),
            }
        }
        let line = self.line.lock().take();
        if let Some(line) = line {
            news::close(&self.wire, line).await;
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
        if let Some(line) = self.line.lock().take() {
            line.abort();
        }
    }
}

/// Listens to what the other nodes tell from now on.
async fn listen(server: &Server, options: &PgOptions, incarnation: i64) -> Result<(JoinHandle<()>, Arc<Wire>), PgOpenError> {
    let wire = Arc::new(Wire::new(incarnation));
    let connector = server.connector(Use::Keep, options);
    let line = Line::new(connector, Arc::clone(&wire), &options.schema, server.patience(options), options.lease);
    let first = line.open().await?;
    Ok((tokio::spawn(line.run(first)), wire))
}

impl std::fmt::Debug for PgStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PgStore").field("incarnation", &self.incarnation()).finish_non_exhaustive()
    }
}
