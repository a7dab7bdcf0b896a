//! How well endpoints do: a tally for each, read and written once for all outcomes of a transaction.
//!
//! Indexes have the class and the time at which an hour leaves the window, which seldom change: where they do not, a row is written and no
//! index. Whoever writes has locked the row when he reads it, so that nobody's outcomes are lost.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::rows::{count, get, id, int, micros};
use super::tallies::{HEALTH, Tallies};
use super::tx::Tx;
use postrider_core::attempt::Attempt;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::health::{Earlier, FailureKind, Health, HealthTally, Observation};
use postrider_core::id::{DeliveryId, EndpointId, floor_at};
use postrider_core::ports::{Found, Page, Window};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::time::Duration;
use tokio_postgres::Row;
use uuid::Uuid;

/// What [`Kept::read`] reads.
macro_rules! kept {
    () => {
        "SELECT h.endpoint, h.namespace, h.class, h.tally FROM health h WHERE "
    };
}

// ---- outcomes --------------------------------------------------------------------------------------------------------

/// What a transaction has seen of endpoints, of each in the order in which it came.
#[derive(Debug, Default)]
pub(super) struct Observed(BTreeMap<EndpointId, Vec<Observation>>);

impl Observed {
    /// An attempt ended, if it has an outcome. `earlier`: the one by which its delivery was counted so far, see [`earlier`].
    pub(super) fn attempt(&mut self, attempt: &Attempt, earlier: Option<Earlier>) {
        if let Some(seen) = attempt.outcome.as_ref().and_then(Observation::of) {
            self.0.entry(attempt.endpoint).or_default().push(Observation { earlier, ..seen });
        }
    }

    /// What is to be written of what was seen, in the transaction that is open. The rows are locked by it, in the order of their ids.
    pub(super) async fn changes(&mut self, conn: &Conn, tallies: &mut Tallies) -> Result<Changes> {
        let seen = std::mem::take(&mut self.0);
        let mut changes = Changes::default();
        if seen.is_empty() {
            return Ok(changes);
        }
        let ids: Vec<Uuid> = seen.keys().map(|endpoint| endpoint.uuid()).collect();
        let sql = concat!(kept!(), "h.endpoint = ANY ($1::uuid[]) ORDER BY h.endpoint FOR UPDATE");
        // One that is not configured, or deleted, has no tally.
        for row in &conn.rows(sql, &[&ids]).await? {
            let mut kept = Kept::read(row)?;
            if let Some(observations) = seen.get(&kept.endpoint) {
                observations.iter().for_each(|observation| kept.tally.observe(observation));
            }
            changes.put(&kept, tallies);
        }
        Ok(changes)
    }
}

/// How far the clocks of nodes may differ, at the very most: an attempt's id is no earlier than its delivery's but for that.
const CLOCKS_DIFFER: Duration = Duration::from_secs(24 * 60 * 60);

/// The least id that an attempt of the delivery can have.
fn first_attempt(of: DeliveryId) -> Uuid {
    let millis = i64::try_from(of.uuid().as_u128() >> 80).unwrap_or(0);
    floor_at(Timestamp::from_micros(millis.saturating_mul(1_000)).before(CLOCKS_DIFFER))
}

fn says_something(attempt: &Attempt) -> bool {
    attempt.outcome.as_ref().and_then(Observation::of).is_some()
}

/// For those of these attempts, each of another delivery, that say something and are not the first ones: the newest attempt before it of its
/// delivery that says something of the receiver, where there is one.
pub(super) async fn earlier(conn: &Conn, attempts: &[(DeliveryId, &Attempt)]) -> Result<BTreeMap<DeliveryId, Earlier>> {
    let asked: Vec<(DeliveryId, u32)> = attempts
        .iter()
        .filter(|(_, attempt)| attempt.number > 1 && says_something(attempt))
        .map(|(delivery, attempt)| (*delivery, attempt.number))
        .collect();
    if asked.is_empty() {
        return Ok(BTreeMap::new());
    }
    let deliveries: Vec<Uuid> = asked.iter().map(|(delivery, _)| delivery.uuid()).collect();
    let numbers: Vec<i32> = asked.iter().map(|(_, number)| int(*number)).collect();
    let first: Vec<Uuid> = asked.iter().map(|(delivery, _)| first_attempt(*delivery)).collect();
    let silent: Vec<&str> = ErrorCode::ALL.iter().filter(|code| FailureKind::of(**code).is_none()).map(|code| code.as_str()).collect();
    let sql = "SELECT u.delivery, p.finished_at, p.error_code FROM unnest($1::uuid[], $2::int4[], $3::uuid[]) AS u (delivery, number, first) \
               CROSS JOIN LATERAL (SELECT a.finished_at, a.error_code FROM attempts a WHERE a.delivery = u.delivery AND a.number < u.number \
               AND a.id >= u.first AND a.finished_at IS NOT NULL AND (a.error_code IS NULL OR a.error_code <> ALL ($4::text[])) \
               ORDER BY a.number DESC LIMIT 1) p";
    let mut found = BTreeMap::new();
    for row in &conn.rows(sql, &[&deliveries, &numbers, &first, &silent]).await? {
        // A code of a later release is of a kind that nobody here knows.
        let code = get::<Option<&str>>(row, 2)?.map(|text| ErrorCode::parse(text).unwrap_or(ErrorCode::ProtocolError));
        if let Some(earlier) = Earlier::of(Timestamp::from_micros(get(row, 1)?), code) {
            found.insert(id(row, 0, DeliveryId::new)?, earlier);
        }
    }
    Ok(found)
}

// ---- rows ------------------------------------------------------------------------------------------------------------

/// A tally, and what its row said of it when it was written.
struct Kept {
    endpoint: EndpointId,
    namespace: String,
    class: Health,
    tally: HealthTally,
}

impl Kept {
    fn read(row: &Row) -> Result<Self> {
        let (endpoint, namespace) = (id(row, 0, EndpointId::new)?, get(row, 1)?);
        Ok(Kept { endpoint, namespace, class: class(row, 2)?, tally: tally(row, 3)? })
    }
}

fn class(row: &Row, column: usize) -> Result<Health> {
    let number = get::<i16>(row, column)?;
    u8::try_from(number).ok().and_then(Health::from_number).ok_or_else(|| bad_value(format_args!("the health {number}")))
}

/// A tally that nobody can read begins anew: it must not keep outcomes from being stored.
fn tally(row: &Row, column: usize) -> Result<HealthTally> {
    let found = HealthTally::from_bytes(get(row, column)?);
    Ok(found.unwrap_or_else(|| {
        tracing::error!("the health of an endpoint cannot be read, and is counted from now on");
        HealthTally::default()
    }))
}

/// Writes tallies.
pub(super) const UPDATE: &str = "UPDATE health h SET class = u.class, ages_at = u.ages_at, tally = u.tally \
    FROM unnest($1::uuid[], $2::int2[], $3::int8[], $4::bytea[]) AS u (endpoint, class, ages_at, tally) \
    WHERE h.endpoint = ANY (ARRAY[u.endpoint])";

/// Tallies that are to be written, with what they say.
#[derive(Debug, Default)]
pub(super) struct Changes {
    endpoints: Vec<Uuid>,
    classes: Vec<i16>,
    ages_at: Vec<Option<i64>>,
    tallies: Vec<Vec<u8>>,
}

impl Changes {
    fn put(&mut self, kept: &Kept, tallies: &mut Tallies) {
        let class = kept.tally.health();
        if class != kept.class {
            tallies.health(&kept.namespace, kept.class, -1);
            tallies.health(&kept.namespace, class, 1);
        }
        self.endpoints.push(kept.endpoint.uuid());
        self.classes.push(class as i16);
        self.ages_at.push(micros(kept.tally.ages_at()));
        self.tallies.push(kept.tally.to_bytes());
    }

    /// Writes them.
    pub(super) async fn write(self, conn: &Conn) -> Result<()> {
        if self.endpoints.is_empty() {
            return Ok(());
        }
        let Changes { endpoints, classes, ages_at, tallies } = self;
        conn.execute(UPDATE, &[&endpoints, &classes, &ages_at, &tallies]).await?;
        Ok(())
    }
}

// ---- configuration ---------------------------------------------------------------------------------------------------

/// Endpoints are configured: each has a tally from now on, unless it had one before.
pub(super) async fn begin(tx: &mut Tx, of: &[(EndpointId, &Namespace)]) -> Result<()> {
    if of.is_empty() {
        return Ok(());
    }
    let sorted: BTreeMap<EndpointId, &Namespace> = of.iter().copied().collect();
    let ids: Vec<Uuid> = sorted.keys().map(|endpoint| endpoint.uuid()).collect();
    let namespaces: Vec<&str> = sorted.values().map(|namespace| namespace.as_str()).collect();
    let sql = "INSERT INTO health (endpoint, namespace, class, ages_at, tally) SELECT u.endpoint, u.namespace, $3::int2, NULL, ''::bytea \
               FROM unnest($1::uuid[], $2::text[]) WITH ORDINALITY AS u (endpoint, namespace, at) ORDER BY u.at \
               ON CONFLICT (endpoint) DO NOTHING RETURNING namespace";
    let class = Health::Unknown as i16;
    for row in &tx.conn.rows(sql, &[&ids, &namespaces, &class]).await? {
        tx.tallies.health(get(row, 0)?, Health::Unknown, 1);
    }
    Ok(())
}

/// Endpoints were deleted: they have no tally any more.
pub(super) async fn end(tx: &mut Tx, of: &[EndpointId]) -> Result<()> {
    if of.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = of.iter().map(|endpoint| endpoint.uuid()).collect();
    let sql = "DELETE FROM health h USING (SELECT endpoint FROM health WHERE endpoint = ANY ($1::uuid[]) ORDER BY endpoint FOR UPDATE) l \
               WHERE h.endpoint = ANY (ARRAY[l.endpoint]) RETURNING h.namespace, h.class";
    for row in &tx.conn.rows(sql, &[&ids]).await? {
        tx.tallies.health(get(row, 0)?, class(row, 1)?, -1);
    }
    Ok(())
}

/// Brings tallies up to date of which an hour has left the window by now; answers how many. One that somebody is writing is brought up to date
/// by that, or the next time.
pub(super) async fn age(tx: &mut Tx, now: Timestamp, limit: u32) -> Result<u32> {
    let sql = concat!(kept!(), "h.ages_at IS NOT NULL AND h.ages_at <= $1 ORDER BY h.ages_at, h.endpoint LIMIT $2 FOR UPDATE SKIP LOCKED");
    let (by, limit) = (now.as_micros(), i64::from(limit));
    let rows = tx.conn.rows(sql, &[&by, &limit]).await?;
    let mut changes = Changes::default();
    for row in &rows {
        let mut kept = Kept::read(row)?;
        kept.tally.age(now);
        changes.put(&kept, &mut tx.tallies);
    }
    changes.write(&tx.conn).await?;
    Ok(u32::try_from(rows.len()).unwrap_or(u32::MAX))
}

// ---- reads -----------------------------------------------------------------------------------------------------------

/// The tallies of these endpoints, in their order; `None` without one.
pub(super) async fn of(conn: &Conn, of: &[EndpointId]) -> Result<Vec<Option<HealthTally>>> {
    let ids: Vec<Uuid> = of.iter().map(|endpoint| endpoint.uuid()).collect();
    let rows = conn.rows("SELECT endpoint, tally FROM health WHERE endpoint = ANY ($1::uuid[])", &[&ids]).await?;
    let found = rows.iter().map(|row| Ok((id(row, 0, EndpointId::new)?, tally(row, 1)?))).collect::<Result<BTreeMap<_, _>>>()?;
    Ok(of.iter().map(|endpoint| found.get(endpoint).cloned()).collect())
}

/// Endpoints of a class, newest first.
pub(super) async fn list(
    conn: &Conn,
    namespace: Option<&Namespace>,
    health: Health,
    window: Window<EndpointId>,
) -> Result<Found<EndpointId, EndpointId>> {
    let after = window.after.map_or(Uuid::max(), EndpointId::uuid);
    // One more than is asked for tells whether more follow.
    let (limit, skip) = (i64::from(window.limit) + 1, i64::from(window.skip));
    let class = health as i16;
    let rows = match namespace.map(Namespace::as_str) {
        None => {
            let sql = "SELECT endpoint FROM health WHERE class = $1 AND endpoint < $2 ORDER BY endpoint DESC LIMIT $3 OFFSET $4";
            conn.rows(sql, &[&class, &after, &limit, &skip]).await?
        }
        Some(name) => {
            let sql = "SELECT endpoint FROM health WHERE namespace = $5 AND class = $1 AND endpoint < $2 \
                       ORDER BY endpoint DESC LIMIT $3 OFFSET $4";
            conn.rows(sql, &[&class, &after, &limit, &skip, &name]).await?
        }
    };
    let mut items = rows.iter().map(|row| id(row, 0, EndpointId::new)).collect::<Result<Vec<_>>>()?;
    let more = items.len() as i64 == limit;
    items.truncate(window.limit as usize);
    let next = items.last().filter(|_| more).copied();
    let total = summary(conn, namespace).await?[health as usize];
    Ok(Found { page: Page { items, next }, total })
}

/// How many endpoints are of which class.
pub(super) async fn summary(conn: &Conn, namespace: Option<&Namespace>) -> Result<[u64; Health::ALL.len()]> {
    let of = namespace.map_or("", Namespace::as_str);
    let sql =
        "SELECT code, sum(n)::int8 FROM tallies WHERE namespace = $1 AND subscription = $2 AND endpoint = $2 AND kind = $3 GROUP BY code";
    let mut summary = [0; Health::ALL.len()];
    for row in &conn.rows(sql, &[&of, &Uuid::nil(), &HEALTH]).await? {
        let class = get::<&str>(row, 0)?.parse::<usize>().map_err(bad_value)?;
        *summary.get_mut(class).ok_or_else(|| bad_value("an unknown health"))? = count(row, 1)?;
    }
    Ok(summary)
}
