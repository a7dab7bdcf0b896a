//! Redirects that are followed, and those that are not.

use crate::harness::*;
use postrider_core::ports::{FaultKind, Lane};
use postrider_outbound::Outbound;
use std::sync::Arc;
use tokio::sync::mpsc;

fn following(outbound: &Outbound, url: &str) -> Box<dyn Lane> {
    lane_with(outbound, url, |t| t.follow_redirects = true)
}

fn redirect(status: u16, location: &str) -> &'static str {
    format!("HTTP/1.1 {status} Go\r\nlocation: {location}\r\ncontent-length: 4\r\n\r\ngone").leak()
}

fn is_at_the_end(request: &Received) -> bool {
    request.head.contains(" /end")
}

/// A server that redirects every path but `/end`, and tells what it gets.
async fn redirecting(response: &'static str) -> (Server, mpsc::UnboundedReceiver<Received>) {
    Server::recording(move |request| if is_at_the_end(request) { ok("arrived") } else { response.into() }).await
}

/// What came to `/end` next.
async fn arrived(requests: &mut mpsc::UnboundedReceiver<Received>) -> Received {
    loop {
        let request = requests.recv().await.unwrap();
        if is_at_the_end(&request) {
            return request;
        }
    }
}

#[tokio::test]
async fn the_same_request_goes_to_another_path_over_the_same_connection() {
    for status in [307, 308] {
        let (server, mut requests) = redirecting(redirect(status, "/end?x=1")).await;
        let mut lane = following(&outbound(), &server.url("/start"));
        for _ in 0..2 {
            let response = answer(lane.exchange(post_with(&[("authorization", "secret"), ("x-mine", "1")], "body")).await);
            assert_eq!((response.status, &response.body[..]), (200, &b"arrived"[..]));
            let received = arrived(&mut requests).await;
            assert!(received.head.starts_with("POST /end?x=1 "));
            assert_eq!((received.header("authorization"), received.header("x-mine")), (Some("secret"), Some("1")));
            assert_eq!(received.body, b"body");
        }
        assert_eq!(server.accepted(), 1);
    }
}

#[tokio::test]
async fn another_origin_sees_no_credentials_and_keeps_its_connection() {
    let (end, mut requests) = redirecting("").await;
    let (server, _) = redirecting(redirect(308, &end.named("http", "other.test", "/end"))).await;
    let mut lane = following(&outbound(), &server.url("/start"));
    for _ in 0..2 {
        let secrets = [("authorization", "a"), ("cookie", "b"), ("x-api-key", "c"), ("webhook-signature", "v1,x")];
        answer(lane.exchange(post_with(&secrets, "body")).await);
        let received = arrived(&mut requests).await;
        assert_eq!(received.header("host"), Some(format!("other.test:{}", end.address.port()).as_str()));
        for (name, _) in &secrets[..3] {
            assert_eq!(received.header(name), None, "{name}");
        }
        assert_eq!(received.header("webhook-signature"), Some("v1,x"));
        assert_eq!(received.body, b"body");
    }
    assert_eq!((server.accepted(), end.accepted()), (1, 1));
}

#[tokio::test]
async fn what_would_become_an_empty_get_is_an_answer() {
    for status in [300, 301, 302, 303] {
        let (server, _) = redirecting(redirect(status, "/end")).await;
        assert_eq!(answer(following(&outbound(), &server.url("/")).exchange(post("x")).await).status, status);
    }
    let (server, _) = redirecting("HTTP/1.1 307 Nowhere\r\ncontent-length: 0\r\n\r\n").await;
    assert_eq!(answer(following(&outbound(), &server.url("/")).exchange(post("x")).await).status, 307);
}

#[tokio::test]
async fn a_circle_ends() {
    let (server, _) = redirecting(redirect(307, "/again")).await;
    let fault = fault(following(&outbound(), &server.url("/")).exchange(post("x")).await, FaultKind::Protocol);
    assert_eq!(fault.message, "more than 10 redirects");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn ten_redirects_are_not_too_many() {
    let (server, _) = Server::recording(|request| {
        let number: u32 = request.head.split([' ', '/']).find_map(|part| part.parse().ok()).unwrap();
        match number {
            10 => ok(""),
            _ => redirect(307, &format!("/{}", number + 1)).into(),
        }
    })
    .await;
    assert_eq!(answer(following(&outbound(), &server.url("/0")).exchange(post("x")).await).status, 200);
}

#[tokio::test]
async fn each_hop_goes_through_the_guard() {
    let inside = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (server, _) = redirecting(redirect(307, &inside.named("http", "inside.test", "/"))).await;
    let outbound = outbound_with(|c| {
        c.guard = Arc::new(postrider_core::guard::Guard::new(vec!["127.0.0.1/32".parse().unwrap()], false));
        c.resolver = names(&[("inside.test", &["127.0.0.2", "10.0.0.1"])]);
    });
    let fault = fault(following(&outbound, &server.url("/")).exchange(post("x")).await, FaultKind::Blocked);
    assert!(fault.message.contains("--allow-network"), "{fault}");
    assert_eq!(inside.accepted(), 0);
}
