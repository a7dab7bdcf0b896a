//! The published page of the Items API, to the letter: history of attempts, one of them, and replaying it.

mod common;

use common::items::{Api, binding, destination};
use common::{Receiver, Reply, Server, keys};
use serde_json::{Value, json};

const LISTED: [&str; 12] = [
    "attempt",
    "binding_id",
    "completed_at",
    "created_at",
    "duration_ms",
    "error_code",
    "error_message",
    "event_id",
    "http_status",
    "id",
    "idempotency_key",
    "status",
];

fn is_time(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    // 2024-09-15T11:00:00.000Z
    text.len() == 24 && text.ends_with('Z') && &text[19..20] == "." && &text[10..11] == "T"
}

fn check_types(item: &Value) {
    for name in ["id", "binding_id", "event_id", "idempotency_key", "status", "created_at"] {
        assert!(item[name].is_string(), "{name}: {item}");
    }
    assert!(item["event_id"].as_str().is_some_and(|id| id.bytes().all(|b| b.is_ascii_digit())), "{item}");
    assert!(item["attempt"].as_u64().is_some_and(|n| n >= 1), "{item}");
    assert!(is_time(&item["created_at"]), "{item}");
    for name in ["http_status", "duration_ms"] {
        assert!(item[name].is_null() || item[name].is_u64(), "{name}: {item}");
    }
    for name in ["error_code", "error_message"] {
        assert!(item[name].is_null() || item[name].is_string(), "{name}: {item}");
    }
    let ended = item["status"] != "in_flight";
    assert_eq!((is_time(&item["completed_at"]), item["duration_ms"].is_u64()), (ended, ended), "{item}");
}

#[test]
fn the_list_and_the_detail_have_the_fields_of_the_page() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let id = api.bound(&receiver.url, "invoice.paid", json!({"serializer_config": {"envelope": false}}));
    let payload = json!({"vendor": "Acme Corp", "total": 4950});
    let event = api.publish("invoice.paid", &payload);
    let list = api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "succeeded");
    assert_eq!(keys(&list), ["items", "next_cursor", "total"]);
    assert_eq!((&list["total"], &list["next_cursor"]), (&json!(1), &Value::Null));
    let item = &list["items"][0];
    assert_eq!(keys(item), LISTED);
    check_types(item);
    assert_eq!((&item["binding_id"], &item["event_id"], &item["attempt"]), (&json!(id), &json!(event), &json!(1)));
    assert_eq!((&item["http_status"], &item["error_code"], &item["error_message"]), (&json!(200), &Value::Null, &Value::Null));
    let detail = api.get(&format!("/v1/delivery/items/{}", item["id"].as_str().expect("an id")));
    assert_eq!(detail.status, 200);
    let detail = detail.json();
    let mut expected = LISTED.to_vec();
    expected.extend(["request_body", "request_truncated", "response_body", "response_truncated"]);
    expected.sort_unstable();
    assert_eq!(keys(&detail), expected);
    assert_eq!(detail["request_body"], payload.to_string(), "the bytes that were published");
    assert!(detail["response_body"].is_string(), "{detail}");
    for name in LISTED {
        assert_eq!(detail[name], item[name], "{name}");
    }
    // Its key is the one on the wire.
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.headers["idempotency-key"], item["idempotency_key"].as_str().expect("a key"));
    assert_eq!(item["idempotency_key"].as_str().map(str::len), Some(32));
}

#[test]
fn an_attempt_under_way_is_in_flight_and_cannot_be_replayed() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|_| Reply::Stall);
    api.bound(&receiver.url, "a.b", json!({}));
    api.publish("a.b", &json!({}));
    let list = api.when("/v1/delivery/items?status=in_flight", |list| list["total"] == 1);
    let item = &list["items"][0];
    assert_eq!(keys(item), LISTED);
    check_types(item);
    for name in ["http_status", "error_code", "error_message", "duration_ms", "completed_at"] {
        assert_eq!(item[name], Value::Null, "{name}");
    }
    let id = item["id"].as_str().expect("an id");
    let refused = api.post(&format!("/v1/delivery/items/{id}/replay"), &json!({}));
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("conflict")));
    receiver.release();
    let list = api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "succeeded");
    assert_eq!((&list["items"][0]["id"], &list["total"]), (&json!(id), &json!(1)), "the same item, ended");
}

#[test]
fn a_replay_has_the_same_key_and_the_next_number() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 500 } else { 200 }));
    api.bound(&receiver.url, "a.b", json!({"delivery_policy": {"max_attempts": 1}}));
    api.publish("a.b", &json!({"n": 1}));
    let failed = api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "failed");
    let item = &failed["items"][0];
    assert_eq!((&item["error_code"], &item["error_message"]), (&json!("connector_5xx"), &json!("HTTP 500")));
    let path = format!("/v1/delivery/items/{}/replay", item["id"].as_str().expect("an id"));
    let answer = api.post(&path, &json!({}));
    assert_eq!((answer.status, answer.json()), (200, json!({"enqueued": true, "idempotency_key": item["idempotency_key"]})));
    let list = api.when("/v1/delivery/items", |list| list["total"] == 2 && list["items"][0]["status"] == "succeeded");
    let again = &list["items"][0];
    assert_eq!((&again["attempt"], &again["idempotency_key"]), (&json!(2), &item["idempotency_key"]));
    let requests = receiver.wait_for(2);
    assert_eq!(requests[0].headers["idempotency-key"], requests[1].headers["idempotency-key"]);
    // What succeeded may be replayed too.
    assert_eq!(api.post(&path, &json!({})).status, 200);
    api.when("/v1/delivery/items", |list| list["total"] == 3 && list["items"][0]["attempt"] == 3);
    // The page's errors.
    let unknown = api.post("/v1/delivery/items/00000000-0000-0000-0000-000000000000/replay", &json!({}));
    assert_eq!((unknown.status, &unknown.json()["code"]), (404, &json!("not_found")));
    assert_eq!(api.post("/v1/delivery/items/nonsense/replay", &json!({})).status, 404);
    assert_eq!(api.get("/v1/delivery/items/nonsense").status, 404);
    let nobody = server.get("/v1/delivery/items");
    assert_eq!((nobody.status, &nobody.json()["code"]), (401, &json!("unauthorized")));
}

/// The contract's table of section 7: the dead letter goes when the replay succeeds, not before, and a second failure replaces it.
#[test]
fn a_replayed_item_keeps_its_dead_letter_until_it_succeeds() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 2 { 500 } else { 200 }));
    api.bound(&receiver.url, "a.b", json!({"delivery_policy": {"max_attempts": 1}}));
    api.publish("a.b", &json!({}));
    let first = api.when("/v1/delivery/dlq", |list| list["total"] == 1)["data"][0].clone();
    let replay = format!("/v1/delivery/items/{}/replay", first["last_item_id"].as_str().expect("an id"));
    assert_eq!(api.post(&replay, &json!({})).status, 200);
    let again = api.when("/v1/delivery/dlq", |list| list["data"][0]["attempts"] == 2);
    assert_eq!((&again["total"], again["data"][0]["id"] == first["id"]), (&json!(1), false));
    assert_eq!(api.post(&replay, &json!({})).status, 200);
    api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "succeeded");
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 0);
}

#[test]
fn totals_are_right_under_every_filter() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let (good, bad) = (Receiver::answering(200), Receiver::answering(404));
    let (to_good, to_bad) = (api.make("destinations", &destination(&good.url)), api.make("destinations", &destination(&bad.url)));
    let one = api.make("bindings", &binding(&to_good, "a.one", json!({})));
    let two = api.make("bindings", &binding(&to_good, "a.two", json!({})));
    let three = api.make("bindings", &binding(&to_bad, "a.two", json!({})));
    let first = api.publish("a.one", &json!({}));
    let others: Vec<String> = (0..3).map(|n| api.publish("a.two", &json!({"n": n}))).collect();
    api.when("/v1/delivery/items", |list| list["total"] == 7);
    let total = |filter: &str| {
        let list = api.get(&format!("/v1/delivery/items?{filter}")).json();
        let items = list["items"].as_array().expect("items").len() as u64;
        assert_eq!(list["total"].as_u64(), Some(items), "{filter}: {list}");
        items
    };
    for (filter, expected) in [
        (format!("binding_id={one}"), 1),
        (format!("binding_id={two}"), 3),
        (format!("binding_id={three}&status=failed"), 3),
        (format!("binding_id={three}&status=succeeded"), 0),
        (format!("destination_id={to_good}"), 4),
        (format!("destination_id={to_bad}"), 3),
        (format!("destination_id={to_good}&status=succeeded"), 4),
        (format!("destination_id={to_good}&binding_id={three}"), 0),
        (String::from("status=succeeded"), 4),
        (String::from("status=failed"), 3),
        (String::from("status=in_flight"), 0),
        (String::from("error_code=connector_4xx"), 3),
        (String::from("error_code=connector_5xx"), 0),
        (format!("event_id={first}"), 1),
        (format!("event_id={}", others[0]), 2),
        (format!("event_id={}&status=failed", others[0]), 1),
        (String::from("created_after=2020-01-01T00:00:00Z"), 7),
        (String::from("created_before=2020-01-01T00:00:00Z"), 0),
        (String::from("unknown_filter=1"), 7),
    ] {
        assert_eq!(total(&filter), expected, "{filter}");
    }
    for wrong in ["status=done", "binding_id=1", "limit=0", "limit=501", "cursor=x", "created_after=yesterday", "page=0", "error_code=x"] {
        let answer = api.get(&format!("/v1/delivery/items?{wrong}"));
        let name = wrong.split('=').next().expect("a name");
        assert_eq!((answer.status, &answer.json()["details"][0]["path"]), (400, &json!(name)), "{wrong}");
    }
    // Pages, by cursor and by number, show each item once, newest first.
    let mut seen = Vec::new();
    let mut path = String::from("/v1/delivery/items?limit=3");
    loop {
        let list = api.get(&path).json();
        assert_eq!(list["total"], 7);
        seen.extend(list["items"].as_array().expect("items").iter().map(|item| item["id"].as_str().expect("an id").to_owned()));
        match list["next_cursor"].as_str() {
            Some(cursor) => path = format!("/v1/delivery/items?limit=3&cursor={cursor}"),
            None => break,
        }
    }
    assert!(seen.len() == 7 && seen.windows(2).all(|two| two[0] > two[1]), "{seen:?}");
    let third = api.get("/v1/delivery/items?limit=3&page=3").json();
    assert_eq!(third["items"][0]["id"], json!(seen[6]));
}

#[test]
fn a_master_key_sees_all_and_changes_nothing() {
    const MASTER: &str = "a-master-key-of-this-test";
    let server = Server::start(tempfile::tempdir().expect("a directory"), &["--dev"], &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    api.bound(&receiver.url, "a.b", json!({}));
    api.publish("a.b", &json!({}));
    let list = api.when("/v1/delivery/items", |list| list["total"] == 1);
    let id = list["items"][0]["id"].as_str().expect("an id").to_owned();
    let master = Api::with_key(&server, MASTER);
    let all = master.get("/v1/delivery/items").json();
    assert_eq!((&all["total"], &all["items"][0]["customer_id"]), (&json!(1), &json!("default")));
    assert_eq!(master.get("/v1/delivery/items?customer_id=other").json()["total"], 0);
    for (method, path) in [
        ("POST", format!("/v1/delivery/items/{id}/replay")),
        ("POST", format!("/v1/delivery/dlq/{id}/replay")),
        ("DELETE", format!("/v1/delivery/dlq/{id}")),
        ("POST", String::from("/v1/delivery/destinations")),
        ("POST", String::from("/v1/delivery/bindings")),
        ("POST", String::from("/v1/delivery/events")),
    ] {
        let answer = master.call(method, &path, &json!({}));
        assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")), "{method} {path}");
    }
}
