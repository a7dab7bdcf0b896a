//! `/v1/delivery/destinations`: where deliveries go (contract, section 9.1). A destination is an endpoint, whichever API made it.

use super::destination_request::{Header, MASK, Means, Wanted};
use super::gate::{Caller, Tenant};
use super::history::namespace;
use super::once::Fresh;
use super::page::{Listed, PageOf, Position, Query};
use super::wire::last_ended;
use crate::auth::Access;
use crate::http::json::Field;
use crate::http::{App, PathId, Problem, json, with_location};
use crate::random;
use axum::extract::{Request, State};
use axum::response::Response;
use http::{StatusCode, Uri};
use postrider_core::auth::Auth;
use postrider_core::catalog::WEBHOOK;
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::Namespace;
use postrider_core::id::EndpointId;
use postrider_core::ports::{AttemptRow, ConfigChange, LastOf};
use postrider_core::sign::Scheme;
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use postrider_engine::Routes;
use serde::Serialize;
use std::collections::BTreeMap;
use std::sync::Arc;

/// The path of all destinations.
pub(super) const PATH: &str = "/v1/delivery/destinations";

#[derive(Debug, Serialize)]
struct Shown<'a> {
    id: EndpointId,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    name: &'a str,
    #[serde(rename = "type")]
    kind: &'static str,
    config: Config<'a>,
    has_auth_config: bool,
    has_signing_secret: bool,
    payload_cap_bytes: Option<u32>,
    is_active: bool,
    /// Since when Postrider itself sends nothing there, and why.
    disabled_at: Option<String>,
    disabled_reason: Option<&'static str>,
    last_delivery_at: Option<String>,
    last_delivery_status: Option<&'static str>,
    created_at: String,
    updated_at: String,
}

#[derive(Debug, Serialize)]
struct Config<'a> {
    url: &'a str,
    headers: BTreeMap<&'a str, &'a str>,
}

impl<'a> Shown<'a> {
    fn new(endpoint: &'a Endpoint, last: Option<&AttemptRow>, access: &Access) -> Self {
        let plain = endpoint.headers.iter().map(|(name, value)| (name.as_str(), value.as_str()));
        let secret = endpoint.secret_headers.iter().map(|(name, _)| (name.as_str(), MASK));
        let (disabled_at, disabled_reason) = match endpoint.status {
            EndpointStatus::Disabled { reason, at } => (Some(at.rfc3339(3)), Some(reason.as_str())),
            EndpointStatus::Active | EndpointStatus::Paused { .. } => (None, None),
        };
        Shown {
            id: endpoint.id,
            customer_id: access.namespace.is_none().then_some(&endpoint.namespace),
            name: &endpoint.name,
            kind: WEBHOOK,
            config: Config { url: &endpoint.url, headers: plain.chain(secret).collect() },
            has_auth_config: endpoint.auth != Auth::None,
            has_signing_secret: !endpoint.secrets.is_empty(),
            payload_cap_bytes: endpoint.payload_cap,
            is_active: endpoint.status == EndpointStatus::Active,
            disabled_at,
            disabled_reason,
            last_delivery_at: last.and_then(|row| row.end.as_ref()).map(|end| end.finished_at.rfc3339(3)),
            last_delivery_status: last.and_then(super::wire::ended_status),
            created_at: endpoint.created_at.rfc3339(3),
            updated_at: endpoint.updated_at.rfc3339(3),
        }
    }
}

impl Position for EndpointId {
    const KIND: &'static str = "d";

    fn write(&self) -> String {
        self.to_string()
    }

    fn parse(text: &str) -> Option<Self> {
        EndpointId::parse(text)
    }
}

/// Answers the destinations, newest first.
pub(super) async fn list(State(app): State<Arc<App>>, Caller(access): Caller, uri: Uri) -> Result<Response, Problem> {
    let query = Query::of(&uri)?;
    let of = namespace(&query, &access)?;
    let page: PageOf<EndpointId> = query.page()?;
    let routes = app.engine.routes();
    let is_listed = |e: &Endpoint| e.deleted.is_none() && of.as_ref().is_none_or(|of| *of == e.namespace);
    let mut all: Vec<&Arc<Endpoint>> = routes.endpoints().filter(|endpoint| is_listed(endpoint)).collect();
    all.sort_unstable_by_key(|endpoint| std::cmp::Reverse(endpoint.id));
    let total = all.len() as u64;
    let begin = page.after.map_or(0, |after| all.partition_point(|endpoint| endpoint.id >= after));
    let end = all.len().min(begin + page.limit as usize);
    let shown = &all[begin..end];
    let last = last_ended(&app, LastOf::Endpoints(shown.iter().map(|endpoint| endpoint.id).collect())).await?;
    let data = shown.iter().zip(&last).map(|(endpoint, last)| Shown::new(endpoint, last.as_ref(), &access)).collect();
    let next_cursor = (end < all.len()).then(|| all[end - 1].id.position());
    Ok(json(StatusCode::OK, &Listed { data, total, next_cursor }))
}

/// Answers one destination.
pub(super) async fn show(State(app): State<Arc<App>>, Caller(access): Caller, PathId(id): PathId) -> Result<Response, Problem> {
    let routes = app.engine.routes();
    let endpoint = find(&routes, &access, &id)?;
    answer(&app, endpoint, &access, StatusCode::OK).await
}

async fn answer(app: &App, endpoint: &Endpoint, access: &Access, status: StatusCode) -> Result<Response, Problem> {
    let last = last_ended(app, LastOf::Endpoints(vec![endpoint.id])).await?;
    Ok(json(status, &Shown::new(endpoint, last.iter().flatten().next(), access)))
}

/// Makes a destination. Bindings bring deliveries there.
pub(super) async fn create(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(namespace): Tenant,
    request: Request,
) -> Result<Response, Problem> {
    let fresh = Fresh::of(request.extensions());
    let id = EndpointId::new(fresh.id(&app));
    let wanted = read(&app, request, true, &Auth::None).await?;
    if let Some(made) = app.engine.routes().endpoint(id).filter(|_| fresh.is_again()) {
        return created(&app, made, &access).await;
    }
    let now = app.engine.now();
    let blank = Endpoint {
        id,
        namespace,
        name: String::new(),
        url: String::new(),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        secrets: Vec::new(),
        schemes: vec![Scheme::Postrider, Scheme::Standard],
        http: HttpOptions::items(),
        rate_limit: None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: None,
        status: EndpointStatus::Active,
        created_at: now,
        updated_at: now,
        deleted: None,
    };
    let endpoint = changed(&app, &blank, &wanted, now)?;
    let change = ConfigChange::Endpoint(endpoint.clone());
    app.engine.edit(|_| Ok::<_, Problem>((vec![change.clone()], ()))).await?;
    created(&app, &endpoint, &access).await
}

async fn created(app: &App, endpoint: &Endpoint, access: &Access) -> Result<Response, Problem> {
    let response = answer(app, endpoint, access, StatusCode::CREATED).await?;
    Ok(with_location(response, &format!("{PATH}/{}", endpoint.id)))
}

/// Changes what the request names. One that Postrider disabled is active again, unless the request says otherwise.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Caller(access): Caller,
    Tenant(_): Tenant,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, Problem> {
    let before = Arc::clone(find(&app.engine.routes(), &access, &id)?);
    let wanted = read(&app, request, false, &before.auth).await?;
    let now = app.engine.now();
    let endpoint = app
        .engine
        .edit(|routes| {
            let endpoint = changed(&app, find(routes, &access, &id)?, &wanted, now)?;
            Ok::<_, Problem>((vec![ConfigChange::Endpoint(endpoint.clone())], endpoint))
        })
        .await?;
    answer(&app, &endpoint, &access, StatusCode::OK).await
}

async fn read(app: &App, request: Request, is_new: bool, auth: &Auth) -> Result<Wanted, Problem> {
    let (parts, body) = request.into_parts();
    let body = app.read_json(&parts.headers, body).await?;
    let mut seal = |plain: &[u8]| app.engine.seal(plain, &mut random::fill);
    Wanted::parse(&body, is_new, &mut Means { guard: &app.guard, seal: &mut seal, auth })
}

/// The endpoint as the request wants it.
fn changed(app: &App, before: &Endpoint, wanted: &Wanted, now: Timestamp) -> Result<Endpoint, Problem> {
    let mut endpoint = before.clone();
    if let Some(headers) = &wanted.headers {
        (endpoint.headers, endpoint.secret_headers) = with_kept(headers, before)?;
    }
    if let Some(name) = &wanted.name {
        endpoint.name.clone_from(name);
    }
    if let Some(url) = &wanted.url {
        endpoint.url.clone_from(url);
    }
    if let Some(auth) = &wanted.auth {
        endpoint.auth.clone_from(auth);
    }
    match &wanted.secret {
        Field::Value(secret) => endpoint.secrets = vec![app.engine.seal(secret.reveal(), &mut random::fill)],
        Field::Null => endpoint.secrets.clear(),
        Field::Absent => {}
    }
    match wanted.payload_cap {
        Field::Value(cap) => endpoint.payload_cap = Some(cap),
        Field::Null => endpoint.payload_cap = None,
        Field::Absent => {}
    }
    check_headers(&endpoint)?;
    endpoint.status = match (wanted.is_active, endpoint.status) {
        (Some(false), EndpointStatus::Active) => EndpointStatus::Paused { at: now },
        (None, EndpointStatus::Disabled { .. }) | (Some(true), _) => EndpointStatus::Active,
        (_, status) => status,
    };
    endpoint.updated_at = now;
    Ok(endpoint)
}

/// Credentials take up a header of their own, whichever of the two came first.
fn check_headers(endpoint: &Endpoint) -> Result<(), Problem> {
    let Some(taken) = endpoint.auth.header_name() else { return Ok(()) };
    let plain = endpoint.headers.iter().map(|(name, _)| name);
    let mut names = plain.chain(endpoint.secret_headers.iter().map(|(name, _)| name));
    let Some(name) = names.find(|name| name.eq_ignore_ascii_case(taken)) else { return Ok(()) };
    let message = String::from("is the header of the credentials in auth_config: leave one of the two out");
    Err(Problem::validation(vec![crate::http::Detail { path: format!("config.headers.{name}"), message }]))
}

type Headers = (Vec<(String, String)>, Vec<(String, postrider_core::seal::Sealed)>);

/// Sorts headers by whether anybody may see them; those that came as the mask keep their value.
fn with_kept(headers: &[Header], before: &Endpoint) -> Result<Headers, Problem> {
    let (mut plain, mut secret) = (Vec::new(), Vec::new());
    for header in headers {
        match header {
            Header::Plain(name, value) => plain.push((name.clone(), value.clone())),
            Header::Secret(name, value) => secret.push((name.clone(), value.clone())),
            Header::Kept(name) => {
                let kept = before.secret_headers.iter().find(|(old, _)| old.eq_ignore_ascii_case(name));
                let (_, value) = kept.ok_or_else(|| {
                    let message = String::from("is the mask that is shown for secrets, and there is no value to keep");
                    Problem::validation(vec![crate::http::Detail { path: format!("config.headers.{name}"), message }])
                })?;
                secret.push((name.clone(), value.clone()));
            }
        }
    }
    Ok((plain, secret))
}

#[derive(Serialize)]
pub(super) struct Deleted<T> {
    pub deleted: bool,
    pub id: T,
}

/// Deletes a destination with its bindings. Its items and dead letters are gone with it, and what waits for it is never sent.
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
            let endpoint = find(routes, &access, &id)?;
            let bindings = routes.subscriptions().filter(|s| s.endpoint == endpoint.id && s.deleted_at.is_none());
            let bindings = bindings.map(|s| Subscription { deleted_at: Some(now), updated_at: now, ..Subscription::clone(s) });
            let gone = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), updated_at: now, ..Endpoint::clone(endpoint) };
            let mut changes: Vec<_> = bindings.map(ConfigChange::Subscription).collect();
            changes.push(ConfigChange::Endpoint(gone));
            Ok::<_, Problem>((changes, endpoint.id))
        })
        .await?;
    Ok(json(StatusCode::OK, &Deleted { deleted: true, id }))
}

/// The destination with this id, if it exists for the caller.
pub(super) fn find<'r>(routes: &'r Routes, access: &Access, id: &str) -> Result<&'r Arc<Endpoint>, Problem> {
    let found = EndpointId::parse(id).and_then(|id| routes.endpoint(id));
    found
        .filter(|endpoint| access.sees(&endpoint.namespace) && endpoint.deleted.is_none())
        .ok_or_else(|| Problem::not_found("there is no destination with this id"))
}
