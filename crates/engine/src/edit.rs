//! Changes of the configuration: stored, then in force, then told to those whom they concern.

use crate::route::Routes;
use crate::shared::Shared;
use crate::{cut_off, maintain};
use postrider_core::ports::{ConfigChange, Configured, News, StoreError, StoreErrorKind};
use postrider_core::seal::{KeyRing, Sealed};
use std::collections::BTreeSet;
use std::sync::Arc;

/// How often a change is made anew because somebody else (the command line, retention) changed something meanwhile. They do so seldom.
const TRIES: u32 = 16;

/// Changes the configuration: `f` looks at it and answers what to put. One at a time; stored first, then in force. Where somebody else
/// has changed the configuration meanwhile, it is read again and `f` is asked again: what it answered before has not been stored. Its refusal is
/// believed, and that there is nothing to put, only of the newest configuration.
///
/// A secret that was sealed before the key of secrets was changed is not stored, for whoever changed the key says of all secrets that they
/// are under the new one: the change fails as [`StoreErrorKind::Unavailable`], and succeeds once its caller has sealed it anew.
pub(crate) async fn edit<T, E: From<StoreError>>(
    shared: &Arc<Shared>,
    mut f: impl FnMut(&Routes) -> Result<(Vec<ConfigChange>, T), E>,
) -> Result<T, E> {
    let mut editing = Arc::clone(&shared.editing).lock_owned().await;
    // Where others share the store, what `f` does not find may have been configured there a moment ago. What it changes is looked at when it is stored.
    let mut is_newest = !shared.store.is_shared();
    for _ in 0..TRIES {
        let routes = shared.routes.load_full();
        let wanted = match f(&routes) {
            Ok((changes, answer)) if is_newest || !changes.is_empty() => Some((changes, answer)),
            Err(error) if is_newest => return Err(error),
            Ok(_) | Err(_) => None,
        };
        let Some((changes, answer)) = wanted else {
            drop(routes);
            maintain::reload_if_changed(shared).await?;
            is_newest = true;
            continue;
        };
        if changes.is_empty() {
            return Ok(answer);
        }
        if brings_old_seal(&changes, &routes, &shared.config.keys.ring()) {
            let cause = "the key of secrets was changed while a secret was on its way: it is not stored under the key before".to_owned();
            return Err(StoreError { kind: StoreErrorKind::Unavailable, cause }.into());
        }
        drop(routes);
        let shared = Arc::clone(shared);
        // It goes on when the caller goes away: what is stored must come into force before the next change looks at it.
        let putting = tokio::spawn(async move {
            let is_put = put(&shared, changes).await?;
            Ok((is_put, editing))
        });
        let (is_put, lock) = putting.await.unwrap_or_else(|ended| Err(cut_off(&ended)))?;
        if is_put {
            return Ok(answer);
        }
        editing = lock;
    }
    let cause = "others change the configuration all the time".to_owned();
    Err(StoreError { kind: StoreErrorKind::Unavailable, cause }.into())
}

/// Whether a change has a secret under another key than the one that seals, which its endpoint does not have already.
fn brings_old_seal(changes: &[ConfigChange], routes: &Routes, ring: &KeyRing) -> bool {
    changes.iter().any(|change| {
        let ConfigChange::Endpoint(endpoint) = change else { return false };
        let before = routes.endpoint(endpoint.id);
        let is_there = |sealed: &Sealed| before.is_some_and(|before| before.sealed().any(|there| there == sealed));
        endpoint.deleted.is_none() && endpoint.sealed().any(|sealed| ring.needs_resealing(sealed) && !is_there(sealed))
    })
}

/// Stores changes and puts them in force, or reads the configuration again if they were not made from the newest one; answers whether they are
/// stored. To be called under `editing`.
async fn put(shared: &Arc<Shared>, changes: Vec<ConfigChange>) -> Result<bool, StoreError> {
    let old = shared.routes.load_full();
    let Configured::Stored { version } = shared.store.configure(old.version, changes.clone()).await? else {
        maintain::reload(shared).await?;
        return Ok(false);
    };
    let (mut new, ring) = (Routes::clone(&old), shared.config.keys.ring());
    new.version = version;
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
            ConfigChange::Key(_) | ConfigChange::EventType(_) | ConfigChange::NoEventType { .. } => {}
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
    shared.tell(News::Configuration);
    Ok(true)
}
