//! The store of a server: the embedded database in its data directory, or one that nodes share.

use super::{Failed, keys, secrets};
use crate::config::Config;
use crate::config::value::Span;
use crate::nodes::{Nodes, OnlyNode};
use postrider_core::ports::{Store, StoreError};
use postrider_core::seal::{KeyRing, Sealed};
use postrider_core::time::Timestamp;
use postrider_store::{PgOptions, PgStore, SqliteOptions, SqliteStore};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// The first pause before a database that is away is asked again, and the longest one.
const PAUSE: Duration = Duration::from_millis(250);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often it is said that it is waited for.
const SAY_SO: Duration = Duration::from_secs(10);

/// What is said when others have taken this node for dead.
pub(super) const LOST: &str = "this node was taken for dead by the others that share the database, and they go on with what it had under way: \
     start it again, as a supervisor does by itself. It had stood still or not reached the database for longer than its lease, or could \
     not learn whether something was stored; its log says which";

/// A store that is open.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PgStore>),
}

impl Opened {
    /// Opens the store that is configured; waits for a database that is away. The error says what is wrong and how to mend it.
    pub(super) async fn open(config: &Config, waiting: &mut Waiting) -> Result<Self, String> {
        if let Some(options) = config.database() {
            return open_in_time(options, waiting).await;
        }
        let budget_bytes = config.max_store_bytes.map(|size| size.0);
        let options = SqliteOptions { budget_bytes, ..SqliteOptions::new(&config.data_dir) };
        let store = SqliteStore::open(options).map_err(|e| e.to_string())?;
        Ok(Opened::Sqlite(Arc::new(store)))
    }

    /// Whether other nodes may have it open as well.
    pub(super) fn is_shared(&self) -> bool {
        matches!(self, Opened::Postgres(_))
    }

    /// What says which keys of secrets the other nodes have, once there was one.
    pub(super) async fn key_check(&self) -> Result<Option<Sealed>, StoreError> {
        match self {
            Opened::Sqlite(_) => Ok(None),
            Opened::Postgres(store) => store.key_check().await,
        }
    }

    /// Refuses keys of secrets that are not those of the other nodes: what is sealed under them the others could not read. The first node to come
    /// says which they are. `directory` is where the file lies that they come from, if they do.
    pub(super) async fn agree_on_keys(&self, ring: &KeyRing, directory: Option<&Path>) -> Result<(), Failed> {
        let Opened::Postgres(store) = self else { return Ok(()) };
        let agreed = store.agree_on_keys(&secrets::proof(ring)).await?;
        let Some(text) = secrets::strange(ring, &agreed) else { return Ok(()) };
        let mend = match directory {
            Some(directory) => format!(
                "Here they come from {}: put the file of another server in its place, which in the development mode is in the data directory there",
                directory.join(secrets::FILE).display()
            ),
            None => format!("With the development mode it is {} in its data directory", secrets::FILE),
        };
        let lost = "Where the keys of before are lost for good: postrider secrets rotate --key-lost";
        Err(Failed::from(format!("{text}. {mend}. {lost}")))
    }

    /// Who else makes and uses keys of the development mode.
    pub(super) async fn key_nodes(&self) -> Result<keys::Nodes, StoreError> {
        let Opened::Postgres(store) = self else { return Ok(keys::Nodes::One) };
        let nodes = store.nodes().await?;
        let alive = nodes.into_iter().filter(|node| node.ended_at.is_none()).map(|node| node.incarnation).collect();
        Ok(keys::Nodes::Several { own: store.incarnation(), alive })
    }

    /// What the engine works on.
    pub(super) fn port(&self) -> Arc<dyn Store> {
        match self {
            Opened::Sqlite(store) => Arc::<SqliteStore>::clone(store),
            Opened::Postgres(store) => Arc::<PgStore>::clone(store),
        }
    }

    /// The word for it in health checks.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Opened::Sqlite(_) => "sqlite",
            Opened::Postgres(_) => "postgres",
        }
    }

    /// Who serves it.
    pub(super) fn nodes(&self, config: &Config, started_at: Timestamp) -> Arc<dyn Nodes> {
        match self {
            Opened::Sqlite(store) => Arc::new(OnlyNode {
                name: config.node_name.clone(),
                address: config.node_address.clone(),
                incarnation: store.incarnation(),
                started_at,
            }),
            Opened::Postgres(store) => Arc::<PgStore>::clone(store),
        }
    }

    /// Returns once others have taken this node for dead, and never where there are no others.
    pub(super) async fn lost(&self) {
        if let Opened::Postgres(store) = self {
            let mut lost = store.lost();
            // An error is that nobody is left to say so.
            let is_lost = lost.wait_for(|lost| *lost).await.is_ok();
            if is_lost {
                return;
            }
        }
        std::future::pending().await
    }

    /// Writes what waits and closes it, which takes as long as it takes.
    pub(super) async fn close(&self) -> Result<(), String> {
        match self {
            Opened::Sqlite(store) => {
                let store = Arc::clone(store);
                let closed = tokio::task::spawn_blocking(move || store.close()).await;
                closed.map_err(|e| format!("closing the store failed: {e}"))
            }
            Opened::Postgres(store) => {
                Box::pin(store.close()).await;
                Ok(())
            }
        }
    }
}

/// Opens a database as a new node. One that is away is asked again; what is wrong with what was given is said at once.
async fn open_in_time(options: PgOptions, waiting: &mut Waiting) -> Result<Opened, String> {
    loop {
        match Box::pin(PgStore::open(options.clone())).await {
            Ok(store) => return Ok(Opened::Postgres(Arc::new(store))),
            Err(error) if error.may_pass() => waiting.again(error.to_string()).await?,
            Err(error) => return Err(error.to_string()),
        }
    }
}

/// How long a start goes on waiting for a database.
#[derive(Debug)]
pub(super) struct Waiting {
    patience: Span,
    begun: Instant,
    said: Option<Instant>,
    pause: Duration,
}

impl Waiting {
    /// For as long as is configured, from now on. An embedded database is not waited for.
    pub(super) fn new(config: &Config) -> Self {
        let patience = if config.database_url.is_some() { config.database_wait() } else { Span::secs(0) };
        Waiting { patience, begun: Instant::now(), said: None, pause: PAUSE }
    }

    /// Waits until the next try; gives the error back if there is none.
    pub(super) async fn again(&mut self, error: String) -> Result<(), String> {
        let patience = self.patience;
        if patience == Span::secs(0) {
            return Err(error);
        }
        if self.begun.elapsed() + self.pause > patience.0 {
            return Err(format!("{error}; it was waited for for {patience} (--database-wait)"));
        }
        if self.said.is_none_or(|said| said.elapsed() >= SAY_SO) {
            self.said = Some(Instant::now());
            tracing::warn!(%error, waited = self.begun.elapsed().as_secs(), at_most = %patience, "the database is waited for");
        }
        tokio::time::sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        Ok(())
    }
}
