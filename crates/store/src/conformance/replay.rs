//! Ended deliveries that are made again.

use super::{Harness, Route, World};
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// However it ended, it is pending again: with its number of attempts, a fresh budget and no time to live.
pub async fn takes_every_resting_delivery_back<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let code = ErrorCode::EndpointDeleted;
    for state in [State::Succeeded, State::Failed(code), State::Expired, State::Cancelled(code)] {
        let mut event = w.make.claimed_event_for(&[route]);
        let id = event.deliveries[0].id;
        event.deliveries[0].expires_at = Some(event.created_at);
        let outcome = w.make.failure();
        w.publish_one(event).await;
        let ends = w.settlement(id, state, Some(outcome)).await;
        w.settle_one(ends).await;
        let last_attempt_at = w.view(id).await.delivery.last_attempt_at;
        let due_at = w.make.advance_secs(60);
        queued(w.replay(ReplayTarget::Delivery(id), false).await);
        let delivery = w.view(id).await.delivery;
        assert_eq!(
            delivery.progress,
            Progress { state: State::Pending { due_at }, attempts: 1, spent: 0, expires_at: None },
            "after {state:?}"
        );
        assert!(delivery.created_at < due_at && delivery.last_attempt_at == last_attempt_at, "the rest of it stays");
    }
}

/// What is under way is refused with its state, and nothing changes.
pub async fn refuses_what_does_not_rest<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let now = w.make.now();
    let (pending, sending, retrying) = (w.unclaimed(other).await, w.claimed(route).await, w.claimed(route).await);
    w.begin(sending).await;
    w.retry(retrying, now, true).await;
    for (id, kind) in [(pending, StateKind::Pending), (sending, StateKind::Sending), (retrying, StateKind::Retrying)] {
        let before = w.view(id).await.delivery;
        let answer = w.replay(ReplayTarget::Delivery(id), true).await;
        assert!(matches!(answer, Replayed::NotResting(found) if found == kind), "{answer:?}");
        assert_eq!(w.view(id).await.delivery, before);
    }
    let done = w.claimed(route).await;
    w.succeed(done).await;
    let replay = Replay { target: ReplayTarget::Delivery(done), keep_dead_letter: false, claim: false, at: now };
    let answers = w.store().replay(vec![replay, replay]).await.expect("replay");
    assert!(matches!(answers[..], [Replayed::Queued(_), Replayed::NotResting(StateKind::Pending)]), "{answers:?}");
}

/// There is nothing to replay under an id that nobody knows.
pub async fn knows_nothing_of_unknown_ids<H: Harness>(w: &mut World<H>) {
    let delivery = ReplayTarget::Delivery(DeliveryId::new(w.make.uuid()));
    let dead_letter = ReplayTarget::DeadLetterAsNew { dead_letter: DeadLetterId::new(w.make.uuid()), new: DeliveryId::new(w.make.uuid()) };
    for target in [delivery, dead_letter] {
        let answer = w.replay(target, true).await;
        assert!(matches!(answer, Replayed::NotFound), "{answer:?}");
    }
}

/// A claimed replay is with the engine at once, with its event, and with nobody else.
pub async fn a_claimed_replay_is_handed_over<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    w.succeed(id).await;
    let Replayed::Claimed(claimed) = w.replay(ReplayTarget::Delivery(id), true).await else { panic!("it was to be claimed") };
    let view = w.view(id).await;
    assert_eq!((&claimed.delivery, &claimed.event), (&view.delivery, &view.event));
    assert!(claimed.open_attempt.is_none());
    assert!(w.store().backlog().await.expect("backlog").is_empty());
    w.succeed(id).await;
    assert_eq!(w.view(id).await.delivery.progress.attempts, 2);
}

/// An unclaimed replay is in the store for whoever claims it.
pub async fn an_unclaimed_replay_waits_in_the_store<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    w.succeed(id).await;
    let first_due = w.make.advance_secs(1);
    let answer = w.replay(ReplayTarget::Delivery(id), false).await;
    let again = Requeued { delivery: id, endpoint: route.endpoint, due_at: first_due };
    assert!(matches!(answer, Replayed::Queued(found) if found == again), "{answer:?}");
    assert_eq!(w.store().backlog().await.expect("backlog"), [Backlog { endpoint: route.endpoint, first_due }]);
    let ends = w.settlement(id, State::Succeeded, None).await;
    assert_eq!(w.settle(vec![ends]).await, [Settled::Fenced], "nobody has it");
    assert_eq!(w.claim(route.endpoint, first_due).await.deliveries[0].delivery.id, id);
}

/// The open dead letter of a delivery is retried as the same delivery.
pub async fn closes_the_open_dead_letter<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    queued(w.replay(ReplayTarget::Delivery(id), true).await);
    assert_eq!(dead_letter(w, letter).await.status, DeadLetterStatus::Retried(id));
    assert_eq!(w.counters(route.subscription).await.dead_letters, 0);
    assert_eq!(w.store().dismiss(vec![letter], w.make.now()).await.expect("dismiss"), [false]);
    let new = DeliveryId::new(w.make.uuid());
    let answer = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: letter, new }, true).await;
    assert!(matches!(answer, Replayed::AlreadyClosed(Some(found)) if found == id), "{answer:?}");
}

/// Attempts are numbered on, and a second end opens a second dead letter beside the first.
pub async fn numbers_attempts_on_and_fails_anew<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let first = w.fail(id).await;
    w.make.advance_secs(1);
    queued(w.replay(ReplayTarget::Delivery(id), true).await);
    let second = w.fail(id).await;
    assert_eq!(w.view(id).await.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(dead_letter(w, first).await.status, DeadLetterStatus::Retried(id));
    let second = dead_letter(w, second).await;
    assert_eq!((second.status, second.attempts), (DeadLetterStatus::Open, 2));
    assert_eq!(w.counters(route.subscription).await.dead_letters, 1);
}

/// A dead letter becomes a new delivery of the same event and route; the old one stays as it ended.
pub async fn makes_a_new_delivery_of_a_dead_letter<H: Harness>(w: &mut World<H>) {
    for claim in [true, false] {
        let route = w.make.route();
        let old = w.claimed(route).await;
        let letter = w.fail(old).await;
        let before = w.view(old).await;
        let at = w.make.advance_secs(60);
        let new = DeliveryId::new(w.make.uuid());
        let answer = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: letter, new }, claim).await;
        let view = w.view(new).await;
        match &answer {
            Replayed::Claimed(claimed) if claim => assert_eq!((&claimed.delivery, &claimed.event), (&view.delivery, &view.event)),
            Replayed::Queued(again) if !claim => assert_eq!((again.delivery, again.endpoint, again.due_at), (new, route.endpoint, at)),
            other => panic!("{other:?}"),
        }
        assert_eq!(view.delivery.progress, Progress::new(at, None));
        assert_eq!((view.delivery.id, view.delivery.created_at, view.delivery.last_attempt_at), (new, at, None));
        let of = |view: &DeliveryView| {
            (view.delivery.event, view.delivery.namespace.clone(), view.delivery.subscription, view.delivery.endpoint)
        };
        assert_eq!(of(&view), of(&before));
        let after = w.view(old).await;
        assert_eq!((after.delivery, after.attempts), (before.delivery, before.attempts));
        assert_eq!(dead_letter(w, letter).await.status, DeadLetterStatus::Retried(new));
        let event = w.store().event(view.event.id).await.expect("event").expect("it is there");
        assert_eq!(event.deliveries.iter().map(|delivery| delivery.id).collect::<Vec<_>>(), [old, new]);

        let found = w.claim(route.endpoint, at).await.deliveries.len();
        assert_eq!(found, usize::from(!claim), "in the store exactly if it was not claimed");
        w.succeed(new).await;
    }
}

/// Of an endpoint that was erased nothing is there to be made again, and the dead letter of such a delivery stays as it is: open, and not to
/// be found.
pub async fn changes_nothing_of_an_erased_endpoint<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    let endpoint = Endpoint { id: route.endpoint, deleted: Some(Deletion::Erased { erased_at: w.make.now() }), ..w.make.endpoint() };
    w.configure(vec![ConfigChange::Endpoint(endpoint)]).await.expect("configure");
    let as_new = ReplayTarget::DeadLetterAsNew { dead_letter: letter, new: DeliveryId::new(w.make.uuid()) };
    for target in [ReplayTarget::Delivery(id), as_new] {
        let answer = w.replay(target, false).await;
        assert!(matches!(answer, Replayed::NotFound), "{target:?}: {answer:?}");
    }
    w.forget(route.subscription);
}

/// A dead letter is retried once: then, or when it was dismissed, it is closed.
pub async fn refuses_a_dead_letter_that_is_closed<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (a, b) = (w.claimed(route).await, w.claimed(route).await);
    let (retried, dismissed) = (w.fail(a).await, w.fail(b).await);
    let ids: Vec<DeliveryId> = (0..3).map(|_| DeliveryId::new(w.make.uuid())).collect();
    queued(w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: retried, new: ids[0] }, true).await);
    w.store().dismiss(vec![dismissed], w.make.now()).await.expect("dismiss");
    let answer = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: retried, new: ids[1] }, true).await;
    assert!(matches!(answer, Replayed::AlreadyClosed(Some(found)) if found == ids[0]), "{answer:?}");
    let answer = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: dismissed, new: ids[2] }, true).await;
    assert!(matches!(answer, Replayed::AlreadyClosed(None)), "{answer:?}");
    for id in &ids[1..] {
        assert!(w.store().delivery(*id).await.expect("delivery").is_none(), "a refusal makes nothing");
    }
}

/// Replays are as durable as deliveries: claimed ones are rescued, unclaimed ones wait.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (kept, free) = (w.claimed(route).await, w.claimed(route).await);
    let letter = w.fail(kept).await;
    w.succeed(free).await;
    let new = DeliveryId::new(w.make.uuid());
    queued(w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: letter, new }, true).await);
    queued(w.replay(ReplayTarget::Delivery(free), false).await);
    w.reopen().await;
    let rescued = w.store().rescue(10).await.expect("rescue");
    assert_eq!(rescued.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [new]);
    let now = w.make.now();
    let batch = w.claim(route.endpoint, now).await;
    assert_eq!(batch.deliveries.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [free]);
    assert_eq!(dead_letter(w, letter).await.status, DeadLetterStatus::Retried(new));
}

/// A dead letter that a replay keeps stays open and counted while the delivery is made again, over a crash too, and success closes it.
pub async fn a_kept_dead_letter_is_closed_by_success<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    w.make.advance_secs(1);
    queued(w.replay_keeping(id).await);
    assert_eq!(open(w, route).await, [letter]);
    let now = w.make.now();
    w.retry(id, now, true).await;
    w.begin(id).await;
    assert_eq!(open(w, route).await, [letter], "an attempt that fails decides nothing");
    w.reopen().await;
    assert_eq!(w.store().rescue(10).await.expect("rescue").len(), 1);
    assert_eq!(open(w, route).await, [letter]);
    let at = w.make.advance_secs(1);
    w.succeed(id).await;
    assert_eq!((w.state(id).await, open(w, route).await), (State::Succeeded, Vec::new()));
    assert_eq!(dead_letter(w, letter).await.status, DeadLetterStatus::Retried(id));
    // It was closed when the attempt ended, and retention counts from there.
    let before = |at| PruneRequest { closed_before: at, ..nothing() };
    assert_eq!(w.prune(before(at)).await.closed, 0);
    assert_eq!(w.prune(before(at.after(Duration::from_micros(1)))).await.closed, 1);
}

/// A new dead letter takes the place of a kept one in one moment: there is never more than one open.
pub async fn a_new_dead_letter_takes_the_place_of_a_kept_one<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let (id, untouched) = (w.claimed(route).await, w.claimed(other).await);
    let (first, beside) = (w.fail(id).await, w.fail(untouched).await);
    for number in 2..4 {
        let before = open(w, route).await;
        w.make.advance_secs(1);
        queued(w.replay_keeping(id).await);
        let second = w.fail(id).await;
        assert_eq!(open(w, route).await, [second]);
        assert_eq!(dead_letter(w, before[0]).await.status, DeadLetterStatus::Retried(id));
        assert_eq!(dead_letter(w, second).await.attempts, number);
    }
    assert_eq!(dead_letter(w, first).await.attempts, 1);
    assert_eq!(open(w, other).await, [beside]);
}

/// A delivery that ends without the receiver leaves its dead letter open: it has still not arrived.
pub async fn a_kept_dead_letter_outlives_a_cancellation<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    queued(w.replay_keeping(id).await);
    let ends = w.settlement(id, State::Cancelled(ErrorCode::EndpointDeleted), None).await;
    w.settle_one(Settlement { attempt: None, ..ends }).await;
    assert_eq!(open(w, route).await, [letter]);
    assert_eq!(w.prune(PruneRequest { events_before: w.make.now().after(DAY), ..nothing() }).await.deliveries, 0);
    queued(w.replay(ReplayTarget::Delivery(id), true).await);
    assert!(open(w, route).await.is_empty());
    w.succeed(id).await;
}

/// A replay that wants the dead letter gone closes it although the delivery is under way already, and changes nothing else.
pub async fn a_kept_dead_letter_can_be_closed_on_the_way<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    queued(w.replay_keeping(id).await);
    let before = w.view(id).await.delivery;
    let again = w.replay_keeping(id).await;
    assert!(matches!(again, Replayed::NotResting(StateKind::Pending)), "{again:?}");
    assert_eq!(open(w, route).await, [letter]);
    let answer = w.replay(ReplayTarget::Delivery(id), false).await;
    assert!(matches!(answer, Replayed::NotResting(StateKind::Pending)), "{answer:?}");
    assert_eq!((w.view(id).await.delivery, open(w, route).await), (before, Vec::new()));
    assert_eq!(dead_letter(w, letter).await.status, DeadLetterStatus::Retried(id));
    let second = w.fail(id).await;
    assert_eq!(open(w, route).await, [second]);
}

/// Dismissing a kept dead letter closes the row; the delivery goes on, retention or not.
pub async fn a_kept_dead_letter_can_be_dismissed<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let letter = w.fail(id).await;
    queued(w.replay_keeping(id).await);
    let late = w.make.now().after(DAY);
    let all = PruneRequest { bodies_before: late, ..super::prune::before(late) };
    assert_eq!(w.prune(all).await.deliveries, 0, "it does not rest");
    let before = w.view(id).await.delivery;
    assert_eq!(w.store().dismiss(vec![letter], w.make.now()).await.expect("dismiss"), [true]);
    assert_eq!((w.view(id).await.delivery, open(w, route).await), (before, Vec::new()));
    assert_eq!(w.prune(all).await.deliveries, 0);
    w.succeed(id).await;
    assert_eq!(w.prune(all).await.deliveries, 1);
}

/// What waits for its next attempt in the store is due at once when somebody does not want to wait, and for ever; nothing else is.
pub async fn a_retry_can_be_hastened<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let far = w.make.now().after(DAY);
    let mut event = w.make.event_for(&[route, route]);
    event.deliveries.iter_mut().for_each(|delivery| delivery.expires_at = Some(far));
    event.deliveries[0].claimed = true;
    let (waits, pending) = (event.deliveries[0].id, event.deliveries[1].id);
    w.publish_one(event).await;
    let kept = w.claimed(route).await;
    w.retry(waits, far, false).await;
    w.retry(kept, far, true).await;
    let ended = w.claimed(route).await;
    w.succeed(ended).await;
    let now = w.make.advance_secs(1);
    let before = w.view(waits).await.delivery;
    assert_eq!(w.store().hasten(waits, now).await, Ok(Some(route.endpoint)));
    let after = w.view(waits).await.delivery;
    let hastened = Progress { state: State::Retrying { due_at: now }, spent: 0, expires_at: None, ..before.progress };
    assert_eq!(after.progress, hastened, "a new ladder");
    assert!(before.progress.spent > 0 && before.progress.expires_at == Some(far));
    assert_eq!(w.store().hasten(waits, far).await, Ok(Some(route.endpoint)));
    assert_eq!(w.view(waits).await.delivery, after, "never later");
    let before = w.view(pending).await.delivery.progress;
    assert_eq!(w.store().hasten(pending, now).await, Ok(Some(route.endpoint)));
    assert_eq!(w.view(pending).await.delivery.progress, Progress { expires_at: None, ..before });
    for other in [kept, ended, DeliveryId::new(w.make.uuid())] {
        assert_eq!(w.store().hasten(other, now).await, Ok(None));
    }
    let claimed: Vec<_> = w.claim(route.endpoint, now).await.deliveries.into_iter().map(|claimed| claimed.delivery.id).collect();
    assert!(claimed.contains(&waits), "{claimed:?}");
}

const DAY: Duration = Duration::from_secs(86_400);

/// A round of retention that removes nothing.
fn nothing() -> PruneRequest {
    super::prune::before(Timestamp::MIN)
}

/// The open dead letters of a route; as many are counted.
async fn open<H: Harness>(w: &World<H>, route: Route) -> Vec<DeadLetterId> {
    let filter = DeadLetterFilter { subscription: Some(route.subscription), ..DeadLetterFilter::default() };
    let found = w.find_dead_letters(filter, Window::first(10)).await;
    let open: Vec<_> = found.page.items.into_iter().map(|row| row.dead_letter.id).collect();
    let counted = w.counters(route.subscription).await.dead_letters;
    assert_eq!((found.total, counted), (open.len() as u64, open.len() as u64));
    open
}

fn queued(answer: Replayed) {
    assert!(answer.delivery().is_some(), "it should be pending again, but: {answer:?}");
}

async fn dead_letter<H: Harness>(w: &World<H>, id: DeadLetterId) -> DeadLetter {
    w.store().dead_letter(id).await.expect("dead_letter").expect("it is there").dead_letter
}
