//! Failures of the network and of receivers, by kind.

use crate::harness::*;
use postrider_core::ports::FaultKind;
use tokio::net::TcpListener;

#[tokio::test]
async fn nobody_listens() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = fault(lane(&outbound(), &format!("http://{address}/")).exchange(post("x")).await, FaultKind::Refused);
    assert_eq!(fault.message, "connection refused");
}

#[tokio::test]
async fn a_name_that_does_not_exist() {
    let exchange = lane(&outbound(), "http://nowhere.test/").exchange(post("x")).await;
    assert!(exchange.phases.dns.is_some() && exchange.phases.tcp.is_none());
    assert_eq!(fault(exchange, FaultKind::Dns).message, "the name does not exist");
}

async fn after_the_request(response: &'static [u8], hard: bool) -> postrider_core::ports::Exchange {
    let server = Server::start(move |_, stream| async move {
        let mut connection = Conn::new(stream);
        connection.request().await.unwrap();
        connection.send(response).await;
        if hard {
            reset(connection.stream);
        }
    })
    .await;
    lane(&outbound(), &server.url("/")).exchange(post("x")).await
}

#[tokio::test]
async fn a_connection_closed_before_the_response() {
    let fault = fault(after_the_request(b"", false).await, FaultKind::Reset);
    assert_eq!(fault.message, "connection closed before the response");
}

#[tokio::test]
async fn a_connection_reset_before_the_response() {
    let fault = fault(after_the_request(b"", true).await, FaultKind::Reset);
    assert_eq!(fault.message, "connection reset before the response");
}

#[tokio::test]
async fn a_connection_closed_in_the_response_head() {
    fault(after_the_request(b"HTTP/1.1 200 OK\r\ncontent-", false).await, FaultKind::Reset);
}

#[tokio::test]
async fn garbage_instead_of_http() {
    for garbage in [
        &b"SSH-2.0-OpenSSH_9.2\r\n"[..],
        b"\x15\x03\x03\x00\x02\x02\x46\r\n\r\n",
        b"HTTP/1.1 abc\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
    ] {
        let fault = fault(after_the_request(garbage, false).await, FaultKind::Protocol);
        assert!(fault.message.starts_with("the answer is not HTTP"), "{fault}");
    }
}

#[tokio::test]
async fn a_head_without_end() {
    let head = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "y".repeat(70_000)).leak();
    let fault = fault(after_the_request(head.as_bytes(), false).await, FaultKind::Protocol);
    assert_eq!(fault.message, "the response head is too large");
}

#[tokio::test]
async fn more_headers_than_anyone_needs() {
    let head = |count| format!("HTTP/1.1 200 OK\r\n{}content-length: 0\r\n\r\n", "x: y\r\n".repeat(count)).leak();
    fault(after_the_request(head(150).as_bytes(), false).await, FaultKind::Protocol);
    answer(after_the_request(head(90).as_bytes(), false).await);
}

#[tokio::test]
async fn a_broken_chunk() {
    let response = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n";
    let fault = fault(after_the_request(response, false).await, FaultKind::Protocol);
    assert!(fault.message.starts_with("the response body is malformed"), "{fault}");
}

#[tokio::test]
async fn no_message_holds_the_url() {
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let fault = fault(lane(&outbound(), &format!("http://{address}/?token=secret")).exchange(post("x")).await, FaultKind::Refused);
    assert!(!fault.message.contains("secret"));
}
