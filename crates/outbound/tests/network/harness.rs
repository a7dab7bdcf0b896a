//! Scripted receivers and the transport under test.

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use postrider_core::guard::Guard;
use postrider_core::ports::{Clock, Exchange, Fault, FaultKind, Lane, Outgoing, Response, Target, Transport};
use postrider_core::time::Timestamp;
use postrider_outbound::{Outbound, OutboundConfig, ResolverChoice};
use std::collections::HashMap;
use std::future::Future;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::{JoinHandle, JoinSet};
use url::Url;

/// 2025-05-12T12:00:00Z, for ever.
pub const NOW: Timestamp = Timestamp::from_secs(1_747_051_200);

pub struct StoppedClock;

impl Clock for StoppedClock {
    fn now(&self) -> Timestamp {
        NOW
    }
}

/// A transport that may dial loopback, and knows `receiver.test` as 127.0.0.1.
pub fn outbound() -> Outbound {
    outbound_with(|_| {})
}

pub fn outbound_with(change: impl FnOnce(&mut OutboundConfig)) -> Outbound {
    let guard = Guard::new(vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()], false);
    let mut config = OutboundConfig::new(Arc::new(guard), Arc::new(StoppedClock));
    config.resolver = names(&[("receiver.test", &["127.0.0.1"]), ("other.test", &["127.0.0.1"])]);
    change(&mut config);
    Outbound::new(config).unwrap()
}

pub fn names(table: &[(&str, &[&str])]) -> ResolverChoice {
    let parse = |addresses: &[&str]| addresses.iter().map(|a| a.parse().unwrap()).collect::<Vec<IpAddr>>();
    ResolverChoice::Static(table.iter().map(|(name, addresses)| (name.to_string(), parse(addresses))).collect::<HashMap<_, _>>())
}

/// A target with a timeout that no passing test comes near.
pub fn target(url: &str) -> Target {
    let url = Url::parse(url).unwrap();
    Target {
        https: url.scheme() == "https",
        host: url.host_str().unwrap().trim_matches(['[', ']']).to_string(),
        port: url.port_or_known_default().unwrap(),
        path_and_query: url[url::Position::BeforePath..].to_string(),
        timeout: Duration::from_secs(20),
        connect_timeout: Duration::from_secs(20),
        follow_redirects: false,
        verify_tls: true,
        response_cap: 64 * 1024,
    }
}

pub fn lane(outbound: &Outbound, url: &str) -> Box<dyn Lane> {
    outbound.lane(&Arc::new(target(url)))
}

pub fn lane_with(outbound: &Outbound, url: &str, change: impl FnOnce(&mut Target)) -> Box<dyn Lane> {
    let mut target = target(url);
    change(&mut target);
    outbound.lane(&Arc::new(target))
}

pub fn post(body: impl Into<Bytes>) -> Outgoing {
    Outgoing { method: Method::POST, headers: HeaderMap::new(), body: body.into() }
}

pub fn post_with(headers: &[(&'static str, &'static str)], body: &'static str) -> Outgoing {
    let headers = headers.iter().map(|&(n, v)| (HeaderName::from_static(n), HeaderValue::from_static(v))).collect();
    Outgoing { method: Method::POST, headers, body: Bytes::from_static(body.as_bytes()) }
}

#[track_caller]
pub fn answer(exchange: Exchange) -> Response {
    exchange.result.unwrap()
}

#[track_caller]
pub fn fault(exchange: Exchange, kind: FaultKind) -> Fault {
    let fault = exchange.result.expect_err("a fault");
    assert_eq!(fault.kind, kind, "{fault}");
    fault
}

/// Time of a test with a paused clock that stands still until this goes. Without it such a clock jumps to the next timer whenever nothing
/// is ready, and a receiver's answer that the kernel still carries is not ready.
#[must_use]
pub struct StandingTime {
    _held: std::sync::mpsc::Sender<()>,
}

/// No deadline passes while the answer lives, however slow the machine is.
pub fn time_stands() -> StandingTime {
    let (held, gone) = std::sync::mpsc::channel();
    // The runtime lets no time pass while blocking work is under way.
    tokio::task::spawn_blocking(move || gone.recv());
    StandingTime { _held: held }
}

/// Accepts connections and counts them.
pub struct Server {
    pub address: SocketAddr,
    accepted: Arc<AtomicUsize>,
    task: JoinHandle<()>,
}

impl Server {
    pub async fn start<F, W>(script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap(), script)
    }

    /// `script` gets each connection with its number, from 0.
    pub fn on<F, W>(listener: TcpListener, script: F) -> Self
    where
        F: Fn(usize, TcpStream) -> W + Send + 'static,
        W: Future<Output = ()> + Send + 'static,
    {
        let address = listener.local_addr().unwrap();
        let accepted = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&accepted);
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                connections.spawn(script(count.fetch_add(1, Ordering::SeqCst), stream));
            }
        });
        Server { address, accepted, task }
    }

    /// Answers every request of every connection with the same bytes.
    pub async fn answering(response: &'static str) -> Self {
        Self::recording(move |_| response).await.0
    }

    /// Tells of every request of every connection, and then answers it with what `reply` makes of it.
    pub async fn recording<F, B>(reply: F) -> (Self, mpsc::UnboundedReceiver<Received>)
    where
        F: Fn(&Received) -> B + Clone + Send + 'static,
        B: AsRef<[u8]> + Send + 'static,
    {
        let (seen, requests) = mpsc::unbounded_channel();
        let server = Self::start(move |_, stream| {
            let (reply, seen) = (reply.clone(), seen.clone());
            async move {
                let mut connection = Conn::new(stream);
                while let Some(request) = connection.request().await {
                    let answer = reply(&request);
                    // Not every test looks at what came.
                    let _ = seen.send(request);
                    connection.send(answer).await;
                }
            }
        })
        .await;
        (server, requests)
    }

    pub fn accepted(&self) -> usize {
        self.accepted.load(Ordering::SeqCst)
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// The URL by name.
    pub fn named(&self, scheme: &str, host: &str, path: &str) -> String {
        format!("{scheme}://{host}:{}{path}", self.address.port())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One connection as the receiver sees it.
pub struct Conn<S> {
    pub stream: S,
    buffer: Vec<u8>,
}

/// A request as it came over the wire.
pub struct Received {
    pub head: String,
    pub body: Vec<u8>,
    /// How many reads it took.
    pub reads: usize,
}

impl Received {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.head.lines().skip(1).find_map(|line| {
            let (n, v) = line.split_once(':')?;
            n.eq_ignore_ascii_case(name).then_some(v.trim())
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Conn<S> {
    pub fn new(stream: S) -> Self {
        Conn { stream, buffer: Vec::with_capacity(64 * 1024) }
    }

    /// The next request; `None` when the sender has closed.
    pub async fn request(&mut self) -> Option<Received> {
        let mut reads = 0;
        loop {
            if let Some(end) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                let head = String::from_utf8(self.buffer[..end].to_vec()).unwrap();
                let mut received = Received { head, body: Vec::new(), reads };
                let length = received.header("content-length").map_or(0, |v| v.parse().unwrap());
                if self.buffer.len() >= end + 4 + length {
                    received.body = self.buffer[end + 4..end + 4 + length].to_vec();
                    self.buffer.drain(..end + 4 + length);
                    return Some(received);
                }
            }
            reads += 1;
            if self.stream.read_buf(&mut self.buffer).await.unwrap_or(0) == 0 {
                return None;
            }
        }
    }

    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        // The sender may be gone by then, which is what some tests are about.
        let _ = self.stream.write_all(bytes.as_ref()).await;
        let _ = self.stream.flush().await;
    }

    /// Waits for the sender to close.
    pub async fn closed(&mut self) {
        while self.request().await.is_some() {}
    }
}

/// Closes with a reset and not with an end.
pub fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
}

/// A response with this body and its length.
pub fn ok(body: impl AsRef<[u8]>) -> Vec<u8> {
    ok_with("", body)
}

/// The same with more header lines, each ended by CRLF.
pub fn ok_with(headers: &str, body: impl AsRef<[u8]>) -> Vec<u8> {
    let body = body.as_ref();
    let mut response = format!("HTTP/1.1 200 OK\r\n{headers}content-length: {}\r\n\r\n", body.len()).into_bytes();
    response.extend_from_slice(body);
    response
}
