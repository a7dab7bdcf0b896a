//! Rows to nouns and back: the only place that knows how values are written down.

use super::event_filters::check_of;
use crate::error::bad_value;
use bytes::Bytes;
use postrider_core::attempt::{Attempt, AttemptError, HeadBlock, Outcome, Phases};
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::{Delivery, Progress, State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::event::{Event, Namespace};
use postrider_core::id::*;
use postrider_core::ports::AttemptEnd;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, OptionalExtension, Result, Row, ToSql};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use uuid::Uuid;

/// `status` of an open dead letter.
pub(super) const OPEN: i64 = 0;
/// `status` of a retried dead letter.
pub(super) const RETRIED: i64 = 1;
/// `status` of a dismissed dead letter.
pub(super) const DISMISSED: i64 = 2;

/// Reads a UUID and wraps it as an id.
pub(super) fn id<T>(row: &Row<'_>, column: usize, wrap: fn(Uuid) -> T) -> Result<T> {
    Ok(wrap(Uuid::from_bytes(row.get(column)?)))
}

/// Reads a UUID that may be NULL.
pub(super) fn id_opt<T>(row: &Row<'_>, column: usize, wrap: fn(Uuid) -> T) -> Result<Option<T>> {
    Ok(row.get::<_, Option<[u8; 16]>>(column)?.map(|bytes| wrap(Uuid::from_bytes(bytes))))
}

/// Reads a number of things.
pub(super) fn count(row: &Row<'_>, column: usize) -> Result<u64> {
    u64::try_from(row.get::<_, i64>(column)?).map_err(|e| bad_value(column, e))
}

/// Reads an instant.
pub(super) fn time(row: &Row<'_>, column: usize) -> Result<Timestamp> {
    row.get(column).map(Timestamp::from_micros)
}

/// Reads an instant that may be NULL.
pub(super) fn time_opt(row: &Row<'_>, column: usize) -> Result<Option<Timestamp>> {
    Ok(row.get::<_, Option<i64>>(column)?.map(Timestamp::from_micros))
}

/// An instant that may be NULL, for writing.
pub(super) fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

/// Reads a namespace.
pub(super) fn namespace(row: &Row<'_>, column: usize) -> Result<Namespace> {
    Namespace::new(row.get_ref(column)?.as_str()?).map_err(|e| bad_value(column, e))
}

/// Reads the text of an error code.
pub(super) fn code(text: &str, column: usize) -> Result<ErrorCode> {
    ErrorCode::parse(text).ok_or_else(|| bad_value(column, "an unknown error code"))
}

/// Reads an outcome as indexes and tallies have it: a code, or the empty text for a success.
pub(super) fn code_opt(row: &Row<'_>, column: usize) -> Result<Option<ErrorCode>> {
    match row.get_ref(column)?.as_str()? {
        "" => Ok(None),
        text => code(text, column).map(Some),
    }
}

/// Reads JSON; NULL is the empty value.
pub(super) fn json<T: DeserializeOwned + Default>(row: &Row<'_>, column: usize) -> Result<T> {
    match row.get_ref(column)?.as_str_or_null()? {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(|e| bad_value(column, e)),
    }
}

/// JSON for writing.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(|e| rusqlite::Error::ToSqlConversionFailure(Box::new(e)))
}

/// A map for writing; an empty one is NULL.
pub(super) fn map_json(map: &BTreeMap<String, String>) -> Result<Option<String>> {
    (!map.is_empty()).then(|| to_json(map)).transpose()
}

/// Reads a state's number.
pub(super) fn state_kind(row: &Row<'_>, column: usize) -> Result<StateKind> {
    StateKind::from_number(row.get(column)?).ok_or_else(|| bad_value(column, "an unknown state"))
}

/// Reads an event selected with `event_columns!`.
pub(super) fn event_row(row: &Row<'_>) -> Result<Event> {
    Ok(Event {
        seq: EventSeq(row.get(0)?),
        id: id(row, 1, EventId::new)?,
        namespace: namespace(row, 2)?,
        event_type: row.get_ref(3)?.as_str()?.into(),
        payload: Bytes::copy_from_slice(row.get_ref(4)?.as_blob()?),
        labels: json(row, 5)?,
        metadata: json(row, 6)?,
        idempotency_key: row.get(7)?,
        ttl: row.get::<_, Option<i64>>(8)?.map(|us| Duration::from_micros(us.unsigned_abs())),
        created_at: time(row, 9)?,
        schema_check: check_of(row.get(10)?),
    })
}

/// Events that were read in one transaction, so that deliveries of one event share it.
#[derive(Default)]
pub(super) struct Events(HashMap<EventSeq, Arc<Event>>);

impl Events {
    /// The event with this number. A delivery's event is there as long as the delivery is.
    pub(super) fn get(&mut self, conn: &Connection, seq: EventSeq) -> Result<Arc<Event>> {
        if let Some(event) = self.0.get(&seq) {
            return Ok(Arc::clone(event));
        }
        let mut select = conn.prepare_cached(concat!("SELECT ", event_columns!(), " FROM events WHERE seq = ?1"))?;
        let event = select.query_row([seq.0], event_row).optional()?;
        let event = Arc::new(event.ok_or_else(|| bad_value(0, format!("event {seq} is missing")))?);
        self.0.insert(seq, Arc::clone(&event));
        Ok(event)
    }
}

/// A delivery without what its event knows.
#[derive(Clone, Copy)]
pub(super) struct DeliveryRow {
    pub(super) id: DeliveryId,
    pub(super) event: EventSeq,
    pub(super) subscription: SubscriptionId,
    pub(super) endpoint: EndpointId,
    pub(super) progress: Progress,
    pub(super) created_at: Timestamp,
    pub(super) last_attempt_at: Option<Timestamp>,
}

impl DeliveryRow {
    /// Reads one selected with `delivery_columns!` as the first columns.
    pub(super) fn read(row: &Row<'_>) -> Result<Self> {
        DeliveryRow::read_from(row, 0)
    }

    /// Reads one whose columns begin at `at`.
    pub(super) fn read_from(row: &Row<'_>, at: usize) -> Result<Self> {
        let reason = row.get_ref(at + 11)?.as_str_or_null()?.map(|text| code(text, at + 11)).transpose()?;
        let state = State::from_parts(state_kind(row, at + 4)?, time_opt(row, at + 8)?, reason);
        Ok(DeliveryRow {
            id: id(row, at, DeliveryId::new)?,
            event: EventSeq(row.get(at + 1)?),
            subscription: id(row, at + 2, SubscriptionId::new)?,
            endpoint: id(row, at + 3, EndpointId::new)?,
            progress: Progress {
                state: state.ok_or_else(|| bad_value(at + 4, "a state without what belongs to it"))?,
                attempts: row.get(at + 5)?,
                spent: row.get(at + 6)?,
                expires_at: time_opt(row, at + 10)?,
            },
            created_at: time(row, at + 7)?,
            last_attempt_at: time_opt(row, at + 9)?,
        })
    }

    /// The delivery, with the tenant that its event belongs to.
    pub(super) fn of(self, namespace: &Namespace) -> Delivery {
        Delivery {
            id: self.id,
            event: self.event,
            namespace: namespace.clone(),
            subscription: self.subscription,
            endpoint: self.endpoint,
            progress: self.progress,
            created_at: self.created_at,
            last_attempt_at: self.last_attempt_at,
        }
    }
}

/// The reason to write down: what [`State::from_parts`] wants back.
pub(super) fn reason(state: &State) -> Option<&'static str> {
    match state {
        State::Failed(code) | State::Cancelled(code) => Some(code.as_str()),
        _ => None,
    }
}

/// Reads an attempt selected with `attempt_columns!`.
pub(super) fn attempt_row(row: &Row<'_>) -> Result<Attempt> {
    let outcome = attempt_end(row, 7)?.map(|end| outcome(row, end)).transpose()?;
    Ok(Attempt {
        id: id(row, 0, AttemptId::new)?,
        delivery: id(row, 1, DeliveryId::new)?,
        subscription: id(row, 2, SubscriptionId::new)?,
        endpoint: id(row, 3, EndpointId::new)?,
        number: row.get(4)?,
        target_url: row.get(5)?,
        started_at: time(row, 6)?,
        outcome,
    })
}

/// Reads how an attempt ended from `finished_at` and the columns behind it, as `attempt_columns!` has them up to the bodies.
pub(super) fn attempt_end(row: &Row<'_>, at: usize) -> Result<Option<AttemptEnd>> {
    let Some(finished_at) = time_opt(row, at)? else { return Ok(None) };
    let error = match row.get_ref(at + 2)?.as_str_or_null()? {
        None => None,
        Some(text) => Some(AttemptError { code: code(text, at + 2)?, message: row.get(at + 3)? }),
    };
    let phases = Phases {
        dns: row.get(at + 4)?,
        tcp: row.get(at + 5)?,
        tls: row.get(at + 6)?,
        first_byte: row.get(at + 7)?,
        total: row.get(at + 8)?,
    };
    Ok(Some(AttemptEnd { finished_at, http_status: row.get(at + 1)?, error, phases }))
}

fn outcome(row: &Row<'_>, end: AttemptEnd) -> Result<Outcome> {
    let AttemptEnd { finished_at, http_status, error, phases } = end;
    Ok(Outcome {
        finished_at,
        http_status,
        error,
        phases,
        request_body: row.get_ref(18)?.as_blob_or_null()?.map(Bytes::copy_from_slice),
        request_truncated: row.get(16)?,
        response_body: row.get_ref(19)?.as_blob_or_null()?.map(Bytes::copy_from_slice).unwrap_or_default(),
        response_truncated: row.get(17)?,
        response_headers: row.get_ref(20)?.as_blob_or_null()?.map(head),
    })
}

/// The head of a response: it was a text when it was stored.
fn head(bytes: &[u8]) -> HeadBlock {
    HeadBlock::from_lines(String::from_utf8_lossy(bytes).into_owned())
}

/// Reads a dead letter selected with `dead_letter_columns!`.
pub(super) fn dead_letter_row(row: &Row<'_>) -> Result<DeadLetter> {
    Ok(DeadLetter {
        id: id(row, 0, DeadLetterId::new)?,
        delivery: id(row, 1, DeliveryId::new)?,
        code: code(row.get_ref(2)?.as_str()?, 2)?,
        message: row.get(3)?,
        attempts: row.get(4)?,
        failed_at: time(row, 5)?,
        status: dead_letter_status(row, 6, 7)?,
    })
}

/// Reads a dead letter's status from its number and from what it was retried as.
pub(super) fn dead_letter_status(row: &Row<'_>, status: usize, retried_as: usize) -> Result<DeadLetterStatus> {
    match (row.get::<_, i64>(status)?, id_opt(row, retried_as, DeliveryId::new)?) {
        (OPEN, _) => Ok(DeadLetterStatus::Open),
        (RETRIED, Some(delivery)) => Ok(DeadLetterStatus::Retried(delivery)),
        (DISMISSED, _) => Ok(DeadLetterStatus::Dismissed),
        _ => Err(bad_value(status, "an unknown status of a dead letter")),
    }
}

/// Reads an occurrence selected with `scheduled_columns!`.
pub(super) fn scheduled_row(row: &Row<'_>) -> Result<Scheduled> {
    let status = match (row.get::<_, i64>(7)?, id_opt(row, 8, DeliveryId::new)?) {
        (0, _) => ScheduledStatus::Pending,
        (1, Some(delivery)) => ScheduledStatus::Completed(delivery),
        (2, _) => ScheduledStatus::Failed,
        _ => return Err(bad_value(7, "an unknown status of an occurrence")),
    };
    Ok(Scheduled {
        id: id(row, 0, ScheduledId::new)?,
        namespace: namespace(row, 1)?,
        subscription: id(row, 2, SubscriptionId::new)?,
        payload: Bytes::copy_from_slice(row.get_ref(3)?.as_blob()?),
        due_at: time(row, 4)?,
        recurrence: Recurrence::parse(row.get_ref(5)?.as_str()?).ok_or_else(|| bad_value(5, "an unknown recurrence"))?,
        anchor: time(row, 6)?,
        status,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
    })
}

/// An occurrence's status as it is written: its number and the delivery that it names.
pub(super) fn scheduled_status(status: &ScheduledStatus) -> (i64, Option<[u8; 16]>) {
    match status {
        ScheduledStatus::Pending => (0, None),
        ScheduledStatus::Completed(delivery) => (1, Some(delivery.bytes())),
        ScheduledStatus::Failed => (2, None),
    }
}

/// Reads all rows of a cached statement.
pub(super) fn all<T>(conn: &Connection, sql: &str, params: &[&dyn ToSql], read: impl FnMut(&Row<'_>) -> Result<T>) -> Result<Vec<T>> {
    conn.prepare_cached(sql)?.query_map(params, read)?.collect()
}

/// Reads rows of a cached statement until their sizes sum up to `max_bytes`; at least one, if there is any.
pub(super) fn some<T>(
    conn: &Connection,
    sql: &str,
    params: &[&dyn ToSql],
    max_bytes: u64,
    mut read: impl FnMut(&Row<'_>) -> Result<(T, usize)>,
) -> Result<Vec<T>> {
    let mut select = conn.prepare_cached(sql)?;
    let mut rows = select.query(params)?;
    let (mut found, mut bytes) = (Vec::new(), 0u64);
    while let Some(row) = rows.next()? {
        let (item, size) = read(row)?;
        found.push(item);
        bytes += size as u64;
        if bytes >= max_bytes {
            break;
        }
    }
    Ok(found)
}

/// Reads the row of a cached statement, if there is one.
pub(super) fn one<T>(conn: &Connection, sql: &str, params: &[&dyn ToSql], read: impl FnOnce(&Row<'_>) -> Result<T>) -> Result<Option<T>> {
    conn.prepare_cached(sql)?.query_row(params, read).optional()
}
