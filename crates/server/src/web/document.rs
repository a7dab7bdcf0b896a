//! `GET /openapi.json`.

use crate::{auth, openapi};
use axum::body::Bytes;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, ETAG, IF_NONE_MATCH};
use http::{HeaderMap, StatusCode};
use std::sync::LazyLock;

/// Half of a SHA-256 is enough to tell two documents apart.
static TAG: LazyLock<String> = LazyLock::new(|| format!("\"{}\"", &auth::hash(openapi::text())[..32]));

/// Answers the document, or 304 to whoever has it.
pub(super) async fn show(headers: HeaderMap) -> Response {
    let cached = [(ETAG, TAG.as_str()), (CACHE_CONTROL, "no-cache")];
    if is_known(&headers, &TAG) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    (cached, [(CONTENT_TYPE, "application/json")], Bytes::from_static(openapi::text().as_bytes())).into_response()
}

/// Whether `If-None-Match` names this tag; one that a cache made weak names the same.
fn is_known(headers: &HeaderMap, tag: &str) -> bool {
    let named = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    named.flat_map(|value| value.split(',')).map(str::trim).any(|known| known == "*" || known.strip_prefix("W/").unwrap_or(known) == tag)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_found_however_they_are_listed() {
        let known =
            |value: &'static str| is_known(&HeaderMap::from_iter([(IF_NONE_MATCH, http::HeaderValue::from_static(value))]), "\"a\"");
        assert!(known("\"a\"") && known("*") && known("\"b\", W/\"a\""));
        assert!(!known("\"b\"") && !known("a") && !is_known(&HeaderMap::new(), "\"a\""));
    }
}
