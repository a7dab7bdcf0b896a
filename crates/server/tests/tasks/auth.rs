//! Keys, scopes and namespaces on the Tasks API.

use crate::common;

use crate::common::{Answer, Receiver, Server, hub_signature, run};
use serde_json::{Value, json};

const MASTER: &str = "master-key-of-this-test";

/// A production server with a master key, and keys made by the command line while it runs.
struct Guarded {
    server: Server,
    receiver: Receiver,
}

impl Guarded {
    fn start() -> Self {
        Guarded { server: Server::guarded(MASTER), receiver: Receiver::answering(200) }
    }

    fn key(&self, namespace: &str, scopes: &str) -> String {
        let data = self.server.data_dir();
        let arguments = ["keys", "create", "--namespace", namespace, "--scopes", scopes, "--data-dir", data.to_str().expect("a path")];
        let (status, out, talk) = run(&arguments, self.server.directory.path(), &[]);
        assert!(status.success(), "{talk}");
        out.trim().to_owned()
    }

    fn call(&self, key: &str, method: &str, path: &str, body: &[u8]) -> Answer {
        let bearer = format!("Bearer {key}");
        self.server.call(method, path, &[("authorization", &bearer), ("content-type", "application/json")], body)
    }

    fn subscribe(&self, key: &str, fields: &Value) -> String {
        let mut body = json!({ "target_url": self.receiver.url });
        body.as_object_mut().expect("an object").extend(fields.as_object().expect("an object").clone());
        let answer = self.call(key, "POST", "/subscriptions", body.to_string().as_bytes());
        assert_eq!(answer.status, 201, "{}", answer.text());
        answer.json()["id"].as_str().expect("an id").to_owned()
    }
}

/// A script makes a key and uses it in its next line, whichever API it asks.
#[test]
fn a_key_of_the_command_line_is_good_at_once() {
    let guarded = Guarded::start();
    let subscription = guarded.subscribe(MASTER, &json!({}));
    let ingest = format!("/ingest/{subscription}");
    let uses = [("GET", "/scheduled", &b""[..], 200), ("GET", "/v1/delivery/items", b"", 200), ("POST", &ingest, b"{}", 202)];
    for (method, path, body, status) in uses {
        let key = guarded.key("default", "read,write");
        let answer = guarded.call(&key, method, path, body);
        assert_eq!(answer.status, status, "{method} {path}: {}", answer.text());
    }
}

#[test]
fn every_route_but_health_wants_a_key() {
    let guarded = Guarded::start();
    let server = &guarded.server;
    let id = "00000000-0000-7000-8000-000000000000";
    let routes = [
        ("GET", String::from("/subscriptions")),
        ("POST", String::from("/subscriptions")),
        ("GET", format!("/subscriptions/{id}")),
        ("PUT", format!("/subscriptions/{id}")),
        ("DELETE", format!("/subscriptions/{id}")),
        ("GET", format!("/subscriptions/{id}/deliveries")),
        ("GET", format!("/subscriptions/{id}/dlq")),
        ("GET", format!("/deliveries/{id}")),
        ("POST", format!("/dlq/{id}/retry")),
        ("DELETE", format!("/dlq/{id}")),
        ("GET", String::from("/scheduled")),
        ("POST", String::from("/scheduled")),
        ("DELETE", format!("/scheduled/{id}")),
    ];
    for (method, path) in &routes {
        let bare = server.call(method, path, &[], b"");
        assert_eq!((bare.status, bare.header("www-authenticate")), (401, Some("Bearer")), "{method} {path}");
        assert!(bare.error().contains("Authorization: Bearer"));
        for wrong in ["Bearer wrong", "Basic YTpi", "Bearer ", ""] {
            assert_eq!(server.call(method, path, &[("authorization", wrong)], b"").status, 401, "{method} {path} {wrong}");
        }
        assert_eq!(server.call(method, path, &[("x-api-key", "wrong")], b"").status, 401);
    }
    server.value_when("/healthz", |v| *v == json!({ "status": "healthy" }));
    assert_eq!(server.get("/").status, 200);
}

#[test]
fn scopes_are_kept_apart() {
    let guarded = Guarded::start();
    let (reader, writer) = (guarded.key("default", "read"), guarded.key("default", "write"));
    let id = guarded.subscribe(&writer, &json!({}));
    let refused = guarded.call(&reader, "POST", "/subscriptions", b"{}");
    assert_eq!(refused.status, 403);
    assert!(refused.error().contains("write"), "{}", refused.error());
    let refused = guarded.call(&writer, "GET", "/subscriptions", b"");
    assert_eq!(refused.status, 403);
    assert!(refused.error().contains("read"), "{}", refused.error());
    assert_eq!(guarded.call(&reader, "POST", &format!("/ingest/{id}"), b"{}").status, 403);
    assert_eq!(guarded.call(&writer, "POST", &format!("/ingest/{id}"), b"{}").status, 202);
    let with_header = guarded.server.call("GET", "/subscriptions", &[("x-api-key", &reader)], b"");
    assert_eq!(with_header.json().as_array().map(Vec::len), Some(1));
}

#[test]
fn another_namespace_does_not_exist() {
    let guarded = Guarded::start();
    let (ours, theirs) = (guarded.key("ours", "read,write"), guarded.key("theirs", "read,write"));
    let id = guarded.subscribe(&ours, &json!({}));
    let at = json!({ "subscription_id": id, "payload": "1", "scheduled_for": "2999-01-01T00:00" }).to_string();
    let scheduled = guarded.call(&ours, "POST", "/scheduled", at.as_bytes()).json()["id"].as_str().expect("an id").to_owned();
    let accepted = guarded.call(&ours, "POST", &format!("/ingest/{id}"), b"{}").json();
    let task = accepted["delivery_task_id"].as_str().expect("an id");
    for (method, path) in [
        ("GET", format!("/subscriptions/{id}")),
        ("PUT", format!("/subscriptions/{id}")),
        ("DELETE", format!("/subscriptions/{id}")),
        ("GET", format!("/subscriptions/{id}/deliveries")),
        ("GET", format!("/subscriptions/{id}/dlq")),
        ("POST", format!("/ingest/{id}")),
        ("GET", format!("/deliveries/{task}")),
        ("DELETE", format!("/scheduled/{scheduled}")),
    ] {
        assert_eq!(guarded.call(&theirs, method, &path, b"{}").status, 404, "{method} {path}");
    }
    assert_eq!(guarded.call(&theirs, "POST", "/scheduled", at.as_bytes()).status, 400);
    for path in ["/subscriptions", "/scheduled"] {
        assert_eq!(guarded.call(&theirs, "GET", path, b"").json(), json!([]), "{path}");
        // The master key sees all of them.
        assert_eq!(guarded.call(MASTER, "GET", path, b"").json().as_array().map(Vec::len), Some(1), "{path}");
    }
    assert_eq!(guarded.call(MASTER, "GET", &format!("/deliveries/{task}"), b"").status, 200);
    assert_eq!(guarded.call(MASTER, "DELETE", &format!("/subscriptions/{id}"), b"").status, 204);
    // What a master key makes is made in the namespace default.
    let made = guarded.subscribe(MASTER, &json!({}));
    let default = guarded.key("default", "read");
    assert_eq!(guarded.call(&default, "GET", &format!("/subscriptions/{made}"), b"").status, 200);
}

#[test]
fn dead_letters_of_another_namespace_cannot_be_touched() {
    let directory = tempfile::tempdir().expect("a directory");
    let flags = ["--allow-network", "127.0.0.0/8", "--tasks-max-attempts", "1"];
    let server = Server::start(directory, &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    let guarded = Guarded { server, receiver: Receiver::answering(500) };
    let (ours, theirs) = (guarded.key("ours", "read,write"), guarded.key("theirs", "read,write"));
    let id = guarded.subscribe(&ours, &json!({}));
    assert_eq!(guarded.call(&ours, "POST", &format!("/ingest/{id}"), b"{}").status, 202);
    let begun = tokio::time::Instant::now();
    let letter = loop {
        let listed = guarded.call(&ours, "GET", &format!("/subscriptions/{id}/dlq"), b"").json();
        if let Some(letter) = listed[0]["id"].as_str() {
            break letter.to_owned();
        }
        assert!(begun.elapsed() < common::PATIENCE, "it never fails");
        std::thread::park_timeout(std::time::Duration::from_millis(10));
    };
    let (retry, dismiss) = (("POST", format!("/dlq/{letter}/retry")), ("DELETE", format!("/dlq/{letter}")));
    for (method, path) in [&retry, &dismiss] {
        let answer = guarded.call(&theirs, method, path, b"");
        assert_eq!((answer.status, answer.error().as_str()), (404, "dlq task not found"), "{method} {path}");
    }
    assert_eq!(guarded.receiver.count(), 1, "the refused retry has sent something");
    assert_eq!(guarded.call(&ours, retry.0, &retry.1, b"").status, 202);
    guarded.receiver.wait_for(2);
}

#[test]
fn a_signature_is_key_enough_for_a_secured_subscription() {
    let guarded = Guarded::start();
    let secured = guarded.subscribe(MASTER, &json!({ "secret": "shh" }));
    let open = guarded.subscribe(MASTER, &json!({}));
    let signature = hub_signature("shh", b"{}");
    let post = |id: &str, headers: &[(&str, &str)]| guarded.server.call("POST", &format!("/ingest/{id}"), headers, b"{}").status;
    assert_eq!(post(&secured, &[("x-hub-signature-256", &signature)]), 202);
    assert_eq!(post(&secured, &[]), 401);
    assert_eq!(post(&open, &[("x-hub-signature-256", &signature)]), 401);
    assert_eq!(post(&open, &[("x-api-key", MASTER)]), 202);
    // A key does not stand in for a signature, and a wrong one spoils a right signature.
    assert_eq!(post(&secured, &[("x-api-key", MASTER)]), 401);
    assert_eq!(post(&secured, &[("x-api-key", MASTER), ("x-hub-signature-256", &signature)]), 202);
    assert_eq!(post(&secured, &[("x-api-key", "wrong"), ("x-hub-signature-256", &signature)]), 401);
    assert_eq!(guarded.receiver.wait_for(3).len(), 3);
}

#[test]
fn development_mode_is_open_and_still_checks_keys() {
    let server = Server::dev(&[]);
    let key = server.dev_key.clone().expect("a ready key");
    assert!(key.starts_with("pr_") && key.len() == 46, "{key}");
    assert_eq!(server.get("/subscriptions").status, 200);
    let with = |key: &str| server.call("GET", "/subscriptions", &[("x-api-key", key)], b"").status;
    assert_eq!((with(&key), with("wrong"), with(&key[..45])), (200, 401, 401));
}

#[test]
fn development_mode_is_closed_to_pages_of_elsewhere() {
    let server = Server::dev(&[]);
    let id = server.subscribe_to("https://example.com/");
    let with = |method: &str, path: &str, headers: &[(&str, &str)]| server.call(method, path, headers, b"{}").status;
    let ingest = format!("/ingest/{id}");
    for path in ["/subscriptions", "/scheduled", ingest.as_str()] {
        assert_eq!(with("POST", path, &[("origin", "https://evil.example")]), 403, "{path}");
    }
    assert_eq!(with("POST", &ingest, &[("origin", "http://localhost:5173")]), 202);
    let rebound = format!("GET /subscriptions HTTP/1.1\r\nhost: evil.example:{}\r\nconnection: close\r\n\r\n", server.address.port());
    assert_eq!(common::Client::new(server.address).exchange(rebound.as_bytes()).status, 403);
    // Who shows a key is no stranger.
    let key = server.dev_key.clone().expect("a key");
    assert_eq!(with("POST", &ingest, &[("origin", "https://example.com"), ("x-api-key", &key)]), 202);
}

#[test]
fn a_new_start_in_development_mode_ends_the_old_key() {
    let server = Server::dev(&[]);
    let first = server.dev_key.clone().expect("a key");
    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev"], &[]);
    let second = server.dev_key.clone().expect("a key");
    let with = |key: &str| server.call("GET", "/subscriptions", &[("x-api-key", key)], b"").status;
    assert_eq!((with(&first), with(&second)), (401, 200));
}
