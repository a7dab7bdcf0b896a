//! Delivery tasks and their logs.

use super::wire::{ListedLog, TaskAndLogs};
use crate::http::{self, App, PathId, Problem, Reads};
use ::http::{StatusCode, Uri};
use axum::extract::State;
use axum::response::Response;
use postrider_core::id::DeliveryId;
use std::sync::Arc;

/// `GET /deliveries/{delivery_task_id}`: the task and all of its logs, of one moment. Its published page knows no query parameters and no
/// 400, so that a query, such as one that keeps caches away, is not looked at.
pub(super) async fn show(State(app): State<Arc<App>>, Reads(access): Reads, PathId(id): PathId) -> Result<Response, Problem> {
    let missing = || Problem::not_found("delivery task not found");
    let id = DeliveryId::parse(&id).ok_or_else(missing)?;
    let view = app.engine.store().delivery(id).await.map_err(Problem::of_read)?;
    let view = view.filter(|view| access.sees(&view.delivery.namespace)).ok_or_else(missing)?;
    let routes = app.engine.routes();
    let route = routes.route(view.delivery.subscription).map(Arc::as_ref);
    Ok(http::json(StatusCode::OK, &TaskAndLogs::new(&view, route)))
}

/// `GET /subscriptions/{id}/deliveries`: the newest logs of a subscription.
pub(super) async fn of_subscription(
    State(app): State<Arc<App>>,
    Reads(access): Reads,
    PathId(id): PathId,
    uri: Uri,
) -> Result<Response, Problem> {
    let subscription = super::visible(&app, &access, &id)?;
    let limit = http::limit(&http::query(&uri, &["limit"])?, 20, 100)?;
    let attempts = app.engine.store().attempts(subscription.id, limit).await.map_err(Problem::of_read)?;
    let logs: Vec<_> = attempts.iter().filter_map(|view| ListedLog::new(&view.attempt, view.state)).collect();
    Ok(http::json(StatusCode::OK, &logs))
}
