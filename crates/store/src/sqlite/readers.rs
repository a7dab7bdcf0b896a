//! Reads: a few read-only connections, used from tokio's blocking threads.

use super::files;
use crate::error::{needs_reopening, store_error, unavailable};
use parking_lot::Mutex;
use postrider_core::ports::StoreError;
use rusqlite::{Connection, Result};
use std::path::PathBuf;
use std::sync::Arc;
use tokio::sync::Semaphore;

/// The connections; opened when they are first needed.
pub(super) struct Readers {
    file: PathBuf,
    idle: Arc<Mutex<Vec<Connection>>>,
    turns: Arc<Semaphore>,
}

impl Readers {
    /// At most `count` reads at the same time.
    pub(super) fn new(file: PathBuf, count: usize) -> Self {
        Readers { file, idle: Arc::default(), turns: Arc::new(Semaphore::new(count.max(1))) }
    }

    /// Runs a read on a snapshot of one moment, away from the async threads.
    pub(super) async fn read<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        F: FnOnce(&Connection) -> Result<T> + Send + 'static,
        T: Send + 'static,
    {
        let turn = Arc::clone(&self.turns).acquire_owned().await.map_err(|_| unavailable("the store is closed"))?;
        let (file, idle, turns) = (self.file.clone(), Arc::clone(&self.idle), Arc::clone(&self.turns));
        let task = tokio::task::spawn_blocking(move || {
            let waiting = idle.lock().pop();
            let conn = waiting.map_or_else(|| files::connect_reader(&file), Ok).map_err(|e| store_error(&e))?;
            let result = snapshot(&conn, work);
            if !result.as_ref().is_err_and(needs_reopening) && conn.is_autocommit() {
                let mut idle = idle.lock();
                // Closing takes the lock after it has closed the turns: a connection is either seen by it or not kept.
                if !turns.is_closed() {
                    idle.push(conn);
                }
            }
            drop(turn);
            result.map_err(|e| store_error(&e))
        });
        task.await.unwrap_or_else(|e| Err(unavailable(&format!("the read did not finish: {e}"))))
    }

    /// Ends reading and closes the connections.
    pub(super) fn close(&self) {
        self.turns.close();
        self.idle.lock().clear();
    }
}

fn snapshot<T>(conn: &Connection, work: impl FnOnce(&Connection) -> Result<T>) -> Result<T> {
    conn.prepare_cached("BEGIN DEFERRED")?.execute([])?;
    let result = work(conn);
    let ended = conn.prepare_cached("COMMIT")?.execute([]);
    let value = result?;
    ended.map(|_| value)
}
