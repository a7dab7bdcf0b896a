//! The client against a small server that a test scripts.

use super::*;
use connectrpc::ErrorCode;
use futures_util::{StreamExt, stream};
use http::Version;
use http_body::Frame;
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{Empty, StreamBody};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

const METHOD: &str = "postrider.v1.LedgerService/ListDeliveries";
const KEY: &str = "pr_a-key-that-nobody-must-see";

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// What a stand-in for the server was asked.
#[derive(Clone, Default)]
struct Heard {
    requests: Arc<Mutex<Vec<(http::request::Parts, Bytes)>>>,
    connections: Arc<AtomicUsize>,
}

/// Answers every request so, and notes it.
async fn answering(answer: impl Fn() -> Answer + Clone + Send + Sync + 'static) -> (SocketAddr, Heard) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let heard = Heard::default();
    let noted = heard.clone();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            noted.connections.fetch_add(1, Ordering::SeqCst);
            let (noted, answer) = (noted.clone(), answer.clone());
            let service = service_fn(move |request: Request<Incoming>| {
                let (noted, answer) = (noted.clone(), answer.clone());
                async move {
                    let (head, body) = request.into_parts();
                    let body = body.collect().await.expect("a body").to_bytes();
                    noted.requests.lock().push((head, body));
                    Ok::<_, Infallible>(answer())
                }
            });
            tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), service));
        }
    });
    (address, heard)
}

fn whole(status: u16, media: &str, body: &str) -> Answer {
    let response = Response::builder().status(status).header(CONTENT_TYPE, media);
    response.body(Full::new(Bytes::copy_from_slice(body.as_bytes())).boxed_unsync()).expect("an answer")
}

/// A stream that consists of these pieces, and then ends or stays open.
fn pieces(pieces: &[&[u8]], stays_open: bool) -> Answer {
    let frames: Vec<Result<_, Infallible>> = pieces.iter().map(|piece| Ok(Frame::data(Bytes::copy_from_slice(piece)))).collect();
    let frames = stream::iter(frames);
    let body =
        if stays_open { StreamBody::new(frames.chain(stream::pending())).boxed_unsync() } else { StreamBody::new(frames).boxed_unsync() };
    Response::builder().header(CONTENT_TYPE, STREAM).body(body).expect("an answer")
}

fn framed(flags: u8, json: &str) -> Vec<u8> {
    let length = u32::try_from(json.len()).expect("a short message").to_be_bytes();
    [&[flags][..], &length, json.as_bytes()].concat()
}

fn client(address: SocketAddr, path: &str) -> Client {
    Client::new(&format!("http://{address}{path}"), Some(KEY)).expect("a client")
}

/// What a call answers that is answered so.
async fn failed(status: u16, media: &'static str, body: &'static str) -> CallError {
    let (address, _) = answering(move || whole(status, media, body)).await;
    client(address, "").call::<_, Value>(METHOD, &json!({})).await.expect_err("a failure")
}

#[tokio::test]
async fn a_call_is_what_the_protocol_says_and_keeps_its_connection() {
    let (address, heard) = answering(|| whole(200, "application/json; charset=utf-8", r#"{"nextPageToken":"x"}"#)).await;
    let client = client(address, "/behind/a/proxy/");
    for _ in 0..2 {
        let answer: Value = client.call(METHOD, &json!({"pageSize": 5})).await.expect("an answer");
        assert_eq!(answer, json!({"nextPageToken": "x"}));
    }
    let requests = heard.requests.lock();
    let (head, body) = &requests[0];
    assert_eq!((&head.method, head.uri.path(), head.version), (&Method::POST, &*format!("/behind/a/proxy/{METHOD}"), Version::HTTP_11));
    let header = |name: &str| head.headers[name].to_str().expect("text").to_owned();
    assert_eq!((header("content-type"), header("connect-protocol-version")), (JSON.to_owned(), "1".to_owned()));
    assert_eq!((header("authorization"), header("host")), (format!("Bearer {KEY}"), address.to_string()));
    assert_eq!(&body[..], br#"{"pageSize":5}"#);
    assert_eq!((requests.len(), heard.connections.load(Ordering::SeqCst)), (2, 1));
}

#[tokio::test]
async fn a_connection_that_was_closed_meanwhile_is_made_anew() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"{}") && stream.read_buf(&mut head).await.expect("a request") > 0 {}
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}").await.expect("an answer");
        }
    });
    let client = client(address, "");
    for _ in 0..3 {
        client.call::<_, Value>(METHOD, &json!({})).await.expect("an answer");
        // Its end is seen a moment later.
        let begun = Instant::now();
        while let Some(line) = client.shared.lines.kept().await {
            client.shared.lines.keep(line);
            assert!(begun.elapsed() < PATIENCE, "the connection is never seen to be closed");
            tokio::task::yield_now().await;
        }
    }
}

#[tokio::test]
async fn an_error_says_what_is_wrong_and_what_to_do() {
    let refused = failed(404, JSON, r#"{"code":"not_found","message":"there is no\u001b[2J delivery"}"#).await;
    assert_eq!((refused.code, refused.origin, refused.hint.as_deref()), (ErrorCode::NotFound, Origin::Server, None));
    assert_eq!(refused.to_string(), "there is no [2J delivery");
    let scope = failed(403, JSON, r#"{"code":"permission_denied","message":"the API key lacks the scope write"}"#).await;
    assert_eq!(scope.code, ErrorCode::PermissionDenied);
    assert!(scope.to_string().starts_with("the API key lacks the scope write\n  give a key that may"), "{scope}");
    // Without a valid key the server answers text, as its contract has it.
    let text = "{\"error\":\"unauthorized\",\"message\":\"missing or invalid API key\"}\n";
    let wrong = failed(401, "text/plain; charset=utf-8", text).await;
    assert_eq!((wrong.code, &*wrong.message), (ErrorCode::Unauthenticated, "the key is not valid"));
    assert!(wrong.to_string().contains("give another one, by --key or POSTRIDER_KEY"), "{wrong}");
    for (status, code) in [(502, ErrorCode::Unavailable), (404, ErrorCode::Unimplemented), (500, ErrorCode::Unknown)] {
        let between = failed(status, "text/html", "<html>").await;
        assert_eq!((between.code, between.origin), (code, Origin::Server), "{between}");
    }
    let page = failed(200, "text/html", "<html>").await;
    assert!(page.message.ends_with("it answers text/html"), "{page}");
    let other = failed(200, JSON, "[").await;
    assert_eq!((other.code, other.origin), (ErrorCode::Internal, Origin::Server), "{other}");
    let unknown = failed(400, JSON, r#"{"code":"strange"}"#).await;
    assert_eq!((unknown.code, &*unknown.message), (ErrorCode::Unknown, "the server answered unknown"));
}

/// What a request to a REST API is answered that is answered so.
async fn refused(status: u16, body: &'static str) -> CallError {
    let (address, _) = answering(move || whole(status, JSON, body)).await;
    client(address, "").rest(Asked::get("v1/delivery/items")).await.expect_err("a failure")
}

#[tokio::test]
async fn the_rest_apis_are_asked_as_they_want_it() {
    let (address, heard) = answering(|| whole(200, JSON, "{\"n\": 1.50}")).await;
    let client = client(address, "/behind");
    let asked = Asked::get("v1/delivery/items").with_query(&[("status", String::from("failed")), ("cursor", String::from("a b&c"))]);
    let answer = client.rest(asked.expect("a request")).await.expect("an answer");
    assert_eq!((answer.json().expect("text"), answer.read::<Value>().expect("JSON")), ("{\"n\": 1.50}", json!({"n": 1.5})));
    let asked = Asked::new(Method::PUT, "x").with_header("x-event-type", "a").expect("a header").with_json(&json!({"b": 1}));
    client.rest(asked.expect("a request")).await.expect("an answer");
    let requests = heard.requests.lock();
    let (get, put) = (&requests[0], &requests[1]);
    assert_eq!((&get.0.method, get.0.uri.to_string().as_str()), (&Method::GET, "/behind/v1/delivery/items?status=failed&cursor=a+b%26c"));
    assert!(get.1.is_empty() && !get.0.headers.contains_key(CONTENT_TYPE) && !get.0.headers.contains_key("connect-protocol-version"));
    assert_eq!(
        (&put.0.method, &put.0.headers["x-event-type"], &put.1[..]),
        (&Method::PUT, &HeaderValue::from_static("a"), &b"{\"b\":1}"[..])
    );
    assert_eq!(put.0.headers[CONTENT_TYPE], JSON);
    assert_eq!(put.0.headers[AUTHORIZATION], format!("Bearer {KEY}"));
    Asked::get("x").with_header("x-event-type", "a\nb").expect_err("no header");
}

#[tokio::test]
async fn errors_of_the_rest_apis_say_what_is_wrong() {
    let missing =
        refused(404, r#"{"statusCode":404,"code":"not_found","error":"Not Found","message":"there is no binding with this id"}"#).await;
    assert_eq!((missing.code, missing.to_string().as_str()), (ErrorCode::NotFound, "there is no binding with this id"));
    let conflict = refused(409, r#"{"error":"it was retried"}"#).await;
    assert_eq!((conflict.code, conflict.to_string().as_str()), (ErrorCode::FailedPrecondition, "it was retried"));
    let both = r#"{"code":"validation_error","error":"Bad Request","message":"a: x (and 1 more, see details)",
        "details":[{"path":"a","message":"x"},{"path":"b","message":"y"}]}"#;
    assert_eq!(refused(400, both).await.message, "a: x; b: y");
    let key = refused(401, r#"{"error":"the API key is unknown, revoked or expired"}"#).await;
    assert!(key.code == ErrorCode::Unauthenticated && key.hint.is_some_and(|hint| hint.contains("--key")));
    let signature = refused(401, r#"{"error":"invalid signature: sign it"}"#).await;
    assert_eq!((signature.code, signature.to_string().as_str()), (ErrorCode::Unauthenticated, "invalid signature: sign it"));
    for (status, code) in [(429, ErrorCode::ResourceExhausted), (503, ErrorCode::Unavailable), (507, ErrorCode::Internal)] {
        assert_eq!(refused(status, r#"{"error":"x"}"#).await.code, code, "{status}");
    }
    let (address, _) = answering(|| whole(404, "text/html", "<html>")).await;
    let between = client(address, "").rest(Asked::get("x")).await.expect_err("a page");
    assert!(between.message.contains("is not what this command knows"), "{between}");
    let (address, _) = answering(|| Response::builder().status(204).body(Empty::new().boxed_unsync()).expect("an answer")).await;
    assert!(client(address, "").rest(Asked::get("x")).await.expect("an answer").is_empty());
}

#[tokio::test]
async fn when_to_ask_again_and_where_are_told() {
    let answer = || {
        let response = Response::builder().status(429).header("retry-after", "7").header(CONTENT_TYPE, JSON);
        response.body(Full::new(Bytes::from_static(br#"{"code":"resource_exhausted","message":"x"}"#)).boxed_unsync()).expect("an answer")
    };
    let (address, _) = answering(answer).await;
    let busy = client(address, "").call::<_, Value>(METHOD, &json!({})).await.expect_err("a failure");
    assert_eq!((busy.code, busy.retry_after), (ErrorCode::ResourceExhausted, Some(Duration::from_secs(7))));
    let answer = || Response::builder().status(308).header("location", "https://hooks.example.com/x").body(Empty::new().boxed_unsync());
    let (address, _) = answering(move || answer().expect("an answer")).await;
    let moved = client(address, "").call::<_, Value>(METHOD, &json!({})).await.expect_err("a failure");
    assert!(moved.message.contains("points to https://hooks.example.com/x"), "{moved}");
    assert_eq!(client(address, "").stream::<_, Value>(METHOD, &json!({})).await.expect_err("a failure"), moved);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_apart_and_the_key_is_never_shown() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let client = client(address, "/x");
    let error = client.call::<_, Value>(METHOD, &json!({})).await.expect_err("a failure");
    assert_eq!((error.code, error.origin), (ErrorCode::Unavailable, Origin::Way));
    let url = format!("http://{address}/x");
    assert_eq!(error.to_string(), format!("cannot connect to {url}: connection refused\n  is the server running at {url}?"));
    assert_eq!(client.url(), url);
    let shown = format!("{client:?} {:?} {error:?}", client.shared.headers);
    assert!(!shown.contains("nobody-must-see"), "{shown}");
    let without = Client::new(&url, None).expect("a client");
    let (told, url) = (error::Told { code: "unauthenticated".into(), message: "x".into() }, without.url());
    assert_eq!(CallError::told(told, url, without.shared.with_key).hint.as_deref(), Some("give --key or POSTRIDER_KEY"));
}

#[test]
fn what_is_given_wrongly_is_said_without_repeating_it() {
    for url in
        ["", "localhost:8080", "ftp://x", "http://", "http://me:secret@x/", "http://secret@x/", "http://x/?secret", "http://x/#secret"]
    {
        let error = Client::new(url, None).expect_err(url);
        assert_eq!(error.origin, Origin::Given, "{url}");
        assert!(!error.to_string().contains("secret"), "{error}");
    }
    for key in ["", " ", "a\nb", "se\u{0}cret"] {
        let error = Client::new("http://x", Some(key)).expect_err("no key");
        assert!(error.origin == Origin::Given && !error.to_string().contains("cret"), "{error}");
    }
    for (url, path, authority) in [
        ("http://[::1]:8080", "/a.B/C", "[::1]:8080"),
        ("https://hooks.example.com:443/p/", "/p/a.B/C", "hooks.example.com"),
        (" http://10.0.0.1:80/a%20b ", "/a%20b/a.B/C", "10.0.0.1"),
    ] {
        let place = Place::new(url).expect(url);
        assert_eq!((place.path("a.B/C").expect(url).to_string(), place.authority.to_str().expect("text")), (path.to_owned(), authority));
    }
}

#[tokio::test]
async fn a_stream_is_read_message_by_message_however_it_is_cut() {
    let all = [framed(0, r#"{"n":1}"#), framed(0, r#"{"n":2}"#), framed(2, "{}")].concat();
    for size in [1, 3, 7, all.len()] {
        let all = all.clone();
        let (address, heard) = answering(move || pieces(&all.chunks(size).collect::<Vec<_>>(), true)).await;
        let mut messages = client(address, "").stream::<_, Value>(METHOD, &json!({"limit": 1})).await.expect("a stream");
        assert_eq!(messages.next().await, Ok(Some(json!({"n": 1}))));
        assert_eq!(messages.next().await, Ok(Some(json!({"n": 2}))));
        assert_eq!((messages.next().await, messages.next().await), (Ok(None), Ok(None)), "although the answer stays open");
        let requests = heard.requests.lock();
        assert_eq!(
            (requests[0].0.headers[CONTENT_TYPE].as_bytes(), &requests[0].1[..]),
            (STREAM.as_bytes(), &framed(0, r#"{"limit":1}"#)[..])
        );
    }
}

#[tokio::test]
async fn what_goes_wrong_in_a_stream_ends_it() {
    let first = framed(0, r#"{"n":1}"#);
    let ended = framed(2, r#"{"error":{"code":"unauthenticated","message":"the key has ended"},"metadata":{}}"#);
    let compressed = framed(1, r#"{"n":2}"#);
    let too_large = [&[0][..], &u32::MAX.to_be_bytes()].concat();
    for (then, code, origin) in [
        (ended, ErrorCode::Unauthenticated, Origin::Server),
        (compressed, ErrorCode::Internal, Origin::Server),
        (framed(0, "x"), ErrorCode::Internal, Origin::Server),
        (too_large, ErrorCode::Internal, Origin::Server),
        (first[..5].to_vec(), ErrorCode::Unavailable, Origin::Way),
    ] {
        let first = first.clone();
        let (address, _) = answering(move || pieces(&[&first, &then], false)).await;
        let mut messages = client(address, "").stream::<_, Value>(METHOD, &json!({})).await.expect("a stream");
        assert_eq!(messages.next().await, Ok(Some(json!({"n": 1}))));
        let error = messages.next().await.expect_err("an error");
        assert_eq!((error.code, error.origin), (code, origin), "{error}");
        assert_eq!(messages.next().await, Ok(None));
    }
}

#[tokio::test]
async fn silence_ends_a_call_and_a_stream() {
    let (address, _) = answering(|| pieces(&[&framed(0, "{}")], true)).await;
    let url = format!("http://{address}");
    let patience = Duration::from_millis(300);
    let client = Client::with_patience(&url, None, patience).expect("a client");
    let watched = async {
        let mut messages = client.stream::<_, Value>(METHOD, &json!({})).await?;
        while messages.next().await?.is_some() {}
        Ok::<_, CallError>(())
    };
    let error = watched.await.expect_err("silence");
    assert_eq!((error.code, error.origin), (ErrorCode::DeadlineExceeded, Origin::Way));
    // One that takes connections and says nothing.
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let url = format!("http://{}", listener.local_addr().expect("an address"));
    let client = Client::with_patience(&url, None, patience).expect("a client");
    let error = client.call::<_, Value>(METHOD, &json!({})).await.expect_err("silence");
    assert_eq!((error.code, error.to_string()), (ErrorCode::DeadlineExceeded, format!("nothing came from {url} for 0 s")));
}
