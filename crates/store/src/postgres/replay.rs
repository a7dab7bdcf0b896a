//! People's second thoughts: ended deliveries made again, dead letters dismissed.
//!
//! A batch is done in runs of which no two items concern the same delivery, each of them at once: see `again.rs`.

use super::again::{Changes, Letter, Locked, lock_open, waiting};
use super::claim::runs;
use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{event_row, id};
use super::tx::Tx;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::Delivery;
use postrider_core::event::Event;
use postrider_core::id::{DeadLetterId, DeliveryId, EventId, EventSeq};
use postrider_core::ports::{Claimed, Replay, ReplayTarget, Replayed};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use uuid::Uuid;

const DELIVERIES_OF: &str = "SELECT l.id, l.delivery FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL \
     (SELECT id, delivery FROM dead_letters WHERE id = u.id LIMIT 1) l";

const EVENTS: &str = concat!(
    "SELECT ",
    event_columns!(),
    " FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT * FROM events WHERE id = u.id LIMIT 1) e"
);

/// What is wanted again.
#[derive(Clone, Copy)]
enum What {
    /// This delivery, and whether its open dead letter stays open.
    Delivery(DeliveryId, bool),
    /// The delivery of an open dead letter, which is closed with it, and only with it.
    Letter(DeadLetterId),
    /// Another delivery like that of an open dead letter.
    AsNew(DeadLetterId, DeliveryId),
}

struct Wanted {
    what: What,
    claim: bool,
    at: Timestamp,
}

impl Wanted {
    fn letter(&self) -> Option<DeadLetterId> {
        match self.what {
            What::Delivery(..) => None,
            What::Letter(letter) | What::AsNew(letter, _) => Some(letter),
        }
    }

    /// The delivery that it is about. None where there is no such dead letter.
    fn delivery(&self, of: &BTreeMap<DeadLetterId, DeliveryId>) -> Option<DeliveryId> {
        match self.what {
            What::Delivery(delivery, _) => Some(delivery),
            What::Letter(letter) | What::AsNew(letter, _) => of.get(&letter).copied(),
        }
    }

    fn to_be_made(&self) -> Option<DeliveryId> {
        match self.what {
            What::AsNew(_, new) => Some(new),
            What::Delivery(..) | What::Letter(_) => None,
        }
    }
}

/// Makes ended deliveries again.
pub(super) async fn replay(tx: &mut Tx, replays: &[Replay]) -> Result<Vec<Replayed>> {
    let wanted = |replay: &Replay| {
        let what = match replay.target {
            ReplayTarget::Delivery(id) => What::Delivery(id, replay.keep_dead_letter),
            ReplayTarget::DeadLetterAsNew { dead_letter, new } => What::AsNew(dead_letter, new),
        };
        Wanted { what, claim: replay.claim, at: replay.at }
    };
    let wanted: Vec<Wanted> = replays.iter().map(wanted).collect();
    again(tx, &wanted).await
}

/// Makes the deliveries of open dead letters again, of those that rest. A dead letter is closed with its delivery, and only with it.
pub(super) async fn replay_letters(tx: &mut Tx, letters: &[DeadLetterId], at: Timestamp) -> Result<Vec<Replayed>> {
    let wanted: Vec<Wanted> = letters.iter().map(|letter| Wanted { what: What::Letter(*letter), claim: false, at }).collect();
    again(tx, &wanted).await
}

async fn again(tx: &mut Tx, wanted: &[Wanted]) -> Result<Vec<Replayed>> {
    let letters: Vec<Uuid> = wanted.iter().filter_map(Wanted::letter).map(DeadLetterId::uuid).collect();
    let of = deliveries_of(&tx.conn, &letters).await?;
    let keys = |wanted: &Wanted| [wanted.delivery(&of).map(DeliveryId::uuid), wanted.to_be_made().map(DeliveryId::uuid)];
    let mut answers = Vec::with_capacity(wanted.len());
    for run in runs(wanted, keys) {
        answers.extend(again_at_once(tx, run, &of).await?);
    }
    Ok(answers)
}

/// Whose dead letters these are: that never changes.
async fn deliveries_of(conn: &Conn, letters: &[Uuid]) -> Result<BTreeMap<DeadLetterId, DeliveryId>> {
    if letters.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = conn.rows(DELIVERIES_OF, &[&letters]).await?;
    rows.iter().map(|row| Ok((id(row, 0, DeadLetterId::new)?, id(row, 1, DeliveryId::new)?))).collect()
}

/// A delivery that is pending again, or for the first time.
struct Made {
    delivery: Delivery,
    event: EventId,
    claimed: bool,
}

async fn again_at_once(tx: &mut Tx, run: &[Wanted], of: &BTreeMap<DeadLetterId, DeliveryId>) -> Result<Vec<Replayed>> {
    let deliveries: Vec<DeliveryId> = run.iter().filter_map(|wanted| wanted.delivery(of)).collect();
    let letters: Vec<DeadLetterId> = run.iter().filter_map(Wanted::letter).collect();
    let mut locked = Locked::read(&tx.conn, &deliveries, &letters).await?;
    let mut changes = Changes::new(&mut tx.tallies, tx.incarnation);
    let made: Vec<std::result::Result<Made, Replayed>> = run.iter().map(|wanted| make(&mut locked, &mut changes, wanted)).collect();
    // Only what is handed over needs its event.
    let claimed: BTreeSet<Uuid> = made.iter().flatten().filter(|made| made.claimed).map(|made| made.event.uuid()).collect();
    let (_, events) = tokio::try_join!(biased; changes.store(&tx.conn), events(&tx.conn, claimed.into_iter().collect()))?;
    let told = |made: std::result::Result<Made, Replayed>| match made {
        Ok(made) => answer(made, &events),
        Err(refusal) => Ok(refusal),
    };
    made.into_iter().map(told).collect()
}

/// Decides what becomes of one.
fn make(locked: &mut Locked, changes: &mut Changes<'_>, wanted: &Wanted) -> std::result::Result<Made, Replayed> {
    let &Wanted { what, claim: claimed, at } = wanted;
    let (delivery, event) = match what {
        What::Delivery(id, keep) => {
            let (delivery, event) = locked.deliveries.remove(&id).ok_or(Replayed::NotFound)?;
            let open = locked.open.remove(&id);
            let keeps = keep && open.is_some();
            if let Some(open) = open.filter(|_| !keep) {
                changes.close(&open, DeadLetterStatus::Retried(id), Some(at));
            }
            (changes.again(delivery, (claimed, keeps), at)?, event)
        }
        What::Letter(letter) => {
            let (letter, (delivery, event)) = locked.of_open(letter)?;
            let delivery = changes.again(delivery, (claimed, false), at)?;
            changes.close(&letter, DeadLetterStatus::Retried(delivery.id), Some(at));
            (delivery, event)
        }
        What::AsNew(letter, new) => {
            let (letter, (ended, event)) = locked.of_open(letter)?;
            changes.close(&letter, DeadLetterStatus::Retried(new), Some(at));
            (changes.make((ended, event), new, claimed, at), event)
        }
    };
    Ok(Made { delivery, event, claimed })
}

fn answer(made: Made, events: &BTreeMap<EventSeq, Arc<Event>>) -> Result<Replayed> {
    let Made { delivery, claimed, .. } = made;
    if !claimed {
        return Ok(Replayed::Queued(waiting(&delivery)));
    }
    let event =
        events.get(&delivery.event).cloned().ok_or_else(|| bad_value(format_args!("a delivery of the event {}", delivery.event)))?;
    Ok(Replayed::Claimed(Box::new(Claimed { delivery, event, open_attempt: None })))
}

async fn events(conn: &Conn, ids: Vec<Uuid>) -> Result<BTreeMap<EventSeq, Arc<Event>>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = conn.rows(EVENTS, &[&ids]).await?;
    rows.iter().map(|row| event_row(row).map(|event| (event.seq, Arc::new(event)))).collect()
}

/// Dismisses open dead letters; which of them were open.
pub(super) async fn dismiss(tx: &mut Tx, ids: &[DeadLetterId], at: Timestamp) -> Result<Vec<bool>> {
    let mut letters = Locked::read(&tx.conn, &[], ids).await?.letters;
    let mut changes = Changes::new(&mut tx.tallies, tx.incarnation);
    let dismiss_one = |id: &DeadLetterId| {
        let letter = letters.remove(id).filter(Letter::is_open);
        if let Some(letter) = &letter {
            changes.close(letter, DeadLetterStatus::Dismissed, Some(at));
        }
        letter.is_some()
    };
    let dismissed: Vec<bool> = ids.iter().map(dismiss_one).collect();
    changes.store(&tx.conn).await?;
    Ok(dismissed)
}

/// The open dead letters of these deliveries were retried as those deliveries: then, or else when they came. Whoever asks has locked the
/// deliveries.
pub(super) async fn close_open(tx: &mut Tx, of: &[(DeliveryId, Option<Timestamp>)]) -> Result<()> {
    let mut open = lock_open(&tx.conn, of.iter().map(|(id, _)| id.uuid()).collect()).await?;
    let mut changes = Changes::new(&mut tx.tallies, tx.incarnation);
    for (id, at) in of {
        if let Some(letter) = open.remove(id) {
            changes.close(&letter, DeadLetterStatus::Retried(*id), *at);
        }
    }
    changes.store(&tx.conn).await
}
