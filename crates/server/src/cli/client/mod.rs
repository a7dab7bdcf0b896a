//! A client of a running server for the command line: calls of the RPC API over Connect, and requests of the REST APIs; all of it in JSON.
//!
//! | module | is |
//! |---|---|
//! | `place` | where the server is: its URL, taken apart |
//! | `line` | connections, kept from one call to the next |
//! | `messages` | what a stream sends |
//! | `rest` | requests of the REST APIs |
//! | `error` | why a call came to nothing, and what to do about it |

mod error;
mod line;
mod messages;
mod place;
mod rest;
#[cfg(test)]
mod tests;

pub use error::{CallError, Origin};
pub use messages::Messages;
pub use rest::{Answer, Asked};

use bytes::Bytes;
use connectrpc::envelope::Envelope;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HOST, USER_AGENT};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, LengthLimitError, Limited};
use hyper::body::Incoming;
use line::{Line, Lines};
use place::Place;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Largest answer that is no stream, in bytes.
const MAX_ANSWER: usize = 64 << 20;

/// How much of an answer to a stream's beginning that means failure is read, in bytes.
const MAX_REFUSAL: usize = 64 << 10;

/// How long an answer may take, and how long a stream may say nothing. The server itself gives a call half a minute, and tells whoever watches
/// that there is nothing new every 10 seconds.
const PATIENCE: Duration = Duration::from_secs(60);

const JSON: &str = "application/json";
const STREAM: &str = "application/connect+json";
const PROTOCOL_VERSION: HeaderName = HeaderName::from_static("connect-protocol-version");

/// Calls methods of one server. Clones share its connections.
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

struct Shared {
    place: Place,
    lines: Lines,
    /// The headers of every request; the key among them is marked as a secret.
    headers: HeaderMap,
    with_key: bool,
    patience: Duration,
}

impl Client {
    /// For the server at an `http` or `https` URL, with a path where a proxy serves it under one. The key is shown with each call. Touches no
    /// network.
    ///
    /// # Errors
    /// A URL or a key that cannot be used.
    pub fn new(url: &str, key: Option<&str>) -> Result<Self, CallError> {
        Client::with_patience(url, key, PATIENCE)
    }

    fn with_patience(url: &str, key: Option<&str>, patience: Duration) -> Result<Self, CallError> {
        let place = Place::new(url)?;
        let mut headers = HeaderMap::new();
        headers.insert(HOST, place.authority.clone());
        headers.insert(USER_AGENT, HeaderValue::from_static(concat!("postrider-cli/", env!("CARGO_PKG_VERSION"))));
        if let Some(key) = key.map(str::trim) {
            if key.is_empty() {
                return Err(CallError::given("the key is empty"));
            }
            let shown = HeaderValue::from_str(&format!("Bearer {key}"));
            let mut shown = shown.map_err(|_| CallError::given("the key has characters that no key has"))?;
            shown.set_sensitive(true);
            headers.insert(AUTHORIZATION, shown);
        }
        let lines = Lines::new(&place)?;
        Ok(Client { shared: Arc::new(Shared { place, lines, headers, with_key: key.is_some(), patience }) })
    }

    /// The URL of the server.
    pub fn url(&self) -> &str {
        &self.shared.place.url
    }

    /// Calls `package.Service/Method`, and waits a minute for its answer at the most.
    ///
    /// # Errors
    /// What the server answered, or why it did not answer; see [`Origin`].
    pub async fn call<Q, A>(&self, method: &str, request: &Q) -> Result<A, CallError>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        let body = Bytes::from(written(request)?);
        let shared = &*self.shared;
        let answered = timeout(shared.patience, async {
            let (response, line) = shared.send(shared.posted(method, JSON, body)?).await?;
            let (status, headers, body) = shared.whole(response, MAX_ANSWER).await?;
            shared.lines.keep(line);
            Ok::<_, CallError>((status, headers, body))
        });
        let (status, headers, body) = answered.await.unwrap_or_else(|_| Err(CallError::silent(self.url(), shared.patience)))?;
        if status != StatusCode::OK {
            return Err(CallError::answered(status, &headers, &body, self.url(), shared.with_key));
        }
        shared.expect(&headers, JSON)?;
        serde_json::from_slice(&body).map_err(|error| CallError::foreign(self.url(), error))
    }

    /// Calls `package.Service/Method`, which answers with a stream, and waits until that has begun: a minute at the most.
    ///
    /// # Errors
    /// As for [`Client::call`]. What goes wrong later is told by [`Messages::next`].
    pub async fn stream<Q, A>(&self, method: &str, request: &Q) -> Result<Messages<A>, CallError>
    where
        Q: Serialize + ?Sized,
        A: DeserializeOwned,
    {
        let body = Envelope::data(Bytes::from(written(request)?)).encode();
        let shared = &*self.shared;
        let late = |_| Err(CallError::silent(self.url(), shared.patience));
        let (response, line) = timeout(shared.patience, shared.send(shared.posted(method, STREAM, body)?)).await.unwrap_or_else(late)?;
        if response.status() != StatusCode::OK {
            let refusal = timeout(shared.patience, shared.whole(response, MAX_REFUSAL)).await;
            let (status, headers, body) = refusal.unwrap_or_else(|_| Err(CallError::silent(self.url(), shared.patience)))?;
            return Err(CallError::answered(status, &headers, &body, self.url(), shared.with_key));
        }
        shared.expect(response.headers(), STREAM)?;
        let of = (shared.place.url.clone(), shared.with_key);
        Ok(Messages::new(response.into_body(), line, of, shared.patience))
    }
}

/// The key is not shown.
impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("url", &self.shared.place.url).field("with_key", &self.shared.with_key).finish_non_exhaustive()
    }
}

impl Shared {
    /// A call of a method.
    fn posted(&self, method: &str, media: &'static str, body: Bytes) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = self.request(Method::POST, method, body)?;
        let headers = request.headers_mut();
        headers.insert(PROTOCOL_VERSION, HeaderValue::from_static("1"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(media));
        headers.insert(ACCEPT, HeaderValue::from_static(media));
        Ok(request)
    }

    /// A request with the headers that all of them have.
    fn request(&self, method: Method, path: &str, body: Bytes) -> Result<Request<Full<Bytes>>, CallError> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = method;
        *request.uri_mut() = self.place.path(path)?;
        *request.headers_mut() = self.headers.clone();
        Ok(request)
    }

    /// Sends a request over a connection that is kept, or over a new one; answers the head of what comes back.
    async fn send(&self, mut request: Request<Full<Bytes>>) -> Result<(Response<Incoming>, Line), CallError> {
        while let Some(mut line) = self.lines.kept().await {
            match line.try_send_request(request).await {
                Ok(response) => return Ok((response, line)),
                Err(mut failed) => match failed.take_message() {
                    // The server has closed this one meanwhile, and nothing was sent over it.
                    Some(unsent) => request = unsent,
                    None => return Err(self.broken(failed.error())),
                },
            }
        }
        let mut line = self.lines.open(&self.place).await?;
        let response = line.send_request(request).await.map_err(|error| self.broken(&error))?;
        Ok((response, line))
    }

    /// An answer with all of its body, of which so many bytes are taken.
    async fn whole(&self, response: Response<Incoming>, most: usize) -> Result<(StatusCode, HeaderMap, Bytes), CallError> {
        let (head, body) = response.into_parts();
        match Limited::new(body, most).collect().await {
            Ok(body) => Ok((head.status, head.headers, body.to_bytes())),
            Err(error) if error.is::<LengthLimitError>() => {
                Err(CallError::foreign(&self.place.url, format_args!("its answer is larger than {} KiB", most >> 10)))
            }
            Err(error) => Err(CallError::broken(&self.place.url, error)),
        }
    }

    /// Refuses an answer of another media type, as pages for people have it.
    fn expect(&self, headers: &HeaderMap, media: &str) -> Result<(), CallError> {
        let found = headers.get(CONTENT_TYPE).map(|found| String::from_utf8_lossy(found.as_bytes()));
        let is_it =
            found.as_deref().is_some_and(|found| found.split(';').next().is_some_and(|found| found.trim().eq_ignore_ascii_case(media)));
        if is_it {
            return Ok(());
        }
        Err(CallError::foreign(&self.place.url, format_args!("it answers {}", found.as_deref().unwrap_or("without a media type"))))
    }

    fn broken(&self, error: &hyper::Error) -> CallError {
        if error.is_parse() {
            return CallError::foreign(&self.place.url, format_args!("it does not speak HTTP ({error})"));
        }
        CallError::broken(&self.place.url, error)
    }
}

fn written<Q: Serialize + ?Sized>(request: &Q) -> Result<Vec<u8>, CallError> {
    serde_json::to_vec(request).map_err(|error| CallError::given(format!("the request cannot be written: {error}")))
}
