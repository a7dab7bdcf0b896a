//! What receivers get by subscriptions of the RPC API.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server};
use postrider_core::sign::{SigningKey, verify_standard};
use postrider_core::time::Timestamp;
use serde_json::{Value, json};

const CREATE: &str = "SubscriptionService/CreateSubscription";
const UPDATE: &str = "SubscriptionService/UpdateSubscription";

/// Registers a webhook and subscribes it; answers both ids and what the registration answered.
fn subscribed(rpc: &Rpc<'_>, receiver: &Receiver, more: Value) -> (String, String, Value) {
    let (webhook, made) = rpc.register(&receiver.url, json!({}));
    let mut request = json!({"webhook_id": webhook, "event_name": "order.created"});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let id = rpc.ask(CREATE, &request)["subscriptionId"].as_str().expect("an id").to_owned();
    (webhook, id, made)
}

fn update(rpc: &Rpc<'_>, id: &str, more: Value) {
    let mut request = json!({"subscription_id": id});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    assert_eq!(rpc.ask(UPDATE, &request), json!({}));
}

fn publish(api: &Api<'_>, payload: &Value, labels: &Value) {
    let answer = api.post("/v1/delivery/events", &json!({"event_type": "order.created", "payload": payload, "labels": labels}));
    assert_eq!(answer.status, 202, "{}", answer.text());
}

/// The template of `docs/rpc-api.md`.
fn documented() -> String {
    let text = include_str!("../../../../docs/rpc-api.md");
    let (_, from) = text.split_once("{\"webhook_id\": \"…\"").expect("the example");
    let (example, _) = from.split_once("```").expect("its end");
    let example: Value = serde_json::from_str(&format!("{{\"webhook_id\": \"\"{example}")).expect("JSON");
    assert_eq!(example["transform_enabled"], true);
    example["transform_template"].as_str().expect("a template").to_owned()
}

#[test]
fn a_template_makes_the_whole_body_and_that_is_signed() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200));
    let (_, _, made) = subscribed(&rpc, &receiver, json!({"transform_enabled": true, "transform_template": documented()}));
    publish(&api, &json!({"id": 9_007_199_254_740_993_u64, "customer": "Ann \"A\" Lee"}), &json!({}));
    publish(&api, &json!({"id": 1.50}), &json!({}));
    let mut requests = receiver.wait_for(2);
    let texts: Vec<Value> = requests.iter().map(|r| serde_json::from_slice::<Value>(&r.body).expect("JSON")["text"].clone()).collect();
    for expected in ["Order 9007199254740993 of Ann \"A\" Lee", "Order 1.5 of a guest"] {
        assert!(texts.contains(&json!(expected)), "{texts:?}");
    }
    let request = requests.remove(0);
    let header = |name: &str| request.headers[name].as_str();
    assert_eq!((&*request.method, header("content-type"), header("x-postrider-event")), ("POST", "application/json", "order.created"));
    assert!(request.headers.contains_key("x-sparrow-delivery-id"));
    let key = SigningKey::new(made["webhookSecret"].as_str().expect("a secret")).expect("a key");
    let at = header("webhook-timestamp");
    let now = Timestamp::from_secs(at.parse().expect("seconds"));
    assert_eq!(verify_standard(&[&key], header("webhook-id"), at, header("webhook-signature"), &request.body, now), Ok(()));
}

#[test]
fn a_template_sees_each_attempt() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let receiver = Receiver::scripted(|n| Reply::Status([500, 200][n]));
    let more = json!({"events": ["order.created"], "http_config": {"retry_backoff_seconds": 1}});
    rpc.register(&receiver.url, more);
    let listed = rpc.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "default"}));
    let id = listed["subscriptions"][0]["subscriptionId"].as_str().expect("an id").to_owned();
    let template =
        "{{.event_id}} {{.event_name}} {{.attempt}} {{parseTime \"2006-01-02T15:04:05Z07:00\" .timestamp | formatTime \"2006\"}}";
    update(&rpc, &id, json!({"transform_enabled": true, "transform_template": template}));
    publish(&api, &json!({}), &json!({}));
    let requests = receiver.wait_for(2);
    let texts: Vec<String> = requests.iter().map(|request| String::from_utf8(request.body.clone()).expect("text")).collect();
    let words: Vec<Vec<&str>> = texts.iter().map(|text| text.split(' ').collect()).collect();
    assert_eq!(
        (words[0][0], words[0][1], words[0][2], words[1][2]),
        (&*requests[0].headers["x-sparrow-event-id"], "order.created", "1", "2")
    );
    assert!(words[0][0] == words[1][0] && words[0][3].len() == 4, "{texts:?}");
    // The history has what was sent.
    let items = api.when("/v1/delivery/items?status=succeeded", |listed| listed["total"] == 1);
    let item = items["items"][0]["id"].as_str().expect("an id");
    assert_eq!(api.get(&format!("/v1/delivery/items/{item}")).json()["request_body"], json!(texts[1]));
}

#[test]
fn a_template_that_fails_is_seen_and_can_be_mended() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200));
    let more = json!({"transform_enabled": true, "transform_template": "{\n{{index .payload.items 0}}"});
    let (webhook, id, _) = subscribed(&rpc, &receiver, more);
    publish(&api, &json!({"items": []}), &json!({}));
    let letters = api.when("/v1/delivery/dlq", |listed| listed["total"] == 1);
    let listed = api.when("/v1/delivery/items", |listed| listed["items"][0]["status"] == "failed");
    let item = api.get(&format!("/v1/delivery/items/{}", listed["items"][0]["id"].as_str().expect("an id"))).json();
    assert_eq!((&item["error_code"], &item["attempt"], &item["request_body"]), (&json!("template_error"), &json!(1), &Value::Null));
    let message = item["error_message"].as_str().expect("a message");
    assert!(message.starts_with("template_error: ") && message.contains("line 2: index: "), "{message}");
    // Over this API it is the same, as something unknown that was never sent.
    let listed = rpc.ask("DeliveryService/ListDeliveries", &json!({"error_category": "unknown"}));
    let delivery = listed["deliveries"][0].clone();
    assert_eq!((&listed["pagination"]["totalCount"], &delivery["status"]), (&json!(1), &json!("DELIVERY_FAILED")));
    let ask = json!({"delivery_id": delivery["deliveryId"]});
    let alone = rpc.ask("DeliveryService/GetDeliveryStatus", &ask)["delivery"].clone();
    let attempts = rpc.ask("DeliveryService/GetDeliveryAttempts", &ask)["attempts"].clone();
    for shown in [&delivery, &alone, &attempts[0]] {
        assert_eq!((&shown["errorCategory"], shown["errorMessage"].as_str()), (&json!("unknown"), Some(message)), "{shown}");
        assert_eq!((shown.get("requestBody"), shown.get("responseCode"), shown.get("responseTime")), (None, None, None), "{shown}");
    }
    assert_eq!((attempts.as_array().map(Vec::len), attempts[0].get("success"), &alone["attemptCount"]), (Some(1), None, &json!(1)));
    assert_eq!(rpc.webhook(&webhook)["active"], json!(true));
    assert_eq!(receiver.count(), 0);
    // Mended, the dead letter is sent again by the template as it is now.
    update(&rpc, &id, json!({"transform_template": "{{len .payload.items}}"}));
    let letter = letters["data"][0]["id"].as_str().expect("an id");
    let answer = api.post(&format!("/v1/delivery/dlq/{letter}/replay"), &json!({}));
    assert!(answer.status < 300, "{}", answer.text());
    assert_eq!(receiver.wait_for(1)[0].body, b"0");
}

#[test]
fn a_template_that_is_switched_off_leaves_the_envelope() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200));
    let (_, id, _) = subscribed(&rpc, &receiver, json!({"transform_template": "made"}));
    let body = |count: usize| {
        publish(&api, &json!({"n": 1}), &json!({}));
        String::from_utf8(receiver.wait_for(count)[count - 1].body.clone()).expect("text")
    };
    let is_envelope = |text: &str| text.starts_with("{\"version\":\"1\",") && text.ends_with("\"payload\":{\"n\":1}}");
    assert!(is_envelope(&body(1)));
    update(&rpc, &id, json!({"transform_enabled": true}));
    assert_eq!(body(2), "made");
    update(&rpc, &id, json!({"transform_enabled": false}));
    assert!(is_envelope(&body(3)));
    // Another API's change of what it gets leaves its form.
    let filter = json!({"signal_filter": {"event_type": "order.created", "match": {"n": 1}}});
    assert_eq!(api.call("PUT", &format!("/v1/delivery/bindings/{id}"), &filter).status, 200);
    assert!(is_envelope(&body(4)));
    update(&rpc, &id, json!({"transform_enabled": true}));
    assert_eq!(body(5), "made");
}

#[test]
fn labels_headers_and_the_method_are_those_of_the_subscription() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver, every) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200), Receiver::answering(200));
    let more = json!({
        "label_filters": {"tier": "gold", "region": "eu"}, "method": "PATCH", "headers": {"X-Team": "subscription", "X-Token": "plain"},
    });
    let (webhook, id, _) = subscribed(&rpc, &receiver, more);
    rpc.update(&webhook, json!({"headers": {"X-Team": "webhook", "X-Own": "webhook"}, "secret_headers": {"x-token": "sealed"}}), None);
    subscribed(&rpc, &every, json!({}));
    let labels =
        [json!({}), json!({"tier": "gold"}), json!({"tier": "iron", "region": "eu"}), json!({"tier": "gold", "region": "eu", "x": "y"})];
    for (n, labels) in labels.iter().enumerate() {
        publish(&api, &json!({"n": n}), labels);
    }
    let request = receiver.wait_for(1).remove(0);
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&*request.method, &body["payload"]), ("PATCH", &json!({"n": 3})));
    for (name, value) in [("x-team", "subscription"), ("x-own", "webhook"), ("x-token", "sealed")] {
        assert_eq!(request.headers[name], value, "{name}");
    }
    assert_eq!(every.wait_for(4).len(), 4);
    // Other labels from now on.
    update(&rpc, &id, json!({"label_filters": {"tier": "iron"}, "method": "GET"}));
    publish(&api, &json!({"n": 4}), &json!({"tier": "gold", "region": "eu"}));
    publish(&api, &json!({"n": 5}), &json!({"tier": "iron"}));
    let request = receiver.wait_for(2).remove(1);
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!((&*request.method, &body["payload"]), ("GET", &json!({"n": 5})));
    every.wait_for(6);
    assert_eq!(receiver.count(), 2);
}

#[test]
fn the_timeout_of_a_subscription_is_shorter_than_its_webhooks() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::scripted(|_| Reply::Stall));
    let (webhook, _, _) = subscribed(&rpc, &receiver, json!({"timeout": 1}));
    rpc.update(&webhook, json!({"http_config": {"max_retries": 0}}), None);
    publish(&api, &json!({}), &json!({}));
    let listed = api.when("/v1/delivery/items", |listed| listed["items"][0]["status"] == "failed");
    assert_eq!(listed["items"][0]["error_code"], "delivery_timeout");
    receiver.release();
}

#[test]
fn a_deleted_subscription_gets_nothing_more() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver, every) = (Rpc::of(&server), Api::of(&server), Receiver::answering(200), Receiver::answering(200));
    let (webhook, id, _) = subscribed(&rpc, &receiver, json!({}));
    subscribed(&rpc, &every, json!({}));
    publish(&api, &json!({}), &json!({}));
    receiver.wait_for(1);
    assert_eq!(rpc.ask("SubscriptionService/DeleteSubscription", &json!({"subscription_id": id})), json!({}));
    publish(&api, &json!({}), &json!({}));
    every.wait_for(2);
    let listed = api.when("/v1/delivery/items?status=succeeded", |listed| listed["total"] == 3);
    assert_eq!((listed["items"].as_array().map(Vec::len), receiver.count()), (Some(3), 1));
    assert_eq!((rpc.webhook(&webhook).get("events"), &rpc.webhook(&webhook)["active"]), (None, &json!(true)));
}

#[test]
fn templates_hold_over_a_restart() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let more = json!({"transform_enabled": true, "transform_template": "{{.payload.n}}", "method": "PUT", "headers": {"X-Team": "ops"}});
    let (_, id, _) = subscribed(&Rpc::of(&server), &receiver, more);
    let before = Rpc::of(&server).ask("SubscriptionService/GetSubscription", &json!({"subscription_id": id}));
    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev"], &[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    assert_eq!(rpc.ask("SubscriptionService/GetSubscription", &json!({"subscription_id": id})), before);
    publish(&api, &json!({"n": 1}), &json!({}));
    let request = receiver.wait_for(1).remove(0);
    assert_eq!((&*request.method, &*request.headers["x-team"], &*request.body), ("PUT", "ops", &b"1"[..]));
}
