//! The nodes that share the database: which of them are alive, and whether this one is.
//!
//! A node says every second that it is alive, and ends those of which it has heard nothing for a lease's time. What an ended node had claimed is
//! others' from then on, so that it must not write any more; it never comes back under its number. One that cannot reach the database writes
//! nothing either, from the moment at which others may have ended it.

use super::conn::Conn;
use super::error::{Error, Result};
use super::options::PgOptions;
use super::partitions;
use super::pool::Pool;
use super::rows::{get, text, time, time_opt};
use super::transact::ended;
use parking_lot::Mutex;
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_postgres::Row;

/// A heartbeat that takes longer than this part of a lease is tried again on another connection, so that there is time for some of them.
const TRIES_IN_A_LEASE: u32 = 3;

/// After so many of its own that it left out, a node forgets what it has heard of others.
const MISSED: u32 = 3;

/// How often partitions are made and removed, and nodes forgotten.
const UPKEEP: Duration = Duration::from_secs(3_600);

/// After a failure sooner.
const UPKEEP_AGAIN: Duration = Duration::from_secs(60);

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
    /// Whether it is the one that answers.
    pub is_self: bool,
}

/// Whether this node may write.
#[derive(Debug)]
pub(super) struct Standing {
    lost: watch::Sender<bool>,
    /// When the last heartbeat that arrived was sent.
    beaten: Mutex<Instant>,
    lease: Duration,
}

impl Standing {
    /// From now on for a lease's time.
    pub(super) fn new(lease: Duration) -> Self {
        Standing { lost: watch::Sender::new(false), beaten: Mutex::new(Instant::now()), lease }
    }

    /// Whether it was taken for dead.
    pub(super) fn is_lost(&self) -> bool {
        *self.lost.borrow()
    }

    /// Becomes true when it is taken for dead.
    pub(super) fn watch(&self) -> watch::Receiver<bool> {
        self.lost.subscribe()
    }

    /// Refuses if it was taken for dead.
    pub(super) fn may_read(&self) -> Result<()> {
        if self.is_lost() { Err(Error::Lost) } else { Ok(()) }
    }

    /// Refuses also if it may have been, without knowing.
    pub(super) fn may_write(&self) -> Result<()> {
        self.may_read()?;
        if self.beaten.lock().elapsed() < self.lease {
            return Ok(());
        }
        Err(Error::NoConnection(format!(
            "no heartbeat could be written for {} ms, so that others may have taken over",
            self.lease.as_millis()
        )))
    }

    fn beat(&self, sent: Instant) {
        *self.beaten.lock() = sent;
    }

    pub(super) fn lose(&self) {
        self.lost.send_replace(true);
    }
}

/// Joins as a new node; answers the number that its claims carry.
pub(super) async fn join(pool: &Pool, options: &PgOptions) -> Result<i64> {
    let (name, address) = (text(&options.node_name), options.node_address.as_deref().map(text));
    let reading = pool.reading().await?;
    let Some(conn) = reading.conn() else { return Err(ended()) };
    let sql = "INSERT INTO nodes (incarnation, name, address, release) VALUES (nextval('incarnations'), $1, $2, $3) RETURNING incarnation";
    let incarnation = get(&conn.only(sql, &[&name, &address, &RELEASE]).await?, 0)?;
    reading.end(Ok(incarnation))
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

/// All nodes that are alive or were until a day ago, those that joined last first.
pub(super) async fn list(conn: &Conn, own: i64) -> Result<Vec<NodeRow>> {
    let sql = "SELECT incarnation, name, address, release, (extract(epoch FROM started_at) * 1000000)::int8, \
               (extract(epoch FROM clock_timestamp() - heartbeat_at) * 1000000)::int8, (extract(epoch FROM ended_at) * 1000000)::int8, \
               (extract(epoch FROM heartbeat_at) * 1000000)::int8 FROM nodes ORDER BY incarnation DESC";
    conn.rows(sql, &[]).await?.iter().map(|row| node_row(row, own)).collect()
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
        is_self: incarnation == own,
    })
}

/// What has been heard of other nodes: their last heartbeats, and since when they are the last.
///
/// Only this node's own clock says how long ago that is, so that nobody is ended because the database's was set; and only time that it was
/// listening for, so that nobody is ended because the database was away.
#[derive(Debug, Default)]
struct Heard(BTreeMap<i64, (i64, Instant)>);

impl Heard {
    /// Notes the heartbeats of all that are alive; answers those that have had the same for a lease's time, with that.
    fn note(&mut self, alive: &[(i64, i64)], now: Instant, lease: Duration) -> Vec<(i64, i64)> {
        let before = std::mem::take(&mut self.0);
        for (incarnation, heartbeat) in alive {
            let same = before.get(incarnation).filter(|(last, _)| last == heartbeat);
            let since = same.map_or(now, |(_, since)| *since);
            self.0.insert(*incarnation, (*heartbeat, since));
        }
        let overdue = self.0.iter().filter(|(_, (_, since))| now.duration_since(*since) >= lease);
        overdue.map(|(incarnation, (heartbeat, _))| (*incarnation, *heartbeat)).collect()
    }
}

/// What keeps a node alive.
pub(super) struct Keeper {
    /// Of one connection, which nobody else uses.
    pub(super) pool: Arc<Pool>,
    pub(super) standing: Arc<Standing>,
    pub(super) incarnation: i64,
    pub(super) heartbeat: Duration,
    pub(super) lease: Duration,
}

impl Keeper {
    /// Goes on until the node was taken for dead.
    pub(super) async fn run(self) {
        let mut ticks = tokio::time::interval(self.heartbeat);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut heard, mut last) = (Heard::default(), Instant::now());
        while !self.standing.is_lost() {
            ticks.tick().await;
            let sent = Instant::now();
            // Perhaps this process stood still, and the others with it.
            if sent.duration_since(last) > self.heartbeat * MISSED {
                heard = Heard::default();
            }
            last = sent;
            let beat = tokio::time::timeout(self.lease / TRIES_IN_A_LEASE, self.beat(sent, &mut heard));
            let failure = match beat.await {
                Ok(Ok(())) => continue,
                Ok(Err(error)) => error,
                Err(_) => Error::NoConnection("the database does not answer".to_owned()),
            };
            heard = Heard::default();
            tracing::warn!(error = %failure, "no heartbeat could be written");
        }
    }

    async fn beat(&self, sent: Instant, heard: &mut Heard) -> Result<()> {
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
        for (incarnation, heartbeat) in heard.note(&others, sent, self.lease) {
            end(conn, incarnation, heartbeat).await?;
        }
        reading.end(Ok(()))
    }
}

/// The other nodes that are alive, and their last heartbeats.
async fn others(conn: &Conn, own: i64) -> Result<Vec<(i64, i64)>> {
    let sql =
        "SELECT incarnation, (extract(epoch FROM heartbeat_at) * 1000000)::int8 FROM nodes WHERE ended_at IS NULL AND incarnation <> $1";
    conn.rows(sql, &[&own]).await?.iter().map(|row| Ok((get(row, 0)?, get(row, 1)?))).collect()
}

/// Ends a node unless it has said something since.
async fn end(conn: &Conn, incarnation: i64, heartbeat: i64) -> Result<()> {
    let sql = "UPDATE nodes SET ended_at = clock_timestamp() \
               WHERE incarnation = $1 AND ended_at IS NULL AND (extract(epoch FROM heartbeat_at) * 1000000)::int8 = $2 RETURNING name";
    if let Some(row) = conn.row(sql, &[&incarnation, &heartbeat]).await? {
        let name: &str = get(&row, 0)?;
        tracing::warn!(incarnation, name, "a node was taken for dead; others take over what it had claimed");
    }
    Ok(())
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

/// Makes partitions and removes empty ones, and forgets nodes.
pub(super) async fn tidy(pool: &Pool) -> Result<()> {
    let reading = pool.reading().await?;
    let Some(conn) = reading.conn() else { return Err(ended()) };
    let at = now(conn).await?;
    partitions::ensure(conn, at).await?;
    partitions::remove_empty(conn, at).await?;
    forget(conn).await?;
    reading.end(Ok(()))
}

/// Forgets nodes that ended a day ago, but for those whose claims are still to be taken over.
async fn forget(conn: &Conn) -> Result<()> {
    let sql = "DELETE FROM nodes n WHERE n.ended_at < clock_timestamp() - interval '1 day' \
               AND (SELECT q.claim FROM queue q WHERE q.claim = n.incarnation AND q.claim <> 0 LIMIT 1) IS NULL";
    conn.execute(sql, &[]).await?;
    let sql = "DELETE FROM marks m WHERE m.made_at < clock_timestamp() - interval '1 day' \
               AND NOT EXISTS (SELECT FROM nodes n WHERE n.incarnation = m.incarnation AND n.ended_at IS NULL)";
    conn.execute(sql, &[]).await.map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEASE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_node_is_overdue_when_it_was_silent_for_a_lease_while_somebody_listened() {
        let (mut heard, began) = (Heard::default(), Instant::now());
        for (second, heartbeats, overdue) in [
            (0, vec![(1, 10), (2, 20)], vec![]),
            (3, vec![(1, 11), (2, 20)], vec![]),
            (5, vec![(1, 12), (2, 20)], vec![(2, 20)]),
            (6, vec![(1, 12)], vec![]),
            (10, vec![(1, 12), (2, 20)], vec![(1, 12)]),
        ] {
            let now = began + Duration::from_secs(second);
            assert_eq!(heard.note(&heartbeats, now, LEASE), overdue, "after {second} s");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn without_heartbeats_nothing_is_written() {
        let standing = Standing::new(LEASE);
        assert!(standing.may_write().is_ok());
        tokio::time::advance(LEASE).await;
        assert!(matches!(standing.may_write(), Err(Error::NoConnection(_))));
        assert!(standing.may_read().is_ok());
        standing.beat(Instant::now());
        assert!(standing.may_write().is_ok());
        let mut watch = standing.watch();
        standing.lose();
        assert!(watch.changed().await.is_ok() && *watch.borrow() && standing.is_lost());
        assert!(matches!(standing.may_read(), Err(Error::Lost)));
    }
}
