//! How well endpoints do: tallies that follow outcomes, and what they are listed and counted by.

use super::{Harness, Route, World};
use postrider_core::attempt::{AttemptError, Outcome};
use postrider_core::delivery::{State, StateKind};
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::health::{Counts, FailureKind, Health, HealthTally};
use postrider_core::id::*;
use postrider_core::ports::*;
use std::time::Duration;

const HOUR: Duration = Duration::from_secs(3_600);

async fn put<H: Harness>(w: &World<H>, endpoint: &Endpoint) {
    w.configure(vec![ConfigChange::Endpoint(endpoint.clone())]).await.expect("configure");
}

/// A configured endpoint, and a route to it.
async fn configured<H: Harness>(w: &mut World<H>, namespace: &str) -> (Endpoint, Route) {
    let endpoint = Endpoint { namespace: Namespace::new(namespace).expect("a name by the rule"), ..w.make.endpoint() };
    put(w, &endpoint).await;
    let route = Route { endpoint: endpoint.id, ..w.make.route() };
    (endpoint, route)
}

async fn tally<H: Harness>(w: &World<H>, of: EndpointId) -> Option<HealthTally> {
    let mut tallies = w.store().endpoint_health(vec![of]).await.expect("endpoint_health");
    assert_eq!(tallies.len(), 1, "one for each that is asked for");
    tallies.remove(0)
}

async fn counted<H: Harness>(w: &World<H>, of: EndpointId) -> Counts {
    tally(w, of).await.expect("it has one").window().deliveries()
}

async fn health<H: Harness>(w: &World<H>, of: EndpointId) -> Health {
    tally(w, of).await.expect("it has one").health()
}

/// Publishes and lets one attempt end so; answers the delivery.
async fn one<H: Harness>(w: &mut World<H>, route: Route, succeeds: bool) -> DeliveryId {
    let id = w.claimed(route).await;
    if succeeds {
        w.succeed(id).await;
    } else {
        w.fail(id).await;
    }
    id
}

async fn list<H: Harness>(w: &World<H>, namespace: Option<&str>, health: Health, window: Window<EndpointId>) -> (Vec<EndpointId>, u64) {
    let namespace = namespace.map(|name| Namespace::new(name).expect("a name by the rule"));
    let found = w.store().endpoints_by_health(namespace, health, window).await.expect("endpoints_by_health");
    (found.page.items, found.total)
}

async fn summary<H: Harness>(w: &World<H>, namespace: Option<&str>) -> [u64; 4] {
    let namespace = namespace.map(|name| Namespace::new(name).expect("a name by the rule"));
    w.store().health_summary(namespace).await.expect("health_summary")
}

/// Outcomes are counted with what they say, and another endpoint's are not.
pub async fn follows_outcomes<H: Harness>(w: &mut World<H>) {
    let ((endpoint, route), (other, _)) = (configured(w, "default").await, configured(w, "default").await);
    assert_eq!(tally(w, endpoint.id).await, Some(HealthTally::default()));
    let first = w.make.advance_secs(1);
    one(w, route, true).await;
    assert_eq!(health(w, endpoint.id).await, Health::Healthy);
    let last = w.make.advance_secs(1);
    one(w, route, false).await;
    w.reopen().await;
    let found = tally(w, endpoint.id).await.expect("it has one");
    assert_eq!((found.health(), found.failures_in_a_row()), (Health::Degraded, 1));
    assert_eq!((found.first_at(), found.last_success_at(), found.last_failure_at()), (Some(first), Some(first), Some(last)));
    let window = found.window();
    assert_eq!((window.deliveries(), window.mean_response_us()), (Counts { succeeded: 1, failed: 1 }, Some(500)));
    assert_eq!((window.failures(FailureKind::Network), window.failures(FailureKind::Server)), (1, 0));
    for _ in 0..2 {
        one(w, route, false).await;
    }
    assert_eq!(health(w, endpoint.id).await, Health::Unhealthy, "1 of 4");
    assert_eq!(tally(w, other.id).await, Some(HealthTally::default()));
}

/// Many outcomes in one piece are counted in their order: how many failed in a row depends on it.
pub async fn outcomes_of_one_piece_follow_each_other<H: Harness>(w: &mut World<H>) {
    let (endpoint, route) = configured(w, "default").await;
    let mut settlements = Vec::new();
    for succeeds in [false, false, true, false, false, false] {
        let id = w.claimed(route).await;
        let (state, outcome) =
            if succeeds { (State::Succeeded, w.make.success()) } else { (State::Failed(ErrorCode::ConnectionRefused), w.make.failure()) };
        settlements.push(w.settlement(id, state, Some(outcome)).await);
    }
    let success = w.make.success();
    let fenced = w.settlement(settlements[0].delivery, State::Succeeded, Some(success)).await;
    settlements.push(Settlement { from: StateKind::Retrying, ..fenced });
    let answers = w.settle(settlements).await;
    assert_eq!(answers.iter().filter(|answer| **answer == Settled::Stored).count(), 6);
    let found = tally(w, endpoint.id).await.expect("it has one");
    assert_eq!((found.failures_in_a_row(), found.window().deliveries()), (3, Counts { succeeded: 1, failed: 5 }));
}

/// However often it is tried, and whatever is made of it later: the latest attempt says what a delivery counts as.
pub async fn a_delivery_counts_once<H: Harness>(w: &mut World<H>) {
    let (endpoint, route) = configured(w, "default").await;
    let id = w.claimed(route).await;
    for _ in 0..2 {
        let due_at = w.make.advance(HOUR);
        w.retry(id, due_at, true).await;
    }
    assert_eq!(counted(w, endpoint.id).await, Counts { succeeded: 0, failed: 1 });
    w.make.advance(HOUR);
    // Recorded as under way first.
    w.begin(id).await;
    assert_eq!(counted(w, endpoint.id).await, Counts { succeeded: 0, failed: 1 });
    w.succeed(id).await;
    assert_eq!((counted(w, endpoint.id).await, health(w, endpoint.id).await), (Counts { succeeded: 1, failed: 0 }, Health::Healthy));
    let window = tally(w, endpoint.id).await.expect("it has one").window();
    assert_eq!(window.failures(FailureKind::Network), 2, "attempts count each");
    assert!(matches!(w.replay(ReplayTarget::Delivery(id), true).await, Replayed::Claimed(_)));
    w.fail(id).await;
    assert_eq!(counted(w, endpoint.id).await, Counts { succeeded: 0, failed: 1 });
}

/// What ended on this side says nothing of the receiver, and the attempt before it still counts.
pub async fn what_was_not_sent_does_not_count<H: Harness>(w: &mut World<H>) {
    let (endpoint, route) = configured(w, "default").await;
    let id = w.claimed(route).await;
    let due_at = w.make.now();
    let here = |outcome: Outcome, code| {
        let error = AttemptError { code, message: "it ended here".to_owned() };
        Some(Outcome { error: Some(error), ..outcome })
    };
    let (interrupted, unmade) = (here(w.make.failure(), ErrorCode::Interrupted), here(w.make.failure(), ErrorCode::TemplateError));
    let first = w.settlement(id, State::Retrying { due_at }, interrupted.clone()).await;
    w.settle_one(first).await;
    assert_eq!(tally(w, endpoint.id).await, Some(HealthTally::default()));
    w.retry(id, due_at, true).await;
    let third = w.settlement(id, State::Retrying { due_at }, interrupted).await;
    w.settle_one(third).await;
    w.succeed(id).await;
    let other = w.claimed(route).await;
    let ended = w.settlement(other, State::Failed(ErrorCode::TemplateError), unmade).await;
    w.settle_one(ended).await;
    let found = tally(w, endpoint.id).await.expect("it has one");
    assert_eq!((found.window().deliveries(), found.failures_in_a_row()), (Counts { succeeded: 1, failed: 0 }, 0));
}

/// Without configuration there is no tally; a deleted endpoint loses it, and what still ends there does not bring it back.
pub async fn goes_with_its_endpoint<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    one(w, route, true).await;
    assert_eq!(tally(w, route.endpoint).await, None);
    for erased in [false, true] {
        let (endpoint, route) = configured(w, "default").await;
        one(w, route, true).await;
        let under_way = w.claimed(route).await;
        assert_eq!(summary(w, None).await, [0, 1, 0, 0]);
        let now = w.make.now();
        let deleted = Some(if erased { Deletion::Erased { erased_at: now } } else { Deletion::Kept(now) });
        let success = w.make.success();
        let late = w.settlement(under_way, State::Succeeded, Some(success)).await;
        put(w, &Endpoint { deleted, ..endpoint.clone() }).await;
        w.settle_one(late).await;
        w.reopen().await;
        assert_eq!(tally(w, endpoint.id).await, None);
        assert_eq!((summary(w, None).await, summary(w, Some("default")).await), ([0; 4], [0; 4]));
        assert_eq!(list(w, None, Health::Healthy, Window::first(10)).await, (vec![], 0));
        if erased {
            w.forget(route.subscription);
        }
    }
    let (endpoint, route) = configured(w, "default").await;
    one(w, route, true).await;
    put(w, &Endpoint { name: "another name".to_owned(), ..endpoint.clone() }).await;
    assert_eq!(health(w, endpoint.id).await, Health::Healthy, "a change of the endpoint leaves it as it is");
}

/// Endpoints of each class in two namespaces: lists, pages and numbers.
pub async fn lists_and_numbers_follow<H: Harness>(w: &mut World<H>) {
    let mut expected: Vec<(&str, Health, EndpointId)> = Vec::new();
    for n in 0..18 {
        let namespace = if n % 3 == 0 { "other" } else { "default" };
        let (endpoint, route) = configured(w, namespace).await;
        let (succeed, fail, health) =
            [(0, 0, Health::Unknown), (2, 0, Health::Healthy), (1, 1, Health::Degraded), (0, 1, Health::Unhealthy)][n % 4];
        for succeeds in std::iter::repeat_n(true, succeed).chain(std::iter::repeat_n(false, fail)) {
            one(w, route, succeeds).await;
        }
        expected.push((namespace, health, endpoint.id));
        w.make.advance_secs(1);
    }
    expected.sort_by_key(|(_, _, id)| std::cmp::Reverse(*id));
    for namespace in [None, Some("default"), Some("other"), Some("nobodys")] {
        let mut numbers = [0; 4];
        for health in Health::ALL {
            let in_list = expected.iter().filter(|(of, is, _)| *is == health && namespace.is_none_or(|wanted| wanted == *of));
            let ids: Vec<EndpointId> = in_list.map(|(_, _, id)| *id).collect();
            let total = ids.len() as u64;
            numbers[health as usize] = total;
            assert_eq!(list(w, namespace, health, Window::first(100)).await, (ids.clone(), total), "{namespace:?} {health:?}");
            let second = Window { skip: 1, ..Window::first(1) };
            assert_eq!(list(w, namespace, health, second).await.0, ids.iter().copied().skip(1).take(1).collect::<Vec<_>>());
            let rest = Window { after: ids.first().copied(), ..Window::first(100) };
            assert_eq!(list(w, namespace, health, rest).await, (ids.iter().copied().skip(1).collect(), total));
        }
        assert_eq!(summary(w, namespace).await, numbers, "{namespace:?}");
    }
    let many: Vec<EndpointId> = expected.iter().map(|(_, _, id)| *id).collect();
    let unknown = EndpointId::new(w.make.uuid());
    let found = w.store().endpoint_health(many.iter().copied().chain([unknown]).collect()).await.expect("endpoint_health");
    let found: Vec<Option<Health>> = found.iter().map(|tally| tally.as_ref().map(HealthTally::health)).collect();
    assert_eq!(found, expected.iter().map(|(_, health, _)| Some(*health)).chain([None]).collect::<Vec<_>>());
}

/// What is a day old does not count any more, also where nothing follows it: in slices, the oldest first.
pub async fn hours_leave_with_time<H: Harness>(w: &mut World<H>) {
    let mut endpoints = Vec::new();
    for _ in 0..3 {
        let (endpoint, route) = configured(w, "default").await;
        one(w, route, false).await;
        endpoints.push(endpoint.id);
        w.make.advance(HOUR);
    }
    // The fixtures' time begins with an hour, and three of them have passed.
    let day = HOUR * 24;
    let before = w.make.now().after(day).before(HOUR * 3).before(Duration::from_micros(1));
    assert_eq!(w.store().age_health(before, 10).await, Ok(0));
    assert_eq!(summary(w, None).await, [0, 0, 0, 3]);
    let second = before.after(HOUR).after(Duration::from_micros(1));
    assert_eq!(w.store().age_health(second, 1).await, Ok(1));
    assert_eq!(list(w, None, Health::Unknown, Window::first(10)).await, (vec![endpoints[0]], 1), "the oldest");
    assert_eq!(w.store().age_health(second, 10).await, Ok(1));
    assert_eq!(w.store().age_health(second, 10).await, Ok(0), "all of them are up to date");
    assert_eq!(summary(w, None).await, [2, 0, 0, 1]);
    let found = tally(w, endpoints[0]).await.expect("it has one");
    assert_eq!((found.window().deliveries(), found.failures_in_a_row()), (Counts::default(), 1), "what followed what is not forgotten");
    assert!(found.last_failure_at().is_some());
    w.make.advance(day);
    let route = Route { endpoint: endpoints[2], ..w.make.route() };
    one(w, route, true).await;
    assert_eq!(
        tally(w, endpoints[2]).await.expect("it has one").window().deliveries(),
        Counts { succeeded: 1, failed: 0 },
        "outcomes do it too"
    );
    assert_eq!(summary(w, None).await, [2, 1, 0, 0]);
    w.reopen().await;
    assert_eq!(w.store().age_health(w.make.now().after(day), 10).await, Ok(1));
    assert_eq!(summary(w, Some("default")).await, [3, 0, 0, 0]);
}
