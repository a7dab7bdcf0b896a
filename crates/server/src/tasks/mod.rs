//! The Tasks API: `/subscriptions`, `/ingest`, `/deliveries`, `/dlq`, `/scheduled`, `/healthz`. One file per noun.
//!
//! A subscription of this API is an endpoint and a subscription that share one UUID, a task is a delivery, a log an attempt,
//! a dlq task a dead letter. Every error is `{"error": text}`.

mod deliveries;
mod dlq;
mod health;
pub mod ingest;
mod page;
mod schedule_request;
mod scheduled;
mod subscription_request;
mod subscriptions;
mod wire;

pub use health::Health;

use crate::auth::Access;
use crate::http::{App, Problem};
use axum::Router;
use axum::routing::{delete, get, post};
use postrider_core::id::SubscriptionId;
use postrider_core::subscription::Subscription;
use std::sync::Arc;

/// The routes of this API.
pub fn router() -> Router<Arc<App>> {
    Router::new()
        .route("/subscriptions", get(subscriptions::list).post(subscriptions::create))
        .route("/subscriptions/{id}", get(subscriptions::show).put(subscriptions::update).delete(subscriptions::delete))
        .route("/subscriptions/{id}/deliveries", get(deliveries::of_subscription))
        .route("/subscriptions/{id}/dlq", get(dlq::of_subscription))
        // Requests that this route takes never come here: the listener hands them to `ingest` directly.
        .route(ingest::ROUTE, post(ingest::through_router))
        .route("/deliveries/{id}", get(deliveries::show))
        .route("/dlq/{id}", delete(dlq::dismiss))
        .route("/dlq/{id}/retry", post(dlq::retry))
        .route("/scheduled", get(scheduled::list).post(scheduled::create))
        .route("/scheduled/{id}", delete(scheduled::remove))
        .route("/healthz", get(health::healthz))
}

/// The subscription with this id, if it exists for the caller. Ids of other namespaces, deleted ones and malformed ones do not.
fn visible(app: &App, access: &Access, id: &str) -> Result<Arc<Subscription>, Problem> {
    let found = SubscriptionId::parse(id).and_then(|id| app.engine.routes().subscription(id).cloned());
    found.filter(|s| access.sees(&s.namespace)).ok_or_else(no_subscription)
}

fn no_subscription() -> Problem {
    Problem::not_found("subscription not found")
}
