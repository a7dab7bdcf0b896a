//! The list of deliveries: all are looked at and what does not match is left out.

use super::data::Data;
use super::find::{found, is_in};
use postrider_core::attempt::{Attempt, AttemptError};
use postrider_core::delivery::Delivery;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use std::cmp::Reverse;
use std::sync::Arc;

impl Data {
    pub fn find_deliveries(&self, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryRow, DeliveryId> {
        let Found { page, total } = self.wanted_deliveries(filter, window);
        let items = page.items.into_iter().map(|delivery| listed(self.delivery_row(delivery))).collect();
        Found { page: Page { items, next: page.next }, total }
    }

    pub fn delivery_ids(&self, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Found<DeliveryId, DeliveryId> {
        let Found { page, total } = self.wanted_deliveries(filter, window);
        Found { page: Page { items: page.items.into_iter().map(|delivery| delivery.id).collect(), next: page.next }, total }
    }

    pub fn one_delivery(&self, id: DeliveryId, namespace: &Option<Namespace>) -> Option<DeliveryRow> {
        self.seen(id).filter(|delivery| is_in(namespace, &delivery.namespace)).map(|delivery| self.delivery_row(delivery))
    }

    pub fn one_listed(&self, id: DeliveryId, namespace: &Option<Namespace>) -> Option<DeliveryRow> {
        self.one_delivery(id, namespace).map(listed)
    }

    pub fn wanted_deliveries(&self, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Found<&Delivery, DeliveryId> {
        let seen = self.deliveries.keys().filter_map(|id| self.seen(*id));
        let wanted = seen.filter(|delivery| self.is_wanted_delivery(filter, delivery));
        found(wanted.map(|delivery| (Reverse(delivery.id), delivery)).collect(), window, Reverse, |place| place.0)
    }

    pub fn event_counts(&self, of: EventSeq) -> [u64; 7] {
        let mut counts = [0; 7];
        self.deliveries_of(of).filter_map(|id| self.seen(id)).for_each(|delivery| counts[delivery.progress.state.kind() as usize] += 1);
        counts
    }

    /// How many may be seen in each state, of one namespace if given.
    pub fn delivery_counts(&self, of: &Option<Namespace>) -> [u64; 7] {
        let mut counts = [0; 7];
        let seen = self.deliveries.keys().filter_map(|id| self.seen(*id)).filter(|delivery| is_in(of, &delivery.namespace));
        seen.for_each(|delivery| counts[delivery.progress.state.kind() as usize] += 1);
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
            && filter.code.is_none_or(|code| code_of(state, self.last_error(delivery.id)) == Some(code))
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
        let attempts = self.attempts.range((delivery.id, 0)..=(delivery.id, u32::MAX));
        let outcomes = attempts.filter_map(|(_, attempt)| attempt.outcome.as_ref());
        let is_rate_limited = |error: &AttemptError| error.code == ErrorCode::RateLimited;
        let rate_limited = outcomes.filter(|outcome| outcome.error.as_ref().is_some_and(is_rate_limited)).count();
        let is_wanted_off = self.deliveries.get(&delivery.id).is_some_and(|row| row.cancel_wanted);
        DeliveryRow {
            called_off: is_wanted_off && !delivery.progress.state.kind().is_resting(),
            delivery: delivery.clone(),
            event_id: event.id,
            event_type: Arc::clone(&event.event_type),
            payload: event.payload.clone(),
            last_ended: last.map(|(_, attempt)| attempt.clone()),
            bodies_removed: last.is_some_and(|(key, _)| self.bodies_removed.contains(key)),
            rate_limited: u32::try_from(rate_limited).unwrap_or(u32::MAX).min(delivery.progress.uncounted()),
        }
    }
}

/// Bodies as a list shows them.
fn listed(row: DeliveryRow) -> DeliveryRow {
    let payload = row.payload.slice(..row.payload.len().min(LISTED_BODY_BYTES));
    DeliveryRow { payload, last_ended: row.last_ended.map(with_listed_bodies), called_off: false, ..row }
}
