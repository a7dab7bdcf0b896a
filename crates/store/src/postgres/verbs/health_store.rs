//! The verbs about how well endpoints do.

use crate::postgres::*;
use postrider_core::event::Namespace;
use postrider_core::health::{Health, HealthTally};
use postrider_core::id::EndpointId;
use postrider_core::time::Timestamp;

impl HealthStore for PgStore {
    fn endpoint_health(&self, of: Vec<EndpointId>) -> BoxFuture<'_, Result<Vec<Option<HealthTally>>, StoreError>> {
        read!(self.readers, conn => health::of(conn, &of))
    }

    fn endpoints_by_health(
        &self,
        namespace: Option<Namespace>,
        class: Health,
        window: Window<EndpointId>,
    ) -> BoxFuture<'_, Result<Found<EndpointId, EndpointId>, StoreError>> {
        snapshot!(self.readers, conn => health::list(conn, namespace.as_ref(), class, window))
    }

    fn health_summary(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<[u64; Health::ALL.len()], StoreError>> {
        read!(self.readers, conn => health::summary(conn, namespace.as_ref()))
    }

    fn age_health(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u32, StoreError>> {
        written!(self, tx => health::age(tx, now, limit))
    }
}
