//! What is worked out once per target.

use crate::classify::fault;
use crate::h2::Slot;
use bytes::Bytes;
use http::header::{CONTENT_LENGTH, HOST, TRANSFER_ENCODING};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::Full;
use postrider_core::ports::{Fault, FaultKind, Outgoing, Target};
use rustls_pki_types::ServerName;
use std::net::IpAddr;
use std::sync::Arc;

/// A target with all that its exchanges need again and again.
pub(crate) struct Route {
    pub(crate) target: Arc<Target>,
    /// The host, if it is an IP literal.
    pub(crate) literal: Option<IpAddr>,
    /// The HTTP/2 connection that all lanes share.
    pub(crate) h2: Slot,
    aim: Result<Aim, Fault>,
    tls_name: Result<ServerName<'static>, Fault>,
}

/// The request line and authority in both protocols' forms. Cloning them copies no text.
struct Aim {
    origin_form: Uri,
    absolute: Uri,
    host: HeaderValue,
}

impl Route {
    pub(crate) fn new(target: Arc<Target>) -> Self {
        let literal = target.host.parse::<IpAddr>().ok();
        let aim = aim(&target, literal);
        let tls_name = tls_name(&target.host, literal);
        Route { target, literal, h2: Slot::default(), aim, tls_name }
    }

    pub(crate) fn tls_name(&self) -> Result<ServerName<'static>, Fault> {
        self.tls_name.clone()
    }

    /// The request as HTTP has it, all but what depends on the protocol.
    pub(crate) fn request(&self, outgoing: Outgoing) -> Result<Request<Full<Bytes>>, Fault> {
        if let Err(fault) = &self.aim {
            return Err(fault.clone());
        }
        let Outgoing { method, mut headers, body } = outgoing;
        // Where the body ends is ours to say: a header that says otherwise would make the rest of it a second request.
        headers.remove(TRANSFER_ENCODING);
        headers.remove(CONTENT_LENGTH);
        if body.is_empty() && !matches!(method, Method::GET | Method::HEAD) {
            // hyper announces no length for an empty body, and some receivers then wait for one (RFC 9110, section 8.6).
            headers.insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.headers_mut() = headers;
        Ok(request)
    }

    /// Points a request at the target in the form that the connection's protocol wants.
    pub(crate) fn point(&self, request: &mut Request<Full<Bytes>>, h2: bool) -> Result<(), Fault> {
        let aim = self.aim.as_ref().map_err(Fault::clone)?;
        if h2 {
            *request.uri_mut() = aim.absolute.clone();
            request.headers_mut().remove(HOST);
        } else {
            *request.uri_mut() = aim.origin_form.clone();
            request.headers_mut().insert(HOST, aim.host.clone());
        }
        Ok(())
    }
}

fn aim(target: &Target, literal: Option<IpAddr>) -> Result<Aim, Fault> {
    let invalid = |_: http::Error| fault(FaultKind::Protocol, "the URL cannot be put into a request");
    let host = match literal {
        Some(IpAddr::V6(address)) => format!("[{address}]"),
        _ => target.host.clone(),
    };
    let (scheme, default_port) = if target.https { ("https", 443) } else { ("http", 80) };
    let authority = if target.port == default_port { host } else { format!("{host}:{}", target.port) };
    let path = if target.path_and_query.starts_with('/') { target.path_and_query.clone() } else { format!("/{}", target.path_and_query) };
    Ok(Aim {
        absolute: Uri::try_from(format!("{scheme}://{authority}{path}")).map_err(|e| invalid(e.into()))?,
        origin_form: Uri::try_from(path).map_err(|e| invalid(e.into()))?,
        host: HeaderValue::try_from(authority).map_err(|e| invalid(e.into()))?,
    })
}

/// The name that a certificate must be valid for: that of the host, or its address where it is `literal`.
pub(crate) fn tls_name(host: &str, literal: Option<IpAddr>) -> Result<ServerName<'static>, Fault> {
    if let Some(address) = literal {
        return Ok(ServerName::IpAddress(address.into()));
    }
    // The root's dot belongs to DNS and is in no certificate.
    let name = host.strip_suffix('.').unwrap_or(host).to_owned();
    ServerName::try_from(name).map_err(|_| fault(FaultKind::Tls, "the host is not a name that a certificate can be valid for"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderMap;
    use std::time::Duration;

    fn target(https: bool, host: &str, port: u16, path: &str) -> Arc<Target> {
        let second = Duration::from_secs(1);
        Arc::new(Target {
            https,
            host: host.into(),
            port,
            path_and_query: path.into(),
            timeout: second,
            connect_timeout: second,
            follow_redirects: false,
            verify_tls: true,
            response_cap: 0,
        })
    }

    fn pointed(target: Arc<Target>, h2: bool) -> Request<Full<Bytes>> {
        let route = Route::new(target);
        let headers =
            HeaderMap::from_iter([(CONTENT_LENGTH, HeaderValue::from_static("999")), (HOST, HeaderValue::from_static("elsewhere"))]);
        let outgoing = Outgoing { method: Method::POST, headers, body: Bytes::from_static(b"x") };
        let mut request = route.request(outgoing).expect("a valid target");
        route.point(&mut request, h2).expect("a valid target");
        request
    }

    #[test]
    fn a_request_is_pointed_at_its_target_and_nowhere_else() {
        let request = pointed(target(true, "example.com", 8443, "/a?b=c"), false);
        assert_eq!(request.uri(), "/a?b=c");
        assert_eq!(request.headers()[HOST], "example.com:8443");
        assert!(!request.headers().contains_key(CONTENT_LENGTH));

        let request = pointed(target(true, "2600::1", 443, "/"), true);
        assert_eq!(request.uri(), "https://[2600::1]/");
        assert!(!request.headers().contains_key(HOST));
        assert_eq!(pointed(target(false, "example.com", 80, "/"), false).headers()[HOST], "example.com");
    }

    #[test]
    fn an_unusable_path_is_a_fault_and_not_a_panic() {
        let route = Route::new(target(false, "example.com", 80, "/a b"));
        let outgoing = Outgoing { method: Method::POST, headers: HeaderMap::new(), body: Bytes::new() };
        assert_eq!(route.request(outgoing).expect_err("a space in a path").kind, FaultKind::Protocol);
    }
}
