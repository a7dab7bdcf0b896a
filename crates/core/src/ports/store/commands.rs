//! What the write verbs take and answer.

use crate::attempt::Attempt;
use crate::delivery::{Delivery, Progress, StateKind};
use crate::endpoint::Endpoint;
use crate::error::ErrorCode;
use crate::event::{Event, Namespace, SchemaCheck, Skipped};
use crate::event_type::EventType;
use crate::id::{DeadLetterId, DeliveryId, EndpointId, EventId, EventSeq, ScheduledId, SubscriptionId};
use crate::key::ApiKey;
use crate::schedule::Scheduled;
use crate::subscription::Subscription;
use crate::time::Timestamp;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Everything that is configured.
#[derive(Clone, Debug, Default)]
pub struct Configuration {
    /// Its version.
    pub version: i64,
    /// Endpoints, deleted ones included while they have a history.
    pub endpoints: Vec<Endpoint>,
    /// Subscriptions, deleted ones included while they have a history.
    pub subscriptions: Vec<Subscription>,
    /// Keys, revoked ones included.
    pub keys: Vec<ApiKey>,
    /// Event types of all registries.
    pub event_types: Vec<EventType>,
}

/// One change of the configuration. A batch of them is stored whole or not at all.
#[derive(Clone, Debug)]
pub enum ConfigChange {
    /// Put an endpoint.
    Endpoint(Endpoint),
    /// Put a subscription.
    Subscription(Subscription),
    /// Put a key.
    Key(ApiKey),
    /// Put an event type: into its registry, under its name.
    EventType(EventType),
    /// Remove an event type, if it is there. Nothing refers to it: events name their type whether or not it is registered.
    NoEventType {
        /// See [`EventType::namespace`].
        registry: Option<Namespace>,
        /// See [`EventType::name`].
        name: String,
    },
}

/// What became of a batch of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Configured {
    /// They are stored; the configuration has this version now.
    Stored {
        /// The version.
        version: i64,
    },
    /// Somebody else changed the configuration after the version from which they were made. Nothing is stored: read it again, and make them anew.
    Conflict,
}

/// An event to be stored with its deliveries.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// See [`Event::id`].
    pub id: EventId,
    /// See [`Event::namespace`].
    pub namespace: Namespace,
    /// See [`Event::event_type`].
    pub event_type: Arc<str>,
    /// See [`Event::payload`].
    pub payload: Bytes,
    /// See [`Event::labels`].
    pub labels: BTreeMap<String, String>,
    /// See [`Event::metadata`].
    pub metadata: BTreeMap<String, String>,
    /// See [`Event::idempotency_key`]; unique in its namespace.
    pub idempotency_key: Option<String>,
    /// See [`Event::ttl`].
    pub ttl: Option<Duration>,
    /// See [`Event::schema_check`].
    pub schema_check: SchemaCheck,
    /// See [`Event::created_at`].
    pub created_at: Timestamp,
    /// Its deliveries, or the first slice of them.
    pub deliveries: Vec<NewDelivery>,
    /// Set where more slices follow: they begin after this subscription.
    pub fan_out_after: Option<SubscriptionId>,
    /// Matching subscriptions that get no delivery.
    pub skipped: Vec<Skipped>,
}

/// A delivery to be stored. It is due at once.
#[derive(Clone, Copy, Debug)]
pub struct NewDelivery {
    /// Its id.
    pub id: DeliveryId,
    /// Why it exists.
    pub subscription: SubscriptionId,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// Whether the engine that stores it keeps it in memory.
    pub claimed: bool,
    /// Whether it is kept by [`PruneRequest::rows_before`](super::PruneRequest::rows_before): see [`Origin::keeps_rows`](crate::subscription::Origin::keeps_rows). All deliveries
    /// of a subscription say the same.
    pub keeps_rows: bool,
    /// When it stops being worth making.
    pub expires_at: Option<Timestamp>,
}

/// What became of a [`NewEvent`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Published {
    /// It was stored under this number.
    Stored(EventSeq),
    /// An event with the same idempotency key is there already; nothing was stored.
    Duplicate {
        /// The first event's id.
        id: EventId,
        /// Its number.
        seq: EventSeq,
        /// Its oldest delivery; `None` where it has none, or none any more.
        first: Option<FirstDelivery>,
    },
}

/// The oldest delivery of an event, as it stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FirstDelivery {
    /// The delivery.
    pub id: DeliveryId,
    /// Why it exists.
    pub subscription: SubscriptionId,
    /// How it stands.
    pub state: StateKind,
}

/// The next slice of a large fan-out.
#[derive(Clone, Debug)]
pub struct FanOutSlice {
    /// The event.
    pub event: EventSeq,
    /// The tenant.
    pub namespace: Namespace,
    /// When the deliveries come into being.
    pub created_at: Timestamp,
    /// Where it begins: behind this subscription, up to which the fan-out had come when the slice was made.
    pub from: SubscriptionId,
    /// The deliveries of this slice.
    pub deliveries: Vec<NewDelivery>,
    /// Set where more slices follow; `None` completes the fan-out.
    pub fan_out_after: Option<SubscriptionId>,
}

/// What became of a [`FanOutSlice`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sliced {
    /// Its deliveries are stored, and the fan-out goes on behind it.
    Stored,
    /// The fan-out is not where the slice begins, for somebody else has carried it on or completed it, or the event is not there. Nothing of the
    /// slice is stored: let it go.
    Gone,
}

/// An event whose fan-out is not complete.
#[derive(Clone, Debug)]
pub struct UnfinishedFanOut {
    /// The event.
    pub event: Arc<Event>,
    /// Slices go on after this subscription.
    pub after: SubscriptionId,
    /// See [`NewEvent::skipped`]: these get nothing of the event, whatever has become of them since.
    pub skipped: Vec<Skipped>,
}

/// What became of a claimed delivery.
#[derive(Clone, Debug)]
pub struct Settlement {
    /// The delivery.
    pub delivery: DeliveryId,
    /// The tenant it belongs to: that of its event.
    pub namespace: Namespace,
    /// Its subscription, for the counters.
    pub subscription: SubscriptionId,
    /// The state in the store until now. The engine knows it, for nobody else may change a claimed delivery.
    pub from: StateKind,
    /// What it is from now on.
    pub progress: Progress,
    /// The attempt that began or ended. One without outcome is recorded as under way; the same attempt may come again with its outcome.
    pub attempt: Option<Attempt>,
    /// Whether that attempt has been recorded as under way before.
    pub attempt_recorded: bool,
    /// Whether the engine keeps it in memory. A resting delivery is always let go.
    pub keep_claim: bool,
    /// The dead letter to open, where the delivery ends in one. An open one that a replay kept is closed as retried in the same moment.
    pub dead_letter: Option<NewDeadLetter>,
    /// An event that the outcome makes. It is stored with it, in one piece, and not at all where the settlement is fenced. Its deliveries are
    /// unclaimed, and it has no idempotency key.
    pub follow_up: Option<Box<NewEvent>>,
}

impl Settlement {
    /// Whether the delivery's dead letter that a replay kept open is done with: the delivery succeeded, or has a new one.
    pub fn closes_dead_letter(&self) -> bool {
        self.dead_letter.is_some() || self.progress.state.kind() == StateKind::Succeeded
    }

    /// When it came to that: when the new dead letter came into being, or else when the attempt ended or began. `None` without either.
    pub fn at(&self) -> Option<Timestamp> {
        let attempt = self.attempt.as_ref();
        let ended = attempt.map(|attempt| attempt.outcome.as_ref().map_or(attempt.started_at, |outcome| outcome.finished_at));
        self.dead_letter.as_ref().map(|new| new.at).or(ended)
    }
}

/// A dead letter to be opened. Its delivery and attempts are those of the settlement.
#[derive(Clone, Debug)]
pub struct NewDeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// See [`DeadLetter::code`](crate::deadletter::DeadLetter::code).
    pub code: ErrorCode,
    /// See [`DeadLetter::message`](crate::deadletter::DeadLetter::message).
    pub message: String,
    /// See [`DeadLetter::failed_at`](crate::deadletter::DeadLetter::failed_at).
    pub at: Timestamp,
}

/// What became of a [`Settlement`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settled {
    /// It is stored.
    Stored,
    /// It is stored, but for this: somebody wanted the delivery [called off](super::Store::cancel), and instead of waiting it has ended as
    /// [`Settlement::called_off`] says. Let it go.
    CalledOff,
    /// The delivery is not, or no longer, claimed by this engine in that state. Nothing was stored; let it go.
    Fenced,
}

/// Asks for due deliveries of an endpoint.
#[derive(Clone, Copy, Debug)]
pub struct ClaimRequest {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// Only deliveries due by then.
    pub due_by: Timestamp,
    /// At most this many.
    pub limit: u32,
    /// Stop once the payloads sum up to this; at least one delivery is claimed all the same.
    pub max_bytes: u64,
}

/// Claimed deliveries of an endpoint.
#[derive(Clone, Debug)]
pub struct ClaimBatch {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// The deliveries, oldest due first.
    pub deliveries: Vec<Claimed>,
    /// When the first one that was left is due; `None` if none is left.
    pub next_due: Option<Timestamp>,
}

/// A delivery that this engine now has in memory.
#[derive(Clone, Debug)]
pub struct Claimed {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event.
    pub event: Arc<Event>,
    /// The attempt recorded as under way, where a dead engine left one.
    pub open_attempt: Option<Attempt>,
}

/// Unclaimed deliveries of an endpoint.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backlog {
    /// The endpoint.
    pub endpoint: EndpointId,
    /// When the first one is due.
    pub first_due: Timestamp,
}

/// Makes an ended delivery again.
#[derive(Clone, Copy, Debug)]
pub struct Replay {
    /// What to make again.
    pub target: ReplayTarget,
    /// Whether the delivery's open dead letter stays open until the delivery rests again, for a [`ReplayTarget::Delivery`]. A success closes
    /// it then, as retried; a new dead letter takes its place; however else the delivery ends, it stays.
    pub keep_dead_letter: bool,
    /// Whether the engine keeps it in memory.
    pub claim: bool,
    /// When.
    pub at: Timestamp,
}

/// What a [`Replay`] makes again.
#[derive(Clone, Copy, Debug)]
pub enum ReplayTarget {
    /// The same delivery goes back to pending. Its open dead letter is marked as retried, at once or at the end: see
    /// [`Replay::keep_dead_letter`]. One that is to be closed at once is closed even where the delivery is not resting.
    Delivery(DeliveryId),
    /// A new delivery of the same event and subscription; the dead letter is marked as retried. Where its delivery was replayed and is not
    /// resting, both go on.
    DeadLetterAsNew {
        /// The dead letter.
        dead_letter: DeadLetterId,
        /// The new delivery's id.
        new: DeliveryId,
    },
}

/// What became of a [`Replay`].
#[derive(Clone, Debug)]
pub enum Replayed {
    /// It is pending, and in the index of due deliveries.
    Queued(Requeued),
    /// It is pending, and handed over.
    Claimed(Box<Claimed>),
    /// There is no such delivery or dead letter.
    NotFound,
    /// The delivery is not resting.
    NotResting(StateKind),
    /// The dead letter was dealt with before: retried as this delivery, or dismissed (`None`).
    AlreadyClosed(Option<DeliveryId>),
}

/// A delivery that is pending again, and that nobody has in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Requeued {
    /// The delivery.
    pub delivery: DeliveryId,
    /// Where it goes.
    pub endpoint: EndpointId,
    /// When it is due.
    pub due_at: Timestamp,
}

impl Replayed {
    /// The delivery that is pending again, if there is one.
    pub fn delivery(&self) -> Option<DeliveryId> {
        match self {
            Replayed::Queued(again) => Some(again.delivery),
            Replayed::Claimed(claimed) => Some(claimed.delivery.id),
            Replayed::NotFound | Replayed::NotResting(_) | Replayed::AlreadyClosed(_) => None,
        }
    }
}

/// Due occurrences.
#[derive(Clone, Debug, Default)]
pub struct DueScheduled {
    /// The occurrences, oldest first.
    pub due: Vec<Scheduled>,
    /// When the first pending one after them is due.
    pub next_due: Option<Timestamp>,
}

/// Turns a due occurrence into an event.
#[derive(Clone, Debug)]
pub struct Firing {
    /// The occurrence.
    pub id: ScheduledId,
    /// The event to publish; `None` where its subscription is gone: the occurrence fails.
    pub event: Option<NewEvent>,
    /// The next occurrence of its series.
    pub next: Option<Scheduled>,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`Firing`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fired {
    /// Its event was stored under this number.
    Stored(EventSeq),
    /// It is marked as failed.
    Failed,
    /// It is gone or no longer pending; nothing was stored.
    Gone,
}
