//! Fills an embedded store with the history of many deliveries, for measuring how lists do over it.
//!
//! `cargo run --release -p postrider-store --example fill_history -- DIRECTORY ATTEMPTS`
//!
//! The directory must not hold a store yet. Printed is one JSON object: what there is to filter by, and how long lists of deliveries take by what
//! they are narrowed to, in milliseconds: 50 of them with their number, the third quickest of five times. Nine of ten deliveries succeed at once; each
//! tenth fails with one of four errors and leaves a dead letter. They are spread over 100 bindings of 10 destinations of the namespace `default`
//! and over the last two days, so that retention leaves them alone.
#![allow(clippy::print_stdout, clippy::disallowed_methods)] // A program for people, which asks the clock where to begin.

use bytes::Bytes;
use postrider_core::attempt::{Attempt, AttemptError, Outcome, Phases};
use postrider_core::auth::Auth;
use postrider_core::body::{BodyForm, ItemsBody};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::error::{Category, ErrorCode};
use postrider_core::event::Namespace;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::retry::RetryPolicy;
use postrider_core::sign::Scheme;
use postrider_core::subscription::{Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use postrider_store::{SqliteOptions, SqliteStore};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

const DESTINATIONS: usize = 10;
const BINDINGS: usize = 100;
const GROUP: usize = 2_000;
const SPAN: Duration = Duration::from_secs(2 * 86_400);
const ERRORS: [(ErrorCode, Option<u16>); 4] = [
    (ErrorCode::Connector5xx, Some(503)),
    (ErrorCode::Connector4xx, Some(404)),
    (ErrorCode::DeliveryTimeout, None),
    (ErrorCode::ConnectionError, None),
];

struct Filler {
    ids: IdGen,
    endpoints: Vec<Endpoint>,
    subscriptions: Vec<Subscription>,
}

impl Filler {
    fn new(at: Timestamp) -> Result<Self, Box<dyn std::error::Error>> {
        let mut ids = IdGen::new(7);
        let namespace = Namespace::default_namespace();
        let endpoints: Vec<_> = (0..DESTINATIONS).map(|n| endpoint(EndpointId::new(ids.next(at)), n, at)).collect();
        let mut subscriptions = Vec::new();
        for n in 0..BINDINGS {
            subscriptions.push(Subscription {
                id: SubscriptionId::new(ids.next(at)),
                namespace: namespace.clone(),
                name: format!("binding {n}"),
                endpoint: endpoints[n % DESTINATIONS].id,
                origin: Origin::Items,
                active: true,
                patterns: vec![TypePattern::parse(&format!("filled.b{n}"))?],
                labels: LabelFilter::default(),
                matches: None,
                request: RequestForm::default(),
                body: BodyForm::Items(ItemsBody::json()),
                retry: RetryPolicy::items(),
                timeout: None,
                rate_limit: None,
                created_at: at,
                updated_at: at,
                deleted_at: None,
            });
        }
        Ok(Filler { ids, endpoints, subscriptions })
    }

    fn configuration(&self) -> Vec<ConfigChange> {
        let endpoints = self.endpoints.iter().cloned().map(ConfigChange::Endpoint);
        endpoints.chain(self.subscriptions.iter().cloned().map(ConfigChange::Subscription)).collect()
    }

    fn event(&mut self, n: usize, at: Timestamp) -> NewEvent {
        let subscription = &self.subscriptions[n % BINDINGS];
        let delivery = NewDelivery {
            id: DeliveryId::new(self.ids.next(at)),
            subscription: subscription.id,
            endpoint: subscription.endpoint,
            claimed: true,
            keeps_rows: true,
            expires_at: None,
        };
        NewEvent {
            id: EventId::new(self.ids.next(at)),
            namespace: subscription.namespace.clone(),
            event_type: format!("filled.b{}", n % BINDINGS).into(),
            payload: Bytes::from(format!("{{\"n\":{n},\"text\":\"{}\"}}", "x".repeat(200))),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            idempotency_key: None,
            ttl: None,
            schema_check: Default::default(),
            created_at: at,
            deliveries: vec![delivery],
            fan_out_after: None,
            skipped: Vec::new(),
        }
    }

    fn settlement(&mut self, n: usize, event: &NewEvent) -> Settlement {
        let (of, at) = (event.deliveries[0], event.created_at);
        // Each binding has its share of each error.
        let error = (n / BINDINGS).is_multiple_of(10).then(|| ERRORS[n / (BINDINGS * 10) % ERRORS.len()]);
        let finished_at = at.after(Duration::from_millis(20));
        let outcome = Outcome {
            finished_at,
            http_status: error.map_or(Some(200), |(_, status)| status),
            error: error.map(|(code, _)| AttemptError { code, message: code.as_str().to_owned() }),
            phases: Phases { first_byte: Some(19_000), total: 20_000, ..Phases::default() },
            request_body: None,
            request_truncated: false,
            response_body: Bytes::from_static(b"{\"ok\":true}"),
            response_truncated: false,
            response_headers: None,
        };
        let attempt = Attempt {
            id: AttemptId::new(self.ids.next(at)),
            delivery: of.id,
            subscription: of.subscription,
            endpoint: of.endpoint,
            number: 1,
            target_url: "https://receiver.example/hook".into(),
            started_at: at,
            outcome: Some(outcome),
        };
        let letter = |(code, _): (ErrorCode, _)| {
            let id = DeadLetterId::new(self.ids.next(at));
            NewDeadLetter { id, code, message: code.as_str().to_owned(), at: finished_at }
        };
        Settlement {
            delivery: of.id,
            namespace: event.namespace.clone(),
            subscription: of.subscription,
            from: StateKind::Pending,
            progress: Progress {
                state: error.map_or(State::Succeeded, |(code, _)| State::Failed(code)),
                attempts: 1,
                spent: 1,
                expires_at: None,
            },
            attempt: Some(attempt),
            attempt_recorded: false,
            keep_claim: false,
            dead_letter: error.map(letter),
            follow_up: None,
        }
    }
}

fn endpoint(id: EndpointId, n: usize, at: Timestamp) -> Endpoint {
    Endpoint {
        id,
        namespace: Namespace::default_namespace(),
        name: format!("destination {n}"),
        url: String::from("https://receiver.example/hook"),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        secrets: Vec::new(),
        schemes: vec![Scheme::Postrider],
        http: HttpOptions::items(),
        rate_limit: None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: None,
        status: EndpointStatus::Active,
        created_at: at,
        updated_at: at,
        deleted: None,
    }
}

/// Lists of deliveries: every way that leads to a page, and every way of counting.
fn lists(filler: &Filler, begin: Timestamp) -> Vec<(&'static str, DeliveryFilter, u32)> {
    let any = DeliveryFilter::default();
    let binding = DeliveryFilter { subscription: Some(filler.subscriptions[1].id), ..any.clone() };
    let destination = DeliveryFilter { endpoint: Some(filler.endpoints[1].id), ..any.clone() };
    let failed = DeliveryFilter { states: [StateKind::Failed].into(), ..any.clone() };
    let halfway = Some(begin.after(SPAN / 2));
    vec![
        ("all", any.clone(), 0),
        ("namespace", DeliveryFilter { namespace: Some(Namespace::default_namespace()), ..any.clone() }, 0),
        ("binding", binding.clone(), 0),
        ("destination", destination.clone(), 0),
        ("failed", failed.clone(), 0),
        ("binding and failed", DeliveryFilter { states: failed.states.clone(), ..binding.clone() }, 0),
        ("destination and succeeded", DeliveryFilter { states: [StateKind::Succeeded].into(), ..destination }, 0),
        ("pending", DeliveryFilter { states: [StateKind::Pending].into(), ..any.clone() }, 0),
        ("category", DeliveryFilter { category: Some(Category::Timeout), ..any.clone() }, 0),
        ("half of the time", DeliveryFilter { created_before: halfway, ..any.clone() }, 0),
        (
            "half of the time and succeeded",
            DeliveryFilter { created_before: halfway, states: [StateKind::Succeeded].into(), ..any.clone() },
            0,
        ),
        ("from the 10,000th", any, 10_000),
        ("binding, from the 10,000th", binding, 10_000),
    ]
}

async fn milliseconds(store: &SqliteStore, filter: DeliveryFilter, skip: u32) -> Result<f64, StoreError> {
    let mut took = Vec::new();
    for _ in 0..5 {
        let begin = Instant::now();
        store.find_deliveries(filter.clone(), Window { skip, ..Window::first(50) }).await?;
        took.push(begin.elapsed().as_secs_f64() * 1e3);
    }
    took.sort_by(f64::total_cmp);
    Ok(took[2])
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    const USAGE: &str = "usage: fill_history DIRECTORY ATTEMPTS";
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or(USAGE)?;
    let attempts: usize = arguments.next().ok_or(USAGE)?.parse()?;
    let now = Timestamp::from_micros(i64::try_from(SystemTime::now().duration_since(UNIX_EPOCH)?.as_micros())?);
    let begin = now.before(SPAN);
    let pause = SPAN / u32::try_from(attempts.max(1))?;
    let store = SqliteStore::open(SqliteOptions::new(&directory))?;
    let mut filler = Filler::new(begin)?;
    let version = store.configuration_version().await?;
    assert!(matches!(store.configure(version, filler.configuration()).await?, Configured::Stored { .. }), "nobody else writes here");
    for from in (0..attempts).step_by(GROUP) {
        let numbers = from..attempts.min(from + GROUP);
        let events: Vec<_> = numbers.clone().map(|n| filler.event(n, begin.after(pause * u32::try_from(n).unwrap_or(u32::MAX)))).collect();
        let settlements: Vec<_> = numbers.zip(&events).map(|(n, event)| filler.settlement(n, event)).collect();
        store.publish(events).await?;
        let settled = store.settle(settlements.into()).await?;
        assert!(settled.iter().all(|settled| *settled == Settled::Stored), "a settlement was refused");
    }
    let mut costs = Vec::new();
    for (name, filter, skip) in lists(&filler, begin) {
        costs.push(format!("\"{name}\":{:.2}", milliseconds(&store, filter, skip).await?));
    }
    store.close();
    let (binding, destination, costs) = (filler.subscriptions[1].id, filler.endpoints[1].id, costs.join(","));
    println!("{{\"attempts\":{attempts},\"binding\":\"{binding}\",\"destination\":\"{destination}\",\"deliveries_ms\":{{{costs}}}}}");
    Ok(())
}
