//! Lists of events by their labels and by what the check of their payload said, and how their deliveries stand.

use super::{Harness, Route, World};
use postrider_core::delivery::StateKind;
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::id::*;
use postrider_core::ports::*;
use std::collections::BTreeMap;
use std::time::Duration;

fn other() -> Namespace {
    Namespace::new("other").expect("it follows the rule")
}

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
}

fn with(pairs: &[(&str, &str)]) -> EventFilter {
    EventFilter { labels: labels(pairs), ..EventFilter::default() }
}

async fn listed<H: Harness>(w: &World<H>, filter: EventFilter) -> Vec<EventSeq> {
    let found = w.find_events(filter.clone(), PageRequest::first(u32::MAX)).await;
    assert_eq!((found.total, found.page.next), (found.page.items.len() as u64, None), "{filter:?}");
    found.page.items.into_iter().map(|row| row.event.seq).collect()
}

/// Events with labels: eu and gold, eu, us and gold, none, eu and gold in another namespace; a second apart.
async fn labelled<H: Harness>(w: &mut World<H>) -> Vec<EventSeq> {
    let own = Namespace::default_namespace();
    let mut seqs = Vec::new();
    for (namespace, pairs) in [
        (own.clone(), &[("region", "eu"), ("tier", "gold")][..]),
        (own.clone(), &[("region", "eu")]),
        (own.clone(), &[("region", "us"), ("tier", "gold")]),
        (own, &[]),
        (other(), &[("region", "eu"), ("tier", "gold")]),
    ] {
        w.make.advance_secs(1);
        let event = NewEvent { namespace, labels: labels(pairs), ..w.make.event(0) };
        seqs.push(w.publish_one(event).await);
    }
    seqs
}

/// Every label that is asked for must be there with exactly its value; what else an event has does not matter. Other filters narrow further.
pub async fn all_labels_must_match<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let seqs = labelled(w).await;
    let of = |order: &[usize]| order.iter().map(|n| seqs[*n]).collect::<Vec<_>>();
    for _ in 0..2 {
        assert_eq!(listed(w, with(&[("region", "eu")])).await, of(&[4, 1, 0]));
        assert_eq!(listed(w, with(&[("tier", "gold")])).await, of(&[4, 2, 0]));
        assert_eq!(listed(w, with(&[("region", "eu"), ("tier", "gold")])).await, of(&[4, 0]));
        for nothing in [[("region", "e")], [("region", "eu ")], [("tier", "eu")], [("Region", "eu")]] {
            assert!(listed(w, with(&nothing)).await.is_empty(), "{nothing:?}");
        }
        let both = with(&[("region", "eu"), ("tier", "gold")]);
        assert_eq!(listed(w, EventFilter { namespace: Some(other()), ..both.clone() }).await, of(&[4]));
        let before = Some(start.after(Duration::from_secs(5)));
        assert_eq!(listed(w, EventFilter { created_before: before, ..both.clone() }).await, of(&[0]));
        assert_eq!(listed(w, EventFilter { created_from: before, ..both.clone() }).await, of(&[4]));
        assert_eq!(listed(w, EventFilter { event_type: Some("order.created".to_owned()), ..both.clone() }).await, of(&[4, 0]));
        assert!(listed(w, EventFilter { event_type: Some("order".to_owned()), ..both }).await.is_empty());
        w.reopen().await;
    }
}

/// What is gone is not found by its labels, nor counted.
pub async fn labels_go_with_their_event<H: Harness>(w: &mut World<H>) {
    let seqs = labelled(w).await;
    let cutoff = w.make.now();
    w.prune(super::prune::before(cutoff)).await;
    assert_eq!(listed(w, with(&[("region", "eu")])).await, [seqs[4]]);
    assert_eq!(listed(w, with(&[("region", "us")])).await, []);
    let again = NewEvent { labels: labels(&[("region", "us")]), ..w.make.event(0) };
    let again = w.publish_one(again).await;
    assert_eq!(listed(w, with(&[("region", "us")])).await, [again]);
}

/// An event of a type without a schema counts as valid.
pub async fn those_that_are_not_as_their_schema_says<H: Harness>(w: &mut World<H>) {
    let start = w.make.now();
    let mut seqs = Vec::new();
    for (n, schema_check) in [SchemaCheck::Unchecked, SchemaCheck::Failed, SchemaCheck::Passed, SchemaCheck::Failed].into_iter().enumerate()
    {
        w.make.advance_secs(1);
        let event_type = if n < 2 { "a.b" } else { "a.c" }.into();
        let event = NewEvent { schema_check, event_type, labels: labels(&[("n", "1")]), ..w.make.event(0) };
        seqs.push(w.publish_one(event).await);
    }
    let of = |order: &[usize]| order.iter().map(|n| seqs[*n]).collect::<Vec<_>>();
    let is = |valid| EventFilter { schema_valid: Some(valid), ..EventFilter::default() };
    let (valid, invalid) = (is(true), is(false));
    let typed = |filter: &EventFilter| EventFilter { event_type: Some("a.c".to_owned()), ..filter.clone() };
    for _ in 0..2 {
        assert_eq!(listed(w, valid.clone()).await, of(&[2, 0]));
        assert_eq!(listed(w, invalid.clone()).await, of(&[3, 1]));
        assert_eq!((listed(w, typed(&valid)).await, listed(w, typed(&invalid)).await), (of(&[2]), of(&[3])));
        let late = Some(start.after(Duration::from_secs(2)));
        assert_eq!(listed(w, EventFilter { created_from: late, ..valid.clone() }).await, of(&[2]));
        assert_eq!(listed(w, EventFilter { created_from: late, ..invalid.clone() }).await, of(&[3, 1]));
        assert_eq!(listed(w, EventFilter { labels: labels(&[("n", "1")]), ..invalid.clone() }).await, of(&[3, 1]));
        assert!(listed(w, EventFilter { namespace: Some(other()), ..valid.clone() }).await.is_empty());
        w.reopen().await;
    }
    let cutoff = start.after(Duration::from_secs(3));
    w.prune(super::prune::before(cutoff)).await;
    assert_eq!((listed(w, valid).await, listed(w, invalid).await), (of(&[2]), of(&[3])));
}

/// Pages make up the list, whichever of several labels is the rarer one.
pub async fn pages_of_labelled_events_make_up_the_list<H: Harness>(w: &mut World<H>) {
    for n in 0..30u32 {
        // All of an instant, but for some.
        w.make.advance_secs((n % 7 == 0).into());
        let pairs = labels(&[("half", &(n % 2).to_string()), ("third", &(n % 3).to_string())]);
        let event =
            NewEvent { labels: pairs, namespace: if n % 5 == 0 { other() } else { Namespace::default_namespace() }, ..w.make.event(0) };
        w.publish_one(event).await;
    }
    for filter in [with(&[("half", "1")]), with(&[("half", "0"), ("third", "2")]), EventFilter { schema_valid: Some(true), ..with(&[]) }] {
        let all = listed(w, filter.clone()).await;
        let (mut paged, mut after) = (Vec::new(), None);
        loop {
            let found = w.find_events(filter.clone(), PageRequest { after, ..PageRequest::first(2) }).await;
            assert_eq!(found.total, all.len() as u64);
            paged.extend(found.page.items.iter().map(|row| row.event.seq));
            after = found.page.next;
            if after.is_none() {
                break;
            }
        }
        assert_eq!(paged, all);
        assert!(all.len() >= 5, "{}", all.len());
    }
}

/// In the order that is asked for; an event without deliveries, and one that is not there, has none.
pub async fn deliveries_of_events_are_counted_by_state<H: Harness>(w: &mut World<H>) {
    let routes: Vec<Route> = (0..4).map(|_| w.make.route()).collect();
    let event = w.make.claimed_event_for(&routes);
    let ids: Vec<DeliveryId> = event.deliveries.iter().map(|delivery| delivery.id).collect();
    let many = w.publish_one(event).await;
    let bare = w.make.event(0);
    let bare = w.publish_one(bare).await;
    w.make.advance_secs(1);
    w.succeed(ids[0]).await;
    w.succeed(ids[1]).await;
    w.fail(ids[2]).await;
    let counts = w.store().event_counts(vec![bare, many, EventSeq(1_000_000), many]).await.expect("event_counts");
    let mut expected = [0; 7];
    expected[StateKind::Pending as usize] = 1;
    expected[StateKind::Succeeded as usize] = 2;
    expected[StateKind::Failed as usize] = 1;
    assert_eq!(counts, [[0; 7], expected, [0; 7], expected]);
}

/// The numbers of events come as the events do, from any place on and with any of them left out; one event comes by its id, to who may see it.
pub async fn numbers_are_those_of_the_list<H: Harness>(w: &mut World<H>) {
    for n in 0..40u32 {
        w.make.advance_secs((n % 7 == 0).into());
        let namespace = if n % 5 == 0 { other() } else { Namespace::default_namespace() };
        let schema_check = if n % 4 == 0 { SchemaCheck::Failed } else { SchemaCheck::Passed };
        let event = NewEvent { labels: labels(&[("half", &(n % 2).to_string())]), namespace, schema_check, ..w.make.event(0) };
        w.publish_one(event).await;
    }
    let middle = w.make.now().before(Duration::from_secs(3));
    for filter in [
        with(&[]),
        with(&[("half", "1")]),
        EventFilter { schema_valid: Some(false), ..with(&[]) },
        EventFilter { namespace: Some(other()), ..with(&[]) },
        EventFilter { created_from: Some(middle), ..with(&[]) },
        EventFilter { event_type: Some("none".to_owned()), ..with(&[]) },
    ] {
        let all = listed(w, filter.clone()).await;
        for (skip, limit) in [(0, 100), (0, 3), (2, 3), (5, 100), (1_000, 3), (0, 0)] {
            let window = Window { after: None, skip, limit };
            let found = w.store().event_numbers(filter.clone(), window).await.expect("event_numbers");
            let expected: Vec<_> = all.iter().copied().skip(skip as usize).take(limit as usize).collect();
            assert_eq!((found.page.items, found.total), (expected, all.len() as u64), "{filter:?} {window:?}");
            let more = limit > 0 && all.len() > (skip + limit) as usize;
            assert_eq!(found.page.next.is_some(), more, "{filter:?} {window:?}");
            if let Some(place) = found.page.next {
                let window = Window { after: Some(place), ..Window::first(100) };
                let rest = w.store().event_numbers(filter.clone(), window).await.expect("event_numbers");
                assert_eq!(rest.page.items, all[(skip + limit) as usize..]);
            }
        }
    }
    let event = NewEvent { namespace: other(), ..w.make.event(0) };
    let id = event.id;
    let seq = w.publish_one(event).await;
    let by_id =
        async |w: &World<H>, id, namespace| w.store().event_by_id(id, namespace).await.expect("event_by_id").map(|row| row.event.seq);
    assert_eq!((by_id(w, id, None).await, by_id(w, id, Some(other())).await), (Some(seq), Some(seq)));
    assert_eq!(by_id(w, id, Some(Namespace::default_namespace())).await, None);
    let unknown = EventId::new(w.make.uuid());
    assert_eq!(by_id(w, unknown, None).await, None);
}
