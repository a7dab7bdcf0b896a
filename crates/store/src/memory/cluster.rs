//! Several engines on one model: who has which slots, and what they tell each other.

use super::MemoryStore;
use super::data::Data;
use postrider_core::id::EndpointId;
use postrider_core::ports::*;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Who has a slot that is nobody's.
const NOBODY: u64 = 0;

/// The engines that share a store.
#[derive(Debug)]
pub(super) struct Cluster {
    /// Those that are alive, each with what it was told.
    alive: BTreeMap<u64, Inbox>,
    /// Those of them that have not asked for slots yet, or not since they left all they had.
    resigned: BTreeSet<u64>,
    slots: BTreeMap<Slot, SlotRow>,
    handovers: BTreeMap<EndpointId, Handover>,
    /// Nobody hears anything.
    is_deaf: bool,
}

#[derive(Debug, Default)]
struct Inbox {
    news: VecDeque<News>,
    wake: Arc<Notify>,
}

#[derive(Debug)]
struct SlotRow {
    owner: u64,
    /// Whether whoever had it before said what is left of its limiters.
    clean: bool,
}

/// What is left to know of an endpoint whose slot was left.
#[derive(Debug)]
struct Handover {
    slot: Slot,
    full_at: Option<Instant>,
    /// Who still has exchanges with it under way.
    holder: u64,
}

impl MemoryStore {
    /// Lets engines share the store: every [`MemoryStore::new_incarnation`] from now on is one beside the others, until it is
    /// [ended](MemoryStore::end). This handle itself is none of them.
    #[must_use]
    pub fn shared(self) -> MemoryStore {
        let slots = Slot::all().map(|slot| (slot, SlotRow { owner: NOBODY, clean: true })).collect();
        let (alive, resigned, handovers) = (BTreeMap::new(), BTreeSet::new(), BTreeMap::new());
        self.lock().cluster = Some(Cluster { alive, resigned, slots, handovers, is_deaf: false });
        self
    }

    /// Ends one of the engines that share the store: it left, or was taken for dead.
    pub fn end(&self, incarnation: u64) {
        if let Some(cluster) = &mut self.lock().cluster {
            cluster.alive.remove(&incarnation);
            cluster.tell(incarnation, &[News::Members]);
        }
    }

    /// From now on the engines that share the store hear nothing of each other, or hear again.
    pub fn lose_news(&self, lost: bool) {
        if let Some(cluster) = &mut self.lock().cluster {
            cluster.is_deaf = lost;
        }
    }

    /// Which slots an engine has, of those that share the store.
    pub fn slots_of(&self, incarnation: u64) -> SlotSet {
        let data = self.lock();
        let slots = data.cluster.iter().flat_map(|cluster| &cluster.slots);
        slots.filter(|(_, row)| row.owner == incarnation).map(|(slot, _)| *slot).collect()
    }
}

impl Cluster {
    /// Who should have a slot: of those that are alive and want any the one with the greatest weight for it.
    fn chosen(&self, slot: Slot) -> Option<u64> {
        self.alive.keys().copied().filter(|engine| !self.resigned.contains(engine)).max_by_key(|engine| (weight(slot, *engine), *engine))
    }

    fn is_alive(&self, engine: u64) -> bool {
        self.alive.contains_key(&engine)
    }

    fn survey(&mut self, me: u64, known: SlotSet) -> Survey {
        self.resigned.remove(&me);
        let mut survey = Survey::default();
        for slot in Slot::all() {
            let is_mine = self.chosen(slot) == Some(me);
            let Some(owner) = self.slots.get(&slot).map(|row| row.owner) else { continue };
            let is_free = !self.is_alive(owner);
            let Some(row) = self.slots.get_mut(&slot).filter(|_| owner == me || (is_mine && is_free)) else { continue };
            row.clean &= owner == NOBODY || owner == me;
            row.owner = me;
            let clean = row.clean;
            survey.owned.insert(slot);
            if !is_mine {
                survey.to_leave.insert(slot);
            }
            if !known.contains(slot) {
                let limiters = if clean { self.left(slot) } else { Limiters::Unknown };
                survey.taken.push(TakenSlot { slot, limiters });
            }
        }
        let is_busy = |of: &Handover| survey.owned.contains(of.slot) && of.holder != me && self.is_alive(of.holder);
        survey.busy = self.handovers.iter().filter(|(_, of)| is_busy(of)).map(|(endpoint, _)| *endpoint).collect();
        survey
    }

    /// What was left to know of a slot's limiters.
    fn left(&self, slot: Slot) -> Limiters {
        let now = Instant::now();
        let of_slot = self.handovers.iter().filter(|(_, of)| of.slot == slot);
        let full_in = |at: Instant| at.checked_duration_since(now).filter(|span| !span.is_zero());
        Limiters::Known(of_slot.filter_map(|(endpoint, of)| Some((*endpoint, of.full_at.and_then(full_in)?))).collect())
    }

    fn leave(&mut self, me: u64, leaving: Leaving) {
        let mine: SlotSet = leaving.slots.iter().filter(|slot| self.slots.get(slot).is_some_and(|row| row.owner == me)).collect();
        for slot in mine.iter() {
            self.slots.insert(slot, SlotRow { owner: NOBODY, clean: true });
        }
        if self.slots.values().all(|row| row.owner != me) {
            self.resigned.insert(me);
        }
        let alive: BTreeSet<u64> = self.alive.keys().copied().filter(|engine| *engine != me).collect();
        self.handovers.retain(|_, of| !mine.contains(of.slot) || alive.contains(&of.holder));
        self.handovers.values_mut().filter(|of| mine.contains(of.slot)).for_each(|of| of.full_at = None);
        let now = Instant::now();
        for (endpoint, span) in leaving.limiters {
            self.handover(endpoint, &mine, |of| of.full_at = Some(now + span));
        }
        for endpoint in leaving.busy {
            self.handover(endpoint, &mine, |of| of.holder = me);
        }
    }

    fn handover(&mut self, endpoint: EndpointId, left: &SlotSet, change: impl FnOnce(&mut Handover)) {
        let slot = Slot::of(endpoint.uuid());
        if left.contains(slot) {
            change(self.handovers.entry(endpoint).or_insert(Handover { slot, full_at: None, holder: NOBODY }));
        }
    }

    fn free(&mut self, me: u64, endpoints: &[EndpointId]) {
        for endpoint in endpoints {
            if let Some(of) = self.handovers.get_mut(endpoint).filter(|of| of.holder == me) {
                of.holder = NOBODY;
            }
        }
    }

    fn tell(&mut self, me: u64, news: &[News]) {
        if self.is_deaf {
            return;
        }
        for (_, inbox) in self.alive.iter_mut().filter(|(engine, _)| **engine != me) {
            inbox.news.extend(news.iter().cloned());
            inbox.wake.notify_one();
        }
    }
}

/// Bits without any order.
fn weight(slot: Slot, engine: u64) -> u64 {
    let n = engine.wrapping_mul(0x9e37_79b9_7f4a_7c15).wrapping_add(u64::from(slot.0));
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

impl Data {
    /// A new engine shares the store with the others, where it is shared.
    pub fn join(&mut self, engine: u64) {
        if let Some(cluster) = &mut self.cluster {
            cluster.alive.insert(engine, Inbox::default());
            cluster.resigned.insert(engine);
        }
    }

    /// Whether an engine has been taken for dead by those that share the store with it.
    pub fn has_ended(&self, engine: u64) -> bool {
        // The first handle is the test's own.
        engine > 1 && self.cluster.as_ref().is_some_and(|cluster| !cluster.is_alive(engine))
    }

    /// Whether what this engine has claimed is others'. Where engines follow each other, claims of newer ones are alive: then it is `me` who is dead.
    pub fn is_orphaned(&self, claim: u64, me: u64) -> bool {
        self.cluster.as_ref().map_or(claim < me, |cluster| !cluster.is_alive(claim))
    }

    fn backlog_after(&self, after: Option<EndpointId>, limit: u32) -> Vec<Backlog> {
        let behind = |backlog: &Backlog| after.is_none_or(|after| backlog.endpoint > after);
        self.backlog().into_iter().filter(behind).take(limit as usize).collect()
    }
}

impl OutboxStore for MemoryStore {}

impl ClusterStore for MemoryStore {
    fn is_shared(&self) -> bool {
        self.lock().cluster.is_some()
    }

    fn may_act(&self) -> bool {
        !self.lock().has_ended(self.incarnation())
    }

    fn survey(&self, known: SlotSet) -> BoxFuture<'_, Result<Survey, StoreError>> {
        let all = Survey { owned: SlotSet::ALL, ..Survey::default() };
        self.answer(move |data, me| data.cluster.as_mut().map_or(all, |cluster| cluster.survey(me, known)))
    }

    fn leave_slots(&self, leaving: Leaving) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, me| {
            if let Some(cluster) = &mut data.cluster {
                cluster.leave(me, leaving);
            }
        })
    }

    fn free(&self, endpoints: Vec<EndpointId>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, me| {
            if let Some(cluster) = &mut data.cluster {
                cluster.free(me, &endpoints);
            }
        })
    }

    fn news(&self) -> BoxFuture<'_, News> {
        Box::pin(async move {
            loop {
                let wake = {
                    let mut data = self.lock();
                    let inbox = data.cluster.as_mut().and_then(|cluster| cluster.alive.get_mut(&self.incarnation()));
                    match inbox.map(|inbox| (inbox.news.pop_front(), Arc::clone(&inbox.wake))) {
                        Some((Some(news), _)) => return news,
                        Some((None, wake)) => wake,
                        // Nobody tells it anything any more.
                        None => Arc::default(),
                    }
                };
                wake.notified().await;
            }
        })
    }

    fn tell(&self, news: Vec<News>) -> BoxFuture<'_, Result<(), StoreError>> {
        self.answer(move |data, me| {
            if let Some(cluster) = &mut data.cluster {
                cluster.tell(me, &news);
            }
        })
    }

    fn backlog_after(&self, after: Option<EndpointId>, limit: u32) -> BoxFuture<'_, Result<Vec<Backlog>, StoreError>> {
        self.answer(move |data, _| data.backlog_after(after, limit))
    }
}
