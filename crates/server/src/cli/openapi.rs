//! `postrider openapi`.

use super::{Outcome, print};
use std::process::ExitCode;

/// What it takes: nothing.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Prints the document.
pub fn run(_: &Args) -> Outcome {
    print(crate::openapi::text())?;
    Ok(ExitCode::SUCCESS)
}
