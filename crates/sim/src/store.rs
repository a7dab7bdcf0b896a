//! The memory store with a disk under it that is slow, fills up, and loses its power between any two things.

mod cluster;

use crate::Sabotage;
use crate::process::Process;
use crate::world::{State, World};
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::Endpoint;
use postrider_core::event::Namespace;
use postrider_core::health::{Health, HealthTally};
use postrider_core::id::{AttemptId, BatchId, DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, JobId, ScheduledId, SubscriptionId};
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use postrider_store::memory::MemoryStore;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

/// One process's handle on the store.
pub(crate) struct FaultyStore {
    inner: MemoryStore,
    process: Process,
}

type Answer<T> = Result<T, StoreError>;

impl FaultyStore {
    pub(crate) fn new(process: &Process) -> Self {
        FaultyStore { inner: process.store.new_incarnation(), process: process.clone() }
    }

    /// The number that its claims carry.
    pub(crate) fn incarnation(&self) -> u64 {
        self.inner.incarnation()
    }

    /// A verb runs on its own once it has begun, as on a real store's writer: whoever asked may go away meanwhile.
    fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        is_write: bool,
        act: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> BoxFuture<'_, Answer<T>> {
        let process = self.process.clone();
        let verb = async move {
            process.step().await;
            let treatment = process.treat(is_write);
            pass(treatment.before).await;
            if let Some(kind) = treatment.refusal {
                process.note(format_args!("{verb} fails: {kind:?}"));
                let cause = "simulated".to_owned();
                return Err(StoreError { kind, cause });
            }
            process.step().await;
            let answer = act.await;
            if is_write {
                process.note(format_args!("{verb} is stored"));
            }
            process.step().await;
            pass(treatment.after).await;
            process.step().await;
            answer
        };
        Box::pin(async move {
            match tokio::spawn(verb).await {
                Ok(answer) => answer,
                // The process is going down.
                Err(_) => std::future::pending().await,
            }
        })
    }

    fn sabotaged(&self, how: Sabotage) -> bool {
        self.process.options.sabotage == Some(how)
    }
}

/// Lets virtual time pass.
pub(crate) async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}

/// Remembers what somebody made again.
fn replayed(world: &World, replays: &[Replay], answers: &[Replayed]) {
    let mut state = world.state();
    for (replay, answer) in replays.iter().zip(answers) {
        let Some(id) = answer.delivery() else { continue };
        match replay.target {
            ReplayTarget::Delivery(_) => {
                made_again(&mut state, id);
                if replay.keep_dead_letter {
                    state.replays.keeping.insert(id);
                }
            }
            ReplayTarget::DeadLetterAsNew { .. } => {
                state.replays.anew.insert(id);
                state.note(format_args!("made anew: {id}"));
            }
        }
    }
}

fn made_again(state: &mut State, id: DeliveryId) {
    let (life, now) = (state.life, state.now());
    state.replays.again.push((id, (life, now)));
    state.note(format_args!("made again: {id}"));
}

/// A read verb: the same verb of the model, with faults.
macro_rules! reads {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $arg: $type)*) -> BoxFuture<'_, Answer<$answer>> {
            let inner = self.inner.clone();
            self.run(stringify!($name), false, async move { inner.$name($($arg),*).await })
        }
    )*};
}

/// A write verb: the same verb of the model, with faults.
macro_rules! writes {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $arg: $type)*) -> BoxFuture<'_, Answer<$answer>> {
            let inner = self.inner.clone();
            self.run(stringify!($name), true, async move { inner.$name($($arg),*).await })
        }
    )*};
}

impl HealthStore for FaultyStore {
    reads! {
        endpoint_health(of: Vec<EndpointId>) -> Vec<Option<HealthTally>>;
        endpoints_by_health(namespace: Option<Namespace>, health: Health, window: Window<EndpointId>) -> Found<EndpointId, EndpointId>;
        health_summary(namespace: Option<Namespace>) -> [u64; 4];
    }

    writes! {
        age_health(now: Timestamp, limit: u32) -> u32;
    }
}

impl OutboxStore for FaultyStore {}

impl SeriesStore for FaultyStore {
    reads! {
        series(namespace: Option<Namespace>, step: Step, from: Timestamp, before: Timestamp) -> Vec<(Timestamp, Numbers)>;
        most_late(namespace: Option<Namespace>) -> Option<Late>;
    }

    writes! {
        add_series(deltas: Vec<SeriesDelta>) -> ();
        forget_series(now: Timestamp, limit: u32) -> u64;
        note_late(late: Vec<Late>) -> ();
    }
}

impl LookupStore for FaultyStore {
    reads! {
        page_of_deliveries(filter: DeliveryFilter, window: Window<DeliveryId>) -> Page<DeliveryRow, DeliveryId>;
        deliveries_by_id(ids: Vec<DeliveryId>, namespace: Option<Namespace>) -> Vec<DeliveryRow>;
        event_by_number(seq: EventSeq, namespace: Option<Namespace>) -> Option<EventRow>;
        counters_of(of: Vec<SubscriptionId>) -> Vec<Counters>;
        open_dead_letters(filter: DeadLetterFilter, window: Window<DeadLetterPlace>) -> Page<DeadLetterRow, DeadLetterPlace>;
        dead_letter_groups(namespace: Option<Namespace>, limit: u32) -> Vec<DeadLetterGroup>;
        open_dead_letter(of: DeliveryId) -> Option<DeadLetterId>;
        open_letters(ids: Vec<DeadLetterId>, namespace: Option<Namespace>) -> Vec<(DeadLetterId, Delivery)>;
        whole_attempts(of: DeliveryId, namespace: Option<Namespace>, limit: u32, max_bytes: u64) -> Vec<WholeAttempt>;
        events_by_key(namespaces: Vec<Namespace>, key: String) -> Vec<(Namespace, EventId)>;
        counted_namespaces(after: Option<Namespace>) -> Vec<Namespace>;
        delivery_keys(namespace: Option<Namespace>, after: Option<DeliveryId>, limit: u32) -> Vec<DeliveryKeyParts>;
        event_total(namespace: Option<Namespace>) -> u64;
    }
}

impl Store for FaultyStore {
    reads! {
        configuration_version() -> i64;
        unfinished_fan_outs(of: SlotSet, limit: u32, max_bytes: u64) -> Vec<UnfinishedFanOut>;
        backlog() -> Vec<Backlog>;
        due_scheduled(now: Timestamp, limit: u32, max_bytes: u64) -> DueScheduled;
        usage() -> Usage;
        health() -> ();
        job(id: JobId) -> Option<Job>;
        jobs(namespace: Option<Namespace>, window: Window<JobId>) -> Found<Job, JobId>;
        running_jobs() -> Vec<Job>;
        batch(id: BatchId) -> Option<Batch>;
        running_batches() -> Vec<Batch>;
        open_batches(namespace: Option<Namespace>, made_after: Timestamp) -> OpenBatches;
        batch_piece(id: BatchId, from: u32, limit: u32) -> Option<BatchEntries>;
        delivery(id: DeliveryId) -> Option<DeliveryView>;
        event(id: EventId) -> Option<EventView>;
        event_by_seq(seq: EventSeq, namespace: Option<Namespace>) -> Option<EventRow>;
        event_by_id(id: EventId, namespace: Option<Namespace>) -> Option<EventRow>;
        event_numbers(filter: EventFilter, window: Window<EventPlace>) -> Found<EventSeq, EventPlace>;
        find_events(filter: EventFilter, page: PageRequest<EventPlace>) -> Found<EventRow, EventPlace>;
        page_of_events(filter: EventFilter, page: PageRequest<EventPlace>) -> Page<EventRow, EventPlace>;
        event_counts(of: Vec<EventSeq>) -> Vec<[u64; 7]>;
        next_expiry() -> Option<Timestamp>;
        delivery_ids(filter: DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryId, DeliveryId>;
        delivery_row(id: DeliveryId, namespace: Option<Namespace>) -> Option<DeliveryRow>;
        attempts_of(id: DeliveryId, namespace: Option<Namespace>, limit: u32) -> Vec<AttemptRow>;
        find_deliveries(filter: DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryRow, DeliveryId>;
        find_attempts(filter: AttemptFilter, window: Window<AttemptId>) -> Found<AttemptRow, AttemptId>;
        attempt(id: AttemptId, namespace: Option<Namespace>) -> Option<AttemptDetail>;
        find_dead_letters(filter: DeadLetterFilter, window: Window<DeadLetterPlace>) -> Found<DeadLetterRow, DeadLetterPlace>;
        page_of_dead_letters(filter: DeadLetterFilter, window: Window<DeadLetterPlace>) -> Page<DeadLetterRow, DeadLetterPlace>;
        last_ended(of: LastOf) -> Vec<Option<AttemptRow>>;
        attempts(of: SubscriptionId, limit: u32) -> Vec<AttemptView>;
        dead_letters(of: SubscriptionId, open_only: bool, page: PageRequest<DeadLetterPlace>) -> Page<DeadLetterView, DeadLetterPlace>;
        dead_letter(id: DeadLetterId) -> Option<DeadLetterView>;
        scheduled(namespace: Option<Namespace>, of: Option<SubscriptionId>, page: PageRequest<ScheduledPlace>) -> Page<Scheduled, ScheduledPlace>;
        scheduled_one(id: ScheduledId) -> Option<Scheduled>;
        counters(of: Vec<SubscriptionId>) -> Vec<Counters>;
        delivery_counts(namespace: Option<Namespace>) -> [u64; 7];
    }

    writes! {
        configure(version: i64, changes: Vec<ConfigChange>) -> Configured;
        fan_out(slices: Vec<FanOutSlice>) -> Vec<Sliced>;
        claim_expired(by: Timestamp, limit: u32, max_bytes: u64) -> Vec<Claimed>;
        hasten(id: DeliveryId, at: Timestamp) -> Option<EndpointId>;
        cancel(id: DeliveryId) -> Cancelled;
        dismiss(ids: Vec<DeadLetterId>, at: Timestamp) -> Vec<bool>;
        schedule(rows: Vec<Scheduled>) -> ();
        unschedule(id: ScheduledId, only_pending: bool) -> bool;
        fire(firings: Vec<Firing>) -> Vec<Fired>;
        put_job(job: Job) -> ();
        set_job_state(id: JobId, from: JobState, to: JobState, at: Timestamp) -> bool;
        fail_job(id: JobId, error: JobError, at: Timestamp) -> bool;
        put_batch(batch: Batch, entries: BatchEntries) -> ();
        set_batch_state(id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> bool;
        begin_request(request: NewRequest) -> Begun;
        end_request(key: RequestKey, response: Option<StoredResponse>) -> ();
    }

    fn configuration(&self) -> BoxFuture<'_, Answer<Configuration>> {
        let inner = self.inner.clone();
        let forgets = self.sabotaged(Sabotage::ForgetsLimits);
        let resigns = self.sabotaged(Sabotage::ForgetsRetries);
        self.run("configuration", false, async move {
            let mut configuration = inner.configuration().await?;
            if forgets {
                let forget = |e: &mut Endpoint| (e.rate_limit, e.concurrency) = (None, None);
                configuration.endpoints.iter_mut().for_each(forget);
            }
            if resigns {
                configuration.subscriptions.iter_mut().for_each(|s| s.retry.max_attempts = 1);
            }
            Ok(configuration)
        })
    }

    fn publish(&self, mut events: Vec<NewEvent>) -> BoxFuture<'_, Answer<Vec<Published>>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        if self.sabotaged(Sabotage::StoresEventsAlone) {
            events.iter_mut().for_each(|e| e.deliveries.clear());
        }
        if self.sabotaged(Sabotage::ExpiresEarly) {
            let shorten = |at: Timestamp| at.before(Duration::from_secs(3_600));
            events.iter_mut().flat_map(|e| &mut e.deliveries).for_each(|d| d.expires_at = d.expires_at.map(shorten));
        }
        let lies = self.sabotaged(Sabotage::AcknowledgesWithoutStoring);
        self.run("publish", true, async move {
            if lies && world.state().rng.u8(..10) == 0 {
                let made_up = |n: i64| Published::Stored(postrider_core::id::EventSeq(1_000_000 + n));
                return Ok((0..).take(events.len()).map(made_up).collect());
            }
            inner.publish(events).await
        })
    }

    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Answer<Vec<Settled>>> {
        let inner = self.inner.clone();
        let settlements = if self.sabotaged(Sabotage::DropsDeadLetters) {
            settlements.iter().map(|s| Settlement { dead_letter: None, ..s.clone() }).collect()
        } else {
            settlements
        };
        let (lies, panics) = (self.sabotaged(Sabotage::SettlesWithoutStoring), self.sabotaged(Sabotage::Panics));
        let world = Arc::clone(self.process.world());
        self.run("settle", true, async move {
            if lies && world.state().rng.u8(..4) == 0 {
                return Ok(vec![Settled::Stored; settlements.len()]);
            }
            let unlucky = panics && world.state().rng.u8(..20) == 0;
            assert!(!unlucky, "sabotaged");
            inner.settle(settlements).await
        })
    }

    fn claim(&self, mut requests: Vec<ClaimRequest>) -> BoxFuture<'_, Answer<Vec<ClaimBatch>>> {
        let inner = self.inner.clone();
        if self.sabotaged(Sabotage::ClaimsWithoutLimit) {
            let endless = |r: &mut ClaimRequest| (r.limit, r.max_bytes) = (u32::MAX, u64::MAX);
            requests.iter_mut().for_each(endless);
        }
        let forgets = self.sabotaged(Sabotage::ForgetsTheBacklog);
        self.run("claim", true, async move {
            let mut batches = inner.claim(requests).await?;
            if forgets {
                batches.iter_mut().for_each(|batch| batch.next_due = None);
            }
            Ok(batches)
        })
    }

    fn rescue(&self, limit: u32) -> BoxFuture<'_, Answer<Vec<Claimed>>> {
        let inner = self.inner.clone();
        let forgets = self.sabotaged(Sabotage::ForgetsClaims);
        self.run("rescue", true, async move {
            if forgets {
                return Ok(Vec::new());
            }
            inner.rescue(limit).await
        })
    }

    fn replay(&self, replays: Vec<Replay>) -> BoxFuture<'_, Answer<Vec<Replayed>>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        self.run("replay", true, async move {
            let answers = inner.replay(replays.clone()).await?;
            replayed(&world, &replays, &answers);
            Ok(answers)
        })
    }

    fn retry(&self, ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> BoxFuture<'_, Answer<Vec<Retried>>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        self.run("retry", true, async move {
            let answers = inner.retry(ids, force, at).await?;
            answers.iter().filter_map(Retried::waiting).for_each(|id| made_again(&mut world.state(), id));
            Ok(answers)
        })
    }

    fn advance_batch(&self, step: BatchStep) -> BoxFuture<'_, Answer<BatchStepped>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        self.run("advance_batch", true, async move {
            let stepped = inner.advance_batch(step).await?;
            if let BatchStepped::Done(_, answers) = &stepped {
                answers.iter().filter_map(Retried::waiting).for_each(|id| made_again(&mut world.state(), id));
            }
            Ok(stepped)
        })
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Answer<Advanced>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        self.run("advance_job", true, async move {
            let advanced = inner.advance_job(step).await?;
            if let Advanced::Done(answers, _) = &advanced {
                answers.iter().filter_map(Replayed::delivery).for_each(|id| made_again(&mut world.state(), id));
            }
            Ok(advanced)
        })
    }

    fn prune(&self, request: PruneRequest) -> BoxFuture<'_, Answer<Pruned>> {
        let inner = self.inner.clone();
        let world = Arc::clone(self.process.world());
        let hasty = self.sabotaged(Sabotage::PrunesTooEarly);
        self.run("prune", true, async move {
            let before = inner.dump();
            let configured = inner.configuration().await?;
            let asked =
                if hasty { PruneRequest { events_before: Timestamp::MAX, rows_before: Timestamp::MAX, ..request } } else { request };
            let pruned = inner.prune(asked).await?;
            if pruned != Pruned::default() {
                let left = inner.configuration().await?;
                crate::checkers::gone::configuration(&world, &configured, &left, &inner.dump());
                crate::checkers::durable::pruned(&world, request, &configured, before, &inner.dump());
            }
            Ok(pruned)
        })
    }
}
