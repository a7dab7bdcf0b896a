//! The task that carries batches out, a piece of each in turn.

use crate::again::go_on;
use crate::jobs::patience::{Next, Patience};
use crate::repush;
use crate::shared::Shared;
use postrider_core::id::{BatchId, EndpointId};
use postrider_core::ports::{Batch, BatchEntries, BatchState, BatchStep, BatchStepped, BatchWork, NewEvent, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most entries of one step: a commit of a few milliseconds, between which others come.
const STEP: u32 = 100;

/// The pause after a step, so that publishers get their turn: a batch does up to a thousand entries a second.
const REST: Duration = Duration::from_millis(100);

/// How long to wait after the list of batches could not be read.
const PAUSE: Duration = Duration::from_secs(1);

/// A batch that runs.
struct Turn {
    /// When it makes its next step.
    at: Instant,
    patience: Patience,
}

/// Makes the steps of the batches that run, until the engine is stopped.
pub(crate) async fn run(shared: Arc<Shared>) {
    let mut turns = BTreeMap::new();
    loop {
        let woken = shared.batches.notified();
        let next = round(&shared, &mut turns).await.unwrap_or_else(|error| {
            tracing::warn!(%error, cause = error.cause, "batches cannot be read for the moment");
            Some(Instant::now() + PAUSE)
        });
        let wake = async {
            match next {
                Some(at) => tokio::select! { () = tokio::time::sleep_until(at) => {}, () = woken => {} },
                None => woken.await,
            }
        };
        if !shared.goes_on_when(wake).await {
            return;
        }
    }
}

/// One step of each batch that is due; answers when to look again.
async fn round(shared: &Arc<Shared>, turns: &mut BTreeMap<BatchId, Turn>) -> Result<Option<Instant>, StoreError> {
    let mut running = shared.store.open_batches().await?;
    running.retain(|batch| batch.state == BatchState::Running);
    turns.retain(|id, _| running.iter().any(|batch| batch.id == *id));
    for batch in &running {
        if shared.is_stopping() {
            return Ok(None);
        }
        let turn = turns.entry(batch.id).or_insert_with(|| Turn { at: Instant::now(), patience: Patience::default() });
        if turn.at <= Instant::now() {
            turn.at = Instant::now() + turn.step(shared, batch).await;
        }
    }
    Ok(turns.values().map(|turn| turn.at).min())
}

impl Turn {
    /// Makes the next step; answers how long the batch rests after it.
    async fn step(&mut self, shared: &Arc<Shared>, batch: &Batch) -> Duration {
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
    let more = events.iter().any(|event| event.fan_out_after.is_some());
    let at = step.at;
    let BatchStepped::Done(batch, answers) = shared.store.advance_batch(step).await? else { return Ok(()) };
    shared.dispatcher.note_stored(endpoints, at);
    if more {
        shared.fan_out.notify_one();
    }
    // What is stored is stored: a step must not be made again because of what follows from it.
    if let Err(error) = go_on(shared, &answers).await {
        tracing::warn!(batch = %batch.id, %error, cause = error.cause, "deliveries in memory wait for the time that they were given");
    }
    Ok(())
}
