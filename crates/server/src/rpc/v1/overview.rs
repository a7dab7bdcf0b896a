//! `postrider.v1.OverviewService`: who asks, and how the whole of it does. All of it is read from what is configured and from kept numbers.
//!
//! | file | holds |
//! |---|---|
//! | `now.rs` | how it does right now, and what of that is kept for a moment |
//! | `failing.rs` | the endpoints that do worst |
//! | `series.rs` | how it did over time |

mod failing;
mod now;
mod series;

use super::page;
use crate::auth::Access;
use crate::http::{App, Problem};
use crate::rpc::access::{Scope, access, timestamp};
use connectrpc::RequestContext;
use http::HeaderMap;
use now::Kept;
use postrider_core::event::Namespace;
use postrider_core::key;
use postrider_proto::service::{Answer, OverviewService};
use postrider_proto::v1;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Answers the service.
pub(in crate::rpc) struct Overviews {
    app: Arc<App>,
    kept: Kept,
}

impl Overviews {
    pub(in crate::rpc) fn new(app: Arc<App>) -> Self {
        Overviews { app, kept: Kept::default() }
    }
}

impl OverviewService for Overviews {
    async fn get_session(&self, context: RequestContext, _: v1::GetSessionRequest) -> Answer<v1::GetSessionResponse> {
        Ok(session(&self.app, access(&context)?))
    }

    async fn list_namespaces(&self, context: RequestContext, request: v1::ListNamespacesRequest) -> Answer<v1::ListNamespacesResponse> {
        namespaces(&self.app, access(&context)?, &request)
    }

    async fn get_overview(&self, context: RequestContext, request: v1::GetOverviewRequest) -> Answer<v1::GetOverviewResponse> {
        let of = seen(access(&context)?, &request.namespace)?;
        Ok(self.kept.overview(&self.app, of).await?)
    }

    async fn get_series(&self, context: RequestContext, request: v1::GetSeriesRequest) -> Answer<v1::GetSeriesResponse> {
        let of = seen(access(&context)?, &request.namespace)?;
        Ok(series::of(&self.app, of, request.range_seconds).await?)
    }
}

/// The namespace whose numbers are asked for; `None` is everything.
fn seen(access: &Access, namespace: &str) -> Result<Option<Namespace>, Problem> {
    Scope::of(access, namespace)?.narrowed().ok_or_else(|| Problem::not_found("the API key sees no namespace of this name"))
}

fn session(app: &App, access: &Access) -> v1::GetSessionResponse {
    let (routes, now) = (app.engine.routes(), app.engine.now());
    let key = access.key.and_then(|id| routes.key(id));
    let scopes = [key::Scope::Read, key::Scope::Write, key::Scope::Admin].into_iter().filter(|scope| access.scopes.include(*scope));
    v1::GetSessionResponse {
        namespace: access.namespace.as_ref().map(ToString::to_string).unwrap_or_default(),
        scopes: scopes.map(|scope| scope.as_str().to_owned()).collect(),
        key_name: key.map(|key| key.name.clone()).unwrap_or_default(),
        key_expires_at: key.and_then(|key| key.expires_at).map(timestamp).into(),
        server_version: env!("CARGO_PKG_VERSION").to_owned(),
        // Only then somebody without a key gets in.
        development: app.auth.without_key(&HeaderMap::new()).is_ok(),
        store: app.database.to_owned(),
        // Whoever has a key of one namespace sees no nodes.
        node: if access.namespace.is_none() || access.key.is_none() { app.node.clone() } else { String::new() },
        now: timestamp(now).into(),
    }
}

fn namespaces(app: &App, access: &Access, request: &v1::ListNamespacesRequest) -> Answer<v1::ListNamespacesResponse> {
    let (size, after) = (page::size(request.page_size), page::after::<Namespace>(&request.page_token)?);
    let routes = app.engine.routes();
    let all = all_namespaces(app, &routes);
    let is_wanted = |name: &&Namespace| access.sees(name) && name.as_str().starts_with(&request.prefix);
    let is_behind = |name: &&Namespace| after.as_ref().is_none_or(|after| *name > after);
    let mut rest = all.into_iter().filter(is_wanted).filter(is_behind);
    let shown: Vec<&Namespace> = rest.by_ref().take(size as usize).collect();
    let last = shown.last().copied().cloned().filter(|_| rest.next().is_some());
    Ok(v1::ListNamespacesResponse { namespaces: shown.iter().map(ToString::to_string).collect(), next_page_token: page::next(last) })
}

/// The namespaces in which something is configured, by name.
pub(super) fn all_namespaces<'r>(app: &App, routes: &'r postrider_engine::Routes) -> BTreeSet<&'r Namespace> {
    let now = app.engine.now();
    let endpoints = routes.endpoints().map(|endpoint| &endpoint.namespace);
    let subscriptions = routes.subscriptions().map(|subscription| &subscription.namespace);
    let keys = routes.keys().filter(|key| key.is_valid(now)).filter_map(|key| key.namespace.as_ref());
    endpoints.chain(subscriptions).chain(keys).chain(routes.registries()).collect()
}
