//! Event types over the RPC API: registered, listed, changed, deleted.

use crate::common::items::Api;
use crate::common::rpc::Rpc;
use crate::common::{Server, keys};
use serde_json::{Value, json};

const MASTER: &str = "a-master-key-for-tests";
const REGISTER: &str = "EventService/RegisterEvent";
const UPDATE: &str = "EventService/UpdateEvent";
const DELETE: &str = "EventService/DeleteEvent";
const GET: &str = "EventService/GetEvent";
const LIST: &str = "EventService/ListEvents";
const PUSH: &str = "EventService/PushEvent";

fn names(listed: &Value) -> Vec<&str> {
    let events = listed["events"].as_array().map_or(&[][..], Vec::as_slice);
    events.iter().map(|event| event["name"].as_str().expect("a name")).collect()
}

fn get(rpc: &Rpc<'_>, name: &str) -> Value {
    rpc.ask(GET, &json!({"name": name}))["event"].clone()
}

#[test]
fn a_type_is_shown_as_it_was_registered_with_a_sample() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let schema = r#"{"type" : "object","properties":{"id":{"maximum":9007199254740993,"type":"integer","examples":[7]}}}"#;
    let body =
        format!("{{\"name\":\"order.created\",\"description\":\"An order.\",\"schema\":{schema},\"metadata\":{{\"owner\":\"shop\"}}}}");
    let made = rpc.send(REGISTER, "application/json", body.as_bytes());
    assert_eq!(made.status, 200, "{}", made.text());
    let made = made.json();
    assert_eq!((keys(&made), &made["eventId"]), (vec!["createdAt", "eventId"], &json!("order.created")));
    let shown = rpc.json(GET, &json!({"name": "order.created"}));
    assert!(shown.text().contains(schema), "{}", shown.text());
    let shown = shown.json()["event"].clone();
    assert_eq!(shown["samplePayload"], json!({"id": 7}));
    assert_eq!(
        (&shown["name"], &shown["description"], &shown["metadata"], &shown["active"]),
        (&json!("order.created"), &json!("An order."), &json!({"owner": "shop"}), &json!(true))
    );
    assert_eq!((&shown["createdAt"], &shown["updatedAt"]), (&made["createdAt"], &made["createdAt"]));
    assert_eq!(rpc.ask(LIST, &json!({}))["events"], json!([shown]));
    let (status, code, _) = rpc.refused(REGISTER, &json!({"name": "order.created"}));
    assert_eq!((status, code.as_str()), (409, "already_exists"));
    // One that says nothing is active, and has neither a schema nor a sample.
    rpc.ask(REGISTER, &json!({"name": "Bare"}));
    assert_eq!(keys(&get(&rpc, "Bare")), ["active", "createdAt", "name", "updatedAt"]);
}

#[test]
fn types_are_listed_newest_first() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    for n in 0..5 {
        rpc.ask(REGISTER, &json!({"name": format!("t.{n}"), "active": n % 2 == 0}));
    }
    let listed = |request: Value| {
        let answer = rpc.ask(LIST, &request);
        (names(&answer).join(" "), answer["pagination"].clone())
    };
    assert_eq!(listed(json!({})), ("t.4 t.3 t.2 t.1 t.0".into(), json!({"totalCount": 5, "limit": 50})));
    assert_eq!(listed(json!({"active_only": true})), ("t.4 t.2 t.0".into(), json!({"totalCount": 3, "limit": 50})));
    let page = json!({"pagination": {"limit": 2, "offset": 3}});
    assert_eq!(listed(page), ("t.1 t.0".into(), json!({"totalCount": 5, "limit": 2, "offset": 3})));
}

#[test]
fn what_is_not_sent_stays_in_an_update() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let first = json!({"name": "a.b", "description": "d", "schema": {"type": "object"}, "metadata": {"m": "1"}});
    rpc.ask(REGISTER, &first);
    let before = get(&rpc, "a.b");
    let mut expected = before.clone();
    for (updates, field, value) in [
        (json!({}), "active", json!(true)),
        (json!({"metadata": {}}), "metadata", json!({"m": "1"})),
        (json!({"description": ""}), "description", Value::Null),
        (json!({"metadata": {"n": "2"}}), "metadata", json!({"n": "2"})),
        (json!({"schema": {"type": "object", "title": "t"}}), "schema", json!({"type": "object", "title": "t"})),
    ] {
        let mut request = updates.clone();
        request["name"] = json!("a.b");
        assert_eq!(rpc.ask(UPDATE, &request), json!({}));
        let mut shown = get(&rpc, "a.b");
        expected[field] = value;
        expected["updatedAt"] = shown["updatedAt"].clone();
        shown["description"] = shown.get("description").cloned().unwrap_or_default();
        assert_eq!(shown, expected, "{updates}");
    }
    rpc.ask(UPDATE, &json!({"name": "a.b", "active": false}));
    assert_eq!(get(&rpc, "a.b").get("active"), None);
    assert_eq!(rpc.refused(PUSH, &json!({"namespace": "default", "event": "a.b"})).1, "failed_precondition");
    rpc.ask(UPDATE, &json!({"name": "a.b", "active": true}));
    rpc.ask(PUSH, &json!({"namespace": "default", "event": "a.b"}));
    assert_eq!(get(&rpc, "a.b")["createdAt"], before["createdAt"]);
}

#[test]
fn what_is_wrong_with_a_type_is_told() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    rpc.ask(REGISTER, &json!({"name": "there"}));
    for (method, more) in [(REGISTER, json!({"name": "new"})), (UPDATE, json!({"name": "there"}))] {
        for wrong in [
            json!({"name": ""}),
            json!({"schema": {"type": 5}}),
            json!({"schema": {"$ref": "https://elsewhere.example/schema"}}),
            json!({"schema": [1]}),
            json!({"description": "d".repeat(4_097)}),
            json!({"metadata": {"": "v"}}),
        ] {
            let mut request = more.clone();
            request.as_object_mut().expect("an object").extend(wrong.as_object().expect("an object").clone());
            let (status, code, message) = rpc.refused(method, &request);
            assert_eq!((status, code.as_str()), (400, "invalid_argument"), "{method} {request}: {message}");
        }
    }
    for name in ["a b", "delivery.mine", "*", "order.*", "a*b", &"x".repeat(256)] {
        assert_eq!(rpc.refused(REGISTER, &json!({"name": name})).1, "invalid_argument", "{name}");
        assert_eq!(rpc.refused(PUSH, &json!({"namespace": "default", "event": name})).1, "invalid_argument", "{name}");
    }
    let message = rpc.refused(REGISTER, &json!({"name": "new", "schema": {"type": 5}})).2;
    assert!(message.starts_with("schema: "), "{message}");
    for method in [GET, UPDATE, DELETE] {
        assert_eq!(rpc.refused(method, &json!({"name": "nobody"})).1, "not_found", "{method}");
        assert_eq!(rpc.refused(method, &json!({})).1, "invalid_argument", "{method}");
    }
    assert_eq!(names(&rpc.ask(LIST, &json!({}))), ["there"]);
}

#[test]
fn a_type_that_is_published_is_registered_and_a_deleted_one_goes() {
    let server = Server::dev(&[]);
    let rpc = Rpc::of(&server);
    let push = || rpc.ask(PUSH, &json!({"namespace": "default", "event": "Order-Made"}));
    push();
    push();
    let shown = get(&rpc, "Order-Made");
    assert_eq!(
        (keys(&shown), rpc.ask(LIST, &json!({}))["pagination"]["totalCount"].clone()),
        (vec!["active", "createdAt", "name", "updatedAt"], json!(1))
    );
    assert_eq!(rpc.ask(DELETE, &json!({"name": "Order-Made"})), json!({}));
    assert_eq!(rpc.refused(GET, &json!({"name": "Order-Made"})).1, "not_found");
    push();
    let again = get(&rpc, "Order-Made");
    assert_ne!(again["createdAt"], shown["createdAt"]);
    // Types are there after a restart, with their schemas.
    rpc.ask(REGISTER, &json!({"name": "kept", "schema": {"required": ["x"]}}));
    rpc.ask(DELETE, &json!({"name": "Order-Made"}));
    let server = Server::start(server.stop().1, &["--dev"], &[]);
    let rpc = Rpc::of(&server);
    assert_eq!(names(&rpc.ask(LIST, &json!({}))), ["kept"]);
    let pushed = rpc.ask(PUSH, &json!({"namespace": "default", "event": "kept"}));
    assert_eq!(pushed["warnings"], json!(["field 'x': is required"]));
}

#[test]
fn a_key_of_a_namespace_has_a_registry_of_its_own_before_the_shared_one() {
    let server = Server::guarded(MASTER);
    let (master, api) = (Rpc::with_key(&server, MASTER, "one"), Api::with_key(&server, MASTER));
    let key = |namespace: &str| api.key(&json!({"name": "k", "namespace": namespace, "scopes": ["read", "write"]})).0;
    let (one, two) = (key("one"), key("two"));
    let (one, two) = (Rpc::with_key(&server, &one, "one"), Rpc::with_key(&server, &two, "two"));
    for name in ["shared", "both"] {
        master.ask(REGISTER, &json!({"name": name, "schema": {"required": ["s"]}}));
    }
    one.ask(REGISTER, &json!({"name": "both", "schema": {"required": ["o"]}}));
    one.ask(REGISTER, &json!({"name": "own"}));
    assert_eq!(names(&one.ask(LIST, &json!({}))), ["own", "both", "shared"]);
    assert_eq!(names(&two.ask(LIST, &json!({}))), ["both", "shared"]);
    assert_eq!(names(&master.ask(LIST, &json!({}))), ["both", "shared"]);
    assert_eq!(get(&one, "both")["schema"], json!({"required": ["o"]}));
    assert_eq!(get(&two, "both")["schema"], json!({"required": ["s"]}));
    assert_eq!(two.refused(GET, &json!({"name": "own"})).1, "not_found");
    // What holds for others is changed by who sees all of them.
    for method in [UPDATE, DELETE] {
        assert_eq!(two.refused(method, &json!({"name": "both"})).1, "permission_denied", "{method}");
        assert_eq!(two.refused(method, &json!({"name": "own"})).1, "not_found", "{method}");
    }
    let warnings = |rpc: &Rpc<'_>, namespace: &str| rpc.ask(PUSH, &json!({"namespace": namespace, "event": "both"}))["warnings"].clone();
    assert_eq!((warnings(&one, "one"), warnings(&master, "one")), (json!(["field 'o': is required"]), json!(["field 'o': is required"])));
    assert_eq!(warnings(&two, "two"), json!(["field 's': is required"]));
    one.ask(DELETE, &json!({"name": "both"}));
    assert_eq!(warnings(&one, "one"), json!(["field 's': is required"]), "the shared one is behind it");
    // What is registered by being published goes to the registry of its namespace, whoever publishes it.
    for (rpc, event) in [(&one, "from.one"), (&master, "from.master")] {
        rpc.ask(PUSH, &json!({"namespace": "one", "event": event}));
    }
    assert_eq!(names(&master.ask(LIST, &json!({}))), ["both", "shared"]);
    assert_eq!(names(&two.ask(LIST, &json!({}))), ["both", "shared"]);
    assert_eq!(names(&one.ask(LIST, &json!({}))), ["from.master", "from.one", "own", "both", "shared"]);
}

#[test]
fn a_key_without_a_namespace_keeps_the_types_of_any() {
    let server = Server::guarded(MASTER);
    let (master, api) = (Rpc::with_key(&server, MASTER, "one"), Api::with_key(&server, MASTER));
    let key = api.key(&json!({"name": "k", "namespace": "one", "scopes": ["read", "write"]})).0;
    let one = Rpc::with_key(&server, &key, "one");
    let of = |namespace: &str, name: &str| json!({"namespace": namespace, "name": name});
    master.ask(REGISTER, &json!({"name": "shared"}));
    master.ask(REGISTER, &of("one", "made.for.one"));
    one.ask(REGISTER, &json!({"name": "own"}));
    assert_eq!(names(&master.ask(LIST, &json!({}))), ["shared"]);
    for rpc in [&master, &one] {
        assert_eq!(names(&rpc.ask(LIST, &json!({"namespace": "one"}))), ["own", "made.for.one", "shared"]);
    }
    assert_eq!(names(&master.ask(LIST, &json!({"namespace": ""}))), ["shared"]);
    assert_eq!(master.refused(GET, &json!({"name": "own"})).1, "not_found");
    assert_eq!(master.ask(GET, &of("one", "own"))["event"]["name"], "own");
    // A tenant that has shut itself out is helped.
    one.ask(UPDATE, &json!({"name": "own", "active": false}));
    master.ask(UPDATE, &json!({"namespace": "one", "name": "own", "active": true, "description": "mended"}));
    assert_eq!((&get(&one, "own")["active"], &get(&one, "own")["description"]), (&json!(true), &json!("mended")));
    assert_eq!(master.ask(GET, &of("one", "shared"))["event"]["name"], "shared");
    for method in [UPDATE, DELETE] {
        assert_eq!(master.refused(method, &of("one", "shared")).1, "not_found", "{method}: it is not one's own");
    }
    assert_eq!(master.ask(DELETE, &of("one", "own")), json!({}));
    assert_eq!(names(&one.ask(LIST, &json!({}))), ["made.for.one", "shared"]);
    for method in [REGISTER, UPDATE, DELETE, GET] {
        assert_eq!(one.refused(method, &of("two", "own")).1, "permission_denied", "{method}");
    }
    assert_eq!(one.refused(LIST, &json!({"namespace": "two"})).1, "permission_denied");
    assert_eq!(master.refused(LIST, &json!({"namespace": "a b"})).1, "invalid_argument");
}
