//! What there is to put a binding together from, as the Items API lists it (contract, section 9.4). The check of bindings reads the same tables.

use crate::signal::{ITEM_COMPLETED, ITEM_FAILED};
use serde::Serialize;

/// The tables.
#[derive(Clone, Copy, Debug)]
pub struct Catalog {
    /// Events that are known beforehand. Every other type of the right form can be published and bound too.
    pub signals: &'static [Signal],
    /// What can be delivered.
    pub deliverables: &'static [Deliverable],
    /// In which formats.
    pub serializers: &'static [SerializerEntry],
    /// Over what.
    pub connectors: &'static [Connector],
}

/// A type of event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Signal {
    /// The type.
    #[serde(rename = "type")]
    pub event_type: &'static str,
    /// What it belongs to: `meta` for Postrider's own.
    pub category: &'static str,
    /// For people.
    pub description: &'static str,
    /// The fields of its payload.
    pub payload_fields: &'static [&'static str],
}

/// What a binding delivers of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Deliverable {
    /// Its name in `deliverable_type`.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// For people.
    pub label: &'static str,
    /// For people.
    pub description: &'static str,
    /// The types of events that it goes with; `*` stands for all.
    pub compatible_signals: &'static [&'static str],
    /// What it looks like.
    pub shape: Shape,
}

/// What a deliverable looks like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct Shape {
    /// Its kind.
    pub kind: ShapeKind,
}

/// Kinds of shapes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ShapeKind {
    /// Fields of known names and types.
    Record,
    /// Bytes of one media type.
    Blob,
    /// Nodes and edges.
    Graph,
    /// An event with its payload, whatever that holds.
    Envelope,
}

/// A format and what it can express.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub struct SerializerEntry {
    /// Its name in `serializer_format`.
    pub format: &'static str,
    /// The shapes that it can express.
    pub supports_kinds: &'static [ShapeKind],
}

/// A way to a destination.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Connector {
    /// Its name in a destination's `type`.
    #[serde(rename = "type")]
    pub name: &'static str,
    /// The formats that it carries.
    pub supported_serializers: &'static [&'static str],
    /// The shapes that it carries.
    pub supported_deliverable_kinds: &'static [ShapeKind],
    /// The largest body that it carries, in bytes, where it has a limit besides the destination's own.
    pub max_payload_bytes: Option<u64>,
    /// The kinds of `auth_config` that it knows.
    pub auth_types: &'static [&'static str],
    /// Whether it sends a `record`, a `batch` or a `file`.
    pub delivery_semantics: &'static str,
    /// How often it sends where nobody says it, per second.
    pub default_rate_limit: Option<f64>,
}

/// The one deliverable: the event itself.
pub const EVENT: &str = "event";

/// The one connector.
pub const WEBHOOK: &str = "webhook";

const META_FIELDS: &[&str] =
    &["item_id", "binding_id", "destination_id", "source_event_id", "source_event_type", "attempts", "http_status", "error_code"];
const ALL_KINDS: &[ShapeKind] = &[ShapeKind::Record, ShapeKind::Blob, ShapeKind::Graph, ShapeKind::Envelope];
const TABLES: &[ShapeKind] = &[ShapeKind::Record, ShapeKind::Envelope];

/// What this release has.
pub static CATALOG: Catalog = Catalog {
    signals: &[
        Signal {
            event_type: ITEM_COMPLETED,
            category: "meta",
            description: "a binding's delivery was taken by its destination",
            payload_fields: META_FIELDS,
        },
        Signal {
            event_type: ITEM_FAILED,
            category: "meta",
            description: "a binding's delivery ended without success and is in the dead letter queue",
            payload_fields: META_FIELDS,
        },
    ],
    deliverables: &[Deliverable {
        name: EVENT,
        label: "Event",
        description: "the event with the payload that was published",
        compatible_signals: &["*"],
        shape: Shape { kind: ShapeKind::Envelope },
    }],
    serializers: &[
        SerializerEntry { format: "json", supports_kinds: &[ShapeKind::Record, ShapeKind::Graph, ShapeKind::Envelope] },
        SerializerEntry { format: "ndjson", supports_kinds: TABLES },
        SerializerEntry { format: "csv", supports_kinds: TABLES },
        SerializerEntry { format: "raw", supports_kinds: &[ShapeKind::Blob, ShapeKind::Envelope] },
        SerializerEntry { format: "txt", supports_kinds: ALL_KINDS },
    ],
    connectors: &[Connector {
        name: WEBHOOK,
        supported_serializers: &["json", "ndjson", "csv", "raw", "txt"],
        supported_deliverable_kinds: ALL_KINDS,
        max_payload_bytes: None,
        auth_types: &["none", "bearer", "basic", "api_key"],
        delivery_semantics: "record",
        default_rate_limit: None,
    }],
};
