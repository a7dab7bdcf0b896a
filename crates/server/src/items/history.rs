//! `/v1/delivery/items`: every attempt, and replaying it (seed page; contract, section 7).

use super::gate::{Caller, Tenant};
use super::page::{PageOf, Position, Query};
use super::wire::{Item, event_seq};
use crate::auth::Access;
use crate::http::{App, PathId, Problem, json};
use axum::extract::State;
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::delivery::{Delivery, StateKind};
use postrider_core::endpoint::EndpointStatus;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, EndpointId, SubscriptionId, idempotency_key};
use postrider_core::ports::{AttemptDetail, AttemptFilter, OutcomeFilter, Replayed, Window};
use postrider_core::time::Timestamp;
use serde::Serialize;
use std::sync::Arc;

/// The path of all items.
pub(super) const PATH: &str = "/v1/delivery/items";

/// How many items `page` may leave out: they are walked over, while `cursor` goes to its place at once.
const MAX_SKIPPED: u32 = 10_000;

#[derive(Serialize)]
struct Listed<'a> {
    items: Vec<Item<'a>>,
    total: u64,
    next_cursor: Option<String>,
}

impl Position for AttemptId {
    const KIND: &'static str = "i";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        AttemptId::parse(text)
    }
}

/// Answers the items, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let filter = filter(&query, &access)?;
    let page: PageOf<AttemptId> = query.page()?;
    let window = Window { after: page.after, skip: skip(&query, page.limit)?, limit: page.limit };
    let Some(filter) = filter else {
        return Ok(json(StatusCode::OK, &Listed { items: Vec::new(), total: 0, next_cursor: None }));
    };
    let found = app.engine.store().find_attempts(filter, window).await.map_err(Problem::of_read)?;
    let items = found.page.items.iter().map(|row| Item::listed(row, &access)).collect();
    let next_cursor = found.page.next.map(|id| id.position());
    Ok(json(StatusCode::OK, &Listed { items, total: found.total, next_cursor }))
}

/// What is asked for; `None` where no item can be like that.
fn filter(query: &Query, access: &Access) -> Result<Option<AttemptFilter>, Problem> {
    const UUID: &str = "a UUID";
    let outcome = query.read("status", "in_flight, succeeded or failed", |text| match text {
        "in_flight" => Some(OutcomeFilter::UnderWay),
        "succeeded" => Some(OutcomeFilter::Succeeded),
        "failed" => Some(OutcomeFilter::Failed),
        _ => None,
    })?;
    let code = query.read("error_code", "an error code that this server knows", ErrorCode::parse)?;
    let filter = AttemptFilter {
        namespace: namespace(query, access)?,
        subscription: query.read("binding_id", UUID, SubscriptionId::parse)?,
        endpoint: query.read("destination_id", UUID, EndpointId::parse)?,
        event: query.read("event_id", "a whole number", event_seq)?,
        outcome: code.map_or(outcome.unwrap_or_default(), OutcomeFilter::Code),
        began_from: query.time("created_after")?,
        began_before: query.time("created_before")?,
    };
    let is_contradiction = code.is_some() && matches!(outcome, Some(OutcomeFilter::UnderWay | OutcomeFilter::Succeeded));
    Ok((!is_contradiction).then_some(filter))
}

/// The tenant whose things are listed; a master key may name one.
pub(super) fn namespace(query: &Query, access: &Access) -> Result<Option<Namespace>, Problem> {
    match &access.namespace {
        Some(own) => Ok(Some(own.clone())),
        None => query.read("customer_id", "the name of a namespace", |text| Namespace::new(text).ok()),
    }
}

/// `page`, from 1, in the older way of counting; a cursor says better where to go on.
fn skip(query: &Query, limit: u32) -> Result<u32, Problem> {
    let most = MAX_SKIPPED / limit + 1;
    let what = format!("a whole number from 1 to {most}, and not go with cursor: further down follow next_cursor");
    let page =
        query.read("page", &what, |text| text.parse::<u32>().ok().filter(|n| (1..=most).contains(n) && query.get("cursor").is_none()))?;
    Ok(page.map_or(0, |page| (page - 1) * limit))
}

/// Answers one item with its bodies.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let detail = find(&app, &access, &id).await?;
    Ok(json(StatusCode::OK, &Item::detailed(&detail, &access)))
}

async fn find(app: &App, access: &Access, id: &str) -> Result<AttemptDetail, Problem> {
    let missing = || Problem::not_found("there is no delivery item with this id");
    let id = AttemptId::parse(id).ok_or_else(missing)?;
    let found = app.engine.store().attempt(id, access.namespace.clone()).await.map_err(Problem::of_read)?;
    found.ok_or_else(missing)
}

#[derive(Serialize)]
struct Enqueued {
    enqueued: bool,
    idempotency_key: String,
}

/// Makes the delivery of an item again, under the same key: with a fresh ladder of attempts, or where the delivery is still being retried with the
/// next attempt at once.
pub(super) async fn replay(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let detail = find(&app, &access, &id).await?;
    if detail.attempt.outcome.is_none() {
        return Err(Problem::conflict("this attempt is still under way: wait for its outcome"));
    }
    let delivery = &detail.delivery;
    may_send(&app, delivery)?;
    again(&app, delivery).await?;
    let idempotency_key = idempotency_key(delivery.subscription, delivery.event);
    Ok(json(StatusCode::OK, &Enqueued { enqueued: true, idempotency_key }))
}

/// Why a delivery that is made again would not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Its subscription or its endpoint is gone.
    Gone,
    /// Its subscription is not active.
    Inactive,
    /// Its endpoint is paused.
    Paused,
    /// Postrider has disabled its endpoint, for this reason.
    Disabled(ErrorCode),
}

/// Why a delivery would not be sent now, if it would not.
pub(crate) fn unsent(app: &App, delivery: &Delivery) -> Option<Unsent> {
    let routes = app.engine.routes();
    let Some(route) = routes.route(delivery.subscription) else { return Some(Unsent::Gone) };
    if !route.subscription.active {
        return Some(Unsent::Inactive);
    }
    match route.endpoint.status {
        EndpointStatus::Active => None,
        EndpointStatus::Paused { .. } => Some(Unsent::Paused),
        EndpointStatus::Disabled { reason, .. } => Some(Unsent::Disabled(reason)),
    }
}

/// Whether a delivery would be sent at all: 404 where its binding or destination is gone, 409 where one of them is not active.
pub(super) fn may_send(app: &App, delivery: &Delivery) -> Result<(), Problem> {
    match unsent(app, delivery) {
        None => Ok(()),
        Some(Unsent::Gone) => Err(Problem::not_found("the binding or the destination of this delivery is gone")),
        Some(Unsent::Inactive) => Err(Problem::conflict("the binding of this delivery is not active: activate it first")),
        Some(Unsent::Paused) => Err(Problem::conflict("the destination of this delivery is not active: activate it first")),
        Some(Unsent::Disabled(reason)) => {
            let message = format!("the destination of this delivery was disabled ({reason}): mend and update it first, which enables it");
            Err(Problem::conflict(message))
        }
    }
}

/// Puts a delivery back into its queue, unless it is there. Its dead letter stays until that succeeds (contract, section 7).
async fn again(app: &App, delivery: &Delivery) -> Result<(), Problem> {
    match app.engine.replay_delivery(delivery.id, true).await? {
        // One that is queued already comes to the same.
        Replayed::Queued(_) | Replayed::Claimed(_) | Replayed::NotResting(StateKind::Pending | StateKind::Sending) => Ok(()),
        // The next attempt of its ladder is what was asked for.
        Replayed::NotResting(_) => Ok(app.engine.hasten(delivery.id).await?),
        Replayed::NotFound | Replayed::AlreadyClosed(_) => Err(Problem::not_found("there is no delivery item with this id")),
    }
}

/// Bounds of a list in time.
impl Query {
    pub(super) fn time(&self, name: &str) -> Result<Option<Timestamp>, Problem> {
        self.read(name, "a time such as 2026-01-31T12:00:00Z", Timestamp::parse_rfc3339)
    }
}
