//! `/v1/delivery/dlq`: deliveries that ended without success (contract, section 8).

use super::gate::{Caller, Tenant};
use super::history::{may_send, namespace};
use super::once::Fresh;
use super::page::{Listed, PageOf, Position, Query};
use super::wire::time;
use crate::auth::Access;
use crate::http::{App, PathId, Problem, json};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeadLetterId, EndpointId, SubscriptionId};
use postrider_core::ports::{DeadLetterFilter, DeadLetterPlace, DeadLetterRow, DeadLetterView, Replayed, Window};
use postrider_core::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The path of all dead letters.
pub(super) const PATH: &str = "/v1/delivery/dlq";

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: DeadLetterId,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    binding_id: SubscriptionId,
    event_id: String,
    last_item_id: Option<AttemptId>,
    error_code: &'static str,
    error_message: Option<&'a str>,
    attempts: u32,
    created_at: String,
}

impl<'a> Shown<'a> {
    fn new(row: &'a DeadLetterRow, access: &Access) -> Self {
        let letter = &row.dead_letter;
        Shown {
            id: letter.id,
            customer_id: access.namespace.is_none().then_some(&row.namespace),
            binding_id: row.subscription,
            event_id: row.event.to_string(),
            last_item_id: row.last_attempt,
            error_code: letter.code.as_str(),
            error_message: (!letter.message.is_empty()).then_some(&letter.message),
            attempts: letter.attempts,
            created_at: time(letter.failed_at),
        }
    }
}

impl Position for DeadLetterPlace {
    const KIND: &'static str = "l";

    fn write(&self) -> String {
        format!("{}.{}", self.failed_at.as_micros(), self.id)
    }

    fn parse(text: &str) -> Option<Self> {
        let (failed_at, id) = text.split_once('.')?;
        Some(DeadLetterPlace { failed_at: Timestamp::from_micros(failed_at.parse().ok()?), id: DeadLetterId::parse(id)? })
    }
}

/// What a list, or a bulk replay, is narrowed to.
pub(super) fn filter(query: &Query, access: &Access) -> Result<DeadLetterFilter, Problem> {
    const UUID: &str = "a UUID";
    Ok(DeadLetterFilter {
        namespace: namespace(query, access)?,
        subscription: query.read("binding_id", UUID, SubscriptionId::parse)?,
        endpoint: query.read("destination_id", UUID, EndpointId::parse)?,
        code: query.read("error_code", "an error code that this server knows", ErrorCode::parse)?,
        failed_from: query.time("created_after")?,
        failed_before: query.time("created_before")?,
    })
}

/// Answers the open dead letters, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let filter = filter(&query, &access)?;
    let page: PageOf<DeadLetterPlace> = query.page()?;
    let window = Window { after: page.after, skip: 0, limit: page.limit };
    let found = app.engine.store().find_dead_letters(filter, window).await.map_err(Problem::of_read)?;
    let data = found.page.items.iter().map(|row| Shown::new(row, &access)).collect();
    let next_cursor = found.page.next.map(|place| place.position());
    Ok(json(StatusCode::OK, &Listed { data, total: found.total, next_cursor }))
}

/// Answers one open dead letter.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let view = find(&app, &access, &id).await?;
    let row = row(&view);
    Ok(json(StatusCode::OK, &Shown::new(&row, &access)))
}

/// The open dead letter with this id, if it exists for the caller.
async fn find(app: &App, access: &Access, id: &str) -> Result<DeadLetterView, Problem> {
    find_any(app, access, id).await?.filter(|view| view.dead_letter.status == DeadLetterStatus::Open).ok_or_else(missing)
}

async fn find_any(app: &App, access: &Access, id: &str) -> Result<Option<DeadLetterView>, Problem> {
    let id = DeadLetterId::parse(id).ok_or_else(missing)?;
    let found = app.engine.store().dead_letter(id).await.map_err(Problem::of_read)?;
    Ok(found.filter(|view| access.sees(&view.event.namespace)))
}

/// The open dead letter with this id; `None` where the same request has closed it before, in a process that is gone.
async fn still_open(
    app: &App,
    access: &Access,
    id: &str,
    fresh: Fresh,
    is_done: fn(DeadLetterStatus) -> bool,
) -> Result<Option<DeadLetterView>, Problem> {
    let view = find_any(app, access, id).await?.ok_or_else(missing)?;
    match view.dead_letter.status {
        DeadLetterStatus::Open => Ok(Some(view)),
        status if fresh.is_again() && is_done(status) => Ok(None),
        _ => Err(missing()),
    }
}

fn missing() -> Problem {
    Problem::not_found("there is no open dead letter with this id")
}

fn row(view: &DeadLetterView) -> DeadLetterRow {
    DeadLetterRow {
        dead_letter: view.dead_letter.clone(),
        namespace: view.event.namespace.clone(),
        subscription: view.delivery.subscription,
        endpoint: view.delivery.endpoint,
        event: view.delivery.event,
        event_id: view.event.id,
        event_type: Arc::clone(&view.event.event_type),
        last_attempt: view.last_attempt,
    }
}

#[derive(Serialize)]
struct Done {
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    replayed: bool,
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    dismissed: bool,
}

/// Makes the delivery again, with a fresh ladder of attempts and the same key; its dead letter is gone in the same moment.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    fresh: Fresh,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let Some(view) = still_open(&app, &access, &id, fresh, |status| matches!(status, DeadLetterStatus::Retried(_))).await? else {
        return Ok(json(StatusCode::OK, &Done { replayed: true, dismissed: false }));
    };
    may_send(&app, &view.delivery)?;
    match app.engine.replay_delivery(view.delivery.id, false).await? {
        // One that is being made again already, through one of its items, comes to the same.
        Replayed::Queued(_) | Replayed::Claimed(_) | Replayed::NotResting(_) => {
            Ok(json(StatusCode::OK, &Done { replayed: true, dismissed: false }))
        }
        // Somebody else was faster: it is no dead letter any more.
        Replayed::NotFound | Replayed::AlreadyClosed(_) => Err(missing()),
    }
}

/// Dismisses a dead letter: nothing more is tried, its items stay.
pub(super) async fn dismiss(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    fresh: Fresh,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let Some(view) = still_open(&app, &access, &id, fresh, |status| status == DeadLetterStatus::Dismissed).await? else {
        return Ok(json(StatusCode::OK, &Done { replayed: false, dismissed: true }));
    };
    if app.engine.dismiss_dead_letter(view.dead_letter.id).await? {
        return Ok(json(StatusCode::OK, &Done { replayed: false, dismissed: true }));
    }
    Err(missing())
}
