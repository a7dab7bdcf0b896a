//! What every request to `/v1` passes first: who asks, whether not too often, and whether the key may.

use super::envelope::dress;
use super::once;
use crate::auth::{Access, Denied};
use crate::http::{App, Problem};
use crate::key_limits::{Standing, Use};
use axum::body::Body;
use axum::extract::{FromRequestParts, State};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use http::request::Parts;
use http::{Method, Request};
use postrider_core::event::Namespace;
use postrider_core::key::Scope;
use std::sync::Arc;

/// Lets a request through to its handler, and gives the answer what all answers carry.
pub(super) async fn gate(State(app): State<Arc<App>>, mut request: Request<Body>, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let caller = app.caller(request.headers()).await;
    let (standing, admitted) = admit(&app, &request, caller);
    let mut response = match admitted {
        Ok(access) => {
            request.extensions_mut().insert(Caller(access.clone()));
            once::run(Arc::clone(&app), &access, request, next).await
        }
        Err(problem) => dress(&app, &path, problem.into_response()),
    };
    if let Some(standing) = standing {
        standing.show(response.headers_mut());
    }
    response
}

/// A key is wanted always, in development mode too.
fn admit(app: &App, request: &Request<Body>, caller: Result<Option<Access>, Denied>) -> (Option<Standing>, Result<Access, Problem>) {
    let now = app.engine.now();
    let access = match caller {
        Ok(Some(access)) => access,
        Ok(None) => return (None, Err(Denied::Missing.into())),
        Err(denied) => return (None, Err(denied.into())),
    };
    let (scope, what) = needs(request.method(), request.uri().path());
    let standing = access.key.and_then(|key| app.key_limits.take(key, what, now));
    let refused = standing.and_then(|s| s.refusal());
    (standing, refused.map_or_else(|| access.allow(scope).map(|()| access).map_err(Problem::from), Err))
}

/// The scope and the bucket of a request.
fn needs(method: &Method, path: &str) -> (Scope, Use) {
    let reads = matches!(*method, Method::GET | Method::HEAD);
    let what = if reads { Use::Read } else { Use::Write };
    if path == super::keys::PATH || path.starts_with(super::keys::PREFIX) || path == super::nodes::PATH {
        return (Scope::Admin, what);
    }
    if !reads && path.starts_with(super::events::PATH) {
        return (Scope::Write, Use::Publish);
    }
    // It shows what would be sent, and changes nothing.
    if reads || path.ends_with("/preview") {
        return (Scope::Read, Use::Read);
    }
    (Scope::Write, what)
}

/// Who asks; the gate has let it through.
#[derive(Clone, Debug)]
pub(super) struct Caller(pub(super) Access);

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, Problem> {
        // A route outside of the gate would be open to everybody: it is closed to everybody instead.
        parts.extensions.get::<Caller>().cloned().ok_or_else(|| Denied::Missing.into())
    }
}

/// Who asks to change something in its namespace. A master key has none: it only looks.
#[derive(Clone, Debug)]
pub(super) struct Tenant(pub(super) Namespace);

impl FromRequestParts<Arc<App>> for Tenant {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, app: &Arc<App>) -> Result<Self, Problem> {
        let Caller(access) = Caller::from_request_parts(parts, app).await?;
        Tenant::of(&access)
    }
}

impl Tenant {
    /// The tenant of whoever asks.
    pub(super) fn of(access: &Access) -> Result<Self, Problem> {
        access.namespace.clone().map(Tenant).ok_or_else(|| {
            Problem::bad_request(
                "this is not available in master view (organization-wide API key): use a key of the namespace that it is about",
            )
        })
    }
}
