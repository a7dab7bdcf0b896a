//! Scheduled webhooks.

use super::page;
use super::schedule_request::Request as Wanted;
use super::wire::ScheduledWebhook;
use crate::auth::Access;
use crate::http::{self, App, PathId, Problem, Reads, Writes, body};
use ::http::header::{CACHE_CONTROL, HeaderValue};
use ::http::{StatusCode, Uri};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use postrider_core::id::{ScheduledId, SubscriptionId};
use postrider_core::ports::Page;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// Most rows of a page (contract, section 3.1).
pub(crate) const MAX_LISTED: u32 = 1_000;

/// `GET /scheduled`: those that are still to come by due time, then those that ended, latest first; of one subscription if the query
/// names it.
pub(super) async fn list(State(app): State<Arc<App>>, Reads(access): Reads, uri: Uri) -> Result<Response, Problem> {
    let query = http::query(&uri, &["subscription_id", "limit", "after"])?;
    let request = page::request(&query, MAX_LISTED, MAX_LISTED)?;
    let of = query.iter().find(|(name, _)| name == "subscription_id").map(|(_, id)| SubscriptionId::parse(id));
    let found = match of {
        // An id that names nothing has nothing scheduled.
        Some(None) => Page { items: Vec::new(), next: None },
        of => app.engine.store().scheduled(access.namespace, of.flatten(), request).await.map_err(Problem::of_read)?,
    };
    let shapes: Vec<_> = found.items.iter().map(ScheduledWebhook::new).collect();
    let mut response = page::respond(&uri, &query, &shapes, found.next);
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    Ok(response)
}

/// `POST /scheduled`: as JSON it answers 201 with the id, as a form (which browsers send) 302.
pub(super) async fn create(State(app): State<Arc<App>>, Writes(access): Writes, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    http::query(&parts.uri, &[])?;
    if body::is_form(&parts.headers) {
        let body = app.read_body(&parts.headers, body).await?;
        store(&app, &access, Wanted::from_form(&body)?).await?;
        return Ok(http::with_location(StatusCode::FOUND.into_response(), "/scheduled"));
    }
    if !body::is_json(&parts.headers) {
        return Err(Problem::media_type("application/json or application/x-www-form-urlencoded"));
    }
    let body = app.read_body(&parts.headers, body).await?;
    let id = store(&app, &access, Wanted::from_json(&body)?).await?;
    #[derive(Serialize)]
    struct Created {
        id: ScheduledId,
    }
    // One occurrence has no page of its own: the list is where it is found.
    Ok(http::with_location(http::json(StatusCode::CREATED, &Created { id }), "/scheduled"))
}

async fn store(app: &App, access: &Access, wanted: Wanted) -> Result<ScheduledId, Problem> {
    let subscription = super::visible(app, access, &wanted.subscription_id)
        .map_err(|_| Problem::bad_request("the field \"subscription_id\" names no subscription"))?;
    let now = app.engine.now();
    if wanted.scheduled_for <= now {
        return Err(Problem::bad_request(format!("scheduled_for must be in the future; it is {} now", now.rfc3339(0))));
    }
    let row = row(app, &subscription, wanted.payload, (wanted.scheduled_for, wanted.recurrence));
    let id = row.id;
    app.engine.schedule(row).await?;
    Ok(id)
}

/// A new series, or the one occurrence, for a subscription; it is not stored yet.
pub(crate) fn row(app: &App, subscription: &Subscription, payload: Bytes, (due_at, recurrence): (Timestamp, Recurrence)) -> Scheduled {
    let now = app.engine.now();
    Scheduled {
        id: ScheduledId::new(app.engine.new_id()),
        namespace: subscription.namespace.clone(),
        subscription: subscription.id,
        payload,
        due_at,
        recurrence,
        anchor: due_at,
        status: ScheduledStatus::Pending,
        created_at: now,
        updated_at: now,
    }
}

/// `DELETE /scheduled/{id}`: a series ends with its pending occurrence.
pub(super) async fn remove(State(app): State<Arc<App>>, Writes(access): Writes, PathId(id): PathId, uri: Uri) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let missing = || Problem::not_found("scheduled webhook not found");
    let id = ScheduledId::parse(&id).ok_or_else(missing)?;
    let row = app.engine.store().scheduled_one(id).await?;
    row.filter(|row| access.sees(&row.namespace)).ok_or_else(missing)?;
    if app.engine.unschedule(id, false).await? { Ok(StatusCode::NO_CONTENT.into_response()) } else { Err(missing()) }
}
