//! The command line: one file or folder per subcommand. What a command prints on stdout is data, what it says on stderr is talk.

mod admin;
mod batches;
pub mod bench;
mod bindings;
pub mod client;
mod deliveries;
pub mod demo;
mod destinations;
mod dlq;
pub mod doctor;
mod door;
mod endpoints;
mod event_types;
mod events;
mod find;
mod items;
mod jobs;
pub mod keys;
pub mod listen;
pub mod migrate;
mod namespaces;
pub mod openapi;
mod overview;
mod profiles;
mod remote;
mod scheduled;
pub mod secrets;
pub mod serve;
mod shell;
mod subscriptions;
mod tasks;
mod top;

use clap::{Parser, Subcommand};
use std::io::Write;
use std::process::ExitCode;

/// What is the same for all commands that work on a running server.
const AFTER_HELP: &str = "\
Commands on a running server find it by --url, else POSTRIDER_URL, else the profile of --profile, POSTRIDER_PROFILE or `postrider profiles use`, else at
http://127.0.0.1:8080; their key is that of --key-file, else --key, else POSTRIDER_KEY, else that of the profile.

Exit codes:
    0  done
    1  it could not be done: the server refused, or something here did not work
    2  the command makes no sense as it was given
    3  there is no such thing
    4  the key is missing or wrong, or lacks the scope
    5  the server does not answer
    6  done in part: some of many could not be done
  130  Ctrl-C stopped it before its end; listen, top and deliveries tail end with it, and with 0";

/// Self-hosted webhook delivery: accepts an event, stores it, and delivers it signed, with retries and a history of every attempt.
#[derive(Debug, Parser)]
#[command(name = "postrider", version, max_term_width = 100, after_help = AFTER_HELP)]
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
    /// Look for what is wrong with the configuration and the store, or with a running server, and say how to mend it. Changes nothing.
    Doctor(Box<doctor::Args>),
    /// Receive webhooks, print them and check their signatures.
    Listen(listen::Args),
    /// Print the OpenAPI document of the REST APIs, which a server answers at /openapi.json.
    #[command(name = "openapi")]
    OpenApi(openapi::Args),
    /// Measure a server under load.
    Bench(Box<bench::Args>),
    /// Publish events, and see what each of them led to.
    Events(Box<events::Args>),
    /// Keep the types that events have, with the schemas of their payloads.
    EventTypes(Box<event_types::Args>),
    /// Keep endpoints: where events are sent. See how they do, pause and test them, rotate their secrets.
    Endpoints(Box<endpoints::Args>),
    /// Keep subscriptions: which events an endpoint gets, and in what form.
    Subscriptions(Box<subscriptions::Args>),
    /// See what became of each event at each subscription, live and afterwards; retry and cancel it.
    Deliveries(Box<deliveries::Args>),
    /// See what failed for good, by its cause; replay and dismiss it.
    Dlq(Box<dlq::Args>),
    /// See, stop and resume bulk replays of dead letters.
    Jobs(Box<jobs::Args>),
    /// See and stop bulk retries of deliveries and bulk re-pushes of events.
    Batches(Box<batches::Args>),
    /// Schedule payloads for a later time, once or again and again.
    Scheduled(Box<scheduled::Args>),
    /// Keep destinations of the Items API: where it sends to.
    Destinations(Box<destinations::Args>),
    /// Keep bindings of the Items API: which events go to a destination, and in what form.
    Bindings(Box<bindings::Args>),
    /// See every attempt as the Items API has it, and replay it.
    Items(Box<items::Args>),
    /// Keep subscriptions of the Tasks API, ingest for them, and see their tasks.
    Tasks(Box<tasks::Args>),
    /// Show how the whole of it does: rates, success, backlog, failing endpoints.
    Overview(Box<overview::Args>),
    /// Show live, in the terminal, how the whole of it does.
    Top(Box<top::Args>),
    /// Tell what an id or a key from a log is.
    Find(Box<find::Args>),
    /// List the namespaces of a server.
    Namespaces(Box<namespaces::Args>),
    /// List the nodes that serve the store.
    Nodes(Box<admin::NodesArgs>),
    /// List the settings of the node that answers, and where each comes from. Secrets are masked.
    Settings(Box<admin::SettingsArgs>),
    /// Keep servers and keys under short names.
    Profiles(Box<profiles::Args>),
    /// Print a completion script for a shell.
    Completions(shell::CompletionsArgs),
    /// Print the manual page, or write one for each command.
    Man(shell::ManArgs),
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
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        // Whoever read it, as `head` does, has seen enough.
        Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => Ok(()),
        Err(error) => Err(CommandError::new("cannot print", error)),
        Ok(()) => Ok(()),
    }
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
        Command::Events(args) => events::run(*args),
        Command::EventTypes(args) => event_types::run(*args),
        Command::Endpoints(args) => endpoints::run(*args),
        Command::Subscriptions(args) => subscriptions::run(*args),
        Command::Deliveries(args) => deliveries::run(*args),
        Command::Dlq(args) => dlq::run(*args),
        Command::Jobs(args) => jobs::run(*args),
        Command::Batches(args) => batches::run(*args),
        Command::Scheduled(args) => scheduled::run(*args),
        Command::Destinations(args) => destinations::run(*args),
        Command::Bindings(args) => bindings::run(*args),
        Command::Items(args) => items::run(*args),
        Command::Tasks(args) => tasks::run(*args),
        Command::Overview(args) => overview::run(*args),
        Command::Top(args) => top::run(*args),
        Command::Find(args) => find::run(*args),
        Command::Namespaces(args) => namespaces::run(*args),
        Command::Nodes(args) => admin::nodes(*args),
        Command::Settings(args) => admin::settings(*args),
        Command::Profiles(args) => profiles::run(*args),
        Command::Completions(args) => shell::completions(&args),
        Command::Man(args) => shell::man(&args),
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
