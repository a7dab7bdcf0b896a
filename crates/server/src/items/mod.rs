//! The Items API: `/v1/delivery`. Every error is the flat envelope of its contract, and every request wants a key.

mod envelope;
mod events;

pub use envelope::Failed;

use crate::http::App;
use axum::Router;
use axum::routing::post;
use std::sync::Arc;

/// What the paths of this API begin with.
pub const PREFIX: &str = "/v1/";

/// The routes of this API.
pub fn router() -> Router<Arc<App>> {
    Router::new().route("/v1/delivery/events", post(events::publish))
}
