//! Identifiers: UUIDv7 for everything shown to users, a sequence number for events, and the key that receivers deduplicate by.

use crate::time::Timestamp;
use aws_lc_rs::digest;
use serde::{Deserialize, Serialize};
use std::fmt;
use uuid::Uuid;

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(Uuid);

        impl $name {
            /// Wraps a UUID.
            pub const fn new(uuid: Uuid) -> Self {
                $name(uuid)
            }

            /// The UUID inside.
            pub const fn uuid(self) -> Uuid {
                self.0
            }

            /// The 16 bytes, in the order in which they sort by time of creation.
            pub const fn bytes(self) -> [u8; 16] {
                *self.0.as_bytes()
            }

            /// Reads the hyphenated form only, as it is printed; `None` for anything else.
            pub fn parse(text: &str) -> Option<Self> {
                if text.len() != 36 { return None; }
                Uuid::try_parse(text).ok().map($name)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0.as_hyphenated(), f)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{}({})", stringify!($name), self.0)
            }
        }
    )*};
}

ids! {
    /// Names an event.
    EventId;
    /// Names an endpoint.
    EndpointId;
    /// Names a subscription.
    SubscriptionId;
    /// Names a delivery: one event for one subscription.
    DeliveryId;
    /// Names an attempt: one HTTP exchange.
    AttemptId;
    /// Names a dead letter.
    DeadLetterId;
    /// Names a scheduled webhook.
    ScheduledId;
    /// Names a job.
    JobId;
    /// Names a batch.
    BatchId;
    /// Names an API key (never the secret itself).
    KeyId;
}

/// An event's place in its store, ascending from 1; shown as a decimal string by the Items API (its BIGSERIAL).
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventSeq(pub i64);

impl fmt::Display for EventSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for EventSeq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// The key that stays the same over every attempt, retry, replay and crash of one event for one subscription.
///
/// The first 32 hexadecimal characters of SHA-256 over `"<subscription uuid>:<event seq>"` (design, section 2).
pub fn idempotency_key(subscription: SubscriptionId, event: EventSeq) -> String {
    use std::io::Write;
    // 36 characters of UUID, a colon and at most 20 of an i64.
    let mut text = [0u8; 64];
    let mut rest = &mut text[..];
    let fits = write!(rest, "{subscription}:{event}").is_ok();
    debug_assert!(fits);
    let unused = rest.len();
    let used = text.len() - unused;
    let digest = digest::digest(&digest::SHA256, &text[..used]);
    crate::hex::encode(&digest.as_ref()[..16])
}

/// Makes UUIDv7 that ascend strictly, whatever the clock does.
///
/// 48 bits of milliseconds, then 74 bits: microseconds within the millisecond in the first 12 and randomness behind them.
/// If the clock stands still or steps back, the last id is counted up instead, so that ids made by one generator sort in the order of their making.
#[derive(Debug)]
pub struct IdGen {
    rng: fastrand::Rng,
    /// The last id without version and variant: 48 bits of time and 74 bits of tail.
    last: u128,
}

const TAIL_BITS: u32 = 74;

/// The latest time that an id has room for, in milliseconds since the epoch.
const MAX_MILLIS: u64 = (1 << 48) - 1;

impl IdGen {
    /// A generator whose random bits follow from `seed`; pass a seed from the operating system in production.
    pub fn new(seed: u64) -> Self {
        IdGen { rng: fastrand::Rng::with_seed(seed), last: 0 }
    }

    /// The next UUID, greater than every one before it.
    pub fn next(&mut self, now: Timestamp) -> Uuid {
        let micros = u64::try_from(now.as_micros()).unwrap_or(0);
        let (millis, within) = ((micros / 1_000).min(MAX_MILLIS), micros % 1_000);
        let fraction = u128::from(within * 4_096 / 1_000);
        let fresh = u128::from(millis) << TAIL_BITS | fraction << 62 | u128::from(self.rng.u64(..) >> 2);
        // A step of random size keeps neighbours of one instant from being guessed.
        self.last = if fresh > self.last { fresh } else { self.last + 1 + u128::from(self.rng.u16(..)) };
        let (time, tail) = (self.last >> TAIL_BITS, self.last & ((1 << TAIL_BITS) - 1));
        Uuid::from_u128(time << 80 | 0x7 << 76 | (tail >> 62) << 64 | 0b10 << 62 | tail & ((1 << 62) - 1))
    }
}

/// The least UUIDv7 made at `at` or later: a bound for walks over ids in order of time. Ids know times from 1970 until the year 10889,
/// and a time outside of that counts as the first or the last of them.
pub fn floor_at(at: Timestamp) -> Uuid {
    let millis = u128::try_from(at.as_millis()).unwrap_or(0).min(MAX_MILLIS.into());
    Uuid::from_u128(millis << 80 | 0x7 << 76 | 0b10 << 62)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_contracts_vector() {
        let binding = SubscriptionId::parse("0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001").expect("a uuid");
        assert_eq!(idempotency_key(binding, EventSeq(1042)), "8292d2c510f03785f5515d748574d8f6");
        assert_eq!(idempotency_key(binding, EventSeq(i64::MIN)).len(), 32);
    }

    #[test]
    fn only_the_printed_form_is_read() {
        assert!(DeliveryId::parse("0b8f6c1e2f4a4d7b9c335a1de0c7f001").is_none());
        assert!(DeliveryId::parse("{0b8f6c1e-2f4a-4d7b-9c33-5a1de0c7f001}").is_none());
        assert!(DeliveryId::parse("d-550e8400-e29b-41d4-a716-446655440000").is_none());
    }

    /// As a bound the latest instant lies behind everything, and the earliest before it.
    #[test]
    fn bounds_follow_time_to_its_ends() {
        let year_9999 = Timestamp::from_secs(253_402_300_799);
        let year_12000 = Timestamp::from_secs(316_516_000_000);
        assert!(floor_at(year_9999) > floor_at(Timestamp::from_secs(1_700_000_000)));
        assert!(floor_at(year_12000) > floor_at(year_9999) && floor_at(Timestamp::MAX) >= floor_at(year_12000));
        assert_eq!(floor_at(Timestamp::MIN), floor_at(Timestamp::from_secs(0)));
        assert!(IdGen::new(1).next(year_12000) >= floor_at(year_12000));
    }

    proptest! {
        #[test]
        fn ids_ascend_and_carry_their_time(seed: u64, steps in prop::collection::vec(-5_000i64..5_000, 1..200)) {
            let mut ids = IdGen::new(seed);
            let mut now = Timestamp::from_secs(1_700_000_000);
            let mut last = Uuid::nil();
            let mut latest = now;
            for step in steps {
                now = Timestamp::from_micros(now.as_micros() + step);
                latest = latest.max(now);
                let id = ids.next(now);
                prop_assert!(id > last);
                prop_assert_eq!(id.get_version_num(), 7);
                prop_assert_eq!(id.get_variant(), uuid::Variant::RFC4122);
                prop_assert!(id >= floor_at(now));
                prop_assert!(id < floor_at(latest.after(std::time::Duration::from_millis(2))));
                last = id;
            }
        }
    }
}
