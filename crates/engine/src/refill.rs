//! Deliveries that only the store has come into memory when there is room and they are due.

use crate::dispatch::Want;
use crate::job::Job;
use crate::maintain;
use crate::shared::Shared;
use postrider_core::ports::{ClaimRequest, StoreError};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long to wait when the store cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Claims until the engine is stopped. A claim under way is seen to its end: what it brings is this engine's.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut looking = JoinSet::new();
    loop {
        while looking.try_join_next().is_some() {}
        let now = shared.now();
        let wants = shared.dispatcher.wanting(now);
        if wants.is_empty() {
            if !shared.goes_on_when(shared.dispatcher.refill.notified()).await {
                break;
            }
            continue;
        }
        let (known, unknown): (Vec<Want>, Vec<Want>) = {
            let routes = shared.routes.load();
            wants.into_iter().partition(|want| routes.endpoint(want.endpoint).is_some())
        };
        if !unknown.is_empty() {
            // Beside the others: nobody waits until it is clear whether somebody else is gone.
            let shared = Arc::clone(&shared);
            looking.spawn(async move { claim_unknown(&shared, now, unknown).await });
        }
        if !known.is_empty() {
            claim(&shared, now, known).await;
        }
    }
    while looking.join_next().await.is_some() {}
}

/// Claims for endpoints that are gone, unless somebody else has configured them a moment ago. Where nobody can say, what they have waits.
async fn claim_unknown(shared: &Arc<Shared>, now: Timestamp, wants: Vec<Want>) {
    match maintain::catch_up(shared).await {
        Ok(()) => claim(shared, now, wants).await,
        // It was logged.
        Err(_) => {
            let again = shared.now().after(RETRY);
            for want in wants {
                shared.dispatcher.refilled(shared, want.endpoint, Vec::new(), Some(again));
            }
        }
    }
    // There may be room now that was kept for these.
    shared.dispatcher.refill.notify_one();
}

async fn claim(shared: &Arc<Shared>, now: Timestamp, wants: Vec<Want>) {
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
            let looks = shared.looks.begun();
            for batch in batches {
                let jobs = batch.deliveries.into_iter().map(|claimed| Job { looks, ..Job::from(claimed) }).collect();
                let next_due = batch.next_due.map(|due| shared.due_or_at_once(batch.endpoint, due));
                shared.dispatcher.refilled(shared, batch.endpoint, jobs, next_due);
            }
        }
        Err(error) => again_later(shared, wants, &error).await,
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
