//! `GET /` and `GET /assets/…`: the dashboard, where the build had it at hand, and a plain page where not.

use super::packed::{CHANGING, Embedded, Files, LASTING};
use crate::http::Problem;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::HeaderMap;
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use std::sync::LazyLock;

/// What `web/dist` held when this was built.
const EMBEDDED: Embedded = include!(concat!(env!("OUT_DIR"), "/dashboard.rs"));

/// The page that loads the rest.
const START: &str = "index.html";

/// The dashboard loads from its own server and talks to that alone. Its styles are files: none stands in markup.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; font-src 'self'; \
                      base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PLAIN: &str = include_str!("home.html");

/// Nothing but the plain page itself and its own style; nobody may frame it.
const PLAIN_POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

static FILES: LazyLock<Files> = LazyLock::new(|| Files::new(EMBEDDED));

/// `GET /`.
pub(super) async fn page(headers: HeaderMap) -> Response {
    let Some(mut response) = FILES.answer(START, &headers, CHANGING) else { return plain() };
    response.headers_mut().insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    response
}

/// `GET /assets/{name}`. The build puts a hash of the content into each name.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = FILES.answer(&format!("assets/{name}"), &headers, LASTING);
    found.unwrap_or_else(|| Problem::not_found("there is nothing at this path").into_response())
}

fn plain() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, PLAIN_POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, CHANGING),
    ];
    (headers, PLAIN).into_response()
}
