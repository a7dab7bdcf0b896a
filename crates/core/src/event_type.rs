//! Event types: what is registered of a kind of event, for people and for checking payloads.
//!
//! Nothing needs one: events of unregistered types are accepted and delivered.

use crate::event::{Namespace, check_event_type};
use crate::invalid::Invalid;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longest description, in bytes.
pub const MAX_DESCRIPTION_BYTES: usize = 4_096;

/// Most entries of metadata: as many as an event may have.
pub const MAX_METADATA: usize = 50;

/// Longest entry of metadata, in bytes of key and value together: as long as an event's.
pub const MAX_METADATA_ENTRY_BYTES: usize = 1_024;

/// Most event types of one registry. Each is kept in memory, and so is what becomes of its schema.
pub const MAX_EVENT_TYPES: usize = 10_000;

/// How long the schemas of one registry may be together, in bytes. Ready to be used a schema takes up to some hundred times its length.
pub const MAX_REGISTRY_SCHEMA_BYTES: usize = 1 << 20;

/// A registered type of events. The registry and its name are its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EventType {
    /// The tenant whose registry it is in. `None` is the registry that all share, which is the RPC API's: its types belong to no namespace.
    pub namespace: Option<Namespace>,
    /// Its name, such as `order.created`, by the rule of [`check_event_type`].
    pub name: String,
    /// For people, at most [`MAX_DESCRIPTION_BYTES`].
    #[serde(default)]
    pub description: String,
    /// A JSON Schema for payloads, as it was given; [`crate::schema::EventSchema`] reads it. Without one every payload is right.
    #[serde(default)]
    pub schema: Option<Arc<str>>,
    /// For people; see [`MAX_METADATA`] and [`MAX_METADATA_ENTRY_BYTES`].
    #[serde(default)]
    pub metadata: BTreeMap<String, String>,
    /// Whether events of this type are taken.
    pub active: bool,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

impl EventType {
    /// Everything that breaks a limit, its schema too.
    pub fn check(&self) -> Result<(), Vec<Invalid>> {
        let mut faults = Vec::new();
        if let Err(error) = check_event_type(&self.name) {
            faults.push(Invalid::new("name", error.0));
        }
        if self.description.len() > MAX_DESCRIPTION_BYTES {
            faults.push(Invalid::new("description", "must be at most 4,096 bytes"));
        }
        if self.metadata.len() > MAX_METADATA {
            faults.push(Invalid::new("metadata", "must have at most 50 entries"));
        }
        let is_bad = |(key, value): (&String, &String)| {
            key.is_empty() || key.len() + value.len() > MAX_METADATA_ENTRY_BYTES || key.contains('\0') || value.contains('\0')
        };
        if self.metadata.iter().any(is_bad) {
            faults.push(Invalid::new(
                "metadata",
                "must have keys that are not empty, at most 1,024 bytes of key and value together, and no NUL",
            ));
        }
        if let Some(Err(error)) = self.schema.as_ref().map(|text| crate::schema::EventSchema::parse(text.as_bytes())) {
            faults.push(Invalid::new("schema", error.to_string()));
        }
        if faults.is_empty() { Ok(()) } else { Err(faults) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order() -> EventType {
        EventType {
            namespace: None,
            name: "order.created".to_owned(),
            description: "An order was placed.".to_owned(),
            schema: Some(r#"{"type" : "object"}"#.into()),
            metadata: BTreeMap::from([("owner".to_owned(), "shop".to_owned())]),
            active: true,
            created_at: Timestamp::from_micros(1),
            updated_at: Timestamp::from_micros(2),
        }
    }

    #[test]
    fn limits_are_kept_on_both_sides() {
        assert_eq!(order().check(), Ok(()));
        let entries = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect();
        let entry = |key: &str, bytes: usize| BTreeMap::from([(key.to_owned(), "v".repeat(bytes))]);
        let right = [
            EventType { description: "d".repeat(4_096), ..order() },
            EventType { metadata: entries(50), ..order() },
            EventType { metadata: entry("k", 1_023), ..order() },
            EventType { schema: None, ..order() },
        ];
        for (n, right) in right.iter().enumerate() {
            assert_eq!(right.check(), Ok(()), "{n}");
        }
        let wrong = [
            ("name", EventType { name: "a b".to_owned(), ..order() }),
            ("name", EventType { name: String::new(), ..order() }),
            ("description", EventType { description: "d".repeat(4_097), ..order() }),
            ("metadata", EventType { metadata: entries(51), ..order() }),
            ("metadata", EventType { metadata: entry("k", 1_024), ..order() }),
            ("metadata", EventType { metadata: entry("", 1), ..order() }),
            ("metadata", EventType { metadata: entry("k\0", 1), ..order() }),
            ("schema", EventType { schema: Some("{\"type\":5}".into()), ..order() }),
        ];
        for (path, wrong) in wrong {
            let faults = wrong.check().expect_err(path);
            assert_eq!(faults.iter().map(|fault| &*fault.path).collect::<Vec<_>>(), [path]);
        }
        let all = EventType { name: String::new(), description: "d".repeat(5_000), ..order() };
        assert_eq!(all.check().expect_err("two").len(), 2, "every fault is told at once");
    }

    #[test]
    fn documents_keep_the_schema_as_it_was_given() {
        let namespaced = EventType { namespace: Some(Namespace::default_namespace()), ..order() };
        for event_type in [order(), namespaced] {
            let text = serde_json::to_string(&event_type).expect("JSON");
            assert_eq!(serde_json::from_str::<EventType>(&text).expect("an event type"), event_type);
        }
        let least = r#"{"namespace":null,"name":"a","active":false,"created_at":1,"updated_at":1}"#;
        let least: EventType = serde_json::from_str(least).expect("an event type");
        assert_eq!((&*least.description, &least.schema, least.metadata.len()), ("", &None, 0));
    }
}
