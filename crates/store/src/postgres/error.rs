//! What can go wrong with PostgreSQL, and what that means for whoever asked.

use postrider_core::ports::{StoreError, StoreErrorKind};
use tokio_postgres::error::{Severity, SqlState};

/// Why a piece of work did not come to its end. Nothing of it is stored, but for [`Error::InDoubt`].
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// The database or the way to it.
    #[error("{}", describe(.0))]
    Database(#[from] tokio_postgres::Error),
    /// No connection was to be had.
    #[error("no connection to the database: {0}")]
    NoConnection(String),
    /// A stored value that cannot be what it should be.
    #[error("a stored value cannot be read: {0}")]
    BadValue(String),
    /// The answer of the store itself.
    #[error("{}: {}", .0.kind, .0.cause)]
    Refused(StoreError),
    /// The connection was lost while the work was being committed, and nobody could say whether it was.
    #[error("whether the transaction was committed is not known: {0}")]
    InDoubt(String),
    /// This engine was taken for dead and its work is others' now.
    #[error("this node was taken for dead, and others have taken over what it had claimed")]
    Lost,
}

/// What a piece of work comes to.
pub(super) type Result<T> = std::result::Result<T, Error>;

/// A stored value that cannot be what it should be.
pub(super) fn bad_value(what: impl std::fmt::Display) -> Error {
    Error::BadValue(what.to_string())
}

/// The driver's text leaves out what the server said.
fn describe(error: &tokio_postgres::Error) -> String {
    let Some(said) = error.as_db_error() else {
        let cause = std::error::Error::source(error);
        return cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    };
    // Neither the detail nor the statement: both may hold what users stored.
    format!("{} ({})", said.message(), said.code().code())
}

impl Error {
    fn state(&self) -> Option<&SqlState> {
        match self {
            Error::Database(error) => error.code(),
            _ => None,
        }
    }

    /// The class of the server's code: its first two characters.
    fn class(&self) -> Option<&str> {
        self.state().and_then(|state| state.code().get(..2))
    }

    fn severity(&self) -> Option<Severity> {
        match self {
            Error::Database(error) => error.as_db_error()?.parsed_severity(),
            _ => None,
        }
    }

    /// Whether the server has said of a statement that it failed, and goes on. Only then a COMMIT has certainly done nothing: a server that breaks
    /// down because it cannot write its log says so with any code, and may find in that log, when it comes back, that it did.
    pub(super) fn is_answer(&self) -> bool {
        self.severity() == Some(Severity::Error)
    }

    /// Whether the way to the database failed, and nothing that it was asked for.
    pub(super) fn is_lost_connection(&self) -> bool {
        match self {
            Error::NoConnection(_) => true,
            // The server is going down, is coming up, or has ended this connection.
            Error::Database(error) => {
                error.is_closed()
                    || matches!(self.severity(), Some(Severity::Fatal | Severity::Panic))
                    || matches!(self.class(), Some("08"))
                    || matches!(
                        self.state(),
                        Some(
                            &SqlState::ADMIN_SHUTDOWN
                                | &SqlState::CRASH_SHUTDOWN
                                | &SqlState::CANNOT_CONNECT_NOW
                                | &SqlState::TOO_MANY_CONNECTIONS
                        )
                    )
                    || (self.state().is_none() && is_io(error))
            }
            _ => false,
        }
    }

    /// Whether the same work may succeed at the next try. Of statements that travel together one may be heard to fail for the failure of another
    /// before that is heard itself: the next try tells.
    pub(super) fn is_transient(&self) -> bool {
        self.is_lost_connection()
            || self.is_of_a_partition()
            || matches!(
                self.state(),
                Some(
                    &SqlState::T_R_SERIALIZATION_FAILURE
                        | &SqlState::T_R_DEADLOCK_DETECTED
                        | &SqlState::LOCK_NOT_AVAILABLE
                        // Nearly always its table of locks, of which transactions hold many for a moment.
                        | &SqlState::OUT_OF_MEMORY
                        | &SqlState::IN_FAILED_SQL_TRANSACTION
                )
            )
    }

    /// Whether a row was on its way into the partition by default when the partition was made that it belongs into. Other constraints have names.
    fn is_of_a_partition(&self) -> bool {
        let Error::Database(error) = self else { return false };
        error.as_db_error().is_some_and(|said| *said.code() == SqlState::CHECK_VIOLATION && said.constraint().is_none())
    }

    /// Whether what stands before a COMMIT has found that this engine was ended.
    pub(super) fn is_fence(&self) -> bool {
        self.state() == Some(&SqlState::DIVISION_BY_ZERO)
    }

    /// Whether the fault lies with one command (a broken constraint, a value that cannot be stored) and not with the database. So it does where
    /// only that is heard which a failure has done to other statements, time and again.
    pub(super) fn is_fault_of_one(&self) -> bool {
        match self {
            Error::BadValue(_) => true,
            // Nor where all connections are taken, or the store is closed.
            Error::Refused(error) => error.kind != StoreErrorKind::Unavailable,
            Error::Database(error) if error.code().is_none() => !is_io(error) && !error.is_closed(),
            Error::Database(_) => {
                matches!(self.class(), Some("21" | "22" | "23" | "54")) || self.state() == Some(&SqlState::IN_FAILED_SQL_TRANSACTION)
            }
            _ => false,
        }
    }

    /// The error to answer with.
    pub(super) fn into_store(self) -> StoreError {
        let kind = match &self {
            Error::Refused(error) => return error.clone(),
            Error::BadValue(_) => StoreErrorKind::Corrupt,
            Error::NoConnection(_) | Error::Lost => StoreErrorKind::Unavailable,
            Error::InDoubt(_) => StoreErrorKind::Unknown,
            Error::Database(_) => self.kind_of_database(),
        };
        StoreError { kind, cause: self.to_string() }
    }

    fn kind_of_database(&self) -> StoreErrorKind {
        match self.state() {
            Some(&SqlState::DISK_FULL) => StoreErrorKind::Full,
            Some(&SqlState::READ_ONLY_SQL_TRANSACTION | &SqlState::INSUFFICIENT_PRIVILEGE) => StoreErrorKind::ReadOnly,
            Some(&SqlState::DATA_CORRUPTED | &SqlState::INDEX_CORRUPTED) => StoreErrorKind::Corrupt,
            _ if self.is_transient() || matches!(self.class(), Some("53" | "57" | "58")) => StoreErrorKind::Unavailable,
            _ => StoreErrorKind::Internal,
        }
    }
}

fn is_io(error: &tokio_postgres::Error) -> bool {
    std::error::Error::source(error).is_some_and(|cause| cause.is::<std::io::Error>())
}

/// The error to answer with when the store is closed.
pub(super) fn closed() -> StoreError {
    StoreError { kind: StoreErrorKind::Unavailable, cause: "the store is closed".to_owned() }
}
