//! Deliveries tried again: some at once, or a batch that was prepared.

use super::super::access::{Scope, failed_precondition};
use super::super::page::count;
use super::super::webhooks::{find as find_webhook, webhook_id};
use super::super::{batches, deliveries::list};
use crate::auth::Access;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::id::{DeliveryId, SubscriptionId};
use postrider_core::ports::{BatchKind, DeliveryFilter, MAX_BATCH, Retried, Window};
use postrider_proto::webhook as w;
use std::collections::BTreeSet;

const KIND: BatchKind = BatchKind::Retry;

/// Which deliveries of a webhook are tried again, and which besides by force. Clients of older versions see as failed what waits for its retry.
/// Those that were cancelled have nobody to go to.
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
    let mut ids = BTreeSet::new();
    if !request.delivery_id.is_empty() {
        ids.insert(one(app, scope.clone(), request).await?);
    }
    if !request.webhook_id.is_empty() {
        ids.extend(of_webhook(app, &scope, request).await?);
    }
    let answers = app.engine.retry_deliveries(ids.into_iter().collect(), request.force).await?;
    let delivery_ids: Vec<String> = answers.iter().filter_map(Retried::waiting).map(|id| id.to_string()).collect();
    Ok(w::RetryDeliveryResponse { retried_count: count(delivery_ids.len()), delivery_ids })
}

/// The one delivery that is named, if it can be tried again.
async fn one(app: &App, scope: Scope, request: &w::RetryDeliveryRequest) -> Result<DeliveryId, Problem> {
    let delivery = list::find(app, scope, &request.delivery_id).await?.delivery;
    let state = delivery.progress.state.kind();
    if state == StateKind::Succeeded && !request.force {
        return Err(failed_precondition("the delivery has succeeded: with force it is sent again"));
    }
    if state == StateKind::Cancelled || app.engine.routes().route(delivery.subscription).is_none() {
        return Err(failed_precondition("the webhook or the subscription of this delivery was deleted"));
    }
    Ok(delivery.id)
}

/// Those of a webhook, by what is subscribed to it: of what was deleted there is nothing to be sent.
async fn of_webhook(app: &App, scope: &Scope, request: &w::RetryDeliveryRequest) -> Result<Vec<DeliveryId>, Problem> {
    let routes = app.engine.routes();
    let webhook = find_webhook(&routes, scope, webhook_id(&request.webhook_id)?)?;
    let subscriptions: Vec<SubscriptionId> = routes.subscriptions_of(webhook.id).map(|subscription| subscription.id).collect();
    let by_force = BY_FORCE.into_iter().filter(|_| request.force);
    let states: BTreeSet<StateKind> = WANTED.into_iter().chain(by_force).collect();
    let (mut ids, mut total) = (Vec::new(), 0);
    for subscription in subscriptions {
        let filter = DeliveryFilter {
            endpoint: Some(webhook.id),
            subscription: Some(subscription),
            states: states.clone(),
            ..DeliveryFilter::default()
        };
        let found = app.engine.store().delivery_ids(filter, Window::first(MAX_BATCH)).await.map_err(Problem::of_read)?;
        total += found.total;
        if total > u64::from(MAX_BATCH) {
            let advice = "narrow them by time with ListDeliveries and prepare_retry";
            return Err(failed_precondition(format!(
                "{total} deliveries or more match, and a call takes {MAX_BATCH} at the most: {advice}"
            )));
        }
        ids.extend(found.page.items);
    }
    Ok(ids)
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
