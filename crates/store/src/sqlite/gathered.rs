//! Reads of the notes that have not gone to their places yet (see `history.rs`).
//!
//! There is no order to rely on, so that each read looks at all of them, some thousands at the most: only what a list needs is brought out, and
//! only what it is narrowed by is compared.

use super::attempts::Spot;
use super::config;
use super::rows::{all, count, one};
use super::tallies::outcome_text;
use postrider_core::ports::{AttemptFilter, OutcomeFilter};
use rusqlite::{Connection, Result, ToSql};

/// Those that a filter wants.
pub(super) struct Gathered {
    conditions: Vec<&'static str>,
    params: Vec<Box<dyn ToSql>>,
}

impl Gathered {
    /// None where the filter wants attempts under way only: notes are of those that ended.
    pub(super) fn wanted(conn: &Connection, filter: &AttemptFilter) -> Result<Option<Self>> {
        let mut wanted = Gathered { conditions: Vec::new(), params: Vec::new() };
        match filter.outcome {
            OutcomeFilter::UnderWay => return Ok(None),
            OutcomeFilter::Any => {}
            OutcomeFilter::Succeeded => wanted.conditions.push("outcome = ''"),
            OutcomeFilter::Failed => wanted.conditions.push("outcome <> ''"),
            OutcomeFilter::Code(code) => wanted.narrow("outcome = ?", outcome_text(Some(code))),
        }
        if let Some(namespace) = &filter.namespace {
            wanted.narrow("namespace = ?", namespace.as_str().to_owned());
        }
        if let Some(subscription) = filter.subscription {
            wanted.narrow("subscription = ?", subscription.bytes());
        }
        if let Some(endpoint) = filter.endpoint {
            wanted.narrow("endpoint = ?", endpoint.bytes());
        }
        if let Some(from) = filter.began_from {
            wanted.narrow("id >= ?", *filter.ids().0.as_bytes());
            wanted.narrow("started_at >= ?", from.as_micros());
        }
        if let Some(before) = filter.began_before {
            wanted.narrow("id < ?", *filter.ids().1.as_bytes());
            wanted.narrow("started_at < ?", before.as_micros());
        }
        if !config::erased(conn)?.is_empty() {
            wanted.conditions.push(not_erased!("endpoint"));
        }
        Ok(Some(wanted))
    }

    fn narrow(&mut self, condition: &'static str, value: impl ToSql + 'static) {
        self.conditions.push(condition);
        self.params.push(Box::new(value));
    }

    fn params(&self) -> Vec<&dyn ToSql> {
        self.params.iter().map(Box::as_ref).collect()
    }

    fn statement(&self, what: &str) -> String {
        let conditions = if self.conditions.is_empty() { "true".to_owned() } else { self.conditions.join(" AND ") };
        format!("SELECT {what} FROM attempts_new WHERE {conditions}")
    }

    /// How many there are.
    pub(super) fn count(&self, conn: &Connection) -> Result<u64> {
        Ok(one(conn, &self.statement("count(*)"), &self.params(), |row| count(row, 0))?.unwrap_or(0))
    }

    /// The newest of those with a lesser id than `below`, if that is given.
    pub(super) fn newest(mut self, conn: &Connection, below: Option<[u8; 16]>, limit: usize) -> Result<Vec<Spot>> {
        if let Some(below) = below {
            self.narrow("id < ?", below);
        }
        let sql = self.statement("id, delivery, number") + " ORDER BY id DESC LIMIT ?";
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let mut params = self.params();
        params.push(&limit);
        all(conn, &sql, &params, Spot::read)
    }
}
