//! Bodies by templates, and what a subscription says of its requests.

use crate::harness::{Hand, pass, run, subscription};
use crate::items::{destination, of_type, start};
use bytes::Bytes;
use postrider_core::body::{BodyForm, TemplateBody};
use postrider_core::delivery::State;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::filter::TypePattern;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::{ConfigChange, StoreError};
use postrider_core::retry::RetryPolicy;
use postrider_core::seal::Sealed;
use postrider_core::subscription::{Origin, RequestForm, Subscription, Verb};
use postrider_core::template::Source;
use postrider_engine::{Engine, Preview};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// A text that was stored, whether or not it is a template.
fn stored(text: &str) -> Source {
    serde_json::from_value(serde_json::Value::from(text)).expect("a text")
}

fn by_template(text: &str, to: &Endpoint) -> Subscription {
    Subscription {
        endpoint: to.id,
        origin: Origin::Rpc,
        patterns: vec![TypePattern::parse("a.b").expect("a type")],
        body: BodyForm::Template(TemplateBody { source: stored(text), enabled: true }),
        retry: RetryPolicy { jitter_percent: 0, ..RetryPolicy::rpc(3, SECOND) },
        ..subscription()
    }
}

fn bodies(hand: &Hand) -> Vec<Bytes> {
    hand.received.lock().iter().map(|(_, body)| body.clone()).collect()
}

/// What becomes of the one delivery of an event.
async fn delivered(hand: &Arc<Hand>, text: &str, payload: &str) -> (Engine, State) {
    let to = destination(1);
    let engine = start(hand, vec![to.clone()], vec![by_template(text, &to)]).await;
    engine.publish(of_type("a.b", payload)).await.expect("stored");
    pass(SECOND).await;
    let state = hand.store.dump().deliveries[0].progress.state;
    (engine, state)
}

#[test]
fn a_template_makes_the_body_of_each_attempt() {
    run(async {
        let hand = Hand::new();
        *hand.status.lock() = 500;
        let (_engine, _) = delivered(&hand, "{{.event_name}} {{.payload.n}} {{.attempt}}", r#"{"n":9007199254740993}"#).await;
        *hand.status.lock() = 200;
        pass(2 * SECOND).await;
        let dump = hand.store.dump();
        assert_eq!(dump.deliveries[0].progress.state, State::Succeeded);
        let expected = ["a.b 9007199254740993 1", "a.b 9007199254740993 2"].map(|text| Bytes::from_static(text.as_bytes()));
        assert_eq!(bodies(&hand), expected);
        let kept: Vec<_> = dump.attempts.into_iter().filter_map(|attempt| attempt.outcome?.request_body).collect();
        assert_eq!(kept, expected);
    });
}

/// Its output, work and payload are larger than what is done at once, and within the bounds.
#[test]
fn a_template_that_takes_its_time_makes_the_same() {
    run(async {
        let hand = Hand::new();
        let payload = format!("{{\"text\":{:?}}}", "x".repeat(100_000));
        let (_engine, state) = delivered(&hand, "{{range 10}}{{$.payload.text}}{{end}}{{range 30000}}{{end}}", &payload).await;
        assert_eq!((state, bodies(&hand)), (State::Succeeded, vec![Bytes::from("x".repeat(1_000_000))]));
    });
}

#[test]
fn a_template_that_fails_sends_nothing_and_says_why() {
    for (text, payload, message) in [
        ("{\n{{index .payload.list 3}}", r#"{"list":[1]}"#, "the template failed: line 2: "),
        ("{{range 10000000}}{{end}}", "{}", "the template failed: line 1: the template takes more than 1,000,000 steps"),
        ("{{range 1000000}}12345678{{end}}", "{}", "the template failed: line 1: the output would be larger than 1 MiB"),
        ("{{.payload}}", "no json", "the template failed: the payload is not JSON"),
        ("{{", "{}", "the template failed: line 1: "),
    ] {
        run(async {
            let hand = Hand::new();
            *hand.disable_after_dead.lock() = 1;
            let (engine, state) = delivered(&hand, text, payload).await;
            assert_eq!((hand.requests(), state), (0, State::Failed(ErrorCode::TemplateError)), "{text}");
            let dump = hand.store.dump();
            let outcome = dump.attempts[0].outcome.as_ref().expect("it ended");
            let error = outcome.error.as_ref().expect("a failure");
            assert_eq!((dump.attempts.len(), error.code, &outcome.request_body), (1, ErrorCode::TemplateError, &None));
            assert!(error.message.starts_with(message), "{}", error.message);
            let status = engine.routes().endpoint(EndpointId::new(Uuid::from_u128(1))).expect("there").status;
            assert_eq!(status, EndpointStatus::Active, "the receiver is not to blame");
        });
    }
}

#[test]
fn a_template_that_is_switched_off_leaves_the_envelope() {
    run(async {
        let hand = Hand::new();
        let (engine, _) = delivered(&hand, "made", "{}").await;
        let off = BodyForm::Template(TemplateBody { source: stored("made"), enabled: false });
        let off = Subscription { body: off, ..by_template("", &destination(1)) };
        engine.edit(|_| Ok::<_, StoreError>((vec![ConfigChange::Subscription(off.clone())], ()))).await.expect("stored");
        engine.publish(of_type("a.b", "{\"n\" : 1}")).await.expect("stored");
        pass(SECOND).await;
        let bodies = bodies(&hand);
        assert_eq!((bodies.len(), &bodies[0][..]), (2, &b"made"[..]));
        let text = std::str::from_utf8(&bodies[1]).expect("text");
        assert!(text.starts_with("{\"version\":\"1\",") && text.ends_with("\"payload\":{\"n\" : 1}}"), "{text}");
    });
}

#[test]
fn a_preview_shows_what_a_template_makes() {
    run(async {
        let hand = Hand::new();
        let (engine, _) = delivered(&hand, "{{if eq .payload.n 1}}{{.attempt}}{{else}}{{index .payload 1}}{{end}}", "{\"n\":1}").await;
        let id = SubscriptionId::new(Uuid::from_u128(2));
        let event = hand.store.dump().events[0].clone();
        let shown = engine.preview(id, event.clone()).await.expect("there").expect("a body");
        let Preview { projected, body, .. } = shown;
        assert_eq!((&projected[..], &body[..]), (&b"{\"n\":1}"[..], &b"1"[..]));
        let other = Arc::new(postrider_core::event::Event { payload: Bytes::from_static(b"{\"n\":2}"), ..(*event).clone() });
        let failed = engine.preview(id, Arc::clone(&other)).await.expect("there").expect_err("it fails");
        assert_eq!(failed.code(), ErrorCode::TemplateError);
        assert_eq!(engine.render(stored("{{.attempt}} {{.payload.n}}"), &other).await, Ok(Bytes::from_static(b"1 2")));
        assert_eq!(hand.requests(), 1);
    });
}

#[test]
fn headers_of_a_subscription_come_over_those_of_its_endpoint_and_under_secret_ones() {
    run(async {
        let hand = Hand::new();
        let sealed = |text: &str| -> Sealed { crate::harness::key_ring().seal(text.as_bytes(), &mut |bytes| bytes.fill(7)) };
        let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let to = Endpoint {
            headers: pairs(&[("X-A", "endpoint"), ("X-B", "endpoint"), ("X-C", "endpoint")]),
            secret_headers: vec![("x-c".to_owned(), sealed("secret"))],
            ..destination(1)
        };
        let headers = pairs(&[("x-b", "subscription"), ("X-C", "subscription"), ("User-Agent", "subscription/1")]);
        let request = RequestForm { method: Verb::Put, headers };
        let of = Subscription { request, ..by_template("x", &to) };
        let engine = start(&hand, vec![to.clone()], vec![of]).await;
        engine.publish(of_type("a.b", "{}")).await.expect("stored");
        pass(SECOND).await;
        let (headers, _) = hand.received.lock().remove(0);
        for (name, value) in [("x-a", "endpoint"), ("x-b", "subscription"), ("x-c", "secret"), ("user-agent", "subscription/1")] {
            assert_eq!(headers[name], value, "{name}");
        }
    });
}
