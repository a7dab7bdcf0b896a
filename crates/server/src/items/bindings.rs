//! `/v1/delivery/bindings`: which events go to a destination, and in what form (contract, section 9.3). A binding is a subscription,
//! whichever API made it.

use super::binding_request::{Made, Wanted};
use super::destinations::Deleted;
use super::gate::{Caller, Tenant};
use super::history::namespace;
use super::once::Fresh;
use super::page::{Listed, PageOf, Position, Query};
use super::wire::{last_ended, time};
use crate::auth::Access;
use crate::http::{App, Detail, PathId, Problem, json, with_location};
use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::body::{BodyForm, FieldMap};
use postrider_core::catalog::EVENT;
use postrider_core::event::Namespace;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::policy::DeliveryPolicy;
use postrider_core::ports::{AttemptRow, ConfigChange, LastOf};
use postrider_core::retry::{RetryPolicy, Schedule};
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use serde::Serialize;
use serde_json::value::RawValue;
use std::sync::Arc;

/// The path of all bindings.
pub(super) const PATH: &str = "/v1/delivery/bindings";

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: SubscriptionId,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    name: &'a str,
    signal_filter: Filter<'a>,
    deliverable_type: &'static str,
    destination_id: EndpointId,
    serializer_format: &'static str,
    serializer_config: Config,
    /// The one resolver has nothing to configure.
    resolver_config: Option<Config>,
    field_map: Option<&'a RawValue>,
    delivery_policy: Policy,
    is_active: bool,
    last_status: Option<&'static str>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct Filter<'a> {
    event_type: String,
    #[serde(rename = "match", skip_serializing_if = "Option::is_none")]
    matches: Option<&'a RawValue>,
}

#[derive(Debug, Serialize)]
struct Config {
    #[serde(skip_serializing_if = "Option::is_none")]
    envelope: Option<bool>,
}

#[derive(Debug, Serialize)]
struct Policy {
    max_attempts: u32,
    backoff_schedule: Vec<u64>,
    timeout_ms: u64,
    rate_limit: Option<RateLimit>,
}

#[derive(Debug, Serialize)]
struct RateLimit {
    #[serde(rename = "ratePerSec")]
    rate_per_sec: f64,
    capacity: u32,
}

/// The types that a subscription asks for as one text; those of other APIs may ask for several, or for all.
pub(super) fn event_type(subscription: &Subscription) -> String {
    let names: Vec<String> = subscription.patterns.iter().map(ToString::to_string).collect();
    if names.is_empty() { String::from("*") } else { names.join(",") }
}

impl<'a> Shown<'a> {
    fn new(subscription: &'a Subscription, timeout: std::time::Duration, last: Option<&AttemptRow>, access: &Access) -> Self {
        let raw = |text: &'a str| serde_json::from_str::<&'a RawValue>(text).ok();
        let (envelope, field_map) = match &subscription.body {
            BodyForm::Raw | BodyForm::Rpc | BodyForm::Template(_) => (None, None),
            BodyForm::Items(body) => (Some(body.envelope), body.field_map.as_ref().map(FieldMap::as_json).and_then(raw)),
        };
        Shown {
            id: subscription.id,
            customer_id: access.namespace.is_none().then_some(&subscription.namespace),
            name: &subscription.name,
            signal_filter: Filter {
                event_type: event_type(subscription),
                matches: subscription.matches.as_ref().and_then(|m| raw(m.as_json())),
            },
            deliverable_type: EVENT,
            destination_id: subscription.endpoint,
            serializer_format: subscription.body.serializer().as_str(),
            serializer_config: Config { envelope },
            resolver_config: None,
            field_map,
            delivery_policy: Policy {
                max_attempts: subscription.retry.max_attempts,
                backoff_schedule: gaps(&subscription.retry),
                timeout_ms: millis(subscription.timeout.unwrap_or(timeout)),
                rate_limit: subscription.rate_limit.map(|limit| RateLimit { rate_per_sec: limit.rate_per_second(), capacity: limit.burst }),
            },
            is_active: subscription.active,
            last_status: last.and_then(super::wire::ended_status),
            created_at: time(subscription.created_at),
            updated_at: time(subscription.updated_at),
        }
    }
}

fn millis(span: std::time::Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

/// The gaps of a policy in milliseconds, without jitter.
fn gaps(policy: &RetryPolicy) -> Vec<u64> {
    match &policy.schedule {
        Schedule::List(gaps) => gaps.iter().copied().map(millis).collect(),
        Schedule::Exponential { .. } => {
            let exact = RetryPolicy { jitter_percent: 0, ..policy.clone() };
            (1..policy.max_attempts).map(|spent| millis(exact.gap(spent, 0))).collect()
        }
    }
}

impl Position for SubscriptionId {
    const KIND: &'static str = "b";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        SubscriptionId::parse(text)
    }
}

/// Answers the bindings, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let of = namespace(&query, &access)?;
    let page: PageOf<SubscriptionId> = query.page()?;
    let routes = app.engine.routes();
    let is_listed = |s: &Subscription| of.as_ref().is_none_or(|of| *of == s.namespace);
    let mut all: Vec<&Arc<Subscription>> = routes.subscriptions().filter(|subscription| is_listed(subscription)).collect();
    all.sort_unstable_by_key(|subscription| std::cmp::Reverse(subscription.id));
    let total = all.len() as u64;
    let begin = page.after.map_or(0, |after| all.partition_point(|subscription| subscription.id >= after));
    let end = all.len().min(begin + page.limit as usize);
    let shown = &all[begin..end];
    let last = last_ended(&app, LastOf::Subscriptions(shown.iter().map(|subscription| subscription.id).collect())).await?;
    let shown = shown.iter().zip(&last);
    let data = shown.map(|(of, last)| Shown::new(of, timeout(&routes, of), last.as_ref(), &access)).collect();
    let next_cursor = (end < all.len()).then(|| all[end - 1].id.position());
    Ok(json(StatusCode::OK, &Listed { data, total, next_cursor }))
}

/// The deadline that holds where the binding has none of its own.
fn timeout(routes: &Routes, subscription: &Subscription) -> std::time::Duration {
    routes.endpoint(subscription.endpoint).map(|endpoint| endpoint.http.timeout).unwrap_or_default()
}

/// Answers one binding.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let subscription = Arc::clone(find(&app.engine.routes(), &access, &id)?);
    answer(&app, &subscription, &access, StatusCode::OK).await
}

async fn answer(app: &App, subscription: &Subscription, access: &Access, status: StatusCode) -> Result<Response, Problem> {
    let last = last_ended(app, LastOf::Subscriptions(vec![subscription.id])).await?;
    let timeout = timeout(&app.engine.routes(), subscription);
    Ok(json(status, &Shown::new(subscription, timeout, last.iter().flatten().next(), access)))
}

/// Makes a binding, which is in force at once.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(namespace): Tenant,
    request: Request,
) -> Result<Response, Problem> {
    let fresh = Fresh::of(request.extensions());
    let id = SubscriptionId::new(fresh.id(&app));
    let wanted = read(&app, request, true).await?;
    let made = wanted.check(None)?;
    if let Some(before) = app.engine.routes().subscription(id).filter(|_| fresh.is_again()) {
        return created(&app, before, &access).await;
    }
    let policy = wanted.policy.clone().unwrap_or_else(DeliveryPolicy::items);
    let now = app.engine.now();
    let mut subscription = Subscription {
        id,
        namespace,
        name: wanted.name.clone().unwrap_or_default(),
        endpoint: wanted.destination.unwrap_or(EndpointId::new(uuid::Uuid::nil())),
        origin: Origin::Items,
        active: wanted.is_active.unwrap_or(true),
        patterns: Vec::new(),
        labels: LabelFilter::default(),
        matches: None,
        request: RequestForm::default(),
        body: BodyForm::Raw,
        retry: RetryPolicy { jitter_percent: app.items_jitter, ..policy.retry },
        timeout: policy.timeout,
        rate_limit: policy.rate_limit,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    fit(&mut subscription, made, true)?;
    let stored = subscription.clone();
    app.engine
        .edit(|routes| {
            destination(routes, &access, stored.endpoint)?;
            Ok::<_, Problem>((vec![ConfigChange::Subscription(stored.clone())], ()))
        })
        .await?;
    created(&app, &subscription, &access).await
}

async fn created(app: &App, subscription: &Subscription, access: &Access) -> Result<Response, Problem> {
    let response = answer(app, subscription, access, StatusCode::CREATED).await?;
    Ok(with_location(response, &format!("{PATH}/{}", subscription.id)))
}

async fn read(app: &App, request: Request, is_new: bool) -> Result<Wanted, Problem> {
    let (parts, body) = request.into_parts();
    let body = app.read_json(&parts.headers, body).await?;
    Wanted::parse(&body, is_new)
}

fn fit(subscription: &mut Subscription, made: Made, filter: bool) -> Result<(), Problem> {
    if filter {
        let pattern = TypePattern::parse(&made.event_type);
        let pattern = pattern.map_err(|e| invalid("signal_filter.event_type", e.to_string()))?;
        subscription.patterns = vec![pattern];
    }
    subscription.matches = made.compatible.matches;
    subscription.body = made.compatible.body;
    Ok(())
}

fn invalid(path: &str, message: String) -> Problem {
    Problem::validation(vec![Detail { path: path.to_owned(), message }])
}

/// The destination of a binding must be one of the same tenant.
fn destination(routes: &Routes, access: &Access, id: EndpointId) -> Result<(), Problem> {
    let found = routes.endpoint(id).filter(|endpoint| access.sees(&endpoint.namespace));
    found.map(drop).ok_or_else(|| invalid("destination_id", String::from("there is no destination with this id")))
}

/// Changes what the request names; it holds from the next event on that matches.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, Problem> {
    find(&app.engine.routes(), &access, &id)?;
    let wanted = read(&app, request, false).await?;
    let now = app.engine.now();
    let subscription = app
        .engine
        .edit(|routes| {
            let subscription = changed(&app, find(routes, &access, &id)?, &wanted, now)?;
            destination(routes, &access, subscription.endpoint)?;
            Ok::<_, Problem>((vec![ConfigChange::Subscription(subscription.clone())], subscription))
        })
        .await?;
    answer(&app, &subscription, &access, StatusCode::OK).await
}

fn changed(app: &App, before: &Subscription, wanted: &Wanted, now: Timestamp) -> Result<Subscription, Problem> {
    let mut subscription = before.clone();
    // What another API made may ask for more than one type, which only a filter of its own replaces, and may have a body of that API's, which
    // only a form of its own replaces.
    if wanted.changes_form() || wanted.changes_filter() || before.origin == Origin::Items {
        fit(&mut subscription, wanted.check(Some(before))?, wanted.changes_filter())?;
    }
    if before.origin != Origin::Items && !wanted.changes_form() {
        subscription.body.clone_from(&before.body);
    }
    if let Some(name) = &wanted.name {
        subscription.name.clone_from(name);
    }
    if let Some(destination) = wanted.destination {
        subscription.endpoint = destination;
    }
    if let Some(policy) = &wanted.policy {
        subscription.retry = RetryPolicy { jitter_percent: app.items_jitter, ..policy.retry.clone() };
        subscription.timeout = policy.timeout;
        subscription.rate_limit = policy.rate_limit;
    }
    subscription.active = wanted.is_active.unwrap_or(before.active);
    subscription.updated_at = now;
    Ok(subscription)
}

/// Deletes a binding: nothing more is routed to it. Its items and dead letters stay readable until their retention.
pub(super) async fn delete(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
) -> Result<Response, Problem> {
    let now = app.engine.now();
    let id = app
        .engine
        .edit(|routes| {
            let subscription = find(routes, &access, &id)?;
            let gone = Subscription { deleted_at: Some(now), updated_at: now, ..Subscription::clone(subscription) };
            Ok::<_, Problem>((vec![ConfigChange::Subscription(gone)], subscription.id))
        })
        .await?;
    Ok(json(StatusCode::OK, &Deleted { deleted: true, id }))
}

/// The binding with this id, if it exists for the caller.
pub(super) fn find<'r>(routes: &'r Routes, access: &Access, id: &str) -> Result<&'r Arc<Subscription>, Problem> {
    let found = SubscriptionId::parse(id).and_then(|id| routes.subscription(id));
    found.filter(|s| access.sees(&s.namespace)).ok_or_else(|| Problem::not_found("there is no binding with this id"))
}
