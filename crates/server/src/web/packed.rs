//! Files that the build has packed, as browsers ask for them.

use axum::response::{IntoResponse, Response};
use flate2::read::GzDecoder;
use http::header::{ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_TYPE, ETAG, VARY, X_CONTENT_TYPE_OPTIONS};
use http::{HeaderMap, HeaderValue, StatusCode};
use std::io::Read as _;

/// Names without `.gz`, and contents, compressed.
pub(super) type Embedded = &'static [(&'static str, &'static [u8])];

/// For what keeps its name when it changes: asked for again each time.
pub(super) const CHANGING: &str = "no-cache";

/// For what gets another name when it changes: never asked for again.
pub(super) const LASTING: &str = "public, max-age=31536000, immutable";

/// Files with their tags.
pub(super) struct Files {
    embedded: Embedded,
    tags: Vec<String>,
}

impl Files {
    /// These files.
    pub(super) fn new(embedded: Embedded) -> Self {
        Files { embedded, tags: embedded.iter().map(|(_, packed)| super::tag(packed)).collect() }
    }

    /// Whether there is one of this name.
    pub(super) fn has(&self, name: &str) -> bool {
        self.embedded.iter().any(|(there, _)| *there == name)
    }

    /// Answers one of them, or 304 to whoever has it; `None` if there is none of this name.
    pub(super) fn answer(&self, name: &str, headers: &HeaderMap, caching: &'static str) -> Option<Response> {
        let at = self.embedded.iter().position(|(there, _)| *there == name)?;
        let (packed, tag) = (self.embedded[at].1, &self.tags[at]);
        Some(respond(name, tag, headers, caching, |takes_gzip| contents(packed, takes_gzip)))
    }
}

/// Answers a file, or 304 to whoever has it. `contents` gets whether it may be compressed, and tells whether it is.
pub(super) fn respond(
    name: &str,
    tag: &str,
    headers: &HeaderMap,
    caching: &'static str,
    contents: impl FnOnce(bool) -> (Vec<u8>, bool),
) -> Response {
    let cached = [(ETAG, tag), (CACHE_CONTROL, caching), (VARY, "accept-encoding"), (X_CONTENT_TYPE_OPTIONS, "nosniff")];
    if super::is_known(headers, tag) {
        return (StatusCode::NOT_MODIFIED, cached).into_response();
    }
    let (bytes, is_packed) = contents(takes_gzip(headers));
    let mut response = (cached, [(CONTENT_TYPE, media_type(name))], bytes).into_response();
    if is_packed {
        response.headers_mut().insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    response
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next() {
        Some("html") => "text/html; charset=utf-8",
        Some("css") => "text/css; charset=utf-8",
        Some("js") => "text/javascript; charset=utf-8",
        Some("svg") => "image/svg+xml",
        Some("png") => "image/png",
        Some("woff2") => "font/woff2",
        _ => "text/plain; charset=utf-8",
    }
}

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

fn takes_gzip(headers: &HeaderMap) -> bool {
    let given = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    given.flat_map(|value| value.split(',')).any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        let is_refused = weight.trim().strip_prefix("q=").is_some_and(|q| q.parse() == Ok(0.0f32));
        matches!(name.trim(), "gzip" | "*") && !is_refused
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gzip_goes_to_those_who_take_it() {
        let takes = |value: &'static str| takes_gzip(&HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static(value))]));
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

    #[test]
    fn only_what_is_there_is_answered() {
        let files = Files::new(&[("assets/a.js", b"packed")]);
        let takes_gzip = HeaderMap::from_iter([(ACCEPT_ENCODING, HeaderValue::from_static("gzip"))]);
        let answer = files.answer("assets/a.js", &takes_gzip, LASTING).expect("a file");
        assert_eq!(answer.status(), StatusCode::OK);
        let said = |name| answer.headers().get(name).and_then(|value| value.to_str().ok());
        assert_eq!([said(CONTENT_TYPE), said(CONTENT_ENCODING)], [Some("text/javascript; charset=utf-8"), Some("gzip")]);
        assert_eq!(said(CACHE_CONTROL), Some(LASTING));
        assert!(files.has("assets/a.js") && !files.has("a.js") && files.answer("a.js", &takes_gzip, LASTING).is_none());
    }
}
