//! Outcomes: what became of claimed deliveries.

use super::counters::{Deltas, Of};
use super::history;
use super::publish::Publisher;
use super::replay::retry_open_dead_letter;
use super::rows::{OPEN, id, micros, one, reason};
use super::session::{Memory, Session};
use super::sorting;
use super::tallies::{Kind, Under};
use postrider_core::attempt::{Attempt, Outcome};
use postrider_core::delivery::State;
use postrider_core::event::Namespace;
use postrider_core::id::{DeliveryId, EndpointId};
use postrider_core::ports::{NewDeadLetter, Settled, Settlement};
use rusqlite::ffi::ErrorCode;
use rusqlite::{CachedStatement, Connection, Result, ToSql, params};

/// The most that the two bodies that are kept in their attempt's row may have together, in bytes; larger ones go to a table of their own, with the
/// head of the response, so that lists of attempts stay quick.
const MAX_INLINE_BODIES: usize = 500;

/// How long a row of an attempt may become by the head of the response, in bytes. SQLite keeps 1,002 bytes of a row in a page of 4,096 of such a
/// table, and writes a page of its own for what goes beyond that: then a row in the other table costs less.
const MAX_ROW: usize = 1_000;
const _: () = assert!(super::files::PAGE_SIZE == 4_096);

/// What a row has besides its texts and bodies, in bytes; rather more than less.
const REST_OF_A_ROW: usize = 160;

/// Records what became of claimed deliveries.
pub(super) fn settle(s: &mut Session, settlements: &[Settlement]) -> Result<Vec<Settled>> {
    let mut settler = Settler::new(s)?;
    let settled = settlements.iter().map(|settlement| settler.settle(settlement)).collect::<Result<Vec<_>>>()?;
    drop(settler);
    follow_ups(s, settlements, &settled)?;
    sorting::sort_in_if_many(s)?;
    Ok(settled)
}

/// Stores the events that the outcomes which were stored made.
fn follow_ups(s: &mut Session, settlements: &[Settlement], settled: &[Settled]) -> Result<()> {
    let stored = settlements.iter().zip(settled).filter(|(_, settled)| **settled == Settled::Stored);
    let mut events = stored.filter_map(|(settlement, _)| settlement.follow_up.as_deref()).peekable();
    if events.peek().is_none() {
        return Ok(());
    }
    let mut publisher = Publisher::new(s)?;
    events.try_for_each(|event| publisher.publish(event).map(drop))
}

/// What settling needs, looked up once for many.
struct Settler<'s> {
    conn: &'s Connection,
    /// Of a delivery that rests from now on it changes the row only if no dead letter was kept, and of one that is to wait only if nobody called it
    /// off, so that the many pay nothing for the few.
    advance: CachedStatement<'s>,
    insert_attempt: CachedStatement<'s>,
    note_attempt: CachedStatement<'s>,
    deltas: &'s mut Deltas,
    memory: &'s mut Memory,
    incarnation: i64,
}

impl<'s> Settler<'s> {
    fn new(s: &'s mut Session) -> Result<Self> {
        let Session { conn, deltas, memory, incarnation, .. } = s;
        let advance = conn.prepare_cached(
            "UPDATE deliveries SET state = ?4, attempts = ?5, spent = ?6, due_at = ?7, reason = ?8, expires_at = ?9, claim = ?10, \
             last_attempt_at = coalesce(?11, last_attempt_at) WHERE id = ?1 AND claim = ?2 AND state = ?3 \
             AND (kept_letter = 0 OR ?4 < 3) AND (cancel_wanted = 0 OR ?4 NOT IN (0, 2))",
        )?;
        let insert_attempt = conn.prepare_cached(
            "INSERT INTO attempts (delivery, number, id, namespace, subscription, endpoint, target_url, started_at, finished_at, http_status, \
             error_code, error_message, dns_us, tcp_us, tls_us, first_byte_us, total_us, request_truncated, response_truncated, request, response, \
             response_head) \
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, ?16, ?17, ?18, ?19, ?20, ?21, ?22)",
        )?;
        let note_attempt = history::note_insert(conn)?;
        Ok(Settler { conn, advance, insert_attempt, note_attempt, deltas, memory, incarnation: *incarnation })
    }

    fn settle(&mut self, settlement: &Settlement) -> Result<Settled> {
        let is_stored = self.advance(settlement)? || (self.ends_with_kept_letter(settlement)? && self.advance(settlement)?);
        if is_stored {
            self.stored(settlement)?;
            return Ok(Settled::Stored);
        }
        match settlement.called_off() {
            Some(ended) if self.is_called_off(settlement)? && self.advance(&ended)? => {
                self.stored(&ended)?;
                Ok(Settled::CalledOff)
            }
            _ => Ok(Settled::Fenced),
        }
    }

    /// The delivery was changed: what comes with that.
    fn stored(&mut self, settlement: &Settlement) -> Result<()> {
        self.count(settlement)?;
        if let Some(attempt) = &settlement.attempt {
            self.deltas.health.attempt(self.conn, settlement.delivery, attempt)?;
            self.put_attempt(settlement, attempt)?;
        }
        if let Some(new) = &settlement.dead_letter
            && let Some(under) = open_dead_letter(self.conn, settlement, new)?
        {
            self.deltas.dead_letter(under, 1);
        }
        Ok(())
    }

    fn count(&mut self, settlement: &Settlement) -> Result<()> {
        let (from, to) = (settlement.from, settlement.progress.state.kind());
        let outcome = settlement.attempt.as_ref().and_then(|attempt| attempt.outcome.as_ref());
        if from == to && outcome.is_none() {
            return Ok(());
        }
        let (namespace, endpoint) = (Some(&settlement.namespace), self.endpoint(settlement)?);
        let of = Of { namespace, subscription: settlement.subscription, endpoint };
        match outcome {
            Some(outcome) => self.deltas.attempt(of, from, to, outcome.error.is_none()),
            None => self.deltas.moved(of, from, to),
        }
        Ok(())
    }

    /// Where the delivery goes. Its attempts went there too, so that hardly ever the store has to be asked.
    fn endpoint(&self, settlement: &Settlement) -> Result<EndpointId> {
        if let Some(attempt) = &settlement.attempt {
            return Ok(attempt.endpoint);
        }
        let mut select = self.conn.prepare_cached("SELECT endpoint FROM deliveries WHERE id = ?1")?;
        select.query_row([settlement.delivery.bytes()], |row| id(row, 0, EndpointId::new))
    }

    /// Changes the delivery, if it is claimed by this engine in the expected state.
    fn advance(&mut self, settlement: &Settlement) -> Result<bool> {
        let progress = &settlement.progress;
        let kind = progress.state.kind();
        // What is being sent is in somebody's memory by definition.
        let keeps = !kind.is_resting() && (settlement.keep_claim || progress.state == State::Sending);
        let changed = self.advance.execute(params![
            settlement.delivery.bytes(),
            self.incarnation,
            settlement.from as u8,
            kind as u8,
            progress.attempts,
            progress.spent,
            micros(progress.state.due_at()),
            reason(&progress.state),
            micros(progress.expires_at),
            if keeps { self.incarnation } else { 0 },
            settlement.attempt.as_ref().map(|attempt| attempt.started_at.as_micros()),
        ])?;
        Ok(changed == 1)
    }

    /// Whether the delivery is to rest and may have an open dead letter that a replay kept. It is closed where that end closes it, and the
    /// delivery is like any other from then on.
    fn ends_with_kept_letter(&mut self, settlement: &Settlement) -> Result<bool> {
        let sql = "UPDATE deliveries SET kept_letter = 0 WHERE id = ?1 AND claim = ?2 AND state = ?3 AND kept_letter = 1";
        let delivery = settlement.delivery;
        if !settlement.progress.state.kind().is_resting()
            || self.conn.prepare_cached(sql)?.execute(params![delivery.bytes(), self.incarnation, settlement.from as u8])? == 0
        {
            return Ok(false);
        }
        if settlement.closes_dead_letter() {
            retry_open_dead_letter(self.conn, self.deltas, delivery, settlement.at())?;
        }
        Ok(true)
    }

    /// Whether somebody wants the delivery called off. From then on it is like any other that ends; a dead letter that a replay kept stays open.
    fn is_called_off(&self, settlement: &Settlement) -> Result<bool> {
        let sql =
            "UPDATE deliveries SET cancel_wanted = 0, kept_letter = 0 WHERE id = ?1 AND claim = ?2 AND state = ?3 AND cancel_wanted = 1";
        let params = params![settlement.delivery.bytes(), self.incarnation, settlement.from as u8];
        Ok(self.conn.prepare_cached(sql)?.execute(params)? == 1)
    }

    fn put_attempt(&mut self, settlement: &Settlement, attempt: &Attempt) -> Result<()> {
        let (namespace, delivery) = (&settlement.namespace, settlement.delivery);
        match &attempt.outcome {
            // The row is missing where retention was faster than the attempt: then it is written whole.
            Some(outcome) if settlement.attempt_recorded && finish_attempt(self.conn, (namespace, delivery), attempt, outcome)? => {}
            _ => match self.insert_attempt(namespace, delivery, attempt) {
                Err(error) if error.sqlite_error_code() == Some(ErrorCode::ConstraintViolation) => {
                    self.replace_attempt(namespace, delivery, attempt)?
                }
                result => result?,
            },
        }
        let Some(outcome) = &attempt.outcome else { return Ok(()) };
        if !is_inline(namespace, attempt, outcome) {
            let sql =
                "INSERT OR REPLACE INTO attempt_bodies (delivery, number, request, response, response_head) VALUES (?1, ?2, ?3, ?4, ?5)";
            let mut insert = self.conn.prepare_cached(sql)?;
            let [request, response, head] = bodies(outcome);
            insert.execute(params![delivery.bytes(), attempt.number, request, response, head])?;
        }
        history::note(&mut self.note_attempt, self.memory, (namespace, delivery), attempt, outcome)
    }

    /// Its number is taken, which only an engine that forgot it can cause: the newer story holds, and the delivery goes on.
    fn replace_attempt(&mut self, namespace: &Namespace, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
        // The note of the older one goes, wherever it is.
        self.conn
            .prepare_cached("DELETE FROM attempts_new WHERE delivery = ?1 AND number = ?2")?
            .execute(params![delivery.bytes(), attempt.number])?;
        history::forget(self.conn, &mut self.deltas.tallies, delivery.bytes(), Some(attempt.number))?;
        self.insert_attempt(namespace, delivery, attempt)
    }

    fn insert_attempt(&mut self, namespace: &Namespace, delivery: DeliveryId, attempt: &Attempt) -> Result<()> {
        let outcome = attempt.outcome.as_ref();
        let error = outcome.and_then(|o| o.error.as_ref());
        let phases = outcome.map(|o| o.phases).unwrap_or_default();
        let [request, response, head] = outcome.map(|o| inline_bodies(namespace, attempt, o)).unwrap_or_default();
        self.insert_attempt.execute(params![
            delivery.bytes(),
            attempt.number,
            attempt.id.bytes(),
            namespace.as_str(),
            attempt.subscription.bytes(),
            attempt.endpoint.bytes(),
            attempt.target_url,
            attempt.started_at.as_micros(),
            outcome.map(|o| o.finished_at.as_micros()),
            outcome.and_then(|o| o.http_status),
            error.map(|e| e.code.as_str()),
            error.map(|e| e.message.as_str()),
            phases.dns,
            phases.tcp,
            phases.tls,
            phases.first_byte,
            outcome.map(|_| phases.total),
            outcome.is_some_and(|o| o.request_truncated),
            outcome.is_some_and(|o| o.response_truncated),
            request,
            response,
            head,
        ])?;
        Ok(())
    }
}

/// The request, the response, and the head of the response.
fn bodies(outcome: &Outcome) -> [Option<&[u8]>; 3] {
    let head = outcome.response_headers.as_ref().map(|head| head.as_str().as_bytes());
    [outcome.request_body.as_deref(), Some(&outcome.response_body[..]), head]
}

/// Whether bodies and head are kept in the attempt's row.
fn is_inline(namespace: &Namespace, attempt: &Attempt, outcome: &Outcome) -> bool {
    let [request, response, head] = bodies(outcome).map(|part| part.map_or(0, <[u8]>::len));
    let message = outcome.error.as_ref().map_or(0, |error| error.message.len());
    let row = REST_OF_A_ROW + namespace.as_str().len() + attempt.target_url.len() + message + request + response + head;
    request + response <= MAX_INLINE_BODIES && (request + response + head <= MAX_INLINE_BODIES || row <= MAX_ROW)
}

/// The same as far as they belong into the attempt's row.
fn inline_bodies<'o>(namespace: &Namespace, attempt: &Attempt, outcome: &'o Outcome) -> [Option<&'o [u8]>; 3] {
    if is_inline(namespace, attempt, outcome) { bodies(outcome) } else { [None; 3] }
}

/// Completes an attempt that was recorded as under way; whether it was there.
fn finish_attempt(
    conn: &Connection,
    (namespace, delivery): (&Namespace, DeliveryId),
    attempt: &Attempt,
    outcome: &Outcome,
) -> Result<bool> {
    let mut update = conn.prepare_cached(
        "UPDATE attempts SET finished_at = ?3, http_status = ?4, error_code = ?5, error_message = ?6, dns_us = ?7, tcp_us = ?8, tls_us = ?9, \
         first_byte_us = ?10, total_us = ?11, request_truncated = ?12, response_truncated = ?13, request = ?14, response = ?15, \
         response_head = ?17 WHERE delivery = ?1 AND number = ?2 AND id = ?16",
    )?;
    let [request, response, head] = inline_bodies(namespace, attempt, outcome);
    let changed = update.execute(params![
        delivery.bytes(),
        attempt.number,
        outcome.finished_at.as_micros(),
        outcome.http_status,
        outcome.error.as_ref().map(|e| e.code.as_str()),
        outcome.error.as_ref().map(|e| e.message.as_str()),
        outcome.phases.dns,
        outcome.phases.tcp,
        outcome.phases.tls,
        outcome.phases.first_byte,
        outcome.phases.total,
        outcome.request_truncated,
        outcome.response_truncated,
        request,
        response,
        attempt.id.bytes(),
        head,
    ])?;
    Ok(changed == 1)
}

/// Opens a dead letter, unless the delivery has an open one; what it is counted under, if it did.
fn open_dead_letter(conn: &Connection, settlement: &Settlement, new: &NewDeadLetter) -> Result<Option<Under>> {
    let sql = "INSERT INTO dead_letters (id, delivery, subscription, code, message, attempts, failed_at, status, namespace, endpoint) \
               SELECT ?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, endpoint FROM deliveries WHERE id = ?2 AND NOT EXISTS \
               (SELECT 1 FROM dead_letters INDEXED BY dead_letters_delivery WHERE delivery = ?2 AND status = ?8) \
               RETURNING namespace, subscription, endpoint, code";
    let params: &[&dyn ToSql] = params![
        new.id.bytes(),
        settlement.delivery.bytes(),
        settlement.subscription.bytes(),
        new.code.as_str(),
        new.message,
        settlement.progress.attempts,
        new.at.as_micros(),
        OPEN,
        settlement.namespace.as_str(),
    ];
    one(conn, sql, params, |row| Under::read(row, Kind::DeadLetters))
}
