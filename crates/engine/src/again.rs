//! Deliveries that people want made again, or at once.

use crate::{Engine, cut_off};
use postrider_core::id::{DeadLetterId, DeliveryId};
use postrider_core::ports::{Replay, ReplayTarget, Replayed, StoreError};
use std::sync::Arc;

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
            if let Some(endpoint) = shared.store.hasten(id, now).await? {
                shared.dispatcher.note_stored([endpoint], now);
            }
            Ok(())
        });
        hastening.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
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
