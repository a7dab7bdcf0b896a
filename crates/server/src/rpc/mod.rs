//! The RPC API: Connect, gRPC and gRPC-Web on the same paths, `/webhook.SERVICE/METHOD` and, for what other servers do not have (`v1`),
//! `/postrider.v1.SERVICE/METHOD`.
//!
//! A call passes who asks (`auth`), the reading of its body with the bounds that all APIs share, and then the library, which knows the
//! three protocols and hands the message to its service. Health checks and reflection are beside that: they need no key.
//!
//! A method that answers with a stream has the time of other calls until the stream begins, and then as long as it likes: it ends by itself
//! when [`App::stopping`] turns true, so that no client keeps the server from stopping.

mod access;
mod auth;
mod batches;
mod deliveries;
mod errors;
mod events;
mod health;
mod health_service;
mod page;
mod status;
mod subscriptions;
#[cfg(test)]
mod tests;
mod v1;
mod webhooks;

use crate::http::{App, Bodies, GoesOn, Table};
use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use axum::routing::any;
use connectrpc::{ConnectError, ConnectRpcBody, ConnectRpcService, DeadlinePolicy, Limits};
use connectrpc_health::{HealthExt, HealthService};
use connectrpc_reflection::{Reflector, SERVER_REFLECTION_SERVICE_NAME, SERVER_REFLECTION_V1ALPHA_SERVICE_NAME};
use http::header::{ALLOW, EXPECT, HeaderValue};
use http::{HeaderMap, HeaderName, Request, StatusCode};
use http_body_util::Full;
use postrider_proto::{DESCRIPTORS, Services, service};
use std::convert::Infallible;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tower_service::Service as _;

/// Largest message of a call, in bytes (contract of the RPC API, section 3).
pub const MAX_MESSAGE: usize = 4 << 20;

/// What gRPC puts before a message: whether it is compressed, and its length.
const ENVELOPE: usize = 5;

/// Longest time for a call once its body is there, or until the stream that it answers with begins, whatever the client asks for (contract,
/// section 12).
const LONGEST_CALL: Duration = Duration::from_secs(30);

/// Largest message of a health check or a question of reflection, in bytes: names, and no more.
const MAX_QUESTION: usize = 16 << 10;

/// How long a client may go on asking reflection.
const LONGEST_REFLECTION: Duration = Duration::from_secs(60);

/// The services that answer. Reflection and the health check tell of these and of no others.
fn services(app: &Arc<App>) -> Services {
    Services::default()
        .with_webhook_service(Arc::new(webhooks::Webhooks::new(Arc::clone(app))))
        .with_event_service(Arc::new(events::Events::new(Arc::clone(app))))
        .with_subscription_service(Arc::new(subscriptions::Subscriptions::new(Arc::clone(app))))
        .with_delivery_service(Arc::new(deliveries::Deliveries::new(Arc::clone(app))))
        .with_health_service(Arc::new(health_service::Healths::new(Arc::clone(app))))
        .with_overview_service(Arc::new(v1::overview::Overviews::new(Arc::clone(app))))
        .with_ledger_service(Arc::new(v1::ledger::Ledger::new(Arc::clone(app))))
        .with_endpoint_service(Arc::new(v1::endpoints::Endpoints::new(Arc::clone(app))))
        .with_dead_letter_service(Arc::new(v1::dead_letters::DeadLetters::new(Arc::clone(app))))
        .with_schedule_service(Arc::new(v1::schedule::Schedules::new(Arc::clone(app))))
        .with_admin_service(Arc::new(v1::admin::Admin::new(Arc::clone(app))))
}

/// Keeps nginx and those who have learned it from gathering an answer before they pass it on.
const UNBUFFERED: HeaderName = HeaderName::from_static("x-accel-buffering");

/// What a call is answered with.
struct Rpc {
    app: Arc<App>,
    bodies: Bodies,
    calls: ConnectRpcService<Services>,
}

/// The routes beside the calls, which answer to GET.
pub fn routes() -> Table {
    Table::default().get("/health", status::health).get("/ready", status::ready)
}

/// Whether a request publishes.
pub fn publishes(path: &str) -> bool {
    path.ends_with("/PushEvent")
}

/// The routes of the RPC API, of health checks and of reflection.
pub fn router(app: &Arc<App>) -> Router<Arc<App>> {
    let services = services(app);
    let names = services.names().to_vec();
    let rpc = Arc::new(Rpc { app: Arc::clone(app), bodies: app.bodies.up_to(MAX_MESSAGE + ENVELOPE), calls: bounded(services) });
    let calls = service::NAMES.into_iter().fold(Router::new(), |router, name| router.route(&methods_of(name), any(answer)));
    let (health, current) = (health(app, &names), reflection(&names));
    let older = current.clone();
    calls
        .with_state(rpc)
        .route(&methods_of(connectrpc_health::HEALTH_SERVICE_NAME), any(move |request: Request<Body>| call(health, request)))
        .route(&methods_of(SERVER_REFLECTION_SERVICE_NAME), any(move |request: Request<Body>| call(current, request)))
        .route(&methods_of(SERVER_REFLECTION_V1ALPHA_SERVICE_NAME), any(move |request: Request<Body>| call(older, request)))
        .layer(axum::middleware::map_response(with_allow))
}

/// Services with the bounds of the contract.
fn bounded(services: Services) -> ConnectRpcService<Services> {
    let limits = Limits::default().with_max_message_size(MAX_MESSAGE).with_max_request_body_size(MAX_MESSAGE + ENVELOPE);
    // A stream that has begun is not cut off; a client that gives it less time ends it itself.
    let deadlines = DeadlinePolicy::new().with_default_timeout(LONGEST_CALL).with_max(LONGEST_CALL).with_enforce_on_streams(false);
    ConnectRpcService::new(services).with_limits(limits).with_deadline_policy(deadlines)
}

fn methods_of(service: &str) -> String {
    format!("/{service}/{{method}}")
}

/// `grpc.health.v1.Health`, which needs no key: load balancers have none.
fn health(app: &Arc<App>, names: &[&'static str]) -> ConnectRpcService {
    let service = Arc::new(HealthService::new(health::Checks::new(Arc::clone(app), names)));
    ConnectRpcService::new(service.register(connectrpc::Router::new())).with_limits(of_questions())
}

/// Reflection, which needs no key: the contract is no secret, as the OpenAPI document is none.
fn reflection(names: &[&'static str]) -> ConnectRpcService {
    let own = [SERVER_REFLECTION_SERVICE_NAME, SERVER_REFLECTION_V1ALPHA_SERVICE_NAME];
    let reflector = Reflector::from_descriptor_set_bytes(DESCRIPTORS).expect("the build has read the same descriptors");
    let reflector = reflector.with_services(names.iter().chain(&own).copied());
    let deadlines =
        DeadlinePolicy::new().with_default_timeout(LONGEST_REFLECTION).with_max(LONGEST_REFLECTION).with_enforce_on_streams(true);
    ConnectRpcService::new(connectrpc_reflection::install(connectrpc::Router::new(), reflector))
        .with_limits(of_questions())
        .with_deadline_policy(deadlines)
}

fn of_questions() -> Limits {
    Limits::default().with_max_message_size(MAX_QUESTION).with_max_request_body_size(MAX_QUESTION + ENVELOPE)
}

/// A call of a service of the contract.
async fn answer(State(rpc): State<Arc<Rpc>>, request: Request<Body>) -> Response {
    let (mut parts, body) = request.into_parts();
    let mut body = pin!(body);
    let (standing, admitted) = auth::admit(&rpc.app, &parts).await;
    let read = match admitted {
        Ok(access) => {
            parts.extensions.insert(access);
            let read = rpc.bodies.read(&parts.headers, body.as_mut()).await;
            read.map_err(|problem| errors::answer(problem.into(), &parts.headers))
        }
        Err(problem) => Err(auth::refusal(problem, &parts.headers)),
    };
    let mut response = match read {
        Ok(message) => call(rpc.calls.clone(), Request::from_parts(parts, Full::new(message))).await,
        // The listener does the same for refusals by their status; those of gRPC-Web have the status 200.
        Err(refusal) => rpc.bodies.leave(parts.version, parts.headers.contains_key(EXPECT), body, refusal).await,
    };
    if let Some(standing) = standing {
        standing.show(response.headers_mut());
    }
    response
}

/// Hands a call to the library.
async fn call<D, B>(mut service: ConnectRpcService<D>, request: Request<B>) -> Response
where
    ConnectRpcService<D>: tower_service::Service<Request<B>, Response = http::Response<ConnectRpcBody>, Error = Infallible>,
{
    let Ok(response) = service.call(request).await;
    measured(response)
}

/// An answer that is there as a whole says how long it is, which the library's own body does not. One that streams is marked, so that the
/// connection is kept for it, and tells proxies to pass on what comes when it comes.
fn measured(mut response: http::Response<ConnectRpcBody>) -> Response {
    if matches!(response.body(), ConnectRpcBody::Streaming(_)) {
        response.extensions_mut().insert(GoesOn);
        response.headers_mut().insert(UNBUFFERED, HeaderValue::from_static("no"));
    }
    response.map(|body| match body {
        ConnectRpcBody::Full(whole) => Body::new(whole),
        other => Body::new(other),
    })
}

/// A method that exists answers to POST alone, and a refusal of other HTTP methods has to say so.
async fn with_allow(mut response: Response) -> Response {
    if response.status() == StatusCode::METHOD_NOT_ALLOWED && !response.headers().contains_key(ALLOW) {
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}

/// What a gRPC client is told of a path that is none; `None` where it is no gRPC client.
pub fn unknown_path(headers: &HeaderMap) -> Option<Response> {
    errors::is_grpc(headers).then(|| errors::answer(ConnectError::unimplemented("there is nothing at this path"), headers))
}
