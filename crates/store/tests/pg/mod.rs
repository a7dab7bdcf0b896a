//! What the tests of the store on PostgreSQL share: the way to the server, and names that nobody else has.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// How long a test's last act may take. What is left then goes with the whole server.
const CLEANING: Duration = Duration::from_secs(20);

/// The database that `scripts/postgres` made.
pub fn server() -> String {
    std::env::var("POSTRIDER_TEST_DATABASE_URL").unwrap_or_else(|_| {
        panic!("this test needs a PostgreSQL server of its own: scripts/postgres run cargo nextest run --workspace --all-features")
    })
}

/// A name for a schema or a database: any number of tests run at the same time, and one that ended badly leaves its own behind.
pub fn unique(prefix: &str) -> String {
    static MADE: AtomicU32 = AtomicU32::new(0);
    let (process, n) = (std::process::id(), MADE.fetch_add(1, Ordering::Relaxed));
    format!("{prefix}_{process}_{n}_{:016x}", RandomState::new().hash_one(n))
}

/// A connection past the store.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("PostgreSQL answers");
    tokio::spawn(connection);
    client
}

/// Runs statements at the end of a test, wherever that is: on a thread of its own, and without a panic if they fail.
pub fn clean_up(url: &str, statements: Vec<String>) {
    let url = url.to_owned();
    let cleaning = std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime of one thread starts");
        let cleaned = runtime.block_on(async {
            let cleaning = async {
                let client = connect(&url).await;
                for statement in &statements {
                    if let Err(e) = client.batch_execute(statement).await {
                        eprintln!("{statement}: {e}");
                    }
                }
            };
            tokio::time::timeout(CLEANING, cleaning).await
        });
        if cleaned.is_err() {
            eprintln!("what the test stored is left to go with the server");
        }
    });
    drop(cleaning.join());
}
