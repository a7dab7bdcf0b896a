//! Reads for whoever looks over what there is, or looks for something with what is at hand of it. None of them counts anything.

use super::{Counters, DeadLetterFilter, DeadLetterPlace, DeadLetterRow, DeliveryFilter, DeliveryRow, EventRow, Page, StoreError, Window};
use crate::attempt::Attempt;
use crate::delivery::Delivery;
use crate::error::ErrorCode;
use crate::event::Namespace;
use crate::id::{DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use crate::ports::BoxFuture;

/// In how many namespaces [`LookupStore::events_by_key`] looks at the most.
pub const MAX_KEY_NAMESPACES: usize = 1_000;

/// How many deliveries [`LookupStore::delivery_keys`] answers at the most.
pub const MAX_DELIVERY_KEYS: u32 = 10_000;

/// The open dead letters of a tenant that went to one endpoint and have one reason.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterGroup {
    /// The tenant they belong to.
    pub namespace: Namespace,
    /// Where their deliveries went, for whichever subscription.
    pub endpoint: EndpointId,
    /// Why their deliveries ended.
    pub code: ErrorCode,
    /// How many there are; never none.
    pub open: u64,
}

/// An attempt with its bodies, as far as they are there and asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WholeAttempt {
    /// The attempt.
    pub attempt: Attempt,
    /// Whether retention took its bodies: then the outcome has none, whatever was sent and received.
    pub bodies_removed: bool,
    /// Whether it has bodies that are left out, for those of newer attempts are as much as was asked for: then the outcome has none either.
    pub bodies_left_out: bool,
}

/// A delivery, with what the key that its receiver sees is made of (see [`idempotency_key`](crate::id::idempotency_key)).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeliveryKeyParts {
    /// The delivery.
    pub id: DeliveryId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// The subscription it is made for.
    pub subscription: SubscriptionId,
    /// Its event.
    pub event: EventSeq,
}

/// Finds what people look over and look for. What went to an [erased](crate::endpoint::Deletion::Erased) endpoint is hidden, as in every read.
pub trait LookupStore: Send + Sync + 'static {
    /// The page that [`Store::find_deliveries`](super::Store::find_deliveries) answers, without the number of all that match: nothing is
    /// counted, whatever the filter. See [`DeliveryFilter`] for what the page costs.
    fn page_of_deliveries(
        &self,
        filter: DeliveryFilter,
        window: Window<DeliveryId>,
    ) -> BoxFuture<'_, Result<Page<DeliveryRow, DeliveryId>, StoreError>>;

    /// These deliveries as a list shows them, of one namespace if given, in the order of the ids; those that are not there are left out. A few seeks
    /// for each.
    fn deliveries_by_id(&self, ids: Vec<DeliveryId>, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Vec<DeliveryRow>, StoreError>>;

    /// What [`Store::event_by_seq`](super::Store::event_by_seq) answers, for who looks at it: this waits with the lists, and keeps nothing waiting that
    /// an engine needs to go on. So do the next two.
    fn event_by_number(&self, seq: EventSeq, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<EventRow>, StoreError>>;

    /// What [`Store::counters`](super::Store::counters) answers.
    fn counters_of(&self, of: Vec<SubscriptionId>) -> BoxFuture<'_, Result<Vec<Counters>, StoreError>>;

    /// What [`Store::page_of_dead_letters`](super::Store::page_of_dead_letters) answers.
    fn open_dead_letters(
        &self,
        filter: DeadLetterFilter,
        window: Window<DeadLetterPlace>,
    ) -> BoxFuture<'_, Result<Page<DeadLetterRow, DeadLetterPlace>, StoreError>>;

    /// Open dead letters by tenant, endpoint and reason, of one namespace if given: the largest groups first, of equal ones by the namespace,
    /// the endpoint's id and the code's text; up to `limit`.
    ///
    /// The sums of kept numbers, one for each subscription, endpoint and reason that has open dead letters, however many these are (about two
    /// microseconds each). With a namespace also the kept counters of its subscriptions are looked at.
    fn dead_letter_groups(&self, namespace: Option<Namespace>, limit: u32) -> BoxFuture<'_, Result<Vec<DeadLetterGroup>, StoreError>>;

    /// The open dead letter of a delivery, if it has one. A seek.
    fn open_dead_letter(&self, of: DeliveryId) -> BoxFuture<'_, Result<Option<DeadLetterId>, StoreError>>;

    /// The deliveries of those of these dead letters that are open, of one namespace if given, in the order of the ids. No payload is read; a few
    /// seeks for each.
    fn open_letters(
        &self,
        ids: Vec<DeadLetterId>,
        namespace: Option<Namespace>,
    ) -> BoxFuture<'_, Result<Vec<(DeadLetterId, Delivery)>, StoreError>>;

    /// The newest attempts of a delivery, the newest first, and no more than `limit`; none where there is no such delivery, in this namespace if one
    /// is given. Once the bodies of newer ones sum up to `max_bytes` those of the others are left out. The payload of the event is not read.
    fn whole_attempts(
        &self,
        of: DeliveryId,
        namespace: Option<Namespace>,
        limit: u32,
        max_bytes: u64,
    ) -> BoxFuture<'_, Result<Vec<WholeAttempt>, StoreError>>;

    /// The events that publishers gave this idempotency key, in these namespaces, in their order; one that has none is left out. A seek for each
    /// namespace: behind the first [`MAX_KEY_NAMESPACES`] none is looked into.
    fn events_by_key(&self, namespaces: Vec<Namespace>, key: String) -> BoxFuture<'_, Result<Vec<(Namespace, EventId)>, StoreError>>;

    /// Namespaces of which something is counted, in an order of the store's own, after that one if it is given: all that have events, and others that
    /// have or had something. Up to [`MAX_KEY_NAMESPACES`]; fewer are the last ones. A seek for each.
    fn counted_namespaces(&self, after: Option<Namespace>) -> BoxFuture<'_, Result<Vec<Namespace>, StoreError>>;

    /// Deliveries in descending order of their ids, which is the newest first, after that one if it is given (whether or not it is there), of one
    /// namespace if given; up to `limit`, and no more than [`MAX_DELIVERY_KEYS`]. Fewer than that are the last ones. A few microseconds for each.
    fn delivery_keys(
        &self,
        namespace: Option<Namespace>,
        after: Option<DeliveryId>,
        limit: u32,
    ) -> BoxFuture<'_, Result<Vec<DeliveryKeyParts>, StoreError>>;

    /// How many events there are, of one namespace if given. Kept with every write, never counted; without a namespace the sum over them.
    fn event_total(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<u64, StoreError>>;
}
