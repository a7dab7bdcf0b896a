//! What the store on PostgreSQL promises beyond the port: nodes that share it, connections that break, commits in doubt, partitions, rows that stay
//! in their pages, retention, old snapshots.

#[path = "pg/connections.rs"]
mod connections;
#[path = "pg/doubt.rs"]
mod doubt;
#[path = "pg/nodes.rs"]
mod nodes;
#[path = "pg/own.rs"]
mod own;
mod pg;
#[path = "pg/proxy.rs"]
mod proxy;
#[path = "pg/retention.rs"]
mod retention;
#[path = "pg/schema.rs"]
mod schema;
#[path = "pg/versions.rs"]
mod versions;

use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use postrider_store::{PgOpenError, PgOptions, PgStore};
use std::time::Duration;
use tokio_postgres::Client;

const SCHEMA: &str = "postrider";

/// Longer than anything takes that a test waits for.
const WAIT: Duration = Duration::from_secs(60);

/// A database of its own, for as long as this is there: its connections are the store's, and no other test's transaction keeps old rows in it.
struct Database {
    url: String,
    name: String,
}

impl Database {
    async fn new() -> Self {
        let (server, name) = (pg::server(), pg::unique("d"));
        let made = format!("CREATE DATABASE {name} TEMPLATE template0");
        pg::connect(&server).await.batch_execute(&made).await.expect("a database");
        let (place, _) = server.rsplit_once('/').expect("a URL with a database");
        Database { url: format!("{place}/{name}"), name }
    }

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

    /// A connection past the store, into its schema.
    async fn client(&self) -> Client {
        let client = pg::connect(&self.url).await;
        client.batch_execute(&format!("SET search_path TO {SCHEMA}")).await.expect("a setting");
        client
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let server = pg::server();
        pg::clean_up(&server, vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)]);
    }
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
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
