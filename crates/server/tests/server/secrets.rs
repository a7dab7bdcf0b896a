//! `postrider secrets`: the key of secrets is changed under a running server.

use crate::common::items::{Api, binding, destination};
use crate::common::{Receiver, Server, run};
use serde_json::json;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const SECRET: &str = "s3cret-token-of-bearer";

fn secrets(verb: &str, data: &Path, key: Option<&str>) -> (bool, String, String) {
    let keys: Vec<_> = key.map(|key| ("POSTRIDER_SECRETS_KEY", key)).into_iter().collect();
    let (status, out, talk) = run(&["secrets", verb, "--data-dir", "."], data, &keys);
    (status.success(), out, talk)
}

/// Columns of the list: keys and how many secrets each has.
fn listed(data: &Path) -> Vec<(String, String)> {
    let (ok, out, talk) = secrets("list", data, None);
    assert!(ok, "{talk}");
    let cells = |line: &str| {
        let mut words = line.split_whitespace().map(str::to_owned);
        (words.next().expect("a key"), words.next().expect("a count"))
    };
    out.lines().skip(1).map(cells).collect()
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    expected.iter().map(|(key, count)| ((*key).to_owned(), (*count).to_owned())).collect()
}

#[test]
fn a_running_server_goes_on_under_a_new_key() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let data = server.data_dir();
    let receiver = Receiver::answering(200);
    let mut body = destination(&receiver.url);
    body["auth_config"] = json!({"type": "bearer", "token": SECRET});
    body["signing_secret"] = json!("s3cret-of-signing");
    let to = api.make("destinations", &body);
    api.make("bindings", &binding(&to, "a.b", json!({})));
    assert_eq!(listed(&data), pairs(&[("k1", "2")]));
    let before = std::fs::read_to_string(data.join("secrets.key")).expect("a file");

    let (ok, _, talk) = secrets("rotate", &data, None);
    assert!(ok && talk.contains("encrypted 2 secrets anew under the key k2"), "{talk}");
    assert!(!talk.contains(SECRET) && !talk.contains(before.trim().split_once('=').expect("a key").1), "{talk}");
    assert_eq!(listed(&data), pairs(&[("k2", "2"), ("k1", "0")]));
    let mode = std::fs::metadata(data.join("secrets.key")).expect("a file").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    // The server takes the configuration over within a second; a delivery in between opens what it has with the older key.
    for n in 1..=3 {
        api.publish("a.b", &json!({"n": n}));
        assert_eq!(receiver.wait_for(n)[n - 1].headers["authorization"], format!("Bearer {SECRET}"));
    }
    // What it stores from now on is sealed under the new key. Where it does not know of it yet, it does once it has refused to store a secret.
    let path = "/v1/delivery/destinations";
    let first = api.post(path, &body);
    let made = if first.status == 503 { api.post(path, &body) } else { first };
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(listed(&data), pairs(&[("k2", "4"), ("k1", "0")]));
    // The next rotation drops what nothing needs.
    assert!(secrets("rotate", &data, None).0);
    let text = std::fs::read_to_string(data.join("secrets.key")).expect("a file");
    assert!(text.starts_with("k3=") && text.contains(",k2="), "{text}");
    let (_, directory) = server.stop();
    let server = Server::start(directory, &["--dev"], &[]);
    let api = Api::of(&server);
    api.publish("a.b", &json!({"n": 4}));
    assert_eq!(receiver.wait_for(4)[3].headers["authorization"], format!("Bearer {SECRET}"));
}

/// Nothing is sealed anew then, and a running server notices the new key all the same.
#[test]
fn the_key_is_changed_before_there_is_a_secret() {
    let server = Server::dev(&[]);
    let data = server.data_dir();
    let (ok, _, talk) = secrets("rotate", &data, None);
    assert!(ok && talk.contains("encrypted 0 secrets anew under the key k2"), "{talk}");
    let mut body = destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    let api = Api::of(&server);
    let first = api.post("/v1/delivery/destinations", &body);
    let made = if first.status == 503 { api.post("/v1/delivery/destinations", &body) } else { first };
    assert_eq!(made.status, 201, "{}", made.text());
    assert_eq!(listed(&data), pairs(&[("k2", "1"), ("k1", "0")]));
}

#[test]
fn keys_of_the_environment_are_rotated_too() {
    let (old, new) = (format!("old={}", "ab".repeat(32)), format!("new={}", "cd".repeat(32)));
    let server = Server::start(tempfile::tempdir().expect("a directory"), &["--dev"], &[("POSTRIDER_SECRETS_KEY", &old)]);
    let mut body = destination("http://127.0.0.1:9/");
    body["signing_secret"] = json!("s3cret-of-signing");
    Api::of(&server).make("destinations", &body);
    let data = server.data_dir();
    let both = format!("{new},{old}");
    let (ok, _, talk) = secrets("rotate", &data, Some(&both));
    assert!(ok && talk.contains("encrypted 1 secrets anew under the key new"), "{talk}");
    assert!(!data.join("secrets.key").exists());
    let (ok, out, _) = secrets("list", &data, Some(&both));
    assert!(ok && out.contains("new                                      1  encrypts and decrypts"), "{out}");
    // Without the key that they are under they stay as they are, and that is said.
    let (ok, _, talk) = secrets("rotate", &data, Some(&format!("other={}", "ef".repeat(32))));
    assert!(!ok && talk.contains("1 secrets could not be read"), "{talk}");
}

#[test]
fn without_a_database_there_is_nothing_to_rotate() {
    let directory = tempfile::tempdir().expect("a directory");
    let (ok, _, talk) = secrets("rotate", directory.path(), None);
    assert!(!ok && talk.contains("there is no database"), "{talk}");
    assert!(std::fs::read_dir(directory.path()).expect("a directory").next().is_none(), "it makes nothing");
}
