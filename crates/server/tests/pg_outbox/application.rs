//! An application that shares the database: one connection, on which it does its own work and publishes.

use std::hash::{BuildHasher, RandomState};
use tokio::runtime::Runtime;
use tokio_postgres::{Client, NoTls};

/// What the database says to something that it refuses.
#[derive(Debug)]
pub struct Refusal {
    pub code: String,
    pub message: String,
    pub hint: Option<String>,
}

/// Its connection ends with it.
pub struct Application {
    runtime: Runtime,
    client: Client,
}

impl Application {
    pub fn new(url: &str) -> Application {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread starts");
        let client = runtime.block_on(async {
            let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
            tokio::spawn(connection);
            client
        });
        Application { runtime, client }
    }

    /// Runs statements that must succeed.
    pub fn run(&self, sql: &str) {
        self.runtime.block_on(self.client.batch_execute(sql)).unwrap_or_else(|e| panic!("{sql}: {e:?}"));
    }

    /// Calls `postrider.publish` with these arguments, which must succeed; answers the number in the outbox.
    pub fn publish(&self, arguments: &str) -> i64 {
        let sql = format!("SELECT postrider.publish({arguments})");
        self.runtime.block_on(self.client.query_one(&sql, &[])).unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
    }

    /// Runs a statement that must be refused.
    pub fn refused(&self, sql: &str) -> Refusal {
        let error = self.runtime.block_on(self.client.batch_execute(sql)).expect_err(sql);
        let said = error.as_db_error().unwrap_or_else(|| panic!("{sql}: {error:?}"));
        Refusal { code: said.code().code().to_owned(), message: said.message().to_owned(), hint: said.hint().map(str::to_owned) }
    }
}

/// A name for a role that no other test has: roles belong to the whole server.
pub fn new_role() -> String {
    format!("r_{}_{:016x}", std::process::id(), RandomState::new().hash_one(0))
}
