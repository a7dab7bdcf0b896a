//! What happens later, in memory.

use crate::job::Job;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// What happens when a timer is due.
pub(crate) enum Timer {
    /// A delivery is tried again.
    Retry(Box<Job>),
    /// An endpoint may send again.
    Unblock(EndpointId),
    /// Deliveries in the store become due.
    Refill,
    /// Exchanges under way may have become slow.
    Look,
}

/// Timers in order of their time; those of one instant in the order of their setting.
#[derive(Default)]
pub(crate) struct Timers {
    queue: BTreeMap<(Timestamp, u64), Timer>,
    /// The earliest [`Timer::Refill`]: whoever refills sets the next one.
    refill: Option<Timestamp>,
    /// The earliest [`Timer::Look`]: whoever looks sets the next one.
    look: Option<Timestamp>,
    set: u64,
    dirty: bool,
}

impl Timers {
    /// Sets a timer; answers whether it is the first of all now.
    pub(crate) fn insert(&mut self, at: Timestamp, timer: Timer) -> bool {
        let first = self.next().is_none_or(|next| at < next);
        let earliest = |set: Option<Timestamp>| Some(set.map_or(at, |set| set.min(at)));
        match timer {
            Timer::Refill => self.refill = earliest(self.refill),
            Timer::Look => self.look = earliest(self.look),
            Timer::Retry(_) | Timer::Unblock(_) => {
                self.set += 1;
                self.queue.insert((at, self.set), timer);
            }
        }
        self.dirty |= first;
        first
    }

    /// Whether an earlier timer was set since this was last asked: whoever sleeps for the first one must be woken.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        let first = self.queue.first_key_value().map(|((at, _), _)| *at);
        first.into_iter().chain(self.refill).chain(self.look).min()
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        let next = self.next().filter(|next| *next <= now)?;
        if self.look == Some(next) {
            self.look = None;
            return Some(Timer::Look);
        }
        if self.refill == Some(next) {
            self.refill = None;
            return Some(Timer::Refill);
        }
        self.queue.pop_first().map(|(_, timer)| timer)
    }

    /// The clock was set back by so much: what waits comes as much earlier. Not the refill, which goes by what is stored.
    pub(crate) fn set_back(&mut self, by: Duration) {
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().map(|((at, set), timer)| ((at.before(by), set), timer)).collect();
        self.look = self.look.map(|at| at.before(by));
        self.dirty = true;
    }

    /// Has deliveries tried again by then that wait here; answers which do. One look at all that wait, however many are wanted.
    pub(crate) fn hasten(&mut self, is_wanted: impl Fn(DeliveryId) -> bool, at: Timestamp) -> BTreeSet<DeliveryId> {
        let is_one = |timer: &Timer| matches!(timer, Timer::Retry(job) if is_wanted(job.delivery.id));
        let keys: Vec<_> = self.queue.iter().filter(|(_, timer)| is_one(timer)).map(|(key, _)| *key).collect();
        let mut found = BTreeSet::new();
        for key in keys {
            if let Some(Timer::Retry(mut job)) = self.queue.remove(&key) {
                job.hasten(at);
                found.insert(job.delivery.id);
                self.insert(key.0.min(at), Timer::Retry(job));
            }
        }
        found
    }

    /// Takes the waiting deliveries of one endpoint out.
    pub(crate) fn drain_jobs_of(&mut self, endpoint: EndpointId) -> Vec<Job> {
        let of = |timer: &Timer| matches!(timer, Timer::Retry(job) if job.delivery.endpoint == endpoint);
        let keys: Vec<_> = self.queue.iter().filter(|(_, timer)| of(timer)).map(|(key, _)| *key).collect();
        let job = |timer| {
            if let Timer::Retry(job) = timer { Some(*job) } else { None }
        };
        keys.iter().filter_map(|key| self.queue.remove(key)).filter_map(job).collect()
    }

    /// Takes every waiting delivery out.
    pub(crate) fn drain_jobs(&mut self) -> Vec<Job> {
        let all = std::mem::take(&mut self.queue);
        let job = |timer| {
            if let Timer::Retry(job) = timer { Some(*job) } else { None }
        };
        all.into_values().filter_map(job).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::endpoint_id;

    fn unblock() -> Timer {
        Timer::Unblock(endpoint_id(1))
    }

    #[test]
    fn timers_come_in_order_and_tell_when_the_first_changes() {
        let mut timers = Timers::default();
        let at = Timestamp::from_secs;
        assert!(timers.insert(at(5), unblock()));
        assert!(timers.take_dirty() && !timers.take_dirty());
        assert!(!timers.insert(at(9), unblock()));
        assert!(timers.insert(at(3), unblock()));
        assert_eq!(timers.next(), Some(at(3)));
        assert!(timers.pop_due(at(2)).is_none());
        assert!(timers.pop_due(at(5)).is_some() && timers.pop_due(at(5)).is_some());
        assert!(timers.pop_due(at(5)).is_none());
        assert_eq!(timers.next(), Some(at(9)));
    }

    #[test]
    fn there_is_one_refill_and_one_look_and_it_is_the_earliest() {
        let mut timers = Timers::default();
        let at = Timestamp::from_secs;
        for secs in [5, 9, 3, 7] {
            timers.insert(at(secs), Timer::Refill);
            timers.insert(at(secs + 1), Timer::Look);
        }
        timers.insert(at(6), unblock());
        assert_eq!(timers.next(), Some(at(3)));
        assert!(matches!(timers.pop_due(at(9)), Some(Timer::Refill)));
        assert!(matches!(timers.pop_due(at(9)), Some(Timer::Look)));
        assert!(matches!(timers.pop_due(at(9)), Some(Timer::Unblock(_))));
        assert!(timers.pop_due(at(9)).is_none() && timers.next().is_none());
    }

    #[test]
    fn when_the_clock_is_set_back_what_waits_in_memory_comes_earlier() {
        let mut timers = Timers::default();
        let at = Timestamp::from_secs;
        timers.insert(at(101), Timer::Look);
        timers.insert(at(102), unblock());
        timers.insert(at(103), Timer::Refill);
        timers.take_dirty();
        timers.set_back(Duration::from_secs(100));
        assert!(timers.take_dirty(), "whoever sleeps for the first one must look again");
        assert!(matches!(timers.pop_due(at(1)), Some(Timer::Look)));
        assert!(matches!(timers.pop_due(at(2)), Some(Timer::Unblock(_))));
        assert_eq!(timers.next(), Some(at(103)), "what is stored is due when the store says so");
    }
}
