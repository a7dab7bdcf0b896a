//! Whether it is really meant.

use super::{Exit, Failure};
use crate::cli::say;
use std::io::{self, IsTerminal, Write};

/// So many may be changed without a question where nobody can be asked.
const UNASKED: i64 = 100;

/// Asks at the terminal whether this is meant; without a terminal few are, and many only with `yes`.
pub fn about_many(question: &str, many: i64, yes: bool) -> Result<(), Failure> {
    if yes {
        return Ok(());
    }
    if can_ask() {
        return put(question);
    }
    if many <= UNASKED { Ok(()) } else { Err(Failure::usage(format!("{question} There is nobody to ask: add --yes if so"))) }
}

/// Asks at the terminal whether this is meant, for it cannot be undone; without a terminal it is only with `yes`.
pub fn about_loss(question: &str, yes: bool) -> Result<(), Failure> {
    match (yes, can_ask()) {
        (true, _) => Ok(()),
        (false, true) => put(question),
        (false, false) => Err(Failure::usage(format!("{question} There is nobody to ask: add --yes if so"))),
    }
}

fn can_ask() -> bool {
    io::stdin().is_terminal() && io::stderr().is_terminal()
}

fn put(question: &str) -> Result<(), Failure> {
    let mut talk = io::stderr();
    let mut answer = String::new();
    let asked = write!(talk, "{question} [y/N] ").and_then(|()| talk.flush()).and_then(|()| io::stdin().read_line(&mut answer));
    asked.map_err(|error| Failure::because("cannot ask", error))?;
    if matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes") {
        return Ok(());
    }
    say("nothing was done");
    Err(Failure::new(Exit::Refused, ""))
}
