//! One received request, and whether it came before.

use super::behaviour::Reply;
use super::forward::Passed;
use super::signatures::Finding;
use bytes::Bytes;
use http::{HeaderMap, Method};
use postrider_core::time::Timestamp;
use std::collections::{HashSet, VecDeque};

/// A request as it came, with what was found out about it and what it gets.
#[derive(Clone, Debug)]
pub struct Received {
    /// 1 for the first request of this receiver.
    pub number: u64,
    /// When its body was complete.
    pub at: Timestamp,
    /// The method.
    pub method: Method,
    /// Path and query.
    pub path: String,
    /// All headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
    /// The signatures it carries.
    pub signatures: Vec<Finding>,
    /// Whether a request with the same id was answered with success before.
    pub duplicate: bool,
    /// What it gets.
    pub reply: Reply,
    /// What came of passing it on, where that was done.
    pub passed: Option<Passed>,
}

impl Received {
    /// A header's value, if it is there and is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        text(&self.headers, name)
    }

    /// The type of the event, under any of the names that Postrider and its contracts use.
    pub fn event_type(&self) -> Option<&str> {
        self.first(&["x-postrider-event", "x-event-type", "x-sparrow-event"])
    }

    /// The delivery (or the attempt, where an API identifies those).
    pub fn delivery_id(&self) -> Option<&str> {
        self.first(&["x-postrider-delivery-id", "x-sparrow-delivery-id"])
            .or_else(|| self.header("webhook-id").map(|id| id.strip_prefix("msg_").unwrap_or(id)))
    }

    /// The event.
    pub fn event_id(&self) -> Option<&str> {
        self.first(&["x-postrider-event-id", "x-sparrow-event-id"])
    }

    /// Which attempt of its delivery this is, as the sender says.
    pub fn attempt(&self) -> Option<u32> {
        self.header("x-postrider-attempt")?.parse().ok()
    }

    fn first(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|name| self.header(name))
    }
}

/// A header's value, if it is there and is text.
pub(super) fn text<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    headers.get(name)?.to_str().ok()
}

/// What tells two attempts of one delivery from two deliveries: the id that stays the same over retries.
pub(super) fn identity(headers: &HeaderMap) -> Option<&str> {
    text(headers, "webhook-id").or_else(|| text(headers, "idempotency-key"))
}

/// How many delivered ids are remembered, so that a receiver that runs for weeks stays small (about 10 MB).
const REMEMBERED: usize = 100_000;

/// The ids that were answered with success, the latest [`REMEMBERED`] of them.
#[derive(Debug, Default)]
pub(super) struct Delivered {
    ids: HashSet<Box<str>>,
    order: VecDeque<Box<str>>,
}

impl Delivered {
    /// Whether this id was answered with success before.
    pub(super) fn contains(&self, id: &str) -> bool {
        self.ids.contains(id)
    }

    /// Notes that it now was.
    pub(super) fn insert(&mut self, id: &str) {
        if !self.ids.insert(id.into()) {
            return;
        }
        self.order.push_back(id.into());
        if self.order.len() > REMEMBERED
            && let Some(oldest) = self.order.pop_front()
        {
            self.ids.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_memory_of_ids_is_bounded_and_forgets_the_oldest() {
        let mut delivered = Delivered::default();
        for n in 0..=REMEMBERED {
            delivered.insert(&format!("msg_{n}"));
        }
        delivered.insert("msg_5");
        assert!(!delivered.contains("msg_0"));
        assert!(delivered.contains("msg_1"));
        assert_eq!((delivered.ids.len(), delivered.order.len()), (REMEMBERED, REMEMBERED));
    }

    #[test]
    fn the_identity_is_the_id_that_survives_retries() {
        let mut headers = HeaderMap::new();
        assert_eq!(identity(&headers), None);
        headers.insert("idempotency-key", "k".parse().expect("a value"));
        assert_eq!(identity(&headers), Some("k"));
        headers.insert("webhook-id", "msg_1".parse().expect("a value"));
        assert_eq!(identity(&headers), Some("msg_1"));
    }
}
