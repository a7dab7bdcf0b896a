//! Deliveries that somebody wants tried again, whatever state they are in.

use super::{Harness, Route, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
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
    let route = w.make.route();
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

/// What an engine has in memory stays as it is, and that is told.
pub async fn what_is_held_is_left_to_its_engine<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (pending, retrying, sending) = (mortal(w, route, true).await, w.claimed(route).await, w.claimed(route).await);
    w.retry(retrying, w.make.now().after(DAY), true).await;
    w.begin(sending).await;
    w.make.advance_secs(5);
    let ids = [pending, retrying, sending];
    let mut before = Vec::new();
    for id in ids {
        before.push(w.view(id).await.delivery);
    }
    let held = |delivery, state| Retried::Held { delivery, endpoint: route.endpoint, state };
    let answers = retry(w, &ids, true).await;
    assert_eq!(answers, [held(pending, StateKind::Pending), held(retrying, StateKind::Retrying), held(sending, StateKind::Sending)]);
    assert_eq!(answers.iter().map(Retried::waiting).collect::<Vec<_>>(), [Some(pending), Some(retrying), None]);
    for (id, before) in ids.into_iter().zip(before) {
        assert_eq!(w.view(id).await.delivery, before);
    }
}

/// What succeeded is made again only where that is wanted; what was cancelled never, for there is nobody to send it to.
pub async fn what_succeeded_needs_force<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
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
