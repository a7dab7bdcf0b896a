//! `POST /ingest/{subscription_id}`: the hot path.
//!
//! Checks come in the contract's order: existence (404), size (413), key or signature (401), JSON (400), filter (400 or 204), store.

use crate::auth::{Access, Denied};
use crate::http::{App, Problem, json, json_bytes, query, with_location};
use crate::observe::Sparingly;
use ::http::header::{EXPECT, HeaderName, LOCATION};
use ::http::request::Parts;
use ::http::{HeaderMap, HeaderValue, Request, StatusCode, Uri};
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http_body::Body;
use postrider_core::event::{SchemaCheck, check_event_type};
use postrider_core::id::{DeliveryId, EventId, SubscriptionId};
use postrider_core::key::Scope;
use postrider_engine::{Publish, Receipt, Route, To};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::pin::{Pin, pin};
use std::sync::Arc;

/// What the paths of this endpoint begin with.
pub(crate) const PREFIX: &str = "/ingest/";

/// Its path for the router, which answers the wrong methods with it.
pub(super) const ROUTE: &str = "/ingest/{subscription_id}";

const HUB_SIGNATURE: HeaderName = HeaderName::from_static("x-hub-signature-256");
const EVENT_TYPE: HeaderName = HeaderName::from_static("x-event-type");
const GITHUB_EVENT: HeaderName = HeaderName::from_static("x-github-event");
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Longest `Idempotency-Key`, in bytes: with the subscription's id before it, it must fit the store's index.
pub(crate) const MAX_IDEMPOTENCY_KEY_BYTES: usize = 200;

/// The endpoint as the router would reach it.
pub(super) async fn through_router(State(app): State<Arc<App>>, request: axum::extract::Request) -> Response {
    ingest(&app, request).await
}

/// Accepts an event for one subscription; answers once it is on disk.
pub(crate) async fn ingest<B>(app: &App, request: Request<B>) -> Response
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let (parts, body) = request.into_parts();
    let mut body = pin!(body);
    match accept(app, &parts, body.as_mut()).await {
        Ok(response) => response,
        Err(problem) => app.bodies.leave(parts.version, parts.headers.contains_key(EXPECT), body, problem.into_response()).await,
    }
}

async fn accept<B>(app: &App, parts: &Parts, body: Pin<&mut B>) -> Result<Response, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    let caller = app.caller(&parts.headers).await;
    let mut route = find(app, parts, &caller);
    if route.is_err() && app.engine.shares_its_store() && SubscriptionId::parse(id_of(parts)).is_some() {
        // Another node may have made it a moment ago, and a sender that is told 404 would drop the event for good.
        app.auth.look(app.engine.catch_up()).await;
        route = find(app, parts, &caller);
    }
    let route = route?;
    let payload = app.bodies.read(&parts.headers, body).await?;
    authenticate(app, &parts.headers, &route, caller, &payload)?;
    json::check(&payload)?;
    let event_type = event_type(&parts.headers, &parts.uri)?;
    let key = idempotency_key(&parts.headers, route.subscription.id)?;
    if !route.subscription.wants(&event_type, &BTreeMap::new(), &payload) {
        return filtered(&event_type);
    }
    let publish = Publish {
        namespace: route.subscription.namespace.clone(),
        event_type: Arc::from(event_type),
        payload,
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: key,
        ttl: None,
        schema_check: SchemaCheck::Unchecked,
        to: To::Subscription(route.subscription.id),
    };
    let receipt = app.engine.publish(publish).await?;
    Ok(answer(&receipt, route.subscription.id))
}

type Caller = Result<Option<Access>, Denied>;

/// The id of the subscription, as it was given.
fn id_of(parts: &Parts) -> &str {
    parts.uri.path().strip_prefix(PREFIX).unwrap_or_default()
}

/// The subscription. A key that is shown decides which subscriptions exist for it.
fn find(app: &App, parts: &Parts, caller: &Caller) -> Result<Arc<Route>, Problem> {
    let routes = app.engine.routes();
    let route = SubscriptionId::parse(id_of(parts)).and_then(|id| routes.route(id));
    let sees = |route: &&Arc<Route>| match caller {
        Ok(Some(access)) => access.sees(&route.subscription.namespace),
        Ok(None) => app.auth.shows_without_key(&route.subscription.namespace),
        Err(_) => true,
    };
    let route = route.filter(sees).ok_or_else(super::no_subscription)?;
    Ok(Arc::clone(route))
}

/// A secured subscription wants a right signature and no key, for many senders can sign but show no key; another one wants a key.
/// A key that is shown must be good in any case.
fn authenticate(app: &App, headers: &HeaderMap, route: &Route, caller: Caller, payload: &[u8]) -> Result<(), Problem> {
    match caller? {
        Some(access) => access.allow(Scope::Write)?,
        None if route.is_signed() => {}
        None => app.auth.without_key(headers)?.allow(Scope::Write)?,
    }
    if route.is_signed() {
        let signature = headers.get(HUB_SIGNATURE).and_then(|v| v.to_str().ok());
        let verified = signature.map(|signature| route.verify_hub(signature, payload, app.engine.now())).transpose();
        if !verified.map_err(|cause| unreadable(route, cause))?.unwrap_or(false) {
            return Err(Problem::new(
                StatusCode::UNAUTHORIZED,
                "unauthorized",
                "invalid signature: X-Hub-Signature-256 must be sha256= and the HMAC-SHA256 of the request body under the subscription's secret, in hexadecimal",
            ));
        }
    }
    Ok(())
}

/// The fault is the server's, and it passes: a sender that is told 401 would drop the event for good.
fn unreadable(route: &Route, cause: &str) -> Problem {
    static SPARINGLY: Sparingly = Sparingly::new();
    if let Some(left_out) = SPARINGLY.now() {
        tracing::error!(subscription = %route.subscription.id, cause, left_out, "a secret cannot be read, so signatures cannot be checked");
    }
    Problem::unavailable("the server cannot check signatures at the moment, because it cannot read its secrets: try again later")
}

/// From `X-Event-Type`, else from the query, else from `X-GitHub-Event`; empty if the sender names none.
fn event_type<'a>(headers: &'a HeaderMap, uri: &Uri) -> Result<Cow<'a, str>, Problem> {
    let in_header = |name: HeaderName| match headers.get(&name).map(|v| v.to_str()) {
        None => Ok(None),
        Some(Ok(text)) => Ok(Some(Cow::Borrowed(text))),
        Some(Err(_)) => Err(Problem::bad_request(format!("the header {name} must be visible ASCII"))),
    };
    let in_query = match uri.query() {
        None => None,
        Some(_) => query(uri, &["event_type"])?.into_iter().next().map(|(_, value)| Cow::Owned(value)),
    };
    let name = match in_header(EVENT_TYPE)?.or(in_query) {
        Some(name) => name,
        None => in_header(GITHUB_EVENT)?.unwrap_or_default(),
    };
    if !name.is_empty() {
        check_event_type(&name).map_err(|e| Problem::bad_request(e.to_string()))?;
    }
    Ok(name)
}

/// Senders choose their keys for one subscription, so two subscriptions never share one.
fn idempotency_key(headers: &HeaderMap, subscription: SubscriptionId) -> Result<Option<String>, Problem> {
    let Some(value) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let key = value.to_str().ok().filter(|key| (1..=MAX_IDEMPOTENCY_KEY_BYTES).contains(&key.len()));
    let key = key.ok_or_else(|| {
        Problem::bad_request(format!("Idempotency-Key must be 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters"))
    })?;
    Ok(Some(format!("{subscription}:{key}")))
}

/// An event that the subscription does not want. Nothing is stored; to its sender that is a success.
fn filtered(event_type: &str) -> Result<Response, Problem> {
    if event_type.is_empty() {
        return Err(Problem::bad_request(
            "this subscription takes certain event types only: name the type in the header X-Event-Type (or the query parameter event_type)",
        ));
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Written by hand: it is the most frequent answer there is.
fn accepted(delivery: DeliveryId, subscription: SubscriptionId, status: &str, event: EventId) -> Response {
    use std::io::Write;
    let mut body = Vec::with_capacity(224);
    let written =
        write!(body, r#"{{"delivery_task_id":"{delivery}","subscription_id":"{subscription}","status":"{status}","event_id":"{event}"}}"#);
    debug_assert!(written.is_ok(), "a Vec takes every write");
    let mut response = json_bytes(StatusCode::ACCEPTED, body);
    if let Ok(location) = HeaderValue::try_from(format!("/deliveries/{delivery}")) {
        response.headers_mut().insert(LOCATION, location);
    }
    response
}

/// A repeated request gets the first one's ids and the status as it is now.
fn answer(receipt: &Receipt, subscription: SubscriptionId) -> Response {
    match receipt.first_delivery.filter(|first| first.subscription == subscription) {
        Some(first) => accepted(first.id, subscription, super::wire::status(first.state), receipt.id),
        None => {
            // Its delivery was removed at the end of its retention, which only ended ones are.
            let body =
                serde_json::json!({"delivery_task_id": null, "subscription_id": subscription, "status": null, "event_id": receipt.id});
            with_location(crate::http::json(StatusCode::ACCEPTED, &body), &format!("/subscriptions/{subscription}/deliveries"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(of: &[(&'static str, &'static str)]) -> HeaderMap {
        of.iter().map(|(n, v)| (::http::HeaderName::from_static(n), HeaderValue::from_static(v))).collect()
    }

    #[test]
    fn the_type_comes_from_header_then_query_then_github() {
        let all = headers(&[("x-event-type", "a"), ("x-github-event", "c")]);
        let github = headers(&[("x-github-event", "c")]);
        let uri = |text: &'static str| Uri::from_static(text);
        assert_eq!(event_type(&all, &uri("/ingest/x?event_type=b")).as_deref(), Ok("a"));
        assert_eq!(event_type(&github, &uri("/ingest/x?event_type=b")).as_deref(), Ok("b"));
        assert_eq!(event_type(&github, &uri("/ingest/x")).as_deref(), Ok("c"));
        assert_eq!(event_type(&HeaderMap::new(), &uri("/ingest/x")).as_deref(), Ok(""));
        assert!(event_type(&headers(&[("x-event-type", "a b")]), &uri("/ingest/x")).is_err());
        assert!(event_type(&HeaderMap::new(), &uri("/ingest/x?type=b")).is_err());
    }

    #[test]
    fn idempotency_keys_belong_to_their_subscription() {
        let id = SubscriptionId::new(uuid::Uuid::nil());
        let key = idempotency_key(&headers(&[("idempotency-key", "k")]), id);
        assert_eq!(key, Ok(Some(String::from("00000000-0000-0000-0000-000000000000:k"))));
        assert_eq!(idempotency_key(&HeaderMap::new(), id), Ok(None));
        assert!(idempotency_key(&headers(&[("idempotency-key", "")]), id).is_err());
    }

    #[test]
    fn the_answer_written_by_hand_is_json() {
        let id = uuid::Uuid::from_u128(7);
        let response = accepted(DeliveryId::new(id), SubscriptionId::new(id), "pending", EventId::new(id));
        assert_eq!(response.headers()[LOCATION], "/deliveries/00000000-0000-0000-0000-000000000007");
        let body = futures_util::FutureExt::now_or_never(http_body_util::BodyExt::collect(response.into_body()))
            .expect("ready")
            .expect("a body")
            .to_bytes();
        let value: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
        let keys: Vec<_> = value.as_object().expect("an object").keys().map(String::as_str).collect();
        assert_eq!(keys, ["delivery_task_id", "event_id", "status", "subscription_id"]);
    }
}
