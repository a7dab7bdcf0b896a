//! The Items API: `/v1/delivery`, and `/v1/keys` beside it. Every error is the flat envelope of its contract, and every request wants a key.

mod batch;
mod envelope;
mod events;
mod gate;
mod keys;
mod page;

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
        .route(events::PATH, post(events::publish))
        .route(batch::PATH, post(batch::publish))
        .route(keys::PATH, get(keys::list).post(keys::create))
        .route("/v1/keys/{id}", get(keys::show).delete(keys::revoke))
        .route_layer(from_fn_with_state(Arc::clone(app), gate::gate))
}
