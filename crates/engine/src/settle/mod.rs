//! Outcomes on their way into the store.
//!
//! One task stores them in the order in which they came, everything that waits in one piece. What follows from an outcome (a retry, room
//! for another delivery) follows only after it has been stored.

mod entry;

pub(crate) use entry::{After, Entry};

use crate::dispatch::InFlight;
use crate::job::Job;
use crate::shared::Shared;
use parking_lot::Mutex;
use postrider_core::ports::{Settled, Settlement};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::sync::Notify;

/// Settlements stored in one piece.
const GROUP: usize = 1_024;

/// How long to wait before storing again what could not be stored: doubled each time, from the first to the second.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(2));

/// The outcomes that wait to be stored.
pub(crate) struct Settler {
    waiting: Mutex<VecDeque<Entry>>,
    /// Waiting and being stored.
    unsettled: AtomicUsize,
    limit: usize,
    wake: Notify,
    drained: Notify,
}

impl Settler {
    pub(crate) fn new(limit: usize) -> Self {
        Settler { waiting: Mutex::default(), unsettled: AtomicUsize::new(0), limit, wake: Notify::new(), drained: Notify::new() }
    }

    /// Whether another exchange may begin: its outcome must find room.
    pub(crate) fn has_room(&self) -> bool {
        self.unsettled.load(Ordering::Relaxed) < self.limit
    }

    /// Outcomes that are not stored yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.unsettled.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, entry: Entry) {
        self.extend(std::iter::once(entry));
    }

    /// Deliveries go back to the store as they are.
    pub(crate) fn push_back(&self, jobs: Vec<Job>) {
        self.extend(jobs.into_iter().map(Entry::back));
    }

    /// An exchange takes its time: it is recorded as under way. Answers whether it was.
    pub(crate) fn push_started(&self, shared: &Shared, flight: &InFlight) -> bool {
        let started = Entry::started(shared, flight);
        let recorded = started.is_some();
        self.extend(started.into_iter());
        recorded
    }

    pub(crate) fn extend(&self, entries: impl Iterator<Item = Entry>) {
        let mut waiting = self.waiting.lock();
        let before = waiting.len();
        waiting.extend(entries);
        let added = waiting.len() - before;
        self.unsettled.fetch_add(added, Ordering::Relaxed);
        drop(waiting);
        if before == 0 && added > 0 {
            self.wake.notify_one();
        }
    }

    /// Waits until everything that was handed in is stored.
    pub(crate) async fn flushed(&self) {
        loop {
            let drained = self.drained.notified();
            if self.unsettled() == 0 {
                return;
            }
            drained.await;
        }
    }

    async fn take(&self) -> VecDeque<Entry> {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if waiting.len() > GROUP {
                    // What stays behind must not wait for a push that finds the queue empty.
                    self.wake.notify_one();
                    return waiting.drain(..GROUP).collect();
                }
                if !waiting.is_empty() {
                    return std::mem::take(&mut *waiting);
                }
            }
            self.wake.notified().await;
        }
    }

    fn done(&self, stored: usize) {
        if self.unsettled.fetch_sub(stored, Ordering::Relaxed) == stored {
            self.drained.notify_waiters();
        }
    }
}

/// Stores outcomes for as long as the engine lives.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let entries = shared.settler.take().await;
        let stored = entries.len();
        let (settlements, afters): (Vec<_>, Vec<_>) = entries.into_iter().map(|e| (e.settlement, e.after)).unzip();
        let results = store(&shared, settlements.into()).await;
        let afters = afters.into_iter().zip(results).map(|(after, settled)| after.given(settled));
        // Room first: what goes off next may look at it.
        shared.settler.done(stored);
        shared.dispatcher.settled(&shared, afters);
    }
}

/// Stores until it is stored. Outcomes are never dropped: while the store cannot take them, no new exchange begins.
async fn store(shared: &Shared, settlements: Arc<[Settlement]>) -> Vec<Settled> {
    let mut wait = BACKOFF.0;
    loop {
        match shared.store.settle(Arc::clone(&settlements)).await {
            Ok(results) => return results,
            Err(error) => {
                tracing::error!(%error, cause = error.cause, outcomes = settlements.len(), "outcomes could not be stored: trying again");
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(BACKOFF.1);
            }
        }
    }
}
