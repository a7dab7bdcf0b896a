//! Deliveries that there are, and their attempts.

use super::super::access::{Scope, id, span};
use super::super::batches;
use super::super::page::Page;
use super::super::webhooks::webhook_id;
use super::shown::{self, Bodies};
use crate::auth::Access;
use crate::http::json::clip;
use crate::http::{App, Problem};
use postrider_core::delivery::StateKind;
use postrider_core::error::Category;
use postrider_core::id::{DeliveryId, EventId, SubscriptionId};
use postrider_core::key;
use postrider_core::ports::{DeliveryFilter, DeliveryRow, Found, Window};
use postrider_proto::webhook as w;
use std::collections::BTreeSet;

/// Most attempts of one delivery that are shown, the newest: each 429 makes one, for as long as a receiver answers with that.
const MAX_ATTEMPTS: u32 = 1_000;

/// What lists can be narrowed to, in the contract's words.
const STATUSES: [(&str, &[StateKind]); 6] = [
    ("pending", &[StateKind::Pending]),
    ("sending", &[StateKind::Sending]),
    ("success", &[StateKind::Succeeded]),
    ("failed", &[StateKind::Failed, StateKind::Cancelled]),
    ("retrying", &[StateKind::Retrying]),
    ("expired", &[StateKind::Expired]),
];

pub(super) async fn one(
    app: &App,
    access: &Access,
    request: &w::GetDeliveryStatusRequest,
) -> Result<w::GetDeliveryStatusResponse, Problem> {
    let scope = Scope::of(access, &request.namespace)?;
    let row = find(app, scope, &request.delivery_id).await?;
    Ok(w::GetDeliveryStatusResponse { delivery: shown::delivery(&app.engine.routes(), &row, Bodies::Whole).into() })
}

/// A delivery that exists for the caller, with whole bodies.
pub(super) async fn find(app: &App, scope: Scope, delivery_id: &str) -> Result<DeliveryRow, Problem> {
    let id = delivery_of(delivery_id)?;
    let namespace = scope.narrowed().ok_or_else(missing)?;
    let found = app.engine.store().delivery_row(id, namespace).await.map_err(Problem::of_read)?;
    found.ok_or_else(missing)
}

/// The id of a delivery that exists for the caller. Mostly that takes no more than the head of its newest attempt; without one, the delivery.
pub(super) async fn seen(app: &App, scope: Scope, delivery_id: &str) -> Result<DeliveryId, Problem> {
    let id = delivery_of(delivery_id)?;
    let namespace = scope.clone().narrowed().ok_or_else(missing)?;
    let attempts = app.engine.store().attempts_of(id, namespace, 1).await.map_err(Problem::of_read)?;
    if attempts.is_empty() {
        find(app, scope, delivery_id).await?;
    }
    Ok(id)
}

pub(super) fn missing() -> Problem {
    Problem::not_found("there is no delivery with this ID")
}

fn delivery_of(text: &str) -> Result<DeliveryId, Problem> {
    id(text, "delivery_id", "delivery", DeliveryId::parse)
}

pub(super) async fn list(app: &App, access: &Access, request: &w::ListDeliveriesRequest) -> Result<w::ListDeliveriesResponse, Problem> {
    if request.prepare_retry {
        // Who prepares makes something.
        access.allow(key::Scope::Write)?;
    }
    let page = Page::of(&request.pagination);
    let (skip, limit) = page.window()?;
    let Some(filter) = filter(app, access, request).await? else {
        return Ok(w::ListDeliveriesResponse { pagination: page.answer(0, None).into(), ..Default::default() });
    };
    let window = Window { after: None, skip, limit };
    let Found { page: found, total } = app.engine.store().find_deliveries(filter.clone(), window).await.map_err(Problem::of_read)?;
    let routes = app.engine.routes();
    let deliveries = found.items.iter().map(|row| shown::delivery(&routes, row, Bodies::Begun)).collect();
    let retry_id = if request.prepare_retry { batches::prepared(app.engine.prepare_retry(filter).await)? } else { String::new() };
    Ok(w::ListDeliveriesResponse { deliveries, pagination: page.answer(total, None).into(), retry_id })
}

/// Which deliveries a request is about; `None` where there can be none, for a namespace that the caller does not see or an event that is not
/// there.
async fn filter(app: &App, access: &Access, request: &w::ListDeliveriesRequest) -> Result<Option<DeliveryFilter>, Problem> {
    let scope = Scope::of(access, &request.namespace)?;
    let endpoint = if request.webhook_id.is_empty() { None } else { Some(webhook_id(&request.webhook_id)?) };
    let subscription = request.subscription_id.as_deref();
    let subscription = subscription.map(|text| id(text, "subscription_id", "subscription", SubscriptionId::parse)).transpose()?;
    let states = request.status.as_deref().map(states).transpose()?.unwrap_or_default();
    let category = request.error_category.as_deref().map(category).transpose()?;
    let (created_from, created_before) = span(request.created_after.as_option(), request.created_before.as_option())?;
    let event = if request.event_id.is_empty() { None } else { Some(id(&request.event_id, "event_id", "event", EventId::parse)?) };
    let Some(namespace) = scope.narrowed() else { return Ok(None) };
    let event = match event {
        None => None,
        Some(id) => match app.engine.store().event_by_id(id, namespace.clone()).await.map_err(Problem::of_read)? {
            Some(found) => Some(found.event.seq),
            None => return Ok(None),
        },
    };
    Ok(Some(DeliveryFilter { namespace, endpoint, subscription, event, states, category, code: None, created_from, created_before }))
}

fn states(word: &str) -> Result<BTreeSet<StateKind>, Problem> {
    let found = STATUSES.iter().find(|(name, _)| *name == word);
    found.map(|(_, states)| states.iter().copied().collect()).ok_or_else(|| {
        let words = STATUSES.map(|(name, _)| name).join(", ");
        Problem::bad_request(format!("status: {:?} is none of {words}", clip(word)))
    })
}

fn category(word: &str) -> Result<Category, Problem> {
    Category::parse(word).ok_or_else(|| {
        let words: Vec<&str> = Category::ALL.iter().map(|category| category.as_str()).collect();
        Problem::bad_request(format!("error_category: {:?} is none of {}", clip(word), words.join(", ")))
    })
}

pub(super) async fn attempts(app: &App, access: &Access, delivery_id: &str) -> Result<w::GetDeliveryAttemptsResponse, Problem> {
    let id = delivery_of(delivery_id)?;
    let found = app.engine.store().attempts_of(id, access.namespace.clone(), MAX_ATTEMPTS).await.map_err(Problem::of_read)?;
    // One that is under way has nothing to tell yet.
    let ended = found.iter().filter_map(|row| Some(shown::attempt(row, row.end.as_ref()?)));
    Ok(w::GetDeliveryAttemptsResponse { attempts: ended.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_has_exactly_one_word() {
        for kind in StateKind::ALL {
            assert_eq!(STATUSES.iter().filter(|(_, states)| states.contains(&kind)).count(), 1, "{kind:?}");
        }
        assert_eq!(states("failed"), Ok([StateKind::Failed, StateKind::Cancelled].into()));
        for wrong in ["", "Failed", "DELIVERY_FAILED", "succeeded"] {
            let refused = states(wrong).expect_err("no status");
            let expected = format!("status: {wrong:?} is none of pending, sending, success, failed, retrying, expired");
            assert_eq!((refused.status.as_u16(), refused.message), (400, expected));
        }
        assert_eq!(category("timeout"), Ok(Category::Timeout));
        assert_eq!(category("").map_err(|refused| refused.status.as_u16()), Err(400));
    }
}
