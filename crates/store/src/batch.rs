//! Group commit: the queue in which concurrent callers' work gathers while the previous group is being written.
//!
//! Callers [`submit`](Queue::submit) work and await its answer. One writer [`take`](Queue::take)s everything that waits, does it in one
//! transaction and then answers everybody. This module knows no database: `W` is what the work is done on, `E` how that fails.

use crate::error::unavailable;
use parking_lot::{Condvar, Mutex};
use postrider_core::ports::StoreError;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, oneshot};

/// How much may wait, in units of weight (about one row, or one page of payload, each). Callers beyond it wait for room, so that memory stays bounded.
pub(crate) const MAX_WAITING: u32 = 16_384;

/// How much goes into one transaction. More gains nothing and makes everybody in the group wait longer.
pub(crate) const MAX_GROUP: u32 = 4_096;

/// How long patient work waits for company at most.
pub(crate) const LINGER: Duration = Duration::from_millis(2);

/// Whether work may wait for company.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Urgency {
    /// The writer is woken at once.
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

struct Waiting<W, E> {
    entries: VecDeque<Entry<W, E>>,
    weight: u32,
    urgent: usize,
    closed: bool,
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
            waiting: Mutex::new(Waiting { entries: VecDeque::new(), weight: 0, urgent: 0, closed: false }),
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
        waiting.urgent += usize::from(entry.urgency == Urgency::Now);
        // A patient one wakes the writer only to start its linger, or when there is a group's worth of them.
        let wake = first || entry.urgency == Urgency::Now || waiting.weight >= MAX_GROUP;
        waiting.entries.push_back(entry);
        drop(waiting);
        if wake {
            self.wake.notify_one();
        }
        Ok(())
    }

    /// Waits for work and takes what there is, in order, up to [`MAX_GROUP`] (at least one). `None` once the queue is closed and empty.
    pub(crate) fn take(&self) -> Option<Vec<Box<dyn Job<W, E>>>> {
        let mut waiting = self.waiting.lock();
        let mut deadline = None;
        while waiting.urgent == 0 && waiting.weight < MAX_GROUP && !waiting.closed {
            if waiting.entries.is_empty() {
                self.wake.wait(&mut waiting);
                continue;
            }
            let deadline = *deadline.get_or_insert_with(|| (tokio::time::Instant::now() + LINGER).into_std());
            if self.wake.wait_until(&mut waiting, deadline).timed_out() {
                break;
            }
        }
        let mut group = Vec::with_capacity(waiting.entries.len());
        let mut weight = 0;
        while let Some(next) = waiting.entries.front() {
            if !group.is_empty() && weight + next.weight > MAX_GROUP {
                break;
            }
            let Some(entry) = waiting.entries.pop_front() else { break };
            weight += entry.weight;
            waiting.weight -= entry.weight;
            waiting.urgent -= usize::from(entry.urgency == Urgency::Now);
            group.push(entry.job);
        }
        (!group.is_empty()).then_some(group)
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
