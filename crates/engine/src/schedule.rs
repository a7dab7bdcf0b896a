//! Scheduled webhooks: each becomes an event when its time has come.

use crate::cluster;
use crate::maintain;
use crate::publish::{self, Handover, Publish, To};
use crate::series::Part;
use crate::shared::Shared;
use postrider_core::event::SchemaCheck;
use postrider_core::id::ScheduledId;
use postrider_core::ports::{Fired, Firing, StoreError};
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Occurrences fired in one piece.
const GROUP: u32 = 256;

/// Their payloads, in bytes: after a downtime many may be due at once.
const GROUP_BYTES: u64 = 8 << 20;

/// Without a known due time the store is looked at this often: somebody may have stored one beside this process.
const LOOK: Duration = Duration::from_secs(30);

/// How long to wait when the store cannot be written.
const RETRY: Duration = Duration::from_secs(1);

/// Fires what is due until the engine is stopped. A piece under way is seen to its end: what is claimed in it is this engine's.
pub(crate) async fn run(shared: Arc<Shared>) {
    while !shared.is_stopping() {
        let most = if shared.store.is_shared() { cluster::LOOK } else { LOOK };
        let wait = match round(&shared).await {
            Ok(Some(next)) => next.since(shared.now()).min(most),
            Ok(None) => most,
            Err(error) => {
                tracing::error!(%error, cause = error.cause, "scheduled webhooks cannot be fired for the moment");
                RETRY
            }
        };
        tokio::select! {
            biased;
            () = shared.stopped() => {}
            () = shared.scheduled.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }
}

/// Fires what is due now, if that is this engine's to do; answers when the next one is.
async fn round(shared: &Arc<Shared>) -> Result<Option<Timestamp>, StoreError> {
    loop {
        if !shared.leads() {
            return Ok(None);
        }
        let now = shared.now();
        let found = shared.store.due_scheduled(now, GROUP, GROUP_BYTES).await?;
        if found.due.is_empty() || shared.is_stopping() {
            return Ok(found.next_due);
        }
        maintain::catch_up(shared).await?;
        let mut firings = Vec::with_capacity(found.due.len());
        let mut handovers = Vec::with_capacity(found.due.len());
        for row in found.due {
            let (firing, handover) = firing(shared, row, now);
            firings.push(firing);
            handovers.push(handover);
        }
        match shared.store.fire(firings).await {
            Ok(fired) => handed_over(shared, handovers, fired),
            Err(error) => {
                handovers.into_iter().flatten().for_each(|handover| handover.dropped(shared));
                return Err(error);
            }
        }
    }
}

fn firing(shared: &Shared, row: Scheduled, now: Timestamp) -> (Firing, Option<Handover>) {
    let publish = Publish {
        namespace: row.namespace.clone(),
        event_type: "".into(),
        payload: row.payload.clone(),
        labels: BTreeMap::new(),
        metadata: BTreeMap::from([("scheduled_id".to_owned(), row.id.to_string())]),
        idempotency_key: None,
        ttl: None,
        schema_check: SchemaCheck::Unchecked,
        to: To::Subscription(row.subscription),
    };
    match publish::prepare(shared, publish) {
        Ok((event, handover)) => (Firing { id: row.id, event: Some(event), next: next(shared, &row, now), at: now }, Some(handover)),
        // Its subscription is gone: the series ends here, visibly.
        Err(_) => (Firing { id: row.id, event: None, next: None, at: now }, None),
    }
}

/// What was missed while nobody was there is made up for once; the series goes on with its next time in the future.
fn next(shared: &Shared, row: &Scheduled, now: Timestamp) -> Option<Scheduled> {
    if row.recurrence == Recurrence::None {
        return None;
    }
    let due_at = row.recurrence.next_after(row.anchor, now.max(row.due_at))?;
    let id = ScheduledId::new(shared.new_id());
    Some(Scheduled { id, due_at, status: ScheduledStatus::Pending, created_at: now, updated_at: now, ..row.clone() })
}

fn handed_over(shared: &Arc<Shared>, handovers: Vec<Option<Handover>>, fired: Vec<Fired>) {
    let mut part = Part::default();
    for (handover, fired) in handovers.into_iter().zip(fired) {
        match (handover, fired) {
            (Some(handover), Fired::Stored(seq)) => {
                handover.count(&mut part);
                shared.dispatcher.push(shared, handover.stored(shared, seq));
            }
            (Some(handover), Fired::Failed | Fired::Gone) => handover.dropped(shared),
            (None, _) => {}
        }
    }
    shared.series.add(shared.now(), part);
}
