//! The engine's tasks, by when they end.

use crate::shared::Shared;
use crate::{batches, cluster, fan_out, health, jobs, lapse, maintain, outbox, refill, retain, retired, rotation, schedule, series};
use parking_lot::Mutex;
use std::sync::Arc;
use tokio::task::JoinSet;

/// The engine's tasks.
#[derive(Default)]
pub(crate) struct Tasks {
    /// They end when the publisher is closed.
    pub(crate) publishers: Mutex<JoinSet<()>>,
    /// What brings deliveries into memory, and fires and gives up: they end when the engine is stopped, each with its work in hand done.
    pub(crate) claiming: Mutex<JoinSet<()>>,
    /// The others run until they are ended.
    pub(crate) upkeep: Mutex<JoinSet<()>>,
}

impl Tasks {
    /// Starts what runs in every engine.
    pub(crate) fn spawn(&self, shared: &Arc<Shared>) {
        let mut claiming = self.claiming.lock();
        claiming.spawn(refill::run(Arc::clone(shared)));
        claiming.spawn(fan_out::run(Arc::clone(shared)));
        claiming.spawn(schedule::run(Arc::clone(shared)));
        claiming.spawn(maintain::give_up(Arc::clone(shared)));
        claiming.spawn(maintain::expire(Arc::clone(shared)));
        claiming.spawn(jobs::run(Arc::clone(shared)));
        claiming.spawn(batches::run(Arc::clone(shared)));
        let mut upkeep = self.upkeep.lock();
        upkeep.spawn(maintain::timers(Arc::clone(shared)));
        upkeep.spawn(maintain::configuration(Arc::clone(shared)));
        upkeep.spawn(maintain::disable(Arc::clone(shared)));
        upkeep.spawn(retain::run(Arc::clone(shared)));
        upkeep.spawn(health::run(Arc::clone(shared)));
        upkeep.spawn(series::run(Arc::clone(shared)));
        upkeep.spawn(series::watch(Arc::clone(shared)));
        upkeep.spawn(retired::run(Arc::clone(shared)));
        upkeep.spawn(rotation::run(Arc::clone(shared)));
        upkeep.spawn(maintain::sweep(Arc::clone(shared)));
    }

    /// Starts what an engine has to do besides that shares its store with others.
    pub(crate) fn spawn_shared(&self, shared: &Arc<Shared>) {
        let mut claiming = self.claiming.lock();
        claiming.spawn(cluster::rescue(Arc::clone(shared)));
        claiming.spawn(outbox::run(Arc::clone(shared)));
        let mut upkeep = self.upkeep.lock();
        upkeep.spawn(cluster::run(Arc::clone(shared)));
        upkeep.spawn(cluster::watch(Arc::clone(shared)));
        upkeep.spawn(cluster::hear(Arc::clone(shared)));
        upkeep.spawn(cluster::tell(Arc::clone(shared)));
        upkeep.spawn(lapse::watch(Arc::clone(shared)));
    }
}

/// Waits until all of these have ended.
pub(crate) async fn ended(tasks: &Mutex<JoinSet<()>>) {
    std::future::poll_fn(|cx| {
        while std::task::ready!(tasks.lock().poll_join_next(cx)).is_some() {}
        std::task::Poll::Ready(())
    })
    .await;
}
