//! Deliveries and attempts as they are shown.

use super::super::access::timestamp;
use super::super::page::count;
use bytes::Bytes;
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::body::{RpcHead, rpc_envelope};
use postrider_core::delivery::{State, StateKind};
use postrider_core::error::{Category, ErrorCode};
use postrider_core::ports::{AttemptEnd, AttemptRow, DeliveryRow, LISTED_BODY_BYTES};
use postrider_core::subscription::Origin;
use postrider_engine::Routes;
use postrider_proto::webhook as w;

/// The most of a request and of a response that is shown, in bytes: twice the longest output of a template, and what is kept of a response at
/// the most (contract, section 7). gRPC clients read messages of 4 MiB.
const MAX_REQUEST: usize = 2 << 20;
const MAX_RESPONSE: usize = 1 << 20;

/// How much of its bodies a delivery is shown with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Bodies {
    /// Their beginnings: clients read messages of 4 MiB, and a page has up to a thousand deliveries.
    Begun,
    /// All that is kept of them, and of a long envelope what it was.
    Whole,
}

impl Bodies {
    /// The most of one that is shown: `whole` is how much that is at the most.
    fn most(self, whole: usize) -> usize {
        match self {
            Bodies::Begun => LISTED_BODY_BYTES,
            Bodies::Whole => whole,
        }
    }
}

pub(super) fn delivery(routes: &Routes, row: &DeliveryRow, bodies: Bodies) -> w::WebhookDelivery {
    let (delivery, progress) = (&row.delivery, row.delivery.progress);
    let outcome = row.last_ended.as_ref().and_then(|attempt| attempt.outcome.as_ref());
    let Attempts { made, most } = attempts(routes, row);
    w::WebhookDelivery {
        delivery_id: delivery.id.to_string(),
        webhook_id: delivery.endpoint.to_string(),
        event_id: row.event_id.to_string(),
        status: status(progress.state.kind()).into(),
        attempt_count: count(made),
        max_attempts: count(most),
        created_at: timestamp(delivery.created_at).into(),
        last_attempted_at: delivery.last_attempt_at.map(timestamp).into(),
        next_retry_at: next_retry(&progress.state).map(timestamp).into(),
        expires_at: progress.expires_at.map(timestamp).into(),
        response_code: count(outcome.and_then(|outcome| outcome.http_status).unwrap_or_default()),
        response_body: outcome.map_or_else(String::new, |o| text(&o.response_body, o.response_truncated, bodies.most(MAX_RESPONSE))),
        error_message: message(&progress.state, outcome),
        request_body: row.last_ended.as_ref().map_or_else(String::new, |attempt| request_body(row, attempt, bodies)),
        error_category: row.category().map_or("", Category::as_str).to_owned(),
    }
}

fn status(state: StateKind) -> w::WebhookDeliveryStatus {
    match state {
        StateKind::Pending => w::WebhookDeliveryStatus::DELIVERY_PENDING,
        StateKind::Sending => w::WebhookDeliveryStatus::DELIVERY_SENDING,
        StateKind::Retrying => w::WebhookDeliveryStatus::DELIVERY_RETRYING,
        StateKind::Succeeded => w::WebhookDeliveryStatus::DELIVERY_SUCCESS,
        StateKind::Failed | StateKind::Cancelled => w::WebhookDeliveryStatus::DELIVERY_FAILED,
        StateKind::Expired => w::WebhookDeliveryStatus::DELIVERY_EXPIRED,
    }
}

fn next_retry(state: &State) -> Option<postrider_core::time::Timestamp> {
    match *state {
        State::Retrying { due_at } => Some(due_at),
        _ => None,
    }
}

/// How many attempts there were that count, and how many there may be.
pub(in crate::rpc) struct Attempts {
    pub(in crate::rpc) made: u32,
    pub(in crate::rpc) most: u32,
}

/// What is subscribed through this API is not charged for a 429. Whatever was spent before the delivery was last tried again by hand is
/// on top of what its policy allows; without a policy, for a deleted subscription, there is nothing to come.
pub(in crate::rpc) fn attempts(routes: &Routes, row: &DeliveryRow) -> Attempts {
    let subscription = routes.subscription(row.delivery.subscription);
    let is_free = subscription.is_none_or(|subscription| subscription.origin == Origin::Rpc);
    let free = if is_free { row.rate_limited } else { 0 };
    let progress = row.delivery.progress;
    let made = progress.attempts.saturating_sub(free);
    let before = progress.uncounted().saturating_sub(free);
    let policy = subscription.map_or(0, |subscription| subscription.retry.max_attempts);
    Attempts { made, most: before.saturating_add(policy).max(made) }
}

/// What went wrong last: what it ended for, or else what its last attempt failed with.
pub(in crate::rpc) fn message(state: &State, last: Option<&Outcome>) -> String {
    let error = last.and_then(|outcome| outcome.error.as_ref());
    match (state, state.reason()) {
        (State::Succeeded, _) => String::new(),
        (_, Some(reason)) if error.is_none_or(|error| error.code != reason) => ending(reason).to_owned(),
        _ => error.map_or_else(String::new, |error| error.message.clone()),
    }
}

/// Why a delivery ended without an attempt that says it.
fn ending(reason: ErrorCode) -> &'static str {
    match reason {
        ErrorCode::Expired => "Delivery expired",
        ErrorCode::EndpointDeleted => "the webhook was deleted",
        ErrorCode::SubscriptionDeleted => "the subscription was deleted",
        ErrorCode::DestinationDisabled => "the webhook took nothing for too long",
        ErrorCode::CancelledByHand => "somebody called the delivery off",
        other => other.as_str(),
    }
}

/// What an attempt sent: where it kept nothing of its own, that was the payload, unless nothing was sent or retention took it.
fn request_body(row: &DeliveryRow, attempt: &Attempt, bodies: Bodies) -> String {
    let (Some(outcome), most) = (&attempt.outcome, bodies.most(MAX_REQUEST)) else { return String::new() };
    match &outcome.request_body {
        Some(kept) if outcome.request_truncated && bodies == Bodies::Whole => {
            let made = enveloped(row, attempt).filter(|made| made.starts_with(kept));
            text(made.as_ref().unwrap_or(kept), true, most)
        }
        Some(kept) => text(kept, outcome.request_truncated, most),
        None if row.bodies_removed || !was_sent(outcome) => String::new(),
        None => text(&row.payload, true, most),
    }
}

/// What an attempt sent if that was the envelope around the payload of its event: of a long body the attempt keeps the beginning alone, but
/// this one can be made again as it was.
fn enveloped(row: &DeliveryRow, attempt: &Attempt) -> Option<Bytes> {
    let head = RpcHead { event: row.event_id, event_type: &row.event_type, at: attempt.started_at, attempt: attempt.number };
    rpc_envelope(&head, &row.payload, usize::MAX).ok()
}

/// Whether there was an exchange, or the beginning of one.
pub(in crate::rpc) fn was_sent(outcome: &Outcome) -> bool {
    outcome.http_status.is_some() || outcome.phases.total > 0
}

/// The beginning of a body as text, in so many bytes at the most: what is no UTF-8 stands as U+FFFD, and a character that a cut goes through
/// is left out.
fn text(body: &[u8], is_cut: bool, most: usize) -> String {
    let begun = &body[..body.len().min(most)];
    let begun = match std::str::from_utf8(begun) {
        Err(error) if error.error_len().is_none() && (is_cut || begun.len() < body.len()) => &begun[..error.valid_up_to()],
        _ => begun,
    };
    let mut text = String::from_utf8_lossy(begun).into_owned();
    // What stands for what is no text may be longer than that.
    let end = (0..=most.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default();
    text.truncate(end);
    text
}

pub(super) fn attempt(row: &AttemptRow, end: &AttemptEnd) -> w::DeliveryAttempt {
    let category = end.error.as_ref().map_or(Category::Success, |error| error.code.category());
    w::DeliveryAttempt {
        attempt_id: row.id.to_string(),
        delivery_id: row.delivery.to_string(),
        webhook_id: row.endpoint.to_string(),
        success: end.error.is_none(),
        response_time: count(response_time(end)),
        response_code: count(end.http_status.unwrap_or_default()),
        error_message: end.error.as_ref().map_or_else(String::new, |error| error.message.clone()),
        error_category: category.as_str().to_owned(),
        timestamp: timestamp(row.started_at).into(),
    }
}

/// From sending the request to having the whole response or the error, in milliseconds: without what it took to connect. A response counts a
/// millisecond at least; without a connection there is nothing left.
fn response_time(end: &AttemptEnd) -> u32 {
    let micros = end.phases.exchange();
    if end.http_status.is_some() { micros.div_ceil(1_000).max(1) } else { micros / 1_000 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::attempt::{AttemptError, Phases};
    use postrider_core::time::Timestamp;

    #[test]
    fn bodies_are_cut_between_characters() {
        assert_eq!(text(b"", true, 4), "");
        assert_eq!((text("aü".as_bytes(), false, 9), text("aü".as_bytes(), false, 2)), ("aü".into(), "a".into()));
        // One that was cut before it was stored, and one that never was whole.
        assert_eq!((text(b"a\xc3", true, 9), text(b"a\xc3", false, 9)), ("a".into(), "a\u{fffd}".into()));
        let binary = text(&[0xff; 9], false, 8);
        assert_eq!(binary, "\u{fffd}\u{fffd}");
    }

    #[test]
    fn a_response_time_is_that_of_the_exchange() {
        let time =
            |http_status, phases| response_time(&AttemptEnd { finished_at: Timestamp::from_secs(0), http_status, error: None, phases });
        let phases = Phases { dns: Some(1_000), tcp: Some(2_000), tls: Some(3_000), first_byte: Some(100), total: 6_200 };
        assert_eq!((time(Some(200), phases), time(None, phases)), (1, 0));
        assert_eq!(time(Some(200), Phases { total: 1_005_999, ..phases }), 1_000);
        assert_eq!(time(None, Phases { tcp: Some(2_000_000), total: 2_000_100, ..Phases::default() }), 0, "it never connected");
        assert_eq!(time(None, Phases { total: 30_000_000, ..Phases::default() }), 30_000);
    }

    #[test]
    fn what_a_delivery_ended_for_comes_before_its_last_error() {
        let error = AttemptError { code: ErrorCode::Connector5xx, message: String::from("503 Service Unavailable") };
        let outcome = Outcome {
            finished_at: Timestamp::from_secs(0),
            http_status: Some(503),
            error: Some(error),
            phases: Phases::default(),
            request_body: None,
            request_truncated: false,
            response_body: bytes::Bytes::new(),
            response_truncated: false,
            response_headers: None,
        };
        let retrying = State::Retrying { due_at: Timestamp::from_secs(1) };
        for state in [retrying, State::Failed(ErrorCode::Connector5xx)] {
            assert_eq!(message(&state, Some(&outcome)), "503 Service Unavailable");
        }
        assert_eq!(message(&State::Expired, Some(&outcome)), "Delivery expired");
        assert_eq!(message(&State::Expired, None), "Delivery expired");
        assert_eq!(message(&State::Cancelled(ErrorCode::EndpointDeleted), Some(&outcome)), "the webhook was deleted");
        assert_eq!((message(&State::Succeeded, Some(&outcome)), message(&retrying, None)), (String::new(), String::new()));
    }
}
