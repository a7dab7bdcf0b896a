//! The verbs about what applications publish through the database.

use super::{nothing, sizes};
use crate::postgres::*;

impl OutboxStore for PgStore {
    fn outbox(&self, limit: u32, max_bytes: u64) -> BoxFuture<'_, Result<Vec<OutboxEntry>, StoreError>> {
        Box::pin(async move {
            loop {
                let found: Result<outbox::Waiting, StoreError> =
                    snapshot!(self.own, conn => outbox::waiting(conn, &self.floor, limit, max_bytes)).await;
                let outbox::Waiting { entries, broken } = found?;
                if broken.is_empty() {
                    return Ok(entries);
                }
                // One that nobody can read must not keep the others.
                transact!(self.writers.seat(), tx => outbox::put_broken_aside(tx, &broken)).map_err(Error::into_store)?;
                for (id, why) in &broken {
                    tracing::warn!(id, why, "an event in the outbox cannot be read and is put aside");
                }
                self.floor.relayed(broken.iter().map(|(id, _)| *id));
                if !entries.is_empty() {
                    return Ok(entries);
                }
            }
        })
    }

    fn relay(&self, entries: Vec<(i64, Relay)>) -> BoxFuture<'_, Result<Vec<Relayed>, StoreError>> {
        Box::pin(async move {
            let entries = outbox::fitting(entries, self.room.most());
            let bytes = |(_, relay): &(i64, Relay)| match relay {
                Relay::Publish(event) => sizes::event(event),
                Relay::Refuse(_) => 0,
            };
            grow!(self, entries.iter().map(bytes).sum(), conn => nothing());
            let relayed = transact!(self.writers.seat(), tx => outbox::relay(tx, &entries)).map_err(Error::into_store)?;
            self.floor.relayed(entries.iter().map(|(id, _)| *id));
            Ok(relayed)
        })
    }

    fn forget_refused(&self, age: Duration, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        written!(self, tx => outbox::forget(tx, age, limit))
    }
}
