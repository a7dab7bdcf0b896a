//! Events that applications publish in their own transactions, through the database.

use super::{NewEvent, Published, StoreError};
use crate::event::Namespace;
use crate::ports::BoxFuture;
use bytes::Bytes;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// An event that an application has committed and that is not published yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OutboxEntry {
    /// Its number in the outbox; they are not committed in this order.
    pub id: i64,
    /// The tenant.
    pub namespace: Namespace,
    /// The type.
    pub event_type: Arc<str>,
    /// The bytes to deliver.
    pub payload: Bytes,
    /// For label filters.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub metadata: BTreeMap<String, String>,
    /// A second event with the same key is the first one.
    pub idempotency_key: Option<String>,
    /// How long its deliveries are worth making, from when it is relayed.
    pub ttl: Option<Duration>,
}

/// What is to become of an entry.
#[derive(Clone, Debug)]
pub enum Relay {
    /// It becomes this event.
    Publish(Box<NewEvent>),
    /// It cannot become one, for this reason. It stays, for people to see.
    Refuse(String),
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Relayed {
    /// It is an event, or its key was there already.
    Published(Published),
    /// It was put aside.
    Refused,
    /// Somebody else has relayed it.
    Gone,
}

/// The outbox of a database that applications share. Other stores have none.
pub trait OutboxStore: Send + Sync {
    /// Entries that are to be relayed, those that were made first first: up to `limit`, and no more once their payloads sum up to `max_bytes`.
    fn outbox(&self, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<OutboxEntry>, StoreError>> {
        _ = (limit, max_bytes);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Turns entries into events and takes them out of the outbox, in one piece; answers what became of each, in their order.
    fn relay(&self, entries: Vec<(i64, Relay)>) -> BoxFuture<'_, Result<Vec<Relayed>, StoreError>> {
        _ = entries;
        Box::pin(std::future::ready(Ok(Vec::new())))
    }

    /// Forgets entries that were put aside longer ago than this, up to `limit`; answers how many.
    fn forget_refused(&self, age: Duration, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        _ = (age, limit);
        Box::pin(std::future::ready(Ok(0)))
    }
}
