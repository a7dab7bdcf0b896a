//! Budgets: what makes the store grow is refused before its room is used up, and what follows from what was accepted is not.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::id::*;
use postrider_core::key::ApiKey;
use postrider_core::ports::*;
use postrider_core::schedule::Scheduled;
use postrider_core::time::Timestamp;

/// Small enough to be filled in no time, and many times what an empty database takes.
const BUDGET: u64 = 16 << 20;

const PAYLOAD: usize = 100_000;

fn large<H: Harness>(w: &mut World<H>, route: Route) -> NewEvent {
    NewEvent { payload: Bytes::from(vec![b'p'; PAYLOAD]), ..w.make.claimed_event_for(&[route]) }
}

async fn usage<H: Harness>(w: &World<H>) -> (u64, u64) {
    let Usage { used_bytes, budget_bytes } = w.store().usage().await.expect("usage");
    (used_bytes, budget_bytes.expect("it has a budget"))
}

/// Publishes until there is no room; answers what was stored, and the event that was refused.
async fn fill<H: Harness>(w: &mut World<H>, route: Route) -> (Vec<DeliveryId>, NewEvent) {
    let mut stored = Vec::new();
    loop {
        assert!(stored.len() < 1_000, "nothing is ever refused");
        let event = large(w, route);
        match w.store().publish(vec![event.clone()]).await {
            Ok(_) => {
                w.know(&event.deliveries);
                stored.push(event.deliveries[0].id);
            }
            Err(error) => {
                assert_eq!(error.kind, StoreErrorKind::OverBudget, "{}", error.cause);
                return (stored, event);
            }
        }
        let (used, budget) = usage(w).await;
        assert!(used <= budget, "{used} of {budget}");
    }
}

fn refusal<T: std::fmt::Debug>(answer: Result<T, StoreError>) -> StoreErrorKind {
    answer.expect_err("there is no room").kind
}

/// Without a budget there is no limit, and what is stored is counted all the same.
pub async fn without_a_budget_nothing_is_refused<H: Harness>(w: &mut World<H>) {
    let before = w.store().usage().await.expect("usage");
    let route = w.make.route();
    let event = large(w, route);
    w.publish_one(event).await;
    let after = w.store().usage().await.expect("usage");
    assert_eq!((before.budget_bytes, after.budget_bytes), (None, None));
    // A part of it may lie in a page that was there already.
    assert!(after.used_bytes >= before.used_bytes + PAYLOAD as u64 * 9 / 10, "{before:?} {after:?}");
}

/// Everything that makes the store grow is refused, as a whole; what replaces something, takes something away or is there already is not.
pub async fn what_makes_it_grow_is_refused<H: Harness>(w: &mut World<H>) {
    w.restart_with_budget(BUDGET).await;
    let (endpoint, key) = (w.make.endpoint(), w.make.key());
    let known = vec![ConfigChange::Endpoint(endpoint.clone()), ConfigChange::Key(key.clone())];
    w.configure(known).await.expect("there is room");
    let now = w.make.now();
    let request = |key: &str| NewRequest {
        key: RequestKey { owner: "o".to_owned(), scope: "s".to_owned(), key: key.to_owned() },
        fingerprint: [7; 32],
        seed: uuid::Uuid::from_u128(1),
        at: now,
    };
    assert!(matches!(w.store().begin_request(request("known")).await, Ok(Begun::New { .. })));
    let keyed = |event: NewEvent| NewEvent { idempotency_key: Some("k".to_owned()), ..event };
    let first = keyed(w.make.event(0));
    w.publish_one(first.clone()).await;
    let route = w.make.route();
    let (stored, refused) = fill(w, route).await;
    assert!(stored.len() >= 80, "{} events of {PAYLOAD} bytes", stored.len());
    assert!(w.store().event(refused.id).await.expect("event").is_none(), "nothing of it is stored");
    assert!(w.store().delivery(refused.deliveries[0].id).await.expect("delivery").is_none());
    let (one, other) = (large(w, route), large(w, route));
    assert_eq!(refusal(w.store().publish(vec![one, other]).await), StoreErrorKind::OverBudget);
    // A duplicate adds nothing.
    let again = keyed(NewEvent { payload: refused.payload.clone(), ..w.make.event(0) });
    assert!(matches!(w.store().publish(vec![again]).await.as_deref(), Ok([Published::Duplicate { id, .. }]) if *id == first.id));
    // Small things find no room either once nothing is left for large ones and they have taken the rest.
    let mut small = 0;
    let row = |w: &mut World<H>| Scheduled { payload: Bytes::from(vec![b'p'; 10_000]), ..w.make.scheduled(route.subscription, now) };
    loop {
        let row = row(w);
        if w.store().schedule(vec![row]).await.map_err(|e| assert_eq!(e.kind, StoreErrorKind::OverBudget)).is_err() {
            break;
        }
        small += 1;
        assert!(small < 1_000, "nothing is ever refused");
    }
    while w.store().begin_request(request(&format!("{small}"))).await.is_ok() {
        small += 1;
        assert!(small < 100_000, "nothing is ever refused");
    }
    assert_eq!(refusal(w.store().begin_request(request("new")).await), StoreErrorKind::OverBudget);
    let known = NewRequest { seed: w.make.uuid(), ..request("known") };
    assert_eq!(w.store().begin_request(known).await.expect("it is known"), Begun::Running);
    let new = ConfigChange::Endpoint(w.make.endpoint());
    assert_eq!(refusal(w.configure(vec![new]).await), StoreErrorKind::OverBudget);
    let job = super::jobs::job(w);
    assert_eq!(refusal(w.store().put_job(job).await), StoreErrorKind::OverBudget);
    let changed = Endpoint { url: "http://127.0.0.1:9/other".to_owned(), ..endpoint.clone() };
    let gone = Endpoint { deleted: Some(Deletion::Kept(now)), ..w.make.endpoint() };
    let revoked = ApiKey { revoked_at: Some(now), ..key };
    let changes = vec![ConfigChange::Endpoint(changed), ConfigChange::Endpoint(gone), ConfigChange::Key(revoked)];
    w.configure(changes).await.expect("it replaces what is there, or says that something is gone");
    let (used, budget) = usage(w).await;
    assert!(used <= budget, "{used} of {budget}");
}

/// What was accepted goes on to its end, and when that was removed there is room again.
pub async fn what_was_accepted_goes_on<H: Harness>(w: &mut World<H>) {
    w.restart_with_budget(BUDGET).await;
    let route = w.make.route();
    let (stored, _) = fill(w, route).await;
    let due_at = w.make.now();
    let (succeed, rest) = stored.split_at(stored.len() / 2);
    for id in succeed {
        w.succeed(*id).await;
    }
    w.retry(rest[0], due_at, false).await;
    assert_eq!(w.claim(route.endpoint, due_at).await.deliveries.len(), 1);
    let letter = w.fail(rest[1]).await;
    assert!(matches!(w.replay(ReplayTarget::Delivery(rest[1]), false).await, Replayed::Queued(_)));
    assert_eq!(w.store().dismiss(vec![letter], due_at).await.expect("dismiss"), [false]);
    let open = w.fail(rest[2]).await;
    assert_eq!(w.store().dismiss(vec![open], due_at).await.expect("dismiss"), [true]);
    let (full, budget) = usage(w).await;
    assert!(full <= budget, "there was room for that: {full} of {budget}");
    let event = large(w, route);
    assert_eq!(refusal(w.store().publish(vec![event]).await), StoreErrorKind::OverBudget);
    let now = w.make.advance_secs(100);
    let pruned = w.prune(PruneRequest { events_before: now, ..super::prune::before(Timestamp::MIN) }).await;
    assert_eq!((pruned.deliveries, pruned.events), (succeed.len() as u64 + 1, succeed.len() as u64 + 1));
    let (left, _) = usage(w).await;
    assert!(left < full * 2 / 3, "{left} of {full}");
    let event = large(w, route);
    w.publish_one(event).await;
    let counters = w.counters(route.subscription).await.deliveries;
    assert_eq!(counters[StateKind::Succeeded as usize], 0);
    assert_eq!(counters.iter().sum::<u64>(), (rest.len() - 1 + 1) as u64, "what waits is there, and the new one");
}
