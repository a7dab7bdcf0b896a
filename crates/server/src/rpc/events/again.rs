//! Events published again: one at once, or a batch that was prepared.

use super::super::access::failed_precondition;
use super::super::batches;
use super::super::page::count;
use super::reports;
use crate::auth::Access;
use crate::http::{App, Problem};
use postrider_core::ports::BatchKind;
use postrider_engine::NotAgain;
use postrider_proto::webhook as w;

const KIND: BatchKind = BatchKind::Repush;

pub(super) async fn one(app: &App, access: &Access, event_id: &str) -> Result<w::RePushEventResponse, Problem> {
    let row = reports::find(app, access, event_id).await?;
    let (receipt, warnings) = app.engine.publish_again(&row.event).await.map_err(|why| match why {
        NotAgain::Publish(error) => error.into(),
        NotAgain::NoType | NotAgain::Reserved | NotAgain::Inactive => failed_precondition(why.to_string()),
    })?;
    Ok(w::RePushEventResponse { event_id: receipt.id.to_string(), warnings })
}

pub(super) async fn start(app: &App, access: &Access, repush_id: &str) -> Result<w::RePushEventsResponse, Problem> {
    let batch = batches::start(app, access, (repush_id, "repush_id"), KIND).await?;
    let status = batches::word(batch.state).to_owned();
    Ok(w::RePushEventsResponse { repush_id: batch.id.to_string(), total: count(batch.total), status })
}

pub(super) async fn status(app: &App, access: &Access, repush_id: &str) -> Result<w::GetRepushStatusResponse, Problem> {
    let batch = batches::status(app, access, (repush_id, "repush_id"), KIND).await?;
    Ok(w::GetRepushStatusResponse { batch: batch.into() })
}

pub(super) async fn cancel(app: &App, access: &Access, repush_id: &str) -> Result<w::CancelRepushResponse, Problem> {
    Ok(w::CancelRepushResponse { status: batches::cancel(app, access, (repush_id, "repush_id"), KIND).await? })
}
