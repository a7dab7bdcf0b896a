//! Numbers over time, and what is late. Each node writes rows of its own, so that none of them waits for another.

use super::conn::Conn;
use super::error::Result;
use super::rows::{get, id, namespace, time};
use super::tx::Tx;
use postrider_core::event::Namespace;
use postrider_core::id::EndpointId;
use postrider_core::ports::{Late, SeriesKey};
use postrider_core::series::{Numbers, Step};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use tokio_postgres::Row;
use uuid::Uuid;

/// Stands for everything: no namespace has an empty name.
const EVERYTHING: &str = "";

/// This node's own rows of these keys. Without `OFFSET` they might be looked for in another order.
const OWN: &str = "SELECT u.at, s.numbers FROM unnest($1::int2[], $2::text[], $3::int8[]) WITH ORDINALITY AS u (step, namespace, began_at, at) \
     CROSS JOIN LATERAL (SELECT numbers FROM series WHERE step = u.step AND namespace = u.namespace AND began_at = u.began_at AND shard = $4 \
     OFFSET 0) s";

const PUT: &str = "INSERT INTO series (step, namespace, began_at, shard, keep_until, numbers) \
     SELECT u.step, u.namespace, u.began_at, $6::int8, u.keep_until, u.numbers \
     FROM unnest($1::int2[], $2::text[], $3::int8[], $4::int8[], $5::bytea[]) WITH ORDINALITY \
     AS u (step, namespace, began_at, keep_until, numbers, at) ORDER BY u.at \
     ON CONFLICT (step, namespace, began_at, shard) DO UPDATE SET numbers = excluded.numbers";

/// How a namespace, or everything, is written down.
fn name(of: Option<&Namespace>) -> &str {
    of.map_or(EVERYTHING, Namespace::as_str)
}

/// Numbers that nobody can read count for nothing: they must not keep others from being stored or shown.
fn numbers(row: &Row, column: usize) -> Result<Numbers> {
    let found = Numbers::decode(get(row, column)?);
    Ok(found.unwrap_or_else(|| {
        tracing::error!("the numbers of a step of time cannot be read, and are taken for none");
        Numbers::default()
    }))
}

/// Adds to this node's numbers. What is kept is read first: of one node, only one transaction at a time may do that.
pub(super) async fn add(tx: &Tx, sums: &BTreeMap<SeriesKey, Numbers>) -> Result<()> {
    if sums.is_empty() {
        return Ok(());
    }
    let steps: Vec<i16> = sums.keys().map(|(step, ..)| *step as i16).collect();
    let namespaces: Vec<&str> = sums.keys().map(|(_, namespace, _)| name(namespace.as_ref())).collect();
    let began: Vec<i64> = sums.keys().map(|(.., begin)| begin.as_micros()).collect();
    let keep_until: Vec<i64> = sums.keys().map(|(step, _, begin)| begin.after(step.kept()).as_micros()).collect();
    let mut kept: BTreeMap<i64, Numbers> = BTreeMap::new();
    for row in &tx.conn.rows(OWN, &[&steps, &namespaces, &began, &tx.incarnation]).await? {
        kept.insert(get(row, 0)?, numbers(row, 1)?);
    }
    let added = (1_i64..).zip(sums.values()).map(|(at, sum)| match kept.remove(&at) {
        Some(mut kept) => {
            kept.add(sum);
            kept.encode()
        }
        None => sum.encode(),
    });
    let added: Vec<Vec<u8>> = added.collect();
    tx.conn.execute(PUT, &[&steps, &namespaces, &began, &keep_until, &added, &tx.incarnation]).await.map(drop)
}

/// The numbers of the steps that began from then on and before that, of all nodes together.
pub(super) async fn read(
    conn: &Conn,
    namespace: Option<&Namespace>,
    step: Step,
    from: Timestamp,
    before: Timestamp,
) -> Result<Vec<(Timestamp, Numbers)>> {
    let sql =
        "SELECT began_at, numbers FROM series WHERE step = $1 AND namespace = $2 AND began_at >= $3 AND began_at < $4 ORDER BY began_at";
    let (step, of, from, before) = (step as i16, name(namespace), from.as_micros(), before.as_micros());
    let mut found: Vec<(Timestamp, Numbers)> = Vec::new();
    for row in &conn.rows(sql, &[&step, &of, &from, &before]).await? {
        let (at, of_one) = (time(row, 0)?, numbers(row, 1)?);
        match found.last_mut().filter(|(last, _)| *last == at) {
            Some((_, sum)) => sum.add(&of_one),
            None => found.push((at, of_one)),
        }
    }
    Ok(found)
}

/// Forgets what has been kept for long enough, and what nodes have noted as late that have ended; answers how much of the former.
pub(super) async fn forget(tx: &Tx, now: Timestamp, limit: u32) -> Result<u64> {
    let sql = "DELETE FROM series WHERE ctid = ANY (ARRAY(SELECT ctid FROM series WHERE keep_until <= $1::int8 ORDER BY keep_until LIMIT $2::int8 \
               FOR UPDATE SKIP LOCKED))";
    let forgotten = tx.conn.execute(sql, &[&now.as_micros(), &i64::from(limit)]).await?;
    // Once, with the last piece. What was noted by one that is alive is that one's own to change: nobody waits here.
    if forgotten < u64::from(limit) {
        let sql = "DELETE FROM late l WHERE NOT EXISTS (SELECT FROM living n WHERE n.incarnation = l.incarnation)";
        tx.conn.execute(sql, &[]).await?;
    }
    Ok(forgotten)
}

/// Puts what is late in place of what this node noted before.
pub(super) async fn note(tx: &Tx, late: &[Late]) -> Result<()> {
    tx.conn.execute("DELETE FROM late WHERE incarnation = $1", &[&tx.incarnation]).await?;
    if late.is_empty() {
        return Ok(());
    }
    let namespaces: Vec<&str> = late.iter().map(|late| late.namespace.as_str()).collect();
    let endpoints: Vec<Uuid> = late.iter().map(|late| late.endpoint.uuid()).collect();
    let due_at: Vec<i64> = late.iter().map(|late| late.due_at.as_micros()).collect();
    let sql = "INSERT INTO late (incarnation, namespace, endpoint, due_at) SELECT $1::int8, u.namespace, u.endpoint, u.due_at \
               FROM unnest($2::text[], $3::uuid[], $4::int8[]) AS u (namespace, endpoint, due_at) ON CONFLICT DO NOTHING";
    tx.conn.execute(sql, &[&tx.incarnation, &namespaces, &endpoints, &due_at]).await.map(drop)
}

/// What should have been attempted the longest ago, of what nodes have noted that are alive.
pub(super) async fn most_late(conn: &Conn, of: Option<&Namespace>) -> Result<Option<Late>> {
    let row = match of.map(Namespace::as_str) {
        None => {
            let sql = "SELECT l.namespace, l.endpoint, l.due_at FROM late l \
                       WHERE EXISTS (SELECT FROM living n WHERE n.incarnation = l.incarnation) ORDER BY l.due_at LIMIT 1";
            conn.row(sql, &[]).await?
        }
        Some(name) => {
            let sql = "SELECT l.namespace, l.endpoint, l.due_at FROM late l WHERE l.namespace = $1 \
                       AND EXISTS (SELECT FROM living n WHERE n.incarnation = l.incarnation) ORDER BY l.due_at LIMIT 1";
            conn.row(sql, &[&name]).await?
        }
    };
    let Some(row) = row else { return Ok(None) };
    Ok(Some(Late { namespace: namespace(&row, 0)?, endpoint: id(&row, 1, EndpointId::new)?, due_at: time(&row, 2)? }))
}
