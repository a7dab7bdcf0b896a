//! Several engines over one store: each endpoint is one engine's, and stays within its limits when it becomes another's.

use crate::harness::{BEGINNING, Exchanged, Hand, endpoint, event, pass, run, subscription};
use bytes::Bytes;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, ScheduledId, SubscriptionId};
use postrider_core::limit::RateLimit;
use postrider_core::ports::*;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, Limits, Publish, Retention, To};
use postrider_store::memory::MemoryStore;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

mod alive;
mod begin;
mod behind;
mod between;
mod called_off;
mod relay;
mod work;

const SECOND: Duration = Duration::from_secs(1);
const MILLIS: Duration = Duration::from_millis(1);

fn hand() -> Arc<Hand> {
    Hand::over(MemoryStore::new().shared())
}

async fn start(hand: &Arc<Hand>) -> Engine {
    hand.start(Limits::default(), Retention::default()).await
}

/// An engine that has everything by itself, and a subscription.
async fn one() -> (Arc<Hand>, Engine) {
    let hand = hand();
    subscribe(&hand, 1, |to| to).await;
    let engine = start(&hand).await;
    (hand, engine)
}

/// Two engines that have their shares.
async fn two(hand: &Arc<Hand>) -> (Engine, Engine) {
    let (first, second) = (start(hand).await, start(hand).await);
    pass(100 * MILLIS).await;
    let [one, other] = [0, 1].map(|n| hand.store.slots_of(hand.engine(n)));
    assert_eq!((one.len() + other.len(), one.without(&other)), (SLOTS, one), "every slot is somebody's, and nobody else's");
    assert!(one.len() > SLOTS / 4 && other.len() > SLOTS / 4, "{} and {}", one.len(), other.len());
    (first, second)
}

/// The slots that the first two engines of a test will have once both are there.
async fn shares() -> [SlotSet; 2] {
    let store = MemoryStore::new().shared();
    let engines = [store.new_incarnation(), store.new_incarnation()];
    let survey = async |n: usize| engines[n].survey(SlotSet::default()).await.expect("the model never fails");
    survey(0).await;
    survey(1).await;
    // It had all of them until the other one asked for some.
    let leaving = Leaving { slots: survey(0).await.to_leave, ..Leaving::default() };
    engines[0].leave_slots(leaving).await.expect("the model never fails");
    survey(1).await;
    engines.map(|engine| store.slots_of(engine.incarnation()))
}

/// The numbers of endpoints in some slots.
fn numbers_in(slots: SlotSet) -> impl Iterator<Item = u128> {
    (1..).filter(move |n| slots.contains(Slot::of(Uuid::from_u128(*n))))
}

fn of(n: u128) -> SubscriptionId {
    SubscriptionId::new(Uuid::from_u128(n << 64))
}

/// Puts an endpoint that `change` has had its way with, and a subscription to it.
async fn subscribe(hand: &Hand, n: u128, change: impl FnOnce(Endpoint) -> Endpoint) {
    let id = EndpointId::new(Uuid::from_u128(n));
    let to = Endpoint { id, url: format!("https://r{n}.test/hook"), ..endpoint(EndpointStatus::Active) };
    let subscribed = Subscription { id: of(n), endpoint: id, ..subscription() };
    hand.configure(vec![ConfigChange::Endpoint(change(to)), ConfigChange::Subscription(subscribed)]).await;
}

async fn publish(engine: &Engine, n: u128, count: usize) {
    for at in 0..count {
        engine.publish(Publish { to: To::Subscription(of(n)), ..event(at) }).await.expect("stored");
    }
}

/// What the receiver with this number got.
fn got(hand: &Hand, n: u128) -> Vec<Exchanged> {
    let host = format!("r{n}.test");
    hand.exchanges.lock().iter().filter(|exchange| exchange.host == host).cloned().collect()
}

/// How many of these each of the first two engines made.
fn by(hand: &Hand, exchanges: &[Exchanged]) -> [usize; 2] {
    [0, 1].map(|n| exchanges.iter().filter(|exchange| exchange.by == hand.engine(n)).count())
}

/// The shortest and the longest time between the beginnings of two exchanges that follow each other.
fn gaps(exchanges: &[Exchanged]) -> (Duration, Duration) {
    let gaps = || exchanges.windows(2).map(|two| two[1].began.since(two[0].began));
    (gaps().min().expect("there are some"), gaps().max().expect("there are some"))
}

fn limit(interval: Duration, burst: u32) -> Option<RateLimit> {
    Some(RateLimit { interval, burst })
}

#[test]
fn each_endpoint_is_sent_to_by_the_engine_whose_it_is_whoever_publishes() {
    run(async {
        let hand = hand();
        for n in 1..=40 {
            subscribe(&hand, n, |to| to).await;
        }
        let (first, second) = two(&hand).await;
        let began = hand.now();
        for n in 1..=40 {
            publish(&first, n, 1).await;
            publish(&second, n, 1).await;
        }
        pass(100 * MILLIS).await;
        for n in 1..=40 {
            let owner = [0, 1].map(|e| usize::from(hand.store.slots_of(hand.engine(e)).contains(Slot::of(Uuid::from_u128(n)))) * 2);
            assert_eq!(by(&hand, &got(&hand, n)), owner, "endpoint {n}");
        }
        let late = hand.exchanges.lock().iter().map(|exchange| exchange.began.since(began)).max();
        assert!(late < Some(50 * MILLIS), "{late:?}: nobody waits until somebody happens to look");
        let [a, b] = by(&hand, &hand.exchanges.lock());
        assert!(a > 0 && b > 0 && a + b == 80, "{a} and {b}");
    });
}

#[test]
fn what_nobody_tells_is_found_within_a_second() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let n = numbers_in(other).next().expect("there are many");
        subscribe(&hand, n, |to| to).await;
        let (first, _second) = two(&hand).await;
        hand.store.lose_news(true);
        let mut came = Vec::new();
        for _ in 0..5 {
            let before = hand.requests();
            publish(&first, n, 1).await;
            let published = hand.now();
            while hand.requests() == before && hand.now().since(published) < 3 * SECOND {
                pass(MILLIS).await;
            }
            came.push(hand.now().since(published));
            pass(137 * MILLIS).await;
        }
        assert!(came.iter().all(|after| *after <= SECOND + 5 * MILLIS), "{came:?}");
        assert!(came.iter().any(|after| *after > 100 * MILLIS), "{came:?}: the news did get lost");
    });
}

#[test]
fn a_rate_is_kept_while_its_endpoint_goes_from_one_engine_to_another() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let n = numbers_in(other).next().expect("there are many");
        subscribe(&hand, n, |to| Endpoint { rate_limit: limit(100 * MILLIS, 1), ..to }).await;
        let first = start(&hand).await;
        publish(&first, n, 40).await;
        pass(1_050 * MILLIS).await;
        let _second = start(&hand).await;
        pass(6 * SECOND).await;
        let all = got(&hand, n);
        assert_eq!(by(&hand, &all), [11, 29]);
        let (shortest, longest) = gaps(&all);
        assert!(shortest >= 100 * MILLIS && longest <= 150 * MILLIS, "{shortest:?} to {longest:?}");
    });
}

/// A burst that was not used may be used after it, one that was used may not.
#[test]
fn a_burst_is_had_once_by_whomever() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let [used, unused] = [0, 1].map(|nth| numbers_in(other).nth(nth).expect("there are many"));
        for n in [used, unused] {
            subscribe(&hand, n, |to| Endpoint { rate_limit: limit(60 * SECOND, 3), ..to }).await;
        }
        let first = start(&hand).await;
        publish(&first, used, 2).await;
        pass(SECOND).await;
        let _second = start(&hand).await;
        pass(SECOND).await;
        publish(&first, used, 3).await;
        publish(&first, unused, 3).await;
        pass(10 * SECOND).await;
        assert_eq!([by(&hand, &got(&hand, used)), by(&hand, &got(&hand, unused))], [[2, 1], [0, 3]]);
        pass(60 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, used)), [2, 2]);
    });
}

#[test]
fn an_exchange_that_hangs_keeps_its_endpoint_from_the_next_engine_and_no_other() {
    run(async {
        let hand = hand();
        let [_, other] = shares().await;
        let [hangs, idle] = [0, 1].map(|nth| numbers_in(other).nth(nth).expect("there are many"));
        for n in [hangs, idle] {
            subscribe(&hand, n, |to| Endpoint { concurrency: Some(1), ..to }).await;
        }
        let first = start(&hand).await;
        *hand.takes.lock() = 20 * SECOND;
        publish(&first, hangs, 1).await;
        pass(SECOND).await;
        *hand.takes.lock() = MILLIS;
        let second = start(&hand).await;
        pass(SECOND).await;
        publish(&second, hangs, 3).await;
        publish(&first, hangs, 3).await;
        publish(&second, idle, 2).await;
        pass(5 * SECOND).await;
        assert_eq!([by(&hand, &got(&hand, hangs)), by(&hand, &got(&hand, idle))], [[1, 0], [0, 2]]);
        pass(15 * SECOND).await;
        let all = got(&hand, hangs);
        assert_eq!(by(&hand, &all), [1, 6]);
        let ended = all[0].ended.expect("it has ended");
        let waited = all[1].began.since(ended);
        assert!(all[1].began >= ended && waited < 100 * MILLIS, "{waited:?} after it was free");
        assert!(all.windows(2).all(|two| two[0].ended.is_some_and(|ended| two[1].began >= ended)), "never two at once: {all:?}");
        let dump = hand.store.dump();
        assert_eq!((dump.claims.len(), dump.attempts.len()), (0, 9), "each was tried once");
    });
}

#[test]
fn what_a_dead_engine_had_is_taken_over_with_an_empty_bucket() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let n = numbers_in(one).next().expect("there are many");
        subscribe(&hand, n, |to| Endpoint { rate_limit: limit(2 * SECOND, 3), ..to }).await;
        let (first, second) = two(&hand).await;
        publish(&first, n, 6).await;
        pass(SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [3, 0]);
        let died = hand.now();
        hand.store.end(hand.engine(0));
        pass(10 * SECOND).await;
        let all = got(&hand, n);
        assert_eq!(by(&hand, &all), [3, 3], "the dead one sends nothing more, and nothing is sent twice");
        let first_after = all[3].began.since(died);
        assert!(first_after >= 2 * SECOND && first_after < 2 * SECOND + 100 * MILLIS, "{first_after:?}");
        assert!(gaps(&all[3..]).0 >= 2 * SECOND);
        // It has everything now, and what it does not know of has a full bucket.
        assert_eq!(hand.store.slots_of(hand.engine(1)), SlotSet::ALL);
        let fresh = numbers_in(one).nth(1).expect("there are many");
        subscribe(&hand, fresh, |to| to).await;
        second.see_changes().await;
        publish(&second, fresh, 1).await;
        pass(100 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, fresh)), [0, 1]);
    });
}

#[test]
fn an_engine_that_stops_leaves_what_it_has_to_the_others_at_once() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let n = numbers_in(one).next().expect("there are many");
        subscribe(&hand, n, |to| Endpoint { rate_limit: limit(10 * SECOND, 1), ..to }).await;
        let (first, _second) = two(&hand).await;
        publish(&first, n, 3).await;
        pass(9 * SECOND).await;
        assert_eq!(by(&hand, &got(&hand, n)), [1, 0]);
        first.shutdown(5 * SECOND).await;
        let stopped = hand.engine(0);
        assert!(hand.store.dump().claims.values().all(|by| *by != stopped), "it holds nothing back");
        assert!(hand.store.slots_of(stopped).is_empty());
        pass(15 * SECOND).await;
        let all = got(&hand, n);
        assert_eq!(by(&hand, &all), [1, 2]);
        let (shortest, longest) = gaps(&all);
        assert!(shortest >= 10 * SECOND && longest < 10 * SECOND + 100 * MILLIS, "{shortest:?} to {longest:?}: what was left was known");
    });
}

#[test]
fn an_exchange_that_an_engine_waits_for_while_it_stops_holds_up_its_own_endpoint_only() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let [hangs, idle] = [0, 1].map(|nth| numbers_in(one).nth(nth).expect("there are many"));
        for n in [hangs, idle] {
            subscribe(&hand, n, |to| Endpoint { concurrency: Some(1), ..to }).await;
        }
        let (first, second) = two(&hand).await;
        *hand.takes.lock() = 20 * SECOND;
        publish(&first, hangs, 2).await;
        pass(SECOND).await;
        *hand.takes.lock() = MILLIS;
        let stopping = tokio::spawn(async move { first.shutdown(60 * SECOND).await });
        pass(SECOND).await;
        assert_eq!(hand.store.slots_of(hand.engine(1)), SlotSet::ALL);
        publish(&second, hangs, 1).await;
        publish(&second, idle, 1).await;
        pass(SECOND).await;
        assert_eq!([by(&hand, &got(&hand, hangs)), by(&hand, &got(&hand, idle))], [[1, 0], [0, 1]]);
        let report = stopping.await.expect("it ends");
        assert_eq!(report.cut_off, 0);
        pass(100 * MILLIS).await;
        let all = got(&hand, hangs);
        assert_eq!(by(&hand, &all), [1, 2]);
        assert!(all[0].ended.is_some_and(|ended| all[1].began >= ended), "{all:?}");
        assert!(hand.store.dump().claims.is_empty());
    });
}

#[test]
fn who_may_not_act_sends_nothing_and_goes_on_when_it_may() {
    run(async {
        let (hand, engine) = one().await;
        *hand.acts.lock() = 0;
        publish(&engine, 1, 2).await;
        pass(3 * SECOND).await;
        assert_eq!(hand.requests(), 0);
        *hand.acts.lock() = usize::MAX;
        pass(SECOND + 10 * MILLIS).await;
        assert_eq!(hand.requests(), 2);
        // Its time runs out between the turn and the exchange.
        *hand.acts.lock() = 1;
        publish(&engine, 1, 1).await;
        pass(3 * SECOND).await;
        assert_eq!((hand.requests(), hand.store.dump().attempts.len()), (2, 2), "no attempt was made, and none is counted");
        *hand.acts.lock() = usize::MAX;
        pass(SECOND + 10 * MILLIS).await;
        let dump = hand.store.dump();
        assert_eq!((hand.requests(), dump.attempts.len(), dump.claims.len()), (3, 3, 0));
        assert!(dump.deliveries.iter().all(|delivery| delivery.progress.attempts == 1), "{:?}", dump.deliveries);
    });
}

#[test]
fn a_delivery_is_hastened_wherever_it_waits() {
    run(async {
        let hand = hand();
        let [one, _] = shares().await;
        let n = numbers_in(one).next().expect("there are many");
        subscribe(&hand, n, |to| to).await;
        let (first, second) = two(&hand).await;
        *hand.status.lock() = 500;
        publish(&first, n, 1).await;
        pass(SECOND).await;
        let delivery = hand.store.dump().deliveries[0].id;
        assert_eq!((hand.requests(), hand.store.dump().claims.get(&delivery)), (1, Some(&hand.engine(0))), "its retry waits in memory");
        second.hasten(delivery).await.expect("the model never fails");
        pass(100 * MILLIS).await;
        assert_eq!(hand.requests(), 2);
        let answers = second.retry_deliveries(vec![delivery], false).await.expect("the model never fails");
        assert!(matches!(answers[..], [Retried::Held { .. }]), "{answers:?}");
        pass(100 * MILLIS).await;
        assert_eq!(by(&hand, &got(&hand, n)), [3, 0]);
    });
}

#[test]
fn configuration_and_schedules_are_heard_of_by_whom_they_concern() {
    run(async {
        let hand = hand();
        subscribe(&hand, 1, |to| to).await;
        let (first, second) = two(&hand).await;
        for (n, engine, other) in [(2_u128, &first, &second), (3, &second, &first)] {
            let id = EndpointId::new(Uuid::from_u128(n));
            let new = Endpoint { id, ..endpoint(EndpointStatus::Active) };
            let edit = engine.edit(|_| Ok::<_, StoreError>((vec![ConfigChange::Endpoint(new.clone())], ())));
            edit.await.expect("stored");
            pass(10 * MILLIS).await;
            assert!(other.routes().endpoint(id).is_some());
            // It is the leader who fires, whoever that is.
            let due_at = hand.now().after(50 * MILLIS);
            engine.schedule(scheduled(n, due_at)).await.expect("stored");
            let before = hand.requests();
            pass(90 * MILLIS).await;
            assert_eq!(hand.requests(), before + 1);
        }
        let leader = usize::from(!hand.store.slots_of(hand.engine(0)).contains(Slot::LEADER));
        let due_at = hand.now().after(500 * MILLIS);
        second.schedule(scheduled(4, due_at)).await.expect("stored");
        hand.store.end(hand.engine(leader));
        pass(SECOND).await;
        let rows = hand.store.dump().scheduled;
        assert!(rows.iter().all(|row| matches!(row.status, ScheduledStatus::Completed(_))), "{rows:?}");
        assert_eq!(hand.requests(), 3, "each once");
    });
}

fn scheduled(n: u128, due_at: Timestamp) -> Scheduled {
    Scheduled {
        id: ScheduledId::new(Uuid::from_u128(n)),
        namespace: Namespace::default_namespace(),
        subscription: of(1),
        payload: Bytes::from_static(b"{}"),
        due_at,
        recurrence: Recurrence::None,
        anchor: BEGINNING,
        status: ScheduledStatus::Pending,
        created_at: BEGINNING,
        updated_at: BEGINNING,
    }
}
