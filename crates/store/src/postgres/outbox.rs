//! The outbox: events that applications have published in their own transactions, by the function `publish` of the schema.
//!
//! Rows are numbered when they are written and can be seen when they are committed, in another order. They leave at the front, and what is gone stays
//! in the index for as long as an old transaction may look at it. Looking from the first one on would mean to pass all of that each time, so that it is
//! remembered up to which number nothing waits and nothing comes any more: numbers that were given out, once all transactions have ended that were
//! there then. A transaction of `publish` has its own number before it takes one of these.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::publish;
use super::rows::{get, json, namespace, text};
use super::tx::Tx;
use bytes::Bytes;
use parking_lot::Mutex;
use postrider_core::ports::{NewEvent, OutboxEntry, Relay, Relayed};
use std::borrow::Cow;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::time::Instant;
use tokio_postgres::Row;

/// How often it is looked from the first row on all the same: people may have put one back with their own hands.
const LOOK_AT_ALL: Duration = Duration::from_secs(30);

/// Whatever the statistics say: the table is empty most of the time.
const SETTINGS: &str = "SET LOCAL enable_seqscan = off; SET LOCAL enable_bitmapscan = off; SET LOCAL plan_cache_mode = force_generic_plan";

/// The last number that was given out, the oldest transaction that has not ended, and the one that comes next.
const STAND: &str = "SELECT CASE WHEN q.is_called THEN q.last_value ELSE 0 END, pg_snapshot_xmin(s)::text::int8, pg_snapshot_xmax(s)::text::int8 \
                     FROM outbox_id_seq q, pg_current_snapshot() AS s";

/// Rows in their order until their payloads sum up to so many bytes; at least one, if there is any. No payload is looked into that is not answered.
const WAITING: &str = "SELECT s.id, s.namespace, s.type, s.payload, s.labels::text, s.metadata::text, s.idempotency_key, \
     (extract(epoch FROM s.ttl) * 1000000)::int8 \
     FROM (SELECT o.*, sum(octet_length(o.payload)) OVER (ORDER BY o.id ROWS UNBOUNDED PRECEDING) - octet_length(o.payload) AS before \
     FROM outbox o WHERE o.refused_at IS NULL AND o.id > $1::int8 ORDER BY o.id LIMIT $2::int8) s WHERE s.before < $3::int8 ORDER BY s.id";

/// Those that are there, and that nobody else has in hand.
const TAKE: &str = "DELETE FROM outbox o WHERE o.refused_at IS NULL AND o.id = ANY (ARRAY(SELECT w.id FROM outbox w \
                    WHERE w.refused_at IS NULL AND w.id = ANY ($1::int8[]) ORDER BY w.id FOR UPDATE SKIP LOCKED)) RETURNING o.id";

const REFUSE: &str = "UPDATE outbox SET refused_at = clock_timestamp(), refused = ($2::text[])[array_position($1::int8[], id)] \
                      WHERE refused_at IS NULL AND id = ANY ($1::int8[]) RETURNING id";

const FORGET: &str = "DELETE FROM outbox o WHERE o.ctid = ANY (ARRAY(SELECT r.ctid FROM outbox r \
                      WHERE r.refused_at < now() - $1::int8 * interval '1 microsecond' ORDER BY r.refused_at LIMIT $2::int8 \
                      FOR UPDATE SKIP LOCKED))";

/// Up to which number nothing waits any more and nothing comes.
#[derive(Debug, Default)]
pub(super) struct Floor(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    at: i64,
    /// The last number that was given out when it was looked before.
    given: i64,
    /// These were given out, and all of them to transactions before that one.
    candidate: Option<(i64, i64)>,
    looked_at_all: Option<Instant>,
}

/// What [`STAND`] says.
#[derive(Clone, Copy, Debug)]
struct Stand {
    given: i64,
    oldest: i64,
    next: i64,
}

impl State {
    /// Behind which number to look.
    fn begin(&mut self, now: Instant) -> i64 {
        if self.looked_at_all.is_some_and(|at| now.duration_since(at) < LOOK_AT_ALL) {
            return self.at;
        }
        self.looked_at_all = Some(now);
        0
    }

    /// It was looked, all of it at a moment, and this was the first that was found.
    fn end(&mut self, stand: Stand, first: Option<i64>) {
        if let Some((given, _)) = self.candidate.take_if(|(_, next)| *next <= stand.oldest) {
            self.at = self.at.max(given);
        }
        // What was given out by the look before, was given out to transactions that had begun by this one.
        if self.candidate.is_none() && self.given > self.at {
            self.candidate = Some((self.given, stand.next));
        }
        self.given = stand.given;
        self.at = first.map_or(self.at, |first| self.at.min(first - 1));
    }
}

/// Entries that are to be relayed, within a snapshot.
pub(super) async fn waiting(conn: &Conn, floor: &Floor, limit: u32, max_bytes: u64) -> Result<Vec<OutboxEntry>> {
    conn.batch(SETTINGS).await?;
    let from = floor.0.lock().begin(Instant::now());
    let stand = conn.only(STAND, &[]).await?;
    let max_bytes = i64::try_from(max_bytes).unwrap_or(i64::MAX);
    let rows = conn.rows(WAITING, &[&from, &i64::from(limit), &max_bytes]).await?;
    let entries = rows.iter().map(entry).collect::<Result<Vec<_>>>()?;
    let stand = Stand { given: get(&stand, 0)?, oldest: get(&stand, 1)?, next: get(&stand, 2)? };
    floor.0.lock().end(stand, entries.first().map(|first| first.id));
    Ok(entries)
}

fn entry(row: &Row) -> Result<OutboxEntry> {
    Ok(OutboxEntry {
        id: get(row, 0)?,
        namespace: namespace(row, 1)?,
        event_type: get::<&str>(row, 2)?.into(),
        payload: Bytes::copy_from_slice(get::<&str>(row, 3)?.as_bytes()),
        labels: json(row, 4)?,
        metadata: json(row, 5)?,
        idempotency_key: get(row, 6)?,
        ttl: get::<Option<i64>>(row, 7)?.map(|us| Duration::from_micros(us.unsigned_abs())),
    })
}

/// Turns entries into events, and puts those aside that cannot become one. Each comes once.
pub(super) async fn relay(tx: &mut Tx, entries: &[(i64, Relay)]) -> Result<Vec<Relayed>> {
    let taken = take(&tx.conn, entries).await?;
    let events: Vec<&NewEvent> = entries.iter().filter(|(id, _)| taken.contains(id)).filter_map(|(_, relay)| new_event(relay)).collect();
    let mut published = publish::publish(tx, &events).await?.into_iter();
    let refused = refuse(&tx.conn, entries).await?;
    let mut answers = Vec::with_capacity(entries.len());
    for (id, _) in entries {
        answers.push(if taken.contains(id) {
            Relayed::Published(published.next().ok_or_else(|| bad_value("an entry of the outbox without an event"))?)
        } else if refused.contains(id) {
            Relayed::Refused
        } else {
            Relayed::Gone
        });
    }
    Ok(answers)
}

fn new_event(relay: &Relay) -> Option<&NewEvent> {
    match relay {
        Relay::Publish(event) => Some(event),
        Relay::Refuse(_) => None,
    }
}

async fn take(conn: &Conn, entries: &[(i64, Relay)]) -> Result<BTreeSet<i64>> {
    let ids: Vec<i64> = entries.iter().filter(|(_, relay)| new_event(relay).is_some()).map(|(id, _)| *id).collect();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    conn.rows(TAKE, &[&ids]).await?.iter().map(|row| get(row, 0)).collect()
}

async fn refuse(conn: &Conn, entries: &[(i64, Relay)]) -> Result<BTreeSet<i64>> {
    let refusals = entries.iter().filter_map(|(id, relay)| match relay {
        Relay::Refuse(why) => Some((*id, text(why))),
        Relay::Publish(_) => None,
    });
    let (ids, reasons): (Vec<i64>, Vec<Cow<'_, str>>) = refusals.unzip();
    if ids.is_empty() {
        return Ok(BTreeSet::new());
    }
    conn.rows(REFUSE, &[&ids, &reasons]).await?.iter().map(|row| get(row, 0)).collect()
}

/// Forgets entries that were refused longer ago than this, up to `limit`; answers how many.
pub(super) async fn forget(tx: &mut Tx, age: Duration, limit: u32) -> Result<u64> {
    let age = i64::try_from(age.as_micros()).unwrap_or(i64::MAX);
    tx.conn.execute(FORGET, &[&age, &i64::from(limit)]).await
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stand(given: i64, oldest: i64, next: i64) -> Stand {
        Stand { given, oldest, next }
    }

    /// Looks, and answers behind which number.
    fn look(state: &mut State, now: Instant, stand: Stand, first: Option<i64>) -> i64 {
        let from = state.begin(now);
        state.end(stand, first);
        from
    }

    #[test]
    fn the_floor_rises_once_all_have_ended_who_had_a_number() {
        let (mut state, now) = (State::default(), Instant::now());
        assert_eq!(look(&mut state, now, stand(10, 100, 105), None), 0);
        // Whoever had one of the first ten numbers had begun by now: it is one of those below 106.
        assert_eq!(look(&mut state, now, stand(12, 101, 106), None), 0);
        assert_eq!(state.candidate, Some((10, 106)));
        assert_eq!(look(&mut state, now, stand(12, 105, 109), None), 0, "105 goes on, and may have one of them");
        assert_eq!(look(&mut state, now, stand(13, 106, 110), None), 0);
        assert_eq!(look(&mut state, now, stand(13, 107, 110), None), 10);
    }

    #[test]
    fn what_waits_holds_the_floor() {
        let (mut state, now) = (State::default(), Instant::now());
        for next in 1..9 {
            look(&mut state, now, stand(50, next, next), Some(7));
        }
        assert_eq!(state.begin(now), 6);
        look(&mut state, now, stand(50, 9, 9), None);
        look(&mut state, now, stand(50, 9, 9), None);
        look(&mut state, now, stand(50, 9, 9), None);
        assert_eq!(state.begin(now), 50);
    }

    #[test]
    fn now_and_then_it_is_looked_at_all() {
        let (mut state, now) = (State::default(), Instant::now());
        for next in 1..4 {
            look(&mut state, now, stand(50, next, next), None);
        }
        assert_eq!(state.begin(now), 50);
        let later = now + LOOK_AT_ALL;
        assert_eq!(look(&mut state, later, stand(50, 5, 5), Some(3)), 0, "somebody has put one back");
        assert_eq!(state.begin(later), 2, "and there may be more behind it");
    }
}
