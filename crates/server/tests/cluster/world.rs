//! Three nodes under load, what can be done to them, and how they must be afterwards.

use crate::audit::{self, Fault, LEASE};
use crate::common::items::{binding, destination};
use crate::load::Load;
use crate::nodes::{Cluster, LOOK, WORKERS};
use crate::proxy::Way;
use crate::receiver::Receiver;
use rustix::process::Signal;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::Instant;

/// Nodes.
const NODES: usize = 3;

/// Destinations: so many that each node has some of them, but for one run in thousands.
const DESTINATIONS: usize = 24;

/// Events that are delivered before anything is done.
const WARM: usize = 200;

/// How long it may take to deliver these.
const WARMING: Duration = Duration::from_secs(20);

/// How long everything may take to be as it should be once a fault is over.
const HEALTHY: Duration = Duration::from_secs(10);

/// How long others may take to go on with what a dead node had.
pub const TAKEOVER: Duration = Duration::from_secs(6);

/// How long a node stands still, or cannot reach the database: well past its lease.
const AWAY: Duration = Duration::from_secs(7);

/// How long the database does not run where it is started again.
const RESTART: Duration = Duration::from_millis(500);

/// How often all connections are ended, and how long it is until the next time.
const CUTS: u32 = 5;
const BETWEEN_CUTS: Duration = Duration::from_millis(600);

/// How long nobody gets a new connection.
const EXHAUSTED: Duration = Duration::from_secs(4);

/// What a request takes from its sender into the receiver's log.
const ON_THE_WAY: Duration = Duration::from_millis(500);

/// A binding that sends an event's payload as it is.
pub fn raw(destination: &str, event_type: &str, policy: &Value) -> Value {
    binding(destination, event_type, json!({"serializer_format": "raw", "delivery_policy": policy}))
}

/// Nodes, a receiver, and publishers at each node.
pub struct World {
    pub cluster: Cluster,
    pub receiver: Receiver,
    load: Load,
    faults: Vec<Fault>,
}

impl World {
    /// Under way, with deliveries to every destination.
    pub fn start() -> World {
        let (cluster, receiver) = (Cluster::start(NODES), Receiver::start());
        let mut types = Vec::new();
        for n in 0..DESTINATIONS {
            let (api, event_type) = (cluster.api(0), format!("load.e{n}"));
            let to = api.make("destinations", &destination(&receiver.url(&format!("/e{n}"))));
            api.make("bindings", &raw(&to, &event_type, &Value::Null));
            types.push(event_type);
        }
        let load = Load::start(&cluster.key, types, cluster.targets());
        let begun = Instant::now();
        while receiver.log().len() < WARM {
            assert!(begun.elapsed() < WARMING, "{} events were delivered in {WARMING:?}", receiver.log().len());
            std::thread::park_timeout(LOOK);
        }
        World { cluster, receiver, load, faults: Vec::new() }
    }

    /// It began then, and the last of those that cannot store outcomes because of it stopped sending then.
    fn note(&mut self, what: impl Into<String>, began: Instant, until: Instant, frozen: usize) {
        let fault = Fault { what: what.into(), began, until: until + ON_THE_WAY, frozen };
        eprintln!("{}: {:.1} s, {} nodes lost so far", fault.what, began.elapsed().as_secs_f64(), self.cluster.lost);
        self.faults.push(fault);
    }

    fn re_aim(&self) {
        self.load.aim(&self.cluster.targets());
    }

    // ---- faults, each of which answers when it was over ------------------------------------------------------------

    /// A node is killed; others go on with its destinations within [`TAKEOVER`], and show who is there.
    pub fn kill(&mut self, n: usize) -> Instant {
        let began = Instant::now();
        self.cluster.kill(n);
        self.re_aim();
        let others: Vec<usize> = (0..self.cluster.count()).filter(|other| *other != n).collect();
        while !others.iter().all(|other| self.cluster.alive_seen_by(*other) == others.len()) {
            assert!(began.elapsed() < TAKEOVER, "the others still show the node as alive that was killed");
            std::thread::park_timeout(LOOK);
        }
        // What comes with it shows that it goes on, and not only that it went on once.
        std::thread::park_timeout((TAKEOVER + BETWEEN_CUTS).saturating_sub(began.elapsed()));
        let log = self.receiver.log();
        let gaps = audit::longest_gaps(&log, began, began + TAKEOVER + BETWEEN_CUTS);
        let longest = gaps.iter().max_by_key(|(_, gap)| **gap).expect("something came");
        eprintln!("after a kill {} waited longest: {:?}", longest.0, longest.1);
        assert!(*longest.1 <= TAKEOVER, "{gaps:#?}");
        self.note(format!("killed node {n}"), began, began, 0);
        began + TAKEOVER
    }

    /// A node stands still past its lease. When it wakes it sends nothing, and ends.
    pub fn stand_still(&mut self, n: usize) -> Instant {
        let began = Instant::now();
        self.cluster.signal(n, Signal::STOP);
        let mut ports = self.cluster.ports(n);
        assert!(!ports.is_empty(), "what it sends could not be told from what others send");
        std::thread::park_timeout(AWAY);
        let woken = Instant::now();
        self.cluster.signal(n, Signal::CONT);
        // It may open connections of which nobody knew while it slept.
        loop {
            ports.extend(self.cluster.ports(n));
            if self.cluster.has_ended(n) {
                break;
            }
            assert!(woken.elapsed() < HEALTHY, "a node that others have ended goes on");
            std::thread::park_timeout(Duration::from_millis(2));
        }
        let ended = Instant::now();
        let log = self.receiver.log();
        let late: Vec<_> = log.iter().filter(|a| a.at > woken && a.at < ended && ports.contains(&a.peer)).collect();
        assert!(late.len() <= WORKERS, "sent by a node that woke up when others had taken over: {late:#?}");
        self.note(format!("node {n} stood still"), began, began, WORKERS);
        woken
    }

    /// A node's packets are lost, past its lease.
    pub fn lose_packets(&mut self, n: usize) -> Instant {
        let began = Instant::now();
        self.cluster.proxy(n).set(Way::Stalled);
        std::thread::park_timeout(AWAY);
        self.cluster.proxy(n).set(Way::Open);
        self.note(format!("node {n} did not reach the database"), began, began + LEASE, 0);
        Instant::now()
    }

    /// A node's connections are closed, and it gets no new ones for a while that is shorter than its lease.
    pub fn cut_off(&mut self, n: usize) -> Instant {
        let began = Instant::now();
        self.cluster.proxy(n).set(Way::Cut);
        std::thread::park_timeout(BETWEEN_CUTS);
        self.cluster.proxy(n).set(Way::Open);
        self.note(format!("node {n} was cut off"), began, Instant::now() + LEASE, 0);
        Instant::now()
    }

    /// The database crashes and is started again.
    pub fn crash_database(&mut self) -> Instant {
        let began = Instant::now();
        self.cluster.database.crash(RESTART);
        self.note("the database crashed", began, Instant::now() + LEASE, 0);
        Instant::now()
    }

    /// All connections are ended, again and again.
    pub fn end_connections(&mut self) -> Instant {
        let began = Instant::now();
        let client = self.cluster.database.try_connect().expect("PostgreSQL answers");
        for _ in 0..CUTS {
            assert!(self.cluster.database.terminate(&client, "true") > 0, "nobody was connected");
            std::thread::park_timeout(BETWEEN_CUTS);
        }
        self.note("connections were ended", began, Instant::now() + LEASE, 0);
        Instant::now()
    }

    /// Somebody else takes all connections that there are, while half of the nodes' own are ended.
    pub fn exhaust_connections(&mut self) -> Instant {
        let began = Instant::now();
        let database = &self.cluster.database;
        let mut held = vec![database.try_connect().expect("PostgreSQL answers")];
        let mut refusals = 0;
        while began.elapsed() < EXHAUSTED {
            match database.try_connect() {
                Ok(client) => held.push(client),
                Err(_) => {
                    if refusals == 0 {
                        let ended = database.terminate(&held[0], "application_name = 'postrider' AND pid % 2 = 0");
                        assert!(ended > 0, "no node was connected");
                    }
                    refusals += 1;
                    std::thread::park_timeout(Duration::from_millis(5));
                }
            }
        }
        assert!(refusals > 1, "there were connections left beside {}", held.len());
        held.truncate(1);
        // What is started now must find some.
        let others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND application_name <> 'postrider'";
        while database.query_on(&held[0], others)[0].get::<_, i64>(0) > 1 {
            assert!(began.elapsed() < EXHAUSTED + HEALTHY, "connections stay open that were closed");
            std::thread::park_timeout(LOOK);
        }
        self.note("connections were exhausted", began, Instant::now() + LEASE, 0);
        Instant::now()
    }

    // ---- afterwards -----------------------------------------------------------------------------------------------

    /// Has nodes that ended started again, as a supervisor does, until everything is as it should be.
    pub fn recover(&mut self, over: Instant) {
        loop {
            self.cluster.revive();
            self.re_aim();
            let wrong = self.wrong(over);
            if wrong.is_empty() {
                eprintln!("healthy {:.1} s after it was over", over.elapsed().as_secs_f64());
                return;
            }
            assert!(over.elapsed() < HEALTHY, "{HEALTHY:?} after {:?}: {wrong:#?}", self.faults.last());
            std::thread::park_timeout(LOOK);
        }
    }

    fn wrong(&self, over: Instant) -> Vec<String> {
        let (promised, mut wrong) = (self.load.promised(), Vec::new());
        for n in 0..self.cluster.count() {
            if !promised.values().any(|promise| promise.node == n && promise.at > over) {
                wrong.push(format!("node {n} has accepted nothing since"));
            }
            let alive = self.cluster.alive_seen_by(n);
            if alive != self.cluster.count() {
                wrong.push(format!("node {n} shows {alive} nodes as alive"));
            }
        }
        let before = promised.iter().filter(|(_, promise)| promise.at <= over).map(|(event, _)| *event);
        let missing = audit::missing(&self.receiver.log(), before);
        if !missing.is_empty() {
            wrong.push(format!("{} events that were acknowledged before have not arrived", missing.len()));
        }
        wrong
    }

    /// Ends the load, and looks at all that came of it.
    pub fn finish(self) {
        let World { mut cluster, receiver, load, faults } = self;
        let outcome = load.finish();
        assert!(outcome.promised.len() > WARM, "only {} events were acknowledged: this proves nothing", outcome.promised.len());
        let odd: Vec<_> = outcome.refused.keys().filter(|status| **status < 500 && **status != 429).collect();
        assert!(odd.is_empty(), "refused for no good reason: {:?}", outcome.refused);
        if faults.is_empty() {
            assert_eq!((outcome.refused.len(), outcome.unknown), (0, 0), "nothing was wrong");
        }
        audit::everything_arrives(&receiver, &outcome.promised, HEALTHY);
        audit::all_is_done(&cluster, HEALTHY);
        audit::nothing_comes_twice_but_what_was_in_flight(&receiver.log(), &faults, cluster.lost);
        for n in 0..cluster.count() {
            cluster.stop(n);
        }
    }
}
