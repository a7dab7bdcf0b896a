//! Subscriptions: which events an endpoint wants, in what form, and how hard to try.

use crate::event::Namespace;
use crate::filter::{LabelFilter, TypePattern};
use crate::id::{EndpointId, SubscriptionId};
use crate::retry::RetryPolicy;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// What to send to an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Subscription {
    /// Its id.
    pub id: SubscriptionId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// Where its deliveries go.
    pub endpoint: EndpointId,
    /// The API it was made through, which decides the defaults and what counts as success.
    pub origin: Origin,
    /// Event types it wants, any of them; an empty list wants every type.
    pub patterns: Vec<TypePattern>,
    /// Labels that an event must carry; an empty filter wants every event.
    pub labels: LabelFilter,
    /// What the body looks like.
    pub body: BodyForm,
    /// When to try again.
    pub retry: RetryPolicy,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
    /// Set when it was deleted: nothing is routed to it any more, its history stays readable.
    pub deleted_at: Option<Timestamp>,
}

impl Subscription {
    /// Whether an event of this type with these labels is wanted. Of the type patterns only `*` matches an event without a type.
    pub fn wants(&self, event_type: &str, labels: &std::collections::BTreeMap<String, String>) -> bool {
        (self.patterns.is_empty() || self.patterns.iter().any(|p| p.matches(event_type))) && self.labels.matches(labels)
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

/// What a delivery's body looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum BodyForm {
    /// The accepted bytes and nothing else.
    Raw,
}
