//! `postrider bench`: an open-loop load through a server to receivers of its own, with books of every delivery.
//!
//! | module | is |
//! |---|---|
//! | `args` | the flags, and how events and endpoints belong together |
//! | `payload` | what the events say |
//! | `ledger` | when each was sent, accepted and delivered |
//! | `pace`, `sender`, `lane` | the generator, and its connections |
//! | `sink` | the receiver, on a thread of its own |
//! | `own`, `setup` | the server under load and its subscriptions |
//! | `run` | the phases |
//! | `disk` | what of a latency is the disk's |
//! | `measure`, `report`, `progress` | what is found out and shown |

mod args;
mod disk;
mod lane;
mod ledger;
mod measure;
mod own;
mod pace;
mod payload;
mod progress;
mod report;
mod run;
mod sender;
mod setup;
mod sink;

#[cfg(test)]
mod tests;

pub use args::Args;

/// A small client of the public API, which `demo` uses too.
pub(super) mod client {
    pub use super::lane::connect_once;
    pub use super::setup::Target;
}

use super::listen::interruption;
use super::{CommandError, Outcome, print};
use rustix::process::{Resource, getrlimit, setrlimit};
use std::process::ExitCode;

/// Runs the benchmark; ends with failure if anything was lost, doubled or wrong.
pub fn run(args: Args) -> Outcome {
    allow_open_files();
    // One thread for the generator and one for the receiver: measured to be faster than a shared pool of two.
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| CommandError::new("cannot start a runtime", error))?;
    let report = runtime.block_on(async {
        let interrupted = interruption().map_err(|error| CommandError::new("cannot watch for signals", error))?;
        tokio::select! {
            report = run::run(&args) => report,
            () = interrupted => Err(CommandError(String::from("interrupted"))),
        }
    })?;
    let text =
        if args.json { serde_json::to_string(&report).map_err(|e| CommandError::new("cannot write JSON", e))? } else { report.to_string() };
    print(&format!("{text}\n"))?;
    Ok(if report.ok { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Lets this process and its server open as many files as the system allows them.
fn allow_open_files() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Where that is refused, the usual limit has to do.
    let _ = setrlimit(Resource::Nofile, limit);
}
