//! The embedded store against the suite that every store must pass.

use postrider_store::conformance::Harness;
use postrider_store::{SqliteOptions, SqliteStore};
use std::cell::Cell;
use std::path::PathBuf;
use tempfile::TempDir;

/// Every store has a directory of its own. A crash is a copy of the files as they are while the store still runs.
struct Sqlite {
    root: TempDir,
    newest: Cell<u32>,
}

impl Sqlite {
    fn new() -> Self {
        Sqlite { root: tempfile::tempdir().expect("a directory for the test"), newest: Cell::new(0) }
    }

    fn directory(&self) -> PathBuf {
        self.root.path().join(self.newest.get().to_string())
    }

    fn open(&self) -> SqliteStore {
        SqliteStore::open(SqliteOptions::new(self.directory())).expect("the store opens")
    }
}

impl Harness for Sqlite {
    type Store = SqliteStore;

    async fn fresh(&self) -> SqliteStore {
        self.newest.set(self.newest.get() + 1);
        self.open()
    }

    async fn reopen(&self, store: SqliteStore) -> SqliteStore {
        let before = self.directory();
        self.newest.set(self.newest.get() + 1);
        let after = self.directory();
        std::fs::create_dir(&after).expect("a directory");
        for file in ["postrider.db", "postrider.db-wal"] {
            std::fs::copy(before.join(file), after.join(file)).expect("what a crash would leave");
        }
        drop(store);
        std::fs::remove_dir_all(before).expect("the old directory goes");
        self.open()
    }
}

postrider_store::conformance_tests!(Sqlite::new());
