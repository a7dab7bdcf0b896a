//! HTTP: the listener, the router, and what every API shares.

mod activity;
pub mod body;
pub mod json;
mod listener;
mod problem;
pub mod reader;
mod service;
mod table;
pub mod target;

pub use body::Bodies;
pub use listener::{Limits, Server};
pub use problem::{Detail, Problem};
pub use reader::Reader;
pub use service::GoesOn;
pub use table::{Route, Table};

use crate::auth::{Access, Auth, Denied};
use crate::config::Setting;
use crate::key_limits::KeyLimits;
use crate::nodes::Nodes;
use crate::{items, rpc, tasks, web};
use axum::Router;
use axum::body::Body;
use axum::extract::{FromRequestParts, Path, State};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, HeaderValue, LOCATION};
use http::request::Parts;
use http::{HeaderMap, Request, StatusCode, Uri};
use postrider_core::guard::Guard;
use postrider_core::key::Scope;
use postrider_core::retry::RetryPolicy;
use postrider_engine::Engine;
use serde::Serialize;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Largest head of a request, in bytes.
pub const MAX_HEAD_BYTES: usize = 64 << 10;

/// Most headers of a request.
pub const MAX_HEADERS: usize = 100;

/// How long a request waits for what others have configured, where the database does not answer.
const CATCH_UP: Duration = Duration::from_millis(500);

/// What the APIs work with.
#[derive(Debug)]
pub struct App {
    /// Does what they ask.
    pub engine: Engine,
    /// Judges target URLs.
    pub guard: Arc<Guard>,
    /// Judges callers.
    pub auth: Auth,
    /// How hard deliveries of new Tasks subscriptions are tried.
    pub tasks_policy: RetryPolicy,
    /// The jitter of bindings that get their policy now, in percent.
    pub items_jitter: u8,
    /// Reads request bodies.
    pub bodies: Bodies,
    /// What the health check found last.
    pub health: tasks::Health,
    /// What the store is, in a word.
    pub database: &'static str,
    /// Who serves it.
    pub nodes: Arc<dyn Nodes>,
    /// What this node is called.
    pub node: String,
    /// When the server started.
    pub started: Instant,
    /// How often each key may ask.
    pub key_limits: KeyLimits,
    /// What the server was started with, secrets masked.
    pub settings: Vec<Setting>,
    /// Turns true when the server stops: what would go on for as long as its client likes ends then.
    pub stopping: watch::Receiver<bool>,
}

impl App {
    /// The caller of a request; see [`Auth::caller`]. A key that seems unknown may have been made a moment ago, by the command line or by
    /// another node: that is looked for before it is refused, which takes up to 100 ms longer where others show such keys too (see
    /// [`Auth::look`]). What cannot be a key, or is a known one that is not valid, is refused at once.
    pub async fn caller(&self, headers: &HeaderMap) -> Result<Option<Access>, Denied> {
        let routes = self.engine.routes();
        let known = self.auth.caller(headers, &routes, self.engine.now());
        if !matches!(known, Err(Denied::Invalid)) || !Auth::may_be_new(headers, routes.keys()) {
            return known;
        }
        drop(routes);
        self.auth.look(self.engine.see_changes()).await;
        self.auth.caller(headers, &self.engine.routes(), self.engine.now())
    }

    /// Whether a request's caller is known without asking the store: by a valid key, or as one who needs none.
    fn knows_caller(&self, headers: &HeaderMap) -> bool {
        match self.auth.caller(headers, &self.engine.routes(), self.engine.now()) {
            Ok(Some(_)) => true,
            Ok(None) => self.auth.without_key(headers).is_ok(),
            Err(_) => false,
        }
    }

    /// The caller of a request, with the scope that it needs.
    pub async fn require(&self, headers: &HeaderMap, scope: Scope) -> Result<Access, Problem> {
        Ok(self.auth.require(headers, self.caller(headers).await, scope)?)
    }

    /// Whether the store reads and writes.
    pub async fn is_healthy(&self) -> bool {
        self.health.is_good(self.engine.store().as_ref()).await
    }

    /// A request's whole body.
    pub async fn read_body(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        self.bodies.read(headers, body).await
    }

    /// A request's whole body, which must be JSON by its media type.
    pub async fn read_json(&self, headers: &HeaderMap, body: Body) -> Result<Bytes, Problem> {
        if !body::is_json(headers) {
            return Err(Problem::media_type("application/json"));
        }
        self.read_body(headers, body).await
    }
}

/// Everything but the hot path, which [`Server`] takes straight to its handler.
pub fn router(app: Arc<App>) -> Router {
    let routes = tasks::routes()
        .into_router()
        .merge(items::router(&app))
        .merge(rpc::router(&app))
        .merge(rpc::routes().into_router())
        .merge(web::routes().into_router());
    let routes = if app.engine.shares_its_store() { routes.route_layer(from_fn_with_state(Arc::clone(&app), up_to_date)) } else { routes };
    routes.fallback(not_found).method_not_allowed_fallback(method_not_allowed).with_state(app)
}

/// Sees to it that whoever asks finds what was configured through another node before. Not for what publishes, which is told of it a moment later as
/// everybody is; and only for callers who are known, so that nobody else makes the node ask its database. All who ask at the same time share one
/// look; a key that is not known is looked for by [`App::caller`] anyway.
async fn up_to_date(State(app): State<Arc<App>>, request: Request<Body>, next: Next) -> Response {
    let publishes = items::publishes(request.method(), request.uri().path()) || rpc::publishes(request.uri().path());
    if !publishes && app.knows_caller(request.headers()) {
        // Where the database is away, what is known has to do.
        _ = tokio::time::timeout(CATCH_UP, app.engine.catch_up()).await;
    }
    next.run(request).await
}

/// Every route that clients call.
pub fn routes() -> Vec<Route> {
    [tasks::routes(), items::routes(), rpc::routes(), web::routes()].iter().flat_map(|table| table.routes().to_vec()).collect()
}

async fn not_found(State(app): State<Arc<App>>, headers: HeaderMap, uri: Uri) -> Response {
    if let Some(response) = rpc::unknown_path(&headers) {
        return response;
    }
    in_shape_of_path(&app, &uri, Problem::not_found("there is nothing at this path"))
}

async fn method_not_allowed(State(app): State<Arc<App>>, uri: Uri) -> Response {
    let message = "this path does not take this method; the header Allow lists those that it takes";
    in_shape_of_path(&app, &uri, Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", message))
}

fn in_shape_of_path(app: &App, uri: &Uri, problem: Problem) -> Response {
    let response = problem.into_response();
    if uri.path().starts_with(items::PREFIX) { items::dress(app, uri.path(), response) } else { response }
}

/// A response with a JSON body.
pub fn json(status: StatusCode, body: &impl Serialize) -> Response {
    match serde_json::to_vec(body) {
        Ok(bytes) => json_bytes(status, bytes),
        // Shapes are structs with string keys, which always serialise; a caller gets an error rather than a dead connection all the same.
        Err(error) => {
            tracing::error!(%error, "a response could not be written as JSON");
            StatusCode::INTERNAL_SERVER_ERROR.into_response()
        }
    }
}

/// A response whose JSON is written already.
pub fn json_bytes(status: StatusCode, body: Vec<u8>) -> Response {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Puts `Location` into a response.
pub fn with_location(mut response: Response, path: &str) -> Response {
    if let Ok(value) = HeaderValue::try_from(path) {
        response.headers_mut().insert(LOCATION, value);
    }
    response
}

/// The id in a path. One that cannot be read (bad escapes, not UTF-8) is empty, which is no id, and so ends as "not found".
#[derive(Debug)]
pub struct PathId(pub String);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Infallible> {
        let path = Path::<String>::from_request_parts(parts, state).await;
        Ok(PathId(path.map(|Path(id)| id).unwrap_or_default()))
    }
}

/// A caller who may read.
#[derive(Debug)]
pub struct Reads(pub Access);

/// A caller who may write.
#[derive(Debug)]
pub struct Writes(pub Access);

impl FromRequestParts<Arc<App>> for Reads {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        app.require(&parts.headers, Scope::Read).await.map(Reads)
    }
}

impl FromRequestParts<Arc<App>> for Writes {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        app.require(&parts.headers, Scope::Write).await.map(Writes)
    }
}

/// Reads the query of a URL; a parameter that is not `known` or comes twice is refused, for nothing is accepted and ignored.
pub fn query(uri: &Uri, known: &[&str]) -> Result<Vec<(String, String)>, Problem> {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(uri.query().unwrap_or_default())
        .map_err(|e| Problem::bad_request(format!("the query cannot be read: {e}")))?;
    for (i, (name, _)) in pairs.iter().enumerate() {
        if !known.contains(&name.as_str()) {
            let known = if known.is_empty() { String::from("there are none here") } else { format!("known: {}", known.join(", ")) };
            return Err(Problem::bad_request(format!("unknown query parameter {:?}; {known}", json::clip(name))));
        }
        if pairs[..i].iter().any(|(earlier, _)| earlier == name) {
            return Err(Problem::bad_request(format!("the query parameter {name:?} is there twice")));
        }
    }
    Ok(pairs)
}

/// The `limit` of a list: from 1 to `most`, and `default` where it is left out.
pub fn limit(pairs: &[(String, String)], default: u32, most: u32) -> Result<u32, Problem> {
    let Some((_, text)) = pairs.iter().find(|(name, _)| name == "limit") else { return Ok(default) };
    let limit = text.parse().ok().filter(|n| (1..=most).contains(n));
    limit.ok_or_else(|| Problem::bad_request(format!("limit must be a whole number from 1 to {most}")))
}
