//! Dead letters: listed, retried, dismissed.

mod common;

use common::{Receiver, Reply, Server, is_whole_second, keys};
use serde_json::{Value, json};

/// A server whose receiver fails the first `failures` requests, a subscription, and a task of it that failed for good.
fn failed(failures: usize) -> (Server, Receiver, String, String) {
    let server = Server::dev(&["--tasks-retry", "10ms", "--tasks-max-attempts", "2"]);
    let receiver = Receiver::scripted(move |n| Reply::Status(if n < failures { 500 } else { 200 }));
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{\"n\": 1}");
    server.task_with_status(&task, "failed");
    (server, receiver, id, task)
}

fn letters(server: &Server, subscription: &str) -> Vec<Value> {
    server.get(&format!("/subscriptions/{subscription}/dlq")).json().as_array().expect("an array").clone()
}

#[test]
fn a_failed_task_can_be_retried_as_a_new_one_once() {
    let (server, receiver, id, task) = failed(2);
    let listed = letters(&server, &id);
    assert_eq!(listed.len(), 1);
    let letter = &listed[0];
    let fields = [
        "attempt_count",
        "error_details",
        "event_type",
        "failed_at",
        "id",
        "last_attempt_at",
        "original_task_id",
        "payload",
        "reason",
        "status",
        "subscription_id",
    ];
    assert_eq!(keys(letter), fields);
    assert_eq!((&letter["original_task_id"], &letter["subscription_id"]), (&json!(task), &json!(id)));
    assert_eq!((&letter["payload"], &letter["status"]), (&json!("{\"n\": 1}"), &json!("pending")));
    assert_eq!((&letter["attempt_count"], &letter["reason"]), (&json!(2), &json!("Max retries exceeded")));
    assert!(is_whole_second(&letter["failed_at"]) && is_whole_second(&letter["last_attempt_at"]));
    assert!(letter["error_details"].as_str().is_some_and(|e| e.contains("500")), "{letter}");

    let path = format!("/dlq/{}", letter["id"].as_str().expect("an id"));
    let retried = server.call("POST", &format!("{path}/retry"), &[], b"");
    assert_eq!(retried.status, 202);
    assert_eq!(keys(&retried.json()), ["message", "new_task_id"]);
    let new = retried.json()["new_task_id"].as_str().expect("an id").to_owned();
    assert_ne!(new, task);
    let shown = server.task_with_status(&new, "delivered");
    assert_eq!((&shown["task"]["attempt_count"], &shown["logs"][0]["attempt_number"]), (&json!(1), &json!(1)));
    assert_eq!(server.get(&format!("/deliveries/{task}")).json()["task"]["status"], "failed");
    assert_eq!(letters(&server, &id)[0]["status"], "retried");

    let again = server.call("POST", &format!("{path}/retry"), &[], b"");
    assert_eq!(again.status, 409);
    assert!(again.error().contains(&new), "{}", again.error());
    assert_eq!(server.delete(&path).status, 409);
    // To the receiver it is the same message: same key, so that it can tell.
    let received = receiver.wait_for(3);
    assert_eq!(received[2].headers["idempotency-key"], received[0].headers["idempotency-key"]);
    assert_eq!(received[2].body, b"{\"n\": 1}");
}

#[test]
fn a_retry_that_fails_again_is_a_dead_letter_again() {
    let (server, _receiver, id, _task) = failed(1_000);
    let letter = letters(&server, &id)[0]["id"].as_str().expect("an id").to_owned();
    let retried = server.call("POST", &format!("/dlq/{letter}/retry"), &[], b"").json();
    let new = retried["new_task_id"].as_str().expect("an id").to_owned();
    server.task_with_status(&new, "failed");
    let listed = server.value_when(&format!("/subscriptions/{id}/dlq"), |v| v.as_array().is_some_and(|l| l.len() == 2));
    assert_eq!((&listed[0]["original_task_id"], &listed[0]["status"]), (&json!(new), &json!("pending")));
    assert_eq!((&listed[1]["id"], &listed[1]["status"]), (&json!(letter), &json!("retried")));
}

#[test]
fn a_dismissed_one_is_gone_from_the_list_and_its_task_is_not() {
    let (server, receiver, id, task) = failed(1_000);
    let path = format!("/dlq/{}", letters(&server, &id)[0]["id"].as_str().expect("an id"));
    assert_eq!(server.delete(&path).status, 204);
    assert!(letters(&server, &id).is_empty());
    assert_eq!(server.delete(&path).status, 404);
    let retry = server.call("POST", &format!("{path}/retry"), &[], b"");
    assert_eq!(retry.status, 409);
    assert!(retry.error().contains("deleted"));
    assert_eq!(server.get(&format!("/deliveries/{task}")).json()["task"]["status"], "failed");
    assert_eq!(receiver.count(), 2);
}

#[test]
fn what_is_no_dead_letter_is_not_found() {
    let (server, _receiver, _id, task) = failed(1_000);
    for id in ["00000000-0000-7000-8000-000000000000", "x", &task] {
        for answer in [server.delete(&format!("/dlq/{id}")), server.call("POST", &format!("/dlq/{id}/retry"), &[], b"")] {
            assert_eq!((answer.status, answer.error().as_str()), (404, "dlq task not found"), "{id}");
        }
    }
}

#[test]
fn a_dead_letter_of_a_deleted_subscription_cannot_be_retried() {
    let (server, _receiver, id, _task) = failed(1_000);
    let letter = letters(&server, &id)[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(server.delete(&format!("/subscriptions/{id}")).status, 204);
    let retry = server.call("POST", &format!("/dlq/{letter}/retry"), &[], b"");
    assert_eq!(retry.status, 409);
    assert!(retry.error().contains("subscription"), "{}", retry.error());
}
