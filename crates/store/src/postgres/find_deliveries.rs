//! Reads of deliveries: lists with filters and totals.
//!
//! Those that have not ended are in `queue`, and those that ended without success in `unsuccessful`: where no others are wanted, lists are read
//! from these. Where succeeded ones are wanted they are read from the deliveries themselves, and what is in another state is passed over. Kept
//! numbers say how many there are, but for bounds in time, categories and codes, for which they are counted.

use super::conn::Conn;
use super::delivery_rows;
use super::error::Result;
use super::parts::{Cut, Number, Parts, Scope, Statement, Walks, attempts_floor, in_order, nil, numbers, walk};
use super::rows::get;
use postrider_core::delivery::StateKind;
use postrider_core::error::ErrorCode;
use postrider_core::event::Namespace;
use postrider_core::id::DeliveryId;
use postrider_core::ports::{DeliveryFilter, DeliveryRow, Found, Page, Window};
use postrider_core::time::Timestamp;
use uuid::Uuid;

/// Deliveries, newest first, and how many there are.
pub(super) async fn find(conn: &Conn, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Result<Found<DeliveryRow, DeliveryId>> {
    let (found, next, total) = uuids(conn, filter, window).await?;
    let items = delivery_rows::listed(conn, &found).await?;
    Ok(Found { page: Page { items, next }, total })
}

/// Deliveries, newest first. Nothing is counted: kept numbers say how many there are at the most, which is all that finding a page needs of it.
pub(super) async fn page(conn: &Conn, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Result<Page<DeliveryRow, DeliveryId>> {
    let ((), query) = tokio::try_join!(in_order(conn), Query::new(conn, filter))?;
    let (found, next) = query.page(conn, window, query.most()).await?;
    Ok(Page { items: delivery_rows::listed(conn, &found).await?, next })
}

/// The ids of deliveries, and how many there are.
pub(super) async fn ids(conn: &Conn, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Result<Found<DeliveryId, DeliveryId>> {
    let (found, next, total) = uuids(conn, filter, window).await?;
    let items = found.into_iter().map(DeliveryId::new).collect();
    Ok(Found { page: Page { items, next }, total })
}

/// One delivery with whole bodies, in this namespace if one is given.
pub(super) async fn row(conn: &Conn, of: DeliveryId, within: Option<&Namespace>) -> Result<Option<DeliveryRow>> {
    delivery_rows::whole(conn, of, within).await
}

/// The ids of a page, the last of them where more follow, and how many the whole list has.
async fn uuids(conn: &Conn, filter: &DeliveryFilter, window: Window<DeliveryId>) -> Result<(Vec<Uuid>, Option<DeliveryId>, u64)> {
    let ((), query) = tokio::try_join!(in_order(conn), Query::new(conn, filter))?;
    let total = query.total(conn).await?;
    let (ids, next) = query.page(conn, window, total).await?;
    Ok((ids, next, total))
}

const DELIVERIES: Walks = Walks {
    of_all: walk!("deliveries"),
    of_namespace: walk!("deliveries", "namespace"),
    of_pairs: walk!("deliveries", "subscription", "endpoint"),
};
const UNSUCCESSFUL: Walks = Walks {
    of_all: walk!("unsuccessful"),
    of_namespace: walk!("unsuccessful", "namespace"),
    of_pairs: walk!("unsuccessful", "subscription", "endpoint"),
};

/// In the order of the list, so that no more of them are looked at than it takes to find the page.
const LIVE: &str = concat!(
    " FROM queue q CROSS JOIN LATERAL (SELECT d.* FROM deliveries d WHERE d.id = q.id LIMIT 1) d WHERE q.id >= ? AND q.id < ? AND",
    not_erased!("q.endpoint")
);
const LIVE_IN_STATE: &str = "AND (?::bool IS NULL OR (q.due_at IS NULL) = ?) ";
/// Which endpoints of a namespace have something that has not ended; none where they would have to be looked for among too many numbers.
const LIVE_ENDPOINTS: &str = concat!(
    "WITH f AS MATERIALIZED (SELECT t.endpoint, t.kind, t.n FROM tallies t WHERE t.namespace = $1 AND t.subscription > ",
    nil!(),
    " LIMIT 20000) SELECT f.endpoint FROM f WHERE f.kind < 3 AND (SELECT count(*) FROM f) < 20000 GROUP BY f.endpoint HAVING sum(f.n) > 0"
);
const OF_EVENT: &str = concat!(" FROM deliveries d WHERE d.id >= ? AND d.id < ? AND", not_erased!("d.endpoint"));

/// The error of the newest attempt of `deliveries d` that ended.
macro_rules! last_error {
    () => {
        concat!(
            "(SELECT a.error_code FROM attempts a WHERE a.delivery = d.id AND a.id >= ",
            attempts_floor!("d"),
            " AND a.finished_at IS NOT NULL ORDER BY a.number DESC LIMIT 1)"
        )
    };
}
const LIVE_WITH_CODE: &str = concat!(" AND (?::text[] IS NULL OR (d.attempts > 0 AND ", last_error!(), " = ANY (?)))");
const ANY_WITH_CODE: &str = concat!(
    " AND (?::text[] IS NULL OR CASE WHEN d.state > 3 THEN coalesce(d.reason, 'expired') WHEN d.attempts > 0 THEN ",
    last_error!(),
    " END = ANY (?)) OFFSET 0"
);
const ENDED_WITH_CODE: &str = " AND (?::text[] IS NULL OR coalesce(t.reason, 'expired') = ANY (?))";
const IN_TIME: &str = " AND t.created_at >= ? AND t.created_at < ?";
const IN_STATES: &str = " AND t.state = ANY (?::int2[])";

/// Those before it have not ended, and those behind it ended otherwise.
const SUCCEEDED: i16 = StateKind::Succeeded as i16;

/// Endpoints that what has not ended goes to, where that is known without much ado.
async fn live_endpoints(conn: &Conn, scope: &Scope<'_>, numbers: &[Number]) -> Result<Option<Vec<Uuid>>> {
    let live: Vec<Uuid> = numbers.iter().filter(|number| number.kind < SUCCEEDED).map(|number| number.endpoint).collect();
    match scope.namespace {
        _ if live.is_empty() => Ok(None),
        _ if scope.is_of_pairs() => Ok(Some(live)),
        None => Ok(None),
        Some(namespace) => {
            let rows = conn.rows(LIVE_ENDPOINTS, &[&namespace]).await?;
            let endpoints: Vec<Uuid> = rows.iter().map(|row| get(row, 0)).collect::<Result<_>>()?;
            Ok(Some(endpoints).filter(|endpoints| !endpoints.is_empty()))
        }
    }
}

/// The states that are wanted, without those that the category or the code rules out.
fn states_of(filter: &DeliveryFilter) -> Vec<i16> {
    StateKind::ALL.into_iter().filter(|kind| filter.may_want(*kind)).map(|kind| kind as i16).collect()
}

/// The codes that are wanted; `None` where the states say it.
fn codes_of(filter: &DeliveryFilter) -> Option<Vec<&'static str>> {
    filter.codes().map(|codes| codes.into_iter().map(ErrorCode::as_str).collect())
}

/// What the list is put together of, where it is read part by part.
fn parts_of(scope: &Scope<'_>, numbers: &[Number], has_succeeded: bool) -> Parts {
    let of_parts = numbers.iter().filter(|number| has_succeeded || number.kind > SUCCEEDED);
    Parts::of(scope, of_parts.map(|number| (number.subscription, number.endpoint, "")))
}

/// A list that is asked for.
struct Query<'a> {
    filter: &'a DeliveryFilter,
    scope: Scope<'a>,
    event: Option<i64>,
    created_from: i64,
    created_before: i64,
    /// The wanted ones, without those that the category or the code rules out.
    states: Vec<i16>,
    /// Codes that are wanted; `None` where the states say it.
    codes: Option<Vec<&'static str>>,
    /// How many there are in the wanted states.
    numbers: Vec<Number>,
    /// What has something in these states, or of what ended without success where that is looked for by itself.
    parts: Parts,
    /// Whether of what has not ended only that is wanted which is being sent, or only what waits.
    sending: Option<bool>,
    /// Endpoints that what has not ended goes to, where that is known.
    live: Option<Vec<Uuid>>,
}

impl<'a> Query<'a> {
    async fn new(conn: &Conn, filter: &'a DeliveryFilter) -> Result<Self> {
        let scope = Scope::new(filter.namespace.as_ref(), filter.subscription, filter.endpoint);
        let (states, codes) = (states_of(filter), codes_of(filter));
        let is_of_event = filter.event.is_some();
        let numbers = if is_of_event || states.is_empty() { Vec::new() } else { numbers(conn, &scope, &states).await? };
        let has_succeeded = states.contains(&SUCCEEDED);
        let parts = parts_of(&scope, &numbers, has_succeeded);
        let sending = StateKind::Sending as i16;
        let (sends, waits) = (states.contains(&sending), states.iter().any(|state| *state < SUCCEEDED && *state != sending));
        let live = if has_succeeded { None } else { live_endpoints(conn, &scope, &numbers).await? };
        Ok(Query {
            filter,
            scope,
            event: filter.event.map(|event| event.0),
            created_from: filter.created_from.map_or(i64::MIN, Timestamp::as_micros),
            created_before: filter.created_before.map_or(i64::MAX, Timestamp::as_micros),
            states,
            codes,
            numbers,
            parts,
            sending: if sends == waits { None } else { Some(sends) },
            live,
        })
    }

    /// How many there are in its states, whenever they were made and whatever their class. Those of an event are not known.
    fn most(&self) -> u64 {
        if self.event.is_some() { u64::MAX } else { self.numbers.iter().map(|number| number.n).sum() }
    }

    /// How many the list has.
    async fn total(&self, conn: &Conn) -> Result<u64> {
        let (most, is_counted) = (self.most(), self.filter.is_timed() || self.codes.is_some());
        match self.event {
            // What is not there at all need not be counted either.
            None if most == 0 || !is_counted => Ok(most),
            _ => self.statement(&Cut::number(self.filter.ids())).number(conn).await,
        }
    }

    /// The ids of a page, and the last of them where more follow, of a list that has no more than so many in all.
    async fn page(&self, conn: &Conn, window: Window<DeliveryId>, most: u64) -> Result<(Vec<Uuid>, Option<DeliveryId>)> {
        if most == 0 || window.limit == 0 {
            return Ok((Vec::new(), None));
        }
        let cut = Cut::page(self.filter.ids(), window.after.map(DeliveryId::uuid), (window.skip, window.limit), most);
        let (ids, next) = cut.cut(self.statement(&cut).ids(conn).await?);
        Ok((ids, next.map(DeliveryId::new)))
    }

    fn statement<'q>(&'q self, cut: &'q Cut) -> Statement<'q> {
        let mut sql = Statement::new(cut);
        if self.event.is_some() {
            self.of_event(&mut sql);
        } else if self.states.contains(&SUCCEEDED) {
            sql.walk(DELIVERIES.of(&self.scope), &self.parts, |sql| {
                if self.states.len() < StateKind::ALL.len() {
                    sql.add(IN_STATES, &[&self.states]);
                }
                self.narrow(sql);
            });
        } else {
            let live = self.numbers.iter().any(|number| number.kind < SUCCEEDED);
            let unsuccessful = self.numbers.iter().any(|number| number.kind > SUCCEEDED);
            if live {
                self.live(&mut sql);
            }
            if live && unsuccessful {
                sql.add(" UNION ALL ", &[]);
            }
            if unsuccessful {
                sql.walk(UNSUCCESSFUL.of(&self.scope), &self.parts, |sql| {
                    sql.add(ENDED_WITH_CODE, &[&self.codes]).add(IN_STATES, &[&self.states]);
                    self.narrow(sql);
                });
            }
        }
        sql
    }

    fn narrow<'q>(&'q self, sql: &mut Statement<'q>) {
        if self.filter.is_timed() {
            sql.add(IN_TIME, &[&self.created_from, &self.created_before]);
        }
        if !self.scope.is_of_pairs() {
            sql.add(concat!(" AND", not_erased!("t.endpoint")), &[]);
        }
    }

    /// What has not ended.
    fn live<'q>(&'q self, sql: &mut Statement<'q>) {
        sql.either("(SELECT q.id", "(SELECT count(*) AS n").within(LIVE).add(LIVE_IN_STATE, &[&self.sending]);
        if let Some(endpoints) = &self.live {
            sql.add("AND q.endpoint = ANY (?::uuid[]) ", &[endpoints]);
        }
        self.look(sql);
        sql.add(LIVE_WITH_CODE, &[&self.codes]);
        sql.end(" ORDER BY q.id DESC LIMIT ?)", ")");
    }

    /// What an event has. All of it is read by the event, in whatever order.
    fn of_event<'q>(&'q self, sql: &mut Statement<'q>) {
        sql.either("SELECT d.id", "SELECT count(*) AS n").within(OF_EVENT).add("AND d.event = ? ", &[&self.event]);
        self.look(sql);
        sql.add(ANY_WITH_CODE, &[&self.codes]);
    }

    /// What belongs to the list of the deliveries `d` that are looked at one by one.
    fn look<'q>(&'q self, sql: &mut Statement<'q>) {
        sql.add("AND (?::text IS NULL OR d.namespace = ?)", &[&self.scope.namespace]);
        sql.add(" AND (?::uuid IS NULL OR d.subscription = ?)", &[&self.scope.subscription]);
        sql.add(" AND (?::uuid IS NULL OR d.endpoint = ?)", &[&self.scope.endpoint]);
        sql.add(" AND d.state = ANY (?::int2[])", &[&self.states]);
        sql.add(" AND d.created_at >= ? AND d.created_at < ?", &[&self.created_from, &self.created_before]);
    }
}
