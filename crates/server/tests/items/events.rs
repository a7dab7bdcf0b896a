//! `POST /v1/delivery/events`: one event for every subscription that wants it.

use crate::common::{Answer, Receiver, Server, keys};
use serde_json::{Value, json};

fn publish(server: &Server, key: &str, body: &Value) -> Answer {
    server.call("POST", "/v1/delivery/events", &[("x-api-key", key), ("content-type", "application/json")], body.to_string().as_bytes())
}

fn code(answer: &Answer) -> (u16, String) {
    let value = answer.json();
    let mut expected = vec!["code", "error", "message", "path", "request_id", "retryable", "statusCode", "timestamp"];
    // Contract, section 4: where it is there, it says what is wrong where.
    if value["code"] == "validation_error" {
        expected.insert(1, "details");
    }
    assert_eq!(keys(&value), expected);
    assert_eq!(value["statusCode"], json!(answer.status));
    assert!(value["request_id"].as_str().is_some_and(|id| id.starts_with("req_")));
    assert_eq!(answer.header("x-request-id"), value["request_id"].as_str());
    (answer.status, value["code"].as_str().expect("a code").to_owned())
}

#[test]
fn an_event_goes_to_everyone_who_wants_it() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let receiver = Receiver::answering(200);
    for types in [json!(null), json!("order.*"), json!("order.created,x"), json!("user.created")] {
        server.subscribe(&json!({ "target_url": receiver.url, "event_types": types }));
    }
    let answer = publish(&server, &key, &json!({ "event_type": "order.created", "payload": {"n": 1}, "dedup_key": "k" }));
    assert_eq!(answer.status, 202, "{}", answer.text());
    assert_eq!(answer.json(), json!({ "id": "1", "dedup_key": "k", "duplicate": false }));
    let received = receiver.wait_for(3);
    assert!(received.iter().all(|r| r.body == b"{\"n\":1}" && r.headers["x-postrider-event"] == "order.created"));
    let again = publish(&server, &key, &json!({ "event_type": "order.created", "payload": {"n": 2}, "dedup_key": "k" }));
    assert_eq!(again.json(), json!({ "id": "1", "dedup_key": "k", "duplicate": true }));
    let next = publish(&server, &key, &json!({ "event_type": "nobody.cares", "payload": {} }));
    assert_eq!((next.status, &next.json()["dedup_key"]), (202, &Value::Null));
    // What came last shows that the repeated one made nothing.
    publish(&server, &key, &json!({ "event_type": "user.created", "payload": {"last": true} }));
    let received = receiver.wait_for(6);
    assert_eq!(received.len(), 6, "three, then one for the subscription to everything, then two");
}

#[test]
fn errors_come_in_the_flat_envelope() {
    let server = Server::start(
        tempfile::tempdir().expect("a directory"),
        &["--dev", "--max-body", "1KiB"],
        &[("POSTRIDER_BOOTSTRAP_KEY", "a-master-key-of-this-test")],
    );
    let key = server.dev_key.clone().expect("a key");
    let good = json!({ "event_type": "a.b", "payload": {} });
    let bare = server.send_json("POST", "/v1/delivery/events", &good);
    assert_eq!(code(&bare), (401, String::from("unauthorized")), "a key is wanted in development mode too");
    assert_eq!(code(&publish(&server, "wrong", &good)), (401, String::from("unauthorized")));
    assert_eq!(code(&publish(&server, "a-master-key-of-this-test", &good)), (400, String::from("bad_request")));
    let invalid = publish(&server, &key, &json!({ "event_type": "a.b", "payload": [] }));
    assert_eq!(code(&invalid), (400, String::from("validation_error")));
    assert_eq!(invalid.json()["path"], "/v1/delivery/events");
    let large = publish(&server, &key, &json!({ "event_type": "a.b", "payload": {"x": "y".repeat(2_000)} }));
    assert_eq!(code(&large), (413, String::from("payload_too_large")));
    assert_eq!(code(&server.get("/v1/delivery/nothing")), (404, String::from("not_found")));
    let wrong = server.get("/v1/delivery/events/batch");
    assert_eq!((code(&wrong), wrong.header("allow")), ((405, String::from("method_not_allowed")), Some("POST")));
    let form = server.call("POST", "/v1/delivery/events", &[("x-api-key", &key), ("content-type", "text/plain")], b"{}");
    assert_eq!(code(&form), (415, String::from("unsupported_media_type")));
}

#[test]
fn a_batch_has_a_result_for_each_event_and_one_wrong_one_harms_nobody() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let receiver = Receiver::answering(200);
    server.subscribe(&json!({ "target_url": receiver.url, "event_types": "a.*" }));
    let call = |media: &str, body: &str| {
        server.call("POST", "/v1/delivery/events/batch", &[("x-api-key", &key), ("content-type", media)], body.as_bytes())
    };
    let lines = r#"{"event_type": "a.b", "payload": {"n": 1}, "dedup_key": "one"}
        {"event_type": "a.b", "payload": [2]}
        no json

        {"event_type": "a.c", "payload": {"n":  3}}
        {"event_type": "a.b", "payload": {"n": 4}, "dedup_key": "one"}"#;
    let answer = call("application/x-ndjson", lines);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let value = answer.json();
    assert_eq!((&value["accepted"], &value["duplicates"], &value["rejected"]), (&json!(2), &json!(1), &json!(2)));
    let results = value["results"].as_array().expect("results");
    assert_eq!(results[0], json!({"status": 202, "id": "1", "dedup_key": "one", "duplicate": false}));
    assert_eq!((&results[1]["status"], &results[1]["details"][0]["path"]), (&json!(400), &json!("payload")));
    assert_eq!(keys(&results[2]), ["code", "details", "message", "status"]);
    assert_eq!(results[3], json!({"status": 202, "id": "2", "dedup_key": null, "duplicate": false}));
    assert_eq!(results[4], json!({"status": 202, "id": "1", "dedup_key": "one", "duplicate": true}));
    let array = call("application/json", r#"[{"event_type": "a.d", "payload": {"n": 5}}]"#);
    assert_eq!(array.json()["accepted"], json!(1));
    let mut bodies: Vec<_> = receiver.wait_for(3).iter().map(|r| String::from_utf8_lossy(&r.body).into_owned()).collect();
    bodies.sort_unstable();
    assert_eq!(bodies, [r#"{"n":  3}"#, r#"{"n": 1}"#, r#"{"n": 5}"#]);
    assert_eq!(code(&call("application/json", "{}")), (400, String::from("validation_error")));
    assert_eq!(code(&call("text/csv", "a,b")), (415, String::from("unsupported_media_type")));
}
