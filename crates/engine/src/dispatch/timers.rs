//! What happens later, in memory.

use super::state::Map;
use crate::job::Job;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::Duration;

/// The place of a timer: when it is due, and its turn among those of that instant.
pub(crate) type Place = (Timestamp, u64);

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
    queue: BTreeMap<Place, Timer>,
    /// Where each delivery stands that waits there: nobody walks over all that waits to find a few.
    places: Map<DeliveryId, Place>,
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
                let place = (at, self.set);
                if let Timer::Retry(job) = &timer {
                    self.places.insert(job.delivery.id, place);
                }
                self.queue.insert(place, timer);
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
        let (_, timer) = self.queue.pop_first()?;
        if let Timer::Retry(job) = &timer {
            self.places.remove(&job.delivery.id);
        }
        Some(timer)
    }

    /// The clock was set back by so much: what waits comes as much earlier. Not the refill, which goes by what is stored.
    pub(crate) fn set_back(&mut self, by: Duration) {
        let queue = std::mem::take(&mut self.queue);
        self.queue = queue.into_iter().map(|((at, set), timer)| ((at.before(by), set), timer)).collect();
        self.places.values_mut().for_each(|(at, _)| *at = at.before(by));
        self.look = self.look.map(|at| at.before(by));
        self.dirty = true;
    }

    /// Has deliveries tried again by then that wait here; answers which do. It looks at no others, however many wait.
    pub(crate) fn hasten(&mut self, wanted: impl Iterator<Item = DeliveryId>, at: Timestamp) -> BTreeSet<DeliveryId> {
        let mut found = BTreeSet::new();
        for id in wanted {
            if let Some((due, mut job)) = self.take(id) {
                job.hasten(at);
                found.insert(id);
                self.insert(due.min(at), Timer::Retry(job));
            }
        }
        found
    }

    /// Takes a waiting delivery out, with when it is due.
    pub(crate) fn take(&mut self, id: DeliveryId) -> Option<(Timestamp, Box<Job>)> {
        let place = self.places.remove(&id)?;
        match self.queue.remove(&place)? {
            Timer::Retry(job) => Some((place.0, job)),
            Timer::Unblock(_) | Timer::Refill | Timer::Look => None,
        }
    }

    /// Takes the waiting deliveries of one endpoint out.
    pub(crate) fn drain_jobs_of(&mut self, endpoint: EndpointId) -> Vec<Job> {
        self.drain_jobs_where(None, usize::MAX, |of| of == endpoint).0
    }

    /// Takes the waiting deliveries of some endpoints out, of up to so many timers behind this place; answers where to go on, unless that is the end.
    pub(crate) fn drain_jobs_where(
        &mut self,
        after: Option<Place>,
        most: usize,
        is_wanted: impl Fn(EndpointId) -> bool,
    ) -> (Vec<Job>, Option<Place>) {
        let behind = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        let (mut of_it, mut looked, mut last) = (Vec::new(), 0, None);
        for (place, timer) in self.queue.range(behind).take(most) {
            (looked, last) = (looked + 1, Some(*place));
            if matches!(timer, Timer::Retry(job) if is_wanted(job.delivery.endpoint)) {
                of_it.push(*place);
            }
        }
        let drained: Vec<Job> = of_it.iter().filter_map(|place| self.queue.remove(place)).filter_map(Timer::into_job).collect();
        for job in &drained {
            self.places.remove(&job.delivery.id);
        }
        (drained, last.filter(|_| looked == most))
    }

    /// Takes every waiting delivery out.
    pub(crate) fn drain_jobs(&mut self) -> Vec<Job> {
        self.places.clear();
        std::mem::take(&mut self.queue).into_values().filter_map(Timer::into_job).collect()
    }
}

impl Timer {
    fn into_job(self) -> Option<Job> {
        if let Timer::Retry(job) = self { Some(*job) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{self, endpoint_id};

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

    fn at(secs: i64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    /// Timers with a delivery that waits for each of these times, in seconds, whose number that is.
    fn waiting(secs: impl Iterator<Item = i64>) -> Timers {
        let mut timers = Timers::default();
        let route = testing::route(|endpoint| endpoint);
        for secs in secs {
            let mut job = testing::job(&route);
            job.delivery.id = delivery(secs);
            timers.insert(at(secs), Timer::Retry(Box::new(job)));
        }
        timers
    }

    fn delivery(n: i64) -> DeliveryId {
        DeliveryId::new(uuid::Uuid::from_u128(n.unsigned_abs().into()))
    }

    /// Every delivery that waits is found at its place, and nothing else is.
    fn assert_in_step(timers: &Timers) {
        let of_queue = timers.queue.iter().filter_map(|(place, timer)| match timer {
            Timer::Retry(job) => Some((job.delivery.id, *place)),
            _ => None,
        });
        let (found, expected): (BTreeMap<_, _>, BTreeMap<_, _>) =
            (timers.places.iter().map(|(id, at)| (*id, *at)).collect(), of_queue.collect());
        assert_eq!(found, expected);
    }

    #[test]
    fn deliveries_are_found_by_where_they_stand_whatever_happened_before() {
        let mut timers = waiting(100..200);
        timers.insert(at(150), unblock());
        assert_in_step(&timers);
        assert!(matches!(timers.pop_due(at(100)), Some(Timer::Retry(_))));
        assert_in_step(&timers);
        timers.set_back(Duration::from_secs(50));
        assert_in_step(&timers);
        let (first, last, unknown) = (delivery(100), delivery(199), delivery(9_999));
        assert_eq!(timers.hasten([first, last, unknown].into_iter(), at(7)), [last].into());
        assert_in_step(&timers);
        assert_eq!(timers.next(), Some(at(7)));
        let Some(Timer::Retry(job)) = timers.pop_due(at(7)) else { panic!("it is due") };
        assert_eq!(job.delivery.id, last);
        assert!(timers.pop_due(at(50)).is_none(), "the others wait");
        assert_eq!(timers.drain_jobs_of(endpoint_id(77)).len(), 0);
        assert_in_step(&timers);
        let of = timers.queue.values().find_map(|timer| if let Timer::Retry(job) = timer { Some(job.delivery.endpoint) } else { None });
        assert_eq!(timers.drain_jobs_of(of.expect("some wait")).len(), 98);
        assert_in_step(&timers);
        assert_eq!((timers.places.len(), timers.queue.len()), (0, 1));
        let mut timers = waiting(1..4);
        assert_eq!(timers.drain_jobs().len(), 3);
        assert_in_step(&timers);
    }

    /// Whoever takes many out lets others have the lock in between.
    #[test]
    fn deliveries_are_taken_out_piece_by_piece() {
        let mut timers = waiting(1..10);
        timers.insert(at(3), unblock());
        let (mut place, mut pieces) = (None, Vec::new());
        loop {
            let (jobs, next) = timers.drain_jobs_where(place, 4, |_| true);
            pieces.push(jobs.len());
            assert_in_step(&timers);
            place = next;
            if place.is_none() {
                break;
            }
        }
        assert_eq!((pieces, timers.queue.len()), (vec![3, 4, 2], 1));
    }
}
