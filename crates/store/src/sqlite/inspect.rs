//! What there is to be said of a data directory, for people who look for what is wrong. Nothing is changed.

use super::config;
use super::files;
use crate::error::{OpenError, store_error};
use crate::migrate;
use postrider_core::ports::{Configuration, StoreError};
use std::fs::{File, TryLockError};
use std::path::{Path, PathBuf};

/// What was found in a directory that holds a database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SqliteFindings {
    /// The database's file.
    pub file: PathBuf,
    /// The schema's number in it.
    pub schema: i64,
    /// The number that this release works with.
    pub known: i64,
    /// Whether a server owns the directory at the moment.
    pub is_owned: bool,
}

impl SqliteFindings {
    /// Looks; `None` where there is no database.
    pub fn of(directory: &Path) -> Result<Option<SqliteFindings>, OpenError> {
        let file = files::database(directory);
        match std::fs::metadata(&file) {
            Ok(_) => {}
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(OpenError::from_io(file, &e)),
        }
        let read = files::connect_reader(&file).and_then(|conn| migrate::version(&conn));
        let schema = read.map_err(|e| OpenError::from_sqlite(&file, &e))?;
        Ok(Some(SqliteFindings { is_owned: is_owned(directory)?, file, schema, known: migrate::KNOWN }))
    }
}

impl SqliteFindings {
    /// Everything that is configured, by a connection that can only read. The schema must be that of this release.
    pub fn configuration(&self) -> Result<Configuration, StoreError> {
        let read = || {
            let mut conn = files::connect_reader(&self.file)?;
            config::read(&*conn.transaction()?)
        };
        read().map_err(|e| store_error(&e))
    }
}

/// Whether somebody has the directory's lock. It is taken for a moment: a server that starts just then tries again.
fn is_owned(directory: &Path) -> Result<bool, OpenError> {
    let path = directory.join(files::LOCK);
    let lock = match File::open(&path) {
        Ok(lock) => lock,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(OpenError::from_io(path, &e)),
    };
    match lock.try_lock() {
        Ok(()) => Ok(false),
        Err(TryLockError::WouldBlock) => Ok(true),
        Err(TryLockError::Error(e)) => Err(OpenError::from_io(path, &e)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sqlite::{SqliteOptions, SqliteStore};

    #[test]
    fn a_directory_is_looked_at_and_left_as_it_is() {
        let directory = tempfile::tempdir().expect("a directory");
        let look = || SqliteFindings::of(directory.path()).expect("a look");
        assert_eq!(look(), None);
        assert!(std::fs::read_dir(directory.path()).expect("a directory").next().is_none(), "looking makes nothing");
        let store = SqliteStore::open(SqliteOptions::new(directory.path())).expect("a store");
        let found = look().expect("a database");
        assert_eq!((found.schema, found.known, found.is_owned), (migrate::KNOWN, migrate::KNOWN, true));
        assert!(found.configuration().expect("it can be read").endpoints.is_empty());
        store.close();
        assert!(!look().expect("a database").is_owned);
    }
}
