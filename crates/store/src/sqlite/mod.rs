//! The [`Store`] port on an embedded SQLite database in a directory that one process owns.
//!
//! | file | holds |
//! |---|---|
//! | `writer.rs` | the one thread that writes: groups, transactions, answers, failures |
//! | `session.rs` | its connection, what it keeps in memory beside it, begin, commit and undo |
//! | `publish.rs`, `settle.rs`, `claim.rs`, `cancel.rs`, `replay.rs`, `schedule.rs`, `jobs.rs`, `batches.rs`, `requests.rs`, `prune.rs`, `config.rs` | the verbs that write |
//! | `reads.rs`, `readers.rs` | the verbs that read, and the connections that they read on |
//! | `attempts.rs`, `find.rs`, `merge.rs` | lists with filters and totals, put together of sorted parts |
//! | `last.rs` | the last attempts of many endpoints or subscriptions |
//! | `aging.rs` | deliveries past their retention |
//! | `gone.rs` | what goes with configuration that was deleted |
//! | `deliveries/` | lists of deliveries |
//! | `event_filters.rs` | lists of events by their labels, and by whether they are valid |
//! | `event_numbers.rs` | lists of the numbers of events alone |
//! | `lookup.rs` | groups of open dead letters; events and deliveries by their keys |
//! | `history.rs`, `sorting.rs` | notes of attempts by time: they gather, and go to their places together |
//! | `places.rs` | deliveries by subscription, which do the same |
//! | `bulk.rs` | many rows per statement |
//! | `counters.rs`, `tallies.rs` | counters per subscription and endpoint, and per part of a list; summed up per group |
//! | `health.rs` | how well endpoints do; read and written once per group |
//! | `series.rs` | numbers over time, and what is late |
//! | `rows.rs`, `columns.rs` | rows to nouns and back |
//! | `checkpoint.rs` | from the write-ahead log into the database file |
//! | `room.rs` | how much of a budget the files take |
//! | `files.rs` | the directory, its lock, connections |
//! | `admin.rs`, `inspect.rs` | the second door, for the command line; what there is to be said of a directory |
//! | `testing.rs` | what only tests ask for |

#[macro_use]
mod columns;

mod admin;
mod aging;
mod attempts;
mod batches;
mod bulk;
mod cancel;
mod checkpoint;
mod claim;
mod config;
mod counters;
mod deliveries;
mod event_filters;
mod event_numbers;
mod files;
mod find;
mod gathered;
mod gone;
mod health;
mod history;
mod inspect;
mod jobs;
mod last;
mod lookup;
mod merge;
mod options;
mod places;
mod prune;
mod publish;
mod readers;
mod reads;
mod replay;
mod requests;
mod room;
mod rows;
mod schedule;
mod series;
mod session;
mod settle;
mod sorting;
mod tallies;
mod testing;
#[cfg(test)]
mod tests;
mod verbs;
mod writer;

pub use admin::SqliteAdmin;
pub use inspect::SqliteFindings;
pub use options::{SqliteOptions, Steps};

use crate::batch::Urgency;
use crate::error::{OpenError, store_error};
use crate::room as sizes;
use checkpoint::{Checkpointer, Marks};
use parking_lot::Mutex;
use postrider_core::event::Namespace;
use postrider_core::health::{Health, HealthTally};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::time::Timestamp;
use readers::Readers;
use room::{Room, event_weight, nothing_is_known, weight_of_up_to};
use session::{Bounds, Session};
use std::fs::File;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;
use writer::WriteQueue;

/// How many reads of the engine's own run at the same time; as many as of others by default. Each connection has a cache of 2 MiB at most.
const OWN_READERS: usize = 4;

/// The embedded store. Reads and writes want a tokio runtime; opening and closing block.
pub struct SqliteStore {
    queue: Arc<WriteQueue>,
    /// For what APIs ask for: lists, of which some look at much.
    readers: Readers,
    /// For what the engine needs to go on: no list keeps it waiting.
    own: Readers,
    commits: Arc<AtomicU64>,
    incarnation: i64,
    room: Option<Room>,
    steps: Steps,
    /// The thread, and the lock that is released when it has ended.
    writer: Mutex<Option<(JoinHandle<()>, File)>>,
}

impl SqliteStore {
    /// Opens the store as the owner of its directory, and makes it if there is none. Everything that an earlier owner had claimed can be rescued.
    pub fn open(options: SqliteOptions) -> Result<SqliteStore, OpenError> {
        let directory = options.directory;
        files::ensure_directory(&directory)?;
        let lock = files::lock(&directory)?;
        let file = files::database(&directory);
        let conn = files::open_database(&file)?;
        let room = options.budget_bytes.map(Room::of);
        let (steps, bounds) = (options.steps, Bounds { max_pages: options.max_pages, room, steps: options.steps });
        let session = Session::start(&file, conn, bounds).map_err(|e| OpenError::from_sqlite(&file, &e))?;
        let incarnation = session.incarnation;
        let (queue, commits) = (Arc::new(WriteQueue::new()), Arc::new(AtomicU64::new(0)));
        let marks = room.map(|room| Marks::within(room.log)).unwrap_or_default();
        let started = Checkpointer::start(file.clone(), marks)
            .and_then(|checkpointer| writer::start(session, Arc::clone(&queue), Arc::clone(&commits), checkpointer));
        let thread = started.map_err(|e| OpenError::from_io(&directory, &e))?;
        let (readers, own) = (Readers::new(file.clone(), options.readers), Readers::new(file, OWN_READERS));
        Ok(SqliteStore { queue, readers, own, commits, incarnation, room, steps, writer: Mutex::new(Some((thread, lock))) })
    }

    /// Writes what waits, empties the write-ahead log, ends the threads and gives the directory back. Blocks until that is done.
    /// After it every verb answers [`StoreErrorKind::Unavailable`]. Dropping the store does the same.
    pub fn close(&self) {
        self.queue.close();
        self.readers.close();
        self.own.close();
        if let Some((thread, lock)) = self.writer.lock().take() {
            if thread.join().is_err() {
                tracing::error!("the store's writer had panicked");
            }
            drop(lock);
        }
    }

    /// How many groups were committed since the store was opened.
    pub fn commits(&self) -> u64 {
        self.commits.load(Ordering::Relaxed)
    }

    /// The number that this engine's claims carry; rises with every start.
    pub fn incarnation(&self) -> i64 {
        self.incarnation
    }

    async fn write<A, F>(&self, weight: usize, urgency: Urgency, work: F) -> Result<A, StoreError>
    where
        F: FnMut(&mut Session) -> rusqlite::Result<A> + Send + 'static,
        A: Send + 'static,
    {
        self.queue.submit(u32::try_from(weight).unwrap_or(u32::MAX), urgency, work).await
    }

    /// Writes what makes the store grow by about so many bytes, if there is room for them or `is_known` says that nothing will be added.
    async fn grow<A, K, F>(&self, (weight, bytes): (usize, u64), is_known: K, mut work: F) -> Result<A, StoreError>
    where
        K: Fn(&Session) -> rusqlite::Result<bool> + Send + 'static,
        F: FnMut(&mut Session) -> rusqlite::Result<A> + Send + 'static,
        A: Send + 'static,
    {
        let work = move |s: &mut Session| match s.take_room(bytes)? {
            Err(refusal) if !is_known(s)? => Ok(Err(refusal)),
            _ => work(s).map(Ok),
        };
        self.write(weight, Urgency::Now, work).await?
    }
}

impl Drop for SqliteStore {
    fn drop(&mut self) {
        self.close();
    }
}

impl std::fmt::Debug for SqliteStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteStore").field("incarnation", &self.incarnation).finish_non_exhaustive()
    }
}
