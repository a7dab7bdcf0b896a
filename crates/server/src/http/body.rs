//! Reading request bodies: bounded in size, in time, and in what all of them together hold.

use super::Problem;
use axum::response::Response;
use bytes::{Bytes, BytesMut};
use http::header::{CONNECTION, CONTENT_LENGTH, HeaderValue};
use http::{HeaderMap, StatusCode, Version};
use http_body::{Body, Frame};
use http_body_util::BodyExt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout, timeout_at};

/// What bodies that are still arriving may hold together, in KiB. A buffer grows by doubling, so that twice as much may be in use.
const ROOM_KIB: usize = 128 << 10;

/// How slow a body may be on the whole, in bytes a second: without that a byte now and then would keep a request open for ever.
const SLOWEST: u64 = 16 << 10;

/// How long the rest of a refused body is waited for.
const MAX_DRAIN: Duration = Duration::from_secs(1);

/// Bounds of bodies, and the room that those have which are still arriving.
#[derive(Debug)]
pub struct Bodies {
    /// Largest body, in bytes.
    limit: usize,
    /// Longest pause between two pieces.
    pause: Duration,
    /// What all bodies that are still arriving share, whatever their bounds.
    room: Arc<Semaphore>,
}

impl Bodies {
    /// For bodies of at most `limit` bytes whose pieces come at most `pause` apart.
    pub fn new(limit: usize, pause: Duration) -> Self {
        Bodies { limit, pause, room: Arc::new(Semaphore::new(ROOM_KIB)) }
    }

    /// The largest body, in bytes.
    pub fn limit(&self) -> usize {
        self.limit
    }

    /// The same with another limit, in the same room.
    pub fn up_to(&self, limit: usize) -> Self {
        Bodies { limit, pause: self.pause, room: Arc::clone(&self.room) }
    }

    /// Reads a whole body. It may take the pause and a second for each 16 KiB of its length (of the limit, where none is announced).
    ///
    /// The answer owns its memory: a piece as the connection hands it out would keep the connection's whole buffer alive.
    /// 413 where it is too large, 408 where it does not arrive in time, 503 where too much of others' is arriving.
    pub async fn read<B>(&self, headers: &HeaderMap, body: B) -> Result<Bytes, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let announced = announced(headers);
        if announced.is_some_and(|length| length > self.limit as u64) {
            return Err(Problem::too_large(self.limit));
        }
        let mut body = pin!(body);
        let mut gathered = Gathered { bytes: BytesMut::new(), room: None, of: &self.room };
        let mut deadline = None;
        loop {
            let Some(frame) = self.next(body.as_mut(), announced, &mut deadline).await? else { break };
            let Ok(piece) = frame.into_data() else { continue };
            if gathered.bytes.len() + piece.len() > self.limit {
                return Err(Problem::too_large(self.limit));
            }
            // Most bodies come in one piece, and cost neither a timer nor the counting of room.
            if gathered.bytes.is_empty() && body.is_end_stream() {
                return Ok(Bytes::copy_from_slice(&piece));
            }
            gathered.add(&piece)?;
        }
        Ok(gathered.bytes.freeze())
    }

    /// An answer to a request whose body was perhaps not read to its end.
    ///
    /// Over HTTP/1 a connection that is closed with bytes unread is reset, and a client that is still sending may never see why: so some
    /// of the rest is taken and dropped first, twice the limit at most and for a second at most. `expects` is whether the client waits to
    /// be asked for the body; then it has sent nothing.
    pub async fn leave<B>(&self, version: Version, expects: bool, body: Pin<&mut B>, mut response: Response) -> Response
    where
        B: Body<Data = Bytes>,
    {
        if version >= Version::HTTP_2 || body.is_end_stream() {
            return response;
        }
        if expects || !matches!(timeout(MAX_DRAIN, drain(body, 2 * self.limit)).await, Ok(true)) {
            response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }

    /// The next piece. The deadline of the whole body is set when it is waited for the first time.
    async fn next<B>(
        &self,
        mut body: Pin<&mut B>,
        announced: Option<u64>,
        deadline: &mut Option<Instant>,
    ) -> Result<Option<Frame<Bytes>>, Problem>
    where
        B: Body<Data = Bytes>,
        B::Error: std::fmt::Display,
    {
        let ready = poll_fn(|cx| Poll::Ready(body.as_mut().poll_frame(cx))).await;
        let frame = match ready {
            Poll::Ready(frame) => frame,
            Poll::Pending => {
                let now = Instant::now();
                let length = announced.unwrap_or(self.limit as u64);
                let whole = *deadline.get_or_insert_with(|| now + self.pause + Duration::from_secs(length / SLOWEST));
                let late = |_| Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not arrive in time");
                timeout_at(whole.min(now + self.pause), body.frame()).await.map_err(late)?
            }
        };
        frame.transpose().map_err(|e| Problem::bad_request(format!("the request body could not be read: {e}")))
    }
}

/// Drops the rest of a body; whether it came to its end within so many bytes.
async fn drain<B: Body<Data = Bytes>>(mut body: Pin<&mut B>, most: usize) -> bool {
    let mut dropped = 0;
    while let Some(frame) = body.frame().await {
        let Ok(frame) = frame else { return false };
        dropped += frame.data_ref().map_or(0, Bytes::len);
        if dropped > most {
            return false;
        }
    }
    true
}

/// What has come of a body, with the room it takes.
struct Gathered<'a> {
    bytes: BytesMut,
    room: Option<SemaphorePermit<'a>>,
    of: &'a Semaphore,
}

impl Gathered<'_> {
    fn add(&mut self, piece: &[u8]) -> Result<(), Problem> {
        let held = self.room.as_ref().map_or(0, SemaphorePermit::num_permits);
        let needed = (self.bytes.len() + piece.len()).div_ceil(1 << 10);
        if needed > held {
            let more = u32::try_from(needed - held).unwrap_or(u32::MAX);
            let more = self
                .of
                .try_acquire_many(more)
                .map_err(|_| Problem::unavailable("the server is receiving more than it can hold: try again in a moment"))?;
            match &mut self.room {
                Some(room) => room.merge(more),
                None => self.room = Some(more),
            }
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// Whether the body is JSON by its `Content-Type`; a body without one is taken for JSON.
pub fn is_json(headers: &HeaderMap) -> bool {
    media_type(headers).is_none_or(|media| media.eq_ignore_ascii_case("application/json") || media.to_ascii_lowercase().ends_with("+json"))
}

/// Whether the body is a form by its `Content-Type`.
pub fn is_form(headers: &HeaderMap) -> bool {
    media_type(headers).is_some_and(|media| media.eq_ignore_ascii_case("application/x-www-form-urlencoded"))
}

fn media_type(headers: &HeaderMap) -> Option<&str> {
    let value = headers.get(http::header::CONTENT_TYPE)?;
    // One that is no text is no media type that anybody here speaks.
    Some(value.to_str().map_or("unreadable", |v| v.split(';').next().unwrap_or_default().trim()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{Full, StreamBody};
    use std::convert::Infallible;

    fn pieces(of: &[&'static str]) -> impl Body<Data = Bytes, Error = Infallible> {
        let frames: Vec<_> = of.iter().map(|p| Ok(http_body::Frame::data(Bytes::from_static(p.as_bytes())))).collect();
        StreamBody::new(futures_util::stream::iter(frames))
    }

    fn bodies() -> Bodies {
        Bodies::new(5, Duration::from_secs(10))
    }

    #[tokio::test]
    async fn the_limit_is_exact_in_one_piece_and_in_many() {
        let (none, bodies) = (HeaderMap::new(), bodies());
        assert_eq!(bodies.read(&none, Full::new(Bytes::from_static(b"12345"))).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(bodies.read(&none, pieces(&["123", "45"])).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(bodies.read(&none, pieces(&["123", "456"])).await, Err(Problem::too_large(5)));
        assert_eq!(bodies.read(&none, Full::new(Bytes::from_static(b"123456"))).await, Err(Problem::too_large(5)));
        assert_eq!(bodies.read(&none, Full::new(Bytes::new())).await, Ok(Bytes::new()));
        assert_eq!(bodies.room.available_permits(), ROOM_KIB);
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_reading() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, http::HeaderValue::from_static("6"));
        assert_eq!(bodies().read(&headers, pieces(&[])).await, Err(Problem::too_large(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let never = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
        let problem = bodies().read(&HeaderMap::new(), never).await.expect_err("gives up");
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
    }

    #[tokio::test(start_paused = true)]
    async fn dripping_a_body_does_not_help() {
        let bodies = Bodies::new(1 << 20, Duration::from_secs(10));
        let drip = futures_util::stream::unfold((), |()| async {
            tokio::time::sleep(Duration::from_secs(9)).await;
            Some((Ok::<_, Infallible>(http_body::Frame::data(Bytes::from_static(b"x"))), ()))
        });
        let drip = StreamBody::new(drip);
        let begun = Instant::now();
        let problem = bodies.read(&HeaderMap::new(), pin!(drip)).await.expect_err("gives up");
        assert_eq!((problem.status, begun.elapsed().as_secs()), (StatusCode::REQUEST_TIMEOUT, 74));
        assert_eq!(bodies.room.available_permits(), ROOM_KIB);
    }

    #[tokio::test]
    async fn bodies_that_arrive_have_one_room_between_them() {
        let bodies = bodies();
        let all = bodies.room.try_acquire_many(ROOM_KIB as u32).expect("it is free");
        let problem = bodies.read(&HeaderMap::new(), pieces(&["1", "2"])).await.expect_err("no room");
        assert_eq!((problem.status, problem.retry_after), (StatusCode::SERVICE_UNAVAILABLE, Some(1)));
        // What is there in one piece is only passed on.
        assert_eq!(bodies.read(&HeaderMap::new(), Full::new(Bytes::from_static(b"12345"))).await, Ok(Bytes::from_static(b"12345")));
        drop(all);
        assert_eq!(bodies.read(&HeaderMap::new(), pieces(&["1", "2"])).await, Ok(Bytes::from_static(b"12")));
    }

    async fn left(version: Version, expects: bool, body: impl Body<Data = Bytes, Error = Infallible>) -> (bool, u64) {
        let begun = Instant::now();
        let response = bodies().leave(version, expects, pin!(body), Response::default()).await;
        (response.headers().contains_key(CONNECTION), begun.elapsed().as_secs())
    }

    #[tokio::test(start_paused = true)]
    async fn the_rest_of_a_refused_body_is_taken_within_reason() {
        let never = || StreamBody::new(futures_util::stream::pending::<Result<Frame<Bytes>, Infallible>>());
        assert_eq!(left(Version::HTTP_11, false, pieces(&["12345", "12345"])).await, (false, 0));
        assert_eq!(left(Version::HTTP_11, false, pieces(&["12345", "12345", "1"])).await, (true, 0));
        assert_eq!(left(Version::HTTP_11, false, never()).await, (true, 1));
        // Nobody asks for what the client holds back until it is asked.
        assert_eq!(left(Version::HTTP_11, true, never()).await, (true, 0));
        assert_eq!(left(Version::HTTP_2, false, never()).await, (false, 0));
    }

    #[test]
    fn media_types() {
        let with = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(http::header::CONTENT_TYPE, http::HeaderValue::from_static(value));
            (is_json(&headers), is_form(&headers))
        };
        assert_eq!(with("application/json; charset=utf-8"), (true, false));
        assert_eq!(with("application/cloudevents+JSON"), (true, false));
        assert_eq!(with("application/x-www-form-urlencoded"), (false, true));
        assert_eq!(with("text/plain"), (false, false));
        assert!(is_json(&HeaderMap::new()) && !is_form(&HeaderMap::new()));
    }
}
