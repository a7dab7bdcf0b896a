//! Scheduled webhooks.

use super::conn::Conn;
use super::error::Result;
use super::publish;
use super::rows::{get, id, scheduled_row, scheduled_status, take_bytes, time};
use super::tx::Tx;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EventSeq, ScheduledId, SubscriptionId};
use postrider_core::ports::{DueScheduled, Fired, Firing, NewEvent, Page, PageRequest, Published, ScheduledPlace};
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// What an occurrence takes besides its payload.
const OCCURRENCE: i64 = 1_024;

/// Occurrences as columns.
macro_rules! given {
    () => {
        "unnest($1::uuid[], $2::text[], $3::uuid[], $4::int8[], $5::text[], $6::int8[], $7::int2[], $8::uuid[], $9::int8[], $10::int8[], \
         $11::bytea[]) AS u (id, namespace, subscription, due_at, recurrence, anchor, status, delivery, created_at, updated_at, payload)"
    };
}

const INSERT: &str = concat!(
    "INSERT INTO scheduled (id, namespace, subscription, due_at, recurrence, anchor, status, delivery, created_at, updated_at, payload) \
     SELECT u.id, u.namespace, u.subscription, u.due_at, u.recurrence, u.anchor, u.status, u.delivery, u.created_at, u.updated_at, \
     u.payload FROM ",
    given!(),
    " ON CONFLICT (id) DO NOTHING RETURNING id"
);

const REPLACE: &str = concat!(
    "UPDATE scheduled s SET namespace = u.namespace, subscription = u.subscription, due_at = u.due_at, recurrence = u.recurrence, \
     anchor = u.anchor, status = u.status, delivery = u.delivery, created_at = u.created_at, updated_at = u.updated_at, \
     payload = u.payload FROM ",
    given!(),
    " WHERE s.id = ANY (ARRAY[u.id])"
);

/// Columns of occurrences, in the order of `given!`.
#[derive(Default)]
struct Columns<'r> {
    ids: Vec<Uuid>,
    namespaces: Vec<&'r str>,
    subscriptions: Vec<Uuid>,
    due: Vec<i64>,
    recurrences: Vec<&'static str>,
    anchors: Vec<i64>,
    statuses: Vec<i16>,
    deliveries: Vec<Option<Uuid>>,
    created: Vec<i64>,
    updated: Vec<i64>,
    payloads: Vec<&'r [u8]>,
}

impl<'r> Columns<'r> {
    fn of(rows: impl Iterator<Item = &'r Scheduled>) -> Self {
        let mut columns = Columns::default();
        for row in rows {
            let (status, delivery) = scheduled_status(&row.status);
            columns.ids.push(row.id.uuid());
            columns.namespaces.push(row.namespace.as_str());
            columns.subscriptions.push(row.subscription.uuid());
            columns.due.push(row.due_at.as_micros());
            columns.recurrences.push(row.recurrence.as_str());
            columns.anchors.push(row.anchor.as_micros());
            columns.statuses.push(status);
            columns.deliveries.push(delivery);
            columns.created.push(row.created_at.as_micros());
            columns.updated.push(row.updated_at.as_micros());
            columns.payloads.push(&row.payload[..]);
        }
        columns
    }

    fn params(&self) -> [&(dyn ToSql + Sync); 11] {
        [
            &self.ids,
            &self.namespaces,
            &self.subscriptions,
            &self.due,
            &self.recurrences,
            &self.anchors,
            &self.statuses,
            &self.deliveries,
            &self.created,
            &self.updated,
            &self.payloads,
        ]
    }
}

/// Stores occurrences; one with a known id is replaced.
pub(super) async fn schedule(tx: &mut Tx, rows: &[Scheduled]) -> Result<()> {
    put(tx, rows.iter().map(|row| (row.id, row)).collect()).await
}

async fn put(tx: &mut Tx, mut rows: BTreeMap<ScheduledId, &Scheduled>) -> Result<()> {
    if rows.is_empty() {
        return Ok(());
    }
    let columns = Columns::of(rows.values().copied());
    for row in tx.conn.rows(INSERT, &columns.params()).await? {
        if let Some(new) = rows.remove(&id(&row, 0, ScheduledId::new)?) {
            tx.tallies.bytes(bytes(new));
        }
    }
    if rows.is_empty() { Ok(()) } else { replace(tx, &rows).await }
}

/// Replaces those that are there still.
async fn replace(tx: &mut Tx, rows: &BTreeMap<ScheduledId, &Scheduled>) -> Result<()> {
    let columns = Columns::of(rows.values().copied());
    let sql = "SELECT id, octet_length(payload) FROM scheduled WHERE id = ANY ($1::uuid[]) ORDER BY id FOR UPDATE";
    for row in tx.conn.rows(sql, &[&columns.ids]).await? {
        if let Some(new) = rows.get(&id(&row, 0, ScheduledId::new)?) {
            tx.tallies.bytes(bytes(new) - OCCURRENCE - i64::from(get::<i32>(&row, 1)?));
        }
    }
    tx.conn.execute(REPLACE, &columns.params()).await?;
    Ok(())
}

fn bytes(row: &Scheduled) -> i64 {
    OCCURRENCE + row.payload.len() as i64
}

/// Removes an occurrence, with `only_pending` unless it has fired; whether it did.
pub(super) async fn unschedule(tx: &mut Tx, id: ScheduledId, only_pending: bool) -> Result<bool> {
    // With `+ 0` the index of all that are pending will not do for a look at this one.
    let sql = "DELETE FROM scheduled WHERE id = $1 AND (status + 0 = 0 OR NOT $2::boolean) RETURNING octet_length(payload)";
    let Some(row) = tx.conn.row(sql, &[&id.uuid(), &only_pending]).await? else { return Ok(false) };
    tx.tallies.bytes(-OCCURRENCE - i64::from(get::<i32>(&row, 0)?));
    Ok(true)
}

/// Pending occurrences due by `now`, and when the first one after them is due. Payloads are read of those that are answered.
pub(super) async fn due(conn: &Conn, now: Timestamp, limit: u32, max_bytes: u64) -> Result<DueScheduled> {
    let sql = "SELECT id, due_at, octet_length(payload) FROM scheduled WHERE status = 0 ORDER BY due_at, id LIMIT $1";
    let pending = conn.rows(sql, &[&(i64::from(limit) + 1)]).await?;
    let pending =
        pending.iter().map(|row| Ok((id(row, 0, ScheduledId::new)?, time(row, 1)?, size(row, 2)?))).collect::<Result<Vec<_>>>()?;
    let due = pending.iter().take(limit as usize).take_while(|(_, due_at, _)| *due_at <= now);
    let due = take_bytes(due, max_bytes, |(_, _, size)| *size);
    let next_due = pending.get(due.len()).map(|(_, due_at, _)| *due_at);
    let ids: Vec<Uuid> = due.iter().map(|(id, ..)| id.uuid()).collect();
    Ok(DueScheduled { due: whole(conn, &ids).await?, next_due })
}

fn size(row: &Row, column: usize) -> Result<usize> {
    Ok(get::<i32>(row, column)?.unsigned_abs() as usize)
}

/// These occurrences in their order, as far as they are there.
async fn whole(conn: &Conn, ids: &[Uuid]) -> Result<Vec<Scheduled>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = concat!(
        "SELECT ",
        scheduled_columns!(),
        " FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) CROSS JOIN LATERAL (SELECT * FROM scheduled WHERE id = u.id LIMIT 1) s \
         ORDER BY u.at"
    );
    conn.rows(sql, &[&ids]).await?.iter().map(scheduled_row).collect()
}

/// Turns due occurrences into events, each with its successor.
pub(super) async fn fire(tx: &mut Tx, firings: &[Firing]) -> Result<Vec<Fired>> {
    let fire = which_fire(&tx.conn, firings).await?;
    let fire: Vec<Option<&Firing>> = firings.iter().zip(fire).map(|(firing, fires)| fires.then_some(firing)).collect();
    // Successors first: one of them may fire too.
    let next = fire.iter().flatten().filter_map(|firing| firing.next.as_ref());
    put(tx, next.map(|next| (next.id, next)).collect()).await?;
    let events: Vec<&NewEvent> = fire.iter().flatten().filter_map(|firing| firing.event.as_ref()).collect();
    let mut stored = events_of(tx, &events).await?.into_iter();
    let (mut ids, mut statuses, mut deliveries, mut times) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut answers = Vec::with_capacity(firings.len());
    for firing in &fire {
        let Some(firing) = firing else {
            answers.push(Fired::Gone);
            continue;
        };
        let event = firing.event.as_ref().and_then(|_| stored.next());
        // An event without any delivery leaves nothing that the occurrence could name.
        let first = event.and_then(|(_, first)| first);
        let (status, delivery) = scheduled_status(&first.map_or(ScheduledStatus::Failed, ScheduledStatus::Completed));
        ids.push(firing.id.uuid());
        statuses.push(status);
        deliveries.push(delivery);
        times.push(firing.at.as_micros());
        answers.push(event.map_or(Fired::Failed, |(seq, _)| Fired::Stored(seq)));
    }
    if !ids.is_empty() {
        let sql = "UPDATE scheduled s SET status = u.status, delivery = u.delivery, updated_at = u.at \
                   FROM unnest($1::uuid[], $2::int2[], $3::uuid[], $4::int8[]) AS u (id, status, delivery, at) \
                   WHERE s.id = ANY (ARRAY[u.id])";
        tx.conn.execute(sql, &[&ids, &statuses, &deliveries, &times]).await?;
    }
    Ok(answers)
}

/// Which of these are pending, and locked from here on. One that comes twice fires once.
async fn which_fire(conn: &Conn, firings: &[Firing]) -> Result<Vec<bool>> {
    let ids: Vec<Uuid> = firings.iter().map(|firing| firing.id.uuid()).collect();
    // With `+ 0` the index of all that are pending will not do for a look at these.
    let sql = "SELECT id FROM scheduled WHERE id = ANY ($1::uuid[]) AND status + 0 = 0 ORDER BY id FOR UPDATE";
    let found = conn.rows(sql, &[&ids]).await?;
    let mut pending = found.iter().map(|row| id(row, 0, ScheduledId::new)).collect::<Result<BTreeSet<_>>>()?;
    let fires = |firing: &Firing| {
        let fires = pending.remove(&firing.id);
        if fires {
            pending.extend(firing.next.iter().filter(|next| next.status == ScheduledStatus::Pending).map(|next| next.id));
        }
        fires
    };
    Ok(firings.iter().map(fires).collect())
}

/// Publishes events; answers the number of each, and its oldest delivery.
async fn events_of(tx: &mut Tx, events: &[&NewEvent]) -> Result<Vec<(EventSeq, Option<DeliveryId>)>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let published = publish::publish(tx, events).await?;
    let new = events.iter().zip(&published).filter(|(_, published)| matches!(published, Published::Stored(_)));
    let ids: Vec<Uuid> = new.flat_map(|(event, _)| &event.deliveries).map(|delivery| delivery.id.uuid()).collect();
    let sql = concat!(
        "SELECT DISTINCT ON (f.event) f.event, f.id FROM unnest($1::uuid[]) AS u (id) \
         CROSS JOIN LATERAL (SELECT d.event, d.id FROM deliveries d WHERE d.id = u.id AND",
        not_erased!("d.endpoint"),
        "LIMIT 1) f ORDER BY f.event, f.id"
    );
    let mut first = BTreeMap::new();
    if !ids.is_empty() {
        for row in tx.conn.rows(sql, &[&ids]).await? {
            first.insert(EventSeq(get(&row, 0)?), id(&row, 1, DeliveryId::new)?);
        }
    }
    let of = |published: Published| match published {
        Published::Stored(seq) => (seq, first.get(&seq).copied()),
        Published::Duplicate { seq, first, .. } => (seq, first.map(|first| first.id)),
    };
    Ok(published.into_iter().map(of).collect())
}

/// The next places, of those that are to come and of those that ended.
macro_rules! walks {
    ($scope:literal) => {
        [
            concat!(
                "SELECT s.id, s.due_at, octet_length(s.payload) FROM scheduled s WHERE ",
                $scope,
                // In this form both are bounds of the index.
                "(s.status <> 0) IS FALSE AND (s.due_at, s.id) > ($1, $2) ORDER BY s.due_at, s.id LIMIT $3"
            ),
            concat!(
                "SELECT s.id, s.due_at, octet_length(s.payload) FROM scheduled s WHERE ",
                $scope,
                "(s.status <> 0) IS TRUE AND (s.due_at, s.id) < ($1, $2) ORDER BY s.due_at DESC, s.id DESC LIMIT $3"
            ),
        ]
    };
}

/// Occurrences of one namespace and one subscription if given: what is to come by due time, then what ended, latest first.
pub(super) async fn list(
    conn: &Conn,
    namespace: Option<&Namespace>,
    of: Option<SubscriptionId>,
    request: PageRequest<ScheduledPlace>,
) -> Result<Page<Scheduled, ScheduledPlace>> {
    let (namespace, of) = (namespace.map(Namespace::as_str), of.map(SubscriptionId::uuid));
    let (walks, scope): ([&str; 2], Vec<&(dyn ToSql + Sync)>) = match (&namespace, &of) {
        (None, None) => (walks!(""), vec![]),
        (Some(n), None) => (walks!("s.namespace = $4 AND "), vec![n]),
        (None, Some(s)) => (walks!("s.subscription = $4 AND "), vec![s]),
        (Some(n), Some(s)) => (walks!("s.subscription = $4 AND s.namespace = $5 AND "), vec![s, n]),
    };
    let (mut places, mut bytes, mut more): (Vec<ScheduledPlace>, u64, bool) = (Vec::new(), 0, false);
    for (sql, ended) in walks.into_iter().zip([false, true]) {
        let (due_at, after) = match request.after {
            Some(place) if place.ended == ended => (place.due_at.as_micros(), place.id.uuid()),
            Some(place) if place.ended => continue,
            _ if ended => (i64::MAX, Uuid::max()),
            _ => (i64::MIN, Uuid::nil()),
        };
        // One more than there is room for tells whether more follow.
        let limit = i64::from(request.limit) + 1 - places.len() as i64;
        let own: [&(dyn ToSql + Sync); 3] = [&due_at, &after, &limit];
        let params: Vec<&(dyn ToSql + Sync)> = own.into_iter().chain(scope.iter().copied()).collect();
        for row in conn.rows(sql, &params).await? {
            if request.is_full(places.len(), bytes) {
                more = true;
                break;
            }
            bytes += size(&row, 2)? as u64;
            places.push(ScheduledPlace { ended, due_at: time(&row, 1)?, id: id(&row, 0, ScheduledId::new)? });
        }
        if more {
            break;
        }
    }
    let ids: Vec<Uuid> = places.iter().map(|place| place.id.uuid()).collect();
    let next = places.last().filter(|_| more).copied();
    Ok(Page { items: whole(conn, &ids).await?, next })
}

/// One occurrence.
pub(super) async fn one(conn: &Conn, of: ScheduledId) -> Result<Option<Scheduled>> {
    let sql = concat!("SELECT ", scheduled_columns!(), " FROM scheduled s WHERE s.id = $1");
    conn.row(sql, &[&of.uuid()]).await?.as_ref().map(scheduled_row).transpose()
}
