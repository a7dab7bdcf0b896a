//! The last attempts of many endpoints or subscriptions at once.

use super::attempts::{Spot, row};
use super::config;
use super::rows::{all, one};
use super::tallies::{self, Kind, PartPlace, Scope, outcome_text};
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::ports::{AttemptRow, LastOf};
use rusqlite::{Connection, Result, Row};
use std::collections::{BTreeSet, HashMap};

const IN_PART: &str = "SELECT id, delivery, number FROM attempts_by_subscription WHERE subscription = ?1 AND endpoint = ?2 AND outcome = ?3 \
    ORDER BY id DESC LIMIT 1";

/// Statements that must not walk over more than they answer.
#[cfg(test)]
pub(super) const STATEMENTS: [&str; 1] = [IN_PART];

/// The newest attempt of each that ended. A look through the notes that gather, for all of them, and a seek for each outcome that one has had.
pub(super) fn last_ended(conn: &Connection, of: &LastOf) -> Result<Vec<Option<AttemptRow>>> {
    let erased = config::erased(conn)?;
    let keys: Vec<[u8; 16]> = match of {
        LastOf::Endpoints(ids) => ids.iter().map(|id| id.bytes()).collect(),
        LastOf::Subscriptions(ids) => ids.iter().map(|id| id.bytes()).collect(),
    };
    let mut last: HashMap<[u8; 16], Option<Spot>> = keys.iter().map(|key| (*key, None)).collect();
    look_through_new(conn, of, &mut last)?;
    for (key, newest) in &mut last {
        for spot in in_places(conn, of, *key, &erased)? {
            // The order of places is that of lists: the newest comes first.
            *newest = newest.take().into_iter().chain([spot]).min();
        }
    }
    let shown = |key: &[u8; 16]| last.get(key).and_then(Option::as_ref).map(|spot| row(conn, spot)).transpose();
    keys.iter().map(shown).collect()
}

fn look_through_new(conn: &Connection, of: &LastOf, last: &mut HashMap<[u8; 16], Option<Spot>>) -> Result<()> {
    macro_rules! new {
        ($key:literal) => {
            concat!("SELECT id, delivery, number, ", $key, " FROM attempts_new WHERE", not_erased!("endpoint"))
        };
    }
    let sql = match of {
        LastOf::Endpoints(_) => new!("endpoint"),
        LastOf::Subscriptions(_) => new!("subscription"),
    };
    let mut take = |row: &Row<'_>| -> Result<()> {
        if let Some(newest) = last.get_mut(&row.get::<_, [u8; 16]>(3)?) {
            *newest = newest.take().into_iter().chain([Spot::read(row)?]).min();
        }
        Ok(())
    };
    all(conn, sql, &[], &mut take).map(drop)
}

/// The newest one in each part that belongs to it.
fn in_places(conn: &Connection, of: &LastOf, key: [u8; 16], erased: &BTreeSet<EndpointId>) -> Result<Vec<Spot>> {
    let id = uuid::Uuid::from_bytes(key);
    let scope = match of {
        LastOf::Endpoints(_) => Scope { endpoint: Some(EndpointId::new(id)), ..Scope::default() },
        LastOf::Subscriptions(_) => Scope { subscription: Some(SubscriptionId::new(id)), ..Scope::default() },
    };
    let mut spots = Vec::new();
    for part in tallies::parts(conn, Kind::Attempts, scope)? {
        let PartPlace::Subscription(subscription, endpoint) = part.place else { continue };
        if !erased.contains(&endpoint) {
            let params = (subscription.bytes(), endpoint.bytes(), outcome_text(part.code));
            spots.extend(one(conn, IN_PART, &[&params.0, &params.1, &params.2], Spot::read)?);
        }
    }
    Ok(spots)
}
