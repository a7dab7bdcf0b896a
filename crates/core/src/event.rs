//! Events: facts that happened, stored once, never changed.

use crate::id::{EventId, EventSeq, SubscriptionId};
use crate::time::Timestamp;
use bytes::Bytes;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

/// Longest event type and idempotency key, in bytes; both go into indexes and headers.
pub const MAX_NAME_BYTES: usize = 255;

/// A tenant: `[A-Za-z0-9._-]{1,64}`; it exists by being used.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Namespace(Arc<str>);

impl Namespace {
    /// Checks and wraps a name.
    pub fn new(name: &str) -> Result<Self, BadName> {
        let allowed = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
        if (1..=64).contains(&name.len()) && name.bytes().all(allowed) {
            Ok(Namespace(name.into()))
        } else {
            Err(BadName("a namespace is 1 to 64 characters of A-Z a-z 0-9 . _ -"))
        }
    }

    /// The namespace `default`, where the Tasks API works unless the key says otherwise.
    pub fn default_namespace() -> Self {
        Namespace("default".into())
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for Namespace {
    type Error = BadName;
    fn try_from(name: String) -> Result<Self, BadName> {
        Namespace::new(&name)
    }
}

impl From<Namespace> for String {
    fn from(n: Namespace) -> String {
        n.0.as_ref().to_owned()
    }
}

impl fmt::Display for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Namespace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.0, f)
    }
}

/// A name that breaks its rule; says the rule.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadName(pub &'static str);

/// Checks an event type: 1 to 255 bytes of visible ASCII, so that it fits a header and an index.
pub fn check_event_type(name: &str) -> Result<(), BadName> {
    if (1..=MAX_NAME_BYTES).contains(&name.len()) && name.bytes().all(|b| b.is_ascii_graphic()) {
        Ok(())
    } else {
        Err(BadName("an event type is 1 to 255 visible ASCII characters without spaces"))
    }
}

/// An event as it is stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// Its place in the store.
    pub seq: EventSeq,
    /// Its public id.
    pub id: EventId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// What kind of fact it is, such as `order.created`; empty where a Tasks sender named none.
    pub event_type: Arc<str>,
    /// The accepted bytes, never re-serialised (promise 5).
    pub payload: Bytes,
    /// For label filters.
    pub labels: BTreeMap<String, String>,
    /// For people; never matched on.
    pub metadata: BTreeMap<String, String>,
    /// The publisher's own key: a second publish with the same one is answered with this event.
    pub idempotency_key: Option<String>,
    /// How long its deliveries are worth making.
    pub ttl: Option<Duration>,
    /// What the check of its payload against its type's schema said.
    pub schema_check: SchemaCheck,
    /// When it was accepted.
    pub created_at: Timestamp,
}

/// What the check of a payload against the schema of its event's type said when the event came. A failed one is told, and the event goes its
/// way all the same.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SchemaCheck {
    /// There was no schema. Counts as valid.
    #[default]
    Unchecked,
    /// It is valid.
    Passed,
    /// It is not.
    Failed,
}

impl SchemaCheck {
    /// Whether nothing is known against the payload.
    pub fn is_valid(self) -> bool {
        self != SchemaCheck::Failed
    }
}

/// Why a subscription that matched an event got no delivery (promise 8).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Skipped {
    /// The subscription that matched.
    pub subscription: SubscriptionId,
    /// Why nothing is sent to it.
    pub reason: SkipReason,
}

/// Reasons for [`Skipped`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SkipReason {
    /// The endpoint was paused.
    EndpointPaused,
    /// The endpoint was gone.
    EndpointGone,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn namespaces_follow_the_rule() {
        for good in ["default", "a", "A.b_c-9", &"x".repeat(64)] {
            assert!(Namespace::new(good).is_ok(), "{good}");
        }
        for bad in ["", "a b", "ä", "a/b", &"x".repeat(65)] {
            assert!(Namespace::new(bad).is_err(), "{bad}");
        }
        assert!(serde_json::from_str::<Namespace>("\"a/b\"").is_err());
    }

    #[test]
    fn event_types_fit_a_header() {
        assert!(check_event_type("order.created").is_ok());
        for bad in ["", "a b", "a\r\nX: y", "ü", &"x".repeat(256)] {
            assert!(check_event_type(bad).is_err(), "{bad}");
        }
    }
}
