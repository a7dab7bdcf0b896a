//! Deliveries that somebody calls off.

use super::{Harness, World};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::{Category, ErrorCode};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

const CALLED_OFF: State = State::Cancelled(ErrorCode::CancelledByHand);

async fn cancel<H: Harness>(w: &World<H>, id: DeliveryId) -> Cancelled {
    w.store().cancel(id).await.expect("cancel")
}

/// Whether it says of itself that somebody called it off and it goes on still; a list says it of none.
async fn is_called_off<H: Harness>(w: &World<H>, id: DeliveryId) -> bool {
    let listed = w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await.page.items;
    assert!(listed.iter().all(|row| !row.called_off));
    w.store().delivery_row(id, None).await.expect("delivery_row").is_some_and(|row| row.called_off)
}

/// An engine has it in memory and gives it back as it is.
async fn give_back<H: Harness>(w: &mut World<H>, id: DeliveryId) -> Settled {
    let progress = w.view(id).await.delivery.progress;
    let settlement = w.settlement(id, progress.state, None).await;
    w.settle(vec![Settlement { attempt: None, progress, keep_claim: false, ..settlement }]).await.remove(0)
}

/// An attempt fails, and another one is due; the engine would keep it.
async fn fails_once<H: Harness>(w: &mut World<H>, id: DeliveryId) -> Settled {
    let (outcome, due_at) = (w.make.failure(), w.make.now().after(Duration::from_secs(60)));
    let settlement = w.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
    w.settle(vec![settlement]).await.remove(0)
}

/// What nobody has in memory has ended: nobody gets it any more, and there is no dead letter of it.
pub async fn what_waits_ends<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (pending, retrying) = (w.unclaimed(route).await, w.claimed(route).await);
    let due_at = w.make.advance_secs(60);
    w.retry(retrying, due_at, false).await;
    let mut event = w.make.event_for(&[route]);
    event.deliveries[0].expires_at = Some(w.make.now().after(Duration::from_secs(9)));
    let mortal = event.deliveries[0].id;
    w.publish_one(event).await;
    for _ in 0..2 {
        for (id, attempts) in [(pending, 0), (retrying, 1), (mortal, 0)] {
            let before = w.view(id).await.delivery.progress;
            let expected =
                if before.state == CALLED_OFF { Cancelled::Ended(StateKind::Cancelled) } else { Cancelled::AtOnce(route.endpoint) };
            assert_eq!(cancel(w, id).await, expected);
            let view = w.view(id).await;
            assert_eq!(
                (view.delivery.progress.state, view.attempts.len(), view.delivery.progress.attempts),
                (CALLED_OFF, attempts, before.attempts)
            );
        }
        w.reopen().await;
    }
    assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty());
    assert!(w.store().backlog().await.expect("backlog").is_empty());
    assert_eq!(w.store().next_expiry().await, Ok(None));
    assert!(w.store().rescue(9).await.expect("rescue").is_empty());
    let counters = w.counters(route.subscription).await;
    assert_eq!((counters.deliveries[StateKind::Cancelled as usize], counters.dead_letters), (3, 0));
    for filter in [
        DeliveryFilter { states: [StateKind::Cancelled].into(), ..DeliveryFilter::default() },
        DeliveryFilter { category: Some(Category::Unknown), subscription: Some(route.subscription), ..DeliveryFilter::default() },
    ] {
        assert_eq!(w.find_deliveries(filter, Window::first(9)).await.total, 3);
    }
}

/// What has ended stays as it is, and what is not there is not.
pub async fn what_does_not_wait_stays<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (succeeded, failed, waits) = (w.claimed(route).await, w.claimed(route).await, w.unclaimed(route).await);
    w.succeed(succeeded).await;
    w.fail(failed).await;
    let before = (w.view(succeeded).await.delivery, w.view(failed).await.delivery);
    assert_eq!(cancel(w, succeeded).await, Cancelled::Ended(StateKind::Succeeded));
    assert_eq!(cancel(w, failed).await, Cancelled::Ended(StateKind::Failed));
    assert_eq!((w.view(succeeded).await.delivery, w.view(failed).await.delivery), before);
    assert_eq!(w.counters(route.subscription).await.dead_letters, 1);
    let unknown = DeliveryId::new(w.make.uuid());
    assert_eq!(cancel(w, unknown).await, Cancelled::NotFound);
    let endpoint = Endpoint { id: route.endpoint, deleted: Some(Deletion::Erased { erased_at: w.make.now() }), ..w.make.endpoint() };
    w.configure(vec![ConfigChange::Endpoint(endpoint)]).await.expect("configure");
    assert_eq!(cancel(w, waits).await, Cancelled::NotFound);
    w.forget(route.subscription);
}

/// What an engine has in memory stays with it until that says something of it: then it has ended, once.
pub async fn what_is_held_ends_when_it_is_given_back<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (pending, retrying, other) = (w.claimed(route).await, w.claimed(route).await, w.claimed(route).await);
    w.retry(retrying, w.make.now(), true).await;
    for id in [pending, retrying] {
        let before = w.view(id).await.delivery;
        assert!(!is_called_off(w, id).await);
        for _ in 0..2 {
            assert_eq!(cancel(w, id).await, Cancelled::AfterAttempt);
            assert_eq!(w.view(id).await.delivery, before);
            assert!(is_called_off(w, id).await);
        }
        assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty(), "nobody else gets it");
        let back = Settlement {
            attempt: None,
            progress: before.progress,
            keep_claim: true,
            ..w.settlement(id, before.progress.state, None).await
        };
        assert_eq!(w.settle(vec![back.clone(), back]).await, [Settled::CalledOff, Settled::Fenced]);
        assert_eq!(w.state(id).await, CALLED_OFF);
        assert!(!is_called_off(w, id).await);
        assert_eq!(cancel(w, id).await, Cancelled::Ended(StateKind::Cancelled));
    }
    assert_eq!(give_back(w, other).await, Settled::Stored, "nobody has called it off");
    assert_eq!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.len(), 1);
    w.reopen().await;
    assert_eq!(w.store().rescue(9).await.expect("rescue").len(), 1);
}

/// It ends after the attempt, which is recorded as ever, unless that ends it otherwise; also where the store hears of the attempt only later.
pub async fn what_is_being_sent_ends_after_its_attempt<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    for begins in [Some(true), Some(false), None] {
        let mut ids = Vec::new();
        for _ in 0..3 {
            let id = w.claimed(route).await;
            if begins == Some(true) {
                w.begin(id).await;
            }
            assert_eq!(cancel(w, id).await, Cancelled::AfterAttempt);
            if begins == Some(false) {
                w.begin(id).await;
                assert_eq!(w.state(id).await, State::Sending);
            }
            ids.push(id);
        }
        w.make.advance_secs(1);
        assert_eq!(fails_once(w, ids[0]).await, Settled::CalledOff);
        w.succeed(ids[1]).await;
        w.fail(ids[2]).await;
        let mut states = Vec::new();
        for id in &ids {
            let view = w.view(*id).await;
            states.push(view.delivery.progress.state);
            assert_eq!((view.delivery.progress.attempts, view.attempts.len(), view.delivery.last_attempt_at.is_some()), (1, 1, true));
            assert!(view.attempts[0].outcome.is_some());
        }
        assert_eq!(states, [CALLED_OFF, State::Succeeded, State::Failed(ErrorCode::ConnectionRefused)]);
    }
    let counters = w.counters(route.subscription).await;
    assert_eq!((counters.attempts_succeeded, counters.attempts_failed, counters.dead_letters), (3, 6, 3));
    assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty());
}

/// Others of a batch are stored as they are.
pub async fn each_of_a_batch_is_answered<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (off, stays) = (w.claimed(route).await, w.claimed(route).await);
    cancel(w, off).await;
    let (due_at, outcome) = (w.make.now(), w.make.failure());
    let mut batch = Vec::new();
    for id in [stays, off] {
        batch.push(w.settlement(id, State::Retrying { due_at }, Some(outcome.clone())).await);
    }
    assert_eq!(w.settle(batch).await, [Settled::Stored, Settled::CalledOff]);
    assert_eq!((w.state(stays).await, w.state(off).await), (State::Retrying { due_at }, CALLED_OFF));
}

/// Whoever takes over from a dead engine ends what was called off before.
pub async fn a_crash_forgets_nothing<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (pending, sending) = (w.claimed(route).await, w.claimed(route).await);
    w.begin(sending).await;
    for id in [pending, sending] {
        assert_eq!(cancel(w, id).await, Cancelled::AfterAttempt);
    }
    w.reopen().await;
    // One is called off while nobody has taken it over yet.
    assert_eq!(cancel(w, pending).await, Cancelled::AfterAttempt);
    assert_eq!(w.store().rescue(9).await.expect("rescue").len(), 2);
    assert_eq!((give_back(w, pending).await, fails_once(w, sending).await), (Settled::CalledOff, Settled::CalledOff));
    assert_eq!((w.state(pending).await, w.state(sending).await), (CALLED_OFF, CALLED_OFF));
}

async fn retried<H: Harness>(w: &World<H>, id: DeliveryId) -> Retried {
    w.store().retry(vec![id], false, w.make.now()).await.expect("retry").remove(0)
}

/// Whoever wants it tried again takes it back, before it has ended and afterwards; nothing is left of it then.
pub async fn a_retry_takes_it_back<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    let (held, waits, done) = (w.claimed(route).await, w.unclaimed(route).await, w.claimed(route).await);
    for id in [held, done] {
        assert_eq!(cancel(w, id).await, Cancelled::AfterAttempt);
    }
    assert!(matches!(retried(w, held).await, Retried::Held { state: StateKind::Pending, .. }));
    assert_eq!(fails_once(w, held).await, Settled::Stored);
    assert_eq!(w.state(held).await.kind(), StateKind::Retrying);
    assert_eq!(cancel(w, waits).await, Cancelled::AtOnce(route.endpoint));
    assert!(matches!(retried(w, waits).await, Retried::Queued(again) if again.delivery == waits));
    assert_eq!(w.claim(route.endpoint, w.make.now()).await.deliveries.len(), 1);
    assert_eq!(fails_once(w, waits).await, Settled::Stored);
    // One that succeeded all the same, and is made again: it was called off the last time.
    w.succeed(done).await;
    w.replay(ReplayTarget::Delivery(done), true).await;
    assert_eq!(fails_once(w, done).await, Settled::Stored);
}

/// What a replay kept open stays open, whichever way its delivery ends by that.
pub async fn a_kept_dead_letter_stays_open<H: Harness>(w: &mut World<H>) {
    let route = w.configured().await;
    for is_held in [true, false] {
        let id = w.claimed(route).await;
        let letter = w.fail(id).await;
        w.replay_keeping(id).await;
        if is_held {
            assert_eq!(cancel(w, id).await, Cancelled::AfterAttempt);
            assert_eq!(give_back(w, id).await, Settled::CalledOff);
        } else {
            assert_eq!(give_back(w, id).await, Settled::Stored);
            assert_eq!(cancel(w, id).await, Cancelled::AtOnce(route.endpoint));
        }
        let status = async |w: &World<H>| w.store().dead_letter(letter).await.expect("dead_letter").map(|view| view.dead_letter.status);
        assert_eq!((w.state(id).await, status(w).await), (CALLED_OFF, Some(DeadLetterStatus::Open)));
        assert!(matches!(retried(w, id).await, Retried::Queued(_)));
        assert_eq!(status(w).await, Some(DeadLetterStatus::Retried(id)));
    }
}
