//! Subscriptions: an endpoint and a subscription that share one UUID.

use super::subscription_request::Request as Wanted;
use super::wire::time;
use crate::config::value::Secret;
use crate::http::json::Field;
use crate::http::{self, App, PathId, Problem, Reads, Writes};
use crate::random;
use ::http::{StatusCode, Uri};
use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use postrider_core::auth::Auth;
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::Namespace;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::ConfigChange;
use postrider_core::seal::Sealed;
use postrider_core::sign::Scheme;
use postrider_core::subscription::{BodyForm, Origin, RequestForm, Subscription};
use postrider_engine::Routes;
use serde::Serialize;
use std::sync::Arc;

/// How a secret is shown: that there is one, and nothing else.
pub(crate) const MASK: &str = "********";

#[derive(Debug, Serialize)]
struct Shape<'a> {
    id: SubscriptionId,
    target_url: &'a str,
    /// Left out of lists.
    #[serde(skip_serializing_if = "Option::is_none")]
    secret: Option<Option<&'static str>>,
    event_types: Option<String>,
    created_at: String,
    updated_at: String,
    /// Since when its deliveries wait because the receiver said that it is gone; null while it is active.
    disabled_at: Option<String>,
    disabled_reason: Option<&'static str>,
}

impl<'a> Shape<'a> {
    fn listed(subscription: &Subscription, endpoint: &'a Endpoint) -> Self {
        let disabled = match endpoint.status {
            EndpointStatus::Disabled { reason, at } => Some((reason, at)),
            EndpointStatus::Active | EndpointStatus::Paused { .. } => None,
        };
        Shape {
            id: subscription.id,
            target_url: &endpoint.url,
            secret: None,
            event_types: event_types(&subscription.patterns),
            created_at: time(subscription.created_at),
            updated_at: time(subscription.updated_at.max(endpoint.updated_at)),
            disabled_at: disabled.map(|(_, at)| time(at)),
            disabled_reason: disabled.map(|(reason, _)| reason.as_str()),
        }
    }

    fn full(subscription: &Subscription, endpoint: &'a Endpoint) -> Self {
        let secret = (!endpoint.secrets.is_empty()).then_some(MASK);
        Shape { secret: Some(secret), ..Shape::listed(subscription, endpoint) }
    }
}

fn event_types(patterns: &[TypePattern]) -> Option<String> {
    (!patterns.is_empty()).then(|| patterns.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
}

/// `GET /subscriptions`: all of them in the order of creation, without secrets.
pub(super) async fn list(State(app): State<Arc<App>>, Reads(access): Reads, uri: Uri) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let routes = app.engine.routes();
    let visible = routes.subscriptions().filter(|s| access.sees(&s.namespace));
    let shapes: Vec<_> = visible.filter_map(|s| routes.endpoint(s.endpoint).map(|e| Shape::listed(s, e))).collect();
    Ok(http::json(StatusCode::OK, &shapes))
}

/// `GET /subscriptions/{id}`: one of them, its secret masked.
pub(super) async fn show(State(app): State<Arc<App>>, Reads(access): Reads, PathId(id): PathId, uri: Uri) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let subscription = super::visible(&app, &access, &id)?;
    let routes = app.engine.routes();
    let endpoint = routes.endpoint(subscription.endpoint).ok_or_else(super::no_subscription)?;
    Ok(http::json(StatusCode::OK, &Shape::full(&subscription, endpoint)))
}

/// `POST /subscriptions`. A master key makes it in the namespace `default`.
pub(super) async fn create(State(app): State<Arc<App>>, Writes(access): Writes, request: Request) -> Result<Response, Problem> {
    let (parts, body) = request.into_parts();
    http::query(&parts.uri, &[])?;
    let body = app.read_json(&parts.headers, body).await?;
    let wanted = Wanted::parse(&body, &app.guard)?;
    let Field::Value(url) = wanted.target_url else {
        return Err(Problem::bad_request("the field \"target_url\" is missing: a subscription needs a URL"));
    };
    let namespace = access.namespace.unwrap_or_else(Namespace::default_namespace);
    let (id, now) = (app.engine.new_id(), app.engine.now());
    let endpoint = Endpoint {
        id: EndpointId::new(id),
        namespace: namespace.clone(),
        url,
        headers: Vec::new(),
        secrets: secrets(&app, wanted.secret),
        schemes: vec![Scheme::Hub, Scheme::Standard],
        http: HttpOptions::tasks(),
        rate_limit: None,
        name: String::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: None,
        status: EndpointStatus::Active,
        created_at: now,
        updated_at: now,
        deleted: None,
    };
    let subscription = Subscription {
        id: SubscriptionId::new(id),
        namespace,
        endpoint: endpoint.id,
        origin: Origin::Tasks,
        patterns: wanted.patterns.value().unwrap_or_default(),
        labels: LabelFilter::default(),
        body: BodyForm::Raw,
        name: String::new(),
        active: true,
        matches: None,
        request: RequestForm::default(),
        timeout: None,
        rate_limit: None,
        retry: app.tasks_policy.clone(),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let id = subscription.id;
    put(&app, |_| Ok((endpoint.clone(), subscription.clone()))).await?;
    #[derive(Serialize)]
    struct Created {
        id: SubscriptionId,
    }
    Ok(http::with_location(http::json(StatusCode::CREATED, &Created { id }), &format!("/subscriptions/{id}")))
}

/// `PUT /subscriptions/{id}`: what is left out stays, null clears. A disabled endpoint is enabled again.
pub(super) async fn update(
    State(app): State<Arc<App>>,
    Writes(access): Writes,
    PathId(id): PathId,
    request: Request,
) -> Result<Response, Problem> {
    let subscription = super::visible(&app, &access, &id)?;
    let (parts, body) = request.into_parts();
    http::query(&parts.uri, &[])?;
    let body = app.read_json(&parts.headers, body).await?;
    let wanted = Wanted::parse(&body, &app.guard)?;
    let now = app.engine.now();
    let secrets = match wanted.secret {
        Field::Absent => None,
        other => Some(secrets(&app, other)),
    };
    put(&app, |routes| {
        let (mut endpoint, mut subscription) = current(routes, subscription.id)?;
        if let Field::Value(url) = &wanted.target_url {
            endpoint.url.clone_from(url);
        }
        if let Some(secrets) = &secrets {
            endpoint.secrets.clone_from(secrets);
        }
        match &wanted.patterns {
            Field::Value(patterns) => subscription.patterns.clone_from(patterns),
            Field::Null => subscription.patterns.clear(),
            Field::Absent => {}
        }
        if matches!(endpoint.status, EndpointStatus::Disabled { .. }) {
            endpoint.status = EndpointStatus::Active;
        }
        endpoint.updated_at = now;
        subscription.updated_at = now;
        Ok((endpoint, subscription))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// `DELETE /subscriptions/{id}`. Tasks that wait end as `failed`; tasks and logs stay readable under `/deliveries/{id}` until their retention.
pub(super) async fn delete(State(app): State<Arc<App>>, Writes(access): Writes, PathId(id): PathId, uri: Uri) -> Result<Response, Problem> {
    http::query(&uri, &[])?;
    let subscription = super::visible(&app, &access, &id)?;
    let now = app.engine.now();
    put(&app, |routes| {
        let (mut endpoint, mut subscription) = current(routes, subscription.id)?;
        endpoint.deleted = Some(Deletion::Kept(now));
        endpoint.updated_at = now;
        subscription.deleted_at = Some(now);
        subscription.updated_at = now;
        Ok((endpoint, subscription))
    })
    .await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

fn secrets(app: &App, secret: Field<Secret>) -> Vec<Sealed> {
    secret.value().map(|secret| app.engine.seal(secret.reveal(), &mut random::fill)).into_iter().collect()
}

/// Both halves as they are now, for changing them.
fn current(routes: &Routes, id: SubscriptionId) -> Result<(Endpoint, Subscription), Problem> {
    let subscription = routes.subscription(id).ok_or_else(super::no_subscription)?;
    let endpoint = routes.endpoint(subscription.endpoint).ok_or_else(super::no_subscription)?;
    Ok((endpoint.as_ref().clone(), subscription.as_ref().clone()))
}

/// Stores both halves in one piece.
async fn put(app: &App, mut change: impl FnMut(&Routes) -> Result<(Endpoint, Subscription), Problem>) -> Result<(), Problem> {
    app.engine
        .edit(|routes| {
            let (endpoint, subscription) = change(routes)?;
            Ok::<_, Problem>((vec![ConfigChange::Endpoint(endpoint), ConfigChange::Subscription(subscription)], ()))
        })
        .await
}
