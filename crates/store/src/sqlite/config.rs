//! Configuration: documents by kind and id, and a version that rises with every change.

use super::rows::{json, one, to_json};
use crate::error::bad_value;
use postrider_core::endpoint::Endpoint;
use postrider_core::id::SubscriptionId;
use postrider_core::key::ApiKey;
use postrider_core::ports::{ConfigChange, Configuration};
use postrider_core::subscription::Subscription;
use postrider_core::time::Timestamp;
use rusqlite::{Connection, Result, Row, params};
use serde::Deserialize;
use serde::de::DeserializeOwned;

const ENDPOINT: i64 = 0;
const SUBSCRIPTION: i64 = 1;
const KEY: i64 = 2;

/// A change as it is written.
pub(super) struct Document {
    kind: i64,
    id: [u8; 16],
    json: String,
}

/// Writes changes down, away from the writer's thread.
pub(super) fn documents(changes: &[ConfigChange]) -> Result<Vec<Document>> {
    let document = |change: &ConfigChange| {
        Ok(match change {
            ConfigChange::Endpoint(endpoint) => Document { kind: ENDPOINT, id: endpoint.id.bytes(), json: to_json(endpoint)? },
            ConfigChange::Subscription(subscription) => {
                Document { kind: SUBSCRIPTION, id: subscription.id.bytes(), json: to_json(subscription)? }
            }
            ConfigChange::Key(key) => Document { kind: KEY, id: key.id.bytes(), json: to_json(key)? },
        })
    };
    changes.iter().map(document).collect()
}

/// Puts documents, in the transaction that is open.
pub(super) fn put(conn: &Connection, documents: &[Document]) -> Result<()> {
    let mut insert = conn.prepare_cached("INSERT OR REPLACE INTO config (kind, id, doc) VALUES (?1, ?2, ?3)")?;
    for document in documents {
        insert.execute(params![document.kind, document.id, document.json])?;
    }
    conn.prepare_cached("UPDATE meta SET value = value + 1 WHERE key = 'config_version'")?.execute([])?;
    Ok(())
}

/// The configuration's version.
pub(super) fn version(conn: &Connection) -> Result<i64> {
    conn.prepare_cached("SELECT value FROM meta WHERE key = 'config_version'")?.query_row([], |row| row.get(0))
}

/// When a subscription was deleted; `None` too for one that is not configured.
pub(super) fn deleted_at(conn: &Connection, of: SubscriptionId) -> Result<Option<Timestamp>> {
    #[derive(Deserialize)]
    struct Deleted {
        deleted_at: Option<Timestamp>,
    }
    let sql = "SELECT doc FROM config WHERE kind = ?1 AND id = ?2";
    let found = one(conn, sql, &[&SUBSCRIPTION, &of.bytes()], |row| json::<Option<Deleted>>(row, 0))?;
    Ok(found.flatten().and_then(|document| document.deleted_at))
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
            _ => return Err(bad_value(0, "an unknown kind of configuration")),
        }
    }
    Ok(configuration)
}

fn document<T: DeserializeOwned>(row: &Row<'_>) -> Result<T> {
    // Every document is an object; the wrapper is for NULL, which the column does not allow.
    json::<Option<T>>(row, 1)?.ok_or_else(|| bad_value(1, "a document without content"))
}
