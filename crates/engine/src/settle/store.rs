//! Storing a group, and finding those in it that the store cannot take.

use super::Settler;
use crate::shared::Shared;
use postrider_core::ports::{Settled, Settlement, StoreError, StoreErrorKind};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// How long to wait before storing again what could not be stored: doubled each time, from the first to the second.
pub(super) const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// Stores until it is stored. `None` for those that the store does not take although it is well otherwise.
pub(super) async fn until_stored(shared: &Shared, settlements: &Arc<[Settlement]>) -> Vec<Option<Settled>> {
    if settlements.is_empty() {
        return Vec::new();
    }
    let (mut wait, mut tries) = (BACKOFF.0, 0);
    loop {
        let error = match shared.store.settle(Arc::clone(settlements)).await {
            Ok(results) => {
                shared.settler.fails(false);
                return results.into_iter().map(Some).collect();
            }
            Err(error) => error,
        };
        shared.settler.fails(true);
        tracing::error!(%error, cause = error.cause, outcomes = settlements.len(), "outcomes could not be stored: trying again");
        tries += 1;
        // One bad row must not stop everybody else's deliveries.
        if tries > 1 && is_about_rows(&error) && shared.store.health().await.is_ok() {
            let results = divided(shared, settlements).await;
            shared.settler.fails(false);
            return results;
        }
        tokio::time::sleep(wait).await;
        wait = (wait * 2).min(BACKOFF.1);
    }
}

/// Whether the error may be due to what was to be stored, and not to the store as a whole.
fn is_about_rows(error: &StoreError) -> bool {
    matches!(error.kind, StoreErrorKind::Internal | StoreErrorKind::Corrupt)
}

/// Stores what can be stored of a group that cannot be stored as a whole, in the order of the group. What comes after a refused outcome of
/// the same delivery is not tried: it begins where that would have ended, and would be taken for somebody else's.
async fn divided(shared: &Shared, settlements: &[Settlement]) -> Vec<Option<Settled>> {
    let mut results = Vec::with_capacity(settlements.len());
    let mut parts = vec![settlements];
    let mut refused = BTreeSet::new();
    while let Some(part) = parts.pop() {
        let whole = part.len() == settlements.len() && part.len() > 1;
        let waits = part.iter().any(|settlement| refused.contains(&settlement.delivery));
        let answer = if whole || waits { None } else { shared.store.settle(part.into()).await.ok() };
        match answer {
            Some(stored) => results.extend(stored.into_iter().map(Some)),
            None if part.len() == 1 => {
                refused.insert(part[0].delivery);
                results.push(None);
            }
            None => {
                let (first, second) = part.split_at(part.len() / 2);
                parts.extend([second, first]);
            }
        }
    }
    results
}

impl Settler {
    fn fails(&self, fails: bool) {
        self.failing.store(fails, Ordering::Relaxed);
    }
}
