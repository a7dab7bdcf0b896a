//! The verbs about numbers over time, and what is late.

use crate::postgres::*;
use postrider_core::event::Namespace;
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;

impl SeriesStore for PgStore {
    fn add_series(&self, deltas: Vec<SeriesDelta>) -> BoxFuture<'_, Result<(), StoreError>> {
        Box::pin(async move {
            let sums = SeriesDelta::spread(&deltas);
            let _one = self.adding.lock().await;
            transact!(self.writers.seat(), tx => series::add(tx, &sums)).map_err(Error::into_store)
        })
    }

    fn series(
        &self,
        namespace: Option<Namespace>,
        step: Step,
        from: Timestamp,
        before: Timestamp,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, Numbers)>, StoreError>> {
        read!(self.readers, conn => series::read(conn, namespace.as_ref(), step, from, before))
    }

    fn forget_series(&self, now: Timestamp, limit: u32) -> BoxFuture<'_, Result<u64, StoreError>> {
        written!(self, tx => series::forget(tx, now, limit))
    }

    fn note_late(&self, late: Vec<Late>) -> BoxFuture<'_, Result<(), StoreError>> {
        written!(self, tx => series::note(tx, &late))
    }

    fn most_late(&self, namespace: Option<Namespace>) -> BoxFuture<'_, Result<Option<Late>, StoreError>> {
        read!(self.readers, conn => series::most_late(conn, namespace.as_ref()))
    }
}
