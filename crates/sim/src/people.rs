//! Who uses the engine: publishers, people who change the configuration, people who repair, people who schedule.

mod editors;
mod together;

pub(crate) use editors::revive;
pub(crate) use together::employ as employ_together;

use crate::process::Process;
use crate::records::{Booking, Call, CallOutcome, Fact};
use crate::scenario::{Latency, draw, parts_of_events};
use crate::store::pass;
use crate::world::World;
use bytes::Bytes;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::id::ScheduledId;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::{Engine, Publish, Routes, To};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;

/// Sets everybody to work; the tasks end when their work is done.
pub(crate) fn employ(process: &Process, engine: &Engine) -> JoinSet<()> {
    let traffic = process.plan.traffic;
    let mut everybody = JoinSet::new();
    for _ in 0..traffic.publishers {
        let seed = process.state().rng.u64(..);
        everybody.spawn(publisher(process.clone(), engine.clone(), seed));
    }
    let seed = process.state().rng.u64(..);
    everybody.spawn(editors::editor(process.clone(), engine.clone(), seed));
    let seed = process.state().rng.u64(..);
    everybody.spawn(repairer(process.clone(), engine.clone(), seed));
    let seed = process.state().rng.u64(..);
    everybody.spawn(scheduler(process.clone(), engine.clone(), seed));
    everybody
}

/// Waits a moment between two doings.
async fn rest(rng: &mut fastrand::Rng, pause: Latency) {
    pass(pause.draw(rng)).await;
}

/// Publishes bursts. Each event of a burst has a task of its own, so that they meet in groups.
async fn publisher(process: Process, engine: Engine, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    let traffic = process.plan.traffic;
    let mut calls = JoinSet::new();
    for _ in 0..traffic.bursts {
        for _ in 0..rng.usize(1..=traffic.burst) {
            let fact = fact(&process, &engine, &mut rng);
            let patience = (rng.u8(..100) < traffic.impatient).then(|| Duration::from_millis(rng.u64(0..20)));
            calls.spawn(publish(process.clone(), engine.clone(), fact, patience));
        }
        rest(&mut rng, traffic.pause).await;
    }
    while calls.join_next().await.is_some() {}
}

/// Something new, or something with a key that is said again.
fn fact(world: &World, engine: &Engine, rng: &mut fastrand::Rng) -> usize {
    let state = world.state();
    let again: Vec<usize> = (0..state.facts.len()).filter(|n| state.facts[*n].key.is_some()).collect();
    drop(state);
    if !again.is_empty() && rng.u8(..100) < 20 {
        return draw(rng, &again);
    }
    new_fact(world, engine, rng)
}

fn new_fact(world: &World, engine: &Engine, rng: &mut fastrand::Rng) -> usize {
    let traffic = world.plan.traffic;
    let mut state = world.state();
    let number = state.facts.len();
    let routes = engine.routes();
    let known: Vec<_> = routes.subscriptions().collect();
    let addressed = !known.is_empty() && rng.u8(..100) < traffic.addressed;
    let to = if addressed { To::Subscription(known[rng.usize(..known.len())].id) } else { To::Matching };
    let (event_type, labels) = parts_of_events(rng);
    let namespace = &world.plan.endpoints[rng.usize(..world.plan.endpoints.len())].namespace;
    state.facts.push(Fact {
        namespace: namespace.clone(),
        event_type,
        payload: payload(rng, "fact", number, traffic.payload),
        labels,
        key: (rng.u8(..100) < traffic.keyed).then(|| format!("key-{number}")),
        ttl: (rng.u8(..100) < traffic.mortal).then(|| Duration::from_secs(rng.u64(1..60))),
        to,
        calls: Vec::new(),
    });
    number
}

/// Bytes that name their origin and are not the JSON that a serialiser would write.
fn payload(rng: &mut fastrand::Rng, kind: &str, number: usize, size: usize) -> Bytes {
    let mut payload = format!("{{ \"{kind}\" :{number} , \"noise\":\"").into_bytes();
    payload.extend((0..rng.usize(0..=size)).map(|_| rng.u8(..)));
    payload.extend_from_slice(b"\" }");
    payload.into()
}

async fn publish(process: Process, engine: Engine, number: usize, patience: Option<Duration>) {
    process.step().await;
    let fact = process.state().facts[number].clone();
    let routes = engine.routes();
    let (expected, skipped) = expected(&routes, &fact);
    let call = process.calls(number, Call { at: engine.now(), expected, skipped, outcome: CallOutcome::Unknown });
    // The engine matches when it is first polled: that is before anything else happens.
    let publishing = engine.publish(Publish {
        namespace: fact.namespace,
        event_type: fact.event_type,
        payload: fact.payload,
        labels: fact.labels,
        metadata: Default::default(),
        idempotency_key: fact.key,
        ttl: fact.ttl,
        schema_check: Default::default(),
        to: fact.to,
    });
    let answer = match patience {
        None => publishing.await,
        Some(patience) => match tokio::time::timeout(patience, publishing).await {
            Ok(answer) => answer,
            Err(_) => return process.note(format_args!("publisher of {number} went away")),
        },
    };
    process.told(number, call, &answer);
    process.step().await;
}

/// Who must get it and who is skipped, found the slow way.
fn expected(routes: &Routes, fact: &Fact) -> (BTreeSet<postrider_core::id::SubscriptionId>, BTreeSet<postrider_core::id::SubscriptionId>) {
    if let To::Subscription(id) = fact.to {
        return (BTreeSet::from_iter(routes.route(id).map(|_| id)), BTreeSet::new());
    }
    let wants = |s: &&Arc<Subscription>| s.namespace == fact.namespace && s.wants(&fact.event_type, &fact.labels, &fact.payload);
    let skips = |s: &Subscription| match routes.endpoint(s.endpoint) {
        None => true,
        Some(endpoint) => s.origin == Origin::Rpc && matches!(endpoint.status, EndpointStatus::Paused { .. }),
    };
    let (skipped, expected): (Vec<_>, Vec<_>) = routes.subscriptions().filter(wants).partition(|s| skips(s));
    let ids = |of: Vec<&Arc<Subscription>>| of.into_iter().map(|s| s.id).collect();
    (ids(expected), ids(skipped))
}

/// Replays deliveries, retries and dismisses dead letters; sometimes goes away in the middle.
async fn repairer(process: Process, engine: Engine, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..process.plan.traffic.repairs {
        rest(&mut rng, Latency { from: 0, to: 5_000 }).await;
        repair_something(&process, &engine, &mut rng).await;
    }
}

async fn repair_something(process: &Process, engine: &Engine, rng: &mut fastrand::Rng) {
    process.step().await;
    let patience = if rng.u8(..100) < 20 { rng.u64(0..10) } else { 3_600_000 };
    let repair = repair(process, engine, rng);
    // What came of it is seen in the store.
    _ = tokio::time::timeout(Duration::from_millis(patience), repair).await;
}

async fn repair(world: &World, engine: &Engine, rng: &mut fastrand::Rng) {
    let dump = world.store.dump();
    if rng.bool() {
        let resting = dump.deliveries.iter();
        let resting: Vec<_> = resting.filter(|d| rng.u8(..10) == 0 || d.progress.state.kind().is_resting()).map(|d| d.id).collect();
        if !resting.is_empty() {
            let id = draw(rng, &resting);
            let keeps = rng.bool();
            world.note(format_args!("replay {id}, keeping its dead letter: {keeps}"));
            _ = engine.replay_delivery(id, keeps).await;
        }
        return;
    }
    let letters = dump.dead_letters.iter();
    let letters: Vec<_> = letters.filter(|l| l.status == DeadLetterStatus::Open || rng.u8(..10) == 0).map(|l| l.id).collect();
    if letters.is_empty() {
        return;
    }
    let id = draw(rng, &letters);
    if rng.u8(..10) < 7 {
        world.note(format_args!("retry dead letter {id}"));
        _ = engine.retry_dead_letter(id).await;
    } else {
        world.note(format_args!("dismiss dead letter {id}"));
        _ = engine.dismiss_dead_letter(id).await;
    }
}

/// Stores scheduled webhooks, and takes some of them back.
async fn scheduler(process: Process, engine: Engine, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..process.plan.traffic.bookings {
        rest(&mut rng, Latency { from: 0, to: 10_000 }).await;
        if !book(&process, &engine, &mut rng).await {
            return;
        }
    }
}

/// Stores one; answers whether there was anybody to get it.
async fn book(process: &Process, engine: &Engine, rng: &mut fastrand::Rng) -> bool {
    process.step().await;
    let routes = engine.routes();
    let known: Vec<_> = routes.subscriptions().collect();
    if known.is_empty() {
        return false;
    }
    let of = known[rng.usize(..known.len())];
    let number = process.state().bookings.len();
    let payload = payload(rng, "booking", number, 40);
    let id = ScheduledId::new(engine.new_id());
    let now = engine.now();
    let due_at = now.after(Duration::from_millis(rng.u64(0..60_000)));
    process.state().bookings.push(Booking { id, payload: payload.clone(), taken_back: false, acknowledged: false });
    let stored = engine.schedule(Scheduled {
        id,
        namespace: of.namespace.clone(),
        subscription: of.id,
        payload,
        due_at,
        recurrence: draw(rng, &[Recurrence::None, Recurrence::Daily, Recurrence::Monthly]),
        anchor: due_at,
        status: ScheduledStatus::Pending,
        created_at: now,
        updated_at: now,
    });
    let stored = stored.await.is_ok();
    if !process.is_dead() {
        process.state().bookings[number].acknowledged = stored;
        process.note(format_args!("scheduled {id}: {stored}"));
    }
    if rng.u8(..10) < 2 {
        process.state().bookings[number].taken_back = true;
        _ = engine.unschedule(id, false).await;
    }
    true
}
