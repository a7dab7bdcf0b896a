//! The Items API: `/v1/delivery`, and `/v1/keys` and `/v1/nodes` beside it. Every error is the flat envelope of its contract, and every
//! request wants a key.

pub(crate) mod batch;
pub(crate) mod binding_request;
mod bindings;
mod catalog;
pub(crate) mod destination_request;
mod destinations;
mod dlq;
mod envelope;
pub(crate) mod events;
mod gate;
pub(crate) mod history;
pub(crate) mod jobs;
pub(crate) mod keys;
mod nodes;
pub(crate) mod once;
mod outbox;
pub(crate) mod page;
pub(crate) mod preview;
mod probe;
mod wire;

pub use envelope::dress;

use crate::http::{App, Table};
use axum::Router;
use axum::middleware::from_fn_with_state;
use http::Method;
use std::sync::Arc;

/// What the paths of this API begin with.
pub const PREFIX: &str = "/v1/";

/// The routes of this API.
pub fn routes() -> Table {
    Table::default()
        .get(events::PATH, outbox::list)
        .post(events::PATH, events::publish)
        .get("/v1/delivery/events/{id}", outbox::show)
        .post(batch::PATH, batch::publish)
        .get(history::PATH, history::list)
        .get("/v1/delivery/items/{id}", history::show)
        .post("/v1/delivery/items/{id}/replay", history::replay)
        .get(dlq::PATH, dlq::list)
        .post(jobs::REPLAY, jobs::replay)
        .get("/v1/delivery/dlq/{id}", dlq::show)
        .delete("/v1/delivery/dlq/{id}", dlq::dismiss)
        .post("/v1/delivery/dlq/{id}/replay", dlq::replay)
        .get(jobs::PATH, jobs::list)
        .get("/v1/delivery/jobs/{id}", jobs::show)
        .post("/v1/delivery/jobs/{id}/cancel", jobs::cancel)
        .post("/v1/delivery/jobs/{id}/resume", jobs::resume)
        .get(destinations::PATH, destinations::list)
        .post(destinations::PATH, destinations::create)
        .get("/v1/delivery/destinations/{id}", destinations::show)
        .put("/v1/delivery/destinations/{id}", destinations::update)
        .delete("/v1/delivery/destinations/{id}", destinations::delete)
        .post("/v1/delivery/destinations/{id}/test", probe::test)
        .get(bindings::PATH, bindings::list)
        .post(bindings::PATH, bindings::create)
        .get("/v1/delivery/bindings/{id}", bindings::show)
        .put("/v1/delivery/bindings/{id}", bindings::update)
        .delete("/v1/delivery/bindings/{id}", bindings::delete)
        .post("/v1/delivery/bindings/{id}/preview", preview::preview)
        .get("/v1/delivery/catalog/signals", catalog::signals)
        .get("/v1/delivery/catalog/deliverables", catalog::deliverables)
        .get("/v1/delivery/catalog/serializers", catalog::serializers)
        .get("/v1/delivery/catalog/connectors", catalog::connectors)
        .get(keys::PATH, keys::list)
        .post(keys::PATH, keys::create)
        .get("/v1/keys/{id}", keys::show)
        .delete("/v1/keys/{id}", keys::revoke)
        .get(nodes::PATH, nodes::list)
}

/// Whether a request publishes.
pub fn publishes(method: &Method, path: &str) -> bool {
    *method == Method::POST && (path == events::PATH || path == batch::PATH)
}

/// The routes behind the gate.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    routes().into_router().route_layer(from_fn_with_state(Arc::clone(app), gate::gate))
}
