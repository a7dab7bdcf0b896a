//! Fan-outs too large for one piece: slices behind a cursor that is stored with the event.

use crate::publish;
use crate::shared::Shared;
use postrider_core::event::Event;
use postrider_core::id::{DeliveryId, SubscriptionId};
use postrider_core::ports::{FanOutSlice, NewDelivery, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// Events whose fan-out is carried on at the same time, slice by slice in turn.
const EVENTS: u32 = 16;

/// How long to wait when the store cannot be written.
const RETRY: Duration = Duration::from_secs(1);

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
    let unfinished = shared.store.unfinished_fan_outs(EVENTS).await?;
    for pending in &unfinished {
        let slice = slice(shared, &pending.event, pending.after);
        let deliveries = slice.deliveries.clone();
        if let Err(error) = shared.store.fan_out(vec![slice]).await {
            publish::give_back(shared, &pending.event, &deliveries);
            return Err(error);
        }
        shared.dispatcher.push(shared, publish::jobs(shared, &pending.event, &deliveries));
    }
    Ok(!unfinished.is_empty())
}

/// Whoever wants the event now and was there when it was published. A subscription made since then gets nothing of it.
fn slice(shared: &Shared, event: &Event, after: SubscriptionId) -> FanOutSlice {
    let routes = shared.routes.load();
    let mut matched = routes.matching(&event.namespace, &event.event_type, &event.labels).routes;
    matched.retain(|r| r.subscription.id > after && r.subscription.created_at <= event.created_at);
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
