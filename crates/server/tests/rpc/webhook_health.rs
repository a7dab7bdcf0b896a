//! `webhook.HealthService`: how the receivers of webhooks do, by the thresholds that the contract documents.

use crate::common::items::{Api, destination};
use crate::common::rpc::Rpc;
use crate::common::{Nobody, Receiver, Reply, Server};
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const HEALTH: &str = "HealthService/GetWebhookHealth";
const BY_HEALTH: &str = "HealthService/ListWebhooksByHealth";
const SUMMARY: &str = "HealthService/GetHealthSummary";

/// Registers a webhook for events of this name, without retries unless `config` says otherwise; answers its id.
fn register(rpc: &Rpc<'_>, url: &str, event: &str, config: Value) -> String {
    let mut http = json!({"max_retries": 0});
    http.as_object_mut().expect("an object").extend(config.as_object().expect("an object").clone());
    rpc.register(url, json!({"events": [event], "http_config": http})).0
}

fn push(rpc: &Rpc<'_>, namespace: &str, event: &str) {
    rpc.ask("EventService/PushEvent", &json!({"namespace": namespace, "event": event, "payload": {}}));
}

/// The health of a webhook once so many deliveries are counted, and so many attempts failed in a row.
fn health_at(rpc: &Rpc<'_>, id: &str, deliveries: u64, in_a_row: u64) -> Value {
    let number = |answer: &Value, name: &str| answer["metrics"][name].as_u64().unwrap_or(0);
    rpc.ask_until(HEALTH, &json!({"webhook_id": id}), |answer| {
        number(answer, "totalDeliveries") == deliveries && number(answer, "consecutiveFailures") == in_a_row
    })
}

fn ids(answer: &Value) -> Vec<&str> {
    let listed = answer["webhooks"].as_array();
    listed.into_iter().flatten().map(|webhook| webhook["webhookId"].as_str().expect("an id")).collect()
}

#[test]
fn health_and_what_it_was_judged_by() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| Reply::Status([200, 503, 404][n])));
    let id = register(&rpc, &receiver.url, "a.b", json!({}));
    assert_eq!(rpc.ask(HEALTH, &json!({"webhook_id": id, "namespace": "default"})), json!({"webhookId": id}), "without history");
    assert_eq!(rpc.webhook(&id).get("health"), None);
    push(&rpc, "default", "a.b");
    let answer = health_at(&rpc, &id, 1, 0);
    let metrics = &answer["metrics"];
    assert_eq!((&answer["webhookId"], &answer["health"]), (&json!(id), &json!("HEALTH_HEALTHY")));
    let mut expected = json!({"webhookId": id, "totalDeliveries": 1, "successfulDeliveries": 1, "successRate": 1.0});
    for time in ["lastSuccessAt", "createdAt", "updatedAt"] {
        expected[time] = metrics["createdAt"].clone();
    }
    let taken = metrics["avgResponseTime"].as_u64().expect("milliseconds");
    assert!((1..10_000).contains(&taken), "{taken}");
    expected["avgResponseTime"] = json!(taken);
    assert_eq!(*metrics, expected);
    assert_eq!(rpc.webhook(&id)["health"], "HEALTH_HEALTHY");
    push(&rpc, "default", "a.b");
    let second = health_at(&rpc, &id, 2, 1);
    assert_eq!((&second["health"], &second["metrics"]["successRate"]), (&json!("HEALTH_DEGRADED"), &json!(0.5)));
    assert_eq!((&second["metrics"]["createdAt"], &second["metrics"]["lastSuccessAt"]), (&metrics["createdAt"], &metrics["createdAt"]));
    assert_eq!(second["metrics"]["lastFailureAt"], second["metrics"]["updatedAt"]);
    push(&rpc, "default", "a.b");
    let third = health_at(&rpc, &id, 3, 2);
    let metrics = &third["metrics"];
    assert_eq!((&third["health"], &metrics["failedDeliveries"]), (&json!("HEALTH_UNHEALTHY"), &json!(2)));
    assert_eq!((&metrics["clientErrors"], &metrics["serverErrors"], metrics.get("networkErrors")), (&json!(1), &json!(1), None));
    assert_eq!(rpc.webhook(&id)["health"], "HEALTH_UNHEALTHY");
}

#[test]
fn failures_are_counted_by_their_kind() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let [client, limited, odd, broken, moved] = [404, 429, 203, 500, 304].map(Receiver::answering);
    let silent = Receiver::scripted(|_| Reply::Stall);
    let nobody = Nobody::new();
    let cases = [
        ("clientErrors", client.url.clone()),
        ("clientErrors", limited.url.clone()),
        ("unexpectedStatusErrors", odd.url.clone()),
        ("unexpectedStatusErrors", moved.url.clone()),
        ("serverErrors", broken.url.clone()),
        ("timeoutErrors", silent.url.clone()),
        ("networkErrors", format!("http://{}/", nobody.address)),
    ];
    let ids: Vec<String> = cases.iter().map(|(_, url)| register(&rpc, url, "a.b", json!({"request_timeout_seconds": 1}))).collect();
    push(&rpc, "default", "a.b");
    for ((kind, url), id) in cases.iter().zip(&ids) {
        let answer = health_at(&rpc, id, 1, 1);
        let metrics = answer["metrics"].as_object().expect("an object");
        let found: Vec<(&String, &Value)> = metrics.iter().filter(|(name, _)| name.ends_with("Errors")).collect();
        assert_eq!(found, [(&(*kind).to_owned(), &json!(1))], "{url}");
        let was_answered = !["timeoutErrors", "networkErrors"].contains(kind);
        assert_eq!((&answer["health"], metrics.contains_key("avgResponseTime")), (&json!("HEALTH_UNHEALTHY"), was_answered), "{url}");
    }
    silent.release();
}

/// However often it was tried: a receiver that takes everything at the second try does well.
#[test]
fn a_delivery_that_succeeds_in_the_end_is_a_success() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| Reply::Status(if n == 0 { 503 } else { 200 })));
    let id = register(&rpc, &receiver.url, "a.b", json!({"max_retries": 1, "retry_backoff_seconds": 1}));
    push(&rpc, "default", "a.b");
    receiver.wait_for(2);
    let answer = health_at(&rpc, &id, 1, 0);
    assert_eq!((&answer["health"], &answer["metrics"]["successfulDeliveries"]), (&json!("HEALTH_HEALTHY"), &json!(1)));
    assert_eq!((answer["metrics"].get("failedDeliveries"), &answer["metrics"]["serverErrors"]), (None, &json!(1)));
}

#[test]
fn failures_in_a_row_count_whatever_the_rate() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| Reply::Status(if (100..110).contains(&n) { 400 } else { 200 })));
    let id = register(&rpc, &receiver.url, "a.b", json!({}));
    for (more, deliveries, in_a_row, health) in [
        (100, 100, 0, "HEALTH_HEALTHY"),
        (2, 102, 2, "HEALTH_HEALTHY"),
        (1, 103, 3, "HEALTH_DEGRADED"),
        (6, 109, 9, "HEALTH_DEGRADED"),
        (1, 110, 10, "HEALTH_UNHEALTHY"),
        (1, 111, 0, "HEALTH_HEALTHY"),
    ] {
        (0..more).for_each(|_| push(&rpc, "default", "a.b"));
        assert_eq!(health_at(&rpc, &id, deliveries, in_a_row)["health"], health, "{in_a_row} in a row");
    }
}

#[test]
fn webhooks_are_listed_and_counted_by_their_health() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    assert_eq!(rpc.ask(SUMMARY, &json!({})), json!({"summary": {}}));
    assert_eq!(rpc.ask(BY_HEALTH, &json!({})), json!({"pagination": {"limit": 50}}));
    let (good, bad) = (Receiver::answering(200), Receiver::answering(500));
    let healthy: Vec<String> = (0..3).map(|n| register(&rpc, &format!("{}/{n}", good.url), "a.b", json!({}))).collect();
    let unhealthy = register(&rpc, &bad.url, "a.b", json!({}));
    // Whichever API made it.
    let unknown = api.make("destinations", &destination("https://hooks.example.com/in"));
    push(&rpc, "default", "a.b");
    let expected = json!({"summary": {"healthyCount": 3, "unhealthyCount": 1, "unknownCount": 1, "totalCount": 5}});
    assert_eq!(rpc.ask_until(SUMMARY, &json!({}), |answer| *answer == expected), expected);
    let listed = rpc.ask(BY_HEALTH, &json!({"health": "HEALTH_HEALTHY"}));
    assert_eq!(ids(&listed), [healthy[2].as_str(), healthy[1].as_str(), healthy[0].as_str()], "newest first");
    assert_eq!(listed["webhooks"][1], rpc.webhook(&healthy[1]), "as every list shows it");
    assert_eq!(listed["pagination"], json!({"totalCount": 3, "limit": 50}));
    let piece = rpc.ask(BY_HEALTH, &json!({"health": 1, "pagination": {"limit": 1, "offset": 1}}));
    assert_eq!((ids(&piece), &piece["pagination"]), (vec![healthy[1].as_str()], &json!({"totalCount": 3, "limit": 1, "offset": 1})));
    assert_eq!(ids(&rpc.ask(BY_HEALTH, &json!({"health": "HEALTH_UNHEALTHY"}))), [unhealthy.as_str()]);
    assert_eq!(ids(&rpc.ask(BY_HEALTH, &json!({"health": "HEALTH_DEGRADED"}))), [""; 0]);
    assert_eq!(ids(&rpc.ask(BY_HEALTH, &json!({}))), [unknown.as_str()], "unspecified are those without history");
    for (request, part) in [
        (json!({"health": 9}), "health"),
        (json!({"health": "HEALTH_ODD"}), ""),
        (json!({"health": 1, "pagination": {"offset": 100_001}}), "pagination.offset"),
    ] {
        let (status, code, message) = rpc.refused(BY_HEALTH, &request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}");
        assert!(message.contains(part), "{message}");
    }
    rpc.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": healthy[0]}));
    assert_eq!(rpc.ask(SUMMARY, &json!({}))["summary"]["totalCount"], 4);
    assert_eq!(ids(&rpc.ask(BY_HEALTH, &json!({"health": 1}))), [healthy[2].as_str(), healthy[1].as_str()]);
    let before = rpc.ask(HEALTH, &json!({"webhook_id": unhealthy}));
    let (status, directory) = server.stop();
    assert!(status.success());
    let server = Server::start(directory, &["--dev"], &[]);
    assert_eq!(Rpc::of(&server).ask(HEALTH, &json!({"webhook_id": unhealthy})), before, "after a restart");
}

#[test]
fn what_belongs_to_another_namespace_does_not_exist() {
    let server = Server::guarded(MASTER);
    let (master, receiver) = (Rpc::with_key(&server, MASTER, "shop"), Receiver::answering(200));
    let key = Api::with_key(&server, MASTER).key(&json!({"name": "k", "namespace": "other", "scopes": ["read"]})).0;
    let other = Rpc::with_key(&server, &key, "other");
    let id = register(&master, &receiver.url, "a.b", json!({}));
    push(&master, "shop", "a.b");
    health_at(&master, &id, 1, 0);
    assert_eq!(master.ask(SUMMARY, &json!({})), json!({"summary": {"healthyCount": 1, "totalCount": 1}}));
    assert_eq!(ids(&master.ask(BY_HEALTH, &json!({"health": 1}))), [id.as_str()]);
    assert_eq!(other.ask(SUMMARY, &json!({})), json!({"summary": {}}));
    assert_eq!(other.ask(BY_HEALTH, &json!({"health": 1})), json!({"pagination": {"limit": 50}}));
    let code = |rpc: &Rpc<'_>, request: Value| rpc.refused(HEALTH, &request).1;
    for (rpc, request) in [
        (&master, json!({"webhook_id": NOBODY})),
        (&master, json!({"webhook_id": id, "namespace": "other"})),
        (&other, json!({"webhook_id": id})),
        (&other, json!({"webhook_id": id, "namespace": "shop"})),
    ] {
        assert_eq!(code(rpc, request), "not_found");
    }
    assert_eq!(code(&master, json!({})), "invalid_argument");
    assert!(master.refused(HEALTH, &json!({"webhook_id": "w-1"})).2.starts_with("invalid webhook ID: "));
    master.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": id}));
    assert_eq!(code(&master, json!({"webhook_id": id})), "not_found");
    assert_eq!(master.ask(SUMMARY, &json!({})), json!({"summary": {}}));
}

/// Its subscriptions are gone, its deliveries are there still and can be looked at.
#[test]
fn deliveries_of_what_was_deleted_count_in_their_namespace() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    let id = register(&rpc, &receiver.url, "a.b", json!({}));
    push(&rpc, "default", "a.b");
    health_at(&rpc, &id, 1, 0);
    rpc.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": id}));
    let stats = rpc.ask("WebhookService/GetNamespaceStats", &json!({"namespace": "default"}));
    assert_eq!(stats["stats"], json!({"totalDeliveries": 1, "successfulDeliveries": 1, "successRate": 1.0}));
}
