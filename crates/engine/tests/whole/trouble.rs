//! The store refuses things, callers go away.

use crate::harness::{BEGINNING, Hand, endpoint, event, key_ring, pass, run};
use crate::items::{binding, destination, of_type};
use bytes::Bytes;
use postrider_core::delivery::StateKind;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::event::Namespace;
use postrider_core::id::ScheduledId;
use postrider_core::ports::{ConfigChange, DeliveryFilter, Fault, FaultKind, Store, StoreError, StoreErrorKind, Window};
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::seal::{KeyRing, Sealed};
use postrider_engine::{Limits, Retention};
use std::collections::BTreeSet;
use std::future::Future;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// docs/operating.md: while the disk is full, no new delivery is started whose outcome could not be stored.
#[test]
fn nothing_new_is_sent_while_outcomes_cannot_be_stored() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.fail(Some(("settle", StoreErrorKind::Full)));
        for n in 0..100 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(10 * SECOND).await;
        let sent = hand.requests();
        assert!(sent <= 40, "{sent} exchanges whose outcome a crash would lose: only those under way at the first refusal are");
        hand.fail(None);
        pass(10 * SECOND).await;
        let keys: BTreeSet<_> = hand.requests.lock().iter().cloned().collect();
        assert_eq!((hand.requests(), keys.len()), (100, 100), "then everything goes, once");
        assert!(hand.store.dump().deliveries.iter().all(|d| d.progress.state.kind() == StateKind::Succeeded));
    });
}

#[test]
fn one_outcome_that_cannot_be_stored_stops_nobody_else() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(Some("settle"));
        for n in 0..50 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(SECOND).await;
        let bad = hand.store.dump().deliveries[3].id;
        hand.poison(Some(bad));
        hand.hold(None);
        let succeeded = || hand.store.dump().deliveries.iter().filter(|d| d.progress.state.kind() == StateKind::Succeeded).count();
        pass(30 * SECOND).await;
        assert_eq!(succeeded(), 49);
        for n in 50..60 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(10 * SECOND).await;
        assert_eq!(succeeded(), 59);
        hand.poison(None);
        pass(10 * SECOND).await;
        assert_eq!((succeeded(), hand.requests()), (60, 60), "its outcome was kept: it is not sent again");
        assert_eq!(engine.stats().unsettled, 0);
    });
}

/// What a receiver's side makes of a failure may be as long as it likes; what is kept of it is short, and text.
#[test]
fn the_reason_of_a_failure_is_kept_short_and_cut_between_characters() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        // Three bytes each, and 500 is no multiple of that.
        for (text, kept) in
            [("\u{20ac}".repeat(400), "\u{20ac}".repeat(166)), ("x".repeat(500), "x".repeat(500)), ("x".repeat(501), "x".repeat(500))]
        {
            *hand.fault.lock() = Some(Fault { kind: FaultKind::Protocol, message: text });
            let before = hand.store.dump().attempts.len();
            engine.publish(event(before)).await.expect("stored");
            pass(SECOND).await;
            let attempts = hand.store.dump().attempts;
            let newest = attempts.iter().max_by_key(|attempt| attempt.started_at).expect("an attempt");
            let error = newest.outcome.as_ref().and_then(|outcome| outcome.error.as_ref()).expect("a failure");
            assert_eq!(error.message, kept);
        }
    });
}

#[test]
fn a_change_that_is_stored_is_answered_so_and_in_force() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.fail(Some(("configuration_version", StoreErrorKind::Unavailable)));
        let url = "https://other.test/".to_owned();
        let changed = ConfigChange::Endpoint(Endpoint { url: url.clone(), ..endpoint(EndpointStatus::Active) });
        let answer = engine.edit(|_| Ok::<_, StoreError>((vec![changed.clone()], ()))).await;
        assert_eq!(answer, Ok(()));
        assert!(engine.routes().endpoints().any(|e| e.url == url));
    });
}

/// After `postrider secrets rotate` no secret is stored under the key before, also where it was sealed before the engine knew.
#[test]
fn a_secret_that_was_sealed_before_a_rotation_is_not_stored_after_it() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        let text = format!("k2={},k1={}", "7a".repeat(32), "5e".repeat(32));
        let after = KeyRing::parse(&text).expect("right keys");
        let seal = |ring: &KeyRing, secret: &[u8]| ring.seal(secret, &mut |bytes| bytes.fill(7));
        let with = |name: &str, secrets: Vec<Sealed>| Endpoint { name: name.to_owned(), secrets, ..endpoint(EndpointStatus::Active) };
        let put = async |endpoint: Endpoint| {
            let mut asked = 0;
            let answer = engine.edit(|_| {
                asked += 1;
                Ok::<_, StoreError>((vec![ConfigChange::Endpoint(endpoint.clone())], ()))
            });
            (answer.await.map_err(|error| error.kind), asked)
        };
        let stored = async || hand.store.configuration().await.expect("the model never fails").endpoints.remove(0);
        let (old, waiting) = (seal(&key_ring(), b"first"), seal(&key_ring(), b"second"));
        assert_eq!(put(with("before", vec![old])).await, (Ok(()), 1));

        *hand.keys.lock() = Some(text);
        let rotated = seal(&after, b"first");
        hand.configure(vec![ConfigChange::Endpoint(with("rotated", vec![rotated.clone()]))]).await;
        // The engine learns of it by the conflict, and not before.
        assert_eq!(put(with("late", vec![waiting.clone()])).await, (Err(StoreErrorKind::Unavailable), 2));
        assert_eq!(stored().await.secrets, std::slice::from_ref(&rotated));
        assert_eq!(put(with("later", vec![rotated.clone(), waiting])).await, (Err(StoreErrorKind::Unavailable), 1));
        assert_eq!(stored().await.name, "rotated");
        let anew = engine.seal(b"second", &mut |bytes| bytes.fill(7));
        assert_eq!(put(with("anew", vec![anew.clone()])).await, (Ok(()), 1));
        assert_eq!((stored().await.secrets, anew.key_id()), (vec![anew.clone()], Some("k2")));

        // What an endpoint has under a key that is not the first may stay: nobody has rotated it.
        let kept = seal(&key_ring(), b"kept");
        hand.configure(vec![ConfigChange::Endpoint(with("kept", vec![kept.clone()]))]).await;
        engine.see_changes().await;
        assert_eq!(put(with("renamed", vec![kept.clone()])).await, (Ok(()), 1));
        assert_eq!(stored().await.secrets, [kept]);
    });
}

/// Polls once, which hands the verb to the store, and goes away.
async fn hangs_up(future: impl Future) {
    let mut future = Box::pin(future);
    let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
    assert!(pending, "the store has not answered yet");
}

#[test]
fn a_change_comes_into_force_although_its_caller_went_away() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        hand.hold(Some("configure"));
        let changed = |url: &str| ConfigChange::Endpoint(Endpoint { url: url.to_owned(), ..endpoint(EndpointStatus::Active) });
        hangs_up(engine.edit(|_| Ok::<_, StoreError>((vec![changed("https://first.test/")], ())))).await;
        hand.hold(None);
        let seen = engine.edit(|routes| {
            let urls: Vec<_> = routes.endpoints().map(|e| e.url.clone()).collect();
            Ok::<_, StoreError>((Vec::new(), urls))
        });
        assert_eq!(seen.await, Ok(vec!["https://first.test/".to_owned()]));
    });
}

#[test]
fn a_scheduled_webhook_is_fired_in_time_although_its_caller_went_away() {
    run(async {
        let hand = Hand::new();
        let (_, subscription) = hand.subscribe(EndpointStatus::Active).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        pass(SECOND).await;
        let row = Scheduled {
            id: ScheduledId::new(Uuid::from_u128(3)),
            namespace: Namespace::default_namespace(),
            subscription: subscription.id,
            payload: Bytes::from_static(b"{}"),
            due_at: BEGINNING.after(3 * SECOND),
            recurrence: Recurrence::None,
            anchor: BEGINNING,
            status: ScheduledStatus::Pending,
            created_at: BEGINNING,
            updated_at: BEGINNING,
        };
        hand.hold(Some("schedule"));
        hangs_up(engine.schedule(row)).await;
        hand.hold(None);
        pass(3 * SECOND).await;
        assert_eq!(hand.requests(), 1);
    });
}

/// What a large fan-out makes late is made then: its ids say so, and lists of a span of time look for it by them.
#[test]
fn later_slices_come_into_being_when_they_are_stored() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let changes = (2..7).map(|n| ConfigChange::Subscription(binding(n, &to, "a.b")));
        hand.configure([ConfigChange::Endpoint(to.clone())].into_iter().chain(changes).collect()).await;
        let engine = hand.start(Limits { fan_out_slice: 2, ..Limits::default() }, Retention::default()).await;
        hand.fail(Some(("fan_out", StoreErrorKind::Unavailable)));
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(60 * SECOND).await;
        assert_eq!(hand.store.dump().deliveries.len(), 2, "the first slice is stored with the event");
        hand.fail(None);
        pass(10 * SECOND).await;
        let made: Vec<_> = hand.store.dump().deliveries.iter().map(|delivery| delivery.created_at).collect();
        assert_eq!((made.len(), hand.requests()), (5, 5));
        let late = made.iter().filter(|at| **at >= BEGINNING.after(60 * SECOND)).count();
        let first = DeliveryFilter { created_before: Some(BEGINNING.after(30 * SECOND)), ..DeliveryFilter::default() };
        let later = DeliveryFilter { created_from: first.created_before, ..DeliveryFilter::default() };
        let count = async |filter| hand.store.find_deliveries(filter, Window::first(0)).await.expect("the model never fails").total;
        assert_eq!((late, count(first).await, count(later).await), (3, 2, 3));
    });
}
