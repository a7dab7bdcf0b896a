//! Stops, crashes and starts: what was accepted goes on.

use crate::common;

use crate::common::items::Api;
use crate::common::{PATIENCE, Receiver, Reply, Server};
use serde_json::json;

#[test]
fn a_retry_that_waits_survives_a_stop() {
    // Where the machine is too slow to stop before the retry is made, the gap proves nothing: then a longer one.
    let waiting = ["1500ms", "5s", "20s"].into_iter().find_map(|gap| {
        let server = Server::dev(&["--tasks-retry", gap]);
        let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 500 } else { 200 }));
        let id = server.subscribe_to(&receiver.url);
        let task = server.accepted(&id, b"{\"a\": 1}");
        server.task_when(&task, |v| v["logs"].as_array().is_some_and(|l| !l.is_empty()));
        let (status, directory) = server.stop();
        assert!(status.success());
        (receiver.count() == 1).then_some((directory, receiver, task))
    });
    let (directory, receiver, task) = waiting.expect("a stop before the retry");
    let server = Server::start(directory, &["--dev"], &[]);
    let shown = server.task_with_status(&task, "delivered");
    let numbers: Vec<_> = shown["logs"].as_array().expect("an array").iter().map(|l| l["attempt_number"].clone()).collect();
    assert_eq!((numbers, &shown["task"]["attempt_count"]), (vec![json!(1), json!(2)], &json!(2)));
    assert_eq!(receiver.wait_for(2)[1].body, b"{\"a\": 1}");
}

#[test]
fn an_attempt_that_a_crash_interrupts_is_made_again_and_shown() {
    let server = Server::dev(&[]);
    let receiver = Receiver::scripted(|n| if n == 0 { Reply::Stall } else { Reply::Status(200) });
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{}");
    receiver.wait_for(1);
    server.task_with_status(&task, "processing");
    let server = Server::start(server.crash(), &["--dev"], &[]);
    let shown = server.task_with_status(&task, "delivered");
    assert_eq!((&shown["logs"][0]["outcome"], &shown["logs"][0]["http_status"]), (&json!("failed_attempt"), &json!(null)));
    assert_eq!((&shown["logs"][1]["outcome"], &shown["logs"][1]["attempt_number"]), (&json!("success"), &json!(2)));
    let received = receiver.wait_for(2);
    assert_eq!(received[0].headers["idempotency-key"], received[1].headers["idempotency-key"]);
}

#[test]
fn nothing_acknowledged_is_lost_in_a_crash() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let tasks: Vec<_> = (0..50).map(|n| server.accepted(&id, n.to_string().as_bytes())).collect();
    let server = Server::start(server.crash(), &["--dev"], &[]);
    for task in &tasks {
        server.task_with_status(task, "delivered");
    }
    let mut bodies: Vec<u32> = receiver.wait_for(50).iter().map(|r| String::from_utf8_lossy(&r.body).parse().expect("a number")).collect();
    bodies.sort_unstable();
    bodies.dedup();
    assert_eq!(bodies, (0..50).collect::<Vec<_>>());
}

#[test]
fn a_stop_lets_a_delivery_under_way_end() {
    let server = Server::dev(&[]);
    let receiver = Receiver::scripted(|_| Reply::Stall);
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{}");
    receiver.wait_for(1);
    server.signal(rustix::process::Signal::TERM);
    server.says("stopping");
    receiver.release();
    let (status, directory) = server.stopped();
    assert!(status.success());
    let server = Server::start(directory, &["--dev"], &[]);
    let shown = server.get(&format!("/deliveries/{task}")).json();
    assert_eq!((&shown["task"]["status"], shown["logs"].as_array().map(Vec::len)), (&json!("delivered"), Some(1)));
    assert_eq!(receiver.count(), 1);
}

#[test]
fn a_delivery_that_does_not_end_is_given_back_in_time() {
    let server = Server::dev(&["--shutdown-timeout", "300ms"]);
    let receiver = Receiver::scripted(|n| if n == 0 { Reply::Stall } else { Reply::Status(200) });
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{}");
    receiver.wait_for(1);
    let (status, directory) = server.stop();
    assert!(status.success());
    let server = Server::start(directory, &["--dev"], &[]);
    let shown = server.task_with_status(&task, "delivered");
    assert_eq!(shown["task"]["attempt_count"], 2);
    // Had the stop waited for the attempt, it would have timed out after its 10 s.
    assert_eq!(shown["logs"][0]["error_details"], "the server ended during this attempt");
}

#[test]
fn a_second_signal_ends_at_once() {
    let server = Server::dev(&["--shutdown-timeout", "10m"]);
    let receiver = Receiver::scripted(|_| Reply::Stall);
    let id = server.subscribe_to(&receiver.url);
    server.accepted(&id, b"{}");
    receiver.wait_for(1);
    server.signal(rustix::process::Signal::TERM);
    server.says("stopping");
    server.signal(rustix::process::Signal::INT);
    assert_eq!(server.ended().code(), Some(130));
}

#[test]
fn subscriptions_and_their_secrets_survive() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe(&json!({ "target_url": receiver.url, "secret": "s3cret-that-is-kept", "event_types": "a" }));
    let before = server.get(&format!("/subscriptions/{id}")).json();
    let (_, directory) = server.stop();
    let database = std::fs::read(directory.path().join("data/postrider.db")).expect("the database");
    let secret = b"s3cret-that-is-kept";
    assert!(!database.windows(secret.len()).any(|w| w == secret), "the secret lies in the database in clear");
    let server = Server::start(directory, &["--dev"], &[]);
    assert_eq!(server.get(&format!("/subscriptions/{id}")).json(), before);
    let signature = common::hub_signature("s3cret-that-is-kept", b"{}");
    let headers = [("x-hub-signature-256", signature.as_str()), ("x-event-type", "a")];
    assert_eq!(server.call("POST", &format!("/ingest/{id}"), &headers, b"{}").status, 202);
    assert_eq!(receiver.wait_for(1)[0].headers["x-hub-signature-256"], signature);
}

#[test]
fn without_its_key_file_a_store_with_secrets_does_not_start() {
    let server = Server::dev(&[]);
    server.subscribe(&json!({ "target_url": "https://example.com/", "secret": "s" }));
    let (_, directory) = server.stop();
    std::fs::remove_file(directory.path().join("data/secrets.key")).expect("the key file");
    let (status, _, talk) = common::run(&["serve", "--dev", "--listen", "127.0.0.1:0", "--data-dir", "data"], directory.path(), &[]);
    assert!(!status.success() && talk.contains("secrets.key is missing"), "{talk}");
}

#[test]
fn with_other_keys_a_signed_sender_is_asked_to_come_again() {
    let ours = format!("ours={}", "ab".repeat(32));
    let server = Server::start(tempfile::tempdir().expect("a directory"), &["--dev"], &[("POSTRIDER_SECRETS_KEY", &ours)]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe(&json!({ "target_url": receiver.url, "secret": "s" }));
    let (_, directory) = server.stop();
    let theirs = format!("theirs={}", "cd".repeat(32));
    let server = Server::start(directory, &["--dev"], &[("POSTRIDER_SECRETS_KEY", &theirs)]);
    assert!(server.heard.iter().any(|line| line.contains("1 of 1 stored secrets") && line.contains("\"ours\"")), "{:#?}", server.heard);
    let signature = common::hub_signature("s", b"{}");
    let post = |server: &Server| server.call("POST", &format!("/ingest/{id}"), &[("x-hub-signature-256", &signature)], b"{}");
    let refused = post(&server);
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("1")), "{}", refused.text());
    assert!(refused.error().contains("try again"));
    // Without a signature it is refused whatever the keys are.
    assert_eq!(server.ingest(&id, b"{}").status, 401);
    let (_, directory) = server.stop();
    let both = format!("{theirs},{ours}");
    let server = Server::start(directory, &["--dev"], &[("POSTRIDER_SECRETS_KEY", &both)]);
    assert_eq!(post(&server).status, 202);
    assert_eq!(receiver.wait_for(1).len(), 1);
}

#[test]
fn logs_vanish_after_their_retention_and_the_task_stays() {
    use postrider_core::ports::Clock;
    let clock = postrider_server::clock::SystemClock;
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let id = server.subscribe_to(&receiver.url);
    let task = server.accepted(&id, b"{}");
    server.task_with_status(&task, "delivered");
    let past = clock.now().after(std::time::Duration::from_millis(1_100));
    let (_, directory) = server.stop();
    while clock.now() < past {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let server = Server::start(directory, &["--dev", "--retain-logs", "1s"], &[]);
    let shown = server.task_when(&task, |v| v["logs"] == json!([]));
    assert_eq!((&shown["task"]["status"], &shown["task"]["attempt_count"]), (&json!("delivered"), &json!(1)));
}

/// Items outlive the age of logs and go by their own, with the event that they kept.
#[test]
fn items_stay_unless_they_have_an_age() {
    use postrider_core::ports::Clock;
    let clock = postrider_server::clock::SystemClock;
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let api = Api::of(&server);
    let of_tasks = server.subscribe_to(&receiver.url);
    let task = server.accepted(&of_tasks, b"{}");
    server.task_with_status(&task, "delivered");
    // The subscription of the Tasks API takes every event, so that this one has two deliveries.
    let binding = api.bound(&receiver.url, "a.b", json!({}));
    let event = api.publish("a.b", &json!({"n": 1}));
    let items = format!("/v1/delivery/items?event_id={event}&binding_id={binding}");
    let item = api.when(&items, |list| list["items"][0]["status"] == "succeeded")["items"][0]["id"].clone();
    let item = format!("/v1/delivery/items/{}", item.as_str().expect("an id"));
    let past = clock.now().after(std::time::Duration::from_millis(1_100));
    let (_, directory) = server.stop();
    while clock.now() < past {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let short = ["--dev", "--retain-logs", "1s", "--retain-events", "1s", "--retain-bodies", "1s"];
    let server = Server::start(directory, &short, &[]);
    let api = Api::of(&server);
    gone(|| server.get(&format!("/deliveries/{task}")).status);
    let shown = api.when(&item, |item| item["request_body"].is_null());
    assert_eq!((&shown["status"], &shown["response_body"], &shown["event_id"]), (&json!("succeeded"), &json!(null), &json!(event)));
    let kept = api.get(&format!("/v1/delivery/events/{event}")).json();
    assert_eq!(kept["payload"], json!({"n": 1}), "{kept}");
    assert_eq!(api.post(&format!("{item}/replay"), &json!(null)).status, 200, "and it can be replayed");
    receiver.wait_for(4);
    api.when(&items, |list| list["total"] == 2 && list["items"][0]["status"] == "succeeded");
    let past = clock.now().after(std::time::Duration::from_millis(1_100));
    let (_, directory) = server.stop();
    while clock.now() < past {
        std::thread::park_timeout(std::time::Duration::from_millis(50));
    }
    let server = Server::start(directory, &[&short[..], &["--retain-rows", "1s"]].concat(), &[]);
    let api = Api::of(&server);
    gone(|| api.get(&format!("/v1/delivery/events/{event}")).status);
    assert_eq!(api.get(&items).json()["total"], 0);
}

/// Waits until what is asked for is not there any more. Nobody is told when retention has come by.
fn gone(ask: impl Fn() -> u16) {
    let begun = tokio::time::Instant::now();
    while ask() != 404 {
        assert!(begun.elapsed() < PATIENCE, "it is kept");
        std::thread::park_timeout(std::time::Duration::from_millis(20));
    }
}
