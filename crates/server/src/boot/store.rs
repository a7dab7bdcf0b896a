//! The store of a server: the embedded database in its data directory, or one that nodes share.

use crate::config::Config;
use crate::nodes::{Nodes, OnlyNode};
use postrider_core::ports::Store;
use postrider_core::time::Timestamp;
use postrider_store::{PgStore, SqliteOptions, SqliteStore};
use std::sync::Arc;

/// What is said when others have taken this node for dead.
pub(super) const LOST: &str = "this node was taken for dead by the others that share the database, and they go on with what it had under way: \
     start it again, as a supervisor does by itself. It had stood still or not reached the database for longer than its lease of 5 s, or could \
     not learn whether something was stored; its log says which";

/// A store that is open.
#[derive(Clone, Debug)]
pub(super) enum Opened {
    Sqlite(Arc<SqliteStore>),
    Postgres(Arc<PgStore>),
}

impl Opened {
    /// Opens the store that is configured. The error says what is wrong and how to mend it.
    pub(super) async fn open(config: &Config) -> Result<Self, String> {
        if let Some(options) = config.database() {
            let store = Box::pin(PgStore::open(options)).await.map_err(|e| e.to_string())?;
            return Ok(Opened::Postgres(Arc::new(store)));
        }
        let budget_bytes = config.max_store_bytes.map(|size| size.0);
        let options = SqliteOptions { budget_bytes, ..SqliteOptions::new(&config.data_dir) };
        let store = SqliteStore::open(options).map_err(|e| e.to_string())?;
        Ok(Opened::Sqlite(Arc::new(store)))
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
