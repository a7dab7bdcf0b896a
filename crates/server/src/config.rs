//! The configuration: flags over `POSTRIDER_*` over the file `postrider.toml` over defaults.
//!
//! Nothing is accepted and ignored: an unknown key of the file is an error, a value out of its range is an error.

mod database;
mod file;
mod flags;
mod misspelt;
mod settings;
mod show;
pub mod value;

use crate::key_limits::PerSecond;
use crate::observe::{self, LogFormat};
pub use database::DatabaseUrl;
use file::File;
pub use flags::Flags;
pub use misspelt::misspelt_variables;
use postrider_core::retry::{RetryPolicy, Schedule};
use postrider_core::seal::KeyRing;
pub use settings::{Setting, Source, Sources};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;
use value::{Network, Secret, Share, Size, Span};

/// The file that is read when none is named and it exists in the working directory.
pub const DEFAULT_FILE: &str = "postrider.toml";

/// The variable that installs a given admin key at start.
pub const BOOTSTRAP_KEY: &str = "POSTRIDER_BOOTSTRAP_KEY";

/// The variable that holds the keys under which secrets are encrypted at rest.
pub const SECRETS_KEY: &str = "POSTRIDER_SECRETS_KEY";

/// The least that a limit of the store's size is sensible for: room for the schema, some groups of the largest requests and the log.
pub const MIN_STORE: Size = Size(16 << 20);

/// A store has room for so many of the largest bodies at the least.
const BODIES_OF_STORE: u64 = 4;

/// Shortest bootstrap key, in characters: shorter ones can be guessed.
pub const MIN_BOOTSTRAP_KEY: usize = 16;

/// The effective configuration.
#[derive(Clone, Debug)]
pub struct Config {
    /// The file it was read from, if there is one.
    pub file: Option<PathBuf>,
    /// Where to listen.
    pub listen: SocketAddr,
    /// Where to listen too.
    pub grpc_listen: Option<SocketAddr>,
    /// Where everything is stored; with a database only the key of secrets of the development mode.
    pub data_dir: PathBuf,
    /// The database that holds everything, if it is not the embedded one in `data_dir`.
    pub database_url: Option<DatabaseUrl>,
    /// Its schema, if it has another name than usual.
    pub database_schema: Option<String>,
    /// How long a start waits for it, if that is said.
    pub database_wait: Option<Span>,
    /// What this node is called.
    pub node_name: String,
    /// Where others reach it.
    pub node_address: Option<String>,
    /// Development mode.
    pub dev: bool,
    /// Private networks that may be delivered to, without those that the development mode adds.
    pub allow_networks: Vec<Network>,
    /// Whether plain `http://` is accepted on public addresses.
    pub allow_http: bool,
    /// Where to write the address once requests are accepted.
    pub port_file: Option<PathBuf>,
    /// How long attempts of the Tasks API are kept.
    pub retain_logs: Span,
    /// How long deliveries of the other APIs are kept with their attempts; `None` is for ever.
    pub retain_rows: Option<Span>,
    /// How long ended deliveries of the Tasks API are kept, and events without deliveries.
    pub retain_events: Span,
    /// How long bodies of attempts are kept.
    pub retain_bodies: Span,
    /// How large the database may become.
    pub max_store_bytes: Option<Size>,
    /// Waits between the attempts of new Tasks subscriptions.
    pub tasks_retry: Vec<Span>,
    /// Attempts of new Tasks subscriptions.
    pub tasks_max_attempts: u32,
    /// Jitter of new bindings.
    pub items_jitter: Share,
    /// After how many dead deliveries in a row an endpoint is disabled; 0 is never.
    pub disable_after_dead: u32,
    /// Largest request body.
    pub max_body: Size,
    /// Most connections at the same time.
    pub max_connections: usize,
    /// How long a request's head may take, and the pause between two pieces of its body.
    pub header_timeout: Span,
    /// How long a connection may be idle.
    pub idle_timeout: Span,
    /// How long a stop may take.
    pub shutdown_timeout: Span,
    /// Requests a second of one API key to `/v1` and over RPC.
    pub rate_limits: PerSecond,
    /// Threads; `None` is one per core.
    pub workers: Option<usize>,
    /// What to log.
    pub log: String,
    /// What the log looks like.
    pub log_format: LogFormat,
    /// What [`BOOTSTRAP_KEY`] says.
    pub bootstrap_key: Option<Secret>,
    /// What [`SECRETS_KEY`] says.
    pub secrets_key: Option<Secret>,
    /// Where each value comes from.
    pub sources: Sources,
}

impl Config {
    /// Reads the file, if there is one, and the secrets of the environment, and puts the flags above them.
    pub fn load(flags: Flags) -> Result<Config, String> {
        let config = Config::read(flags)?;
        config.check()?;
        Ok(config)
    }

    /// The same without asking whether a server can run with it.
    pub(crate) fn read(flags: Flags) -> Result<Config, String> {
        let (path, file) = read_file(flags.config.as_deref())?;
        let (bootstrap_key, secrets_key) = (variable(BOOTSTRAP_KEY)?, variable(SECRETS_KEY)?);
        let mut config = Config { bootstrap_key, secrets_key, ..Config::merge(flags, file, path) };
        let arguments: Vec<String> = std::env::args_os().filter_map(|argument| argument.into_string().ok()).collect();
        settings::tell_apart(&mut config.sources, &arguments);
        Ok(config)
    }

    /// From these flags alone: neither a file nor the environment, which are meant for other servers, is looked at.
    pub fn of(flags: Flags) -> Result<Config, String> {
        let config = Config::merge(flags, File::default(), None);
        config.check()?;
        Ok(config)
    }

    fn merge(flags: Flags, file: File, path: Option<PathBuf>) -> Config {
        let policy = RetryPolicy::tasks();
        let default_gaps = match &policy.schedule {
            Schedule::List(gaps) => gaps.iter().copied().map(Span).collect(),
            Schedule::Exponential { base, .. } => vec![Span(*base)],
        };
        Config {
            sources: settings::sources(&flags, &file),
            file: path,
            listen: flags.listen.or(file.listen).unwrap_or(SocketAddr::from((Ipv4Addr::LOCALHOST, 8_080))),
            grpc_listen: flags.grpc_listen.or(file.grpc_listen),
            data_dir: flags.data_dir.or(file.data_dir).unwrap_or_else(|| PathBuf::from("./postrider-data")),
            database_url: flags.database_url.or(file.database_url),
            database_schema: flags.database_schema.or(file.database_schema),
            database_wait: flags.database_wait.or(file.database_wait),
            node_name: flags.node_name.or(file.node_name).unwrap_or_else(database::host_name),
            node_address: flags.node_address.or(file.node_address),
            dev: flags.dev.or(file.dev).unwrap_or(false),
            allow_networks: flags.allow_networks.or(file.allow_networks).unwrap_or_default(),
            allow_http: flags.allow_http.or(file.allow_http).unwrap_or(false),
            port_file: flags.port_file.or(file.port_file),
            retain_logs: flags.retain_logs.or(file.retention.logs).unwrap_or(Span::secs(72 * 3_600)),
            retain_rows: flags.retain_rows.or(file.retention.rows),
            retain_events: flags.retain_events.or(file.retention.events).unwrap_or(Span::secs(30 * 86_400)),
            retain_bodies: flags.retain_bodies.or(file.retention.bodies).unwrap_or(Span::secs(30 * 86_400)),
            max_store_bytes: flags.max_store_bytes.or(file.max_store_bytes),
            tasks_retry: flags.tasks_retry.or(file.tasks.retry_gaps).unwrap_or(default_gaps),
            tasks_max_attempts: flags.tasks_max_attempts.or(file.tasks.max_attempts).unwrap_or(policy.max_attempts),
            items_jitter: flags.items_jitter.or(file.items.jitter).unwrap_or(Share { percent: RetryPolicy::items().jitter_percent }),
            disable_after_dead: flags.disable_after_dead.or(file.items.disable_after_dead).unwrap_or(0),
            max_body: flags.max_body.or(file.max_body).unwrap_or(Size(1 << 20)),
            max_connections: flags.max_connections.or(file.max_connections).unwrap_or(10_000),
            header_timeout: flags.header_timeout.or(file.header_timeout).unwrap_or(Span::secs(10)),
            idle_timeout: flags.idle_timeout.or(file.idle_timeout).unwrap_or(Span::secs(75)),
            shutdown_timeout: flags.shutdown_timeout.or(file.shutdown_timeout).unwrap_or(Span::secs(10)),
            rate_limits: PerSecond {
                read: flags.rate_limit_read.or(file.rate_limits.read).unwrap_or(PerSecond::default().read),
                write: flags.rate_limit_write.or(file.rate_limits.write).unwrap_or(PerSecond::default().write),
                publish: flags.rate_limit_publish.or(file.rate_limits.publish).unwrap_or(PerSecond::default().publish),
            },
            workers: flags.workers.or(file.workers),
            log: flags.log.or(file.log).unwrap_or_else(|| String::from(observe::DEFAULT_FILTER)),
            log_format: flags.log_format.or(file.log_format).unwrap_or_default(),
            bootstrap_key: None,
            secrets_key: None,
        }
    }

    /// Says what a server would refuse.
    pub(crate) fn check(&self) -> Result<(), String> {
        if self.dev
            && let Some(address) = self.addresses().find(|address| !address.ip().is_loopback())
        {
            return Err(format!(
                "development mode is open to everybody who can connect, so it listens on loopback only: {} is not a loopback address; leave --dev away or use 127.0.0.1:{}",
                address.ip(),
                address.port()
            ));
        }
        between("max_body", self.max_body, Size(1 << 10), Size(64 << 20))?;
        between("max_connections", self.max_connections, 1, 1_000_000)?;
        between("header_timeout", self.header_timeout, Span(Duration::from_millis(100)), Span::secs(600))?;
        between("idle_timeout", self.idle_timeout, Span(Duration::from_millis(100)), Span::secs(86_400))?;
        between("shutdown_timeout", self.shutdown_timeout, Span(Duration::ZERO), Span::secs(3_600))?;
        between("retention.logs", self.retain_logs, Span::secs(1), Span::secs(3_650 * 86_400))?;
        if let Some(age) = self.retain_rows {
            between("retention.rows", age, Span::secs(1), Span::secs(36_500 * 86_400))?;
        }
        between("retention.events", self.retain_events, Span::secs(1), Span::secs(3_650 * 86_400))?;
        between("retention.bodies", self.retain_bodies, Span::secs(1), Span::secs(3_650 * 86_400))?;
        self.check_room()?;
        between("tasks.max_attempts", self.tasks_max_attempts, 1, 100)?;
        between("number of tasks.retry_gaps", self.tasks_retry.len(), 1, 100)?;
        between("items.jitter", self.items_jitter, Share { percent: 0 }, Share { percent: 50 })?;
        between("items.disable_after_dead", self.disable_after_dead, 0, 1_000_000)?;
        for gap in &self.tasks_retry {
            between("tasks.retry_gaps", *gap, Span(Duration::ZERO), Span::secs(30 * 86_400))?;
        }
        for (name, limit) in [("read", self.rate_limits.read), ("write", self.rate_limits.write), ("publish", self.rate_limits.publish)] {
            between(&format!("rate_limits.{name}"), limit, 0, 1_000_000)?;
        }
        if let Some(workers) = self.workers {
            between("workers", workers, 1, 1_024)?;
        }
        if self.retain_events < self.retain_logs {
            return Err(format!(
                "retention.events ({}) must not be shorter than retention.logs ({}): a delivery is kept at least as long as its logs",
                self.retain_events, self.retain_logs
            ));
        }
        self.check_node()?;
        self.check_place()?;
        self.check_secrets_key()?;
        if let Some(keys) = &self.secrets_key {
            KeyRing::parse(keys.reveal()).map_err(|e| format!("{SECRETS_KEY}: {e}"))?;
        }
        self.check_bootstrap_keys()?;
        observe::check_filter(&self.log)
    }

    /// What is accepted must find room once what is old has gone.
    fn check_room(&self) -> Result<(), String> {
        let Some(size) = self.max_store_bytes else { return Ok(()) };
        between("max_store_bytes", size, MIN_STORE, Size(1 << 50))?;
        if self.max_body.0 > size.0 / BODIES_OF_STORE {
            return Err(format!(
                "max_body ({}) must not be larger than a quarter of max_store_bytes ({size}): the largest bodies might never find room",
                self.max_body
            ));
        }
        Ok(())
    }

    fn check_bootstrap_keys(&self) -> Result<(), String> {
        self.bootstrap_keys().try_for_each(check_bootstrap_key)?;
        let keys: Vec<&str> = self.bootstrap_keys().collect();
        if keys.iter().enumerate().any(|(n, key)| keys[..n].contains(key)) {
            return Err(format!("{BOOTSTRAP_KEY} names a key twice: each of several is another one"));
        }
        Ok(())
    }

    /// Everywhere to listen: first where all is expected, then where gRPC is.
    pub fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        std::iter::once(self.listen).chain(self.grpc_listen)
    }

    /// The keys that [`BOOTSTRAP_KEY`] gives, the newest first.
    pub fn bootstrap_keys(&self) -> impl Iterator<Item = &str> {
        self.bootstrap_key.iter().flat_map(|keys| keys.reveal().split(',')).map(str::trim)
    }

    /// Every private network that may be delivered to.
    pub fn allowed_networks(&self) -> Vec<ipnet::IpNet> {
        let mut networks: Vec<_> = self.allow_networks.iter().map(|n| n.0).collect();
        if self.dev {
            let v4 = ipnet::Ipv4Net::new_assert(Ipv4Addr::new(127, 0, 0, 0), 8);
            networks.push(v4.into());
            networks.push(IpAddr::V6(Ipv6Addr::LOCALHOST).into());
        }
        networks
    }

    /// How hard deliveries of new Tasks subscriptions are tried.
    pub fn tasks_policy(&self) -> RetryPolicy {
        RetryPolicy {
            max_attempts: self.tasks_max_attempts,
            schedule: Schedule::List(self.tasks_retry.iter().map(|g| g.0).collect()),
            jitter_percent: RetryPolicy::tasks().jitter_percent,
        }
    }
}

fn between<T: PartialOrd + std::fmt::Display>(name: &str, value: T, least: T, most: T) -> Result<(), String> {
    if value < least || value > most {
        return Err(format!("{name} must be between {least} and {most}, not {value}"));
    }
    Ok(())
}

fn check_bootstrap_key(secret: &str) -> Result<(), String> {
    if secret.len() >= MIN_BOOTSTRAP_KEY && secret.bytes().all(|b| b.is_ascii_graphic()) {
        return Ok(());
    }
    Err(format!(
        "{BOOTSTRAP_KEY} must be at least {MIN_BOOTSTRAP_KEY} visible ASCII characters, or several such keys with commas between them, the newest \
         first: it opens everything; openssl rand -hex 32 makes a good one"
    ))
}

fn variable(name: &str) -> Result<Option<Secret>, String> {
    match std::env::var(name) {
        Ok(value) => Ok(Some(Secret::new(value))),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(std::env::VarError::NotUnicode(_)) => Err(format!("{name} is not text")),
    }
}

fn read_file(named: Option<&Path>) -> Result<(Option<PathBuf>, File), String> {
    let path = named.unwrap_or(Path::new(DEFAULT_FILE));
    match std::fs::read_to_string(path) {
        Ok(text) => {
            let file = file::parse(&text).map_err(|e| format!("{}: {e}", path.display()))?;
            Ok((Some(path.to_owned()), file))
        }
        Err(e) if e.kind() == std::io::ErrorKind::NotFound && named.is_none() => Ok((None, File::default())),
        Err(e) => Err(format!("cannot read the configuration file {}: {e}", path.display())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn short_bootstrap_keys_are_refused() {
        let twice = "the-same-key-of-two, the-same-key-of-two";
        for bad in ["", "short", "fifteen-letters", "with a space in it", "a-good-key-before,", "a-good-key-before,short", twice] {
            let config = Config { bootstrap_key: Some(Secret::new(bad)), ..Config::of(Flags::default()).expect("the defaults") };
            assert!(config.check().is_err(), "{bad}");
        }
        let two = Some(Secret::new("the-newer-key-of-two, the-older-key-of-two"));
        let config = Config { bootstrap_key: two, ..Config::of(Flags::default()).expect("the defaults") };
        assert_eq!(config.check(), Ok(()));
        assert_eq!(config.bootstrap_keys().collect::<Vec<_>>(), ["the-newer-key-of-two", "the-older-key-of-two"]);
    }

    #[test]
    fn the_largest_body_fits_into_the_store() {
        let with = |body: u64, store: u64| {
            Config::of(Flags { max_body: Some(Size(body << 20)), max_store_bytes: Some(Size(store << 20)), ..Flags::default() })
        };
        assert!(with(4, 16).is_ok() && with(64, 256).is_ok());
        let text = with(5, 16).expect_err("it would never find room");
        assert!(text.contains("max_body (5MiB)") && text.contains("max_store_bytes (16MiB)"), "{text}");
    }

    #[test]
    fn secrets_do_not_show_themselves() {
        let config = Config { bootstrap_key: Some(Secret::new("open-everything")), ..Config::of(Flags::default()).expect("the defaults") };
        assert!(!format!("{config:?} {config}").contains("open-everything"));
    }
}
