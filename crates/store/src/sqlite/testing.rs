//! What tests do to an open store.

use super::SqliteStore;
use crate::batch::Urgency;
use postrider_core::ports::StoreError;

impl SqliteStore {
    /// Lets the file grow to this many pages: the disk of a test has got more room.
    #[doc(hidden)]
    pub async fn set_max_pages(&self, pages: u32) -> Result<(), StoreError> {
        self.write(1, Urgency::Now, move |s| s.set_max_pages(pages)).await
    }

    /// Makes the writer panic, for tests of what callers see then.
    #[doc(hidden)]
    pub async fn panic_in_writer(&self) -> Result<(), StoreError> {
        self.write(1, Urgency::Now, |_| -> rusqlite::Result<()> { panic!("a test asked for it") }).await
    }
}
