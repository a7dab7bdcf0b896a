//! Trying out without an event: tests of destinations, previews of bindings.

use crate::common;

use crate::common::items::{Api, destination};
use crate::common::{Receiver, Server, keys};
use serde_json::{Value, json};

fn test(api: &Api<'_>, id: &str) -> Value {
    let answer = api.post(&format!("/v1/delivery/destinations/{id}/test"), &Value::Null);
    assert_eq!(answer.status, 200, "{}", answer.text());
    answer.json()
}

#[test]
fn a_test_of_a_destination_is_signed_and_leaves_no_item() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::scripted(|n| common::Reply::Status(if n == 0 { 200 } else { 403 }));
    let mut body = destination(&receiver.url);
    body["signing_secret"] = json!("s3cret-of-signing");
    let id = api.make("destinations", &body);
    let result = test(&api, &id);
    assert_eq!(keys(&result), ["durationMs", "errorCode", "httpStatus", "message", "success"]);
    assert!(result["durationMs"].is_u64(), "{result}");
    assert_eq!((&result["success"], &result["httpStatus"], &result["message"]), (&json!(true), &json!(200), &Value::Null));
    let request = &receiver.wait_for(1)[0];
    assert_eq!(request.headers["x-postrider-event"], "delivery.test");
    assert!(request.headers["x-postrider-signature"].starts_with("t="));
    let refused = test(&api, &id);
    assert_eq!((&refused["success"], &refused["httpStatus"], &refused["errorCode"]), (&json!(false), &json!(403), &json!("auth_failed")));
    assert!(refused["message"].is_string());
    assert_eq!(api.get("/v1/delivery/items").json()["total"], 0);
    assert_eq!(api.get(&format!("/v1/delivery/destinations/{id}")).json()["is_active"], true, "a test disables nothing");
    let nowhere = api.make("destinations", &destination("http://127.0.0.1:1/"));
    let failed = test(&api, &nowhere);
    assert_eq!((&failed["httpStatus"], &failed["errorCode"]), (&Value::Null, &json!("connection_error")));
    assert_eq!(api.post("/v1/delivery/destinations/nobody/test", &Value::Null).status, 404);
}

#[test]
fn a_preview_shows_what_would_be_sent() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let mut to = destination(&receiver.url);
    to["signing_secret"] = json!("s3cret-of-signing");
    to["auth_config"] = json!({"type": "bearer", "token": "s3cret-token"});
    let to = api.make("destinations", &to);
    let shape = json!({
        "signal_filter": {"event_type": "invoice.paid", "match": {"status": "paid"}},
        "field_map": {"rules": [{"source": "$.customer.name", "target": "name"}], "static": {"v": 1}},
        "is_active": false,
    });
    let binding = api.make("bindings", &common::items::binding(&to, "invoice.paid", shape));
    let path = format!("/v1/delivery/bindings/{binding}/preview");
    let preview = |body: &Value| {
        let answer = api.post(&path, body);
        assert_eq!(answer.status, 200, "{}", answer.text());
        answer.json()
    };
    let made_up = preview(&Value::Null);
    assert_eq!((&made_up["available"], &made_up["sample_mode"], &made_up["matched"]), (&json!(true), &json!("structural"), &json!(true)));
    assert_eq!(made_up["structural_sample"], json!({"customer": {"name": "sample"}, "status": "paid"}));
    assert_eq!(made_up["projected"], json!({"customer": {}, "status": "paid", "name": "sample", "v": 1}));
    assert!(made_up["fallback_reason"].is_string());
    api.publish("invoice.paid", &json!({"status": "open"}));
    let event = api.publish("invoice.paid", &json!({"status": "paid", "customer": {"name": "Ada"}}));
    let other = api.publish("invoice.paid", &json!({"status": "void"}));
    let real = preview(&json!({}));
    let signal = json!({"event_type": "invoice.paid", "event_id": event, "payload": {"status": "paid", "customer": {"name": "Ada"}}});
    assert_eq!((&real["sample_mode"], &real["signal"]), (&json!("real"), &signal));
    assert_eq!(real["resolver"], json!({"type": "event", "shape": {"kind": "envelope"}}));
    let wire = &real["wire_preview"];
    assert_eq!(keys(wire), ["body_preview", "headers_preview", "mime", "size_bytes"]);
    let body: Value = serde_json::from_str(wire["body_preview"].as_str().expect("text")).expect("JSON");
    assert_eq!(body["payload"], json!({"status": "paid", "customer": {}, "name": "Ada", "v": 1}));
    assert_eq!((&wire["mime"], &body["event"]["event_id"]), (&json!("application/json"), &json!(event)));
    assert_eq!(wire["headers_preview"]["authorization"], "********");
    assert_eq!(wire["headers_preview"]["x-postrider-signature"], "(made when it is sent)");
    assert!(!real.to_string().contains("s3cret"), "{real}");
    // One that it does not want can be looked at too, and a payload of the caller's own.
    let named = preview(&json!({"event_id": other}));
    assert_eq!((&named["sample_mode"], &named["matched"]), (&json!("real"), &json!(false)));
    let given = preview(&json!({"payload": {"status": "paid"}}));
    assert_eq!(
        (&given["sample_mode"], &given["matched"], &given["projected"]),
        (&json!("structural"), &json!(true), &json!({"status": "paid", "v": 1}))
    );
    assert!(given.get("fallback_reason").is_none());
    for (bad, at) in [
        (json!({"event_id": 7}), "event_id"),
        (json!({"event_id": "x"}), "event_id"),
        (json!({"event_id": "999999"}), "event_id"),
        (json!({"payload": [1]}), "payload"),
        (json!({"event_id": other, "payload": {}}), "payload"),
        (json!({"sample": 1}), "sample"),
    ] {
        let answer = api.post(&path, &bad);
        assert_eq!((answer.status, &answer.json()["details"][0]["path"]), (400, &json!(at)), "{bad}");
    }
    assert_eq!((receiver.count(), &api.get("/v1/delivery/items").json()["total"]), (0, &json!(0)), "nothing is sent");
}

#[test]
fn a_preview_says_why_nothing_could_be_sent() {
    let server = Server::dev(&[]);
    let api = Api::of(&server);
    let receiver = Receiver::answering(200);
    let mut to = destination(&receiver.url);
    to["payload_cap_bytes"] = json!(1024);
    let to = api.make("destinations", &to);
    let binding = api.make("bindings", &common::items::binding(&to, "a.b", json!({})));
    let answer = api.post(&format!("/v1/delivery/bindings/{binding}/preview"), &json!({"payload": {"x": "y".repeat(2000)}})).json();
    assert_eq!(
        (&answer["error_code"], &answer["wire_preview"], &answer["projected"]),
        (&json!("payload_too_large"), &Value::Null, &Value::Null)
    );
    assert!(answer["error_message"].as_str().is_some_and(|text| text.contains("1024")), "{answer}");
}
