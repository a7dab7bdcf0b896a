//! Fan-outs too large for one piece: slices behind a cursor that is stored with the event.

use crate::maintain;
use crate::publish;
use crate::series::Part;
use crate::shared::Shared;
use postrider_core::id::DeliveryId;
use postrider_core::ports::{FanOutSlice, NewDelivery, Sliced, StoreError, UnfinishedFanOut};
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

/// Carries fan-outs on until the engine is stopped. A slice under way is seen to its end: what is claimed in it is this engine's.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut goes_on = true;
    while goes_on {
        goes_on = match round(&shared).await {
            Ok(true) => !shared.is_stopping(),
            Ok(false) => shared.goes_on_when(shared.or_look(shared.fan_out.notified())).await,
            Err(error) => {
                tracing::error!(%error, cause = error.cause, "a large fan-out cannot go on for the moment");
                shared.goes_on_after(RETRY).await
            }
        }
    }
}

/// Writes one slice of each unfinished fan-out of this engine's; answers whether there was one. Small ones go together: events that follow from outcomes may be
/// many, and the rest of each may be little.
async fn round(shared: &Arc<Shared>) -> Result<bool, StoreError> {
    let unfinished = shared.store.unfinished_fan_outs(shared.dispatcher.owned(), EVENTS, EVENTS_BYTES).await?;
    if !unfinished.is_empty() {
        maintain::catch_up(shared).await?;
    }
    let mut rest = unfinished.as_slice();
    while !rest.is_empty() {
        let (mut slices, mut weight) = (Vec::new(), 0);
        while weight < shared.config.limits.fan_out_slice
            && let Some(pending) = rest.get(slices.len())
        {
            let slice = slice(shared, pending);
            weight += 1 + slice.deliveries.len();
            slices.push(slice);
        }
        let (written, left) = rest.split_at(slices.len());
        let stored: Vec<_> = slices.iter().map(|slice| (slice.created_at, slice.deliveries.clone())).collect();
        let result = shared.store.fan_out(slices).await;
        let mut part = Part::default();
        for (at, (pending, (created_at, deliveries))) in written.iter().zip(&stored).enumerate() {
            // Of what is gone somebody else has seen to: the next round looks where the fan-out is by now.
            let is_stored = result.as_ref().is_ok_and(|answers| answers.get(at) == Some(&Sliced::Stored));
            if is_stored {
                part.deliveries(&pending.event.namespace, deliveries.len());
                shared.dispatcher.push(shared, publish::jobs(shared, &pending.event, *created_at, deliveries));
            } else {
                publish::give_back(shared, &pending.event, deliveries);
            }
        }
        shared.series.add(shared.now(), part);
        result?;
        rest = left;
    }
    Ok(!unfinished.is_empty())
}

/// Whoever wants the event now and was there when it was published. A subscription made well after that gets nothing of it. Who is skipped was
/// decided and recorded then: an endpoint paused since then still gets its deliveries, which wait for it, and one resumed since then does not.
fn slice(shared: &Shared, unfinished: &UnfinishedFanOut) -> FanOutSlice {
    let event = &unfinished.event;
    let made_until = event.created_at.after(SKEW);
    let routes = shared.routes.load();
    let matching = routes.matching(&event.namespace, &event.event_type, &event.labels, &event.payload);
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
    let now = shared.now();
    let mut ids = shared.ids();
    let deliveries = matched.iter().map(|route| NewDelivery {
        id: DeliveryId::new(ids.next(now)),
        subscription: route.subscription.id,
        endpoint: route.endpoint.id,
        claimed: false,
        keeps_rows: route.subscription.origin.keeps_rows(),
        expires_at: event.ttl.map(|ttl| event.created_at.after(ttl)),
    });
    let mut deliveries: Vec<_> = deliveries.collect();
    drop(ids);
    shared.dispatcher.reserve(&mut deliveries, event.payload.len(), now);
    // They come into being now, as their ids say, however long after the event that is.
    let namespace = event.namespace.clone();
    FanOutSlice { event: event.seq, namespace, created_at: now, from: unfinished.after, deliveries, fan_out_after }
}
