//! The data directory: the lock that makes one process its owner, and connections to the database in it.

use crate::error::OpenError;
use crate::migrate;
use rusqlite::config::DbConfig;
use rusqlite::{Connection, OpenFlags};
use std::fs::{DirBuilder, File, OpenOptions, TryLockError};
use std::io::Write;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Size of a page, in bytes; only a new file takes it.
pub(super) const PAGE_SIZE: u32 = 4_096;

/// Cache of the writer, in KiB. It fills with use.
const WRITER_CACHE_KIB: i64 = 16 * 1_024;

/// Cache of each reader, in KiB.
const READER_CACHE_KIB: i64 = 2 * 1_024;

/// How long a connection waits for another's lock.
pub(super) const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// To this size the write-ahead log's file is cut when it starts over, in bytes.
pub(super) const WAL_SIZE_LIMIT: i64 = 64 * 1_024 * 1_024;

/// More statements than there are.
const STATEMENTS: usize = 128;

const DATABASE: &str = "postrider.db";
pub(super) const LOCK: &str = "postrider.lock";

/// The CLI holds the lock for a moment when it makes a new database; a server that starts in that moment tries again this often.
const LOCK_TRIES: u32 = 5;
const LOCK_PAUSE: Duration = Duration::from_millis(50);

/// The database in this directory.
pub(super) fn database(directory: &Path) -> PathBuf {
    directory.join(DATABASE)
}

/// Makes the directory if there is none.
pub(super) fn ensure_directory(directory: &Path) -> Result<(), OpenError> {
    match std::fs::metadata(directory) {
        Ok(found) if found.is_dir() => Ok(()),
        Ok(_) => Err(OpenError::NotADirectory { path: directory.to_owned() }),
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => make_directory(directory).map_err(|e| OpenError::from_io(directory, &e)),
        Err(e) => Err(OpenError::from_io(directory, &e)),
    }
}

/// Makes the directory and what is missing above it. Their names must outlive a power cut as well as what is in them, so each is synced
/// into the one that holds it, from the top.
fn make_directory(directory: &Path) -> std::io::Result<()> {
    let missing: Vec<&Path> = directory.ancestors().take_while(|path| !path.as_os_str().is_empty() && !path.exists()).collect();
    DirBuilder::new().recursive(true).mode(0o700).create(directory)?;
    for made in missing.into_iter().rev() {
        let holder = made.parent().filter(|path| !path.as_os_str().is_empty()).unwrap_or(Path::new("."));
        File::open(holder)?.sync_all()?;
    }
    Ok(())
}

/// Becomes the owner of the directory, for as long as the file is kept. The operating system releases it when the process ends, however it ends.
pub(super) fn lock(directory: &Path) -> Result<File, OpenError> {
    let path = directory.join(LOCK);
    let file = open_private(&path).map_err(|e| OpenError::from_io(&path, &e))?;
    for _ in 0..LOCK_TRIES {
        match file.try_lock() {
            Ok(()) => return Ok(file),
            Err(TryLockError::WouldBlock) => std::thread::park_timeout(LOCK_PAUSE),
            Err(TryLockError::Error(e)) => return Err(OpenError::from_io(&path, &e)),
        }
    }
    Err(OpenError::InUse { directory: directory.to_owned() })
}

/// Writes a page beside the database and takes it away again. SQLite says of a failed write or fsync only that it failed; this asks the
/// disk for the reason.
pub(super) fn try_to_write(file: &Path) -> std::io::Result<()> {
    let mut lock = OpenOptions::new().write(true).open(file.with_file_name(LOCK))?;
    let written = lock.write_all(&[0; PAGE_SIZE as usize]).and_then(|()| lock.sync_data());
    // The file is there for its lock; nobody reads it.
    lock.set_len(0)?;
    written
}

/// Makes the database's file, so that nobody else can read it; SQLite gives the files beside it the same mode.
fn create_database(file: &Path) -> Result<(), OpenError> {
    open_private(file).map_err(|e| OpenError::from_io(file, &e))?;
    // The file's name must outlive a power cut as well as its content.
    let directory = file.parent().unwrap_or(file);
    File::open(directory).and_then(|directory| directory.sync_all()).map_err(|e| OpenError::from_io(directory, &e))
}

fn open_private(path: &Path) -> std::io::Result<File> {
    OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)
}

/// A connection that writes. It never checkpoints by itself.
pub(super) fn connect_writer(file: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(file, OpenFlags::SQLITE_OPEN_READ_WRITE, WRITER_CACHE_KIB)?;
    conn.pragma_update(None, "page_size", PAGE_SIZE)?;
    conn.pragma_update_and_check(None, "journal_mode", "wal", |row| {
        let mode: String = row.get(0)?;
        if mode == "wal" { Ok(()) } else { Err(crate::error::bad_value(0, "the file system does not allow write-ahead logging")) }
    })?;
    conn.pragma_update(None, "synchronous", "FULL")?;
    conn.pragma_update_and_check(None, "journal_size_limit", WAL_SIZE_LIMIT, |_| Ok(()))?;
    conn.pragma_update_and_check(None, "wal_autocheckpoint", 0, |_| Ok(()))?;
    Ok(conn)
}

/// A connection that only reads.
pub(super) fn connect_reader(file: &Path) -> rusqlite::Result<Connection> {
    let conn = connect(file, OpenFlags::SQLITE_OPEN_READ_ONLY, READER_CACHE_KIB)?;
    conn.pragma_update(None, "query_only", true)?;
    Ok(conn)
}

fn connect(file: &Path, access: OpenFlags, cache_kib: i64) -> rusqlite::Result<Connection> {
    let conn = Connection::open_with_flags(file, access | OpenFlags::SQLITE_OPEN_NO_MUTEX)?;
    conn.busy_timeout(BUSY_TIMEOUT)?;
    conn.set_prepared_statement_cache_capacity(STATEMENTS);
    // Or else SQLite plans a statement anew whenever another small number is bound to it, at many times the cost of running it.
    conn.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    conn.pragma_update(None, "cache_size", -cache_kib)?;
    conn.pragma_update(None, "foreign_keys", false)?;
    conn.pragma_update(None, "temp_store", "MEMORY")?;
    conn.pragma_update_and_check(None, "mmap_size", 0, |_| Ok(())).or_else(ignore_no_rows)?;
    Ok(conn)
}

/// Some builds of SQLite answer `mmap_size` with no row.
fn ignore_no_rows(error: rusqlite::Error) -> rusqlite::Result<()> {
    if error == rusqlite::Error::QueryReturnedNoRows { Ok(()) } else { Err(error) }
}

/// A writer's connection to the database of this directory, brought up to this release's schema. The caller owns the directory.
pub(super) fn open_database(file: &Path) -> Result<Connection, OpenError> {
    create_database(file)?;
    let failed = |e: rusqlite::Error| OpenError::from_sqlite(file, &e);
    let mut conn = connect_writer(file).map_err(failed)?;
    check_version(file, &conn)?;
    migrate::migrate(&mut conn).map_err(failed)?;
    probe(&conn).map_err(failed)?;
    Ok(conn)
}

/// The schema's number; refuses one that this release does not know.
pub(super) fn check_version(file: &Path, conn: &Connection) -> Result<i64, OpenError> {
    let found = migrate::version(conn).map_err(|e| OpenError::from_sqlite(file, &e))?;
    if found > migrate::KNOWN {
        return Err(OpenError::Newer { path: file.to_owned(), found, known: migrate::KNOWN });
    }
    Ok(found)
}

/// Touches the first page of every table: damage that would stop everything shows now and not under load. That of an index shows when
/// it is used.
/// The whole file is not read, for that takes minutes where it is large, and a crash alone does not damage it.
fn probe(conn: &Connection) -> rusqlite::Result<()> {
    let mut select = conn.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")?;
    let tables: Vec<String> = select.query_map([], |row| row.get(0))?.collect::<rusqlite::Result<_>>()?;
    for table in tables {
        let mut first = conn.prepare(&format!("SELECT * FROM \"{table}\" LIMIT 1"))?;
        let mut rows = first.query([])?;
        rows.next()?;
    }
    Ok(())
}
