//! Deliveries that people want made again, or at once.

use crate::batches::{self, NoBatch};
use crate::shared::Shared;
use crate::{Engine, cut_off};
use postrider_core::delivery::{Delivery, StateKind};
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId};
use postrider_core::ports::{
    Batch, BatchEntries, DeliveryFilter, MAX_BATCH, News, Replay, ReplayTarget, Replayed, Retried, StoreError, Window,
};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Deliveries retried in one commit: some milliseconds of the writer's time, between which others come.
const RETRIES: usize = 100;

/// What became of a dead letter that was to be retried.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RetryDeadLetter {
    /// It goes on as this delivery.
    Queued(DeliveryId),
    /// There is no such dead letter.
    NotFound,
    /// It was dealt with before: retried as this delivery, or dismissed.
    AlreadyClosed(Option<DeliveryId>),
}

impl Engine {
    /// Retries a dead letter as a new delivery of the same event and subscription, with the same idempotency key.
    pub async fn retry_dead_letter(&self, id: DeadLetterId) -> Result<RetryDeadLetter, StoreError> {
        let new = DeliveryId::new(self.new_id());
        Ok(match self.replay(ReplayTarget::DeadLetterAsNew { dead_letter: id, new }, false).await? {
            Replayed::Queued(again) => RetryDeadLetter::Queued(again.delivery),
            Replayed::Claimed(claimed) => RetryDeadLetter::Queued(claimed.delivery.id),
            Replayed::AlreadyClosed(by) => RetryDeadLetter::AlreadyClosed(by),
            Replayed::NotFound | Replayed::NotResting(_) => RetryDeadLetter::NotFound,
        })
    }

    /// Makes an ended delivery again: same delivery, same key, a fresh budget of attempts. Its open dead letter is closed at once, or with
    /// `keep_dead_letter` when the delivery succeeds or fails anew.
    pub async fn replay_delivery(&self, id: DeliveryId, keep_dead_letter: bool) -> Result<Replayed, StoreError> {
        self.replay(ReplayTarget::Delivery(id), keep_dead_letter).await
    }

    /// Makes the next attempt of a delivery that is being retried at once, with a fresh budget of attempts (Items contract, section 7: what
    /// fails after a replay runs a full new ladder). Nothing happens to any other, nor to one whose attempt has ended this moment: what follows is on its way.
    pub async fn hasten(&self, id: DeliveryId) -> Result<(), StoreError> {
        let shared = Arc::clone(&self.shared);
        // As with a replay.
        let hastening = tokio::spawn(async move {
            let now = shared.now();
            if shared.dispatcher.hasten(id, now) {
                return Ok(());
            }
            match shared.store.hasten(id, now).await? {
                Some(endpoint) => shared.dispatcher.note_stored([endpoint], now),
                None if shared.store.is_shared() => hasten_elsewhere(&shared, id).await?,
                None => {}
            }
            Ok(())
        });
        hastening.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
    }

    /// Has deliveries tried again at once, each with a fresh budget of attempts and no time to live: those that ended are made again, those
    /// that wait are due now. With `force` also those that succeeded. Answers what became of each, in their order.
    pub async fn retry_deliveries(&self, ids: Vec<DeliveryId>, force: bool) -> Result<Vec<Retried>, StoreError> {
        let shared = Arc::clone(&self.shared);
        // As with a replay.
        let retrying = tokio::spawn(async move {
            let mut answers = Vec::with_capacity(ids.len());
            for some in ids.chunks(RETRIES) {
                let stored = shared.store.retry(some.to_vec(), force, shared.now()).await?;
                go_on(&shared, &stored).await?;
                answers.extend(stored);
            }
            Ok(answers)
        });
        retrying.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
    }

    /// Makes a batch of all deliveries that match, for [`Engine::start_batch`]; `None` where none does. It belongs to the filter's namespace,
    /// and does not try again what has succeeded by then.
    pub async fn prepare_retry(&self, filter: DeliveryFilter) -> Result<Option<Batch>, NoBatch> {
        let shared = Arc::clone(&self.shared);
        batches::to_its_end(async move {
            let namespace = filter.namespace.clone();
            let found = shared.store.delivery_ids(filter, Window::first(MAX_BATCH)).await?;
            let mut ids = found.page.items;
            // The oldest first.
            ids.reverse();
            batches::prepare(&shared, namespace, BatchEntries::Deliveries(ids), found.total).await
        })
        .await
    }

    /// The same of exactly these, at most [`MAX_BATCH`] and in this order, all of that namespace if one is given. `None` where there are none.
    pub async fn prepare_retry_of(&self, namespace: Option<Namespace>, ids: Vec<DeliveryId>) -> Result<Option<Batch>, NoBatch> {
        let shared = Arc::clone(&self.shared);
        batches::to_its_end(async move {
            let total = ids.len() as u64;
            batches::prepare(&shared, namespace, BatchEntries::Deliveries(ids), total).await
        })
        .await
    }

    /// Replayed deliveries go through the store: what waits there already goes first.
    ///
    /// It goes on when the caller goes away: a delivery that is pending again must not be forgotten by the dispatcher.
    async fn replay(&self, target: ReplayTarget, keep_dead_letter: bool) -> Result<Replayed, StoreError> {
        let shared = Arc::clone(&self.shared);
        let replaying = tokio::spawn(async move {
            let replays = vec![Replay { target, keep_dead_letter, claim: false, at: shared.now() }];
            let replayed = shared.store.replay(replays).await?.into_iter().next().unwrap_or(Replayed::NotFound);
            if let Replayed::Queued(again) = &replayed {
                shared.dispatcher.note_stored([again.endpoint], again.due_at);
            }
            Ok(replayed)
        });
        replaying.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
    }
}

/// Does what the store's answers to retries ask for: what it has queued is to be claimed, and what waits in memory waits no longer.
pub(crate) async fn go_on(shared: &Shared, answers: &[Retried]) -> Result<(), StoreError> {
    note_queued(shared, answers);
    let mut held: BTreeMap<DeliveryId, EndpointId> = answers.iter().filter_map(waits).collect();
    hasten_held(shared, &mut held);
    let (held, others): (BTreeMap<_, _>, BTreeMap<_, _>) = held.into_iter().partition(|(_, endpoint)| shared.dispatcher.knows(*endpoint));
    have_hastened(shared, others);
    // What is still held elsewhere is so where the endpoint was before.
    have_hastened(shared, hasten_once_stored(shared, held).await?);
    Ok(())
}

/// Has deliveries tried at once that this engine should have and that do not wait in its memory: each has an exchange under way, or one that ended a
/// moment ago. Then it waits when that is stored, here or in the store. Answers those that still are in somebody's memory, and not in this one's.
async fn hasten_once_stored(
    shared: &Shared,
    mut held: BTreeMap<DeliveryId, EndpointId>,
) -> Result<BTreeMap<DeliveryId, EndpointId>, StoreError> {
    if held.is_empty() {
        return Ok(held);
    }
    shared.settler.passed(shared.settler.mark()).await;
    hasten_held(shared, &mut held);
    if held.is_empty() {
        return Ok(held);
    }
    let stored = shared.store.retry(held.into_keys().collect(), false, shared.now()).await?;
    note_queued(shared, &stored);
    // What was stored a moment ago may have come into memory since.
    let mut held = stored.iter().filter_map(waits).collect();
    hasten_held(shared, &mut held);
    Ok(held)
}

/// A delivery that waits in somebody's memory, and its endpoint.
fn waits(answer: &Retried) -> Option<(DeliveryId, EndpointId)> {
    match *answer {
        Retried::Held { delivery, endpoint, state: StateKind::Pending | StateKind::Retrying } => Some((delivery, endpoint)),
        _ => None,
    }
}

/// Whoever else has these in memory is to have them tried at once.
fn have_hastened(shared: &Shared, held: BTreeMap<DeliveryId, EndpointId>) {
    if !held.is_empty() {
        shared.tell(News::Hasten(held.into_iter().collect()));
    }
}

/// What the store would not hasten may be in the memory of another engine: it is told.
async fn hasten_elsewhere(shared: &Shared, id: DeliveryId) -> Result<(), StoreError> {
    let found = shared.store.delivery_row(id, None).await?.map(|row| row.delivery);
    let waits = |delivery: &Delivery| matches!(delivery.progress.state.kind(), StateKind::Pending | StateKind::Retrying);
    if let Some(delivery) = found.filter(waits) {
        have_hastened(shared, [(id, delivery.endpoint)].into());
    }
    Ok(())
}

/// Another engine was asked to have deliveries tried at once that it does not have: those that are in memory here are.
pub(crate) fn hasten_told(shared: &Arc<Shared>, deliveries: Vec<(DeliveryId, EndpointId)>) {
    let mut held: BTreeMap<DeliveryId, EndpointId> = deliveries.into_iter().collect();
    hasten_held(shared, &mut held);
    held.retain(|_, endpoint| shared.dispatcher.knows(*endpoint));
    if held.is_empty() {
        return;
    }
    // As in [`go_on`], but that nobody is told again. News must not wait for it.
    let shared = Arc::clone(shared);
    tokio::spawn(async move {
        let hastening = async {
            if let Err(error) = hasten_once_stored(&shared, held).await {
                tracing::warn!(%error, cause = error.cause, "deliveries that another node wants tried at once wait for their time");
            }
        };
        // What is left when the engine is stopped waits in the store.
        _ = shared.goes_on_when(hastening).await;
    });
}

fn note_queued(shared: &Shared, answers: &[Retried]) {
    for answer in answers {
        if let Retried::Queued(again) = answer {
            shared.dispatcher.note_stored([again.endpoint], again.due_at);
        }
    }
}

/// Leaves those that are not in memory, or are being sent.
fn hasten_held(shared: &Shared, held: &mut BTreeMap<DeliveryId, EndpointId>) {
    if !held.is_empty() {
        let found = shared.dispatcher.hasten_all(held, shared.now());
        held.retain(|id, _| !found.contains(id));
    }
}
