//! Destinations and bindings: what they are made of, what is refused, and what a delivery through them looks like.

use crate::common::items::{Api, binding, destination};
use crate::common::{Receiver, Reply, Server, keys};
use serde_json::{Value, json};

const SECRETS: [&str; 4] = ["s3cret-of-signing", "s3cret-token-of-bearer", "s3cret-header-value", "s3cret-password"];

fn path(id: &str) -> String {
    format!("/v1/delivery/destinations/{id}")
}

#[test]
fn a_destination_is_made_shown_changed_and_deleted() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let full = json!({
        "name": "billing", "type": "webhook",
        "config": {"url": receiver.url, "headers": {"X-Team": "ops", "X-Gitlab-Token": SECRETS[2]}},
        "auth_config": {"type": "bearer", "token": SECRETS[1]},
        "signing_secret": SECRETS[0],
        "payload_cap_bytes": 2048,
    });
    let answer = api.post("/v1/delivery/destinations", &full);
    assert_eq!(answer.status, 201, "{}", answer.text());
    let made = answer.json();
    let id = made["id"].as_str().expect("an id").to_owned();
    assert_eq!(answer.header("location"), Some(path(&id).as_str()));
    let expected = [
        "config",
        "created_at",
        "disabled_at",
        "disabled_reason",
        "has_auth_config",
        "has_signing_secret",
        "id",
        "is_active",
        "last_delivery_at",
        "last_delivery_status",
        "name",
        "payload_cap_bytes",
        "type",
        "updated_at",
    ];
    assert_eq!(keys(&made), expected);
    assert_eq!(made["config"], json!({"url": receiver.url, "headers": {"X-Team": "ops", "X-Gitlab-Token": "********"}}));
    assert_eq!((&made["has_auth_config"], &made["has_signing_secret"], &made["is_active"]), (&json!(true), &json!(true), &json!(true)));
    assert_eq!(api.get(&path(&id)).json(), made);
    // What is left out stays; what comes back as the mask too.
    let headers = json!({"headers": {"X-Gitlab-Token": "********", "X-Other": "1"}});
    let changed = api.call("PUT", &path(&id), &json!({"name": "renamed", "config": headers, "payload_cap_bytes": null})).json();
    assert_eq!((&changed["name"], &changed["payload_cap_bytes"]), (&json!("renamed"), &Value::Null));
    assert_eq!(changed["config"], json!({"url": receiver.url, "headers": {"X-Gitlab-Token": "********", "X-Other": "1"}}));
    api.make("bindings", &binding(&id, "a.b", json!({})));
    let event = api.publish("a.b", &json!({"n": 1}));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.headers["authorization"], format!("Bearer {}", SECRETS[1]));
    assert_eq!((&*request.headers["x-gitlab-token"], &*request.headers["x-other"]), (SECRETS[2], "1"));
    assert!(!request.headers.contains_key("x-team"));
    assert!(request.headers["x-postrider-signature"].starts_with("t="), "{:?}", request.headers);
    assert_eq!(request.headers["x-postrider-event-id"], event);
    let item = &api.when("/v1/delivery/items", |list| list["items"][0]["status"] == "succeeded")["items"][0];
    assert_eq!(request.headers["x-postrider-delivery-id"], item["id"].as_str().expect("an id"));
    let body: Value = serde_json::from_slice(&request.body).expect("JSON");
    assert_eq!(keys(&body), ["content", "event", "payload"]);
    assert_eq!((&body["payload"], &body["content"], &body["event"]["attempt"]), (&json!({"n": 1}), &Value::Null, &json!(1)));
    assert_eq!(body["event"]["idempotency_key"], item["idempotency_key"]);
    let shown = api.get(&path(&id)).json();
    assert_eq!((&shown["last_delivery_status"], &shown["last_delivery_at"]), (&json!("succeeded"), &item["completed_at"]));
    // Credentials and secret go away when asked to.
    let bare = api.call("PUT", &path(&id), &json!({"auth_config": {"type": "none"}, "signing_secret": null})).json();
    assert_eq!((&bare["has_auth_config"], &bare["has_signing_secret"]), (&json!(false), &json!(false)));
    let gone = api.call("DELETE", &path(&id), &Value::Null);
    assert_eq!((gone.status, gone.json()), (200, json!({"deleted": true, "id": id})));
    assert_eq!(api.get(&path(&id)).status, 404);
    assert_eq!(api.get("/v1/delivery/bindings").json()["total"], 0, "its bindings went with it");
    assert_eq!(api.get("/v1/delivery/destinations").json()["total"], 0);
}

#[test]
fn no_secret_is_in_the_database_or_in_an_answer() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let body = json!({
        "name": "n", "type": "webhook", "signing_secret": SECRETS[0],
        "config": {"url": receiver.url, "headers": {"X-Auth-Token": SECRETS[2]}},
        "auth_config": {"type": "basic", "username": "u", "password": SECRETS[3]},
    });
    let id = api.make("destinations", &body);
    api.make("bindings", &binding(&id, "a.b", json!({})));
    api.publish("a.b", &json!({}));
    let item = api.when("/v1/delivery/items", |list| list["total"] == 1)["items"][0]["id"].as_str().expect("an id").to_owned();
    let mut answers = String::new();
    for path in [path(&id), String::from("/v1/delivery/destinations"), format!("/v1/delivery/items/{item}")] {
        answers.push_str(&api.get(&path).text());
    }
    let refused = api.call("PUT", &path(&id), &json!({"auth_config": {"type": "bearer", "token": format!("{} ", SECRETS[1])}}));
    assert_eq!(refused.status, 400);
    answers.push_str(&refused.text());
    let directory = server.data_dir();
    let (_, kept) = server.stop();
    for entry in std::fs::read_dir(directory).expect("the data directory") {
        answers.push_str(&String::from_utf8_lossy(&std::fs::read(entry.expect("an entry").path()).expect("a file")));
    }
    drop(kept);
    for secret in SECRETS {
        assert!(!answers.contains(secret), "{secret} can be read");
    }
}

#[test]
fn a_receiver_that_refuses_the_credentials_disables_its_destination_until_it_is_updated() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|n| Reply::Status(if n == 0 { 401 } else { 200 }));
    let id = api.make("destinations", &destination(&receiver.url));
    api.make("bindings", &binding(&id, "a.b", json!({})));
    api.publish("a.b", &json!({"n": 0}));
    let letters = api.when("/v1/delivery/dlq", |list| list["total"] == 1);
    assert_eq!(keys(&letters), ["data", "next_cursor", "total"]);
    let letter = &letters["data"][0];
    let fields = ["attempts", "binding_id", "created_at", "error_code", "error_message", "event_id", "id", "last_item_id"];
    assert_eq!(keys(letter), fields);
    assert_eq!((&letter["error_code"], &letter["attempts"]), (&json!("auth_failed"), &json!(1)));
    let disabled = api.when(&path(&id), |shown| shown["is_active"] == false);
    assert_eq!(disabled["disabled_reason"], "auth_failed");
    assert!(disabled["disabled_at"].is_string());
    // What comes meanwhile is parked, and nothing is replayed into a wall.
    api.publish("a.b", &json!({"n": 1}));
    let letter = letter["id"].as_str().expect("an id").to_owned();
    let refused = api.post(&format!("/v1/delivery/dlq/{letter}/replay"), &json!({}));
    assert_eq!((refused.status, &refused.json()["code"]), (409, &json!("conflict")));
    let enabled = api.call("PUT", &path(&id), &json!({"auth_config": {"type": "bearer", "token": "right"}})).json();
    assert_eq!((&enabled["is_active"], &enabled["disabled_reason"]), (&json!(true), &Value::Null));
    receiver.wait_for(2);
    let replayed = api.post(&format!("/v1/delivery/dlq/{letter}/replay"), &json!({}));
    assert_eq!((replayed.status, replayed.json()), (200, json!({"replayed": true})));
    assert_eq!(receiver.wait_for(3)[2].headers["authorization"], "Bearer right");
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 0);
    assert_eq!(api.get(&format!("/v1/delivery/dlq/{letter}")).status, 404);
}

#[test]
fn a_dead_letter_is_dismissed_once() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(404);
    let bound = api.bound(&receiver.url, "a.b", json!({}));
    api.publish("a.b", &json!({}));
    let list = api.when(&format!("/v1/delivery/dlq?binding_id={bound}&error_code=connector_4xx"), |list| list["total"] == 1);
    let id = list["data"][0]["id"].as_str().expect("an id").to_owned();
    assert_eq!(api.get(&format!("/v1/delivery/dlq/{id}")).json(), list["data"][0]);
    let item = list["data"][0]["last_item_id"].as_str().expect("an item").to_owned();
    assert_eq!(api.get(&format!("/v1/delivery/items/{item}")).json()["http_status"], 404);
    let gone = api.call("DELETE", &format!("/v1/delivery/dlq/{id}"), &Value::Null);
    assert_eq!((gone.status, gone.json()), (200, json!({"dismissed": true})));
    assert_eq!(api.call("DELETE", &format!("/v1/delivery/dlq/{id}"), &Value::Null).status, 404);
    assert_eq!(api.get("/v1/delivery/dlq").json()["total"], 0);
}

#[test]
fn bad_destinations_are_refused_with_their_paths_and_nothing_is_stored() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let with = |name: &str, value: Value| {
        let mut body = destination("http://127.0.0.1:9/");
        body[name] = value;
        body
    };
    let config = |config: Value| with("config", config);
    let url = "http://127.0.0.1:9/";
    for (body, wrong) in [
        (json!([]), ""),
        (json!({}), "name"),
        (with("name", json!("")), "name"),
        (with("name", json!(3)), "name"),
        (with("name", json!("x".repeat(201))), "name"),
        (with("type", json!("sftp")), "type"),
        (with("type", Value::Null), "type"),
        (config(json!("x")), "config"),
        (config(json!({})), "config.url"),
        (config(json!({"url": "ftp://a.test/"})), "config.url"),
        (config(json!({"url": "http://10.0.0.1/"})), "config.url"),
        (config(json!({"url": "https://a:b@a.test/"})), "config.url"),
        (config(json!({"url": url, "headers": {"Host": "x"}})), "config.headers.Host"),
        (config(json!({"url": url, "headers": {"X-Postrider-Event": "x"}})), "config.headers.X-Postrider-Event"),
        (config(json!({"url": url, "headers": {"X-A": "a\r\nX-B: c"}})), "config.headers.X-A"),
        (config(json!({"url": url, "headers": {"X-A": 3}})), "config.headers"),
        (config(json!({"url": url, "extra": 1})), "config.extra"),
        (with("auth_config", json!({})), "auth_config.type"),
        (with("auth_config", json!({"type": "digest"})), "auth_config.type"),
        (with("auth_config", json!({"type": "bearer"})), "auth_config.token"),
        (with("auth_config", json!({"type": "bearer", "token": "a b"})), "auth_config.token"),
        (with("auth_config", json!({"type": "bearer", "token": "a", "password": "b"})), "auth_config.password"),
        (with("auth_config", json!({"type": "basic", "username": "a:b", "password": "c"})), "auth_config.username"),
        (with("auth_config", json!({"type": "api_key", "api_key": ""})), "auth_config.api_key"),
        (with("signing_secret", json!("")), "signing_secret"),
        (with("signing_secret", json!("********")), "signing_secret"),
        (with("signing_secret", json!(7)), "signing_secret"),
        (with("payload_cap_bytes", json!(1023)), "payload_cap_bytes"),
        (with("payload_cap_bytes", json!(104_857_601)), "payload_cap_bytes"),
        (with("payload_cap_bytes", json!("1k")), "payload_cap_bytes"),
        (with("is_active", json!("yes")), "is_active"),
        (with("id", json!("mine")), "id"),
    ] {
        let answer = api.post("/v1/delivery/destinations", &body);
        let value = answer.json();
        assert_eq!(
            (answer.status, &value["code"], &value["details"][0]["path"]),
            (400, &json!("validation_error"), &json!(wrong)),
            "{body}"
        );
    }
    assert_eq!(api.get("/v1/delivery/destinations").json()["total"], 0);
}

#[test]
fn bad_bindings_are_refused_with_their_paths_and_the_predicate_they_fail() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let id = api.make("destinations", &destination("http://127.0.0.1:9/"));
    let with = |more: Value| binding(&id, "a.b", more);
    let policy = |policy: Value| with(json!({"delivery_policy": policy}));
    for (body, wrong) in [
        (json!({}), "name"),
        (with(json!({"name": null})), "name"),
        (with(json!({"signal_filter": {}})), "signal_filter.event_type"),
        (with(json!({"signal_filter": {"event_type": "A.b"}})), "signal_filter.event_type"),
        (with(json!({"signal_filter": {"event_type": "delivery.other"}})), "signal_filter.event_type"),
        (with(json!({"signal_filter": {"event_type": "a.b", "match": [1]}})), "signal_filter.match"),
        (with(json!({"deliverable_type": "run"})), "deliverable_type"),
        (with(json!({"serializer_format": "xlsx"})), "serializer_format"),
        (with(json!({"serializer_config": {"x": 1}})), "serializer_config.x"),
        (with(json!({"resolver_config": {"x": 1}})), "resolver_config.x"),
        (with(json!({"destination_id": "1"})), "destination_id"),
        (with(json!({"destination_id": "00000000-0000-0000-0000-000000000000"})), "destination_id"),
        (
            with(json!({"field_map": {"rules": [{"source": "a", "target": "x"}, {"source": "b", "target": "x"}]}})),
            "field_map.rules[1].target",
        ),
        (with(json!({"field_map": 3})), "field_map"),
        (with(json!({"serializer_format": "raw", "field_map": {"drop": ["a"]}})), "field_map"),
        (with(json!({"serializer_format": "raw", "serializer_config": {"envelope": true}})), "serializer_config.envelope"),
        (policy(json!({"max_attempts": 0})), "delivery_policy.max_attempts"),
        (policy(json!({"max_attempts": 21})), "delivery_policy.max_attempts"),
        (policy(json!({"backoff_schedule": []})), "delivery_policy.backoff_schedule"),
        (policy(json!({"backoff_schedule": [1, 604_800_001]})), "delivery_policy.backoff_schedule[1]"),
        (policy(json!({"timeout_ms": 999})), "delivery_policy.timeout_ms"),
        (policy(json!({"rate_limit": {"ratePerSec": 0, "capacity": 1}})), "delivery_policy.rate_limit.ratePerSec"),
        (policy(json!({"rate_limit": {"ratePerSec": 1}})), "delivery_policy.rate_limit.capacity"),
        (policy(json!({"retries": 3})), "delivery_policy.retries"),
        (with(json!({"is_active": 1})), "is_active"),
    ] {
        let answer = api.post("/v1/delivery/bindings", &body);
        let value = answer.json();
        assert_eq!(
            (answer.status, &value["code"], &value["details"][0]["path"]),
            (400, &json!("validation_error"), &json!(wrong)),
            "{body}: {value}"
        );
    }
    let incompatible = api.post("/v1/delivery/bindings", &with(json!({"serializer_format": "xlsx"}))).json();
    assert!(incompatible["message"].as_str().is_some_and(|text| text.contains("predicate 3")), "{incompatible}");
    assert_eq!(api.get("/v1/delivery/bindings").json()["total"], 0);
}

#[test]
fn a_binding_says_what_it_sends_and_an_update_holds_from_the_next_event_on() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let destination = api.make("destinations", &destination(&receiver.url));
    let more = json!({
        "signal_filter": {"event_type": "order.paid", "match": {"country": "DE"}},
        "serializer_config": {"envelope": false},
        "field_map": {"drop": ["secret"], "rules": [{"source": "customer.name", "target": "name"}], "static": {"v": 1}},
        "delivery_policy": {"max_attempts": 3, "backoff_schedule": [1000, 2000], "rate_limit": {"ratePerSec": 100, "capacity": 10}},
    });
    let id = api.make("bindings", &binding(&destination, "", more));
    let path = format!("/v1/delivery/bindings/{id}");
    let shown = api.get(&path).json();
    let fields = [
        "created_at",
        "deliverable_type",
        "delivery_policy",
        "destination_id",
        "field_map",
        "id",
        "is_active",
        "last_status",
        "name",
        "resolver_config",
        "serializer_config",
        "serializer_format",
        "signal_filter",
        "updated_at",
    ];
    assert_eq!(keys(&shown), fields);
    assert_eq!((&shown["resolver_config"], &shown["serializer_config"]), (&Value::Null, &json!({"envelope": false})));
    // What a configuration leaves out has its default, as where there is none.
    for (config, envelope) in
        [(json!({}), true), (json!({"envelope": false}), false), (Value::Null, true), (json!({"envelope": false}), false)]
    {
        let changed = api.call("PUT", &path, &json!({"serializer_config": config})).json();
        assert_eq!(changed["serializer_config"], json!({"envelope": envelope}), "{config}");
    }
    assert_eq!(shown["signal_filter"], json!({"event_type": "order.paid", "match": {"country": "DE"}}));
    let policy = json!({"max_attempts": 3, "backoff_schedule": [1000, 2000], "timeout_ms": 30_000, "rate_limit": {"ratePerSec": 100.0, "capacity": 10}});
    assert_eq!((&shown["delivery_policy"], &shown["last_status"]), (&policy, &Value::Null));
    let payload = |country: &str| json!({"country": country, "secret": "x", "customer": {"name": "Ann", "id": 1}});
    api.publish("order.paid", &payload("FR"));
    api.publish("order.paid", &payload("DE"));
    let body: Value = serde_json::from_slice(&receiver.wait_for(1)[0].body).expect("JSON");
    assert_eq!(body, json!({"country": "DE", "customer": {"id": 1}, "name": "Ann", "v": 1}));
    let changed =
        api.call("PUT", &path, &json!({"serializer_format": "csv", "field_map": null, "signal_filter": {"event_type": "order.paid"}}));
    assert_eq!(changed.status, 200, "{}", changed.text());
    assert_eq!((&changed.json()["serializer_format"], &changed.json()["field_map"]), (&json!("csv"), &Value::Null));
    api.publish("order.paid", &json!({"a": 1, "b": "x,y"}));
    let request = &receiver.wait_for(2)[1];
    assert_eq!(String::from_utf8_lossy(&request.body), "a,b\r\n1,\"x,y\"\r\n");
    assert!(request.headers["content-type"].starts_with("text/csv"));
    // An event that nobody wants is there all the same, and says so.
    let event = api.publish("order.unknown", &json!({}));
    let shown = api.get(&format!("/v1/delivery/events/{event}")).json();
    assert_eq!((&shown["processing_status"], &shown["payload"]), (&json!("no-subscribers"), &json!({})));
    let events = api.get("/v1/delivery/events?event_type=order.paid&limit=2").json();
    assert_eq!((&events["total"], events["data"].as_array().map(Vec::len)), (&json!(3), Some(2)));
    let off = api.call("PUT", &path, &json!({"is_active": false})).json();
    assert_eq!((&off["is_active"], &off["serializer_format"]), (&json!(false), &json!("csv")));
    let gone = api.call("DELETE", &path, &Value::Null);
    assert_eq!((gone.status, gone.json()), (200, json!({"deleted": true, "id": id})));
    assert_eq!(api.get(&path).status, 404);
    assert_eq!(api.get(&format!("/v1/delivery/items?binding_id={id}")).json()["total"], 2, "its history stays");
}

#[test]
fn meta_events_follow_outcomes_and_make_no_loop() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let (good, bad, watcher) = (Receiver::answering(200), Receiver::answering(404), Receiver::answering(200));
    let watching = api.make("destinations", &destination(&watcher.url));
    for event_type in ["delivery.item.completed", "delivery.item.failed"] {
        api.make("bindings", &binding(&watching, event_type, json!({})));
    }
    let one = api.bound(&good.url, "a.b", json!({}));
    let two = api.bound(&bad.url, "a.b", json!({}));
    let event = api.publish("a.b", &json!({}));
    let mut seen: Vec<Value> = watcher.wait_for(2).iter().map(|r| serde_json::from_slice(&r.body).expect("JSON")).collect();
    seen.sort_by_key(|body| body["event"]["event_type"].to_string());
    let fields =
        ["attempts", "binding_id", "destination_id", "error_code", "http_status", "item_id", "source_event_id", "source_event_type"];
    for (body, bound, status, code) in [(&seen[0], &one, 200, Value::Null), (&seen[1], &two, 404, json!("connector_4xx"))] {
        let payload = &body["payload"];
        assert_eq!(keys(payload), fields);
        assert_eq!((&payload["binding_id"], &payload["source_event_id"]), (&json!(bound), &json!(event)));
        assert_eq!((&payload["http_status"], &payload["error_code"]), (&json!(status), &code));
    }
    // Two deliveries, and two of what followed from them; nothing follows from those.
    api.when("/v1/delivery/items?status=succeeded", |list| list["total"] == 3);
    assert_eq!(api.get("/v1/delivery/events").json()["total"], 3);
}

#[test]
fn the_catalogs_are_there() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    for (name, first) in [("signals", "delivery.item.completed"), ("deliverables", "event"), ("connectors", "webhook")] {
        let table = api.get(&format!("/v1/delivery/catalog/{name}")).json();
        assert_eq!(table["data"][0]["type"], first, "{name}");
    }
    assert_eq!(api.get("/v1/delivery/catalog/serializers").json()["data"][0]["format"], "json");
}
