//! What only the model promises: incarnations that live side by side, and dumps. What every store promises is in `conformance`.

use super::MemoryStore;
use crate::conformance::{Fixtures, block_on};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::id::DeliveryId;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

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

/// Two engines that share a store, of which the first has asked for slots.
fn surveyed(store: &MemoryStore) -> (MemoryStore, MemoryStore) {
    let engines = (store.new_incarnation(), store.new_incarnation());
    let first = block_on(engines.0.survey(SlotSet::default())).expect("survey");
    assert_eq!((first.owned, first.to_leave), (SlotSet::ALL, SlotSet::default()), "nothing falls to one that has not asked yet");
    engines
}

#[test]
fn slots_fall_to_an_engine_once_it_has_asked_for_some() {
    let (first, second) = surveyed(&MemoryStore::new().shared());
    let survey = |engine: &MemoryStore| block_on(engine.survey(SlotSet::default())).expect("survey");
    assert!(survey(&second).owned.is_empty(), "they are the first one's until that has left them");
    let slots = survey(&first).to_leave;
    assert!(!slots.is_empty() && slots != SlotSet::ALL);
    block_on(first.leave_slots(Leaving { slots, ..Leaving::default() })).expect("leave_slots");
    assert_eq!((survey(&second).owned, survey(&first).to_leave), (slots, SlotSet::default()));
}

#[test]
fn a_request_that_a_living_engine_is_doing_is_nobody_elses() {
    let store = MemoryStore::new().shared();
    let (first, second) = surveyed(&store);
    let key = RequestKey { owner: "owner".into(), scope: "POST /".into(), key: "key".into() };
    let request =
        |n: u128| NewRequest { key: key.clone(), fingerprint: [1; 32], seed: uuid::Uuid::from_u128(n), at: Timestamp::from_secs(1) };
    let begin = |engine: &MemoryStore, n| block_on(engine.begin_request(request(n))).expect("begin_request");
    let seed = request(1).seed;
    assert_eq!(begin(&first, 1), Begun::New { seed, again: false });
    assert_eq!(begin(&second, 2), Begun::Running);
    block_on(second.end_request(key.clone(), None)).expect("end_request");
    assert_eq!(begin(&second, 2), Begun::Running, "it was not its own to end");
    store.end(first.incarnation());
    assert_eq!(begin(&second, 2), Begun::New { seed, again: true });
}
