//! Publishing: an event is matched, stored with its deliveries in one piece with whatever else waits, handed over in memory, and only
//! then acknowledged.
//!
//! The publisher's own task never holds what must not be lost: if it goes away while its event is being stored, the deliveries are handed
//! over all the same.

mod gathering;
mod handover;

pub(crate) use gathering::Publisher;
pub(crate) use handover::{Handover, give_back, jobs, plan, prepare};

use crate::series::Part;
use crate::shared::Shared;
use bytes::Bytes;
use gathering::Pending;
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::id::{EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FirstDelivery, Published, StoreError, StoreErrorKind};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::oneshot;

/// Groups under way at the same time: while the store writes one, the next waits at its door.
pub(crate) const GROUPS: usize = 4;

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
    /// What the check of its payload said, where somebody made one: see [`Engine::check`](crate::Engine::check).
    pub schema_check: SchemaCheck,
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
    /// The server went down while the event was being stored, or lost sight of its database, and nobody saw what came of that.
    #[error("it is not known whether the event is stored: send it again, with the same idempotency key if it has one")]
    Unknown,
    /// The subscription does not exist (any more).
    #[error("subscription not found")]
    UnknownSubscription,
    /// More is being published than can be stored.
    #[error("more is being published than the store can take: try again in a moment")]
    Busy,
}

/// Takes nothing more, and tells those whose events no group has taken yet that nothing of them is stored. Groups under way go on.
pub(crate) fn close(shared: &Shared) {
    for Pending { handover, reply, .. } in shared.publisher.close() {
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
    if let Err((refused, why)) = shared.publisher.push(Pending { new, handover, reply, with_next: false }) {
        refused.handover.dropped(shared);
        return Err(why);
    }
    // Its group was cut off in the store's hands.
    answer.await.unwrap_or(Err(PublishError::Unknown))
}

/// Publishes events in one piece; answers when all of them are on disk, or that none of them is.
pub(crate) async fn publish_all(shared: &Arc<Shared>, events: Vec<Publish>) -> Result<Vec<Receipt>, PublishError> {
    if shared.is_stopping() {
        return Err(PublishError::Stopping);
    }
    if shared.publisher.is_full(events.iter().map(|event| event.payload.len()).sum()) {
        return Err(PublishError::Busy);
    }
    let count = events.len();
    let (mut batch, mut answers) = (Vec::with_capacity(count), Vec::with_capacity(count));
    for (at, event) in events.into_iter().enumerate() {
        match prepare(shared, event) {
            Ok((new, handover)) => {
                let (reply, answer) = oneshot::channel();
                batch.push(Pending { new, handover, reply, with_next: at + 1 < count });
                answers.push(answer);
            }
            Err(why) => return Err(refused(shared, batch, why)),
        }
    }
    if batch.is_empty() {
        return Ok(Vec::new());
    }
    if let Err((batch, why)) = shared.publisher.push_all(batch) {
        return Err(refused(shared, batch, why));
    }
    let mut receipts = Vec::with_capacity(count);
    for answer in answers {
        receipts.push(answer.await.unwrap_or(Err(PublishError::Unknown))?);
    }
    Ok(receipts)
}

fn refused(shared: &Shared, batch: Vec<Pending>, why: PublishError) -> PublishError {
    batch.into_iter().for_each(|pending| pending.handover.dropped(shared));
    why
}

/// Stores events until the publisher is closed; several of these run side by side.
pub(crate) async fn run(shared: Arc<Shared>) {
    while let Some(group) = shared.publisher.take().await {
        let (count, bytes) = (group.len(), group.iter().map(Pending::cost).sum());
        let mut events = Vec::with_capacity(count);
        let mut waiting = Vec::with_capacity(count);
        for Pending { new, handover, reply, .. } in group {
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
    let mut part = Part::default();
    for ((handover, reply), result) in waiting.into_iter().zip(results) {
        let receipt = match result {
            Published::Stored(seq) => {
                handover.count(&mut part);
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
    shared.series.add(shared.now(), part);
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
    if error.kind == StoreErrorKind::OverBudget {
        shared.make_room();
    } else {
        tracing::error!(%error, cause = error.cause, events = waiting.len(), "events could not be stored: their publishers were told so");
    }
    let why = match error.kind {
        StoreErrorKind::Unknown => PublishError::Unknown,
        _ => PublishError::Store(error.clone()),
    };
    for (handover, reply) in waiting {
        handover.dropped(shared);
        _ = reply.send(Err(why.clone()));
    }
}
