//! People who change the configuration, through the engine or behind its back.

use super::rest;
use crate::process::Process;
use crate::scenario::{Latency, draw, subscription};
use crate::world::World;
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::id::SubscriptionId;
use postrider_core::limit::RateLimit;
use postrider_core::ports::{ConfigChange, Store, StoreError};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, Routes};
use std::sync::Arc;
use std::time::Duration;

/// Changes something now and then; sometimes goes away before it is done.
pub(super) async fn editor(process: Process, engine: Engine, seed: u64) {
    let mut rng = fastrand::Rng::with_seed(seed);
    for _ in 0..process.plan.traffic.edits {
        rest(&mut rng, Latency { from: 0, to: 8_000 }).await;
        once(&process, &engine, &mut rng).await;
    }
}

/// Changes something.
pub(super) async fn once(process: &Process, engine: &Engine, rng: &mut fastrand::Rng) {
    process.step().await;
    if rng.u8(..100) < 15 {
        behind_its_back(process, engine, rng).await;
        return;
    }
    let patience = if rng.u8(..100) < 10 { rng.u64(0..10) } else { 3_600_000 };
    let mut choices = rng.fork();
    let busy = busy(process);
    let limits_stay = process.plan.cluster.is_some();
    let doing = edit(process, engine, |routes, now, id| {
        // What is being sent to is the most interesting to delete.
        let mut changes = match busy.and_then(|id| routes.subscription(id)) {
            Some(gone) if choices.u8(..100) < 15 => vec![deleted(gone, now)],
            _ => change(&mut choices, routes, now, id),
        };
        if limits_stay {
            changes.retain(|change| leaves_limits(routes, change));
        }
        changes
    });
    _ = tokio::time::timeout(Duration::from_millis(patience), doing).await;
}

/// Whether a change leaves the limits of an endpoint as they are: where they are held against what all engines do it must be known which applied.
fn leaves_limits(routes: &Routes, change: &ConfigChange) -> bool {
    let ConfigChange::Endpoint(new) = change else { return true };
    let is_same = |old: &Arc<Endpoint>| (old.rate_limit, old.concurrency) == (new.rate_limit, new.concurrency);
    routes.endpoint(new.id).is_none_or(is_same)
}

/// Makes a change; a person tries again when the store cannot take it.
async fn edit(world: &World, engine: &Engine, mut change: impl FnMut(&Routes, Timestamp, SubscriptionId) -> Vec<ConfigChange>) {
    loop {
        let (now, id) = (engine.now(), SubscriptionId::new(engine.new_id()));
        let stored = engine.edit(|routes| {
            let changes = change(routes, now, id);
            world.note(format_args!("edit: {}", told(&changes)));
            Ok::<_, StoreError>((changes, ()))
        });
        if stored.await.is_ok() {
            return;
        }
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}

fn told(changes: &[ConfigChange]) -> String {
    let one = |change: &ConfigChange| match change {
        ConfigChange::Endpoint(e) => {
            format!("endpoint {} {:?}, limit {:?}, cap {:?}, deleted {:?}", e.id, e.status, e.rate_limit, e.concurrency, e.deleted)
        }
        ConfigChange::Subscription(s) => {
            format!("subscription {} of {}, deleted {:?}", s.id, s.endpoint, s.deleted_at)
        }
        ConfigChange::Key(k) => format!("key {}", k.id),
        ConfigChange::EventType(t) => format!("event type {}", t.name),
        ConfigChange::NoEventType { name, .. } => format!("no event type {name}"),
    };
    changes.iter().map(one).collect::<Vec<_>>().join("; ")
}

fn change(rng: &mut fastrand::Rng, routes: &Routes, now: Timestamp, id: SubscriptionId) -> Vec<ConfigChange> {
    let endpoints: Vec<_> = routes.endpoints().collect();
    let subscriptions: Vec<_> = routes.subscriptions().collect();
    if endpoints.is_empty() {
        return Vec::new();
    }
    let endpoint = Endpoint::clone(endpoints[rng.usize(..endpoints.len())]);
    let put = |e: Endpoint| vec![ConfigChange::Endpoint(Endpoint { updated_at: now, ..e })];
    let switched = |status| put(Endpoint { status, ..endpoint.clone() });
    match rng.u8(..16) {
        0..=2 => switched(EndpointStatus::Paused { at: now }),
        3 => {
            let reason = ErrorCode::EndpointGone;
            switched(EndpointStatus::Disabled { reason, at: now })
        }
        4..=7 => {
            let idle = endpoints.iter().find(|e| e.status != EndpointStatus::Active);
            let idle = idle.map_or(endpoint.clone(), |e| Endpoint::clone(e));
            put(Endpoint { status: EndpointStatus::Active, ..idle })
        }
        8 | 9 => {
            let interval = Duration::from_millis(rng.u64(20..2_000));
            let rate_limit = rng.bool().then_some(RateLimit { interval, burst: 1 });
            put(Endpoint { rate_limit, ..endpoint })
        }
        10 => {
            let concurrency = draw(rng, &[None, Some(1), Some(3)]);
            put(Endpoint { concurrency, ..endpoint })
        }
        11 | 12 => vec![ConfigChange::Subscription(subscription(rng, id, &endpoint, now))],
        13 | 14 if subscriptions.len() > 1 => {
            vec![deleted(subscriptions[rng.usize(..subscriptions.len())], now)]
        }
        15 if endpoints.len() > 1 => {
            let deleted = if rng.bool() { Deletion::Kept(now) } else { Deletion::Erased { erased_at: now } };
            put(Endpoint { deleted: Some(deleted), ..endpoint })
        }
        _ => Vec::new(),
    }
}

fn deleted(gone: &Subscription, now: Timestamp) -> ConfigChange {
    ConfigChange::Subscription(Subscription { deleted_at: Some(now), updated_at: now, ..gone.clone() })
}

/// A subscription to which something is being sent.
fn busy(world: &World) -> Option<SubscriptionId> {
    let under_way = world.state().exchanges.iter().rev().find(|e| e.result.is_none())?.delivery;
    let dump = world.store.dump();
    dump.deliveries.iter().find(|d| d.id == under_way).map(|d| d.subscription)
}

/// Another process puts a subscription into the store.
async fn behind_its_back(world: &World, engine: &Engine, rng: &mut fastrand::Rng) {
    let routes = engine.routes();
    let endpoints: Vec<_> = routes.endpoints().collect();
    if endpoints.is_empty() {
        return;
    }
    let endpoint = endpoints[rng.usize(..endpoints.len())];
    let id = SubscriptionId::new(engine.new_id());
    let put = ConfigChange::Subscription(subscription(rng, id, endpoint, engine.now()));
    let changes = vec![put];
    world.note(format_args!("behind its back: {}", told(&changes)));
    // The model never fails, and nobody comes in between. What this engine knows may be old where there are others.
    if let Ok(stored) = world.store.configuration().await
        && stored.endpoints.iter().any(|there| there.id == endpoint.id && there.deleted.is_none())
    {
        _ = world.store.configure(stored.version, changes).await;
    }
}

/// Before the end most of what is paused or disabled is put in order.
pub(crate) async fn revive(world: &World, engine: &Engine) {
    let seed = world.state().rng.u64(..);
    edit(world, engine, |routes, now, _| {
        let mut rng = fastrand::Rng::with_seed(seed);
        let idle = routes.endpoints().filter(|e| e.status != EndpointStatus::Active);
        let put =
            |e: &Arc<Endpoint>| ConfigChange::Endpoint(Endpoint { status: EndpointStatus::Active, updated_at: now, ..Endpoint::clone(e) });
        idle.filter(|_| rng.u8(..10) < 7).map(put).collect()
    })
    .await;
}
