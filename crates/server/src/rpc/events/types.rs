//! The registries of event types.
//!
//! The contract knows one registry for all namespaces. Whoever has a key of one namespace has a registry of its own, so that nobody changes
//! what holds for others; the registry that all share is that of keys without a namespace. A name is looked for in the own one first.

use super::super::access::timestamp;
use super::super::page::Page;
use crate::auth::Access;
use crate::http::{App, Problem};
use http::StatusCode;
use postrider_core::event::{Namespace, check_event_type};
use postrider_core::event_type::{EventType, MAX_EVENT_TYPES, MAX_REGISTRY_SCHEMA_BYTES};
use postrider_core::invalid::Invalid;
use postrider_core::ports::ConfigChange;
use postrider_core::schema::EventSchema;
use postrider_core::signal::is_reserved;
use postrider_core::time::Timestamp;
use postrider_engine::{KnownType, Routes};
use postrider_proto::{Object, webhook as w};
use std::cmp::Reverse;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The name of a type under which events are published: `field` is what the contract calls it.
pub(super) fn published_name(text: &str, field: &str) -> Result<(), Problem> {
    required_name(text, field)?;
    check_event_type(text).map_err(|rule| Problem::bad_request(format!("{field}: {rule}")))?;
    if is_reserved(text) {
        let rule = "event types that begin with delivery. are those of Postrider's own events: choose another beginning";
        return Err(Problem::bad_request(format!("{field}: {rule}")));
    }
    Ok(())
}

fn required_name(text: &str, field: &str) -> Result<(), Problem> {
    if text.is_empty() { Err(Problem::bad_request(format!("{field} is required"))) } else { Ok(()) }
}

pub(super) async fn register(app: &App, access: &Access, request: w::RegisterEventRequest) -> Result<w::RegisterEventResponse, Problem> {
    published_name(&request.name, "name")?;
    let now = app.engine.now();
    let new = EventType {
        namespace: access.namespace.clone(),
        name: request.name,
        description: request.description,
        schema: request.schema.as_option().map(text),
        metadata: request.metadata.into_iter().collect(),
        active: request.active.unwrap_or(true),
        created_at: now,
        updated_at: now,
    };
    let new = checked(new).await?;
    let put = |routes: &Routes| {
        if routes.event_type(new.namespace.as_ref(), &new.name).is_some() {
            return Err(Problem::conflict(format!("there is an event type {:?} already", new.name)));
        }
        check_room(routes, &new)?;
        Ok((vec![ConfigChange::EventType(new.clone())], ()))
    };
    app.engine.edit(put).await?;
    Ok(w::RegisterEventResponse { event_id: new.name, created_at: timestamp(now).into() })
}

pub(super) async fn update(app: &App, access: &Access, request: w::UpdateEventRequest) -> Result<(), Problem> {
    required_name(&request.name, "name")?;
    let (schema, metadata) = (request.schema.as_option().map(text), request.metadata.into_iter().collect::<BTreeMap<_, _>>());
    let now = app.engine.now();
    let changed = |before: &EventType| EventType {
        description: request.description.clone().unwrap_or_else(|| before.description.clone()),
        schema: schema.clone().or_else(|| before.schema.clone()),
        metadata: if metadata.is_empty() { before.metadata.clone() } else { metadata.clone() },
        active: request.active.unwrap_or(before.active),
        updated_at: now,
        ..before.clone()
    };
    // Its limits are those of each field by itself: what is right with the others as they are now is right whatever they become.
    let candidate = changed(own(&app.engine.routes(), access, &request.name)?);
    checked(candidate).await?;
    let put = |routes: &Routes| {
        let new = changed(own(routes, access, &request.name)?);
        check_room(routes, &new)?;
        Ok((vec![ConfigChange::EventType(new)], ()))
    };
    app.engine.edit(put).await
}

pub(super) async fn delete(app: &App, access: &Access, name: &str) -> Result<(), Problem> {
    required_name(name, "name")?;
    let remove = |routes: &Routes| {
        own(routes, access, name)?;
        Ok((vec![ConfigChange::NoEventType { registry: access.namespace.clone(), name: name.to_owned() }], ()))
    };
    app.engine.edit(remove).await
}

pub(super) async fn get(app: &App, access: &Access, name: &str) -> Result<w::GetEventResponse, Problem> {
    required_name(name, "name")?;
    let found = seen(&app.engine.routes(), access, name).cloned().ok_or_else(missing)?;
    let event = shown_all(vec![found]).await?.pop();
    Ok(w::GetEventResponse { event: event.into() })
}

pub(super) async fn list(app: &App, access: &Access, request: &w::ListEventsRequest) -> Result<w::ListEventsResponse, Problem> {
    let routes = app.engine.routes();
    let own = access.namespace.as_ref();
    let is_own = |known: &KnownType| known.namespace.as_ref() == own;
    let others = routes.event_types(None).filter(|known| !is_own(known) && routes.event_type(own, &known.name).is_none());
    let mut types: Vec<_> = routes.event_types(own).chain(others).filter(|known| known.active || !request.active_only).cloned().collect();
    types.sort_by_cached_key(|known| (Reverse(known.created_at), known.name.clone()));
    let (page, pagination) = Page::of(&request.pagination).cut(types);
    Ok(w::ListEventsResponse { events: shown_all(page).await?, pagination: pagination.into() })
}

/// The type of an event that is to be published; registered by that, without a schema, where nobody has registered it. `None` where the
/// registry has no room for it: then it stays unregistered.
pub(super) async fn known(app: &App, access: &Access, namespace: &Namespace, name: &str) -> Result<Option<Arc<KnownType>>, Problem> {
    let registry = access.namespace.as_ref();
    let routes = app.engine.routes();
    if let Some(known) = routes.type_of(namespace, name) {
        return Ok(Some(Arc::clone(known)));
    }
    if routes.count_of_event_types(registry) >= MAX_EVENT_TYPES {
        return Ok(None);
    }
    let now = app.engine.now();
    let put = |routes: &Routes| {
        let is_known = routes.type_of(namespace, name).is_some() || routes.count_of_event_types(registry) >= MAX_EVENT_TYPES;
        let changes = if is_known { vec![] } else { vec![ConfigChange::EventType(bare(registry, name, now))] };
        Ok::<_, Problem>((changes, ()))
    };
    app.engine.edit(put).await?;
    Ok(app.engine.routes().type_of(namespace, name).cloned())
}

/// A type of which nothing is known but that there are such events.
fn bare(registry: Option<&Namespace>, name: &str, now: Timestamp) -> EventType {
    EventType {
        namespace: registry.cloned(),
        name: name.to_owned(),
        description: String::new(),
        schema: None,
        metadata: BTreeMap::new(),
        active: true,
        created_at: now,
        updated_at: now,
    }
}

/// Checks a type, beside the runtime: a schema is compiled for that.
async fn checked(new: EventType) -> Result<EventType, Problem> {
    let told = |faults: Vec<Invalid>| {
        let faults: Vec<_> = faults.iter().map(ToString::to_string).collect();
        Problem::bad_request(faults.join("; "))
    };
    apart(move || new.check().map(|()| new).map_err(told)).await?
}

/// Does what may take a while beside the runtime.
async fn apart<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|error| {
        tracing::error!(%error, "an event type could not be looked at");
        Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "internal_error", "the event type could not be looked at: see the server's log")
    })
}

/// Whether the registry of a type has room for it.
fn check_room(routes: &Routes, new: &EventType) -> Result<(), Problem> {
    let full = |message: String| Problem::new(StatusCode::INSUFFICIENT_STORAGE, "registry_full", message);
    let registry = new.namespace.as_ref();
    if routes.event_type(registry, &new.name).is_none() && routes.count_of_event_types(registry) >= MAX_EVENT_TYPES {
        return Err(full(format!("there are {MAX_EVENT_TYPES} event types already: delete some")));
    }
    let size = |of: &EventType| of.schema.as_ref().map_or(0, |schema| schema.len());
    let others = routes.event_types(registry).filter(|known| known.name != new.name);
    if size(new) > 0 && size(new) + others.map(|known| size(known)).sum::<usize>() > MAX_REGISTRY_SCHEMA_BYTES {
        return Err(full(format!("schema: those of all event types may have {MAX_REGISTRY_SCHEMA_BYTES} bytes together")));
    }
    Ok(())
}

/// A type as a caller sees it.
fn seen<'r>(routes: &'r Routes, access: &Access, name: &str) -> Option<&'r Arc<KnownType>> {
    routes.event_type(access.namespace.as_ref(), name).or_else(|| routes.event_type(None, name))
}

/// A type that a caller may change.
fn own<'r>(routes: &'r Routes, access: &Access, name: &str) -> Result<&'r Arc<KnownType>, Problem> {
    let known = seen(routes, access, name).ok_or_else(missing)?;
    if known.namespace == access.namespace {
        return Ok(known);
    }
    let message = "the event type is in the registry that all namespaces share, which takes a key without a namespace to change";
    Err(Problem::new(StatusCode::FORBIDDEN, "forbidden", message))
}

fn missing() -> Problem {
    Problem::not_found("there is no event type of this name")
}

fn text(schema: &Object) -> Arc<str> {
    String::from_utf8_lossy(schema.json()).into()
}

/// Types as they are shown. Samples are made from schemas, which are compiled for that if they were not.
async fn shown_all(types: Vec<Arc<KnownType>>) -> Result<Vec<w::RegisteredEvent>, Problem> {
    apart(move || types.iter().map(|known| shown(known)).collect()).await
}

fn shown(known: &KnownType) -> w::RegisteredEvent {
    w::RegisteredEvent {
        name: known.name.clone(),
        description: known.description.clone(),
        schema: known.schema.as_deref().and_then(object).into(),
        metadata: known.metadata.clone().into_iter().collect(),
        active: known.active,
        created_at: timestamp(known.created_at).into(),
        updated_at: timestamp(known.updated_at).into(),
        sample_payload: sample_of(known).into(),
    }
}

/// A payload made from the schema of a type; `None` where it has none, or one of something else than objects, which payloads are.
pub(in crate::rpc) async fn sample(known: Arc<KnownType>) -> Result<Option<Object>, Problem> {
    apart(move || sample_of(&known)).await
}

fn sample_of(known: &KnownType) -> Option<Object> {
    known.schema().map(EventSchema::sample).and_then(|sample| object(&sample.to_string()))
}

fn object(text: &str) -> Option<Object> {
    Object::parse(text.as_bytes()).ok()
}
