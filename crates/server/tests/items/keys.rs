//! What every request to `/v1` passes: keys, scopes, namespaces, rate limits; and `/v1/keys` and `/v1/nodes`.

use crate::common::{Answer, Server, keys};
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-of-this-test";

fn start(flags: &[&str]) -> Server {
    Server::start(tempfile::tempdir().expect("a directory"), flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)])
}

fn ask(server: &Server, key: &str, method: &str, path: &str, body: Option<&Value>) -> Answer {
    let text = body.map(Value::to_string).unwrap_or_default();
    server.call(method, path, &[("authorization", &format!("Bearer {key}")), ("content-type", "application/json")], text.as_bytes())
}

/// Makes a key; answers its secret and its id.
fn make(server: &Server, by: &str, body: &Value) -> (String, String) {
    let answer = ask(server, by, "POST", "/v1/keys", Some(body));
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    assert_eq!(answer.header("location"), Some(format!("/v1/keys/{}", made["id"].as_str().expect("an id")).as_str()));
    assert_eq!(answer.header("cache-control"), Some("no-store"));
    let text = |name: &str| made[name].as_str().expect("a text").to_owned();
    (text("key"), text("id"))
}

fn refused(answer: &Answer) -> (u16, String) {
    let value = answer.json();
    assert_eq!(value["statusCode"], json!(answer.status));
    (answer.status, value["code"].as_str().expect("a code").to_owned())
}

fn code(status: u16, code: &str) -> (u16, String) {
    (status, code.to_owned())
}

#[test]
fn a_key_is_made_shown_once_used_and_revoked() {
    let server = start(&[]);
    let (secret, id) = make(&server, MASTER, &json!({"name": "shop", "namespace": "shop"}));
    let shown = ask(&server, MASTER, "GET", &format!("/v1/keys/{id}"), None).json();
    assert_eq!(keys(&shown), ["created_at", "expires_at", "id", "name", "namespace", "prefix", "revoked_at", "scopes"]);
    assert_eq!((&shown["scopes"], &shown["namespace"]), (&json!(["read", "write"]), &json!("shop")));
    assert!(secret.starts_with(shown["prefix"].as_str().expect("a prefix")));
    let event = json!({"event_type": "a.b", "payload": {}});
    assert_eq!(ask(&server, &secret, "POST", "/v1/delivery/events", Some(&event)).status, 202);
    let gone = ask(&server, MASTER, "DELETE", &format!("/v1/keys/{id}"), None);
    assert_eq!((gone.status, gone.json()), (200, json!({"deleted": true, "id": id})));
    assert_eq!(refused(&ask(&server, &secret, "POST", "/v1/delivery/events", Some(&event))), code(401, "unauthorized"), "at once");
    let listed = ask(&server, MASTER, "GET", "/v1/keys?limit=1", None).json();
    assert_eq!(keys(&listed), ["data", "next_cursor", "total"]);
    assert_eq!((&listed["total"], &listed["data"][0]["id"]), (&json!(2), &json!(id)), "newest first, revoked ones too");
    assert!(listed["data"][0]["revoked_at"].is_string());
    let next = format!("/v1/keys?limit=1&cursor={}", listed["next_cursor"].as_str().expect("a cursor"));
    let last = ask(&server, MASTER, "GET", &next, None).json();
    assert_eq!((&last["data"][0]["name"], &last["next_cursor"]), (&json!("bootstrap"), &Value::Null));
    // It outlives a restart, and so does its end.
    let (_, directory) = server.stop();
    let server = Server::start(directory, &[], &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    assert_eq!(refused(&ask(&server, &secret, "POST", "/v1/delivery/events", Some(&event))), code(401, "unauthorized"));
}

#[test]
fn scopes_and_namespaces_are_kept_apart() {
    let server = start(&[]);
    let (reader, _) = make(&server, MASTER, &json!({"namespace": "one", "scopes": ["read"]}));
    let (one, one_id) = make(&server, MASTER, &json!({"namespace": "one", "scopes": ["admin"]}));
    let (two, two_id) = make(&server, MASTER, &json!({"namespace": "two", "scopes": ["admin"]}));
    let event = json!({"event_type": "a.b", "payload": {}});
    let answer = ask(&server, &reader, "POST", "/v1/delivery/events", Some(&event));
    assert_eq!((refused(&answer), &answer.json()["required_scopes"]), (code(403, "insufficient_scope"), &json!(["write"])));
    let answer = ask(&server, &reader, "GET", "/v1/keys", None);
    assert_eq!((refused(&answer), &answer.json()["required_scopes"]), (code(403, "insufficient_scope"), &json!(["admin"])));
    // What is another's does not exist.
    for (key, other) in [(&one, &two_id), (&two, &one_id)] {
        for method in ["GET", "DELETE"] {
            assert_eq!(refused(&ask(&server, key, method, &format!("/v1/keys/{other}"), None)), code(404, "not_found"));
        }
        let all = ask(&server, key, "GET", "/v1/keys", None).json();
        assert!(all["data"].as_array().expect("keys").iter().all(|k| k["id"] != json!(other)), "{all}");
    }
    let stolen = ask(&server, &one, "POST", "/v1/keys", Some(&json!({"namespace": "two"})));
    assert_eq!((refused(&stolen), &stolen.json()["details"][0]["path"]), (code(400, "validation_error"), &json!("namespace")));
    assert_eq!(refused(&ask(&server, &one, "GET", "/v1/keys/nonsense", None)), code(404, "not_found"));
}

#[test]
fn a_key_expires_when_it_should() {
    let server = start(&[]);
    let (secret, id) = make(&server, MASTER, &json!({"namespace": "a", "scopes": ["admin"], "expires_at": "2999-01-01T00:00:00Z"}));
    let shown = ask(&server, &secret, "GET", &format!("/v1/keys/{id}"), None);
    assert_eq!(shown.json()["expires_at"], json!("2999-01-01T00:00:00.000Z"));
    let past = ask(&server, MASTER, "POST", "/v1/keys", Some(&json!({"expires_at": "2020-01-01T00:00:00Z"})));
    assert_eq!(refused(&past), code(400, "validation_error"));
}

#[test]
fn a_key_that_asks_too_often_is_told_to_wait_and_for_how_long() {
    let server = start(&["--rate-limit-read", "3", "--rate-limit-write", "1"]);
    let header = |answer: &Answer, name: &str| answer.header(name).unwrap_or_else(|| panic!("no {name}")).parse::<u64>().expect("a number");
    let mut refusals = Vec::new();
    // The buckets fill again while this runs, but no faster than the limit: of twenty requests some are refused.
    for _ in 0..20 {
        let answer = ask(&server, MASTER, "GET", "/v1/keys", None);
        assert_eq!(header(&answer, "x-ratelimit-limit"), 3);
        assert!(header(&answer, "x-ratelimit-remaining") < 3 && header(&answer, "x-ratelimit-reset") > 1_700_000_000);
        if answer.status != 200 {
            refusals.push(answer);
        }
    }
    let last = refusals.last().expect("a refusal");
    assert_eq!((refused(last), last.json()["retryable"].as_bool()), (code(429, "rate_limited"), Some(true)));
    assert!(header(last, "retry-after") >= 1 && header(last, "x-ratelimit-remaining") == 0);
    let (other, _) = make(&server, MASTER, &json!({"namespace": "b", "scopes": ["admin"]}));
    assert_eq!(ask(&server, &other, "GET", "/v1/keys", None).status, 200, "every key has buckets of its own");
    let published = ask(&server, &other, "POST", "/v1/delivery/events", Some(&json!({"event_type": "a.b", "payload": {}})));
    assert_eq!((published.status, published.header("x-ratelimit-limit")), (202, None), "publishing has no limit unless it is given one");
    assert!(published.header("x-request-id").is_some_and(|id| id.starts_with("req_")));
}

#[test]
fn the_node_of_an_embedded_store_is_shown_to_master_keys_alone() {
    let server = start(&["--node-name", "here", "--node-address", "http://127.0.0.1:8080"]);
    let answer = ask(&server, MASTER, "GET", "/v1/nodes", None);
    assert_eq!(answer.status, 200, "{}", answer.text());
    let listed = answer.json();
    let (all, node) = (listed["nodes"].as_array().expect("nodes"), &listed["nodes"][0]);
    assert_eq!((all.len(), keys(&listed)), (1, vec!["nodes"]));
    let expected = ["address", "ended_at", "incarnation", "last_heartbeat_at", "name", "release", "slots", "started_at", "state", "this"];
    assert_eq!(keys(node), expected);
    let shown = ["name", "address", "release", "incarnation", "state", "ended_at", "this"].map(|name| &node[name]);
    assert_eq!(json!(shown), json!(["here", "http://127.0.0.1:8080", env!("CARGO_PKG_VERSION"), 1, "alive", null, true]));
    let (admin, _) = make(&server, MASTER, &json!({"namespace": "shop", "scopes": ["read", "admin"]}));
    assert_eq!(refused(&ask(&server, &admin, "GET", "/v1/nodes", None)), code(403, "forbidden"));
    let (reader, _) = make(&server, MASTER, &json!({"scopes": ["read"]}));
    assert_eq!(refused(&ask(&server, &reader, "GET", "/v1/nodes", None)), code(403, "insufficient_scope"));
}
