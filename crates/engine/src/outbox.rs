//! The outbox relay: what applications have committed through the database is published. One engine does that for all. How large its pieces are
//! where they fail: `portion.rs`.

mod portion;

use crate::cluster::LOOK;
use crate::maintain;
use crate::publish::{self, Handover, Publish, To};
use crate::repush;
use crate::series::Part;
use crate::shared::Shared;
use portion::{Next, Piece, Portion};
use postrider_core::event::{SchemaCheck, check_event_type};
use postrider_core::ports::{NewEvent, OutboxEntry, Published, Relay, Relayed, StoreError, StoreErrorKind};
use postrider_core::signal::is_reserved;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;

/// Their payloads, in bytes.
const GROUP_BYTES: u64 = 8 << 20;

/// After so long a piece takes no more: checks of payloads may take some tenths of a second each.
const GROUP_TIME: Duration = Duration::from_secs(1);

/// Entries of which one must be taken before another one is put aside that is not: some of them may have a fault of their own as well.
const WITNESSES: u32 = 32;

/// Refused entries forgotten in one piece.
const SLICE: u32 = 1_000;

/// How long to wait when the store cannot be read or written.
const RETRY: Duration = Duration::from_secs(1);

/// Relays what is in the outbox until the engine is stopped, as long as that is this engine's to do. A piece under way is seen to its end: what is
/// claimed in it is this engine's.
pub(crate) async fn run(shared: Arc<Shared>) {
    if !shared.store.is_shared() {
        return;
    }
    let (mut forget_at, mut portion) = (Instant::now(), Portion::default());
    while !shared.is_stopping() {
        if let Err(error) = relay(&shared, &mut portion).await {
            failed(&shared, &error);
            // However often there is news: what fails is not asked at once again.
            shared.goes_on_after(RETRY).await;
            continue;
        }
        if shared.leads() && Instant::now() >= forget_at {
            forget_at = Instant::now() + shared.config.retention.every;
            forget(&shared).await;
        }
        tokio::select! {
            biased;
            () = shared.stopped() => {}
            () = shared.outbox.notified() => {}
            () = tokio::time::sleep(LOOK) => {}
        }
    }
}

fn failed(shared: &Shared, error: &StoreError) {
    if error.kind == StoreErrorKind::OverBudget {
        // What cannot be relayed waits where it is.
        shared.full.notify_one();
    } else {
        tracing::error!(%error, cause = error.cause, "the outbox cannot be relayed for the moment");
    }
}

/// Relays piece by piece, until nothing is left or somebody else does it. A piece that fails is made smaller until it is one entry, which is put aside
/// if it keeps failing while the store takes others.
async fn relay(shared: &Arc<Shared>, portion: &mut Portion) -> Result<(), StoreError> {
    while shared.leads() && !shared.is_stopping() {
        let found = shared.store.outbox(portion.size(), GROUP_BYTES).await?;
        if found.is_empty() {
            return Ok(());
        }
        // What was configured before an application committed its event counts for that, whichever node was told.
        maintain::catch_up(shared).await?;
        let (entries, plans) = prepare(shared, found).await;
        let piece = Piece { first: entries.first().map(|(id, _)| *id), entries: entries.len() };
        let relayed = match shared.store.relay(entries).await {
            Ok(relayed) => relayed,
            Err(error) => {
                plans.into_iter().for_each(|plan| plan.dropped(shared));
                let id = match portion.failed(piece, error.kind) {
                    Next::Smaller => continue,
                    Next::Later => return Err(error),
                    Next::GiveUp(id) => id,
                };
                if !takes_others(shared, id).await? {
                    // Nothing proves that it is this one's fault: it waits, and so does what is behind it, which fails too or is not there.
                    return Err(error);
                }
                give_up(shared, id, &error).await?;
                portion.relayed();
                continue;
            }
        };
        portion.relayed();
        // Who led before may still be at it.
        let is_others = relayed.iter().all(|relayed| *relayed == Relayed::Gone);
        hand_over(shared, plans, relayed);
        if is_others {
            return Ok(());
        }
    }
    Ok(())
}

/// Whether the store takes an entry behind this one by the same way, by itself: only then it is that one's own fault that it is not taken, and not the
/// fault of what everybody writes. The one that is taken is published by that; the outbox promises no order.
async fn takes_others(shared: &Arc<Shared>, id: i64) -> Result<bool, StoreError> {
    shared.store.health().await?;
    // The first may be as large as any.
    let most = GROUP_BYTES.saturating_add(shared.config.limits.payload as u64);
    let found = shared.store.outbox(WITNESSES.saturating_add(1), most).await?;
    for entry in found.into_iter().skip_while(|entry| entry.id != id).skip(1) {
        let (entries, plans) = prepare(shared, vec![entry]).await;
        // To put one aside that cannot be an event proves nothing.
        if !matches!(entries[..], [(_, Relay::Publish(_))]) {
            continue;
        }
        match shared.store.relay(entries).await {
            Ok(relayed) => {
                let is_taken = relayed.iter().any(|relayed| matches!(relayed, Relayed::Published(_)));
                hand_over(shared, plans, relayed);
                return Ok(is_taken);
            }
            Err(error) => {
                plans.into_iter().for_each(|plan| plan.dropped(shared));
                if !portion::may_be_an_entrys_own(error.kind) {
                    return Err(error);
                }
            }
        }
    }
    Ok(false)
}

/// Puts an entry aside that the store does not take: the others must not wait for it.
async fn give_up(shared: &Shared, id: i64, error: &StoreError) -> Result<(), StoreError> {
    tracing::error!(id, %error, cause = error.cause, "an event in the outbox cannot be stored: it is put aside, the others go on");
    let why = String::from("the database failed to store this event although it stores others: see the server's log");
    shared.store.relay(vec![(id, Relay::Refuse(why))]).await.map(drop)
}

/// What is to follow when an entry has been relayed.
enum Plan {
    Publish(Handover),
    Refuse(i64, String),
}

impl Plan {
    /// Nothing is to follow.
    fn dropped(self, shared: &Shared) {
        if let Plan::Publish(handover) = self {
            handover.dropped(shared);
        }
    }
}

/// Makes events of the first entries, as many as are stored in one piece.
async fn prepare(shared: &Shared, found: Vec<OutboxEntry>) -> (Vec<(i64, Relay)>, Vec<Plan>) {
    let (began, mut rows) = (shared.now(), 0);
    let (mut entries, mut plans) = (Vec::with_capacity(found.len()), Vec::with_capacity(found.len()));
    for entry in found {
        if !entries.is_empty() && (rows >= shared.config.limits.fan_out_slice || shared.now().since(began) >= GROUP_TIME) {
            break;
        }
        let id = entry.id;
        match event(shared, entry).await {
            Ok((event, handover)) => {
                rows += 1 + event.deliveries.len();
                entries.push((id, Relay::Publish(Box::new(event))));
                plans.push(Plan::Publish(handover));
            }
            Err(why) => {
                entries.push((id, Relay::Refuse(why.clone())));
                plans.push(Plan::Refuse(id, why));
            }
        }
    }
    (entries, plans)
}

/// The event that an entry becomes, from now on; or why it cannot be one. What does not depend on what is configured was looked at when the
/// application published it.
async fn event(shared: &Shared, entry: OutboxEntry) -> Result<(NewEvent, Handover), String> {
    let most = shared.config.limits.payload;
    if entry.payload.len() > most {
        return Err(format!("the payload is larger than {most} bytes, which is what max_body allows"));
    }
    check_event_type(&entry.event_type).map_err(|rule| rule.to_string())?;
    if is_reserved(&entry.event_type) {
        return Err(String::from("event types that begin with delivery. are those of Postrider's own events: choose another beginning"));
    }
    let schema_check = check(shared, &entry).await?;
    let OutboxEntry { id: _, namespace, event_type, payload, labels, metadata, idempotency_key, ttl } = entry;
    let publish = Publish { namespace, event_type, payload, labels, metadata, idempotency_key, ttl, schema_check, to: To::Matching };
    publish::prepare(shared, publish).map_err(|error| error.to_string())
}

/// Holds the payload against the schema of its type, if it has one; an error says that such events are not taken.
async fn check(shared: &Shared, entry: &OutboxEntry) -> Result<SchemaCheck, String> {
    let found = shared.routes.load().type_of(&entry.namespace, &entry.event_type).cloned();
    match found {
        None => Ok(SchemaCheck::Unchecked),
        Some(known) if !known.active => Err(format!("the event type {:?} is not active", entry.event_type)),
        Some(known) => Ok(repush::check(shared, &entry.namespace, &known, &entry.payload).await.check),
    }
}

fn hand_over(shared: &Arc<Shared>, plans: Vec<Plan>, relayed: Vec<Relayed>) {
    let (mut jobs, mut part) = (Vec::with_capacity(plans.len()), Part::default());
    for (plan, relayed) in plans.into_iter().zip(relayed) {
        match (plan, relayed) {
            (Plan::Publish(handover), Relayed::Published(Published::Stored(seq))) => {
                handover.count(&mut part);
                jobs.append(&mut handover.stored(shared, seq));
            }
            (Plan::Refuse(id, why), Relayed::Refused) => {
                tracing::warn!(id, why, "an event in the outbox is refused and put aside");
            }
            (plan, _) => plan.dropped(shared),
        }
    }
    shared.series.add(shared.now(), part);
    shared.dispatcher.push(shared, jobs);
}

/// Forgets what was refused as long ago as dead letters are kept that have been dealt with.
async fn forget(shared: &Shared) {
    while !shared.is_stopping() {
        match shared.store.forget_refused(shared.config.retention.closed, SLICE).await {
            Ok(forgotten) if forgotten >= u64::from(SLICE) => {}
            Ok(_) => return,
            Err(error) => {
                tracing::warn!(%error, cause = error.cause, "what was refused in the outbox is not forgotten for the moment");
                return;
            }
        }
    }
}
