//! Retention, in slices of which each is a transaction.
//!
//! A run is a sequence of slices. Ids are UUIDv7, so walks over them are walks in order of time: in a run each begins with the oldest row and
//! goes on where the slice before ended, so that what must stay is looked at once in a run and hides nothing behind it. What others have locked
//! is passed over, and what comes behind the place of a walk is not seen: both are the next run's. What is past its age with all of its partition
//! goes with that, see `partitions/retire.rs`.
//!
//! Of several nodes one does it at a time; whoever comes meanwhile is told so.
//!
//! What rows took (see `tallies.rs`) is given back with them.

use super::conn::Conn;
use super::error::Result;
use super::gone::Erasing;
use super::partitions::retire::{self, Retiring, What};
use super::room::ROW;
use super::rows::{get, namespace};
use super::tallies::fold;
use super::tx::Tx;
use super::{aging, config, gone};
use postrider_core::ports::{PruneRequest, Pruned};
use postrider_core::time::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

/// How many rows a slice looks at per row that it may remove, and how many at the least.
const LOOKS_PER_ROW: i64 = 8;
const MIN_LOOKS: i64 = 2_048;

/// How many rows are read in one go.
const MIN_PAGE: i64 = 64;
const MAX_PAGE: i64 = 2_048;

/// How far a run has come. It follows the slices: whoever undoes one puts back what was before it.
#[derive(Clone, Debug, Default)]
pub(super) struct Sweep {
    /// What it is done for, but for the number of rows; one that is asked for something else begins anew.
    of: Option<PruneRequest>,
    /// What belongs to erased endpoints goes first, in every slice.
    erasing: Erasing,
    phase: Phase,
    /// The last id that was looked at in this phase.
    after: Uuid,
    retiring: Retiring,
    numbers: fold::Place,
}

/// Keys of requests come first: many may come in a day, and they wait for nothing. Dead letters close before they are asked about; attempts go
/// before the deliveries that they belong to, deliveries before their events (which keep a partition for as long as they have some) and
/// subscriptions, those before their endpoints. Numbers come last, for most of this changes them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Phase {
    #[default]
    Requests,
    AttemptPartitions,
    Orphans,
    Attempts,
    Bodies,
    Deliveries,
    EventPartitions,
    Events,
    Closed,
    Keys,
    Subscriptions,
    Endpoints,
    Numbers,
}

impl Phase {
    fn next(self) -> Option<Phase> {
        match self {
            Phase::Requests => Some(Phase::AttemptPartitions),
            Phase::AttemptPartitions => Some(Phase::Orphans),
            Phase::Orphans => Some(Phase::Attempts),
            Phase::Attempts => Some(Phase::Bodies),
            Phase::Bodies => Some(Phase::Deliveries),
            Phase::Deliveries => Some(Phase::EventPartitions),
            Phase::EventPartitions => Some(Phase::Events),
            Phase::Events => Some(Phase::Closed),
            Phase::Closed => Some(Phase::Keys),
            Phase::Keys => Some(Phase::Subscriptions),
            Phase::Subscriptions => Some(Phase::Endpoints),
            Phase::Endpoints => Some(Phase::Numbers),
            Phase::Numbers => None,
        }
    }

    fn is_of_configuration(self) -> bool {
        matches!(self, Phase::Keys | Phase::Subscriptions | Phase::Endpoints)
    }
}

/// What a slice may still do, and what it has done.
pub(super) struct Slice {
    limit: i64,
    looks: i64,
    /// What it removed.
    pub(super) pruned: Pruned,
    /// Open dead letters that it closed.
    pub(super) dismissed: u64,
}

impl Slice {
    fn new(limit: u32) -> Self {
        // A slice of nothing would never end.
        let limit = i64::from(limit.max(1));
        Slice { limit, looks: limit.saturating_mul(LOOKS_PER_ROW).max(MIN_LOOKS), pruned: Pruned::default(), dismissed: 0 }
    }

    /// How many rows it has changed, but for configuration.
    fn history(&self) -> u64 {
        let Pruned { attempts, bodies, deliveries, events, closed, requests, .. } = self.pruned;
        attempts + bodies + deliveries + events + closed + requests + self.dismissed
    }

    /// How many rows may still go.
    pub(super) fn rows(&self) -> i64 {
        self.limit.saturating_sub_unsigned(self.history() + self.pruned.configuration).max(0)
    }

    /// How many rows to read in one go: not much more than may go, for the rest would be read again. At least one as long as it is not spent:
    /// a walk takes a page that is not full for the last one.
    pub(super) fn page(&self) -> i64 {
        debug_assert!(!self.is_spent(), "an empty page would end no walk");
        self.looks.min(self.rows().saturating_mul(2).clamp(MIN_PAGE, MAX_PAGE))
    }

    pub(super) fn is_spent(&self) -> bool {
        self.rows() <= 0 || self.looks <= 0
    }

    /// It has looked at so many rows.
    pub(super) fn looked(&mut self, at: usize) {
        self.looks = self.looks.saturating_sub(i64::try_from(at).unwrap_or(i64::MAX));
    }

    /// Looks at a page of ids, each with whether it may go: takes as many of those as may still go, and moves the walk behind the last one
    /// that it looked at. Also answers whether the walk has come to its end with that.
    pub(super) fn take(&mut self, rows: &[Row], page: i64, after: &mut Uuid) -> Result<(Vec<Uuid>, bool)> {
        let (most, mut ids) = (self.rows(), Vec::new());
        for row in rows {
            if ids.len() as i64 >= most {
                return Ok((ids, false));
            }
            *after = get(row, 0)?;
            self.looks -= 1;
            if get::<bool>(row, 1)? {
                ids.push(*after);
            }
        }
        Ok((ids, (rows.len() as i64) < page))
    }
}

/// Removes one slice of what is past its retention.
///
/// What goes with a delivery is counted where it belongs: its attempts as attempts, its dead letters as closed.
pub(super) async fn prune(tx: &mut Tx, sweep: &mut Sweep, request: &PruneRequest) -> Result<Pruned> {
    let of = Some(PruneRequest { limit: 0, ..*request });
    if sweep.of != of {
        *sweep = Sweep { of, ..Sweep::default() };
    }
    if !is_ours(&tx.conn).await? {
        *sweep = Sweep::default();
        return Ok(Pruned { busy: true, erasing: !gone::erased(&tx.conn).await?.is_empty(), ..Pruned::default() });
    }
    let mut slice = Slice::new(request.limit);
    let done = gone::erase(tx, &mut sweep.erasing, &mut slice).await? && go_on(tx, sweep, request, &mut slice).await?;
    if done {
        *sweep = Sweep::default();
    }
    if slice.pruned.configuration > 0 {
        config::changed(&tx.conn).await?;
    }
    let erasing = !gone::erased(&tx.conn).await?.is_empty();
    Ok(Pruned { more: !done, erasing, ..slice.pruned })
}

/// Whether nobody else does it at this moment. It is ours until the transaction ends.
async fn is_ours(conn: &Conn) -> Result<bool> {
    let sql = "SELECT pg_try_advisory_xact_lock(hashtextextended('postrider retention ' || current_schema(), 0))";
    get(&conn.only(sql, &[]).await?, 0)
}

/// Goes on with everything that has an age; whether that has come to its end.
async fn go_on(tx: &mut Tx, sweep: &mut Sweep, request: &PruneRequest, slice: &mut Slice) -> Result<bool> {
    loop {
        // Numbers say what is left of configuration, and those of this slice are not written yet.
        if sweep.phase.is_of_configuration() && slice.history() > 0 {
            return Ok(false);
        }
        // What is done there has locks that nobody is to wait for, or wants to have changed nothing before.
        if matches!(sweep.phase, Phase::AttemptPartitions | Phase::EventPartitions | Phase::Numbers)
            && slice.history() + slice.pruned.configuration > 0
        {
            return Ok(false);
        }
        let after = &mut sweep.after;
        let done = match sweep.phase {
            Phase::Requests => keys_of_requests(tx, request.requests_before, slice).await?,
            Phase::AttemptPartitions => retire::retire(tx, &mut sweep.retiring, What::Attempts, request, slice).await?,
            Phase::Orphans => gone::orphans(tx, after, slice).await?,
            Phase::Attempts => {
                let below = retire::below(&tx.conn, What::Attempts, request, &sweep.retiring).await?;
                aging::attempts(tx, after, below, slice).await?
            }
            Phase::Bodies => aging::bodies(tx, after, request.bodies_before, slice).await?,
            Phase::Deliveries => aging::deliveries(tx, after, request, slice).await?,
            Phase::EventPartitions => retire::retire(tx, &mut sweep.retiring, What::Events, request, slice).await?,
            Phase::Events => {
                let below = retire::below(&tx.conn, What::Events, request, &sweep.retiring).await?;
                events(tx, below, slice).await?
            }
            Phase::Closed => closed(tx, request, slice).await?,
            Phase::Keys => gone::keys(tx, after, request.closed_before, slice).await?,
            Phase::Subscriptions => gone::subscriptions(tx, after, request.configuration_before, slice).await?,
            Phase::Endpoints => gone::endpoints(tx, after, request.configuration_before, slice).await?,
            // Not whenever something was erased, or room is needed.
            Phase::Numbers => request.requests_before == Timestamp::MIN || fold::fold(tx, &mut sweep.numbers, slice).await?,
        };
        if !done {
            return Ok(false);
        }
        let Some(next) = sweep.phase.next() else { return Ok(true) };
        (sweep.phase, sweep.after) = (next, Uuid::nil());
    }
}

/// Old keys of requests, with the numbers of their owners' answers.
async fn keys_of_requests(tx: &mut Tx, before: Timestamp, slice: &mut Slice) -> Result<bool> {
    let sql = "WITH aged AS MATERIALIZED (SELECT owner, scope, key FROM requests WHERE created_at < $1 ORDER BY created_at LIMIT $2 \
               FOR UPDATE SKIP LOCKED), \
               gone AS (DELETE FROM requests r USING aged g WHERE r.owner = ANY (ARRAY[g.owner]) AND r.scope = g.scope AND r.key = g.key \
               RETURNING r.owner, r.size) \
               SELECT owner, count(*), count(size), coalesce(sum(size), 0)::int8 FROM gone GROUP BY owner ORDER BY owner";
    let (before, most) = (before.as_micros(), slice.rows());
    let rows = tx.conn.rows(sql, &[&before, &most]).await?;
    let (mut owners, mut answers, mut sizes): (Vec<&str>, Vec<i64>, Vec<i64>) = Default::default();
    let mut removed: i64 = 0;
    for row in &rows {
        let (n, answered, size): (i64, i64, i64) = (get(row, 1)?, get(row, 2)?, get(row, 3)?);
        removed += n;
        tx.tallies.bytes(-ROW * n - size);
        if answered > 0 {
            owners.push(get(row, 0)?);
            answers.push(answered);
            sizes.push(size);
        }
    }
    if !owners.is_empty() {
        let sql = "UPDATE answers a SET n = a.n - u.n, bytes = a.bytes - u.bytes \
                   FROM unnest($1::text[], $2::int8[], $3::int8[]) AS u (owner, n, bytes) WHERE a.owner = ANY (ARRAY[u.owner])";
        tx.conn.execute(sql, &[&owners, &answers, &sizes]).await?;
        tx.conn.execute("DELETE FROM answers WHERE owner = ANY ($1::text[]) AND n = 0", &[&owners]).await?;
    }
    slice.pruned.requests += removed.unsigned_abs();
    Ok(removed < most)
}

/// Events without any delivery left. One whose fan-out is not complete is not among them: deliveries of it are still to come.
async fn events(tx: &mut Tx, below: Uuid, slice: &mut Slice) -> Result<bool> {
    let sql = "SELECT event FROM bare_events WHERE event < $1 ORDER BY event LIMIT $2 FOR UPDATE SKIP LOCKED";
    while !slice.is_spent() {
        let page = slice.page().min(slice.rows());
        let rows = tx.conn.rows(sql, &[&below, &page]).await?;
        let ids = rows.iter().map(|row| get(row, 0)).collect::<Result<Vec<Uuid>>>()?;
        if !ids.is_empty() {
            slice.looked(ids.len());
            slice.pruned.events += remove_events(tx, &ids).await?;
        }
        if (ids.len() as i64) < page {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn remove_events(tx: &mut Tx, ids: &[Uuid]) -> Result<u64> {
    let sql = "DELETE FROM events e USING unnest($1::uuid[]) AS u (id) WHERE e.id = ANY (ARRAY[u.id]) \
               RETURNING e.id, e.namespace, e.idempotency_key, e.labels IS NOT NULL, (1024 + octet_length(e.payload) + 2 * coalesce(octet_length(e.labels), 0) \
               + coalesce(octet_length(e.metadata), 0))::int8";
    let rows = tx.conn.rows(sql, &[&ids]).await?;
    let (mut labelled, mut keyed): (Vec<Uuid>, Vec<Uuid>) = Default::default();
    let (mut namespaces, mut keys): (Vec<&str>, Vec<&str>) = Default::default();
    for row in &rows {
        tx.tallies.events(&namespace(row, 1)?, -1);
        tx.tallies.bytes(-get::<i64>(row, 4)?);
        if let Some(key) = get::<Option<&str>>(row, 2)? {
            keyed.push(get(row, 0)?);
            namespaces.push(get(row, 1)?);
            keys.push(key);
        }
        if get::<bool>(row, 3)? {
            labelled.push(get(row, 0)?);
        }
    }
    remove_keys(&tx.conn, &namespaces, &keys, &keyed).await?;
    if !labelled.is_empty() {
        let sql = "DELETE FROM event_labels l USING unnest($1::uuid[]) AS u (event) WHERE l.event = ANY (ARRAY[u.event])";
        tx.conn.execute(sql, &[&labelled]).await?;
    }
    tx.conn.execute("DELETE FROM bare_events WHERE event = ANY ($1::uuid[])", &[&ids]).await?;
    Ok(rows.len() as u64)
}

async fn remove_keys(conn: &Conn, namespaces: &[&str], keys: &[&str], events: &[Uuid]) -> Result<()> {
    if keys.is_empty() {
        return Ok(());
    }
    let sql = "DELETE FROM event_keys k USING unnest($1::text[], $2::text[], $3::uuid[]) AS u (namespace, key, event) \
               WHERE k.namespace = ANY (ARRAY[u.namespace]) AND k.key = u.key AND k.event = u.event";
    conn.execute(sql, &[&namespaces, &keys, &events]).await?;
    Ok(())
}

/// Removes up to so many rows of a table that are older than a bound; each has an index of just these, and all that is found goes. Answers how
/// many they were, and what they took.
macro_rules! remove_old {
    ($table:literal, $age:literal, $bytes:literal) => {
        concat!(
            "WITH aged AS MATERIALIZED (SELECT id FROM ",
            $table,
            " WHERE ",
            $age,
            " < $1 LIMIT $2 FOR UPDATE SKIP LOCKED), gone AS (DELETE FROM ",
            $table,
            " t USING aged g WHERE t.id = ANY (ARRAY[g.id]) RETURNING ",
            $bytes,
            " AS bytes) SELECT count(*), coalesce(sum(bytes), 0)::int8 FROM gone"
        )
    };
}

/// Closed dead letters, occurrences, jobs and batches that ended, and batches that were not started in time.
async fn closed(tx: &mut Tx, request: &PruneRequest, slice: &mut Slice) -> Result<bool> {
    let (ended, made) = (request.closed_before.as_micros(), request.requests_before.as_micros());
    let statements = [
        (remove_old!("dead_letters", "closed_at IS NOT NULL AND closed_at", "512"), ended),
        (remove_old!("scheduled", "status <> 0 AND updated_at", "1024 + octet_length(t.payload)"), ended),
        (remove_old!("jobs", "ended_at IS NOT NULL AND ended_at", "512"), ended),
        (remove_old!("batches", "ended_at IS NOT NULL AND ended_at", "512 + octet_length(t.entries)"), ended),
        (remove_old!("batches", "state = 0 AND created_at", "512 + octet_length(t.entries)"), made),
    ];
    for (sql, before) in statements {
        let most = slice.rows();
        if most == 0 {
            return Ok(false);
        }
        let row = tx.conn.only(sql, &[&before, &most]).await?;
        let removed: i64 = get(&row, 0)?;
        tx.tallies.bytes(-get::<i64>(&row, 1)?);
        slice.pruned.closed += removed.unsigned_abs();
        if removed >= most {
            return Ok(false);
        }
    }
    Ok(true)
}
