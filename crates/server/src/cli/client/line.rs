//! Connections to a server.

use super::CallError;
use super::place::Place;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use postrider_outbound::ClientTls;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

/// How long a connection may take to be made.
const CONNECT: Duration = Duration::from_secs(10);

/// How long a connection may lie unused before it is not trusted any more: servers and what stands before them close them after a minute or more.
const IDLE: Duration = Duration::from_secs(30);

/// Most connections that are kept.
const KEPT: usize = 64;

/// A connection, for one call at a time.
pub(super) type Line = SendRequest<Full<Bytes>>;

/// The connections to a server that are kept, and what makes new ones.
pub(super) struct Lines {
    /// For an `https` URL.
    tls: Option<ClientTls>,
    /// Those that nobody uses, with when they were put here.
    unused: Mutex<Vec<(Line, Instant)>>,
}

impl Lines {
    /// Touches no network.
    pub(super) fn new(place: &Place) -> Result<Self, CallError> {
        let tls = place.https.then(|| ClientTls::new(&[])).transpose();
        let tls = tls.map_err(|error| CallError::given(error.to_string()))?;
        Ok(Lines { tls, unused: Mutex::default() })
    }

    /// One that is kept and still open.
    pub(super) async fn kept(&self) -> Option<Line> {
        loop {
            let (mut line, since) = self.unused.lock().pop()?;
            if since.elapsed() < IDLE && line.ready().await.is_ok() {
                return Some(line);
            }
        }
    }

    /// Keeps one for the next call. Its answer has been read to the end.
    pub(super) fn keep(&self, line: Line) {
        let mut unused = self.unused.lock();
        unused.retain(|(line, since)| since.elapsed() < IDLE && !line.is_closed());
        if unused.len() < KEPT && !line.is_closed() {
            unused.push((line, Instant::now()));
        }
    }

    /// A new one.
    pub(super) async fn open(&self, place: &Place) -> Result<Line, CallError> {
        let opening = timeout(CONNECT, self.dial(place)).await;
        opening.map_err(|_| CallError::unreachable(&place.url, format_args!("nobody answered within {} s", CONNECT.as_secs())))?
    }

    async fn dial(&self, place: &Place) -> Result<Line, CallError> {
        let failed = |error: &dyn std::fmt::Display| CallError::unreachable(&place.url, error);
        // All addresses of a name are tried, one after the other.
        let stream = TcpStream::connect((place.host.as_str(), place.port)).await.map_err(|error| failed(&reason(&error)))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        match &self.tls {
            None => shake_hands(stream).await,
            Some(tls) => shake_hands(tls.secure(&place.host, stream).await.map_err(|fault| failed(&fault))?).await,
        }
        .map_err(|error| failed(&error))
    }
}

async fn shake_hands<S>(stream: S) -> hyper::Result<Line>
where
    S: tokio::io::AsyncRead + tokio::io::AsyncWrite + Send + Unpin + 'static,
{
    let (line, connection) = http1::handshake(TokioIo::new(stream)).await?;
    // Its end shows at the line.
    tokio::spawn(async move { connection.await.unwrap_or_default() });
    Ok(line)
}

/// What people are told of the usual causes, without the number that the system has for it.
fn reason(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => String::from("connection refused"),
        io::ErrorKind::TimedOut => String::from("the network gave up connecting"),
        io::ErrorKind::HostUnreachable => String::from("host unreachable"),
        io::ErrorKind::NetworkUnreachable => String::from("network unreachable"),
        _ => error.to_string(),
    }
}
