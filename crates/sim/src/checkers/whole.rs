//! Everything that was ever stored: what the store has at the end, and what retention removed.

use crate::records::{Exchanged, Fact, Removed, Replays};
use crate::world::World;
use bytes::Bytes;
use postrider_core::attempt::Attempt;
use postrider_core::deadletter::DeadLetter;
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::Endpoint;
use postrider_core::event::Event;
use postrider_core::id::{DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{Configuration, Store};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use postrider_store::memory::Dump;
use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
pub(crate) struct Whole {
    pub(crate) dump: Dump,
    pub(crate) removed: Removed,
    pub(crate) replays: Replays,
    pub(crate) facts: Vec<Fact>,
    pub(crate) exchanges: Vec<Exchanged>,
    pub(crate) events: BTreeMap<EventSeq, Arc<Event>>,
    pub(crate) events_by_id: BTreeMap<EventId, Arc<Event>>,
    /// Events by their payload: those of facts once, those of recurring webhooks more often.
    pub(crate) events_by_payload: BTreeMap<Bytes, Vec<Arc<Event>>>,
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(crate) deliveries_of: BTreeMap<EventSeq, Vec<DeliveryId>>,
    pub(crate) attempts: BTreeMap<DeliveryId, BTreeMap<u32, Attempt>>,
    pub(crate) dead_letters: BTreeMap<DeliveryId, Vec<DeadLetter>>,
    /// Exchanges by delivery, in the order of their beginning.
    pub(crate) exchanges_of: BTreeMap<DeliveryId, Vec<usize>>,
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
}

impl Whole {
    pub(crate) fn of(world: &World) -> Self {
        let dump = world.store.dump();
        let configuration = configuration(world);
        let state = world.state();
        let removed = state.removed.clone();
        let events = dump.events.iter().chain(&removed.events);
        let events: BTreeMap<_, _> = events.map(|e| (e.seq, Arc::clone(e))).collect();
        let mut events_by_payload: BTreeMap<Bytes, Vec<Arc<Event>>> = BTreeMap::new();
        for event in events.values() {
            let same = events_by_payload.entry(event.payload.clone()).or_default();
            same.push(Arc::clone(event));
        }
        let deliveries = dump.deliveries.iter().chain(removed.deliveries.values());
        let deliveries: BTreeMap<_, _> = deliveries.map(|d| (d.id, d.clone())).collect();
        let mut deliveries_of: BTreeMap<EventSeq, Vec<DeliveryId>> = BTreeMap::new();
        for delivery in deliveries.values() {
            deliveries_of.entry(delivery.event).or_default().push(delivery.id);
        }
        let mut attempts: BTreeMap<DeliveryId, BTreeMap<u32, Attempt>> = BTreeMap::new();
        for attempt in dump.attempts.iter().chain(removed.attempts.values()) {
            let of = attempts.entry(attempt.delivery).or_default();
            of.insert(attempt.number, attempt.clone());
        }
        let mut dead_letters: BTreeMap<DeliveryId, Vec<DeadLetter>> = BTreeMap::new();
        for letter in dump.dead_letters.iter().chain(&removed.dead_letters) {
            dead_letters.entry(letter.delivery).or_default().push(letter.clone());
        }
        let mut exchanges_of: BTreeMap<DeliveryId, Vec<usize>> = BTreeMap::new();
        for (number, exchange) in state.exchanges.iter().enumerate() {
            exchanges_of.entry(exchange.delivery).or_default().push(number);
        }
        let endpoints = configuration.endpoints.into_iter().chain(removed.endpoints.values().cloned());
        let endpoints = endpoints.map(|e| (e.id, e)).collect();
        let subscriptions = configuration.subscriptions.into_iter().chain(removed.subscriptions.values().cloned());
        let subscriptions = subscriptions.map(|s| (s.id, s)).collect();
        Whole {
            events_by_id: events.values().map(|e| (e.id, Arc::clone(e))).collect(),
            removed,
            replays: state.replays.clone(),
            facts: state.facts.clone(),
            exchanges: state.exchanges.clone(),
            events,
            events_by_payload,
            deliveries,
            deliveries_of,
            attempts,
            dead_letters,
            exchanges_of,
            endpoints,
            subscriptions,
            dump,
        }
    }

    /// Deliveries of an event, the ones that retention removed included.
    pub(crate) fn deliveries_of(&self, event: EventSeq) -> impl Iterator<Item = &Delivery> {
        let ids = self.deliveries_of.get(&event).into_iter().flatten();
        ids.filter_map(|id| self.deliveries.get(id))
    }

    pub(crate) fn exchanges_of(&self, delivery: DeliveryId) -> impl Iterator<Item = &Exchanged> {
        let numbers = self.exchanges_of.get(&delivery).into_iter().flatten();
        numbers.map(|n| &self.exchanges[*n])
    }

    /// Whether somebody made a delivery again between two exchanges of it. The clock may have been set back between two lives.
    pub(crate) fn is_replayed_between(&self, a: &Exchanged, b: &Exchanged) -> bool {
        let between = |at: (usize, Timestamp)| (a.life, a.began) <= at && at <= (b.life, b.began);
        self.replays.again.iter().any(|(id, at)| *id == a.delivery && between(*at))
    }

    /// Whether the endpoint of a subscription was erased: then nobody is told what came of its deliveries.
    pub(crate) fn is_erased(&self, subscription: SubscriptionId) -> bool {
        let endpoint = self.subscriptions.get(&subscription).and_then(|s| self.endpoints.get(&s.endpoint));
        endpoint.is_some_and(Endpoint::is_erased)
    }

    /// Whether a subscription, or its endpoint, was deleted at any time.
    pub(crate) fn is_gone(&self, subscription: SubscriptionId) -> bool {
        let Some(subscription) = self.subscriptions.get(&subscription) else {
            return true;
        };
        let endpoint = self.endpoints.get(&subscription.endpoint);
        subscription.deleted_at.is_some() || endpoint.is_none_or(|e| e.deleted.is_some())
    }
}

fn configuration(world: &World) -> Configuration {
    let mut asking = world.store.configuration();
    let mut context = std::task::Context::from_waker(std::task::Waker::noop());
    match asking.as_mut().poll(&mut context) {
        std::task::Poll::Ready(Ok(configuration)) => configuration,
        _ => unreachable!("the model answers at once and never fails"),
    }
}
