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
    #[error("the store's disk is full: free some space, nothing else is needed")]
    Full,
    /// The budget that it was given is used up but for what must be stored.
    #[error(
        "the store has grown to its limit (--max-store-bytes): what is old is being removed to make room, so try again in a moment; where that does not help, raise the limit"
    )]
    OverBudget,
    /// It cannot be written.
    #[error("the store cannot be written: see the server's log for whether it lacks a right or its disk or database is read-only")]
    ReadOnly,
    /// It is damaged.
    #[error("the store is damaged: stop the server and restore its data from a backup")]
    Corrupt,
    /// It is closing or gone for the moment.
    #[error("the database is not available at the moment: try again")]
    Unavailable,
    /// It was lost sight of while it stored something, and nobody could find out whether that is stored. Of all kinds only this one does not
    /// mean that nothing is.
    #[error(
        "the database was lost sight of before it was known whether this is stored: look whether it is, or send it again, with the same idempotency key if it has one"
    )]
    Unknown,
    /// Something that should not happen.
    #[error("the database failed: see the server's log")]
    Internal,
}
