//! The reads. Lists are built whole and cut: a model need not be fast.

use super::data::Data;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use std::cmp::Reverse;
use std::sync::Arc;

impl Data {
    pub fn delivery_view(&self, id: DeliveryId) -> Option<DeliveryView> {
        let delivery = self.seen(id)?.clone();
        let attempts = self.attempts.range((id, 0)..=(id, u32::MAX)).map(|(_, attempt)| attempt.clone()).collect();
        Some(DeliveryView { event: self.event_of(&delivery), delivery, attempts })
    }

    pub fn event_view(&self, id: EventId) -> Option<EventView> {
        let row = self.events.get(self.event_ids.get(&id)?)?;
        let deliveries = self.deliveries_of(row.event.seq).filter_map(|id| self.seen(id).cloned());
        Some(EventView {
            event: Arc::clone(&row.event),
            deliveries: deliveries.collect(),
            skipped: row.skipped.clone(),
            fan_out_pending: row.fan_out_after.is_some(),
        })
    }

    /// Deliveries of an event, oldest first.
    pub fn deliveries_of(&self, event: EventSeq) -> impl Iterator<Item = DeliveryId> {
        let from = (event, DeliveryId::new(uuid::Uuid::nil()));
        let to = (event, DeliveryId::new(uuid::Uuid::max()));
        self.event_deliveries.range(from..=to).map(|(_, id)| *id)
    }

    /// Those of a subscription to an erased endpoint are as hidden as what they count.
    pub fn counters(&self, of: SubscriptionId) -> Counters {
        let is_to_erased = self.subscriptions.get(&of).is_some_and(|subscription| self.is_erased(subscription.endpoint));
        self.counters.get(&of).copied().filter(|_| !is_to_erased).unwrap_or_default()
    }

    pub fn unfinished_fan_outs(&self, of: SlotSet, limit: u32, max_bytes: u64) -> Vec<UnfinishedFanOut> {
        let events = self.events.values().filter(|row| of.contains(Slot::of(row.event.id.uuid())));
        let unfinished = events.filter_map(|row| {
            Some(UnfinishedFanOut { event: Arc::clone(&row.event), after: row.fan_out_after?, skipped: row.skipped.clone() })
        });
        within(unfinished.take(limit as usize), max_bytes, |row| row.event.payload.len()).collect()
    }

    pub fn attempt_views(&self, of: SubscriptionId, limit: u32) -> Vec<AttemptView> {
        let mut newest: Vec<_> = self.attempts.values().filter(|attempt| attempt.subscription == of).collect();
        newest.sort_by_key(|attempt| Reverse(attempt.id));
        let view = |attempt: &postrider_core::attempt::Attempt| {
            let state = self.seen(attempt.delivery)?.progress.state.kind();
            Some(AttemptView { attempt: attempt.clone(), state })
        };
        newest.into_iter().filter_map(view).take(limit as usize).collect()
    }

    pub fn dead_letter_view(&self, id: DeadLetterId) -> Option<DeadLetterView> {
        let dead_letter = self.dead_letters.get(&id)?.dead_letter.clone();
        let delivery = self.seen(dead_letter.delivery)?.clone();
        Some(DeadLetterView { event: self.event_of(&delivery), last_attempt: self.last_attempt(&dead_letter), dead_letter, delivery })
    }

    pub fn dead_letter_views(
        &self,
        of: SubscriptionId,
        open_only: bool,
        request: PageRequest<DeadLetterPlace>,
    ) -> Page<DeadLetterView, DeadLetterPlace> {
        let is_listed = |status: DeadLetterStatus| match status {
            DeadLetterStatus::Open => true,
            DeadLetterStatus::Retried(_) => !open_only,
            DeadLetterStatus::Dismissed => false,
        };
        let listed = self.dead_letters.values().filter(|row| is_listed(row.dead_letter.status));
        let views = listed.filter_map(|row| self.dead_letter_view(row.dead_letter.id)).filter(|view| view.delivery.subscription == of);
        let place = |view: &DeadLetterView| DeadLetterPlace { failed_at: view.dead_letter.failed_at, id: view.dead_letter.id };
        page(views.map(|view| (place(&view), view.event.payload.len(), view)).collect(), request)
    }

    pub fn due_scheduled(&self, now: Timestamp, limit: u32, max_bytes: u64) -> DueScheduled {
        let mut pending = self.scheduled_by_time(|row| row.status == ScheduledStatus::Pending);
        let due = pending.iter().take_while(|row| row.due_at <= now).take(limit as usize);
        let due = within(due, max_bytes, |row| row.payload.len()).count();
        let rest = pending.split_off(due);
        DueScheduled { due: pending, next_due: rest.first().map(|row| row.due_at) }
    }

    pub fn scheduled_list(
        &self,
        namespace: Option<Namespace>,
        of: Option<SubscriptionId>,
        request: PageRequest<ScheduledPlace>,
    ) -> Page<Scheduled, ScheduledPlace> {
        let is_wanted =
            |row: &&Scheduled| namespace.as_ref().is_none_or(|n| *n == row.namespace) && of.is_none_or(|s| s == row.subscription);
        let place = |row: &Scheduled| ScheduledPlace { ended: row.status != ScheduledStatus::Pending, due_at: row.due_at, id: row.id };
        let rows = self.scheduled.values().filter(is_wanted);
        page(rows.map(|row| (place(row), row.payload.len(), row.clone())).collect(), request)
    }

    fn scheduled_by_time(&self, is_wanted: impl Fn(&Scheduled) -> bool) -> Vec<Scheduled> {
        let mut rows: Vec<Scheduled> = self.scheduled.values().filter(|row| is_wanted(row)).cloned().collect();
        rows.sort_by_key(|row| (row.due_at, row.id));
        rows
    }
}

/// Cuts a page out of a list of items with their places and the sizes of their payloads.
pub(super) fn page<T, P: Ord + Copy>(mut list: Vec<(P, usize, T)>, request: PageRequest<P>) -> Page<T, P> {
    list.sort_by_key(|(place, ..)| *place);
    let (mut items, mut bytes, mut last) = (Vec::new(), 0, None);
    for (place, size, item) in list.into_iter().filter(|(place, ..)| request.after.is_none_or(|after| *place > after)) {
        if request.is_full(items.len(), bytes) {
            return Page { items, next: last };
        }
        items.push(item);
        bytes += size as u64;
        last = Some(place);
    }
    Page { items, next: None }
}

/// Items until their sizes sum up to that much; at least one.
fn within<T>(items: impl Iterator<Item = T>, max_bytes: u64, size: impl Fn(&T) -> usize) -> impl Iterator<Item = T> {
    let mut bytes = 0;
    let mut is_full = false;
    items.take_while(move |item| {
        let was_full = is_full;
        bytes += size(item) as u64;
        is_full = bytes >= max_bytes;
        !was_full
    })
}
