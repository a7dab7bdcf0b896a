//! `Idempotency-Key`: the same request again is answered, not done again.

use crate::common;

use crate::common::items::{Api, destination};
use crate::common::{Answer, Client, Receiver, Reply, Server};
use serde_json::{Value, json};
use std::io::Write;
use std::net::TcpStream;

fn send(server: &Server, key: &str, once: &str, method: &str, path: &str, body: &Value) -> Answer {
    let headers = [("x-api-key", key), ("content-type", "application/json"), ("idempotency-key", once)];
    server.call(method, path, &headers, body.to_string().as_bytes())
}

const EVENTS: &str = "/v1/delivery/events";

const DESTINATIONS: &str = "/v1/delivery/destinations";

#[test]
fn the_same_request_gets_the_same_answer_over_a_restart() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let receiver = Receiver::answering(200);
    let body = destination(&receiver.url);
    let first = send(&server, &key, "k-1", "POST", DESTINATIONS, &body);
    assert_eq!((first.status, first.header("idempotency-replayed")), (201, None));
    let again = send(&server, &key, "k-1", "POST", DESTINATIONS, &body);
    assert_eq!((again.status, again.json(), again.header("idempotency-replayed")), (201, first.json(), Some("true")));
    assert_eq!(again.header("location"), first.header("location"));
    let other = send(&server, &key, "k-1", "POST", DESTINATIONS, &destination("http://127.0.0.1:9/"));
    assert_eq!((other.status, &other.json()["code"]), (422, &json!("idempotency_mismatch")));
    // A key belongs to a method and a path.
    let id = first.json()["id"].as_str().expect("an id").to_owned();
    let update = send(&server, &key, "k-1", "PUT", &format!("{DESTINATIONS}/{id}"), &json!({"name": "renamed"}));
    assert_eq!((update.status, &update.json()["name"]), (200, &json!("renamed")));
    // What was refused is answered again too, with the same error.
    let bad = json!({"event_type": "a.b"});
    let refused = send(&server, &key, "k-2", "POST", EVENTS, &bad);
    assert_eq!((refused.status, send(&server, &key, "k-2", "POST", EVENTS, &bad).json()), (400, refused.json()));

    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev"], &[]);
    // The development mode makes a new key: the first one is another caller.
    let keys = [server.dev_key.clone().expect("a key"), key];
    let api = Api::of(&server);
    assert_eq!(api.get(DESTINATIONS).json()["total"], 1);
    let fresh = send(&server, &keys[0], "k-1", "POST", DESTINATIONS, &body);
    assert_eq!(fresh.status, 201);
    assert_ne!(fresh.json()["id"], first.json()["id"], "another API key's request");
}

#[test]
fn a_named_key_outlives_a_restart() {
    let master = "pr_a-key-for-the-start-of-a-server-000000000000";
    let server = Server::guarded(master);
    let made = server.call(
        "POST",
        "/v1/keys",
        &[("x-api-key", master), ("content-type", "application/json"), ("idempotency-key", "make")],
        json!({"namespace": "team"}).to_string().as_bytes(),
    );
    assert_eq!(made.status, 201, "{}", made.text());
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let event = json!({"event_type": "a.b", "payload": {"n": 1}});
    let first = send(&server, &key, "event-1", "POST", EVENTS, &event);
    assert_eq!((first.status, &first.json()["duplicate"], &first.json()["dedup_key"]), (202, &json!(false), &Value::Null));
    let (_, directory) = server.stop();
    // The key itself is nowhere on disk, though its answer is given again.
    for file in std::fs::read_dir(common::data_dir(&directory)).expect("a directory") {
        let bytes = std::fs::read(file.expect("a file").path()).expect("content");
        assert!(!bytes.windows(key.len()).any(|window| window == key.as_bytes()), "a key is stored");
    }
    let server = Server::start(directory, &["--allow-network", "127.0.0.0/8"], &[("POSTRIDER_BOOTSTRAP_KEY", master)]);
    let again = send(&server, &key, "event-1", "POST", EVENTS, &event);
    assert_eq!((again.status, again.json(), again.header("idempotency-replayed")), (202, first.json(), Some("true")));
    assert_eq!(Api::with_key(&server, &key).get(EVENTS).json()["total"], 1);
    let shown = server.call(
        "POST",
        "/v1/keys",
        &[("x-api-key", master), ("content-type", "application/json"), ("idempotency-key", "make")],
        json!({"namespace": "team"}).to_string().as_bytes(),
    );
    assert_eq!((shown.status, shown.json()), (201, made.json()));
}

/// While the first request is being done a second one is told to wait; when its client has gone away it is done all the same.
#[test]
fn a_request_that_is_being_done_is_not_begun_twice() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let receiver = Receiver::scripted(|_| Reply::Stall);
    let id = Api::of(&server).make("destinations", &destination(&receiver.url));
    let path = format!("{DESTINATIONS}/{id}/test");
    std::thread::scope(|scope| {
        let (address, key, path) = (server.address, key.as_str(), path.as_str());
        let headers = [("x-api-key", key), ("content-type", "application/json"), ("idempotency-key", "t")];
        let first = scope.spawn(move || Client::new(address).call("POST", path, &headers, b"{}"));
        receiver.wait_for(1);
        let second = send(&server, key, "t", "POST", path, &json!({}));
        assert_eq!((second.status, &second.json()["code"], second.header("retry-after")), (409, &json!("conflict"), Some("1")));
        receiver.release();
        let first = first.join().expect("it ends");
        assert_eq!((first.status, &first.json()["success"]), (200, &json!(true)));
        let third = send(&server, key, "t", "POST", path, &json!({}));
        assert_eq!((third.status, third.json()), (200, first.json()));
    });
    assert_eq!(receiver.count(), 1);
}

/// Nobody knows what a crash let happen of a request: it is done again, and makes the same things.
#[test]
fn a_request_that_a_crash_cut_off_is_done_again() {
    let master = "pr_a-key-for-the-start-of-a-server-000000000000";
    let server = Server::guarded(master);
    let made = server.call(
        "POST",
        "/v1/keys",
        &[("x-api-key", master), ("content-type", "application/json")],
        json!({"namespace": "team"}).to_string().as_bytes(),
    );
    let key = made.json()["key"].as_str().expect("a key").to_owned();
    let receiver = Receiver::scripted(|n| if n == 0 { Reply::Stall } else { Reply::Status(200) });
    let id = Api::with_key(&server, &key).make("destinations", &destination(&receiver.url));
    let path = format!("{DESTINATIONS}/{id}/test");
    let mut asking = TcpStream::connect(server.address).expect("the server listens");
    let head = format!("POST {path} HTTP/1.1\r\nhost: x\r\nx-api-key: {key}\r\ncontent-type: application/json\r\nidempotency-key: t\r\n");
    asking.write_all(format!("{head}content-length: 2\r\n\r\n{{}}").as_bytes()).expect("it is sent");
    receiver.wait_for(1);
    let directory = server.crash();
    let server = Server::start(directory, &["--allow-network", "127.0.0.0/8"], &[("POSTRIDER_BOOTSTRAP_KEY", master)]);
    let again = send(&server, &key, "t", "POST", &path, &json!({}));
    assert_eq!(
        (again.status, &again.json()["success"], again.header("idempotency-replayed")),
        (200, &json!(true), None),
        "{}",
        again.text()
    );
    assert_eq!(receiver.count(), 2);
    receiver.release();
}

#[test]
fn a_batch_is_published_once() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let api = Api::of(&server);
    let batch = json!([{"event_type": "a.b", "payload": {"n": 1}}, {"event_type": "x", "payload": {}}, {"event_type": "a.b", "payload": {"n": 2}, "dedup_key": "mine"}]);
    let path = "/v1/delivery/events/batch";
    let first = send(&server, &key, "b", "POST", path, &batch);
    assert_eq!((first.status, &first.json()["accepted"], &first.json()["rejected"]), (200, &json!(2), &json!(1)));
    assert_eq!(send(&server, &key, "b", "POST", path, &batch).json(), first.json());
    assert_eq!(api.get(EVENTS).json()["total"], 2);
}

#[test]
fn keys_that_cannot_be_are_refused_and_reads_have_none() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a key");
    let event = json!({"event_type": "a.b", "payload": {}});
    for bad in ["a b", &"x".repeat(256)] {
        let answer = send(&server, &key, bad, "POST", EVENTS, &event);
        assert_eq!((answer.status, &answer.json()["details"][0]["path"]), (400, &json!("Idempotency-Key")));
    }
    let api = Api::of(&server);
    assert_eq!(api.get(EVENTS).json()["total"], 0);
    // A read is done each time.
    let list = |total: u64| {
        let answer = send(&server, &key, "read", "GET", EVENTS, &Value::Null);
        assert_eq!((answer.status, answer.header("idempotency-replayed"), &answer.json()["total"]), (200, None, &json!(total)));
    };
    list(0);
    api.publish("a.b", &json!({}));
    list(1);
}
