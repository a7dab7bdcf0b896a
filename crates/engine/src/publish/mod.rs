//! Publishing: an event is matched, stored with its deliveries in one piece with whatever else waits, handed over in memory, and only
//! then acknowledged.
//!
//! The publisher's own task never holds what must not be lost: if it goes away while its event is being stored, the deliveries are handed
//! over all the same.

mod handover;

pub(crate) use handover::{Handover, give_back, jobs, prepare};

use crate::config::Limits;
use crate::shared::Shared;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_core::event::Namespace;
use postrider_core::id::{EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FirstDelivery, NewEvent, Published, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Groups under way at the same time: while the store writes one, the next waits at its door.
pub(crate) const GROUPS: usize = 4;

/// Events in one group.
const GROUP: usize = 1_024;

/// An event to be published.
#[derive(Clone, Debug)]
pub struct Publish {
    /// The tenant.
    pub namespace: Namespace,
    /// The type; may be empty where the API allows it.
    pub event_type: Arc<str>,
    /// The bytes to deliver.
    pub payload: Bytes,
    /// For label filters.
    pub labels: BTreeMap<String, String>,
    /// For people.
    pub metadata: BTreeMap<String, String>,
    /// A second publish with the same key is answered with the first event.
    pub idempotency_key: Option<String>,
    /// How long its deliveries are worth making.
    pub ttl: Option<Duration>,
    /// Who gets it.
    pub to: To,
}

/// Who gets an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// Every subscription that wants it.
    Matching,
    /// This one, whatever it filters for; the caller has looked at that.
    Subscription(SubscriptionId),
}

/// What a publisher is told: the event and its deliveries are on disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Receipt {
    /// The event, or the first one with the same idempotency key.
    pub id: EventId,
    /// Its number.
    pub seq: EventSeq,
    /// Whether nothing was stored because the key was there already.
    pub duplicate: bool,
    /// Its first delivery, if it has one; of a duplicate as it stands now.
    pub first_delivery: Option<FirstDelivery>,
}

/// Why an event was not published. Nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server is going down.
    #[error("the server is shutting down: send it again to another one or in a moment")]
    Stopping,
    /// The subscription does not exist (any more).
    #[error("subscription not found")]
    UnknownSubscription,
    /// More is being published than can be stored.
    #[error("more is being published than the store can take: try again in a moment")]
    Busy,
}

struct Pending {
    new: NewEvent,
    handover: Handover,
    reply: oneshot::Sender<Result<Receipt, PublishError>>,
}

#[derive(Default)]
struct Gathering {
    pending: Vec<Pending>,
    /// Events and bytes that wait or are being stored.
    events: usize,
    bytes: usize,
}

/// The events that wait to be stored.
pub(crate) struct Publisher {
    gathering: Mutex<Gathering>,
    wake: Notify,
    idle: Notify,
    limits: Limits,
}

impl Publisher {
    pub(crate) fn new(limits: Limits) -> Self {
        Publisher { gathering: Mutex::default(), wake: Notify::new(), idle: Notify::new(), limits }
    }

    /// Answers the event back if there is no room for it.
    fn push(&self, pending: Pending) -> Option<Pending> {
        let mut gathering = self.gathering.lock();
        let bytes = pending.new.payload.len();
        if gathering.events >= self.limits.publishing || gathering.bytes + bytes > self.limits.publishing_bytes.max(bytes) {
            return Some(pending);
        }
        gathering.events += 1;
        gathering.bytes += bytes;
        gathering.pending.push(pending);
        let first = gathering.pending.len() == 1;
        drop(gathering);
        // Whoever takes the first one takes all: waking another for each would only make small groups.
        if first {
            self.wake.notify_one();
        }
        None
    }

    async fn take(&self) -> Vec<Pending> {
        loop {
            {
                let mut gathering = self.gathering.lock();
                if gathering.pending.len() > GROUP {
                    let rest = gathering.pending.split_off(GROUP);
                    self.wake.notify_one();
                    return std::mem::replace(&mut gathering.pending, rest);
                }
                if !gathering.pending.is_empty() {
                    return std::mem::take(&mut gathering.pending);
                }
            }
            self.wake.notified().await;
        }
    }

    fn done(&self, events: usize, bytes: usize) {
        let mut gathering = self.gathering.lock();
        gathering.events -= events;
        gathering.bytes -= bytes;
        if gathering.events == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Waits until nothing is being published any more.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.gathering.lock().events == 0 {
                return;
            }
            idle.await;
        }
    }
}

/// Publishes one event; answers when it is on disk.
pub(crate) async fn publish(shared: &Arc<Shared>, publish: Publish) -> Result<Receipt, PublishError> {
    if shared.is_stopping() {
        return Err(PublishError::Stopping);
    }
    let (new, handover) = prepare(shared, publish)?;
    let (reply, answer) = oneshot::channel();
    if let Some(refused) = shared.publisher.push(Pending { new, handover, reply }) {
        refused.handover.dropped(shared);
        return Err(PublishError::Busy);
    }
    answer.await.unwrap_or(Err(PublishError::Stopping))
}

/// Stores events for as long as the engine lives; several of these run side by side.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let group = shared.publisher.take().await;
        let (count, bytes) = (group.len(), group.iter().map(|p| p.new.payload.len()).sum());
        let mut events = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(count);
        for Pending { new, handover, reply } in group {
            events.push(new);
            waiting.push((handover, reply));
        }
        match shared.store.publish(events).await {
            Ok(results) => complete(&shared, waiting, results),
            Err(error) => refuse(&shared, waiting, &error),
        }
        shared.publisher.done(count, bytes);
    }
}

type Waiting = Vec<(Handover, oneshot::Sender<Result<Receipt, PublishError>>)>;

/// Hands the stored events over, then acknowledges them.
fn complete(shared: &Arc<Shared>, waiting: Waiting, results: Vec<Published>) {
    let mut jobs = Vec::with_capacity(waiting.len());
    let mut replies = Vec::with_capacity(waiting.len());
    for ((handover, reply), result) in waiting.into_iter().zip(results) {
        let receipt = match result {
            Published::Stored(seq) => {
                let receipt = Receipt { id: handover.event_id(), seq, duplicate: false, first_delivery: handover.first_delivery() };
                jobs.append(&mut handover.stored(shared, seq));
                receipt
            }
            Published::Duplicate { id, seq, first } => {
                handover.dropped(shared);
                Receipt { id, seq, duplicate: true, first_delivery: first }
            }
        };
        replies.push((reply, receipt));
    }
    shared.dispatcher.push(shared, jobs);
    for (reply, receipt) in replies {
        // A publisher that has gone away is told nothing; its event is on its way.
        _ = reply.send(Ok(receipt));
    }
}

fn refuse(shared: &Shared, waiting: Waiting, error: &StoreError) {
    tracing::error!(%error, cause = error.cause, events = waiting.len(), "events could not be stored: their publishers were told so");
    for (handover, reply) in waiting {
        handover.dropped(shared);
        _ = reply.send(Err(PublishError::Store(error.clone())));
    }
}
