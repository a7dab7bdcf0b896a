//! Dead letters: deliveries that ended without success and have been neither replayed nor dismissed.

use crate::error::ErrorCode;
use crate::id::{DeadLetterId, DeliveryId};
use crate::time::Timestamp;

/// A delivery that ended without success. At most one open one exists per delivery. It stays open while the delivery is made again where
/// the replay keeps it, and is closed by how that ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its id.
    pub id: DeadLetterId,
    /// The delivery that ended.
    pub delivery: DeliveryId,
    /// Why, for programs.
    pub code: ErrorCode,
    /// Why, for people.
    pub message: String,
    /// Attempts made by then.
    pub attempts: u32,
    /// When it ended.
    pub failed_at: Timestamp,
    /// What has been done about it.
    pub status: DeadLetterStatus,
}

/// What has been done about a dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DeadLetterStatus {
    /// Nothing yet.
    Open,
    /// It was retried as this delivery.
    Retried(DeliveryId),
    /// A person dismissed it.
    Dismissed,
}
