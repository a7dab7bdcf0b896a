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
    /// Also let this role publish by SQL, which is all that it may do; it is made if it is not there. Applications' roles are to be members of it.
    #[arg(long, value_name = "NAME")]
    publisher_role: Option<String>,
}

/// Runs `postrider migrate`.
pub fn run(args: Args) -> Outcome {
    let config = args.place.config()?;
    let outbox = match args.publisher_role {
        Some(role) => Some((role, config.database().ok_or_else(no_outbox)?)),
        None => None,
    };
    // It may take a while, and the log says why.
    observe::start(LogFormat::Text, observe::DEFAULT_FILTER);
    let (from, to) = migrated(&config)?;
    let text = if from == to { format!("schema {to}, which is up to date") } else { format!("schema {from} -> {to}") };
    print(&format!("{}: {text}\n", config.place()))?;
    if let Some((role, options)) = outbox {
        let granted = runtime()?.block_on(Box::pin(PgAdmin::grant_publishing(&options, &role)));
        let made = if granted.map_err(|e| CommandError(e.to_string()))? { "was made and may" } else { "may" };
        print(&format!(
            "the role {role} {made} publish: whoever has made it GRANTs it to the roles that applications log in with, or an administrator\n"
        ))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn no_outbox() -> CommandError {
    CommandError(String::from("only a PostgreSQL database has an outbox: name it by --database-url"))
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
