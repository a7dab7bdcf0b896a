//! Room: a store that nears its budget loses what has ended before it is too old, the oldest first.
//!
//! First the bodies of attempts go, then deliveries that have ended with their attempts and their events. What is still to be delivered and
//! open dead letters stay whatever that means for the room.

use crate::retain::{by_no_age, slice};
use crate::shared::Shared;
use postrider_core::ports::{PruneRequest, StoreError, Usage};
use postrider_core::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// How often the room is looked at. At 10,000 events of 1 KiB a second that is 100 MiB, a hundredth of a budget of 10 GiB; and a publish that
/// is refused has it looked at at once.
pub(crate) const LOOK: Duration = Duration::from_secs(10);

/// How often at the least, where all that is left has to be kept.
pub(crate) const RARELY: Duration = Duration::from_secs(60);

/// From this share of the budget on room is made, in percent: well before new work is refused, which is from 93 on.
const HIGH_WATER: u64 = 85;

/// Until this share is reached, in percent: far enough below the other one that it is not done all the time.
const LOW_WATER: u64 = 75;

/// Bounds in age are halved until they are shorter than this: then everything that has ended goes.
const YOUNGEST: Duration = Duration::from_secs(1);

/// Makes room if there is too little; answers whether there is enough now, `None` where the store has no budget. That there is not enough is
/// said once: not if there was not enough the time before.
pub(crate) async fn make(shared: &Arc<Shared>, was_roomy: bool) -> Result<Option<bool>, StoreError> {
    let before = shared.store.usage().await?;
    let Some(budget) = before.budget_bytes else { return Ok(None) };
    if before.used_bytes <= share(budget, HIGH_WATER) {
        return Ok(Some(true));
    }
    let mut removed = Removed::default();
    for request in requests(shared) {
        loop {
            let pruned = slice(shared, request).await?;
            if pruned.busy {
                // Who led before is still at it, and makes room too.
                return Ok(Some(was_roomy));
            }
            removed.bodies += pruned.bodies;
            removed.deliveries += pruned.deliveries;
            removed.events += pruned.events;
            let now = shared.store.usage().await?;
            if now.used_bytes <= share(budget, LOW_WATER) {
                removed.tell(before, now, budget);
                return Ok(Some(true));
            }
            if !pruned.more {
                break;
            }
        }
    }
    let now = shared.store.usage().await?;
    let is_roomy = now.used_bytes <= share(budget, HIGH_WATER);
    if is_roomy || was_roomy {
        removed.tell(before, now, budget);
    }
    Ok(Some(is_roomy))
}

fn share(budget: u64, percent: u64) -> u64 {
    budget / 100 * percent
}

/// What to remove, in this order, until there is room.
fn requests(shared: &Shared) -> impl Iterator<Item = PruneRequest> {
    let (now, keep, base) = (shared.now(), shared.config.retention, by_no_age(shared));
    let bodies = bounds(now, keep.bodies).map(move |before| PruneRequest { bodies_before: before, ..base });
    let ended = bounds(now, keep.events).map(move |before| PruneRequest {
        rows_before: before,
        events_before: before,
        closed_before: before,
        ..base
    });
    bodies.chain(ended)
}

/// Ever later bounds, so that the oldest goes first.
fn bounds(now: Timestamp, keep: Duration) -> impl Iterator<Item = Timestamp> {
    let ages = std::iter::successors(Some(keep), |age| (*age > YOUNGEST).then(|| *age / 2));
    ages.map(move |age| if age > YOUNGEST { now.before(age) } else { now })
}

/// What was removed since it began.
#[derive(Debug, Default)]
struct Removed {
    bodies: u64,
    deliveries: u64,
    events: u64,
}

impl Removed {
    /// Tells people once for each time that room was made, or was to be made.
    fn tell(&self, before: Usage, after: Usage, budget: u64) {
        let Removed { bodies, deliveries, events } = *self;
        let (was, is) = (before.used_bytes, after.used_bytes);
        if is <= share(budget, HIGH_WATER) {
            tracing::warn!(was, is, budget, bodies, deliveries, events, "the store was nearly full: what had ended went before its time");
        } else {
            tracing::error!(
                was,
                is,
                budget,
                bodies,
                deliveries,
                events,
                "the store is nearly full of what has to be kept: deliveries that wait and open dead letters; raise --max-store-bytes, or \
                 retry or dismiss dead letters"
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bounds_come_closer_until_they_are_now() {
        let now = Timestamp::from_secs(1_000_000);
        let all: Vec<Timestamp> = bounds(now, Duration::from_secs(8)).collect();
        assert_eq!(all, [8, 4, 2, 0].map(|age| now.before(Duration::from_secs(age))));
        assert_eq!(bounds(now, Duration::ZERO).collect::<Vec<_>>(), [now]);
        assert!(bounds(now, Duration::from_secs(3_650 * 86_400)).count() < 40);
    }
}
