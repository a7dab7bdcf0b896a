//! What receivers of webhooks get that were registered over the RPC API.

use crate::common;

use crate::common::items::Api;
use crate::common::receiver::Received;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server};
use postrider_core::hex;
use postrider_core::sign::{SigningKey, verify_standard, verify_standard_ed25519};
use postrider_core::time::Timestamp;
use serde_json::{Value, json};

/// What an attempt became, as the history of the Items API tells it, once `count` of them have ended.
fn ended(api: &Api<'_>, count: usize) -> Vec<Value> {
    let all = api.when("/v1/delivery/items", |listed| {
        let items = listed["items"].as_array().expect("a list");
        items.len() == count && items.iter().all(|item| item["status"] != "in_flight")
    });
    all["items"].as_array().expect("a list").clone()
}

/// The headers of a signature, and the instant that it names.
fn signature(request: &Received) -> (&str, &str, &str, Timestamp) {
    let header = |name: &str| request.headers.get(name).map_or("", String::as_str);
    let at = header("webhook-timestamp");
    (header("webhook-id"), at, header("webhook-signature"), Timestamp::from_secs(at.parse().expect("seconds")))
}

fn public_key(text: &Value) -> [u8; 32] {
    hex::decode(text.as_str().expect("a key")).expect("digits").try_into().expect("32 bytes")
}

#[test]
fn a_delivery_has_the_envelope_the_headers_and_the_signature_of_the_contract() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200));
    let more = json!({
        "events": ["order.created"], "headers": {"X-Team": "ops", "X-Token": "plain"}, "secret_headers": {"X-Token": "sealed"},
        "http_config": {"user_agent": "ours/1", "content_type": "application/cloudevents+json"},
    });
    let (id, made) = rpc.register(&receiver.url, more);
    api.publish("order.created", &json!({"n": 9_007_199_254_740_993_u64, "a": [1.5]}));
    let request = receiver.wait_for(1).remove(0);
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    let text = String::from_utf8(request.body.clone()).expect("text");
    let event = body["event_id"].as_str().expect("an id");
    let expected = format!(
        r#"{{"version":"1","event_id":"{event}","event_name":"order.created","timestamp":{},"attempt":1,"payload":{{"a":[1.5],"n":9007199254740993}}}}"#,
        body["timestamp"]
    );
    assert_eq!(text, expected);
    assert!(common::is_whole_second(&body["timestamp"]), "{text}");
    let header = |name: &str| request.headers[name].as_str();
    assert_eq!((header("content-type"), header("user-agent")), ("application/cloudevents+json", "ours/1"));
    assert_eq!((header("x-team"), header("x-token")), ("ops", "sealed"));
    assert_eq!((header("x-sparrow-event-id"), header("x-sparrow-webhook-id")), (event, id.as_str()));
    assert_eq!(header("x-sparrow-delivery-id"), header("x-postrider-delivery-id"));
    let (message, at, signed, now) = signature(&request);
    assert_eq!(message, format!("msg_{}", header("x-sparrow-delivery-id")));
    let key = SigningKey::new(made["webhookSecret"].as_str().expect("a secret")).expect("a key");
    assert!(signed.starts_with("v1,") && !signed.contains(' '), "{signed}");
    assert_eq!(verify_standard(&[&key], message, at, signed, &request.body, now), Ok(()));
    // After a new secret the old one signs no more.
    let second = rpc.update(&id, json!({}), Some("http_config.webhook_secret"));
    api.publish("order.created", &json!({}));
    let request = receiver.wait_for(2).remove(1);
    let (message, at, signed, now) = signature(&request);
    assert!(verify_standard(&[&key], message, at, signed, &request.body, now).is_err());
    let key = SigningKey::new(second["webhookSecret"].as_str().expect("a secret")).expect("a key");
    assert_eq!(verify_standard(&[&key], message, at, signed, &request.body, now), Ok(()));
}

#[test]
fn a_pair_of_keys_signs_alone_and_beside_a_secret() {
    let server = Server::dev(&[]);
    let (rpc, api, alone, both) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200), Receiver::answering(200));
    let (_, made) = rpc.register(&alone.url, json!({"events": ["a.b"], "signature_type": "ed25519"}));
    assert_eq!((&made["signatureType"], made.get("webhookSecret")), (&json!("ed25519"), None));
    let config = json!({"webhook_secret": "own-plain-secret"});
    let (_, with_secret) = rpc.register(&both.url, json!({"events": ["a.b"], "signature_type": "ed25519", "http_config": config}));
    assert_ne!(made["signingPublicKey"], with_secret["signingPublicKey"]);
    api.publish("a.b", &json!({"n": "\u{fc}"}));
    for (receiver, made, entries) in [(&alone, &made, 1), (&both, &with_secret, 2)] {
        let request = receiver.wait_for(1).remove(0);
        let (message, at, signed, now) = signature(&request);
        assert_eq!(signed.split(' ').count(), entries, "{signed}");
        let public = public_key(&made["signingPublicKey"]);
        assert_eq!(verify_standard_ed25519(&public, message, at, signed, &request.body, now), Ok(()));
        assert!(verify_standard_ed25519(&public, message, at, signed, b"{}", now).is_err());
        let key = SigningKey::new("own-plain-secret").expect("a key");
        assert_eq!(verify_standard(&[&key], message, at, signed, &request.body, now).is_ok(), entries == 2);
    }
}

#[test]
fn the_statuses_that_are_expected_are_a_success_and_no_others() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let receiver = Receiver::scripted(|n| Reply::Status([404, 201, 203][n]));
    let (id, _) = rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"expected_status_codes": [404]}}));
    api.publish("a.b", &json!({}));
    let first = &ended(&api, 1)[0];
    assert_eq!((&first["status"], &first["http_status"]), (&json!("succeeded"), &json!(404)));
    // It is not tried again: another try would bring the same status.
    api.publish("a.b", &json!({}));
    let second = &ended(&api, 2)[0];
    assert_eq!(
        (&second["status"], &second["http_status"], &second["error_code"]),
        (&json!("failed"), &json!(201), &json!("unexpected_status"))
    );
    api.when(&format!("/v1/delivery/dlq?destination_id={id}"), |listed| listed["total"] == 1);
    // By default it is 200, 201, 202 and 204, and not every 2xx.
    rpc.update(&id, json!({}), Some("http_config.expected_status_codes"));
    api.publish("a.b", &json!({}));
    let third = &ended(&api, 3)[0];
    assert_eq!((&third["http_status"], &third["error_code"]), (&json!(203), &json!("unexpected_status")));
}

#[test]
fn a_webhook_without_retries_is_tried_once() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(500));
    rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"max_retries": 0}}));
    api.publish("a.b", &json!({}));
    api.when("/v1/delivery/dlq", |listed| listed["total"] == 1);
    assert_eq!(ended(&api, 1)[0]["attempt"], 1);
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_paused_webhook_misses_what_happens_and_a_resumed_one_goes_on() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200));
    let (id, _) = rpc.register(&receiver.url, json!({"events": ["*"]}));
    let request = json!({"webhook_id": id, "namespace": "default", "reason": "maintenance"});
    assert_eq!(rpc.ask("WebhookService/PauseWebhook", &request), json!({}));
    let (status, code, message) = rpc.refused("WebhookService/PauseWebhook", &request);
    assert_eq!((status, code.as_str(), message.as_str()), (400, "failed_precondition", "the webhook is paused already"));
    assert_eq!(rpc.webhook(&id).get("active"), None);
    api.publish("was.missed", &json!({}));
    assert_eq!(rpc.ask("WebhookService/ResumeWebhook", &request), json!({}));
    let (status, code, message) = rpc.refused("WebhookService/ResumeWebhook", &request);
    assert_eq!((status, code.as_str(), message.as_str()), (400, "failed_precondition", "the webhook is not paused"));
    assert_eq!(rpc.webhook(&id)["active"], json!(true));
    api.publish("was.seen", &json!({}));
    assert_eq!(ended(&api, 1).len(), 1);
    let requests = receiver.wait_for(1);
    let names: Vec<_> = requests.iter().map(|r| r.headers["x-postrider-event"].as_str()).collect();
    assert_eq!(names, ["was.seen"]);
}

#[test]
fn an_unregistered_webhook_gets_nothing_and_its_history_stays() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver, other) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200), Receiver::answering(200));
    let (id, _) = rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    rpc.register(&other.url, json!({"events": ["a.b"]}));
    api.publish("a.b", &json!({"n": 1}));
    receiver.wait_for(1);
    assert_eq!(rpc.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": id})), json!({}));
    api.publish("a.b", &json!({"n": 2}));
    other.wait_for(2);
    assert_eq!((ended(&api, 3).len(), receiver.count()), (3, 1));
    assert_eq!(api.get("/v1/delivery/bindings").json()["total"], 1);
}

#[test]
fn a_namespace_is_counted() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let stats = || rpc.ask("WebhookService/GetNamespaceStats", &json!({"namespace": "default"}))["stats"].clone();
    assert_eq!(stats(), json!({}));
    let (good, bad, slow) = (Receiver::answering(200), Receiver::answering(400), Receiver::scripted(|_| Reply::Stall));
    for receiver in [&good, &bad, &slow] {
        rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    }
    rpc.register("https://paused.example.com/", json!({"events": ["a.b"], "active": false}));
    api.publish("a.b", &json!({}));
    api.publish("a.b", &json!({}));
    slow.wait_for(1);
    api.when("/v1/delivery/dlq", |listed| listed["total"] == 2);
    api.when("/v1/delivery/items?status=succeeded", |listed| listed["total"] == 2);
    let expected = json!({
        "totalWebhooks": 4, "activeWebhooks": 3, "totalDeliveries": 6, "successfulDeliveries": 2, "failedDeliveries": 2,
        "pendingDeliveries": 2, "successRate": 0.5,
    });
    assert_eq!(stats(), expected);
    slow.release();
    api.when("/v1/delivery/items?status=succeeded", |listed| listed["total"] == 4);
    assert_eq!((&stats()["successfulDeliveries"], stats().get("pendingDeliveries")), (&json!(4), None));
}
