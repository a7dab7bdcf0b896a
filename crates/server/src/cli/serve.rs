//! `postrider serve`.

use super::{CommandError, Outcome};
use crate::auth;
use crate::boot::{self, Running};
use crate::config::{self, Config, Flags};
use crate::observe::{self, LogFormat};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// What is left of file descriptors beside connections: deliveries under way, the store, the log.
const OTHER_FILES: u64 = 4_096;

/// How long threads that block may take once everything else has ended.
const LAST_THREADS: Duration = Duration::from_secs(1);

/// Flags of `postrider serve`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Print the effective configuration and exit.
    #[arg(long)]
    check_config: bool,
}

/// Runs the server until SIGINT or SIGTERM; a second signal ends it at once.
pub fn run(args: Args) -> Outcome {
    let config = Config::load(args.flags).map_err(CommandError)?;
    if args.check_config {
        io::stdout().write_all(config.to_string().as_bytes()).map_err(|e| CommandError::new("cannot print the configuration", e))?;
        return Ok(ExitCode::SUCCESS);
    }
    observe::start(config.log_format, &config.log);
    for (name, meant) in config::misspelt_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        tracing::warn!("the environment variable {name} is no setting; did you mean {meant}?");
    }
    raise_file_limit(config.max_connections);
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if let Some(workers) = config.workers {
        builder.worker_threads(workers);
    }
    let runtime = builder.enable_all().thread_name("postrider").build().map_err(|e| CommandError::new("cannot start a runtime", e))?;
    let ended = runtime.block_on(serve(config));
    runtime.shutdown_timeout(LAST_THREADS);
    ended.map(|()| ExitCode::SUCCESS).map_err(CommandError)
}

async fn serve(config: Config) -> Result<(), String> {
    let stop = stop_signal().map_err(|e| format!("cannot watch for signals: {e}"))?;
    let talk = Talk::of(&config);
    let mut asked = stop.clone();
    let stopped = async move {
        // Nobody is left to ask for it otherwise.
        let _ = asked.wait_for(|stop| *stop).await;
    };
    let Some(running) = Box::pin(boot::start_unless(config, stopped)).await? else {
        tracing::info!("stopping, before the database was there");
        return Ok(());
    };
    talk.started(&running);
    running.serve(stop).await
}

/// Turns true with the first SIGINT or SIGTERM. The second one ends the process.
fn stop_signal() -> io::Result<watch::Receiver<bool>> {
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let (sender, stop) = watch::channel(false);
    tokio::spawn(async move {
        let mut asked = false;
        loop {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
            if asked {
                tracing::warn!("a second signal: ending at once; what was under way is sent again after the next start");
                std::process::exit(130);
            }
            asked = true;
            sender.send_replace(true);
        }
    });
    Ok(stop)
}

/// Connections and deliveries are file descriptors, and the usual limit of 1,024 is far below what a server needs.
fn raise_file_limit(connections: usize) {
    let wanted = connections as u64 + OTHER_FILES;
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current.is_none_or(|current| current >= wanted) {
        return;
    }
    let reachable = maximum.map_or(wanted, |maximum| maximum.min(wanted));
    let raised = setrlimit(Resource::Nofile, Rlimit { current: Some(reachable), maximum });
    if raised.is_err() || reachable < wanted {
        tracing::warn!(
            reachable,
            wanted,
            "fewer open files are allowed than the connections need: raise the limit (ulimit -n) or lower max_connections"
        );
    }
}

/// What is said once at start: lines for people, or one line of the JSON log.
#[derive(Debug)]
struct Talk {
    json: bool,
    dev: bool,
    /// Where everything is, without a password.
    place: String,
    /// Whether that is a database, and not a directory.
    is_database: bool,
}

impl Talk {
    fn of(config: &Config) -> Self {
        Talk {
            json: config.log_format == LogFormat::Json,
            dev: config.dev,
            place: config.place(),
            is_database: config.database_url.is_some(),
        }
    }

    fn started(&self, running: &Running) {
        let (version, address) = (env!("CARGO_PKG_VERSION"), running.address);
        if self.json {
            // Logs are gathered and kept, so the key itself does not belong there; with --log-format text it is printed.
            let dev_key_prefix = running.dev_key.as_deref().map(auth::shown_prefix);
            let grpc_address = running.grpc_address.map(|address| address.to_string());
            let place = self.place.as_str();
            let (data_dir, database) = if self.is_database { (None, Some(place)) } else { (Some(place), None) };
            tracing::info!(version, %address, grpc_address, data_dir, database, dev = self.dev, dev_key_prefix, "started");
            return;
        }
        let mut text = format!("postrider {version}\n  listening on http://{address}\n");
        if let Some(grpc) = running.grpc_address {
            text.push_str(&format!("  gRPC too on  {grpc}\n"));
        }
        text.push_str(&format!("  data in      {}\n", self.place));
        if let Some(key) = &running.dev_key {
            text.push_str("  development mode: namespace default is open to everybody on this machine\n");
            text.push_str(&format!("  key          {key}\n"));
            text.push_str(&format!(
                "  try          curl -X POST http://{address}/subscriptions -H 'Content-Type: application/json' -d '{{\"target_url\": \"http://127.0.0.1:9000/\"}}'\n"
            ));
        } else {
            text.push_str(&format!(
                "  try          curl http://{address}/subscriptions -H 'Authorization: Bearer KEY' (postrider keys create makes a key)\n"
            ));
        }
        // A server whose stderr is closed serves all the same.
        let _ = io::stderr().write_all(text.as_bytes());
    }
}
