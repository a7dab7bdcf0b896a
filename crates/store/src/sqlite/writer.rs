//! The writer's thread: one group after another, each in one transaction with one fsync.

use super::checkpoint::{self, Checkpointer};
use super::session::Session;
use crate::batch::{Job, Queue};
use crate::error::{is_fault_of_one, store_error};
use postrider_core::ports::{StoreError, StoreErrorKind};
use rusqlite::ffi::ErrorCode;
use rusqlite::{Error, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::JoinHandle;

/// The queue that feeds the writer.
pub(super) type WriteQueue = Queue<Session, Error>;

type Group = Vec<Box<dyn Job<Session, Error>>>;

/// How often a commit is tried while another process holds what it needs; each try waits for the busy timeout by itself.
const COMMIT_TRIES: u32 = 3;

/// Starts the thread. It ends when the queue is closed and empty.
pub(super) fn start(
    session: Session,
    queue: Arc<WriteQueue>,
    commits: Arc<AtomicU64>,
    checkpointer: Checkpointer,
) -> std::io::Result<JoinHandle<()>> {
    std::thread::Builder::new().name("store-writer".into()).spawn(move || {
        // However this thread ends, nobody is left waiting for it.
        let _abandon = Abandon(Arc::clone(&queue));
        Writer { session, commits, checkpointer }.run(&queue);
    })
}

/// A release build ends with the first panic, for what is in memory cannot be trusted then and a restart recovers all. Where panics
/// unwind, which is in tests, those who wait are told.
struct Abandon(Arc<WriteQueue>);

impl Drop for Abandon {
    fn drop(&mut self) {
        if std::thread::panicking() {
            tracing::error!("the store's writer panicked; nothing more is written until the process is started again");
        }
        self.0.abandon();
    }
}

struct Writer {
    session: Session,
    commits: Arc<AtomicU64>,
    checkpointer: Checkpointer,
}

impl Writer {
    fn run(mut self, queue: &WriteQueue) {
        while let Some(group) = queue.take() {
            self.write(group);
            self.checkpointer.after_commit(&self.session.conn, self.session.wal_frames());
        }
        let Writer { session, checkpointer, .. } = self;
        drop(checkpointer);
        checkpoint::finish(&session.conn);
    }

    fn write(&mut self, mut group: Group) {
        match self.together(&mut group) {
            Ok(()) => answer(group, || Ok(())),
            Err(error) if is_fault_of_one(&error) => {
                self.session.undo(&error);
                tracing::warn!(%error, commands = group.len(), "one command of a group failed; they are done one by one");
                self.apart(group);
            }
            Err(error) => self.refuse(group, &error),
        }
    }

    /// The way of almost every group.
    fn together(&mut self, group: &mut Group) -> Result<()> {
        self.session.begin()?;
        for job in group {
            job.run(&mut self.session)?;
        }
        self.commit()
    }

    /// The way of a group in which one command cannot be done: it must not take the others with it.
    fn apart(&mut self, mut group: Group) {
        let mut results = Vec::with_capacity(group.len());
        let result = (|| {
            self.session.begin()?;
            for job in &mut group {
                let result = self.session.isolated(|session| job.run(session))?;
                results.push(result.map_err(|e| store_error(&e)));
            }
            self.commit()
        })();
        match result {
            Ok(()) => {
                let mut results = results.into_iter();
                answer(group, || results.next().unwrap_or(Ok(())));
            }
            Err(error) => self.refuse(group, &error),
        }
    }

    fn commit(&mut self) -> Result<()> {
        let mut tries = 1;
        loop {
            match self.session.commit() {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && tries < COMMIT_TRIES => tries += 1,
                result => {
                    result?;
                    self.commits.fetch_add(1, Ordering::Relaxed);
                    return Ok(());
                }
            }
        }
    }

    /// Nothing of the group is stored; the answer's cause says so where the disk does not even let that be made sure of.
    fn refuse(&mut self, group: Group, error: &Error) {
        self.session.undo(error);
        let mut answered = self.session.explain(error);
        if let Err(doubt) = self.session.clear_doubt() {
            answered.cause =
                format!("{}; it is stored all the same if the server ends before the disk works again: {doubt}", answered.cause);
        }
        tracing::error!(cause = answered.cause, commands = group.len(), "a group could not be written");
        answer(group, || Err(answered.clone()));
        if answered.kind == StoreErrorKind::Full {
            // What the log holds may fit into pages that the database file has already: then there is room to remove what is old.
            checkpoint::start_over(&self.session.conn, checkpoint::PATIENCE);
        }
    }
}

fn answer(group: Group, mut result: impl FnMut() -> Result<(), StoreError>) {
    for job in group {
        job.answer(result());
    }
}
