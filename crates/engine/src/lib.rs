//! What Postrider does, on ports alone: it knows no SQL, no sockets and no API.
//!
//! ```text
//! publish ──► store.publish ──► dispatch ──► transport ──► settle ──► store.settle
//!                 (group)      │ ring of endpoints            (group)     │
//!                              ▲                                          ▼
//!            refill ◄── store.claim       retries: near ones in timers, far ones in the store
//! ```
//!
//! | module | does |
//! |---|---|
//! | [`config`] | what can be set, the bounds on memory |
//! | [`keys`] | the keys that secrets are sealed under |
//! | [`route`] | the configuration as an immutable snapshot; who gets an event |
//! | [`publish`] | match, store as a group, hand over, acknowledge |
//! | `again` | deliveries that people want made again, or at once |
//! | `cancel` | deliveries that people call off |
//! | `edit` | changes of the configuration |
//! | `cluster` | where several engines share a store: who sends to which endpoints, and what they tell each other |
//! | `fan_out` | fan-outs too large for one piece |
//! | `dispatch` | queues per endpoint, turns, workers, timers |
//! | `request` | what a receiver is sent |
//! | `render` | the body of that |
//! | `kept` | templates and schemas that were used last, within a bound on memory |
//! | `send` | one attempt |
//! | `look_through` | which of the newest events a subscription would have got |
//! | `sample` | requests that belong to no delivery: probes and previews |
//! | `story` | what an attempt carried, for who looks at it afterwards |
//! | `settle` | outcomes into the store as a group |
//! | `meta` | the events that follow from outcomes |
//! | `refill` | what only the store has comes into memory |
//! | `schedule` | scheduled webhooks |
//! | `series` | what happens, in numbers over time, and what is late |
//! | `outbox` | events that applications publish through the database |
//! | `jobs` | bulk replays |
//! | `repush` | earlier events published again, one or a batch of them |
//! | `checks` | places for what holds payloads against schemas |
//! | `batches` | what is done piece by piece: events published again, deliveries tried again |
//! | `tasks` | the tasks that do all this |
//! | `maintain` | recovery at start, configuration changed by others, parked deliveries |
//! | `looks` | looks for configuration that others changed, and what came of them |
//! | `lapse` | what must end when others may have taken this engine for dead |
//! | `retired` | deleted bindings, until nothing waits for them |
//! | `rotation` | signing secrets that sign no more |
//! | `health` | what is a day old does not count any more for the health of endpoints |
//! | `retain` | what is too old goes, and what was erased |
//! | `room` | where the store is nearly full, more than that |

mod again;
mod batches;
mod cancel;
mod checks;
mod cluster;
pub mod config;
mod dispatch;
mod edit;
mod fan_out;
mod health;
mod job;
mod jobs;
mod kept;
pub mod keys;
mod lapse;
mod look_through;
mod looks;
mod maintain;
mod meta;
mod outbox;
pub mod publish;
mod refill;
mod render;
mod repush;
mod request;
mod retain;
mod retired;
mod room;
mod rotation;
pub mod route;
mod sample;
mod schedule;
mod send;
mod series;
mod settle;
mod shared;
mod story;
mod tasks;
#[cfg(test)]
mod testing;

pub use again::RetryDeadLetter;
pub use batches::{MAX_PENDING_BATCHES, MAX_RUNNING_BATCHES, NoBatch};
pub use config::{EngineConfig, Limits, Retention};
pub use dispatch::Load;
pub use jobs::{MAX_RUNNING_JOBS, NewJob, NoJob};
pub use keys::Keys;
pub use look_through::{Looked, MAX_EXAMPLES, MAX_LOOKED_THROUGH, NotLooked};
pub use publish::{Publish, PublishError, Receipt, To};
pub use repush::NotAgain;
pub use route::{Checked, KnownType, Route, Routes};
pub use sample::{NotProbed, Preview, Probed};
pub use story::Carried;

use bytes::Bytes;
use postrider_core::body::Unrenderable;
use postrider_core::event::Event;
use postrider_core::id::{DeadLetterId, EndpointId, JobId, ScheduledId, SubscriptionId};
use postrider_core::ports::{Clock, ConfigChange, Job, Slot, Store, StoreError, StoreErrorKind, Transport};
use postrider_core::schedule::Scheduled;
use postrider_core::seal::{OpenError, Sealed};
use postrider_core::template::Source;
use postrider_core::time::Timestamp;
use settle::Entry;
use shared::Shared;
use std::sync::Arc;
use std::time::Duration;
use tasks::{Tasks, ended};
use tokio::task::JoinError;
use uuid::Uuid;

/// The engine. Cheap to clone; its tasks end with [`Engine::shutdown`].
#[derive(Clone)]
pub struct Engine {
    shared: Arc<Shared>,
    tasks: Arc<Tasks>,
}

/// What the engine has to do at the moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Deliveries in memory.
    pub load: Load,
    /// Outcomes that are not stored yet.
    pub unsettled: usize,
}

/// How a shutdown went.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Exchanges that were cut off; their deliveries go on at the next start.
    pub cut_off: usize,
    /// Deliveries that were in memory and went back to the store.
    pub given_back: usize,
}

impl Engine {
    /// Takes over what an earlier engine left in the store, and begins to deliver.
    pub async fn start(
        config: EngineConfig,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Engine, StoreError> {
        let configuration = store.configuration().await?;
        let routes = Routes::new(configuration, &config.keys.ring(), &config.user_agent);
        let shared = Arc::new(Shared::new(config, store, transport, clock, routes));
        // Nobody is publishing yet, whenever they were deleted; unless others are.
        let unused = if shared.store.is_shared() { shared.now().before(retain::IN_USE) } else { Timestamp::MAX };
        if let Some(fewer) = retired::without_idle(&shared, &shared.routes.load_full(), unused).await? {
            shared.routes.store(Arc::new(fewer));
        }
        for endpoint in shared.routes.load().endpoints() {
            maintain::announce(&shared, endpoint.id);
        }
        let tasks = Tasks::default();
        tasks.upkeep.lock().spawn(settle::run(Arc::clone(&shared)));
        if shared.store.is_shared() {
            // Endpoints are served from when they are this engine's, whatever there is to take over.
            cluster::join(&shared).await?;
            tasks.spawn_shared(&shared);
        } else {
            maintain::recover(&shared).await?;
        }
        for _ in 0..publish::GROUPS {
            tasks.publishers.lock().spawn(publish::run(Arc::clone(&shared)));
        }
        tasks.spawn(&shared);
        Ok(Engine { shared, tasks: Arc::new(tasks) })
    }

    /// Stops: nothing new is accepted or sent, exchanges under way have until `within` to end, everything else goes back to the store.
    ///
    /// Whoever still waits for an event to be stored is told what became of it, at the latest a few seconds after that.
    pub async fn shutdown(&self, within: Duration) -> ShutdownReport {
        let shared = &self.shared;
        let deadline = tokio::time::Instant::now() + within;
        shared.stop();
        let quiet = async {
            shared.publisher.drained().await;
            while shared.dispatcher.running() > 0 {
                let quiet = shared.dispatcher.quiet.notified();
                if shared.dispatcher.running() > 0 {
                    quiet.await;
                }
            }
        };
        // Either way what is left is given back below.
        _ = tokio::time::timeout_at(deadline, quiet).await;
        publish::close(shared);
        let mut report = ShutdownReport::default();
        let grace = deadline.max(tokio::time::Instant::now()) + GRACE;
        // What is in the store's hands comes back from there: events, claims, slices, and the outcomes before them.
        let given_back = async {
            self.cut_off(&mut report);
            ended(&self.tasks.publishers).await;
            ended(&self.tasks.claiming).await;
            loop {
                shared.settler.flushed().await;
                if !self.cut_off(&mut report) {
                    return cluster::leave_all(shared).await;
                }
            }
        };
        if tokio::time::timeout_at(grace, given_back).await.is_err() {
            self.cut_off(&mut report);
            tracing::warn!(
                outcomes = shared.settler.unsettled(),
                "outcomes could not be stored in time: their deliveries are made again at the next start"
            );
        }
        // They take no part in any promise: what is left of the grace is enough for them.
        if !matches!(tokio::time::timeout_at(grace, series::flush(shared)).await, Ok(Ok(()))) {
            tracing::warn!("the last numbers for charts could not be stored");
        }
        for tasks in [&self.tasks.publishers, &self.tasks.claiming, &self.tasks.upkeep] {
            let mut tasks = std::mem::take(&mut *tasks.lock());
            tasks.shutdown().await;
        }
        report
    }

    /// Gives back every delivery in memory; answers whether there was one.
    fn cut_off(&self, report: &mut ShutdownReport) -> bool {
        let shared = &self.shared;
        let (jobs, flights) = shared.dispatcher.empty();
        let found = !jobs.is_empty() || !flights.is_empty();
        report.cut_off += flights.len();
        report.given_back += jobs.len();
        let routes = shared.routes.load();
        shared.settler.extend(flights.into_iter().map(|flight| {
            let url =
                routes.route_of_queued(&flight.job.delivery, &shared.config.user_agent).map_or_else(|| "".into(), |r| Arc::clone(&r.url));
            let attempt = flight.attempt(url);
            Entry::interrupted(flight.job, Some(attempt), flight.recorded, shared.now())
        }));
        shared.settler.push_back(jobs);
        found
    }

    /// The store, for reading.
    pub fn store(&self) -> &Arc<dyn Store> {
        &self.shared.store
    }

    /// Now, by the engine's clock.
    pub fn now(&self) -> Timestamp {
        self.shared.now()
    }

    /// A new UUIDv7.
    pub fn new_id(&self) -> Uuid {
        self.shared.new_id()
    }

    /// Seals a secret for storing.
    pub fn seal(&self, secret: impl AsRef<[u8]>, random: &mut dyn FnMut(&mut [u8])) -> Sealed {
        self.shared.config.keys.ring().seal(secret.as_ref(), random)
    }

    /// Opens a sealed secret.
    pub fn open(&self, sealed: &Sealed) -> Result<String, OpenError> {
        self.shared.config.keys.ring().open(sealed).map(|secret| String::from_utf8_lossy(&secret).into_owned())
    }

    /// The configuration as it is now.
    pub fn routes(&self) -> Arc<Routes> {
        self.shared.routes.load_full()
    }

    /// Takes over configuration that others changed before this was called, which otherwise takes up to a second. One cheap read of the store,
    /// which all who ask at the same time share.
    pub async fn see_changes(&self) {
        // What went wrong was logged, and what is known counts.
        _ = maintain::see_changes(&self.shared).await;
    }

    /// Whether several engines use the store, so that what is configured may be newer than what this one knows.
    pub fn shares_its_store(&self) -> bool {
        self.shared.store.is_shared()
    }

    /// The same where others share the store, and nothing where nobody does: for whoever must see what was configured through another engine
    /// before this was called.
    pub async fn catch_up(&self) {
        // What went wrong was logged, and what is known counts.
        _ = maintain::catch_up(&self.shared).await;
    }

    /// Changes the configuration: `f` looks at it and answers what to put. One at a time; stored first, then in force. It is asked again where
    /// somebody else has changed the configuration meanwhile: what it looks at is always what its changes replace. Where others share the store
    /// it is also asked again, once, before its refusal is believed, or that there is nothing to put: what it missed may have been configured there.
    pub async fn edit<T, E>(&self, f: impl FnMut(&Routes) -> Result<(Vec<ConfigChange>, T), E>) -> Result<T, E>
    where
        E: From<StoreError>,
    {
        edit::edit(&self.shared, f).await
    }

    /// Publishes an event; answers when it and its deliveries are on disk.
    pub async fn publish(&self, event: Publish) -> Result<Receipt, PublishError> {
        publish::publish(&self.shared, event).await
    }

    /// Publishes events in one commit: all of them, or none. The receipts come in their order; a duplicate of an earlier event, or of one
    /// in the same batch, is answered with that one.
    pub async fn publish_all(&self, events: Vec<Publish>) -> Result<Vec<Receipt>, PublishError> {
        publish::publish_all(&self.shared, events).await
    }

    /// Begins a bulk replay. A job with its id that runs already is answered instead.
    pub async fn start_job(&self, new: NewJob) -> Result<Job, NoJob> {
        jobs::start(&self.shared, new).await
    }

    /// Cancels a job; answers whether it was running.
    pub async fn cancel_job(&self, id: JobId) -> Result<bool, StoreError> {
        jobs::cancel(&self.shared, id).await
    }

    /// Goes on with a cancelled job; answers whether it was cancelled.
    pub async fn resume_job(&self, job: &Job) -> Result<bool, NoJob> {
        jobs::resume(&self.shared, job).await
    }

    /// Dismisses a dead letter; answers whether it was open.
    pub async fn dismiss_dead_letter(&self, id: DeadLetterId) -> Result<bool, StoreError> {
        Ok(self.shared.store.dismiss(vec![id], self.now()).await?.into_iter().any(|was_open| was_open))
    }

    /// Stores a scheduled webhook. It goes on when the caller goes away: what is stored must be looked at in time.
    pub async fn schedule(&self, row: Scheduled) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        let scheduling = tokio::spawn(async move {
            shared.store.schedule(vec![row]).await?;
            shared.work(Slot::LEADER, &shared.scheduled);
            Ok(())
        });
        scheduling.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
    }

    /// Removes a scheduled webhook, with `only_pending` unless it has fired; answers whether it did.
    pub async fn unschedule(&self, id: ScheduledId, only_pending: bool) -> Result<bool, StoreError> {
        self.shared.store.unschedule(id, only_pending).await
    }

    /// Sends a signed test to an endpoint, whatever its status, and answers what came of it, within 10 s. Nothing is recorded.
    pub async fn probe(&self, id: EndpointId) -> Result<Probed, NotProbed> {
        sample::probe(&self.shared, id).await
    }

    /// What a subscription would send for an event now; `None` where there is no such subscription, or its endpoint is gone.
    pub async fn preview(&self, id: SubscriptionId, event: Arc<Event>) -> Option<Result<Preview, Unrenderable>> {
        sample::preview(&self.shared, id, event).await
    }

    /// The body that a template makes of an event at a first attempt now.
    pub async fn render(&self, template: Source, event: &Arc<Event>) -> Result<Bytes, Unrenderable> {
        render::by_template(&self.shared.renders, &template, event, (1, self.now()), usize::MAX).await
    }

    /// What the engine has to do at the moment.
    pub fn stats(&self) -> Stats {
        Stats { load: self.shared.dispatcher.load(), unsettled: self.shared.settler.unsettled() }
    }
}

/// How long outcomes may take to be stored at the end of a shutdown, beyond its deadline.
const GRACE: Duration = Duration::from_secs(2);

/// The process goes down while a command is under way.
pub(crate) fn cut_off(ended: &JoinError) -> StoreError {
    StoreError { kind: StoreErrorKind::Unknown, cause: ended.to_string() }
}

impl std::fmt::Debug for Engine {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Engine").field("stats", &self.stats()).finish_non_exhaustive()
    }
}
