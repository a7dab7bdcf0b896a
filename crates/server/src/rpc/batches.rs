//! Batches as they are shown, started and cancelled, whatever is in them.

use super::access::{failed_precondition, id, timestamp};
use super::page::count;
use crate::auth::Access;
use crate::http::{App, Problem};
use http::StatusCode;
use postrider_core::id::BatchId;
use postrider_core::ports::{Batch, BatchKind, BatchState};
use postrider_engine::NoBatch;
use postrider_proto::webhook as w;

/// Starts a batch of that kind: `field` is what the contract calls its id.
pub(super) async fn start(app: &App, access: &Access, (sent, field): (&str, &str), kind: BatchKind) -> Result<Batch, Problem> {
    let batch = find(app, access, (sent, field), kind).await?;
    app.engine.start_batch(&batch).await.map_err(refused)
}

/// How far a batch is.
pub(super) async fn status(app: &App, access: &Access, of: (&str, &str), kind: BatchKind) -> Result<w::BatchJobStatus, Problem> {
    let batch = find(app, access, of, kind).await?;
    Ok(w::BatchJobStatus {
        status: word(batch.state).to_owned(),
        total: count(batch.total),
        processed: count(batch.done),
        failed: count(batch.failed),
        created_at: timestamp(batch.created_at).into(),
        expires_at: timestamp(batch.expires_at()).into(),
    })
}

/// Cancels a batch; answers how it stands then.
pub(super) async fn cancel(app: &App, access: &Access, of: (&str, &str), kind: BatchKind) -> Result<String, Problem> {
    let batch = find(app, access, of, kind).await?;
    let batch = app.engine.cancel_batch(batch.id).await.map_err(refused)?;
    Ok(word(batch.state).to_owned())
}

/// The id of a batch that was prepared, or nothing.
pub(super) fn prepared(made: Result<Option<Batch>, NoBatch>) -> Result<String, Problem> {
    Ok(made.map_err(refused)?.map_or_else(String::new, |batch| batch.id.to_string()))
}

/// Why a batch is not prepared, started or cancelled.
pub(super) fn refused(why: NoBatch) -> Problem {
    match why {
        NoBatch::TooLarge(_) | NoBatch::Over(_) => failed_precondition(why.to_string()),
        NoBatch::TooMany(_) => Problem::new(StatusCode::TOO_MANY_REQUESTS, "too_many_batches", why.to_string()),
        NoBatch::Gone => missing(),
        NoBatch::Store(error) => error.into(),
    }
}

/// A batch that exists for the caller: one of its namespace. One over several namespaces is that of callers who see all of them.
async fn find(app: &App, access: &Access, (sent, field): (&str, &str), kind: BatchKind) -> Result<Batch, Problem> {
    let id = id(sent, field, "batch", BatchId::parse)?;
    let found = app.engine.store().batch(id).await.map_err(Problem::of_read)?;
    let is_seen = |batch: &Batch| batch.namespace.as_ref().map_or(access.namespace.is_none(), |namespace| access.sees(namespace));
    found.filter(|batch| batch.kind == kind && is_seen(batch)).ok_or_else(missing)
}

fn missing() -> Problem {
    Problem::not_found("there is no batch with this ID")
}

/// A state in the contract's words.
pub(super) fn word(state: BatchState) -> &'static str {
    match state {
        BatchState::Pending => "pending",
        BatchState::Running => "processing",
        BatchState::Completed => "completed",
        BatchState::Failed => "failed",
        BatchState::Cancelled => "cancelled",
    }
}
