//! Dead letters: how they are listed and dismissed. How they open is in `settle`, how they are retried in `replay`.

use super::{Harness, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::id::*;
use postrider_core::ports::*;

/// The newest comes first, of one instant the greater id; open and retried ones alike, no more than asked for.
pub async fn come_newest_first<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let deliveries = [w.claimed(route).await, w.claimed(route).await, w.claimed(route).await, w.claimed(route).await];
    let letters = [(); 4].map(|()| DeadLetterId::new(w.make.uuid()));
    // Neither deliveries nor dead letters have their ids in the order in which they fail; two fail at the same time.
    for (n, secs) in [(3, 1), (1, 1), (2, 0), (0, 1)] {
        w.make.advance_secs(secs);
        w.fail_as(deliveries[n], letters[n]).await;
    }
    let expected = [letters[0], letters[2], letters[1], letters[3]];
    w.replay(ReplayTarget::Delivery(deliveries[2]), true).await;
    assert_eq!(list(w, route.subscription, 10).await, expected);
    assert_eq!(list(w, route.subscription, 2).await, expected[..2]);
    let statuses: Vec<bool> =
        views(w, route.subscription, 10).await.iter().map(|view| view.dead_letter.status == DeadLetterStatus::Open).collect();
    assert_eq!(statuses, [true, false, true, true]);
}

/// A subscription's list has its own only, even if the endpoint is shared.
pub async fn of_their_subscription_only<H: Harness>(w: &mut World<H>) {
    let a = w.make.route();
    let b = super::Route { endpoint: a.endpoint, ..w.make.route() };
    let (of_a, of_b) = (w.claimed(a).await, w.claimed(b).await);
    let (of_a, of_b) = (w.fail(of_a).await, w.fail(of_b).await);
    assert_eq!((list(w, a.subscription, 10).await, list(w, b.subscription, 10).await), (vec![of_a], vec![of_b]));
    let nobody = w.make.route().subscription;
    assert!(list(w, nobody, 10).await.is_empty());
}

/// A dismissed one is not listed and not counted, but can be looked at; its delivery stays as it ended.
pub async fn dismissed_ones_leave_the_list<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (a, b) = (w.claimed(route).await, w.claimed(route).await);
    let (first, second) = (w.fail(a).await, w.fail(b).await);
    let before = w.view(a).await.delivery;
    let at = w.make.advance_secs(1);
    assert_eq!(w.store().dismiss(vec![first], at).await.expect("dismiss"), [true]);
    assert_eq!(list(w, route.subscription, 10).await, [second]);
    assert_eq!(list(w, route.subscription, 1).await, [second], "the limit counts what is listed");
    let view = w.store().dead_letter(first).await.expect("dead_letter").expect("it is there");
    assert_eq!(view.dead_letter.status, DeadLetterStatus::Dismissed);
    assert_eq!(w.view(a).await.delivery, before);
    assert_eq!(w.counters(route.subscription).await.dead_letters, 1);
    w.reopen().await;
    assert_eq!(list(w, route.subscription, 10).await, [second]);
}

/// Only open ones are dismissed: not twice, not in one batch, not after a retry, not unknown ones.
pub async fn dismiss_answers_which_were_open<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (a, b) = (w.claimed(route).await, w.claimed(route).await);
    let (open, retried) = (w.fail(a).await, w.fail(b).await);
    w.replay(ReplayTarget::Delivery(b), true).await;
    let unknown = DeadLetterId::new(w.make.uuid());
    let now = w.make.now();
    assert_eq!(w.store().dismiss(vec![unknown, open, retried, open], now).await.expect("dismiss"), [false, true, false, false]);
    assert_eq!(w.store().dismiss(vec![open], now).await.expect("dismiss"), [false]);
    let view = w.store().dead_letter(retried).await.expect("dead_letter").expect("it is there");
    assert_eq!(view.dead_letter.status, DeadLetterStatus::Retried(b), "a refusal changes nothing");
}

/// Listed or alone, a dead letter comes with its delivery and event as they are now.
pub async fn are_shown_with_delivery_and_event<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    for replayed in [false, true] {
        if replayed {
            w.replay(ReplayTarget::Delivery(id), true).await;
        }
        let expected = w.view(id).await;
        let one = w.store().dead_letter(letter).await.expect("dead_letter").expect("it is there");
        let listed = views(w, route.subscription, 10).await.remove(0);
        assert_eq!(one.dead_letter, listed.dead_letter);
        for view in [one, listed] {
            assert_eq!((view.delivery, view.event), (expected.delivery.clone(), expected.event.clone()));
        }
    }
}

async fn views<H: Harness>(w: &World<H>, of: SubscriptionId, limit: u32) -> Vec<DeadLetterView> {
    w.store().dead_letters(of, limit).await.expect("dead_letters")
}

async fn list<H: Harness>(w: &World<H>, of: SubscriptionId, limit: u32) -> Vec<DeadLetterId> {
    views(w, of, limit).await.into_iter().map(|view| view.dead_letter.id).collect()
}
