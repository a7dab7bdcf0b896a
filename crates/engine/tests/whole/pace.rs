//! How much an endpoint that is slow, dead, or cannot be signed for may have of what all share.

use crate::harness::{Hand, endpoint, event, pass, run};
use parking_lot::Mutex;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::ports::{ConfigChange, StoreError};
use postrider_core::seal::KeyRing;
use postrider_core::sign::Scheme;
use postrider_engine::{Limits, Retention};
use std::fmt::Write;
use std::sync::Arc;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);

/// It answers well, but holds every place for long while it does.
#[test]
fn a_slow_receiver_has_half_of_the_places_until_it_is_quick_again() {
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        *hand.takes.lock() = 9 * SECOND;
        let engine = hand.start(Limits { exchanges: 8, ..Limits::default() }, Retention::default()).await;
        for n in 0..200 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(30 * SECOND).await;
        assert_eq!(engine.stats().load.running, 4);
        *hand.takes.lock() = SECOND;
        pass(20 * SECOND).await;
        assert_eq!(engine.stats().load.running, 8, "a second is not slow yet");
    });
}

/// Errors that were logged.
#[derive(Default)]
struct Log(Mutex<Vec<String>>);

impl tracing::Subscriber for Log {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() == tracing::Level::ERROR
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}
    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = String::new();
        event.record(&mut |field: &tracing::field::Field, value: &dyn std::fmt::Debug| {
            write!(text, "{field}={value:?} ").expect("a String takes everything");
        });
        self.0.lock().push(text);
    }
    fn enter(&self, _: &tracing::span::Id) {}
    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn an_endpoint_whose_secret_cannot_be_opened_is_paced_and_told_of_once() {
    let log = Arc::new(Log::default());
    let _logging = tracing::subscriber::set_default(Arc::clone(&log));
    run(async {
        let hand = Hand::new();
        hand.subscribe(EndpointStatus::Active).await;
        let lost = KeyRing::parse(&"77".repeat(32)).expect("a right key").seal(b"secret", &mut |bytes| bytes.fill(1));
        let closed = Endpoint { secrets: vec![lost], schemes: vec![Scheme::Hub], ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(closed.clone())]).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        for n in 0..2_000 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(2 * SECOND).await;
        let attempts = hand.store.dump().attempts.len();
        assert!((32..=300).contains(&attempts), "{attempts} attempts in two seconds, 100 a second are allowed");
        assert_eq!(hand.requests(), 0, "nothing goes unsigned");
        let told = || log.0.lock().iter().filter(|text| text.contains(&closed.id.to_string())).count();
        assert_eq!(told(), 1, "{:?}", log.0.lock());

        let other = Endpoint { id: postrider_core::id::EndpointId::new(uuid::Uuid::from_u128(7)), ..endpoint(EndpointStatus::Active) };
        hand.configure(vec![ConfigChange::Endpoint(other)]).await;
        pass(2 * SECOND).await;
        assert_eq!(told(), 1, "somebody else's change is no news");
        let moved = Endpoint { url: "https://elsewhere.test/".to_owned(), ..closed.clone() };
        let answer = engine.edit(|_| Ok::<_, StoreError>((vec![ConfigChange::Endpoint(moved.clone())], ())));
        answer.await.expect("stored");
        assert_eq!(told(), 2, "it was changed, and still cannot be signed for");
    });
}
