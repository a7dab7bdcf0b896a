//! Engines that begin and end.

use super::*;

/// It has a row, and nobody knows when it will be ready.
#[test]
fn an_engine_that_begins_has_nothing_until_it_asks() {
    run(async {
        let hand = hand();
        let _first = start(&hand).await;
        let late = hand.store.new_incarnation();
        pass(3 * SECOND).await;
        assert_eq!(hand.store.slots_of(hand.engine(0)), SlotSet::ALL);
        late.survey(SlotSet::default()).await.expect("the model never fails");
        pass(2 * SECOND).await;
        assert_ne!(hand.store.slots_of(hand.engine(0)), SlotSet::ALL);
    });
}

#[test]
fn what_a_dead_engine_has_left_holds_up_nobody_who_begins() {
    run(async {
        let hand = hand();
        subscribe(&hand, 1, |to| to).await;
        let dead = start(&hand).await;
        *hand.acts.lock() = 0;
        publish(&dead, 1, 3).await;
        hand.store.end(hand.engine(0));
        *hand.acts.lock() = usize::MAX;
        hand.hold(Some("rescue"));
        let engine = tokio::time::timeout(SECOND, start(&hand)).await.expect("it begins");
        publish(&engine, 1, 1).await;
        pass(100 * MILLIS).await;
        assert_eq!(hand.requests(), 1);
        hand.hold(None);
        pass(100 * MILLIS).await;
        assert_eq!((hand.requests(), hand.store.dump().claims.len()), (4, 0));
    });
}

/// Whoever has the endpoint next looked for what waits before that was there.
#[test]
fn what_an_engine_leaves_at_the_very_end_is_gone_on_with_at_once() {
    // Wherever in its second the other one is.
    for within in [130_u32, 510, 777] {
        run(async {
            let hand = hand();
            let [one, _] = shares().await;
            let [n, other] = [0, 1].map(|nth| numbers_in(one).nth(nth).expect("there are many"));
            for n in [n, other] {
                subscribe(&hand, n, |to| to).await;
            }
            let (first, _second) = two(&hand).await;
            *hand.takes.lock() = 60 * SECOND;
            publish(&first, n, 1).await;
            pass(10 * MILLIS).await;
            // This one has to be tried again, and is told of a moment before: what comes then would wait for company.
            (*hand.takes.lock(), *hand.status.lock()) = (within * MILLIS, 500);
            publish(&first, other, 1).await;
            pass(MILLIS).await;
            (*hand.takes.lock(), *hand.status.lock()) = (MILLIS, 200);
            let report = first.shutdown(within * MILLIS).await;
            assert_eq!(report.cut_off, 1);
            let ended = hand.now();
            pass(2 * SECOND).await;
            let all = got(&hand, n);
            assert_eq!(by(&hand, &all), [1, 1]);
            let waited = all[1].began.since(ended);
            assert!(waited < 50 * MILLIS, "{waited:?} where it had {within} ms to end");
        });
    }
}

/// One look of a second reaches all endpoints, as long as there are not very many.
#[test]
fn of_many_endpoints_that_nobody_told_of_all_are_found_within_a_second() {
    run(async {
        const MANY: u128 = 1_000;
        let hand = hand();
        for n in 1..=MANY {
            subscribe(&hand, n, |to| to).await;
        }
        let (first, _second) = two(&hand).await;
        hand.store.lose_news(true);
        for n in 1..=MANY {
            publish(&first, n, 1).await;
        }
        pass(SECOND + 100 * MILLIS).await;
        let [a, b] = by(&hand, &hand.exchanges.lock());
        assert!(b > 300 && a + b == 1_000, "{a} and {b}");
    });
}

#[test]
fn however_often_others_say_that_there_is_more_it_is_looked_once_a_second() {
    run(async {
        let hand = hand();
        let _engine = start(&hand).await;
        let other = hand.store.new_incarnation();
        pass(2 * SECOND).await;
        let before = hand.verbs("backlog_after");
        for _ in 0..1_000 {
            other.tell(vec![News::Backlog]).await.expect("the model never fails");
            pass(5 * MILLIS).await;
        }
        let looks = hand.verbs("backlog_after") - before;
        assert!((3..=12).contains(&looks), "{looks}");
    });
}
