//! Subscriptions: create, list, show, change, delete.

use crate::common;

use crate::common::{Receiver, Reply, Server, is_whole_second, keys};
use serde_json::{Value, json};

#[test]
fn a_subscription_lives_from_post_to_delete() {
    let server = Server::dev(&[]);
    assert_eq!(server.get("/subscriptions").json(), json!([]));

    let body = json!({ "target_url": "https://example.com/hook", "secret": "s3cret", "event_types": "order.created, order.paid" });
    let created = server.send_json("POST", "/subscriptions", &body);
    assert_eq!(created.status, 201);
    assert_eq!(keys(&created.json()), ["id"]);
    let id = created.json()["id"].as_str().expect("an id").to_owned();
    let path = format!("/subscriptions/{id}");
    assert_eq!(created.header("location"), Some(path.as_str()));

    let shown = server.get(&path).json();
    assert_eq!(keys(&shown), ["created_at", "disabled_at", "disabled_reason", "event_types", "id", "secret", "target_url", "updated_at"]);
    assert_eq!((&shown["id"], &shown["target_url"]), (&json!(id), &json!("https://example.com/hook")));
    assert_eq!((&shown["secret"], &shown["event_types"]), (&json!("********"), &json!("order.created,order.paid")));
    assert!(is_whole_second(&shown["created_at"]) && is_whole_second(&shown["updated_at"]));

    let listed = server.get("/subscriptions").json();
    assert_eq!(keys(&listed[0]), ["created_at", "disabled_at", "disabled_reason", "event_types", "id", "target_url", "updated_at"]);

    assert_eq!(server.delete(&path).status, 204);
    for answer in [server.get(&path), server.delete(&path), server.send_json("PUT", &path, &json!({})), server.ingest(&id, b"{}")] {
        assert_eq!((answer.status, answer.error().as_str()), (404, "subscription not found"));
    }
    assert_eq!(server.get("/subscriptions").json(), json!([]));
}

#[test]
fn the_list_is_in_the_order_of_creation() {
    let server = Server::dev(&[]);
    let ids: Vec<_> = (0..5).map(|n| server.subscribe_to(&format!("https://example.com/{n}"))).collect();
    let listed: Vec<_> = server.get("/subscriptions").json().as_array().expect("an array").iter().map(|s| s["id"].clone()).collect();
    assert_eq!(listed, ids);
}

#[test]
fn put_keeps_what_is_left_out_and_null_clears() {
    let server = Server::dev(&[]);
    let id = server.subscribe(&json!({ "target_url": "https://example.com/a", "secret": "s", "event_types": ["a", "b.*"] }));
    let path = format!("/subscriptions/{id}");
    let put = |body: Value| {
        let answer = server.send_json("PUT", &path, &body);
        assert_eq!((answer.status, answer.body.len()), (204, 0), "{}", answer.text());
        let shown = server.get(&path).json();
        (shown["target_url"].clone(), shown["secret"].clone(), shown["event_types"].clone())
    };
    let (masked, types) = (json!("********"), json!("a,b.*"));
    assert_eq!(put(json!({})), (json!("https://example.com/a"), masked.clone(), types.clone()));
    assert_eq!(put(json!({ "target_url": "https://example.com/b" })), (json!("https://example.com/b"), masked.clone(), types));
    assert_eq!(put(json!({ "event_types": null })), (json!("https://example.com/b"), masked, Value::Null));
    assert_eq!(put(json!({ "secret": null, "event_types": "" })), (json!("https://example.com/b"), Value::Null, Value::Null));
    assert_eq!(put(json!({ "secret": "t" })).1, json!("********"));
    // What GET shows, sent back as it is, must not become the secret.
    let refused = server.send_json("PUT", &path, &json!({ "event_types": "c", "secret": "********" }));
    assert_eq!(refused.status, 400);
    assert!(refused.error().contains("leave the field away"), "{}", refused.error());
    let signature = common::hub_signature("t", b"{}");
    assert_eq!(server.call("POST", &format!("/ingest/{id}"), &[("x-hub-signature-256", &signature)], b"{}").status, 202);
    assert_eq!(put(json!({ "secret": "" })).1, Value::Null);
}

#[test]
fn bad_input_is_refused_and_says_why() {
    let server = Server::dev(&[]);
    let long_url = format!("https://example.com/{}", "x".repeat(3_000));
    for (body, words) in [
        (json!({}), "\"target_url\" is missing"),
        (json!({ "target_url": null }), "must not be null"),
        (json!({ "target_url": 3 }), "\"target_url\" must be a string"),
        (json!({ "target_url": "" }), "empty"),
        (json!({ "target_url": "example.com" }), "absolute"),
        (json!({ "target_url": "ftp://example.com/" }), "https://"),
        (json!({ "target_url": "https://user:pw@example.com/" }), "password"),
        (json!({ "target_url": "https://example.com/#f" }), "fragment"),
        (json!({ "target_url": long_url }), "2048"),
        (json!({ "target_url": "https://10.0.0.1/" }), "--allow-network"),
        (json!({ "target_url": "https://[::ffff:169.254.169.254]/" }), "--allow-network"),
        (json!({ "target_url": "https://2852039166/latest/meta-data" }), "--allow-network"),
        (json!({ "target_url": "https://example.com", "secret": 1 }), "\"secret\" must be a string"),
        (json!({ "target_url": "https://example.com", "secret": "x".repeat(1_025) }), "1024"),
        (json!({ "target_url": "https://example.com", "secret": "whsec_%%%" }), "secret"),
        (json!({ "target_url": "https://example.com", "event_types": "a b" }), "event_types"),
        (json!({ "target_url": "https://example.com", "event_types": "a*b" }), "*"),
        (json!({ "target_url": "https://example.com", "event_types": [1] }), "event_types"),
        (
            json!({ "target_url": "https://example.com", "url": "x" }),
            "unknown field \"url\"; known fields: target_url, secret, event_types",
        ),
        (json!([]), "JSON object"),
    ] {
        let answer = server.send_json("POST", "/subscriptions", &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.error().contains(words), "{body}: {}", answer.error());
    }
    let broken = server.call("POST", "/subscriptions", &[("content-type", "application/json")], b"{\"target_url\": ");
    assert_eq!(broken.status, 400);
    assert!(broken.error().contains("line 1 column"), "{}", broken.error());
    let form = server.call("POST", "/subscriptions", &[("content-type", "application/x-www-form-urlencoded")], b"{}");
    assert_eq!(form.status, 415);
    assert!(form.error().contains("application/json"));
    assert_eq!(server.get("/subscriptions").json(), json!([]));
}

#[test]
fn what_names_no_subscription_is_not_found() {
    let server = Server::dev(&[]);
    for id in ["00000000-0000-7000-8000-000000000000", "x", "%00", "%ff"] {
        for path in [format!("/subscriptions/{id}"), format!("/subscriptions/{id}/deliveries"), format!("/subscriptions/{id}/dlq")] {
            let answer = server.get(&path);
            assert_eq!((answer.status, answer.error().as_str()), (404, "subscription not found"), "{path}");
        }
    }
}

#[test]
fn a_changed_url_is_used_by_the_next_attempt() {
    let server = Server::dev(&["--tasks-retry", "20ms"]);
    // The first attempt ends only once the URL is another.
    let (old, new) = (Receiver::scripted(|_| Reply::StallThen(500)), Receiver::answering(200));
    let id = server.subscribe_to(&old.url);
    let task = server.accepted(&id, b"{}");
    old.wait_for(1);
    assert_eq!(server.send_json("PUT", &format!("/subscriptions/{id}"), &json!({ "target_url": new.url })).status, 204);
    old.release();
    let shown = server.task_with_status(&task, "delivered");
    assert_eq!((&shown["logs"][0]["target_url"], &shown["logs"][1]["target_url"]), (&json!(old.url), &json!(new.url)));
    assert_eq!((old.count(), new.count()), (1, 1));
}

#[test]
fn a_changed_secret_signs_the_next_attempt() {
    let server = Server::dev(&["--tasks-retry", "20ms"]);
    // The first attempt ends only once the secret is another.
    let receiver = Receiver::scripted(|n| if n == 0 { Reply::StallThen(500) } else { Reply::Status(200) });
    let id = server.subscribe(&json!({ "target_url": receiver.url, "secret": "old" }));
    let ingested = server.call("POST", &format!("/ingest/{id}"), &[("x-hub-signature-256", &common::hub_signature("old", b"{}"))], b"{}");
    assert_eq!(ingested.status, 202, "{}", ingested.text());
    receiver.wait_for(1);
    assert_eq!(server.send_json("PUT", &format!("/subscriptions/{id}"), &json!({ "secret": "new" })).status, 204);
    receiver.release();
    let signatures: Vec<_> = receiver.wait_for(2).iter().map(|r| r.headers["x-hub-signature-256"].clone()).collect();
    assert_eq!(signatures, [common::hub_signature("old", b"{}"), common::hub_signature("new", b"{}")]);
}

#[test]
fn a_put_refreshes_updated_at_and_nothing_else_does() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let path = format!("/subscriptions/{id}");
    let made = server.get(&path).json();
    assert_eq!(made["created_at"], made["updated_at"]);
    let task = server.accepted(&id, b"{}");
    server.task_with_status(&task, "delivered");
    assert_eq!(server.get(&path).json(), made);
    // Times are shown in whole seconds: until the next one a change cannot be seen.
    let changed = server.value_when(&path, |shown| {
        let is_newer = shown["updated_at"].as_str() > made["updated_at"].as_str();
        if !is_newer {
            assert_eq!(server.send_json("PUT", &path, &json!({ "event_types": "a" })).status, 204);
        }
        is_newer
    });
    assert_eq!(changed["created_at"], made["created_at"]);
    assert_eq!(server.get("/subscriptions").json()[0]["updated_at"], changed["updated_at"]);
}

#[test]
fn deleting_ends_what_waits_and_keeps_its_history() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let receiver = Receiver::answering(500);
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{\"kept\":true}");
    server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| l.len() == 1));
    assert_eq!(server.delete(&format!("/subscriptions/{id}")).status, 204);
    let shown = server.task_with_status(&task, "failed");
    assert_eq!((&shown["task"]["payload"], &shown["task"]["next_attempt_at"]), (&json!("{\"kept\":true}"), &Value::Null));
    assert_eq!((&shown["task"]["max_attempts"], shown["logs"].as_array().map(Vec::len)), (&Value::Null, Some(1)));
}

#[test]
fn a_receiver_that_is_gone_for_good_is_asked_again_only_after_a_put() {
    let server = Server::dev(&["--tasks-retry", "20ms"]);
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 410 } else { 200 }));
    let id = server.subscribe_to(&receiver.url);
    let gone = server.accepted(&id, b"1");
    assert_eq!(server.task_with_status(&gone, "failed")["task"]["attempt_count"], 1);
    let parked = server.accepted(&id, b"2");
    // Nothing waits without saying what for.
    let task = server.task_when(&parked, |v| v["task"]["waiting_for"] == "destination_disabled")["task"].clone();
    assert_eq!((&task["status"], &task["next_attempt_at"]), (&json!("pending"), &Value::Null));
    // Before its first attempt there is no last one.
    assert_eq!((&task["attempt_count"], &task["last_attempt_at"]), (&json!(0), &Value::Null));
    let shown = server.get(&format!("/subscriptions/{id}")).json();
    assert!(common::is_whole_second(&shown["disabled_at"]) && shown["disabled_reason"] == "endpoint_gone", "{shown}");
    assert_eq!(server.get("/subscriptions").json()[0]["disabled_at"], shown["disabled_at"]);
    assert_eq!(server.send_json("PUT", &format!("/subscriptions/{id}"), &json!({})).status, 204);
    let done = server.task_with_status(&parked, "delivered");
    assert_eq!(done["task"]["waiting_for"], Value::Null);
    assert_eq!(server.get(&format!("/subscriptions/{id}")).json()["disabled_at"], Value::Null);
    assert_eq!(receiver.count(), 2);
}

#[test]
fn the_newest_logs_are_listed_first() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 1 { 500 } else { 200 }));
    let id = server.subscribe_to(&receiver.url);
    assert_eq!(server.get(&format!("/subscriptions/{id}/deliveries")).json(), json!([]));
    let tasks: Vec<_> = ["1", "2", "3"]
        .iter()
        .map(|body| {
            let task = server.accepted(&id, body.as_bytes());
            server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| l.len() == 1));
            task
        })
        .collect();
    let path = format!("/subscriptions/{id}/deliveries");
    let listed = server.get(&path).json();
    let of = |n: usize| (listed[n]["delivery_task_id"].clone(), listed[n]["task_status"].clone(), listed[n]["outcome"].clone());
    assert_eq!(of(0), (json!(tasks[2]), json!("delivered"), json!("success")));
    assert_eq!(of(1), (json!(tasks[1]), json!("pending"), json!("failed_attempt")));
    assert_eq!(of(2), (json!(tasks[0]), json!("delivered"), json!("success")));
    assert_eq!(keys(&listed[0]).len(), 10);
    assert_eq!(server.get(&format!("{path}?limit=1")).json().as_array().map(Vec::len), Some(1));
    for bad in ["limit=0", "limit=101", "limit=x", "limit=", "page=2", "limit=1&limit=1"] {
        assert_eq!(server.get(&format!("{path}?{bad}")).status, 400, "{bad}");
    }
    let more: Vec<_> = (0..20).map(|n| server.accepted(&id, n.to_string().as_bytes())).collect();
    more.iter().for_each(|task| drop(server.task_with_status(task, "delivered")));
    assert_eq!(server.get(&path).json().as_array().map(Vec::len), Some(20), "without a limit");
    assert_eq!(server.get(&format!("{path}?limit=100")).json().as_array().map(Vec::len), Some(23));
}
