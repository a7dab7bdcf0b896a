//! `postrider.v1.LedgerService`: events in lists, their stories, and what an id or a key is of.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Server, keys};
use serde_json::{Value, json};
use std::collections::BTreeSet;

const MASTER: &str = "a-master-key-for-tests";
const NOBODY: &str = "0196c0de-0000-7000-8000-000000000000";
const EVENTS: &str = "postrider.v1.LedgerService/ListEvents";
const EXPLAIN: &str = "postrider.v1.LedgerService/ExplainEvent";
const FIND: &str = "postrider.v1.LedgerService/Find";
const LIST: &str = "postrider.v1.LedgerService/ListDeliveries";
const STORY: &str = "postrider.v1.LedgerService/ExplainDelivery";

/// Publishes an event of this type; answers its id.
fn push(rpc: &Rpc<'_>, event: &str, more: Value) -> String {
    let mut request = json!({"namespace": "default", "event": event, "payload": {"n": 1}});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    rpc.ask("EventService/PushEvent", &request)["eventId"].as_str().expect("an id").to_owned()
}

fn ids(listed: &Value) -> Vec<&str> {
    listed["events"].as_array().into_iter().flatten().map(|event| event["eventId"].as_str().expect("an id")).collect()
}

/// The one delivery that there is, once it has succeeded.
fn delivered(rpc: &Rpc<'_>) -> Value {
    let ask = json!({"filter": {"states": ["succeeded"]}});
    rpc.ask_until(LIST, &ask, |told| told["deliveries"].as_array().is_some_and(|all| all.len() == 1))["deliveries"][0].clone()
}

#[test]
fn events_are_listed_narrowed_and_walked() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "default");
    let made = [
        push(&rpc, "a.b", json!({"labels": {"region": "eu", "tier": "gold"}, "id": "the key"})),
        push(&rpc, "a.b", json!({"labels": {"region": "eu"}, "payload": {"text": "longer"}})),
        push(&rpc, "c.d", json!({})),
        push(&rpc, "a.b", json!({"namespace": "other"})),
    ];
    let of = |picks: &[usize]| picks.iter().map(|n| made[*n].as_str()).collect::<Vec<_>>();
    let all = rpc.ask(EVENTS, &json!({}));
    let times: Vec<Value> = all["events"].as_array().expect("events").iter().rev().map(|event| event["createdAt"].clone()).collect();
    let first = &all["events"][3];
    assert_eq!(
        keys(first),
        [
            "createdAt",
            "deliveries",
            "eventId",
            "eventType",
            "idempotencyKey",
            "labels",
            "namespace",
            "number",
            "payloadBytes",
            "schemaValid"
        ]
    );
    assert_eq!((&first["number"], &first["payloadBytes"], &first["idempotencyKey"]), (&json!("1"), &json!("7"), &json!("the key")));
    for (request, expected) in [
        (json!({}), &[3, 2, 1, 0][..]),
        (json!({"namespace": "default"}), &[2, 1, 0]),
        (json!({"namespace": "nobody"}), &[]),
        (json!({"event_type": "a.b"}), &[3, 1, 0]),
        (json!({"labels": {"region": "eu"}}), &[1, 0]),
        (json!({"labels": {"region": "eu", "tier": "gold"}}), &[0]),
        // At this time or later, and before that.
        (json!({"created_from": times[1]}), &[3, 2, 1]),
        (json!({"created_before": times[2]}), &[1, 0]),
        (json!({"schema_valid": false}), &[]),
        (json!({"schema_valid": true, "event_type": "c.d"}), &[2]),
    ] {
        assert_eq!(ids(&rpc.ask(EVENTS, &request)), of(expected), "{request}");
        let (mut walked, mut token) = (Vec::new(), json!(""));
        loop {
            let mut page = request.clone();
            (page["page_size"], page["page_token"]) = (json!(2), token);
            let page = rpc.ask(EVENTS, &page);
            walked.extend(ids(&page).into_iter().map(str::to_owned));
            match page.get("nextPageToken") {
                Some(next) => token = next.clone(),
                None => break,
            }
        }
        assert_eq!(walked, of(expected), "{request}");
    }
    for (request, message) in [
        (json!({"namespace": "a b"}), "invalid namespace"),
        (json!({"labels": {"": ""}}), "labels: "),
        (json!({"page_token": "x"}), "page_token: "),
    ] {
        let (_, code, text) = rpc.refused(EVENTS, &request);
        assert!(code == "invalid_argument" && text.starts_with(message), "{request}: {code}: {text}");
    }
}

#[test]
fn an_event_tells_who_got_it_and_why_others_did_not() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    // Of one URL a namespace has one webhook.
    let url = |name: &str| format!("{}?{name}", receiver.url);
    let register = |name: &str, events: Value| rpc.register(&url(name), json!({"events": events})).0;
    let (gets, misses, skips) = (register("gets", json!(["a.b"])), register("misses", json!(["c.d"])), register("skips", json!(["a.*"])));
    rpc.ask("WebhookService/PauseWebhook", &json!({"webhook_id": skips}));
    let filtered = rpc.ask(
        "SubscriptionService/CreateSubscription",
        &json!({"namespace": "default", "webhook_id": misses, "event_name": "a.b", "label_filters": {"tier": "gold", "region": "eu"}}),
    );
    let event = push(&rpc, "a.b", json!({"labels": {"region": "eu"}}));
    let delivery = delivered(&rpc);
    let later = register("later", json!(["a.b"]));
    let story = rpc.ask(EXPLAIN, &json!({"event_id": event}));
    assert_eq!((&story["deliveries"], story.get("fanOutPending")), (&json!([delivery]), None));
    assert_eq!((&delivery["endpointId"], &story["event"]["event"]["skipped"]), (&json!(gets), &json!(1)));
    let skipped = &story["skipped"];
    assert_eq!((skipped.as_array().map(Vec::len), &skipped[0]["endpointId"]), (Some(1), &json!(skips)));
    assert_eq!(
        (&skipped[0]["reason"], &skipped[0]["endpointName"]),
        (&json!("its endpoint was paused when the event came"), &json!(url("skips")))
    );
    let unmatched = story["unmatched"].as_array().expect("some");
    let told: BTreeSet<String> = unmatched.iter().map(|one| format!("{} {}", one["endpointId"], one["conditions"])).collect();
    let expected: BTreeSet<String> = [
        (&later, json!([{"text": "the subscription was made before the event came"}, {"text": "event type is a.b", "holds": true}])),
        (&misses, json!([{"text": "event type is c.d"}])),
        (
            &misses,
            json!([{"text": "event type is a.b", "holds": true}, {"text": "label region is \"eu\"", "holds": true}, {"text": "label tier is \"gold\""}]),
        ),
    ]
    .into_iter()
    .map(|(endpoint, conditions)| format!("{} {conditions}", json!(endpoint)))
    .collect();
    assert_eq!(told, expected);
    assert!(unmatched.iter().any(|one| one["subscriptionId"] == filtered["subscriptionId"]), "{story}");
    for (request, code) in
        [(json!({}), "invalid_argument"), (json!({"event_id": "e"}), "invalid_argument"), (json!({"event_id": NOBODY}), "not_found")]
    {
        assert_eq!(rpc.refused(EXPLAIN, &request).1, code, "{request}");
    }
}

/// What a text is, as kinds and ids.
fn found(rpc: &Rpc<'_>, text: &str) -> Vec<(String, String)> {
    let told = rpc.ask(FIND, &json!({"text": text}));
    let all = told["findings"].as_array().cloned().unwrap_or_default();
    let word = |finding: &Value, name: &str| finding[name].as_str().expect("a text").to_owned();
    all.iter().map(|finding| (word(finding, "kind"), word(finding, "id"))).collect()
}

#[test]
fn whatever_stands_in_a_log_is_found() {
    let server = Server::guarded(MASTER);
    let (api, receiver) = (Api::with_key(&server, MASTER), Receiver::answering(200));
    let key = |namespace: &str| api.key(&json!({"name": "k", "namespace": namespace, "scopes": ["read", "write"]}));
    let ((own, key_id), (other, _)) = (key("default"), key("two"));
    let (own, other) = (Rpc::with_key(&server, &own, "default"), Rpc::with_key(&server, &other, "two"));
    let master = Rpc::with_key(&server, MASTER, "default");
    let webhook = own.register(&receiver.url, json!({"events": ["a.b"]})).0;
    let event = push(&own, "a.b", json!({"id": "order 17"}));
    let delivery = delivered(&own);
    let id = delivery["deliveryId"].as_str().expect("an id");
    let came = receiver.wait_for(1).remove(0);
    let attempt = own.ask(STORY, &json!({"delivery_id": id}))["attempts"][0]["attemptId"].as_str().expect("an id").to_owned();
    let subscription = delivery["subscriptionId"].as_str().expect("an id");
    let (message, key) = (&came.headers["webhook-id"], &came.headers["idempotency-key"]);
    for (text, kind, of) in [
        (id, "delivery", id),
        (message.as_str(), "delivery", id),
        (key.as_str(), "delivery", id),
        (&key.to_uppercase(), "delivery", id),
        (&format!("  {event} "), "event", &event),
        ("order 17", "event", &event),
        ("1", "event", &event),
        (&attempt, "attempt", &attempt),
        (&webhook, "endpoint", &webhook),
        (subscription, "subscription", subscription),
    ] {
        let expected = [(kind.to_owned(), of.to_owned())];
        assert_eq!(found(&own, text), expected, "{text}");
        assert_eq!(found(&master, text), expected, "{text}");
        assert!(found(&other, text).is_empty(), "{text}");
        assert_eq!(master.ask(FIND, &json!({"text": text, "namespace": "two"})).get("findings"), None, "{text}");
        assert_eq!(other.ask(FIND, &json!({"text": text, "namespace": "default"})), json!({}), "{text}");
    }
    assert_eq!((found(&master, &key_id).len(), found(&own, &key_id).len()), (1, 0), "keys are for administrators");
    let told = own.ask(FIND, &json!({"text": attempt}));
    assert_eq!(told["findings"][0]["deliveryId"], id);
    // A key that nobody has: everything was looked through, and up to when is told.
    let told = own.ask(FIND, &json!({"text": "0".repeat(32)}));
    assert_eq!(keys(&told), ["lookedBackTo"], "{told}");
    assert_eq!(own.ask(FIND, &json!({"text": "nothing"})), json!({}));
    for wrong in [json!({}), json!({"text": "  "}), json!({"text": "x".repeat(256)}), json!({"text": "x", "page_token": "y"})] {
        assert_eq!(own.refused(FIND, &wrong).1, "invalid_argument", "{wrong}");
    }
    for method in [EXPLAIN, STORY] {
        let ask = if method == STORY { json!({"delivery_id": id}) } else { json!({"event_id": event}) };
        assert_eq!(other.refused(method, &ask).1, "not_found", "{method}");
    }
}
