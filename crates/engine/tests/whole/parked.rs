//! Deliveries to an endpoint that is paused or disabled.

use crate::harness::{BEGINNING, Hand, endpoint, event, pass, run, subscription};
use postrider_core::delivery::State;
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::{ConfigChange, NewDelivery, NewEvent, Store, StoreError};
use postrider_core::retry::RetryPolicy;
use postrider_core::subscription::{Origin, Subscription};
use postrider_engine::{Engine, Limits, Retention};
use std::time::Duration;
use uuid::Uuid;

const SECOND: Duration = Duration::from_secs(1);

/// A delivery as old as a long weekend, whose endpoint was disabled a moment ago.
#[test]
fn a_delivery_is_given_up_by_how_long_its_endpoint_is_disabled_not_by_its_own_age() {
    run(async {
        let hand = Hand::new();
        let disabled = EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: BEGINNING };
        let (endpoint, subscription) = hand.subscribe(disabled).await;
        let (old, plain) = (BEGINNING.before(Duration::from_secs(300_000)), event(1));
        let delivery = |n| NewDelivery {
            id: DeliveryId::new(Uuid::from_u128(n)),
            subscription: subscription.id,
            endpoint: endpoint.id,
            claimed: false,
            keeps_rows: false,
            expires_at: None,
        };
        let mortal = NewDelivery { expires_at: Some(BEGINNING), ..delivery(2) };
        let new = NewEvent {
            id: EventId::new(Uuid::from_u128(9)),
            namespace: plain.namespace,
            event_type: plain.event_type,
            payload: plain.payload,
            labels: plain.labels,
            metadata: plain.metadata,
            idempotency_key: None,
            ttl: None,
            schema_check: Default::default(),
            created_at: old,
            deliveries: vec![delivery(1), mortal],
            fan_out_after: None,
            skipped: Vec::new(),
        };
        hand.store.publish(vec![new]).await.expect("the model never fails");
        let retention = Retention { parked: 60 * SECOND, every: SECOND, ..Retention::default() };
        let engine = hand.start(Limits::default(), retention).await;
        let states = || hand.store.dump().deliveries.iter().map(|d| d.progress.state).collect::<Vec<_>>();
        pass(50 * SECOND).await;
        assert_eq!(states(), [State::Pending { due_at: old }, State::Expired], "it may still be enabled");
        pass(20 * SECOND).await;
        assert_eq!(states(), [State::Failed(ErrorCode::DestinationDisabled), State::Expired]);
        assert_eq!(hand.requests(), 0);
        assert_eq!(engine.stats().load.held, 0);
    });
}

#[test]
fn what_waits_for_a_paused_endpoint_goes_when_it_is_resumed() {
    run(async {
        let hand = Hand::new();
        let (endpoint, _) = hand.subscribe(EndpointStatus::Paused { at: BEGINNING }).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        for n in 0..10 {
            engine.publish(event(n)).await.expect("stored");
        }
        pass(SECOND).await;
        assert_eq!((hand.requests(), engine.stats().load.held), (0, 0), "the store has it all");
        let resumed = ConfigChange::Endpoint(postrider_core::endpoint::Endpoint { status: EndpointStatus::Active, ..endpoint });
        let edited = engine.edit(|_| Ok::<_, postrider_core::ports::StoreError>((vec![resumed.clone()], ()))).await;
        assert_eq!(edited, Ok(()));
        pass(SECOND).await;
        assert_eq!(hand.requests(), 10);
    });
}

async fn put(engine: &Engine, endpoint: Endpoint) {
    let changes = vec![ConfigChange::Endpoint(endpoint)];
    engine.edit(|_| Ok::<_, StoreError>((changes.clone(), ()))).await.expect("stored");
}

/// What comes while a webhook of the RPC API is paused is not for it; what was made for it before is still tried, by itself and when
/// somebody asks for it. While it is disabled nothing is.
#[test]
fn what_was_made_for_an_rpc_webhook_goes_on_while_that_is_paused() {
    run(async {
        let hand = Hand::new();
        let to = endpoint(EndpointStatus::Active);
        let retry = RetryPolicy { max_attempts: 3, ..RetryPolicy::tasks() };
        let of_rpc = Subscription { origin: Origin::Rpc, retry, ..subscription() };
        hand.configure(vec![ConfigChange::Endpoint(to.clone()), ConfigChange::Subscription(of_rpc)]).await;
        let engine = hand.start(Limits::default(), Retention { parked: 60 * SECOND, every: SECOND, ..Retention::default() }).await;
        *hand.status.lock() = 503;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND / 2).await;
        let disabled = EndpointStatus::Disabled { reason: ErrorCode::EndpointGone, at: hand.now() };
        put(&engine, Endpoint { status: disabled, ..to.clone() }).await;
        pass(30 * SECOND).await;
        assert_eq!(hand.requests(), 1, "its retry waits");
        put(&engine, Endpoint { status: EndpointStatus::Paused { at: hand.now() }, ..to.clone() }).await;
        pass(SECOND).await;
        assert_eq!(hand.requests(), 2, "its retry is due");
        engine.publish(event(2)).await.expect("stored");
        pass(900 * SECOND).await;
        let tried = hand.requests();
        let [delivery] = &hand.store.dump().deliveries[..] else { panic!("the second event is not for it") };
        assert!(
            tried == 3 && matches!(delivery.progress.state, State::Failed(code) if code != ErrorCode::DestinationDisabled),
            "{delivery:?}"
        );
        *hand.status.lock() = 200;
        engine.retry_deliveries(vec![delivery.id], false).await.expect("stored");
        pass(SECOND).await;
        assert_eq!((hand.requests(), hand.store.dump().deliveries[0].progress.state), (tried + 1, State::Succeeded));
    });
}

/// An endpoint's deliveries share a queue: where it is not the RPC API's alone, they wait together.
#[test]
fn what_others_have_queued_keeps_all_of_a_paused_endpoint_back() {
    run(async {
        let hand = Hand::new();
        let to = endpoint(EndpointStatus::Active);
        let of_rpc = Subscription { origin: Origin::Rpc, ..subscription() };
        let of_tasks = Subscription { id: SubscriptionId::new(Uuid::from_u128(77)), ..subscription() };
        let subscriptions = [of_rpc, of_tasks.clone()].map(ConfigChange::Subscription);
        hand.configure(std::iter::once(ConfigChange::Endpoint(to.clone())).chain(subscriptions).collect()).await;
        let engine = hand.start(Limits::default(), Retention::default()).await;
        *hand.status.lock() = 503;
        engine.publish(event(1)).await.expect("stored");
        pass(SECOND / 2).await;
        put(&engine, Endpoint { status: EndpointStatus::Paused { at: hand.now() }, ..to }).await;
        pass(30 * SECOND).await;
        assert_eq!(hand.requests(), 2, "both retries wait");
        let gone = vec![ConfigChange::Subscription(Subscription { deleted_at: Some(hand.now()), ..of_tasks })];
        engine.edit(|_| Ok::<_, StoreError>((gone.clone(), ()))).await.expect("stored");
        pass(SECOND).await;
        assert_eq!(hand.requests(), 3, "it is the RPC API's alone now");
    });
}
