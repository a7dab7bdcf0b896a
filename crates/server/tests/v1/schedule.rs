//! `postrider.v1.ScheduleService`: payloads for later, listed, made and taken back.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Server};
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp;
use postrider_server::clock::SystemClock;
use serde_json::{Value, json};
use std::time::Duration;

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const LIST: &str = "postrider.v1.ScheduleService/ListScheduled";
const CREATE: &str = "postrider.v1.ScheduleService/CreateScheduled";
const CANCEL: &str = "postrider.v1.ScheduleService/CancelScheduled";

fn later(secs: u64) -> Timestamp {
    SystemClock.now().after(Duration::from_secs(secs))
}

fn create(rpc: &Rpc<'_>, subscription: &str, payload: &str, due: Timestamp, recurrence: &str) -> Value {
    let request = json!({"subscription_id": subscription, "payload": payload, "due_at": due.rfc3339(6), "recurrence": recurrence});
    rpc.ask(CREATE, &request)["scheduled"].clone()
}

fn ids(listed: &Value) -> Vec<&str> {
    let all = listed["scheduled"].as_array();
    all.into_iter().flatten().map(|row| row["scheduledId"].as_str().expect("an id")).collect()
}

/// Schedules a payload for a moment that is near. On a slow machine that may be over when the server reads it.
fn create_soon(rpc: &Rpc<'_>, subscription: &str, payload: &str) -> Value {
    loop {
        let due = later(2);
        let request = json!({"subscription_id": subscription, "payload": payload, "due_at": due.rfc3339(6)});
        let answer = rpc.json(CREATE, &request);
        if answer.status == 200 {
            return answer.json()["scheduled"].clone();
        }
        assert!(SystemClock.now() >= due, "{}", answer.text());
    }
}

#[test]
fn a_payload_is_scheduled_listed_and_delivered() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    assert_eq!(rpc.ask(LIST, &json!({})), json!({}));
    let subscription = server.subscribe_to(&receiver.url);
    let far = later(86_400);
    let series = create(&rpc, &subscription, "{\"n\":  1}", far, "weekly");
    let expected = json!({
        "scheduledId": series["scheduledId"], "namespace": "default", "subscriptionId": subscription, "endpointId": subscription,
        "endpointName": receiver.url, "dueAt": series["dueAt"], "recurrence": "weekly", "status": "pending", "payload": "{\"n\":  1}",
        "payloadBytes": "9", "createdAt": series["createdAt"],
    });
    assert_eq!(series, expected);
    let shown = Timestamp::parse_rfc3339(series["dueAt"].as_str().expect("a time"));
    assert_eq!(shown, Some(far));
    let soon = create_soon(&rpc, &subscription, "\"soon\"");
    assert_eq!(
        ids(&rpc.ask(LIST, &json!({}))),
        [soon["scheduledId"].as_str().expect("an id"), series["scheduledId"].as_str().expect("an id")]
    );
    assert_eq!(receiver.wait_for(1)[0].body, b"\"soon\"");
    let done = rpc.ask_until(LIST, &json!({"status": "completed"}), |listed| !ids(listed).is_empty());
    assert_eq!((&done["scheduled"][0]["scheduledId"], &done["scheduled"][0]["recurrence"]), (&soon["scheduledId"], &json!("none")));
    let delivery = done["scheduled"][0]["deliveryId"].as_str().expect("a delivery");
    server.task_with_status(delivery, "delivered");
    // What ended comes behind what is to come.
    assert_eq!(
        ids(&rpc.ask(LIST, &json!({}))),
        [series["scheduledId"].as_str().expect("an id"), soon["scheduledId"].as_str().expect("an id")]
    );
    assert_eq!(ids(&rpc.ask(LIST, &json!({"status": "pending"}))), [series["scheduledId"].as_str().expect("an id")]);
    assert_eq!(rpc.ask(LIST, &json!({"status": "failed"})), json!({}));
    let (_, code, message) = rpc.refused(CANCEL, &json!({"scheduled_id": soon["scheduledId"]}));
    assert!(code == "failed_precondition" && message.contains("delivered"), "{message}");
    assert_eq!(rpc.ask(CANCEL, &json!({"scheduled_id": series["scheduledId"]})), json!({}));
    assert_eq!(rpc.ask(LIST, &json!({"status": "pending"})), json!({}));
    assert_eq!(rpc.refused(CANCEL, &json!({"scheduled_id": series["scheduledId"]})).1, "not_found");
}

#[test]
fn a_list_is_walked_page_by_page() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (first, second) = (server.subscribe_to("https://hooks.example.com/a"), server.subscribe_to("https://hooks.example.com/b"));
    let long = format!("\"{}\"", "x".repeat(9_000));
    let made: Vec<String> = (0..7)
        .map(|n| {
            let of = if n % 2 == 0 { &first } else { &second };
            create(&rpc, of, &long, later(1_000 + n), "none")["scheduledId"].as_str().expect("an id").to_owned()
        })
        .collect();
    let walk = |filter: Value| {
        let (mut walked, mut token) = (Vec::new(), String::new());
        loop {
            let mut request = filter.clone();
            request["page_token"] = json!(token);
            let page = rpc.ask(LIST, &request);
            walked.extend(ids(&page).into_iter().map(str::to_owned));
            token = page["nextPageToken"].as_str().unwrap_or_default().to_owned();
            if token.is_empty() {
                return walked;
            }
        }
    };
    assert_eq!(walk(json!({"page_size": 2})), made);
    assert_eq!(walk(json!({"page_size": 3, "subscription_id": first})), [&made[0], &made[2], &made[4], &made[6]].map(String::clone));
    assert_eq!(walk(json!({"page_size": 1, "status": "pending", "subscription_id": second})).len(), 3);
    assert_eq!(walk(json!({"page_size": 1, "status": "completed"})), [""; 0]);
    let shown = rpc.ask(LIST, &json!({"page_size": 1}))["scheduled"][0].clone();
    assert_eq!((shown["payload"].as_str().map(str::len), &shown["payloadBytes"]), (Some(8 << 10), &json!("9002")), "its beginning");
    for (request, part) in [
        (json!({"status": "odd"}), "status"),
        (json!({"subscription_id": "7"}), "subscription"),
        (json!({"page_token": "odd"}), "page_token"),
    ] {
        let (_, code, message) = rpc.refused(LIST, &request);
        assert!(code == "invalid_argument" && message.contains(part), "{request}: {message}");
    }
}

#[test]
fn what_cannot_be_scheduled_says_why() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let id = server.subscribe_to("https://hooks.example.com/a");
    let due = later(1_000).rfc3339(0);
    for (request, code, part) in [
        (json!({"subscription_id": id, "payload": "1", "due_at": later(0).rfc3339(6)}), "invalid_argument", "due_at must be in the future"),
        (json!({"subscription_id": id, "payload": "1"}), "invalid_argument", "due_at is required"),
        (json!({"subscription_id": id, "due_at": due}), "invalid_argument", "payload is required"),
        (json!({"subscription_id": id, "payload": "{", "due_at": due}), "invalid_argument", "payload is not valid JSON"),
        (json!({"subscription_id": id, "payload": "1", "due_at": due, "recurrence": "hourly"}), "invalid_argument", "recurrence"),
        (json!({"payload": "1", "due_at": due}), "invalid_argument", "subscription_id is required"),
        (json!({"subscription_id": NOBODY, "payload": "1", "due_at": due}), "not_found", "subscription"),
    ] {
        let (_, found, message) = rpc.refused(CREATE, &request);
        assert_eq!(found, code, "{request}: {message}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(rpc.ask(LIST, &json!({})), json!({}));
    assert_eq!(rpc.refused(CANCEL, &json!({})).1, "invalid_argument");
    assert_eq!(rpc.refused(CANCEL, &json!({"scheduled_id": NOBODY})).1, "not_found");
}

#[test]
fn what_belongs_to_another_namespace_does_not_exist() {
    let server = Server::guarded(MASTER);
    let (master, keys) = (Rpc::with_key(&server, MASTER, "shop"), Api::with_key(&server, MASTER));
    let key = |namespace: &str, scopes: &[&str]| keys.key(&json!({"namespace": namespace, "scopes": scopes})).0;
    let (other, reader) = (key("other", &["read", "write"]), key("shop", &["read"]));
    let (other, reader) = (Rpc::with_key(&server, &other, "other"), Rpc::with_key(&server, &reader, "shop"));
    let (_, made) = master.register("https://hooks.example.com/a", json!({"events": ["a.b"]}));
    let subscriptions = master.ask("SubscriptionService/ListSubscriptions", &json!({"namespace": "shop", "webhook_id": made["webhookId"]}));
    let subscription = subscriptions["subscriptions"][0]["subscriptionId"].as_str().expect("an id");
    let id = create(&master, subscription, "{}", later(1_000), "daily")["scheduledId"].clone();
    assert_eq!(ids(&reader.ask(LIST, &json!({}))), [id.as_str().expect("an id")]);
    assert_eq!((other.ask(LIST, &json!({})), other.ask(LIST, &json!({"namespace": "shop"}))), (json!({}), json!({})));
    let wanted = json!({"subscription_id": subscription, "payload": "{}", "due_at": later(1_000).rfc3339(0)});
    assert_eq!((other.refused(CREATE, &wanted).1, reader.refused(CREATE, &wanted).1), ("not_found".into(), "permission_denied".into()));
    let cancel = json!({"scheduled_id": id});
    assert_eq!((other.refused(CANCEL, &cancel).1, reader.refused(CANCEL, &cancel).1), ("not_found".into(), "permission_denied".into()));
    assert_eq!(ids(&master.ask(LIST, &json!({"namespace": "shop"}))).len(), 1, "it is still there");
}
