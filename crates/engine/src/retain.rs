//! Retention: what is past its age goes, and what belongs to erased endpoints.

use crate::maintain::UPKEEP_RETRY;
use crate::shared::Shared;
use postrider_core::ports::{PruneRequest, REQUEST_MEMORY, StoreError};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Rows removed in one piece: a few milliseconds of the writer's time.
const SLICE: u32 = 1_000;

/// Pause between two slices, so that publishers get their turn.
const PAUSE: Duration = Duration::from_millis(20);

/// For so long after it was deleted, somebody who is publishing may still mean to use configuration. A publish takes seconds at most.
const IN_USE: Duration = Duration::from_secs(60);

/// How soon it is looked again for what is left of an erased endpoint: claimed deliveries end within seconds, or when their exchange does.
/// Each time that something is left the next look is twice as late, up to the second of these.
const AGAIN: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(60));

/// Removes what is past its retention, at start and then regularly, and what belongs to erased endpoints at once.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut due = Instant::now();
    let mut again = AGAIN.0;
    loop {
        let is_due = due <= Instant::now();
        let every = shared.config.retention.every;
        let erasing = match round(&shared, if is_due { by_age(&shared) } else { erased_only(&shared) }).await {
            Ok(erasing) => {
                if is_due {
                    due = Instant::now() + every;
                }
                erasing
            }
            Err(error) => {
                tracing::error!(%error, cause = error.cause, "retention cannot be kept for the moment");
                let retry = Instant::now() + UPKEEP_RETRY.min(every);
                due = if is_due { retry } else { due.min(retry) };
                false
            }
        };
        let look = if erasing { due.min(Instant::now() + again) } else { due };
        again = if erasing { (again * 2).min(AGAIN.1) } else { AGAIN.0 };
        tokio::select! {
            biased;
            () = shared.erased.notified() => again = AGAIN.0,
            () = tokio::time::sleep_until(look) => {}
        }
    }
}

/// Everything that is too old.
fn by_age(shared: &Shared) -> PruneRequest {
    let now = shared.now();
    let keep = shared.config.retention;
    PruneRequest {
        attempts_before: now.before(keep.attempts),
        bodies_before: now.before(keep.bodies),
        events_before: now.before(keep.events),
        closed_before: now.before(keep.closed),
        requests_before: now.before(REQUEST_MEMORY),
        ..erased_only(shared)
    }
}

/// Nothing for its age, but what belongs to deleted configuration.
fn erased_only(shared: &Shared) -> PruneRequest {
    PruneRequest {
        attempts_before: Timestamp::MIN,
        bodies_before: Timestamp::MIN,
        events_before: Timestamp::MIN,
        closed_before: Timestamp::MIN,
        requests_before: Timestamp::MIN,
        configuration_before: shared.now().before(IN_USE),
        limit: SLICE,
    }
}

/// Removes slice after slice; answers whether something of erased endpoints is left.
async fn round(shared: &Arc<Shared>, request: PruneRequest) -> Result<bool, StoreError> {
    loop {
        let pruned = shared.store.prune(request).await?;
        if !pruned.more {
            return Ok(pruned.erasing);
        }
        tracing::debug!(?pruned, "removed a slice of what is past its retention");
        tokio::time::sleep(PAUSE).await;
    }
}
