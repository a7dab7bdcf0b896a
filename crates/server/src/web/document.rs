//! `GET /openapi.json`.

use crate::openapi;
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG};
use http::{HeaderMap, StatusCode};
use std::sync::LazyLock;

static TAG: LazyLock<String> = LazyLock::new(|| super::tag(openapi::text()));

/// Answers the document, or 304 to whoever has it.
pub(super) async fn show(headers: HeaderMap) -> Response {
    let cached = [(ETAG, TAG.as_str()), (CACHE_CONTROL, "no-cache")];
    if super::is_known(&headers, &TAG) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(CONTENT_TYPE, "application/json")], Bytes::from_static(openapi::text().as_bytes())).into_response()
}
