//! Scheduled webhooks: a payload to ingest for a subscription at a later time, once or again and again.

use crate::event::Namespace;
use crate::id::{DeliveryId, ScheduledId, SubscriptionId};
use crate::recurrence::Recurrence;
use crate::time::Timestamp;
use bytes::Bytes;

/// One occurrence. When it has fired, the next one of its series is a row of its own.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Scheduled {
    /// Its id.
    pub id: ScheduledId,
    /// The tenant it belongs to.
    pub namespace: Namespace,
    /// What it will be delivered to.
    pub subscription: SubscriptionId,
    /// The bytes to deliver.
    pub payload: Bytes,
    /// When it is due.
    pub due_at: Timestamp,
    /// How often it comes again.
    pub recurrence: Recurrence,
    /// When the series began: the day of the month that a monthly one aims for.
    pub anchor: Timestamp,
    /// What became of it.
    pub status: ScheduledStatus,
    /// When it was made.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// What became of an occurrence.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ScheduledStatus {
    /// It waits for its time.
    Pending,
    /// It was turned into this delivery.
    Completed(DeliveryId),
    /// Its subscription was gone when its time came.
    Failed,
}
