//! The maps, and the few functions through which rows come, change and go: indexes and counters follow there and nowhere else.

use super::Dump;
use super::cluster::Cluster;
use super::requests::RequestRow;
use postrider_core::attempt::Attempt;
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::Endpoint;
use postrider_core::event::{Event, Namespace, Skipped};
use postrider_core::event_type::EventType;
use postrider_core::health::HealthTally;
use postrider_core::id::*;
use postrider_core::key::ApiKey;
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::series::Numbers;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[derive(Debug)]
pub(super) struct Data {
    pub newest_incarnation: u64,
    /// The engines that share it, if any may.
    pub cluster: Option<Cluster>,
    /// How much may be stored, in bytes.
    pub budget: Option<u64>,
    pub configuration_version: i64,
    pub endpoints: BTreeMap<EndpointId, Endpoint>,
    pub subscriptions: BTreeMap<SubscriptionId, Subscription>,
    pub keys: BTreeMap<KeyId, ApiKey>,
    /// By registry and name.
    pub event_types: BTreeMap<(Option<Namespace>, String), EventType>,

    last_seq: i64,
    pub events: BTreeMap<EventSeq, EventRow>,
    pub deliveries: BTreeMap<DeliveryId, DeliveryRow>,
    pub attempts: BTreeMap<(DeliveryId, u32), Attempt>,
    /// Attempts whose bodies retention took.
    pub bodies_removed: BTreeSet<(DeliveryId, u32)>,
    pub dead_letters: BTreeMap<DeadLetterId, DeadLetterRow>,
    pub scheduled: BTreeMap<ScheduledId, Scheduled>,
    pub counters: BTreeMap<SubscriptionId, Counters>,
    /// Of each endpoint that is configured and not deleted, with its tenant.
    pub health: BTreeMap<EndpointId, (Namespace, HealthTally)>,
    pub series: BTreeMap<SeriesKey, Numbers>,
    /// By the engine that noted it.
    pub late: BTreeMap<u64, Vec<Late>>,
    pub jobs: BTreeMap<JobId, Job>,
    /// Batches, each with its entries.
    pub batches: BTreeMap<BatchId, (Batch, BatchEntries)>,
    pub requests: BTreeMap<RequestKey, RequestRow>,

    /// Events by their public id.
    pub event_ids: BTreeMap<EventId, EventSeq>,
    /// Events by the publisher's key.
    pub idempotency_keys: BTreeMap<(Namespace, String), EventSeq>,
    /// Deliveries by event.
    pub event_deliveries: BTreeSet<(EventSeq, DeliveryId)>,
    /// Unclaimed deliveries that wait, by endpoint and due time.
    pub unclaimed: BTreeSet<(EndpointId, Timestamp, DeliveryId)>,
    /// Unclaimed deliveries that wait and have a time to live, by its end.
    pub expiring: BTreeSet<(Timestamp, DeliveryId)>,
    /// Claimed deliveries.
    pub claimed: BTreeSet<DeliveryId>,
    /// Open dead letters by delivery.
    pub open_dead_letters: BTreeMap<DeliveryId, DeadLetterId>,
}

impl Default for Data {
    fn default() -> Self {
        Data {
            newest_incarnation: 1,
            cluster: None,
            budget: None,
            configuration_version: 0,
            endpoints: BTreeMap::new(),
            subscriptions: BTreeMap::new(),
            keys: BTreeMap::new(),
            event_types: BTreeMap::new(),
            last_seq: 0,
            events: BTreeMap::new(),
            deliveries: BTreeMap::new(),
            attempts: BTreeMap::new(),
            bodies_removed: BTreeSet::new(),
            dead_letters: BTreeMap::new(),
            scheduled: BTreeMap::new(),
            counters: BTreeMap::new(),
            health: BTreeMap::new(),
            series: BTreeMap::new(),
            late: BTreeMap::new(),
            jobs: BTreeMap::new(),
            batches: BTreeMap::new(),
            requests: BTreeMap::new(),
            event_ids: BTreeMap::new(),
            idempotency_keys: BTreeMap::new(),
            event_deliveries: BTreeSet::new(),
            unclaimed: BTreeSet::new(),
            expiring: BTreeSet::new(),
            claimed: BTreeSet::new(),
            open_dead_letters: BTreeMap::new(),
        }
    }
}

#[derive(Debug)]
pub(super) struct EventRow {
    pub event: Arc<Event>,
    pub skipped: Vec<Skipped>,
    pub fan_out_after: Option<SubscriptionId>,
}

#[derive(Debug)]
pub(super) struct DeliveryRow {
    pub delivery: Delivery,
    /// The incarnation that has it in memory.
    pub claim: Option<u64>,
    /// Somebody called it off while an engine had it in memory.
    pub cancel_wanted: bool,
    /// See [`NewDelivery::keeps_rows`].
    pub keeps_rows: bool,
}

#[derive(Debug)]
pub(super) struct DeadLetterRow {
    pub dead_letter: DeadLetter,
    /// When it was retried or dismissed.
    pub closed_at: Option<Timestamp>,
}

impl DeliveryRow {
    /// Its place in [`Data::unclaimed`], if it belongs there.
    fn place(&self) -> Option<(EndpointId, Timestamp, DeliveryId)> {
        let due_at = self.delivery.progress.state.due_at().filter(|_| self.claim.is_none())?;
        Some((self.delivery.endpoint, due_at, self.delivery.id))
    }

    /// Its place in [`Data::expiring`], if it belongs there.
    fn expiry(&self) -> Option<(Timestamp, DeliveryId)> {
        let expires_at = self.delivery.progress.expires_at?;
        self.place().map(|(_, _, id)| (expires_at, id))
    }
}

impl Data {
    pub fn configuration(&self) -> Configuration {
        Configuration {
            version: self.configuration_version,
            endpoints: self.endpoints.values().cloned().collect(),
            subscriptions: self.subscriptions.values().cloned().collect(),
            keys: self.keys.values().cloned().collect(),
            event_types: self.event_types.values().cloned().collect(),
        }
    }

    /// When a subscription was deleted whose open dead letters nobody can reach any more; those of bindings have a list of their own.
    /// `None` too for one that is not configured.
    pub fn abandoned_at(&self, of: SubscriptionId) -> Option<Timestamp> {
        self.subscriptions.get(&of).filter(|subscription| subscription.origin != Origin::Items)?.deleted_at
    }

    /// Whether nobody gets to see what went to this endpoint.
    pub fn is_erased(&self, endpoint: EndpointId) -> bool {
        self.endpoints.get(&endpoint).is_some_and(Endpoint::is_erased)
    }

    /// Whether a delivery keeps its rows; `false` too for one that is not there.
    pub fn keeps_rows(&self, id: DeliveryId) -> bool {
        self.deliveries.get(&id).is_some_and(|row| row.keeps_rows)
    }

    /// A delivery that may be seen.
    pub fn seen(&self, id: DeliveryId) -> Option<&Delivery> {
        self.deliveries.get(&id).map(|row| &row.delivery).filter(|delivery| !self.is_erased(delivery.endpoint))
    }

    pub fn configure(&mut self, version: i64, changes: Vec<ConfigChange>) -> Configured {
        if self.configuration_version != version {
            return Configured::Conflict;
        }
        self.configuration_version += 1;
        for change in changes {
            match change {
                ConfigChange::Endpoint(endpoint) => {
                    self.keep_health(&endpoint);
                    self.endpoints.insert(endpoint.id, endpoint);
                }
                ConfigChange::Subscription(subscription) => drop(self.subscriptions.insert(subscription.id, subscription)),
                ConfigChange::Key(key) => drop(self.keys.insert(key.id, key)),
                ConfigChange::EventType(new) => drop(self.event_types.insert((new.namespace.clone(), new.name.clone()), new)),
                ConfigChange::NoEventType { registry, name } => drop(self.event_types.remove(&(registry, name))),
            }
        }
        Configured::Stored { version: self.configuration_version }
    }

    /// Numbers, never given twice, whatever became of their events.
    pub fn next_seq(&mut self) -> EventSeq {
        self.last_seq += 1;
        EventSeq(self.last_seq)
    }

    pub fn put_event(&mut self, row: EventRow) {
        let event = &row.event;
        self.event_ids.insert(event.id, event.seq);
        if let Some(key) = &event.idempotency_key {
            self.idempotency_keys.insert((event.namespace.clone(), key.clone()), event.seq);
        }
        self.events.insert(event.seq, row);
    }

    pub fn remove_event(&mut self, seq: EventSeq) {
        let Some(row) = self.events.remove(&seq) else { return };
        self.event_ids.remove(&row.event.id);
        if let Some(key) = &row.event.idempotency_key {
            self.idempotency_keys.remove(&(row.event.namespace.clone(), key.clone()));
        }
    }

    /// The event of a row. A delivery keeps its event, so it is there.
    pub fn event_of(&self, delivery: &Delivery) -> Arc<Event> {
        Arc::clone(&self.events.get(&delivery.event).expect("events stay while they have deliveries").event)
    }

    /// Puts a delivery that is new, or was taken out to be changed.
    pub fn put_delivery(&mut self, row: DeliveryRow) {
        let delivery = &row.delivery;
        self.counters_of(delivery.subscription).deliveries[delivery.progress.state.kind() as usize] += 1;
        self.event_deliveries.insert((delivery.event, delivery.id));
        if let Some(place) = row.place() {
            self.unclaimed.insert(place);
        }
        self.expiring.extend(row.expiry());
        if row.claim.is_some() {
            self.claimed.insert(delivery.id);
        }
        let before = self.deliveries.insert(delivery.id, row);
        debug_assert!(before.is_none(), "a delivery is taken out before it is put again");
    }

    /// Takes a delivery out, to be changed and put again, or for good.
    pub fn take_delivery(&mut self, id: DeliveryId) -> Option<DeliveryRow> {
        let row = self.deliveries.remove(&id)?;
        let delivery = &row.delivery;
        self.counters_of(delivery.subscription).deliveries[delivery.progress.state.kind() as usize] -= 1;
        self.event_deliveries.remove(&(delivery.event, id));
        if let Some(place) = row.place() {
            self.unclaimed.remove(&place);
        }
        if let Some(expiry) = row.expiry() {
            self.expiring.remove(&expiry);
        }
        self.claimed.remove(&id);
        Some(row)
    }

    /// Puts an attempt, or what came of one.
    pub fn put_attempt(&mut self, attempt: Attempt) {
        let key = (attempt.delivery, attempt.number);
        self.bodies_removed.remove(&key);
        self.attempts.insert(key, attempt);
    }

    pub fn remove_attempt(&mut self, key: (DeliveryId, u32)) {
        self.bodies_removed.remove(&key);
        self.attempts.remove(&key);
    }

    /// Opens a dead letter, unless its delivery has an open one.
    pub fn open_dead_letter(&mut self, dead_letter: DeadLetter, subscription: SubscriptionId) {
        if self.open_dead_letters.contains_key(&dead_letter.delivery) {
            return;
        }
        self.open_dead_letters.insert(dead_letter.delivery, dead_letter.id);
        self.counters_of(subscription).dead_letters += 1;
        self.dead_letters.insert(dead_letter.id, DeadLetterRow { dead_letter, closed_at: None });
    }

    /// Closes a dead letter; answers whether it was open.
    pub fn close_dead_letter(&mut self, id: DeadLetterId, status: DeadLetterStatus, at: Timestamp) -> bool {
        let Some(row) = self.dead_letters.get_mut(&id) else { return false };
        if row.dead_letter.status != DeadLetterStatus::Open {
            return false;
        }
        row.dead_letter.status = status;
        row.closed_at = Some(at);
        let delivery = row.dead_letter.delivery;
        self.open_dead_letters.remove(&delivery);
        // An open dead letter keeps its delivery, so the delivery is there.
        if let Some(subscription) = self.deliveries.get(&delivery).map(|row| row.delivery.subscription) {
            self.counters_of(subscription).dead_letters -= 1;
        }
        true
    }

    pub fn counters_of(&mut self, subscription: SubscriptionId) -> &mut Counters {
        self.counters.entry(subscription).or_default()
    }

    pub fn dump(&self) -> Dump {
        let with_skips = self.events.iter().filter(|(_, row)| !row.skipped.is_empty());
        Dump {
            events: self.events.values().map(|row| Arc::clone(&row.event)).collect(),
            skipped: with_skips.map(|(seq, row)| (*seq, row.skipped.clone())).collect(),
            unfinished_fan_outs: self.events.iter().filter_map(|(seq, row)| Some((*seq, row.fan_out_after?))).collect(),
            deliveries: self.deliveries.values().map(|row| row.delivery.clone()).collect(),
            claims: self.deliveries.iter().filter_map(|(id, row)| Some((*id, row.claim?))).collect(),
            attempts: self.attempts.values().cloned().collect(),
            dead_letters: self.dead_letters.values().map(|row| row.dead_letter.clone()).collect(),
            scheduled: self.scheduled.values().cloned().collect(),
            jobs: self.jobs.values().cloned().collect(),
            counters: self.counters.clone(),
        }
    }
}
