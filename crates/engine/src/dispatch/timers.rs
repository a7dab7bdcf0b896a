//! What happens later, in memory.

use crate::job::Job;
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;

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
    set: u64,
    dirty: bool,
}

impl Timers {
    /// Sets a timer; answers whether it is the first of all now.
    pub(crate) fn insert(&mut self, at: Timestamp, timer: Timer) -> bool {
        let first = self.next().is_none_or(|next| at < next);
        self.set += 1;
        self.queue.insert((at, self.set), timer);
        self.dirty |= first;
        first
    }

    /// Whether an earlier timer was set since this was last asked: whoever sleeps for the first one must be woken.
    pub(crate) fn take_dirty(&mut self) -> bool {
        std::mem::take(&mut self.dirty)
    }

    pub(crate) fn next(&self) -> Option<Timestamp> {
        self.queue.first_key_value().map(|((at, _), _)| *at)
    }

    pub(crate) fn pop_due(&mut self, now: Timestamp) -> Option<Timer> {
        if self.next()? > now {
            return None;
        }
        self.queue.pop_first().map(|(_, timer)| timer)
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

    #[test]
    fn timers_come_in_order_and_tell_when_the_first_changes() {
        let mut timers = Timers::default();
        let at = Timestamp::from_secs;
        assert!(timers.insert(at(5), Timer::Refill));
        assert!(timers.take_dirty() && !timers.take_dirty());
        assert!(!timers.insert(at(9), Timer::Refill));
        assert!(timers.insert(at(3), Timer::Refill));
        assert_eq!(timers.next(), Some(at(3)));
        assert!(timers.pop_due(at(2)).is_none());
        assert!(timers.pop_due(at(5)).is_some() && timers.pop_due(at(5)).is_some());
        assert!(timers.pop_due(at(5)).is_none());
        assert_eq!(timers.next(), Some(at(9)));
    }
}
