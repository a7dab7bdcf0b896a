//! Rows to nouns and back: the only place that knows how values are written down.

use super::error::{Result, bad_value};
use bytes::Bytes;
use postrider_core::attempt::{Attempt, AttemptError, HeadBlock, Outcome, Phases};
use postrider_core::deadletter::{DeadLetter, DeadLetterStatus};
use postrider_core::delivery::{Delivery, Progress, State, StateKind};
use postrider_core::error::ErrorCode;
use postrider_core::event::{Event, Namespace, SchemaCheck, Skipped};
use postrider_core::id::*;
use postrider_core::ports::AttemptEnd;
use postrider_core::recurrence::Recurrence;
use postrider_core::schedule::{Scheduled, ScheduledStatus};
use postrider_core::time::Timestamp;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Row;
use tokio_postgres::types::FromSql;
use uuid::Uuid;

/// `status` of an open dead letter.
pub(super) const OPEN: i16 = 0;
/// `status` of a retried dead letter.
pub(super) const RETRIED: i16 = 1;
/// `status` of a dismissed dead letter.
pub(super) const DISMISSED: i16 = 2;

/// Reads a column.
pub(super) fn get<'r, T: FromSql<'r>>(row: &'r Row, column: usize) -> Result<T> {
    Ok(row.try_get(column)?)
}

/// Reads a UUID and wraps it as an id.
pub(super) fn id<T>(row: &Row, column: usize, wrap: fn(Uuid) -> T) -> Result<T> {
    Ok(wrap(get(row, column)?))
}

/// Reads a UUID that may be NULL.
pub(super) fn id_opt<T>(row: &Row, column: usize, wrap: fn(Uuid) -> T) -> Result<Option<T>> {
    Ok(get::<Option<Uuid>>(row, column)?.map(wrap))
}

/// Reads a number of things. A kept number that came out below nothing is none: what is asked for besides can be read all the same.
pub(super) fn count(row: &Row, column: usize) -> Result<u64> {
    Ok(u64::try_from(get::<i64>(row, column)?).unwrap_or(0))
}

/// Reads an `integer` that is not negative.
pub(super) fn small(row: &Row, column: usize) -> Result<u32> {
    u32::try_from(get::<i32>(row, column)?).map_err(bad_value)
}

/// A number for an `integer`.
pub(super) fn int(n: u32) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}

/// Reads an instant.
pub(super) fn time(row: &Row, column: usize) -> Result<Timestamp> {
    get(row, column).map(Timestamp::from_micros)
}

/// Reads an instant that may be NULL.
pub(super) fn time_opt(row: &Row, column: usize) -> Result<Option<Timestamp>> {
    Ok(get::<Option<i64>>(row, column)?.map(Timestamp::from_micros))
}

/// An instant that may be NULL, for writing.
pub(super) fn micros(at: Option<Timestamp>) -> Option<i64> {
    at.map(Timestamp::as_micros)
}

/// Begins what stands for a character that cannot be stored: one that is of nobody's alphabet.
const ESCAPE: char = '\u{f0000}';

/// A text for writing. PostgreSQL stores no NUL characters: they are written as another one and a digit, and so is that one.
pub(super) fn text(text: &str) -> Cow<'_, str> {
    if !text.contains(['\0', ESCAPE]) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace(ESCAPE, "\u{f0000}1").replace('\0', "\u{f0000}0"))
}

/// Reads what [`text`] wrote.
pub(super) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(ESCAPE) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.replace("\u{f0000}0", "\0").replace("\u{f0000}1", "\u{f0000}"))
}

/// Reads a column that [`text`] wrote.
pub(super) fn string(row: &Row, column: usize) -> Result<String> {
    Ok(plain(get(row, column)?).into_owned())
}

/// Reads a namespace.
pub(super) fn namespace(row: &Row, column: usize) -> Result<Namespace> {
    Namespace::new(get::<&str>(row, column)?).map_err(bad_value)
}

/// Reads the text of an error code.
pub(super) fn code(text: &str) -> Result<ErrorCode> {
    ErrorCode::parse(text).ok_or_else(|| bad_value(format_args!("the error code {text:?}")))
}

/// Reads JSON; NULL is the empty value.
pub(super) fn json<T: DeserializeOwned + Default>(row: &Row, column: usize) -> Result<T> {
    match get::<Option<&str>>(row, column)? {
        None => Ok(T::default()),
        Some(text) => serde_json::from_str(text).map_err(bad_value),
    }
}

/// JSON for writing.
pub(super) fn to_json<T: Serialize + ?Sized>(value: &T) -> Result<String> {
    serde_json::to_string(value).map_err(bad_value)
}

/// A map for writing; an empty one is NULL.
pub(super) fn map_json(map: &BTreeMap<String, String>) -> Result<Option<String>> {
    (!map.is_empty()).then(|| to_json(map)).transpose()
}

/// Who was skipped, for writing; nobody is NULL.
pub(super) fn skipped_json(skipped: &[Skipped]) -> Result<Option<String>> {
    (!skipped.is_empty()).then(|| to_json(skipped)).transpose()
}

/// Reads who was skipped.
pub(super) fn read_skipped(row: &Row, column: usize) -> Result<Vec<Skipped>> {
    json(row, column)
}

/// Reads a state's number.
pub(super) fn state_kind(row: &Row, column: usize) -> Result<StateKind> {
    let number = get::<i16>(row, column)?;
    u8::try_from(number).ok().and_then(StateKind::from_number).ok_or_else(|| bad_value(format_args!("the state {number}")))
}

/// Reads a check: NULL is none.
pub(super) fn schema_check(valid: Option<bool>) -> SchemaCheck {
    match valid {
        None => SchemaCheck::Unchecked,
        Some(true) => SchemaCheck::Passed,
        Some(false) => SchemaCheck::Failed,
    }
}

/// Reads an event selected with `event_columns!` as the first columns.
pub(super) fn event_row(row: &Row) -> Result<Event> {
    event_row_from(row, 0)
}

/// Reads one whose columns begin at `at`.
pub(super) fn event_row_from(row: &Row, at: usize) -> Result<Event> {
    Ok(Event {
        seq: EventSeq(get(row, at)?),
        id: id(row, at + 1, EventId::new)?,
        namespace: namespace(row, at + 2)?,
        event_type: plain(get(row, at + 3)?).into(),
        payload: Bytes::copy_from_slice(get(row, at + 4)?),
        labels: json(row, at + 5)?,
        metadata: json(row, at + 6)?,
        idempotency_key: get::<Option<&str>>(row, at + 7)?.map(|key| plain(key).into_owned()),
        ttl: get::<Option<i64>>(row, at + 8)?.map(|us| Duration::from_micros(us.unsigned_abs())),
        created_at: time(row, at + 9)?,
        schema_check: schema_check(get(row, at + 10)?),
    })
}

/// Events that were read together, so that deliveries of one event share it.
#[derive(Default)]
pub(super) struct Events(BTreeMap<EventSeq, Arc<Event>>);

impl Events {
    /// The event whose columns begin at `at`, read once for each number.
    pub(super) fn read(&mut self, row: &Row, at: usize) -> Result<Arc<Event>> {
        let seq = EventSeq(get(row, at)?);
        if let Some(event) = self.0.get(&seq) {
            return Ok(Arc::clone(event));
        }
        let event = Arc::new(event_row_from(row, at)?);
        self.0.insert(seq, Arc::clone(&event));
        Ok(event)
    }
}

/// Reads a delivery selected with `delivery_columns!` as the first columns.
pub(super) fn delivery_row(row: &Row) -> Result<Delivery> {
    delivery_row_from(row, 0)
}

/// Reads one whose columns begin at `at`.
pub(super) fn delivery_row_from(row: &Row, at: usize) -> Result<Delivery> {
    let reason = get::<Option<&str>>(row, at + 11)?.map(code).transpose()?;
    let state = State::from_parts(state_kind(row, at + 4)?, time_opt(row, at + 8)?, reason);
    Ok(Delivery {
        id: id(row, at, DeliveryId::new)?,
        event: EventSeq(get(row, at + 1)?),
        namespace: namespace(row, at + 12)?,
        subscription: id(row, at + 2, SubscriptionId::new)?,
        endpoint: id(row, at + 3, EndpointId::new)?,
        progress: Progress {
            state: state.ok_or_else(|| bad_value("a state without what belongs to it"))?,
            attempts: small(row, at + 5)?,
            spent: small(row, at + 6)?,
            expires_at: time_opt(row, at + 10)?,
        },
        created_at: time(row, at + 7)?,
        last_attempt_at: time_opt(row, at + 9)?,
    })
}

/// The reason to write down: what [`State::from_parts`] wants back.
pub(super) fn reason(state: &State) -> Option<&'static str> {
    match state {
        State::Failed(code) | State::Cancelled(code) => Some(code.as_str()),
        _ => None,
    }
}

/// Reads an attempt selected with `attempt_columns!` as the first columns.
pub(super) fn attempt_row(row: &Row) -> Result<Attempt> {
    attempt_row_from(row, 0)
}

/// Reads one whose columns begin at `at`.
pub(super) fn attempt_row_from(row: &Row, at: usize) -> Result<Attempt> {
    let outcome = attempt_end(row, at + 7)?.map(|end| outcome(row, at, end)).transpose()?;
    Ok(Attempt {
        id: id(row, at, AttemptId::new)?,
        delivery: id(row, at + 1, DeliveryId::new)?,
        subscription: id(row, at + 2, SubscriptionId::new)?,
        endpoint: id(row, at + 3, EndpointId::new)?,
        number: small(row, at + 4)?,
        target_url: plain(get(row, at + 5)?).into(),
        started_at: time(row, at + 6)?,
        outcome,
    })
}

/// Reads how an attempt ended from `finished_at` and the columns behind it, as `attempt_columns!` has them up to the bodies.
pub(super) fn attempt_end(row: &Row, at: usize) -> Result<Option<AttemptEnd>> {
    let Some(finished_at) = time_opt(row, at)? else { return Ok(None) };
    let error = match get::<Option<&str>>(row, at + 2)? {
        None => None,
        Some(text) => Some(AttemptError { code: code(text)?, message: string(row, at + 3)? }),
    };
    let phases = Phases {
        dns: phase(row, at + 4)?,
        tcp: phase(row, at + 5)?,
        tls: phase(row, at + 6)?,
        first_byte: phase(row, at + 7)?,
        total: phase(row, at + 8)?.unwrap_or_default(),
    };
    let http_status = get::<Option<i16>>(row, at + 1)?.map(i16::cast_unsigned);
    Ok(Some(AttemptEnd { finished_at, http_status, error, phases }))
}

fn phase(row: &Row, column: usize) -> Result<Option<u32>> {
    get::<Option<i64>>(row, column)?.map(u32::try_from).transpose().map_err(bad_value)
}

fn outcome(row: &Row, at: usize, end: AttemptEnd) -> Result<Outcome> {
    let AttemptEnd { finished_at, http_status, error, phases } = end;
    Ok(Outcome {
        finished_at,
        http_status,
        error,
        phases,
        request_body: get::<Option<&[u8]>>(row, at + 18)?.map(Bytes::copy_from_slice),
        request_truncated: get(row, at + 16)?,
        response_body: get::<Option<&[u8]>>(row, at + 19)?.map(Bytes::copy_from_slice).unwrap_or_default(),
        response_truncated: get(row, at + 17)?,
        response_headers: get::<Option<&[u8]>>(row, at + 20)?.map(head),
    })
}

/// The head of a response: it was a text when it was stored.
fn head(bytes: &[u8]) -> HeadBlock {
    HeadBlock::from_lines(String::from_utf8_lossy(bytes).into_owned())
}

/// Reads a dead letter whose columns (`dead_letter_columns!`) begin at `at`.
pub(super) fn dead_letter_row(row: &Row, at: usize) -> Result<DeadLetter> {
    Ok(DeadLetter {
        id: id(row, at, DeadLetterId::new)?,
        delivery: id(row, at + 1, DeliveryId::new)?,
        code: code(get(row, at + 2)?)?,
        message: string(row, at + 3)?,
        attempts: small(row, at + 4)?,
        failed_at: time(row, at + 5)?,
        status: dead_letter_status(row, at + 6, at + 7)?,
    })
}

/// Reads a dead letter's status from its number and from what it was retried as.
pub(super) fn dead_letter_status(row: &Row, status: usize, retried_as: usize) -> Result<DeadLetterStatus> {
    match (get::<i16>(row, status)?, id_opt(row, retried_as, DeliveryId::new)?) {
        (OPEN, _) => Ok(DeadLetterStatus::Open),
        (RETRIED, Some(delivery)) => Ok(DeadLetterStatus::Retried(delivery)),
        (DISMISSED, _) => Ok(DeadLetterStatus::Dismissed),
        _ => Err(bad_value("an unknown status of a dead letter")),
    }
}

/// Reads an occurrence selected with `scheduled_columns!`.
pub(super) fn scheduled_row(row: &Row) -> Result<Scheduled> {
    let status = match (get::<i16>(row, 7)?, id_opt(row, 8, DeliveryId::new)?) {
        (0, _) => ScheduledStatus::Pending,
        (1, Some(delivery)) => ScheduledStatus::Completed(delivery),
        (2, _) => ScheduledStatus::Failed,
        _ => return Err(bad_value("an unknown status of an occurrence")),
    };
    Ok(Scheduled {
        id: id(row, 0, ScheduledId::new)?,
        namespace: namespace(row, 1)?,
        subscription: id(row, 2, SubscriptionId::new)?,
        payload: Bytes::copy_from_slice(get(row, 3)?),
        due_at: time(row, 4)?,
        recurrence: Recurrence::parse(get(row, 5)?).ok_or_else(|| bad_value("an unknown recurrence"))?,
        anchor: time(row, 6)?,
        status,
        created_at: time(row, 9)?,
        updated_at: time(row, 10)?,
    })
}

/// An occurrence's status as it is written: its number and the delivery that it names.
pub(super) fn scheduled_status(status: &ScheduledStatus) -> (i16, Option<Uuid>) {
    match status {
        ScheduledStatus::Pending => (0, None),
        ScheduledStatus::Completed(delivery) => (1, Some(delivery.uuid())),
        ScheduledStatus::Failed => (2, None),
    }
}

/// Takes rows in their order until their sizes sum up to `max_bytes`; at least one, if there is any.
pub(super) fn take_bytes<T>(items: impl IntoIterator<Item = T>, max_bytes: u64, size: impl Fn(&T) -> usize) -> Vec<T> {
    let (mut taken, mut bytes) = (Vec::new(), 0u64);
    for item in items {
        bytes += size(&item) as u64;
        taken.push(item);
        if bytes >= max_bytes {
            break;
        }
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_text_comes_back() {
        for (given, stored) in
            [("", ""), ("plain \u{e000}", "plain \u{e000}"), ("a\0b", "a\u{f0000}0b"), ("\u{f0000}0\0", "\u{f0000}10\u{f0000}0")]
        {
            assert_eq!(text(given), stored);
            assert_eq!(plain(stored), given);
        }
    }
}
