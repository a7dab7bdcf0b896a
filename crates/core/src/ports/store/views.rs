//! What the reads answer.

use crate::attempt::Attempt;
use crate::deadletter::DeadLetter;
use crate::delivery::{Delivery, StateKind};
use crate::event::{Event, Skipped};
use std::sync::Arc;

/// A delivery with its story.
#[derive(Clone, Debug)]
pub struct DeliveryView {
    /// The delivery.
    pub delivery: Delivery,
    /// Its event.
    pub event: Arc<Event>,
    /// Its attempts, ascending by number, as far as retention left them.
    pub attempts: Vec<Attempt>,
}

/// An event with what came of it.
#[derive(Clone, Debug)]
pub struct EventView {
    /// The event.
    pub event: Arc<Event>,
    /// Its deliveries, oldest first.
    pub deliveries: Vec<Delivery>,
    /// Matching subscriptions that got no delivery.
    pub skipped: Vec<Skipped>,
    /// Whether a slice of its fan-out is still to come.
    pub fan_out_pending: bool,
}

/// An attempt with the state of its delivery.
#[derive(Clone, Debug)]
pub struct AttemptView {
    /// The attempt.
    pub attempt: Attempt,
    /// How its delivery stands now.
    pub state: StateKind,
}

/// A dead letter with what it is about.
#[derive(Clone, Debug)]
pub struct DeadLetterView {
    /// The dead letter.
    pub dead_letter: DeadLetter,
    /// The delivery that ended.
    pub delivery: Delivery,
    /// Its event.
    pub event: Arc<Event>,
}

/// Counters of a subscription.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Deliveries by [`StateKind`] number.
    pub deliveries: [u64; 7],
    /// Attempts that ended in success.
    pub attempts_succeeded: u64,
    /// Attempts that ended otherwise.
    pub attempts_failed: u64,
    /// Open dead letters.
    pub dead_letters: u64,
}
