//! The writer's connection with what it keeps in memory beside it, and the transaction around a group.

use super::aging::Marks;
use super::counters::Deltas;
use super::files;
use super::gone::Walk;
use super::history;
use super::options::Steps;
use super::places::{self, Sorted};
use super::prune::Sweep;
use super::room::Room;
use crate::error::{is_fault_of_one, kind_of_io, may_have_committed, needs_reopening, store_error};
use crate::room::refusal;
use postrider_core::id::DeliveryId;
use postrider_core::ports::{StoreError, StoreErrorKind};
use rusqlite::ffi::ErrorCode;
use rusqlite::{Connection, Result};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// What a verb writes through.
pub(super) struct Session {
    pub(super) conn: Connection,
    /// What this engine's claims carry.
    pub(super) incarnation: i64,
    pub(super) deltas: Deltas,
    pub(super) memory: Memory,
    /// [`Session::memory`] as it was when the transaction began.
    before: Memory,
    file: PathBuf,
    bounds: Bounds,
    /// What is left for new work in this group, once somebody has asked.
    left: Option<u64>,
    /// Frames in the write-ahead log after the last commit.
    wal_frames: Arc<AtomicU32>,
    /// The connection cannot be trusted any more.
    broken: bool,
    /// The last COMMIT failed and may be in the log all the same.
    in_doubt: bool,
}

/// How large the files may become, and how much is done at a time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Bounds {
    /// Where SQLite itself refuses; stands in for the size of the disk in tests.
    pub(super) max_pages: Option<u32>,
    /// Where the store refuses, if it has a budget.
    pub(super) room: Option<Room>,
    /// How much is done one by one.
    pub(super) steps: Steps,
}

/// What is known about the database without asking it. It follows the transactions: undone with them.
#[derive(Clone, Debug)]
pub(super) struct Memory {
    /// The number of the next event.
    pub(super) next_event: i64,
    /// How many attempts [`super::history`] has still to sort in.
    pub(super) attempts_new: i64,
    /// How far [`super::places`] has come.
    pub(super) sorted: Sorted,
    /// How far [`super::claim::rescue`] has come.
    pub(super) rescue: Rescue,
    /// How far [`super::prune::prune`] has come.
    pub(super) sweep: Sweep,
    /// How far it has looked at deliveries, ever.
    pub(super) marks: Marks,
    /// How far it has come with what belongs to erased endpoints, since its run began.
    pub(super) erasing: Option<Walk>,
}

/// How far the takeover of dead engines' claims has come. Nobody else makes such claims any more, so that none appear behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Rescue {
    /// Those after this one are still to be looked at.
    After(Option<DeliveryId>),
    /// All are taken over.
    Done,
}

impl Session {
    /// Takes over an open connection of the schema that this release knows, as a new incarnation.
    pub(super) fn start(file: &Path, mut conn: Connection, bounds: Bounds) -> Result<Self> {
        let wal_frames = Arc::default();
        prepare(&mut conn, bounds, &wal_frames)?;
        let (incarnation, next_event) = take_office(&mut conn)?;
        let attempts_new = history::gathered(&conn)?;
        let (sorted, marks) = (Sorted::read(&conn)?, Marks::read(&conn)?);
        let memory =
            Memory { next_event, attempts_new, sorted, rescue: Rescue::After(None), sweep: Sweep::default(), marks, erasing: None };
        Ok(Session {
            conn,
            incarnation,
            deltas: Deltas::default(),
            before: memory.clone(),
            memory,
            file: file.to_owned(),
            bounds,
            left: None,
            wal_frames,
            broken: false,
            in_doubt: false,
        })
    }

    /// Begins the transaction of a group; on a new connection if the last one cannot be trusted any more.
    pub(super) fn begin(&mut self) -> Result<()> {
        if self.broken {
            let mut conn = files::connect_writer(&self.file)?;
            prepare(&mut conn, self.bounds, &self.wal_frames)?;
            self.conn = conn;
            self.broken = false;
            tracing::warn!("the database was opened anew after a failure");
        }
        self.before = self.memory.clone();
        self.deltas.clear();
        self.in_doubt = false;
        self.left = None;
        self.execute("BEGIN IMMEDIATE")
    }

    /// Commits: when this returns, the group is on disk.
    pub(super) fn commit(&mut self) -> Result<()> {
        places::sort_in_if_many(self)?;
        self.deltas.flush(&self.conn)?;
        let result = self.execute("COMMIT");
        self.in_doubt = result.as_ref().is_err_and(may_have_committed);
        result
    }

    /// Undoes the transaction that failed with `error`, whatever is left of it.
    pub(super) fn undo(&mut self, error: &rusqlite::Error) {
        self.memory = self.before.clone();
        self.deltas.clear();
        // SQLite has rolled back by itself after the worst errors.
        if !self.conn.is_autocommit() && self.conn.execute_batch("ROLLBACK").is_err() {
            self.broken = true;
        }
        self.broken |= needs_reopening(error);
    }

    /// Makes sure that a group whose COMMIT failed is not stored. All of it may be in the log, with the mark of a commit, and the next
    /// start would take it for committed. The commit of something else overwrites its beginning, which no checksum behind that survives.
    /// An error means that nobody knows: the group is stored if the process ends before anything else is committed.
    pub(super) fn clear_doubt(&mut self) -> Result<()> {
        if !self.in_doubt {
            return Ok(());
        }
        let result = self.begin().and_then(|()| self.touch()).and_then(|()| self.commit());
        if let Err(error) = &result {
            self.undo(error);
        }
        result
    }

    /// Changes a row that is there for nothing else.
    pub(super) fn touch(&self) -> Result<()> {
        self.execute("UPDATE meta SET value = value + 1 WHERE key = 'probe'")
    }

    /// The error to answer with. Where SQLite knows only that the disk failed, the disk is asked why.
    pub(super) fn explain(&self, error: &rusqlite::Error) -> StoreError {
        let answer = store_error(error);
        let is_unclear = answer.kind == StoreErrorKind::Internal && error.sqlite_error_code() == Some(ErrorCode::SystemIoFailure);
        let Some(reason) = is_unclear.then(|| files::try_to_write(&self.file).err()).flatten() else { return answer };
        match kind_of_io(&reason) {
            Some(kind) => StoreError { kind, cause: format!("{}: {reason}", answer.cause) },
            None => answer,
        }
    }

    /// Runs one piece of work so that its failure (the inner result) leaves nothing of it and everything of what came before.
    /// The outer error means that the transaction cannot go on.
    pub(super) fn isolated(&mut self, work: impl FnOnce(&mut Session) -> Result<()>) -> Result<Result<()>> {
        let (memory, deltas) = (self.memory.clone(), self.deltas.clone());
        self.execute("SAVEPOINT one")?;
        let result = work(self);
        if let Err(error) = result {
            // Without a transaction there would be nothing to go back to: every later statement would commit by itself.
            if !is_fault_of_one(&error) || self.conn.is_autocommit() {
                return Err(error);
            }
            (self.memory, self.deltas) = (memory, deltas);
            self.execute("ROLLBACK TO one")?;
            self.execute("RELEASE one")?;
            return Ok(Err(error));
        }
        self.execute("RELEASE one")?;
        Ok(Ok(()))
    }

    /// Takes room for new work of about so many bytes; the answer to give if there is none. The database is asked once for each group.
    pub(super) fn take_room(&mut self, bytes: u64) -> Result<std::result::Result<(), StoreError>> {
        let Some(room) = self.bounds.room else { return Ok(Ok(())) };
        let left = match self.left {
            Some(left) => left,
            None => room.left(&self.conn)?,
        };
        self.left = Some(left.checked_sub(bytes).unwrap_or(left));
        Ok(if bytes <= left { Ok(()) } else { Err(refusal(bytes, left)) })
    }

    /// How much is done one by one.
    pub(super) fn steps(&self) -> Steps {
        self.bounds.steps
    }

    /// Frames in the write-ahead log after the last commit.
    pub(super) fn wal_frames(&self) -> u32 {
        self.wal_frames.load(Ordering::Relaxed)
    }

    /// Lets the file grow to this many pages; for tests of a full disk.
    pub(super) fn set_max_pages(&mut self, pages: u32) -> Result<()> {
        self.bounds.max_pages = Some(pages);
        limit_pages(&self.conn, pages)
    }

    fn execute(&self, sql: &str) -> Result<()> {
        self.conn.prepare_cached(sql)?.execute([]).map(drop)
    }
}

fn prepare(conn: &mut Connection, bounds: Bounds, wal_frames: &Arc<AtomicU32>) -> Result<()> {
    if let Some(pages) = bounds.max_pages {
        limit_pages(conn, pages)?;
    }
    if let Some(room) = bounds.room {
        let log = i64::try_from(room.log).unwrap_or(files::WAL_SIZE_LIMIT);
        conn.pragma_update_and_check(None, "journal_size_limit", log, |_| Ok(()))?;
    }
    let frames = Arc::clone(wal_frames);
    // It takes the place of SQLite's own checkpoint at commit: that is done beside the writer.
    conn.wal_hook(Some(move |_: &mut rusqlite::hooks::Wal, n: std::ffi::c_int| {
        frames.store(n.unsigned_abs(), Ordering::Relaxed);
        Ok(())
    }))
}

fn limit_pages(conn: &Connection, pages: u32) -> Result<()> {
    conn.pragma_update_and_check(None, "max_page_count", pages, |_| Ok(()))
}

/// A new incarnation and the next event's number, committed before anything is claimed under it.
fn take_office(conn: &mut Connection) -> Result<(i64, i64)> {
    let tx = conn.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
    let incarnation: i64 =
        tx.query_row("UPDATE meta SET value = value + 1 WHERE key = 'incarnation' RETURNING value", [], |row| row.get(0))?;
    // Retention may have removed the newest events; their numbers must not be given again.
    let sql = "SELECT max((SELECT value FROM meta WHERE key = 'next_event'), (SELECT coalesce(max(seq), 0) + 1 FROM events))";
    let next_event = tx.query_row(sql, [], |row| row.get(0))?;
    tx.commit()?;
    Ok((incarnation, next_event))
}
