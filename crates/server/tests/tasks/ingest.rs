//! Ingest: what is accepted, what is refused, and in which order that is found out.

use crate::common::{Receiver, Server, hub_signature};
use serde_json::{Value, json};

const SECRET: &str = "a secret";
const NOWHERE: &str = "/ingest/00000000-0000-7000-8000-000000000000";

/// A server that takes 2 KiB, a receiver, and a subscription with these further fields.
fn with(fields: &Value) -> (Server, Receiver, String) {
    let server = Server::dev(&["--max-body", "2KiB"]);
    let receiver = Receiver::answering(200);
    let mut body = json!({ "target_url": receiver.url });
    body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
    let id = server.subscribe(&body);
    (server, receiver, id)
}

#[test]
fn checks_come_in_the_contracts_order() {
    let (server, receiver, id) = with(&json!({ "secret": SECRET, "event_types": "a" }));
    let path = format!("/ingest/{id}");
    let (large, broken, good) = (vec![b'x'; 3_000], b"{nope".to_vec(), b"{}".to_vec());
    let post = |path: &str, headers: &[(&str, &str)], body: &[u8]| server.call("POST", path, headers, body);
    let signed = |body: &[u8]| hub_signature(SECRET, body);

    assert_eq!(post(NOWHERE, &[], &large).status, 404);
    assert_eq!(post(&path, &[], &large).status, 413);
    assert_eq!(post(&path, &[], &broken).status, 401);
    assert_eq!(post(&path, &[("x-hub-signature-256", &signed(&good))], &broken).status, 401);
    let unsound = post(&path, &[("x-hub-signature-256", &signed(&broken))], &broken);
    assert_eq!(unsound.status, 400);
    assert!(unsound.error().contains("not valid JSON") && unsound.error().contains("line 1"), "{}", unsound.error());
    let typeless = post(&path, &[("x-hub-signature-256", &signed(&good))], &good);
    assert_eq!(typeless.status, 400);
    assert!(typeless.error().contains("X-Event-Type"), "{}", typeless.error());
    let other = post(&path, &[("x-hub-signature-256", &signed(&good)), ("x-event-type", "b")], &good);
    assert_eq!((other.status, other.body.len()), (204, 0));
    assert_eq!(post(&path, &[("x-hub-signature-256", &signed(&good)), ("x-event-type", "a")], &good).status, 202);
    assert_eq!(receiver.wait_for(1)[0].body, good);
    server.value_when(&format!("/subscriptions/{id}/deliveries"), |v| v.as_array().map(Vec::len) == Some(1));
}

#[test]
fn signatures_are_read_as_documented() {
    let (server, receiver, id) = with(&json!({ "secret": SECRET }));
    let path = format!("/ingest/{id}");
    let body = br#"{"a":  1}"#;
    let right = hub_signature(SECRET, body);
    let (upper, bare) = (right.to_uppercase().replace("SHA256=", "sha256="), right.replace("sha256=", ""));
    let other = hub_signature("another", body);
    for (signature, status) in
        [(right.as_str(), 202), (&upper, 202), (&bare, 401), (&other, 401), ("sha256=", 401), ("sha256=zz", 401), ("", 401)]
    {
        let answer = server.call("POST", &path, &[("x-hub-signature-256", signature)], body);
        assert_eq!(answer.status, status, "{signature}");
    }
    let received = receiver.wait_for(2);
    assert_eq!(received[0].headers["x-hub-signature-256"], right);
    assert!(received[0].headers["webhook-signature"].starts_with("v1,"));
    // Once the secret is cleared the header is not looked at, and nothing is signed.
    assert_eq!(server.send_json("PUT", &format!("/subscriptions/{id}"), &json!({ "secret": null })).status, 204);
    assert_eq!(server.call("POST", &path, &[("x-hub-signature-256", "nonsense")], body).status, 202);
    assert!(!receiver.wait_for(3)[2].headers.contains_key("x-hub-signature-256"));
}

#[test]
fn bodies_are_json_in_utf8_and_nothing_else() {
    let (server, receiver, id) = with(&json!({}));
    for body in ["{}", "[]", "null", "3.14", "\"text\"", " {\"spaces\" : \"kept\"}\n", "{\"b\":1,\"a\":1.0,\"a\":2}"] {
        let task = server.accepted(&id, body.as_bytes());
        assert_eq!(server.task_with_status(&task, "delivered")["task"]["payload"], body);
    }
    assert_eq!(receiver.count(), 7);
    for body in [&b""[..], b" ", b"{", b"{}{}", b"{'a':1}", b"\"\xff\"", b"NaN", b"a=b"] {
        let answer = server.ingest(&id, body);
        assert_eq!(answer.status, 400, "{body:?}");
        assert!(answer.error().contains("not valid JSON"), "{}", answer.error());
    }
    let deep = [vec![b'['; 200], vec![b']'; 200]].concat();
    assert!(server.ingest(&id, &deep).error().contains("128 levels"));
    assert_eq!(receiver.count(), 7);
}

#[test]
fn the_size_limit_is_exact() {
    let (server, _receiver, id) = with(&json!({}));
    let of_size = |n: usize| [b"\"", vec![b'x'; n - 2].as_slice(), b"\""].concat();
    assert_eq!(server.ingest(&id, &of_size(2_048)).status, 202);
    let refused = server.ingest(&id, &of_size(2_049));
    assert_eq!(refused.status, 413);
    assert!(refused.error().contains("2048 bytes"));
}

#[test]
fn the_event_type_reaches_filter_and_receiver() {
    let (server, receiver, id) = with(&json!({ "event_types": "order.*,push" }));
    let path = format!("/ingest/{id}");
    let post = |path: &str, headers: &[(&str, &str)]| server.call("POST", path, headers, b"{}");
    assert_eq!(post(&path, &[("x-event-type", "order.created")]).status, 202);
    assert_eq!(post(&format!("{path}?event_type=order.paid"), &[]).status, 202);
    assert_eq!(post(&path, &[("x-github-event", "push")]).status, 202);
    assert_eq!(post(&path, &[("x-event-type", "order")]).status, 204);
    assert_eq!(post(&path, &[("x-event-type", "Order.created")]).status, 204);
    assert_eq!(post(&path, &[("x-event-type", "two words")]).status, 400);
    assert_eq!(post(&format!("{path}?type=order.paid"), &[]).status, 400);
    let mut types: Vec<_> = receiver.wait_for(3).iter().map(|r| r.headers["x-postrider-event"].clone()).collect();
    types.sort();
    assert_eq!(types, ["order.created", "order.paid", "push"]);
    let listed = server.value_when(&format!("/subscriptions/{id}/deliveries"), |v| v.as_array().map(Vec::len) == Some(3));
    let task = listed[0]["delivery_task_id"].as_str().expect("an id").to_owned();
    assert!(server.get(&format!("/deliveries/{task}")).json()["task"]["event_type"].is_string());
}

#[test]
fn an_idempotency_key_makes_one_task() {
    let (server, receiver, id) = with(&json!({}));
    let other = server.subscribe_to(&receiver.url);
    let post = |id: &str, key: &str| server.call("POST", &format!("/ingest/{id}"), &[("idempotency-key", key)], b"{}");
    let first = post(&id, "k").json();
    server.task_with_status(first["delivery_task_id"].as_str().expect("an id"), "delivered");
    let again = post(&id, "k");
    assert_eq!(again.status, 202);
    let mut expected = first.clone();
    expected["status"] = json!("delivered");
    assert_eq!(again.json(), expected);
    // Another key, and the same key for another subscription, are other events.
    assert_ne!(post(&id, "l").json()["event_id"], first["event_id"]);
    assert_ne!(post(&other, "k").json()["event_id"], first["event_id"]);
    assert_eq!(receiver.wait_for(3).len(), 3);
    assert_eq!(post(&id, &"x".repeat(201)).status, 400);
}

#[test]
fn wrong_methods_and_paths_are_answered_in_json() {
    let (server, _receiver, id) = with(&json!({}));
    let wrong = server.get(&format!("/ingest/{id}"));
    assert_eq!((wrong.status, wrong.header("allow")), (405, Some("POST")));
    assert!(!wrong.error().is_empty());
    for path in ["/ingest/", "/ingest/x/y", "/nothing", "//", "/subscriptions/"] {
        for method in ["GET", "POST"] {
            let answer = server.call(method, path, &[], b"{}");
            assert_eq!(answer.status, 404, "{method} {path}");
            assert!(!answer.error().is_empty());
        }
    }
    for (method, path) in [("PATCH", "/subscriptions"), ("POST", "/deliveries/x"), ("DELETE", "/healthz"), ("PUT", "/scheduled")] {
        let answer = server.call(method, path, &[], b"");
        assert_eq!(answer.status, 405, "{method} {path}");
        assert!(answer.header("allow").is_some() && !answer.error().is_empty());
    }
}
