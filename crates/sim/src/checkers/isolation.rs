//! Promise 3: one slow or dead endpoint delays nobody else.

use super::Whole;
use crate::Checker::Isolation;
use crate::world::World;
use postrider_core::delivery::Delivery;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// What a healthy receiver's delivery may take besides its own queue: less than any deadline of the others.
const BOUND: Duration = Duration::from_secs(2);

/// In plans where some receivers are sick for ever, the healthy ones get everything in the time that their own queue takes.
pub(super) fn check(world: &World, whole: &Whole) {
    let Some(healthy) = &world.plan.healthy else { return };
    let mut crowd: BTreeMap<_, u32> = BTreeMap::new();
    for delivery in whole.deliveries.values() {
        *crowd.entry(delivery.endpoint).or_default() += 1;
    }
    // A refill, an exchange and a settlement for each, one after the other: the slowest way that is still its own.
    let store = Duration::from_millis(world.plan.store_latency.to);
    for number in healthy {
        let endpoint = &world.plan.endpoints[*number];
        let latency = Duration::from_millis(world.plan.receivers[*number].latency.to);
        let queue = crowd.get(&endpoint.id).copied().unwrap_or(0);
        let bound = BOUND + (latency + store * 4) * queue;
        for delivery in whole.deliveries.values().filter(|d| d.endpoint == endpoint.id) {
            let received = whole.exchanges_of(delivery.id).find_map(|e| e.received);
            let took = received.map(|at| at.since(began(whole, delivery)));
            if took.is_none_or(|took| took > bound) {
                let what = format!("{} to the healthy receiver {number} arrived after {took:?}, {bound:?} are allowed", delivery.id);
                world.violated(Isolation, what);
                return;
            }
        }
    }
}

/// When somebody began to wait for it: when the event came, of which it may be in a later slice, or was made again.
fn began(whole: &Whole, delivery: &Delivery) -> Timestamp {
    let first = whole.deliveries_of(delivery.event).find(|other| other.subscription == delivery.subscription);
    let event = whole.events.get(&delivery.event).filter(|_| first.is_some_and(|first| first.id == delivery.id));
    event.map_or(delivery.created_at, |event| event.created_at)
}
