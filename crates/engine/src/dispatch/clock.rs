//! The wall clock may be set back while instants by it are waited for in memory.

use super::state::State;
use crate::shared::Shared;
use postrider_core::time::Timestamp;
use std::time::Duration;
use tokio::time::Instant;

/// A clock that is behind by no more than this moves nothing: what waits would come late by as little, and clocks that are being kept right
/// step by less.
const TOLERANCE: Duration = Duration::from_secs(1);

/// What both clocks said at one moment.
#[derive(Clone, Copy)]
pub(super) struct Reading {
    /// The wall clock: it may be set.
    pub(super) now: Timestamp,
    /// The one that only runs on.
    instant: Instant,
}

impl Reading {
    pub(super) fn take(shared: &Shared) -> Self {
        // In this order: a pause between the two lets the wall clock look late to come, not set back.
        let instant = Instant::now();
        Reading { now: shared.now(), instant }
    }
}

/// Notices that the wall clock was set back.
#[derive(Default)]
pub(super) struct Watch {
    last: Option<Reading>,
}

impl Watch {
    /// By how much the wall clock was set back since the last reading, if it was.
    pub(super) fn set_back(&mut self, reading: Reading) -> Option<Duration> {
        let Some(last) = self.last.filter(|last| last.instant <= reading.instant) else {
            // Readings are taken outside the lock: this one may be older than the last one.
            self.last.get_or_insert(reading);
            return None;
        };
        self.last = Some(reading);
        let behind = last.now.after(reading.instant - last.instant).since(reading.now);
        (behind > TOLERANCE).then_some(behind)
    }
}

impl State {
    /// To be told before anything is set to wait until a time by this reading: what was set before it moves, what is set after it must not.
    /// Answers what time it is.
    pub(super) fn notice(&mut self, reading: Reading) -> Timestamp {
        if let Some(by) = self.watch.set_back(reading) {
            tracing::warn!(
                ?by,
                "the clock was set back: what waits in memory comes as much earlier, what waits in the store is due by the clock"
            );
            self.set_back(by);
        }
        // One that was taken before the last one may be of the time before the clock was set back.
        self.watch.last.map_or(reading.now, |last| last.now.min(reading.now))
    }

    /// Everything in memory that waits for a time, or is measured from one, is as far from now as before. What the store has due stays.
    pub(super) fn set_back(&mut self, by: Duration) {
        self.timers.set_back(by);
        self.slots.set_back(by);
        self.queues.values_mut().for_each(|queue| queue.set_back(by));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::BEGINNING;

    #[test]
    fn only_a_clock_that_goes_back_is_set_back() {
        let (mut watch, start, second) = (Watch::default(), Instant::now(), Duration::from_secs(1));
        let mut at = |instant: u32, now: Timestamp| watch.set_back(Reading { now, instant: start + second * instant });
        let now = |secs: u32| BEGINNING.after(second * secs);
        assert_eq!(at(10, now(1_000)), None, "there is nothing to compare the first reading with");
        assert_eq!(at(20, now(1_010)), None);
        assert_eq!(at(21, now(1_010)), None, "a second is nothing");
        assert_eq!(at(30, now(1_500)), None, "it went ahead");
        assert_eq!(at(40, now(410)), Some(second * 1_100));
        assert_eq!(at(41, now(411)), None, "it is told once");
        assert_eq!(at(35, now(0)), None, "an older reading says nothing");
        assert_eq!(at(42, now(412)), None, "and leaves no trace");
    }
}
