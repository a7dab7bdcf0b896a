//! Limits of destinations, while nodes come and go.

use crate::common::items::destination;
use crate::load::Load;
use crate::nodes::Cluster;
use crate::receiver::{Arrival, Receiver};
use crate::world::raw;
use crate::{PATIENCE, audit};
use postrider_core::id::EndpointId;
use postrider_core::ports::Slot;
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;

/// Destinations that take one request at a time, such that take one every [`INTERVAL`], and such that take what comes.
const SINGLE: usize = 6;
const PACED: usize = 4;
const FREE: usize = 4;

const PER_SECOND: u32 = 10;
const INTERVAL: Duration = Duration::from_millis(100);

/// How long the nodes that there are go on until something changes.
const PHASE: Duration = Duration::from_millis(2_500);

/// By their sender's clock requests keep the rate exactly, but for what setting the machine's clock may do meanwhile.
const BY_THE_SENDER: Duration = Duration::from_millis(1);

/// When they arrive, one may have been longer under way than the next: so much in the kernel's and the receiver's queues of a busy machine.
const ON_THE_WAY: Duration = Duration::from_millis(300);

/// A destination with a limit.
struct Limited {
    id: String,
    path: String,
    event_type: String,
}

fn make(cluster: &Cluster, receiver: &Receiver, kind: &str, count: usize) -> Vec<Limited> {
    let one = |n: usize| {
        let (path, event_type) = (format!("/{kind}{n}"), format!("limits.{kind}{n}"));
        let id = cluster.api(0).make("destinations", &destination(&receiver.url(&path)));
        Limited { id, path, event_type }
    };
    (0..count).map(one).collect()
}

fn bind(cluster: &Cluster, all: &[Limited], policy: &Value) {
    for limited in all {
        cluster.api(0).make("bindings", &raw(&limited.id, &limited.event_type, policy));
    }
}

/// No API sets it yet: it is written where the nodes read it.
fn one_at_a_time(cluster: &Cluster, all: &[Limited]) {
    for limited in all {
        let sql = format!(
            "WITH changed AS (UPDATE postrider.config SET doc = replace(doc, '\"concurrency\":null', '\"concurrency\":1') \
             WHERE kind = 0 AND id = '{}' AND doc LIKE '%\"concurrency\":null%' RETURNING 1), \
             versions AS (UPDATE postrider.meta SET value = value + 1 WHERE key = 'config_version' RETURNING 1) \
             SELECT (SELECT count(*) FROM changed) + (SELECT count(*) FROM versions)",
            limited.id
        );
        assert_eq!(cluster.database.number(&sql), 2, "{}", limited.id);
    }
}

/// Who has which slot.
fn owners(cluster: &Cluster) -> HashMap<u8, i64> {
    let rows = cluster.database.query("SELECT slot, owner FROM postrider.slots");
    rows.iter().map(|row| (u8::try_from(row.get::<_, i16>(0)).expect("a slot"), row.get(1))).collect()
}

fn owner_of(owners: &HashMap<u8, i64>, limited: &Limited) -> i64 {
    let id = EndpointId::parse(&limited.id).expect("an id");
    owners[&Slot::of(id.uuid()).0]
}

/// Any n of them are at least n - 1 intervals apart.
fn keep_the_rate(what: &str, times: &[Duration], tolerance: Duration) {
    for (n, first) in times.iter().enumerate() {
        for (m, last) in times.iter().enumerate().skip(n + 1) {
            let least = INTERVAL * u32::try_from(m - n).expect("a small number");
            let apart = last.saturating_sub(*first);
            assert!(apart + tolerance >= least, "{what}: {} requests within {apart:?}, which is less than {least:?}", m - n + 1);
        }
    }
}

/// When a destination was sent to, by the senders' clocks.
fn sent(cluster: &Cluster, limited: &Limited) -> Vec<Duration> {
    let sql = format!("SELECT started_at FROM postrider.attempts WHERE endpoint = '{}' ORDER BY started_at", limited.id);
    cluster.database.query(&sql).iter().map(|row| Duration::from_micros(u64::try_from(row.get::<_, i64>(0)).expect("a time"))).collect()
}

fn arrived<'l>(log: &'l [Arrival], limited: &'l Limited) -> impl Iterator<Item = &'l Arrival> {
    log.iter().filter(|arrival| arrival.path == limited.path)
}

/// Requests for it were not under way at the same time, by the senders' clocks. Those do not count that ended with their node: when they did nobody
/// knows.
fn came_one_after_the_other(cluster: &Cluster, limited: &Limited) {
    let sql = format!(
        "SELECT started_at, finished_at FROM postrider.attempts WHERE endpoint = '{}' AND finished_at IS NOT NULL \
         AND error_code IS DISTINCT FROM 'interrupted' ORDER BY started_at",
        limited.id
    );
    let time = |row: &Row, column: usize| Duration::from_micros(u64::try_from(row.get::<_, i64>(column)).expect("a time"));
    let times: Vec<_> = cluster.database.query(&sql).iter().map(|row| (time(row, 0), time(row, 1))).collect();
    for pair in times.windows(2) {
        assert!(pair[1].0 + BY_THE_SENDER >= pair[0].1, "{}: one began before the other had ended: {pair:?}", limited.path);
    }
}

/// Destinations that take one request at a time, and such that take one every [`INTERVAL`].
fn make_limited(cluster: &Cluster, receiver: &Receiver) -> (Vec<Limited>, Vec<Limited>) {
    let (single, paced) = (make(cluster, receiver, "slow_single", SINGLE), make(cluster, receiver, "paced", PACED));
    one_at_a_time(cluster, &single);
    // To make these the node must have seen what was written past it, and whoever sends for one has seen them.
    bind(cluster, &single, &Value::Null);
    bind(cluster, &paced, &json!({"rate_limit": {"ratePerSec": PER_SECOND, "capacity": 1}}));
    (single, paced)
}

/// What a dead node had used of its limits nobody knows: whoever takes its destinations over begins with nothing.
pub fn hold_when_a_node_is_killed() {
    let (mut cluster, receiver) = (Cluster::start(3), Receiver::start());
    let (single, paced) = make_limited(&cluster, &receiver);
    let before = owners(&cluster);
    let has = |all: &[Limited], owner: i64| all.iter().filter(|limited| owner_of(&before, limited) == owner).count();
    // Somebody has a paced one, and nearly always one of the others too.
    let of_both = |owner: i64| (has(&paced, owner).min(1), has(&single, owner).min(1), has(&single, owner) + has(&paced, owner));
    let owner = before.values().copied().max_by_key(|owner| of_both(*owner)).expect("somebody has them");
    let victim = cluster.with_incarnation(owner).expect("it is one of ours");
    // What is published at the others goes on meanwhile.
    let mut targets = cluster.targets();
    targets[victim] = None;
    let types = single.iter().chain(&paced).map(|limited| limited.event_type.clone()).collect();
    let load = Load::start(&cluster.key, types, targets);
    std::thread::park_timeout(PHASE);
    let killed = Instant::now();
    cluster.kill(victim);
    cluster.until_shared();
    std::thread::park_timeout(PHASE);
    let outcome = load.finish();

    audit::everything_arrives(&receiver, &outcome.promised, PATIENCE);
    audit::all_is_done(&cluster, PATIENCE);
    let (log, what) = (receiver.log(), String::from("a node was killed"));
    let fault = audit::Fault { what, began: killed, until: killed + ON_THE_WAY, frozen: 0 };
    audit::nothing_comes_twice_but_what_was_in_flight(&log, &[fault], cluster.lost);
    for limited in &single {
        let most = arrived(&log, limited).map(|arrival| arrival.at_once).max();
        assert_eq!(most, Some(1), "{}: requests at the same time", limited.path);
        came_one_after_the_other(&cluster, limited);
    }
    let sql = format!("SELECT (extract(epoch FROM ended_at) * 1000000)::int8 FROM postrider.nodes WHERE incarnation = {owner}");
    let ended = Duration::from_micros(u64::try_from(cluster.database.number(&sql)).expect("a time"));
    for limited in &paced {
        let sent = sent(&cluster, limited);
        keep_the_rate(&format!("{}, as it was sent", limited.path), &sent, BY_THE_SENDER);
        if owner_of(&before, limited) == owner {
            let first = sent.iter().find(|at| **at > ended).expect("others go on with it");
            let pause = *first - ended;
            assert!(pause + BY_THE_SENDER >= INTERVAL, "{}: the first request came {pause:?} after its node was ended", limited.path);
        }
    }
}

pub fn hold_while_nodes_come_and_go() {
    let (mut cluster, receiver) = (Cluster::start(3), Receiver::start());
    let (single, paced) = make_limited(&cluster, &receiver);
    let free = make(&cluster, &receiver, "slow_free", FREE);
    bind(&cluster, &free, &Value::Null);
    let types = single.iter().chain(&paced).chain(&free).map(|limited| limited.event_type.clone()).collect();
    let (load, begun) = (Load::start(&cluster.key, types, cluster.targets()), Instant::now());

    let before = owners(&cluster);
    std::thread::park_timeout(PHASE);
    cluster.join("joins");
    cluster.until_shared();
    let joined = owners(&cluster);
    std::thread::park_timeout(PHASE);
    let mut of_nodes = BTreeMap::<i64, usize>::new();
    for limited in single.iter().chain(&paced) {
        *of_nodes.entry(owner_of(&joined, limited)).or_default() += 1;
    }
    let (most, _) = of_nodes.into_iter().max_by_key(|(_, count)| *count).expect("somebody has them");
    let leaving = cluster.with_incarnation(most).expect("it is one of ours");
    let mut targets = cluster.targets();
    targets[leaving] = None;
    load.aim(&targets);
    cluster.stop(leaving);
    cluster.until_shared();
    let left = owners(&cluster);
    std::thread::park_timeout(PHASE);
    let moved = |one: &HashMap<u8, i64>, other: &HashMap<u8, i64>| {
        single.iter().chain(&paced).filter(|limited| owner_of(one, limited) != owner_of(other, limited)).count()
    };
    eprintln!("moved when a node joined: {}, when one left: {}", moved(&before, &joined), moved(&joined, &left));
    assert!(moved(&joined, &left) > 0, "nobody went on with what the node had that left");
    let (outcome, loaded) = (load.finish(), begun.elapsed());

    audit::everything_arrives(&receiver, &outcome.promised, PATIENCE);
    audit::all_is_done(&cluster, PATIENCE);
    let log = receiver.log();
    audit::nothing_comes_twice_but_what_was_in_flight(&log, &[], cluster.lost);
    assert_eq!(cluster.lost, 0);
    for limited in &single {
        let most = arrived(&log, limited).map(|arrival| arrival.at_once).max();
        assert_eq!(most, Some(1), "{}: requests at the same time", limited.path);
    }
    let at_once = free.iter().flat_map(|limited| arrived(&log, limited)).map(|arrival| arrival.at_once).max();
    assert!(at_once > Some(1), "without a limit nothing came at the same time either: this proves nothing");
    for limited in &paced {
        let (arrivals, sent): (Vec<_>, _) = (arrived(&log, limited).map(|arrival| arrival.at - begun).collect(), sent(&cluster, limited));
        keep_the_rate(&format!("{}, as it was sent", limited.path), &sent, BY_THE_SENDER);
        keep_the_rate(&format!("{}, as it came", limited.path), &arrivals, ON_THE_WAY);
        let least = loaded.as_secs() * u64::from(PER_SECOND) / 2;
        assert!(arrivals.len() as u64 > least, "{}: only {} in {loaded:?}: this proves nothing", limited.path, arrivals.len());
    }
}
