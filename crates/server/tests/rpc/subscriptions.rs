//! Subscriptions over the RPC API: what is made, listed, changed and refused.

use crate::common::items::{Api, binding, destination};
use crate::common::rpc::Rpc;
use crate::common::{Server, keys};
use postrider_proto::webhook as w;
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const URL: &str = "https://hooks.example.com/in";
const CREATE: &str = "SubscriptionService/CreateSubscription";
const GET: &str = "SubscriptionService/GetSubscription";
const LIST: &str = "SubscriptionService/ListSubscriptions";
const UPDATE: &str = "SubscriptionService/UpdateSubscription";
const DELETE: &str = "SubscriptionService/DeleteSubscription";
const TEST: &str = "SubscriptionService/TestSubscriptionTemplate";
const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Subscribes a webhook; answers the id.
fn create(rpc: &Rpc<'_>, webhook: &str, event: &str, more: &Value) -> String {
    let made = rpc.ask(CREATE, &with(json!({"webhook_id": webhook, "event_name": event}), more));
    assert_eq!(keys(&made), ["createdAt", "subscriptionId"]);
    made["subscriptionId"].as_str().expect("an id").to_owned()
}

fn with(mut request: Value, more: &Value) -> Value {
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    request
}

fn get(rpc: &Rpc<'_>, id: &str) -> Value {
    rpc.ask(GET, &json!({"subscription_id": id}))["subscription"].clone()
}

fn update(rpc: &Rpc<'_>, id: &str, more: &Value) {
    assert_eq!(rpc.ask(UPDATE, &with(json!({"subscription_id": id}), more)), json!({}));
}

fn ids(listed: &Value) -> Vec<&str> {
    let all = listed["subscriptions"].as_array().map_or(&[][..], Vec::as_slice);
    all.iter().map(|subscription| subscription["subscriptionId"].as_str().expect("an id")).collect()
}

#[test]
fn a_subscription_is_shown_as_it_was_made() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({}));
    let plain = create(&rpc, &webhook, "order.created", &json!({}));
    let shown = get(&rpc, &plain);
    let expected = json!({
        "subscriptionId": plain, "webhookId": webhook, "eventName": "order.created", "namespace": "default", "method": "POST",
        "createdAt": shown["createdAt"], "updatedAt": shown["createdAt"],
    });
    assert_eq!(shown, expected);
    let more = json!({
        "namespace": "default", "headers": {"X-Team": "ops"}, "method": "put", "timeout": 300, "transform_enabled": true,
        "transform_template": "{{json .payload}}", "label_filters": {"tier": "gold", "eu": ""},
    });
    let full = create(&rpc, &webhook, "*", &more);
    let shown = get(&rpc, &full);
    let expected = json!({
        "subscriptionId": full, "webhookId": webhook, "eventName": "*", "namespace": "default", "headers": {"X-Team": "ops"}, "method": "PUT",
        "timeout": 300, "transformEnabled": true, "transformTemplate": "{{json .payload}}", "labelFilters": {"tier": "gold", "eu": ""},
        "createdAt": shown["createdAt"], "updatedAt": shown["createdAt"],
    });
    assert_eq!(shown, expected);
    assert_eq!(rpc.webhook(&webhook)["events"], json!(["order.created", "*"]));
    // In binary it is the same.
    let request = w::GetSubscriptionRequest { subscription_id: full.clone(), ..Default::default() };
    let found: w::GetSubscriptionResponse = rpc.ask_binary(GET, &request);
    let (name, timeout, enabled) = (&*found.subscription.event_name, found.subscription.timeout, found.subscription.transform_enabled);
    assert_eq!((name, timeout, enabled, found.subscription.label_filters.len()), ("*", 300, true, 2));
    assert!(found.subscription.created_at.is_set());
}

#[test]
fn an_update_changes_what_is_sent_and_nothing_else() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({}));
    let more = json!({
        "headers": {"X-Team": "ops"}, "method": "PUT", "timeout": 5, "transform_enabled": true, "transform_template": "one",
        "label_filters": {"tier": "gold"},
    });
    let id = create(&rpc, &webhook, "a.b", &more);
    let before = get(&rpc, &id);
    let mut expected = before.clone();
    let mut step = |sent: Value, changed: Value| {
        update(&rpc, &id, &sent);
        let after = get(&rpc, &id);
        expected.as_object_mut().expect("an object").retain(|name, _| changed.get(name) != Some(&Value::Null));
        let news = changed.as_object().expect("an object").clone().into_iter().filter(|(_, value)| !value.is_null());
        expected.as_object_mut().expect("an object").extend(news);
        expected["updatedAt"] = after["updatedAt"].clone();
        assert_eq!(after, expected, "{sent}");
    };
    step(json!({}), json!({}));
    step(json!({"headers": {}, "label_filters": {}}), json!({}));
    step(json!({"headers": {"X-Other": "1"}}), json!({"headers": {"X-Other": "1"}}));
    step(json!({"label_filters": {"a": "b"}, "timeout": 7}), json!({"labelFilters": {"a": "b"}, "timeout": 7}));
    step(json!({"timeout": 0, "method": ""}), json!({"timeout": null, "method": "POST"}));
    // A template that is switched off is kept, and switched on again.
    step(json!({"transform_enabled": false}), json!({"transformEnabled": null}));
    step(json!({"transform_template": "two"}), json!({"transformTemplate": "two"}));
    step(json!({"transform_enabled": true}), json!({"transformEnabled": true}));
    step(json!({"transform_enabled": false, "transform_template": ""}), json!({"transformEnabled": null, "transformTemplate": null}));
    assert!(get(&rpc, &id)["updatedAt"].as_str() > before["updatedAt"].as_str());
}

/// Proto3 cannot tell what is zero from what is not sent, unless a field says so.
#[test]
fn in_binary_a_zero_that_is_sent_differs_from_nothing_sent() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({}));
    let made: w::CreateSubscriptionResponse = rpc.ask_binary(
        CREATE,
        &w::CreateSubscriptionRequest {
            webhook_id: webhook,
            event_name: String::from("a.b"),
            timeout: 5,
            transform_enabled: true,
            transform_template: String::from("x"),
            ..Default::default()
        },
    );
    let id = made.subscription_id;
    let send = |request: w::UpdateSubscriptionRequest| {
        let request = w::UpdateSubscriptionRequest { subscription_id: id.clone(), ..request };
        let _: w::UpdateSubscriptionResponse = rpc.ask_binary(UPDATE, &request);
        let shown = get(&rpc, &id);
        (shown["timeout"].clone(), shown["transformEnabled"].clone(), shown["transformTemplate"].clone())
    };
    assert_eq!(send(w::UpdateSubscriptionRequest::default()), (json!(5), json!(true), json!("x")));
    let zero = w::UpdateSubscriptionRequest { timeout: Some(0), ..Default::default() };
    assert_eq!(send(zero), (Value::Null, json!(true), json!("x")));
    let off = w::UpdateSubscriptionRequest { transform_enabled: Some(false), ..Default::default() };
    assert_eq!(send(off), (Value::Null, Value::Null, json!("x")));
}

#[test]
fn what_cannot_be_is_an_invalid_argument() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({}));
    let base = json!({"webhook_id": webhook, "event_name": "a.b"});
    let many: serde_json::Map<String, Value> = (0..21).map(|n| (format!("l{n}"), json!("v"))).collect();
    let long = "x".repeat(65_537);
    let faults = [
        (json!({"headers": {"Host": "x"}}), "headers: \"Host\""),
        (json!({"headers": {"Content-Type": "text/plain"}}), "headers: \"Content-Type\""),
        (json!({"headers": {"X-A": "1", "x-a": "2"}}), "headers: "),
        (json!({"headers": {"X-A": "a\nb"}}), "headers: \"X-A\""),
        (json!({"method": "CONNECT"}), "method must be one of GET, POST, PUT, PATCH, DELETE, not \"CONNECT\""),
        (json!({"method": "PO ST"}), "method must be one of "),
        (json!({"timeout": -1}), "timeout must be 1 to 300, not -1"),
        (json!({"timeout": 301}), "timeout must be 1 to 300, not 301"),
        (json!({"label_filters": {"a b": "c"}}), "label_filters: "),
        (json!({"label_filters": {"a": "c".repeat(257)}}), "label_filters: "),
        (json!({"label_filters": many}), "label_filters: there can be at most 20"),
        (json!({"transform_enabled": true}), "transform_template is required where transform_enabled is true"),
        (json!({"transform_template": "ok\n{{if .payload}}"}), "transform_template: line 2: "),
        (json!({"transform_template": "{{nothing .payload}}"}), "transform_template: line 1: "),
        (json!({"transform_template": "\n\n{{$x}}", "transform_enabled": true}), "transform_template: line 3: "),
        (json!({"transform_template": long}), "transform_template: a template is at most 65,536 bytes"),
    ];
    let refused = |method: &str, request: &Value, named: &str| {
        let (status, code, message) = rpc.refused(method, request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{request}: {message}");
        assert!(message.starts_with(named), "{message}");
    };
    for (more, named) in &faults {
        refused(CREATE, &with(base.clone(), more), named);
    }
    for (more, named) in [
        (json!({"event_name": ""}), "event_name is required"),
        (json!({"event_name": "a b"}), "event_name: \"a b\""),
        (json!({"event_name": "a*"}), "event_name: \"a*\""),
        (json!({"webhook_id": ""}), "webhook_id is required"),
        (json!({"webhook_id": "w-1"}), "invalid webhook ID: "),
        (json!({"namespace": "a b"}), "invalid namespace"),
    ] {
        refused(CREATE, &with(base.clone(), &more), named);
    }
    let listed = |more: &Value| rpc.ask(LIST, &with(json!({"namespace": "default"}), more));
    assert_eq!(listed(&json!({})), json!({"pagination": {"limit": 50}}), "nothing of it was stored");
    // The same rules hold in an update, which leaves the subscription as it was.
    let id = create(&rpc, &webhook, "a.b", &json!({}));
    let before = get(&rpc, &id);
    for (more, named) in &faults {
        refused(UPDATE, &with(json!({"subscription_id": id}), more), named);
    }
    assert_eq!(get(&rpc, &id), before);
    refused(LIST, &json!({}), "namespace is required");
    refused(LIST, &json!({"namespace": "default", "webhook_id": "w-1"}), "invalid webhook ID: ");
    for method in [GET, UPDATE, DELETE] {
        refused(method, &json!({}), "subscription_id is required");
        refused(method, &json!({"subscription_id": "s-1"}), "invalid subscription ID: ");
    }
}

#[test]
fn a_webhook_has_one_subscription_to_an_event_type() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (webhook, _) = rpc.register(URL, json!({"events": ["a.b"]}));
    let (other, _) = rpc.register("https://hooks.example.com/other", json!({}));
    let refused = |request: Value| {
        let (status, code, message) = rpc.refused(CREATE, &request);
        assert!(message.ends_with("resource already exists"), "{message}");
        (status, code)
    };
    let again = json!({"webhook_id": webhook, "event_name": "a.b", "label_filters": {"a": "b"}});
    assert_eq!(refused(again.clone()), (409, String::from("already_exists")));
    create(&rpc, &other, "a.b", &json!({}));
    create(&rpc, &webhook, "a.*", &json!({}));
    let first = rpc.ask(LIST, &json!({"namespace": "default", "webhook_id": webhook, "event_name": "a.b"}));
    assert_eq!(rpc.ask(DELETE, &json!({"subscription_id": ids(&first)[0]})), json!({}));
    assert_eq!(rpc.webhook(&webhook)["events"], json!(["a.*"]));
    rpc.ask(CREATE, &again);
}

#[test]
fn lists_are_filtered_ordered_and_paged() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let (one, _) = rpc.register(URL, json!({}));
    let (two, _) = rpc.register("https://hooks.example.com/two", json!({}));
    let made: Vec<String> = (0..4).map(|n| create(&rpc, if n % 2 == 0 { &one } else { &two }, &format!("e.{n}"), &json!({}))).collect();
    let all = create(&rpc, &two, "*", &json!({}));
    let list = |more: Value| rpc.ask(LIST, &with(json!({"namespace": "default"}), &more));
    assert_eq!(ids(&list(json!({}))), [&all, &made[3], &made[2], &made[1], &made[0]]);
    assert_eq!(list(json!({}))["pagination"], json!({"totalCount": 5, "limit": 50}));
    let page = list(json!({"pagination": {"limit": 2, "offset": 1}}));
    assert_eq!((ids(&page), &page["pagination"]), (vec![made[3].as_str(), &made[2]], &json!({"totalCount": 5, "limit": 2, "offset": 1})));
    assert_eq!(list(json!({"pagination": {"limit": 5000, "offset": -3}}))["pagination"], json!({"totalCount": 5, "limit": 1000}));
    assert_eq!(ids(&list(json!({"webhookId": one}))), [&made[2], &made[0]]);
    assert_eq!(ids(&list(json!({"eventName": "e.1"}))), [&made[1]]);
    assert_eq!(ids(&list(json!({"event_name": "*"}))), [&all]);
    assert_eq!(list(json!({"eventName": "e.1", "webhookId": one})), json!({"pagination": {"limit": 50}}));
    assert_eq!(list(json!({"webhookId": NOBODY})), json!({"pagination": {"limit": 50}}));
    assert_eq!(list(json!({"namespace": "elsewhere"})), json!({"pagination": {"limit": 50}}));
    let request = w::ListSubscriptionsRequest { namespace: String::from("default"), event_name: String::from("e.3"), ..Default::default() };
    let listed: w::ListSubscriptionsResponse = rpc.ask_binary(LIST, &request);
    assert_eq!((listed.pagination.total_count, &listed.subscriptions[0].subscription_id), (1, &made[3]));
}

#[test]
fn a_subscription_is_found_by_its_id_where_its_caller_sees_it() {
    let server = Server::guarded(MASTER);
    let master = Rpc::with_key(&server, MASTER, "shop");
    let api = Api::with_key(&server, MASTER);
    let key = |scopes: Value, namespace: &str| api.key(&json!({"name": "k", "namespace": namespace, "scopes": scopes})).0;
    let (stranger, reader) = (key(json!(["read", "write"]), "other"), key(json!(["read"]), "shop"));
    let (other, reader) = (Rpc::with_key(&server, &stranger, "other"), Rpc::with_key(&server, &reader, "shop"));
    let (webhook, _) = master.register(URL, json!({}));
    let id = create(&master, &webhook, "a.b", &json!({}));
    let code = |rpc: &Rpc<'_>, method: &str, request: &Value| {
        let (status, code, _) = rpc.refused(method, request);
        (status, code)
    };
    let missing = (404, String::from("not_found"));
    for method in [GET, UPDATE, DELETE] {
        for (rpc, request) in [
            (&master, json!({"subscription_id": NOBODY})),
            (&master, json!({"subscription_id": id, "namespace": "other"})),
            (&other, json!({"subscription_id": id})),
            (&other, json!({"subscription_id": id, "namespace": "shop"})),
        ] {
            assert_eq!(code(rpc, method, &request), missing, "{method} {request}");
        }
    }
    for (rpc, request) in [
        (&master, json!({"webhook_id": NOBODY, "event_name": "c.d"})),
        (&master, json!({"webhook_id": webhook, "event_name": "c.d", "namespace": "other"})),
        (&other, json!({"webhook_id": webhook, "event_name": "c.d"})),
    ] {
        assert_eq!(code(rpc, CREATE, &request), missing, "{request}");
    }
    let empty = json!({"pagination": {"limit": 50}});
    assert_eq!(other.ask(LIST, &json!({"namespace": "shop"})), empty);
    assert_eq!(ids(&reader.ask(LIST, &json!({"namespace": "shop"}))), [id.as_str()]);
    assert_eq!(get(&reader, &id)["subscriptionId"], json!(id));
    for (method, request) in [
        (CREATE, json!({"webhook_id": webhook, "event_name": "c.d"})),
        (UPDATE, json!({"subscription_id": id})),
        (DELETE, json!({"subscription_id": id})),
    ] {
        assert_eq!(code(&reader, method, &request), (403, String::from("permission_denied")), "{method}");
    }
    assert_eq!(master.ask(DELETE, &json!({"subscription_id": id, "namespace": "shop"})), json!({}));
    assert_eq!(code(&master, DELETE, &json!({"subscription_id": id})), missing);
    assert_eq!(code(&master, GET, &json!({"subscription_id": id})), missing);
    assert_eq!(master.ask(LIST, &json!({"namespace": "shop"})), empty);
}

#[test]
fn what_other_apis_subscribed_is_listed_and_keeps_its_body() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let secured =
        with(destination("https://b.example.com/"), &json!({"auth_config": {"type": "api_key", "api_key": "k", "header_name": "X-Key"}}));
    let to = api.make("destinations", &secured);
    let bound = api.make("bindings", &binding(&to, "order.paid", json!({})));
    server.subscribe_to("https://a.example.com/");
    let listed = rpc.ask(LIST, &json!({"namespace": "default"}));
    let names: Vec<_> = listed["subscriptions"].as_array().expect("a list").iter().map(|s| s["eventName"].clone()).collect();
    assert_eq!(names, [json!("*"), json!("order.paid")]);
    update(&rpc, &bound, &json!({"headers": {"X-Team": "ops"}, "timeout": 9}));
    let (status, code, _) = rpc.refused(UPDATE, &json!({"subscription_id": bound, "transform_template": "x"}));
    assert_eq!((status, code.as_str()), (400, "failed_precondition"));
    let (_, code, message) = rpc.refused(UPDATE, &json!({"subscription_id": bound, "headers": {"x-key": "mine"}}));
    assert_eq!((code.as_str(), message.contains("credentials")), ("invalid_argument", true), "{message}");
    let shown = get(&rpc, &bound);
    assert_eq!((&shown["headers"], &shown["timeout"], &shown["webhookId"]), (&json!({"X-Team": "ops"}), &json!(9), &json!(to)));
    let binding = api.get(&format!("/v1/delivery/bindings/{bound}")).json();
    assert_eq!((&binding["delivery_policy"]["timeout_ms"], &binding["serializer_config"]["envelope"]), (&json!(9_000), &json!(true)));
    // And theirs is this API's.
    let (webhook, _) = rpc.register(URL, json!({}));
    let id = create(&rpc, &webhook, "a.b", &json!({}));
    assert_eq!(api.get(&format!("/v1/delivery/bindings/{id}")).json()["signal_filter"]["event_type"], "a.b");
}

#[test]
fn a_template_is_tried_on_the_newest_event_of_the_type() {
    let server = Server::dev(&[]);
    let (rpc, api) = (Rpc::of(&server), Api::of(&server));
    let tried = |event: &str, template: &str| rpc.ask(TEST, &json!({"event_name": event, "transform_template": template}));
    let refused = |request: Value| rpc.refused(TEST, &request);
    let request = |template: &str| json!({"event_name": "a.b", "transform_template": template, "namespace": "default"});
    let (status, code, _) = refused(request("x"));
    assert_eq!((status, code.as_str()), (404, "not_found"), "there is neither a type nor an event");
    rpc.ask("EventService/RegisterEvent", &json!({"name": "a.b"}));
    let (status, code, _) = refused(request("x"));
    assert_eq!((status, code.as_str()), (400, "failed_precondition"), "the type has no schema, and there is no event of it");
    api.publish("a.b", &json!({"n": 1}));
    api.publish("a.b", &json!({"n": 9_007_199_254_740_993_u64}));
    api.publish("c.d", &json!({"list": []}));
    assert_eq!(tried("a.b", "{{.event_name}} {{.payload.n}} {{.attempt}}"), json!({"transformedPayload": "a.b 9007199254740993 1"}));
    assert_eq!(tried("a.b", "{{len .event_id}}"), json!({"transformedPayload": "36"}));
    assert_eq!(tried("a.b", "{{if false}}{{end}}"), json!({}));
    // What takes its time is as right.
    assert_eq!(tried("a.b", "{{range 50000}}{{end}}done"), json!({"transformedPayload": "done"}));
    for (request, named) in [
        (json!({"transform_template": "x"}), "event_name is required"),
        (json!({"event_name": "a b", "transform_template": "x"}), "event_name: "),
        (json!({"event_name": "a.b"}), "transform_template is required"),
        (request("{{"), "transform_template: line 1: "),
        (json!({"event_name": "c.d", "transform_template": "\n{{index .payload.list 0}}"}), "transform_template: template_error: line 2: "),
        (request("{{range 10000000}}{{end}}"), "transform_template: template_error: line 1: the template takes more than 1,000,000 steps"),
    ] {
        let (status, code, message) = refused(request);
        assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{message}");
        assert!(message.starts_with(named), "{message}");
    }
    let (_, code, _) = refused(json!({"event_name": "a.b", "transform_template": "x", "namespace": "elsewhere"}));
    assert_eq!(code, "not_found", "it is the event of another namespace");
    assert_eq!(api.get("/v1/delivery/items").json()["total"], 0, "nothing was sent");
}

#[test]
fn a_template_is_tried_on_a_sample_of_the_types_schema() {
    let server = Server::guarded(MASTER);
    let master = Rpc::with_key(&server, MASTER, "shop");
    let api = Api::with_key(&server, MASTER);
    let own = api.key(&json!({"name": "k", "namespace": "shop", "scopes": ["read", "write"]})).0;
    let shop = Rpc::with_key(&server, &own, "shop");
    let schema = |n: u32| json!({"type": "object", "properties": {"n": {"type": "integer", "default": n}}});
    let tried = |rpc: &Rpc<'_>, more: Value| {
        let request = json!({"event_name": "a.b", "transform_template": "{{.event_name}} {{.payload.n}}"});
        rpc.ask(TEST, &with(request, &more))["transformedPayload"].as_str().expect("a text").to_owned()
    };
    master.ask("EventService/RegisterEvent", &json!({"name": "a.b", "schema": schema(1)}));
    assert_eq!((tried(&shop, json!({})), tried(&master, json!({}))), (String::from("a.b 1"), String::from("a.b 1")));
    // A published event is second to it, and the own registry comes first.
    shop.ask("EventService/PushEvent", &json!({"namespace": "shop", "event": "a.b", "payload": {"n": 7}}));
    shop.ask("EventService/RegisterEvent", &json!({"name": "a.b", "schema": schema(2)}));
    assert_eq!((tried(&shop, json!({})), tried(&master, json!({}))), (String::from("a.b 2"), String::from("a.b 1")));
    assert_eq!(tried(&master, json!({"namespace": "shop"})), "a.b 2");
    // Where a schema is none of objects, there is no sample of it.
    shop.ask("EventService/UpdateEvent", &json!({"name": "a.b", "schema": {"type": "string"}}));
    assert_eq!(tried(&shop, json!({})), "a.b 7");
}
