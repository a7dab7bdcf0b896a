//! When each event is to be sent.

use super::args::Rate;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// The shortest nap of the clock thread: at high rates events are released a few at a time, and a core stays free.
const TICK: Duration = Duration::from_micros(100);

/// Hands out the numbers of events with their intended times, on a fixed grid that does not wait for answers.
///
/// Tokio's timers count in whole milliseconds, which would drown what is measured: a thread of its own keeps the time.
#[derive(Debug)]
pub struct Pace {
    next: AtomicU64,
    total: u64,
    until: Option<Instant>,
    grid: Option<Grid>,
}

#[derive(Debug)]
struct Grid {
    begin: Instant,
    per_second: f64,
    due: Arc<Semaphore>,
    stopped: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Pace {
    /// `total` events at a rate for `takers` connections; at [`Rate::Max`] no more are handed out after `until`.
    pub fn start(rate: Rate, total: u64, until: Option<Instant>, takers: u32) -> Self {
        let grid = match rate {
            Rate::Max => None,
            Rate::PerSecond(per_second) => Some(Grid::start(per_second, total, takers)),
        };
        Pace { next: AtomicU64::new(0), total, until, grid }
    }

    /// The next event and, on a grid, when it is meant to be sent; waits until it is due. `None` when there are no more.
    pub async fn next(&self) -> Option<(u64, Option<Instant>)> {
        let Some(grid) = &self.grid else {
            if self.until.is_some_and(|until| Instant::now() >= until) {
                return None;
            }
            let event = self.next.fetch_add(1, Ordering::Relaxed);
            return (event < self.total).then_some((event, None));
        };
        grid.due.acquire().await.ok()?.forget();
        let event = self.next.fetch_add(1, Ordering::Relaxed);
        (event < self.total).then(|| (event, Some(grid.time_of(event))))
    }
}

impl Grid {
    fn start(per_second: f64, total: u64, takers: u32) -> Grid {
        let begin = Instant::now();
        let (due, stopped) = (Arc::new(Semaphore::new(0)), Arc::new(AtomicBool::new(false)));
        let mut grid = Grid { begin, per_second, due: due.clone(), stopped: stopped.clone(), thread: None };
        let release = move || {
            let mut released = 0;
            while released < total && !stopped.load(Ordering::Relaxed) {
                let now = Instant::now();
                let due_by_now = (((now - begin).as_secs_f64() * per_second) as u64).saturating_add(1).min(total);
                due.add_permits(usize::try_from(due_by_now - released).unwrap_or(0));
                released = due_by_now;
                let following = begin + Duration::from_secs_f64(released as f64 / per_second);
                std::thread::park_timeout(following.saturating_duration_since(Instant::now()).max(TICK));
            }
            // One more for each connection, so that all learn that nothing follows.
            due.add_permits(takers as usize);
        };
        // Without its thread the grid would never send: a closed semaphore ends the phase and the report shows it.
        match std::thread::Builder::new().name("pace".into()).spawn(release) {
            Ok(thread) => grid.thread = Some(thread),
            Err(_) => grid.due.close(),
        }
        grid
    }

    fn time_of(&self, event: u64) -> Instant {
        self.begin + Duration::from_secs_f64(event as f64 / self.per_second)
    }
}

impl Drop for Grid {
    fn drop(&mut self) {
        self.stopped.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            // It cannot panic, and if it did there is nobody to tell.
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn as_fast_as_possible_ends_with_the_last_event_or_in_time() {
        let pace = Pace::start(Rate::Max, 2, None, 1);
        assert_eq!([pace.next().await, pace.next().await, pace.next().await], [Some((0, None)), Some((1, None)), None]);
        let over = Pace::start(Rate::Max, 2, Some(Instant::now()), 1);
        assert_eq!(over.next().await, None);
    }

    #[tokio::test]
    async fn a_grid_never_sends_early_and_ends_for_every_connection() {
        let pace = Arc::new(Pace::start(Rate::PerSecond(2_000.0), 100, None, 3));
        let take = |pace: Arc<Pace>| async move {
            let mut taken = Vec::new();
            while let Some((event, due)) = pace.next().await {
                let due = due.expect("a grid has times");
                assert!(Instant::now() >= due, "event {event} was handed out early");
                taken.push((event, due));
            }
            taken
        };
        let (a, b, c) = tokio::join!(take(pace.clone()), take(pace.clone()), take(pace.clone()));
        let mut all = [a, b, c].concat();
        all.sort();
        assert_eq!(all.iter().map(|(event, _)| *event).collect::<Vec<_>>(), (0..100).collect::<Vec<_>>());
        let gaps: Vec<_> = all.windows(2).map(|pair| (pair[1].1 - pair[0].1).as_micros()).collect();
        assert!(gaps.iter().all(|gap| (499..=501).contains(gap)), "{gaps:?}");
    }
}
