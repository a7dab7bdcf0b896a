//! How many whole deliveries (event, delivery, attempt, change of state, counters, health) the embedded store writes per second, by size of group.
//!
//! `cargo run --release -p postrider-store --example write_rate -- DIRECTORY [SECONDS] [SUBSCRIPTIONS] [HEAD_BYTES]`
//!
//! The directory should be on the disk that matters; a directory of its own is made in it and removed again. HEAD_BYTES is how long the headers of
//! each response are (none unless it is given; servers behind a proxy answer with 400 to 900).
#![allow(clippy::print_stdout)] // The table is what this program is for.

use bytes::Bytes;
use postrider_core::attempt::{Attempt, HeadBlock, Outcome, Phases};
use postrider_core::auth::Auth;
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::{SqliteOptions, SqliteStore};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::time::Instant;

const PAYLOAD_BYTES: usize = 300;

struct Load {
    ids: IdGen,
    now: Timestamp,
    routes: Vec<(SubscriptionId, EndpointId)>,
    turn: usize,
    /// The headers of each response, as they are kept.
    head: Option<HeadBlock>,
}

impl Load {
    fn new(subscriptions: usize, head: usize) -> Self {
        let mut ids = IdGen::new(1);
        let now = Timestamp::from_secs(1_750_000_000);
        let routes = (0..subscriptions).map(|_| (SubscriptionId::new(ids.next(now)), EndpointId::new(ids.next(now)))).collect();
        let head = (head > 0).then(|| HeadBlock::from_lines(format!("x: {}\n", "h".repeat(head.saturating_sub(4)))));
        Load { ids, now, routes, turn: 0, head }
    }

    /// Their endpoints, so that their health is kept.
    fn configuration(&self) -> Vec<ConfigChange> {
        self.routes.iter().map(|(_, endpoint)| ConfigChange::Endpoint(blank(*endpoint, self.now))).collect()
    }

    fn group(&mut self, size: usize) -> Vec<NewEvent> {
        (0..size).map(|_| self.event()).collect()
    }

    fn event(&mut self) -> NewEvent {
        self.now = self.now.after(Duration::from_micros(20));
        self.turn = (self.turn + 1) % self.routes.len();
        let (subscription, endpoint) = self.routes[self.turn];
        let id = DeliveryId::new(self.ids.next(self.now));
        let delivery = NewDelivery { id, subscription, endpoint, claimed: true, keeps_rows: true, expires_at: None };
        NewEvent {
            id: EventId::new(self.ids.next(self.now)),
            namespace: Namespace::default_namespace(),
            event_type: "order.created".into(),
            payload: Bytes::from(vec![b'x'; PAYLOAD_BYTES]),
            labels: BTreeMap::new(),
            metadata: BTreeMap::new(),
            idempotency_key: None,
            ttl: None,
            schema_check: Default::default(),
            created_at: self.now,
            deliveries: vec![delivery],
            fan_out_after: None,
            skipped: Vec::new(),
        }
    }

    fn settlement(&mut self, of: &NewDelivery) -> Settlement {
        let outcome = Outcome {
            finished_at: self.now.after(Duration::from_millis(1)),
            http_status: Some(200),
            error: None,
            phases: Phases { first_byte: Some(900), total: 1_000, ..Phases::default() },
            request_body: None,
            request_truncated: false,
            response_body: Bytes::from_static(b"ok"),
            response_truncated: false,
            response_headers: self.head.clone(),
        };
        let attempt = Attempt {
            id: AttemptId::new(self.ids.next(self.now)),
            delivery: of.id,
            subscription: of.subscription,
            endpoint: of.endpoint,
            number: 1,
            target_url: "https://receiver.example/webhooks/orders".into(),
            started_at: self.now,
            outcome: Some(outcome),
        };
        Settlement {
            delivery: of.id,
            namespace: Namespace::default_namespace(),
            subscription: of.subscription,
            from: StateKind::Pending,
            progress: Progress { state: State::Succeeded, attempts: 1, spent: 1, expires_at: None },
            attempt: Some(attempt),
            attempt_recorded: false,
            keep_claim: false,
            dead_letter: None,
            follow_up: None,
        }
    }
}

fn blank(id: EndpointId, at: Timestamp) -> Endpoint {
    Endpoint {
        id,
        namespace: Namespace::default_namespace(),
        name: String::new(),
        url: String::from("https://receiver.example/webhooks/orders"),
        headers: Vec::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        secrets: Vec::new(),
        schemes: Vec::new(),
        http: HttpOptions::tasks(),
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

/// CPU time of this process so far, all threads together; 0 where there is no procfs.
fn cpu() -> Duration {
    const TICKS_PER_SECOND: u64 = 100;
    let stat = std::fs::read_to_string("/proc/self/stat").unwrap_or_default();
    let fields: Vec<u64> =
        stat.rsplit(')').next().unwrap_or_default().split_whitespace().skip(11).take(2).filter_map(|f| f.parse().ok()).collect();
    Duration::from_millis(fields.iter().sum::<u64>() * 1_000 / TICKS_PER_SECOND)
}

async fn measure(store: &SqliteStore, load: &mut Load, group: usize, span: Duration) -> Result<(), StoreError> {
    let (begin, cpu_begin, commits_begin) = (Instant::now(), cpu(), store.commits());
    let mut settled = 0;
    let mut sent: Vec<NewDelivery> = Vec::new();
    while begin.elapsed() < span {
        let events = load.group(group);
        let next = events.iter().flat_map(|event| event.deliveries.iter().copied()).collect();
        let settlements: Vec<Settlement> = sent.iter().map(|delivery| load.settlement(delivery)).collect();
        settled += settlements.len();
        // The settlements of the last group ride with the next one's events, as under load.
        let (results, published) = tokio::join!(store.settle(settlements.into()), store.publish(events));
        assert!(results?.iter().all(|result| *result == Settled::Stored));
        assert_eq!(published?.len(), group);
        sent = next;
    }
    let (wall, used) = (begin.elapsed().as_secs_f64(), (cpu() - cpu_begin).as_secs_f64());
    let commits = store.commits() - commits_begin;
    let per_delivery = used * 1e6 / settled as f64;
    println!("{group:>6} {:>14.0} {per_delivery:>16.1} {commits:>10} {:>14.3}", settled as f64 / wall, wall * 1e3 / commits as f64);
    Ok(())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let directory = arguments.next().ok_or("usage: write_rate DIRECTORY [SECONDS] [SUBSCRIPTIONS] [HEAD_BYTES]")?;
    let seconds: u64 = arguments.next().map_or(Ok(5), |text| text.parse())?;
    let subscriptions: usize = arguments.next().map_or(Ok(100), |text| text.parse())?;
    let head: usize = arguments.next().map_or(Ok(0), |text| text.parse())?;
    let directory = tempfile::tempdir_in(directory)?;
    let mut load = Load::new(subscriptions.max(1), head);
    println!("{subscriptions} subscriptions, payloads of {PAYLOAD_BYTES} bytes, heads of responses of {head} bytes");
    println!("{:>6} {:>14} {:>16} {:>10} {:>14}", "group", "deliveries/s", "CPU us/delivery", "commits", "ms/commit");
    for group in [16, 64, 256, 1_024] {
        let store = SqliteStore::open(SqliteOptions::new(directory.path().join(group.to_string())))?;
        store.configure(0, load.configuration()).await?;
        measure(&store, &mut load, group, Duration::from_secs(seconds)).await?;
        store.close();
    }
    Ok(())
}
