//! `postrider.v1.EndpointService`: subscriptions whole, changed by the rules of the API that made them, and previews.

use crate::common::items::{Api, binding, destination};
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Server};
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const URL: &str = "https://hooks.example.com/in";
const ENDPOINT: &str = "postrider.v1.EndpointService/GetEndpoint";
const GET: &str = "postrider.v1.EndpointService/GetSubscription";
const UPDATE: &str = "postrider.v1.EndpointService/UpdateSubscription";
const PREVIEW: &str = "postrider.v1.EndpointService/PreviewSubscription";

/// Subscribes a webhook over the RPC API; answers the id.
fn subscribe(rpc: &Rpc<'_>, webhook: &str, event: &str, more: Value) -> String {
    let mut request = json!({"webhook_id": webhook, "event_name": event});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    let made = rpc.ask("SubscriptionService/CreateSubscription", &request);
    made["subscriptionId"].as_str().expect("an id").to_owned()
}

fn get(rpc: &Rpc<'_>, id: &str) -> Value {
    rpc.ask(GET, &json!({"subscription_id": id}))["subscription"].clone()
}

fn with(id: &str, more: &Value) -> Value {
    let mut request = json!({"subscription_id": id});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

fn update(rpc: &Rpc<'_>, id: &str, more: &Value) -> Value {
    let changed = rpc.ask(UPDATE, &with(id, more))["subscription"].clone();
    assert_eq!(changed, get(rpc, id));
    changed
}

/// Each of these changes is refused with that code, and the message says so.
fn refused(rpc: &Rpc<'_>, id: &str, changes: &[(Value, &str, &str)]) {
    let before = get(rpc, id);
    for (more, code, part) in changes {
        let (_, found, message) = rpc.refused(UPDATE, &with(id, more));
        assert_eq!(found, *code, "{more}: {message}");
        assert!(message.contains(part), "{message}");
    }
    assert_eq!(get(rpc, id), before, "nothing has changed");
}

#[test]
fn subscriptions_are_shown_whole_whichever_api_made_them() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let (webhook, _) = rpc.register(URL, json!({"http_config": {"max_retries": 2, "retry_backoff_seconds": 60}}));
    let template =
        json!({"transform_enabled": true, "transform_template": "{{.attempt}}", "label_filters": {"tier": "gold"}, "timeout": 9});
    let own = subscribe(&rpc, &webhook, "order.paid", template);
    let shown = get(&rpc, &own);
    let mut expected = json!({
        "subscriptionId": own, "namespace": "default", "endpointId": webhook, "origin": "rpc", "active": true, "eventTypes": ["order.paid"],
        "labels": {"tier": "gold"}, "body": "template", "template": "{{.attempt}}", "templateEnabled": true, "method": "POST",
        "timeoutSeconds": 9.0, "maxAttempts": 3, "gapsSeconds": [60.0, 120.0], "deliveries": {},
    });
    for time in ["createdAt", "updatedAt"] {
        expected[time] = shown[time].clone();
    }
    assert_eq!(shown, expected);
    let to = api.make("destinations", &destination(URL));
    let fields =
        json!({"signal_filter": {"event_type": "a.b", "match": {"n": 1}}, "serializer_format": "ndjson", "field_map": {"drop": ["x"]}});
    let bound = get(&rpc, &api.make("bindings", &binding(&to, "a.b", fields)));
    assert_eq!(
        (&bound["origin"], &bound["body"], &bound["format"], &bound["envelope"]),
        (&json!("items"), &json!("items"), &json!("ndjson"), &json!(true))
    );
    let map: Value = serde_json::from_str(bound["fieldMap"].as_str().expect("a map")).expect("JSON");
    assert_eq!((&map["drop"], &bound["match"], &bound["name"]), (&json!(["x"]), &json!("{\"n\":1}"), &json!("a binding")));
    let task = server.subscribe(&json!({"target_url": URL, "event_types": "a.*,b"}));
    let shown = get(&rpc, &task);
    assert_eq!((&shown["origin"], &shown["body"], &shown["eventTypes"]), (&json!("tasks"), &json!("raw"), &json!(["a.*", "b"])));
    assert_eq!((&shown["maxAttempts"], &shown["gapsSeconds"]), (&json!(5), &json!([10.0, 30.0, 60.0, 300.0])));
    // An endpoint has its own ones with it, the newest first.
    let newer = subscribe(&rpc, &webhook, "order.made", json!({}));
    let whole = rpc.ask(ENDPOINT, &json!({"endpoint_id": webhook}));
    let ids: Vec<&Value> =
        whole["subscriptions"].as_array().expect("some").iter().map(|subscription| &subscription["subscriptionId"]).collect();
    assert_eq!(ids, [&json!(newer), &json!(own)]);
    let settings = &whole["settings"];
    assert_eq!((&settings["auth"], &settings["maxAttempts"], &settings["schemes"]), (&json!("none"), &json!(3), &json!(["standard"])));
    assert_eq!(
        (&settings["timeoutSeconds"], &settings["followRedirects"], &settings["verifyTls"]),
        (&json!(30.0), &json!(true), &json!(true))
    );
    assert_eq!((&settings["expectedStatusCodes"], &whole["endpoint"]["subscriptions"]), (&json!([200, 201, 202, 204]), &json!(2)));
    for request in [json!({"subscription_id": NOBODY}), json!({"subscription_id": webhook})] {
        assert_eq!(rpc.refused(GET, &request).1, "not_found", "{request}");
    }
}

#[test]
fn a_subscription_of_a_webhook_is_changed_by_its_rules() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({}));
    let id = subscribe(&rpc, &webhook, "order.paid", json!({}));
    subscribe(&rpc, &webhook, "order.made", json!({}));
    let before = get(&rpc, &id);
    assert_eq!(update(&rpc, &id, &json!({})), before, "what is not sent stays");
    let conditions = json!({"conditions": {"event_types": ["order.*"], "labels": {"tier": "gold"}}, "name": "orders", "active": false});
    let changed = update(&rpc, &id, &conditions);
    assert_eq!((&changed["eventTypes"], &changed["labels"], changed.get("active")), (&json!(["order.*"]), &json!({"tier": "gold"}), None));
    assert_eq!((&changed["name"], &changed["createdAt"]), (&json!("orders"), &before["createdAt"]));
    let templated = update(&rpc, &id, &json!({"template": "{{json .payload}}", "template_enabled": true, "active": true}));
    assert_eq!((&templated["body"], &templated["templateEnabled"], &templated["active"]), (&json!("template"), &json!(true), &json!(true)));
    let kept = update(&rpc, &id, &json!({"template_enabled": false}));
    assert_eq!((&kept["body"], &kept["template"], kept.get("templateEnabled")), (&json!("rpc"), &json!("{{json .payload}}"), None));
    let plain = update(&rpc, &id, &json!({"template": ""}));
    assert_eq!((&plain["body"], plain.get("template")), (&json!("rpc"), None));
    refused(
        &rpc,
        &id,
        &[
            (json!({"conditions": {"event_types": []}}), "invalid_argument", "exactly one"),
            (json!({"conditions": {"event_types": ["a", "b"]}}), "invalid_argument", "exactly one"),
            (json!({"conditions": {"event_types": ["order.made"]}}), "already_exists", "subscription to this event type"),
            (json!({"conditions": {"event_types": ["a b"]}}), "invalid_argument", "conditions.event_types"),
            (json!({"conditions": {"event_types": ["a"], "labels": {"k k": "v"}}}), "invalid_argument", "conditions.labels"),
            (json!({"conditions": {"event_types": ["a"], "match": "{\"n\":1}"}}), "failed_precondition", "Items API"),
            (json!({"template": "{{"}), "invalid_argument", "template: "),
            (json!({"template_enabled": true}), "invalid_argument", "template is required"),
            (json!({"field_map": "{\"drop\":[\"a\"]}"}), "failed_precondition", "Items API"),
            (json!({"name": "x".repeat(201)}), "invalid_argument", "name"),
        ],
    );
}

#[test]
fn bindings_and_tasks_are_changed_by_theirs() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let to = api.make("destinations", &destination(URL));
    let id = api.make("bindings", &binding(&to, "a.b", json!({})));
    let conditions = json!({"conditions": {"event_types": ["c.d"], "match": "{\"n\": 1.50}"}, "field_map": "{\"drop\":[\"a\"]}"});
    let changed = update(&rpc, &id, &conditions);
    assert_eq!((&changed["eventTypes"], &changed["match"]), (&json!(["c.d"]), &json!("{\"n\": 1.50}")));
    let shown = api.get(&format!("/v1/delivery/bindings/{id}")).json();
    assert_eq!(
        (&shown["signal_filter"]["event_type"], &shown["field_map"]["drop"]),
        (&json!("c.d"), &json!(["a"])),
        "as its own API shows it"
    );
    assert_eq!(update(&rpc, &id, &json!({"field_map": ""})).get("fieldMap"), None);
    refused(
        &rpc,
        &id,
        &[
            (json!({"conditions": {"event_types": ["c.*"]}}), "invalid_argument", "conditions.event_types"),
            (json!({"conditions": {"event_types": ["c.d"], "labels": {"k": "v"}}}), "failed_precondition", "RPC API"),
            (json!({"conditions": {"event_types": ["c.d"], "match": "[]"}}), "invalid_argument", "conditions.match"),
            (json!({"field_map": "{\"drop\":"}), "invalid_argument", "field_map"),
            (json!({"template": "x"}), "failed_precondition", "another API"),
            (json!({"name": ""}), "invalid_argument", "name"),
        ],
    );
    let raw = api.make("bindings", &binding(&to, "a.b", json!({"serializer_format": "raw"})));
    refused(&rpc, &raw, &[(json!({"field_map": "{\"drop\":[\"a\"]}"}), "invalid_argument", "field_map")]);
    let task = server.subscribe_to(URL);
    let changed = update(&rpc, &task, &json!({"conditions": {"event_types": ["a.*", "b"]}, "active": false}));
    assert_eq!((&changed["eventTypes"], changed.get("active")), (&json!(["a.*", "b"]), None));
    assert_eq!(update(&rpc, &task, &json!({"conditions": {}})).get("eventTypes"), None, "every type");
    refused(
        &rpc,
        &task,
        &[
            (json!({"conditions": {"labels": {"k": "v"}}}), "failed_precondition", "RPC API"),
            (json!({"conditions": {"match": "{\"n\":1}"}}), "failed_precondition", "Items API"),
            (json!({"template": "x"}), "failed_precondition", "another API"),
            (json!({"field_map": "{}"}), "failed_precondition", "Items API"),
        ],
    );
}

/// Pushes events `order.paid` and `order.made` in turn, numbered from 0, with a label `n` of 0 or 1.
fn push(rpc: &Rpc<'_>, namespace: &str, count: usize) {
    for n in 0..count {
        let name = if n % 2 == 0 { "order.paid" } else { "order.made" };
        let event = json!({"namespace": namespace, "event": name, "payload": {"n": n}, "labels": {"third": (n % 3).to_string()}});
        rpc.ask("EventService/PushEvent", &event);
    }
}

/// The body of an example, as JSON.
fn body(example: &Value) -> Value {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::STANDARD.decode(example["body"]["bytes"].as_str().expect("bytes")).expect("base64");
    serde_json::from_slice(&bytes).expect("JSON")
}

#[test]
fn a_preview_tells_which_events_would_have_come_and_as_what() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    push(&rpc, "default", 12);
    let all = rpc.ask(PREVIEW, &json!({}));
    assert_eq!((&all["examined"], &all["matched"], all["examples"].as_array().map(Vec::len)), (&json!(12), &json!(12), Some(5)));
    assert_eq!((all["oldestAt"].is_string(), all.get("misses")), (true, None));
    let paid = rpc.ask(PREVIEW, &json!({"conditions": {"event_types": ["order.paid"], "labels": {"third": "0"}}}));
    assert_eq!((&paid["examined"], &paid["matched"]), (&json!(12), &json!(2)));
    let first = body(&paid["examples"][0]);
    assert_eq!(
        (&first["event_name"], &first["payload"], &first["attempt"]),
        (&json!("order.paid"), &json!({"n": 6}), &json!(1)),
        "newest first"
    );
    let miss = &paid["misses"][0];
    let expected = json!([{"text": "event type is order.paid"}, {"text": "label third is \"0\""}]);
    assert_eq!((&miss["eventType"], &miss["conditions"]), (&json!("order.made"), &expected));
    let one = rpc.ask(PREVIEW, &json!({"conditions": {"match": "{\"n\": 7.0}"}, "template": "{\"number\": {{.payload.n}}}"}));
    assert_eq!((&one["matched"], body(&one["examples"][0])), (&json!(1), json!({"number": 7})));
    let few = rpc.ask(PREVIEW, &json!({"events": 3, "conditions": {"event_types": ["order.paid"]}}));
    assert_eq!((&few["examined"], &few["matched"], few["misses"].as_array().map(Vec::len)), (&json!(3), &json!(1), Some(2)));
    // A template that fails says why.
    let broken = rpc.ask(PREVIEW, &json!({"events": 1, "template": "{{index .payload.n 3}}"}));
    let example = &broken["examples"][0];
    assert!(example.get("body").is_none() && example["error"].as_str().is_some_and(|error| error.contains("line 1")), "{example}");
    // The bodies of one that there is, and its conditions where the request has none.
    let to = api.make("destinations", &destination(URL));
    let id = api.make("bindings", &binding(&to, "order.made", json!({"serializer_config": {"envelope": false}, "field_map": {"m": "n"}})));
    let known = rpc.ask(PREVIEW, &json!({"subscription_id": id}));
    assert_eq!((&known["matched"], body(&known["examples"][0])), (&json!(6), json!({"m": 11})));
    assert_eq!(known["examples"][0]["body"]["mediaType"], "application/json");
    let other = rpc.ask(PREVIEW, &json!({"subscription_id": id, "conditions": {"event_types": ["order.paid"]}, "events": 10_000}));
    assert_eq!((&other["matched"], body(&other["examples"][0])), (&json!(6), json!({"m": 10})));
    for (request, part) in [
        (json!({"events": -1}), "events"),
        (json!({"events": 10_001}), "10000"),
        (json!({"template": "{{"}), "template: "),
        (json!({"conditions": {"event_types": ["a b"]}}), "conditions.event_types"),
        (json!({"conditions": {"match": "x"}}), "conditions.match"),
        (json!({"subscription_id": "7"}), "subscription"),
    ] {
        let (status, code, message) = rpc.refused(PREVIEW, &request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}");
        assert!(message.contains(part), "{message}");
    }
}

#[test]
fn nobody_sees_or_changes_what_is_another_namespaces() {
    let server = Server::guarded(MASTER);
    let (master, keys) = (Rpc::with_key(&server, MASTER, "shop"), Api::with_key(&server, MASTER));
    let receiver = Receiver::answering(200);
    let (webhook, _) = master.register(&receiver.url, json!({}));
    let id = subscribe(&master, &webhook, "order.paid", json!({}));
    push(&master, "shop", 2);
    let (other, _) = keys.key(&json!({"namespace": "other", "scopes": ["read", "write"]}));
    let (reader, _) = keys.key(&json!({"namespace": "shop", "scopes": ["read"]}));
    let (other, reader) = (Rpc::with_key(&server, &other, "other"), Rpc::with_key(&server, &reader, "shop"));
    for (method, request) in
        [(GET, json!({"subscription_id": id})), (UPDATE, json!({"subscription_id": id})), (PREVIEW, json!({"subscription_id": id}))]
    {
        assert_eq!(other.refused(method, &request).1, "not_found", "{method}");
    }
    assert_eq!((other.ask(PREVIEW, &json!({})), other.ask(PREVIEW, &json!({"namespace": "shop"}))), (json!({}), json!({})));
    assert_eq!(reader.refused(UPDATE, &json!({"subscription_id": id, "active": false})).1, "permission_denied");
    assert_eq!(reader.ask(PREVIEW, &json!({"subscription_id": id}))["matched"], 1, "a look changes nothing");
    let (_, code, message) = master.refused(PREVIEW, &json!({}));
    assert!(code == "invalid_argument" && message.contains("namespace is required"), "{message}");
    assert_eq!(master.ask(PREVIEW, &json!({"namespace": "shop"}))["examined"], 2);
    assert_eq!(master.refused(PREVIEW, &json!({"namespace": "other", "subscription_id": id})).1, "not_found");
}
