//! How engines share one store: who sends to which endpoints, and what they tell each other.
//!
//! Endpoints lie in [`SLOTS`] slots, and a slot is one engine's at a time, so that its endpoints' limits are kept by one who knows what it sends.
//! What an engine publishes for an endpoint of somebody else's it stores unclaimed, and tells the others.

use super::{Backlog, StoreError};
use crate::id::{DeliveryId, EndpointId};
use crate::ports::BoxFuture;
use std::collections::BTreeSet;
use std::time::Duration;
use uuid::Uuid;

/// How many slots there are: enough that a few dozen engines have about the same share, few enough to look at all of them every second.
pub const SLOTS: usize = 256;

/// A share of all endpoints, and of everything else that one engine does for all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Slot(pub u8);

impl Slot {
    /// Whoever has this one does what is done once for all engines: retention, schedules, the outbox.
    pub const LEADER: Slot = Slot(0);

    /// The slot of an endpoint, or of a piece of work with this id: always the same, in every release.
    pub fn of(id: Uuid) -> Slot {
        // FNV-1a of 32 bits, folded.
        let hash = id.as_bytes().iter().fold(0x811c_9dc5_u32, |hash, byte| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193));
        let folded = hash ^ (hash >> 16);
        let [low, high, ..] = folded.to_le_bytes();
        Slot(low ^ high)
    }

    /// All of them.
    pub fn all() -> impl Iterator<Item = Slot> {
        (0..=u8::MAX).map(Slot)
    }
}

/// A set of slots.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SlotSet([u64; SLOTS / 64]);

impl SlotSet {
    /// Every slot.
    pub const ALL: SlotSet = SlotSet([u64::MAX; SLOTS / 64]);

    /// Whether this slot is among them.
    pub fn contains(&self, slot: Slot) -> bool {
        self.0[usize::from(slot.0 / 64)] & (1 << (slot.0 % 64)) != 0
    }

    /// Puts a slot in.
    pub fn insert(&mut self, slot: Slot) {
        self.0[usize::from(slot.0 / 64)] |= 1 << (slot.0 % 64);
    }

    /// Takes a slot out.
    pub fn remove(&mut self, slot: Slot) {
        self.0[usize::from(slot.0 / 64)] &= !(1 << (slot.0 % 64));
    }

    /// Those that are not among these.
    pub fn without(&self, others: &SlotSet) -> SlotSet {
        SlotSet(std::array::from_fn(|n| self.0[n] & !others.0[n]))
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|word| *word == 0)
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// In ascending order.
    pub fn iter(&self) -> impl Iterator<Item = Slot> + '_ {
        Slot::all().filter(|slot| self.contains(*slot))
    }
}

impl FromIterator<Slot> for SlotSet {
    fn from_iter<I: IntoIterator<Item = Slot>>(slots: I) -> Self {
        let mut set = SlotSet::default();
        slots.into_iter().for_each(|slot| set.insert(slot));
        set
    }
}

/// What the store says about slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Survey {
    /// The slots that are this engine's.
    pub owned: SlotSet,
    /// Those of them that somebody else should have: to be [left](ClusterStore::leave_slots).
    pub to_leave: SlotSet,
    /// What is known of those that the engine did not know to be its own.
    pub taken: Vec<TakenSlot>,
    /// Endpoints in its slots with which an engine that had the slot before still has exchanges under way: nothing may be sent to them yet.
    pub busy: BTreeSet<EndpointId>,
}

/// A slot that came from somebody else.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakenSlot {
    /// Which one.
    pub slot: Slot,
    /// What was left of its endpoints' rate limits.
    pub limiters: Limiters,
}

/// What is known of the rate limits of a slot's endpoints.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Limiters {
    /// Nobody has sent to any of them before.
    Full,
    /// Who sent before has died: everything may be used up.
    Unknown,
    /// After how long those are full again that were not full; and all others are.
    Known(Vec<(EndpointId, Duration)>),
}

/// How an engine leaves slots.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Leaving {
    /// Which ones. The engine has stopped sending to their endpoints.
    pub slots: SlotSet,
    /// After how long the rate limits of their endpoints are full again, but for those that are full.
    pub limiters: Vec<(EndpointId, Duration)>,
    /// Endpoints with exchanges under way; each is [freed](ClusterStore::free) when the last of its has ended.
    pub busy: Vec<EndpointId>,
}

/// What engines tell each other. It may be lost: whoever listens looks by itself too, every second.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// The configuration was changed.
    Configuration,
    /// An engine came, left or was taken for dead; or slots or endpoints are free: who has which is to be asked.
    Members,
    /// Unclaimed deliveries of these endpoints are, or become, due.
    Due(Vec<EndpointId>),
    /// The same of more endpoints than are named one by one: what waits in the store is to be looked at.
    Backlog,
    /// Somebody wants these deliveries tried at once that another engine has in memory; each with its endpoint.
    Hasten(Vec<(DeliveryId, EndpointId)>),
    /// Somebody has called off these deliveries that another engine has in memory; each with its endpoint.
    CallOff(Vec<(DeliveryId, EndpointId)>),
    /// There is a fan-out, a schedule, a job or a batch to go on with, or no room for what is published.
    Work,
    /// Applications have published through the database.
    Outbox,
    /// Something may have been missed: everything is to be looked at.
    Missed,
}

/// What a store does for several engines. One that only one engine can use at a time has all of it from here: that engine owns every slot.
pub trait ClusterStore: Send + Sync {
    /// Whether others may use the store at the same time. If not, nothing of what follows is asked.
    fn is_shared(&self) -> bool {
        false
    }

    /// Whether this engine may begin what others must not do at the same time: it may not once others may have taken it for dead. Cheap: asked
    /// before every exchange. An engine asks 50 times a second while it has exchanges under way that must not overlap with others', and ends them then:
    /// the answer has to change by that much before anybody can take over.
    fn may_act(&self) -> bool {
        true
    }

    /// Takes the slots that are nobody's and fall to this engine, and says how it stands. `known` are those that the engine knows to be its own. To an
    /// engine that has not asked yet, none fall: it cannot serve them.
    fn survey(&self, known: SlotSet) -> BoxFuture<'_, Result<Survey, StoreError>> {
        _ = known;
        Box::pin(std::future::ready(Ok(Survey { owned: SlotSet::ALL, ..Survey::default() })))
    }

    /// Leaves slots: others may take them from now on. Those that are not this engine's any more stay as they are. To an engine that has left all
    /// it had, none fall until it asks for some again.
    fn leave_slots(&self, leaving: Leaving) -> BoxFuture<'_, Result<(), StoreError>> {
        _ = leaving;
        Box::pin(std::future::ready(Ok(())))
    }

    /// The last exchanges with these endpoints have ended that were under way when their slots were left.
    fn free(&self, endpoints: Vec<EndpointId>) -> BoxFuture<'_, Result<(), StoreError>> {
        _ = endpoints;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Waits for news of others, or of this engine's own telling. One waits at a time.
    fn news(&self) -> BoxFuture<'_, News> {
        Box::pin(std::future::pending())
    }

    /// Tells the others. What is told more than once may arrive once.
    fn tell(&self, news: Vec<News>) -> BoxFuture<'_, Result<(), StoreError>> {
        _ = news;
        Box::pin(std::future::ready(Ok(())))
    }

    /// Endpoints with unclaimed deliveries behind this one in the order of their ids, up to `limit`, and when the first of each is due.
    fn backlog_after(&self, after: Option<EndpointId>, limit: u32) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        _ = (after, limit);
        Box::pin(std::future::ready(Ok(Vec::new())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_spread_evenly_over_the_slots() {
        let mut counts = [0_u32; SLOTS];
        for n in 0..64_000_u128 {
            // As UUIDs of version 7 of one second: the same in front, a counter or random bits behind.
            let id = Uuid::from_u128(0x0190_0000_0000_7000_8000_0000_0000_0000 + n * 7);
            counts[usize::from(Slot::of(id).0)] += 1;
        }
        let (least, most) = (counts.iter().min().copied(), counts.iter().max().copied());
        assert!(least >= Some(125) && most <= Some(500), "{least:?} to {most:?} of 250");
    }

    /// Nodes of different releases must agree.
    #[test]
    fn a_slot_stays_what_it_is() {
        let of = |n: u128| Slot::of(Uuid::from_u128(n)).0;
        assert_eq!([of(0), of(1), of(0x0190_0000_0000_7000_8000_0000_0000_0000)], [28, 100, 93]);
    }

    #[test]
    fn a_set_is_a_set() {
        let mut set: SlotSet = [Slot(0), Slot(63), Slot(64), Slot(255)].into_iter().collect();
        assert_eq!((set.len(), set.contains(Slot(64)), set.contains(Slot(65))), (4, true, false));
        set.remove(Slot(63));
        assert_eq!(set.iter().collect::<Vec<_>>(), [Slot(0), Slot(64), Slot(255)]);
        assert!(SlotSet::default().is_empty() && !set.is_empty());
        assert_eq!(SlotSet::ALL.without(&set).len(), SLOTS - 3);
        assert_eq!(set.without(&SlotSet::ALL), SlotSet::default());
    }
}
