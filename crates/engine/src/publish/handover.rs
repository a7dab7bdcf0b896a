//! From an event to its deliveries: matched and with room made before it is stored, handed over after.

use super::{Publish, PublishError, To};
use crate::job::Job;
use crate::route::Matched;
use crate::series::Part;
use crate::shared::Shared;
use postrider_core::delivery::{Delivery, Progress, StateKind};
use postrider_core::event::Event;
use postrider_core::id::{DeliveryId, EventId, EventSeq};
use postrider_core::ports::{FirstDelivery, NewDelivery, NewEvent};
use postrider_core::time::Timestamp;
use std::sync::Arc;

/// What is needed to hand an event over once it is stored.
#[derive(Debug)]
pub(crate) struct Handover {
    event: Event,
    deliveries: Vec<NewDelivery>,
    more: bool,
}

/// Matches an event and makes room for its deliveries. Either [`Handover::stored`] or [`Handover::dropped`] must follow.
pub(crate) fn prepare(shared: &Shared, publish: Publish) -> Result<(NewEvent, Handover), PublishError> {
    let routes = shared.routes.load();
    let matched = match publish.to {
        To::Matching => routes.matching(&publish.namespace, &publish.event_type, &publish.labels, &publish.payload),
        To::Subscription(id) => {
            let route = routes.route(id).cloned().ok_or(PublishError::UnknownSubscription)?;
            Matched { routes: vec![route], skipped: Vec::new() }
        }
    };
    let mut new = plan(shared, publish, matched, shared.config.limits.fan_out_slice);
    shared.dispatcher.reserve(&mut new.deliveries, new.payload.len(), new.created_at);
    let event = Event {
        seq: EventSeq(0),
        id: new.id,
        namespace: new.namespace.clone(),
        event_type: Arc::clone(&new.event_type),
        payload: new.payload.clone(),
        labels: new.labels.clone(),
        metadata: new.metadata.clone(),
        idempotency_key: new.idempotency_key.clone(),
        ttl: new.ttl,
        schema_check: new.schema_check,
        created_at: new.created_at,
    };
    let handover = Handover { event, deliveries: new.deliveries.clone(), more: new.fan_out_after.is_some() };
    Ok((new, handover))
}

/// The event with an unclaimed delivery for each that it matched, or for the first so many of them: others follow in slices.
pub(crate) fn plan(shared: &Shared, publish: Publish, mut matched: Matched, slice: usize) -> NewEvent {
    let now = shared.now();
    let fan_out_after = (matched.routes.len() > slice).then(|| matched.routes[slice - 1].subscription.id);
    matched.routes.truncate(slice);
    let expires_at = publish.ttl.map(|ttl| now.after(ttl));
    let mut ids = shared.ids();
    // Made before its deliveries, so that ids sort in the order of events.
    let id = EventId::new(ids.next(now));
    let deliveries = matched.routes.iter().map(|route| NewDelivery {
        id: DeliveryId::new(ids.next(now)),
        subscription: route.subscription.id,
        endpoint: route.endpoint.id,
        claimed: false,
        keeps_rows: route.subscription.origin.keeps_rows(),
        expires_at,
    });
    let deliveries = deliveries.collect();
    drop(ids);
    NewEvent {
        id,
        namespace: publish.namespace,
        event_type: publish.event_type,
        payload: publish.payload,
        labels: publish.labels,
        metadata: publish.metadata,
        idempotency_key: publish.idempotency_key,
        ttl: publish.ttl,
        schema_check: publish.schema_check,
        created_at: now,
        deliveries,
        fan_out_after,
        skipped: matched.skipped,
    }
}

impl Handover {
    /// The event is stored: answers the deliveries to send, and notes those that only the store has.
    pub(crate) fn stored(self, shared: &Shared, seq: EventSeq) -> Vec<Job> {
        if self.more {
            shared.carry_on(self.event.id);
        }
        let event = Arc::new(Event { seq, ..self.event });
        jobs(shared, &event, event.created_at, &self.deliveries)
    }

    /// The event is not stored: gives back the room.
    pub(crate) fn dropped(self, shared: &Shared) {
        give_back(shared, &self.event, &self.deliveries);
    }

    pub(super) fn event_id(&self) -> EventId {
        self.event.id
    }

    /// It is stored: it counts.
    pub(crate) fn count(&self, part: &mut Part) {
        part.event(&self.event.namespace, self.deliveries.len());
    }

    /// As it is when it has just been stored.
    pub(super) fn first_delivery(&self) -> Option<FirstDelivery> {
        let first = self.deliveries.first()?;
        Some(FirstDelivery { id: first.id, subscription: first.subscription, state: StateKind::Pending })
    }
}

/// The claimed ones of stored deliveries; the others are noted as waiting in the store.
pub(crate) fn jobs(shared: &Shared, event: &Arc<Event>, created_at: Timestamp, deliveries: &[NewDelivery]) -> Vec<Job> {
    let (mut jobs, looks) = (Vec::with_capacity(deliveries.len()), shared.looks.begun());
    shared.dispatcher.note_stored(deliveries.iter().filter(|d| !d.claimed).map(|d| d.endpoint), created_at);
    for new in deliveries.iter().filter(|d| d.claimed) {
        let delivery = Delivery {
            id: new.id,
            event: event.seq,
            namespace: event.namespace.clone(),
            subscription: new.subscription,
            endpoint: new.endpoint,
            progress: Progress::new(created_at, new.expires_at),
            created_at,
            last_attempt_at: None,
        };
        jobs.push(Job { delivery, event: Arc::clone(event), stored: StateKind::Pending, looks });
    }
    jobs
}

pub(crate) fn give_back(shared: &Shared, event: &Event, deliveries: &[NewDelivery]) {
    let claimed = deliveries.iter().filter(|d| d.claimed).map(|d| d.endpoint);
    shared.dispatcher.let_go(claimed, crate::job::cost(event.payload.len()), shared.now());
}
