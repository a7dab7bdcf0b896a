//! Every field of every body of `/v1`, as it must not be: what is wrong is named by its path, and nothing is stored.

use crate::common::items::{Api, binding, destination};
use crate::common::{Answer, Server};
use serde_json::{Map, Value, json};

const MASTER: &str = "a-master-key-of-this-test";

const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

const JSON: &str = "application/json";

/// What a field holds.
#[derive(Clone, Copy)]
enum Kind {
    Text,
    Object,
    Array,
    Flag,
    Whole,
    Number,
}

impl Kind {
    /// Values of other types.
    fn others(self) -> Vec<Value> {
        let (text, whole, flag, array, object) = (json!("1"), json!(7), json!(true), json!([]), json!({}));
        match self {
            Kind::Text => vec![whole, flag, array, object, json!(["x"])],
            Kind::Object => vec![text, whole, flag, array, json!([{}])],
            Kind::Array => vec![text, whole, flag, object],
            Kind::Flag => vec![text, whole, array, object, json!("true"), json!(0)],
            Kind::Whole => vec![text, flag, array, object, json!(1.5), json!(-1), json!(1e300)],
            Kind::Number => vec![text, flag, array, object],
        }
    }
}

/// When a field must be there.
#[derive(Clone, Copy, PartialEq)]
enum Rule {
    /// When a thing is made, and it is never `null`.
    Made,
    /// Wherever its object is, and it is never `null`.
    Always,
    /// It may be left out, and is never `null`.
    Set,
    /// It may be left out or `null`.
    Free,
}

struct Field {
    at: &'static str,
    kind: Kind,
    rule: Rule,
    /// Values of its type that are wrong.
    bad: Vec<Value>,
}

fn field(at: &'static str, kind: Kind, rule: Rule, bad: impl Into<Vec<Value>>) -> Field {
    Field { at, kind, rule, bad: bad.into() }
}

/// A way in, a right body for it, and what may be wrong with it.
struct Door {
    method: &'static str,
    path: String,
    good: Value,
    fields: Vec<Field>,
    /// Objects that take known fields only; the empty path is the body.
    closed: Vec<&'static str>,
    /// Further values for fields, each with the path that is named, which is not that of the field.
    inside: Vec<(&'static str, Value, &'static str)>,
    /// Entries of objects with free names, to be there twice.
    free: Vec<&'static str>,
}

impl Door {
    fn is_new(&self) -> bool {
        self.method == "POST"
    }

    /// Wrong bodies, each with the path that is to be named.
    fn cases(&self) -> Vec<(String, String)> {
        let mut cases = Vec::new();
        for Field { at, kind, rule, bad } in &self.fields {
            let mut push = |body: String| cases.push((body, (*at).to_owned()));
            kind.others().into_iter().chain(bad.iter().cloned()).for_each(|value| push(with(&self.good, at, value).to_string()));
            if *rule != Rule::Free {
                push(with(&self.good, at, Value::Null).to_string());
            }
            if *rule == Rule::Always || *rule == Rule::Made && self.is_new() {
                push(without(&self.good, at).to_string());
            }
            if !at.ends_with(']') && self.good.pointer(&pointer(at)).is_some() {
                push(twice(&self.good, at));
            }
        }
        for at in &self.closed {
            let at = if at.is_empty() { String::from("surprise") } else { format!("{at}.surprise") };
            cases.push((with(&self.good, &at, json!(1)).to_string(), at));
        }
        cases.extend(self.inside.iter().map(|(at, value, named)| (with(&self.good, at, value.clone()).to_string(), (*named).to_owned())));
        cases.extend(self.free.iter().map(|at| (twice(&self.good, at), (*at).to_owned())));
        cases
    }
}

/// `a.b[0].c` as a JSON pointer.
fn pointer(at: &str) -> String {
    format!("/{}", at.replace(['.', '['], "/").replace(']', ""))
}

fn with(good: &Value, at: &str, value: Value) -> Value {
    let (mut body, pointer) = (good.clone(), pointer(at));
    let (parent, name) = pointer.rsplit_once('/').expect("a slash");
    match body.pointer_mut(parent).unwrap_or_else(|| panic!("{at} has no parent in {good}")) {
        Value::Array(values) => values[name.parse::<usize>().expect("a place")] = value,
        parent => _ = parent.as_object_mut().expect("an object").insert(name.to_owned(), value),
    }
    body
}

fn without(good: &Value, at: &str) -> Value {
    let (mut body, pointer) = (good.clone(), pointer(at));
    let (parent, name) = pointer.rsplit_once('/').expect("a slash");
    let parent = body.pointer_mut(parent).and_then(Value::as_object_mut).expect("an object");
    assert!(parent.remove(name).is_some(), "{at} is not in {good}");
    body
}

/// The text of a body in which a field is there twice.
fn twice(good: &Value, at: &str) -> String {
    let pointer = pointer(at);
    let (_, name) = pointer.rsplit_once('/').expect("a slash");
    let value = good.pointer(&pointer).unwrap_or_else(|| panic!("{at} is not in {good}")).clone();
    let parent = at.strip_suffix(name).expect("its name");
    with(good, &format!("{parent}@@again"), value).to_string().replace("@@again", name)
}

fn many(count: usize, entry: impl Fn(usize) -> (String, Value)) -> Value {
    Value::Object((0..count).map(entry).collect::<Map<_, _>>())
}

fn long(bytes: usize) -> Value {
    json!("x".repeat(bytes))
}

fn nested(levels: usize) -> Value {
    (0..levels).fold(json!(1), |inner, _| json!([inner]))
}

struct World {
    server: Server,
    key: String,
    destination: String,
    binding: String,
}

impl World {
    fn new() -> Self {
        let flags = ["--allow-network", "127.0.0.0/8", "--max-body", "64KiB", "--rate-limit-read", "0", "--rate-limit-write", "0"];
        let server = Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)]);
        let (key, _) = Api::with_key(&server, MASTER).key(&json!({"namespace": "team", "scopes": ["admin"]}));
        let api = Api::with_key(&server, &key);
        let destination = api.make("destinations", &destination("http://127.0.0.1:9/"));
        let binding = api.make("bindings", &binding(&destination, "a.none", json!({})));
        World { key, destination, binding, server }
    }

    fn ask(&self, method: &str, path: &str, media: &str, body: &[u8]) -> Answer {
        self.server.call(method, path, &[("x-api-key", &self.key), ("content-type", media)], body)
    }

    /// All that is stored.
    fn everything(&self) -> Vec<Value> {
        let api = Api::with_key(&self.server, &self.key);
        let lists =
            ["delivery/events", "delivery/items", "delivery/dlq", "delivery/jobs", "delivery/destinations", "delivery/bindings", "keys"];
        lists.map(|list| api.get(&format!("/v1/{list}?limit=500")).json()).to_vec()
    }

    /// Tries every wrong body at every door, and then the right one.
    fn try_all(&self, doors: &[Door]) {
        let before = self.everything();
        for door in doors {
            for (body, at) in door.cases() {
                let answer = self.ask(door.method, &door.path, JSON, body.as_bytes());
                let what = format!("{} {} {}", door.method, door.path, &body[..body.len().min(2_000)]);
                assert_eq!(answer.status, 400, "{what}: {at}: {}", answer.text());
                let value = answer.json();
                assert_eq!(value["code"], "validation_error", "{what}: {value}");
                let named: Vec<_> = value["details"].as_array().expect("details").iter().map(|detail| detail["path"].clone()).collect();
                assert_eq!(named, [json!(at)], "{what}: {value}");
                assert!(value["details"][0]["message"].as_str().is_some_and(|text| !text.is_empty()), "{what}: {value}");
            }
        }
        assert_eq!(self.everything(), before, "nothing is stored");
        for door in doors {
            let answer = self.ask(door.method, &door.path, JSON, door.good.to_string().as_bytes());
            assert!((200..300).contains(&answer.status), "{} {} {}: {}", door.method, door.path, door.good, answer.text());
        }
    }
}

const CREDENTIALS: [&str; 3] = ["bearer", "basic", "api_key"];

fn good_destination(credentials: &str) -> Value {
    json!({
        "name": "billing",
        "config": {"url": "http://127.0.0.1:9/hook", "headers": {"X-Team": "ops"}},
        "auth_config": match credentials {
            "bearer" => json!({"type": "bearer", "token": "t"}),
            "basic" => json!({"type": "basic", "username": "u", "password": "p"}),
            _ => json!({"type": "api_key", "api_key": "k", "header_name": "X-Key"}),
        },
        "signing_secret": "a secret",
        "payload_cap_bytes": 2048,
        "is_active": true,
    })
}

fn credentials(kind: &str) -> Vec<Field> {
    let config = field("auth_config", Kind::Object, Rule::Free, []);
    let of = field("auth_config.type", Kind::Text, Rule::Always, [json!(""), json!("digest"), json!("Bearer")]);
    let control = json!("a\nb");
    let own = match kind {
        "bearer" => {
            let bad = [json!(""), json!("a b"), json!("é"), control, long(4_097)];
            vec![field("auth_config.token", Kind::Text, Rule::Always, bad)]
        }
        "basic" => vec![
            field("auth_config.username", Kind::Text, Rule::Always, [json!("a:b"), control.clone(), long(2_049)]),
            field("auth_config.password", Kind::Text, Rule::Always, [control, long(2_049)]),
        ],
        _ => {
            let names = ["", "a b", "Content-Length", "Host", "X-Postrider-Event", "webhook-id"].map(Value::from);
            vec![
                field("auth_config.api_key", Kind::Text, Rule::Always, [json!(""), json!(" k"), json!("é"), control, long(4_097)]),
                field("auth_config.header_name", Kind::Text, Rule::Free, names),
            ]
        }
    };
    own.into_iter().chain([config, of]).collect()
}

fn destination_fields() -> Vec<Field> {
    let urls = [
        "",
        "nonsense",
        "/hook",
        "ftp://a.test/",
        "https://",
        "https://a.test:99999/",
        "https://a b.test/",
        "https://u:p@a.test/",
        "https://a.test/#f",
        "http://8.8.8.8/",
        "https://10.0.0.1/",
        "https://169.254.169.254/",
        "https://[::1]/",
    ];
    let mut urls = urls.map(Value::from).to_vec();
    urls.push(json!(format!("https://a.test/{}", "x".repeat(2_048))));
    let headers = [json!({"X-A": 3}), json!({"X-A": null}), json!({"X-A": ["x"]}), many(33, |n| (format!("X-{n}"), json!("x")))];
    let secrets = [json!(""), json!("********"), json!("whsec_!!!"), long(1_025)];
    vec![
        field("name", Kind::Text, Rule::Made, [json!(""), json!("a\nb"), json!("\u{0}"), long(201)]),
        field("config", Kind::Object, Rule::Made, []),
        field("config.url", Kind::Text, Rule::Made, urls),
        field("config.headers", Kind::Object, Rule::Free, headers),
        field("signing_secret", Kind::Text, Rule::Free, secrets),
        field("payload_cap_bytes", Kind::Whole, Rule::Free, [json!(0), json!(1_023), json!(104_857_601)]),
        field("is_active", Kind::Flag, Rule::Set, []),
    ]
}

fn header_cases() -> Vec<(&'static str, Value, &'static str)> {
    let at = "config.headers";
    vec![
        (at, json!({"": "x"}), "config.headers."),
        (at, json!({"a b": "x"}), "config.headers.a b"),
        (at, json!({"X-A": "a\r\nX-B: c"}), "config.headers.X-A"),
        (at, json!({"X-A": "a\u{0}"}), "config.headers.X-A"),
        (at, json!({"X-A": "x".repeat(4_097)}), "config.headers.X-A"),
        (at, json!({"X-A": "1", "x-a": "2"}), "config.headers.x-a"),
        (at, json!({"Host": "x"}), "config.headers.Host"),
        (at, json!({"Content-Length": "1"}), "config.headers.Content-Length"),
        (at, json!({"content-type": "x/y"}), "config.headers.content-type"),
        (at, json!({"Transfer-Encoding": "x"}), "config.headers.Transfer-Encoding"),
        (at, json!({"Idempotency-Key": "x"}), "config.headers.Idempotency-Key"),
        (at, json!({"X-Postrider-Signature": "x"}), "config.headers.X-Postrider-Signature"),
        (at, json!({"webhook-id": "x"}), "config.headers.webhook-id"),
        (at, json!({"X-Token": "********"}), "config.headers.X-Token"),
    ]
}

#[test]
fn destinations() {
    let world = World::new();
    let update = format!("/v1/delivery/destinations/{}", world.destination);
    let mut doors = Vec::new();
    for (method, path) in [("POST", "/v1/delivery/destinations"), ("PUT", &update)] {
        for kind in CREDENTIALS {
            let mut good = good_destination(kind);
            let mut fields = credentials(kind);
            let mut inside = Vec::new();
            if kind == "bearer" {
                fields.extend(destination_fields());
                inside = header_cases();
            }
            if kind != "api_key" {
                inside.push(("config.headers", json!({"Authorization": "x"}), "config.headers.Authorization"));
            }
            let foreign = if kind == "basic" { "auth_config.token" } else { "auth_config.password" };
            inside.push((foreign, json!("x"), foreign));
            if method == "POST" {
                good["type"] = json!("webhook");
                fields.push(field("type", Kind::Text, Rule::Made, [json!(""), json!("sftp"), json!("Webhook")]));
            } else {
                inside.extend([("type", json!("webhook"), "type"), ("type", Value::Null, "type"), ("type", json!(7), "type")]);
            }
            let (closed, free) = (vec!["", "config", "auth_config"], vec!["config.headers.X-Team"]);
            doors.push(Door { method, path: path.to_owned(), good, fields, closed, inside, free });
        }
    }
    world.try_all(&doors);
}

fn good_binding(destination: &str) -> Value {
    let more = json!({
        "signal_filter": {"event_type": "a.b", "match": {"country": "DE", "total": {"net": 1}}},
        "serializer_config": {"envelope": true},
        "resolver_config": {},
        "field_map": {"rules": [{"source": "a", "target": "b"}], "static": {"v": {"w": 1}}, "drop": ["x"]},
        "delivery_policy": {"max_attempts": 3, "backoff_schedule": [1000], "timeout_ms": 5000, "rate_limit": {"ratePerSec": 5, "capacity": 5}},
        "is_active": true,
    });
    binding(destination, "a.b", more)
}

fn binding_fields() -> Vec<Field> {
    let types = ["", "a", "A.b", "a..b", ".a.b", "a.b.", "a b.c", "*", "a.*", "delivery.other"].map(Value::from);
    let types: Vec<Value> = types.into_iter().chain([json!(format!("a.{}", "b".repeat(254)))]).collect();
    let matches = [many(17, |n| (format!("f{n}"), json!(n))), json!({"country": "x".repeat(8_192)})];
    let rules = (0..65).map(|n| json!({"source": "a", "target": format!("t{n}")})).collect::<Vec<_>>();
    let paths = || ["", "a..b", ".a", "a[0]", "$", "a.b.c.d.e.f.g.h.i"].map(Value::from).into_iter().chain([long(256)]).collect::<Vec<_>>();
    let targets = ["", "a.b", "$a"].map(Value::from).into_iter().chain([long(256)]).collect::<Vec<_>>();
    let gaps = [json!([]), json!([-1]), json!(["1"]), json!([1.5]), json!([null]), json!([[]]), json!(vec![1; 101])];
    let map = field("field_map", Kind::Object, Rule::Free, [json!({"static": {"a": "x".repeat(32_768)}})]);
    vec![
        field("name", Kind::Text, Rule::Made, [json!(""), json!("a\nb"), long(201)]),
        field("signal_filter", Kind::Object, Rule::Made, []),
        field("signal_filter.event_type", Kind::Text, Rule::Always, types),
        field("signal_filter.match", Kind::Object, Rule::Free, matches),
        field("deliverable_type", Kind::Text, Rule::Made, [json!(""), json!("run"), json!("Event")]),
        field("destination_id", Kind::Text, Rule::Made, [json!(""), json!("7"), json!(NOBODY), long(5_000)]),
        field("serializer_format", Kind::Text, Rule::Made, [json!(""), json!("xlsx"), json!("JSON")]),
        field("serializer_config", Kind::Object, Rule::Free, []),
        field("serializer_config.envelope", Kind::Flag, Rule::Free, []),
        field("resolver_config", Kind::Object, Rule::Free, []),
        map,
        field("field_map.rules", Kind::Array, Rule::Set, [json!(rules)]),
        field("field_map.rules[0]", Kind::Object, Rule::Set, []),
        field("field_map.rules[0].source", Kind::Text, Rule::Always, paths()),
        field("field_map.rules[0].target", Kind::Text, Rule::Always, targets),
        field("field_map.static", Kind::Object, Rule::Set, [many(65, |n| (format!("f{n}"), json!(n)))]),
        field("field_map.drop", Kind::Array, Rule::Set, [json!(vec!["x"; 65])]),
        field("field_map.drop[0]", Kind::Text, Rule::Set, paths()),
        field("delivery_policy", Kind::Object, Rule::Free, []),
        field("delivery_policy.max_attempts", Kind::Whole, Rule::Free, [json!(0), json!(21), json!(u64::MAX)]),
        field("delivery_policy.backoff_schedule", Kind::Array, Rule::Free, gaps),
        field("delivery_policy.timeout_ms", Kind::Whole, Rule::Free, [json!(0), json!(999), json!(120_001)]),
        field("delivery_policy.rate_limit", Kind::Object, Rule::Free, []),
        field("delivery_policy.rate_limit.ratePerSec", Kind::Number, Rule::Always, [json!(0), json!(-1), json!(1e-9), json!(10_001)]),
        field("delivery_policy.rate_limit.capacity", Kind::Whole, Rule::Always, [json!(0), json!(1_000_001)]),
        field("is_active", Kind::Flag, Rule::Free, []),
    ]
}

fn binding_cases() -> Vec<(&'static str, Value, &'static str)> {
    let map = "field_map";
    vec![
        ("signal_filter.match", json!({"country": nested(9)}), "signal_filter.match.country"),
        (map, json!({"rules": [{"source": "a", "target": "x"}, {"source": "b", "target": "x"}]}), "field_map.rules[1].target"),
        (map, json!({"static": {"a.b": 1}}), "field_map.static.a.b"),
        (map, json!({"static": {"": 1}}), "field_map.static"),
        (map, json!({"x": 1}), "field_map.x"),
        (map, json!({"x": "a..b"}), "field_map.x"),
        (map, json!({"rules": [{"source": "a", "target": "x", "more": 1}]}), "field_map.rules[0].more"),
        ("delivery_policy.backoff_schedule", json!([0, 604_800_001]), "delivery_policy.backoff_schedule[1]"),
    ]
}

#[test]
fn bindings() {
    let world = World::new();
    let update = format!("/v1/delivery/bindings/{}", world.binding);
    let doors = [("POST", "/v1/delivery/bindings"), ("PUT", &update)].map(|(method, path)| Door {
        method,
        path: path.to_owned(),
        good: good_binding(&world.destination),
        fields: binding_fields(),
        closed: vec![
            "",
            "signal_filter",
            "serializer_config",
            "resolver_config",
            "field_map",
            "field_map.rules[0]",
            "delivery_policy",
            "delivery_policy.rate_limit",
        ],
        inside: binding_cases(),
        free: vec!["signal_filter.match.country", "signal_filter.match.total.net", "field_map.static.v", "field_map.static.v.w"],
    });
    world.try_all(&doors);
}

fn events_door() -> Door {
    let types = ["", "a", "A.b", "a..b", "a.b.", "a b.c", "delivery.item.failed"].map(Value::from);
    let types: Vec<Value> = types.into_iter().chain([json!(format!("a.{}", "b".repeat(254)))]).collect();
    let labels = [
        json!({"l": 1}),
        json!({"l": null}),
        json!({"": "x"}),
        json!({"a b": "x"}),
        json!({"l": "a\nb"}),
        json!({"l": "x".repeat(257)}),
        many(1, |_| ("x".repeat(65), json!("x"))),
        many(21, |n| (format!("l{n}"), json!("x"))),
    ];
    let metadata = [
        json!({"m": 1}),
        json!({"": "x"}),
        json!({"m": "a\u{0}"}),
        json!({"m": "x".repeat(1_024)}),
        many(51, |n| (format!("m{n}"), json!("x"))),
    ];
    Door {
        method: "POST",
        path: String::from("/v1/delivery/events"),
        good: json!({
            "event_type": "a.b", "payload": {"n": 1}, "dedup_key": "once", "labels": {"l": "v"}, "metadata": {"m": "w"}, "ttl_seconds": 60,
        }),
        fields: vec![
            field("event_type", Kind::Text, Rule::Always, types),
            field("payload", Kind::Object, Rule::Always, []),
            field("dedup_key", Kind::Text, Rule::Free, [json!(""), json!("a\nb"), long(256)]),
            field("labels", Kind::Object, Rule::Free, labels),
            field("metadata", Kind::Object, Rule::Free, metadata),
            field("ttl_seconds", Kind::Whole, Rule::Free, [json!(0), json!(31_622_401)]),
        ],
        closed: vec![""],
        inside: vec![],
        free: vec!["labels.l", "metadata.m"],
    }
}

#[test]
fn events_and_batches_of_them() {
    let world = World::new();
    let before = world.everything();
    let door = events_door();
    for (media, begin, end) in [(JSON, "[", "]"), ("application/x-ndjson", "", "\n")] {
        for (body, at) in door.cases() {
            let answer = world.ask("POST", "/v1/delivery/events/batch", media, format!("{begin}{body}{end}").as_bytes());
            let value = answer.json();
            let counts = (&value["accepted"], &value["duplicates"], &value["rejected"]);
            assert_eq!((answer.status, counts), (200, (&json!(0), &json!(0), &json!(1))), "{media} {body}: {value}");
            let result = &value["results"][0];
            let found = (&result["status"], &result["code"], &result["details"][0]["path"]);
            assert_eq!(found, (&json!(400), &json!("validation_error"), &json!(at)), "{media} {body}: {value}");
        }
    }
    let event = door.good.to_string();
    let too_many = format!("[{}]", vec![r#"{"x":1}"#; 1_001].join(","));
    let too_many_lines = "{}\n".repeat(1_001);
    for (media, body) in [
        (JSON, "[]"),
        (JSON, event.as_str()),
        (JSON, "[1"),
        (JSON, &too_many),
        ("application/x-ndjson", ""),
        ("application/x-ndjson", " \n\n"),
        ("application/x-ndjson", &too_many_lines),
    ] {
        let answer = world.ask("POST", "/v1/delivery/events/batch", media, body.as_bytes());
        let value = answer.json();
        let found = (answer.status, &value["code"], &value["details"][0]["path"]);
        assert_eq!(found, (400, &json!("validation_error"), &json!("")), "{media} {}: {value}", &body[..body.len().min(100)]);
    }
    assert_eq!(world.everything(), before, "nothing is stored");
    world.try_all(&[door]);
}

#[test]
fn keys_bulk_replays_and_previews() {
    let world = World::new();
    let keys = Door {
        method: "POST",
        path: String::from("/v1/keys"),
        good: json!({"name": "n", "namespace": "team", "scopes": ["read"], "expires_at": "2999-01-01T00:00:00Z"}),
        fields: vec![
            field("name", Kind::Text, Rule::Free, [json!("dev"), json!("bootstrap"), json!("a\nb"), long(101)]),
            field("namespace", Kind::Text, Rule::Set, [json!(""), json!("other"), json!("a b"), long(65)]),
            field("scopes", Kind::Array, Rule::Free, [json!([]), json!(["read", "write", "admin", "read"])]),
            field("expires_at", Kind::Text, Rule::Free, [json!(""), json!("soon"), json!("2020-01-01T00:00:00Z"), json!("2999-01-01")]),
        ],
        closed: vec![""],
        inside: vec![
            ("scopes", json!(["rite"]), "scopes[0]"),
            ("scopes", json!([7]), "scopes[0]"),
            ("scopes", json!(["read", "READ"]), "scopes[1]"),
            ("scopes", json!(["read", null]), "scopes[1]"),
        ],
        free: vec![],
    };
    let times = || ["", "yesterday", "2026-01-01", "1767225600"].map(Value::from);
    let replay = Door {
        method: "POST",
        path: String::from("/v1/delivery/dlq/replay"),
        good: json!({
            "binding_id": world.binding, "destination_id": world.destination, "error_code": "connector_5xx",
            "created_after": "2026-01-01T00:00:00Z", "created_before": "2999-01-01T00:00:00Z",
            "all": false, "dry_run": false, "rate_per_second": 5,
        }),
        fields: vec![
            field("binding_id", Kind::Text, Rule::Free, [json!(""), json!("7")]),
            field("destination_id", Kind::Text, Rule::Free, [json!(""), json!("7")]),
            field("error_code", Kind::Text, Rule::Free, [json!(""), json!("nonsense"), long(5_000)]),
            field("created_after", Kind::Text, Rule::Free, times()),
            field("created_before", Kind::Text, Rule::Free, times()),
            field("all", Kind::Flag, Rule::Free, [json!(true)]),
            field("dry_run", Kind::Flag, Rule::Free, []),
            field("rate_per_second", Kind::Whole, Rule::Free, [json!(0), json!(1_001)]),
        ],
        closed: vec![""],
        inside: vec![],
        free: vec![],
    };
    let preview = Door {
        method: "POST",
        path: format!("/v1/delivery/bindings/{}/preview", world.binding),
        good: json!({"payload": {"n": 1}}),
        fields: vec![
            field("payload", Kind::Object, Rule::Free, []),
            field("event_id", Kind::Text, Rule::Free, ["", "x", "-1", "1.0", "99999999999999999999"].map(Value::from)),
        ],
        closed: vec![""],
        inside: vec![("event_id", json!("1"), "payload")],
        free: vec![],
    };
    let everything = world.ask("POST", "/v1/delivery/dlq/replay", JSON, b"{}");
    assert_eq!((everything.status, &everything.json()["details"][0]["path"]), (400, &json!("all")));
    world.try_all(&[keys, replay, preview]);
}
