//! Deliveries of bindings: what a receiver gets, and what becomes of what it cannot get.

use crate::harness::{BEGINNING, Hand, endpoint, event, key_ring, pass, run, subscription};
use bytes::Bytes;
use http::HeaderMap;
use postrider_core::attempt::Attempt;
use postrider_core::auth::Auth;
use postrider_core::body::{BodyForm, FieldMap, Format, ItemsBody};
use postrider_core::delivery::State;
use postrider_core::endpoint::{Deletion, Endpoint, EndpointStatus, HttpOptions};
use postrider_core::error::ErrorCode;
use postrider_core::filter::{Match, TypePattern};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::limit::RateLimit;
use postrider_core::ports::ConfigChange;
use postrider_core::retry::RetryPolicy;
use postrider_core::seal::{KeyRing, Sealed};
use postrider_core::sign::{Scheme, SigningKey, postrider_header};
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::{Engine, Limits, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// A destination.
pub fn destination(n: u128) -> Endpoint {
    Endpoint { id: EndpointId::new(Uuid::from_u128(n)), http: HttpOptions::items(), ..endpoint(EndpointStatus::Active) }
}

/// A binding of a destination to one event type.
pub fn binding(n: u128, destination: &Endpoint, event_type: &str) -> Subscription {
    Subscription {
        id: SubscriptionId::new(Uuid::from_u128(n)),
        endpoint: destination.id,
        origin: Origin::Items,
        patterns: vec![TypePattern::parse(event_type).expect("a type")],
        body: BodyForm::Items(ItemsBody::json()),
        retry: RetryPolicy { jitter_percent: 0, ..RetryPolicy::items() },
        ..subscription()
    }
}

/// An engine with this configuration.
pub async fn start(hand: &Arc<Hand>, endpoints: Vec<Endpoint>, subscriptions: Vec<Subscription>) -> Engine {
    let endpoints = endpoints.into_iter().map(ConfigChange::Endpoint);
    let changes = endpoints.chain(subscriptions.into_iter().map(ConfigChange::Subscription)).collect();
    hand.configure(changes).await;
    hand.start(Limits::default(), Retention::default()).await
}

/// An event of a type.
pub fn of_type(event_type: &str, payload: &str) -> Publish {
    Publish { event_type: event_type.into(), payload: Bytes::copy_from_slice(payload.as_bytes()), ..event(0) }
}

fn sealed(text: &str) -> Sealed {
    key_ring().seal(text.as_bytes(), &mut |bytes| bytes.fill(7))
}

fn received(hand: &Hand) -> Vec<(HeaderMap, Bytes)> {
    hand.received.lock().clone()
}

fn attempts(hand: &Hand) -> Vec<Attempt> {
    hand.store.dump().attempts
}

fn state(hand: &Hand) -> State {
    hand.store.dump().deliveries[0].progress.state
}

#[test]
fn a_receiver_gets_the_envelope_and_the_headers_of_the_contract() {
    run(async {
        let hand = Hand::new();
        let schemes = vec![Scheme::Postrider, Scheme::Standard];
        let to = Endpoint { secrets: vec![sealed("whsec_demo"), sealed("older")], schemes, ..destination(1) };
        let engine = start(&hand, vec![to.clone()], vec![binding(2, &to, "invoice.paid")]).await;
        *hand.status.lock() = 500;
        let payload = "{ \"invoice\":\"I-7\", \"total\":12.50 }";
        let receipt = engine.publish(of_type("invoice.paid", payload)).await.expect("stored");
        pass(SECOND).await;
        *hand.status.lock() = 200;
        pass(60 * SECOND).await;
        let (requests, attempts, key) = (received(&hand), attempts(&hand), hand.requests.lock()[0].clone());
        assert_eq!((requests.len(), attempts.len(), state(&hand)), (2, 2, State::Succeeded));
        for (n, ((headers, body), attempt)) in (1..).zip(requests.iter().zip(&attempts)) {
            let header = |name: &str| headers[name].to_str().expect("ASCII");
            let (at, seq) = (attempt.started_at, receipt.seq);
            let expected = format!(
                "{{\"event\":{{\"event_type\":\"invoice.paid\",\"event_id\":\"{seq}\",\"binding_id\":\"{}\",\"idempotency_key\":\"{key}\",\
                 \"attempt\":{n},\"delivered_at\":\"{}\"}},\"payload\":{payload},\"content\":null}}",
                attempt.subscription,
                at.rfc3339(3),
            );
            assert_eq!(*body, expected);
            assert_eq!(header("content-type"), "application/json");
            assert_eq!((header("x-postrider-event"), header("x-postrider-event-id")), ("invoice.paid", &*seq.to_string()));
            assert_eq!(header("x-postrider-delivery-id"), attempt.id.to_string());
            assert_eq!((header("x-postrider-idempotency-key"), header("idempotency-key")), (&*key, &*key));
            assert_eq!((header("x-postrider-attempt"), header("x-postrider-timestamp")), (&*n.to_string(), &*at.as_secs().to_string()));
            let macs = ["whsec_demo", "older"].map(|secret| SigningKey::new(secret).expect("a secret").postrider(at.as_secs(), body));
            assert_eq!(header("x-postrider-signature"), postrider_header(at.as_secs(), macs.into_iter()));
            let id = header("webhook-id");
            assert_eq!(id, format!("msg_{}", attempt.delivery), "the same over all attempts");
            let standard = SigningKey::new("whsec_demo").expect("a secret").standard(id, at.as_secs(), body);
            assert!(header("webhook-signature").starts_with(&standard));
            let outcome = attempt.outcome.as_ref().expect("it ended");
            assert_eq!((outcome.request_body.as_ref(), outcome.request_truncated), (Some(body), false));
        }
    });
}

#[test]
fn what_is_the_payload_itself_is_not_kept_twice() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let bare = BodyForm::Items(ItemsBody { format: Format::Json, envelope: false, field_map: None });
        let map = FieldMap::parse(r#"{"rules":[{"source":"a","target":"b"}]}"#).expect("a map");
        let mapped = BodyForm::Items(ItemsBody { format: Format::Csv, envelope: false, field_map: map });
        let bodies = [BodyForm::Raw, bare, mapped];
        let bindings = (2..).zip(bodies).map(|(n, body)| Subscription { body, ..binding(n, &to, "a.b") }).collect();
        let engine = start(&hand, vec![to], bindings).await;
        engine.publish(of_type("a.b", "{\"a\" : 1}")).await.expect("stored");
        pass(SECOND).await;
        let mut seen: Vec<_> = received(&hand).into_iter().map(|(headers, body)| (headers["content-type"].clone(), body)).collect();
        seen.sort_by_key(|(_, body)| body.clone());
        let json = |body| (http::HeaderValue::from_static("application/json"), Bytes::from_static(body));
        let csv = (http::HeaderValue::from_static("text/csv; charset=utf-8; header=present"), Bytes::from_static(b"b\r\n1\r\n"));
        assert_eq!(seen, [csv.clone(), json(b"{\"a\" : 1}"), json(b"{\"a\" : 1}")]);
        let kept: Vec<_> = attempts(&hand).into_iter().filter_map(|a| a.outcome.expect("it ended").request_body).collect();
        assert_eq!(kept, [csv.1]);
    });
}

#[test]
fn a_large_body_is_kept_up_to_ten_kibibytes() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let engine = start(&hand, vec![to.clone()], vec![binding(2, &to, "a.b")]).await;
        engine.publish(of_type("a.b", &format!("{{\"a\":\"{}\"}}", "é".repeat(10_000)))).await.expect("stored");
        pass(SECOND).await;
        let outcome = attempts(&hand).remove(0).outcome.expect("it ended");
        let kept = outcome.request_body.expect("a beginning");
        assert!(outcome.request_truncated && (10_239..=10_240).contains(&kept.len()), "{}", kept.len());
        assert!(received(&hand)[0].1.starts_with(&kept) && std::str::from_utf8(&kept).is_ok());
    });
}

/// What cannot be sent ends at once with an attempt that says why; the receiver sees nothing of it.
#[test]
fn a_body_that_cannot_be_made_ends_the_delivery() {
    let limit = BodyForm::Items(ItemsBody::json());
    let csv = BodyForm::Items(ItemsBody { format: Format::Csv, envelope: true, field_map: None });
    let large = format!("{{\"a\":\"{}\"}}", "x".repeat(2_000));
    for (body, payload, code) in [
        (csv, "[1]", ErrorCode::SerializationFailed),
        (BodyForm::Items(ItemsBody::json()), "no json", ErrorCode::SerializationFailed),
        (limit, &*large, ErrorCode::PayloadTooLarge),
        (BodyForm::Raw, &*large, ErrorCode::PayloadTooLarge),
    ] {
        run(async {
            let hand = Hand::new();
            let to = Endpoint { payload_cap: Some(1_024), ..destination(1) };
            let engine = start(&hand, vec![to.clone()], vec![Subscription { body, ..binding(2, &to, "a.b") }]).await;
            engine.publish(of_type("a.b", payload)).await.expect("stored");
            pass(SECOND).await;
            assert_eq!((hand.requests(), state(&hand)), (0, State::Failed(code)));
            let attempts = attempts(&hand);
            let outcome = attempts[0].outcome.as_ref().expect("it ended");
            let error = outcome.error.as_ref().expect("a failure");
            assert_eq!((attempts.len(), error.code, outcome.http_status, &outcome.request_body), (1, code, None, &None));
            assert!(!error.message.is_empty());
            assert_eq!(engine.routes().endpoint(to.id).expect("there").status, EndpointStatus::Active, "the endpoint is not to blame");
        });
    }
}

#[test]
fn credentials_and_secret_headers_go_along() {
    run(async {
        let hand = Hand::new();
        let auth = Auth::Bearer { token: sealed("tok_1") };
        let secret_headers = vec![("X-Team-Key".to_owned(), sealed("k 1")), ("authorization".to_owned(), sealed("other"))];
        let headers = vec![("X-Team".to_owned(), "ops".to_owned())];
        let to = Endpoint { auth, secret_headers, headers, ..destination(1) };
        let engine = start(&hand, vec![to.clone()], vec![binding(2, &to, "a.b")]).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let headers = received(&hand).remove(0).0;
        let values = |name: &str| headers.get_all(name).iter().map(|v| v.to_str().expect("ASCII")).collect::<Vec<_>>();
        assert_eq!(values("authorization"), ["Bearer tok_1"]);
        assert_eq!((values("x-team-key"), values("x-team")), (vec!["k 1"], vec!["ops"]));
        assert!(headers["authorization"].is_sensitive() && headers["x-team-key"].is_sensitive());
    });
}

#[test]
fn without_its_credentials_nothing_is_sent_until_the_key_is_back() {
    run(async {
        let hand = Hand::new();
        let ring = KeyRing::parse(&format!("lost={}", "ab".repeat(32))).expect("a ring");
        let token = ring.seal(b"tok_1", &mut |bytes| bytes.fill(7));
        let to = Endpoint { auth: Auth::Bearer { token }, ..destination(1) };
        let engine = start(&hand, vec![to.clone()], vec![binding(2, &to, "a.b")]).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let error = attempts(&hand).remove(0).outcome.and_then(|o| o.error).expect("a failure");
        assert_eq!((hand.requests(), error.code), (0, ErrorCode::SecretUnreadable));
        let mended = ConfigChange::Endpoint(Endpoint { auth: Auth::Bearer { token: sealed("tok_2") }, ..to });
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![mended.clone()], ()))).await.expect("stored");
        pass(60 * SECOND).await;
        assert_eq!(state(&hand), State::Succeeded);
        assert_eq!(received(&hand)[0].0["authorization"], "Bearer tok_2");
    });
}

#[test]
fn payloads_and_activity_decide_who_gets_an_event() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let predicate = |text| Match::parse(text).expect("a predicate");
        let bindings = vec![
            Subscription { matches: predicate(r#"{"status":"paid"}"#), ..binding(2, &to, "invoice.changed") },
            Subscription { matches: predicate(r#"{"status":"open"}"#), ..binding(3, &to, "invoice.changed") },
            Subscription { active: false, ..binding(4, &to, "invoice.changed") },
        ];
        let engine = start(&hand, vec![to], bindings).await;
        engine.publish(of_type("invoice.changed", r#"{"status":"paid"}"#)).await.expect("stored");
        engine.publish(of_type("invoice.changed", r#"{"status":"void"}"#)).await.expect("stored");
        pass(SECOND).await;
        let deliveries = hand.store.dump().deliveries;
        assert_eq!(deliveries.iter().map(|d| d.subscription.uuid().as_u128()).collect::<Vec<_>>(), [2]);
    });
}

/// The limit of a binding is the destination's: what another binding sends there counts too.
#[test]
fn the_strictest_rate_of_a_destinations_bindings_holds_for_all_of_them() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let limited = Subscription { rate_limit: RateLimit::per_second(1.0, 1), ..binding(2, &to, "a.b") };
        let engine = start(&hand, vec![to.clone()], vec![limited.clone(), binding(3, &to, "a.b")]).await;
        for _ in 0..5 {
            engine.publish(of_type("a.b", "{}")).await.expect("stored");
        }
        pass(Duration::from_millis(4_500)).await;
        assert_eq!(hand.requests(), 5, "at 0, 1, 2, 3 and 4 seconds");
        let stopped = ConfigChange::Subscription(Subscription { active: false, updated_at: BEGINNING, ..limited });
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![stopped.clone()], ()))).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(hand.requests(), 10, "the limit goes with the binding, and what was routed to it is delivered");
    });
}

/// What was routed to a binding before it was deleted is still delivered, by another process too; nothing more is routed to it.
#[test]
fn what_a_deleted_binding_has_queued_is_delivered() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let bound = binding(2, &to, "a.b");
        let engine = start(&hand, vec![to.clone()], vec![bound.clone()]).await;
        *hand.status.lock() = 500;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let gone = ConfigChange::Subscription(Subscription { deleted_at: Some(BEGINNING), ..bound.clone() });
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![gone.clone()], ()))).await.expect("stored");
        assert!(engine.routes().route(bound.id).is_none() && engine.routes().subscription(bound.id).is_none());
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(40 * SECOND).await;
        assert_eq!((hand.requests(), hand.store.dump().deliveries.len()), (2, 1), "one delivery, and its policy goes on");
        engine.shutdown(SECOND).await;
        *hand.status.lock() = 200;
        // Its destination may change on the way.
        let moved = Endpoint { headers: vec![("X-Team".to_owned(), "ops".to_owned())], ..to.clone() };
        hand.configure(vec![ConfigChange::Endpoint(moved)]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        pass(200 * SECOND).await;
        assert_eq!((hand.requests(), state(&hand)), (3, State::Succeeded));
        assert_eq!(received(&hand)[2].0["x-team"], "ops");
        // With its destination nothing is left to deliver to.
        let gone = ConfigChange::Endpoint(Endpoint { deleted: Some(Deletion::Kept(BEGINNING)), ..to });
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![gone.clone()], ()))).await.expect("stored");
    });
}

/// Whether the engine has it in memory or has left it to the store; the policy's attempts begin anew with it.
#[test]
fn a_retry_that_somebody_does_not_want_to_wait_for_is_made_at_once() {
    run(async {
        for near in [SECOND, 60 * SECOND] {
            let hand = Hand::new();
            let to = destination(1);
            let changes = vec![ConfigChange::Endpoint(to.clone()), ConfigChange::Subscription(binding(2, &to, "a.b"))];
            hand.configure(changes).await;
            let engine = hand.start(Limits { near, ..Limits::default() }, Retention::default()).await;
            *hand.status.lock() = 500;
            engine.publish(of_type("a.b", "{}")).await.expect("stored");
            pass(SECOND).await;
            let delivery = hand.store.dump().deliveries.remove(0);
            assert_eq!(hand.store.dump().claims.contains_key(&delivery.id), near > 30 * SECOND);
            for attempts in 2..=3 {
                engine.hasten(delivery.id).await.expect("the model never fails");
                pass(SECOND).await;
                assert_eq!(hand.requests(), attempts);
            }
            let progress = hand.store.dump().deliveries[0].progress;
            assert_eq!((progress.attempts, progress.spent), (3, 1), "a new ladder begins with each");
            *hand.status.lock() = 200;
            engine.hasten(delivery.id).await.expect("the model never fails");
            pass(SECOND).await;
            engine.hasten(delivery.id).await.expect("the model never fails");
            pass(SECOND).await;
            assert_eq!((hand.requests(), state(&hand)), (4, State::Succeeded), "nothing is left to hasten");
        }
    });
}

/// A deleted binding is in memory only as long as something waits for it, in this engine and the next.
#[test]
fn a_deleted_binding_is_forgotten_when_nothing_waits_for_it() {
    run(async {
        let hand = Hand::new();
        let to = destination(1);
        let (busy, idle) = (binding(2, &to, "a.b"), binding(3, &to, "c.d"));
        let engine = start(&hand, vec![to.clone()], vec![busy.clone(), idle.clone()]).await;
        *hand.status.lock() = 500;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let now = hand.now();
        let gone = [&busy, &idle].map(|s| ConfigChange::Subscription(Subscription { deleted_at: Some(now), ..s.clone() }));
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((gone.to_vec(), ()))).await.expect("stored");
        let retired = |engine: &Engine| engine.routes().retired().map(|s| s.id).collect::<Vec<_>>();
        assert_eq!(retired(&engine), [busy.id, idle.id], "somebody may be publishing");
        pass(130 * SECOND).await;
        assert_eq!(retired(&engine), [busy.id]);
        // What others change does not bring it back.
        hand.configure(vec![ConfigChange::Endpoint(Endpoint { name: "renamed".to_owned(), ..to })]).await;
        pass(2 * SECOND).await;
        assert_eq!(retired(&engine), [busy.id]);
        engine.shutdown(SECOND).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        assert_eq!(retired(&engine), [busy.id]);
        *hand.status.lock() = 200;
        pass(1_000 * SECOND).await;
        assert_eq!((state(&hand), retired(&engine)), (State::Succeeded, Vec::new()));
    });
}

/// What was routed before a binding moved goes where it was routed, and what comes of it concerns that destination.
#[test]
fn what_a_moved_binding_has_queued_goes_where_it_was_routed() {
    run(async {
        let hand = Hand::new();
        let header = |team: &str| vec![("X-Team".to_owned(), team.to_owned())];
        let (old, new) = (Endpoint { headers: header("old"), ..destination(1) }, Endpoint { headers: header("new"), ..destination(3) });
        let bound = binding(2, &old, "a.b");
        let engine = start(&hand, vec![old.clone(), new.clone()], vec![bound.clone()]).await;
        *hand.status.lock() = 500;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let moved = ConfigChange::Subscription(Subscription { endpoint: new.id, ..bound });
        // The new one is paused: that holds nothing up that is not for it.
        let paused = ConfigChange::Endpoint(Endpoint { status: EndpointStatus::Paused { at: BEGINNING }, ..new.clone() });
        engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![moved.clone(), paused.clone()], ()))).await.expect("stored");
        *hand.status.lock() = 401;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(40 * SECOND).await;
        let teams: Vec<_> = received(&hand).iter().map(|(headers, _)| headers["x-team"].clone()).collect();
        assert_eq!(teams, ["old", "old"]);
        let routes = engine.routes();
        let status = |of: &Endpoint| routes.endpoint(of.id).expect("there").status;
        assert!(matches!(status(&old), EndpointStatus::Disabled { reason: ErrorCode::AuthFailed, .. }), "{:?}", status(&old));
        assert!(matches!(status(&new), EndpointStatus::Paused { .. }));
    });
}

/// Only failures for good count, only in a row, and only where somebody wants it.
#[test]
fn a_destination_is_disabled_after_so_many_dead_deliveries_in_a_row() {
    run(async {
        for (most, expected) in [(3, true), (0, false)] {
            let hand = Hand::new();
            *hand.disable_after_dead.lock() = most;
            let (to, other) = (destination(1), destination(3));
            let once = |n, to: &Endpoint, of| Subscription {
                retry: RetryPolicy { max_attempts: 1, ..RetryPolicy::items() },
                ..binding(n, to, of)
            };
            let unsendable = Subscription { body: BodyForm::Items(ItemsBody::json()), ..once(6, &to, "g.h") };
            let bindings = vec![once(2, &to, "a.b"), once(4, &other, "c.d"), binding(5, &to, "e.f"), unsendable];
            let engine = start(&hand, vec![to.clone(), other.clone()], bindings).await;
            let publish = async |event_type: &str, status: u16| {
                *hand.status.lock() = status;
                engine.publish(of_type(event_type, "{}")).await.expect("stored");
                pass(SECOND).await;
            };
            let status = |of: &Endpoint| engine.routes().endpoint(of.id).expect("there").status;
            // What succeeds in between, and what is tried again, begins no row and ends none.
            for (event_type, code) in [("a.b", 500), ("a.b", 404), ("a.b", 200), ("a.b", 500), ("c.d", 500), ("e.f", 500), ("a.b", 404)] {
                publish(event_type, code).await;
            }
            // Nor does what could not be sent, which is no fault of the receiver's.
            engine.publish(of_type("g.h", "no json")).await.expect("stored");
            pass(SECOND).await;
            assert_eq!((status(&to), status(&other)), (EndpointStatus::Active, EndpointStatus::Active));
            publish("a.b", 500).await;
            let disabled =
                matches!(status(&to), EndpointStatus::Disabled { reason: ErrorCode::ConsecutiveFailures, at } if at <= hand.now());
            assert_eq!((disabled, status(&other)), (expected, EndpointStatus::Active));
            if !expected {
                continue;
            }
            // Enabled again it has all its failures before it.
            let enabled = ConfigChange::Endpoint(to.clone());
            engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![enabled.clone()], ()))).await.expect("stored");
            publish("a.b", 404).await;
            publish("a.b", 404).await;
            assert_eq!(status(&to), EndpointStatus::Active);
        }
    });
}
