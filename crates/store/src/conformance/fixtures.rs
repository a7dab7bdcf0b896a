//! Builders of everything that a store holds. What they make is whole and plain; a test changes the fields that it is about.

use bytes::Bytes;
use postrider_core::attempt::{Attempt, AttemptError, HeadBlock, Outcome, Phases};
use postrider_core::auth::Auth;
use postrider_core::delivery::Delivery;
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::filter::LabelFilter;
use postrider_core::id::*;
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::{NewDelivery, NewEvent};
use postrider_core::recurrence::Recurrence;
use postrider_core::retry::RetryPolicy;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::sign::Scheme;
use postrider_core::subscription::{BodyForm, Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use uuid::Uuid;

/// When the fixtures' time begins: 2025-05-12T12:00:00Z.
pub const START: Timestamp = Timestamp::from_secs(1_747_051_200);

/// A subscription and where its deliveries go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Route {
    /// The subscription.
    pub subscription: SubscriptionId,
    /// Its endpoint.
    pub endpoint: EndpointId,
}

/// Builds fixtures, with a clock and ids of its own: the same seed builds the same.
#[derive(Debug)]
pub struct Fixtures {
    ids: IdGen,
    now: Timestamp,
}

impl Fixtures {
    /// Fixtures whose ids follow from the seed and whose time begins at [`START`].
    pub fn new(seed: u64) -> Self {
        Fixtures { ids: IdGen::new(seed), now: START }
    }

    /// The fixtures' time: what is built now was made now.
    pub fn now(&self) -> Timestamp {
        self.now
    }

    /// Moves the time on and answers it.
    pub fn advance(&mut self, by: Duration) -> Timestamp {
        self.now = self.now.after(by);
        self.now
    }

    /// Moves the time on by seconds and answers it.
    pub fn advance_secs(&mut self, secs: u64) -> Timestamp {
        self.advance(Duration::from_secs(secs))
    }

    /// A UUIDv7 of this instant, greater than every one before it.
    pub fn uuid(&mut self) -> Uuid {
        self.ids.next(self.now)
    }

    /// An active endpoint in the namespace `default`, without secrets.
    pub fn endpoint(&mut self) -> Endpoint {
        Endpoint {
            id: EndpointId::new(self.uuid()),
            namespace: Namespace::default_namespace(),
            url: "http://127.0.0.1:9/hook".to_owned(),
            headers: Vec::new(),
            secrets: Vec::new(),
            schemes: vec![Scheme::Hub, Scheme::Standard],
            http: HttpOptions::tasks(),
            rate_limit: None,
            name: String::new(),
            secret_headers: Vec::new(),
            auth: Auth::None,
            old_secrets_until: None,
            payload_cap: None,
            concurrency: None,
            status: EndpointStatus::Active,
            created_at: self.now,
            updated_at: self.now,
            deleted: None,
        }
    }

    /// A subscription of the endpoint to every event, made through the Tasks API.
    pub fn subscription(&mut self, endpoint: &Endpoint) -> Subscription {
        Subscription {
            id: SubscriptionId::new(self.uuid()),
            namespace: endpoint.namespace.clone(),
            endpoint: endpoint.id,
            origin: Origin::Tasks,
            patterns: Vec::new(),
            labels: LabelFilter::default(),
            body: BodyForm::Raw,
            name: String::new(),
            active: true,
            matches: None,
            request: RequestForm::default(),
            timeout: None,
            rate_limit: None,
            retry: RetryPolicy::tasks(),
            created_at: self.now,
            updated_at: self.now,
            deleted_at: None,
        }
    }

    /// A key of the namespace `default` that may read and write.
    pub fn key(&mut self) -> ApiKey {
        let id = self.uuid();
        ApiKey {
            id: KeyId::new(id),
            name: "a key".to_owned(),
            prefix: "pr_12345".to_owned(),
            hash: format!("{:064x}", id.as_u128()),
            namespace: Some(Namespace::default_namespace()),
            scopes: Scopes { read: true, write: true, admin: false },
            created_at: self.now,
            expires_at: None,
            revoked_at: None,
        }
    }

    /// A route of its own.
    pub fn route(&mut self) -> Route {
        Route { subscription: SubscriptionId::new(self.uuid()), endpoint: EndpointId::new(self.uuid()) }
    }

    /// An event with that many unclaimed deliveries, each on a route of its own.
    pub fn event(&mut self, deliveries: usize) -> NewEvent {
        let routes: Vec<Route> = (0..deliveries).map(|_| self.route()).collect();
        self.event_for(&routes)
    }

    /// An event with an unclaimed delivery for each route.
    pub fn event_for(&mut self, routes: &[Route]) -> NewEvent {
        let id = EventId::new(self.uuid());
        NewEvent {
            id,
            namespace: Namespace::default_namespace(),
            event_type: "order.created".into(),
            payload: Bytes::from(format!("{{\"order\":\"{id}\"}}")),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            idempotency_key: None,
            ttl: None,
            schema_check: Default::default(),
            created_at: self.now,
            deliveries: routes.iter().map(|route| self.delivery(*route)).collect(),
            fan_out_after: None,
            skipped: Vec::new(),
        }
    }

    /// An event with a claimed delivery for each route.
    pub fn claimed_event_for(&mut self, routes: &[Route]) -> NewEvent {
        let mut event = self.event_for(routes);
        event.deliveries.iter_mut().for_each(|delivery| delivery.claimed = true);
        event
    }

    /// An unclaimed delivery that never expires and goes with its age, as those of the Tasks API.
    pub fn delivery(&mut self, route: Route) -> NewDelivery {
        NewDelivery {
            id: DeliveryId::new(self.uuid()),
            subscription: route.subscription,
            endpoint: route.endpoint,
            claimed: false,
            keeps_rows: false,
            expires_at: None,
        }
    }

    /// The next attempt of a delivery, begun now and under way.
    pub fn attempt(&mut self, delivery: &Delivery) -> Attempt {
        Attempt {
            id: AttemptId::new(self.uuid()),
            delivery: delivery.id,
            subscription: delivery.subscription,
            endpoint: delivery.endpoint,
            number: delivery.progress.attempts + 1,
            target_url: "http://127.0.0.1:9/hook".into(),
            started_at: self.now,
            outcome: None,
        }
    }

    /// An outcome of now: 200, `ok`.
    pub fn success(&self) -> Outcome {
        Outcome {
            finished_at: self.now,
            http_status: Some(200),
            error: None,
            phases: Phases { dns: None, tcp: Some(80), tls: None, first_byte: Some(400), total: 500 },
            request_body: None,
            request_truncated: false,
            response_body: Bytes::from_static(b"ok"),
            response_truncated: false,
            response_headers: Some(HeadBlock::from_lines("server: fixture\ncontent-length: 2\n")),
        }
    }

    /// An outcome of now: the connection was refused.
    pub fn failure(&self) -> Outcome {
        Outcome {
            finished_at: self.now,
            http_status: None,
            error: Some(AttemptError { code: ErrorCode::ConnectionRefused, message: "nothing listens on 127.0.0.1:9".to_owned() }),
            phases: Phases { total: 120, ..Phases::default() },
            request_body: None,
            request_truncated: false,
            response_body: Bytes::new(),
            response_truncated: false,
            response_headers: None,
        }
    }

    /// A pending occurrence that comes once.
    pub fn scheduled(&mut self, subscription: SubscriptionId, due_at: Timestamp) -> Scheduled {
        Scheduled {
            id: ScheduledId::new(self.uuid()),
            namespace: Namespace::default_namespace(),
            subscription,
            payload: Bytes::from_static(b"{\"scheduled\":true}"),
            due_at,
            recurrence: Recurrence::None,
            anchor: due_at,
            status: ScheduledStatus::Pending,
            created_at: self.now,
            updated_at: self.now,
        }
    }
}
