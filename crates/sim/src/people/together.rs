//! People where several engines share the store: each does what it does through any of them.

use super::{book, editors, new_fact, publish, repair_something, rest};
use crate::process::Process;
use crate::scenario::{Latency, draw};
use crate::together::{Node, Nodes};
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Sets everybody to work; the tasks end when their work is done.
pub(crate) fn employ(nodes: &Arc<Nodes>) -> JoinSet<()> {
    let mut everybody = JoinSet::new();
    for _ in 0..nodes.world.plan.traffic.publishers {
        let seed = nodes.world.state().rng.u64(..);
        everybody.spawn(publisher(Arc::clone(nodes), seed));
    }
    let seed = nodes.world.state().rng.u64(..);
    everybody.spawn(editor(Arc::clone(nodes), seed));
    let seed = nodes.world.state().rng.u64(..);
    everybody.spawn(repairer(Arc::clone(nodes), seed));
    let seed = nodes.world.state().rng.u64(..);
    everybody.spawn(scheduler(Arc::clone(nodes), seed));
    everybody
}

/// Does something for as long as its process lives: nobody gets an answer from a dead one.
async fn while_alive(process: &Process, doing: impl Future<Output = ()>) {
    tokio::select! {
        biased;
        () = process.died() => {}
        () = doing => {}
    }
}

/// Publishes bursts, each through one of the engines. What has a key may be said again, through another one.
async fn publisher(nodes: Arc<Nodes>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let traffic = nodes.world.plan.traffic;
    let mut calls = JoinSet::new();
    let mut keyed: Vec<usize> = Vec::new();
    for _ in 0..traffic.bursts {
        let Node { process, engine, .. } = nodes.any(&mut rng).await;
        for _ in 0..rng.usize(1..=traffic.burst) {
            let fact = if !keyed.is_empty() && rng.u8(..100) < 30 {
                draw(&mut rng, &keyed)
            } else {
                let new = new_fact(&process, &engine, &mut rng);
                keyed.extend(process.state().facts[new].key.is_some().then_some(new));
                new
            };
            let patience = (rng.u8(..100) < traffic.impatient).then(|| Duration::from_millis(rng.u64(0..20)));
            let (process, engine) = (process.clone(), engine.clone());
            calls.spawn(async move { while_alive(&process, publish(process.clone(), engine, fact, patience)).await });
        }
        drop(engine);
        rest(&mut rng, traffic.pause).await;
    }
    while calls.join_next().await.is_some() {}
}

async fn editor(nodes: Arc<Nodes>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..nodes.world.plan.traffic.edits {
        rest(&mut rng, Latency { from: 0, to: 8_000 }).await;
        let Node { process, engine, .. } = nodes.any(&mut rng).await;
        while_alive(&process, editors::once(&process, &engine, &mut rng)).await;
    }
}

async fn repairer(nodes: Arc<Nodes>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..nodes.world.plan.traffic.repairs {
        rest(&mut rng, Latency { from: 0, to: 5_000 }).await;
        let Node { process, engine, .. } = nodes.any(&mut rng).await;
        while_alive(&process, repair_something(&process, &engine, &mut rng)).await;
    }
}

async fn scheduler(nodes: Arc<Nodes>, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..nodes.world.plan.traffic.bookings {
        rest(&mut rng, Latency { from: 0, to: 10_000 }).await;
        let Node { process, engine, .. } = nodes.any(&mut rng).await;
        let booking = async {
            // Whether there was anybody to get it.
            _ = book(&process, &engine, &mut rng).await;
        };
        while_alive(&process, booking).await;
    }
}
