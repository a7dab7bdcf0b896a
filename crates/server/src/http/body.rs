//! Reading request bodies: bounded in size and in time.

use super::Problem;
use bytes::{Bytes, BytesMut};
use http::header::CONTENT_LENGTH;
use http::{HeaderMap, StatusCode};
use http_body::Body;
use http_body_util::BodyExt;
use std::pin::pin;
use std::time::Duration;

/// Reads a whole body of at most `limit` bytes whose pieces come at most `pause` apart.
///
/// The answer owns its memory: a piece as the connection hands it out would keep the connection's whole buffer alive.
pub async fn read<B>(headers: &HeaderMap, body: B, limit: usize, pause: Duration) -> Result<Bytes, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    if announced(headers).is_some_and(|length| length > limit as u64) {
        return Err(Problem::too_large(limit));
    }
    let mut body = pin!(body);
    let mut gathered = BytesMut::new();
    loop {
        let Some(frame) = next(body.as_mut(), pause).await? else { break };
        let Ok(piece) = frame.into_data() else { continue };
        if gathered.len() + piece.len() > limit {
            return Err(Problem::too_large(limit));
        }
        if gathered.is_empty() && body.is_end_stream() {
            return Ok(Bytes::copy_from_slice(&piece));
        }
        gathered.extend_from_slice(&piece);
    }
    Ok(gathered.freeze())
}

async fn next<B>(mut body: std::pin::Pin<&mut B>, pause: Duration) -> Result<Option<http_body::Frame<Bytes>>, Problem>
where
    B: Body<Data = Bytes>,
    B::Error: std::fmt::Display,
{
    // Mostly the body is there already; a timer is made only when it is not.
    let ready = std::future::poll_fn(|cx| std::task::Poll::Ready(body.as_mut().poll_frame(cx))).await;
    let frame = match ready {
        std::task::Poll::Ready(frame) => frame,
        std::task::Poll::Pending => tokio::time::timeout(pause, body.frame())
            .await
            .map_err(|_| Problem::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", "the request body did not arrive in time"))?,
    };
    frame.transpose().map_err(|e| Problem::bad_request(format!("the request body could not be read: {e}")))
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

    #[tokio::test]
    async fn the_limit_is_exact_in_one_piece_and_in_many() {
        let (none, pause) = (HeaderMap::new(), Duration::from_secs(1));
        assert_eq!(read(&none, Full::new(Bytes::from_static(b"12345")), 5, pause).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read(&none, pieces(&["123", "45"]), 5, pause).await, Ok(Bytes::from_static(b"12345")));
        assert_eq!(read(&none, pieces(&["123", "456"]), 5, pause).await, Err(Problem::too_large(5)));
        assert_eq!(read(&none, Full::new(Bytes::from_static(b"123456")), 5, pause).await, Err(Problem::too_large(5)));
        assert_eq!(read(&none, Full::new(Bytes::new()), 5, pause).await, Ok(Bytes::new()));
    }

    #[tokio::test]
    async fn an_announced_length_is_refused_before_reading() {
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_LENGTH, http::HeaderValue::from_static("6"));
        assert_eq!(read(&headers, pieces(&[]), 5, Duration::from_secs(1)).await, Err(Problem::too_large(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_that_never_comes_is_given_up() {
        let never = StreamBody::new(futures_util::stream::pending::<Result<http_body::Frame<Bytes>, Infallible>>());
        let problem = read(&HeaderMap::new(), never, 5, Duration::from_secs(10)).await.expect_err("gives up");
        assert_eq!(problem.status, StatusCode::REQUEST_TIMEOUT);
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
