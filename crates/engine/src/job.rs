//! A delivery in memory.

use postrider_core::delivery::{Delivery, StateKind};
use postrider_core::event::Event;
use postrider_core::ports::Claimed;
use std::sync::Arc;

/// What a delivery in memory costs besides its payload, in bytes: the job, its place in a queue and its share of the event.
const OVERHEAD: usize = 512;

/// A delivery that this engine has claimed.
#[derive(Clone, Debug)]
pub(crate) struct Job {
    pub(crate) delivery: Delivery,
    pub(crate) event: Arc<Event>,
    /// The state that the store has; the next settlement starts from it.
    pub(crate) stored: StateKind,
}

impl Job {
    /// What it counts against the bounds. Deliveries of one event share its payload, yet each counts it: the bound errs on the safe side.
    pub(crate) fn cost(&self) -> usize {
        cost(self.event.payload.len())
    }
}

/// What a delivery with a payload of this size counts against the bounds.
pub(crate) fn cost(payload: usize) -> usize {
    payload + OVERHEAD
}

impl From<Claimed> for Job {
    fn from(claimed: Claimed) -> Self {
        Job { stored: claimed.delivery.progress.state.kind(), delivery: claimed.delivery, event: claimed.event }
    }
}
