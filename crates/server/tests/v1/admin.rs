//! `postrider.v1.AdminService`: keys, nodes and settings.

use crate::common::Server;
use crate::common::rpc::Rpc;
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const KEYS: &str = "postrider.v1.AdminService/ListKeys";
const CREATE: &str = "postrider.v1.AdminService/CreateKey";
const REVOKE: &str = "postrider.v1.AdminService/RevokeKey";
const NODES: &str = "postrider.v1.AdminService/ListNodes";
const SETTINGS: &str = "postrider.v1.AdminService/GetSettings";

fn start(flags: &[&str]) -> Server {
    Server::start(
        tempfile::tempdir().expect("a directory"),
        flags,
        &[("POSTRIDER_BOOTSTRAP_KEY", MASTER), ("POSTRIDER_IDLE_TIMEOUT", "77s")],
    )
}

/// Makes a key; answers its secret and what is shown of it.
fn make(rpc: &Rpc<'_>, body: &Value) -> (String, Value) {
    let made = rpc.ask(CREATE, body);
    (made["secret"].as_str().expect("a secret").to_owned(), made["key"].clone())
}

fn names(listed: &Value) -> Vec<&str> {
    let all = listed["keys"].as_array();
    all.into_iter().flatten().map(|key| key["name"].as_str().expect("a name")).collect()
}

#[test]
fn a_key_is_made_shown_once_used_and_revoked() {
    let server = start(&[]);
    let master = Rpc::with_key(&server, MASTER, "shop");
    let request = json!({"name": "shop", "namespace": "shop", "scopes": ["read", "write"], "expires_at": "2999-01-01T00:00:00Z"});
    let (secret, key) = make(&master, &request);
    let expected = json!({
        "keyId": key["keyId"], "name": "shop", "prefix": key["prefix"], "namespace": "shop", "scopes": ["read", "write"],
        "createdAt": key["createdAt"], "expiresAt": "2999-01-01T00:00:00Z",
    });
    assert_eq!(key, expected);
    assert!(secret.starts_with(key["prefix"].as_str().expect("a prefix")) && secret.len() == 46);
    let push = json!({"namespace": "shop", "event": "a.b", "payload": {}});
    let own = Rpc::with_key(&server, &secret, "shop");
    own.ask("EventService/PushEvent", &push);
    let listed = master.ask(KEYS, &json!({}));
    assert_eq!((names(&listed), &listed["keys"][0]), (vec!["shop", "bootstrap"], &key), "the newest first");
    assert_eq!((&listed["keys"][1]["isOwn"], listed["keys"][1].get("namespace")), (&json!(true), None));
    assert_eq!(names(&master.ask(KEYS, &json!({"namespace": "shop"}))), ["shop"]);
    assert_eq!(master.ask(KEYS, &json!({"namespace": "other"})), json!({}));
    let revoked = master.ask(REVOKE, &json!({"key_id": key["keyId"]}))["key"].clone();
    assert!(revoked["revokedAt"].is_string(), "{revoked}");
    assert_eq!(own.json("EventService/PushEvent", &push).status, 401, "at once");
    assert_eq!(master.ask(REVOKE, &json!({"key_id": key["keyId"]}))["key"], revoked, "nothing happens to one that has ended");
    assert_eq!(master.ask(KEYS, &json!({}))["keys"][0], revoked, "it stays in the list");
    assert!(!listed.to_string().contains(&secret));
}

#[test]
fn keys_that_cannot_be_made_say_why() {
    let server = start(&[]);
    let master = Rpc::with_key(&server, MASTER, "shop");
    for (request, part) in [
        (json!({"name": "", "scopes": ["read"]}), "name"),
        (json!({"name": "x".repeat(101), "scopes": ["read"]}), "name"),
        (json!({"name": "bootstrap", "scopes": ["read"]}), "keys of its own"),
        (json!({"name": "k"}), "scopes"),
        (json!({"name": "k", "scopes": ["rite"]}), "rite"),
        (json!({"name": "k", "scopes": ["read"], "namespace": "a b"}), "namespace"),
        (json!({"name": "k", "scopes": ["read"], "expires_at": "2020-01-01T00:00:00Z"}), "expires_at"),
    ] {
        let (status, code, message) = master.refused(CREATE, &request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(names(&master.ask(KEYS, &json!({}))), ["bootstrap"]);
    assert_eq!(
        (master.refused(REVOKE, &json!({"key_id": NOBODY})).1, master.refused(REVOKE, &json!({})).1),
        ("not_found".into(), "invalid_argument".into())
    );
}

#[test]
fn an_admin_of_a_namespace_manages_its_keys_alone() {
    let server = start(&[]);
    let master = Rpc::with_key(&server, MASTER, "one");
    let (one, own) = make(&master, &json!({"name": "one", "namespace": "one", "scopes": ["admin"]}));
    let (two, other) = make(&master, &json!({"name": "two", "namespace": "two", "scopes": ["admin"]}));
    let (one, two) = (Rpc::with_key(&server, &one, "one"), Rpc::with_key(&server, &two, "two"));
    assert_eq!((names(&one.ask(KEYS, &json!({}))), names(&two.ask(KEYS, &json!({})))), (vec!["one"], vec!["two"]));
    assert_eq!(one.ask(KEYS, &json!({"namespace": "two"})), json!({}));
    let (_, made) = make(&one, &json!({"name": "more", "namespace": "one", "scopes": ["read"]}));
    assert_eq!(made["namespace"], "one");
    for namespace in ["", "two"] {
        let request = json!({"name": "k", "namespace": namespace, "scopes": ["read"]});
        assert_eq!(one.refused(CREATE, &request).1, "permission_denied", "{namespace:?}");
    }
    let bootstrap = master.ask(KEYS, &json!({}))["keys"].as_array().and_then(|keys| keys.last()).expect("a key")["keyId"].clone();
    for id in [&other["keyId"], &bootstrap] {
        assert_eq!(one.refused(REVOKE, &json!({"key_id": id})).1, "not_found");
    }
    for method in [NODES, SETTINGS] {
        let (status, code, message) = one.refused(method, &json!({}));
        assert_eq!((status, code.as_str()), (403, "permission_denied"), "{method}");
        assert!(message.contains("no namespace"), "{message}");
    }
    // Whoever sees all namespaces manages this one's keys too, so that it is not the last one.
    assert!(one.ask(REVOKE, &json!({"key_id": own["keyId"]}))["key"]["revokedAt"].is_string());
    let (reader, _) = make(&master, &json!({"name": "reader", "scopes": ["read", "write"]}));
    let reader = Rpc::with_key(&server, &reader, "one");
    for method in [KEYS, CREATE, REVOKE, NODES, SETTINGS] {
        assert_eq!(reader.refused(method, &json!({})).1, "permission_denied", "{method}");
    }
}

#[test]
fn the_last_key_that_manages_keys_stays() {
    let server = start(&[]);
    let master = Rpc::with_key(&server, MASTER, "shop");
    make(&master, &json!({"name": "of one", "namespace": "one", "scopes": ["admin"]}));
    make(&master, &json!({"name": "reader", "scopes": ["read", "write"]}));
    let listed = master.ask(KEYS, &json!({}));
    let id = &listed["keys"].as_array().and_then(|keys| keys.last()).expect("a key")["keyId"];
    let (_, code, message) = master.refused(REVOKE, &json!({"key_id": id}));
    assert!(code == "failed_precondition" && message.contains("last key"), "{message}");
    let (next, _) = make(&master, &json!({"name": "next", "scopes": ["admin"]}));
    assert!(master.ask(REVOKE, &json!({"key_id": id}))["key"]["revokedAt"].is_string());
    assert_eq!(Rpc::with_key(&server, &next, "shop").ask(KEYS, &json!({}))["keys"][0]["isOwn"], true);
}

#[test]
fn nodes_and_settings_are_shown() {
    let server = start(&["--node-name", "here", "--node-address", "http://127.0.0.1:8080", "--retain-logs", "5h"]);
    let master = Rpc::with_key(&server, MASTER, "shop");
    let listed = master.ask(NODES, &json!({}));
    let node = &listed["nodes"][0];
    let expected = json!({
        "name": "here", "address": "http://127.0.0.1:8080", "release": env!("CARGO_PKG_VERSION"), "incarnation": "1",
        "startedAt": node["startedAt"], "lastHeartbeatAt": node["lastHeartbeatAt"], "slots": 256, "isThis": true,
    });
    assert_eq!((listed["nodes"].as_array().map(Vec::len), node), (Some(1), &expected));
    let answer = master.ask(SETTINGS, &json!({}));
    let settings = answer["settings"].as_array().expect("settings");
    let find = |name: &str| settings.iter().find(|setting| setting["name"] == name).unwrap_or_else(|| panic!("no {name} in {answer}"));
    for (name, value, source) in [
        ("node_name", json!("here"), "flag"),
        ("retention.logs", json!("5h"), "flag"),
        ("idle_timeout", json!("77s"), "environment"),
        ("max_body", json!("1MiB"), "default"),
        ("dev", json!("false"), "default"),
        ("POSTRIDER_BOOTSTRAP_KEY", json!("********"), "environment"),
    ] {
        let setting = find(name);
        assert_eq!((&setting["value"], &setting["source"]), (&value, &json!(source)), "{name}");
        assert!(setting["description"].as_str().is_some_and(|text| text.len() > 10), "{setting}");
    }
    assert!(find("database_url").get("value").is_none() && !answer.to_string().contains(MASTER), "{answer}");
}

#[test]
fn keys_are_listed_page_by_page() {
    let server = start(&[]);
    let master = Rpc::with_key(&server, MASTER, "shop");
    for name in ["one", "two", "three"] {
        make(&master, &json!({"name": name, "namespace": "shop", "scopes": ["read"]}));
    }
    let (mut walked, mut token) = (Vec::new(), json!(""));
    loop {
        let page = master.ask(KEYS, &json!({"page_size": 1, "page_token": token}));
        assert_eq!(names(&page).len(), 1);
        walked.extend(names(&page).into_iter().map(str::to_owned));
        match page.get("nextPageToken") {
            Some(next) => token = next.clone(),
            None => break,
        }
    }
    assert_eq!(walked, ["three", "two", "one", "bootstrap"]);
    let of_shop = master.ask(KEYS, &json!({"namespace": "shop", "page_size": 2}));
    let rest = master.ask(KEYS, &json!({"namespace": "shop", "page_size": 2, "page_token": of_shop["nextPageToken"]}));
    assert_eq!((names(&of_shop), names(&rest), rest.get("nextPageToken")), (vec!["three", "two"], vec!["one"], None));
    assert_eq!(names(&master.ask(KEYS, &json!({}))).len(), 4);
    assert_eq!(master.refused(KEYS, &json!({"page_token": "odd"})).1, "invalid_argument");
}
