//! What goes with configuration that was deleted: everything of erased endpoints, at once for readers and then for good, and what is
//! configured itself once nothing is left of it.

use super::{Harness, Route, World};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::key::{ApiKey, Scopes};
use postrider_core::ports::*;
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use std::time::Duration;

const NEVER: Timestamp = Timestamp::MIN;

/// Nothing has an age.
fn nothing_is_old(limit: u32) -> PruneRequest {
    PruneRequest {
        attempts_before: NEVER,
        rows_before: NEVER,
        bodies_before: NEVER,
        events_before: NEVER,
        closed_before: NEVER,
        requests_before: NEVER,
        configuration_before: NEVER,
        limit,
    }
}

/// A configured destination with a binding to it.
struct Bound {
    endpoint: Endpoint,
    subscription: Subscription,
    route: Route,
}

async fn bound<H: Harness>(w: &mut World<H>) -> Bound {
    let endpoint = w.make.endpoint();
    let subscription = w.make.subscription(&endpoint);
    let route = Route { subscription: subscription.id, endpoint: endpoint.id };
    put(w, vec![ConfigChange::Endpoint(endpoint.clone()), ConfigChange::Subscription(subscription.clone())]).await;
    Bound { endpoint, subscription, route }
}

async fn put<H: Harness>(w: &World<H>, changes: Vec<ConfigChange>) {
    w.configure(changes).await.expect("configure");
}

/// Deletes a destination with its binding and its history, now.
async fn erase<H: Harness>(w: &mut World<H>, gone: &Bound) {
    let now = w.make.now();
    let endpoint = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..gone.endpoint.clone() };
    let subscription = Subscription { deleted_at: Some(now), ..gone.subscription.clone() };
    put(w, vec![ConfigChange::Endpoint(endpoint), ConfigChange::Subscription(subscription)]).await;
    w.forget(gone.route.subscription);
}

async fn delete<H: Harness>(w: &mut World<H>, gone: &Bound) {
    let now = w.make.now();
    let endpoint = Endpoint { deleted: Some(Deletion::Kept(now)), ..gone.endpoint.clone() };
    let subscription = Subscription { deleted_at: Some(now), ..gone.subscription.clone() };
    put(w, vec![ConfigChange::Endpoint(endpoint), ConfigChange::Subscription(subscription)]).await;
}

/// Which of its two halves are configured still.
async fn is_configured<H: Harness>(w: &World<H>, of: &Bound) -> (bool, bool) {
    let configuration = w.store().configuration().await.expect("configuration");
    let endpoint = configuration.endpoints.iter().any(|e| e.id == of.endpoint.id);
    (endpoint, configuration.subscriptions.iter().any(|s| s.id == of.subscription.id))
}

/// What a destination has: one of each state, open and closed dead letters, an attempt under way.
struct History {
    events: Vec<(EventId, EventSeq)>,
    deliveries: Vec<DeliveryId>,
    letters: Vec<DeadLetterId>,
    under_way: DeliveryId,
}

async fn history<H: Harness>(w: &mut World<H>, routes: &[Route]) -> Vec<History> {
    let mut events = Vec::new();
    let mut deliveries: Vec<Vec<DeliveryId>> = vec![Vec::new(); routes.len()];
    for _ in 0..6 {
        let event = w.make.claimed_event_for(routes);
        let id = event.id;
        deliveries.iter_mut().zip(&event.deliveries).for_each(|(ids, new)| ids.push(new.id));
        events.push((id, w.publish_one(event).await));
        w.make.advance_secs(1);
    }
    let mut histories = Vec::new();
    for ids in deliveries {
        w.succeed(ids[0]).await;
        let open = w.fail(ids[1]).await;
        let closed = w.fail(ids[2]).await;
        let now = w.make.now();
        assert_eq!(w.store().dismiss(vec![closed], now).await.expect("dismiss"), [true]);
        w.retry(ids[3], now, false).await;
        w.begin(ids[4]).await;
        w.succeed(ids[5]).await;
        w.replay(ReplayTarget::Delivery(ids[5]), false).await;
        histories.push(History { events: events.clone(), under_way: ids[4], deliveries: ids, letters: vec![open, closed] });
    }
    histories
}

/// From the moment of the change no list shows anything of it, and no total counts it; what is another's stays as it was.
pub async fn lists_and_totals_hide_it_at_once<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (bound(w).await, bound(w).await);
    history(w, &[gone.route, stays.route]).await;
    let others = |row: &AttemptRow| row.endpoint == stays.route.endpoint;
    let everything = w.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await.page.items;
    let expected: Vec<AttemptRow> = everything.into_iter().filter(others).collect();
    erase(w, &gone).await;
    let namespace = Some(gone.endpoint.namespace.clone());
    let any = AttemptFilter::default();
    let all = [
        any.clone(),
        AttemptFilter { namespace, ..any.clone() },
        AttemptFilter { began_from: Some(super::fixtures::START), ..any.clone() },
    ];
    for filter in all {
        let found = w.find_attempts(filter.clone(), Window::first(u32::MAX)).await;
        assert_eq!((found.total, found.page.items), (expected.len() as u64, expected.clone()), "{filter:?}");
        let first = w.find_attempts(filter.clone(), Window::first(2)).await;
        let rest = w.find_attempts(filter, Window { after: first.page.next, skip: 1, limit: 100 }).await;
        assert_eq!((first.page.items, rest.page.items), (expected[..2].to_vec(), expected[3..].to_vec()));
    }
    for outcome in
        [OutcomeFilter::UnderWay, OutcomeFilter::Succeeded, OutcomeFilter::Failed, OutcomeFilter::Code(ErrorCode::ConnectionRefused)]
    {
        let found = w.find_attempts(AttemptFilter { outcome, ..any.clone() }, Window::first(u32::MAX)).await;
        assert!(found.total > 0 && found.total == found.page.items.len() as u64 && found.page.items.iter().all(others), "{outcome:?}");
    }
    let (subscription, endpoint) = (Some(gone.route.subscription), Some(gone.route.endpoint));
    for filter in [AttemptFilter { subscription, ..any.clone() }, AttemptFilter { endpoint, ..any }] {
        let found = w.find_attempts(filter, Window::first(u32::MAX)).await;
        assert_eq!((found.total, found.page.items.len()), (0, 0));
    }
    let any = DeadLetterFilter::default();
    assert_eq!(w.find_dead_letters(any.clone(), Window::first(10)).await.total, 1);
    assert_eq!(w.find_dead_letters(DeadLetterFilter { endpoint, ..any.clone() }, Window::first(10)).await.total, 0);
    assert_eq!(w.find_dead_letters(DeadLetterFilter { subscription, ..any }, Window::first(10)).await.total, 0);
    assert!(w.store().attempts(gone.route.subscription, 10).await.expect("attempts").is_empty());
    for open_only in [false, true] {
        let page = w.store().dead_letters(gone.route.subscription, open_only, PageRequest::first(10)).await.expect("dead_letters");
        assert!(page.items.is_empty());
    }
    assert_eq!(w.counters(gone.route.subscription).await, Counters::default());
    assert_eq!(w.counters(stays.route.subscription).await.attempts_succeeded, 2);
}

/// Nor does a read of one thing.
pub async fn single_reads_hide_it_at_once<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (bound(w).await, bound(w).await);
    let both = history(w, &[gone.route, stays.route]).await;
    let attempts =
        w.find_attempts(AttemptFilter { endpoint: Some(gone.route.endpoint), ..AttemptFilter::default() }, Window::first(100)).await;
    let alone = w.make.claimed_event_for(&[gone.route]);
    let key = Some("alone".to_owned());
    let alone = NewEvent { idempotency_key: key.clone(), ..alone };
    let only_there = w.publish_one(alone.clone()).await;
    erase(w, &gone).await;
    for reopened in [false, true] {
        for row in &attempts.page.items {
            assert!(w.store().attempt(row.id, None).await.expect("attempt").is_none(), "{reopened}");
        }
        for id in &both[0].deliveries {
            assert!(w.store().delivery(*id).await.expect("delivery").is_none());
        }
        for id in &both[0].letters {
            assert!(w.store().dead_letter(*id).await.expect("dead_letter").is_none());
        }
        for (n, (id, _)) in both[0].events.iter().enumerate() {
            let view = w.store().event(*id).await.expect("event").expect("events stay");
            assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), [both[1].deliveries[n]]);
        }
        let rows = w.find_events(EventFilter::default(), PageRequest::first(100)).await.page.items;
        assert_eq!(rows.iter().filter(|row| !row.has_deliveries).map(|row| row.event.seq).collect::<Vec<_>>(), [only_there]);
        let alone = w.store().event_by_seq(only_there, None).await.expect("event_by_seq").expect("events stay");
        assert!(!alone.has_deliveries);
        w.reopen().await;
    }
    let again = NewEvent { idempotency_key: key, ..w.make.event(0) };
    let answer = Published::Duplicate { id: alone.id, seq: only_there, first: None };
    assert_eq!(w.publish(vec![again]).await, [answer]);
}

/// Nobody claims, replays or dismisses anything of it, and what comes too late is not stored.
pub async fn nothing_can_be_done_with_it<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (bound(w).await, bound(w).await);
    let both = history(w, &[gone.route, stays.route]).await;
    erase(w, &gone).await;
    let now = w.make.advance_secs(1_000);
    let batch = w.claim(gone.route.endpoint, now).await;
    assert_eq!((batch.deliveries.len(), batch.next_due), (0, None));
    let backlog = w.store().backlog().await.expect("backlog");
    assert_eq!(backlog.iter().map(|backlog| backlog.endpoint).collect::<Vec<_>>(), [stays.route.endpoint]);
    for claim in [false, true] {
        let replayed = w.replay(ReplayTarget::Delivery(both[0].deliveries[0]), claim).await;
        assert!(matches!(replayed, Replayed::NotFound), "{replayed:?}");
        let new = DeliveryId::new(w.make.uuid());
        let replayed = w.replay(ReplayTarget::DeadLetterAsNew { dead_letter: both[0].letters[0], new }, claim).await;
        assert!(matches!(replayed, Replayed::NotFound), "{replayed:?}");
    }
    let letters = vec![both[0].letters[0], both[1].letters[0]];
    assert_eq!(w.store().dismiss(letters, now).await.expect("dismiss"), [false, true]);
    let late = w.make.claimed_event_for(&[gone.route, stays.route]);
    let (id, deliveries) = (late.id, late.deliveries.clone());
    w.publish_one(late).await;
    w.forget(gone.route.subscription);
    let view = w.store().event(id).await.expect("event").expect("it was stored");
    assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), [deliveries[1].id]);
}

/// All of it goes whatever its age, but for what an engine has claimed: that goes once it is settled. Then the endpoint goes, and its
/// subscriptions. Events stay.
pub async fn everything_goes_and_then_the_endpoint<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (bound(w).await, bound(w).await);
    let both = history(w, &[gone.route, stays.route]).await;
    let begun = w.view(both[0].under_way).await;
    erase(w, &gone).await;
    let version = w.store().configuration_version().await.expect("configuration_version");
    let pruned = w.prune(nothing_is_old(1_000)).await;
    assert_eq!((pruned.deliveries, pruned.attempts, pruned.closed, pruned.events), (5, 5, 2, 0));
    assert_eq!((pruned.configuration, pruned.erasing), (0, true));
    w.reopen().await;
    let rescued = w.store().rescue(100).await.expect("rescue");
    assert_eq!(rescued.iter().filter(|claimed| claimed.delivery.id == both[0].under_way).count(), 1, "it is the engine's to end it");
    let bound_at = w.make.advance_secs(10);
    let request = PruneRequest { configuration_before: bound_at, ..nothing_is_old(1_000) };
    let pruned = w.prune(request).await;
    assert_eq!((pruned.deliveries, pruned.configuration, pruned.erasing), (0, 0, true));
    assert_eq!(is_configured(w, &gone).await, (true, true));
    let cancelled = postrider_core::delivery::State::Cancelled(ErrorCode::EndpointDeleted);
    let settlement = Settlement {
        delivery: begun.delivery.id,
        namespace: begun.delivery.namespace.clone(),
        subscription: begun.delivery.subscription,
        from: StateKind::Sending,
        progress: postrider_core::delivery::Progress { state: cancelled, ..begun.delivery.progress },
        attempt: None,
        attempt_recorded: false,
        keep_claim: false,
        dead_letter: None,
        follow_up: None,
    };
    w.settle_one(settlement).await;
    assert!(w.store().delivery(begun.delivery.id).await.expect("delivery").is_none(), "it stays hidden");
    assert_eq!(w.store().configuration_version().await.expect("configuration_version"), version);
    let pruned = w.prune(request).await;
    assert_eq!((pruned.deliveries, pruned.attempts, pruned.configuration, pruned.erasing), (1, 1, 2, false));
    assert!(w.store().configuration_version().await.expect("configuration_version") > version, "engines read it anew");
    w.reopen().await;
    assert_eq!((is_configured(w, &gone).await, is_configured(w, &stays).await), ((false, false), (true, true)));
    assert_eq!(w.counters(gone.route.subscription).await, Counters::default());
    for (n, (id, _)) in both[0].events.iter().enumerate() {
        let view = w.store().event(*id).await.expect("event").expect("events stay");
        assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), [both[1].deliveries[n]]);
    }
}

/// Slices take a little each, whatever else there is, and another endpoint that is erased meanwhile is not forgotten.
pub async fn it_goes_in_slices<H: Harness>(w: &mut World<H>) {
    let (first, second, stays) = (bound(w).await, bound(w).await, bound(w).await);
    for _ in 0..30 {
        for of in [&first, &second, &stays] {
            let id = w.claimed(of.route).await;
            w.succeed(id).await;
        }
    }
    erase(w, &first).await;
    let now = w.make.advance_secs(60);
    let request = PruneRequest { configuration_before: now, ..nothing_is_old(7) };
    let (mut slices, mut deliveries) = (0, 0);
    loop {
        let slice = w.store().prune(request).await.expect("prune");
        assert!(slice.deliveries <= 7, "{slice:?}");
        (slices, deliveries) = (slices + 1, deliveries + slice.deliveries);
        assert!(slices < 1_000, "it does not come to an end");
        if slices == 2 {
            w.make.advance(Duration::from_micros(1));
            let past = w.make.now().before(Duration::from_secs(30));
            let endpoint = Endpoint { deleted: Some(Deletion::Erased { erased_at: past }), ..second.endpoint.clone() };
            let subscription = Subscription { deleted_at: Some(past), ..second.subscription.clone() };
            put(w, vec![ConfigChange::Endpoint(endpoint), ConfigChange::Subscription(subscription)]).await;
            w.forget(second.route.subscription);
        }
        if !slice.more {
            assert!(!slice.erasing);
            break;
        }
    }
    assert_eq!(deliveries, 60);
    assert_eq!((is_configured(w, &first).await, is_configured(w, &second).await), ((false, false), (false, false)));
    assert_eq!(w.counters(stays.route.subscription).await.deliveries[StateKind::Succeeded as usize], 30);
}

/// A subscription that had moved away keeps what it sends elsewhere.
pub async fn what_moved_away_stays<H: Harness>(w: &mut World<H>) {
    let (gone, other) = (bound(w).await, bound(w).await);
    let before = w.claimed(gone.route).await;
    w.succeed(before).await;
    let moved = Subscription { endpoint: other.endpoint.id, ..gone.subscription.clone() };
    put(w, vec![ConfigChange::Subscription(moved)]).await;
    let route = Route { endpoint: other.endpoint.id, ..gone.route };
    let after = w.claimed(route).await;
    w.succeed(after).await;
    let now = w.make.advance_secs(1);
    put(w, vec![ConfigChange::Endpoint(Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..gone.endpoint.clone() })]).await;
    assert!(w.store().delivery(before).await.expect("delivery").is_none());
    assert_eq!(w.view(after).await.attempts.len(), 1);
    let found =
        w.find_attempts(AttemptFilter { subscription: Some(route.subscription), ..AttemptFilter::default() }, Window::first(10)).await;
    assert_eq!((found.total, found.page.items[0].delivery), (1, after));
    let now = w.make.advance_secs(1);
    let pruned = w.prune(PruneRequest { configuration_before: now, ..nothing_is_old(1_000) }).await;
    assert_eq!((pruned.deliveries, pruned.configuration, pruned.erasing), (1, 1, false));
    assert_eq!(is_configured(w, &gone).await, (false, true));
    assert_eq!(w.counters(route.subscription).await.deliveries[StateKind::Succeeded as usize], 1);
}

/// What was merely deleted stays with the last delivery of its history, and goes after it: the subscription with its counters, the
/// endpoint after its subscriptions.
pub async fn deleted_configuration_goes_after_its_history<H: Harness>(w: &mut World<H>) {
    let (gone, unused, stays) = (bound(w).await, bound(w).await, bound(w).await);
    let (ended, waiting) = (w.claimed(gone.route).await, w.unclaimed(gone.route).await);
    w.succeed(ended).await;
    delete(w, &gone).await;
    w.make.advance(Duration::from_millis(1));
    delete(w, &unused).await;
    let deleted_at = w.make.now();
    let now = w.make.advance_secs(100);
    let all = PruneRequest {
        attempts_before: now,
        events_before: now,
        closed_before: now,
        configuration_before: deleted_at,
        ..nothing_is_old(3)
    };
    let pruned = w.prune(all).await;
    assert_eq!((pruned.deliveries, pruned.configuration), (1, 0), "what waits is still to be cancelled, and what was deleted later stays");
    assert_eq!((is_configured(w, &gone).await, is_configured(w, &unused).await), ((true, true), (true, true)));
    assert!(w.store().delivery(waiting).await.expect("delivery").is_some());
    let version = w.store().configuration_version().await.expect("configuration_version");
    let all = PruneRequest { configuration_before: now, ..all };
    assert_eq!(w.prune(all).await.configuration, 2, "nothing was ever sent to the other one");
    assert!(w.store().configuration_version().await.expect("configuration_version") > version);
    assert_eq!((is_configured(w, &gone).await, is_configured(w, &unused).await), ((true, true), (false, false)));
    assert_eq!(w.claim(gone.route.endpoint, now).await.deliveries.len(), 1);
    let ends = w.settlement(waiting, postrider_core::delivery::State::Cancelled(ErrorCode::EndpointDeleted), None).await;
    w.settle_one(Settlement { attempt: None, ..ends }).await;
    let pruned = w.prune(all).await;
    assert_eq!((pruned.deliveries, pruned.configuration), (1, 2));
    w.forget(gone.route.subscription);
    w.reopen().await;
    assert_eq!((is_configured(w, &gone).await, is_configured(w, &stays).await), ((false, false), (true, true)));
    assert_eq!(w.counters(gone.route.subscription).await, Counters::default());
}

/// An endpoint stays as long as a delivery that went there, whoever has sent it.
pub async fn a_deleted_endpoint_stays_with_what_others_sent_there<H: Harness>(w: &mut World<H>) {
    let gone = bound(w).await;
    let letter = w.claimed(gone.route).await;
    w.fail(letter).await;
    let other = bound(w).await;
    let moved = Subscription { endpoint: other.endpoint.id, ..gone.subscription.clone() };
    let now = w.make.now();
    let endpoint = Endpoint { deleted: Some(Deletion::Kept(now)), ..gone.endpoint.clone() };
    put(w, vec![ConfigChange::Subscription(moved), ConfigChange::Endpoint(endpoint)]).await;
    let now = w.make.advance_secs(100);
    let all = PruneRequest { attempts_before: now, events_before: now, closed_before: now, configuration_before: now, ..nothing_is_old(2) };
    assert_eq!(w.prune(all).await.configuration, 0);
    assert_eq!(is_configured(w, &gone).await, (true, true));
    w.replay(ReplayTarget::Delivery(letter), true).await;
    w.succeed(letter).await;
    assert_eq!(w.prune(all).await.configuration, 1);
    assert_eq!(is_configured(w, &gone).await, (false, true));
}

/// Revoked keys go after a while, except those that opened everything; others stay.
pub async fn revoked_keys_go<H: Harness>(w: &mut World<H>) {
    let (live, old) = (w.make.key(), w.make.key());
    let now = w.make.now();
    let old = ApiKey { revoked_at: Some(now), ..old };
    let admin = Scopes { read: true, write: true, admin: true };
    let master = ApiKey { namespace: None, scopes: admin, revoked_at: Some(now), ..w.make.key() };
    let reader = ApiKey { namespace: None, revoked_at: Some(now), ..w.make.key() };
    let cutoff = w.make.advance(Duration::from_micros(1));
    let exact = ApiKey { revoked_at: Some(cutoff), ..w.make.key() };
    let keys = [live, old, master, reader, exact];
    put(w, keys.iter().cloned().map(ConfigChange::Key).collect()).await;
    let pruned = w.prune(PruneRequest { closed_before: cutoff, ..nothing_is_old(1) }).await;
    assert_eq!(pruned.configuration, 2);
    let mut left: Vec<KeyId> = w.store().configuration().await.expect("configuration").keys.iter().map(|key| key.id).collect();
    left.sort_unstable();
    assert_eq!(left, [0, 2, 4].map(|n| keys[n].id));
}
