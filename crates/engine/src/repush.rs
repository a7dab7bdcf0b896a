//! Earlier events published again: one at once, or a batch of them in steps, each stored with how far the batch has come.
//!
//! | file | holds |
//! |---|---|
//! | this one | payloads checked, one event again, batches prepared, started and cancelled |
//! | `step.rs` | the task that carries batches out |

mod step;

pub(crate) use step::run;

use crate::publish::{Publish, PublishError, Receipt, To};
use crate::route::{Checked, KnownType, Routes};
use crate::shared::Shared;
use crate::{Engine, cut_off};
use bytes::Bytes;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::RepushId;
use postrider_core::ports::{EventFilter, MAX_REPUSH, Repush, RepushState, StoreError, Window};
use postrider_core::signal::is_reserved;
use std::sync::Arc;

/// Batches of one namespace, or of the master view, that run at the same time.
pub const MAX_RUNNING_REPUSHES: usize = 16;

/// Batches of one namespace, or of the master view, that wait to be started: each holds its events.
pub const MAX_PENDING_REPUSHES: usize = 100;

/// Payloads held against schemas at the same time: each may take a core for some tenths of a second.
pub(crate) const CHECKS: usize = 2;

/// Why an event is not published again.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotAgain {
    /// It has no type by which anybody could get it.
    #[error("the event has no type: publish its content under one")]
    NoType,
    /// It is one of Postrider's own.
    #[error("the event is one of Postrider's own, which nobody else publishes")]
    Reserved,
    /// Events of its type are not taken.
    #[error("the event type is not active")]
    Inactive,
    /// It could not be published.
    #[error(transparent)]
    Publish(#[from] PublishError),
}

/// Why a batch is not prepared or started.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoRepush {
    /// More events match than a batch may have.
    #[error("{0} events match, and a batch has at most 10,000: narrow the filter")]
    TooLarge(u64),
    /// There are [`MAX_PENDING_REPUSHES`] or [`MAX_RUNNING_REPUSHES`] already.
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

impl Engine {
    /// Holds a payload against the schema of its type. It goes on beside the runtime, for it may take a while.
    pub async fn check(&self, event_type: &Arc<KnownType>, payload: &Bytes) -> Checked {
        check(&self.shared, event_type, payload).await
    }

    /// Publishes the content of an earlier event as a new one, with its labels, metadata and time to live but without its key; it is held
    /// against the schema that its type has now. Answers what it breaks of that as well.
    pub async fn publish_again(&self, event: &Event) -> Result<(Receipt, Vec<String>), NotAgain> {
        let (publish, warnings) = again(&self.shared, event).await?;
        Ok((self.publish(publish).await?, warnings))
    }

    /// Makes a batch of all events that match, for [`Engine::start_repush`]; `None` where none does. It belongs to the filter's namespace.
    pub async fn prepare_repush(&self, filter: EventFilter) -> Result<Option<Repush>, NoRepush> {
        let shared = Arc::clone(&self.shared);
        to_its_end(async move { prepare(&shared, filter).await }).await
    }

    /// Starts a batch that was prepared.
    pub async fn start_repush(&self, batch: &Repush) -> Result<Repush, NoRepush> {
        let (shared, id, namespace) = (Arc::clone(&self.shared), batch.id, batch.namespace.clone());
        to_its_end(async move { start(&shared, id, namespace).await }).await
    }

    /// Cancels a batch that has not ended; what it has published stays.
    pub async fn cancel_repush(&self, id: RepushId) -> Result<Repush, NoRepush> {
        let shared = Arc::clone(&self.shared);
        to_its_end(async move { cancel(&shared, id).await }).await
    }
}

/// Goes on when the caller goes away: a batch that was started must be heard of, or it would stand still.
async fn to_its_end<T: Send + 'static>(change: impl Future<Output = Result<T, NoRepush>> + Send + 'static) -> Result<T, NoRepush> {
    tokio::spawn(change).await.unwrap_or_else(|ended| Err(cut_off(&ended).into()))
}

async fn check(shared: &Shared, event_type: &Arc<KnownType>, payload: &Bytes) -> Checked {
    if event_type.schema.is_none() {
        return Checked::default();
    }
    // It is never closed.
    let _place = shared.checks.acquire().await;
    let (event_type, payload) = (Arc::clone(event_type), payload.clone());
    let checking = tokio::task::spawn_blocking(move || event_type.check(&payload));
    checking.await.unwrap_or_else(|error| {
        tracing::error!(%error, "a payload could not be checked");
        Checked { warnings: vec![String::from("field '(root)': is not checked: see the server's log")], ..Checked::default() }
    })
}

/// An earlier event as it is to be published, and what it breaks of its schema.
async fn again(shared: &Shared, event: &Event) -> Result<(Publish, Vec<String>), NotAgain> {
    let known = known(&shared.routes.load(), event)?;
    let checked = match known {
        Some(known) => check(shared, &known, &event.payload).await,
        None => Checked::default(),
    };
    let publish = Publish {
        namespace: event.namespace.clone(),
        event_type: Arc::clone(&event.event_type),
        payload: event.payload.clone(),
        labels: event.labels.clone(),
        metadata: event.metadata.clone(),
        idempotency_key: None,
        ttl: event.ttl,
        schema_check: checked.check,
        to: To::Matching,
    };
    Ok((publish, checked.warnings))
}

/// The type of an earlier event, if it is registered; refused where such events are not published any more.
fn known(routes: &Routes, event: &Event) -> Result<Option<Arc<KnownType>>, NotAgain> {
    if event.event_type.is_empty() {
        return Err(NotAgain::NoType);
    }
    if is_reserved(&event.event_type) {
        return Err(NotAgain::Reserved);
    }
    match routes.type_of(&event.namespace, &event.event_type) {
        Some(known) if !known.active => Err(NotAgain::Inactive),
        known => Ok(known.cloned()),
    }
}

async fn prepare(shared: &Shared, filter: EventFilter) -> Result<Option<Repush>, NoRepush> {
    let namespace = filter.namespace.clone();
    let found = shared.store.event_numbers(filter, Window::first(MAX_REPUSH)).await?;
    // The list and its number are of one moment: where one is small enough the other is whole.
    if found.total > u64::from(MAX_REPUSH) {
        return Err(NoRepush::TooLarge(found.total));
    }
    let mut events = found.page.items;
    if events.is_empty() {
        return Ok(None);
    }
    // In the order in which they were published.
    events.reverse();
    let _one_at_a_time = shared.starting.lock().await;
    let now = shared.now();
    let waits = |batch: &Repush| batch.state == RepushState::Pending && batch.expires_at() > now;
    if count(shared, &namespace, waits).await? >= MAX_PENDING_REPUSHES {
        return Err(NoRepush::TooMany("wait to be started: start or cancel some"));
    }
    let batch = Repush {
        id: RepushId::new(shared.new_id()),
        namespace,
        state: RepushState::Pending,
        total: u32::try_from(events.len()).unwrap_or(MAX_REPUSH),
        done: 0,
        failed: 0,
        created_at: now,
        updated_at: now,
        ended_at: None,
    };
    shared.store.put_repush(batch.clone(), events).await?;
    Ok(Some(batch))
}

/// How many batches of a namespace are like that.
async fn count(shared: &Shared, of: &Option<Namespace>, is_wanted: impl Fn(&Repush) -> bool) -> Result<usize, StoreError> {
    let open = shared.store.open_repushes().await?;
    Ok(open.iter().filter(|batch| batch.namespace == *of && is_wanted(batch)).count())
}

async fn start(shared: &Shared, id: RepushId, namespace: Option<Namespace>) -> Result<Repush, NoRepush> {
    let _one_at_a_time = shared.starting.lock().await;
    if count(shared, &namespace, |batch| batch.state == RepushState::Running).await? >= MAX_RUNNING_REPUSHES {
        return Err(NoRepush::TooMany("are under way: try again when one has ended"));
    }
    let now = shared.now();
    let batch = shared.store.repush(id).await?.ok_or(NoRepush::Gone)?;
    if batch.state != RepushState::Pending {
        return Err(NoRepush::Over("was started or cancelled before"));
    }
    if batch.expires_at() <= now {
        return Err(NoRepush::Over("is too old to be started: prepare it anew"));
    }
    if !shared.store.set_repush_state(id, RepushState::Pending, RepushState::Running, now).await? {
        return Err(NoRepush::Over("was started or cancelled before"));
    }
    shared.repushes.notify_one();
    Ok(batch.in_state(RepushState::Running, now))
}

async fn cancel(shared: &Shared, id: RepushId) -> Result<Repush, NoRepush> {
    let now = shared.now();
    for from in [RepushState::Pending, RepushState::Running] {
        if shared.store.set_repush_state(id, from, RepushState::Cancelled, now).await? {
            return shared.store.repush(id).await?.ok_or(NoRepush::Gone);
        }
    }
    match shared.store.repush(id).await? {
        Some(_) => Err(NoRepush::Over("has ended")),
        None => Err(NoRepush::Gone),
    }
}
