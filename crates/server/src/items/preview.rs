//! `POST /v1/delivery/bindings/:id/preview`: what a binding would send; nothing is sent (contract, section 9.3).

use super::bindings::find;
use super::gate::Caller;
use super::wire::event_seq;
use crate::http::{App, Detail, PathId, Problem, Reader, json};
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, StatusCode};
use postrider_core::body::{BodyForm, FieldMap};
use postrider_core::catalog::{CATALOG, EVENT, Shape};
use postrider_core::event::Event;
use postrider_core::filter::Facts;
use postrider_core::id::{EventId, EventSeq};
use postrider_core::ports::{EventFilter, PageRequest};
use postrider_core::subscription::Subscription;
use postrider_engine::Preview;
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::Arc;

/// How much of a body is shown, in bytes (contract, section 9.3).
pub(crate) const MAX_SHOWN: usize = 8 << 10;

/// How many of the newest events are looked through for one that the binding wants.
const LOOKED_THROUGH: u32 = 50;

/// What their payloads may sum up to, in bytes.
const MAX_LOOKED_THROUGH_BYTES: u64 = 8 << 20;

#[derive(Serialize)]
struct Shown<'a> {
    available: bool,
    sample_mode: &'static str,
    /// Whether the binding would get such an event.
    matched: bool,
    signal: Signal<'a>,
    resolver: Resolver,
    projected: Option<&'a RawValue>,
    serialized: Option<String>,
    wire_preview: Option<Wire>,
    #[serde(skip_serializing_if = "Option::is_none")]
    structural_sample: Option<&'a RawValue>,
    #[serde(skip_serializing_if = "Option::is_none")]
    fallback_reason: Option<&'static str>,
    error_code: Option<&'static str>,
    error_message: Option<String>,
}

#[derive(Serialize)]
struct Signal<'a> {
    event_type: &'a str,
    event_id: Option<String>,
    payload: Option<&'a RawValue>,
}

#[derive(Serialize)]
struct Resolver {
    #[serde(rename = "type")]
    kind: &'static str,
    shape: Option<&'static Shape>,
}

#[derive(Serialize)]
struct Wire {
    body_preview: String,
    mime: String,
    size_bytes: usize,
    headers_preview: BTreeMap<String, String>,
}

impl Wire {
    fn new(preview: &Preview) -> Self {
        let text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let headers: &HeaderMap = &preview.headers;
        Wire {
            body_preview: beginning(&preview.body),
            mime: headers.get(http::header::CONTENT_TYPE).map(text).unwrap_or_default(),
            size_bytes: preview.body.len(),
            headers_preview: headers.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect(),
        }
    }
}

/// The beginning of a body as text, in [`MAX_SHOWN`] bytes at the most.
pub(crate) fn beginning(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(MAX_SHOWN)]);
    // A character that was cut in two at the end.
    text.strip_suffix(char::REPLACEMENT_CHARACTER).filter(|_| bytes.len() > MAX_SHOWN).unwrap_or(&text).to_owned()
}

/// Where the sample comes from.
enum Sample {
    /// An event that was published.
    Real(Arc<Event>),
    /// A payload of the request.
    Given(Bytes),
    /// Nothing to show was published: something of the form that the binding asks for.
    Made,
}

/// Answers what the binding would send for an event: that of `event_id`, else one with `payload`, else the newest that it wants, else a made up one.
pub(super) async fn preview(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, Problem> {
    let binding = Arc::clone(find(&app.engine.routes(), &access, &id)?);
    let (parts, body) = request.into_parts();
    let body = app.read_body(&parts.headers, body).await?;
    if !body.is_empty() && !crate::http::body::is_json(&parts.headers) {
        return Err(Problem::media_type("application/json"));
    }
    let sample = sample(&app, &binding, asked(if body.is_empty() { b"{}" } else { &body })?).await?;
    let (event, real) = match &sample {
        Sample::Real(event) => (Arc::clone(event), true),
        Sample::Given(payload) => (Arc::new(event(&app, &binding, payload.clone())), false),
        Sample::Made => (Arc::new(event(&app, &binding, structural(&binding))), false),
    };
    let preview = app.engine.preview(binding.id, Arc::clone(&event)).await;
    let preview = preview.ok_or_else(|| Problem::not_found("there is no binding with this id"))?;
    let payload = raw(&event.payload);
    let (made, error) = match &preview {
        Ok(preview) => (Some(preview), None),
        Err(why) => (None, Some(why)),
    };
    let shown = Shown {
        available: true,
        sample_mode: if real { "real" } else { "structural" },
        matched: wants(&binding, &event),
        signal: Signal { event_type: &event.event_type, event_id: real.then(|| event.seq.to_string()), payload },
        resolver: Resolver { kind: EVENT, shape: CATALOG.deliverables.first().map(|deliverable| &deliverable.shape) },
        projected: made.and_then(|preview| raw(&preview.projected)),
        serialized: made.map(|preview| beginning(&preview.serialized)),
        wire_preview: made.map(Wire::new),
        structural_sample: payload.filter(|_| !real),
        fallback_reason: matches!(sample, Sample::Made).then_some("none of the newest events is one that the binding wants"),
        error_code: error.map(|why| why.code().as_str()),
        error_message: error.map(ToString::to_string),
    };
    Ok(json(StatusCode::OK, &shown))
}

fn raw(bytes: &[u8]) -> Option<&RawValue> {
    serde_json::from_slice(bytes).ok()
}

/// Which sample a request asks for.
enum Asked {
    Event(EventSeq),
    Payload(Bytes),
    Newest,
}

fn asked(body: &[u8]) -> Result<Asked, Problem> {
    let reader = Reader::open(body, &["event_id", "payload"])?;
    let number = |text: &String| event_seq(text).map(drop).ok_or_else(|| String::from("must be an event's id, a whole number as a string"));
    let event = reader.read("event_id", "a string", number).value().and_then(|text| event_seq(&text));
    let payload = reader.raw("payload").value();
    if payload.is_some_and(|raw| !raw.starts_with('{')) {
        reader.fail("payload", "must be an object");
    }
    if event.is_some() && payload.is_some() {
        reader.fail("payload", "does not go with event_id, which names an event that has one");
    }
    reader.finish()?;
    Ok(match (event, payload) {
        (Some(seq), _) => Asked::Event(seq),
        (None, Some(raw)) => Asked::Payload(Bytes::copy_from_slice(raw.as_bytes())),
        (None, None) => Asked::Newest,
    })
}

async fn sample(app: &App, binding: &Subscription, asked: Asked) -> Result<Sample, Problem> {
    match asked {
        Asked::Event(seq) => named(app, binding, seq).await,
        Asked::Payload(payload) => Ok(Sample::Given(payload)),
        Asked::Newest => newest(app, binding).await,
    }
}

async fn named(app: &App, binding: &Subscription, seq: EventSeq) -> Result<Sample, Problem> {
    let found = app.engine.store().event_by_seq(seq, Some(binding.namespace.clone())).await.map_err(Problem::of_read)?;
    let missing = || Detail { path: String::from("event_id"), message: String::from("there is no event with this id") };
    found.map(|row| Sample::Real(row.event)).ok_or_else(|| Problem::validation(vec![missing()]))
}

async fn newest(app: &App, binding: &Subscription) -> Result<Sample, Problem> {
    let exact = match binding.patterns.as_slice() {
        [only] => only.as_exact().map(str::to_owned),
        _ => None,
    };
    let filter = EventFilter { namespace: Some(binding.namespace.clone()), event_type: exact, ..EventFilter::default() };
    let request = PageRequest { after: None, limit: LOOKED_THROUGH, max_bytes: MAX_LOOKED_THROUGH_BYTES };
    let page = app.engine.store().page_of_events(filter, request).await.map_err(Problem::of_read)?;
    let wanted = page.items.into_iter().map(|row| row.event).find(|event| wants(binding, event));
    Ok(wanted.map_or(Sample::Made, Sample::Real))
}

/// Whether the binding is one for such events, active or not.
fn wants(binding: &Subscription, event: &Event) -> bool {
    let active = Subscription { active: true, ..binding.clone() };
    let matches = binding.matches.as_ref().is_none_or(|predicate| predicate.matches(&Facts::read(&event.payload, [predicate])));
    matches && active.may_want(&event.event_type, &event.labels)
}

/// An event that nobody published.
fn event(app: &App, binding: &Subscription, payload: Bytes) -> Event {
    let exact = binding.patterns.iter().find_map(|pattern| pattern.as_exact());
    Event {
        seq: EventSeq(0),
        id: EventId::new(app.engine.new_id()),
        namespace: binding.namespace.clone(),
        event_type: Arc::from(exact.unwrap_or("preview.sample")),
        payload,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
        schema_check: Default::default(),
        created_at: app.engine.now(),
    }
}

/// A payload with the fields that the binding speaks of: what it matches, and what its field map reads.
fn structural(binding: &Subscription) -> Bytes {
    let parse = |text: &str| serde_json::from_str::<Map<String, Value>>(text).ok();
    let mut sample = Map::new();
    let map = match &binding.body {
        BodyForm::Items(body) => body.field_map.as_ref().map(FieldMap::as_json).and_then(parse),
        BodyForm::Raw | BodyForm::Rpc | BodyForm::Template(_) => None,
    };
    let rules = map.as_ref().and_then(|map| map.get("rules")?.as_array());
    for source in rules.into_iter().flatten().filter_map(|rule| rule.get("source")?.as_str()) {
        put(&mut sample, source.strip_prefix("$.").unwrap_or(source));
    }
    sample.extend(binding.matches.as_ref().and_then(|predicate| parse(predicate.as_json())).unwrap_or_default());
    if sample.is_empty() {
        sample.insert(String::from("sample"), Value::Bool(true));
    }
    Bytes::from(Value::Object(sample).to_string())
}

fn put(object: &mut Map<String, Value>, path: &str) {
    match path.split_once('.') {
        None => _ = object.entry(path).or_insert_with(|| Value::from("sample")),
        Some((name, rest)) => {
            if let Value::Object(inner) = object.entry(name).or_insert_with(|| Value::Object(Map::new())) {
                put(inner, rest);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_ends_between_characters() {
        let text = "é".repeat(MAX_SHOWN);
        assert_eq!(beginning(text.as_bytes()).len(), MAX_SHOWN);
        let odd = format!("x{text}");
        assert_eq!(beginning(odd.as_bytes()), odd[..MAX_SHOWN - 1]);
        assert_eq!(beginning("short".as_bytes()), "short");
    }

    #[test]
    fn paths_become_nested_fields() {
        let mut sample = Map::new();
        for path in ["a", "b.c.d", "b.e", "a.f"] {
            put(&mut sample, path);
        }
        assert_eq!(Value::Object(sample).to_string(), r#"{"a":"sample","b":{"c":{"d":"sample"},"e":"sample"}}"#);
    }
}
