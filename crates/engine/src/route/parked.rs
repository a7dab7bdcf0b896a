//! What becomes of deliveries while an endpoint takes none.

use super::{Route, Routes};
use postrider_core::endpoint::EndpointStatus;
use postrider_core::id::EndpointId;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use std::sync::Arc;

/// A paused RPC webhook skips what comes meanwhile (its contract); elsewhere deliveries wait parked, see [`Routes::parked_since`].
pub(super) fn skips(route: &Route) -> bool {
    route.subscription.origin == Origin::Rpc && matches!(route.endpoint.status, EndpointStatus::Paused { .. })
}

impl Routes {
    /// Since when what was made for an endpoint waits in the store; `None` while it is sent. A disabled endpoint gets nothing. A paused one
    /// gets what was made for it before (contract of the RPC API, section 6) where all of its subscriptions are of the RPC API; elsewhere, and
    /// where it has none, that waits too. One answer for an endpoint: its deliveries share a queue.
    pub fn parked_since(&self, id: EndpointId) -> Option<Timestamp> {
        let is_rpc = |s: &Arc<Subscription>| s.origin == Origin::Rpc;
        match self.endpoint(id)?.status {
            EndpointStatus::Active => None,
            EndpointStatus::Disabled { at, .. } => Some(at),
            EndpointStatus::Paused { at } => {
                let mut all = self.subscriptions_of(id).chain(self.retired_of(id)).peekable();
                let goes_on = all.peek().is_some() && all.all(is_rpc);
                (!goes_on).then_some(at)
            }
        }
    }
}
