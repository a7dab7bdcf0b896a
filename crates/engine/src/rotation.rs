//! Rotations of signing secrets that are over: what signs no more leaves the configuration, so that it lies nowhere any longer. Nothing waits for that,
//! for who signs goes by the clock (`request.rs`).

use crate::edit::edit;
use crate::route::{Routes, newest_secrets};
use crate::shared::Shared;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::EndpointId;
use postrider_core::ports::{ConfigChange, StoreError};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often it is looked for those that are over.
const LOOK: Duration = Duration::from_secs(600);

/// Ends them, for as long as the engine lives and leads.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        tokio::time::sleep(LOOK).await;
        if !shared.leads() {
            continue;
        }
        let over = over(&shared.routes.load(), shared.now());
        for id in over {
            if let Err(error) = end(&shared, id).await {
                tracing::warn!(%error, cause = error.cause, endpoint = %id, "a secret that signs no more cannot be removed for the moment");
            }
        }
    }
}

/// Endpoints of which older secrets sign no more.
fn over(routes: &Routes, now: Timestamp) -> Vec<EndpointId> {
    routes.endpoints().filter(|endpoint| !endpoint.old_secrets_sign(now)).map(|endpoint| endpoint.id).collect()
}

/// Takes them away. Where a secret cannot be opened all of them stay, for nobody knows which is the newest of its kind.
async fn end(shared: &Arc<Shared>, id: EndpointId) -> Result<(), StoreError> {
    edit(shared, |routes| {
        let rotated = routes.endpoint(id).filter(|endpoint| !endpoint.old_secrets_sign(shared.now()));
        let ended = rotated.and_then(|endpoint| {
            let secrets = newest_secrets(endpoint, &shared.config.keys.ring())?;
            Some(ConfigChange::Endpoint(Endpoint { secrets, old_secrets_until: None, ..Endpoint::clone(endpoint) }))
        });
        Ok::<_, StoreError>((ended.into_iter().collect(), ()))
    })
    .await
}
