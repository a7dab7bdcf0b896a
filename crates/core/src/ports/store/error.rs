//! What can be wrong with a store.

/// Why the store did not do what it was asked. The text says how to mend it; the cause is for the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind}")]
pub struct StoreError {
    /// What is wrong.
    pub kind: StoreErrorKind,
    /// What the database said.
    pub cause: String,
}

/// Kinds of [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreErrorKind {
    /// No room.
    #[error("the disk that holds the data directory is full: free some space, nothing else is needed")]
    Full,
    /// The budget that it was given is used up but for what must be stored.
    #[error(
        "the store has grown to its limit (--max-store-bytes): what is old is being removed to make room, so try again in a moment; where that does not help, raise the limit"
    )]
    OverBudget,
    /// It cannot be written.
    #[error("the database cannot be written: check the permissions of the data directory and that its disk is not mounted read-only")]
    ReadOnly,
    /// It is damaged.
    #[error("the database is damaged: stop the server and restore the data directory from a backup")]
    Corrupt,
    /// It is closing or gone for the moment.
    #[error("the database is not available at the moment: try again")]
    Unavailable,
    /// Something that should not happen.
    #[error("the database failed: see the server's log")]
    Internal,
}
