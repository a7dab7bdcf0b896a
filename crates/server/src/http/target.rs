//! URLs of receivers, as people write them.

use postrider_core::guard::{Guard, TargetUrl, UrlError};

/// Checks a URL; answers it in the client's own spelling where that leads to the same place.
pub fn check(url: &str, guard: &Guard) -> Result<String, UrlError> {
    let checked = guard.check_url(url)?;
    Ok(if reads_alike(url, &checked) { url.to_owned() } else { checked.normalised })
}

/// Whether the client's own spelling leads to the same place; then it is kept, so that people find again what they wrote.
fn reads_alike(url: &str, checked: &TargetUrl) -> bool {
    let Ok(uri) = url.parse::<http::Uri>() else { return false };
    let host = uri.host().unwrap_or_default();
    let host = host.strip_prefix('[').and_then(|h| h.strip_suffix(']')).unwrap_or(host);
    let https = uri.scheme_str() == Some("https");
    host == checked.host
        && https == checked.https
        && uri.port_u16().unwrap_or(if https { 443 } else { 80 }) == checked.port
        && uri.path_and_query().map(|p| p.as_str()) == Some(checked.path_and_query.as_str())
}
