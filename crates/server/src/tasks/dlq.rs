//! Dead letters: tasks that ended without success.

use super::page;
use super::wire::DlqTask;
use crate::auth::Access;
use crate::http::{self, App, PathId, Problem, Reads, Writes};
use ::http::{StatusCode, Uri};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::id::{DeadLetterId, DeliveryId};
use postrider_core::ports::DeadLetterView;
use postrider_engine::RetryDeadLetter;
use serde::Serialize;
use std::sync::Arc;

/// Dead letters of a page, and the most of one.
pub(crate) const LISTED: (u32, u32) = (100, 1_000);

/// `GET /subscriptions/{subscription_id}/dlq`: newest first; those that were dismissed are left out, with `status=pending` also those that
/// were retried.
pub(super) async fn of_subscription(
    State(app): State<Arc<App>>,
    Reads(access): Reads,
    PathId(id): PathId,
    uri: Uri,
) -> Result<Response, Problem> {
    let subscription = super::visible(&app, &access, &id)?;
    let query = http::query(&uri, &["limit", "after", "status"])?;
    let open_only = match query.iter().find(|(name, _)| name == "status").map(|(_, value)| value.as_str()) {
        None => false,
        Some("pending") => true,
        Some(_) => return Err(Problem::bad_request("status must be pending; leave it away to see retried dlq tasks too")),
    };
    let request = page::request(&query, LISTED.0, LISTED.1)?;
    let letters = app.engine.store().dead_letters(subscription.id, open_only, request).await.map_err(Problem::of_read)?;
    let tasks: Vec<_> = letters.items.iter().map(DlqTask::new).collect();
    Ok(page::respond(&uri, &query, &tasks, letters.next))
}

/// `POST /dlq/{dlq_task_id}/retry`: a new task with the same payload for the same subscription.
pub(super) async fn retry(State(app): State<Arc<App>>, Writes(access): Writes, PathId(id): PathId, uri: Uri) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let view = find(&app, &access, &id).await?;
    if view.dead_letter.status == DeadLetterStatus::Open && app.engine.routes().route(view.delivery.subscription).is_none() {
        return Err(Problem::conflict("the subscription of this dlq task was deleted: there is nowhere to send it"));
    }
    match app.engine.retry_dead_letter(view.dead_letter.id).await? {
        RetryDeadLetter::Queued(new_task_id) => {
            #[derive(Serialize)]
            struct Retried {
                new_task_id: DeliveryId,
                message: &'static str,
            }
            let body = Retried { new_task_id, message: "Task queued for retry" };
            Ok(http::with_location(http::json(StatusCode::ACCEPTED, &body), &format!("/deliveries/{new_task_id}")))
        }
        RetryDeadLetter::AlreadyClosed(as_task) => Err(already_closed(as_task)),
        RetryDeadLetter::NotFound => Err(missing()),
    }
}

/// `DELETE /dlq/{dlq_task_id}`: nobody will retry it. The original task and its logs stay readable.
pub(super) async fn dismiss(
    State(app): State<Arc<App>>,
    Writes(access): Writes,
    PathId(id): PathId,
    uri: Uri,
) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let view = find(&app, &access, &id).await?;
    if app.engine.dismiss_dead_letter(view.dead_letter.id).await? {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    match view.dead_letter.status {
        DeadLetterStatus::Retried(as_task) => Err(already_closed(Some(as_task))),
        // Dismissed already, or dealt with by somebody else a moment ago.
        DeadLetterStatus::Open | DeadLetterStatus::Dismissed => Err(missing()),
    }
}

async fn find(app: &App, access: &Access, id: &str) -> Result<DeadLetterView, Problem> {
    let id = DeadLetterId::parse(id).ok_or_else(missing)?;
    let view = app.engine.store().dead_letter(id).await?;
    view.filter(|view| access.sees(&view.delivery.namespace)).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("dlq task not found")
}

fn already_closed(as_task: Option<DeliveryId>) -> Problem {
    Problem::conflict(match as_task {
        Some(task) => format!("this dlq task was retried already, as task {task}"),
        None => String::from("this dlq task was deleted: it cannot be retried any more"),
    })
}
