//! Lists of attempts with filters and totals, single attempts, and what retention leaves of them.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::attempt::{AttemptError, Outcome};
use postrider_core::delivery::State;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

const NEVER: Timestamp = Timestamp::MIN;

/// More attempts than gather before they are put into their places, and no multiple of anything.
const MANY: usize = 4_300;

fn other() -> Namespace {
    Namespace::new("other").expect("it follows the rule")
}

/// Publishes an event of that namespace with a claimed delivery for each route.
async fn publish<H: Harness>(w: &mut World<H>, namespace: Namespace, routes: &[Route]) -> (EventSeq, Vec<DeliveryId>) {
    let event = NewEvent { namespace, ..w.make.claimed_event_for(routes) };
    let ids = event.deliveries.iter().map(|delivery| delivery.id).collect();
    (w.publish_one(event).await, ids)
}

async fn fail<H: Harness>(w: &mut World<H>, id: DeliveryId, code: ErrorCode) {
    let error = AttemptError { code, message: format!("it failed with {code}") };
    let outcome = Outcome { error: Some(error), ..w.make.failure() };
    let due_at = w.make.now();
    let settlement = w.settlement(id, State::Retrying { due_at }, Some(outcome)).await;
    w.settle_one(settlement).await;
}

/// Two namespaces, three subscriptions, one of which moves from one endpoint to another; every kind of outcome.
async fn history<H: Harness>(w: &mut World<H>) -> (Vec<Route>, Vec<EventSeq>) {
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    let moved = Route { endpoint: b.endpoint, ..a };
    let mut events = Vec::new();
    for (routes, namespace) in [(vec![a, b], Namespace::default_namespace()), (vec![moved, b], Namespace::default_namespace())] {
        let (event, ids) = publish(w, namespace, &routes).await;
        events.push(event);
        w.make.advance_secs(1);
        fail(w, ids[0], ErrorCode::DeliveryTimeout).await;
        w.make.advance_secs(1);
        fail(w, ids[0], ErrorCode::TlsError).await;
        w.make.advance_secs(1);
        w.succeed(ids[1]).await;
        w.begin(ids[0]).await;
    }
    let (event, ids) = publish(w, other(), &[elsewhere]).await;
    events.push(event);
    w.make.advance_secs(1);
    fail(w, ids[0], ErrorCode::TlsError).await;
    w.make.advance_secs(1);
    w.succeed(ids[0]).await;
    (vec![a, b, elsewhere], events)
}

/// Lists everything with this filter, and holds list and total against a look at every attempt.
async fn narrowed<H: Harness>(w: &World<H>, filter: AttemptFilter, is_wanted: impl Fn(&AttemptRow) -> bool) -> usize {
    let everything = w.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await;
    let expected: Vec<AttemptRow> = everything.page.items.into_iter().filter(is_wanted).collect();
    let found = w.find_attempts(filter.clone(), Window::first(u32::MAX)).await;
    assert_eq!((found.page.items, found.page.next), (expected.clone(), None), "{filter:?}");
    assert_eq!(found.total, expected.len() as u64, "{filter:?}");
    expected.len()
}

fn code(row: &AttemptRow) -> Option<ErrorCode> {
    row.end.as_ref().and_then(|end| end.error.as_ref()).map(|error| error.code)
}

/// Each filter finds exactly what it says, alone and with others, and the total is right under every one; after a restart too.
pub async fn every_filter_narrows<H: Harness>(w: &mut World<H>) {
    let (routes, events) = history(w).await;
    for _ in 0..2 {
        let any = AttemptFilter::default();
        let of = |namespace| AttemptFilter { namespace: Some(namespace), ..any.clone() };
        assert_eq!(narrowed(w, any.clone(), |_| true).await, 10);
        assert_eq!(narrowed(w, of(other()), |row| row.namespace == other()).await, 2);
        assert_eq!(narrowed(w, of(Namespace::new("nobody").expect("a name")), |_| false).await, 0);
        for route in &routes {
            let subscription = AttemptFilter { subscription: Some(route.subscription), ..any.clone() };
            let endpoint = AttemptFilter { endpoint: Some(route.endpoint), ..any.clone() };
            let both = AttemptFilter { endpoint: endpoint.endpoint, ..subscription.clone() };
            let foreign = AttemptFilter { namespace: Some(other()), ..subscription.clone() };
            narrowed(w, subscription, |row| row.subscription == route.subscription).await;
            narrowed(w, endpoint, |row| row.endpoint == route.endpoint).await;
            narrowed(w, both, |row| row.subscription == route.subscription && row.endpoint == route.endpoint).await;
            narrowed(w, foreign, |row| row.subscription == route.subscription && row.namespace == other()).await;
        }
        let moved = AttemptFilter { subscription: Some(routes[0].subscription), endpoint: Some(routes[1].endpoint), ..any.clone() };
        assert_eq!(narrowed(w, moved.clone(), |row| row.event == events[1] && row.subscription == routes[0].subscription).await, 3);
        let with = |outcome| AttemptFilter { outcome, ..any.clone() };
        assert_eq!(narrowed(w, with(OutcomeFilter::UnderWay), |row| row.end.is_none()).await, 2);
        assert_eq!(narrowed(w, with(OutcomeFilter::Succeeded), |row| row.end.is_some() && code(row).is_none()).await, 3);
        assert_eq!(narrowed(w, with(OutcomeFilter::Failed), |row| code(row).is_some()).await, 5);
        let timed_out = OutcomeFilter::Code(ErrorCode::DeliveryTimeout);
        assert_eq!(narrowed(w, with(timed_out), |row| code(row) == Some(ErrorCode::DeliveryTimeout)).await, 2);
        let event = AttemptFilter { event: Some(events[0]), ..any.clone() };
        assert_eq!(narrowed(w, event.clone(), |row| row.event == events[0]).await, 4);
        let failed = AttemptFilter { outcome: OutcomeFilter::Failed, subscription: moved.subscription, ..event };
        assert_eq!(narrowed(w, failed, |row| row.event == events[0] && code(row).is_some()).await, 2);
        w.reopen().await;
    }
}

/// Bounds in time are exact: the first instant is within, the last one is not.
pub async fn bounds_in_time_are_exact<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (routes, _) = history(w).await;
    for after in 0..8 {
        let at = start.after(Duration::from_secs(after));
        let from = AttemptFilter { began_from: Some(at), ..AttemptFilter::default() };
        let before = AttemptFilter { began_before: Some(at), ..AttemptFilter::default() };
        narrowed(w, from.clone(), |row| row.started_at >= at).await;
        narrowed(w, before, |row| row.started_at < at).await;
        let endpoint = routes[1].endpoint;
        let end = at.after(Duration::from_secs(2));
        let within = AttemptFilter { began_before: Some(end), endpoint: Some(endpoint), ..from };
        narrowed(w, within, |row| row.endpoint == endpoint && row.started_at >= at && row.started_at < end).await;
    }
}

/// A row says everything that its attempt says but for the bodies.
pub async fn rows_say_what_the_attempts_say<H: Harness>(w: &mut World<H>) {
    history(w).await;
    for row in w.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await.page.items {
        let view = w.view(row.delivery).await;
        let attempt = view.attempts.into_iter().find(|attempt| attempt.number == row.number).expect("it is one of its attempts");
        let expected = AttemptRow {
            id: attempt.id,
            namespace: view.event.namespace.clone(),
            event: view.event.seq,
            delivery: view.delivery.id,
            subscription: attempt.subscription,
            endpoint: attempt.endpoint,
            number: attempt.number,
            target_url: attempt.target_url,
            started_at: attempt.started_at,
            end: attempt.outcome.map(|outcome| AttemptEnd {
                finished_at: outcome.finished_at,
                http_status: outcome.http_status,
                error: outcome.error,
                phases: outcome.phases,
            }),
        };
        assert_eq!(row, expected);
    }
}

/// Page by page and piece by piece it is the list; the total is that of the whole list.
pub async fn pieces_make_up_the_list<H: Harness>(w: &mut World<H>) {
    history(w).await;
    let all = w.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await.page.items;
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let found = w.find_attempts(AttemptFilter::default(), Window { after, ..Window::first(3) }).await;
        assert_eq!(found.total, all.len() as u64);
        paged.extend(found.page.items);
        after = found.page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    for skip in 0..12 {
        let found = w.find_attempts(AttemptFilter::default(), Window { skip, limit: 4, after: Some(all[1].id) }).await;
        let rest: Vec<AttemptRow> = all.iter().skip(2 + skip as usize).cloned().collect();
        assert_eq!(found.page.items, rest[..rest.len().min(4)]);
        assert_eq!(found.page.next, rest.get(4).map(|_| rest[3].id));
    }
    let none = w.find_attempts(AttemptFilter::default(), Window::first(0)).await;
    assert_eq!((none.page.items.len(), none.total), (0, all.len() as u64));
}

/// More than gather before they go to their places, and some that came after that: all are listed and counted, whatever retention takes.
pub async fn many_are_listed_and_counted<H: Harness>(w: &mut World<H>) {
    let routes = [w.make.route(), w.make.route(), w.make.route()];
    let mut middle = NEVER;
    for part in [MANY, 50] {
        let events: Vec<NewEvent> = (0..part).map(|n| w.make.claimed_event_for(&[routes[n % 3]])).collect();
        let ids: Vec<DeliveryId> = events.iter().map(|event| event.deliveries[0].id).collect();
        w.publish(events).await;
        let mut ends = Vec::new();
        for (n, id) in ids.into_iter().enumerate() {
            if n == part / 2 {
                middle = w.make.advance_secs(10);
            }
            let outcome = if n % 7 == 0 { w.make.failure() } else { w.make.success() };
            ends.push(w.settlement(id, State::Succeeded, Some(outcome)).await);
        }
        w.settle(ends).await;
        let one = AttemptFilter { subscription: Some(routes[1].subscription), ..AttemptFilter::default() };
        narrowed(w, one.clone(), |row| row.subscription == routes[1].subscription).await;
        narrowed(w, AttemptFilter { outcome: OutcomeFilter::Failed, ..one }, |row| {
            row.subscription == routes[1].subscription && code(row).is_some()
        })
        .await;
        narrowed(w, AttemptFilter { began_before: Some(middle), ..AttemptFilter::default() }, |row| row.started_at < middle).await;
    }
    let request = PruneRequest { events_before: NEVER, closed_before: NEVER, ..super::prune::before(middle) };
    let pruned = w.prune(PruneRequest { limit: 500, ..request }).await;
    assert_eq!(narrowed(w, AttemptFilter::default(), |row| row.started_at >= middle).await, MANY + 50 - pruned.attempts as usize);
}

/// An attempt under way is found as that, then as what it ended as, and never as both.
pub async fn an_attempt_changes_its_place_when_it_ends<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let attempt = w.begin(id).await;
    let total = async |w: &World<H>, outcome| {
        let filter = AttemptFilter { subscription: Some(route.subscription), outcome, ..AttemptFilter::default() };
        w.find_attempts(filter, Window::first(10)).await.total
    };
    assert_eq!((total(w, OutcomeFilter::UnderWay).await, total(w, OutcomeFilter::Any).await), (1, 1));
    let detail = w.store().attempt(attempt.id, None).await.expect("attempt").expect("it is there");
    assert_eq!((detail.attempt, detail.bodies_removed), (attempt.clone(), false));
    w.make.advance_secs(1);
    w.fail(id).await;
    assert_eq!((total(w, OutcomeFilter::UnderWay).await, total(w, OutcomeFilter::Failed).await), (0, 1));
    assert_eq!((total(w, OutcomeFilter::Succeeded).await, total(w, OutcomeFilter::Any).await), (0, 1));
    let detail = w.store().attempt(attempt.id, None).await.expect("attempt").expect("it is there");
    assert!(detail.attempt.outcome.is_some());
}

/// One attempt comes with its bodies, its delivery and its event; another namespace does not see it.
pub async fn one_comes_with_everything<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (event, ids) = publish(w, other(), &[route]).await;
    let outcome = Outcome { request_body: Some(Bytes::from_static(b"sent")), ..w.make.success() };
    let settlement = w.settlement(ids[0], State::Succeeded, Some(outcome)).await;
    let attempt = settlement.attempt.clone().expect("an attempt");
    w.settle_one(settlement).await;
    for _ in 0..2 {
        for namespace in [None, Some(other())] {
            let detail = w.store().attempt(attempt.id, namespace).await.expect("attempt").expect("it is there");
            assert_eq!((&detail.attempt, detail.bodies_removed), (&attempt, false));
            assert_eq!((detail.delivery, detail.event.seq), (w.view(ids[0]).await.delivery, event));
        }
        let foreign = w.store().attempt(attempt.id, Some(Namespace::default_namespace())).await.expect("attempt");
        assert!(foreign.is_none());
        let unknown = AttemptId::new(w.make.uuid());
        assert!(w.store().attempt(unknown, None).await.expect("attempt").is_none());
        // Sorts in what has gathered.
        w.prune(super::prune::before(NEVER)).await;
    }
}

/// Of each endpoint and each subscription the newest attempt that ended is answered, in the order of the question; what is under way is not.
pub async fn the_last_that_ended<H: Harness>(w: &mut World<H>) {
    let (routes, _) = history(w).await;
    let nobody = w.make.route();
    for _ in 0..2 {
        let rows = w.find_attempts(AttemptFilter::default(), Window::first(u32::MAX)).await.page.items;
        let newest = |is_of: &dyn Fn(&AttemptRow) -> bool| rows.iter().find(|row| row.end.is_some() && is_of(row)).cloned();
        let endpoints = [nobody.endpoint, routes[1].endpoint, routes[2].endpoint, routes[0].endpoint, routes[1].endpoint];
        let expected: Vec<_> = endpoints.iter().map(|id| newest(&|row| row.endpoint == *id)).collect();
        assert_eq!(expected.iter().filter(|row| row.is_none()).count(), 1);
        assert_eq!(last_ended(w, LastOf::Endpoints(endpoints.into())).await, expected);
        let subscriptions = [routes[2].subscription, nobody.subscription, routes[0].subscription];
        let expected: Vec<_> = subscriptions.iter().map(|id| newest(&|row| row.subscription == *id)).collect();
        assert_eq!(last_ended(w, LastOf::Subscriptions(subscriptions.into())).await, expected);
        assert!(last_ended(w, LastOf::Endpoints(Vec::new())).await.is_empty());
        // Sorts in what has gathered.
        w.prune(super::prune::before(NEVER)).await;
    }
    // One that ended after that, and one whose id is older than what was sorted in.
    let (_, ids) = publish(w, Namespace::default_namespace(), &[routes[0], nobody]).await;
    w.succeed(ids[0]).await;
    fail(w, ids[1], ErrorCode::TlsError).await;
    let of = LastOf::Endpoints(vec![routes[0].endpoint, nobody.endpoint]);
    let last: Vec<_> = last_ended(w, of).await.into_iter().map(|row| row.map(|row| (row.delivery, code(&row)))).collect();
    assert_eq!(last, [Some((ids[0], None)), Some((ids[1], Some(ErrorCode::TlsError)))]);
}

/// What went to an erased endpoint is nobody's last attempt any more.
pub async fn the_last_that_may_be_seen<H: Harness>(w: &mut World<H>) {
    let endpoint = w.make.endpoint();
    let before = w.make.route();
    let moved = Route { endpoint: endpoint.id, ..before };
    let (_, ids) = publish(w, Namespace::default_namespace(), &[before, moved]).await;
    for id in &ids {
        w.make.advance_secs(1);
        w.succeed(*id).await;
    }
    let erased_at = w.make.now();
    let last = async |w: &World<H>| {
        let of = [LastOf::Endpoints(vec![endpoint.id]), LastOf::Subscriptions(vec![before.subscription])];
        let [to, by] = of.map(|of| last_ended(w, of));
        [to.await, by.await].map(|rows| rows[0].as_ref().map(|row| row.delivery))
    };
    for _ in 0..2 {
        w.configure(vec![ConfigChange::Endpoint(endpoint.clone())]).await.expect("configure");
        assert_eq!(last(w).await, [Some(ids[1]), Some(ids[1])]);
        let gone = Endpoint { deleted: Some(Deletion::Erased { erased_at }), ..endpoint.clone() };
        w.configure(vec![ConfigChange::Endpoint(gone)]).await.expect("configure");
        assert_eq!(last(w).await, [None, Some(ids[0])]);
        w.configure(vec![ConfigChange::Endpoint(endpoint.clone())]).await.expect("configure");
        // Sorts in what has gathered.
        w.prune(super::prune::before(NEVER)).await;
    }
}

async fn last_ended<H: Harness>(w: &World<H>, of: LastOf) -> Vec<Option<AttemptRow>> {
    w.store().last_ended(of).await.expect("last_ended")
}

/// Bodies go by their own age; everything else that an attempt says stays, and so does what is younger or under way.
pub async fn bodies_go_while_rows_stay<H: Harness>(w: &mut World<H>) {
    let routes = [w.make.route(), w.make.route(), w.make.route(), w.make.route()];
    let (_, ids) = publish(w, Namespace::default_namespace(), &routes).await;
    let large = Bytes::from(vec![b'x'; 2_000]);
    let mut sent = Vec::new();
    for (n, id) in ids.iter().take(3).enumerate() {
        if n == 2 {
            w.make.advance_secs(100);
        }
        let body = if n == 0 { large.clone() } else { Bytes::from_static(b"small") };
        let outcome = Outcome { request_body: Some(body), request_truncated: true, ..w.make.success() };
        let settlement = w.settlement(*id, State::Succeeded, Some(outcome)).await;
        sent.push(settlement.attempt.clone().expect("an attempt"));
        w.settle_one(settlement).await;
    }
    let open = w.begin(ids[3]).await;
    let cutoff = w.make.now();
    let rows = w.find_attempts(AttemptFilter::default(), Window::first(10)).await;
    let request = PruneRequest { bodies_before: cutoff, limit: 1, ..super::prune::before(NEVER) };
    assert_eq!(w.prune(request).await.bodies, 2);
    assert_eq!(w.prune(request).await.bodies, 0, "they have gone already");
    let after = w.find_attempts(AttemptFilter::default(), Window::first(10)).await;
    assert_eq!((after.page.items, after.total), (rows.page.items, rows.total));
    for (n, attempt) in sent.iter().enumerate() {
        let detail = w.store().attempt(attempt.id, None).await.expect("attempt").expect("it is there");
        let outcome = attempt.outcome.clone().expect("it ended");
        let without = Outcome { request_body: None, response_body: Bytes::new(), response_headers: None, ..outcome.clone() };
        let expected = if n < 2 { without } else { outcome };
        assert_eq!((detail.attempt.outcome, detail.bodies_removed), (Some(expected), n < 2));
    }
    w.succeed(ids[3]).await;
    let cutoff = w.make.advance_secs(1);
    let request = PruneRequest { bodies_before: cutoff, ..request };
    assert_eq!(w.prune(request).await.bodies, 2, "the young one and the one that was under way");
    let detail = w.store().attempt(open.id, None).await.expect("attempt").expect("it is there");
    assert!(detail.bodies_removed);
}

/// The newest attempts of one delivery, in the order of their numbers, to those of its namespace.
pub async fn those_of_one_delivery<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let (id, bystander) = (w.claimed(route).await, w.claimed(route).await);
    for _ in 0..4 {
        w.retry(id, w.make.now(), true).await;
        w.make.advance_secs(1);
    }
    w.succeed(bystander).await;
    w.begin(id).await;
    let all = w.find_attempts(AttemptFilter::default(), Window::first(9)).await.page.items;
    let mut expected: Vec<AttemptRow> = all.into_iter().filter(|row| row.delivery == id).collect();
    expected.sort_by_key(|row| row.number);
    assert_eq!(expected.iter().map(|row| row.number).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
    let own = Namespace::default_namespace();
    for (namespace, limit, wanted) in
        [(None, 9, &expected[..]), (Some(own), 2, &expected[3..]), (None, 0, &expected[..0]), (Some(other()), 9, &expected[..0])]
    {
        let found = w.store().attempts_of(id, namespace, limit).await.expect("attempts_of");
        assert_eq!(found, wanted);
    }
    let unknown = DeliveryId::new(w.make.uuid());
    assert!(w.store().attempts_of(unknown, None, 9).await.expect("attempts_of").is_empty());
}
