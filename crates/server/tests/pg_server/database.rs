//! A database of its own for each test, on the server that `scripts/postgres` starts.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use tokio_postgres::{Client, NoTls};

/// The password in every URL. Nobody may ever show it.
pub const PASSWORD: &str = "s3cret-of-this-test";

/// Gone when this is, with its user.
pub struct Database {
    /// As a user of the same name, who may do everything, with [`PASSWORD`].
    pub url: String,
    name: String,
}

/// The database that `scripts/postgres` made.
fn server() -> String {
    std::env::var("POSTRIDER_TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!("this test needs a PostgreSQL server of its own: scripts/postgres run cargo nextest run --workspace --all-features")
    })
}

impl Database {
    /// An empty one.
    pub fn new() -> Database {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let n = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("s_{}_{n}_{:016x}", std::process::id(), RandomState::new().hash_one(n));
        let server = server();
        execute(&server, &format!("CREATE ROLE {name} LOGIN SUPERUSER PASSWORD '{PASSWORD}'"));
        execute(&server, &format!("CREATE DATABASE {name} TEMPLATE template0"));
        let (_, place) = server.rsplit_once('@').expect("a URL with a user");
        let (place, _) = place.split_once('/').expect("a URL with a database");
        Database { url: format!("postgres://{name}:{PASSWORD}@{place}/{name}"), name }
    }

    /// The same as another user.
    pub fn url_of(&self, user: &str) -> String {
        let (_, place) = self.url.rsplit_once('@').expect("a URL with a user");
        format!("postgres://{user}:{PASSWORD}@{place}")
    }

    /// Another database of the same server.
    pub fn url_to(&self, name: &str) -> String {
        let (place, _) = self.url.rsplit_once('/').expect("a URL with a database");
        format!("{place}/{name}")
    }

    /// Runs statements past the server.
    pub fn execute(&self, sql: &str) {
        execute(&self.url, sql);
    }

    /// The first column of the only row.
    pub fn number(&self, sql: &str) -> i64 {
        on(&self.url, async |client: Client| client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0))
    }

    /// The same, of a text.
    pub fn text(&self, sql: &str) -> String {
        on(&self.url, async |client: Client| client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0))
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let (server, name) = (server(), self.name.clone());
        // On a thread of its own: what cannot be dropped goes with the whole server, and the test has ended as it has.
        let dropping = std::thread::spawn(move || {
            execute(&server, &format!("DROP DATABASE IF EXISTS {name} WITH (FORCE)"));
            execute(&server, &format!("DROP ROLE IF EXISTS {name}"));
        });
        let _ = dropping.join();
    }
}

fn execute(url: &str, sql: &str) {
    on(url, async |client: Client| client.batch_execute(sql).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")));
}

fn on<T>(url: &str, work: impl AsyncFnOnce(Client) -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread starts");
    runtime.block_on(async {
        let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
        tokio::spawn(connection);
        work(client).await
    })
}
