//! Dead letters: listed, retried, dismissed.

use crate::common;

use crate::common::{Receiver, Reply, Server, is_whole_second, keys};
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
fn every_dead_letter_can_be_reached_page_by_page() {
    let server = Server::dev(&["--tasks-max-attempts", "1"]);
    let receiver = Receiver::answering(500);
    let id = server.subscribe_to(&receiver.url);
    let tasks: Vec<_> = (0..5).map(|n| server.accepted(&id, n.to_string().as_bytes())).collect();
    tasks.iter().for_each(|task| drop(server.task_with_status(task, "failed")));
    let walk = |path: String| {
        let (mut path, mut found) = (path, Vec::new());
        loop {
            let page = server.get(&path);
            let letters = page.json();
            found.extend(letters.as_array().expect("an array").iter().map(|l| l["original_task_id"].as_str().expect("an id").to_owned()));
            let Some(next) = common::next_page(&page) else { return found };
            path = next;
        }
    };
    let all = walk(format!("/subscriptions/{id}/dlq"));
    assert_eq!((all.len(), walk(format!("/subscriptions/{id}/dlq?limit=2"))), (5, all.clone()));
    // What was retried stays in the list, and can be left out so that what was not comes up.
    let newest = letters(&server, &id)[0].clone();
    let retry = format!("/dlq/{}/retry", newest["id"].as_str().expect("an id"));
    assert_eq!(server.call("POST", &format!("{retry}?dry=1"), &[], b"").status, 400);
    assert_eq!(server.call("POST", &retry, &[], b"").status, 202);
    server.value_when(&format!("/subscriptions/{id}/dlq"), |v| v.as_array().is_some_and(|l| l.len() == 6));
    let pending = walk(format!("/subscriptions/{id}/dlq?status=pending&limit=2"));
    assert_eq!((pending.len(), pending.contains(&all[0])), (5, false));
    for bad in ["status=retried", "after=1", "limit=0", "limit=1&limit=2"] {
        assert_eq!(server.get(&format!("/subscriptions/{id}/dlq?{bad}")).status, 400, "{bad}");
    }
}

#[test]
fn a_deletion_gives_the_space_of_its_dead_letters_back() {
    let (server, _receiver, id, task) = failed(1_000);
    let letter = letters(&server, &id)[0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(server.delete(&format!("/subscriptions/{id}")).status, 204);
    let clock = postrider_server::clock::SystemClock;
    let past = postrider_core::ports::Clock::now(&clock).after(std::time::Duration::from_millis(2_100));
    let (_, directory) = server.stop();
    while postrider_core::ports::Clock::now(&clock) < past {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    // Retention runs at the start.
    let server = Server::start(directory, &["--dev", "--retain-logs", "1s", "--retain-events", "1s"], &[]);
    let begun = tokio::time::Instant::now();
    while server.get(&format!("/deliveries/{task}")).status != 404 {
        assert!(begun.elapsed() < common::PATIENCE, "the task of a deleted subscription is kept for ever");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
    assert_eq!(server.delete(&format!("/dlq/{letter}")).status, 404);
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
