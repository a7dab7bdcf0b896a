//! What a binding is made of, as a request says it (contract, section 9.3).

use super::destination_request::MAX_NAME_BYTES;
use crate::http::json::Field;
use crate::http::{Detail, Problem, Reader};
use postrider_core::body::{BodyForm, FieldMap, Serializer};
use postrider_core::catalog::{CATALOG, EVENT, WEBHOOK};
use postrider_core::compatibility::{Compatible, Proposal, check};
use postrider_core::filter::MAX_MATCH_BYTES;
use postrider_core::id::EndpointId;
use postrider_core::invalid::Invalid;
use postrider_core::policy::{self, DeliveryPolicy};
use postrider_core::subscription::Subscription;

const FIELDS: [&str; 10] = [
    "name",
    "signal_filter",
    "deliverable_type",
    "destination_id",
    "serializer_format",
    "serializer_config",
    "resolver_config",
    "field_map",
    "delivery_policy",
    "is_active",
];

/// Most gaps of a `backoff_schedule`; what no attempt can use is cut off.
pub(crate) const MAX_GAPS: usize = 100;

/// What a request says; what it leaves out is `Absent` or `None`.
#[derive(Debug)]
pub(super) struct Wanted {
    pub name: Option<String>,
    pub destination: Option<EndpointId>,
    pub policy: Option<DeliveryPolicy>,
    pub is_active: Option<bool>,
    filter: Option<Filter>,
    deliverable_type: Option<String>,
    serializer_format: Option<String>,
    envelope: Field<bool>,
    field_map: Field<FieldMap>,
}

#[derive(Debug)]
struct Filter {
    event_type: String,
    matches: Option<String>,
}

/// What routing and sending need of a binding.
#[derive(Debug)]
pub(super) struct Made {
    pub event_type: String,
    pub compatible: Compatible,
}

impl Wanted {
    /// Reads a request. With `is_new`, what a binding cannot do without must be there.
    pub(super) fn parse(body: &[u8], is_new: bool) -> Result<Self, Problem> {
        let reader = Reader::open(body, &FIELDS)?;
        let set = |name: &str, is_required: bool, field| super::destination_request::set(&reader, name, is_required, field);
        let any = |_: &String| Ok(());
        let name = set("name", is_new, reader.text("name", 1..=MAX_NAME_BYTES));
        let deliverable_type = set("deliverable_type", is_new, reader.read("deliverable_type", "a string", any));
        let serializer_format = set("serializer_format", is_new, reader.read("serializer_format", "a string", any));
        let uuid = |text: &String| EndpointId::parse(text).map(drop).ok_or_else(|| String::from("must be the UUID of a destination"));
        let destination = set("destination_id", is_new, reader.read("destination_id", "a string", uuid));
        let wanted = Wanted {
            name,
            destination: destination.and_then(|text| EndpointId::parse(&text)),
            policy: delivery_policy(&reader),
            is_active: match reader.flag("is_active") {
                Field::Value(active) => Some(active),
                Field::Null | Field::Absent => None,
            },
            filter: filter(&reader, is_new),
            deliverable_type,
            serializer_format,
            envelope: envelope(&reader),
            field_map: field_map(&reader),
        };
        // There is nothing to configure about the one deliverable.
        if let Field::Value(config) = reader.object("resolver_config", &[]) {
            drop(config);
        }
        reader.finish()?;
        Ok(wanted)
    }

    /// Puts the request over what was there before and checks whether its parts go together.
    pub(super) fn check(&self, before: Option<&Subscription>) -> Result<Made, Problem> {
        let before_type = before.map(super::bindings::event_type);
        let event_type = self.filter.as_ref().map_or(before_type.as_deref().unwrap_or_default(), |f| f.event_type.as_str());
        let before_matches = before.and_then(|s| s.matches.as_ref()).map(|m| m.as_json());
        let matches = self.filter.as_ref().map_or(before_matches, |f| f.matches.as_deref());
        let before_format = before.map_or(Serializer::Raw.as_str(), |s| s.body.serializer().as_str());
        let serializer_format = self.serializer_format.as_deref().unwrap_or(before_format);
        let (before_envelope, before_map) = match before.map(|s| &s.body) {
            Some(BodyForm::Items(body)) => (Some(body.envelope), body.field_map.clone()),
            Some(BodyForm::Raw | BodyForm::Rpc | BodyForm::Template(_)) | None => (None, None),
        };
        let proposal = Proposal {
            event_type,
            matches,
            deliverable_type: self.deliverable_type.as_deref().unwrap_or(EVENT),
            serializer_format,
            envelope: match self.envelope {
                Field::Value(envelope) => Some(envelope),
                Field::Null => None,
                // What is left of another serializer's configuration must not stand against a change to raw.
                Field::Absent => before_envelope.filter(|_| serializer_format != Serializer::Raw.as_str()),
            },
            field_map: match &self.field_map {
                Field::Value(map) => Some(map.clone()),
                Field::Null => None,
                Field::Absent => before_map,
            },
            connector: WEBHOOK,
        };
        let compatible = check(&CATALOG, proposal).map_err(|why| {
            let (path, message) = (why.path(), why.to_string());
            // Whoever is told has the path beside it.
            let message = message.strip_prefix(path).and_then(|rest| rest.strip_prefix(": ")).unwrap_or(&message);
            let message = format!("{message} (compatibility check, predicate {})", why.predicate());
            Problem::validation(vec![Detail { path: path.to_owned(), message }])
        })?;
        Ok(Made { event_type: event_type.to_owned(), compatible })
    }

    /// Whether the request changes what is matched.
    pub(super) fn changes_filter(&self) -> bool {
        self.filter.is_some()
    }

    /// Whether the request changes what is sent.
    pub(super) fn changes_form(&self) -> bool {
        let says = self.serializer_format.is_some() || self.deliverable_type.is_some();
        let shapes = !matches!((&self.envelope, &self.field_map), (Field::Absent, Field::Absent));
        says || shapes
    }
}

fn filter(reader: &Reader<'_>, is_new: bool) -> Option<Filter> {
    let field = reader.object("signal_filter", &["event_type", "match"]);
    let filter = super::destination_request::set(reader, "signal_filter", is_new, field)?;
    let event_type = filter.required("event_type", filter.read("event_type", "a string", |_: &String| Ok(())))?;
    let matches = match filter.raw("match") {
        Field::Value(raw) => {
            // What is longer is refused by the rule of its own.
            if raw.len() <= MAX_MATCH_BYTES {
                filter.distinct("match", raw);
            }
            Some(raw.to_owned())
        }
        Field::Null | Field::Absent => None,
    };
    Some(Filter { event_type, matches })
}

fn envelope(reader: &Reader<'_>) -> Field<bool> {
    match reader.object("serializer_config", &["envelope"]) {
        // What it leaves out has its default.
        Field::Value(config) => match config.flag("envelope") {
            Field::Absent => Field::Null,
            said => said,
        },
        Field::Null => Field::Null,
        Field::Absent => Field::Absent,
    }
}

fn field_map(reader: &Reader<'_>) -> Field<FieldMap> {
    match reader.raw("field_map") {
        Field::Absent => Field::Absent,
        Field::Null => Field::Null,
        Field::Value(raw) => match FieldMap::parse(raw) {
            Ok(map) => {
                reader.distinct("field_map", raw);
                map.map_or(Field::Null, Field::Value)
            }
            Err(fault) => {
                note(reader, fault.under("field_map"));
                Field::Absent
            }
        },
    }
}

fn note(reader: &Reader<'_>, fault: Invalid) {
    reader.fail(&fault.path, fault.message);
}

/// `null` is the default policy.
fn delivery_policy(reader: &Reader<'_>) -> Option<DeliveryPolicy> {
    let given = match reader.object("delivery_policy", &["max_attempts", "backoff_schedule", "timeout_ms", "rate_limit"]) {
        Field::Absent => return None,
        Field::Null => return Some(DeliveryPolicy::items()),
        Field::Value(given) => given,
    };
    let whole = |name: &str| given.number(name, 0..=u64::MAX).value();
    let gaps = given.read("backoff_schedule", "an array of whole numbers of milliseconds", |gaps: &Vec<u64>| {
        if gaps.len() > MAX_GAPS { Err(format!("must have at most {MAX_GAPS} entries")) } else { Ok(()) }
    });
    let gaps = gaps.value();
    let rate_limit = given.object("rate_limit", &["ratePerSec", "capacity"]).value().and_then(|limit| {
        let rate = limit.required("ratePerSec", limit.read("ratePerSec", "a number", |_: &f64| Ok(())));
        let capacity = limit.required("capacity", limit.number("capacity", 0..=u64::MAX));
        rate.zip(capacity)
    });
    let wanted =
        policy::Wanted { max_attempts: whole("max_attempts"), gaps_ms: gaps.as_deref(), timeout_ms: whole("timeout_ms"), rate_limit };
    match DeliveryPolicy::new(&wanted) {
        Ok(policy) => Some(policy),
        Err(faults) => {
            faults.into_iter().for_each(|fault| note(reader, fault.under("delivery_policy")));
            None
        }
    }
}
