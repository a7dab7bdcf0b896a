//! Connections: those that do nothing, those that do too much, and HTTP/2 without TLS.

mod common;

use common::{Client, Server};
use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::Instant;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a timeout");
    stream
}

/// How long until the server closes the connection, after these bytes.
fn closed_after(server: &Server, sent: &[u8]) -> Duration {
    let mut stream = connect(server);
    stream.write_all(sent).expect("it takes them");
    let begun = Instant::now();
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).expect("the server closes it");
    begun.elapsed()
}

#[test]
fn clients_that_do_nothing_are_shown_out() {
    let server = Server::dev(&["--header-timeout", "300ms", "--idle-timeout", "2s"]);
    for sent in [&b""[..], b"GET /hea", b"GET /healthz HTTP/1.1\r\nhost: x\r\n", b"PRI * HT"] {
        let after = closed_after(&server, sent);
        assert!(after >= Duration::from_millis(200) && after < Duration::from_secs(10), "{after:?} after {sent:?}");
    }
    let idle = closed_after(&server, b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n");
    assert!(idle >= Duration::from_millis(1_500), "{idle:?}");
}

#[test]
fn a_body_that_does_not_come_is_refused_in_time() {
    let server = Server::dev(&["--header-timeout", "300ms"]);
    let id = server.subscribe_to("https://example.com/");
    let request = format!("POST /ingest/{id} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{{");
    let answer = Client::new(server.address).exchange(request.as_bytes());
    assert_eq!(answer.status, 408);
    assert!(answer.error().contains("in time"));
}

#[test]
fn chunked_bodies_are_bounded_too() {
    let server = Server::dev(&["--max-body", "1KiB"]);
    let id = server.subscribe_to("https://example.com/");
    let head = format!("POST /ingest/{id} HTTP/1.1\r\nhost: localhost\r\ntransfer-encoding: chunked\r\nconnection: close\r\n\r\n");
    let send = |body: &str| Client::new(server.address).exchange(format!("{head}{body}").as_bytes());
    assert_eq!(send("3\r\n[1,\r\n2\r\n2]\r\n0\r\n\r\n").status, 202);
    let chunk = format!("258\r\n{}\r\n", "x".repeat(600));
    assert_eq!(send(&format!("{chunk}{chunk}0\r\n\r\n")).status, 413);
}

#[test]
fn a_refusal_is_read_by_a_client_that_is_still_sending() {
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let body = vec![b' '; 1_500 << 10];
    for (path, media, status) in [
        (format!("/ingest/{id}"), "application/json", 413),
        (String::from("/ingest/nobody"), "application/json", 404),
        (String::from("/subscriptions"), "application/json", 413),
        (String::from("/subscriptions"), "text/plain", 415),
        (String::from("/nothing"), "text/plain", 404),
    ] {
        let head = format!("POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: {media}\r\ncontent-length: {}\r\n\r\n", body.len());
        let mut stream = connect(&server);
        stream.write_all(head.as_bytes()).expect("it takes it");
        stream.write_all(&body).expect("the connection is not reset while the body is sent");
        let mut answer = vec![0; 12];
        stream.read_exact(&mut answer).expect("nor before the answer is read");
        assert_eq!(String::from_utf8_lossy(&answer), format!("HTTP/1.1 {status}"), "{path}");
    }
    // Who waits to be asked for the body is not asked for one that nobody wants.
    let mut stream = connect(&server);
    let head = "POST /ingest/nobody HTTP/1.1\r\nhost: localhost\r\nexpect: 100-continue\r\ncontent-length: 9\r\n\r\n";
    stream.write_all(head.as_bytes()).expect("it takes it");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("it is closed");
    assert!(answer.starts_with("HTTP/1.1 404") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn heads_are_bounded() {
    let server = Server::dev(&[]);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(64 << 10));
    for (headers, is_read_whole) in [(many, true), (long, false)] {
        let request = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        let begun = Instant::now();
        let answer = Client::new(server.address).try_exchange(request.as_bytes());
        assert!(begun.elapsed() < Duration::from_secs(5), "the connection was not closed");
        // The answer may be lost where the server closes while more of the request is on its way.
        assert!(answer.map_or(!is_read_whole, |answer| answer.status == 431), "read whole: {is_read_whole}");
    }
    let fits = format!("GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(Client::new(server.address).exchange(fits.as_bytes()).status, 200);
}

#[test]
fn connections_over_the_limit_wait_for_their_turn() {
    let server = Server::dev(&["--max-connections", "1"]);
    let mut first = connect(&server);
    first.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\n\r\n").expect("it takes it");
    let mut answered = [0; 12];
    first.read_exact(&mut answered).expect("an answer");
    let mut second = connect(&server);
    second.write_all(b"GET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("the backlog takes it");
    second.set_read_timeout(Some(Duration::from_millis(200))).expect("a timeout");
    assert!(second.read(&mut answered).is_err(), "it was served while the first one was open");
    drop(first);
    second.set_read_timeout(Some(common::PATIENCE)).expect("a timeout");
    second.read_exact(&mut answered).expect("an answer");
    assert_eq!(&answered, b"HTTP/1.1 200");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::dev(&[]);
    let mut stream = connect(&server);
    stream
        .write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\nGET /healthz HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
        .expect("it takes them");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("two answers");
    let (missing, healthy) = (text.find("404 Not Found"), text.find("200 OK"));
    assert!(missing.is_some() && missing < healthy, "{text}");
}

#[tokio::test]
async fn http2_without_tls_works() {
    use http_body_util::{BodyExt, Full};
    use hyper_util::rt::{TokioExecutor, TokioIo};
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let stream = tokio::net::TcpStream::connect(server.address).await.expect("the server listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    let driver = tokio::spawn(connection);
    let uri = format!("http://{}/ingest/{id}", server.address);
    let request = http::Request::post(uri).body(Full::new(bytes::Bytes::from_static(b"{}"))).expect("a request");
    let response = sender.send_request(request).await.expect("an answer");
    assert_eq!(response.status(), 202);
    let body = response.into_body().collect().await.expect("a body").to_bytes();
    assert!(body.starts_with(b"{\"delivery_task_id\":"));
    drop(sender);
    driver.await.expect("no panic").expect("a clean end");
}

#[test]
fn the_page_is_plain_and_locked_down() {
    let server = Server::dev(&[]);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|p| p.starts_with("default-src 'none'")));
    let text = page.text();
    assert!(text.contains("Postrider") && !text.contains("<script") && !text.contains("src=") && !text.contains("https://"), "{text}");
}
