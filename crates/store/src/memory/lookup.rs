//! What people look over and look for: everything is looked at, and what does not match is left out.

use super::MemoryStore;
use super::data::Data;
use super::find::is_in;
use bytes::Bytes;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

impl Data {
    fn dead_letter_groups(&self, of: &Option<Namespace>, limit: u32) -> Vec<DeadLetterGroup> {
        let mut groups = BTreeMap::new();
        for row in self.dead_letters.values().filter(|row| row.dead_letter.status == DeadLetterStatus::Open) {
            let (delivery, code) = (self.seen(row.dead_letter.delivery), row.dead_letter.code);
            let Some(delivery) = delivery.filter(|delivery| is_in(of, &delivery.namespace)) else { continue };
            let (namespace, endpoint) = (&delivery.namespace, delivery.endpoint);
            let group = groups.entry((namespace.clone(), endpoint, code.as_str()));
            let group = group.or_insert_with(|| DeadLetterGroup { namespace: namespace.clone(), endpoint, code, open: 0 });
            group.open += 1;
        }
        let mut groups: Vec<DeadLetterGroup> = groups.into_values().collect();
        // Equal ones stay in the order of the map.
        groups.sort_by_key(|group| Reverse(group.open));
        groups.truncate(limit as usize);
        groups
    }

    fn open_letter_of(&self, of: DeliveryId) -> Option<DeadLetterId> {
        self.seen(of).and_then(|_| self.open_dead_letters.get(&of).copied())
    }

    fn open_letters(&self, ids: Vec<DeadLetterId>, within: &Option<Namespace>) -> Vec<(DeadLetterId, Delivery)> {
        let open = ids.into_iter().filter_map(|id| {
            let letter = &self.dead_letters.get(&id)?.dead_letter;
            let delivery = self.seen(letter.delivery)?;
            let is_wanted = letter.status == DeadLetterStatus::Open && is_in(within, &delivery.namespace);
            is_wanted.then(|| (id, delivery.clone()))
        });
        open.collect()
    }

    fn whole_attempts(&self, of: DeliveryId, within: &Option<Namespace>, limit: u32, max_bytes: u64) -> Vec<WholeAttempt> {
        if self.seen(of).is_none_or(|delivery| !is_in(within, &delivery.namespace)) {
            return Vec::new();
        }
        let mut bytes = 0;
        let newest = self.attempts.range((of, 0)..=(of, u32::MAX)).rev().take(limit as usize);
        let whole = newest.map(|(key, attempt)| {
            let (mut attempt, mut bodies_left_out) = (attempt.clone(), false);
            if let Some(outcome) = &mut attempt.outcome {
                let size = (outcome.request_body.as_ref().map_or(0, Bytes::len) + outcome.response_body.len()) as u64;
                bodies_left_out = size > 0 && bytes >= max_bytes;
                bytes += size;
                if bodies_left_out {
                    (outcome.request_body, outcome.response_body) = (None, Bytes::new());
                }
            }
            WholeAttempt { attempt, bodies_removed: self.bodies_removed.contains(key), bodies_left_out }
        });
        whole.collect()
    }

    fn events_by_key(&self, among: Vec<Namespace>, key: &str) -> Vec<(Namespace, EventId)> {
        let event = |of: &Namespace| {
            let seq = self.idempotency_keys.get(&(of.clone(), key.to_owned()))?;
            self.events.get(seq).map(|row| row.event.id)
        };
        among.into_iter().take(MAX_KEY_NAMESPACES).filter_map(|of| event(&of).map(|id| (of, id))).collect()
    }

    fn counted_namespaces(&self, after: Option<&Namespace>) -> Vec<Namespace> {
        let all: BTreeSet<&Namespace> = self.events.values().map(|row| &row.event.namespace).collect();
        let rest = all.into_iter().filter(|name| after.is_none_or(|after| *name > after));
        rest.take(MAX_KEY_NAMESPACES).cloned().collect()
    }

    fn delivery_keys(&self, of: Option<Namespace>, after: Option<DeliveryId>, limit: u32) -> Vec<DeliveryKeyParts> {
        let filter = DeliveryFilter { namespace: of, ..DeliveryFilter::default() };
        let page = self.wanted_deliveries(&filter, Window { after, ..Window::first(limit.min(MAX_DELIVERY_KEYS)) }).page;
        let parts = page.items.into_iter().map(|delivery| DeliveryKeyParts {
            id: delivery.id,
            namespace: delivery.namespace.clone(),
            subscription: delivery.subscription,
            event: delivery.event,
        });
        parts.collect()
    }

    fn event_total(&self, of: &Option<Namespace>) -> u64 {
        self.events.values().filter(|row| is_in(of, &row.event.namespace)).count() as u64
    }
}

impl LookupStore for MemoryStore {
    fn page_of_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Page<DeliveryRow, DeliveryId>, StoreError>> {
        self.answer(move |data, _| data.find_deliveries(&filter, window).page)
    }

    fn deliveries_by_id(&self, ids: Vec<DeliveryId>, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>> {
        self.answer(move |data, _| ids.into_iter().filter_map(|id| data.one_listed(id, &namespace)).collect())
    }

    fn event_by_number(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        self.answer(move |data, _| data.event_by_seq(seq, namespace))
    }

    fn counters_of(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        self.answer(move |data, _| of.into_iter().map(|id| data.counters(id)).collect())
    }

    fn open_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        self.answer(move |data, _| data.find_dead_letters(&filter, window).page)
    }

    fn dead_letter_groups(&self, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, StoreError>> {
        self.answer(move |data, _| data.dead_letter_groups(&namespace, limit))
    }

    fn open_dead_letter(&self, of: DeliveryId) -> BoxFuture<'_, Result<Option<DeadLetterId>, StoreError>> {
        self.answer(move |data, _| data.open_letter_of(of))
    }

    fn open_letters(
        &self,
        ids: Vec<DeadLetterId>,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'_, Result<Vec<(DeadLetterId, Delivery)>, StoreError>> {
        self.answer(move |data, _| data.open_letters(ids, &namespace))
    }

    fn whole_attempts(
        &self,
        of: DeliveryId,
        namespace: Option<Namespace>,
        limit: u32,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<Vec<WholeAttempt>, StoreError>> {
        self.answer(move |data, _| data.whole_attempts(of, &namespace, limit, max_bytes))
    }

    fn events_by_key(&self, namespaces: Vec<Namespace>, key: String) -> BoxFuture<'_, Result<Vec<(Namespace, EventId)>, StoreError>> {
        self.answer(move |data, _| data.events_by_key(namespaces, &key))
    }

    fn counted_namespaces(&self, after: Option<Namespace>) -> BoxFuture<'_, Result<Vec<Namespace>, StoreError>> {
        self.answer(move |data, _| data.counted_namespaces(after.as_ref()))
    }

    fn delivery_keys(
        &self,
        namespace: Option<Namespace>,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryKeyParts>, StoreError>> {
        self.answer(move |data, _| data.delivery_keys(namespace, after, limit))
    }

    fn event_total(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<u64, StoreError>> {
        self.answer(move |data, _| data.event_total(&namespace))
    }
}
