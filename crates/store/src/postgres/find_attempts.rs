//! Reads of attempts: lists with filters and totals, and single ones.
//!
//! Attempts under way are few, and all are looked at. Failures have indexes of their own, by their codes. Where only successes are wanted, what
//! comes between is passed over.

use super::columns::{ATTEMPT_COLUMNS, DELIVERY_COLUMNS, EVENT_COLUMNS};
use super::conn::{Conn, Params};
use super::error::Result;
use super::parts::{Cut, Number, Parts, Scope, Statement, Walk, Walks, attempts_floor, in_order, nil, numbers, walk};
use super::rows::{attempt_end, attempt_row, delivery_row_from, event_row_from, get, id, namespace, plain, small, time};
use super::tallies::ATTEMPTS;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::{AttemptId, DeliveryId, EndpointId, EventSeq, SubscriptionId};
use postrider_core::ports::{AttemptDetail, AttemptFilter, AttemptRow, Found, LastOf, OutcomeFilter, Page, Window};
use postrider_core::time::Timestamp;
use std::collections::HashMap;
use std::sync::Arc;
use tokio_postgres::Row;
use uuid::Uuid;

/// Columns of `attempts a` for [`listed`].
macro_rules! listed_columns {
    () => {
        "a.id, a.namespace, a.event, a.delivery, a.subscription, a.endpoint, a.number, a.target_url, a.started_at, a.finished_at, \
         a.http_status, a.error_code, a.error_message, a.dns_us, a.tcp_us, a.tls_us, a.first_byte_us, a.total_us"
    };
}

fn listed(row: &Row) -> Result<AttemptRow> {
    Ok(AttemptRow {
        id: id(row, 0, AttemptId::new)?,
        namespace: namespace(row, 1)?,
        event: EventSeq(get(row, 2)?),
        delivery: id(row, 3, DeliveryId::new)?,
        subscription: id(row, 4, SubscriptionId::new)?,
        endpoint: id(row, 5, EndpointId::new)?,
        number: small(row, 6)?,
        target_url: plain(get(row, 7)?).into(),
        started_at: time(row, 8)?,
        end: attempt_end(row, 9)?,
    })
}

const ROWS: &str = concat!(
    "SELECT ",
    listed_columns!(),
    " FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) CROSS JOIN LATERAL (SELECT ",
    listed_columns!(),
    " FROM attempts a WHERE a.id = u.id LIMIT 1) a ORDER BY u.at"
);

/// Attempts that are there, in the order of these.
async fn rows(conn: &Conn, ids: &[Uuid]) -> Result<Vec<AttemptRow>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    conn.rows(ROWS, &[&ids]).await?.iter().map(listed).collect()
}

// ---- lists -------------------------------------------------------------------------------------------------------

/// Attempts, newest first, and how many there are.
pub(super) async fn find(conn: &Conn, filter: &AttemptFilter, window: Window<AttemptId>) -> Result<Found<AttemptRow, AttemptId>> {
    let ((), query) = tokio::try_join!(in_order(conn), Query::new(conn, filter))?;
    let total = query.total(conn).await?;
    if total == 0 || window.limit == 0 {
        return Ok(Found { page: Page { items: Vec::new(), next: None }, total });
    }
    let cut = Cut::page(filter.ids(), window.after.map(AttemptId::uuid), (window.skip, window.limit), total);
    let (ids, next) = cut.cut(query.statement(query.source, &cut).ids(conn).await?);
    let items = rows(conn, &ids).await?;
    Ok(Found { page: Page { items, next: next.map(AttemptId::new) }, total })
}

/// What a list is read out of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    /// The deliveries of an event.
    Event,
    /// What has not ended.
    UnderWay,
    /// The indexes of failures.
    Failed,
    /// Everything in the scope.
    Everything,
}

/// Deliveries by their state, and attempts that ended: whatever has an attempt is counted under one of these.
const KINDS: [i16; 8] = [0, 1, 2, 3, 4, 5, 6, ATTEMPTS];

const EVERYTHING: Walks = Walks {
    of_all: walk!("attempts"),
    of_namespace: walk!("attempts", "namespace"),
    of_pairs: walk!("attempts", "subscription", "endpoint"),
};

/// The code is compared together with the id: with an equality the planner could take an index without it.
macro_rules! failed {
    ($part:literal, $order:literal) => {
        Walk {
            within: concat!(
                "attempts t WHERE ",
                $part,
                " AND (t.error_code, t.id) >= (p.error_code, ?) AND (t.error_code, t.id) < (p.error_code, ?) AND t.id >= ? AND t.id < ?"
            ),
            order: concat!(" ORDER BY ", $order, " DESC, t.error_code DESC, t.id DESC"),
            counted: concat!(" ORDER BY ", $order, " DESC, t.error_code DESC, t.id DESC OFFSET 0"),
        }
    };
}
const FAILED: Walks = Walks {
    of_all: walk!("attempts", "error_code"),
    of_namespace: failed!("t.namespace = ANY (ARRAY[p.namespace])", "t.namespace"),
    of_pairs: failed!("t.subscription = ANY (ARRAY[p.subscription]) AND t.endpoint = p.endpoint", "t.subscription"),
};

/// Looked at by themselves, so that no index over all attempts is taken for them.
const UNDER_WAY: &str = concat!(
    "WITH open AS MATERIALIZED (SELECT t.id, t.namespace, t.subscription, t.endpoint, t.started_at FROM attempts t \
     WHERE t.finished_at IS NULL AND t.id >= ? AND t.id < ? AND",
    not_erased!("t.endpoint"),
    ") "
);
const OF_EVENT: &str = concat!(
    " FROM deliveries d CROSS JOIN LATERAL (SELECT t.id FROM attempts t WHERE t.delivery = d.id AND t.id >= ",
    attempts_floor!("d"),
    " AND t.id >= ? AND t.id < ?"
);
const OF_OUTCOME: &str =
    " AND CASE WHEN t.finished_at IS NULL THEN ?::bool ELSE coalesce(t.error_code, '') = ANY (?::text[]) END OFFSET 0) t";
const IN_TIME: &str = " AND t.started_at >= ? AND t.started_at < ?";

/// A list that is asked for.
struct Query<'a> {
    filter: &'a AttemptFilter,
    scope: Scope<'a>,
    source: Source,
    event: Option<i64>,
    began_from: i64,
    began_before: i64,
    /// Whether those under way are wanted.
    under_way: bool,
    /// Codes of those that are wanted of what ended; the empty one is success.
    codes: Vec<&'static str>,
    /// Where something is wanted of.
    numbers: Vec<Number>,
    parts: Parts,
}

impl<'a> Query<'a> {
    async fn new(conn: &Conn, filter: &'a AttemptFilter) -> Result<Self> {
        let scope = Scope::new(filter.namespace.as_ref(), filter.subscription, filter.endpoint);
        let source = match filter.outcome {
            _ if filter.event.is_some() => Source::Event,
            OutcomeFilter::UnderWay => Source::UnderWay,
            OutcomeFilter::Failed | OutcomeFilter::Code(_) => Source::Failed,
            OutcomeFilter::Any | OutcomeFilter::Succeeded => Source::Everything,
        };
        let outcomes = ErrorCode::ALL.iter().copied().map(Some).chain([None]).filter(|error| filter.outcome.wants_ended(*error));
        let codes: Vec<&'static str> = outcomes.map(|error| error.map_or("", ErrorCode::as_str)).collect();
        let under_way = filter.outcome.wants_under_way();
        let has_parts = matches!(source, Source::Failed | Source::Everything);
        let mut numbers = if has_parts { numbers(conn, &scope, &KINDS).await? } else { Vec::new() };
        numbers.retain(|number| under_way || (number.kind == ATTEMPTS && codes.contains(&number.code.as_str())));
        let keys = numbers.iter().map(|number| {
            let code = if source == Source::Failed { number.code.as_str() } else { "" };
            (number.subscription, number.endpoint, code)
        });
        let parts = Parts::of(&scope, keys);
        Ok(Query {
            filter,
            scope,
            source,
            event: filter.event.map(|event| event.0),
            began_from: filter.began_from.map_or(i64::MIN, Timestamp::as_micros),
            began_before: filter.began_before.map_or(i64::MAX, Timestamp::as_micros),
            under_way,
            codes,
            numbers,
            parts,
        })
    }

    /// How many the list has.
    async fn total(&self, conn: &Conn) -> Result<u64> {
        let all = Cut::number(self.filter.ids());
        let is_kept = matches!(self.source, Source::Failed | Source::Everything) && !self.filter.is_timed();
        if !is_kept {
            return self.statement(self.source, &all).number(conn).await;
        }
        let ended: u64 = self.numbers.iter().filter(|number| number.kind == ATTEMPTS).map(|number| number.n).sum();
        let under_way = if self.under_way { self.statement(Source::UnderWay, &all).number(conn).await? } else { 0 };
        Ok(ended + under_way)
    }

    fn statement<'q>(&'q self, source: Source, cut: &'q Cut) -> Statement<'q> {
        let mut sql = Statement::new(cut);
        match source {
            Source::Event => {
                sql.either("SELECT t.id", "SELECT count(*) AS n").within(OF_EVENT);
                sql.add(IN_TIME, &[&self.began_from, &self.began_before]).add(OF_OUTCOME, &[&self.under_way, &self.codes]);
                sql.add(concat!(" WHERE d.event = ? AND", not_erased!("d.endpoint")), &[&self.event]);
                sql.add("AND (?::text IS NULL OR d.namespace = ?)", &[&self.scope.namespace]);
                sql.add(" AND (?::uuid IS NULL OR d.subscription = ?)", &[&self.scope.subscription]);
                sql.add(" AND (?::uuid IS NULL OR d.endpoint = ?)", &[&self.scope.endpoint]);
            }
            Source::UnderWay => {
                sql.within(UNDER_WAY).either("SELECT t.id FROM open t", "SELECT count(*) AS n FROM open t");
                sql.add(" WHERE (?::text IS NULL OR t.namespace = ?)", &[&self.scope.namespace]);
                sql.add(" AND (?::uuid IS NULL OR t.subscription = ?)", &[&self.scope.subscription]);
                sql.add(" AND (?::uuid IS NULL OR t.endpoint = ?)", &[&self.scope.endpoint]);
                sql.add(IN_TIME, &[&self.began_from, &self.began_before]);
            }
            Source::Failed => {
                sql.walk(FAILED.of(&self.scope), &self.parts, |sql| {
                    sql.add(" AND t.error_code IS NOT NULL", &[]);
                    self.narrow(sql);
                });
            }
            Source::Everything => {
                sql.walk(EVERYTHING.of(&self.scope), &self.parts, |sql| {
                    if self.filter.outcome == OutcomeFilter::Succeeded {
                        sql.add(" AND t.finished_at IS NOT NULL AND t.error_code IS NULL", &[]);
                    }
                    self.narrow(sql);
                });
            }
        }
        sql
    }

    fn narrow<'q>(&'q self, sql: &mut Statement<'q>) {
        if self.filter.is_timed() {
            sql.add(IN_TIME, &[&self.began_from, &self.began_before]);
        }
        if !self.scope.is_of_pairs() {
            sql.add(concat!(" AND", not_erased!("t.endpoint")), &[]);
        }
    }
}

// ---- last ones ---------------------------------------------------------------------------------------------------

macro_rules! last_of {
    ($key:literal) => {
        concat!(
            "SELECT DISTINCT ON (p.",
            $key,
            ") p.",
            $key,
            ", x.id FROM (SELECT t.subscription, t.endpoint FROM tallies t WHERE t.",
            $key,
            " = ANY ($1::uuid[]) AND t.",
            $key,
            " <> ",
            nil!(),
            " AND t.kind = $2 AND",
            not_erased!("t.endpoint"),
            "GROUP BY t.subscription, t.endpoint HAVING sum(t.n) > 0) p CROSS JOIN LATERAL (SELECT a.id FROM attempts a \
             WHERE a.subscription = ANY (ARRAY[p.subscription]) AND a.endpoint = p.endpoint AND a.finished_at IS NOT NULL \
             ORDER BY a.subscription DESC, a.id DESC LIMIT 1) x ORDER BY p.",
            $key,
            ", x.id DESC"
        )
    };
}

/// The newest attempt of each that ended: a look into an index for each subscription and endpoint that go together. What is under way is passed
/// over.
pub(super) async fn last_ended(conn: &Conn, of: &LastOf) -> Result<Vec<Option<AttemptRow>>> {
    let (sql, keys): (_, Vec<Uuid>) = match of {
        LastOf::Endpoints(ids) => (last_of!("endpoint"), ids.iter().map(|id| id.uuid()).collect()),
        LastOf::Subscriptions(ids) => (last_of!("subscription"), ids.iter().map(|id| id.uuid()).collect()),
    };
    let mut last: HashMap<Uuid, Uuid> = HashMap::new();
    let params: Params<'_> = &[&keys, &ATTEMPTS];
    let ((), found) = tokio::try_join!(in_order(conn), conn.rows(sql, params))?;
    for row in found {
        last.insert(get(&row, 1)?, get(&row, 0)?);
    }
    let ids: Vec<Uuid> = last.keys().copied().collect();
    let mut newest: HashMap<Uuid, AttemptRow> = HashMap::new();
    for row in rows(conn, &ids).await? {
        if let Some(key) = last.get(&row.id.uuid()) {
            newest.insert(*key, row);
        }
    }
    Ok(keys.iter().map(|key| newest.get(key).cloned()).collect())
}

// ---- single ones -------------------------------------------------------------------------------------------------

const ONE: &str = concat!(
    "SELECT ",
    attempt_columns!(),
    ", ",
    delivery_columns!(),
    ", ",
    event_columns!(),
    ", a.stripped FROM attempts a CROSS JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.id = a.delivery LIMIT 1) d \
     CROSS JOIN LATERAL (SELECT e.* FROM events e WHERE e.id = d.event_id LIMIT 1) e \
     WHERE a.id = $1 AND ($2::text IS NULL OR a.namespace = $2) AND",
    not_erased!("a.endpoint")
);

/// One attempt with everything that belongs to it, in this namespace if one is given.
pub(super) async fn attempt(conn: &Conn, of: AttemptId, within: Option<&Namespace>) -> Result<Option<AttemptDetail>> {
    let Some(row) = conn.row(ONE, &[&of.uuid(), &within.map(Namespace::as_str)]).await? else { return Ok(None) };
    let event_at = ATTEMPT_COLUMNS + DELIVERY_COLUMNS;
    Ok(Some(AttemptDetail {
        attempt: attempt_row(&row)?,
        bodies_removed: get(&row, event_at + EVENT_COLUMNS)?,
        delivery: delivery_row_from(&row, ATTEMPT_COLUMNS)?,
        event: Arc::new(event_row_from(&row, event_at)?),
    }))
}

/// The newest attempts of a delivery, ascending by number.
pub(super) async fn of_delivery(conn: &Conn, of: DeliveryId, within: Option<&Namespace>, limit: u32) -> Result<Vec<AttemptRow>> {
    let sql = concat!(
        "SELECT ",
        listed_columns!(),
        " FROM attempts a WHERE a.delivery = $1 AND ($2::text IS NULL OR a.namespace = $2) AND",
        not_erased!("a.endpoint"),
        "ORDER BY a.number DESC LIMIT $3"
    );
    let found = conn.rows(sql, &[&of.uuid(), &within.map(Namespace::as_str), &i64::from(limit)]).await?;
    found.iter().rev().map(listed).collect()
}
