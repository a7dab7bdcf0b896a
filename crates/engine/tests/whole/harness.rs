//! An engine over ports that a test holds in its hand.

use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use postrider_core::attempt::{HeadBlock, Phases};
use postrider_core::auth::Auth;
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::Namespace;
use postrider_core::filter::LabelFilter;
use postrider_core::health::{Health, HealthTally};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::retry::RetryPolicy;
use postrider_core::schedule::Scheduled;
use postrider_core::seal::KeyRing;
use postrider_core::series::{Numbers, Step};
use postrider_core::subscription::{BodyForm, Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, EngineConfig, Keys, Limits, Publish, Retention, To};
use postrider_store::memory::MemoryStore;
use std::collections::BTreeMap;
use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;
use uuid::Uuid;

/// When every test begins.
pub const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

/// Runs a test in paused time.
pub fn run(test: impl Future<Output = ()>) {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true).build().expect("a runtime").block_on(test);
}

/// Lets everything happen that can happen now, and time pass.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

/// What a test does to the store and sees of the receivers.
pub struct Hand {
    pub store: MemoryStore,
    /// Verbs of this name wait while it is there, before they do anything.
    held: watch::Sender<Option<&'static str>>,
    /// Verbs of this name fail.
    failing: Mutex<Option<(&'static str, StoreErrorKind)>>,
    /// Verbs of this name do what they should, and nobody gets to know.
    losing: Mutex<Option<&'static str>>,
    /// Verbs of this name panic.
    pub panics: Mutex<Option<&'static str>>,
    /// Whatever would settle this delivery, or make it again for a job, fails.
    poisoned: Mutex<Option<DeliveryId>>,
    /// How often each verb was called.
    called: Mutex<BTreeMap<&'static str, usize>>,
    /// The status that receivers answer.
    pub status: Mutex<u16>,
    /// How long they take.
    pub takes: Mutex<Duration>,
    /// How long it takes to connect to them.
    pub connects: Mutex<Duration>,
    /// What goes wrong in place of their answers, if something does.
    pub fault: Mutex<Option<Fault>>,
    /// The idempotency keys of the requests that came.
    pub requests: Mutex<Vec<String>>,
    /// Their headers and bodies.
    pub received: Mutex<Vec<(HeaderMap, Bytes)>>,
    /// Every exchange, in the order in which they began.
    pub exchanges: Mutex<Vec<Exchanged>>,
    /// What applications have published through the database.
    pub outbox: Mutex<Vec<OutboxEntry>>,
    /// What of it was put aside.
    pub refused: Mutex<Vec<i64>>,
    /// The payload of which nothing can be stored that is relayed.
    pub unstorable: Mutex<Option<Bytes>>,
    /// No event can be stored that is relayed.
    pub unwilling: Mutex<bool>,
    /// How often the store still lets engines begin what others must not do at the same time.
    pub acts: Mutex<usize>,
    /// The engines' handles of the store, in the order in which they were started.
    pub handles: Mutex<Vec<MemoryStore>>,
    /// What engines are given as that; 0 is never.
    pub disable_after_dead: Mutex<u32>,
    /// The keys of secrets that engines find when somebody else has changed the configuration, where they are others than before.
    pub keys: Mutex<Option<String>>,
    /// How far the wall clock was set back so far.
    pub set_back: Mutex<Duration>,
    began: Instant,
}

impl Hand {
    pub fn new() -> Arc<Hand> {
        Hand::over(MemoryStore::new())
    }

    pub fn over(store: MemoryStore) -> Arc<Hand> {
        Arc::new(Hand {
            store,
            held: watch::channel(None).0,
            failing: Mutex::default(),
            losing: Mutex::default(),
            panics: Mutex::default(),
            poisoned: Mutex::default(),
            called: Mutex::default(),
            status: Mutex::new(200),
            takes: Mutex::new(Duration::from_millis(1)),
            connects: Mutex::default(),
            fault: Mutex::default(),
            requests: Mutex::default(),
            received: Mutex::default(),
            exchanges: Mutex::default(),
            outbox: Mutex::default(),
            refused: Mutex::default(),
            unstorable: Mutex::default(),
            unwilling: Mutex::default(),
            acts: Mutex::new(usize::MAX),
            handles: Mutex::default(),
            disable_after_dead: Mutex::default(),
            keys: Mutex::default(),
            set_back: Mutex::default(),
            began: Instant::now(),
        })
    }

    /// The store holds a verb up, or none.
    pub fn hold(&self, verb: Option<&'static str>) {
        self.held.send_replace(verb);
    }

    /// The store refuses a verb, or none.
    pub fn fail(&self, verb: Option<(&'static str, StoreErrorKind)>) {
        *self.failing.lock() = verb;
    }

    /// The store does a verb, and its answer is lost; or no more of them.
    pub fn lose(&self, verb: Option<&'static str>) {
        *self.losing.lock() = verb;
    }

    /// The store cannot settle this delivery, or make it again for a job, whatever comes with it.
    pub fn poison(&self, delivery: Option<DeliveryId>) {
        *self.poisoned.lock() = delivery;
    }

    /// How often a verb was called.
    pub fn verbs(&self, name: &str) -> usize {
        self.called.lock().get(name).copied().unwrap_or_default()
    }

    pub fn now(&self) -> Timestamp {
        BEGINNING.after(self.began.elapsed()).before(*self.set_back.lock())
    }

    pub fn requests(&self) -> usize {
        self.requests.lock().len()
    }

    /// The number of the engine that was started as the `n`th, from 0.
    pub fn engine(&self, n: usize) -> u64 {
        self.handle(n).incarnation()
    }

    /// Its handle of the store.
    pub fn handle(&self, n: usize) -> MemoryStore {
        self.handles.lock()[n].clone()
    }

    /// An engine over a new handle of the store.
    pub async fn start(self: &Arc<Self>, limits: Limits, retention: Retention) -> Engine {
        let hand = Arc::clone(self);
        let source = move || hand.keys.lock().as_deref().map(|text| KeyRing::parse(text).expect("right keys"));
        let inner = self.store.new_incarnation();
        self.handles.lock().push(inner.clone());
        let config = EngineConfig {
            // Those that live side by side must not make the same ids.
            seed: if inner.is_shared() { inner.incarnation() } else { 1 },
            keys: Arc::new(Keys::read_again_by(key_ring(), source)),
            limits,
            retention,
            disable_after_dead: NonZeroU32::new(*self.disable_after_dead.lock()),
            user_agent: "tests".to_owned(),
        };
        let transport = Receivers { hand: Arc::clone(self), by: inner.incarnation() };
        let store = Handle { inner, hand: Arc::clone(self) };
        let clock = Time(Arc::clone(self));
        Engine::start(config, Arc::new(store), Arc::new(transport), Arc::new(clock)).await.expect("it starts")
    }

    /// Puts configuration straight into the store, as another process would.
    pub async fn configure(&self, changes: Vec<ConfigChange>) {
        let version = self.store.configuration_version().await.expect("the model never fails");
        let configured = self.store.configure(version, changes).await.expect("the model never fails");
        assert!(matches!(configured, Configured::Stored { .. }), "nobody else writes into a model in between");
    }

    /// Puts an endpoint and a subscription to it straight into the store.
    pub async fn subscribe(&self, status: EndpointStatus) -> (Endpoint, Subscription) {
        let (endpoint, subscription) = (endpoint(status), subscription());
        let changes = vec![ConfigChange::Endpoint(endpoint.clone()), ConfigChange::Subscription(subscription.clone())];
        self.configure(changes).await;
        (endpoint, subscription)
    }
}

/// The keys that every engine here begins with.
pub fn key_ring() -> KeyRing {
    KeyRing::parse(&"5e".repeat(32)).expect("a right key")
}

pub fn endpoint(status: EndpointStatus) -> Endpoint {
    Endpoint {
        id: EndpointId::new(Uuid::from_u128(1)),
        namespace: Namespace::default_namespace(),
        url: "https://receiver.test/hook".to_owned(),
        headers: Vec::new(),
        secrets: Vec::new(),
        schemes: Vec::new(),
        http: HttpOptions::tasks(),
        rate_limit: None,
        name: String::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: None,
        status,
        created_at: BEGINNING,
        updated_at: BEGINNING,
        deleted: None,
    }
}

pub fn subscription() -> Subscription {
    Subscription {
        id: SubscriptionId::new(Uuid::from_u128(2)),
        namespace: Namespace::default_namespace(),
        endpoint: EndpointId::new(Uuid::from_u128(1)),
        origin: Origin::Tasks,
        patterns: Vec::new(),
        labels: LabelFilter(Default::default()),
        body: BodyForm::Raw,
        name: String::new(),
        active: true,
        matches: None,
        request: RequestForm::default(),
        timeout: None,
        rate_limit: None,
        retry: RetryPolicy::tasks(),
        created_at: BEGINNING,
        updated_at: BEGINNING,
        deleted_at: None,
    }
}

/// An event for everybody.
pub fn event(n: usize) -> Publish {
    Publish {
        namespace: Namespace::default_namespace(),
        event_type: "test".into(),
        payload: Bytes::from(format!("{{\"n\":{n}}}")),
        labels: Default::default(),
        metadata: Default::default(),
        idempotency_key: None,
        ttl: None,
        schema_check: Default::default(),
        to: To::Matching,
    }
}

struct Time(Arc<Hand>);

impl Clock for Time {
    fn now(&self) -> Timestamp {
        self.0.now()
    }
}

/// An exchange as a receiver sees it.
#[derive(Clone, Debug)]
pub struct Exchanged {
    /// The number of the engine that made it.
    pub by: u64,
    pub host: String,
    pub began: Timestamp,
    pub ended: Option<Timestamp>,
}

struct Receivers {
    hand: Arc<Hand>,
    by: u64,
}

impl Transport for Receivers {
    fn lane(&self, target: &Arc<Target>) -> Box<dyn Lane> {
        Box::new(Way { hand: Arc::clone(&self.hand), by: self.by, host: target.host.clone(), gate: None, is_connected: false })
    }
}

struct Way {
    hand: Arc<Hand>,
    by: u64,
    host: String,
    gate: Option<Gate>,
    is_connected: bool,
}

impl Way {
    /// Connects, if that takes any time; answers whether something may be sent then.
    async fn connect(&mut self) -> bool {
        let takes = *self.hand.connects.lock();
        if self.is_connected || takes.is_zero() {
            return true;
        }
        pass(takes).await;
        self.is_connected = true;
        self.gate.as_ref().is_none_or(|gate| gate())
    }
}

impl Lane for Way {
    fn gate(&mut self, gate: Gate) {
        self.gate = Some(gate);
    }

    fn exchange(&mut self, request: Outgoing) -> BoxFuture<'_, Exchange> {
        Box::pin(async move {
            if !self.connect().await {
                let withheld = Fault { kind: FaultKind::Withheld, message: "as the test wants it".to_owned() };
                return Exchange { result: Err(withheld), phases: Phases::default() };
            }
            let key = request.headers["idempotency-key"].to_str().expect("a key").to_owned();
            let hand = &self.hand;
            hand.requests.lock().push(key);
            hand.received.lock().push((request.headers, request.body));
            let n = {
                let mut exchanges = hand.exchanges.lock();
                exchanges.push(Exchanged { by: self.by, host: self.host.clone(), began: hand.now(), ended: None });
                exchanges.len() - 1
            };
            let (status, takes) = (*hand.status.lock(), *hand.takes.lock());
            pass(takes).await;
            hand.exchanges.lock()[n].ended = Some(hand.now());
            let head = HeadBlock::from_lines("server: a test\n");
            let response = Response { status, retry_after: None, head, body: Bytes::new(), truncated: false };
            let total = u32::try_from(takes.as_micros()).expect("a short time");
            let result = hand.fault.lock().clone().map_or(Ok(response), Err);
            Exchange { result, phases: Phases { total, ..Phases::default() } }
        })
    }
}

/// One engine's handle: the model, behind the test's hand.
struct Handle {
    inner: MemoryStore,
    hand: Arc<Hand>,
}

type Answer<T> = Result<T, StoreError>;

impl Handle {
    /// Once it has begun, a verb goes on whoever goes away, as on a real store's writer.
    fn run<T: Send + 'static>(
        &self,
        verb: &'static str,
        act: impl Future<Output = Answer<T>> + Send + 'static,
    ) -> BoxFuture<'_, Answer<T>> {
        let hand = Arc::clone(&self.hand);
        *hand.called.lock().entry(verb).or_default() += 1;
        let running = tokio::spawn(async move {
            let mut held = hand.held.subscribe();
            _ = held.wait_for(|held| *held != Some(verb)).await;
            let failing = *hand.failing.lock();
            if let Some((_, kind)) = failing.filter(|(name, _)| *name == verb) {
                return Err(StoreError { kind, cause: "as the test wants it".to_owned() });
            }
            let panics = *hand.panics.lock();
            assert!(panics != Some(verb), "as the test wants it");
            let answer = act.await;
            if *hand.losing.lock() == Some(verb) {
                return Err(StoreError { kind: StoreErrorKind::Unavailable, cause: "its answer is lost".to_owned() });
            }
            answer
        });
        Box::pin(async move { running.await.expect("no verb panics") })
    }
}

macro_rules! verbs {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self $(, $arg: $type)*) -> BoxFuture<'_, Answer<$answer>> {
            let inner = self.inner.clone();
            self.run(stringify!($name), async move { inner.$name($($arg),*).await })
        }
    )*};
}

impl HealthStore for Handle {
    verbs! {
        endpoint_health(of: Vec<EndpointId>) -> Vec<Option<HealthTally>>;
        endpoints_by_health(namespace: Option<Namespace>, health: Health, window: Window<EndpointId>) -> Found<EndpointId, EndpointId>;
        health_summary(namespace: Option<Namespace>) -> [u64; 4];
        age_health(now: Timestamp, limit: u32) -> u32;
    }
}

impl SeriesStore for Handle {
    verbs! {
        add_series(deltas: Vec<SeriesDelta>) -> ();
        series(namespace: Option<Namespace>, step: Step, from: Timestamp, before: Timestamp) -> Vec<(Timestamp, Numbers)>;
        forget_series(now: Timestamp, limit: u32) -> u64;
        note_late(late: Vec<Late>) -> ();
        most_late(namespace: Option<Namespace>) -> Option<Late>;
    }
}

impl LookupStore for Handle {
    verbs! {
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

impl OutboxStore for Handle {
    fn outbox(&self, limit: u32, _: u64) -> BoxFuture<'_, Answer<Vec<OutboxEntry>>> {
        let hand = Arc::clone(&self.hand);
        self.run("outbox", async move { Ok(hand.outbox.lock().iter().take(limit as usize).cloned().collect()) })
    }

    fn relay(&self, entries: Vec<(i64, Relay)>) -> BoxFuture<'_, Answer<Vec<Relayed>>> {
        let (inner, hand) = (self.inner.clone(), Arc::clone(&self.hand));
        self.run("relay", async move {
            let (unstorable, unwilling) = (hand.unstorable.lock().clone(), *hand.unwilling.lock());
            let is_bad = |relay: &Relay| matches!(relay, Relay::Publish(event) if unwilling || Some(&event.payload) == unstorable.as_ref());
            if entries.iter().any(|(_, relay)| is_bad(relay)) {
                return Err(StoreError { kind: StoreErrorKind::Internal, cause: "a bad row".to_owned() });
            }
            let mut answers = Vec::new();
            for (id, relay) in entries {
                answers.push(match relay {
                    Relay::Publish(event) => Relayed::Published(inner.publish(vec![*event]).await?.remove(0)),
                    Relay::Refuse(_) => {
                        hand.refused.lock().push(id);
                        Relayed::Refused
                    }
                });
                hand.outbox.lock().retain(|entry| entry.id != id);
            }
            Ok(answers)
        })
    }
}

impl ClusterStore for Handle {
    verbs! {
        survey(known: SlotSet) -> Survey;
        leave_slots(leaving: Leaving) -> ();
        free(endpoints: Vec<EndpointId>) -> ();
        tell(news: Vec<News>) -> ();
        backlog_after(after: Option<EndpointId>, limit: u32) -> Vec<Backlog>;
    }

    fn is_shared(&self) -> bool {
        self.inner.is_shared()
    }

    fn may_act(&self) -> bool {
        let mut left = self.hand.acts.lock();
        let may = *left > 0;
        if *left != usize::MAX {
            *left = left.saturating_sub(1);
        }
        may && self.inner.may_act()
    }

    fn news(&self) -> BoxFuture<'_, News> {
        self.inner.news()
    }
}

impl Store for Handle {
    verbs! {
        configuration() -> Configuration;
        configuration_version() -> i64;
        configure(version: i64, changes: Vec<ConfigChange>) -> Configured;
        publish(events: Vec<NewEvent>) -> Vec<Published>;
        fan_out(slices: Vec<FanOutSlice>) -> Vec<Sliced>;
        unfinished_fan_outs(of: SlotSet, limit: u32, max_bytes: u64) -> Vec<UnfinishedFanOut>;
        claim(requests: Vec<ClaimRequest>) -> Vec<ClaimBatch>;
        rescue(limit: u32) -> Vec<Claimed>;
        backlog() -> Vec<Backlog>;
        replay(replays: Vec<Replay>) -> Vec<Replayed>;
        claim_expired(by: Timestamp, limit: u32, max_bytes: u64) -> Vec<Claimed>;
        next_expiry() -> Option<Timestamp>;
        retry(ids: Vec<DeliveryId>, force: bool, at: Timestamp) -> Vec<Retried>;
        hasten(id: DeliveryId, at: Timestamp) -> Option<EndpointId>;
        cancel(id: DeliveryId) -> Cancelled;
        dismiss(ids: Vec<DeadLetterId>, at: Timestamp) -> Vec<bool>;
        schedule(rows: Vec<Scheduled>) -> ();
        unschedule(id: ScheduledId, only_pending: bool) -> bool;
        due_scheduled(now: Timestamp, limit: u32, max_bytes: u64) -> DueScheduled;
        fire(firings: Vec<Firing>) -> Vec<Fired>;
        put_job(job: Job) -> ();
        job(id: JobId) -> Option<Job>;
        jobs(namespace: Option<Namespace>, window: Window<JobId>) -> Found<Job, JobId>;
        running_jobs() -> Vec<Job>;
        batch(id: BatchId) -> Option<Batch>;
        running_batches() -> Vec<Batch>;
        open_batches(namespace: Option<Namespace>, made_after: Timestamp) -> OpenBatches;
        batch_piece(id: BatchId, from: u32, limit: u32) -> Option<BatchEntries>;
        set_job_state(id: JobId, from: JobState, to: JobState, at: Timestamp) -> bool;
        fail_job(id: JobId, error: JobError, at: Timestamp) -> bool;
        put_batch(batch: Batch, entries: BatchEntries) -> ();
        set_batch_state(id: BatchId, from: BatchState, to: BatchState, at: Timestamp) -> bool;
        advance_batch(step: BatchStep) -> BatchStepped;
        begin_request(request: NewRequest) -> Begun;
        end_request(key: RequestKey, response: Option<StoredResponse>) -> ();
        prune(request: PruneRequest) -> Pruned;
        usage() -> Usage;
        health() -> ();
        delivery(id: DeliveryId) -> Option<DeliveryView>;
        event(id: EventId) -> Option<EventView>;
        event_by_seq(seq: EventSeq, namespace: Option<Namespace>) -> Option<EventRow>;
        event_by_id(id: EventId, namespace: Option<Namespace>) -> Option<EventRow>;
        event_numbers(filter: EventFilter, window: Window<EventPlace>) -> Found<EventSeq, EventPlace>;
        find_events(filter: EventFilter, page: PageRequest<EventPlace>) -> Found<EventRow, EventPlace>;
        page_of_events(filter: EventFilter, page: PageRequest<EventPlace>) -> Page<EventRow, EventPlace>;
        event_counts(of: Vec<EventSeq>) -> Vec<[u64; 7]>;
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
        dead_letters(of: SubscriptionId, open_only: bool, request: PageRequest<DeadLetterPlace>) -> Page<DeadLetterView, DeadLetterPlace>;
        dead_letter(id: DeadLetterId) -> Option<DeadLetterView>;
        scheduled(namespace: Option<Namespace>, of: Option<SubscriptionId>, request: PageRequest<ScheduledPlace>) -> Page<Scheduled, ScheduledPlace>;
        scheduled_one(id: ScheduledId) -> Option<Scheduled>;
        counters(of: Vec<SubscriptionId>) -> Vec<Counters>;
        delivery_counts(namespace: Option<Namespace>) -> [u64; 7];
    }

    fn settle(&self, settlements: Arc<[Settlement]>) -> BoxFuture<'_, Answer<Vec<Settled>>> {
        let (inner, hand) = (self.inner.clone(), Arc::clone(&self.hand));
        self.run("settle", async move {
            let poisoned = *hand.poisoned.lock();
            if settlements.iter().any(|s| Some(s.delivery) == poisoned) {
                return Err(StoreError { kind: StoreErrorKind::Internal, cause: "a bad row".to_owned() });
            }
            inner.settle(settlements).await
        })
    }

    fn advance_job(&self, step: JobStep) -> BoxFuture<'_, Answer<Advanced>> {
        let (inner, hand) = (self.inner.clone(), Arc::clone(&self.hand));
        self.run("advance_job", async move {
            let poisoned = *hand.poisoned.lock();
            let letters = inner.dump().dead_letters;
            if letters.iter().any(|letter| step.letters.contains(&letter.id) && Some(letter.delivery) == poisoned) {
                return Err(StoreError { kind: StoreErrorKind::Internal, cause: "a bad row".to_owned() });
            }
            inner.advance_job(step).await
        })
    }
}
