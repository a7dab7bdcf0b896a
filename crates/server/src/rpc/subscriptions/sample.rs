//! What a template is tried on.

use super::super::access::{Scope, failed_precondition};
use super::super::events::types;
use crate::http::{App, Problem};
use bytes::Bytes;
use postrider_core::event::{Event, Namespace, SchemaCheck};
use postrider_core::id::{EventId, EventSeq};
use postrider_core::ports::{EventFilter, PageRequest};
use std::collections::BTreeMap;
use std::sync::Arc;

/// An event of a type with a payload made from its schema, or the newest one where it has none.
pub(super) async fn event(app: &App, scope: &Scope, name: &str) -> Result<Arc<Event>, Problem> {
    let namespace = match scope {
        Scope::All => None,
        Scope::One(namespace) => Some(namespace.clone()),
        Scope::Nothing => return Err(nothing()),
    };
    let routes = app.engine.routes();
    let known = match &namespace {
        Some(namespace) => routes.type_of(namespace, name),
        None => routes.event_type(None, name),
    };
    if let Some(known) = known.cloned()
        && let Some(payload) = types::sample(known).await?
    {
        let namespace = namespace.unwrap_or_else(Namespace::default_namespace);
        return Ok(Arc::new(made(app, namespace, name, payload.into_json())));
    }
    let filter = EventFilter { namespace, event_type: Some(name.to_owned()), ..EventFilter::default() };
    let page = app.engine.store().page_of_events(filter, PageRequest::first(1)).await.map_err(Problem::of_read)?;
    page.items.into_iter().next().map(|row| row.event).ok_or_else(nothing)
}

/// An event that nobody published. Templates do not see its namespace.
fn made(app: &App, namespace: Namespace, name: &str, payload: Bytes) -> Event {
    Event {
        seq: EventSeq(0),
        id: EventId::new(app.engine.new_id()),
        namespace,
        event_type: name.into(),
        payload,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
        schema_check: SchemaCheck::Unchecked,
        created_at: app.engine.now(),
    }
}

fn nothing() -> Problem {
    failed_precondition("there is nothing to try the template on: give the event type a schema, or publish an event of it")
}
