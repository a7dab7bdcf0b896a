//! Shards of numbers are put together again: nodes come and go, each with shards of its own, and most of what is counted is counted once. Retention
//! does that, page by page through all of them, and numbers that have come to nothing go.

use super::super::error::Result;
use super::super::prune::Slice;
use super::super::rows::get;
use super::super::tx::Tx;
use super::{Columns, Key};
use tokio_postgres::Row;
use uuid::Uuid;

/// The last ones that were looked at.
#[derive(Clone, Debug, Default)]
pub(in crate::postgres) struct Place {
    /// Whether any were.
    is_begun: bool,
    namespace: String,
    subscription: Uuid,
    endpoint: Uuid,
}

/// Numbers of everything and of a namespace are written all the time, and whoever does so waits for whoever puts them together: that is for more shards
/// than so many.
const MOST_OF_MANY: i64 = 64;

/// All numbers of some subscriptions and endpoints, with how many shards each has, and of how many of them there is nothing.
macro_rules! page {
    ($from:literal) => {
        concat!(
            "SELECT t.namespace, t.subscription, t.endpoint, t.kind, t.code, count(*), count(*) FILTER (WHERE t.n = 0) \
             FROM (SELECT * FROM tallies WHERE (namespace, subscription, endpoint) ",
            $from,
            " ($1::text, $2::uuid, $3::uuid) ORDER BY namespace, subscription, endpoint FETCH FIRST ($4::int8) ROWS WITH TIES) t \
             GROUP BY t.namespace, t.subscription, t.endpoint, t.kind, t.code ORDER BY t.namespace, t.subscription, t.endpoint, t.kind, t.code"
        )
    };
}
const FIRST_PAGE: &str = page!(">=");
const NEXT_PAGE: &str = page!(">");

/// Takes shards out, but for those that somebody writes, and waits for nobody. Whoever comes to write one of them meanwhile waits until all of this is
/// committed, and then begins it anew.
const TAKE: &str = "WITH held AS MATERIALIZED (SELECT u.namespace, u.subscription, u.endpoint, u.kind, u.code, t.shard \
     FROM unnest($1::text[], $2::uuid[], $3::uuid[], $4::int2[], $5::text[]) WITH ORDINALITY \
     AS u (namespace, subscription, endpoint, kind, code, at) CROSS JOIN LATERAL (SELECT shard FROM tallies \
     WHERE namespace = u.namespace AND subscription = u.subscription AND endpoint = u.endpoint AND kind = u.kind AND code = u.code \
     ORDER BY shard FOR UPDATE SKIP LOCKED) t), \
     taken AS (DELETE FROM tallies t USING held h WHERE t.namespace = ANY (ARRAY[h.namespace]) AND t.subscription = h.subscription \
     AND t.endpoint = h.endpoint AND t.kind = h.kind AND t.code = h.code AND t.shard = h.shard RETURNING t.namespace, t.subscription, t.endpoint, t.kind, t.code, t.n) \
     SELECT namespace, subscription, endpoint, kind, code, sum(n)::int8 FROM taken GROUP BY 1, 2, 3, 4, 5";

fn key(row: &Row) -> Result<Key> {
    Ok(Key { namespace: get(row, 0)?, subscription: get(row, 1)?, endpoint: get(row, 2)?, kind: get(row, 3)?, code: get(row, 4)? })
}

/// Whether it is of a namespace or of everything.
fn is_of_many(key: &Key) -> bool {
    key.subscription.is_nil() && key.endpoint.is_nil()
}

/// Whether it is worth it, for a number of so many shards. What has come to nothing goes.
fn is_worth_it(key: &Key, shards: i64, empty: i64) -> bool {
    if is_of_many(key) { shards > MOST_OF_MANY || (empty == shards && !key.namespace.is_empty()) } else { shards > 1 || empty > 0 }
}

/// Goes on with it; whether it has come to its end. A transaction that changes numbers otherwise must not do it.
pub(in crate::postgres) async fn fold(tx: &mut Tx, after: &mut Place, slice: &mut Slice) -> Result<bool> {
    while !slice.is_spent() {
        let (page, mut looked_at, mut keys) = (slice.page(), 0, Vec::new());
        let sql = if after.is_begun { NEXT_PAGE } else { FIRST_PAGE };
        let rows = tx.conn.rows(sql, &[&after.namespace, &after.subscription, &after.endpoint, &page]).await?;
        for row in &rows {
            let (key, shards, empty): (Key, i64, i64) = (key(row)?, get(row, 5)?, get(row, 6)?);
            looked_at += shards;
            if is_worth_it(&key, shards, empty) {
                keys.push(key);
            }
        }
        if let Some(last) = rows.last() {
            *after = Place { is_begun: true, namespace: get(last, 0)?, subscription: get(last, 1)?, endpoint: get(last, 2)? };
        }
        slice.looked(usize::try_from(looked_at).unwrap_or(usize::MAX));
        take(tx, &keys).await?;
        if looked_at < page {
            return Ok(true);
        }
        if keys.iter().any(is_of_many) {
            // Nobody waits for more than that.
            return Ok(false);
        }
    }
    Ok(false)
}

/// Puts these together in the transaction's own shards.
async fn take(tx: &mut Tx, keys: &[Key]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let Columns { namespaces, subscriptions, endpoints, kinds, codes } = &Columns::of(keys.iter());
    for row in &tx.conn.rows(TAKE, &[namespaces, subscriptions, endpoints, kinds, codes]).await? {
        tx.tallies.put(key(row)?, get(row, 5)?);
    }
    Ok(())
}
