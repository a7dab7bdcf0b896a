//! Several engines over one store: which slots are this one's, and what they tell each other.
//!
//! | task | does |
//! |---|---|
//! | [`run`] | asks the store which slots are this engine's, takes them and leaves them |
//! | [`rescue`] | takes over what engines that have ended had claimed |
//! | [`watch()`], in `watch.rs` | looks for what waits in the store, in case nobody told |
//! | [`hear`], [`tell`] | news |
//!
//! News may be lost: every task looks by itself each second.

mod watch;

pub(crate) use watch::watch;

use crate::again;
use crate::cancel;
use crate::maintain;
use crate::shared::Shared;
use parking_lot::Mutex;
use postrider_core::id::{DeliveryId, EndpointId, EventId};
use postrider_core::ports::{Leaving, Limiters, News, Slot, SlotSet, StoreError, TakenSlot};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;
use uuid::Uuid;

/// How often everybody looks by itself for what others may have done.
pub(crate) const LOOK: Duration = Duration::from_secs(1);

/// How long news gather after some were told: what is told at once is one piece, however much is published.
const GATHER: Duration = Duration::from_millis(2);

/// How long endpoints gather with which the last exchange has ended: each piece of them is a commit, and makes all others look who has what.
const FREED: Duration = Duration::from_millis(10);

/// Deliveries to be hastened that wait to be told of, and such to be called off. What goes beyond waits for its time, and is sent once more.
const WISHES: usize = 4_096;

/// What the tasks here share.
#[derive(Default)]
pub(crate) struct Cluster {
    /// What the others are to be told, besides what the dispatcher knows.
    news: Mutex<Vec<News>>,
    tell: Notify,
    /// Who has which slots may have changed.
    survey: Notify,
    /// Somebody may have ended.
    rescue: Notify,
    /// All that waits in the store is to be looked at: slots came to this engine.
    walk: Notify,
    /// The same, a while after the last time: others say so, as often as they like.
    backlog: Notify,
    /// When others were last told that there is no room.
    cramped: Mutex<Option<Instant>>,
    /// Slots that were given up and of which the store does not know that yet. Held by whoever takes and leaves slots: one at a time.
    leaving: tokio::sync::Mutex<Leaving>,
}

impl Shared {
    /// Whether what has this id is this engine's to do.
    pub(crate) fn owns(&self, id: Uuid) -> bool {
        self.dispatcher.owned().contains(Slot::of(id))
    }

    /// Whether this engine does what is done once for all.
    pub(crate) fn leads(&self) -> bool {
        self.dispatcher.owned().contains(Slot::LEADER)
    }

    /// Whether an exchange may begin: others have not taken this engine for dead, and what comes of the exchange finds room.
    pub(crate) fn is_open(&self) -> bool {
        self.settler.has_room() && self.store.may_act()
    }

    /// There is something to do for whoever has this slot.
    pub(crate) fn work(&self, slot: Slot, wake: &Notify) {
        wake.notify_one();
        if !self.dispatcher.owned().contains(slot) {
            self.tell(News::Work);
        }
    }

    /// The store has refused new work for want of room: whoever makes room is to look, and is told so once in a while.
    pub(crate) fn make_room(&self) {
        self.full.notify_one();
        if self.leads() {
            return;
        }
        let mut told = self.cluster.cramped.lock();
        if told.is_none_or(|at| at.elapsed() >= LOOK) {
            *told = Some(Instant::now());
            drop(told);
            self.work(Slot::LEADER, &self.full);
        }
    }

    /// An event has a fan-out to go on with.
    pub(crate) fn carry_on(&self, event: EventId) {
        self.work(Slot::of(event.uuid()), &self.fan_out);
    }

    /// Tells the others, if there are any, soon.
    pub(crate) fn tell(&self, news: News) {
        if self.store.is_shared() {
            self.cluster.gather(news);
        }
    }

    /// Waits for something; where others share the store, no longer than [`LOOK`].
    pub(crate) async fn or_look(&self, something: impl Future<Output = ()>) {
        if self.store.is_shared() {
            // Either way it is looked.
            _ = tokio::time::timeout(LOOK, something).await;
        } else {
            something.await;
        }
    }
}

impl Cluster {
    fn gather(&self, new: News) {
        let mut news = self.news.lock();
        match new {
            News::Hasten(more) => match news.iter_mut().find_map(hastened) {
                Some(there) => there.extend(more.into_iter().take(WISHES.saturating_sub(there.len()))),
                None => news.push(News::Hasten(more)),
            },
            News::CallOff(more) => match news.iter_mut().find_map(called_off) {
                Some(there) => there.extend(more.into_iter().take(WISHES.saturating_sub(there.len()))),
                None => news.push(News::CallOff(more)),
            },
            new if news.contains(&new) => {}
            new => news.push(new),
        }
        drop(news);
        self.tell.notify_one();
    }
}

fn hastened(news: &mut News) -> Option<&mut Vec<(DeliveryId, EndpointId)>> {
    if let News::Hasten(there) = news { Some(there) } else { None }
}

fn called_off(news: &mut News) -> Option<&mut Vec<(DeliveryId, EndpointId)>> {
    if let News::CallOff(there) = news { Some(there) } else { None }
}

/// Takes the slots that fall to this engine, before anything is sent, and makes the others leave theirs.
pub(crate) async fn join(shared: &Arc<Shared>) -> Result<(), StoreError> {
    round(shared).await?;
    shared.tell(News::Members);
    Ok(())
}

/// Takes and leaves slots for as long as the engine lives. Once it is stopped it leaves them, so that others go on at once.
pub(crate) async fn run(shared: Arc<Shared>) {
    loop {
        let was_stopping = shared.is_stopping();
        let result = round(&shared).await;
        // It may act again.
        shared.dispatcher.wake(&shared);
        let is_well = result.is_ok();
        if let Err(error) = result {
            tracing::warn!(%error, cause = error.cause, "it cannot be asked for the moment which endpoints are this node's");
        }
        tokio::select! {
            biased;
            () = shared.stopped(), if !was_stopping => {}
            // However much there is to do: what fails is not tried at once again.
            () = shared.cluster.survey.notified(), if is_well => {}
            // Those that end at about the same time are told of in one piece.
            () = shared.dispatcher.freed.notified(), if is_well => tokio::time::sleep(FREED).await,
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

/// One look at the slots. What was given up is told to the store before anything is asked of it: it must know what is left of the limiters.
async fn round(shared: &Arc<Shared>) -> Result<(), StoreError> {
    let mut leaving = shared.cluster.leaving.lock().await;
    if shared.is_stopping() {
        disown(shared, &mut leaving, shared.dispatcher.owned());
    }
    leave(shared, &mut leaving).await?;
    free(shared).await?;
    if shared.is_stopping() {
        return Ok(());
    }
    let known = shared.dispatcher.owned();
    let mut found = shared.store.survey(known).await?;
    let lost = known.without(&found.owned);
    if !lost.is_empty() {
        // It was taken for dead meanwhile. Whoever has them now knows nothing of what is left of the limiters, and need not be told.
        tracing::warn!(slots = lost.len(), "endpoints of this node are others' now");
        shared.dispatcher.disown(shared, lost);
        shared.forget_failures_in(&lost);
    }
    let new = found.owned.without(&known);
    let told: SlotSet = found.taken.iter().map(|taken| taken.slot).collect();
    found.taken.retain(|taken| new.contains(taken.slot));
    found.taken.extend(new.without(&told).iter().map(|slot| TakenSlot { slot, limiters: Limiters::Unknown }));
    shared.forget_failures_in(&new);
    shared.dispatcher.own(shared, found.taken, found.busy);
    if !new.is_empty() {
        look_at_everything(shared);
    }
    disown(shared, &mut leaving, found.to_leave);
    leave(shared, &mut leaving).await
}

/// Slots came from somebody else, and with them what is done by whoever has them.
fn look_at_everything(shared: &Shared) {
    shared.cluster.walk.notify_one();
    for wake in [&shared.fan_out, &shared.scheduled, &shared.jobs, &shared.batches, &shared.erased, &shared.full, &shared.outbox] {
        wake.notify_one();
    }
}

fn disown(shared: &Arc<Shared>, leaving: &mut Leaving, slots: SlotSet) {
    if slots.is_empty() {
        return;
    }
    let Leaving { limiters, busy, .. } = shared.dispatcher.disown(shared, slots);
    shared.forget_failures_in(&slots);
    leaving.slots = leaving.slots.iter().chain(slots.iter()).collect();
    leaving.limiters.extend(limiters);
    leaving.busy.extend(busy);
}

/// Lets others have what was given up.
async fn leave(shared: &Shared, leaving: &mut Leaving) -> Result<(), StoreError> {
    if leaving.slots.is_empty() {
        return Ok(());
    }
    // The store may not have taken it the last time.
    leaving.busy.retain(|endpoint| shared.dispatcher.is_leaving(*endpoint));
    shared.store.leave_slots(leaving.clone()).await?;
    *leaving = Leaving::default();
    shared.tell(News::Members);
    Ok(())
}

/// Tells the store with which endpoints nothing is under way any more. After [`leave`]: it must know of them.
async fn free(shared: &Shared) -> Result<(), StoreError> {
    let freed = shared.dispatcher.take_freed();
    if freed.is_empty() {
        return Ok(());
    }
    if let Err(error) = shared.store.free(freed.clone()).await {
        shared.dispatcher.still_freed(freed);
        return Err(error);
    }
    shared.tell(News::Members);
    Ok(())
}

/// Leaves everything. Nothing is under way any more, and everything in memory was given back.
pub(crate) async fn leave_all(shared: &Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    shared.dispatcher.all_ended();
    let left = async {
        let mut leaving = shared.cluster.leaving.lock().await;
        disown(shared, &mut leaving, shared.dispatcher.owned());
        leave(shared, &mut leaving).await?;
        free(shared).await?;
        // Now, for nobody does it later; with where the last outcomes have left something to do.
        let mut news = untold(shared);
        for always in [News::Backlog, News::Members] {
            if !news.contains(&always) {
                news.insert(0, always);
            }
        }
        shared.store.tell(news).await
    };
    if let Err(error) = left.await {
        tracing::warn!(%error, cause = error.cause, "others could not be told that this node ends: they find out by themselves");
    }
}

/// Takes over what engines that have ended had claimed, until this one is stopped.
pub(crate) async fn rescue(shared: Arc<Shared>) {
    loop {
        if let Err(error) = maintain::rescue(&shared).await {
            tracing::warn!(%error, cause = error.cause, "what other nodes had under way cannot be taken over for the moment");
        }
        if !shared.goes_on_when(shared.or_look(shared.cluster.rescue.notified())).await {
            return;
        }
    }
}

/// Does what others tell.
pub(crate) async fn hear(shared: Arc<Shared>) {
    loop {
        match shared.store.news().await {
            News::Configuration => shared.configured.notify_one(),
            News::Members => members(&shared),
            News::Due(endpoints) => shared.dispatcher.hear(endpoints),
            News::Backlog => shared.cluster.backlog.notify_one(),
            News::Hasten(deliveries) => again::hasten_told(&shared, deliveries),
            News::CallOff(deliveries) => cancel::told(&shared, deliveries),
            News::Work => wake_workers(&shared),
            News::Outbox => shared.outbox.notify_one(),
            News::Missed => {
                shared.configured.notify_one();
                members(&shared);
                shared.cluster.backlog.notify_one();
                wake_workers(&shared);
                shared.outbox.notify_one();
            }
        }
    }
}

/// What one that has ended had no time to tell of is found by whoever takes slots of it. Others say that slots or endpoints are free, as often as
/// they are: that is no reason to look at all that waits.
fn members(shared: &Shared) {
    shared.cluster.survey.notify_one();
    shared.cluster.rescue.notify_one();
}

fn wake_workers(shared: &Shared) {
    for wake in [&shared.fan_out, &shared.scheduled, &shared.jobs, &shared.batches, &shared.full] {
        wake.notify_one();
    }
}

/// Tells the others what there is to tell. What cannot be told they find out by themselves.
pub(crate) async fn tell(shared: Arc<Shared>) {
    loop {
        tokio::select! {
            biased;
            () = shared.cluster.tell.notified() => {}
            () = shared.dispatcher.tell.notified() => {}
        }
        let news = untold(&shared);
        if news.is_empty() {
            continue;
        }
        if let Err(error) = shared.store.tell(news).await {
            tracing::debug!(%error, cause = error.cause, "other nodes cannot be told anything for the moment");
        }
        tokio::time::sleep(GATHER).await;
    }
}

/// What there is to tell: once.
fn untold(shared: &Shared) -> Vec<News> {
    let mut news = std::mem::take(&mut *shared.cluster.news.lock());
    let told = shared.dispatcher.take_untold();
    if told.more {
        news.push(News::Backlog);
    } else if !told.due.is_empty() {
        news.push(News::Due(told.due));
    }
    news
}
