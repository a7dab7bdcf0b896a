//! The [`Store`] port on plain maps: the model that says what the verbs mean.
//!
//! Every verb is the simplest thing that keeps the port's promises, so that the databases can be compared with it and the
//! simulator can run on it. It is deterministic, never fails, and its futures are ready when they are first polled.
//!
//! | file | holds |
//! |---|---|
//! | `handle.rs` | the handle, and how a verb is run |
//! | `data.rs` | the maps, and the few functions through which rows come, change and go |
//! | `dump.rs` | all of it, for checkers |
//! | `write.rs` | publish, fan-out, settle, cancel, replay, dismiss, schedule, fire |
//! | `claim.rs` | claim, rescue, backlog |
//! | `cluster.rs` | several engines on one store |
//! | `health.rs` | how well endpoints do |
//! | `series.rs` | numbers over time, and what is late |
//! | `jobs.rs` | bulk replays |
//! | `batches.rs` | batches of events and of deliveries |
//! | `requests.rs` | requests with a key of the client's |
//! | `prune.rs` | retention |
//! | `room.rs` | what it would take on a disk, and what there is no room for |
//! | `read.rs`, `find.rs`, `deliveries.rs`, `lookup.rs` | the reads; those with filters and totals; groups, and what is found by its key |

mod batches;
mod claim;
mod cluster;
mod data;
mod deliveries;
mod dump;
mod find;
mod handle;
mod health;
mod jobs;
mod lookup;
mod prune;
mod read;
mod requests;
mod room;
mod series;
#[cfg(test)]
mod tests;
mod write;

pub use dump::Dump;
pub use handle::MemoryStore;

use crate::room::{self as sizes, ROW};
use data::Data;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::time::Timestamp;
use std::sync::Arc;

impl Store for MemoryStore {
    fn configuration(&self) -> BoxFuture<'_, Result<Configuration, StoreError>> {
        self.answer(|data, _| data.configuration())
    }

    fn configuration_version(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        self.answer(|data, _| data.configuration_version)
    }

    fn configure(&self, version: i64, changes: Vec<ConfigChange>) -> BoxFuture<'_, Result<Configured, StoreError>> {
        let known = changes.clone();
        self.grow(ROW * changes.len() as u64, move |data| data.is_configured(&known), move |data, _| data.configure(version, changes))
    }

    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Published>, StoreError>> {
        let (bytes, known) = (events.iter().map(sizes::event).sum(), events.clone());
        let publish = |data: &mut Data, me| events.into_iter().map(|event| data.publish(event, me)).collect();
        self.grow(bytes, move |data| data.are_known(&known), publish)
    }

    fn fan_out(&self, slices: Vec<FanOutSlice>) -> BoxFuture<'_, Result<Vec<Sliced>, StoreError>> {
        self.answer(|data, me| slices.into_iter().map(|slice| data.fan_out(slice, me)).collect())
    }

    fn unfinished_fan_outs(&self, of: SlotSet, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<UnfinishedFanOut>, StoreError>> {
        self.answer(move |data, _| data.unfinished_fan_outs(of, limit, max_bytes))
    }

    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        self.answer(move |data, me| settlements.iter().map(|settlement| data.settle(settlement, me)).collect())
    }

    fn claim(&self, requests: Vec<ClaimRequest>) -> BoxFuture<'_, Result<Vec<ClaimBatch>, StoreError>> {
        self.answer(|data, me| requests.into_iter().map(|request| data.claim(request, me)).collect())
    }

    fn rescue(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        self.answer(move |data, me| data.rescue(limit, me))
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        self.answer(|data, _| data.backlog())
    }

    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Result<Vec<Replayed>, StoreError>> {
        self.answer(|data, me| replays.into_iter().map(|replay| data.replay(replay, me)).collect())
    }

    fn hasten(&self, id: DeliveryId, at: Timestamp) -> BoxFuture<'_, Result<Option<EndpointId>, StoreError>> {
        self.answer(move |data, _| data.hasten(id, at))
    }

    fn claim_expired(&self, by: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        self.answer(move |data, me| data.claim_expired(by, limit, max_bytes, me))
    }

    fn next_expiry(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        self.answer(|data, _| data.next_expiry())
    }

    fn retry(&self, ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> BoxFuture<'_, Result<Vec<Retried>, StoreError>> {
        self.answer(move |data, _| ids.into_iter().map(|id| data.retry(id, force, at)).collect())
    }

    fn cancel(&self, id: DeliveryId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        self.answer(move |data, _| data.cancel(id))
    }

    fn dismiss(&self, ids: Vec<DeadLetterId>, at: Timestamp) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        self.answer(move |data, _| ids.into_iter().map(|id| data.dismiss(id, at)).collect())
    }

    fn schedule(&self, rows: Vec<Scheduled>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.grow(rows.iter().map(sizes::occurrence).sum(), |_| false, |data, _| data.schedule(rows))
    }

    fn unschedule(&self, id: ScheduledId, only_pending: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.answer(move |data, _| data.unschedule(id, only_pending))
    }

    fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<DueScheduled, StoreError>> {
        self.answer(move |data, _| data.due_scheduled(now, limit, max_bytes))
    }

    fn fire(&self, firings: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        let bytes = firings.iter().filter_map(|firing| firing.event.as_ref()).map(sizes::event).sum();
        self.grow(bytes, |_| false, |data, me| firings.into_iter().map(|firing| data.fire(firing, me)).collect())
    }

    fn put_job(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>> {
        let id = job.id;
        self.grow(ROW, move |data| data.jobs.contains_key(&id), move |data, _| data.put_job(job))
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        self.answer(move |data, _| data.jobs.get(&id).cloned())
    }

    fn jobs(&self, namespace: Option<Namespace>, window: Window<JobId>) -> BoxFuture<'_, Result<Found<Job, JobId>, StoreError>> {
        self.answer(move |data, _| data.find_jobs(namespace, window))
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        self.answer(|data, _| data.running_jobs())
    }

    fn set_job_state(&self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.answer(move |data, _| data.set_job_state(id, from, to, at))
    }

    fn fail_job(&self, id: JobId, error: JobError, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.answer(move |data, _| data.fail_job(id, error, at))
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Result<Advanced, StoreError>> {
        self.answer(|data, _| data.advance_job(step))
    }

    fn put_batch(&self, batch: Batch, entries: BatchEntries) -> BoxFuture<'_, Result<(), StoreError>> {
        self.grow(sizes::batch(&entries), |_| false, move |data, _| drop(data.batches.insert(batch.id, (batch, entries))))
    }

    fn batch(&self, id: BatchId) -> BoxFuture<'_, Result<Option<Batch>, StoreError>> {
        self.answer(move |data, _| data.batches.get(&id).map(|(batch, _)| batch.clone()))
    }

    fn running_batches(&self) -> BoxFuture<'_, Result<Vec<Batch>, StoreError>> {
        self.answer(|data, _| data.running_batches())
    }

    fn open_batches(&self, namespace: Option<Namespace>, made_after: Timestamp) -> BoxFuture<'_, Result<OpenBatches, StoreError>> {
        self.answer(move |data, _| data.open_batches(namespace.as_ref(), made_after))
    }

    fn batch_piece(&self, id: BatchId, from: u32, limit: u32) -> BoxFuture<'_, Result<Option<BatchEntries>, StoreError>> {
        self.answer(move |data, _| data.batch_piece(id, from, limit))
    }

    fn set_batch_state(&self, id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        self.answer(move |data, _| data.set_batch_state(id, from, to, at))
    }

    fn advance_batch(&self, step: BatchStep) -> BoxFuture<'_, Result<BatchStepped, StoreError>> {
        let bytes = match &step.work {
            BatchWork::Publish(events) => events.iter().map(sizes::event).sum(),
            // What was accepted may be tried again, however little room there is.
            BatchWork::Retry(_) => return self.answer(move |data, me| data.advance_batch(step, me)),
        };
        self.grow(bytes, |_| false, move |data, me| data.advance_batch(step, me))
    }

    fn begin_request(&self, request: NewRequest) -> BoxFuture<'_, Result<Begun, StoreError>> {
        let key = request.key.clone();
        self.grow(ROW, move |data| data.requests.contains_key(&key), move |data, me| data.begin_request(request, me))
    }

    fn end_request(&self, key: RequestKey, response: Option<StoredResponse>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, me| data.end_request(&key, response, me))
    }

    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned, StoreError>> {
        self.answer(move |data, _| data.prune(request))
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, StoreError>> {
        self.answer(|data, _| data.usage())
    }

    fn health(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(|_, _| ())
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, Result<Option<DeliveryView>, StoreError>> {
        self.answer(move |data, _| data.delivery_view(id))
    }

    fn event(&self, id: EventId) -> BoxFuture<'_, Result<Option<EventView>, StoreError>> {
        self.answer(move |data, _| data.event_view(id))
    }

    fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        self.answer(move |data, _| data.event_by_seq(seq, namespace))
    }

    fn event_by_id(&self, id: EventId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        self.answer(move |data, _| data.event_by_seq(*data.event_ids.get(&id)?, namespace))
    }

    fn event_numbers(
        &self,
        filter: EventFilter,
        window: Window<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventSeq, EventPlace>, StoreError>> {
        self.answer(move |data, _| data.event_numbers(&filter, window))
    }

    fn find_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventRow, EventPlace>, StoreError>> {
        self.answer(move |data, _| data.find_events(&filter, page))
    }

    fn page_of_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Page<EventRow, EventPlace>, StoreError>> {
        self.answer(move |data, _| data.find_events(&filter, page).page)
    }

    fn event_counts(&self, of: Vec<EventSeq>) -> BoxFuture<'_, Result<Vec<[u64; 7]>, StoreError>> {
        self.answer(|data, _| of.into_iter().map(|event| data.event_counts(event)).collect())
    }

    fn find_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryRow, DeliveryId>, StoreError>> {
        self.answer(move |data, _| data.find_deliveries(&filter, window))
    }

    fn delivery_ids(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryId, DeliveryId>, StoreError>> {
        self.answer(move |data, _| data.delivery_ids(&filter, window))
    }

    fn delivery_row(&self, id: DeliveryId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<DeliveryRow>, StoreError>> {
        self.answer(move |data, _| data.one_delivery(id, &namespace))
    }

    fn attempts_of(&self, id: DeliveryId, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptRow>, StoreError>> {
        self.answer(move |data, _| data.attempts_of(id, &namespace, limit))
    }

    fn find_attempts(
        &self,
        filter: AttemptFilter,
        window: Window<AttemptId>,
    ) -> BoxFuture<'_, Result<Found<AttemptRow, AttemptId>, StoreError>> {
        self.answer(move |data, _| data.find_attempts(&filter, window))
    }

    fn last_ended(&self, of: LastOf) -> BoxFuture<'_, Result<Vec<Option<AttemptRow>>, StoreError>> {
        self.answer(move |data, _| data.last_ended(&of))
    }

    fn attempt(&self, id: AttemptId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<AttemptDetail>, StoreError>> {
        self.answer(move |data, _| data.attempt_detail(id, namespace))
    }

    fn find_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Found<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        self.answer(move |data, _| data.find_dead_letters(&filter, window))
    }

    fn page_of_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        self.answer(move |data, _| data.find_dead_letters(&filter, window).page)
    }

    fn attempts(&self, of: SubscriptionId, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptView>, StoreError>> {
        self.answer(move |data, _| data.attempt_views(of, limit))
    }

    fn dead_letters(
        &self,
        of: SubscriptionId,
        open_only: bool,
        page: PageRequest<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterView, DeadLetterPlace>, StoreError>> {
        self.answer(move |data, _| data.dead_letter_views(of, open_only, page))
    }

    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetterView>, StoreError>> {
        self.answer(move |data, _| data.dead_letter_view(id))
    }

    fn scheduled(
        &self,
        namespace: Option<Namespace>,
        of: Option<SubscriptionId>,
        page: PageRequest<ScheduledPlace>,
    ) -> BoxFuture<'_, Result<Page<Scheduled, ScheduledPlace>, StoreError>> {
        self.answer(move |data, _| data.scheduled_list(namespace, of, page))
    }

    fn scheduled_one(&self, id: ScheduledId) -> BoxFuture<'_, Result<Option<Scheduled>, StoreError>> {
        self.answer(move |data, _| data.scheduled.get(&id).cloned())
    }

    fn counters(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        self.answer(|data, _| of.into_iter().map(|id| data.counters(id)).collect())
    }
    fn delivery_counts(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; 7], StoreError>> {
        self.answer(move |data, _| data.delivery_counts(&namespace))
    }
}
