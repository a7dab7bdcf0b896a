//! Lists of open dead letters, newest first.
//!
//! Those of a subscription or an endpoint are a run of an index for each pair of both, and tallies know which there are. Others are one
//! run, and with a code one for each namespace.

use super::columns::DEAD_LETTER_COLUMNS;
use super::conn::Conn;
use super::error::Result;
use super::lists::{Merging, Query, less, namespaces, ordinal};
use super::rows::{count, dead_letter_row, get, id, id_opt, namespace, plain, time};
use super::tallies::DEAD_LETTERS;
use postrider_core::error::ErrorCode;
use postrider_core::id::{AttemptId, DeadLetterId, EndpointId, EventId, EventSeq, SubscriptionId};
use postrider_core::ports::{DeadLetterFilter, DeadLetterPlace, DeadLetterRow, Found, Page, Window};
use postrider_core::time::Timestamp;
use tokio_postgres::Row;
use uuid::Uuid;

/// Dead letters in the order of their ids here.
const ROWS: &str = concat!(
    "SELECT ",
    dead_letter_columns!(),
    ", ",
    last_attempt!(),
    ", l.namespace, l.subscription, l.endpoint, l.event, e.id, e.type FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at) \
     CROSS JOIN LATERAL (SELECT * FROM dead_letters WHERE id = u.id LIMIT 1) l \
     CROSS JOIN LATERAL (SELECT event_id FROM deliveries WHERE id = l.delivery LIMIT 1) d \
     CROSS JOIN LATERAL (SELECT id, type FROM events WHERE id = d.event_id LIMIT 1) e ORDER BY u.at"
);

/// Open dead letters, and how many there are.
pub(super) async fn find(
    conn: &Conn,
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<Found<DeadLetterRow, DeadLetterPlace>> {
    let list = List::of(conn, filter).await?;
    let total = list.total(conn).await?;
    Ok(Found { page: list.page(conn, window).await?, total })
}

/// Open dead letters.
pub(super) async fn page(
    conn: &Conn,
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<Page<DeadLetterRow, DeadLetterPlace>> {
    List::of(conn, filter).await?.page(conn, window).await
}

/// Their places alone, and whether more follow.
pub(super) async fn places(
    conn: &Conn,
    filter: &DeadLetterFilter,
    window: Window<DeadLetterPlace>,
) -> Result<(Vec<DeadLetterPlace>, bool)> {
    List::of(conn, filter).await?.places(conn, window).await
}

/// A list that is narrowed by a filter.
struct List {
    runs: Runs,
    namespace: Option<String>,
    code: Option<&'static str>,
    is_timed: bool,
    /// Bounds, in microseconds.
    from: i64,
    before: i64,
}

/// What it is put together of.
enum Runs {
    /// Where there is a subscription or an endpoint.
    Pairs(Vec<Pair>),
    /// One without a name where those of all are in one.
    Namespaces(Vec<String>),
}

impl Runs {
    fn len(&self) -> usize {
        match self {
            Runs::Pairs(pairs) => pairs.len(),
            Runs::Namespaces(names) => names.len(),
        }
    }
}

/// A subscription and an endpoint that have open dead letters, and how many.
struct Pair {
    subscription: Uuid,
    endpoint: Uuid,
    n: u64,
}

impl List {
    async fn of(conn: &Conn, filter: &DeadLetterFilter) -> Result<Self> {
        let mut list = List {
            runs: Runs::Namespaces(vec![filter.namespace.as_ref().map_or(String::new(), |namespace| namespace.as_str().to_owned())]),
            namespace: filter.namespace.as_ref().map(|namespace| namespace.as_str().to_owned()),
            code: filter.code.map(ErrorCode::as_str),
            is_timed: filter.failed_from.is_some() || filter.failed_before.is_some(),
            from: filter.failed_from.map_or(i64::MIN, Timestamp::as_micros),
            before: filter.failed_before.map_or(i64::MAX, Timestamp::as_micros),
        };
        if filter.subscription.is_some() || filter.endpoint.is_some() {
            list.runs = Runs::Pairs(list.pairs_of(conn, filter.subscription, filter.endpoint).await?);
        } else if filter.namespace.is_none() && filter.code.is_some() {
            list.runs = Runs::Namespaces(namespaces(conn).await?);
        }
        Ok(list)
    }

    /// Which pairs have any that may be seen, and how many whenever they failed.
    async fn pairs_of(&self, conn: &Conn, subscription: Option<SubscriptionId>, endpoint: Option<EndpointId>) -> Result<Vec<Pair>> {
        let (subscription, endpoint) = (subscription.map(SubscriptionId::uuid), endpoint.map(EndpointId::uuid));
        let query = Query::new("SELECT t.subscription, t.endpoint, sum(t.n)::int8 FROM tallies t").with(" WHERE t.kind = ", &DEAD_LETTERS);
        let query = query.with_some(" AND t.subscription = ", &subscription).with_some(" AND t.endpoint = ", &endpoint);
        // What the indexes of tallies have.
        let query = query
            .add(" AND t.subscription <> '00000000-0000-0000-0000-000000000000' AND t.endpoint <> '00000000-0000-0000-0000-000000000000'");
        let query = query.with_some(" AND t.namespace = ", &self.namespace).with_some(" AND t.code = ", &self.code);
        let query = query.add(concat!(" AND", not_erased!("t.endpoint"), "GROUP BY t.subscription, t.endpoint HAVING sum(t.n) > 0"));
        query.rows(conn).await?.iter().map(pair).collect()
    }

    /// How many it has: kept with every change, and counted only where there are bounds in time.
    async fn total(&self, conn: &Conn) -> Result<u64> {
        match &self.runs {
            Runs::Pairs(pairs) if !self.is_timed => Ok(pairs.iter().map(|pair| pair.n).sum()),
            Runs::Pairs(pairs) => {
                let (subscriptions, endpoints) = ids(pairs);
                let query = Query::new("SELECT coalesce(sum(k.n), 0)::int8").with(" FROM unnest(", &subscriptions);
                // Not a join: each pair is looked up, never all letters read.
                let query = query.with("::uuid[], ", &endpoints).add(
                    "::uuid[]) AS r (subscription, endpoint) CROSS JOIN LATERAL (SELECT count(*) AS n FROM dead_letters l \
                     WHERE l.subscription = r.subscription AND l.endpoint = r.endpoint AND l.status = 0",
                );
                self.within(query).with_some(" AND l.code = ", &self.code).add(") k").count(conn).await
            }
            Runs::Namespaces(_) if self.is_timed => {
                let query = Query::new(concat!("SELECT count(*) FROM dead_letters l WHERE l.status = 0 AND", not_erased!("l.endpoint")));
                let query = self.within(query).with_some(" AND l.namespace = ", &self.namespace);
                query.with_some(" AND l.code = ", &self.code).count(conn).await
            }
            Runs::Namespaces(_) => {
                let (all, erased) = tokio::try_join!(self.kept(conn), self.erased(conn))?;
                Ok(less(all, erased))
            }
        }
    }

    fn within<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        query.with(" AND l.failed_at >= ", &self.from).with(" AND l.failed_at < ", &self.before)
    }

    /// How many the tenant has, or all have together.
    async fn kept(&self, conn: &Conn) -> Result<u64> {
        let namespace = self.namespace.as_deref().unwrap_or_default();
        let query = Query::new("SELECT coalesce(sum(t.n), 0)::int8 FROM tallies t").with(" WHERE t.namespace = ", &namespace);
        let query = query.with(
            " AND t.subscription = '00000000-0000-0000-0000-000000000000' AND t.endpoint = '00000000-0000-0000-0000-000000000000' \
             AND t.kind = ",
            &DEAD_LETTERS,
        );
        query.with_some(" AND t.code = ", &self.code).count(conn).await
    }

    /// How many of those nobody gets to see.
    async fn erased(&self, conn: &Conn) -> Result<u64> {
        let query = Query::new("SELECT coalesce(sum(t.n), 0)::int8 FROM tallies t").with(
            " WHERE t.endpoint = ANY (ARRAY(SELECT endpoint FROM erased_endpoints)) \
             AND t.endpoint <> '00000000-0000-0000-0000-000000000000' AND t.kind = ",
            &DEAD_LETTERS,
        );
        query.with_some(" AND t.namespace = ", &self.namespace).with_some(" AND t.code = ", &self.code).count(conn).await
    }

    /// A piece of it.
    async fn page(&self, conn: &Conn, window: Window<DeadLetterPlace>) -> Result<Page<DeadLetterRow, DeadLetterPlace>> {
        let (places, more) = self.places(conn, window).await?;
        if places.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let ids: Vec<Uuid> = places.iter().map(|place| place.id.uuid()).collect();
        let items = conn.rows(ROWS, &[&ids]).await?.iter().map(letter).collect::<Result<_>>()?;
        Ok(Page { items, next: places.last().filter(|_| more).copied() })
    }

    /// The places of a piece of it, and whether more follow.
    async fn places(&self, conn: &Conn, window: Window<DeadLetterPlace>) -> Result<(Vec<DeadLetterPlace>, bool)> {
        // The later one of both: a walk that began at the newest would pass over all that is not within the bound.
        let bound = DeadLetterPlace { failed_at: Timestamp::from_micros(self.before), id: DeadLetterId::new(Uuid::nil()) };
        let start = window.after.map_or(bound, |after| after.max(bound));
        let mut merging: Merging<DeadLetterPlace> = Merging::new(self.runs.len(), window.skip, window.limit);
        loop {
            let asked = merging.asked();
            if asked.is_empty() {
                return Ok(merging.end());
            }
            let which: Vec<usize> = asked.iter().map(|(n, _)| *n).collect();
            let after: Vec<DeadLetterPlace> = asked.iter().map(|(_, last)| last.unwrap_or(start)).collect();
            let found = self.next(conn, &which, &after, merging.chunk()).await?;
            merging.take(&asked, found);
        }
    }

    /// Those of these runs that come after these places, up to `limit` of each.
    async fn next(&self, conn: &Conn, which: &[usize], after: &[DeadLetterPlace], limit: i64) -> Result<Vec<(usize, DeadLetterPlace)>> {
        let times: Vec<i64> = after.iter().map(|place| place.failed_at.as_micros()).collect();
        let letters: Vec<Uuid> = after.iter().map(|place| place.id.uuid()).collect();
        let query = Query::new("SELECT r.n, k.failed_at, k.id").with(" FROM unnest(", &times).with("::int8[], ", &letters);
        let found = match &self.runs {
            Runs::Pairs(pairs) => {
                let (subscriptions, endpoints) = ids(which.iter().filter_map(|n| pairs.get(*n)));
                let query = query.with("::uuid[], ", &subscriptions).with("::uuid[], ", &endpoints);
                self.of_pairs(query).with(" l.failed_at DESC, l.id DESC LIMIT ", &limit).add("::int8) k").rows(conn).await?
            }
            Runs::Namespaces(names) => {
                let names: Vec<&str> = which.iter().filter_map(|n| names.get(*n)).map(String::as_str).collect();
                let query = query.with("::uuid[], ", &names);
                self.of_namespaces(query).with(" l.failed_at DESC, l.id DESC LIMIT ", &limit).add("::int8) k").rows(conn).await?
            }
        };
        found.iter().map(|row| Ok((ordinal(row, 0)?, place(row, 1)?))).collect()
    }

    /// What is read of such runs. An index that does not begin with the subscription does not have this order, so that none such is read
    /// with the others passed over, whatever statistics say of subscriptions in general.
    fn of_pairs<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        let query = query.add("::uuid[]) WITH ORDINALITY AS r (failed_at, id, subscription, endpoint, n) CROSS JOIN LATERAL (");
        let query = query.add("SELECT l.failed_at, l.id FROM dead_letters l WHERE l.status = 0");
        let query = query.add(" AND l.subscription = ANY (ARRAY[r.subscription]) AND l.endpoint = r.endpoint");
        let query = query.with(" AND (l.failed_at, l.id) < (r.failed_at, r.id) AND l.failed_at >= ", &self.from);
        query.with_some(" AND l.code = ", &self.code).add(" ORDER BY l.subscription DESC,")
    }

    /// The same for runs of namespaces, where the index begins with the code or the namespace.
    fn of_namespaces<'q>(&'q self, query: Query<'q>) -> Query<'q> {
        let query = query.add("::text[]) WITH ORDINALITY AS r (failed_at, id, namespace, n) CROSS JOIN LATERAL (");
        let query = query.add(concat!("SELECT l.failed_at, l.id FROM dead_letters l WHERE l.status = 0 AND", not_erased!("l.endpoint")));
        let query = query.with("AND (l.failed_at, l.id) < (r.failed_at, r.id) AND l.failed_at >= ", &self.from);
        match &self.code {
            Some(code) => {
                let query = query.with(" AND l.code = ANY (ARRAY[", code);
                query.add("::text]) AND l.namespace = r.namespace ORDER BY l.code DESC,")
            }
            None if self.namespace.is_some() => query.add(" AND l.namespace = ANY (ARRAY[r.namespace]) ORDER BY l.namespace DESC,"),
            None => query.add(" ORDER BY"),
        }
    }
}

/// Subscriptions and endpoints for a statement.
fn ids<'p>(pairs: impl IntoIterator<Item = &'p Pair>) -> (Vec<Uuid>, Vec<Uuid>) {
    pairs.into_iter().map(|pair| (pair.subscription, pair.endpoint)).unzip()
}

fn pair(row: &Row) -> Result<Pair> {
    Ok(Pair { subscription: get(row, 0)?, endpoint: get(row, 1)?, n: count(row, 2)? })
}

/// Reads a place whose columns begin at `at`.
pub(super) fn place(row: &Row, at: usize) -> Result<DeadLetterPlace> {
    Ok(DeadLetterPlace { failed_at: time(row, at)?, id: id(row, at + 1, DeadLetterId::new)? })
}

fn letter(row: &Row) -> Result<DeadLetterRow> {
    Ok(DeadLetterRow {
        dead_letter: dead_letter_row(row, 0)?,
        last_attempt: id_opt(row, DEAD_LETTER_COLUMNS, AttemptId::new)?,
        namespace: namespace(row, DEAD_LETTER_COLUMNS + 1)?,
        subscription: id(row, DEAD_LETTER_COLUMNS + 2, SubscriptionId::new)?,
        endpoint: id(row, DEAD_LETTER_COLUMNS + 3, EndpointId::new)?,
        event: EventSeq(get(row, DEAD_LETTER_COLUMNS + 4)?),
        event_id: id(row, DEAD_LETTER_COLUMNS + 5, EventId::new)?,
        event_type: plain(get(row, DEAD_LETTER_COLUMNS + 6)?).into(),
    })
}
