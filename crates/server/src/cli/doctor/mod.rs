//! `postrider doctor`: looks at all that a server needs, changes nothing, and says how to mend what is wrong.
//!
//! | module | is |
//! |---|---|
//! | `report` | what was found, and how it is shown |
//! | `sqlite` | the data directory |
//! | `postgres` | the database that nodes share: what it can do and what it is set to |
//! | `inside` | what lies in that: nodes, the queue, partitions |
//! | `keys` | whether the stored secrets can be read, and whether there is an API key |

mod inside;
mod keys;
mod postgres;
mod report;
mod sqlite;
#[cfg(test)]
mod tests;

use super::{CommandError, Outcome, print};
use crate::config::{self, Config, Flags};
use report::Report;
use std::process::ExitCode;

/// Flags of `postrider doctor`: those of the server that it is about, and how to show what was found.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `postrider doctor`. It ends with 1 where something is wrong.
pub fn run(args: Args) -> Outcome {
    let mut report = Report::default();
    examine(args.flags, &mut report)?;
    let text = if args.json { report.json().map_err(|e| CommandError::new("cannot write JSON", e))? } else { report.text() };
    print(&text)?;
    Ok(if report.is_wrong() { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(flags: Flags, report: &mut Report) -> Result<(), CommandError> {
    let config = match Config::read(flags) {
        Ok(config) => config,
        Err(error) => {
            report.wrong("configuration", error, "correct it; nothing else can be looked at before");
            return Ok(());
        }
    };
    match config.check() {
        Ok(()) => report.good("configuration", source(&config)),
        Err(error) => {
            report.wrong("configuration", error, "correct it where it was given: flags go before POSTRIDER_*, and these before the file")
        }
    }
    for (name, meant) in config::misspelt_variables(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        report.warn("environment", format!("the variable {name} is no setting"), format!("call it {meant}, or take it away"));
    }
    match config.database() {
        Some(options) if config.check_place().is_ok() => postgres::examine(&config, options, report),
        // What is wrong with it was said above.
        Some(_) => Ok(()),
        None => {
            sqlite::examine(&config, report);
            Ok(())
        }
    }
}

fn source(config: &Config) -> String {
    match &config.file {
        Some(path) => format!("flags and environment over {} over defaults", path.display()),
        None => String::from("flags and environment over defaults; there is no configuration file"),
    }
}
