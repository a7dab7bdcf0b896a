//! Lists of events narrowed by labels, or by what the check of their payload against a schema said.

use super::find::{bounds, events_at};
use super::merge::merge;
use super::rows::{all, count, map_json, time};
use postrider_core::event::{Namespace, SchemaCheck};
use postrider_core::id::EventSeq;
use postrider_core::ports::{EventFilter, EventPlace, EventRow, Found, NewEvent, Page, PageRequest};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, ToSql, params};
use std::collections::BTreeMap;

/// Up to how many events are counted to see which of several labels fewer have.
const ENOUGH: i64 = 10_000;

/// Whether a list is narrowed like that.
pub(super) fn is_for(filter: &EventFilter) -> bool {
    !filter.labels.is_empty() || filter.schema_valid.is_some()
}

/// How a check is written down.
pub(super) fn check_number(check: SchemaCheck) -> Option<bool> {
    match check {
        SchemaCheck::Unchecked => None,
        SchemaCheck::Passed => Some(true),
        SchemaCheck::Failed => Some(false),
    }
}

/// Reads it.
pub(super) fn check_of(number: Option<bool>) -> SchemaCheck {
    match number {
        None => SchemaCheck::Unchecked,
        Some(true) => SchemaCheck::Passed,
        Some(false) => SchemaCheck::Failed,
    }
}

/// Notes the labels of an event that is stored: a row in an index for each.
pub(super) fn note_labels(conn: &Connection, seq: EventSeq, event: &NewEvent) -> Result<()> {
    if event.labels.is_empty() {
        return Ok(());
    }
    let sql = "INSERT INTO event_labels (namespace, key, value, created_at, seq) VALUES (?1, ?2, ?3, ?4, ?5)";
    let mut insert = conn.prepare_cached(sql)?;
    for (key, value) in &event.labels {
        insert.execute(params![event.namespace.as_str(), key, value, event.created_at.as_micros(), seq.0])?;
    }
    Ok(())
}

/// An event with these labels is removed.
pub(super) fn forget_labels(
    conn: &Connection,
    (namespace, created_at, seq): (&Namespace, Timestamp, i64),
    labels: &BTreeMap<String, String>,
) -> Result<()> {
    let sql = "DELETE FROM event_labels WHERE namespace = ?1 AND key = ?2 AND value = ?3 AND created_at = ?4 AND seq = ?5";
    let mut delete = conn.prepare_cached(sql)?;
    for (key, value) in labels {
        delete.execute(params![namespace.as_str(), key, value, created_at.as_micros(), seq])?;
    }
    Ok(())
}

macro_rules! of_label {
    ($what:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM event_labels l WHERE namespace = ?1 AND key = ?6 AND value = ?7 AND created_at >= ?2 AND created_at < ?3 \
             AND (?4 IS NULL AND ?5 IS NULL OR EXISTS (SELECT 1 FROM events e WHERE e.seq = l.seq AND (?4 IS NULL OR e.type = ?4) \
             AND (?5 IS NULL OR (e.schema_valid IS NOT 0) = ?5))) AND NOT EXISTS (SELECT 1 FROM json_each(?8) o WHERE NOT EXISTS \
             (SELECT 1 FROM event_labels x WHERE x.namespace = ?1 AND x.key = o.key AND x.value = o.value AND x.created_at = l.created_at \
             AND x.seq = l.seq))",
            $rest
        )
    };
}
const OF_LABEL: &str = of_label!("created_at, seq", " AND (created_at, seq) < (?9, ?10) ORDER BY created_at DESC, seq DESC LIMIT ?11");
const COUNT_OF_LABEL: &str = of_label!("count(*)", "");
const COUNT_SOME_OF_LABEL: &str =
    "SELECT count(*) FROM (SELECT 1 FROM event_labels WHERE namespace = ?1 AND key = ?2 AND value = ?3 LIMIT ?4)";

macro_rules! of_index {
    ($what:literal, $index:literal, $which:literal, $rest:literal) => {
        concat!(
            "SELECT ",
            $what,
            " FROM events INDEXED BY ",
            $index,
            " WHERE namespace = ?1 AND created_at >= ?2 AND created_at < ?3 AND ",
            $which,
            $rest
        )
    };
}
macro_rules! next_of_index {
    ($index:literal, $which:literal) => {
        of_index!("created_at, seq", $index, $which, " AND (created_at, seq) < (?5, ?6) ORDER BY created_at DESC, seq DESC LIMIT ?7")
    };
}
const INVALID: &str = next_of_index!("events_invalid", "schema_valid = 0 AND (?4 IS NULL OR type = ?4)");
const COUNT_INVALID: &str = of_index!("count(*)", "events_invalid", "schema_valid = 0 AND (?4 IS NULL OR type = ?4)", "");
const VALID: &str = next_of_index!("events_by_namespace", "?4 IS NULL AND schema_valid IS NOT 0");
const VALID_OF_TYPE: &str = next_of_index!("events_by_type", "type = ?4 AND schema_valid IS NOT 0");
const COUNT: &str = of_index!("count(*)", "events_by_namespace", "?4 IS NULL", "");
const COUNT_OF_TYPE: &str = of_index!("count(*)", "events_by_type", "type = ?4", "");

/// Events, newest first, and how many there are.
pub(super) fn find(conn: &Connection, filter: &EventFilter, request: PageRequest<EventPlace>) -> Result<Found<EventRow, EventPlace>> {
    let parts = parts(conn, filter)?;
    let mut total = 0;
    for part in &parts {
        total += part.count(conn, filter)?;
    }
    Ok(Found { page: in_parts(conn, &parts, filter, request)?, total })
}

/// Events, newest first.
pub(super) fn page(conn: &Connection, filter: &EventFilter, request: PageRequest<EventPlace>) -> Result<Page<EventRow, EventPlace>> {
    in_parts(conn, &parts(conn, filter)?, filter, request)
}

fn in_parts(
    conn: &Connection,
    parts: &[Part],
    filter: &EventFilter,
    request: PageRequest<EventPlace>,
) -> Result<Page<EventRow, EventPlace>> {
    let (places, more) = merge(parts.len(), Vec::new(), (0, request.limit), |n, last: Option<&EventPlace>, chunk| {
        parts[n].next(conn, filter, last.copied().or(request.after), chunk)
    })?;
    events_at(conn, &places, more, request)
}

/// What a namespace has of a list: a run of an index, in which some may be passed over.
pub(super) struct Part {
    namespace: String,
    /// How many events it has in all.
    all: u64,
    /// The label that the run is of: the one that fewest events have.
    label: Option<(String, String)>,
    /// The other labels, as JSON.
    others: Option<String>,
}

pub(super) fn parts(conn: &Connection, filter: &EventFilter) -> Result<Vec<Part>> {
    let sql = "SELECT namespace, n FROM tallies_by_namespace WHERE kind = 2 AND (?1 IS NULL OR namespace = ?1)";
    let of = filter.namespace.as_ref().map(Namespace::as_str);
    let found: Vec<(String, u64)> = all(conn, sql, &[&of], |row| Ok((row.get(0)?, count(row, 1)?)))?;
    found.into_iter().map(|(namespace, all)| Part::new(conn, filter, namespace, all)).collect()
}

impl Part {
    fn new(conn: &Connection, filter: &EventFilter, namespace: String, all: u64) -> Result<Self> {
        let mut others = filter.labels.clone();
        let mut rarest = others.first_key_value().map(|(key, value)| (key.clone(), value.clone()));
        if others.len() > 1 {
            let mut fewest = i64::MAX;
            for (key, value) in &filter.labels {
                let params: &[&dyn ToSql] = &[&namespace, key, value, &ENOUGH];
                let n = conn.prepare_cached(COUNT_SOME_OF_LABEL)?.query_row(params, |row| row.get(0))?;
                if n < fewest {
                    (fewest, rarest) = (n, Some((key.clone(), value.clone())));
                }
            }
        }
        if let Some((key, _)) = &rarest {
            others.remove(key);
        }
        Ok(Part { namespace, all, label: rarest, others: map_json(&others)? })
    }

    pub(super) fn count(&self, conn: &Connection, filter: &EventFilter) -> Result<u64> {
        let (from, before) = bounds(filter.created_from, filter.created_before);
        let number = |sql: &str, params: &[&dyn ToSql]| conn.prepare_cached(sql)?.query_row(params, |row| count(row, 0));
        let (of_type, valid) = (&filter.event_type, &filter.schema_valid);
        if let Some((key, value)) = &self.label {
            return number(COUNT_OF_LABEL, &[&self.namespace, &from, &before, of_type, valid, key, value, &self.others]);
        }
        let params: &[&dyn ToSql] = &[&self.namespace, &from, &before, of_type];
        let invalid = number(COUNT_INVALID, params)?;
        if *valid == Some(false) {
            return Ok(invalid);
        }
        let is_timed = filter.created_from.is_some() || filter.created_before.is_some();
        let in_all = match of_type {
            Some(_) => number(COUNT_OF_TYPE, params)?,
            None if is_timed => number(COUNT, params)?,
            None => self.all,
        };
        Ok(in_all - invalid)
    }

    pub(super) fn next(&self, conn: &Connection, filter: &EventFilter, after: Option<EventPlace>, chunk: usize) -> Result<Vec<EventPlace>> {
        let (from, before) = bounds(filter.created_from, filter.created_before);
        let (at, seq) = after.map_or((i64::MAX, i64::MAX), |place| (place.created_at.as_micros(), place.seq.0));
        let chunk = i64::try_from(chunk).unwrap_or(i64::MAX);
        let (of_type, valid) = (&filter.event_type, &filter.schema_valid);
        let read = |sql: &str, params: &[&dyn ToSql]| {
            all(conn, sql, params, |row| Ok(EventPlace { created_at: time(row, 0)?, seq: EventSeq(row.get(1)?) }))
        };
        if let Some((key, value)) = &self.label {
            let params: &[&dyn ToSql] = &[&self.namespace, &from, &before, of_type, valid, key, value, &self.others, &at, &seq, &chunk];
            return read(OF_LABEL, params);
        }
        let sql = match (valid, of_type) {
            (Some(false), _) => INVALID,
            (_, None) => VALID,
            (_, Some(_)) => VALID_OF_TYPE,
        };
        read(sql, &[&self.namespace, &from, &before, of_type, &at, &seq, &chunk])
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rusqlite::types::Null;

    #[test]
    fn no_list_is_sorted_and_no_table_read_whole() {
        let mut conn = Connection::open_in_memory().expect("a database");
        crate::migrate::migrate(&mut conn).expect("a schema");
        for sql in [OF_LABEL, COUNT_OF_LABEL, COUNT_SOME_OF_LABEL, INVALID, COUNT_INVALID, VALID, VALID_OF_TYPE, COUNT, COUNT_OF_TYPE] {
            let mut explain = conn.prepare(&format!("EXPLAIN QUERY PLAN {sql}")).expect("a statement");
            let unbound = rusqlite::params_from_iter(std::iter::repeat_n(Null, explain.parameter_count()));
            let plan: Vec<String> = explain.query_map(unbound, |row| row.get(3)).expect("a plan").collect::<Result<_>>().expect("lines");
            // The other labels are a list that comes with the statement.
            let is_small = |line: &str| line.contains("VIRTUAL TABLE") || line.contains("subquery");
            let is_bad = |line: &String| {
                line.contains("TEMP B-TREE") || line.contains("AUTOMATIC") || (line.starts_with("SCAN ") && !is_small(line))
            };
            assert!(!plan.is_empty() && !plan.iter().any(is_bad), "{sql}\n{plan:#?}");
        }
    }
}
