//! Attempts, their bodies and deliveries past their retention, and what goes with a delivery.
//!
//! Tables are partitioned by ids, and a statement that says nothing of them looks into every partition. So attempts are looked for around the
//! time in which their delivery was tried, and deliveries of an event from the time on in which it was made.

use super::conn::Conn;
use super::error::Result;
use super::prune::Slice;
use super::room::{DELIVERY, ROW};
use super::rows::{get, id, namespace, small, state_kind, time_opt};
use super::tallies::{Of, Tallies};
use super::tx::Tx;
use postrider_core::event::Namespace;
use postrider_core::id::{EndpointId, SubscriptionId, floor_at};
use postrider_core::ports::{PruneRequest, Pruned};
use postrider_core::time::Timestamp;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// An id may be a little later than the time in its row: both are taken from the clock, but not in one instant.
const ID_SLACK: Duration = Duration::from_secs(1);

/// How far clocks of nodes may be apart.
const CLOCK_SLACK: Duration = Duration::from_secs(86_400);

/// How much later than a delivery's id that of its event may be: ids may follow from the time at which a request was first made.
const EVENT_SLACK: Duration = Duration::from_secs(7 * 86_400);

/// An attempt that was removed, as one of many alike. It begins with whose it is.
macro_rules! delete_attempts {
    ($which:literal) => {
        concat!(
            "WITH gone AS (DELETE FROM attempts a USING ",
            $which,
            " RETURNING a.namespace, a.subscription, a.endpoint, a.finished_at IS NOT NULL AS has_ended, coalesce(a.error_code, '') AS code, \
             512 + coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) \
             + coalesce(octet_length(a.response_head), 0) AS bytes) \
             SELECT namespace, subscription, endpoint, has_ended, code, count(*), sum(bytes)::int8 FROM gone GROUP BY 1, 2, 3, 4, 5"
        )
    };
}

/// Whether a delivery is old enough to go, by when it was made (before `$3`), or where it keeps its rows by when it was last tried (before `$4`).
macro_rules! is_old {
    ($d:literal) => {
        concat!(
            "CASE WHEN ",
            $d,
            ".keeps_rows THEN coalesce(",
            $d,
            ".last_attempt_at, ",
            $d,
            ".created_at) < $4 ELSE ",
            $d,
            ".created_at < $3 END"
        )
    };
}

/// Whether a delivery has no open dead letter. One look for each delivery, never a list of all that are open: behind `OFFSET` the planner does
/// not know that those will do.
macro_rules! has_no_open_letter {
    ($d:literal) => {
        concat!(
            "(SELECT l.status FROM (SELECT status FROM dead_letters WHERE delivery = ",
            $d,
            ".id OFFSET 0) l WHERE l.status = 0) IS NULL"
        )
    };
}

/// The pages of the walks. What does not rest has a lesser state than 3.
const PAGE_OF_ATTEMPTS: &str = "SELECT p.id, NOT p.keeps_rows AND p.finished_at IS NOT NULL \
     FROM (SELECT id, keeps_rows, finished_at FROM attempts WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3) p ORDER BY p.id";
const PAGE_OF_BODIES: &str = "SELECT p.id, NOT p.stripped AND p.finished_at IS NOT NULL \
     FROM (SELECT id, stripped, finished_at FROM attempts WHERE id > $1 AND id < $2 ORDER BY id LIMIT $3) p ORDER BY p.id";
const PAGE_OF_DELIVERIES: &str = concat!(
    "SELECT p.id, p.state >= 3 AND ",
    is_old!("p"),
    " AND ",
    has_no_open_letter!("p"),
    " FROM (SELECT id, state, keeps_rows, created_at, last_attempt_at FROM deliveries WHERE id > $1 AND id < $2 ORDER BY id LIMIT $5) p \
     ORDER BY p.id"
);

/// Attempts that began too long ago, by their ids. One that is under way stays: its delivery is still being made.
pub(super) async fn attempts(tx: &mut Tx, after: &mut Uuid, below: Uuid, slice: &mut Slice) -> Result<bool> {
    while !slice.is_spent() {
        let page = slice.page();
        let rows = tx.conn.rows(PAGE_OF_ATTEMPTS, &[&*after, &below, &page]).await?;
        let (ids, is_last) = slice.take(&rows, page, after)?;
        if !ids.is_empty() {
            let gone = tx.conn.rows(delete_attempts!("unnest($1::uuid[]) AS u (id) WHERE a.id = ANY (ARRAY[u.id])"), &[&ids]).await?;
            slice.pruned.attempts += count_attempts(&mut tx.tallies, &gone)?;
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Bodies of attempts that began too long ago. What an attempt says stays.
pub(super) async fn bodies(tx: &mut Tx, after: &mut Uuid, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    let strip = "WITH aged AS MATERIALIZED (SELECT a.id, coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) \
                 + coalesce(octet_length(a.response_head), 0) AS bytes \
                 FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT id, request, response, response_head FROM attempts \
                 WHERE id = u.id AND NOT stripped FOR UPDATE SKIP LOCKED) a), \
                 done AS (UPDATE attempts a SET request = NULL, response = NULL, response_head = NULL, stripped = true FROM aged g \
                 WHERE a.id = ANY (ARRAY[g.id]) \
                 RETURNING g.bytes) SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM done";
    let below = floor_at(before);
    while !slice.is_spent() {
        let page = slice.page();
        let rows = tx.conn.rows(PAGE_OF_BODIES, &[&*after, &below, &page]).await?;
        let (ids, is_last) = slice.take(&rows, page, after)?;
        if !ids.is_empty() {
            let done = tx.conn.only(strip, &[&ids]).await?;
            slice.pruned.bodies += get::<i64>(&done, 0)?.unsigned_abs();
            tx.tallies.bytes(-get::<i64>(&done, 1)?);
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Deliveries that ended and are past their age, whichever they have. An open dead letter keeps its delivery.
pub(super) async fn deliveries(tx: &mut Tx, after: &mut Uuid, request: &PruneRequest, slice: &mut Slice) -> Result<bool> {
    let below = floor_at(request.events_before.max(request.rows_before).after(ID_SLACK));
    let ages = (request.events_before.as_micros(), request.rows_before.as_micros());
    while !slice.is_spent() {
        let page = slice.page();
        let rows = tx.conn.rows(PAGE_OF_DELIVERIES, &[&*after, &below, &ages.0, &ages.1, &page]).await?;
        let (ids, is_last) = slice.take(&rows, page, after)?;
        if !ids.is_empty() {
            let ids = lock(&tx.conn, &ids, &vec![false; ids.len()], ages).await?;
            remove(tx, &ids, false, &mut slice.pruned).await?;
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes those of these deliveries that nobody has claimed, whatever their age and their state. They come in the order of their ids.
pub(super) async fn erase(tx: &mut Tx, ids: &[Uuid], pruned: &mut Pruned) -> Result<()> {
    let sql = "SELECT q.id FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL \
               (SELECT id FROM queue WHERE id = u.id AND claim = 0 FOR UPDATE SKIP LOCKED) q";
    let waiting = tx.conn.rows(sql, &[&ids]).await?;
    let waiting = waiting.iter().map(|row| get(row, 0)).collect::<Result<BTreeSet<Uuid>>>()?;
    let waits: Vec<bool> = ids.iter().map(|id| waiting.contains(id)).collect();
    let whenever = Timestamp::MAX.as_micros();
    let ids = lock(&tx.conn, ids, &waits, (whenever, whenever)).await?;
    tx.conn.execute("DELETE FROM queue WHERE id = ANY ($1::uuid[])", &[&ids]).await?;
    remove(tx, &ids, true, pruned).await
}

/// Locks those of these deliveries that are old enough and rest, or wait and are held by their rows of the queue, in the order in which they come.
/// What others have locked is left out.
async fn lock(conn: &Conn, ids: &[Uuid], waits: &[bool], (made, tried): (i64, i64)) -> Result<Vec<Uuid>> {
    let sql = concat!(
        "SELECT d.id FROM unnest($1::uuid[], $2::bool[]) AS u (id, waits) CROSS JOIN LATERAL (SELECT d.id FROM deliveries d \
         WHERE d.id = u.id AND (d.state >= 3 OR u.waits) AND ",
        is_old!("d"),
        " FOR UPDATE SKIP LOCKED) d"
    );
    let rows = conn.rows(sql, &[&ids, &waits, &made, &tried]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Deliveries that were removed, and where to look for what belongs to them.
#[derive(Default)]
struct Gone {
    ids: Vec<Uuid>,
    events: BTreeSet<Uuid>,
    /// Those that were tried, each with the ids between which its attempts are.
    tried: Vec<Uuid>,
    earliest: Vec<Uuid>,
    latest: Vec<Uuid>,
}

impl Gone {
    fn read(rows: &[Row], tallies: &mut Tallies) -> Result<Self> {
        let mut gone = Gone::default();
        for row in rows {
            let (delivery, tried_at): (Uuid, Option<Timestamp>) = (get(row, 3)?, time_opt(row, 7)?);
            tallies.deliveries(Whose::read(row)?.of(), state_kind(row, 4)?, -1);
            tallies.bytes(-DELIVERY);
            gone.ids.push(delivery);
            gone.events.insert(get(row, 5)?);
            if tried_at.is_some() || small(row, 6)? > 0 {
                gone.tried.push(delivery);
                gone.earliest.push(earlier(delivery, CLOCK_SLACK));
                gone.latest.push(tried_at.map_or(Uuid::max(), |at| floor_at(at.after(CLOCK_SLACK))));
            }
        }
        Ok(gone)
    }
}

/// The same id as of an earlier time.
fn earlier(id: Uuid, by: Duration) -> Uuid {
    Uuid::from_u128(id.as_u128().saturating_sub(by.as_millis() << 80))
}

/// The dead letters of deliveries, locked in the order of their ids, as by everybody who dismisses or closes some.
const REMOVE_LETTERS: &str = "WITH held AS MATERIALIZED (SELECT l.id FROM (SELECT o.id FROM unnest($1::uuid[]) AS u (delivery) \
     CROSS JOIN LATERAL (SELECT id FROM dead_letters WHERE delivery = u.delivery OFFSET 0) o ORDER BY o.id) x \
     CROSS JOIN LATERAL (SELECT id FROM dead_letters WHERE id = x.id FOR UPDATE) l) \
     DELETE FROM dead_letters l USING held h WHERE l.id = ANY (ARRAY[h.id]) \
     RETURNING l.namespace, l.subscription, l.endpoint, l.code, l.status = 0";

/// Removes deliveries that are locked, with their attempts and dead letters: without them there is nothing to show of those. One with an open dead
/// letter stays unless it is erased: that is asked behind the lock, for nobody opens one without having it.
async fn remove(tx: &mut Tx, ids: &[Uuid], erased: bool, pruned: &mut Pruned) -> Result<()> {
    let sql = concat!(
        "DELETE FROM deliveries d USING unnest($1::uuid[]) AS u (id) WHERE d.id = ANY (ARRAY[u.id]) AND ($2::bool OR ",
        has_no_open_letter!("d"),
        ") RETURNING d.namespace, d.subscription, d.endpoint, d.id, d.state, d.event_id, d.attempts, d.last_attempt_at"
    );
    if ids.is_empty() {
        return Ok(());
    }
    let rows = tx.conn.rows(sql, &[&ids, &erased]).await?;
    let gone = Gone::read(&rows, &mut tx.tallies)?;
    if gone.ids.is_empty() {
        return Ok(());
    }
    let of_all: [&(dyn ToSql + Sync); 1] = [&gone.ids];
    let of_tried: [&(dyn ToSql + Sync); 3] = [&gone.tried, &gone.earliest, &gone.latest];
    // The order says which index has them: one of ids would do for the bounds, which say where to look.
    let attempts = delete_attempts!(
        "unnest($1::uuid[], $2::uuid[], $3::uuid[]) AS u (delivery, earliest, latest) CROSS JOIN LATERAL \
         (SELECT f.id FROM attempts f WHERE f.delivery = u.delivery AND f.id >= u.earliest AND f.id <= u.latest ORDER BY f.number OFFSET 0) f \
         WHERE a.id = ANY (ARRAY[f.id])"
    );
    let (letters, _, attempts) = tokio::try_join!(biased;
        tx.conn.rows(REMOVE_LETTERS, &of_all),
        tx.conn.execute("DELETE FROM unsuccessful WHERE id = ANY ($1::uuid[])", &of_all),
        tx.conn.rows(attempts, &of_tried)
    )?;
    for row in &letters {
        tx.tallies.bytes(-ROW);
        if get::<bool>(row, 4)? {
            tx.tallies.dead_letters(Whose::read(row)?.of(), get(row, 3)?, -1);
        }
    }
    pruned.deliveries += gone.ids.len() as u64;
    pruned.closed += letters.len() as u64;
    pruned.attempts += count_attempts(&mut tx.tallies, &attempts)?;
    note_bare(&tx.conn, &gone.events).await
}

/// Takes attempts that were removed out of the numbers; how many they were. One that was under way was in none.
pub(super) fn count_attempts(tallies: &mut Tallies, gone: &[Row]) -> Result<u64> {
    let mut removed: u64 = 0;
    for row in gone {
        let n: i64 = get(row, 5)?;
        if get::<bool>(row, 3)? {
            tallies.attempts_removed(Whose::read(row)?.of(), get(row, 4)?, n);
        }
        tallies.bytes(-get::<i64>(row, 6)?);
        removed += n.unsigned_abs();
    }
    Ok(removed)
}

/// Notes which of these events have no delivery any more, and none to come. They are locked first: of two that remove the last ones of an event,
/// or where its fan-out ends meanwhile, one sees what the other has done.
async fn note_bare(conn: &Conn, events: &BTreeSet<Uuid>) -> Result<()> {
    let (ids, from): (Vec<Uuid>, Vec<Uuid>) = events.iter().map(|event| (*event, earlier(*event, EVENT_SLACK))).unzip();
    let lock = "SELECT e.id FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT id FROM events WHERE id = u.id FOR UPDATE) e";
    conn.execute(lock, &[&ids]).await?;
    let note = "INSERT INTO bare_events (event) SELECT e.id FROM unnest($1::uuid[], $2::uuid[]) AS u (id, earliest) CROSS JOIN LATERAL \
                (SELECT id, seq, fan_out_after FROM events WHERE id = u.id LIMIT 1) e WHERE e.fan_out_after IS NULL \
                AND (SELECT d.event FROM deliveries d WHERE d.event = e.seq AND d.id >= u.earliest LIMIT 1) IS NULL ON CONFLICT DO NOTHING";
    conn.execute(note, &[&ids, &from]).await?;
    Ok(())
}

/// Whose a row is that begins with a namespace, a subscription and an endpoint.
pub(super) struct Whose {
    namespace: Namespace,
    subscription: SubscriptionId,
    endpoint: EndpointId,
}

impl Whose {
    pub(super) fn read(row: &Row) -> Result<Self> {
        let (subscription, endpoint) = (id(row, 1, SubscriptionId::new)?, id(row, 2, EndpointId::new)?);
        Ok(Whose { namespace: namespace(row, 0)?, subscription, endpoint })
    }

    pub(super) fn of(&self) -> Of<'_> {
        Of { namespace: &self.namespace, subscription: self.subscription, endpoint: self.endpoint }
    }
}
