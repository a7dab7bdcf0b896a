//! `/healthz`, `/health` and `/ready`.

use crate::openapi::operation::{Operation, answer, get};
use crate::openapi::schema::{object, string, time, word};
use crate::openapi::{Noun, Tag};

const HEALTHY: &str = r#"{"status": "healthy", "version": "0.1.0", "timestamp": "2026-01-05T08:00:00Z", "uptime": "1h2m3s",
  "checks": {"database": {"status": "healthy", "type": "sqlite"}, "queue": {"status": "healthy", "type": "store"}},
  "service": {"name": "postrider", "description": "Webhook delivery",
    "endpoints": {"grpc": "/", "http": "/", "health": "/health", "ready": "/ready"}}}"#;

const UNHEALTHY: &str = r#"{"status": "unhealthy", "version": "0.1.0", "timestamp": "2026-01-05T08:00:00Z", "uptime": "1h2m3s",
  "checks": {"database": {"status": "unhealthy", "type": "sqlite", "error": "the store cannot be used: see the server's log"},
    "queue": {"status": "unhealthy", "type": "store", "error": "the store cannot be used: see the server's log"}},
  "service": {"name": "postrider", "description": "Webhook delivery",
    "endpoints": {"grpc": "/", "http": "/", "health": "/health", "ready": "/ready"}}}"#;

pub(super) fn noun() -> Noun {
    let status = |word_of: &'static str| object().field("status", word([word_of])).closed();
    let operation = get("/healthz", "health", "Health check")
        .about("Whether the store reads and writes. It needs no key; an answer is good for a second.")
        .open()
        .answers(answer(200, "The server works.").json(status("healthy"), r#"{"status": "healthy"}"#))
        .answers(answer(503, "The store cannot be used.").json(status("unhealthy"), r#"{"status": "unhealthy"}"#));
    let operations = vec![operation, detailed(), ready()];
    Noun { tag: Tag { name: "Health", about: "For load balancers." }, schemas: Vec::new(), operations }
}

/// `/health`, in the shape that load balancers of the RPC API know.
fn detailed() -> Operation {
    let shape = |word_of: &'static str| {
        let check = || object().field("status", word([word_of])).field("type", string()).optional("error", string()).closed();
        let endpoints = object().field("grpc", string()).field("http", string()).field("health", string()).field("ready", string());
        let service = object().field("name", string()).field("description", string()).field("endpoints", endpoints.closed());
        object()
            .field("status", word([word_of]))
            .field("version", string())
            .field("timestamp", time())
            .field("uptime", string())
            .field("checks", object().field("database", check()).field("queue", check()).closed())
            .field("service", service.closed())
            .closed()
    };
    get("/health", "healthInDetail", "Health check in detail")
        .about("What `/healthz` says, in the shape that callers of the RPC API know. It needs no key; an answer is good for a second.")
        .open()
        .answers(answer(200, "The server works.").json(shape("healthy"), HEALTHY))
        .answers(answer(503, "The store cannot be used.").json(shape("unhealthy"), UNHEALTHY))
}

fn ready() -> Operation {
    let shape = object().field("status", word(["ready"])).field("timestamp", time()).field("version", string()).closed();
    let example = r#"{"status": "ready", "timestamp": "2026-01-05T08:00:00Z", "version": "0.1.0"}"#;
    get("/ready", "ready", "Whether requests are taken")
        .about("Answers as soon as the server takes requests, and looks at nothing. It needs no key.")
        .open()
        .answers(answer(200, "It does.").json(shape, example))
}
