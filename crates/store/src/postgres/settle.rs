//! Outcomes: what became of claimed deliveries.
//!
//! A batch takes two round trips: the first one locks and moves the deliveries that are claimed and in the expected state, and says which they
//! were; the second one writes everything that follows from that.

mod attempts;

use super::conn::{Conn, Params};
use super::error::{Result, bad_value};
use super::health;
use super::publish::publish;
use super::replay;
use super::room::ROW;
use super::rows::{get, id, int, micros, reason, text};
use super::tallies::{Of, Tallies};
use super::tx::Tx;
use postrider_core::attempt::Attempt;
use postrider_core::delivery::{State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::health::Earlier;
use postrider_core::id::{AttemptId, DeadLetterId, DeliveryId, EndpointId, EventSeq};
use postrider_core::ports::{NewDeadLetter, NewEvent, Settled, Settlement};
use postrider_core::time::Timestamp;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use tokio_postgres::Row;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Records what became of claimed deliveries, and stores the events that outcomes made.
pub(super) async fn settle(tx: &mut Tx, settlements: &[&Settlement]) -> Result<Vec<Settled>> {
    let mut stored: BTreeMap<usize, (Settled, Option<Earlier>)> = BTreeMap::new();
    for round in rounds(settlements) {
        let round: Vec<Item<'_>> = round.into_values().collect();
        stored.extend(settle_round(tx, &round).await?);
    }
    let mut settled = vec![Settled::Fenced; settlements.len()];
    let mut events: Vec<&NewEvent> = Vec::new();
    for (at, (how, earlier)) in stored {
        let (Some(settlement), Some(answer)) = (settlements.get(at), settled.get_mut(at)) else { continue };
        *answer = how;
        if let Some(attempt) = &settlement.attempt {
            tx.health.attempt(attempt, earlier);
        }
        events.extend(settlement.follow_up.as_deref());
    }
    publish(tx, &events).await?;
    Ok(settled)
}

/// A settlement with its place in the batch.
#[derive(Clone, Copy)]
struct Item<'s> {
    at: usize,
    settlement: &'s Settlement,
}

/// The settlements in rounds that follow each other: each has a delivery once, and all in the order of their ids.
fn rounds<'s>(settlements: &[&'s Settlement]) -> Vec<BTreeMap<DeliveryId, Item<'s>>> {
    let mut rounds: Vec<BTreeMap<DeliveryId, Item<'s>>> = Vec::new();
    for (at, settlement) in settlements.iter().copied().enumerate() {
        let (delivery, item) = (settlement.delivery, Item { at, settlement });
        match rounds.iter_mut().find(|round| !round.contains_key(&delivery)) {
            None => rounds.push(BTreeMap::from([(delivery, item)])),
            Some(round) => {
                round.insert(delivery, item);
            }
        }
    }
    rounds
}

/// A settlement that applies, with what the row of its delivery says.
struct Moved<'s> {
    at: usize,
    settlement: &'s Settlement,
    endpoint: EndpointId,
    event: EventSeq,
    keeps_rows: bool,
    kept_letter: bool,
    created_at: i64,
    /// It was to wait, and somebody has called it off: it has ended.
    is_off: bool,
    /// Its delivery had an attempt of that number, or of a greater one.
    number_taken: bool,
    /// Its row is in the queue still.
    is_queued: bool,
}

impl<'s> Moved<'s> {
    /// What [`ADVANCE`] or [`END`] says.
    fn read(row: &Row, items: &[Item<'s>], number_taken: bool, is_queued: bool) -> Result<Self> {
        let delivery = id(row, 0, DeliveryId::new)?;
        let place = items.binary_search_by_key(&delivery, |item| item.settlement.delivery).ok();
        let item = place.and_then(|place| items.get(place)).ok_or_else(|| bad_value("a delivery that was not asked for"))?;
        Ok(Moved {
            at: item.at,
            settlement: item.settlement,
            endpoint: id(row, 1, EndpointId::new)?,
            event: EventSeq(get(row, 2)?),
            keeps_rows: get(row, 3)?,
            kept_letter: get(row, 4)?,
            created_at: get(row, 5)?,
            is_off: get(row, 6)?,
            number_taken,
            is_queued,
        })
    }

    /// How its delivery stands now.
    fn state(&self) -> StateKind {
        if self.is_off { StateKind::Cancelled } else { self.settlement.progress.state.kind() }
    }

    /// Why it ended.
    fn reason(&self) -> Option<&'static str> {
        if self.is_off { Some(ErrorCode::CancelledByHand.as_str()) } else { reason(&self.settlement.progress.state) }
    }

    fn settled(&self) -> Settled {
        if self.is_off { Settled::CalledOff } else { Settled::Stored }
    }

    fn attempt(&self) -> Option<&'s Attempt> {
        self.settlement.attempt.as_ref()
    }

    /// Whether it rests and may have an open dead letter that a replay kept. It is like any other from then on.
    fn ends_with_kept_letter(&self) -> bool {
        self.kept_letter && self.state().is_resting()
    }

    fn of(&self) -> Of<'s> {
        Of { namespace: &self.settlement.namespace, subscription: self.settlement.subscription, endpoint: self.endpoint }
    }
}

/// Settles a round; answers the places of those that are stored, how, and the attempts by which their deliveries were counted so far.
async fn settle_round(tx: &mut Tx, round: &[Item<'_>]) -> Result<Vec<(usize, (Settled, Option<Earlier>))>> {
    let ended: Vec<(DeliveryId, &Attempt)> =
        round.iter().filter_map(|item| Some((item.settlement.delivery, item.settlement.attempt.as_ref()?))).collect();
    let (moved, earlier) = tokio::try_join!(biased; advance(&tx.conn, tx.incarnation, round), health::earlier(&tx.conn, &ended))?;
    if moved.is_empty() {
        return Ok(Vec::new());
    }
    let closed: Vec<(DeliveryId, Option<Timestamp>)> = moved
        .iter()
        .filter(|moved| moved.ends_with_kept_letter() && moved.settlement.closes_dead_letter())
        .map(|moved| (moved.settlement.delivery, moved.settlement.at()))
        .collect();
    if !closed.is_empty() {
        replay::close_open(tx, &closed).await?;
    }
    let conn = &tx.conn;
    let (_, _, _, _, opened, finished, _) = tokio::try_join!(biased;
        let_go(conn, &moved),
        keep(conn, tx.incarnation, &moved),
        forget_kept_letters(conn, &moved),
        note_unsuccessful(conn, &moved),
        open_dead_letters(conn, &moved),
        attempts::finish(conn, &moved),
        attempts::insert_new(conn, &moved)
    )?;
    attempts::replace(tx, &moved, &finished).await?;
    for moved in &moved {
        count(&mut tx.tallies, moved, &opened, &finished);
    }
    let answer = |moved: &Moved<'_>| (moved.at, (moved.settled(), earlier.get(&moved.settlement.delivery).copied()));
    Ok(moved.iter().map(answer).collect())
}

fn count(tallies: &mut Tallies, moved: &Moved<'_>, opened: &BTreeSet<DeadLetterId>, finished: &BTreeSet<AttemptId>) {
    let (settlement, of) = (moved.settlement, moved.of());
    tallies.moved(of, settlement.from, moved.state());
    if let Some(attempt) = moved.attempt() {
        tallies.bytes(attempts::bodies(attempt) + if finished.contains(&attempt.id) { 0 } else { ROW });
        if let Some(outcome) = &attempt.outcome {
            let of = Of { subscription: attempt.subscription, endpoint: attempt.endpoint, ..of };
            tallies.attempt_ended(of, outcome.error.as_ref().map(|error| error.code));
        }
    }
    if let Some(new) = settlement.dead_letter.as_ref().filter(|new| opened.contains(&new.id)) {
        tallies.dead_letters(of, new.code.as_str(), 1);
        tallies.bytes(ROW);
    }
}

// ---- the first round trip --------------------------------------------------------------------------------------------

/// Whoever changes a delivery has its row in the queue, so that what is claimed stays so. Where a number is to be free it is above all that the
/// delivery has had. What is to wait (its state is 0 or 2) and was called off ends as cancelled (6).
const ADVANCE: &str = "WITH held AS (SELECT u.*, q.cancel_wanted AND u.state IN (0, 2) AS is_off FROM unnest($1::uuid[], $2::int2[], $3::int2[], \
    $4::int4[], $5::int4[], $6::int8[], $7::text[], $8::int8[], $9::int8[], $10::int4[]) \
    AS u (id, was, state, attempts, spent, due_at, reason, expires_at, began_at, free_from) \
    CROSS JOIN LATERAL (SELECT cancel_wanted FROM queue WHERE id = u.id AND claim = $11::int8 FOR UPDATE) q) \
    UPDATE deliveries d SET state = CASE WHEN h.is_off THEN 6::int2 ELSE h.state END, attempts = h.attempts, spent = h.spent, \
    due_at = CASE WHEN h.is_off THEN NULL ELSE h.due_at END, reason = CASE WHEN h.is_off THEN $12::text ELSE h.reason END, \
    expires_at = h.expires_at, last_attempt_at = coalesce(h.began_at, d.last_attempt_at) \
    FROM held h WHERE d.id = ANY (ARRAY[h.id]) AND d.state = h.was AND d.attempts < h.free_from \
    RETURNING d.id, d.endpoint, d.event, d.keeps_rows, d.kept_letter, d.created_at, h.is_off";
// The statement says it in figures.
const _: () = assert!(StateKind::Pending as u8 == 0 && StateKind::Retrying as u8 == 2 && StateKind::Cancelled as u8 == 6);

/// The same where all of them rest afterwards: what rests is not in the queue, and whoever removes a row has it. Behind those that were changed come
/// those that were removed and not changed, without an event.
const END: &str = "WITH gone AS (DELETE FROM queue q USING unnest($1::uuid[], $2::int2[], $3::int2[], $4::int4[], $5::int4[], $6::int8[], \
    $7::text[], $8::int8[], $9::int8[], $10::int4[]) AS u (id, was, state, attempts, spent, due_at, reason, expires_at, began_at, free_from) \
    WHERE q.id = ANY (ARRAY[u.id]) AND q.claim = $11::int8 \
    RETURNING u.*, q.endpoint AS queued_of, q.cancel_wanted AS queued_off, q.due_at AS queued_due, q.expires_at AS queued_until), \
    moved AS (UPDATE deliveries d SET state = g.state, attempts = g.attempts, spent = g.spent, due_at = g.due_at, reason = g.reason, \
    expires_at = g.expires_at, last_attempt_at = coalesce(g.began_at, d.last_attempt_at) \
    FROM gone g WHERE d.id = ANY (ARRAY[g.id]) AND d.state = g.was AND d.attempts < g.free_from \
    RETURNING d.id, d.endpoint, d.event, d.keeps_rows, d.kept_letter, d.created_at) \
    SELECT id, endpoint, event, keeps_rows, kept_letter, created_at, false, NULL::int8, NULL::int8 FROM moved \
    UNION ALL SELECT id, queued_of, NULL, NULL, NULL, NULL, queued_off, queued_due, queued_until FROM gone \
    WHERE (SELECT count(*) FROM gone) > (SELECT count(*) FROM moved) AND id NOT IN (SELECT id FROM moved)";

/// Changes the deliveries that are claimed by this engine in the expected state.
async fn advance<'s>(conn: &Conn, incarnation: i64, round: &[Item<'s>]) -> Result<Vec<Moved<'s>>> {
    let all_rest = round.iter().all(|item| item.settlement.progress.state.kind().is_resting());
    let mut moved = if all_rest { end(conn, incarnation, round).await? } else { update(conn, incarnation, round, false).await? };
    if moved.len() == round.len() {
        return Ok(moved);
    }
    // Some are fenced, or had an attempt of that number, which only an engine that forgot it can cause: the newer story holds.
    let done: BTreeSet<DeliveryId> = moved.iter().map(|moved| moved.settlement.delivery).collect();
    let is_left = |item: &&Item<'_>| number(item.settlement).is_some() && !done.contains(&item.settlement.delivery);
    let left: Vec<Item<'s>> = round.iter().filter(is_left).copied().collect();
    if !left.is_empty() {
        moved.extend(update(conn, incarnation, &left, true).await?);
    }
    Ok(moved)
}

/// The number that the attempt is to have that is stored whole.
fn number(settlement: &Settlement) -> Option<u32> {
    settlement.attempt.as_ref().filter(|_| !attempts::ends_recorded(settlement)).map(|attempt| attempt.number)
}

async fn update<'s>(conn: &Conn, incarnation: i64, items: &[Item<'s>], any_number: bool) -> Result<Vec<Moved<'s>>> {
    let by_hand = ErrorCode::CancelledByHand.as_str();
    let rows = said(conn, (ADVANCE, &[&by_hand]), incarnation, items, any_number).await?;
    rows.iter().map(|row| Moved::read(row, items, any_number, true)).collect()
}

/// Takes them out of the queue and changes them; what is not as it was expected to be is in the queue again.
async fn end<'s>(conn: &Conn, incarnation: i64, items: &[Item<'s>]) -> Result<Vec<Moved<'s>>> {
    let rows = said(conn, (END, &[]), incarnation, items, false).await?;
    let (mut moved, mut back) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in &rows {
        if get::<Option<i64>>(row, 2)?.is_some() {
            moved.push(Moved::read(row, items, false, false)?);
        } else {
            back.push(row);
        }
    }
    if !back.is_empty() {
        put_back(conn, incarnation, &back).await?;
    }
    Ok(moved)
}

/// Rows of the queue as they were.
async fn put_back(conn: &Conn, incarnation: i64, rows: &[&Row]) -> Result<()> {
    let ids: Vec<Uuid> = rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
    let endpoints: Vec<Uuid> = rows.iter().map(|row| get(row, 1)).collect::<Result<_>>()?;
    let off: Vec<bool> = rows.iter().map(|row| get(row, 6)).collect::<Result<_>>()?;
    let due: Vec<Option<i64>> = rows.iter().map(|row| get(row, 7)).collect::<Result<_>>()?;
    let expires: Vec<Option<i64>> = rows.iter().map(|row| get(row, 8)).collect::<Result<_>>()?;
    let sql = "INSERT INTO queue (id, endpoint, claim, cancel_wanted, due_at, expires_at) \
               SELECT u.id, u.endpoint, $6::int8, u.is_off, u.due_at, u.expires_at \
               FROM unnest($1::uuid[], $2::uuid[], $3::bool[], $4::int8[], $5::int8[]) AS u (id, endpoint, is_off, due_at, expires_at)";
    conn.execute(sql, &[&ids, &endpoints, &off, &due, &expires, &incarnation]).await?;
    Ok(())
}

/// What [`ADVANCE`] or [`END`] says of these, with more to say to it behind the arrays and the incarnation.
async fn said(conn: &Conn, (sql, more): (&str, Params<'_>), incarnation: i64, items: &[Item<'_>], any_number: bool) -> Result<Vec<Row>> {
    let all: Vec<&Settlement> = items.iter().map(|item| item.settlement).collect();
    let ids: Vec<Uuid> = all.iter().map(|s| s.delivery.uuid()).collect();
    let was: Vec<i16> = all.iter().map(|s| s.from as i16).collect();
    let states: Vec<i16> = all.iter().map(|s| s.progress.state.kind() as i16).collect();
    let attempts: Vec<i32> = all.iter().map(|s| int(s.progress.attempts)).collect();
    let spent: Vec<i32> = all.iter().map(|s| int(s.progress.spent)).collect();
    let due: Vec<Option<i64>> = all.iter().map(|s| micros(s.progress.state.due_at())).collect();
    let reasons: Vec<Option<&str>> = all.iter().map(|s| reason(&s.progress.state)).collect();
    let expires: Vec<Option<i64>> = all.iter().map(|s| micros(s.progress.expires_at)).collect();
    let began: Vec<Option<i64>> = all.iter().map(|s| s.attempt.as_ref().map(|attempt| attempt.started_at.as_micros())).collect();
    let free_from: Vec<i32> = all.iter().map(|s| number(s).filter(|_| !any_number).map_or(i32::MAX, int)).collect();
    let mut params: Vec<&(dyn ToSql + Sync)> =
        vec![&ids, &was, &states, &attempts, &spent, &due, &reasons, &expires, &began, &free_from, &incarnation];
    params.extend_from_slice(more);
    conn.rows(sql, &params).await
}

// ---- the second round trip -------------------------------------------------------------------------------------------

/// What rests is not in the queue, if it is still.
async fn let_go(conn: &Conn, moved: &[Moved<'_>]) -> Result<()> {
    let ids: Vec<Uuid> = moved.iter().filter(|m| m.is_queued && m.state().is_resting()).map(|m| m.settlement.delivery.uuid()).collect();
    if !ids.is_empty() {
        conn.execute("DELETE FROM queue WHERE id = ANY ($1::uuid[])", &[&ids]).await?;
    }
    Ok(())
}

/// What does not rest waits, or is somebody's.
async fn keep(conn: &Conn, incarnation: i64, moved: &[Moved<'_>]) -> Result<()> {
    let kept: Vec<&Settlement> = moved.iter().filter(|m| !m.state().is_resting()).map(|m| m.settlement).collect();
    if kept.is_empty() {
        return Ok(());
    }
    // What is being sent is in somebody's memory by definition.
    let claim = |s: &&Settlement| if s.keep_claim || s.progress.state == State::Sending { incarnation } else { 0 };
    let ids: Vec<Uuid> = kept.iter().map(|s| s.delivery.uuid()).collect();
    let claims: Vec<i64> = kept.iter().map(claim).collect();
    let due: Vec<Option<i64>> = kept.iter().map(|s| micros(s.progress.state.due_at())).collect();
    let expires: Vec<Option<i64>> = kept.iter().map(|s| micros(s.progress.expires_at)).collect();
    let sql = "UPDATE queue q SET claim = u.claim, due_at = u.due_at, expires_at = u.expires_at \
               FROM unnest($1::uuid[], $2::int8[], $3::int8[], $4::int8[]) AS u (id, claim, due_at, expires_at) \
               WHERE q.id = ANY (ARRAY[u.id])";
    conn.execute(sql, &[&ids, &claims, &due, &expires]).await?;
    Ok(())
}

async fn forget_kept_letters(conn: &Conn, moved: &[Moved<'_>]) -> Result<()> {
    let ids: Vec<Uuid> = moved.iter().filter(|m| m.ends_with_kept_letter()).map(|m| m.settlement.delivery.uuid()).collect();
    if !ids.is_empty() {
        let sql = "UPDATE deliveries d SET kept_letter = false FROM unnest($1::uuid[]) AS u (id) WHERE d.id = ANY (ARRAY[u.id])";
        conn.execute(sql, &[&ids]).await?;
    }
    Ok(())
}

/// Notes those that ended without success.
async fn note_unsuccessful(conn: &Conn, moved: &[Moved<'_>]) -> Result<()> {
    let is_unsuccessful = |m: &&Moved<'_>| matches!(m.state(), StateKind::Failed | StateKind::Expired | StateKind::Cancelled);
    let ended: Vec<&Moved<'_>> = moved.iter().filter(is_unsuccessful).collect();
    if ended.is_empty() {
        return Ok(());
    }
    let ids: Vec<Uuid> = ended.iter().map(|m| m.settlement.delivery.uuid()).collect();
    let namespaces: Vec<&str> = ended.iter().map(|m| m.settlement.namespace.as_str()).collect();
    let subscriptions: Vec<Uuid> = ended.iter().map(|m| m.settlement.subscription.uuid()).collect();
    let endpoints: Vec<Uuid> = ended.iter().map(|m| m.endpoint.uuid()).collect();
    let states: Vec<i16> = ended.iter().map(|m| m.state() as i16).collect();
    let reasons: Vec<Option<&str>> = ended.iter().map(|m| m.reason()).collect();
    let created: Vec<i64> = ended.iter().map(|m| m.created_at).collect();
    let sql = "INSERT INTO unsuccessful (id, namespace, subscription, endpoint, state, reason, created_at) \
               SELECT * FROM unnest($1::uuid[], $2::text[], $3::uuid[], $4::uuid[], $5::int2[], $6::text[], $7::int8[]) \
               ON CONFLICT (id) DO UPDATE SET state = excluded.state, reason = excluded.reason";
    conn.execute(sql, &[&ids, &namespaces, &subscriptions, &endpoints, &states, &reasons, &created]).await?;
    Ok(())
}

/// Opens dead letters, unless their deliveries have open ones; answers those that it opened.
async fn open_dead_letters(conn: &Conn, moved: &[Moved<'_>]) -> Result<BTreeSet<DeadLetterId>> {
    let new: Vec<(&Moved<'_>, &NewDeadLetter)> = moved.iter().filter_map(|m| Some((m, m.settlement.dead_letter.as_ref()?))).collect();
    if new.is_empty() {
        return Ok(BTreeSet::new());
    }
    let ids: Vec<Uuid> = new.iter().map(|(_, new)| new.id.uuid()).collect();
    let deliveries: Vec<Uuid> = new.iter().map(|(m, _)| m.settlement.delivery.uuid()).collect();
    let namespaces: Vec<&str> = new.iter().map(|(m, _)| m.settlement.namespace.as_str()).collect();
    let subscriptions: Vec<Uuid> = new.iter().map(|(m, _)| m.settlement.subscription.uuid()).collect();
    let endpoints: Vec<Uuid> = new.iter().map(|(m, _)| m.endpoint.uuid()).collect();
    let events: Vec<i64> = new.iter().map(|(m, _)| m.event.0).collect();
    let codes: Vec<&str> = new.iter().map(|(_, new)| new.code.as_str()).collect();
    let messages: Vec<Cow<'_, str>> = new.iter().map(|(_, new)| text(&new.message)).collect();
    let attempts: Vec<i32> = new.iter().map(|(m, _)| int(m.settlement.progress.attempts)).collect();
    let failed: Vec<i64> = new.iter().map(|(_, new)| new.at.as_micros()).collect();
    let sql = "INSERT INTO dead_letters (id, delivery, namespace, subscription, endpoint, event, code, message, attempts, failed_at, status) \
               SELECT u.*, 0 FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::uuid[], $5::uuid[], $6::int8[], $7::text[], $8::text[], \
               $9::int4[], $10::int8[]) AS u ON CONFLICT (delivery) WHERE status = 0 DO NOTHING RETURNING id";
    let rows = conn
        .rows(sql, &[&ids, &deliveries, &namespaces, &subscriptions, &endpoints, &events, &codes, &messages, &attempts, &failed])
        .await?;
    rows.iter().map(|row| id(row, 0, DeadLetterId::new)).collect()
}
