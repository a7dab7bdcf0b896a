//! Deliveries over the RPC API: shown, listed, tried again.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server, keys};
use postrider_core::time::Timestamp;
use postrider_proto::webhook as w;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::time::Duration;

const MASTER: &str = "a-master-key-for-tests";
const ONE: &str = "DeliveryService/GetDeliveryStatus";
const LIST: &str = "DeliveryService/ListDeliveries";
const RETRY: &str = "DeliveryService/RetryDelivery";
const ATTEMPTS: &str = "DeliveryService/GetDeliveryAttempts";
const START: &str = "DeliveryService/RetryDeliveries";
const STATUS: &str = "DeliveryService/GetRetryStatus";
const CANCEL: &str = "DeliveryService/CancelRetry";
const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Publishes an event of the type `a.b`; answers its id.
fn push(rpc: &Rpc<'_>, more: Value) -> String {
    let request = with(json!({"namespace": "default", "event": "a.b", "payload": {"n": 1}}), &more);
    rpc.ask("EventService/PushEvent", &request)["eventId"].as_str().expect("an id").to_owned()
}

fn with(mut request: Value, more: &Value) -> Value {
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

/// Registers a webhook for `a.b` that is tried once; answers its id.
fn once(rpc: &Rpc<'_>, receiver: &Receiver) -> String {
    rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"max_retries": 0}})).0
}

fn ids(listed: &Value) -> Vec<&str> {
    let deliveries = listed["deliveries"].as_array().map_or(&[][..], Vec::as_slice);
    deliveries.iter().map(|delivery| delivery["deliveryId"].as_str().expect("an id")).collect()
}

/// The newest delivery of a webhook, once it has this status.
fn when(rpc: &Rpc<'_>, webhook: &str, status: &str) -> Value {
    let ask = json!({"webhook_id": webhook});
    rpc.ask_until(LIST, &ask, |answer| answer["deliveries"][0]["status"] == status)["deliveries"][0].clone()
}

fn time(value: &Value) -> Timestamp {
    Timestamp::parse_rfc3339(value.as_str().unwrap_or_default()).unwrap_or_else(|| panic!("{value} is no time"))
}

#[test]
fn a_delivery_is_shown_with_everything() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|_| Reply::Body(200, 5)));
    let (webhook, _) = rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let event = push(&rpc, json!({}));
    let listed = when(&rpc, &webhook, "DELIVERY_SUCCESS");
    let request = receiver.wait_for(1).remove(0);
    let expected = [
        "attemptCount",
        "createdAt",
        "deliveryId",
        "errorCategory",
        "eventId",
        "lastAttemptedAt",
        "maxAttempts",
        "requestBody",
        "responseBody",
        "responseCode",
        "status",
        "webhookId",
    ];
    assert_eq!(keys(&listed), expected, "zeros are left out");
    let id = listed["deliveryId"].clone();
    let ask = json!({"delivery_id": id, "namespace": "default"});
    assert_eq!(rpc.ask(ONE, &ask), json!({"delivery": listed}), "alone as in the list");
    assert_eq!((&listed["eventId"], &listed["webhookId"]), (&json!(event), &json!(webhook)));
    assert_eq!(request.headers["x-sparrow-delivery-id"], id.as_str().expect("an id"));
    assert_eq!((&listed["attemptCount"], &listed["maxAttempts"]), (&json!(1), &json!(4)));
    assert_eq!(
        (&listed["responseCode"], &listed["responseBody"], &listed["errorCategory"]),
        (&json!(200), &json!("xxxxx"), &json!("success"))
    );
    assert_eq!(listed["requestBody"], String::from_utf8(request.body).expect("text"));
    assert!(time(&listed["createdAt"]) <= time(&listed["lastAttemptedAt"]));
    let attempts = rpc.ask(ATTEMPTS, &json!({"delivery_id": id}))["attempts"].clone();
    let attempt = attempts[0].clone();
    let expected = ["attemptId", "deliveryId", "errorCategory", "responseCode", "responseTime", "success", "timestamp", "webhookId"];
    assert_eq!((attempts.as_array().map(Vec::len), keys(&attempt)), (Some(1), expected.to_vec()));
    assert_eq!((&attempt["success"], &attempt["errorCategory"], &attempt["responseCode"]), (&json!(true), &json!("success"), &json!(200)));
    assert_eq!((&attempt["deliveryId"], &attempt["webhookId"], &attempt["timestamp"]), (&id, &json!(webhook), &listed["lastAttemptedAt"]));
    assert!(attempt["responseTime"].as_u64() >= Some(1));
    // In binary it is the same.
    let text = id.as_str().expect("an id").to_owned();
    let found: w::GetDeliveryStatusResponse = rpc.ask_binary(ONE, &w::GetDeliveryStatusRequest { delivery_id: text, ..Default::default() });
    assert!(found.delivery.status == w::WebhookDeliveryStatus::DELIVERY_SUCCESS && found.delivery.response_body == "xxxxx");
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let seeded = "d-550e8400-e29b-41d4-a716-446655440000";
    for (method, request, code, message) in [
        (ONE, json!({"namespace": "default"}), "invalid_argument", "delivery_id is required"),
        (ONE, json!({"delivery_id": seeded}), "invalid_argument", "invalid delivery ID: "),
        (ONE, json!({"delivery_id": NOBODY, "namespace": "production"}), "not_found", "there is no delivery with this ID"),
        (ONE, json!({"delivery_id": NOBODY, "namespace": "a b"}), "invalid_argument", "invalid namespace"),
        (ATTEMPTS, json!({}), "invalid_argument", "delivery_id is required"),
        (ATTEMPTS, json!({"delivery_id": seeded}), "invalid_argument", "invalid delivery ID: "),
        (LIST, json!({"webhook_id": "w"}), "invalid_argument", "invalid webhook ID: "),
        (LIST, json!({"event_id": "e"}), "invalid_argument", "invalid event ID: "),
        (LIST, json!({"subscription_id": ""}), "invalid_argument", "subscription_id is required"),
        (LIST, json!({"status": ""}), "invalid_argument", "status: "),
        (LIST, json!({"status": "DELIVERY_FAILED"}), "invalid_argument", "status: "),
        (LIST, json!({"error_category": "bad luck"}), "invalid_argument", "error_category: "),
        (LIST, json!({"pagination": {"offset": 100_001}}), "invalid_argument", "pagination.offset: "),
        (RETRY, json!({"namespace": "default"}), "invalid_argument", "delivery_id or webhook_id is required"),
        (RETRY, json!({"webhook_id": NOBODY}), "invalid_argument", "namespace is required with webhook_id"),
        (RETRY, json!({"webhook_id": NOBODY, "namespace": "default"}), "not_found", "there is no webhook with this ID"),
        (RETRY, json!({"delivery_id": NOBODY}), "not_found", "there is no delivery with this ID"),
        (START, json!({}), "invalid_argument", "retry_id is required"),
        (STATUS, json!({"retry_id": "r"}), "invalid_argument", "invalid batch ID: "),
        (CANCEL, json!({"retry_id": NOBODY}), "not_found", "there is no batch with this ID"),
    ] {
        let (_, told, text) = rpc.refused(method, &request);
        assert!(told == code && text.starts_with(message), "{method} {request}: {told}: {text}");
    }
    assert_eq!(rpc.ask(ATTEMPTS, &json!({"delivery_id": NOBODY})), json!({}), "an unknown one has no attempts");
    assert_eq!(rpc.ask(LIST, &json!({})), json!({"pagination": {"limit": 50}}));
    for nothing in [json!({"webhook_id": NOBODY}), json!({"event_id": NOBODY}), json!({"namespace": "other", "prepare_retry": true})] {
        assert_eq!(rpc.ask(LIST, &nothing), json!({"pagination": {"limit": 50}}), "{nothing}");
    }
}

#[test]
fn lists_are_narrowed_and_come_newest_first() {
    let server = Server::dev(&[]);
    let (rpc, good, bad) = (Rpc::of(&server), Receiver::answering(200), Receiver::answering(404));
    let webhooks = [once(&rpc, &good), once(&rpc, &bad)];
    let (first, second) = (push(&rpc, json!({})), push(&rpc, json!({})));
    for webhook in &webhooks {
        let ended = |answer: &Value| {
            answer["deliveries"].as_array().is_some_and(|all| all.len() == 2 && all.iter().all(|d| d["attemptCount"] == 1))
        };
        rpc.ask_until(LIST, &json!({"webhook_id": webhook}), ended);
    }
    let all = rpc.ask(LIST, &json!({"namespace": "default"}));
    assert_eq!(all["pagination"], json!({"totalCount": 4, "limit": 50}));
    let deliveries = all["deliveries"].as_array().expect("some");
    assert!(deliveries.windows(2).all(|pair| time(&pair[0]["createdAt"]) >= time(&pair[1]["createdAt"])));
    let events: Vec<&str> = deliveries.iter().filter_map(|delivery| delivery["eventId"].as_str()).collect();
    assert_eq!(events, [&*second, &*second, &*first, &*first]);
    let subscriptions = rpc.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "default", "webhook_id": webhooks[1]}));
    let (made, later) = (&deliveries[3]["createdAt"], &deliveries[0]["createdAt"]);
    for (filter, is_wanted) in [
        (json!({"webhook_id": webhooks[0]}), json!({"webhookId": webhooks[0]})),
        (json!({"event_id": first}), json!({"eventId": first})),
        (json!({"subscription_id": subscriptions["subscriptions"][0]["subscriptionId"]}), json!({"webhookId": webhooks[1]})),
        (json!({"status": "failed"}), json!({"status": "DELIVERY_FAILED"})),
        (json!({"status": "success", "event_id": second}), json!({"status": "DELIVERY_SUCCESS", "eventId": second})),
        (json!({"error_category": "client_error"}), json!({"errorCategory": "client_error"})),
        (json!({"created_after": made, "event_id": second}), json!({"eventId": second})),
        (json!({"created_before": later, "event_id": first}), json!({"eventId": first})),
    ] {
        let is_one = |delivery: &&Value| is_wanted.as_object().expect("fields").iter().all(|(name, value)| delivery[name] == *value);
        let expected: Vec<&str> = deliveries.iter().filter(is_one).filter_map(|delivery| delivery["deliveryId"].as_str()).collect();
        let listed = rpc.ask(LIST, &filter);
        assert_eq!((ids(&listed), &listed["pagination"]["totalCount"]), (expected.clone(), &json!(expected.len())), "{filter}");
        assert!(!expected.is_empty() && expected.len() < 4, "{filter}");
    }
    // After it and before it, not at it: the deliveries of an event are made in one moment.
    for nothing in [json!({"created_after": later, "event_id": second}), json!({"created_before": made, "event_id": first})] {
        assert_eq!(ids(&rpc.ask(LIST, &nothing)), [""; 0], "{nothing}");
    }
    let page = |limit: i32, offset: i32| rpc.ask(LIST, &json!({"pagination": {"limit": limit, "offset": offset}}));
    assert_eq!(
        (ids(&page(2, 1)), &page(2, 1)["pagination"]),
        (ids(&all)[1..3].to_vec(), &json!({"totalCount": 4, "limit": 2, "offset": 1}))
    );
    assert_eq!(page(5_000, -1)["pagination"], json!({"totalCount": 4, "limit": 1000}));
    assert_eq!(page(0, 4), json!({"pagination": {"totalCount": 4, "limit": 50, "offset": 4}}));
}

#[test]
fn a_response_is_kept_to_a_kibibyte_or_a_mebibyte() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (plain, capturing) = (Receiver::scripted(|_| Reply::Body(200, 2_000)), Receiver::scripted(|_| Reply::Body(200, (1 << 20) + 5)));
    let (plain, _) = rpc.register(&plain.url, json!({"events": ["a.b"]}));
    let (capturing, _) = rpc.register(&capturing.url, json!({"events": ["a.b"], "http_config": {"capture_response_body": true}}));
    push(&rpc, json!({}));
    for (webhook, kept) in [(plain, 1_024), (capturing, 1 << 20)] {
        let listed = when(&rpc, &webhook, "DELIVERY_SUCCESS");
        let alone = rpc.ask(ONE, &json!({"delivery_id": listed["deliveryId"]}))["delivery"].clone();
        let length = |delivery: &Value| delivery["responseBody"].as_str().map(str::len);
        assert_eq!((length(&alone), length(&listed)), (Some(kept), Some(1_024)), "a list shows the beginning");
    }
}

#[test]
fn the_states_of_a_delivery_are_those_of_the_contract() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| if n == 0 { Reply::StallThen(500) } else { Reply::Status(200) }));
    let (webhook, _) = rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"retry_backoff_seconds": 60}}));
    push(&rpc, json!({"ttl_seconds": 3600}));
    let sending = when(&rpc, &webhook, "DELIVERY_SENDING");
    assert_eq!(
        (&sending["attemptCount"], &sending["maxAttempts"], sending.get("errorCategory")),
        (&json!(1), &json!(4), None),
        "{sending}"
    );
    assert_eq!(time(&sending["expiresAt"]).since(time(&sending["createdAt"])), Duration::from_secs(3_600));
    assert_eq!(rpc.ask(RETRY, &json!({"delivery_id": sending["deliveryId"]})), json!({}), "it is being sent already");
    receiver.release();
    let retrying = when(&rpc, &webhook, "DELIVERY_RETRYING");
    assert_eq!(
        (&retrying["errorCategory"], &retrying["responseCode"], &retrying["attemptCount"]),
        (&json!("server_error"), &json!(500), &json!(1))
    );
    assert!(retrying["errorMessage"].as_str().is_some_and(|text| text.starts_with("500 ")), "{retrying}");
    // A minute, give or take a tenth, after the end of the attempt.
    let wait = time(&retrying["nextRetryAt"]).since(time(&retrying["lastAttemptedAt"]));
    assert!((Duration::from_secs(54)..Duration::from_secs(100)).contains(&wait), "{wait:?}");
    // Nobody has to wait for that.
    let id = retrying["deliveryId"].clone();
    assert_eq!(rpc.ask(RETRY, &json!({"delivery_id": id})), json!({"retriedCount": 1, "deliveryIds": [id]}));
    let done = when(&rpc, &webhook, "DELIVERY_SUCCESS");
    assert_eq!((done.get("nextRetryAt"), done.get("expiresAt"), done.get("errorMessage")), (None, None, None), "{done}");
    assert_eq!((&done["attemptCount"], &done["maxAttempts"]), (&json!(2), &json!(5)), "the first one is of the round before");
    let attempts = rpc.ask(ATTEMPTS, &json!({"delivery_id": id}));
    let codes: Vec<&Value> = attempts["attempts"].as_array().expect("some").iter().map(|attempt| &attempt["responseCode"]).collect();
    assert_eq!(codes, [&json!(500), &json!(200)], "oldest first");
}

/// Also while nobody looks at them: the one waits for its retry, the other for a webhook that is called once in a thousand seconds.
#[test]
fn deliveries_expire_by_themselves() {
    let server = Server::dev(&[]);
    let (rpc, failing, slow) = (Rpc::of(&server), Receiver::answering(500), Receiver::answering(200));
    let (retried, _) = rpc.register(&failing.url, json!({"events": ["a.b"]}));
    let (waiting, _) = rpc.register(&slow.url, json!({"events": ["a.b", "first"], "http_config": {"rate_limit_rps": 0.001}}));
    push(&rpc, json!({"event": "first"}));
    slow.wait_for(1);
    push(&rpc, json!({"ttl_seconds": 2}));
    for (webhook, attempts) in [(&retried, 1), (&waiting, 0)] {
        let expired = when(&rpc, webhook, "DELIVERY_EXPIRED");
        assert_eq!((&expired["errorMessage"], &expired["errorCategory"]), (&json!("Delivery expired"), &json!("unknown")), "{expired}");
        assert_eq!((expired.get("nextRetryAt"), expired["attemptCount"].as_u64().unwrap_or(0)), (None, attempts), "{expired}");
        let made = rpc.ask(ATTEMPTS, &json!({"delivery_id": expired["deliveryId"]}));
        assert_eq!(made["attempts"].as_array().map_or(0, Vec::len) as u64, attempts, "to expire is no attempt");
        assert_eq!(rpc.ask(LIST, &json!({"status": "expired", "webhook_id": webhook}))["pagination"]["totalCount"], 1);
    }
    // Once more, without an end: it is not asked for by force.
    let ask = json!({"namespace": "default", "webhook_id": retried});
    assert_eq!(rpc.ask(RETRY, &ask), json!({}), "of a webhook, what has expired is left alone");
    let id = rpc.ask(LIST, &json!({"webhook_id": retried}))["deliveries"][0]["deliveryId"].clone();
    assert_eq!(rpc.ask(RETRY, &json!({"delivery_id": id}))["retriedCount"], 1, "by its id it is not");
    let again = rpc.ask_until(LIST, &json!({"webhook_id": retried}), |answer| answer["deliveries"][0]["status"] == "DELIVERY_RETRYING");
    assert_eq!((&again["deliveries"][0]["attemptCount"], again["deliveries"][0].get("expiresAt")), (&json!(2), None));
}

#[test]
fn what_was_made_for_a_webhook_goes_on_while_it_is_paused() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| Reply::Status([500, 200][n])));
    let webhook = once(&rpc, &receiver);
    push(&rpc, json!({}));
    let id = when(&rpc, &webhook, "DELIVERY_FAILED")["deliveryId"].clone();
    rpc.ask("WebhookService/PauseWebhook", &json!({"webhook_id": webhook}));
    push(&rpc, json!({}));
    assert_eq!(rpc.ask(RETRY, &json!({"namespace": "default", "webhook_id": webhook})), json!({"retriedCount": 1, "deliveryIds": [id]}));
    receiver.wait_for(2);
    let done = when(&rpc, &webhook, "DELIVERY_SUCCESS");
    assert_eq!((&done["deliveryId"], &done["attemptCount"]), (&id, &json!(2)));
    let all = rpc.ask(LIST, &json!({"webhook_id": webhook}));
    assert_eq!(all["pagination"]["totalCount"], 1, "what happened meanwhile is not for it");
}

#[test]
fn what_nobody_is_subscribed_to_any_more_is_left_as_it_is() {
    let server = Server::dev(&[]);
    let (rpc, api, receiver) = (Rpc::of(&server), Api::of(&server), Receiver::answering(404));
    let webhook = once(&rpc, &receiver);
    push(&rpc, json!({}));
    let failed = when(&rpc, &webhook, "DELIVERY_FAILED");
    let subscriptions = rpc.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "default"}));
    let subscription = &subscriptions["subscriptions"][0]["subscriptionId"];
    rpc.ask("SubscriptionService/DeleteSubscription", &json!({"subscription_id": subscription}));
    let ask = json!({"delivery_id": failed["deliveryId"]});
    assert_eq!(rpc.refused(RETRY, &ask).1, "failed_precondition");
    assert_eq!(rpc.ask(RETRY, &json!({"namespace": "default", "webhook_id": webhook})), json!({}));
    let batch = json!({"retry_id": rpc.ask(LIST, &json!({"prepare_retry": true}))["retryId"]});
    rpc.ask(START, &batch);
    let ended = rpc.ask_until(STATUS, &batch, |answer| answer["batch"]["status"] == "failed")["batch"].clone();
    assert_eq!((&ended["processed"], &ended["failed"]), (&json!(1), &json!(1)));
    assert_eq!(rpc.ask(LIST, &json!({}))["deliveries"][0], failed);
    assert_eq!((&api.get("/v1/delivery/dlq").json()["total"], receiver.count()), (&json!(1), 1), "its dead letter is open");
}

/// What is kept of a long request is its beginning alone.
#[test]
fn a_long_request_is_shown_as_the_receiver_got_it() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| Reply::Status([500, 200][n])));
    let (webhook, _) = rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"retry_backoff_seconds": 1}}));
    push(&rpc, json!({"payload": {"text": "\u{fc}".repeat(10_240), "n": 1.50}}));
    let done = when(&rpc, &webhook, "DELIVERY_SUCCESS");
    let sent = String::from_utf8(receiver.wait_for(2).remove(1).body).expect("text");
    let alone = rpc.ask(ONE, &json!({"delivery_id": done["deliveryId"]}))["delivery"].clone();
    assert!(sent.len() > 20_480 && sent.contains("\"attempt\":2,"), "{sent}");
    assert_eq!(alone["requestBody"].as_str(), Some(&*sent));
    let begun = done["requestBody"].as_str().expect("a text");
    assert!(sent.starts_with(begun) && (1_020..=1_024).contains(&begun.len()), "a list shows the beginning");
}

#[test]
fn what_waits_is_listed_page_by_page_and_tried_again() {
    let server = Server::dev(&[]);
    let (rpc, slow, silent) = (Rpc::of(&server), Receiver::answering(200), Receiver::scripted(|_| Reply::Stall));
    let (webhook, _) = rpc.register(&slow.url, json!({"events": ["a.b"], "http_config": {"rate_limit_rps": 0.001}}));
    let events: Vec<Value> = (0..52).map(|n| json!({"event_type": "a.b", "payload": {"n": n}})).collect();
    let answer = Api::of(&server).post("/v1/delivery/events/batch", &json!(events));
    assert!(answer.status < 300, "{}", answer.text());
    // One has gone out, and the others wait for their turn.
    rpc.ask_until(LIST, &json!({"status": "success"}), |answer| answer["pagination"]["totalCount"] == 1);
    let all = rpc.ask(LIST, &json!({"webhook_id": webhook}));
    assert_eq!((ids(&all).len(), &all["pagination"]), (50, &json!({"totalCount": 52, "limit": 50})));
    let pending = rpc.ask(LIST, &json!({"status": "pending", "pagination": {"limit": 100}}));
    assert_eq!((ids(&pending).len(), &pending["pagination"]["totalCount"]), (51, &json!(51)));
    let one = &pending["deliveries"][0];
    assert_eq!((&one["status"], one.get("attemptCount"), one.get("lastAttemptedAt")), (&json!("DELIVERY_PENDING"), None, None));
    assert_eq!((one.get("requestBody"), one.get("errorCategory"), &one["maxAttempts"]), (None, None, &json!(4)));
    let ask = json!({"namespace": "default", "webhook_id": webhook});
    assert_eq!(rpc.ask(RETRY, &ask)["retriedCount"], 51, "what is pending is due at once, by its turn");
    assert_eq!(rpc.ask(RETRY, &with(ask.clone(), &json!({"force": true})))["retriedCount"], 52);
    // What is being sent is left alone.
    let (stalled, _) = rpc.register(&silent.url, json!({"events": ["c.d"]}));
    push(&rpc, json!({"event": "c.d"}));
    silent.wait_for(1);
    let sending = rpc.ask_until(LIST, &json!({"status": "sending"}), |answer| answer["pagination"]["totalCount"] == 1);
    assert_eq!(
        (&sending["deliveries"][0]["webhookId"], &sending["deliveries"][0]["status"]),
        (&json!(stalled), &json!("DELIVERY_SENDING"))
    );
    assert_eq!(rpc.ask(RETRY, &json!({"namespace": "default", "webhook_id": stalled})), json!({}));
    silent.release();
}

#[test]
fn a_delivery_is_tried_again() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 500 } else { 200 }));
    let webhook = once(&rpc, &receiver);
    push(&rpc, json!({}));
    let failed = when(&rpc, &webhook, "DELIVERY_FAILED");
    let id = failed["deliveryId"].clone();
    assert_eq!((&failed["attemptCount"], &failed["maxAttempts"]), (&json!(1), &json!(1)));
    let ask = json!({"namespace": "default", "delivery_id": id});
    assert_eq!(rpc.ask(RETRY, &ask), json!({"retriedCount": 1, "deliveryIds": [id]}));
    let done = when(&rpc, &webhook, "DELIVERY_SUCCESS");
    assert_eq!((&done["attemptCount"], &done["maxAttempts"]), (&json!(2), &json!(2)), "attempts are counted on, with a budget of one more");
    let (status, code, _) = rpc.refused(RETRY, &ask);
    assert_eq!((status, code.as_str()), (400, "failed_precondition"), "it has succeeded");
    assert_eq!(rpc.ask(RETRY, &with(ask.clone(), &json!({"force": true})))["retriedCount"], 1);
    let requests = receiver.wait_for(3);
    assert!(requests.iter().all(|request| request.headers["webhook-id"] == requests[0].headers["webhook-id"]), "the same to its receiver");
    when(&rpc, &webhook, "DELIVERY_SUCCESS");
    rpc.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": webhook}));
    let refused = rpc.refused(RETRY, &with(ask.clone(), &json!({"force": true})));
    assert_eq!((&*refused.1, &*refused.2), ("failed_precondition", "the webhook or the subscription of this delivery was deleted"));
    assert_eq!(rpc.ask(ONE, &ask)["delivery"]["status"], "DELIVERY_SUCCESS", "its history stays");
}

#[test]
fn all_deliveries_of_a_webhook_are_tried_again() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (receiver, bystander) = (Receiver::scripted(|n| Reply::Status(if n < 3 { 404 } else { 200 })), Receiver::answering(404));
    let (webhook, other) = (once(&rpc, &receiver), once(&rpc, &bystander));
    let ask = json!({"namespace": "default", "webhook_id": webhook});
    assert_eq!(rpc.ask(RETRY, &ask), json!({}), "nothing is not wrong");
    for _ in 0..3 {
        push(&rpc, json!({}));
    }
    let ended = |answer: &Value| answer["pagination"]["totalCount"] == 6;
    rpc.ask_until(LIST, &json!({"status": "failed"}), ended);
    let retried = rpc.ask(RETRY, &ask);
    let listed = rpc.ask(LIST, &json!({"webhook_id": webhook}));
    let (mut told, mut all): (Vec<Value>, Vec<&str>) = (retried["deliveryIds"].as_array().expect("some").clone(), ids(&listed));
    told.sort_by_key(Value::to_string);
    all.sort_unstable();
    assert_eq!((&retried["retriedCount"], told), (&json!(3), all.iter().map(|id| json!(id)).collect::<Vec<_>>()));
    receiver.wait_for(6);
    rpc.ask_until(LIST, &json!({"status": "success"}), |answer| answer["pagination"]["totalCount"] == 3);
    assert_eq!(rpc.ask(RETRY, &ask), json!({}), "those that succeeded are left alone");
    assert_eq!(rpc.ask(RETRY, &with(ask.clone(), &json!({"force": true})))["retriedCount"], 3);
    receiver.wait_for(9);
    // One by its id beside all of another webhook: both are done.
    let failed = rpc.ask(LIST, &json!({"webhook_id": other, "status": "failed"}));
    let both = with(ask, &json!({"delivery_id": ids(&failed)[0]}));
    rpc.ask_until(LIST, &json!({"status": "success"}), |answer| answer["pagination"]["totalCount"] == 3);
    assert_eq!(rpc.ask(RETRY, &both)["deliveryIds"], json!([ids(&failed)[0]]));
    rpc.ask_until(ATTEMPTS, &json!({"delivery_id": ids(&failed)[0]}), |answer| answer["attempts"].as_array().map(Vec::len) == Some(2));
    assert_eq!(rpc.ask(RETRY, &with(both, &json!({"force": true})))["retriedCount"], 4);
}

#[test]
fn a_batch_is_prepared_started_and_cancelled() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 3 { 404 } else { 200 }));
    let webhook = once(&rpc, &receiver);
    for _ in 0..3 {
        push(&rpc, json!({}));
    }
    let failed = json!({"webhook_id": webhook, "status": "failed"});
    rpc.ask_until(LIST, &failed, |answer| answer["pagination"]["totalCount"] == 3);
    let prepare = |more: Value| rpc.ask(LIST, &with(with(json!({"prepare_retry": true, "pagination": {"limit": 1}}), &failed), &more));
    assert_eq!(prepare(json!({"error_category": "timeout"})).get("retryId"), None, "nothing matches");
    let prepared = prepare(json!({}));
    assert_eq!(ids(&prepared).len(), 1, "the batch has all, the page what it shows");
    let ask = json!({"retry_id": prepared["retryId"]});
    let batch = rpc.ask(STATUS, &ask)["batch"].clone();
    assert_eq!(
        (keys(&batch), &batch["status"], &batch["total"]),
        (vec!["createdAt", "expiresAt", "status", "total"], &json!("pending"), &json!(3))
    );
    assert_eq!(time(&batch["expiresAt"]).since(time(&batch["createdAt"])), Duration::from_secs(86_400));
    let second = json!({"retry_id": prepare(json!({}))["retryId"]});
    assert_eq!(rpc.ask(START, &ask), json!({"retryId": prepared["retryId"], "total": 3, "status": "processing"}));
    let ended = rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["status"] == "completed")["batch"].clone();
    assert_eq!((&ended["processed"], ended.get("failed")), (&json!(3), None));
    receiver.wait_for(6);
    rpc.ask_until(LIST, &json!({"status": "success"}), |answer| answer["pagination"]["totalCount"] == 3);
    for method in [START, CANCEL] {
        assert_eq!(rpc.refused(method, &ask).1, "failed_precondition", "{method}");
    }
    // What has succeeded since is not sent again.
    rpc.ask(START, &second);
    let ended = rpc.ask_until(STATUS, &second, |answer| answer["batch"]["status"] == "failed")["batch"].clone();
    assert_eq!((&ended["processed"], &ended["failed"], receiver.count()), (&json!(3), &json!(3), 6));
    let third = json!({"retry_id": rpc.ask(LIST, &json!({"prepare_retry": true}))["retryId"]});
    assert_eq!(rpc.ask(CANCEL, &third), json!({"status": "cancelled"}));
    assert_eq!(
        (rpc.refused(START, &third).1.as_str(), &rpc.ask(STATUS, &third)["batch"]["status"]),
        ("failed_precondition", &json!("cancelled"))
    );
    // A batch of events is none of deliveries.
    let events = rpc.ask("EventService/ListEventReports", &json!({"prepare_repush": true}));
    for method in [START, STATUS, CANCEL] {
        assert_eq!(rpc.refused(method, &json!({"retry_id": events["repushId"]})).1, "not_found", "{method}");
    }
    assert_eq!(rpc.refused("EventService/GetRepushStatus", &json!({"repush_id": third["retry_id"]})).1, "not_found");
}

#[test]
fn a_batch_goes_on_over_a_crash() {
    let server = Server::dev(&[]);
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 900 { 404 } else { 200 }));
    let rpc = Rpc::of(&server);
    let webhook = once(&rpc, &receiver);
    let events: Vec<Value> = (0..900).map(|n| json!({"event_type": "a.b", "payload": {"n": n}})).collect();
    let answer = Api::of(&server).post("/v1/delivery/events/batch", &json!(events));
    assert!(answer.status < 300, "{}", answer.text());
    let failed = json!({"webhook_id": webhook, "status": "failed", "prepare_retry": false});
    rpc.ask_until(LIST, &failed, |answer| answer["pagination"]["totalCount"] == 900);
    let ask = json!({"retry_id": rpc.ask(LIST, &with(failed, &json!({"prepare_retry": true})))["retryId"]});
    rpc.ask(START, &ask);
    rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["processed"].as_u64() >= Some(100));
    let server = Server::start(server.crash(), &["--dev"], &[]);
    let rpc = Rpc::of(&server);
    rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["status"] == "completed");
    rpc.ask_until(LIST, &json!({"status": "success"}), |answer| answer["pagination"]["totalCount"] == 900);
    // Each was sent again, and none more often than the crash, which may have cut its answer off, makes it.
    let mut sent = BTreeMap::new();
    receiver.wait_for(1_800).iter().for_each(|request| *sent.entry(request.headers["x-sparrow-delivery-id"].clone()).or_insert(0) += 1);
    assert_eq!((sent.len(), sent.values().filter(|times| !(2..=3).contains(*times)).count()), (900, 0));
}

#[test]
fn deliveries_are_those_of_the_callers_namespace() {
    let server = Server::guarded(MASTER);
    let (master, api) = (Rpc::with_key(&server, MASTER, "one"), Api::with_key(&server, MASTER));
    let key = |namespace: &str, scopes: Value| api.key(&json!({"name": "k", "namespace": namespace, "scopes": scopes})).0;
    let (one, two, reader) = (key("one", json!(["read", "write"])), key("two", json!(["read", "write"])), key("one", json!(["read"])));
    let [one, two, reader] = [&one, &two, &reader].map(|key| Rpc::with_key(&server, key, "one"));
    let receiver = Receiver::answering(404);
    let webhook = once(&one, &receiver);
    let event = push(&one, json!({"namespace": "one"}));
    let id = when(&one, &webhook, "DELIVERY_FAILED")["deliveryId"].clone();
    for rpc in [&one, &reader, &master] {
        assert_eq!(ids(&rpc.ask(LIST, &json!({}))), [id.as_str().expect("an id")]);
        assert_eq!(rpc.ask(ONE, &json!({"delivery_id": id}))["delivery"]["deliveryId"], id);
    }
    assert_eq!(ids(&two.ask(LIST, &json!({}))), [""; 0]);
    assert_eq!(two.ask(LIST, &json!({"namespace": "one", "prepare_retry": true})), json!({"pagination": {"limit": 50}}));
    assert_eq!(two.ask(ATTEMPTS, &json!({"delivery_id": id})), json!({}));
    // Ids of another namespace narrow a list to nothing.
    let subscription =
        &one.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "one"}))["subscriptions"][0]["subscriptionId"];
    for filter in [json!({"webhook_id": webhook}), json!({"event_id": event}), json!({"subscription_id": subscription})] {
        assert_eq!(two.ask(LIST, &filter), json!({"pagination": {"limit": 50}}), "{filter}");
        assert_eq!(ids(&one.ask(LIST, &filter)), [id.as_str().expect("an id")], "{filter}");
    }
    for (method, request) in [
        (ONE, json!({"delivery_id": id})),
        (ONE, json!({"delivery_id": id, "namespace": "one"})),
        (RETRY, json!({"delivery_id": id})),
        (RETRY, json!({"webhook_id": webhook, "namespace": "one"})),
    ] {
        assert_eq!(two.refused(method, &request).1, "not_found", "{method} {request}");
    }
    let prepare = |rpc: &Rpc<'_>| json!({"retry_id": rpc.ask(LIST, &json!({"prepare_retry": true}))["retryId"]});
    let (own, all) = (prepare(&one), prepare(&master));
    for method in [START, STATUS, CANCEL] {
        assert_eq!(two.refused(method, &own).1, "not_found", "{method}");
        assert_eq!(one.refused(method, &all).1, "not_found", "{method}");
    }
    assert_eq!(reader.ask(STATUS, &own)["batch"]["status"], "pending");
    assert_eq!(reader.refused(LIST, &json!({"prepare_retry": true})).1, "permission_denied");
    for (method, request) in [(RETRY, &json!({"delivery_id": id})), (START, &own), (CANCEL, &own)] {
        assert_eq!(reader.refused(method, request).1, "permission_denied", "{method}");
    }
}
