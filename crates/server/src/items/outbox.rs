//! `GET /v1/delivery/events`: what was published, and what came of it (contract, sections 2 and 12).

use super::gate::Caller;
use super::history::namespace;
use super::page::{Listed, PageOf, Position, Query};
use super::wire::{event_seq, time};
use crate::auth::Access;
use crate::http::{App, PathId, Problem, json};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::event::{Namespace, Skipped};
use postrider_core::id::{EventId, EventSeq};
use postrider_core::ports::{EventFilter, EventPlace, EventRow, PageRequest};
use postrider_core::time::Timestamp;
use serde::Serialize;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What the payloads of one page may sum up to, in bytes; the page ends there, and the next one goes on.
const MAX_PAGE_BYTES: u64 = 4 << 20;

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    /// The same event in the other APIs and in the header `webhook-id`.
    uuid: EventId,
    event_type: &'a str,
    payload: Payload<'a>,
    dedup_key: Option<&'a str>,
    labels: &'a BTreeMap<String, String>,
    metadata: &'a BTreeMap<String, String>,
    ttl_seconds: Option<u64>,
    created_at: String,
    /// When the last of its deliveries came into being: with the event, unless they are very many.
    processed_at: Option<String>,
    processing_attempts: u32,
    processing_status: Option<&'static str>,
    error: Option<&'static str>,
    skipped: &'a [Skipped],
}

/// A payload as it was accepted; one that is no JSON, which only the Tasks API's senders can make, as a text.
#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Payload<'a> {
    Json(&'a RawValue),
    Text(std::borrow::Cow<'a, str>),
}

impl<'a> Shown<'a> {
    fn new(row: &'a EventRow, access: &Access) -> Self {
        let event = &*row.event;
        let payload = serde_json::from_slice::<&RawValue>(&event.payload);
        let status = if row.has_deliveries { "enqueued" } else { "no-subscribers" };
        Shown {
            id: event.seq.to_string(),
            customer_id: access.namespace.is_none().then_some(&event.namespace),
            uuid: event.id,
            event_type: &event.event_type,
            payload: payload.map_or_else(|_| Payload::Text(String::from_utf8_lossy(&event.payload)), Payload::Json),
            dedup_key: event.idempotency_key.as_deref(),
            labels: &event.labels,
            metadata: &event.metadata,
            ttl_seconds: event.ttl.map(|ttl| ttl.as_secs()),
            created_at: time(event.created_at),
            processed_at: (!row.fan_out_pending).then(|| time(event.created_at)),
            processing_attempts: 1,
            processing_status: (!row.fan_out_pending).then_some(status),
            error: None,
            skipped: &row.skipped,
        }
    }
}

impl Position for EventPlace {
    const KIND: &'static str = "e";

    fn write(&self) -> String {
        format!("{}.{}", self.created_at.as_micros(), self.seq)
    }

    fn parse(text: &str) -> Option<Self> {
        let (created_at, seq) = text.split_once('.')?;
        Some(EventPlace { created_at: Timestamp::from_micros(created_at.parse().ok()?), seq: EventSeq(seq.parse().ok()?) })
    }
}

/// Answers the events, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let filter = EventFilter {
        namespace: namespace(&query, &access)?,
        event_type: query.get("event_type").map(str::to_owned),
        created_from: query.time("created_after")?,
        created_before: query.time("created_before")?,
        ..EventFilter::default()
    };
    let page: PageOf<EventPlace> = query.page()?;
    let request = PageRequest { after: page.after, limit: page.limit, max_bytes: MAX_PAGE_BYTES };
    let found = app.engine.store().find_events(filter, request).await.map_err(Problem::of_read)?;
    let data = found.page.items.iter().map(|row| Shown::new(row, &access)).collect();
    let next_cursor = found.page.next.map(|place| place.position());
    Ok(json(StatusCode::OK, &Listed { data, total: found.total, next_cursor }))
}

/// Answers one event.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let missing = || Problem::not_found("there is no event with this id");
    let seq = event_seq(&id).ok_or_else(missing)?;
    let found = app.engine.store().event_by_seq(seq, access.namespace.clone()).await.map_err(Problem::of_read)?;
    let row = found.ok_or_else(missing)?;
    Ok(json(StatusCode::OK, &Shown::new(&row, &access)))
}
