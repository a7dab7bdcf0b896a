//! What becomes of endpoints that are this engine's, somebody else's, or between the two.

use super::*;
use crate::config::Limits;
use crate::dispatch::queue::{Blocked, Pulse};
use crate::dispatch::state::Settings;
use crate::dispatch::timers::Timer;
use crate::dispatch::worker::{Ended, Turn};
use crate::testing::{BEGINNING, endpoint_id, job_for};
use postrider_core::id::{AttemptId, SubscriptionId};
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// One of several engines, with the slots of these endpoints.
fn state(owned: &[EndpointId]) -> State {
    let mut state = State::new(Limits::default());
    state.ownership = Ownership::shared();
    takes(&mut state, owned, Limiters::Full, &[]);
    state
}

fn takes(state: &mut State, endpoints: &[EndpointId], limiters: Limiters, busy: &[EndpointId]) {
    let slots: SlotSet = endpoints.iter().map(|endpoint| slot_of(*endpoint)).collect();
    let taken = slots.iter().map(|slot| TakenSlot { slot, limiters: limiters.clone() }).collect();
    state.own(taken, busy.iter().copied().collect(), BEGINNING);
}

fn leaves(state: &mut State, endpoint: EndpointId, now: Timestamp) -> Leaving {
    let slots: SlotSet = [slot_of(endpoint)].into_iter().collect();
    let (mut leaving, mut lanes) = (Leaving { slots, ..Leaving::default() }, Vec::new());
    let endpoints = state.stop_sending(&slots);
    state.give_up(&endpoints, now, &mut leaving, &mut lanes);
    let mut place = state.give_up_timers(&slots, None, 1);
    while place.is_some() {
        place = state.give_up_timers(&slots, place, 1);
    }
    state.forget_slots(&slots);
    leaving
}

/// Deliveries come into memory.
fn comes(state: &mut State, endpoint: EndpointId, count: u128) {
    for n in 0..count {
        let job = job_for(SubscriptionId::new(Uuid::nil()), endpoint, n);
        state.add(endpoint, job.cost());
        state.enqueue(job);
    }
}

fn next(state: &mut State, now: Timestamp) -> Option<Turn> {
    state.next(now, || AttemptId::new(Uuid::nil()))
}

fn ends(state: &mut State, turn: Turn, now: Timestamp) -> Option<Turn> {
    let pulse = Pulse::Good { slow: false };
    let ended = Ended { endpoint: turn.job.delivery.endpoint, slot: turn.slot, lane: None, slow: turn.slow, pulse };
    _ = state.slots.land(turn.slot);
    state.finish(ended, now, true, || AttemptId::new(Uuid::nil()))
}

fn limit(state: &mut State, endpoint: EndpointId, interval: Duration, burst: u32) {
    let settings = Settings { rate: Some(RateLimit { interval, burst }), ..Settings::default() };
    state.configure(endpoint, settings);
}

#[test]
fn what_is_somebody_elses_is_told_and_not_kept() {
    let (mine, theirs) = (endpoint_id(1), endpoint_id(2));
    let mut state = state(&[mine]);
    assert!(state.reserve(mine, 1, BEGINNING) && !state.reserve(theirs, 1, BEGINNING));
    assert!(state.keeps(mine, BEGINNING, BEGINNING) && !state.keeps(theirs, BEGINNING, BEGINNING));
    assert!(!state.ownership.has_to_tell());
    for endpoint in [mine, theirs, theirs] {
        state.note_stored(endpoint, BEGINNING);
    }
    let wants: Vec<EndpointId> = state.wanting(BEGINNING).iter().map(|want| want.endpoint).collect();
    assert_eq!(wants, [mine]);
    assert_eq!(state.ownership.take_untold(), ToTell { due: vec![theirs], more: false });
    assert!(!state.ownership.has_to_tell(), "it is told once");
    comes(&mut state, theirs, 1);
    assert_eq!(state.strays.len(), 1, "it goes back");
    assert!(next(&mut state, BEGINNING).is_none());
}

#[test]
fn where_there_is_too_much_to_tell_the_others_are_to_look_for_themselves() {
    let mut state = state(&[]);
    (0..5_000).for_each(|n| state.note_stored(endpoint_id(n), BEGINNING));
    let told = state.ownership.take_untold();
    assert_eq!((told.due.len(), told.more), (TOLD, true));
    assert!(state.queues.is_empty(), "nothing is kept of endpoints of others");
}

#[test]
fn what_waits_goes_back_when_its_slot_is_left_and_nothing_is_asked_for_any_more() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[endpoint]);
    comes(&mut state, endpoint, 3);
    let retry = job_for(SubscriptionId::new(Uuid::nil()), endpoint, 9);
    state.add(endpoint, retry.cost());
    state.timers.insert(BEGINNING.after(SECOND), Timer::Retry(Box::new(retry)));
    state.note_stored(endpoint, BEGINNING);
    let left = leaves(&mut state, endpoint, BEGINNING);
    assert_eq!(left, Leaving { slots: [slot_of(endpoint)].into_iter().collect(), ..Leaving::default() });
    assert_eq!((state.strays.len(), state.ownership.owns(endpoint)), (4, false));
    assert!(state.wanting(BEGINNING).is_empty() && next(&mut state, BEGINNING).is_none());
    assert_eq!(state.held, 4, "they count until they are stored");
    // A claim that was under way when it was left.
    takes(&mut state, &[endpoint], Limiters::Full, &[]);
    state.strays.clear();
    (0..4).for_each(|_| _ = state.let_go(endpoint, job_for(SubscriptionId::new(Uuid::nil()), endpoint, 1).cost(), BEGINNING));
    state.note_stored(endpoint, BEGINNING);
    assert_eq!(state.wanting(BEGINNING).len(), 1);
    leaves(&mut state, endpoint, BEGINNING);
    comes(&mut state, endpoint, 1);
    state.refilled(endpoint, Some(BEGINNING));
    assert_eq!((state.coming, state.strays.len()), (0, 1));
    assert_eq!(state.ownership.take_untold().due, [endpoint], "there is more of it");
}

/// Others want the lock in between, and must find nothing to send.
#[test]
fn slots_are_left_piece_by_piece_and_nothing_begins_meanwhile() {
    let endpoints: Vec<EndpointId> = (0..400).map(endpoint_id).collect();
    let mut state = state(&endpoints);
    endpoints.iter().for_each(|endpoint| comes(&mut state, *endpoint, 2));
    let slots: SlotSet = (0..128).map(Slot).collect();
    let (left, kept): (Vec<EndpointId>, Vec<EndpointId>) =
        endpoints.iter().copied().partition(|endpoint| slots.contains(slot_of(*endpoint)));
    assert!(left.len() > 100 && kept.len() > 100);
    let busy = std::iter::from_fn(|| next(&mut state, BEGINNING))
        .find(|turn| left.contains(&turn.job.delivery.endpoint))
        .expect("they have turns");
    let hung = busy.job.delivery.endpoint;
    let mut found = state.stop_sending(&slots);
    found.sort_unstable();
    assert_eq!((&found, state.strays.len()), (&left, 0));
    left.iter().for_each(|endpoint| state.offer(*endpoint));
    let begun: Vec<Turn> = std::iter::from_fn(|| next(&mut state, BEGINNING)).collect();
    assert!(begun.iter().all(|turn| kept.contains(&turn.job.delivery.endpoint)), "nothing begins");
    let (mut leaving, mut lanes) = (Leaving { slots, ..Leaving::default() }, Vec::new());
    state.give_up(&left[..10], BEGINNING, &mut leaving, &mut lanes);
    let pieces = state.strays.len();
    assert!((10..=20).contains(&pieces), "{pieces}");
    state.give_up(&left[10..], BEGINNING, &mut leaving, &mut lanes);
    assert!(state.strays.iter().all(|job| left.contains(&job.delivery.endpoint)));
    assert!(leaving.busy.contains(&hung) && state.ownership.is_leaving(hung));
    assert!(ends(&mut state, busy, BEGINNING).is_none_or(|turn| kept.contains(&turn.job.delivery.endpoint)));
    assert_eq!(state.ownership.take_freed(), [hung]);
}

#[test]
fn a_limiter_goes_along_with_its_slot_used_or_not() {
    let (used, unused) = (endpoint_id(1), endpoint_id(2));
    let mut state = state(&[used, unused]);
    for endpoint in [used, unused] {
        limit(&mut state, endpoint, SECOND, 3);
    }
    comes(&mut state, used, 2);
    let first = next(&mut state, BEGINNING).expect("there is a token");
    let second = ends(&mut state, first, BEGINNING).expect("and another one");
    assert!(ends(&mut state, second, BEGINNING).is_none());
    let soon = BEGINNING.after(SECOND / 2);
    assert_eq!(leaves(&mut state, used, soon).limiters, [(used, 3 * SECOND / 2)]);
    assert!(leaves(&mut state, unused, soon).limiters.is_empty());
    // It comes back with what somebody else has made of it.
    takes(&mut state, &[used], Limiters::Known(vec![(used, 3 * SECOND)]), &[]);
    comes(&mut state, used, 1);
    assert!(next(&mut state, BEGINNING).is_none(), "its bucket is empty");
    assert_eq!(state.queue(used).blocked, Blocked::Until(BEGINNING.after(SECOND)));
    // And goes on, unused here, as it came.
    takes(&mut state, &[unused], Limiters::Known(vec![(unused, SECOND)]), &[]);
    assert_eq!(leaves(&mut state, unused, BEGINNING.after(SECOND / 4)).limiters, [(unused, SECOND * 3 / 4)]);
}

#[test]
fn after_a_crash_every_bucket_is_empty_also_of_endpoints_that_are_asked_for_late() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[]);
    limit(&mut state, endpoint, SECOND, 4);
    takes(&mut state, &[endpoint], Limiters::Unknown, &[]);
    let left = leaves(&mut state, endpoint, BEGINNING.after(SECOND));
    assert_eq!(left.limiters, [(endpoint, 3 * SECOND)], "nobody has asked for it yet");
    takes(&mut state, &[endpoint], Limiters::Unknown, &[]);
    let later = BEGINNING.after(2 * SECOND);
    state.sweep(BEGINNING, later);
    comes(&mut state, endpoint, 4);
    let mut sent = 0;
    let mut turn = next(&mut state, later);
    while let Some(under_way) = turn {
        sent += 1;
        turn = ends(&mut state, under_way, later);
    }
    assert_eq!(sent, 2, "as many as came back in two seconds");
}

#[test]
fn an_endpoint_that_somebody_is_still_busy_with_waits_and_no_other() {
    let (busy, idle) = (endpoint_id(1), endpoint_id(2));
    let mut state = state(&[]);
    takes(&mut state, &[busy, idle], Limiters::Full, &[busy]);
    assert!(state.reserve(busy, 1, BEGINNING), "it may be in memory");
    comes(&mut state, busy, 2);
    comes(&mut state, idle, 1);
    let turn = next(&mut state, BEGINNING).expect("one goes off");
    assert_eq!(turn.job.delivery.endpoint, idle);
    assert!(next(&mut state, BEGINNING).is_none());
    takes(&mut state, &[], Limiters::Full, &[busy]);
    assert!(next(&mut state, BEGINNING).is_none());
    takes(&mut state, &[], Limiters::Full, &[]);
    assert_eq!(next(&mut state, BEGINNING).map(|turn| turn.job.delivery.endpoint), Some(busy));
}

#[test]
fn whoever_waits_for_an_exchange_is_told_when_the_last_one_has_ended() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[endpoint]);
    comes(&mut state, endpoint, 9);
    let first = next(&mut state, BEGINNING).expect("one goes off");
    let first = ends(&mut state, first, BEGINNING).expect("and the next one");
    let second = next(&mut state, BEGINNING).expect("with another one beside it");
    assert_eq!(leaves(&mut state, endpoint, BEGINNING).busy, [endpoint]);
    assert!(state.ownership.is_leaving(endpoint));
    assert!(ends(&mut state, first, BEGINNING).is_none() && !state.ownership.take_newly_freed());
    assert!(ends(&mut state, second, BEGINNING).is_none() && !state.ownership.is_leaving(endpoint));
    assert!(state.ownership.take_newly_freed() && !state.ownership.take_newly_freed(), "whoever tells of it is woken once");
    assert_eq!(state.ownership.take_freed(), [endpoint]);
    assert!(state.ownership.take_freed().is_empty());
    state.ownership.still_freed(vec![endpoint]);
    assert!(!state.ownership.take_newly_freed(), "and not again because that could not be told");
    assert_eq!(state.ownership.take_freed(), [endpoint]);
}

/// It came back meanwhile, is busy again, and was left again: others wait for that.
#[test]
fn an_endpoint_that_is_busy_again_is_not_free() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[endpoint]);
    comes(&mut state, endpoint, 1);
    let turn = next(&mut state, BEGINNING).expect("one goes off");
    leaves(&mut state, endpoint, BEGINNING);
    ends(&mut state, turn, BEGINNING);
    takes(&mut state, &[endpoint], Limiters::Full, &[]);
    comes(&mut state, endpoint, 1);
    let turn = next(&mut state, BEGINNING).expect("one goes off");
    leaves(&mut state, endpoint, BEGINNING);
    assert!(!state.ownership.take_newly_freed() && state.ownership.take_freed().is_empty());
    state.ownership.still_freed(vec![endpoint]);
    assert!(state.ownership.take_freed().is_empty());
    ends(&mut state, turn, BEGINNING);
    assert_eq!(state.ownership.take_freed(), [endpoint]);
}

/// What was cut off at the end is not counted down.
#[test]
fn where_nothing_is_under_way_any_more_nobody_is_waited_for() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[endpoint]);
    comes(&mut state, endpoint, 1);
    let _cut_off = next(&mut state, BEGINNING).expect("one goes off");
    state.ownership.all_ended();
    assert_eq!(leaves(&mut state, endpoint, BEGINNING).busy, []);
}

/// Whoever has it in between learns for itself.
#[test]
fn what_was_learned_of_an_endpoint_goes_with_its_slot() {
    let (dead, other) = (endpoint_id(1), endpoint_id(2));
    let mut state = state(&[dead, other]);
    comes(&mut state, dead, 200);
    let failed = Pulse::Bad { slow: true };
    let (mut now, mut under_way) = (BEGINNING, next(&mut state, BEGINNING).expect("one goes off"));
    while !state.queue(dead).is_dead() {
        let ended = Ended { endpoint: dead, slot: under_way.slot, lane: None, slow: under_way.slow, pulse: failed };
        _ = state.slots.land(under_way.slot);
        now = now.after(SECOND);
        under_way = state.finish(ended, now, true, || AttemptId::new(Uuid::nil())).expect("and the next one");
    }
    assert_eq!(state.dead, 1);
    leaves(&mut state, dead, now);
    assert_eq!(state.dead, 0, "it takes no share of the pace any more");
    // That ends when somebody else has it.
    let ended = Ended { endpoint: dead, slot: under_way.slot, lane: None, slow: under_way.slow, pulse: failed };
    _ = state.slots.land(under_way.slot);
    assert!(state.finish(ended, now, true, || AttemptId::new(Uuid::nil())).is_none());
    takes(&mut state, &[dead], Limiters::Full, &[]);
    let queue = state.queue(dead);
    assert!(!queue.is_dead() && !queue.is_failing() && !queue.is_slow() && queue.blocked == Blocked::No);
    comes(&mut state, dead, 9);
    let _one = next(&mut state, now).expect("one goes off");
    assert!(next(&mut state, now).is_none(), "nothing was heard of it yet");
    assert_eq!(state.slots.running(), 1);
}

/// A slow endpoint that waits at the side is not offered twice when it comes back.
#[test]
fn an_endpoint_that_waited_for_a_place_has_a_turn_when_it_comes_back() {
    let (slow, waits) = (endpoint_id(1), endpoint_id(2));
    let mut state = State::new(Limits { exchanges: 2, ..Limits::default() });
    state.ownership = Ownership::shared();
    takes(&mut state, &[slow, waits], Limiters::Full, &[]);
    for endpoint in [slow, waits] {
        state.queue(endpoint).learn(Pulse::Good { slow: true }, BEGINNING);
        comes(&mut state, endpoint, 1);
    }
    let hanging = next(&mut state, BEGINNING).expect("one has the only place for slow ones");
    assert!(next(&mut state, BEGINNING).is_none());
    let left = if endpoint_of(&hanging) == slow { waits } else { slow };
    leaves(&mut state, left, BEGINNING);
    assert!(state.sidelined.is_empty());
    takes(&mut state, &[left], Limiters::Full, &[]);
    comes(&mut state, left, 1);
    assert_eq!(next(&mut state, BEGINNING).map(|turn| endpoint_of(&turn)), Some(left));
}

fn endpoint_of(turn: &Turn) -> EndpointId {
    turn.job.delivery.endpoint
}

/// Whatever is left of it in memory, an endpoint that is gone is nobody's to wait for.
#[test]
fn what_waits_for_its_retry_goes_back_when_its_endpoint_is_gone_whosever_it_is() {
    let endpoint = endpoint_id(1);
    let mut state = state(&[]);
    let retry = job_for(SubscriptionId::new(Uuid::nil()), endpoint, 9);
    state.add(endpoint, retry.cost());
    state.timers.insert(BEGINNING.after(SECOND), Timer::Retry(Box::new(retry)));
    state.expedite(endpoint);
    assert_eq!(state.strays.len(), 1);
}
