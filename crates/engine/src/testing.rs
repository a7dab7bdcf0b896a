//! Nouns for tests.

use crate::job::{Job, NOT_NOTED};
use crate::route::{Route, Secrets};
use bytes::Bytes;
use postrider_core::auth::Auth;
use postrider_core::delivery::{Delivery, Progress, StateKind};
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::{Event, Namespace};
use postrider_core::filter::LabelFilter;
use postrider_core::id::{DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::retry::RetryPolicy;
use postrider_core::seal::KeyRing;
use postrider_core::subscription::{BodyForm, Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use uuid::Uuid;

/// When everything was made.
pub(crate) const BEGINNING: Timestamp = Timestamp::from_secs(1_700_000_000);

pub(crate) fn key_ring() -> KeyRing {
    KeyRing::parse(&"5e".repeat(32)).expect("a right key")
}

pub(crate) fn endpoint_id(n: u128) -> EndpointId {
    EndpointId::new(Uuid::from_u128(n))
}

pub(crate) fn endpoint(n: u128) -> Endpoint {
    Endpoint {
        id: endpoint_id(n),
        namespace: Namespace::default_namespace(),
        url: format!("https://r{n}.test/hook"),
        headers: Vec::new(),
        secrets: Vec::new(),
        schemes: Vec::new(),
        http: HttpOptions::tasks(),
        rate_limit: None,
        name: String::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: None,
        status: EndpointStatus::Active,
        created_at: BEGINNING,
        updated_at: BEGINNING,
        deleted: None,
    }
}

pub(crate) fn subscription(n: u128, endpoint: EndpointId) -> Subscription {
    Subscription {
        id: SubscriptionId::new(Uuid::from_u128(n)),
        namespace: Namespace::default_namespace(),
        endpoint,
        origin: Origin::Tasks,
        patterns: Vec::new(),
        labels: LabelFilter(BTreeMap::new()),
        body: BodyForm::Raw,
        name: String::new(),
        active: true,
        matches: None,
        request: RequestForm::default(),
        timeout: None,
        rate_limit: None,
        retry: RetryPolicy::tasks(),
        created_at: BEGINNING,
        updated_at: BEGINNING,
        deleted_at: None,
    }
}

/// A route to an endpoint that `change` has had its way with.
pub(crate) fn route(change: impl FnOnce(Endpoint) -> Endpoint) -> Route {
    let endpoint = change(endpoint(1));
    let keys = Arc::new(Secrets::open(&endpoint, &key_ring()));
    Route::new(Arc::new(subscription(1, endpoint.id)), Arc::new(endpoint), keys, "tests")
}

/// A delivery of a route's subscription.
pub(crate) fn job(route: &Route) -> Job {
    job_for(route.subscription.id, route.endpoint.id, 1)
}

pub(crate) fn job_for(subscription: SubscriptionId, endpoint: EndpointId, n: u128) -> Job {
    let namespace = Namespace::default_namespace();
    let event = Event {
        seq: EventSeq(1),
        id: EventId::new(Uuid::from_u128(n)),
        namespace: namespace.clone(),
        event_type: "".into(),
        payload: Bytes::from_static(b"{}"),
        labels: BTreeMap::new(),
        metadata: BTreeMap::new(),
        idempotency_key: None,
        ttl: None,
        schema_check: Default::default(),
        created_at: BEGINNING,
    };
    let delivery = Delivery {
        id: DeliveryId::new(Uuid::from_u128(n)),
        event: event.seq,
        namespace,
        subscription,
        endpoint,
        progress: Progress::new(BEGINNING, None),
        created_at: BEGINNING,
        last_attempt_at: None,
    };
    Job { delivery, event: Arc::new(event), stored: StateKind::Pending, looks: NOT_NOTED }
}
