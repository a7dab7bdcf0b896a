//! Changes of the configuration: stored, then in force, then told to those whom they concern.

use crate::route::Routes;
use crate::shared::Shared;
use crate::{cut_off, maintain};
use postrider_core::ports::{ConfigChange, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Changes the configuration: `f` looks at it and answers what to put. One at a time; stored first, then in force.
pub(crate) async fn edit<T, E: From<StoreError>>(
    shared: &Arc<Shared>,
    f: impl FnOnce(&Routes) -> Result<(Vec<ConfigChange>, T), E>,
) -> Result<T, E> {
    let editing = Arc::clone(&shared.editing).lock_owned().await;
    let (changes, answer) = f(&shared.routes.load_full())?;
    if !changes.is_empty() {
        let shared = Arc::clone(shared);
        // It goes on when the caller goes away: what is stored must come into force before the next change looks at it.
        let putting = tokio::spawn(async move {
            let _editing = editing;
            put(&shared, changes).await
        });
        putting.await.unwrap_or_else(|ended| Err(cut_off(&ended)))?;
    }
    Ok(answer)
}

/// Stores changes and puts them in force. To be called under `editing`.
async fn put(shared: &Arc<Shared>, changes: Vec<ConfigChange>) -> Result<(), StoreError> {
    shared.store.configure(changes.clone()).await?;
    let old = shared.routes.load_full();
    let (mut new, ring) = (Routes::clone(&old), shared.config.keys.ring());
    // If somebody else changed something in between, the store's version is a later one, and everything is read anew within a second.
    new.version = old.version + 1;
    // Each is announced once, however much of it changed.
    let mut endpoints = BTreeSet::new();
    let mut erases = false;
    for change in changes {
        match &change {
            ConfigChange::Endpoint(endpoint) => {
                endpoints.insert(endpoint.id);
                erases |= endpoint.is_erased();
            }
            ConfigChange::Subscription(subscription) => {
                endpoints.insert(subscription.endpoint);
                // The one that it leaves may have been held back by its rate.
                endpoints.extend(old.subscription(subscription.id).map(|s| s.endpoint));
            }
            ConfigChange::Key(_) => {}
        }
        new.apply(change, &ring, &shared.config.user_agent);
    }
    shared.routes.store(Arc::new(new));
    for endpoint in endpoints {
        maintain::announce(shared, endpoint);
    }
    if erases {
        shared.erased.notify_one();
    }
    Ok(())
}
