//! Requests with a key of the client's: what is being done, and the answers to what was done.
//!
//! A request's row is locked before the row of its owner's answers. Whoever makes room has that one already, and passes over requests that
//! others have.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{get, text, time, to_json};
use super::tx::Tx;
use crate::room::ROW;
use bytes::Bytes;
use postrider_core::ports::{Begun, MAX_ANSWER_BYTES, MAX_ANSWERS, NewRequest, RequestKey, StoredResponse};
use postrider_core::time::Timestamp;
use std::borrow::Cow;
use tokio_postgres::Row;
use uuid::Uuid;

/// How many answers one makes room for at the most: there is another turn with the next answer.
const TRIMMED: i64 = 64;

/// A key that is known.
struct Known {
    is_same: bool,
    seed: Uuid,
    incarnation: i64,
    created_at: Timestamp,
    /// The answer, with its size as it was counted.
    response: Option<(StoredResponse, i64)>,
}

impl Known {
    fn read(row: &Row, request: &NewRequest) -> Result<Self> {
        let response = match get::<Option<i16>>(row, 4)? {
            None => None,
            Some(status) => {
                let status = u16::try_from(status).map_err(bad_value)?;
                let headers = serde_json::from_str(get(row, 5)?).map_err(bad_value)?;
                Some((StoredResponse { status, headers, body: Bytes::copy_from_slice(get(row, 6)?) }, get(row, 7)?))
            }
        };
        Ok(Known {
            is_same: get::<&[u8]>(row, 0)? == &request.fingerprint[..],
            seed: get(row, 1)?,
            incarnation: get(row, 2)?,
            created_at: time(row, 3)?,
            response,
        })
    }
}

/// What names a request, as it is written.
fn named(key: &RequestKey) -> [Cow<'_, str>; 3] {
    [text(&key.owner), text(&key.scope), text(&key.key)]
}

/// Whether this key is known, or was.
pub(super) async fn is_known(conn: &Conn, request: &NewRequest) -> Result<bool> {
    let [owner, scope, key] = named(&request.key);
    let sql = "SELECT 1 FROM requests WHERE owner = $1 AND scope = $2 AND key = $3";
    Ok(conn.row(sql, &[&owner, &scope, &key]).await?.is_some())
}

/// Notes that a request is being done, unless it is or was already.
pub(super) async fn begin(tx: &mut Tx, request: &NewRequest) -> Result<Begun> {
    let [owner, scope, key] = named(&request.key);
    let (fingerprint, at): (&[u8], i64) = (&request.fingerprint, request.at.as_micros());
    let insert = "INSERT INTO requests (owner, scope, key, fingerprint, seed, incarnation, created_at) VALUES ($1, $2, $3, $4, $5, $6, $7) \
                  ON CONFLICT (owner, scope, key) DO NOTHING";
    let look = "SELECT fingerprint, seed, incarnation, created_at, status, headers, body, size FROM requests \
                WHERE owner = $1 AND scope = $2 AND key = $3 FOR UPDATE";
    loop {
        // Of two at once one inserts; the other waits until that is committed, and finds the row.
        let new: u64 = tx.conn.execute(insert, &[&owner, &scope, &key, &fingerprint, &request.seed, &tx.incarnation, &at]).await?;
        if new == 1 {
            tx.tallies.bytes(ROW as i64);
            return Ok(Begun::New { seed: request.seed, again: false });
        }
        // Retention may have removed it in between: then it is new after all.
        if let Some(row) = tx.conn.row(look, &[&owner, &scope, &key]).await? {
            return go_on(tx, request, Known::read(&row, request)?).await;
        }
    }
}

/// What is to be done with a request whose key is known, and locked.
async fn go_on(tx: &mut Tx, request: &NewRequest, known: Known) -> Result<Begun> {
    if request.forgets(known.created_at) {
        anew(tx, request, known.response.map(|(_, size)| size)).await?;
        return Ok(Begun::New { seed: request.seed, again: false });
    }
    if !known.is_same {
        return Ok(Begun::Mismatch);
    }
    if let Some((response, _)) = known.response {
        return Ok(Begun::Done(response));
    }
    if known.incarnation == tx.incarnation && known.seed == request.seed {
        // It is this one, begun by a try whose answer was lost.
        return Ok(Begun::New { seed: known.seed, again: false });
    }
    if known.incarnation == tx.incarnation || is_alive(&tx.conn, known.incarnation).await? {
        return Ok(Begun::Running);
    }
    let [owner, scope, key] = named(&request.key);
    let sql = "UPDATE requests SET incarnation = $4 WHERE owner = $1 AND scope = $2 AND key = $3";
    tx.conn.execute(sql, &[&owner, &scope, &key, &tx.incarnation]).await?;
    Ok(Begun::New { seed: known.seed, again: true })
}

/// Whether an engine is alive. A statement of its own behind the lock, so that it sees whoever had the row before.
async fn is_alive(conn: &Conn, incarnation: i64) -> Result<bool> {
    let sql = "SELECT 1 FROM living WHERE incarnation = $1";
    Ok(conn.row(sql, &[&incarnation]).await?.is_some())
}

/// Begins a request whose key was forgotten.
async fn anew(tx: &mut Tx, request: &NewRequest, answered: Option<i64>) -> Result<()> {
    let [owner, scope, key] = named(&request.key);
    let (fingerprint, at): (&[u8], i64) = (&request.fingerprint, request.at.as_micros());
    let sql = "UPDATE requests SET fingerprint = $4, seed = $5, incarnation = $6, created_at = $7, status = NULL, size = NULL, \
               headers = NULL, body = NULL WHERE owner = $1 AND scope = $2 AND key = $3";
    tx.conn.execute(sql, &[&owner, &scope, &key, &fingerprint, &request.seed, &tx.incarnation, &at]).await?;
    match answered {
        Some(size) => fewer(tx, &owner, 1, size).await,
        None => Ok(()),
    }
}

/// Notes the answer to a request that this engine is doing, or that it has none to keep: then whoever asks again has it done again, with its
/// seed.
pub(super) async fn end(tx: &mut Tx, key: &RequestKey, response: Option<&StoredResponse>) -> Result<()> {
    let [owner, scope, key] = named(key);
    let Some(response) = response else {
        let sql =
            "UPDATE requests SET incarnation = 0 WHERE owner = $1 AND scope = $2 AND key = $3 AND incarnation = $4 AND status IS NULL";
        tx.conn.execute(sql, &[&owner, &scope, &key, &tx.incarnation]).await?;
        return Ok(());
    };
    let status = i16::try_from(response.status).map_err(bad_value)?;
    let size = i64::try_from(response.size()).unwrap_or(i64::MAX);
    let (headers, body): (String, &[u8]) = (to_json(&response.headers)?, &response.body);
    let sql = "UPDATE requests SET status = $5, size = $6, headers = $7, body = $8 \
               WHERE owner = $1 AND scope = $2 AND key = $3 AND incarnation = $4 AND status IS NULL";
    let ended: u64 = tx.conn.execute(sql, &[&owner, &scope, &key, &tx.incarnation, &status, &size, &headers, &body]).await?;
    if ended == 0 {
        return Ok(());
    }
    tx.tallies.bytes(size);
    let sql = "INSERT INTO answers AS a (owner, n, bytes) VALUES ($1, 1, $2) \
               ON CONFLICT (owner) DO UPDATE SET n = a.n + 1, bytes = a.bytes + excluded.bytes RETURNING n, bytes";
    // The owner's row is locked from here on, so that the numbers stay right.
    let row = tx.conn.only(sql, &[&owner, &size]).await?;
    trim(tx, &owner, get::<i64>(&row, 0)? - MAX_ANSWERS as i64, get::<i64>(&row, 1)? - MAX_ANSWER_BYTES as i64).await
}

/// The oldest answers of an owner until the others keep to the bounds, where `$2` answers or `$3` bytes are too many. With `+ 0` the index of all
/// that are answered will not do for a look at one.
const TOO_MANY: &str = "SELECT r.scope, r.key, r.size FROM ( \
     SELECT scope, key, row_number() OVER oldest AS nth, sum(size) OVER oldest - size AS before \
     FROM requests WHERE owner = $1 AND status IS NOT NULL \
     WINDOW oldest AS (ORDER BY created_at, scope COLLATE \"C\", key COLLATE \"C\" ROWS UNBOUNDED PRECEDING) \
     ORDER BY created_at, scope COLLATE \"C\", key COLLATE \"C\" LIMIT $4 \
     ) o CROSS JOIN LATERAL (SELECT scope, key, size FROM requests \
     WHERE owner = $1 AND scope = o.scope AND key = o.key AND status + 0 IS NOT NULL FOR UPDATE SKIP LOCKED) r \
     WHERE o.nth <= $2::int8 OR o.before < $3::int8";

/// Removes the oldest answers of an owner that has so many too many, or so many bytes. Their requests stay known.
async fn trim(tx: &mut Tx, owner: &str, n: i64, bytes: i64) -> Result<()> {
    if n <= 0 && bytes <= 0 {
        return Ok(());
    }
    let oldest = tx.conn.rows(TOO_MANY, &[&owner, &n, &bytes, &TRIMMED]).await?;
    if oldest.is_empty() {
        return Ok(());
    }
    let (mut scopes, mut keys, mut freed): (Vec<&str>, Vec<&str>, i64) = (Vec::new(), Vec::new(), 0);
    for row in &oldest {
        scopes.push(get(row, 0)?);
        keys.push(get(row, 1)?);
        freed += get::<i64>(row, 2)?;
    }
    let sql = "UPDATE requests r SET status = NULL, size = NULL, headers = NULL, body = NULL, incarnation = 0 \
               FROM unnest($1::text[], $2::text[], $3::text[]) AS u (owner, scope, key) \
               WHERE r.owner = ANY (ARRAY[u.owner]) AND r.scope = u.scope AND r.key = u.key";
    tx.conn.execute(sql, &[&vec![owner; oldest.len()], &scopes, &keys]).await?;
    fewer(tx, owner, oldest.len() as i64, freed).await
}

/// Counts answers that went.
async fn fewer(tx: &mut Tx, owner: &str, n: i64, bytes: i64) -> Result<()> {
    tx.tallies.bytes(-bytes);
    let sql = "UPDATE answers SET n = n - $2, bytes = bytes - $3 WHERE owner = $1 RETURNING n";
    let left = tx.conn.row(sql, &[&owner, &n, &bytes]).await?.map(|row| get::<i64>(&row, 0)).transpose()?;
    if left == Some(0) {
        tx.conn.execute("DELETE FROM answers WHERE owner = $1", &[&owner]).await?;
    }
    Ok(())
}
