//! People's second thoughts: ended deliveries made again, dead letters dismissed.

use super::aging;
use super::config;
use super::counters::{Deltas, Of};
use super::places;
use super::publish::Inserts;
use super::rows::{DISMISSED, DeliveryRow, Events, OPEN, RETRIED, dead_letter_status, id, micros, one, reason};
use super::session::Session;
use super::tallies::{Kind, Under};
use postrider_core::deadletter::DeadLetterStatus;
use postrider_core::delivery::{Progress, State, StateKind, Step, transition};
use postrider_core::error::ErrorCode;
use postrider_core::id::{DeadLetterId, DeliveryId, EndpointId};
use postrider_core::ports::{Claimed, NewDelivery, Replay, ReplayTarget, Replayed, Requeued, Retried};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, ToSql, params};

/// Makes ended deliveries again.
pub(super) fn replay(s: &mut Session, replays: &[Replay]) -> Result<Vec<Replayed>> {
    let mut events = Events::default();
    let one = |replay: &Replay| match replay.target {
        ReplayTarget::Delivery(id) => again(s, id, replay, &mut events),
        ReplayTarget::DeadLetterAsNew { dead_letter, new } => as_new(s, dead_letter, new, replay, &mut events),
    };
    replays.iter().map(one).collect()
}

fn delivery(conn: &Connection, id: DeliveryId) -> Result<Option<DeliveryRow>> {
    let sql = concat!("SELECT ", delivery_columns!(), " FROM deliveries d WHERE id = ?1 AND", not_erased!("endpoint"));
    one(conn, sql, &[&id.bytes()], DeliveryRow::read)
}

fn again(s: &mut Session, id: DeliveryId, replay: &Replay, events: &mut Events) -> Result<Replayed> {
    let Some(row) = delivery(&s.conn, id)? else { return Ok(Replayed::NotFound) };
    let open = open_dead_letter(&s.conn, id)?;
    if let Some(open) = open.filter(|_| !replay.keep_dead_letter) {
        close(&s.conn, &mut s.deltas, open, Closed::Retried(id), Some(replay.at))?;
    }
    let keeps = replay.keep_dead_letter && open.is_some();
    match requeue(s, row, (replay.claim, keeps), replay.at)? {
        Ok(row) => queued(s, row, replay, events),
        Err(answer) => Ok(answer),
    }
}

/// Makes the delivery of an open dead letter again, if that rests. The dead letter is closed with it, and only with it.
pub(super) fn replay_letter(s: &mut Session, letter: DeadLetterId, at: Timestamp) -> Result<Replayed> {
    let row = match delivery_of_open(&s.conn, letter)? {
        Ok(row) => row,
        Err(answer) => return Ok(answer),
    };
    let id = row.id;
    match requeue(s, row, (false, false), at)? {
        Ok(row) => {
            close(&s.conn, &mut s.deltas, letter, Closed::Retried(id), Some(at))?;
            Ok(Replayed::Queued(waiting(&row, at)))
        }
        Err(answer) => Ok(answer),
    }
}

/// Takes a delivery back to pending, claimed or not; the answer where it does not rest.
fn requeue(
    s: &mut Session,
    mut row: DeliveryRow,
    (claim, keeps_letter): (bool, bool),
    at: Timestamp,
) -> Result<std::result::Result<DeliveryRow, Replayed>> {
    let from = row.progress.state.kind();
    row.progress = match transition(row.progress, Step::Replay { at }) {
        Ok(progress) => progress,
        Err(refused) => return Ok(Err(Replayed::NotResting(refused.from))),
    };
    let Progress { state, attempts, spent, expires_at } = row.progress;
    let mut update = s.conn.prepare_cached(
        "UPDATE deliveries SET state = ?2, attempts = ?3, spent = ?4, due_at = ?5, reason = ?6, expires_at = ?7, claim = ?8, kept_letter = ?9, \
         cancel_wanted = 0 WHERE id = ?1",
    )?;
    update.execute(params![
        row.id.bytes(),
        state.kind() as u8,
        attempts,
        spent,
        micros(state.due_at()),
        reason(&state),
        micros(expires_at),
        claim_of(s, claim),
        keeps_letter,
    ])?;
    drop(update);
    s.deltas.moved(Of::known(row.subscription, row.endpoint), from, state.kind());
    Ok(Ok(row))
}

/// The delivery of an open dead letter; the answer where there is none.
fn delivery_of_open(conn: &Connection, letter: DeadLetterId) -> Result<std::result::Result<DeliveryRow, Replayed>> {
    let sql = "SELECT delivery, status, retried_as FROM dead_letters WHERE id = ?1";
    let found = one(conn, sql, &[&letter.bytes()], |row| Ok((id(row, 0, DeliveryId::new)?, dead_letter_status(row, 1, 2)?)))?;
    Ok(match found {
        None => Err(Replayed::NotFound),
        Some((_, DeadLetterStatus::Retried(delivery))) => Err(Replayed::AlreadyClosed(Some(delivery))),
        Some((_, DeadLetterStatus::Dismissed)) => Err(Replayed::AlreadyClosed(None)),
        Some((ended, DeadLetterStatus::Open)) => delivery(conn, ended)?.ok_or(Replayed::NotFound),
    })
}

fn as_new(s: &mut Session, dead_letter: DeadLetterId, new: DeliveryId, replay: &Replay, events: &mut Events) -> Result<Replayed> {
    let ended = match delivery_of_open(&s.conn, dead_letter)? {
        Ok(row) => row,
        Err(answer) => return Ok(answer),
    };
    // Like a replay of the delivery itself it has a fresh budget of attempts and no time to live.
    let row = DeliveryRow { id: new, progress: Progress::new(replay.at, None), created_at: replay.at, last_attempt_at: None, ..ended };
    let keeps_rows =
        s.conn.prepare_cached("SELECT keeps_rows FROM deliveries WHERE id = ?1")?.query_row([ended.id.bytes()], |row| row.get(0))?;
    let (subscription, endpoint) = (row.subscription, row.endpoint);
    let insert = NewDelivery { id: new, subscription, endpoint, claimed: replay.claim, keeps_rows, expires_at: None };
    Inserts::new(&s.conn, s.incarnation)?.put((row.event, replay.at), &[&insert])?;
    aging::came(&s.conn, &s.memory, &insert)?;
    places::came(&s.conn, &mut s.memory, &insert, replay.at)?;
    s.deltas.deliveries(Of::known(subscription, endpoint), StateKind::Pending, 1);
    close(&s.conn, &mut s.deltas, dead_letter, Closed::Retried(new), Some(replay.at))?;
    queued(s, row, replay, events)
}

fn claim_of(s: &Session, claim: bool) -> i64 {
    if claim { s.incarnation } else { 0 }
}

/// Only what is handed over needs its event.
fn queued(s: &Session, row: DeliveryRow, replay: &Replay, events: &mut Events) -> Result<Replayed> {
    if !replay.claim {
        return Ok(Replayed::Queued(waiting(&row, replay.at)));
    }
    let event = events.get(&s.conn, row.event)?;
    Ok(Replayed::Claimed(Box::new(Claimed { delivery: row.of(&event.namespace), event, open_attempt: None })))
}

fn waiting(row: &DeliveryRow, at: Timestamp) -> Requeued {
    Requeued { delivery: row.id, endpoint: row.endpoint, due_at: row.progress.state.due_at().unwrap_or(at) }
}

/// The open dead letter of a delivery was retried as that delivery.
pub(super) fn retry_open_dead_letter(conn: &Connection, deltas: &mut Deltas, of: DeliveryId, at: Option<Timestamp>) -> Result<()> {
    match open_dead_letter(conn, of)? {
        Some(open) => close(conn, deltas, open, Closed::Retried(of), at).map(drop),
        None => Ok(()),
    }
}

fn open_dead_letter(conn: &Connection, of: DeliveryId) -> Result<Option<DeadLetterId>> {
    let sql = "SELECT id FROM dead_letters INDEXED BY dead_letters_delivery WHERE delivery = ?1 AND status = ?2";
    one(conn, sql, &[&of.bytes(), &OPEN], |row| id(row, 0, DeadLetterId::new))
}

/// How a dead letter is closed.
#[derive(Clone, Copy)]
enum Closed {
    Retried(DeliveryId),
    Dismissed,
}

/// Closes a dead letter, without a time as of when it came; whether it was open.
fn close(conn: &Connection, deltas: &mut Deltas, dead_letter: DeadLetterId, how: Closed, at: Option<Timestamp>) -> Result<bool> {
    let sql = "UPDATE dead_letters SET status = ?2, retried_as = ?3, closed_at = coalesce(?4, failed_at) WHERE id = ?1 AND status = ?5 \
               RETURNING namespace, subscription, endpoint, code";
    let (status, retried_as) = match how {
        Closed::Retried(delivery) => (RETRIED, Some(delivery.bytes())),
        Closed::Dismissed => (DISMISSED, None),
    };
    let params: &[&dyn ToSql] = &[&dead_letter.bytes(), &status, &retried_as, &micros(at), &OPEN];
    let Some(under) = one(conn, sql, params, |row| Under::read(row, Kind::DeadLetters))? else { return Ok(false) };
    deltas.dead_letter(under, -1);
    Ok(true)
}

/// Makes an unclaimed delivery that waits due by then; its endpoint, if that is what it is.
pub(super) fn hasten(conn: &Connection, id: DeliveryId, at: Timestamp) -> Result<Option<EndpointId>> {
    let sql = concat!(
        "UPDATE deliveries SET due_at = min(due_at, ?2), spent = 0, expires_at = NULL \
         WHERE id = ?1 AND claim = 0 AND due_at IS NOT NULL AND",
        not_erased!("endpoint"),
        "RETURNING endpoint"
    );
    one(conn, sql, &[&id.bytes(), &at.as_micros()], |row| super::rows::id(row, 0, EndpointId::new))
}

/// Has a delivery tried again at once.
pub(super) fn retry(s: &mut Session, id: DeliveryId, force: bool, at: Timestamp) -> Result<Retried> {
    let Some(row) = delivery(&s.conn, id)? else { return Ok(Retried::NotFound) };
    let (endpoint, state) = (row.endpoint, row.progress.state);
    let is_wanted = match state {
        State::Sending => return Ok(Retried::Held { delivery: id, endpoint, state: StateKind::Sending }),
        State::Cancelled(code) => code == ErrorCode::CancelledByHand,
        State::Succeeded => force,
        State::Pending { .. } | State::Retrying { .. } | State::Failed(_) | State::Expired => true,
    };
    if !is_wanted || !has_receiver(&s.conn, &row)? {
        return Ok(Retried::Refused(state.kind()));
    }
    if let Some(due_at) = state.due_at() {
        return Ok(match hasten_whoever_has_it(&s.conn, id, at)? {
            Holder::Nobody => Retried::Queued(Requeued { delivery: id, endpoint, due_at: due_at.min(at) }),
            Holder::Engine => Retried::Held { delivery: id, endpoint, state: state.kind() },
        });
    }
    retry_open_dead_letter(&s.conn, &mut s.deltas, id, Some(at))?;
    Ok(match requeue(s, row, (false, false), at)? {
        Ok(row) => Retried::Queued(waiting(&row, at)),
        // It is at rest, and nothing else is refused.
        Err(_) => Retried::NotFound,
    })
}

/// Whether there is still somebody to send it to: as an engine finds its route.
fn has_receiver(conn: &Connection, row: &DeliveryRow) -> Result<bool> {
    let delivers = if row.progress.state.kind().is_resting() { config::is_live } else { config::still_delivers };
    Ok(config::has_endpoint(conn, row.endpoint)? && delivers(conn, row.subscription)?)
}

/// Who has a delivery that waits.
enum Holder {
    Nobody,
    Engine,
}

/// Makes a delivery that waits due by then, and not called off any more. An engine that has it in memory overwrites when it is due with what it
/// settles; should that engine end before, whoever takes over finds what was asked for.
fn hasten_whoever_has_it(conn: &Connection, id: DeliveryId, at: Timestamp) -> Result<Holder> {
    let sql =
        "UPDATE deliveries SET due_at = min(due_at, ?2), spent = 0, expires_at = NULL, cancel_wanted = 0 WHERE id = ?1 RETURNING claim";
    let claim = conn.prepare_cached(sql)?.query_row(params![id.bytes(), at.as_micros()], |row| row.get::<_, i64>(0))?;
    Ok(if claim == 0 { Holder::Nobody } else { Holder::Engine })
}

/// Dismisses open dead letters; which of them were open.
pub(super) fn dismiss(s: &mut Session, ids: &[DeadLetterId], at: Timestamp) -> Result<Vec<bool>> {
    let sql = concat!("SELECT 1 FROM dead_letters WHERE id = ?1 AND", not_erased!("endpoint"));
    let mut dismiss_one = |id: &DeadLetterId| {
        let is_there = one(&s.conn, sql, &[&id.bytes()], |_| Ok(()))?.is_some();
        Ok(is_there && close(&s.conn, &mut s.deltas, *id, Closed::Dismissed, Some(at))?)
    };
    ids.iter().map(&mut dismiss_one).collect()
}
