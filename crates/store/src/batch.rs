//! Group commit: the queue in which concurrent callers' work gathers while the previous group is being written.
//!
//! Callers [`submit`](Queue::submit) work and await its answer. One writer [`take`](Queue::take)s everything that waits, does it in one
//! transaction and then answers everybody. This module knows no database: `W` is what the work is done on, `E` how that fails.

use crate::bounds::{LINGER, MAX_GROUP, MAX_WAITING};
use crate::error::unavailable;
use parking_lot::{Condvar, Mutex, MutexGuard};
use postrider_core::ports::StoreError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How long after a group urgent work waits for company that is to be expected, at most. A commit costs as much again as some
/// dozens of rows, so that the first callers to come back after a group had better not get a commit of their own.
pub(crate) const GATHER: Duration = Duration::from_micros(300);

/// Whether work may wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// It waits for no more than those who are to be expected within [`GATHER`] of the group before: not at all when nobody is.
    Now,
    /// It rides with the next urgent work, or goes after [`LINGER`].
    Patient,
}

/// Work whose answer somebody awaits.
pub(crate) trait Job<W, E>: Send {
    /// Does the work. It may be done again, after what it did before was undone.
    fn run(&mut self, on: &mut W) -> Result<(), E>;
    /// Answers with what the work came to, or with why nothing of it holds.
    fn answer(self: Box<Self>, result: Result<(), StoreError>);
}

struct Call<F, A> {
    work: F,
    value: Option<A>,
    reply: oneshot::Sender<Result<A, StoreError>>,
    /// Its room in the queue, given back when it has been answered.
    _room: OwnedSemaphorePermit,
}

impl<W, E, F, A> Job<W, E> for Call<F, A>
where
    F: FnMut(&mut W) -> Result<A, E> + Send,
    A: Send,
{
    fn run(&mut self, on: &mut W) -> Result<(), E> {
        self.value = Some((self.work)(on)?);
        Ok(())
    }

    fn answer(self: Box<Self>, result: Result<(), StoreError>) {
        let Call { value, reply, .. } = *self;
        let answer = result.and_then(|()| value.ok_or_else(|| unavailable("the work was not done")));
        // Whoever asked may have gone away meanwhile; what was stored stays stored.
        let _ = reply.send(answer);
    }
}

struct Entry<W, E> {
    job: Box<dyn Job<W, E>>,
    weight: u32,
    urgency: Urgency,
}

impl<W, E> Entry<W, E> {
    fn urgent_weight(&self) -> u32 {
        if self.urgency == Urgency::Now { self.weight } else { 0 }
    }
}

struct Waiting<W, E> {
    entries: VecDeque<Entry<W, E>>,
    weight: u32,
    /// Of that, what is urgent.
    urgent: u32,
    /// The urgent weight of the group that was taken last: its callers are likely to come back soon.
    last_urgent: u32,
    /// How much urgent weight the writer waits for; below it nobody needs to wake it.
    enough: u32,
    closed: bool,
}

impl<W, E> Waiting<W, E> {
    /// How much urgent work makes a good group now: more than half of what those who were answered just now and those who wait already make.
    /// The rest makes the next one meanwhile, so that neither the writer nor the callers stand still.
    fn good_group(&self) -> u32 {
        ((self.last_urgent + self.urgent) * 3 / 5).min(MAX_GROUP)
    }

    fn is_full(&self) -> bool {
        self.weight >= MAX_GROUP || self.closed
    }

    /// Takes what there is, in order, up to [`MAX_GROUP`] (at least one).
    fn take(&mut self) -> Vec<Box<dyn Job<W, E>>> {
        let mut group = Vec::with_capacity(self.entries.len());
        let (mut weight, urgent) = (0, self.urgent);
        while let Some(next) = self.entries.front() {
            if !group.is_empty() && weight + next.weight > MAX_GROUP {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            weight += entry.weight;
            self.weight -= entry.weight;
            self.urgent -= entry.urgent_weight();
            group.push(entry.job);
        }
        self.last_urgent = urgent - self.urgent;
        group
    }
}

/// The queue between callers and the one writer.
pub(crate) struct Queue<W, E> {
    waiting: Mutex<Waiting<W, E>>,
    wake: Condvar,
    room: Arc<Semaphore>,
}

impl<W, E> Queue<W, E> {
    pub(crate) fn new() -> Self {
        Queue {
            waiting: Mutex::new(Waiting { entries: VecDeque::new(), weight: 0, urgent: 0, last_urgent: 0, enough: 0, closed: false }),
            wake: Condvar::new(),
            room: Arc::new(Semaphore::new(MAX_WAITING as usize)),
        }
    }

    /// Hands work of this weight to the writer and awaits its answer. Waits for room first if too much waits already.
    ///
    /// Dropping the future before it has room withdraws the work; after that the work is done all the same.
    pub(crate) async fn submit<A, F>(&self, weight: u32, urgency: Urgency, work: F) -> Result<A, StoreError>
    where
        F: FnMut(&mut W) -> Result<A, E> + Send + 'static,
        A: Send + 'static,
        W: 'static,
        E: 'static,
    {
        let weight = weight.clamp(1, MAX_WAITING);
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.push(Entry { job: Box::new(Call { work, value: None, reply, _room: room }), weight, urgency })?;
        answer.await.unwrap_or_else(|_| Err(unavailable("the writer is gone")))
    }

    fn push(&self, entry: Entry<W, E>) -> Result<(), StoreError> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        let first = waiting.entries.is_empty();
        waiting.weight += entry.weight;
        waiting.urgent += entry.urgent_weight();
        // A patient one wakes the writer only to start its linger, or when there is a group's worth of them.
        let wake = match entry.urgency {
            Urgency::Now => waiting.urgent >= waiting.enough,
            Urgency::Patient => first && waiting.enough == 0,
        } || waiting.weight >= MAX_GROUP;
        waiting.entries.push_back(entry);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes what there is, in order, up to [`MAX_GROUP`] (at least one). `None` once the queue is closed and empty.
    ///
    /// To be called as soon as the group before has been answered: who comes within [`GATHER`] of that is taken together.
    pub(crate) fn take(&self) -> Option<Vec<Box<dyn Job<W, E>>>> {
        let mut waiting = self.waiting.lock();
        self.gather(&mut waiting);
        let mut lingering = None;
        while waiting.urgent == 0 && !waiting.is_full() {
            if waiting.entries.is_empty() {
                self.wake.wait(&mut waiting);
                continue;
            }
            let until = *lingering.get_or_insert_with(|| soon(LINGER));
            if self.wake.wait_until(&mut waiting, until).timed_out() {
                break;
            }
        }
        let group = waiting.take();
        (!group.is_empty()).then_some(group)
    }

    /// Waits for those who are to be expected, if there are any.
    fn gather(&self, waiting: &mut MutexGuard<'_, Waiting<W, E>>) {
        waiting.enough = waiting.good_group();
        if waiting.urgent < waiting.enough {
            let until = soon(GATHER);
            while waiting.urgent < waiting.enough && !waiting.is_full() && !self.wake.wait_until(waiting, until).timed_out() {}
        }
        waiting.enough = 0;
    }

    /// Takes no more work; what waits is still handed to the writer.
    pub(crate) fn close(&self) {
        self.room.close();
        self.waiting.lock().closed = true;
        self.wake.notify_all();
    }

    /// Takes no more work and answers what waits: there is no writer any more.
    pub(crate) fn abandon(&self) {
        self.close();
        let entries = std::mem::take(&mut self.waiting.lock().entries);
        for entry in entries {
            entry.job.answer(Err(unavailable("the writer is gone")));
        }
    }
}

fn soon(after: Duration) -> std::time::Instant {
    (tokio::time::Instant::now() + after).into_std()
}

fn closed() -> StoreError {
    unavailable("the store is closed")
}

#[cfg(test)]
mod tests {
    use super::*;
    use postrider_core::ports::StoreErrorKind;

    type Log = Vec<u32>;
    type TestQueue = Queue<Log, StoreError>;

    fn add(n: u32) -> impl FnMut(&mut Log) -> Result<u32, StoreError> + Send + 'static {
        move |log| {
            log.push(n);
            Ok(n)
        }
    }

    /// Polls once, so that the work is in the queue when this returns.
    async fn queued<F: std::future::Future>(future: &mut std::pin::Pin<Box<F>>) {
        let pending = std::future::poll_fn(|cx| std::task::Poll::Ready(future.as_mut().poll(cx).is_pending())).await;
        assert!(pending, "nobody has answered yet");
    }

    fn write(group: Vec<Box<dyn Job<Log, StoreError>>>, log: &mut Log) {
        for mut job in group {
            let result = job.run(log);
            job.answer(result);
        }
    }

    #[tokio::test]
    async fn everything_that_waits_is_one_group_in_order() {
        let (queue, mut log) = (TestQueue::new(), Log::new());
        let mut calls: Vec<_> = (0..100).map(|n| Box::pin(queue.submit(1, Urgency::Now, add(n)))).collect();
        for call in &mut calls {
            queued(call).await;
        }
        let group = queue.take().expect("a group");
        assert_eq!(group.len(), 100);
        write(group, &mut log);
        for (n, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await, Ok(n as u32));
        }
        assert_eq!(log, (0..100).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn a_group_is_capped_and_one_oversized_piece_still_goes() {
        let queue = TestQueue::new();
        let mut calls: Vec<_> =
            [MAX_GROUP - 1, 1, 1, MAX_WAITING * 2].into_iter().map(|w| Box::pin(queue.submit(w, Urgency::Now, add(w)))).collect();
        for call in &mut calls {
            queued(call).await;
        }
        assert_eq!(queue.take().map(|g| g.len()), Some(2));
        assert_eq!(queue.take().map(|g| g.len()), Some(1));
        // The room of the first three is back now, for their jobs were dropped.
        queued(&mut calls[3]).await;
        assert_eq!(queue.take().map(|g| g.len()), Some(1));
    }

    #[tokio::test]
    async fn patient_work_goes_by_itself_after_the_linger() {
        let queue = Arc::new(TestQueue::new());
        let mut call = Box::pin(queue.submit(1, Urgency::Patient, add(7)));
        queued(&mut call).await;
        let writer = Arc::clone(&queue);
        let log = tokio::task::spawn_blocking(move || {
            let mut log = Log::new();
            write(writer.take().expect("a group"), &mut log);
            log
        });
        assert_eq!(call.await, Ok(7));
        assert_eq!(log.await.expect("the writer ends"), [7]);
    }

    /// Lets as much urgent work of weight 1 through as a group of the queue's own making, so that it expects that much to come back.
    async fn answer_group_of(queue: &TestQueue, n: u32) {
        let mut calls: Vec<_> = (0..n).map(|n| Box::pin(queue.submit(1, Urgency::Now, add(n)))).collect();
        for call in &mut calls {
            queued(call).await;
        }
        write(queue.take().expect("a group"), &mut Log::new());
        for call in calls {
            call.await.expect("an answer");
        }
    }

    #[tokio::test]
    async fn who_is_expected_back_is_waited_for_but_not_for_long() {
        let queue = Arc::new(TestQueue::new());
        answer_group_of(&queue, 10).await;
        let mut first = Box::pin(queue.submit(1, Urgency::Now, add(1)));
        queued(&mut first).await;
        assert_eq!(queue.waiting.lock().good_group(), 6, "three fifths of eleven");
        // The others never come: the one that did is not kept.
        let writer = Arc::clone(&queue);
        let group = tokio::task::spawn_blocking(move || writer.take().map(|group| group.len()));
        assert_eq!(group.await.expect("the writer ends"), Some(1));
        assert_eq!(queue.waiting.lock().good_group(), 0, "one caller alone is never made to wait for another");
    }

    #[tokio::test]
    async fn the_writer_goes_as_soon_as_enough_have_come_back() {
        let queue = Arc::new(TestQueue::new());
        answer_group_of(&queue, 10).await;
        let mut calls: Vec<_> = (0..6).map(|n| Box::pin(queue.submit(1, Urgency::Now, add(n)))).collect();
        for call in &mut calls {
            queued(call).await;
        }
        let mut waiting = queue.waiting.lock();
        assert!(waiting.urgent < waiting.good_group(), "nine would be three fifths of sixteen");
        waiting.last_urgent = 4;
        drop(waiting);
        let mut waiting = queue.waiting.lock();
        queue.gather(&mut waiting);
        assert_eq!((waiting.enough, waiting.urgent), (0, 6), "it did not wait at all: nobody could have woken it");
    }

    #[tokio::test]
    async fn callers_wait_for_room() {
        let (queue, mut log) = (TestQueue::new(), Log::new());
        let mut first = Box::pin(queue.submit(MAX_WAITING, Urgency::Now, add(1)));
        queued(&mut first).await;
        let mut second = Box::pin(queue.submit(1, Urgency::Now, add(2)));
        queued(&mut second).await;
        write(queue.take().expect("a group"), &mut log);
        assert_eq!(log, [1], "the second one was not in the queue");
        assert_eq!(first.await, Ok(1));
        queued(&mut second).await;
        write(queue.take().expect("a group"), &mut log);
        assert_eq!(second.await, Ok(2));
    }

    #[tokio::test]
    async fn closing_lets_waiting_work_finish_and_refuses_new_work() {
        let (queue, mut log) = (TestQueue::new(), Log::new());
        let mut call = Box::pin(queue.submit(1, Urgency::Patient, add(1)));
        queued(&mut call).await;
        queue.close();
        assert_eq!(queue.submit(1, Urgency::Now, add(2)).await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        write(queue.take().expect("a group"), &mut log);
        assert_eq!(call.await, Ok(1));
        assert!(queue.take().is_none());
    }

    #[tokio::test]
    async fn nobody_hangs_when_the_writer_is_gone() {
        let queue = TestQueue::new();
        let (mut waiting, mut taken) = (Box::pin(queue.submit(1, Urgency::Now, add(1))), Box::pin(queue.submit(1, Urgency::Now, add(2))));
        queued(&mut taken).await;
        drop(queue.take());
        queued(&mut waiting).await;
        queue.abandon();
        assert_eq!(taken.await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
        assert_eq!(waiting.await.map_err(|e| e.kind), Err(StoreErrorKind::Unavailable));
    }
}
