//! Requests with a key of the client's: what is being done, and the answers to what was done.

use super::rows::{json, one, time, to_json};
use super::session::Session;
use crate::error::bad_value;
use bytes::Bytes;
use postrider_core::ports::{Begun, NewRequest, RequestKey, StoredResponse};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use uuid::Uuid;

/// A key that is known.
struct Known {
    fingerprint: [u8; 32],
    seed: Uuid,
    incarnation: i64,
    created_at: Timestamp,
    response: Option<StoredResponse>,
}

impl Known {
    fn read(row: &Row<'_>) -> Result<Self> {
        let response = match row.get::<_, Option<u16>>(4)? {
            None => None,
            Some(status) => {
                let body = row.get_ref(6)?.as_blob().map_err(|e| bad_value(6, e))?;
                Some(StoredResponse { status, headers: json(row, 5)?, body: Bytes::copy_from_slice(body) })
            }
        };
        Ok(Known {
            fingerprint: row.get(0)?,
            seed: Uuid::from_bytes(row.get(1)?),
            incarnation: row.get(2)?,
            created_at: time(row, 3)?,
            response,
        })
    }
}

/// Notes that a request is being done, unless it is or was already.
pub(super) fn begin(s: &mut Session, request: &NewRequest) -> Result<Begun> {
    let RequestKey { scope, key } = &request.key;
    let sql = "SELECT fingerprint, seed, incarnation, created_at, status, headers, body FROM requests WHERE scope = ?1 AND key = ?2";
    let known = one(&s.conn, sql, &[scope, key], Known::read)?.filter(|known| !request.forgets(known.created_at));
    match known {
        None => {
            let sql = "INSERT OR REPLACE INTO requests (scope, key, fingerprint, seed, incarnation, created_at) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
            let (seed, at) = (request.seed.as_bytes(), request.at.as_micros());
            s.conn.prepare_cached(sql)?.execute(params![scope, key, request.fingerprint, seed, s.incarnation, at])?;
            Ok(Begun::New { seed: request.seed, again: false })
        }
        Some(known) if known.fingerprint != request.fingerprint => Ok(Begun::Mismatch),
        Some(Known { response: Some(response), .. }) => Ok(Begun::Done(response)),
        Some(known) if known.incarnation == s.incarnation => Ok(Begun::Running),
        Some(known) => {
            let sql = "UPDATE requests SET incarnation = ?3 WHERE scope = ?1 AND key = ?2";
            s.conn.prepare_cached(sql)?.execute(params![scope, key, s.incarnation])?;
            Ok(Begun::New { seed: known.seed, again: true })
        }
    }
}

/// Whether this key is known, or was.
pub(super) fn is_known(conn: &Connection, key: &RequestKey) -> Result<bool> {
    let RequestKey { scope, key } = key;
    Ok(one(conn, "SELECT 1 FROM requests WHERE scope = ?1 AND key = ?2", &[scope, key], |_| Ok(()))?.is_some())
}

/// Notes the answer to a request that this engine is doing, or forgets the request.
pub(super) fn end(s: &mut Session, key: &RequestKey, response: Option<&StoredResponse>) -> Result<()> {
    let RequestKey { scope, key } = key;
    match response {
        None => {
            let sql = "DELETE FROM requests WHERE scope = ?1 AND key = ?2 AND incarnation = ?3 AND status IS NULL";
            s.conn.prepare_cached(sql)?.execute(params![scope, key, s.incarnation])?;
        }
        Some(response) => {
            let sql = "UPDATE requests SET status = ?4, headers = ?5, body = ?6 \
                       WHERE scope = ?1 AND key = ?2 AND incarnation = ?3 AND status IS NULL";
            let headers = to_json(&response.headers)?;
            s.conn.prepare_cached(sql)?.execute(params![scope, key, s.incarnation, response.status, headers, &response.body[..]])?;
        }
    }
    Ok(())
}

/// Removes up to `limit` keys that were first used before this; how many.
pub(super) fn prune(conn: &Connection, before: Timestamp, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM requests WHERE (scope, key) IN \
               (SELECT scope, key FROM requests INDEXED BY requests_created WHERE created_at < ?1 ORDER BY created_at LIMIT ?2)";
    Ok(conn.prepare_cached(sql)?.execute(params![before.as_micros(), limit])? as u64)
}
