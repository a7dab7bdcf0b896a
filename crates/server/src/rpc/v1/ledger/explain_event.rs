//! The whole story of an event: who gets it, who was skipped, and why others got nothing.

use super::events;
use super::explain::subscription;
use super::list::piece_of;
use super::places::{Turn, Turns};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::v1::conditions::{failing, told};
use crate::rpc::v1::summary::{delivery_summary, endpoint_label};
use http::StatusCode;
use postrider_core::event::{Event, SkipReason, Skipped};
use postrider_core::filter::Facts;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::DeliveryFilter;
use postrider_core::subscription::Subscription;
use postrider_engine::Routes;
use postrider_proto::{Message, v1};
use std::cmp::Reverse;
use std::collections::{BTreeSet, BinaryHeap};
use std::sync::Arc;

/// Most deliveries that are shown.
const MAX_DELIVERIES: u32 = 500;

/// Most subscriptions that are shown of those that got nothing, skipped ones and others.
const MAX_SKIPPED: usize = 1_000;
const MAX_UNMATCHED: usize = 200;

/// What all that is shown beside the event sums up to at the most, in bytes: gRPC clients read messages of 4 MiB.
const MAX_SHOWN_BYTES: usize = 5 << 19;

pub(super) async fn explain(app: &App, turns: &Turns, access: &Access, event_id: &str) -> Result<v1::ExplainEventResponse, Problem> {
    let row = events::find(app, access, event_id).await?;
    let event = &row.event;
    let filter = DeliveryFilter { namespace: Some(event.namespace.clone()), event: Some(event.seq), ..DeliveryFilter::default() };
    let page = piece_of(app, &filter, None, MAX_DELIVERIES).await?;
    let detail = events::detail(app, &row).await?;
    let routes = app.engine.routes();
    let mut room = MAX_SHOWN_BYTES;
    let deliveries = that_fit(page.items.iter().map(|row| delivery_summary(&routes, row)), &mut room);
    let mut settled: BTreeSet<SubscriptionId> = page.items.iter().map(|row| row.delivery.subscription).collect();
    settled.extend(row.skipped.iter().map(|skipped| skipped.subscription));
    let others = Others { settled, is_whole: page.next.is_none() && !row.fan_out_pending };
    let turn = turns.turn(access).await?;
    let unmatched = unmatched(Arc::clone(&routes), Arc::clone(event), others, turn).await?;
    let unmatched = that_fit(unmatched, &mut room);
    let skipped = that_fit(row.skipped.iter().take(MAX_SKIPPED).map(|skipped| shown(&routes, skipped)), &mut room);
    Ok(v1::ExplainEventResponse { event: detail.into(), deliveries, skipped, unmatched, fan_out_pending: row.fan_out_pending })
}

/// Those of a list that there is room for, from the first on.
fn that_fit<T: Message>(all: impl IntoIterator<Item = T>, room: &mut usize) -> Vec<T> {
    let mut fit = Vec::new();
    for one in all {
        let Some(left) = room.checked_sub(one.encoded_len() as usize) else { break };
        *room = left;
        fit.push(one);
    }
    fit
}

fn shown(routes: &Routes, skipped: &Skipped) -> v1::SkippedSubscription {
    let endpoint = subscription(routes, skipped.subscription).map(|subscription| subscription.endpoint);
    let endpoint = endpoint.filter(|endpoint| routes.endpoint(*endpoint).is_some());
    let reason = match skipped.reason {
        SkipReason::EndpointPaused => "its endpoint was paused when the event came",
        SkipReason::EndpointGone => "its endpoint was gone when the event came",
    };
    v1::SkippedSubscription {
        subscription_id: skipped.subscription.to_string(),
        endpoint_id: endpoint.map(|id| id.to_string()).unwrap_or_default(),
        endpoint_name: endpoint.map(|id| endpoint_label(routes, id)).unwrap_or_default(),
        reason: reason.to_owned(),
    }
}

/// Which subscriptions are not among those that got nothing.
struct Others {
    /// Those that got the event or were skipped.
    settled: BTreeSet<SubscriptionId>,
    /// Whether these are all. If not, one that wants the event has most likely got it, or gets it yet.
    is_whole: bool,
}

/// Holds the event against all subscriptions that got nothing, beside the runtime's threads.
async fn unmatched(routes: Arc<Routes>, event: Arc<Event>, others: Others, turn: Turn) -> Result<Vec<v1::UnmatchedSubscription>, Problem> {
    // The work keeps its turn to its end, though nobody may wait for it any more.
    let judging = tokio::task::spawn_blocking(move || {
        let _turn = turn;
        nearest(&routes, &event, &others)
    });
    judging.await.map_err(|error| {
        tracing::error!(%error, "an event could not be held against subscriptions");
        let message = "the event could not be held against subscriptions: see the server's log";
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", message)
    })
}

/// Those of the namespace that lack least: of as many conditions the newest first.
fn nearest(routes: &Routes, event: &Event, others: &Others) -> Vec<v1::UnmatchedSubscription> {
    let is_other =
        |subscription: &&Arc<Subscription>| subscription.namespace == event.namespace && !others.settled.contains(&subscription.id);
    let all = || routes.subscriptions().filter(is_other);
    let facts = Facts::read(&event.payload, all().filter_map(|subscription| subscription.matches.as_ref()));
    let mut nearest = BinaryHeap::new();
    for subscription in all() {
        let lacks = failing(subscription, event, &facts) + usize::from(is_newer(subscription, event));
        if lacks == 0 && !others.is_whole {
            continue;
        }
        nearest.push((lacks, Reverse(subscription.id)));
        if nearest.len() > MAX_UNMATCHED {
            nearest.pop();
        }
    }
    let nearest = nearest.into_sorted_vec().into_iter();
    nearest.filter_map(|(_, Reverse(id))| Some(lacking(routes, routes.subscription(id)?, event, &facts))).collect()
}

/// Whether a subscription was made after the event.
fn is_newer(subscription: &Subscription, event: &Event) -> bool {
    subscription.created_at > event.created_at
}

fn lacking(routes: &Routes, subscription: &Subscription, event: &Event, facts: &Facts<'_>) -> v1::UnmatchedSubscription {
    let mut conditions = told(subscription, event, facts);
    if is_newer(subscription, event) {
        let text = String::from("the subscription was made before the event came");
        conditions.insert(0, v1::Condition { text, holds: false });
    }
    v1::UnmatchedSubscription {
        subscription_id: subscription.id.to_string(),
        endpoint_id: subscription.endpoint.to_string(),
        endpoint_name: endpoint_label(routes, subscription.endpoint),
        conditions,
    }
}
