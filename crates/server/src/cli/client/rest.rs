//! Requests of the REST APIs, which have what the RPC API has not.

use super::{CallError, Client, JSON, MAX_ANSWER};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::time::timeout;

/// A request: a method, a path below the server's URL without its first slash, and JSON or nothing.
#[derive(Clone)]
pub struct Asked {
    method: Method,
    path: String,
    headers: HeaderMap,
    body: Option<Bytes>,
}

impl Asked {
    /// Without a body.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Asked { method, path: path.into(), headers: HeaderMap::new(), body: None }
    }

    /// Reads what is at a path.
    pub fn get(path: impl Into<String>) -> Self {
        Asked::new(Method::GET, path)
    }

    /// The same with parameters behind the path.
    pub fn with_query(mut self, pairs: &[(&str, String)]) -> Result<Self, CallError> {
        let query =
            serde_urlencoded::to_string(pairs).map_err(|error| CallError::given(format!("the query cannot be written: {error}")))?;
        if !query.is_empty() {
            self.path = format!("{}?{query}", self.path);
        }
        Ok(self)
    }

    /// The same with a header.
    pub fn with_header(mut self, name: &'static str, value: &str) -> Result<Self, CallError> {
        let value = HeaderValue::from_str(value);
        let value = value.map_err(|_| CallError::given(format!("what goes into the header {name} has characters that no header has")))?;
        self.headers.insert(HeaderName::from_static(name), value);
        Ok(self)
    }

    /// The same with a body.
    pub fn with_json(self, body: &impl Serialize) -> Result<Self, CallError> {
        super::written(body).map(|body| self.with_bytes(Bytes::from(body)))
    }

    /// The same with JSON that stays as it is written.
    pub fn with_bytes(mut self, body: Bytes) -> Self {
        self.body = Some(body);
        self
    }
}

/// What is sent may be a secret.
impl std::fmt::Debug for Asked {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Asked").field("method", &self.method).field("path", &self.path).finish_non_exhaustive()
    }
}

/// What came back: JSON, or nothing.
#[derive(Clone, Debug)]
pub struct Answer {
    body: Bytes,
    url: String,
}

impl Answer {
    /// Whether nothing came with it.
    pub fn is_empty(&self) -> bool {
        self.body.is_empty()
    }

    /// The JSON as it was sent.
    pub fn json(&self) -> Result<&str, CallError> {
        std::str::from_utf8(&self.body).map_err(|error| CallError::foreign(&self.url, error))
    }

    /// The JSON as what it should be.
    pub fn read<A: DeserializeOwned>(&self) -> Result<A, CallError> {
        serde_json::from_slice(&self.body).map_err(|error| CallError::foreign(&self.url, error))
    }
}

impl Client {
    /// Asks a REST API, and waits a minute for its answer at the most.
    ///
    /// # Errors
    /// What the server answered, or why it did not answer; see [`super::Origin`].
    pub async fn rest(&self, asked: Asked) -> Result<Answer, CallError> {
        let shared = &*self.shared;
        let Asked { method, path, headers, body } = asked;
        let has_body = body.is_some();
        let mut request = shared.request(method, &path, body.unwrap_or_default())?;
        request.headers_mut().extend(headers);
        request.headers_mut().insert(ACCEPT, HeaderValue::from_static(JSON));
        if has_body {
            request.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(JSON));
        }
        let answered = timeout(shared.patience, async {
            let (response, line) = shared.send(request).await?;
            let (status, headers, body) = shared.whole(response, MAX_ANSWER).await?;
            shared.lines.keep(line);
            Ok::<_, CallError>((status, headers, body))
        });
        let (status, headers, body) = answered.await.unwrap_or_else(|_| Err(CallError::silent(self.url(), shared.patience)))?;
        if !status.is_success() {
            return Err(CallError::refused(status, &headers, &body, self.url(), shared.with_key));
        }
        if !body.is_empty() {
            shared.expect(&headers, JSON)?;
        }
        Ok(Answer { body, url: self.url().to_owned() })
    }
}
