//! One life of the engine: a runtime of its own with paused time, an engine on what the last life left, people, and an end.

use crate::network::FakeTransport;
use crate::people;
use crate::process::Process;
use crate::rest;
use crate::scenario::{End, Life};
use crate::store::FaultyStore;
use crate::world::{UNREST, World};
use postrider_core::ports::{ConfigChange, Configured, Store};
use postrider_core::seal::KeyRing;
use postrider_engine::{Engine, EngineConfig, Keys};
use std::sync::Arc;
use std::time::Duration;

/// Everything that is asked of a life in which all must come to rest must be over by then.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 3_600);

/// Puts the plan's configuration into the store, as an installation finds it.
pub(crate) fn install(world: &World) {
    let endpoints = world.plan.endpoints.iter().cloned();
    let subscriptions = world.plan.subscriptions.iter().cloned();
    let changes = endpoints.map(ConfigChange::Endpoint).chain(subscriptions.map(ConfigChange::Subscription));
    let changes = changes.collect();
    let configured = runtime().block_on(async { world.store.configure(0, changes).await.expect("the model never fails") });
    assert!(matches!(configured, Configured::Stored { .. }), "an empty store is of version 0");
}

/// Lives one life to its end.
pub(crate) fn live(world: &Arc<World>, life: &Life) {
    let runtime = runtime();
    let clean = runtime.block_on(async {
        let crash_at = match life.end {
            End::CrashAtStep(step, _) => Some(step),
            _ => None,
        };
        let clock = world.begin();
        let process = Process::begin(world, crash_at);
        let clean = tokio::select! {
            biased;
            () = process.died() => false,
            clean = lived(&process, life, clock) => clean,
        };
        process.over();
        world.end();
        clean
    });
    // Whatever is still under way is gone with its runtime, as with a process.
    drop(runtime);
    world.bury(clean, life);
}

/// A runtime of its own, in paused time.
pub(crate) fn runtime() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().start_paused(true);
    builder.build().expect("a runtime without I/O needs nothing that could be missing")
}

/// Answers whether the engine could put everything in order before its end.
async fn lived(process: &Process, life: &Life, clock: crate::clock::FakeClock) -> bool {
    let began = tokio::time::Instant::now();
    let store = Arc::new(FaultyStore::new(process));
    let incarnation = store.incarnation();
    let transport = Arc::new(FakeTransport::new(process));
    let started = Engine::start(config(process), store, transport, Arc::new(clock)).await;
    let engine = match started {
        Ok(engine) => engine,
        Err(error) => {
            // The process ends with a message, and its supervisor starts it again.
            process.note(format_args!("cannot start: {}", error.kind));
            return false;
        }
    };
    process.watch(engine.clone());
    let mut everybody = people::employ(process, &engine);
    match life.end {
        End::CrashAtStep(_, after) | End::CrashAfter(after) => {
            tokio::time::sleep(after).await;
            process.kill();
            std::future::pending().await
        }
        End::Shutdown(after, within) => {
            tokio::time::sleep(after).await;
            shut_down(process, &engine, within).await
        }
        End::Rest => {
            while everybody.join_next().await.is_some() {}
            tokio::time::sleep_until(began + UNREST).await;
            people::revive(process, &engine).await;
            comes_to_rest(process, &[(incarnation, engine.clone())]).await;
            let clean = shut_down(process, &engine, Duration::from_secs(60)).await;
            ended(process, clean);
            clean
        }
    }
}

/// Waits until everything rests; the engines are those that live, each with the number that its claims carry.
pub(crate) async fn comes_to_rest(world: &World, engines: &[(u64, Engine)]) {
    let rested = tokio::time::timeout(PATIENCE, rest::rested(world, engines)).await;
    if rested.is_err() {
        let what = "there is no end".to_owned();
        world.violated(crate::Checker::NoForgottenDelivery, what);
    }
}

/// After the last shutdown, at rest and without any trouble.
pub(crate) fn ended(world: &World, clean: bool) {
    if clean {
        rest::given_back(world);
    } else {
        let what = "a shutdown without any trouble left outcomes unstored".to_owned();
        world.violated(crate::Checker::NoForgottenDelivery, what);
    }
}

pub(crate) async fn shut_down(world: &World, engine: &Engine, within: Duration) -> bool {
    world.note(format_args!("shutdown within {within:?}"));
    let report = engine.shutdown(within).await;
    let clean = engine.stats().unsettled == 0;
    world.note(format_args!("shut down: {report:?}, clean: {clean}"));
    clean
}

/// The keys that secrets are sealed under in every life.
pub(crate) fn key_ring() -> KeyRing {
    KeyRing::parse(&"5e".repeat(32)).expect("a right key")
}

pub(crate) fn config(world: &World) -> EngineConfig {
    EngineConfig {
        seed: world.state().rng.u64(..),
        keys: Arc::new(Keys::fixed(key_ring())),
        limits: world.plan.limits,
        retention: world.plan.retention,
        disable_after_dead: None,
        user_agent: "postrider-sim".to_owned(),
    }
}
