//! `webhook.DeliveryService` to the letter of its published page: its requests as they are there, with ids that exist put in, and every field
//! that it documents.

use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server, keys};
use postrider_core::time::Timestamp;
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const STATUS: &str = "DeliveryService/GetDeliveryStatus";
const LIST: &str = "DeliveryService/ListDeliveries";
const RETRY: &str = "DeliveryService/RetryDelivery";
const ATTEMPTS: &str = "DeliveryService/GetDeliveryAttempts";

/// The ids of the page.
const DELIVERY: &str = "d-550e8400-e29b-41d4-a716-446655440000";
const WEBHOOK: &str = "550e8400-e29b-41d4-a716-446655440000";

const STATUS_REQUEST: &str = r#"{
  "delivery_id": "d-550e8400-e29b-41d4-a716-446655440000",
  "namespace": "production"
}"#;
const LIST_REQUEST: &str = r#"{
  "namespace": "production",
  "webhook_id": "550e8400-e29b-41d4-a716-446655440000",
  "pagination": {
    "limit": 20
  }
}"#;
const RETRY_REQUEST: &str = r#"{
  "namespace": "production",
  "delivery_id": "d-550e8400-e29b-41d4-a716-446655440000"
}"#;
const ATTEMPTS_REQUEST: &str = r#"{
  "delivery_id": "d-550e8400-e29b-41d4-a716-446655440000"
}"#;

/// A request of the page about this delivery and webhook.
fn about(request: &str, delivery: &str, webhook: &str) -> Value {
    serde_json::from_str(&request.replace(DELIVERY, delivery).replace(WEBHOOK, webhook)).expect("JSON")
}

/// Publishes so many events to a new webhook of the namespace; answers its id.
fn pushed(rpc: &Rpc<'_>, receiver: &Receiver, events: usize) -> String {
    let (webhook, _) = rpc.register(&receiver.url, json!({"events": ["order.created"], "http_config": {"max_retries": 0}}));
    for n in 0..events {
        rpc.ask("EventService/PushEvent", &json!({"namespace": "production", "event": "order.created", "payload": {"n": n}}));
    }
    webhook
}

/// The deliveries of a webhook by the page's request, once so many have this status.
fn listed(rpc: &Rpc<'_>, webhook: &str, count: usize, status: &str) -> Value {
    rpc.ask_until(LIST, &about(LIST_REQUEST, "", webhook), |answer| {
        answer["deliveries"].as_array().is_some_and(|all| all.len() == count && all.iter().all(|delivery| delivery["status"] == status))
    })
}

fn is_uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok())
}

fn is_time(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.ends_with('Z') && Timestamp::parse_rfc3339(text).is_some())
}

#[test]
fn get_delivery_status_answers_the_full_details() {
    let server = Server::guarded(MASTER);
    let (rpc, receiver) = (Rpc::with_key(&server, MASTER, "production"), Receiver::scripted(|_| Reply::Body(500, 3)));
    let webhook = pushed(&rpc, &receiver, 1);
    let id = listed(&rpc, &webhook, 1, "DELIVERY_FAILED")["deliveries"][0]["deliveryId"].clone();
    let answer = rpc.ask(STATUS, &about(STATUS_REQUEST, id.as_str().expect("an id"), ""));
    assert_eq!(keys(&answer), ["delivery"]);
    let delivery = &answer["delivery"];
    let fields = [
        "attemptCount",
        "createdAt",
        "deliveryId",
        "errorCategory",
        "errorMessage",
        "eventId",
        "lastAttemptedAt",
        "maxAttempts",
        "requestBody",
        "responseBody",
        "responseCode",
        "status",
        "webhookId",
    ];
    assert_eq!(keys(delivery), fields, "what is zero is left out");
    assert!(is_uuid(&delivery["deliveryId"]) && is_uuid(&delivery["eventId"]) && is_uuid(&delivery["webhookId"]), "{delivery}");
    assert!(is_time(&delivery["createdAt"]) && is_time(&delivery["lastAttemptedAt"]), "{delivery}");
    let sent = String::from_utf8(receiver.wait_for(1).remove(0).body).expect("text");
    let expected = json!({
        "deliveryId": id, "webhookId": webhook, "eventId": delivery["eventId"], "status": "DELIVERY_FAILED", "attemptCount": 1,
        "maxAttempts": 1, "createdAt": delivery["createdAt"], "lastAttemptedAt": delivery["lastAttemptedAt"], "responseCode": 500,
        "responseBody": "xxx", "errorMessage": delivery["errorMessage"], "requestBody": sent, "errorCategory": "server_error",
    });
    assert_eq!(*delivery, expected);
}

#[test]
fn get_delivery_status_answers_not_found_outside_of_the_given_namespace() {
    let server = Server::guarded(MASTER);
    let (rpc, receiver) = (Rpc::with_key(&server, MASTER, "production"), Receiver::answering(200));
    let webhook = pushed(&rpc, &receiver, 1);
    let id = listed(&rpc, &webhook, 1, "DELIVERY_SUCCESS")["deliveries"][0]["deliveryId"].as_str().expect("an id").to_owned();
    let mut elsewhere = about(STATUS_REQUEST, &id, "");
    elsewhere["namespace"] = json!("staging");
    for request in [elsewhere, about(STATUS_REQUEST, "650e8400-e29b-41d4-a716-446655440000", "")] {
        let (status, code, _) = rpc.refused(STATUS, &request);
        assert_eq!((status, &*code), (404, "not_found"), "{request}");
    }
}

#[test]
fn list_deliveries_narrows_orders_and_pages() {
    let server = Server::guarded(MASTER);
    let (rpc, receiver, other) = (Rpc::with_key(&server, MASTER, "production"), Receiver::answering(200), Receiver::answering(200));
    let webhook = pushed(&rpc, &receiver, 20);
    pushed(&rpc, &other, 3);
    // More than the page of the documented request takes: three events went to both webhooks.
    receiver.wait_for(23);
    let page = listed(&rpc, &webhook, 20, "DELIVERY_SUCCESS");
    assert_eq!(keys(&page), ["deliveries", "pagination"]);
    assert_eq!(page["pagination"], json!({"totalCount": 23, "limit": 20}), "an offset of 0 is left out");
    let deliveries = page["deliveries"].as_array().expect("some");
    assert!(deliveries.iter().all(|delivery| delivery["webhookId"] == json!(webhook)));
    let times: Vec<_> =
        deliveries.iter().map(|d| Timestamp::parse_rfc3339(d["createdAt"].as_str().expect("a time")).expect("a time")).collect();
    assert!(times.windows(2).all(|pair| pair[0] >= pair[1]), "newest first");
    // By its event, it is one for each webhook.
    let event = deliveries[0]["eventId"].clone();
    let of_event = rpc.ask(LIST, &json!({"namespace": "production", "event_id": event}));
    assert_eq!(
        (of_event["pagination"].clone(), of_event["deliveries"].as_array().map(Vec::len)),
        (json!({"totalCount": 2, "limit": 50}), Some(2))
    );
    let both = rpc.ask(LIST, &json!({"namespace": "production", "event_id": event, "webhook_id": webhook}));
    assert_eq!(both["deliveries"], json!([deliveries[0]]));
    // By default 50 from the beginning, of all webhooks of the namespace.
    let all = rpc.ask(LIST, &json!({"namespace": "production"}));
    assert_eq!((all["pagination"].clone(), all["deliveries"].as_array().map(Vec::len)), (json!({"totalCount": 26, "limit": 50}), Some(26)));
    let rest = rpc.ask(LIST, &json!({"namespace": "production", "webhook_id": webhook, "pagination": {"limit": 20, "offset": 20}}));
    assert_eq!(
        (rest["pagination"].clone(), rest["deliveries"].as_array().map(Vec::len)),
        (json!({"totalCount": 23, "limit": 20, "offset": 20}), Some(3))
    );
}

#[test]
fn retry_delivery_answers_what_was_put_back_into_line() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "production");
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 2 { 500 } else { 200 }));
    let webhook = pushed(&rpc, &receiver, 2);
    let failed = listed(&rpc, &webhook, 2, "DELIVERY_FAILED");
    let id = failed["deliveries"][0]["deliveryId"].as_str().expect("an id").to_owned();
    let request = about(RETRY_REQUEST, &id, "");
    assert_eq!(rpc.ask(RETRY, &request), json!({"retriedCount": 1, "deliveryIds": [id]}));
    let status = about(STATUS_REQUEST, &id, "");
    rpc.ask_until(STATUS, &status, |answer| answer["delivery"]["status"] == "DELIVERY_SUCCESS");
    // The other one by the webhook, which leaves alone what has succeeded since.
    let of_webhook = json!({"namespace": "production", "webhook_id": webhook});
    let second = &failed["deliveries"][1]["deliveryId"];
    assert_eq!(rpc.ask(RETRY, &of_webhook), json!({"retriedCount": 1, "deliveryIds": [second]}));
    listed(&rpc, &webhook, 2, "DELIVERY_SUCCESS");
    // By force it is sent twice.
    assert_eq!(rpc.refused(RETRY, &request).1, "failed_precondition");
    let mut forced = request;
    forced["force"] = json!(true);
    assert_eq!(rpc.ask(RETRY, &forced), json!({"retriedCount": 1, "deliveryIds": [id]}));
    assert_eq!(receiver.wait_for(5).iter().filter(|request| request.headers["x-sparrow-delivery-id"] == id).count(), 3);
}

#[test]
fn get_delivery_attempts_answers_the_history() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "production");
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 503 } else { 200 }));
    let webhook = pushed(&rpc, &receiver, 1);
    let id = listed(&rpc, &webhook, 1, "DELIVERY_FAILED")["deliveries"][0]["deliveryId"].as_str().expect("an id").to_owned();
    rpc.ask(RETRY, &about(RETRY_REQUEST, &id, ""));
    listed(&rpc, &webhook, 1, "DELIVERY_SUCCESS");
    let answer = rpc.ask(ATTEMPTS, &about(ATTEMPTS_REQUEST, &id, ""));
    assert_eq!(keys(&answer), ["attempts"]);
    let attempts = answer["attempts"].as_array().expect("some");
    let expected = |attempt: &Value, own: Value| {
        let mut expected = json!({
            "attemptId": attempt["attemptId"], "deliveryId": id, "webhookId": webhook, "responseTime": attempt["responseTime"],
            "timestamp": attempt["timestamp"],
        });
        expected.as_object_mut().expect("an object").extend(own.as_object().expect("an object").clone());
        expected
    };
    let failed = json!({"responseCode": 503, "errorMessage": attempts[0]["errorMessage"], "errorCategory": "server_error"});
    let succeeded = json!({"success": true, "responseCode": 200, "errorCategory": "success"});
    let all = json!([expected(&attempts[0], failed), expected(&attempts[1], succeeded)]);
    assert_eq!(answer["attempts"], all, "oldest first; what is false, zero or empty is left out");
    assert!(attempts[0]["errorMessage"].as_str().is_some_and(|text| text.contains("503")), "{answer}");
    for attempt in attempts {
        assert!(is_uuid(&attempt["attemptId"]) && is_time(&attempt["timestamp"]), "{attempt}");
        assert!(attempt["responseTime"].as_u64() >= Some(1), "{attempt}");
    }
    assert_ne!(attempts[0]["attemptId"], attempts[1]["attemptId"]);
}

/// They begin with a `d-`, which no id of this API does.
#[test]
fn the_ids_of_the_page_are_no_ids() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "production");
    for (method, request) in [(STATUS, STATUS_REQUEST), (RETRY, RETRY_REQUEST), (ATTEMPTS, ATTEMPTS_REQUEST)] {
        let answer = rpc.send(method, "application/json", request.as_bytes());
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("invalid_argument")), "{method}");
        let message = answer.json()["message"].as_str().expect("a text").to_owned();
        assert!(message.starts_with("invalid delivery ID: "), "{message}");
    }
    // That of its webhook may be one, of a webhook that is not there.
    let answer = rpc.send(LIST, "application/json", LIST_REQUEST.as_bytes());
    assert_eq!((answer.status, answer.json()), (200, json!({"pagination": {"limit": 20}})));
    for method in [STATUS, ATTEMPTS] {
        assert_eq!(rpc.refused(method, &json!({"delivery_id": ""})).1, "invalid_argument", "{method}");
    }
}
