//! An HTTP/1.1 connection that its lane drives.

use crate::connector::Stream;
use bytes::Bytes;
use http::{HeaderMap, Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, Connection, SendRequest};
use hyper_util::rt::TokioIo;
use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Waker};
use std::time::Duration;
use tokio::time::Instant;

/// Largest response head, in bytes. It bounds the read buffer too, and so what a lane holds of a body at a time.
/// A head may have 100 headers at most, which is hyper's own limit (a limit of ours would cost an allocation per response).
pub(crate) const MAX_HEAD_BYTES: usize = 64 * 1024;

type Io = TokioIo<Stream>;

/// A connection with its two halves in one place.
pub(crate) struct H1 {
    sender: SendRequest<Full<Bytes>>,
    /// Gone once it has ended.
    connection: Option<Connection<Io, Full<Bytes>>>,
    unused_since: Instant,
    /// How long it may lie unused.
    idle_limit: Duration,
}

impl H1 {
    pub(crate) async fn new(stream: Stream, idle_limit: Duration) -> hyper::Result<Self> {
        let (sender, connection) =
            Builder::new().max_buf_size(MAX_HEAD_BYTES).max_header_size(MAX_HEAD_BYTES).handshake(TokioIo::new(stream)).await?;
        Ok(H1 { sender, connection: Some(connection), unused_since: Instant::now(), idle_limit })
    }

    /// Hands the request over; [`H1::poll`] sends it and fetches the response.
    pub(crate) fn send(
        &mut self,
        request: Request<Full<Bytes>>,
    ) -> impl Future<Output = Result<Response<Incoming>, TrySendError<Request<Full<Bytes>>>>> + use<> {
        self.sender.try_send_request(request)
    }

    /// Moves the connection on. How it ends is told by what it works for.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) {
        if let Some(connection) = &mut self.connection
            && Pin::new(connection).poll(cx).is_ready()
        {
            // Dropping it answers a request that it has not taken yet.
            self.connection = None;
        }
    }

    /// Whether it may take another request at `now`: the receiver has not closed it, nothing unasked came, it is not too old.
    pub(crate) fn is_usable(&mut self, now: Instant) -> bool {
        now.saturating_duration_since(self.unused_since) <= self.idle_limit && self.is_open()
    }

    /// Notes that an exchange ended, and what the receiver said about keeping the connection; whether it is fit to be kept.
    pub(crate) fn rest(&mut self, now: Instant, keep_for: Option<Duration>, idle_timeout: Duration) -> bool {
        self.unused_since = now;
        self.idle_limit = keep_for.map_or(idle_timeout, |limit| limit.min(idle_timeout));
        !self.idle_limit.is_zero() && ((self.connection.is_some() && self.sender.is_ready()) || self.is_open())
    }

    fn is_open(&mut self) -> bool {
        // The quiet waker also takes the place of the task's, which sending would wake otherwise.
        self.poll(&mut Context::from_waker(Waker::noop()));
        self.connection.is_some() && self.sender.is_ready()
    }
}

/// The receiver's wish in `Keep-Alive: timeout=N`, less a second for the way there.
pub(crate) fn keep_alive(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("keep-alive")?.to_str().ok()?;
    let seconds = text.split(',').find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("timeout").then_some(value.trim())
    })?;
    Some(Duration::from_secs(seconds.parse::<u64>().ok()?.saturating_sub(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &'static str) -> Option<u64> {
        let mut headers = HeaderMap::new();
        headers.insert("keep-alive", http::HeaderValue::from_static(text));
        keep_alive(&headers).map(|d| d.as_secs())
    }

    #[test]
    fn keep_alive_is_read_with_a_second_to_spare() {
        assert_eq!(parse("timeout=5, max=100"), Some(4));
        assert_eq!(parse("max=100, Timeout = 75"), Some(74));
        assert_eq!(parse("timeout=1"), Some(0));
        assert_eq!(parse("timeout=0"), Some(0));
        assert_eq!(parse("timeout=soon"), None);
        assert_eq!(parse("max=3"), None);
    }
}
