//! The verbs of the port: each is a transaction, work for a lane, or a read.

mod cluster_store;
mod health_store;
mod lookup_store;
mod series_store;

use super::*;
use crate::room as sizes;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::schedule::Scheduled;
use postrider_core::time::Timestamp;

/// Takes room for new work of about so many bytes. Where there is none the verb ends with that, unless what it is about to store is known.
macro_rules! grow {
    ($store:expr, $bytes:expr, $conn:ident => $known:expr) => {
        if $store.has_budget {
            let bytes: u64 = $bytes;
            if !$store.room.take_of_measured(bytes, tokio::time::Instant::now()) {
                let taken = look!($store.own, $conn => async {
                    let taken = $store.room.take($conn, bytes).await?;
                    let is_known = taken.is_err() && $known.await?;
                    Ok::<_, Error>(if is_known { Ok(()) } else { taken })
                });
                taken.map_err(Error::into_store)??;
            }
        }
    };
}

// Behind what it needs of this.
mod outbox_store;

/// Of what adds something in any case.
fn nothing() -> std::future::Ready<Result<bool, Error>> {
    std::future::ready(Ok(false))
}

impl Store for PgStore {
    fn configuration(&self) -> BoxFuture<'_, Result<Configuration, StoreError>> {
        read!(self.own, conn => config::read(conn))
    }

    fn configuration_version(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        read!(self.own, conn => config::version(conn))
    }

    fn configure(&self, version: i64, changes: Vec<ConfigChange>) -> BoxFuture<'_, Result<Configured, StoreError>> {
        Box::pin(async move {
            let documents = config::documents(&changes).map_err(Error::into_store)?;
            grow!(self, config::bytes(&documents), conn => config::are_known(conn, &documents));
            let put = transact!(self.writers.seat(), tx => config::put(tx, version, &documents)).map_err(Error::into_store)?;
            if put != Configured::Conflict {
                self.wire.tell(News::Configuration);
            }
            Ok(put)
        })
    }

    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Published>, StoreError>> {
        Box::pin(async move {
            grow!(self, events.iter().map(sizes::event).sum(), conn => publish::are_known(conn, &events));
            self.lanes.publish(events).await
        })
    }

    fn fan_out(&self, slices: Vec<FanOutSlice>) -> BoxFuture<'_, Result<Vec<Sliced>, StoreError>> {
        Box::pin(self.lanes.fan_out(slices))
    }

    fn unfinished_fan_outs(&self, of: SlotSet, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<UnfinishedFanOut>, StoreError>> {
        read!(self.own, conn => fan_out::unfinished(conn, &of, limit, max_bytes))
    }

    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Result<Vec<Settled>, StoreError>> {
        Box::pin(self.lanes.settle(settlements))
    }

    fn claim(&self, requests: Vec<ClaimRequest>) -> BoxFuture<'_, Result<Vec<ClaimBatch>, StoreError>> {
        written!(self, tx => claim::claim(tx, &requests))
    }

    fn rescue(&self, limit: u32) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(async move {
            // Asked every second by every node; mostly there is nothing, and nothing is written for it.
            let has_claims = look!(self.own, conn => claim::has_claims_of_dead(conn, self.incarnation())).map_err(Error::into_store)?;
            if !has_claims {
                return Ok(Vec::new());
            }
            transact!(self.writers.seat(), tx => claim::rescue(tx, limit)).map_err(Error::into_store)
        })
    }

    fn backlog(&self) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        read!(self.own, conn => claim::backlog(conn))
    }

    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Result<Vec<Replayed>, StoreError>> {
        written!(self, tx => replay::replay(tx, &replays))
    }

    fn hasten(&self, id: DeliveryId, at: Timestamp) -> BoxFuture<'_, Result<Option<EndpointId>, StoreError>> {
        written!(self, tx => retry::hasten(tx, id, at))
    }

    fn claim_expired(&self, by: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        written!(self, tx => claim::claim_expired(tx, by, limit, max_bytes))
    }

    fn next_expiry(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        read!(self.own, conn => claim::next_expiry(conn))
    }

    fn retry(&self, ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> BoxFuture<'_, Result<Vec<Retried>, StoreError>> {
        written!(self, tx => retry::retry(tx, &ids, force, at))
    }

    fn cancel(&self, id: DeliveryId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        written!(self, tx => cancel::cancel(tx, id))
    }

    fn dismiss(&self, ids: Vec<DeadLetterId>, at: Timestamp) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        written!(self, tx => replay::dismiss(tx, &ids, at))
    }

    fn schedule(&self, rows: Vec<Scheduled>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            grow!(self, rows.iter().map(sizes::occurrence).sum(), conn => nothing());
            transact!(self.writers.seat(), tx => schedule::schedule(tx, &rows)).map_err(Error::into_store)
        })
    }

    fn unschedule(&self, id: ScheduledId, only_pending: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        written!(self, tx => schedule::unschedule(tx, id, only_pending))
    }

    fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<DueScheduled, StoreError>> {
        snapshot!(self.own, conn => schedule::due(conn, now, limit, max_bytes))
    }

    fn fire(&self, firings: Vec<Firing>) -> BoxFuture<'_, Result<Vec<Fired>, StoreError>> {
        Box::pin(async move {
            let events = firings.iter().filter_map(|firing| firing.event.as_ref());
            grow!(self, events.map(sizes::event).sum(), conn => nothing());
            transact!(self.writers.seat(), tx => schedule::fire(tx, &firings)).map_err(Error::into_store)
        })
    }

    fn put_job(&self, job: Job) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            grow!(self, sizes::ROW, conn => is_job(conn, job.id));
            transact!(self.writers.seat(), tx => jobs::put(tx, &job)).map_err(Error::into_store)
        })
    }

    fn job(&self, id: JobId) -> BoxFuture<'_, Result<Option<Job>, StoreError>> {
        read!(self.readers, conn => jobs::one(conn, id))
    }

    fn jobs(&self, namespace: Option<Namespace>, window: Window<JobId>) -> BoxFuture<'_, Result<Found<Job, JobId>, StoreError>> {
        snapshot!(self.readers, conn => jobs::list(conn, namespace.as_ref(), window))
    }

    fn running_jobs(&self) -> BoxFuture<'_, Result<Vec<Job>, StoreError>> {
        read!(self.own, conn => jobs::running(conn))
    }

    fn set_job_state(&self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        written!(self, tx => jobs::set_state(tx, id, from, to, at))
    }

    fn fail_job(&self, id: JobId, error: JobError, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        written!(self, tx => jobs::fail(tx, id, error, at))
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Result<Advanced, StoreError>> {
        written!(self, tx => jobs::advance(tx, &step))
    }

    fn put_batch(&self, batch: Batch, entries: BatchEntries) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            grow!(self, sizes::batch(&entries), conn => nothing());
            transact!(self.writers.seat(), tx => batches::put(tx, &batch, &entries)).map_err(Error::into_store)
        })
    }

    fn batch(&self, id: BatchId) -> BoxFuture<'_, Result<Option<Batch>, StoreError>> {
        read!(self.readers, conn => batches::one(conn, id))
    }

    fn running_batches(&self) -> BoxFuture<'_, Result<Vec<Batch>, StoreError>> {
        read!(self.own, conn => batches::running(conn))
    }

    fn open_batches(&self, namespace: Option<Namespace>, made_after: Timestamp) -> BoxFuture<'_, Result<OpenBatches, StoreError>> {
        read!(self.own, conn => batches::open(conn, namespace.as_ref(), made_after))
    }

    fn batch_piece(&self, id: BatchId, from: u32, limit: u32) -> BoxFuture<'_, Result<Option<BatchEntries>, StoreError>> {
        read!(self.own, conn => batches::piece(conn, id, from, limit))
    }

    fn set_batch_state(&self, id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        written!(self, tx => batches::set_state(tx, id, from, to, at))
    }

    fn advance_batch(&self, step: BatchStep) -> BoxFuture<'_, Result<BatchStepped, StoreError>> {
        Box::pin(async move {
            if let BatchWork::Publish(events) = &step.work {
                grow!(self, events.iter().map(sizes::event).sum(), conn => nothing());
            }
            transact!(self.writers.seat(), tx => batches::advance(tx, &step)).map_err(Error::into_store)
        })
    }

    fn begin_request(&self, request: NewRequest) -> BoxFuture<'_, Result<Begun, StoreError>> {
        Box::pin(async move {
            grow!(self, sizes::ROW, conn => requests::is_known(conn, &request));
            transact!(self.writers.seat(), tx => requests::begin(tx, &request)).map_err(Error::into_store)
        })
    }

    fn end_request(&self, key: RequestKey, response: Option<StoredResponse>) -> BoxFuture<'_, Result<(), StoreError>> {
        written!(self, tx => requests::end(tx, &key, response.as_ref()))
    }

    /// The state of the run goes on with what is stored: a slice that is undone, or that nobody waits for any more, leaves it as it was.
    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Result<Pruned, StoreError>> {
        Box::pin(async move {
            let mut sweep = self.sweep.lock().await;
            let mut next = Sweep::default();
            let pruned = transact!(self.writers.seat(), tx => {
                next.clone_from(&sweep);
                prune::prune(tx, &mut next, &request)
            });
            let pruned = pruned.map_err(Error::into_store)?;
            *sweep = next;
            if pruned.configuration > 0 {
                self.wire.announce(News::Configuration);
            }
            Ok(pruned)
        })
    }

    fn usage(&self) -> BoxFuture<'_, Result<Usage, StoreError>> {
        read!(self.own, conn => self.room.usage(conn))
    }

    /// Commits the row of the transaction itself and reads: what a caller with real work would meet.
    fn health(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            transact!(self.writers.seat(), _tx => std::future::ready(Ok(()))).map_err(Error::into_store)?;
            look!(self.own, conn => config::version(conn)).map(drop).map_err(Error::into_store)
        })
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, Result<Option<DeliveryView>, StoreError>> {
        snapshot!(self.readers, conn => reads::delivery(conn, id))
    }

    fn event(&self, id: EventId) -> BoxFuture<'_, Result<Option<EventView>, StoreError>> {
        snapshot!(self.readers, conn => reads::event(conn, id))
    }

    fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        read!(self.readers, conn => reads::event_by_seq(conn, seq, namespace.as_ref()))
    }

    fn event_by_id(&self, id: EventId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        read!(self.readers, conn => reads::event_by_id(conn, id, namespace.as_ref()))
    }

    fn event_numbers(
        &self,
        filter: EventFilter,
        window: Window<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventSeq, EventPlace>, StoreError>> {
        snapshot!(self.readers, conn => find_events::numbers(conn, &filter, window))
    }

    fn find_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventRow, EventPlace>, StoreError>> {
        snapshot!(self.readers, conn => find_events::find(conn, &filter, page))
    }

    fn page_of_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Page<EventRow, EventPlace>, StoreError>> {
        snapshot!(self.readers, conn => find_events::page(conn, &filter, page))
    }

    fn event_counts(&self, of: Vec<EventSeq>) -> BoxFuture<'_, Result<Vec<[u64; 7]>, StoreError>> {
        read!(self.readers, conn => reads::event_counts(conn, &of))
    }

    fn find_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryRow, DeliveryId>, StoreError>> {
        snapshot!(self.readers, conn => find_deliveries::find(conn, &filter, window))
    }

    fn delivery_ids(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryId, DeliveryId>, StoreError>> {
        snapshot!(self.readers, conn => find_deliveries::ids(conn, &filter, window))
    }

    fn delivery_row(&self, id: DeliveryId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<DeliveryRow>, StoreError>> {
        snapshot!(self.readers, conn => find_deliveries::row(conn, id, namespace.as_ref()))
    }

    fn attempts_of(&self, id: DeliveryId, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptRow>, StoreError>> {
        read!(self.readers, conn => find_attempts::of_delivery(conn, id, namespace.as_ref(), limit))
    }

    fn find_attempts(
        &self,
        filter: AttemptFilter,
        window: Window<AttemptId>,
    ) -> BoxFuture<'_, Result<Found<AttemptRow, AttemptId>, StoreError>> {
        snapshot!(self.readers, conn => find_attempts::find(conn, &filter, window))
    }

    fn last_ended(&self, of: LastOf) -> BoxFuture<'_, Result<Vec<Option<AttemptRow>>, StoreError>> {
        snapshot!(self.readers, conn => find_attempts::last_ended(conn, &of))
    }

    fn attempt(&self, id: AttemptId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<AttemptDetail>, StoreError>> {
        read!(self.readers, conn => find_attempts::attempt(conn, id, namespace.as_ref()))
    }

    fn find_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Found<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        snapshot!(self.readers, conn => find_dead_letters::find(conn, &filter, window))
    }

    fn page_of_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        snapshot!(self.own, conn => find_dead_letters::page(conn, &filter, window))
    }

    fn attempts(&self, of: SubscriptionId, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptView>, StoreError>> {
        read!(self.readers, conn => reads::attempts(conn, of, limit))
    }

    fn dead_letters(
        &self,
        of: SubscriptionId,
        open_only: bool,
        page: PageRequest<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterView, DeadLetterPlace>, StoreError>> {
        snapshot!(self.readers, conn => reads::dead_letters(conn, of, open_only, page))
    }

    fn dead_letter(&self, id: DeadLetterId) -> BoxFuture<'_, Result<Option<DeadLetterView>, StoreError>> {
        snapshot!(self.readers, conn => reads::dead_letter(conn, id))
    }

    fn scheduled(
        &self,
        namespace: Option<Namespace>,
        of: Option<SubscriptionId>,
        page: PageRequest<ScheduledPlace>,
    ) -> BoxFuture<'_, Result<Page<Scheduled, ScheduledPlace>, StoreError>> {
        snapshot!(self.readers, conn => schedule::list(conn, namespace.as_ref(), of, page))
    }

    fn scheduled_one(&self, id: ScheduledId) -> BoxFuture<'_, Result<Option<Scheduled>, StoreError>> {
        read!(self.readers, conn => schedule::one(conn, id))
    }

    fn counters(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        read!(self.own, conn => reads::counters(conn, &of))
    }

    fn delivery_counts(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; 7], StoreError>> {
        read!(self.readers, conn => reads::delivery_counts(conn, namespace.as_ref()))
    }
}

async fn is_job(conn: &conn::Conn, id: JobId) -> Result<bool, Error> {
    jobs::one(conn, id).await.map(|job| job.is_some())
}
