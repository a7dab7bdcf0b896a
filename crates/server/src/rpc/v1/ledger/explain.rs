//! The whole story of a delivery.

use super::next::{Standing, next};
use super::{events, story};
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::{id, timestamp};
use crate::rpc::deliveries::shown::{self, Attempts};
use crate::rpc::v1::summary::{conditions, delivery_summary};
use postrider_core::delivery::{State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeliveryId, SubscriptionId, idempotency_key};
use postrider_core::key::Scope;
use postrider_core::ports::DeliveryRow;
use postrider_core::subscription::Subscription;
use postrider_engine::Routes;
use postrider_proto::v1;
use std::sync::Arc;

pub(super) async fn explain(app: &App, access: &Access, delivery_id: &str) -> Result<v1::ExplainDeliveryResponse, Problem> {
    let row = find(app, access, delivery_id).await?;
    let (store, delivery) = (app.engine.store(), &row.delivery);
    let event = store.event_by_id(row.event_id, Some(delivery.namespace.clone())).await.map_err(Problem::of_read)?;
    // Retention may have taken both meanwhile.
    let event = event.ok_or_else(missing)?;
    let attempts = story::attempts(app, delivery, &event.event).await?;
    let dead_letter = store.open_dead_letter(delivery.id).await.map_err(Problem::of_read)?;
    let detail = events::detail(app, &event).await?;
    let routes = app.engine.routes();
    let subscription = subscription(&routes, delivery.subscription);
    let has_changed = |subscription: &Arc<Subscription>| subscription.deleted_at.is_some() || subscription.updated_at > delivery.created_at;
    Ok(v1::ExplainDeliveryResponse {
        delivery: delivery_summary(&routes, &row).into(),
        event: detail.into(),
        idempotency_key: idempotency_key(delivery.subscription, delivery.event),
        expires_at: delivery.progress.expires_at.map(timestamp).into(),
        matched: subscription.map(|subscription| conditions(subscription, &event.event)).unwrap_or_default(),
        subscription_changed: subscription.is_none_or(has_changed),
        attempts,
        next: what_next(app, &routes, &row, subscription.map(|subscription| &**subscription)),
        dead_letter_id: dead_letter.map(|id| id.to_string()).unwrap_or_default(),
        actions: actions(access, &routes, &row),
        called_off: row.called_off,
    })
}

/// A delivery that exists for the caller, with whole bodies.
pub(super) async fn find(app: &App, access: &Access, delivery_id: &str) -> Result<DeliveryRow, Problem> {
    let id = id(delivery_id, "delivery_id", "delivery", DeliveryId::parse)?;
    let found = app.engine.store().delivery_row(id, access.namespace.clone()).await.map_err(Problem::of_read)?;
    found.ok_or_else(missing)
}

pub(super) fn missing() -> Problem {
    Problem::not_found("there is no delivery with this ID")
}

/// A subscription, a deleted binding too for as long as something may wait for it.
pub(super) fn subscription(routes: &Routes, id: SubscriptionId) -> Option<&Arc<Subscription>> {
    routes.subscription(id).or_else(|| routes.retired().find(|subscription| subscription.id == id))
}

fn what_next(app: &App, routes: &Routes, row: &DeliveryRow, subscription: Option<&Subscription>) -> String {
    let delivery = &row.delivery;
    let Attempts { made, most } = shown::attempts(routes, row);
    next(&Standing {
        now: app.engine.now(),
        progress: delivery.progress,
        made,
        most,
        began_at: delivery.last_attempt_at,
        last: row.last_ended.as_ref().and_then(|attempt| attempt.outcome.as_ref()),
        subscription,
        endpoint: routes.endpoint(delivery.endpoint).map(|endpoint| &**endpoint),
        is_parked: routes.parked_since(delivery.endpoint).is_some(),
        rate_limit: routes.rate_limit(delivery.endpoint),
        called_off: row.called_off,
    })
}

/// What can be done now, by whoever may change something.
fn actions(access: &Access, routes: &Routes, row: &DeliveryRow) -> Vec<String> {
    if access.allow(Scope::Write).is_err() {
        return Vec::new();
    }
    let state = row.delivery.progress.state;
    let can_be_sent = routes.route(row.delivery.subscription).is_some() && routes.endpoint(row.delivery.endpoint).is_some();
    let retry = match state {
        State::Retrying { .. } | State::Failed(_) | State::Expired => can_be_sent,
        State::Cancelled(code) => can_be_sent && code == ErrorCode::CancelledByHand,
        // That takes it back.
        State::Pending { .. } if row.called_off => can_be_sent,
        State::Pending { .. } | State::Sending | State::Succeeded => false,
    };
    let cancel = matches!(state.kind(), StateKind::Pending | StateKind::Sending | StateKind::Retrying) && !row.called_off;
    [("retry", retry), ("cancel", cancel)].into_iter().filter(|(_, can)| *can).map(|(action, _)| action.to_owned()).collect()
}
