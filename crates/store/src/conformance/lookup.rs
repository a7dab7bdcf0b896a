//! What people look over and look for: pages without numbers, groups of open dead letters, events and deliveries by their keys.

use super::find_deliveries::{filters, retry, something_of_each};
use super::{Harness, Route, World};
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::delivery::State;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::{Category, ErrorCode};
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

const NEVER: Timestamp = Timestamp::MIN;

fn other() -> Namespace {
    Namespace::new("other").expect("it follows the rule")
}

fn default() -> Namespace {
    Namespace::default_namespace()
}

async fn page<H: Harness>(w: &World<H>, filter: DeliveryFilter, window: Window<DeliveryId>) -> Page<DeliveryRow, DeliveryId> {
    w.store().page_of_deliveries(filter, window).await.expect("page_of_deliveries")
}

/// Holds pages with this filter against those of the list with its number: from the top, behind others, and from the middle on.
async fn is_paged<H: Harness>(w: &World<H>, filter: DeliveryFilter) -> usize {
    let all = w.find_deliveries(filter.clone(), Window::first(u32::MAX)).await.page.items;
    let after = all.len().checked_sub(2).map(|n| all[n / 2].delivery.id);
    let windows = [
        Window::first(u32::MAX),
        Window::first(3),
        Window::first(0),
        Window { skip: 2, ..Window::first(3) },
        Window { after, ..Window::first(3) },
        Window { after, skip: 1, limit: 1 },
    ];
    for window in windows {
        let (found, page) = (w.find_deliveries(filter.clone(), window).await.page, page(w, filter.clone(), window).await);
        assert_eq!((page.items, page.next), (found.items, found.next), "{filter:?} {window:?}");
    }
    all.len()
}

/// Under every filter the page is that of the list.
pub async fn pages_are_those_of_the_list<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    let moved = Route { endpoint: b.endpoint, ..a };
    let mut events = something_of_each(w, &default(), &[a, b]).await;
    events.extend(something_of_each(w, &other(), &[elsewhere]).await);
    events.extend(something_of_each(w, &default(), &[moved]).await);
    assert!(is_paged(w, DeliveryFilter::default()).await > 40);
    let filters = filters(&[a, b, elsewhere], &events, start);
    for filter in &filters {
        is_paged(w, filter.clone()).await;
        // With an event, or within some seconds, of those of a tenant or an endpoint.
        let (event, created_from) = (filter.event.or(Some(events[20])), filter.created_from.or(Some(start)));
        is_paged(w, DeliveryFilter { event, ..filter.clone() }).await;
        is_paged(w, DeliveryFilter { created_from, namespace: Some(other()), ..filter.clone() }).await;
        is_paged(w, DeliveryFilter { created_from, endpoint: Some(b.endpoint), ..filter.clone() }).await;
    }
    let nobody = Namespace::new("nobody").expect("a name");
    assert_eq!(is_paged(w, DeliveryFilter { namespace: Some(nobody), ..DeliveryFilter::default() }).await, 0);
    w.reopen().await;
    assert!(is_paged(w, DeliveryFilter::default()).await > 40);
}

/// Where nothing has ended yet a page of a class has those of that class alone.
pub async fn a_page_of_a_class_has_no_others_while_nothing_has_ended<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    for n in 0..24 {
        let id = w.claimed(route).await;
        match n % 3 {
            0 => retry(w, id, ErrorCode::DeliveryTimeout, false).await,
            1 => retry(w, id, ErrorCode::DnsError, true).await,
            _ => {}
        }
    }
    for scope in [DeliveryFilter::default(), DeliveryFilter { endpoint: Some(route.endpoint), ..DeliveryFilter::default() }] {
        for (category, expected) in [(Category::Timeout, 8), (Category::DnsError, 8), (Category::TlsError, 0), (Category::Success, 0)] {
            assert_eq!(is_paged(w, DeliveryFilter { category: Some(category), ..scope.clone() }).await, expected, "{category:?}");
        }
        assert_eq!(is_paged(w, DeliveryFilter { code: Some(ErrorCode::DnsError), ..scope }).await, 8);
    }
}

/// By their ids deliveries are those of the list, in the order that is asked for; those of others and unknown ones are left out.
pub async fn deliveries_are_found_by_their_ids<H: Harness>(w: &mut World<H>) {
    let (own, elsewhere) = (w.make.route(), w.make.route());
    something_of_each(w, &default(), &[own]).await;
    something_of_each(w, &other(), &[elsewhere]).await;
    let mut rows = w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await.page.items;
    rows.reverse();
    let mut ids: Vec<DeliveryId> = rows.iter().map(|row| row.delivery.id).collect();
    ids.insert(1, DeliveryId::new(w.make.uuid()));
    for namespace in [None, Some(default()), Some(other())] {
        let is_in = |row: &&DeliveryRow| namespace.as_ref().is_none_or(|namespace| row.delivery.namespace == *namespace);
        let expected: Vec<DeliveryRow> = rows.iter().filter(is_in).cloned().collect();
        assert!(!expected.is_empty());
        assert_eq!(w.store().deliveries_by_id(ids.clone(), namespace.clone()).await, Ok(expected), "{namespace:?}");
    }
    assert_eq!(w.store().deliveries_by_id(Vec::new(), None).await, Ok(Vec::new()));
}

/// Who looks sees what the engine sees: events by their numbers, counters, and open dead letters with the events that they are of.
pub async fn looks_are_those_of_the_engine<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    something_of_each(w, &default(), &[route]).await;
    let rows = w.store().open_dead_letters(DeadLetterFilter::default(), Window::first(9)).await.expect("open_dead_letters");
    let page = w.store().page_of_dead_letters(DeadLetterFilter::default(), Window::first(9)).await.expect("page_of_dead_letters");
    assert_eq!((&rows.items, rows.next), (&page.items, page.next));
    assert!(!rows.items.is_empty());
    for row in &rows.items {
        let event = w.store().event_by_number(row.event, Some(default())).await.expect("event_by_number").expect("it is there").event;
        assert_eq!((event.id, &event.event_type), (row.event_id, &row.event_type));
        assert!(w.store().event_by_number(row.event, Some(other())).await.expect("event_by_number").is_none());
    }
    let of = vec![route.subscription, SubscriptionId::new(w.make.uuid())];
    let counters = w.store().counters(of.clone()).await.expect("counters");
    assert_eq!(w.store().counters_of(of).await, Ok(counters));
}

/// Whoever has events is among the namespaces that are counted, once.
pub async fn namespaces_with_events_are_counted<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    for namespace in [default(), other()] {
        something_of_each(w, &namespace, &[route]).await;
    }
    let all = w.store().counted_namespaces(None).await.expect("counted_namespaces");
    for namespace in [default(), other()] {
        assert_eq!(all.iter().filter(|name| **name == namespace).count(), 1, "{all:?}");
    }
    for (n, name) in all.iter().enumerate() {
        assert_eq!(w.store().counted_namespaces(Some(name.clone())).await.as_deref(), Ok(&all[n + 1..]), "behind {name}");
    }
}

/// What went to an erased endpoint is on no page, in no group and among no keys from that moment on, nor once it was removed; all else stays.
pub async fn what_was_erased_is_hidden<H: Harness>(w: &mut World<H>) {
    let (gone, stays) = (w.make.endpoint(), w.make.endpoint());
    let subscription = w.make.subscription(&gone);
    let put = |endpoint: &Endpoint| ConfigChange::Endpoint(endpoint.clone());
    w.configure(vec![put(&gone), put(&stays), ConfigChange::Subscription(subscription.clone())]).await.expect("configure");
    let route = Route { subscription: subscription.id, endpoint: gone.id };
    let neighbour = Route { endpoint: stays.id, ..w.make.route() };
    something_of_each(w, &default(), &[route, neighbour]).await;
    let expected_keys: Vec<DeliveryKeyParts> =
        keys(w, None, None, u32::MAX).await.into_iter().filter(|parts| parts.subscription == neighbour.subscription).collect();
    let expected_groups: Vec<DeadLetterGroup> =
        groups(w, None, u32::MAX).await.into_iter().filter(|group| group.endpoint == stays.id).collect();
    assert!(!expected_keys.is_empty() && expected_groups.len() == 1);
    let now = w.make.now();
    let erased = Endpoint { deleted: Some(Deletion::Erased { erased_at: now }), ..gone.clone() };
    w.configure(vec![put(&erased)]).await.expect("configure");
    w.forget(subscription.id);
    for _ in 0..2 {
        for namespace in [None, Some(default())] {
            let filter = DeliveryFilter { namespace: namespace.clone(), ..DeliveryFilter::default() };
            assert_eq!(is_paged(w, filter).await, expected_keys.len(), "{namespace:?}");
            assert_eq!(groups(w, namespace.clone(), u32::MAX).await, expected_groups, "{namespace:?}");
            assert_eq!(keys(w, namespace.clone(), None, u32::MAX).await, expected_keys, "{namespace:?}");
        }
        let of_gone = DeliveryFilter { endpoint: Some(gone.id), ..DeliveryFilter::default() };
        assert_eq!(is_paged(w, of_gone).await, 0);
        w.prune(super::prune::before(NEVER)).await;
    }
}

async fn groups<H: Harness>(w: &World<H>, namespace: Option<Namespace>, limit: u32) -> Vec<DeadLetterGroup> {
    w.store().dead_letter_groups(namespace, limit).await.expect("dead_letter_groups")
}

/// Has so many deliveries of a tenant end for this reason, each with a dead letter.
async fn letters<H: Harness>(w: &mut World<H>, namespace: Namespace, route: Route, code: ErrorCode, many: usize) -> Vec<DeadLetterId> {
    let mut ids = Vec::new();
    for _ in 0..many {
        let event = NewEvent { namespace: namespace.clone(), ..w.make.claimed_event_for(&[route]) };
        let id = event.deliveries[0].id;
        w.publish_one(event).await;
        let outcome = w.make.failure();
        let settlement = w.settlement(id, State::Failed(code), Some(outcome)).await;
        let letter =
            NewDeadLetter { id: DeadLetterId::new(w.make.uuid()), code, message: "no attempt is left".to_owned(), at: w.make.now() };
        ids.push(letter.id);
        w.settle_one(Settlement { dead_letter: Some(letter), ..settlement }).await;
    }
    ids
}

/// Open dead letters are summed up by tenant, endpoint and reason over all subscriptions, the largest groups first; what is closed is not in it.
pub async fn open_dead_letters_come_in_groups<H: Harness>(w: &mut World<H>) {
    use ErrorCode::{ConnectionRefused, DeliveryTimeout, DnsError};
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    // Another subscription to the endpoint of the first one.
    let beside = Route { endpoint: a.endpoint, ..w.make.route() };
    assert!(groups(w, None, 10).await.is_empty());
    let closing = letters(w, default(), a, DnsError, 2).await;
    letters(w, default(), beside, DnsError, 1).await;
    letters(w, default(), a, DeliveryTimeout, 1).await;
    letters(w, default(), b, DeliveryTimeout, 1).await;
    letters(w, default(), b, ConnectionRefused, 1).await;
    letters(w, other(), elsewhere, ConnectionRefused, 2).await;
    let group = |namespace: Namespace, of: Route, code, open| DeadLetterGroup { namespace, endpoint: of.endpoint, code, open };
    // Of equal ones those of the lesser namespace come first, then those of the lesser endpoint, then those of the lesser text.
    let expected = [
        group(default(), a, DnsError, 3),
        group(other(), elsewhere, ConnectionRefused, 2),
        group(default(), a, DeliveryTimeout, 1),
        group(default(), b, ConnectionRefused, 1),
        group(default(), b, DeliveryTimeout, 1),
    ];
    for _ in 0..2 {
        assert_eq!(groups(w, None, 10).await, expected);
        assert_eq!(groups(w, None, 2).await, expected[..2]);
        assert_eq!(groups(w, Some(other()), 10).await, expected[1..2]);
        let own: Vec<DeadLetterGroup> = expected.iter().filter(|group| group.namespace == default()).cloned().collect();
        assert_eq!(groups(w, Some(default()), 10).await, own);
        assert_eq!(groups(w, Some(default()), 1).await, own[..1]);
        assert!(groups(w, None, 0).await.is_empty());
        w.reopen().await;
    }
    let now = w.make.now();
    assert_eq!(w.store().dismiss(closing, now).await.expect("dismiss"), [true, true]);
    let left = groups(w, None, 10).await;
    assert!(left.contains(&group(default(), a, DnsError, 1)) && left.len() == 5, "{left:?}");
    let all = w.find_dead_letters(DeadLetterFilter::default(), Window::first(0)).await.total;
    assert_eq!(left.iter().map(|group| group.open).sum::<u64>(), all, "no other and no fewer than the list has");
}

/// The open dead letter of a delivery is found by that, for as long as it is open.
pub async fn an_open_dead_letter_is_found_by_its_delivery<H: Harness>(w: &mut World<H>) {
    let open = async |w: &World<H>, of: DeliveryId| w.store().open_dead_letter(of).await.expect("open_dead_letter");
    let route = w.make.route();
    let made = letters(w, default(), route, ErrorCode::DnsError, 2).await;
    let mut deliveries = Vec::new();
    for letter in &made {
        let view = w.store().dead_letter(*letter).await.expect("dead_letter").expect("it is there");
        deliveries.push(view.delivery.id);
    }
    for _ in 0..2 {
        assert_eq!([open(w, deliveries[0]).await, open(w, deliveries[1]).await], [Some(made[0]), Some(made[1])]);
        w.reopen().await;
    }
    let (now, nobody) = (w.make.now(), DeliveryId::new(w.make.uuid()));
    assert_eq!(w.store().dismiss(vec![made[0]], now).await.expect("dismiss"), [true]);
    let left = [open(w, deliveries[0]).await, open(w, deliveries[1]).await, open(w, nobody).await];
    assert_eq!(left, [None, Some(made[1]), None]);
    let found = vec![(made[1], w.view(deliveries[1]).await.delivery)];
    let asked = vec![made[1], DeadLetterId::new(w.make.uuid()), made[0]];
    for (namespace, expected) in [(None, found.clone()), (Some(default()), found), (Some(other()), Vec::new())] {
        assert_eq!(w.store().open_letters(asked.clone(), namespace).await, Ok(expected), "the open ones");
    }
}

/// Attempts come with their bodies, the newest first, until these are as much as was asked for; those behind come without.
pub async fn attempts_come_whole_until_their_bodies_are_enough<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    for n in 0..3u8 {
        let outcome = Outcome { request_body: Some(vec![n; 4].into()), response_body: vec![n; 6].into(), ..w.make.failure() };
        let due_at = w.make.now();
        let settlement = w.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
        w.settle_one(Settlement { keep_claim: true, ..settlement }).await;
    }
    w.begin(id).await;
    let whole = async |w: &World<H>, namespace: Option<Namespace>, limit: u32, max_bytes: u64| {
        w.store().whole_attempts(id, namespace, limit, max_bytes).await.expect("whole_attempts")
    };
    let mut expected = w.view(id).await.attempts;
    expected.reverse();
    let without = |attempt: &Attempt| {
        let bare = |outcome: Outcome| Outcome { request_body: None, response_body: Default::default(), ..outcome };
        Attempt { outcome: attempt.outcome.clone().map(bare), ..attempt.clone() }
    };
    // The one that is under way has no bodies.
    for (max_bytes, with_bodies) in [(0, 0), (1, 2), (10, 2), (11, 3), (20, 3), (21, 4), (u64::MAX, 4)] {
        let found = whole(w, Some(default()), 9, max_bytes).await;
        assert_eq!(found.len(), 4);
        for (n, (found, expected)) in found.into_iter().zip(&expected).enumerate() {
            let attempt = if n < with_bodies { expected.clone() } else { without(expected) };
            let all = WholeAttempt { attempt, bodies_removed: false, bodies_left_out: n >= with_bodies.max(1) };
            assert_eq!(found, all, "with {max_bytes} bytes");
        }
    }
    assert_eq!(whole(w, None, 2, u64::MAX).await.len(), 2);
    assert!(whole(w, Some(other()), 2, u64::MAX).await.is_empty());
    let cutoff = w.make.advance_secs(1);
    w.prune(PruneRequest { bodies_before: cutoff, ..super::prune::before(NEVER) }).await;
    let removed: Vec<bool> = whole(w, None, 9, u64::MAX).await.iter().map(|one| one.bodies_removed).collect();
    assert_eq!(removed, [false, true, true, true]);
}

/// A key finds the events that publishers gave it, in the namespaces that are asked about, in their order, for as long as they are there.
pub async fn events_are_found_by_their_key<H: Harness>(w: &mut World<H>) {
    let mut put = Vec::new();
    for (namespace, key) in [(default(), Some("a\0key")), (other(), Some("a\0key")), (other(), Some("another")), (default(), None)] {
        let event = NewEvent { namespace, idempotency_key: key.map(str::to_owned), ..w.make.event(0) };
        put.push(event.id);
        w.publish_one(event).await;
    }
    let by_key = async |w: &World<H>, of: &[Namespace], key: &str| {
        w.store().events_by_key(of.to_vec(), key.to_owned()).await.expect("events_by_key")
    };
    for _ in 0..2 {
        let found = by_key(w, &[other(), Namespace::new("nobody").expect("a name"), default()], "a\0key").await;
        assert_eq!(found, [(other(), put[1]), (default(), put[0])]);
        assert_eq!(by_key(w, &[default(), other()], "another").await, [(other(), put[2])]);
        assert!(by_key(w, &[default()], "another").await.is_empty());
        assert!(by_key(w, &[default(), other()], "a").await.is_empty());
        assert!(by_key(w, &[], "another").await.is_empty());
        w.reopen().await;
    }
    let name = |n: usize| Namespace::new(&format!("tenant-{n}")).expect("a name");
    let mut many: Vec<Namespace> = (1..MAX_KEY_NAMESPACES).map(name).collect();
    many.extend([other(), default()]);
    assert_eq!(by_key(w, &many, "a\0key").await, [(other(), put[1])], "behind so many nobody looks");
    let cutoff = w.make.advance_secs(100);
    w.prune(super::prune::before(cutoff)).await;
    assert!(by_key(w, &[default(), other()], "another").await.is_empty());
}

async fn keys<H: Harness>(w: &World<H>, namespace: Option<Namespace>, after: Option<DeliveryId>, limit: u32) -> Vec<DeliveryKeyParts> {
    w.store().delivery_keys(namespace, after, limit).await.expect("delivery_keys")
}

/// Deliveries come newest first, with what their keys are made of; pieces make up the list.
pub async fn delivery_keys_come_newest_first<H: Harness>(w: &mut World<H>) {
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    assert!(keys(w, None, None, 10).await.is_empty());
    something_of_each(w, &default(), &[a, b]).await;
    something_of_each(w, &other(), &[elsewhere]).await;
    something_of_each(w, &default(), &[Route { endpoint: b.endpoint, ..a }]).await;
    for namespace in [None, Some(default()), Some(other())] {
        let filter = DeliveryFilter { namespace: namespace.clone(), ..DeliveryFilter::default() };
        let rows = w.find_deliveries(filter, Window::first(u32::MAX)).await.page.items;
        let parts = |row: DeliveryRow| DeliveryKeyParts {
            id: row.delivery.id,
            namespace: row.delivery.namespace,
            subscription: row.delivery.subscription,
            event: row.delivery.event,
        };
        let expected: Vec<DeliveryKeyParts> = rows.into_iter().map(parts).collect();
        assert!(expected.len() > 12);
        assert_eq!(keys(w, namespace.clone(), None, u32::MAX).await, expected, "{namespace:?}");
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let piece = keys(w, namespace.clone(), after, 5).await;
            let is_last = piece.len() < 5;
            after = piece.last().map(|parts| parts.id).or(after);
            paged.extend(piece);
            if is_last {
                break;
            }
        }
        assert_eq!(paged, expected, "{namespace:?}");
        assert!(keys(w, namespace, None, 0).await.is_empty());
    }
    // A place is one whether or not it is taken.
    let before_all = DeliveryId::new(uuid::Uuid::nil());
    assert!(keys(w, None, Some(before_all), 5).await.is_empty());
    let newest = keys(w, None, None, 3).await;
    let behind_all = DeliveryId::new(w.make.uuid());
    assert_eq!(keys(w, None, Some(behind_all), 3).await, newest);
}

/// Events are counted by tenant and together, and no more once retention took them.
pub async fn events_are_counted<H: Harness>(w: &mut World<H>) {
    let total = async |w: &World<H>, of: Option<Namespace>| w.store().event_total(of).await.expect("event_total");
    assert_eq!(total(w, None).await, 0);
    let route = w.make.route();
    for n in 0..5 {
        let namespace = if n < 2 { other() } else { default() };
        let event = NewEvent { namespace, ..w.make.event(0) };
        w.publish_one(event).await;
    }
    w.unclaimed(route).await;
    for _ in 0..2 {
        assert_eq!([total(w, None).await, total(w, Some(default())).await, total(w, Some(other())).await], [6, 4, 2]);
        assert_eq!(total(w, Some(Namespace::new("nobody").expect("a name"))).await, 0);
        w.reopen().await;
    }
    let cutoff = w.make.advance_secs(100);
    w.prune(super::prune::before(cutoff)).await;
    assert_eq!([total(w, None).await, total(w, Some(default())).await, total(w, Some(other())).await], [1, 1, 0], "one is to be delivered");
}
