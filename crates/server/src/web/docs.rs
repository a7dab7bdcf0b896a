//! `GET /docs`: Swagger UI over `/openapi.json`, where the build had it at hand, and a plain list of the operations where not.

use super::packed::{self, CHANGING, Embedded, Files};
use crate::http::{Problem, with_location};
use crate::openapi;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, StatusCode};
use std::fmt::Write as _;
use std::sync::LazyLock;

/// What `web/docs/dist` held when this was built.
const EMBEDDED: Embedded = include!(concat!(env!("OUT_DIR"), "/docs.rs"));

const FULL: &str = include_str!("docs/full.html");
const FALLBACK: &str = include_str!("docs/fallback.html");
const START: (&str, &str) = ("start.js", include_str!("docs/start.js"));

/// What the full page cannot do without.
const NEEDED: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// The page talks to its own server only. Swagger UI sets styles of elements, and its style sheet holds pictures.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let is_full = NEEDED.iter().all(|name| FILES.has(name));
    if is_full { FULL.to_owned() } else { fallback(&openapi::operations()) }
});

/// `GET /docs`.
pub(super) async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (CACHE_CONTROL, "no-cache"),
    ];
    (headers, PAGE.as_str()).into_response()
}

/// `GET /docs/`, which some people type: the page's own references start from `/docs`.
pub(super) async fn without_slash() -> Response {
    with_location(StatusCode::PERMANENT_REDIRECT.into_response(), "/docs")
}

/// `GET /docs/{name}`: a file of the page.
pub(super) async fn asset(Path(name): Path<String>, headers: HeaderMap) -> Response {
    if name == START.0 {
        return packed::respond(&name, &super::tag(START.1), &headers, CHANGING, |_| (START.1.as_bytes().to_vec(), false));
    }
    let found = FILES.answer(&name, &headers, CHANGING);
    found.unwrap_or_else(|| Problem::not_found("there is nothing at this path").into_response())
}

static FILES: LazyLock<Files> = LazyLock::new(|| Files::new(EMBEDDED));

/// Every operation under the name of its group.
fn fallback(operations: &[openapi::operation::Operation]) -> String {
    let mut list = String::new();
    let mut group = "";
    for operation in operations {
        // Writing to a String does not fail.
        if operation.group() != group {
            group = operation.group();
            let _ = write!(list, "{}<h2>{}</h2>\n<table>\n", if list.is_empty() { "" } else { "</table>\n" }, escaped(group));
        }
        let (method, path, summary) = (&operation.method, escaped(operation.path), escaped(operation.summary()));
        let _ = writeln!(list, "<tr><td><code>{method}</code></td><td><code>{path}</code></td><td>{summary}</td></tr>");
    }
    list.push_str("</table>");
    FALLBACK.replace("<!-- operations -->", &list)
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_fallback_lists_every_operation_once() {
        let operations = openapi::operations();
        let page = fallback(&operations);
        for operation in &operations {
            let row =
                format!("<code>{}</code></td><td><code>{}</code></td><td>{}</td>", operation.method, operation.path, operation.summary());
            assert_eq!(page.matches(&row).count(), 1, "{row}");
        }
        assert_eq!(
            (page.matches("<table>").count(), page.matches("</table>").count()),
            (page.matches("<h2>").count(), page.matches("<h2>").count())
        );
        assert!(page.contains("Analytics &amp; Delivery Logs") && page.contains("scripts/setup docs") && !page.contains("<!--"));
    }
}
