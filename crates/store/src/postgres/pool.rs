//! Connections: what each kind of them is set to, and the pools that they are taken from.

use super::conn::Conn;
use super::error::{Error, Result, closed};
use super::members::TRIES_IN_A_LEASE;
use super::open_error::PgOpenError;
use super::options::PgOptions;
use super::standing::Standing;
use super::tls;
use super::transact::Tries;
use deadpool_postgres::{ClientWrapper, Connect, Manager, ManagerConfig, PoolError, QueueMode, RecyclingMethod, Runtime, TimeoutType};
use postrider_core::ports::{BoxFuture, StoreError, StoreErrorKind};
use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio_postgres::config::{Host, TargetSessionAttrs};
use tokio_postgres::{AsyncMessage, Client, Config, Notification};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long the kernel waits for a server that does not answer: for it to take a connection, ...
const SOCKET_TIMEOUT: Duration = Duration::from_secs(3);
/// ... to acknowledge what was sent, ...
const UNACKNOWLEDGED: Duration = Duration::from_secs(3);
/// ... and, where nothing was sent for this long, to answer one of so many probes, so far apart. A network that swallows packets is
/// noticed within three seconds in each case, before others take this node for dead.
const PROBE_AFTER: Duration = Duration::from_secs(1);
const PROBE_EVERY: Duration = Duration::from_secs(1);
const PROBES: u32 = 2;

/// How long after a statement's own limit its answer is waited for: then the server itself stands still.
pub(super) const SLACK: Duration = Duration::from_secs(5);

/// How long the server waits for a transaction whose node stands still, with what that has locked: by the time at which others take over it has
/// let go of that.
const IDLE_IN_TRANSACTION: Duration = Duration::from_secs(2);

/// How often closing looks whether all connections have come back.
const DRAINING: Duration = Duration::from_millis(10);

/// For all. Whoever sets another schedule or zone for the database or the user does not mean us.
const SETTINGS: &str = "SET jit = off; SET default_transaction_isolation = 'read committed'; SET timezone = 'UTC'; ";

/// For those that write. Whatever the tables' statistics say for the moment, every statement has its index; and what is stored is on disk.
const SETTINGS_TO_WRITE: &str = "SET enable_seqscan = off; SET enable_hashjoin = off; SET enable_mergejoin = off; \
     SET plan_cache_mode = force_generic_plan; \
     SELECT set_config('synchronous_commit', 'on', false) WHERE current_setting('synchronous_commit') = 'off'; ";

/// For those that read.
const SETTINGS_TO_READ: &str = "SET plan_cache_mode = auto; SET default_transaction_read_only = on; ";

/// For heartbeats: after a crash of the server they are a second older, and nobody minds.
const SETTINGS_TO_KEEP: &str = "SET synchronous_commit = off; ";

/// The server notices that a node is gone, also while it is busy for it, and within three seconds where the network says nothing of it. Not every
/// server's machine can do that.
const SETTINGS_IF_POSSIBLE: &str = "SET client_connection_check_interval = '1s'; SET tcp_keepalives_idle = 1; SET tcp_keepalives_interval = 1; \
     SET tcp_keepalives_count = 2; SET tcp_user_timeout = '3s'";

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Use {
    /// Transactions that write.
    Write,
    /// Reads.
    Read,
    /// The node's heartbeats, and what nodes tell each other.
    Keep,
    /// What the nodes share out among themselves.
    Share,
    /// Changes of the schema, which take as long as they take.
    Migrate,
}

/// Where the database is, and how to get there.
pub(super) struct Server {
    config: Config,
    tls: MakeRustlsConnect,
    /// How many are tried, one after another.
    hosts: u32,
}

impl Server {
    pub(super) fn new(options: &PgOptions) -> std::result::Result<Self, PgOpenError> {
        let (mut config, tls) = tls::read_url(&options.url)?;
        if config.get_application_name().is_none() {
            config.application_name("postrider");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(SOCKET_TIMEOUT);
        }
        if config.get_tcp_user_timeout().is_none() {
            config.tcp_user_timeout(UNACKNOWLEDGED);
        }
        if config.get_keepalives_interval().is_none() {
            config.keepalives_idle(PROBE_AFTER).keepalives_interval(PROBE_EVERY).keepalives_retries(PROBES);
        }
        // A server that has become a standby is none for us, whichever of several is asked.
        config.target_session_attrs(TargetSessionAttrs::ReadWrite);
        let hosts = config.get_hosts().len().max(config.get_hostaddrs().len()).max(1);
        Ok(Server { config, tls, hosts: u32::try_from(hosts).unwrap_or(u32::MAX) })
    }

    /// Hosts and ports, for people.
    pub(super) fn at(&self) -> String {
        let mut ports = self.config.get_ports().iter();
        let mut last = 5_432;
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            Host::Tcp(name) => name.clone(),
            Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let names: Vec<String> = if self.config.get_hosts().is_empty() { addresses.collect() } else { hosts.collect() };
        let places: Vec<String> = names
            .into_iter()
            .map(|name| {
                last = ports.next().copied().unwrap_or(last);
                format!("{name}:{last}")
            })
            .collect();
        places.join(",")
    }

    /// What opens connections of this use.
    pub(super) fn connector(&self, to: Use, options: &PgOptions) -> Connector {
        let mut config = self.config.clone();
        // Each of several addresses has its turn before the heartbeat is tried again.
        let turn = options.lease / TRIES_IN_A_LEASE / self.hosts;
        if to == Use::Keep && config.get_connect_timeout().is_none_or(|timeout| *timeout > turn) {
            config.connect_timeout(turn);
        }
        Connector { config, tls: self.tls.clone(), settings: settings(to, options).into() }
    }

    /// How long a new connection may take, with all addresses that are tried for it.
    pub(super) fn patience(&self, options: &PgOptions) -> Duration {
        options.connect_timeout.saturating_mul(self.hosts)
    }

    /// A connection that is in no pool. It ends when it is dropped.
    pub(super) async fn connect(&self, to: Use, options: &PgOptions) -> std::result::Result<ClientWrapper, PgOpenError> {
        let failed = |e| PgOpenError::from_connecting(&self.at(), e);
        let connector = self.connector(to, options);
        match tokio::time::timeout(self.patience(options) + SLACK, connector.start(|_| {})).await {
            Ok(started) => started.map(|(client, task)| ClientWrapper::new(client, task)).map_err(failed),
            Err(_) => Err(PgOpenError::Unreachable { at: self.at(), cause: "it does not answer".to_owned() }),
        }
    }

    /// A pool of so many connections at the most, which are opened when they are first needed.
    pub(super) fn pool(
        &self,
        to: Use,
        size: usize,
        options: &PgOptions,
        standing: &Arc<Standing>,
    ) -> std::result::Result<Pool, PgOpenError> {
        let size = size.max(1);
        let recycling = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = Manager::from_connect(self.config.clone(), self.connector(to, options), recycling);
        let connections = deadpool_postgres::Pool::builder(manager)
            .max_size(size)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(options.connect_timeout))
            .create_timeout(Some(self.patience(options)))
            // Those in use keep their statements prepared, and the rest costs the server little.
            .queue_mode(QueueMode::Lifo)
            .build()
            .map_err(|e| PgOpenError::Failed(e.to_string()))?;
        let slack = if matches!(to, Use::Keep | Use::Share) { Duration::ZERO } else { SLACK };
        let (patience, standing) = (limit(to, options) + slack, Arc::clone(standing));
        Ok(Pool { connections, size, patience, standing, is_closing: AtomicBool::new(false) })
    }
}

/// How long a statement may take.
fn limit(to: Use, options: &PgOptions) -> Duration {
    match to {
        Use::Write | Use::Migrate => options.write_timeout,
        Use::Read => options.read_timeout,
        Use::Keep | Use::Share => options.lease,
    }
}

/// What a session is set to, in one message. Nothing of it comes from outside but the schema, which is a plain name.
fn settings(to: Use, options: &PgOptions) -> String {
    let of_use = match to {
        Use::Write | Use::Share => SETTINGS_TO_WRITE,
        Use::Read => SETTINGS_TO_READ,
        Use::Keep => SETTINGS_TO_KEEP,
        Use::Migrate => "",
    };
    let limits = match to {
        Use::Migrate => String::new(),
        _ => format!(
            "SET statement_timeout = {}; SET lock_timeout = {}; SET idle_in_transaction_session_timeout = {}; ",
            limit(to, options).as_millis().max(1),
            options.lock_timeout.as_millis().max(1),
            IDLE_IN_TRANSACTION.as_millis()
        ),
    };
    format!("{SETTINGS}{of_use}{limits}SET search_path = \"{}\"", options.schema)
}

/// Opens connections of one use.
pub(super) struct Connector {
    config: Config,
    tls: MakeRustlsConnect,
    settings: Arc<str>,
}

impl Connector {
    /// Opens one. What it is told by NOTIFY it hands on; the task ends when the client is dropped, or the connection is lost.
    pub(super) async fn start(
        &self,
        hear: impl Fn(&Notification) + Send + 'static,
    ) -> std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error> {
        let (client, mut connection) = self.config.connect(self.tls.clone()).await?;
        let task = tokio::spawn(async move {
            while let Some(said) = std::future::poll_fn(|cx| connection.poll_message(cx)).await {
                match said {
                    Ok(AsyncMessage::Notification(notification)) => hear(&notification),
                    Ok(_) => {}
                    Err(error) => {
                        tracing::debug!(error = %Error::from(error), "a connection to the database was lost");
                        break;
                    }
                }
            }
        });
        client.batch_execute(&self.settings).await?;
        if let Err(error) = client.batch_execute(SETTINGS_IF_POSSIBLE).await {
            if error.code().is_none() {
                return Err(error);
            }
            tracing::debug!(error = %Error::from(error), "the database's server does not look whether we are still there");
        }
        Ok((client, task))
    }
}

impl Connect for Connector {
    fn connect(&self, _: &Config) -> BoxFuture<'_, std::result::Result<(Client, JoinHandle<()>), tokio_postgres::Error>> {
        Box::pin(self.start(|_| {}))
    }
}

/// Connections of one use.
pub(super) struct Pool {
    connections: deadpool_postgres::Pool,
    size: usize,
    /// How long a piece of work may take on one.
    patience: Duration,
    standing: Arc<Standing>,
    is_closing: AtomicBool,
}

impl Pool {
    /// A connection, as soon as there is one. One that was lost is never handed out again, as far as anybody has noticed.
    pub(super) async fn get(&self) -> Result<Conn> {
        self.standing.may_read()?;
        self.connections.get().await.map(Conn::new).map_err(|error| match error {
            PoolError::Closed => Error::Refused(closed()),
            PoolError::Timeout(TimeoutType::Wait) => Error::Refused(StoreError {
                kind: StoreErrorKind::Unavailable,
                cause: format!("all {} connections of this kind are in use", self.size),
            }),
            PoolError::Backend(error) => Error::NoConnection(Error::from(error).to_string()),
            other => Error::NoConnection(other.to_string()),
        })
    }

    /// One to read on.
    pub(super) async fn reading(&self) -> Result<Reading> {
        Ok(Reading(Some(self.get().await?)))
    }

    /// Waits for an answer no longer than there can be one. Whoever gets none must not use the connection any more.
    pub(super) async fn within<T>(&self, work: impl Future<Output = Result<T>>) -> Result<T> {
        match tokio::time::timeout(self.patience, work).await {
            Ok(done) => done,
            Err(_) => Err(Error::NoConnection(format!("the database did not answer within {} s", self.patience.as_secs()))),
        }
    }

    /// How often to try a read again.
    pub(super) fn tries(&self) -> Tries {
        Tries::of_read()
    }

    /// Lets nothing new begin from now on. What is under way still gets connections.
    pub(super) fn refuse(&self) {
        self.is_closing.store(true, Ordering::Relaxed);
    }

    /// Refuses what is new after [`Pool::refuse`].
    pub(super) fn admit(&self) -> Result<()> {
        if self.is_closing.load(Ordering::Relaxed) { Err(Error::Refused(closed())) } else { Ok(()) }
    }

    /// Gives out no more connections.
    pub(super) fn close(&self) {
        self.connections.close();
    }

    /// Waits until all have come back after [`Pool::close`], but not for ever.
    pub(super) async fn drained(&self, patience: Duration) {
        let drained = async {
            while self.connections.status().size > 0 {
                tokio::time::sleep(DRAINING).await;
            }
        };
        let _ = tokio::time::timeout(patience, drained).await;
    }
}

/// A connection that somebody reads on. It goes back when the read has come to a good end, and is given up otherwise: whoever stops waiting
/// leaves a statement behind that the next one would have to wait for.
pub(super) struct Reading(Option<Conn>);

impl Reading {
    pub(super) fn conn(&self) -> Option<&Conn> {
        self.0.as_ref()
    }

    /// The read has come to this.
    pub(super) fn end<T>(mut self, read: Result<T>) -> Result<T> {
        if read.is_ok() {
            drop(self.0.take());
        }
        read
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        if let Some(conn) = self.0.take() {
            conn.discard();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_are_shown_without_credentials() {
        let shown = |url: &str| Server::new(&PgOptions::new(url)).map(|server| server.at());
        assert_eq!(shown("postgres://u:secret@a:1,b:2/d").ok().as_deref(), Some("a:1,b:2"));
        assert_eq!(shown("postgres://u:secret@a/d").ok().as_deref(), Some("a:5432"));
        assert_eq!(shown("postgres://u:secret@%2Frun%2Fpg/d").ok().as_deref(), Some("/run/pg:5432"));
    }

    #[test]
    fn sessions_have_limits_and_a_schema() {
        let options = PgOptions::new("postgres://h/d");
        let to_read = settings(Use::Read, &options);
        assert!(to_read.contains("SET statement_timeout = 30000;") && to_read.ends_with("SET search_path = \"postrider\""), "{to_read}");
        assert!(!settings(Use::Migrate, &options).contains("statement_timeout"));
    }

    #[test]
    fn a_heartbeat_tries_every_address_in_its_time() {
        let timeout = |url: &str, to| {
            let options = PgOptions { lease: Duration::from_secs(6), ..PgOptions::new(url) };
            let server = Server::new(&options).expect("a URL");
            (server.connector(to, &options).config.get_connect_timeout().copied(), server.patience(&options).as_secs())
        };
        let millis = |n| Some(Duration::from_millis(n));
        assert_eq!(timeout("postgres://a/d", Use::Keep), (millis(2_000), 5));
        assert_eq!(timeout("postgres://a,b/d", Use::Keep), (millis(1_000), 10));
        assert_eq!(timeout("postgres://a,b/d?connect_timeout=10", Use::Keep), (millis(1_000), 10));
        assert_eq!(timeout("postgres://a,b/d?connect_timeout=10", Use::Write), (millis(10_000), 10));
        assert_eq!(timeout("postgres://a,b/d", Use::Write), (Some(SOCKET_TIMEOUT), 10));
    }
}
