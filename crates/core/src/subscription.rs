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
    /// How requests differ from others to the endpoint.
    #[serde(default)]
    pub request: RequestForm,
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

/// How the requests of a subscription differ from others to its endpoint.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RequestForm {
    /// Their method.
    pub method: Verb,
    /// Extra headers, which come over those of the endpoint; secret ones come over these. See [`crate::endpoint::check_header`].
    pub headers: Vec<(String, String)>,
}

/// Methods that deliveries can have.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verb {
    /// `GET`.
    Get,
    /// `POST`, unless somebody says otherwise.
    #[default]
    Post,
    /// `PUT`.
    Put,
    /// `PATCH`.
    Patch,
    /// `DELETE`.
    Delete,
}

impl Verb {
    /// Every one.
    pub const ALL: [Verb; 5] = [Verb::Get, Verb::Post, Verb::Put, Verb::Patch, Verb::Delete];

    /// As it is sent.
    pub const fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Put => "PUT",
            Verb::Patch => "PATCH",
            Verb::Delete => "DELETE",
        }
    }

    /// Reads one, in upper or lower case.
    pub fn parse(text: &str) -> Option<Self> {
        Verb::ALL.into_iter().find(|verb| verb.as_str().eq_ignore_ascii_case(text))
    }
}

impl From<Verb> for http::Method {
    fn from(verb: Verb) -> Self {
        match verb {
            Verb::Get => http::Method::GET,
            Verb::Post => http::Method::POST,
            Verb::Put => http::Method::PUT,
            Verb::Patch => http::Method::PATCH,
            Verb::Delete => http::Method::DELETE,
        }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn verbs_are_read_as_they_are_sent() {
        for verb in Verb::ALL {
            assert_eq!(http::Method::from(verb).as_str(), verb.as_str());
            assert_eq!((Verb::parse(verb.as_str()), Verb::parse(&verb.as_str().to_lowercase())), (Some(verb), Some(verb)));
            assert_eq!(serde_json::to_string(&verb).expect("JSON"), format!("{:?}", verb.as_str()));
        }
        for other in ["", "HEAD", "CONNECT", "POST ", "P\u{17f}ST"] {
            assert_eq!(Verb::parse(other), None, "{other:?}");
        }
    }

    /// What an earlier release stored has none of the fields that came later.
    #[test]
    fn old_documents_are_read() {
        let old = r#"{"id":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001","namespace":"default","endpoint":"0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f002",
            "origin":"rpc","patterns":["*"],"labels":{},"body":"rpc","retry":RETRY,"created_at":1,"updated_at":1,"deleted_at":null}"#;
        let retry = serde_json::to_string(&RetryPolicy::tasks()).expect("JSON");
        let old: Subscription = serde_json::from_str(&old.replace("RETRY", &retry)).expect("a subscription");
        assert_eq!((&old.request, &old.body, old.active), (&RequestForm { method: Verb::Post, headers: Vec::new() }, &BodyForm::Rpc, true));
        let text = serde_json::to_string(&old).expect("JSON");
        assert_eq!(serde_json::from_str::<Subscription>(&text).expect("a subscription"), old);
    }
}
