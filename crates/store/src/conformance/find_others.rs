//! Lists of events and of open dead letters with filters and totals.

use super::{Harness, Route, World};
use bytes::Bytes;
use postrider_core::event::{Namespace, SkipReason, Skipped};
use postrider_core::id::*;
use postrider_core::ports::*;
use postrider_core::time::Timestamp;

fn other() -> Namespace {
    Namespace::new("other").expect("it follows the rule")
}

async fn events<H: Harness>(w: &World<H>, filter: EventFilter) -> Vec<EventSeq> {
    let found = w.find_events(filter.clone(), PageRequest::first(u32::MAX)).await;
    assert_eq!((found.total, found.page.next), (found.page.items.len() as u64, None), "{filter:?}");
    let seqs = |page: &Page<EventRow, EventPlace>| page.items.iter().map(|row| row.event.seq).collect::<Vec<_>>();
    let page = w.store().page_of_events(filter, PageRequest::first(u32::MAX)).await.expect("page_of_events");
    assert_eq!((seqs(&page), page.next), (seqs(&found.page), None));
    seqs(&found.page)
}

/// Events come newest first, of one instant the greater number first; namespace, type and time narrow them.
pub async fn events_come_newest_first_and_narrowed<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let mut seqs = Vec::new();
    for n in 0..6 {
        let namespace = if n % 3 == 0 { other() } else { Namespace::default_namespace() };
        let event_type = if n < 3 { "order.created" } else { "order.deleted" };
        // Two of one instant, and one that was accepted before its neighbour and stored after it.
        let created_at = start.after(std::time::Duration::from_secs([0, 1, 1, 3, 2, 5][n]));
        let event = NewEvent { namespace, event_type: event_type.into(), created_at, ..w.make.event(0) };
        seqs.push(w.publish_one(event).await);
    }
    let of = |order: &[usize]| order.iter().map(|n| seqs[*n]).collect::<Vec<_>>();
    let any = EventFilter::default();
    let typed = EventFilter { event_type: Some("order.created".to_owned()), ..any.clone() };
    let own = EventFilter { namespace: Some(Namespace::default_namespace()), ..any.clone() };
    let within = EventFilter {
        created_from: Some(start.after(std::time::Duration::from_secs(1))),
        created_before: Some(start.after(std::time::Duration::from_secs(3))),
        ..own.clone()
    };
    for _ in 0..2 {
        assert_eq!(events(w, any.clone()).await, of(&[5, 3, 4, 2, 1, 0]));
        assert_eq!(events(w, typed.clone()).await, of(&[2, 1, 0]));
        assert_eq!(events(w, own.clone()).await, of(&[5, 4, 2, 1]));
        assert_eq!(events(w, within.clone()).await, of(&[4, 2, 1]));
        assert_eq!(events(w, EventFilter { event_type: typed.event_type.clone(), ..within.clone() }).await, of(&[2, 1]));
        assert!(events(w, EventFilter { event_type: Some("order".to_owned()), ..any.clone() }).await.is_empty());
        w.reopen().await;
    }
    let cutoff = w.make.advance_secs(100);
    w.prune(super::prune::before(cutoff)).await;
    assert!(events(w, any).await.is_empty(), "what is gone is not counted");
}

/// Pages of events end at the items or at the bytes, and make up the list.
pub async fn pages_of_events_make_up_the_list<H: Harness>(w: &mut World<H>) {
    for n in 0..7 {
        let event = NewEvent { payload: Bytes::from(vec![b'x'; 10 * n]), ..w.make.event(0) };
        w.publish_one(event).await;
    }
    let all = events(w, EventFilter::default()).await;
    for page in [
        PageRequest::first(3),
        PageRequest { max_bytes: 60, ..PageRequest::first(3) },
        PageRequest { max_bytes: 1, ..PageRequest::first(9) },
    ] {
        let (mut paged, mut after, mut pages) = (Vec::new(), None, 0);
        loop {
            let found = w.find_events(EventFilter::default(), PageRequest { after, ..page }).await;
            assert_eq!(found.total, all.len() as u64);
            paged.extend(found.page.items.iter().map(|row| row.event.seq));
            (after, pages) = (found.page.next, pages + 1);
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, all);
        assert!(pages >= 3, "{pages} pages");
    }
}

/// An event says whether anybody gets it; it is found by its number in its own namespace only.
pub async fn events_say_who_gets_them<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let skipped = vec![Skipped { subscription: route.subscription, reason: SkipReason::EndpointPaused }];
    let (delivered, bare) = (w.make.event_for(&[route]), w.make.event(0));
    let passed_over = NewEvent { skipped: skipped.clone(), namespace: other(), ..w.make.event(0) };
    let fanning = NewEvent { fan_out_after: Some(route.subscription), ..w.make.event(0) };
    let mut seqs = Vec::new();
    for event in [&delivered, &bare, &passed_over, &fanning] {
        seqs.push(w.publish_one(event.clone()).await);
    }
    let rows = w.find_events(EventFilter::default(), PageRequest::first(10)).await.page.items;
    let told = |seq: EventSeq| {
        let row = rows.iter().find(|row| row.event.seq == seq).expect("it is listed");
        (row.has_deliveries, row.skipped.clone(), row.fan_out_pending)
    };
    assert_eq!(told(seqs[0]), (true, vec![], false));
    assert_eq!(told(seqs[1]), (false, vec![], false));
    assert_eq!(told(seqs[2]), (false, skipped.clone(), false));
    assert_eq!(told(seqs[3]), (false, vec![], true));
    let by_seq = async |w: &World<H>, seq, namespace| w.store().event_by_seq(seq, namespace).await.expect("event_by_seq");
    let row = by_seq(w, seqs[2], Some(other())).await.expect("it is there");
    assert_eq!((row.event.id, row.skipped), (passed_over.id, skipped));
    assert!(by_seq(w, seqs[2], Some(Namespace::default_namespace())).await.is_none());
    for (seq, row) in seqs.iter().zip([(true, false), (false, false), (false, false), (false, true)]) {
        let found = by_seq(w, *seq, None).await.expect("it is there");
        assert_eq!((found.has_deliveries, found.fan_out_pending), row);
    }
    assert!(by_seq(w, EventSeq(1_000_000), None).await.is_none());
}

async fn letters<H: Harness>(w: &World<H>, filter: DeadLetterFilter) -> Vec<DeadLetterId> {
    let found = w.find_dead_letters(filter.clone(), Window::first(u32::MAX)).await;
    assert_eq!((found.total, found.page.next), (found.page.items.len() as u64, None), "{filter:?}");
    let page = w.store().page_of_dead_letters(filter, Window::first(u32::MAX)).await.expect("page_of_dead_letters");
    assert_eq!((&page.items, page.next), (&found.page.items, None));
    found.page.items.into_iter().map(|row| row.dead_letter.id).collect()
}

/// Open dead letters come newest first; each filter narrows them; what is closed is gone from list and total.
pub async fn open_dead_letters_narrowed<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let (a, b, elsewhere) = (w.make.route(), w.make.route(), w.make.route());
    let moved = Route { endpoint: b.endpoint, ..a };
    let mut ids = Vec::new();
    for (route, namespace) in [
        (a, Namespace::default_namespace()),
        (b, Namespace::default_namespace()),
        (moved, Namespace::default_namespace()),
        (elsewhere, other()),
    ] {
        let event = NewEvent { namespace, ..w.make.claimed_event_for(&[route]) };
        let delivery = event.deliveries[0].id;
        w.publish_one(event).await;
        w.make.advance_secs(1);
        ids.push(w.fail(delivery).await);
    }
    let of = |order: &[usize]| order.iter().map(|n| ids[*n]).collect::<Vec<_>>();
    let any = DeadLetterFilter::default();
    let at = |secs| Some(start.after(std::time::Duration::from_secs(secs)));
    assert_eq!(letters(w, any.clone()).await, of(&[3, 2, 1, 0]));
    assert_eq!(letters(w, DeadLetterFilter { namespace: Some(other()), ..any.clone() }).await, of(&[3]));
    assert_eq!(letters(w, DeadLetterFilter { subscription: Some(a.subscription), ..any.clone() }).await, of(&[2, 0]));
    assert_eq!(letters(w, DeadLetterFilter { endpoint: Some(b.endpoint), ..any.clone() }).await, of(&[2, 1]));
    let both = DeadLetterFilter { subscription: Some(a.subscription), endpoint: Some(b.endpoint), ..any.clone() };
    assert_eq!(letters(w, both.clone()).await, of(&[2]));
    assert!(letters(w, DeadLetterFilter { namespace: Some(other()), ..both }).await.is_empty());
    let refused = Some(postrider_core::error::ErrorCode::ConnectionRefused);
    assert_eq!(letters(w, DeadLetterFilter { code: refused, ..any.clone() }).await.len(), 4);
    let timed_out = Some(postrider_core::error::ErrorCode::DeliveryTimeout);
    assert!(letters(w, DeadLetterFilter { code: timed_out, ..any.clone() }).await.is_empty());
    assert_eq!(letters(w, DeadLetterFilter { failed_from: at(2), failed_before: at(4), ..any.clone() }).await, of(&[2, 1]));
    let now = w.make.now();
    w.store().dismiss(vec![ids[1]], now).await.expect("dismiss");
    w.reopen().await;
    assert_eq!(letters(w, any.clone()).await, of(&[3, 2, 0]));
    assert_eq!(letters(w, DeadLetterFilter { failed_before: at(4), ..any }).await, of(&[2, 0]));
}

/// Pieces make up the list, those of one instant too.
pub async fn pieces_of_dead_letters_make_up_the_list<H: Harness>(w: &mut World<H>) {
    let routes = [w.make.route(), w.make.route()];
    for n in 0..9 {
        let id = w.claimed(routes[n % 2]).await;
        w.make.advance_secs((n % 3 == 0).into());
        w.fail(id).await;
    }
    let all = letters(w, DeadLetterFilter::default()).await;
    let (mut paged, mut after) = (Vec::new(), None);
    loop {
        let found = w.find_dead_letters(DeadLetterFilter::default(), Window { after, ..Window::first(2) }).await;
        assert_eq!(found.total, 9);
        paged.extend(found.page.items.iter().map(|row| row.dead_letter.id));
        after = found.page.next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(paged, all);
    let found = w.find_dead_letters(DeadLetterFilter::default(), Window { skip: 4, limit: 3, after: None }).await;
    assert_eq!(found.page.items.iter().map(|row| row.dead_letter.id).collect::<Vec<_>>(), all[4..7]);
}

/// A dead letter names what it is about and the last attempt, until retention takes that.
pub async fn dead_letters_name_their_last_attempt<H: Harness>(w: &mut World<H>) {
    let route = w.make.route();
    let id = w.claimed(route).await;
    let due_at = w.make.now();
    w.retry(id, due_at, true).await;
    w.make.advance_secs(1);
    let letter = w.fail(id).await;
    let view = w.view(id).await;
    let last = view.attempts.last().map(|attempt| attempt.id);
    let single = w.store().dead_letter(letter).await.expect("dead_letter").expect("it is there");
    let row = w.find_dead_letters(DeadLetterFilter::default(), Window::first(1)).await.page.items.remove(0);
    assert_eq!((row.last_attempt, single.last_attempt), (last, last));
    assert_eq!((&row.dead_letter, row.namespace), (&single.dead_letter, view.event.namespace.clone()));
    assert_eq!((row.subscription, row.endpoint, row.event), (route.subscription, route.endpoint, view.event.seq));
    let cutoff = w.make.advance_secs(10);
    w.prune(PruneRequest { events_before: Timestamp::MIN, ..super::prune::before(cutoff) }).await;
    let row = w.find_dead_letters(DeadLetterFilter::default(), Window::first(1)).await.page.items.remove(0);
    let single = w.store().dead_letter(letter).await.expect("dead_letter").expect("it is there");
    assert_eq!((row.last_attempt, single.last_attempt), (None, None));
}
