//! Durable state, as the engine sees it: batch verbs that write, and reads.
//!
//! Every write verb takes a slice and answers item by item; when it answers, what it answers for is on disk.
//! One item's refusal never undoes another's. An `Err` for the whole verb means that nothing of it was stored, but for
//! [`StoreErrorKind::Unknown`]. A store that loses sight of a commit (a failed fsync, a lost connection) finds out what became of it, or makes
//! sure that nothing did, before it answers; where the database stays away for too long for that, the answer is that nobody knows.
//! Where a failing disk does not let it, the cause says so: what was refused may come back with the next start then.
//!
//! All deliveries of a subscription are of one namespace: that of their events.
//!
//! A delivery that waits or is being sent is either *claimed* (one live engine has it in memory) or in the index of due deliveries.
//!
//! A store that has a budget refuses what makes it grow, with [`StoreErrorKind::OverBudget`], before that is used up: publishing (but for
//! duplicates of what is stored) and publishing again, scheduling and firing, new jobs, batches and requests, new configuration. A part of the
//! budget is kept for what
//! follows from what was accepted. That is never refused: claims, outcomes, slices of fan-outs, replays, changes of what is configured, and
//! all that removes something.
//!
//! An endpoint that is [erased](crate::endpoint::Deletion::Erased) hides what was delivered to it: from the moment at which that is configured
//! no read answers a delivery, an attempt or a dead letter of it, and no total counts one. Nothing of it can be claimed, replayed or dismissed,
//! and deliveries to it that are still being published are not stored. What is claimed is settled as ever. [`Store::prune`] removes it all.

mod batches;
mod cancel;
mod cluster;
mod commands;
mod deliveries;
mod error;
mod find;
mod health;
mod jobs;
mod lookup;
mod outbox;
mod prune;
mod requests;
mod retry;
mod series;
mod views;

pub use batches::*;
pub use cancel::*;
pub use cluster::*;
pub use commands::*;
pub use deliveries::*;
pub use error::*;
pub use find::*;
pub use health::*;
pub use jobs::*;
pub use lookup::*;
pub use outbox::*;
pub use prune::*;
pub use requests::*;
pub use retry::*;
pub use series::*;
pub use views::*;

use super::BoxFuture;
use crate::event::Namespace;
use crate::id::{AttemptId, BatchId, DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, JobId, ScheduledId, SubscriptionId};
use crate::schedule::Scheduled;
use crate::time::Timestamp;
use std::sync::Arc;

/// Durable state.
pub trait Store: HealthStore + ClusterStore + OutboxStore + SeriesStore + LookupStore {
    // ---- configuration -------------------------------------------------------------------------------------------

    /// Everything that is configured, with the version it had.
    fn configuration(&self) -> BoxFuture<'_, Result<Configuration, StoreError>>;

    /// The configuration's version: rises with every change, whoever makes it. Cheap; asked every second.
    fn configuration_version(&self) -> BoxFuture<'_, Result<i64, StoreError>>;

    /// Puts configuration, if its version is still the one from which the changes were made; each item replaces what has its id, and an event
    /// type what has its name in its registry.
    fn configure(&self, version: i64, changes: Vec<ConfigChange>) -> BoxFuture<'_, Result<Configured, StoreError>>;

    // ---- the way of an event -------------------------------------------------------------------------------------

    /// Stores events with their deliveries.
    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Published>, StoreError>>;

    /// Stores the next slices of large fan-outs, one after the other. Of two that begin at the same place the first one is stored.
    fn fan_out(&self, slices: Vec<FanOutSlice>) -> BoxFuture<'_, Result<Vec<Sliced>, StoreError>>;

    /// Events in these [slots](Slot::of) whose fan-out is not complete, oldest first: up to `limit`, and no more once their payloads sum up to
    /// `max_bytes`. Of the others no payload is read.
    fn unfinished_fan_outs(&self, of: SlotSet, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<UnfinishedFanOut>, StoreError>>;

    /// Records what became of claimed deliveries. It may wait a moment for company: nobody's answer depends on it.
    /// They are shared, so that whoever tries again until they are stored keeps them without a copy.
    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>>;

    /// Claims due, unclaimed deliveries, oldest due first.
    fn claim(&self, requests: Vec<ClaimRequest>) -> BoxFuture<'_, Result<Vec<ClaimBatch>, StoreError>>;

    /// Takes over up to `limit` deliveries that a dead engine had claimed. Empty when there are none left.
    fn rescue(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>>;

    /// Endpoints with unclaimed deliveries, and when the first is due.
    fn backlog(&self) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>>;

    /// Makes ended deliveries again.
    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Result<Vec<Replayed>, StoreError>>;

    /// Deliveries that waited unclaimed until their time to live ran out: claims those that are past it by then, up to `limit`, and no more
    /// once their payloads sum up to `max_bytes`.
    fn claim_expired(&self, by: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>>;

    /// When the first of the deliveries that wait unclaimed runs out of its time to live. Cheap; asked every second.
    fn next_expiry(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>>;

    /// Has deliveries tried again at once, each with a fresh budget of attempts and no time to live: those that ended are
    /// [made again](ReplayTarget::Delivery), those that wait are due by then, and are not called off any more. With `force` also those that
    /// succeeded. Refused without a change is what nobody would get: where the subscription or the endpoint of the delivery was deleted or is
    /// not there, but for what waits for a deleted binding, which is still delivered.
    fn retry(&self, ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> BoxFuture<'_, Result<Vec<Retried>, StoreError>>;

    /// Makes a delivery that waits and that nobody has claimed [due](crate::delivery::Step::Hasten) at that time, unless it is due
    /// sooner; answers its endpoint, and `None` for any other.
    fn hasten(&self, id: DeliveryId, at: Timestamp) -> BoxFuture<'_, Result<Option<EndpointId>, StoreError>>;

    /// Calls off a delivery that waits: it ends as [cancelled](crate::delivery::State::Cancelled) by hand, without a dead letter, and what was
    /// kept open of one stays so. Where an engine has it in memory, which it may be sending, that is noted instead: then it ends so by the next
    /// [settlement](Settled::CalledOff) that would have it wait, of that engine or of whoever takes over from it.
    fn cancel(&self, id: DeliveryId) -> BoxFuture<'_, Result<Cancelled, StoreError>>;

    /// Dismisses open dead letters; answers which of them were open. A delivery that is being made again goes on.
    fn dismiss(&self, ids: Vec<DeadLetterId>, at: Timestamp) -> BoxFuture<'_, Result<Vec<bool>, StoreError>>;

    // ---- scheduled webhooks --------------------------------------------------------------------------------------

    /// Stores occurrences.
    fn schedule(&self, rows: Vec<Scheduled>) -> BoxFuture<'_, Result<(), StoreError>>;

    /// Removes an occurrence, with `only_pending` unless it has fired; answers whether it did. A series ends with its pending occurrence.
    fn unschedule(&self, id: ScheduledId, only_pending: bool) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Pending occurrences due by `now`, oldest first, and when the first one after them is due: up to `limit`, and no more once their
    /// payloads sum up to `max_bytes`.
    fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<DueScheduled, StoreError>>;

    /// Turns due occurrences into events, each with its successor in one piece.
    fn fire(&self, firings: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>>;

    // ---- jobs ----------------------------------------------------------------------------------------------------

    /// Stores a job. One with a known id stays as it is, so that a job which is made twice is made once.
    fn put_job(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A job by its id. One that cannot be read is shown as [failed](JobState::Failed), without its filter.
    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>>;

    /// Jobs, newest first, of one namespace if given. They are counted in an index, for people make them one by one.
    fn jobs(&self, namespace: Option<Namespace>, window: Window<JobId>) -> BoxFuture<'_, Result<Found<Job, JobId>, StoreError>>;

    /// Jobs that have not ended, oldest first. One that cannot be read comes as [failed](JobState::Failed): it stays among these until
    /// [`Store::fail_job`] ends it, and nothing else can be done with it.
    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>>;

    /// Cancels or resumes a job, if it is in the state `from` and [may become](JobState::may_become) `to`; answers whether it did.
    fn set_job_state(&self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Ends a job that has not ended as failed; answers whether it did.
    fn fail_job(&self, id: JobId, error: JobError, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Makes the replays of a piece of a job and moves its cursor and counts, in one piece.
    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Result<Advanced, StoreError>>;

    // ---- batches ---------------------------------------------------------------------------------------------------

    /// Stores a batch with its entries, in the order in which they are to be done: of its kind, and as many as its `total`.
    fn put_batch(&self, batch: Batch, entries: BatchEntries) -> BoxFuture<'_, Result<(), StoreError>>;

    /// A batch by its id.
    fn batch(&self, id: BatchId) -> BoxFuture<'_, Result<Option<Batch>, StoreError>>;

    /// Batches that run, oldest first. Nothing is read of the others.
    fn running_batches(&self) -> BoxFuture<'_, Result<Vec<Batch>, StoreError>>;

    /// How many batches of exactly this tenant, or of the master view, have not ended. Of those that wait to be started only the ones count that
    /// were made after that. Counted in an index: what other tenants have costs nothing.
    fn open_batches(&self, namespace: Option<Namespace>, made_after: Timestamp) -> BoxFuture<'_, Result<OpenBatches, StoreError>>;

    /// Up to `limit` entries of a batch, leaving out the first `from`; none where it has ended. `None` where there is no such batch.
    fn batch_piece(&self, id: BatchId, from: u32, limit: u32) -> BoxFuture<'_, Result<Option<BatchEntries>, StoreError>>;

    /// Starts or cancels a batch, if it is in the state `from` and [may become](BatchState::may_become) `to`; answers whether it did.
    fn set_batch_state(&self, id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>>;

    /// Does what a piece of a batch says and moves the batch on, in one piece.
    fn advance_batch(&self, step: BatchStep) -> BoxFuture<'_, Result<BatchStepped, StoreError>>;

    // ---- requests with a key of the client's ---------------------------------------------------------------------

    /// Notes that a request is being done, unless it is or was already. Of two at once one is new. One that an engine before this one
    /// left undone is new again, with the seed that it had.
    fn begin_request(&self, request: NewRequest) -> BoxFuture<'_, Result<Begun, StoreError>>;

    /// Notes the answer to a request that this engine is doing; with `None` there is none to keep, and the request is left
    /// undone. What this engine is not doing stays as it is. Where the owner has too many answers then ([`MAX_ANSWERS`], [`MAX_ANSWER_BYTES`]),
    /// those of the requests that were first made longest ago go, and these are left undone too.
    fn end_request(&self, key: RequestKey, response: Option<StoredResponse>) -> BoxFuture<'_, Result<(), StoreError>>;

    // ---- upkeep --------------------------------------------------------------------------------------------------

    /// Removes one slice of what is past its retention. Nothing that still has to be delivered is ever removed, except what waits for an
    /// erased endpoint: everything of those that is not claimed goes first, whatever its age.
    ///
    /// Open dead letters of subscriptions that were deleted are dismissed on the way, as of the deletion: nobody can reach them any more. Those of
    /// bindings ([`Origin::Items`](crate::subscription::Origin)) stay: their API lists them by themselves.
    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned, StoreError>>;

    /// How much room is taken and how much there is. Cheap; asked every few seconds.
    fn usage(&self) -> BoxFuture<'_, Result<Usage, StoreError>>;

    /// Whether the store can write and read right now.
    fn health(&self) -> BoxFuture<'_, Result<(), StoreError>>;

    // ---- reads ---------------------------------------------------------------------------------------------------

    /// A delivery with its event and its attempts (ascending by number), all of one moment.
    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, Result<Option<DeliveryView>, StoreError>>;

    /// An event by its id.
    fn event(&self, id: EventId) -> BoxFuture<'_, Result<Option<EventView>, StoreError>>;

    /// An event by its number, in this namespace if one is given. However many deliveries it has, none is read.
    fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>>;

    /// An event by its id, in this namespace if one is given. However many deliveries it has, none is read.
    fn event_by_id(&self, id: EventId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>>;

    /// The numbers of events, newest first.
    fn event_numbers(
        &self,
        filter: EventFilter,
        window: Window<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventSeq, EventPlace>, StoreError>>;

    /// Events, newest first.
    fn find_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventRow, EventPlace>, StoreError>>;

    /// The same without their number, which costs what the page costs whatever the filter.
    fn page_of_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Page<EventRow, EventPlace>, StoreError>>;

    /// How many deliveries each of these events has in each state, by [`StateKind`](crate::delivery::StateKind) number, in their order; an
    /// unknown one has none. Walks each event's deliveries, as many as its fan-out made (about a microsecond each).
    fn event_counts(&self, of: Vec<EventSeq>) -> BoxFuture<'_, Result<Vec<[u64; 7]>, StoreError>>;

    /// Deliveries, newest first: in descending order of their ids. See [`DeliveryFilter`] for what that costs.
    fn find_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryRow, DeliveryId>, StoreError>>;

    /// The ids of the deliveries that [`Store::find_deliveries`] lists, in its order.
    fn delivery_ids(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryId, DeliveryId>, StoreError>>;

    /// One delivery as a list shows it, but with whole bodies; in this namespace if one is given. However many attempts it has, the
    /// bodies of one are read.
    fn delivery_row(&self, id: DeliveryId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<DeliveryRow>, StoreError>>;

    /// The newest attempts of a delivery, ascending by number, and no more than `limit`; none where there is no such delivery, in this
    /// namespace if one is given.
    fn attempts_of(&self, id: DeliveryId, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptRow>, StoreError>>;

    /// Attempts, newest first: in descending order of their ids.
    fn find_attempts(
        &self,
        filter: AttemptFilter,
        window: Window<AttemptId>,
    ) -> BoxFuture<'_, Result<Found<AttemptRow, AttemptId>, StoreError>>;

    /// The newest attempt of each of these that ended, in their order.
    fn last_ended(&self, of: LastOf) -> BoxFuture<'_, Result<Vec<Option<AttemptRow>>, StoreError>>;

    /// One attempt, in this namespace if one is given.
    fn attempt(&self, id: AttemptId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<AttemptDetail>, StoreError>>;

    /// Open dead letters, newest first.
    fn find_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Found<DeadLetterRow, DeadLetterPlace>, StoreError>>;

    /// The same without their number, which costs what the page costs whatever the filter.
    fn page_of_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>>;

    /// Attempts of a subscription, newest first.
    fn attempts(&self, of: SubscriptionId, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptView>, StoreError>>;

    /// Dead letters of a subscription that were not dismissed (with `open_only` only those that were not retried either), newest first.
    fn dead_letters(
        &self,
        of: SubscriptionId,
        open_only: bool,
        page: PageRequest<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterView, DeadLetterPlace>, StoreError>>;

    /// One dead letter, whatever its status.
    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetterView>, StoreError>>;

    /// Scheduled occurrences in the order of [`ScheduledPlace`]; of one namespace and one subscription if given.
    fn scheduled(
        &self,
        namespace: Option<Namespace>,
        of: Option<SubscriptionId>,
        page: PageRequest<ScheduledPlace>,
    ) -> BoxFuture<'_, Result<Page<Scheduled, ScheduledPlace>, StoreError>>;

    /// One scheduled occurrence.
    fn scheduled_one(&self, id: ScheduledId) -> BoxFuture<'_, Result<Option<Scheduled>, StoreError>>;

    /// Counters of these subscriptions, in their order. Kept with every write, never counted. Those of a subscription to an erased endpoint
    /// are zero; of one that had moved away from it deliveries to it count until they are removed.
    fn counters(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>>;

    /// How many deliveries are in which state, by [`StateKind`](crate::delivery::StateKind) number; of one namespace if given. Those of deleted
    /// subscriptions are among them while they are there. The sum of kept counters, one row for each subscription and endpoint.
    fn delivery_counts(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; 7], StoreError>>;
}
