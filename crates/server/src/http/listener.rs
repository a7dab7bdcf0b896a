//! The listener: accepts connections, bounds their number, and lets them end in good order.

use super::activity::{Activity, Patience, Watched};
use super::service::Service;
use super::{App, MAX_HEAD_BYTES, MAX_HEADERS};
use axum::Router;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};

/// How long to wait after the operating system refused to accept (no file descriptors left, mostly).
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Requests that one HTTP/2 connection may have under way.
const HTTP2_STREAMS: u32 = 256;

/// Accepts connections until it is told to stop.
#[derive(Debug)]
pub struct Server {
    app: Arc<App>,
    router: Router,
    patience: Patience,
    http: auto::Builder<TokioExecutor>,
    permits: Arc<Semaphore>,
    most: u32,
}

impl Server {
    /// For an application and the router of everything that is not its hot path.
    pub fn new(app: Arc<App>, router: Router, limits: Limits) -> Self {
        let mut http = auto::Builder::new(TokioExecutor::new());
        http.http1().timer(TokioTimer::new()).max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
        http.http2()
            .timer(TokioTimer::new())
            .max_concurrent_streams(HTTP2_STREAMS)
            .max_header_list_size(MAX_HEAD_BYTES as u32)
            .adaptive_window(false);
        let most = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        Server {
            app,
            router,
            patience: Patience { head: limits.head, idle: limits.idle },
            http,
            permits: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    /// Accepts until `stop` turns true, then closes the listener and waits until every request was answered, at most `within`.
    /// Answers whether all of them were.
    pub async fn run(self, listener: TcpListener, mut stop: watch::Receiver<bool>, within: Duration) -> bool {
        let stopped = stop.clone();
        let accepting = self.accept(listener, stopped);
        tokio::select! {
            () = accepting => {}
            _ = stop.wait_for(|stop| *stop) => {}
        }
        tokio::time::timeout(within, self.permits.acquire_many(self.most)).await.is_ok()
    }

    /// Dropping this closes the listener.
    async fn accept(&self, listener: TcpListener, stop: watch::Receiver<bool>) {
        loop {
            // At the limit nothing is accepted: connections wait in the backlog of the operating system.
            let Ok(permit) = Arc::clone(&self.permits).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, _)) => self.serve(stream, permit, stop.clone()),
                Err(error) if is_of_one_connection(&error) => {}
                Err(error) => {
                    tracing::warn!(%error, "cannot accept connections at the moment");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    fn serve(&self, stream: TcpStream, permit: OwnedSemaphorePermit, mut stop: watch::Receiver<bool>) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection was gone before it was served");
            return;
        }
        let activity = Activity::new();
        let service = Service::new(Arc::clone(&self.app), self.router.clone(), Arc::clone(&activity));
        let stream = TokioIo::new(Watched::new(stream, Arc::clone(&activity)));
        let (http, patience) = (self.http.clone(), self.patience);
        tokio::spawn(async move {
            let mut connection = pin!(http.serve_connection(stream, service));
            let mut stopping = false;
            loop {
                tokio::select! {
                    biased;
                    ended = connection.as_mut() => {
                        if let Err(error) = ended {
                            tracing::debug!(error = %error, "a connection broke");
                        }
                        break;
                    }
                    () = activity.given_up(patience) => {
                        tracing::debug!("closed a connection that did nothing");
                        break;
                    }
                    _ = stop.wait_for(|stop| *stop), if !stopping => {
                        stopping = true;
                        connection.as_mut().graceful_shutdown();
                    }
                }
            }
            drop(permit);
        });
    }
}

/// Bounds of a [`Server`].
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Connections at the same time.
    pub connections: usize,
    /// How long a request's head may take.
    pub head: Duration,
    /// How long a connection may be idle.
    pub idle: Duration,
}

/// Errors of `accept` that are about the connection that was to be accepted, and not about accepting.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionRefused | io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}
