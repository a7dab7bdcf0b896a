//! Configuration: documents by kind and id, and a version that rises with every change.

use super::health;
use super::rows::{all, id, json, one, time_opt, to_json};
use crate::error::bad_value;
use crate::room::ROW;
use postrider_core::endpoint::{Deletion, Endpoint};
use postrider_core::event::Namespace;
use postrider_core::event_type::EventType;
use postrider_core::id::{EndpointId, SubscriptionId};
use postrider_core::key::ApiKey;
use postrider_core::ports::{ConfigChange, Configuration, Configured};
use postrider_core::subscription::{Origin, Subscription};
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;

pub(super) const ENDPOINT: i64 = 0;
pub(super) const SUBSCRIPTION: i64 = 1;
pub(super) const KEY: i64 = 2;
const EVENT_TYPE: i64 = 3;

/// A change as it is written.
pub(super) struct Document {
    kind: i64,
    id: Vec<u8>,
    gone_at: Option<Timestamp>,
    endpoint: Option<EndpointId>,
    erased: bool,
    /// The endpoint that it is about, with its tenant; `None` for everything else.
    about: Option<(EndpointId, Namespace)>,
    /// `None` where it is to be removed.
    json: Option<String>,
}

/// What names an event type: no namespace has a slash in it, and none is empty.
fn type_id(registry: Option<&Namespace>, name: &str) -> Vec<u8> {
    let registry = registry.map_or("", Namespace::as_str);
    [registry, "/", name].concat().into_bytes()
}

/// Writes changes down, away from the writer's thread.
pub(super) fn documents(changes: &[ConfigChange]) -> Result<Vec<Document>> {
    let of_type = |registry: Option<&Namespace>, name: &str, json| Document {
        kind: EVENT_TYPE,
        id: type_id(registry, name),
        gone_at: None,
        endpoint: None,
        erased: false,
        about: None,
        json,
    };
    let document = |change: &ConfigChange| {
        Ok(match change {
            ConfigChange::Endpoint(endpoint) => Document {
                kind: ENDPOINT,
                id: endpoint.id.bytes().to_vec(),
                gone_at: endpoint.deleted.map(Deletion::at),
                endpoint: None,
                erased: endpoint.is_erased(),
                about: Some((endpoint.id, endpoint.namespace.clone())),
                json: Some(to_json(endpoint)?),
            },
            ConfigChange::Subscription(subscription) => Document {
                kind: SUBSCRIPTION,
                id: subscription.id.bytes().to_vec(),
                gone_at: subscription.deleted_at,
                endpoint: Some(subscription.endpoint),
                erased: false,
                about: None,
                json: Some(to_json(subscription)?),
            },
            ConfigChange::Key(key) => Document {
                kind: KEY,
                id: key.id.bytes().to_vec(),
                gone_at: key.revoked_at.filter(|_| key.may_be_forgotten()),
                endpoint: None,
                erased: false,
                about: None,
                json: Some(to_json(key)?),
            },
            ConfigChange::EventType(new) => of_type(new.namespace.as_ref(), &new.name, Some(to_json(new)?)),
            ConfigChange::NoEventType { registry, name } => of_type(registry.as_ref(), name, None),
        })
    };
    changes.iter().map(document).collect()
}

/// Puts documents that were made from this version, if it is the newest one, in the transaction that is open.
pub(super) fn put_over(conn: &Connection, from: i64, documents: &[Document]) -> Result<Configured> {
    if version(conn)? != from {
        return Ok(Configured::Conflict);
    }
    put(conn, documents)?;
    Ok(Configured::Stored { version: version(conn)? })
}

/// Puts documents, in the transaction that is open.
pub(super) fn put(conn: &Connection, documents: &[Document]) -> Result<()> {
    let sql = "INSERT OR REPLACE INTO config (kind, id, gone_at, endpoint, erased, doc) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let mut insert = conn.prepare_cached(sql)?;
    let mut remove = conn.prepare_cached("DELETE FROM config WHERE kind = ?1 AND id = ?2")?;
    for document in documents {
        let Document { kind, id, gone_at, endpoint, erased, about, json } = document;
        let Some(json) = json else {
            remove.execute(params![kind, id])?;
            continue;
        };
        insert.execute(params![kind, id, gone_at.map(Timestamp::as_micros), endpoint.map(EndpointId::bytes), erased, json])?;
        match about {
            Some((endpoint, namespace)) if gone_at.is_none() => health::begin(conn, *endpoint, namespace)?,
            Some((endpoint, _)) => health::end(conn, *endpoint)?,
            None => {}
        }
    }
    changed(conn)
}

/// About what these take, in bytes.
pub(super) fn bytes(documents: &[Document]) -> u64 {
    let put = documents.iter().filter_map(|document| Some((document, document.json.as_ref()?)));
    // An endpoint's health has a row of its own.
    put.map(|(document, json)| ROW + json.len() as u64 + if document.about.is_some() { ROW } else { 0 }).sum()
}

/// Whether none of these is new: each replaces what is there, or is gone.
pub(super) fn are_known(conn: &Connection, documents: &[Document]) -> Result<bool> {
    for document in documents.iter().filter(|document| document.gone_at.is_none() && document.json.is_some()) {
        let sql = "SELECT 1 FROM config WHERE kind = ?1 AND id = ?2";
        if one(conn, sql, &[&document.kind, &document.id], |_| Ok(()))?.is_none() {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Tells everybody that reads the version of a change.
pub(super) fn changed(conn: &Connection) -> Result<()> {
    conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'config_version'")?.execute([]).map(drop)
}

/// The configuration's version.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = 'config_version'")?.query_row([], |row| row.get(0))
}

/// When a subscription was deleted whose open dead letters nobody can reach any more; those of bindings have a list of their own.
/// `None` too for one that is not configured.
pub(super) fn abandoned_at(conn: &Connection, of: SubscriptionId) -> Result<Option<Timestamp>> {
    #[derive(Deserialize)]
    struct Made {
        origin: Origin,
    }
    let sql = "SELECT gone_at, doc FROM config WHERE kind = ?1 AND id = ?2 AND gone_at IS NOT NULL";
    let found = one(conn, sql, &[&SUBSCRIPTION, &of.bytes()], |row| Ok((time_opt(row, 0)?, json::<Option<Made>>(row, 1)?)))?;
    let is_binding = |made: &Option<Made>| made.as_ref().is_some_and(|made| made.origin == Origin::Items);
    Ok(found.filter(|(_, made)| !is_binding(made)).and_then(|(at, _)| at))
}

/// Endpoints that were erased and of which something may be left. Hardly ever any, and then cheap: an empty index is looked into.
pub(super) fn erased(conn: &Connection) -> Result<BTreeSet<EndpointId>> {
    let sql = "SELECT id FROM config INDEXED BY config_erased WHERE erased = 1";
    Ok(all(conn, sql, &[], |row| id(row, 0, EndpointId::new))?.into_iter().collect())
}

/// Whether the endpoint of this subscription was erased.
pub(super) fn is_to_erased(conn: &Connection, of: SubscriptionId) -> Result<bool> {
    let sql =
        "SELECT 1 FROM config s CROSS JOIN config e ON e.kind = 0 AND e.id = s.endpoint AND e.erased = 1 WHERE s.kind = 1 AND s.id = ?1";
    Ok(one(conn, sql, &[&of.bytes()], |_| Ok(()))?.is_some())
}

/// Everything that is configured, in the transaction that is open.
pub(super) fn read(conn: &Connection) -> Result<Configuration> {
    let mut configuration = Configuration { version: version(conn)?, ..Configuration::default() };
    let mut select = conn.prepare_cached("SELECT kind, doc FROM config ORDER BY kind, id")?;
    let mut rows = select.query([])?;
    while let Some(row) = rows.next()? {
        match row.get(0)? {
            ENDPOINT => configuration.endpoints.push(document::<Endpoint>(row)?),
            SUBSCRIPTION => configuration.subscriptions.push(document::<Subscription>(row)?),
            KEY => configuration.keys.push(document::<ApiKey>(row)?),
            EVENT_TYPE => configuration.event_types.push(document::<EventType>(row)?),
            _ => return Err(bad_value(0, "an unknown kind of configuration")),
        }
    }
    Ok(configuration)
}

fn document<T: DeserializeOwned>(row: &Row<'_>) -> Result<T> {
    // Every document is an object; the wrapper is for NULL, which the column does not allow.
    json::<Option<T>>(row, 1)?.ok_or_else(|| bad_value(1, "a document without content"))
}
