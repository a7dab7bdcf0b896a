//! The [`Store`](postrider_core::ports::Store) port on an embedded SQLite database, on PostgreSQL and on a model in memory.
//!
//! | module | what is in it |
//! |---|---|
//! | [`sqlite`] | the embedded database: one writer thread, group commit, readers of their own (feature `sqlite`) |
//! | [`postgres`] | the database that several nodes share: lanes that commit in groups, claims, heartbeats (feature `postgres`) |
//! | [`memory`] | the model: the simplest implementation that is obviously right; also what the simulator runs on |
//! | `conformance` | the suite that every store must pass (tests, or feature `conformance`) |
//! | `batch` | the queue in which concurrent callers gather into groups |
//! | `bounds` | how much gathers into a group, and for how long |
//! | `room` | what takes how much of a budget, and who is refused |
//! | `migrate` | the numbered steps of the embedded database's schema |
//! | [`OpenError`], [`PgOpenError`] | why a store could not be opened, and how to mend it |

pub mod memory;

#[cfg(any(test, feature = "conformance"))]
pub mod conformance;

#[cfg(feature = "sqlite")]
mod batch;
#[cfg(any(feature = "sqlite", feature = "postgres"))]
mod bounds;
#[cfg(feature = "sqlite")]
mod error;
#[cfg(feature = "sqlite")]
mod migrate;
#[cfg(feature = "postgres")]
pub mod postgres;
mod room;
#[cfg(feature = "sqlite")]
pub mod sqlite;

#[cfg(feature = "sqlite")]
pub use error::OpenError;
#[cfg(feature = "postgres")]
pub use postgres::{NodeRow, PgAdmin, PgFindings, PgHeld, PgInside, PgMigrated, PgOpenError, PgOptions, PgRights, PgStore, PgTransaction};
#[cfg(feature = "sqlite")]
pub use sqlite::{SqliteAdmin, SqliteFindings, SqliteOptions, SqliteStore, Steps};
