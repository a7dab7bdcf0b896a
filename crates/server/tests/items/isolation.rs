//! What belongs to another namespace does not exist: every route with an id, every list and every reference, with the key of somebody else.

use crate::common::items::{Api, binding, destination};
use crate::common::{Answer, Receiver, Reply, Server};
use postrider_core::id::idempotency_key;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const MASTER: &str = "a-master-key-of-this-test";

/// The id of nothing.
const NOBODY: &str = "00000000-0000-4000-8000-000000000000";

/// The number of no event.
const NO_EVENT: &str = "900000000000000000";

/// Every route of `/v1`: its method, its path, the scope that it needs, and whether it changes something of a tenant's.
const ROUTES: [(&str, &str, &str, bool); 37] = [
    ("GET", "/v1/delivery/events", "read", false),
    ("POST", "/v1/delivery/events", "write", true),
    ("GET", "/v1/delivery/events/{id}", "read", false),
    ("POST", "/v1/delivery/events/batch", "write", true),
    ("GET", "/v1/delivery/items", "read", false),
    ("GET", "/v1/delivery/items/{id}", "read", false),
    ("POST", "/v1/delivery/items/{id}/replay", "write", true),
    ("GET", "/v1/delivery/dlq", "read", false),
    ("POST", "/v1/delivery/dlq/replay", "write", true),
    ("GET", "/v1/delivery/dlq/{id}", "read", false),
    ("DELETE", "/v1/delivery/dlq/{id}", "write", true),
    ("POST", "/v1/delivery/dlq/{id}/replay", "write", true),
    ("GET", "/v1/delivery/jobs", "read", false),
    ("GET", "/v1/delivery/jobs/{id}", "read", false),
    ("POST", "/v1/delivery/jobs/{id}/cancel", "write", true),
    ("POST", "/v1/delivery/jobs/{id}/resume", "write", true),
    ("GET", "/v1/delivery/destinations", "read", false),
    ("POST", "/v1/delivery/destinations", "write", true),
    ("GET", "/v1/delivery/destinations/{id}", "read", false),
    ("PUT", "/v1/delivery/destinations/{id}", "write", true),
    ("DELETE", "/v1/delivery/destinations/{id}", "write", true),
    ("POST", "/v1/delivery/destinations/{id}/test", "write", true),
    ("GET", "/v1/delivery/bindings", "read", false),
    ("POST", "/v1/delivery/bindings", "write", true),
    ("GET", "/v1/delivery/bindings/{id}", "read", false),
    ("PUT", "/v1/delivery/bindings/{id}", "write", true),
    ("DELETE", "/v1/delivery/bindings/{id}", "write", true),
    ("POST", "/v1/delivery/bindings/{id}/preview", "read", false),
    ("GET", "/v1/delivery/catalog/signals", "read", false),
    ("GET", "/v1/delivery/catalog/deliverables", "read", false),
    ("GET", "/v1/delivery/catalog/serializers", "read", false),
    ("GET", "/v1/delivery/catalog/connectors", "read", false),
    ("GET", "/v1/keys", "admin", false),
    ("POST", "/v1/keys", "admin", false),
    ("GET", "/v1/keys/{id}", "admin", false),
    ("DELETE", "/v1/keys/{id}", "admin", false),
    ("GET", "/v1/nodes", "admin", false),
];

/// The lists of tenants' things, by noun.
const NOUNS: [&str; 6] = ["events", "items", "dlq", "jobs", "destinations", "bindings"];

fn with_id() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    ROUTES.into_iter().filter(|(_, path, ..)| path.contains("{id}")).map(|(method, path, ..)| (method, path, noun(path)))
}

/// What a path is about.
fn noun(path: &str) -> &str {
    path.trim_start_matches("/v1/").trim_start_matches("delivery/").split('/').next().expect("a noun")
}

fn list(noun: &str) -> String {
    if noun == "keys" { String::from("/v1/keys") } else { format!("/v1/delivery/{noun}") }
}

/// A body that would do something, were it let through.
fn body(method: &str, path: &str) -> Value {
    match (method, path) {
        ("PUT", _) => json!({"name": "taken over"}),
        ("POST", "/v1/delivery/events") => json!({"event_type": "a.good", "payload": {}}),
        ("POST", "/v1/delivery/events/batch") => json!([{"event_type": "a.good", "payload": {}}]),
        ("POST", "/v1/delivery/destinations") => destination("http://127.0.0.1:9/"),
        ("POST", "/v1/delivery/bindings") => binding(NOBODY, "a.good", json!({})),
        ("POST", "/v1/delivery/dlq/replay") => json!({"all": true}),
        ("POST", "/v1/keys") => json!({"name": "mine"}),
        _ => Value::Null,
    }
}

fn entries(list: &Value) -> &Vec<Value> {
    list["data"].as_array().or(list["items"].as_array()).expect("entries")
}

fn ids(list: &Value) -> BTreeSet<String> {
    entries(list).iter().map(|entry| entry["id"].as_str().expect("an id").to_owned()).collect()
}

/// An error without what is new in each answer.
fn error(answer: &Answer) -> Value {
    let mut value = answer.json();
    for name in ["request_id", "timestamp", "path"] {
        assert!(value.as_object_mut().expect("an object").remove(name).is_some(), "no {name}");
    }
    value
}

fn assert_missing(answer: &Answer, what: &str) {
    assert_eq!((answer.status, &answer.json()["code"]), (404, &json!("not_found")), "{what}: {}", answer.text());
}

/// A namespace that has everything that there is.
struct Tenant<'s> {
    api: Api<'s>,
    ids: BTreeMap<&'static str, Vec<String>>,
    receivers: Vec<Receiver>,
}

impl<'s> Tenant<'s> {
    fn new(server: &'s Server, name: &str) -> Self {
        let (key, key_id) =
            Api::with_key(server, MASTER).key(&json!({"name": name, "namespace": name, "scopes": ["read", "write", "admin"]}));
        let api = Api::with_key(server, &key);
        let mut ids: BTreeMap<_, Vec<String>> = BTreeMap::from([("keys", vec![key_id])]);
        let mut has = |noun, id: String| ids.entry(noun).or_default().push(id);
        let mut receivers = Vec::new();
        for (event_type, reply) in [("a.good", Reply::Status(200)), ("a.bad", Reply::Status(400)), ("a.stalled", Reply::Stall)] {
            let receiver = Receiver::scripted(move |_| reply);
            let to = api.make("destinations", &destination(&receiver.url));
            has("bindings", api.make("bindings", &binding(&to, event_type, json!({"delivery_policy": {"timeout_ms": 120_000}}))));
            has("destinations", to);
            has("events", api.publish(event_type, &json!({"of": name})));
            receivers.push(receiver);
        }
        for status in ["succeeded", "failed", "in_flight"] {
            let found = api.when(&format!("/v1/delivery/items?status={status}"), |list| list["total"] == 1);
            has("items", found["items"][0]["id"].as_str().expect("an id").to_owned());
        }
        has("dlq", api.when("/v1/delivery/dlq", |list| list["total"] == 1)["data"][0]["id"].as_str().expect("an id").to_owned());
        let job = api.post("/v1/delivery/dlq/replay", &json!({"error_code": "connector_5xx"}));
        assert_eq!(job.status, 202, "{}", job.text());
        let job = job.json()["id"].as_str().expect("an id").to_owned();
        api.when(&format!("/v1/delivery/jobs/{job}"), |job| job["status"] == "completed");
        has("jobs", job);
        Tenant { api, ids, receivers }
    }

    /// All that can be seen of it, by noun, and how often its receivers were called.
    fn everything(&self) -> (BTreeMap<&'static str, Vec<Value>>, Vec<usize>) {
        let nouns = NOUNS.into_iter().chain(["keys"]);
        let seen = nouns.map(|noun| {
            let one = self.ids[noun].iter().map(|id| format!("{}/{id}", list(noun)));
            let answers = one.chain([list(noun)]).map(|path| {
                let answer = self.api.get(&path);
                assert_eq!(answer.status, 200, "{path}: {}", answer.text());
                answer.json()
            });
            (noun, answers.collect())
        });
        (seen.collect(), self.receivers.iter().map(Receiver::count).collect())
    }

    fn owns(&self, noun: &str, listed: &Value) {
        let own: BTreeSet<String> = self.ids[noun].iter().cloned().collect();
        assert_eq!((ids(listed), listed["total"].as_u64()), (own, Some(self.ids[noun].len() as u64)), "{noun}: {listed}");
    }
}

fn start() -> Server {
    let flags = ["--allow-network", "127.0.0.0/8", "--rate-limit-read", "0", "--rate-limit-write", "0"];
    Server::start(tempfile::tempdir().expect("a directory"), &flags, &[("POSTRIDER_BOOTSTRAP_KEY", MASTER)])
}

#[test]
fn this_table_has_every_route() {
    let of = |routes: Vec<(String, String)>| routes.into_iter().collect::<BTreeSet<_>>();
    let there = postrider_server::http::routes().into_iter().filter(|route| route.path.starts_with("/v1/"));
    let there = of(there.map(|route| (route.method.to_string(), route.path.to_owned())).collect());
    let here = of(ROUTES.map(|(method, path, ..)| (method.to_owned(), path.to_owned())).to_vec());
    assert_eq!(here, there, "put a new route into the table of this file: left is the table, right is the server");
    assert!(there.iter().all(|(_, path)| path.matches('{').count() == path.matches("{id}").count()), "a new kind of id: walk it here too");
}

#[test]
fn every_route_answers_404_to_the_ids_of_others_and_to_those_of_nothing() {
    let server = start();
    let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
    let before = (one.everything(), two.everything());
    let long = "1".repeat(5_000);
    let malformed = ["nonsense", "0", "-1", "1e9", "%00", "%ff", "..%2f", "null", &NOBODY[1..], long.as_str(), "99999999999999999999", "*"];
    for (method, path, noun) in with_id() {
        let nobody = if noun == "events" { NO_EVENT } else { NOBODY };
        let missing = two.api.call(method, &path.replace("{id}", nobody), &body(method, path));
        assert_missing(&missing, path);
        for id in &one.ids[noun] {
            let answer = two.api.call(method, &path.replace("{id}", id), &body(method, path));
            assert_missing(&answer, &format!("{method} {path} with {id}"));
            assert_eq!(error(&answer), error(&missing), "what is another's looks as what is not there");
            assert_eq!(answer.header("location"), None);
        }
        // The ids of its own other things, and what is no id, are those of nothing too.
        let others = two.ids.iter().filter(|(other, _)| **other != noun).flat_map(|(_, ids)| ids).map(String::as_str);
        for id in others.chain(malformed) {
            assert_missing(&two.api.call(method, &path.replace("{id}", id), &body(method, path)), &format!("{method} {path} with {id}"));
        }
    }
    assert_eq!((one.everything(), two.everything()), before, "nothing has changed");
}

#[test]
fn lists_hold_what_is_ones_own_and_filters_find_nothing_of_others() {
    let server = start();
    let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
    for tenant in [&one, &two] {
        for noun in NOUNS.into_iter().chain(["keys"]) {
            tenant.owns(noun, &tenant.api.get(&list(noun)).json());
            // The tenant comes from the key, whatever the query says.
            tenant.owns(noun, &tenant.api.get(&format!("{}?customer_id=one&namespace=one", list(noun))).json());
        }
    }
    let mut filters: Vec<(&str, String)> = Vec::new();
    for (name, noun) in [("binding_id", "bindings"), ("destination_id", "destinations"), ("event_id", "events")] {
        for id in &one.ids[noun] {
            filters.push(("items", format!("{name}={id}")));
            for more in
                ["status=failed", "status=succeeded", "status=in_flight", "error_code=connector_4xx", "created_after=2020-01-01T00:00:00Z"]
            {
                filters.push(("items", format!("{name}={id}&{more}")));
            }
            if name != "event_id" {
                filters.push(("dlq", format!("{name}={id}")));
                filters.push(("dlq", format!("{name}={id}&error_code=connector_4xx")));
            }
        }
    }
    for (noun, filter) in filters {
        let found = two.api.get(&format!("{}?{filter}", list(noun))).json();
        assert_eq!((&found["total"], entries(&found).len()), (&json!(0), 0), "{noun} {filter}: {found}");
        let own = one.api.get(&format!("{}?{filter}", list(noun))).json();
        assert_eq!(own["total"].as_u64(), Some(entries(&own).len() as u64), "{noun} {filter}: {own}");
    }
    // A place in another's list is no way into it.
    for noun in NOUNS {
        let first = one.api.get(&format!("{}?limit=1", list(noun))).json();
        let Some(cursor) = first["next_cursor"].as_str() else { continue };
        let found = two.api.get(&format!("{}?limit=500&cursor={cursor}", list(noun))).json();
        let own: BTreeSet<String> = two.ids[noun].iter().cloned().collect();
        assert!(ids(&found).is_subset(&own) && found["total"] == json!(own.len()), "{noun}: {found}");
    }
}

#[test]
fn references_to_what_is_anothers_lead_nowhere() {
    let server = start();
    let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
    let before = one.everything();
    let at = |answer: &Answer, path: &str| {
        let value = answer.json();
        let found = (answer.status, &value["code"], &value["details"][0]["path"]);
        assert_eq!(found, (400, &json!("validation_error"), &json!(path)), "{value}");
        error(answer)
    };
    let own = format!("/v1/delivery/bindings/{}", two.ids["bindings"][0]);
    let bind = |to: &str| at(&two.api.post("/v1/delivery/bindings", &binding(to, "a.good", json!({}))), "destination_id");
    let rebind = |to: &str| at(&two.api.call("PUT", &own, &json!({"destination_id": to})), "destination_id");
    let preview = |event: &str| at(&two.api.post(&format!("{own}/preview"), &json!({"event_id": event})), "event_id");
    for id in &one.ids["destinations"] {
        assert_eq!((bind(id), rebind(id)), (bind(NOBODY), rebind(NOBODY)));
    }
    for id in &one.ids["events"] {
        assert_eq!(preview(id), preview(NO_EVENT));
    }
    at(&two.api.post("/v1/keys", &json!({"namespace": "one"})), "namespace");
    for (name, noun) in [("binding_id", "bindings"), ("destination_id", "destinations")] {
        for id in one.ids[noun].iter().map(String::as_str).chain([NOBODY]) {
            let count = two.api.post("/v1/delivery/dlq/replay", &json!({name: id, "dry_run": true}));
            assert_eq!((count.status, count.json()), (200, json!({"dry_run": true, "matched": 0})), "{name}");
            let job = two.api.post("/v1/delivery/dlq/replay", &json!({name: id}));
            assert_eq!((job.status, &job.json()["matched"]), (202, &json!(0)), "{name}");
            let path = format!("/v1/delivery/jobs/{}", job.json()["id"].as_str().expect("an id"));
            assert_eq!(two.api.when(&path, |job| job["status"] == "completed")["replayed"], 0);
        }
    }
    // Names that tenants choose are their own.
    let event = json!({"event_type": "a.none", "payload": {}, "dedup_key": "mine"});
    let published = [&one, &two].map(|tenant| tenant.api.post("/v1/delivery/events", &event).json());
    assert!(published[0]["id"] != published[1]["id"] && published.iter().all(|event| event["duplicate"] == false), "{published:?}");
    let (mut before, mut after) = (before, one.everything());
    assert_eq!(before.0["events"][..3], after.0["events"][..3]);
    before.0.remove("events");
    after.0.remove("events");
    assert_eq!(after, before, "nothing of it has changed but the list of its events");
}

#[test]
fn the_master_view_sees_all_and_changes_nothing_of_a_tenants() {
    let server = start();
    let tenants = [("one", Tenant::new(&server, "one")), ("two", Tenant::new(&server, "two"))];
    let master = Api::with_key(&server, MASTER);
    let before: Vec<_> = tenants.iter().map(|(_, tenant)| tenant.everything()).collect();
    for noun in NOUNS {
        let all = master.get(&list(noun)).json();
        let names: BTreeSet<&str> = entries(&all).iter().map(|entry| entry["customer_id"].as_str().expect("a tenant")).collect();
        assert_eq!(names, BTreeSet::from(["one", "two"]), "{noun}: {all}");
        assert_eq!(all["total"].as_u64(), Some(entries(&all).len() as u64));
        for (name, tenant) in &tenants {
            let narrowed = master.get(&format!("{}?customer_id={name}", list(noun))).json();
            tenant.owns(noun, &narrowed);
            assert!(entries(&narrowed).iter().all(|entry| entry["customer_id"] == *name), "{noun}: {narrowed}");
            let page = master.get(&format!("{}?customer_id={name}&limit=1", list(noun))).json();
            assert_eq!(page["total"], narrowed["total"], "{noun}");
            assert_eq!(page["next_cursor"].is_null(), tenant.ids[noun].len() == 1, "{noun}: {page}");
            // Its own key does not show the tenant.
            assert!(entries(&tenant.api.get(&list(noun)).json()).iter().all(|entry| entry.get("customer_id").is_none()), "{noun}");
        }
        let nobody = master.get(&format!("{}?customer_id=three", list(noun))).json();
        assert_eq!((&nobody["total"], entries(&nobody).len()), (&json!(0), 0), "{noun}: {nobody}");
        let wrong = master.get(&format!("{}?customer_id=a%20b", list(noun)));
        assert_eq!((wrong.status, &wrong.json()["details"][0]["path"]), (400, &json!("customer_id")), "{noun}: {}", wrong.text());
    }
    for (method, path, _, changes) in ROUTES {
        for (name, tenant) in &tenants {
            let there = tenant.ids.get(noun(path)).map_or(&[][..], Vec::as_slice).iter().map(String::as_str);
            let concrete = |id: &str| path.replace("{id}", id);
            if changes {
                for path in there.chain([NOBODY, "nonsense"]).map(concrete).collect::<BTreeSet<_>>() {
                    let answer = master.call(method, &path, &body(method, &path));
                    assert_eq!((answer.status, &answer.json()["code"]), (400, &json!("bad_request")), "{method} {path}");
                }
            } else if path.starts_with("/v1/delivery/") && path.contains("{id}") {
                for path in there.map(concrete) {
                    let answer = master.call(method, &path, &body(method, &path));
                    assert_eq!(answer.status, 200, "{method} {path}: {}", answer.text());
                    let value = answer.json();
                    assert!(value["customer_id"] == *name || path.ends_with("/preview"), "{method} {path}: {value}");
                }
            }
        }
    }
    for ((_, tenant), before) in tenants.iter().zip(before) {
        assert_eq!(tenant.everything(), before, "nothing has changed");
    }
    // Keys are nobody's data: who has the master key makes and revokes them.
    let (_, id) = master.key(&json!({"namespace": "one"}));
    assert_eq!(master.call("DELETE", &format!("/v1/keys/{id}"), &Value::Null).status, 200);
}

#[test]
fn a_key_without_the_scope_is_told_which_one_it_lacks() {
    let server = start();
    let tenant = Tenant::new(&server, "one");
    let before = tenant.everything();
    for has in ["read", "write"] {
        let (key, id) = tenant.api.key(&json!({"scopes": [has]}));
        let api = Api::with_key(&server, &key);
        for (method, path, scope, _) in ROUTES {
            let id = tenant.ids.get(noun(path)).map_or(NOBODY, |ids| &ids[0]);
            // What it may do would be done; that it may is seen from the reads.
            if has == scope && method != "GET" {
                continue;
            }
            let answer = api.call(method, &path.replace("{id}", id), &body(method, path));
            if has == scope {
                assert_eq!(answer.status, 200, "{has}: {method} {path}: {}", answer.text());
                continue;
            }
            let value = answer.json();
            let found = (answer.status, &value["code"], &value["required_scopes"]);
            assert_eq!(found, (403, &json!("insufficient_scope"), &json!([scope])), "{has}: {method} {path}");
        }
        assert_eq!(tenant.api.call("DELETE", &format!("/v1/keys/{id}"), &Value::Null).status, 200);
    }
    let writes = tenant.api.key(&json!({"scopes": ["write"]})).0;
    let writes = Api::with_key(&server, &writes);
    let unwanted = json!({"event_type": "a.unwanted", "payload": {}});
    assert_eq!(writes.post("/v1/delivery/events", &unwanted).status, 202);
    let after = tenant.everything();
    for noun in ["items", "dlq", "jobs", "destinations", "bindings"] {
        assert_eq!(after.0[noun], before.0[noun], "{noun}");
    }
}

/// The idempotency key on the wire is made from the binding and the event, which no two tenants share.
#[test]
fn deliveries_of_two_tenants_have_keys_of_their_own() {
    let server = start();
    let (one, two) = (Tenant::new(&server, "one"), Tenant::new(&server, "two"));
    let mut keys = BTreeSet::new();
    for tenant in [&one, &two] {
        for item in tenant.api.get("/v1/delivery/items").json()["items"].as_array().expect("items") {
            let binding = item["binding_id"].as_str().and_then(postrider_core::id::SubscriptionId::parse).expect("a binding");
            let event = item["event_id"].as_str().and_then(|id| id.parse().ok()).map(postrider_core::id::EventSeq).expect("an event");
            assert_eq!(item["idempotency_key"], json!(idempotency_key(binding, event)));
            keys.insert(item["idempotency_key"].to_string());
        }
    }
    assert_eq!(keys.len(), 6);
}
