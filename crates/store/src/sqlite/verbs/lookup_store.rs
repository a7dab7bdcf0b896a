//! The verbs about what people look over and look for.

use crate::sqlite::*;
use postrider_core::delivery::Delivery;

impl LookupStore for SqliteStore {
    fn page_of_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Page<DeliveryRow, DeliveryId>, StoreError>> {
        let steps = self.steps;
        Box::pin(self.readers.read(move |conn| deliveries::page(conn, &filter, window, steps)))
    }

    fn deliveries_by_id(&self, ids: Vec<DeliveryId>, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>> {
        Box::pin(self.readers.read(move |conn| deliveries::by_id(conn, &ids, namespace.as_ref())))
    }

    fn event_by_number(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::event(conn, seq, namespace.as_ref())))
    }

    fn counters_of(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>> {
        Box::pin(self.readers.read(move |conn| of.iter().map(|id| counters::read(conn, *id)).collect()))
    }

    fn open_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| find::page_of_dead_letters(conn, &filter, window)))
    }

    fn dead_letter_groups(&self, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::dead_letter_groups(conn, namespace.as_ref(), limit)))
    }

    fn open_dead_letter(&self, of: DeliveryId) -> BoxFuture<'_, Result<Option<DeadLetterId>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::open_dead_letter(conn, of)))
    }

    fn open_letters(
        &self,
        ids: Vec<DeadLetterId>,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'_, Result<Vec<(DeadLetterId, Delivery)>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::open_letters(conn, &ids, namespace.as_ref())))
    }

    fn whole_attempts(
        &self,
        of: DeliveryId,
        namespace: Option<Namespace>,
        limit: u32,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<Vec<WholeAttempt>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::whole_attempts(conn, of, namespace.as_ref(), (limit, max_bytes))))
    }

    fn events_by_key(&self, namespaces: Vec<Namespace>, key: String) -> BoxFuture<'_, Result<Vec<(Namespace, EventId)>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::events_by_key(conn, &namespaces, &key)))
    }

    fn counted_namespaces(&self, after: Option<Namespace>) -> BoxFuture<'_, Result<Vec<Namespace>, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::counted_namespaces(conn, after.as_ref())))
    }

    fn delivery_keys(
        &self,
        namespace: Option<Namespace>,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryKeyParts>, StoreError>> {
        let steps = self.steps;
        Box::pin(self.readers.read(move |conn| lookup::delivery_keys(conn, namespace.as_ref(), after, limit, steps)))
    }

    fn event_total(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<u64, StoreError>> {
        Box::pin(self.readers.read(move |conn| lookup::event_total(conn, namespace.as_ref())))
    }
}
