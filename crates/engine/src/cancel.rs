//! Deliveries that people call off.
//!
//! The store decides: what nobody has in memory has ended at once, and what an engine has there it ends when that engine gives it back, or would have it
//! wait after an attempt. So all that is left to do is to have it given back soon, and before anything more is sent. News that are lost cost an attempt.

use crate::series::Part;
use crate::shared::Shared;
use crate::{Engine, cut_off};
use postrider_core::delivery::{Delivery, StateKind};
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{Cancelled, News, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long another engine is waited for that may have the delivery in memory, a look after each of these: most often it ends it within milliseconds.
const WAITS: [Duration; 4] = [Duration::from_millis(20), Duration::from_millis(60), Duration::from_millis(120), Duration::from_millis(300)];

impl Engine {
    /// Calls off a delivery that waits, wherever it does. One that is being sent ends after this attempt, unless that succeeds; while another engine
    /// has it in memory, this is waited for for half a second. It gets no dead letter, and can be [retried](Engine::retry_deliveries).
    pub async fn cancel_delivery(&self, id: DeliveryId) -> Result<Cancelled, StoreError> {
        let shared = Arc::clone(&self.shared);
        // It goes on when the caller goes away: whoever has the delivery must be told.
        let cancelling = tokio::spawn(async move { cancel(&shared, id).await });
        cancelling.await.unwrap_or_else(|ended| Err(cut_off(&ended)))
    }
}

async fn cancel(shared: &Arc<Shared>, id: DeliveryId) -> Result<Cancelled, StoreError> {
    let decided = shared.store.cancel(id).await?;
    if matches!(decided, Cancelled::AtOnce(_)) {
        count(shared, id).await;
    }
    if decided != Cancelled::AfterAttempt {
        return Ok(decided);
    }
    let Some(Delivery { endpoint, .. }) = look(shared, id).await? else { return Ok(Cancelled::NotFound) };
    if shared.dispatcher.knows(endpoint) {
        shared.dispatcher.call_off(shared, &[(id, endpoint)].into());
        // What waited here has ended when it is stored that it does not.
        shared.settler.passed(shared.settler.mark()).await;
    }
    let mut found = now(shared, id).await?;
    if found != Cancelled::AfterAttempt || !shared.store.is_shared() {
        return Ok(found);
    }
    shared.tell(News::CallOff(vec![(id, endpoint)]));
    for wait in WAITS {
        if !shared.goes_on_after(wait).await {
            break;
        }
        found = now(shared, id).await?;
        if found != Cancelled::AfterAttempt {
            break;
        }
    }
    Ok(found)
}

/// A delivery as it is now, without what is large about it.
async fn look(shared: &Shared, id: DeliveryId) -> Result<Option<Delivery>, StoreError> {
    Ok(shared.store.deliveries_by_id(vec![id], None).await?.pop().map(|row| row.delivery))
}

/// What became of a delivery that was called off, by now.
async fn now(shared: &Shared, id: DeliveryId) -> Result<Cancelled, StoreError> {
    let Some(delivery) = look(shared, id).await? else { return Ok(Cancelled::NotFound) };
    Ok(match delivery.progress.state.kind() {
        StateKind::Cancelled => Cancelled::AtOnce(delivery.endpoint),
        kind if kind.is_resting() => Cancelled::Ended(kind),
        _ => Cancelled::AfterAttempt,
    })
}

/// A delivery has ended without passing through here: it counts for its tenant all the same, as far as that can be read.
async fn count(shared: &Shared, id: DeliveryId) {
    if let Ok(Some(delivery)) = look(shared, id).await {
        let mut part = Part::default();
        part.given_up(&delivery.namespace);
        shared.series.add(shared.now(), part);
    }
}

/// Another engine says that deliveries were called off: those that are in memory here, or may come there, are not sent any more.
pub(crate) fn told(shared: &Arc<Shared>, deliveries: Vec<(DeliveryId, EndpointId)>) {
    let of: BTreeMap<DeliveryId, EndpointId> = deliveries.into_iter().filter(|(_, endpoint)| shared.dispatcher.knows(*endpoint)).collect();
    if !of.is_empty() {
        shared.dispatcher.call_off(shared, &of);
    }
}
