//! `POST /v1/delivery/destinations/:id/test`: tries a destination without an event (contract, section 9.1).

use super::destinations::find;
use super::gate::{Caller, Tenant};
use crate::http::{App, PathId, Problem, json};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use postrider_engine::{NotProbed, Probed};
use serde::Serialize;
use std::sync::Arc;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Shown<'a> {
    success: bool,
    http_status: Option<u16>,
    duration_ms: u64,
    message: Option<String>,
    /// One of the codes that items have.
    error_code: Option<&'a str>,
}

impl Shown<'_> {
    fn new(probed: Probed) -> Self {
        Shown {
            success: probed.error.is_none(),
            http_status: probed.http_status,
            duration_ms: u64::try_from(probed.took.as_millis()).unwrap_or(u64::MAX),
            error_code: probed.error.as_ref().map(|error| error.code.as_str()),
            message: probed.error.map(|error| error.message),
        }
    }
}

/// Sends a signed `delivery.test`; a test that fails is an answer as well, and no reason to disable anything. A body is not looked at.
pub(super) async fn test(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let id = find(&app.engine.routes(), &access, &id)?.id;
    match app.engine.probe(id).await {
        Ok(probed) => Ok(json(StatusCode::OK, &Shown::new(probed))),
        Err(NotProbed::Gone) => Err(Problem::not_found("there is no destination with this id")),
        Err(NotProbed::Busy) => Err(Problem::unavailable("too many tests are under way: try again in a moment")),
    }
}
