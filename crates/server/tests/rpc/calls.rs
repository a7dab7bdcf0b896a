//! The RPC API's doors: who may call, what is refused before a service sees it, health checks, reflection.

use crate::common;

use crate::common::{Answer, Client, Server, is_whole_second, keys};
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Request};
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper_util::rt::{TokioExecutor, TokioIo};
use postrider_proto::Message;
use postrider_proto::webhook as w;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::time::Instant;

const MASTER: &str = "a-master-key-for-tests";
const CONNECT: (&str, &str) = ("content-type", "application/json");
const LIST: &str = "/webhook.DeliveryService/ListDeliveries";
const CHECK: &str = "/grpc.health.v1.Health/Check";

fn error(answer: &Answer) -> (u16, Value) {
    (answer.status, answer.json())
}

/// Asks over HTTP/2 without TLS, as gRPC clients do.
async fn start(address: SocketAddr, path: &str, headers: &[(&str, &str)], message: &[u8]) -> http::Response<Incoming> {
    let stream = tokio::net::TcpStream::connect(address).await.expect("the server listens");
    let (mut sender, connection) =
        hyper::client::conn::http2::handshake(TokioExecutor::new(), TokioIo::new(stream)).await.expect("it speaks HTTP/2");
    tokio::spawn(connection);
    let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
    let body = [&[0][..], &length, message].concat();
    let request = Request::post(format!("http://{address}{path}")).header("content-type", "application/grpc").header("te", "trailers");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    sender.send_request(request.body(Full::new(Bytes::from(body))).expect("a request")).await.expect("an answer")
}

/// The status of gRPC and the messages of a whole answer, which come one behind the other.
async fn grpc(address: SocketAddr, path: &str, headers: &[(&str, &str)], message: &[u8]) -> (String, Bytes) {
    let response = start(address, path, headers, message).await;
    assert_eq!(response.status(), 200);
    let head = response.headers().clone();
    let body = response.into_body().collect().await.expect("a body");
    let status = |headers: &HeaderMap| headers.get("grpc-status").map(|status| status.to_str().expect("text").to_owned());
    let status = body.trailers().and_then(status).or_else(|| status(&head)).expect("a status");
    (status, body.to_bytes())
}

#[tokio::test]
async fn without_a_key_a_call_is_refused_as_documented() {
    let server = Server::guarded(MASTER);
    let document = "{\"error\":\"unauthorized\",\"message\":\"missing or invalid API key\"}\n";
    let wrong = [CONNECT, ("x-api-key", "wrong")];
    for headers in [&[CONNECT][..], &wrong, &[("content-type", "application/proto")], &[("content-type", "application/connect+json")]] {
        let answer = server.call("POST", LIST, headers, b"{}");
        assert_eq!((answer.status, answer.text().as_str()), (401, document), "{headers:?}");
        assert_eq!(answer.header("content-type"), Some("text/plain; charset=utf-8"));
        assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
    }
    let web = server.call("POST", LIST, &[("content-type", "application/grpc-web+proto")], &[0, 0, 0, 0, 0]);
    assert_eq!(web.status, 200);
    assert!(web.text().contains("grpc-status: 16\r\n"), "{}", web.text());
    assert_eq!(grpc(server.address, LIST, &[], b"").await.0, "16");
    assert_eq!(grpc(server.address, LIST, &[("x-api-key", "wrong")], b"").await.0, "16");
    // With the key it is answered.
    for key in [("x-api-key", MASTER), ("authorization", &*format!("Bearer {MASTER}"))] {
        assert_eq!(server.call("POST", LIST, &[CONNECT, key], b"{}").status, 200);
        assert_eq!(grpc(server.address, LIST, &[key], b"").await.0, "0");
    }
}

#[tokio::test]
async fn a_key_needs_the_scope_of_the_method() {
    let server = Server::guarded(MASTER);
    let body = json!({"name": "reader", "namespace": "shop", "scopes": ["read"]}).to_string();
    let made = server.call("POST", "/v1/keys", &[CONNECT, ("x-api-key", MASTER)], body.as_bytes());
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let reader = [CONNECT, ("x-api-key", key.as_str())];
    assert_eq!(server.call("POST", LIST, &reader, b"{}").status, 200);
    let refused = server.call("POST", "/webhook.EventService/PushEvent", &reader, b"{}");
    assert_eq!(error(&refused), (403, json!({"code": "permission_denied", "message": "the API key lacks the scope write"})));
    assert_eq!(grpc(server.address, "/webhook.EventService/PushEvent", &reader[1..], b"").await.0, "7");
}

#[tokio::test]
async fn a_key_that_asks_too_often_is_told_when_to_come_back() {
    let flags = ["--rate-limit-read", "1", "--rate-limit-write", "1", "--rate-limit-publish", "1"];
    let server = Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    let key = [CONNECT, ("x-api-key", MASTER)];
    let ways = [LIST, "/webhook.WebhookService/PauseWebhook", "/webhook.EventService/PushEvent"];
    // Each has a bucket of its own, so that the first call of each passes.
    for path in ways {
        let first = server.call("POST", path, &key, b"{}");
        assert_ne!(first.status, 429, "{path}: {}", first.text());
        assert_eq!((first.header("x-ratelimit-limit"), first.header("x-ratelimit-remaining")), (Some("1"), Some("0")), "{path}");
    }
    let refused = (0..1_000).map(|_| server.call("POST", LIST, &key, b"{}")).find(|answer| answer.status == 429).expect("a refusal");
    assert_eq!(refused.json()["code"], "resource_exhausted");
    assert!(refused.json()["message"].as_str().is_some_and(|text| text.contains("ask again in 1 s")), "{}", refused.text());
    assert_eq!((refused.header("retry-after"), refused.header("x-ratelimit-remaining")), (Some("1"), Some("0")));
    let begun = Instant::now();
    let response = loop {
        let response = start(server.address, LIST, &key[1..], b"").await;
        if response.headers().get("grpc-status").is_some_and(|status| status == "8") {
            break response;
        }
        assert!(begun.elapsed() < common::PATIENCE, "it is never refused");
    };
    assert_eq!(
        (&response.headers()["retry-after"], &response.headers()["x-ratelimit-limit"]),
        (&HeaderValue::from(1), &HeaderValue::from(1))
    );
    // Who shows no key has no bucket, and is refused for that.
    assert_eq!(server.call("POST", LIST, &[CONNECT], b"{}").status, 401);
}

/// The status of gRPC-Web, from the last frame of the body.
fn web_status(answer: &Answer) -> String {
    let text = answer.text();
    let status = text.split("grpc-status: ").nth(1).or_else(|| answer.header("grpc-status")).unwrap_or_else(|| panic!("no status: {text}"));
    status.chars().take_while(char::is_ascii_digit).collect()
}

#[tokio::test]
async fn every_protocol_tells_a_refusal_by_its_own_code() {
    const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";
    let server = Server::dev(&[]);
    let register = w::RegisterWebhookRequest {
        namespace: String::from("default"),
        url: String::from("https://hooks.example.com/in"),
        ..Default::default()
    };
    let (status, made) = grpc(server.address, "/webhook.WebhookService/RegisterWebhook", &[], &register.encode_to_vec()).await;
    assert_eq!(status, "0");
    let made = w::RegisterWebhookResponse::decode_from_slice(&made[5..]).expect("a message");
    assert!(made.webhook_secret.starts_with("whsec_"));
    let resume = |id: &str| w::ResumeWebhookRequest { webhook_id: id.to_owned(), ..Default::default() }.encode_to_vec();
    for (method, message, http, code, number) in [
        ("RegisterWebhook", register.encode_to_vec(), 409, "already_exists", "6"),
        ("ResumeWebhook", resume(&made.webhook_id), 400, "failed_precondition", "9"),
        ("ResumeWebhook", resume(NOBODY), 404, "not_found", "5"),
        ("ResumeWebhook", resume("w-1"), 400, "invalid_argument", "3"),
        ("ResumeWebhook", b"\x0a\x09".to_vec(), 400, "invalid_argument", "3"),
    ] {
        let path = format!("/webhook.WebhookService/{method}");
        let connect = server.call("POST", &path, &[("content-type", "application/proto")], &message);
        assert_eq!((connect.status, &connect.json()["code"]), (http, &json!(code)), "{method}");
        assert_eq!(grpc(server.address, &path, &[], &message).await.0, number, "{method}");
        let length = u32::try_from(message.len()).expect("a short message").to_be_bytes();
        let framed = [&[0][..], &length, &message].concat();
        let web = server.call("POST", &path, &[("content-type", "application/grpc-web+proto")], &framed);
        assert_eq!((web.status, web_status(&web).as_str()), (200, number), "{method}");
    }
}

#[test]
fn a_call_is_a_post_of_the_one_version() {
    let server = Server::guarded(MASTER);
    let key = ("x-api-key", MASTER);
    for method in ["GET", "PUT", "DELETE"] {
        let answer = server.call(method, LIST, &[CONNECT, key], b"{}");
        assert_eq!((answer.status, answer.header("allow")), (405, Some("POST")), "{method}");
    }
    let ask = |version| server.call("POST", LIST, &[CONNECT, key, ("connect-protocol-version", version)], b"{}");
    assert_eq!(ask("1").status, 200);
    let (status, refused) = error(&ask("2"));
    assert_eq!((status, &refused["code"]), (400, &json!("invalid_argument")), "{refused}");
    // A time that is enough changes nothing.
    assert_eq!(server.call("POST", LIST, &[CONNECT, key, ("connect-timeout-ms", "60000")], b"{}").status, 200);
}

#[test]
fn health_is_told_in_the_shapes_of_the_contract() {
    let server = Server::guarded(MASTER);
    let health = server.get("/health");
    let told = health.json();
    assert_eq!((health.status, keys(&told)), (200, vec!["checks", "service", "status", "timestamp", "uptime", "version"]));
    assert_eq!((&told["status"], &told["version"]), (&json!("healthy"), &json!(env!("CARGO_PKG_VERSION"))));
    assert!(is_whole_second(&told["timestamp"]) && told["uptime"].as_str().is_some_and(|text| text.ends_with('s')), "{told}");
    let checks = json!({"database": {"status": "healthy", "type": "sqlite"}, "queue": {"status": "healthy", "type": "store"}});
    assert_eq!(told["checks"], checks);
    assert_eq!((keys(&told["service"]), &told["service"]["name"]), (vec!["description", "endpoints", "name"], &json!("postrider")));
    let endpoints = json!({"grpc": "/", "http": "/", "health": "/health", "ready": "/ready"});
    assert_eq!(told["service"]["endpoints"], endpoints);
    let ready = server.get("/ready");
    let told = ready.json();
    assert_eq!((ready.status, keys(&told), &told["status"]), (200, vec!["status", "timestamp", "version"], &json!("ready")));
    assert!(is_whole_second(&told["timestamp"]), "{told}");
    for path in ["/health", "/ready"] {
        assert_eq!(server.call("POST", path, &[], b"").status, 405, "{path}");
    }
}

#[tokio::test]
async fn messages_are_bounded() {
    const LARGEST: usize = 4 << 20;
    let server = Server::dev(&[]);
    let of = |length: usize| format!("{{{}}}", " ".repeat(length - 2));
    let functions = |length| server.call("POST", "/webhook.WebhookService/GetTemplateFunctions", &[CONNECT], of(length).as_bytes());
    assert_eq!(functions(LARGEST).status, 200);
    let by_one = functions(LARGEST + 1);
    assert_eq!((by_one.status, &by_one.json()["code"]), (429, &json!("resource_exhausted")));
    // By more than what gRPC puts before a message, for which there is room.
    let over = server.call("POST", LIST, &[CONNECT], of(LARGEST + 6).as_bytes());
    // What is announced as too long is not asked for.
    let head = format!("POST {LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nexpect: 100-continue\r\n");
    let far_over = Client::new(server.address).exchange(format!("{head}content-length: {}\r\n\r\n", LARGEST * 2).as_bytes());
    for refused in [over, far_over] {
        assert_eq!((refused.status, &refused.json()["code"]), (429, &json!("resource_exhausted")));
    }
    // In binary it is no message, which shows that it was read.
    assert_eq!(grpc(server.address, LIST, &[], of(LARGEST).as_bytes()).await.0, "3");
    assert_eq!(grpc(server.address, LIST, &[], of(LARGEST + 1).as_bytes()).await.0, "8");
}

#[test]
fn a_message_that_does_not_come_is_given_up() {
    let server = Server::dev(&["--header-timeout", "300ms"]);
    let head = format!("POST {LIST} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n");
    let request = format!("{head}content-length: 10\r\n\r\n{{");
    let begun = Instant::now();
    let answer = loop {
        // The machine may be too slow now and then for the head to be there in time: then there is no answer.
        if let Some(answer) = Client::new(server.address).try_exchange(request.as_bytes()) {
            break answer;
        }
        assert!(begun.elapsed() < common::PATIENCE, "it is never answered");
    };
    assert_eq!((answer.status, &answer.json()["code"]), (504, &json!("deadline_exceeded")));
}

#[test]
fn what_is_no_call_is_refused() {
    let server = Server::dev(&[]);
    for (path, media) in [(LIST, "text/plain"), (CHECK, "text/plain"), (CHECK, "application/xml")] {
        let refused = server.call("POST", path, &[("content-type", media)], b"{}");
        assert_eq!((refused.status, refused.body.len()), (415, 0), "{path} {media}");
        assert!(refused.header("accept-post").is_some_and(|media| media.contains("application/json")));
    }
    for method in ["GET", "PUT", "DELETE", "OPTIONS"] {
        let refused = server.call(method, CHECK, &[], b"");
        assert_eq!((refused.status, refused.header("allow")), (405, Some("POST")), "{method}");
    }
    let version = |version| server.call("POST", CHECK, &[CONNECT, ("connect-protocol-version", version)], b"{}");
    assert_eq!(version("1").status, 200);
    assert_eq!((version("2").status, &version("2").json()["code"]), (400, &json!("invalid_argument")));
    // Who asks for no protocol of these gets what other paths answer.
    let missing = server.call("POST", "/webhook.NoService/Nothing", &[CONNECT], b"{}");
    assert_eq!((missing.status, missing.error()), (404, String::from("there is nothing at this path")));
}

#[tokio::test]
async fn a_grpc_client_understands_that_a_path_is_none() {
    let server = Server::dev(&[]);
    for path in ["/webhook.NoService/Nothing", "/webhook.HealthService/Nothing", "/nothing"] {
        assert_eq!(grpc(server.address, path, &[], b"").await.0, "12", "{path}");
    }
}

#[tokio::test]
async fn health_is_told_without_a_key_in_every_protocol() {
    let server = Server::guarded(MASTER);
    let check = |body: &str| server.call("POST", CHECK, &[CONNECT], body.as_bytes());
    assert_eq!((check("{}").status, check("{}").json()), (200, json!({"status": "SERVING"})));
    for service in ["", "webhook.WebhookService", "webhook.DeliveryService"] {
        assert_eq!(check(&json!({ "service": service }).to_string()).json(), json!({"status": "SERVING"}));
    }
    let missing = check(&json!({"service": "nothing"}).to_string());
    assert_eq!((missing.status, &missing.json()["code"]), (404, &json!("not_found")));
    let (status, message) = grpc(server.address, CHECK, &[], b"").await;
    assert_eq!((status.as_str(), &message[..]), ("0", &[0, 0, 0, 0, 2, 0x08, 1][..]));
    assert_eq!(grpc(server.address, CHECK, &[], b"\x0a\x07nothing").await.0, "5");
    let web = server.call("POST", CHECK, &[("content-type", "application/grpc-web+proto")], &[0, 0, 0, 0, 0]);
    // It comes in pieces, as it has trailers.
    let has = |part: &[u8]| web.body.windows(part.len()).any(|window| window == part);
    assert!(has(&[0, 0, 0, 0, 2, 0x08, 1]) && has(b"grpc-status: 0"), "{:?}", web.body);
}

#[tokio::test]
async fn who_watches_hears_of_the_stop_and_does_not_hold_it_up() {
    // So that nothing but the end of the watching lets the server end in time.
    let server = Server::dev(&["--shutdown-timeout", "1h"]);
    let mut watching = start(server.address, "/grpc.health.v1.Health/Watch", &[], b"").await.into_body();
    let mut heard = Vec::new();
    while heard.len() < 7 {
        let frame = watching.frame().await.expect("more to hear").expect("a frame");
        heard.extend_from_slice(frame.data_ref().expect("a message"));
    }
    assert_eq!(heard, [0, 0, 0, 0, 2, 0x08, 1]);
    let stopped = tokio::task::spawn_blocking(move || server.stop().0);
    let rest = watching.collect().await.expect("it ends in good order");
    assert_eq!(rest.trailers().and_then(|t| t.get("grpc-status")).map(|s| s.as_bytes()), Some(&b"0"[..]));
    assert_eq!(&rest.to_bytes()[..], [0, 0, 0, 0, 2, 0x08, 2]);
    assert!(stopped.await.expect("an end").success());
}

#[tokio::test]
async fn reflection_lists_what_answers_and_knows_the_contract() {
    let server = Server::guarded(MASTER);
    let holds = |bytes: &[u8], text: &str| bytes.windows(text.len()).any(|window| window == text.as_bytes());
    for version in ["v1", "v1alpha"] {
        let path = format!("/grpc.reflection.{version}.ServerReflection/ServerReflectionInfo");
        let (status, listed) = grpc(server.address, &path, &[], b"\x3a\x00").await;
        assert_eq!(status, "0");
        assert!(holds(&listed, "grpc.reflection.v1.ServerReflection"), "{listed:?}");
        for service in ["Webhook", "Event", "Subscription", "Delivery", "Health"] {
            assert!(holds(&listed, &format!("webhook.{service}Service")), "{service}: {listed:?}");
        }
        for service in ["Overview", "Ledger", "Endpoint", "DeadLetter", "Schedule", "Admin"] {
            assert!(holds(&listed, &format!("postrider.v1.{service}Service")), "{service}: {listed:?}");
        }
        let symbol = "webhook.DeliveryService";
        let (status, file) = grpc(server.address, &path, &[], &[&[0x22, symbol.len() as u8], symbol.as_bytes()].concat()).await;
        assert_eq!(status, "0");
        assert!(holds(&file, "webhook/webhook.proto") && holds(&file, "GetDeliveryStatus") && holds(&file, "google/protobuf/struct.proto"));
    }
}

#[tokio::test]
async fn a_second_port_answers_the_same() {
    let server = Server::dev(&["--grpc-listen", "127.0.0.1:0"]);
    let line = server.heard.iter().find_map(|line| line.trim().strip_prefix("gRPC too on ")).expect("it says where");
    let second: SocketAddr = line.trim().parse().expect("an address");
    assert_ne!(second, server.address);
    for address in [server.address, second] {
        assert_eq!(grpc(address, CHECK, &[], b"").await.0, "0");
        assert_eq!(Client::new(address).call("GET", "/healthz", &[], b"").status, 200);
    }
    let (status, _) = server.stop();
    assert!(status.success());
    assert!(tokio::net::TcpStream::connect(second).await.is_err(), "it is closed");
}
