//! The published page of the Items API, to the letter: history of attempts, one of them, and replaying it.

use crate::common::items::{Api, binding, destination};
use crate::common::{Receiver, Reply, Server, keys};
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

fn is_uuid(value: &Value) -> bool {
    let text = value.as_str().unwrap_or_default();
    let places =
        text.char_indices().all(|(at, c)| if [8, 13, 18, 23].contains(&at) { c == '-' } else { matches!(c, '0'..='9' | 'a'..='f') });
    text.len() == 36 && places
}

/// "SHA-256 idempotency key": the first half of that of `binding:event` (contract, section 10).
fn idempotency_key(item: &Value) -> String {
    let text = format!("{}:{}", item["binding_id"].as_str().expect("an id"), item["event_id"].as_str().expect("an id"));
    let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, text.as_bytes());
    postrider_core::hex::encode(&digest.as_ref()[..16])
}

fn check_types(item: &Value) {
    for name in ["id", "binding_id"] {
        assert!(is_uuid(&item[name]), "{name}: {item}");
    }
    assert_eq!(item["idempotency_key"], json!(idempotency_key(item)));
    assert!(["in_flight", "succeeded", "failed"].iter().any(|status| item["status"] == *status), "{item}");
    // An error has both of its fields, and there is one where it failed.
    assert_eq!([item["error_code"].is_string(), item["error_message"].is_string()], [item["status"] == "failed"; 2], "{item}");
    // The times are those of one attempt.
    assert!(item["completed_at"].as_str().is_none_or(|end| Some(end) >= item["created_at"].as_str()), "{item}");
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

/// Each way to end has its status and its nulls, in the list and in the detail.
#[test]
fn what_has_ended_says_how() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let (good, bad) = (Receiver::answering(204), Receiver::answering(404));
    for (url, event_type) in [(good.url.as_str(), "a.good"), (&bad.url, "a.bad"), ("http://127.0.0.1:1/", "a.nowhere")] {
        api.bound(url, event_type, json!({"delivery_policy": {"max_attempts": 1}, "serializer_config": {"envelope": false}}));
        api.publish(event_type, &json!({"n": 1}));
    }
    let list = api.when("/v1/delivery/items", |list| {
        let items = list["items"].as_array().expect("items");
        items.len() == 3 && items.iter().all(|item| item["status"] != "in_flight")
    });
    let mut seen = Vec::new();
    for item in list["items"].as_array().expect("items") {
        assert_eq!(keys(item), LISTED);
        check_types(item);
        let detail = api.get(&format!("/v1/delivery/items/{}", item["id"].as_str().expect("an id"))).json();
        check_types(&detail);
        for name in LISTED {
            assert_eq!(detail[name], item[name], "{name}");
        }
        assert_eq!(detail["request_body"], r#"{"n":1}"#);
        assert_eq!(detail["response_body"], if item["http_status"].is_null() { Value::Null } else { json!("") });
        seen.push((item["status"].clone(), item["http_status"].clone(), item["error_code"].clone()));
    }
    seen.sort_by_key(|(status, http_status, _)| (status.to_string(), http_status.to_string()));
    let failed = json!("failed");
    assert_eq!(
        seen,
        [
            (failed.clone(), json!(404), json!("connector_4xx")),
            (failed, Value::Null, json!("connection_error")),
            (json!("succeeded"), json!(204), Value::Null),
        ]
    );
}

/// "Truncated request body (up to 10 KB)": of bytes, cut between characters.
#[test]
fn long_bodies_are_cut_in_the_detail_and_whole_on_the_wire() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    api.bound(&receiver.url, "a.b", json!({"serializer_config": {"envelope": false}}));
    let mut lengths = Vec::new();
    // 10,240 bytes, one more, and one more with a character of two bytes at the cut.
    for text in ["x".repeat(10_232), "x".repeat(10_233), format!("{}é", "x".repeat(10_232)), format!("{}é", "x".repeat(10_233))] {
        let id = api.publish("a.b", &json!({"n": text}));
        let path = format!("/v1/delivery/items?event_id={id}&status=succeeded");
        let item = api.when(&path, |list| list["total"] == 1)["items"][0]["id"].as_str().expect("an id").to_owned();
        let detail = api.get(&format!("/v1/delivery/items/{item}")).json();
        let shown = detail["request_body"].as_str().expect("a body");
        let sent = receiver.wait_for(lengths.len() + 1).last().expect("a request").body.clone();
        assert!(sent.starts_with(shown.as_bytes()), "what is shown is how it begins");
        lengths.push((sent.len(), shown.len(), detail["request_truncated"] == true));
    }
    assert_eq!(lengths, [(10_240, 10_240, false), (10_241, 10_240, true), (10_242, 10_240, true), (10_243, 10_239, true)]);
}

/// The page's table of errors, for each of its three endpoints; 400 and 429 have tests of their own.
#[test]
fn the_errors_of_the_page_are_those_of_every_endpoint() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let id = "e5f6a7b8-c9d0-1234-efab-456789012345";
    let envelope = ["code", "error", "message", "path", "request_id", "retryable", "statusCode", "timestamp"];
    for (method, path, has_id) in [
        ("GET", String::from("/v1/delivery/items"), false),
        ("GET", format!("/v1/delivery/items/{id}"), true),
        ("POST", format!("/v1/delivery/items/{id}/replay"), true),
    ] {
        let wrong = [
            ("x-api-key", "nobody's"),
            ("authorization", "Bearer nobody's"),
            ("authorization", "Basic bm8="),
            ("authorization", "nobody's"),
        ];
        let missing = server.call(method, &path, &[], b"");
        for answer in wrong.map(|header| server.call(method, &path, &[header], b"")).iter().chain([&missing]) {
            let value = answer.json();
            assert_eq!(keys(&value), envelope);
            assert_eq!(
                (answer.status, &value["statusCode"], &value["code"]),
                (401, &json!(401), &json!("unauthorized")),
                "{method} {path}"
            );
            assert_eq!((&value["error"], &value["path"], &value["retryable"]), (&json!("Unauthorized"), &json!(path), &json!(false)));
            assert_eq!(answer.header("www-authenticate"), Some("Bearer"));
        }
        if has_id {
            let answer = api.call(method, &path, &Value::Null);
            let value = answer.json();
            assert_eq!(keys(&value), envelope);
            assert_eq!((answer.status, &value["statusCode"], &value["code"]), (404, &json!(404), &json!("not_found")), "{method} {path}");
            assert!(is_time(&value["timestamp"]) && value["message"].as_str().is_some_and(|text| !text.is_empty()), "{value}");
        }
    }
}

/// `total` against the whole list, counted here: every filter alone, and every two of them, while one attempt is under way.
#[test]
fn totals_are_right_under_every_pair_of_filters() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let (good, bad, stalled) = (Receiver::answering(200), Receiver::answering(404), Receiver::scripted(|_| Reply::Stall));
    let mut destination_of = std::collections::BTreeMap::new();
    let mut filters: Vec<(&str, String)> = Vec::new();
    for receiver in [&good, &bad, &stalled] {
        let to = api.make("destinations", &destination(&receiver.url));
        for event_type in ["a.one", "a.two"] {
            let bound = api.make("bindings", &binding(&to, event_type, json!({"delivery_policy": {"timeout_ms": 120_000}})));
            filters.push(("binding_id", bound.clone()));
            destination_of.insert(bound, to.clone());
        }
        filters.push(("destination_id", to));
    }
    for event_type in ["a.one", "a.two", "a.one"] {
        filters.push(("event_id", api.publish(event_type, &json!({}))));
    }
    // Where nothing was heard yet there is one attempt at a time.
    for (status, count) in [("in_flight", 1), ("failed", 3), ("succeeded", 3)] {
        api.when(&format!("/v1/delivery/items?status={status}"), |list| list["total"] == count);
    }
    let all = api.get("/v1/delivery/items?limit=500").json()["items"].as_array().expect("items").clone();
    assert_eq!(all.len(), 7);
    filters.extend(["in_flight", "succeeded", "failed"].map(|status| ("status", status.to_owned())));
    filters.extend(["connector_4xx", "connector_5xx"].map(|code| ("error_code", code.to_owned())));
    for place in [0, 3, 6] {
        let at = all[place]["created_at"].as_str().expect("a time").to_owned();
        filters.extend([("created_after", at.clone()), ("created_before", at)]);
    }
    let holds = |item: &Value, name: &str, value: &str| match name {
        "destination_id" => destination_of[item["binding_id"].as_str().expect("an id")] == value,
        "created_after" => item["created_at"].as_str() >= Some(value),
        "created_before" => item["created_at"].as_str() < Some(value),
        _ => item[name] == value,
    };
    for (n, one) in filters.iter().enumerate() {
        for two in filters[n..].iter().filter(|two| two.0 != one.0 || *two == one) {
            let both: Vec<_> = if one == two { vec![one] } else { vec![one, two] };
            let query: Vec<_> = both.iter().map(|(name, value)| format!("{name}={value}")).collect();
            let answer = api.get(&format!("/v1/delivery/items?{}", query.join("&")));
            let value = answer.json();
            let expected: Vec<_> = all.iter().filter(|item| both.iter().all(|(name, value)| holds(item, name, value))).collect();
            let found: Vec<_> = value["items"].as_array().expect("items").iter().collect();
            assert_eq!((value["total"].as_u64(), found), (Some(expected.len() as u64), expected), "{query:?}");
        }
    }
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

/// What failed and is still being retried comes at once, and whoever asks again hears the same.
#[test]
fn a_replay_of_what_is_being_retried_brings_the_next_attempt_forward() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n < 2 { 500 } else { 200 }));
    // The first gap waits in the engine's memory, the second is left to the store.
    api.bound(&receiver.url, "a.b", json!({"delivery_policy": {"backoff_schedule": [30_000, 3_600_000]}}));
    let event = api.publish("a.b", &json!({}));
    let items = format!("/v1/delivery/items?event_id={event}");
    let first = api.when(&items, |list| list["items"][0]["status"] == "failed")["items"][0].clone();
    let replay = format!("/v1/delivery/items/{}/replay", first["id"].as_str().expect("an id"));
    for (attempts, status) in [(2, "failed"), (3, "succeeded")] {
        let answer = api.post(&replay, &json!({}));
        assert_eq!((answer.status, &answer.json()["idempotency_key"]), (200, &first["idempotency_key"]), "{}", answer.text());
        api.when(&items, |list| list["total"] == attempts && list["items"][0]["status"] == status);
    }
    assert_eq!(receiver.count(), 3);
}

/// An item that succeeded has no error code: asking for both finds nothing, and is no mistake.
#[test]
fn filters_that_exclude_each_other_find_nothing() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(404);
    api.bound(&receiver.url, "a.b", json!({}));
    api.publish("a.b", &json!({}));
    api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "failed");
    let list = |filter: &str| api.get(&format!("/v1/delivery/items?{filter}"));
    assert_eq!(list("status=failed&error_code=connector_4xx").json()["total"], 1);
    for status in ["succeeded", "in_flight"] {
        let answer = list(&format!("status={status}&error_code=connector_4xx"));
        assert_eq!((answer.status, answer.json()), (200, json!({"items": [], "total": 0, "next_cursor": null})));
        let wrong = list(&format!("status={status}&error_code=connector_4xx&created_after=soon"));
        assert_eq!((wrong.status, &wrong.json()["details"][0]["path"]), (400, &json!("created_after")));
    }
}
