//! The queue between callers and lanes. It knows no database.

use crate::bounds::{LINGER, MAX_GROUP, MAX_WAITING};
use crate::postgres::error::closed;
use parking_lot::Mutex;
use postrider_core::ports::{FanOutSlice, NewEvent, Published, Settled, Settlement, Sliced, StoreError, StoreErrorKind};
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, oneshot};
use tokio::time::Instant;

/// So much waits for each lane that writes, at the most, before another one begins.
const COMPANY: u32 = 64;

/// How long urgent work is held at most, so that a transaction that takes long keeps nobody else waiting.
const HELD: Duration = Duration::from_millis(5);

/// What a caller is answered.
pub(super) type Answer<A> = std::result::Result<A, StoreError>;

/// A caller's work, and where its answer goes.
pub(super) enum Work {
    Publish(Vec<NewEvent>, oneshot::Sender<Answer<Vec<Published>>>),
    FanOut(Vec<FanOutSlice>, oneshot::Sender<Answer<Vec<Sliced>>>),
    Settle(Arc<[Settlement]>, oneshot::Sender<Answer<Vec<Settled>>>),
}

impl Work {
    /// Answers with why nothing of it holds.
    pub(super) fn refuse(self, error: StoreError) {
        // Whoever asked may have gone away meanwhile.
        match self {
            Work::Publish(_, reply) => drop(reply.send(Err(error))),
            Work::FanOut(_, reply) => drop(reply.send(Err(error))),
            Work::Settle(_, reply) => drop(reply.send(Err(error))),
        }
    }
}

/// What waits in the queue.
pub(super) struct Entry {
    pub(super) work: Work,
    weight: u32,
    /// Its room in the queue, given back when it has been answered.
    _room: OwnedSemaphorePermit,
}

/// Entries in their order, and how much they are together.
#[derive(Default)]
struct Line {
    entries: VecDeque<Entry>,
    weight: u32,
}

impl Line {
    fn push(&mut self, entry: Entry) {
        self.weight += entry.weight;
        self.entries.push_back(entry);
    }

    /// Moves the first ones into a group until that has `most`; into an empty group at least one.
    fn move_into(&mut self, group: &mut Vec<Entry>, weight: &mut u32, most: u32) {
        while let Some(next) = self.entries.front() {
            if !group.is_empty() && *weight + next.weight > most {
                break;
            }
            let Some(entry) = self.entries.pop_front() else { break };
            self.weight -= entry.weight;
            *weight += entry.weight;
            group.push(entry);
        }
    }
}

/// What a lane is doing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Doing {
    /// It writes a group, and looks by itself afterwards.
    Writing,
    /// It was called and will take all that is urgent, unless that is held.
    Called,
    /// There is patient work of its own, or urgent work that is held, and it waits for company.
    Lingering,
    Nothing,
}

struct Lane {
    doing: Doing,
    patient: Line,
    /// What it is writing, and since when.
    in_hand: u32,
    since: Instant,
}

struct Waiting {
    urgent: Line,
    lanes: Vec<Lane>,
    closed: bool,
}

impl Waiting {
    /// Whether urgent work waits for company, or for a lane that comes back: less of it is there than is being written. A transaction of few rows costs
    /// almost as much as one of many, and whoever waits for the lanes that write is served by them soon. Where little is written nothing is held, and
    /// nothing for a lane that somebody else keeps waiting.
    fn is_held(&self) -> bool {
        let now = Instant::now();
        let writing = self.lanes.iter().filter(|lane| lane.doing == Doing::Writing && now.duration_since(lane.since) < HELD);
        let enough = writing.map(|lane| lane.in_hand.min(COMPANY)).sum();
        self.urgent.weight < enough
    }

    /// Which lane to call for urgent work: none if one is on its way, or if all are writing. One that lingers sees to what is held.
    fn call_one(&mut self) -> Option<usize> {
        let is_any = |doing: Doing| self.lanes.iter().any(|lane| lane.doing == doing);
        if is_any(Doing::Called) || (is_any(Doing::Lingering) && self.is_held()) {
            return None;
        }
        let free = |doing: Doing| self.lanes.iter().position(|lane| lane.doing == doing);
        let found = free(Doing::Lingering).or_else(|| free(Doing::Nothing))?;
        self.lanes[found].doing = Doing::Called;
        Some(found)
    }

    /// A group for a lane. Neither kind of work keeps the other waiting for more than half a group.
    fn take(&mut self, lane: usize) -> Vec<Entry> {
        let (mut group, mut weight) = (Vec::new(), 0);
        let patient = &mut self.lanes[lane].patient;
        patient.move_into(&mut group, &mut weight, MAX_GROUP / 2);
        self.urgent.move_into(&mut group, &mut weight, MAX_GROUP);
        patient.move_into(&mut group, &mut weight, MAX_GROUP);
        self.lanes[lane].doing = Doing::Writing;
        (self.lanes[lane].in_hand, self.lanes[lane].since) = (weight, Instant::now());
        group
    }
}

/// What a lane finds when it looks.
enum Found {
    Group(Vec<Entry>),
    /// Patient work alone, or urgent work that is held: to be taken after so long.
    Waits(Duration),
    Nothing,
    /// There is nothing, and nothing will come.
    Closed,
}

/// The queue between callers and lanes.
pub(super) struct Queue {
    waiting: Mutex<Waiting>,
    calls: Vec<Notify>,
    room: Arc<Semaphore>,
}

impl Queue {
    /// For so many lanes, at least one.
    pub(super) fn new(lanes: usize) -> Self {
        let since = Instant::now();
        let each = || Lane { doing: Doing::Nothing, patient: Line::default(), in_hand: 0, since };
        let lanes: Vec<Lane> = std::iter::repeat_with(each).take(lanes.max(1)).collect();
        Queue {
            calls: lanes.iter().map(|_| Notify::new()).collect(),
            waiting: Mutex::new(Waiting { urgent: Line::default(), lanes, closed: false }),
            room: Arc::new(Semaphore::new(MAX_WAITING as usize)),
        }
    }

    /// How many lanes there are.
    pub(super) fn lanes(&self) -> usize {
        self.calls.len()
    }

    /// Hands work of this weight over, and awaits its answer. Waits for room first if too much waits already.
    ///
    /// Dropping the future before it has room withdraws the work; after that the work is done all the same.
    pub(super) async fn submit<A>(
        &self,
        weight: usize,
        lane: Option<usize>,
        work: impl FnOnce(oneshot::Sender<Answer<A>>) -> Work,
    ) -> Answer<A> {
        let weight = u32::try_from(weight).unwrap_or(u32::MAX).clamp(1, MAX_WAITING);
        let room = Arc::clone(&self.room).acquire_many_owned(weight).await.map_err(|_| closed())?;
        let (reply, answer) = oneshot::channel();
        self.push(Entry { work: work(reply), weight, _room: room }, lane)?;
        answer.await.unwrap_or_else(|_| Err(gone()))
    }

    /// Urgent, or patient for a lane.
    fn push(&self, entry: Entry, patient_for: Option<usize>) -> Answer<()> {
        let mut waiting = self.waiting.lock();
        if waiting.closed {
            return Err(closed());
        }
        let call = match patient_for {
            None => {
                waiting.urgent.push(entry);
                waiting.call_one()
            }
            Some(lane) => {
                let its = &mut waiting.lanes[lane];
                its.patient.push(entry);
                let is_full = its.patient.weight >= MAX_GROUP;
                match its.doing {
                    // To begin lingering, or to end it.
                    Doing::Nothing => its.doing = Doing::Called,
                    Doing::Lingering if is_full => its.doing = Doing::Called,
                    // It lingers for urgent work that is held, which may be for longer. It goes on lingering, and sees to that as before.
                    Doing::Lingering if its.patient.entries.len() == 1 => {}
                    _ => return Ok(()),
                }
                Some(lane)
            }
        };
        drop(waiting);
        self.call(call);
        Ok(())
    }

    fn call(&self, lane: Option<usize>) {
        if let Some(call) = lane.and_then(|lane| self.calls.get(lane)) {
            call.notify_one();
        }
    }

    /// Waits for work of a lane and takes it. `None` once the queue is closed and nothing is left for it.
    pub(super) async fn take(&self, lane: usize) -> Option<Vec<Entry>> {
        let call = self.calls.get(lane)?;
        let mut until: Option<Instant> = None;
        loop {
            let is_over = until.is_some_and(|until| Instant::now() >= until);
            match self.look(lane, is_over) {
                Found::Group(group) => return Some(group),
                Found::Closed => return None,
                Found::Nothing => {
                    until = None;
                    call.notified().await;
                }
                Found::Waits(longest) => {
                    let latest = Instant::now() + longest;
                    let sooner = until.map_or(latest, |until| until.min(latest));
                    until = Some(sooner);
                    let _ = tokio::time::timeout_at(sooner, call.notified()).await;
                }
            }
        }
    }

    fn look(&self, lane: usize, is_over: bool) -> Found {
        let mut waiting = self.waiting.lock();
        let (urgent, patient) = (waiting.urgent.weight, waiting.lanes[lane].patient.weight);
        // One that comes back from writing takes what there is: that is what was held for.
        let is_back = waiting.lanes[lane].doing == Doing::Writing;
        let is_held = !is_back && !waiting.closed && waiting.is_held();
        let is_due = is_over || (urgent > 0 && !is_held) || (patient > 0 && (patient >= MAX_GROUP || waiting.closed));
        if is_due && urgent + patient > 0 {
            let group = waiting.take(lane);
            // What is too much for one group is not left until this one has been written.
            let next = if waiting.urgent.weight > 0 { waiting.call_one() } else { None };
            drop(waiting);
            self.call(next);
            return Found::Group(group);
        }
        if waiting.closed {
            return Found::Closed;
        }
        let found = match (patient, urgent) {
            (0, 0) => Found::Nothing,
            (0, _) => Found::Waits(HELD),
            _ => Found::Waits(LINGER),
        };
        waiting.lanes[lane].doing = if matches!(found, Found::Nothing) { Doing::Nothing } else { Doing::Lingering };
        found
    }

    /// Takes no more work; what waits is still done.
    pub(super) fn close(&self) {
        self.room.close();
        self.waiting.lock().closed = true;
        self.calls.iter().for_each(Notify::notify_one);
    }

    /// Takes no more work and answers what waits: there is nobody to do it.
    pub(super) fn abandon(&self) {
        self.close();
        let mut waiting = self.waiting.lock();
        let mut left = std::mem::take(&mut waiting.urgent).entries;
        for lane in &mut waiting.lanes {
            left.append(&mut std::mem::take(&mut lane.patient).entries);
        }
        drop(waiting);
        left.into_iter().for_each(|entry| entry.work.refuse(gone()));
    }
}

fn gone() -> StoreError {
    StoreError { kind: StoreErrorKind::Unavailable, cause: "the lane that writes is gone".to_owned() }
}

#[cfg(test)]
mod tests;
