//! Deliveries that wait unclaimed until their time to live runs out.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::delivery::State;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// A delivery with a payload of five bytes that expires in so many seconds.
async fn mortal<H: Harness>(w: &mut World<H>, route: Route, secs: u64, claimed: bool) -> DeliveryId {
    let mut event = NewEvent { payload: Bytes::from_static(b"\"abc\""), ..w.make.event_for(&[route]) };
    let expires_at = Some(w.make.now().after(Duration::from_secs(secs)));
    event.deliveries.iter_mut().for_each(|delivery| (delivery.claimed, delivery.expires_at) = (claimed, expires_at));
    let id = event.deliveries[0].id;
    w.publish_one(event).await;
    id
}

async fn expired<H: Harness>(w: &World<H>, by: Timestamp, limit: u32, max_bytes: u64) -> Vec<DeliveryId> {
    let claimed = w.store().claim_expired(by, limit, max_bytes).await.expect("claim_expired");
    assert!(claimed.iter().all(|claimed| claimed.delivery.event == claimed.event.seq && claimed.open_attempt.is_none()));
    claimed.iter().map(|claimed| claimed.delivery.id).collect()
}

async fn next<H: Harness>(w: &World<H>) -> Option<Timestamp> {
    w.store().next_expiry().await.expect("next_expiry")
}

/// They are claimed at their end and not before, whichever endpoint they wait for; then they are settled as what they are.
pub async fn what_waits_too_long_is_claimed<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route(), w.make.route());
    assert_eq!((next(w).await, expired(w, Timestamp::MAX, 9, u64::MAX).await), (None, vec![]));
    let start = w.make.now();
    let at = |secs| start.after(Duration::from_secs(secs));
    let (late, early) = (mortal(w, a, 20, false).await, mortal(w, b, 10, false).await);
    w.unclaimed(a).await;
    w.reopen().await;
    assert_eq!(next(w).await, Some(at(10)));
    assert!(expired(w, at(10).before(Duration::from_micros(1)), 9, u64::MAX).await.is_empty());
    assert_eq!(expired(w, at(10), 9, u64::MAX).await, [early]);
    assert_eq!((next(w).await, expired(w, at(10), 9, u64::MAX).await), (Some(at(20)), vec![]), "once");
    super::find_deliveries::end(w, early, State::Expired).await;
    assert_eq!(w.state(early).await, State::Expired);
    assert_eq!((expired(w, at(20), 9, u64::MAX).await, next(w).await), (vec![late], None));
    assert_eq!(w.claim(a.endpoint, at(20)).await.deliveries.len(), 1, "what lives for ever waits");
}

/// The first to have expired come first, and a piece ends at its bounds.
pub async fn pieces_end_at_their_bounds<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route(), w.make.route());
    let mut ids = Vec::new();
    for (route, secs) in [(a, 5), (b, 4), (a, 3), (b, 2), (a, 1)] {
        ids.insert(0, mortal(w, route, secs, false).await);
    }
    let now = w.make.advance_secs(9);
    assert!(expired(w, now, 0, u64::MAX).await.is_empty());
    assert_eq!(expired(w, now, 2, u64::MAX).await, ids[..2]);
    assert_eq!(expired(w, now, 9, 0).await, ids[2..3], "one comes all the same");
    assert_eq!(expired(w, now, 9, 10).await, ids[3..]);
}

/// What is claimed or rests does not expire here, nor what somebody hastened, nor what went to an erased endpoint; what came back does.
pub async fn only_what_waits_unclaimed<H: Harness>(w: &mut World<H>) {
    let (a, erased) = (w.make.route(), w.make.route());
    let (claimed, ended) = (mortal(w, a, 10, true).await, mortal(w, a, 10, true).await);
    let (hastened, back) = (mortal(w, a, 10, false).await, mortal(w, a, 10, true).await);
    mortal(w, erased, 5, false).await;
    w.succeed(ended).await;
    w.retry(back, w.make.now().after(Duration::from_secs(3_600)), false).await;
    let now = w.make.now();
    assert_eq!(w.store().hasten(hastened, now).await, Ok(Some(a.endpoint)));
    let endpoint = Endpoint { id: erased.endpoint, deleted: Some(Deletion::Erased { erased_at: now }), ..w.make.endpoint() };
    w.configure(vec![ConfigChange::Endpoint(endpoint)]).await.expect("configure");
    w.forget(erased.subscription);
    assert_eq!(next(w).await, Some(now.after(Duration::from_secs(10))));
    assert_eq!(expired(w, Timestamp::MAX, 9, u64::MAX).await, [back]);
    assert_eq!(w.view(claimed).await.delivery.progress.attempts, 0);
}
