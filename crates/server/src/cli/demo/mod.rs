//! `postrider demo`: a server, three receivers and real events between them, one receiver failing and recovering.
//!
//! Everything goes over real sockets and the public API: what is seen here is what a user gets.
//!
//! | module | is |
//! |---|---|
//! | `story` | what is subscribed and published, and by whom |
//! | `board` | what has become of it so far |
//! | `table` | how that is shown |

mod board;
mod story;
mod table;

use super::{CommandError, Outcome};
use crate::boot;
use crate::config::value::Span;
use crate::config::{Config, Flags};
use board::Board;
use parking_lot::Mutex;
use std::io::{self, IsTerminal};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use table::Table;
use tokio::net::TcpListener;
use tokio::sync::watch;

/// Waits between attempts: short, so that a recovery can be watched.
const RETRY: [Duration; 4] = [Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(2), Duration::from_secs(3)];

/// How often the table is drawn anew.
const FRAME: Duration = Duration::from_millis(100);

/// Flags of `postrider demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where the server listens; if that port is taken, a free one is used.
    #[arg(long, default_value = "127.0.0.1:8080", value_name = "ADDRESS:PORT")]
    listen: SocketAddr,
    /// Keep the data in this directory instead of a temporary one.
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How many events to publish; each goes to three receivers.
    #[arg(long, default_value_t = 24, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    events: u32,
    /// The pause between two events.
    #[arg(long, default_value = "250ms", value_name = "DURATION")]
    pause: Span,
    /// End when everything is delivered instead of keeping the server open.
    #[arg(long)]
    exit: bool,
}

/// Runs the demonstration until Ctrl-C, or with `--exit` until everything is delivered.
pub fn run(args: Args) -> Outcome {
    crate::observe::start(crate::observe::LogFormat::Text, "warn");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::new("cannot start a runtime", error))?;
    runtime.block_on(demonstrate(args))
}

async fn demonstrate(args: Args) -> Outcome {
    let interrupted = super::listen::interruption().map_err(|error| CommandError::new("cannot watch for signals", error))?;
    let (directory, temporary) = directory(args.data_dir.clone())?;
    let flags = Flags {
        listen: Some(free(args.listen).await?),
        data_dir: Some(directory.clone()),
        dev: Some(true),
        tasks_retry: Some(RETRY.map(Span).to_vec()),
        // More than the billing system ever fails: every delivery arrives in the end, whatever the pauses between events are.
        tasks_max_attempts: Some(20),
        shutdown_timeout: Some(Span(Duration::from_secs(2))),
        ..Flags::default()
    };
    let running = boot::start(Config::of(flags).map_err(CommandError)?).await.map_err(CommandError)?;
    let (address, key) = (running.address, running.dev_key.clone().unwrap_or_default());
    let (stop, stopped) = watch::channel(false);
    let server = tokio::spawn(running.serve(stopped));
    let board = Arc::new(Mutex::new(Board::new(args.events)));
    let mut table = Table::new(io::stdout().is_terminal());
    table.say(&format!("postrider is listening on http://{address}; its data is in {}", directory.display()));
    let shown = tokio::select! {
        shown = show(&args, address, &key, &board, &mut table) => shown,
        () = interrupted => Ok(()),
    };
    table.end(&board.lock());
    table.say("stopping");
    // Receivers of this message may be gone already.
    stop.send_replace(true);
    let served = server.await.map_err(|error| CommandError::new("the server failed", error))?;
    if temporary {
        // It is in the system's temporary directory; what cannot be removed is removed there some day.
        let _ = std::fs::remove_dir_all(&directory);
    }
    shown?;
    served.map_err(CommandError)?;
    Ok(ExitCode::SUCCESS)
}

async fn show(args: &Args, address: SocketAddr, key: &str, board: &Arc<Mutex<Board>>, table: &mut Table) -> Result<(), CommandError> {
    let acting = story::act(address, key.to_owned(), args.events, args.pause.0, Arc::clone(board));
    let mut acting = std::pin::pin!(acting);
    let mut acted = false;
    let mut frames = tokio::time::interval(FRAME);
    loop {
        tokio::select! {
            result = &mut acting, if !acted => {
                result?;
                acted = true;
            }
            _ = frames.tick() => {}
        }
        let board = board.lock();
        table.draw(&board);
        if acted && board.is_done() {
            table.summary(&board);
            break;
        }
    }
    if !args.exit {
        table.say(&format!("the server stays open: look at http://{address}/ or ask it, for example"));
        table.say(&format!("  curl http://{address}/subscriptions -H 'Authorization: Bearer {key}'"));
        table.say("Ctrl-C ends it");
        std::future::pending::<()>().await;
    }
    Ok(())
}

/// The directory for the data, and whether it goes away at the end.
fn directory(named: Option<PathBuf>) -> Result<(PathBuf, bool), CommandError> {
    if let Some(directory) = named {
        return Ok((directory, false));
    }
    let name = format!("postrider-demo-{}-{:08x}", std::process::id(), crate::random::seed() as u32);
    Ok((std::env::temp_dir().join(name), true))
}

/// The address that was asked for, or one with a free port if somebody else has it.
async fn free(wanted: SocketAddr) -> Result<SocketAddr, CommandError> {
    let cannot = |error| CommandError::new(format_args!("cannot listen on {wanted}"), error);
    match TcpListener::bind(wanted).await {
        Ok(_) => Ok(wanted),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(SocketAddr::new(wanted.ip(), 0)),
        Err(error) => Err(cannot(error)),
    }
}
