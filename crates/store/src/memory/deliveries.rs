//! The list of deliveries: all are looked at and what does not match is left out.

use super::data::Data;
use super::find::{found, is_in};
use bytes::Bytes;
use postrider_core::attempt::Attempt;
use postrider_core::delivery::Delivery;
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
use std::cmp::Reverse;
use std::sync::Arc;

impl Data {
    pub fn find_deliveries(&self, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryRow, DeliveryId> {
        let seen = self.deliveries.keys().filter_map(|id| self.seen(*id));
        let wanted = seen.filter(|delivery| self.is_wanted_delivery(filter, delivery));
        let places = wanted.map(|delivery| (Reverse(delivery.id), delivery)).collect();
        let Found { page, total } = found(places, window, Reverse, |place| place.0);
        let items = page.items.into_iter().map(|delivery| self.delivery_row(delivery)).collect();
        Found { page: Page { items, next: page.next }, total }
    }

    pub fn event_counts(&self, of: EventSeq) -> [u64; 7] {
        let mut counts = [0; 7];
        self.deliveries_of(of).filter_map(|id| self.seen(id)).for_each(|delivery| counts[delivery.progress.state.kind() as usize] += 1);
        counts
    }

    fn is_wanted_delivery(&self, filter: &DeliveryFilter, delivery: &Delivery) -> bool {
        let (from, before) = filter.ids();
        let state = delivery.progress.state;
        is_in(&filter.namespace, &delivery.namespace)
            && filter.subscription.is_none_or(|id| id == delivery.subscription)
            && filter.endpoint.is_none_or(|id| id == delivery.endpoint)
            && filter.event.is_none_or(|event| event == delivery.event)
            && filter.wants(state.kind())
            && filter.created_within(delivery.created_at)
            && (from..before).contains(&delivery.id.uuid())
            && filter.category.is_none_or(|category| category_of(state, self.last_error(delivery.id)) == Some(category))
    }

    fn last_ended_of(&self, id: DeliveryId) -> Option<(&(DeliveryId, u32), &Attempt)> {
        self.attempts.range((id, 0)..=(id, u32::MAX)).rev().find(|(_, attempt)| attempt.outcome.is_some())
    }

    fn last_error(&self, id: DeliveryId) -> Option<ErrorCode> {
        let (_, attempt) = self.last_ended_of(id)?;
        attempt.outcome.as_ref()?.error.as_ref().map(|error| error.code)
    }

    fn delivery_row(&self, delivery: &Delivery) -> DeliveryRow {
        let event = self.event_of(delivery);
        let last = self.last_ended_of(delivery.id);
        DeliveryRow {
            delivery: delivery.clone(),
            event_id: event.id,
            event_type: Arc::clone(&event.event_type),
            payload: Bytes::copy_from_slice(&event.payload[..event.payload.len().min(LISTED_BODY_BYTES)]),
            last_ended: last.map(|(_, attempt)| with_listed_bodies(attempt.clone())),
            bodies_removed: last.is_some_and(|(key, _)| self.bodies_removed.contains(key)),
        }
    }
}
