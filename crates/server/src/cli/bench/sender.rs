//! The generator: connections that each send one request after the other.

use super::lane::{Lane, Speaks};
use super::ledger::Ledger;
use super::pace::Pace;
use super::payload::{Phase, Template};
use crate::cli::CommandError;
use bytes::Bytes;
use http::{HeaderMap, Method, Request, StatusCode, Uri};
use http_body_util::Full;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long a connection waits after the server asked for patience (429, 503) before it offers the event again.
const REFUSED_PAUSE: Duration = Duration::from_millis(10);
/// How long a connection waits before it connects again.
const CONNECT_PAUSE: Duration = Duration::from_millis(100);
/// After so many failed connects in a row the server is taken for gone.
const MAX_FAILED_CONNECTS: u32 = 50;

/// How much of an unexpected answer is shown.
const SHOWN_ANSWER_BYTES: usize = 300;

/// The requests of one group.
#[derive(Clone, Debug)]
pub struct Route {
    /// Path of the request.
    pub uri: Uri,
    /// Its body.
    pub template: Template,
}

/// What one phase sends.
#[derive(Debug)]
pub struct Load {
    /// Which phase it is.
    pub phase: Phase,
    /// Where to connect; connections are spread over them.
    pub addresses: Vec<SocketAddr>,
    /// How many connections.
    pub connections: u32,
    /// What they speak.
    pub speaks: Speaks,
    /// One route for each group.
    pub routes: Vec<Route>,
    /// The headers of every request.
    pub headers: HeaderMap,
    /// The status that means accepted.
    pub expected: StatusCode,
    /// Whether a refused event is offered again; on a fixed grid it is not.
    pub insist: bool,
    /// When.
    pub pace: Pace,
    /// The books.
    pub ledger: Arc<Ledger>,
    /// What went wrong.
    pub trouble: Arc<Mutex<Trouble>>,
}

/// What went wrong on the way to the server.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Trouble {
    /// Answers other than the expected one, by status.
    pub answers: BTreeMap<u16, u64>,
    /// The beginning of the first of them.
    pub example: Option<String>,
    /// Exchanges that broke off; whether their event was accepted is unknown.
    pub broken: u64,
    /// The latest reason of one.
    pub reason: Option<String>,
}

impl Trouble {
    fn refused(&mut self, status: StatusCode, body: &[u8]) {
        *self.answers.entry(status.as_u16()).or_default() += 1;
        self.example.get_or_insert_with(|| {
            let text = String::from_utf8_lossy(&body[..body.len().min(SHOWN_ANSWER_BYTES)]);
            text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
        });
    }
}

impl Load {
    /// Sends everything; ends when the last answer is in.
    pub async fn run(self) -> Result<(), CommandError> {
        let load = Arc::new(self);
        let mut connections = JoinSet::new();
        for n in 0..load.connections {
            let address = load.addresses[n as usize % load.addresses.len()];
            connections.spawn(load.clone().work(address));
        }
        while let Some(ended) = connections.join_next().await {
            ended.map_err(|error| CommandError::new("a connection of the generator failed", error))??;
        }
        Ok(())
    }

    async fn work(self: Arc<Self>, address: SocketAddr) -> Result<(), CommandError> {
        let mut lane = connect(address, self.speaks).await?;
        while let Some((event, due)) = self.pace.next().await {
            let due = due.map(|due| self.ledger.at(due));
            let mut unsent = 0;
            loop {
                if lane.ready().await.is_err() {
                    lane = connect(address, self.speaks).await?;
                }
                self.ledger.send(event, due.unwrap_or_else(|| self.ledger.now()));
                match lane.exchange(self.request(event)).await {
                    Ok((status, _)) if status == self.expected => self.ledger.accept(event, self.ledger.now()),
                    Ok((status, text)) => {
                        self.trouble.lock().refused(status, &text);
                        if self.insist && matches!(status, StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE) {
                            tokio::time::sleep(REFUSED_PAUSE).await;
                            continue;
                        }
                    }
                    // The connection was closed while idle: nothing has been sent.
                    Err(error) if error.is_canceled() && unsent < MAX_FAILED_CONNECTS => {
                        unsent += 1;
                        lane = connect(address, self.speaks).await?;
                        continue;
                    }
                    Err(error) => {
                        let mut trouble = self.trouble.lock();
                        trouble.broken += 1;
                        trouble.reason = Some(error.to_string());
                    }
                }
                break;
            }
        }
        Ok(())
    }

    fn request(&self, event: u64) -> Request<Full<Bytes>> {
        let route = &self.routes[self.ledger.shape().group_of(event) as usize % self.routes.len()];
        let mut request = Request::new(Full::new(route.template.make(self.phase, event)));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = route.uri.clone();
        *request.headers_mut() = self.headers.clone();
        request
    }
}

/// Connects, again and again for a while: the server may be busy accepting others.
async fn connect(address: SocketAddr, speaks: Speaks) -> Result<Lane, CommandError> {
    let mut failures = 0;
    loop {
        match Lane::open(address, speaks).await {
            Ok(lane) => return Ok(lane),
            Err(error) if failures >= MAX_FAILED_CONNECTS => {
                return Err(error);
            }
            Err(_) => failures += 1,
        }
        tokio::time::sleep(CONNECT_PAUSE).await;
    }
}
