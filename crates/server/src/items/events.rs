//! `POST /v1/delivery/events`: publishes an event to every subscription that wants it.

use super::envelope::Failed;
use crate::http::json::{Field, Fields};
use crate::http::{App, Problem, json, query};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::request::Parts;
use http::{Request, StatusCode};
use postrider_core::event::{MAX_NAME_BYTES, Namespace, check_event_type};
use postrider_core::filter::check_labels;
use postrider_core::key::Scope;
use postrider_engine::{Publish, To};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FIELDS: [&str; 6] = ["event_type", "payload", "dedup_key", "labels", "metadata", "ttl_seconds"];

/// Most entries of `metadata`.
const MAX_METADATA: usize = 50;

/// Longest key and value of `metadata` together, in bytes.
const MAX_METADATA_ENTRY_BYTES: usize = 1_024;

/// Longest `ttl_seconds`: a year.
const MAX_TTL_SECONDS: u64 = 366 * 86_400;

#[derive(Serialize)]
struct Accepted<'a> {
    id: String,
    dedup_key: Option<&'a str>,
    duplicate: bool,
}

/// Answers 202 once the event and its deliveries are on disk.
pub(super) async fn publish(State(app): State<Arc<App>>, request: Request<Body>) -> Result<Response, Failed> {
    let (parts, body) = request.into_parts();
    accept(&app, &parts, body).await.map_err(|problem| Failed::new(&app, parts.uri.path(), problem))
}

async fn accept(app: &App, parts: &Parts, body: Body) -> Result<Response, Problem> {
    let namespace = namespace(app, parts)?;
    query(&parts.uri, &[])?;
    let body = app.read_json(&parts.headers, body).await?;
    let event = parse(&body, namespace).map_err(as_validation)?;
    let dedup_key = event.idempotency_key.clone();
    let receipt = app.engine.publish(event).await?;
    let answer = Accepted { id: receipt.seq.to_string(), dedup_key: dedup_key.as_deref(), duplicate: receipt.duplicate };
    Ok(json(StatusCode::ACCEPTED, &answer))
}

/// This API wants a key always, in development mode too, and one that belongs to a namespace.
fn namespace(app: &App, parts: &Parts) -> Result<Namespace, Problem> {
    let caller = app.auth.caller(&parts.headers, &app.engine.routes())?;
    let access = caller.ok_or(crate::auth::Denied::Missing)?;
    access.allow(Scope::Write)?;
    access.namespace.ok_or_else(|| {
        Problem::bad_request("an event belongs to a namespace, and this key sees all of them: publish with a key of one namespace")
    })
}

/// What is wrong with the content is its own code in this API.
fn as_validation(problem: Problem) -> Problem {
    if problem.status == StatusCode::BAD_REQUEST { Problem { code: "validation_error", ..problem } } else { problem }
}

fn parse(body: &[u8], namespace: Namespace) -> Result<Publish, Problem> {
    let fields = Fields::parse(body, &FIELDS)?;
    let event_type = fields.required_text("event_type")?;
    check_event_type(&event_type).map_err(|e| Problem::bad_request(e.to_string()))?;
    let payload = match fields.raw("payload") {
        Field::Value(raw) if raw.starts_with('{') => Bytes::copy_from_slice(raw.as_bytes()),
        _ => return Err(Problem::bad_request("the field \"payload\" must be an object and must be there")),
    };
    let idempotency_key = fields.text("dedup_key")?.value();
    if let Some(key) = &idempotency_key {
        check_key(key)?;
    }
    let labels = fields.text_map("labels")?.value().unwrap_or_default();
    check_labels(&labels).map_err(|e| Problem::bad_request(e.to_string()))?;
    let metadata = fields.text_map("metadata")?.value().unwrap_or_default();
    check_metadata(&metadata)?;
    let ttl = match fields.number("ttl_seconds")?.value() {
        None => None,
        Some(secs @ 1..=MAX_TTL_SECONDS) => Some(Duration::from_secs(secs)),
        Some(_) => return Err(Problem::bad_request(format!("ttl_seconds must be between 1 and {MAX_TTL_SECONDS}"))),
    };
    Ok(Publish { namespace, event_type: Arc::from(event_type), payload, labels, metadata, idempotency_key, ttl, to: To::Matching })
}

fn check_key(key: &str) -> Result<(), Problem> {
    if (1..=MAX_NAME_BYTES).contains(&key.len()) && !key.chars().any(char::is_control) {
        return Ok(());
    }
    Err(Problem::bad_request(format!("dedup_key must be 1 to {MAX_NAME_BYTES} bytes without control characters")))
}

fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), Problem> {
    if metadata.len() > MAX_METADATA {
        return Err(Problem::bad_request(format!("metadata: at most {MAX_METADATA} entries")));
    }
    for (key, value) in metadata {
        if key.is_empty() || key.len() + value.len() > MAX_METADATA_ENTRY_BYTES || key.contains('\0') || value.contains('\0') {
            return Err(Problem::bad_request(format!(
                "metadata: a key must not be empty, key and value are at most {MAX_METADATA_ENTRY_BYTES} bytes together and hold no NUL"
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<Publish, Problem> {
        parse(body.as_bytes(), Namespace::default_namespace())
    }

    #[test]
    fn an_event_keeps_the_bytes_of_its_payload() {
        let event = read(
            r#"{"event_type": "a.b", "payload": {"x":  1.0, "y": "\u00e9"}, "dedup_key": "k", "labels": {"l": "v"}, "metadata": {"m": "w"}, "ttl_seconds": 60}"#,
        );
        let event = event.expect("an event");
        assert_eq!(event.payload, Bytes::from_static(br#"{"x":  1.0, "y": "\u00e9"}"#));
        assert_eq!((event.idempotency_key.as_deref(), event.ttl), (Some("k"), Some(Duration::from_secs(60))));
        assert_eq!((event.labels.len(), event.metadata.len()), (1, 1));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (body, word) in [
            (r#"{"payload": {}}"#, "event_type"),
            (r#"{"event_type": "a b", "payload": {}}"#, "event type"),
            (r#"{"event_type": "a"}"#, "payload"),
            (r#"{"event_type": "a", "payload": [1]}"#, "payload"),
            (r#"{"event_type": "a", "payload": {}, "dedup_key": ""}"#, "dedup_key"),
            (r#"{"event_type": "a", "payload": {}, "labels": {"a b": "c"}}"#, "label"),
            (r#"{"event_type": "a", "payload": {}, "labels": {"a": 1}}"#, "labels"),
            (r#"{"event_type": "a", "payload": {}, "metadata": {"": "c"}}"#, "metadata"),
            (r#"{"event_type": "a", "payload": {}, "ttl_seconds": 0}"#, "ttl_seconds"),
            (r#"{"event_type": "a", "payload": {}, "ttl_seconds": -1}"#, "ttl_seconds"),
            (r#"{"event_type": "a", "payload": {}, "type": "a"}"#, "unknown field \"type\""),
        ] {
            let problem = read(body).expect_err(body);
            assert!(problem.message.contains(word), "{body}: {}", problem.message);
        }
    }
}
