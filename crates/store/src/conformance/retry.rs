//! Deliveries that somebody wants tried again, whatever state they are in.

use super::{Harness, Route, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::subscription::{Origin, Subscription};
use std::time::Duration;

const DAY: Duration = Duration::from_secs(86_400);

async fn retry<H: Harness>(w: &World<H>, ids: &[DeliveryId], force: bool) -> Vec<Retried> {
    let answers = w.store().retry(ids.to_vec(), force, w.make.now()).await.expect("retry");
    assert_eq!(answers.len(), ids.len(), "one answer for each");
    answers
}

/// A delivery that expires in a day, claimed or not.
async fn mortal<H: Harness>(w: &mut World<H>, route: Route, claimed: bool) -> DeliveryId {
    let mut event = w.make.event_for(&[route]);
    let expires_at = Some(w.make.now().after(DAY));
    event.deliveries.iter_mut().for_each(|delivery| (delivery.claimed, delivery.expires_at) = (claimed, expires_at));
    let id = event.deliveries[0].id;
    w.publish_one(event).await;
    id
}

/// What ended is pending again, with its dead letter closed; what waits is due now: both with all of their attempts and without an end.
pub async fn what_ended_and_what_waits_goes_on<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (failed, expired) = (mortal(w, route, true).await, mortal(w, route, true).await);
    let (pending, retrying) = (mortal(w, route, false).await, mortal(w, route, true).await);
    let letter = w.fail(failed).await;
    super::find_deliveries::end(w, expired, State::Expired).await;
    w.retry(retrying, w.make.now().after(DAY), false).await;
    let made_at = w.make.now();
    let now = w.make.advance_secs(5);
    let queued = |delivery, due_at| Retried::Queued(Requeued { delivery, endpoint: route.endpoint, due_at });
    let answers = retry(w, &[failed, expired, pending, retrying], false).await;
    assert_eq!(answers, [queued(failed, now), queued(expired, now), queued(pending, made_at), queued(retrying, now)]);
    assert!(answers.iter().all(|answer| answer.waiting().is_some() && !answer.is_refusal()));
    for (id, state, attempts) in [
        (failed, State::Pending { due_at: now }, 1),
        (expired, State::Pending { due_at: now }, 0),
        (pending, State::Pending { due_at: made_at }, 0),
        (retrying, State::Retrying { due_at: now }, 1),
    ] {
        assert_eq!(w.view(id).await.delivery.progress, Progress { state, attempts, spent: 0, expires_at: None });
    }
    let letter = w.store().dead_letter(letter).await.expect("dead_letter").expect("it stays");
    assert_eq!(letter.dead_letter.status, DeadLetterStatus::Retried(failed));
    w.reopen().await;
    assert_eq!(w.claim(route.endpoint, now).await.deliveries.len(), 4);
}

/// What an engine has in memory stays with it, and that is told. What waits there is due in the store as well, so that whoever takes over
/// from that engine tries it at once, with all of its attempts and without an end. What is being sent stays as it is.
pub async fn what_is_held_is_left_to_its_engine<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (pending, retrying, sending) = (mortal(w, route, true).await, mortal(w, route, true).await, w.claimed(route).await);
    let made_at = w.make.now();
    w.retry(retrying, made_at.after(DAY), true).await;
    w.begin(sending).await;
    let now = w.make.advance_secs(5);
    let being_sent = w.view(sending).await.delivery;
    let held = |delivery, state| Retried::Held { delivery, endpoint: route.endpoint, state };
    let answers = retry(w, &[pending, retrying, sending], true).await;
    assert_eq!(answers, [held(pending, StateKind::Pending), held(retrying, StateKind::Retrying), held(sending, StateKind::Sending)]);
    assert_eq!(answers.iter().map(Retried::waiting).collect::<Vec<_>>(), [Some(pending), Some(retrying), None]);
    assert!(w.claim(route.endpoint, now).await.deliveries.is_empty(), "nobody else gets it");
    let asked_for = [(pending, State::Pending { due_at: made_at }, 0), (retrying, State::Retrying { due_at: now }, 1)]
        .map(|(id, state, attempts)| (id, Progress { state, attempts, spent: 0, expires_at: None }));
    for (id, progress) in asked_for {
        assert_eq!(w.view(id).await.delivery.progress, progress);
    }
    assert_eq!(w.view(sending).await.delivery, being_sent);
    w.reopen().await;
    let rescued = w.store().rescue(9).await.expect("rescue");
    let found = |id| rescued.iter().find(|claimed| claimed.delivery.id == id).map(|claimed| claimed.delivery.progress);
    assert_eq!(asked_for.map(|(id, _)| found(id)), asked_for.map(|(_, progress)| Some(progress)));
    // What its engine comes to counts.
    w.succeed(pending).await;
    assert_eq!(w.state(pending).await, State::Succeeded);
}

/// A subscription's end, and an endpoint's, by which route.
fn gone<H: Harness>(w: &mut World<H>, route: Route, origin: Origin) -> [ConfigChange; 2] {
    let now = w.make.now();
    let endpoint = Endpoint { id: route.endpoint, ..w.make.endpoint() };
    let subscription = w.make.subscription(&endpoint);
    [
        ConfigChange::Subscription(Subscription { id: route.subscription, origin, deleted_at: Some(now), ..subscription }),
        ConfigChange::Endpoint(Endpoint { deleted: Some(Deletion::Kept(now)), ..endpoint }),
    ]
}

/// Whatever nobody would get stays as it is, with its dead letter: its subscription was deleted, or its endpoint was, or neither was ever there.
pub async fn what_has_nobody_is_refused<H: Harness>(w: &mut World<H>) {
    for deleted in [Some(0), Some(1), None] {
        let route = if deleted.is_some() { w.configured().await } else { w.make.route() };
        let (failed, succeeded, held) = (w.claimed(route).await, w.claimed(route).await, mortal(w, route, true).await);
        let waits = mortal(w, route, false).await;
        let letter = w.fail(failed).await;
        w.succeed(succeeded).await;
        if let Some(which) = deleted {
            let change = gone(w, route, Origin::Tasks)[which].clone();
            w.configure(vec![change]).await.expect("configure");
        }
        w.make.advance_secs(5);
        let ids = [failed, succeeded, held, waits];
        let mut before = Vec::new();
        for id in ids {
            before.push(w.view(id).await.delivery);
        }
        let refused = [StateKind::Failed, StateKind::Succeeded, StateKind::Pending, StateKind::Pending].map(Retried::Refused);
        assert_eq!(retry(w, &ids, true).await, refused, "without number {deleted:?}");
        for (id, before) in ids.into_iter().zip(before) {
            assert_eq!(w.view(id).await.delivery, before);
        }
        let letter = w.store().dead_letter(letter).await.expect("dead_letter").expect("it stays");
        assert_eq!(letter.dead_letter.status, DeadLetterStatus::Open);
    }
}

/// What waits for a deleted binding is still delivered, and so it is hastened; what has ended is not made again. A subscription that has
/// moved to another endpoint does not take along what was made for the one before.
pub async fn what_is_still_delivered_goes_on<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (failed, waits) = (w.claimed(route).await, w.unclaimed(route).await);
    w.fail(failed).await;
    let due_at = w.make.now();
    let deleted = gone(w, route, Origin::Items)[0].clone();
    w.configure(vec![deleted]).await.expect("configure");
    let queued = |delivery, endpoint, due_at| Retried::Queued(Requeued { delivery, endpoint, due_at });
    assert_eq!(retry(w, &[failed, waits], true).await, [Retried::Refused(StateKind::Failed), queued(waits, route.endpoint, due_at)]);
    let (from, to) = (w.configured().await, w.configured().await);
    let failed = w.claimed(from).await;
    w.fail(failed).await;
    let now = w.make.advance_secs(5);
    let endpoint = Endpoint { id: to.endpoint, ..w.make.endpoint() };
    let moved = Subscription { id: from.subscription, ..w.make.subscription(&endpoint) };
    w.configure(vec![ConfigChange::Subscription(moved)]).await.expect("configure");
    assert_eq!(retry(w, &[failed], false).await, [queued(failed, from.endpoint, now)]);
}

/// What succeeded is made again only where that is wanted; what was cancelled never, unless it was by hand, for there is nobody to send it to.
pub async fn what_succeeded_needs_force<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (succeeded, cancelled) = (w.claimed(route).await, w.claimed(route).await);
    w.succeed(succeeded).await;
    super::find_deliveries::end(w, cancelled, State::Cancelled(ErrorCode::SubscriptionDeleted)).await;
    let unknown = DeliveryId::new(w.make.uuid());
    let ids = [succeeded, cancelled, unknown];
    let refused = [Retried::Refused(StateKind::Succeeded), Retried::Refused(StateKind::Cancelled), Retried::NotFound];
    assert!(refused.iter().all(|answer| answer.is_refusal() && answer.waiting().is_none()));
    assert_eq!(retry(w, &ids, false).await, refused);
    let again = Retried::Queued(Requeued { delivery: succeeded, endpoint: route.endpoint, due_at: w.make.now() });
    assert_eq!(retry(w, &ids, true).await, [again, refused[1], refused[2]]);
    assert_eq!(w.state(succeeded).await.kind(), StateKind::Pending);
    assert!(retry(w, &[], true).await.is_empty());
    // Of an erased endpoint nothing is there.
    let endpoint = Endpoint { id: route.endpoint, deleted: Some(Deletion::Erased { erased_at: w.make.now() }), ..w.make.endpoint() };
    w.configure(vec![ConfigChange::Endpoint(endpoint)]).await.expect("configure");
    assert_eq!(retry(w, &[succeeded], true).await, [Retried::NotFound]);
    w.forget(route.subscription);
}
