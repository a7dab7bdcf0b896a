//! Fan-outs too large for one piece: slices behind a cursor that is stored with the event.

use crate::publish;
use crate::shared::Shared;
use postrider_core::id::DeliveryId;
use postrider_core::ports::{FanOutSlice, NewDelivery, StoreError, UnfinishedFanOut};
use std::sync::Arc;
use std::time::Duration;

/// Events whose fan-out is carried on at the same time, slice by slice in turn.
const EVENTS: u32 = 16;

/// Their payloads, in bytes.
const EVENTS_BYTES: u64 = 8 << 20;

/// How long to wait when the store cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// By how much clocks may be set back, or differ between nodes: a subscription that seems to be made so shortly after the event may have
/// been there before it. One delivery too many is better than one that is lost.
const SKEW: Duration = Duration::from_secs(60);

/// Carries fan-outs on for as long as the engine lives.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        match round(&shared).await {
            Ok(true) => {}
            Ok(false) => shared.fan_out.notified().await,
            Err(error) => {
                tracing::error!(%error, cause = error.cause, "a large fan-out cannot go on for the moment");
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

/// Writes one slice of each unfinished fan-out; answers whether there was one.
async fn round(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let unfinished = shared.store.unfinished_fan_outs(EVENTS, EVENTS_BYTES).await?;
    for pending in &unfinished {
        let slice = slice(shared, pending);
        let deliveries = slice.deliveries.clone();
        if let Err(error) = shared.store.fan_out(vec![slice]).await {
            publish::give_back(shared, &pending.event, &deliveries);
            return Err(error);
        }
        shared.dispatcher.push(shared, publish::jobs(shared, &pending.event, &deliveries));
    }
    Ok(!unfinished.is_empty())
}

/// Whoever wants the event now and was there when it was published. A subscription made well after that gets nothing of it. Who is skipped was
/// decided and recorded then: an endpoint paused since then still gets its deliveries, which wait for it, and one resumed since then does not.
fn slice(shared: &Shared, unfinished: &UnfinishedFanOut) -> FanOutSlice {
    let event = &unfinished.event;
    let made_until = event.created_at.after(SKEW);
    let routes = shared.routes.load();
    let matching = routes.matching(&event.namespace, &event.event_type, &event.labels);
    let paused = matching.skipped.iter().filter_map(|s| routes.route(s.subscription).cloned());
    let mut matched: Vec<_> = matching.routes.iter().cloned().chain(paused).collect();
    matched.retain(|r| {
        let id = r.subscription.id;
        let was_skipped = unfinished.skipped.iter().any(|s| s.subscription == id);
        id > unfinished.after && r.subscription.created_at <= made_until && !was_skipped
    });
    matched.sort_unstable_by_key(|r| r.subscription.id);
    let size = shared.config.limits.fan_out_slice;
    let fan_out_after = (matched.len() > size).then(|| matched[size - 1].subscription.id);
    matched.truncate(size);
    let deliveries = matched.iter().map(|route| NewDelivery {
        id: DeliveryId::new(shared.new_id()),
        subscription: route.subscription.id,
        endpoint: route.endpoint.id,
        claimed: shared.dispatcher.reserve(route.endpoint.id, event.payload.len()),
        expires_at: event.ttl.map(|ttl| event.created_at.after(ttl)),
    });
    FanOutSlice {
        event: event.seq,
        namespace: event.namespace.clone(),
        created_at: event.created_at,
        deliveries: deliveries.collect(),
        fan_out_after,
    }
}
