//! Which of the newest events a subscription would have got.

use crate::harness::{Hand, event, run, subscription};
use bytes::Bytes;
use postrider_core::event::Namespace;
use postrider_core::filter::{Match, TypePattern};
use postrider_core::ports::StoreErrorKind;
use postrider_core::subscription::Subscription;
use postrider_engine::{Engine, Limits, Looked, NotLooked, Publish, Retention};
use std::sync::Arc;
use std::time::Duration;

async fn start(hand: &Arc<Hand>, events: usize) -> Engine {
    let engine = hand.start(Limits::default(), Retention::default()).await;
    for n in 0..events {
        let event_type = if n % 4 == 0 { "order.paid" } else { "order.made" };
        engine.publish(Publish { event_type: event_type.into(), ..event(n) }).await.expect("it is stored");
    }
    engine
}

fn to(pattern: &str) -> Subscription {
    Subscription { patterns: vec![TypePattern::parse(pattern).expect("a pattern")], ..subscription() }
}

fn numbers(looked: &Looked) -> (u32, u32, usize, usize) {
    (looked.examined, looked.matched, looked.examples.len(), looked.misses.len())
}

#[test]
fn the_newest_events_are_told_apart() {
    run(async {
        let hand = Hand::new();
        let engine = start(&hand, 1_200).await;
        let inactive = Subscription { active: false, ..to("order.paid") };
        let looked = engine.look_through(&inactive, 10_000).await.expect("a look");
        assert_eq!(numbers(&looked), (1_200, 300, 5, 5), "over several pieces");
        let shown: Vec<&Bytes> = looked.examples.iter().map(|event| &event.payload).collect();
        assert_eq!(shown, ["{\"n\":1196}", "{\"n\":1192}", "{\"n\":1188}", "{\"n\":1184}", "{\"n\":1180}"], "newest first");
        assert_eq!(looked.misses[0].payload, "{\"n\":1199}");
        let few = engine.look_through(&to("order.paid"), 3).await.expect("a look");
        assert_eq!(numbers(&few), (3, 0, 0, 3));
        assert_eq!(few.oldest_at, Some(few.misses[2].created_at));
        let matches = Match::parse("{\"n\":1190.0}").expect("a predicate");
        let one = Subscription { matches, patterns: Vec::new(), ..subscription() };
        assert_eq!(numbers(&engine.look_through(&one, 10_000).await.expect("a look")), (1_200, 1, 1, 5));
        let other = Subscription { namespace: Namespace::new("other").expect("a name"), ..to("*") };
        let nothing = engine.look_through(&other, 10_000).await.expect("a look");
        assert_eq!((numbers(&nothing), nothing.oldest_at), ((0, 0, 0, 0), None), "of its own namespace alone");
    });
}

#[test]
fn payloads_are_read_up_to_a_sum() {
    run(async {
        let hand = Hand::new();
        let engine = hand.start(Limits { payload: 16 << 20, ..Limits::default() }, Retention::default()).await;
        let payload = Bytes::from(vec![b' '; 12 << 20]);
        for n in 0..7 {
            engine.publish(Publish { payload: payload.clone(), ..event(n) }).await.expect("it is stored");
        }
        let looked = engine.look_through(&to("*"), 10_000).await.expect("a look");
        assert_eq!(looked.examined, 6, "with the one that passes 64 MiB");
    });
}

#[test]
fn a_look_ends_in_time_and_others_wait_for_it() {
    run(async {
        let hand = Hand::new();
        let engine = start(&hand, 3).await;
        hand.fail(Some(("page_of_events", StoreErrorKind::Unavailable)));
        assert!(
            matches!(engine.look_through(&to("*"), 10).await, Err(NotLooked::Store(error)) if error.kind == StoreErrorKind::Unavailable)
        );
        hand.fail(None);
        hand.hold(Some("page_of_events"));
        let begun = tokio::time::Instant::now();
        let mut looks = tokio::task::JoinSet::new();
        for _ in 0..4 {
            let engine = engine.clone();
            looks.spawn(async move { engine.look_through(&to("*"), 10).await.map(|looked| looked.examined) });
        }
        let first = looks.join_next().await.expect("one of them").expect("it does not panic");
        assert_eq!((first, begun.elapsed().as_secs()), (Ok(0), 5), "as far as it came");
        let others = looks.join_all().await;
        assert!(others.contains(&Ok(0)) && others.contains(&Err(NotLooked::Busy)), "{others:?}");
        assert!(begun.elapsed() <= Duration::from_secs(16));
        hand.hold(None);
        assert_eq!(engine.look_through(&to("*"), 10).await.map(|looked| looked.examined), Ok(3), "the places are free again");
    });
}
