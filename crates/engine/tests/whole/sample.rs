//! Probes and previews: requests that belong to no delivery.

use crate::harness::{Hand, key_ring, run};
use crate::items::{binding, destination, start};
use bytes::Bytes;
use postrider_core::auth::Auth;
use postrider_core::body::{BodyForm, FieldMap, Format, ItemsBody, Unrenderable};
use postrider_core::endpoint::{Endpoint, EndpointStatus};
use postrider_core::error::ErrorCode;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::{EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{Fault, FaultKind};
use postrider_core::sign::{Scheme, SigningKey, postrider_header};
use postrider_core::subscription::Subscription;
use postrider_engine::NotProbed;
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

fn secured() -> Endpoint {
    let sealed = |text: &str| key_ring().seal(text.as_bytes(), &mut |bytes| bytes.fill(7));
    Endpoint {
        secrets: vec![sealed("whsec_demo")],
        schemes: vec![Scheme::Postrider, Scheme::Standard],
        auth: Auth::Bearer { token: sealed("tok_1") },
        secret_headers: vec![(String::from("X-Team-Key"), sealed("k 1"))],
        headers: vec![(String::from("X-Team"), String::from("ops")), (String::from("X-Empty"), String::new())],
        ..destination(1)
    }
}

#[test]
fn a_probe_is_signed_and_leaves_no_trace() {
    run(async {
        let hand = Hand::new();
        let disabled = EndpointStatus::Disabled { reason: ErrorCode::AuthFailed, at: crate::harness::BEGINNING };
        let to = Endpoint { status: disabled, ..secured() };
        let engine = start(&hand, vec![to.clone()], vec![]).await;
        let probed = engine.probe(to.id).await.expect("it was made");
        assert_eq!((probed.http_status, probed.error, probed.took), (Some(200), None, Duration::from_millis(1)));
        let (headers, body) = hand.received.lock().remove(0);
        let at: i64 = headers["x-postrider-timestamp"].to_str().expect("ASCII").parse().expect("seconds");
        let mac = SigningKey::new("whsec_demo").expect("a secret").postrider(at, &body);
        assert_eq!(headers["x-postrider-signature"], postrider_header(at, std::iter::once(mac)));
        assert_eq!(
            (&headers["x-postrider-event"], &headers["authorization"]),
            (&"delivery.test".parse().expect("a value"), &"Bearer tok_1".parse().expect("a value"))
        );

        *hand.status.lock() = 401;
        let refused = engine.probe(to.id).await.expect("it was made");
        assert_eq!((refused.http_status, refused.error.expect("a failure").code), (Some(401), ErrorCode::AuthFailed));
        *hand.fault.lock() = Some(Fault { kind: FaultKind::Refused, message: String::from("nothing listens there") });
        let failed = engine.probe(to.id).await.expect("it was made");
        assert_eq!((failed.http_status, failed.error.map(|e| e.message)), (None, Some(String::from("nothing listens there"))));
        let dump = hand.store.dump();
        assert!(dump.attempts.is_empty() && dump.deliveries.is_empty() && dump.events.is_empty());
        assert_eq!(engine.routes().endpoint(to.id).expect("there").status, disabled, "no status follows from a probe");
        assert_eq!(engine.probe(EndpointId::new(Uuid::from_u128(77))).await, Err(NotProbed::Gone));
    });
}

#[test]
fn only_so_many_probes_are_under_way() {
    run(async {
        let hand = Hand::new();
        *hand.takes.lock() = Duration::from_secs(5);
        let of = |n: u8| Endpoint { namespace: Namespace::new(&format!("tenant-{n}")).expect("a name"), ..destination(n.into()) };
        let destinations: Vec<Endpoint> = (1..=10).map(of).collect();
        let engine = start(&hand, destinations.clone(), vec![]).await;
        let busy = async |per_tenant: usize, tenants: usize| {
            let mut probes = tokio::task::JoinSet::new();
            for to in destinations[..tenants].iter().flat_map(|to| std::iter::repeat_n(to, per_tenant)) {
                let (engine, id) = (engine.clone(), to.id);
                probes.spawn(async move { engine.probe(id).await });
            }
            probes.join_all().await.iter().filter(|result| **result == Err(NotProbed::Busy)).count()
        };
        assert_eq!(busy(9, 1).await, 1, "eight of one tenant");
        assert_eq!(busy(7, 10).await, 6, "64 of all");
        assert_eq!(busy(8, 8).await, 0, "the places are free again");
    });
}

fn event(payload: &'static str) -> Arc<Event> {
    Arc::new(Event {
        seq: EventSeq(1042),
        id: EventId::new(Uuid::from_u128(5)),
        namespace: postrider_core::event::Namespace::default_namespace(),
        event_type: "a.b".into(),
        payload: Bytes::from_static(payload.as_bytes()),
        labels: Default::default(),
        metadata: Default::default(),
        idempotency_key: None,
        ttl: None,
        schema_check: Default::default(),
        created_at: crate::harness::BEGINNING,
    })
}

#[test]
fn a_preview_shows_everything_but_secrets() {
    run(async {
        let hand = Hand::new();
        let to = secured();
        let map = FieldMap::parse(r#"{"rules":[{"source":"a","target":"b"}]}"#).expect("a map");
        let csv = BodyForm::Items(ItemsBody { format: Format::Csv, envelope: true, field_map: map });
        let bindings = vec![Subscription { body: csv, ..binding(2, &to, "a.b") }];
        let engine = start(&hand, vec![to], bindings).await;
        let id = SubscriptionId::new(Uuid::from_u128(2));
        let preview = engine.preview(id, event("{\"a\" : 1}")).await.expect("there").expect("a body");
        assert_eq!((&preview.projected[..], &preview.serialized[..]), (&b"{\"b\":1}"[..], &b"b\r\n1\r\n"[..]));
        let body = std::str::from_utf8(&preview.body).expect("text");
        assert!(body.contains("\"event_id\":\"1042\"") && body.contains("\"data\":\"b\\r\\n1\\r\\n\""), "{body}");
        let shown = format!("{:?}", preview.headers);
        for secret in ["tok_1", "k 1", "v1="] {
            assert!(!shown.contains(secret), "{shown}");
        }
        for (name, value) in [("authorization", "********"), ("x-team-key", "********"), ("x-team", "ops"), ("x-empty", "")] {
            assert_eq!(preview.headers[name], value);
        }
        for name in ["x-postrider-signature", "webhook-signature", "webhook-id", "webhook-timestamp"] {
            assert_eq!(preview.headers[name], "(made when it is sent)");
        }
        let none = engine.preview(id, event("[1]")).await.expect("there");
        assert_eq!(none.map(|p| p.body).expect_err("no fields"), Unrenderable::NoFields);
        assert!(engine.preview(SubscriptionId::new(Uuid::from_u128(3)), event("{}")).await.is_none());
        assert_eq!(hand.requests(), 0);
    });
}
