//! Retention in slices: each takes a little, they come to an end, and rows that must stay hide nothing behind them.

use super::prune::{attempts, before, dismissed, ended, succeeded};
use super::{Harness, Route, World};
use postrider_core::delivery::{State, StateKind};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

/// As a bound this is before everything: nothing of that kind goes.
const NEVER: Timestamp = Timestamp::MIN;

/// A slice takes about as much as it may, says whether there may be more, and the last one says that there is not.
pub async fn slices_come_to_an_end<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    for _ in 0..40 {
        succeeded(w, route).await;
    }
    for _ in 0..20 {
        dismissed(w).await;
        ended(w).await;
    }
    let cutoff = w.make.advance_secs(1_000);
    let request = PruneRequest { limit: 10, ..before(cutoff) };
    let mut slices = 0;
    loop {
        let slice = w.store().prune(request).await.expect("prune");
        let removed = slice.attempts + slice.deliveries + slice.events + slice.closed;
        assert!(removed <= 80, "{slice:?} is far more than {} rows", request.limit);
        slices += 1;
        assert!(slices < 1_000, "it should have come to an end");
        if !slice.more {
            break;
        }
    }
    assert!(slices > 2, "about 220 rows do not go in {slices} slices of 10");
    assert!(w.store().attempts(route.subscription, 10).await.expect("attempts").is_empty());
    assert_eq!(w.counters(route.subscription).await.deliveries, [0; 7]);
    assert!(w.store().scheduled(None, None, PageRequest::first(10)).await.expect("scheduled").items.is_empty());
    let again = w.store().prune(request).await.expect("prune");
    assert_eq!(again, Pruned::default(), "nothing is left, and that is said at once");
}

/// Old rows that must stay, many more than a slice, do not hide the ones behind them; when they may go, they do.
pub async fn rows_that_stay_do_not_stop_it<H: Harness>(w: &mut World<H>) {
    let (stays, goes) = (w.make.route(), w.make.route());
    let mut letters = Vec::new();
    for _ in 0..12 {
        let id = w.claimed(stays).await;
        letters.push(w.fail(id).await);
        w.unclaimed(stays).await;
    }
    for _ in 0..12 {
        succeeded(w, goes).await;
    }
    let cutoff = w.make.advance_secs(1_000);
    let request = PruneRequest { limit: 5, ..before(cutoff) };
    let pruned = w.prune(request).await;
    assert_eq!((pruned.deliveries, pruned.events), (12, 12));
    assert_eq!(w.counters(goes.subscription).await.deliveries, [0; 7]);
    let counters = w.counters(stays.subscription).await;
    assert_eq!((counters.deliveries[StateKind::Failed as usize], counters.deliveries[StateKind::Pending as usize]), (12, 12));
    w.store().dismiss(letters, cutoff).await.expect("dismiss");
    let pruned = w.prune(request).await;
    assert_eq!((pruned.deliveries, pruned.events), (12, 12), "behind the place where the last round ended");
}

/// More deliveries that must stay than a slice looks at, of one age with those behind them.
pub async fn more_deliveries_that_stay_than_a_slice_looks_at<H: Harness>(w: &mut World<H>) {
    let (stays, goes) = (w.make.route(), w.make.route());
    let kept = many(w, stays).await;
    let mut ends = Vec::new();
    for id in kept {
        let outcome = w.make.failure();
        let code = postrider_core::error::ErrorCode::ConnectionRefused;
        let id_of_letter = DeadLetterId::new(w.make.uuid());
        let letter = NewDeadLetter { id: id_of_letter, code, message: "maximum retries exceeded".to_owned(), at: w.make.now() };
        let end = w.settlement(id, State::Failed(code), Some(outcome)).await;
        ends.push(Settlement { dead_letter: Some(letter), ..end });
    }
    w.settle(ends).await;
    for _ in 0..10 {
        succeeded(w, goes).await;
    }
    let cutoff = w.make.advance_secs(1_000);
    let pruned = w.prune(PruneRequest { attempts_before: NEVER, limit: 5, ..before(cutoff) }).await;
    assert_eq!((pruned.deliveries, pruned.events), (10, 10), "what may go lies behind what stays");
    assert_eq!(w.counters(stays.subscription).await.dead_letters, MANY as u64);
    let event = w.make.event(1);
    w.publish_one(event).await;
}

/// More attempts that must stay than a slice looks at: their deliveries are old, they themselves are not.
pub async fn more_attempts_that_stay_than_a_slice_looks_at<H: Harness>(w: &mut World<H>) {
    let (stays, goes) = (w.make.route(), w.make.route());
    let waited = many(w, stays).await;
    let mut gone = Vec::new();
    for _ in 0..10 {
        gone.push(succeeded(w, goes).await.0);
    }
    let cutoff = w.make.advance_secs(1_000);
    w.make.advance_secs(1_000);
    let mut ends = Vec::new();
    for id in waited {
        let outcome = w.make.success();
        ends.push(w.settlement(id, State::Succeeded, Some(outcome)).await);
    }
    w.settle(ends).await;
    let pruned = w.prune(PruneRequest { events_before: NEVER, closed_before: NEVER, limit: 5, ..before(cutoff) }).await;
    assert_eq!(pruned.attempts, 10, "what may go lies behind what stays");
    for id in gone {
        assert_eq!(attempts(w, id).await, 0);
    }
    let event = w.make.event(1);
    w.publish_one(event).await;
}

/// More than the smallest slice looks at, and no multiple of anything.
const MANY: usize = 2_100;

/// That many claimed deliveries, published in one batch.
async fn many<H: Harness>(w: &mut World<H>, route: Route) -> Vec<DeliveryId> {
    let events: Vec<NewEvent> = (0..MANY).map(|_| w.make.claimed_event_for(&[route])).collect();
    let ids = events.iter().map(|event| event.deliveries[0].id).collect();
    w.publish(events).await;
    ids
}
