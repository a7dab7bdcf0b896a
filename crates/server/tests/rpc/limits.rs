//! Limits of the RPC API, and what is at them.

use crate::common::rpc::Rpc;
use crate::common::{Client, Server};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const CREATE: &str = "SubscriptionService/CreateSubscription";
const LIST: &str = "SubscriptionService/ListSubscriptions";
const PUSH: &str = "EventService/PushEvent";
const REGISTER: &str = "EventService/RegisterEvent";

#[test]
fn templates_of_a_namespace_and_pages_of_them_are_bounded() {
    const LONGEST: usize = 64 << 10;
    const MOST: usize = (16 << 20) / LONGEST;
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register("https://hooks.example.com/in", json!({}));
    let request = |n: usize, template: &str| json!({"webhook_id": webhook, "event_name": format!("e.{n}"), "transform_template": template});
    let longest = "x".repeat(LONGEST);
    for n in 0..MOST {
        rpc.ask(CREATE, &request(n, &longest));
    }
    let (status, code, message) = rpc.refused(CREATE, &request(MOST, "x"));
    assert_eq!((status, &*code), (429, "resource_exhausted"), "{message}");
    assert!(message.contains("16777217 bytes in the templates of the namespace"), "{message}");
    rpc.ask(CREATE, &request(MOST, ""));
    // A page of them ends where it has 2 MiB.
    let page = rpc.ask(LIST, &json!({"namespace": "default", "pagination": {"limit": 1_000, "offset": 1}}));
    let shown = page["subscriptions"].as_array().map(Vec::len);
    assert_eq!((shown, &page["pagination"]), (Some(31), &json!({"totalCount": MOST + 1, "limit": 31, "offset": 1})));
    // What is given up makes room.
    let id = &page["subscriptions"][0]["subscriptionId"];
    rpc.ask("SubscriptionService/UpdateSubscription", &json!({"subscription_id": id, "transform_template": ""}));
    rpc.ask(CREATE, &request(MOST + 1, "x"));
}

#[test]
fn pages_of_event_types_are_bounded() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    // A megabyte of a registry's schemas, each shown with a sample that is about as long.
    let text = "x".repeat(60 << 10);
    let schema = json!({"type": "object", "properties": {"text": {"type": "string", "default": text}}, "required": ["text"]});
    let mut registered = 0;
    let (status, code, message) = loop {
        let request = json!({"name": format!("e.{registered}"), "schema": schema});
        let answer = rpc.json(REGISTER, &request);
        if answer.status != 200 {
            break rpc.refused(REGISTER, &request);
        }
        registered += 1;
    };
    assert_eq!((status, &*code, registered), (429, "resource_exhausted", 17), "{message}");
    assert!(message.contains("1048576 bytes together"), "{message}");
    let listed = rpc.ask("EventService/ListEvents", &json!({"pagination": {"limit": 1_000}}));
    let shown = listed["events"].as_array().map_or(0, Vec::len);
    assert_eq!(listed["events"][0]["samplePayload"], json!({"text": text}));
    assert_eq!(listed["pagination"]["totalCount"], 17);
    assert!((16..=17).contains(&shown), "{shown} of two times 60 KiB");
    // A schema of more than 64 KiB is none.
    let long = json!({"description": "x".repeat(64 << 10)});
    assert_eq!(rpc.refused(REGISTER, &json!({"name": "long", "schema": long})).1, "invalid_argument");
}

#[test]
fn labels_are_taken_up_to_their_limits() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let labels = |count: usize, name: usize, value: usize| -> Value {
        (0..count).map(|n| (format!("{n:0>name$}"), json!("v".repeat(value)))).collect::<serde_json::Map<_, _>>().into()
    };
    let push = |labels: &Value| json!({"namespace": "default", "event": "a.b", "labels": labels});
    let longest = labels(20, 64, 256);
    let pushed = rpc.ask(PUSH, &push(&longest));
    let record = rpc.ask("EventService/GetEventRecord", &json!({"event_id": pushed["eventId"]}));
    assert_eq!(record["labels"], longest);
    let found = rpc.ask("EventService/ListEventReports", &json!({"labels": longest}));
    assert_eq!(found["pagination"]["totalCount"], 1);
    for beyond in [labels(21, 64, 256), labels(20, 65, 256), labels(20, 64, 257)] {
        assert_eq!(rpc.refused(PUSH, &push(&beyond)).1, "invalid_argument");
        assert_eq!(rpc.refused("EventService/ListEventReports", &json!({"labels": beyond})).1, "invalid_argument");
    }
    assert_eq!(rpc.refused(PUSH, &push(&json!({"a b": "v"}))).1, "invalid_argument");
}

#[test]
fn one_key_pushed_many_times_at_once_is_one_event() {
    let server = Server::dev(&[]);
    let request = json!({"namespace": "default", "event": "a.b", "payload": {"n": 1}, "id": "once"}).to_string();
    let answers: Vec<Value> = std::thread::scope(|scope| {
        let push = || {
            let headers = [("content-type", "application/json")];
            Client::new(server.address).call("POST", &format!("/webhook.{PUSH}"), &headers, request.as_bytes()).json()
        };
        let pushing: Vec<_> = (0..8).map(|_| scope.spawn(push)).collect();
        pushing.into_iter().map(|one| one.join().expect("an answer")).collect()
    });
    let ids: BTreeSet<&str> = answers.iter().filter_map(|answer| answer["eventId"].as_str()).collect();
    assert_eq!((ids.len(), answers.iter().filter(|answer| answer["duplicate"] == true).count()), (1, 7), "{answers:?}");
    let listed = Rpc::of(&server).ask("EventService/ListEventReports", &json!({"namespace": "default"}));
    assert_eq!(listed["pagination"]["totalCount"], 1);
}
