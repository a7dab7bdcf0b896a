//! The events that wait to be stored, and in which groups they are.

use super::{Handover, PublishError, Receipt};
use crate::config::Limits;
use parking_lot::{Mutex, MutexGuard};
use postrider_core::ports::NewEvent;
use std::collections::{BTreeMap, VecDeque};
use tokio::sync::{Notify, oneshot};

/// Events and deliveries in one group: what the store writes in one piece while everybody else waits.
const GROUP: usize = 4_096;

/// What an event costs in memory besides its bytes, and each of its deliveries: they are in memory twice while they are stored.
const EVENT_OVERHEAD: usize = 512;
const DELIVERY_OVERHEAD: usize = 160;

/// An event on its way into the store, and who waits for that.
pub(super) struct Pending {
    pub(super) new: NewEvent,
    pub(super) handover: Handover,
    pub(super) reply: oneshot::Sender<Result<Receipt, PublishError>>,
    /// The next one belongs to the same batch: both are stored in one piece.
    pub(super) with_next: bool,
}

#[derive(Default)]
struct Gathering {
    pending: VecDeque<Pending>,
    /// Events and bytes that wait or are being stored.
    events: usize,
    bytes: usize,
    /// Nothing is taken any more.
    closed: bool,
}

impl Pending {
    /// What it counts against the bound of bytes.
    pub(super) fn cost(&self) -> usize {
        let text = |map: &BTreeMap<String, String>| map.iter().map(|(name, value)| name.len() + value.len() + 128).sum::<usize>();
        let texts = text(&self.new.labels) + text(&self.new.metadata);
        self.new.payload.len() + 2 * texts + EVENT_OVERHEAD + DELIVERY_OVERHEAD * self.new.deliveries.len()
    }

    /// What it counts against the size of a group.
    fn weight(&self) -> usize {
        1 + self.new.deliveries.len()
    }
}

impl Gathering {
    fn is_full(&self, bytes: usize, limits: &Limits) -> bool {
        // One event, or one batch, goes always, however large it is.
        self.events >= limits.publishing || (self.events > 0 && self.bytes + bytes > limits.publishing_bytes)
    }

    fn refuses(&self, bytes: usize, limits: &Limits) -> Option<PublishError> {
        if self.closed {
            return Some(PublishError::Stopping);
        }
        self.is_full(bytes, limits).then_some(PublishError::Busy)
    }

    fn add(&mut self, pending: Pending, bytes: usize) {
        self.events += 1;
        self.bytes += bytes;
        self.pending.push_back(pending);
    }

    /// Takes as much as the store should write in one piece, at least one event, and a batch whole.
    fn group(&mut self) -> Vec<Pending> {
        let mut weight = 0;
        let mut count = 0;
        for (at, pending) in self.pending.iter().enumerate() {
            weight += pending.weight();
            if weight > GROUP && count > 0 {
                break;
            }
            if !pending.with_next {
                count = at + 1;
            }
        }
        self.pending.drain(..count).collect()
    }
}

/// The events that wait to be stored.
pub(crate) struct Publisher {
    gathering: Mutex<Gathering>,
    wake: Notify,
    idle: Notify,
    limits: Limits,
}

impl Publisher {
    pub(crate) fn new(limits: Limits) -> Self {
        Publisher { gathering: Mutex::default(), wake: Notify::new(), idle: Notify::new(), limits }
    }

    /// Whether there is no room for so many bytes at the moment.
    pub(super) fn is_full(&self, bytes: usize) -> bool {
        self.gathering.lock().is_full(bytes, &self.limits)
    }

    /// Answers the event back if it is not taken, and why.
    pub(super) fn push(&self, pending: Pending) -> Result<(), (Box<Pending>, PublishError)> {
        let bytes = pending.cost();
        let mut gathering = self.gathering.lock();
        match gathering.refuses(bytes, &self.limits) {
            Some(why) => return Err((Box::new(pending), why)),
            None => gathering.add(pending, bytes),
        }
        self.pushed(gathering, 1);
        Ok(())
    }

    /// Takes all of them, next to each other, or answers them back.
    pub(super) fn push_all(&self, batch: Vec<Pending>) -> Result<(), (Vec<Pending>, PublishError)> {
        let bytes = batch.iter().map(Pending::cost).sum();
        let mut gathering = self.gathering.lock();
        if let Some(why) = gathering.refuses(bytes, &self.limits) {
            return Err((batch, why));
        }
        let count = batch.len();
        for pending in batch {
            let bytes = pending.cost();
            gathering.add(pending, bytes);
        }
        self.pushed(gathering, count);
        Ok(())
    }

    fn pushed(&self, gathering: MutexGuard<'_, Gathering>, count: usize) {
        let first = gathering.pending.len() == count;
        drop(gathering);
        // Whoever takes the first one takes all: waking another for each would only make small groups.
        if first {
            self.wake.notify_one();
        }
    }

    /// `None` once it is closed and there is nothing left.
    pub(super) async fn take(&self) -> Option<Vec<Pending>> {
        loop {
            // Before it is looked: so that closing is not overlooked.
            let woken = self.wake.notified();
            {
                let mut gathering = self.gathering.lock();
                if !gathering.pending.is_empty() {
                    let group = gathering.group();
                    if !gathering.pending.is_empty() {
                        self.wake.notify_one();
                    }
                    return Some(group);
                }
                if gathering.closed {
                    return None;
                }
            }
            woken.await;
        }
    }

    pub(super) fn done(&self, events: usize, bytes: usize) {
        let mut gathering = self.gathering.lock();
        gathering.events -= events;
        gathering.bytes -= bytes;
        if gathering.events == 0 {
            self.idle.notify_waiters();
        }
    }

    /// Takes nothing more; answers what no group has taken yet. Groups under way go on.
    pub(super) fn close(&self) -> VecDeque<Pending> {
        let left = {
            let mut gathering = self.gathering.lock();
            gathering.closed = true;
            std::mem::take(&mut gathering.pending)
        };
        self.wake.notify_waiters();
        self.done(left.len(), left.iter().map(Pending::cost).sum());
        left
    }

    /// Waits until nothing is being published any more.
    pub(crate) async fn drained(&self) {
        loop {
            let idle = self.idle.notified();
            if self.gathering.lock().events == 0 {
                return;
            }
            idle.await;
        }
    }
}
