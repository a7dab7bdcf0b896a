//! Dead letters: how they are listed and dismissed. How they open is in `settle`, how they are retried in `replay`.

use super::{Harness, Route, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;

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

/// Page by page nothing is left out and nothing comes twice, whatever happens to what was listed; only open ones if asked.
pub async fn come_in_pages<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut ids = Vec::new();
    for n in 0..5 {
        let delivery = w.claimed(route).await;
        // Two of one instant lie on either side of a page's end.
        w.make.advance_secs(u64::from(n != 2));
        ids.push((delivery, w.fail(delivery).await));
    }
    let all = list(w, route.subscription, 10).await;
    let read =
        async |w: &World<H>, open_only, page| w.store().dead_letters(route.subscription, open_only, page).await.expect("dead_letters");
    let letters = |page: &Page<DeadLetterView, DeadLetterPlace>| page.items.iter().map(|v| v.dead_letter.id).collect::<Vec<_>>();
    let first = read(w, false, PageRequest::first(2)).await;
    assert_eq!(letters(&first), all[..2]);
    // The place stays good when the letter that had it is gone.
    let at = w.make.now();
    w.store().dismiss(vec![all[1]], at).await.expect("dismiss");
    let second = read(w, false, PageRequest { after: first.next, ..PageRequest::first(2) }).await;
    assert_eq!(letters(&second), all[2..4]);
    let last = read(w, false, PageRequest { after: second.next, ..PageRequest::first(2) }).await;
    assert_eq!((letters(&last), last.next), (all[4..].to_vec(), None));
    assert_eq!(read(w, false, PageRequest::first(4)).await.next, None, "exactly all of them");
    let retried = ids.iter().find(|(_, letter)| *letter == all[2]).expect("it is one of them").0;
    w.replay(ReplayTarget::Delivery(retried), true).await;
    let open = read(w, true, PageRequest::first(2)).await;
    assert_eq!(letters(&open), [all[0], all[3]]);
    let open = read(w, true, PageRequest { after: open.next, ..PageRequest::first(2) }).await;
    assert_eq!((letters(&open), open.next), (vec![all[4]], None));
    w.succeed(retried).await;
}

/// A page ends with the payload that reaches the bytes, and has one letter at least.
pub async fn pages_end_at_the_bytes<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    for _ in 0..4 {
        let delivery = w.claimed(route).await;
        w.fail(delivery).await;
    }
    let all = views(w, route.subscription, 10).await;
    let size = all[0].event.payload.len() as u64;
    for (max_bytes, expected) in [(0, 1), (1, 1), (size, 1), (size + 1, 2), (3 * size, 3), (u64::MAX, 4)] {
        let page = PageRequest { max_bytes, ..PageRequest::first(10) };
        let page = w.store().dead_letters(route.subscription, false, page).await.expect("dead_letters");
        assert_eq!((page.items.len(), page.next.is_some()), (expected, expected < 4), "{max_bytes} bytes");
    }
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

/// Nobody can reach an open dead letter of a deleted subscription: it is dismissed as of the deletion, in slices too, and goes by that.
pub async fn are_closed_when_their_subscription_was_deleted<H: Harness>(w: &mut World<H>) {
    let endpoint = w.make.endpoint();
    let (gone, stays) = (w.make.subscription(&endpoint), w.make.subscription(&endpoint));
    let binding = Subscription { origin: Origin::Items, ..w.make.subscription(&endpoint) };
    let route_of = |of: &Subscription| Route { subscription: of.id, endpoint: endpoint.id };
    let mut letters = Vec::new();
    for _ in 0..5 {
        let id = w.claimed(route_of(&gone)).await;
        letters.push(w.fail(id).await);
    }
    let other = w.claimed(route_of(&stays)).await;
    let other = w.fail(other).await;
    let listed = w.claimed(route_of(&binding)).await;
    let listed = w.fail(listed).await;
    let cutoff = w.make.advance_secs(1_000_000);
    let deleted_at = w.make.advance_secs(1);
    let deleted = Subscription { deleted_at: Some(deleted_at), ..gone.clone() };
    let unbound = Subscription { deleted_at: Some(deleted_at), ..binding };
    let changes = [deleted, stays, unbound].map(ConfigChange::Subscription).into();
    w.configure(changes).await.expect("configure");
    let never = Timestamp::MIN;
    let slice = PruneRequest { closed_before: deleted_at, limit: 2, ..super::prune::before(never) };
    while w.prune(slice).await.more {}
    for id in &letters {
        let view = w.store().dead_letter(*id).await.expect("dead_letter").expect("it was closed at the bound, and stays");
        assert_eq!(view.dead_letter.status, DeadLetterStatus::Dismissed);
    }
    assert_eq!(w.counters(gone.id).await.dead_letters, 0);
    for id in [other, listed] {
        let view = w.store().dead_letter(id).await.expect("dead_letter").expect("it is there");
        assert_eq!(view.dead_letter.status, DeadLetterStatus::Open);
    }
    while w.prune(PruneRequest { events_before: cutoff, ..slice }).await.more {}
    assert_eq!(w.counters(gone.id).await.deliveries, [0; 7]);
    for id in letters {
        assert!(w.store().dead_letter(id).await.expect("dead_letter").is_none());
    }
    for id in [other, listed] {
        assert!(w.store().dead_letter(id).await.expect("dead_letter").is_some());
    }
}

async fn views<H: Harness>(w: &World<H>, of: SubscriptionId, limit: u32) -> Vec<DeadLetterView> {
    w.store().dead_letters(of, false, PageRequest::first(limit)).await.expect("dead_letters").items
}

async fn list<H: Harness>(w: &World<H>, of: SubscriptionId, limit: u32) -> Vec<DeadLetterId> {
    views(w, of, limit).await.into_iter().map(|view| view.dead_letter.id).collect()
}
