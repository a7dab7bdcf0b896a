//! The [`Store`] port on an embedded SQLite database in a directory that one process owns.
//!
//! | file | holds |
//! |---|---|
//! | `writer.rs` | the one thread that writes: groups, transactions, answers, failures |
//! | `session.rs` | its connection, what it keeps in memory beside it, begin, commit and undo |
//! | `publish.rs`, `settle.rs`, `claim.rs`, `replay.rs`, `schedule.rs`, `jobs.rs`, `requests.rs`, `prune.rs`, `config.rs` | the verbs that write |
//! | `reads.rs`, `readers.rs` | the verbs that read, and the connections that they read on |
//! | `attempts.rs`, `find.rs`, `merge.rs` | lists with filters and totals, put together of sorted parts |
//! | `gone.rs` | what goes with configuration that was deleted |
//! | `deliveries/` | lists of deliveries |
//! | `event_filters.rs` | lists of events by their labels, and by whether they are valid |
//! | `history.rs` | notes of attempts by time |
//! | `places.rs` | deliveries by subscription |
//! | `counters.rs`, `tallies.rs` | counters per subscription and endpoint, and per part of a list; summed up per group |
//! | `rows.rs`, `columns.rs` | rows to nouns and back |
//! | `checkpoint.rs` | from the write-ahead log into the database file |
//! | `room.rs` | how much of a budget the files take |
//! | `files.rs` | the directory, its lock, connections |
//! | `admin.rs` | the second door, for the command line |
//! | `testing.rs` | what only tests ask for |

#[macro_use]
mod columns;

mod admin;
mod attempts;
mod checkpoint;
mod claim;
mod config;
mod counters;
mod deliveries;
mod event_filters;
mod files;
mod find;
mod gone;
mod history;
mod jobs;
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
mod session;
mod settle;
mod tallies;
mod testing;
#[cfg(test)]
mod tests;
mod writer;

pub use admin::SqliteAdmin;
pub use options::{SqliteOptions, Steps};

use crate::batch::Urgency;
use crate::error::{OpenError, store_error};
use crate::room as sizes;
use checkpoint::{Checkpointer, Marks};
use parking_lot::Mutex;
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
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

/// The embedded store. Reads and writes want a tokio runtime; opening and closing block.
pub struct SqliteStore {
    queue: Arc<WriteQueue>,
    readers: Readers,
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
        let readers = Readers::new(file, options.readers);
        Ok(SqliteStore { queue, readers, commits, incarnation, room, steps, writer: Mutex::new(Some((thread, lock))) })
    }

    /// Writes what waits, empties the write-ahead log, ends the threads and gives the directory back. Blocks until that is done.
    /// After it every verb answers [`StoreErrorKind::Unavailable`]. Dropping the store does the same.
    pub fn close(&self) {
        self.queue.close();
        self.readers.close();
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

impl Store for SqliteStore {
    fn configuration(&self) -> BoxFuture<'_, Result<Configuration, StoreError>> {
        Box::pin(self.readers.read(config::read))
    }

    fn configuration_version(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        Box::pin(self.readers.read(config::version))
    }

    fn configure(&self, changes: Vec<ConfigChange>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let documents = config::documents(&changes).map_err(|e| store_error(&e))?;
            let bytes = config::bytes(&documents);
            let documents = Arc::new(documents);
            let known = Arc::clone(&documents);
            let is_known = move |s: &Session| config::are_known(&s.conn, &known);
            self.grow((changes.len(), bytes), is_known, move |s| config::put(&s.conn, &documents)).await
        })
    }

    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Published>, StoreError>> {
        let size = (events.iter().map(event_weight).sum(), events.iter().map(sizes::event).sum());
        let events: Arc<[NewEvent]> = events.into();
        let known = Arc::clone(&events);
        Box::pin(self.grow(size, move |s| publish::are_known(&s.conn, &known), move |s| publish::publish(s, &events)))
    }

    fn fan_out(&self, slices: Vec<FanOutSlice>) -> BoxFuture<'_, Result<(), StoreError>> {
        let weight = slices.iter().map(|slice| 1 + slice.deliveries.len()).sum();
        Box::pin(self.write(weight, Urgency::Now, move |s| publish::fan_out(s, &slices)))
    }

    fn unfinished_fan_outs(&self, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<UnfinishedFanOut>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::unfinished_fan_outs(conn, limit, max_bytes)))
    }

    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        let follow_ups: usize = settlements.iter().filter_map(|settlement| settlement.follow_up.as_deref()).map(event_weight).sum();
        Box::pin(self.write(settlements.len() + follow_ups, Urgency::Patient, move |s| settle::settle(s, &settlements)))
    }

    fn claim(&self, requests: Vec<ClaimRequest>) -> BoxFuture<'_, Result<Vec<ClaimBatch>, StoreError>> {
        let weight = requests.iter().map(|request| 1 + weight_of_up_to(request.limit)).sum();
        Box::pin(self.write(weight, Urgency::Now, move |s| claim::claim(s, &requests)))
    }

    fn rescue(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(self.write(weight_of_up_to(limit), Urgency::Now, move |s| claim::rescue(s, limit)))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        Box::pin(self.readers.read(reads::backlog))
    }

    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Result<Vec<Replayed>, StoreError>> {
        Box::pin(self.write(replays.len(), Urgency::Now, move |s| replay::replay(s, &replays)))
    }

    fn dismiss(&self, ids: Vec<DeadLetterId>, at: Timestamp) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(self.write(ids.len(), Urgency::Now, move |s| replay::dismiss(s, &ids, at)))
    }

    fn schedule(&self, rows: Vec<Scheduled>) -> BoxFuture<'_, Result<(), StoreError>> {
        let weight = rows.iter().map(|row| 1 + row.payload.len() / files::PAGE_SIZE as usize).sum();
        let bytes = rows.iter().map(sizes::occurrence).sum();
        Box::pin(self.grow((weight, bytes), nothing_is_known, move |s| schedule::schedule(s, &rows)))
    }

    fn unschedule(&self, id: ScheduledId) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| schedule::unschedule(s, id)))
    }

    fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<DueScheduled, StoreError>> {
        Box::pin(self.readers.read(move |conn| schedule::due(conn, now, limit, max_bytes)))
    }

    fn fire(&self, firings: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        let weight = firings.iter().map(|firing| 1 + firing.event.as_ref().map_or(0, event_weight)).sum();
        let bytes = firings.iter().filter_map(|firing| firing.event.as_ref()).map(sizes::event).sum();
        Box::pin(self.grow((weight, bytes), nothing_is_known, move |s| schedule::fire(s, &firings)))
    }

    fn put_job(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = job.id;
        let is_known = move |s: &Session| Ok(jobs::job(&s.conn, id)?.is_some());
        Box::pin(self.grow((1, sizes::ROW), is_known, move |s| jobs::put(&s.conn, &job)))
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        Box::pin(self.readers.read(move |conn| jobs::job(conn, id)))
    }

    fn jobs(&self, namespace: Option<Namespace>, window: Window<JobId>) -> BoxFuture<'_, Result<Found<Job, JobId>, StoreError>> {
        Box::pin(self.readers.read(move |conn| jobs::jobs(conn, namespace.as_ref(), window)))
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        Box::pin(self.readers.read(jobs::running))
    }

    fn set_job_state(&self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| jobs::set_state(&s.conn, id, from, to, at)))
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Result<Advanced, StoreError>> {
        Box::pin(self.write(1 + step.replays.len(), Urgency::Now, move |s| jobs::advance(s, &step)))
    }

    fn begin_request(&self, request: NewRequest) -> BoxFuture<'_, Result<Begun, StoreError>> {
        let key = request.key.clone();
        Box::pin(self.grow((1, sizes::ROW), move |s| requests::is_known(&s.conn, &key), move |s| requests::begin(s, &request)))
    }

    fn end_request(&self, key: RequestKey, response: Option<StoredResponse>) -> BoxFuture<'_, Result<(), StoreError>> {
        let weight = 1 + response.as_ref().map_or(0, |response| response.body.len() / files::PAGE_SIZE as usize);
        Box::pin(self.write(weight, Urgency::Now, move |s| requests::end(s, &key, response.as_ref())))
    }

    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned, StoreError>> {
        Box::pin(self.write(weight_of_up_to(request.limit), Urgency::Patient, move |s| prune::prune(s, &request)))
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, StoreError>> {
        let budget_bytes = self.room.map(|room| room.file);
        Box::pin(self.readers.read(move |conn| Ok(Usage { used_bytes: room::used(conn)?, budget_bytes })))
    }

    /// Commits a row and reads: what a caller with real work would meet.
    fn health(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.write(1, Urgency::Now, |s| s.touch()).await?;
            self.readers.read(|conn| config::version(conn).map(drop)).await
        })
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, Result<Option<DeliveryView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::delivery(conn, id)))
    }

    fn event(&self, id: EventId) -> BoxFuture<'_, Result<Option<EventView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::event(conn, id)))
    }

    fn delivery_of(&self, subscription: SubscriptionId, event: EventSeq) -> BoxFuture<'_, Result<Option<Delivery>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::delivery_of(conn, subscription, event)))
    }

    fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::event_by_seq(conn, seq, namespace.as_ref())))
    }

    fn find_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventRow, EventPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::events(conn, &filter, page)))
    }

    fn event_counts(&self, of: Vec<EventSeq>) -> BoxFuture<'_, Result<Vec<[u64; 7]>, StoreError>> {
        Box::pin(self.readers.read(move |conn| of.iter().map(|event| deliveries::counts_of(conn, *event)).collect()))
    }

    fn find_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryRow, DeliveryId>, StoreError>> {
        let steps = self.steps;
        Box::pin(self.readers.read(move |conn| deliveries::find(conn, &filter, window, steps)))
    }

    fn find_attempts(
        &self,
        filter: AttemptFilter,
        window: Window<AttemptId>,
    ) -> BoxFuture<'_, Result<Found<AttemptRow, AttemptId>, StoreError>> {
        Box::pin(self.readers.read(move |conn| attempts::find(conn, &filter, window)))
    }

    fn attempt(&self, id: AttemptId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<AttemptDetail>, StoreError>> {
        Box::pin(self.readers.read(move |conn| attempts::detail(conn, id, namespace.as_ref())))
    }

    fn find_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Found<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::dead_letters(conn, &filter, window)))
    }

    fn attempts(&self, of: SubscriptionId, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| attempts::newest(conn, of, limit)))
    }

    fn dead_letters(
        &self,
        of: SubscriptionId,
        open_only: bool,
        page: PageRequest<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterView, DeadLetterPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::dead_letters(conn, of, open_only, page)))
    }

    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetterView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::dead_letter(conn, id)))
    }

    fn scheduled(
        &self,
        namespace: Option<Namespace>,
        of: Option<SubscriptionId>,
        page: PageRequest<ScheduledPlace>,
    ) -> BoxFuture<'_, Result<Page<Scheduled, ScheduledPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::scheduled(conn, namespace.as_ref(), of, page)))
    }

    fn scheduled_one(&self, id: ScheduledId) -> BoxFuture<'_, Result<Option<Scheduled>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::scheduled_one(conn, id)))
    }

    fn counters(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        Box::pin(self.readers.read(move |conn| of.iter().map(|id| counters::read(conn, *id)).collect()))
    }
}
