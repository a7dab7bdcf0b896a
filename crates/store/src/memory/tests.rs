//! What only the model promises: incarnations that live side by side, and dumps. What every store promises is in `conformance`.

use super::MemoryStore;
use crate::conformance::{Fixtures, block_on};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::id::DeliveryId;
use postrider_core::ports::*;

/// A store with one event of one claimed and one unclaimed delivery.
fn with_two_deliveries(make: &mut Fixtures) -> (MemoryStore, NewEvent) {
    let store = MemoryStore::new();
    let mut event = make.event(2);
    event.deliveries[0].claimed = true;
    block_on(store.publish(vec![event.clone()])).expect("publish");
    (store, event)
}

fn success(event: &NewEvent) -> Settlement {
    Settlement {
        delivery: event.deliveries[0].id,
        namespace: event.namespace.clone(),
        subscription: event.deliveries[0].subscription,
        from: StateKind::Pending,
        progress: Progress { state: State::Succeeded, attempts: 1, spent: 1, expires_at: None },
        attempt: None,
        attempt_recorded: false,
        keep_claim: false,
        dead_letter: None,
        follow_up: None,
    }
}

fn settle(store: &MemoryStore, event: &NewEvent) -> Vec<Settled> {
    block_on(store.settle([success(event)].into())).expect("settle")
}

fn rescue(store: &MemoryStore) -> Vec<DeliveryId> {
    let rescued = block_on(store.rescue(10)).expect("rescue");
    rescued.into_iter().map(|claimed| claimed.delivery.id).collect()
}

#[test]
fn an_engine_that_was_replaced_is_fenced() {
    let mut make = Fixtures::new(1);
    let (old, event) = with_two_deliveries(&mut make);
    let new = old.new_incarnation();
    assert_eq!((old.incarnation(), new.incarnation()), (1, 2));
    assert_eq!(rescue(&new), [event.deliveries[0].id]);
    assert_eq!(settle(&old, &event), [Settled::Fenced], "what it claimed is another's now");
    assert!(rescue(&old).is_empty(), "the dead never rescue from the living");
    assert_eq!(settle(&new, &event), [Settled::Stored]);
}

#[test]
fn a_clone_is_the_same_engine() {
    let mut make = Fixtures::new(1);
    let (store, event) = with_two_deliveries(&mut make);
    let clone = store.clone();
    assert!(rescue(&clone).is_empty());
    assert_eq!(settle(&clone, &event), [Settled::Stored]);
    assert_eq!(settle(&store, &event), [Settled::Fenced], "it has succeeded already");
}

#[test]
fn a_verb_does_nothing_until_it_is_polled() {
    let mut make = Fixtures::new(1);
    let store = MemoryStore::new();
    let event = make.event(0);
    let id = event.id;
    drop(store.publish(vec![event]));
    assert!(block_on(store.event(id)).expect("event").is_none());
}

#[test]
fn a_dump_shows_everything_in_order() {
    let mut make = Fixtures::new(1);
    let (store, event) = with_two_deliveries(&mut make);
    let subscription = event.deliveries[0].subscription;
    let row = make.scheduled(subscription, make.now());
    block_on(store.schedule(vec![row.clone()])).expect("schedule");
    let dump = store.dump();
    assert_eq!(dump.events.iter().map(|event| event.id).collect::<Vec<_>>(), [event.id]);
    let deliveries: Vec<DeliveryId> = dump.deliveries.iter().map(|delivery| delivery.id).collect();
    assert_eq!(deliveries, event.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>());
    assert_eq!(dump.claims, [(event.deliveries[0].id, 1)].into());
    assert_eq!(dump.scheduled, [row]);
    assert_eq!(dump.counters[&subscription].deliveries[StateKind::Pending as usize], 1);
    assert_eq!(store.new_incarnation().dump(), dump, "a restart changes nothing that is stored");
    settle(&store, &event);
    assert!(store.dump().claims.is_empty());
}
