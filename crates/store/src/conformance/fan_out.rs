//! Fan-outs that are too large for one piece.

use super::{Harness, World};
use postrider_core::delivery::State;
use postrider_core::event::{SkipReason, Skipped};
use postrider_core::id::*;
use postrider_core::ports::*;

/// Slices add deliveries and move the cursor; the last one completes the fan-out.
pub async fn slices_resume_where_the_last_one_ended<H: Harness>(w: &mut World<H>) {
    let (first, second) = (w.make.route().subscription, w.make.route().subscription);
    let new = NewEvent { fan_out_after: Some(first), ..w.make.event(2) };
    let seq = w.publish_one(new.clone()).await;
    assert_eq!(unfinished(w, 10).await, [(seq, first)]);
    assert!(view(w, new.id).await.fan_out_pending);

    let later = w.make.advance_secs(1);
    let middle = slice(w, seq, 2, (first, Some(second)));
    w.fan_out(vec![middle.clone()]).await;
    assert_eq!(unfinished(w, 10).await, [(seq, second)]);
    assert!(view(w, new.id).await.fan_out_pending);

    let last = slice(w, seq, 1, (second, None));
    w.fan_out(vec![last.clone()]).await;
    assert!(unfinished(w, 10).await.is_empty());
    let view = view(w, new.id).await;
    assert!(!view.fan_out_pending);
    let expected: Vec<DeliveryId> = [new.deliveries, middle.deliveries.clone(), last.deliveries].concat().iter().map(|d| d.id).collect();
    assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), expected);

    let delivery = w.view(middle.deliveries[0].id).await;
    assert_eq!((delivery.delivery.created_at, delivery.delivery.progress.state), (later, State::Pending { due_at: later }));
    assert_eq!((delivery.event.id, delivery.delivery.event), (new.id, seq));
    let claimed = w.claim(middle.deliveries[0].endpoint, later).await;
    assert_eq!(claimed.deliveries.len(), 1, "what a slice brought is due at once");
}

/// The oldest comes first, no more than asked for, with its event.
pub async fn unfinished_ones_come_oldest_first<H: Harness>(w: &mut World<H>) {
    let mut expected = Vec::new();
    for pending in [true, false, true, true] {
        let after = w.make.route().subscription;
        let new = NewEvent { fan_out_after: pending.then_some(after), ..w.make.event(1) };
        let seq = w.publish_one(new).await;
        if pending {
            expected.push((seq, after));
        }
    }
    assert_eq!(unfinished(w, 10).await, expected);
    assert_eq!(unfinished(w, 2).await, expected[..2]);
}

/// Large payloads come a few at a time; the rest comes when these are through.
pub async fn unfinished_ones_stop_at_the_bytes_but_one_comes<H: Harness>(w: &mut World<H>) {
    let after = w.make.route().subscription;
    let mut all = Vec::new();
    for _ in 0..3 {
        let payload = bytes::Bytes::from(vec![b'x'; 1_000]);
        let event = NewEvent { fan_out_after: Some(after), payload, ..w.make.event(0) };
        all.push(w.publish_one(event).await);
    }
    for (max_bytes, count) in [(0, 1), (1_000, 1), (1_001, 2), (u64::MAX, 3)] {
        let found = w.store().unfinished_fan_outs(SlotSet::ALL, 10, max_bytes).await.expect("unfinished_fan_outs");
        assert_eq!(found.iter().map(|found| found.event.seq).collect::<Vec<_>>(), all[..count], "{max_bytes} bytes");
    }
}

/// Those of other slots do not come, and do not keep the others away.
pub async fn unfinished_ones_come_of_the_slots_asked_for<H: Harness>(w: &mut World<H>) {
    let after = w.make.route().subscription;
    let (mut all, mut last) = (Vec::new(), SlotSet::default());
    for _ in 0..12 {
        let event = NewEvent { fan_out_after: Some(after), ..w.make.event(0) };
        let slot = Slot::of(event.id.uuid());
        last = [slot].into_iter().collect();
        all.push((w.publish_one(event).await, slot));
    }
    for of in [SlotSet::ALL, SlotSet::default(), last, SlotSet::ALL.without(&last)] {
        for limit in [2, 100] {
            let found = w.store().unfinished_fan_outs(of, limit, u64::MAX).await.expect("unfinished_fan_outs");
            let expected: Vec<EventSeq> =
                all.iter().filter(|(_, slot)| of.contains(*slot)).map(|(seq, _)| *seq).take(limit as usize).collect();
            assert_eq!(found.iter().map(|found| found.event.seq).collect::<Vec<_>>(), expected);
        }
    }
}

/// The cursor is as durable as the event, and it comes with who was skipped.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    let (first, second) = (w.make.route().subscription, w.make.route().subscription);
    let skipped = vec![Skipped { subscription: w.make.route().subscription, reason: SkipReason::EndpointPaused }];
    let new = NewEvent { fan_out_after: Some(first), skipped, ..w.make.event(1) };
    let seq = w.publish_one(new.clone()).await;
    w.reopen().await;
    assert_eq!(unfinished(w, 10).await, [(seq, first)]);
    let next = slice(w, seq, 1, (first, Some(second)));
    w.fan_out(vec![next]).await;
    w.reopen().await;
    assert_eq!(unfinished(w, 10).await, [(seq, second)]);
    let found = w.store().unfinished_fan_outs(SlotSet::ALL, 1, u64::MAX).await.expect("unfinished_fan_outs");
    assert_eq!((found[0].event.id, &found[0].event.payload, &found[0].skipped), (new.id, &new.payload, &new.skipped));
    assert_eq!(view(w, new.id).await.deliveries.len(), 2);
}

/// Slices of several events, and several of one, can come in one batch; claimed deliveries come claimed.
pub async fn a_batch_of_slices<H: Harness>(w: &mut World<H>) {
    let after = w.make.route().subscription;
    let mut events = Vec::new();
    for _ in 0..2 {
        let new = NewEvent { fan_out_after: Some(after), ..w.make.event(0) };
        events.push((new.id, w.publish_one(new).await));
    }
    let further = w.make.route().subscription;
    let [one, other] = [events[0].1, events[1].1];
    let mut slices =
        vec![slice(w, one, 1, (after, Some(further))), slice(w, other, 2, (after, Some(further))), slice(w, one, 1, (further, None))];
    slices[0].deliveries[0].claimed = true;
    let (kept, free) = (slices[0].deliveries[0], slices[2].deliveries[0]);
    w.fan_out(slices).await;
    assert_eq!(unfinished(w, 10).await, [(events[1].1, further)]);
    assert_eq!((view(w, events[0].0).await.deliveries.len(), view(w, events[1].0).await.deliveries.len()), (2, 2));
    let now = w.make.now();
    assert!(w.claim(kept.endpoint, now).await.deliveries.is_empty());
    assert_eq!(w.claim(free.endpoint, now).await.deliveries.len(), 1);
    w.succeed(kept.id).await;
}

/// Of two engines that go on with the same fan-out from the same place the slice of one is stored, and nothing of the other's: neither its
/// deliveries nor where it would go on.
pub async fn a_slice_is_stored_once<H: Harness>(w: &mut World<H>) {
    let [first, second, third] = [(); 3].map(|()| w.make.route().subscription);
    let new = NewEvent { fan_out_after: Some(first), ..w.make.event(0) };
    let seq = w.publish_one(new.clone()).await;
    let slices = [(); 2].map(|()| slice(w, seq, 2, (first, Some(second))));
    let [stored, late] = slices;
    w.fan_out(vec![stored.clone()]).await;
    let shorter = FanOutSlice { fan_out_after: None, ..late.clone() };
    for gone in [late, shorter] {
        assert_eq!(w.offer(vec![gone]).await, [Sliced::Gone]);
        assert_eq!(unfinished(w, 10).await, [(seq, second)]);
    }
    let view = view(w, new.id).await;
    assert_eq!(view.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), stored.deliveries.iter().map(|d| d.id).collect::<Vec<_>>());

    // It has come further, and is complete, and is not there at all.
    let (last, another) = (slice(w, seq, 1, (second, None)), slice(w, seq, 1, (second, Some(third))));
    w.fan_out(vec![last]).await;
    let nowhere = FanOutSlice { event: EventSeq(seq.0 + 1), ..another.clone() };
    assert_eq!(w.offer(vec![another, nowhere]).await, [Sliced::Gone, Sliced::Gone]);
    assert!(unfinished(w, 10).await.is_empty());
}

/// The same within one call: each slice meets what those before it have left.
pub async fn slices_of_a_call_follow_each_other<H: Harness>(w: &mut World<H>) {
    let [first, second, third] = [(); 3].map(|()| w.make.route().subscription);
    let mut events = Vec::new();
    for _ in 0..2 {
        let new = NewEvent { fan_out_after: Some(first), ..w.make.event(0) };
        events.push((new.id, w.publish_one(new).await));
    }
    let [(id, one), (_, other)] = [events[0], events[1]];
    let mut slices = vec![
        slice(w, one, 1, (second, Some(third))),
        slice(w, one, 2, (first, Some(second))),
        slice(w, other, 1, (first, None)),
        slice(w, one, 1, (first, None)),
        slice(w, one, 1, (second, Some(third))),
        slice(w, other, 1, (first, Some(second))),
        slice(w, one, 0, (third, None)),
        slice(w, one, 1, (third, None)),
    ];
    slices[3].deliveries[0].claimed = true;
    let late = slices[3].deliveries[0].id;
    let stored: Vec<DeliveryId> = [&slices[1], &slices[4]].iter().flat_map(|slice| &slice.deliveries).map(|d| d.id).collect();
    let (stays, goes) = (Sliced::Stored, Sliced::Gone);
    assert_eq!(w.offer(slices).await, [goes, stays, stays, goes, stays, goes, stays, goes]);
    assert!(unfinished(w, 10).await.is_empty());
    assert_eq!(view(w, id).await.deliveries.iter().map(|d| d.id).collect::<Vec<_>>(), stored);
    assert!(w.store().delivery(late).await.expect("delivery").is_none());
}

fn slice<H: Harness>(
    w: &mut World<H>,
    event: EventSeq,
    deliveries: usize,
    (from, fan_out_after): (SubscriptionId, Option<SubscriptionId>),
) -> FanOutSlice {
    let made = w.make.event(deliveries);
    FanOutSlice { event, namespace: made.namespace, created_at: made.created_at, from, deliveries: made.deliveries, fan_out_after }
}

async fn unfinished<H: Harness>(w: &World<H>, limit: u32) -> Vec<(EventSeq, SubscriptionId)> {
    let found = w.store().unfinished_fan_outs(SlotSet::ALL, limit, u64::MAX).await.expect("unfinished_fan_outs");
    found.into_iter().map(|fan_out| (fan_out.event.seq, fan_out.after)).collect()
}

async fn view<H: Harness>(w: &World<H>, id: EventId) -> EventView {
    w.store().event(id).await.expect("event").expect("the event is there")
}
