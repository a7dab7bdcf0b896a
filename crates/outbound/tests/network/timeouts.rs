//! The deadline, in every phase.

use crate::harness::*;
use postrider_core::ports::{Exchange, FaultKind, Phase};
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::time::{Instant, timeout};

const LIMIT: Duration = Duration::from_millis(300);

/// Asserts that an exchange was cut at the deadline: not before it, and soon after it.
#[track_caller]
fn cut(exchange: Exchange, phase: Phase, took: Duration) {
    let fault = fault(exchange, FaultKind::Timeout(phase));
    assert!(fault.message.starts_with("timed out after 300ms while"), "{fault}");
    assert!(took >= LIMIT && took < LIMIT * 5, "{took:?}");
}

async fn timed(server: &Server, url: &str) -> (Exchange, Duration) {
    let mut lane = lane_with(&outbound(), url, |t| t.timeout = LIMIT);
    let began = Instant::now();
    let exchange = lane.exchange(post("x")).await;
    assert_eq!(server.accepted(), 1);
    (exchange, began.elapsed())
}

/// A listener whose queue is full: nobody gets through any more, and nobody is refused.
pub async fn full_listener(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let mut queued = Vec::new();
    while let Ok(connected) = timeout(Duration::from_millis(100), TcpStream::connect(address)).await {
        queued.push(connected.unwrap());
    }
    (listener, queued)
}

#[tokio::test]
async fn connecting() {
    let (listener, _queued) = full_listener("127.0.0.1:0").await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let mut lane = lane_with(&outbound(), &url, |t| t.connect_timeout = LIMIT);
    let began = Instant::now();
    let exchange = lane.exchange(post("x")).await;
    assert!(exchange.phases.tcp.unwrap() >= 300_000);
    assert_eq!(exchange.phases.first_byte, None);
    cut(exchange, Phase::Connect, began.elapsed());
}

#[tokio::test]
async fn the_tls_handshake() {
    let server = Server::start(|_, stream| async move { Conn::new(stream).closed().await }).await;
    let url = server.named("https", "127.0.0.1", "/");
    let mut lane = lane_with(&outbound(), &url, |t| t.connect_timeout = LIMIT);
    let began = Instant::now();
    let exchange = lane.exchange(post("x")).await;
    assert!(exchange.phases.tls.unwrap() >= 290_000);
    cut(exchange, Phase::Tls, began.elapsed());
}

#[tokio::test]
async fn waiting_for_the_response() {
    let server = Server::start(|_, stream| async move { Conn::new(stream).closed().await }).await;
    let (exchange, took) = timed(&server, &server.url("/")).await;
    cut(exchange, Phase::Response, took);
}

#[tokio::test]
async fn a_dripping_head() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nx: ").await;
        drip(connection, "y").await;
    })
    .await;
    let (exchange, took) = timed(&server, &server.url("/")).await;
    cut(exchange, Phase::Response, took);
}

#[tokio::test]
async fn a_dripping_body() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n").await;
        drip(connection, "y").await;
    })
    .await;
    let (exchange, took) = timed(&server, &server.url("/")).await;
    assert!(exchange.phases.first_byte.unwrap() < 250_000);
    cut(exchange, Phase::Body, took);
}

async fn drip(mut connection: Conn<TcpStream>, drop: &'static str) {
    loop {
        connection.send(drop).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_flood_that_never_becomes_a_response() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        loop {
            connection.send(&flood).await;
        }
    })
    .await;
    let (exchange, took) = timed(&server, &server.url("/")).await;
    cut(exchange, Phase::Response, took);
}

#[tokio::test]
async fn a_reused_lane_has_a_fresh_deadline_each_time() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        while let Some(request) = connection.request().await {
            if request.body == b"answer" {
                // So that the timer of the first exchange fires in the middle of a later one.
                tokio::time::sleep(Duration::from_millis(200)).await;
                connection.send(ok("")).await;
            }
        }
    })
    .await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| t.timeout = LIMIT);
    for _ in 0..3 {
        answer(lane.exchange(post("answer")).await);
    }
    let began = Instant::now();
    let exchange = lane.exchange(post("be silent")).await;
    cut(exchange, Phase::Response, began.elapsed());
    answer(lane.exchange(post("answer")).await);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_timeout_without_end_is_not_an_overflow() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| (t.timeout, t.connect_timeout) = (Duration::MAX, Duration::MAX));
    answer(lane.exchange(post("x")).await);
}
