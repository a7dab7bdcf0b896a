//! A plan in which several engines share the store.

use super::generate::{Flavour, drawn, last_life};
use super::parts::{draw, percent, seconds};
use super::{Cluster, Ending, Latency, Plan, Seat, Stay};
use postrider_core::id::IdGen;
use postrider_core::limit::RateLimit;
use postrider_core::retry::{RetryPolicy, Schedule};
use std::time::Duration;

impl Plan {
    /// The plan of a seed with two or three engines. Everything is short: each of them looks at much every second, until all rests.
    pub(crate) fn together(seed: u64) -> Plan {
        let mut rng = fastrand::Rng::with_seed(seed ^ 0x7065_6572_7365_6e67);
        let rng = &mut rng;
        let flavour = Flavour {
            crashes: percent(rng, 75),
            store: percent(rng, 60),
            network: percent(rng, 70),
            people: percent(rng, 70),
            isolation: false,
        };
        let mut ids = IdGen::new(rng.u64(..));
        let count = rng.usize(2..=20);
        let mut plan = drawn(seed, rng, &mut ids, flavour, count, |rng, flavour| vec![last_life(rng, flavour)]);
        plan.traffic.bursts = rng.usize(4..=12);
        // Never two at the same moment through different engines: which of them stored an event is told by when it was.
        plan.traffic.pause = Latency { from: 1, to: draw(rng, &[1_000, 4_000, 8_000]) };
        let endpoints = plan.endpoints.iter_mut();
        endpoints.for_each(|endpoint| (endpoint.rate_limit, endpoint.concurrency) = limits(rng));
        let lengthy = plan.subscriptions.iter_mut().filter(|subscription| subscription.retry == RetryPolicy::tasks());
        lengthy.for_each(|subscription| subscription.retry = retry());
        let seats = rng.usize(2..=3);
        let seats = (0..seats).map(|_| seat(rng, flavour)).collect();
        plan.cluster = Some(Cluster { seats, lost_news: draw(rng, &[0, 0, 10, 100]) });
        plan
    }
}

/// Most endpoints have some, so that there is something to be kept by whoever has them next.
fn limits(rng: &mut fastrand::Rng) -> (Option<RateLimit>, Option<u32>) {
    let rate_limit = RateLimit { interval: Duration::from_millis(rng.u64(50..2_000)), burst: rng.u32(1..5) };
    (percent(rng, 45).then_some(rate_limit), percent(rng, 45).then(|| rng.u32(1..4)))
}

/// In place of the policy that goes on for hours.
fn retry() -> RetryPolicy {
    let schedule = Schedule::Exponential { base: Duration::from_secs(1), cap: Duration::from_secs(20) };
    RetryPolicy { max_attempts: 6, schedule, jitter_percent: 10 }
}

/// Its processes have ended, and the last one is there, well before the end of the unrest: two stays of less than 25 s each.
fn seat(rng: &mut fastrand::Rng, flavour: Flavour) -> Seat {
    let stays = rng.usize(0..=2);
    Seat { after: seconds(rng, 0, 4), stays: (0..stays).map(|_| stay(rng, flavour)).collect() }
}

fn stay(rng: &mut fastrand::Rng, flavour: Flavour) -> Stay {
    let end = match rng.u8(..10) {
        0 | 1 if flavour.crashes => Ending::Crash,
        // Early steps are more interesting: it dies while it takes its first slots.
        2 | 3 if flavour.crashes => Ending::CrashAtStep(1 << rng.u32(1..12) | rng.u64(..1_024) >> rng.u32(..10)),
        4 | 5 if flavour.crashes => Ending::Away(seconds(rng, 1, 8)),
        _ => Ending::Stop(Duration::from_millis(draw(rng, &[0, 100, 1_000, 5_000]))),
    };
    Stay { length: seconds(rng, 1, 10), end, pause: seconds(rng, 0, 4) }
}
