//! The handle, and how a verb is run.

use super::Dump;
use super::data::Data;
use parking_lot::{Mutex, MutexGuard};
use postrider_core::ports::{BoxFuture, StoreError, StoreErrorKind};
use std::sync::Arc;

/// A handle on a store in memory. Clones are the same engine on the same data; [`MemoryStore::new_incarnation`] is the next
/// engine on the same data. The data lives as long as any handle.
#[derive(Clone, Debug)]
pub struct MemoryStore {
    data: Arc<Mutex<Data>>,
    incarnation: u64,
}

impl MemoryStore {
    /// An empty store.
    pub fn new() -> Self {
        MemoryStore { data: Arc::default(), incarnation: 1 }
    }

    /// An empty store that refuses new work before it holds so many bytes, by an estimate of its own.
    pub fn with_budget(bytes: u64) -> Self {
        let store = MemoryStore::new();
        store.lock().budget = Some(bytes);
        store
    }

    /// The handle that an engine gets after a restart: what older handles claimed can be rescued through it, and they are fenced
    /// off from it.
    #[must_use]
    pub fn new_incarnation(&self) -> MemoryStore {
        let mut data = self.data.lock();
        data.newest_incarnation += 1;
        let incarnation = data.newest_incarnation;
        data.join(incarnation);
        MemoryStore { data: Arc::clone(&self.data), incarnation }
    }

    /// The number that this handle's claims carry; 1 for the first handle of a store.
    pub fn incarnation(&self) -> u64 {
        self.incarnation
    }

    /// Everything that is stored.
    pub fn dump(&self) -> Dump {
        self.lock().dump()
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Data> {
        self.data.lock()
    }

    /// Refuses everything to an engine that the others have taken for dead.
    fn refuses(&self, data: &Data) -> Result<(), StoreError> {
        if data.has_ended(self.incarnation) {
            return Err(StoreError { kind: StoreErrorKind::Unavailable, cause: "this engine was taken for dead".to_owned() });
        }
        Ok(())
    }

    /// Runs a verb when the future is first polled, as a database would.
    pub(super) fn answer<'a, T: 'a>(&'a self, verb: impl FnOnce(&mut Data, u64) -> T + Send + 'a) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let mut data = self.lock();
            self.refuses(&data)?;
            Ok(verb(&mut data, self.incarnation))
        })
    }

    /// The same for a verb that adds about so many bytes, unless `is_known` says that it adds nothing: refused where there is no room.
    pub(super) fn grow<'a, T: 'a>(
        &'a self,
        bytes: u64,
        is_known: impl FnOnce(&Data) -> bool + Send + 'a,
        verb: impl FnOnce(&mut Data, u64) -> T + Send + 'a,
    ) -> BoxFuture<'a, Result<T, StoreError>> {
        Box::pin(async move {
            let mut data = self.lock();
            self.refuses(&data)?;
            match data.refuses(bytes) {
                Some(refusal) if !is_known(&data) => Err(refusal),
                _ => Ok(verb(&mut data, self.incarnation)),
            }
        })
    }
}

impl Default for MemoryStore {
    fn default() -> Self {
        MemoryStore::new()
    }
}
