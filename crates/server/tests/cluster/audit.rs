//! What must be true after any number of faults.

use crate::load::Promise;
use crate::nodes::{Cluster, LOOK};
use crate::receiver::{Arrival, Receiver};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use tokio::time::Instant;

/// How long after a node's last heartbeat others may end it: until then it may go on sending.
pub const LEASE: Duration = Duration::from_secs(4);

/// A delivery is in flight from its sending until its outcome is stored. While the database answers that takes no longer than this, also where a
/// single thread of a busy machine sleeps while others go on.
const IN_FLIGHT: Duration = Duration::from_secs(2);

/// Something that was done to the nodes or to what they need.
#[derive(Clone, Debug)]
pub struct Fault {
    pub what: String,
    pub began: Instant,
    /// When the last one that could not store outcomes any more, because of this, had stopped sending.
    pub until: Instant,
    /// How many requests may have been half sent all that time: a thread that stands still between its last look and the write goes on with the
    /// write when it wakes.
    pub frozen: usize,
}

/// The events of these that have not arrived.
pub fn missing(log: &[Arrival], events: impl Iterator<Item = u64>) -> Vec<u64> {
    let arrived: BTreeSet<u64> = log.iter().map(|arrival| arrival.event).collect();
    events.filter(|event| !arrived.contains(event)).collect()
}

/// Waits until all have arrived that were promised to.
pub fn everything_arrives(receiver: &Receiver, promised: &BTreeMap<u64, Promise>, within: Duration) {
    let begun = Instant::now();
    loop {
        let missing = missing(&receiver.log(), promised.keys().copied());
        if missing.is_empty() {
            return;
        }
        assert!(begun.elapsed() < within, "{} of {} acknowledged events never arrived: {missing:?}", missing.len(), promised.len());
        std::thread::park_timeout(LOOK);
    }
}

/// Waits until every node that is there shows that nothing is under way, nothing was given up, and each delivery has succeeded exactly once.
pub fn all_is_done(cluster: &Cluster, within: Duration) {
    let begun = Instant::now();
    loop {
        let open = open(cluster);
        if open.is_empty() {
            return;
        }
        assert!(begun.elapsed() < within, "still open: {open:#?}");
        std::thread::park_timeout(LOOK);
    }
}

fn open(cluster: &Cluster) -> Vec<String> {
    let number = |sql: &str| u64::try_from(cluster.database.number(sql)).expect("a count");
    let mut open = Vec::new();
    for (what, sql) in [
        ("deliveries that do not rest", "SELECT count(*) FROM postrider.queue"),
        ("deliveries that have not succeeded", "SELECT count(*) FROM postrider.deliveries WHERE state <> 3"),
    ] {
        let count = number(sql);
        if count > 0 {
            open.push(format!("{count} {what}"));
        }
    }
    let deliveries = number("SELECT count(*) FROM postrider.deliveries");
    let there = cluster.targets().into_iter().enumerate().filter(|(_, target)| target.is_some());
    for (n, _) in there {
        for (path, wanted) in [
            ("/v1/delivery/items?status=in_flight&limit=1", 0),
            ("/v1/delivery/dlq?limit=1", 0),
            ("/v1/delivery/items?status=succeeded&limit=1", deliveries),
        ] {
            let total = cluster.total(n, path);
            if total != Some(wanted) {
                open.push(format!("node {n} says that {total:?} are in {path}, not {wanted}"));
            }
        }
    }
    open
}

/// A delivery is made again only where a node was lost after it had sent it and before the outcome was stored:
///
/// - where no node was lost, nothing comes twice;
/// - what comes again had come before in the time of a fault, or so shortly before that its outcome may not have been stored;
/// - nothing comes more often again than nodes were lost.
pub fn nothing_comes_twice_but_what_was_in_flight(log: &[Arrival], faults: &[Fault], lost: usize) {
    let (mut by_key, mut keys) = (BTreeMap::<&str, Vec<&Arrival>>::new(), BTreeMap::<u64, &str>::new());
    for arrival in log {
        by_key.entry(&arrival.key).or_default().push(arrival);
        let key = *keys.entry(arrival.event).or_insert(&arrival.key);
        assert_eq!(key, arrival.key, "one event, one key: {arrival:?}");
    }
    let was_in_flight = |at: Instant| faults.iter().any(|fault| at + IN_FLIGHT >= fault.began && at <= fault.until);
    let (mut again, mut needless) = (0, Vec::new());
    for arrivals in by_key.values().filter(|arrivals| arrivals.len() > 1) {
        assert!(arrivals.len() <= 1 + lost, "more often than nodes were lost ({lost}): {arrivals:#?}");
        for pair in arrivals.windows(2) {
            again += 1;
            if !was_in_flight(pair[0].at) {
                needless.push(arrivals);
            }
        }
    }
    eprintln!("{} requests for {} deliveries; {again} came again, {lost} nodes were lost", log.len(), by_key.len());
    let frozen: usize = faults.iter().map(|fault| fault.frozen).sum();
    assert!(
        needless.len() <= frozen,
        "these came again although their outcome was long stored; the faults were {faults:#?}: {needless:#?}"
    );
}

/// For each path, how long nothing came at the most, from one moment to the other.
pub fn longest_gaps(log: &[Arrival], from: Instant, until: Instant) -> BTreeMap<&str, Duration> {
    let mut last = BTreeMap::<&str, (Instant, Duration)>::new();
    for arrival in log.iter().filter(|arrival| arrival.at <= until) {
        let (before, longest) = last.entry(&arrival.path).or_insert((from, Duration::ZERO));
        if arrival.at > from {
            *longest = (*longest).max(arrival.at - *before);
            *before = arrival.at;
        }
    }
    last.into_iter().map(|(path, (before, longest))| (path, longest.max(until - before))).collect()
}
