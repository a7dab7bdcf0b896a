//! One attempt: the request is exchanged and what came back is judged.

use crate::dispatch::{Pulse, Turn};
use crate::job::Job;
use crate::lapse::lapsed;
use crate::maintain;
use crate::request::{Unsendable, kept, request};
use crate::route::Route;
use crate::shared::Shared;
use bytes::Bytes;
use http::StatusCode;
use postrider_core::attempt::{Attempt, AttemptError, MAX_ERROR_MESSAGE_BYTES, Outcome, Phases, Verdict, judge};
use postrider_core::error::ErrorCode;
use postrider_core::ports::{Exchange, FaultKind, Lane, Outgoing, Target};
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
    /// Nobody can say for the moment where it leads.
    Held,
    /// Others may have taken this engine for dead, and go on with the delivery themselves.
    Withheld,
    /// The same, once the attempt had begun: nobody sees the end of it.
    CutOff(Box<Attempt>),
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
    let route = match route(shared, &turn.job).await {
        Ok(route) => route,
        Err(NoRoute::Unknown) => return (Sent::Held, lane),
        Err(NoRoute::Gone(code)) => return (Sent::Cancelled(code), lane),
    };
    let is_parked = shared.routes.load().parked_since(delivery.endpoint).is_some();
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
        _ => (new_lane(shared, &route), Arc::clone(&route.target)),
    };
    // The body may have taken its time.
    if !shared.store.may_act() {
        return (Sent::Withheld, Some((lane, target)));
    }
    if !turn.begins(shared.now()) {
        return (Sent::Parked, None);
    }
    let Some(exchange) = exchanged(shared, &route, &mut *lane, outgoing).await else {
        return (Sent::CutOff(Box::new(attempt(&route, turn, None))), None);
    };
    let judged = judged(shared, &route, turn, Request { body, truncated, made_in }, exchange);
    (judged, Some((lane, target)))
}

/// Why nobody can say where a delivery leads.
enum NoRoute {
    /// Its subscription or its endpoint is gone.
    Gone(ErrorCode),
    /// It may be in configuration that cannot be read for the moment.
    Unknown,
}

/// Where a delivery leads. What is not configured is gone only if there is no newer configuration.
async fn route(shared: &Arc<Shared>, job: &Job) -> Result<Arc<Route>, NoRoute> {
    let (delivery, user_agent) = (&job.delivery, &shared.config.user_agent);
    if let Some(route) = shared.routes.load().route_of_queued(delivery, user_agent) {
        return Ok(route);
    }
    if maintain::catch_up_since(shared, job.looks).await.is_err() {
        return Err(NoRoute::Unknown);
    }
    let routes = shared.routes.load();
    let is_subscribed = routes.subscription(delivery.subscription).is_some();
    let gone = if is_subscribed { ErrorCode::EndpointDeleted } else { ErrorCode::SubscriptionDeleted };
    routes.route_of_queued(delivery, user_agent).ok_or(NoRoute::Gone(gone))
}

fn new_lane(shared: &Shared, route: &Route) -> Box<dyn Lane> {
    let mut lane = shared.transport.lane(&route.target);
    if let Some(gate) = &shared.gate {
        lane.gate(Arc::clone(gate));
    }
    lane
}

/// Makes the exchange. `None` where others may have taken this engine for dead before it was sent, or before it ended: of an endpoint whose
/// exchanges are counted nobody else could begin one beside it. Those of other endpoints run on: that they were sent cannot be taken back, and a database
/// that is away for everybody must not cut off everything.
async fn exchanged(shared: &Shared, route: &Route, lane: &mut dyn Lane, outgoing: Outgoing) -> Option<Exchange> {
    let is_counted = shared.gate.is_some() && route.endpoint.concurrency.is_some();
    let exchange = if is_counted {
        tokio::select! {
            biased;
            exchange = lane.exchange(outgoing) => exchange,
            () = lapsed(shared) => return None,
        }
    } else {
        lane.exchange(outgoing).await
    };
    let is_withheld = exchange.result.as_ref().is_err_and(|fault| fault.kind == FaultKind::Withheld);
    (!is_withheld).then_some(exchange)
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
    let nothing = Outcome {
        finished_at,
        http_status: None,
        error: None,
        phases: exchange.phases,
        request_body: request.body,
        request_truncated: request.truncated,
        response_body: Bytes::new(),
        response_truncated: false,
        response_headers: None,
    };
    let outcome = match exchange.result {
        Ok(response) => Outcome {
            http_status: Some(response.status),
            error: verdict.code().map(|code| AttemptError { code, message: status_line(route.subscription.origin, response.status) }),
            response_body: response.body,
            response_truncated: response.truncated,
            response_headers: Some(response.head),
            ..nothing
        },
        Err(fault) => {
            let code = verdict.code().unwrap_or(ErrorCode::ProtocolError);
            Outcome { error: Some(AttemptError { code, message: clipped(&fault.message) }), ..nothing }
        }
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
        response_headers: None,
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
