//! Numbers over time, and what is late.

use super::fixtures::START;
use super::{Harness, World};
use postrider_core::event::Namespace;
use postrider_core::id::EndpointId;
use postrider_core::ports::*;
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

/// More than any of the cases have.
const MANY: u32 = 1_000;

fn named(name: &str) -> Option<Namespace> {
    Some(Namespace::new(name).expect("a name by the rule"))
}

/// So many events, and something of everything else.
fn numbers(events: u64) -> Numbers {
    let mut numbers = Numbers {
        events,
        deliveries: events * 3,
        attempts_succeeded: events * 2,
        attempts_failed: events + 1,
        given_up: events / 2,
        ..Numbers::default()
    };
    for n in 0..events % 50 {
        numbers.delivered_after.record(events * 1_000 + n * n * 700);
        numbers.answered_in.record(n * 90_000);
    }
    numbers
}

fn delta(namespace: Option<Namespace>, at: Timestamp, events: u64) -> SeriesDelta {
    SeriesDelta { namespace, at, numbers: numbers(events) }
}

fn sum(of: &[u64]) -> Numbers {
    let mut sum = Numbers::default();
    of.iter().for_each(|events| sum.add(&numbers(*events)));
    sum
}

async fn add<H: Harness>(w: &World<H>, deltas: Vec<SeriesDelta>) {
    w.store().add_series(deltas).await.expect("add_series");
}

async fn all<H: Harness>(w: &World<H>, namespace: Option<Namespace>, step: Step) -> Vec<(Timestamp, Numbers)> {
    w.store().series(namespace, step, Timestamp::MIN, Timestamp::MAX).await.expect("series")
}

fn secs(secs: u64) -> Timestamp {
    START.after(Duration::from_secs(secs))
}

/// What was added to a step before is not lost, and each step has what those within it have.
pub async fn numbers_add_up_in_every_step<H: Harness>(w: &mut World<H>) {
    assert!(all(w, None, Step::Hour).await.is_empty());
    add(w, Vec::new()).await;
    for (at, events) in [(0, 3), (9, 4), (10, 5), (125, 49), (3_600, 7), (5, 11)] {
        add(w, vec![delta(named("acme"), secs(at), events)]).await;
    }
    let tens = [(0, sum(&[3, 4, 11])), (10, sum(&[5])), (120, sum(&[49])), (3_600, sum(&[7]))];
    let minutes = [(0, sum(&[3, 4, 11, 5])), (120, sum(&[49])), (3_600, sum(&[7]))];
    let hours = [(0, sum(&[3, 4, 11, 5, 49])), (3_600, sum(&[7]))];
    for (step, expected) in [(Step::TenSeconds, tens.to_vec()), (Step::TwoMinutes, minutes.to_vec()), (Step::Hour, hours.to_vec())] {
        let expected: Vec<_> = expected.into_iter().map(|(at, sum)| (secs(at), sum)).collect();
        assert_eq!(all(w, named("acme"), step).await, expected, "{step:?}");
        assert_eq!(all(w, None, step).await, expected, "{step:?} of everything");
    }
}

/// Many in one call, in no order, several of them of one step and namespace.
pub async fn deltas_of_a_call_add_up_like_plain_sums<H: Harness>(w: &mut World<H>) {
    let mut expected: BTreeMap<(Step, Option<Namespace>, Timestamp), Numbers> = BTreeMap::new();
    let mut state = 12_345_u64;
    let mut random = |below: u64| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) % below
    };
    for _ in 0..5 {
        let mut deltas = Vec::new();
        for _ in 0..60 {
            let of = random(5);
            let namespace = if of == 0 { None } else { named(&format!("n{of}")) };
            deltas.push(delta(namespace, secs(random(400)), random(90)));
        }
        for SeriesDelta { namespace, at, numbers } in &deltas {
            for step in Step::ALL {
                expected.entry((step, None, step.begin(*at))).or_default().add(numbers);
                if namespace.is_some() {
                    expected.entry((step, namespace.clone(), step.begin(*at))).or_default().add(numbers);
                }
            }
        }
        add(w, deltas).await;
    }
    for step in Step::ALL {
        for of in 0..5 {
            let namespace = if of == 0 { None } else { named(&format!("n{of}")) };
            let wanted = expected.iter().filter(|((of_step, of, _), _)| *of_step == step && *of == namespace);
            let wanted: Vec<_> = wanted.map(|((.., at), numbers)| (*at, numbers.clone())).collect();
            assert!(!wanted.is_empty());
            assert_eq!(all(w, namespace, step).await, wanted);
        }
    }
}

/// What nobody can tell apart counts for everything all the same.
pub async fn namespaces_are_apart_and_together<H: Harness>(w: &mut World<H>) {
    let deltas = vec![delta(named("a"), secs(1), 20), delta(named("b"), secs(2), 30), delta(None, secs(3), 40)];
    add(w, deltas).await;
    for step in Step::ALL {
        let of = async |namespace| all(w, namespace, step).await;
        assert_eq!(of(named("a")).await, [(secs(0), numbers(20))]);
        assert_eq!(of(named("b")).await, [(secs(0), numbers(30))]);
        assert!(of(named("c")).await.is_empty());
        assert_eq!(of(None).await, [(secs(0), sum(&[20, 30, 40]))]);
    }
}

/// Also where there is more on both sides.
pub async fn only_what_is_asked_for_comes_in_its_order<H: Harness>(w: &mut World<H>) {
    for at in [50, 10, 30, 0, 40, 20] {
        add(w, vec![delta(named("a"), secs(at), at + 1)]).await;
    }
    let ask = async |from, before| {
        let found = w.store().series(named("a"), Step::TenSeconds, from, before).await.expect("series");
        found.into_iter().map(|(at, numbers)| (at.since(START).as_secs(), numbers.events)).collect::<Vec<_>>()
    };
    assert_eq!(ask(secs(10), secs(40)).await, [(10, 11), (20, 21), (30, 31)]);
    assert_eq!(ask(secs(11), secs(41)).await, [(20, 21), (30, 31), (40, 41)]);
    assert!(ask(secs(10), secs(10)).await.is_empty() && ask(secs(40), secs(10)).await.is_empty());
}

/// The engine after it goes on with the same numbers.
pub async fn outlives_a_restart<H: Harness>(w: &mut World<H>) {
    add(w, vec![delta(named("a"), secs(3), 20)]).await;
    w.reopen().await;
    assert_eq!(all(w, named("a"), Step::TenSeconds).await, [(secs(0), numbers(20))]);
    add(w, vec![delta(named("a"), secs(4), 30), delta(named("a"), secs(14), 9)]).await;
    for of in [named("a"), None] {
        assert_eq!(all(w, of.clone(), Step::TenSeconds).await, [(secs(0), sum(&[20, 30])), (secs(10), numbers(9))]);
        assert_eq!(all(w, of, Step::Hour).await, [(secs(0), sum(&[20, 30, 9]))]);
    }
}

/// Each step for as long as it is kept, and a chart of its longest range has all it wants.
pub async fn old_steps_are_forgotten_in_slices<H: Harness>(w: &mut World<H>) {
    for at in (0..100).step_by(10) {
        add(w, vec![delta(named("a"), secs(at), 2)]).await;
    }
    let forget = async |now, limit| w.store().forget_series(now, limit).await.expect("forget_series");
    let kept = Step::TenSeconds.kept();
    assert_eq!(forget(secs(0).after(kept).before(Duration::from_micros(1)), MANY).await, 0);
    assert_eq!(forget(secs(0).after(kept), MANY).await, 2, "of the namespace and of everything");
    let first = all(w, named("a"), Step::TenSeconds).await.first().map(|(at, _)| *at);
    assert_eq!(first, Some(secs(10)));
    let at = secs(90).after(kept);
    assert_eq!([forget(at, 5).await, forget(at, 5).await, forget(at, 5).await, forget(at, 5).await], [5, 5, 5, 3]);
    assert_eq!((all(w, None, Step::TenSeconds).await, all(w, None, Step::TwoMinutes).await.len()), (Vec::new(), 1));
    assert_eq!(forget(secs(0).after(Step::TwoMinutes.kept()), MANY).await, 2);
    assert_eq!((all(w, None, Step::TwoMinutes).await, all(w, None, Step::Hour).await.len()), (Vec::new(), 1));
    assert_eq!(forget(secs(0).after(Step::Hour.kept()), MANY).await, 2);
    assert!(all(w, named("a"), Step::Hour).await.is_empty());
}

fn late<H: Harness>(w: &mut World<H>, namespace: &str, at: u64) -> Late {
    Late { namespace: Namespace::new(namespace).expect("a name by the rule"), endpoint: EndpointId::new(w.make.uuid()), due_at: secs(at) }
}

async fn most_late<H: Harness>(w: &World<H>, namespace: Option<Namespace>) -> Option<Late> {
    w.store().most_late(namespace).await.expect("most_late")
}

/// The longest ago comes first, whatever was noted before.
pub async fn what_is_late_is_what_was_noted_last<H: Harness>(w: &mut World<H>) {
    let [a, b, worse_of_b] = [("a", 30), ("b", 20), ("b", 10)].map(|(namespace, at)| late(w, namespace, at));
    assert_eq!(most_late(w, None).await, None);
    let note = async |late| w.store().note_late(late).await.expect("note_late");
    note(vec![a.clone(), b.clone()]).await;
    assert_eq!((most_late(w, None).await, most_late(w, named("a")).await), (Some(b.clone()), Some(a.clone())));
    assert_eq!(most_late(w, named("c")).await, None);
    note(vec![b, a.clone(), worse_of_b.clone()]).await;
    assert_eq!((most_late(w, None).await, most_late(w, named("b")).await), (Some(worse_of_b.clone()), Some(worse_of_b)));
    note(vec![a.clone()]).await;
    assert_eq!((most_late(w, None).await, most_late(w, named("b")).await), (Some(a), None));
    note(Vec::new()).await;
    assert_eq!(most_late(w, None).await, None);
}

/// The engine after it has looked at nothing yet.
pub async fn what_was_late_is_forgotten_with_its_engine<H: Harness>(w: &mut World<H>) {
    let [before, after] = [10, 20].map(|at| late(w, "a", at));
    w.store().note_late(vec![before]).await.expect("note_late");
    w.reopen().await;
    assert_eq!((most_late(w, None).await, most_late(w, named("a")).await), (None, None));
    w.store().note_late(vec![after.clone()]).await.expect("note_late");
    assert_eq!(most_late(w, None).await, Some(after));
    w.store().forget_series(START, MANY).await.expect("forget_series");
    w.store().note_late(Vec::new()).await.expect("note_late");
    assert_eq!(most_late(w, None).await, None);
}
