//! What was set is honoured: rate limits and concurrency of endpoints, the gaps of retry policies, what receivers ask for.

use super::{Whole, together};
use crate::Checker::LimitsAreKept;
use crate::records::{EndOfLife, Exchanged};
use crate::world::World;
use postrider_core::attempt::Verdict;
use postrider_core::delivery::{Delivery, State};
use postrider_core::endpoint::Endpoint;
use postrider_core::id::EndpointId;
use postrider_core::retry::{DEFAULT_FREE_WAIT, RetryPolicy, Schedule};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;

pub(super) fn check(world: &World, whole: &Whole) {
    retries(world, whole);
    // Where people change limits it is not known which of them applied when. Where several engines keep them, people leave them alone.
    if world.plan.traffic.edits > 0 && world.plan.cluster.is_none() {
        return;
    }
    let mut sent: BTreeMap<(EndpointId, usize), Vec<&Exchanged>> = BTreeMap::new();
    for exchange in &whole.exchanges {
        if let Some(delivery) = whole.deliveries.get(&exchange.delivery) {
            sent.entry((delivery.endpoint, exchange.life)).or_default().push(exchange);
        }
    }
    for ((id, life), exchanges) in sent {
        let Some(endpoint) = whole.endpoints.get(&id) else { continue };
        if let Err(what) = rate(endpoint, &exchanges).and_then(|()| concurrency(world, endpoint, &exchanges)) {
            world.violated(LimitsAreKept, format!("endpoint {id} in life {life}: {what}"));
        }
    }
}

/// One more than fits into a burst takes at least the interval. Exchanges are in the order of their beginning.
fn rate(endpoint: &Endpoint, exchanges: &[&Exchanged]) -> Result<(), String> {
    let Some(limit) = endpoint.rate_limit else { return Ok(()) };
    let burst = usize::try_from(limit.burst.max(1)).unwrap_or(usize::MAX);
    let too_fast = exchanges.iter().zip(exchanges.iter().skip(burst)).find(|(a, b)| b.began.since(a.began) < limit.interval);
    match too_fast {
        None => Ok(()),
        Some((a, b)) => Err(format!("{} requests from {:?} to {:?}, allowed are {limit:?}", burst + 1, a.began, b.began)),
    }
}

fn concurrency(world: &World, endpoint: &Endpoint, exchanges: &[&Exchanged]) -> Result<(), String> {
    let cap = endpoint.concurrency.unwrap_or(world.plan.limits.exchanges_per_endpoint).max(1);
    let cap = usize::try_from(cap).unwrap_or(usize::MAX);
    let end = |e: &Exchanged| match world.plan.cluster {
        Some(_) => together::counts_until(world, endpoint, e),
        None => e.result.as_ref().map_or(Timestamp::MAX, |(at, _)| *at),
    };
    let spans: Vec<_> = exchanges.iter().map(|e| (e.began, end(e))).collect();
    let crowd = |at: Timestamp| spans.iter().filter(|(began, ended)| *began <= at && at < *ended).count();
    match spans.iter().find(|(began, _)| crowd(*began) > cap) {
        None => Ok(()),
        Some((began, _)) => Err(format!("{} exchanges at once at {began:?}, {cap} are allowed", crowd(*began))),
    }
}

/// No attempt comes earlier than the policy and the receiver want it.
fn retries(world: &World, whole: &Whole) {
    for (id, numbers) in &whole.exchanges_of {
        let Some(delivery) = whole.deliveries.get(id) else { continue };
        for pair in numbers.windows(2) {
            let (a, b) = (&whole.exchanges[pair[0]], &whole.exchanges[pair[1]]);
            let Some((ended, wait)) = wait_after(whole, delivery, a) else { continue };
            let is_known =
                if a.life == b.life { !together::is_lost_between(world, a, b) } else { is_settled(&world.state().ends[a.life], a) };
            if is_known && !whole.is_replayed_between(a, b) && b.began < ended.after(wait) {
                let what = format!("attempt {} of {id} came {:?} after the one before, {wait:?} were due", b.number, b.began.since(ended));
                world.violated(LimitsAreKept, what);
            }
        }
    }
}

/// Whether the outcome of an exchange was stored before its life ended.
fn is_settled(end: &EndOfLife, exchange: &Exchanged) -> bool {
    let known = end.progress.get(&exchange.delivery);
    known.is_some_and(|p| p.attempts >= exchange.number && p.state != State::Sending)
}

/// When an exchange ended, and how long its delivery must wait at least.
fn wait_after(whole: &Whole, delivery: &Delivery, exchange: &Exchanged) -> Option<(Timestamp, Duration)> {
    let subscription = whole.subscriptions.get(&delivery.subscription)?;
    let (ended, verdict) = exchange.verdict(subscription.origin)?;
    let wait = match verdict {
        Verdict::Success | Verdict::Permanent { .. } => return None,
        Verdict::Retry { retry_after, free: true, .. } => retry_after.unwrap_or(DEFAULT_FREE_WAIT),
        Verdict::Retry { retry_after, .. } => retry_after.unwrap_or_default().max(shortest(&subscription.retry)),
    };
    Some((ended, wait))
}

/// The shortest gap of a policy.
fn shortest(policy: &RetryPolicy) -> Duration {
    let gap = match &policy.schedule {
        Schedule::List(gaps) => gaps.iter().min().copied().unwrap_or_default(),
        Schedule::Exponential { base, cap } => *base.min(cap),
    };
    gap * u32::from(100 - policy.jitter_percent.min(100)) / 100
}
