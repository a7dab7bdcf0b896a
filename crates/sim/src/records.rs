//! What the world remembers over crashes, for the checkers to judge.

use bytes::Bytes;
use postrider_core::attempt::{Attempt, HeadBlock, Phases, Verdict, judge};
use postrider_core::deadletter::DeadLetter;
use postrider_core::delivery::{Delivery, Progress};
use postrider_core::endpoint::Endpoint;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::{DeliveryId, EndpointId, EventSeq, ScheduledId, SubscriptionId};
use postrider_core::ports::{Exchange, Fault, FaultKind, Response};
use postrider_core::schedule::Scheduled;
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use postrider_engine::{Receipt, To};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

/// Something that a publisher wants to be known. Its payload is unique, so that it is recognised wherever it turns up.
#[derive(Clone, Debug)]
pub(crate) struct Fact {
    pub(crate) namespace: Namespace,
    pub(crate) event_type: Arc<str>,
    pub(crate) payload: Bytes,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) key: Option<String>,
    pub(crate) ttl: Option<Duration>,
    pub(crate) to: To,
    /// Every try to publish it.
    pub(crate) calls: Vec<Call>,
}

/// One try to publish a fact.
#[derive(Clone, Debug)]
pub(crate) struct Call {
    pub(crate) at: Timestamp,
    /// Subscriptions that must get it, by the configuration of that moment.
    pub(crate) expected: BTreeSet<SubscriptionId>,
    /// Subscriptions that want it and are skipped.
    pub(crate) skipped: BTreeSet<SubscriptionId>,
    pub(crate) outcome: CallOutcome,
}

/// What the publisher was told.
#[derive(Clone, Debug)]
pub(crate) enum CallOutcome {
    /// Nothing (yet): it went away, or the process ended first.
    Unknown,
    /// It is on disk.
    Acknowledged(Receipt),
    /// Nothing of it is stored.
    Refused,
}

/// One HTTP exchange, as the network saw it.
#[derive(Clone, Debug)]
pub(crate) struct Exchanged {
    pub(crate) life: usize,
    /// The number of the process that made it.
    pub(crate) by: usize,
    pub(crate) delivery: DeliveryId,
    pub(crate) event: String,
    pub(crate) number: u32,
    pub(crate) key: String,
    pub(crate) body: Bytes,
    pub(crate) began: Timestamp,
    /// When the receiver had the request.
    pub(crate) received: Option<Timestamp>,
    /// What the engine got to see, and when; `None` if it ended first.
    pub(crate) result: Option<(Timestamp, Result<Answer, FaultKind>)>,
    /// When the engine broke it off, if it did.
    pub(crate) cut: Option<Timestamp>,
}

/// What the receiver answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) retry_after: Option<Duration>,
}

impl Exchanged {
    /// What the engine must make of it, and when it ended; `None` if it never did.
    pub(crate) fn verdict(&self, origin: Origin) -> Option<(Timestamp, Verdict)> {
        let (at, result) = self.result?;
        let result = result
            .map(|a| Response {
                status: a.status,
                retry_after: a.retry_after,
                head: HeadBlock::default(),
                body: Bytes::new(),
                truncated: false,
            })
            .map_err(|kind| Fault { kind, message: String::new() });
        Some((at, judge(origin, &[], &Exchange { result, phases: Phases::default() })))
    }

    /// Whether the engine knows that the receiver took it.
    pub(crate) fn is_success(&self) -> bool {
        matches!(&self.result, Some((_, Ok(answer))) if (200..300).contains(&answer.status))
    }
}

/// What somebody made again.
#[derive(Clone, Debug, Default)]
pub(crate) struct Replays {
    /// Deliveries that went back to pending, in which life and when.
    pub(crate) again: Vec<(DeliveryId, (usize, Timestamp))>,
    /// Of these, the ones whose dead letters were kept.
    pub(crate) keeping: BTreeSet<DeliveryId>,
    /// Deliveries that were made from dead letters.
    pub(crate) anew: BTreeSet<DeliveryId>,
}

/// What retention removed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Removed {
    pub(crate) events: Vec<Arc<Event>>,
    pub(crate) deliveries: BTreeMap<DeliveryId, Delivery>,
    pub(crate) attempts: BTreeMap<(DeliveryId, u32), Attempt>,
    pub(crate) dead_letters: Vec<DeadLetter>,
    pub(crate) scheduled: Vec<Scheduled>,
    pub(crate) events_by_key: BTreeSet<(Namespace, String)>,
    pub(crate) skipped: BTreeSet<EventSeq>,
    pub(crate) endpoints: BTreeMap<EndpointId, Endpoint>,
    pub(crate) subscriptions: BTreeMap<SubscriptionId, Subscription>,
}

/// The store when a life ended.
#[derive(Clone, Debug)]
pub(crate) struct EndOfLife {
    /// Whether the engine could settle everything before.
    pub(crate) clean: bool,
    pub(crate) progress: BTreeMap<DeliveryId, Progress>,
}

/// A scheduled webhook that somebody was told is stored.
#[derive(Clone, Debug)]
pub(crate) struct Booking {
    pub(crate) id: ScheduledId,
    pub(crate) payload: Bytes,
    /// Whether it was (or may have been) taken back.
    pub(crate) taken_back: bool,
    pub(crate) acknowledged: bool,
}
