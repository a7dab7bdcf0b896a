//! Who has which delivery in memory: claims on due deliveries, and the takeover of a dead engine's.
//!
//! What is claimed is chosen and locked by one statement and read by the next, so that a delivery is seen as it is once nobody else can change
//! it. Look-ups by id are made row by row (`LATERAL … LIMIT 1`, `= ANY (ARRAY(…))`): of a table that was empty when a statement was planned the
//! planner would rather walk an index from end to end.
//!
//! What has left an endpoint's queue is passed by every claim for it as long as somebody holds a snapshot that is older: measured, 419 buffers and 1.7 ms
//! with 20,000 of them. It is not remembered where the queue begins. Another node may store something that is due earlier, by its own clock or in a
//! transaction that began earlier, and such a delivery would wait unseen.

use super::columns::DELIVERY_COLUMNS;
use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{Events, attempt_row, delivery_row_from, get, id, int, time, time_opt};
use super::tx::Tx;
use postrider_core::attempt::Attempt;
use postrider_core::delivery::State;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{Backlog, ClaimBatch, ClaimRequest, Claimed};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use uuid::Uuid;

const CHOOSE: &str = concat!(
    "SELECT r.at - 1, q.id FROM unnest($1::uuid[], $2::int8[], $3::int8[]) WITH ORDINALITY AS r (endpoint, due_by, n, at) \
     CROSS JOIN LATERAL (SELECT id, due_at FROM queue WHERE endpoint = r.endpoint AND claim = 0 AND due_at IS NOT NULL \
     AND due_at <= r.due_by ORDER BY due_at, id LIMIT r.n FOR UPDATE SKIP LOCKED) q WHERE",
    not_erased!("r.endpoint"),
    "ORDER BY r.at, q.due_at, q.id"
);

/// Of each batch the first, and as many more as come before its payloads reach the bytes. How long a payload is is known without reading it.
const TAKE: &str = concat!(
    "WITH chosen (place, batch, max_bytes, before, delivery) AS (SELECT u.at, u.batch, u.max_bytes, sum(octet_length(e.payload)) \
     OVER (PARTITION BY u.batch ORDER BY u.at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING), ",
    delivery_columns!(),
    ", ",
    event_columns!(),
    " FROM unnest($1::uuid[], $2::int8[], $3::int8[]) WITH ORDINALITY AS u (id, batch, max_bytes, at) \
     CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE id = u.id LIMIT 1) d \
     CROSS JOIN LATERAL (SELECT * FROM events WHERE id = d.event_id LIMIT 1) e), \
     taken AS MATERIALIZED (SELECT * FROM chosen WHERE before IS NULL OR before < max_bytes), \
     held AS (UPDATE queue SET claim = $4 WHERE id = ANY (ARRAY(SELECT delivery FROM taken))) \
     SELECT * FROM taken ORDER BY place"
);
/// Where the number of the batch is in what [`TAKE`] answers.
const BATCH: usize = 1;
/// Where the delivery's columns begin.
const DELIVERY: usize = 4;

/// The first that is left, whoever is about to claim it.
const NEXT_DUE: &str = concat!(
    "SELECT CASE WHEN",
    not_erased!("r.endpoint"),
    "THEN (SELECT due_at FROM queue WHERE endpoint = r.endpoint AND claim = 0 AND due_at IS NOT NULL ORDER BY due_at, id LIMIT 1) END \
     FROM unnest($1::uuid[]) WITH ORDINALITY AS r (endpoint, at) ORDER BY r.at"
);

macro_rules! expiring {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM queue WHERE expires_at IS NOT NULL AND claim = 0 AND due_at IS NOT NULL AND",
            not_erased!("endpoint"),
            $rest
        )
    };
}
const EXPIRED: &str = expiring!("id", "AND expires_at <= $1 ORDER BY expires_at, id LIMIT $2 FOR UPDATE SKIP LOCKED");
const NEXT_EXPIRY: &str = expiring!("expires_at", "ORDER BY expires_at, id LIMIT 1");

/// Engines that have claims and are not alive. Only the gaps between live ones are looked into: the claims of those are many, and of what they
/// let go lately the index still has the places. An engine is among the nodes before it claims anything, and a number never comes back.
macro_rules! dead {
    ($rest:literal) => {
        concat!(
            "WITH RECURSIVE live AS (SELECT incarnation FROM living UNION SELECT $1::int8), \
             gaps AS (SELECT coalesce(lag(incarnation) OVER (ORDER BY incarnation), 0) AS after, incarnation AS before FROM live \
             UNION ALL SELECT max(incarnation), 9223372036854775807 FROM live), \
             dead AS (SELECT g.before, (SELECT claim FROM queue WHERE claim <> 0 AND claim > g.after AND claim < g.before \
             ORDER BY claim LIMIT 1) AS claim FROM gaps g UNION ALL SELECT d.before, (SELECT claim FROM queue WHERE claim <> 0 \
             AND claim > d.claim AND claim < d.before ORDER BY claim LIMIT 1) FROM dead d WHERE d.claim IS NOT NULL) \
             SELECT claim FROM dead WHERE claim IS NOT NULL ",
            $rest
        )
    };
}
const DEAD: &str = dead!("ORDER BY claim");
const FIRST_DEAD: &str = dead!("LIMIT 1");

/// The order says which index has them: one of all ids in order would do for a plain equality.
const HELD: &str = "SELECT q.id FROM unnest($1::int8[]) AS r (claim) CROSS JOIN LATERAL (SELECT id FROM queue \
     WHERE claim = ANY (ARRAY[r.claim]) AND claim <> 0 ORDER BY claim, id LIMIT $2::int8 FOR UPDATE SKIP LOCKED) q LIMIT $2::int8";

/// `OFFSET 0` keeps the planner from walking all attempts that are under way.
const UNDER_WAY: &str = concat!(
    "SELECT ",
    attempt_columns!(),
    " FROM unnest($1::uuid[], $2::int4[]) AS u (delivery, number) CROSS JOIN LATERAL \
     (SELECT * FROM attempts WHERE delivery = u.delivery AND number = u.number OFFSET 0) a WHERE a.finished_at IS NULL"
);

/// One seek per endpoint, however many deliveries wait: behind this one, until so many were found that are not erased.
const BACKLOG: &str = concat!(
    "WITH RECURSIVE waiting AS (SELECT first.endpoint, first.due_at, first.is_shown, first.is_shown::int4::int8 AS shown FROM \
     (SELECT endpoint, due_at,",
    not_erased!("endpoint"),
    "AS is_shown FROM queue WHERE claim = 0 AND due_at IS NOT NULL AND endpoint > $1::uuid ORDER BY endpoint, due_at, id LIMIT 1) first \
     UNION ALL SELECT next.endpoint, next.due_at, next.is_shown, w.shown + next.is_shown::int4 FROM waiting w CROSS JOIN LATERAL \
     (SELECT endpoint, due_at,",
    not_erased!("endpoint"),
    "AS is_shown FROM queue WHERE claim = 0 AND due_at IS NOT NULL AND endpoint > w.endpoint ORDER BY endpoint, due_at, id LIMIT 1) next \
     WHERE w.shown < $2::int8) SELECT w.endpoint, w.due_at FROM waiting w WHERE w.is_shown AND w.shown <= $2::int8 ORDER BY w.endpoint"
);

/// Cuts a list into runs in which no key comes twice, so that each run can be done at once and sees what came of those before it.
pub(super) fn runs<T>(items: &[T], keys: impl Fn(&T) -> [Option<Uuid>; 2]) -> Vec<&[T]> {
    let (mut runs, mut begins, mut seen) = (Vec::new(), 0, BTreeSet::new());
    for (n, item) in items.iter().enumerate() {
        let of = keys(item);
        if of.iter().flatten().any(|key| seen.contains(key)) {
            runs.push(&items[begins..n]);
            begins = n;
            seen.clear();
        }
        seen.extend(of.into_iter().flatten());
    }
    if begins < items.len() {
        runs.push(&items[begins..]);
    }
    runs
}

/// Claims due, unclaimed deliveries, oldest due first.
pub(super) async fn claim(tx: &mut Tx, requests: &[ClaimRequest]) -> Result<Vec<ClaimBatch>> {
    let (mut events, mut batches) = (Events::default(), Vec::with_capacity(requests.len()));
    for run in runs(requests, |request| [Some(request.endpoint.uuid()), None]) {
        batches.extend(claim_at_once(&tx.conn, tx.incarnation, run, &mut events).await?);
    }
    Ok(batches)
}

/// The same for requests of different endpoints.
async fn claim_at_once(conn: &Conn, me: i64, requests: &[ClaimRequest], events: &mut Events) -> Result<Vec<ClaimBatch>> {
    let endpoints: Vec<Uuid> = requests.iter().map(|request| request.endpoint.uuid()).collect();
    let due_by: Vec<i64> = requests.iter().map(|request| request.due_by.as_micros()).collect();
    let limits: Vec<i64> = requests.iter().map(|request| i64::from(request.limit)).collect();
    let rows = conn.rows(CHOOSE, &[&endpoints, &due_by, &limits]).await?;
    let chosen = rows.iter().map(|row| Chosen::read(row, requests)).collect::<Result<Vec<_>>>()?;
    conn.ready(&[TAKE, NEXT_DUE]).await?;
    let (taken, next_due) = tokio::try_join!(biased; take(conn, me, &chosen, events), next_due(conn, &endpoints))?;
    let empty = |(request, next_due): (&ClaimRequest, _)| ClaimBatch { endpoint: request.endpoint, deliveries: Vec::new(), next_due };
    let mut batches: Vec<ClaimBatch> = requests.iter().zip(next_due).map(empty).collect();
    for (batch, claimed) in taken {
        of_batch(batch, batches.get_mut(index(batch)?))?.deliveries.push(claimed);
    }
    Ok(batches)
}

fn index(batch: i64) -> Result<usize> {
    usize::try_from(batch).map_err(bad_value)
}

fn of_batch<T>(batch: i64, found: Option<T>) -> Result<T> {
    found.ok_or_else(|| bad_value(format_args!("the batch {batch}")))
}

async fn next_due(conn: &Conn, endpoints: &[Uuid]) -> Result<Vec<Option<Timestamp>>> {
    conn.rows(NEXT_DUE, &[&endpoints]).await?.iter().map(|row| time_opt(row, 0)).collect()
}

/// A delivery whose place in the queue is locked, to be claimed.
struct Chosen {
    id: Uuid,
    /// Those of one batch are claimed until their payloads reach the bytes.
    batch: i64,
    max_bytes: i64,
}

impl Chosen {
    fn read(row: &Row, requests: &[ClaimRequest]) -> Result<Self> {
        let batch = get(row, 0)?;
        let request = of_batch(batch, requests.get(index(batch)?))?;
        Ok(Chosen { id: get(row, 1)?, batch, max_bytes: limit_of(request.max_bytes) })
    }
}

fn limit_of(bytes: u64) -> i64 {
    i64::try_from(bytes).unwrap_or(i64::MAX)
}

/// Claims what was chosen, in its order, each with the number of its batch.
async fn take(conn: &Conn, me: i64, chosen: &[Chosen], events: &mut Events) -> Result<Vec<(i64, Claimed)>> {
    if chosen.is_empty() {
        return Ok(Vec::new());
    }
    let ids: Vec<Uuid> = chosen.iter().map(|chosen| chosen.id).collect();
    let batches: Vec<i64> = chosen.iter().map(|chosen| chosen.batch).collect();
    let max_bytes: Vec<i64> = chosen.iter().map(|chosen| chosen.max_bytes).collect();
    let rows = conn.rows(TAKE, &[&ids, &batches, &max_bytes, &me]).await?;
    rows.iter().map(|row| taken(row, events)).collect()
}

fn taken(row: &Row, events: &mut Events) -> Result<(i64, Claimed)> {
    let delivery = delivery_row_from(row, DELIVERY)?;
    let event = events.read(row, DELIVERY + DELIVERY_COLUMNS)?;
    Ok((get(row, BATCH)?, Claimed { delivery, event, open_attempt: None }))
}

/// Claims what these rows name, until the payloads reach the bytes.
async fn take_rows(tx: &mut Tx, rows: &[Row], max_bytes: u64) -> Result<Vec<Claimed>> {
    let max_bytes = limit_of(max_bytes);
    let chosen = rows.iter().map(|row| Ok(Chosen { id: get(row, 0)?, batch: 0, max_bytes })).collect::<Result<Vec<_>>>()?;
    let taken = take(&tx.conn, tx.incarnation, &chosen, &mut Events::default()).await?;
    Ok(taken.into_iter().map(|(_, claimed)| claimed).collect())
}

/// Claims unclaimed deliveries that are past their time to live, those first that have been so for longest.
pub(super) async fn claim_expired(tx: &mut Tx, by: Timestamp, limit: u32, max_bytes: u64) -> Result<Vec<Claimed>> {
    let rows = tx.conn.rows(EXPIRED, &[&by.as_micros(), &i64::from(limit)]).await?;
    take_rows(tx, &rows, max_bytes).await
}

/// Whether there is anything to take over.
pub(super) async fn has_claims_of_dead(conn: &Conn, me: i64) -> Result<bool> {
    Ok(conn.row(FIRST_DEAD, &[&me]).await?.is_some())
}

/// Takes over up to `limit` deliveries that dead engines had claimed, in order of their ids. What somebody else is just taking over, or changing,
/// is passed over.
pub(super) async fn rescue(tx: &mut Tx, limit: u32) -> Result<Vec<Claimed>> {
    let dead = tx.conn.rows(DEAD, &[&tx.incarnation]).await?;
    let dead = dead.iter().map(|row| get(row, 0)).collect::<Result<Vec<i64>>>()?;
    if dead.is_empty() {
        return Ok(Vec::new());
    }
    let rows = tx.conn.rows(HELD, &[&dead, &i64::from(limit)]).await?;
    let mut rescued = take_rows(tx, &rows, u64::MAX).await?;
    rescued.sort_by_key(|claimed| claimed.delivery.id);
    hand_over_attempts(&tx.conn, &mut rescued).await?;
    Ok(rescued)
}

/// Adds the attempts that were recorded as under way to deliveries that are being sent.
async fn hand_over_attempts(conn: &Conn, rescued: &mut [Claimed]) -> Result<()> {
    let sending = rescued.iter().map(|claimed| &claimed.delivery).filter(|delivery| delivery.progress.state == State::Sending);
    let (deliveries, numbers): (Vec<Uuid>, Vec<i32>) = sending.map(|sent| (sent.id.uuid(), int(sent.progress.attempts))).unzip();
    if deliveries.is_empty() {
        return Ok(());
    }
    let rows = conn.rows(UNDER_WAY, &[&deliveries, &numbers]).await?;
    let open = rows.iter().map(attempt_row).collect::<Result<Vec<Attempt>>>()?;
    let mut open: BTreeMap<DeliveryId, Attempt> = open.into_iter().map(|attempt| (attempt.delivery, attempt)).collect();
    for claimed in rescued {
        claimed.open_attempt = open.remove(&claimed.delivery.id);
    }
    Ok(())
}

/// When the first unclaimed delivery is past its time to live.
pub(super) async fn next_expiry(conn: &Conn) -> Result<Option<Timestamp>> {
    conn.row(NEXT_EXPIRY, &[]).await?.map(|row| time(&row, 0)).transpose()
}

/// Endpoints with unclaimed deliveries, and when the first is due.
pub(super) async fn backlog(conn: &Conn) -> Result<Vec<Backlog>> {
    waiting(conn, Uuid::nil(), i64::MAX).await
}

/// The same for up to `limit` endpoints behind this one.
pub(super) async fn backlog_after(conn: &Conn, after: Option<EndpointId>, limit: u32) -> Result<Vec<Backlog>> {
    waiting(conn, after.map_or(Uuid::nil(), |endpoint| endpoint.uuid()), i64::from(limit)).await
}

/// No endpoint has the first of all ids.
async fn waiting(conn: &Conn, after: Uuid, limit: i64) -> Result<Vec<Backlog>> {
    let read = |row: &Row| -> Result<Backlog> { Ok(Backlog { endpoint: id(row, 0, EndpointId::new)?, first_due: time(row, 1)? }) };
    conn.rows(BACKLOG, &[&after, &limit]).await?.iter().map(read).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_where_a_key_comes_again() {
        let key = |n: &u128| [Some(Uuid::from_u128(*n)), None];
        assert!(runs(&[], key).is_empty());
        assert_eq!(runs(&[1, 2, 1, 1, 3], key), [&[1, 2][..], &[1], &[1, 3]]);
        let pair = |(a, b): &(u128, u128)| [Some(Uuid::from_u128(*a)), Some(Uuid::from_u128(*b))];
        assert_eq!(runs(&[(1, 2), (3, 4), (5, 2)], pair), [&[(1, 2), (3, 4)][..], &[(5, 2)]]);
    }
}
