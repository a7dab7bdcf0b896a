//! The verbs about what people look over and look for.

use crate::postgres::*;
use postrider_core::delivery::Delivery;
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EventId, EventSeq, SubscriptionId};

impl LookupStore for PgStore {
    fn page_of_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Page<DeliveryRow, DeliveryId>, StoreError>> {
        snapshot!(self.readers, conn => find_deliveries::page(conn, &filter, window))
    }

    fn deliveries_by_id(&self, ids: Vec<DeliveryId>, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>> {
        read!(self.readers, conn => delivery_rows::by_id(conn, &ids, namespace.as_ref()))
    }

    fn event_by_number(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        read!(self.readers, conn => reads::event_by_seq(conn, seq, namespace.as_ref()))
    }

    fn counters_of(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        read!(self.readers, conn => reads::counters(conn, &of))
    }

    fn open_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        snapshot!(self.readers, conn => find_dead_letters::page(conn, &filter, window))
    }

    fn dead_letter_groups(&self, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, StoreError>> {
        read!(self.readers, conn => lookup::dead_letter_groups(conn, namespace.as_ref(), limit))
    }

    fn open_dead_letter(&self, of: DeliveryId) -> BoxFuture<'_, Result<Option<DeadLetterId>, StoreError>> {
        read!(self.readers, conn => lookup::open_dead_letter(conn, of))
    }

    fn open_letters(
        &self,
        ids: Vec<DeadLetterId>,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'_, Result<Vec<(DeadLetterId, Delivery)>, StoreError>> {
        read!(self.readers, conn => lookup::open_letters(conn, &ids, namespace.as_ref()))
    }

    fn whole_attempts(
        &self,
        of: DeliveryId,
        namespace: Option<Namespace>,
        limit: u32,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<Vec<WholeAttempt>, StoreError>> {
        read!(self.readers, conn => lookup::whole_attempts(conn, of, namespace.as_ref(), (limit, max_bytes)))
    }

    fn events_by_key(&self, namespaces: Vec<Namespace>, key: String) -> BoxFuture<'_, Result<Vec<(Namespace, EventId)>, StoreError>> {
        read!(self.readers, conn => lookup::events_by_key(conn, &namespaces, &key))
    }

    fn counted_namespaces(&self, after: Option<Namespace>) -> BoxFuture<'_, Result<Vec<Namespace>, StoreError>> {
        read!(self.readers, conn => lookup::counted_namespaces(conn, after.as_ref()))
    }

    fn delivery_keys(
        &self,
        namespace: Option<Namespace>,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryKeyParts>, StoreError>> {
        snapshot!(self.readers, conn => lookup::delivery_keys(conn, namespace.as_ref(), after, limit))
    }

    fn event_total(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<u64, StoreError>> {
        read!(self.readers, conn => find_events::kept(conn, namespace.as_ref()))
    }
}
