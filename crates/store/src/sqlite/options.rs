//! How a store is opened.

use std::path::PathBuf;

/// How to open a store.
#[derive(Clone, Debug)]
pub struct SqliteOptions {
    /// The directory of the database; made with mode 0700 if there is none.
    pub directory: PathBuf,
    /// How many reads run at the same time.
    pub readers: usize,
    /// How large the database and its write-ahead log may become together, in bytes; new work is refused before that. `None` is as large as
    /// the disk allows. An eighth of it, 64 MiB at the most, is for the log; what the limit is sensible for begins at 16 MiB.
    pub budget_bytes: Option<u64>,
    /// How many pages the file may have; stands in for the size of the disk in tests.
    #[doc(hidden)]
    pub max_pages: Option<u32>,
    /// Small ones bring what large histories do into small tests.
    #[doc(hidden)]
    pub steps: Steps,
}

impl SqliteOptions {
    /// The defaults: four reads at the same time.
    pub fn new(directory: impl Into<PathBuf>) -> Self {
        SqliteOptions { directory: directory.into(), readers: 4, budget_bytes: None, max_pages: None, steps: Steps::default() }
    }
}

/// How much is done one by one before something larger begins.
#[doc(hidden)]
#[derive(Clone, Copy, Debug)]
pub struct Steps {
    /// How many deliveries gather before they go to their places: some milliseconds' work, and quick enough to look through when reading.
    pub gather: u32,
    /// At how many deliveries a list looks, besides those that it shows, before it asks an index.
    pub walk: u32,
}

impl Default for Steps {
    fn default() -> Self {
        Steps { gather: 4_096, walk: 4_096 }
    }
}
