//! Batches: what a list had when it was asked for, done in steps once somebody starts it, each stored with how far the batch has come.
//!
//! | file | holds |
//! |---|---|
//! | this one | batches prepared, started and cancelled |
//! | `step.rs` | the task that carries them out |

mod step;

pub(crate) use step::run;

use crate::shared::Shared;
use crate::{Engine, cut_off};
use postrider_core::event::Namespace;
use postrider_core::id::BatchId;
use postrider_core::ports::{BATCH_MEMORY, Batch, BatchEntries, BatchState, MAX_BATCH, OpenBatches, Slot, StoreError};
use std::sync::Arc;

/// Batches of one namespace, or of the master view, that run at the same time.
pub const MAX_RUNNING_BATCHES: usize = 16;

/// Batches of one namespace, or of the master view, that wait to be started: each holds its entries.
pub const MAX_PENDING_BATCHES: usize = 100;

/// Why a batch is not prepared or started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoBatch {
    /// More match than a batch may have.
    #[error("{0} match, and a batch has at most 10,000: narrow the filter")]
    TooLarge(u64),
    /// There are [`MAX_PENDING_BATCHES`] or [`MAX_RUNNING_BATCHES`] already.
    #[error("too many batches {0}")]
    TooMany(&'static str),
    /// It was started, cancelled or waited too long.
    #[error("the batch {0}")]
    Over(&'static str),
    /// There is no such batch.
    #[error("there is no batch with this ID")]
    Gone,
    /// The store failed.
    #[error(transparent)]
    Store(#[from] StoreError),
}

// The text says it in figures.
const _: () = assert!(MAX_BATCH == 10_000);

impl Engine {
    /// Starts a batch that was prepared.
    pub async fn start_batch(&self, batch: &Batch) -> Result<Batch, NoBatch> {
        let (shared, id, namespace) = (Arc::clone(&self.shared), batch.id, batch.namespace.clone());
        to_its_end(async move { start(&shared, id, namespace).await }).await
    }

    /// Cancels a batch that has not ended; what it has done stays.
    pub async fn cancel_batch(&self, id: BatchId) -> Result<Batch, NoBatch> {
        let shared = Arc::clone(&self.shared);
        to_its_end(async move { cancel(&shared, id).await }).await
    }
}

/// Goes on when the caller goes away: a batch that was started must be heard of, or it would stand still.
pub(crate) async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T, NoBatch>> + Send + 'static) -> Result<T, NoBatch> {
    tokio::spawn(change).await.unwrap_or_else(|ended| Err(cut_off(&ended).into()))
}

/// Makes a batch of what a list has, which says how much that is; `None` where it has nothing.
pub(crate) async fn prepare(
    shared: &Shared,
    namespace: Option<Namespace>,
    entries: BatchEntries,
    total: u64,
) -> Result<Option<Batch>, NoBatch> {
    // The list and its number are of one moment: where one is small enough the other is whole.
    if total > u64::from(MAX_BATCH) {
        return Err(NoBatch::TooLarge(total));
    }
    if entries.is_empty() {
        return Ok(None);
    }
    let _one_at_a_time = shared.starting.lock().await;
    let now = shared.now();
    if open(shared, &namespace).await?.pending >= MAX_PENDING_BATCHES as u64 {
        return Err(NoBatch::TooMany("wait to be started: start or cancel some"));
    }
    let batch = Batch::new(BatchId::new(shared.new_id()), namespace, &entries, now);
    shared.store.put_batch(batch.clone(), entries).await?;
    Ok(Some(batch))
}

/// How many batches of a namespace can still be started, and how many run.
async fn open(shared: &Shared, of: &Option<Namespace>) -> Result<OpenBatches, StoreError> {
    shared.store.open_batches(of.clone(), shared.now().before(BATCH_MEMORY)).await
}

async fn start(shared: &Shared, id: BatchId, namespace: Option<Namespace>) -> Result<Batch, NoBatch> {
    let _one_at_a_time = shared.starting.lock().await;
    if open(shared, &namespace).await?.running >= MAX_RUNNING_BATCHES as u64 {
        return Err(NoBatch::TooMany("are under way: try again when one has ended"));
    }
    let now = shared.now();
    let batch = shared.store.batch(id).await?.ok_or(NoBatch::Gone)?;
    if batch.state != BatchState::Pending {
        return Err(NoBatch::Over("was started or cancelled before"));
    }
    if batch.expires_at() <= now {
        return Err(NoBatch::Over("is too old to be started: prepare it anew"));
    }
    if !shared.store.set_batch_state(id, BatchState::Pending, BatchState::Running, now).await? {
        return Err(NoBatch::Over("was started or cancelled before"));
    }
    shared.work(Slot::of(id.uuid()), &shared.batches);
    Ok(batch.in_state(BatchState::Running, now))
}

async fn cancel(shared: &Shared, id: BatchId) -> Result<Batch, NoBatch> {
    let now = shared.now();
    for from in [BatchState::Pending, BatchState::Running] {
        if shared.store.set_batch_state(id, from, BatchState::Cancelled, now).await? {
            return shared.store.batch(id).await?.ok_or(NoBatch::Gone);
        }
    }
    match shared.store.batch(id).await? {
        Some(_) => Err(NoBatch::Over("has ended")),
        None => Err(NoBatch::Gone),
    }
}
