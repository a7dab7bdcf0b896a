//! What goes over the wire, what comes back, and when a connection is used again.

use crate::harness::*;
use http::Method;
use postrider_core::ports::{FaultKind, Outgoing};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::sync::{Mutex, mpsc, oneshot};

#[tokio::test]
async fn a_request_arrives_as_it_was_made_in_one_write() {
    let (server, mut requests) = Server::recording(|_| ok("thanks")).await;
    let mut lane = lane(&outbound(), &server.named("http", "receiver.test", "/hook?a=b%20c"));
    let request = post_with(
        &[("content-type", "application/json"), ("x-mine", "1"), ("content-length", "3"), ("transfer-encoding", "chunked")],
        r#"{"a": 1}"#,
    );
    let exchange = lane.exchange(request).await;

    let received = requests.recv().await.unwrap();
    assert!(received.head.starts_with("POST /hook?a=b%20c HTTP/1.1\r\n"), "{}", received.head);
    assert_eq!(received.header("host"), Some(format!("receiver.test:{}", server.address.port()).as_str()));
    assert_eq!(received.header("x-mine"), Some("1"));
    assert_eq!(received.header("content-length"), Some("8"));
    assert_eq!(received.header("transfer-encoding"), None);
    assert_eq!(received.header("accept-encoding"), None);
    assert_eq!(received.body, br#"{"a": 1}"#);
    assert_eq!(received.reads, 1);

    let phases = exchange.phases;
    assert!(phases.dns.is_some() && phases.tcp.is_some() && phases.tls.is_none(), "{phases:?}");
    assert!(phases.first_byte.unwrap() <= phases.total);
    let response = answer(exchange);
    assert_eq!((response.status, &response.body[..], response.truncated, response.retry_after), (200, &b"thanks"[..], false, None));
}

#[tokio::test]
async fn an_empty_post_announces_its_emptiness_and_a_get_does_not() {
    let (server, mut requests) = Server::recording(|_| ok("")).await;
    let mut lane = lane(&outbound(), &server.url("/"));
    answer(lane.exchange(post("")).await);
    answer(lane.exchange(Outgoing { method: Method::GET, ..post("") }).await);
    assert_eq!(requests.recv().await.unwrap().header("content-length"), Some("0"));
    assert_eq!(requests.recv().await.unwrap().header("content-length"), None);
}

/// While a connection is made somebody may come to know that the request must not be sent any more.
#[tokio::test]
async fn what_is_withheld_once_the_connection_is_there_does_not_arrive() {
    let (server, mut requests) = Server::recording(|_| ok("")).await;
    let mut lane = lane(&outbound(), &server.url("/"));
    let (is_open, asked) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let gate = (Arc::clone(&is_open), Arc::clone(&asked));
    lane.gate(Arc::new(move || {
        gate.1.fetch_add(1, Ordering::SeqCst);
        gate.0.load(Ordering::SeqCst)
    }));
    fault(lane.exchange(post("withheld")).await, FaultKind::Withheld);
    is_open.store(true, Ordering::SeqCst);
    answer(lane.exchange(post("first")).await);
    answer(lane.exchange(post("second")).await);
    assert_eq!(requests.recv().await.unwrap().body, b"first");
    assert_eq!(requests.recv().await.unwrap().body, b"second");
    assert_eq!((asked.load(Ordering::SeqCst), server.accepted()), (2, 2), "over a connection that is there it is not asked");
}

#[tokio::test]
async fn the_headers_of_an_answer_come_along_without_its_secrets() {
    let server = Server::answering("HTTP/1.1 200 OK\r\nX-Request-Id: 7\r\nset-cookie: session=1\r\ncontent-length: 0\r\n\r\n").await;
    let mut lane = lane(&outbound(), &server.url("/"));
    let response = answer(lane.exchange(post("1")).await);
    assert_eq!(response.head.as_str(), "x-request-id: 7\nset-cookie: ***\ncontent-length: 0\n");
}

#[tokio::test]
async fn a_connection_is_kept_between_exchanges() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let mut lane = lane(&outbound(), &server.url("/"));
    let first = lane.exchange(post("1")).await;
    assert!(first.phases.tcp.is_some() && first.phases.dns.is_none());
    for _ in 0..20 {
        let next = lane.exchange(post("2")).await;
        assert_eq!(next.phases.tcp, None);
        assert_eq!(&answer(next).body[..], b"ok");
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn chunked_and_empty_responses_keep_the_connection_too() {
    for response in [
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n1\r\n!\r\n0\r\n\r\n",
        "HTTP/1.1 204 No Content\r\n\r\n",
        "HTTP/1.1 304 Not Modified\r\ncontent-length: 5\r\n\r\n",
        "HTTP/1.1 500 Broken\r\ncontent-length: 0\r\n\r\n",
        "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\nHTTP/1.1 201 Created\r\ncontent-length: 3\r\n\r\nyes",
    ] {
        let server = Server::answering(response).await;
        let mut lane = lane(&outbound(), &server.url("/"));
        let one = answer(lane.exchange(post("1")).await);
        let two = answer(lane.exchange(post("2")).await);
        assert_eq!(one, two);
        assert_eq!(server.accepted(), 1, "{response}");
        match one.status {
            200 => assert_eq!(&one.body[..], b"ok!"),
            201 => assert_eq!(&one.body[..], b"yes"),
            _ => assert!(one.body.is_empty()),
        }
    }
}

#[tokio::test]
async fn a_receiver_that_does_not_keep_connections_gets_new_ones() {
    for response in [
        "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nkeep-alive: timeout=1\r\ncontent-length: 2\r\n\r\nok",
        "HTTP/1.0 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ] {
        let server = Server::answering(response).await;
        let mut lane = lane(&outbound(), &server.url("/"));
        answer(lane.exchange(post("1")).await);
        answer(lane.exchange(post("2")).await);
        assert_eq!(server.accepted(), 2, "{response}");
    }
}

#[tokio::test]
async fn a_connection_past_its_idle_time_is_not_trusted() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await;
    let mut lane = lane(&outbound_with(|c| c.idle_timeout = Duration::ZERO), &server.url("/"));
    answer(lane.exchange(post("1")).await);
    answer(lane.exchange(post("2")).await);
    assert_eq!(server.accepted(), 2);
}

/// Lets `end` finish the first connection after its response, and then makes another exchange.
async fn exchanges_around(end: &'static [u8]) -> (Server, u16) {
    // The word that it is done comes over a socket of the same event loop, behind what it tells of.
    let (mut done, theirs) = UnixStream::pair().unwrap();
    let theirs = Arc::new(Mutex::new(Some(theirs)));
    let server = Server::start(move |number, stream| {
        let done = Arc::clone(&theirs);
        async move {
            let mut connection = Conn::new(stream);
            connection.request().await.unwrap();
            connection.send(ok("")).await;
            if number == 0 {
                connection.send(end).await;
                drop(connection);
                done.lock().await.take().unwrap().write_all(b"!").await.unwrap();
            } else {
                connection.closed().await;
            }
        }
    })
    .await;
    let mut lane = lane(&outbound(), &server.url("/"));
    answer(lane.exchange(post("1")).await);
    done.read_u8().await.unwrap();
    let status = answer(lane.exchange(post("2")).await).status;
    (server, status)
}

#[tokio::test]
async fn a_connection_that_the_receiver_closed_is_replaced_unnoticed() {
    let (server, status) = exchanges_around(b"").await;
    assert_eq!((server.accepted(), status), (2, 200));
}

#[tokio::test]
async fn an_answer_that_nobody_asked_for_is_nobodys_answer() {
    let (server, status) = exchanges_around(b"HTTP/1.1 408 Request Timeout\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!((server.accepted(), status), (2, 200));
}

#[tokio::test]
async fn a_request_that_was_written_is_never_sent_again() {
    let server = Server::start(|_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send(ok("")).await;
        connection.request().await.unwrap();
    })
    .await;
    let mut lane = lane(&outbound(), &server.url("/"));
    answer(lane.exchange(post("1")).await);
    let fault = fault(lane.exchange(post("2")).await, FaultKind::Reset);
    assert_eq!(fault.message, "connection closed before the response");
    assert_eq!(server.accepted(), 1);
    answer(lane.exchange(post("3")).await);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_abandoned_exchange_leaves_the_lane_usable() {
    let (asked, mut questions) = mpsc::channel(1);
    let server = Server::start(move |number, stream| {
        let asked = asked.clone();
        async move {
            let mut connection = Conn::new(stream);
            while let Some(request) = connection.request().await {
                if number == 0 {
                    asked.send(()).await.unwrap();
                } else {
                    connection.send(ok(request.body)).await;
                }
            }
        }
    })
    .await;
    let mut lane = lane(&outbound(), &server.url("/"));
    tokio::select! {
        exchange = lane.exchange(post("lost")) => panic!("nobody answered {exchange:?}"),
        _ = questions.recv() => {}
    }
    assert_eq!(&answer(lane.exchange(post("found")).await).body[..], b"found");
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_answer_before_the_whole_request_counts() {
    let (refused, read_on) = oneshot::channel::<()>();
    let read_on = Arc::new(Mutex::new(Some(read_on)));
    let server = Server::start(move |_, mut stream| {
        let read_on = Arc::clone(&read_on);
        async move {
            let mut start = [0; 1000];
            stream.read_exact(&mut start).await.unwrap();
            stream.write_all(b"HTTP/1.1 413 Too Large\r\ncontent-length: 3\r\n\r\nbig").await.unwrap();
            if let Some(read_on) = read_on.lock().await.take() {
                let _ = read_on.await;
            }
        }
    })
    .await;
    let mut lane = lane(&outbound(), &server.url("/"));
    let response = answer(lane.exchange(post(vec![b'x'; 32 << 20])).await);
    assert_eq!((response.status, &response.body[..]), (413, &b"big"[..]));
    drop(refused);
}

#[tokio::test]
async fn retry_after_is_a_span_from_now() {
    let read = async |value: &str| {
        let response = format!("HTTP/1.1 429 Slow\r\nretry-after: {value}\r\ncontent-length: 0\r\n\r\n").leak();
        let server = Server::answering(response).await;
        answer(lane(&outbound(), &server.url("/")).exchange(post("")).await).retry_after
    };
    assert_eq!(read("120").await, Some(Duration::from_secs(120)));
    assert_eq!(read("Mon, 12 May 2025 12:01:30 GMT").await, Some(Duration::from_secs(90)));
    assert_eq!(read("Mon, 12 May 2025 11:59:59 GMT").await, None);
    assert_eq!(read("soon").await, None);
}

#[tokio::test]
async fn a_redirect_is_an_answer_unless_it_is_to_be_followed() {
    for status in [301, 302, 303, 307, 308] {
        let response = format!("HTTP/1.1 {status} Go\r\nlocation: /x\r\ncontent-length: 0\r\n\r\n").leak();
        let server = Server::answering(response).await;
        assert_eq!(answer(lane(&outbound(), &server.url("/")).exchange(post("")).await).status, status);
    }
}
