//! The task that carries batches out, a piece of each in turn.

use super::again;
use crate::jobs::patience::{Next, Patience};
use crate::publish::plan;
use crate::shared::Shared;
use postrider_core::id::{EndpointId, RepushId};
use postrider_core::ports::{NewEvent, Repush, RepushState, RepushStep, Repushed, StoreError};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Most events of one step: a commit of a few milliseconds, between which others come.
const STEP: u32 = 100;

/// Where their payloads sum up to this, in bytes, a step takes no more.
const STEP_BYTES: usize = 4 << 20;

/// The pause after a step, so that publishers get their turn: up to a thousand events a second are published again.
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
        let woken = shared.repushes.notified();
        let next = round(&shared, &mut turns).await.unwrap_or_else(|error| {
            tracing::warn!(%error, cause = error.cause, "batches of events cannot be read for the moment");
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
async fn round(shared: &Arc<Shared>, turns: &mut BTreeMap<RepushId, Turn>) -> Result<Option<Instant>, StoreError> {
    let mut running = shared.store.open_repushes().await?;
    running.retain(|batch| batch.state == RepushState::Running);
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
    async fn step(&mut self, shared: &Arc<Shared>, batch: &Repush) -> Duration {
        let size = self.patience.size(STEP);
        let made = match piece(shared, batch, size).await {
            Ok(step) => advance(shared, step).await,
            Err(error) => Err(error),
        };
        let stored = match made {
            Ok(stored) => Ok(stored),
            Err(error) => match self.failed(batch, &error) {
                Next::Again(rest) => return rest,
                // Of this event nothing but its place is touched.
                Next::GiveUp => advance(shared, over(shared, batch)).await,
            },
        };
        match stored {
            Ok(_) => {
                self.patience.succeeded();
                REST
            }
            Err(error) => match self.failed(batch, &error) {
                Next::Again(rest) => rest,
                Next::GiveUp => PAUSE,
            },
        }
    }

    fn failed(&mut self, batch: &Repush, error: &StoreError) -> Next {
        tracing::warn!(batch = %batch.id, %error, cause = error.cause, "a step of a batch of events cannot be made");
        self.patience.failed(STEP, error)
    }
}

/// The step that gives up the next event.
fn over(shared: &Shared, batch: &Repush) -> RepushStep {
    RepushStep { id: batch.id, from: batch.done, to: batch.done + 1, events: Vec::new(), failed: 1, at: shared.now() }
}

/// The step that publishes up to so many events again. Those that are gone, or not taken any more, are counted.
async fn piece(shared: &Arc<Shared>, batch: &Repush, size: u32) -> Result<RepushStep, StoreError> {
    let numbers = shared.store.repush_piece(batch.id, batch.done, size).await?;
    let mut step = RepushStep { id: batch.id, from: batch.done, to: batch.done, events: Vec::new(), failed: 0, at: shared.now() };
    if numbers.is_empty() {
        // It has fewer than it says: it must end all the same.
        return Ok(RepushStep { to: batch.total, failed: batch.total - batch.done, ..step });
    }
    let mut bytes = 0;
    for number in numbers {
        if bytes >= STEP_BYTES {
            break;
        }
        step.to += 1;
        let found = shared.store.event_by_seq(number, batch.namespace.clone()).await?;
        let publish = match &found {
            Some(row) => again(shared, &row.event).await.ok(),
            None => None,
        };
        let Some((publish, _)) = publish else {
            step.failed += 1;
            continue;
        };
        bytes += publish.payload.len();
        let matched = shared.routes.load().matching(&publish.namespace, &publish.event_type, &publish.labels, &publish.payload);
        step.events.push(plan(shared, publish, matched, shared.config.limits.fan_out_slice));
    }
    Ok(step)
}

/// Stores a step. It goes on when the engine is stopped: deliveries that wait must not be forgotten by the dispatcher.
async fn advance(shared: &Arc<Shared>, step: RepushStep) -> Result<Repushed, StoreError> {
    let endpoints: Vec<EndpointId> =
        step.events.iter().flat_map(|event| event.deliveries.iter().map(|delivery| delivery.endpoint)).collect();
    let more = step.events.iter().any(|event: &NewEvent| event.fan_out_after.is_some());
    let at = step.at;
    let stored = shared.store.advance_repush(step).await?;
    if matches!(stored, Repushed::Done(_)) {
        shared.dispatcher.note_stored(endpoints, at);
        if more {
            shared.fan_out.notify_one();
        }
    }
    Ok(stored)
}
