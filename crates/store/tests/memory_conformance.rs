//! The model passes the suite that it is the model of.

use postrider_store::conformance::Harness;
use postrider_store::memory::MemoryStore;

struct Memory;

impl Harness for Memory {
    type Store = MemoryStore;

    async fn fresh(&self) -> MemoryStore {
        MemoryStore::new()
    }

    async fn fresh_with_budget(&self, bytes: u64) -> MemoryStore {
        MemoryStore::with_budget(bytes)
    }

    async fn reopen(&self, store: MemoryStore) -> MemoryStore {
        store.new_incarnation()
    }
}

postrider_store::conformance_tests!(Memory);
