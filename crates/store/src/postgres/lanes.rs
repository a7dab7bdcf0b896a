//! Group commit: the lanes on which publishes, slices of fan-outs and settlements are written, many callers' work in one transaction.
//!
//! Each lane does one group after another. Publishes and slices go to any lane: to one that is free at once if none writes, or as soon as there is as
//! much to write as is being written, and else with whatever has gathered when the first one is free. Settlements are patient: a call waits in a lane for company, for urgent work to ride with, or for a moment.
//!
//! A call is stored whole or not at all, so that it goes to one lane as it is: to that of its first settlement's subscription. That is a guess at
//! who has company, and nothing depends on it. An engine has one call under way with whatever has ended meanwhile. Where several have, on other
//! lanes or nodes, rows are locked in the order of ids, so that one waits for the other and never in a circle; the numbers that all of them change
//! are in shards that no two have at a time; and whoever has outcomes of the same endpoint waits for its health from the end of a transaction to its commit.

mod queue;

use super::error::{Error, Result};
use super::fan_out;
use super::pool::Pool;
use super::publish;
use super::settle;
use super::transact::Writers;
use super::tx::Tx;
use parking_lot::Mutex;
use postrider_core::ports::{FanOutSlice, NewEvent, Published, Settled, Settlement, Sliced, StoreError, StoreErrorKind};
use queue::{Answer, Entry, Queue, Work};
use std::collections::VecDeque;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// Payload of this size counts as much as a row.
const PAGE: usize = 4_096;

/// A release build ends with the first panic. Where panics unwind, which is in tests, those who wait are told.
struct Abandon(Arc<Queue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("a lane of the store panicked; nothing more is written until the process is started again");
            self.0.abandon();
        }
    }
}

/// The lanes of a node.
pub(super) struct Lanes {
    queue: Arc<Queue>,
    tasks: Mutex<Vec<JoinHandle<()>>>,
}

impl Lanes {
    /// Starts so many. The pool is theirs, with a connection for each.
    pub(super) fn start(lanes: usize, pool: Pool, writers: &Arc<Writers>) -> Self {
        let (queue, pool) = (Arc::new(Queue::new(lanes)), Arc::new(pool));
        let task = |lane| {
            let writer = Writer { lane, pool: Arc::clone(&pool), writers: Arc::clone(writers) };
            tokio::spawn(writer.run(Arc::clone(&queue)))
        };
        let tasks = (0..queue.lanes()).map(task).collect();
        Lanes { queue, tasks: Mutex::new(tasks) }
    }

    /// Stores events with their deliveries.
    pub(super) async fn publish(&self, events: Vec<NewEvent>) -> Answer<Vec<Published>> {
        let weight: usize = events.iter().map(event_weight).sum();
        self.queue.submit(weight, None, |reply| Work::Publish(events, reply)).await
    }

    /// Stores slices of fan-outs.
    pub(super) async fn fan_out(&self, slices: Vec<FanOutSlice>) -> Answer<Vec<Sliced>> {
        if slices.is_empty() {
            return Ok(Vec::new());
        }
        let weight: usize = slices.iter().map(|slice| 1 + slice.deliveries.len()).sum();
        self.queue.submit(weight, None, |reply| Work::FanOut(slices, reply)).await
    }

    /// Stores what became of deliveries.
    pub(super) async fn settle(&self, settlements: Arc<[Settlement]>) -> Answer<Vec<Settled>> {
        let Some(first) = settlements.first() else { return Ok(Vec::new()) };
        let lane = (first.subscription.uuid().as_u128() % self.queue.lanes() as u128) as usize;
        let follow_ups: usize = settlements.iter().filter_map(|settlement| settlement.follow_up.as_deref()).map(event_weight).sum();
        let weight = settlements.len() + follow_ups;
        self.queue.submit(weight, Some(lane), |reply| Work::Settle(settlements, reply)).await
    }

    /// Takes no more work and waits until what there was is done.
    pub(super) async fn close(&self) {
        self.queue.close();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        for task in tasks {
            if task.await.is_err() {
                tracing::error!("a lane of the store had panicked");
            }
        }
    }

    /// Ends everything as it is.
    pub(super) fn abort(&self) {
        self.tasks.lock().iter().for_each(JoinHandle::abort);
    }
}

/// A row each, and one more for every page of payload.
fn event_weight(event: &NewEvent) -> usize {
    1 + event.deliveries.len() + event.payload.len() / PAGE
}

/// What a group has come to, in the order of its entries.
struct Done {
    published: std::vec::IntoIter<Published>,
    sliced: std::vec::IntoIter<Sliced>,
    settled: std::vec::IntoIter<Settled>,
}

impl Done {
    fn answer(&mut self, work: Work) {
        match work {
            Work::Publish(events, reply) => drop(reply.send(all_of(&mut self.published, events.len()))),
            Work::FanOut(slices, reply) => drop(reply.send(all_of(&mut self.sliced, slices.len()))),
            Work::Settle(settlements, reply) => drop(reply.send(all_of(&mut self.settled, settlements.len()))),
        }
    }
}

fn all_of<T>(answers: &mut std::vec::IntoIter<T>, n: usize) -> Answer<Vec<T>> {
    let taken: Vec<T> = answers.take(n).collect();
    if taken.len() == n {
        return Ok(taken);
    }
    Err(StoreError { kind: StoreErrorKind::Internal, cause: "fewer answers than questions".to_owned() })
}

/// What a lane's task has.
struct Writer {
    lane: usize,
    pool: Arc<Pool>,
    writers: Arc<Writers>,
}

impl Writer {
    async fn run(self, queue: Arc<Queue>) {
        // However this task ends, nobody is left waiting for it.
        let abandon = Abandon(queue);
        while let Some(group) = abandon.0.take(self.lane).await {
            self.write(group).await;
            // Whoever was answered and comes back at once is in the next group.
            tokio::task::yield_now().await;
        }
    }

    async fn write(&self, group: Vec<Entry>) {
        match self.store(&group).await {
            Ok(mut done) => group.into_iter().for_each(|entry| done.answer(entry.work)),
            Err(error) if group.len() > 1 && error.is_fault_of_one() => {
                tracing::warn!(%error, commands = group.len(), "one command of a group failed; they are done one by one");
                self.write_one_by_one(group.into()).await;
            }
            Err(error) => refuse(group, error),
        }
    }

    /// Each in a transaction of its own, until one fails and it is not its own fault: the others would come to the same, each after as long as that
    /// takes.
    async fn write_one_by_one(&self, mut group: VecDeque<Entry>) {
        while let Some(entry) = group.pop_front() {
            match self.store(std::slice::from_ref(&entry)).await {
                Ok(mut done) => done.answer(entry.work),
                Err(error) if error.is_fault_of_one() => refuse(vec![entry], error),
                Err(error) => {
                    group.push_front(entry);
                    return refuse(group.into(), error);
                }
            }
        }
    }

    async fn store(&self, group: &[Entry]) -> Result<Done> {
        let (mut events, mut slices, mut settlements): (Vec<&NewEvent>, Vec<&FanOutSlice>, Vec<&Settlement>) = Default::default();
        for entry in group {
            match &entry.work {
                Work::Publish(new, _) => events.extend(new),
                Work::FanOut(new, _) => slices.extend(new),
                Work::Settle(new, _) => settlements.extend(new.iter()),
            }
        }
        let seat = self.writers.lane(&self.pool);
        transact!(seat, tx => together(tx, &events, &slices, &settlements))
    }
}

/// All of a group in one transaction, each kind at once.
async fn together(tx: &mut Tx, events: &[&NewEvent], slices: &[&FanOutSlice], settlements: &[&Settlement]) -> Result<Done> {
    let (mut published, mut sliced, mut settled) = (Vec::new(), Vec::new(), Vec::new());
    if !events.is_empty() {
        published = publish::publish(tx, events).await?;
    }
    if !slices.is_empty() {
        sliced = fan_out::fan_out(tx, slices).await?;
    }
    if !settlements.is_empty() {
        settled = settle::settle(tx, settlements).await?;
    }
    Ok(Done { published: published.into_iter(), sliced: sliced.into_iter(), settled: settled.into_iter() })
}

fn refuse(group: Vec<Entry>, error: Error) {
    let answer = error.into_store();
    tracing::error!(cause = answer.cause.as_str(), commands = group.len(), "a group could not be written");
    group.into_iter().for_each(|entry| entry.work.refuse(answer.clone()));
}
