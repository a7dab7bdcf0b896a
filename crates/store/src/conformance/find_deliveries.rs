//! Lists of deliveries with filters and totals.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::attempt::{AttemptError, Outcome};
use postrider_core::delivery::{Progress, State, StateKind};
use postrider_core::error::{Category, ErrorCode};
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

const NEVER: Timestamp = Timestamp::MIN;

fn other() -> Namespace {
    Namespace::new("other").expect("it follows the rule")
}

/// Publishes an event of that namespace with a delivery for each route.
async fn publish<H: Harness>(w: &mut World<H>, namespace: Namespace, routes: &[Route], claimed: bool) -> (EventSeq, Vec<DeliveryId>) {
    let event = if claimed { w.make.claimed_event_for(routes) } else { w.make.event_for(routes) };
    let ids = event.deliveries.iter().map(|delivery| delivery.id).collect();
    (w.publish_one(NewEvent { namespace, ..event }).await, ids)
}

fn failure_of<H: Harness>(w: &World<H>, code: ErrorCode) -> Outcome {
    Outcome { error: Some(AttemptError { code, message: format!("it failed with {code}") }), ..w.make.failure() }
}

/// Ends without an attempt of its own.
pub(super) async fn end<H: Harness>(w: &mut World<H>, id: DeliveryId, state: State) {
    let settlement = w.settlement(id, state, None).await;
    let attempts = w.view(id).await.delivery.progress.attempts;
    w.settle_one(Settlement { attempt: None, progress: Progress { attempts, ..settlement.progress }, ..settlement }).await;
}

pub(super) async fn fail<H: Harness>(w: &mut World<H>, id: DeliveryId, code: ErrorCode) {
    let outcome = failure_of(w, code);
    let settlement = w.settlement(id, State::Failed(code), Some(outcome)).await;
    w.settle_one(settlement).await;
}

pub(super) async fn retry<H: Harness>(w: &mut World<H>, id: DeliveryId, code: ErrorCode, keep_claim: bool) {
    let (outcome, due_at) = (failure_of(w, code), w.make.now());
    let settlement = w.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
    w.settle_one(Settlement { keep_claim, ..settlement }).await;
}

/// Something in every state, of each of these routes, a second apart.
pub(super) async fn something_of_each<H: Harness>(w: &mut World<H>, namespace: &Namespace, routes: &[Route]) -> Vec<EventSeq> {
    let mut events = Vec::new();
    for n in 0..12 {
        w.make.advance_secs(1);
        let (event, ids) = publish(w, namespace.clone(), routes, n != 0).await;
        events.push(event);
        for id in ids {
            match n {
                0 | 1 => {}
                2 => drop(w.begin(id).await),
                3 => retry(w, id, ErrorCode::DeliveryTimeout, true).await,
                4 => retry(w, id, ErrorCode::DnsError, false).await,
                5 => w.succeed(id).await,
                6 => drop(w.fail(id).await),
                7 => fail(w, id, ErrorCode::DeliveryTimeout).await,
                8 => end(w, id, State::Expired).await,
                9 => {
                    retry(w, id, ErrorCode::DeliveryTimeout, true).await;
                    end(w, id, State::Cancelled(ErrorCode::EndpointDeleted)).await;
                }
                // Made again after a success and after a failure.
                10 => {
                    w.succeed(id).await;
                    w.replay(ReplayTarget::Delivery(id), false).await;
                }
                _ => {
                    let dead_letter = w.fail(id).await;
                    let new = DeliveryId::new(w.make.uuid());
                    w.replay(ReplayTarget::DeadLetterAsNew { dead_letter, new }, true).await;
                    retry(w, new, ErrorCode::TlsError, true).await;
                    w.begin(new).await;
                }
            }
        }
    }
    events
}

/// Two namespaces, three subscriptions, one of which moves from one endpoint to another.
async fn history<H: Harness>(w: &mut World<H>) -> (Vec<Route>, Vec<EventSeq>) {
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    let moved = Route { endpoint: b.endpoint, ..a };
    let mut events = something_of_each(w, &Namespace::default_namespace(), &[a, b]).await;
    events.extend(something_of_each(w, &other(), &[elsewhere]).await);
    events.extend(something_of_each(w, &Namespace::default_namespace(), &[moved]).await);
    (vec![a, b, elsewhere, moved], events)
}

/// Whether a look at a delivery finds it in the list.
fn is_wanted(filter: &DeliveryFilter, row: &DeliveryRow) -> bool {
    let delivery = &row.delivery;
    filter.namespace.as_ref().is_none_or(|namespace| *namespace == delivery.namespace)
        && filter.subscription.is_none_or(|id| id == delivery.subscription)
        && filter.endpoint.is_none_or(|id| id == delivery.endpoint)
        && filter.event.is_none_or(|event| event == delivery.event)
        && (filter.states.is_empty() || filter.states.contains(&delivery.progress.state.kind()))
        && filter.category.is_none_or(|category| row.category() == Some(category))
        && filter.code.is_none_or(|code| row.code() == Some(code))
        && filter.created_from.is_none_or(|from| delivery.created_at >= from)
        && filter.created_before.is_none_or(|before| delivery.created_at < before)
}

/// Lists everything with this filter, whole and in pieces, and holds list and total against a look at every delivery.
pub(super) async fn narrowed<H: Harness>(w: &World<H>, filter: DeliveryFilter) -> usize {
    let everything = w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await;
    let expected: Vec<DeliveryRow> = everything.page.items.into_iter().filter(|row| is_wanted(&filter, row)).collect();
    let found = w.find_deliveries(filter.clone(), Window::first(u32::MAX)).await;
    assert_eq!((&found.page.items, found.page.next), (&expected, None), "{filter:?}");
    assert_eq!(found.total, expected.len() as u64, "{filter:?}");
    let (middle, limit) = (expected.len() / 2, 3);
    let after = middle.checked_sub(1).map(|n| expected[n].delivery.id);
    for window in [Window { after, ..Window::first(limit) }, Window { skip: middle as u32, ..Window::first(limit) }] {
        let piece = w.find_deliveries(filter.clone(), window).await;
        let rest = &expected[middle..];
        assert_eq!(piece.page.items, rest[..rest.len().min(3)], "{filter:?} {window:?}");
        assert_eq!((piece.page.next, piece.total), (rest.get(3).map(|_| rest[2].delivery.id), found.total), "{filter:?} {window:?}");
    }
    expected.len()
}

/// Filters of every kind, each of which finds something and leaves something out.
pub(super) fn filters(routes: &[Route], events: &[EventSeq], start: Timestamp) -> Vec<DeliveryFilter> {
    let any = DeliveryFilter::default();
    let at = |secs| Some(start.after(Duration::from_secs(secs)));
    let mut filters = vec![
        DeliveryFilter { namespace: Some(other()), ..any.clone() },
        DeliveryFilter { namespace: Some(Namespace::default_namespace()), ..any.clone() },
        DeliveryFilter { event: Some(events[6]), ..any.clone() },
        DeliveryFilter { created_from: at(5), ..any.clone() },
        DeliveryFilter { created_before: at(20), ..any.clone() },
        DeliveryFilter { created_from: at(3), created_before: at(30), ..any.clone() },
    ];
    for route in &routes[..3] {
        filters.push(DeliveryFilter { subscription: Some(route.subscription), ..any.clone() });
        filters.push(DeliveryFilter { endpoint: Some(route.endpoint), ..any.clone() });
    }
    filters.extend(StateKind::ALL.map(|kind| DeliveryFilter { states: [kind].into(), ..any.clone() }));
    for states in [
        [StateKind::Pending, StateKind::Failed],
        [StateKind::Succeeded, StateKind::Expired],
        [StateKind::Sending, StateKind::Retrying],
        [StateKind::Failed, StateKind::Cancelled],
    ] {
        filters.push(DeliveryFilter { states: states.into(), ..any.clone() });
    }
    for category in [Category::Success, Category::Timeout, Category::TlsError, Category::ConnectionRefused, Category::Unknown] {
        filters.push(DeliveryFilter { category: Some(category), ..any.clone() });
    }
    for code in [ErrorCode::DeliveryTimeout, ErrorCode::TlsError, ErrorCode::Expired, ErrorCode::EndpointDeleted] {
        filters.push(DeliveryFilter { code: Some(code), ..any.clone() });
    }
    filters
}

/// What both say.
fn both(a: &DeliveryFilter, b: &DeliveryFilter) -> DeliveryFilter {
    DeliveryFilter {
        namespace: a.namespace.clone().or(b.namespace.clone()),
        endpoint: a.endpoint.or(b.endpoint),
        subscription: a.subscription.or(b.subscription),
        event: a.event.or(b.event),
        states: if a.states.is_empty() { b.states.clone() } else { a.states.clone() },
        category: a.category.or(b.category),
        code: a.code.or(b.code),
        created_from: a.created_from.or(b.created_from),
        created_before: a.created_before.or(b.created_before),
    }
}

/// Each filter finds exactly what it says, and the total is right under every one; after a restart, and after retention took some.
pub async fn every_filter_narrows<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (routes, events) = history(w).await;
    let count = |kind: StateKind| DeliveryFilter { states: [kind].into(), ..DeliveryFilter::default() };
    let expected = [12, 8, 8, 4, 12, 4, 4];
    for (kind, expected) in StateKind::ALL.into_iter().zip(expected) {
        assert_eq!(narrowed(w, count(kind)).await, expected, "{kind:?}");
    }
    for _ in 0..3 {
        assert!(narrowed(w, DeliveryFilter::default()).await > 0);
        for filter in filters(&routes, &events, start) {
            narrowed(w, filter).await;
        }
        assert_eq!(
            narrowed(w, DeliveryFilter { namespace: Some(Namespace::new("nobody").expect("a name")), ..count(StateKind::Failed) }).await,
            0
        );
        w.reopen().await;
        let cutoff = start.after(Duration::from_secs(9));
        w.prune(PruneRequest { attempts_before: NEVER, ..super::prune::before(cutoff) }).await;
    }
}

/// Two filters find what each of them does.
pub async fn filters_narrow_in_pairs<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (routes, events) = history(w).await;
    let filters = filters(&routes, &events, start);
    for (n, a) in filters.iter().enumerate() {
        for b in &filters[n + 1..] {
            narrowed(w, both(a, b)).await;
        }
    }
}

/// Bounds in time are exact: the first instant is within, the last one is not.
pub async fn bounds_in_time_are_exact<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (routes, _) = history(w).await;
    for secs in [0, 1, 6, 12, 13, 24, 36, 40] {
        let at = start.after(Duration::from_secs(secs));
        let from = DeliveryFilter { created_from: Some(at), ..DeliveryFilter::default() };
        let before = DeliveryFilter { created_before: Some(at), ..DeliveryFilter::default() };
        narrowed(w, from.clone()).await;
        narrowed(w, DeliveryFilter { subscription: Some(routes[0].subscription), ..before.clone() }).await;
        narrowed(w, DeliveryFilter { states: [StateKind::Succeeded].into(), ..before.clone() }).await;
        narrowed(w, DeliveryFilter { states: [StateKind::Succeeded, StateKind::Pending].into(), ..from.clone() }).await;
        let end = at.after(Duration::from_secs(4));
        narrowed(w, DeliveryFilter { created_before: Some(end), endpoint: Some(routes[1].endpoint), ..from }).await;
    }
}

/// Page by page it is the list, without gaps or doubles, and the total is that of the whole list.
pub async fn pieces_make_up_the_list<H: Harness>(w: &mut World<H>) {
    let (routes, _) = history(w).await;
    for filter in [
        DeliveryFilter::default(),
        DeliveryFilter { endpoint: Some(routes[1].endpoint), ..DeliveryFilter::default() },
        DeliveryFilter { states: [StateKind::Pending, StateKind::Failed].into(), ..DeliveryFilter::default() },
        DeliveryFilter { states: [StateKind::Succeeded, StateKind::Failed].into(), ..DeliveryFilter::default() },
    ] {
        let all = w.find_deliveries(filter.clone(), Window::first(u32::MAX)).await.page.items;
        assert!(all.windows(2).all(|pair| pair[0].delivery.id > pair[1].delivery.id), "newest first, each once");
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let found = w.find_deliveries(filter.clone(), Window { after, ..Window::first(3) }).await;
            assert_eq!(found.total, all.len() as u64);
            paged.extend(found.page.items);
            after = found.page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, all);
        for skip in 0..all.len() + 2 {
            let found = w.find_deliveries(filter.clone(), Window { skip: skip as u32, limit: 4, after: Some(all[1].delivery.id) }).await;
            let rest: Vec<DeliveryRow> = all.iter().skip(2 + skip).cloned().collect();
            assert_eq!(found.page.items, rest[..rest.len().min(4)]);
            assert_eq!(found.page.next, rest.get(4).map(|_| rest[3].delivery.id));
        }
        let none = w.find_deliveries(filter, Window::first(0)).await;
        assert_eq!((none.page.items.len(), none.page.next, none.total), (0, None, all.len() as u64));
    }
}

/// A row says what its delivery says, with the newest attempt that ended and the beginnings of its bodies.
pub async fn rows_say_what_the_deliveries_say<H: Harness>(w: &mut World<H>) {
    history(w).await;
    for row in w.find_deliveries(DeliveryFilter::default(), Window::first(u32::MAX)).await.page.items {
        let view = w.view(row.delivery.id).await;
        let last_ended = view.attempts.into_iter().rfind(|attempt| attempt.outcome.is_some());
        let expected = DeliveryRow {
            delivery: view.delivery,
            event_id: view.event.id,
            event_type: view.event.event_type.clone(),
            payload: view.event.payload.clone(),
            last_ended,
            bodies_removed: false,
            rate_limited: 0,
            called_off: false,
        };
        let mut listed = expected.clone();
        if let Some(outcome) = listed.last_ended.as_mut().and_then(|attempt| attempt.outcome.as_mut()) {
            outcome.response_headers = None;
        }
        assert_eq!(row, listed, "lists have no headers");
        assert_eq!(one(w, row.delivery.id, None).await, Some(expected), "alone");
    }
}

async fn one<H: Harness>(w: &World<H>, id: DeliveryId, namespace: Option<Namespace>) -> Option<DeliveryRow> {
    w.store().delivery_row(id, namespace).await.expect("delivery_row")
}

/// Ids are those of the list, with its number and its places.
pub async fn ids_are_those_of_the_list<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (routes, events) = history(w).await;
    for filter in filters(&routes, &events, start) {
        let mut window = Window { skip: 1, ..Window::first(5) };
        for _ in 0..2 {
            let rows = w.find_deliveries(filter.clone(), window).await;
            let found = w.store().delivery_ids(filter.clone(), window).await.expect("delivery_ids");
            let listed: Vec<DeliveryId> = rows.page.items.iter().map(|row| row.delivery.id).collect();
            assert_eq!((found.page.items, found.page.next, found.total), (listed, rows.page.next, rows.total), "{filter:?}");
            window = Window { after: rows.page.next, ..window };
        }
    }
}

/// One delivery comes with whole bodies, to those of its namespace. What was free of charge is counted, over retries by hand.
pub async fn one_comes_with_everything<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let large = |byte| Bytes::from(vec![byte; 70_000]);
    let event = NewEvent { payload: large(b'p'), ..w.make.claimed_event_for(&[route]) };
    let id = event.deliveries[0].id;
    w.publish_one(event).await;
    assert_eq!(one(w, id, Some(other())).await, None);
    let unknown = DeliveryId::new(w.make.uuid());
    assert_eq!(one(w, unknown, None).await, None);
    for code in [ErrorCode::RateLimited, ErrorCode::DeliveryTimeout, ErrorCode::RateLimited] {
        let outcome = Outcome { request_body: Some(large(b'q')), response_body: large(b'r'), ..failure_of(w, code) };
        let due_at = w.make.now();
        let settlement = w.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
        let spent = if settlement.progress.attempts > 1 { 1 } else { 0 };
        w.settle_one(Settlement { progress: Progress { spent, ..settlement.progress }, ..settlement }).await;
    }
    let row = one(w, id, Some(Namespace::default_namespace())).await.expect("it is there");
    let outcome = row.last_ended.and_then(|attempt| attempt.outcome).expect("it ended");
    assert_eq!((row.payload, outcome.request_body, outcome.response_body), (large(b'p'), Some(large(b'q')), large(b'r')));
    assert_eq!((row.delivery.progress.attempts, row.rate_limited), (3, 2));
    fail(w, id, ErrorCode::RateLimited).await;
    assert_eq!(one(w, id, None).await.map(|row| row.rate_limited), Some(0), "all that there were are counted");
    w.replay(ReplayTarget::Delivery(id), true).await;
    assert_eq!(one(w, id, None).await.map(|row| row.rate_limited), Some(3));
    let cutoff = w.make.advance_secs(1);
    w.prune(PruneRequest { bodies_before: cutoff, ..super::prune::before(NEVER) }).await;
    let row = one(w, id, None).await.expect("it is there");
    assert!(row.bodies_removed && row.payload == large(b'p'));
}

/// Of large bodies a row has the beginning, and says so; where retention took them it says that.
pub async fn rows_show_the_beginning_of_bodies<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let large = |byte| Bytes::from(vec![byte; LISTED_BODY_BYTES + 1]);
    let event = NewEvent { payload: large(b'p'), ..w.make.claimed_event_for(&[route, route]) };
    let ids: Vec<DeliveryId> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    w.publish_one(event).await;
    let empty = NewEvent { payload: Bytes::new(), ..w.make.claimed_event_for(&[route]) };
    let bare = empty.deliveries[0].id;
    w.publish_one(empty).await;
    let outcome = Outcome { request_body: Some(Bytes::new()), response_body: Bytes::new(), ..w.make.success() };
    let settlement = w.settlement(bare, State::Succeeded, Some(outcome)).await;
    w.settle_one(settlement).await;
    let exact = Bytes::from(vec![b'x'; LISTED_BODY_BYTES]);
    for (id, request, response) in [(ids[0], large(b'q'), large(b'r')), (ids[1], exact.clone(), exact.clone())] {
        let outcome = Outcome { request_body: Some(request), response_body: response, ..w.make.success() };
        let settlement = w.settlement(id, State::Succeeded, Some(outcome)).await;
        w.settle_one(settlement).await;
    }
    let rows = w.find_deliveries(DeliveryFilter::default(), Window::first(3)).await.page.items;
    let shown = |row: &DeliveryRow| {
        let outcome = row.last_ended.clone().and_then(|attempt| attempt.outcome).expect("it ended");
        let bodies = (outcome.request_body.expect("a request"), outcome.response_body);
        (bodies, outcome.request_truncated, outcome.response_truncated)
    };
    let begun = |byte| Bytes::from(vec![byte; LISTED_BODY_BYTES]);
    assert_eq!(shown(&rows[2]), ((begun(b'q'), begun(b'r')), true, true));
    assert_eq!(shown(&rows[1]), ((exact.clone(), exact), false, false));
    assert_eq!((&rows[1].payload, rows[1].bodies_removed), (&begun(b'p'), false));
    assert_eq!(shown(&rows[0]), ((Bytes::new(), Bytes::new()), false, false));
    assert_eq!(rows[0].payload, Bytes::new());
    let cutoff = w.make.advance_secs(1);
    w.prune(PruneRequest { bodies_before: cutoff, ..super::prune::before(NEVER) }).await;
    let row = w.find_deliveries(DeliveryFilter::default(), Window::first(1)).await.page.items.remove(0);
    let outcome = row.last_ended.and_then(|attempt| attempt.outcome).expect("the attempt stays");
    assert_eq!((outcome.request_body, outcome.response_body, row.bodies_removed), (None, Bytes::new(), true));
}
