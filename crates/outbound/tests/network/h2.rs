//! HTTP/2 where the receiver chooses it: one connection for all lanes of a target.

use crate::harness::*;
use crate::tls::{Authority, trusting};
use bytes::Bytes;
use futures_util::future::join_all;
use http::{Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postrider_core::ports::{FaultKind, Lane, Phase, Transport};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Barrier, Notify, mpsc};
use tokio::time::advance;

/// What a handler does with a request, and with its body.
trait Handler: Fn(Request<()>, Bytes) -> Self::Work + Clone + Send + Sync + 'static {
    type Work: Future<Output = Response<Full<Bytes>>> + Send;
}

impl<F, W> Handler for F
where
    F: Fn(Request<()>, Bytes) -> W + Clone + Send + Sync + 'static,
    W: Future<Output = Response<Full<Bytes>>> + Send,
{
    type Work = W;
}

/// Serves HTTP/2; `end` tells the first connection to say goodbye.
async fn serve(authority: &Authority, end: Arc<Notify>, handler: impl Handler) -> Server {
    let acceptor = authority.acceptor(&["receiver.test"], &["h2", "http/1.1"]);
    Server::start(move |number, stream| {
        let (acceptor, end, handler) = (acceptor.clone(), Arc::clone(&end), handler.clone());
        async move {
            let Ok(stream) = acceptor.accept(stream).await else { return };
            let service = service_fn(move |request: Request<Incoming>| {
                let handler = handler.clone();
                async move {
                    assert_eq!(request.version(), Version::HTTP_2);
                    let (parts, body) = request.into_parts();
                    let Ok(body) = body.collect().await else { return Ok(Response::default()) };
                    Ok::<_, Infallible>(handler(Request::from_parts(parts, ()), body.to_bytes()).await)
                }
            });
            let connection = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service);
            let mut connection = std::pin::pin!(connection);
            tokio::select! {
                _ = connection.as_mut() => {}
                () = end.notified(), if number == 0 => {
                    connection.as_mut().graceful_shutdown();
                    let _ = connection.await;
                }
            }
        }
    })
    .await
}

fn echo(body: Bytes) -> Response<Full<Bytes>> {
    Response::new(Full::new(body))
}

#[tokio::test]
async fn concurrent_lanes_share_one_connection() {
    const LANES: usize = 8;
    let authority = Authority::new();
    // Nobody is answered before all are there: they must be on the way at the same time.
    let all_there = Arc::new(Barrier::new(LANES));
    let server = serve(&authority, Arc::default(), move |request: Request<()>, body| {
        let all_there = Arc::clone(&all_there);
        async move {
            assert_eq!(request.uri().path(), "/hook");
            assert_eq!(request.uri().host(), Some("receiver.test"));
            all_there.wait().await;
            echo(body)
        }
    })
    .await;
    let outbound = trusting(&authority);
    let target = Arc::new(target(&server.named("https", "receiver.test", "/hook")));
    let mut lanes: Vec<Box<dyn Lane>> = (0..LANES).map(|_| outbound.lane(&target)).collect();
    for round in 0..3 {
        let exchanges = lanes.iter_mut().enumerate().map(|(n, lane)| lane.exchange(post(format!("{round}-{n}"))));
        for (n, exchange) in join_all(exchanges).await.into_iter().enumerate() {
            assert_eq!(&answer(exchange).body[..], format!("{round}-{n}").as_bytes());
        }
    }
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn headers_of_http_1_do_not_reach_http_2() {
    let authority = Authority::new();
    let (seen, mut requests) = mpsc::channel(1);
    let server = serve(&authority, Arc::default(), move |request, body| {
        let seen = seen.clone();
        async move {
            seen.send(request).await.unwrap();
            echo(body)
        }
    })
    .await;
    let mut lane = lane(&trusting(&authority), &server.named("https", "receiver.test", "/"));
    let exchange =
        lane.exchange(post_with(&[("connection", "x-hop"), ("x-hop", "1"), ("x-mine", "1"), ("host", "elsewhere")], "body")).await;
    assert!(exchange.phases.tls.is_some());
    answer(exchange);
    let request = requests.recv().await.unwrap();
    assert_eq!(request.headers()["x-mine"], "1");
    for gone in ["connection", "host"] {
        assert!(!request.headers().contains_key(gone), "{gone}");
    }
}

#[tokio::test]
async fn a_connection_that_says_goodbye_is_replaced() {
    let authority = Authority::new();
    let end = Arc::new(Notify::new());
    let server = serve(&authority, Arc::clone(&end), |_, body| async { echo(body) }).await;
    let mut lane = lane(&trusting(&authority), &server.named("https", "receiver.test", "/"));
    answer(lane.exchange(post("1")).await);
    end.notify_one();
    // The goodbye may come before, beside or after the next request; none of them may fail.
    while server.accepted() < 2 {
        assert_eq!(&answer(lane.exchange(post("again")).await).body[..], b"again");
    }
    answer(lane.exchange(post("2")).await);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test(start_paused = true)]
async fn silence_costs_the_shared_connection_its_trust_but_not_its_other_lanes() {
    const LIMIT: Duration = Duration::from_secs(2);
    let _time = time_stands();
    let authority = Authority::new();
    let release = Arc::new(Notify::new());
    let (asked, mut questions) = mpsc::channel(8);
    let releasing = Arc::clone(&release);
    let server = serve(&authority, Arc::default(), move |_, body: Bytes| {
        let (release, asked) = (Arc::clone(&releasing), asked.clone());
        async move {
            asked.send(()).await.unwrap();
            match &body[..] {
                b"never" => std::future::pending().await,
                b"later" => release.notified().await,
                _ => {}
            }
            echo(body)
        }
    })
    .await;
    let outbound = trusting(&authority);
    let mut of_target = target(&server.named("https", "receiver.test", "/"));
    of_target.timeout = LIMIT;
    let of_target = Arc::new(of_target);
    let (mut impatient, mut patient) = (outbound.lane(&of_target), outbound.lane(&of_target));
    answer(impatient.exchange(post("first")).await);
    questions.recv().await.unwrap();
    let silent = tokio::spawn(async move { (impatient.exchange(post("never")).await, impatient) });
    questions.recv().await.unwrap();
    advance(LIMIT / 2).await;
    let later = tokio::spawn(async move { patient.exchange(post("later")).await });
    questions.recv().await.unwrap();
    // Timers count whole milliseconds.
    advance(LIMIT / 2 + Duration::from_millis(1)).await;
    let (silent, mut impatient) = silent.await.unwrap();
    fault(silent, FaultKind::Timeout(Phase::Response));
    assert!(!later.is_finished(), "nobody has released it");
    release.notify_one();
    assert_eq!(&answer(later.await.unwrap()).body[..], b"later");
    assert_eq!(server.accepted(), 1);
    answer(impatient.exchange(post("on a new one")).await);
    assert_eq!(server.accepted(), 2);
}

#[tokio::test]
async fn an_abandoned_exchange_does_not_harm_the_connection() {
    let authority = Authority::new();
    let (asked, mut questions) = mpsc::channel(1);
    let server = serve(&authority, Arc::default(), move |_, body: Bytes| {
        let asked = asked.clone();
        async move {
            if body == "lost" {
                asked.send(()).await.unwrap();
                std::future::pending().await
            }
            echo(body)
        }
    })
    .await;
    let mut lane = lane(&trusting(&authority), &server.named("https", "receiver.test", "/"));
    tokio::select! {
        _ = lane.exchange(post("lost")) => panic!("nobody answered"),
        _ = questions.recv() => {}
    }
    assert_eq!(&answer(lane.exchange(post("found")).await).body[..], b"found");
    assert_eq!(server.accepted(), 1);
}

#[tokio::test]
async fn a_long_body_is_cut_without_losing_the_connection() {
    let authority = Authority::new();
    let server = serve(&authority, Arc::default(), |_, _| async { echo(Bytes::from(vec![b'x'; 10 << 20])) }).await;
    let mut lane = lane_with(&trusting(&authority), &server.named("https", "receiver.test", "/"), |t| t.response_cap = 1000);
    for _ in 0..20 {
        let response = answer(lane.exchange(post("x")).await);
        assert_eq!((response.body.len(), response.truncated), (1000, true));
    }
    assert_eq!(server.accepted(), 1);
}
