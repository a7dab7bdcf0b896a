//! `/v1/delivery/catalog`: what there is to put a binding together from.

use crate::openapi::operation::{Operation, answer, get};
use crate::openapi::schema::{Schema, array, integer, named, number, object, string, word};
use crate::openapi::{Noun, Tag};

pub(super) fn noun() -> Noun {
    Noun {
        tag: Tag { name: "Catalog", about: "What there is to put a binding together from. The check of bindings reads the same tables." },
        schemas: vec![("Signal", signal()), ("Deliverable", deliverable()), ("Serializer", serializer()), ("Connector", connector())],
        operations: operations(),
    }
}

fn kinds() -> Schema {
    word(["record", "blob", "graph", "envelope"])
}

fn signal() -> Schema {
    object()
        .field("type", string())
        .field("category", word(["document", "run", "result", "meta", "custom"]))
        .field("description", string())
        .field("payload_fields", array(string()))
        .closed()
}

fn deliverable() -> Schema {
    object()
        .field("type", string())
        .field("label", string())
        .field("description", string())
        .field("compatible_signals", array(string()).about("`*` stands for all."))
        .field("shape", object().field("kind", kinds()).closed())
        .closed()
}

fn serializer() -> Schema {
    object().field("format", string()).field("supports_kinds", array(kinds())).closed()
}

fn connector() -> Schema {
    object()
        .field("type", string())
        .field("supported_serializers", array(string()))
        .field("supported_deliverable_kinds", array(kinds()))
        .field("max_payload_bytes", integer().nullable())
        .field("auth_types", array(string()))
        .field("delivery_semantics", word(["record", "batch", "file"]))
        .field("default_rate_limit", number().nullable())
        .closed()
}

fn operations() -> Vec<Operation> {
    let table = |operation: Operation, about: &'static str, of: &str, entry: &str| {
        let schema = object().field("data", array(named(of))).field("total", integer().at_least(0)).closed();
        operation.about(about).answers(answer(200, "All of them.").json(schema, &format!(r#"{{"data": [{entry}], "total": 1}}"#)))
    };
    vec![
        table(
            get("/v1/delivery/catalog/signals", "listSignals", "List types of events"),
            "Types that are known beforehand. Every other type of the right form can be published and bound too.",
            "Signal",
            r#"{"type": "delivery.item.failed", "category": "meta", "description": "a binding's delivery ended without success and is in the dead letter queue", "payload_fields": ["item_id", "binding_id"]}"#,
        ),
        table(
            get("/v1/delivery/catalog/deliverables", "listDeliverables", "List deliverables"),
            "What can be delivered.",
            "Deliverable",
            r#"{"type": "event", "label": "Event", "description": "the event with the payload that was published", "compatible_signals": ["*"], "shape": {"kind": "envelope"}}"#,
        ),
        table(
            get("/v1/delivery/catalog/serializers", "listSerializers", "List serializers"),
            "The formats, and the shapes that each can express.",
            "Serializer",
            r#"{"format": "csv", "supports_kinds": ["record", "envelope"]}"#,
        ),
        table(
            get("/v1/delivery/catalog/connectors", "listConnectors", "List connectors"),
            "Ways to a destination.",
            "Connector",
            r#"{"type": "webhook", "supported_serializers": ["json"], "supported_deliverable_kinds": ["envelope"], "max_payload_bytes": null, "auth_types": ["none"], "delivery_semantics": "record", "default_rate_limit": null}"#,
        ),
    ]
}
