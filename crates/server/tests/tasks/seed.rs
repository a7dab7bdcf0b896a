//! `GET /deliveries/{delivery_task_id}` to the letter of its published page.

use crate::common::{Receiver, Reply, Server, is_whole_second, keys};
use serde_json::{Value, json};

const TASK: [&str; 11] = [
    "attempt_count",
    "created_at",
    "event_type",
    "id",
    "last_attempt_at",
    "max_attempts",
    "next_attempt_at",
    "payload",
    "status",
    "subscription_id",
    "waiting_for",
];

const LOG: [&str; 9] =
    ["attempt_number", "delivery_task_id", "error_details", "http_status", "id", "outcome", "subscription_id", "target_url", "timestamp"];

fn is_uuid(value: &Value) -> bool {
    value.as_str().is_some_and(|text| text.len() == 36 && uuid::Uuid::try_parse(text).is_ok())
}

#[test]
fn a_delivered_task_has_every_field_and_its_bytes() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(204);
    let subscription = server.subscribe_to(&receiver.url);
    let body = "{\"event\":  \"order.created\",\n \"price\": 1.50, \"name\": \"Zo\u{eb}\", \"b\": 1, \"a\": 2}".as_bytes();

    let answer = server.ingest(&subscription, body);
    assert_eq!(answer.status, 202);
    let accepted = answer.json();
    assert_eq!(keys(&accepted), ["delivery_task_id", "event_id", "status", "subscription_id"]);
    assert_eq!((&accepted["status"], &accepted["subscription_id"]), (&json!("pending"), &json!(subscription)));
    let id = accepted["delivery_task_id"].as_str().expect("an id");
    assert_eq!(answer.header("location"), Some(format!("/deliveries/{id}").as_str()));

    let shown = server.task_with_status(id, "delivered");
    assert_eq!(keys(&shown), ["logs", "task"]);
    let task = &shown["task"];
    assert_eq!(keys(task), TASK);
    assert_eq!((&task["id"], &task["subscription_id"]), (&json!(id), &json!(subscription)));
    assert_eq!(task["payload"].as_str().map(str::as_bytes), Some(body));
    assert_eq!((&task["attempt_count"], &task["max_attempts"]), (&json!(1), &json!(5)));
    assert_eq!((&task["next_attempt_at"], &task["event_type"]), (&Value::Null, &Value::Null));
    assert!(is_whole_second(&task["created_at"]) && is_whole_second(&task["last_attempt_at"]), "{task}");

    let logs = shown["logs"].as_array().expect("an array");
    assert_eq!(logs.len(), 1);
    let log = &logs[0];
    assert_eq!(keys(log), LOG);
    assert!(is_uuid(&log["id"]) && is_whole_second(&log["timestamp"]), "{log}");
    assert_eq!((&log["delivery_task_id"], &log["subscription_id"]), (&json!(id), &json!(subscription)));
    assert_eq!((&log["target_url"], &log["attempt_number"]), (&json!(receiver.url), &json!(1)));
    assert_eq!((&log["outcome"], &log["http_status"], &log["error_details"]), (&json!("success"), &json!(204), &Value::Null));

    let received = receiver.wait_for(1);
    assert_eq!((received[0].method.as_str(), received[0].body.as_slice()), ("POST", body));
    assert_eq!(received[0].headers["content-type"], "application/json");
    assert_eq!(received[0].headers["x-postrider-delivery-id"], id);
}

#[test]
fn a_task_that_waits_for_its_retry_is_pending() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let receiver = Receiver::answering(500);
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| l.len() == 1));
    assert_eq!((&shown["task"]["status"], &shown["task"]["attempt_count"]), (&json!("pending"), &json!(1)));
    assert!(is_whole_second(&shown["task"]["next_attempt_at"]));
    let log = &shown["logs"][0];
    assert_eq!((&log["outcome"], &log["http_status"]), (&json!("failed_attempt"), &json!(500)));
    assert!(log["error_details"].as_str().is_some_and(|e| e.contains("500")), "{log}");
}

#[test]
fn a_target_that_always_fails_ends_as_failed_with_every_log_in_order() {
    let server = Server::dev(&["--tasks-retry", "20ms"]);
    let receiver = Receiver::answering(503);
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"[1]");
    let shown = server.task_with_status(&task, "failed");
    assert_eq!(shown["task"]["attempt_count"], 5);
    assert_eq!(shown["task"]["next_attempt_at"], Value::Null);
    let numbers: Vec<_> = shown["logs"].as_array().expect("an array").iter().map(|l| l["attempt_number"].clone()).collect();
    assert_eq!(numbers, [1, 2, 3, 4, 5]);
    let keys: Vec<_> = receiver.wait_for(5).iter().map(|r| r.headers["idempotency-key"].clone()).collect();
    assert!(keys.iter().all(|k| *k == keys[0]), "{keys:?}");
    assert_eq!(receiver.count(), 5);
}

#[test]
fn a_target_that_recovers_is_delivered_to_at_last() {
    let server = Server::dev(&["--tasks-retry", "20ms"]);
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 2 { 500 } else { 200 }));
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_with_status(&task, "delivered");
    let outcomes: Vec<_> = shown["logs"].as_array().expect("an array").iter().map(|l| l["outcome"].clone()).collect();
    assert_eq!(outcomes, ["failed_attempt", "failed_attempt", "success"]);
}

#[test]
fn nobody_there_is_a_failed_attempt_without_status() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|l| l.local_addr()).expect("a port");
    let subscription = server.subscribe_to(&format!("http://{free}/"));
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| !l.is_empty()));
    let log = &shown["logs"][0];
    assert_eq!((&log["outcome"], &log["http_status"]), (&json!("failed_attempt"), &Value::Null));
    assert!(log["error_details"].as_str().is_some_and(|e| !e.is_empty()), "{log}");
}

#[test]
fn a_target_that_hangs_is_a_failed_attempt_without_status_after_ten_seconds() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let receiver = Receiver::scripted(|_| Reply::Stall);
    let subscription = server.subscribe_to(&receiver.url);
    let begun = tokio::time::Instant::now();
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| !l.is_empty()));
    let took = begun.elapsed().as_secs_f64();
    assert!((9.5..20.0).contains(&took), "given up after {took} s");
    let log = &shown["logs"][0];
    assert_eq!(
        (&log["outcome"], &log["http_status"], &shown["task"]["status"]),
        (&json!("failed_attempt"), &Value::Null, &json!("pending"))
    );
    assert!(log["error_details"].as_str().is_some_and(|e| !e.is_empty()), "{log}");
}

#[test]
fn a_redirect_is_a_failed_attempt_and_is_not_followed() {
    let server = Server::dev(&["--tasks-retry", "1h"]);
    let receiver = Receiver::scripted(|_| Reply::Redirect("/elsewhere"));
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| !l.is_empty()));
    let log = &shown["logs"][0];
    assert_eq!((&log["outcome"], &log["http_status"]), (&json!("failed_attempt"), &json!(302)));
    assert!(receiver.wait_for(1).iter().all(|r| r.path == "/hook" && r.method == "POST"));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn an_attempt_under_way_is_processing_and_no_log_yet() {
    let server = Server::dev(&[]);
    let receiver = Receiver::scripted(|_| Reply::Stall);
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"{}");
    receiver.wait_for(1);
    let shown = server.task_with_status(&task, "processing");
    assert_eq!((&shown["logs"], &shown["task"]["attempt_count"]), (&json!([]), &json!(1)));
    receiver.release();
    assert_eq!(server.task_with_status(&task, "delivered")["logs"][0]["attempt_number"], 1);
}

/// The published example: a second attempt failed and the task is pending again, and of the two logs the older one is past its retention.
#[test]
fn the_published_example() {
    let server = Server::dev(&["--tasks-retry", "8s,1h"]);
    let receiver = Receiver::answering(500);
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, br#"{"event":"order.created"}"#);
    server.task_when(&task, |v| v["logs"].as_array().is_some_and(|logs| logs.len() == 1));
    let between = tokio::time::Instant::now();
    let both = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|logs| logs.len() == 2));
    let (status, directory) = server.stop();
    assert!(status.success());
    // Retention is kept at every start. So long ago the first attempt had been made and the second, 8 s after it, had not.
    let retained = format!("{}ms", between.elapsed().as_millis());
    let server = Server::start(directory, &["--dev", "--retain-logs", &retained], &[]);
    let shown = server.task_when(&task, |v| v["logs"].as_array().is_some_and(|logs| logs.len() < 2));
    assert_eq!(keys(&shown), ["logs", "task"]);
    let (of_task, logs) = (&shown["task"], shown["logs"].as_array().expect("an array"));
    assert_eq!((keys(of_task), of_task), (TASK.to_vec(), &both["task"]));
    assert_eq!((&of_task["id"], &of_task["subscription_id"]), (&json!(task), &json!(subscription)));
    assert_eq!((&of_task["status"], &of_task["attempt_count"]), (&json!("pending"), &json!(2)));
    assert_eq!(of_task["payload"], json!("{\"event\":\"order.created\"}"));
    assert!(is_whole_second(&of_task["created_at"]) && of_task["created_at"].as_str() < of_task["last_attempt_at"].as_str(), "{of_task}");
    assert_eq!(logs.len(), 1, "{shown}");
    let log = &logs[0];
    assert_eq!((keys(log), log), (LOG.to_vec(), &both["logs"][1]));
    assert_eq!((&log["outcome"], &log["http_status"], &log["attempt_number"]), (&json!("failed_attempt"), &json!(500), &json!(2)));
    assert_eq!((&log["timestamp"], &log["target_url"]), (&of_task["last_attempt_at"], &json!(receiver.url)));
    assert_eq!((&log["subscription_id"], &log["delivery_task_id"]), (&json!(subscription), &json!(task)));
    assert!(is_uuid(&log["id"]) && log["error_details"].as_str().is_some_and(|text| !text.is_empty()), "{log}");
}

/// The page knows no query parameters and no 400.
#[test]
fn a_query_is_not_looked_at() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let subscription = server.subscribe_to(&receiver.url);
    let task = server.accepted(&subscription, b"{}");
    let shown = server.task_with_status(&task, "delivered");
    for query in ["x=1", "_=1747051200", "limit=0", "=&%ff", ""] {
        let answer = server.get(&format!("/deliveries/{task}?{query}"));
        assert_eq!((answer.status, answer.json()), (200, shown.clone()), "{query}");
    }
    assert_eq!(server.get("/deliveries/1?x=1").status, 404);
}

#[test]
fn what_is_no_task_is_not_found() {
    let server = Server::dev(&[]);
    for id in ["00000000-0000-7000-8000-000000000000", "task-uuid", "1", "%ff%fe", "00000000000070008000000000000000"] {
        let answer = server.get(&format!("/deliveries/{id}"));
        assert_eq!((answer.status, answer.error().as_str()), (404, "delivery task not found"), "{id}");
    }
}
