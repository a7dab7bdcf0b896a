//! What becomes of deliveries and dead letters when people want them made again: all that is concerned is locked, the deliveries first, then the
//! dead letters; then it is decided what changes; then that is written at once, a statement for each kind of change.
//!
//! Rows are looked up one by one (`LATERAL`, `= ANY (ARRAY[…])`), as in `claim.rs`.

use super::columns::DELIVERY_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::rows::{DISMISSED, OPEN, RETRIED, dead_letter_status, delivery_row, get, id, int, micros, namespace};
use super::tallies::{Of, Tallies};
use crate::room;
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Delivery, Progress, StateKind, Step, transition};
use postrider_core::event::Namespace;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId, EventId, SubscriptionId};
use postrider_core::ports::{Replayed, Requeued};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use uuid::Uuid;

/// In the order of the ids that it is given.
const LOCK_DELIVERIES: &str = concat!(
    "SELECT ",
    delivery_columns!(),
    ", d.event_id FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE id = u.id FOR UPDATE) d WHERE",
    not_erased!("d.endpoint")
);

/// Dead letters by their ids, and the open ones of deliveries. What they are is read where they are locked.
const LOCK_LETTERS: &str = concat!(
    "SELECT l.id, l.delivery, l.status, l.retried_as, l.namespace, l.subscription, l.endpoint, l.code,",
    not_erased!("l.endpoint"),
    "FROM (SELECT y.id FROM (SELECT unnest($1::uuid[]) AS id UNION SELECT o.id FROM unnest($2::uuid[]) AS u (delivery) CROSS JOIN LATERAL \
     (SELECT id, status FROM dead_letters WHERE delivery = u.delivery OFFSET 0) o WHERE o.status = 0) y ORDER BY y.id) x \
     CROSS JOIN LATERAL (SELECT * FROM dead_letters WHERE id = x.id FOR UPDATE) l"
);

const AGAIN: &str = "UPDATE deliveries d SET state = u.state, attempts = u.attempts, spent = u.spent, due_at = u.due_at, \
     expires_at = u.expires_at, reason = NULL, kept_letter = u.keeps \
     FROM unnest($1::uuid[], $2::int2[], $3::int4[], $4::int4[], $5::int8[], $6::int8[], $7::bool[]) \
     AS u (id, state, attempts, spent, due_at, expires_at, keeps) WHERE d.id = ANY (ARRAY[u.id])";

const MAKE: &str = "INSERT INTO deliveries (id, event, event_id, namespace, subscription, endpoint, state, attempts, spent, keeps_rows, \
     created_at, due_at) SELECT u.id, d.event, d.event_id, d.namespace, d.subscription, d.endpoint, 0, 0, 0, d.keeps_rows, u.at, u.at \
     FROM unnest($1::uuid[], $2::uuid[], $3::int8[]) AS u (id, ended, at) CROSS JOIN LATERAL \
     (SELECT * FROM deliveries WHERE id = u.ended LIMIT 1) d";

/// Neither kind has a time to live.
const ENQUEUE: &str =
    "INSERT INTO queue (id, endpoint, claim, due_at) SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::int8[], $4::int8[])";

const CLOSE: &str = "UPDATE dead_letters l SET status = u.status, retried_as = u.retried_as, closed_at = coalesce(u.at, l.failed_at) \
     FROM unnest($1::uuid[], $2::int2[], $3::uuid[], $4::int8[]) AS u (id, status, retried_as, at) WHERE l.id = ANY (ARRAY[u.id])";

const NOT_UNSUCCESSFUL: &str = "DELETE FROM unsuccessful WHERE id = ANY ($1)";

const NOT_BARE: &str = "DELETE FROM bare_events WHERE event = ANY ($1)";

/// What is told of a delivery that waits.
pub(super) fn waiting(delivery: &Delivery) -> Requeued {
    let due_at = delivery.progress.state.due_at().unwrap_or(delivery.created_at);
    Requeued { delivery: delivery.id, endpoint: delivery.endpoint, due_at }
}

/// A dead letter, and what it is counted under.
#[derive(Clone)]
pub(super) struct Letter {
    id: DeadLetterId,
    delivery: DeliveryId,
    status: DeadLetterStatus,
    namespace: Namespace,
    subscription: SubscriptionId,
    endpoint: EndpointId,
    code: String,
    /// Not if its endpoint was erased.
    is_seen: bool,
}

impl Letter {
    fn read(row: &Row) -> Result<Self> {
        Ok(Letter {
            id: id(row, 0, DeadLetterId::new)?,
            delivery: id(row, 1, DeliveryId::new)?,
            status: dead_letter_status(row, 2, 3)?,
            namespace: namespace(row, 4)?,
            subscription: id(row, 5, SubscriptionId::new)?,
            endpoint: id(row, 6, EndpointId::new)?,
            code: get(row, 7)?,
            is_seen: get(row, 8)?,
        })
    }

    /// Whether it is open, and somebody may know.
    pub(super) fn is_open(&self) -> bool {
        self.is_seen && self.status == DeadLetterStatus::Open
    }
}

/// Deliveries and dead letters as they are, and stay until the transaction ends or changes them.
pub(super) struct Locked {
    /// Those that may be seen, each with its event.
    pub(super) deliveries: BTreeMap<DeliveryId, (Delivery, EventId)>,
    /// Those that were asked for, and open ones.
    pub(super) letters: BTreeMap<DeadLetterId, Letter>,
    /// The open dead letter of each delivery.
    pub(super) open: BTreeMap<DeliveryId, Letter>,
}

impl Locked {
    /// Locks deliveries, then their open dead letters and these ones.
    pub(super) async fn read(conn: &Conn, deliveries: &[DeliveryId], letters: &[DeadLetterId]) -> Result<Self> {
        let deliveries = sorted(deliveries.iter().map(|id| id.uuid()));
        let letters = sorted(letters.iter().map(|id| id.uuid()));
        // A dead letter may come with the change that had the delivery locked: it is looked for afterwards.
        conn.ready(&[LOCK_DELIVERIES, LOCK_LETTERS]).await?;
        let (deliveries, letters) =
            tokio::try_join!(biased; lock_deliveries(conn, &deliveries), lock_letters(conn, &letters, &deliveries))?;
        let open = open_by_delivery(&letters);
        Ok(Locked { deliveries, letters: letters.into_iter().map(|letter| (letter.id, letter)).collect(), open })
    }

    /// An open dead letter with its delivery, once; the answer where there is none.
    pub(super) fn of_open(&mut self, letter: DeadLetterId) -> std::result::Result<(Letter, (Delivery, EventId)), Replayed> {
        let letter = self.letters.remove(&letter).ok_or(Replayed::NotFound)?;
        match letter.status {
            DeadLetterStatus::Open => {}
            DeadLetterStatus::Retried(delivery) => return Err(Replayed::AlreadyClosed(Some(delivery))),
            DeadLetterStatus::Dismissed => return Err(Replayed::AlreadyClosed(None)),
        }
        let delivery = self.deliveries.remove(&letter.delivery).ok_or(Replayed::NotFound)?;
        Ok((letter, delivery))
    }
}

/// In the order in which rows are locked.
fn sorted(ids: impl Iterator<Item = Uuid>) -> Vec<Uuid> {
    ids.collect::<BTreeSet<Uuid>>().into_iter().collect()
}

fn open_by_delivery(letters: &[Letter]) -> BTreeMap<DeliveryId, Letter> {
    let open = letters.iter().filter(|letter| letter.status == DeadLetterStatus::Open);
    open.map(|letter| (letter.delivery, letter.clone())).collect()
}

/// Locks the open dead letters of deliveries that are locked.
pub(super) async fn lock_open(conn: &Conn, deliveries: Vec<Uuid>) -> Result<BTreeMap<DeliveryId, Letter>> {
    Ok(open_by_delivery(&lock_letters(conn, &[], &deliveries).await?))
}

async fn lock_deliveries(conn: &Conn, ids: &[Uuid]) -> Result<BTreeMap<DeliveryId, (Delivery, EventId)>> {
    if ids.is_empty() {
        return Ok(BTreeMap::new());
    }
    let rows = conn.rows(LOCK_DELIVERIES, &[&ids]).await?;
    let read = |row: &Row| -> Result<_> {
        let delivery = delivery_row(row)?;
        Ok((delivery.id, (delivery, id(row, DELIVERY_COLUMNS, EventId::new)?)))
    };
    rows.iter().map(read).collect()
}

async fn lock_letters(conn: &Conn, letters: &[Uuid], deliveries: &[Uuid]) -> Result<Vec<Letter>> {
    if letters.is_empty() && deliveries.is_empty() {
        return Ok(Vec::new());
    }
    conn.rows(LOCK_LETTERS, &[&letters, &deliveries]).await?.iter().map(Letter::read).collect()
}

/// What changes, written by [`Changes::store`].
pub(super) struct Changes<'t> {
    tallies: &'t mut Tallies,
    /// What this engine's claims carry.
    me: i64,
    /// Deliveries that are pending again, and whether each keeps its dead letter open.
    again: Vec<(Uuid, Progress, bool)>,
    /// Deliveries that rest no more and had not succeeded.
    unsuccessful: Vec<Uuid>,
    new: Vec<New>,
    /// What has a place in the queue now, and whose it is.
    queued: Vec<(Requeued, i64)>,
    closed: Vec<Closed>,
}

/// A delivery like one that ended.
struct New {
    id: Uuid,
    event: Uuid,
    ended: Uuid,
    at: Timestamp,
}

/// A dead letter that is open no more.
struct Closed {
    id: Uuid,
    status: i16,
    retried_as: Option<Uuid>,
    at: Option<Timestamp>,
}

impl<'t> Changes<'t> {
    /// Nothing yet; `me` is what this engine's claims carry.
    pub(super) fn new(tallies: &'t mut Tallies, me: i64) -> Self {
        Changes { tallies, me, again: Vec::new(), unsuccessful: Vec::new(), new: Vec::new(), queued: Vec::new(), closed: Vec::new() }
    }

    /// Takes a delivery back to pending, claimed or not; the answer where it does not rest.
    pub(super) fn again(
        &mut self,
        mut delivery: Delivery,
        (claimed, keeps_letter): (bool, bool),
        at: Timestamp,
    ) -> std::result::Result<Delivery, Replayed> {
        let from = delivery.progress.state.kind();
        delivery.progress = transition(delivery.progress, Step::Replay { at }).map_err(|refused| Replayed::NotResting(refused.from))?;
        self.tallies.moved(of(&delivery), from, delivery.progress.state.kind());
        if from != StateKind::Succeeded {
            self.unsuccessful.push(delivery.id.uuid());
        }
        self.again.push((delivery.id.uuid(), delivery.progress, keeps_letter));
        self.queue(&delivery, claimed);
        Ok(delivery)
    }

    /// Makes a delivery like this one, of this event. It has a fresh budget of attempts and no time to live.
    pub(super) fn make(&mut self, (ended, event): (Delivery, EventId), new: DeliveryId, claimed: bool, at: Timestamp) -> Delivery {
        self.new.push(New { id: new.uuid(), event: event.uuid(), ended: ended.id.uuid(), at });
        let delivery = Delivery { id: new, progress: Progress::new(at, None), created_at: at, last_attempt_at: None, ..ended };
        self.tallies.deliveries(of(&delivery), delivery.progress.state.kind(), 1);
        self.tallies.bytes(room::DELIVERY as i64);
        self.queue(&delivery, claimed);
        delivery
    }

    fn queue(&mut self, delivery: &Delivery, claimed: bool) {
        self.queued.push((waiting(delivery), if claimed { self.me } else { 0 }));
    }

    /// Closes an open dead letter, without a time as of when it came.
    pub(super) fn close(&mut self, letter: &Letter, how: DeadLetterStatus, at: Option<Timestamp>) {
        let (status, retried_as) = match how {
            DeadLetterStatus::Open => (OPEN, None),
            DeadLetterStatus::Retried(delivery) => (RETRIED, Some(delivery.uuid())),
            DeadLetterStatus::Dismissed => (DISMISSED, None),
        };
        let of = Of { namespace: &letter.namespace, subscription: letter.subscription, endpoint: letter.endpoint };
        self.tallies.dead_letters(of, &letter.code, -1);
        self.closed.push(Closed { id: letter.id.uuid(), status, retried_as, at });
    }

    /// Writes all of it.
    pub(super) async fn store(&self, conn: &Conn) -> Result<()> {
        tokio::try_join!(biased;
            self.store_again(conn),
            self.store_new(conn),
            self.store_queued(conn),
            self.store_closed(conn),
            remove(conn, NOT_UNSUCCESSFUL, self.unsuccessful.clone()),
            remove(conn, NOT_BARE, self.new.iter().map(|new| new.event).collect()),
        )?;
        Ok(())
    }

    async fn store_again(&self, conn: &Conn) -> Result<()> {
        if self.again.is_empty() {
            return Ok(());
        }
        let again = || self.again.iter().map(|(_, progress, _)| progress);
        let ids: Vec<Uuid> = self.again.iter().map(|(id, ..)| *id).collect();
        let states: Vec<i16> = again().map(|progress| progress.state.kind() as i16).collect();
        let attempts: Vec<i32> = again().map(|progress| int(progress.attempts)).collect();
        let spent: Vec<i32> = again().map(|progress| int(progress.spent)).collect();
        let due_at: Vec<Option<i64>> = again().map(|progress| micros(progress.state.due_at())).collect();
        let expires_at: Vec<Option<i64>> = again().map(|progress| micros(progress.expires_at)).collect();
        let keeps: Vec<bool> = self.again.iter().map(|(_, _, keeps)| *keeps).collect();
        conn.execute(AGAIN, &[&ids, &states, &attempts, &spent, &due_at, &expires_at, &keeps]).await.map(drop)
    }

    async fn store_new(&self, conn: &Conn) -> Result<()> {
        if self.new.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.new.iter().map(|new| new.id).collect();
        let ended: Vec<Uuid> = self.new.iter().map(|new| new.ended).collect();
        let at: Vec<i64> = self.new.iter().map(|new| new.at.as_micros()).collect();
        conn.execute(MAKE, &[&ids, &ended, &at]).await.map(drop)
    }

    async fn store_queued(&self, conn: &Conn) -> Result<()> {
        if self.queued.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.queued.iter().map(|(queued, _)| queued.delivery.uuid()).collect();
        let endpoints: Vec<Uuid> = self.queued.iter().map(|(queued, _)| queued.endpoint.uuid()).collect();
        let claims: Vec<i64> = self.queued.iter().map(|(_, claim)| *claim).collect();
        let due_at: Vec<i64> = self.queued.iter().map(|(queued, _)| queued.due_at.as_micros()).collect();
        conn.execute(ENQUEUE, &[&ids, &endpoints, &claims, &due_at]).await.map(drop)
    }

    async fn store_closed(&self, conn: &Conn) -> Result<()> {
        if self.closed.is_empty() {
            return Ok(());
        }
        let ids: Vec<Uuid> = self.closed.iter().map(|closed| closed.id).collect();
        let statuses: Vec<i16> = self.closed.iter().map(|closed| closed.status).collect();
        let retried_as: Vec<Option<Uuid>> = self.closed.iter().map(|closed| closed.retried_as).collect();
        let at: Vec<Option<i64>> = self.closed.iter().map(|closed| micros(closed.at)).collect();
        conn.execute(CLOSE, &[&ids, &statuses, &retried_as, &at]).await.map(drop)
    }
}

/// Removes the rows of these ids.
async fn remove(conn: &Conn, sql: &str, ids: Vec<Uuid>) -> Result<()> {
    if ids.is_empty() { Ok(()) } else { conn.execute(sql, &[&ids]).await.map(drop) }
}

fn of(delivery: &Delivery) -> Of<'_> {
    Of { namespace: &delivery.namespace, subscription: delivery.subscription, endpoint: delivery.endpoint }
}
