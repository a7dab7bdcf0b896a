//! Outcomes on their way into the store.
//!
//! One task stores them in the order in which they came, everything that waits in one piece; deliveries that only go back to the store
//! ride along behind them. What follows from an outcome (a retry, room for another delivery) follows only after it has been stored; the
//! event that it may make is stored with it.

mod apart;
mod entry;
mod store;

pub(crate) use entry::{After, Entry};

use crate::dispatch::InFlight;
use crate::job::Job;
use crate::series::Part;
use crate::shared::Shared;
use apart::Apart;
use parking_lot::Mutex;
use postrider_core::attempt::Attempt;
use postrider_core::delivery::State;
use postrider_core::error::ErrorCode;
use postrider_core::ports::{Settled, Settlement};
use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use tokio::sync::Notify;

/// Rows stored in one piece, about: a settlement is one, and the event that it makes with its deliveries as many as they are.
const GROUP: usize = 1_024;

/// How much of a group goes to deliveries that are given back, where outcomes would fill all of it.
const GIVEN_BACK: usize = GROUP / 8;

/// The outcomes that wait to be stored.
pub(crate) struct Settler {
    waiting: Mutex<Waiting>,
    /// Outcomes that wait or are being stored.
    outcomes: AtomicUsize,
    /// Deliveries on their way back to the store. They count as held in memory until then, and hold up no exchange.
    returns: AtomicUsize,
    /// Outcomes stored so far.
    stored: AtomicU64,
    /// Deliveries given back to the store so far.
    returned: AtomicU64,
    /// The store did not take the last ones.
    failing: AtomicBool,
    limit: usize,
    wake: Notify,
    progress: Notify,
}

#[derive(Default)]
struct Waiting {
    outcomes: VecDeque<Entry>,
    returns: VecDeque<Entry>,
    handed_in: Mark,
}

/// What was handed in so far; see [`Settler::passed`].
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Mark {
    outcomes: u64,
    returns: u64,
}

/// What is stored in one piece.
#[derive(Default)]
struct Group {
    entries: Vec<Entry>,
    outcomes: usize,
}

impl Settler {
    pub(crate) fn new(limit: usize) -> Self {
        Settler {
            waiting: Mutex::default(),
            outcomes: AtomicUsize::new(0),
            returns: AtomicUsize::new(0),
            stored: AtomicU64::new(0),
            returned: AtomicU64::new(0),
            failing: AtomicBool::new(false),
            limit,
            wake: Notify::new(),
            progress: Notify::new(),
        }
    }

    /// Whether another exchange may begin: its outcome must find room, and a store that takes it.
    pub(crate) fn has_room(&self) -> bool {
        !self.failing.load(Ordering::Relaxed) && self.outcomes.load(Ordering::Relaxed) < self.limit
    }

    /// Outcomes, and deliveries given back, that are not stored yet.
    pub(crate) fn unsettled(&self) -> usize {
        self.outcomes.load(Ordering::Relaxed) + self.returns.load(Ordering::Relaxed)
    }

    pub(crate) fn push(&self, entry: Entry) {
        self.extend(std::iter::once(entry));
    }

    /// Deliveries go back to the store as they are.
    pub(crate) fn push_back(&self, jobs: Vec<Job>) {
        let mut waiting = self.waiting.lock();
        let first = waiting.is_empty() && !jobs.is_empty();
        self.returns.fetch_add(jobs.len(), Ordering::Relaxed);
        waiting.handed_in.returns += jobs.len() as u64;
        waiting.returns.extend(jobs.into_iter().map(Entry::back));
        drop(waiting);
        if first {
            self.wake.notify_one();
        }
    }

    /// An exchange takes its time: it is recorded as under way. Answers whether it was.
    pub(crate) fn push_started(&self, shared: &Shared, flight: &InFlight) -> bool {
        let started = Entry::started(shared, flight);
        let recorded = started.is_some();
        self.extend(started.into_iter());
        recorded
    }

    pub(crate) fn extend(&self, entries: impl Iterator<Item = Entry>) {
        let mut waiting = self.waiting.lock();
        let (first, before) = (waiting.is_empty(), waiting.outcomes.len());
        waiting.outcomes.extend(entries);
        let added = waiting.outcomes.len() - before;
        waiting.handed_in.outcomes += added as u64;
        self.outcomes.fetch_add(added, Ordering::Relaxed);
        drop(waiting);
        if first && added > 0 {
            self.wake.notify_one();
        }
    }

    /// What was handed in so far; see [`Settler::passed`].
    pub(crate) fn mark(&self) -> Mark {
        self.waiting.lock().handed_in
    }

    /// Waits until as many outcomes are stored, and as many deliveries given back, as had been handed in at a [`Settler::mark`].
    pub(crate) async fn passed(&self, mark: Mark) {
        let is_stored = || self.stored.load(Ordering::Relaxed) >= mark.outcomes && self.returned.load(Ordering::Relaxed) >= mark.returns;
        self.until(is_stored).await;
    }

    /// Waits until everything that was handed in is stored.
    pub(crate) async fn flushed(&self) {
        self.until(|| self.unsettled() == 0).await;
    }

    async fn until(&self, is_so: impl Fn() -> bool) {
        loop {
            let progress = self.progress.notified();
            if is_so() {
                return;
            }
            progress.await;
        }
    }

    async fn take(&self) -> Group {
        loop {
            {
                let mut waiting = self.waiting.lock();
                if !waiting.is_empty() {
                    let group = waiting.group();
                    if !waiting.is_empty() {
                        // What stays behind must not wait for a push that finds the queue empty.
                        self.wake.notify_one();
                    }
                    return group;
                }
            }
            self.wake.notified().await;
        }
    }

    fn done(&self, outcomes: usize, returns: usize) {
        self.outcomes.fetch_sub(outcomes, Ordering::Relaxed);
        self.returns.fetch_sub(returns, Ordering::Relaxed);
        self.stored.fetch_add(outcomes as u64, Ordering::Relaxed);
        self.returned.fetch_add(returns as u64, Ordering::Relaxed);
        self.progress.notify_waiters();
    }
}

impl Waiting {
    fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.returns.is_empty()
    }

    /// Outcomes first, for others wait for them; but what is given back goes too, for it takes up memory.
    fn group(&mut self) -> Group {
        let room = GROUP - self.returns.len().min(GIVEN_BACK);
        let (mut outcomes, mut weight) = (0, 0);
        while let Some(entry) = self.outcomes.get(outcomes) {
            let with_it = weight + entry.weight();
            if with_it > room && outcomes > 0 {
                break;
            }
            (outcomes, weight) = (outcomes + 1, with_it);
        }
        let returns = self.returns.len().min(GROUP.saturating_sub(weight));
        let entries = self.outcomes.drain(..outcomes).chain(self.returns.drain(..returns)).collect();
        Group { entries, outcomes }
    }
}

/// Stores outcomes for as long as the engine lives.
///
/// They are never dropped: while the store cannot take them, no new exchange begins, and it is tried again.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut apart = Apart::default();
    loop {
        let group = tokio::select! {
            biased;
            group = shared.settler.take() => group,
            () = apart.next_try() => Group::default(),
        };
        let group = apart.hold_back(&shared, group);
        let (outcomes, returns) = (group.outcomes, group.entries.len() - group.outcomes);
        let (settlements, rests): (Vec<_>, Vec<_>) = group.entries.into_iter().map(|e| (e.settlement, (e.after, e.made_at))).unzip();
        let settlements: Arc<[_]> = settlements.into();
        let results = store::until_stored(&shared, &settlements).await;
        debug_assert_eq!(results.len(), rests.len(), "one answer for each settlement");
        let (mut settled, mut part) = (Vec::with_capacity(rests.len()), Part::default());
        for (n, ((after, made_at), result)) in rests.into_iter().zip(results).enumerate() {
            match result {
                Some(result) => {
                    stored(&shared, &settlements[n], &after, result);
                    part.answered(&settlements[n], made_at, result);
                    settled.push(after.given(result));
                }
                None => apart.put(Entry { settlement: settlements[n].clone(), after, made_at }, n < outcomes),
            }
        }
        shared.series.add(shared.now(), part);
        let kept = apart.just_put();
        // Room first: what goes off next may look at it.
        shared.settler.done(outcomes - kept.0, returns - kept.1);
        settled.extend(apart.try_again(&shared).await);
        shared.dispatcher.settled(&shared, settled.into_iter());
    }
}

/// Whether nothing was sent, for there was no body that could be: that says nothing about the receiver.
fn is_of_the_body(attempt: &Attempt) -> bool {
    let code = attempt.outcome.as_ref().and_then(|outcome| outcome.error.as_ref()).map(|error| error.code);
    matches!(code, Some(ErrorCode::SerializationFailed | ErrorCode::TemplateError | ErrorCode::PayloadTooLarge))
}

/// An outcome has its answer. The event that it made is stored with it: its deliveries wait in the store and are due.
fn stored(shared: &Shared, settlement: &Settlement, after: &After, settled: Settled) {
    if settled != Settled::Stored {
        return;
    }
    if let (After::LetGo { endpoint, .. }, Some(attempt)) = (after, &settlement.attempt)
        && !is_of_the_body(attempt)
    {
        shared.ended(*endpoint, settlement.progress.state == State::Succeeded);
    }
    let Some(event) = settlement.follow_up.as_deref() else { return };
    shared.dispatcher.note_stored(event.deliveries.iter().map(|delivery| delivery.endpoint), event.created_at);
    if event.fan_out_after.is_some() {
        shared.carry_on(event.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing;
    use std::pin::pin;
    use std::task::{Context, Poll, Waker};

    /// Whoever looks for a delivery in the store looks after it came there, also where it came there as it was.
    #[test]
    fn a_mark_is_passed_when_what_was_given_back_is_stored_too() {
        let job = || testing::job(&testing::route(|endpoint| endpoint));
        let settler = Settler::new(10);
        settler.push_back(vec![job()]);
        let mark = settler.mark();
        settler.push_back(vec![job()]);
        settler.push(Entry::back(job()));
        let mut passed = pin!(settler.passed(mark));
        let mut look = || passed.as_mut().poll(&mut Context::from_waker(Waker::noop()));
        assert_eq!(look(), Poll::Pending);
        settler.done(1, 0);
        assert_eq!(look(), Poll::Pending, "that was another one");
        settler.done(0, 1);
        assert_eq!(look(), Poll::Ready(()));
    }
}
