//! What people open in a browser, and the OpenAPI document. Nothing here asks the network for anything.

mod app;
mod docs;
mod document;
mod packed;

use crate::auth;
use crate::http::Table;
use http::HeaderMap;
use http::header::IF_NONE_MATCH;

/// The routes that belong to no API.
pub fn routes() -> Table {
    Table::default()
        .page("/", app::page)
        .page("/assets/{name}", app::asset)
        .get("/openapi.json", document::show)
        .page("/docs", docs::page)
        .page("/docs/", docs::without_slash)
        .page("/docs/{name}", docs::asset)
}

/// An `ETag`: half of a SHA-256 is enough to tell two contents apart.
fn tag(content: impl AsRef<[u8]>) -> String {
    format!("\"{}\"", &auth::hash(content)[..32])
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
