//! Lists with filters and totals: everything is looked at and what does not match is left out.

use super::data::Data;
use postrider_core::attempt::Attempt;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::*;
use postrider_core::ports::*;
use std::cmp::Reverse;
use std::sync::Arc;

impl Data {
    pub fn event_by_seq(&self, seq: EventSeq, namespace: Option<Namespace>) -> Option<EventRow> {
        let row = self.events.get(&seq)?;
        is_in(&namespace, &row.event.namespace).then(|| self.event_row(row))
    }

    fn event_row(&self, row: &super::data::EventRow) -> EventRow {
        EventRow {
            event: Arc::clone(&row.event),
            has_deliveries: self.deliveries_of(row.event.seq).any(|id| self.seen(id).is_some()),
            skipped: row.skipped.clone(),
            fan_out_pending: row.fan_out_after.is_some(),
        }
    }

    pub fn find_events(&self, filter: &EventFilter, request: PageRequest<EventPlace>) -> Found<EventRow, EventPlace> {
        let rows = self
            .wanted_events(filter)
            .map(|row| (EventPlace { created_at: row.event.created_at, seq: row.event.seq }, row.event.payload.len(), self.event_row(row)));
        let rows: Vec<_> = rows.collect();
        Found { total: rows.len() as u64, page: super::read::page(rows, request) }
    }

    pub fn event_numbers(&self, filter: &EventFilter, window: Window<EventPlace>) -> Found<EventSeq, EventPlace> {
        let place = |event: &Event| EventPlace { created_at: event.created_at, seq: event.seq };
        let rows = self.wanted_events(filter).map(|row| (place(&row.event), row.event.seq));
        found(rows.collect(), window, |place| place, |place| place)
    }

    fn wanted_events(&self, filter: &EventFilter) -> impl Iterator<Item = &super::data::EventRow> {
        self.events.values().filter(|row| {
            let event = &row.event;
            let is_of_type = filter.event_type.as_deref().is_none_or(|t| t == &*event.event_type);
            let has_labels = filter.labels.iter().all(|(key, value)| event.labels.get(key) == Some(value));
            let is_as_valid = filter.schema_valid.is_none_or(|valid| valid == event.schema_check.is_valid());
            is_in(&filter.namespace, &event.namespace) && is_of_type && has_labels && is_as_valid && filter.created_within(event.created_at)
        })
    }

    pub fn find_attempts(&self, filter: &AttemptFilter, window: Window<AttemptId>) -> Found<AttemptRow, AttemptId> {
        let rows = self.attempts.values().filter_map(|attempt| self.attempt_row(attempt)).filter(|row| is_wanted(filter, row));
        found(rows.map(|row| (Reverse(row.id), row)).collect(), window, Reverse, |place| place.0)
    }

    pub fn last_ended(&self, of: &LastOf) -> Vec<Option<AttemptRow>> {
        let newest = |is_of: &dyn Fn(&AttemptRow) -> bool| {
            let ended = self.attempts.values().filter(|attempt| attempt.outcome.is_some());
            ended.filter_map(|attempt| self.attempt_row(attempt)).filter(is_of).max_by_key(|row| row.id)
        };
        match of {
            LastOf::Endpoints(ids) => ids.iter().map(|id| newest(&|row| row.endpoint == *id)).collect(),
            LastOf::Subscriptions(ids) => ids.iter().map(|id| newest(&|row| row.subscription == *id)).collect(),
        }
    }

    pub fn attempts_of(&self, id: DeliveryId, namespace: &Option<Namespace>, limit: u32) -> Vec<AttemptRow> {
        let newest = self.attempts.range((id, 0)..=(id, u32::MAX)).rev().take(limit as usize);
        let rows = newest.filter_map(|(_, attempt)| self.attempt_row(attempt)).filter(|row| is_in(namespace, &row.namespace));
        let mut rows: Vec<AttemptRow> = rows.collect();
        rows.reverse();
        rows
    }

    fn attempt_row(&self, attempt: &Attempt) -> Option<AttemptRow> {
        let delivery = self.seen(attempt.delivery)?;
        Some(AttemptRow {
            id: attempt.id,
            namespace: delivery.namespace.clone(),
            event: delivery.event,
            delivery: delivery.id,
            subscription: attempt.subscription,
            endpoint: attempt.endpoint,
            number: attempt.number,
            target_url: Arc::clone(&attempt.target_url),
            started_at: attempt.started_at,
            end: attempt.outcome.as_ref().map(|outcome| AttemptEnd {
                finished_at: outcome.finished_at,
                http_status: outcome.http_status,
                error: outcome.error.clone(),
                phases: outcome.phases,
            }),
        })
    }

    pub fn attempt_detail(&self, id: AttemptId, namespace: Option<Namespace>) -> Option<AttemptDetail> {
        let (key, attempt) = self.attempts.iter().find(|(_, attempt)| attempt.id == id)?;
        let delivery = self.seen(attempt.delivery)?.clone();
        is_in(&namespace, &delivery.namespace).then(|| AttemptDetail {
            attempt: attempt.clone(),
            bodies_removed: self.bodies_removed.contains(key),
            event: self.event_of(&delivery),
            delivery,
        })
    }

    pub fn find_dead_letters(&self, filter: &DeadLetterFilter, window: Window<DeadLetterPlace>) -> Found<DeadLetterRow, DeadLetterPlace> {
        let open = self.dead_letters.values().filter(|row| row.dead_letter.status == DeadLetterStatus::Open);
        let rows = open.filter_map(|row| {
            let delivery = self.seen(row.dead_letter.delivery)?;
            let event = self.event_of(delivery);
            Some(DeadLetterRow {
                dead_letter: row.dead_letter.clone(),
                namespace: delivery.namespace.clone(),
                subscription: delivery.subscription,
                endpoint: delivery.endpoint,
                event: delivery.event,
                event_id: event.id,
                event_type: Arc::clone(&event.event_type),
                last_attempt: self.last_attempt(&row.dead_letter),
            })
        });
        let is_wanted = |row: &DeadLetterRow| {
            is_in(&filter.namespace, &row.namespace)
                && filter.subscription.is_none_or(|id| id == row.subscription)
                && filter.endpoint.is_none_or(|id| id == row.endpoint)
                && filter.code.is_none_or(|code| code == row.dead_letter.code)
                && filter.failed_within(row.dead_letter.failed_at)
        };
        let place = |row: &DeadLetterRow| DeadLetterPlace { failed_at: row.dead_letter.failed_at, id: row.dead_letter.id };
        let rows = rows.filter(is_wanted).map(|row| (place(&row), row));
        found(rows.collect(), window, |place| place, |place| place)
    }

    /// The attempt after which a delivery ended in this dead letter.
    pub fn last_attempt(&self, letter: &postrider_core::deadletter::DeadLetter) -> Option<AttemptId> {
        Some(self.attempts.get(&(letter.delivery, letter.attempts))?.id)
    }
}

pub(super) fn is_in(wanted: &Option<Namespace>, namespace: &Namespace) -> bool {
    wanted.as_ref().is_none_or(|wanted| wanted == namespace)
}

fn is_wanted(filter: &AttemptFilter, row: &AttemptRow) -> bool {
    let (from, before) = filter.ids();
    is_in(&filter.namespace, &row.namespace)
        && filter.subscription.is_none_or(|id| id == row.subscription)
        && filter.endpoint.is_none_or(|id| id == row.endpoint)
        && filter.event.is_none_or(|event| event == row.event)
        && filter.began_within(row.started_at)
        && (from..before).contains(&row.id.uuid())
        && match &row.end {
            None => filter.outcome.wants_under_way(),
            Some(end) => filter.outcome.wants_ended(end.error.as_ref().map(|error| error.code)),
        }
}

/// Cuts a piece out of a list. `key` and `place` turn the places that callers see into what the list is ordered by, and back.
pub(super) fn found<T, K: Ord + Copy, P>(mut list: Vec<(K, T)>, window: Window<P>, key: fn(P) -> K, place: fn(K) -> P) -> Found<T, P> {
    list.sort_by_key(|(key, _)| *key);
    let total = list.len() as u64;
    let after = window.after.map(key);
    let rest = list.into_iter().filter(|(key, _)| after.is_none_or(|after| *key > after));
    let mut rest = rest.skip(window.skip as usize);
    let (mut items, mut last) = (Vec::new(), None);
    for (key, item) in rest.by_ref().take(window.limit as usize) {
        items.push(item);
        last = Some(key);
    }
    let next = if rest.next().is_some() { last.map(place) } else { None };
    Found { page: Page { items, next }, total }
}
