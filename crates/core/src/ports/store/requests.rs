//! Requests of an API that carry a key of the client's, so that one that comes again is answered and not done again.

use crate::time::Timestamp;
use bytes::Bytes;
use std::time::Duration;
use uuid::Uuid;

/// How long a key is remembered after it was first used (Items contract, section 6). Older ones are new again, whether or not retention has
/// removed them.
pub const REQUEST_MEMORY: Duration = Duration::from_secs(24 * 60 * 60);

/// How many answers are kept of one owner; beyond that the oldest go. Their requests stay known: one that comes again is done again, with the
/// seed that it had, so that what it made is found and not made twice. More than a request a second for the whole of [`REQUEST_MEMORY`].
pub const MAX_ANSWERS: u64 = 100_000;

/// How large they may be together, headers and bodies, in bytes: the disk that one owner's keys may take.
pub const MAX_ANSWER_BYTES: u64 = 32 << 20;

/// What names a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct RequestKey {
    /// Who asks: the id of the API key. What is kept is bounded for each owner, see [`MAX_ANSWERS`].
    pub owner: String,
    /// For what: the method and the path. Keys of different owners or scopes have nothing to do with each other.
    pub scope: String,
    /// The client's key, as it came.
    pub key: String,
}

/// A request that is about to be done.
#[derive(Clone, Debug)]
pub struct NewRequest {
    /// What names it.
    pub key: RequestKey,
    /// A digest of what it asks for: the same key with another one is a mistake of the client's.
    pub fingerprint: [u8; 32],
    /// What the ids of everything that it makes are to follow from; kept if the request is done for the first time.
    pub seed: Uuid,
    /// When it came.
    pub at: Timestamp,
}

impl NewRequest {
    /// Whether a key that was first used then is forgotten when this request comes.
    pub fn forgets(&self, first_used: Timestamp) -> bool {
        self.at.since(first_used) >= REQUEST_MEMORY
    }
}

/// What is to be done with a [`NewRequest`]. The very same one, with its seed, may be asked about again by an engine that got no answer: nobody
/// else has that seed, so that what is being done with it is new still.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Begun {
    /// Do it, and end it with its answer.
    New {
        /// What the ids of everything that it makes follow from.
        seed: Uuid,
        /// Whether it was begun before, with this seed: some of it, or all, may have been done. A process that is gone did not end it, or it
        /// ended without an answer that is kept.
        again: bool,
    },
    /// It is being done.
    Running,
    /// The key was used for something else.
    Mismatch,
    /// It was done, and this is the answer.
    Done(StoredResponse),
}

/// An answer, to be given again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoredResponse {
    /// The HTTP status.
    pub status: u16,
    /// The headers that belong to it, in their order; names may repeat.
    pub headers: Vec<(String, String)>,
    /// The body.
    pub body: Bytes,
}

impl StoredResponse {
    /// What counts against [`MAX_ANSWER_BYTES`].
    pub fn size(&self) -> u64 {
        let headers: usize = self.headers.iter().map(|(name, value)| name.len() + value.len()).sum();
        (headers + self.body.len()) as u64
    }
}
