//! Databases of the tests' own.

use crate::pg;
use tokio_postgres::Client;

/// Where stores have what is theirs.
pub const SCHEMA: &str = "postrider";

/// A database of its own, for as long as this is there: its connections are the test's, what is told in it is heard by nobody else, and no
/// other test's transaction keeps old rows in it.
pub struct Database {
    pub url: String,
    pub name: String,
}

impl Database {
    /// A new one, whose name begins with this.
    pub async fn new(prefix: &str) -> Self {
        let (server, name) = (pg::server(), pg::unique(prefix));
        let made = format!("CREATE DATABASE {name} TEMPLATE template0");
        pg::connect(&server).await.batch_execute(&made).await.expect("a database");
        let (place, _) = server.rsplit_once('/').expect("a URL with a database");
        Database { url: format!("{place}/{name}"), name }
    }

    /// A connection past the store, into its schema.
    pub async fn client(&self) -> Client {
        client(&self.url).await
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        pg::clean_up(&pg::server(), vec![format!("DROP DATABASE IF EXISTS {} WITH (FORCE)", self.name)]);
    }
}

/// A connection past the store, into its schema.
pub async fn client(url: &str) -> Client {
    let client = pg::connect(url).await;
    client.batch_execute(&format!("SET search_path TO {SCHEMA}")).await.expect("a setting");
    client
}

/// The number that a statement answers.
pub async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.unwrap_or_else(|e| panic!("{sql}: {e:?}")).get(0)
}
