//! What the reads answer.

use crate::attempt::Attempt;
use crate::deadletter::DeadLetter;
use crate::delivery::{Delivery, StateKind};
use crate::event::{Event, Skipped};
use crate::id::{AttemptId, DeadLetterId, ScheduledId};
use crate::time::Timestamp;
use std::cmp::{Ordering, Reverse};
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
    /// The attempt after which the delivery ended; `None` where there was none or retention took it.
    pub last_attempt: Option<AttemptId>,
    /// The delivery that ended.
    pub delivery: Delivery,
    /// Its event.
    pub event: Arc<Event>,
}

/// How much of a list to read, and from where.
#[derive(Clone, Copy, Debug)]
pub struct PageRequest<P> {
    /// Only what comes after this place, whether or not it is still taken; `None` begins at the top.
    pub after: Option<P>,
    /// At most this many items.
    pub limit: u32,
    /// Stop once the payloads sum up to this, in bytes; at least one item comes all the same.
    pub max_bytes: u64,
}

impl<P> PageRequest<P> {
    /// The first items, however large they are.
    pub fn first(limit: u32) -> Self {
        PageRequest { after: None, limit, max_bytes: u64::MAX }
    }

    /// Whether a page with so many items and so many bytes of payload takes no more.
    pub fn is_full(&self, items: usize, bytes: u64) -> bool {
        items >= self.limit as usize || (items > 0 && bytes >= self.max_bytes)
    }
}

/// A piece of a list.
#[derive(Clone, Debug)]
pub struct Page<T, P> {
    /// The items in the order of the list.
    pub items: Vec<T>,
    /// The place of the last one, where more follow.
    pub next: Option<P>,
}

/// A dead letter's place in the list of its subscription. The order is that of the list: the newest first, of one instant the greater id.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetterPlace {
    /// When its delivery ended.
    pub failed_at: Timestamp,
    /// Its id.
    pub id: DeadLetterId,
}

impl Ord for DeadLetterPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        (other.failed_at, other.id).cmp(&(self.failed_at, self.id))
    }
}

impl PartialOrd for DeadLetterPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// An occurrence's place in the list of scheduled webhooks. The order is that of the list: what is still to come by due time, then what
/// ended, latest due time first. So what can still be changed is never behind what cannot, however much of that there is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ScheduledPlace {
    /// Whether it has ended.
    pub ended: bool,
    /// When it is or was due.
    pub due_at: Timestamp,
    /// Its id.
    pub id: ScheduledId,
}

impl Ord for ScheduledPlace {
    fn cmp(&self, other: &Self) -> Ordering {
        let (ours, theirs) = ((self.due_at, self.id), (other.due_at, other.id));
        match (self.ended, other.ended) {
            (true, true) => Reverse(ours).cmp(&Reverse(theirs)),
            (false, false) => ours.cmp(&theirs),
            (ours, theirs) => ours.cmp(&theirs),
        }
    }
}

impl PartialOrd for ScheduledPlace {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

/// How much room a store takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Usage {
    /// What is stored, with indexes, in bytes. What retention removes is not counted any more, although files do not become smaller by it.
    pub used_bytes: u64,
    /// How much that may be, in bytes, where there is a limit. New work is refused a little before that.
    pub budget_bytes: Option<u64>,
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
