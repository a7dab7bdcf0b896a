//! The flags of `postrider serve`.

use super::database::DatabaseUrl;
use super::value::{Network, Share, Size, Span};
use crate::observe::LogFormat;
use std::net::SocketAddr;
use std::path::PathBuf;

/// The flags of `postrider serve`. Each has an environment variable and, besides `--config`, a key in the file.
#[derive(Debug, Default, clap::Args)]
pub struct Flags {
    /// Read this configuration file instead of ./postrider.toml.
    #[arg(long, env = "POSTRIDER_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Where to listen: all APIs, health and the page share this port [default: 127.0.0.1:8080].
    #[arg(long, env = "POSTRIDER_LISTEN", value_name = "ADDRESS:PORT")]
    pub listen: Option<SocketAddr>,
    /// Listen here too, for gRPC clients that expect a port of their own, such as 50051; all APIs answer there as well.
    #[arg(long, env = "POSTRIDER_GRPC_LISTEN", value_name = "ADDRESS:PORT")]
    pub grpc_listen: Option<SocketAddr>,
    /// Where everything is stored; with a database only the key of secrets of the development mode [default: ./postrider-data].
    #[arg(long, env = "POSTRIDER_DATA_DIR", value_name = "DIR")]
    pub data_dir: Option<PathBuf>,
    /// Keep everything in this PostgreSQL database, which several nodes may share, and not in the data directory:
    /// postgres://USER:PASSWORD@HOST:PORT/DATABASE.
    #[arg(long, env = "POSTRIDER_DATABASE_URL", hide_env_values = true, value_name = "URL")]
    pub database_url: Option<DatabaseUrl>,
    /// The schema of the database in which everything lies [default: postrider].
    #[arg(long, env = "POSTRIDER_DATABASE_SCHEMA", value_name = "NAME")]
    pub database_schema: Option<String>,
    /// How long a start waits for the database while it is away; 0s does not wait [default: 5m].
    #[arg(long, env = "POSTRIDER_DATABASE_WAIT", value_name = "DURATION")]
    pub database_wait: Option<Span>,
    /// What this node is called where nodes are listed [default: the host's name].
    #[arg(long, env = "POSTRIDER_NODE_NAME", value_name = "NAME")]
    pub node_name: Option<String>,
    /// Where others reach this node, shown where nodes are listed.
    #[arg(long, env = "POSTRIDER_NODE_ADDRESS", value_name = "URL")]
    pub node_address: Option<String>,
    /// Development mode: loopback only, namespace `default` open without a key, loopback targets allowed; prints a ready key.
    #[arg(long, env = "POSTRIDER_DEV", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub dev: Option<bool>,
    /// Allow deliveries into this private network; may be given several times.
    #[arg(long = "allow-network", env = "POSTRIDER_ALLOW_NETWORKS", value_name = "CIDR", value_delimiter = ',')]
    pub allow_networks: Option<Vec<Network>>,
    /// Accept plain http:// targets on public addresses.
    #[arg(long, env = "POSTRIDER_ALLOW_HTTP", num_args = 0..=1, require_equals = true, default_missing_value = "true", value_name = "BOOL")]
    pub allow_http: Option<bool>,
    /// Write the address that is listened on to this file once requests are accepted.
    #[arg(long, env = "POSTRIDER_PORT_FILE", value_name = "FILE")]
    pub port_file: Option<PathBuf>,
    /// How long delivery logs of the Tasks API are kept [default: 72h].
    #[arg(long, env = "POSTRIDER_RETAIN_LOGS", value_name = "DURATION")]
    pub retain_logs: Option<Span>,
    /// How long items are kept after their delivery was last tried, with it and its event; open dead letters keep theirs [default: for ever].
    #[arg(long, env = "POSTRIDER_RETAIN_ROWS", value_name = "DURATION")]
    pub retain_rows: Option<Span>,
    /// How long ended deliveries of the Tasks API are kept, and events once no delivery of theirs is left; open dead letters keep theirs
    /// [default: 30d].
    #[arg(long, env = "POSTRIDER_RETAIN_EVENTS", value_name = "DURATION")]
    pub retain_events: Option<Span>,
    /// How long request and response bodies of attempts are kept, where logs and items themselves are kept for longer [default: 30d].
    #[arg(long, env = "POSTRIDER_RETAIN_BODIES", value_name = "DURATION")]
    pub retain_bodies: Option<Span>,
    /// How large the database may become, an embedded one with its write-ahead log; before that publishing is refused, and what has ended is
    /// removed before its time [default: no limit].
    #[arg(long, env = "POSTRIDER_MAX_STORE_BYTES", value_name = "SIZE")]
    pub max_store_bytes: Option<Size>,
    /// Waits between the attempts of subscriptions made through the Tasks API; the last one repeats [default: 10s,30s,1m,5m,15m].
    #[arg(long = "tasks-retry", env = "POSTRIDER_TASKS_RETRY", value_name = "DURATIONS", value_delimiter = ',')]
    pub tasks_retry: Option<Vec<Span>>,
    /// Attempts for subscriptions made through the Tasks API, the first one included [default: 5].
    #[arg(long, env = "POSTRIDER_TASKS_MAX_ATTEMPTS", value_name = "N")]
    pub tasks_max_attempts: Option<u32>,
    /// By how much of itself a wait between attempts of bindings may be longer or shorter; 0 is exact, 0.5 the most [default: 0.1].
    #[arg(long, env = "POSTRIDER_ITEMS_JITTER", value_name = "SHARE")]
    pub items_jitter: Option<Share>,
    /// Disable a destination once so many of its deliveries have failed for good, one after the other; 0 never does [default: 0].
    #[arg(long, env = "POSTRIDER_DISABLE_AFTER_DEAD", value_name = "N")]
    pub disable_after_dead: Option<u32>,
    /// Largest request body [default: 1MiB].
    #[arg(long, env = "POSTRIDER_MAX_BODY", value_name = "SIZE")]
    pub max_body: Option<Size>,
    /// Most connections at the same time; more of them wait to be accepted [default: 10000].
    #[arg(long, env = "POSTRIDER_MAX_CONNECTIONS", value_name = "N")]
    pub max_connections: Option<usize>,
    /// How long a client may take to send a request's head, and pause while it sends the body [default: 10s].
    #[arg(long, env = "POSTRIDER_HEADER_TIMEOUT", value_name = "DURATION")]
    pub header_timeout: Option<Span>,
    /// How long a connection may be idle [default: 75s].
    #[arg(long, env = "POSTRIDER_IDLE_TIMEOUT", value_name = "DURATION")]
    pub idle_timeout: Option<Span>,
    /// How long a stop may take until what is under way is given back to the store [default: 10s].
    #[arg(long, env = "POSTRIDER_SHUTDOWN_TIMEOUT", value_name = "DURATION")]
    pub shutdown_timeout: Option<Span>,
    /// Requests a second with which one API key may read from /v1 and over RPC, and as many at once; 0 is no limit [default: 1000].
    #[arg(long, env = "POSTRIDER_RATE_LIMIT_READ", value_name = "N")]
    pub rate_limit_read: Option<u32>,
    /// Requests a second with which one API key may change something through /v1 and over RPC; 0 is no limit [default: 200].
    #[arg(long, env = "POSTRIDER_RATE_LIMIT_WRITE", value_name = "N")]
    pub rate_limit_write: Option<u32>,
    /// Requests a second with which one API key may publish through /v1 and over RPC; 0 is no limit [default: 0].
    #[arg(long, env = "POSTRIDER_RATE_LIMIT_PUBLISH", value_name = "N")]
    pub rate_limit_publish: Option<u32>,
    /// Threads that serve requests and deliveries [default: one per core].
    #[arg(long, env = "POSTRIDER_WORKERS", value_name = "N")]
    pub workers: Option<usize>,
    /// What to log, such as `warn` or `info,postrider_engine=debug` [default: info].
    #[arg(long, env = "POSTRIDER_LOG", value_name = "FILTER")]
    pub log: Option<String>,
    /// What the log looks like [default: text].
    #[arg(long, env = "POSTRIDER_LOG_FORMAT", value_name = "FORMAT")]
    pub log_format: Option<LogFormat>,
}
