//! Watches what a connection does, so that one that does nothing can be closed.
//!
//! Nothing here costs a timer per request: reads and requests leave a time behind, and one sleeping watcher per connection looks at it
//! now and then. It sees what the HTTP library's own timeout does not: a client that connects and never says anything at all.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

/// How long a connection with an answer that goes on may be idle at least: such answers say something at least once a minute, whatever the limit
/// for other connections is.
const STREAM_IDLE: Duration = Duration::from_secs(120);

/// How long answers that go on may take to come to their end once the server stops.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// What an HTTP/2 connection begins with.
const HTTP2_PREFACE: &[u8] = b"PRI ";

/// How long what may take.
#[derive(Clone, Copy, Debug)]
pub(super) struct Patience {
    /// The head of a request, from its first byte.
    pub(super) head: Duration,
    /// A connection without a request, and a response that the client does not read.
    pub(super) idle: Duration,
}

/// What a connection did last. Times are milliseconds since it began.
#[derive(Debug)]
pub(super) struct Activity {
    began: Instant,
    /// Requests that are being answered.
    requests: AtomicU32,
    /// Answers that go on after their head was written.
    streams: AtomicU32,
    /// When a byte last went either way.
    last: AtomicU64,
    /// When the first byte of the request head came that is not complete yet; 0 if there is none.
    head_since: AtomicU64,
    /// Whether bytes between requests mean nothing, as in HTTP/2.
    multiplexed: AtomicBool,
}

impl Activity {
    pub(super) fn new() -> Arc<Self> {
        Arc::new(Activity {
            began: Instant::now(),
            requests: AtomicU32::new(0),
            streams: AtomicU32::new(0),
            last: AtomicU64::new(0),
            // The first head is waited for from the beginning.
            head_since: AtomicU64::new(1),
            multiplexed: AtomicBool::new(false),
        })
    }

    /// Never 0, which means "none".
    fn now(&self) -> u64 {
        u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX).max(1)
    }

    fn read(&self, bytes: &[u8]) {
        let now = self.now();
        if self.last.swap(now, Ordering::Relaxed) == 0 && bytes.starts_with(HTTP2_PREFACE) {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        if self.requests.load(Ordering::Relaxed) == 0 && self.head_since.load(Ordering::Relaxed) == 0 {
            self.head_since.store(now, Ordering::Relaxed);
        }
    }

    fn wrote(&self) {
        self.last.store(self.now(), Ordering::Relaxed);
    }

    /// A request's head is complete. It is being answered until what this returns is dropped. `multiplexed` is whether it came over HTTP/2.
    pub(super) fn request(self: &Arc<Self>, multiplexed: bool) -> InRequest {
        // The preface may have come in pieces too small to be told from the beginning of another request.
        if multiplexed {
            self.multiplexed.store(true, Ordering::Relaxed);
        }
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.head_since.store(0, Ordering::Relaxed);
        InRequest(Arc::clone(self))
    }

    /// How long the connection may still go on like this: `None` if it must be closed now.
    fn grace(&self, patience: Patience) -> Option<Duration> {
        let now = self.now();
        if self.requests.load(Ordering::Relaxed) > 0 {
            // Whoever answers it has limits of its own.
            return Some(patience.head.min(patience.idle));
        }
        let millis = |d: Duration| u64::try_from(d.as_millis()).unwrap_or(u64::MAX);
        let streams = self.streams.load(Ordering::Relaxed) > 0;
        let idle = if streams { patience.idle.max(STREAM_IDLE) } else { patience.idle };
        let idle_until = self.last.load(Ordering::Relaxed).saturating_add(millis(idle));
        let head_since = self.head_since.load(Ordering::Relaxed);
        let until = match head_since {
            0 => idle_until,
            _ if streams || self.multiplexed.load(Ordering::Relaxed) => idle_until,
            since => idle_until.min(since.saturating_add(millis(patience.head))),
        };
        // While it is idle a new head may begin at any time, so it is looked at at least that often.
        let next = until.min(now.saturating_add(millis(patience.head)));
        (until > now).then(|| Duration::from_millis(next.saturating_sub(now).max(1)))
    }

    /// Ends when the connection has done nothing for too long.
    pub(super) async fn given_up(&self, patience: Patience) {
        while let Some(grace) = self.grace(patience) {
            tokio::time::sleep(grace).await;
        }
    }

    /// Ends when nothing but answers that go on is left of a connection of a server that stops. They have been told, so that they have ended
    /// unless their client does not read.
    pub(super) async fn only_streams(&self) {
        loop {
            tokio::time::sleep(LAST_WORDS).await;
            if self.requests.load(Ordering::Relaxed) == 0 && self.streams.load(Ordering::Relaxed) > 0 {
                return;
            }
        }
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct InRequest(Arc<Activity>);

impl InRequest {
    /// Its answer goes on when its head has been written, until what this returns is dropped.
    pub(super) fn goes_on(&self) -> InStream {
        self.0.streams.fetch_add(1, Ordering::Relaxed);
        InStream(Arc::clone(&self.0))
    }
}

/// An answer that goes on.
#[derive(Debug)]
pub(super) struct InStream(Arc<Activity>);

impl Drop for InStream {
    fn drop(&mut self) {
        self.0.wrote();
        // What came meanwhile is read from now on.
        if self.0.head_since.load(Ordering::Relaxed) != 0 {
            self.0.head_since.store(self.0.now(), Ordering::Relaxed);
        }
        self.0.streams.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Drop for InRequest {
    fn drop(&mut self) {
        self.0.wrote();
        self.0.requests.fetch_sub(1, Ordering::Relaxed);
    }
}

/// A stream that leaves its traces in an [`Activity`].
#[derive(Debug)]
pub(super) struct Watched<S> {
    stream: S,
    activity: Arc<Activity>,
}

impl<S> Watched<S> {
    pub(super) fn new(stream: S, activity: Arc<Activity>) -> Self {
        Watched { stream, activity }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let poll = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read(&buf.filled()[before..]);
        }
        poll
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write(cx, buf);
        if poll.is_ready() {
            self.activity.wrote();
        }
        poll
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bufs: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let poll = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        if poll.is_ready() {
            self.activity.wrote();
        }
        poll
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PATIENCE: Patience = Patience { head: Duration::from_secs(10), idle: Duration::from_secs(75) };

    async fn gives_up_after(activity: &Activity) -> u64 {
        let begin = Instant::now();
        activity.given_up(PATIENCE).await;
        begin.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn silence_from_the_beginning_and_half_a_head_end_after_the_head_time() {
        assert_eq!(gives_up_after(&Activity::new()).await, 10);
        let activity = Activity::new();
        drop(activity.request(false));
        activity.read(b"GET ");
        assert_eq!(gives_up_after(&activity).await, 10);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_a_head_does_not_help() {
        let activity = Activity::new();
        let drip = async {
            loop {
                tokio::time::sleep(Duration::from_secs(1)).await;
                activity.read(b"x");
            }
        };
        tokio::select! {
            () = drip => unreachable!("it never ends"),
            secs = gives_up_after(&activity) => assert_eq!(secs, 10),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn between_requests_the_idle_time_counts() {
        let activity = Activity::new();
        drop(activity.request(false));
        assert_eq!(gives_up_after(&activity).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_is_never_cut_and_pings_keep_http2_alive() {
        let activity = Activity::new();
        activity.read(b"P");
        activity.read(b"RI * HTTP/2.0\r\n");
        let request = activity.request(true);
        assert!(tokio::time::timeout(Duration::from_secs(1_000), activity.given_up(PATIENCE)).await.is_err());
        drop(request);
        tokio::time::sleep(Duration::from_secs(60)).await;
        activity.read(b"a ping");
        assert_eq!(gives_up_after(&activity).await, 75);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_goes_on_is_kept_while_it_says_something() {
        let patience = Patience { head: Duration::from_millis(100), idle: Duration::from_millis(100) };
        let activity = Activity::new();
        let request = activity.request(false);
        let stream = request.goes_on();
        drop(request);
        let begun = Instant::now();
        let talk = async {
            for _ in 0..10 {
                tokio::time::sleep(Duration::from_secs(60)).await;
                activity.wrote();
                activity.read(b"the next request, which is not read yet");
            }
            std::future::pending::<()>().await;
        };
        tokio::select! {
            () = talk => unreachable!("it never ends"),
            () = activity.given_up(patience) => assert_eq!(begun.elapsed().as_secs(), 600 + 120),
        }
        drop(stream);
        activity.given_up(patience).await;
        assert_eq!(begun.elapsed().as_secs(), 600 + 120, "then the limits are those of others");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_waits_for_requests_and_a_moment_for_the_ends_of_streams() {
        let activity = Activity::new();
        let (request, other) = (activity.request(true), activity.request(true));
        let stream = request.goes_on();
        drop(request);
        assert!(tokio::time::timeout(Duration::from_secs(100), activity.only_streams()).await.is_err(), "a request is being answered");
        drop(other);
        let begun = Instant::now();
        activity.only_streams().await;
        assert_eq!(begun.elapsed().as_secs(), 1);
        drop(stream);
        assert!(tokio::time::timeout(Duration::from_secs(100), activity.only_streams()).await.is_err(), "nothing is cut off but streams");
    }
}
