//! A plan out of a seed.

use super::parts::{self, draw, percent, seconds};
use super::{End, Latency, Life, Manner, Mood, Plan, Traffic, Trouble};
use crate::world::{BEGINNING, UNREST};
use postrider_core::event::Namespace;
use postrider_core::id::{IdGen, SubscriptionId};
use postrider_engine::{Limits, Retention};
use std::time::Duration;

/// What a seed is about. Most seeds mix everything; some leave things out, so that the stricter checks apply.
#[derive(Clone, Copy, Debug)]
pub(super) struct Flavour {
    pub(super) crashes: bool,
    pub(super) store: bool,
    pub(super) network: bool,
    pub(super) people: bool,
    pub(super) isolation: bool,
}

impl Flavour {
    fn draw(rng: &mut fastrand::Rng) -> Self {
        let isolation = percent(rng, 12);
        let calm = isolation || percent(rng, 10);
        Flavour {
            crashes: !calm && percent(rng, 75),
            store: !calm && percent(rng, 60),
            network: !calm && percent(rng, 80),
            people: !calm && percent(rng, 70),
            isolation,
        }
    }
}

impl Plan {
    /// The plan of a seed.
    pub(crate) fn of(seed: u64) -> Plan {
        let mut rng = fastrand::Rng::with_seed(seed);
        let rng = &mut rng;
        let flavour = Flavour::draw(rng);
        let mut ids = IdGen::new(rng.u64(..));
        let count = draw(rng, &[1, 2, 5, 12, 40]);
        let count = if flavour.isolation { 8 } else { rng.usize(1..=count) };
        let mut plan = drawn(seed, rng, &mut ids, flavour, count, lives);
        if flavour.isolation {
            isolate(rng, &mut plan);
        }
        plan
    }
}

/// A plan with so many endpoints.
pub(super) fn drawn(
    seed: u64,
    rng: &mut fastrand::Rng,
    ids: &mut IdGen,
    flavour: Flavour,
    count: usize,
    lives: fn(&mut fastrand::Rng, Flavour) -> Vec<Life>,
) -> Plan {
    let limits = limits(rng, flavour, count);
    let lives = lives(rng, flavour);
    let horizon = Duration::from_secs(40 * lives.len() as u64);
    let namespaces = ["default", "other"].map(|n| Namespace::new(n).expect("a right name"));
    let mut plan = Plan {
        seed,
        limits,
        retention: retention(rng, flavour),
        endpoints: Vec::new(),
        subscriptions: Vec::new(),
        receivers: Vec::new(),
        store_latency: store_latency(rng, flavour),
        traffic: traffic(rng, flavour, count),
        lives,
        healthy: None,
        cluster: None,
    };
    for number in 0..count {
        let namespace = namespaces[usize::from(percent(rng, 20))].clone();
        let endpoint = parts::endpoint(rng, ids, number, namespace, BEGINNING);
        for _ in 0..draw(rng, &[1, 1, 1, 2, 4]) {
            let id = SubscriptionId::new(ids.next(BEGINNING));
            plan.subscriptions.push(parts::subscription(rng, id, &endpoint, BEGINNING));
        }
        plan.endpoints.push(endpoint);
        plan.receivers.push(parts::receiver(rng, flavour.network, horizon));
    }
    plan
}

/// Some receivers hang for ever or fail, the others are well and have no limits of their own.
fn isolate(rng: &mut fastrand::Rng, plan: &mut Plan) {
    let sick = rng.usize(1..=4);
    for (number, receiver) in plan.receivers.iter_mut().enumerate() {
        let endpoint = &mut plan.endpoints[number];
        endpoint.rate_limit = None;
        endpoint.concurrency = None;
        endpoint.http.timeout = Duration::from_secs(rng.u64(10..30));
        if number < sick {
            let manners = [Manner::Hangs { received: false }, Manner::Answers(500, None)];
            receiver.moods =
                vec![Mood { from: Duration::ZERO, to: Duration::from_secs(1_000_000), manner: draw(rng, &manners), percent: 100 }];
        }
    }
    plan.healthy = Some((sick..plan.receivers.len()).collect());
}

/// Small bounds, so that they are met.
fn limits(rng: &mut fastrand::Rng, flavour: Flavour, endpoints: usize) -> Limits {
    let held = rng.usize(8..=200);
    // Enough places for every sick endpoint's first window, so that nobody ever waits for a deadline.
    let exchanges = if flavour.isolation { 8 * endpoints } else { rng.usize(2..=64) };
    Limits {
        exchanges,
        exchanges_per_endpoint: rng.u32(1..=32),
        held,
        held_bytes: draw(rng, &[20_000, 200_000, 64 << 20]),
        held_per_endpoint: rng.usize(2..=50),
        unsettled: rng.usize(4..=128),
        publishing: draw(rng, &[8, 64, 16_384]),
        publishing_bytes: draw(rng, &[20_000, 64 << 20]),
        fan_out_slice: rng.usize(2..=10),
        near: seconds(rng, 1, 60),
        record_after: Duration::from_millis(draw(rng, &[1, 10, 50, 500])),
        ..Limits::default()
    }
}

fn retention(rng: &mut fastrand::Rng, flavour: Flavour) -> Retention {
    if flavour.isolation || percent(rng, 50) {
        return Retention::default();
    }
    let attempts = seconds(rng, 20, 200);
    Retention {
        attempts,
        rows: percent(rng, 70).then(|| seconds(rng, 20, 300)),
        bodies: attempts / 2,
        events: seconds(rng, 30, 300),
        closed: seconds(rng, 30, 300),
        parked: seconds(rng, 20, 200),
        every: seconds(rng, 5, 60),
    }
}

fn store_latency(rng: &mut fastrand::Rng, flavour: Flavour) -> Latency {
    let slowest = if flavour.isolation { 2 } else { draw(rng, &[0, 1, 5, 100]) };
    Latency { from: slowest / 4, to: slowest }
}

fn traffic(rng: &mut fastrand::Rng, flavour: Flavour, endpoints: usize) -> Traffic {
    // Many endpoints make many deliveries of each event.
    let events = (600 / endpoints).clamp(10, 80);
    let publishers = rng.usize(1..=6);
    let bursts = rng.usize(1..=8);
    let pause = draw(rng, &[100, 1_000, 5_000]);
    let people = |n: usize| if flavour.people { n } else { 0 };
    Traffic {
        publishers,
        bursts,
        burst: (events / publishers / bursts).max(1),
        pause: Latency { from: 0, to: pause },
        payload: draw(rng, &[10, 500, 8_000]),
        keyed: draw(rng, &[0, 30, 80]),
        mortal: if flavour.isolation { 0 } else { draw(rng, &[0, 10, 30]) },
        addressed: draw(rng, &[0, 15]),
        impatient: if flavour.isolation { 0 } else { draw(rng, &[0, 10, 40]) },
        edits: people(rng.usize(0..12)),
        repairs: people(rng.usize(0..20)),
        bookings: people(rng.usize(0..6)),
    }
}

fn lives(rng: &mut fastrand::Rng, flavour: Flavour) -> Vec<Life> {
    let before = if flavour.isolation { 0 } else { rng.usize(1..=4) };
    let mut lives: Vec<Life> = (0..before).map(|_| life(rng, flavour)).collect();
    lives.push(last_life(rng, flavour));
    lives
}

/// The life in which all faults are over after a while, and what they left must come to rest.
pub(super) fn last_life(rng: &mut fastrand::Rng, flavour: Flavour) -> Life {
    let troubles = if flavour.store { rng.usize(0..4) } else { 0 };
    let start = Duration::from_secs(10);
    let trouble = |_| parts::trouble(rng, UNREST - start - parts::LONGEST_TROUBLE);
    // Not at once: an engine that cannot start is another story, told by the lives before.
    let late = |t: Trouble| Trouble { from: t.from + start, to: t.to + start, ..t };
    let troubles = (0..troubles).map(trouble).map(late).collect();
    Life { end: End::Rest, downtime: Duration::ZERO, set_back: Duration::ZERO, troubles }
}

fn life(rng: &mut fastrand::Rng, flavour: Flavour) -> Life {
    let length = seconds(rng, 1, 60);
    let end = match rng.u8(..10) {
        // Early steps are more interesting: the process dies while it recovers.
        0..=5 if flavour.crashes => End::CrashAtStep(1 << rng.u32(1..13) | rng.u64(..1_024) >> rng.u32(..10), length),
        6 | 7 if flavour.crashes => End::CrashAfter(length),
        _ => End::Shutdown(length, Duration::from_millis(draw(rng, &[0, 100, 5_000, 30_000]))),
    };
    let downtime = match rng.u8(..10) {
        0 => seconds(rng, 3_600, 200_000),
        1 | 2 => seconds(rng, 10, 600),
        _ => seconds(rng, 0, 3),
    };
    let troubles = if flavour.store { rng.usize(0..4) } else { 0 };
    let set_back = if percent(rng, 8) { seconds(rng, 0, 30) } else { Duration::ZERO };
    Life { end, downtime, set_back, troubles: (0..troubles).map(|_| parts::trouble(rng, length)).collect() }
}
