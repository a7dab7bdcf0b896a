//! One attempt: the request is put together, exchanged and judged.

use crate::dispatch::Pulse;
use crate::dispatch::Turn;
use crate::route::Route;
use crate::shared::Shared;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use postrider_core::attempt::{Attempt, AttemptError, MAX_ERROR_MESSAGE_BYTES, Outcome, Phases, Verdict, judge};
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::error::ErrorCode;
use postrider_core::event::Event;
use postrider_core::id::idempotency_key;
use postrider_core::ports::{Exchange, Lane, Outgoing, Target};
use postrider_core::sign::{Scheme, SigningKey, postrider_header};
use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

/// What came of a turn.
#[expect(clippy::large_enum_variant, reason = "the large variant is the usual one; a box would cost every delivery an allocation")]
pub(crate) enum Sent {
    /// There was an exchange, or there would have been one.
    Attempted { attempt: Attempt, verdict: Verdict, pulse: Pulse },
    /// The time to live had run out.
    Expired,
    /// The subscription or the endpoint is gone.
    Cancelled(ErrorCode),
    /// The endpoint is paused or disabled.
    Parked,
}

impl Sent {
    pub(crate) fn pulse(&self) -> Pulse {
        match self {
            Sent::Attempted { pulse, .. } => *pulse,
            _ => Pulse::Unknown,
        }
    }
}

/// The lane that a worker keeps, and where it leads.
type Kept = Option<(Box<dyn Lane>, Arc<Target>)>;

/// Makes one attempt at a delivery, if it should still be made.
pub(crate) async fn perform(shared: &Arc<Shared>, turn: &mut crate::dispatch::Turn) -> (Sent, Kept) {
    let kept = turn.lane.take();
    let delivery = &turn.job.delivery;
    let routes = shared.routes.load();
    let Some(route) = routes.route(delivery.subscription).cloned() else {
        let gone =
            if routes.subscription(delivery.subscription).is_some() { ErrorCode::EndpointDeleted } else { ErrorCode::SubscriptionDeleted };
        return (Sent::Cancelled(gone), kept);
    };
    drop(routes);
    if delivery.progress.is_expired(turn.started_at) {
        return (Sent::Expired, kept);
    }
    if route.endpoint.status != EndpointStatus::Active {
        shared.park(delivery.endpoint);
        return (Sent::Parked, None);
    }
    let outgoing = match request(&route, delivery, &turn.job.event, turn) {
        Ok(outgoing) => outgoing,
        Err(reason) => return (unsendable(&route, turn, reason), kept),
    };
    let (mut lane, target) = match kept {
        Some((lane, target)) if Arc::ptr_eq(&target, &route.target) || target == route.target => (lane, target),
        _ => (shared.transport.lane(&route.target), Arc::clone(&route.target)),
    };
    let exchange = lane.exchange(outgoing).await;
    (judged(shared, &route, turn, exchange), Some((lane, target)))
}

fn judged(shared: &Shared, route: &Route, turn: &Turn, exchange: Exchange) -> Sent {
    let verdict = judge(route.subscription.origin, &exchange);
    let pulse = match verdict.code() {
        None => Pulse::Good,
        Some(ErrorCode::DeliveryTimeout) => Pulse::Hung,
        Some(_) => Pulse::Bad,
    };
    // The exchange's own measure, so that an attempt's times agree with each other whatever the wall clock does.
    let finished_at = turn.started_at.after(Duration::from_micros(u64::from(exchange.phases.total))).max(turn.started_at);
    let finished_at = finished_at.min(shared.now().max(turn.started_at));
    let message = |text: &str| clipped(text);
    let (http_status, error, response_body, response_truncated) = match exchange.result {
        Ok(response) => {
            let error = verdict.code().map(|code| AttemptError { code, message: status_line(response.status) });
            (Some(response.status), error, response.body, response.truncated)
        }
        Err(fault) => {
            let code = verdict.code().unwrap_or(ErrorCode::ProtocolError);
            (None, Some(AttemptError { code, message: message(&fault.message) }), bytes::Bytes::new(), false)
        }
    };
    let outcome = Outcome { finished_at, http_status, error, phases: exchange.phases, response_body, response_truncated };
    Sent::Attempted { attempt: attempt(route, turn, Some(outcome)), verdict, pulse }
}

/// A delivery that cannot be signed is not sent; it is tried again, for the operator can bring the key back.
fn unsendable(route: &Route, turn: &Turn, reason: String) -> Sent {
    tracing::error!(endpoint = %route.endpoint.id, reason, "a secret of an endpoint cannot be opened: its deliveries fail until the key is back");
    let code = ErrorCode::SecretUnreadable;
    let error = AttemptError { code, message: "the endpoint's signing secret cannot be opened with the server's keys".to_owned() };
    let outcome = Outcome {
        finished_at: turn.started_at,
        http_status: None,
        error: Some(error),
        phases: Phases::default(),
        response_body: bytes::Bytes::new(),
        response_truncated: false,
    };
    let verdict = Verdict::Retry { code, retry_after: None, free: false };
    Sent::Attempted { attempt: attempt(route, turn, Some(outcome)), verdict, pulse: Pulse::Unknown }
}

fn attempt(route: &Route, turn: &Turn, outcome: Option<Outcome>) -> Attempt {
    let delivery = &turn.job.delivery;
    Attempt {
        id: turn.attempt,
        delivery: delivery.id,
        subscription: delivery.subscription,
        endpoint: delivery.endpoint,
        number: delivery.progress.attempts.saturating_add(1),
        target_url: Arc::clone(&route.url),
        started_at: turn.started_at,
        outcome,
    }
}

fn status_line(status: u16) -> String {
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

/// At most [`MAX_ERROR_MESSAGE_BYTES`], cut between characters.
fn clipped(text: &str) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= MAX_ERROR_MESSAGE_BYTES).map(|(_, c)| c).collect()
}

/// Puts the request together: the endpoint's prepared headers, those of this attempt, the signatures.
fn request(route: &Route, delivery: &Delivery, event: &Event, turn: &Turn) -> Result<Outgoing, String> {
    let keys = route.keys.as_ref().map_err(Clone::clone)?;
    let mut headers = route.headers.clone();
    let mut text = String::with_capacity(160);
    let mut put = |headers: &mut HeaderMap, name: HeaderName, value: std::fmt::Arguments<'_>| {
        text.clear();
        let written = text.write_fmt(value);
        // Everything put here is digits, UUIDs, base64 or a checked event type.
        if let (Ok(()), Ok(value)) = (written, HeaderValue::from_str(&text)) {
            headers.insert(name, value);
        }
    };
    let at = turn.started_at.as_secs();
    let key = idempotency_key(delivery.subscription, event.seq);
    if !event.event_type.is_empty() {
        put(&mut headers, names::EVENT, format_args!("{}", event.event_type));
    }
    put(&mut headers, names::EVENT_ID, format_args!("{}", event.id));
    put(&mut headers, names::DELIVERY_ID, format_args!("{}", delivery.id));
    put(&mut headers, names::IDEMPOTENCY, format_args!("{key}"));
    put(&mut headers, names::PLAIN_IDEMPOTENCY, format_args!("{key}"));
    put(&mut headers, names::ATTEMPT, format_args!("{}", delivery.progress.attempts.saturating_add(1)));
    put(&mut headers, names::TIMESTAMP, format_args!("{at}"));
    if !keys.is_empty() {
        let id = format!("msg_{}", delivery.id);
        put(&mut headers, names::WEBHOOK_ID, format_args!("{id}"));
        put(&mut headers, names::WEBHOOK_TIMESTAMP, format_args!("{at}"));
        for scheme in &route.endpoint.schemes {
            sign(*scheme, keys, &id, at, &event.payload, |name, value| put(&mut headers, name, format_args!("{value}")));
        }
    }
    Ok(Outgoing { method: Method::POST, headers, body: event.payload.clone() })
}

/// While a rotation overlaps, schemes that can carry several signatures carry one per secret, the others that of the newest.
fn sign(scheme: Scheme, keys: &[SigningKey], id: &str, at: i64, body: &[u8], mut put: impl FnMut(HeaderName, String)) {
    let Some(newest) = keys.first() else { return };
    match scheme {
        Scheme::Standard => {
            let all: Vec<_> = keys.iter().map(|key| key.standard(id, at, body)).collect();
            put(names::WEBHOOK_SIGNATURE, all.join(" "));
        }
        Scheme::Postrider => put(names::SIGNATURE, postrider_header(at, keys.iter().map(|key| key.postrider(at, body)))),
        Scheme::Hub => put(names::HUB, newest.hub(body)),
        Scheme::LegacyTimestamped => {
            put(names::LEGACY_TIMESTAMP, at.to_string());
            put(names::LEGACY, newest.legacy(at, body));
        }
        Scheme::StandardEd25519 => {}
    }
}

/// The names of the headers, as the design fixes them.
mod names {
    use http::HeaderName;

    pub(super) const EVENT: HeaderName = HeaderName::from_static("x-postrider-event");
    pub(super) const EVENT_ID: HeaderName = HeaderName::from_static("x-postrider-event-id");
    pub(super) const DELIVERY_ID: HeaderName = HeaderName::from_static("x-postrider-delivery-id");
    pub(super) const IDEMPOTENCY: HeaderName = HeaderName::from_static("x-postrider-idempotency-key");
    pub(super) const PLAIN_IDEMPOTENCY: HeaderName = HeaderName::from_static("idempotency-key");
    pub(super) const ATTEMPT: HeaderName = HeaderName::from_static("x-postrider-attempt");
    pub(super) const TIMESTAMP: HeaderName = HeaderName::from_static("x-postrider-timestamp");
    pub(super) const SIGNATURE: HeaderName = HeaderName::from_static("x-postrider-signature");
    pub(super) const WEBHOOK_ID: HeaderName = HeaderName::from_static("webhook-id");
    pub(super) const WEBHOOK_TIMESTAMP: HeaderName = HeaderName::from_static("webhook-timestamp");
    pub(super) const WEBHOOK_SIGNATURE: HeaderName = HeaderName::from_static("webhook-signature");
    pub(super) const HUB: HeaderName = HeaderName::from_static("x-hub-signature-256");
    pub(super) const LEGACY: HeaderName = HeaderName::from_static("x-sparrow-signature-256");
    pub(super) const LEGACY_TIMESTAMP: HeaderName = HeaderName::from_static("x-sparrow-timestamp");
}
