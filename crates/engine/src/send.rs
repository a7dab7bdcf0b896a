//! One attempt: the request is exchanged and what came back is judged.

use crate::dispatch::{Pulse, Turn};
use crate::request::{Unsendable, kept, request};
use crate::route::Route;
use crate::shared::Shared;
use bytes::Bytes;
use http::StatusCode;
use postrider_core::attempt::{Attempt, AttemptError, MAX_ERROR_MESSAGE_BYTES, Outcome, Phases, Verdict, judge};
use postrider_core::error::ErrorCode;
use postrider_core::ports::{Exchange, Lane, Target};
use postrider_core::subscription::Origin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// What came of a turn.
#[expect(clippy::large_enum_variant, reason = "the large variant is the usual one; a box would cost every delivery an allocation")]
pub(crate) enum Sent {
    /// There was an exchange, or there would have been one.
    Attempted { attempt: Attempt, verdict: Verdict, pulse: Pulse },
    /// The time to live had run out.
    Expired,
    /// The subscription or the endpoint is gone.
    Cancelled(ErrorCode),
    /// The endpoint takes nothing at the moment.
    Parked,
    /// Others may have taken this engine for dead, and go on with the delivery themselves.
    Withheld,
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
pub(crate) async fn perform(shared: &Arc<Shared>, turn: &mut Turn) -> (Sent, Kept) {
    let lane = turn.lane.take();
    let delivery = &turn.job.delivery;
    let routes = shared.routes.load();
    let Some(route) = routes.route_of_queued(delivery, &shared.config.user_agent) else {
        let gone =
            if routes.subscription(delivery.subscription).is_some() { ErrorCode::EndpointDeleted } else { ErrorCode::SubscriptionDeleted };
        return (Sent::Cancelled(gone), lane);
    };
    let is_parked = routes.parked_since(delivery.endpoint).is_some();
    drop(routes);
    if delivery.progress.is_expired(turn.started_at) {
        return (Sent::Expired, lane);
    }
    if is_parked {
        return (Sent::Parked, None);
    }
    let making = Instant::now();
    let outgoing = match request(&shared.renders, &route, &turn.job, turn.attempt, turn.started_at).await {
        Ok(outgoing) => outgoing,
        Err(why) => return (unsendable(&route, turn, why, making.elapsed()), lane),
    };
    let made_in = making.elapsed();
    let (body, truncated) = kept(&outgoing.body, &turn.job.event.payload);
    let (mut lane, target) = match lane {
        Some((lane, target)) if Arc::ptr_eq(&target, &route.target) || target == route.target => (lane, target),
        _ => (shared.transport.lane(&route.target), Arc::clone(&route.target)),
    };
    // The body may have taken its time.
    if !shared.store.may_act() {
        return (Sent::Withheld, Some((lane, target)));
    }
    if !turn.begins(shared.now()) {
        return (Sent::Parked, None);
    }
    let exchange = lane.exchange(outgoing).await;
    let judged = judged(shared, &route, turn, Request { body, truncated, made_in }, exchange);
    (judged, Some((lane, target)))
}

/// What is kept of a request.
struct Request {
    body: Option<Bytes>,
    truncated: bool,
    /// How long it took to make it, with the wait for a place to do so.
    made_in: Duration,
}

fn judged(shared: &Shared, route: &Route, turn: &Turn, request: Request, exchange: Exchange) -> Sent {
    let verdict = judge(route.subscription.origin, &route.endpoint.http.expected_status, &exchange);
    // The exchange's own measure, so that an attempt's times agree with each other whatever the wall clock does.
    let took = Duration::from_micros(u64::from(exchange.phases.total));
    let pulse = Pulse::new(verdict.code().is_none(), request.made_in.saturating_add(took));
    let finished_at = turn.started_at.after(took).max(turn.started_at);
    let finished_at = finished_at.min(shared.now().max(turn.started_at));
    let (http_status, error, response_body, response_truncated) = match exchange.result {
        Ok(response) => {
            let error = verdict.code().map(|code| AttemptError { code, message: status_line(route.subscription.origin, response.status) });
            (Some(response.status), error, response.body, response.truncated)
        }
        Err(fault) => {
            let code = verdict.code().unwrap_or(ErrorCode::ProtocolError);
            (None, Some(AttemptError { code, message: clipped(&fault.message) }), Bytes::new(), false)
        }
    };
    let outcome = Outcome {
        finished_at,
        http_status,
        error,
        phases: exchange.phases,
        request_body: request.body,
        request_truncated: request.truncated,
        response_body,
        response_truncated,
    };
    Sent::Attempted { attempt: attempt(route, turn, Some(outcome)), verdict, pulse }
}

/// A delivery that cannot be sent as it should be is not sent. Where a secret is missing it is tried again, for the operator can bring the
/// key back; the log says so once for each endpoint (`maintain::announce`), and its deliveries come at the pace of a dead one. A body that
/// cannot be made now cannot be made later, which says nothing about the endpoint.
fn unsendable(route: &Route, turn: &Turn, why: Unsendable, made_in: Duration) -> Sent {
    let error = why.error();
    let (verdict, pulse) = match why {
        Unsendable::Secret => (Verdict::Retry { code: error.code, retry_after: None, free: false }, Pulse::Bad { slow: false }),
        Unsendable::Body(_) => (Verdict::Permanent { code: error.code, disable: false }, Pulse::unsent(made_in)),
    };
    let outcome = Outcome {
        finished_at: turn.started_at,
        http_status: None,
        error: Some(error),
        phases: Phases::default(),
        request_body: None,
        request_truncated: false,
        response_body: Bytes::new(),
        response_truncated: false,
    };
    Sent::Attempted { attempt: attempt(route, turn, Some(outcome)), verdict, pulse }
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

/// `HTTP 503` for bindings, as their contract shows it (section 7), else with the reason.
pub(crate) fn status_line(origin: Origin, status: u16) -> String {
    if origin == Origin::Items {
        return format!("HTTP {status}");
    }
    let reason = StatusCode::from_u16(status).ok().and_then(|s| s.canonical_reason());
    reason.map_or_else(|| status.to_string(), |reason| format!("{status} {reason}"))
}

/// At most [`MAX_ERROR_MESSAGE_BYTES`], cut between characters.
pub(crate) fn clipped(text: &str) -> String {
    text.char_indices().take_while(|(at, c)| at + c.len_utf8() <= MAX_ERROR_MESSAGE_BYTES).map(|(_, c)| c).collect()
}
