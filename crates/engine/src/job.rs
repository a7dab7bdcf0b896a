//! A delivery in memory.

use postrider_core::delivery::{Delivery, StateKind, Step, transition};
use postrider_core::event::Event;
use postrider_core::ports::Claimed;
use postrider_core::time::Timestamp;
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
    /// How many looks for configuration that others changed had begun once it was stored: a later one has seen whatever it leads to. [`NOT_NOTED`]
    /// where nobody asked.
    pub(crate) looks: u64,
}

/// No look is later.
pub(crate) const NOT_NOTED: u64 = u64::MAX;

impl Job {
    /// What it counts against the bounds. Deliveries of one event share its payload, yet each counts it: the bound errs on the safe side.
    pub(crate) fn cost(&self) -> usize {
        cost(self.event.payload.len())
    }

    /// Somebody does not want to wait for its next attempt: it is due by then.
    pub(crate) fn hasten(&mut self, at: Timestamp) {
        // One that is in memory waits, so that the step applies.
        if let Ok(progress) = transition(self.delivery.progress, Step::Hasten { at }) {
            self.delivery.progress = progress;
        }
    }
}

/// What a delivery with a payload of this size counts against the bounds.
pub(crate) fn cost(payload: usize) -> usize {
    payload + OVERHEAD
}

impl From<Claimed> for Job {
    fn from(claimed: Claimed) -> Self {
        let stored = claimed.delivery.progress.state.kind();
        Job { stored, delivery: claimed.delivery, event: claimed.event, looks: NOT_NOTED }
    }
}
