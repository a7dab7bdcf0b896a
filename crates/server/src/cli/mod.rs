//! The command line: one file or folder per subcommand. What a command prints on stdout is data, what it says on stderr is talk.

pub mod bench;
pub mod demo;
pub mod doctor;
mod door;
pub mod keys;
pub mod listen;
pub mod migrate;
pub mod openapi;
pub mod secrets;
pub mod serve;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// Self-hosted webhook delivery: accepts an event, stores it, and delivers it signed, with retries and a history of every attempt.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the server.
    Serve(Box<serve::Args>),
    /// Show real deliveries between a server and receivers of its own, one of them failing and recovering.
    Demo(demo::Args),
    /// Create, list and revoke API keys.
    Keys(keys::Args),
    /// List the keys that secrets are encrypted under, and change them.
    Secrets(secrets::Args),
    /// Bring the schema of the store up to date, which a start of the server does too.
    Migrate(migrate::Args),
    /// Look for what is wrong with the configuration and the store, and say how to mend it. Changes nothing.
    Doctor(Box<doctor::Args>),
    /// Receive webhooks, print them and check their signatures.
    Listen(listen::Args),
    /// Print the OpenAPI document of the REST APIs, which a server answers at /openapi.json.
    #[command(name = "openapi")]
    OpenApi(openapi::Args),
    /// Measure a server under load.
    Bench(Box<bench::Args>),
}

/// Why a command did not do its work: what is wrong and how to mend it, in one or two lines for the person at the terminal.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct CommandError(pub String);

impl CommandError {
    /// From what is wrong and the error behind it.
    pub fn new(what: impl std::fmt::Display, cause: impl std::fmt::Display) -> Self {
        CommandError(format!("{what}: {cause}"))
    }
}

/// What a command answers: how the process ends, or why it could not do its work.
pub type Outcome = Result<ExitCode, CommandError>;

/// Prints data on stdout.
fn print(text: &str) -> Result<(), CommandError> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|e| CommandError::new("cannot print", e))
}

/// Says something on stderr.
fn say(text: &str) {
    // Talk: whoever closed stderr does not want it.
    let _ = writeln!(std::io::stderr(), "{text}");
}

/// A runtime for what a command asks of a database.
fn runtime() -> Result<tokio::runtime::Runtime, CommandError> {
    let built = tokio::runtime::Builder::new_current_thread().enable_all().build();
    built.map_err(|e| CommandError::new("cannot start a runtime", e))
}

/// Reads the command line and does what it says.
pub fn main() -> ExitCode {
    use_small_pages();
    let cli = Cli::parse();
    let outcome = match cli.command {
        Command::Serve(args) => serve::run(*args),
        Command::Demo(args) => demo::run(args),
        Command::Keys(args) => keys::run(args),
        Command::Secrets(args) => secrets::run(args),
        Command::Migrate(args) => migrate::run(args),
        Command::Doctor(args) => doctor::run(*args),
        Command::Listen(args) => listen::run(args),
        Command::OpenApi(args) => openapi::run(&args),
        Command::Bench(args) => bench::run(*args),
    };
    outcome.unwrap_or_else(|error| {
        // Nobody is left to tell if stderr is gone.
        let _ = writeln!(std::io::stderr(), "postrider: {error}");
        ExitCode::FAILURE
    })
}

/// Keeps the allocator from being given memory in pieces of 2 MiB where the system has transparent huge pages: a server at rest takes a third
/// less without them, and none of its work is slower. Where the system has no such switch, there is nothing to switch off.
fn use_small_pages() {
    #[cfg(target_os = "linux")]
    let _ = rustix::thread::disable_transparent_huge_pages(true);
}
