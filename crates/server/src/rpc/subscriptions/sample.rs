//! What a template is tried on.

use super::super::access::{Scope, failed_precondition};
use crate::http::{App, Problem};
use postrider_core::event::Event;
use postrider_core::ports::{EventFilter, PageRequest};
use std::sync::Arc;

/// The newest event of a type.
pub(super) async fn event(app: &App, scope: &Scope, name: &str) -> Result<Arc<Event>, Problem> {
    let namespace = match scope {
        Scope::All => None,
        Scope::One(namespace) => Some(namespace.clone()),
        Scope::Nothing => return Err(nothing()),
    };
    let filter = EventFilter { namespace, event_type: Some(name.to_owned()), ..EventFilter::default() };
    let page = app.engine.store().page_of_events(filter, PageRequest::first(1)).await.map_err(Problem::of_read)?;
    page.items.into_iter().next().map(|row| row.event).ok_or_else(nothing)
}

fn nothing() -> Problem {
    failed_precondition("there is no event of this type to try the template on: publish one")
}
