//! The reads of one thing, of what belongs to a subscription, and of counters.

use super::columns::{ATTEMPT_COLUMNS, DEAD_LETTER_COLUMNS, DELIVERY_COLUMNS, EVENT_COLUMNS};
use super::conn::{Conn, Params};
use super::error::{Result, bad_value};
use super::find_dead_letters::{place, places};
use super::lists::cut;
use super::rows::{
    attempt_row, count, dead_letter_row, delivery_row, delivery_row_from, event_row, event_row_from, get, id, id_opt, read_skipped,
    state_kind, take_bytes,
};
use super::tallies::{ATTEMPTS_FAILED, ATTEMPTS_SUCCEEDED, DEAD_LETTERS};
use postrider_core::delivery::Delivery;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::{AttemptId, DeadLetterId, DeliveryId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{
    AttemptView, Counters, DeadLetterFilter, DeadLetterPlace, DeadLetterView, DeliveryView, EventRow, EventView, Page, PageRequest, Window,
};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use tokio_postgres::Row;
use uuid::Uuid;

// ---- deliveries and events ---------------------------------------------------------------------------------------

/// A delivery with its event and its attempts.
pub(super) async fn delivery(conn: &Conn, of: DeliveryId) -> Result<Option<DeliveryView>> {
    let of = of.uuid();
    let params: Params<'_> = &[&of];
    let found = concat!(
        "SELECT ",
        delivery_columns!(),
        ", ",
        event_columns!(),
        " FROM deliveries d CROSS JOIN LATERAL (SELECT * FROM events WHERE id = d.event_id LIMIT 1) e WHERE d.id = $1 AND",
        not_erased!("d.endpoint")
    );
    let attempts = concat!("SELECT ", attempt_columns!(), " FROM attempts a WHERE a.delivery = $1 ORDER BY a.number");
    let (found, attempts) = tokio::try_join!(conn.row(found, params), conn.rows(attempts, params))?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(DeliveryView {
        delivery: delivery_row(&row)?,
        event: Arc::new(event_row_from(&row, DELIVERY_COLUMNS)?),
        attempts: attempts.iter().map(attempt_row).collect::<Result<_>>()?,
    }))
}

/// An event with what came of it.
pub(super) async fn event(conn: &Conn, of: EventId) -> Result<Option<EventView>> {
    let of = of.uuid();
    let params: Params<'_> = &[&of];
    let found = concat!("SELECT ", event_columns!(), ", e.skipped, e.fan_out_after IS NOT NULL FROM events e WHERE e.id = $1");
    let deliveries = concat!(
        "SELECT ",
        delivery_columns!(),
        // Without `OFFSET` a walk over all deliveries in their order might be taken.
        " FROM (SELECT * FROM deliveries d WHERE d.event = (SELECT e.seq FROM events e WHERE e.id = $1) AND",
        not_erased!("d.endpoint"),
        "OFFSET 0) d ORDER BY d.id"
    );
    let (found, deliveries) = tokio::try_join!(conn.row(found, params), conn.rows(deliveries, params))?;
    let Some(row) = found else { return Ok(None) };
    Ok(Some(EventView {
        event: Arc::new(event_row(&row)?),
        deliveries: deliveries.iter().map(delivery_row).collect::<Result<_>>()?,
        skipped: read_skipped(&row, EVENT_COLUMNS)?,
        fan_out_pending: get(&row, EVENT_COLUMNS + 1)?,
    }))
}

/// An event by its number, in this namespace if one is given.
pub(super) async fn event_by_seq(conn: &Conn, seq: EventSeq, within: Option<&Namespace>) -> Result<Option<EventRow>> {
    let found = conn.row(concat!("SELECT ", listed_event_columns!(), " FROM events e WHERE e.seq = $1"), &[&seq.0]).await?;
    seen_within(found, within)
}

/// An event by its id, in this namespace if one is given.
pub(super) async fn event_by_id(conn: &Conn, of: EventId, within: Option<&Namespace>) -> Result<Option<EventRow>> {
    let found = conn.row(concat!("SELECT ", listed_event_columns!(), " FROM events e WHERE e.id = $1"), &[&of.uuid()]).await?;
    seen_within(found, within)
}

fn seen_within(found: Option<Row>, within: Option<&Namespace>) -> Result<Option<EventRow>> {
    let event = found.as_ref().map(event_in_list).transpose()?;
    Ok(event.filter(|row| within.is_none_or(|namespace| *namespace == row.event.namespace)))
}

/// Reads an event selected with `listed_event_columns!` as the first columns.
pub(super) fn event_in_list(row: &Row) -> Result<EventRow> {
    Ok(EventRow {
        event: Arc::new(event_row(row)?),
        skipped: read_skipped(row, EVENT_COLUMNS)?,
        fan_out_pending: get(row, EVENT_COLUMNS + 1)?,
        has_deliveries: get(row, EVENT_COLUMNS + 2)?,
    })
}

/// How many deliveries each of these events has in each state, in their order.
pub(super) async fn event_counts(conn: &Conn, of: &[EventSeq]) -> Result<Vec<[u64; 7]>> {
    let seqs: Vec<i64> = of.iter().map(|seq| seq.0).collect();
    let sql = concat!(
        "SELECT d.event, d.state, count(*) FROM deliveries d WHERE d.event = ANY ($1::int8[]) AND",
        not_erased!("d.endpoint"),
        "GROUP BY d.event, d.state"
    );
    let mut counts: BTreeMap<i64, [u64; 7]> = BTreeMap::new();
    for row in conn.rows(sql, &[&seqs]).await? {
        counts.entry(get(&row, 0)?).or_default()[state_kind(&row, 1)? as usize] = count(&row, 2)?;
    }
    Ok(seqs.iter().map(|seq| counts.get(seq).copied().unwrap_or_default()).collect())
}

// ---- what belongs to a subscription ------------------------------------------------------------------------------

/// Attempts of a subscription, newest first: the newest of each endpoint that it ever sent to, and of these the newest.
pub(super) async fn attempts(conn: &Conn, of: SubscriptionId, limit: u32) -> Result<Vec<AttemptView>> {
    // An index that does not begin with the subscription does not have the order of the inner list, so that none such is read with the
    // others passed over, whatever statistics say of subscriptions in general.
    let sql = concat!(
        "SELECT ",
        attempt_columns!(),
        ", (SELECT d.state FROM deliveries d WHERE d.id = a.delivery) FROM (SELECT DISTINCT t.endpoint FROM tallies t \
         WHERE t.subscription = $1 AND t.subscription <> '00000000-0000-0000-0000-000000000000' AND",
        not_erased!("t.endpoint"),
        ") t CROSS JOIN LATERAL (SELECT * FROM attempts a WHERE a.subscription = ANY (ARRAY[$1::uuid]) AND a.endpoint = t.endpoint \
         ORDER BY a.subscription DESC, a.id DESC LIMIT $2::int8) a ORDER BY a.id DESC LIMIT $2::int8"
    );
    let rows = conn.rows(sql, &[&of.uuid(), &i64::from(limit)]).await?;
    rows.iter().map(|row| Ok(AttemptView { attempt: attempt_row(row)?, state: state_kind(row, ATTEMPT_COLUMNS)? })).collect()
}

/// Dead letters of a subscription that were not dismissed, newest first.
pub(super) async fn dead_letters(
    conn: &Conn,
    of: SubscriptionId,
    open_only: bool,
    request: PageRequest<DeadLetterPlace>,
) -> Result<Page<DeadLetterView, DeadLetterPlace>> {
    let (places, more) = if open_only {
        let filter = DeadLetterFilter { subscription: Some(of), ..DeadLetterFilter::default() };
        places(conn, &filter, Window { after: request.after, skip: 0, limit: request.limit }).await?
    } else {
        recent(conn, of, request).await?
    };
    let ids: Vec<Uuid> = places.iter().map(|place| place.id.uuid()).collect();
    let items = letters(conn, &ids, request.max_bytes).await?;
    let more = more || items.len() < places.len();
    let last = items.last().filter(|_| more).map(|view| &view.dead_letter);
    let next = last.map(|letter| DeadLetterPlace { failed_at: letter.failed_at, id: letter.id });
    Ok(Page { items, next })
}

/// The places of those that are open or were retried, and whether more follow.
async fn recent(conn: &Conn, of: SubscriptionId, request: PageRequest<DeadLetterPlace>) -> Result<(Vec<DeadLetterPlace>, bool)> {
    let sql = concat!(
        "SELECT l.failed_at, l.id FROM dead_letters l WHERE l.subscription = $1 AND l.status <> 2 \
         AND (l.failed_at, l.id) < ($2::int8, $3::uuid) AND",
        not_erased!("l.endpoint"),
        "ORDER BY l.failed_at DESC, l.id DESC LIMIT $4::int8"
    );
    let (at, id) = request.after.map_or((i64::MAX, Uuid::max()), |place| (place.failed_at.as_micros(), place.id.uuid()));
    let rows = conn.rows(sql, &[&of.uuid(), &at, &id, &(i64::from(request.limit) + 1)]).await?;
    let found = rows.iter().map(|row| place(row, 0)).collect::<Result<_>>()?;
    Ok(cut(found, request.limit))
}

/// One dead letter, whatever its status.
pub(super) async fn dead_letter(conn: &Conn, of: DeadLetterId) -> Result<Option<DeadLetterView>> {
    Ok(letters(conn, &[of.uuid()], u64::MAX).await?.pop())
}

/// A dead letter, the attempt before it, its delivery, and its event's id and size.
struct Letter {
    row: Row,
    delivery: Delivery,
    event: Uuid,
    size: usize,
}

/// Those of these dead letters that may be seen, in their order, until their events' payloads sum up to so much.
async fn letters(conn: &Conn, ids: &[Uuid], max_bytes: u64) -> Result<Vec<DeadLetterView>> {
    const DELIVERY: usize = DEAD_LETTER_COLUMNS + 1;
    const EVENT: usize = DELIVERY + DELIVERY_COLUMNS;
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let sql = concat!(
        "SELECT ",
        dead_letter_columns!(),
        ", ",
        last_attempt!(),
        ", ",
        delivery_columns!(),
        ", d.event_id, (SELECT octet_length(e.payload) FROM events e WHERE e.id = d.event_id) \
         FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) \
         CROSS JOIN LATERAL (SELECT * FROM dead_letters WHERE id = u.id LIMIT 1) l \
         CROSS JOIN LATERAL (SELECT * FROM deliveries WHERE id = l.delivery LIMIT 1) d WHERE",
        not_erased!("l.endpoint"),
        "ORDER BY u.at"
    );
    let mut found = Vec::new();
    for row in conn.rows(sql, &[&ids]).await? {
        let delivery = delivery_row_from(&row, DELIVERY)?;
        let size = usize::try_from(get::<i32>(&row, EVENT + 1)?).map_err(bad_value)?;
        found.push(Letter { delivery, event: get(&row, EVENT)?, size, row });
    }
    let found = take_bytes(found, max_bytes, |letter| letter.size);
    let events = events(conn, found.iter().map(|letter| letter.event).collect()).await?;
    let view = |Letter { row, delivery, .. }: Letter| -> Result<DeadLetterView> {
        let event = events.get(&delivery.event).cloned();
        let event = event.ok_or_else(|| bad_value(format_args!("event {} is missing", delivery.event)))?;
        let last_attempt = id_opt(&row, DEAD_LETTER_COLUMNS, AttemptId::new)?;
        Ok(DeadLetterView { dead_letter: dead_letter_row(&row, 0)?, last_attempt, delivery, event })
    };
    found.into_iter().map(view).collect()
}

/// Events by their numbers.
async fn events(conn: &Conn, ids: BTreeSet<Uuid>) -> Result<BTreeMap<EventSeq, Arc<Event>>> {
    let ids: Vec<Uuid> = ids.into_iter().collect();
    let sql = concat!(
        "SELECT ",
        event_columns!(),
        " FROM unnest($1::uuid[]) AS u (id) CROSS JOIN LATERAL (SELECT * FROM events WHERE id = u.id LIMIT 1) e"
    );
    let rows = conn.rows(sql, &[&ids]).await?;
    rows.iter().map(|row| event_row(row).map(|event| (event.seq, Arc::new(event)))).collect()
}

// ---- counters ----------------------------------------------------------------------------------------------------

/// Counters of these subscriptions, in their order. Those whose endpoint was erased have none.
pub(super) async fn counters(conn: &Conn, of: &[SubscriptionId]) -> Result<Vec<Counters>> {
    let sql = "SELECT t.subscription, t.kind, sum(t.n)::int8 FROM tallies t WHERE t.subscription = ANY ($1::uuid[]) \
               AND t.subscription <> '00000000-0000-0000-0000-000000000000' AND (t.kind <= 8 OR t.kind = 10) \
               AND t.subscription <> ALL (ARRAY(SELECT c.id::uuid FROM config c JOIN erased_endpoints x ON x.endpoint = c.endpoint \
               WHERE c.kind = 1)) GROUP BY t.subscription, t.kind";
    let ids: Vec<Uuid> = of.iter().map(|id| id.uuid()).collect();
    let mut known: BTreeMap<SubscriptionId, Counters> = BTreeMap::new();
    for row in conn.rows(sql, &[&ids]).await? {
        let counters = known.entry(id(&row, 0, SubscriptionId::new)?).or_default();
        let n = count(&row, 2)?;
        match get::<i16>(&row, 1)? {
            ATTEMPTS_SUCCEEDED => counters.attempts_succeeded = n,
            ATTEMPTS_FAILED => counters.attempts_failed = n,
            DEAD_LETTERS => counters.dead_letters = n,
            _ => counters.deliveries[state_kind(&row, 1)? as usize] = n,
        }
    }
    Ok(of.iter().map(|id| known.get(id).copied().unwrap_or_default()).collect())
}

/// How many deliveries may be seen in each state, of one namespace if given: all of them but for those to erased endpoints.
pub(super) async fn delivery_counts(conn: &Conn, of: Option<&Namespace>) -> Result<[u64; 7]> {
    macro_rules! sums {
        ($of:literal) => {
            concat!(
                "SELECT t.kind, sum(t.n)::int8 FROM (SELECT t.kind, t.n FROM tallies t WHERE t.namespace = $1 \
                 AND t.subscription = '00000000-0000-0000-0000-000000000000' AND t.endpoint = '00000000-0000-0000-0000-000000000000' \
                 AND t.kind <= 6 UNION ALL SELECT t.kind, -t.n FROM tallies t WHERE ",
                $of,
                "t.endpoint = ANY (ARRAY(SELECT endpoint FROM erased_endpoints)) \
                 AND t.endpoint <> '00000000-0000-0000-0000-000000000000' AND t.kind <= 6) t GROUP BY t.kind"
            )
        };
    }
    let sql = if of.is_some() { sums!("t.namespace = $1 AND ") } else { sums!("") };
    let mut counts = [0; 7];
    for row in conn.rows(sql, &[&of.map_or("", Namespace::as_str)]).await? {
        counts[state_kind(&row, 0)? as usize] = count(&row, 1)?;
    }
    Ok(counts)
}
