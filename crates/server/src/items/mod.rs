//! The Items API: `/v1/delivery`, and `/v1/keys` beside it. Every error is the flat envelope of its contract, and every request wants a key.

mod batch;
mod binding_request;
mod bindings;
mod catalog;
mod destination_request;
mod destinations;
mod dlq;
mod envelope;
mod events;
mod gate;
mod history;
mod jobs;
mod keys;
mod once;
mod outbox;
mod page;
mod preview;
mod probe;
mod wire;

pub use envelope::dress;

use crate::http::App;
use axum::Router;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;

/// What the paths of this API begin with.
pub const PREFIX: &str = "/v1/";

/// The routes of this API.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    Router::new()
        .route(events::PATH, get(outbox::list).post(events::publish))
        .route("/v1/delivery/events/{id}", get(outbox::show))
        .route(history::PATH, get(history::list))
        .route("/v1/delivery/items/{id}", get(history::show))
        .route("/v1/delivery/items/{id}/replay", post(history::replay))
        .route(dlq::PATH, get(dlq::list))
        .route(jobs::REPLAY, post(jobs::replay))
        .route(jobs::PATH, get(jobs::list))
        .route("/v1/delivery/jobs/{id}", get(jobs::show))
        .route("/v1/delivery/jobs/{id}/cancel", post(jobs::cancel))
        .route("/v1/delivery/jobs/{id}/resume", post(jobs::resume))
        .route("/v1/delivery/dlq/{id}", get(dlq::show).delete(dlq::dismiss))
        .route("/v1/delivery/dlq/{id}/replay", post(dlq::replay))
        .route(destinations::PATH, get(destinations::list).post(destinations::create))
        .route("/v1/delivery/destinations/{id}", get(destinations::show).put(destinations::update).delete(destinations::delete))
        .route("/v1/delivery/destinations/{id}/test", post(probe::test))
        .route(bindings::PATH, get(bindings::list).post(bindings::create))
        .route("/v1/delivery/bindings/{id}", get(bindings::show).put(bindings::update).delete(bindings::delete))
        .route("/v1/delivery/bindings/{id}/preview", post(preview::preview))
        .route("/v1/delivery/catalog/signals", get(catalog::signals))
        .route("/v1/delivery/catalog/deliverables", get(catalog::deliverables))
        .route("/v1/delivery/catalog/serializers", get(catalog::serializers))
        .route("/v1/delivery/catalog/connectors", get(catalog::connectors))
        .route(batch::PATH, post(batch::publish))
        .route(keys::PATH, get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", get(keys::show).delete(keys::revoke))
        .route_layer(from_fn_with_state(Arc::clone(app), gate::gate))
}
