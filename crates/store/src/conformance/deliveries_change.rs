//! Lists of deliveries while the deliveries go on, come late, are many, and go.

use super::find_deliveries::{end, fail, filters, narrowed, retry, something_of_each};
use super::{Harness, Route, World};
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

const NEVER: Timestamp = Timestamp::MIN;

/// More deliveries than gather before they are put into their places, and no multiple of anything.
const MANY: usize = 4_300;

/// Whatever becomes of a delivery, it is in exactly one state's list and total.
pub async fn totals_follow_every_change<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let stands = async |w: &World<H>, id: DeliveryId, kind: StateKind| {
        for each in StateKind::ALL {
            let filter = DeliveryFilter { states: [each].into(), subscription: Some(route.subscription), ..DeliveryFilter::default() };
            let found = w.find_deliveries(filter, Window::first(10)).await;
            let ids: Vec<DeliveryId> = found.page.items.iter().map(|row| row.delivery.id).collect();
            assert_eq!((found.total, ids), if each == kind { (1, vec![id]) } else { (0, vec![]) }, "{each:?} and not {kind:?}");
        }
    };
    let id = w.unclaimed(route).await;
    stands(w, id, StateKind::Pending).await;
    let now = w.make.now();
    assert_eq!(w.claim(route.endpoint, now).await.deliveries.len(), 1);
    stands(w, id, StateKind::Pending).await;
    w.begin(id).await;
    stands(w, id, StateKind::Sending).await;
    retry(w, id, ErrorCode::DnsError, true).await;
    stands(w, id, StateKind::Retrying).await;
    retry(w, id, ErrorCode::DnsError, false).await;
    stands(w, id, StateKind::Retrying).await;
    w.claim(route.endpoint, now).await;
    fail(w, id, ErrorCode::DnsError).await;
    stands(w, id, StateKind::Failed).await;
    for ended in [State::Expired, State::Cancelled(ErrorCode::SubscriptionDeleted)] {
        w.replay(ReplayTarget::Delivery(id), true).await;
        stands(w, id, StateKind::Pending).await;
        end(w, id, ended).await;
        stands(w, id, ended.kind()).await;
    }
    w.replay(ReplayTarget::Delivery(id), true).await;
    w.succeed(id).await;
    stands(w, id, StateKind::Succeeded).await;
    let cutoff = w.make.advance_secs(10);
    w.prune(super::prune::before(cutoff)).await;
    assert_eq!(w.find_deliveries(DeliveryFilter::default(), Window::first(10)).await.total, 0);
}

/// One that is stored after its younger neighbours is listed where its id says.
pub async fn late_ones_come_in_their_order<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let late: Vec<NewEvent> = (0..3).map(|_| w.make.claimed_event_for(&[route])).collect();
    let ids: Vec<DeliveryId> = late.iter().map(|event| event.deliveries[0].id).collect();
    let early: Vec<NewEvent> = (0..MANY).map(|_| w.make.event_for(&[route])).collect();
    w.publish(early).await;
    w.publish(late).await;
    w.succeed(ids[1]).await;
    let of = DeliveryFilter { subscription: Some(route.subscription), ..DeliveryFilter::default() };
    let found = w.find_deliveries(of.clone(), Window { skip: MANY as u32, ..Window::first(10) }).await;
    let listed: Vec<DeliveryId> = found.page.items.iter().map(|row| row.delivery.id).collect();
    assert_eq!((listed, found.total), (vec![ids[2], ids[1], ids[0]], MANY as u64 + 3));
    assert_eq!(narrowed(w, DeliveryFilter { states: [StateKind::Succeeded].into(), ..of }).await, 1);
}

/// More than gather before they go to their places: all are listed and counted, whatever retention takes.
pub async fn many_are_listed_and_counted<H: Harness>(w: &mut World<H>) {
    let routes = [w.make.route(), w.make.route(), w.make.route()];
    let mut middle = NEVER;
    for part in [MANY, 50] {
        let mut events = Vec::new();
        for n in 0..part {
            if n == part / 2 {
                middle = w.make.advance_secs(10);
            }
            events.push(w.make.claimed_event_for(&[routes[n % 3]]));
        }
        let ids: Vec<DeliveryId> = events.iter().map(|event| event.deliveries[0].id).collect();
        w.publish(events).await;
        let mut ends = Vec::new();
        for (n, id) in ids.into_iter().enumerate().filter(|(n, _)| n % 5 != 0) {
            let is_bad = n % 7 == 0;
            let outcome = if is_bad { w.make.failure() } else { w.make.success() };
            let state = if is_bad { State::Failed(ErrorCode::ConnectionRefused) } else { State::Succeeded };
            ends.push(w.settlement(id, state, Some(outcome)).await);
        }
        w.settle(ends).await;
        let one = DeliveryFilter { subscription: Some(routes[1].subscription), ..DeliveryFilter::default() };
        narrowed(w, one.clone()).await;
        narrowed(w, DeliveryFilter { states: [StateKind::Failed].into(), ..one.clone() }).await;
        narrowed(w, DeliveryFilter { states: [StateKind::Pending].into(), created_before: Some(middle), ..one.clone() }).await;
        narrowed(w, DeliveryFilter { states: [StateKind::Succeeded].into(), created_from: Some(middle), ..one }).await;
        narrowed(w, DeliveryFilter { created_before: Some(middle), ..DeliveryFilter::default() }).await;
    }
    let before = w.find_deliveries(DeliveryFilter::default(), Window::first(0)).await.total;
    let pruned = w.prune(PruneRequest { limit: 500, ..super::prune::before(middle) }).await;
    assert_eq!(narrowed(w, DeliveryFilter::default()).await as u64, before - pruned.deliveries);
    narrowed(w, DeliveryFilter { endpoint: Some(routes[2].endpoint), created_before: Some(middle), ..DeliveryFilter::default() }).await;
}

/// What went to an erased endpoint is in no list and no total from that moment on, nor is it once it was removed; all else stays.
pub async fn what_was_erased_is_hidden<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (w.make.endpoint(), w.make.endpoint());
    let subscription = w.make.subscription(&gone);
    let put = |endpoint: &Endpoint| ConfigChange::Endpoint(endpoint.clone());
    w.configure(vec![put(&gone), put(&stays), ConfigChange::Subscription(subscription.clone())]).await.expect("configure");
    let route = Route { subscription: subscription.id, endpoint: gone.id };
    let neighbour = Route { endpoint: stays.id, ..w.make.route() };
    let start = w.make.now();
    let events = something_of_each(w, &Namespace::default_namespace(), &[route, neighbour]).await;
    let all = w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await.page.items;
    let expected: Vec<DeliveryRow> = all.into_iter().filter(|row| row.delivery.endpoint == stays.id).collect();
    let now = w.make.now();
    let erased = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..gone.clone() };
    w.configure(vec![put(&erased)]).await.expect("configure");
    w.forget(subscription.id);
    for _ in 0..2 {
        let found = w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await;
        assert_eq!((found.total, &found.page.items), (expected.len() as u64, &expected));
        assert_eq!(narrowed(w, DeliveryFilter { endpoint: Some(gone.id), ..DeliveryFilter::default() }).await, 0);
        for filter in filters(&[route, neighbour, route], &events, start) {
            narrowed(w, filter).await;
        }
        w.prune(super::prune::before(NEVER)).await;
    }
}
