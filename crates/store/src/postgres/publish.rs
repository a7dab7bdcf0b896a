//! Events come in with their deliveries.

use super::conn::Conn;
use super::error::{Result, bad_value};
use super::room::{DELIVERY, EVENT};
use super::rows::{count, get, id, id_opt, map_json, micros, skipped_json, state_kind, text};
use super::tallies::{Of, Tallies};
use super::tx::Tx;
use postrider_core::delivery::StateKind;
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::id::{DeliveryId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{FirstDelivery, NewDelivery, NewEvent, Published};
use postrider_core::time::Timestamp;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use uuid::Uuid;

/// Stores events with their deliveries, numbered in their order. An event whose key is taken is not stored and takes no number.
pub(super) async fn publish(tx: &mut Tx, events: &[&NewEvent]) -> Result<Vec<Published>> {
    if events.is_empty() {
        return Ok(Vec::new());
    }
    let conn = &tx.conn;
    let (fates, numbers, erased) = if events.iter().all(|event| event.idempotency_key.is_none()) {
        let (numbers, erased) = plain(conn, events.len()).await?;
        (events.iter().map(|_| Fate::New).collect(), numbers, erased)
    } else {
        let ((fates, numbers), erased) = tokio::try_join!(biased; decide(conn, events), erased(conn))?;
        (fates, numbers, erased)
    };
    let mut numbers = numbers.into_iter();
    let mut stored: Vec<Option<EventSeq>> = Vec::with_capacity(events.len());
    for fate in &fates {
        stored.push(match fate {
            Fate::New => Some(numbers.next().ok_or_else(|| bad_value("fewer numbers than events"))?),
            Fate::Same(_) | Fate::Known(_) => None,
        });
    }
    let new: Vec<(EventSeq, &NewEvent)> = stored.iter().zip(events).filter_map(|(seq, event)| Some(((*seq)?, *event))).collect();
    store(tx, &new, &erased).await?;
    let answer = |at: usize| match fates.get(at)? {
        Fate::Known(first) => Some(*first),
        _ => stored.get(at).copied().flatten().map(Published::Stored),
    };
    let answers = (0..events.len()).map(|at| match fates.get(at) {
        Some(Fate::Same(first)) => answer(*first).map(|of| as_duplicate(of, events.get(*first).copied(), &erased)),
        _ => answer(at),
    });
    answers.map(|answer| answer.ok_or_else(|| bad_value("an event without an answer"))).collect()
}

/// Whether all of these are duplicates of what is stored.
pub(super) async fn are_known(conn: &Conn, events: &[NewEvent]) -> Result<bool> {
    let keyed = events.iter().filter_map(|event| Some((event.namespace.as_str(), text(event.idempotency_key.as_deref()?))));
    let (namespaces, keys): (Vec<&str>, Vec<Cow<'_, str>>) = keyed.unzip();
    if keys.len() < events.len() {
        return Ok(false);
    }
    let sql = "SELECT NOT EXISTS (SELECT 1 FROM unnest($1::text[], $2::text[]) AS u (namespace, key) \
               WHERE (SELECT k.event FROM event_keys k WHERE k.namespace = u.namespace AND k.key = u.key LIMIT 1) IS NULL)";
    get(&conn.only(sql, &[&namespaces, &keys]).await?, 0)
}

/// The endpoints that nothing is stored for any more.
pub(super) async fn erased(conn: &Conn) -> Result<BTreeSet<EndpointId>> {
    let rows = conn.rows("SELECT endpoint FROM erased_endpoints", &[]).await?;
    rows.iter().map(|row| id(row, 0, EndpointId::new)).collect()
}

// ---- keys and numbers ------------------------------------------------------------------------------------------------

/// What becomes of an event, as its key says.
enum Fate {
    New,
    /// One before it in the batch has the same key: the one at this place.
    Same(usize),
    /// One that was stored before has it.
    Known(Published),
}

/// Keys with the places of their events, in the order in which everybody takes them.
type Keys<'e> = BTreeMap<(&'e str, Cow<'e, str>), usize>;

/// How often a key is tried for whose event retention removes at that very moment.
const TRIES: usize = 5;

/// Takes the keys, and numbers for the events that are new, ascending.
async fn decide(conn: &Conn, events: &[&NewEvent]) -> Result<(Vec<Fate>, Vec<EventSeq>)> {
    let mut keys: Keys<'_> = BTreeMap::new();
    let mut fates: Vec<Fate> = Vec::with_capacity(events.len());
    for (at, event) in events.iter().enumerate() {
        let Some(key) = &event.idempotency_key else {
            fates.push(Fate::New);
            continue;
        };
        let first = *keys.entry((event.namespace.as_str(), text(key))).or_insert(at);
        fates.push(if first == at { Fate::New } else { Fate::Same(first) });
    }
    let plain = events.iter().filter(|event| event.idempotency_key.is_none()).count();
    let mut numbers = take(conn, &mut keys, events, plain).await?;
    for _ in 0..TRIES {
        if keys.is_empty() {
            numbers.sort_unstable();
            return Ok((fates, numbers));
        }
        for (at, first) in known(conn, &mut keys).await? {
            if let Some(fate) = fates.get_mut(at) {
                *fate = Fate::Known(first);
            }
        }
        // What is left was taken a moment ago and is free by now, or its event went with its partition a moment ago and it is about to follow.
        if !keys.is_empty() {
            let_go(conn, &keys).await?;
            numbers.extend(take(conn, &mut keys, events, 0).await?);
        }
    }
    Err(bad_value("an idempotency key of an event that is not there"))
}

/// Numbers for so many events without keys, ascending, and what [`erased`] says.
async fn plain(conn: &Conn, events: usize) -> Result<(Vec<EventSeq>, BTreeSet<EndpointId>)> {
    let events = i64::try_from(events).unwrap_or(i64::MAX);
    let sql = "SELECT ARRAY(SELECT nextval('event_seq') FROM generate_series(1, $1::int8)), ARRAY(SELECT endpoint FROM erased_endpoints)";
    let row = conn.only(sql, &[&events]).await?;
    let (numbers, erased): (Vec<i64>, Vec<Uuid>) = (get(&row, 0)?, get(&row, 1)?);
    Ok((numbers.into_iter().map(EventSeq).collect(), erased.into_iter().map(EndpointId::new).collect()))
}

/// Takes the keys that are free; those that are not are left in `keys`. Answers a number for each that was, and so many more.
async fn take(conn: &Conn, keys: &mut Keys<'_>, events: &[&NewEvent], more: usize) -> Result<Vec<EventSeq>> {
    let namespaces: Vec<&str> = keys.keys().map(|(namespace, _)| *namespace).collect();
    let texts: Vec<&str> = keys.keys().map(|(_, key)| &**key).collect();
    let ids: Vec<Uuid> = keys.values().filter_map(|at| Some(events.get(*at)?.id.uuid())).collect();
    let more = i64::try_from(more).unwrap_or(i64::MAX);
    let sql = "WITH taken AS (INSERT INTO event_keys (namespace, key, event) SELECT u.namespace, u.key, u.event \
               FROM unnest($1::text[], $2::text[], $3::uuid[]) WITH ORDINALITY AS u (namespace, key, event, at) ORDER BY u.at \
               ON CONFLICT (namespace, key) DO NOTHING RETURNING event) \
               SELECT event, nextval('event_seq') FROM taken \
               UNION ALL SELECT NULL::uuid, nextval('event_seq') FROM generate_series(1, $4::int8)";
    let rows = conn.rows(sql, &[&namespaces, &texts, &ids, &more]).await?;
    let mut taken = BTreeSet::new();
    let mut numbers = Vec::with_capacity(rows.len());
    for row in &rows {
        taken.extend(id_opt(row, 0, EventId::new)?);
        numbers.push(EventSeq(get(row, 1)?));
    }
    keys.retain(|_, at| events.get(*at).is_none_or(|event| !taken.contains(&event.id)));
    Ok(numbers)
}

/// Removes those whose events are gone. Of a transaction that goes on neither can be seen, and of one that has ended both.
async fn let_go(conn: &Conn, keys: &Keys<'_>) -> Result<()> {
    let namespaces: Vec<&str> = keys.keys().map(|(namespace, _)| *namespace).collect();
    let texts: Vec<&str> = keys.keys().map(|(_, key)| &**key).collect();
    let sql = "DELETE FROM event_keys k USING unnest($1::text[], $2::text[]) AS u (namespace, key) \
               WHERE k.namespace = ANY (ARRAY[u.namespace]) AND k.key = u.key AND (SELECT e.id FROM events e WHERE e.id = k.event LIMIT 1) IS NULL";
    conn.execute(sql, &[&namespaces, &texts]).await.map(drop)
}

/// The events that have the keys; what was found is taken out of `keys`. Without `OFFSET` a walk over all deliveries in their order might be
/// taken for the way to the first one of an event.
async fn known(conn: &Conn, keys: &mut Keys<'_>) -> Result<Vec<(usize, Published)>> {
    let sql = concat!(
        "SELECT u.at, e.id, e.seq, f.id, f.subscription, f.state FROM unnest($1::text[], $2::text[], $3::int8[]) AS u (namespace, key, at) \
         CROSS JOIN LATERAL (SELECT event FROM event_keys WHERE namespace = u.namespace AND key = u.key LIMIT 1) k \
         CROSS JOIN LATERAL (SELECT id, seq FROM events WHERE id = k.event LIMIT 1) e \
         LEFT JOIN LATERAL (SELECT o.id, o.subscription, o.state FROM (SELECT d.id, d.subscription, d.state FROM deliveries d \
         WHERE d.event = e.seq AND",
        not_erased!("d.endpoint"),
        "OFFSET 0) o ORDER BY o.id LIMIT 1) f ON true"
    );
    let namespaces: Vec<&str> = keys.keys().map(|(namespace, _)| *namespace).collect();
    let texts: Vec<&str> = keys.keys().map(|(_, key)| &**key).collect();
    let places: Vec<i64> = keys.values().map(|at| i64::try_from(*at).unwrap_or(i64::MAX)).collect();
    let rows = conn.rows(sql, &[&namespaces, &texts, &places]).await?;
    let mut found = BTreeMap::new();
    for row in &rows {
        let first = match id_opt(row, 3, DeliveryId::new)? {
            None => None,
            Some(id_of_first) => {
                Some(FirstDelivery { id: id_of_first, subscription: id(row, 4, SubscriptionId::new)?, state: state_kind(row, 5)? })
            }
        };
        let at = usize::try_from(count(row, 0)?).map_err(bad_value)?;
        found.insert(at, Published::Duplicate { id: id(row, 1, EventId::new)?, seq: EventSeq(get(row, 2)?), first });
    }
    keys.retain(|_, at| !found.contains_key(&*at));
    Ok(found.into_iter().collect())
}

/// The answer to one that came behind another with its key, which was answered so.
fn as_duplicate(answer: Published, first: Option<&NewEvent>, erased: &BTreeSet<EndpointId>) -> Published {
    match (answer, first) {
        (Published::Stored(seq), Some(event)) => {
            let oldest = event.deliveries.iter().filter(|new| !erased.contains(&new.endpoint)).min_by_key(|new| new.id);
            let first = oldest.map(|new| FirstDelivery { id: new.id, subscription: new.subscription, state: StateKind::Pending });
            Published::Duplicate { id: event.id, seq, first }
        }
        (answer, _) => answer,
    }
}

// ---- rows ------------------------------------------------------------------------------------------------------------

/// An event with its number and its texts.
struct Numbered<'e> {
    seq: EventSeq,
    event: &'e NewEvent,
    labels: Option<String>,
    metadata: Option<String>,
    skipped: Option<String>,
}

impl<'e> Numbered<'e> {
    fn new(seq: EventSeq, event: &'e NewEvent) -> Result<Self> {
        let (labels, metadata) = (map_json(&event.labels)?, map_json(&event.metadata)?);
        Ok(Numbered { seq, event, labels, metadata, skipped: skipped_json(&event.skipped)? })
    }

    /// What it takes. Labels are stored twice.
    fn bytes(&self) -> i64 {
        let length = |text: &Option<String>| text.as_ref().map_or(0, String::len);
        EVENT + (self.event.payload.len() + 2 * length(&self.labels) + length(&self.metadata)) as i64
    }
}

/// A delivery with what it takes from its event.
#[derive(Clone, Copy)]
pub(super) struct Placed<'e> {
    pub(super) event: EventSeq,
    pub(super) event_id: EventId,
    pub(super) namespace: &'e Namespace,
    pub(super) created_at: Timestamp,
    pub(super) new: &'e NewDelivery,
}

async fn store(tx: &mut Tx, events: &[(EventSeq, &NewEvent)], erased: &BTreeSet<EndpointId>) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    let events = events.iter().map(|(seq, event)| Numbered::new(*seq, event)).collect::<Result<Vec<_>>>()?;
    let (mut placed, mut bare) = (Vec::new(), Vec::new());
    for Numbered { seq, event, .. } in &events {
        let before = placed.len();
        // Planned before its endpoint was erased: nobody may see it any more.
        let seen = event.deliveries.iter().filter(|new| !erased.contains(&new.endpoint));
        let of = |new| Placed { event: *seq, event_id: event.id, namespace: &event.namespace, created_at: event.created_at, new };
        placed.extend(seen.map(of));
        if placed.len() == before && event.fan_out_after.is_none() {
            bare.push(event.id.uuid());
        }
    }
    let conn = &tx.conn;
    tokio::try_join!(biased;
        put_events(conn, &events),
        put_labels(conn, &events),
        put_bare(conn, &bare),
        put_deliveries(conn, tx.incarnation, &placed)
    )?;
    for numbered in &events {
        tx.tallies.events(&numbered.event.namespace, 1);
        tx.tallies.bytes(numbered.bytes());
    }
    count_deliveries(&mut tx.tallies, &placed);
    Ok(())
}

/// Counts deliveries that were stored.
pub(super) fn count_deliveries(tallies: &mut Tallies, placed: &[Placed<'_>]) {
    for Placed { namespace, new, .. } in placed.iter().copied() {
        let of = Of { namespace, subscription: new.subscription, endpoint: new.endpoint };
        tallies.deliveries(of, StateKind::Pending, 1);
        tallies.bytes(DELIVERY);
    }
}

async fn put_events(conn: &Conn, events: &[Numbered<'_>]) -> Result<()> {
    let ids: Vec<Uuid> = events.iter().map(|e| e.event.id.uuid()).collect();
    let seqs: Vec<i64> = events.iter().map(|e| e.seq.0).collect();
    let namespaces: Vec<&str> = events.iter().map(|e| e.event.namespace.as_str()).collect();
    let types: Vec<Cow<'_, str>> = events.iter().map(|e| text(&e.event.event_type)).collect();
    let created: Vec<i64> = events.iter().map(|e| e.event.created_at.as_micros()).collect();
    let ttl = |e: &Numbered<'_>| e.event.ttl.map(|ttl| i64::try_from(ttl.as_micros()).unwrap_or(i64::MAX));
    let ttls: Vec<Option<i64>> = events.iter().map(ttl).collect();
    let valid: Vec<Option<bool>> = events.iter().map(|e| schema_valid(e.event.schema_check)).collect();
    let after: Vec<Option<Uuid>> = events.iter().map(|e| e.event.fan_out_after.map(SubscriptionId::uuid)).collect();
    let keys: Vec<Option<Cow<'_, str>>> = events.iter().map(|e| e.event.idempotency_key.as_deref().map(text)).collect();
    let labels: Vec<Option<&str>> = events.iter().map(|e| e.labels.as_deref()).collect();
    let metadata: Vec<Option<&str>> = events.iter().map(|e| e.metadata.as_deref()).collect();
    let skipped: Vec<Option<&str>> = events.iter().map(|e| e.skipped.as_deref()).collect();
    let payloads: Vec<&[u8]> = events.iter().map(|e| &e.event.payload[..]).collect();
    let sql = "INSERT INTO events (id, seq, namespace, type, created_at, ttl_us, schema_valid, fan_out_after, idempotency_key, labels, metadata, \
               skipped, payload) SELECT * FROM unnest($1::uuid[], $2::int8[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::bool[], \
               $8::uuid[], $9::text[], $10::text[], $11::text[], $12::text[], $13::bytea[])";
    conn.execute(sql, &[&ids, &seqs, &namespaces, &types, &created, &ttls, &valid, &after, &keys, &labels, &metadata, &skipped, &payloads])
        .await?;
    Ok(())
}

/// How a check is written down.
fn schema_valid(check: SchemaCheck) -> Option<bool> {
    match check {
        SchemaCheck::Unchecked => None,
        SchemaCheck::Passed => Some(true),
        SchemaCheck::Failed => Some(false),
    }
}

async fn put_labels(conn: &Conn, events: &[Numbered<'_>]) -> Result<()> {
    let labels: Vec<(&Numbered<'_>, &str, &str)> =
        events.iter().flat_map(|e| e.event.labels.iter().map(move |(key, value)| (e, key.as_str(), value.as_str()))).collect();
    if labels.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = labels.iter().map(|(e, ..)| e.event.id.uuid()).collect();
    let namespaces: Vec<&str> = labels.iter().map(|(e, ..)| e.event.namespace.as_str()).collect();
    let keys: Vec<Cow<'_, str>> = labels.iter().map(|(_, key, _)| text(key)).collect();
    let values: Vec<Cow<'_, str>> = labels.iter().map(|(.., value)| text(value)).collect();
    let created: Vec<i64> = labels.iter().map(|(e, ..)| e.event.created_at.as_micros()).collect();
    let seqs: Vec<i64> = labels.iter().map(|(e, ..)| e.seq.0).collect();
    let sql = "INSERT INTO event_labels (event, namespace, key, value, created_at, seq) \
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::text[], $4::text[], $5::int8[], $6::int8[])";
    conn.execute(sql, &[&ids, &namespaces, &keys, &values, &created, &seqs]).await?;
    Ok(())
}

async fn put_bare(conn: &Conn, events: &[Uuid]) -> Result<()> {
    if !events.is_empty() {
        conn.execute("INSERT INTO bare_events (event) SELECT * FROM unnest($1::uuid[])", &[&events]).await?;
    }
    Ok(())
}

/// Stores pending deliveries, due when they are made; those that are claimed are of this incarnation.
pub(super) async fn put_deliveries(conn: &Conn, incarnation: i64, placed: &[Placed<'_>]) -> Result<()> {
    if placed.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = placed.iter().map(|p| p.new.id.uuid()).collect();
    let events: Vec<i64> = placed.iter().map(|p| p.event.0).collect();
    let event_ids: Vec<Uuid> = placed.iter().map(|p| p.event_id.uuid()).collect();
    let namespaces: Vec<&str> = placed.iter().map(|p| p.namespace.as_str()).collect();
    let subscriptions: Vec<Uuid> = placed.iter().map(|p| p.new.subscription.uuid()).collect();
    let endpoints: Vec<Uuid> = placed.iter().map(|p| p.new.endpoint.uuid()).collect();
    let keeps_rows: Vec<bool> = placed.iter().map(|p| p.new.keeps_rows).collect();
    let created: Vec<i64> = placed.iter().map(|p| p.created_at.as_micros()).collect();
    let expires: Vec<Option<i64>> = placed.iter().map(|p| micros(p.new.expires_at)).collect();
    let claims: Vec<i64> = placed.iter().map(|p| if p.new.claimed { incarnation } else { 0 }).collect();
    let sql = "WITH new AS (SELECT * FROM unnest($1::uuid[], $2::int8[], $3::uuid[], $4::text[], $5::uuid[], $6::uuid[], $7::bool[], $8::int8[], \
               $9::int8[], $10::int8[]) AS u (id, event, event_id, namespace, subscription, endpoint, keeps_rows, created_at, expires_at, claim)), \
               stored AS (INSERT INTO deliveries (id, event, event_id, namespace, subscription, endpoint, keeps_rows, created_at, due_at, \
               expires_at, state, attempts, spent) SELECT id, event, event_id, namespace, subscription, endpoint, keeps_rows, created_at, \
               created_at, expires_at, 0, 0, 0 FROM new) \
               INSERT INTO queue (id, endpoint, claim, due_at, expires_at) SELECT id, endpoint, claim, created_at, expires_at FROM new";
    conn.execute(sql, &[&ids, &events, &event_ids, &namespaces, &subscriptions, &endpoints, &keeps_rows, &created, &expires, &claims])
        .await?;
    Ok(())
}
