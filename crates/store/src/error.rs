//! Why a store could not be opened, and what SQLite's errors mean for the engine.

use postrider_core::ports::{StoreError, StoreErrorKind};
use rusqlite::ffi;
use std::path::PathBuf;

/// Why a store could not be opened. The text says how to mend it.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// Another process owns the directory.
    #[error("another postrider is using {}: stop it, or give this one its own --data-dir", .directory.display())]
    InUse {
        /// The directory.
        directory: PathBuf,
    },
    /// There is something else where the directory should be.
    #[error("{} is not a directory: remove it, or choose another --data-dir", .path.display())]
    NotADirectory {
        /// What was found.
        path: PathBuf,
    },
    /// The operating system refused access.
    #[error("no access to {}: it must belong to the user who runs postrider, with mode 0700 for a directory and 0600 for a file ({cause})", .path.display())]
    Denied {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system said.
        cause: String,
    },
    /// It can be read and not written.
    #[error("{} cannot be written: check its permissions and that its disk is not mounted read-only ({cause})", .path.display())]
    ReadOnly {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system or the database said.
        cause: String,
    },
    /// No room.
    #[error("the disk that holds {} is full: free some space and start again", .path.display())]
    Full {
        /// The file or directory.
        path: PathBuf,
    },
    /// A later release has changed the schema.
    #[error("{} was made by a newer postrider (schema {found}, this one knows {known}): run that release or a later one", .path.display())]
    Newer {
        /// The database file.
        path: PathBuf,
        /// The schema's number in the file.
        found: i64,
        /// The newest number that this release knows.
        known: i64,
    },
    /// The schema is older than this release's and a running server of an older release keeps it from being brought up to date.
    #[error("{} is in use by an older postrider (schema {found}, this one needs {known}): restart the server with this release first", .path.display())]
    Older {
        /// The database file.
        path: PathBuf,
        /// The schema's number in the file.
        found: i64,
        /// The number that is needed.
        known: i64,
    },
    /// The file is not a database or is damaged.
    #[error("{} is damaged or is not a postrider database: restore the data directory from a backup ({cause})", .path.display())]
    Corrupt {
        /// The database file.
        path: PathBuf,
        /// What the database said.
        cause: String,
    },
    /// Anything else.
    #[error("cannot open {}: {cause}", .path.display())]
    Failed {
        /// The file or directory.
        path: PathBuf,
        /// What the operating system or the database said.
        cause: String,
    },
}

impl OpenError {
    /// What an error of the file system at `path` means.
    pub(crate) fn from_io(path: impl Into<PathBuf>, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let (path, cause) = (path.into(), error.to_string());
        match error.kind() {
            ErrorKind::PermissionDenied => OpenError::Denied { path, cause },
            ErrorKind::ReadOnlyFilesystem => OpenError::ReadOnly { path, cause },
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => OpenError::Full { path },
            ErrorKind::NotADirectory => OpenError::NotADirectory { path },
            _ => OpenError::Failed { path, cause },
        }
    }

    /// What an error of the database at `path` means.
    pub(crate) fn from_sqlite(path: impl Into<PathBuf>, error: &rusqlite::Error) -> Self {
        let (path, cause) = (path.into(), error.to_string());
        if error.sqlite_error_code() == Some(ffi::ErrorCode::CannotOpen) {
            return OpenError::Denied { path, cause };
        }
        match kind_of(error) {
            StoreErrorKind::Full | StoreErrorKind::OverBudget => OpenError::Full { path },
            StoreErrorKind::ReadOnly => OpenError::ReadOnly { path, cause },
            StoreErrorKind::Corrupt => OpenError::Corrupt { path, cause },
            StoreErrorKind::Unavailable | StoreErrorKind::Unknown | StoreErrorKind::Internal => OpenError::Failed { path, cause },
        }
    }
}

/// What an error of SQLite means for the engine.
pub(crate) fn kind_of(error: &rusqlite::Error) -> StoreErrorKind {
    use ffi::ErrorCode as Code;
    let rusqlite::Error::SqliteFailure(failure, _) = error else {
        return if is_bad_value(error) { StoreErrorKind::Corrupt } else { StoreErrorKind::Internal };
    };
    match (failure.code, failure.extended_code) {
        // The file of shared memory beside the database could not be made larger.
        (Code::DiskFull, _) | (_, ffi::SQLITE_IOERR_SHMSIZE) => StoreErrorKind::Full,
        (Code::ReadOnly | Code::PermissionDenied, _) => StoreErrorKind::ReadOnly,
        (Code::DatabaseCorrupt | Code::NotADatabase, _) | (_, ffi::SQLITE_IOERR_CORRUPTFS) => StoreErrorKind::Corrupt,
        (Code::DatabaseBusy | Code::DatabaseLocked | Code::OperationInterrupted | Code::OutOfMemory | Code::CannotOpen, _) => {
            StoreErrorKind::Unavailable
        }
        _ => StoreErrorKind::Internal,
    }
}

/// What an error of the file system means where it says more than SQLite did; `None` where it does not.
pub(crate) fn kind_of_io(error: &std::io::Error) -> Option<StoreErrorKind> {
    use std::io::ErrorKind;
    match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Some(StoreErrorKind::Full),
        ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => Some(StoreErrorKind::ReadOnly),
        _ => None,
    }
}

/// Whether a stored value could not be read as what it should be.
fn is_bad_value(error: &rusqlite::Error) -> bool {
    use rusqlite::Error;
    matches!(
        error,
        Error::FromSqlConversionFailure(..) | Error::IntegralValueOutOfRange(..) | Error::InvalidColumnType(..) | Error::Utf8Error(..)
    )
}

/// The error to answer with.
pub(crate) fn store_error(error: &rusqlite::Error) -> StoreError {
    StoreError { kind: kind_of(error), cause: error.to_string() }
}

/// The error to answer with when nobody is there to do the work.
pub(crate) fn unavailable(cause: &str) -> StoreError {
    StoreError { kind: StoreErrorKind::Unavailable, cause: cause.to_owned() }
}

/// A stored value that cannot be what it should be.
pub(crate) fn bad_value(column: usize, what: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> rusqlite::Error {
    rusqlite::Error::FromSqlConversionFailure(column, rusqlite::types::Type::Null, what.into())
}

/// Whether the fault lies with one command (a broken constraint, a value too large) and not with the database.
pub(crate) fn is_fault_of_one(error: &rusqlite::Error) -> bool {
    use ffi::ErrorCode as Code;
    match error.sqlite_error_code() {
        Some(code) => {
            matches!(code, Code::ConstraintViolation | Code::TooBig | Code::TypeMismatch | Code::ParameterOutOfRange | Code::Unknown)
        }
        // Not SQLite itself: a value that was read could not be understood, or a parameter could not be bound.
        None => true,
    }
}

/// Whether the connection must not be used any more: after a failed write or fsync its cache may differ from the file, and one that
/// was opened while the disk was read-only stays read-only.
pub(crate) fn needs_reopening(error: &rusqlite::Error) -> bool {
    use ffi::ErrorCode as Code;
    matches!(
        error.sqlite_error_code(),
        Some(Code::SystemIoFailure | Code::DatabaseCorrupt | Code::NotADatabase | Code::CannotOpen | Code::ApiMisuse | Code::ReadOnly)
    )
}

/// Whether a COMMIT that failed so may have written the whole group with its mark to the log all the same. It has not where
/// another process was in the way, and where there was no room for the last frame.
pub(crate) fn may_have_committed(error: &rusqlite::Error) -> bool {
    use ffi::ErrorCode as Code;
    !matches!(error.sqlite_error_code(), Some(Code::DatabaseBusy | Code::DatabaseLocked | Code::DiskFull))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn failure(code: i32) -> rusqlite::Error {
        rusqlite::Error::SqliteFailure(ffi::Error::new(code), None)
    }

    #[test]
    fn codes_of_sqlite_become_kinds() {
        let table = [
            (ffi::SQLITE_FULL, StoreErrorKind::Full),
            (ffi::SQLITE_IOERR_SHMSIZE, StoreErrorKind::Full),
            (ffi::SQLITE_READONLY, StoreErrorKind::ReadOnly),
            (ffi::SQLITE_READONLY_DBMOVED, StoreErrorKind::ReadOnly),
            (ffi::SQLITE_PERM, StoreErrorKind::ReadOnly),
            (ffi::SQLITE_CORRUPT, StoreErrorKind::Corrupt),
            (ffi::SQLITE_CORRUPT_INDEX, StoreErrorKind::Corrupt),
            (ffi::SQLITE_NOTADB, StoreErrorKind::Corrupt),
            (ffi::SQLITE_BUSY, StoreErrorKind::Unavailable),
            (ffi::SQLITE_NOMEM, StoreErrorKind::Unavailable),
            (ffi::SQLITE_IOERR_FSYNC, StoreErrorKind::Internal),
            (ffi::SQLITE_ERROR, StoreErrorKind::Internal),
            (ffi::SQLITE_CONSTRAINT_PRIMARYKEY, StoreErrorKind::Internal),
        ];
        for (code, kind) in table {
            assert_eq!(kind_of(&failure(code)), kind, "{code}");
        }
        assert_eq!(kind_of(&bad_value(0, "no such state")), StoreErrorKind::Corrupt);
    }

    #[test]
    fn what_the_disk_says_becomes_a_kind() {
        let table = [
            (rustix::io::Errno::NOSPC, Some(StoreErrorKind::Full)),
            (rustix::io::Errno::DQUOT, Some(StoreErrorKind::Full)),
            (rustix::io::Errno::ROFS, Some(StoreErrorKind::ReadOnly)),
            (rustix::io::Errno::ACCESS, Some(StoreErrorKind::ReadOnly)),
            (rustix::io::Errno::IO, None),
        ];
        for (errno, kind) in table {
            assert_eq!(kind_of_io(&errno.into()), kind, "{errno}");
        }
    }

    #[test]
    fn a_commit_that_failed_late_is_in_doubt() {
        for code in [ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_IOERR_SHMSIZE, ffi::SQLITE_NOMEM] {
            assert!(may_have_committed(&failure(code)), "{code}");
        }
        for code in [ffi::SQLITE_FULL, ffi::SQLITE_BUSY] {
            assert!(!may_have_committed(&failure(code)), "{code}");
        }
    }

    #[test]
    fn only_a_commands_own_fault_is_isolated() {
        assert!(is_fault_of_one(&failure(ffi::SQLITE_CONSTRAINT_PRIMARYKEY)));
        assert!(is_fault_of_one(&bad_value(0, "x")));
        for code in
            [ffi::SQLITE_FULL, ffi::SQLITE_IOERR_FSYNC, ffi::SQLITE_CORRUPT, ffi::SQLITE_READONLY, ffi::SQLITE_BUSY, ffi::SQLITE_NOMEM]
        {
            assert!(!is_fault_of_one(&failure(code)), "{code}");
        }
        assert!(needs_reopening(&failure(ffi::SQLITE_IOERR_FSYNC)));
        assert!(needs_reopening(&failure(ffi::SQLITE_READONLY)));
        assert!(!needs_reopening(&failure(ffi::SQLITE_FULL)));
    }
}
