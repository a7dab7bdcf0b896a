//! The books of one phase: when each event was sent and accepted, and when each of its deliveries arrived.
//!
//! Written with plain stores on the hot path; everything that is reported is worked out afterwards.

use super::args::Shape;
use std::sync::atomic::{AtomicU8, AtomicU64, Ordering};
use std::time::Duration;
use tokio::time::Instant;

/// What an arrival turned out to be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arrival {
    /// The first of its delivery.
    First,
    /// Another one of the same delivery.
    Duplicate,
    /// An event that was never sent to this endpoint.
    Unknown,
}

/// The books. Instants are nanoseconds since the beginning of the run; 0 means "not".
#[derive(Debug)]
pub struct Ledger {
    epoch: Instant,
    shape: Shape,
    sent: Vec<AtomicU64>,
    accepted: Vec<AtomicU64>,
    arrived: Vec<AtomicU64>,
    again: Vec<AtomicU8>,
    count: Counts,
}

#[derive(Debug, Default)]
struct Counts {
    sent: AtomicU64,
    accepted: AtomicU64,
    expected: AtomicU64,
    arrived: AtomicU64,
    last_arrival: AtomicU64,
}

impl Ledger {
    /// Empty books for so many events.
    pub fn new(epoch: Instant, shape: Shape, events: u64) -> Self {
        let events = usize::try_from(events).unwrap_or(usize::MAX);
        let slots = events.saturating_mul(shape.fan_out as usize);
        let zeros = |n| std::iter::repeat_with(|| AtomicU64::new(0)).take(n).collect();
        let again = std::iter::repeat_with(|| AtomicU8::new(0)).take(slots).collect();
        Ledger { epoch, shape, sent: zeros(events), accepted: zeros(events), arrived: zeros(slots), again, count: Counts::default() }
    }

    /// Nanoseconds since the beginning of the run, at least 1.
    pub fn now(&self) -> u64 {
        self.at(Instant::now())
    }

    /// An instant as the books count it.
    pub fn at(&self, instant: Instant) -> u64 {
        u64::try_from(instant.saturating_duration_since(self.epoch).as_nanos()).unwrap_or(u64::MAX).max(1)
    }

    /// How events and endpoints belong together.
    pub fn shape(&self) -> Shape {
        self.shape
    }

    /// Notes when an event is sent; it must be the intended time where there is one, and noted before the bytes leave.
    pub fn send(&self, event: u64, at: u64) {
        if let Some(sent) = self.sent.get(event as usize)
            && sent.swap(at, Ordering::Release) == 0
        {
            self.count.sent.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Notes that an event was accepted.
    pub fn accept(&self, event: u64, at: u64) {
        let Some(accepted) = self.accepted.get(event as usize) else { return };
        accepted.store(at, Ordering::Release);
        let expected = (0..self.shape.fan_out).filter(|slot| self.shape.is_expected(event, *slot)).count();
        self.count.expected.fetch_add(expected as u64, Ordering::Relaxed);
        self.count.accepted.fetch_add(1, Ordering::Relaxed);
    }

    /// Notes an arrival. Only one thread may do so.
    pub fn arrive(&self, event: u64, slot: Option<u32>, at: u64) -> Arrival {
        let sent = self.sent.get(event as usize).is_some_and(|sent| sent.load(Ordering::Acquire) != 0);
        let index = slot.filter(|_| sent).map(|slot| event as usize * self.shape.fan_out as usize + slot as usize);
        let Some(index) = index.filter(|index| *index < self.arrived.len()) else { return Arrival::Unknown };
        if self.arrived[index].load(Ordering::Relaxed) != 0 {
            let again = &self.again[index];
            again.store(again.load(Ordering::Relaxed).saturating_add(1), Ordering::Relaxed);
            return Arrival::Duplicate;
        }
        self.arrived[index].store(at, Ordering::Relaxed);
        self.count.last_arrival.store(at, Ordering::Relaxed);
        self.count.arrived.fetch_add(1, Ordering::Release);
        Arrival::First
    }

    /// Events sent so far.
    pub fn sent(&self) -> u64 {
        self.count.sent.load(Ordering::Relaxed)
    }

    /// Events accepted so far.
    pub fn accepted(&self) -> u64 {
        self.count.accepted.load(Ordering::Relaxed)
    }

    /// Deliveries arrived so far, each counted once.
    pub fn arrived(&self) -> u64 {
        self.count.arrived.load(Ordering::Acquire)
    }

    /// Deliveries that the accepted events should make, without those of hung endpoints.
    pub fn expected(&self) -> u64 {
        self.count.expected.load(Ordering::Relaxed)
    }

    /// Expected deliveries of accepted events that have not arrived.
    pub fn missing(&self) -> u64 {
        if self.arrived() < self.expected() {
            return self.expected() - self.arrived();
        }
        // An event whose answer was lost may have arrived and hide one that has not: look at each.
        let mut missing = 0;
        for (event, accepted) in self.accepted.iter().enumerate() {
            if accepted.load(Ordering::Acquire) != 0 {
                missing += self.slots(event).filter(|(expected, at)| *expected && *at == 0).count() as u64;
            }
        }
        missing
    }

    /// Arrivals beyond the first of each delivery, counted up to 255 each.
    pub fn duplicates(&self) -> u64 {
        self.again.iter().map(|n| u64::from(n.load(Ordering::Relaxed))).sum()
    }

    /// Time from each event's sending to its acceptance, of the accepted ones.
    pub fn accept_latencies(&self) -> impl Iterator<Item = Duration> {
        let pairs = self.sent.iter().zip(&self.accepted).map(|(sent, at)| (sent.load(Ordering::Relaxed), at.load(Ordering::Relaxed)));
        pairs.filter(|(_, at)| *at != 0).map(|(sent, at)| Duration::from_nanos(at.saturating_sub(sent)))
    }

    /// Time from each event's sending to the first arrival of each of its deliveries.
    pub fn arrival_latencies(&self) -> impl Iterator<Item = Duration> {
        self.sent.iter().enumerate().flat_map(move |(event, sent)| {
            let sent = sent.load(Ordering::Relaxed);
            let arrived = self.slots(event).filter(|(_, at)| *at != 0);
            arrived.map(move |(_, at)| Duration::from_nanos(at.saturating_sub(sent)))
        })
    }

    /// From the first sending to the last acceptance.
    pub fn accept_span(&self) -> Duration {
        let last = self.accepted.iter().map(|at| at.load(Ordering::Relaxed)).max().unwrap_or(0);
        self.since_first(last)
    }

    /// From the first sending to the last first arrival.
    pub fn delivery_span(&self) -> Duration {
        self.since_first(self.count.last_arrival.load(Ordering::Relaxed))
    }

    fn since_first(&self, last: u64) -> Duration {
        let first = self.sent.iter().map(|at| at.load(Ordering::Relaxed)).filter(|at| *at != 0).min().unwrap_or(last);
        Duration::from_nanos(last.saturating_sub(first))
    }

    /// Of each delivery of an event: whether it is expected, and when it arrived.
    fn slots(&self, event: usize) -> impl Iterator<Item = (bool, u64)> {
        let fan_out = self.shape.fan_out as usize;
        let arrived = self.arrived.iter().skip(event * fan_out).take(fan_out);
        arrived.zip(0..).map(move |(at, slot)| (self.shape.is_expected(event as u64, slot), at.load(Ordering::Relaxed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(endpoints: u32, fan_out: u32, hung: u32) -> Ledger {
        Ledger::new(Instant::now(), Shape { endpoints, fan_out, hung }, 4)
    }

    #[test]
    fn losses_and_duplicates_are_found() {
        let books = ledger(2, 2, 0);
        for event in 0..3 {
            books.send(event, 1_000 + event);
        }
        books.accept(0, 2_000);
        books.accept(1, 3_000);
        assert_eq!((books.sent(), books.accepted(), books.expected(), books.missing()), (3, 2, 4, 4));
        assert_eq!(books.arrive(0, Some(0), 4_000), Arrival::First);
        assert_eq!(books.arrive(0, Some(0), 4_500), Arrival::Duplicate);
        assert_eq!(books.arrive(0, Some(1), 5_000), Arrival::First);
        assert_eq!(books.arrive(3, Some(0), 5_000), Arrival::Unknown, "never sent");
        assert_eq!(books.arrive(9, Some(0), 5_000), Arrival::Unknown, "beyond the books");
        assert_eq!(books.arrive(0, None, 5_000), Arrival::Unknown, "another endpoint's");
        // The unaccepted event arrives and must not hide the missing one.
        books.arrive(2, Some(0), 6_000);
        books.arrive(2, Some(1), 7_000);
        assert_eq!((books.arrived(), books.missing(), books.duplicates()), (4, 2, 1));
    }

    #[test]
    fn hung_endpoints_are_not_expected() {
        let books = ledger(4, 2, 1);
        books.send(0, 10);
        books.accept(0, 20);
        books.send(1, 10);
        books.accept(1, 20);
        assert_eq!((books.expected(), books.missing()), (3, 3));
        books.arrive(0, Some(1), 30);
        books.arrive(1, Some(0), 30);
        books.arrive(1, Some(1), 40);
        assert_eq!(books.missing(), 0);
    }

    #[test]
    fn latencies_and_spans_count_from_the_sending() {
        let books = ledger(1, 1, 0);
        books.send(0, 1_000);
        books.send(1, 2_000);
        books.accept(0, 1_500);
        books.arrive(0, Some(0), 4_000);
        let nanos = |d: Duration| d.as_nanos();
        assert_eq!(books.accept_latencies().map(nanos).collect::<Vec<_>>(), [500]);
        assert_eq!(books.arrival_latencies().map(nanos).collect::<Vec<_>>(), [3_000]);
        assert_eq!((nanos(books.accept_span()), nanos(books.delivery_span())), (500, 3_000));
        assert_eq!(nanos(ledger(1, 1, 0).delivery_span()), 0);
    }
}
