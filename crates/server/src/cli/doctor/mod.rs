//! `postrider doctor`: looks at all that a server needs, or at one that runs, changes nothing, and says how to mend what is wrong.
//!
//! | module | is |
//! |---|---|
//! | `report` | what was found, and how it is shown |
//! | `sqlite` | the data directory |
//! | `postgres` | the database that nodes share: what it can do and what it is set to |
//! | `inside` | what lies in that: nodes, the queue, partitions |
//! | `keys` | whether the stored secrets can be read, and whether there is an API key |
//! | `server` | a running server, as its clients see it |

mod inside;
mod keys;
mod postgres;
mod report;
mod server;
mod sqlite;
#[cfg(test)]
mod tests;

use super::remote::{self, Connection, Exit, Failure};
use super::{CommandError, Outcome, print};
use crate::config::{self, Config, Flags};
use report::Report;
use std::process::ExitCode;

/// Flags of `postrider doctor`: those of the server that it is about, or where that runs, and how to show what was found.
#[derive(Debug, clap::Args)]
#[command(after_help = "Examples:
  postrider doctor
  postrider doctor --data-dir /var/lib/postrider --listen 0.0.0.0:8080
  postrider doctor --url https://hooks.example.com --key-file key.txt

Without a server named it looks at the configuration and the store of this machine. With --url or --profile, or the variables of these, it looks at a
running server: whether it is reached and over what, its release and its clock, what the key may do, nodes, late deliveries, failing endpoints.

Exit code 1 where something is wrong, 4 where the server does not take the key, 5 where it does not answer. What is only to be looked at is no failure.")]
pub struct Args {
    #[command(flatten)]
    flags: Flags,
    #[command(flatten)]
    connection: Connection,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

/// Runs `postrider doctor`. It ends with 1 where something is wrong, and as other commands do where a server cannot be asked.
pub fn run(args: Args) -> Outcome {
    let mut report = Report::default();
    let ends = if args.connection.is_named() {
        let Flags { data_dir, database_url, config, .. } = &args.flags;
        if data_dir.is_some() || database_url.is_some() || config.is_some() {
            let text = "a server and a store are named: leave away either --url and --profile or --data-dir, --database-url and --config, or \
                        the variables of these";
            return Ok(remote::ended(Err(Failure::usage(text))));
        }
        server::examine(&args.connection, &mut report)?
    } else {
        examine(args.flags, &mut report)?;
        Exit::Refused
    };
    let text = if args.json { report.json().map_err(|e| CommandError::new("cannot write JSON", e))? } else { report.text() };
    print(&text)?;
    Ok(if report.is_wrong() { ExitCode::from(ends.code()) } else { ExitCode::SUCCESS })
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
