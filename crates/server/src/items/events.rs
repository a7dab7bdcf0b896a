//! `POST /v1/delivery/events`: publishes an event to every subscription that wants it.

use super::gate::Tenant;
use super::once::Fresh;
use crate::http::{App, Problem, Reader, json};
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use bytes::Bytes;
use http::{Request, StatusCode};
use postrider_core::event::{MAX_NAME_BYTES, Namespace, SchemaCheck};
use postrider_core::filter::check_labels;
use postrider_core::signal;
use postrider_engine::{Publish, Receipt, To};
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

const FIELDS: [&str; 6] = ["event_type", "payload", "dedup_key", "labels", "metadata", "ttl_seconds"];

/// Most entries of `metadata`.
pub(crate) const MAX_METADATA: usize = 50;

/// Longest key and value of `metadata` together, in bytes.
pub(crate) const MAX_METADATA_ENTRY_BYTES: usize = 1_024;

/// Longest `ttl_seconds`: a year.
pub(crate) const MAX_TTL_SECONDS: u64 = 366 * 86_400;

/// What a publisher is told of an event that is stored.
#[derive(Serialize)]
pub(super) struct Accepted<'a> {
    id: String,
    dedup_key: Option<&'a str>,
    duplicate: bool,
}

/// The path.
pub(super) const PATH: &str = "/v1/delivery/events";

/// Answers 202 once the event and its deliveries are on disk.
pub(super) async fn publish(State(app): State<Arc<App>>, Tenant(namespace): Tenant, request: Request<Body>) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    let body = app.read_json(&parts.headers, body).await?;
    let mut event = parse(&body, namespace)?;
    let dedup_key = event.idempotency_key.clone();
    event.idempotency_key = dedup_key.clone().or_else(|| Fresh::of(&parts.extensions).dedup_key(0));
    let receipt = app.engine.publish(event).await?;
    Ok(json(StatusCode::ACCEPTED, &Accepted::new(&receipt, dedup_key.as_deref())))
}

impl<'a> Accepted<'a> {
    pub(super) fn new(receipt: &Receipt, dedup_key: Option<&'a str>) -> Self {
        // Without a key of its own an event can only be that of the same request, done again.
        Accepted { id: receipt.seq.to_string(), dedup_key, duplicate: receipt.duplicate && dedup_key.is_some() }
    }
}

/// Reads an event.
pub(super) fn parse(body: &[u8], namespace: Namespace) -> Result<Publish, Problem> {
    let reader = Reader::open(body, &FIELDS)?;
    let event_type = reader.read("event_type", "a string", |name: &String| signal::check_published(name).map_err(|e| e.to_string()));
    let event_type = reader.required("event_type", event_type);
    let payload = reader.required("payload", reader.raw("payload"));
    if payload.is_some_and(|raw| !raw.starts_with('{')) {
        reader.fail("payload", "must be an object");
    }
    let idempotency_key = reader.text("dedup_key", 1..=MAX_NAME_BYTES).value();
    let labels = reader.texts("labels", |labels| check_labels(labels).map_err(|e| e.to_string())).value().unwrap_or_default();
    let metadata = reader.texts("metadata", check_metadata).value().unwrap_or_default();
    let ttl = reader.number("ttl_seconds", 1..=MAX_TTL_SECONDS).value().map(Duration::from_secs);
    reader.finish()?;
    let (event_type, payload) = (event_type.unwrap_or_default(), payload.unwrap_or_default());
    Ok(Publish {
        namespace,
        event_type: Arc::from(event_type),
        payload: Bytes::copy_from_slice(payload.as_bytes()),
        labels,
        metadata,
        idempotency_key,
        ttl,
        schema_check: SchemaCheck::Unchecked,
        to: To::Matching,
    })
}

/// Checks the metadata of an event; the error says the rule.
pub(crate) fn check_metadata(metadata: &BTreeMap<String, String>) -> Result<(), String> {
    if metadata.len() > MAX_METADATA {
        return Err(format!("must have at most {MAX_METADATA} entries"));
    }
    let fits = |(key, value): (&String, &String)| {
        !key.is_empty() && key.len() + value.len() <= MAX_METADATA_ENTRY_BYTES && !key.contains('\0') && !value.contains('\0')
    };
    if metadata.iter().all(fits) {
        return Ok(());
    }
    Err(format!("must have keys that are not empty, at most {MAX_METADATA_ENTRY_BYTES} bytes of key and value together, and no NUL"))
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
        for (body, path) in [
            (r#"{"payload": {}}"#, "event_type"),
            (r#"{"event_type": "a b", "payload": {}}"#, "event_type"),
            (r#"{"event_type": "single", "payload": {}}"#, "event_type"),
            (r#"{"event_type": "A.b", "payload": {}}"#, "event_type"),
            (r#"{"event_type": "delivery.x", "payload": {}}"#, "event_type"),
            (r#"{"event_type": "a.b"}"#, "payload"),
            (r#"{"event_type": "a.b", "payload": [1]}"#, "payload"),
            (r#"{"event_type": "a.b", "payload": {}, "dedup_key": ""}"#, "dedup_key"),
            (r#"{"event_type": "a.b", "payload": {}, "labels": {"a b": "c"}}"#, "labels"),
            (r#"{"event_type": "a.b", "payload": {}, "labels": {"a": 1}}"#, "labels"),
            (r#"{"event_type": "a.b", "payload": {}, "metadata": {"": "c"}}"#, "metadata"),
            (r#"{"event_type": "a.b", "payload": {}, "ttl_seconds": 0}"#, "ttl_seconds"),
            (r#"{"event_type": "a.b", "payload": {}, "ttl_seconds": -1}"#, "ttl_seconds"),
            (r#"{"event_type": "a.b", "payload": {}, "type": "a"}"#, "type"),
        ] {
            let problem = read(body).expect_err(body);
            assert_eq!(problem.details.iter().map(|d| d.path.as_str()).collect::<Vec<_>>(), [path], "{body}");
        }
    }
}
