//! From a configuration to a running server, and back down in good order.

mod keys;
pub(crate) mod secrets;
mod store;

use crate::auth::{self, Auth};
use crate::clock::SystemClock;
use crate::config::{BOOTSTRAP_KEY, Config};
use crate::http::{self, App, Bodies, Limits, Server};
use crate::key_limits::KeyLimits;
use crate::random;
use crate::tasks::Health;
use keys::Wish;
use postrider_core::guard::Guard;
use postrider_core::id::IdGen;
use postrider_core::key::ApiKey;
use postrider_core::ports::{Clock, ConfigChange, StoreError, StoreErrorKind};
use postrider_core::time::Timestamp;
use postrider_engine::{Engine, EngineConfig, Retention};
use postrider_outbound::{Outbound, OutboundConfig};
use std::io::Write;
use std::net::SocketAddr;
use std::num::NonZeroU32;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use store::{Opened, Waiting};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio::time::Instant;

/// What requests to receivers name as their sender.
pub(crate) const USER_AGENT: &str = concat!("Postrider/", env!("CARGO_PKG_VERSION"));

/// How long a stop waits until the key of the development mode has ended.
const END_OF_DEV_KEY: Duration = Duration::from_secs(2);

/// A server that listens.
#[derive(Debug)]
pub struct Running {
    /// Where it listens.
    pub address: SocketAddr,
    /// Where it listens too, for gRPC clients that expect a port of their own.
    pub grpc_address: Option<SocketAddr>,
    /// The development key, to be shown once.
    pub dev_key: Option<String>,
    config: Config,
    server: Server,
    listeners: Vec<TcpListener>,
    stopping: watch::Sender<bool>,
    engine: Engine,
    store: Opened,
}

/// Opens the store, binds the address and starts the engine. The error says what is wrong and how to mend it.
pub async fn start(config: Config) -> Result<Running, String> {
    let started = Box::pin(start_unless(config, std::future::pending())).await?;
    started.ok_or_else(|| String::from("it was stopped before it had started"))
}

/// The same, unless `stop` comes while a database is waited for: then the answer is `None`. One that goes away while everything begins is waited for
/// as well, within the same time; the next try is another node's.
pub async fn start_unless(config: Config, stop: impl Future<Output = ()>) -> Result<Option<Running>, String> {
    let mut stop = std::pin::pin!(stop);
    let mut waiting = Waiting::new(&config);
    loop {
        let opened = tokio::select! {
            opened = Opened::open(&config, &mut waiting) => opened,
            () = stop.as_mut() => return Ok(None),
        };
        let store = opened?;
        let failed = match Box::pin(begin(config.clone(), store.clone())).await {
            Ok(running) => return Ok(Some(running)),
            Err(failed) => failed,
        };
        if let Err(error) = store.close().await {
            tracing::warn!(error, "the store could not be closed after a start that failed");
        }
        if !failed.may_pass {
            return Err(failed.text);
        }
        tokio::select! {
            waited = waiting.again(failed.text) => waited?,
            () = stop.as_mut() => return Ok(None),
        }
    }
}

/// Why a server has not begun.
struct Failed {
    text: String,
    /// Whether it may be otherwise in a while, without anybody who mends something here.
    may_pass: bool,
}

impl From<String> for Failed {
    fn from(text: String) -> Self {
        Failed { text, may_pass: false }
    }
}

impl From<StoreError> for Failed {
    fn from(error: StoreError) -> Self {
        // What a start stores it decides by what is there.
        let may_pass = matches!(error.kind, StoreErrorKind::Unavailable | StoreErrorKind::Unknown);
        Failed { text: with_cause(&error), may_pass }
    }
}

async fn begin(config: Config, store: Opened) -> Result<Running, Failed> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let stored = store.port().configuration().await?;
    let secrets_keys = secrets::keys(config.secrets_key.as_ref(), &config.data_dir, &stored, store.key_check().await?.as_ref())?;
    store.agree_on_keys(&secrets_keys.ring(), config.secrets_key.is_none().then_some(config.data_dir.as_path())).await?;
    if let Some(text) = secrets::unreadable(&secrets_keys.ring(), &stored) {
        tracing::error!("{text}");
    }
    let mut ids = IdGen::new(random::seed());
    let now = clock.now();
    let wish = Wish {
        bootstrap: config.bootstrap_keys().map(str::to_owned).collect(),
        dev: config.dev.then(auth::new_secret),
        nodes: store.key_nodes().await?,
    };
    // They are decided on again when they are stored.
    let keys = keys::at_start(&stored.keys.iter().collect::<Vec<_>>(), &wish, now, || ids.next(now))?;
    for id in &keys.passed_over {
        tracing::warn!(key = %id, "a key in {BOOTSTRAP_KEY} was replaced by a newer one before and is not taken again: give the newer one");
    }
    if !keys.any
        && let Some(text) = without_key(&config)
    {
        return Err(text.into());
    }
    // Before the engine delivers anything: a second server that is started by mistake must not get that far.
    let (mut listeners, mut addresses) = (Vec::new(), Vec::new());
    for wanted in config.addresses() {
        let (listener, address) = listen(wanted).await.map_err(|e| format!("cannot listen on {wanted}: {e}"))?;
        listeners.push(listener);
        addresses.push(address);
    }
    let (address, grpc_address) = (addresses[0], addresses.get(1).copied());
    // From here on connections wait to be accepted, and nothing has been sent yet that a failure to write would cut off.
    if let Some(path) = &config.port_file {
        write_port_file(path, address).map_err(|e| format!("cannot write {}: {e}", path.display()))?;
    }
    let guard = Arc::new(Guard::new(config.allowed_networks(), config.allow_http));
    let outbound = Outbound::new(OutboundConfig::new(Arc::clone(&guard), Arc::clone(&clock))).map_err(|e| e.to_string())?;
    let engine_config = EngineConfig {
        seed: random::seed(),
        keys: Arc::new(secrets_keys),
        limits: postrider_engine::Limits { payload: max_body(&config), ..Default::default() },
        retention: Retention {
            attempts: config.retain_logs.0,
            rows: config.retain_rows.map(|age| age.0),
            bodies: config.retain_bodies.0,
            events: config.retain_events.0,
            closed: config.retain_events.0,
            ..Retention::default()
        },
        disable_after_dead: NonZeroU32::new(config.disable_after_dead),
        user_agent: String::from(USER_AGENT),
    };
    let engine = Engine::start(engine_config, store.port(), Arc::new(outbound), clock).await?;
    if let Err(failed) = store_keys(&engine, &wish).await {
        engine.shutdown(Duration::ZERO).await;
        return Err(failed);
    }
    let (stopping, stopped) = watch::channel(false);
    let server = server(&config, &engine, &store, guard, stopped);
    Ok(Running { address, grpc_address, dev_key: wish.dev, config, server, listeners, stopping, engine, store })
}

/// What is wrong where there is no key, if anybody but this machine could do everything then.
pub(crate) fn without_key(config: &Config) -> Option<String> {
    let address = config.addresses().find(|address| !address.ip().is_loopback())?;
    let place = match &config.database_url {
        Some(_) => String::from("with the same --database-url"),
        None => format!("--data-dir {}", config.data_dir.display()),
    };
    Some(format!(
        "there is no API key yet, so whoever reaches {address} could do everything: make one with postrider keys create {place}, or listen on 127.0.0.1"
    ))
}

async fn listen(wanted: SocketAddr) -> std::io::Result<(TcpListener, SocketAddr)> {
    let listener = TcpListener::bind(wanted).await?;
    let address = listener.local_addr()?;
    Ok((listener, address))
}

fn server(config: &Config, engine: &Engine, store: &Opened, guard: Arc<Guard>, stopping: watch::Receiver<bool>) -> Server {
    let app = Arc::new(App {
        engine: engine.clone(),
        guard,
        auth: Auth::new(config.dev),
        tasks_policy: config.tasks_policy(),
        items_jitter: config.items_jitter.percent,
        bodies: Bodies::new(max_body(config), config.header_timeout.0),
        health: Health::default(),
        database: store.kind(),
        nodes: store.nodes(config, engine.now()),
        node: config.node_name.clone(),
        started: Instant::now(),
        key_limits: KeyLimits::new(config.rate_limits),
        settings: config.settings(),
        stopping,
    });
    let limits = Limits { connections: config.max_connections, head: config.header_timeout.0, idle: config.idle_timeout.0 };
    Server::new(Arc::clone(&app), http::router(app), limits)
}

/// The largest body, in bytes.
fn max_body(config: &Config) -> usize {
    usize::try_from(config.max_body.0).unwrap_or(usize::MAX)
}

/// Decided by what is stored at that moment: of two nodes that start with the same bootstrap key the second one finds it there.
async fn store_keys(engine: &Engine, wish: &Wish) -> Result<(), Failed> {
    let stored = engine.edit(|routes| {
        let there: Vec<&ApiKey> = routes.keys().map(Arc::as_ref).collect();
        let keys = keys::at_start(&there, wish, engine.now(), || engine.new_id())?;
        Ok::<_, Failed>((keys.changes, ()))
    });
    stored.await
}

/// The key of the development mode ends with its server, where others go on that take it. After a crash the next start ends it.
async fn end_dev_key(engine: &Engine, secret: &str) {
    let (hash, now) = (auth::hash(secret), engine.now());
    let ending = engine.edit(|routes| {
        let key = routes.keys().find(|key| key.hash == hash && key.revoked_at.is_none());
        let ended = key.map(|key| ConfigChange::Key(ApiKey { revoked_at: Some(now), ..ApiKey::clone(key) }));
        Ok::<_, StoreError>((ended.into_iter().collect(), ()))
    });
    match tokio::time::timeout(END_OF_DEV_KEY, ending).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => {
            tracing::warn!(%error, cause = error.cause, "the key of the development mode was not ended; the next start does it")
        }
        Err(_) => tracing::warn!("the key of the development mode may not have ended; the next start sees to it"),
    }
}

fn with_cause(error: &StoreError) -> String {
    format!("{error} ({})", error.cause)
}

impl Running {
    /// The engine, for those who start a server inside of their own process.
    pub fn engine(&self) -> &Engine {
        &self.engine
    }

    /// The time of day as the server reads it.
    pub fn now(&self) -> Timestamp {
        self.engine.now()
    }

    /// Serves until `stop` turns true. Then it accepts nothing more, answers what it was asked, finishes deliveries that are being
    /// sent, within the configured time, or gives them back to the store, and closes the store, which take as long as they take.
    ///
    /// Where others have taken this node for dead it stops by itself, which is an error: what it had under way is theirs.
    pub async fn serve(self, mut stop: watch::Receiver<bool>) -> Result<(), String> {
        let within = self.config.shutdown_timeout.0;
        // Half of the time is for clients: one that is slow to send its request must not cost deliveries theirs.
        let serving = tokio::spawn(self.server.run(self.listeners, self.stopping.subscribe(), within / 2));
        let is_lost = tokio::select! {
            // The sender lives as long as the process; if it does not, stopping is what is left.
            _ = stop.wait_for(|stop| *stop) => false,
            () = self.store.lost() => true,
        };
        let begun = Instant::now();
        self.stopping.send_replace(true);
        tracing::info!("stopping");
        let answered = serving.await.unwrap_or(false);
        if !answered {
            tracing::warn!("some requests were not complete when the time was up");
        }
        if let Some(secret) = &self.dev_key
            && self.store.is_shared()
            && !is_lost
        {
            end_dev_key(&self.engine, secret).await;
        }
        // What others have taken over needs no time to come to its end: nothing of it could be stored.
        let left = if is_lost { Duration::ZERO } else { within.saturating_sub(begun.elapsed()) };
        let report = self.engine.shutdown(left).await;
        tracing::info!(cut_off = report.cut_off, given_back = report.given_back, "deliveries under way at the stop");
        self.store.close().await?;
        if is_lost { Err(String::from(store::LOST)) } else { Ok(()) }
    }
}

/// In one piece: who waits for the file never reads half of an address.
fn write_port_file(path: &Path, address: SocketAddr) -> std::io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".partial");
    let partial = path.with_file_name(name);
    let mut file = std::fs::File::create(&partial)?;
    writeln!(file, "{address}")?;
    std::fs::rename(&partial, path)
}
