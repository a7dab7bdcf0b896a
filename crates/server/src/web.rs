//! What people open in a browser, and the OpenAPI document. Nothing here asks the network for anything.

mod document;

use crate::http::Table;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};

const HOME: &str = include_str!("web/home.html");

/// Nothing but the page itself and its own style; nobody may frame it.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// The routes that belong to no API.
pub fn routes() -> Table {
    Table::default().page("/", home).get("/openapi.json", document::show)
}

/// `GET /`.
async fn home() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, HOME).into_response()
}
