//! `/v1/nodes`: who serves what is stored.

use crate::openapi::faults::MASTER_ONLY;
use crate::openapi::operation::{Operation, answer, get};
use crate::openapi::schema::{Schema, array, boolean, integer, named, object, string, time, word};
use crate::openapi::{Noun, Tag};
use postrider_core::key::Scope;

const LIST: &str = r#"{"nodes": [
  {"name": "web-2", "address": "http://10.0.0.6:8080", "release": "0.1.0", "incarnation": 7, "state": "alive",
    "started_at": "2026-01-05T07:00:00.000Z", "last_heartbeat_at": "2026-01-05T08:00:00.000Z", "ended_at": null, "slots": 256, "this": true},
  {"name": "web-1", "address": null, "release": "0.1.0", "incarnation": 6, "state": "ended",
    "started_at": "2026-01-04T07:00:00.000Z", "last_heartbeat_at": "2026-01-05T06:59:00.000Z", "ended_at": "2026-01-05T06:59:05.000Z", "slots": 0, "this": false}
]}"#;

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Nodes", about: "The servers that share what is stored. One alone where the store is embedded." },
        schemas: vec![("Node", node()), ("NodeList", object().field("nodes", array(named("Node"))).closed())],
        operations: operations(),
    }
}

fn node() -> Schema {
    object()
        .field("name", string().about("`--node-name`."))
        .field("address", string().nullable().about("`--node-address`."))
        .field("release", string().about("The release that it runs."))
        .field("incarnation", integer().at_least(0).about("The number of its start."))
        .field("state", word(["alive", "ended"]).about("`ended`: it has left, or was taken for dead."))
        .field("started_at", time())
        .field("last_heartbeat_at", time().about("When it last said that it is alive."))
        .field("ended_at", time().nullable())
        .field("slots", integer().range(0u32..=256).about("How many of 256 shares of all endpoints it sends to; none once it has ended."))
        .field("this", boolean().about("Whether it is the one that answers."))
        .closed()
}

fn operations() -> Vec<Operation> {
    let list = get("/v1/nodes", "listNodes", "List nodes")
        .about("The nodes that are alive and those that ended within the last day, the newest first. Only for keys without a namespace.")
        .scope(Scope::Admin)
        .fault(MASTER_ONLY)
        .reads()
        .answers(answer(200, "All of them.").json(named("NodeList"), LIST));
    vec![list]
}
