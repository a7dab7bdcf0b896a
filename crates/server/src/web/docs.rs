//! `GET /docs`: Swagger UI over `/openapi.json`, where the build had it at hand, and a plain list of the operations where not.

use crate::http::{Problem, with_location};
use crate::openapi;
use axum::extract::Path;
use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE, ETAG, REFERRER_POLICY, VARY,
    X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, StatusCode};
use std::fmt::Write as _;
use std::io::Read as _;
use std::sync::LazyLock;

/// What `web/docs/dist` held when this was built: names without `.gz`, and contents, compressed.
const EMBEDDED: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/docs.rs"));

const FULL: &str = include_str!("docs/full.html");
const FALLBACK: &str = include_str!("docs/fallback.html");
const START: (&str, &str) = ("start.js", include_str!("docs/start.js"));

/// What the full page cannot do without.
const NEEDED: [&str; 2] = ["swagger-ui.css", "swagger-ui-bundle.js"];

/// The page talks to its own server only. Swagger UI sets styles of elements, and its style sheet holds pictures.
const POLICY: &str = "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; object-src 'none'; base-uri 'none'; \
                      form-action 'none'; frame-ancestors 'none'";

static PAGE: LazyLock<String> = LazyLock::new(|| {
    let is_full = NEEDED.iter().all(|name| EMBEDDED.iter().any(|(there, _)| there == name));
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
        return file(&name, super::tag(START.1), &headers, |_| (START.1.as_bytes().to_vec(), false));
    }
    match EMBEDDED.iter().position(|(there, _)| *there == name) {
        Some(at) => file(&name, TAGS[at].clone(), &headers, |takes_gzip| contents(EMBEDDED[at].1, takes_gzip)),
        None => Problem::not_found("there is nothing at this path").into_response(),
    }
}

static TAGS: LazyLock<Vec<String>> = LazyLock::new(|| EMBEDDED.iter().map(|(_, packed)| super::tag(packed)).collect());

/// The bytes to send, and whether they are compressed.
fn contents(packed: &[u8], takes_gzip: bool) -> (Vec<u8>, bool) {
    if takes_gzip {
        return (packed.to_vec(), true);
    }
    let mut plain = Vec::new();
    match GzDecoder::new(packed).read_to_end(&mut plain) {
        Ok(_) => (plain, false),
        // The build made it, so that it is whole; the browser says so too if it is not.
        Err(_) => (packed.to_vec(), true),
    }
}

fn file(name: &str, tag: String, headers: &HeaderMap, contents: impl FnOnce(bool) -> (Vec<u8>, bool)) -> Response {
    let cached = [(ETAG, tag.as_str()), (CACHE_CONTROL, "no-cache"), (VARY, "accept-encoding"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    if super::is_known(headers, &tag) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    let media = match name.rsplit('.').next() {
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        _ => "text/plain; charset=utf-8",
    };
    let (bytes, is_packed) = contents(takes_gzip(headers));
    let mut response = (cached, [(CONTENT_TYPE, media)], bytes).into_response();
    if is_packed {
        response.headers_mut().insert(CONTENT_ENCODING, http::HeaderValue::from_static("gzip"));
    }
    response
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0f32));
        matches!(name.trim(), "gzip" | "*") && !is_refused
    })
}

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

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let takes = |value: &'static str| takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, http::HeaderValue::from_static(value))]));
        assert!(takes("gzip") && takes("br, gzip;q=0.5") && takes("*"));
        assert!(!takes("br") && !takes("gzip;q=0") && !takes("gzip; q=0.0") && !takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_is_packed_is_unpacked_for_those_who_do_not() {
        use std::io::Write as _;
        let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        packed.write_all(b"text").expect("memory");
        let packed = packed.finish().expect("memory");
        assert_eq!(contents(&packed, false), (b"text".to_vec(), false));
        assert_eq!(contents(&packed, true), (packed.clone(), true));
    }
}
