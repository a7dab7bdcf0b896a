//! Getting the server ready: where it is, and the subscriptions that receive.

use super::lane::connect_once;
use crate::cli::CommandError;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::client::conn::http1::SendRequest;
use serde::Deserialize;
use std::net::SocketAddr;
use std::time::Duration;
use url::Url;

/// How long the server may take to make a subscription.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);
/// The most of an answer that is read.
const MAX_ANSWER_BYTES: usize = 64 << 10;

/// A server to load.
#[derive(Clone, Debug)]
pub struct Target {
    /// Its address.
    pub address: SocketAddr,
    /// `Host` and, with a key, `Authorization`, besides the content type.
    pub headers: HeaderMap,
}

impl Target {
    /// From an `http://` URL without a path.
    pub async fn find(url: &str, key: Option<&str>) -> Result<Target, CommandError> {
        let bad = |what: &str| CommandError(format!("--url {url}: {what}"));
        let parsed = Url::parse(url).map_err(|error| CommandError::new(format_args!("--url {url}"), error))?;
        if parsed.scheme() != "http" {
            return Err(bad("the server is loaded over plain http://"));
        }
        if parsed.path() != "/" || parsed.query().is_some() {
            return Err(bad("leave the path away"));
        }
        let host = parsed.host_str().ok_or_else(|| bad("there is no host"))?;
        let port = parsed.port_or_known_default().unwrap_or(80);
        let authority = format!("{host}:{port}");
        let mut found = tokio::net::lookup_host(&authority).await.map_err(|error| CommandError::new(&authority, error))?;
        let address = found.next().ok_or_else(|| bad("the host has no address"))?;
        Ok(Target { address, headers: headers(&authority, key)? })
    }

    /// Makes subscriptions for these URLs and event types; answers their ids in the same order.
    pub async fn subscribe(&self, wanted: &[(String, Option<String>)]) -> Result<Vec<String>, CommandError> {
        let mut sender = connect_once(self.address).await?;
        let mut ids = Vec::with_capacity(wanted.len());
        for (url, event_types) in wanted {
            let making = self.make(&mut sender, url, event_types.as_deref());
            let made = tokio::time::timeout(ANSWER_TIMEOUT, making).await;
            ids.push(made.map_err(|_| CommandError(String::from("the server does not answer to POST /subscriptions")))??);
        }
        Ok(ids)
    }

    async fn make(&self, sender: &mut SendRequest<Full<Bytes>>, url: &str, types: Option<&str>) -> Result<String, CommandError> {
        #[derive(Deserialize)]
        struct Made {
            id: String,
        }
        let failed = |error: &dyn std::fmt::Display| CommandError::new("POST /subscriptions", error);
        let body = serde_json::json!({ "target_url": url, "event_types": types }).to_string();
        let mut request = Request::new(Full::new(Bytes::from(body)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = http::Uri::from_static("/subscriptions");
        *request.headers_mut() = self.headers.clone();
        sender.ready().await.map_err(|error| failed(&error))?;
        let answer = sender.send_request(request).await.map_err(|error| failed(&error))?;
        let status = answer.status();
        let body = Limited::new(answer.into_body(), MAX_ANSWER_BYTES).collect().await.map_err(|error| failed(&error))?.to_bytes();
        if status != StatusCode::CREATED {
            return Err(failed(&format_args!("{status}: {}", String::from_utf8_lossy(&body))));
        }
        let made: Made = serde_json::from_slice(&body).map_err(|error| failed(&error))?;
        Ok(made.id)
    }
}

/// The headers of every request.
pub fn headers(authority: &str, key: Option<&str>) -> Result<HeaderMap, CommandError> {
    let value =
        |text: &str| HeaderValue::from_str(text).map_err(|_| CommandError(String::from("the key or the host cannot be sent in a header")));
    let mut headers = HeaderMap::new();
    headers.insert(HOST, value(authority)?);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    if let Some(key) = key {
        let mut key = value(&format!("Bearer {key}"))?;
        key.set_sensitive(true);
        headers.insert(AUTHORIZATION, key);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_server_is_found_by_its_url() {
        let target = Target::find("http://127.0.0.1:8080", Some("secret")).await.expect("a target");
        assert_eq!(target.address.to_string(), "127.0.0.1:8080");
        assert_eq!(target.headers[AUTHORIZATION], "Bearer secret");
        assert!(!format!("{target:?}").contains("secret"));
        for url in ["https://127.0.0.1", "127.0.0.1:8080", "http://127.0.0.1/path", "nonsense"] {
            Target::find(url, None).await.expect_err(url);
        }
    }
}
