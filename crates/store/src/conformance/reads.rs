//! Order, limits, and what is not there.

use super::{Harness, Route, World};
use postrider_core::attempt::Attempt;
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::subscription::Subscription;

/// Unknown ids answer nothing, not an error.
pub async fn what_is_not_there<H: Harness>(w: &mut World<H>) {
    let id = w.make.uuid();
    let store = w.store();
    assert!(store.delivery(DeliveryId::new(id)).await.expect("delivery").is_none());
    assert!(store.event(EventId::new(id)).await.expect("event").is_none());
    assert!(store.dead_letter(DeadLetterId::new(id)).await.expect("dead_letter").is_none());
    assert!(store.scheduled_one(ScheduledId::new(id)).await.expect("scheduled_one").is_none());
    assert!(store.attempts(SubscriptionId::new(id), 10).await.expect("attempts").is_empty());
    assert!(store.dead_letters(SubscriptionId::new(id), false, PageRequest::first(10)).await.expect("dead_letters").items.is_empty());
    assert!(store.scheduled(None, Some(SubscriptionId::new(id)), PageRequest::first(10)).await.expect("scheduled").items.is_empty());
    assert!(store.unfinished_fan_outs(SlotSet::ALL, 10, u64::MAX).await.expect("unfinished_fan_outs").is_empty());
    assert_eq!(store.counters(vec![SubscriptionId::new(id)]).await.expect("counters"), [Counters::default()]);
}

/// A subscription's attempts by their ids, and so by the time they began; newest first, no more than asked for.
pub async fn attempts_come_newest_first<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let deliveries = [w.claimed(route).await, w.claimed(route).await, w.claimed(route).await];
    let apart = w.claimed(other).await;
    w.succeed(apart).await;
    let smallest = AttemptId::new(w.make.uuid());
    let now = w.make.now();
    for id in deliveries {
        w.retry(id, now, true).await;
    }
    for id in deliveries {
        w.make.advance_secs(1);
        w.retry(id, now, true).await;
    }
    // The one that ends last has the smallest id.
    w.make.advance_secs(1);
    let outcome = w.make.success();
    let last = w.settlement(deliveries[1], State::Succeeded, Some(outcome)).await;
    let attempt = last.attempt.clone().map(|attempt| Attempt { id: smallest, ..attempt });
    w.settle_one(Settlement { attempt, ..last }).await;
    let mut expected = Vec::new();
    for id in deliveries {
        expected.extend(w.view(id).await.attempts);
    }
    expected.sort_by_key(|attempt| std::cmp::Reverse(attempt.id));
    assert_eq!((expected[6].id, expected.len()), (smallest, 7));
    for limit in [10, 7, 5, 1, 0] {
        let listed: Vec<_> = list(w, route, limit).await.into_iter().map(|view| view.attempt).collect();
        assert_eq!(listed, expected[..expected.len().min(limit as usize)]);
    }
}

/// The state beside an attempt is the delivery's of now; attempts under way are listed too.
pub async fn attempts_show_their_deliverys_state<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    w.begin(id).await;
    let listed = list(w, route, 10).await;
    assert_eq!((listed[0].state, listed[0].attempt.outcome.is_none()), (StateKind::Sending, true));
    let now = w.make.advance_secs(1);
    w.retry(id, now, true).await;
    w.make.advance_secs(1);
    w.succeed(id).await;
    let listed = list(w, route, 10).await;
    assert_eq!(
        listed.iter().map(|view| (view.attempt.number, view.state)).collect::<Vec<_>>(),
        [(2, StateKind::Succeeded), (1, StateKind::Succeeded)]
    );
}

/// A delivery's attempts ascend by number, beyond nine too.
pub async fn a_delivery_lists_its_attempts_by_number<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    for _ in 0..11 {
        let now = w.make.now();
        w.retry(id, now, true).await;
    }
    w.begin(id).await;
    let view = w.view(id).await;
    assert_eq!(view.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), (1..=12).collect::<Vec<_>>());
    assert_eq!(view.delivery.progress.attempts, 12);
    w.succeed(id).await;
}

/// An event's deliveries are listed as they were made, with their states.
pub async fn an_event_lists_its_deliveries_oldest_first<H: Harness>(w: &mut World<H>) {
    let routes: Vec<Route> = (0..5).map(|_| w.make.route()).collect();
    let event = w.make.claimed_event_for(&routes);
    let made: Vec<DeliveryId> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    let id = event.id;
    w.publish_one(event).await;
    w.make.advance_secs(1);
    w.succeed(made[3]).await;
    w.fail(made[0]).await;
    let view = w.store().event(id).await.expect("event").expect("it is there");
    assert_eq!(view.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), made);
    for delivery in view.deliveries {
        assert_eq!(delivery, w.view(delivery.id).await.delivery);
    }
}

/// Counters answer in the order asked, an id asked twice twice, unknown ones as nought.
pub async fn counters_come_in_the_asked_order<H: Harness>(w: &mut World<H>) {
    let (a, b, nobody) = (w.make.route(), w.make.route(), w.make.route());
    let (first, second) = (w.claimed(a).await, w.claimed(b).await);
    w.succeed(first).await;
    w.fail(second).await;
    let (of_a, of_b) = (w.counters(a.subscription).await, w.counters(b.subscription).await);
    assert_eq!((of_a.attempts_succeeded, of_b.attempts_failed, of_b.dead_letters), (1, 1, 1));
    let asked = vec![b.subscription, nobody.subscription, a.subscription, b.subscription];
    assert_eq!(w.store().counters(asked).await.expect("counters"), [of_b, Counters::default(), of_a, of_b]);
    w.reopen().await;
    assert_eq!((w.counters(a.subscription).await, w.counters(b.subscription).await), (of_a, of_b));
}

/// All that is there counts, in its namespace: what a deleted subscription left too, but nothing that was erased.
pub async fn deliveries_are_counted_by_state<H: Harness>(w: &mut World<H>) {
    assert_eq!(delivery_counts(w, None).await, [0; 7]);
    let (kept, gone, others) = (w.make.endpoint(), w.make.endpoint(), w.make.route());
    let (of_kept, of_gone) = (w.make.subscription(&kept), w.make.subscription(&gone));
    let [kept_route, gone_route] =
        [(&of_kept, &kept), (&of_gone, &gone)].map(|(s, endpoint)| Route { subscription: s.id, endpoint: endpoint.id });
    let mut changes: Vec<ConfigChange> = [kept, gone.clone()].map(ConfigChange::Endpoint).into();
    changes.extend([of_kept.clone(), of_gone].map(ConfigChange::Subscription));
    w.configure(changes).await.expect("configure");
    let (first, second) = (w.claimed(kept_route).await, w.claimed(kept_route).await);
    w.succeed(first).await;
    w.fail(second).await;
    w.unclaimed(gone_route).await;
    let event = w.make.event_for(&[others, others]);
    w.publish_one(NewEvent { namespace: Namespace::new("other").expect("a name by the rule"), ..event }).await;
    let (succeeded, failed) = (StateKind::Succeeded as usize, StateKind::Failed as usize);
    let found = delivery_counts(w, Some("default")).await;
    assert_eq!((found[StateKind::Pending as usize], found[succeeded], found[failed]), (1, 1, 1));
    let now = w.make.now();
    let gone = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..gone };
    let deleted = Subscription { deleted_at: Some(now), ..of_kept };
    w.configure(vec![ConfigChange::Endpoint(gone), ConfigChange::Subscription(deleted)]).await.expect("configure");
    w.forget(gone_route.subscription);
    w.reopen().await;
    let found = delivery_counts(w, Some("default")).await;
    assert_eq!((found[StateKind::Pending as usize], found[succeeded], found[failed]), (0, 1, 1));
    assert_eq!(delivery_counts(w, Some("other")).await, [2, 0, 0, 0, 0, 0, 0]);
    assert_eq!(delivery_counts(w, None).await.iter().sum::<u64>(), 4);
    assert_eq!(delivery_counts(w, Some("nobodys")).await, [0; 7]);
}

/// A store that works says so, before and after a restart.
pub async fn health_is_good<H: Harness>(w: &mut World<H>) {
    assert_eq!(w.store().health().await, Ok(()));
    w.reopen().await;
    assert_eq!(w.store().health().await, Ok(()));
}

async fn list<H: Harness>(w: &World<H>, route: Route, limit: u32) -> Vec<AttemptView> {
    w.store().attempts(route.subscription, limit).await.expect("attempts")
}

async fn delivery_counts<H: Harness>(w: &World<H>, of: Option<&str>) -> [u64; 7] {
    let of = of.map(|name| Namespace::new(name).expect("a name by the rule"));
    w.store().delivery_counts(of).await.expect("delivery_counts")
}
