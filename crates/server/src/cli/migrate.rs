//! `postrider migrate`: brings the schema of the store up to date, as the start of a server does, at a time of one's choice.

use super::door::{Place, no_database};
use super::{CommandError, Outcome, print, runtime};
use crate::config::Config;
use crate::observe::{self, LogFormat};
use postrider_store::{PgAdmin, SqliteAdmin, SqliteFindings};
use std::process::ExitCode;

/// Flags of `postrider migrate`.
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(flatten)]
    place: Place,
}

/// Runs `postrider migrate`.
pub fn run(args: Args) -> Outcome {
    let config = args.place.config()?;
    // It may take a while, and the log says why.
    observe::start(LogFormat::Text, observe::DEFAULT_FILTER);
    let (from, to) = migrated(&config)?;
    let text = if from == to { format!("schema {to}, which is up to date") } else { format!("schema {from} -> {to}") };
    print(&format!("{}: {text}\n", config.place()))?;
    Ok(ExitCode::SUCCESS)
}

/// The schema's version before and after.
fn migrated(config: &Config) -> Result<(i64, i64), CommandError> {
    if let Some(options) = config.database() {
        let done = runtime()?.block_on(Box::pin(PgAdmin::migrate(&options))).map_err(|e| CommandError(e.to_string()))?;
        return Ok((done.from, done.to));
    }
    let look = || SqliteFindings::of(&config.data_dir).map_err(|e| CommandError(e.to_string()));
    let before = look()?.ok_or_else(|| no_database(config))?;
    // Opening it does it.
    SqliteAdmin::open(&config.data_dir).map_err(|e| CommandError(e.to_string()))?;
    let after = look()?.ok_or_else(|| no_database(config))?;
    Ok((before.schema, after.schema))
}
