//! Connections: those that do nothing, those that do too much, and HTTP/2 without TLS.

use crate::common;

use crate::common::{Answer, Client, Server};
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::time::Duration;
use tokio::time::Instant;

fn connect(server: &Server) -> TcpStream {
    let stream = TcpStream::connect(server.address).expect("the server listens");
    stream.set_read_timeout(Some(common::PATIENCE)).expect("a timeout");
    stream
}

/// What the server answers to these bytes before it closes the connection, and how long that took: the clock runs before the server's does.
fn closed_after(server: &Server, sent: &[u8]) -> (Vec<u8>, Duration) {
    let begun = Instant::now();
    let mut stream = connect(server);
    // On a slow machine the server may have closed it already: with bytes unread that is a reset.
    let _ = stream.write_all(sent);
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
    let after = begun.elapsed();
    assert!(after < common::PATIENCE, "the server does not close it");
    (rest, after)
}

/// The answer to a request whose head must be there in time: the machine may be too slow for that now and then.
fn in_time(server: &Server, request: &[u8]) -> Answer {
    let begun = Instant::now();
    loop {
        if let Some(answer) = Client::new(server.address).try_exchange(request) {
            return answer;
        }
        assert!(begun.elapsed() < common::PATIENCE, "it is never answered");
    }
}

#[test]
fn clients_that_do_nothing_are_shown_out() {
    let server = Server::dev(&["--header-timeout", "300ms", "--idle-timeout", "2s"]);
    for sent in [&b""[..], b"GET /hea", b"GET / HTTP/1.1\r\nhost: x\r\n", b"PRI * HT"] {
        let (_, after) = closed_after(&server, sent);
        assert!(after >= Duration::from_millis(300), "{after:?} after {sent:?}");
    }
    let idle = loop {
        let (answer, after) = closed_after(&server, b"GET / HTTP/1.1\r\nhost: x\r\n\r\n");
        if !answer.is_empty() {
            break after;
        }
        // The head came too late.
        assert!(after >= Duration::from_millis(300), "{after:?}");
    };
    assert!(idle >= Duration::from_secs(2), "{idle:?}");
}

#[test]
fn a_body_that_does_not_come_is_refused_in_time() {
    let server = Server::dev(&["--header-timeout", "300ms"]);
    let body = r#"{"target_url": "https://example.com/"}"#;
    let head = "POST /subscriptions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let made = in_time(&server, format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    let id = made.json()["id"].as_str().expect("an id").to_owned();
    let request = format!("POST /ingest/{id} HTTP/1.1\r\nhost: localhost\r\ncontent-length: 10\r\nconnection: close\r\n\r\n{{");
    let answer = in_time(&server, request.as_bytes());
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

/// How long the server goes on reading what it has refused.
const DRAINED_FOR: Duration = Duration::from_secs(1);

/// Sends a request with all of its body and reads the first line of the answer; an error where the connection was reset meanwhile.
fn status_after_sending(server: &Server, head: &str, body: &[u8]) -> std::io::Result<String> {
    let mut stream = connect(server);
    stream.write_all(head.as_bytes())?;
    stream.write_all(body)?;
    let mut answer = vec![0; 12];
    stream.read_exact(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).into_owned())
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
        let first_line = loop {
            let begun = Instant::now();
            match status_after_sending(&server, &head, &body) {
                Ok(line) => break line,
                // Who takes longer than the server drains is reset by right: once more.
                Err(error) => assert!(begun.elapsed() >= DRAINED_FOR, "{path}: reset while sending, or before reading: {error}"),
            }
        };
        assert_eq!(first_line, format!("HTTP/1.1 {status}"), "{path}");
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
    // So that nothing but the bounds ends a connection.
    let server = Server::dev(&["--header-timeout", "10m", "--idle-timeout", "10m"]);
    let many: String = (0..200).map(|n| format!("x-{n}: 1\r\n")).collect();
    let long = format!("x-long: {}\r\n", "x".repeat(64 << 10));
    for (headers, is_read_whole) in [(many, true), (long, false)] {
        let request = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{headers}\r\n");
        let begun = Instant::now();
        let answer = Client::new(server.address).try_exchange(request.as_bytes());
        assert!(begun.elapsed() < common::PATIENCE, "the connection was not closed");
        // The answer may be lost where the server closes while more of the request is on its way.
        assert!(answer.map_or(!is_read_whole, |answer| answer.status == 431), "read whole: {is_read_whole}");
    }
    let fits = format!("GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {}\r\n\r\n", "x".repeat(60_000));
    assert_eq!(Client::new(server.address).exchange(fits.as_bytes()).status, 200);
}

#[test]
fn connections_over_the_limit_wait_for_their_turn() {
    let server = Server::dev(&["--max-connections", "1"]);
    let mut first = BufReader::new(connect(&server));
    // A HEAD has no body to read.
    let mut ask_first = || {
        first.get_mut().write_all(b"HEAD /nothing HTTP/1.1\r\nhost: x\r\n\r\n").expect("it takes it");
        let mut line = String::new();
        while line != "\r\n" {
            line.clear();
            assert!(first.read_line(&mut line).expect("an answer") > 0, "the first connection was closed");
        }
    };
    ask_first();
    let mut second = connect(&server);
    second.write_all(b"GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("the backlog takes it");
    // While the first one is served again and again the second would be too, if it were accepted.
    for _ in 0..200 {
        ask_first();
    }
    let mut answered = [0; 12];
    second.set_nonblocking(true).expect("an option");
    let served = second.read(&mut answered).map_err(|e| e.kind());
    assert_eq!(served, Err(std::io::ErrorKind::WouldBlock), "it was served while the first one was open");
    drop(first);
    second.set_nonblocking(false).expect("an option");
    second.read_exact(&mut answered).expect("an answer");
    assert_eq!(&answered, b"HTTP/1.1 200");
}

#[test]
fn pipelined_requests_are_answered_in_order() {
    let server = Server::dev(&[]);
    let mut stream = connect(&server);
    stream
        .write_all(b"GET /nothing HTTP/1.1\r\nhost: x\r\n\r\nGET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
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
fn the_page_is_locked_down() {
    let server = Server::dev(&[]);
    let page = server.get("/");
    assert_eq!((page.status, page.header("content-type")), (200, Some("text/html; charset=utf-8")));
    assert!(page.header("content-security-policy").is_some_and(|p| p.starts_with("default-src 'none'")));
    let text = page.text();
    // Everything that it loads is a file of its own server: nothing stands in it, and nothing comes from elsewhere.
    assert!(text.contains("Postrider") && !text.contains("<script>") && !text.contains("://"), "{text}");
}
