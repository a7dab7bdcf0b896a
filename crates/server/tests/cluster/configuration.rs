//! What is made on one node and used by others, and what one does and others show.

use crate::PATIENCE;
use crate::audit::missing;
use crate::common::items::destination;
use crate::nodes::{Cluster, LOOK};
use crate::receiver::Receiver;
use crate::world::raw;
use serde_json::{Value, json};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// How soon others use what one was told.
const SOON: Duration = Duration::from_secs(1);

/// The same where nobody tells them: they look by themselves.
const BY_LOOKING: Duration = Duration::from_secs(2);

/// Connections on which nodes listen, by what they did last.
const LISTENING: &str = "(query ILIKE 'listen %' OR query ILIKE '%pg_notify%')";

/// For how long what is published then is looked at.
const AFTER: Duration = Duration::from_millis(500);

/// Between two events.
const PAUSE: Duration = Duration::from_millis(20);

/// Makes a destination and a binding on one node and publishes to it on the others. Answers which events were published so long after that they
/// must arrive.
fn publish_around(cluster: &Cluster, receiver: &Receiver, name: &str, within: Duration, next: &AtomicU64) -> Vec<u64> {
    let (api, event_type) = (cluster.api(0), format!("configured.{name}"));
    let publish = |n: usize| {
        let event = next.fetch_add(1, Ordering::Relaxed);
        cluster.api(n).publish(&event_type, &json!({"event": event}));
        event
    };
    // So that they know of no binding of this type.
    (1..cluster.count()).for_each(|n| _ = publish(n));
    let to = api.make("destinations", &destination(&receiver.url(&format!("/{name}"))));
    api.make("bindings", &raw(&to, &event_type, &Value::Null));
    let made = Instant::now();
    let mut due = Vec::new();
    while made.elapsed() < within + AFTER {
        for n in 1..cluster.count() {
            let is_due = made.elapsed() >= within;
            let event = publish(n);
            if is_due {
                due.push(event);
            }
        }
        std::thread::park_timeout(PAUSE);
    }
    due
}

fn all_arrive(receiver: &Receiver, due: &[u64]) {
    assert!(!due.is_empty());
    let begun = Instant::now();
    loop {
        let missing = missing(&receiver.log(), due.iter().copied());
        if missing.is_empty() {
            return;
        }
        assert!(begun.elapsed() < PATIENCE, "published long after the binding was made, and not delivered: {missing:?} of {due:?}");
        std::thread::park_timeout(LOOK);
    }
}

pub fn reaches_all_nodes() {
    let (cluster, receiver, next) = (Cluster::start(3), Receiver::start(), AtomicU64::new(0));
    all_arrive(&receiver, &publish_around(&cluster, &receiver, "told", SOON, &next));

    // Nobody listens for longer than a moment.
    let (is_over, ended) = (AtomicBool::new(false), AtomicI64::new(0));
    let database = &cluster.database;
    let due = std::thread::scope(|scope| {
        scope.spawn(|| {
            let client = database.try_connect().expect("PostgreSQL answers");
            let begun = Instant::now();
            while !is_over.load(Ordering::Relaxed) && begun.elapsed() < PATIENCE {
                ended.fetch_add(database.terminate(&client, LISTENING), Ordering::Relaxed);
                std::thread::park_timeout(PAUSE);
            }
        });
        let due = publish_around(&cluster, &receiver, "untold", BY_LOOKING, &next);
        is_over.store(true, Ordering::Relaxed);
        due
    });
    let ended = ended.into_inner();
    assert!(ended >= 3, "each node listens: {ended} connections were ended");
    all_arrive(&receiver, &due);
    assert_eq!(cluster.alive_seen_by(0), 3);
}

pub fn is_live_on_every_node() {
    let (cluster, receiver) = (Cluster::start(3), Receiver::start());
    for n in 0..cluster.count() {
        assert_eq!(cluster.alive_seen_by(n), 3, "node {n}");
    }
    let to = cluster.api(0).make("destinations", &destination(&receiver.url("/hang")));
    cluster.api(0).make("bindings", &raw(&to, "live.hang", &Value::Null));
    cluster.api(0).publish("live.hang", &json!({"event": 1}));
    assert!(receiver.wait_for("/hang", 1, PATIENCE), "it is sent");
    let list = |status: &str| format!("/v1/delivery/items?status={status}&destination_id={to}");
    for n in 0..cluster.count() {
        let shown = cluster.api(n).when(&list("in_flight"), |list| list["total"] == 1);
        assert_eq!(shown["items"][0]["status"], "in_flight", "node {n}: {shown}");
    }
    receiver.release();
    for n in 0..cluster.count() {
        cluster.api(n).when(&list("in_flight"), |list| list["total"] == 0);
        cluster.api(n).when(&list("succeeded"), |list| list["total"] == 1);
    }
    assert_eq!(receiver.log().len(), 1, "it is sent once");
}
