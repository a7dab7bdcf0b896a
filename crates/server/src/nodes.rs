//! Who serves what is stored: one node where that is embedded, any number of them where they share a database.

use postrider_core::ports::{BoxFuture, SLOTS, StoreError};
use postrider_core::time::Timestamp;
use postrider_store::{NodeRow, PgStore};
use std::fmt;

/// A node.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Node {
    /// What people call it.
    pub name: String,
    /// Where others reach it, if it says so.
    pub address: Option<String>,
    /// Which release it runs.
    pub release: String,
    /// The number of its start: what it has claimed carries it.
    pub incarnation: i64,
    /// When it started.
    pub started_at: Timestamp,
    /// When it last said that it is alive.
    pub last_heartbeat_at: Timestamp,
    /// When it left or was taken for dead; `None` while it is alive.
    pub ended_at: Option<Timestamp>,
    /// How many of the [`SLOTS`] are its own: whose endpoints it sends to.
    pub slots: u64,
    /// Whether it is the one that answers.
    pub is_this: bool,
}

/// The nodes, as a node knows them.
pub trait Nodes: fmt::Debug + Send + Sync {
    /// Those that are alive, and those that were until lately, the newest first.
    fn all(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Node>, StoreError>>;
}

impl Nodes for PgStore {
    fn all(&self, _: Timestamp) -> BoxFuture<'_, Result<Vec<Node>, StoreError>> {
        Box::pin(async move { Ok(self.nodes().await?.into_iter().map(Node::from).collect()) })
    }
}

impl From<NodeRow> for Node {
    fn from(row: NodeRow) -> Self {
        Node {
            name: row.name,
            address: row.address,
            release: row.release,
            incarnation: row.incarnation,
            started_at: row.started_at,
            last_heartbeat_at: row.heartbeat_at,
            ended_at: row.ended_at,
            slots: row.slots,
            is_this: row.is_self,
        }
    }
}

/// A node that nobody shares its store with. Whoever gets an answer from it knows that it is alive.
#[derive(Debug)]
pub struct OnlyNode {
    /// What people call it.
    pub name: String,
    /// Where others reach it, if it says so.
    pub address: Option<String>,
    /// The number of its start.
    pub incarnation: i64,
    /// When it started.
    pub started_at: Timestamp,
}

impl Nodes for OnlyNode {
    fn all(&self, now: Timestamp) -> BoxFuture<'_, Result<Vec<Node>, StoreError>> {
        let node = Node {
            name: self.name.clone(),
            address: self.address.clone(),
            release: env!("CARGO_PKG_VERSION").to_owned(),
            incarnation: self.incarnation,
            started_at: self.started_at,
            last_heartbeat_at: now,
            ended_at: None,
            slots: SLOTS as u64,
            is_this: true,
        };
        Box::pin(std::future::ready(Ok(vec![node])))
    }
}
