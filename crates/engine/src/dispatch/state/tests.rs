//! The dispatcher's decisions, without tasks and without time.

use super::*;
use crate::dispatch::queue::Pulse;
use crate::testing::{BEGINNING, endpoint_id, job_for};
use postrider_core::id::SubscriptionId;
use std::time::Duration;
use uuid::Uuid;

fn state(exchanges: usize) -> State {
    State::new(Limits { exchanges, ..Limits::default() })
}

/// A delivery comes into memory.
fn comes(state: &mut State, endpoint: EndpointId) {
    let job = job_for(SubscriptionId::new(Uuid::nil()), endpoint, 1);
    state.add(endpoint, job.cost());
    state.enqueue(job);
}

fn next_at(state: &mut State, now: Timestamp) -> Option<Turn> {
    state.next(now, || AttemptId::new(Uuid::nil()))
}

fn next(state: &mut State) -> Option<Turn> {
    next_at(state, BEGINNING)
}

/// Starts everybody who may start; answers the turns.
fn launched(state: &mut State) -> Vec<Turn> {
    std::iter::from_fn(|| next(state)).collect()
}

/// Ends a turn; answers the one that the same worker goes on with.
fn ends(state: &mut State, turn: Turn, pulse: Pulse) -> Option<Turn> {
    let ended = Ended { endpoint: turn.job.delivery.endpoint, slot: turn.slot, lane: None, hung: turn.hung, pulse };
    _ = state.slots.land(turn.slot);
    state.finish(ended, BEGINNING, true, || AttemptId::new(Uuid::nil()))
}

fn endpoint_of(turn: &Turn) -> EndpointId {
    turn.job.delivery.endpoint
}

#[test]
fn a_burst_for_a_healthy_endpoint_gets_more_workers_with_every_success() {
    let mut state = state(100);
    let endpoint = endpoint_id(1);
    (0..1_000).for_each(|_| comes(&mut state, endpoint));
    let mut under_way: VecDeque<Turn> = launched(&mut state).into();
    assert_eq!(under_way.len(), 4, "a new endpoint begins with a small window");
    for _ in 0..100 {
        let turn = under_way.pop_front().expect("somebody is at work");
        under_way.extend(ends(&mut state, turn, Pulse::Good));
        under_way.extend(launched(&mut state));
    }
    assert_eq!(under_way.len(), 32, "nothing new arrived, and yet the window is used");
}

/// `a` has every place for hanging endpoints, the others wait at the side.
fn sidelined(others: &[EndpointId]) -> (State, Vec<Turn>, Vec<Turn>) {
    let mut state = state(4);
    let a = endpoint_id(1);
    state.queue(a).learn(Pulse::Hung, BEGINNING);
    comes(&mut state, a);
    comes(&mut state, a);
    let hanging = launched(&mut state);
    assert_eq!(hanging.len(), 2);
    let mut old = Vec::new();
    for other in others {
        comes(&mut state, *other);
        old.push(next(&mut state).expect("it is not known to hang yet"));
        state.queue(*other).learn(Pulse::Hung, BEGINNING);
        comes(&mut state, *other);
        assert!(next(&mut state).is_none(), "there is no place for another hanging one");
    }
    (state, hanging, old)
}

#[test]
fn a_place_that_is_not_used_is_not_lost_for_those_who_wait() {
    let (b, c) = (endpoint_id(2), endpoint_id(3));
    let (mut state, mut hanging, _) = sidelined(&[b, c]);
    // The one that is called first has nothing to send any more.
    state.queue(b).ready.clear();
    let ended = hanging.pop().expect("two hang");
    let begun = ends(&mut state, ended, Pulse::Hung).map(|turn| endpoint_of(&turn));
    assert_eq!(begun, Some(c));
}

#[test]
fn a_sidelined_endpoint_that_recovers_waits_for_nobody() {
    let b = endpoint_id(2);
    let (mut state, _hanging, mut old) = sidelined(&[b]);
    // All places for hanging endpoints are still taken when its older exchange ends well.
    let turn = old.pop().expect("an older exchange");
    let next = ends(&mut state, turn, Pulse::Good).map(|turn| endpoint_of(&turn));
    assert_eq!(next, Some(b));
    comes(&mut state, b);
    assert_eq!(launched(&mut state).len(), 1, "and another worker helps");
}

#[test]
fn only_the_configuration_parks_and_it_outlives_the_queue() {
    let mut state = state(10);
    let endpoint = endpoint_id(1);
    let parked = Settings { parked: true, ..Settings::default() };
    comes(&mut state, endpoint);
    state.configure(endpoint, parked);
    assert_eq!(state.strays.len(), 1, "what was ready goes back");
    comes(&mut state, endpoint);
    assert_eq!(state.strays.len(), 2, "what comes later too");
    assert!(!state.reserve(endpoint, 1, BEGINNING));
    assert!(launched(&mut state).is_empty());
    state.queues.clear();
    assert!(!state.reserve(endpoint, 1, BEGINNING), "a new queue knows that it is parked");

    state.configure(endpoint, Settings::default());
    comes(&mut state, endpoint);
    assert_eq!(launched(&mut state).len(), 1);
    // A rate limit's block is not the configuration's: it ends by itself.
    state.queue(endpoint).blocked = Blocked::Until(BEGINNING.after(Duration::from_secs(1)));
    state.configure(endpoint, Settings::default());
    comes(&mut state, endpoint);
    assert_eq!(launched(&mut state).len(), 1);
}

fn wanted(state: &mut State) -> Vec<(EndpointId, usize)> {
    state.wanting(BEGINNING).into_iter().map(|want| (want.endpoint, want.count)).collect()
}

#[test]
fn a_far_retry_in_the_store_does_not_keep_new_deliveries_out_of_memory() {
    let (mut state, endpoint) = (state(10), endpoint_id(1));
    state.note_stored(endpoint, BEGINNING.after(Duration::from_secs(3_600)));
    assert!(state.reserve(endpoint, 1, BEGINNING));
    assert!(wanted(&mut state).is_empty());
    state.note_stored(endpoint, BEGINNING);
    assert!(!state.reserve(endpoint, 1, BEGINNING), "what is due goes first");
    assert_eq!(wanted(&mut state).len(), 1);
}

#[test]
fn claims_are_shared_and_small_and_everybody_gets_a_turn() {
    let mut state = state(10);
    let all: Vec<_> = (0..200).map(endpoint_id).collect();
    all.iter().for_each(|id| state.note_stored(*id, BEGINNING));
    let mut served = Vec::new();
    for _ in 0..4 {
        let wants = wanted(&mut state);
        assert!(wants.iter().map(|(_, count)| count).sum::<usize>() <= 1_024, "{wants:?}");
        for (endpoint, _) in wants {
            served.push(endpoint);
            // It has more, always.
            state.refilled(endpoint, Some(BEGINNING));
        }
    }
    served.truncate(all.len());
    served.sort_unstable();
    assert_eq!(served, all, "the old ones do not go twice before the young ones went once");
    let (mut lone, endpoint) = (self::state(10), endpoint_id(1));
    lone.note_stored(endpoint, BEGINNING);
    assert_eq!(wanted(&mut lone), [(endpoint, 1_024)], "one alone has all of it");
}

#[test]
fn who_found_no_room_is_served_when_somebody_else_gives_it_back() {
    let mut state = State::new(Limits { held: 8, ..Limits::default() });
    let (greedy, starving) = (endpoint_id(1), endpoint_id(2));
    // It has something in memory, a retry perhaps, and so it gets nothing beyond the limit.
    state.add(starving, 1);
    (0..7).for_each(|_| state.add(greedy, 1));
    state.note_stored(starving, BEGINNING);
    assert!(wanted(&mut state).is_empty());
    let told: Vec<bool> = (0..4).map(|_| state.let_go(greedy, 1, BEGINNING)).collect();
    assert_eq!(told, [false, true, false, false], "once, when there is room worth a claim");
    assert_eq!(wanted(&mut state).len(), 1);
}

#[test]
fn a_parked_backlog_wants_nothing_and_comes_back() {
    let (mut state, endpoint) = (state(10), endpoint_id(1));
    state.note_stored(endpoint, BEGINNING);
    state.configure(endpoint, Settings { parked: true, ..Settings::default() });
    state.note_stored(endpoint, BEGINNING);
    assert!(wanted(&mut state).is_empty());
    assert_eq!(state.parked(), [endpoint]);
    state.configure(endpoint, Settings::default());
    assert_eq!(wanted(&mut state).len(), 1);
    assert!(state.parked().is_empty());
    // While that claim is under way there is no other one, whatever becomes of the endpoint.
    state.note_stored(endpoint, BEGINNING);
    state.configure(endpoint, Settings { parked: true, ..Settings::default() });
    state.configure(endpoint, Settings::default());
    assert!(wanted(&mut state).is_empty());
    state.refilled(endpoint, None);
    assert_eq!(wanted(&mut state).len(), 1);
    assert_eq!(state.coming, 1_024, "the room of the first claim was given back");
}
