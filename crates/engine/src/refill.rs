//! Deliveries that only the store has come into memory when there is room and they are due.

use crate::dispatch::Want;
use crate::job::Job;
use crate::maintain;
use crate::shared::Shared;
use postrider_core::ports::{ClaimRequest, StoreError};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How long to wait when the store cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Claims until the engine is stopped. A claim under way is seen to its end: what it brings is this engine's.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let now = shared.now();
        let wants = shared.dispatcher.wanting(now);
        if wants.is_empty() {
            if !shared.goes_on_when(shared.dispatcher.refill.notified()).await {
                return;
            }
            continue;
        }
        let is_known = |endpoint| shared.routes.load().endpoint(endpoint).is_some();
        if !wants.iter().all(|want| is_known(want.endpoint))
            && let Err(error) = maintain::catch_up(&shared).await
        {
            again_later(&shared, wants, &error).await;
            continue;
        }
        let routes = shared.routes.load_full();
        // What waits for an endpoint that is gone ends now, whenever it was due.
        let due_by = |endpoint| {
            if routes.endpoint(endpoint).is_some() { now } else { Timestamp::MAX }
        };
        let requests = wants.iter().map(|w| ClaimRequest {
            endpoint: w.endpoint,
            due_by: due_by(w.endpoint),
            limit: u32::try_from(w.count).unwrap_or(u32::MAX),
            max_bytes: w.bytes as u64,
        });
        match shared.store.claim(requests.collect()).await {
            Ok(batches) => {
                for batch in batches {
                    let jobs = batch.deliveries.into_iter().map(Job::from).collect();
                    let next_due = batch.next_due.map(|due| shared.due_or_at_once(batch.endpoint, due));
                    shared.dispatcher.refilled(&shared, batch.endpoint, jobs, next_due);
                }
            }
            Err(error) => again_later(&shared, wants, &error).await,
        }
    }
}

/// Nothing can be claimed for the moment: it is tried again after a while.
async fn again_later(shared: &Arc<Shared>, wants: Vec<Want>, error: &StoreError) {
    tracing::error!(%error, cause = error.cause, "waiting deliveries cannot be claimed for the moment");
    _ = shared.goes_on_after(RETRY).await;
    for want in wants {
        shared.dispatcher.refilled(shared, want.endpoint, Vec::new(), Some(want.due));
    }
}
