//! Whether signal, deliverable, serializer and connector of a binding go together (contract of the Items API, section 9.3).

use crate::body::{BodyForm, FieldMap, ItemsBody, Serializer};
use crate::catalog::{Catalog, Deliverable};
use crate::filter::Match;
use crate::invalid::Invalid;
use crate::signal;

/// A binding that somebody wants.
#[derive(Clone, Debug)]
pub struct Proposal<'a> {
    /// `signal_filter.event_type`.
    pub event_type: &'a str,
    /// The JSON text of `signal_filter.match`, where it is there.
    pub matches: Option<&'a str>,
    /// `deliverable_type`.
    pub deliverable_type: &'a str,
    /// `serializer_format`.
    pub serializer_format: &'a str,
    /// `serializer_config.envelope`, where it is said: an envelope comes around everything but `raw` unless it is `false`.
    pub envelope: Option<bool>,
    /// `field_map`.
    pub field_map: Option<FieldMap>,
    /// The destination's `type`.
    pub connector: &'a str,
}

/// What a binding sends, once its parts go together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compatible {
    /// See [`crate::subscription::Subscription::matches`].
    pub matches: Option<Match>,
    /// See [`crate::subscription::Subscription::body`].
    pub body: BodyForm,
}

/// The predicate that a binding fails: the first of the six that does not hold.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Incompatible {
    /// (1) The filter is not well-formed, or asks for an event type that cannot be.
    #[error("{0}")]
    Filter(Invalid),
    /// (2) There is no such deliverable.
    #[error("there is no deliverable {0:?}: see /v1/delivery/catalog/deliverables")]
    UnknownDeliverable(String),
    /// (3) There is no such serializer.
    #[error("there is no serializer {0:?}: see /v1/delivery/catalog/serializers")]
    UnknownSerializer(String),
    /// (4) The serializer cannot express what the deliverable is.
    #[error("the serializer {serializer} cannot express the deliverable {deliverable}")]
    Shape {
        /// The serializer.
        serializer: Serializer,
        /// The deliverable.
        deliverable: String,
    },
    /// (4) `raw` sends the accepted bytes: it has no field map.
    #[error("the serializer raw sends the accepted bytes, so there is nothing that a field map could change: choose json or leave it out")]
    RawWithFieldMap,
    /// (4) `raw` sends the accepted bytes: it has no envelope.
    #[error("the serializer raw sends the accepted bytes, so there is no envelope around them: choose json or leave it out")]
    RawWithEnvelope,
    /// (5) The connector does not carry that format or that shape.
    #[error("the connector {connector} does not carry {serializer}: see /v1/delivery/catalog/connectors")]
    Connector {
        /// The connector.
        connector: String,
        /// The serializer.
        serializer: Serializer,
    },
    /// (6) The deliverable does not come with such events.
    #[error("the deliverable {deliverable} does not come with events of type {event_type}")]
    Signal {
        /// The deliverable.
        deliverable: String,
        /// The event type.
        event_type: String,
    },
}

impl Incompatible {
    /// The number of the predicate in the contract, 1 to 6.
    pub const fn predicate(&self) -> u8 {
        match self {
            Incompatible::Filter(_) => 1,
            Incompatible::UnknownDeliverable(_) => 2,
            Incompatible::UnknownSerializer(_) => 3,
            Incompatible::Shape { .. } | Incompatible::RawWithFieldMap | Incompatible::RawWithEnvelope => 4,
            Incompatible::Connector { .. } => 5,
            Incompatible::Signal { .. } => 6,
        }
    }

    /// The field of the binding to change, as an API names it.
    pub fn path(&self) -> &str {
        match self {
            Incompatible::Filter(fault) => &fault.path,
            Incompatible::UnknownDeliverable(_) | Incompatible::Signal { .. } => "deliverable_type",
            Incompatible::UnknownSerializer(_) | Incompatible::Shape { .. } | Incompatible::Connector { .. } => "serializer_format",
            Incompatible::RawWithFieldMap => "field_map",
            Incompatible::RawWithEnvelope => "serializer_config.envelope",
        }
    }
}

/// Checks the six predicates in their order, on create and on every update.
pub fn check(catalog: &Catalog, proposal: Proposal<'_>) -> Result<Compatible, Incompatible> {
    let Proposal { event_type, deliverable_type, serializer_format, connector, .. } = proposal;
    let matches = filter(event_type, proposal.matches).map_err(|fault| Incompatible::Filter(fault.under("signal_filter")))?;
    let deliverable = catalog.deliverables.iter().find(|d| d.name == deliverable_type);
    let deliverable = deliverable.ok_or_else(|| Incompatible::UnknownDeliverable(deliverable_type.to_owned()))?;
    let unknown = || Incompatible::UnknownSerializer(serializer_format.to_owned());
    let entry = catalog.serializers.iter().find(|s| s.format == serializer_format).ok_or_else(unknown)?;
    let serializer = Serializer::parse(entry.format).ok_or_else(unknown)?;
    if !entry.supports_kinds.contains(&deliverable.shape.kind) {
        return Err(Incompatible::Shape { serializer, deliverable: deliverable_type.to_owned() });
    }
    let body = body(serializer, proposal.envelope, proposal.field_map)?;
    let carries = catalog.connectors.iter().any(|c| {
        c.name == connector
            && c.supported_serializers.contains(&entry.format)
            && c.supported_deliverable_kinds.contains(&deliverable.shape.kind)
    });
    if !carries {
        return Err(Incompatible::Connector { connector: connector.to_owned(), serializer });
    }
    if !goes_with(deliverable, event_type) {
        return Err(Incompatible::Signal { deliverable: deliverable_type.to_owned(), event_type: event_type.to_owned() });
    }
    Ok(Compatible { matches, body })
}

fn filter(event_type: &str, matches: Option<&str>) -> Result<Option<Match>, Invalid> {
    signal::check_bound(event_type).map_err(|rule| Invalid::new("event_type", rule.0))?;
    matches.map_or(Ok(None), |text| Match::parse(text).map_err(|fault| fault.under("match")))
}

fn body(serializer: Serializer, envelope: Option<bool>, field_map: Option<FieldMap>) -> Result<BodyForm, Incompatible> {
    match serializer {
        Serializer::Raw if field_map.is_some() => Err(Incompatible::RawWithFieldMap),
        Serializer::Raw if envelope == Some(true) => Err(Incompatible::RawWithEnvelope),
        Serializer::Raw => Ok(BodyForm::Raw),
        Serializer::Made(format) => Ok(BodyForm::Items(ItemsBody { format, envelope: envelope.unwrap_or(true), field_map })),
    }
}

fn goes_with(deliverable: &Deliverable, event_type: &str) -> bool {
    deliverable.compatible_signals.iter().any(|signal| *signal == "*" || *signal == event_type)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::body::Format;
    use crate::catalog::{CATALOG, Connector, EVENT, SerializerEntry, Shape, ShapeKind, WEBHOOK};

    fn proposal() -> Proposal<'static> {
        Proposal {
            event_type: "invoice.paid",
            matches: None,
            deliverable_type: EVENT,
            serializer_format: "json",
            envelope: None,
            field_map: None,
            connector: WEBHOOK,
        }
    }

    fn refused(catalog: &Catalog, proposal: Proposal<'_>) -> (u8, String) {
        let why = check(catalog, proposal).expect_err("it does not fit");
        assert!(!why.to_string().is_empty());
        (why.predicate(), why.path().to_owned())
    }

    #[test]
    fn what_goes_together_says_what_is_sent() {
        let plain = check(&CATALOG, proposal()).expect("it fits");
        assert_eq!(plain, Compatible { matches: None, body: BodyForm::Items(ItemsBody::json()) });
        let raw = check(&CATALOG, Proposal { serializer_format: "raw", envelope: Some(false), ..proposal() });
        assert_eq!(raw.expect("it fits").body, BodyForm::Raw);
        let matches = Proposal { matches: Some(r#"{"a":1}"#), serializer_format: "csv", envelope: Some(false), ..proposal() };
        let compatible = check(&CATALOG, matches).expect("it fits");
        assert_eq!(compatible.matches.expect("a predicate").as_json(), r#"{"a":1}"#);
        assert_eq!(compatible.body, BodyForm::Items(ItemsBody { format: Format::Csv, envelope: false, field_map: None }));
        for own in [signal::ITEM_COMPLETED, signal::ITEM_FAILED] {
            assert!(check(&CATALOG, Proposal { event_type: own, ..proposal() }).is_ok());
        }
    }

    #[test]
    fn everything_in_the_catalog_is_there() {
        let formats: Vec<_> = CATALOG.serializers.iter().map(|s| Serializer::parse(s.format)).collect();
        assert_eq!(formats, Serializer::ALL.map(Some));
        for entry in CATALOG.serializers {
            assert!(check(&CATALOG, Proposal { serializer_format: entry.format, ..proposal() }).is_ok(), "{}", entry.format);
        }
    }

    #[test]
    fn the_first_predicate_that_fails_is_named() {
        let own = |fault: &str| fault.to_owned();
        assert_eq!(refused(&CATALOG, Proposal { event_type: "Invoice", ..proposal() }), (1, own("signal_filter.event_type")));
        assert_eq!(refused(&CATALOG, Proposal { event_type: "delivery.x", ..proposal() }), (1, own("signal_filter.event_type")));
        assert_eq!(refused(&CATALOG, Proposal { matches: Some("[]"), ..proposal() }), (1, own("signal_filter.match")));
        assert_eq!(refused(&CATALOG, Proposal { deliverable_type: "document", ..proposal() }), (2, own("deliverable_type")));
        for unknown in ["xlsx", "JSON", ""] {
            assert_eq!(refused(&CATALOG, Proposal { serializer_format: unknown, ..proposal() }), (3, own("serializer_format")));
        }
        let map = || FieldMap::parse(r#"{"drop":["a"]}"#).expect("a map");
        let mapped = Proposal { serializer_format: "raw", field_map: map(), ..proposal() };
        assert_eq!(refused(&CATALOG, mapped), (4, own("field_map")));
        let wrapped = Proposal { serializer_format: "raw", envelope: Some(true), ..proposal() };
        assert_eq!(refused(&CATALOG, wrapped), (4, own("serializer_config.envelope")));
        assert_eq!(refused(&CATALOG, Proposal { connector: "sftp", ..proposal() }), (5, own("serializer_format")));
    }

    /// With the one deliverable and the one connector of this release these cannot fail; with the next ones they can.
    #[test]
    fn the_predicates_follow_the_tables() {
        let blobs = Catalog { serializers: &[SerializerEntry { format: "json", supports_kinds: &[ShapeKind::Blob] }], ..CATALOG };
        assert_eq!(refused(&blobs, proposal()).0, 4);
        static NOTHING: [Connector; 1] = [Connector {
            name: WEBHOOK,
            supported_serializers: &["csv"],
            supported_deliverable_kinds: &[ShapeKind::Envelope],
            max_payload_bytes: None,
            auth_types: &[],
            delivery_semantics: "record",
            default_rate_limit: None,
        }];
        assert_eq!(refused(&Catalog { connectors: &NOTHING, ..CATALOG }, proposal()).0, 5);
        static RUNS: [Deliverable; 1] = [Deliverable {
            name: EVENT,
            label: "",
            description: "",
            compatible_signals: &["run.completed"],
            shape: Shape { kind: ShapeKind::Envelope },
        }];
        let runs = Catalog { deliverables: &RUNS, ..CATALOG };
        assert_eq!(refused(&runs, proposal()).0, 6);
        assert!(check(&runs, Proposal { event_type: "run.completed", ..proposal() }).is_ok());
    }
}
