//! The receiver over real sockets.

use super::*;
use http::StatusCode;
use postrider_core::ports::Clock;
use postrider_core::sign::SigningKey;
use postrider_core::time::Timestamp;
use std::io;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const NOW: Timestamp = Timestamp::from_secs(1_800_000_000);
const PATIENCE: Duration = Duration::from_secs(20);

struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        NOW
    }
}

async fn start(behaviour: Behaviour) -> Receiver {
    start_with(behaviour, Verifier::default(), None).await
}

async fn start_with(behaviour: Behaviour, verifier: Verifier, path: Option<&str>) -> Receiver {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let settings = Settings { path: path.map(String::from), behaviour, forward: None, verifier, clock: Arc::new(Still) };
    Receiver::start(listener, settings).expect("a bound listener")
}

/// Sends one request on its own connection and reads until the other side closes.
async fn send(receiver: &Receiver, path: &str, headers: &str, body: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(receiver.address()).await?;
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}content-length: {}\r\n\r\n", body.len());
    stream.write_all(format!("{head}{body}").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    Ok(answer)
}

async fn next(receiver: &mut Receiver) -> Received {
    tokio::time::timeout(PATIENCE, receiver.next()).await.expect("a request in time").expect("a running receiver")
}

#[tokio::test]
async fn a_request_is_told_as_it_came() {
    let mut receiver = start(Behaviour { body: "thanks".into(), ..Behaviour::default() }).await;
    let headers = "X-Postrider-Event: order.created\r\nX-Postrider-Delivery-Id: d1\r\nX-Postrider-Attempt: 3\r\n";
    let answer = send(&receiver, "/hooks?a=b", headers, "{ \"a\": 1 }").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("\r\n\r\nthanks"), "{answer}");
    let got = next(&mut receiver).await;
    assert_eq!((got.number, got.at, got.path.as_str(), &got.body[..]), (1, NOW, "/hooks?a=b", &b"{ \"a\": 1 }"[..]));
    assert_eq!((got.event_type(), got.delivery_id(), got.attempt()), (Some("order.created"), Some("d1"), Some(3)));
    assert_eq!((got.reply, got.duplicate), (Reply::Status(StatusCode::OK), false));
    receiver.stop(PATIENCE).await;
}

#[tokio::test]
async fn signatures_are_checked_with_the_secret() {
    let key = SigningKey::new("s3cret").expect("a secret");
    let verifier = Verifier::new(&[String::from("s3cret")], None).expect("a secret");
    let mut receiver = start_with(Behaviour::default(), verifier, None).await;
    for (body, expected) in [("{}", "ok"), ("{ }", "bad")] {
        let header = format!("X-Hub-Signature-256: {}\r\n", key.hub(b"{}"));
        send(&receiver, "/", &header, body).await.expect("an answer");
        let found = next(&mut receiver).await.signatures;
        assert_eq!((found.len(), found[0].scheme, found[0].verdict.as_str()), (1, "hub", expected));
    }
}

#[tokio::test]
async fn the_first_requests_fail_and_a_success_seen_again_is_a_duplicate() {
    let behaviour = Behaviour { faults: Faults::First(1), retry_after: Some(5), ..Behaviour::default() };
    let mut receiver = start(behaviour).await;
    let id = "webhook-id: msg_7\r\n";
    let refused = send(&receiver, "/", id, "{}").await.expect("an answer").to_lowercase();
    assert!(refused.starts_with("http/1.1 500 ") && refused.contains("\r\nretry-after: 5\r\n"), "{refused}");
    let accepted = send(&receiver, "/", id, "{}").await.expect("an answer").to_lowercase();
    assert!(accepted.starts_with("http/1.1 200 ") && !accepted.contains("retry-after"), "{accepted}");
    send(&receiver, "/", id, "{}").await.expect("an answer");
    let mut duplicates = Vec::new();
    for _ in 0..3 {
        duplicates.push(next(&mut receiver).await.duplicate);
    }
    assert_eq!(duplicates, [false, false, true], "a retry after a failure is no duplicate");
}

#[tokio::test]
async fn another_path_is_not_found_and_uses_up_no_fault() {
    let behaviour = Behaviour { faults: Faults::First(1), fault: Fault::Status(StatusCode::GONE), ..Behaviour::default() };
    let receiver = start_with(behaviour, Verifier::default(), Some("/hooks")).await;
    assert!(send(&receiver, "/other", "", "{}").await.expect("an answer").starts_with("HTTP/1.1 404 "));
    assert!(send(&receiver, "/hooks?x=1", "", "{}").await.expect("an answer").starts_with("HTTP/1.1 410 "));
    assert!(send(&receiver, "/hooks", "", "{}").await.expect("an answer").starts_with("HTTP/1.1 200 "));
}

#[tokio::test]
async fn a_reset_is_a_reset_and_not_a_close() {
    let mut receiver = start(Behaviour { faults: Faults::Always, fault: Fault::Reset, ..Behaviour::default() }).await;
    let error = send(&receiver, "/", "", "{}").await.expect_err("no answer");
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    assert_eq!(next(&mut receiver).await.reply, Reply::Reset);
}

#[tokio::test]
async fn a_stall_is_told_and_cut_at_the_end() {
    let mut receiver = start(Behaviour { faults: Faults::Always, fault: Fault::Stall, ..Behaviour::default() }).await;
    let mut stream = TcpStream::connect(receiver.address()).await.expect("a connection");
    stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.expect("a request");
    assert_eq!(next(&mut receiver).await.reply, Reply::Stall);
    let mut byte = [0];
    // Others are served meanwhile, as long as it takes, and this one gets no byte and no close.
    for _ in 0..20 {
        let mut other = TcpStream::connect(receiver.address()).await.expect("a connection");
        other.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await.expect("a request");
        assert_eq!(next(&mut receiver).await.reply, Reply::Stall);
    }
    let silent = stream.try_read(&mut byte).map_err(|e| e.kind());
    assert_eq!(silent, Err(io::ErrorKind::WouldBlock), "a stalled request gets no byte and no close");
    receiver.stop(Duration::from_millis(10)).await;
    let closed = tokio::time::timeout(PATIENCE, stream.read(&mut byte)).await.expect("an end");
    assert!(matches!(closed, Ok(0) | Err(_)), "{closed:?}");
}

#[tokio::test]
async fn a_delay_holds_the_answer_back() {
    let delay = Duration::from_millis(120);
    let receiver = start(Behaviour { delay, ..Behaviour::default() }).await;
    let began = tokio::time::Instant::now();
    send(&receiver, "/", "", "{}").await.expect("an answer");
    assert!(began.elapsed() >= delay);
}

#[tokio::test]
async fn stopping_lets_an_answer_finish() {
    let mut receiver = start(Behaviour { delay: Duration::from_millis(100), ..Behaviour::default() }).await;
    let address = receiver.address();
    let sender = tokio::spawn(async move {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(b"POST / HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\n\r\n{}").await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    });
    next(&mut receiver).await;
    receiver.stop(PATIENCE).await;
    let answer = sender.await.expect("no panic").expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    TcpStream::connect(address).await.expect_err("nobody listens any more");
}

#[tokio::test]
async fn a_request_is_passed_on_and_its_answer_goes_back() {
    let answers = Behaviour { answer: StatusCode::ACCEPTED, body: "taken".into(), ..Behaviour::default() };
    let mut behind = start_with(answers, Verifier::default(), Some("/app")).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let forward = Forward::new(&format!("http://{}/app", behind.address())).expect("a URL");
    let settings = Settings {
        path: None,
        behaviour: Behaviour::default(),
        forward: Some(Arc::new(forward)),
        verifier: Verifier::default(),
        clock: Arc::new(Still),
    };
    let mut receiver = Receiver::start(listener, settings).expect("a bound listener");
    let answer = send(&receiver, "/hooks", "x-a: b\r\n", "{\"n\":1}").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 202 ") && answer.ends_with("\r\n\r\ntaken"), "{answer}");
    let (told, passed) = (next(&mut receiver).await, next(&mut behind).await);
    assert_eq!((passed.path.as_str(), passed.header("x-a"), passed.body.as_ref()), ("/app", Some("b"), &b"{\"n\":1}"[..]));
    assert_eq!(passed.header("host"), Some(behind.address().to_string().as_str()));
    assert_eq!((told.reply, told.passed.map(|passed| passed.error)), (Reply::Status(StatusCode::ACCEPTED), Some(None)));
    behind.stop(PATIENCE).await;
    let answer = send(&receiver, "/hooks", "", "{}").await.expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 502 "), "{answer}");
    assert!(next(&mut receiver).await.passed.is_some_and(|passed| passed.error.is_some()));
}
