//! Types of events as the Items API knows them, and the events that Postrider itself makes about deliveries.

use crate::error::ErrorCode;
use crate::event::{BadName, MAX_NAME_BYTES};
use crate::id::{AttemptId, EndpointId, EventSeq, SubscriptionId};
use bytes::Bytes;
use serde::Serialize;

/// What the types of Postrider's own events begin with; nobody else publishes such.
pub const RESERVED_PREFIX: &str = "delivery.";

/// The type of the event that follows a delivery that its receiver took.
pub const ITEM_COMPLETED: &str = "delivery.item.completed";

/// The type of the event that follows a delivery that ended without success.
pub const ITEM_FAILED: &str = "delivery.item.failed";

/// The type of the request by which somebody tests an endpoint; there is no event.
pub const TEST: &str = "delivery.test";

/// Whether a type is one that only Postrider's own events have. Deliveries of such events make no events in turn, so that there is no loop.
pub fn is_reserved(event_type: &str) -> bool {
    event_type.starts_with(RESERVED_PREFIX)
}

/// Checks a type's form: two or more parts of `a-z 0-9 _`, separated by dots, 255 bytes at the most
/// (contract of the Items API, section 9.4: `^[a-z0-9_]+(\.[a-z0-9_]+)+$`).
pub fn check_form(event_type: &str) -> Result<(), BadName> {
    let is_part = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if event_type.len() <= MAX_NAME_BYTES && event_type.contains('.') && event_type.split('.').all(is_part) {
        return Ok(());
    }
    Err(BadName("an event type is two or more parts of a-z 0-9 _ separated by dots, such as invoice.paid, and at most 255 characters"))
}

/// Checks the type of an event that somebody publishes.
pub fn check_published(event_type: &str) -> Result<(), BadName> {
    check_form(event_type)?;
    if is_reserved(event_type) {
        return Err(BadName("event types that begin with delivery. are those of Postrider's own events: choose another beginning"));
    }
    Ok(())
}

/// Checks the type that a binding asks for: any that can be published, and those of Postrider's own events.
pub fn check_bound(event_type: &str) -> Result<(), BadName> {
    check_form(event_type)?;
    if is_reserved(event_type) && ![ITEM_COMPLETED, ITEM_FAILED].contains(&event_type) {
        return Err(BadName(
            "of the event types that begin with delivery. there are only delivery.item.completed and delivery.item.failed",
        ));
    }
    Ok(())
}

/// What [`ITEM_COMPLETED`] and [`ITEM_FAILED`] tell (contract, section 9.4).
#[derive(Clone, Copy, Debug, Serialize)]
pub struct ItemEnded<'a> {
    /// The attempt that decided; `None` where the delivery ended without one, by running out of time or waiting too long.
    pub item_id: Option<AttemptId>,
    /// The binding.
    pub binding_id: SubscriptionId,
    /// The destination.
    pub destination_id: EndpointId,
    /// The event that was delivered, shown as a decimal text.
    #[serde(serialize_with = "as_text")]
    pub source_event_id: EventSeq,
    /// Its type.
    pub source_event_type: &'a str,
    /// Attempts made in all.
    pub attempts: u32,
    /// The last answer's status, if there was an answer.
    pub http_status: Option<u16>,
    /// Why it failed; `None` after a success.
    pub error_code: Option<ErrorCode>,
}

fn as_text<S: serde::Serializer>(seq: &EventSeq, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.collect_str(seq)
}

impl ItemEnded<'_> {
    /// The payload of the event.
    pub fn payload(&self) -> Bytes {
        serde_json::to_vec(self).expect("texts, numbers and ids are always JSON").into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn the_payload_is_the_contracts() {
        let ended = ItemEnded {
            item_id: None,
            binding_id: SubscriptionId::new(Uuid::from_u128(1)),
            destination_id: EndpointId::new(Uuid::from_u128(2)),
            source_event_id: EventSeq(1042),
            source_event_type: "a\"b",
            attempts: 7,
            http_status: Some(503),
            error_code: Some(ErrorCode::Connector5xx),
        };
        let text = r#"{"item_id":null,"binding_id":"00000000-0000-0000-0000-000000000001","destination_id":"00000000-0000-0000-0000-000000000002","source_event_id":"1042","source_event_type":"a\"b","attempts":7,"http_status":503,"error_code":"connector_5xx"}"#;
        assert_eq!(ended.payload(), text);
        let completed = ItemEnded { item_id: Some(AttemptId::new(Uuid::from_u128(3))), http_status: None, error_code: None, ..ended };
        let value: serde_json::Value = serde_json::from_slice(&completed.payload()).expect("JSON");
        let fields: Vec<_> = crate::catalog::CATALOG.signals[0].payload_fields.to_vec();
        assert!(fields.iter().all(|field| value.get(field).is_some()) && value.as_object().is_some_and(|o| o.len() == fields.len()));
        assert_eq!((&value["item_id"], &value["error_code"]), (&"00000000-0000-0000-0000-000000000003".into(), &serde_json::Value::Null));
    }

    #[test]
    fn types_have_the_form_of_the_contract() {
        for good in ["a.b", "invoice.paid", "run_2.x.y_z", "0.1", &format!("a.{}", "b".repeat(253))] {
            assert_eq!((check_form(good), check_published(good), check_bound(good)), (Ok(()), Ok(()), Ok(())), "{good}");
        }
        for bad in ["", "a", ".a", "a.", "a..b", "A.b", "a-b.c", "a.b c", "a.é", "a.*", &format!("a.{}", "b".repeat(254))] {
            assert!(check_form(bad).is_err() && check_published(bad).is_err() && check_bound(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn postriders_own_events_can_be_asked_for_and_not_published() {
        for own in [ITEM_COMPLETED, ITEM_FAILED] {
            assert!(check_bound(own).is_ok() && check_published(own).is_err() && is_reserved(own));
        }
        assert!(check_bound("delivery.item.other").is_err());
        assert!(check_published("deliveryx.item").is_ok());
    }
}
