//! What the store on PostgreSQL promises beyond the port: nodes that share it, connections that break or are encrypted, commits in doubt,
//! statements that take too long, partitions, rows that stay in their pages, retention, old snapshots.

#[path = "pg/connections.rs"]
mod connections;
#[path = "pg/database.rs"]
mod database;
#[path = "pg/doubt.rs"]
mod doubt;
#[path = "pg/limits.rs"]
mod limits;
#[path = "pg/nodes.rs"]
mod nodes;
#[path = "pg/own.rs"]
mod own;
mod pg;
#[path = "pg/plans.rs"]
mod plans;
#[path = "pg/proxy.rs"]
mod proxy;
#[path = "pg/retention.rs"]
mod retention;
#[path = "pg/retention_leader.rs"]
mod retention_leader;
#[path = "pg/schema.rs"]
mod schema;
#[path = "pg/tls.rs"]
mod tls;
#[path = "pg/versions.rs"]
mod versions;

use database::{Database, SCHEMA, number};
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::{PgOpenError, PgOptions, PgStore};
use std::time::Duration;

/// Longer than anything takes that a test waits for.
const WAIT: Duration = Duration::from_secs(60);

impl Database {
    /// The same as another user, whose password is the name, or by another way.
    fn url_of(&self, user: &str, place: &str) -> String {
        let (own, _) = self.url.trim_start_matches("postgres://").rsplit_once('@').expect("a URL with a user");
        let is_own = own.split(':').next() == Some(user);
        let credentials = if is_own { own.to_owned() } else { format!("{user}:{user}") };
        format!("postgres://{credentials}@{place}/{}?sslmode=disable", self.name)
    }

    /// Host and port.
    fn place(&self) -> String {
        let (_, place) = self.url.rsplit_once('@').expect("a URL with a user");
        place.split('/').next().expect("a first part").to_owned()
    }

    fn options(&self) -> PgOptions {
        PgOptions { schema: SCHEMA.to_owned(), lanes: 2, writers: 3, readers: 2, own_readers: 2, ..PgOptions::new(&self.url) }
    }

    async fn open(&self) -> PgStore {
        PgStore::open(self.options()).await.expect("the store opens")
    }

    async fn refusal(&self, options: PgOptions) -> PgOpenError {
        PgStore::open(options).await.map(drop).expect_err("it cannot be opened")
    }
}

async fn until(what: &str, mut is_so: impl AsyncFnMut() -> bool) {
    let since = tokio::time::Instant::now();
    while !is_so().await {
        assert!(since.elapsed() < WAIT, "{what}: not within {} s", WAIT.as_secs());
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// The one that must have been stored.
fn stored(answer: Result<Vec<Published>, StoreError>) -> EventSeq {
    match answer.as_deref() {
        Ok([Published::Stored(seq)]) => *seq,
        _ => panic!("one event should be stored, but: {answer:?}"),
    }
}

/// What an engine settles for the only delivery of an event, of which this is the first attempt.
fn settlement(event: &NewEvent, attempt: AttemptId, (from, to): (StateKind, State), outcome: Option<Outcome>) -> Settlement {
    let delivery = event.deliveries[0];
    let is_recorded = from == StateKind::Sending;
    let attempt = Attempt {
        id: attempt,
        delivery: delivery.id,
        subscription: delivery.subscription,
        endpoint: delivery.endpoint,
        number: 1,
        target_url: "http://127.0.0.1:9/hook".into(),
        started_at: event.created_at,
        outcome,
    };
    Settlement {
        delivery: delivery.id,
        namespace: event.namespace.clone(),
        subscription: delivery.subscription,
        from,
        progress: Progress { state: to, attempts: 1, spent: 1, expires_at: None },
        attempt: Some(attempt),
        attempt_recorded: is_recorded,
        keep_claim: true,
        dead_letter: None,
        follow_up: None,
    }
}

/// Claims until nothing is left to claim.
async fn claim_all(store: &PgStore, endpoint: EndpointId, due_by: Timestamp) -> Vec<DeliveryId> {
    let mut ids = Vec::new();
    loop {
        let mut batches = store.claim(vec![ClaimRequest { endpoint, due_by, limit: 7, max_bytes: u64::MAX }]).await.expect("claim");
        let claimed = batches.remove(0).deliveries;
        if claimed.is_empty() {
            return ids;
        }
        ids.extend(claimed.iter().map(|claimed| claimed.delivery.id));
    }
}
