use super::*;
use crate::testing;
use postrider_core::filter::{Match, TypePattern};
use std::time::Duration;

fn routes(subscriptions: Vec<Subscription>) -> Routes {
    let endpoints = vec![testing::endpoint(1), testing::endpoint(2)];
    let configuration = Configuration { endpoints, subscriptions, ..Configuration::default() };
    Routes::new(configuration, &testing::key_ring(), "tests")
}

fn subscription(n: u128, pattern: &str, predicate: &str) -> Subscription {
    let patterns = vec![TypePattern::parse(pattern).expect("a pattern")];
    Subscription { patterns, matches: Match::parse(predicate).expect("a predicate"), ..testing::subscription(n, testing::endpoint_id(1)) }
}

fn matched(routes: &Routes, event_type: &str, payload: &str) -> Vec<u128> {
    let matched = routes.matching(&Namespace::default_namespace(), event_type, &BTreeMap::new(), payload.as_bytes());
    matched.routes.iter().map(|route| route.subscription.id.uuid().as_u128()).collect()
}

#[test]
fn payloads_decide_where_subscriptions_ask_for_it() {
    let inactive = Subscription { active: false, ..subscription(5, "a.b", "{}") };
    let routes = routes(vec![
        subscription(1, "a.b", "{}"),
        subscription(2, "a.b", r#"{"x":1}"#),
        subscription(3, "a.*", r#"{"x":1.0,"y":"z"}"#),
        subscription(4, "a.b", r#"{"x":2}"#),
        inactive,
    ]);
    assert_eq!(matched(&routes, "a.b", r#"{"x":1,"y":"z"}"#), [1, 2, 3]);
    assert_eq!(matched(&routes, "a.b", r#"{"x":2}"#), [1, 4]);
    assert_eq!(matched(&routes, "a.b", "no json"), [1]);
    assert_eq!(matched(&routes, "a.c", r#"{"x":1,"y":"z"}"#), [3]);
    let namespace = Namespace::default_namespace();
    assert!(routes.may_match(&namespace, "a.c") && !routes.may_match(&namespace, "b.c"));
}

#[test]
fn the_strictest_rate_of_an_endpoints_active_subscriptions_holds() {
    let rate = |per_second: f64, burst| RateLimit::per_second(per_second, burst);
    let limited = |n, rate_limit, active| Subscription { rate_limit, active, ..testing::subscription(n, testing::endpoint_id(1)) };
    let mut routes = routes(vec![
        limited(1, rate(10.0, 2), true),
        limited(2, rate(5.0, 9), true),
        limited(3, rate(0.1, 1), false),
        limited(4, None, true),
    ]);
    let [first, second] = [1, 2].map(testing::endpoint_id);
    assert_eq!(routes.rate_limit(first), rate(5.0, 2));
    assert_eq!(routes.rate_limit(second), None);
    let mut put = |change| routes.apply(change, &testing::key_ring(), "tests");
    put(ConfigChange::Endpoint(Endpoint { rate_limit: rate(1.0, 100), ..testing::endpoint(1) }));
    put(ConfigChange::Subscription(Subscription { endpoint: second, ..limited(1, rate(10.0, 2), true) }));
    put(ConfigChange::Subscription(Subscription { deleted_at: Some(testing::BEGINNING), ..limited(2, None, true) }));
    assert_eq!((routes.rate_limit(first), routes.rate_limit(second)), (rate(1.0, 100), rate(10.0, 2)));
}

#[test]
fn a_subscriptions_deadline_comes_before_its_endpoints() {
    let target = |timeout| {
        let subscription = Subscription { timeout, ..testing::subscription(1, testing::endpoint_id(1)) };
        target_of(&subscription, &testing::endpoint(1))
    };
    let second = Duration::from_secs(1);
    assert_eq!((target(None).timeout, target(None).connect_timeout), (10 * second, 10 * second));
    let short = target(Some(2 * second));
    assert_eq!((short.timeout, short.connect_timeout), (2 * second, 2 * second));
    let long = target(Some(60 * second));
    assert_eq!((long.timeout, long.connect_timeout), (60 * second, 10 * second));
}

/// Whoever wants everything that is published has not asked to hear of each delivery of that.
#[test]
fn postriders_own_events_go_to_those_that_name_them() {
    let all = Subscription { patterns: Vec::new(), ..subscription(4, "*", "{}") };
    let routes =
        routes(vec![subscription(1, "*", "{}"), subscription(2, "delivery.*", "{}"), subscription(3, "delivery.item.failed", "{}"), all]);
    assert_eq!(matched(&routes, "delivery.item.failed", "{}"), [2, 3]);
    assert_eq!(matched(&routes, "delivery.item.completed", "{}"), [2]);
    assert_eq!(matched(&routes, "a.b", "{}"), [1, 4]);
}
