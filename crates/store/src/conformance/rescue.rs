//! What a dead engine had in memory.

use super::{Harness, World};
use postrider_core::delivery::State;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;

/// The claims of the engine that asks are not rescued from it.
pub async fn finds_nothing_without_a_crash<H: Harness>(w: &mut World<H>) {
    assert!(rescue(w, 10).await.is_empty());
    let (route, other) = (w.make.route(), w.make.route());
    let id = w.claimed(route).await;
    w.unclaimed(other).await;
    w.begin(id).await;
    assert!(rescue(w, 10).await.is_empty());
    w.succeed(id).await;
}

/// Everything that was claimed, however it came to be, and nothing else; with its event; and only once.
pub async fn takes_over_what_was_claimed<H: Harness>(w: &mut World<H>) {
    let (route, other) = (w.make.route(), w.make.route());
    let due_at = w.make.now();
    let (pending, retrying, sending) = (w.claimed(route).await, w.claimed(route).await, w.claimed(route).await);
    let (done, let_go) = (w.claimed(route).await, w.claimed(route).await);
    w.retry(retrying, due_at, true).await;
    w.begin(sending).await;
    w.succeed(done).await;
    w.retry(let_go, due_at, false).await;
    let by_claim = w.unclaimed(other).await;
    w.claim(other.endpoint, due_at).await;
    let free = w.unclaimed(other).await;
    let mut before = Vec::new();
    for id in [pending, retrying, sending, by_claim] {
        before.push(w.view(id).await);
    }

    w.reopen().await;
    assert!(
        w.claim(route.endpoint, due_at).await.deliveries.iter().all(|claimed| claimed.delivery.id == let_go),
        "claimed ones are not in the index of due ones"
    );
    let mut rescued = rescue(w, 10).await;
    rescued.sort_by_key(|claimed| claimed.delivery.id);
    before.sort_by_key(|view| view.delivery.id);
    assert_eq!(rescued.len(), before.len());
    for (claimed, view) in rescued.iter().zip(before) {
        assert_eq!((&claimed.delivery, &claimed.event), (&view.delivery, &view.event));
    }
    assert!(rescue(w, 10).await.is_empty(), "what was rescued is claimed by who rescued it");
    let batch = w.claim(other.endpoint, due_at).await;
    assert_eq!(batch.deliveries.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [free]);
}

/// The attempt that was under way comes with its delivery; finished ones do not.
pub async fn hands_over_the_open_attempt<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (waiting, sending) = (w.claimed(route).await, w.claimed(route).await);
    let due_at = w.make.now();
    w.retry(waiting, due_at, true).await;
    w.retry(sending, due_at, true).await;
    let open = w.begin(sending).await;
    assert_eq!(open.number, 2);
    w.reopen().await;
    for claimed in rescue(w, 10).await {
        if claimed.delivery.id == sending {
            assert_eq!(claimed.delivery.progress.state, State::Sending);
            assert_eq!(claimed.open_attempt.as_ref(), Some(&open));
        } else {
            assert_eq!((claimed.delivery.id, claimed.open_attempt), (waiting, None));
        }
    }
}

/// No more than the limit at a time; each delivery in one slice; empty when there are none left.
pub async fn goes_in_slices<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut left = BTreeSet::new();
    for _ in 0..7 {
        left.insert(w.claimed(route).await);
    }
    w.reopen().await;
    for expected in [3, 3, 1, 0] {
        let slice = rescue(w, 3).await;
        assert_eq!(slice.len(), expected);
        assert!(slice.iter().all(|claimed| left.remove(&claimed.delivery.id)), "none comes twice");
    }
    assert!(left.is_empty());
}

/// The engine that rescued it goes on with it: ends the interrupted attempt and makes the next.
pub async fn what_was_rescued_can_be_settled<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let open = w.begin(id).await;
    w.reopen().await;
    let claimed = rescue(w, 10).await.remove(0);
    assert_eq!(claimed.open_attempt.as_ref(), Some(&open));
    let now = w.make.advance_secs(5);
    w.retry(id, now, true).await;
    w.succeed(id).await;
    let view = w.view(id).await;
    assert_eq!(view.attempts.iter().map(|attempt| attempt.number).collect::<Vec<_>>(), [1, 2]);
    assert_eq!(view.attempts[0].id, open.id);
    let counters = w.counters(route.subscription).await;
    assert_eq!((counters.attempts_succeeded, counters.attempts_failed), (1, 1));
}

/// An engine that dies in the middle of it leaves the rest and what it took to the next one.
pub async fn a_crash_during_rescue_loses_nothing<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut all = BTreeSet::new();
    for _ in 0..5 {
        all.insert(w.claimed(route).await);
    }
    w.reopen().await;
    assert_eq!(rescue(w, 2).await.len(), 2);
    w.reopen().await;
    let rescued: BTreeSet<DeliveryId> = rescue(w, 10).await.into_iter().map(|claimed| claimed.delivery.id).collect();
    assert_eq!(rescued, all);
    assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty());
}

async fn rescue<H: Harness>(w: &World<H>, limit: u32) -> Vec<Claimed> {
    w.store().rescue(limit).await.expect("rescue")
}
