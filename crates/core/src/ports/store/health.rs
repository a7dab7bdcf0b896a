//! How well endpoints take what they are sent, kept with every outcome.

use super::{Found, StoreError, Window};
use crate::event::Namespace;
use crate::health::{Health, HealthTally};
use crate::id::EndpointId;
use crate::ports::BoxFuture;
use crate::time::Timestamp;

/// Keeps a [`HealthTally`] for each endpoint that is configured and not deleted, from the moment at which it is configured.
///
/// The outcomes of attempts are counted in the same piece in which [`settle`](super::Store::settle) stores them. A delivery counts by its latest
/// attempt, instead of the one before it: where retention took that, both count. What is deleted has no tally from that moment on, and what is
/// still delivered to it is not counted.
///
/// Windows of 24 hours move on with every outcome of their endpoint, and with [`HealthStore::age_health`]; the reads answer what these left.
pub trait HealthStore: Send + Sync + 'static {
    /// The tallies of these endpoints, in their order; that of an endpoint without outcomes is empty. `None` for one that is not configured, or
    /// deleted. A seek for each.
    fn endpoint_health(&self, of: Vec<EndpointId>) -> BoxFuture<'_, Result<Vec<Option<HealthTally>>, StoreError>>;

    /// Endpoints of this health, of one namespace if given: in descending order of their ids, which is the order in which they were made. Costs
    /// what the page shows and skips.
    fn endpoints_by_health(
        &self,
        namespace: Option<Namespace>,
        health: Health,
        window: Window<EndpointId>,
    ) -> BoxFuture<'_, Result<Found<EndpointId, EndpointId>, StoreError>>;

    /// How many endpoints are of which health, by [`Health`] number; of one namespace if given. Kept with every write, never counted.
    fn health_summary(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; Health::ALL.len()], StoreError>>;

    /// Brings up to `limit` tallies up to date of which an hour has left the window by now, those first that have waited longest; answers how
    /// many. As many as the limit says that there may be more.
    fn age_health(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>>;
}
