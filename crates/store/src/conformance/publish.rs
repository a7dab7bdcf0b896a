//! How events and their deliveries come in.

use super::{Harness, World};
use bytes::Bytes;
use postrider_core::delivery::{Delivery, Progress, State, StateKind};
use postrider_core::event::{Event, Namespace, SchemaCheck, SkipReason, Skipped};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;
use std::time::Duration;

/// Events are numbered from 1, ascending in the order of the batch.
pub async fn numbers_ascend_from_one<H: Harness>(w: &mut World<H>) {
    let events = (0..3).map(|_| w.make.event(0)).collect();
    let mut numbers: Vec<EventSeq> = Vec::new();
    for answer in w.publish(events).await {
        match answer {
            Published::Stored(seq) => numbers.push(seq),
            Published::Duplicate { .. } => panic!("nothing is a duplicate here: {answer:?}"),
        }
    }
    let event = w.make.event(1);
    numbers.push(w.publish_one(event).await);
    assert_eq!(numbers[0], EventSeq(1));
    assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
}

/// However many deliveries an event has, each is stored as it is.
pub async fn any_number_of_deliveries_is_stored<H: Harness>(w: &mut World<H>) {
    for count in [1, 2, 4, 5, 16, 17, 21, 37] {
        let now = w.make.now();
        let mut new = w.make.event(count);
        for (n, delivery) in (1..).zip(&mut new.deliveries) {
            delivery.claimed = n % 2 == 0;
            delivery.expires_at = (n % 3 == 0).then(|| now.after(Duration::from_secs(n)));
        }
        let seq = w.publish_one(new.clone()).await;
        for expected in &new.deliveries {
            let Delivery { event, subscription, endpoint, progress, .. } = w.view(expected.id).await.delivery;
            assert_eq!((event, subscription, endpoint), (seq, expected.subscription, expected.endpoint));
            assert_eq!(progress, Progress::new(now, expected.expires_at));
            let waiting = w.claim(endpoint, now).await.deliveries.len();
            assert_eq!(waiting, usize::from(!expected.claimed), "of {count}");
        }
    }
}

/// Every field of an event and of its deliveries comes back.
pub async fn stores_every_field<H: Harness>(w: &mut World<H>) {
    let now = w.make.advance(Duration::from_micros(123_456));
    let route = w.make.route();
    let mut new = w.make.event_for(&[route]);
    new.namespace = Namespace::new("Tenant-1._").expect("a namespace");
    new.event_type = "order.created'; --".into();
    new.labels = [("region".to_owned(), "ü \"'\\ \u{1F4E8}".to_owned()), ("empty".to_owned(), String::new())].into();
    new.metadata = [("trace".to_owned(), "\n\t\u{0}x".to_owned())].into();
    new.idempotency_key = Some("key ü".to_owned());
    new.schema_check = SchemaCheck::Failed;
    new.ttl = Some(Duration::from_micros(90_000_001));
    new.deliveries[0].expires_at = Some(now.after(Duration::from_secs(90)));
    let plain = w.make.event(0);
    let plain_id = plain.id;
    let plain = NewEvent { event_type: "".into(), ..plain };
    let answers = w.publish(vec![new.clone(), plain]).await;
    let Published::Stored(seq) = answers[0] else { panic!("{answers:?}") };

    let view = event(w, new.id).await;
    let expected = Event {
        seq,
        id: new.id,
        namespace: new.namespace.clone(),
        event_type: new.event_type.clone(),
        payload: new.payload.clone(),
        labels: new.labels.clone(),
        metadata: new.metadata.clone(),
        idempotency_key: new.idempotency_key.clone(),
        ttl: new.ttl,
        schema_check: new.schema_check,
        created_at: now,
    };
    assert_eq!(*view.event, expected);
    let delivery = Delivery {
        id: new.deliveries[0].id,
        event: seq,
        namespace: new.namespace,
        subscription: route.subscription,
        endpoint: route.endpoint,
        progress: Progress::new(now, new.deliveries[0].expires_at),
        created_at: now,
        last_attempt_at: None,
    };
    assert_eq!(view.deliveries, std::slice::from_ref(&delivery));
    let view = w.view(delivery.id).await;
    assert_eq!((view.delivery, &*view.event, view.attempts.len()), (delivery, &expected, 0));

    let plain = event(w, plain_id).await.event;
    assert_eq!((&*plain.event_type, plain.labels.len(), plain.metadata.len()), ("", 0, 0));
    assert_eq!((&plain.idempotency_key, plain.ttl), (&None, None));
}

/// The bytes accepted are the bytes that come back, wherever they are read.
pub async fn keeps_payload_bytes_exactly<H: Harness>(w: &mut World<H>) {
    let mut large = vec![0u8; 1 << 20];
    large.iter_mut().enumerate().for_each(|(i, byte)| *byte = (i * 31 % 251) as u8);
    let payloads =
        [Bytes::new(), Bytes::from_static(b"\xff\xfe\x00\x80 not UTF-8"), Bytes::from_static(b"{ \"a\" : 1.0e2 }\r\n"), Bytes::from(large)];
    for payload in payloads {
        let route = w.make.route();
        let new = NewEvent { payload: payload.clone(), ..w.make.event_for(&[route]) };
        let (id, delivery) = (new.id, new.deliveries[0].id);
        w.publish_one(new).await;
        assert!(event(w, id).await.event.payload == payload, "the event's {} bytes", payload.len());
        assert!(w.view(delivery).await.event.payload == payload, "the delivery's {} bytes", payload.len());
        let claimed = w.claim(route.endpoint, Timestamp::MAX).await.deliveries;
        assert!(claimed[0].event.payload == payload, "the claimed {} bytes", payload.len());
    }
}

/// The second event with a key in one batch is answered with the first; what follows it is stored.
pub async fn refuses_a_key_twice_in_a_batch<H: Harness>(w: &mut World<H>) {
    let keyed = |event: NewEvent| NewEvent { idempotency_key: Some("k".to_owned()), ..event };
    let (first, second, third) = (keyed(w.make.event(1)), keyed(w.make.event(1)), w.make.event(1));
    let (ids, deliveries) = ([first.id, second.id, third.id], [&first, &second, &third].map(|event| event.deliveries[0].id));
    let answers = w.publish(vec![first, second, third]).await;
    let [Published::Stored(seq), duplicate, Published::Stored(third)] = answers[..] else { panic!("{answers:?}") };
    assert_eq!(duplicate, Published::Duplicate { id: ids[0], seq, first: first_delivery(w, deliveries[0]).await });
    assert!(third > seq);
    assert_nothing_of(w, ids[1], deliveries[1]).await;
    w.view(deliveries[0]).await;
    w.view(deliveries[2]).await;
}

/// A key is known across batches and restarts, and the refusal stores nothing.
pub async fn refuses_a_key_twice_across_batches<H: Harness>(w: &mut World<H>) {
    let keyed = |event: NewEvent| NewEvent { idempotency_key: Some("k".to_owned()), ..event };
    let first = keyed(w.make.event(1));
    let (id, oldest) = (first.id, first.deliveries[0].id);
    let seq = w.publish_one(first).await;
    for _ in 0..2 {
        let again = keyed(w.make.event(1));
        let (new, delivery) = (again.id, again.deliveries[0].id);
        let first = first_delivery(w, oldest).await;
        assert_eq!(w.publish(vec![again]).await, [Published::Duplicate { id, seq, first }]);
        assert_nothing_of(w, new, delivery).await;
        w.reopen().await;
    }
}

/// A duplicate is answered with the oldest of the first one's deliveries, however many there are, as it stands by then.
pub async fn a_duplicate_is_answered_with_the_oldest_delivery<H: Harness>(w: &mut World<H>) {
    let keyed = |event: NewEvent| NewEvent { idempotency_key: Some("k".to_owned()), ..event };
    let routes = [w.make.route(), w.make.route(), w.make.route()];
    let event = keyed(w.make.claimed_event_for(&routes));
    let (id, oldest) = (event.id, event.deliveries[0].id);
    let seq = w.publish_one(event).await;
    for state in [StateKind::Pending, StateKind::Succeeded] {
        let again = keyed(w.make.event(2));
        let first = Some(FirstDelivery { id: oldest, subscription: routes[0].subscription, state });
        assert_eq!(w.publish(vec![again]).await, [Published::Duplicate { id, seq, first }]);
        if state == StateKind::Pending {
            w.succeed(oldest).await;
        }
    }
}

/// The same key in another namespace, or another key in the same, is another event; no key is never a duplicate.
pub async fn keys_are_apart_by_namespace<H: Harness>(w: &mut World<H>) {
    let mut events = Vec::new();
    for (namespace, key) in
        [("a", Some("k")), ("b", Some("k")), ("a", Some("K")), ("a", Some("k ")), ("a", Some("")), ("a", None), ("a", None)]
    {
        let namespace = Namespace::new(namespace).expect("a namespace");
        events.push(NewEvent { namespace, idempotency_key: key.map(str::to_owned), ..w.make.event(0) });
    }
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let answers = w.publish(events).await;
    assert!(answers.iter().all(|answer| matches!(answer, Published::Stored(_))), "{answers:?}");
    for (namespace, first) in [("a", 0), ("b", 1)] {
        let namespace = Namespace::new(namespace).expect("a namespace");
        let again = NewEvent { namespace, idempotency_key: Some("k".to_owned()), ..w.make.event(0) };
        let Published::Stored(seq) = answers[first] else { panic!("{answers:?}") };
        assert_eq!(w.publish(vec![again]).await, [Published::Duplicate { id: ids[first], seq, first: None }]);
    }
}

/// Empty batches are answered, with nothing.
pub async fn an_empty_batch_is_nothing<H: Harness>(w: &mut World<H>) {
    assert!(w.publish(Vec::new()).await.is_empty());
    assert!(w.settle(Vec::new()).await.is_empty());
    assert!(w.fire(Vec::new()).await.is_empty());
    w.fan_out(Vec::new()).await;
    let store = w.store();
    assert!(store.claim(Vec::new()).await.expect("claim").is_empty());
    assert!(store.replay(Vec::new()).await.expect("replay").is_empty());
    assert!(store.dismiss(Vec::new(), w.make.now()).await.expect("dismiss").is_empty());
    assert!(store.counters(Vec::new()).await.expect("counters").is_empty());
    store.schedule(Vec::new()).await.expect("schedule");
}

/// An event that nobody gets is stored with the reasons.
pub async fn shows_what_was_skipped<H: Harness>(w: &mut World<H>) {
    let (a, b) = (w.make.route().subscription, w.make.route().subscription);
    let skipped = vec![
        Skipped { subscription: b, reason: SkipReason::EndpointPaused },
        Skipped { subscription: a, reason: SkipReason::EndpointGone },
    ];
    let new = NewEvent { skipped: skipped.clone(), ..w.make.event(0) };
    let id = new.id;
    w.publish_one(new).await;
    let view = event(w, id).await;
    assert!(view.deliveries.is_empty() && !view.fan_out_pending);
    assert_eq!(view.skipped, skipped);
}

/// A delivery is pending and due from the moment of its event; unclaimed ones can be claimed then, claimed ones cannot.
pub async fn deliveries_are_due_at_once<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let mut new = w.make.event_for(&[route, route]);
    new.deliveries[0].claimed = true;
    let (at, free) = (new.created_at, new.deliveries[1].id);
    w.publish_one(new.clone()).await;
    for delivery in &new.deliveries {
        assert_eq!(w.state(delivery.id).await, State::Pending { due_at: at });
    }
    let batch = w.claim(route.endpoint, at).await;
    assert_eq!(batch.deliveries.iter().map(|claimed| claimed.delivery.id).collect::<Vec<_>>(), [free]);
    assert_eq!(batch.next_due, None);
}

/// Acknowledged means durable: event and deliveries are there after a crash.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let new = w.make.event(3);
    let seq = w.publish_one(new.clone()).await;
    w.reopen().await;
    let view = event(w, new.id).await;
    assert_eq!((view.event.seq, view.deliveries.len()), (seq, 3));
    let next = w.make.event(0);
    assert!(w.publish_one(next).await > seq, "numbers go on");
}

/// A number is never given again, not even when its event was the newest and is gone, and not after a restart.
pub async fn numbers_are_never_reused<H: Harness>(w: &mut World<H>) {
    let mut last = EventSeq(0);
    for round in 0..3 {
        let event = w.make.event(0);
        let seq = w.publish_one(event).await;
        assert!(seq > last, "round {round}: {seq:?} follows {last:?}");
        last = seq;
        let cutoff = w.make.advance_secs(10);
        let pruned = w.prune(super::prune::before(cutoff)).await;
        assert_eq!(pruned.events, 1);
        if round == 1 {
            w.reopen().await;
        }
    }
}

/// Publishers that come at the same time each get the answer to what they sent.
pub async fn concurrent_publishers_all_get_their_own_answer<H: Harness>(w: &mut World<H>) {
    let events: Vec<NewEvent> = (0..24).map(|_| w.make.event(0)).collect();
    let ids: Vec<EventId> = events.iter().map(|event| event.id).collect();
    let store = w.store();
    let mut waiting: Vec<_> = events.into_iter().map(|event| store.publish(vec![event])).collect();
    let mut answers: Vec<Option<Vec<Published>>> = waiting.iter().map(|_| None).collect();
    std::future::poll_fn(|context| {
        for (future, answer) in waiting.iter_mut().zip(&mut answers).filter(|(_, answer)| answer.is_none()) {
            if let std::task::Poll::Ready(result) = future.as_mut().poll(context) {
                *answer = Some(result.expect("publish"));
            }
        }
        if answers.iter().all(Option::is_some) { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
    for (id, answer) in ids.into_iter().zip(answers) {
        let seq = event(w, id).await.event.seq;
        assert_eq!(answer, Some(vec![Published::Stored(seq)]));
    }
}

async fn event<H: Harness>(w: &World<H>, id: EventId) -> EventView {
    w.store().event(id).await.expect("event").expect("the event is there")
}

async fn first_delivery<H: Harness>(w: &World<H>, id: DeliveryId) -> Option<FirstDelivery> {
    let delivery = w.view(id).await.delivery;
    Some(FirstDelivery { id, subscription: delivery.subscription, state: delivery.progress.state.kind() })
}

async fn assert_nothing_of<H: Harness>(w: &World<H>, event: EventId, delivery: DeliveryId) {
    assert!(w.store().event(event).await.expect("event").is_none());
    assert!(w.store().delivery(delivery).await.expect("delivery").is_none());
}
