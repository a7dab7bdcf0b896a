//! The nodes that share the database: which of them are alive, and whether this one is.
//!
//! A node says every second that it is alive, and ends those of which it has heard nothing for a lease's time. What an ended node had claimed is
//! others' from then on, so that it must not write any more; it never comes back under its number. One that cannot reach the database writes
//! nothing either, from the moment at which others may have ended it.

use super::conn::Conn;
use super::error::{Error, Result};
use super::news::Wire;
use super::options::PgOptions;
use super::partitions;
use super::pool::Pool;
use super::rows::{count, get, text, time, time_opt};
use super::standing::{Standing, uptime};
use super::transact::ended;
use postrider_core::ports::News;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::Row;

/// A heartbeat that takes longer than this part of a lease is tried again on another connection, so that there is time for some of them.
pub(super) const TRIES_IN_A_LEASE: u32 = 3;

/// After so many of its own that it left out, a node forgets what it has heard of others.
const MISSED: u32 = 3;

/// How often partitions are made and removed, and nodes forgotten.
const UPKEEP: Duration = Duration::from_secs(3_600);

/// After a failure sooner.
const UPKEEP_AGAIN: Duration = Duration::from_secs(60);

/// How long making partitions may take, or removing them: each statement has a limit of its own that the server keeps.
const TIDYING: Duration = Duration::from_secs(600);

/// Of nodes that have ended these are kept, and for a day.
const LAST_ENDED: &str =
    "SELECT e.incarnation FROM nodes e WHERE e.ended_at IS NOT NULL ORDER BY e.ended_at DESC, e.incarnation DESC LIMIT 100";

/// What this node runs.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// A node among those that share the database.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NodeRow {
    /// The number that its claims carry: each start of a node has its own.
    pub incarnation: i64,
    /// What people call it.
    pub name: String,
    /// Where others reach it, if they do.
    pub address: Option<String>,
    /// Which release it runs.
    pub release: String,
    /// When it joined, by the database's clock.
    pub started_at: Timestamp,
    /// When it last said that it is alive, by the database's clock.
    pub heartbeat_at: Timestamp,
    /// How long ago that was.
    pub heartbeat_age: Duration,
    /// When it left or was taken for dead, by the database's clock; `None` while it is alive.
    pub ended_at: Option<Timestamp>,
    /// How many of the slots are its own, in which endpoints lie; none once it has ended.
    pub slots: u64,
    /// Whether it is the one that answers.
    pub is_self: bool,
}

/// Joins as a new node, which wants no slots before it asks for some; answers the number that its claims carry.
pub(super) async fn join(pool: &Pool, options: &PgOptions) -> Result<i64> {
    let reading = pool.reading().await?;
    let Some(conn) = reading.conn() else { return Err(ended()) };
    let joined = pool.within(Box::pin(insert(conn, options))).await;
    reading.end(joined)
}

async fn insert(conn: &Conn, options: &PgOptions) -> Result<i64> {
    let (name, address) = (text(&options.node_name), options.node_address.as_deref().map(text));
    let lease = i64::try_from(options.lease.as_millis()).unwrap_or(i64::MAX);
    let sql = "INSERT INTO nodes (incarnation, name, address, release, lease_ms, resigned) \
               VALUES (nextval('incarnations'), $1, $2, $3, $4, true) RETURNING incarnation";
    get(&conn.only(sql, &[&name, &address, &RELEASE, &lease]).await?, 0)
}

/// Leaves: what it had claimed is others'.
pub(super) async fn leave(pool: &Pool, incarnation: i64) -> Result<()> {
    let reading = pool.reading().await?;
    let Some(conn) = reading.conn() else { return Err(ended()) };
    let sql = "UPDATE nodes SET ended_at = clock_timestamp() WHERE incarnation = $1 AND ended_at IS NULL";
    conn.execute(sql, &[&incarnation]).await?;
    reading.end(Ok(()))
}

/// The database's time.
async fn now(conn: &Conn) -> Result<Timestamp> {
    time(&conn.only("SELECT (extract(epoch FROM clock_timestamp()) * 1000000)::int8", &[]).await?, 0)
}

/// All nodes that are alive and those that ended last, the youngest first.
pub(super) async fn list(conn: &Conn, own: i64) -> Result<Vec<NodeRow>> {
    let sql = format!(
        "SELECT incarnation, name, address, release, (extract(epoch FROM started_at) * 1000000)::int8, \
               (extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000000)::int8, (extract(epoch FROM ended_at) * 1000000)::int8, \
               (extract(epoch FROM heartbeat_at) * 1000000)::int8, \
               (SELECT count(*) FROM slots s WHERE s.owner = n.incarnation AND n.ended_at IS NULL) FROM nodes n \
         WHERE ended_at IS NULL OR incarnation = ANY (ARRAY({LAST_ENDED})) ORDER BY incarnation DESC"
    );
    conn.rows(&sql, &[]).await?.iter().map(|row| node_row(row, own)).collect()
}

fn node_row(row: &Row, own: i64) -> Result<NodeRow> {
    let incarnation: i64 = get(row, 0)?;
    Ok(NodeRow {
        incarnation,
        name: get(row, 1)?,
        address: get(row, 2)?,
        release: get(row, 3)?,
        started_at: time(row, 4)?,
        heartbeat_at: time(row, 7)?,
        heartbeat_age: Duration::from_micros(u64::try_from(get::<i64>(row, 5)?).unwrap_or(0)),
        ended_at: time_opt(row, 6)?,
        slots: count(row, 8)?,
        is_self: incarnation == own,
    })
}

/// A node that is alive, as the database has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Alive {
    incarnation: i64,
    /// Its last heartbeat, by the database's clock.
    heartbeat: i64,
    lease: Duration,
}

/// What has been heard of other nodes: their last heartbeats, and since when they are the last.
///
/// Only this node's own clock says how long ago that is, so that nobody is ended because the database's was set; and only time that it was
/// listening for, so that nobody is ended because the database was away.
#[derive(Debug, Default)]
struct Heard(BTreeMap<i64, (Alive, Instant)>);

impl Heard {
    /// Notes all that are alive, as they were read until now.
    fn note(&mut self, alive: &[Alive], now: Instant) {
        let before = std::mem::take(&mut self.0);
        for node in alive {
            let same = before.get(&node.incarnation).filter(|(last, _)| last.heartbeat == node.heartbeat);
            let since = same.map_or(now, |(_, since)| *since);
            self.0.insert(node.incarnation, (*node, since));
        }
    }

    /// When the first of them will have been silent for its lease.
    fn next(&self) -> Option<Instant> {
        self.0.values().filter_map(|(node, since)| since.checked_add(node.lease)).min()
    }

    /// Those that have been.
    fn overdue(&self, now: Instant) -> Vec<Alive> {
        self.0.values().filter(|(node, since)| now.duration_since(*since) >= node.lease).map(|(node, _)| *node).collect()
    }

    /// They were ended, or have said something since.
    fn forget(&mut self, nodes: &[Alive]) {
        for node in nodes {
            self.0.remove(&node.incarnation);
        }
    }
}

/// What keeps a node alive.
pub(super) struct Keeper {
    /// Of one connection, which nobody else uses.
    pub(super) pool: Arc<Pool>,
    pub(super) standing: Arc<Standing>,
    pub(super) wire: Arc<Wire>,
    pub(super) incarnation: i64,
    pub(super) heartbeat: Duration,
    pub(super) lease: Duration,
}

impl Keeper {
    /// Goes on until the node was taken for dead.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(self.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut last, mut may_end) = (Heard::default(), Instant::now(), true);
        while !self.standing.is_lost() {
            // Whoever stood still hears of the others before it ends any of them.
            tokio::select! {
                biased;
                _ = ticks.tick() => {
                    let now = Instant::now();
                    // Perhaps this process stood still, and the others with it.
                    if now.duration_since(last) > self.heartbeat * MISSED {
                        heard = Heard::default();
                    }
                    (last, may_end) = (now, true);
                    if let Err(error) = self.patiently(self.beat(&mut heard)).await {
                        // Perhaps nobody could.
                        heard = Heard::default();
                        tracing::warn!(%error, "no heartbeat could be written");
                    }
                }
                () = at(heard.next()), if may_end => {
                    let overdue = heard.overdue(Instant::now());
                    match self.patiently(self.end(&overdue)).await {
                        Ok(()) => heard.forget(&overdue),
                        // With the next heartbeat again: they are as overdue as before, if that gets through.
                        Err(error) => {
                            may_end = false;
                            tracing::warn!(%error, "nodes that were silent for their leases could not be taken for dead");
                        }
                    }
                }
            }
        }
    }

    async fn patiently(&self, work: impl Future<Output = Result<()>>) -> Result<()> {
        let done = tokio::time::timeout(self.lease / TRIES_IN_A_LEASE, work).await;
        done.unwrap_or_else(|_| Err(Error::NoConnection("the database does not answer".to_owned())))
    }

    async fn beat(&self, heard: &mut Heard) -> Result<()> {
        let sent = uptime();
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        let sql = "UPDATE nodes SET heartbeat_at = clock_timestamp() WHERE incarnation = $1 AND ended_at IS NULL";
        if conn.execute(sql, &[&self.incarnation]).await? == 0 {
            tracing::error!(incarnation = self.incarnation, "this node was taken for dead; it must be started again");
            self.standing.lose();
            return Ok(());
        }
        self.standing.beat(sent);
        let others = others(conn, self.incarnation).await?;
        // What was read was so before now, so that nobody is ended too soon.
        heard.note(&others, Instant::now());
        reading.end(Ok(()))
    }

    /// Ends those that have been silent for their leases, unless they have said something since, and tells everybody.
    async fn end(&self, overdue: &[Alive]) -> Result<()> {
        let reading = self.pool.reading().await?;
        let Some(conn) = reading.conn() else { return Err(ended()) };
        for node in overdue {
            if end(conn, node).await? {
                self.wire.announce(News::Members);
            }
        }
        reading.end(Ok(()))
    }
}

/// Waits until then, and for ever where there is no such time.
async fn at(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then).await,
        None => std::future::pending().await,
    }
}

/// The other nodes that are alive.
async fn others(conn: &Conn, own: i64) -> Result<Vec<Alive>> {
    let sql = "SELECT incarnation, (extract(epoch FROM heartbeat_at) * 1000000)::int8, lease_ms FROM nodes \
               WHERE ended_at IS NULL AND incarnation <> $1";
    let read = |row: &Row| -> Result<Alive> {
        Ok(Alive { incarnation: get(row, 0)?, heartbeat: get(row, 1)?, lease: Duration::from_millis(count(row, 2)?) })
    };
    conn.rows(sql, &[&own]).await?.iter().map(read).collect()
}

/// Ends a node unless it has said something since; answers whether it did.
async fn end(conn: &Conn, node: &Alive) -> Result<bool> {
    let sql = "UPDATE nodes SET ended_at = clock_timestamp() \
               WHERE incarnation = $1 AND ended_at IS NULL AND (extract(epoch FROM heartbeat_at) * 1000000)::int8 = $2 RETURNING name";
    let Some(row) = conn.row(sql, &[&node.incarnation, &node.heartbeat]).await? else { return Ok(false) };
    let name: &str = get(&row, 0)?;
    tracing::warn!(incarnation = node.incarnation, name, "a node was taken for dead; others take over what it had claimed");
    Ok(true)
}

/// What is said of a server that has not answered in time.
fn stood_still(_: tokio::time::error::Elapsed) -> Error {
    Error::NoConnection(format!("the database did not come to an end within {} s", TIDYING.as_secs()))
}

/// Does [`tidy`] every hour.
pub(super) async fn keep_up(pool: Arc<Pool>) {
    let mut pause = UPKEEP;
    loop {
        tokio::time::sleep(pause).await;
        let done = tidy(&pool).await;
        if let Err(error) = &done {
            tracing::warn!(%error, "the upkeep of the database failed; it is tried again");
        }
        pause = if done.is_ok() { UPKEEP } else { UPKEEP_AGAIN };
    }
}

/// Makes partitions and removes empty ones, and forgets nodes. What this user may not do is left to others who may.
pub(super) async fn tidy(pool: &Pool) -> Result<()> {
    let reading = pool.reading().await?;
    let Some(conn) = reading.conn() else { return Err(ended()) };
    // All of it together may rightly take longer than one piece of work does.
    let at = pool.within(now(conn)).await?;
    tokio::time::timeout(TIDYING, partitions::ensure(conn, at)).await.map_err(stood_still)??;
    tokio::time::timeout(TIDYING, partitions::remove_empty(conn, at)).await.map_err(stood_still)??;
    pool.within(forget(conn)).await?;
    reading.end(Ok(()))
}

/// Forgets nodes that have ended, but for those whose claims are still to be taken over; and their marks, once they have had the time to look up
/// what they could not know. One that does so later than that hears that nobody knows.
async fn forget(conn: &Conn) -> Result<()> {
    let sql = format!(
        "DELETE FROM nodes n WHERE n.ended_at IS NOT NULL \
         AND (n.ended_at < clock_timestamp() - interval '1 day' OR n.incarnation <> ALL (ARRAY({LAST_ENDED}))) \
         AND (SELECT q.claim FROM queue q WHERE q.claim = n.incarnation AND q.claim <> 0 LIMIT 1) IS NULL"
    );
    conn.execute(&sql, &[]).await?;
    let sql = "DELETE FROM marks WHERE place = ANY (ARRAY(SELECT m.place FROM marks m WHERE NOT EXISTS (SELECT FROM nodes n \
               WHERE n.incarnation = m.incarnation AND (n.ended_at IS NULL OR n.ended_at > clock_timestamp() - interval '10 minutes')) \
               FOR UPDATE OF m SKIP LOCKED))";
    conn.execute(sql, &[]).await?;
    // They died with exchanges under way; nobody waits for those.
    let sql = "UPDATE handovers h SET holder = 0 WHERE h.holder <> 0 \
               AND NOT EXISTS (SELECT FROM nodes n WHERE n.incarnation = h.holder AND n.ended_at IS NULL)";
    conn.execute(sql, &[]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_node_is_overdue_when_it_was_silent_for_its_lease_while_somebody_listened() {
        let (mut heard, began) = (Heard::default(), Instant::now());
        let node =
            |(incarnation, heartbeat): (i64, i64)| Alive { incarnation, heartbeat, lease: LEASE * u32::try_from(incarnation).unwrap_or(1) };
        let after = |seconds| began + Duration::from_secs(seconds);
        assert_eq!(heard.next(), None);
        // The lease of the third is three times as long.
        for (second, heartbeats, next, overdue) in [
            (0, vec![(1, 10), (3, 20)], 5, vec![]),
            (3, vec![(1, 11), (3, 20)], 8, vec![]),
            (5, vec![(1, 12), (3, 20)], 10, vec![]),
            (6, vec![(1, 12)], 10, vec![]),
            (10, vec![(1, 12), (3, 20)], 10, vec![(1, 12)]),
            (11, vec![(1, 12), (3, 20)], 16, vec![]),
            (25, vec![(1, 13), (3, 20)], 25, vec![(3, 20)]),
        ] {
            let alive: Vec<Alive> = heartbeats.into_iter().map(node).collect();
            heard.note(&alive, after(second));
            assert_eq!(heard.next(), Some(after(next)), "after {second} s");
            let expected: Vec<Alive> = overdue.into_iter().map(node).collect();
            assert_eq!(heard.overdue(after(second)), expected, "after {second} s");
            // Who could not be ended is still overdue, and at once.
            assert!(expected.is_empty() || heard.next() <= Some(after(second)));
            heard.forget(&expected);
            assert!(heard.overdue(after(second)).is_empty(), "after {second} s");
        }
    }
}
