//! Deliveries to an endpoint that is paused or disabled.

use crate::harness::{BEGINNING, Hand, event, pass, run};
use postrider_core::delivery::State;
use postrider_core::endpoint::EndpointStatus;
use postrider_core::error::ErrorCode;
use postrider_core::id::*;
use postrider_core::ports::{ConfigChange, NewDelivery, NewEvent, Store};
use postrider_engine::{Limits, Retention};
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
