//! Scheduled webhooks.

use crate::common;

use crate::common::{Receiver, Server, is_whole_second, keys};
use postrider_core::ports::Clock;
use postrider_core::time::Timestamp;
use postrider_server::clock::SystemClock;
use serde_json::{Value, json};
use std::time::Duration;

/// Schedules a webhook for a moment that is near: the moment, and the id. On a slow machine that may be over when the server reads it.
fn schedule_soon(server: &Server, subscription: &str, payload: &Value, recurrence: &str) -> (Timestamp, Value) {
    loop {
        let due = SystemClock.now().after(Duration::from_secs(3));
        let body =
            json!({ "subscription_id": subscription, "payload": payload, "scheduled_for": due.rfc3339(6), "recurrence": recurrence });
        let created = server.send_json("POST", "/scheduled", &body);
        if created.status == 400 && SystemClock.now() >= due {
            continue;
        }
        assert_eq!((created.status, created.header("location")), (201, Some("/scheduled")), "{}", created.text());
        return (due, created.json()["id"].clone());
    }
}

#[test]
fn a_scheduled_webhook_is_delivered_at_its_time() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let (due, scheduled) = schedule_soon(&server, &id, &json!("{\"at\":  \"last\"}"), "none");
    let listed = server.get("/scheduled");
    assert_eq!(listed.header("cache-control"), Some("no-store"));
    let row = &listed.json()[0];
    assert_eq!(keys(row), ["created_at", "id", "payload", "recurrence", "scheduled_for", "status", "subscription_id", "updated_at"]);
    assert_eq!((&row["id"], &row["subscription_id"], &row["recurrence"]), (&scheduled, &json!(id), &json!("none")));
    assert_eq!(row["scheduled_for"], json!(due.rfc3339(0)));
    assert!(is_whole_second(&row["created_at"]) && is_whole_second(&row["updated_at"]));

    let received = receiver.wait_for(1);
    assert!(SystemClock.now() >= due);
    assert_eq!(received[0].body, b"{\"at\":  \"last\"}");
    let sent: i64 = received[0].headers["x-postrider-timestamp"].parse().expect("a number");
    assert!(sent >= due.as_micros() / 1_000_000, "it was sent at {sent}, before its time");
    let shown = server.value_when("/scheduled", |v| v[0]["status"] == "completed");
    assert_eq!(shown.as_array().map(Vec::len), Some(1));
}

#[test]
fn a_series_goes_on_with_its_next_occurrence() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let (due, _) = schedule_soon(&server, &id, &json!({"n": 1}), "weekly");
    receiver.wait_for(1);
    let rows = server.value_when("/scheduled", |v| v.as_array().is_some_and(|rows| rows.len() == 2));
    // What can still be changed comes first, however much has ended.
    assert_eq!((&rows[0]["status"], &rows[1]["status"]), (&json!("pending"), &json!("completed")));
    let next = due.after(Duration::from_secs(7 * 86_400));
    assert_eq!((&rows[0]["scheduled_for"], &rows[0]["recurrence"]), (&json!(next.rfc3339(0)), &json!("weekly")));
    // The series ends with its pending occurrence.
    assert_eq!(server.delete(&format!("/scheduled/{}", rows[0]["id"].as_str().expect("an id"))).status, 204);
    assert_eq!(server.get("/scheduled").json().as_array().map(Vec::len), Some(1));
}

#[test]
fn forms_are_taken_as_browsers_send_them() {
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let form = format!("subscription_id={id}&payload=%7B%22a%22%3A+1%7D&scheduled_for=2999-01-31T09%3A00&recurrence=monthly");
    let answer = server.call("POST", "/scheduled", &[("content-type", "application/x-www-form-urlencoded")], form.as_bytes());
    assert_eq!((answer.status, answer.header("location")), (302, Some("/scheduled")), "{}", answer.text());
    let row = &server.get("/scheduled").json()[0];
    assert_eq!((&row["payload"], &row["scheduled_for"]), (&json!("{\"a\": 1}"), &json!("2999-01-31T09:00:00Z")));
    assert_eq!((&row["recurrence"], &row["status"]), (&json!("monthly"), &json!("pending")));
}

#[test]
fn the_list_is_by_due_time_and_can_be_of_one_subscription() {
    let server = Server::dev(&[]);
    let (a, b) = (server.subscribe_to("https://example.com/a"), server.subscribe_to("https://example.com/b"));
    for (id, at) in [(&a, "2999-03-01T00:00"), (&b, "2999-02-01T00:00"), (&a, "2999-01-01T00:00")] {
        let body = json!({ "subscription_id": id, "payload": 1, "scheduled_for": at });
        assert_eq!(server.send_json("POST", "/scheduled", &body).status, 201);
    }
    let months = |path: &str| -> Vec<String> {
        let rows = server.get(path).json();
        rows.as_array().expect("an array").iter().map(|r| r["scheduled_for"].as_str().expect("a time")[5..7].to_owned()).collect()
    };
    assert_eq!(months("/scheduled"), ["01", "02", "03"]);
    assert_eq!(months(&format!("/scheduled?subscription_id={a}")), ["01", "03"]);
    assert!(months("/scheduled?subscription_id=nonsense").is_empty());
    for (bad, words) in [
        ("color=red", "unknown query parameter \"color\"; known: subscription_id, limit, after"),
        ("subscription_id=a&subscription_id=b", "\"subscription_id\" is there twice"),
        ("limit=1001", "from 1 to 1000"),
        ("after=2", "after must be a place"),
    ] {
        let answer = server.get(&format!("/scheduled?{bad}"));
        assert_eq!(answer.status, 400, "{bad}");
        assert!(answer.error().contains(words), "{}", answer.error());
    }
    // Page by page, as the answers lead.
    let (mut path, mut walked) = (format!("/scheduled?limit=1&subscription_id={a}"), Vec::new());
    loop {
        let page = server.get(&path);
        let rows = page.json();
        assert_eq!(rows.as_array().map(Vec::len), Some(1));
        walked.push(rows[0]["scheduled_for"].as_str().expect("a time")[5..7].to_owned());
        let Some(next) = common::next_page(&page) else { break };
        path = next;
    }
    assert_eq!(walked, ["01", "03"]);
}

#[test]
fn large_payloads_come_in_small_pages() {
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let payload = "x".repeat(900 << 10);
    for _ in 0..7 {
        let body = json!({ "subscription_id": id, "payload": [payload], "scheduled_for": "2999-01-01T00:00" });
        assert_eq!(server.send_json("POST", "/scheduled", &body).status, 201);
    }
    let first = server.get("/scheduled");
    assert_eq!(first.json().as_array().map(Vec::len), Some(5), "a page ends with the payload that makes 4 MiB full");
    let second = server.get(&common::next_page(&first).expect("there is more"));
    assert_eq!((second.json().as_array().map(Vec::len), common::next_page(&second)), (Some(2), None));
}

#[test]
fn what_became_due_while_no_server_ran_is_made_up_for_once() {
    let (due, receiver, directory) = loop {
        let server = Server::dev(&[]);
        let receiver = Receiver::answering(200);
        let id = server.subscribe_to(&receiver.url);
        let (due, _) = schedule_soon(&server, &id, &json!("{}"), "daily");
        let (status, directory) = server.stop();
        assert!(status.success());
        // Where the machine was too slow to stop before that moment, it proves nothing.
        if SystemClock.now() < due {
            break (due, receiver, directory);
        }
    };
    while SystemClock.now() < due {
        std::thread::park_timeout(Duration::from_millis(50));
    }
    assert_eq!(receiver.count(), 0);
    let server = Server::start(directory, &["--dev"], &[]);
    receiver.wait_for(1);
    let rows = server.value_when("/scheduled", |v| v.as_array().is_some_and(|rows| rows.len() == 2));
    let tomorrow = due.after(Duration::from_secs(86_400));
    assert_eq!((&rows[0]["status"], &rows[0]["scheduled_for"]), (&json!("pending"), &json!(tomorrow.rfc3339(0))));
    assert_eq!(rows[1]["status"], "completed");
    assert_eq!(receiver.count(), 1);
}

#[test]
fn what_becomes_due_after_its_subscription_is_gone_has_failed() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    loop {
        let id = server.subscribe_to(&receiver.url);
        let (due, scheduled) = schedule_soon(&server, &id, &json!("{}"), "daily");
        assert_eq!(server.delete(&format!("/subscriptions/{id}")).status, 204);
        // Where the machine was too slow to delete it before that moment, it proves nothing.
        if SystemClock.now() >= due {
            continue;
        }
        let sent_before = receiver.count();
        let row_of = |rows: &Value| rows.as_array().and_then(|rows| rows.iter().find(|row| row["id"] == scheduled).cloned());
        let rows = server.value_when("/scheduled", |rows| row_of(rows).is_some_and(|row| row["status"] != "pending"));
        assert_eq!(row_of(&rows).map(|row| row["status"].clone()), Some(json!("failed")));
        // Nor does the series go on.
        assert!(
            !rows.as_array().expect("an array").iter().any(|row| row["subscription_id"] == json!(id) && row["status"] == "pending"),
            "{rows}"
        );
        assert_eq!(receiver.count(), sent_before);
        return;
    }
}

#[test]
fn bad_input_is_refused_and_says_why() {
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let at = "2999-01-01T00:00:00Z";
    for (body, words) in [
        (json!({ "payload": "1", "scheduled_for": at }), "\"subscription_id\" is missing"),
        (json!({ "subscription_id": id, "scheduled_for": at }), "\"payload\" is missing"),
        (json!({ "subscription_id": id, "payload": "1" }), "\"scheduled_for\" is missing"),
        (json!({ "subscription_id": "x", "payload": "1", "scheduled_for": at }), "names no subscription"),
        (json!({ "subscription_id": id, "payload": "{", "scheduled_for": at }), "payload is not valid JSON"),
        (json!({ "subscription_id": id, "payload": "1", "scheduled_for": "2001-01-01T00:00" }), "in the future"),
        (json!({ "subscription_id": id, "payload": "1", "scheduled_for": "soon" }), "scheduled_for must be a time"),
        (json!({ "subscription_id": id, "payload": "1", "scheduled_for": at, "recurrence": "yearly" }), "none, daily, weekly or monthly"),
        (json!({ "subscription_id": id, "payload": "1", "scheduled_for": at, "every": "day" }), "unknown field \"every\""),
    ] {
        let answer = server.send_json("POST", "/scheduled", &body);
        assert_eq!(answer.status, 400, "{body}: {}", answer.text());
        assert!(answer.error().contains(words), "{body}: {}", answer.error());
    }
    assert_eq!(server.call("POST", "/scheduled", &[("content-type", "text/plain")], b"x").status, 415);
    assert_eq!(server.get("/scheduled").json(), json!([]));
    for id in ["00000000-0000-7000-8000-000000000000", "x"] {
        let answer = server.delete(&format!("/scheduled/{id}"));
        assert_eq!((answer.status, answer.error().as_str()), (404, "scheduled webhook not found"));
    }
}
