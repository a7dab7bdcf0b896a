//! The receiver of the benchmark: as little work per request as possible, on a thread of its own.

use super::ledger::{Arrival, Ledger};
use super::payload::{Phase, Template};
use crate::cli::CommandError;
use bytes::Bytes;
use http::header::HeaderName;
use http::{Request, Response};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, mpsc};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;

/// Endpoints beyond so many share ports, to stay within the usual limit of open files.
const MAX_PORTS: u32 = 256;
/// Paths of endpoints begin with this; their number follows.
const PATH: &str = "/e/";
/// The path of the dead endpoint behind which a backlog waits.
const DEAD: &str = "/dead";
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// What the sink has seen besides what the ledgers hold.
#[derive(Debug, Default)]
pub struct Seen {
    /// Bodies that are not those that were sent, and events at endpoints that they were not sent to.
    pub wrong: AtomicU64,
    /// Deliveries without an idempotency key.
    pub without_key: AtomicU64,
    /// Requests at endpoints that never answer.
    pub hung: AtomicU64,
}

/// What all connections of the sink share.
#[derive(Debug)]
pub struct Sink {
    template: Template,
    hung: u32,
    delay: Duration,
    ledgers: [OnceLock<Arc<Ledger>>; Phase::COUNT],
    /// What came that is in no ledger.
    pub seen: Seen,
}

impl Sink {
    /// A sink that expects this payload; endpoints below `hung` never answer.
    pub fn new(template: Template, hung: u32, delay: Duration) -> Self {
        Sink { template, hung, delay, ledgers: Default::default(), seen: Seen::default() }
    }

    /// Opens the books of a phase; those that are open already stay.
    pub fn open(&self, phase: Phase, ledger: Ledger) -> Arc<Ledger> {
        self.ledgers[phase.index()].get_or_init(|| Arc::new(ledger)).clone()
    }

    /// The open books.
    pub fn ledgers(&self) -> impl Iterator<Item = &Arc<Ledger>> {
        self.ledgers.iter().filter_map(OnceLock::get)
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Empty<Bytes>> {
        let endpoint = request.uri().path().strip_prefix(PATH).and_then(|number| number.parse().ok());
        let hangs = endpoint.map_or(request.uri().path() == DEAD, |endpoint: u32| endpoint < self.hung);
        let has_key = request.headers().contains_key(IDEMPOTENCY_KEY);
        let Some(body) = read(request.into_body()).await else {
            self.seen.wrong.fetch_add(1, Ordering::Relaxed);
            return Response::new(Empty::new());
        };
        let phase = self.arrive(endpoint, &body, hangs);
        if !has_key && phase.is_some_and(|phase| phase != Phase::Direct) {
            self.seen.without_key.fetch_add(1, Ordering::Relaxed);
        }
        if hangs && phase != Some(Phase::Direct) {
            return std::future::pending().await;
        }
        if !self.delay.is_zero() {
            tokio::time::sleep(self.delay).await;
        }
        Response::new(Empty::new())
    }

    /// Notes a request in the books of its phase.
    fn arrive(&self, endpoint: Option<u32>, body: &[u8], hangs: bool) -> Option<Phase> {
        let read = self.template.read(body);
        let ledger = read.and_then(|(phase, _)| self.ledgers[phase.index()].get());
        let (Some((phase, number)), Some(ledger)) = (read, ledger) else {
            self.seen.wrong.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        if hangs && phase != Phase::Direct {
            self.seen.hung.fetch_add(1, Ordering::Relaxed);
            return Some(phase);
        }
        let slot = if phase == Phase::Direct { Some(0) } else { endpoint.and_then(|e| ledger.shape().slot(number, e)) };
        if ledger.arrive(number, slot, ledger.now()) == Arrival::Unknown {
            self.seen.wrong.fetch_add(1, Ordering::Relaxed);
        }
        Some(phase)
    }
}

/// The whole body without a copy where it came in one piece; `None` if it broke off.
async fn read(mut body: Incoming) -> Option<Bytes> {
    let mut whole = Bytes::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame.ok()?.into_data() else { continue };
        whole = if whole.is_empty() { data } else { [&whole[..], &data].concat().into() };
    }
    Some(whole)
}

/// The running receiver; dropping it ends its thread.
#[derive(Debug)]
pub struct Receiver {
    addresses: Vec<SocketAddr>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Receiver {
    /// Binds a port for each endpoint (some share one if there are many) and begins to receive.
    pub fn start(sink: Arc<Sink>, endpoints: u32) -> Result<Self, CommandError> {
        let failed = |error| CommandError::new("cannot start the receiver", error);
        let (stop, stopped) = oneshot::channel::<()>();
        let (bound, addresses) = mpsc::channel();
        let work = move || {
            let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
                Ok(runtime) => runtime,
                Err(error) => return drop(bound.send(Err(error))),
            };
            runtime.block_on(async {
                // Nobody waits for the addresses any more only if the command has ended.
                let _ = bound.send(listen(&sink, endpoints.clamp(1, MAX_PORTS)).await);
                // The other end is dropped to stop.
                let _ = stopped.await;
            });
            runtime.shutdown_background();
        };
        let thread = std::thread::Builder::new().name("receiver".into()).spawn(work).map_err(failed)?;
        let addresses = addresses.recv().map_err(|_| CommandError(String::from("the receiver ended at its start")))?;
        Ok(Receiver { addresses: addresses.map_err(failed)?, stop: Some(stop), thread: Some(thread) })
    }

    /// Where the receiver listens.
    pub fn addresses(&self) -> &[SocketAddr] {
        &self.addresses
    }

    /// The target of an endpoint.
    pub fn url(&self, endpoint: u32) -> String {
        format!("http://{}{PATH}{endpoint}", self.addresses[endpoint as usize % self.addresses.len()])
    }

    /// A target that never answers.
    pub fn dead_url(&self) -> String {
        format!("http://{}{DEAD}", self.addresses[0])
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.stop.take());
        if let Some(thread) = self.thread.take() {
            // A panic there has printed its message already.
            let _ = thread.join();
        }
    }
}

/// Binds so many free ports and begins to accept on them.
async fn listen(sink: &Arc<Sink>, ports: u32) -> io::Result<Vec<SocketAddr>> {
    let mut addresses = Vec::new();
    for _ in 0..ports {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        addresses.push(listener.local_addr()?);
        tokio::spawn(accept(listener, sink.clone()));
    }
    Ok(addresses)
}

async fn accept(listener: TcpListener, sink: Arc<Sink>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                tokio::spawn(serve(stream, sink.clone()));
            }
            // File descriptors have run out: some connection will end.
            Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
        }
    }
}

async fn serve(stream: TcpStream, sink: Arc<Sink>) {
    // Without it answers are only slower.
    let _ = stream.set_nodelay(true);
    let service = service_fn(move |request| {
        let sink = sink.clone();
        async move { Ok::<_, Infallible>(sink.handle(request).await) }
    });
    // The sender decides when a connection ends; what is lost is seen in the books.
    let _ = http1::Builder::new().auto_date_header(false).serve_connection(TokioIo::new(stream), service).await;
}
