//! Bulk replays: counted first, then done as a job that can be stopped, resumed, and outlives the process.

use crate::common::items::{Api, binding, destination};
use crate::common::{Receiver, Reply, Server, keys};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

const REPLAY: &str = "/v1/delivery/dlq/replay";

const JOBS: &str = "/v1/delivery/jobs";

/// A receiver whose status a test can change.
fn receiver(status: &Arc<AtomicU16>) -> Receiver {
    let status = Arc::clone(status);
    Receiver::scripted(move |_| Reply::Status(status.load(Ordering::SeqCst)))
}

/// A binding that gives up at once.
fn bound(api: &Api<'_>, url: &str, event_type: &str) -> (String, String) {
    let to = api.make("destinations", &destination(url));
    let binding = api.make("bindings", &binding(&to, event_type, json!({"delivery_policy": {"max_attempts": 1}})));
    (to, binding)
}

fn dead(api: &Api<'_>, event_type: &str, count: u64) {
    for n in 0..count {
        api.publish(event_type, &json!({"n": n}));
    }
}

fn path(job: &Value) -> String {
    format!("{JOBS}/{}", job["id"].as_str().expect("an id"))
}

fn numbers(job: &Value) -> (u64, u64, u64) {
    let number = |name: &str| job[name].as_u64().expect("a number");
    (number("matched"), number("replayed"), number("skipped"))
}

#[test]
fn what_a_filter_finds_is_counted_and_then_replayed() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let status = Arc::new(AtomicU16::new(400));
    let receiver = receiver(&status);
    let (_, first) = bound(&api, &receiver.url, "a.b");
    let (_, second) = bound(&api, &receiver.url, "c.d");
    dead(&api, "a.b", 30);
    dead(&api, "c.d", 5);
    api.when("/v1/delivery/dlq", |list| list["total"] == 35);
    let count = |filter: Value| {
        let answer = api.post(REPLAY, &filter);
        assert_eq!((answer.status, keys(&answer.json())), (200, vec!["dry_run", "matched"]), "{}", answer.text());
        answer.json()["matched"].as_u64().expect("a number")
    };
    assert_eq!(count(json!({"dry_run": true})), 35);
    assert_eq!(count(json!({"dry_run": true, "binding_id": second})), 5);
    assert_eq!(count(json!({"dry_run": true, "error_code": "connector_5xx"})), 0);
    assert_eq!(count(json!({"dry_run": true, "binding_id": first, "error_code": "connector_4xx"})), 30);
    assert_eq!(api.get(JOBS).json()["total"], 0, "a dry run makes nothing");

    status.store(200, Ordering::SeqCst);
    let answer = api.post(REPLAY, &json!({"binding_id": first, "rate_per_second": 1000}));
    assert_eq!(answer.status, 202, "{}", answer.text());
    let job = answer.json();
    let fields = "created_at ended_at error_code error_message failed filter gone id matched rate_per_second replayed skipped status type \
                  updated_at";
    assert_eq!(keys(&job), fields.split_whitespace().collect::<Vec<_>>());
    assert_eq!(answer.header("location"), Some(path(&job).as_str()));
    let done = api.when(&path(&job), |job| job["status"] == "completed");
    assert_eq!((numbers(&done), done["ended_at"].is_string()), ((30, 30, 0), true));
    assert_eq!(
        [&done["failed"], &done["gone"], &done["error_code"], &done["error_message"]],
        [&json!(0), &json!(0), &Value::Null, &Value::Null]
    );
    assert_eq!(done["filter"]["binding_id"], first);
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 5, "the other binding's are left");
    api.when("/v1/delivery/items?status=succeeded", |list| list["total"] == 30);
    let ended = api.post(&format!("{}/cancel", path(&job)), &Value::Null);
    assert_eq!((ended.status, &ended.json()["code"]), (409, &json!("conflict")));
    assert_eq!(api.get(JOBS).json()["data"][0], api.get(&path(&job)).json());
}

/// What would only fail again is left where it is.
#[test]
fn dead_letters_of_what_is_not_active_are_skipped() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let status = Arc::new(AtomicU16::new(400));
    let receiver = receiver(&status);
    let (to, _) = bound(&api, &receiver.url, "a.b");
    dead(&api, "a.b", 3);
    api.when("/v1/delivery/dlq", |list| list["total"] == 3);
    assert_eq!(api.call("PUT", &format!("/v1/delivery/destinations/{to}"), &json!({"is_active": false})).status, 200);
    let job = api.post(REPLAY, &json!({"all": true})).json();
    let done = api.when(&path(&job), |job| job["status"] == "completed");
    assert_eq!(numbers(&done), (3, 0, 3));
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 3);
}

#[test]
fn a_job_is_stopped_and_goes_on_where_it_was_in_another_process() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let status = Arc::new(AtomicU16::new(400));
    let receiver = receiver(&status);
    bound(&api, &receiver.url, "a.b");
    dead(&api, "a.b", 60);
    api.when("/v1/delivery/dlq", |list| list["total"] == 60);
    status.store(200, Ordering::SeqCst);
    let job = api.post(REPLAY, &json!({"all": true, "rate_per_second": 10})).json();
    api.when(&path(&job), |job| job["replayed"].as_u64() > Some(1));
    let stopped = api.post(&format!("{}/cancel", path(&job)), &Value::Null);
    assert_eq!((stopped.status, &stopped.json()["status"]), (200, &json!("cancelled")));
    let (_, replayed, _) = numbers(&stopped.json());
    assert!(replayed < 60, "it was stopped on the way");
    let left = 60 - replayed;
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], left);
    // It stays stopped, and where it was, when the process dies.
    let directory = server.crash();
    let server = Server::start(directory, &["--dev"], &[]);
    let api = Api::of(&server);
    assert_eq!((&api.get(&path(&job)).json()["status"], numbers(&api.get(&path(&job)).json())), (&json!("cancelled"), (60, replayed, 0)));
    let resumed = api.post(&format!("{}/resume", path(&job)), &Value::Null);
    assert_eq!((resumed.status, &resumed.json()["status"]), (200, &json!("running")));
    api.when(&path(&job), |job| job["replayed"].as_u64() > Some(replayed));
    // A running one goes on by itself.
    let directory = server.crash();
    let server = Server::start(directory, &["--dev"], &[]);
    let api = Api::of(&server);
    let done = api.when(&path(&job), |job| job["status"] == "completed");
    assert_eq!(numbers(&done), (60, 60, 0));
    api.when("/v1/delivery/items?status=succeeded", |list| list["total"] == 60);
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 0);
}

#[test]
fn one_request_under_one_key_makes_one_job() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let ask = |body: Value| {
        let headers = [("x-api-key", key.as_str()), ("content-type", "application/json"), ("idempotency-key", "bulk")];
        server.call("POST", REPLAY, &headers, body.to_string().as_bytes())
    };
    let first = ask(json!({"all": true}));
    assert_eq!((first.status, ask(json!({"all": true})).json()), (202, first.json()));
    assert_eq!(Api::of(&server).get(JOBS).json()["total"], 1);
    assert_eq!(ask(json!({"error_code": "connector_5xx"})).status, 422);
}

/// To count changes nothing: a master key may, of all namespaces or of one, and may still replay nothing.
#[test]
fn a_master_key_counts_and_replays_nothing() {
    const MASTER: &str = "master-key-of-this-test";
    let directory = tempfile::tempdir().expect("a directory");
    let server = Server::start(directory, &["--dev"], &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    let (own, master) = (Api::of(&server), Api::with_key(&server, MASTER));
    let (key, _) = master.key(&json!({"name": "other", "namespace": "other", "scopes": ["read", "write"]}));
    let other = Api::with_key(&server, &key);
    let receiver = Receiver::answering(404);
    for (api, count) in [(&own, 2), (&other, 1)] {
        bound(api, &receiver.url, "a.b");
        dead(api, "a.b", count);
        api.when("/v1/delivery/dlq", |list| list["total"] == count);
    }
    let count = |query: &str, body: &Value| {
        let answer = master.post(&format!("{REPLAY}{query}"), body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()["matched"].as_u64().expect("a number")
    };
    assert_eq!(count("", &json!({"dry_run": true})), 3);
    assert_eq!(count("?customer_id=other", &json!({"dry_run": true, "error_code": "connector_4xx"})), 1);
    let refused = master.post(REPLAY, &json!({"all": true}));
    assert_eq!((refused.status, &refused.json()["code"]), (400, &json!("bad_request")), "{}", refused.text());
    assert_eq!(master.get(JOBS).json()["total"], 0);
}
