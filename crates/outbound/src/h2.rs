//! The HTTP/2 connection that the lanes of a target share.

use crate::connector::Stream;
use crate::h1::MAX_HEAD_BYTES;
use bytes::Bytes;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper_util::rt::{TokioExecutor, TokioIo};
use parking_lot::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::MutexGuard;
use tokio::time::{Instant, timeout};

/// How much of one response body the receiver may send ahead of us, in bytes.
const STREAM_WINDOW: u32 = 64 * 1024;
/// The same for all responses on a connection together: it bounds what a hostile receiver can make us hold.
const CONNECTION_WINDOW: u32 = 1024 * 1024;

/// How long a lane waits for another lane's handshake before it makes its own: one lost packet must not stop them all.
const DIAL_PATIENCE: Duration = Duration::from_secs(1);

/// The sending side of a shared connection. Its driver runs as a task, for no lane is sure to be polled while others need it.
#[derive(Clone)]
pub(crate) struct H2 {
    pub(crate) sender: SendRequest<Full<Bytes>>,
    id: u64,
}

/// Where a target's HTTP/2 connection is kept.
#[derive(Default)]
pub(crate) struct Slot {
    state: Mutex<State>,
    dialling: tokio::sync::Mutex<()>,
    /// Whether the receiver is known to choose HTTP/1.1; then nobody waits for anybody's handshake.
    chooses_h1: AtomicBool,
}

#[derive(Default)]
struct State {
    shared: Option<(H2, Instant)>,
    last_id: u64,
}

impl Slot {
    /// The connection, if there is one that takes requests and was used at most `idle_timeout` before `now`.
    pub(crate) fn get(&self, now: Instant, idle_timeout: Duration) -> Option<H2> {
        let mut state = self.state.lock();
        let (shared, used) = state.shared.as_mut()?;
        if shared.sender.is_ready() && now.saturating_duration_since(*used) <= idle_timeout {
            *used = now.max(*used);
            return Some(shared.clone());
        }
        state.shared = None;
        None
    }

    /// Takes one connection in; if another lane was faster, that one's is answered and this one closed.
    pub(crate) fn put(&self, sender: SendRequest<Full<Bytes>>, now: Instant) -> H2 {
        let mut state = self.state.lock();
        if let Some((shared, used)) = &mut state.shared
            && shared.sender.is_ready()
        {
            *used = now;
            return shared.clone();
        }
        state.last_id += 1;
        let shared = H2 { sender, id: state.last_id };
        state.shared = Some((shared.clone(), now));
        shared
    }

    /// Gives a connection up, if it is still the shared one. Exchanges on it run on.
    pub(crate) fn discard(&self, connection: &H2) {
        let mut state = self.state.lock();
        if state.shared.as_ref().is_some_and(|(shared, _)| shared.id == connection.id) {
            state.shared = None;
        }
    }

    /// Waits while another lane is connecting, for its connection may serve this one too.
    pub(crate) async fn turn(&self) -> Option<MutexGuard<'_, ()>> {
        if self.chooses_h1.load(Ordering::Relaxed) {
            return None;
        }
        timeout(DIAL_PATIENCE, self.dialling.lock()).await.ok()
    }

    /// Notes that the receiver chose HTTP/1.1.
    pub(crate) fn chooses_h1(&self) {
        self.chooses_h1.store(true, Ordering::Relaxed);
    }
}

/// Starts HTTP/2 on a connection.
pub(crate) async fn start(stream: Stream) -> hyper::Result<SendRequest<Full<Bytes>>> {
    let (sender, connection) = Builder::new(TokioExecutor::new())
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_header_list_size(u32::try_from(MAX_HEAD_BYTES).unwrap_or(u32::MAX))
        .handshake(TokioIo::new(stream))
        .await?;
    tokio::spawn(async move {
        if let Err(error) = connection.await {
            tracing::debug!(%error, "an HTTP/2 connection ended");
        }
    });
    Ok(sender)
}
