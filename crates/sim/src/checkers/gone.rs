//! Promise 1 again: configuration goes only when it was deleted and nothing is left of it.

use crate::Checker::AcknowledgedIsDurable;
use crate::world::World;
use postrider_core::ports::Configuration;
use postrider_store::memory::Dump;
use std::collections::BTreeSet;

/// Holds what retention removed of the configuration against what it may remove, and remembers it.
pub(crate) fn configuration(world: &World, before: &Configuration, after: &Configuration, left: &Dump) {
    let endpoints: BTreeSet<_> = after.endpoints.iter().map(|e| e.id).collect();
    let subscriptions: BTreeSet<_> = after.subscriptions.iter().map(|s| s.id).collect();
    let mut wrong = Vec::new();
    let mut state = world.state();
    for gone in before.endpoints.iter().filter(|e| !endpoints.contains(&e.id)) {
        if gone.deleted.is_none() || left.deliveries.iter().any(|d| d.endpoint == gone.id) {
            wrong.push(format!("endpoint {}", gone.id));
        }
        state.removed.endpoints.insert(gone.id, gone.clone());
    }
    for gone in before.subscriptions.iter().filter(|s| !subscriptions.contains(&s.id)) {
        if gone.deleted_at.is_none() || left.deliveries.iter().any(|d| d.subscription == gone.id) {
            wrong.push(format!("subscription {}", gone.id));
        }
        state.removed.subscriptions.insert(gone.id, gone.clone());
    }
    if (!wrong.is_empty() || endpoints.len() < before.endpoints.len()) && after.version <= before.version {
        wrong.push("something without raising the version".to_owned());
    }
    drop(state);
    for what in wrong {
        world.violated(AcknowledgedIsDurable, format!("retention removed {what}"));
    }
}
