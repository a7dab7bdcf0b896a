//! The listener: accepts connections, bounds their number, and lets them end in good order.

use super::activity::{Activity, Patience, Watched};
use super::service::Service;
use super::{App, MAX_HEAD_BYTES, MAX_HEADERS};
use axum::Router;
use futures_util::future::join_all;
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
        let most = u32::try_from(limits.connections).unwrap_or(u32::MAX);
        Server {
            app,
            router,
            patience: Patience { head: limits.head, idle: limits.idle },
            http: protocols(),
            permits: Arc::new(Semaphore::new(most as usize)),
            most,
        }
    }

    /// Accepts at all listeners until `stop` turns true, then closes them and waits until every request was answered, at most `within`.
    /// Answers whether all of them were.
    pub async fn run(self, listeners: Vec<TcpListener>, mut stop: watch::Receiver<bool>, within: Duration) -> bool {
        let accepting = listeners.into_iter().map(|listener| self.accept(listener, stop.clone()));
        let accepting = join_all(accepting.collect::<Vec<_>>());
        tokio::select! {
            _ = accepting => {}
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
                    () = activity.only_streams(), if stopping => {
                        tracing::debug!("closed a connection whose client did not read the end of a stream");
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

/// HTTP/1.1 and HTTP/2 with their bounds.
fn protocols() -> auto::Builder<TokioExecutor> {
    let mut http = auto::Builder::new(TokioExecutor::new());
    // Its own limit for heads runs while a connection is idle too, and costs a timer per request; `Activity` bounds both for nothing.
    http.http1().header_read_timeout(None).max_buf_size(MAX_HEAD_BYTES).max_headers(MAX_HEADERS);
    http.http2()
        .timer(TokioTimer::new())
        .max_concurrent_streams(HTTP2_STREAMS)
        .max_header_list_size(MAX_HEAD_BYTES as u32)
        .adaptive_window(false);
    http
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

#[cfg(test)]
mod tests {
    use super::*;
    use axum::body::Body;
    use http::{Request, Response};
    use std::convert::Infallible;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    /// Only [`Activity`] closes an idle connection: what the HTTP library brings along must not do so before.
    #[tokio::test(start_paused = true)]
    async fn an_idle_connection_is_kept_as_long_as_its_own_limit_says() {
        let (mut client, server) = tokio::io::duplex(4_096);
        let answer = |_: Request<hyper::body::Incoming>| async { Ok::<_, Infallible>(Response::new(Body::empty())) };
        let serving = tokio::spawn(async move {
            let service = hyper::service::service_fn(answer);
            let served = protocols().serve_connection(TokioIo::new(server), service).await;
            assert!(served.is_ok(), "{served:?}");
        });
        for idle in [Duration::from_secs(74), Duration::from_secs(600)] {
            client.write_all(b"GET / HTTP/1.1\r\nhost: x\r\n\r\n").await.expect("it is open");
            let mut status = [0; 12];
            client.read_exact(&mut status).await.expect("an answer");
            assert_eq!(&status, b"HTTP/1.1 200");
            let mut rest = Vec::new();
            let closed = tokio::time::timeout(idle, client.read_to_end(&mut rest)).await;
            assert!(closed.is_err(), "it was closed within {idle:?}");
        }
        drop(client);
        serving.await.expect("a clean end");
    }
}
