//! What all tasks of one engine share.

use crate::checks::Checks;
use crate::cluster::Cluster;
use crate::config::EngineConfig;
use crate::dispatch::Dispatcher;
use crate::lapse::Lapse;
use crate::looks::Looks;
use crate::publish::Publisher;
use crate::render::Renders;
use crate::route::{Compiled, Routes};
use crate::sample::Probes;
use crate::series::Series;
use crate::settle::Settler;
use arc_swap::ArcSwap;
use parking_lot::{Mutex, MutexGuard};
use postrider_core::error::ErrorCode;
use postrider_core::id::{AttemptId, EndpointId, IdGen};
use postrider_core::ports::{Clock, Gate, Slot, SlotSet, Store, Transport};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use uuid::Uuid;

pub(crate) struct Shared {
    pub(crate) config: EngineConfig,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) transport: Arc<dyn Transport>,
    /// What lanes ask before they send over a connection that took its time; where others share the store.
    pub(crate) gate: Option<Gate>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) routes: ArcSwap<Routes>,
    pub(crate) dispatcher: Dispatcher,
    pub(crate) settler: Settler,
    pub(crate) publisher: Publisher,
    /// What is shared with other engines.
    pub(crate) cluster: Cluster,
    /// Somebody else has changed the configuration.
    pub(crate) configured: Notify,
    /// Applications may have published through the database.
    pub(crate) outbox: Notify,
    /// One change of the configuration at a time.
    pub(crate) editing: Arc<tokio::sync::Mutex<()>>,
    /// A scheduled webhook may be due earlier than thought.
    pub(crate) scheduled: Notify,
    /// An event has a fan-out to go on with.
    pub(crate) fan_out: Notify,
    /// One job is begun or resumed at a time, so that their number is right.
    pub(crate) starting: tokio::sync::Mutex<()>,
    /// A job may have a step to make.
    pub(crate) jobs: Notify,
    /// A batch may have a step to make.
    pub(crate) batches: Notify,
    /// Places for checks of payloads.
    pub(crate) checks: Checks,
    /// The schemas of these.
    pub(crate) compiled: Arc<Compiled>,
    /// Places for looks through events.
    pub(crate) looking: Checks,
    /// Endpoints to be disabled, and why.
    pub(crate) disabling: Mutex<BTreeMap<EndpointId, ErrorCode>>,
    pub(crate) disable: Notify,
    /// Looks for configuration that others changed; they happen under `editing`.
    pub(crate) looks: Looks,
    /// Tells exchanges that others may have taken this engine for dead.
    pub(crate) lapse: Lapse,
    /// How many deliveries of an endpoint have failed for good since one succeeded, where that is not none and matters.
    dead_in_a_row: Mutex<BTreeMap<EndpointId, u32>>,
    /// Places for bodies that take their time.
    pub(crate) renders: Renders,
    /// Places for probes.
    pub(crate) probes: Probes,
    /// What happened, on its way into the store.
    pub(crate) series: Series,
    /// An endpoint was erased.
    pub(crate) erased: Notify,
    /// The store has refused new work for want of room.
    pub(crate) full: Notify,
    stopping: AtomicBool,
    stopped: Notify,
    ids: Mutex<IdGen>,
}

impl Shared {
    pub(crate) fn new(
        config: EngineConfig,
        store: Arc<dyn Store>,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        routes: Routes,
    ) -> Self {
        let asked = Arc::clone(&store);
        let gate: Gate = Arc::new(move || asked.may_act());
        Shared {
            gate: store.is_shared().then_some(gate),
            dispatcher: Dispatcher::new(config.limits, store.is_shared()),
            settler: Settler::new(config.limits.unsettled),
            publisher: Publisher::new(config.limits),
            cluster: Cluster::default(),
            configured: Notify::new(),
            outbox: Notify::new(),
            routes: ArcSwap::from_pointee(routes),
            editing: Arc::default(),
            scheduled: Notify::new(),
            fan_out: Notify::new(),
            starting: tokio::sync::Mutex::default(),
            jobs: Notify::new(),
            batches: Notify::new(),
            checks: Checks::new(),
            compiled: Arc::new(Compiled::new()),
            looking: Checks::new(),
            disabling: Mutex::default(),
            disable: Notify::new(),
            looks: Looks::default(),
            lapse: Lapse::default(),
            dead_in_a_row: Mutex::default(),
            renders: Renders::new(),
            probes: Probes::default(),
            series: Series::default(),
            erased: Notify::new(),
            full: Notify::new(),
            stopping: AtomicBool::new(false),
            stopped: Notify::new(),
            ids: Mutex::new(IdGen::new(config.seed)),
            config,
            store,
            transport,
            clock,
        }
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    pub(crate) fn new_id(&self) -> Uuid {
        let now = self.now();
        self.ids.lock().next(now)
    }

    /// The generator of ids, for several at once.
    pub(crate) fn ids(&self) -> MutexGuard<'_, IdGen> {
        self.ids.lock()
    }

    pub(crate) fn attempt_id(&self, now: Timestamp) -> AttemptId {
        AttemptId::new(self.ids.lock().next(now))
    }

    pub(crate) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Acquire)
    }

    pub(crate) fn stop(&self) {
        self.stopping.store(true, Ordering::Release);
        self.dispatcher.stop();
        self.stopped.notify_waiters();
    }

    /// Waits for the engine to be stopped.
    pub(crate) async fn stopped(&self) {
        loop {
            let stopped = self.stopped.notified();
            if self.is_stopping() {
                return;
            }
            stopped.await;
        }
    }

    /// Waits, for so long or until the engine is stopped; answers whether it goes on.
    pub(crate) async fn goes_on_after(&self, wait: Duration) -> bool {
        self.goes_on_when(tokio::time::sleep(wait)).await
    }

    /// Waits for something, or until the engine is stopped; answers whether it goes on.
    pub(crate) async fn goes_on_when(&self, something: impl Future<Output = ()>) -> bool {
        tokio::select! {
            biased;
            () = self.stopped() => false,
            () = something => true,
        }
    }

    /// When a waiting delivery is to be looked at: at once if its endpoint is gone, for then it only has to be ended.
    pub(crate) fn due_or_at_once(&self, endpoint: EndpointId, due: Timestamp) -> Timestamp {
        if self.routes.load().endpoint(endpoint).is_some() { due } else { Timestamp::MIN }
    }

    /// A delivery to this endpoint was tried and has ended. Has the endpoint disabled where it was one failure too many; the count begins anew then.
    pub(crate) fn ended(&self, endpoint: EndpointId, succeeded: bool) {
        let Some(most) = self.config.disable_after_dead else { return };
        if !self.owns(endpoint.uuid()) {
            // It was left a moment ago. Whoever has it now counts anew.
            return;
        }
        let mut dead = self.dead_in_a_row.lock();
        if succeeded {
            dead.remove(&endpoint);
            return;
        }
        let n = dead.entry(endpoint).or_default();
        *n += 1;
        if *n >= most.get() {
            dead.remove(&endpoint);
            drop(dead);
            self.disable(endpoint, ErrorCode::ConsecutiveFailures);
        }
    }

    /// The count of failures in a row begins anew: the endpoint is gone, or gets nothing for the time being.
    pub(crate) fn forget_failures(&self, endpoint: EndpointId) {
        self.dead_in_a_row.lock().remove(&endpoint);
    }

    /// The same for all endpoints in these slots: they come from somebody else, or go there.
    pub(crate) fn forget_failures_in(&self, slots: &SlotSet) {
        self.dead_in_a_row.lock().retain(|endpoint, _| !slots.contains(Slot::of(endpoint.uuid())));
    }

    /// Has an endpoint disabled, soon.
    pub(crate) fn disable(&self, endpoint: EndpointId, reason: ErrorCode) {
        self.disabling.lock().entry(endpoint).or_insert(reason);
        self.disable.notify_one();
    }
}
