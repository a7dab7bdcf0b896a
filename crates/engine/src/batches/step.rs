//! The task that carries batches out, piece by piece, those of several tenants side by side.

use crate::again::go_on;
use crate::jobs::patience::{Next, Patience};
use crate::maintain;
use crate::repush;
use crate::series::Part;
use crate::shared::Shared;
use postrider_core::event::Namespace;
use postrider_core::id::{BatchId, EndpointId, EventId};
use postrider_core::ports::{Batch, BatchEntries, BatchKind, BatchStep, BatchStepped, BatchWork, NewEvent, StoreError};
use std::collections::BTreeMap;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Most entries of one step: a commit of a few milliseconds, between which others come.
const STEP: u32 = 100;

/// The pause after a step, so that publishers get their turn: a batch does up to a thousand entries a second.
const REST: Duration = Duration::from_millis(100);

/// How long to wait after the list of batches could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// Steps made at the same time, over all: each holds what it has read of its events, and none holds up the others.
const STEPS: usize = 8;

/// When a batch makes its next step.
struct Turn {
    at: Instant,
    patience: Patience,
}

/// The batches that run. A tenant makes one step at a time: what is slow for one is slow for its own batches.
#[derive(Default)]
struct Turns {
    /// Of those that rest.
    resting: BTreeMap<BatchId, Turn>,
    /// Those that make a step, with their tenants.
    under_way: BTreeMap<BatchId, Option<Namespace>>,
    steps: JoinSet<(BatchId, Turn)>,
}

/// Makes the steps of the batches that run, until the engine is stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut turns = Turns::default();
    loop {
        let woken = shared.batches.notified();
        let next = turns.begin(&shared).await.unwrap_or_else(|error| {
            tracing::warn!(%error, cause = error.cause, "batches cannot be read for the moment");
            Some(Instant::now() + PAUSE)
        });
        if !shared.goes_on_when(shared.or_look(turns.wait(next, woken))).await {
            break;
        }
    }
    // What a step has stored must be told to the dispatcher.
    while turns.ended().await {}
}

impl Turns {
    /// Begins a step of each batch that is due, as far as there is a place for it, those first that have waited longest; answers when to look
    /// again, unless a step ends before.
    async fn begin(&mut self, shared: &Arc<Shared>) -> Result<Option<Instant>, StoreError> {
        let mut running = shared.store.running_batches().await?;
        running.retain(|batch| shared.owns(batch.id.uuid()));
        let now = Instant::now();
        self.resting.retain(|id, _| running.iter().any(|batch| batch.id == *id));
        for batch in running.iter().filter(|batch| !self.under_way.contains_key(&batch.id)) {
            self.resting.entry(batch.id).or_insert_with(|| Turn { at: now, patience: Patience::default() });
        }
        let mut due: Vec<(Instant, Batch)> =
            running.into_iter().filter_map(|batch| Some((self.resting.get(&batch.id)?.at, batch))).collect();
        due.retain(|(at, _)| *at <= now);
        due.sort_by_key(|(at, batch)| (*at, batch.id));
        for (_, batch) in due {
            let is_busy = self.under_way.values().any(|of| *of == batch.namespace);
            if self.under_way.len() >= STEPS || is_busy || shared.is_stopping() {
                continue;
            }
            let Some(mut turn) = self.resting.remove(&batch.id) else { continue };
            self.under_way.insert(batch.id, batch.namespace.clone());
            let shared = Arc::clone(shared);
            self.steps.spawn(async move {
                let rest = turn.step(&shared, &batch).await;
                (batch.id, Turn { at: Instant::now() + rest, ..turn })
            });
        }
        // Who is due and has no place waits for a step to end.
        Ok(self.resting.values().map(|turn| turn.at).filter(|at| *at > now).min())
    }

    /// Waits until it is time to look again: then, or when a batch is started, or when a step has ended and somebody is due.
    async fn wait(&mut self, mut next: Option<Instant>, woken: impl Future<Output = ()>) {
        let mut woken = pin!(woken);
        loop {
            let at = next;
            let due = async move {
                match at {
                    Some(at) => tokio::time::sleep_until(at).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                biased;
                true = self.ended() => {}
                () = &mut woken => return,
                () = due => return,
            }
            next = self.resting.values().map(|turn| turn.at).min();
        }
    }

    /// Waits for a step to end; `false` where none is under way.
    async fn ended(&mut self) -> bool {
        match self.steps.join_next().await {
            Some(Ok((id, turn))) => {
                self.under_way.remove(&id);
                self.resting.insert(id, turn);
                true
            }
            Some(Err(ended)) if ended.is_panic() => std::panic::resume_unwind(ended.into_panic()),
            // Nobody cancels a step: the runtime goes down.
            Some(Err(_)) => std::future::pending().await,
            None => false,
        }
    }
}

impl Turn {
    /// Makes the next step; answers how long the batch rests after it.
    async fn step(&mut self, shared: &Arc<Shared>, batch: &Batch) -> Duration {
        if batch.kind == BatchKind::Repush && maintain::catch_up(shared).await.is_err() {
            // It was logged. None of the entries is to blame: they wait, however long that takes.
            return PAUSE;
        }
        let size = self.patience.size(STEP);
        let made = match piece(shared, batch, size).await {
            Ok(step) => advance(shared, step).await,
            Err(error) => Err(error),
        };
        let stored = match made {
            Ok(()) => Ok(()),
            Err(error) => match self.failed(batch, &error) {
                Next::Again(rest) => return rest,
                // Of this entry nothing but its place is touched.
                Next::GiveUp => advance(shared, over(shared, batch)).await,
            },
        };
        match stored {
            Ok(()) => {
                self.patience.succeeded();
                REST
            }
            Err(error) => match self.failed(batch, &error) {
                Next::Again(rest) => rest,
                Next::GiveUp => PAUSE,
            },
        }
    }

    fn failed(&mut self, batch: &Batch, error: &StoreError) -> Next {
        tracing::warn!(batch = %batch.id, %error, cause = error.cause, "a step of a batch cannot be made");
        self.patience.failed(STEP, error)
    }
}

/// The step that gives up the next entry.
fn over(shared: &Shared, batch: &Batch) -> BatchStep {
    BatchStep { to: batch.done + 1, failed: 1, ..nothing(shared, batch) }
}

/// A step that does not even move on.
fn nothing(shared: &Shared, batch: &Batch) -> BatchStep {
    let work = BatchWork::none(batch.kind);
    BatchStep { id: batch.id, from: batch.done, to: batch.done, work, failed: 0, at: shared.now() }
}

/// The step that does up to so many entries.
async fn piece(shared: &Arc<Shared>, batch: &Batch, size: u32) -> Result<BatchStep, StoreError> {
    match shared.store.batch_piece(batch.id, batch.done, size).await? {
        Some(BatchEntries::Events(numbers)) if !numbers.is_empty() => repush::step(shared, batch, numbers).await,
        Some(BatchEntries::Deliveries(ids)) if !ids.is_empty() => {
            let to = batch.done.saturating_add(u32::try_from(ids.len()).unwrap_or(u32::MAX));
            Ok(BatchStep { to, work: BatchWork::Retry(ids), ..nothing(shared, batch) })
        }
        // It has fewer than it says: it must end all the same.
        _ => Ok(BatchStep { to: batch.total, failed: batch.total - batch.done, ..nothing(shared, batch) }),
    }
}

/// Stores a step. It goes on when the engine is stopped: deliveries that wait must not be forgotten by the dispatcher.
async fn advance(shared: &Arc<Shared>, step: BatchStep) -> Result<(), StoreError> {
    let events: &[NewEvent] = match &step.work {
        BatchWork::Publish(events) => events,
        BatchWork::Retry(_) => &[],
    };
    let endpoints: Vec<EndpointId> = events.iter().flat_map(|event| event.deliveries.iter().map(|delivery| delivery.endpoint)).collect();
    let more: Vec<EventId> = events.iter().filter(|event| event.fan_out_after.is_some()).map(|event| event.id).collect();
    let mut part = Part::default();
    part.events(events);
    let at = step.at;
    let BatchStepped::Done(batch, answers) = shared.store.advance_batch(step).await? else { return Ok(()) };
    shared.series.add(shared.now(), part);
    shared.dispatcher.note_stored(endpoints, at);
    more.into_iter().for_each(|event| shared.carry_on(event));
    // What is stored is stored: a step must not be made again because of what follows from it.
    if let Err(error) = go_on(shared, &answers).await {
        tracing::warn!(batch = %batch.id, %error, cause = error.cause, "deliveries in memory wait for the time that they were given");
    }
    Ok(())
}
