//! `postrider events`: publishes events, and shows what each of them led to.

mod bulk;
mod list;
mod push;
mod repush;
mod show;

pub use show::{about, conditions};

use super::Outcome;
use super::remote::{self, Flags};
use clap::Subcommand;

/// Flags of `postrider events`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Publish an event, or many from a file.
    ///
    /// When it is done the server has stored the event together with its deliveries. Prints the id of the event.
    Push(Box<push::Args>),
    /// List events, the newest first.
    List(Box<list::Args>),
    /// Show an event and what it led to: its deliveries, who was skipped, and why others did not match.
    Show(show::Args),
    /// Publish events again, as new ones with the same content.
    Repush(Box<repush::Args>),
}

/// Runs `postrider events`.
pub fn run(args: Args) -> Outcome {
    let Args { flags, command } = args;
    remote::run(&flags, |server| async move {
        match command {
            Command::Push(args) => push::run(&server, *args).await,
            Command::List(args) => list::run(&server, &args).await,
            Command::Show(args) => show::run(&server, &args).await,
            Command::Repush(args) => repush::run(&server, &args).await,
        }
    })
}
