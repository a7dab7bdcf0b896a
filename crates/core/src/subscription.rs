//! Subscriptions: which events an endpoint wants, in what form, and how hard to try.

use crate::event::Namespace;
use crate::filter::{Facts, LabelFilter, Match, TypePattern};
use crate::id::{EndpointId, SubscriptionId};
use crate::limit::RateLimit;
use crate::retry::RetryPolicy;
use crate::signal::is_reserved;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::time::Duration;

pub use crate::body::BodyForm;

/// What to send to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// For people; the Tasks API gives none.
    #[serde(default)]
    pub name: String,
    /// Where its deliveries go.
    pub endpoint: EndpointId,
    /// The API it was made through, which decides the defaults and what counts as success.
    pub origin: Origin,
    /// Whether events are routed to it. Deliveries that it has already go on either way.
    #[serde(default = "yes")]
    pub active: bool,
    /// Event types it wants, any of them; an empty list wants every type.
    pub patterns: Vec<TypePattern>,
    /// Labels that an event must carry; an empty filter wants every event.
    pub labels: LabelFilter,
    /// What the payload of an event must hold, if anything.
    #[serde(default)]
    pub matches: Option<Match>,
    /// What the body looks like.
    pub body: BodyForm,
    /// When to try again.
    pub retry: RetryPolicy,
    /// The deadline of an exchange, where it is not the endpoint's own.
    #[serde(default)]
    pub timeout: Option<Duration>,
    /// At most this often. A rate is the endpoint's: the strictest of its active subscriptions and its own holds for all that goes there.
    #[serde(default)]
    pub rate_limit: Option<RateLimit>,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set when it was deleted: nothing is routed to it any more, its history stays readable.
    pub deleted_at: Option<Timestamp>,
}

fn yes() -> bool {
    true
}

impl Subscription {
    /// Whether an event of this type, with these labels and this payload, is wanted. The payload is looked into only where [`Self::matches`]
    /// is set and everything else fits.
    pub fn wants(&self, event_type: &str, labels: &BTreeMap<String, String>, payload: &[u8]) -> bool {
        let payload_fits = |predicate: &Match| predicate.matches(&Facts::read(payload, [predicate]));
        self.may_want(event_type, labels) && self.matches.as_ref().is_none_or(payload_fits)
    }

    /// Whether it would want an event of this type with these labels, were it not for the payload. Of the type patterns only `*` matches an
    /// event without a type. Postrider's own events go to those that ask for them by name or by `delivery.*`: whoever wants all
    /// that is published has not asked to hear of each delivery of that.
    pub fn may_want(&self, event_type: &str, labels: &BTreeMap<String, String>) -> bool {
        let type_fits = if is_reserved(event_type) {
            self.patterns.iter().any(|p| !p.is_any() && p.matches(event_type))
        } else {
            self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(event_type))
        };
        self.active && type_fits && self.labels.matches(labels)
    }
}

/// The API a subscription was made through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// `/subscriptions`.
    Tasks,
    /// `/v1/delivery`.
    Items,
    /// `webhook.*Service`.
    Rpc,
}

impl Origin {
    /// Whether deliveries with their attempts are kept until somebody sets an age for them: the history of the Items API keeps its rows
    /// (its contract, section 7), and that of the RPC API, whose contract names no age, does the same. The logs of the Tasks API
    /// have an age of their own (its contract, section 4.6).
    pub fn keeps_rows(self) -> bool {
        self != Origin::Tasks
    }
}
