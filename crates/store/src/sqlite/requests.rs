//! Requests with a key of the client's: what is being done, and the answers to what was done.

use super::rows::{all, json, one, time, to_json};
use super::session::Session;
use crate::error::bad_value;
use bytes::Bytes;
use postrider_core::ports::{Begun, MAX_ANSWER_BYTES, MAX_ANSWERS, NewRequest, RequestKey, StoredResponse};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use uuid::Uuid;

/// How many answers one makes room for at the most.
const TRIMMED: usize = 64;

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
    let RequestKey { owner, scope, key } = &request.key;
    let sql = "SELECT fingerprint, seed, incarnation, created_at, status, headers, body FROM requests \
               WHERE owner = ?1 AND scope = ?2 AND key = ?3";
    let known = one(&s.conn, sql, &[owner, scope, key], Known::read)?.filter(|known| !request.forgets(known.created_at));
    match known {
        None => {
            forget(&s.conn, &request.key)?;
            let sql = "INSERT INTO requests (owner, scope, key, fingerprint, seed, incarnation, created_at) \
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
            let (seed, at) = (request.seed.as_bytes(), request.at.as_micros());
            s.conn.prepare_cached(sql)?.execute(params![owner, scope, key, request.fingerprint, seed, s.incarnation, at])?;
            Ok(Begun::New { seed: request.seed, again: false })
        }
        Some(known) if known.fingerprint != request.fingerprint => Ok(Begun::Mismatch),
        Some(Known { response: Some(response), .. }) => Ok(Begun::Done(response)),
        Some(known) if known.incarnation == s.incarnation && known.seed == request.seed => {
            Ok(Begun::New { seed: known.seed, again: false })
        }
        Some(known) if known.incarnation == s.incarnation => Ok(Begun::Running),
        Some(known) => {
            let sql = "UPDATE requests SET incarnation = ?4 WHERE owner = ?1 AND scope = ?2 AND key = ?3";
            s.conn.prepare_cached(sql)?.execute(params![owner, scope, key, s.incarnation])?;
            Ok(Begun::New { seed: known.seed, again: true })
        }
    }
}

/// Whether this key is known, or was.
pub(super) fn is_known(conn: &Connection, key: &RequestKey) -> Result<bool> {
    let RequestKey { owner, scope, key } = key;
    let sql = "SELECT 1 FROM requests WHERE owner = ?1 AND scope = ?2 AND key = ?3";
    Ok(one(conn, sql, &[owner, scope, key], |_| Ok(()))?.is_some())
}

/// Notes the answer to a request that this engine is doing, or that it has none to keep: then whoever asks again has it done again, with its seed.
pub(super) fn end(s: &mut Session, key: &RequestKey, response: Option<&StoredResponse>) -> Result<()> {
    let RequestKey { owner, scope, key } = key;
    let Some(response) = response else {
        let sql =
            "UPDATE requests SET incarnation = 0 WHERE owner = ?1 AND scope = ?2 AND key = ?3 AND incarnation = ?4 AND status IS NULL";
        return s.conn.prepare_cached(sql)?.execute(params![owner, scope, key, s.incarnation]).map(drop);
    };
    let sql = "UPDATE requests SET status = ?5, size = ?6, headers = ?7, body = ?8 \
               WHERE owner = ?1 AND scope = ?2 AND key = ?3 AND incarnation = ?4 AND status IS NULL";
    let (size, headers) = (i64::try_from(response.size()).unwrap_or(i64::MAX), to_json(&response.headers)?);
    let answer = params![owner, scope, key, s.incarnation, response.status, size, headers, &response.body[..]];
    if s.conn.prepare_cached(sql)?.execute(answer)? == 1 {
        count(&s.conn, owner, 1, size)?;
        trim(&s.conn, owner, MAX_ANSWERS, MAX_ANSWER_BYTES)?;
    }
    Ok(())
}

fn forget(conn: &Connection, key: &RequestKey) -> Result<()> {
    let RequestKey { owner, scope, key } = key;
    let sql = "DELETE FROM requests WHERE owner = ?1 AND scope = ?2 AND key = ?3 RETURNING size";
    let size = one(conn, sql, &[owner, scope, key], |row| row.get::<_, Option<i64>>(0))?;
    size.flatten().map_or(Ok(()), |size| count(conn, owner, -1, -size))
}

/// Counts answers that came, or went if negative.
fn count(conn: &Connection, owner: &str, n: i64, bytes: i64) -> Result<()> {
    let sql = "INSERT INTO answers (owner, n, bytes) VALUES (?1, ?2, ?3) ON CONFLICT (owner) DO UPDATE SET n = n + ?2, bytes = bytes + ?3";
    conn.prepare_cached(sql)?.execute(params![owner, n, bytes])?;
    if n < 0 {
        conn.prepare_cached("DELETE FROM answers WHERE owner = ?1 AND n = 0")?.execute([owner])?;
    }
    Ok(())
}

/// Removes the oldest answers of an owner until the others keep to these bounds, but no more than a writer's turn has time for: there is another
/// turn with the next answer. Their requests stay known.
fn trim(conn: &Connection, owner: &str, most: u64, most_bytes: u64) -> Result<()> {
    let kept = "SELECT n > ?2 OR bytes > ?3 FROM answers WHERE owner = ?1";
    let (most, most_bytes) = (i64::try_from(most).unwrap_or(i64::MAX), i64::try_from(most_bytes).unwrap_or(i64::MAX));
    for _ in 0..TRIMMED {
        if !one(conn, kept, &[&owner, &most, &most_bytes], |row| row.get(0))?.unwrap_or(false) {
            return Ok(());
        }
        let oldest = "SELECT scope, key, size FROM requests INDEXED BY requests_answered WHERE owner = ?1 AND status IS NOT NULL \
                      ORDER BY created_at, scope, key LIMIT 1";
        let read = |row: &Row<'_>| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?, row.get::<_, i64>(2)?));
        let Some((scope, key, size)) = one(conn, oldest, &[&owner], read)? else { return Ok(()) };
        let sql = "UPDATE requests SET status = NULL, size = NULL, headers = NULL, body = NULL, incarnation = 0 \
                   WHERE owner = ?1 AND scope = ?2 AND key = ?3";
        conn.prepare_cached(sql)?.execute([owner, &scope, &key])?;
        count(conn, owner, -1, -size)?;
    }
    Ok(())
}

/// Removes up to `limit` keys that were first used before this; how many.
pub(super) fn prune(conn: &Connection, before: Timestamp, limit: i64) -> Result<u64> {
    let sql = "DELETE FROM requests WHERE (owner, scope, key) IN (SELECT owner, scope, key FROM requests INDEXED BY requests_created \
               WHERE created_at < ?1 ORDER BY created_at LIMIT ?2) RETURNING owner, size";
    let gone = all(conn, sql, &[&before.as_micros(), &limit], |row| Ok((row.get::<_, String>(0)?, row.get::<_, Option<i64>>(1)?)))?;
    for (owner, size) in &gone {
        if let Some(size) = size {
            count(conn, owner, -1, -size)?;
        }
    }
    Ok(gone.len() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `n` answers of that size, the first one the oldest.
    fn answered(conn: &Connection, owner: &str, n: i64, size: i64) {
        for at in 0..n {
            let sql = "INSERT INTO requests (owner, scope, key, fingerprint, seed, incarnation, created_at, status, size, headers, body) \
                       VALUES (?1, 's', ?2, zeroblob(32), zeroblob(16), 1, ?3, 200, ?4, '[]', x'')";
            // Their keys ascend the other way.
            conn.execute(sql, params![owner, format!("{}", 9 - at), at, size]).expect("inserts");
            count(conn, owner, 1, size).expect("counts");
        }
    }

    #[test]
    fn the_oldest_answers_go_until_the_others_keep_to_the_bounds() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        answered(&conn, "a", 6, 10);
        answered(&conn, "b", 6, 10);
        let keys = |owner: &str| -> String {
            let sql = "SELECT key FROM requests WHERE owner = ?1 AND status IS NOT NULL ORDER BY created_at";
            all(&conn, sql, &[&owner], |row| row.get::<_, String>(0)).expect("keys").concat()
        };
        trim(&conn, "a", 6, 60).expect("trims");
        assert_eq!(keys("a"), "987654", "as many as may be kept");
        trim(&conn, "a", 4, 60).expect("trims");
        assert_eq!(keys("a"), "7654");
        trim(&conn, "a", 4, 25).expect("trims");
        assert_eq!(keys("a"), "54");
        trim(&conn, "a", 4, 5).expect("trims");
        assert_eq!((keys("a"), keys("b")), (String::new(), String::from("987654")), "nobody else's");
        assert_eq!(prune(&conn, Timestamp::from_micros(4), 10), Ok(8), "four of each");
        let left = one(&conn, "SELECT n, bytes FROM answers", &[], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, i64>(1)?)));
        assert_eq!(left, Ok(Some((2, 20))));
    }
}
