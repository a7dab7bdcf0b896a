//! How a store is opened.

use super::open_error::PgOpenError;
use std::fmt;
use std::time::Duration;

/// How many groups of publishes, slices and settlements are written at the same time. Each waits for the disk by itself, and what comes meanwhile
/// gathers for the next: more of them make smaller groups, which cost the server more than they save the callers.
const LANES: usize = 4;

/// How many other pieces of work write at the same time: claims, replays, requests, retention.
const WRITERS: usize = 8;

/// How many reads of APIs run at the same time. One that lists much keeps its connection for seconds.
const READERS: usize = 8;

/// How many reads of the engine's own run at the same time. They are short.
const OWN_READERS: usize = 4;

/// How long a read may take. Whoever asked has given up by then.
const READ_TIMEOUT: Duration = Duration::from_secs(30);

/// How long a statement that writes may take: many times what the largest group does, so that only what goes wrong is cut off.
const WRITE_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a statement waits for a lock. Whoever has one for longer is stuck, and its server lets go of it at about that time.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// How long somebody waits for a connection, a new one or one that others use.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How often a node says that it is alive.
const HEARTBEAT: Duration = Duration::from_secs(1);

/// After how long without a heartbeat a node is taken for dead: several may be late or lost before, and nobody waits long for what a dead one had.
const LEASE: Duration = Duration::from_secs(4);

/// How long a verb tries again: a server that is started anew is back by then, and a caller still waits.
const GIVE_UP: Duration = Duration::from_secs(5);

/// How long it is tried to learn what became of a commit: as long as a server may take to come back after a crash.
const DOUBT: Duration = Duration::from_secs(30);

/// The longest name that PostgreSQL does not cut, in bytes.
const LONGEST_NAME: usize = 63;

/// How to open a store. Together it takes `lanes + writers + readers + own_readers + 3` connections at the most.
#[derive(Clone)]
pub struct PgOptions {
    /// `postgres://USER:PASSWORD@HOST:PORT/DATABASE?…` as libpq has it. It must lead to the server itself or to a proxy that keeps a
    /// connection for a session: statements are prepared, and settings are the session's.
    pub url: String,
    /// The schema in which everything lies; made if it is not there. Lower-case letters, digits and underscores.
    pub schema: String,
    /// What people call this node.
    pub node_name: String,
    /// Where others reach this node, if they do.
    pub node_address: Option<String>,
    /// How many groups of publishes, slices and settlements are written at the same time.
    pub lanes: usize,
    /// How many other pieces of work write at the same time.
    pub writers: usize,
    /// How many reads of APIs run at the same time.
    pub readers: usize,
    /// How many reads of the engine's own run at the same time.
    pub own_readers: usize,
    /// How long a statement that reads may take.
    pub read_timeout: Duration,
    /// How long a statement that writes may take.
    pub write_timeout: Duration,
    /// How long a statement waits for a lock.
    pub lock_timeout: Duration,
    /// How long somebody waits for a connection.
    pub connect_timeout: Duration,
    /// How often a node says that it is alive.
    pub heartbeat: Duration,
    /// After how long without a heartbeat this node is taken for dead. The others know it from this one.
    pub lease: Duration,
    /// How large what is stored may become, in bytes; new work is refused before that. `None` is as large as the disk allows.
    pub budget_bytes: Option<u64>,
    /// How long a verb tries again after lost connections before it answers that the store is not available.
    pub give_up: Duration,
    /// How long it is tried to learn what became of a commit whose answer was lost. A node that does not learn it leaves, so that nothing stays
    /// claimed by it that it does not know of.
    pub doubt: Duration,
}

impl PgOptions {
    /// The defaults: a node without an address, no limit of size.
    pub fn new(url: impl Into<String>) -> Self {
        PgOptions {
            url: url.into(),
            schema: "postrider".to_owned(),
            node_name: "postrider".to_owned(),
            node_address: None,
            lanes: LANES,
            writers: WRITERS,
            readers: READERS,
            own_readers: OWN_READERS,
            read_timeout: READ_TIMEOUT,
            write_timeout: WRITE_TIMEOUT,
            lock_timeout: LOCK_TIMEOUT,
            connect_timeout: CONNECT_TIMEOUT,
            heartbeat: HEARTBEAT,
            lease: LEASE,
            budget_bytes: None,
            give_up: GIVE_UP,
            doubt: DOUBT,
        }
    }

    /// Refuses what cannot be meant.
    pub(super) fn check(&self) -> Result<(), PgOpenError> {
        if !is_plain_name(&self.schema) {
            return Err(PgOpenError::SchemaName(self.schema.clone()));
        }
        if self.heartbeat.is_zero() || self.lease < self.heartbeat * 2 {
            return Err(PgOpenError::Failed(
                "the lease of a node must be at least twice as long as the time between its heartbeats".to_owned(),
            ));
        }
        Ok(())
    }
}

/// Whether it can be written into a statement as it is.
fn is_plain_name(name: &str) -> bool {
    name.len() <= LONGEST_NAME
        && name.starts_with(|c: char| c.is_ascii_lowercase() || c == '_')
        && name.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
}

impl fmt::Debug for PgOptions {
    /// Without the URL, which may hold a password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PgOptions")
            .field("schema", &self.schema)
            .field("node_name", &self.node_name)
            .field("node_address", &self.node_address)
            .field("lanes", &self.lanes)
            .field("writers", &self.writers)
            .field("readers", &self.readers)
            .field("own_readers", &self.own_readers)
            .field("heartbeat", &self.heartbeat)
            .field("lease", &self.lease)
            .field("budget_bytes", &self.budget_bytes)
            .field("give_up", &self.give_up)
            .field("doubt", &self.doubt)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_password_is_not_shown() {
        let options = PgOptions::new("postgres://user:secret@host/db");
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[test]
    fn a_schema_is_a_plain_name() {
        let longest = "a".repeat(63);
        for name in ["postrider", "_", "a1_b", longest.as_str()] {
            assert!(is_plain_name(name), "{name}");
        }
        let too_long = "a".repeat(64);
        for name in ["", "1a", "A", "a-b", "a\"b", "a b", "ä", too_long.as_str()] {
            assert!(!is_plain_name(name), "{name}");
        }
    }

    #[test]
    fn a_lease_outlasts_a_lost_heartbeat() {
        let mut options = PgOptions::new("postgres://host/db");
        assert!(options.check().is_ok());
        options.lease = options.heartbeat;
        assert!(options.check().is_err());
    }
}
