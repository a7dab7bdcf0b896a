//! One endpoint's queue: what is ready for it, how much of it may be under way, and when it must be left alone.

use crate::job::Job;
use postrider_core::id::DeliveryId;
use postrider_core::limit::{Gcra, RateLimit};
use postrider_core::ports::{Lane, Target};
use postrider_core::time::Timestamp;
use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Exchanges at the same time with an endpoint of which nothing was heard yet. After a start that is all of them, and any of them may hang
/// until its deadline: one each leaves most places to those who answer.
const UNPROVEN_WINDOW: u32 = 1;

/// Exchanges at the same time that a failing endpoint may have, and one that was heard of once. Enough to see it recover, few enough that
/// many of them stay far below the limit of all.
const MIN_WINDOW: u32 = 4;

/// An exchange that takes longer, with the making of its body, makes its endpoint a slow one, whatever it answers: what it costs the others is
/// the place, and for how long. Most receivers answer within some hundred milliseconds.
pub(super) const SLOW: Duration = Duration::from_secs(1);

/// After this many failures in a row the endpoint counts as dead and is tried at most once per pace: a dead receiver with a million
/// waiting deliveries must not cost its neighbours the processor.
pub(super) const PACE_AFTER: u32 = 32;

/// The pace of few dead endpoints: 100 attempts a second each.
const PACE: Duration = Duration::from_millis(10);

/// As many dead endpoints keep that pace; where there are more they share: all together about 1,000 attempts a second, some percent of a
/// core.
const PACED_APART: u32 = 10;

/// What a queue has learned about its endpoint is forgotten when nothing was sent for so long: a new queue begins as carefully.
const FORGET: Duration = Duration::from_secs(600);

/// Deliveries kept in memory for an endpoint that fails; the rest waits in the store.
pub(crate) const HELD_WHEN_FAILING: usize = 64;

/// How many failures in a row make an endpoint a failing one.
const FAILING_AFTER: u32 = 8;

/// A lane that nobody uses at the moment.
pub(crate) struct IdleLane {
    pub(crate) lane: Box<dyn Lane>,
    pub(crate) target: Arc<Target>,
    pub(crate) since: Timestamp,
}

/// How an exchange went, as far as the pace of its endpoint is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pulse {
    /// The receiver took the delivery.
    Good { slow: bool },
    /// It answered, but not well, could not be reached, or could not be signed for.
    Bad { slow: bool },
    /// Nothing was sent, for there was no body to send: that says nothing about the receiver, but the place was taken.
    Unsent { slow: bool },
    /// Nothing was to be sent.
    Unknown,
}

impl Pulse {
    /// Of an exchange that took so long.
    pub(crate) fn new(is_good: bool, took: Duration) -> Self {
        let slow = took > SLOW;
        if is_good { Pulse::Good { slow } } else { Pulse::Bad { slow } }
    }

    /// Of a body that could not be made in so long.
    pub(crate) fn unsent(took: Duration) -> Self {
        Pulse::Unsent { slow: took > SLOW }
    }
}

/// How long each dead endpoint is left alone between two attempts, when there are so many of them.
pub(super) fn pace(dead: usize) -> Duration {
    let dead = u32::try_from(dead).unwrap_or(u32::MAX);
    (PACE.saturating_mul(dead) / PACED_APART).max(PACE)
}

/// Why an endpoint's deliveries are not being sent although some are ready.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Blocked {
    No,
    /// By its rate limit or its pace, until then.
    Until(Timestamp),
    /// It takes none at the moment; the deliveries are in the store.
    Parked,
}

/// Deliveries and bytes that a claim under way may bring.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

/// One endpoint's queue.
pub(crate) struct Queue {
    pub(crate) ready: VecDeque<Job>,
    /// No ready one is past its time to live before that; `None` where none has one.
    pub(crate) expires_at: Option<Timestamp>,
    /// Deliveries of this endpoint in memory: ready, under way, waiting for a retry, or being stored.
    pub(crate) held: usize,
    pub(crate) running: u32,
    pub(crate) idle: Vec<IdleLane>,
    /// Whether it stands in the ring.
    pub(crate) in_ring: bool,
    pub(crate) blocked: Blocked,
    /// Another engine, which had the endpoint before, still has exchanges with it under way.
    pub(crate) busy_elsewhere: bool,
    /// When the first delivery that only the store has is due.
    pub(crate) stored_due: Option<Timestamp>,
    /// The room that is kept for a claim under way.
    pub(crate) refilling: Option<Room>,
    pub(crate) rate: Option<RateLimit>,
    pub(crate) cap: u32,
    window: u32,
    failures: u32,
    slow: bool,
    pub(crate) limiter: Gcra,
    /// When it last sent something, or heard how that went.
    active_at: Timestamp,
}

impl Queue {
    pub(crate) fn new(cap: u32) -> Self {
        Queue {
            ready: VecDeque::new(),
            expires_at: None,
            held: 0,
            running: 0,
            idle: Vec::new(),
            in_ring: false,
            blocked: Blocked::No,
            busy_elsewhere: false,
            stored_due: None,
            refilling: None,
            rate: None,
            cap,
            window: UNPROVEN_WINDOW,
            failures: 0,
            slow: false,
            limiter: Gcra::default(),
            active_at: Timestamp::MIN,
        }
    }

    /// Whether its last exchange took longer than [`SLOW`].
    pub(crate) fn is_slow(&self) -> bool {
        self.slow
    }

    /// Whether it counts as dead, see [`PACE_AFTER`].
    pub(crate) fn is_dead(&self) -> bool {
        self.failures >= PACE_AFTER
    }

    pub(crate) fn is_failing(&self) -> bool {
        self.failures >= FAILING_AFTER
    }

    /// Whether nothing would be lost with it: no delivery, nothing learned that still holds, no token of a rate limit.
    pub(crate) fn is_forgettable(&self, now: Timestamp) -> bool {
        let is_empty = self.held == 0 && self.running == 0 && self.idle.is_empty() && self.stored_due.is_none() && self.refilling.is_none();
        let is_new = self.failures == 0 && !self.slow && self.blocked == Blocked::No;
        // By then every token that was taken is back.
        let full = self.rate.map_or(Duration::ZERO, |rate| rate.interval.saturating_mul(rate.burst.max(1)));
        let quiet = if is_new { full } else { full.max(FORGET) };
        is_empty && self.active_at.after(quiet) <= now
    }

    /// How many deliveries of it may be in memory, of `most` that a healthy endpoint may have.
    pub(crate) fn room(&self, most: usize) -> usize {
        if self.is_failing() { HELD_WHEN_FAILING } else { most }
    }

    /// Whether it has room for more from the store: only when half of it is free, so that a claim brings more than one.
    pub(crate) fn is_low(&self, most: usize) -> bool {
        self.held <= self.room(most) / 2
    }

    /// Whether a delivery may start now, were there room for it overall.
    pub(crate) fn is_eligible(&self) -> bool {
        let may_send = self.blocked == Blocked::No && !self.busy_elsewhere;
        may_send && !self.ready.is_empty() && self.running < self.window.min(self.cap).max(1)
    }

    /// Takes the next delivery of an eligible queue; `None` if the rate limit says to wait, which blocks the queue until then. A dead
    /// endpoint is left alone for `pace` after it.
    pub(crate) fn take(&mut self, now: Timestamp, pace: Duration) -> Option<Job> {
        // What has expired is not sent: it only ends, and costs no token.
        let is_sent = self.ready.front().is_some_and(|job| !job.delivery.progress.is_expired(now));
        if is_sent
            && let Some(rate) = self.rate
            && let Err(at) = self.limiter.take(rate, now)
        {
            self.blocked = Blocked::Until(at);
            return None;
        }
        self.active_at = now;
        if is_sent && self.is_dead() {
            self.blocked = Blocked::Until(now.after(pace));
        }
        self.ready.pop_front()
    }

    /// Has those ready ones tried by then that are wanted, and takes them from these; answers which they were. It looks at no more of what is
    /// ready once it has found all.
    pub(crate) fn hasten(&mut self, wanted: &mut BTreeSet<DeliveryId>, at: Timestamp) -> Vec<DeliveryId> {
        let mut found = Vec::new();
        let mut ready = self.ready.iter_mut();
        while !wanted.is_empty()
            && let Some(job) = ready.next()
        {
            if wanted.remove(&job.delivery.id) {
                job.hasten(at);
                found.push(job.delivery.id);
            }
        }
        found
    }

    /// Learns from an exchange: the window doubles with every full round of successes and halves with every failure. Slow ones let it grow
    /// too: many a good handler takes its time.
    pub(crate) fn learn(&mut self, pulse: Pulse, now: Timestamp) {
        self.active_at = now;
        match pulse {
            Pulse::Unknown => {}
            // What was not sent says nothing about the receiver: it takes no mark away.
            Pulse::Unsent { slow } => self.slow |= slow,
            Pulse::Good { slow } => {
                self.failures = 0;
                self.slow = slow;
                self.window = (self.window + 1).min(self.cap).max(MIN_WINDOW);
            }
            Pulse::Bad { slow } => {
                self.failures = self.failures.saturating_add(1);
                self.slow = slow;
                self.window = (self.window / 2).max(MIN_WINDOW);
            }
        }
    }

    /// The endpoint is somebody else's: should it come back, it is as one of which nothing was heard yet.
    pub(crate) fn forget(&mut self) {
        (self.window, self.failures, self.slow) = (UNPROVEN_WINDOW, 0, false);
        if self.blocked != Blocked::Parked {
            self.blocked = Blocked::No;
        }
    }

    /// The clock was set back by so much: what was to be waited for comes as much earlier.
    pub(crate) fn set_back(&mut self, by: Duration) {
        if let Blocked::Until(at) = &mut self.blocked {
            *at = at.before(by);
        }
        self.active_at = self.active_at.before(by);
        self.idle.iter_mut().for_each(|idle| idle.since = idle.since.before(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, BEGINNING};
    use postrider_core::delivery::Delivery;

    fn job() -> Job {
        testing::job(&testing::route(|endpoint| endpoint))
    }

    /// Dropping the queue of a slow endpoint between two deliveries would give it a full burst of tokens again.
    #[test]
    fn a_queue_with_a_rate_limit_is_not_forgotten() {
        let mut queue = Queue::new(1);
        assert!(queue.is_forgettable(BEGINNING));
        queue.rate = Some(RateLimit { interval: Duration::from_secs(400), burst: 2 });
        queue.ready.push_back(job());
        assert!(queue.take(BEGINNING, PACE).is_some());
        assert!(!queue.is_forgettable(BEGINNING.after(Duration::from_secs(799))));
        assert!(queue.is_forgettable(BEGINNING.after(Duration::from_secs(800))));
    }

    #[test]
    fn a_queue_of_a_dead_endpoint_is_forgotten_after_a_while() {
        let mut queue = Queue::new(1);
        (0..2 * PACE_AFTER).for_each(|_| queue.learn(Pulse::Bad { slow: false }, BEGINNING));
        assert!(queue.is_dead());
        assert!(!queue.is_forgettable(BEGINNING.after(FORGET / 2)));
        assert!(queue.is_forgettable(BEGINNING.after(FORGET)));
        queue.held = 1;
        assert!(!queue.is_forgettable(BEGINNING.after(FORGET)));
    }

    #[test]
    fn what_has_expired_costs_no_token() {
        let mut queue = Queue::new(1);
        queue.rate = Some(RateLimit { interval: Duration::from_secs(60), burst: 1 });
        let mut old = job();
        old.delivery.progress.expires_at = Some(BEGINNING);
        queue.ready.extend([old.clone(), old, job(), job()]);
        assert!(queue.take(BEGINNING, PACE).is_some() && queue.take(BEGINNING, PACE).is_some());
        assert!(queue.take(BEGINNING, PACE).is_some_and(|job| job.delivery.progress.expires_at.is_none()), "the token is still there");
        assert!(queue.take(BEGINNING, PACE).is_none());
    }

    #[test]
    fn that_an_endpoint_is_slow_is_not_forgotten_at_once() {
        let mut queue = Queue::new(1);
        queue.learn(Pulse::new(true, SLOW), BEGINNING);
        assert!(!queue.is_slow() && queue.is_forgettable(BEGINNING));
        queue.learn(Pulse::new(true, SLOW + Duration::from_micros(1)), BEGINNING);
        assert!(queue.is_slow() && !queue.is_forgettable(BEGINNING));
        assert!(queue.is_forgettable(BEGINNING.after(FORGET)));
    }

    /// Templates that take their time, and come to nothing, hold places as receivers do that hang.
    #[test]
    fn a_body_that_takes_its_time_makes_its_endpoint_a_slow_one() {
        let mut queue = Queue::new(1);
        queue.learn(Pulse::unsent(SLOW), BEGINNING);
        assert!(!queue.is_slow());
        queue.learn(Pulse::unsent(SLOW * 2), BEGINNING);
        assert!(queue.is_slow() && !queue.is_failing());
        queue.learn(Pulse::Unknown, BEGINNING);
        assert!(queue.is_slow(), "nothing was heard of it since");
        queue.learn(Pulse::unsent(Duration::ZERO), BEGINNING);
        assert!(queue.is_slow(), "nothing was sent to it");
    }

    struct NoLane;

    impl Lane for NoLane {
        fn exchange(
            &mut self,
            _: postrider_core::ports::Outgoing,
        ) -> postrider_core::ports::BoxFuture<'_, postrider_core::ports::Exchange> {
            Box::pin(std::future::pending())
        }
    }

    #[test]
    fn a_clock_that_is_set_back_keeps_no_idle_lane_open() {
        let mut queue = Queue::new(1);
        let target = testing::route(|endpoint| endpoint).target;
        queue.idle.push(IdleLane { lane: Box::new(NoLane), target, since: BEGINNING });
        queue.set_back(FORGET);
        assert_eq!(queue.idle[0].since, BEGINNING.before(FORGET));
    }

    #[test]
    fn an_unproven_endpoint_gets_one_exchange_and_then_more_whatever_comes_of_it() {
        let may_have = |pulses: &[Pulse]| {
            let mut queue = Queue::new(32);
            queue.ready.push_back(job());
            pulses.iter().for_each(|pulse| queue.learn(*pulse, BEGINNING));
            while queue.is_eligible() {
                queue.running += 1;
            }
            queue.running
        };
        let (good, bad) = (Pulse::Good { slow: false }, Pulse::Bad { slow: true });
        assert_eq!(may_have(&[]), 1);
        assert_eq!(may_have(&[Pulse::Unknown]), 1, "nothing was heard of it");
        assert_eq!((may_have(&[good]), may_have(&[bad])), (4, 4));
        assert_eq!((may_have(&[good, good]), may_have(&[good, bad])), (5, 4));
        assert_eq!(may_have(&[Pulse::Good { slow: true }; 40]), 32, "slow and good is good enough");
    }

    #[test]
    fn dead_endpoints_share_a_thousand_attempts_a_second() {
        assert_eq!([0, 1, 10].map(pace), [PACE; 3]);
        assert_eq!(pace(15), Duration::from_millis(15));
        assert_eq!(pace(200), Duration::from_millis(200));
        assert_eq!(pace(usize::MAX), pace(usize::MAX - 1), "no overflow");
    }

    /// Nobody looks at the 65,000 that may be ready for the sake of the few in front.
    #[test]
    fn what_is_ready_is_looked_at_until_all_that_are_wanted_are_found() {
        let mut queue = Queue::new(1);
        let id = |n| DeliveryId::new(uuid::Uuid::from_u128(n));
        queue.ready = (0..1_000).map(|n| Job { delivery: Delivery { id: id(n), ..job().delivery }, ..job() }).collect();
        let at = BEGINNING.before(Duration::from_secs(1));
        let mut wanted = [id(3), id(5), id(2_000)].into();
        assert_eq!(queue.hasten(&mut wanted, at), [id(3), id(5)]);
        assert_eq!(wanted, [id(2_000)].into(), "somebody else may know of it");
        let due = |queue: &Queue, n: usize| queue.ready[n].delivery.progress.state.due_at();
        assert_eq!((due(&queue, 5), due(&queue, 6)), (Some(at), Some(BEGINNING)));
        // The second of two with one id is not come to: the walk ends with the last that is wanted.
        queue.ready.push_back(Job { delivery: Delivery { id: id(7), ..job().delivery }, ..job() });
        assert_eq!(queue.hasten(&mut [id(7)].into(), at), [id(7)]);
        assert_eq!((due(&queue, 7), due(&queue, 1_000)), (Some(at), Some(BEGINNING)));
    }
}
