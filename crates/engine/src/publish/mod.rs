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
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// Groups under way at the same time: while the store writes one, the next waits at its door.
pub(crate) const GROUPS: usize = 4;

/// Events and deliveries in one group: what the store writes in one piece while everybody else waits.
const GROUP: usize = 4_096;

/// What an event costs in memory besides its bytes, and each of its deliveries: they are in memory twice while they are stored.
const EVENT_OVERHEAD: usize = 512;
const DELIVERY_OVERHEAD: usize = 160;

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

/// Why an event was not published. Unless it says otherwise, nothing of it is stored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// The store could not take it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The server is going down.
    #[error("the server is shutting down: send it again to another one or in a moment")]
    Stopping,
    /// The server went down while the event was being stored, and nobody saw what came of that.
    #[error("the server shut down before it knew whether the event is stored: send it again, with the same idempotency key if it has one")]
    Unknown,
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
    pending: VecDeque<Pending>,
    /// Events and bytes that wait or are being stored.
    events: usize,
    bytes: usize,
    /// Nothing is taken any more.
    closed: bool,
}

impl Pending {
    /// What it counts against the bound of bytes.
    fn cost(&self) -> usize {
        let text = |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| name.len() + value.len() + 128).sum::<usize>();
        let texts = text(&self.new.labels) + text(&self.new.metadata);
        self.new.payload.len() + 2 * texts + EVENT_OVERHEAD + DELIVERY_OVERHEAD * self.new.deliveries.len()
    }

    /// What it counts against the size of a group.
    fn weight(&self) -> usize {
        1 + self.new.deliveries.len()
    }
}

impl Gathering {
    fn is_full(&self, bytes: usize, limits: &Limits) -> bool {
        // One event goes always, however large it is.
        self.events >= limits.publishing || (self.events > 0 && self.bytes + bytes > limits.publishing_bytes)
    }

    /// Takes as much as the store should write in one piece, at least one event.
    fn group(&mut self) -> Vec<Pending> {
        let mut weight = 0;
        let fits = self.pending.iter().take_while(|pending| {
            weight += pending.weight();
            weight <= GROUP
        });
        let count = fits.count().max(1).min(self.pending.len());
        self.pending.drain(..count).collect()
    }
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

    /// Whether there is no room for so many bytes at the moment.
    fn is_full(&self, bytes: usize) -> bool {
        self.gathering.lock().is_full(bytes, &self.limits)
    }

    /// Answers the event back if it is not taken, and why.
    fn push(&self, pending: Pending) -> Result<(), (Box<Pending>, PublishError)> {
        let bytes = pending.cost();
        let mut gathering = self.gathering.lock();
        if gathering.closed {
            return Err((Box::new(pending), PublishError::Stopping));
        }
        if gathering.is_full(bytes, &self.limits) {
            return Err((Box::new(pending), PublishError::Busy));
        }
        gathering.events += 1;
        gathering.bytes += bytes;
        gathering.pending.push_back(pending);
        let first = gathering.pending.len() == 1;
        drop(gathering);
        // Whoever takes the first one takes all: waking another for each would only make small groups.
        if first {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// `None` once it is closed and there is nothing left.
    async fn take(&self) -> Option<Vec<Pending>> {
        loop {
            // Before it is looked: so that closing is not overlooked.
            let woken = self.wake.notified();
            {
                let mut gathering = self.gathering.lock();
                if !gathering.pending.is_empty() {
                    let group = gathering.group();
                    if !gathering.pending.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(group);
                }
                if gathering.closed {
                    return None;
                }
            }
            woken.await;
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

/// Takes nothing more, and tells those whose events no group has taken yet that nothing of them is stored. Groups under way go on.
pub(crate) fn close(shared: &Shared) {
    let publisher = &shared.publisher;
    let left = {
        let mut gathering = publisher.gathering.lock();
        gathering.closed = true;
        std::mem::take(&mut gathering.pending)
    };
    publisher.wake.notify_waiters();
    publisher.done(left.len(), left.iter().map(Pending::cost).sum());
    for Pending { handover, reply, .. } in left {
        handover.dropped(shared);
        _ = reply.send(Err(PublishError::Stopping));
    }
}

/// Publishes one event; answers when it is on disk.
pub(crate) async fn publish(shared: &Arc<Shared>, publish: Publish) -> Result<Receipt, PublishError> {
    if shared.is_stopping() {
        return Err(PublishError::Stopping);
    }
    // Before anything is done for it: an overloaded server must not work for what it refuses.
    if shared.publisher.is_full(publish.payload.len()) {
        return Err(PublishError::Busy);
    }
    let (new, handover) = prepare(shared, publish)?;
    let (reply, answer) = oneshot::channel();
    if let Err((refused, why)) = shared.publisher.push(Pending { new, handover, reply }) {
        refused.handover.dropped(shared);
        return Err(why);
    }
    // Its group was cut off in the store's hands.
    answer.await.unwrap_or(Err(PublishError::Unknown))
}

/// Stores events until the publisher is closed; several of these run side by side.
pub(crate) async fn run(shared: Arc<Shared>) {
    while let Some(group) = shared.publisher.take().await {
        let (count, bytes) = (group.len(), group.iter().map(Pending::cost).sum());
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

/// Hands the stored events over and acknowledges them.
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
    let answer = |replies: Vec<(oneshot::Sender<_>, Receipt)>| {
        for (reply, receipt) in replies {
            // A publisher that has gone away is told nothing; its event is on its way.
            _ = reply.send(Ok(receipt));
        }
    };
    // What a thread wakes last runs first on it. Of an event that comes alone, that shall be its delivery.
    if replies.len() == 1 {
        answer(replies);
        shared.dispatcher.push(shared, jobs);
    } else {
        shared.dispatcher.push(shared, jobs);
        answer(replies);
    }
}

fn refuse(shared: &Shared, waiting: Waiting, error: &StoreError) {
    tracing::error!(%error, cause = error.cause, events = waiting.len(), "events could not be stored: their publishers were told so");
    for (handover, reply) in waiting {
        handover.dropped(shared);
        _ = reply.send(Err(PublishError::Store(error.clone())));
    }
}
