//! Events over the RPC API: published, shown, published again.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Receiver, Reply, Server, keys};
use postrider_core::time::Timestamp;
use postrider_proto::{Object, webhook as w};
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const PUSH: &str = "EventService/PushEvent";
const REPORTS: &str = "EventService/ListEventReports";
const RECORD: &str = "EventService/GetEventRecord";
const AGAIN: &str = "EventService/RePushEvent";
const START: &str = "EventService/RePushEvents";
const STATUS: &str = "EventService/GetRepushStatus";
const CANCEL: &str = "EventService/CancelRepush";
const NOBODY: &str = "550e8400-e29b-41d4-a716-446655440000";

/// Publishes; answers the event's id.
fn push(rpc: &Rpc<'_>, event: &str, more: Value) -> String {
    let mut request = json!({"namespace": "default", "event": event, "payload": {}});
    request.as_object_mut().expect("an object").extend(more.as_object().expect("an object").clone());
    rpc.ask(PUSH, &request)["eventId"].as_str().expect("an id").to_owned()
}

fn ids(listed: &Value) -> Vec<&str> {
    let events = listed["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().map(|event| event["eventId"].as_str().expect("an id")).collect()
}

/// The payload of what a receiver got, as it came.
fn payload(body: &[u8]) -> String {
    let text = std::str::from_utf8(body).expect("text");
    let (_, payload) = text.split_once("\"payload\":").expect("an envelope");
    payload.strip_suffix('}').expect("an object").to_owned()
}

#[test]
fn the_payload_reaches_the_receiver_byte_for_byte() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    rpc.register(&receiver.url, json!({"events": ["order.created"]}));
    let sent = "{ \"z\" : 9007199254740993,\"a\":[1.0, 1e2 ,-0.0], \"n\":123456789012345678901234567890, \"e\":\"\\u00e9\\/\u{fc}\" }";
    let body = format!("{{\"namespace\":\"default\",\"event\":\"order.created\",\"payload\":  {sent}  ,\"unknown\":1}}");
    let answer = rpc.send(PUSH, "application/json", body.as_bytes());
    assert_eq!(answer.status, 200, "{}", answer.text());
    assert_eq!(keys(&answer.json()), ["eventId"]);
    let request = receiver.wait_for(1).remove(0);
    assert_eq!(payload(&request.body), sent);
    let id = answer.json()["eventId"].as_str().expect("an id").to_owned();
    assert_eq!(request.headers["x-sparrow-event-id"], id);
    // And comes back as it was, in a list and alone.
    for (method, ask) in [(REPORTS, json!({})), (RECORD, json!({"event_id": id}))] {
        let shown = rpc.json(method, &ask);
        assert!(shown.text().contains(sent), "{}", shown.text());
    }
    // In binary numbers are floating point, and keys keep their order.
    let object = Object::parse(br#"{"z": 1.5, "a": 7, "b": {"y": true, "x": null}}"#).expect("an object");
    let request =
        w::PushEventRequest { namespace: "default".into(), event: "order.created".into(), payload: object.into(), ..Default::default() };
    let pushed: w::PushEventResponse = rpc.ask_binary(PUSH, &request);
    assert_eq!(payload(&receiver.wait_for(2)[1].body), r#"{"z":1.5,"a":7,"b":{"y":true,"x":null}}"#);
    let record: w::GetEventRecordResponse = rpc.ask_binary(RECORD, &w::GetEventRecordRequest { event_id: pushed.event_id.clone() });
    assert_eq!((&*record.event.event_id, &*record.event.event_name), (&*pushed.event_id, "order.created"));
}

#[test]
fn what_is_wrong_with_an_event_is_told() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let many: serde_json::Map<String, Value> = (0..21).map(|n| (n.to_string(), json!(""))).collect();
    for (request, status, code) in [
        (json!({"event": "a.b", "payload": {}}), 400, "invalid_argument"),
        (json!({"namespace": "a b", "event": "a.b"}), 400, "invalid_argument"),
        (json!({"namespace": "default"}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a b"}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "delivery.item.failed"}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "payload": [1]}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "payload": "x"}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "id": ""}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "id": "k".repeat(256)}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "labels": many}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "labels": {"a b": ""}}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "labels": {"a": "v".repeat(257)}}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "metadata": {"": "v"}}), 400, "invalid_argument"),
        (json!({"namespace": "default", "event": "a.b", "ttl_seconds": i64::MAX}), 400, "invalid_argument"),
        (json!({"namespace": "other", "event": "a.b"}), 403, "permission_denied"),
    ] {
        let refused = rpc.refused(PUSH, &request);
        assert_eq!((refused.0, refused.1.as_str()), (status, code), "{request}: {}", refused.2);
    }
    let nothing = json!({"pagination": {"limit": 50}});
    assert_eq!(rpc.ask(REPORTS, &json!({})), nothing);
    assert_eq!(rpc.ask("EventService/ListEvents", &json!({})), nothing, "what is refused registers no type");
}

#[test]
fn a_payload_is_held_against_the_schema_of_its_type_and_delivered_all_the_same() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    rpc.register(&receiver.url, json!({"events": ["order.created"]}));
    let schema = json!({"type": "object", "required": ["id"], "properties": {"id": {"type": "integer"}}});
    rpc.ask("EventService/RegisterEvent", &json!({"name": "order.created", "schema": schema}));
    let push = |payload: Value| rpc.ask(PUSH, &json!({"namespace": "default", "event": "order.created", "payload": payload}));
    let right = push(json!({"id": 1}));
    assert_eq!(keys(&right), ["eventId"]);
    let wrong = push(json!({}));
    assert_eq!(wrong["warnings"], json!(["field 'id': is required"]));
    let mistyped = push(json!({"id": "secret"}));
    let warning = mistyped["warnings"][0].as_str().expect("a warning");
    assert!(warning.starts_with("field 'id': ") && !warning.contains("secret"), "{warning}");
    assert_eq!(receiver.wait_for(3).len(), 3);
    let listed = |valid: Value| rpc.ask(REPORTS, &json!({"schema_valid": valid}));
    assert_eq!(ids(&listed(json!(false))), [&mistyped["eventId"], &wrong["eventId"]].map(|id| id.as_str().expect("an id")));
    let valid = listed(json!(true));
    assert_eq!((ids(&valid), &valid["events"][0]["schemaValid"]), (vec![right["eventId"].as_str().expect("an id")], &json!(true)));
    assert_eq!(listed(json!(null))["pagination"]["totalCount"], 3);
    // A schema that allows everything, and a type that nobody has registered: nothing is told.
    rpc.ask("EventService/UpdateEvent", &json!({"name": "order.created", "schema": {}}));
    assert_eq!(keys(&push(json!({}))), ["eventId"]);
    let unknown = rpc.ask(PUSH, &json!({"namespace": "default", "event": "nobody.knows"}));
    assert_eq!(rpc.ask(RECORD, &json!({"event_id": unknown["eventId"]}))["event"]["schemaValid"], true);
}

#[test]
fn a_key_is_published_once_in_its_namespace() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "one");
    let push =
        |namespace: &str, n: u32| rpc.ask(PUSH, &json!({"namespace": namespace, "event": "a.b", "payload": {"n": n}, "id": "the key"}));
    let first = push("one", 1);
    assert_eq!(keys(&first), ["eventId"]);
    assert_eq!(push("one", 2), json!({"eventId": first["eventId"], "duplicate": true}));
    let other = push("two", 3);
    assert_ne!(other["eventId"], first["eventId"]);
    let listed = rpc.ask(REPORTS, &json!({}));
    assert_eq!(listed["pagination"]["totalCount"], 2);
    assert_eq!(listed["events"][1]["payload"], json!({"n": 1}), "nothing of the second one counts");
    // The same key over the Items API is the same event.
    let key = Api::with_key(&server, MASTER).key(&json!({"name": "k", "namespace": "one", "scopes": ["read", "write"]})).0;
    let body = json!({"event_type": "a.b", "payload": {}, "dedup_key": "the key"});
    let again = Api::with_key(&server, &key).post("/v1/delivery/events", &body).json();
    assert_eq!(again["duplicate"], true);
}

#[test]
fn a_record_says_all_of_an_event_and_counts_its_deliveries() {
    let server = Server::dev(&[]);
    let (rpc, fine, dead) = (Rpc::of(&server), Receiver::answering(200), Receiver::answering(400));
    let stalls = Receiver::scripted(|_| Reply::Stall);
    for receiver in [&fine, &dead, &stalls] {
        rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    }
    let more = json!({"payload": {"n": 1}, "ttl_seconds": "3600", "metadata": {"m": "1"}, "labels": {"l": "2"}});
    let id = push(&rpc, "a.b", more);
    let is_through = |record: &Value| record["event"]["pendingDeliveries"] == 1 && record["event"]["failedDeliveries"] == 1;
    let record =
        rpc.ask_until(RECORD, &json!({"event_id": id}), |record| is_through(record) && record["event"]["successfulDeliveries"] == 1);
    let (created, expires) = (record["event"]["createdAt"].clone(), record["expiresAt"].clone());
    let expected = json!({
        "event": {
            "eventId": id, "namespace": "default", "eventName": "a.b", "payload": {"n": 1}, "metadata": {"m": "1"}, "createdAt": created,
            "ttlSeconds": "3600", "webhookCount": 3, "successfulDeliveries": 1, "failedDeliveries": 1, "pendingDeliveries": 1,
            "schemaValid": true,
        },
        "labels": {"l": "2"}, "expiresAt": expires,
    });
    assert_eq!(record, expected);
    let micros = |at: &Value| Timestamp::parse_rfc3339(at.as_str().expect("a time")).expect("a time").as_micros();
    assert_eq!(micros(&expires) - micros(&created), 3_600_000_000);
    assert_eq!(rpc.ask(REPORTS, &json!({}))["events"], json!([expected["event"]]));
    stalls.release();
    rpc.ask_until(RECORD, &json!({"event_id": id}), |record| record["event"]["successfulDeliveries"] == 2);
    // Without a time to live there is no end, and what is nothing is not shown.
    let id = push(&rpc, "c.d", json!({"ttl_seconds": -5}));
    let record = rpc.ask(RECORD, &json!({"event_id": id}));
    assert_eq!(keys(&record), ["event"]);
    assert_eq!(keys(&record["event"]), ["createdAt", "eventId", "eventName", "namespace", "payload", "schemaValid"]);
}

#[test]
fn an_event_whose_time_has_run_out_is_not_delivered() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(503));
    rpc.register(&receiver.url, json!({"events": ["a.b"], "http_config": {"max_retries": 10, "retry_backoff_seconds": 1}}));
    let id = push(&rpc, "a.b", json!({"ttl_seconds": 1}));
    let record = rpc.ask_until(RECORD, &json!({"event_id": id}), |record| record["event"]["failedDeliveries"] == 1);
    assert_eq!(record["event"].get("pendingDeliveries"), None);
    assert!(receiver.count() <= 2, "the second retry would have come after two seconds more");
}

#[test]
fn the_list_is_newest_first_and_narrowed_by_every_filter() {
    let server = Server::guarded(MASTER);
    let rpc = Rpc::with_key(&server, MASTER, "default");
    let mut made = Vec::new();
    for (event, labels) in [("a.b", json!({"region": "eu", "tier": "gold"})), ("a.b", json!({"region": "eu"})), ("c.d", json!({}))] {
        made.push(push(&rpc, event, json!({"labels": labels})));
    }
    made.push(push(&rpc, "a.b", json!({"namespace": "other"})));
    let of = |picks: &[usize]| picks.iter().map(|n| made[*n].as_str()).collect::<Vec<_>>();
    let times: Vec<Value> = made.iter().map(|id| rpc.ask(RECORD, &json!({"event_id": id}))["event"]["createdAt"].clone()).collect();
    for (request, expected) in [
        (json!({}), &[3, 2, 1, 0][..]),
        (json!({"namespace": "default"}), &[2, 1, 0]),
        (json!({"namespace": "nobody"}), &[]),
        (json!({"event_name": "a.b"}), &[3, 1, 0]),
        (json!({"event_name": "a"}), &[]),
        (json!({"labels": {"region": "eu"}}), &[1, 0]),
        (json!({"labels": {"region": "eu", "tier": "gold"}}), &[0]),
        (json!({"labels": {"region": "us"}}), &[]),
        (json!({"created_after": times[0]}), &[3, 2, 1]),
        (json!({"created_before": times[2]}), &[1, 0]),
        (json!({"createdAfter": times[0], "createdBefore": times[3], "namespace": "default"}), &[2, 1]),
        (json!({"schema_valid": false}), &[]),
        (json!({"schema_valid": true, "event_name": "c.d"}), &[2]),
    ] {
        let listed = rpc.ask(REPORTS, &request);
        assert_eq!(ids(&listed), of(expected), "{request}");
        let total = listed["pagination"]["totalCount"].as_u64().unwrap_or_default();
        assert_eq!((total, &listed["pagination"]["limit"]), (expected.len() as u64, &json!(50)), "{request}");
        // The same filters with some left out at the beginning.
        let mut rest = request.clone();
        rest["pagination"] = json!({"offset": 1, "limit": 1});
        let listed = rpc.ask(REPORTS, &rest);
        assert_eq!(ids(&listed), of(expected.get(1..2).unwrap_or_default()), "{rest}");
        assert_eq!(listed["pagination"]["totalCount"].as_u64().unwrap_or_default(), expected.len() as u64, "{rest}");
    }
    for request in [
        json!({"event_name": ""}),
        json!({"namespace": "a b"}),
        json!({"labels": {"": ""}}),
        json!({"pagination": {"offset": 100_001}}),
        json!({"created_after": "yesterday"}),
    ] {
        assert_eq!(rpc.refused(REPORTS, &request).1, "invalid_argument", "{request}");
    }
    for method in [RECORD, AGAIN] {
        assert_eq!(rpc.refused(method, &json!({})).1, "invalid_argument");
        assert!(rpc.refused(method, &json!({"event_id": "e-1"})).2.starts_with("invalid event ID: "));
        assert_eq!(rpc.refused(method, &json!({"event_id": NOBODY})).1, "not_found");
    }
}

#[test]
fn a_page_ends_where_its_payloads_are_too_large_for_one_message() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let made: Vec<String> = (0..4).map(|_| push(&rpc, "a.b", json!({"payload": {"x": "x".repeat(1 << 20)}}))).collect();
    let first = rpc.ask(REPORTS, &json!({"pagination": {"limit": 10}}));
    assert_eq!((ids(&first), &first["pagination"]), (vec![&*made[3], &*made[2]], &json!({"totalCount": 4, "limit": 2})));
    let second = rpc.ask(REPORTS, &json!({"pagination": {"limit": 10, "offset": 2}}));
    assert_eq!((ids(&second), &second["pagination"]), (vec![&*made[1], &*made[0]], &json!({"totalCount": 4, "limit": 10, "offset": 2})));
}

#[test]
fn an_event_is_published_again() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let more = json!({"payload": {"n": 1}, "ttl_seconds": 60, "metadata": {"m": "1"}, "labels": {"l": "2"}, "id": "key"});
    let first = push(&rpc, "a.b", more);
    rpc.ask("EventService/UpdateEvent", &json!({"name": "a.b", "schema": {"required": ["x"]}}));
    let again = rpc.ask(AGAIN, &json!({"event_id": first}));
    assert_eq!(again["warnings"], json!(["field 'x': is required"]));
    assert_ne!(again["eventId"], json!(first));
    assert_eq!(receiver.wait_for(2).iter().map(|request| payload(&request.body)).collect::<Vec<_>>(), [r#"{"n":1}"#, r#"{"n":1}"#]);
    let record = |id: &Value| rpc.ask_until(RECORD, &json!({"event_id": id}), |record| record["event"]["successfulDeliveries"] == 1);
    let (before, after) = (record(&json!(first)), record(&again["eventId"]));
    assert_eq!((&before["labels"], &before["event"]["schemaValid"]), (&after["labels"], &json!(true)));
    for field in ["namespace", "eventName", "payload", "metadata", "ttlSeconds"] {
        assert_eq!(before["event"][field], after["event"][field], "{field}");
    }
    assert_eq!(after["event"].get("schemaValid"), None);
    rpc.ask("EventService/UpdateEvent", &json!({"name": "a.b", "active": false}));
    let refused = rpc.refused(AGAIN, &json!({"event_id": first}));
    assert_eq!((refused.0, refused.1.as_str()), (400, "failed_precondition"));
    assert_eq!(rpc.refused(PUSH, &json!({"namespace": "default", "event": "a.b"})).1, "failed_precondition");
}

#[test]
fn a_batch_is_prepared_started_and_comes_to_its_end() {
    let server = Server::dev(&[]);
    let (rpc, receiver) = (Rpc::of(&server), Receiver::answering(200));
    rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    for n in 0..3 {
        push(&rpc, "a.b", json!({"payload": {"n": n}}));
    }
    push(&rpc, "c.d", json!({}));
    receiver.wait_for(3);
    let prepare = |more: Value| rpc.ask(REPORTS, &json!({"event_name": more, "prepare_repush": true, "pagination": {"limit": 1}}));
    assert_eq!(prepare(json!("none")).get("repushId"), None, "nothing matches");
    let prepared = prepare(json!("a.b"));
    assert_eq!(ids(&prepared).len(), 1, "the batch has all, the page one");
    let ask = json!({"repush_id": prepared["repushId"]});
    let batch = rpc.ask(STATUS, &ask)["batch"].clone();
    assert_eq!(
        (keys(&batch), &batch["status"], &batch["total"]),
        (vec!["createdAt", "expiresAt", "status", "total"], &json!("pending"), &json!(3))
    );
    let started = rpc.ask(START, &ask);
    assert_eq!(started, json!({"repushId": prepared["repushId"], "total": 3, "status": "processing"}));
    let ended = rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["status"] == "completed")["batch"].clone();
    assert_eq!((&ended["processed"], ended.get("failed"), &ended["createdAt"]), (&json!(3), None, &batch["createdAt"]));
    let sent: Vec<String> = receiver.wait_for(6)[3..].iter().map(|request| payload(&request.body)).collect();
    let mut sorted = sent.clone();
    sorted.sort();
    assert_eq!(sorted, [r#"{"n":0}"#, r#"{"n":1}"#, r#"{"n":2}"#]);
    for method in [START, CANCEL] {
        assert_eq!(rpc.refused(method, &ask).1, "failed_precondition", "{method}");
    }
    // One that nobody has started can be cancelled, and then not be started.
    let ask = json!({"repush_id": prepare(json!("c.d"))["repushId"]});
    assert_eq!(rpc.ask(CANCEL, &ask), json!({"status": "cancelled"}));
    assert_eq!(rpc.refused(START, &ask).1, "failed_precondition");
    assert_eq!(rpc.ask(STATUS, &ask)["batch"]["status"], "cancelled");
    for method in [START, STATUS, CANCEL] {
        assert_eq!(rpc.refused(method, &json!({"repush_id": NOBODY})).1, "not_found");
        assert_eq!(rpc.refused(method, &json!({})).1, "invalid_argument");
        assert!(rpc.refused(method, &json!({"repush_id": "r"})).2.starts_with("invalid batch ID: "));
    }
}

#[test]
fn events_and_batches_are_those_of_the_callers_namespace() {
    let server = Server::guarded(MASTER);
    let (master, api) = (Rpc::with_key(&server, MASTER, "one"), Api::with_key(&server, MASTER));
    let key = |namespace: &str, scopes: Value| api.key(&json!({"name": "k", "namespace": namespace, "scopes": scopes})).0;
    let (one, two, reader) = (key("one", json!(["read", "write"])), key("two", json!(["read", "write"])), key("one", json!(["read"])));
    let (one, two, reader) =
        (Rpc::with_key(&server, &one, "one"), Rpc::with_key(&server, &two, "two"), Rpc::with_key(&server, &reader, "one"));
    let id = push(&master, "a.b", json!({"namespace": "one"}));
    push(&master, "a.b", json!({"namespace": "two"}));
    assert_eq!(ids(&one.ask(REPORTS, &json!({}))), [id.as_str()]);
    assert_eq!(two.ask(REPORTS, &json!({"namespace": "one", "prepare_repush": true})), json!({"pagination": {"limit": 50}}));
    for method in [RECORD, AGAIN] {
        assert_eq!(two.refused(method, &json!({"event_id": id})).1, "not_found", "{method}");
    }
    let prepare = |rpc: &Rpc<'_>| json!({"repush_id": rpc.ask(REPORTS, &json!({"prepare_repush": true}))["repushId"]});
    let (own, all) = (prepare(&one), prepare(&master));
    for method in [START, STATUS, CANCEL] {
        assert_eq!(two.refused(method, &own).1, "not_found", "{method}");
        assert_eq!(one.refused(method, &all).1, "not_found", "{method}");
    }
    assert_eq!((&master.ask(STATUS, &own)["batch"]["total"], &master.ask(STATUS, &all)["batch"]["total"]), (&json!(1), &json!(2)));
    assert_eq!(reader.refused(REPORTS, &json!({"prepare_repush": true})).1, "permission_denied");
    assert_eq!(reader.ask(STATUS, &own)["batch"]["status"], "pending");
    for method in [PUSH, AGAIN, START, CANCEL] {
        assert_eq!(reader.refused(method, &own).1, "permission_denied", "{method}");
    }
}

#[test]
fn a_batch_goes_on_over_a_crash() {
    let server = Server::dev(&[]);
    let receiver = Receiver::answering(200);
    let rpc = Rpc::of(&server);
    rpc.register(&receiver.url, json!({"events": ["a.b"]}));
    let events: Vec<Value> = (0..900).map(|n| json!({"event_type": "a.b", "payload": {"n": n}})).collect();
    let answer = Api::of(&server).post("/v1/delivery/events/batch", &json!(events));
    assert!(answer.status < 300, "{}", answer.text());
    receiver.wait_for(900);
    let ask = json!({"repush_id": rpc.ask(REPORTS, &json!({"prepare_repush": true}))["repushId"]});
    rpc.ask(START, &ask);
    rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["processed"].as_u64() >= Some(100));
    let server = Server::start(server.crash(), &["--dev"], &[]);
    let rpc = Rpc::of(&server);
    rpc.ask_until(STATUS, &ask, |answer| answer["batch"]["status"] == "completed");
    assert_eq!(rpc.ask(REPORTS, &json!({}))["pagination"]["totalCount"], 1_800, "each once");
}
