//! `postrider.v1.EndpointService`: endpoints in lists, their status, their secrets and tests.

use crate::common::items::{Api, destination};
use crate::common::receiver::Received;
use crate::common::rpc::Rpc;
use crate::common::{PATIENCE, Receiver, Reply, Server};
use postrider_core::sign::SigningKey;
use serde_json::{Value, json};
use tokio::time::Instant;

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const LIST: &str = "postrider.v1.EndpointService/ListEndpoints";
const GET: &str = "postrider.v1.EndpointService/GetEndpoint";
const STATUS: &str = "postrider.v1.EndpointService/SetEndpointStatus";
const ROTATE: &str = "postrider.v1.EndpointService/RotateSecret";
const END: &str = "postrider.v1.EndpointService/EndRotation";
const TEST: &str = "postrider.v1.EndpointService/TestEndpoint";

/// Registers a webhook for events of this name, without retries; answers its id.
fn register(rpc: &Rpc<'_>, url: &str, event: &str) -> String {
    rpc.register(url, json!({"events": [event], "http_config": {"max_retries": 0}})).0
}

fn push(rpc: &Rpc<'_>, namespace: &str, event: &str) {
    rpc.ask("EventService/PushEvent", &json!({"namespace": namespace, "event": event, "payload": {"n": 1}}));
}

fn ids(listed: &Value) -> Vec<&str> {
    let all = listed["endpoints"].as_array();
    all.into_iter().flatten().map(|endpoint| endpoint["endpointId"].as_str().expect("an id")).collect()
}

/// An endpoint as lists show it.
fn summary(rpc: &Rpc<'_>, id: &str) -> Value {
    let listed = rpc.ask(LIST, &json!({"text": id}));
    assert_eq!(ids(&listed), [id]);
    listed["endpoints"][0].clone()
}

#[test]
fn endpoints_are_listed_with_how_they_do() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    assert_eq!(rpc.ask(LIST, &json!({})), json!({}));
    let (good, bad) = (Receiver::answering(200), Receiver::answering(500));
    let (healthy, unhealthy) = (register(&rpc, &good.url, "a.b"), register(&rpc, &bad.url, "a.b"));
    let idle = api.make("destinations", &destination("https://hooks.example.com/in"));
    push(&rpc, "default", "a.b");
    let is_counted = |listed: &Value| {
        (1..=2).all(|place| listed["endpoints"][place]["deliveries"].as_object().is_some_and(|o| !o.is_empty()))
            && listed["endpoints"][1]["health"] == "unhealthy"
            && listed["endpoints"][2]["health"] == "healthy"
    };
    let listed = rpc.ask_until(LIST, &json!({}), is_counted);
    assert_eq!((ids(&listed), &listed["total"]), (vec![idle.as_str(), &unhealthy, &healthy], &json!("3")), "newest first");
    let failing = &listed["endpoints"][1];
    assert_eq!(failing["healthReasons"], json!(["0 % of 1 delivery of the last 24 hours succeeded"]));
    assert_eq!((&failing["successRate"], &failing["failuresInARow"]), (&json!(0.0), &json!(1)));
    assert_eq!((&failing["deliveries"], &failing["openDeadLetters"]), (&json!({"failed": "1"}), &json!("1")));
    assert_eq!((&failing["subscriptions"], &failing["url"], &failing["status"]), (&json!(1), &json!(bad.url), &json!("active")));
    let hours = failing["hours"].as_array().expect("hours");
    let counted = hours.iter().filter(|hour| **hour == json!({"failed": "1"})).count();
    assert_eq!((hours.len(), counted), (24, 1), "{hours:?}");
    assert!(failing["lastFailureAt"].is_string() && failing.get("lastSuccessAt").is_none() && failing["meanResponseMs"].is_f64());
    let nothing = &listed["endpoints"][0];
    assert_eq!((&nothing["health"], &nothing["name"], nothing.get("successRate")), (&json!("idle"), &json!("a receiver"), None));
    for (filter, expected) in [
        (json!({"health": "unhealthy"}), vec![unhealthy.as_str()]),
        (json!({"health": "healthy", "status": "active"}), vec![healthy.as_str()]),
        (json!({"health": "degraded"}), vec![]),
        (json!({"health": "idle", "text": "A RECEIVER"}), vec![idle.as_str()]),
        (json!({"text": bad.url}), vec![unhealthy.as_str()]),
        (json!({"text": "nowhere"}), vec![]),
        (json!({"status": "paused"}), vec![]),
        (json!({"namespace": "default", "text": "hooks.example.com"}), vec![idle.as_str()]),
        (json!({"namespace": "other"}), vec![]),
    ] {
        let listed = rpc.ask(LIST, &filter);
        assert_eq!(
            (ids(&listed), listed["total"].as_str().unwrap_or("0")),
            (expected.clone(), expected.len().to_string().as_str()),
            "{filter}"
        );
    }
    let (mut walked, mut token) = (Vec::new(), String::new());
    loop {
        let page = rpc.ask(LIST, &json!({"page_size": 1, "page_token": token}));
        assert_eq!((ids(&page).len(), &page["total"]), (1, &json!("3")));
        walked.extend(ids(&page).into_iter().map(str::to_owned));
        token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
        if token.is_empty() {
            break;
        }
    }
    assert_eq!(walked, [idle, unhealthy, healthy]);
    for (request, part) in [
        (json!({"status": "odd"}), "status"),
        (json!({"health": "ill"}), "health"),
        (json!({"page_token": "odd"}), "page_token"),
        (json!({"namespace": "a b"}), "namespace"),
    ] {
        let (status, code, message) = rpc.refused(LIST, &request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn an_endpoint_is_paused_and_made_active() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let gone = Receiver::scripted(|n| Reply::Status(if n == 0 { 410 } else { 200 }));
    let id = register(&rpc, &gone.url, "a.b");
    let set = |status: &str| rpc.ask(STATUS, &json!({"endpoint_id": id, "status": status}))["endpoint"].clone();
    let paused = set("paused");
    assert_eq!((&paused["status"], paused["statusSince"].is_string()), (&json!("paused"), true));
    assert_eq!(set("paused")["statusSince"], paused["statusSince"], "nothing happens to one that is so already");
    assert_eq!(ids(&rpc.ask(LIST, &json!({"status": "paused"}))), [id.as_str()]);
    let active = set("active");
    assert_eq!((&active["status"], active.get("statusSince")), (&json!("active"), None));
    push(&rpc, "default", "a.b");
    let disabled = rpc.ask_until(LIST, &json!({"status": "disabled"}), |listed| !ids(listed).is_empty());
    assert_eq!(disabled["endpoints"][0]["statusReason"], "endpoint_gone");
    assert_eq!(set("active")["status"], "active");
    push(&rpc, "default", "a.b");
    gone.wait_for(2);
    for status in ["", "disabled", "odd"] {
        let (_, code, message) = rpc.refused(STATUS, &json!({"endpoint_id": id, "status": status}));
        assert!(code == "invalid_argument" && message.contains("status"), "{message}");
    }
}

/// Whether a request has a right signature of Standard Webhooks under this secret.
fn is_signed(request: &Received, secret: &str) -> bool {
    let at = request.headers["webhook-timestamp"].parse().expect("seconds");
    let expected = SigningKey::new(secret).expect("a secret").standard(&request.headers["webhook-id"], at, &request.body);
    request.headers["webhook-signature"].split(' ').any(|signature| signature == expected)
}

/// Pushes an event and answers the request that came of it.
fn delivered(rpc: &Rpc<'_>, receiver: &Receiver) -> Received {
    let before = receiver.count();
    push(rpc, "default", "a.b");
    receiver.wait_for(before + 1).remove(before)
}

#[test]
fn a_secret_is_rotated_with_an_overlap_and_the_rotation_ended() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    let (id, made) = rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let first = made["webhookSecret"].as_str().expect("a secret").to_owned();
    let rotate = |more: Value| {
        let mut request = json!({"endpoint_id": id});
        request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
        rpc.ask(ROTATE, &request)
    };
    let secrets = || rpc.ask(GET, &json!({"endpoint_id": id}))["settings"]["secrets"].as_array().expect("secrets").clone();
    assert_eq!(secrets().len(), 1);
    let answer = rotate(json!({}));
    let second = answer["secret"].as_str().expect("a secret").to_owned();
    assert!(answer["overlapUntil"].is_string() && second.starts_with("whsec_") && second != first);
    let request = delivered(&rpc, &receiver);
    assert!(is_signed(&request, &first) && is_signed(&request, &second), "both sign: {:?}", request.headers);
    let shown = secrets();
    assert_eq!((shown.len(), shown[0].get("signsUntil"), &shown[1]["signsUntil"]), (2, None, &answer["overlapUntil"]));
    assert!(shown.iter().all(|secret| secret["masked"].as_str().is_some_and(|text| text.starts_with("whse") && text.ends_with("***"))));
    // Of the one before the last nothing is left.
    let given = rotate(json!({"secret": "the-third-secret"}));
    assert_eq!(given.get("secret"), None, "the client has it");
    let request = delivered(&rpc, &receiver);
    assert_eq!([first.as_str(), &second, "the-third-secret"].map(|secret| is_signed(&request, secret)), [false, true, true]);
    assert_eq!(rpc.ask(END, &json!({"endpoint_id": id})), json!({"removed": 1}));
    let request = delivered(&rpc, &receiver);
    assert_eq!([second.as_str(), "the-third-secret"].map(|secret| is_signed(&request, secret)), [false, true]);
    assert_eq!(rpc.ask(END, &json!({"endpoint_id": id})), json!({}), "there is none any more");
    // Without an overlap the one before ends at once.
    let answer = rotate(json!({"overlap_seconds": 0}));
    let fourth = answer["secret"].as_str().expect("a secret").to_owned();
    assert_eq!((answer.get("overlapUntil"), secrets().len()), (None, 1));
    let request = delivered(&rpc, &receiver);
    assert_eq!([fourth.as_str(), "the-third-secret"].map(|secret| is_signed(&request, secret)), [true, false]);
}

#[test]
fn an_overlap_ends_by_itself() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    let (id, made) = rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let before = made["webhookSecret"].as_str().expect("a secret").to_owned();
    let answer = rpc.ask(ROTATE, &json!({"endpoint_id": id, "overlap_seconds": 2}));
    let after = answer["secret"].as_str().expect("a secret");
    let begun = Instant::now();
    loop {
        let request = delivered(&rpc, &receiver);
        assert!(is_signed(&request, after), "the new one signs from the beginning");
        if !is_signed(&request, &before) {
            break;
        }
        assert!(begun.elapsed() < PATIENCE, "the old one signs for ever");
    }
    let settings = rpc.ask(GET, &json!({"endpoint_id": id}))["settings"].clone();
    assert_eq!(settings["secrets"].as_array().map(Vec::len), Some(1), "{settings}");
}

#[test]
fn what_cannot_be_rotated_says_so() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (id, made) = rpc.register("https://hooks.example.com/in", json!({}));
    let (pair, _) = rpc.register("https://hooks.example.com/pair", json!({"signature_type": "ed25519"}));
    let secret = made["webhookSecret"].as_str().expect("a secret");
    let masked = rpc.ask(GET, &json!({"endpoint_id": id}))["settings"]["secrets"][0]["masked"].clone();
    for (request, code, part) in [
        (json!({"endpoint_id": id, "overlap_seconds": -1}), "invalid_argument", "overlap_seconds"),
        (json!({"endpoint_id": id, "overlap_seconds": 604_801}), "invalid_argument", "604800"),
        (json!({"endpoint_id": id, "secret": "whsec_!!!"}), "invalid_argument", "secret: "),
        (json!({"endpoint_id": id, "secret": "x".repeat(1_025)}), "invalid_argument", "1024"),
        (json!({"endpoint_id": id, "secret": secret}), "invalid_argument", "the one that the endpoint has"),
        (json!({"endpoint_id": id, "secret": masked}), "invalid_argument", "the one that the endpoint has"),
        (json!({"endpoint_id": pair}), "failed_precondition", "signature_type"),
        (json!({"endpoint_id": NOBODY}), "not_found", "endpoint"),
        (json!({}), "invalid_argument", "endpoint_id is required"),
    ] {
        let (_, found, message) = rpc.refused(ROTATE, &request);
        assert_eq!(found, code, "{request}: {message}");
        assert!(message.contains(part), "{message}");
    }
    let settings = rpc.ask(GET, &json!({"endpoint_id": pair}))["settings"].clone();
    assert_eq!((settings.get("secrets"), &settings["schemes"]), (None, &json!(["standard"])));
    assert_eq!(settings["signingPublicKey"].as_str().map(str::len), Some(64));
    assert_eq!(rpc.ask(END, &json!({"endpoint_id": pair})), json!({}), "a pair of keys is no older secret");
    // One that has no secret gets its first one.
    let none = Api::of(&server).make("destinations", &destination("https://hooks.example.com/none"));
    let first = rpc.ask(ROTATE, &json!({"endpoint_id": none}));
    assert!(first["secret"].is_string() && first.get("overlapUntil").is_none(), "{first}");
}

#[test]
fn a_test_tells_the_exchange() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let receiver = Receiver::scripted(|n| if n == 0 { Reply::Body(200, 5) } else { Reply::Limited("7") });
    let mut body = destination(&receiver.url);
    body["signing_secret"] = json!("s3cret-of-signing");
    body["auth_config"] = json!({"type": "bearer", "token": "s3cret-token"});
    let id = api.make("destinations", &body);
    let answer = rpc.ask(TEST, &json!({"endpoint_id": id}));
    let attempt = &answer["attempt"];
    assert_eq!((&answer["success"], &attempt["httpStatus"], &attempt["category"]), (&json!(true), &json!(200), &json!("success")));
    assert_eq!((&attempt["url"], &attempt["method"], &attempt["number"]), (&json!(receiver.url), &json!("POST"), &json!(1)));
    assert!(attempt["phases"]["total"].as_f64().is_some_and(|total| total > 0.0), "{attempt}");
    let header = |of: &Value, name: &str| {
        let found = of.as_array().expect("headers").iter().find(|header| header["name"] == name).cloned();
        found.unwrap_or_else(|| panic!("no {name} in {of}"))
    };
    for secret in ["authorization", "webhook-signature", "x-postrider-signature"] {
        assert_eq!(header(&attempt["requestHeaders"], secret), json!({"name": secret, "value": "***", "masked": true}));
    }
    assert_eq!(header(&attempt["requestHeaders"], "x-postrider-event")["value"], "delivery.test");
    let schemes: Vec<&Value> = attempt["signatures"].as_array().expect("signatures").iter().map(|signature| &signature["scheme"]).collect();
    assert_eq!(schemes, ["Postrider", "Standard Webhooks"]);
    assert_eq!(header(&attempt["responseHeaders"], "content-length")["value"], "5");
    assert_eq!(attempt["responseBody"]["bytes"], "eHh4eHg=");
    assert!(!answer.to_string().contains("s3cret"), "{answer}");
    let limited = rpc.ask(TEST, &json!({"endpoint_id": id}));
    let attempt = &limited["attempt"];
    assert_eq!((limited.get("success"), &attempt["errorCode"], &attempt["retryAfterSeconds"]), (None, &json!("rate_limited"), &json!(7.0)));
    let nowhere = api.make("destinations", &destination("http://127.0.0.1:1/"));
    let failed = rpc.ask(TEST, &json!({"endpoint_id": nowhere}))["attempt"].clone();
    assert_eq!((&failed["errorCode"], failed.get("httpStatus")), (&json!("connection_error"), None));
    assert_eq!(api.get("/v1/delivery/items").json()["total"], 0, "nothing is recorded");
    assert_eq!(summary(&rpc, &id)["status"], "active", "a test disables nothing");
}

#[test]
fn what_belongs_to_another_namespace_does_not_exist() {
    let server = Server::guarded(MASTER);
    let (master, keys) = (Rpc::with_key(&server, MASTER, "shop"), Api::with_key(&server, MASTER));
    let id = register(&master, "https://hooks.example.com/in", "a.b");
    let (stranger, _) = keys.key(&json!({"namespace": "other", "scopes": ["read", "write"]}));
    let (reader, _) = keys.key(&json!({"namespace": "shop", "scopes": ["read"]}));
    let (stranger, reader) = (Rpc::with_key(&server, &stranger, "other"), Rpc::with_key(&server, &reader, "shop"));
    let of_endpoint = [
        (GET, json!({"endpoint_id": id})),
        (STATUS, json!({"endpoint_id": id, "status": "paused"})),
        (ROTATE, json!({"endpoint_id": id})),
        (END, json!({"endpoint_id": id})),
        (TEST, json!({"endpoint_id": id})),
    ];
    for (method, request) in &of_endpoint {
        assert_eq!(stranger.refused(method, request).1, "not_found", "{method}");
    }
    assert_eq!((stranger.ask(LIST, &json!({})), stranger.ask(LIST, &json!({"namespace": "shop"}))), (json!({}), json!({})));
    assert_eq!(
        (ids(&reader.ask(LIST, &json!({}))), &reader.ask(GET, &of_endpoint[0].1)["endpoint"]["namespace"]),
        (vec![id.as_str()], &json!("shop"))
    );
    for (method, request) in &of_endpoint[1..] {
        assert_eq!(reader.refused(method, request).1, "permission_denied", "{method}");
    }
    assert_eq!(summary(&master, &id)["status"], "active", "nobody has changed it");
    for (method, request) in [(GET, json!({"endpoint_id": NOBODY})), (GET, json!({"endpoint_id": "7"})), (GET, json!({}))] {
        let code = master.refused(method, &request).1;
        assert_eq!(code, if request["endpoint_id"] == NOBODY { "not_found" } else { "invalid_argument" }, "{request}");
    }
}
