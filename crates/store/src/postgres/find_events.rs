//! Lists of events, newest first, narrowed by namespace, type, time, labels, and by what the check of their payload against a schema said.
//!
//! A list is a run of an index for each namespace. With labels it is one of the index of labels: of the label that the fewest have.

use super::conn::Conn;
use super::error::Result;
use super::lists::{Merging, Query, less, namespaces, ordinal};
use super::reads::event_in_list;
use super::rows::{count, get, text, time};
use super::tallies::EVENTS;
use postrider_core::event::Namespace;
use postrider_core::id::EventSeq;
use postrider_core::ports::{EventFilter, EventPlace, EventRow, Found, Page, PageRequest, Window};
use postrider_core::time::Timestamp;
use std::collections::BTreeMap;
use tokio_postgres::Row;
use uuid::Uuid;

/// Up to how many events are counted to see which of several labels fewer have.
const ENOUGH: i64 = 10_000;

/// Which of these labels the fewest events have.
const RAREST: &str = "SELECT u.at FROM unnest($2::text[], $3::text[]) WITH ORDINALITY AS u (key, value, at) ORDER BY \
    (SELECT count(*) FROM (SELECT 1 FROM event_labels k WHERE k.namespace = ANY ($1::text[]) AND k.key = u.key AND k.value = u.value \
    LIMIT $4) k), u.at LIMIT 1";

/// How many events a namespace has, or with an empty name all have together.
const KEPT: &str = "SELECT coalesce(sum(t.n), 0)::int8 FROM tallies t WHERE t.namespace = $1 \
    AND t.subscription = '00000000-0000-0000-0000-000000000000' AND t.endpoint = '00000000-0000-0000-0000-000000000000' AND t.kind = $2";

/// Events in the order of their ids here, until their payloads sum up to so much.
const ROWS: &str = concat!(
    "SELECT ",
    listed_event_columns!(),
    " FROM (SELECT u.id, u.at, sum((SELECT octet_length(p.payload) FROM events p WHERE p.id = u.id)) \
     OVER (ORDER BY u.at ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS before \
     FROM unnest($1::uuid[]) WITH ORDINALITY AS u (id, at)) u \
     CROSS JOIN LATERAL (SELECT * FROM events WHERE id = u.id LIMIT 1) e WHERE u.at = 1 OR u.before < $2::int8 ORDER BY u.at"
);

/// The numbers of events, and how many there are.
pub(super) async fn numbers(conn: &Conn, filter: &EventFilter, window: Window<EventPlace>) -> Result<Found<EventSeq, EventPlace>> {
    let list = List::of(conn, filter).await?;
    let total = list.total(conn).await?;
    let (entries, more) = list.entries(conn, window, false).await?;
    let next = entries.last().filter(|_| more).map(|(place, _)| *place);
    Ok(Found { page: Page { items: entries.into_iter().map(|(place, _)| place.seq).collect(), next }, total })
}

/// Events, and how many there are.
pub(super) async fn find(conn: &Conn, filter: &EventFilter, request: PageRequest<EventPlace>) -> Result<Found<EventRow, EventPlace>> {
    let list = List::of(conn, filter).await?;
    let total = list.total(conn).await?;
    Ok(Found { page: list.page(conn, request).await?, total })
}

/// Events.
pub(super) async fn page(conn: &Conn, filter: &EventFilter, request: PageRequest<EventPlace>) -> Result<Page<EventRow, EventPlace>> {
    List::of(conn, filter).await?.page(conn, request).await
}

/// How many events a namespace has, or all have together: a kept number.
pub(super) async fn kept(conn: &Conn, of: Option<&Namespace>) -> Result<u64> {
    count(&conn.only(KEPT, &[&of.map_or("", Namespace::as_str), &EVENTS]).await?, 0)
}

/// An event's place and, where that was asked for, its id.
type Entry = (EventPlace, Option<Uuid>);

/// A list that is narrowed by a filter.
struct List<'a> {
    filter: &'a EventFilter,
    /// Whose events are read one by one; `None` where an index has those of all in order.
    namespaces: Option<Vec<String>>,
    event_type: Option<String>,
    label: Option<Label>,
    /// Bounds, in microseconds.
    from: i64,
    before: i64,
}

/// The label whose run of the index is read, and what else an event must have.
struct Label {
    key: String,
    value: String,
    other_keys: Vec<String>,
    other_values: Vec<String>,
    /// How many those are.
    others: i64,
}

impl Label {
    /// The one of these that the fewest events have.
    async fn rarest_of(conn: &Conn, namespaces: &[String], labels: &BTreeMap<String, String>) -> Result<Option<Self>> {
        let mut all: Vec<(String, String)> = labels.iter().map(|(key, value)| (text(key).into_owned(), text(value).into_owned())).collect();
        let rarest = match all.len() {
            0 => return Ok(None),
            1 => 0,
            n => {
                let (keys, values): (Vec<String>, Vec<String>) = all.iter().cloned().unzip();
                let row = conn.only(RAREST, &[&namespaces, &keys, &values, &ENOUGH]).await?;
                ordinal(&row, 0)?.min(n - 1)
            }
        };
        let (key, value) = all.remove(rarest);
        let (other_keys, other_values): (Vec<String>, Vec<String>) = all.into_iter().unzip();
        let others = i64::try_from(other_keys.len()).unwrap_or(i64::MAX);
        Ok(Some(Label { key, value, other_keys, other_values, others }))
    }
}

impl<'a> List<'a> {
    async fn of(conn: &Conn, filter: &'a EventFilter) -> Result<Self> {
        let is_by_namespace = filter.event_type.is_some() || !filter.labels.is_empty() || filter.schema_valid == Some(false);
        let namespaces = match &filter.namespace {
            Some(namespace) => Some(vec![namespace.as_str().to_owned()]),
            None if is_by_namespace => Some(namespaces(conn).await?),
            None => None,
        };
        Ok(List {
            filter,
            label: Label::rarest_of(conn, namespaces.as_deref().unwrap_or_default(), &filter.labels).await?,
            namespaces,
            event_type: filter.event_type.as_deref().map(|name| text(name).into_owned()),
            from: filter.created_from.map_or(i64::MIN, Timestamp::as_micros),
            before: filter.created_before.map_or(i64::MAX, Timestamp::as_micros),
        })
    }

    /// What its runs are of.
    fn table(&self) -> &'static str {
        if self.label.is_some() { "event_labels k" } else { "events k" }
    }

    /// The conditions that rows of that must meet, but for namespace and time.
    fn narrowed<'q>(&'q self, query: Query<'q>, valid: Option<bool>) -> Query<'q> {
        let Some(label) = &self.label else {
            return query.with_some(" AND k.type = ", &self.event_type).add(match valid {
                None => "",
                Some(true) => " AND k.schema_valid IS NOT FALSE",
                Some(false) => " AND NOT k.schema_valid",
            });
        };
        let mut query = query.with(" AND k.key = ", &label.key).with(" AND k.value = ", &label.value);
        if label.others > 0 {
            query = query
                .with(" AND (SELECT count(*) FROM event_labels x JOIN unnest(", &label.other_keys)
                .with("::text[], ", &label.other_values)
                .with("::text[]) AS o (key, value) ON x.key = o.key AND x.value = o.value WHERE x.event = k.event) = ", &label.others);
        }
        if self.event_type.is_none() && valid.is_none() {
            return query;
        }
        let valid = match valid {
            None => "",
            Some(true) => " AND e.schema_valid IS NOT FALSE",
            Some(false) => " AND NOT e.schema_valid",
        };
        // Not a join: each event is looked up, never all of them read.
        let query = query.add(" AND (SELECT true FROM events e WHERE e.id = k.event").with_some(" AND e.type = ", &self.event_type);
        query.add(valid).add(")")
    }

    /// How many it has in all.
    async fn total(&self, conn: &Conn) -> Result<u64> {
        if self.label.is_some() {
            return self.count(conn, self.filter.schema_valid).await;
        }
        match self.filter.schema_valid {
            None => self.of_any_check(conn).await,
            Some(false) => self.count(conn, Some(false)).await,
            Some(true) => Ok(less(self.of_any_check(conn).await?, self.count(conn, Some(false)).await?)),
        }
    }

    /// How many it would have whatever the check said: counted only where the filter says so.
    async fn of_any_check(&self, conn: &Conn) -> Result<u64> {
        if self.event_type.is_some() || self.filter.created_from.is_some() || self.filter.created_before.is_some() {
            return self.count(conn, None).await;
        }
        kept(conn, self.filter.namespace.as_ref()).await
    }

    async fn count(&self, conn: &Conn, valid: Option<bool>) -> Result<u64> {
        let query = Query::new("SELECT count(*) FROM ").add(self.table());
        let query = query.with(" WHERE k.created_at >= ", &self.from).with(" AND k.created_at < ", &self.before);
        let query = match &self.namespaces {
            Some(namespaces) => query.with(" AND k.namespace = ANY (", namespaces).add("::text[])"),
            None => query,
        };
        self.narrowed(query, valid).count(conn).await
    }

    /// A piece of it.
    async fn entries(&self, conn: &Conn, window: Window<EventPlace>, with_ids: bool) -> Result<(Vec<Entry>, bool)> {
        // The later one of both: a walk that began at the newest would pass over all that is not within the bound.
        let bound = self.filter.created_before.map(|created_at| EventPlace { created_at, seq: EventSeq(i64::MIN) });
        let start = window.after.into_iter().chain(bound).max();
        let mut merging: Merging<Entry> = Merging::new(self.namespaces.as_ref().map_or(1, Vec::len), window.skip, window.limit);
        loop {
            let asked = merging.asked();
            if asked.is_empty() {
                return Ok(merging.end());
            }
            let after: Vec<Option<EventPlace>> = asked.iter().map(|(_, last)| last.map(|(place, _)| place).or(start)).collect();
            let of: Vec<&str> = asked.iter().map(|(n, _)| self.namespace(*n)).collect();
            let found = self.next(conn, &of, &after, merging.chunk(), with_ids).await?;
            merging.take(&asked, found);
        }
    }

    /// The namespace of a run; empty where it is of all.
    fn namespace(&self, run: usize) -> &str {
        self.namespaces.as_ref().and_then(|namespaces| namespaces.get(run)).map_or("", String::as_str)
    }

    /// Entries of runs that come after these places, up to `limit` of each.
    async fn next(
        &self,
        conn: &Conn,
        of: &[&str],
        after: &[Option<EventPlace>],
        limit: i64,
        with_ids: bool,
    ) -> Result<Vec<(usize, Entry)>> {
        let times: Vec<i64> = after.iter().map(|place| place.map_or(i64::MAX, |place| place.created_at.as_micros())).collect();
        let seqs: Vec<i64> = after.iter().map(|place| place.map_or(i64::MAX, |place| place.seq.0)).collect();
        // Without ids the index alone is read.
        let id = match (with_ids, &self.label) {
            (false, _) => "NULL::uuid",
            (true, None) => "k.id",
            (true, Some(_)) => "k.event",
        };
        let query = Query::new("SELECT r.n, k.created_at, k.seq, k.id").with(" FROM unnest(", &of);
        let query = query.with("::text[], ", &times).with("::int8[], ", &seqs).add("::int8[]) WITH ORDINALITY");
        let query = query.add(" AS r (namespace, created_at, seq, n) CROSS JOIN LATERAL (SELECT k.created_at, k.seq, ").add(id);
        let query = query.add(" AS id FROM ").add(self.table());
        let query = query.add(" WHERE (k.created_at, k.seq) < (r.created_at, r.seq)").with(" AND k.created_at >= ", &self.from);
        // An index that does not begin with the namespace does not have this order, so that none such is read with the others passed over,
        // whatever statistics say of namespaces in general.
        let (of, order) = match self.namespaces {
            Some(_) => (" AND k.namespace = ANY (ARRAY[r.namespace])", " ORDER BY k.namespace DESC,"),
            None => ("", " ORDER BY"),
        };
        let query = self.narrowed(query.add(of), self.filter.schema_valid).add(order);
        let query = query.with(" k.created_at DESC, k.seq DESC LIMIT ", &limit).add("::int8) k");
        query.rows(conn).await?.iter().map(|row| Ok((ordinal(row, 0)?, entry(row)?))).collect()
    }

    /// A page of it.
    async fn page(&self, conn: &Conn, request: PageRequest<EventPlace>) -> Result<Page<EventRow, EventPlace>> {
        let (entries, more) = self.entries(conn, Window { after: request.after, skip: 0, limit: request.limit }, true).await?;
        if entries.is_empty() {
            return Ok(Page { items: Vec::new(), next: None });
        }
        let ids: Vec<Uuid> = entries.iter().filter_map(|(_, id)| *id).collect();
        let max_bytes = i64::try_from(request.max_bytes).unwrap_or(i64::MAX);
        let items: Vec<EventRow> = conn.rows(ROWS, &[&ids, &max_bytes]).await?.iter().map(event_in_list).collect::<Result<_>>()?;
        let more = more || items.len() < entries.len();
        let next = items.last().filter(|_| more).map(|row| EventPlace { created_at: row.event.created_at, seq: row.event.seq });
        Ok(Page { items, next })
    }
}

fn entry(row: &Row) -> Result<Entry> {
    Ok((EventPlace { created_at: time(row, 1)?, seq: EventSeq(get(row, 2)?) }, get(row, 3)?))
}
