//! Deliveries tried again: some at once, or a batch that was prepared.

use super::super::access::{Scope, failed_precondition};
use super::super::page::count;
use super::super::webhooks::{find as find_webhook, webhook_id};
use super::super::{batches, deliveries::list};
use crate::auth::Access;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::id::DeliveryId;
use postrider_core::ports::{BatchKind, DeliveryFilter, Found, MAX_BATCH, Retried, Window};
use postrider_proto::webhook as w;

const KIND: BatchKind = BatchKind::Retry;

/// Which deliveries of a webhook are tried again, and which besides by force. Clients of older versions see as failed what waits for its retry.
/// Those that were cancelled have nobody to go to, or were called off by hand: these go on where they are named.
const WANTED: [StateKind; 3] = [StateKind::Failed, StateKind::Pending, StateKind::Retrying];
const BY_FORCE: [StateKind; 2] = [StateKind::Succeeded, StateKind::Expired];

pub(super) async fn some(app: &App, access: &Access, request: &w::RetryDeliveryRequest) -> Result<w::RetryDeliveryResponse, Problem> {
    if request.delivery_id.is_empty() && request.webhook_id.is_empty() {
        return Err(Problem::bad_request("delivery_id or webhook_id is required"));
    }
    if request.namespace.is_empty() && !request.webhook_id.is_empty() {
        return Err(Problem::bad_request("namespace is required with webhook_id"));
    }
    let scope = Scope::of(access, &request.namespace)?;
    let named = if request.delivery_id.is_empty() { None } else { Some(list::seen(app, scope.clone(), &request.delivery_id).await?) };
    let mut ids = if request.webhook_id.is_empty() { Vec::new() } else { of_webhook(app, &scope, request).await? };
    let mut answers = Vec::new();
    if let Some(id) = named {
        answers.push(one(app, id, request.force).await?);
        ids.retain(|other| *other != id);
    }
    answers.extend(app.engine.retry_deliveries(ids, request.force).await?);
    let delivery_ids: Vec<String> = answers.iter().filter_map(Retried::waiting).map(|id| id.to_string()).collect();
    Ok(w::RetryDeliveryResponse { retried_count: count(delivery_ids.len()), delivery_ids })
}

/// Tries the one delivery that is named again. What becomes of it says whether that can be: how it stood a moment before says nothing.
async fn one(app: &App, id: DeliveryId, force: bool) -> Result<Retried, Problem> {
    let answer = app.engine.retry_deliveries(vec![id], force).await?.into_iter().next().unwrap_or(Retried::NotFound);
    match answer {
        Retried::Refused(StateKind::Succeeded) if !force => {
            Err(failed_precondition("the delivery has succeeded: with force it is sent again"))
        }
        Retried::Refused(_) => Err(failed_precondition("the webhook or the subscription of this delivery was deleted")),
        Retried::NotFound => Err(list::missing()),
        Retried::Queued(_) | Retried::Held { .. } => Ok(answer),
    }
}

/// Those of a webhook. Of what was deleted there is nothing to be sent, which the store refuses.
async fn of_webhook(app: &App, scope: &Scope, request: &w::RetryDeliveryRequest) -> Result<Vec<DeliveryId>, Problem> {
    let routes = app.engine.routes();
    let webhook = find_webhook(&routes, scope, webhook_id(&request.webhook_id)?)?.id;
    let by_force = BY_FORCE.into_iter().filter(|_| request.force);
    let states = WANTED.into_iter().chain(by_force).collect();
    let filter = DeliveryFilter { endpoint: Some(webhook), states, ..DeliveryFilter::default() };
    let all = ids(app, filter.clone()).await?;
    if all.total <= u64::from(MAX_BATCH) {
        return Ok(all.page.items);
    }
    // Those of deleted subscriptions, of which nothing comes, may be most of them.
    let (mut live, mut total) = (Vec::new(), 0);
    for subscription in routes.subscriptions_of(webhook) {
        let found = ids(app, DeliveryFilter { subscription: Some(subscription.id), ..filter.clone() }).await?;
        total += found.total;
        if total > u64::from(MAX_BATCH) {
            let advice = "narrow them by time with ListDeliveries and prepare_retry";
            return Err(failed_precondition(format!(
                "{total} deliveries or more match, and a call takes {MAX_BATCH} at the most: {advice}"
            )));
        }
        live.extend(found.page.items);
    }
    Ok(live)
}

async fn ids(app: &App, filter: DeliveryFilter) -> Result<Found<DeliveryId, DeliveryId>, Problem> {
    app.engine.store().delivery_ids(filter, Window::first(MAX_BATCH)).await.map_err(Problem::of_read)
}

pub(super) async fn start(app: &App, access: &Access, retry_id: &str) -> Result<w::RetryDeliveriesResponse, Problem> {
    let batch = batches::start(app, access, (retry_id, "retry_id"), KIND).await?;
    let status = batches::word(batch.state).to_owned();
    Ok(w::RetryDeliveriesResponse { retry_id: batch.id.to_string(), total: count(batch.total), status })
}

pub(super) async fn status(app: &App, access: &Access, retry_id: &str) -> Result<w::GetRetryStatusResponse, Problem> {
    let batch = batches::status(app, access, (retry_id, "retry_id"), KIND).await?;
    Ok(w::GetRetryStatusResponse { batch: batch.into() })
}

pub(super) async fn cancel(app: &App, access: &Access, retry_id: &str) -> Result<w::CancelRetryResponse, Problem> {
    Ok(w::CancelRetryResponse { status: batches::cancel(app, access, (retry_id, "retry_id"), KIND).await? })
}
