//! The attempts of outcomes: stored whole, or completed where they were recorded as under way.

use super::super::conn::{Conn, Params};
use super::super::error::Result;
use super::super::room::ROW;
use super::super::rows::{get, id, int, namespace, text};
use super::super::tallies::Of;
use super::super::tx::Tx;
use super::{Moved, number};
use bytes::Bytes;
use postrider_core::attempt::{Attempt, HeadBlock, Outcome};
use postrider_core::id::{AttemptId, EndpointId, SubscriptionId};
use postrider_core::ports::Settlement;
use std::borrow::Cow;
use std::collections::BTreeSet;
use tokio_postgres::types::ToSql;
use uuid::Uuid;

/// Whether it is the end of an attempt that was recorded as under way.
pub(super) fn ends_recorded(settlement: &Settlement) -> bool {
    settlement.attempt_recorded && settlement.attempt.as_ref().is_some_and(|attempt| attempt.outcome.is_some())
}

/// How large the bodies are that are kept with it, and the head of the response.
pub(super) fn bodies(attempt: &Attempt) -> i64 {
    let head = |outcome: &Outcome| outcome.response_headers.as_ref().map_or(0, HeadBlock::len);
    let size = |outcome: &Outcome| outcome.request_body.as_ref().map_or(0, Bytes::len) + outcome.response_body.len() + head(outcome);
    attempt.outcome.as_ref().map_or(0, size) as i64
}

/// What an outcome has, in the order of `outcome_columns!`.
struct Outcomes<'a> {
    finished: Vec<Option<i64>>,
    statuses: Vec<Option<i16>>,
    codes: Vec<Option<&'a str>>,
    messages: Vec<Option<Cow<'a, str>>>,
    dns: Vec<Option<i64>>,
    tcp: Vec<Option<i64>>,
    tls: Vec<Option<i64>>,
    first_byte: Vec<Option<i64>>,
    total: Vec<Option<i64>>,
    request_truncated: Vec<bool>,
    response_truncated: Vec<bool>,
    requests: Vec<Option<&'a [u8]>>,
    responses: Vec<Option<&'a [u8]>>,
    heads: Vec<Option<&'a [u8]>>,
}

macro_rules! outcome_columns {
    () => {
        "finished_at, http_status, error_code, error_message, dns_us, tcp_us, tls_us, first_byte_us, total_us, request_truncated, \
         response_truncated, request, response, response_head"
    };
}

/// The first parameters of a statement.
macro_rules! outcome_arrays {
    () => {
        "$1::int8[], $2::int2[], $3::text[], $4::text[], $5::int8[], $6::int8[], $7::int8[], $8::int8[], $9::int8[], $10::bool[], \
         $11::bool[], $12::bytea[], $13::bytea[], $14::bytea[]"
    };
}

impl<'a> Outcomes<'a> {
    fn of(attempts: &[&'a Attempt]) -> Self {
        let all: Vec<Option<&'a Outcome>> = attempts.iter().map(|attempt| attempt.outcome.as_ref()).collect();
        let error = |o: &Option<&'a Outcome>| o.and_then(|o| o.error.as_ref());
        let phases = |o: &Option<&'a Outcome>| o.map(|o| o.phases).unwrap_or_default();
        Outcomes {
            finished: all.iter().map(|o| o.map(|o| o.finished_at.as_micros())).collect(),
            statuses: all.iter().map(|o| o.and_then(|o| o.http_status).map(u16::cast_signed)).collect(),
            codes: all.iter().map(|o| error(o).map(|error| error.code.as_str())).collect(),
            messages: all.iter().map(|o| error(o).map(|error| text(&error.message))).collect(),
            dns: all.iter().map(|o| phases(o).dns.map(i64::from)).collect(),
            tcp: all.iter().map(|o| phases(o).tcp.map(i64::from)).collect(),
            tls: all.iter().map(|o| phases(o).tls.map(i64::from)).collect(),
            first_byte: all.iter().map(|o| phases(o).first_byte.map(i64::from)).collect(),
            total: all.iter().map(|o| o.map(|o| i64::from(o.phases.total))).collect(),
            request_truncated: all.iter().map(|o| o.is_some_and(|o| o.request_truncated)).collect(),
            response_truncated: all.iter().map(|o| o.is_some_and(|o| o.response_truncated)).collect(),
            requests: all.iter().map(|o| o.and_then(|o| o.request_body.as_deref())).collect(),
            responses: all.iter().map(|o| o.map(|o| &o.response_body[..])).collect(),
            heads: all.iter().map(|o| o.and_then(|o| o.response_headers.as_ref()).map(|head| head.as_str().as_bytes())).collect(),
        }
    }

    /// These, and then others.
    fn params<'p>(&'p self, others: Params<'p>) -> Vec<&'p (dyn ToSql + Sync)> {
        let mut params: Vec<&'p (dyn ToSql + Sync)> = vec![
            &self.finished,
            &self.statuses,
            &self.codes,
            &self.messages,
            &self.dns,
            &self.tcp,
            &self.tls,
            &self.first_byte,
            &self.total,
            &self.request_truncated,
            &self.response_truncated,
            &self.requests,
            &self.responses,
            &self.heads,
        ];
        params.extend_from_slice(others);
        params
    }
}

/// Completes the attempts that were recorded as under way; answers those that were there. A row is missing where retention was faster.
pub(super) async fn finish(conn: &Conn, moved: &[Moved<'_>]) -> Result<BTreeSet<AttemptId>> {
    let ended: Vec<&Moved<'_>> = moved.iter().filter(|m| ends_recorded(m.settlement)).collect();
    let attempts: Vec<&Attempt> = ended.iter().filter_map(|m| m.attempt()).collect();
    if attempts.is_empty() {
        return Ok(BTreeSet::new());
    }
    let sql = concat!(
        "UPDATE attempts a SET finished_at = u.finished_at, http_status = u.http_status, error_code = u.error_code, \
         error_message = u.error_message, dns_us = u.dns_us, tcp_us = u.tcp_us, tls_us = u.tls_us, first_byte_us = u.first_byte_us, \
         total_us = u.total_us, request_truncated = u.request_truncated, response_truncated = u.response_truncated, request = u.request, \
         response = u.response, response_head = u.response_head FROM unnest(",
        outcome_arrays!(),
        ", $15::uuid[], $16::uuid[], $17::int4[]) AS u (",
        outcome_columns!(),
        ", id, delivery, number) WHERE a.id = ANY (ARRAY[u.id]) AND a.delivery = ANY (ARRAY[u.delivery]) \
         AND a.number = ANY (ARRAY[u.number]) RETURNING a.id"
    );
    let outcomes = Outcomes::of(&attempts);
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.id.uuid()).collect();
    let deliveries: Vec<Uuid> = ended.iter().map(|m| m.settlement.delivery.uuid()).collect();
    let numbers: Vec<i32> = attempts.iter().map(|attempt| int(attempt.number)).collect();
    let rows = conn.rows(sql, &outcomes.params(&[&ids, &deliveries, &numbers])).await?;
    rows.iter().map(|row| id(row, 0, AttemptId::new)).collect()
}

/// Stores the attempts that nothing is known of, whole.
pub(super) async fn insert_new(conn: &Conn, moved: &[Moved<'_>]) -> Result<()> {
    let new: Vec<&Moved<'_>> = moved.iter().filter(|m| number(m.settlement).is_some() && !m.number_taken).collect();
    insert(conn, &new).await
}

async fn insert(conn: &Conn, of: &[&Moved<'_>]) -> Result<()> {
    let attempts: Vec<&Attempt> = of.iter().filter_map(|m| m.attempt()).collect();
    if attempts.is_empty() {
        return Ok(());
    }
    let sql = concat!(
        "INSERT INTO attempts (",
        outcome_columns!(),
        ", id, delivery, number, namespace, event, subscription, endpoint, keeps_rows, target_url, started_at) SELECT * FROM unnest(",
        outcome_arrays!(),
        ", $15::uuid[], $16::uuid[], $17::int4[], $18::text[], $19::int8[], $20::uuid[], $21::uuid[], $22::bool[], $23::text[], $24::int8[])"
    );
    let outcomes = Outcomes::of(&attempts);
    let ids: Vec<Uuid> = attempts.iter().map(|attempt| attempt.id.uuid()).collect();
    let deliveries: Vec<Uuid> = of.iter().map(|m| m.settlement.delivery.uuid()).collect();
    let numbers: Vec<i32> = attempts.iter().map(|attempt| int(attempt.number)).collect();
    let namespaces: Vec<&str> = of.iter().map(|m| m.settlement.namespace.as_str()).collect();
    let events: Vec<i64> = of.iter().map(|m| m.event.0).collect();
    let subscriptions: Vec<Uuid> = attempts.iter().map(|attempt| attempt.subscription.uuid()).collect();
    let endpoints: Vec<Uuid> = attempts.iter().map(|attempt| attempt.endpoint.uuid()).collect();
    let keeps_rows: Vec<bool> = of.iter().map(|m| m.keeps_rows).collect();
    let urls: Vec<Cow<'_, str>> = attempts.iter().map(|attempt| text(&attempt.target_url)).collect();
    let started: Vec<i64> = attempts.iter().map(|attempt| attempt.started_at.as_micros()).collect();
    let others: Params<'_> = &[&ids, &deliveries, &numbers, &namespaces, &events, &subscriptions, &endpoints, &keeps_rows, &urls, &started];
    conn.execute(sql, &outcomes.params(others)).await?;
    Ok(())
}

/// Stores the attempts whose number is taken, whole, and those that were to be completed and are not there: the newer story holds.
pub(super) async fn replace(tx: &mut Tx, moved: &[Moved<'_>], finished: &BTreeSet<AttemptId>) -> Result<()> {
    let is_late = |m: &Moved<'_>| m.attempt().is_some_and(|attempt| ends_recorded(m.settlement) && !finished.contains(&attempt.id));
    let late: Vec<&Moved<'_>> = moved.iter().filter(|m| m.number_taken || is_late(m)).collect();
    if late.is_empty() {
        return Ok(());
    }
    let deliveries: Vec<Uuid> = late.iter().map(|m| m.settlement.delivery.uuid()).collect();
    let numbers: Vec<i32> = late.iter().filter_map(|m| m.attempt()).map(|attempt| int(attempt.number)).collect();
    let sql = "DELETE FROM attempts a USING unnest($1::uuid[], $2::int4[]) AS u (delivery, number) \
               WHERE a.delivery = ANY (ARRAY[u.delivery]) AND a.number = ANY (ARRAY[u.number]) \
               RETURNING a.namespace, a.subscription, a.endpoint, coalesce(a.error_code, ''), a.finished_at IS NOT NULL, \
               (coalesce(octet_length(a.request), 0) + coalesce(octet_length(a.response), 0) + coalesce(octet_length(a.response_head), 0))::int8";
    for row in &tx.conn.rows(sql, &[&deliveries, &numbers]).await? {
        let (namespace, subscription, endpoint) = (namespace(row, 0)?, id(row, 1, SubscriptionId::new)?, id(row, 2, EndpointId::new)?);
        if get(row, 4)? {
            tx.tallies.attempts_removed(Of { namespace: &namespace, subscription, endpoint }, get(row, 3)?, 1);
        }
        tx.tallies.bytes(-ROW - get::<i64>(row, 5)?);
    }
    insert(&tx.conn, &late).await
}
