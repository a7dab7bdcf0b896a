//! What retention asks for and answers.

use crate::time::Timestamp;

/// What is past its retention.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PruneRequest {
    /// Attempts that began before this go, by their ids, to the millisecond: but for those of deliveries that [keep their
    /// rows](super::NewDelivery::keeps_rows). A store that drops history by pieces of days may let it wait, and events as well, until all of its piece
    /// may go: by a quarter of its age at the most, and where that is days.
    pub attempts_before: Timestamp,
    /// Of deliveries that keep their rows: ended ones go with all of their attempts if the newest of these began before this, and where there
    /// was none if they were made before it.
    pub rows_before: Timestamp,
    /// The bodies, request and response, of attempts that began before this go, by their ids, to the millisecond; the attempts stay.
    pub bodies_before: Timestamp,
    /// Of the other deliveries: ended ones made before this go with their attempts. And events, by their ids, once they have no delivery left, so
    /// that rows which are kept keep their event. Open dead letters keep their delivery, and so its event, for as long as their
    /// subscription is there.
    pub events_before: Timestamp,
    /// Closed dead letters, scheduled occurrences, jobs and batches that ended before this go, and keys revoked before it that
    /// [may be forgotten](crate::key::ApiKey::may_be_forgotten).
    pub closed_before: Timestamp,
    /// Keys of requests that were first used before this go, see [`REQUEST_MEMORY`](super::REQUEST_MEMORY), and batches that were made before
    /// this and never started, see [`BATCH_MEMORY`](super::BATCH_MEMORY).
    pub requests_before: Timestamp,
    /// Subscriptions and endpoints that were deleted before this go, once no delivery of theirs is left; an endpoint not before its
    /// subscriptions, unless it was erased. It lies a little in the past: what is being published meanwhile may still name them.
    pub configuration_before: Timestamp,
    /// At most about this many rows in one slice.
    pub limit: u32,
}

/// What a slice removed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Attempts.
    pub attempts: u64,
    /// Attempts that lost their bodies.
    pub bodies: u64,
    /// Deliveries; of erased endpoints also those that were still waiting.
    pub deliveries: u64,
    /// Events.
    pub events: u64,
    /// Closed dead letters, occurrences, jobs and batches, and open dead letters of erased endpoints.
    pub closed: u64,
    /// Keys of requests.
    pub requests: u64,
    /// Subscriptions, endpoints and keys. The configuration's version rises with them.
    pub configuration: u64,
    /// Whether another slice may find more.
    pub more: bool,
    /// Whether somebody else was at it, so that nothing was looked at: there is no knowing what is left, and it is to be asked again soon.
    pub busy: bool,
    /// Whether there are erased endpoints left of which something may have to be removed later: deliveries that are claimed now.
    pub erasing: bool,
}
