//! Moving committed pages from the write-ahead log into the database file, beside the writer.
//!
//! A thread with a connection of its own copies what it can while the writer goes on. Under load that never catches up quite:
//! so when it is done the writer copies the little that is left and starts the log over. The log stays bounded, and the writer is
//! held for that little only.

use super::files;
use parking_lot::{Condvar, Mutex};
use rusqlite::wal::CheckpointMode;
use rusqlite::{Connection, DEFAULT_NAME};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// When something is done about the log's length, in frames, which are a page each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks {
    /// From here on it is worth copying.
    soft: u32,
    /// From here on the writer waits for the copy.
    hard: u32,
}

impl Default for Marks {
    /// 16 MiB and 64 MiB.
    fn default() -> Self {
        Marks { soft: 4_000, hard: 16_000 }
    }
}

impl Marks {
    /// For a log of at most so many bytes.
    pub(super) fn within(bytes: u64) -> Self {
        let most = Marks::default();
        let hard = u32::try_from(bytes / u64::from(files::PAGE_SIZE)).unwrap_or(u32::MAX).clamp(4, most.hard);
        Marks { soft: (hard / 4).min(most.soft), hard }
    }
}

/// How long the writer waits for readers of old snapshots when it starts the log over.
pub(super) const PATIENCE: Duration = Duration::from_millis(20);

/// How long it waits when the log has become too long.
const LAST_PATIENCE: Duration = Duration::from_secs(1);

#[derive(Default)]
struct Wanted {
    copy: bool,
    stop: bool,
}

#[derive(Default)]
struct Shared {
    wanted: Mutex<Wanted>,
    wake: Condvar,
    copied: AtomicBool,
}

/// The thread that copies, as the writer sees it.
pub(super) struct Checkpointer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    marks: Marks,
    /// Frames from which on to ask (again).
    next: u32,
}

impl Checkpointer {
    /// Starts the thread.
    pub(super) fn start(file: PathBuf, marks: Marks) -> std::io::Result<Self> {
        let shared = Arc::<Shared>::default();
        let theirs = Arc::clone(&shared);
        let thread = std::thread::Builder::new().name("store-checkpoint".into()).spawn(move || run(&theirs, &file))?;
        Ok(Checkpointer { shared, thread: Some(thread), marks, next: marks.soft })
    }

    /// What the writer does after every commit, when everybody has been answered.
    pub(super) fn after_commit(&mut self, conn: &Connection, frames: u32) {
        let Marks { soft, hard } = self.marks;
        let copied = self.shared.copied.swap(false, Ordering::AcqRel);
        if frames < soft {
            self.next = soft;
        } else if copied || frames >= hard.max(self.next) {
            let patience = if frames >= hard { LAST_PATIENCE } else { PATIENCE };
            if start_over(conn, patience) {
                self.next = soft;
                return;
            }
            self.next = frames.saturating_add(soft / 4);
        }
        if frames >= self.next {
            self.next = frames.saturating_add(soft);
            self.shared.wanted.lock().copy = true;
            self.shared.wake.notify_one();
        }
    }
}

impl Drop for Checkpointer {
    fn drop(&mut self) {
        self.shared.wanted.lock().stop = true;
        self.shared.wake.notify_one();
        if self.thread.take().is_some_and(|thread| thread.join().is_err()) {
            tracing::error!("the checkpoint thread panicked");
        }
    }
}

/// Copies what is left and lets the next commit begin at the log's start; whether that worked out.
pub(super) fn start_over(conn: &Connection, patience: Duration) -> bool {
    let result = conn.busy_timeout(patience).and_then(|()| conn.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::RESTART));
    if let Err(error) = conn.busy_timeout(files::BUSY_TIMEOUT) {
        tracing::warn!(%error, "the busy timeout could not be restored");
    }
    match result {
        Ok((frames, copied)) => frames == copied,
        Err(error) => {
            tracing::debug!(%error, "the write-ahead log could not be started over yet");
            false
        }
    }
}

/// Empties the log at the end of the store's life, as far as that works out: what is in it is as safe as in the database file.
pub(super) fn finish(conn: &Connection) {
    if let Err(error) = conn.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::TRUNCATE) {
        tracing::warn!(%error, "the write-ahead log could not be emptied; it is read at the next start");
    }
}

fn run(shared: &Shared, file: &std::path::Path) {
    let mut conn: Option<Connection> = None;
    loop {
        {
            let mut wanted = shared.wanted.lock();
            while !wanted.copy && !wanted.stop {
                shared.wake.wait(&mut wanted);
            }
            if wanted.stop {
                return;
            }
            wanted.copy = false;
        }
        match copy(&mut conn, file) {
            Ok(()) => shared.copied.store(true, Ordering::Release),
            Err(error) => {
                // The log is asked for again when it has grown; nothing is lost meanwhile.
                tracing::warn!(%error, "the write-ahead log could not be copied into the database file");
                conn = None;
            }
        }
    }
}

fn copy(conn: &mut Option<Connection>, file: &std::path::Path) -> rusqlite::Result<()> {
    let conn = match conn {
        Some(conn) => conn,
        none => none.insert(files::connect_writer(file)?),
    };
    conn.wal_checkpoint_v2(DEFAULT_NAME, CheckpointMode::PASSIVE).map(drop)
}
