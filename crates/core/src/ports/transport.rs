//! The network, as the engine sees it.

use super::BoxFuture;
use crate::attempt::{HeadBlock, Phases};
use bytes::Bytes;
use http::{HeaderMap, Method};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// Makes HTTP exchanges.
pub trait Transport: Send + Sync + 'static {
    /// A lane to a target. It connects on its first exchange, not here.
    fn lane(&self, target: &Arc<Target>) -> Box<dyn Lane>;
}

/// One exchange at a time with one target, over a connection that it keeps between exchanges while the receiver does.
/// Lanes of one target share what can be shared (an HTTP/2 connection, TLS sessions), lanes of different targets
/// share no connection; TLS sessions with one server name are shared by all targets of one policy for certificates.
pub trait Lane: Send {
    /// Sends a request and reads the response up to the target's cap, all within the target's timeout.
    /// Dropping the future abandons the exchange and its connection.
    fn exchange(&mut self, request: Outgoing) -> BoxFuture<'_, Exchange>;

    /// From now on it is asked once more whenever a connection had to be made for a request, which may take as long as the target lets it: if the
    /// answer is no, the request is not sent, and the exchange ends as [`FaultKind::Withheld`]. A lane that connects at once need not ask.
    fn gate(&mut self, gate: Gate) {
        _ = gate;
    }
}

/// Answers whether a request may still be sent. Cheap.
pub type Gate = Arc<dyn Fn() -> bool + Send + Sync>;

/// Where lanes go, and the policy of the way there. Everything that decides who may share a connection is in here.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Target {
    /// Whether TLS is spoken.
    pub https: bool,
    /// Name or IP literal, without brackets.
    pub host: String,
    /// The port.
    pub port: u16,
    /// Path and query, beginning with `/`.
    pub path_and_query: String,
    /// The deadline of a whole exchange.
    pub timeout: Duration,
    /// The part of it that connecting (DNS, TCP, TLS) may take.
    pub connect_timeout: Duration,
    /// Whether 307 and 308 are followed, each hop through the guard.
    pub follow_redirects: bool,
    /// Whether the certificate is checked.
    pub verify_tls: bool,
    /// How many bytes of the response body are kept; the rest is never read into memory.
    pub response_cap: u32,
}

/// A request, complete but for `host` and `content-length`, which the transport adds.
#[derive(Clone, Debug)]
pub struct Outgoing {
    /// `POST`, mostly.
    pub method: Method,
    /// Every header to send.
    pub headers: HeaderMap,
    /// The body.
    pub body: Bytes,
}

/// What came of an exchange.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The answer, or why there is none.
    pub result: Result<Response, Fault>,
    /// How long each part took.
    pub phases: Phases,
}

/// What the receiver answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status.
    pub status: u16,
    /// The reason phrase's standard text is not kept; this is `Retry-After` as a span from now, if it was sent and made sense.
    pub retry_after: Option<Duration>,
    /// Its headers, as far as they are kept.
    pub head: HeadBlock,
    /// The body up to the cap, decompressed where it was compressed.
    pub body: Bytes,
    /// Whether there was more.
    pub truncated: bool,
}

/// Why there is no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Fault {
    /// For programs.
    pub kind: FaultKind,
    /// For people: short, a lowercase fragment, without secrets.
    pub message: String,
}

/// Kinds of [`Fault`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FaultKind {
    /// The name did not resolve.
    Dns,
    /// Nothing listens there.
    Refused,
    /// The connection broke.
    Reset,
    /// No route, network down.
    Unreachable,
    /// The handshake failed.
    Tls,
    /// The deadline passed in this phase.
    Timeout(Phase),
    /// Every address of the name is one that may not be dialled.
    Blocked,
    /// What came back was not HTTP.
    Protocol,
    /// The [gate](Lane::gate) was closed by the time that a connection was there: not a byte was sent.
    Withheld,
}

/// Phases of an exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Phase {
    /// Resolving the name.
    Dns,
    /// Connecting.
    Connect,
    /// The TLS handshake.
    Tls,
    /// Sending the request and waiting for the response's head.
    Response,
    /// Reading the response's body.
    Body,
}

impl Phase {
    /// For messages.
    pub fn as_str(self) -> &'static str {
        match self {
            Phase::Dns => "resolving the name",
            Phase::Connect => "connecting",
            Phase::Tls => "the TLS handshake",
            Phase::Response => "waiting for the response",
            Phase::Body => "reading the response body",
        }
    }
}

/// Whether an address may be dialled; what [`crate::guard::Guard`] answers.
pub trait AddressPolicy: Send + Sync {
    /// `Err` says why not.
    fn check(&self, address: IpAddr) -> Result<(), String>;
}
