//! Events published again: one at once, or a batch that was prepared.

use super::super::access::{failed_precondition, id, timestamp};
use super::super::page::count;
use super::reports;
use crate::auth::Access;
use crate::http::{App, Problem};
use http::StatusCode;
use postrider_core::id::RepushId;
use postrider_core::ports::{Repush, RepushState};
use postrider_engine::{NoRepush, NotAgain};
use postrider_proto::webhook as w;

pub(super) async fn one(app: &App, access: &Access, event_id: &str) -> Result<w::RePushEventResponse, Problem> {
    let row = reports::find(app, access, event_id).await?;
    let (receipt, warnings) = app.engine.publish_again(&row.event).await.map_err(|why| match why {
        NotAgain::Publish(error) => error.into(),
        NotAgain::NoType | NotAgain::Reserved | NotAgain::Inactive => failed_precondition(why.to_string()),
    })?;
    Ok(w::RePushEventResponse { event_id: receipt.id.to_string(), warnings })
}

pub(super) async fn start(app: &App, access: &Access, repush_id: &str) -> Result<w::RePushEventsResponse, Problem> {
    let batch = find(app, access, repush_id).await?;
    let batch = app.engine.start_repush(&batch).await.map_err(refused)?;
    Ok(w::RePushEventsResponse { repush_id: batch.id.to_string(), total: count(batch.total), status: word(batch.state).to_owned() })
}

pub(super) async fn status(app: &App, access: &Access, repush_id: &str) -> Result<w::GetRepushStatusResponse, Problem> {
    let batch = find(app, access, repush_id).await?;
    let shown = w::BatchJobStatus {
        status: word(batch.state).to_owned(),
        total: count(batch.total),
        processed: count(batch.done),
        failed: count(batch.failed),
        created_at: timestamp(batch.created_at).into(),
        expires_at: timestamp(batch.expires_at()).into(),
    };
    Ok(w::GetRepushStatusResponse { batch: shown.into() })
}

pub(super) async fn cancel(app: &App, access: &Access, repush_id: &str) -> Result<w::CancelRepushResponse, Problem> {
    let batch = find(app, access, repush_id).await?;
    let batch = app.engine.cancel_repush(batch.id).await.map_err(refused)?;
    Ok(w::CancelRepushResponse { status: word(batch.state).to_owned() })
}

/// Why a batch is not prepared, started or cancelled.
pub(super) fn refused(why: NoRepush) -> Problem {
    match why {
        NoRepush::TooLarge(_) | NoRepush::Over(_) => failed_precondition(why.to_string()),
        NoRepush::TooMany(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_batches", why.to_string()),
        NoRepush::Gone => missing(),
        NoRepush::Store(error) => error.into(),
    }
}

/// A batch that exists for the caller: one of its namespace. One over several namespaces is that of callers who see all of them.
async fn find(app: &App, access: &Access, repush_id: &str) -> Result<Repush, Problem> {
    let id = id(repush_id, "repush_id", "batch", RepushId::parse)?;
    let found = app.engine.store().repush(id).await.map_err(Problem::of_read)?;
    let is_seen = |batch: &Repush| batch.namespace.as_ref().map_or(access.namespace.is_none(), |namespace| access.sees(namespace));
    found.filter(is_seen).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("there is no batch with this ID")
}

/// A state in the contract's words.
fn word(state: RepushState) -> &'static str {
    match state {
        RepushState::Pending => "pending",
        RepushState::Running => "processing",
        RepushState::Completed => "completed",
        RepushState::Failed => "failed",
        RepushState::Cancelled => "cancelled",
    }
}
