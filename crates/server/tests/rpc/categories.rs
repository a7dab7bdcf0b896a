//! What goes wrong with real receivers, as the RPC API classes it: each class after a real fault. That a connection which is not accepted runs
//! out of its time as the others do is tested in `outbound`.

use crate::common::receiver::read;
use crate::common::rpc::Rpc;
use crate::common::{Nobody, Receiver, Reply, Server};
use postrider_core::time::Timestamp;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use rustls_pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use serde_json::{Value, json};
use std::io::{BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

const LIST: &str = "DeliveryService/ListDeliveries";
const STATUS: &str = "DeliveryService/GetDeliveryStatus";
const ATTEMPTS: &str = "DeliveryService/GetDeliveryAttempts";

/// Gives every connection to `serve`, which owns it; answers the address.
fn listen(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address").to_string();
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    address
}

/// Waits until the other side closes.
fn wait_for_its_end(mut stream: TcpStream) {
    let mut rest = Vec::new();
    let _ = stream.read_to_end(&mut rest);
}

/// Answers these bytes to one request, and then nothing.
fn answers_and_waits(bytes: &'static [u8]) -> String {
    listen(move |mut stream| {
        read(&mut BufReader::new(stream.try_clone().expect("a handle")));
        let _ = stream.write_all(bytes);
        wait_for_its_end(stream);
    })
}

/// Begins a response and closes the connection over a request of which something is unread, which resets it.
fn resets() -> String {
    listen(|mut stream| {
        let mut first = [0];
        let _ = stream.read_exact(&mut first);
        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf of");
    })
}

/// An authority that the server under test trusts, for it is the only one that it knows.
struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        // By its own name: what nobody has signed must not seem to be of it.
        params.distinguished_name.push(DnType::CommonName, "the authority of this test");
        Authority(CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate"))
    }

    /// A receiver with a certificate for this name, which the authority has signed or nobody.
    fn receiver(&self, name: &str, is_signed: bool, change: impl FnOnce(&mut CertificateParams)) -> String {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = if is_signed { params.signed_by(&key, &self.0) } else { params.self_signed(&key) }.expect("a certificate");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate with its key");
        let config = Arc::new(config);
        listen(move |stream| {
            let connection = ServerConnection::new(Arc::clone(&config)).expect("a connection");
            let mut reader = BufReader::new(StreamOwned::new(connection, stream));
            while read(&mut reader).is_some() {
                let _ = reader.get_mut().write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n");
            }
        })
    }
}

/// What a fault comes to.
struct Case {
    what: &'static str,
    url: String,
    config: Value,
    category: &'static str,
    status: &'static str,
    code: u64,
    /// What its message has in it.
    message: &'static str,
}

fn case(what: &'static str, url: String, [category, status]: [&'static str; 2], code: u64, message: &'static str) -> Case {
    let url = if url.starts_with("http") { url } else { format!("http://{url}/") };
    Case {
        what,
        url,
        config: json!({}),
        category,
        status: if status == "retried" { "DELIVERY_RETRYING" } else { "DELIVERY_FAILED" },
        code,
        message,
    }
}

/// Of one answer of a receiver.
fn answer(what: &'static str, receivers: &mut Vec<Receiver>, reply: Reply, kind: [&'static str; 2], code: u64) -> Case {
    receivers.push(Receiver::scripted(move |_| reply));
    case(what, receivers[receivers.len() - 1].url.clone(), kind, code, "")
}

/// Of a redirect that is followed.
fn redirected(receivers: &mut Vec<Receiver>) -> Case {
    receivers.push(Receiver::scripted(|n| if n == 0 { Reply::Follow("/there") } else { Reply::Status(200) }));
    let url = receivers[receivers.len() - 1].url.clone();
    Case { status: "DELIVERY_SUCCESS", ..case("a redirect that is followed", url, ["success", ""], 200, "") }
}

fn cases(authority: &Authority, nobody: &Nobody, receivers: &mut Vec<Receiver>) -> Vec<Case> {
    let https = |address: String| format!("https://{address}/");
    let soon = |case: Case| Case { config: json!({"request_timeout_seconds": 1}), ..case };
    let (tls, timeout) = (["tls_error", "ended"], ["timeout", "retried"]);
    let good = https(authority.receiver("127.0.0.1", true, |_| {}));
    let own = https(authority.receiver("127.0.0.1", false, |_| {}));
    let old = https(authority.receiver("127.0.0.1", true, |params| params.not_after = date_time_ymd(2020, 1, 1)));
    let other = https(authority.receiver("elsewhere.example", true, |_| {}));
    vec![
        Case { status: "DELIVERY_SUCCESS", ..case("a trusted certificate", good, ["success", ""], 200, "") },
        case("a self-signed certificate", own, tls, 0, "self-signed or its issuer is unknown"),
        case("an expired certificate", old, tls, 0, "certificate expired"),
        case("a certificate of another host", other, tls, 0, "not valid for the name"),
        case("a port without TLS", https(answers_and_waits(b"HTTP/1.1 400 No\r\n\r\n")), tls, 0, "does not speak TLS"),
        case("a refused port", nobody.address.to_string(), ["connection_refused", "retried"], 0, "refused"),
        case("a dead name", String::from("https://nobody.invalid/"), ["dns_error", "ended"], 0, "the name does not exist"),
        soon(case("a silent handshake", https(listen(wait_for_its_end)), timeout, 0, "TLS handshake")),
        soon(case("no answer", answers_and_waits(b""), timeout, 0, "1s")),
        soon(case("half a body", answers_and_waits(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf"), timeout, 0, "1s")),
        case("a reset", resets(), ["network_error", "retried"], 0, ""),
        case("no HTTP", answers_and_waits(b"SSH-2.0-x\r\n\r\n"), ["unknown", "ended"], 0, ""),
        answer("not found", receivers, Reply::Status(404), ["client_error", "ended"], 404),
        answer("not allowed", receivers, Reply::Status(401), ["client_error", "ended"], 401),
        answer("too many", receivers, Reply::Status(429), ["client_error", "retried"], 429),
        answer("a server's error", receivers, Reply::Status(503), ["server_error", "retried"], 503),
        answer("another success", receivers, Reply::Status(203), ["unknown", "ended"], 203),
        Case {
            config: json!({"follow_redirects": false}),
            ..answer("a redirect that is not followed", receivers, Reply::Redirect("/x"), ["unknown", "ended"], 302)
        },
        Case {
            message: "10.0.0.1 is a private address",
            ..answer("a redirect to where nothing may be sent", receivers, Reply::Follow("http://10.0.0.1/"), ["unknown", "ended"], 0)
        },
        redirected(receivers),
    ]
}

/// The delivery to a webhook, once its first attempt has ended, and that attempt.
fn ended(rpc: &Rpc<'_>, webhook: &str) -> (Value, Value) {
    let listed = rpc.ask_until(LIST, &json!({"webhook_id": webhook}), |answer| !answer["deliveries"][0]["errorCategory"].is_null());
    let delivery = listed["deliveries"][0].clone();
    let attempts = rpc.ask(ATTEMPTS, &json!({"delivery_id": delivery["deliveryId"]}));
    assert_eq!(attempts["attempts"].as_array().map(Vec::len), Some(1), "{attempts}");
    (delivery, attempts["attempts"][0].clone())
}

#[test]
fn every_fault_has_its_class() {
    let authority = Authority::new();
    let directory = tempfile::tempdir().expect("a directory");
    let roots = directory.path().join("roots.pem");
    std::fs::write(&roots, authority.0.pem()).expect("a file");
    let server = Server::start(directory, &["--dev"], &[("SSL_CERT_FILE", roots.to_str().expect("a path"))]);
    let rpc = Rpc::of(&server);
    let (mut receivers, nobody) = (Vec::new(), Nobody::new());
    let cases = cases(&authority, &nobody, &mut receivers);
    let register = |case: &Case| rpc.register(&case.url, json!({"events": ["a.b"], "http_config": case.config})).0;
    let webhooks: Vec<String> = cases.iter().map(register).collect();
    rpc.ask("EventService/PushEvent", &json!({"namespace": "default", "event": "a.b", "payload": {"n": 1}}));
    for (case, webhook) in cases.iter().zip(&webhooks) {
        let (delivery, attempt) = ended(&rpc, webhook);
        let what = format!("{}: {delivery} {attempt}", case.what);
        assert_eq!((&delivery["errorCategory"], &attempt["errorCategory"]), (&json!(case.category), &json!(case.category)), "{what}");
        assert_eq!(delivery["status"], case.status, "{what}");
        let code = if case.code == 0 { Value::Null } else { json!(case.code) };
        assert_eq!((&delivery["responseCode"], &attempt["responseCode"]), (&code, &code), "{what}");
        let is_success = case.category == "success";
        assert_eq!((attempt["success"] == json!(true), attempt["errorMessage"].is_null()), (is_success, is_success), "{what}");
        assert_eq!(delivery["errorMessage"], attempt["errorMessage"], "{what}");
        assert!(attempt["errorMessage"].as_str().unwrap_or_default().contains(case.message), "{what}");
        assert_eq!(delivery["nextRetryAt"].is_string(), case.status == "DELIVERY_RETRYING", "{what}");
        // What waited for an answer says for how long; without a connection nothing was waited for.
        let waited = attempt["responseTime"].as_u64().unwrap_or_default();
        match case.what {
            "no answer" | "half a body" => assert!(waited >= 900, "{what}"),
            "a refused port" | "a dead name" => assert_eq!(waited, 0, "{what}"),
            _ => assert!(waited > 0 || case.code == 0, "{what}"),
        }
    }
    for category in
        ["success", "client_error", "server_error", "timeout", "connection_refused", "network_error", "dns_error", "tls_error", "unknown"]
    {
        let listed = rpc.ask(LIST, &json!({"error_category": category}));
        let mut found: Vec<&str> = listed["deliveries"].as_array().expect("some").iter().filter_map(|d| d["webhookId"].as_str()).collect();
        let of_it = cases.iter().zip(&webhooks).filter(|(case, _)| case.category == category);
        let mut expected: Vec<&str> = of_it.map(|(_, webhook)| webhook.as_str()).collect();
        found.sort_unstable();
        expected.sort_unstable();
        assert_eq!((found, &listed["pagination"]["totalCount"]), (expected.clone(), &json!(expected.len())), "{category}");
    }
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("{value} is no time"))
}

#[test]
fn a_429_waits_as_long_as_it_says_and_costs_no_attempt() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let once = json!({"events": ["a.b"], "http_config": {"max_retries": 0}});
    let limited = Receiver::scripted(|n| if n < 2 { Reply::Limited("1") } else { Reply::Status(200) });
    let (for_ever, silent) = (Receiver::scripted(|_| Reply::Limited("86400")), Receiver::answering(429));
    let [limited, for_ever, silent] = [&limited, &for_ever, &silent].map(|receiver| rpc.register(&receiver.url, once.clone()).0);
    rpc.ask("EventService/PushEvent", &json!({"namespace": "default", "event": "a.b"}));
    // A day is a quarter of an hour; nothing is a minute.
    for (webhook, least, most) in [(&for_ever, 900, 960), (&silent, 60, 120)] {
        let (delivery, attempt) = ended(&rpc, webhook);
        assert_eq!((&delivery["status"], &delivery["maxAttempts"]), (&json!("DELIVERY_RETRYING"), &json!(1)), "{delivery}");
        assert_eq!((delivery.get("attemptCount"), &attempt["responseCode"]), (None, &json!(429)), "{delivery}");
        let wait = time(&delivery["nextRetryAt"]).since(time(&delivery["lastAttemptedAt"]));
        assert!((Duration::from_secs(least)..Duration::from_secs(most)).contains(&wait), "{wait:?} {delivery}");
    }
    let ask = json!({"webhook_id": limited});
    let listed = rpc.ask_until(LIST, &ask, |answer| answer["deliveries"][0]["status"] == "DELIVERY_SUCCESS");
    let delivery = &listed["deliveries"][0];
    assert_eq!((&delivery["attemptCount"], &delivery["maxAttempts"]), (&json!(1), &json!(1)), "{delivery}");
    let alone = rpc.ask(STATUS, &json!({"delivery_id": delivery["deliveryId"]}))["delivery"].clone();
    assert_eq!((&alone["attemptCount"], &alone["errorCategory"]), (&json!(1), &json!("success")), "{alone}");
    let attempts = rpc.ask(ATTEMPTS, &json!({"delivery_id": delivery["deliveryId"]}));
    let attempts = attempts["attempts"].as_array().expect("some");
    let codes: Vec<&Value> = attempts.iter().map(|attempt| &attempt["responseCode"]).collect();
    assert_eq!(codes, [&json!(429), &json!(429), &json!(200)], "oldest first");
    for pair in attempts.windows(2) {
        let gap = time(&pair[1]["timestamp"]).since(time(&pair[0]["timestamp"]));
        assert!(gap >= Duration::from_secs(1), "{gap:?}");
    }
}
