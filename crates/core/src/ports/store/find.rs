//! Lists over everything that a tenant has, narrowed by filters, each with the number of all that match.
//!
//! A list and its total are of one moment. Totals are kept with every write and never counted, except where a filter says so.

use super::Page;
use crate::attempt::{Attempt, AttemptError, Phases};
use crate::deadletter::DeadLetter;
use crate::delivery::Delivery;
use crate::error::ErrorCode;
use crate::event::{Event, Namespace, Skipped};
use crate::id::{AttemptId, DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId, floor_at};
use crate::time::Timestamp;
use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// How far apart an attempt's id and the beginning that it notes may be, or a delivery's id and when it came into being: both are taken from
/// the clock, but not in one instant. Where a clock was set back by more, attempts and deliveries of that time are not found by it.
pub const ID_SLACK: Duration = Duration::from_secs(1);

/// Which part of a list to read.
#[derive(Clone, Copy, Debug)]
pub struct Window<P> {
    /// Only what comes after this place, whether or not it is still taken; `None` begins at the top.
    pub after: Option<P>,
    /// Leave out this many items of that. Each is walked over, so that the caller sets a bound (10,000 cost a few milliseconds).
    pub skip: u32,
    /// At most this many items.
    pub limit: u32,
}

impl<P> Window<P> {
    /// The first items.
    pub fn first(limit: u32) -> Self {
        Window { after: None, skip: 0, limit }
    }
}

/// A piece of a list, and how many items the whole list has.
#[derive(Clone, Debug)]
pub struct Found<T, P> {
    /// The piece.
    pub page: Page<T, P>,
    /// How many items match the filter, whatever the page.
    pub total: u64,
}

/// Which attempts to list. `None` narrows nothing.
///
/// With `event` the event's deliveries are walked, as many as its fan-out made. With a bound in time matches are counted in an index
/// (about 20 ms for each million of them). All else costs what the page costs.
#[derive(Clone, Debug, Default)]
pub struct AttemptFilter {
    /// Of this tenant; `None` is the master view.
    pub namespace: Option<Namespace>,
    /// For this subscription.
    pub subscription: Option<SubscriptionId>,
    /// To this endpoint.
    pub endpoint: Option<EndpointId>,
    /// With this outcome.
    pub outcome: OutcomeFilter,
    /// For this event.
    pub event: Option<EventSeq>,
    /// Begun at this time or later.
    pub began_from: Option<Timestamp>,
    /// Begun before this time.
    pub began_before: Option<Timestamp>,
}

/// Which outcome attempts must have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OutcomeFilter {
    /// Whatever it is.
    #[default]
    Any,
    /// None yet.
    UnderWay,
    /// Success.
    Succeeded,
    /// Anything but success.
    Failed,
    /// This failure.
    Code(ErrorCode),
}

impl OutcomeFilter {
    /// Whether attempts that are under way are wanted.
    pub fn wants_under_way(self) -> bool {
        matches!(self, OutcomeFilter::Any | OutcomeFilter::UnderWay)
    }

    /// Whether attempts that ended like this are wanted: with this error, or without one.
    pub fn wants_ended(self, error: Option<ErrorCode>) -> bool {
        match self {
            OutcomeFilter::Any => true,
            OutcomeFilter::UnderWay => false,
            OutcomeFilter::Succeeded => error.is_none(),
            OutcomeFilter::Failed => error.is_some(),
            OutcomeFilter::Code(code) => error == Some(code),
        }
    }
}

impl AttemptFilter {
    /// Whether it has bounds in time.
    pub fn is_timed(&self) -> bool {
        self.began_from.is_some() || self.began_before.is_some()
    }

    /// Whether an attempt that began then is within the bounds.
    pub fn began_within(&self, at: Timestamp) -> bool {
        self.began_from.is_none_or(|from| at >= from) && self.began_before.is_none_or(|before| at < before)
    }

    /// The least id that an attempt within the bounds can have, and the least that it cannot have any more.
    pub fn ids(&self) -> (Uuid, Uuid) {
        let from = self.began_from.map_or(Uuid::nil(), |at| floor_at(at.before(ID_SLACK)));
        let before = self.began_before.map_or(Uuid::max(), |at| floor_at(at.after(ID_SLACK)));
        (from, before)
    }
}

/// An attempt in a list: without the bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptRow {
    /// See [`Attempt::id`]; the list is in descending order of it, which is the order in which attempts began.
    pub id: AttemptId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// The event it was made for.
    pub event: EventSeq,
    /// See [`Attempt::delivery`].
    pub delivery: DeliveryId,
    /// See [`Attempt::subscription`].
    pub subscription: SubscriptionId,
    /// See [`Attempt::endpoint`].
    pub endpoint: EndpointId,
    /// See [`Attempt::number`].
    pub number: u32,
    /// See [`Attempt::target_url`].
    pub target_url: Arc<str>,
    /// See [`Attempt::started_at`].
    pub started_at: Timestamp,
    /// How it ended; `None` while it is under way.
    pub end: Option<AttemptEnd>,
}

/// Whose last attempts are asked for.
#[derive(Clone, Debug)]
pub enum LastOf {
    /// Of those that went to each of these endpoints.
    Endpoints(Vec<EndpointId>),
    /// Of those that were made for each of these subscriptions, wherever they went.
    Subscriptions(Vec<SubscriptionId>),
}

/// How an attempt in a list ended: an [`Outcome`](crate::attempt::Outcome) without the bodies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AttemptEnd {
    /// When.
    pub finished_at: Timestamp,
    /// The status that the receiver answered, if it answered.
    pub http_status: Option<u16>,
    /// What went wrong; `None` for a success.
    pub error: Option<AttemptError>,
    /// How long each part took.
    pub phases: Phases,
}

/// One attempt with everything that belongs to it.
#[derive(Clone, Debug)]
pub struct AttemptDetail {
    /// The attempt.
    pub attempt: Attempt,
    /// Whether retention took its bodies: then the outcome has none, whatever was sent and received.
    pub bodies_removed: bool,
    /// The delivery it was made for.
    pub delivery: Delivery,
    /// That delivery's event.
    pub event: Arc<Event>,
}

/// Which events to list. `None` narrows nothing.
///
/// With a type or a bound in time matches are counted in an index (about 20 ms for each million of them), where they are counted. With labels
/// those events are looked at, for the page and for the number, that have the label of them which the fewest have (about a microsecond each
/// where nothing else narrows, and some more for each further label or filter). With `schema_valid` the invalid ones are counted, in an index
/// of just these; where the valid ones are wanted, those that come between are passed over (about a microsecond each).
#[derive(Clone, Debug, Default)]
pub struct EventFilter {
    /// Of this tenant; `None` is the master view.
    pub namespace: Option<Namespace>,
    /// Of exactly this type.
    pub event_type: Option<String>,
    /// With all of these labels, each with exactly this value; they may have others besides.
    pub labels: BTreeMap<String, String>,
    /// Valid or not: see [`SchemaCheck::is_valid`](crate::event::SchemaCheck::is_valid).
    pub schema_valid: Option<bool>,
    /// Made at this time or later.
    pub created_from: Option<Timestamp>,
    /// Made before this time.
    pub created_before: Option<Timestamp>,
}

impl EventFilter {
    /// Whether an event made then is within the bounds.
    pub fn created_within(&self, at: Timestamp) -> bool {
        self.created_from.is_none_or(|from| at >= from) && self.created_before.is_none_or(|before| at < before)
    }
}

/// An event's place in a list. The order is that of the list: the newest first, of one instant the greater number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EventPlace {
    /// When it was made.
    pub created_at: Timestamp,
    /// Its number.
    pub seq: EventSeq,
}

impl Ord for EventPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.created_at, other.seq).cmp(&(self.created_at, self.seq))
    }
}

impl PartialOrd for EventPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An event in a list.
#[derive(Clone, Debug)]
pub struct EventRow {
    /// The event.
    pub event: Arc<Event>,
    /// Whether it has deliveries.
    pub has_deliveries: bool,
    /// Matching subscriptions that got no delivery.
    pub skipped: Vec<Skipped>,
    /// Whether a slice of its fan-out is still to come.
    pub fan_out_pending: bool,
}

/// Which open dead letters to list. `None` narrows nothing. With a bound in time matches are counted in an index, where they are counted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this tenant; `None` is the master view.
    pub namespace: Option<Namespace>,
    /// Of this subscription.
    pub subscription: Option<SubscriptionId>,
    /// Of deliveries to this endpoint.
    pub endpoint: Option<EndpointId>,
    /// With this reason.
    pub code: Option<ErrorCode>,
    /// Failed at this time or later.
    pub failed_from: Option<Timestamp>,
    /// Failed before this time.
    pub failed_before: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Whether a dead letter of a delivery that ended then is within the bounds.
    pub fn failed_within(&self, at: Timestamp) -> bool {
        self.failed_from.is_none_or(|from| at >= from) && self.failed_before.is_none_or(|before| at < before)
    }
}

/// A dead letter in a list: without the event's payload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetterRow {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// The subscription of its delivery.
    pub subscription: SubscriptionId,
    /// Where its delivery went.
    pub endpoint: EndpointId,
    /// Its delivery's event.
    pub event: EventSeq,
    /// That event's id.
    pub event_id: EventId,
    /// That event's type.
    pub event_type: Arc<str>,
    /// The attempt after which the delivery ended; `None` where there was none or retention took it.
    pub last_attempt: Option<AttemptId>,
}
