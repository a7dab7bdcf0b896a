//! Where a 307 or 308 leads, and what may follow it there.

use crate::classify::fault;
use http::header::{AUTHORIZATION, COOKIE, HeaderName, PROXY_AUTHORIZATION};
use http::{HeaderMap, StatusCode};
use postrider_core::ports::{Fault, FaultKind, Target};
use url::{Host, Url};

/// How many redirects one exchange follows.
pub(crate) const MAX_REDIRECTS: usize = 10;

/// What names the sender to one receiver and must not be shown to another.
const SENSITIVE: [HeaderName; 4] = [AUTHORIZATION, PROXY_AUTHORIZATION, COOKIE, HeaderName::from_static("x-api-key")];

/// Where the response's head says to send the same request again.
pub(crate) fn location(status: StatusCode, headers: &HeaderMap) -> Option<String> {
    // The others would make a GET of it: an empty request that some receiver calls a success.
    if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
        return None;
    }
    headers.get(http::header::LOCATION)?.to_str().ok().map(str::to_owned)
}

/// The target that `location` names, seen from `from`; all of the policy stays.
pub(crate) fn next(from: &Target, location: &str) -> Result<Target, Fault> {
    let invalid = || fault(FaultKind::Protocol, "redirect to something that is not an http or https URL");
    let url = base(from).and_then(|base| base.join(location).ok()).ok_or_else(invalid)?;
    let https = match url.scheme() {
        "https" => true,
        "http" if from.https => return Err(fault(FaultKind::Protocol, "redirect to plain http refused")),
        "http" => false,
        _ => return Err(invalid()),
    };
    if !url.username().is_empty() || url.password().is_some() {
        return Err(fault(FaultKind::Protocol, "redirect to a URL with a user name or password refused"));
    }
    let host = match url.host().ok_or_else(invalid)? {
        Host::Domain(name) => name.to_owned(),
        Host::Ipv4(address) => address.to_string(),
        Host::Ipv6(address) => address.to_string(),
    };
    let port = url.port_or_known_default().filter(|&port| port != 0).ok_or_else(invalid)?;
    let path_and_query = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    Ok(Target { https, host, port, path_and_query, ..from.clone() })
}

/// Whether both are one receiver.
pub(crate) fn same_origin(a: &Target, b: &Target) -> bool {
    a.https == b.https && a.port == b.port && a.host.eq_ignore_ascii_case(&b.host)
}

/// Drops what must not leave its origin.
pub(crate) fn strip(headers: &mut HeaderMap) {
    for name in &SENSITIVE {
        headers.remove(name);
    }
}

fn base(target: &Target) -> Option<Url> {
    let scheme = if target.https { "https" } else { "http" };
    let host = if target.host.contains(':') { format!("[{}]", target.host) } else { target.host.clone() };
    Url::parse(&format!("{scheme}://{host}:{}{}", target.port, target.path_and_query)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn from(https: bool) -> Target {
        Target {
            https,
            host: "2600::1".into(),
            port: 8443,
            path_and_query: "/a/b?c=d".into(),
            timeout: Duration::from_secs(3),
            connect_timeout: Duration::from_secs(2),
            follow_redirects: true,
            verify_tls: false,
            response_cap: 7,
        }
    }

    #[test]
    fn relative_and_absolute_locations_are_understood() {
        let next_of = |location| next(&from(true), location).expect("a good location");
        let relative = next_of("../x?y=z#frag");
        assert_eq!((relative.host.as_str(), relative.port, relative.path_and_query.as_str()), ("2600::1", 8443, "/x?y=z"));
        assert!(same_origin(&relative, &from(true)));
        let absolute = next_of("https://Example.com");
        assert_eq!((absolute.host.as_str(), absolute.port, absolute.path_and_query.as_str()), ("example.com", 443, "/"));
        assert_eq!((absolute.timeout, absolute.verify_tls, absolute.response_cap), (Duration::from_secs(3), false, 7));
        assert_eq!(next_of("https://0x7f.1/").host, "127.0.0.1");
    }

    #[test]
    fn what_is_worse_than_before_is_refused() {
        for location in [
            "http://example.com/",
            "ftp://example.com/",
            "file:///etc/passwd",
            "https://a:b@example.com/",
            "https://",
            "https://example.com:0/",
        ] {
            assert_eq!(next(&from(true), location).expect_err(location).kind, FaultKind::Protocol);
        }
        assert!(next(&from(false), "http://example.com/").is_ok());
    }

    #[test]
    fn only_statuses_that_keep_the_method_are_followed() {
        let headers = HeaderMap::from_iter([(http::header::LOCATION, http::HeaderValue::from_static("/x"))]);
        let followed: Vec<u16> = (300..400).filter(|&s| location(StatusCode::from_u16(s).expect("3xx"), &headers).is_some()).collect();
        assert_eq!(followed, [307, 308]);
        assert_eq!(location(StatusCode::PERMANENT_REDIRECT, &HeaderMap::new()), None);
    }
}
