//! Only checked addresses are dialled.

use crate::harness::*;
use crate::timeouts::full_listener;
use postrider_core::guard::Guard;
use postrider_core::ports::FaultKind;
use postrider_outbound::ResolverChoice;
use std::sync::Arc;
use tokio::net::TcpListener;

fn allow(networks: &[&str], http: bool) -> Arc<Guard> {
    Arc::new(Guard::new(networks.iter().map(|n| n.parse().unwrap()).collect(), http))
}

#[tokio::test]
async fn loopback_is_not_dialled_by_default_however_it_is_spelled() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let outbound = outbound_with(|c| {
        c.guard = allow(&[], true);
        c.resolver =
            names(&[("rebound.test", &["127.0.0.1"]), ("mapped.test", &["::ffff:127.0.0.1"]), ("both.test", &["10.0.0.1", "127.0.0.1"])]);
    });
    for host in ["127.0.0.1", "[::ffff:127.0.0.1]", "[::1]", "rebound.test", "mapped.test", "both.test"] {
        for scheme in ["http", "https"] {
            let exchange = lane(&outbound, &server.named(scheme, host, "/")).exchange(post("x")).await;
            assert_eq!(exchange.phases.tcp, None);
            let fault = fault(exchange, FaultKind::Blocked);
            assert!(fault.message.contains("--allow-network"), "{fault}");
        }
    }
    assert_eq!(server.accepted(), 0);
}

#[tokio::test]
async fn the_systems_resolver_leads_localhost_to_loopback_and_the_guard_sees_it() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let url = server.named("http", "localhost", "/");
    let closed = outbound_with(|c| (c.guard, c.resolver) = (allow(&[], true), ResolverChoice::System));
    fault(lane(&closed, &url).exchange(post("x")).await, FaultKind::Blocked);
    assert_eq!(server.accepted(), 0);
    let open = outbound_with(|c| c.resolver = ResolverChoice::System);
    answer(lane(&open, &url).exchange(post("x")).await);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn of_mixed_answers_only_the_allowed_are_dialled() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let forbidden = TcpListener::bind(("127.0.0.2", server.address.port())).await.unwrap();
    let forbidden = Server::on(forbidden, |_, _| async {});
    let outbound = outbound_with(|c| {
        c.guard = allow(&["127.0.0.1/32"], false);
        c.resolver = names(&[("mixed.test", &["127.0.0.2", "169.254.169.254", "127.0.0.1"])]);
    });
    answer(lane(&outbound, &server.named("http", "mixed.test", "/")).exchange(post("x")).await);
    assert_eq!((server.accepted(), forbidden.accepted()), (1, 0));
}

#[tokio::test]
async fn plain_http_needs_permission_where_the_network_has_none() {
    let outbound = outbound_with(|c| {
        c.guard = allow(&[], false);
        c.resolver = names(&[("public.test", &["8.8.8.8"])]);
    });
    for host in ["public.test", "8.8.8.8"] {
        let exchange = lane(&outbound, &format!("http://{host}/")).exchange(post("x")).await;
        assert_eq!(exchange.phases.tcp, None);
        let fault = fault(exchange, FaultKind::Blocked);
        assert!(fault.message.contains("plain http") && fault.message.contains("--allow-http"), "{fault}");
    }
}

#[tokio::test]
async fn the_next_address_is_dialled_when_one_refuses() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let outbound = outbound_with(|c| c.resolver = names(&[("many.test", &["127.0.0.2", "127.0.0.3", "::1", "127.0.0.1"])]));
    answer(lane(&outbound, &server.named("http", "many.test", "/")).exchange(post("x")).await);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn the_next_address_is_dialled_when_one_is_silent() {
    let server = Server::answering("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n").await;
    let (_silent, _queued) = full_listener(&format!("127.0.0.2:{}", server.address.port())).await;
    let outbound = outbound_with(|c| c.resolver = names(&[("slow.test", &["127.0.0.2", "127.0.0.1"])]));
    answer(lane(&outbound, &server.named("http", "slow.test", "/")).exchange(post("x")).await);
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn when_every_address_refuses_so_does_the_name() {
    let free = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap().port();
    let outbound = outbound_with(|c| c.resolver = names(&[("many.test", &["127.0.0.2", "127.0.0.3"])]));
    fault(lane(&outbound, &format!("http://many.test:{free}/")).exchange(post("x")).await, FaultKind::Refused);
}
