//! `postrider.v1.LedgerService`: deliveries in lists, their stories, called off and tried again.

use crate::common::items::Api;
use crate::common::receiver::Received;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const LIST: &str = "postrider.v1.LedgerService/ListDeliveries";
const EXPLAIN: &str = "postrider.v1.LedgerService/ExplainDelivery";
const CANCEL: &str = "postrider.v1.LedgerService/CancelDelivery";
const RETRY: &str = "postrider.v1.LedgerService/RetryMatching";

/// Publishes an event of this type; answers its id.
fn push(rpc: &Rpc<'_>, event: &str, more: Value) -> String {
    let mut request = json!({"namespace": "default", "event": event, "payload": {"n": 1}});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    rpc.ask("EventService/PushEvent", &request)["eventId"].as_str().expect("an id").to_owned()
}

/// Registers a webhook for `a.b`; answers its id.
fn register(rpc: &Rpc<'_>, receiver: &Receiver, http: Value) -> String {
    rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": http})).0
}

fn ids(listed: &Value) -> Vec<&str> {
    let all = listed["deliveries"].as_array();
    all.into_iter().flatten().map(|delivery| delivery["deliveryId"].as_str().expect("an id")).collect()
}

/// The newest delivery to an endpoint, once it is in this state.
fn when(rpc: &Rpc<'_>, endpoint: &str, state: &str) -> Value {
    let ask = json!({"filter": {"endpoint_id": endpoint}});
    rpc.ask_until(LIST, &ask, |answer| answer["deliveries"][0]["state"] == state)["deliveries"][0].clone()
}

fn explain(rpc: &Rpc<'_>, delivery: &Value) -> Value {
    rpc.ask(EXPLAIN, &json!({"delivery_id": delivery["deliveryId"]}))
}

fn bytes(content: &Value) -> Vec<u8> {
    STANDARD.decode(content["bytes"].as_str().unwrap_or_default()).expect("base64")
}

#[test]
fn lists_are_narrowed_walked_and_counted() {
    let server = Server::dev(&[]);
    let (rpc, good, bad) = (Rpc::of(&server), Receiver::answering(200), Receiver::answering(404));
    let (fine, failing) = (register(&rpc, &good, json!({})), rpc.register(&bad.url, json!({"events": ["a.b", "c.d"]})).0);
    let first = push(&rpc, "a.b", json!({}));
    when(&rpc, &fine, "succeeded");
    when(&rpc, &failing, "failed");
    let second = push(&rpc, "c.d", json!({}));
    let all = rpc.ask_until(LIST, &json!({"count": true}), |all| all["deliveries"][0]["state"] == "failed" && all["total"] == "3");
    let newest = &all["deliveries"][0];
    assert_eq!((&newest["eventId"], &newest["eventType"], &newest["endpointId"]), (&json!(second), &json!("c.d"), &json!(failing)));
    assert_eq!(
        (&newest["httpStatus"], &newest["category"], &newest["errorCode"]),
        (&json!(404), &json!("client_error"), &json!("connector_4xx"))
    );
    assert_eq!((&newest["attempts"], &newest["maxAttempts"], &newest["url"]), (&json!(1), &json!(4), &json!(bad.url)));
    assert!(
        newest["errorMessage"].as_str().is_some_and(|text| text.starts_with("404")) && newest["tookMs"].as_f64() > Some(0.0),
        "{newest}"
    );
    let every = ids(&all);
    let of = |wanted: &dyn Fn(&Value) -> bool| -> Vec<&str> {
        let deliveries = all["deliveries"].as_array().expect("some");
        deliveries.iter().filter(|delivery| wanted(delivery)).filter_map(|delivery| delivery["deliveryId"].as_str()).collect()
    };
    let (made, later) = (all["deliveries"][2]["createdAt"].clone(), newest["createdAt"].clone());
    for (filter, expected) in [
        (json!({"namespace": "default"}), every.clone()),
        (json!({"states": ["failed"]}), of(&|delivery| delivery["state"] == "failed")),
        (json!({"states": ["succeeded", "expired"]}), of(&|delivery| delivery["state"] == "succeeded")),
        (json!({"endpoint_id": fine}), of(&|delivery| delivery["endpointId"] == fine)),
        (json!({"event_id": first}), of(&|delivery| delivery["eventId"] == first)),
        (json!({"category": "success"}), of(&|delivery| delivery["state"] == "succeeded")),
        (json!({"error_code": "connector_4xx"}), of(&|delivery| delivery["errorCode"] == "connector_4xx")),
        (json!({"error_code": "connector_4xx", "category": "success"}), vec![]),
        (json!({"error_code": "dns_error"}), vec![]),
        (json!({"subscription_id": newest["subscriptionId"]}), of(&|delivery| delivery["subscriptionId"] == newest["subscriptionId"])),
        (json!({"event_type": "a.b"}), of(&|delivery| delivery["eventType"] == "a.b")),
        (
            json!({"event_type": "a.b", "states": ["failed"]}),
            of(&|delivery| delivery["eventType"] == "a.b" && delivery["state"] == "failed"),
        ),
        // At this time or later, and before that.
        (json!({"created_from": later}), of(&|delivery| delivery["createdAt"] == later)),
        (json!({"created_before": later}), every[1..].to_vec()),
        (json!({"created_before": made}), vec![]),
        (json!({"namespace": "other"}), vec![]),
        (json!({"event_id": NOBODY}), vec![]),
    ] {
        let listed = rpc.ask(LIST, &json!({"filter": filter, "count": true}));
        assert_eq!(ids(&listed), expected, "{filter}");
        let total = if filter.get("event_type").is_some() { None } else { Some(json!(expected.len().to_string())) };
        assert_eq!(listed.get("total").cloned(), total, "{filter}");
    }
    for filter in [json!({}), json!({"event_type": "a.b"}), json!({"states": ["failed"]})] {
        let expected = rpc.ask(LIST, &json!({"filter": filter}));
        let (mut walked, mut token) = (Vec::new(), json!(""));
        loop {
            let page = rpc.ask(LIST, &json!({"filter": filter, "page_size": 1, "page_token": token}));
            walked.extend(ids(&page).into_iter().map(str::to_owned));
            match page.get("nextPageToken") {
                Some(next) => token = next.clone(),
                None => break,
            }
        }
        assert_eq!(walked, ids(&expected), "{filter}");
    }
}

#[test]
fn what_is_wrong_with_a_request_is_told() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let with = |name: &str, value: Value| json!({"filter": {name: value}});
    for (method, request, code, message) in [
        (LIST, with("namespace", json!("a b")), "invalid_argument", "invalid namespace"),
        (LIST, with("endpoint_id", json!("e")), "invalid_argument", "invalid endpoint ID: "),
        (LIST, with("subscription_id", json!("s")), "invalid_argument", "invalid subscription ID: "),
        (LIST, with("event_id", json!("e")), "invalid_argument", "invalid event ID: "),
        (LIST, with("states", json!(["success"])), "invalid_argument", "filter.states: \"success\" is none of pending, "),
        (LIST, with("category", json!("slow")), "invalid_argument", "filter.category: \"slow\" is none of "),
        (LIST, with("error_code", json!("404")), "invalid_argument", "filter.error_code: \"404\" is no code that "),
        (LIST, with("event_type", json!("x".repeat(5_000))), "invalid_argument", "filter.event_type: at most "),
        (LIST, json!({"page_token": "x"}), "invalid_argument", "page_token: "),
        (EXPLAIN, json!({}), "invalid_argument", "delivery_id is required"),
        (EXPLAIN, json!({"delivery_id": "d"}), "invalid_argument", "invalid delivery ID: "),
        (EXPLAIN, json!({"delivery_id": NOBODY}), "not_found", "there is no delivery with this ID"),
        (CANCEL, json!({}), "invalid_argument", "delivery_id is required"),
        (CANCEL, json!({"delivery_id": NOBODY}), "not_found", "there is no delivery with this ID"),
        (RETRY, json!({}), "failed_precondition", "no delivery matches that could be tried again"),
        (RETRY, with("event_type", json!("a.b")), "failed_precondition", "no delivery matches that could be tried again"),
        (RETRY, with("states", json!(["succeeded", "sending"])), "invalid_argument", "filter.states: only what is in one of these"),
    ] {
        let (_, told, text) = rpc.refused(method, &request);
        assert!(told == code && text.starts_with(message), "{method} {request}: {told}: {text}");
    }
    assert_eq!(rpc.ask(LIST, &json!({})), json!({}));
    assert_eq!(rpc.ask(LIST, &json!({"count": true})), json!({"total": "0"}));
    assert_eq!(rpc.ask(RETRY, &json!({"dry_run": true})), json!({}));
}

/// What is shown of a request's headers is what came, and what is not shown is masked.
fn assert_shown_as_it_came(attempt: &Value, came: &Received) {
    let headers = attempt["requestHeaders"].as_array().expect("headers");
    for header in headers {
        let name = header["name"].as_str().expect("a name");
        let value = came.headers.get(name).unwrap_or_else(|| panic!("{name} did not come"));
        if header["masked"] == true {
            assert_eq!(header["value"], "***", "{name}");
        } else {
            assert_eq!(header["value"], *value, "{name}");
        }
    }
    let masked: Vec<&str> = headers.iter().filter(|header| header["masked"] == true).filter_map(|header| header["name"].as_str()).collect();
    for secret in ["webhook-signature", "x-token"] {
        assert!(masked.contains(&secret), "{secret} is not among {masked:?}");
    }
    for plain in ["webhook-id", "webhook-timestamp", "content-type", "x-postrider-attempt", "idempotency-key", "x-team"] {
        assert!(!masked.contains(&plain) && headers.iter().any(|header| header["name"] == plain), "{plain}");
    }
}

#[test]
fn a_delivery_tells_its_whole_story() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|_| Reply::Body(200, 5)));
    let more = json!({"events": ["a.*"], "headers": {"X-Team": "ops"}, "secret_headers": {"X-Token": "s3cret-token"}});
    let (webhook, _) = rpc.register(&receiver.url, more);
    let event = push(&rpc, "a.b", json!({"metadata": {"m": "1"}, "labels": {"l": "2"}, "id": "the key", "ttl_seconds": 3_600}));
    let came = receiver.wait_for(1).remove(0);
    let delivery = when(&rpc, &webhook, "succeeded");
    let story = explain(&rpc, &delivery);
    assert_eq!((&story["delivery"], &story["event"]["event"]["eventId"]), (&delivery, &json!(event)));
    assert_eq!(story["idempotencyKey"], came.headers["idempotency-key"]);
    assert_eq!(story["matched"], json!([{"text": "event type matches a.*", "holds": true}]));
    assert_eq!((story.get("subscriptionChanged"), story.get("actions"), story.get("deadLetterId")), (None, None, None));
    assert!(story["expiresAt"].is_string() && story["next"] == "Delivered; nothing more happens.", "{story}");
    let detail = &story["event"];
    assert_eq!((bytes(&detail["payload"]), &detail["metadata"]), (b"{\"n\":1}".to_vec(), &json!({"m": "1"})));
    assert_eq!((&detail["event"]["labels"], &detail["event"]["idempotencyKey"]), (&json!({"l": "2"}), &json!("the key")));
    assert_eq!((&detail["event"]["payloadBytes"], &detail["event"]["deliveries"]), (&json!("7"), &json!({"succeeded": "1"})));
    let attempts = story["attempts"].as_array().expect("attempts");
    let attempt = &attempts[0];
    assert_eq!(
        (attempts.len(), &attempt["number"], &attempt["httpStatus"], &attempt["method"]),
        (1, &json!(1), &json!(200), &json!("POST"))
    );
    assert_shown_as_it_came(attempt, &came);
    assert_eq!(bytes(&attempt["requestBody"]), came.body);
    assert_eq!((bytes(&attempt["responseBody"]), attempt["phases"]["total"].as_f64() > Some(0.0)), (b"xxxxx".to_vec(), true));
    let head = attempt["responseHeaders"].as_array().expect("headers");
    assert!(head.contains(&json!({"name": "content-length", "value": "5"})), "{head:?}");
    let signed = json!([{
        "scheme": "Standard Webhooks", "headers": ["webhook-id", "webhook-timestamp", "webhook-signature"],
        "signed": "{webhook-id}.{webhook-timestamp}.{body}", "algorithm": "HMAC-SHA256", "secrets": 1,
    }]);
    assert_eq!((&attempt["signatures"], attempt.get("requestHeadersChanged")), (&signed, None));
    let text = story.to_string();
    assert!(!text.contains("s3cret-token") && !text.contains(&came.headers["webhook-signature"]));
    // What it was sent by is not what it would be sent by now.
    rpc.update(&webhook, json!({"headers": {"X-Team": "others"}}), Some("headers"));
    let attempt = &explain(&rpc, &delivery)["attempts"][0];
    assert_eq!(attempt["requestHeadersChanged"], true);
    rpc.ask("WebhookService/UnregisterWebhook", &json!({"webhook_id": webhook}));
    let story = explain(&rpc, &delivery);
    assert_eq!((&story["subscriptionChanged"], story.get("matched")), (&json!(true), None));
    assert_eq!((story["attempts"][0].get("requestHeaders"), bytes(&story["attempts"][0]["requestBody"])), (None, came.body));
}

#[test]
fn what_comes_next_is_told_with_its_reason() {
    let server = Server::dev(&[]);
    let (rpc, failing, limited) = (Rpc::of(&server), Receiver::answering(500), Receiver::scripted(|_| Reply::Limited("120")));
    let webhooks = [register(&rpc, &failing, json!({"retry_backoff_seconds": 60})), register(&rpc, &limited, json!({}))];
    push(&rpc, "a.b", json!({}));
    let story = explain(&rpc, &when(&rpc, &webhooks[0], "retrying"));
    let next = story["next"].as_str().expect("a sentence");
    assert!(next.starts_with("Attempt 2 of 4 is due in ") && next.contains(": the policy waits 1 min after the first failure"), "{next}");
    assert_eq!(story["actions"], json!(["retry", "cancel"]));
    let story = explain(&rpc, &when(&rpc, &webhooks[1], "retrying"));
    let next = story["next"].as_str().expect("a sentence");
    assert!(next.ends_with(": the receiver asked to wait 2 min (Retry-After) with a 429, which costs no attempt."), "{next}");
    assert_eq!(story["attempts"][0]["retryAfterSeconds"].as_f64(), Some(120.0));
    let head = story["attempts"][0]["responseHeaders"].as_array().expect("headers");
    assert!(head.contains(&json!({"name": "retry-after", "value": "120"})), "{head:?}");
}

#[test]
fn what_waits_is_called_off_and_can_be_tried_again() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|n| if n == 0 { Reply::Status(500) } else { Reply::Status(200) }));
    let webhook = register(&rpc, &receiver, json!({"retry_backoff_seconds": 60}));
    push(&rpc, "a.b", json!({}));
    let waiting = when(&rpc, &webhook, "retrying");
    let ask = json!({"delivery_id": waiting["deliveryId"]});
    assert_eq!(rpc.ask(CANCEL, &ask), json!({"atOnce": true}));
    let story = explain(&rpc, &waiting);
    assert_eq!((&story["delivery"]["state"], &story["delivery"]["errorCode"]), (&json!("cancelled"), &json!("cancelled_by_hand")));
    assert_eq!((&story["next"], &story["actions"]), (&json!("Cancelled by a person."), &json!(["retry"])));
    assert_eq!(story.get("deadLetterId"), None);
    let (_, code, text) = rpc.refused(CANCEL, &ask);
    assert_eq!((code.as_str(), text.as_str()), ("failed_precondition", "the delivery has ended: its state is cancelled"));
    let again = rpc.ask("DeliveryService/RetryDelivery", &ask);
    assert_eq!(again["retriedCount"], 1, "{again}");
    when(&rpc, &webhook, "succeeded");
    assert_eq!(receiver.count(), 2);
}

#[test]
fn what_is_being_sent_is_called_off_after_the_attempt() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::scripted(|_| Reply::StallThen(500)));
    let webhook = register(&rpc, &receiver, json!({"retry_backoff_seconds": 1}));
    push(&rpc, "a.b", json!({}));
    let sending = when(&rpc, &webhook, "sending");
    let next = explain(&rpc, &sending)["next"].clone();
    assert!(
        next.as_str().is_some_and(|text| text.starts_with("Attempt 1 of 4 is under way for ") && text.ends_with("; it may take 30 s.")),
        "{next}"
    );
    assert_eq!(rpc.ask(CANCEL, &json!({"delivery_id": sending["deliveryId"]})), json!({}));
    let story = explain(&rpc, &sending);
    assert_eq!((&story["calledOff"], story.get("actions")), (&json!(true), None));
    let next = story["next"].as_str().expect("a sentence");
    assert!(next.ends_with("It was cancelled: it ends after this attempt, unless that succeeds."), "{next}");
    receiver.release();
    when(&rpc, &webhook, "cancelled");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn all_that_match_are_tried_again() {
    let server = Server::guarded(MASTER);
    let api = Api::with_key(&server, MASTER);
    let key = |scopes: Value| api.key(&json!({"name": "k", "namespace": "default", "scopes": scopes})).0;
    let (writer, reader) = (key(json!(["read", "write"])), key(json!(["read"])));
    let (rpc, reader) = (Rpc::with_key(&server, &writer, "default"), Rpc::with_key(&server, &reader, "default"));
    let receiver = Receiver::scripted(|n| if n < 3 { Reply::Status(404) } else { Reply::Status(200) });
    let webhook = register(&rpc, &receiver, json!({}));
    for _ in 0..4 {
        push(&rpc, "a.b", json!({}));
    }
    let ended = json!({"filter": {"states": ["failed", "succeeded"]}, "count": true});
    rpc.ask_until(LIST, &ended, |told| told["total"] == "4");
    let failed = ids(&rpc.ask(LIST, &json!({"filter": {"states": ["failed"]}}))).len();
    assert_eq!(failed, 3, "the first three were refused");
    for (filter, matched) in [
        (json!({}), json!({"matched": "3"})),
        (json!({"event_type": "a.b", "endpoint_id": webhook}), json!({"matched": "3"})),
        (json!({"event_type": "c.d"}), json!({})),
        (json!({"states": ["expired"]}), json!({})),
        (json!({"namespace": "other"}), json!({})),
    ] {
        assert_eq!(reader.ask(RETRY, &json!({"filter": filter, "dry_run": true})), matched, "{filter}");
    }
    assert_eq!(reader.refused(RETRY, &json!({})).1, "permission_denied");
    let letter = explain(&rpc, &rpc.ask(LIST, &json!({"filter": {"states": ["failed"]}}))["deliveries"][0])["deadLetterId"].clone();
    assert!(letter.as_str().is_some_and(|id| id.len() == 36), "{letter}");
    let begun = rpc.ask(RETRY, &json!({"filter": {"event_type": "a.b"}}));
    assert_eq!((&begun["matched"], &begun["total"], begun.get("remaining")), (&json!("3"), &json!(3), None));
    let status = json!({"retry_id": begun["retryId"]});
    rpc.ask_until("DeliveryService/GetRetryStatus", &status, |told| told["batch"]["status"] == "completed");
    rpc.ask_until(LIST, &json!({"filter": {"states": ["succeeded"]}, "count": true}), |told| told["total"] == "4");
    assert_eq!(rpc.refused(RETRY, &json!({})).1, "failed_precondition", "there is nothing left");
}

#[test]
fn batches_that_follow_each_other_take_each_delivery_once() {
    let (server, receiver) = (Server::dev(&[]), Receiver::answering(400));
    let rpc = Rpc::of(&server);
    register(&rpc, &receiver, json!({}));
    for _ in 0..5 {
        push(&rpc, "a.b", json!({}));
    }
    let failed = json!({"filter": {"states": ["failed"]}, "count": true});
    rpc.ask_until(LIST, &failed, |told| told["total"] == "5");
    for filter in [json!({"states": ["failed"]}), json!({"states": ["failed"], "event_type": "a.b"})] {
        let (mut sizes, mut token, before) = (Vec::new(), String::new(), receiver.count());
        loop {
            let begun = rpc.ask(RETRY, &json!({"filter": filter, "limit": 2, "page_token": token}));
            let Some(batch) = begun["retryId"].as_str() else { break };
            sizes.push(begun["total"].as_i64().expect("a number"));
            rpc.ask_until("DeliveryService/GetRetryStatus", &json!({"retry_id": batch}), |told| told["batch"]["status"] == "completed");
            // All of them match again before the next batch.
            rpc.ask_until(LIST, &failed, |told| told["total"] == "5");
            token = begun["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                break;
            }
        }
        assert_eq!((sizes, receiver.count() - before), (vec![2, 2, 1], 5), "{filter}");
    }
    for limit in [-1, 10_001] {
        assert_eq!(rpc.refused(RETRY, &json!({"limit": limit})).1, "invalid_argument", "{limit}");
    }
    assert_eq!(rpc.refused(RETRY, &json!({"page_token": "x"})).1, "invalid_argument");
}

#[test]
fn nobody_sees_or_changes_what_is_of_others() {
    let server = Server::guarded(MASTER);
    let (api, receiver) = (Api::with_key(&server, MASTER), Receiver::answering(500));
    let key = |namespace: &str, scopes: Value| api.key(&json!({"name": "k", "namespace": namespace, "scopes": scopes})).0;
    let (own, other, reader) =
        (key("default", json!(["read", "write"])), key("two", json!(["read", "write"])), key("default", json!(["read"])));
    let (own, other) = (Rpc::with_key(&server, &own, "default"), Rpc::with_key(&server, &other, "two"));
    let (master, reader) = (Rpc::with_key(&server, MASTER, "default"), Rpc::with_key(&server, &reader, "default"));
    let webhook = register(&own, &receiver, json!({}));
    let event = push(&own, "a.b", json!({}));
    let delivery = when(&own, &webhook, "retrying");
    let ask = json!({"delivery_id": delivery["deliveryId"]});
    assert_eq!(explain(&master, &delivery)["delivery"]["deliveryId"], delivery["deliveryId"]);
    for filter in [json!({}), json!({"namespace": "default"}), json!({"endpoint_id": webhook}), json!({"event_id": event})] {
        assert_eq!(other.ask(LIST, &json!({"filter": filter})), json!({}), "{filter}");
        assert_eq!(other.ask(RETRY, &json!({"filter": filter, "dry_run": true})), json!({}), "{filter}");
        assert_eq!(other.refused(RETRY, &json!({"filter": filter})).1, "failed_precondition", "{filter}");
    }
    for method in [EXPLAIN, CANCEL] {
        assert_eq!(other.refused(method, &ask).1, "not_found", "{method}");
    }
    assert_eq!(reader.refused(CANCEL, &ask).1, "permission_denied");
    // Who may only write changes what matches, and does not count it; who may only read counts it.
    let writer = key("default", json!(["write"]));
    let writer = Rpc::with_key(&server, &writer, "default");
    let nothing = json!({"filter": {"event_id": NOBODY}});
    assert_eq!(writer.refused(RETRY, &nothing).1, "failed_precondition");
    assert_eq!(reader.refused(RETRY, &nothing).1, "permission_denied");
    let counted = json!({"filter": {"event_id": NOBODY}, "dry_run": true});
    assert_eq!((writer.refused(RETRY, &counted).1, reader.ask(RETRY, &counted)), (String::from("permission_denied"), json!({})));
    for method in ["postrider.v1.DeadLetterService/ReplayDeadLetters", "postrider.v1.DeadLetterService/DismissDeadLetters"] {
        let (named, counted) = (json!({"dead_letter_ids": [NOBODY]}), json!({"dead_letter_ids": [NOBODY], "dry_run": true}));
        assert_eq!((writer.ask(method, &named), reader.ask(method, &counted)), (json!({}), json!({})), "{method}");
        assert_eq!(
            (reader.refused(method, &named).1, writer.refused(method, &counted).1),
            ("permission_denied".into(), "permission_denied".into())
        );
    }
    assert_eq!((explain(&reader, &delivery).get("actions"), &explain(&own, &delivery)["actions"]), (None, &json!(["retry", "cancel"])));
    assert_eq!(explain(&own, &delivery)["delivery"]["state"], "retrying", "nothing has happened to it");
}
