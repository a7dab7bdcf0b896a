//! `GET /healthz`.

use crate::http::{App, json_bytes};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use std::sync::Arc;
use std::time::Duration;

/// How long the store may take to show that it lives.
const PATIENCE: Duration = Duration::from_secs(2);

/// 200 if the store reads and writes, else 503. It needs no key: load balancers have none.
pub(super) async fn healthz(State(app): State<Arc<App>>) -> Response {
    match tokio::time::timeout(PATIENCE, app.engine.store().health()).await {
        Ok(Ok(())) => json_bytes(StatusCode::OK, br#"{"status":"healthy"}"#.to_vec()),
        Ok(Err(error)) => unhealthy(&error.cause),
        Err(_) => unhealthy("the store did not answer in time"),
    }
}

fn unhealthy(cause: &str) -> Response {
    tracing::warn!(cause, "the health check failed");
    json_bytes(StatusCode::SERVICE_UNAVAILABLE, br#"{"status":"unhealthy"}"#.to_vec())
}
