//! The deadline, in every phase. The clock is a paused one: time stands until an exchange is in the phase that the deadline shall cut.

use crate::harness::*;
use postrider_core::ports::{Exchange, FaultKind, Lane, Phase};
use std::future::{Future, ready};
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio::sync::{Notify, oneshot};
use tokio::time::advance;

const LIMIT: Duration = Duration::from_millis(300);

/// Microseconds.
const LIMIT_US: u32 = 300_000;

/// Timers count whole milliseconds, in microseconds.
const TICK_US: u32 = 1_000;

/// Asserts that an exchange was cut at the deadline: not before it, and not after it.
#[track_caller]
fn is_cut(exchange: Exchange, phase: Phase) {
    let total = exchange.phases.total;
    assert!((LIMIT_US..=LIMIT_US + TICK_US).contains(&total), "{total}");
    let fault = fault(exchange, FaultKind::Timeout(phase));
    assert!(fault.message.starts_with("timed out after 300ms while"), "{fault}");
}

/// Makes an exchange; time passes only once `reached` has come.
async fn exchange_until(reached: impl Future<Output = ()>, time: StandingTime, mut lane: Box<dyn Lane>) -> Exchange {
    let (exchange, ()) = tokio::join!(lane.exchange(post("x")), async {
        reached.await;
        drop(time);
    });
    exchange
}

/// The exchange with a server that does what `script` says, which tells when time may pass.
async fn timed<F, W>(script: F) -> Exchange
where
    F: Fn(Conn<TcpStream>, Arc<Notify>) -> W + Send + 'static,
    W: Future<Output = ()> + Send + 'static,
{
    let time = time_stands();
    let reached = Arc::new(Notify::new());
    let telling = Arc::clone(&reached);
    let server = Server::start(move |_, stream| script(Conn::new(stream), Arc::clone(&telling))).await;
    let lane = lane_with(&outbound(), &server.url("/"), |t| (t.timeout, t.response_cap) = (LIMIT, u32::MAX));
    let exchange = exchange_until(reached.notified(), time, lane).await;
    assert_eq!(server.accepted(), 1);
    exchange
}

/// A listener whose queue is full: nobody gets through any more, and nobody is refused.
pub async fn full_listener(address: &str) -> (TcpListener, Vec<TcpStream>) {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(address.parse().unwrap()).unwrap();
    // Linux queues one connection more than is asked for.
    let listener = socket.listen(1).unwrap();
    let address = listener.local_addr().unwrap();
    let queued = vec![TcpStream::connect(address).await.unwrap(), TcpStream::connect(address).await.unwrap()];
    while queue_length(address) < queued.len() {
        tokio::task::yield_now().await;
    }
    (listener, queued)
}

/// How many connections wait for a listener to accept them: proc(5) has it as the "receive queue" of the socket in state 0A, listening.
fn queue_length(listener: SocketAddr) -> usize {
    let table = std::fs::read_to_string("/proc/net/tcp").unwrap();
    let SocketAddr::V4(at) = listener else { panic!("not IPv4: {listener}") };
    let local = format!("{:08X}:{:04X}", u32::from_ne_bytes(at.ip().octets()), at.port());
    let row = table.lines().map(|line| line.split_whitespace().collect::<Vec<_>>()).find(|row| row[1] == local && row[3] == "0A");
    let queues = row.expect("the listener")[4];
    usize::from_str_radix(queues.split_once(':').unwrap().1, 16).unwrap()
}

#[tokio::test(start_paused = true)]
async fn connecting() {
    let time = time_stands();
    let (listener, _queued) = full_listener("127.0.0.1:0").await;
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let lane = lane_with(&outbound(), &url, |t| t.connect_timeout = LIMIT);
    // The exchange is the first to be polled, and dials at once.
    let exchange = exchange_until(ready(()), time, lane).await;
    assert!(exchange.phases.tcp.unwrap() >= LIMIT_US);
    assert_eq!(exchange.phases.first_byte, None);
    is_cut(exchange, Phase::Connect);
}

#[tokio::test(start_paused = true)]
async fn the_tls_handshake() {
    let time = time_stands();
    let reached = Arc::new(Notify::new());
    let telling = Arc::clone(&reached);
    let server = Server::start(move |_, stream| {
        let reached = Arc::clone(&telling);
        async move {
            // The client's hello is there, and nobody answers it.
            stream.readable().await.unwrap();
            reached.notify_one();
            Conn::new(stream).closed().await;
        }
    })
    .await;
    let lane = lane_with(&outbound(), &server.named("https", "127.0.0.1", "/"), |t| t.connect_timeout = LIMIT);
    let exchange = exchange_until(reached.notified(), time, lane).await;
    assert_eq!(exchange.phases.tcp, Some(0));
    assert!(exchange.phases.tls.unwrap() >= LIMIT_US);
    is_cut(exchange, Phase::Tls);
}

#[tokio::test(start_paused = true)]
async fn waiting_for_the_response() {
    let exchange = timed(|mut connection, reached| async move {
        connection.request().await.unwrap();
        reached.notify_one();
        connection.closed().await;
    })
    .await;
    is_cut(exchange, Phase::Response);
}

#[tokio::test(start_paused = true)]
async fn a_dripping_head() {
    let exchange = timed(|mut connection, reached| async move {
        connection.request().await.unwrap();
        connection.send("HTTP/1.1 200 OK\r\nx: ").await;
        reached.notify_one();
        drip(connection, "y").await;
    })
    .await;
    is_cut(exchange, Phase::Response);
}

#[tokio::test(start_paused = true)]
async fn a_dripping_body() {
    // More than all buffers between the two ends hold: once it is sent, the other end has read the head.
    const FIRST: usize = 32 << 20;
    let exchange = timed(|mut connection, reached| async move {
        connection.request().await.unwrap();
        connection.send(format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", FIRST + 1_000_000)).await;
        connection.send(vec![b'x'; FIRST]).await;
        reached.notify_one();
        drip(connection, "y").await;
    })
    .await;
    assert_eq!(exchange.phases.first_byte, Some(0));
    is_cut(exchange, Phase::Body);
}

async fn drip(mut connection: Conn<TcpStream>, drop: &'static str) {
    loop {
        connection.send(drop).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_that_never_becomes_a_response() {
    // More than all buffers hold: once it is sent, the other end is reading.
    const FIRST: usize = 32 << 20;
    let _time = time_stands();
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/", listener.local_addr().unwrap());
    let (flooding, reached) = oneshot::channel();
    // In a thread of its own, so that the lane always finds more.
    let server = std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        let (mut request, mut part) = (Vec::new(), [0; 1024]);
        while !request.ends_with(b"\r\n\r\nx") {
            let length = stream.read(&mut part).unwrap();
            request.extend_from_slice(&part[..length]);
        }
        let flood = "HTTP/1.1 103 Early Hints\r\n\r\n".repeat(1000);
        for _ in 0..=FIRST / flood.len() {
            stream.write_all(flood.as_bytes()).unwrap();
        }
        flooding.send(()).unwrap();
        while stream.write_all(flood.as_bytes()).is_ok() {}
    });
    let mut lane = lane_with(&outbound(), &url, |t| t.timeout = LIMIT);
    let exchange = tokio::spawn(async move { lane.exchange(post("x")).await });
    reached.await.unwrap();
    advance(LIMIT).await;
    is_cut(exchange.await.unwrap(), Phase::Response);
    server.join().unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_reused_lane_has_a_fresh_deadline_each_time() {
    let time = time_stands();
    let asked = Arc::new(Notify::new());
    let telling = Arc::clone(&asked);
    let server = Server::start(move |_, stream| {
        let asked = Arc::clone(&telling);
        async move {
            let mut connection = Conn::new(stream);
            while let Some(request) = connection.request().await {
                if request.body == b"answer" {
                    // So that the timer of the first exchange fires in the middle of a later one.
                    advance(LIMIT * 2 / 3).await;
                    connection.send(ok("")).await;
                } else {
                    asked.notify_one();
                }
            }
        }
    })
    .await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| t.timeout = LIMIT);
    for _ in 0..3 {
        answer(lane.exchange(post("answer")).await);
    }
    let (exchange, _time) = tokio::join!(lane.exchange(post("be silent")), async {
        asked.notified().await;
        advance(LIMIT).await;
        time
    });
    is_cut(exchange, Phase::Response);
    answer(lane.exchange(post("answer")).await);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn a_timeout_without_end_is_not_an_overflow() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let mut lane = lane_with(&outbound(), &server.url("/"), |t| (t.timeout, t.connect_timeout) = (Duration::MAX, Duration::MAX));
    answer(lane.exchange(post("x")).await);
}
