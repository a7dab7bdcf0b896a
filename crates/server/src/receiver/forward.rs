//! Passing requests on to somebody else, whose answer goes back to the sender.

use bytes::Bytes;
use http::header::{CONNECTION, CONTENT_LENGTH, HOST, TE, TRAILER, TRANSFER_ENCODING, UPGRADE};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response, StatusCode, Uri, request};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use postrider_outbound::ClientTls;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use url::{Host, Position, Url};

/// How long an exchange may take. Senders wait for about as long.
const PATIENCE: Duration = Duration::from_secs(30);
/// Largest body of an answer that is passed back, in bytes.
const MAX_ANSWER: usize = 16 << 20;

/// What belongs to a connection and not to what goes over it.
static OF_CONNECTION: [HeaderName; 8] =
    [CONNECTION, CONTENT_LENGTH, HOST, HeaderName::from_static("keep-alive"), TE, TRAILER, TRANSFER_ENCODING, UPGRADE];

/// Whom requests are passed on to.
#[derive(Debug)]
pub struct Forward {
    host: String,
    port: u16,
    authority: HeaderValue,
    /// The path of all requests; without one each keeps its own.
    path: Option<String>,
    tls: Option<ClientTls>,
}

/// What came of passing a request on.
#[derive(Clone, Debug)]
pub struct Passed {
    /// What the sender gets; 502 where nobody answered.
    pub status: StatusCode,
    /// How long it took.
    pub took: Duration,
    /// Why nobody answered.
    pub error: Option<String>,
    headers: HeaderMap,
    body: Bytes,
}

impl Forward {
    /// To an `http` or `https` URL. Where it has a path, all requests go there; otherwise each keeps its own. Touches no network.
    pub fn new(text: &str) -> Result<Self, String> {
        let url = Url::parse(text).map_err(|error| format!("{text:?}: {error}"))?;
        let https = match url.scheme() {
            "http" => false,
            "https" => true,
            _ => return Err(format!("{text:?} does not begin with http:// or https://")),
        };
        let host = match url.host() {
            Some(Host::Domain(name)) if !name.is_empty() => name.to_owned(),
            Some(Host::Ipv4(address)) => address.to_string(),
            Some(Host::Ipv6(address)) => address.to_string(),
            _ => return Err(format!("{text:?} names no host")),
        };
        let authority = HeaderValue::from_str(&url[Position::BeforeHost..Position::AfterPort]).map_err(|error| error.to_string())?;
        let path = Some(url[Position::BeforePath..Position::AfterQuery].to_owned()).filter(|path| path != "/");
        let tls = https.then(|| ClientTls::new(&[])).transpose().map_err(|error| error.to_string())?;
        let port = url.port_or_known_default().unwrap_or(if https { 443 } else { 80 });
        Ok(Forward { host, port, authority, path, tls })
    }

    /// Passes a request on.
    pub(super) async fn pass(&self, head: &request::Parts, body: Bytes) -> Passed {
        let begun = Instant::now();
        let passed = timeout(PATIENCE, self.exchange(head, body)).await;
        let passed = passed.unwrap_or_else(|_| Err(format!("no answer within {} s", PATIENCE.as_secs())));
        let took = begun.elapsed();
        match passed {
            Ok((status, headers, body)) => Passed { status, took, error: None, headers, body },
            Err(error) => {
                let body = Bytes::from_static(b"this could not be passed on\n");
                Passed { status: StatusCode::BAD_GATEWAY, took, error: Some(error), headers: HeaderMap::new(), body }
            }
        }
    }

    async fn exchange(&self, head: &request::Parts, body: Bytes) -> Result<(StatusCode, HeaderMap, Bytes), String> {
        let own = head.uri.path_and_query().map_or("/", |path| path.as_str());
        let path = self.path.as_deref().unwrap_or(own);
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = head.method.clone();
        *request.uri_mut() = Uri::try_from(path).map_err(|error| error.to_string())?;
        *request.headers_mut() = without_connection(head.headers.clone());
        request.headers_mut().insert(HOST, self.authority.clone());
        let place = format!("{}:{}", self.host, self.port);
        let stream = TcpStream::connect((self.host.as_str(), self.port)).await.map_err(|error| format!("{place}: {error}"))?;
        // Without it answers are only slower.
        let _ = stream.set_nodelay(true);
        let response = match &self.tls {
            None => ask(stream, request).await,
            Some(tls) => ask(tls.secure(&self.host, stream).await.map_err(|fault| format!("{place}: {fault}"))?, request).await,
        };
        response.map_err(|error| format!("{place}: {error}"))
    }
}

/// Sends a request over a connection of its own, and reads the whole answer.
async fn ask<S>(stream: S, request: Request<Full<Bytes>>) -> Result<(StatusCode, HeaderMap, Bytes), String>
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let failed = |error: hyper::Error| error.to_string();
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    // Its end shows at the sender.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    let (head, body) = sender.send_request(request).await.map_err(failed)?.into_parts();
    let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(|error| error.to_string())?;
    Ok((head.status, without_connection(head.headers), body.to_bytes()))
}

fn without_connection(mut headers: HeaderMap) -> HeaderMap {
    for name in &OF_CONNECTION {
        headers.remove(name);
    }
    headers
}

impl Passed {
    /// What goes back to the sender.
    pub(super) fn response(self) -> Response<Full<Bytes>> {
        let mut response = Response::new(Full::new(self.body));
        *response.status_mut() = self.status;
        *response.headers_mut() = self.headers;
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_kept_unless_one_is_named() {
        let path =
            |url: &str| Forward::new(url).map(|forward| (forward.path, forward.port, forward.authority.to_str().map(String::from).ok()));
        let of = |path: Option<&str>, port, host: &str| Ok((path.map(String::from), port, Some(host.to_owned())));
        assert_eq!(path("http://localhost:3000"), of(None, 3000, "localhost:3000"));
        assert_eq!(path("http://[::1]/hooks?a=b"), of(Some("/hooks?a=b"), 80, "[::1]"));
        for bad in ["localhost:3000", "ftp://h/", "nonsense"] {
            Forward::new(bad).map(|_| ()).expect_err(bad);
        }
    }
}
