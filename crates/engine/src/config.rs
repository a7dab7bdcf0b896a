//! What can be set about the engine, and the bounds that keep its memory in check.

use crate::keys::Keys;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

/// Everything that the engine is given besides its ports.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// Where ids and jitter come from; take it from the operating system in production.
    pub seed: u64,
    /// Opens and seals secrets.
    pub keys: Arc<Keys>,
    /// Bounds.
    pub limits: Limits,
    /// How long things are kept.
    pub retention: Retention,
    /// Disables an endpoint once so many of its deliveries have failed for good, one after the other (Items contract, section 11); `None` never does.
    /// They are counted in memory, by the engine whose the endpoint is, from when it is.
    pub disable_after_dead: Option<NonZeroU32>,
    /// The `User-Agent` of deliveries.
    pub user_agent: String,
}

/// Bounds on memory and concurrency. Promise 7: none of these depends on the backlog.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Exchanges at the same time, over all endpoints. Each costs a socket and about 20 KiB. Endpoints whose last exchange took more than a
    /// second have half of them together, at least one.
    pub exchanges: usize,
    /// Exchanges at the same time with one endpoint that answers well, where the endpoint sets no own number.
    pub exchanges_per_endpoint: u32,
    /// Deliveries in memory, over all endpoints.
    pub held: usize,
    /// Their payloads, in bytes.
    pub held_bytes: usize,
    /// Deliveries in memory for one endpoint.
    pub held_per_endpoint: usize,
    /// Outcomes that wait to be stored; beyond this no new exchange begins.
    pub unsettled: usize,
    /// Publishes that wait to be stored; beyond this publishers are told to come back.
    pub publishing: usize,
    /// Their payloads, in bytes.
    pub publishing_bytes: usize,
    /// The largest payload that is taken from the outbox, in bytes. The others were measured when they came.
    pub payload: usize,
    /// Deliveries of one event that are written in one piece; larger fan-outs are written in slices of this size.
    pub fan_out_slice: usize,
    /// A retry due later than this is left to the store.
    pub near: Duration,
    /// An exchange that takes longer than this is recorded as under way, so that people see it and a crash leaves its trace.
    pub record_after: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            exchanges: 2_048,
            exchanges_per_endpoint: 32,
            held: 65_536,
            held_bytes: 64 << 20,
            held_per_endpoint: 8_192,
            unsettled: 8_192,
            publishing: 16_384,
            publishing_bytes: 64 << 20,
            payload: 64 << 20,
            fan_out_slice: 2_000,
            near: Duration::from_secs(60),
            record_after: Duration::from_millis(50),
        }
    }
}

/// How long things are kept.
#[derive(Clone, Copy, Debug)]
pub struct Retention {
    /// Attempts of subscriptions that were made through the Tasks API (its contract's delivery logs: 72 h).
    pub attempts: Duration,
    /// Ended deliveries of the others with their attempts, since they were last tried; `None` keeps them (Items contract, section 7).
    pub rows: Option<Duration>,
    /// Request and response bodies of attempts, where the attempts themselves are kept for longer (Items contract, section 7: 30 days).
    pub bodies: Duration,
    /// Ended deliveries of the Tasks API, and events once no delivery of theirs is left (30 days).
    pub events: Duration,
    /// Dead letters and scheduled webhooks that have been dealt with (30 days).
    pub closed: Duration,
    /// How long deliveries wait for a disabled endpoint before they become dead letters (72 h).
    pub parked: Duration,
    /// How often the store is pruned, besides at start (hourly).
    pub every: Duration,
}

impl Default for Retention {
    fn default() -> Self {
        const HOUR: u64 = 3_600;
        Retention {
            attempts: Duration::from_secs(72 * HOUR),
            rows: None,
            bodies: Duration::from_secs(30 * 24 * HOUR),
            events: Duration::from_secs(30 * 24 * HOUR),
            closed: Duration::from_secs(30 * 24 * HOUR),
            parked: Duration::from_secs(72 * HOUR),
            every: Duration::from_secs(HOUR),
        }
    }
}
