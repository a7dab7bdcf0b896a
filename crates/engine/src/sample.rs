//! Requests that belong to no delivery: the probe of an endpoint, and a look at what a subscription would send.

use crate::job::{Job, NOT_NOTED};
use crate::request::{self, Unsendable, request};
use crate::route::{Route, Secrets, Signs};
use crate::send::{clipped, status_line};
use crate::shared::Shared;
use bytes::Bytes;
use http::HeaderMap;
use parking_lot::Mutex;
use postrider_core::attempt::{AttemptError, Phases, judge};
use postrider_core::body::{BodyForm, ItemsBody, Unrenderable};
use postrider_core::delivery::{Delivery, Progress, StateKind};
use postrider_core::endpoint::Endpoint;
use postrider_core::error::ErrorCode;
use postrider_core::event::{Event, Namespace};
use postrider_core::filter::LabelFilter;
use postrider_core::id::{AttemptId, DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::Response;
use postrider_core::retry::RetryPolicy;
use postrider_core::sign::SigningKeys;
use postrider_core::signal::TEST;
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How long a probe may take (contract of the Items API, section 9.1).
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// Probes at a time: each may hold a connection and its caller's for [`PROBE_TIMEOUT`].
const MAX_PROBES: usize = 64;

/// Probes of one namespace at a time, so that nobody takes the others' places.
const MAX_PROBES_OF_NAMESPACE: usize = 8;

/// Who has how many probes under way; whoever has none is not in it.
#[derive(Default)]
pub(crate) struct Probes(Mutex<BTreeMap<Namespace, usize>>);

/// A place among the probes, free again when it is dropped.
struct Place<'p> {
    probes: &'p Probes,
    namespace: Namespace,
}

impl Probes {
    fn place(&self, namespace: &Namespace) -> Option<Place<'_>> {
        let mut under_way = self.0.lock();
        let own = under_way.get(namespace).copied().unwrap_or_default();
        if under_way.values().sum::<usize>() >= MAX_PROBES || own >= MAX_PROBES_OF_NAMESPACE {
            return None;
        }
        under_way.insert(namespace.clone(), own + 1);
        Some(Place { probes: self, namespace: namespace.clone() })
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let mut under_way = self.probes.0.lock();
        match under_way.get_mut(&self.namespace) {
            Some(own) if *own > 1 => *own -= 1,
            _ => _ = under_way.remove(&self.namespace),
        }
    }
}

/// What an endpoint made of a probe.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Probed {
    /// The answer's status, if there was an answer.
    pub http_status: Option<u16>,
    /// How long it took.
    pub took: Duration,
    /// Why a delivery would have failed like this; `None` is success.
    pub error: Option<AttemptError>,
    /// What the request calls itself. Nothing is kept under it.
    pub attempt: AttemptId,
    /// Where it went.
    pub url: Arc<str>,
    /// When it began.
    pub started_at: Timestamp,
    /// How long the parts took.
    pub phases: Phases,
    /// The headers and the body of the request, values of secret headers marked as sensitive; `None` where it could not be made.
    pub request: Option<(HeaderMap, Bytes)>,
    /// The answer, if there was one.
    pub response: Option<Response>,
}

/// Why there was no probe.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotProbed {
    /// The endpoint is gone.
    #[error("there is no such endpoint")]
    Gone,
    /// As many as may be are under way, of all namespaces or of this one.
    #[error("too many tests are under way")]
    Busy,
}

/// Sends a signed request of the type [`TEST`] to an endpoint, whatever its status. Nothing is recorded, and nothing follows from it.
pub(crate) async fn probe(shared: &Shared, id: EndpointId) -> Result<Probed, NotProbed> {
    let routes = shared.routes.load_full();
    let (endpoint, secrets) = routes.known(id).ok_or(NotProbed::Gone)?;
    let _place = shared.probes.place(&endpoint.namespace).ok_or(NotProbed::Busy)?;
    let now = shared.now();
    let subscription = Subscription {
        id: SubscriptionId::new(shared.new_id()),
        namespace: endpoint.namespace.clone(),
        name: String::new(),
        endpoint: id,
        origin: Origin::Items,
        active: true,
        patterns: Vec::new(),
        labels: LabelFilter::default(),
        matches: None,
        body: BodyForm::Items(ItemsBody::json()),
        retry: RetryPolicy::items(),
        request: RequestForm::default(),
        timeout: Some(PROBE_TIMEOUT),
        rate_limit: None,
        created_at: now,
        updated_at: now,
        deleted_at: None,
    };
    let event = Event {
        seq: EventSeq(0),
        id: EventId::new(shared.new_id()),
        namespace: endpoint.namespace.clone(),
        event_type: TEST.into(),
        payload: Bytes::from(format!("{{\"destination_id\":\"{id}\"}}")),
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
        schema_check: Default::default(),
        created_at: now,
    };
    let route = Route::new(Arc::new(subscription), Arc::clone(endpoint), Arc::clone(secrets), &shared.config.user_agent);
    let job = job(shared, &route, Arc::new(event));
    let unsent = Probed {
        http_status: None,
        took: Duration::ZERO,
        error: None,
        attempt: shared.attempt_id(now),
        url: Arc::clone(&route.url),
        started_at: now,
        phases: Phases::default(),
        request: None,
        response: None,
    };
    let outgoing = match request(&shared.renders, &route, &job, unsent.attempt, now).await {
        Ok(outgoing) => outgoing,
        Err(why) => return Ok(Probed { error: Some(why.error()), ..unsent }),
    };
    let sent = (outgoing.headers.clone(), outgoing.body.clone());
    let exchange = shared.transport.lane(&route.target).exchange(outgoing).await;
    let code = judge(Origin::Items, &[], &exchange).code();
    let error = |message| code.map(|code| AttemptError { code, message });
    let (http_status, error) = match &exchange.result {
        Ok(response) => (Some(response.status), error(status_line(Origin::Items, response.status))),
        Err(fault) => (None, error(clipped(&fault.message))),
    };
    let (took, phases) = (Duration::from_micros(u64::from(exchange.phases.total)), exchange.phases);
    Ok(Probed { http_status, took, error, phases, request: Some(sent), response: exchange.result.ok(), ..unsent })
}

/// What a subscription would send for an event now.
#[derive(Clone, Debug)]
pub struct Preview {
    /// The headers. Secrets are masked, and signatures are named but not made: a look must not sign anything.
    pub headers: HeaderMap,
    /// The payload as the field map leaves it.
    pub projected: Bytes,
    /// That in the subscription's format, without an envelope.
    pub serialized: Bytes,
    /// The whole body.
    pub body: Bytes,
}

/// Makes everything but the signatures of a first attempt.
pub(crate) async fn preview(shared: &Shared, id: SubscriptionId, event: Arc<Event>) -> Option<Result<Preview, Unrenderable>> {
    let routes = shared.routes.load_full();
    let real = routes.route(id)?;
    let secrets = Arc::new(Secrets::masked(&real.endpoint, real.secrets.signs));
    let route = Route::new(Arc::clone(&real.subscription), Arc::clone(&real.endpoint), secrets, &shared.config.user_agent);
    Some(made(shared, &route, event).await)
}

async fn made(shared: &Shared, route: &Route, event: Arc<Event>) -> Result<Preview, Unrenderable> {
    let payload = event.payload.clone();
    let now = shared.now();
    let job = job(shared, route, event);
    let outgoing = request(&shared.renders, route, &job, shared.attempt_id(now), now).await.map_err(|why| match why {
        Unsendable::Body(why) => why,
        // There are masks in their place, which always open.
        Unsendable::Secret => Unrenderable::NotJson,
    })?;
    let mut headers = outgoing.headers;
    request::name_signatures(&mut headers, &route.endpoint);
    let (projected, serialized) = match &route.subscription.body {
        BodyForm::Raw | BodyForm::Rpc | BodyForm::Template(_) => (payload.clone(), payload),
        BodyForm::Items(body) => body.pieces(&payload, route.cap)?,
    };
    Ok(Preview { headers, projected, serialized, body: outgoing.body })
}

fn job(shared: &Shared, route: &Route, event: Arc<Event>) -> Job {
    let now = shared.now();
    let delivery = Delivery {
        id: DeliveryId::new(shared.new_id()),
        event: event.seq,
        namespace: event.namespace.clone(),
        subscription: route.subscription.id,
        endpoint: route.endpoint.id,
        progress: Progress::new(now, None),
        created_at: now,
        last_attempt_at: None,
    };
    Job { delivery, event, stored: StateKind::Pending, looks: NOT_NOTED }
}

impl Unsendable {
    /// As an attempt says it.
    pub(crate) fn error(&self) -> AttemptError {
        match self {
            Unsendable::Secret => AttemptError {
                code: ErrorCode::SecretUnreadable,
                message: String::from("a secret of the endpoint cannot be opened with the server's keys"),
            },
            Unsendable::Body(why) => AttemptError { code: why.code(), message: why.to_string() },
        }
    }
}

impl Secrets {
    /// In the place of an endpoint's secrets, where they must not be seen or used.
    fn masked(endpoint: &Endpoint, signs: Signs) -> Self {
        let own = endpoint.secret_headers.iter().map(|(name, _)| name.as_str());
        let names = own.chain(endpoint.auth.header_name());
        let masked = names.filter_map(|name| Some((name.parse().ok()?, request::MASK)));
        Secrets { keys: Ok(SigningKeys::default()), signs, headers: Ok(masked.collect()) }
    }
}
