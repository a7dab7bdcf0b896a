//! Several engines over one store: they come, go and die beside each other while people use any of them.
//!
//! Each seat is a machine on which one process follows the other. Who dies, or cannot reach the store for a lease, is taken for dead by the others.

use crate::clock::FakeClock;
use crate::life;
use crate::network::FakeTransport;
use crate::people;
use crate::process::Process;
use crate::scenario::{Ending, Seat, Stay};
use crate::store::{FaultyStore, pass};
use crate::world::{UNREST, World};
use parking_lot::Mutex;
use postrider_engine::Engine;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// How long after its last sign of life a process is taken for dead.
pub(crate) const LEASE: Duration = Duration::from_secs(4);

/// How long a process goes on that could reach the store again in time, and how long it then has to stop.
const AFTERWARDS: (Duration, Duration) = (Duration::from_secs(2), Duration::from_millis(500));

/// How long a seat waits when its process cannot start.
const SUPERVISION: Duration = Duration::from_secs(1);

/// How long people wait where nobody is there to ask.
const NOBODY: Duration = Duration::from_millis(100);

/// A process with its engine, as others see it.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) process: Process,
    pub(crate) engine: Engine,
    /// The number that its claims carry.
    incarnation: u64,
}

/// All seats.
pub(crate) struct Nodes {
    pub(crate) world: Arc<World>,
    clock: FakeClock,
    /// Who is there to ask, by seat.
    running: Mutex<Vec<Option<Node>>>,
}

/// Lives the one life of a world with several engines.
pub(crate) fn live(world: &Arc<World>) {
    let runtime = life::runtime();
    let clean = runtime.block_on(async {
        let clock = world.begin();
        let seats = seats(world).len();
        let nodes = Nodes { world: Arc::clone(world), clock, running: Mutex::new(vec![None; seats]) };
        let clean = lived(&Arc::new(nodes)).await;
        world.end();
        clean
    });
    drop(runtime);
    if let Some(life) = world.plan.lives.first() {
        world.bury(clean, life);
    }
}

fn seats(world: &World) -> &[Seat] {
    world.plan.cluster.as_ref().map_or(&[][..], |cluster| cluster.seats.as_slice())
}

/// Answers whether all that were there at the end could put everything in order.
async fn lived(nodes: &Arc<Nodes>) -> bool {
    let began = tokio::time::Instant::now();
    let mut all = JoinSet::new();
    for seat in 0..seats(&nodes.world).len() {
        all.spawn(sit(Arc::clone(nodes), seat));
    }
    let mut everybody = people::employ_together(nodes);
    while everybody.join_next().await.is_some() {}
    while all.join_next().await.is_some() {}
    tokio::time::sleep_until(began + UNREST).await;
    let last: Vec<Node> = nodes.running.lock().iter().flatten().cloned().collect();
    if let Some(first) = last.first() {
        people::revive(&nodes.world, &first.engine).await;
    }
    let engines: Vec<_> = last.iter().map(|node| (node.incarnation, node.engine.clone())).collect();
    life::comes_to_rest(&nodes.world, &engines).await;
    drop(engines);
    let mut clean = true;
    for node in last {
        clean &= nodes.stop(&node, Duration::from_secs(60)).await;
    }
    nodes.running.lock().clear();
    life::ended(&nodes.world, clean);
    clean
}

/// One process after the other, and in the end one that stays.
async fn sit(nodes: Arc<Nodes>, seat: usize) {
    let plan = seats(&nodes.world)[seat].clone();
    pass(plan.after).await;
    for stay in &plan.stays {
        let crash_at = if let Ending::CrashAtStep(step) = stay.end { Some(step) } else { None };
        if let Some(node) = nodes.start(seat, crash_at).await {
            nodes.stay(&node, stay).await;
            nodes.running.lock()[seat] = None;
        }
        pass(stay.pause).await;
    }
    while nodes.start(seat, None).await.is_none() {
        pass(SUPERVISION).await;
    }
}

impl Nodes {
    /// Somebody who is there; waits where nobody is.
    pub(crate) async fn any(&self, rng: &mut fastrand::Rng) -> Node {
        loop {
            let there: Vec<Node> = self.running.lock().iter().flatten().cloned().collect();
            if !there.is_empty() {
                return there[rng.usize(..there.len())].clone();
            }
            pass(NOBODY).await;
        }
    }

    /// Starts a process; `None` where it ends before it is there.
    async fn start(&self, seat: usize, crash_at: Option<u64>) -> Option<Node> {
        let process = Process::begin(&self.world, crash_at);
        let store = FaultyStore::new(&process);
        let incarnation = store.incarnation();
        process.note(format_args!("begins on seat {seat} as {incarnation}"));
        let transport = Arc::new(FakeTransport::new(&process));
        let config = life::config(&self.world);
        let starting = Box::pin(Engine::start(config, Arc::new(store), transport, Arc::new(self.clock)));
        let started = tokio::select! {
            biased;
            () = process.died() => None,
            started = starting => Some(started),
        };
        match started {
            Some(Ok(engine)) => {
                process.watch(engine.clone());
                let node = Node { process, engine, incarnation };
                self.running.lock()[seat] = Some(node.clone());
                return Some(node);
            }
            Some(Err(error)) => {
                process.note(format_args!("cannot start: {}", error.kind));
                process.kill();
            }
            None => {}
        }
        end_after_a_lease(process, incarnation);
        None
    }

    /// A process is there for a while, and ends.
    async fn stay(&self, node: &Node, stay: &Stay) {
        let has_died = tokio::select! {
            biased;
            () = node.process.died() => true,
            () = pass(stay.length) => false,
        };
        match stay.end {
            Ending::Stop(within) if !has_died => {
                // Either way others go on.
                _ = self.stop(node, within).await;
            }
            Ending::Away(span) if !has_died => self.away(node, span).await,
            _ => {
                node.process.kill();
                end_after_a_lease(node.process.clone(), node.incarnation);
            }
        }
    }

    /// A process stops; answers whether it could put everything in order.
    async fn stop(&self, node: &Node, within: Duration) -> bool {
        node.process.note(format_args!("stops"));
        let clean = life::shut_down(&self.world, &node.engine, within).await;
        node.process.over();
        end(&node.process, node.incarnation, clean);
        clean
    }

    /// A process cannot reach the store for a while. If that takes too long, the others take it for dead, and when it hears of that it ends.
    async fn away(&self, node: &Node, span: Duration) {
        node.process.goes_away(true);
        pass(span.min(LEASE)).await;
        if span < LEASE {
            node.process.goes_away(false);
            pass(AFTERWARDS.0).await;
            // A shutdown like any other.
            _ = self.stop(node, AFTERWARDS.1).await;
        } else {
            end(&node.process, node.incarnation, false);
            pass(span.saturating_sub(LEASE)).await;
            node.process.kill();
        }
    }
}

fn end_after_a_lease(process: Process, incarnation: u64) {
    tokio::spawn(async move {
        pass(LEASE).await;
        end(&process, incarnation, false);
    });
}

/// The others go on without a process, which may have left something unstored.
fn end(process: &Process, incarnation: u64, clean: bool) {
    process.note(format_args!("has ended, clean: {clean}"));
    if !clean {
        process.lost();
    }
    process.store.end(incarnation);
}
