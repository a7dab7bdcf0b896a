//! `postrider openapi`.

use super::{CommandError, Outcome};
use std::io::Write;
use std::process::ExitCode;

/// What it takes: nothing.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the document.
pub fn run(_: &Args) -> Outcome {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(crate::openapi::text().as_bytes()).and_then(|()| out.flush());
    written.map(|()| ExitCode::SUCCESS).map_err(|error| CommandError::new("cannot write the document", error))
}
