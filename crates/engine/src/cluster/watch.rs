//! What waits in the store for this engine's endpoints, where nobody may have told of it.

use super::LOOK;
use crate::shared::Shared;
use postrider_core::id::EndpointId;
use postrider_core::ports::{Slot, StoreError};
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Endpoints asked about in one read.
const PAGE: u32 = 256;

/// How many endpoints are looked at each second where there is no reason to look at all.
const STROLL: u32 = 8_192;

/// How long that may take: it goes on there a second later.
const STROLL_TIME: Duration = Duration::from_millis(100);

/// Looks for what waits in the store: at a piece of it every second, and at all of it where there is reason to.
pub(crate) async fn watch(shared: Arc<Shared>) {
    let (mut cursor, mut all) = (None, false);
    let mut rested = Instant::now();
    loop {
        let told = async {
            shared.cluster.backlog.notified().await;
            // Others may say so all the time.
            tokio::time::sleep_until(rested).await;
        };
        tokio::select! {
            biased;
            () = shared.cluster.walk.notified() => all = true,
            () = told => all = true,
            () = tokio::time::sleep(LOOK) => {}
        }
        let looked = if all {
            let walked = walk(&shared).await;
            rested = Instant::now() + LOOK;
            walked.map(|()| None)
        } else {
            stroll(&shared, cursor).await
        };
        match looked {
            Ok(next) => (cursor, all) = (next, false),
            Err(error) => tracing::debug!(%error, cause = error.cause, "what waits in the store cannot be looked at for the moment"),
        }
    }
}

/// Looks at all that waits in the store.
async fn walk(shared: &Shared) -> Result<(), StoreError> {
    let mut cursor = None;
    loop {
        cursor = look(shared, cursor).await?;
        if cursor.is_none() {
            return Ok(());
        }
    }
}

/// Looks at what waits in the store from there on, as far as it gets in a moment; answers where to go on.
async fn stroll(shared: &Shared, mut cursor: Option<EndpointId>) -> Result<Option<EndpointId>, StoreError> {
    let began = Instant::now();
    for _ in 0..STROLL / PAGE {
        cursor = look(shared, cursor).await?;
        if cursor.is_none() || began.elapsed() >= STROLL_TIME {
            break;
        }
    }
    Ok(cursor)
}

/// Looks at a page of what waits in the store; answers where the next one begins.
async fn look(shared: &Shared, after: Option<EndpointId>) -> Result<Option<EndpointId>, StoreError> {
    let waiting = shared.store.backlog_after(after, PAGE).await?;
    let is_full = waiting.len() >= PAGE as usize;
    let next = waiting.last().map(|last| last.endpoint).filter(|_| is_full);
    let owned = shared.dispatcher.owned();
    for backlog in waiting.into_iter().filter(|backlog| owned.contains(Slot::of(backlog.endpoint.uuid()))) {
        let due = shared.due_or_at_once(backlog.endpoint, backlog.first_due);
        shared.dispatcher.note_stored([backlog.endpoint], due);
    }
    Ok(next)
}
