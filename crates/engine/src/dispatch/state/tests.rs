//! The dispatcher's decisions, without tasks and without time.

use super::*;
use crate::dispatch::queue::{PACE_AFTER, Pulse};
use crate::testing::{BEGINNING, endpoint_id, job_for};
use postrider_core::id::SubscriptionId;
use std::time::Duration;
use uuid::Uuid;

const WELL: Pulse = Pulse::Good { slow: false };
const HANGS: Pulse = Pulse::Bad { slow: true };
const REFUSES: Pulse = Pulse::Bad { slow: false };

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
    ends_at(state, turn, pulse, BEGINNING)
}

fn ends_at(state: &mut State, turn: Turn, pulse: Pulse, now: Timestamp) -> Option<Turn> {
    let ended = Ended { endpoint: turn.job.delivery.endpoint, slot: turn.slot, lane: None, slow: turn.slow, pulse };
    _ = state.slots.land(turn.slot);
    state.finish(ended, now, true, || AttemptId::new(Uuid::nil()))
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
    assert_eq!(under_way.len(), 1, "nothing was heard of it yet");
    let turn = under_way.pop_front().expect("somebody is at work");
    under_way.extend(ends(&mut state, turn, WELL));
    under_way.extend(launched(&mut state));
    assert_eq!(under_way.len(), 4, "it begins with a small window");
    for _ in 0..100 {
        let turn = under_way.pop_front().expect("somebody is at work");
        under_way.extend(ends(&mut state, turn, WELL));
        under_way.extend(launched(&mut state));
    }
    assert_eq!(under_way.len(), 32, "nothing new arrived, and yet the window is used");
}

/// `a` has every place for slow endpoints, the others wait at the side.
fn sidelined(others: &[EndpointId]) -> (State, Vec<Turn>, Vec<Turn>) {
    let mut state = state(4);
    let a = endpoint_id(1);
    state.queue(a).learn(HANGS, BEGINNING);
    comes(&mut state, a);
    comes(&mut state, a);
    let hanging = launched(&mut state);
    assert_eq!(hanging.len(), 2);
    let mut old = Vec::new();
    for other in others {
        comes(&mut state, *other);
        old.push(next(&mut state).expect("it is not known to be slow yet"));
        state.queue(*other).learn(HANGS, BEGINNING);
        comes(&mut state, *other);
        assert!(next(&mut state).is_none(), "there is no place for another slow one");
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
    let begun = ends(&mut state, ended, HANGS).map(|turn| endpoint_of(&turn));
    assert_eq!(begun, Some(c));
}

#[test]
fn a_sidelined_endpoint_that_recovers_waits_for_nobody() {
    let b = endpoint_id(2);
    let (mut state, _hanging, mut old) = sidelined(&[b]);
    // All places for slow endpoints are still taken when its older exchange ends well.
    let turn = old.pop().expect("an older exchange");
    let next = ends(&mut state, turn, WELL).map(|turn| endpoint_of(&turn));
    assert_eq!(next, Some(b));
    comes(&mut state, b);
    assert_eq!(launched(&mut state).len(), 1, "and another worker helps");
}

#[test]
fn a_worker_that_could_go_on_makes_way_for_a_slow_endpoint_that_may_have_its_place() {
    let (a, b, quick) = (endpoint_id(1), endpoint_id(2), endpoint_id(3));
    let (mut state, mut slow, _old) = sidelined(&[b]);
    comes(&mut state, quick);
    assert_eq!(launched(&mut state).len(), 1, "every place is taken");
    let mut turn = slow.pop().expect("two are slow");
    // `a` is quick again, and always has something to send.
    for _ in 0..4 {
        comes(&mut state, a);
        comes(&mut state, a);
        turn = ends(&mut state, turn, WELL).expect("there is always something to send");
        if endpoint_of(&turn) == b {
            return;
        }
    }
    panic!("it waits although there is a place for it");
}

#[test]
fn a_place_for_slow_endpoints_that_got_free_while_nothing_could_be_stored_is_found_again() {
    let b = endpoint_id(2);
    let (mut state, mut slow, _old) = sidelined(&[b]);
    let turn = slow.pop().expect("two are slow");
    assert!(!state.has_turn(), "no place");
    let ended = Ended { endpoint: endpoint_of(&turn), slot: turn.slot, lane: None, slow: turn.slow, pulse: HANGS };
    _ = state.slots.land(turn.slot);
    assert!(state.finish(ended, BEGINNING, false, || AttemptId::new(Uuid::nil())).is_none());
    assert!(state.has_turn());
    assert_eq!(next(&mut state).map(|turn| endpoint_of(&turn)), Some(b));
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
    state.learn(endpoint, WELL, BEGINNING);
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

#[test]
fn slow_endpoints_that_answer_well_leave_half_of_the_places_to_the_others() {
    let mut state = state(64);
    let slow: Vec<_> = (0..10).map(endpoint_id).collect();
    for id in &slow {
        (0..40).for_each(|_| state.learn(*id, Pulse::Good { slow: true }, BEGINNING));
        (0..40).for_each(|_| comes(&mut state, *id));
    }
    let under_way = launched(&mut state);
    assert_eq!(under_way.len(), 32);
    let quick = endpoint_id(99);
    state.learn(quick, WELL, BEGINNING);
    (0..10).for_each(|_| comes(&mut state, quick));
    assert_eq!(launched(&mut state).iter().filter(|turn| endpoint_of(turn) == quick).count(), 4);
    for turn in under_way {
        let next = ends(&mut state, turn, Pulse::Good { slow: true });
        assert!(next.is_some(), "a place that gets free is used");
        assert!(launched(&mut state).is_empty() && state.slow_running == 32);
    }
}

#[test]
fn where_there_is_one_place_slow_endpoints_have_it() {
    let mut state = state(1);
    state.learn(endpoint_id(1), HANGS, BEGINNING);
    comes(&mut state, endpoint_id(1));
    assert_eq!(launched(&mut state).len(), 1);
}

#[test]
fn after_a_start_endpoints_that_hang_have_a_place_each() {
    let mut state = state(2_048);
    for id in (0..512).map(endpoint_id) {
        (0..10).for_each(|_| comes(&mut state, id));
    }
    assert_eq!(launched(&mut state).len(), 512);
}

/// A second of so many endpoints that refuse everything, each with a backlog; answers the attempts.
fn refused_in_a_second(endpoints: u128) -> usize {
    let mut state = state(2_048);
    for id in (0..endpoints).map(endpoint_id) {
        (0..PACE_AFTER).for_each(|_| state.learn(id, REFUSES, BEGINNING));
        (0..10).for_each(|_| comes(&mut state, id));
    }
    let mut attempts = 0;
    for now in (0..1_000).map(|ms| BEGINNING.after(Duration::from_millis(ms))) {
        while let Some(timer) = state.timers.pop_due(now) {
            if let Timer::Unblock(endpoint) = timer {
                state.unblock_if_due(endpoint, now);
            }
        }
        while let Some(turn) = next_at(&mut state, now) {
            let mut turn = Some(turn);
            while let Some(refused) = turn {
                attempts += 1;
                comes(&mut state, endpoint_of(&refused));
                turn = ends_at(&mut state, refused, REFUSES, now);
            }
        }
    }
    let waiting = std::iter::from_fn(|| state.timers.pop_due(Timestamp::MAX)).filter(|timer| matches!(timer, Timer::Unblock(_)));
    assert_eq!(waiting.count(), usize::try_from(endpoints).expect("few"), "one timer for each that is left alone");
    attempts
}

#[test]
fn dead_endpoints_are_paced_each_and_all_together() {
    assert_eq!(refused_in_a_second(1), 100);
    assert_eq!(refused_in_a_second(10), 1_000);
    assert_eq!(refused_in_a_second(200), 1_000);
}

#[test]
fn the_count_of_dead_endpoints_is_right_when_they_recover_and_when_they_are_forgotten() {
    let mut state = state(100);
    let (a, b, c) = (endpoint_id(1), endpoint_id(2), endpoint_id(3));
    let counted = |state: &State| (state.dead, state.queues.values().filter(|queue| queue.is_dead()).count());
    for id in [a, b, c] {
        (0..2 * PACE_AFTER).for_each(|_| state.learn(id, REFUSES, BEGINNING));
        state.learn(id, Pulse::Unknown, BEGINNING);
    }
    assert_eq!(counted(&state), (3, 3));
    state.learn(a, WELL, BEGINNING);
    state.learn(a, WELL, BEGINNING);
    assert_eq!(counted(&state), (2, 2));
    comes(&mut state, b);
    state.sweep(BEGINNING, BEGINNING.after(Duration::from_secs(3_600)));
    assert_eq!((counted(&state), state.queues.len()), ((1, 1), 1), "only the one with a delivery is still known");
}

#[test]
fn when_the_clock_is_set_back_nothing_in_memory_waits_for_it() {
    let hour = Duration::from_secs(3_600);
    let (mut state, endpoint, early) = (state(10), endpoint_id(1), BEGINNING.before(hour));
    (0..PACE_AFTER).for_each(|_| state.learn(endpoint, REFUSES, BEGINNING));
    (0..3).for_each(|_| comes(&mut state, endpoint));
    let turn = next(&mut state).expect("the first goes off");
    assert!(turn.begins(BEGINNING));
    assert!(next(&mut state).is_none(), "then it is left alone");
    state.set_back(hour);
    let soon = early.after(Duration::from_millis(10));
    assert_eq!(state.timers.next(), Some(soon));
    state.unblock_if_due(endpoint, soon);
    assert_eq!(state.queue(endpoint).blocked, Blocked::No);
    let mut recorded = 0;
    let record_after = state.limits.record_after;
    state.slots.record(early.after(record_after), record_after, |_| {
        recorded += 1;
        true
    });
    assert_eq!(recorded, 1, "it has been under way for as long as before");
    state.queue(endpoint).ready.clear();
    state.queue(endpoint).held = 0;
    assert!(ends_at(&mut state, turn, WELL, soon).is_none());
    state.queue(endpoint).idle.clear();
    state.queue(endpoint_id(2));
    state.learn(endpoint_id(2), HANGS, BEGINNING);
    state.set_back(hour);
    state.sweep(early, early.after(Duration::from_secs(599)));
    assert!(state.queues.contains_key(&endpoint_id(2)));
    state.sweep(early, early.after(Duration::from_secs(600)));
    assert!(!state.queues.contains_key(&endpoint_id(2)), "it is forgotten in time");
}
