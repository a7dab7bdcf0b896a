//! The listener and its connections.

use super::behaviour::{Behaviour, Reply, Script};
use super::forward::Forward;
use super::record::{Delivered, Received, identity};
use super::signatures::Verifier;
use bytes::Bytes;
use http::{HeaderValue, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use parking_lot::Mutex;
use postrider_core::ports::Clock;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinHandle, JoinSet};

/// The largest body that is taken; a larger one is answered 413.
pub const MAX_BODY_BYTES: usize = 64 << 20;
/// Requests that may wait to be looked at. When so many do, senders wait for their answer.
const WAITING_REQUESTS: usize = 256;
/// How long a connection that was just accepted may take for the head of a request.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);
/// How long to wait when accepting fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// How a receiver is to work.
#[derive(Clone)]
pub struct Settings {
    /// The only path that is served, without query; others get 404. `None` serves every path.
    pub path: Option<String>,
    /// What to answer.
    pub behaviour: Behaviour,
    /// Who answers in its place, if anybody.
    pub forward: Option<Arc<Forward>>,
    /// What to check signatures with.
    pub verifier: Verifier,
    /// The time of day, for the records and for the age of signatures.
    pub clock: Arc<dyn Clock>,
}

/// A running receiver. Requests are told in the order of their answers being decided; each is told before it is answered.
#[derive(Debug)]
pub struct Receiver {
    address: SocketAddr,
    requests: mpsc::Receiver<Received>,
    stop: watch::Sender<bool>,
    accepting: JoinHandle<JoinSet<()>>,
}

impl Receiver {
    /// Begins to receive on a bound listener.
    pub fn start(listener: TcpListener, settings: Settings) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let (stop, stopped) = watch::channel(false);
        let (out, requests) = mpsc::channel(WAITING_REQUESTS);
        let progress = Progress { script: Script::new(&settings.behaviour), received: 0, delivered: Delivered::default() };
        let shared = Arc::new(Shared { settings, progress: Mutex::new(progress), out });
        let accepting = tokio::spawn(accept(listener, shared, stopped));
        Ok(Receiver { address, requests, stop, accepting })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The next request. Cancel-safe.
    pub async fn next(&mut self) -> Option<Received> {
        self.requests.recv().await
    }

    /// Ends: no new connections, what has begun may finish within the time given, what is left is cut.
    pub async fn stop(mut self, within: Duration) {
        self.stop.send_replace(true);
        self.requests.close();
        if let Ok(mut connections) = self.accepting.await {
            let finished = async { while connections.join_next().await.is_some() {} };
            // What has not ended by then is cut when the set is dropped.
            let _ = tokio::time::timeout(within, finished).await;
        }
    }
}

struct Shared {
    settings: Settings,
    progress: Mutex<Progress>,
    out: mpsc::Sender<Received>,
}

struct Progress {
    script: Script,
    received: u64,
    delivered: Delivered,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) -> JoinSet<()> {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            _ = stopped.changed() => return connections,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, shared.clone(), stopped.clone()));
                }
                Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

async fn connection(stream: TcpStream, shared: Arc<Shared>, mut stopped: watch::Receiver<bool>) {
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    let reset = Arc::new(AtomicBool::new(false));
    let wire = TokioIo::new(Wire { stream, reset: reset.clone() });
    let service = service_fn(move |request| {
        let (shared, reset) = (shared.clone(), reset.clone());
        async move { shared.handle(request, &reset).await }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    let mut serving = std::pin::pin!(builder.serve_connection(wire, service));
    tokio::select! {
        // Whatever ends a connection is the sender's business; the requests on it have been told.
        _ = serving.as_mut() => return,
        _ = stopped.changed() => serving.as_mut().graceful_shutdown(),
    }
    let _ = serving.await;
}

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is to be reset")]
struct Cut;

impl Shared {
    async fn handle(&self, request: Request<Incoming>, reset: &AtomicBool) -> Result<Response<Full<Bytes>>, Cut> {
        let (head, body) = request.into_parts();
        let body = match Limited::new(body, MAX_BODY_BYTES).collect().await {
            Ok(body) => body.to_bytes(),
            Err(error) if error.is::<http_body_util::LengthLimitError>() => return Ok(self.answer(StatusCode::PAYLOAD_TOO_LARGE)),
            Err(_) => return Err(Cut),
        };
        let at = self.settings.clock.now();
        let signatures = self.settings.verifier.inspect(&head.headers, &body, at);
        let path = head.uri.path_and_query().map_or_else(|| head.uri.path().to_string(), |p| p.as_str().to_string());
        let elsewhere = self.settings.path.as_deref().is_some_and(|only| only != head.uri.path());
        let passed = match &self.settings.forward {
            Some(forward) if !elsewhere => Some(forward.pass(&head, body.clone()).await),
            _ => None,
        };
        let decided = if elsewhere { Some(StatusCode::NOT_FOUND) } else { passed.as_ref().map(|passed| passed.status) };
        let (number, duplicate, reply) = self.decide(identity(&head.headers), decided);
        let (method, headers) = (head.method, head.headers);
        let record = Received { number, at, method, path, headers, body, signatures, duplicate, reply, passed: passed.clone() };
        // Nobody looks any more: the receiver is stopping, and senders still get their answer.
        let _ = self.out.send(record).await;
        match passed {
            Some(passed) => Ok(passed.response()),
            None => self.reply(reply, reset).await,
        }
    }

    /// The number of a request, whether it came before, and what it gets, where that is not decided yet.
    fn decide(&self, id: Option<&str>, decided: Option<StatusCode>) -> (u64, bool, Reply) {
        let mut progress = self.progress.lock();
        progress.received += 1;
        let duplicate = id.is_some_and(|id| progress.delivered.contains(id));
        let reply = decided.map_or_else(|| progress.script.decide(), Reply::Status);
        if let (true, Some(id)) = (reply.is_success(), id) {
            progress.delivered.insert(id);
        }
        (progress.received, duplicate, reply)
    }

    async fn reply(&self, reply: Reply, reset: &AtomicBool) -> Result<Response<Full<Bytes>>, Cut> {
        if !self.settings.behaviour.delay.is_zero() {
            tokio::time::sleep(self.settings.behaviour.delay).await;
        }
        match reply {
            Reply::Status(status) => Ok(self.answer(status)),
            Reply::Stall => std::future::pending().await,
            Reply::Reset => {
                reset.store(true, Ordering::Release);
                Err(Cut)
            }
        }
    }

    fn answer(&self, status: StatusCode) -> Response<Full<Bytes>> {
        let behaviour = &self.settings.behaviour;
        let mut response = Response::new(Full::new(behaviour.body.clone()));
        *response.status_mut() = status;
        if let Some(seconds) = behaviour.retry_after.filter(|_| !status.is_success()) {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

/// A connection that can be told to end with a TCP reset.
struct Wire {
    stream: TcpStream,
    reset: Arc<AtomicBool>,
}

impl Drop for Wire {
    fn drop(&mut self) {
        if self.reset.load(Ordering::Acquire) {
            // Closing a socket that lingers for zero seconds sends RST. Where that cannot be set, the sender sees a plain close.
            let _ = self.stream.set_zero_linger();
        }
    }
}

impl AsyncRead for Wire {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Wire {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
