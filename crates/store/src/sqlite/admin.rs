//! A second door for the command line, which works while a server runs.

use super::config;
use super::files;
use crate::error::{OpenError, store_error};
use crate::migrate;
use parking_lot::Mutex;
use postrider_core::ports::{ConfigChange, Configuration, StoreError};
use rusqlite::{Connection, TransactionBehavior};
use std::path::Path;
use std::time::Duration;

/// How long to wait before asking again for the turn to write.
const KNOCK_PAUSE: Duration = Duration::from_millis(1);

/// Reads and changes the configuration without owning the directory.
///
/// A running server sees a change within a second, for its version rises. Calls block for as long as the database takes,
/// at most five seconds where a server is busy writing.
pub struct SqliteAdmin {
    conn: Mutex<Connection>,
}

impl SqliteAdmin {
    /// Whether this directory holds a database.
    pub fn is_there(directory: &Path) -> bool {
        files::database(directory).is_file()
    }

    /// Opens the database of this directory; makes both if there are none.
    ///
    /// A database of an older release is brought up to date, unless a server of that release is running on it: [`OpenError::Older`].
    pub fn open(directory: &Path) -> Result<SqliteAdmin, OpenError> {
        files::ensure_directory(directory)?;
        let file = files::database(directory);
        if !is_current(&file)? {
            prepare(directory, &file)?;
        }
        let failed = |e: rusqlite::Error| OpenError::from_sqlite(&file, &e);
        let mut conn = files::connect_writer(&file).map_err(failed)?;
        conn.busy_handler(Some(knock_again)).map_err(failed)?;
        Ok(SqliteAdmin { conn: Mutex::new(conn) })
    }

    /// Everything that is configured.
    pub fn configuration(&self) -> Result<Configuration, StoreError> {
        let mut conn = self.conn.lock();
        let read = |conn: &mut Connection| config::read(&*conn.transaction()?);
        read(&mut conn).map_err(|e| store_error(&e))
    }

    /// Changes the configuration by what it is at that moment, whole or not at all: nobody else changes it in between. `f` answers what to
    /// put, and something for the caller.
    pub fn revise<T>(&self, f: impl FnOnce(Configuration) -> (Vec<ConfigChange>, T)) -> Result<T, StoreError> {
        let mut conn = self.conn.lock();
        let write = |conn: &mut Connection| {
            let tx = conn.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let (changes, answer) = f(config::read(&tx)?);
            if !changes.is_empty() {
                config::put(&tx, &config::documents(&changes)?)?;
            }
            tx.commit().map(|()| answer)
        };
        write(&mut conn).map_err(|e| store_error(&e))
    }
}

/// Between two groups a busy server leaves the door open for a moment only: SQLite's own handler asks too seldom to find it.
fn knock_again(tries: i32) -> bool {
    std::thread::park_timeout(KNOCK_PAUSE);
    u32::try_from(tries).is_ok_and(|tries| KNOCK_PAUSE * tries < files::BUSY_TIMEOUT)
}

impl std::fmt::Debug for SqliteAdmin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SqliteAdmin").finish_non_exhaustive()
    }
}

/// Whether the file is there with the schema of this release.
fn is_current(file: &Path) -> Result<bool, OpenError> {
    match std::fs::metadata(file) {
        Ok(found) if found.len() > 0 => {}
        Ok(_) => return Ok(false),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(false),
        Err(e) => return Err(OpenError::from_io(file, &e)),
    }
    let conn = files::connect_writer(file).map_err(|e| OpenError::from_sqlite(file, &e))?;
    Ok(files::check_version(file, &conn)? == migrate::KNOWN)
}

/// Makes the database or brings it up to date, as its owner for a moment.
fn prepare(directory: &Path, file: &Path) -> Result<(), OpenError> {
    match files::lock(directory) {
        Ok(_lock) => files::open_database(file).map(drop),
        // A server is starting or running. If it made the schema meanwhile all is well.
        Err(OpenError::InUse { .. }) if is_current(file)? => Ok(()),
        Err(OpenError::InUse { directory }) => match files::connect_writer(file).and_then(|conn| migrate::version(&conn)) {
            Ok(found) => Err(OpenError::Older { path: file.to_owned(), found, known: migrate::KNOWN }),
            Err(_) => Err(OpenError::InUse { directory }),
        },
        Err(error) => Err(error),
    }
}
