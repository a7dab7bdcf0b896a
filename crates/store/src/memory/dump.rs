//! Everything that is stored, for checkers.

use postrider_core::attempt::Attempt;
use postrider_core::deadletter::DeadLetter;
use postrider_core::delivery::Delivery;
use postrider_core::event::{Event, Skipped};
use postrider_core::id::*;
use postrider_core::ports::{Counters, Job};
use postrider_core::schedule::Scheduled;
use std::collections::BTreeMap;
use std::sync::Arc;

/// Everything in a [`MemoryStore`](super::MemoryStore) at one moment, for checkers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Dump {
    /// Events by number.
    pub events: Vec<Arc<Event>>,
    /// What was skipped, by event; events that skipped nothing are not in here.
    pub skipped: BTreeMap<EventSeq, Vec<Skipped>>,
    /// Where unfinished fan-outs go on, by event.
    pub unfinished_fan_outs: BTreeMap<EventSeq, SubscriptionId>,
    /// Deliveries by id.
    pub deliveries: Vec<Delivery>,
    /// The incarnation that claims a delivery; unclaimed deliveries are not in here.
    pub claims: BTreeMap<DeliveryId, u64>,
    /// Attempts by delivery and number.
    pub attempts: Vec<Attempt>,
    /// Dead letters by id, whatever their status.
    pub dead_letters: Vec<DeadLetter>,
    /// Scheduled occurrences by id, whatever their status.
    pub scheduled: Vec<Scheduled>,
    /// Jobs by id, whatever their state.
    pub jobs: Vec<Job>,
    /// Counters by subscription, as they were kept.
    pub counters: BTreeMap<SubscriptionId, Counters>,
}
