//! The verbs about what applications publish through the database.

use super::{nothing, sizes};
use crate::postgres::*;

impl OutboxStore for PgStore {
    fn outbox(&self, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<OutboxEntry>, StoreError>> {
        snapshot!(self.own, conn => outbox::waiting(conn, &self.floor, limit, max_bytes))
    }

    fn relay(&self, entries: Vec<(i64, Relay)>) -> BoxFuture<'_, Result<Vec<Relayed>, StoreError>> {
        Box::pin(async move {
            let bytes = |(_, relay): &(i64, Relay)| match relay {
                Relay::Publish(event) => sizes::event(event),
                Relay::Refuse(_) => 0,
            };
            grow!(self, entries.iter().map(bytes).sum(), conn => nothing());
            transact!(self.writers.seat(), tx => outbox::relay(tx, &entries)).map_err(Error::into_store)
        })
    }

    fn forget_refused(&self, age: Duration, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        written!(self, tx => outbox::forget(tx, age, limit))
    }
}
