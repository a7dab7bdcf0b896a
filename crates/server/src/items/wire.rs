//! Shapes that several nouns share: items (attempts), and what is known of the last one.

use crate::auth::Access;
use crate::http::{App, Problem};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use postrider_core::attempt::{AttemptError, Outcome};
use postrider_core::endpoint::ITEMS_BODY_BYTES;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, EventSeq, SubscriptionId, idempotency_key};
use postrider_core::ports::{AttemptDetail, AttemptEnd, AttemptRow, LastOf};
use postrider_core::time::Timestamp;
use serde::Serialize;

/// A time as this API shows it.
pub(super) fn time(at: Timestamp) -> String {
    at.rfc3339(3)
}

/// An event's number as this API writes it: decimal digits and nothing else.
pub(super) fn event_seq(text: &str) -> Option<EventSeq> {
    text.bytes().all(|b| b.is_ascii_digit()).then(|| text.parse().ok().map(EventSeq))?
}

/// An item: one attempt (seed page; contract, section 7).
#[derive(Debug, Serialize)]
pub(super) struct Item<'a> {
    id: AttemptId,
    #[serde(skip_serializing_if = "Option::is_none")]
    customer_id: Option<&'a Namespace>,
    binding_id: SubscriptionId,
    event_id: String,
    idempotency_key: String,
    status: &'static str,
    attempt: u32,
    http_status: Option<u16>,
    error_code: Option<&'static str>,
    error_message: Option<&'a str>,
    #[serde(flatten)]
    bodies: Option<Bodies>,
    duration_ms: Option<u64>,
    completed_at: Option<String>,
    created_at: String,
}

/// What only the detail of an item shows.
#[derive(Debug, Serialize)]
struct Bodies {
    request_body: Option<String>,
    response_body: Option<String>,
    request_truncated: bool,
    response_truncated: bool,
}

/// How an attempt ended, wherever that is known from.
struct End<'a> {
    finished_at: Timestamp,
    http_status: Option<u16>,
    error: Option<&'a AttemptError>,
    total_us: u32,
}

impl<'a> From<&'a AttemptEnd> for End<'a> {
    fn from(end: &'a AttemptEnd) -> Self {
        End { finished_at: end.finished_at, http_status: end.http_status, error: end.error.as_ref(), total_us: end.phases.total }
    }
}

impl<'a> From<&'a Outcome> for End<'a> {
    fn from(outcome: &'a Outcome) -> Self {
        let Outcome { finished_at, http_status, error, phases, .. } = outcome;
        End { finished_at: *finished_at, http_status: *http_status, error: error.as_ref(), total_us: phases.total }
    }
}

fn status(end: Option<&End<'_>>) -> &'static str {
    match end {
        None => "in_flight",
        Some(End { error: None, .. }) => "succeeded",
        Some(End { error: Some(_), .. }) => "failed",
    }
}

/// `succeeded` or `failed`, of an attempt that ended.
pub(super) fn ended_status(row: &AttemptRow) -> Option<&'static str> {
    row.end.as_ref().map(|end| status(Some(&End::from(end))))
}

/// What identifies an item.
struct Head<'a> {
    id: AttemptId,
    namespace: &'a Namespace,
    binding: SubscriptionId,
    event: EventSeq,
    number: u32,
    started_at: Timestamp,
}

impl<'a> Item<'a> {
    fn new(head: Head<'a>, end: Option<End<'a>>, bodies: Option<Bodies>, access: &Access) -> Self {
        let error = end.as_ref().and_then(|end| end.error);
        Item {
            id: head.id,
            customer_id: access.namespace.is_none().then_some(head.namespace),
            binding_id: head.binding,
            event_id: head.event.to_string(),
            idempotency_key: idempotency_key(head.binding, head.event),
            status: status(end.as_ref()),
            attempt: head.number,
            http_status: end.as_ref().and_then(|end| end.http_status),
            error_code: error.map(|error| error.code.as_str()),
            error_message: error.map(|error| error.message.as_str()),
            bodies,
            duration_ms: end.as_ref().map(|end| u64::from(end.total_us).div_ceil(1_000)),
            completed_at: end.as_ref().map(|end| time(end.finished_at)),
            created_at: time(head.started_at),
        }
    }

    /// An item in a list.
    pub(super) fn listed(row: &'a AttemptRow, access: &Access) -> Self {
        let AttemptRow { id, namespace, subscription, event, number, started_at, .. } = row;
        let head = Head { id: *id, namespace, binding: *subscription, event: *event, number: *number, started_at: *started_at };
        Item::new(head, row.end.as_ref().map(End::from), None, access)
    }

    /// An item with its bodies.
    pub(super) fn detailed(detail: &'a AttemptDetail, access: &Access) -> Self {
        let attempt = &detail.attempt;
        let head = Head {
            id: attempt.id,
            namespace: &detail.event.namespace,
            binding: attempt.subscription,
            event: detail.event.seq,
            number: attempt.number,
            started_at: attempt.started_at,
        };
        Item::new(head, attempt.outcome.as_ref().map(End::from), Some(bodies(detail)), access)
    }
}

fn bodies(detail: &AttemptDetail) -> Bodies {
    let nothing = Bodies { request_body: None, response_body: None, request_truncated: false, response_truncated: false };
    let Some(outcome) = detail.attempt.outcome.as_ref().filter(|_| !detail.bodies_removed) else { return nothing };
    let never_made = outcome.error.as_ref().is_some_and(|error| {
        matches!(
            error.code,
            ErrorCode::SerializationFailed
                | ErrorCode::TemplateError
                | ErrorCode::PayloadTooLarge
                | ErrorCode::SecretUnreadable
                | ErrorCode::Interrupted
        )
    });
    let (request, cut) = match &outcome.request_body {
        Some(request) => (Some(text(request).0), outcome.request_truncated),
        None if never_made => (None, false),
        // Where nothing of its own was kept the payload itself was sent.
        None => {
            let (payload, cut) = text(&detail.event.payload);
            (Some(payload), cut)
        }
    };
    let (response, response_cut) = text(&outcome.response_body);
    Bodies {
        request_body: request,
        response_body: outcome.http_status.is_some().then_some(response),
        request_truncated: cut,
        response_truncated: outcome.response_truncated || response_cut,
    }
}

/// Bytes as text, at most [`ITEMS_BODY_BYTES`] of them and cut between characters; in Base64 where they are none. Whether they were cut.
fn text(bytes: &[u8]) -> (String, bool) {
    let most = ITEMS_BODY_BYTES as usize;
    let cut = bytes.len() > most;
    let kept = &bytes[..bytes.len().min(most)];
    let text = match std::str::from_utf8(kept) {
        Ok(text) => text.to_owned(),
        // The last character was cut in two.
        Err(error) if error.error_len().is_none() && (cut || kept.len() == most) => {
            String::from_utf8_lossy(&kept[..error.valid_up_to()]).into_owned()
        }
        Err(_) => format!("base64:{}", STANDARD.encode(kept)),
    };
    (text, cut)
}

/// The attempt of each that began last of those that ended.
pub(super) async fn last_ended(app: &App, of: LastOf) -> Result<Vec<Option<AttemptRow>>, Problem> {
    app.engine.store().last_ended(of).await.map_err(Problem::of_read)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_of_events_have_one_spelling() {
        assert_eq!((event_seq("1042"), event_seq("9223372036854775807")), (Some(EventSeq(1042)), Some(EventSeq(i64::MAX))));
        for bad in ["", "-1", "+1", " 1", "1.0", "9223372036854775808"] {
            assert_eq!(event_seq(bad), None, "{bad}");
        }
    }

    #[test]
    fn bodies_are_cut_between_characters_and_bytes_are_shown_all_the_same() {
        assert_eq!(text(b"ok"), (String::from("ok"), false));
        assert_eq!(text(&[0xff, 0x00]), (String::from("base64:/wA="), false));
        let long = format!("{}é and more", "x".repeat(10_239));
        let (shown, cut) = text(long.as_bytes());
        assert_eq!((shown.len(), cut), (10_239, true));
        // Cut before it came here, in the middle of a character.
        assert_eq!(text(&long.as_bytes()[..10_240]).0.len(), 10_239);
    }
}
