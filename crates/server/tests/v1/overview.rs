//! `postrider.v1.OverviewService`: who asks, and how it does right now and over time.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server, keys};
use postrider_core::time::Timestamp;
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MASTER: &str = "a-master-key-for-tests";
const SESSION: &str = "postrider.v1.OverviewService/GetSession";
const NAMESPACES: &str = "postrider.v1.OverviewService/ListNamespaces";
const OVERVIEW: &str = "postrider.v1.OverviewService/GetOverview";
const SERIES: &str = "postrider.v1.OverviewService/GetSeries";

/// Publishes an event of the type `a.b`.
fn push(rpc: &Rpc<'_>, namespace: &str) {
    rpc.ask("EventService/PushEvent", &json!({"namespace": namespace, "event": "a.b", "payload": {"n": 1}}));
}

/// Registers a webhook for `a.b`; answers its id.
fn register(rpc: &Rpc<'_>, url: &str, http: Value) -> String {
    rpc.register(url, json!({"events": ["a.b"], "http_config": http})).0
}

fn secs(value: &Value) -> i64 {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("{value} is no time")).as_secs()
}

#[test]
fn a_session_says_who_asks_and_whom() {
    let server = Server::dev(&[]);
    let session = Rpc::of(&server).ask(SESSION, &json!({}));
    let expected = ["development", "namespace", "node", "now", "scopes", "serverVersion", "store"];
    assert_eq!(keys(&session), expected, "{session}");
    assert_eq!(
        (&session["namespace"], &session["scopes"], &session["store"]),
        (&json!("default"), &json!(["read", "write"]), &json!("sqlite"))
    );
    assert_eq!((&session["development"], &session["serverVersion"]), (&json!(true), &json!(env!("CARGO_PKG_VERSION"))));

    let server = Server::guarded(MASTER);
    let api = Api::with_key(&server, MASTER);
    let master = Rpc::with_key(&server, MASTER, "default").ask(SESSION, &json!({}));
    assert_eq!(keys(&master), ["keyName", "node", "now", "scopes", "serverVersion", "store"], "{master}");
    assert_eq!((&master["keyName"], &master["scopes"]), (&json!("bootstrap"), &json!(["read", "write", "admin"])));
    let (key, _) = api.key(&json!({"name": "ours", "namespace": "one", "scopes": ["write"], "expires_at": "2090-01-01T00:00:00Z"}));
    let session = Rpc::with_key(&server, &key, "one").ask(SESSION, &json!({}));
    assert_eq!((&session["keyName"], &session["namespace"], &session["scopes"]), (&json!("ours"), &json!("one"), &json!(["write"])));
    assert_eq!(session["keyExpiresAt"], "2090-01-01T00:00:00Z");
    assert_eq!(session.get("node"), None, "a key of a namespace sees no nodes");
    assert_eq!(server.call("POST", &format!("/{SESSION}"), &[("content-type", "application/json")], b"{}").status, 401);
}

#[test]
fn namespaces_are_those_that_the_key_sees() {
    let server = Server::guarded(MASTER);
    let (master, api) = (Rpc::with_key(&server, MASTER, "alpha"), Api::with_key(&server, MASTER));
    master.register("http://127.0.0.1:1/", json!({"events": ["a.b"]}));
    // Its type is registered there by that.
    push(&master, "gamma");
    let (key, _) = api.key(&json!({"name": "k", "namespace": "beta", "scopes": ["read"]}));
    let (_, revoked) = api.key(&json!({"name": "k", "namespace": "gone", "scopes": ["read"]}));
    assert!(api.call("DELETE", &format!("/v1/keys/{revoked}"), &Value::Null).status < 300);
    assert_eq!(master.ask(NAMESPACES, &json!({})), json!({"namespaces": ["alpha", "beta", "gamma"]}));
    assert_eq!(master.ask(NAMESPACES, &json!({"prefix": "be"})), json!({"namespaces": ["beta"]}));
    let (mut all, mut token) = (Vec::new(), json!(""));
    loop {
        let page = master.ask(NAMESPACES, &json!({"page_size": 1, "page_token": token}));
        all.extend(page["namespaces"].as_array().expect("names").clone());
        match page.get("nextPageToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(all, [json!("alpha"), json!("beta"), json!("gamma")]);
    assert_eq!(Rpc::with_key(&server, &key, "beta").ask(NAMESPACES, &json!({})), json!({"namespaces": ["beta"]}));
    assert_eq!(master.refused(NAMESPACES, &json!({"page_token": "no token"})).1, "invalid_argument");
}

#[test]
fn an_overview_has_the_numbers_that_are_kept() {
    let server = Server::dev(&[]);
    let (rpc, good, bad, gone) = (Rpc::of(&server), Receiver::answering(200), Receiver::answering(404), Receiver::answering(410));
    let nothing = rpc.ask(OVERVIEW, &json!({}));
    assert_eq!(keys(&nothing), ["at", "deliveries", "endpoints", "rates"], "{nothing}");
    register(&rpc, &good.url, json!({}));
    let (failing, disabled) = (register(&rpc, &bad.url, json!({})), register(&rpc, &gone.url, json!({})));
    push(&rpc, "default");
    let is_through = |told: &Value| {
        told["deliveries"] == json!({"succeeded": "1", "failed": "2"}) && told["failing"].as_array().is_some_and(|all| all.len() == 2)
    };
    let told = rpc.ask_until(OVERVIEW, &json!({}), |told| is_through(told) && told["endpoints"]["disabled"] == "1");
    assert_eq!((&told["events"], &told["openDeadLetters"]), (&json!("1"), &json!("2")));
    assert_eq!(told["endpoints"], json!({"total": "3", "healthy": "1", "unhealthy": "2", "disabled": "1"}));
    let shown = |place: usize| (told["failing"][place]["endpointId"].clone(), told["failing"][place]["problem"].clone());
    assert_eq!([shown(0), shown(1)], [(json!(disabled), json!("disabled")), (json!(failing), json!("unhealthy"))]);
    let reasons = [0, 1].map(|place| told["failing"][place]["reason"].as_str().expect("a reason"));
    assert!(reasons[0].ends_with("the receiver answered 410 Gone, so it wants no more"), "{reasons:?}");
    assert_eq!(reasons[1], "0 % of 1 delivery of the last 24 hours succeeded");
    assert_eq!((told["failing"][1]["successRate"].as_f64(), &told["failing"][1]["failuresInARow"]), (Some(0.0), &json!(1)));
    // What was told a moment ago is told again, so that many pages cost what one does.
    let times: BTreeSet<String> = (0..20).map(|_| rpc.ask(OVERVIEW, &json!({}))["at"].to_string()).collect();
    assert!(times.len() < 10, "{times:?}");
    // Rates are those of the last full minute, which ends a few seconds ago.
    let is =
        |told: &Value, name: &str, a_minute: f64| told["rates"][name].as_f64().is_some_and(|rate| (rate * 60.0 - a_minute).abs() < 1e-6);
    let told = rpc.ask_until(OVERVIEW, &json!({}), |told| is(told, "attemptsPerSecond", 3.0) && is(told, "eventsPerSecond", 1.0));
    let rates = &told["rates"];
    assert!(is(&told, "deliveriesPerSecond", 3.0) && is(&told, "successRate", 20.0), "{rates}");
    assert!(rates["answeredIn"]["p50"].is_f64() && rates["deliveredAfter"]["p99"].is_f64(), "{rates}");
}

#[test]
fn what_waits_for_too_long_is_told() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    let slow = register(&rpc, &receiver.url, json!({"rate_limit_rps": 0.001}));
    push(&rpc, "default");
    receiver.wait_for(1);
    push(&rpc, "default");
    let told = rpc.ask_until(OVERVIEW, &json!({}), |told| told.get("oldestOverdue").is_some());
    let late = &told["oldestOverdue"];
    assert_eq!((&late["endpointId"], &late["endpointName"]), (&json!(slow), &json!(receiver.url)));
    assert!(secs(&told["at"]) - secs(&late["dueAt"]) >= 1, "{told}");
}

#[test]
fn a_series_has_every_step_of_its_range() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| if n == 0 { Reply::Status(404) } else { Reply::Status(200) }));
    register(&rpc, &receiver.url, json!({}));
    push(&rpc, "default");
    receiver.wait_for(1);
    push(&rpc, "default");
    let of = |range: i64| json!({"namespace": "default", "range_seconds": range});
    let is_there = |told: &Value| told["total"]["attemptsSucceeded"] == "1" && told["total"]["attemptsFailed"] == "1";
    for (range, step, points) in [(60, 10, 7), (7_200, 10, 721), (86_400, 120, 721), (30 * 86_400, 3_600, 721)] {
        let told = rpc.ask_until(SERIES, &of(range), is_there);
        assert_eq!(told["stepSeconds"], step);
        let all = told["points"].as_array().expect("points");
        assert_eq!(all.len(), points, "{range}");
        assert!(all.windows(2).all(|two| secs(&two[1]["at"]) - secs(&two[0]["at"]) == step), "{range}");
        assert_eq!(secs(&all[0]["at"]) % step, 0);
        let total = &told["total"];
        assert_eq!((&total["events"], &total["deliveries"], &total["givenUp"]), (&json!("2"), &json!("2"), &json!("1")), "{total}");
        assert!(total["deliveredAfter"]["p50"].as_f64().is_some_and(|millis| millis > 0.0), "{total}");
        let sum: i64 = all.iter().filter_map(|point| point["events"].as_str()?.parse::<i64>().ok()).sum();
        assert_eq!(sum, 2, "{range}");
    }
    for wrong in [json!({}), of(59), of(92 * 86_400 + 1), of(-60)] {
        let (_, code, text) = rpc.refused(SERIES, &wrong);
        assert_eq!((code.as_str(), text.as_str()), ("invalid_argument", "range_seconds: 60 to 7948800"), "{wrong}");
    }
}

#[test]
fn nobody_sees_the_numbers_of_others() {
    let server = Server::guarded(MASTER);
    let (api, good) = (Api::with_key(&server, MASTER), Receiver::answering(200));
    let key = |namespace: &str, scopes: Value| api.key(&json!({"name": "k", "namespace": namespace, "scopes": scopes})).0;
    let (one, two, writer) = (key("one", json!(["read", "write"])), key("two", json!(["read"])), key("one", json!(["write"])));
    let (one, two) = (Rpc::with_key(&server, &one, "one"), Rpc::with_key(&server, &two, "two"));
    let (master, writer) = (Rpc::with_key(&server, MASTER, "one"), Rpc::with_key(&server, &writer, "one"));
    register(&one, &good.url, json!({}));
    push(&one, "one");
    let ask = json!({"range_seconds": 60});
    for rpc in [&one, &master] {
        rpc.ask_until(OVERVIEW, &json!({}), |told| told["deliveries"]["succeeded"] == "1" && told["events"] == "1");
        rpc.ask_until(SERIES, &ask, |told| told["total"]["events"] == "1");
    }
    assert_eq!(two.ask(OVERVIEW, &json!({})).get("events"), None);
    assert_eq!(two.ask(SERIES, &ask)["total"].get("events"), None);
    assert_eq!(master.ask(OVERVIEW, &json!({"namespace": "two"})).get("events"), None);
    for method in [OVERVIEW, SERIES] {
        assert_eq!(two.refused(method, &json!({"namespace": "one"})).1, "not_found", "{method}");
        assert_eq!(two.refused(method, &json!({"namespace": "a b"})).1, "invalid_argument", "{method}");
        assert_eq!(writer.refused(method, &json!({})).1, "permission_denied", "{method}");
    }
}

#[test]
fn the_endpoints_that_do_worst_come_first_and_paused_ones_not_at_all() {
    const STATUS: &str = "postrider.v1.EndpointService/SetEndpointStatus";
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let bad = [Receiver::answering(404), Receiver::answering(404), Receiver::answering(404)];
    let failed = |many: u64| {
        let is_through = |told: &Value| told["deliveries"]["failed"] == json!(many.to_string());
        rpc.ask_until(OVERVIEW, &json!({}), is_through);
    };
    let (paused, worst) = (register(&rpc, &bad[0].url, json!({})), register(&rpc, &bad[1].url, json!({})));
    push(&rpc, "default");
    failed(2);
    rpc.ask(STATUS, &json!({"endpoint_id": paused, "status": "paused"}));
    let newest = register(&rpc, &bad[2].url, json!({}));
    push(&rpc, "default");
    failed(4);
    let told = rpc.ask_until(OVERVIEW, &json!({}), |told| told["failing"].as_array().is_some_and(|all| all.len() == 2));
    let shown = |place: usize| (told["failing"][place]["endpointId"].clone(), told["failing"][place]["failuresInARow"].clone());
    assert_eq!([shown(0), shown(1)], [(json!(worst), json!(2)), (json!(newest), json!(1))], "{told}");
}
