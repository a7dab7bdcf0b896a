//! What goes with deleted configuration: everything that belongs to erased endpoints, open dead letters that nobody can reach any more, and deleted
//! subscriptions, endpoints and keys themselves once nothing is left of them.
//!
//! The tallies say what is left, and which subscriptions ever sent to an endpoint: no row of the history is walked over that is not of it.

use super::aging::{self, Whose};
use super::config::{self, ENDPOINT, KEY, SUBSCRIPTION};
use super::conn::Conn;
use super::error::{Result, bad_value};
use super::prune::Slice;
use super::rows::get;
use super::tx::Tx;
use postrider_core::subscription::Origin;
use postrider_core::time::Timestamp;
use serde::Deserialize;
use std::collections::BTreeSet;
use uuid::Uuid;

/// How far a run has come with what belongs to erased endpoints.
#[derive(Clone, Debug, Default)]
pub(super) struct Erasing {
    /// Those of which everything was looked at. What is left of them is somebody's who has claimed it.
    through: BTreeSet<Uuid>,
    /// The one that it is at.
    endpoint: Option<Uuid>,
    /// The subscription that it is at, and the last of its deliveries that was looked at.
    subscription: Uuid,
    after: Uuid,
}

impl Erasing {
    /// The endpoint to go on with.
    fn next(&mut self, erased: &[Uuid]) -> Option<Uuid> {
        let same = self.endpoint.filter(|endpoint| erased.contains(endpoint));
        let endpoint = same.or_else(|| erased.iter().copied().find(|endpoint| !self.through.contains(endpoint)))?;
        if self.endpoint != Some(endpoint) {
            (self.endpoint, self.subscription, self.after) = (Some(endpoint), Uuid::nil(), Uuid::nil());
        }
        Some(endpoint)
    }
}

/// Endpoints that were erased and of which something may be left. Hardly ever any.
pub(super) async fn erased(conn: &Conn) -> Result<Vec<Uuid>> {
    let rows = conn.rows("SELECT endpoint FROM erased_endpoints ORDER BY endpoint", &[]).await?;
    rows.iter().map(|row| get(row, 0)).collect()
}

/// Removes what belongs to erased endpoints and is not claimed. Answers whether all of it was looked at in this run: an endpoint that was erased
/// meanwhile comes with the next slice.
pub(super) async fn erase(tx: &mut Tx, erasing: &mut Erasing, slice: &mut Slice) -> Result<bool> {
    let erased = erased(&tx.conn).await?;
    while let Some(endpoint) = erasing.next(&erased) {
        if !erase_one(tx, endpoint, erasing, slice).await? {
            return Ok(false);
        }
        erasing.through.insert(endpoint);
        erasing.endpoint = None;
    }
    Ok(true)
}

async fn erase_one(tx: &mut Tx, endpoint: Uuid, erasing: &mut Erasing, slice: &mut Slice) -> Result<bool> {
    let sql = "SELECT subscription FROM tallies WHERE endpoint = $1 AND endpoint <> '00000000-0000-0000-0000-000000000000' \
               AND subscription >= $2 AND kind <= 6 GROUP BY subscription HAVING sum(n) <> 0 ORDER BY subscription";
    let rows = tx.conn.rows(sql, &[&endpoint, &erasing.subscription]).await?;
    let subscriptions = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<Uuid>>>()?;
    for subscription in subscriptions {
        if subscription != erasing.subscription {
            (erasing.subscription, erasing.after) = (subscription, Uuid::nil());
        }
        if !erase_from(tx, (subscription, endpoint), &mut erasing.after, slice).await? {
            return Ok(false);
        }
    }
    Ok(true)
}

/// What a subscription sent to an endpoint.
async fn erase_from(tx: &mut Tx, (subscription, endpoint): (Uuid, Uuid), after: &mut Uuid, slice: &mut Slice) -> Result<bool> {
    // The order says which index has them: one of all ids in order would do for plain equalities.
    let sql = "SELECT p.id, coalesce(q.claim, 0) = 0 FROM (SELECT id FROM deliveries WHERE subscription = ANY (ARRAY[$1::uuid]) \
               AND endpoint = $2 AND id > $3 ORDER BY subscription, id LIMIT $4) p \
               LEFT JOIN LATERAL (SELECT claim FROM queue WHERE id = p.id LIMIT 1) q ON true ORDER BY p.id";
    while !slice.is_spent() {
        let page = slice.page();
        let rows = tx.conn.rows(sql, &[&subscription, &endpoint, &*after, &page]).await?;
        let (ids, is_last) = slice.take(&rows, page, after)?;
        if !ids.is_empty() {
            aging::erase(tx, &ids, &mut slice.pruned).await?;
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Open dead letters of subscriptions that were deleted: nobody can reach them any more, so they count as dismissed since then. Those of
/// bindings are listed for as long as somebody leaves them there.
pub(super) async fn orphans(tx: &mut Tx, after: &mut Uuid, slice: &mut Slice) -> Result<bool> {
    // Only of those that have open ones the document is read. The order says which index has them, and what is selected is in it.
    let sql = "SELECT c.id::uuid, c.gone_at, CASE WHEN (SELECT l.id FROM dead_letters l WHERE l.subscription = c.id::uuid AND l.status = 0 \
               ORDER BY l.endpoint, l.failed_at, l.id LIMIT 1) IS NOT NULL THEN c.doc END \
               FROM (SELECT id, gone_at, doc FROM config WHERE kind = $1 AND gone_at IS NOT NULL AND id > $2 ORDER BY id LIMIT $3) c \
               ORDER BY c.id";
    while !slice.is_spent() {
        let (from, page) = (after.to_string(), slice.page());
        let rows = tx.conn.rows(sql, &[&SUBSCRIPTION, &from, &page]).await?;
        let (mut abandoned, mut since): (Vec<Uuid>, Vec<i64>) = Default::default();
        for row in &rows {
            if get::<Option<&str>>(row, 2)?.map(is_binding).transpose()? == Some(false) {
                abandoned.push(get(row, 0)?);
                since.push(get(row, 1)?);
            }
        }
        let most = slice.rows();
        if !abandoned.is_empty() && dismiss(tx, &abandoned, &since, slice).await? >= most {
            // There may be more of them.
            return Ok(false);
        }
        slice.looked(rows.len());
        if let Some(last) = rows.last() {
            *after = get(last, 0)?;
        }
        if (rows.len() as i64) < page {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Whether a subscription with this document is a binding.
fn is_binding(doc: &str) -> Result<bool> {
    #[derive(Deserialize)]
    struct Made {
        origin: Origin,
    }
    serde_json::from_str(doc).map(|made: Made| made.origin == Origin::Items).map_err(bad_value)
}

/// Closes as many open dead letters of these subscriptions as the slice allows, each as of when its subscription was deleted; how many. They are
/// locked by their ids: with `+ 0` no index of the open ones will do for that.
async fn dismiss(tx: &mut Tx, of: &[Uuid], since: &[i64], slice: &mut Slice) -> Result<i64> {
    let sql = "WITH found AS MATERIALIZED (SELECT l.id, u.since FROM unnest($1::uuid[], $2::int8[]) AS u (subscription, since) \
               CROSS JOIN LATERAL (SELECT o.id FROM dead_letters o WHERE o.subscription = u.subscription AND o.status = 0 \
               ORDER BY o.endpoint, o.failed_at, o.id LIMIT $3) l LIMIT $3), \
               open AS MATERIALIZED (SELECT l.id, f.since FROM found f CROSS JOIN LATERAL (SELECT id FROM dead_letters \
               WHERE id = f.id AND status + 0 = 0 FOR UPDATE SKIP LOCKED) l), \
               closed AS (UPDATE dead_letters l SET status = 2, closed_at = greatest(l.failed_at, o.since) FROM open o \
               WHERE l.id = ANY (ARRAY[o.id]) RETURNING l.namespace, l.subscription, l.endpoint, l.code) \
               SELECT namespace, subscription, endpoint, code, count(*) FROM closed GROUP BY 1, 2, 3, 4";
    let most = slice.rows();
    let mut closed: i64 = 0;
    for row in tx.conn.rows(sql, &[&of, &since, &most]).await? {
        let n: i64 = get(&row, 4)?;
        tx.tallies.dead_letters(Whose::read(&row)?.of(), get(&row, 3)?, -n);
        closed += n;
    }
    slice.dismissed += closed.unsigned_abs();
    Ok(closed)
}

/// A page of deleted configuration of a kind, each with whether it was deleted long ago (before `$4`) and may go by this as well.
macro_rules! page_of_gone {
    ($may_go:literal) => {
        concat!(
            "SELECT c.id::uuid, c.gone_at < $4",
            $may_go,
            " FROM (SELECT id, gone_at FROM config WHERE kind = $1 AND gone_at IS NOT NULL AND id > $2 ORDER BY id LIMIT $3) c ORDER BY c.id"
        )
    };
}

/// Keys that were revoked long ago.
pub(super) async fn keys(tx: &mut Tx, after: &mut Uuid, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    each_gone(tx, (KEY, page_of_gone!("")), after, before, slice).await
}

/// Deleted subscriptions without any delivery.
pub(super) async fn subscriptions(tx: &mut Tx, after: &mut Uuid, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    let page = page_of_gone!(
        " AND coalesce((SELECT sum(t.n) FROM tallies t WHERE t.subscription = c.id::uuid \
          AND t.subscription <> '00000000-0000-0000-0000-000000000000' AND t.kind <= 6), 0) = 0"
    );
    each_gone(tx, (SUBSCRIPTION, page), after, before, slice).await
}

/// Deleted endpoints without any delivery. One that was not erased stays as long as a subscription names it.
pub(super) async fn endpoints(tx: &mut Tx, after: &mut Uuid, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    let page = page_of_gone!(
        " AND coalesce((SELECT sum(t.n) FROM tallies t WHERE t.endpoint = c.id::uuid \
          AND t.endpoint <> '00000000-0000-0000-0000-000000000000' AND t.kind <= 6), 0) = 0 \
          AND ((SELECT e.endpoint FROM erased_endpoints e WHERE e.endpoint = c.id::uuid) IS NOT NULL \
          OR (SELECT s.kind FROM config s WHERE s.endpoint = c.id::uuid LIMIT 1) IS NULL)"
    );
    each_gone(tx, (ENDPOINT, page), after, before, slice).await
}

async fn each_gone(tx: &mut Tx, (kind, sql): (i16, &str), after: &mut Uuid, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    let before = before.as_micros();
    while !slice.is_spent() {
        let (from, page) = (after.to_string(), slice.page());
        let rows = tx.conn.rows(sql, &[&kind, &from, &page, &before]).await?;
        let (ids, is_last) = slice.take(&rows, page, after)?;
        if !ids.is_empty() {
            slice.pruned.configuration += remove(tx, kind, &ids, before).await?;
        }
        if is_last {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes configuration that is still deleted, with what only it had; how much of it. With `coalesce` the index of all that is deleted will not do
/// for a look at these.
async fn remove(tx: &mut Tx, kind: i16, ids: &[Uuid], before: i64) -> Result<u64> {
    config::lock(&tx.conn).await?;
    let (kinds, texts): (Vec<i16>, Vec<String>) = ids.iter().map(|id| (kind, id.to_string())).unzip();
    let sql = "DELETE FROM config c USING unnest($1::int2[], $2::text[]) AS u (kind, id) \
               WHERE c.kind = ANY (ARRAY[u.kind]) AND c.id = u.id AND coalesce(c.gone_at < $3, false) \
               RETURNING c.id::uuid, (256 + octet_length(c.doc))::int8";
    let mut gone: Vec<Uuid> = Vec::new();
    for row in tx.conn.rows(sql, &[&kinds, &texts, &before]).await? {
        gone.push(get(&row, 0)?);
        tx.tallies.bytes(-get::<i64>(&row, 1)?);
    }
    match kind {
        // Nothing of these is among what is to be written with the commit: the slice has removed nothing else.
        SUBSCRIPTION => {
            let sql =
                "DELETE FROM tallies WHERE subscription = ANY ($1::uuid[]) AND subscription <> '00000000-0000-0000-0000-000000000000'";
            tx.conn.execute(sql, &[&gone]).await?;
        }
        ENDPOINT => {
            tx.conn.execute("DELETE FROM erased_endpoints WHERE endpoint = ANY ($1::uuid[])", &[&gone]).await?;
        }
        _ => {}
    }
    Ok(gone.len() as u64)
}
