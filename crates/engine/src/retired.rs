//! Deleted bindings: what was queued for them is still delivered, so that they stay in memory until nothing of that is left.

use crate::maintain;
use crate::retain::IN_USE;
use crate::route::Routes;
use crate::shared::Shared;
use postrider_core::delivery::StateKind;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::{Counters, StoreError};
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for those that are done.
const LOOK: Duration = Duration::from_secs(60);

/// How many are asked about in one read.
const ASKED: usize = 1_000;

/// Forgets those that are done, for as long as the engine lives.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK).await;
        let _one_at_a_time = shared.editing.lock().await;
        let routes = shared.routes.load_full();
        match without_idle(&shared, &routes, shared.now().before(IN_USE)).await {
            Ok(Some(fewer)) => put(&shared, &routes, fewer),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, cause = error.cause, "deleted bindings cannot be forgotten for the moment"),
        }
    }
}

/// Puts fewer routes in force. Of a paused endpoint it may have been a deleted binding that kept the others' deliveries back.
fn put(shared: &Arc<Shared>, before: &Routes, fewer: Routes) {
    let is_changed = |id: &EndpointId| before.parked_since(*id) != fewer.parked_since(*id);
    let changed: Vec<EndpointId> = fewer.endpoints().map(|endpoint| endpoint.id).filter(is_changed).collect();
    shared.routes.store(Arc::new(fewer));
    for endpoint in changed {
        maintain::announce(shared, endpoint);
    }
}

/// The routes without the bindings that were deleted before this and have no delivery waiting; `None` where there is none of these. Of a
/// binding that was deleted later somebody who is publishing may still store a delivery.
pub(crate) async fn without_idle(shared: &Shared, routes: &Routes, before: Timestamp) -> Result<Option<Routes>, StoreError> {
    let is_old = |at: Option<Timestamp>| at.is_some_and(|at| at < before);
    let ids: Vec<SubscriptionId> = routes.retired().filter(|s| is_old(s.deleted_at)).map(|s| s.id).collect();
    let mut idle = BTreeSet::new();
    for ids in ids.chunks(ASKED) {
        let counters = shared.store.counters(ids.to_vec()).await?;
        idle.extend(ids.iter().zip(&counters).filter(|(_, counters)| !has_waiting(counters)).map(|(id, _)| *id));
    }
    if idle.is_empty() {
        return Ok(None);
    }
    let mut fewer = routes.clone();
    fewer.forget_retired(&idle);
    Ok(Some(fewer))
}

fn has_waiting(counters: &Counters) -> bool {
    [StateKind::Pending, StateKind::Sending, StateKind::Retrying].iter().any(|state| counters.deliveries[*state as usize] > 0)
}
