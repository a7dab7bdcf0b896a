//! The parts of a plan, each drawn from the seed.

use super::{Latency, Manner, Mood, Receiver, Trouble};
use crate::life::key_ring;
use postrider_core::auth::Auth;
use postrider_core::endpoint::{Endpoint, EndpointStatus, HttpOptions};
use postrider_core::event::Namespace;
use postrider_core::filter::{LabelFilter, TypePattern};
use postrider_core::id::{EndpointId, IdGen, SubscriptionId};
use postrider_core::limit::RateLimit;
use postrider_core::ports::{FaultKind, StoreErrorKind};
use postrider_core::retry::{RetryPolicy, Schedule};
use postrider_core::subscription::{BodyForm, Origin, RequestForm, Subscription};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Types of events that are published.
const TYPES: [&str; 4] = ["order.created", "order.paid", "user.made", ""];

/// Values of the label `tier`.
const TIERS: [&str; 2] = ["gold", "silver"];

/// One of several, evenly.
pub(crate) fn draw<T: Copy>(rng: &mut fastrand::Rng, from: &[T]) -> T {
    from[rng.usize(..from.len())]
}

/// The type and the labels of an event.
pub(crate) fn parts_of_events(rng: &mut fastrand::Rng) -> (Arc<str>, BTreeMap<String, String>) {
    let tier = ("tier".to_owned(), draw(rng, &TIERS).to_owned());
    (draw(rng, &TYPES).into(), BTreeMap::from([tier]))
}

pub(super) fn percent(rng: &mut fastrand::Rng, of: u8) -> bool {
    rng.u8(..100) < of
}

pub(super) fn seconds(rng: &mut fastrand::Rng, from: u64, to: u64) -> Duration {
    Duration::from_millis(rng.u64(from * 1_000..=to * 1_000))
}

/// An endpoint of receiver `number`.
pub(super) fn endpoint(rng: &mut fastrand::Rng, ids: &mut IdGen, number: usize, namespace: Namespace, now: Timestamp) -> Endpoint {
    let limited = percent(rng, 20);
    let slow = percent(rng, 10);
    let interval = if slow { seconds(rng, 5, 40) } else { Duration::from_millis(rng.u64(20..1_000)) };
    let rate_limit = limited.then(|| RateLimit { interval, burst: rng.u32(1..6) });
    let timeout = Duration::from_millis(rng.u64(1_000..10_000));
    Endpoint {
        id: EndpointId::new(ids.next(now)),
        namespace,
        url: format!("https://r{number}.test/hook"),
        headers: Vec::new(),
        // With one, every request says to which delivery it belongs, whatever API its subscription is of.
        secrets: vec![key_ring().seal(b"of the simulation", &mut |bytes| bytes.fill(7))],
        schemes: Vec::new(),
        http: HttpOptions { timeout, connect_timeout: timeout / 2, ..HttpOptions::tasks() },
        rate_limit,
        name: String::new(),
        secret_headers: Vec::new(),
        auth: Auth::None,
        old_secrets_until: None,
        payload_cap: None,
        concurrency: percent(rng, 25).then(|| rng.u32(1..5)),
        status: EndpointStatus::Active,
        created_at: now,
        updated_at: now,
        deleted: None,
    }
}

/// A subscription to an endpoint.
pub(crate) fn subscription(rng: &mut fastrand::Rng, id: SubscriptionId, endpoint: &Endpoint, now: Timestamp) -> Subscription {
    let patterns: &[&[&str]] = &[&[], &["*"], &["order.*"], &["order.paid", "user.made"]];
    let patterns = draw(rng, patterns).iter().map(|text| TypePattern::parse(text).expect("written above and right"));
    let tier = percent(rng, 20).then(|| ("tier".to_owned(), draw(rng, &TIERS).to_owned()));
    Subscription {
        id,
        namespace: endpoint.namespace.clone(),
        endpoint: endpoint.id,
        origin: draw(rng, &[Origin::Tasks, Origin::Items, Origin::Rpc]),
        patterns: patterns.collect(),
        labels: LabelFilter(BTreeMap::from_iter(tier)),
        body: BodyForm::Raw,
        name: String::new(),
        active: true,
        matches: None,
        request: RequestForm::default(),
        timeout: None,
        rate_limit: None,
        retry: retry(rng),
        created_at: now,
        updated_at: now,
        deleted_at: None,
    }
}

fn retry(rng: &mut fastrand::Rng) -> RetryPolicy {
    let schedule = match rng.u8(..10) {
        0 => return RetryPolicy::tasks(),
        1 => Schedule::List(Vec::new()),
        2..=5 => Schedule::List((0..3).map(|_| seconds(rng, 0, 10)).collect()),
        _ => Schedule::Exponential { base: seconds(rng, 1, 5), cap: seconds(rng, 5, 60) },
    };
    RetryPolicy { max_attempts: rng.u32(1..7), schedule, jitter_percent: draw(rng, &[0, 10, 50]) }
}

/// A receiver that is well, apart from its moods.
pub(super) fn receiver(rng: &mut fastrand::Rng, moody: bool, horizon: Duration) -> Receiver {
    let from = rng.u64(0..20);
    let mut moods = Vec::new();
    if moody && percent(rng, 60) {
        for _ in 0..rng.usize(1..4) {
            let from = horizon.mul_f64(rng.f64());
            moods.push(Mood { from, to: from + seconds(rng, 1, 60), manner: manner(rng), percent: draw(rng, &[100, 100, 50, 10]) });
        }
    }
    let broken = (moody && percent(rng, 8)).then(|| draw(rng, &[Manner::Answers(500, None), Manner::Answers(404, None)]));
    Receiver { latency: Latency { from, to: from + rng.u64(0..40) }, moods, broken }
}

fn manner(rng: &mut fastrand::Rng) -> Manner {
    let wait = Some(Duration::from_secs(rng.u64(1..30)));
    match rng.u8(..14) {
        0 => Manner::Answers(410, None),
        1 => Manner::Answers(429, wait),
        2 => Manner::Answers(429, None),
        3 => Manner::Answers(503, wait),
        4 => Manner::Answers(draw(rng, &[400, 401, 404, 408, 301, 100]), None),
        5 | 6 => Manner::Answers(draw(rng, &[500, 502]), None),
        7 => Manner::Unreachable(draw(
            rng,
            &[FaultKind::Refused, FaultKind::Dns, FaultKind::Unreachable, FaultKind::Tls, FaultKind::Protocol, FaultKind::Blocked],
        )),
        8 => Manner::Unreachable(FaultKind::Refused),
        9 => Manner::Breaks { received: rng.bool() },
        10 | 11 => Manner::Hangs { received: rng.bool() },
        _ => Manner::Slow(seconds(rng, 0, 4)),
    }
}

/// How long a trouble of the store may last.
pub(super) const LONGEST_TROUBLE: Duration = Duration::from_secs(15);

/// The store has trouble at some time of a life.
pub(super) fn trouble(rng: &mut fastrand::Rng, within: Duration) -> Trouble {
    let from = within.mul_f64(rng.f64());
    let slow = rng.u64(0..300);
    Trouble {
        from,
        to: from + Duration::from_millis(rng.u64(0..=LONGEST_TROUBLE.as_millis() as u64)),
        writes: draw(rng, &[100, 100, 50, 10, 0]),
        reads: draw(rng, &[100, 30, 0, 0]),
        latency: Latency { from: slow, to: slow + rng.u64(0..1_500) },
        kind: draw(rng, &[StoreErrorKind::Full, StoreErrorKind::Unavailable, StoreErrorKind::ReadOnly, StoreErrorKind::Internal]),
    }
}
