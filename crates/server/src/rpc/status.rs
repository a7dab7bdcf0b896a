//! `GET /health` and `GET /ready`, as load balancers of the RPC API know them (contract, section 12). They need no key.

use crate::http::{App, json};
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use std::sync::Arc;
use std::time::Duration;

const VERSION: &str = env!("CARGO_PKG_VERSION");

#[derive(Serialize)]
struct Health {
    status: &'static str,
    version: &'static str,
    timestamp: String,
    uptime: String,
    checks: Checks,
    service: Service,
}

#[derive(Serialize)]
struct Checks {
    database: Check,
    queue: Check,
}

#[derive(Serialize)]
struct Check {
    status: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    error: Option<&'static str>,
}

#[derive(Serialize)]
struct Service {
    name: &'static str,
    description: &'static str,
    endpoints: Endpoints,
}

/// Paths, on whatever address this was asked at: all of them answer on each.
#[derive(Serialize)]
struct Endpoints {
    grpc: &'static str,
    http: &'static str,
    health: &'static str,
    ready: &'static str,
}

const SERVICE: Service = Service {
    name: "postrider",
    description: "Webhook delivery",
    endpoints: Endpoints { grpc: "/", http: "/", health: "/health", ready: "/ready" },
};

#[derive(Serialize)]
struct Ready {
    status: &'static str,
    timestamp: String,
    version: &'static str,
}

/// 200 if the store reads and writes, else 503. The queue is in the store: it is as well as that.
pub(super) async fn health(State(app): State<Arc<App>>) -> Response {
    let (code, status, error) = if app.is_healthy().await {
        (StatusCode::OK, "healthy", None)
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "unhealthy", Some("the store cannot be used: see the server's log"))
    };
    let check = |kind| Check { status, kind, error };
    let health = Health {
        status,
        version: VERSION,
        timestamp: app.engine.now().rfc3339(0),
        uptime: uptime(app.started.elapsed()),
        checks: Checks { database: check(app.database), queue: check("store") },
        service: SERVICE,
    };
    json(code, &health)
}

/// 200: whoever gets an answer gets others.
pub(super) async fn ready(State(app): State<Arc<App>>) -> Response {
    json(StatusCode::OK, &Ready { status: "ready", timestamp: app.engine.now().rfc3339(0), version: VERSION })
}

/// Whole seconds as Go writes a duration.
fn uptime(span: Duration) -> String {
    let (hours, minutes, seconds) = (span.as_secs() / 3_600, span.as_secs() / 60 % 60, span.as_secs() % 60);
    match (hours, minutes) {
        (0, 0) => format!("{seconds}s"),
        (0, _) => format!("{minutes}m{seconds}s"),
        _ => format!("{hours}h{minutes}m{seconds}s"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_uptime_is_written_as_go_does() {
        for (seconds, written) in [(0, "0s"), (59, "59s"), (60, "1m0s"), (3_600, "1h0m0s"), (90_061, "25h1m1s")] {
            assert_eq!(uptime(Duration::from_secs(seconds)), written);
        }
    }
}
