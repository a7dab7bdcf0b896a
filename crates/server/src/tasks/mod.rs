//! The Tasks API: `/subscriptions`, `/ingest`, `/deliveries`, `/dlq`, `/scheduled`, `/healthz`. One file per noun.
//!
//! A subscription of this API is an endpoint and a subscription that share one UUID, a task is a delivery, a log an attempt,
//! a dlq task a dead letter. Every error is `{"error": text}`.

mod deliveries;
pub(crate) mod dlq;
mod health;
pub mod ingest;
pub(crate) mod page;
mod schedule_request;
pub(crate) mod scheduled;
pub(crate) mod subscription_request;
pub(crate) mod subscriptions;
mod wire;

pub use health::Health;

use crate::auth::Access;
use crate::http::{App, Problem, Table};
use postrider_core::id::SubscriptionId;
use postrider_core::subscription::Subscription;
use std::sync::Arc;

/// The routes of this API.
pub fn routes() -> Table {
    Table::default()
        .get("/subscriptions", subscriptions::list)
        .post("/subscriptions", subscriptions::create)
        .get("/subscriptions/{id}", subscriptions::show)
        .put("/subscriptions/{id}", subscriptions::update)
        .delete("/subscriptions/{id}", subscriptions::delete)
        .get("/subscriptions/{id}/deliveries", deliveries::of_subscription)
        .get("/subscriptions/{id}/dlq", dlq::of_subscription)
        // Requests that this route takes never come here: the listener hands them to `ingest` directly.
        .post(ingest::ROUTE, ingest::through_router)
        .get("/deliveries/{delivery_task_id}", deliveries::show)
        .delete("/dlq/{dlq_task_id}", dlq::dismiss)
        .post("/dlq/{dlq_task_id}/retry", dlq::retry)
        .get("/scheduled", scheduled::list)
        .post("/scheduled", scheduled::create)
        .delete("/scheduled/{id}", scheduled::remove)
        .get("/healthz", health::healthz)
}

/// The subscription with this id, if it exists for the caller. Ids of other namespaces, deleted ones and malformed ones do not.
fn visible(app: &App, access: &Access, id: &str) -> Result<Arc<Subscription>, Problem> {
    let found = SubscriptionId::parse(id).and_then(|id| app.engine.routes().subscription(id).cloned());
    found.filter(|s| access.sees(&s.namespace)).ok_or_else(no_subscription)
}

fn no_subscription() -> Problem {
    Problem::not_found("subscription not found")
}
