//! The verbs of the port: each is a piece of work for the writer or a read on one of the readers.

mod lookup_store;

use super::*;

impl Store for SqliteStore {
    fn configuration(&self) -> BoxFuture<'_, Result<Configuration, StoreError>> {
        Box::pin(self.own.read(config::read))
    }

    fn configuration_version(&self) -> BoxFuture<'_, Result<i64, StoreError>> {
        Box::pin(self.own.read(config::version))
    }

    fn configure(&self, version: i64, changes: Vec<ConfigChange>) -> BoxFuture<'_, Result<Configured, StoreError>> {
        Box::pin(async move {
            let documents = config::documents(&changes).map_err(|e| store_error(&e))?;
            let bytes = config::bytes(&documents);
            let documents = Arc::new(documents);
            let known = Arc::clone(&documents);
            let is_known = move |s: &Session| config::are_known(&s.conn, &known);
            self.grow((changes.len(), bytes), is_known, move |s| config::put_over(&s.conn, version, &documents)).await
        })
    }

    fn publish(&self, events: Vec<NewEvent>) -> BoxFuture<'_, Result<Vec<Published>, StoreError>> {
        let size = (events.iter().map(event_weight).sum(), events.iter().map(sizes::event).sum());
        let events: Arc<[NewEvent]> = events.into();
        let known = Arc::clone(&events);
        Box::pin(self.grow(size, move |s| publish::are_known(&s.conn, &known), move |s| publish::publish(s, &events)))
    }

    fn fan_out(&self, slices: Vec<FanOutSlice>) -> BoxFuture<'_, Result<Vec<Sliced>, StoreError>> {
        let weight = slices.iter().map(|slice| 1 + slice.deliveries.len()).sum();
        Box::pin(self.write(weight, Urgency::Now, move |s| publish::fan_out(s, &slices)))
    }

    fn unfinished_fan_outs(&self, of: SlotSet, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<UnfinishedFanOut>, StoreError>> {
        Box::pin(self.own.read(move |conn| reads::unfinished_fan_outs(conn, &of, limit, max_bytes)))
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
        Box::pin(self.own.read(reads::backlog))
    }

    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Result<Vec<Replayed>, StoreError>> {
        Box::pin(self.write(replays.len(), Urgency::Now, move |s| replay::replay(s, &replays)))
    }

    fn hasten(&self, id: DeliveryId, at: Timestamp) -> BoxFuture<'_, Result<Option<EndpointId>, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| replay::hasten(&s.conn, id, at)))
    }

    fn claim_expired(&self, by: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<Claimed>, StoreError>> {
        Box::pin(self.write(1 + weight_of_up_to(limit), Urgency::Now, move |s| claim::claim_expired(s, by, limit, max_bytes)))
    }

    fn next_expiry(&self) -> BoxFuture<'_, Result<Option<Timestamp>, StoreError>> {
        Box::pin(self.own.read(claim::next_expiry))
    }

    fn retry(&self, ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> BoxFuture<'_, Result<Vec<Retried>, StoreError>> {
        Box::pin(self.write(ids.len(), Urgency::Now, move |s| ids.iter().map(|id| replay::retry(s, *id, force, at)).collect()))
    }

    fn cancel(&self, id: DeliveryId) -> BoxFuture<'_, Result<Cancelled, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| cancel::cancel(s, id)))
    }

    fn dismiss(&self, ids: Vec<DeadLetterId>, at: Timestamp) -> BoxFuture<'_, Result<Vec<bool>, StoreError>> {
        Box::pin(self.write(ids.len(), Urgency::Now, move |s| replay::dismiss(s, &ids, at)))
    }

    fn schedule(&self, rows: Vec<Scheduled>) -> BoxFuture<'_, Result<(), StoreError>> {
        let weight = rows.iter().map(|row| 1 + row.payload.len() / files::PAGE_SIZE as usize).sum();
        let bytes = rows.iter().map(sizes::occurrence).sum();
        Box::pin(self.grow((weight, bytes), nothing_is_known, move |s| schedule::schedule(s, &rows)))
    }

    fn unschedule(&self, id: ScheduledId, only_pending: bool) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| schedule::unschedule(s, id, only_pending)))
    }

    fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<DueScheduled, StoreError>> {
        Box::pin(self.own.read(move |conn| schedule::due(conn, now, limit, max_bytes)))
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
        Box::pin(self.own.read(jobs::running))
    }

    fn set_job_state(&self, id: JobId, from: JobState, to: JobState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| jobs::set_state(&s.conn, id, from, to, at)))
    }

    fn fail_job(&self, id: JobId, error: JobError, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| jobs::fail(&s.conn, id, error, at)))
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Result<Advanced, StoreError>> {
        Box::pin(self.write(1 + step.letters.len(), Urgency::Now, move |s| jobs::advance(s, &step)))
    }

    fn put_batch(&self, batch: Batch, entries: BatchEntries) -> BoxFuture<'_, Result<(), StoreError>> {
        let bytes = sizes::batch(&entries);
        let weight = 1 + bytes as usize / files::PAGE_SIZE as usize;
        Box::pin(self.grow((weight, bytes), nothing_is_known, move |s| batches::put(&s.conn, &batch, &entries)))
    }

    fn batch(&self, id: BatchId) -> BoxFuture<'_, Result<Option<Batch>, StoreError>> {
        Box::pin(self.readers.read(move |conn| batches::batch(conn, id)))
    }

    fn running_batches(&self) -> BoxFuture<'_, Result<Vec<Batch>, StoreError>> {
        Box::pin(self.own.read(batches::running))
    }

    fn open_batches(&self, namespace: Option<Namespace>, made_after: Timestamp) -> BoxFuture<'_, Result<OpenBatches, StoreError>> {
        Box::pin(self.own.read(move |conn| batches::open(conn, namespace.as_ref(), made_after)))
    }

    fn batch_piece(&self, id: BatchId, from: u32, limit: u32) -> BoxFuture<'_, Result<Option<BatchEntries>, StoreError>> {
        Box::pin(self.own.read(move |conn| batches::piece(conn, id, from, limit)))
    }

    fn set_batch_state(&self, id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> BoxFuture<'_, Result<bool, StoreError>> {
        Box::pin(self.write(1, Urgency::Now, move |s| batches::set_state(&s.conn, id, from, to, at)))
    }

    fn advance_batch(&self, step: BatchStep) -> BoxFuture<'_, Result<BatchStepped, StoreError>> {
        match &step.work {
            BatchWork::Publish(events) => {
                let size = (1 + events.iter().map(event_weight).sum::<usize>(), events.iter().map(sizes::event).sum());
                Box::pin(self.grow(size, nothing_is_known, move |s| batches::advance(s, &step)))
            }
            BatchWork::Retry(ids) => Box::pin(self.write(1 + ids.len(), Urgency::Now, move |s| batches::advance(s, &step))),
        }
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
        Box::pin(self.own.read(move |conn| Ok(Usage { used_bytes: room::used(conn)?, budget_bytes })))
    }

    /// Commits a row and reads: what a caller with real work would meet.
    fn health(&self) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            self.write(1, Urgency::Now, |s| s.touch()).await?;
            self.own.read(|conn| config::version(conn).map(drop)).await
        })
    }

    fn delivery(&self, id: DeliveryId) -> BoxFuture<'_, Result<Option<DeliveryView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::delivery(conn, id)))
    }

    fn event(&self, id: EventId) -> BoxFuture<'_, Result<Option<EventView>, StoreError>> {
        Box::pin(self.readers.read(move |conn| reads::event(conn, id)))
    }

    fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        Box::pin(self.own.read(move |conn| find::event(conn, seq, namespace.as_ref())))
    }

    fn event_by_id(&self, id: EventId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        Box::pin(self.readers.read(move |conn| event_numbers::by_id(conn, id, namespace.as_ref())))
    }

    fn event_numbers(
        &self,
        filter: EventFilter,
        window: Window<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventSeq, EventPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| event_numbers::find(conn, &filter, window)))
    }

    fn find_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Found<EventRow, EventPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::events(conn, &filter, page)))
    }

    fn page_of_events(
        &self,
        filter: EventFilter,
        page: PageRequest<EventPlace>,
    ) -> BoxFuture<'_, Result<Page<EventRow, EventPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::page_of_events(conn, &filter, page)))
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

    fn delivery_ids(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Found<DeliveryId, DeliveryId>, StoreError>> {
        let steps = self.steps;
        Box::pin(self.readers.read(move |conn| deliveries::ids(conn, &filter, window, steps)))
    }

    fn delivery_row(&self, id: DeliveryId, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<DeliveryRow>, StoreError>> {
        Box::pin(self.readers.read(move |conn| deliveries::one(conn, id, namespace.as_ref())))
    }

    fn attempts_of(&self, id: DeliveryId, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<AttemptRow>, StoreError>> {
        Box::pin(self.readers.read(move |conn| attempts::of_delivery(conn, id, namespace.as_ref(), limit)))
    }

    fn find_attempts(
        &self,
        filter: AttemptFilter,
        window: Window<AttemptId>,
    ) -> BoxFuture<'_, Result<Found<AttemptRow, AttemptId>, StoreError>> {
        Box::pin(self.readers.read(move |conn| attempts::find(conn, &filter, window)))
    }

    fn last_ended(&self, of: LastOf) -> BoxFuture<'_, Result<Vec<Option<AttemptRow>>, StoreError>> {
        Box::pin(self.readers.read(move |conn| last::last_ended(conn, &of)))
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

    fn page_of_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        Box::pin(self.own.read(move |conn| find::page_of_dead_letters(conn, &filter, window)))
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
        Box::pin(self.own.read(move |conn| of.iter().map(|id| counters::read(conn, *id)).collect()))
    }
    fn delivery_counts(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; 7], StoreError>> {
        Box::pin(self.readers.read(move |conn| counters::delivery_counts(conn, namespace.as_ref())))
    }
}

/// One engine at a time has it.
impl ClusterStore for SqliteStore {}

/// Applications do not write into it.
impl OutboxStore for SqliteStore {}

impl HealthStore for SqliteStore {
    fn endpoint_health(&self, of: Vec<EndpointId>) -> BoxFuture<'_, Result<Vec<Option<HealthTally>>, StoreError>> {
        Box::pin(self.readers.read(move |conn| of.iter().map(|endpoint| health::of(conn, *endpoint)).collect()))
    }

    fn endpoints_by_health(
        &self,
        namespace: Option<Namespace>,
        class: Health,
        window: Window<EndpointId>,
    ) -> BoxFuture<'_, Result<Found<EndpointId, EndpointId>, StoreError>> {
        Box::pin(self.readers.read(move |conn| health::list(conn, namespace.as_ref(), class, window)))
    }

    fn health_summary(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; Health::ALL.len()], StoreError>> {
        Box::pin(self.readers.read(move |conn| health::summary(conn, namespace.as_ref())))
    }

    fn age_health(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        Box::pin(self.write(weight_of_up_to(limit), Urgency::Patient, move |s| health::age(s, now, limit)))
    }
}
