//! Earlier events published again, one at once or a batch of them.

use crate::Engine;
use crate::batches::{self, NoBatch};
use crate::publish::{Publish, PublishError, Receipt, To, plan};
use crate::route::{Checked, KnownType, Routes};
use crate::shared::Shared;
use bytes::Bytes;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::EventSeq;
use postrider_core::ports::{Batch, BatchEntries, BatchStep, BatchWork, EventFilter, MAX_BATCH, StoreError, Window};
use postrider_core::signal::is_reserved;
use std::sync::Arc;
use std::time::Duration;

/// Where the payloads of a step sum up to this, in bytes, it takes no more.
const STEP_BYTES: usize = 4 << 20;

/// After so long a step takes no more: checks of payloads may take some tenths of a second each.
const STEP_TIME: Duration = Duration::from_secs(1);

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

impl Engine {
    /// Holds a payload of this tenant's against the schema of its type. It goes on beside the runtime, for it may take a while.
    pub async fn check(&self, namespace: &Namespace, event_type: &Arc<KnownType>, payload: &Bytes) -> Checked {
        check(&self.shared, namespace, event_type, payload).await
    }

    /// Publishes the content of an earlier event as a new one, with its labels, metadata and time to live but without its key; it is held
    /// against the schema that its type has now. Answers what it breaks of that as well.
    pub async fn publish_again(&self, event: &Event) -> Result<(Receipt, Vec<String>), NotAgain> {
        let (publish, warnings) = again(&self.shared, event).await?;
        Ok((self.publish(publish).await?, warnings))
    }

    /// Makes a batch of all events that match, for [`Engine::start_batch`]; `None` where none does. It belongs to the filter's namespace.
    pub async fn prepare_repush(&self, filter: EventFilter) -> Result<Option<Batch>, NoBatch> {
        let shared = Arc::clone(&self.shared);
        batches::to_its_end(async move { prepare(&shared, filter).await }).await
    }
}

/// Holds a payload of this tenant's against the schema of its type, beside the runtime.
pub(crate) async fn check(shared: &Shared, namespace: &Namespace, event_type: &Arc<KnownType>, payload: &Bytes) -> Checked {
    if event_type.schema.is_none() {
        return Checked::default();
    }
    let (of, checked, payload) = (namespace.clone(), Arc::clone(event_type), payload.clone());
    let compiled = Arc::clone(&shared.compiled);
    shared.checks.aside(of, move || checked.check(&compiled, &payload)).await.unwrap_or_else(|error| {
        tracing::error!(%error, "a payload could not be checked");
        Checked { warnings: vec![String::from("field '(root)': is not checked: see the server's log")], ..Checked::default() }
    })
}

/// An earlier event as it is to be published, and what it breaks of its schema.
async fn again(shared: &Shared, event: &Event) -> Result<(Publish, Vec<String>), NotAgain> {
    let known = known(&shared.routes.load(), event)?;
    let checked = match known {
        Some(known) => check(shared, &event.namespace, &known, &event.payload).await,
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

async fn prepare(shared: &Shared, filter: EventFilter) -> Result<Option<Batch>, NoBatch> {
    let namespace = filter.namespace.clone();
    let found = shared.store.event_numbers(filter, Window::first(MAX_BATCH)).await?;
    let mut events = found.page.items;
    // In the order in which they were published.
    events.reverse();
    batches::prepare(shared, namespace, BatchEntries::Events(events), found.total).await
}

/// The step of a batch that publishes these events again. Those that are gone, or not taken any more, are counted.
pub(crate) async fn step(shared: &Arc<Shared>, batch: &Batch, numbers: Vec<EventSeq>) -> Result<BatchStep, StoreError> {
    let began = shared.now();
    let (mut events, mut failed, mut to, mut bytes, mut rows) = (Vec::new(), 0, batch.done, 0, 0);
    let slice = shared.config.limits.fan_out_slice;
    for number in numbers {
        // One comes however long it takes, or the batch would not move on. Publishers wait for the writer while a step is stored.
        if bytes >= STEP_BYTES || rows >= slice || (to > batch.done && shared.now().since(began) >= STEP_TIME) {
            break;
        }
        to += 1;
        let found = shared.store.event_by_seq(number, batch.namespace.clone()).await?;
        let publish = match &found {
            Some(row) => again(shared, &row.event).await.ok(),
            None => None,
        };
        let Some((publish, _)) = publish else {
            failed += 1;
            continue;
        };
        bytes += publish.payload.len();
        let matched = shared.routes.load().matching(&publish.namespace, &publish.event_type, &publish.labels, &publish.payload);
        let event = plan(shared, publish, matched, slice);
        rows += 1 + event.deliveries.len();
        events.push(event);
    }
    Ok(BatchStep { id: batch.id, from: batch.done, to, work: BatchWork::Publish(events), failed, at: shared.now() })
}
