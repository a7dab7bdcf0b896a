//! Why a command did not do its work, and how the process ends for that.

use crate::cli::CommandError;
use crate::cli::client::{CallError, Origin};
use connectrpc::ErrorCode;
use std::fmt;
use std::time::Duration;

/// How the process ends. Scripts rely on these numbers; `docs/cli.md` and the help list them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Whoever read stdout has seen enough: no failure.
    Enough,
    /// The server refused, or something here did not work.
    Refused,
    /// The command makes no sense as it was given.
    Usage,
    /// There is no such thing.
    NotFound,
    /// The key is missing or wrong, or lacks the scope.
    NotAllowed,
    /// There was no answer.
    Unreachable,
    /// Some of many could not be done.
    Part,
    /// Ctrl-C stopped it before its end.
    Interrupted,
}

impl Exit {
    /// The number.
    pub fn code(self) -> u8 {
        match self {
            Exit::Enough => 0,
            Exit::Refused => 1,
            Exit::Usage => 2,
            Exit::NotFound => 3,
            Exit::NotAllowed => 4,
            Exit::Unreachable => 5,
            Exit::Part => 6,
            Exit::Interrupted => 130,
        }
    }
}

/// Why a command did not do its work: what is wrong and how to mend it, in one or two lines.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    exit: Exit,
    text: String,
    again: Option<Duration>,
}

impl Failure {
    /// With this end.
    pub fn new(exit: Exit, text: impl Into<String>) -> Self {
        Failure { exit, text: text.into(), again: None }
    }

    /// The command makes no sense as it was given.
    pub fn usage(text: impl Into<String>) -> Self {
        Failure::new(Exit::Usage, text)
    }

    /// Something did not work.
    pub fn refused(text: impl Into<String>) -> Self {
        Failure::new(Exit::Refused, text)
    }

    /// From what was tried and the error behind it.
    pub fn because(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Failure::refused(format!("{what}: {cause}"))
    }

    /// How many things ended of which some could not be done: as the failure that all of them had, or in part. Each was told already, so that of a
    /// single one nothing more is said.
    pub fn of_many(all: usize, failed: &[Failure]) -> Result<(), Failure> {
        match failed {
            [] => Ok(()),
            [first, rest @ ..] if failed.len() == all && rest.iter().all(|other| other.exit == first.exit) => {
                let text = if all == 1 { String::new() } else { format!("{all} of {all} could not be done") };
                Err(Failure::new(first.exit, text))
            }
            _ => Err(Failure::new(Exit::Part, format!("{} of {all} could not be done", failed.len()))),
        }
    }

    /// The same with something more to be known, on a line of its own.
    pub fn and(self, more: &str) -> Self {
        Failure { text: format!("{}\n{more}", self.text), ..self }
    }

    /// How the process ends.
    pub fn exit(&self) -> Exit {
        self.exit
    }

    /// Where the same may go well a little later: how long the server asked to wait for that.
    pub fn again(&self) -> Option<Duration> {
        self.again
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl From<CommandError> for Failure {
    fn from(error: CommandError) -> Self {
        Failure::refused(error.0)
    }
}

impl From<CallError> for Failure {
    fn from(error: CallError) -> Self {
        let exit = match (error.origin, error.code) {
            (Origin::Given, _) => Exit::Usage,
            (Origin::Way, _) | (Origin::Server, ErrorCode::Unavailable) => Exit::Unreachable,
            (Origin::Server, ErrorCode::NotFound) => Exit::NotFound,
            (Origin::Server, ErrorCode::Unauthenticated | ErrorCode::PermissionDenied) => Exit::NotAllowed,
            (Origin::Server, _) => Exit::Refused,
        };
        let is_passing = exit == Exit::Unreachable || error.code == ErrorCode::ResourceExhausted;
        let again = is_passing.then(|| error.retry_after.unwrap_or_default());
        Failure { exit, text: error.to_string(), again }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_end_as_all_of_them_did_or_in_part() {
        let missing = Failure::new(Exit::NotFound, "x");
        let exit = |all, failed: &[Failure]| Failure::of_many(all, failed).map_err(|failure| failure.exit());
        assert_eq!(exit(2, &[]), Ok(()));
        assert_eq!(exit(2, std::slice::from_ref(&missing)), Err(Exit::Part));
        assert_eq!(exit(2, &[missing.clone(), missing.clone()]), Err(Exit::NotFound));
        assert_eq!(exit(2, &[missing.clone(), Failure::refused("y")]), Err(Exit::Part));
        assert_eq!(Failure::of_many(1, &[missing]), Err(Failure::new(Exit::NotFound, "")));
    }

    #[test]
    fn the_numbers_stay_as_they_are() {
        let all =
            [Exit::Enough, Exit::Refused, Exit::Usage, Exit::NotFound, Exit::NotAllowed, Exit::Unreachable, Exit::Part, Exit::Interrupted];
        assert_eq!(all.map(Exit::code), [0, 1, 2, 3, 4, 5, 6, 130]);
    }
}
