//! Events that Postrider makes of the outcomes of bindings' deliveries.

use crate::harness::{Hand, pass, run, subscription};
use crate::items::{binding, destination, of_type, start};
use postrider_core::body::{BodyForm, ItemsBody};
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::SubscriptionId;
use postrider_core::ports::StoreErrorKind;
use postrider_core::signal::{ITEM_COMPLETED, ITEM_FAILED};
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::{Limits, Publish, Retention};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// Types of the events that are stored, in their order.
fn types(hand: &Hand) -> Vec<String> {
    hand.store.dump().events.iter().map(|event| event.event_type.to_string()).collect()
}

fn bodies(hand: &Hand) -> Vec<String> {
    hand.received.lock().iter().map(|(_, body)| String::from_utf8(body.to_vec()).expect("text")).collect()
}

/// Listens for both, as the payload alone.
fn listeners(to: &Endpoint) -> Vec<Subscription> {
    let bare = BodyForm::Items(ItemsBody { envelope: false, ..ItemsBody::json() });
    [(8, ITEM_COMPLETED), (9, ITEM_FAILED)].map(|(n, own)| Subscription { body: bare.clone(), ..binding(n, to, own) }).into()
}

#[test]
fn a_success_makes_one_event_and_that_ones_delivery_none() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let bindings = [vec![binding(2, &to, "a.b")], listeners(&to)].concat();
        let engine = start(&hand, vec![to.clone()], bindings).await;
        let receipt = engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(types(&hand), ["a.b", ITEM_COMPLETED]);
        let attempt = hand.store.dump().attempts.remove(0);
        let told = format!(
            "{{\"item_id\":\"{}\",\"binding_id\":\"{}\",\"destination_id\":\"{}\",\"source_event_id\":\"{}\",\
             \"source_event_type\":\"a.b\",\"attempts\":1,\"http_status\":200,\"error_code\":null}}",
            attempt.id, attempt.subscription, to.id, receipt.seq,
        );
        assert_eq!(bodies(&hand)[1..], [told]);
        pass(100_000 * SECOND).await;
        assert_eq!((types(&hand).len(), hand.requests()), (2, 2));
    });
}

#[test]
fn a_failure_makes_one_event_when_it_is_final() {
    run(async {
        let hand = Hand::new();
        let (to, ear) = (destination(1), destination(5));
        let bindings = [vec![binding(2, &to, "a.b")], listeners(&ear)].concat();
        let engine = start(&hand, vec![to, ear], bindings).await;
        *hand.status.lock() = 503;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(30_000 * SECOND).await;
        assert_eq!(types(&hand), ["a.b"], "not while it is tried again");
        pass(10_000 * SECOND).await;
        assert_eq!(types(&hand), ["a.b", ITEM_FAILED]);
        let told = bodies(&hand).into_iter().find(|body| body.contains("source_event_id")).expect("it was told");
        assert!(told.ends_with("\"attempts\":7,\"http_status\":503,\"error_code\":\"connector_5xx\"}"), "{told}");
        pass(100_000 * SECOND).await;
        assert_eq!(types(&hand).len(), 2, "the listener's own failure makes none");
    });
}

/// Running out of time is a failure too, and no attempt decided it.
#[test]
fn what_expires_before_an_attempt_names_no_item() {
    run(async {
        let hand = Hand::new();
        let (to, ear) = (destination(1), destination(5));
        let engine = start(&hand, vec![to.clone(), ear.clone()], [vec![binding(2, &to, "a.b")], listeners(&ear)].concat()).await;
        engine.publish(Publish { ttl: Some(Duration::ZERO), ..of_type("a.b", "{}") }).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(types(&hand), ["a.b", ITEM_FAILED]);
        let told = bodies(&hand).remove(0);
        assert!(
            told.starts_with("{\"item_id\":null,") && told.ends_with("\"attempts\":0,\"http_status\":null,\"error_code\":\"expired\"}"),
            "{told}"
        );
    });
}

#[test]
fn without_a_listener_or_a_binding_there_is_no_event() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let tasks = Subscription { id: SubscriptionId::new(Uuid::from_u128(3)), origin: Origin::Tasks, ..subscription() };
        let elsewhere = postrider_core::event::Namespace::new("elsewhere").expect("a name");
        let theirs: Vec<_> = listeners(&to).into_iter().map(|s| Subscription { namespace: elsewhere.clone(), ..s }).collect();
        let only_bindings =
            [vec![binding(2, &to, "a.b"), Subscription { patterns: binding(2, &to, "c.d").patterns, ..tasks }], theirs].concat();
        let engine = start(&hand, vec![to.clone()], only_bindings).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(types(&hand), ["a.b"], "nobody in its namespace wants it");
        let changes: Vec<_> = listeners(&to).into_iter().map(postrider_core::ports::ConfigChange::Subscription).collect();
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((changes.clone(), ()))).await.expect("stored");
        engine.publish(of_type("c.d", "{}")).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(types(&hand), ["a.b", "c.d"], "a delivery of another API makes none");
    });
}

/// The event is stored with the outcome: while that cannot be stored neither is there, and afterwards both are, once.
#[test]
fn outcome_and_event_are_stored_in_one_piece() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let engine = start(&hand, vec![to.clone()], [vec![binding(2, &to, "a.b")], listeners(&to)].concat()).await;
        hand.fail(Some(("settle", StoreErrorKind::Full)));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(10 * SECOND).await;
        assert_eq!((types(&hand), hand.requests()), (vec!["a.b".to_owned()], 1));
        hand.fail(None);
        pass(10 * SECOND).await;
        assert_eq!((types(&hand), hand.requests()), (vec!["a.b".to_owned(), ITEM_COMPLETED.to_owned()], 2));
        // Refused alone, which is another way into the store.
        hand.hold(Some("settle"));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let last = hand.store.dump().deliveries.pop().expect("a delivery").id;
        hand.poison(Some(last));
        hand.hold(None);
        pass(10 * SECOND).await;
        assert_eq!(types(&hand).len(), 3);
        hand.poison(None);
        pass(10 * SECOND).await;
        assert_eq!((types(&hand).len(), hand.requests()), (4, 4));
        assert!(hand.store.dump().deliveries.iter().all(|d| d.progress.state.kind() == StateKind::Succeeded));
    });
}

/// The next engine finds in the store what this one had no time for.
#[test]
fn an_event_outlives_the_engine_that_made_it() {
    run(async {
        let hand: Arc<Hand> = Hand::new();
        let to = destination(1);
        let engine = start(&hand, vec![to.clone()], [vec![binding(2, &to, "a.b")], listeners(&to)].concat()).await;
        hand.hold(Some("claim"));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        assert_eq!((types(&hand).len(), hand.requests()), (2, 1));
        let next = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(None);
        pass(SECOND).await;
        assert_eq!((hand.requests(), next.stats().load.held), (2, 0));
    });
}

/// Many listeners get what an outcome says, and the commit with the outcome is not theirs: the most of them come after it.
#[test]
fn many_listeners_are_not_stored_with_the_outcome() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let many: Vec<_> = (100..140).map(|n| binding(n, &to, ITEM_COMPLETED)).collect();
        let engine = start(&hand, vec![to.clone()], [vec![binding(2, &to, "a.b")], many].concat()).await;
        hand.hold(Some("fan_out"));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        assert_eq!((types(&hand).len(), hand.store.dump().deliveries.len()), (2, 1 + 16));
        hand.hold(None);
        pass(SECOND).await;
        let told: BTreeSet<_> = hand.store.dump().deliveries.iter().map(|d| d.subscription).collect();
        assert_eq!((told.len(), hand.requests()), (1 + 40, 1 + 40), "each once");
        // Events of several outcomes go on together.
        for _ in 0..3 {
            engine.publish(of_type("a.b", "{}")).await.expect("stored");
        }
        pass(SECOND).await;
        assert_eq!((types(&hand).len(), hand.requests()), (8, 4 * 41));
    });
}
