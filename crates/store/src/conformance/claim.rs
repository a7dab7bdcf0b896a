//! Who gets which due delivery.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::delivery::State;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

/// A delivery is due exactly from its time on; before, the batch says when.
pub async fn takes_only_what_is_due<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let at = w.make.now();
    let id = w.unclaimed(route).await;
    let early = w.claim(route.endpoint, at.before(Duration::from_micros(1))).await;
    assert_eq!((early.deliveries.len(), early.next_due), (0, Some(at)));
    let batch = w.claim(route.endpoint, at).await;
    assert_eq!((ids(&batch), batch.next_due), (vec![id], None));
    let claimed = &batch.deliveries[0];
    assert_eq!(claimed.delivery, w.view(id).await.delivery);
    assert!(claimed.open_attempt.is_none());
}

/// What was claimed, or came claimed, is never claimed again.
pub async fn takes_each_delivery_once<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    w.claimed(route).await;
    let id = w.unclaimed(route).await;
    assert_eq!(ids(&w.claim(route.endpoint, Timestamp::MAX).await), [id]);
    let again = w.claim(route.endpoint, Timestamp::MAX).await;
    assert_eq!((again.deliveries.len(), again.next_due), (0, None));
    w.succeed(id).await;
    assert!(w.claim(route.endpoint, Timestamp::MAX).await.deliveries.is_empty());
}

/// The oldest due time goes first, whatever the ids and the order of writing; of one instant the smaller id.
pub async fn takes_the_oldest_due_first<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let start = w.make.now();
    let mut expected = Vec::new();
    // The smallest id gets the latest due time.
    for secs in [50u64, 20, 40, 20, 30] {
        let id = w.claimed(route).await;
        let due_at = start.after(Duration::from_secs(secs));
        w.retry(id, due_at, false).await;
        expected.push((due_at, id));
    }
    let fresh = w.unclaimed(route).await;
    expected.push((start, fresh));
    expected.sort();
    let expected: Vec<DeliveryId> = expected.into_iter().map(|(_, id)| id).collect();
    assert_eq!(ids(&w.claim(route.endpoint, Timestamp::MAX).await), expected);
}

/// No more than the limit; the rest is for later, and the batch says when.
pub async fn stops_at_the_limit<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut all = Vec::new();
    for _ in 0..5 {
        all.push((w.unclaimed(route).await, w.make.now()));
        w.make.advance_secs(1);
    }
    let due_by = w.make.now();
    let request = |limit| ClaimRequest { endpoint: route.endpoint, due_by, limit, max_bytes: u64::MAX };
    let none = w.claim_some(request(0)).await;
    assert_eq!((none.deliveries.len(), none.next_due), (0, Some(all[0].1)));
    let batch = w.claim_some(request(2)).await;
    assert_eq!((ids(&batch), batch.next_due), (vec![all[0].0, all[1].0], Some(all[2].1)));
    let batch = w.claim_some(request(3)).await;
    assert_eq!((batch.deliveries.len(), batch.next_due), (3, None));
}

/// It stops once the payloads sum up to the bound, and takes one delivery whatever its size.
pub async fn stops_at_the_bytes_but_takes_one<H: Harness>(w: &mut World<H>) {
    for (max_bytes, taken) in [(0, 1), (1, 1), (100, 1), (101, 2), (200, 2), (201, 3), (u64::MAX, 4)] {
        let route = w.make.route();
        for _ in 0..4 {
            let event = NewEvent { payload: Bytes::from(vec![b'x'; 100]), ..w.make.event_for(&[route]) };
            w.publish_one(event).await;
        }
        let due_by = w.make.now();
        let batch = w.claim_some(ClaimRequest { endpoint: route.endpoint, due_by, limit: 100, max_bytes }).await;
        assert_eq!(batch.deliveries.len(), taken, "of 4 payloads of 100 bytes within {max_bytes}");
        assert_eq!(batch.next_due, (taken < 4).then_some(due_by));
        let rest = w.claim(route.endpoint, due_by).await;
        assert_eq!(rest.deliveries.len(), 4 - taken, "the rest is still there");
    }
}

/// Endpoints are apart, even if they share events and subscriptions.
pub async fn never_takes_another_endpoints<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route(), w.make.route());
    let mixed = Route { subscription: a.subscription, endpoint: b.endpoint };
    let event = w.make.event_for(&[a, b, mixed]);
    let deliveries: Vec<DeliveryId> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    w.publish_one(event).await;
    assert_eq!(ids(&w.claim(a.endpoint, Timestamp::MAX).await), [deliveries[0]]);
    assert_eq!(ids(&w.claim(b.endpoint, Timestamp::MAX).await), [deliveries[1], deliveries[2]]);
    let nobody = EndpointId::new(w.make.uuid());
    let batch = w.claim(nobody, Timestamp::MAX).await;
    assert_eq!((batch.deliveries.len(), batch.next_due), (0, None));
}

/// Retries are claimed like first attempts; what rests never is.
pub async fn takes_retries_but_nothing_that_rests<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let now = w.make.now();
    let (succeeded, failed, retried) = (w.claimed(route).await, w.claimed(route).await, w.claimed(route).await);
    w.succeed(succeeded).await;
    w.fail(failed).await;
    w.retry(retried, now, false).await;
    let batch = w.claim(route.endpoint, Timestamp::MAX).await;
    assert_eq!((ids(&batch), batch.next_due), (vec![retried], None));
    assert_eq!(batch.deliveries[0].delivery.progress.state, State::Retrying { due_at: now });
    assert_eq!(batch.deliveries[0].delivery.last_attempt_at, Some(now));
}

/// Requests of one batch are answered in their order, and the second for an endpoint goes on where the first ended.
pub async fn requests_of_a_batch_follow_each_other<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route(), w.make.route());
    let (first, second, other) = (w.unclaimed(a).await, w.unclaimed(a).await, w.unclaimed(b).await);
    let due_by = w.make.now();
    let request = |route: Route| ClaimRequest { endpoint: route.endpoint, due_by, limit: 1, max_bytes: u64::MAX };
    let batches = w.store().claim(vec![request(a), request(b), request(a), request(a)]).await.expect("claim");
    assert_eq!(batches.iter().map(|batch| batch.endpoint).collect::<Vec<_>>(), [a.endpoint, b.endpoint, a.endpoint, a.endpoint]);
    assert_eq!(batches.iter().map(ids).collect::<Vec<_>>(), [vec![first], vec![other], vec![second], vec![]]);
    assert_eq!(batches.iter().map(|batch| batch.next_due).collect::<Vec<_>>(), [Some(due_by), None, None, None]);
}

/// Two claims at the same time never get the same delivery.
pub async fn concurrent_claims_share_nothing<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut all = BTreeSet::new();
    for _ in 0..20 {
        all.insert(w.unclaimed(route).await);
    }
    let request = ClaimRequest { endpoint: route.endpoint, due_by: Timestamp::MAX, limit: 15, max_bytes: u64::MAX };
    let (a, b) = tokio::join!(w.claim_some(request), w.claim_some(request));
    let taken: Vec<DeliveryId> = [ids(&a), ids(&b)].concat();
    assert_eq!(taken.len(), 20);
    assert_eq!(taken.into_iter().collect::<BTreeSet<_>>(), all);
}

/// Deliveries of one event share it within a batch: a payload is in memory once.
pub async fn deliveries_of_one_event_come_with_it<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let event = w.make.event_for(&[route, route]);
    let id = event.id;
    w.publish_one(event).await;
    let stored = w.store().event(id).await.expect("event").expect("it is there").event;
    let batch = w.claim(route.endpoint, Timestamp::MAX).await;
    assert!(batch.deliveries.iter().all(|claimed| *claimed.event == *stored));
    assert!(Arc::ptr_eq(&batch.deliveries[0].event, &batch.deliveries[1].event), "both share one event");
}

/// The backlog has each endpoint with unclaimed deliveries once, with the earliest due time, due already or not.
pub async fn backlog_names_the_first_due<H: Harness>(w: &mut World<H>) {
    let (a, b, idle) = (w.make.route(), w.make.route(), w.make.route());
    let start = w.make.now();
    assert!(backlog(w).await.is_empty());
    let later = start.after(Duration::from_secs(3_600));
    w.unclaimed(a).await;
    w.make.advance_secs(1);
    w.unclaimed(a).await;
    let far = w.claimed(b).await;
    w.retry(far, later, false).await;
    w.claimed(idle).await;
    let mut expected = vec![Backlog { endpoint: a.endpoint, first_due: start }, Backlog { endpoint: b.endpoint, first_due: later }];
    expected.sort_by_key(|entry| entry.endpoint);
    assert_eq!(backlog(w).await, expected);
    w.claim_some(ClaimRequest { endpoint: a.endpoint, due_by: later, limit: 1, max_bytes: 0 }).await;
    let second = start.after(Duration::from_secs(1));
    assert!(backlog(w).await.contains(&Backlog { endpoint: a.endpoint, first_due: second }));
    w.claim(a.endpoint, later).await;
    assert_eq!(backlog(w).await, [Backlog { endpoint: b.endpoint, first_due: later }]);
}

/// What nobody had claimed is claimed after a restart as before it.
pub async fn survives_a_restart_unclaimed<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.unclaimed(route).await;
    let first_due = w.make.now();
    w.reopen().await;
    assert!(w.store().rescue(10).await.expect("rescue").is_empty());
    assert_eq!(backlog(w).await, [Backlog { endpoint: route.endpoint, first_due }]);
    assert_eq!(ids(&w.claim(route.endpoint, first_due).await), [id]);
    w.succeed(id).await;
}

fn ids(batch: &ClaimBatch) -> Vec<DeliveryId> {
    batch.deliveries.iter().map(|claimed| claimed.delivery.id).collect()
}

async fn backlog<H: Harness>(w: &World<H>) -> Vec<Backlog> {
    let mut backlog = w.store().backlog().await.expect("backlog");
    backlog.sort_by_key(|entry| entry.endpoint);
    backlog
}
