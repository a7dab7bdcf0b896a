//! The store on PostgreSQL against the suite that every store must pass.

mod pg;

use postrider_store::conformance::Harness;
use postrider_store::{PgOptions, PgStore};
use std::cell::RefCell;
use std::rc::Rc;

/// A schema of its own, for as long as this is there.
struct Schema {
    url: String,
    name: String,
}

impl Schema {
    fn new() -> Self {
        Schema { url: pg::server(), name: pg::unique("t") }
    }

    /// Few connections: a server has a limit, and many tests share it.
    fn options(&self) -> PgOptions {
        PgOptions { schema: self.name.clone(), lanes: 2, writers: 3, readers: 2, own_readers: 2, ..PgOptions::new(&self.url) }
    }

    /// What others do who find that a node has stopped.
    async fn end_nodes(&self) {
        let ended = format!("UPDATE {}.nodes SET ended_at = clock_timestamp() WHERE ended_at IS NULL", self.name);
        pg::connect(&self.url).await.batch_execute(&ended).await.expect("its node is ended");
    }
}

impl Drop for Schema {
    fn drop(&mut self) {
        // The store is gone, but its connections may not know it yet: what one is in the middle of would keep the schema's tables.
        let busy = format!(
            "SELECT pg_terminate_backend(l.pid, 5000) FROM pg_locks l JOIN pg_class c ON c.oid = l.relation \
             JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname = '{}' AND l.pid <> pg_backend_pid()",
            self.name
        );
        pg::clean_up(&self.url, vec![busy, format!("DROP SCHEMA IF EXISTS {} CASCADE", self.name)]);
    }
}

/// Every store has a schema of its own. A crash is a store that is dropped, and whose node others then find dead.
#[derive(Default)]
struct Pg {
    newest: RefCell<Option<Rc<Schema>>>,
}

impl Pg {
    /// A schema for a new store; that of the one before goes.
    fn next(&self) -> Rc<Schema> {
        let schema = Rc::new(Schema::new());
        drop(self.newest.replace(Some(schema.clone())));
        schema
    }
}

async fn open(options: PgOptions) -> PgStore {
    PgStore::open(options).await.expect("the store opens")
}

impl Harness for Pg {
    type Store = PgStore;

    /// Each takes some seconds: a read of everything after every step is a dozen of conversations with the server.
    const SEQUENCES: u32 = 16;

    async fn fresh(&self) -> PgStore {
        open(self.next().options()).await
    }

    async fn fresh_with_budget(&self, bytes: u64) -> PgStore {
        let schema = self.next();
        open(PgOptions { budget_bytes: Some(bytes), ..schema.options() }).await
    }

    async fn reopen(&self, store: PgStore) -> PgStore {
        let schema = self.newest.borrow().clone().expect("a store was opened in it");
        drop(store);
        schema.end_nodes().await;
        open(schema.options()).await
    }
}

postrider_store::conformance_tests!(Pg::default());
