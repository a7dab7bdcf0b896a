//! Whole runs against a stand-in for the server that delivers well or badly.

use super::args::tests::parse;
use super::report::Report;
use bytes::Bytes;
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use parking_lot::Mutex;
use postrider_proto::Message;
use postrider_proto::webhook::PushEventRequest;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;

/// How the stand-in delivers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Manner {
    Well,
    /// Each tenth event is accepted and lost.
    Losing,
    /// Each tenth delivery is made twice.
    Doubling,
    /// The payload is written anew, with spaces.
    Rewriting,
    /// Deliveries carry no idempotency key.
    Keyless,
    /// Each third request is refused with 429.
    Busy,
}

const PUSH_EVENT: &str = "/webhook.EventService/PushEvent";

struct StandIn {
    manner: Manner,
    requests: AtomicU64,
    /// Targets with their event types, in the order of their ids.
    subscriptions: Mutex<Vec<(String, Option<String>)>>,
    out: mpsc::UnboundedSender<(String, Bytes)>,
}

impl StandIn {
    /// Begins to serve; answers the URL.
    async fn start(manner: Manner) -> (String, Arc<StandIn>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("an address"));
        let (out, deliveries) = mpsc::unbounded_channel();
        tokio::spawn(deliver(manner, deliveries));
        let stand_in = Arc::new(StandIn { manner, requests: AtomicU64::new(0), subscriptions: Mutex::default(), out });
        let serving = stand_in.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let stand_in = serving.clone();
                let service = service_fn(move |request| {
                    let stand_in = stand_in.clone();
                    async move { Ok::<_, Infallible>(stand_in.handle(request).await) }
                });
                tokio::spawn(async move {
                    // A generator that has all it wanted goes away.
                    let _ = auto::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        (url, stand_in)
    }

    async fn handle(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_string();
        let is_grpc = request.headers().get("content-type").is_some_and(|media| media == "application/grpc");
        let body = request.into_body().collect().await.expect("a body").to_bytes();
        let answer = |status: u16, body: String| {
            let mut response = Response::new(Full::new(Bytes::from(body)));
            *response.status_mut() = StatusCode::from_u16(status).expect("a status");
            response
        };
        if path == "/subscriptions" {
            let wanted: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
            let mut subscriptions = self.subscriptions.lock();
            let url = wanted["target_url"].as_str().expect("a target").to_string();
            subscriptions.push((url, wanted["event_types"].as_str().map(String::from)));
            return answer(201, format!("{{\"id\":\"{}\"}}", subscriptions.len() - 1));
        }
        let n = self.requests.fetch_add(1, Ordering::Relaxed);
        if self.manner == Manner::Busy && n.is_multiple_of(3) {
            return answer(429, String::from("busy"));
        }
        for (target, payload) in self.route(&path, body, is_grpc) {
            match self.manner {
                Manner::Losing if n.is_multiple_of(10) => continue,
                Manner::Doubling if n.is_multiple_of(10) => self.out.send((target.clone(), payload.clone())).expect("a deliverer"),
                _ => {}
            }
            self.out.send((target, payload)).expect("a deliverer");
        }
        let mut accepted = answer(if path == PUSH_EVENT { 200 } else { 202 }, String::new());
        if is_grpc {
            accepted.headers_mut().insert("grpc-status", http::HeaderValue::from_static("0"));
        }
        accepted
    }

    /// Where a published body goes.
    fn route(&self, path: &str, body: Bytes, is_grpc: bool) -> Vec<(String, Bytes)> {
        let subscriptions = self.subscriptions.lock();
        if let Some(id) = path.strip_prefix("/ingest/") {
            return vec![(subscriptions[id.parse::<usize>().expect("an id")].0.clone(), body)];
        }
        let (event_type, payload) = if is_grpc {
            let request = PushEventRequest::decode_from_slice(&body[5..]).expect("a message");
            assert_eq!((path, &*request.namespace), (PUSH_EVENT, "default"));
            (request.event.clone(), request.payload.json().clone())
        } else {
            #[derive(serde::Deserialize)]
            struct Event<'a> {
                #[serde(alias = "event")]
                event_type: String,
                #[serde(borrow)]
                payload: &'a serde_json::value::RawValue,
                namespace: Option<String>,
            }
            let event: Event<'_> = serde_json::from_slice(&body).expect("JSON");
            let expected = if event.namespace.is_some() { PUSH_EVENT } else { "/v1/delivery/events" };
            assert_eq!(path, expected);
            (event.event_type, Bytes::from(event.payload.get().to_string()))
        };
        let wants = subscriptions.iter().filter(|(_, types)| types.as_ref() == Some(&event_type));
        wants.map(|(target, _)| (target.clone(), payload.clone())).collect()
    }
}

/// Delivers what comes, each on a task of its own, for some targets never answer; copies one after the other, so that none comes when
/// the run is over.
async fn deliver(manner: Manner, mut deliveries: mpsc::UnboundedReceiver<(String, Bytes)>) {
    while let Some((target, body)) = deliveries.recv().await {
        let body = if manner == Manner::Rewriting { Bytes::from(String::from_utf8_lossy(&body).replace(":", ": ")) } else { body };
        let delivery = tokio::spawn(async move {
            let uri: http::Uri = target.parse().expect("a target");
            // The receiver is gone at the end of a run.
            let Ok(stream) = TcpStream::connect(uri.authority().expect("a host").as_str()).await else { return };
            let Ok((mut sender, connection)) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await else { return };
            tokio::spawn(connection);
            let mut request = Request::post(uri.path()).header("host", "x");
            if manner != Manner::Keyless {
                request = request.header("idempotency-key", "k");
            }
            let _ = sender.send_request(request.body(Full::new(body)).expect("a request")).await;
        });
        if manner == Manner::Doubling {
            delivery.await.expect("a delivery");
        }
    }
}

const NO_WARM_UP: &str = "--warmup 0s";

/// Long enough for a connection that is tried again and for a machine that is busy with other tests: what is late is not lost.
const PATIENT: &str = "60s";

/// A run that must give up has to wait for so long.
const IMPATIENT: &str = "5s";

async fn bench(manner: Manner, flags: &str) -> Report {
    let (url, _server) = StandIn::start(manner).await;
    let give_up = if matches!(manner, Manner::Losing | Manner::Rewriting) { IMPATIENT } else { PATIENT };
    let line = format!("--url {url} --events 300 --connections 4 --give-up {give_up} --skip-direct --quiet {flags}");
    super::run::run(&parse(&line).expect("flags")).await.expect("a report")
}

#[tokio::test]
async fn a_clean_run_is_ok_and_counted_exactly() {
    let report = bench(Manner::Well, "--warmup 50ms").await;
    let server = report.server.as_ref().expect("a server");
    assert!(report.ok, "{report}");
    assert_eq!((server.sent, server.accepted, server.expected, server.delivered), (300, 300, 300, 300));
    assert_eq!((server.lost, server.duplicates, server.wrong, server.broken_exchanges), (0, 0, 0, 0));
    assert!(server.accepted_per_second > 0.0 && server.delivered_per_second > 0.0);
    assert!(server.accept_latency_us.is_some() && server.arrival_latency_us.is_some());
}

#[tokio::test]
async fn losses_duplicates_and_changed_bodies_are_found() {
    let losing = bench(Manner::Losing, NO_WARM_UP).await;
    let server = losing.server.as_ref().expect("a server");
    assert_eq!((losing.ok, server.lost, server.gave_up), (false, 30, true), "{losing}");
    let doubling = bench(Manner::Doubling, NO_WARM_UP).await;
    let server = doubling.server.as_ref().expect("a server");
    assert_eq!((doubling.ok, server.lost, server.duplicates), (false, 0, 30), "{doubling}");
    let rewriting = bench(Manner::Rewriting, NO_WARM_UP).await;
    let server = rewriting.server.as_ref().expect("a server");
    assert_eq!((rewriting.ok, server.wrong, server.delivered), (false, 300, 0), "{rewriting}");
    let keyless = bench(Manner::Keyless, NO_WARM_UP).await;
    assert_eq!((keyless.ok, keyless.server.as_ref().map(|s| s.without_key)), (false, Some(300)), "{keyless}");
}

#[tokio::test]
async fn each_event_fans_out_to_its_group() {
    let report = bench(Manner::Well, "--warmup 50ms --fan-out 3 --endpoints 6").await;
    let server = report.server.as_ref().expect("a server");
    assert!(report.ok, "{report}");
    assert_eq!((server.accepted, server.expected, server.delivered), (300, 900, 900));
}

#[tokio::test]
async fn events_are_pushed_over_connect_and_over_grpc() {
    for api in ["connect", "grpc"] {
        let report = bench(Manner::Well, &format!("--warmup 50ms --fan-out 2 --endpoints 4 --backlog 10 --api {api}")).await;
        let server = report.server.as_ref().expect("a server");
        assert!(report.ok, "{api}: {report}");
        assert_eq!((server.accepted, server.expected, server.delivered), (300, 600, 600), "{api}");
    }
}

#[tokio::test]
async fn hung_endpoints_and_a_backlog_are_left_out_of_the_books() {
    let report = bench(Manner::Well, "--endpoints 10 --hang 2 --backlog 50 --rate 2000 --warmup 50ms").await;
    let server = report.server.as_ref().expect("a server");
    assert!(report.ok, "{report}");
    assert_eq!((server.accepted, server.expected, server.delivered), (300, 240, 240));
    // At most 50 of the backlog, 60 of the 300 events and 20 of the 100 of the warm-up: nobody waits for them.
    assert!((1..=130).contains(&server.hung_requests), "{report}");
    assert!(server.backlog_seconds.is_some());
    let refused = bench(Manner::Well, "--warmup 0s --backlog 20 --backlog-mode refuse").await;
    assert!(refused.ok, "{refused}");
}

#[tokio::test]
async fn a_busy_server_is_asked_again_at_full_speed_only() {
    let insisting = bench(Manner::Busy, NO_WARM_UP).await;
    let server = insisting.server.as_ref().expect("a server");
    assert!(insisting.ok && server.other_answers[&429] > 0, "{insisting}");
    assert_eq!((server.accepted, server.delivered), (300, 300));
    assert_eq!(server.other_answer_example.as_deref(), Some("busy"));
    let open = bench(Manner::Busy, "--warmup 0s --rate 3000").await;
    let server = open.server.as_ref().expect("a server");
    assert_eq!((server.accepted, server.delivered, server.other_answers[&429]), (200, 200, 100), "{open}");
}

#[tokio::test]
async fn the_direct_phase_needs_no_server() {
    let args = parse("--only-direct --events 2000 --connections 8 --quiet").expect("flags");
    let report = super::run::run(&args).await.expect("a report");
    let direct = report.direct.as_ref().expect("a direct phase");
    assert!(report.ok && report.server.is_none());
    assert!(direct.exchanges == 2_000 && direct.per_second > 0.0 && direct.latency_us.is_some());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_explained() {
    let gone = TcpListener::bind("127.0.0.1:0").await.and_then(|listener| listener.local_addr()).expect("an address");
    let line = format!("--url http://{gone} --skip-direct --quiet");
    let error = super::run::run(&parse(&line).expect("flags")).await.expect_err("nobody listens");
    assert!(error.to_string().contains(&format!("cannot connect to {gone}")), "{error}");
}
